//! Two trunks must be told from each other by what a caller proves.

use super::{Access, KNOWN, Raw, access, places};
use crate::base::{Fault, Network, Section};

/// What a caller proves to be of a trunk, as far as it is written: by that trunks are told from each other.
pub(super) struct Claim {
    trunk: String,
    /// The user that logs in.
    user: Option<String>,
    /// Who is let in by address, where the configuration says so.
    networks: Vec<Network>,
}

impl Claim {
    /// Of a trunk, whatever else is wrong with it; none when nothing of it can be read.
    pub(super) fn read(section: &Section) -> Option<Self> {
        let (mut raw, _): (Raw, _) = section.read(KNOWN).ok()?;
        // two trunks to one PBX are no mistake: unless they say otherwise, its calls are the first one's
        let has_own_access = raw.inbound.is_some() || raw.inbound_networks.is_some();
        let is_digest = matches!(raw.inbound.as_deref(), None | Some("digest"));
        let user = raw.inbound_user.clone().filter(|user| is_digest && !user.is_empty());
        // `read` tells of these
        let mut told = Vec::new();
        let takes_registration = raw.register.as_ref().and_then(|r| r.as_str()) == Some("accept");
        let places = places::read(section, &raw, takes_registration, &mut told);
        let networks = match access::read(section, &mut raw, &places, &mut told) {
            Access::Address(networks) if has_own_access => networks,
            _ => Vec::new(),
        };
        Some(Self { trunk: section.name().to_owned(), user, networks })
    }

    /// What this trunk has in common with another one that it may not.
    pub(super) fn conflict(&self, section: &Section, other: &Self) -> Option<Fault> {
        if self.user.is_some() && self.user == other.user {
            let remedy = format!("trunk.{} has the same user; give each trunk its own", other.trunk);
            return Some(section.fault("inbound_user", remedy));
        }
        let meets = |ours: &Network| other.networks.iter().find(|theirs| theirs.overlaps(ours));
        let (ours, theirs) = self.networks.iter().find_map(|ours| Some((ours, meets(ours)?)))?;
        let remedy = format!("{ours} overlaps {theirs} of trunk.{}; let one of them use digest", other.trunk);
        Some(section.fault("inbound_networks", remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::super::prepare;
    use super::*;
    use serde_json::json;

    fn faults(trunks: &[(&str, serde_json::Value)]) -> Vec<String> {
        let sections: Vec<Section> = trunks
            .iter()
            .map(|(name, value)| Section::new(format!("trunk.{name}"), "t", value.clone()))
            .collect();
        prepare(&sections).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_two_trunks_have_in_common_is_told_though_either_has_other_faults() {
        let trunk = |more: serde_json::Value| {
            let mut value = json!({"host": "192.0.2.4", "inbound_user": "pbx", "inbound_password": "secret"});
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            value
        };
        let told =
            faults(&[("a", trunk(json!({"transport": "smoke"}))), ("b", trunk(json!({"qualify": "soon"})))]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter()
                .any(|t| t.contains("trunk.b.inbound_user") && t.contains("trunk.a has the same user"))
        );
        // also where the password is yet to be written
        let told =
            faults(&[("a", json!({"host": "192.0.2.4", "inbound_user": "pbx"})), ("b", trunk(json!({})))]);
        assert!(told.iter().any(|t| t.contains("has the same user")), "{told:?}");
        let by_address =
            |more: &str| json!({"host": more, "inbound_networks": ["192.0.2.0/24"], "transport": "smoke"});
        let told = faults(&[("a", by_address("192.0.2.4")), ("b", by_address("192.0.2.5"))]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().any(|t| t.contains("trunk.b.inbound_networks") && t.contains("overlaps")));
    }
}
