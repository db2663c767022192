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
    accounts: BTreeMap<String, Calls<T>>,
}

#[derive(Debug)]
struct Calls<T> {
    calls: BTreeMap<CallId, Known<T>>,
    /// Oldest first.
    ended: VecDeque<(Instant, CallId)>,
}

#[derive(Debug)]
struct Known<T> {
    call: T,
    ended: Option<Instant>,
}

impl<T> Default for CallTable<T> {
    fn default() -> Self {
        Self { accounts: BTreeMap::new() }
    }
}

impl<T: Clone> CallTable<T> {
    /// A new call of an account. False when the account is in that call already: it calls itself.
    pub(super) fn insert(&mut self, id: CallId, account: &str, call: T) -> bool {
        let own = self
            .accounts
            .entry(account.to_owned())
            .or_insert_with(|| Calls { calls: BTreeMap::new(), ended: VecDeque::new() });
        if own.calls.get(&id).is_some_and(|known| known.ended.is_none()) {
            return false;
        }
        own.calls.insert(id, Known { call, ended: None });
        true
    }

    /// A call, if it is this account's.
    pub(super) fn get(&mut self, id: CallId, account: &str, now: Instant) -> Option<T> {
        self.forget(now);
        self.accounts.get(account)?.calls.get(&id).map(|known| known.call.clone())
    }

    /// An account's calls that have not ended.
    pub(super) fn live(&self, account: &str) -> Vec<T> {
        let own = self.accounts.get(account).into_iter().flat_map(|own| own.calls.values());
        own.filter(|known| known.ended.is_none()).map(|known| known.call.clone()).collect()
    }

    /// A call ended: it is forgotten after a while.
    pub(super) fn end(&mut self, id: CallId, account: &str, now: Instant) {
        if let Some(own) = self.accounts.get_mut(account)
            && let Some(known) = own.calls.get_mut(&id)
        {
            known.ended = Some(now);
            own.ended.push_back((now, id));
        }
        self.forget(now);
    }

    /// Entries, ended ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.accounts.values().map(|own| own.calls.len()).sum()
    }

    fn forget(&mut self, now: Instant) {
        self.accounts.retain(|_, own| {
            while let Some((at, id)) = own.ended.front().copied() {
                if own.ended.len() <= MAX_ENDED && now.saturating_duration_since(at) < KEEP_ENDED {
                    break;
                }
                own.ended.pop_front();
                // rung again by the same call, it is another one
                if own.calls.get(&id).is_some_and(|known| known.ended == Some(at)) {
                    own.calls.remove(&id);
                }
            }
            !own.calls.is_empty()
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
        assert!(table.insert(id, "anna", 'x'));
        assert_eq!(table.get(id, "anna", t0), Some('x'));
        assert_eq!(table.get(id, "bert", t0), None);
        assert_eq!(
            table.get(id, "anna", t0 + Duration::from_secs(3600)),
            Some('x'),
            "a live call is never forgotten"
        );
        let end = t0 + Duration::from_secs(3600);
        table.end(id, "anna", end);
        assert_eq!(table.get(id, "anna", end + Duration::from_secs(59)), Some('x'));
        assert_eq!(table.get(id, "anna", end + Duration::from_secs(60)), None);
        assert_eq!((table.len(), table.accounts.len()), (0, 0));
    }

    #[test]
    fn the_oldest_ended_calls_of_an_account_make_room() {
        let t0 = Instant::now();
        let mut table = CallTable::default();
        for n in 0..250 {
            assert!(table.insert(CallId::from_bits(n), "anna", n));
            table.end(CallId::from_bits(n), "anna", t0);
        }
        assert!(table.insert(CallId::from_bits(999), "bert", 999));
        table.end(CallId::from_bits(999), "bert", t0);
        assert_eq!(table.len(), MAX_ENDED + 1);
        assert_eq!(table.get(CallId::from_bits(249), "anna", t0), Some(249));
        assert_eq!(table.get(CallId::from_bits(149), "anna", t0), None);
    }

    #[test]
    fn a_call_between_two_accounts_is_a_call_of_each_and_an_account_that_calls_itself_is_told() {
        let t0 = Instant::now();
        let mut table = CallTable::default();
        let id = CallId::from_bits(1);
        assert!(table.insert(id, "anna", 'a') && table.insert(id, "bert", 'b'));
        assert!(!table.insert(id, "anna", 'c'), "she is in this call already");
        assert_eq!((table.get(id, "anna", t0), table.get(id, "bert", t0)), (Some('a'), Some('b')));
        table.end(id, "bert", t0);
        assert_eq!((table.live("anna"), table.live("bert"), table.live("carl")), (vec!['a'], vec![], vec![]));
        assert!(table.insert(id, "bert", 'd'), "a later step of the same call rings again");
        assert_eq!(table.get(id, "bert", t0 + KEEP_ENDED), Some('d'), "the end of the first is not its end");
        assert_eq!(table.live("bert"), ['d']);
    }
}
