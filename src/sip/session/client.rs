//! The INVITE that we send (RFC 3261 §9, §13.2), digest retries, CANCEL and forks included.

use super::super::answer::{Answer, Body};
use super::super::dialog::{Dialog, NoDialog};
use super::super::transaction::{Failure, TransactionId};
use super::super::{
    CSeq, Essentials, Flow, Header, HeaderName, Headers, Key, Method, NameAddr, Request, Response,
    StatusCode, Uri,
};
use super::confirmed::Confirmed;
use super::early;
use super::errands::{self, Errand};
use super::identity;
use super::info;
use super::line::{Line, is_challenge};
use super::prack;
use super::update;
use super::{CallEnd, CallFailure, OutgoingCall, SessionEvent, SessionTimer, Ticket, q850_of, sdp_of};
use crate::sip::Reason;
use bytes::Bytes;
use std::time::Instant;

/// Most forks whose answers are acknowledged; a far side with more is broken or hostile.
pub(super) const MAX_FORKS: usize = 16;

/// The 2xx that has come again so often, within 3.5 s, is not repeated for an ACK that was lost.
const UNHEARD: u8 = 3;

/// Most PRACKs of one call that are out.
const MAX_PRACKS: usize = 16;

/// Most INVITEs of one call: a far side that asks for credentials, again and for a longer timer needs half of them.
const MAX_TRIES: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// INVITE is out, nothing heard.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// CANCEL is out.
    Cancelling,
    /// Nothing was heard for too long, and that was told; a late answer is cancelled or ended.
    GivenUp,
    /// A 2xx came.
    Answered,
}

/// An early dialog.
#[derive(Debug)]
struct Early {
    dialog: Dialog,
    /// The last of its reliable provisional responses that was taken (RFC 3262 §4).
    rseq: Option<u32>,
    /// Our offer has its answer for good: one of those brought it.
    is_settled: bool,
    takes_update: bool,
    /// It has described its media.
    has_media: bool,
    /// What it has said of who it is.
    identity: Option<Box<Headers>>,
}

/// What a 2xx was acknowledged with.
#[derive(Debug)]
struct Ack {
    /// The far side's tag.
    tag: String,
    flow: Flow,
    bytes: Bytes,
    /// How often the 2xx came again.
    repeats: u8,
}

/// The machine.
#[derive(Debug)]
pub(super) struct Client {
    call: OutgoingCall,
    state: State,
    invite: Request,
    ticket: Ticket,
    seq: u32,
    credentials: Vec<Header>,
    early: Vec<Early>,
    /// How often the INVITE went.
    tries: u32,
    /// PRACKs that are out.
    pracks: Vec<(Ticket, Request)>,
    acks: Vec<Ack>,
    deadline: Option<(Instant, SessionTimer)>,
}

impl Client {
    /// Sends the INVITE.
    pub(super) fn start(line: &mut Line, call: OutgoingCall) -> Self {
        let mut client = Self {
            invite: Request::new(Method::INVITE, call.request_uri.clone()),
            call,
            state: State::Calling,
            ticket: Ticket(0),
            seq: 1 + line.seed.next_u32() % 0x7fff,
            credentials: Vec::new(),
            early: Vec::new(),
            tries: 0,
            pracks: Vec::new(),
            acks: Vec::new(),
            deadline: None,
        };
        client.send_invite(line);
        client
    }

    /// The transaction of the INVITE.
    pub(super) const fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// See [`super::Session::give_up_silent_at`].
    pub(super) const fn give_up_silent_at(&mut self, at: Instant) {
        if matches!(self.state, State::Calling) {
            self.deadline = Some((at, SessionTimer::Silence));
        }
    }

    pub(super) fn hangup(&mut self, now: Instant, line: &mut Line) {
        if self.state == State::Proceeding {
            self.send_cancel(now, line);
        }
    }

    /// A response to the INVITE; the first 2xx makes the call.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        line: &mut Line,
        response: &Response,
    ) -> Option<Confirmed> {
        match response.status {
            _ if line.is_over() && !response.status.is_success() => self.handle_late(now, line, response),
            s if s.is_provisional() => self.handle_provisional(now, line, response),
            s if s.is_success() => return self.handle_success(now, line, response),
            StatusCode::SESSION_INTERVAL_TOO_SMALL
                if line.is_live() && self.state != State::Answered && line.timer.raise(&response.headers) =>
            {
                // a nonce is good for the request it was asked of; who wants credentials again will say so
                self.credentials.clear();
                line.begin_digest();
                self.ask_again(line);
            }
            s if is_challenge(s) => self.handle_challenge(line, response),
            _ => {
                let failure = self.failure_of(response);
                self.fail(line, failure);
            }
        }
        None
    }

    /// A transaction of ours got no final response.
    pub(super) fn handle_failure(&mut self, line: &mut Line, ticket: Ticket, failure: Failure) {
        if ticket == self.ticket {
            self.fail(
                line,
                match failure {
                    Failure::Timeout => CallFailure::Timeout,
                    Failure::Transport => CallFailure::Transport,
                },
            );
        } else if self.state == State::Cancelling && failure == Failure::Transport {
            // nobody is there to answer the INVITE either
            self.give_up(line);
        }
    }

    /// A transaction of ours could not even start.
    pub(super) fn handle_refused(&mut self, line: &mut Line, ticket: Ticket) {
        if ticket == self.ticket {
            self.fail(line, CallFailure::Congestion);
        }
    }

    /// A request within an early dialog; false when it belongs to none.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
    ) -> bool {
        let Some(Early { dialog, is_settled, .. }) = self.early.iter_mut().find(|d| d.dialog.matches(e))
        else {
            return false;
        };
        if request.method == Method::BYE {
            // not for the callee of an early dialog (RFC 3261 §15)
            return false;
        }
        let answer = dialog.handle_request(request, e).or_else(|| line.timer.rules.refusal(request));
        if answer.is_none() && request.method == Method::PRACK {
            line.respond_to(id, request, &Answer::new(StatusCode::NO_SUCH_CALL));
            return true;
        }
        if answer.is_none() && update::is_bare(request) {
            update::accept(now, line, dialog, id, request);
            return true;
        }
        if answer.is_none() && request.method == Method::INFO {
            info::accept(line, id, request);
            return true;
        }
        if answer.is_none() && request.method == Method::UPDATE && *is_settled && line.is_live() {
            let refusal = early::ask(now, line, dialog, id, request);
            refusal.into_iter().for_each(|answer| line.respond_to(id, request, &answer));
            return true;
        }
        // an INVITE, or an UPDATE with an offer: ours has no answer yet (RFC 3261 §14.2, RFC 3311 §5.2)
        let pending = || Answer::new(StatusCode::REQUEST_PENDING);
        line.respond_to(id, request, &answer.unwrap_or_else(pending));
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, line: &mut Line) {
        let due = self.deadline.filter(|(at, timer)| *at <= now && is_kept(*timer, line));
        let Some((_, timer)) = due else { return };
        self.deadline = None;
        match timer {
            SessionTimer::CancelGiveUp => return self.give_up(line),
            SessionTimer::Silence => {
                self.state = State::GivenUp;
                line.hush(self.ticket);
                return self.fail(line, CallFailure::Timeout);
            }
            _ => {}
        }
        line.failure = Some(CallFailure::Timeout);
        if line.hangup.is_none() {
            line.hangup = Some(Some(Reason::q850(19, "no answer")));
            self.hangup(now, line);
        }
    }

    pub(super) fn poll_timeout(&self, line: &Line) -> Option<(Instant, SessionTimer)> {
        self.deadline.filter(|(_, timer)| is_kept(*timer, line))
    }

    /// A response that is no 2xx to a call that is over. One that was given up, and rings after all, is cancelled.
    fn handle_late(&mut self, now: Instant, line: &mut Line, response: &Response) {
        if response.status.is_provisional() && self.state == State::GivenUp {
            self.send_cancel(now, line);
        } else if !response.status.is_provisional() {
            self.deadline = None;
        }
    }

    fn handle_provisional(&mut self, now: Instant, line: &mut Line, response: &Response) {
        if line.is_over() {
            return;
        }
        if self.state == State::Calling {
            self.state = State::Proceeding;
            self.deadline = Some((now + self.call.ring_limit, SessionTimer::RingLimit));
        }
        if self.state == State::Proceeding && line.hangup.is_some() {
            self.send_cancel(now, line);
        }
        if self.state != State::Proceeding || response.status == StatusCode::TRYING {
            return;
        }
        if !self.take_early(line, response) {
            return;
        }
        let status = response.status;
        let body = Body::of(&response.headers, &response.body).filter(|_| !is_out_of_date(line, response));
        if let (Some(body), Some(tag)) = (&body, tag_of(response)) {
            line.early.note(&tag, body);
        }
        if status != StatusCode::RINGING || body.is_some() {
            line.tell(SessionEvent::Progress { status, body });
        }
        if status == StatusCode::RINGING {
            line.tell(SessionEvent::Ringing);
        }
    }

    /// A 2xx: acknowledged each time it comes, also that of a second fork (RFC 3261 §13.2.2.4).
    fn handle_success(&mut self, now: Instant, line: &mut Line, response: &Response) -> Option<Confirmed> {
        let tag = tag_of(response).unwrap_or_default();
        if let Some(ack) = self.acks.iter_mut().find(|ack| ack.tag == tag) {
            line.send(ack.flow, ack.bytes.clone());
            ack.repeats = ack.repeats.saturating_add(1);
            if ack.repeats == UNHEARD {
                let sent_to = ack.flow.path.remote;
                let contact = response.headers.get(&HeaderName::Contact).unwrap_or_default().to_owned();
                line.tell(SessionEvent::AckUnheard { contact, sent_to });
            }
            return None;
        }
        if self.acks.len() >= MAX_FORKS {
            return None;
        }
        let made = Dialog::as_uac(&self.invite, response);
        let usable = made.as_ref().ok().cloned().or_else(|| Dialog::without_route(&self.invite, response));
        let Some(mut dialog) = usable else {
            self.fail(line, CallFailure::BadAnswer(made.err().unwrap_or(NoDialog::NoTag)));
            return None;
        };
        if let Some(early) = self.early.iter().find(|d| d.dialog.remote_tag() == tag) {
            dialog.adopt_sequences(&early.dialog);
        }
        let (flow, bytes) = line.ack(&dialog, &self.invite);
        self.acks.push(Ack { tag: tag.clone(), flow, bytes: bytes.clone(), repeats: 0 });
        line.send(flow, bytes);
        if self.state == State::Answered || line.is_over() || made.is_err() {
            // another fork answered too, or the call was given up before, or is of no use
            let mut bye = line.request(&mut dialog, Method::BYE);
            if made.is_ok() {
                bye.headers.push(HeaderName::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
            }
            let flow = line.flow_of(&dialog);
            line.start(bye, flow);
            made.err().into_iter().for_each(|why| self.fail(line, CallFailure::BadAnswer(why)));
            return None;
        }
        self.state = State::Answered;
        self.deadline = None;
        // of those that rang only who answers is of interest
        let early = self.early.iter_mut().find(|d| d.dialog.remote_tag() == tag);
        let identity =
            identity::of(&response.headers).or_else(|| early.and_then(|early| early.identity.take()));
        self.early.clear();
        line.timer.answered(now, &response.headers);
        let is_changed = line.early.has_changed(&tag);
        let superseded = line.early.take_superseded(&tag);
        let body = Body::of(&response.headers, &response.body).filter(|_| !is_changed).or(superseded);
        let first = self.call.body.take();
        line.description = line.early.take_ours(&tag).or(first);
        let asked = line.early.take_asked(&tag);
        early::keep_to(line, &tag);
        // it does not go again; its own headers make the ACKs of forks
        (self.call.headers, self.invite.body) = (Vec::new(), Bytes::new());
        line.errands.keep_to(&tag);
        let mut confirmed = Confirmed::as_caller(dialog, asked);
        if line.hangup.is_some() {
            confirmed.hangup(now, line);
        } else {
            identity.into_iter().for_each(|identity| line.tell(SessionEvent::Identity(identity)));
            line.tell(SessionEvent::Answered { body });
        }
        Some(confirmed)
    }

    fn handle_challenge(&mut self, line: &mut Line, response: &Response) {
        if line.hangup.is_some() || line.digest.is_none() || self.tries >= MAX_TRIES {
            let failure = self.failure_of(response);
            return self.fail(line, failure);
        }
        match line.credentials(response, &self.invite, &self.call.request_uri.to_string()) {
            Ok(lines) => {
                self.credentials = lines;
                self.ask_again(line);
            }
            Err(why) => self.fail(line, CallFailure::Credentials(why)),
        }
    }

    /// The INVITE once more, as a new request (RFC 3261 §8.1.3.5).
    fn ask_again(&mut self, line: &mut Line) {
        self.seq += 1;
        self.early.clear();
        line.errands.clear();
        early::refuse(line, &Answer::new(StatusCode::NO_SUCH_CALL));
        self.state = State::Calling;
        self.deadline = None;
        self.send_invite(line);
    }

    fn send_invite(&mut self, line: &mut Line) {
        let mut r = Request::new(Method::INVITE, self.call.request_uri.clone());
        let mut from = self.call.from.clone();
        from.params.set("tag", Some(&line.local_tag));
        let branch = line.branch();
        r.headers.push_printed(HeaderName::Via, &line.end.via(&branch));
        r.headers.push(HeaderName::MaxForwards, self.call.max_forwards.to_string());
        r.headers.push_printed(HeaderName::From, &from);
        r.headers.push_printed(HeaderName::To, &self.call.to);
        r.headers.push(HeaderName::CallId, line.call_id.clone());
        let cseq = CSeq { number: self.seq, method: Method::INVITE };
        r.headers.push(HeaderName::CSeq, cseq.to_string());
        line.push_capabilities(&mut r.headers);
        line.timer.ask(&mut r.headers);
        if self.call.body.is_some() {
            // without an offer of ours PRACK would have to bring the answer to theirs
            r.headers.set(HeaderName::Supported, line.supported(true));
        }
        r.headers.push(HeaderName::UserAgent, line.end.agent.clone());
        for h in self.credentials.iter().chain(&self.call.headers) {
            r.headers.push_header(h.clone());
        }
        if let Some(body) = &self.call.body {
            r.headers.push(HeaderName::ContentType, body.content_type.clone());
            r.body = body.bytes.clone();
        }
        self.tries += 1;
        self.invite = r.clone();
        self.ticket = line.start(r, line.end.flow);
    }

    /// The early dialog of a provisional response, and its PRACK. False when it says nothing: it comes again, or the
    /// one before it is missing (RFC 3262 §4).
    fn take_early(&mut self, line: &mut Line, response: &Response) -> bool {
        let Ok(dialog) = Dialog::as_uac(&self.invite, response) else { return true };
        let known = self.early.iter().position(|d| d.dialog.remote_tag() == dialog.remote_tag());
        let at = known.unwrap_or(self.early.len());
        if known.is_none() && at < MAX_FORKS {
            self.early.push(Early {
                dialog,
                rseq: None,
                is_settled: false,
                takes_update: false,
                has_media: false,
                identity: None,
            });
        }
        let Some(early) = self.early.get_mut(at) else { return true };
        let rseq = prack::rseq_of(response);
        if rseq.is_some() && self.pracks.len() >= MAX_PRACKS {
            // it will come again
            return false;
        }
        if let (Some(rseq), Some(last)) = (rseq, early.rseq)
            && Some(rseq) != last.checked_add(1)
        {
            return false;
        }
        // the route set of an early dialog may still change (RFC 3261 §13.2.2.4), its sequence not
        early.dialog.refresh_target(&response.headers);
        early.takes_update = early::takes_update(&response.headers).unwrap_or(early.takes_update);
        early.identity = identity::of(&response.headers).or_else(|| early.identity.take());
        let is_described = sdp_of(&response.headers, &response.body).is_some();
        early.has_media |= is_described;
        if let Some(rseq) = rseq {
            early.rseq = Some(rseq);
            early.is_settled |= is_described;
            line.begin_digest();
            self.send_prack(line, at, prack::rack(rseq, self.seq), Vec::new());
        }
        true
    }

    /// PRACK (RFC 3262 §4), in the early dialog of this place.
    fn send_prack(&mut self, line: &mut Line, at: usize, rack: String, credentials: Vec<Header>) {
        let Some(early) = self.early.get_mut(at) else { return };
        let mut prack = line.request(&mut early.dialog, Method::PRACK);
        prack.headers.push(HeaderName::RAck, rack);
        credentials.into_iter().for_each(|h| prack.headers.push_header(h));
        let flow = line.flow_of(&early.dialog);
        let ticket = line.start(prack.clone(), flow);
        self.pracks.push((ticket, prack));
    }

    /// A response to a PRACK: a challenge asks for one with credentials.
    pub(super) fn handle_prack_response(&mut self, line: &mut Line, ticket: Ticket, response: &Response) {
        if response.status.is_provisional() {
            return;
        }
        let Some(at) = self.pracks.iter().position(|(t, _)| *t == ticket) else { return };
        let (_, old) = self.pracks.swap_remove(at);
        let tag = old.headers.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
        let Some(at) = self.early.iter().position(|d| d.dialog.remote_tag() == tag) else { return };
        let is_home = self.early.get(at).is_some_and(|d| line.is_home(&line.flow_of(&d.dialog)));
        if !is_challenge(response.status) || !line.is_live() || !is_home {
            return;
        }
        let rack = old.headers.get(&HeaderName::RAck).unwrap_or_default().to_owned();
        if let Ok(credentials) = line.credentials(response, &old, &old.uri.to_string()) {
            self.send_prack(line, at, rack, credentials);
        }
    }

    /// Keys, for who is heard before the answer, or rang last.
    pub(super) fn send_keys(&mut self, line: &mut Line, keys: &[Key]) {
        if self.state != State::Proceeding {
            return;
        }
        let heard = self.early.iter().rposition(|d| d.has_media);
        let at = heard.unwrap_or(self.early.len().saturating_sub(1));
        let Some(Early { dialog, .. }) = self.early.get_mut(at) else { return };
        keys.iter().for_each(|key| errands::run(line, dialog, Errand::key(key)));
    }

    /// Our offer within an early dialog.
    pub(super) fn offer(&mut self, line: &mut Line, body: Body) {
        let is_ringing = self.state == State::Proceeding;
        let early = self.early.iter_mut().rev().find(|d| d.is_settled && is_ringing);
        let (dialog, takes_update) = early.map(|d| (&mut d.dialog, d.takes_update)).unzip();
        early::offer(line, dialog, takes_update.unwrap_or(false), body);
    }

    /// The user's answer to an offer of theirs.
    pub(super) fn answer_offer(&mut self, now: Instant, line: &mut Line, body: Body) {
        let tag = line.early.asked_by().map(str::to_owned);
        if let Some(dialog) = tag.and_then(|tag| self.dialog(&tag)) {
            early::answer(now, line, dialog, body);
        }
    }

    pub(super) fn rings_with(&self, tag: &str) -> bool {
        self.state == State::Proceeding && self.early.iter().any(|d| d.dialog.remote_tag() == tag)
    }

    /// The early dialog whose far side has this tag.
    pub(super) fn dialog(&mut self, tag: &str) -> Option<&mut Dialog> {
        self.early.iter_mut().map(|d| &mut d.dialog).find(|dialog| dialog.remote_tag() == tag)
    }

    /// A PRACK is over, answered or not.
    pub(super) fn handle_terminated(&mut self, ticket: Ticket) {
        self.pracks.retain(|(t, _)| *t != ticket);
    }

    fn send_cancel(&mut self, now: Instant, line: &mut Line) {
        self.state = State::Cancelling;
        self.deadline = Some((now + line.timings.give_up(), SessionTimer::CancelGiveUp));
        let cancel = line.cancel(&self.invite);
        line.start(cancel, line.end.flow);
    }

    fn give_up(&mut self, line: &mut Line) {
        line.abandon(self.ticket);
        self.fail(line, CallFailure::Timeout);
    }

    fn failure_of(&self, response: &Response) -> CallFailure {
        let status = response.status;
        if status.code() < 400 {
            let contacts = targets(&response.headers);
            if !contacts.is_empty() {
                return CallFailure::Redirected { status, contacts };
            }
        }
        let (q850, text) = q850_of(&response.headers);
        let retry_after = response.headers.retry_after();
        let (phrase, had_credentials) = (response.phrase.clone(), !self.credentials.is_empty());
        CallFailure::Status { status, phrase, q850, text, retry_after, had_credentials }
    }

    /// The INVITE came to nothing: our own end when we hung up, the far side's refusal else.
    fn fail(&mut self, line: &mut Line, failure: CallFailure) {
        if self.state == State::Answered {
            return;
        }
        self.early.clear();
        line.finish(if line.hangup.is_some() {
            SessionEvent::Ended(CallEnd::Local)
        } else {
            SessionEvent::Failed(failure)
        });
    }
}

/// Whether a description of a provisional response says what a later offer has changed (RFC 3261 §13.2.1).
fn is_out_of_date(line: &Line, response: &Response) -> bool {
    tag_of(response).is_some_and(|tag| line.early.has_changed(&tag))
}

/// The far side's tag.
fn tag_of(response: &Response) -> Option<String> {
    response.headers.to().ok().and_then(|to| to.tag().map(str::to_owned))
}

/// Whether a timer still counts: of a call that is over, that of a CANCEL alone.
fn is_kept(timer: SessionTimer, line: &Line) -> bool {
    !line.is_over() || timer == SessionTimer::CancelGiveUp
}

/// Most Contacts of a redirect that are looked at.
const MAX_CONTACTS: usize = 8;

/// Where a redirect leads, by the wish of its sender (RFC 3261 §8.1.3.4): `q` first, then their order.
fn targets(headers: &Headers) -> Vec<Uri> {
    let mut contacts = headers.contacts().unwrap_or_default();
    let weight = |c: &NameAddr| c.params.value("q").and_then(|q| q.parse().ok()).unwrap_or(1.0_f32);
    contacts.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    contacts.into_iter().take(MAX_CONTACTS).map(|c| c.uri).collect()
}
