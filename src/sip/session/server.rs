//! The INVITE that we get, until its final answer (RFC 3261 §9.2, §13.3, §15.1.2).

use super::super::answer::{self, Answer, Body};
use super::super::dialog::{Dialog, NoDialog};
use super::super::digest::Credentials;
use super::super::transaction::TransactionId;
use super::super::{
    Essentials, Header, HeaderName, Headers, Key, Method, Reason, Request, Response, StatusCode,
};
use super::confirmed::{Accepted, Confirmed};
use super::early;
use super::errands::{self, Errand};
use super::info;
use super::line::Line;
use super::prack::Reliable;
use super::timer::TimerRules;
use super::update;
use super::{CallEnd, SessionEvent, SessionTimer, q850_of, sdp_of};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// A caller is told once a minute that it still rings: a proxy on the way gives up otherwise
/// (RFC 3261 §13.3.1.1, §16.6 timer C).
const STILL_RINGING: Duration = Duration::from_secs(60);

/// It rings no longer than this when the caller names no limit and nobody here ends it.
const RING_LIMIT: Duration = Duration::from_secs(3_600);

/// An INVITE that a handler accepted.
#[derive(Debug)]
pub struct Invite {
    /// Its transaction.
    pub id: TransactionId,
    /// The request, Via completed with the source.
    pub request: Box<Request>,
    /// What was read of it.
    pub essentials: Box<Essentials>,
    /// For challenges of our requests within the dialog.
    pub credentials: Option<Credentials>,
    /// Requests within the dialog go where the INVITE came from, whatever Contact and Record-Route say.
    pub stays_on_flow: bool,
    /// The session timer.
    pub timers: TimerRules,
}

/// The machine. It is over when the final answer is out.
#[derive(Debug)]
pub(super) struct Server {
    id: TransactionId,
    request: Box<Request>,
    seq: u32,
    dialog: Dialog,
    has_offer: bool,
    /// It made no offer, and a reliable provisional response has brought ours (RFC 3262 §5).
    is_offered: bool,
    /// The first offer, whoever made it, has its answer for good.
    is_settled: bool,
    /// It rings, and the caller hears that with our offer.
    rings_with_offer: bool,
    /// The answer that a provisional response has brought; the 2xx repeats it.
    early: Option<Body>,
    last: Option<Answer>,
    reliable: Reliable,
    /// The 2xx waits for a PRACK.
    held: Option<Option<Body>>,
    /// Lines of the 2xx that say who answers.
    identity: Vec<Header>,
    repeat_at: Option<Instant>,
    rings_until: Instant,
    is_answered: bool,
}

impl Server {
    pub(super) fn start(now: Instant, line: &mut Line, invite: Invite) -> Result<Self, NoDialog> {
        let Invite { id, request, essentials, .. } = invite;
        let dialog = Dialog::as_uas(&request, &essentials, &line.local_tag)?;
        line.call_id.clone_from(&essentials.call_id);
        line.timer.note(&request.headers);
        let reliable = Reliable::of(&request.headers, line.seed.next_u32());
        let limit = request.headers.expires().map_or(RING_LIMIT, |s| Duration::from_secs(s.into()));
        Ok(Self {
            id,
            seq: essentials.cseq.number,
            dialog,
            has_offer: sdp_of(&request.headers, &request.body).is_some(),
            is_offered: false,
            is_settled: false,
            rings_with_offer: false,
            request,
            early: None,
            last: None,
            reliable,
            held: None,
            identity: Vec::new(),
            repeat_at: None,
            rings_until: now + limit.min(RING_LIMIT),
            is_answered: false,
        })
    }

    /// 180; a second one says nothing new.
    pub(super) fn ring(&mut self, now: Instant, line: &mut Line) {
        if self.last.as_ref().is_none_or(|r| r.status != StatusCode::RINGING) {
            self.send_provisional(now, line, Answer::new(StatusCode::RINGING));
        }
    }

    /// 183, or another status that says why it does not ring (RFC 3261 §21.1.3, §21.1.4), with the answer to the caller's offer. Without an offer of the caller's, the first reliable one brings ours
    /// (RFC 3262 §5), and one that is not carries none: it might be lost (RFC 3261 §13.2.1).
    pub(super) fn progress(&mut self, now: Instant, line: &mut Line, status: StatusCode, body: Option<Body>) {
        let is_late = !self.has_offer;
        let body = if is_late {
            body.filter(|_| self.reliable.is_possible() && !self.is_offered)
        } else {
            body.filter(|_| !self.has_changed(line))
        };
        if let Some(body) = &body {
            self.is_offered |= is_late;
            self.early = Some(body.clone());
            line.description = Some(body.clone());
        }
        let is_ringing = body.is_some() && std::mem::take(&mut self.rings_with_offer);
        let status = if is_ringing { StatusCode::RINGING } else { status };
        self.send_provisional(now, line, Answer { body, ..Answer::new(status) });
    }

    /// Whether a description in a response to the INVITE means nothing any more (RFC 3261 §13.2.1).
    fn has_changed(&self, line: &Line) -> bool {
        line.early.has_changed(self.dialog.remote_tag())
    }

    /// 200, with the answer to the caller's offer or, when it made none, our offer.
    pub(super) fn answer(&mut self, now: Instant, line: &mut Line, body: Option<Body>) -> Option<Confirmed> {
        if self.is_answered || self.held.is_some() {
            return None;
        }
        if self.reliable.is_waiting() || line.early.is_asked() {
            self.reliable.drop_held();
            self.held = Some(body);
            return None;
        }
        self.is_answered = true;
        // no offer of ours goes twice, and no answer that is out of date
        let is_said = self.is_settled && (!self.has_offer || self.has_changed(line));
        let body = body.or_else(|| self.early.take()).filter(|_| !is_said);
        let headers = std::mem::take(&mut self.identity);
        let answer = Answer { body, headers, ..Answer::new(StatusCode::OK) };
        let mut response = self.response(line, &answer);
        line.timer.grant(now, &self.request.headers, &mut response.headers);
        line.description = answer.body.or_else(|| line.description.take());
        // nothing more is answered to it, and it stays as long as its 2xx may be asked for
        (self.request.headers, self.request.body, self.last) = (Headers::default(), Bytes::new(), None);
        let mut accepted = Accepted::start(now, line, self.id, self.seq, response);
        accepted.is_late = !self.has_offer && !self.is_settled;
        Some(Confirmed::as_callee(self.dialog.clone(), accepted))
    }

    /// Who answers.
    pub(super) fn identify(&mut self, identity: Vec<Header>) {
        self.identity = identity;
    }

    /// The final failure.
    pub(super) fn refuse(&mut self, line: &mut Line, answer: &Answer, end: CallEnd) {
        if self.is_answered {
            return;
        }
        self.is_answered = true;
        let response = self.response(line, answer);
        line.respond(self.id, response);
        line.finish(SessionEvent::Ended(end));
    }

    /// Refuses the call, unless its answer waits for a PRACK: then the caller hears it, and BYE after it. One that waits
    /// for the user's answer to an offer waits no longer.
    pub(super) fn hangup(&mut self, now: Instant, line: &mut Line) -> Option<Confirmed> {
        if self.held.is_some() {
            return self.refuse_offer(now, line, &Answer::new(StatusCode::REQUEST_TERMINATED));
        }
        let mut answer = Answer::new(StatusCode::TEMPORARILY_UNAVAILABLE);
        if let Some(Some(reason)) = &line.hangup {
            answer = answer.with(HeaderName::Reason, reason.to_string());
        }
        self.refuse(line, &answer, CallEnd::Local);
        None
    }

    /// Keys, once the caller knows of the early dialog.
    pub(super) fn send_keys(&mut self, line: &mut Line, keys: &[Key]) {
        if self.last.is_some() {
            keys.iter().for_each(|key| errands::run(line, &mut self.dialog, Errand::key(key)));
        }
    }

    /// Our offer within the early dialog.
    pub(super) fn offer(&mut self, line: &mut Line, body: Body) {
        let takes_update = line.timer.takes_update;
        let is_open = self.is_answered || self.held.is_some() || self.reliable.is_waiting();
        let dialog = (self.is_settled && !is_open).then_some(&mut self.dialog);
        early::offer(line, dialog, takes_update, body);
    }

    /// The user's answer to an offer of the caller's; it may let the 2xx go.
    pub(super) fn answer_offer(&mut self, now: Instant, line: &mut Line, body: Body) -> Option<Confirmed> {
        early::answer(now, line, &mut self.dialog, body);
        self.go_on(now, line)
    }

    /// The same, when it cannot be served.
    pub(super) fn refuse_offer(
        &mut self,
        now: Instant,
        line: &mut Line,
        answer: &Answer,
    ) -> Option<Confirmed> {
        early::refuse(line, answer);
        self.go_on(now, line)
    }

    /// The early dialog.
    pub(super) const fn dialog(&mut self) -> &mut Dialog {
        &mut self.dialog
    }

    pub(super) fn remote_tag(&self) -> &str {
        self.dialog.remote_tag()
    }

    pub(super) fn matches(&self, e: &Essentials) -> bool {
        self.dialog.matches(e)
    }

    /// A request within the early dialog; a PRACK may let the answer go.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
    ) -> Option<Confirmed> {
        let answer = self.dialog.handle_request(request, e).or_else(|| line.timer.rules.refusal(request));
        if answer.is_none() && update::is_bare(request) {
            update::accept(now, line, &mut self.dialog, id, request);
            return None;
        }
        if answer.is_none() && request.method == Method::PRACK {
            return self.handle_prack(now, line, id, request);
        }
        if answer.is_none() && request.method == Method::INFO {
            info::accept(line, id, request);
            return None;
        }
        if answer.is_none() && request.method == Method::UPDATE && self.is_settled {
            let refusal = early::ask(now, line, &self.dialog, id, request);
            refusal.into_iter().for_each(|answer| line.respond_to(id, request, &answer));
            return None;
        }
        let answer = answer.unwrap_or_else(|| match request.method {
            // RFC 3311 §5.2: ours has no answer
            Method::UPDATE if self.is_offered => Answer::new(StatusCode::REQUEST_PENDING),
            // theirs has none; or an INVITE or a REFER
            _ => answer::try_later(&mut line.seed),
        });
        line.respond_to(id, request, &answer);
        if request.method == Method::BYE && answer.status == StatusCode::OK {
            // the caller may end an early dialog so; the INVITE is still to be answered (RFC 3261 §15.1.2)
            self.cancelled(line, &request.headers);
        }
        None
    }

    /// PRACK: what waited for it goes (RFC 3262 §3). It may bring the answer to our first offer, and a further offer
    /// after that (§5); whatever becomes of that, it counts.
    fn handle_prack(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
    ) -> Option<Confirmed> {
        let Some(has_description) = self.reliable.acknowledge(request, self.seq) else {
            line.respond_to(id, request, &Answer::new(StatusCode::NO_SUCH_CALL));
            return None;
        };
        let body = sdp_of(&request.headers, &request.body);
        let is_late_answer = has_description && !self.has_offer && !self.is_settled;
        self.is_settled |= has_description && (self.has_offer || body.is_some());
        let answer = match &body {
            Some(_) if is_late_answer => Some(Answer::new(StatusCode::OK)),
            Some(_) if self.is_settled => early::ask(now, line, &self.dialog, id, request),
            Some(_) => Some(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE)),
            None => Some(Answer::new(StatusCode::OK)),
        };
        answer.into_iter().for_each(|answer| line.respond_to(id, request, &answer));
        if is_late_answer {
            line.tell(SessionEvent::OfferAnswered { body });
        }
        self.go_on(now, line)
    }

    /// What waited goes, if nothing is open any more.
    pub(super) fn go_on(&mut self, now: Instant, line: &mut Line) -> Option<Confirmed> {
        if self.reliable.is_waiting() || line.early.is_asked() {
            return None;
        }
        if let Some(body) = self.held.take() {
            return self.answer(now, line, body);
        }
        if let Some(answer) = self.reliable.take_held() {
            self.send_provisional(now, line, answer);
        }
        None
    }

    /// CANCEL: 487, unless the final answer is out (RFC 3261 §9.2).
    pub(super) fn handle_cancel(&mut self, line: &mut Line, id: TransactionId, cancel: &Request) {
        if id == self.id {
            self.cancelled(line, &cancel.headers);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, line: &mut Line) {
        if self.is_answered {
            return;
        }
        if self.rings_until <= now {
            // RFC 3261 §13.3.1: the invitation has expired
            return self.cancelled(line, &Headers::default());
        }
        if self.reliable.handle_timeout(now, line, self.id) {
            // RFC 3262 §3: the caller does not get what it is told
            return self.refuse(line, &Answer::new(StatusCode::SERVER_TIMEOUT), CallEnd::Lost("no PRACK"));
        }
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repeat_at = Some(now + STILL_RINGING);
            if let Some(mut last) = self.last.clone().filter(|_| !self.reliable.is_waiting()) {
                if self.is_offered || self.has_changed(line) {
                    last.body = None;
                }
                self.send_provisional(now, line, last);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        let repeat = self.repeat_at.map(|at| (at, SessionTimer::StillRinging));
        let limit = Some((self.rings_until, SessionTimer::RingLimit));
        [repeat, limit, self.reliable.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
            .filter(|_| !self.is_answered)
    }

    fn cancelled(&mut self, line: &mut Line, headers: &Headers) {
        let (q850, text) = q850_of(headers);
        let is_sip = |r: &Reason| r.protocol.eq_ignore_ascii_case("SIP");
        let sip = headers.reasons().into_iter().find(is_sip).and_then(|r| r.cause);
        let answer = Answer::new(StatusCode::REQUEST_TERMINATED);
        self.refuse(line, &answer, CallEnd::Cancelled { q850, sip, text });
    }

    fn send_provisional(&mut self, now: Instant, line: &mut Line, answer: Answer) {
        if self.is_answered || self.held.is_some() {
            return;
        }
        // without an offer the first reliable one brings ours (RFC 3261 §13.2.1)
        if self.reliable.is_required() && !self.has_offer && !self.is_offered {
            self.rings_with_offer |= answer.status == StatusCode::RINGING;
            return;
        }
        self.last = Some(answer.clone());
        self.repeat_at = Some(now + STILL_RINGING);
        if !self.reliable.covers(&answer) {
            let response = self.response(line, &answer);
            line.respond(self.id, response);
        } else if self.reliable.is_waiting() {
            self.reliable.hold(answer);
        } else {
            let response = self.response(line, &answer);
            self.reliable.send(now, line, self.id, response);
        }
    }

    /// An answer to the INVITE; one that makes a dialog brings the route back (RFC 3261 §12.1.1).
    fn response(&self, line: &Line, answer: &Answer) -> Response {
        let mut response = line.invite_response(&self.request, answer);
        if !response.status.is_failure() {
            let routes = self.request.headers.iter().filter(|h| *h.name() == HeaderName::RecordRoute);
            routes.for_each(|h| response.headers.push_header(h.clone()));
        }
        response
    }
}
