//! Answers that hold for a moment.

use std::time::{Duration, Instant};

/// Most answers kept: as many as are worth looking through.
const MOST: usize = 64;

/// Remembers answers for a while, so that a question asked by every call reaches the system once a while.
/// Bounded: with all places taken, further questions are asked anew each time.
#[derive(Debug)]
pub struct Fresh<K, V> {
    lasts: Duration,
    /// Question, answer, and until when it holds.
    known: Vec<(K, V, Instant)>,
}

impl<K: PartialEq, V: Copy> Fresh<K, V> {
    /// Keeps answers that long.
    #[must_use]
    pub fn new(lasts: Duration) -> Self {
        Self { lasts, known: Vec::new() }
    }

    /// The answer that is known, else what `ask` says now. Errors are not kept.
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn get<E>(&mut self, now: Instant, key: K, ask: impl FnOnce(&K) -> Result<V, E>) -> Result<V, E> {
        self.known.retain(|(_, _, until)| *until > now);
        if let Some((_, value, _)) = self.known.iter().find(|(known, ..)| *known == key) {
            return Ok(*value);
        }
        let value = ask(&key)?;
        if self.known.len() < MOST {
            self.known.push((key, value, now + self.lasts));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_time_and_an_error_is_asked_again() {
        let t0 = Instant::now();
        let mut fresh = Fresh::new(Duration::from_secs(1));
        assert_eq!(fresh.get(t0, 1, |_| Err::<u8, _>("no")), Err("no"));
        assert_eq!(fresh.get(t0, 1, |_| Ok::<_, &str>(10)), Ok(10));
        assert_eq!(fresh.get(t0, 2, |_| Ok::<_, &str>(20)), Ok(20));
        let later = t0 + Duration::from_millis(999);
        assert_eq!(fresh.get(later, 1, |_| Ok::<_, &str>(11)), Ok(10));
        assert_eq!(fresh.get(t0 + Duration::from_secs(1), 1, |_| Ok::<_, &str>(12)), Ok(12));
    }

    #[test]
    fn it_is_bounded() {
        let t0 = Instant::now();
        let mut fresh = Fresh::new(Duration::from_secs(1));
        for n in 0..1_000 {
            assert_eq!(fresh.get(t0, n, |k| Ok::<_, ()>(*k)), Ok(n));
        }
        assert_eq!(fresh.known.len(), MOST);
    }
}
