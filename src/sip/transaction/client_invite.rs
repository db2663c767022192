//! INVITE client transaction (RFC 3261 §17.1.1 with the Accepted state of RFC 6026 §7.2).
//!
//! Give it the request at [`ClientInvite::start`], responses and the clock after; drain
//! [`ClientInvite::poll_output`]. It builds the ACK for failures; the ACK for a 2xx is the session's.

use super::timer::{Deadlines, Timer, Timings};
use super::{ClientOutput, Failure};
use crate::sip::{CSeq, HeaderName, Method, Request, Response, Uri};
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// State (RFC 6026 figure 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing heard.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A failure came; its retransmissions are acknowledged.
    Completed,
    /// A 2xx came; its retransmissions and forks go to the user.
    Accepted,
    /// Over.
    Terminated,
}

/// The machine.
#[derive(Debug)]
pub struct ClientInvite {
    state: State,
    timings: Timings,
    is_reliable: bool,
    /// As long as an ACK may have to be made of it.
    request: Option<Request>,
    /// As long as it may have to go again.
    wire: Bytes,
    ack: Option<Bytes>,
    interval: Duration,
    deadlines: Deadlines,
    outputs: VecDeque<ClientOutput>,
}

impl ClientInvite {
    /// Sends the request, which is complete with its Via.
    #[must_use]
    pub fn start(now: Instant, request: Request, timings: Timings, is_reliable: bool) -> Self {
        let wire = request.to_bytes();
        let mut machine = Self {
            state: State::Calling,
            timings,
            is_reliable,
            request: Some(request),
            outputs: VecDeque::from([ClientOutput::Send(wire.clone())]),
            wire,
            ack: None,
            interval: timings.t1,
            deadlines: Deadlines::default(),
        };
        if !is_reliable {
            machine.deadlines.set(Timer::A, now + machine.interval);
        }
        machine.deadlines.set(Timer::B, now + timings.give_up());
        machine
    }

    /// The request goes again by UDP, where it was sent by TCP and nobody took it. Timer B goes on.
    pub fn fall_back(&mut self, now: Instant, request: Request) {
        if self.state != State::Calling {
            return;
        }
        self.is_reliable = false;
        self.wire = request.to_bytes();
        self.request = Some(request);
        self.deadlines.set(Timer::A, now + self.interval);
        self.outputs.push_back(ClientOutput::Send(self.wire.clone()));
    }

    /// Its Request-URI, as long as there is no final response.
    #[must_use]
    pub fn target(&self) -> Option<&Uri> {
        self.request.as_ref().map(|request| &request.uri)
    }

    /// State.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// A response that matches this transaction.
    pub fn handle_response(&mut self, now: Instant, response: Response) {
        let status = response.status;
        match self.state {
            State::Calling | State::Proceeding if status.is_provisional() => {
                self.deadlines.clear();
                self.state = State::Proceeding;
                self.wire = Bytes::new();
                self.outputs.push_back(ClientOutput::Deliver(response));
            }
            State::Calling | State::Proceeding if status.is_success() => {
                self.deadlines.clear();
                self.deadlines.set(Timer::M, now + self.timings.give_up());
                self.state = State::Accepted;
                // many calls linger here for 32 s
                (self.request, self.wire) = (None, Bytes::new());
                self.outputs.push_back(ClientOutput::Deliver(response));
            }
            State::Calling | State::Proceeding => {
                self.ack = self.request.take().map(|r| ack_for_failure(&r, &response).to_bytes());
                self.wire = Bytes::new();
                self.outputs.extend(self.ack.clone().map(ClientOutput::Send));
                self.outputs.push_back(ClientOutput::Deliver(response));
                self.deadlines.clear();
                if self.is_reliable {
                    self.terminate();
                } else {
                    self.deadlines.set(Timer::D, now + self.timings.timer_d());
                    self.state = State::Completed;
                }
            }
            State::Completed if status.is_failure() => {
                self.outputs.extend(self.ack.clone().map(ClientOutput::Send));
            }
            State::Accepted if status.is_success() => {
                self.outputs.push_back(ClientOutput::Deliver(response));
            }
            State::Completed | State::Accepted | State::Terminated => {}
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.take_due(now) {
            match timer {
                Timer::A => {
                    self.interval = self.interval.saturating_mul(2);
                    self.deadlines.set(Timer::A, now + self.interval);
                    self.outputs.push_back(ClientOutput::Send(self.wire.clone()));
                }
                Timer::B => self.fail(Failure::Timeout),
                _ => self.terminate(),
            }
        }
    }

    /// The request or the ACK could not be sent (RFC 3261 §17.1.4). While Proceeding nothing is being sent,
    /// and an accepted call is the session's matter.
    pub fn handle_transport_error(&mut self) {
        match self.state {
            State::Calling | State::Completed => self.fail(Failure::Transport),
            State::Proceeding | State::Accepted | State::Terminated => {}
        }
    }

    /// The request goes no more; answers to it are taken as before.
    pub fn hush(&mut self) {
        self.deadlines.stop(Timer::A);
    }

    /// Gives up without a word: 64·T1 after CANCEL without a final response (RFC 3261 §9.1).
    pub fn abandon(&mut self) {
        if self.state != State::Terminated {
            self.terminate();
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
        if self.state == State::Calling {
            self.outputs.push_back(ClientOutput::Failed(failure));
        }
        self.terminate();
    }

    fn terminate(&mut self) {
        self.deadlines.clear();
        self.state = State::Terminated;
        self.outputs.push_back(ClientOutput::Terminated);
    }
}

/// The ACK of a failure: same Request-URI, Via, From, Call-ID, Route and CSeq number; To of the response
/// (RFC 3261 §17.1.1.3).
fn ack_for_failure(invite: &Request, response: &Response) -> Request {
    let mut ack = Request::new(Method::ACK, invite.uri.clone());
    let mut has_via = false;
    for h in invite.headers.iter() {
        match h.name() {
            HeaderName::Via if !has_via => {
                has_via = true;
                ack.headers.push_header(h.clone());
            }
            HeaderName::From | HeaderName::CallId | HeaderName::Route | HeaderName::MaxForwards => {
                ack.headers.push_header(h.clone());
            }
            HeaderName::To => {
                let to = response.headers.iter().find(|r| *r.name() == HeaderName::To).unwrap_or(h);
                ack.headers.push_header(to.clone());
            }
            HeaderName::CSeq => {
                let number = invite.headers.cseq().map_or(0, |c| c.number);
                ack.headers.push(HeaderName::CSeq, CSeq { number, method: Method::ACK }.to_string());
            }
            _ => {}
        }
    }
    ack
}
