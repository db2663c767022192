//! An outgoing call: the INVITE usage of a dialog as UAC (RFC 3261 §9, §13, §15), digest retries included.
//!
//! Drive it: [`Session::start`], then responses, failures and ends of the transactions it asks for by ticket,
//! requests of the far side within its dialogs, the clock, and [`Session::hangup`]; drain
//! [`Session::poll_output`] after each. Exactly one terminal event comes ([`SessionEvent::Failed`] or
//! [`SessionEvent::Ended`]); the session lives on until [`SessionOutput::Done`], because a retransmitted 2xx
//! must still be acknowledged. Not served yet, and refused properly: re-INVITE (488), UPDATE, PRACK (405).

use super::answer::{self, Answer, Body};
use super::dialog::{Dialog, LocalEnd};
use super::digest::{DigestClient, DigestError};
use super::transaction::{Failure, Timings, TransactionId};
use super::{
    CSeq, Essentials, Flow, Header, HeaderName, MAGIC_COOKIE, Method, NameAddr, Reason, Request, Response,
    StatusCode,
};
use crate::base::Seed;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

pub use super::outcome::{CallEnd, CallFailure, OutgoingCall, SessionEvent};

/// Most forks whose answers are acknowledged; a far side with more is broken or hostile.
const MAX_FORKS: usize = 16;

/// Marks a client transaction of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u32);

/// What a session asks of the world.
#[derive(Debug)]
pub enum SessionOutput {
    /// Send in a client transaction and report by the ticket.
    Start {
        /// Its mark.
        ticket: Ticket,
        /// The request.
        request: Box<Request>,
        /// Where to.
        flow: Flow,
    },
    /// Send once (an ACK).
    Send {
        /// Where to.
        flow: Flow,
        /// What.
        bytes: Bytes,
    },
    /// Answer a request of the far side.
    Respond {
        /// Its transaction.
        id: TransactionId,
        /// The response.
        response: Box<Response>,
    },
    /// Forget a client INVITE transaction.
    Abandon(Ticket),
    /// News.
    Event(SessionEvent),
    /// Forget the session.
    Done,
}

/// Why a session wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTimer {
    /// It rings too long.
    RingLimit,
    /// 64·T1 after CANCEL without a final response (RFC 3261 §9.1).
    CancelGiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// INVITE is out, nothing heard.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// CANCEL is out.
    Cancelling,
    /// Answered.
    Confirmed,
    /// BYE is out.
    Ending,
    /// The terminal event is out; transactions linger.
    Ended,
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    end: LocalEnd,
    timings: Timings,
    seed: Seed,
    call: OutgoingCall,
    state: State,
    local_tag: String,
    call_id: String,
    invite: Request,
    invite_ticket: Ticket,
    invite_seq: u32,
    credentials: Vec<Header>,
    digest: Option<DigestClient>,
    early: Vec<Dialog>,
    dialog: Option<Dialog>,
    acks: Vec<(String, Flow, Bytes)>,
    bye_ticket: Option<Ticket>,
    open: BTreeSet<Ticket>,
    next_ticket: u32,
    hangup: Option<Option<Reason>>,
    failure: Option<CallFailure>,
    deadline: Option<(Instant, SessionTimer)>,
    is_done: bool,
    outputs: VecDeque<SessionOutput>,
}

impl Session {
    /// Sends the INVITE.
    #[must_use]
    pub fn start(end: LocalEnd, call: OutgoingCall, timings: Timings, mut seed: Seed) -> Self {
        let digest = call.credentials.clone().map(DigestClient::new);
        let invite_seq = 1 + seed.next_u32() % 0x7fff;
        let mut session = Self {
            local_tag: seed.token(16),
            call_id: seed.token(32),
            invite: Request::new(Method::INVITE, call.request_uri.clone()),
            end,
            timings,
            seed,
            call,
            state: State::Calling,
            invite_ticket: Ticket(0),
            invite_seq,
            credentials: Vec::new(),
            digest,
            early: Vec::new(),
            dialog: None,
            acks: Vec::new(),
            bye_ticket: None,
            open: BTreeSet::new(),
            next_ticket: 0,
            hangup: None,
            failure: None,
            deadline: None,
            is_done: false,
            outputs: VecDeque::new(),
        };
        session.send_invite();
        session
    }

    /// Call-ID; with the tag it names the session.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// Ends the call in whatever state it is: CANCEL (held back until a provisional response came, RFC 3261
    /// §9.1) or BYE. The reason travels as a Reason header. Harmless when the call is over.
    pub fn hangup(&mut self, now: Instant, reason: Option<Reason>) {
        if self.hangup.is_some() {
            return;
        }
        self.hangup = Some(reason);
        match self.state {
            State::Proceeding => self.send_cancel(now),
            State::Confirmed => self.send_bye(),
            State::Calling | State::Cancelling | State::Ending | State::Ended => {}
        }
    }

    /// A response to one of our requests.
    pub fn handle_response(&mut self, now: Instant, ticket: Ticket, response: &Response) {
        let is_challenge = [StatusCode::UNAUTHORIZED, StatusCode::PROXY_AUTHENTICATION_REQUIRED];
        if ticket == self.invite_ticket {
            match response.status {
                s if s.is_provisional() => self.handle_provisional(now, response),
                s if s.is_success() => self.handle_success(response),
                s if is_challenge.contains(&s) => self.handle_challenge(response),
                _ => self.fail(failure_of(response)),
            }
        } else if self.bye_ticket == Some(ticket) && !response.status.is_provisional() {
            let retry = is_challenge.contains(&response.status).then(|| self.retry_bye(response)).flatten();
            match retry {
                Some(()) => {}
                None => self.finish(SessionEvent::Ended(CallEnd::Local)),
            }
        }
        // answers to CANCEL say nothing of the INVITE, those to BYEs of forks nothing of the call
    }

    /// A transaction of ours got no final response.
    pub fn handle_failure(&mut self, ticket: Ticket, failure: Failure) {
        if ticket == self.invite_ticket {
            self.fail(match failure {
                Failure::Timeout => CallFailure::Timeout,
                Failure::Transport => CallFailure::Transport,
            });
        } else if self.bye_ticket == Some(ticket) {
            self.finish(SessionEvent::Ended(CallEnd::Local));
        } else if self.state == State::Cancelling && failure == Failure::Transport {
            // nobody is there to answer the INVITE either
            self.give_up();
        }
    }

    /// A transaction of ours is over.
    pub fn handle_terminated(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
        self.check_done();
    }

    /// A transaction of ours could not even start.
    pub fn handle_refused(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
        if ticket == self.invite_ticket {
            self.fail(CallFailure::Congestion);
        } else if self.bye_ticket == Some(ticket) {
            self.finish(SessionEvent::Ended(CallEnd::Local));
        }
        self.check_done();
    }

    /// A request of the far side with our Call-ID and tag.
    pub fn handle_request(&mut self, id: TransactionId, request: &Request, e: &Essentials) {
        let answer = self.answer(request, e);
        let response = Box::new(answer.to(request, Some(&self.local_tag)));
        self.outputs.push_back(SessionOutput::Respond { id, response });
        let is_bye = request.method == Method::BYE && answer.status == StatusCode::OK;
        if is_bye && matches!(self.state, State::Confirmed | State::Ending) {
            let (q850, text) = q850_of(&request.headers);
            self.finish(SessionEvent::Ended(CallEnd::Remote { q850, text }));
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((_, timer)) = self.deadline.filter(|(at, _)| *at <= now) else { return };
        self.deadline = None;
        match timer {
            SessionTimer::RingLimit => {
                self.failure = Some(CallFailure::Timeout);
                self.hangup(now, Some(Reason::q850(19, "no answer")));
            }
            SessionTimer::CancelGiveUp => self.give_up(),
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// The next wake-up and why.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        self.deadline
    }

    fn handle_provisional(&mut self, now: Instant, response: &Response) {
        if self.state == State::Calling {
            self.state = State::Proceeding;
            self.deadline = Some((now + self.call.ring_limit, SessionTimer::RingLimit));
        }
        if self.state == State::Proceeding && self.hangup.is_some() {
            self.send_cancel(now);
        }
        if self.state != State::Proceeding || response.status == StatusCode::TRYING {
            return;
        }
        if let Ok(dialog) = Dialog::as_uac(&self.invite, response) {
            let has_room = self.early.len() < MAX_FORKS;
            match self.early.iter_mut().find(|d| d.remote_tag() == dialog.remote_tag()) {
                // the route set of an early dialog may still change (RFC 3261 §13.2.2.4), its sequence not
                Some(known) => known.refresh_target(&response.headers),
                None if has_room => self.early.push(dialog),
                None => {}
            }
        }
        let (status, body) = (response.status, Body::of(&response.headers, &response.body));
        if status != StatusCode::RINGING || body.is_some() {
            self.tell(SessionEvent::Progress { status, body });
        }
        if status == StatusCode::RINGING {
            self.tell(SessionEvent::Ringing);
        }
    }

    /// A 2xx: acknowledged each time it comes, also that of a second fork (RFC 3261 §13.2.2.4).
    fn handle_success(&mut self, response: &Response) {
        let tag = response.headers.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        if let Some((_, flow, bytes)) = self.acks.iter().find(|(t, ..)| *t == tag) {
            let (flow, bytes) = (*flow, bytes.clone());
            self.outputs.push_back(SessionOutput::Send { flow, bytes });
            return;
        }
        if self.acks.len() >= MAX_FORKS {
            return;
        }
        let mut dialog = match Dialog::as_uac(&self.invite, response) {
            Ok(dialog) => dialog,
            Err(why) => return self.fail(CallFailure::BadAnswer(why)),
        };
        if let Some(early) = self.early.iter().find(|d| d.remote_tag() == tag) {
            dialog.adopt_remote_seq(early);
        }
        self.send_ack(&dialog, tag);
        let body = Body::of(&response.headers, &response.body);
        match self.state {
            State::Calling | State::Proceeding | State::Cancelling => {
                self.deadline = None;
                self.dialog = Some(dialog);
                if self.hangup.is_some() {
                    self.send_bye();
                } else {
                    self.state = State::Confirmed;
                    self.tell(SessionEvent::Answered { body });
                }
            }
            // another fork answered too, or the call was given up before
            State::Confirmed | State::Ending | State::Ended => {
                let branch = self.branch();
                let mut bye = dialog.request(Method::BYE, &self.end, &branch);
                bye.headers.push(HeaderName::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
                let flow = self.flow_of(&dialog);
                self.start_transaction(bye, flow);
            }
        }
    }

    fn handle_challenge(&mut self, response: &Response) {
        if self.hangup.is_some() {
            return self.fail(failure_of(response));
        }
        let cnonce = self.seed.token(16);
        let uri = self.call.request_uri.to_string();
        let answer = match &mut self.digest {
            Some(digest) => digest.answer(response, &Method::INVITE, &uri, &cnonce),
            None => Err(DigestError::NotAllowed),
        };
        match answer {
            Ok(lines) => {
                let names: Vec<HeaderName> = lines.iter().map(|h| h.name().clone()).collect();
                self.credentials.retain(|h| !names.contains(h.name()));
                self.credentials.extend(lines);
                self.invite_seq += 1;
                self.early.clear();
                self.state = State::Calling;
                self.deadline = None;
                self.send_invite();
            }
            Err(_) if self.digest.is_none() => self.fail(failure_of(response)),
            Err(why) => self.fail(CallFailure::Credentials(why)),
        }
    }

    fn retry_bye(&mut self, response: &Response) -> Option<()> {
        let cnonce = self.seed.token(16);
        let (branch, flow) = (self.branch(), self.flow_of(self.dialog.as_ref()?));
        if !self.is_home(&flow) {
            return None;
        }
        let dialog = self.dialog.as_mut()?;
        let mut bye = dialog.request(Method::BYE, &self.end, &branch);
        let uri = bye.uri.to_string();
        let lines = self.digest.as_mut()?.answer(response, &Method::BYE, &uri, &cnonce).ok()?;
        lines.into_iter().for_each(|h| bye.headers.push_header(h));
        self.push_reason(&mut bye);
        self.bye_ticket = Some(self.start_transaction(bye, flow));
        Some(())
    }

    /// What to say to a request within our dialogs.
    fn answer(&mut self, request: &Request, e: &Essentials) -> Answer {
        let confirmed = self.dialog.as_mut().filter(|d| d.matches(e));
        let is_live = matches!(self.state, State::Confirmed | State::Ending);
        let dialog = match confirmed {
            Some(dialog) if is_live => dialog,
            _ => match self.early.iter_mut().find(|d| d.matches(e)) {
                // BYE is not for the callee of an early dialog (RFC 3261 §15)
                Some(early) if !is_live && request.method != Method::BYE && self.state != State::Ended => {
                    early
                }
                _ => return Answer::new(StatusCode::NO_SUCH_CALL),
            },
        };
        if !dialog.take_remote_seq(e) {
            return Answer::new(StatusCode::SERVER_ERROR);
        }
        if let Some(refusal) = answer::check(request) {
            return refusal;
        }
        match request.method {
            Method::BYE => Answer::new(StatusCode::OK),
            Method::OPTIONS => answer::options(),
            // RFC 6086 §4.2.2: an INFO that names no package and has no body is the keep-alive of old peers
            Method::INFO => Answer::new(StatusCode::OK),
            // the seam for re-INVITE: until media can follow, the session stays as it is (RFC 3261 §14.2)
            Method::INVITE => Answer::new(StatusCode::NOT_ACCEPTABLE_HERE)
                .with(HeaderName::Warning, "399 sipedge \"the session cannot be changed yet\""),
            _ => answer::not_served(&request.method),
        }
    }

    fn send_invite(&mut self) {
        let mut r = Request::new(Method::INVITE, self.call.request_uri.clone());
        let mut from = self.call.from.clone();
        from.params.set("tag", Some(&self.local_tag));
        let branch = self.branch();
        r.headers.push(HeaderName::Via, self.end.via(&branch).to_string());
        r.headers.push(HeaderName::MaxForwards, "70");
        r.headers.push(HeaderName::From, from.to_string());
        r.headers.push(HeaderName::To, self.call.to.to_string());
        r.headers.push(HeaderName::CallId, self.call_id.clone());
        let cseq = CSeq { number: self.invite_seq, method: Method::INVITE };
        r.headers.push(HeaderName::CSeq, cseq.to_string());
        r.headers.push(HeaderName::Contact, NameAddr::new(self.end.contact()).to_string());
        r.headers.push(HeaderName::Allow, answer::ALLOW);
        r.headers.push(HeaderName::Accept, answer::ACCEPT);
        r.headers.push(HeaderName::UserAgent, self.end.agent.clone());
        for h in self.credentials.iter().chain(&self.call.headers) {
            r.headers.push_header(h.clone());
        }
        if let Some(body) = &self.call.body {
            r.headers.push(HeaderName::ContentType, body.content_type.clone());
            r.body = body.bytes.clone();
        }
        self.invite = r.clone();
        self.invite_ticket = self.start_transaction(r, self.end.flow);
    }

    /// CANCEL: everything of the INVITE it means, its branch too (RFC 3261 §9.1).
    fn send_cancel(&mut self, now: Instant) {
        self.state = State::Cancelling;
        self.deadline = Some((now + self.timings.give_up(), SessionTimer::CancelGiveUp));
        let mut r = Request::new(Method::CANCEL, self.invite.uri.clone());
        for h in self.invite.headers.iter() {
            match h.name() {
                HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::MaxForwards
                | HeaderName::Route => r.headers.push_header(h.clone()),
                HeaderName::CSeq => {
                    let cseq = CSeq { number: self.invite_seq, method: Method::CANCEL };
                    r.headers.push(HeaderName::CSeq, cseq.to_string());
                }
                _ => {}
            }
        }
        self.push_reason(&mut r);
        self.start_transaction(r, self.end.flow);
    }

    /// ACK of a 2xx, with the credentials of the INVITE (RFC 3261 §22.1).
    fn send_ack(&mut self, dialog: &Dialog, tag: String) {
        let branch = self.branch();
        let mut ack = dialog.ack(self.invite_seq, &self.end, &branch);
        let flow = self.flow_of(dialog);
        if self.is_home(&flow) {
            self.credentials.iter().for_each(|h| ack.headers.push_header(h.clone()));
        }
        let bytes = ack.to_bytes();
        self.acks.push((tag, flow, bytes.clone()));
        self.outputs.push_back(SessionOutput::Send { flow, bytes });
    }

    fn send_bye(&mut self) {
        let branch = self.branch();
        let Some(dialog) = &mut self.dialog else { return };
        let mut bye = dialog.request(Method::BYE, &self.end, &branch);
        let flow = self.dialog.as_ref().map_or(self.end.flow, |d| self.flow_of(d));
        self.push_reason(&mut bye);
        if let Some(digest) = &mut self.digest {
            digest.begin();
        }
        self.state = State::Ending;
        self.bye_ticket = Some(self.start_transaction(bye, flow));
    }

    fn push_reason(&self, request: &mut Request) {
        if let Some(Some(reason)) = &self.hangup {
            request.headers.push(HeaderName::Reason, reason.to_string());
        }
    }

    fn start_transaction(&mut self, request: Request, flow: Flow) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open.insert(ticket);
        self.outputs.push_back(SessionOutput::Start { ticket, request: Box::new(request), flow });
        ticket
    }

    fn flow_of(&self, dialog: &Dialog) -> Flow {
        let hop = (!self.call.stays_on_flow).then(|| dialog.next_hop(&self.end.flow)).flatten();
        hop.map_or(self.end.flow, |hop| self.end.flow.to(hop))
    }

    /// Whether a flow leads to the peer that the credentials are for; a Contact may name any other host.
    fn is_home(&self, flow: &Flow) -> bool {
        flow.path.remote.ip() == self.end.flow.path.remote.ip()
    }

    fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", self.seed.token(20))
    }

    fn tell(&mut self, event: SessionEvent) {
        self.outputs.push_back(SessionOutput::Event(event));
    }

    fn give_up(&mut self) {
        self.outputs.push_back(SessionOutput::Abandon(self.invite_ticket));
        self.fail(CallFailure::Timeout);
    }

    /// The INVITE came to nothing: our own end when we hung up, the far side's refusal else.
    fn fail(&mut self, failure: CallFailure) {
        if matches!(self.state, State::Confirmed | State::Ending | State::Ended) {
            return;
        }
        let event = match (self.hangup.is_some(), self.failure.take()) {
            (_, Some(own)) => SessionEvent::Failed(own),
            (true, None) => SessionEvent::Ended(CallEnd::Local),
            (false, None) => SessionEvent::Failed(failure),
        };
        self.finish(event);
    }

    fn finish(&mut self, event: SessionEvent) {
        if self.state == State::Ended {
            return;
        }
        // a call that rang too long and was answered while CANCEL was out has failed all the same
        let event = self.failure.take().map_or(event, SessionEvent::Failed);
        self.state = State::Ended;
        self.deadline = None;
        self.early.clear();
        self.tell(event);
        self.check_done();
    }

    fn check_done(&mut self) {
        if self.state == State::Ended && self.open.is_empty() && !self.is_done {
            self.is_done = true;
            self.outputs.push_back(SessionOutput::Done);
        }
    }
}

/// The Q.850 cause and the text of a Reason header.
fn q850_of(headers: &super::Headers) -> (Option<u8>, Option<String>) {
    let reasons = headers.reasons();
    let q850 = reasons.iter().find(|r| r.q850_cause().is_some());
    let text = q850.or(reasons.first()).and_then(|r| r.text.clone());
    (q850.and_then(Reason::q850_cause), text)
}

fn failure_of(response: &Response) -> CallFailure {
    let (q850, text) = q850_of(&response.headers);
    CallFailure::Status { status: response.status, phrase: response.phrase.clone(), q850, text }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
