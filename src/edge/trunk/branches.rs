//! Which of the places that a PBX is registered at ring for a call, and in which order (RFC 3261 §16.6).

use crate::base::{Fault, Section, parse_duration};
use crate::call::route::{Group, Target};
use std::time::Duration;

/// A telephone rings every five seconds or so: four times.
const DEFAULT_EACH: Duration = Duration::from_secs(20);

/// What rings of several bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ring {
    /// The one of the highest q; of equal ones the newest.
    First,
    /// Those of the highest q together, then those of the next one, each for so long (RFC 3261 §10.2.1.2).
    ByQ(Duration),
    /// All together.
    All,
}

impl Ring {
    /// Reads `ring` and `ring_each`.
    pub(super) fn read(
        section: &Section,
        ring: Option<&str>,
        each: Option<&str>,
        takes_registration: bool,
        faults: &mut Vec<Fault>,
    ) -> Self {
        if !takes_registration {
            for (key, is_there) in [("ring", ring.is_some()), ("ring_each", each.is_some())] {
                if is_there {
                    let remedy = "this is for register = \"accept\", where a PBX may be at several places";
                    faults.push(section.fault(key, remedy));
                }
            }
        }
        if each.is_some() && ring != Some("by-q") {
            faults.push(section.fault("ring_each", "this is for ring = \"by-q\""));
        }
        match ring {
            // a PBX that has started anew is registered twice for a while, and would ring twice
            None | Some("first") => Self::First,
            Some("all") => Self::All,
            Some("by-q") => {
                let least = Duration::from_secs(1);
                let each = match each.map(parse_duration) {
                    None => DEFAULT_EACH,
                    Some(Ok(each)) if each >= least => each,
                    Some(_) => {
                        faults.push(section.fault("ring_each", "write 1s or more, as \"20s\""));
                        DEFAULT_EACH
                    }
                };
                Self::ByQ(each)
            }
            Some(_) => {
                faults.push(section.fault("ring", "write \"first\", \"by-q\" or \"all\""));
                Self::First
            }
        }
    }

    /// What a target stands for; `bindings` are ids with their q, the best first.
    pub(super) fn groups(self, target: &Target, bindings: &[(u64, u16)]) -> Vec<Group> {
        let at = |(id, _): &(u64, u16)| Target { place: Some(*id), ..target.clone() };
        let group = |bindings: &[(u64, u16)], ring_timeout| Group {
            targets: bindings.iter().map(at).collect(),
            ring_timeout,
        };
        match self {
            // nobody is registered: who opens it says so
            _ if bindings.is_empty() => vec![Group { targets: vec![target.clone()], ring_timeout: None }],
            Self::First => vec![Group { targets: vec![target.clone()], ring_timeout: None }],
            Self::All => vec![group(bindings, None)],
            Self::ByQ(each) => {
                bindings.chunk_by(|(_, a), (_, b)| a == b).map(|equal| group(equal, Some(each))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(ring: Option<&str>, each: Option<&str>, takes: bool) -> Result<Ring, Vec<String>> {
        let mut faults = Vec::new();
        let section = Section::new("trunk.pbx", "t", json!({}));
        let ring = Ring::read(&section, ring, each, takes, &mut faults);
        if faults.is_empty() { Ok(ring) } else { Err(faults.into_iter().map(|f| f.key).collect()) }
    }

    #[test]
    fn one_place_rings_unless_the_configuration_says_otherwise_and_mistakes_are_named() {
        let seconds = Duration::from_secs;
        assert_eq!(read(None, None, true), Ok(Ring::First));
        assert_eq!(read(None, None, false), Ok(Ring::First));
        assert_eq!(read(Some("all"), None, true), Ok(Ring::All));
        assert_eq!(read(Some("by-q"), None, true), Ok(Ring::ByQ(seconds(20))));
        assert_eq!(read(Some("by-q"), Some("8s"), true), Ok(Ring::ByQ(seconds(8))));
        let faults = |keys: &[&str]| Err(keys.iter().map(|k| format!("trunk.pbx.{k}")).collect());
        assert_eq!(read(Some("both"), None, true), faults(&["ring"]));
        assert_eq!(read(Some("all"), Some("8s"), true), faults(&["ring_each"]));
        assert_eq!(read(Some("by-q"), Some("0s"), true), faults(&["ring_each"]));
        assert_eq!(read(Some("by-q"), Some("8s"), false), faults(&["ring", "ring_each"]));
    }

    #[test]
    fn bindings_ring_together_or_by_their_q_equal_ones_together_rfc3261_16_6() {
        let target = Target { edge: "trunk", name: "pbx".into(), number: "600".into(), place: None };
        let groups = |ring: Ring, bindings: &[(u64, u16)]| -> Vec<(Vec<Option<u64>>, Option<u64>)> {
            let groups = ring.groups(&target, bindings);
            assert!(groups.iter().flat_map(|g| &g.targets).all(|t| t.number == "600" && t.name == "pbx"));
            let places = |g: &Group| g.targets.iter().map(|t| t.place).collect();
            groups.iter().map(|g| (places(g), g.ring_timeout.map(|t| t.as_secs()))).collect()
        };
        let by_q = Ring::ByQ(Duration::from_secs(8));
        let three = [(7, 1_000), (3, 500), (2, 500)];
        assert_eq!(groups(Ring::First, &three), [(vec![None], None)]);
        assert_eq!(groups(Ring::All, &three), [(vec![Some(7), Some(3), Some(2)], None)]);
        assert_eq!(groups(by_q, &three), [(vec![Some(7)], Some(8)), (vec![Some(3), Some(2)], Some(8))]);
        for ring in [Ring::First, Ring::All, by_q] {
            assert_eq!(groups(ring, &[]), [(vec![None], None)]);
        }
    }
}
