//! What happens many times a second and is told now and then.

use std::time::{Duration, Instant};

/// Lets something be told at once and then once an interval, with how often it happened meanwhile.
#[derive(Debug)]
pub struct Seldom {
    interval: Duration,
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Told once an `interval` at most.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, told: None, untold: 0 }
    }

    /// It happened. When it is to be told: how often it happened since it was told last, this time included.
    pub fn happened(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < self.interval) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_once_an_interval_with_their_number() {
        let (t0, minute) = (Instant::now(), Duration::from_secs(60));
        let mut seldom = Seldom::new(minute);
        let told: Vec<u64> =
            (0..1_201).filter_map(|n| seldom.happened(t0 + Duration::from_millis(n * 100))).collect();
        assert_eq!(told, [1, 600, 600]);
        assert_eq!(seldom.happened(t0 + 10 * minute), Some(1));
    }
}
