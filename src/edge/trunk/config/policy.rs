//! What a trunk's peer tells of callers and is told of them.

use super::Raw;
use crate::base::{Excerpt, Fault, Section};
use crate::registry::Rewrites;
use crate::sip::HeaderName;
use crate::ua::{CallerId, DiversionStyle, Policy};

/// Headers that sipedge knows and may pass all the same: nothing of its own depends on them.
const HARMLESS: &[HeaderName] = &[HeaderName::Subject, HeaderName::Date];

/// Reads it; every mistake is named.
pub(super) fn read(section: &Section, raw: &mut Raw, faults: &mut Vec<Fault>) -> Policy {
    let is_trusted = raw.trusted.unwrap_or(true); // a PBX; a carrier is not
    let caller_id = match raw.caller_id.as_deref() {
        None | Some("pai") => CallerId::Asserted,
        Some("ppi") => CallerId::Preferred,
        Some("from") => CallerId::From,
        Some(_) => {
            let remedy = "write \"pai\" (P-Asserted-Identity), \"ppi\" (P-Preferred-Identity) or \"from\"";
            faults.push(section.fault("caller_id", remedy));
            CallerId::Asserted
        }
    };
    let diversion = match raw.diversion.as_deref() {
        None if is_trusted => DiversionStyle::Diversion, // what Asterisk reads
        None | Some("off") => DiversionStyle::Off,
        Some("diversion") => DiversionStyle::Diversion,
        Some("history-info") => DiversionStyle::HistoryInfo,
        Some(_) => {
            faults.push(section.fault("diversion", "write \"diversion\", \"history-info\" or \"off\""));
            DiversionStyle::Off
        }
    };
    let mut passes = Vec::new();
    for text in raw.pass_headers.take().unwrap_or_default() {
        let name = HeaderName::parse(&text);
        let is_ours = !matches!(name, HeaderName::Other(_)) && !HARMLESS.contains(&name);
        let is_name = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b));
        if is_ours || !is_name {
            let why = if is_ours { "sipedge writes it by itself" } else { "it is no name of a header" };
            let remedy = format!("{} cannot pass: {why}", Excerpt(&text));
            faults.push(section.fault("pass_headers", remedy));
        }
        passes.push(name);
    }
    let mut rewrites = |key: &'static str, rules: Option<Vec<String>>| {
        Rewrites::parse(&rules.unwrap_or_default()).unwrap_or_else(|error| {
            faults.push(section.fault(key, error.to_string()));
            Rewrites::default()
        })
    };
    let callers_in = rewrites("rewrite_callers_in", raw.rewrite_callers_in.take());
    let callers_out = rewrites("rewrite_callers_out", raw.rewrite_callers_out.take());
    Policy { is_trusted, caller_id, diversion, passes, callers_in, callers_out }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pbx_is_trusted_with_identities_and_diversions_and_a_carrier_is_not() {
        let policy = |value| read(&Section::new("trunk.x", "t", value)).unwrap().policy;
        let pbx = policy(json!({"host": "192.0.2.1"}));
        assert_eq!(
            (pbx.is_trusted, pbx.caller_id, pbx.diversion),
            (true, CallerId::Asserted, DiversionStyle::Diversion)
        );
        let carrier = policy(json!({"host": "192.0.2.1", "trusted": false, "caller_id": "ppi"}));
        assert_eq!((carrier.caller_id, carrier.diversion), (CallerId::Preferred, DiversionStyle::Off));
    }

    #[test]
    fn every_mistake_is_named_with_its_remedy() {
        for (key, value, words) in [
            ("caller_id", json!("x"), "P-Preferred-Identity"),
            ("diversion", json!("on"), "history-info"),
            ("pass_headers", json!(["Via"]), "Via cannot pass: sipedge writes it by itself"),
            ("pass_headers", json!(["X Y"]), "X Y cannot pass: it is no name of a header"),
            ("rewrite_callers_in", json!(["0*"]), "write PATTERN=NUMBER"),
            ("rewrite_callers_out", json!(["0=*"]), "write PATTERN=NUMBER"),
        ] {
            let mut all = json!({"host": "192.0.2.1"});
            all[key] = value;
            let faults = read(&Section::new("trunk.x", "t", all)).unwrap_err();
            let text = faults.iter().map(ToString::to_string).collect::<String>();
            assert!(text.starts_with(&format!("t: trunk.x.{key}: ")) && text.contains(words), "{text}");
        }
        let harmless = json!({"host": "192.0.2.1", "pass_headers": ["X-Customer", "Subject"]});
        assert_eq!(read(&Section::new("trunk.x", "t", harmless)).unwrap().policy.passes.len(), 2);
    }
}
