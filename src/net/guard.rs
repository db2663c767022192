//! Places for connections, and a budget of failed logins: what one source, or all strangers together, may take.
//!
//! A source is an IPv4 address or the /64 of an IPv6 address. It becomes **known** with a good login and stays so
//! for an hour after the last; strangers never fill the places that are kept for known ones. Limits are wide,
//! because an office behind one NAT is one source: they stop a flood, not people. 127.0.0.1 and ::1 are always
//! known: a reverse proxy on this machine is one source for everybody.
//!
//! Drive it: [`Guard::enter`] before a connection is served and [`Guard::leave`] after it, [`Guard::good_login`]
//! and [`Guard::may_fail`] for each request. Told the time; every table is bounded.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Limits.
#[derive(Debug, Clone, Copy)]
pub struct GuardConfig {
    /// Connections at once.
    pub places: usize,
    /// Of these, for known sources alone.
    pub reserved: usize,
    /// Connections at once of one stranger.
    pub per_stranger: usize,
    /// Connections at once of one known source.
    pub per_known: usize,
    /// Failed logins of a source before it must wait.
    pub failures: u32,
    /// One more is granted each time this has passed.
    pub failure_interval: Duration,
    /// Sources remembered as known, and as failing.
    pub sources: usize,
}

impl Default for GuardConfig {
    /// A browser holds six connections to a host, so 64 are ten people behind one address who never logged in
    /// yet; 200 wrong tokens are a page that was reloaded for an hour after its token had changed.
    fn default() -> Self {
        Self {
            places: 1_024,
            reserved: 256,
            per_stranger: 64,
            per_known: 768,
            failures: 200,
            failure_interval: Duration::from_secs(1),
            sources: 4_096,
        }
    }
}

/// How long a source stays known after a good login.
const KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// Why a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This source has enough.
    #[error("it has as many as one source may have")]
    Source,
    /// All places that it may have are taken.
    #[error("all places for sources without a login are taken")]
    Full,
}

/// Failed logins of somebody, of which one is forgiven each interval.
#[derive(Debug, Clone, Copy)]
pub struct Failures {
    count: u32,
    counted_at: Instant,
}

impl Failures {
    /// None so far.
    #[must_use]
    pub const fn none(now: Instant) -> Self {
        Self { count: 0, counted_at: now }
    }

    /// One more. False when there are as many already as the budget allows, and this one does not count.
    pub fn add(&mut self, now: Instant, budget: &GuardConfig) -> bool {
        let less = self.forgiven(now, budget.failure_interval);
        if less > 0 {
            self.count = self.count.saturating_sub(less);
            self.counted_at += budget.failure_interval.saturating_mul(less);
        }
        if self.count >= budget.failures {
            return false;
        }
        self.count = self.count.saturating_add(1);
        true
    }

    /// Whether there are as many as the budget allows. Counts nothing.
    #[must_use]
    pub fn are_too_many(&self, now: Instant, budget: &GuardConfig) -> bool {
        self.count.saturating_sub(self.forgiven(now, budget.failure_interval)) >= budget.failures
    }

    /// How many of them count no more.
    fn forgiven(&self, now: Instant, interval: Duration) -> u32 {
        let intervals = now
            .saturating_duration_since(self.counted_at)
            .as_millis()
            .checked_div(interval.as_millis())
            .unwrap_or_default();
        u32::try_from(intervals).unwrap_or(u32::MAX)
    }
}

/// The tables.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    taken: usize,
    /// Connections now; no longer than `places`.
    connections: BTreeMap<IpAddr, usize>,
    /// When each known source logged in last.
    known: BTreeMap<IpAddr, Instant>,
    failing: BTreeMap<IpAddr, Failures>,
}

impl Guard {
    /// Nobody is there.
    #[must_use]
    pub const fn new(config: GuardConfig) -> Self {
        Self {
            config,
            taken: 0,
            connections: BTreeMap::new(),
            known: BTreeMap::new(),
            failing: BTreeMap::new(),
        }
    }

    /// A place for a connection; give it back with [`Self::leave`].
    ///
    /// # Errors
    /// Why there is none.
    pub fn enter(&mut self, now: Instant, source: IpAddr) -> Result<(), Refusal> {
        let source = network(source);
        let is_known = self.is_known(now, source);
        let GuardConfig { places, reserved, per_stranger, per_known, .. } = self.config;
        let (most, all) =
            if is_known { (per_known, places) } else { (per_stranger, places.saturating_sub(reserved)) };
        let own = self.connections.get(&source).copied().unwrap_or_default();
        if own >= most {
            return Err(Refusal::Source);
        }
        if self.taken >= all {
            return Err(Refusal::Full);
        }
        self.take(source);
        Ok(())
    }

    /// The place of a connection of `other` for one of `source`, which found none: nobody has fewer by it.
    pub fn take_over(&mut self, source: IpAddr, other: IpAddr) {
        self.leave(other);
        self.take(network(source));
    }

    fn take(&mut self, source: IpAddr) {
        let own = self.connections.entry(source).or_default();
        *own = own.saturating_add(1);
        self.taken = self.taken.saturating_add(1);
    }

    /// A connection that had entered is over.
    pub fn leave(&mut self, source: IpAddr) {
        let source = network(source);
        if let Some(own) = self.connections.get_mut(&source) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.connections.remove(&source);
            }
            self.taken = self.taken.saturating_sub(1);
        }
    }

    /// Somebody there has good credentials: the source is known now. Its failures are not forgiven: whoever has credentials
    /// of his own could guess at others for ever, with a good login in between.
    pub fn good_login(&mut self, now: Instant, source: IpAddr) {
        let source = network(source);
        make_room(&mut self.known, source, self.config.sources, |at| {
            now.saturating_duration_since(*at) < KNOWN_FOR
        });
        self.known.insert(source, now);
    }

    /// Credentials were wrong. False when this source has failed too often lately, and shall wait.
    pub fn may_fail(&mut self, now: Instant, source: IpAddr) -> bool {
        let source = network(source);
        let GuardConfig { failure_interval, sources, .. } = self.config;
        make_room(&mut self.failing, source, sources, |f| f.forgiven(now, failure_interval) < f.count);
        self.failing.entry(source).or_insert_with(|| Failures::none(now)).add(now, &self.config)
    }

    /// Whether this source has failed too often lately. Counts nothing.
    #[must_use]
    pub fn must_wait(&self, now: Instant, source: IpAddr) -> bool {
        self.failing.get(&network(source)).is_some_and(|f| f.are_too_many(now, &self.config))
    }

    /// Whether somebody there has logged in lately.
    #[must_use]
    pub fn is_known(&self, now: Instant, source: IpAddr) -> bool {
        let source = network(source);
        source == IpAddr::V4(Ipv4Addr::LOCALHOST)
            || source == network(Ipv6Addr::LOCALHOST.into())
            || self.known.get(&source).is_some_and(|at| now.saturating_duration_since(*at) < KNOWN_FOR)
    }
}

/// Room for one more source: those that are no longer of use go first, then the one with the lowest address.
fn make_room<T>(
    table: &mut BTreeMap<IpAddr, T>,
    source: IpAddr,
    most: usize,
    is_of_use: impl Fn(&T) -> bool,
) {
    if table.len() < most || table.contains_key(&source) {
        return;
    }
    table.retain(|_, entry| is_of_use(entry));
    if table.len() >= most {
        table.pop_first();
    }
}

/// One host of IPv6 has a whole /64 to choose its address from.
#[must_use]
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from((0xC633_0000 + n).to_be_bytes())
    }

    #[test]
    fn one_stranger_cannot_take_the_places_of_others() {
        let (t0, mut guard) = (Instant::now(), Guard::new(GuardConfig::default()));
        assert_eq!((0..2_000).filter(|_| guard.enter(t0, ip(1)).is_ok()).count(), 64);
        assert_eq!(guard.enter(t0, ip(1)), Err(Refusal::Source));
        assert_eq!(guard.enter(t0, ip(2)), Ok(()));
        guard.leave(ip(1));
        assert_eq!(guard.enter(t0, ip(1)), Ok(()));
    }

    #[test]
    fn a_proxy_on_this_machine_is_no_stranger() {
        for proxy in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let mut guard = Guard::new(GuardConfig::default());
            let taken = (0..2_000).filter(|_| guard.enter(Instant::now(), proxy).is_ok()).count();
            assert_eq!(taken, 768);
        }
    }

    #[test]
    fn many_strangers_leave_room_for_who_has_logged_in() {
        let (t0, mut guard) = (Instant::now(), Guard::new(GuardConfig::default()));
        guard.good_login(t0, ip(9_999));
        assert_eq!((0..5_000).filter(|n| guard.enter(t0, ip(*n)).is_ok()).count(), 768);
        assert_eq!(guard.enter(t0, ip(5_000)), Err(Refusal::Full));
        assert_eq!((0..5_000).filter(|_| guard.enter(t0, ip(9_999)).is_ok()).count(), 256);
        let later = t0 + KNOWN_FOR;
        (0..256).for_each(|_| guard.leave(ip(9_999)));
        assert_eq!(guard.enter(later, ip(9_999)), Err(Refusal::Full), "an hour later it is a stranger again");
        (0..768).for_each(|n| guard.leave(ip(n)));
        assert_eq!((guard.taken, guard.connections.len()), (0, 0));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_the_ipv4_one() {
        let (t0, mut guard) = (Instant::now(), Guard::new(GuardConfig::default()));
        let address = |n: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + n));
        assert_eq!((0..500).filter(|n| guard.enter(t0, address(*n)).is_ok()).count(), 64);
        assert_eq!(guard.enter(t0, address(1 << 64)), Ok(()));
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn wrong_tokens_are_answered_a_while_then_slowly_and_a_good_one_forgives_none() {
        let (t0, mut guard) = (Instant::now(), Guard::new(GuardConfig::default()));
        assert_eq!((0..10_000).filter(|_| guard.may_fail(t0, ip(1))).count(), 200);
        assert!(guard.may_fail(t0, ip(2)));
        assert!(guard.must_wait(t0, ip(1)) && !guard.must_wait(t0, ip(2)) && !guard.must_wait(t0, ip(3)));
        assert!(!guard.must_wait(t0 + Duration::from_secs(1), ip(1)));
        let in_a_minute = (0..60_000).filter(|ms| guard.may_fail(t0 + Duration::from_millis(*ms), ip(1)));
        assert_eq!(in_a_minute.count(), 59);
        // whoever guesses may have a token of his own
        let minute = t0 + Duration::from_secs(60);
        guard.good_login(minute, ip(1));
        assert_eq!((0..10_000).filter(|_| guard.may_fail(minute, ip(1))).count(), 1);
    }

    #[test]
    fn the_tables_of_sources_are_bounded_and_forget_the_useless_first() {
        let (t0, mut guard) = (Instant::now(), Guard::new(GuardConfig::default()));
        for n in 0..50_000 {
            guard.good_login(t0, ip(n));
            guard.may_fail(t0, ip(n));
        }
        assert!(guard.known.len() <= 4_096 && guard.failing.len() <= 4_096);
        guard.good_login(t0 + KNOWN_FOR, ip(1));
        assert_eq!(guard.known.len(), 1);
    }
}
