//! A call: the INVITE usage of one dialog, placed by us or to us (RFC 3261 §12-15, RFC 3264, RFC 6026).
//!
//! Drive it: [`Session::dial`] or [`Session::accept`], then responses, failures and ends of the transactions it
//! asks for by ticket, requests, ACKs and CANCELs of the far side, the clock, and [`Session::command`]; drain
//! [`Session::poll_output`] after each. Exactly one terminal event comes ([`SessionEvent::Failed`] or
//! [`SessionEvent::Ended`]); the session lives on until [`SessionOutput::Done`], because a retransmitted 2xx
//! must still be acknowledged.
//!
//! `client` is the INVITE that we send, `server` the one that we get; each yields a `confirmed`, which is the
//! same for both: BYE and new offers in both directions; `update` is UPDATE (RFC 3311), `timer` the session
//! timer (RFC 4028). `early` is offers before the answer. `errands` is what is said beside offers. `prack` is reliable provisional responses (RFC 3262). `info` is keys of theirs, `identity` who
//! they say that they are. `line` is what all of
//! them share.

mod client;
mod confirmed;
mod early;
mod errands;
mod identity;
mod info;
mod line;
mod prack;
mod server;
mod timer;
mod update;

use super::answer::{Answer, Body};
use super::dialog::{Dialog, LocalEnd, NoDialog};
use super::transaction::{Failure, Timings, TransactionId};
use super::{Essentials, Flow, HeaderName, Hop, Reason, Request, Response, StatusCode, Transport};
use crate::base::Seed;
use bytes::Bytes;
use client::Client;
use confirmed::Confirmed;
use line::Line;
use server::Server;
use std::time::Instant;

pub use super::outcome::{CallEnd, CallFailure, IncomingInvite, OutgoingCall, SessionCommand, SessionEvent};
pub use server::Invite;
pub use timer::{KEEPALIVE, TimerRules, TimerUse};

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
    /// Send its INVITE no more.
    Hush(Ticket),
    /// News.
    Event(SessionEvent),
    /// Forget the session.
    Done,
}

/// Why a session wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionTimer {
    /// Nothing at all was heard of the far side for too long.
    Silence,
    /// It rings too long.
    RingLimit,
    /// 64·T1 after CANCEL without a final response (RFC 3261 §9.1).
    CancelGiveUp,
    /// A call to us rings for another minute: the caller is told again (RFC 3261 §13.3.1.1).
    StillRinging,
    /// A reliable provisional response of ours has no PRACK yet and goes again, from T1, doubled (RFC 3262 §3).
    ProvisionalResend,
    /// 64·T1 after it without PRACK (RFC 3262 §3).
    PrackGiveUp,
    /// Our 2xx has no ACK yet and goes again, from T1, doubled up to T2 (RFC 3261 §13.3.1.4).
    Resend,
    /// 64·T1 after our 2xx without ACK (RFC 3261 §13.3.1.4).
    AckGiveUp,
    /// Our offer may go (again) (RFC 3261 §14.1).
    OfferRetry,
    /// An offer, ours or theirs, has no answer for too long.
    OfferLimit,
    /// A REFER of theirs has no answer for too long.
    ReferLimit,
    /// BYE waits no longer for what was said before it.
    LastWords,
    /// A refresh of ours is due (RFC 4028 §7.4, §10).
    Refresh,
    /// The session timer ends: nothing was heard of the far side (RFC 4028 §10).
    SessionEnd,
    /// The far side is asked whether it still knows the call.
    Question,
}

/// Nothing is offered before the first offer has its answer (RFC 3264 §4).
const TOO_EARLY: SessionEvent = SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING };

#[derive(Debug)]
enum Opening {
    Client(Client),
    Server(Server),
}

impl Opening {
    /// The early dialog whose far side has this tag.
    fn dialog(&mut self, remote_tag: &str) -> Option<&mut Dialog> {
        match self {
            Self::Client(client) => client.dialog(remote_tag),
            Self::Server(server) => Some(server.dialog()).filter(|d| d.remote_tag() == remote_tag),
        }
    }
}

/// The machine.
#[derive(Debug)]
pub struct Session {
    line: Line,
    opening: Opening,
    confirmed: Option<Confirmed>,
}

impl Session {
    /// Places a call: sends the INVITE.
    #[must_use]
    pub fn dial(end: LocalEnd, call: OutgoingCall, timings: Timings, seed: Seed) -> Self {
        let mut line =
            Line::new(end, timings, seed, call.credentials.clone(), call.stays_on_flow, call.timers);
        line.is_direct = call.headers.iter().all(|h| *h.name() != HeaderName::Route);
        let client = Client::start(&mut line, call);
        Self { line, opening: Opening::Client(client), confirmed: None }
    }

    /// When a call of ours is given up that nobody has said anything to; see [`OutgoingCall::silence_limit`].
    pub fn give_up_silent_at(&mut self, at: Instant) {
        if let Opening::Client(client) = &mut self.opening {
            client.give_up_silent_at(at);
        }
    }

    /// Takes a call to us. Nothing is sent before a command.
    ///
    /// # Errors
    /// When the INVITE lacks what a dialog needs.
    pub fn accept(
        now: Instant,
        end: LocalEnd,
        invite: Invite,
        timings: Timings,
        seed: Seed,
    ) -> Result<Self, NoDialog> {
        let (credentials, stays_on_flow, timers) =
            (invite.credentials.clone(), invite.stays_on_flow, invite.timers);
        let mut line = Line::new(end, timings, seed, credentials, stays_on_flow, timers);
        line.is_direct = invite.request.headers.list(&HeaderName::Via).is_ok_and(|vias| vias.len() == 1);
        if line.end.flow.transport == Transport::Tcp {
            line.stay_on_connection();
        }
        let server = Server::start(now, &mut line, invite)?;
        Ok(Self { line, opening: Opening::Server(server), confirmed: None })
    }

    /// Call-ID; with the tag it names the session.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.line.call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.line.local_tag
    }

    /// It goes by a connection that the far side made.
    pub const fn stay_on_connection(&mut self) {
        self.line.stay_on_connection();
    }

    /// A connection was closed.
    pub fn handle_closed(&mut self, hop: Hop) {
        self.line.handle_closed(hop);
    }

    /// Whether the far side of its dialog has this tag; none while it is not answered.
    #[must_use]
    pub fn is_with(&self, remote_tag: &str) -> Option<bool> {
        self.confirmed.as_ref().map(|confirmed| confirmed.remote_tag() == remote_tag)
    }

    /// Whether it is not answered, and a dialog with this tag of the far side has begun.
    #[must_use]
    pub fn rings_with(&self, remote_tag: &str) -> bool {
        match &self.opening {
            _ if self.confirmed.is_some() => false,
            Opening::Client(client) => client.rings_with(remote_tag),
            Opening::Server(server) => server.remote_tag() == remote_tag,
        }
    }

    /// Whether we have placed it.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self.opening, Opening::Client(_))
    }

    /// Whether the call is over; what follows only answers retransmissions.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.line.is_over()
    }

    /// What the user wants. A command that does not fit the state is harmless.
    pub fn command(&mut self, now: Instant, command: SessionCommand) {
        if let SessionCommand::Hangup(reason) = command {
            return self.hangup(now, reason);
        }
        if self.line.hangup.is_some() || self.line.is_over() {
            return;
        }
        let line = &mut self.line;
        match (&mut self.confirmed, &mut self.opening) {
            (Some(confirmed), _) => match command {
                SessionCommand::Offer(body) => confirmed.offer(now, line, body),
                SessionCommand::AnswerOffer(body) => confirmed.answer_offer(now, line, body),
                SessionCommand::RefuseOffer(answer) => confirmed.refuse_offer(now, line, &answer),
                SessionCommand::Keys(keys) => keys.iter().for_each(|key| confirmed.send_key(line, key)),
                SessionCommand::Identify(identity) => confirmed.identify(line, identity),
                SessionCommand::AnswerRefer(answer) => confirmed.answer_refer(line, &answer),
                SessionCommand::Notify(status) => confirmed.notify(line, status),
                SessionCommand::Ring
                | SessionCommand::Provisional(..)
                | SessionCommand::Progress(_)
                | SessionCommand::Answer(_)
                | SessionCommand::Refuse(_)
                | SessionCommand::Hangup(_) => {}
            },
            (None, Opening::Server(server)) => match command {
                SessionCommand::Ring => server.ring(now, line),
                SessionCommand::Provisional(status, body) => server.progress(now, line, status, body),
                SessionCommand::Progress(body) => {
                    server.progress(now, line, StatusCode::SESSION_PROGRESS, body);
                }
                SessionCommand::Answer(body) => self.confirmed = server.answer(now, line, body),
                SessionCommand::Refuse(answer) => server.refuse(line, &answer, CallEnd::Local),
                SessionCommand::Offer(body) => server.offer(line, body),
                SessionCommand::AnswerOffer(body) => self.confirmed = server.answer_offer(now, line, body),
                SessionCommand::RefuseOffer(answer) => {
                    self.confirmed = server.refuse_offer(now, line, &answer);
                }
                SessionCommand::Keys(keys) => server.send_keys(line, &keys),
                SessionCommand::Identify(identity) => server.identify(identity),
                // no REFER was taken
                SessionCommand::AnswerRefer(_) | SessionCommand::Notify(_) | SessionCommand::Hangup(_) => {}
            },
            (None, Opening::Client(client)) => match command {
                SessionCommand::Offer(body) => client.offer(line, body),
                SessionCommand::AnswerOffer(body) => client.answer_offer(now, line, body),
                SessionCommand::RefuseOffer(answer) => early::refuse(line, &answer),
                SessionCommand::Keys(keys) => client.send_keys(line, &keys),
                _ => {}
            },
        }
        self.go_on();
    }

    /// What waits until nothing else is under way goes.
    fn go_on(&mut self) {
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.send_identity(&mut self.line);
        }
    }

    /// Ends the call in whatever state it is: CANCEL (held back until a provisional response came, RFC 3261
    /// §9.1), a refusal, or BYE (held back until the ACK of our 2xx, §15). The reason travels as a Reason header.
    fn hangup(&mut self, now: Instant, reason: Option<Reason>) {
        if self.line.hangup.is_some() || self.line.is_over() {
            return;
        }
        self.line.hangup = Some(reason);
        let line = &mut self.line;
        match (&mut self.confirmed, &mut self.opening) {
            (Some(confirmed), _) => confirmed.hangup(now, line),
            (None, Opening::Client(client)) => client.hangup(now, line),
            (None, Opening::Server(server)) => {
                let confirmed = server.hangup(now, line);
                self.confirm(now, confirmed);
            }
        }
    }

    /// The call may be answered by now; and it may have been hung up while its answer waited.
    fn confirm(&mut self, now: Instant, confirmed: Option<Confirmed>) {
        let Some(mut confirmed) = confirmed else { return };
        if self.line.hangup.is_some() {
            confirmed.hangup(now, &mut self.line);
        }
        self.confirmed = Some(confirmed);
    }

    /// A response to one of our requests.
    pub fn handle_response(&mut self, now: Instant, ticket: Ticket, response: &Response) {
        let line = &mut self.line;
        if let Some(tag) = line.early.offered_to().map(str::to_owned) {
            let dialog = match &mut self.confirmed {
                Some(confirmed) => Some(confirmed.dialog()).filter(|d| d.remote_tag() == tag),
                None => self.opening.dialog(&tag),
            };
            if early::handle_response(line, dialog, ticket, response) {
                return;
            }
        }
        if self.confirmed.is_none()
            && let Some(tag) = line.errands.out_to().map(str::to_owned)
            && let Some(dialog) = self.opening.dialog(&tag)
            && errands::hear_early(line, dialog, ticket, response)
        {
            return;
        }
        if let Some(confirmed) = &mut self.confirmed
            && confirmed.handle_response(now, line, ticket, response)
        {
            return self.go_on();
        }
        if let Opening::Client(client) = &mut self.opening
            && client.ticket() == ticket
            && let Some(confirmed) = client.handle_response(now, line, response)
        {
            self.confirmed = Some(confirmed);
        } else if let Opening::Client(client) = &mut self.opening {
            client.handle_prack_response(line, ticket, response);
        }
        // answers to CANCEL say nothing of the INVITE, those to BYEs of forks nothing of the call
    }

    /// A transaction of ours got no final response.
    pub fn handle_failure(&mut self, now: Instant, ticket: Ticket, failure: Failure) {
        let line = &mut self.line;
        if early::handle_failure(line, ticket)
            || self.confirmed.is_none() && errands::fail_early(line, ticket)
        {
            return;
        }
        match (&mut self.confirmed, &mut self.opening) {
            (Some(confirmed), _) => confirmed.handle_failure(now, line, ticket, failure),
            (None, Opening::Client(client)) => client.handle_failure(line, ticket, failure),
            (None, Opening::Server(_)) => {}
        }
        self.go_on();
    }

    /// A transaction of ours is over.
    pub fn handle_terminated(&mut self, ticket: Ticket) {
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.handle_terminated(ticket);
        }
        if let Opening::Client(client) = &mut self.opening {
            client.handle_terminated(ticket);
        }
        self.line.close(ticket);
    }

    /// A transaction of ours could not even start.
    pub fn handle_refused(&mut self, now: Instant, ticket: Ticket) {
        let line = &mut self.line;
        match (&mut self.confirmed, &mut self.opening) {
            _ if early::handle_failure(line, ticket) => {}
            (None, _) if errands::fail_early(line, ticket) => {}
            (Some(confirmed), _) => confirmed.handle_refused(now, line, ticket),
            (None, Opening::Client(client)) => client.handle_refused(line, ticket),
            (None, Opening::Server(_)) => {}
        }
        self.line.close(ticket);
    }

    /// A request of the far side with our Call-ID and tag.
    pub fn handle_request(&mut self, now: Instant, id: TransactionId, request: &Request, e: &Essentials) {
        let line = &mut self.line;
        if !line.is_over() {
            match (&mut self.confirmed, &mut self.opening) {
                (Some(confirmed), _) if confirmed.matches(e) => {
                    return confirmed.handle_request(now, line, id, request, e);
                }
                (None, Opening::Client(client)) => {
                    let is_of_an_early_dialog = client.handle_request(now, line, id, request, e);
                    if is_of_an_early_dialog {
                        return;
                    }
                }
                (None, Opening::Server(server)) if server.matches(e) => {
                    let confirmed = server.handle_request(now, line, id, request, e);
                    return self.confirm(now, confirmed);
                }
                _ => {}
            }
        }
        line.respond_to(id, request, &Answer::new(StatusCode::NO_SUCH_CALL));
    }

    /// An ACK of a 2xx with our Call-ID and tag.
    pub fn handle_ack(&mut self, now: Instant, request: &Request, e: &Essentials) {
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.handle_ack(now, &mut self.line, request, e);
        }
        self.go_on();
    }

    /// A CANCEL of the INVITE with this transaction; it is answered 200 whatever it brings about.
    ///
    /// RFC 3261 §9.2 not followed for a re-INVITE: media follows an offer at once, its answer is a moment away,
    /// and a 487 would leave the two sides with different ideas of the session.
    pub fn handle_cancel(&mut self, id: TransactionId, cancel: &Request) {
        if let Opening::Server(server) = &mut self.opening {
            server.handle_cancel(&mut self.line, id, cancel);
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let line = &mut self.line;
        if let Some(confirmed) = &mut self.confirmed {
            confirmed.handle_timeout(now, line);
        }
        let is_refused = early::handle_timeout(now, line);
        match &mut self.opening {
            Opening::Client(client) => client.handle_timeout(now, line),
            Opening::Server(server) => {
                server.handle_timeout(now, line);
                if is_refused && self.confirmed.is_none() {
                    let confirmed = server.go_on(now, line);
                    self.confirm(now, confirmed);
                }
            }
        }
        self.go_on();
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<SessionOutput> {
        self.line.poll_output()
    }

    /// The next wake-up and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        let opening = match &self.opening {
            Opening::Client(client) => client.poll_timeout(&self.line),
            Opening::Server(server) => server.poll_timeout(),
        };
        let confirmed = self.confirmed.as_ref().and_then(|confirmed| confirmed.poll_timeout(&self.line));
        let is_kept = self.confirmed.is_some() && self.line.is_live();
        let session = if is_kept { self.line.timer.poll_timeout() } else { None };
        let offer = self.line.early.poll_timeout();
        [opening, confirmed, session, offer].into_iter().flatten().min()
    }
}

/// What the far side put into a body, when it is a session description: anything else that passed
/// [`super::answer::check`] may be ignored.
fn sdp_of(headers: &super::Headers, body: &Bytes) -> Option<Body> {
    Body::of(headers, body).filter(Body::is_sdp)
}

/// The Q.850 cause and the text of a Reason header.
fn q850_of(headers: &super::Headers) -> (Option<u8>, Option<String>) {
    let reasons = headers.reasons();
    let q850 = reasons.iter().find(|r| r.q850_cause().is_some());
    let text = q850.or(reasons.first()).and_then(|r| r.text.clone());
    (q850.and_then(Reason::q850_cause), text)
}

#[cfg(test)]
mod bench_tests;
#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod early_tests;
#[cfg(test)]
mod identity_tests;
#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod offer_tests;
#[cfg(test)]
mod prack_tests;
#[cfg(test)]
mod refer_tests;
#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod silence_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod timer_tests;
#[cfg(test)]
mod update_tests;
