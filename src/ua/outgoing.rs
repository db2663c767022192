//! A leg that we call by SIP.

use super::ending::Ending;
use super::offers::{Action, Offers, Unreadable, body_of, read_sdp};
use super::redirect::Redirects;
use super::within::{Terms, Within};
use super::{Identity, cause};
use crate::base::{CallId, Cause, End, LegId};
use crate::call::leg::{Answered, Dial, Diversion, LegCommand, LegEvent, Party};
use crate::sip::digest::Credentials;
use crate::sip::session::{CallFailure, OutgoingCall, SessionCommand, SessionEvent, TimerRules};
use crate::sip::{Header, HeaderName, Hop, NameAddr, Reason, Refer};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The session gives up ringing after this, should the call core ever fail to.
const RING_LIMIT: Duration = Duration::from_secs(3_600);

/// Who we are at a peer, for its challenges.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// Ours.
    pub own: Option<Credentials>,
    /// Of accounts that have a user of their own there, by the account's name: that user stands in From of its calls.
    pub of_accounts: Arc<BTreeMap<String, Login>>,
    /// The ways that the registrar names for the requests of our users there, the nearest proxy first (RFC 3608).
    pub service_routes: BTreeMap<String, Vec<NameAddr>>,
}

impl Logins {
    /// Route lines of the way that the registrar names for a user, behind those to the proxy that is configured (RFC 3608
    /// §6.1), which may begin that way itself.
    fn service_route(&self, user: Option<&str>, known: &[NameAddr]) -> impl Iterator<Item = Header> {
        let way = user.and_then(|user| self.service_routes.get(user)).map_or(&[][..], Vec::as_slice);
        let place = |route: &NameAddr| route.uri.sip().map(|uri| (uri.host.clone(), uri.port));
        let is_known = way.first().zip(known.last()).is_some_and(|(first, last)| place(first) == place(last));
        let way = if is_known { way.get(1..).unwrap_or_default() } else { way };
        way.iter().map(|route| Header::new(HeaderName::Route, route.to_string()))
    }
}

/// An account's own user at a peer.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user.
    pub user: String,
    /// For the peer's challenges.
    pub credentials: Option<Credentials>,
}

/// A place that a call may go to, and how it is addressed there.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Where.
    pub hop: Hop,
    /// Who we and the peer are.
    pub identity: Identity,
}

/// Further places of a call (RFC 3263 §4.3).
#[derive(Debug, Default)]
pub struct Others {
    /// In the order to try them, when nobody is there who could take the call.
    pub destinations: VecDeque<Destination>,
    /// How long a place may say nothing at all before the next is tried.
    pub silence_limit: Duration,
}

/// The leg between its session and its call.
#[derive(Debug)]
pub struct OutgoingLeg {
    destination: Destination,
    others: Others,
    logins: Logins,
    stays_on_flow: bool,
    timers: TimerRules,
    is_ringing: bool,
    has_answer: bool,
    offers: Offers,
    within: Within,
    redirects: Redirects,
    /// What was dialled, for who redirects.
    dial: Option<Box<Dial>>,
    ending: Ending,
}

impl OutgoingLeg {
    /// A leg towards a peer. `stays_on_flow`: see [`OutgoingCall::stays_on_flow`].
    #[must_use]
    pub fn new(
        destination: Destination,
        others: Others,
        logins: Logins,
        stays_on_flow: bool,
        timers: TimerRules,
        terms: Terms,
    ) -> Self {
        Self {
            destination,
            others,
            logins,
            stays_on_flow,
            timers,
            is_ringing: false,
            has_answer: false,
            offers: Offers::default(),
            within: Within::new(terms),
            redirects: Redirects::default(),
            dial: None,
            ending: Ending::default(),
        }
    }

    /// Where the call goes; after [`Action::Dial`] that may be another place than before.
    #[must_use]
    pub const fn hop(&self) -> Hop {
        self.destination.hop
    }

    /// What the call commands.
    pub fn handle_command(&mut self, mut command: LegCommand) -> Action {
        if self.is_over() {
            return Action::None;
        }
        self.within.tailor_command(&mut command);
        if let Some(action) =
            self.offers.handle_command(&command).or_else(|| self.within.handle_command(&command))
        {
            return action;
        }
        match command {
            LegCommand::Dial(dial) => {
                self.redirects.note(&dial.target.number);
                let call = self.outgoing(&dial);
                self.dial = Some(dial);
                Action::Dial(Box::new(call))
            }
            LegCommand::Hangup(why) => {
                self.ending.silence();
                Action::Session(SessionCommand::Hangup(Some(cause::reason(why))))
            }
            // a called leg is neither rung nor answered, and its media is no news to SIP
            LegCommand::Ring
            | LegCommand::Delayed(_)
            | LegCommand::Progress { .. }
            | LegCommand::EarlyMedia(_)
            | LegCommand::Answer { .. }
            | LegCommand::Offer(_)
            | LegCommand::AnswerOffer(_)
            | LegCommand::RefuseOffer(_)
            | LegCommand::Dtmf(_)
            | LegCommand::Party(_)
            | LegCommand::Notify(_)
            | LegCommand::MediaState(_) => Action::None,
        }
    }

    /// What the session reports.
    pub fn handle_session(&mut self, event: SessionEvent) -> Action {
        let action = self.heard(event);
        self.within.tailor_action(action)
    }

    /// Where the call is that a REFER names.
    pub fn handle_found(&mut self, refer: &Refer, found: Option<(CallId, LegId)>) -> Action {
        if self.is_over() { Action::None } else { self.within.handle_found(refer, found) }
    }

    fn heard(&mut self, event: SessionEvent) -> Action {
        if self.is_over() {
            return Action::None;
        }
        if let Some(action) =
            self.offers.handle_session(&event).or_else(|| self.within.handle_session(&event))
        {
            return action;
        }
        let word = match event {
            SessionEvent::Ringing => {
                self.is_ringing = true;
                LegEvent::Ringing
            }
            SessionEvent::Progress { status, body } => match read_sdp(body.as_ref()) {
                Ok(answer @ Some(_)) => {
                    self.has_answer = true;
                    LegEvent::Progress { answer, delay: cause::to_delay(status) }
                }
                // early media that cannot be read is no reason to fail a call that may yet be answered
                Ok(None) | Err(Unreadable) => {
                    let progress = LegEvent::Progress { answer: None, delay: None };
                    cause::to_delay(status).map_or(progress, LegEvent::Delayed)
                }
            },
            SessionEvent::Answered { body } => match read_sdp(body.as_ref()) {
                Ok(Some(sdp)) => LegEvent::Answered { answer: Answered::Sdp(sdp) },
                Ok(None) if self.has_answer => LegEvent::Answered { answer: Answered::Nothing },
                // RFC 3261 §13.2.1: our offer must have its answer by now; without one nobody would ever hear
                // anything
                Ok(None) | Err(Unreadable) => self.ending.part(Cause::BadMedia),
            },
            SessionEvent::Failed(failure) => {
                if let Some(call) = self.elsewhere(&failure).or_else(|| self.redirected(&failure)) {
                    return Action::Dial(Box::new(call));
                }
                let end = self.failure_end(&failure);
                self.ending.over(end)
            }
            SessionEvent::Ended(end) => self.ending.over(cause::from_end(&end)),
            SessionEvent::Confirmed { .. }
            | SessionEvent::Offer { .. }
            | SessionEvent::OfferAnswered { .. }
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::AckUnheard { .. }
            | SessionEvent::Identity(_)
            | SessionEvent::Key(_)
            | SessionEvent::Refer(_) => return Action::None,
        };
        Action::Tell(word)
    }

    /// The leg cannot go on: its peer was not found, its session is gone.
    pub fn fail(&mut self, cause: Cause) -> Option<LegEvent> {
        self.ending.fail(cause)
    }

    /// Why the session is to be hung up, when the leg ended by itself while its session lives: an answer that
    /// is of no use was acknowledged, and a BYE must follow (RFC 3261 §13.2.2.4).
    #[must_use]
    pub fn parting(&self) -> Option<Reason> {
        self.ending.parting()
    }

    /// Whether the last word was said.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ending.is_over()
    }

    fn failure_end(&self, failure: &CallFailure) -> End {
        let cause = match failure {
            CallFailure::Status { status, q850, retry_after, .. } => {
                let cause = cause::from_failure(status.code(), *q850, self.is_ringing);
                return End { cause, status: Some(status.code()), q850: *q850, retry_after: *retry_after };
            }
            CallFailure::Redirected { status, .. } => cause::from_status(status.code(), self.is_ringing),
            CallFailure::Credentials(_) => Cause::Unauthorized,
            CallFailure::Timeout | CallFailure::Transport => Cause::Unreachable,
            CallFailure::BadAnswer(_) => Cause::RemoteFailure,
            CallFailure::Congestion => Cause::Congestion,
        };
        cause.into()
    }

    /// The same call to the next place, when nobody was there who could take it (RFC 3263 §4.3). Who has heard something of
    /// the first place stays with it.
    fn elsewhere(&mut self, failure: &CallFailure) -> Option<OutgoingCall> {
        if !failure.is_absence() || self.is_ringing || self.has_answer {
            return None;
        }
        self.destination = self.others.destinations.pop_front()?;
        self.offers = Offers::default();
        let dial = self.dial.take()?;
        let call = self.outgoing(&dial);
        self.dial = Some(dial);
        Some(call)
    }

    /// The next number that a redirect leads to, dialled; none when this is no redirect, or it leads nowhere.
    fn redirected(&mut self, failure: &CallFailure) -> Option<OutgoingCall> {
        let number = self.redirects.next(failure, &self.within.terms)?;
        let mut dial = self.dial.take()?;
        let before = std::mem::replace(&mut dial.target.number, number);
        if matches!(failure, CallFailure::Redirected { .. }) {
            let from = Party { user: before, display: None };
            dial.particulars.diversions.insert(0, Diversion { from, why: None, is_private: false });
        }
        let call = self.outgoing(&dial);
        self.dial = Some(dial);
        (self.is_ringing, self.offers) = (false, Offers::default());
        Some(call)
    }

    fn outgoing(&self, dial: &Dial) -> OutgoingCall {
        let policy = &self.within.terms.policy;
        let by = dial.transferred_by.as_ref().filter(|_| policy.is_trusted);
        let home = &self.destination.identity;
        let transferred = by.and_then(|by| home.referred_by(by));
        let replaces =
            dial.takes_over.as_ref().map(|dialog| Header::new(HeaderName::Replaces, dialog.clone()));
        let number = &dial.target.number;
        let login = dial.account.as_ref().and_then(|name| self.logins.of_accounts.get(name));
        let as_line = login.map(|login| Identity { user: Some(login.user.clone()), ..home.clone() });
        OutgoingCall {
            request_uri: home.request_uri(number),
            // an extension of its own has a name at the PBX
            from: as_line.as_ref().map_or_else(
                || policy.from(home, &dial.from),
                |line| line.from(&policy.caller(&dial.from), policy.caller_id),
            ),
            to: home.to(number),
            headers: home
                .route_lines()
                .chain(
                    self.logins.service_route(as_line.as_ref().unwrap_or(home).user.as_deref(), &home.routes),
                )
                .chain(policy.lines(home, &dial.from, number, &dial.particulars))
                .chain(transferred)
                .chain(replaces)
                .collect(),
            credentials: login.map_or_else(|| self.logins.own.clone(), |login| login.credentials.clone()),
            body: dial.offer.as_deref().map(body_of),
            ring_limit: RING_LIMIT,
            silence_limit: (!self.others.destinations.is_empty()).then_some(self.others.silence_limit),
            max_forwards: dial.hops,
            stays_on_flow: self.stays_on_flow,
            external: home.external,
            timers: self.timers,
        }
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
