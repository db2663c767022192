//! Provisional responses that arrive (RFC 3262): ours to a caller who requires or supports it, with retransmission and
//! PRACK, and what a reliable one of the far side says.
//!
//! One of ours is out at a time, and the 2xx waits for its PRACK (§3 asks that of descriptions alone). To a caller who
//! made no offer the first brings ours, and its PRACK the answer (§5); before media has made that offer, a caller who
//! requires them hears no more than 100. Further offers in PRACK are for `early`.

use super::super::answer::Answer;
use super::super::transaction::{Timings, TransactionId};
use super::super::{HeaderName, Headers, Method, Request, Response};
use super::SessionTimer;
use super::line::Line;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The option tag.
pub(super) const TAG: &str = "100rel";

/// Most that wait for the PRACK of the one before; more are dropped, as any provisional response may be.
const MAX_QUEUE: usize = 8;

/// One that has no PRACK yet.
#[derive(Debug)]
struct Sent {
    rseq: u32,
    response: Response,
    interval: Duration,
    resend_at: Instant,
    give_up_at: Instant,
}

/// What ours need.
#[derive(Debug)]
pub(super) struct Reliable {
    /// The caller wants each to be.
    is_required: bool,
    is_supported: bool,
    next: u32,
    sent: Option<Sent>,
    queue: VecDeque<Answer>,
}

impl Reliable {
    /// For an INVITE; the first number is any of the lower half (RFC 3262 §3).
    pub(super) fn of(invite: &Headers, first: u32) -> Self {
        Self {
            is_required: has_tag(invite, &HeaderName::Require),
            is_supported: has_tag(invite, &HeaderName::Supported),
            next: 1 + first % 0x3fff_ffff,
            sent: None,
            queue: VecDeque::new(),
        }
    }

    /// Whether every provisional response of ours has to be reliable.
    pub(super) const fn is_required(&self) -> bool {
        self.is_required
    }

    /// Whether this one goes reliably: when the caller requires it, or when it brings a description and the caller can.
    pub(super) const fn covers(&self, answer: &Answer) -> bool {
        self.is_required || (self.is_supported && answer.body.is_some())
    }

    /// Whether one that brings a description would be.
    pub(super) const fn is_possible(&self) -> bool {
        self.is_required || self.is_supported
    }

    /// Whether one is out without its PRACK.
    pub(super) const fn is_waiting(&self) -> bool {
        self.sent.is_some()
    }

    /// It waits for the PRACK of the one before.
    pub(super) fn hold(&mut self, answer: Answer) {
        if self.queue.len() < MAX_QUEUE {
            self.queue.push_back(answer);
        }
    }

    /// The next that waited; none when the final answer has come in between.
    pub(super) fn take_held(&mut self) -> Option<Answer> {
        self.queue.pop_front()
    }

    /// The final answer says it all.
    pub(super) fn drop_held(&mut self) {
        self.queue.clear();
    }

    /// Sends one for the first time.
    pub(super) fn send(&mut self, now: Instant, line: &mut Line, id: TransactionId, mut response: Response) {
        let Timings { t1, .. } = line.timings;
        let rseq = self.next;
        self.next = self.next.saturating_add(1);
        response.headers.push(HeaderName::Require, TAG);
        response.headers.push(HeaderName::RSeq, rseq.to_string());
        line.respond(id, response.clone());
        let give_up_at = now + line.timings.give_up();
        self.sent = Some(Sent { rseq, response, interval: t1, resend_at: now + t1, give_up_at });
    }

    /// A PRACK: whether what it acknowledges brought a description; none when it belongs to none that is out (RFC 3262
    /// §3).
    pub(super) fn acknowledge(&mut self, prack: &Request, invite_seq: u32) -> Option<bool> {
        let is_its = |sent: &mut Sent| rack_of(&prack.headers) == Some((sent.rseq, invite_seq));
        self.sent.take_if(is_its).map(|sent| !sent.response.body.is_empty())
    }

    /// The clock; true when no PRACK came for 64·T1.
    pub(super) fn handle_timeout(&mut self, now: Instant, line: &mut Line, id: TransactionId) -> bool {
        let Some(sent) = &mut self.sent else { return false };
        if sent.give_up_at <= now {
            self.sent = None;
            return true;
        }
        if sent.resend_at <= now {
            sent.interval = sent.interval.saturating_mul(2);
            sent.resend_at = now + sent.interval;
            line.respond(id, sent.response.clone());
        }
        false
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        let sent = self.sent.as_ref()?;
        let resend = (sent.resend_at, SessionTimer::ProvisionalResend);
        Some(resend.min((sent.give_up_at, SessionTimer::PrackGiveUp)))
    }
}

/// The number of a provisional response of the far side that wants a PRACK (RFC 3262 §4).
pub(super) fn rseq_of(response: &Response) -> Option<u32> {
    let rseq = number(response.headers.get(&HeaderName::RSeq)?)?;
    let is_reliable = response.status.code() > 100 && has_tag(&response.headers, &HeaderName::Require);
    (is_reliable && response.status.is_provisional()).then_some(rseq)
}

/// RAck of the INVITE with this number (RFC 3262 §7.2).
pub(super) fn rack(rseq: u32, invite_seq: u32) -> String {
    format!("{rseq} {invite_seq} INVITE")
}

fn rack_of(headers: &Headers) -> Option<(u32, u32)> {
    let mut words = headers.get(&HeaderName::RAck)?.split_ascii_whitespace();
    let (rseq, seq, method) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || method != Method::INVITE.as_str() {
        return None;
    }
    Some((number(rseq)?, number(seq)?))
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn has_tag(headers: &Headers, name: &HeaderName) -> bool {
    headers.tokens(name).iter().any(|t| t.eq_ignore_ascii_case(TAG))
}
