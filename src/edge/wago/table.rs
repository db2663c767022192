//! Calls by id and owner; ended ones stay readable for a while. Told the time.

use crate::base::CallId;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long an ended call can still be read.
const KEEP_ENDED: Duration = Duration::from_secs(60);
/// Ended calls kept for one account.
const MAX_ENDED: usize = 100;

/// Calls of type `T`.
#[derive(Debug)]
pub(super) struct CallTable<T> {
    calls: BTreeMap<CallId, (String, T)>,
    /// Per account, oldest first.
    ended: BTreeMap<String, VecDeque<(Instant, CallId)>>,
}

impl<T> Default for CallTable<T> {
    fn default() -> Self {
        Self { calls: BTreeMap::new(), ended: BTreeMap::new() }
    }
}

impl<T: Clone> CallTable<T> {
    /// A new call of an account.
    pub(super) fn insert(&mut self, id: CallId, account: &str, call: T) {
        self.calls.insert(id, (account.to_owned(), call));
    }

    /// A call, if it is this account's.
    pub(super) fn get(&mut self, id: CallId, account: &str, now: Instant) -> Option<T> {
        self.forget(now);
        self.calls.get(&id).filter(|(owner, _)| owner == account).map(|(_, call)| call.clone())
    }

    /// A call ended: it is forgotten after a while.
    pub(super) fn end(&mut self, id: CallId, now: Instant) {
        if let Some((account, _)) = self.calls.get(&id) {
            self.ended.entry(account.clone()).or_default().push_back((now, id));
        }
        self.forget(now);
    }

    /// Entries, ended ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    fn forget(&mut self, now: Instant) {
        let calls = &mut self.calls;
        self.ended.retain(|_, queue| {
            while let Some((at, id)) = queue.front().copied() {
                if queue.len() <= MAX_ENDED && now.saturating_duration_since(at) < KEEP_ENDED {
                    break;
                }
                calls.remove(&id);
                queue.pop_front();
            }
            !queue.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_seen_by_its_owner_alone_and_forgotten_a_minute_after_its_end() {
        let t0 = Instant::now();
        let mut table = CallTable::default();
        let id = CallId::from_bits(1);
        table.insert(id, "anna", 'x');
        assert_eq!(table.get(id, "anna", t0), Some('x'));
        assert_eq!(table.get(id, "bert", t0), None);
        assert_eq!(
            table.get(id, "anna", t0 + Duration::from_secs(3600)),
            Some('x'),
            "a live call is never forgotten"
        );
        let end = t0 + Duration::from_secs(3600);
        table.end(id, end);
        assert_eq!(table.get(id, "anna", end + Duration::from_secs(59)), Some('x'));
        assert_eq!(table.get(id, "anna", end + Duration::from_secs(60)), None);
        assert_eq!((table.len(), table.ended.len()), (0, 0));
    }

    #[test]
    fn the_oldest_ended_calls_of_an_account_make_room() {
        let t0 = Instant::now();
        let mut table = CallTable::default();
        for n in 0..250 {
            table.insert(CallId::from_bits(n), "anna", n);
            table.end(CallId::from_bits(n), t0);
        }
        table.insert(CallId::from_bits(999), "bert", 999);
        table.end(CallId::from_bits(999), t0);
        assert_eq!(table.len(), MAX_ENDED + 1);
        assert_eq!(table.get(CallId::from_bits(249), "anna", t0), Some(249));
        assert_eq!(table.get(CallId::from_bits(149), "anna", t0), None);
    }
}
