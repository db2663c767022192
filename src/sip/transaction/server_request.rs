//! Non-INVITE server transaction (RFC 3261 §17.2.2).

use super::timer::{Deadlines, Timer, Timings};
use super::{Failure, ServerOutput};
use crate::sip::Response;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// State (RFC 3261 figure 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing answered.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// A final response was sent; it is repeated for each retransmission.
    Completed,
    /// Over.
    Terminated,
}

/// The machine.
#[derive(Debug)]
pub struct ServerRequest {
    state: State,
    timings: Timings,
    is_reliable: bool,
    last: Option<Bytes>,
    deadlines: Deadlines,
    outputs: VecDeque<ServerOutput>,
}

impl ServerRequest {
    /// A new request; the caller hands it to the user itself. When the user never answers, the transaction
    /// ends after 64·T1 all the same: the client has given up by then (timer F), and nothing may wait for ever.
    #[must_use]
    pub fn start(now: Instant, timings: Timings, is_reliable: bool) -> Self {
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::J, now + timings.give_up());
        Self { state: State::Trying, timings, is_reliable, last: None, deadlines, outputs: VecDeque::new() }
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The same request again.
    pub fn handle_retransmission(&mut self) {
        if matches!(self.state, State::Proceeding | State::Completed) {
            self.outputs.extend(self.last.clone().map(ServerOutput::Send));
        }
    }

    /// The user's answer; after a final one, others are ignored.
    pub fn respond(&mut self, now: Instant, response: &Response) {
        if !matches!(self.state, State::Trying | State::Proceeding) {
            return;
        }
        let wire = response.to_bytes();
        self.last = Some(wire.clone());
        self.outputs.push_back(ServerOutput::Send(wire));
        if response.status.is_provisional() {
            self.state = State::Proceeding;
        } else if self.is_reliable {
            self.terminate();
        } else {
            self.deadlines.set(Timer::J, now + self.timings.give_up());
            self.state = State::Completed;
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadlines.take_due(now).is_some() {
            if self.state != State::Completed {
                self.outputs.push_back(ServerOutput::Failed(Failure::Timeout));
            }
            self.terminate();
        }
    }

    /// A response could not be sent (RFC 3261 §17.2.4).
    pub fn handle_transport_error(&mut self) {
        if matches!(self.state, State::Proceeding | State::Completed) {
            self.outputs.push_back(ServerOutput::Failed(Failure::Transport));
            self.terminate();
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
