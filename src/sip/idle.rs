//! Which of our ways to far sides are given back because nobody has used them for a while. Sans-IO: tell it of each use,
//! and give back what [`Idle::poll_expired`] names at [`Idle::poll_timeout`].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Longer than a far side that is asked again and again (`qualify`, keep-alives of a dialog) is left alone. A call that is
/// quiet for longer goes on by the main socket.
pub(super) const LIMIT: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Use {
    at: Instant,
    /// It stays, used or not, as long as there is room.
    is_kept: bool,
}

/// What was used when.
#[derive(Debug)]
pub(super) struct Idle<K> {
    known: BTreeMap<K, Use>,
    /// Nothing has been idle long enough before this; uses since may have made it later.
    look_at: Option<Instant>,
}

impl<K: Ord + Copy> Default for Idle<K> {
    fn default() -> Self {
        Self { known: BTreeMap::new(), look_at: None }
    }
}

impl<K: Ord + Copy> Idle<K> {
    /// It is there from now on.
    pub(super) fn begin(&mut self, now: Instant, key: K) {
        self.known.insert(key, Use { at: now, is_kept: false });
        self.look_at.get_or_insert(now + LIMIT);
    }

    /// It was used.
    pub(super) fn used(&mut self, now: Instant, key: K) {
        if let Some(known) = self.known.get_mut(&key) {
            known.at = known.at.max(now);
        }
    }

    /// It is given back only where another one needs the room.
    pub(super) fn keep(&mut self, key: K) {
        if let Some(known) = self.known.get_mut(&key) {
            known.is_kept = true;
        }
    }

    /// It is gone.
    pub(super) fn end(&mut self, key: K) {
        self.known.remove(&key);
    }

    /// The next that is to be given back.
    pub(super) fn poll_expired(&mut self, now: Instant) -> Option<K> {
        if self.look_at.is_none_or(|at| now < at) {
            return None;
        }
        let first = self.longest_idle(|known| !known.is_kept);
        self.look_at = first.map(|(_, at)| at + LIMIT);
        let (key, _) = first.filter(|(_, at)| *at + LIMIT <= now)?;
        self.known.remove(&key);
        Some(key)
    }

    /// When to call [`Self::poll_expired`]; early calls are harmless.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.look_at
    }

    /// One that may go so that another finds room; none when all are in use.
    pub(super) fn make_room(&mut self, now: Instant) -> Option<K> {
        let (key, _) = self.longest_idle(|_| true).filter(|(_, at)| *at + LIMIT <= now)?;
        self.known.remove(&key);
        Some(key)
    }

    fn longest_idle(&self, of: impl Fn(&Use) -> bool) -> Option<(K, Instant)> {
        self.known
            .iter()
            .filter(|(_, known)| of(known))
            .map(|(key, known)| (*key, known.at))
            .min_by_key(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn all(idle: &mut Idle<u8>, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| idle.poll_expired(now)).collect()
    }

    #[test]
    fn what_nobody_uses_is_given_back_after_the_limit_the_longest_idle_first() {
        let t0 = Instant::now();
        let mut idle = Idle::default();
        assert_eq!(idle.poll_timeout(), None);
        (0..4).for_each(|n| idle.begin(t0 + SECOND * n, n as u8));
        idle.used(t0 + SECOND * 10, 0);
        assert_eq!(idle.poll_timeout(), Some(t0 + LIMIT));
        // it looks, and finds that the first was used since
        assert!(all(&mut idle, t0 + LIMIT).is_empty());
        assert_eq!(idle.poll_timeout(), Some(t0 + SECOND + LIMIT));
        assert_eq!(all(&mut idle, t0 + SECOND * 3 + LIMIT), [1, 2, 3]);
        assert_eq!(all(&mut idle, t0 + SECOND * 10 + LIMIT), [0]);
        assert_eq!(idle.poll_timeout(), None, "nothing is left to look at");
        idle.begin(t0 + SECOND * 20 + LIMIT, 9);
        assert_eq!(idle.poll_timeout(), Some(t0 + SECOND * 20 + LIMIT * 2));
    }

    #[test]
    fn what_is_kept_goes_only_for_want_of_room_and_what_is_in_use_never() {
        let t0 = Instant::now();
        let mut idle = Idle::default();
        (0..3).for_each(|n| idle.begin(t0, n));
        idle.keep(0);
        idle.keep(1);
        idle.used(t0 + LIMIT, 1);
        assert_eq!(idle.make_room(t0 + LIMIT - SECOND), None);
        assert_eq!(all(&mut idle, t0 + LIMIT * 2), [2]);
        assert_eq!(idle.make_room(t0 + LIMIT), Some(0));
        assert_eq!(idle.make_room(t0 + LIMIT), None);
        idle.end(1);
        assert_eq!((idle.make_room(t0 + LIMIT * 9), idle.poll_timeout()), (None, None));
    }

    #[test]
    fn time_that_goes_backwards_makes_nothing_older() {
        let t0 = Instant::now();
        let mut idle = Idle::default();
        idle.begin(t0 + SECOND, 1);
        idle.used(t0, 1);
        assert!(all(&mut idle, t0 + LIMIT).is_empty());
    }
}
