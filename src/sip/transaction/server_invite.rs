//! INVITE server transaction (RFC 3261 §17.2.1 with the Accepted state of RFC 6026 §7.1).
//!
//! The user answers through [`ServerInvite::respond`]; a 2xx is retransmitted by the user (it calls
//! `respond` again), everything else by the machine.

use super::timer::{Deadlines, Timer, Timings};
use super::{Failure, ServerOutput};
use crate::sip::{Request, Response, StatusCode};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// When 100 Trying is due (RFC 3261 §17.2.1).
const TRYING_AFTER: Duration = Duration::from_millis(200);

/// State (RFC 6026 figure 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The user has not answered finally.
    Proceeding,
    /// A failure was sent; ACK is awaited.
    Completed,
    /// ACK came; its retransmissions are absorbed.
    Confirmed,
    /// A 2xx was sent; ACKs go to the user, retransmissions of the INVITE are absorbed.
    Accepted,
    /// Over.
    Terminated,
}

/// The machine.
#[derive(Debug)]
pub struct ServerInvite {
    state: State,
    timings: Timings,
    is_reliable: bool,
    trying: Bytes,
    last: Option<Bytes>,
    interval: Duration,
    deadlines: Deadlines,
    outputs: VecDeque<ServerOutput>,
}

impl ServerInvite {
    /// A new INVITE; the caller hands it to the user itself.
    #[must_use]
    pub fn start(now: Instant, request: &Request, timings: Timings, is_reliable: bool) -> Self {
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::Trying, now + TRYING_AFTER);
        Self {
            state: State::Proceeding,
            timings,
            is_reliable,
            trying: request.response(StatusCode::TRYING, None).to_bytes(),
            last: None,
            interval: timings.t1,
            deadlines,
            outputs: VecDeque::new(),
        }
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Whether a failure was repeated until the interval is at its longest (RFC 3261 §17.2.1, timer G), and no ACK came.
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        self.state == State::Completed && self.interval >= self.timings.t2
    }

    /// Whether the transport delivers by itself, so that a failure goes once; counts from the next answer on.
    pub(super) const fn set_reliable(&mut self, is_reliable: bool) {
        self.is_reliable = is_reliable;
    }

    /// The same INVITE again.
    pub fn handle_retransmission(&mut self) {
        match self.state {
            State::Proceeding | State::Completed => {
                self.outputs.extend(self.last.clone().map(ServerOutput::Send));
            }
            // RFC 6026 §7.1: absorbed, the user repeats its 2xx by itself
            State::Accepted | State::Confirmed | State::Terminated => {}
        }
    }

    /// An ACK that matches this transaction.
    pub fn handle_ack(&mut self, now: Instant, ack: Request) {
        match self.state {
            State::Completed => {
                self.deadlines.clear();
                if self.is_reliable {
                    self.terminate();
                } else {
                    self.deadlines.set(Timer::I, now + self.timings.t4);
                    self.state = State::Confirmed;
                }
            }
            State::Accepted => self.outputs.push_back(ServerOutput::Ack(Box::new(ack))),
            State::Proceeding | State::Confirmed | State::Terminated => {}
        }
    }

    /// The user's answer. What does not fit the state is ignored: a second final response, a provisional
    /// one after it.
    pub fn respond(&mut self, now: Instant, response: &Response) {
        let status = response.status;
        match self.state {
            State::Proceeding => {}
            State::Accepted if status.is_success() => {
                self.outputs.push_back(ServerOutput::Send(response.to_bytes()));
                return;
            }
            _ => return,
        }
        let wire = response.to_bytes();
        self.outputs.push_back(ServerOutput::Send(wire.clone()));
        // of a 2xx the user repeats its own
        self.last = (!status.is_success()).then_some(wire);
        self.trying = Bytes::new();
        self.deadlines.clear();
        if status.is_success() {
            self.deadlines.set(Timer::L, now + self.timings.give_up());
            self.state = State::Accepted;
        } else if status.is_failure() {
            if !self.is_reliable {
                self.deadlines.set(Timer::G, now + self.interval);
            }
            self.deadlines.set(Timer::H, now + self.timings.give_up());
            self.state = State::Completed;
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.take_due(now) {
            match timer {
                Timer::Trying => {
                    self.last = Some(self.trying.clone());
                    self.outputs.push_back(ServerOutput::Send(self.trying.clone()));
                }
                Timer::G => {
                    self.interval = self.interval.saturating_mul(2).min(self.timings.t2);
                    self.deadlines.set(Timer::G, now + self.interval);
                    self.outputs.extend(self.last.clone().map(ServerOutput::Send));
                }
                Timer::H => {
                    self.outputs.push_back(ServerOutput::Failed(Failure::Timeout));
                    self.terminate();
                }
                _ => self.terminate(),
            }
        }
    }

    /// A response could not be sent: the user hears of it, the state stays (RFC 6026 §7.1).
    pub fn handle_transport_error(&mut self) {
        if self.state != State::Terminated {
            self.outputs.push_back(ServerOutput::Failed(Failure::Transport));
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        self.outputs.pop_front()
    }

    /// The next wake-up and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.deadlines.next()
    }

    fn terminate(&mut self) {
        self.deadlines.clear();
        self.state = State::Terminated;
        self.outputs.push_back(ServerOutput::Terminated);
    }
}
