//! How often an account may ask.

use std::time::{Duration, Instant};

/// Requests at once before the rate counts: a page that reconnects a few calls.
const BURST: u32 = 100;
/// One more request is granted each time this has passed: 50 a second.
const INTERVAL: Duration = Duration::from_millis(20);

/// A token bucket, told the time.
#[derive(Debug)]
pub(super) struct Bucket {
    left: u32,
    counted: Instant,
}

impl Bucket {
    /// A bucket that nobody drew from.
    pub(super) const fn full(now: Instant) -> Self {
        Self { left: BURST, counted: now }
    }

    /// Takes one; false when none is left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let granted = now.saturating_duration_since(self.counted).as_millis() / INTERVAL.as_millis();
        let granted = u32::try_from(granted).unwrap_or(u32::MAX).min(BURST);
        if granted > 0 {
            self.left = self.left.saturating_add(granted).min(BURST);
            self.counted = if self.left == BURST { now } else { self.counted + INTERVAL * granted };
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_granted_then_fifty_a_second() {
        let t0 = Instant::now();
        let mut bucket = Bucket::full(t0);
        assert_eq!((0..200).filter(|_| bucket.take(t0)).count(), 100);
        let asked = (0..1_000).filter(|ms| bucket.take(t0 + Duration::from_millis(1 + ms))).count();
        assert_eq!(asked, 50);
        assert_eq!((0..200).filter(|_| bucket.take(t0 + Duration::from_secs(60))).count(), 100);
    }
}
