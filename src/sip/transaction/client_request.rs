//! Non-INVITE client transaction (RFC 3261 §17.1.2).

use super::timer::{Deadlines, Timer, Timings};
use super::{ClientOutput, Failure};
use crate::sip::Response;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// State (RFC 3261 figure 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing heard.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came; retransmissions of it are absorbed.
    Completed,
    /// Over.
    Terminated,
}

/// The machine.
#[derive(Debug)]
pub struct ClientRequest {
    state: State,
    timings: Timings,
    is_reliable: bool,
    wire: Bytes,
    interval: Duration,
    deadlines: Deadlines,
    outputs: VecDeque<ClientOutput>,
}

impl ClientRequest {
    /// Sends the request.
    #[must_use]
    pub fn start(now: Instant, wire: Bytes, timings: Timings, is_reliable: bool) -> Self {
        let mut machine = Self {
            state: State::Trying,
            timings,
            is_reliable,
            outputs: VecDeque::from([ClientOutput::Send(wire.clone())]),
            wire,
            interval: timings.t1,
            deadlines: Deadlines::default(),
        };
        if !is_reliable {
            machine.deadlines.set(Timer::E, now + machine.interval);
        }
        machine.deadlines.set(Timer::F, now + timings.give_up());
        machine
    }

    /// The request goes again by UDP, where it was sent by TCP and nobody took it. Timer F goes on.
    pub fn fall_back(&mut self, now: Instant, wire: Bytes) {
        if self.state != State::Trying {
            return;
        }
        self.is_reliable = false;
        self.wire = wire;
        self.deadlines.set(Timer::E, now + self.interval);
        self.outputs.push_back(ClientOutput::Send(self.wire.clone()));
    }

    /// Gives up sooner than timer F would by itself.
    pub fn give_up_at(&mut self, at: Instant) {
        if matches!(self.state, State::Trying | State::Proceeding) {
            self.deadlines.set(Timer::F, at);
        }
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// A response that matches this transaction.
    pub fn handle_response(&mut self, now: Instant, response: Response) {
        match self.state {
            State::Trying | State::Proceeding if response.status.is_provisional() => {
                // RFC 3261 §17.1.2.2: from now on every T2; the transaction still ends by timer F
                self.interval = self.timings.t2;
                self.state = State::Proceeding;
                self.outputs.push_back(ClientOutput::Deliver(response));
            }
            State::Trying | State::Proceeding => {
                self.outputs.push_back(ClientOutput::Deliver(response));
                self.deadlines.clear();
                if self.is_reliable {
                    self.terminate();
                } else {
                    self.deadlines.set(Timer::K, now + self.timings.t4);
                    self.state = State::Completed;
                }
            }
            State::Completed | State::Terminated => {}
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.take_due(now) {
            match timer {
                Timer::E => {
                    self.interval = self.interval.saturating_mul(2).min(self.timings.t2);
                    self.deadlines.set(Timer::E, now + self.interval);
                    self.outputs.push_back(ClientOutput::Send(self.wire.clone()));
                }
                Timer::F => self.fail(Failure::Timeout),
                _ => self.terminate(),
            }
        }
    }

    /// The request could not be sent (RFC 3261 §17.1.4).
    pub fn handle_transport_error(&mut self) {
        if matches!(self.state, State::Trying | State::Proceeding) {
            self.fail(Failure::Transport);
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        self.outputs.pop_front()
    }

    /// The next wake-up and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.deadlines.next()
    }

    fn fail(&mut self, failure: Failure) {
        self.outputs.push_back(ClientOutput::Failed(failure));
        self.terminate();
    }

    fn terminate(&mut self) {
        self.deadlines.clear();
        self.state = State::Terminated;
        self.outputs.push_back(ClientOutput::Terminated);
    }
}
