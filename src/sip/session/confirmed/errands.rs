//! What we say within a call beside offers: keys (INFO), what becomes of a transfer (NOTIFY), and the question whether the
//! far side still knows it (OPTIONS). One at a time: the far side takes numbers in order alone (RFC 3261 §12.2.2), and
//! datagrams overtake each other.

use super::super::line::{Line, is_challenge};
use super::super::{SessionTimer, Ticket};
use super::{Bye, Confirmed};
use crate::sip::answer::{self, Body};
use crate::sip::transaction::Failure;
use crate::sip::{Header, HeaderName, Key, Method, NameAddr, Request, Response, StatusCode};
use std::collections::VecDeque;
use std::time::Instant;

/// Most that may wait; a far side that answers none of them is told no more.
const MAX_WAITING: usize = 64;

/// Questions without an answer after which the far side is gone.
const MAX_UNANSWERED: u32 = 2;

/// Something to say.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) method: Method,
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Body>,
}

#[derive(Debug)]
struct Out {
    ticket: Ticket,
    request: Box<Request>,
    errand: Errand,
}

/// What is said and what waits.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: VecDeque<Errand>,
    out: Option<Out>,
    /// So long a BYE waits for them.
    until: Option<Instant>,
    /// Questions that got no answer, one after the other.
    unanswered: u32,
}

impl Errands {
    pub(super) const fn is_busy(&self) -> bool {
        self.out.is_some()
    }

    pub(super) const fn wait_until(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Nothing more is said, and no BYE waits for it.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.until = None;
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        self.until.map(|until| (until, SessionTimer::LastWords))
    }

    fn take(&mut self, ticket: Ticket) -> Option<Out> {
        if self.out.as_ref().is_some_and(|out| out.ticket == ticket) { self.out.take() } else { None }
    }
}

impl Confirmed {
    /// Tells a key.
    pub(in super::super) fn send_key(&mut self, line: &mut Line, key: &Key) {
        self.run(line, Errand { method: Method::INFO, headers: Vec::new(), body: Some(key.body()) });
    }

    /// Asks the far side whether it still knows the call; any answer but that it does not will do (RFC 3261 §12.2.1.2).
    pub(super) fn ask(&mut self, line: &mut Line) {
        let headers = vec![Header::new(HeaderName::Accept, answer::ACCEPT)];
        self.run(line, Errand { method: Method::OPTIONS, headers, body: None });
    }

    pub(super) fn run(&mut self, line: &mut Line, errand: Errand) {
        if self.errands.out.is_some() {
            if self.errands.waiting.len() < MAX_WAITING {
                self.errands.waiting.push_back(errand);
            }
            return;
        }
        line.begin_digest();
        self.send_errand(line, errand, Vec::new());
    }

    fn send_errand(&mut self, line: &mut Line, errand: Errand, credentials: Vec<Header>) {
        let mut r = line.request(&mut self.dialog, errand.method.clone());
        r.headers.push(HeaderName::Contact, NameAddr::new(line.end.contact()).to_string());
        errand.headers.iter().cloned().chain(credentials).for_each(|h| r.headers.push_header(h));
        if let Some(body) = &errand.body {
            r.headers.push(HeaderName::ContentType, body.content_type.clone());
            r.body = body.bytes.clone();
        }
        let flow = line.flow_of(&self.dialog);
        let ticket = line.start(r.clone(), flow);
        self.errands.out = Some(Out { ticket, request: Box::new(r), errand });
    }

    /// A response to one of them; false when it is to none. A refusal is no reason to end the call, but that the far side
    /// does not know it any more is (RFC 3261 §12.2.1.2). Of a NOTIFY it says no more than that the transfer is of no
    /// interest: that is a usage of its own (RFC 5057 §5.1).
    pub(super) fn handle_errand_response(
        &mut self,
        now: Instant,
        line: &mut Line,
        ticket: Ticket,
        response: &Response,
    ) -> bool {
        let Some(out) = self.errands.take(ticket) else { return false };
        if response.status.is_provisional() {
            self.errands.out = Some(out);
            return true;
        }
        if is_challenge(response.status) && !line.is_over() && line.is_home(&line.flow_of(&self.dialog)) {
            let uri = out.request.uri.to_string();
            if let Ok(credentials) = line.credentials(response, &out.request, &uri) {
                self.send_errand(line, out.errand, credentials);
                return true;
            }
        }
        line.timer.heard(now);
        self.errands.unanswered = 0;
        let is_unknown = matches!(response.status, StatusCode::REQUEST_TIMEOUT | StatusCode::NO_SUCH_CALL);
        if is_unknown && out.errand.method != Method::NOTIFY {
            self.lost(now, line, "the far side knows nothing of the call");
        }
        self.next_errand(now, line);
        true
    }

    /// One of them got no answer; false when it was none. One question may be lost, and what could not leave says nothing
    /// of the far side.
    pub(super) fn handle_errand_failure(
        &mut self,
        now: Instant,
        line: &mut Line,
        ticket: Ticket,
        failure: Failure,
    ) -> bool {
        let Some(out) = self.errands.take(ticket) else { return false };
        let is_gone = match out.errand.method {
            Method::OPTIONS => {
                self.errands.unanswered += 1;
                self.errands.unanswered >= MAX_UNANSWERED
            }
            Method::INFO => failure == Failure::Timeout,
            _ => false,
        };
        if is_gone {
            self.lost(now, line, "no answer within the call");
        } else if out.errand.method == Method::OPTIONS {
            line.timer.ask_soon(now);
        }
        self.next_errand(now, line);
        true
    }

    /// One of them could not even start; false when it was none.
    pub(super) fn handle_errand_refused(&mut self, now: Instant, line: &mut Line, ticket: Ticket) -> bool {
        let is_its = self.errands.take(ticket).is_some();
        if is_its {
            self.next_errand(now, line);
        }
        is_its
    }

    fn next_errand(&mut self, now: Instant, line: &mut Line) {
        if line.is_over() {
            self.errands.drop_waiting();
        } else if let Some(errand) = self.errands.waiting.pop_front() {
            line.begin_digest();
            self.send_errand(line, errand, Vec::new());
        } else if self.bye == Bye::Wanted && !self.is_unacknowledged() {
            self.send_bye(now, line);
        }
    }
}
