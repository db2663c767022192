//! How many calls a trunk has, held against its `max_calls`, and how often the log hears of those that found no place, or that
//! were refused before they started. Pure.
//!
//! Each leg counts, of either direction: a call that goes out by the trunk that it came in by has two. Places of a PBX that
//! ring together for one call are one. A leg that takes another one's place (RFC 3891) is never refused: that one goes.

use crate::base::{CallId, Seldom, Sparing, Told};
use crate::registry::NoPlace;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A trunk without places is a line in the log once in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// Lines of calls that a trunk makes wrong, in a second: who forges its address on datagrams fills no disk.
const LINES_A_SECOND: u32 = 10;

/// Why a call of a trunk has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shortage {
    /// The trunk has as many as it may.
    MaxCalls,
    /// Those that nobody has answered have as many as they may.
    Unanswered,
    /// All places of the program are taken.
    Full,
}

impl From<NoPlace> for Shortage {
    fn from(why: NoPlace) -> Self {
        match why {
            NoPlace::Full => Self::Full,
            NoPlace::Unanswered => Self::Unanswered,
        }
    }
}

#[derive(Debug)]
struct Table {
    most: Option<usize>,
    /// Calls to us.
    incoming: usize,
    /// Calls of ours, with how many places each of them rings.
    outgoing: BTreeMap<CallId, usize>,
    told: BTreeMap<Shortage, Seldom>,
    unstarted: Sparing,
}

impl Table {
    fn is_full(&self) -> bool {
        let taken = self.incoming.saturating_add(self.outgoing.len());
        self.most.is_some_and(|most| taken >= most)
    }
}

/// The calls of a trunk at once. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Occupancy(Arc<Mutex<Table>>);

/// A leg of a trunk counts while this lives.
pub(super) struct Occupied {
    occupancy: Occupancy,
    /// The call that it is dialled for; none: it called us.
    dialled_for: Option<CallId>,
}

impl Occupancy {
    /// No calls, and so many at most.
    pub(super) fn new(most: Option<usize>) -> Self {
        Self(Arc::new(Mutex::new(Table {
            most,
            incoming: 0,
            outgoing: BTreeMap::new(),
            told: BTreeMap::new(),
            unstarted: Sparing::new(LINES_A_SECOND),
        })))
    }

    /// Calls at once at most; none: as many as the program has places for.
    pub(super) fn most(&self) -> Option<usize> {
        self.table().most
    }

    /// A place for a leg that calls us; none when there are as many as may be.
    pub(super) fn enter(&self) -> Option<Occupied> {
        let mut table = self.table();
        if table.is_full() {
            return None;
        }
        table.incoming += 1;
        Some(Occupied { occupancy: self.clone(), dialled_for: None })
    }

    /// The same for a leg that takes the place of another one.
    pub(super) fn take_over(&self) -> Occupied {
        self.table().incoming += 1;
        Occupied { occupancy: self.clone(), dialled_for: None }
    }

    /// A place for a leg that this call dials; none when there are as many as may be.
    pub(super) fn dial(&self, call: CallId) -> Option<Occupied> {
        let mut table = self.table();
        if table.is_full() && !table.outgoing.contains_key(&call) {
            return None;
        }
        *table.outgoing.entry(call).or_default() += 1;
        Some(Occupied { occupancy: self.clone(), dialled_for: Some(call) })
    }

    /// A call found no place. When the log is to hear of it: how many there were since it last did.
    pub(super) fn refused(&self, now: Instant, why: Shortage) -> Option<u64> {
        let mut table = self.table();
        table.told.entry(why).or_insert_with(|| Seldom::new(LINE_INTERVAL)).happened(now)
    }

    /// A call to us was refused before it started. What the log hears of it.
    pub(super) fn unstarted(&self, now: Instant) -> Told {
        self.table().unstarted.happened(now)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut table = self.occupancy.table();
        let Some(call) = self.dialled_for else {
            table.incoming = table.incoming.saturating_sub(1);
            return;
        };
        if let Some(legs) = table.outgoing.get_mut(&call) {
            *legs = legs.saturating_sub(1);
            if *legs == 0 {
                table.outgoing.remove(&call);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(n: u128) -> CallId {
        CallId::from_bits(n)
    }

    #[test]
    fn calls_of_both_directions_have_the_places_until_they_are_over() {
        let trunk = Occupancy::new(Some(2));
        let (incoming, outgoing) = (trunk.enter(), trunk.dial(call(1)));
        assert!(incoming.is_some() && outgoing.is_some());
        assert!(trunk.enter().is_none() && trunk.dial(call(2)).is_none());
        drop(incoming);
        let other = trunk.dial(call(2));
        assert!(other.is_some() && trunk.enter().is_none());
        drop((outgoing, other));
        assert!(trunk.table().outgoing.is_empty());
        assert!(trunk.enter().is_some());
    }

    #[test]
    fn places_that_one_call_rings_are_one_and_who_takes_anothers_place_is_let_in() {
        let trunk = Occupancy::new(Some(1));
        let rings: Vec<_> = (0..3).filter_map(|_| trunk.dial(call(1))).collect();
        assert_eq!(rings.len(), 3);
        let picked_up = trunk.take_over();
        drop(rings);
        assert!(trunk.enter().is_none(), "who took over has it");
        drop(picked_up);
        assert!(trunk.enter().is_some());
        let unlimited = Occupancy::new(None);
        assert_eq!((0..5_000).filter_map(|_| unlimited.enter()).collect::<Vec<_>>().len(), 5_000);
    }

    #[test]
    fn the_log_hears_once_a_minute_of_each_shortage() {
        let (trunk, t0) = (Occupancy::new(Some(1)), Instant::now());
        let at = |seconds: u64| t0 + Duration::from_secs(seconds);
        assert_eq!(trunk.refused(at(0), Shortage::MaxCalls), Some(1));
        assert_eq!(trunk.refused(at(1), Shortage::Full), Some(1));
        assert_eq!(trunk.refused(at(59), Shortage::MaxCalls), None);
        assert_eq!(trunk.refused(at(60), Shortage::MaxCalls), Some(2));
    }
}
