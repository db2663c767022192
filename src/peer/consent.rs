//! Consent to send (RFC 7675): asked every 5 s ± 20 %, lost after 15 s without an answer.
//!
//! A pure clock: it says when to ask and when consent is gone; the caller sends the request and tells of
//! verified answers. RFC 7675 §5.1 allows 30 s; we stop after 15 s, so that a dead browser frees its call
//! sooner. As the RFC asks, each request has a transaction of its own and none is repeated.

use super::stun::TransactionId;
use crate::base::Seed;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Mean time between requests, spread by ± 20 % (RFC 7675 §5.1).
const INTERVAL: Duration = Duration::from_secs(5);
/// Time without an answer after which consent is lost.
pub(super) const EXPIRY: Duration = Duration::from_secs(15);
/// Requests of which an answer is still of interest: more than fit into [`EXPIRY`].
const PENDING_LIMIT: usize = 6;

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Send a consent request with this transaction.
    Ask(TransactionId),
    /// Consent is lost: stop sending.
    Lost,
}

/// Consent of one association on its selected path.
#[derive(Debug)]
pub(crate) struct Consent {
    ask_at: Instant,
    lost_at: Instant,
    pending: VecDeque<TransactionId>,
}

impl Consent {
    /// Consent given now (a finished handshake); the first request is due at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { ask_at: now, lost_at: now + EXPIRY, pending: VecDeque::new() }
    }

    /// What is due now, if anything; to be called until it answers nothing.
    pub(crate) fn handle_timeout(&mut self, now: Instant, seed: &mut Seed) -> Option<Due> {
        if now >= self.lost_at {
            return Some(Due::Lost);
        }
        if now < self.ask_at {
            return None;
        }
        self.ask_at = now + spread(seed);
        let mut transaction = TransactionId::default();
        seed.fill(&mut transaction);
        if self.pending.len() == PENDING_LIMIT {
            self.pending.pop_front();
        }
        self.pending.push_back(transaction);
        Some(Due::Ask(transaction))
    }

    /// A success answer came by the selected path and its MESSAGE-INTEGRITY is good; true when it answers one
    /// of our requests, and consent is fresh again.
    pub(crate) fn handle_answer(&mut self, now: Instant, transaction: TransactionId) -> bool {
        let Some(at) = self.pending.iter().position(|t| *t == transaction) else { return false };
        // an answer to an older request than one already answered proves nothing new
        self.pending.drain(..=at);
        self.lost_at = now + EXPIRY;
        true
    }

    /// The selected path is now one that answered a request of ours at `now`.
    pub(crate) fn handle_move(&mut self, now: Instant, seed: &mut Seed) {
        self.pending.clear();
        self.lost_at = now + EXPIRY;
        self.ask_at = now + spread(seed);
    }

    /// Next wake-up.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.ask_at.min(self.lost_at)
    }
}

/// 4 s to 6 s.
fn spread(seed: &mut Seed) -> Duration {
    let fifth = INTERVAL / 5;
    let width = u64::try_from((fifth * 2).as_millis()).unwrap_or(0);
    INTERVAL - fifth + Duration::from_millis(seed.below(width + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(c: &mut Consent, now: Instant, seed: &mut Seed) -> TransactionId {
        match c.handle_timeout(now, seed) {
            Some(Due::Ask(t)) => t,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn requests_come_every_four_to_six_seconds_each_with_a_transaction_of_its_own_rfc7675_5_1() {
        let t0 = Instant::now();
        let mut seed = Seed::from_number(1);
        let mut c = Consent::new(t0);
        let (mut now, mut gaps, mut seen) = (t0, Vec::new(), std::collections::BTreeSet::new());
        for _ in 0..200 {
            let t = ask(&mut c, now, &mut seed);
            assert!(seen.insert(t));
            assert_eq!(c.handle_timeout(now, &mut seed), None);
            assert!(c.handle_answer(now, t));
            gaps.push(c.poll_timeout() - now);
            now = c.poll_timeout();
        }
        let (low, high) = (Duration::from_secs(4), Duration::from_secs(6));
        assert!(gaps.iter().all(|g| (low..=high).contains(g)));
        assert!(gaps.iter().any(|g| *g < Duration::from_millis(4_400)));
        assert!(gaps.iter().any(|g| *g > Duration::from_millis(5_600)));
    }

    #[test]
    fn consent_is_lost_fifteen_seconds_after_the_last_answer() {
        let t0 = Instant::now();
        let mut seed = Seed::from_number(2);
        let mut c = Consent::new(t0);
        let t = ask(&mut c, t0, &mut seed);
        let answered = t0 + Duration::from_millis(40);
        assert!(c.handle_answer(answered, t));
        let just_before = answered + Duration::from_millis(14_999);
        while c.poll_timeout() < just_before {
            let at = c.poll_timeout();
            ask(&mut c, at, &mut seed);
        }
        assert_ne!(c.handle_timeout(just_before, &mut seed), Some(Due::Lost));
        assert_eq!(c.handle_timeout(answered + Duration::from_secs(15), &mut seed), Some(Due::Lost));
    }

    #[test]
    fn an_answer_to_no_request_of_ours_or_to_one_answered_already_is_not_consent() {
        let t0 = Instant::now();
        let mut seed = Seed::from_number(3);
        let mut c = Consent::new(t0);
        let t = ask(&mut c, t0, &mut seed);
        assert!(!c.handle_answer(t0, [9; 12]));
        assert!(c.handle_answer(t0, t));
        assert!(!c.handle_answer(t0 + Duration::from_secs(1), t));
    }
}
