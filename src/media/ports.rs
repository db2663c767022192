//! Pairs of UDP ports for plain RTP legs: even RTP, odd RTCP (RFC 3550 §11). Pure: the caller binds, says what
//! was busy, and tells the time.

use crate::base::PortRange;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a port stays unused after its call: packets of the old call must not reach a new one.
pub const REST: Duration = Duration::from_millis(2_500);

/// The pool. Ports go round the whole range, so one is used again as late as possible.
#[derive(Debug)]
pub struct PortPool {
    free: VecDeque<u16>,
    resting: VecDeque<(Instant, u16)>,
    used: usize,
}

impl PortPool {
    /// All pairs of the range, free.
    #[must_use]
    pub fn new(range: PortRange) -> Self {
        Self { free: range.pairs().collect(), resting: VecDeque::new(), used: 0 }
    }

    /// Takes a pair; answers its even port. None when all are used or resting.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some((until, port)) = self.resting.front().copied() {
            if until > now {
                break;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
        let port = self.free.pop_front()?;
        self.used = self.used.saturating_add(1);
        Some(port)
    }

    /// Gives a pair back; it rests for [`REST`]. Also for one that another program holds: it is tried again
    /// after the others.
    pub fn put_back(&mut self, port: u16, now: Instant) {
        self.used = self.used.saturating_sub(1);
        self.resting.push_back((now.checked_add(REST).unwrap_or(now), port));
    }

    /// Pairs in use; resting ones do not count.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_rests_two_seconds_or_more_before_it_is_used_again() {
        let t0 = Instant::now();
        let mut pool = PortPool::new(PortRange::new(40_000, 40_003).unwrap());
        assert_eq!((pool.take(t0), pool.take(t0), pool.take(t0)), (Some(40_000), Some(40_002), None));
        pool.put_back(40_000, t0);
        assert_eq!(pool.used(), 1);
        assert_eq!(pool.take(t0 + Duration::from_secs(2)), None);
        assert_eq!(pool.take(t0 + REST), Some(40_000));
    }

    #[test]
    fn ports_go_round_before_one_is_used_again() {
        let t0 = Instant::now();
        let mut pool = PortPool::new(PortRange::new(40_000, 40_005).unwrap());
        assert_eq!(pool.take(t0), Some(40_000));
        pool.put_back(40_000, t0);
        let later = t0 + Duration::from_secs(60);
        assert_eq!(
            (pool.take(later), pool.take(later), pool.take(later)),
            (Some(40_002), Some(40_004), Some(40_000))
        );
    }
}
