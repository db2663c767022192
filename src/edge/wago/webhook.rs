//! Events on their way to an account's webhook: one request at a time, in order; what fails is tried again 1 s,
//! 5 s, 30 s and 5 min later, after what is new, then dropped and counted. Told the time; the queue is bounded.

use super::event::Sent;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// After the first attempt, the second, the third, the fourth.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(300)];
/// Events that wait. A receiver that is away for five minutes misses nothing of a few calls a minute.
const MAX_WAITING: usize = 256;

/// An event to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivery {
    /// What.
    pub(super) event: Sent,
    /// Attempts that failed.
    attempts: usize,
    due: Instant,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send this, and say how it went.
    Send(Delivery),
    /// Ask again then.
    Wait(Instant),
    /// Nothing waits.
    Idle,
}

/// The events of one account that wait.
#[derive(Debug, Default)]
pub(super) struct WebhookQueue {
    waiting: VecDeque<Delivery>,
    dropped: u64,
}

impl WebhookQueue {
    /// An event to deliver. False when there are too many: it is dropped and counted.
    pub(super) fn push(&mut self, event: Sent, now: Instant) -> bool {
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return false;
        }
        self.waiting.push_back(Delivery { event, attempts: 0, due: now });
        true
    }

    /// What is due and was tried the fewest times, the oldest of those, taken out of the queue; [`Self::failed`] puts
    /// it back. A receiver that hangs costs each attempt its full time: what is new shall not wait behind what failed.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let due =
            self.waiting.iter().enumerate().filter(|(_, d)| d.due <= now).min_by_key(|(_, d)| d.attempts);
        let due = due.map(|(at, _)| at).and_then(|at| self.waiting.remove(at));
        match due {
            Some(delivery) => Next::Send(delivery),
            None => self.waiting.iter().map(|d| d.due).min().map_or(Next::Idle, Next::Wait),
        }
    }

    /// It was not taken. False when it was the last attempt: it is dropped and counted.
    pub(super) fn failed(&mut self, mut delivery: Delivery, now: Instant) -> bool {
        let Some(pause) = PAUSES.get(delivery.attempts) else {
            self.dropped += 1;
            return false;
        };
        delivery.attempts += 1;
        delivery.due = now + *pause;
        // in front, where it was: ids tell its place, and it is due before what came later failed as well
        self.waiting.push_front(delivery);
        true
    }

    /// Events that were given up.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Value of `X-Signature-256`: proof that the body is ours, for who shares the secret.
pub(super) fn signature(secret: &str, body: &[u8]) -> String {
    let mut hex = String::from("sha256=");
    // HMAC takes keys of any length (RFC 2104 §2)
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
            hex.extend([digit(byte >> 4), digit(byte & 15)]);
        }
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize) -> Sent {
        Sent { id: n.to_string(), body: "{}".into() }
    }

    fn taken(queue: &mut WebhookQueue, now: Instant) -> Delivery {
        match queue.next(now) {
            Next::Send(delivery) => delivery,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_is_tried_five_times_with_the_same_id_and_then_dropped_and_counted() {
        let mut now = Instant::now();
        let mut queue = WebhookQueue::default();
        assert!(queue.push(event(7), now));
        for pause in [1, 5, 30, 300] {
            let delivery = taken(&mut queue, now);
            assert_eq!(delivery.event.id, "7");
            assert!(queue.failed(delivery, now));
            let due = now + Duration::from_secs(pause);
            assert_eq!(queue.next(now), Next::Wait(due));
            now = due;
        }
        let last = taken(&mut queue, now);
        assert!(!queue.failed(last, now));
        assert_eq!((queue.next(now), queue.dropped()), (Next::Idle, 1));
    }

    #[test]
    fn events_go_in_order_and_one_that_failed_holds_up_none() {
        let t0 = Instant::now();
        let mut queue = WebhookQueue::default();
        (1..=3).for_each(|n| assert!(queue.push(event(n), t0)));
        let first = taken(&mut queue, t0);
        assert!(queue.failed(first, t0));
        assert_eq!(taken(&mut queue, t0).event.id, "2");
        let later = t0 + Duration::from_secs(1);
        assert_eq!(taken(&mut queue, later).event.id, "3", "what is new comes before what failed");
        assert_eq!(taken(&mut queue, later).event.id, "1");
        assert_eq!(queue.next(later), Next::Idle);
    }

    #[test]
    fn a_receiver_that_is_away_fills_a_bounded_queue() {
        let t0 = Instant::now();
        let mut queue = WebhookQueue::default();
        assert_eq!((0..1_000).filter(|n| queue.push(event(*n), t0)).count(), MAX_WAITING);
        assert_eq!(queue.dropped(), 1_000 - 256);
    }

    #[test]
    fn the_signature_is_the_hmac_of_the_body() {
        // RFC 4231 §4.3
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), wanted);
    }
}
