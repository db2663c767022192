//! The INVITE that we get, until its final answer (RFC 3261 §9.2, §13.3, §15.1.2).

use super::super::answer::{self, Answer, Body};
use super::super::dialog::{Dialog, NoDialog};
use super::super::digest::Credentials;
use super::super::transaction::TransactionId;
use super::super::{Essentials, HeaderName, Headers, Method, Reason, Request, Response, StatusCode};
use super::confirmed::{Accepted, Confirmed};
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
    /// The answer that a provisional response has brought; the 2xx repeats it.
    early: Option<Body>,
    last: Option<Answer>,
    reliable: Reliable,
    /// The 2xx waits for a PRACK.
    held: Option<Option<Body>>,
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
            request,
            early: None,
            last: None,
            reliable,
            held: None,
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

    /// 183, with the answer to the caller's offer. Without an offer of the caller's a provisional response
    /// carries none of ours: it might be lost (RFC 3261 §13.2.1).
    pub(super) fn progress(&mut self, now: Instant, line: &mut Line, body: Option<Body>) {
        let body = body.filter(|_| self.has_offer);
        if body.is_some() {
            self.early.clone_from(&body);
        }
        let answer = Answer { body, ..Answer::new(StatusCode::SESSION_PROGRESS) };
        self.send_provisional(now, line, answer);
    }

    /// 200, with the answer to the caller's offer or, when it made none, our offer.
    pub(super) fn answer(&mut self, now: Instant, line: &mut Line, body: Option<Body>) -> Option<Confirmed> {
        if self.is_answered || self.held.is_some() {
            return None;
        }
        if self.reliable.is_waiting() {
            self.reliable.drop_held();
            self.held = Some(body);
            return None;
        }
        self.is_answered = true;
        let answer = Answer { body: body.or_else(|| self.early.take()), ..Answer::new(StatusCode::OK) };
        let mut response = self.response(line, &answer);
        line.timer.grant(now, &self.request.headers, &mut response.headers);
        line.description = answer.body;
        // nothing more is answered to it, and it stays as long as its 2xx may be asked for
        (self.request.headers, self.request.body, self.last) = (Headers::default(), Bytes::new(), None);
        let mut accepted = Accepted::start(now, line, self.id, self.seq, response);
        accepted.is_late = !self.has_offer;
        Some(Confirmed::as_callee(self.dialog.clone(), accepted))
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

    /// Refuses the call, unless its answer waits for a PRACK: then the caller hears it, and BYE after it.
    pub(super) fn hangup(&mut self, line: &mut Line) {
        if self.held.is_some() {
            return;
        }
        let mut answer = Answer::new(StatusCode::TEMPORARILY_UNAVAILABLE);
        if let Some(Some(reason)) = &line.hangup {
            answer = answer.with(HeaderName::Reason, reason.to_string());
        }
        self.refuse(line, &answer, CallEnd::Local);
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
        // an INVITE, a REFER, or an UPDATE that asks for an answer before the first offer has its own (RFC 3311 §5.2)
        let answer = answer.unwrap_or_else(|| answer::try_later(&mut line.seed));
        line.respond_to(id, request, &answer);
        if request.method == Method::BYE && answer.status == StatusCode::OK {
            // the caller may end an early dialog so; the INVITE is still to be answered (RFC 3261 §15.1.2)
            self.cancelled(line, &request.headers);
        }
        None
    }

    /// PRACK: what waited for it goes (RFC 3262 §3). An offer in it is refused, and it counts all the same.
    fn handle_prack(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
    ) -> Option<Confirmed> {
        let is_its = self.reliable.acknowledge(request, self.seq);
        let status = match sdp_of(&request.headers, &request.body) {
            _ if !is_its => StatusCode::NO_SUCH_CALL,
            Some(_) => StatusCode::NOT_ACCEPTABLE_HERE,
            None => StatusCode::OK,
        };
        line.respond_to(id, request, &Answer::new(status));
        if !is_its {
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
            return self.refuse(line, &Answer::new(StatusCode::SERVER_TIMEOUT), CallEnd::Lost);
        }
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repeat_at = Some(now + STILL_RINGING);
            if let Some(last) = self.last.clone().filter(|_| !self.reliable.is_waiting()) {
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
        // without an offer the first reliable one would have to bring ours (RFC 3261 §13.2.1)
        if self.is_answered || self.held.is_some() || (self.reliable.is_required() && !self.has_offer) {
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
