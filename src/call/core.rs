//! One call: two legs and what joins them. Sans-IO.
//!
//! Drive it with `handle_*`, then drain [`Call::poll_output`] and wake it at [`Call::poll_timeout`]. The
//! first outputs ask for a route and a leg; the io answers with [`Call::handle_route`] and
//! [`Call::handle_opened`].
//!
//! A leg that came without an offer is detached: it hears and says nothing until it offers. Media of both
//! legs is joined from the start, so early media flows as soon as either side can.
//!
//! Left out as yet: a second target when the first fails, re-offers towards the other leg, transfer.

use super::leg::{Dial, Incoming, LegCommand, LegEvent, LegProfile, MediaState};
use super::port::{MediaCommand, MediaEvent};
use super::route::{RouteDecision, RouteQuery, Target};
use crate::base::{Cause, LegId};
use crate::sdp::SessionDescription;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long the callee rings when the caller says nothing else.
pub const DEFAULT_RING_TIMEOUT: Duration = Duration::from_secs(60);

/// What a call asks of the world. Exhaustive on purpose: a new variant must break every driver.
#[derive(Debug)]
pub enum Output {
    /// Find a route; answer with [`Call::handle_route`].
    Route(RouteQuery),
    /// Open a leg at an edge; answer with [`Call::handle_opened`].
    Open {
        /// The leg's id, chosen by the driver with [`Call::new`].
        leg: LegId,
        /// Where.
        target: Target,
    },
    /// A command to a leg.
    Leg(LegId, LegCommand),
    /// A command to the media of this call.
    Media(MediaCommand),
    /// A line for the log.
    Note(Note),
    /// The call is over; nothing follows.
    Ended(Cause),
}

/// What the log says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It was placed towards a target.
    Dialing(Target),
    /// The callee rings.
    Ringing,
    /// It was answered.
    Answered,
    /// A leg's media changed.
    Media(LegId, MediaState),
}

/// The timers of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The callee has rung long enough.
    Ring,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is asked yet.
    New,
    /// The route is asked for.
    Routing,
    /// The called leg is being opened, or its offer made.
    Opening,
    /// The called leg was dialled.
    Dialing,
    /// Both legs are answered.
    Active,
    Ended,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    state: State,
    caller: Caller,
    callee: LegId,
    callee_is_open: bool,
    target: Option<Target>,
    ring_deadline: Option<Instant>,
    is_ringing: bool,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Caller {
    leg: LegId,
    profile: LegProfile,
    /// Its first offer, kept until the callee's answer says which codec.
    offer: Option<Box<SessionDescription>>,
    /// Its answer, once media made it: sent with progress, and again with the answer.
    answer: Option<Box<SessionDescription>>,
    incoming: Incoming,
}

impl Call {
    /// A call that `caller` begins; `callee` is the id of the leg to be opened.
    #[must_use]
    pub fn new(caller: LegId, callee: LegId, mut incoming: Incoming) -> Self {
        let offer = incoming.offer.take();
        let caller = Caller { leg: caller, profile: incoming.profile.clone(), offer, answer: None, incoming };
        Self {
            state: State::New,
            caller,
            callee,
            callee_is_open: false,
            target: None,
            ring_deadline: None,
            is_ringing: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether both parties are joined.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// Begins; the clock of the ring timeout starts here.
    pub fn start(&mut self, now: Instant) {
        if self.state != State::New {
            return;
        }
        self.state = State::Routing;
        self.ring_deadline = Some(now + self.caller.incoming.ring_timeout.unwrap_or(DEFAULT_RING_TIMEOUT));
        let query =
            RouteQuery { source: self.caller.incoming.source.clone(), to: self.caller.incoming.to.clone() };
        self.outputs.push_back(Output::Route(query));
    }

    /// The route that was asked for.
    pub fn handle_route(&mut self, decision: RouteDecision) {
        if self.state != State::Routing {
            return;
        }
        let target = match decision {
            RouteDecision::To(targets) => match targets.into_iter().next() {
                Some(target) => target,
                None => return self.end(Cause::NotFound, None),
            },
            RouteDecision::NoRoute => return self.end(Cause::NotFound, None),
            RouteDecision::Forbidden => return self.end(Cause::Forbidden, None),
        };
        self.state = State::Opening;
        self.target = Some(target.clone());
        self.outputs.push_back(Output::Open { leg: self.callee, target });
    }

    /// The leg that was asked for: what it can do, or why it cannot be opened.
    pub fn handle_opened(&mut self, opened: Result<LegProfile, Cause>) {
        if self.state != State::Opening || self.callee_is_open {
            return;
        }
        match opened {
            Ok(profile) => {
                self.callee_is_open = true;
                let leg = self.callee;
                self.outputs
                    .push_back(Output::Media(MediaCommand::CreateOffer { leg, profile: profile.media }));
                self.outputs.push_back(Output::Media(MediaCommand::Bridge(self.caller.leg, leg)));
            }
            Err(cause) => self.end(cause, None),
        }
    }

    /// What a leg said.
    pub fn handle_leg(&mut self, leg: LegId, event: LegEvent) {
        if matches!(self.state, State::Ended | State::New) {
            return;
        }
        if leg == self.caller.leg {
            self.handle_caller(event);
        } else if leg == self.callee {
            self.handle_callee(event);
        }
    }

    fn handle_caller(&mut self, event: LegEvent) {
        match event {
            LegEvent::Offer(sdp) => {
                if self.caller.offer.is_some() {
                    // RFC 3264 §4: no second offer while the first has no answer
                    let refusal =
                        super::port::MediaRefusal::Unusable("an offer of this call is still unanswered");
                    return self.tell(self.caller.leg, LegCommand::RefuseOffer(refusal));
                }
                self.accept_caller_offer(sdp);
            }
            LegEvent::Detached => self.media(MediaCommand::Detach(self.caller.leg)),
            LegEvent::Ended(cause) => {
                // who hangs up before an answer has cancelled
                let is_cancel = cause == Cause::Normal && self.state != State::Active;
                self.end(if is_cancel { Cause::Cancelled } else { cause }, Some(self.caller.leg));
            }
            // a caller neither rings nor answers; an answer to an offer of ours cannot come, none was made
            LegEvent::Incoming(_)
            | LegEvent::Ringing
            | LegEvent::Progress { .. }
            | LegEvent::Answered { .. }
            | LegEvent::OfferAnswered(_)
            | LegEvent::OfferRefused(_) => {}
        }
    }

    fn handle_callee(&mut self, event: LegEvent) {
        match event {
            LegEvent::Ringing => {
                if self.state == State::Dialing && !self.is_ringing {
                    self.is_ringing = true;
                    self.outputs.push_back(Output::Note(Note::Ringing));
                    self.tell(self.caller.leg, LegCommand::Ring);
                }
            }
            LegEvent::Progress { answer } => {
                if self.state == State::Dialing {
                    match answer {
                        Some(sdp) => {
                            self.media(MediaCommand::AcceptAnswer { leg: self.callee, sdp });
                            self.answer_caller_media();
                        }
                        None => self.tell(self.caller.leg, LegCommand::Progress { answer: None }),
                    }
                }
            }
            LegEvent::Answered { answer } => {
                if self.state != State::Dialing {
                    return;
                }
                self.state = State::Active;
                self.ring_deadline = None;
                self.outputs.push_back(Output::Note(Note::Answered));
                if let Some(sdp) = answer {
                    self.media(MediaCommand::AcceptAnswer { leg: self.callee, sdp });
                }
                // early media may fall silent while it rings; from here on both sides should send
                self.media(MediaCommand::Expect(self.callee));
                self.media(MediaCommand::Expect(self.caller.leg));
                if self.caller.offer.is_some() {
                    self.answer_caller_media(); // the answer follows when media made it
                } else {
                    let answer = self.caller.answer.clone();
                    self.tell(self.caller.leg, LegCommand::Answer { answer });
                }
            }
            LegEvent::Detached => self.media(MediaCommand::Detach(self.callee)),
            LegEvent::Offer(_) => {
                let refusal = super::port::MediaRefusal::Unusable("a new offer in this call is not served");
                self.tell(self.callee, LegCommand::RefuseOffer(refusal));
            }
            LegEvent::Ended(cause) => self.end(cause, Some(self.callee)),
            LegEvent::Incoming(_) | LegEvent::OfferAnswered(_) | LegEvent::OfferRefused(_) => {}
        }
    }

    /// What the media of this call said.
    pub fn handle_media(&mut self, event: MediaEvent) {
        if matches!(self.state, State::Ended | State::New) {
            return;
        }
        match event {
            MediaEvent::Offer { leg, sdp } if leg == self.callee && self.state == State::Opening => {
                let Some(target) = self.target.clone() else { return };
                self.state = State::Dialing;
                self.outputs.push_back(Output::Note(Note::Dialing(target.clone())));
                let dial = Dial { target, from: self.caller.incoming.from.clone(), offer: sdp };
                self.tell(self.callee, LegCommand::Dial(Box::new(dial)));
            }
            MediaEvent::Offer { .. } => {}
            MediaEvent::Answer { leg, sdp } if leg == self.caller.leg => self.deliver_caller_answer(sdp),
            MediaEvent::Answer { leg, sdp } => self.tell(leg, LegCommand::AnswerOffer(sdp)),
            MediaEvent::Refused { leg, refusal } => {
                let is_first = leg == self.callee || self.caller.incoming_offer_is_open();
                if is_first {
                    self.end(refusal.cause(), None);
                } else {
                    self.tell(leg, LegCommand::RefuseOffer(refusal));
                }
            }
            MediaEvent::Connected { leg, codec } => {
                self.report_media(leg, MediaState::Connected { codec: codec.name() });
            }
            MediaEvent::Failed { leg, cause } => {
                self.report_media(leg, MediaState::Failed(cause));
                self.end_unless_detachable(leg, cause);
            }
            MediaEvent::Lost { leg, cause } => {
                self.report_media(leg, MediaState::Lost(cause));
                self.end_unless_detachable(leg, cause);
            }
            MediaEvent::Detached { leg, .. } => self.report_media(leg, MediaState::Closed),
        }
    }

    /// The clock. Early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.ring_deadline.is_some_and(|at| now >= at) {
            self.ring_deadline = None;
            self.end(Cause::NoAnswer, None);
        }
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
        self.ring_deadline.map(|at| (at, Timer::Ring))
    }

    /// The caller offered at first and the callee's codec is known: answer it.
    fn answer_caller_media(&mut self) {
        if let Some(sdp) = self.caller.offer.clone() {
            self.accept_caller_offer(sdp);
        } else if let Some(answer) = self.caller.answer.clone() {
            self.tell(self.caller.leg, LegCommand::Progress { answer: Some(answer) });
        } else {
            self.tell(self.caller.leg, LegCommand::Progress { answer: None });
        }
    }

    fn accept_caller_offer(&mut self, sdp: Box<SessionDescription>) {
        let (leg, profile) = (self.caller.leg, self.caller.profile.media.clone());
        self.media(MediaCommand::AcceptOffer { leg, profile, sdp });
    }

    fn deliver_caller_answer(&mut self, sdp: Box<SessionDescription>) {
        let leg = self.caller.leg;
        if !self.caller.incoming_offer_is_open() {
            return self.tell(leg, LegCommand::AnswerOffer(sdp));
        }
        self.caller.offer = None;
        self.caller.answer = Some(sdp.clone());
        let command = if self.state == State::Active {
            LegCommand::Answer { answer: Some(sdp) }
        } else {
            LegCommand::Progress { answer: Some(sdp) }
        };
        self.tell(leg, command);
    }

    fn report_media(&mut self, leg: LegId, state: MediaState) {
        self.outputs.push_back(Output::Note(Note::Media(leg, state)));
        self.tell(leg, LegCommand::MediaState(state));
    }

    fn end_unless_detachable(&mut self, leg: LegId, cause: Cause) {
        let stays = leg == self.caller.leg && self.caller.profile.may_detach && cause != Cause::Internal;
        if !stays {
            self.end(cause, None);
        }
    }

    fn tell(&mut self, leg: LegId, command: LegCommand) {
        self.outputs.push_back(Output::Leg(leg, command));
    }

    fn media(&mut self, command: MediaCommand) {
        self.outputs.push_back(Output::Media(command));
    }

    /// Ends both legs, the one that is `gone` excepted, and frees their media.
    fn end(&mut self, cause: Cause, gone: Option<LegId>) {
        if self.state == State::Ended {
            return;
        }
        self.state = State::Ended;
        self.ring_deadline = None;
        if gone != Some(self.caller.leg) {
            self.tell(self.caller.leg, LegCommand::Hangup(cause));
        }
        if self.callee_is_open && gone != Some(self.callee) {
            self.tell(self.callee, LegCommand::Hangup(cause));
        }
        self.media(MediaCommand::Release(self.caller.leg));
        self.media(MediaCommand::Release(self.callee));
        self.outputs.push_back(Output::Ended(cause));
    }
}

impl Caller {
    /// Whether the offer that began the call still waits for its answer.
    fn incoming_offer_is_open(&self) -> bool {
        self.offer.is_some()
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
