//! The budget of strangers: a token bucket a source and one for all of them together.
//!
//! Known sources (trunks, far sides of live calls) pass without it and have a queue of their own, so a flood
//! from strangers starves nobody (two classes, each with its budget). The table of sources is capped; when it is full, the common
//! bucket still holds, and sources that have been silent long enough to be full again are forgotten.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Rates.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionConfig {
    /// Datagrams a second from one source.
    pub per_source: u32,
    /// Burst of one source.
    pub burst: u32,
    /// Datagrams a second from all strangers.
    pub all: u32,
    /// Most sources remembered.
    pub sources: usize,
}

impl Default for AdmissionConfig {
    /// A person's phone needs a few messages a second; all strangers together may use a small part of a core.
    fn default() -> Self {
        Self { per_source: 20, burst: 60, all: 1_000, sources: 4_096 }
    }
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    /// In millionths of a token.
    level: u64,
    filled_at: Instant,
}

const TOKEN: u64 = 1_000_000;
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Bucket {
    const fn full(burst: u32, now: Instant) -> Self {
        Self { level: burst as u64 * TOKEN, filled_at: now }
    }

    fn fill(&mut self, now: Instant, rate: u32, burst: u32) {
        let micros = now.saturating_duration_since(self.filled_at).as_micros();
        let gained = u64::try_from(micros).unwrap_or(u64::MAX).saturating_mul(u64::from(rate));
        self.level = self.level.saturating_add(gained).min(u64::from(burst) * TOKEN);
        self.filled_at = self.filled_at.max(now);
    }

    const fn take(&mut self, cost: u32) -> bool {
        match self.level.checked_sub(cost as u64 * TOKEN) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

/// The buckets.
#[derive(Debug)]
pub struct Admission {
    config: AdmissionConfig,
    all: Bucket,
    sources: HashMap<IpAddr, Bucket>,
    swept_at: Option<Instant>,
}

impl Admission {
    /// Full buckets.
    #[must_use]
    pub fn new(config: AdmissionConfig, now: Instant) -> Self {
        Self { config, all: Bucket::full(config.all, now), sources: HashMap::new(), swept_at: None }
    }

    /// Whether a datagram of this stranger may come in.
    pub fn admit(&mut self, now: Instant, source: IpAddr) -> bool {
        self.admit_for(now, source, 1)
    }

    /// The same of what costs as much as some datagrams.
    pub fn admit_for(&mut self, now: Instant, source: IpAddr, cost: u32) -> bool {
        let source = network(source);
        let AdmissionConfig { per_source, burst, all, sources } = self.config;
        self.all.fill(now, all, all);
        if !self.sources.contains_key(&source) && self.sources.len() >= sources {
            self.sweep(now);
            if self.sources.len() >= sources {
                return false;
            }
        }
        let bucket = self.sources.entry(source).or_insert_with(|| Bucket::full(burst, now));
        bucket.fill(now, per_source, burst);
        // the source first: one that has spent its own may not spend the others'
        bucket.take(cost) && self.all.take(cost)
    }

    /// Forgets who would be full again: it makes no difference. Once a second at most, for a flood from ever
    /// new addresses would have it look at the whole table for each datagram.
    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_EVERY) {
            return;
        }
        self.swept_at = Some(now);
        let AdmissionConfig { per_source, burst, .. } = self.config;
        self.sources.retain(|_, b| {
            b.fill(now, per_source, burst);
            b.level < u64::from(burst) * TOKEN
        });
    }
}

/// One host of IPv6 has a whole /64 to choose its address from.
pub(super) fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_gets_its_burst_then_its_rate_and_others_are_untouched() {
        let t0 = Instant::now();
        let mut a = Admission::new(AdmissionConfig::default(), t0);
        let (one, two) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        assert_eq!((0..500).filter(|_| a.admit(t0, one)).count(), 60);
        assert!(a.admit(t0, two));
        assert_eq!((0..500).filter(|_| a.admit(t0 + Duration::from_secs(1), one)).count(), 20);
    }

    #[test]
    fn what_costs_more_comes_in_less_often() {
        let t0 = Instant::now();
        let mut a = Admission::new(AdmissionConfig::default(), t0);
        let admitted = |a: &mut Admission, ip: u8| {
            (0..500).filter(|_| a.admit_for(t0, [192, 0, 2, ip].into(), 10)).count()
        };
        assert_eq!(admitted(&mut a, 1), 6);
        assert!(!a.admit(t0, [192, 0, 2, 1].into()));
        assert_eq!((2..50).map(|ip| admitted(&mut a, ip)).sum::<usize>(), 94, "of all together");
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let t0 = Instant::now();
        let mut a = Admission::new(AdmissionConfig::default(), t0);
        let address = |n: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) + n));
        assert_eq!((0..500).filter(|n| a.admit(t0, address(*n))).count(), 60);
        assert!(a.admit(t0, address(1 << 64)));
    }

    #[test]
    fn many_strangers_share_one_budget_and_a_bounded_table() {
        let t0 = Instant::now();
        let mut a = Admission::new(AdmissionConfig::default(), t0);
        let admitted = (0..100_000_u32).filter(|n| a.admit(t0, IpAddr::from(n.to_be_bytes()))).count();
        assert_eq!(admitted, 1_000);
        assert_eq!(a.sources.len(), 4_096);
        assert!(a.admit(t0 + Duration::from_secs(5), IpAddr::from([203, 0, 113, 1])));
    }
}
