//! Where a trunk's PBX is found, and which of these places failed lately. Pure: it is told the time.

use crate::sip::Hop;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a place that failed goes behind all others: long enough that an outage costs few calls its delay, short enough
/// that the load comes back soon.
pub(super) const REST: Duration = Duration::from_secs(30);

/// The longest that one may ask to be left alone (Retry-After, RFC 3261 §21.5.4): a typing error shall not shut it out for
/// a day.
const MAX_REST: Duration = Duration::from_secs(300);

/// A place that calls may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) hop: Hop,
    /// Which of the trunk's hosts it is, by its number.
    pub(super) place: usize,
}

#[derive(Debug, Default)]
struct Mark {
    /// A call or a registration found nobody there.
    failed_until: Option<Instant>,
    /// Nobody answers OPTIONS.
    is_down: bool,
}

/// What is known of a trunk's places.
#[derive(Debug, Default)]
pub(super) struct Targets {
    located: Vec<Hop>,
    marks: BTreeMap<Hop, Mark>,
}

impl Targets {
    /// The places are these now; those that are new, and those that are no more.
    pub(super) fn locate(&mut self, targets: &[Target]) -> (Vec<Hop>, Vec<Hop>) {
        let mut hops: Vec<Hop> = targets.iter().map(|t| t.hop).collect();
        hops.sort();
        hops.dedup();
        let new = hops.iter().filter(|hop| !self.located.contains(hop)).copied().collect();
        let gone = self.located.iter().filter(|hop| !hops.contains(hop)).copied().collect();
        self.marks.retain(|hop, _| hops.contains(hop));
        self.located = hops;
        (new, gone)
    }

    /// The places as they were found last.
    pub(super) fn located(&self) -> &[Hop] {
        &self.located
    }

    /// Whether an address is that of a place.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.located.iter().any(|hop| hop.address.ip().to_canonical() == ip)
    }

    /// The order to try them in: as they are, and those that failed lately after the others. So where all failed, all are
    /// tried all the same.
    pub(super) fn in_order(&self, now: Instant, mut targets: Vec<Target>) -> Vec<Target> {
        targets.sort_by_key(|target| self.rests(now, target.hop));
        targets
    }

    /// Whether a place failed lately.
    pub(super) fn rests(&self, now: Instant, hop: Hop) -> bool {
        let is_set = |mark: &Mark| mark.is_down || mark.failed_until.is_some_and(|until| until > now);
        self.marks.get(&hop).is_some_and(is_set)
    }

    /// Nobody was found there who could serve, and not before this time where that was said.
    pub(super) fn failed(&mut self, now: Instant, hop: Hop, retry_after: Option<Duration>) {
        if let Some(mark) = self.mark(hop) {
            mark.failed_until = Some(now + retry_after.unwrap_or(REST).min(MAX_REST));
        }
    }

    /// Somebody answered there.
    pub(super) fn answered(&mut self, hop: Hop) {
        self.marks.remove(&hop);
    }

    /// Nobody answers OPTIONS there.
    pub(super) fn set_down(&mut self, hop: Hop) {
        if let Some(mark) = self.mark(hop) {
            mark.is_down = true;
        }
    }

    /// Only of places that there are: so marks are bounded as these are.
    fn mark(&mut self, hop: Hop) -> Option<&mut Mark> {
        self.located.contains(&hop).then(|| self.marks.entry(hop).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(n: u16) -> Vec<Target> {
        let hop = |port| Hop::from(std::net::SocketAddr::from(([192, 0, 2, 1], port)));
        (1..=n).map(|port| Target { hop: hop(port), place: 0 }).collect()
    }

    fn order(known: &Targets, now: Instant, n: u16) -> Vec<u16> {
        known.in_order(now, targets(n)).iter().map(|t| t.hop.address.port()).collect()
    }

    #[test]
    fn a_place_that_failed_goes_last_for_a_while_and_then_as_before() {
        let (mut known, t0, all) = (Targets::default(), Instant::now(), targets(3));
        known.locate(&all);
        assert_eq!(order(&known, t0, 3), [1, 2, 3]);
        known.failed(t0, all[0].hop, None);
        assert_eq!(order(&known, t0 + REST - Duration::from_millis(1), 3), [2, 3, 1]);
        assert_eq!(order(&known, t0 + REST, 3), [1, 2, 3]);
        known.failed(t0, all[1].hop, None);
        known.failed(t0, all[2].hop, None);
        assert_eq!(order(&known, t0, 3), [1, 2, 3], "all failed: as it was");
        known.answered(all[1].hop);
        assert_eq!(order(&known, t0, 3), [2, 1, 3]);
    }

    #[test]
    fn one_that_says_for_how_long_is_left_alone_for_so_long_within_reason_rfc_3261_21_5_4() {
        let (mut known, t0, all) = (Targets::default(), Instant::now(), targets(2));
        known.locate(&all);
        for (said, rest) in [(0, 0), (5, 5), (120, 120), (100_000, 300)] {
            known.failed(t0, all[0].hop, Some(Duration::from_secs(said)));
            let rest = Duration::from_secs(rest);
            let before = (rest > Duration::ZERO).then(|| order(&known, t0 + rest / 2, 2));
            assert!(before.is_none_or(|order| order == [2, 1]), "{said}");
            assert_eq!(order(&known, t0 + rest, 2), [1, 2], "{said}");
        }
    }

    #[test]
    fn one_that_is_down_goes_last_until_somebody_answers() {
        let (mut known, t0, all) = (Targets::default(), Instant::now(), targets(2));
        known.locate(&all);
        known.set_down(all[0].hop);
        assert_eq!(order(&known, t0 + 100 * REST, 2), [2, 1]);
        known.answered(all[0].hop);
        assert_eq!(order(&known, t0, 2), [1, 2]);
    }

    #[test]
    fn what_is_no_place_any_more_is_forgotten_and_never_marked() {
        let (mut known, t0, all) = (Targets::default(), Instant::now(), targets(3));
        assert_eq!(known.locate(&all[..2]), (vec![all[0].hop, all[1].hop], vec![]));
        known.failed(t0, all[1].hop, None);
        known.failed(t0, all[2].hop, None);
        assert_eq!(known.marks.len(), 1);
        assert_eq!(known.locate(&all[2..]), (vec![all[2].hop], vec![all[0].hop, all[1].hop]));
        assert_eq!((known.marks.len(), known.located().len()), (0, 1));
        assert!(known.has("192.0.2.1".parse().unwrap()) && !known.has("192.0.2.2".parse().unwrap()));
    }
}
