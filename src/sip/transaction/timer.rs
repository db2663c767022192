//! Timers of transactions (RFC 3261 §17 and table 4, RFC 6026 §7).

use std::time::{Duration, Instant};

/// A timer by its letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Timer {
    /// INVITE request retransmission, from T1, doubled (unreliable only).
    A,
    /// INVITE transaction time-out, 64·T1.
    B,
    /// Wait for response retransmissions after a failure of INVITE, 32 s or more (unreliable).
    D,
    /// Non-INVITE request retransmission, from T1, doubled up to T2 (unreliable only).
    E,
    /// Non-INVITE transaction time-out, 64·T1.
    F,
    /// INVITE response retransmission, from T1, doubled up to T2 (unreliable only).
    G,
    /// Wait for ACK, 64·T1.
    H,
    /// Wait for ACK retransmissions, T4 (unreliable).
    I,
    /// Wait for request retransmissions, 64·T1 (unreliable).
    J,
    /// Wait for response retransmissions, T4 (unreliable).
    K,
    /// Wait for retransmissions of an accepted INVITE (server), 64·T1.
    L,
    /// Wait for retransmissions and forks of a 2xx to INVITE (client), 64·T1.
    M,
    /// Nobody took a large request by TCP: UDP after all, 1 s (RFC 3261 §18.1.1).
    Fallback,
    /// 100 Trying is due when the user has not answered an INVITE, 200 ms (RFC 3261 §17.2.1).
    Trying,
}

/// Base times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// Round-trip estimate.
    pub t1: Duration,
    /// Longest retransmission interval.
    pub t2: Duration,
    /// Longest life of a message in the network.
    pub t4: Duration,
}

impl Default for Timings {
    /// 500 ms, 4 s, 5 s (RFC 3261 §17.1.1.1).
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Timings {
    /// 64·T1: how long anything is tried.
    #[must_use]
    pub const fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: at least 32 s with the default T1 (RFC 3261 §17.1.1.2). It scales with T1, as the timer H of
    /// the other side does, which it outlasts.
    #[must_use]
    pub fn timer_d(&self) -> Duration {
        self.give_up()
    }
}

/// The running timers of one machine; at most three at a time.
#[derive(Debug, Clone, Default)]
pub(super) struct Deadlines(Vec<(Instant, Timer)>);

impl Deadlines {
    /// Starts a timer, again if it runs.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.stop(timer);
        self.0.push((at, timer));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0.retain(|(_, t)| *t != timer);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The next to fire.
    pub(super) fn next(&self) -> Option<(Instant, Timer)> {
        self.0.iter().copied().min()
    }

    /// Takes one timer that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}
