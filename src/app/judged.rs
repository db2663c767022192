//! What is configured, judged as a whole: every fault in one go, before anything is started.

mod doors;
mod placeholders;

use super::demo::{self, Demo};
use super::io;
use super::log::LogConfig;
use super::state::{self, State};
use crate::base::{Fault, Section, Seed, parse_duration};
use crate::call::route::{RouteQuery, Source, Target};
use crate::config::{self, Config};
use crate::edge::EDGES;
use crate::edge::contract::{Pbx, Prepared, Table};
use crate::http::page::Suggestion;
use crate::http::{HttpConfig, everywhere};
use crate::media::MediaConfig;
use crate::net::client::{ClientConfig, Url};
use crate::net::dns::DnsConfig;
use crate::net::tls::{Identity, TlsError};
use crate::registry::{ACCOUNTS, Explanation, Registry, read_accounts, read_routes, useless_routes};
use crate::sip::SipConfig;
use crate::sip::transaction::Timings;
use doors::{Door, Doors};
use placeholders::Behind;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Tables that no edge owns.
const TABLES: &[&str] =
    &["log", "http", "sip", "dns", "media", "ice", "srtp", "call", "account", "route", "webhook", "state"];

/// Everything judged and good to start.
pub struct Configured {
    pub(super) file: Option<PathBuf>,
    pub(super) log: LogConfig,
    pub(super) http: HttpConfig,
    pub(super) sip: SipConfig,
    pub(super) sip_identity: SipIdentity,
    pub(super) sip_timings: Timings,
    pub(super) dns: DnsConfig,
    pub(super) media: MediaConfig,
    pub(super) drain: Duration,
    pub(super) client: ClientConfig,
    pub(super) state: Option<State>,
    pub(super) edges: Vec<(&'static str, Box<dyn Prepared>)>,
    pub(super) registry: Registry,
    pub(super) demo: Option<Demo>,
    /// What is good to start, and likely not what is meant.
    notes: Vec<Fault>,
    /// Of these, the tokens that everybody knows.
    known_tokens: Vec<Fault>,
    /// What the call page offers to dial.
    pub(super) suggestions: &'static [Suggestion],
    pub(super) seed: Seed,
}

impl Configured {
    /// Other base times for SIP transactions than those of RFC 3261 §17.1.1.1: for a network whose round trip
    /// is known, and for tests, which then need not wait 32 s until a transaction is forgotten.
    pub const fn set_sip_timings(&mut self, timings: Timings) {
        self.sip_timings = timings;
    }

    /// The file it was read from.
    #[must_use]
    pub fn origin(&self) -> String {
        self.file.as_ref().map_or_else(|| "the built-in demo".to_owned(), |file| file.display().to_string())
    }

    /// What is wrong with the folder of the state, where that can be known only by a trial: only who runs the program, or asks
    /// whether it would run, needs to write there.
    #[must_use]
    pub fn state_fault(&self) -> Option<Fault> {
        self.state.as_ref()?.fault()
    }

    /// What is good to start, and likely not what is meant; for people.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let shortage = self.media.port_shortage().filter(|_| !self.trunks().is_empty());
        let noted = self.known_tokens.iter().chain(&self.notes);
        let text = |note: &Fault| match note.key.as_str() {
            "" => note.remedy.clone(),
            key => format!("{key}: {}", note.remedy),
        };
        noted.map(text).chain(shortage).collect()
    }

    /// Everybody whose calls can be routed.
    #[must_use]
    pub fn sources(&self) -> Vec<Source> {
        let accounts = self.registry.account_names().map(|name| Source::Account(name.to_owned()));
        accounts.chain(self.trunks().into_iter().map(Source::Trunk)).collect()
    }

    /// The trunks' names.
    #[must_use]
    pub fn trunks(&self) -> Vec<String> {
        self.edges.iter().filter(|(name, _)| *name == "trunk").flat_map(|(_, edge)| edge.targets()).collect()
    }

    /// The other end of a trunk; `address` is where the PBX reaches us, else it is found out.
    ///
    /// # Errors
    /// What is missing, with a remedy.
    pub fn pbx_end(&self, trunk: &str, pbx: Pbx, address: Option<&str>) -> Result<String, String> {
        let (_, edge) = self.edges.iter().find(|(name, _)| *name == "trunk").ok_or("there are no trunks")?;
        let listen = if edge.is_by_tls(trunk) { self.sip.tls_listen() } else { self.sip.listen() };
        let beyond_nat = || external_towards(edge.host(trunk).as_deref(), &edge.external(trunk), listen);
        let ours = match address.map(|address| with_port(address, listen)).or_else(beyond_nat) {
            Some(ours) => ours,
            None => io::address_towards(edge.host(trunk).as_deref(), listen)
                .ok_or("it is not clear where the PBX reaches sipedge; name it by --address HOST")?,
        };
        let lines = self.registry.accounts().filter_map(|account| account.line());
        let lines: Vec<&str> = lines.filter(|l| l.trunk == trunk).map(|l| l.user.as_str()).collect();
        edge.pbx_end(trunk, pbx, &ours, &lines)
    }

    /// What must be so for a target to be reached; see [`Prepared::condition`].
    #[must_use]
    pub fn condition(&self, target: &Target) -> Option<&'static str> {
        let (_, edge) = self.edges.iter().find(|(name, _)| *name == target.edge)?;
        edge.condition(&target.name)
    }

    /// What each rule does with a call; see [`Registry::explain`].
    #[must_use]
    pub fn explain(&self, query: &RouteQuery) -> Vec<Explanation> {
        self.registry.explain(query)
    }
}

/// Who we are to SIP over TLS.
pub(super) enum SipIdentity {
    /// The certificate that the configuration names.
    Files(Arc<Identity>),
    /// None is named, and a trunk speaks TLS: one is made at the start.
    MadeAtStart,
    /// Nobody speaks TLS.
    None,
}

#[derive(Deserialize)]
struct RawCall {
    drain: Option<String>,
}

/// Reads the configuration: the file named, else by the environment, else the system's; and the environment. Without
/// any file there is a demo, with `is_lan` for the network too.
///
/// # Errors
/// Everything that is wrong, all at once.
pub fn configure(file: Option<PathBuf>, is_lan: bool) -> Result<Configured, Vec<Fault>> {
    let file = config::choose_file(file, std::env::var_os(config::ENV_FILE).map(PathBuf::from));
    // what is no UTF-8 is judged like any other wrong value, where it concerns us at all
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    let variables = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
    let mut entropy = [0; 32];
    rand::RngCore::fill_bytes(&mut rand::rng(), &mut entropy);
    let mut seed = Seed::from_bytes(entropy);
    let Some(file) = file else {
        let demo = Demo::new(&mut seed, io::is_free);
        let config = Config::from_value("demo", demo.configuration()).with_variables(variables);
        let mut configured = judge(&config, seed)?;
        if is_lan {
            if !configured.known_tokens.is_empty() {
                return Err(configured.known_tokens);
            }
            io::self_signed("sipedge demo")
                .and_then(|identity| configured.http.set_tls(everywhere(), identity))
                .map_err(|error| vec![Fault::new("--lan", "certificate", error.to_string())])?;
        }
        configured.demo = Some(demo);
        configured.suggestions = &demo::SUGGESTIONS;
        return Ok(configured);
    };
    if is_lan {
        let remedy = "it belongs to the demo; with a configuration, set http.tls_listen and a certificate";
        return Err(vec![Fault::new("--lan", "", remedy)]);
    }
    let config = Config::load(Some(&file), variables).map_err(|fault| vec![fault])?;
    let mut configured = judge(&config, seed)?;
    configured.file = Some(file);
    configured.state = configured.state.or_else(state::of_service_manager);
    Ok(configured)
}

/// An address of ours with the port that we listen on, where none is written.
fn with_port(address: &str, listen: &[SocketAddr]) -> String {
    let port = listen.first().map_or(0, SocketAddr::port);
    match address.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) if address.contains(':') => address.to_owned(),
        Err(_) => format!("{address}:{port}"),
    }
}

/// Where a host beyond a NAT reaches us: the NAT's address, of the host's IP version where that is written, with our port.
fn external_towards(host: Option<&str>, external: &[IpAddr], listen: &[SocketAddr]) -> Option<String> {
    let host: Option<IpAddr> = host.and_then(|host| host.parse().ok());
    let of_nat = external.iter().find(|ip| host.is_none_or(|host| host.is_ipv4() == ip.is_ipv4()))?;
    let main = listen.iter().find(|main| main.is_ipv4() == of_nat.is_ipv4())?;
    Some(SocketAddr::new(*of_nat, main.port()).to_string())
}

/// Judges a configuration; all randomness of the program comes from `seed`.
///
/// # Errors
/// Everything that is wrong, all at once, sorted.
pub fn judge(config: &Config, mut seed: Seed) -> Result<Configured, Vec<Fault>> {
    let mut faults = Vec::new();
    let edge_tables = EDGES.iter().map(|edge| match edge.table {
        Table::One(name) | Table::Named(name) => name,
    });
    let known: Vec<&str> = TABLES.iter().copied().chain(edge_tables).collect();
    faults.extend(config.faults(&known));

    let log = keep(LogConfig::read(&config.table("log")), &mut faults);
    let http = keep(HttpConfig::read(&config.table("http")), &mut faults);
    let sip = keep(SipConfig::read(&config.table("sip")), &mut faults);
    let sip_identity = keep(judge_sip_identity(config), &mut faults);
    let dns = keep(DnsConfig::read(&config.table("dns")), &mut faults);
    let media =
        MediaConfig::from_sections(&config.table("media"), &config.table("ice"), &config.table("srtp"));
    let media = keep(media, &mut faults);
    let drain = keep(read_drain(&config.table("call")), &mut faults);
    let client = keep(ClientConfig::read(&config.table("webhook")), &mut faults);
    let state = keep(state::read(&config.table("state")), &mut faults).flatten();

    let mut edges = Vec::new();
    let mut targets = BTreeMap::new();
    for edge in EDGES {
        let sections = match edge.table {
            Table::One(name) => Ok(vec![config.table(name)]),
            Table::Named(name) => config.named(name).map_err(|fault| vec![fault]),
        };
        // a fault in an edge's section makes its name no less a target: one mistake, one message
        let written: Vec<String> = match (&sections, edge.table) {
            (Ok(sections), Table::Named(_)) => sections.iter().map(|s| s.name().to_owned()).collect(),
            _ => Vec::new(),
        };
        let prepared = keep(sections.and_then(|s| (edge.prepare)(&s)), &mut faults);
        let names = prepared.as_ref().map_or(written, |p| p.targets());
        if !names.is_empty() {
            targets.insert(edge.name, names);
        }
        edges.extend(prepared.map(|p| (edge.name, p)));
    }
    let accounts = config.named(ACCOUNTS).map_err(|fault| vec![fault]);
    // as with edges: a fault in an account makes its name no less a target
    let names = accounts.iter().flatten().map(|section| section.name().to_owned());
    targets.insert(ACCOUNTS, names.collect());
    if let (Ok(sections), Some(client)) = (&accounts, client) {
        faults.extend(sections.iter().filter_map(|s| judge_webhook(s, client)));
    }
    if let Ok(sections) = &accounts {
        faults.extend(sections.iter().filter_map(|section| {
            judge_line(section, targets.get("trunk").map_or(&[], Vec::as_slice), &edges)
        }));
    }
    if let (Ok(sections), Some(sip)) = (config.named("trunk"), &sip) {
        faults.extend(sections.iter().filter_map(|section| judge_external(section, &edges, sip)));
    }
    let accounts = accounts.and_then(|sections| read_accounts(&sections));
    let accounts = keep(accounts, &mut faults);
    let routes = config.list("route").map_err(|f| vec![f]).and_then(|s| read_routes(&s, &targets));
    let routes = keep(routes, &mut faults);
    let mut noted = Noted::default();
    if let (Some(http), Some((sip, identity))) = (&http, sip.as_ref().zip(sip_identity.as_ref())) {
        let doors = Doors::new(http, sip, identity);
        judge_placeholders(config, &edges, &doors, &mut noted, &mut faults);
        judge_places(config, &edges, &doors, &mut noted, &mut faults);
        let judged = media.as_ref().map(|media| doors.collisions(config, media)).unwrap_or_default();
        noted.take(judged, &mut faults);
    }

    for module in log.iter().flat_map(LogConfig::unknown_modules) {
        let why = format!("there is no module {module}: nothing more is logged for it");
        noted.notes.push(config.table("log").fault("level", why));
    }
    for (n, why) in routes.iter().flat_map(|routes| useless_routes(routes)) {
        noted.notes.push(config.table(&format!("route[{n}]")).fault("", why));
    }
    for account in accounts.iter().flatten().filter(|account| account.is_useless()) {
        let why =
            "nobody can use it: it has no token for the API, no webhook that is told of calls, and no line";
        noted.notes.push(config.table(&format!("{ACCOUNTS}.{}", account.name())).fault("", why));
    }
    if ["trunk", ACCOUNTS, "route"].iter().all(|table| config.is_without(table)) {
        let why =
            "there is no [trunk.NAME], no [account.NAME] and no [[route]]: it starts, and nobody can call";
        noted.notes.push(config.table("").fault("", why));
    }

    match (log, http, sip.zip(sip_identity), dns.zip(media), drain, client, accounts, routes) {
        (
            Some(log),
            Some(http),
            Some((sip, sip_identity)),
            Some((dns, media)),
            Some(drain),
            Some(client),
            Some(accounts),
            Some(routes),
        ) if faults.is_empty() => {
            let registry = Registry::new(accounts, routes, &mut seed).with_places(media.calls());
            let sip_timings = Timings::default();
            Ok(Configured {
                file: None,
                log,
                http,
                sip,
                sip_identity,
                sip_timings,
                dns,
                media,
                drain,
                client,
                state,
                edges,
                registry,
                demo: None,
                notes: noted.notes,
                known_tokens: noted.known_tokens,
                suggestions: &[],
                seed,
            })
        }
        _ => Err(Fault::settle(faults)),
    }
}

/// An account's webhook, held against where sipedge may go; other mistakes of the account are told by its own folder.
fn judge_webhook(account: &Section, client: ClientConfig) -> Option<Fault> {
    let url = account.text("webhook")?;
    Url::parse(url, client, &[]).err().map(|error| account.fault("webhook", error.to_string()))
}

/// What is likely not meant.
#[derive(Default)]
struct Noted {
    notes: Vec<Fault>,
    known_tokens: Vec<Fault>,
}

impl Noted {
    /// Takes what was judged: its notes; and its faults to the others.
    fn take(&mut self, (more, notes): (Vec<Fault>, Vec<Fault>), faults: &mut Vec<Fault>) {
        faults.extend(more);
        self.notes.extend(notes);
    }
}

/// Secrets that everybody knows, held against who could use them. Of tables that cannot be read their own folders tell.
fn judge_placeholders(
    config: &Config,
    edges: &[(&'static str, Box<dyn Prepared>)],
    doors: &Doors,
    noted: &mut Noted,
    faults: &mut Vec<Fault>,
) {
    let sip: Vec<Door> = doors.of_sip().copied().collect();
    let pbx = |trunk: &str| {
        let (_, trunks) = edges.iter().find(|(edge, _)| *edge == "trunk")?;
        Some(trunks.whereabouts(trunk)).filter(|places| !places.is_empty())
    };
    for account in config.named(ACCOUNTS).unwrap_or_default() {
        let (more, notes) = placeholders::judge(&account, &placeholders::TOKENS, &Behind::Ours(&doors.http));
        faults.extend(more);
        noted.known_tokens.extend(notes);
        let places = account.text("line").and_then(|line| pbx(line.strip_prefix("trunk.")?));
        let behind = Behind::Pbx(places.iter().flatten().find(|place| place.is_elsewhere()));
        for (keys, behind) in [(placeholders::LINE, behind), (placeholders::WEBHOOK, Behind::Nothing)] {
            noted.take(placeholders::judge(&account, &keys, &behind), faults);
        }
    }
    for trunk in config.named("trunk").unwrap_or_default() {
        let places = pbx(trunk.name());
        let behind = match &places {
            Some(places) => Behind::Pbx(places.iter().find(|place| place.is_elsewhere())),
            // who registers here has it from us
            None => Behind::Ours(&sip),
        };
        for (keys, behind) in [(placeholders::INBOUND, Behind::Ours(&sip)), (placeholders::OUTBOUND, behind)]
        {
            noted.take(placeholders::judge(&trunk, &keys, &behind), faults);
        }
    }
}

/// The places of trunks, held against our own, and their addresses here.
fn judge_places(
    config: &Config,
    edges: &[(&'static str, Box<dyn Prepared>)],
    doors: &Doors,
    noted: &mut Noted,
    faults: &mut Vec<Fault>,
) {
    let Some((_, trunks)) = edges.iter().find(|(edge, _)| *edge == "trunk") else { return };
    let machine = io::addresses_of_this_machine();
    for trunk in config.named("trunk").unwrap_or_default() {
        let listen = if trunks.is_by_tls(trunk.name()) { &doors.sip_tls } else { &doors.sip };
        let places = trunks.whereabouts(trunk.name());
        noted.take(doors::judge_places(&trunk, &places, listen, &machine), faults);
        noted.notes.extend(doors::judge_media_address(&trunk, &machine));
    }
}

/// The certificate of SIP over TLS. The folder of SIP reads no certificates.
fn judge_sip_identity(config: &Config) -> Result<SipIdentity, Vec<Fault>> {
    let sip = config.table("sip");
    if let Some((certificate, key)) = sip.text("tls_certificate").zip(sip.text("tls_key")) {
        let identity = Identity::from_files(certificate.as_ref(), key.as_ref());
        let fault = |error: TlsError| sip.fault(error.at_fault(key.as_ref()), error.to_string());
        return identity.map(SipIdentity::Files).map_err(|error| vec![fault(error)]);
    }
    // what is wrong with a trunk is told by its own folder
    let trunks = config.named("trunk").unwrap_or_default();
    let by_tls = trunks.iter().any(|trunk| trunk.text("transport") == Some("tls"));
    Ok(if by_tls { SipIdentity::MadeAtStart } else { SipIdentity::None })
}

/// An account's line, held against the trunks, those with faults of their own among them: its PBX must be one that we know
/// the place of.
fn judge_line(
    account: &Section,
    targets: &[String],
    edges: &[(&'static str, Box<dyn Prepared>)],
) -> Option<Fault> {
    let name = account.text("line")?.strip_prefix("trunk.")?;
    if !targets.iter().any(|target| target == name) {
        let list = targets.iter().map(|target| format!("trunk.{target}")).collect::<Vec<_>>().join(", ");
        return Some(account.fault("line", format!("there is no trunk.{name}; there are: {list}")));
    }
    let (_, trunks) = edges.iter().find(|(edge, _)| *edge == "trunk")?;
    let remedy = format!("trunk.{name} has no `host` to register at: its PBX registers here");
    trunks.host(name).is_none().then(|| account.fault("line", remedy))
}

/// A trunk beyond a NAT is told an address of it; of that IP version we must listen, too.
fn judge_external(
    trunk: &Section,
    edges: &[(&'static str, Box<dyn Prepared>)],
    sip: &SipConfig,
) -> Option<Fault> {
    let (_, trunks) = edges.iter().find(|(edge, _)| *edge == "trunk")?;
    let (key, listen) = match trunks.is_by_tls(trunk.name()) {
        true => ("sip.tls_listen", sip.tls_listen()),
        false => ("sip.listen", sip.listen()),
    };
    let is_heard = |ip: &IpAddr| listen.iter().any(|main| main.is_ipv4() == ip.is_ipv4());
    let deaf = trunks.external(trunk.name()).into_iter().find(|ip| !is_heard(ip))?;
    let remedy =
        format!("{deaf}: {key} has no address of this IP version; add one there, or leave this one out");
    Some(trunk.fault("external", remedy))
}

fn keep<T>(result: Result<T, Vec<Fault>>, faults: &mut Vec<Fault>) -> Option<T> {
    result.map_err(|more| faults.extend(more)).ok()
}

fn read_drain(section: &Section) -> Result<Duration, Vec<Fault>> {
    let (raw, mut faults): (RawCall, _) = section.read(&["drain"])?;
    let drain = raw.drain.as_deref().map(parse_duration).transpose();
    match drain {
        Ok(drain) if faults.is_empty() => Ok(drain.unwrap_or(Duration::ZERO)), // BYE at once; a service manager's unit asks for more
        Ok(_) => Err(faults),
        Err(remedy) => {
            faults.push(section.fault("drain", remedy));
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_of_sip_is_read_from_its_files_or_made_for_a_trunk_that_speaks_tls() {
        let identity = |config: serde_json::Value| {
            let serde_json::Value::Object(root) = config else { panic!() };
            let judged = judge(&Config::from_value("t", root), Seed::from_number(1));
            judged.map(|c| c.sip_identity).map_err(|f| f.into_iter().map(|f| f.key).collect::<Vec<_>>())
        };
        let trunk =
            |transport| serde_json::json!({"trunk": {"a": {"host": "192.0.2.1", "transport": transport}}});
        assert!(matches!(identity(trunk("tcp")), Ok(SipIdentity::None)));
        assert!(matches!(identity(trunk("tls")), Ok(SipIdentity::MadeAtStart)));
        let files =
            serde_json::json!({"tls_certificate": "/nonexistent/c.pem", "tls_key": "/nonexistent/k.pem"});
        let faults = identity(serde_json::json!({ "sip": files })).err().unwrap();
        assert_eq!(faults, ["sip.tls_certificate"]);
    }

    #[test]
    fn ports_towards_pbxs_are_noted_where_there_are_pbxs() {
        let notes = |trunk: serde_json::Value| {
            let media = serde_json::json!({"rtp_ports": "30000-30099"});
            judged(serde_json::json!({"media": media, "trunk": trunk})).unwrap().notes()
        };
        assert!(notes(serde_json::json!({})).iter().all(|note| !note.contains("media.")));
        let notes = notes(serde_json::json!({"pbx": {"host": "192.0.2.1"}}));
        assert!(notes.len() == 1 && notes[0].contains("media.calls"), "{notes:?}");
    }

    #[test]
    fn what_nobody_can_use_is_noted() {
        let notes = |value| judged(value).unwrap().notes();
        let empty = notes(serde_json::json!({"log": {"level": "info"}}));
        assert!(empty.len() == 1 && empty[0].starts_with("there is no [trunk.NAME]"), "{empty:?}");
        let mute = notes(serde_json::json!({"account": {"a": {"numbers": ["1"]}}}));
        assert!(mute.len() == 1 && mute[0].starts_with("account.a: nobody can use it"), "{mute:?}");
        let token = "0123456789abcdef";
        let routes =
            serde_json::json!([{"to": "account.a", "last": true}, {"number": "5", "to": "account.a"}]);
        let behind = notes(serde_json::json!({"account": {"a": {"token": token}}, "route": routes}));
        assert!(
            behind.len() == 1 && behind[0].starts_with("route[2]: no call comes to it: route[1] "),
            "{behind:?}"
        );
    }

    fn judged(value: serde_json::Value) -> Result<Configured, Vec<Fault>> {
        let serde_json::Value::Object(root) = value else { panic!() };
        judge(&Config::from_value("t", root), Seed::from_number(1))
    }

    #[test]
    fn a_line_at_no_trunk_is_told_beside_what_is_wrong_with_trunks() {
        let keys = |trunk: serde_json::Value| {
            let account = serde_json::json!({"numbers": ["1"], "line": "trunk.zz"});
            let faults = judged(serde_json::json!({"trunk": {"pbx": trunk}, "account": {"a": account}}))
                .err()
                .unwrap();
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for (trunk, other) in [
            (serde_json::json!({"host": "192.0.2.1"}), ""),
            (serde_json::json!({"host": "192.0.2.1", "qualify": "often"}), "trunk.pbx.qualify"),
        ] {
            let faults = keys(trunk);
            assert!(faults.contains("there is no trunk.zz; there are: trunk.pbx"), "{faults}");
            assert!(faults.contains(other), "{faults}");
        }
    }

    #[test]
    fn a_trunk_is_told_no_address_of_a_nat_that_nobody_listens_behind() {
        let with = |sip: serde_json::Value, transport: &str| {
            let both = ["203.0.113.7", "2001:db8::7"];
            let trunk = serde_json::json!({"host": "sip.example", "external": both, "transport": transport});
            judged(serde_json::json!({"sip": sip, "trunk": {"isp": trunk}}))
        };
        assert!(with(serde_json::json!({}), "udp").is_ok() && with(serde_json::json!({}), "tls").is_ok());
        let v4 = serde_json::json!({"listen": ["10.0.0.5:5080"]});
        let faults = with(v4.clone(), "udp").err().unwrap();
        assert_eq!(faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), ["trunk.isp.external"]);
        assert!(faults[0].remedy.starts_with("2001:db8::7: sip.listen has no address"), "{}", faults[0]);
        // by TLS other addresses count
        assert!(with(v4, "tls").is_ok());
    }

    #[test]
    fn a_pbx_beyond_a_nat_is_given_the_address_there_with_the_port_of_its_ip_version() {
        let end = |host: &str, external: &[&str], transport: &str, address: Option<&str>| {
            let trunk = serde_json::json!({"host": host, "external": external, "transport": transport});
            let listen = ["10.0.0.5:5080", "[fd00::5]:5090"];
            let sip = serde_json::json!({ "listen": listen });
            let configured = judged(serde_json::json!({"sip": sip, "trunk": {"isp": trunk}})).unwrap();
            let text = configured.pbx_end("isp", Pbx::Asterisk, address).unwrap();
            let line = |key: &str| {
                let mut lines =
                    text.lines().filter_map(|l| l.strip_prefix(key)?.trim_start().strip_prefix("= "));
                lines.next_back().unwrap_or_default().to_owned()
            };
            (line("contact"), line("match"))
        };
        let pair = |contact: &str, address: &str| (contact.to_owned(), address.to_owned());
        let both = &["203.0.113.7", "2001:db8::7"][..];
        assert_eq!(end("198.51.100.1", both, "udp", None), pair("sip:203.0.113.7:5080", "203.0.113.7"));
        assert_eq!(end("2001:db8:1::1", both, "udp", None), pair("sip:[2001:db8::7]:5090", "2001:db8::7"));
        assert_eq!(
            end("sip.example", &both[..1], "tls", None),
            pair("sip:203.0.113.7:5081\\;transport=tls", "203.0.113.7")
        );
        assert_eq!(
            end("198.51.100.1", both, "udp", Some("198.51.100.99")),
            pair("sip:198.51.100.99:5080", "198.51.100.99")
        );
    }

    #[test]
    fn a_fault_in_a_trunk_is_told_once_and_its_routes_are_not_blamed() {
        let file = std::env::temp_dir().join(format!("sipedge-app-{}.toml", std::process::id()));
        std::fs::write(
            &file,
            "[trunk.pbx]\nhost = \"127.0.0.1\"\ncodecs = 7\n[[route]]\nto = \"trunk.pbx\"\n",
        )
        .unwrap();
        let config = Config::load(Some(&file), std::iter::empty()).unwrap();
        let faults = judge(&config, Seed::from_number(1)).err().unwrap();
        let _ = std::fs::remove_file(&file);
        assert_eq!(faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), ["trunk.pbx.codecs"]);
    }
}
