//! What is told each time it happens, unless it happens too often.

use super::Seldom;
use std::time::{Duration, Instant};

/// How often the log hears of what was counted.
const SUM_INTERVAL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// What becomes of one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is told in full.
    InFull,
    /// It is counted, and so many were since that was told last, this one included.
    Sum(u64),
    /// It is counted.
    Not,
}

/// Lets so much be told in a second; the rest is counted, and told with its number at once and then once a minute.
#[derive(Debug)]
pub struct Sparing {
    most: u32,
    /// The second that began then, and what was told in it.
    second: Option<(Instant, u32)>,
    rest: Seldom,
}

impl Sparing {
    /// In a second `most` are told in full.
    #[must_use]
    pub const fn new(most: u32) -> Self {
        Self { most, second: None, rest: Seldom::new(SUM_INTERVAL) }
    }

    /// It happened.
    pub fn happened(&mut self, now: Instant) -> Told {
        match &mut self.second {
            Some((began, told)) if now.saturating_duration_since(*began) < SECOND => {
                if *told >= self.most {
                    return self.rest.happened(now).map_or(Told::Not, Told::Sum);
                }
                *told = told.saturating_add(1);
            }
            second => *second = Some((now, 1)),
        }
        Told::InFull
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these times are told in full, and the sums of the others.
    fn told(sparing: &mut Sparing, t0: Instant, times: impl Iterator<Item = u64>) -> (usize, Vec<u64>) {
        let (mut in_full, mut sums) = (0, Vec::new());
        for at in times {
            match sparing.happened(t0 + Duration::from_millis(at)) {
                Told::InFull => in_full += 1,
                Told::Sum(times) => sums.push(times),
                Told::Not => {}
            }
        }
        (in_full, sums)
    }

    #[test]
    fn what_happens_now_and_then_is_told_each_time() {
        let mut sparing = Sparing::new(10);
        let busy = (0..36_000).map(|n| n * 100);
        assert_eq!(told(&mut sparing, Instant::now(), busy), (36_000, Vec::new()));
    }

    #[test]
    fn of_a_flood_ten_a_second_are_told_and_once_a_minute_how_many_more() {
        let (t0, mut sparing) = (Instant::now(), Sparing::new(10));
        // 800 a second for two minutes and a second
        let flood = (0..121 * 800).map(|n| n * 1_000 / 800);
        let (in_full, sums) = told(&mut sparing, t0, flood);
        assert_eq!((in_full, sums.len()), (1_210, 3), "{sums:?}");
        assert_eq!(sums[0], 1, "that there are more is told at once");
        assert!(sums[1..].iter().all(|more| (47_000..48_000).contains(more)), "{sums:?}");
    }
}
