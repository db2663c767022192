//! `[trunk.…]`.

use super::io::TrunkDialer;
use crate::base::{Fault, Secret, Section, Services};
use crate::call::io::Dialer;
use crate::call::port::Codec;
use crate::edge::contract::{EdgeContext, Prepared};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// SIP's port where none is written (RFC 3261 §19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// Where the caller's number stands (RFC 3261 §8.1.1.3, RFC 3325 §9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallerId {
    /// In P-Asserted-Identity; From carries the trunk's user, by which a stock Asterisk knows the endpoint.
    AssertedIdentity,
    /// In From.
    From,
}

/// One trunk.
#[derive(Debug, Clone)]
pub(super) struct Trunk {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) realm: Option<String>,
    pub(super) codec: Codec,
    pub(super) is_symmetric: bool,
    pub(super) caller_id: CallerId,
}

/// All trunks of a configuration.
#[derive(Debug)]
struct Trunks(Vec<Trunk>);

#[derive(Deserialize)]
struct Raw {
    host: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
    realm: Option<String>,
    codec: Option<String>,
    symmetric: Option<bool>,
    caller_id: Option<String>,
}

const KNOWN: &[&str] =
    &["host", "user", "password", "password_file", "realm", "codec", "symmetric", "caller_id"];

pub(super) fn prepare(sections: &[Section]) -> Result<Box<dyn Prepared>, Vec<Fault>> {
    let mut trunks = Vec::new();
    let mut faults = Vec::new();
    for section in sections {
        match read(section) {
            Ok(trunk) => trunks.push(trunk),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(Box::new(Trunks(trunks))) } else { Err(faults) }
}

fn read(section: &Section) -> Result<Trunk, Vec<Fault>> {
    let raw: Raw = section.read(KNOWN)?;
    let mut faults = Vec::new();
    let host = raw.host.as_deref().and_then(split_host);
    if host.is_none() {
        faults.push(
            section.fault("host", "write the PBX's HOST or HOST:PORT, as 127.0.0.1:5060 or [::1]:5060"),
        );
    }
    let user = raw.user.filter(|u| !u.is_empty());
    if user
        .as_deref()
        .is_some_and(|u| u.len() > 64 || !u.bytes().all(|b| b.is_ascii_graphic() && !b"<>@\"".contains(&b)))
    {
        faults.push(
            section.fault("user", "write 1 to 64 printable characters without blanks, quotes, < > or @"),
        );
    }
    let password =
        section.secret("password", raw.password, raw.password_file.as_deref()).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    if password.is_some() && user.is_none() {
        faults.push(section.fault("user", "a password needs the user it belongs to"));
    }
    let codec = match raw.codec.as_deref() {
        None => Some(Codec::Pcmu), // what every PBX takes
        Some(name) => Codec::from_name(name),
    };
    if codec.is_none() {
        let names: Vec<&str> = Codec::ALL.iter().map(|c| c.name()).collect();
        faults.push(section.fault("codec", format!("no such codec; there are: {}", names.join(", "))));
    }
    let caller_id = match raw.caller_id.as_deref() {
        None | Some("pai") => Some(CallerId::AssertedIdentity),
        Some("from") => Some(CallerId::From),
        Some(_) => None,
    };
    if caller_id.is_none() {
        faults.push(section.fault("caller_id", "write \"pai\" (P-Asserted-Identity) or \"from\""));
    }
    match (host, codec, caller_id) {
        (Some((host, port)), Some(codec), Some(caller_id)) if faults.is_empty() => Ok(Trunk {
            name: section.name().to_owned(),
            host,
            port,
            user,
            password,
            realm: raw.realm,
            codec,
            is_symmetric: raw.symmetric.unwrap_or(false), // a fixed peer cannot be hijacked
            caller_id,
        }),
        _ => Err(faults),
    }
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_host(text: &str) -> Option<(String, u16)> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some((text.to_owned(), DEFAULT_PORT));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(DEFAULT_PORT), |p| p.parse().ok().filter(|p| *p > 0))?;
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    is_name.then(|| (host.to_owned(), port))
}

impl Prepared for Trunks {
    fn targets(&self) -> Vec<String> {
        self.0.iter().map(|t| t.name.clone()).collect()
    }

    fn dialer(&mut self, services: &Services) -> Result<Option<Arc<dyn Dialer>>, String> {
        let dialer = TrunkDialer::new(std::mem::take(&mut self.0), services)?;
        Ok(Some(Arc::new(dialer)))
    }

    fn start(self: Box<Self>, _: EdgeContext) -> Option<axum::Router> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hosts_are_split_with_and_without_port_in_both_families() {
        let split = |text: &str| split_host(text).map(|(h, p)| format!("{h} {p}"));
        assert_eq!(split("pbx.example").as_deref(), Some("pbx.example 5060"));
        assert_eq!(split("10.0.0.1:5070").as_deref(), Some("10.0.0.1 5070"));
        assert_eq!(split("[::1]:5070").as_deref(), Some("::1 5070"));
        assert_eq!(split("::1").as_deref(), Some("::1 5060"));
        assert_eq!(split("[::1]").as_deref(), Some("::1 5060"));
        for bad in ["", "a b", "host:", "host:0", "host:99999", "[::1", "[host]:1", "a:1:2"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_mistake_of_a_trunk_is_named_at_once() {
        let section =
            Section::new("trunk.pbx", "t", json!({"password": "x", "codec": "mp3", "caller_id": "x"}));
        let keys: Vec<String> = read(&section).unwrap_err().into_iter().map(|f| f.key).collect();
        assert_eq!(keys, ["trunk.pbx.host", "trunk.pbx.user", "trunk.pbx.codec", "trunk.pbx.caller_id"]);
    }
}
