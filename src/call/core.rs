//! One call: the caller, those that are rung, and from the answer on two parties and what joins them. Sans-IO.
//!
//! Drive it with `handle_*`, then drain [`Call::poll_output`] and wake it at [`Call::poll_timeout`]. The
//! first outputs ask for a route and for legs; the io answers with [`Call::handle_route`] and
//! [`Call::handle_opened`].
//!
//! A route is a list of attempts, tried one after the other while the one before failed for a reason that lets
//! another party answer ([`Occasion::of`]); a step whose places ring in turn is several of them. The targets of one attempt ring together; the first answer wins, the
//! others are told that the call was answered elsewhere, and one that declines declines for all.
//!
//! A leg that came without an offer and takes none is detached: it hears and says nothing until it offers. Media
//! of the caller is joined to that of the first party rung, so early media flows as soon as either side can.
//!
//! A party of an answered call may hand the other one over (`transfer`): others are rung for who stays, in the same
//! way, while the call goes on. And another leg may take the place of one of the two ([`Call::replace`]).
//!
//! Left out as yet: candidates that trickle.

use super::leg::{
    Answered, Delay, Dial, DtmfDigit, EarlyOffer, Incoming, LegCommand, LegEvent, LegProfile, MediaState,
    Party as Person, Stated, TransferState,
};
use super::port::{Codec, KEY_DURATION, MediaCommand, MediaEvent, MediaProfile, MediaRefusal};
use super::route::{JOIN, Occasion, RouteQuery, Target};
use crate::base::{Cause, End, LegId};
use crate::sdp::SessionDescription;
use keys::KeySource;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long each attempt rings when neither the caller nor the route says anything else.
pub const DEFAULT_RING_TIMEOUT: Duration = Duration::from_secs(60);
/// An answered call without anybody on either side ends after this: two browsers that crashed left it, or never came.
/// Who has lost a network for a moment is back by then.
pub const DESERTED_LIMIT: Duration = Duration::from_secs(60);
/// Leg ids that belong to one call: the caller's, and those after it for the parties it rings. More parties than
/// that are not rung.
pub const LEGS_PER_CALL: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is asked yet.
    New,
    /// The route is asked for.
    Routing,
    /// Somebody is being rung.
    Trying,
    /// Both parties are answered.
    Active,
    Ended,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    state: State,
    /// The leg that began it: the ids of the others are counted from it.
    first: LegId,
    caller: Caller,
    /// Who answered.
    partner: Option<Party>,
    /// The parties of the current attempt.
    callees: Vec<Callee>,
    transfer: Option<Transfer>,
    /// A leg that is to take the place of the partner.
    joining: Option<Party>,
    change: Option<Change>,
    attempts: VecDeque<Attempt>,
    next_leg: u64,
    /// What says most of why the attempts so far failed.
    failure: Option<End>,
    /// The same of the attempt before the present one, or of the present one once it failed.
    last_failure: Option<End>,
    /// Why the present attempt is a forward of the call, when it is one.
    diversion: Option<End>,
    /// The attempt before was passed over.
    was_skipped: bool,
    ring_deadline: Option<Instant>,
    /// Nobody is on either side, until then.
    deserted_until: Option<Instant>,
    /// Who answered and hung up before the caller could be told of the answer.
    parting: Option<Parting>,
    is_ringing: bool,
    /// Whose media the caller's is joined to.
    bridged: Option<LegId>,
    /// The caller was told that it is heard before the answer.
    is_early: bool,
    outputs: VecDeque<Output>,
}

impl Call {
    /// A call that `caller` begins; the [`LEGS_PER_CALL`] ids from the caller's on are this call's.
    #[must_use]
    pub fn new(caller: LegId, mut incoming: Incoming) -> Self {
        let offer = incoming.offer.take();
        let party = Party::calling(caller, &incoming);
        Self {
            state: State::New,
            first: caller,
            caller: Caller {
                party,
                offer,
                answer: None,
                delay: None,
                early: None,
                is_unchecked: false,
                is_answered: false,
                incoming,
            },
            partner: None,
            callees: Vec::new(),
            transfer: None,
            joining: None,
            change: None,
            attempts: VecDeque::new(),
            next_leg: 1,
            failure: None,
            last_failure: None,
            diversion: None,
            was_skipped: false,
            ring_deadline: None,
            deserted_until: None,
            parting: None,
            is_ringing: false,
            bridged: None,
            is_early: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether both parties are joined.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Whether a leg belongs to the call now; one that was given up while it was being opened does not.
    #[must_use]
    pub fn has_leg(&self, leg: LegId) -> bool {
        self.state != State::Ended && (self.party(leg).is_some() || self.callee(leg).is_some())
    }

    /// Begins.
    pub fn start(&mut self) {
        if self.state != State::New {
            return;
        }
        self.state = State::Routing;
        if let MediaProfile::Application(application) = self.caller.party.profile.media {
            self.media(MediaCommand::Run(self.caller.party.leg, application));
        }
        if let Some(sdp) = self.caller.offer.clone() {
            let (leg, profile) = (self.caller.party.leg, self.caller.party.profile.media.clone());
            self.caller.is_unchecked = true;
            self.media(MediaCommand::CheckOffer { leg, profile, sdp });
        }
        let Incoming { source, to, .. } = &self.caller.incoming;
        let query = RouteQuery { source: source.clone(), to: to.clone() };
        self.outputs.push_back(Output::Route(query));
    }

    /// The route that was asked for, or why there is none.
    pub fn handle_route(&mut self, now: Instant, route: Result<Vec<Attempt>, Cause>) {
        if self.state == State::Routing {
            self.state = State::Trying;
        } else if !self.transfer.as_mut().is_some_and(|t| std::mem::take(&mut t.is_routing)) {
            return;
        }
        match route {
            Ok(attempts) => {
                self.attempts = attempts.into();
                self.failure = self.attempts.is_empty().then_some(Cause::NotFound.into());
                self.try_next(now);
            }
            Err(cause) => self.come_to_nothing(cause.into()),
        }
    }

    /// The leg that was asked for: what it can do, or why it cannot be opened.
    pub fn handle_opened(&mut self, now: Instant, leg: LegId, opened: Result<LegProfile, Cause>) {
        let Some(callee) = self.callees.iter_mut().find(|c| c.leg == leg && c.progress == Progress::Opening)
        else {
            return;
        };
        let profile = match opened {
            Ok(profile) => profile,
            Err(cause) => return self.give_up(now, leg, cause, true),
        };
        // a leg of another call is no number
        let target = Some(&callee.target).filter(|target| target.edge != JOIN);
        let who = target.map_or_else(Stated::default, |target| Stated::number(target.number.clone()));
        callee.party = Some(Party::new(leg, profile.clone(), who));
        callee.progress = Progress::Offering;
        if self.bridged.is_none() {
            self.bridge(leg);
        }
        if profile.is_silent_until_answered() {
            self.media(MediaCommand::Mute(leg, true));
        }
        if let MediaProfile::Application(application) = profile.media {
            // before the answer, so that a caller's media speaks what the application does
            self.media(MediaCommand::Run(leg, application));
        }
        if profile.takes_offer {
            self.media(MediaCommand::CreateOffer { leg, profile: profile.media });
        } else if !self.caller.is_unchecked {
            self.dial(leg, None);
        }
        if let Some(sdp) = self.caller.early.take() {
            let (leg, profile) = (self.caller.party.leg, self.caller.party.profile.media.clone());
            self.media(MediaCommand::AcceptOffer { leg, profile, sdp });
        }
    }

    /// What a leg said.
    pub fn handle_leg(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        if matches!(self.state, State::Ended | State::New) {
            return;
        }
        self.hear_leg(now, leg, event);
        self.note_early_media();
        self.note_presence(now);
    }

    fn hear_leg(&mut self, now: Instant, leg: LegId, event: LegEvent) {
        match event {
            LegEvent::Ended(end) => {
                self.flush_keys(leg, None);
                self.handle_ended(now, leg, end);
            }
            LegEvent::Offer(sdp) => self.handle_offer(leg, sdp),
            LegEvent::OfferRequested => self.handle_offer_requested(leg),
            LegEvent::OfferAnswered(sdp) => {
                if let Some(party) = self.party_mut(leg)
                    && std::mem::take(&mut party.is_asked)
                {
                    self.media(MediaCommand::AcceptAnswer { leg, sdp });
                    self.make_change(leg);
                    self.offer_if_due(leg);
                }
            }
            LegEvent::OfferRefused(cause) => {
                if let Some(party) = self.party_mut(leg)
                    && std::mem::take(&mut party.is_asked)
                {
                    if self.refuse_change(leg, cause) || self.keeps_codec(leg) || self.put_off(leg) {
                        return;
                    }
                    self.outputs.push_back(Output::Note(Note::OfferRefused(leg, cause)));
                    self.offer_if_due(leg);
                }
            }
            LegEvent::Detached => {
                if leg == self.caller.party.leg && self.caller.early.take().is_some() {
                    self.caller.party.is_asking = false;
                    let refusal = MediaRefusal::Unusable("the offer was taken back before it was answered");
                    self.tell(leg, LegCommand::RefuseOffer(refusal));
                }
                self.take_back_change(leg);
                if self.party_mut(leg).is_some() {
                    self.media(MediaCommand::Detach(leg));
                }
            }
            LegEvent::Hold(is_holding) => self.handle_hold(leg, is_holding),
            LegEvent::Dtmf(digits) => self.handle_keys(leg, digits),
            LegEvent::Pressed(key) => self.handle_pressed(now, leg, key),
            LegEvent::Party(who) => self.handle_party(leg, *who),
            LegEvent::Transfer(wish) => self.handle_transfer(now, leg, *wish),
            LegEvent::Ringing => {
                if self.is_rung(leg) && !std::mem::replace(&mut self.is_ringing, true) {
                    self.outputs.push_back(Output::Note(Note::Ringing(leg)));
                    self.caller.delay = None;
                    match self.transfer {
                        Some(_) => self.notify(TransferState::Ringing),
                        None => {
                            self.tell(self.caller.party.leg, LegCommand::Ring);
                            self.offer_early(EarlyOffer::Needed);
                        }
                    }
                }
            }
            LegEvent::Delayed(why) => {
                if self.is_rung(leg) && self.transfer.is_none() {
                    self.tell(self.caller.party.leg, LegCommand::Delayed(why));
                }
            }
            LegEvent::Progress { answer, delay } => self.handle_progress(leg, answer, delay),
            LegEvent::Answered { answer } => self.handle_answered(leg, answer),
            // the call began with it
            LegEvent::Incoming(_) => {}
        }
    }

    fn handle_progress(&mut self, leg: LegId, answer: Option<Box<SessionDescription>>, delay: Option<Delay>) {
        if !self.is_rung(leg) {
            return;
        }
        self.caller.delay = delay;
        match answer {
            Some(sdp) => {
                self.close_first_offer(leg);
                self.media(MediaCommand::AcceptAnswer { leg, sdp });
                self.bridge(leg);
                if self.transfer.is_none() {
                    self.answer_caller_media();
                }
            }
            None if self.transfer.is_none() => {
                self.tell(self.caller.party.leg, LegCommand::Progress { answer: None, delay });
            }
            None => {}
        }
    }

    /// The first answer wins.
    fn handle_answered(&mut self, leg: LegId, answer: Answered) {
        if !self.is_rung(leg) {
            return;
        }
        self.state = State::Active;
        self.ring_deadline = None;
        self.attempts.clear();
        self.close_first_offer(leg);
        let (winner, others) =
            std::mem::take(&mut self.callees).into_iter().partition::<Vec<_>, _>(|c| c.leg == leg);
        let winner = winner.into_iter().next().and_then(|c| c.party);
        let before = std::mem::replace(&mut self.partner, winner);
        let note = if self.transfer.is_some() { Note::Transferred(leg) } else { Note::Answered(leg) };
        self.outputs.push_back(Output::Note(note));
        others.iter().for_each(|c| self.close(c, Cause::AnsweredElsewhere.into()));
        self.bridge(leg);
        if self.partner.as_ref().is_some_and(|partner| partner.profile.is_silent_until_answered()) {
            self.media(MediaCommand::Mute(leg, false));
        }
        match answer {
            Answered::Sdp(sdp) => {
                self.keep(leg, &sdp);
                self.media(MediaCommand::AcceptAnswer { leg, sdp });
            }
            Answered::Application(application) => self.media(MediaCommand::Run(leg, application)),
            Answered::Nothing => {}
        }
        self.offer_if_due(leg);
        // early media may fall silent while it rings; from here on both sides should send
        let caller = self.caller.party.leg;
        self.media(MediaCommand::Expect(leg));
        if self.transfer.take().is_some() {
            self.introduce();
            self.finish_transfer(before);
            return self.change_codec(leg);
        }
        self.introduce_callee();
        self.media(MediaCommand::Expect(caller));
        if self.caller.offer.is_some() {
            self.answer_caller_media(); // the answer follows when media made it
        } else if self.caller.party.profile.takes_offer && self.caller.answer.is_none() {
            // RFC 3261 §13.2.1: who called without an offer gets ours with the answer
            if !self.caller.party.is_asked {
                self.offer(caller);
            }
        } else {
            let answer = self.caller.answer.clone();
            self.answer_caller(answer);
        }
    }

    fn handle_ended(&mut self, now: Instant, leg: LegId, mut end: End) {
        if leg == self.caller.party.leg {
            // who hangs up before an answer has cancelled
            if end.cause == Cause::Normal && self.state != State::Active {
                end.cause = Cause::Cancelled;
            }
            self.end(end, Some(leg));
        } else if self.callee(leg).is_some() {
            self.give_up(now, leg, end, true);
        } else if self.partner.as_ref().is_some_and(|p| p.leg == leg) {
            if self.transfer.is_some() || self.joining.is_some() {
                self.let_go(leg);
            } else {
                self.part(now, leg, end);
            }
        } else if self.joining.take_if(|j| j.leg == leg).is_some() {
            self.media(MediaCommand::Release(leg));
            self.go_on_alone(end.cause);
        }
    }

    /// The clock. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, leg)) = self.next_keys().filter(|(until, _)| *until <= now) {
            self.flush_keys(leg, Some(now));
        }
        if let Some(parting) = self.parting.as_ref().filter(|p| p.until <= now) {
            return self.end(parting.end, None);
        }
        if self.deserted_until.is_some_and(|until| until <= now) {
            return self.end(Cause::MediaTimeout, None);
        }
        if self.ring_deadline.is_none_or(|at| now < at) {
            return;
        }
        self.ring_deadline = None;
        let unanswered = std::mem::take(&mut self.callees);
        for callee in &unanswered {
            self.outputs.push_back(Output::Note(Note::Failed(callee.leg, Cause::NoAnswer)));
            self.close(callee, Cause::NoAnswer.into());
        }
        self.note_failure(Cause::NoAnswer.into());
        self.try_next(now);
        self.note_early_media();
    }

    /// Ends the call from inside: shutdown, a limit, an operator.
    pub fn hangup(&mut self, cause: Cause) {
        self.end(cause, None);
    }

    /// What to do next; until none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Call::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let parting = self.parting.as_ref().map(|p| (p.until, Timer::Parting));
        let ring = self.ring_deadline.map(|at| (at, Timer::Ring));
        let keys = self.next_keys().map(|(until, _)| (until, Timer::Keys));
        let deserted = self.deserted_until.map(|until| (until, Timer::Deserted));
        [parting, ring, keys, deserted].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    // ---- small things

    fn callee(&self, leg: LegId) -> Option<&Callee> {
        self.callees.iter().find(|c| c.leg == leg)
    }

    /// Whether somebody is to be rung.
    fn is_trying(&self) -> bool {
        self.state == State::Trying || self.transfer.as_ref().is_some_and(|t| !t.is_routing)
    }

    /// Whether a leg was dialled and may yet answer.
    fn is_rung(&self, leg: LegId) -> bool {
        self.is_trying() && self.callee(leg).is_some_and(|c| c.progress == Progress::Dialed)
    }

    fn parties(&self) -> impl Iterator<Item = &Party> {
        let rung = self.callees.iter().filter_map(|c| c.party.as_ref());
        let others = self.partner.iter().chain(&self.joining).chain(rung);
        std::iter::once(&self.caller.party).chain(others)
    }

    /// Keeps a description for a second look (see [`Call::follow`]).
    fn keep(&mut self, leg: LegId, sdp: &SessionDescription) {
        if let Some(party) = self.party_mut(leg) {
            party.description = Some(Box::new(sdp.clone()));
        }
    }

    fn party(&self, leg: LegId) -> Option<&Party> {
        self.parties().find(|p| p.leg == leg)
    }

    fn party_mut(&mut self, leg: LegId) -> Option<&mut Party> {
        let rung = self.callees.iter_mut().filter_map(|c| c.party.as_mut());
        let others = self.partner.iter_mut().chain(&mut self.joining).chain(rung);
        std::iter::once(&mut self.caller.party).chain(others).find(|p| p.leg == leg)
    }

    /// An id of this call's for one more leg.
    fn new_leg(&mut self) -> Option<LegId> {
        let leg = LegId(self.first.0 + self.next_leg);
        (self.next_leg < LEGS_PER_CALL).then(|| {
            self.next_leg += 1;
            leg
        })
    }

    /// The party a leg is joined with.
    fn other(&self, leg: LegId) -> Option<LegId> {
        if leg == self.caller.party.leg {
            self.bridged
        } else {
            (self.bridged == Some(leg)).then_some(self.caller.party.leg)
        }
    }

    fn tell(&mut self, leg: LegId, command: LegCommand) {
        self.outputs.push_back(Output::Leg(leg, command));
    }

    fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }

    /// Ends all legs, those that are gone excepted, and frees their media.
    fn end(&mut self, end: impl Into<End>, gone: Option<LegId>) {
        let end = end.into();
        if self.state == State::Ended {
            return;
        }
        self.state = State::Ended;
        (self.ring_deadline, self.deserted_until) = (None, None);
        let parted = self.parting.take().map(|p| p.leg);
        let caller = self.caller.party.leg;
        if gone != Some(caller) {
            self.tell(caller, LegCommand::Hangup(end));
        }
        for party in self.partner.take().into_iter().chain(self.joining.take()) {
            if ![gone, parted].contains(&Some(party.leg)) {
                self.tell(party.leg, LegCommand::Hangup(end));
            }
            self.media(MediaCommand::Release(party.leg));
        }
        self.transfer = None;
        for callee in std::mem::take(&mut self.callees) {
            if gone == Some(callee.leg) {
                self.release(&callee);
            } else {
                self.close(&callee, end);
            }
        }
        self.media(MediaCommand::Release(caller));
        self.outputs.push_back(Output::Ended(end.cause));
    }
}

mod attempts;
mod codec;
mod identity;
mod keys;
mod media;
mod offers;
mod parting;
mod party;
mod transfer;
mod words;

use codec::Change;
use parting::Parting;
use party::{Callee, Caller, Party, Progress};
use transfer::Transfer;
pub use words::{Attempt, Note, Output, Timer};

#[cfg(test)]
#[path = "core_attempts_tests.rs"]
mod core_attempts_tests;
#[cfg(test)]
#[path = "core_codec_tests.rs"]
mod core_codec_tests;
#[cfg(test)]
#[path = "core_early_tests.rs"]
mod core_early_tests;
#[cfg(test)]
#[path = "core_identity_tests.rs"]
mod core_identity_tests;
#[cfg(test)]
#[path = "core_table_tests.rs"]
mod core_table_tests;
#[cfg(test)]
#[path = "core_tests.rs"]
mod core_tests;
#[cfg(test)]
#[path = "core_transfer_tests.rs"]
mod core_transfer_tests;
