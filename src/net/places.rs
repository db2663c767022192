//! Places for connections, of HTTP and of SIP: who gets one, and who gives his up to another. Pure.
//!
//! How many there are, and how many of them a source may have, says [`Guard`]. Where it has none left, a connection goes that
//! has not shown credentials: before all one that has sent nothing whole, for a browser sends its request, and a PBX its
//! REGISTER, as soon as it is connected. A connection of the source that has the most such goes first, of its own the oldest:
//! who opens hundreds and is silent makes room for others by it. A connection with credentials stays, and so do those of
//! known sources, unless the source itself wants another one; and so do those that the caller says are **kept**, unless
//! nothing whole has come by them and the source itself wants another one.
//!
//! Drive it: [`Places::enter`] when a connection comes and [`Places::leave`] when it is over, [`Places::asked`] and
//! [`Places::good_login`] for what comes by it.

use super::guard::{Guard, GuardConfig, Refusal, network};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// What a connection has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    /// Nothing whole.
    Nothing,
    /// A request without credentials.
    Request,
    /// Good credentials.
    Credentials,
}

#[derive(Debug)]
struct Open<T> {
    source: IpAddr,
    handle: T,
    shown: Shown,
}

/// The places; `T` is what a connection is closed by.
#[derive(Debug)]
pub struct Places<T> {
    guard: Guard,
    next: u64,
    open: BTreeMap<u64, Open<T>>,
}

impl<T> Places<T> {
    /// None is taken.
    #[must_use]
    pub const fn new(config: GuardConfig) -> Self {
        Self { guard: Guard::new(config), next: 0, open: BTreeMap::new() }
    }

    /// A place, to be given back with [`Self::leave`]; and who is to be closed for it, which is none that `is_kept` says is
    /// in use by what it has not shown itself.
    ///
    /// # Errors
    /// Why there is none, and nobody gives way.
    pub fn enter(
        &mut self,
        now: Instant,
        source: IpAddr,
        handle: T,
        is_kept: impl Fn(&T) -> bool,
    ) -> Result<(u64, Option<T>), Refusal> {
        let source = network(source);
        let closed = match self.guard.enter(now, source) {
            Ok(()) => None,
            Err(refusal) => {
                let least = self.least(now, source, refusal, is_kept);
                let open = least.and_then(|id| self.open.remove(&id)).ok_or(refusal)?;
                self.guard.take_over(source, open.source);
                Some(open.handle)
            }
        };
        self.next += 1;
        self.open.insert(self.next, Open { source, handle, shown: Shown::Nothing });
        Ok((self.next, closed))
    }

    /// A connection is over; harmless when it was closed for another one.
    pub fn leave(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            self.guard.leave(open.source);
        }
    }

    /// It has sent a whole request, or another message.
    pub fn asked(&mut self, id: u64) {
        self.shown(id, Shown::Request);
    }

    /// Its request has good credentials.
    pub fn good_login(&mut self, now: Instant, id: u64, source: IpAddr) {
        self.shown(id, Shown::Credentials);
        self.guard.good_login(now, source);
    }

    /// A source is known, whatever comes by its connections.
    pub fn trust(&mut self, now: Instant, source: IpAddr) {
        self.guard.good_login(now, source);
    }

    /// See [`Guard::may_fail`].
    pub fn may_fail(&mut self, now: Instant, source: IpAddr) -> bool {
        self.guard.may_fail(now, source)
    }

    fn shown(&mut self, id: u64, shown: Shown) {
        if let Some(open) = self.open.get_mut(&id) {
            open.shown = open.shown.max(shown);
        }
    }

    /// Who goes for a newcomer that finds no place.
    fn least(
        &self,
        now: Instant,
        newcomer: IpAddr,
        refusal: Refusal,
        is_kept: impl Fn(&T) -> bool,
    ) -> Option<u64> {
        let unproved = || self.open.iter().filter(|(_, open)| open.shown < Shown::Credentials);
        if refusal == Refusal::Source {
            let own = unproved().filter(|(_, open)| open.source == newcomer);
            let gives_way = |open: &Open<T>| open.shown == Shown::Nothing || !is_kept(&open.handle);
            let own = own.filter(|(_, open)| gives_way(open));
            return own.min_by_key(|(id, open)| (open.shown, **id)).map(|(id, _)| *id);
        }
        let mut by_source: BTreeMap<IpAddr, usize> = BTreeMap::new();
        unproved().for_each(|(_, open)| *by_source.entry(open.source).or_default() += 1);
        by_source.retain(|source, _| !self.guard.is_known(now, *source));
        let mut least = None;
        for (id, open) in unproved() {
            let Some(connections) = by_source.get(&open.source) else { continue };
            let rank = (open.shown, Reverse(*connections), *id);
            // few are asked about: the rest would not go anyway
            if least.is_none_or(|least| rank < least) && !is_kept(&open.handle) {
                least = Some(rank);
            }
        }
        least.map(|(_, _, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from((0xC633_0000 + n).to_be_bytes())
    }

    fn places() -> Places<u32> {
        Places::new(GuardConfig::default())
    }

    /// A connection that is let in, and the source of the one that goes for it.
    fn enter(places: &mut Places<u32>, now: Instant, n: u32) -> (u64, Option<u32>) {
        places.enter(now, ip(n), n, |_| false).unwrap()
    }

    #[test]
    fn sources_that_hold_all_places_and_are_silent_give_them_up_one_by_one() {
        let (t0, mut places) = (Instant::now(), places());
        (0..12).for_each(|n| (0..64).for_each(|_| assert_eq!(enter(&mut places, t0, n).1, None)));
        let (ids, closed): (Vec<u64>, Vec<_>) = (100..700).map(|n| enter(&mut places, t0, n)).unzip();
        // the greatest ones in turn, and never one of those that came later and have one each
        assert!(closed.iter().all(|source| source.is_some_and(|n| n < 12)), "{closed:?}");
        assert!((0..12).all(|n| closed.iter().filter(|source| **source == Some(n)).count() == 50));
        ids.into_iter().for_each(|id| places.leave(id));
        assert_eq!(places.open.len(), 168);
    }

    #[test]
    fn a_source_that_has_as_many_as_it_may_closes_its_own_oldest_silent_one() {
        let (t0, mut places) = (Instant::now(), places());
        let ids: Vec<u64> = (0..64).map(|_| enter(&mut places, t0, 1).0).collect();
        places.asked(ids[0]);
        enter(&mut places, t0, 2);
        assert_eq!(enter(&mut places, t0, 1).1, Some(1));
        assert!(places.open.contains_key(&ids[0]) && !places.open.contains_key(&ids[1]));
        assert_eq!(places.open.len(), 65);
        // it was closed already
        places.leave(ids[1]);
        assert_eq!(enter(&mut places, t0, 1).1, Some(1));
    }

    #[test]
    fn connections_with_credentials_are_never_closed_and_those_with_a_request_after_the_silent_ones() {
        let (t0, mut places) = (Instant::now(), places());
        let of =
            |places: &mut Places<u32>, n: u32| (0..64).map(|_| enter(places, t0, n).0).collect::<Vec<_>>();
        let all: Vec<Vec<u64>> = (0..12).map(|n| of(&mut places, n)).collect();
        all[1..].iter().flatten().for_each(|id| places.asked(*id));
        let last = all[0][63];
        places.good_login(t0, last, ip(0));
        // whose source is known now: its silent ones stay, too, and it may have more
        assert_eq!(enter(&mut places, t0, 0).1, None);
        let closed = enter(&mut places, t0, 99).1;
        assert!(closed.is_some_and(|n| n > 0), "{closed:?}");
        all[1..].iter().flatten().for_each(|id| places.good_login(t0, *id, ip(77)));
        assert_eq!(enter(&mut places, t0, 98).1, Some(99), "the only one that has shown nothing");
        assert_eq!(places.open.len(), 769);
    }

    #[test]
    fn a_connection_that_is_kept_gives_way_to_nobody_but_a_silent_one_to_its_own_source() {
        let (t0, mut places) = (Instant::now(), places());
        let is_kept = |n: &u32| *n == 0;
        let ids: Vec<u64> = (0..64).map(|_| enter(&mut places, t0, 0).0).collect();
        (1..12).for_each(|n| (0..64).for_each(|_| assert_eq!(enter(&mut places, t0, n).1, None)));
        // the oldest of the silent ones of all, were they not kept
        for n in 100..200 {
            let closed = places.enter(t0, ip(n), n, is_kept).unwrap().1;
            assert!(closed.is_some_and(|n| (1..12).contains(&n)), "{closed:?}");
        }
        ids[1..].iter().for_each(|id| places.asked(*id));
        let (new, closed) = places.enter(t0, ip(0), 0, is_kept).unwrap();
        assert!(closed == Some(0) && !places.open.contains_key(&ids[0]));
        places.asked(new);
        assert_eq!(places.enter(t0, ip(0), 0, is_kept), Err(Refusal::Source));
    }

    #[test]
    fn where_nobody_gives_way_the_newcomer_is_refused() {
        let (t0, mut places) = (Instant::now(), places());
        for n in 0..768 {
            let (id, _) = enter(&mut places, t0, n);
            places.good_login(t0, id, ip(5_000));
        }
        assert_eq!(places.enter(t0, ip(999), 999, |_| false), Err(Refusal::Full));
    }
}
