//! `[trunk.…]`.

mod access;
mod claims;
mod external;
mod intervals;
mod media;
mod places;
mod policy;
mod raw;

pub(super) use access::Access;
pub use access::hash_lines;
pub(super) use places::Place;

use claims::Claim;
use raw::{KNOWN, Raw};

use super::branches::Ring;
use super::inbound::Bindings;
use super::io::{Legs, TrunkDialer};
use super::lookups::Lookups;
use super::occupancy::Occupancy;
use super::pbx_end;
use super::refusals::Refusals;
use super::targets::Targets;
use super::tls::{Keys, TrunkTls};
use crate::base::{Excerpt, External, Fault, Recording, Secret, Section, Services};
use crate::call::io::Dialer;
use crate::call::port::HoldMusic;
use crate::edge::contract::{EdgeContext, Pbx, Prepared, Whereabouts};
use crate::net::dns::Way;
use crate::sip::session::TimerRules;
use crate::sip::{NameAddr, TlsPeer, Transport};
use crate::ua::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A registration is refreshed every four minutes or so: often enough for most NATs' owners, cheap for any PBX.
pub(super) const DEFAULT_EXPIRES: Duration = Duration::from_secs(300);
/// A PBX that is gone is noticed within 15 s, and answers six requests a minute for it.
const DEFAULT_QUALIFY: Duration = Duration::from_secs(10);
/// A PBX that lives says 100 within a second, and four copies of the INVITE have gone by then; nobody waits longer for a
/// telephone to ring. RFC 3263 §4.3 would have 32 s pass.
const DEFAULT_FAILOVER: Duration = Duration::from_secs(4);
/// Half an hour is what RFC 4028 §4 recommends and Asterisk has.
const DEFAULT_SESSION: Duration = Duration::from_secs(1_800);

/// One trunk.
#[derive(Debug, Clone)]
pub(super) struct Trunk {
    pub(super) name: String,
    /// Where its PBX is; none when that registers here.
    pub(super) places: Vec<Place>,
    /// Everything goes by it.
    pub(super) proxy: Option<Place>,
    /// A place that says nothing for so long is left for the next.
    pub(super) failover_after: Duration,
    /// What a NAT between us makes of our addresses.
    pub(super) external: External,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) realm: Option<String>,
    pub(super) media: media::Media,
    pub(super) is_symmetric: bool,
    pub(super) access: Access,
    /// The configuration says so, and it does not follow from the host alone.
    has_own_access: bool,
    pub(super) hold_music: HoldMusic,
    /// What it tells of callers and is told of them.
    pub(super) policy: Arc<Policy>,
    pub(super) transport: Transport,
    /// The configuration says so; else DNS may name another.
    is_transport_written: bool,
    /// Who it must prove to be by TLS.
    pub(super) tls: Option<TrunkTls>,
    /// We register there, for so long at a time.
    pub(super) register: Option<Duration>,
    /// Its PBX registers here, and is called where it did; it has no host then.
    pub(super) takes_registration: bool,
    /// Which of the places that it registered at ring.
    pub(super) ring: Ring,
    /// We look so often whether it is there.
    pub(super) qualify: Option<Duration>,
    /// When its calls have a session timer, and how long.
    pub(super) timers: TimerRules,
    /// Keys go to it by INFO.
    pub(super) keys_by_info: bool,
    /// It may transfer calls (REFER).
    pub(super) may_transfer: bool,
    /// Redirects (3xx) to numbers of its own are followed.
    pub(super) follows_redirects: bool,
    /// Its calls at once.
    pub(super) occupancy: Occupancy,
    /// Nobody answered lately. Clones share it.
    is_down: Arc<AtomicBool>,
    /// Where it was found, and who failed there. Clones share it.
    targets: Arc<Mutex<Targets>>,
    /// Which of its hosts cannot be looked up. Clones share it.
    lookups: Arc<Mutex<Lookups>>,
    /// Which of our logins it refuses. Clones share it.
    refusals: Arc<Mutex<Refusals>>,
    /// The places that it registered at where nobody answered lately, by [`Binding::id`](crate::sip::registrar::Binding::id).
    /// Clones share it.
    away: Arc<Mutex<BTreeSet<u64>>>,
    /// The ways that its registrar names for the requests of our users there (RFC 3608). Clones share it.
    service_routes: Arc<Mutex<BTreeMap<String, Vec<NameAddr>>>>,
}

impl Trunk {
    /// Whether a call to it would find nobody.
    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub(super) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Whether nobody answered lately at a place that it registered at.
    pub(super) fn is_away(&self, place: u64) -> bool {
        self.away.lock().unwrap_or_else(PoisonError::into_inner).contains(&place)
    }

    pub(super) fn set_away(&self, place: u64, is_away: bool) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if is_away {
            away.insert(place);
        } else {
            away.remove(&place);
        }
    }

    /// Where it was found.
    pub(super) fn targets(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of its hosts cannot be looked up.
    pub(super) fn lookups(&self) -> MutexGuard<'_, Lookups> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which of our logins it refuses.
    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ways of the requests of our users there.
    pub(super) fn service_routes(&self) -> MutexGuard<'_, BTreeMap<String, Vec<NameAddr>>> {
        self.service_routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first of the places that requests go to.
    pub(super) fn nearest(&self) -> Option<&Place> {
        self.proxy.iter().chain(&self.places).next()
    }

    /// The transport that DNS is asked about; none where DNS may choose.
    pub(super) fn written_way(&self) -> Option<Way> {
        let way = match self.transport {
            Transport::Udp => Way::Udp,
            Transport::Tcp => Way::Tcp,
            Transport::Tls(_) => Way::Tls,
        };
        self.is_transport_written.then_some(way)
    }

    /// Whether nobody may call by it, though the configuration does not say so.
    pub(super) fn shuts_out_unasked(&self) -> bool {
        matches!(self.access, Access::Off) && !self.has_own_access
    }

    /// Whether one of its places has this port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        let default = self.transport.default_port();
        self.proxy.iter().chain(&self.places).any(|place| place.port.unwrap_or(default) == port)
    }

    /// Whether who sends from there is let in by that alone.
    pub(super) fn admits(&self, source: IpAddr) -> bool {
        self.access.admits(source) || (self.access.follows_host() && self.targets().has(source))
    }
}

/// All trunks of a configuration.
#[derive(Debug)]
struct Trunks {
    trunks: Vec<Arc<Trunk>>,
    /// Where those are that register here.
    bindings: Bindings,
    /// Which leg each of their sessions is.
    legs: Legs,
}

pub(super) fn prepare(sections: &[Section]) -> Result<Box<dyn Prepared>, Vec<Fault>> {
    let mut trunks = Vec::new();
    let mut faults = Vec::new();
    let mut claims: Vec<Claim> = Vec::new();
    for section in sections {
        match read(section) {
            Ok(trunk) => trunks.push(Arc::new(trunk)),
            Err(more) => faults.extend(more),
        }
        // also of those that have other faults: all is told in one go
        if let Some(claim) = Claim::read(section) {
            faults.extend(claims.iter().find_map(|other| claim.conflict(section, other)));
            claims.push(claim);
        }
    }
    if faults.is_empty() {
        Ok(Box::new(Trunks { trunks, bindings: Bindings::default(), legs: Legs::default() }))
    } else {
        Err(faults)
    }
}

/// Reads one trunk.
///
/// # Errors
/// All that is wrong in it.
pub(super) fn read(section: &Section) -> Result<Trunk, Vec<Fault>> {
    let (mut raw, mut faults): (Raw, _) = section.read(KNOWN)?;
    let takes_registration = raw.register.as_ref().and_then(|r| r.as_str()) == Some("accept");
    let transport = match raw.transport.as_deref() {
        None | Some("udp") => Transport::Udp, // what every PBX listens on
        Some("tcp") => Transport::Tcp,
        Some("tls") => Transport::Tls(TlsPeer::ANY), // and whoever it proves to be, once the stack runs
        Some(_) => {
            faults.push(section.fault("transport", "write \"udp\", \"tcp\" or \"tls\""));
            Transport::Udp
        }
    };
    let places = places::read(section, &raw, takes_registration, &mut faults);
    let nearest = places.nearest().map_or("", |place| place.host.as_str());
    let keys = Keys { ca: raw.tls_ca.as_ref(), name: raw.tls_name.as_deref(), sips: raw.sips };
    if transport.is_secure() && places.hosts.len() > 1 && keys.name.is_none() {
        let remedy = "with several hosts, write the name that the certificate of each of them has";
        faults.push(section.fault("tls_name", remedy));
    }
    let tls = TrunkTls::read(section, transport, nearest, &keys, &mut faults);
    let failover_after = intervals::read_failover(section, raw.failover_after.as_deref(), &mut faults);
    let external = external::read(section, &raw, &places, &mut faults);
    let user = raw.user.take().filter(|u| !u.is_empty());
    if user.as_deref().is_some_and(|u| {
        u.len() > 64 || !u.bytes().all(|b| b.is_ascii_graphic() && !b"<>@\";[]".contains(&b))
    }) {
        faults.push(section.fault(
            "user",
            "write 1 to 64 printable characters without blanks, quotes, and any of < > @ ; [ ]",
        ));
    }
    let password = section
        .secret("password", raw.password.take(), raw.password_file.as_deref())
        .unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    if raw.realm.as_deref() == Some("") {
        faults.push(section.fault("realm", "leave it out to answer challenges of any realm"));
    }
    if password.is_some() && user.is_none() {
        faults.push(section.fault("user", "a password needs the user it belongs to"));
    }
    let media = media::read(section, &raw, &mut faults);
    let policy = policy::read(section, &mut raw, &mut faults);
    let hold_music = match raw.hold_music.as_deref() {
        None | Some("generated") => HoldMusic::Generated, // silence makes people hang up
        Some("silence") => HoldMusic::Silence,
        Some(file) => read_music(section, file).unwrap_or_else(|fault| {
            faults.push(fault);
            HoldMusic::Silence
        }),
    };
    let has_user = user.is_some();
    let register = intervals::read_register(section, &raw, has_user, &mut faults);
    let each = raw.ring_each.as_deref();
    let ring = Ring::read(section, raw.ring.as_deref(), each, takes_registration, &mut faults);
    let qualify = intervals::read_qualify(section, raw.qualify.as_deref(), &mut faults);
    let timers = intervals::read_timers(section, &raw, &mut faults);
    let keys_by_info = read_dtmf(section, raw.dtmf.as_deref(), &mut faults);
    // through a carrier, whoever calls could have us call anybody at our expense
    let may_transfer = raw.transfers.unwrap_or(policy.is_trusted);
    let follows_redirects = read_redirects(section, raw.redirects.as_deref(), policy.is_trusted, &mut faults);
    let has_own_access = raw.inbound.is_some() || raw.inbound_networks.is_some();
    if takes_registration {
        check_registrar(section, &raw, &mut faults);
    }
    if raw.max_calls == Some(0) {
        faults
            .push(section.fault("max_calls", "write 1 or more, or leave it out for as many as media.calls"));
    }
    let access = access::read(section, &mut raw, &places, &mut faults);
    if faults.is_empty() {
        Ok(Trunk {
            name: section.name().to_owned(),
            places: places.hosts,
            proxy: places.proxy,
            failover_after,
            external,
            user,
            password,
            realm: raw.realm,
            media,
            is_symmetric: raw.symmetric.unwrap_or(false), // a fixed peer cannot be hijacked
            policy: Arc::new(policy),
            access,
            has_own_access,
            hold_music,
            transport,
            is_transport_written: raw.transport.is_some(),
            tls,
            register,
            takes_registration,
            ring,
            // a PBX that does not know who asks notes it as an intruder's doing
            qualify: qualify.filter(|_| !takes_registration || has_user || raw.qualify.is_some()),
            timers,
            keys_by_info,
            may_transfer,
            follows_redirects,
            occupancy: Occupancy::new(raw.max_calls),
            is_down: Arc::default(),
            targets: Arc::default(),
            lookups: Arc::default(),
            refusals: Arc::default(),
            away: Arc::default(),
            service_routes: Arc::default(),
        })
    } else {
        Err(faults)
    }
}

/// What goes with a PBX that registers here: a login, and nothing about where it is.
fn check_registrar(section: &Section, raw: &Raw, faults: &mut Vec<Fault>) {
    if raw.inbound_user.as_deref().unwrap_or_default().is_empty() {
        let remedy =
            "a PBX registers with a user and password; name them, or the hashes of `sipedge hash-secret`";
        faults.push(section.fault("inbound_user", remedy));
    }
    for (key, is_there) in [
        ("host", raw.host.is_some()),
        ("hosts", raw.hosts.is_some()),
        ("proxy", raw.proxy.is_some()),
        ("transport", raw.transport.is_some()),
    ] {
        if is_there {
            let remedy = "leave it out: with register = \"accept\" calls go where the PBX registered";
            faults.push(section.fault(key, remedy));
        }
    }
}

/// How keys go to the PBX.
fn read_dtmf(section: &Section, text: Option<&str>, faults: &mut Vec<Fault>) -> bool {
    match text {
        None | Some("rfc4733") => false, // every PBX takes them, and none is lost on the way
        Some("info") => true,
        Some(_) => {
            faults.push(section.fault("dtmf", "write \"rfc4733\" (with the media) or \"info\" (SIP INFO)"));
            false
        }
    }
}

/// Whether redirects are followed.
fn read_redirects(section: &Section, text: Option<&str>, is_trusted: bool, faults: &mut Vec<Fault>) -> bool {
    match text {
        // whoever is called through a carrier could send us on to any number there, at our expense
        None => is_trusted,
        Some("trunk") => true,
        Some("off") => false,
        Some(_) => {
            faults.push(section.fault("redirects", "write \"trunk\" or \"off\""));
            false
        }
    }
}

/// A file of music.
fn read_music(section: &Section, file: &str) -> Result<HoldMusic, Fault> {
    let remedy = |why: String| {
        let file = Excerpt(file);
        section.fault("hold_music", format!("write \"generated\", \"silence\" or a WAV file; {file}: {why}"))
    };
    let bytes = std::fs::read(file).map_err(|error| remedy(error.to_string()))?;
    Recording::from_wav(&bytes).map(HoldMusic::Recording).map_err(|error| remedy(error.to_string()))
}

impl Prepared for Trunks {
    fn targets(&self) -> Vec<String> {
        self.trunks.iter().map(|t| t.name.clone()).collect()
    }

    fn condition(&self, target: &str) -> Option<&'static str> {
        let trunk = self.trunks.iter().find(|t| t.name == target)?;
        trunk.takes_registration.then_some("while its PBX is registered here")
    }

    fn host(&self, target: &str) -> Option<String> {
        let trunk = self.trunks.iter().find(|t| t.name == target)?;
        trunk.nearest().map(|place| place.host.clone())
    }

    fn whereabouts(&self, target: &str) -> Vec<Whereabouts> {
        let trunk = self.trunks.iter().find(|t| t.name == target);
        trunk.map(|t| places::whereabouts(t)).unwrap_or_default()
    }

    fn external(&self, target: &str) -> Vec<IpAddr> {
        let trunk = self.trunks.iter().find(|t| t.name == target);
        trunk.map(|t| t.external.addresses().collect()).unwrap_or_default()
    }

    fn is_by_tls(&self, target: &str) -> bool {
        self.trunks.iter().any(|t| t.name == target && t.transport.is_secure())
    }

    fn pbx_end(&self, target: &str, pbx: Pbx, ours: &str, lines: &[&str]) -> Result<String, String> {
        let trunk = self.trunks.iter().find(|t| t.name == target).ok_or("there is no such trunk")?;
        pbx_end::print(trunk, pbx, ours, lines)
    }

    fn dialer(&mut self, services: &Services) -> Result<Option<Arc<dyn Dialer>>, String> {
        Ok(Some(Arc::new(TrunkDialer::new(
            self.trunks.clone(),
            self.bindings.clone(),
            self.legs.clone(),
            services,
        )?)))
    }

    fn start(self: Box<Self>, context: EdgeContext) -> Option<axum::Router> {
        super::io::serve(self.trunks, self.bindings, &self.legs, &context);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::session::TimerUse;
    use serde_json::json;

    #[test]
    fn every_mistake_of_a_trunk_is_named_at_once() {
        let section =
            Section::new("trunk.pbx", "t", json!({"password": "x", "codecs": ["mp3"], "caller_id": "x"}));
        let keys: Vec<String> = read(&section).unwrap_err().into_iter().map(|f| f.key).collect();
        assert_eq!(keys, ["trunk.pbx.host", "trunk.pbx.user", "trunk.pbx.codecs", "trunk.pbx.caller_id"]);
    }

    #[test]
    fn registration_qualify_and_transport_have_their_defaults_and_remedies() {
        let with = |value: serde_json::Value| {
            let mut all = json!({"host": "192.0.2.1", "user": "u"});
            all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            let trunk = read(&Section::new("trunk.pbx", "t", all));
            trunk.map_err(|faults| faults.into_iter().map(|f| f.key).collect::<Vec<_>>())
        };
        let seconds = |d: Option<Duration>| d.map(|d| d.as_secs());
        let plain = with(json!({})).unwrap();
        assert_eq!((seconds(plain.register), seconds(plain.qualify)), (None, Some(10)));
        assert_eq!(plain.transport, Transport::Udp);
        let all = json!({"register": true, "register_expires": "1h", "qualify": "off", "transport": "tcp"});
        let all = with(all).unwrap();
        assert_eq!((seconds(all.register), seconds(all.qualify)), (Some(3_600), None));
        assert_eq!((all.transport, all.written_way()), (Transport::Tcp, Some(Way::Tcp)));
        assert_eq!((plain.written_way(), plain.failover_after.as_secs()), (None, 4));
        let tls = with(json!({"transport": "tls", "sips": true})).unwrap();
        assert_eq!(tls.transport, Transport::Tls(TlsPeer::ANY));
        assert_eq!(tls.places[0].uri_port(tls.transport), Some(5061));
        assert!(tls.tls.unwrap().is_sips);
        assert_eq!(seconds(with(json!({"register": true})).unwrap().register), Some(300));
        assert_eq!(plain.timers, TimerRules::default());
        let timers = with(json!({"session_timers": "always", "session_expires": "90s"})).unwrap().timers;
        assert_eq!(timers, TimerRules::new(TimerUse::Always, Duration::from_secs(90)));
        for (value, keepalive) in [("off", None), ("30s", Some(Duration::from_secs(30)))] {
            let timers = with(json!({"dialog_keepalive": value})).unwrap().timers;
            assert_eq!(timers, TimerRules::default().with_keepalive(keepalive));
        }
        for (value, key) in [
            (json!({"user": "", "register": true}), "register"),
            // Asterisk's files would take them for a comment or the end of a section's name
            (json!({"user": "a;b"}), "user"),
            (json!({"user": "a]"}), "user"),
            (json!({"register_expires": "1h"}), "register_expires"),
            (json!({"register": true, "register_expires": "10s"}), "register_expires"),
            (json!({"register": true, "register_expires": "soon"}), "register_expires"),
            (json!({"dialog_keepalive": "29s"}), "dialog_keepalive"),
            (json!({"dialog_keepalive": "25h"}), "dialog_keepalive"),
            (json!({"dialog_keepalive": "never"}), "dialog_keepalive"),
            (json!({"qualify": "0s"}), "qualify"),
            (json!({"qualify": "never"}), "qualify"),
            (json!({"max_calls": 0}), "max_calls"),
            (json!({"transport": "sctp"}), "transport"),
            (json!({"transport": "tls", "tls_ca": "/nonexistent/ca.pem"}), "tls_ca"),
            (json!({"transport": "tls", "tls_name": "no name"}), "tls_name"),
            (json!({"tls_ca": "/nonexistent/ca.pem"}), "tls_ca"),
            (json!({"transport": "tcp", "tls_name": "pbx.example"}), "tls_name"),
            (json!({"sips": true}), "sips"),
            (json!({"failover_after": "499ms"}), "failover_after"),
            (json!({"failover_after": "33s"}), "failover_after"),
            (json!({"dtmf": "inband"}), "dtmf"),
            (json!({"redirects": "routes"}), "redirects"),
            (json!({"session_timers": "on"}), "session_timers"),
            (json!({"session_expires": "89s"}), "session_expires"),
            (json!({"session_expires": "25h"}), "session_expires"),
            (json!({"session_timers": "off", "session_expires": "90s"}), "session_expires"),
        ] {
            assert_eq!(with(value).unwrap_err(), [format!("trunk.pbx.{key}")]);
        }
    }

    #[test]
    fn who_is_not_trusted_has_no_calls_made_at_our_expense_unless_told_so() {
        for (value, may_transfer, follows_redirects) in [
            (json!({}), true, true),
            (json!({"trusted": false}), false, false),
            (json!({"trusted": false, "transfers": true, "redirects": "trunk"}), true, true),
            (json!({"transfers": false, "redirects": "off"}), false, false),
        ] {
            let mut all = json!({"host": "192.0.2.1"});
            all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            let trunk = read(&Section::new("trunk.pbx", "t", all)).unwrap();
            assert_eq!(
                (trunk.may_transfer, trunk.follows_redirects, trunk.keys_by_info),
                (may_transfer, follows_redirects, false)
            );
        }
    }

    #[test]
    fn a_pbx_that_registers_here_needs_a_login_and_no_host() {
        let read = |value: serde_json::Value| {
            let faults = |faults: Vec<Fault>| faults.into_iter().map(|f| f.key).collect::<Vec<_>>();
            read(&Section::new("trunk.pbx", "t", value)).map_err(faults)
        };
        let login = || json!({"register": "accept", "inbound_user": "pbx", "inbound_password": "p"});
        let trunks =
            [Section::new("trunk.pbx", "t", login()), Section::new("trunk.isp", "t", json!({"host": "h"}))];
        let trunks = prepare(&trunks).ok().unwrap();
        let conditions = ["pbx", "isp", "none"].map(|name| trunks.condition(name));
        assert_eq!(conditions, [Some("while its PBX is registered here"), None, None]);
        let trunk = read(login()).unwrap();
        assert!(trunk.takes_registration && trunk.register.is_none() && trunk.qualify.is_none());
        assert!(matches!(trunk.access, Access::Digest { .. }));
        assert_eq!(read(json!({"register": "accept"})).unwrap_err(), ["trunk.pbx.inbound_user"]);
        for (key, value) in [
            ("host", json!("192.0.2.1")),
            ("hosts", json!(["192.0.2.1"])),
            ("proxy", json!("192.0.2.1")),
            ("transport", json!("tcp")),
            ("register_expires", json!("60s")),
        ] {
            let mut all = login();
            all[key] = value;
            assert_eq!(read(all).unwrap_err(), [format!("trunk.pbx.{key}")]);
        }
        for (key, value, interval) in
            [("user", "edge", Some(10)), ("qualify", "3s", Some(3)), ("qualify", "off", None)]
        {
            let mut all = login();
            all[key] = json!(value);
            assert_eq!(read(all).unwrap().qualify.map(|q| q.as_secs()), interval, "{key}");
        }
        for register in [json!("yes"), json!(1)] {
            assert_eq!(read(json!({"host": "h", "register": register})).unwrap_err(), ["trunk.pbx.register"]);
        }
    }

    #[test]
    fn music_on_hold_may_be_a_file_and_one_that_cannot_be_played_is_named() {
        let read = |music: &str| {
            let value = json!({"host": "192.0.2.1", "hold_music": music});
            read(&Section::new("trunk.pbx", "t", value)).map(|t| t.hold_music)
        };
        assert_eq!(read("silence"), Ok(HoldMusic::Silence));
        let fault = read("/nonexistent/music.wav").unwrap_err().remove(0).to_string();
        assert!(
            fault.starts_with("t: trunk.pbx.hold_music: write \"generated\", \"silence\" or a WAV file; "),
            "{fault}"
        );
        assert!(fault.contains("/nonexistent/music.wav: No such file"), "{fault}");
    }

    #[test]
    fn two_trunks_that_a_caller_could_be_either_of_are_refused() {
        let section = |name: &str, value| Section::new(format!("trunk.{name}"), "t", value);
        let user = || json!({"host": "192.0.2.1", "inbound_user": "u", "inbound_password": "p"});
        let faults = prepare(&[section("a", user()), section("b", user())]).err().unwrap();
        assert_eq!(faults[0].key, "trunk.b.inbound_user");
        let address = |net: &str| json!({"host": "192.0.2.1", "inbound_networks": [net]});
        let faults = prepare(&[section("a", address("10.0.0.0/8")), section("b", address("10.1.0.0/16"))]);
        assert_eq!(faults.err().unwrap()[0].key, "trunk.b.inbound_networks");
        assert!(prepare(&[section("a", address("10.0.0.0/8")), section("b", user())]).is_ok());
    }
}
