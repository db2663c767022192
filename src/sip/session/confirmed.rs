//! A confirmed dialog, whoever began it: BYE and new offers in both directions (RFC 3261 §14, §15, RFC 3264
//! §4, RFC 5407 §3.1).
//!
//! At most one INVITE is under way at a time (RFC 3261 §14.1). An offer of ours waits until theirs is through,
//! or until the back-off of a glare is over; theirs is refused with 491 while ours is out.

mod accepted;
mod refer;
mod refresh;
mod words;

use super::super::answer::{self, Answer, Body};
use super::super::dialog::Dialog;
use super::super::transaction::{Failure, TransactionId};
use super::super::{Essentials, Flow, Header, HeaderName, Method, Reason, Request, Response, StatusCode};
use super::early::Asked;
use super::identity;
use super::info;
use super::line::{Line, is_challenge};
use super::update;
use super::{CallEnd, SessionEvent, SessionTimer, Ticket, q850_of, sdp_of};
pub(super) use accepted::Accepted;
use bytes::Bytes;
use refer::Referral;
use refresh::Update;
use std::time::{Duration, Instant};

/// How often an offer of ours goes that meets theirs each time.
const MAX_TRIES: u32 = 5;

/// The unit of the back-off after a glare (RFC 3261 §14.1).
const BACK_OFF: Duration = Duration::from_millis(10);

/// How long BYE waits for the answers to what was said before it: two of them may be lost once.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// An offer of ours.
#[derive(Debug)]
enum Ours {
    /// It waits for its time, and until no INVITE of theirs is under way.
    Held { body: Body, at: Instant, tries: u32 },
    /// It is out.
    Sent(Sent),
}

/// An offer of ours that is out.
#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    invite: Box<Request>,
    body: Body,
    tries: u32,
    /// When it is cancelled or, once it was, given up.
    until: Instant,
    is_cancelled: bool,
    /// It is of the session timer: what becomes of it is no news.
    is_refresh: bool,
    /// What the user wants to offer after that.
    next: Option<Body>,
}

/// An INVITE of theirs, or an UPDATE with an offer.
#[derive(Debug)]
enum Theirs {
    /// The user has to answer it.
    Asked { id: TransactionId, seq: u32, request: Box<Request>, until: Instant },
    /// Our 2xx is out and its ACK is awaited.
    Accepted(Accepted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bye {
    None,
    /// It waits for the ACK of our first 2xx (RFC 3261 §15), or for what was said before it.
    Wanted,
    Sent(Ticket),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Confirmed {
    dialog: Dialog,
    /// We chose the Call-ID: our back-off after a glare is the longer one.
    owns_call_id: bool,
    ours: Option<Ours>,
    /// An UPDATE of ours that is out.
    update: Option<Update>,
    /// Who the far side talks to, which it has yet to be told.
    identity: Option<Vec<Header>>,
    theirs: Option<Theirs>,
    /// A transfer that they asked for.
    referral: Option<Referral>,
    /// How many they asked for.
    referrals: u32,
    bye: Bye,
    /// The BYE as it went, for its retry with credentials.
    last_bye: Option<Request>,
    /// For retransmissions of the 2xx to our offers.
    acks: Vec<(Ticket, Flow, Bytes)>,
}

impl Confirmed {
    /// The dialog of an INVITE of ours, acknowledged; an UPDATE of theirs may be open from before.
    pub(super) fn as_caller(dialog: Dialog, asked: Option<Asked>) -> Self {
        Self {
            dialog,
            owns_call_id: true,
            ours: None,
            update: None,
            identity: None,
            theirs: asked.map(|Asked { id, seq, request, until, .. }| Theirs::Asked {
                id,
                seq,
                request,
                until,
            }),
            referral: None,
            referrals: 0,
            bye: Bye::None,
            last_bye: None,
            acks: Vec::new(),
        }
    }

    /// The dialog of an INVITE of theirs.
    pub(super) fn as_callee(dialog: Dialog, mut accepted: Accepted) -> Self {
        accepted.is_first = true;
        Self {
            owns_call_id: false,
            theirs: Some(Theirs::Accepted(accepted)),
            ..Self::as_caller(dialog, None)
        }
    }

    pub(super) const fn dialog(&mut self) -> &mut Dialog {
        &mut self.dialog
    }

    /// Whether a request of the far side belongs here.
    pub(super) fn matches(&self, e: &Essentials) -> bool {
        self.dialog.matches(e)
    }

    pub(super) fn remote_tag(&self) -> &str {
        self.dialog.remote_tag()
    }

    /// BYE. The callee's has to wait for the ACK of its 2xx (RFC 3261 §15).
    pub(super) fn hangup(&mut self, now: Instant, line: &mut Line) {
        if self.bye != Bye::None {
            return;
        }
        if self.is_unacknowledged() {
            self.bye = Bye::Wanted;
        } else if line.errands.is_busy() {
            self.bye = Bye::Wanted;
            line.errands.wait_until(now + LAST_WORDS);
        } else {
            self.send_bye(now, line);
        }
    }

    /// Whether our first 2xx waits for its ACK.
    fn is_unacknowledged(&self) -> bool {
        matches!(&self.theirs, Some(Theirs::Accepted(a)) if a.is_first)
    }

    /// Our offer; refused at once while another one of ours has no answer (RFC 3264 §4).
    pub(super) fn offer(&mut self, now: Instant, line: &mut Line, body: Body) {
        if let Some(Ours::Sent(Sent { is_refresh: true, next: next @ None, .. })) = &mut self.ours {
            *next = Some(body);
            return;
        }
        if self.ours.is_some() || line.early.is_offering() {
            return line.tell(SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING });
        }
        self.ours = Some(Ours::Held { body, at: now, tries: 0 });
        self.send_held(now, line);
    }

    /// Our answer to theirs or, when theirs had none, our offer.
    pub(super) fn answer_offer(&mut self, now: Instant, line: &mut Line, body: Body) {
        let Some((id, seq, request)) = self.take_asked() else { return };
        self.dialog.refresh_target(&request.headers);
        if request.method == Method::UPDATE {
            // no ACK follows
            line.description = Some(body.clone());
            update::answer(now, line, id, &request, Some(body));
            return self.send_held(now, line);
        }
        line.description = Some(body.clone());
        let answer = Answer { body: Some(body), ..Answer::new(StatusCode::OK) };
        let mut response = line.invite_response(&request, &answer);
        line.timer.grant(now, &request.headers, &mut response.headers);
        let is_late = sdp_of(&request.headers, &request.body).is_none();
        let mut accepted = Accepted::start(now, line, id, seq, response);
        accepted.is_late = is_late;
        self.theirs = Some(Theirs::Accepted(accepted));
    }

    /// A failure to theirs: the session stays as it was (RFC 3261 §14.2).
    pub(super) fn refuse_offer(&mut self, now: Instant, line: &mut Line, answer: &Answer) {
        let Some((id, _, request)) = self.take_asked() else { return };
        line.respond_to(id, &request, answer);
        self.send_held(now, line);
    }

    /// A request within the dialog.
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
    ) {
        let answer = self.dialog.handle_request(request, e).or_else(|| line.timer.rules.refusal(request));
        line.timer.heard(now);
        if answer.is_none() && self.bye == Bye::None && update::is_bare(request) {
            return update::accept(now, line, &mut self.dialog, id, request);
        }
        if answer.is_none() && request.method == Method::PRACK {
            // none of ours is out any more (RFC 3262 §3)
            return line.respond_to(id, request, &Answer::new(StatusCode::NO_SUCH_CALL));
        }
        if answer.is_none() && request.method == Method::INFO {
            return info::accept(line, id, request);
        }
        if answer.is_none() && request.method == Method::REFER {
            return self.handle_refer(now, line, id, request);
        }
        let Some(answer) = answer.or_else(|| self.handle_offer(now, line, id, request, e)) else { return };
        line.respond_to(id, request, &answer);
        if request.method == Method::BYE && answer.status == StatusCode::OK {
            let (q850, text) = q850_of(&request.headers);
            self.end(now, line, CallEnd::Remote { q850, text });
        }
    }

    /// An ACK; one that comes again says nothing new.
    pub(super) fn handle_ack(&mut self, now: Instant, line: &mut Line, request: &Request, e: &Essentials) {
        let is_awaited = matches!(&self.theirs, Some(Theirs::Accepted(a)) if a.seq == e.cseq.number);
        if is_awaited && self.dialog.matches(e) {
            self.acknowledged(now, line, sdp_of(&request.headers, &request.body));
            self.send_held(now, line);
        }
    }

    /// A response to BYE or to an offer of ours; false when it is to neither.
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        line: &mut Line,
        ticket: Ticket,
        response: &Response,
    ) -> bool {
        if self.bye == Bye::Sent(ticket) {
            if !response.status.is_provisional() && !self.retry_bye(line, response) {
                self.end(now, line, CallEnd::Local);
            }
            return true;
        }
        if let Some((_, flow, bytes)) = self.acks.iter().find(|(t, ..)| *t == ticket) {
            if response.status.is_success() {
                line.send(*flow, bytes.clone());
            }
            return true;
        }
        if self.handle_update_response(now, line, ticket, response)
            || self.handle_errand_response(now, line, ticket, response)
        {
            return true;
        }
        match self.ours.take() {
            Some(Ours::Sent(sent)) if sent.ticket == ticket => {
                if response.status.is_provisional() {
                    self.ours = Some(Ours::Sent(sent));
                } else {
                    self.handle_final(now, line, sent, response);
                }
                true
            }
            other => {
                self.ours = other;
                false
            }
        }
    }

    /// A request of ours got no final response. One that could not leave counts as refused with 503 (RFC 3261
    /// §8.1.3.1), and the session stays as it was (§14.1): a proxy on the way may be starting anew.
    pub(super) fn handle_failure(&mut self, now: Instant, line: &mut Line, ticket: Ticket, failure: Failure) {
        if self.bye == Bye::Sent(ticket) {
            self.end(now, line, CallEnd::Local);
        } else if failure == Failure::Transport && self.is_ours(ticket) {
            self.handle_refused(now, line, ticket);
        } else if self.is_ours(ticket) {
            self.ours = None;
            self.lost(now, line, "no answer to an offer");
        } else if !self.handle_errand_failure(now, line, ticket, failure) {
            self.handle_update_timeout(now, line, ticket);
        }
    }

    /// A request of ours could not even start.
    pub(super) fn handle_refused(&mut self, now: Instant, line: &mut Line, ticket: Ticket) {
        if self.bye == Bye::Sent(ticket) {
            self.end(now, line, CallEnd::Local);
        } else if self.is_ours(ticket) {
            let refused = SessionEvent::OfferRefused { status: StatusCode::SERVICE_UNAVAILABLE };
            match self.ours.take() {
                Some(Ours::Sent(Sent { is_refresh: true, next, .. })) => {
                    next.into_iter().for_each(|_| line.tell(refused.clone()));
                }
                _ => line.tell(refused),
            }
        } else if !self.handle_errand_refused(now, line, ticket) {
            self.handle_update_refused(ticket);
        }
    }

    /// A transaction of ours is over: its 2xx comes no more.
    pub(super) fn handle_terminated(&mut self, ticket: Ticket) {
        self.acks.retain(|(t, ..)| *t != ticket);
    }

    /// The clock; early calls are harmless.
    pub(super) fn handle_timeout(&mut self, now: Instant, line: &mut Line) {
        match &mut self.theirs {
            Some(Theirs::Accepted(a)) if a.give_up_at <= now => {
                self.theirs = None;
                if self.bye == Bye::Wanted {
                    self.send_bye(now, line);
                } else {
                    self.lost(now, line, "no ACK");
                }
            }
            Some(Theirs::Accepted(a)) if a.resend_at <= now => a.resend(now, line),
            Some(Theirs::Asked { until, .. }) if *until <= now => {
                self.refuse_offer(now, line, &Answer::new(StatusCode::SERVER_TIMEOUT));
            }
            _ => {}
        }
        match &mut self.ours {
            Some(Ours::Held { .. }) => self.send_held(now, line),
            Some(Ours::Sent(sent)) if sent.until <= now => {
                if line.is_over() || sent.is_cancelled {
                    line.abandon(sent.ticket);
                    self.ours = None;
                    self.lost(now, line, "no answer to an offer");
                } else {
                    sent.until = now + line.timings.give_up();
                    sent.is_cancelled = true;
                    let cancel = line.cancel(&sent.invite);
                    let flow = line.flow_of(&self.dialog);
                    line.start(cancel, flow);
                }
            }
            _ => {}
        }
        self.refuse_late_referral(now, line);
        if self.bye == Bye::Wanted && line.errands.is_late(now) && !line.is_over() {
            self.send_bye(now, line);
        }
        self.keep_session(now, line);
    }

    /// The next wake-up and why.
    pub(super) fn poll_timeout(&self, line: &Line) -> Option<(Instant, SessionTimer)> {
        let theirs = self.theirs.as_ref().map(|t| match t {
            Theirs::Asked { until, .. } => (*until, SessionTimer::OfferLimit),
            Theirs::Accepted(a) => {
                (a.resend_at, SessionTimer::Resend).min((a.give_up_at, SessionTimer::AckGiveUp))
            }
        });
        let ours = self.ours.as_ref().and_then(|o| match o {
            Ours::Held { at, .. } => self.theirs.is_none().then_some((*at, SessionTimer::OfferRetry)),
            Ours::Sent(sent) => Some((sent.until, SessionTimer::OfferLimit)),
        });
        let referral = self.referral.as_ref().and_then(Referral::poll_timeout);
        let bye = if self.bye == Bye::Wanted { line.errands.poll_timeout() } else { None };
        [theirs, ours, referral, bye].into_iter().flatten().min()
    }

    /// A re-INVITE, or an UPDATE with an offer: held for the user, or what to say to it at once.
    fn handle_offer(
        &mut self,
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
    ) -> Option<Answer> {
        match &self.theirs {
            // RFC 3261 §14.2: the first has no final answer
            Some(Theirs::Asked { .. }) => return Some(answer::try_later(&mut line.seed)),
            // RFC 5407 §3.1.5: our offer has no answer yet, its ACK is late or lost
            Some(Theirs::Accepted(a)) if a.is_late => return Some(Answer::new(StatusCode::REQUEST_PENDING)),
            // an UPDATE may have been under way before our 2xx: what it says of that is unknown
            Some(Theirs::Accepted(_)) if request.method == Method::UPDATE => {
                return Some(answer::try_later(&mut line.seed));
            }
            // RFC 5407 §3.1.4: who goes on has seen our 2xx
            Some(Theirs::Accepted(_)) => self.acknowledged(now, line, None),
            // RFC 3261 §14.1: the back-off was for this; our answer will say what our offer would have said
            None if matches!(self.ours, Some(Ours::Held { .. })) => {
                self.ours = None;
                line.tell(SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING });
            }
            None => {}
        }
        if self.bye != Bye::None {
            return Some(Answer::new(StatusCode::NO_SUCH_CALL));
        }
        if matches!(self.ours, Some(Ours::Sent(_))) || line.early.is_offering() {
            return Some(Answer::new(StatusCode::REQUEST_PENDING));
        }
        // who sent an UPDATE is told before he gives up waiting (RFC 3261 §17.1.2.2 timer F)
        let share = if request.method == Method::UPDATE { 2 } else { 1 };
        let until = now + line.timings.give_up() / share;
        let seq = e.cseq.number;
        self.theirs = Some(Theirs::Asked { id, seq, request: Box::new(request.clone()), until });
        identity::tell(line, &request.headers);
        line.tell(SessionEvent::Offer { body: sdp_of(&request.headers, &request.body) });
        None
    }

    fn take_asked(&mut self) -> Option<(TransactionId, u32, Box<Request>)> {
        match self.theirs.take() {
            Some(Theirs::Asked { id, seq, request, .. }) => Some((id, seq, request)),
            other => {
                self.theirs = other;
                None
            }
        }
    }

    fn acknowledged(&mut self, now: Instant, line: &mut Line, body: Option<Body>) {
        let Some(Theirs::Accepted(accepted)) = self.theirs.take() else { return };
        if self.bye == Bye::Wanted {
            return self.send_bye(now, line);
        }
        if accepted.is_first {
            line.tell(SessionEvent::Confirmed { body });
        } else if accepted.is_late {
            line.tell(SessionEvent::OfferAnswered { body });
        }
    }

    /// Sends our offer when its time has come and no INVITE of theirs is under way.
    fn send_held(&mut self, now: Instant, line: &mut Line) {
        if self.theirs.is_some() || !matches!(&self.ours, Some(Ours::Held { at, .. }) if *at <= now) {
            return;
        }
        let Some(Ours::Held { body, tries, .. }) = self.ours.take() else { return };
        line.begin_digest();
        self.send_offer(now, line, body, tries + 1, Vec::new());
    }

    fn send_offer(
        &mut self,
        now: Instant,
        line: &mut Line,
        body: Body,
        tries: u32,
        credentials: Vec<Header>,
    ) {
        let mut r = line.request(&mut self.dialog, Method::INVITE);
        line.push_capabilities(&mut r.headers);
        line.timer.ask(&mut r.headers);
        credentials.into_iter().for_each(|h| r.headers.push_header(h));
        r.headers.push(HeaderName::ContentType, body.content_type.clone());
        r.body = body.bytes.clone();
        let flow = line.flow_of(&self.dialog);
        let ticket = line.start(r.clone(), flow);
        let until = now + line.timings.give_up().saturating_mul(2);
        let invite = Box::new(r);
        let (is_cancelled, is_refresh, next) = (false, false, None);
        self.ours =
            Some(Ours::Sent(Sent { ticket, invite, body, tries, until, is_cancelled, is_refresh, next }));
    }

    /// The final response to our offer.
    fn handle_final(&mut self, now: Instant, line: &mut Line, sent: Sent, response: &Response) {
        let Sent { ticket, invite, body, tries, is_refresh, next, .. } = sent;
        let status = response.status;
        if status.is_success() {
            self.dialog.refresh_target(&response.headers);
            let (flow, bytes) = line.ack(&self.dialog, &invite);
            line.send(flow, bytes.clone());
            self.acks.push((ticket, flow, bytes));
            line.timer.answered(now, &response.headers);
            line.description = Some(body);
            let body = sdp_of(&response.headers, &response.body);
            return self.settled(now, line, next, is_refresh, SessionEvent::OfferAnswered { body });
        }
        if self.bye != Bye::None || line.is_over() {
            return;
        }
        let again = match status {
            s if is_challenge(s) && line.is_home(&line.flow_of(&self.dialog)) => {
                line.credentials(response, &invite, &invite.uri.to_string()).ok()
            }
            StatusCode::SESSION_INTERVAL_TOO_SMALL if line.timer.raise(&response.headers) => {
                line.begin_digest();
                Some(Vec::new())
            }
            _ => None,
        };
        if let Some(credentials) = again {
            self.send_offer(now, line, body, tries, credentials);
            if let Some(Ours::Sent(sent)) = &mut self.ours {
                (sent.is_refresh, sent.next) = (is_refresh, next);
            }
            return;
        }
        match status {
            StatusCode::REQUEST_PENDING if tries < MAX_TRIES => {
                let at = now + self.back_off(line);
                self.ours = Some(Ours::Held { body, at, tries });
            }
            // RFC 3261 §12.2.1.2: the far side knows nothing of the dialog any more
            StatusCode::REQUEST_TIMEOUT | StatusCode::NO_SUCH_CALL => {
                self.lost(now, line, "the far side knows nothing of the call");
            }
            status => self.settled(now, line, next, is_refresh, SessionEvent::OfferRefused { status }),
        }
    }

    /// RFC 3261 §14.1: 2.1 to 4 s for who chose the Call-ID, 0 to 2 s for the other, in units of 10 ms.
    fn back_off(&self, line: &mut Line) -> Duration {
        let units = if self.owns_call_id { 210 + line.seed.below(191) } else { line.seed.below(201) };
        BACK_OFF.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
    }

    fn is_ours(&self, ticket: Ticket) -> bool {
        matches!(&self.ours, Some(Ours::Sent(sent)) if sent.ticket == ticket)
    }

    fn send_bye(&mut self, now: Instant, line: &mut Line) {
        self.settle(now, line);
        line.begin_digest();
        let mut bye = line.request(&mut self.dialog, Method::BYE);
        line.push_reason(&mut bye);
        self.start_bye(line, bye);
    }

    fn start_bye(&mut self, line: &mut Line, bye: Request) {
        let flow = line.flow_of(&self.dialog);
        self.last_bye = Some(bye.clone());
        self.bye = Bye::Sent(line.start(bye, flow));
    }

    /// Sends BYE again with credentials; false when there are none to send.
    fn retry_bye(&mut self, line: &mut Line, response: &Response) -> bool {
        if !is_challenge(response.status) || !line.is_home(&line.flow_of(&self.dialog)) {
            return false;
        }
        let Some(challenged) = self.last_bye.take() else { return false };
        let mut bye = line.request(&mut self.dialog, Method::BYE);
        let uri = bye.uri.to_string();
        let Ok(credentials) = line.credentials(response, &challenged, &uri) else { return false };
        credentials.into_iter().for_each(|h| bye.headers.push_header(h));
        line.push_reason(&mut bye);
        self.start_bye(line, bye);
        true
    }

    /// The far side has gone without a word: BYE, should it still listen, and the end.
    fn lost(&mut self, now: Instant, line: &mut Line, text: &'static str) {
        if self.bye == Bye::None && !line.is_over() {
            line.hangup.get_or_insert_with(|| Some(Reason::q850(102, text)));
            self.send_bye(now, line);
            self.end(now, line, CallEnd::Lost(text));
        }
    }

    fn end(&mut self, now: Instant, line: &mut Line, end: CallEnd) {
        self.settle(now, line);
        line.finish(SessionEvent::Ended(end));
    }

    /// Nothing is negotiated any more: what is pending of theirs is refused (RFC 3261 §15.1.2), what waits here
    /// is dropped, and what is out of ours has so long to come back.
    fn settle(&mut self, now: Instant, line: &mut Line) {
        if let Some((id, _, request)) = self.take_asked() {
            line.respond_to(id, &request, &Answer::new(StatusCode::REQUEST_TERMINATED));
        }
        self.answer_refer(line, &Answer::new(StatusCode::REQUEST_TERMINATED));
        self.theirs = None;
        line.errands.drop_waiting();
        match &mut self.ours {
            Some(Ours::Held { .. }) => self.ours = None,
            Some(Ours::Sent(sent)) => {
                sent.until = sent.until.min(now + line.timings.give_up());
                sent.is_cancelled = true;
            }
            None => {}
        }
    }
}
