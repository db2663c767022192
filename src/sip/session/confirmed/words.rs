//! What is said within a confirmed dialog beside offers (`errands`), and what its answers say of the call.

use super::super::Ticket;
use super::super::errands::{self, Errand, Heard};
use super::super::line::Line;
use super::{Bye, Confirmed};
use crate::sip::answer;
use crate::sip::transaction::Failure;
use crate::sip::{Header, HeaderName, Key, Method, Response, StatusCode};
use std::time::Instant;

/// Questions without an answer after which the far side is gone.
const MAX_UNANSWERED: u32 = 2;

impl Confirmed {
    /// Tells a key.
    pub(in super::super) fn send_key(&mut self, line: &mut Line, key: &Key) {
        self.run(line, Errand::key(key));
    }

    /// Asks the far side whether it still knows the call; any answer but that it does not will do (RFC 3261 §12.2.1.2).
    pub(super) fn ask(&mut self, line: &mut Line) {
        let headers = vec![Header::new(HeaderName::Accept, answer::ACCEPT)];
        self.run(line, Errand { method: Method::OPTIONS, headers, body: None });
    }

    pub(super) fn run(&mut self, line: &mut Line, errand: Errand) {
        errands::run(line, &mut self.dialog, errand);
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
        let Some(heard) = errands::hear(line, &mut self.dialog, ticket, response) else { return false };
        let Heard::Final(method) = heard else { return true };
        line.timer.heard(now);
        line.errands.unanswered = 0;
        let is_unknown = matches!(response.status, StatusCode::REQUEST_TIMEOUT | StatusCode::NO_SUCH_CALL);
        if is_unknown && method != Method::NOTIFY {
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
        let Some(method) = line.errands.take(ticket) else { return false };
        let is_gone = match method {
            Method::OPTIONS => {
                line.errands.unanswered += 1;
                line.errands.unanswered >= MAX_UNANSWERED
            }
            Method::INFO => failure == Failure::Timeout,
            _ => false,
        };
        if is_gone {
            self.lost(now, line, "no answer within the call");
        } else if method == Method::OPTIONS {
            line.timer.ask_soon(now);
        }
        self.next_errand(now, line);
        true
    }

    /// One of them could not even start; false when it was none.
    pub(super) fn handle_errand_refused(&mut self, now: Instant, line: &mut Line, ticket: Ticket) -> bool {
        let is_its = line.errands.take(ticket).is_some();
        if is_its {
            self.next_errand(now, line);
        }
        is_its
    }

    fn next_errand(&mut self, now: Instant, line: &mut Line) {
        if line.is_over() {
            line.errands.drop_waiting();
        } else if !errands::next(line, &mut self.dialog)
            && self.bye == Bye::Wanted
            && !self.is_unacknowledged()
        {
            self.send_bye(now, line);
        }
    }
}
