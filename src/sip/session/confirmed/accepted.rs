//! Our 2xx to an INVITE, from the first time that it goes until its ACK.

use super::super::line::Line;
use crate::sip::Response;
use crate::sip::transaction::TransactionId;
use std::time::{Duration, Instant};

/// A 2xx of ours until its ACK: the user of the transaction repeats it (RFC 3261 §13.3.1.4).
#[derive(Debug)]
pub(in super::super) struct Accepted {
    id: TransactionId,
    pub(super) seq: u32,
    response: Response,
    /// It made the dialog.
    pub(super) is_first: bool,
    /// It carries our offer, and the ACK will bring the answer.
    pub(in super::super) is_late: bool,
    interval: Duration,
    pub(super) resend_at: Instant,
    pub(super) give_up_at: Instant,
}

impl Accepted {
    /// Sends it for the first time: the answer to an offer within the call.
    pub(in super::super) fn start(
        now: Instant,
        line: &mut Line,
        id: TransactionId,
        seq: u32,
        response: Response,
    ) -> Self {
        line.respond(id, response.clone());
        let interval = line.timings.t1;
        Self {
            id,
            seq,
            response,
            is_first: false,
            is_late: false,
            interval,
            resend_at: now + interval,
            give_up_at: now + line.timings.give_up(),
        }
    }

    /// Sends it again, and the next time after twice as long, up to T2.
    pub(super) fn resend(&mut self, now: Instant, line: &mut Line) {
        self.interval = self.interval.saturating_mul(2).min(line.timings.t2);
        self.resend_at = now + self.interval;
        line.respond(self.id, self.response.clone());
    }
}
