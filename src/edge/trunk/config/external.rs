//! What a NAT between us and a trunk's PBX makes of our addresses.

use super::Raw;
use super::places::{Place, Places};
use crate::base::{Excerpt, External, Family, Fault, Section};
use serde_json::Value;
use std::net::IpAddr;

const REMEDY: &str = "write the NAT's address as the PBX reaches it, as \"203.0.113.7\", or one of each IP version, as \
                      [\"203.0.113.7\", \"2001:db8::7\"]; names are not looked up";

/// Reads `external`.
pub(super) fn read(section: &Section, raw: &Raw, places: &Places, faults: &mut Vec<Fault>) -> External {
    let Some(value) = &raw.external else { return External::default() };
    let read = addresses(value).and_then(|addresses| {
        let external = External::new(&addresses).map_err(|error| error.to_string())?;
        check_places(&external, places)?;
        Ok(external)
    });
    read.unwrap_or_else(|remedy| {
        faults.push(section.fault("external", remedy));
        External::default()
    })
}

/// The addresses of a text, or of a list. One text may have several, with commas: environment variables are text.
fn addresses(value: &Value) -> Result<Vec<IpAddr>, String> {
    let texts: Vec<&str> = match value {
        Value::String(text) => text.split(',').map(str::trim).collect(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap_or_default()).collect(),
        _ => return Err(REMEDY.to_owned()),
    };
    if texts.is_empty() {
        return Err(REMEDY.to_owned());
    }
    let address = |text: &&str| text.parse().map_err(|_| format!("{}: {REMEDY}", Excerpt(text)));
    texts.iter().map(address).collect()
}

/// Where the trunk is reached by addresses alone, one of them is of an IP version that the NAT has an address of.
fn check_places(external: &External, places: &Places) -> Result<(), String> {
    let nearest = places.proxy.as_slice();
    let nearest = if nearest.is_empty() { places.hosts.as_slice() } else { nearest };
    let fits = |place: &Place| {
        place.ip().is_none_or(|ip| external.addresses().any(|of_nat| Family::of(of_nat) == Family::of(ip)))
    };
    if nearest.is_empty() || nearest.iter().any(fits) {
        return Ok(());
    }
    Err("the trunk is reached by the other IP version; write the NAT's address of that one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn external(more: Value) -> Result<Vec<String>, Vec<String>> {
        let mut all = json!({"host": "192.0.2.1"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        super::super::read(&Section::new("trunk.isp", "t", all))
            .map(|trunk| trunk.external.addresses().map(|ip| ip.to_string()).collect())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_trunk_beyond_a_nat_names_the_address_there_or_one_of_each_ip_version() {
        assert_eq!(external(json!({})).unwrap(), Vec::<String>::new());
        assert_eq!(external(json!({"external": "203.0.113.7"})).unwrap(), ["203.0.113.7"]);
        for both in [json!(["2001:db8::7", "203.0.113.7"]), json!("203.0.113.7, 2001:db8::7")] {
            assert_eq!(external(json!({"external": both})).unwrap(), ["203.0.113.7", "2001:db8::7"]);
        }
        // DNS may know either
        let named = json!({"host": "sip.example", "external": "2001:db8::7"});
        assert_eq!(external(named).unwrap(), ["2001:db8::7"]);
    }

    #[test]
    fn what_is_no_address_of_a_nat_is_a_fault_with_a_remedy() {
        for (bad, why) in [
            (json!("edge.example.org"), "names are not looked up"),
            (json!("203.0.113.7:5080"), "write the NAT's address"),
            (json!([]), "write the NAT's address"),
            (json!([7]), "write the NAT's address"),
            (json!(true), "write the NAT's address"),
            (json!("0.0.0.0"), "nobody reaches 0.0.0.0"),
            (json!("127.0.0.1"), "nobody reaches 127.0.0.1"),
            (json!("224.0.0.5"), "nobody reaches 224.0.0.5"),
            (json!("fe80::1"), "nobody reaches fe80::1"),
            (json!(["203.0.113.7", "203.0.113.8"]), "one IP version"),
            (json!("2001:db8::7"), "the other IP version"),
        ] {
            let faults = external(json!({ "external": bad })).unwrap_err();
            assert_eq!(faults.len(), 1, "{bad}: {faults:?}");
            assert!(
                faults[0].starts_with("t: trunk.isp.external: ") && faults[0].contains(why),
                "{faults:?}"
            );
        }
        // with a proxy on the way, that is what is reached
        let by_proxy = json!({"host": "192.0.2.1", "proxy": "2001:db8::1", "external": "203.0.113.7"});
        assert_eq!(external(by_proxy).unwrap_err().len(), 1);
    }
}
