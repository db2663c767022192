//! A step of a route as the attempts of a call. Pure.

use super::Dialer;
use crate::call::core::Attempt;
use crate::call::route::{Group, Place, Step, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A step as attempts: an account is a target of every edge that can ring accounts, and a target may stand for several
/// places. Those ring in turn where the edge says so, and with the others where the step has other places to ring.
pub(super) fn step_attempts(step: Step, dialers: &BTreeMap<&'static str, Arc<dyn Dialer>>) -> Vec<Attempt> {
    let Step { places, ring_timeout, when } = step;
    let alone = |target: Target| vec![Group { targets: vec![target], ring_timeout: None }];
    let groups_of = |place: Place| match place {
        Place::Target(target) => match dialers.get(target.edge) {
            Some(dialer) => dialer.groups(&target),
            None => alone(target),
        },
        Place::Account { name, number } => {
            let ring = dialers.iter().filter(|(_, dialer)| dialer.rings_accounts());
            let target = |edge| Target { edge, name: name.clone(), number: number.clone(), place: None };
            let targets = ring.map(|(edge, _)| target(edge)).collect();
            vec![Group { targets, ring_timeout: None }]
        }
    };
    let takes_turns = places.len() == 1;
    let groups: Vec<Group> = places.into_iter().flat_map(groups_of).collect();
    let attempt =
        |targets, ring_timeout, continues| Attempt { targets, ring_timeout, when: when.clone(), continues };
    if !takes_turns {
        let targets = groups.into_iter().flat_map(|group| group.targets).collect();
        return vec![attempt(targets, ring_timeout, false)];
    }
    let last = groups.len().saturating_sub(1);
    let each = |(at, group): (usize, Group)| {
        let own = group.ring_timeout.filter(|_| at < last);
        attempt(group.targets, own.into_iter().chain(ring_timeout).min(), at > 0)
    };
    groups.into_iter().enumerate().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{LegRef, OpenedLeg};
    use super::*;
    use crate::base::Cause;
    use crate::call::route::Occasion;
    use async_trait::async_trait;
    use std::time::Duration;

    /// Its targets are two places in turn, then a third.
    struct Turns;
    /// It rings accounts.
    struct Phones;

    #[async_trait]
    impl Dialer for Turns {
        async fn open(&self, _: LegRef, _: &Target) -> Result<OpenedLeg, Cause> {
            Err(Cause::Unavailable)
        }

        fn groups(&self, target: &Target) -> Vec<Group> {
            let group = |places: &[u64]| Group {
                targets: places.iter().map(|p| Target { place: Some(*p), ..target.clone() }).collect(),
                ring_timeout: Some(Duration::from_secs(8)),
            };
            vec![group(&[1, 2]), group(&[3])]
        }
    }

    #[async_trait]
    impl Dialer for Phones {
        async fn open(&self, _: LegRef, _: &Target) -> Result<OpenedLeg, Cause> {
            Err(Cause::Unavailable)
        }

        fn rings_accounts(&self) -> bool {
            true
        }
    }

    fn trunk(edge: &'static str) -> Place {
        Place::Target(Target { edge, name: "pbx".into(), number: "600".into(), place: None })
    }

    /// What rings together, how long in seconds, and whether it goes on with what was before.
    type Shown = (Vec<(&'static str, Option<u64>)>, Option<u64>, bool);

    fn attempts(places: Vec<Place>, seconds: Option<u64>) -> Vec<Shown> {
        let (turns, phones): (Arc<dyn Dialer>, Arc<dyn Dialer>) = (Arc::new(Turns), Arc::new(Phones));
        let dialers = BTreeMap::from([("turns", turns), ("one", phones.clone()), ("two", phones)]);
        let ring_timeout = seconds.map(Duration::from_secs);
        let step = Step { places, ring_timeout, when: vec![Occasion::Busy] };
        let shown = |a: Attempt| {
            assert_eq!(a.when, [Occasion::Busy]);
            let targets = a.targets.iter().map(|t| (t.edge, t.place)).collect();
            (targets, a.ring_timeout.map(|t| t.as_secs()), a.continues)
        };
        step_attempts(step, &dialers).into_iter().map(shown).collect()
    }

    #[test]
    fn the_places_of_a_target_ring_in_turn_each_group_but_the_last_as_long_as_it_may() {
        let groups = |first: Option<u64>, last: Option<u64>| {
            let (one, two, three) = (("turns", Some(1)), ("turns", Some(2)), ("turns", Some(3)));
            [(vec![one, two], first, false), (vec![three], last, true)]
        };
        assert_eq!(attempts(vec![trunk("turns")], None), groups(Some(8), None));
        assert_eq!(attempts(vec![trunk("turns")], Some(30)), groups(Some(8), Some(30)));
        assert_eq!(attempts(vec![trunk("turns")], Some(5)), groups(Some(5), Some(5)));
    }

    #[test]
    fn beside_other_places_all_ring_together_and_an_account_at_every_edge_that_rings_accounts() {
        let account = Place::Account { name: "anna".into(), number: "600".into() };
        let (one, two) = (("one", None), ("two", None));
        assert_eq!(attempts(vec![account.clone()], Some(30)), [(vec![one, two], Some(30), false)]);
        let turns = [1, 2, 3].map(|p| ("turns", Some(p)));
        let together = [&[one, two][..], &turns[..]].concat();
        assert_eq!(attempts(vec![account, trunk("turns")], Some(30)), [(together, Some(30), false)]);
        assert_eq!(attempts(vec![trunk("nowhere")], None), [(vec![("nowhere", None)], None, false)]);
    }
}
