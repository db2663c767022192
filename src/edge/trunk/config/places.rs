//! Where a trunk's PBX is: one host, or several with priorities and weights, or a proxy on the way there.

use super::{Raw, Trunk};
use crate::base::{Excerpt, Fault, Section};
use crate::edge::contract::Whereabouts;
use crate::net::dns::{Families, Wanted, Way};
use crate::sip::{Host, NameAddr, SipUri, Transport};
use std::net::{IpAddr, Ipv6Addr};

/// Most hosts of a trunk.
const MAX_PLACES: usize = 8;

/// A host of the PBX.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    pub(in super::super) host: String,
    /// None where none is written: SRV records may name one.
    pub(in super::super) port: Option<u16>,
    /// The lowest goes first, as with SRV records.
    pub(in super::super) priority: u16,
    /// Its share of the calls among those of a priority.
    pub(in super::super) weight: u16,
}

impl Place {
    /// Its address, when it is written as one.
    pub(in super::super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The host as SIP writes it.
    pub(in super::super) fn sip_host(&self) -> Host {
        self.ip().map_or_else(|| Host::Name(self.host.clone()), Host::from)
    }

    /// Its port in what we call. A name keeps what was written: with a port, SRV records would not count any more for
    /// who reads it.
    pub(in super::super) fn uri_port(&self, transport: Transport) -> Option<u16> {
        self.port.or_else(|| self.ip().map(|_| transport.default_port()))
    }

    /// What DNS is asked for.
    pub(in super::super) fn wanted(&self, way: Option<Way>, families: Families) -> Wanted {
        Wanted { host: self.host.clone(), port: self.port, way, is_sips: false, families }
    }

    /// The route by it (RFC 3261 §8.1.2): loose, since strict routers have died out.
    pub(in super::super) fn route(&self, transport: Transport) -> NameAddr {
        let mut uri = SipUri::new(None, self.sip_host(), self.port).by(transport);
        uri.params.set("lr", None);
        NameAddr::new(uri)
    }
}

/// Where requests for a trunk go.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// The PBX: its hosts; none when it registers here.
    pub(super) hosts: Vec<Place>,
    /// By it.
    pub(super) proxy: Option<Place>,
}

impl Places {
    /// The host that must prove who it is.
    pub(super) fn nearest(&self) -> Option<&Place> {
        self.proxy.as_ref().or_else(|| self.hosts.first())
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Place> {
        self.hosts.iter().chain(&self.proxy)
    }
}

/// Where requests of a trunk go: to its proxy, else to its hosts.
pub(super) fn whereabouts(trunk: &Trunk) -> Vec<Whereabouts> {
    let hosts = trunk.places.as_slice();
    let (key, places) = match &trunk.proxy {
        Some(proxy) => ("proxy", std::slice::from_ref(proxy)),
        // that of a single one has no priority
        None if hosts.iter().any(|place| place.priority > 0) => ("hosts", hosts),
        None => ("host", hosts),
    };
    let address = |place: &Place| Some((place.ip()?, place.uri_port(trunk.transport)?).into());
    let place = |place: &Place| Whereabouts { key, host: place.host.clone(), address: address(place) };
    places.iter().map(place).collect()
}

/// Reads `host`, `hosts` and `proxy`; none of the first two where the PBX registers here.
pub(super) fn read(
    section: &Section,
    raw: &Raw,
    takes_registration: bool,
    faults: &mut Vec<Fault>,
) -> Places {
    let hosts = match (raw.host.as_deref(), raw.hosts.as_deref()) {
        (Some(_), Some(_)) => {
            faults.push(section.fault("hosts", "write host for one, or hosts for several, not both"));
            Vec::new()
        }
        (None, Some(texts)) => read_hosts(section, texts, faults),
        (None, None) if takes_registration => Vec::new(),
        (text, None) => {
            let place = text.and_then(|text| split_host(text, 0));
            if place.is_none() {
                let remedy = "write the PBX's HOST or HOST:PORT, as 127.0.0.1:5060 or [::1]:5060";
                faults.push(section.fault("host", remedy));
            }
            place.into_iter().collect()
        }
    };
    let proxy = raw.proxy.as_deref().and_then(|text| {
        let proxy = split_host(text, 0);
        if proxy.is_none() {
            faults.push(section.fault("proxy", "write the proxy's HOST or HOST:PORT, as sbc.example.org"));
        }
        proxy
    });
    if proxy.is_some() && raw.hosts.is_some() {
        let remedy =
            "the proxy finds the PBX: write its host; the proxy itself may have several addresses in DNS";
        faults.push(section.fault("proxy", remedy));
    }
    Places { hosts, proxy }
}

fn read_hosts(section: &Section, texts: &[String], faults: &mut Vec<Fault>) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    if texts.is_empty() || texts.len() > MAX_PLACES {
        faults.push(section.fault("hosts", format!("write one to {MAX_PLACES} hosts")));
    }
    for (at, text) in texts.iter().enumerate() {
        match read_place(text, u16::try_from(at + 1).unwrap_or(u16::MAX)) {
            Some(place) if places.iter().any(|p| (&p.host, p.port) == (&place.host, place.port)) => {
                faults.push(section.fault("hosts", format!("{} stands twice", Excerpt(text))));
            }
            Some(place) => places.push(place),
            None => {
                let remedy = "write HOST or HOST:PORT, and after it ;priority= (the lowest goes first) or ;weight= (the \
                              share among equals), as \"10.0.0.2:5070;priority=2;weight=10\"";
                faults.push(section.fault("hosts", format!("{}: {remedy}", Excerpt(text))));
            }
        }
    }
    places
}

/// `HOST[:PORT][;priority=N][;weight=N]`.
fn read_place(text: &str, priority: u16) -> Option<Place> {
    let mut parts = text.split(';').map(str::trim);
    let mut place = split_host(parts.next()?, priority)?;
    for part in parts {
        let (key, value) = part.split_once('=')?;
        let number = value.trim().parse().ok()?;
        match key.trim() {
            "priority" => place.priority = number,
            "weight" => place.weight = number,
            _ => return None,
        }
    }
    Some(place)
}

/// `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_host(text: &str, priority: u16) -> Option<Place> {
    let place = |host: &str, port| Place { host: host.to_owned(), port, priority, weight: 1 };
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some(place(text, None));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => Some(port.parse().ok().filter(|p| *p > 0)?),
        None => None,
    };
    let is_name = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    is_name.then(|| place(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn show(p: &Place) -> String {
        format!("{} {:?} {} {}", p.host, p.port, p.priority, p.weight)
    }

    #[test]
    fn hosts_are_split_with_and_without_port_in_both_families() {
        let split = |text: &str| split_host(text, 0).map(|p| format!("{} {:?}", p.host, p.port));
        assert_eq!(split("pbx.example").as_deref(), Some("pbx.example None"));
        assert_eq!(split("10.0.0.1:5070").as_deref(), Some("10.0.0.1 Some(5070)"));
        assert_eq!(split("[::1]:5070").as_deref(), Some("::1 Some(5070)"));
        assert_eq!(split("::1").as_deref(), Some("::1 None"));
        assert_eq!(split("[::1]").as_deref(), Some("::1 None"));
        for bad in ["", "a b", "host:", "host:0", "host:99999", "[::1", "[host]:1", "a:1:2"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    fn hosts(value: Value) -> Result<Vec<String>, Vec<String>> {
        let trunk = super::super::read(&Section::new("trunk.pbx", "t", value));
        trunk
            .map(|t| t.places.iter().chain(&t.proxy).map(show).collect())
            .map_err(|faults| faults.into_iter().map(|f| f.key).collect())
    }

    #[test]
    fn several_hosts_are_tried_in_their_order_unless_they_say_otherwise() {
        let all = json!({"hosts": ["10.0.0.1", "10.0.0.2:5070 ; priority=7;weight=10", "pbx.example;priority=7", "[::1]:5"]});
        assert_eq!(
            hosts(all).unwrap(),
            ["10.0.0.1 None 1 1", "10.0.0.2 Some(5070) 7 10", "pbx.example None 7 1", "::1 Some(5) 4 1"]
        );
        for bad in [
            json!([]),
            json!(["a", "A;x=1"]),
            json!(["a;priority=high"]),
            json!(["a;weight=70000"]),
            json!(["a b"]),
            json!(["a", "a;priority=2"]),
            json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
        ] {
            assert_eq!(hosts(json!({"hosts": bad})), Err(vec!["trunk.pbx.hosts".to_owned()]), "{bad}");
        }
        assert_eq!(hosts(json!({"host": "a", "hosts": ["b"]})).unwrap_err(), ["trunk.pbx.hosts"]);
    }

    #[test]
    fn several_hosts_by_tls_need_one_name_and_a_proxy_proves_its_own() {
        let hosts_by_tls = |more: Value| {
            let mut all = json!({"transport": "tls"});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            hosts(all).map(|hosts| hosts.len())
        };
        assert_eq!(hosts_by_tls(json!({"hosts": ["a.example"]})), Ok(1));
        let two = || json!(["a.example", "b.example"]);
        assert_eq!(hosts_by_tls(json!({"hosts": two()})), Err(vec!["trunk.pbx.tls_name".to_owned()]));
        assert_eq!(hosts_by_tls(json!({"hosts": two(), "tls_name": "pbx.example"})), Ok(2));
        assert_eq!(hosts_by_tls(json!({"host": "pbx.example", "proxy": "sbc.example"})), Ok(2));
    }

    #[test]
    fn a_proxy_is_a_host_on_the_way_to_one_pbx() {
        let both = hosts(json!({"host": "pbx.example", "proxy": "10.0.0.9:5070"})).unwrap();
        assert_eq!(both, ["pbx.example None 0 1", "10.0.0.9 Some(5070) 0 1"]);
        assert_eq!(hosts(json!({"host": "a", "proxy": "a b"})).unwrap_err(), ["trunk.pbx.proxy"]);
        assert_eq!(hosts(json!({"hosts": ["a"], "proxy": "b"})).unwrap_err(), ["trunk.pbx.proxy"]);
        let route = |text: &str, transport| split_host(text, 0).unwrap().route(transport).to_string();
        assert_eq!(route("sbc.example", Transport::Udp), "<sip:sbc.example;lr>");
        assert_eq!(route("[::1]:5070", Transport::Tcp), "<sip:[::1]:5070;transport=tcp;lr>");
    }

    #[test]
    fn what_we_call_names_a_port_where_one_is_written_or_the_host_is_an_address() {
        let port = |text: &str| split_host(text, 0).unwrap().uri_port(Transport::Udp);
        assert_eq!(["pbx.example", "pbx.example:5070", "10.0.0.1"].map(port), [None, Some(5070), Some(5060)]);
    }
}
