//! What is listened on, as it is configured: held against itself, since two listeners of one process at one port stop the
//! start as another program would, and against where trunks are, since who calls itself gets nowhere.

use super::SipIdentity;
use crate::base::{Fault, Section};
use crate::config::Config;
use crate::edge::contract::Whereabouts;
use crate::http::HttpConfig;
use crate::media::MediaConfig;
use crate::sip::SipConfig;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An address that is listened on, and the key that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Door {
    pub(super) key: &'static str,
    pub(super) address: SocketAddr,
}

/// All that are.
pub(super) struct Doors {
    pub(super) http: Vec<Door>,
    pub(super) sip: Vec<Door>,
    pub(super) sip_tls: Vec<Door>,
}

impl Doors {
    pub(super) fn new(http: &HttpConfig, sip: &SipConfig, identity: &SipIdentity) -> Self {
        let doors = |key: &'static str, listen: &[SocketAddr]| {
            listen.iter().map(|address| Door { key, address: *address }).collect::<Vec<_>>()
        };
        let has_tls = !matches!(identity, SipIdentity::None);
        let mut of_http = doors("http.listen", http.listen());
        of_http.extend(doors("http.tls_listen", http.tls_listen()));
        let sip_tls = doors("sip.tls_listen", if has_tls { sip.tls_listen() } else { &[] });
        Self { http: of_http, sip: doors("sip.listen", sip.listen()), sip_tls }
    }

    /// Where SIP is taken.
    pub(super) fn of_sip(&self) -> impl Iterator<Item = &Door> {
        self.sip.iter().chain(&self.sip_tls)
    }

    /// Ports that two of our own listeners want: faults, and notes where one of them is a port of calls, which take another.
    pub(super) fn collisions(&self, config: &Config, media: &MediaConfig) -> (Vec<Fault>, Vec<Fault>) {
        let mut claims: Vec<Claim> = Vec::new();
        claims.extend(
            self.sip.iter().flat_map(|door| [Claim::of(door, Protocol::Udp), Claim::of(door, Protocol::Tcp)]),
        );
        claims.extend(self.sip_tls.iter().map(|door| Claim::of(door, Protocol::Tcp)));
        claims.extend(self.http.iter().map(|door| Claim::of_http(door, &self.http)));
        claims.extend(Claim::of_media(media));
        let (mut faults, mut notes) = (Vec::new(), Vec::new());
        // one word about two keys suffices, though SIP has a port twice and perhaps on two addresses
        let mut told = BTreeSet::new();
        for (n, claim) in claims.iter().enumerate() {
            for other in claims.iter().take(n).filter(|other| claim.meets(other)) {
                if told.insert((claim.key, other.key)) {
                    let list = if claim.key == RTP_PORTS { &mut notes } else { &mut faults };
                    list.push(claim.fault(other, config));
                }
            }
        }
        (faults, notes)
    }
}

/// The key of the ports that calls bind, one pair after the other.
const RTP_PORTS: &str = "media.rtp_ports";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Udp,
    Tcp,
}

/// Ports that one key takes.
struct Claim {
    key: &'static str,
    protocol: Protocol,
    ips: Vec<IpAddr>,
    /// Where the first of `ips` is all addresses, those of the loopback are no matter.
    leaves_loopback: bool,
    first: u16,
    last: u16,
}

impl Claim {
    fn of(door: &Door, protocol: Protocol) -> Self {
        let port = door.address.port();
        let ips = vec![door.address.ip()];
        Self { key: door.key, protocol, ips, leaves_loopback: false, first: port, last: port }
    }

    /// `[::]` takes IPv4 too, unless an IPv4 address of the same port stands beside it.
    fn of_http(door: &Door, all: &[Door]) -> Self {
        let mut claim = Self::of(door, Protocol::Tcp);
        let is_beside = |other: &Door| {
            other.key == door.key && other.address.is_ipv4() && other.address.port() == door.address.port()
        };
        if door.address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !all.iter().any(is_beside) {
            claim.ips.push(Ipv4Addr::UNSPECIFIED.into());
        }
        claim
    }

    fn of_media(media: &MediaConfig) -> [Self; 2] {
        let all = || vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let (first, last) = media.webrtc_ports(cores).into_inner();
        let (ips, leaves_loopback) = match media.addresses() {
            [] => (all(), !media.is_loopback_allowed()),
            some => (some.to_vec(), false),
        };
        let webrtc =
            Self { key: "media.webrtc_port", protocol: Protocol::Udp, ips, leaves_loopback, first, last };
        let (first, last) = (media.rtp_ports().first(), media.rtp_ports().last());
        // the address is that which faces the PBX
        let protocol = Protocol::Udp;
        [webrtc, Self { key: RTP_PORTS, protocol, ips: all(), leaves_loopback: false, first, last }]
    }

    fn meets(&self, other: &Self) -> bool {
        // port 0 is whatever is free
        let is_port = self.protocol == other.protocol
            && self.common_port(other) > 0
            && self.first > 0
            && other.first > 0;
        let is_left = |wide: &Self, ip: &IpAddr| wide.leaves_loopback && ip.is_loopback();
        let is_one = |a: &IpAddr, b: &IpAddr| {
            a.is_ipv4() == b.is_ipv4()
                && (a == b
                    || (a.is_unspecified() && !is_left(self, b))
                    || (b.is_unspecified() && !is_left(other, a)))
        };
        is_port && self.ips.iter().any(|a| other.ips.iter().any(|b| is_one(a, b)))
    }

    /// The first port that both take, else 0.
    fn common_port(&self, other: &Self) -> u16 {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        if first <= last { first } else { 0 }
    }

    /// The key, and all of its ports where it does not name them.
    fn shown(&self) -> String {
        let (key, first, last) = (self.key, self.first, self.last);
        if first == last { key.to_owned() } else { format!("{key} ({first}-{last})") }
    }

    fn fault(&self, other: &Self, config: &Config) -> Fault {
        let port = self.common_port(other);
        let protocol = if self.protocol == Protocol::Udp { "UDP" } else { "TCP" };
        let (table, key) = self.key.split_once('.').unwrap_or(("", self.key));
        let ours = if self.key == "media.webrtc_port" && self.first < self.last {
            format!(" (one a media thread, {}-{})", self.first, self.last)
        } else {
            String::new()
        };
        let both = format!("{protocol} port {port}{ours} is {}'s as well", other.shown());
        let remedy = match self.key {
            key if key == other.key => {
                format!("{protocol} port {port} is named twice for one address; name it once")
            }
            RTP_PORTS => format!("{both}; calls pass over it, but choose a range without it"),
            _ => format!("{both}; choose another for one of them"),
        };
        config.table(table).fault(key, remedy)
    }
}

/// A trunk's places, held against where we listen for its transport: somebody must be able to call there, and it must be
/// somebody else. `machine` has the addresses of this machine, which may not be the one that it is for.
pub(super) fn judge_places(
    trunk: &Section,
    places: &[Whereabouts],
    doors: &[Door],
    machine: &[IpAddr],
) -> (Vec<Fault>, Vec<Fault>) {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    let Some(key) = doors.first().map(|door| door.key) else { return (faults, notes) };
    for (place, address) in places.iter().filter_map(|place| Some((place, place.address?))) {
        let ip = address.ip();
        if !doors.iter().any(|door| door.address.is_ipv4() == address.is_ipv4()) {
            let (version, all) = if address.is_ipv4() { ("IPv4", "0.0.0.0") } else { ("IPv6", "[::]") };
            let port = doors.first().map_or(0, |door| door.address.port());
            let remedy = format!(
                "{ip} is an {version} address, and {key} has none; add one there, as \"{all}:{port}\""
            );
            faults.push(trunk.fault(place.key, remedy));
        }
        let is_any =
            |door: &&Door| door.address.ip().is_unspecified() && door.address.is_ipv4() == address.is_ipv4();
        let mut at_port = doors.iter().filter(|door| door.address.port() == address.port());
        if at_port.clone().any(|door| {
            door.address.ip() == ip || ((ip.is_loopback() || ip.is_unspecified()) && is_any(&door))
        }) {
            let remedy = format!("{address} is sipedge itself ({key}); write where the PBX listens");
            faults.push(trunk.fault(place.key, remedy));
        } else if machine.contains(&ip) && at_port.any(|door| is_any(&door)) {
            let remedy = format!(
                "{address} is this machine's, where sipedge itself listens ({key}); write where the PBX does"
            );
            notes.push(trunk.fault(place.key, remedy));
        }
    }
    (faults, notes)
}

/// The address of a trunk's media, where this machine has it not.
pub(super) fn judge_media_address(trunk: &Section, machine: &[IpAddr]) -> Option<Fault> {
    let address: IpAddr = trunk.text("media_address")?.parse().ok()?;
    let is_here = machine.contains(&address.to_canonical()) || address.to_canonical().is_loopback();
    let remedy =
        format!("this machine has no address {address} now; until it has, calls by this trunk have no media");
    (!is_here && !machine.is_empty()).then(|| trunk.fault("media_address", remedy))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::judge;
    use crate::base::Seed;
    use serde_json::{Value, json};

    fn faults(value: Value) -> Vec<String> {
        let Value::Object(root) = value else { panic!() };
        let judged = judge(&Config::from_value("t", root), Seed::from_number(1));
        judged.err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_listeners_of_ours_at_one_port_are_told_with_both_keys() {
        for (value, key, other) in [
            (
                json!({"http": {"listen": "0.0.0.0:5080"}}),
                "http.listen",
                "TCP port 5080 is sip.listen's as well",
            ),
            (json!({"http": {"listen": "127.0.0.1:5080"}}), "http.listen", "TCP port 5080 is sip.listen's"),
            // without an IPv4 address beside it, [::] of HTTP is both
            (
                json!({"http": {"listen": "[::]:5080"}, "sip": {"listen": ["127.0.0.1:5080"]}}),
                "http.listen",
                "TCP port 5080 is sip.listen's",
            ),
            (
                json!({"http": {"listen": ["127.0.0.1:80", "127.0.0.1:80"]}}),
                "http.listen",
                "TCP port 80 is named twice",
            ),
            (
                json!({"sip": {"listen": ["127.0.0.1:5080", "0.0.0.0:5080"]}}),
                "sip.listen",
                "port 5080 is named twice",
            ),
            (
                json!({"sip": {"listen": ["0.0.0.0:7000"]}, "media": {"workers": 1}}),
                "media.webrtc_port",
                "UDP port 7000 is sip.listen's",
            ),
            (
                json!({"media": {"webrtc_port": 7000, "workers": 3}, "sip": {"listen": ["192.0.2.7:7002"]}}),
                "media.webrtc_port",
                "UDP port 7002 (one a media thread, 7000-7002) is sip.listen's",
            ),
            (
                json!({"sip": {"listen": ["127.0.0.1:5081"]}, "trunk": {"a": {"host": "192.0.2.1", "transport": "tls"}}}),
                "sip.tls_listen",
                "TCP port 5081 is sip.listen's",
            ),
        ] {
            let told = faults(value.clone());
            let is_told = |told: &String| told.starts_with(&format!("t: {key}: ")) && told.contains(other);
            assert!(told.iter().any(is_told), "{value}: {told:?}");
            assert_eq!(told.len(), 1, "{told:?}");
        }
    }

    #[test]
    fn a_port_among_those_of_calls_is_a_note_since_calls_pass_over_it() {
        let notes = |media: Value| {
            let Value::Object(root) =
                json!({ "media": media, "account": {"a": {"token": "0123456789abcdef"}} })
            else {
                panic!()
            };
            judge(&Config::from_value("t", root), Seed::from_number(1)).unwrap().notes()
        };
        for (media, told) in [
            (
                json!({"rtp_ports": "5000-5999"}),
                "media.rtp_ports: UDP port 5080 is sip.listen's as well; calls pass over it",
            ),
            (
                json!({"rtp_ports": "6000-7999", "workers": 1}),
                "media.rtp_ports: UDP port 7000 is media.webrtc_port's as well",
            ),
        ] {
            let notes = notes(media);
            assert!(notes.len() == 1 && notes[0].starts_with(told), "{notes:?}");
        }
    }

    #[test]
    fn one_port_of_two_protocols_families_or_addresses_is_no_collision() {
        for value in [
            json!({}),
            json!({"http": {"listen": ["0.0.0.0:1337", "[::]:1337"]}}),
            json!({"http": {"listen": ["127.0.0.1:0", "127.0.0.1:0"]}}),
            json!({"http": {"listen": "127.0.0.1:7000"}}),
            json!({"http": {"listen": "0.0.0.0:5080"}, "sip": {"listen": ["[::]:5080"]}}),
            json!({"sip": {"listen": ["127.0.0.1:5080", "127.0.0.2:5080"]}}),
            json!({"media": {"addresses": ["192.0.2.7"]}, "sip": {"listen": ["127.0.0.1:7000"]}}),
            // browsers are not answered from the loopback
            json!({"sip": {"listen": ["127.0.0.1:7000"]}}),
            // nobody speaks TLS
            json!({"sip": {"listen": ["127.0.0.1:5081"]}}),
        ] {
            assert_eq!(faults(value.clone()), Vec::<String>::new(), "{value}");
        }
    }

    #[test]
    fn a_trunk_of_an_ip_version_that_is_not_listened_on_is_a_fault() {
        let with = |listen: &[&str], trunk: Value| {
            faults(json!({"sip": {"listen": listen}, "trunk": {"pbx": trunk}}))
        };
        let (v4, v6) = (json!({"host": "192.0.2.1"}), json!({"host": "[2001:db8::1]:5060"}));
        let told = with(&["0.0.0.0:5080"], v6.clone());
        let expected = "t: trunk.pbx.host: 2001:db8::1 is an IPv6 address, and sip.listen has none; add one there, as \
                        \"[::]:5080\"";
        assert_eq!(told, [expected]);
        assert!(with(&["[::]:5080"], v4.clone())[0].contains("192.0.2.1 is an IPv4 address"));
        assert_eq!(with(&["[::]:5080"], v6).len() + with(&["0.0.0.0:5080"], v4).len(), 0);
        let several = with(&["0.0.0.0:5080"], json!({"hosts": ["192.0.2.1", "2001:db8::1"]}));
        assert!(
            several.len() == 1 && several[0].starts_with("t: trunk.pbx.hosts: 2001:db8::1 "),
            "{several:?}"
        );
        // behind a proxy its address counts, and by TLS the addresses for that
        let by_proxy = json!({"host": "2001:db8::1", "proxy": "192.0.2.9"});
        assert_eq!(with(&["0.0.0.0:5080"], by_proxy).len(), 0);
        assert_eq!(with(&["0.0.0.0:5080"], json!({"host": "2001:db8::1", "transport": "tls"})).len(), 0);
    }

    #[test]
    fn a_trunk_to_sipedge_itself_is_a_fault_and_to_its_port_on_this_machine_a_note() {
        let with = |listen: &str, host: &str| {
            faults(json!({"sip": {"listen": [listen]}, "trunk": {"me": {"host": host}}}))
        };
        for (listen, host) in [
            ("0.0.0.0:5080", "127.0.0.1:5080"),
            ("127.0.0.1:5060", "127.0.0.1"),
            ("192.0.2.7:5080", "192.0.2.7:5080"),
            ("[::]:5080", "[::1]:5080"),
        ] {
            let told = with(listen, host);
            assert!(
                told.len() == 1
                    && told[0].starts_with("t: trunk.me.host: ")
                    && told[0].contains("sipedge itself"),
                "{told:?}"
            );
        }
        for (listen, host) in [("0.0.0.0:5080", "127.0.0.1"), ("192.0.2.7:5080", "127.0.0.1:5080")] {
            assert_eq!(with(listen, host).len(), 0, "{host}");
        }
        let section = Section::new("trunk.me", "t", json!({}));
        let address: SocketAddr = "192.0.2.7:5080".parse().unwrap();
        let place = Whereabouts { key: "host", host: "192.0.2.7".into(), address: Some(address) };
        let door = Door { key: "sip.listen", address: "0.0.0.0:5080".parse().unwrap() };
        let notes =
            |machine: &[IpAddr]| judge_places(&section, std::slice::from_ref(&place), &[door], machine).1;
        assert_eq!(notes(&[address.ip()])[0].key, "trunk.me.host");
        assert!(notes(&["192.0.2.8".parse().unwrap()]).is_empty());
    }

    #[test]
    fn an_address_of_media_that_this_machine_has_not_is_noted() {
        let machine = ["192.0.2.7".parse().unwrap()];
        let note = |address: &str| {
            let section = Section::new("trunk.pbx", "t", json!({ "media_address": address }));
            judge_media_address(&section, &machine).map(|fault| fault.to_string())
        };
        assert_eq!(note("192.0.2.7"), None);
        assert_eq!(note("127.0.0.3"), None);
        assert!(
            note("198.51.100.9")
                .unwrap()
                .starts_with("t: trunk.pbx.media_address: this machine has no address")
        );
    }
}
