//! Pairs of UDP ports for plain RTP legs: even RTP, odd RTCP (RFC 3550 §11). Pure: the caller binds, says what
//! was busy, and tells the time.

use crate::base::PortRange;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a port stays unused after its call: packets of the old call must not reach a new one.
pub const REST: Duration = Duration::from_millis(2_500);

/// Pairs of sockets that a media thread keeps open while they rest. Calls that come and go faster than these last would take all
/// descriptors with them; then late packets meet a closed port for a while, and still no new call.
pub const SOCKETS_RESTING: usize = 250;

/// What rests for [`REST`] after its call, in the order in which it came.
#[derive(Debug)]
pub struct Resting<T> {
    waiting: VecDeque<(Instant, T)>,
    max: usize,
}

impl<T> Resting<T> {
    /// For `max` things at once.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { waiting: VecDeque::new(), max }
    }

    /// One more. When that is one too many, the oldest, which has to go early.
    #[must_use]
    pub fn push(&mut self, thing: T, now: Instant) -> Option<T> {
        self.waiting.push_back((now.checked_add(REST).unwrap_or(now), thing));
        let is_over = self.waiting.len() > self.max;
        if is_over { self.waiting.pop_front().map(|(_, oldest)| oldest) } else { None }
    }

    /// When [`Self::pop`] gives the next one.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(until, _)| *until)
    }

    /// One that has rested.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        self.poll_timeout().filter(|until| *until <= now)?;
        self.waiting.pop_front().map(|(_, thing)| thing)
    }
}

/// The pool. Ports go round the whole range, so one is used again as late as possible.
#[derive(Debug)]
pub struct PortPool {
    free: VecDeque<u16>,
    resting: Resting<u16>,
    used: usize,
}

impl PortPool {
    /// All pairs of the range, free.
    #[must_use]
    pub fn new(range: PortRange) -> Self {
        Self { free: range.pairs().collect(), resting: Resting::new(usize::MAX), used: 0 }
    }

    /// Takes a pair; answers its even port. None when all are used or resting.
    pub fn take(&mut self, now: Instant) -> Option<u16> {
        while let Some(port) = self.resting.pop(now) {
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
        let _ = self.resting.push(port, now); // there is room for all
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
    fn of_more_that_rest_than_there_is_room_for_the_oldest_goes_early() {
        let t0 = Instant::now();
        let mut resting = Resting::new(2);
        assert_eq!(
            (resting.push('a', t0), resting.push('b', t0), resting.push('c', t0)),
            (None, None, Some('a'))
        );
        assert_eq!((resting.poll_timeout(), resting.pop(t0)), (Some(t0 + REST), None));
        let later = t0 + REST;
        assert_eq!(
            (resting.pop(later), resting.pop(later), resting.pop(later)),
            (Some('b'), Some('c'), None)
        );
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
