//! Asks DNS, once for all who want to know the same, and never on a thread that others need.

use super::cache::{Cache, Step};
use super::chase::{self, Chase, Data, Entry, Reply};
use super::config::DEFAULT_PORT;
use super::locate::Locate;
use super::{
    Answer, DnsConfig, Families, Kind, Located, Missing, Naptr, Outcome, Question, Record, Srv, Wanted,
    plain_name,
};
use crate::base::{Fresh, Seed};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequestOptions, DnsResponse, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig, system_conf};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// A name that takes longer to look up is as good as none.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(4);
/// What is asked for before addresses are may take so long, and time is left for these.
const SERVICE_TIMEOUT: Duration = Duration::from_millis(1_300);
/// One try of all servers; there are two.
const TRY_TIMEOUT: Duration = Duration::from_millis(1_500);
/// An answer whose time is over is used when no new one comes within this; the new one serves the next call.
const STALE_WAIT: Duration = Duration::from_millis(500);
/// How often the system's files are looked at for changes.
const FILES_HOLD: Duration = Duration::from_secs(5);
/// How long it holds that there is a route to an address: to ask takes a socket.
const ROUTE_HOLDS: Duration = Duration::from_secs(5);
/// Most domains of `search` that a name without a dot is looked for in (`resolv.conf(5)`).
const MAX_SEARCH: usize = 6;
/// What DNS is asked by when /etc/resolv.conf names none, as by the C library.
const LOCAL_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53);
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

type Pool = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// The resolver. Clones share it.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    config: DnsConfig,
    state: Mutex<State>,
    /// What the system's files say, and when they were looked at.
    system: Mutex<Option<(Arc<System>, Instant)>>,
    routes: Mutex<Fresh<IpAddr, bool>>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    /// What is being asked.
    waiting: BTreeMap<Question, watch::Receiver<Option<Answer>>>,
}

/// What the system's files say.
struct System {
    pool: Pool,
    options: DnsRequestOptions,
    search: Vec<String>,
    hosts: Hosts,
    /// Whom it asks.
    servers: Vec<SocketAddr>,
    /// When the files were changed.
    stamps: [Option<SystemTime>; 2],
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver {
    /// A resolver that knows nothing yet; it needs a tokio runtime when it is asked.
    #[must_use]
    pub fn new(config: DnsConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            state: Mutex::default(),
            system: Mutex::default(),
            routes: Mutex::new(Fresh::new(ROUTE_HOLDS)),
        }))
    }

    /// Where a SIP server is, the best place first (RFC 3263 §4); the order of places of equal standing comes from the
    /// seed. It answers within [`LOOKUP_TIMEOUT`].
    ///
    /// # Errors
    /// DNS knows of none, or does not answer and never did.
    pub async fn locate(&self, wanted: Wanted, seed: Seed) -> Result<Vec<Located>, Missing> {
        let is_address = wanted.host.parse::<IpAddr>().is_ok();
        let own = if is_address { None } else { self.own_addresses(&wanted.host) };
        let mut machine = Locate::start(wanted, own, seed);
        let deadline = tokio::time::Instant::now() + LOOKUP_TIMEOUT;
        let mut open = JoinSet::new();
        loop {
            let services = tokio::time::Instant::now() + SERVICE_TIMEOUT;
            while let Some(question) = machine.poll_question() {
                // mostly all is known, and a call costs no task then
                if let Some(answer) = self.at_once(&question) {
                    machine.handle_answer(&question, answer);
                    continue;
                }
                let asking = self.clone();
                open.spawn(async move {
                    let answer = asking.ask(&question).await;
                    (question, answer)
                });
            }
            while machine.result().is_none() && !machine.has_questions() {
                let until = if machine.is_last() { deadline } else { deadline.min(services) };
                match tokio::time::timeout_at(until, open.join_next()).await {
                    Ok(Some(Ok((question, answer)))) => machine.handle_answer(&question, answer),
                    // nothing is out any more, or a task of ours failed
                    Ok(None | Some(Err(_))) | Err(_) => machine.give_up(),
                }
            }
            if let Some(result) = machine.result() {
                return result.map(|places| self.routable(places));
            }
        }
    }

    /// Why a name was not found, in words for the operator: who did not answer is named.
    #[must_use]
    pub fn explain(&self, missing: Missing) -> String {
        let servers = &self.system().servers;
        match (missing, servers.as_slice()) {
            (Missing::Absent | Missing::OnlyByTls, _) | (Missing::Failed, []) => missing.to_string(),
            (Missing::Failed, [server]) => format!("no usable answer from the name server {server}"),
            (Missing::Failed, several) => {
                let list: Vec<String> = several.iter().map(ToString::to_string).collect();
                format!("no usable answer from the name servers {}", list.join(", "))
            }
        }
    }

    /// The answer, where nobody need be asked.
    fn at_once(&self, question: &Question) -> Option<Answer> {
        let own = self.own_records(question);
        own.or_else(|| lock(&self.0.state).cache.peek(Instant::now(), question))
    }

    /// The places that this machine has a route to; all of them where there is none.
    fn routable(&self, places: &[Located]) -> Vec<Located> {
        let Families { v4, v6 } = Families::of(&places.iter().map(|p| p.address).collect::<Vec<_>>());
        if !(v4 && v6) {
            return places.to_vec();
        }
        let mut routes = lock(&self.0.routes);
        let mut has_route = |place: &&Located| {
            let ask = |_: &IpAddr| Ok::<_, ()>(has_route(place.address));
            routes.get(Instant::now(), place.address.ip(), ask).unwrap_or(true)
        };
        let routable: Vec<Located> = places.iter().filter(&mut has_route).copied().collect();
        if routable.is_empty() { places.to_vec() } else { routable }
    }

    /// The records of a question, within [`LOOKUP_TIMEOUT`] and a moment.
    ///
    /// # Errors
    /// DNS knows of none, or does not answer and never did.
    pub async fn ask(&self, question: &Question) -> Answer {
        if let Some(own) = self.own_records(question) {
            return own;
        }
        let (stale, mut answer) = {
            let mut state = lock(&self.0.state);
            match state.cache.ask(Instant::now(), question) {
                Step::Answer(answer) => return answer,
                Step::Wait(stale) => (stale, state.waiting.get(question).cloned().ok_or(Missing::Failed)?),
                Step::Ask(stale) => {
                    let (told, answer) = watch::channel(None);
                    state.waiting.insert(question.clone(), answer.clone());
                    tokio::spawn(self.clone().find_out(question.clone(), told));
                    (stale, answer)
                }
            }
        };
        // the task that asks has a limit of its own
        let limit = if stale.is_some() { STALE_WAIT } else { LOOKUP_TIMEOUT * 2 };
        match tokio::time::timeout(limit, answer.wait_for(Option::is_some)).await {
            Ok(Ok(told)) => told.clone().unwrap_or(Err(Missing::Failed)),
            Ok(Err(_)) | Err(_) => stale.unwrap_or(Err(Missing::Failed)),
        }
    }

    async fn find_out(self, question: Question, told: watch::Sender<Option<Answer>>) {
        let system = self.system();
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, system.find(&question)).await;
        let outcome = found.unwrap_or_else(|_| {
            debug!(name = question.name, kind = ?question.kind, "DNS does not answer");
            Outcome::Failed
        });
        let (answer, was_failing, is_failing) = {
            let mut state = lock(&self.0.state);
            state.waiting.remove(&question);
            let was_failing = state.cache.is_failing();
            let answer = state.cache.tell(Instant::now(), &question, outcome);
            (answer, was_failing, state.cache.is_failing())
        };
        match (was_failing, is_failing) {
            (false, true) => {
                let why = self.explain(Missing::Failed);
                warn!(
                    name = question.name,
                    why, "DNS does not answer: what it said last is used, for a day at most"
                );
            }
            (true, false) => info!("DNS answers again"),
            _ => {}
        }
        let _ = told.send(Some(answer));
    }

    /// The addresses that this machine itself has for a name: those of /etc/hosts, and of `localhost` in any case (RFC 6761
    /// §6.3).
    fn own_addresses(&self, host: &str) -> Option<Vec<IpAddr>> {
        let name = plain_name(host);
        let listed = self.system().listed(&name);
        if listed.is_some() {
            return listed;
        }
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local.then(|| vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()])
    }

    /// The same, as the answer to a question.
    fn own_records(&self, question: &Question) -> Option<Answer> {
        let is_v4 = match question.kind {
            Kind::A => true,
            Kind::Aaaa => false,
            Kind::Naptr | Kind::Srv => return None,
        };
        let own = self.own_addresses(&question.name)?;
        let own: Arc<[Record]> =
            own.into_iter().filter(|ip| ip.is_ipv4() == is_v4).map(Record::Address).collect();
        Some(if own.is_empty() { Err(Missing::Absent) } else { Ok(own) })
    }

    /// What the system's files say now.
    fn system(&self) -> Arc<System> {
        let (mut known, now) = (lock(&self.0.system), Instant::now());
        if let Some((system, _)) = known.as_ref().filter(|(_, checked)| now < *checked + FILES_HOLD) {
            return system.clone();
        }
        let stamps = [RESOLV_CONF, HOSTS].map(|file| std::fs::metadata(file).and_then(|m| m.modified()).ok());
        let system = match known.take() {
            Some((system, _)) if system.stamps == stamps => system,
            _ => Arc::new(System::read(&self.0.config, stamps)),
        };
        *known = Some((system.clone(), now));
        system
    }
}

/// Whether the kernel would send to an address at all. Nothing is sent.
fn has_route(address: SocketAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

impl System {
    fn read(config: &DnsConfig, stamps: [Option<SystemTime>; 2]) -> Self {
        let (mut search, mut options) = (Vec::new(), ResolverOpts::default());
        let mut servers: Vec<NameServerConfig> =
            config.servers().iter().map(|server| server_at(*server)).collect();
        match system_conf::read_system_conf() {
            Ok((system, system_options)) => {
                let (_, domains, listed) = system.into_parts();
                search = domains.iter().take(MAX_SEARCH).map(|d| plain_name(&d.to_ascii())).collect();
                if servers.is_empty() {
                    servers = listed;
                    options.edns0 = system_options.edns0;
                }
            }
            Err(error) if servers.is_empty() => {
                warn!(%error, "no name server in {RESOLV_CONF}: DNS is asked on this machine; [dns] servers names others");
                servers.push(server_at(LOCAL_SERVER));
            }
            Err(_) => {}
        }
        options.timeout = TRY_TIMEOUT;
        let asked = servers.iter().map(|server| {
            let port = server.connections.first().map_or(DEFAULT_PORT, |connection| connection.port);
            SocketAddr::new(server.ip, port)
        });
        let asked: Vec<SocketAddr> = asked.collect();
        let mut request = DnsRequestOptions::default();
        request.use_edns = options.edns0;
        request.edns_payload_len = options.edns_payload_len;
        let context = Arc::new(PoolContext::new(options, TlsConfig {}));
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        Self {
            pool: RetryDnsHandle::new(pool, 1),
            options: request,
            search,
            hosts: Hosts::from_system().unwrap_or_default(),
            servers: asked,
            stamps,
        }
    }

    /// The addresses that /etc/hosts has for a name.
    fn listed(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = Name::from_ascii(name).ok()?;
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let lookups = [of(RecordType::AAAA), of(RecordType::A)];
        let records = lookups.iter().flatten().flat_map(|lookup| lookup.answers());
        let found: Vec<IpAddr> = records.filter_map(|record| record.data.ip_addr()).collect();
        (!found.is_empty()).then_some(found)
    }

    /// What DNS says. A name without a dot is looked for in the domains of `search` first, as the C library does.
    async fn find(&self, question: &Question) -> Outcome {
        let search: &[String] = if question.name.contains('.') { &[] } else { &self.search };
        for domain in search {
            let longer = Question::new(&format!("{}.{domain}", question.name), question.kind);
            let outcome = self.follow(longer).await;
            if matches!(outcome, Outcome::Found { .. }) {
                return outcome;
            }
        }
        self.follow(question.clone()).await
    }

    /// What DNS says of this very name, aliases followed.
    async fn follow(&self, question: Question) -> Outcome {
        let mut chase = Chase::start(question.clone());
        let mut next = question;
        loop {
            let reply = match self.ask(&next).await {
                Ok(reply) => reply,
                Err(error) => {
                    debug!(name = next.name, kind = ?next.kind, %error, "DNS");
                    return Outcome::Failed;
                }
            };
            match chase.handle(&reply) {
                chase::Step::Ask(question) => next = question,
                chase::Step::Done(outcome) => return outcome,
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<Reply, NetError> {
        let mut name = Name::from_ascii(&question.name)?;
        name.set_fqdn(true);
        let kind = match question.kind {
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
        };
        match self.pool.lookup(Query::query(name, kind), self.options).first_answer().await {
            Ok(response) => Ok(reply_of(&response)),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Ok(Reply {
                entries: Vec::new(),
                negative_ttl: none.negative_ttl.map(|ttl| Duration::from_secs(u64::from(ttl))),
            }),
            Err(error) => Err(error),
        }
    }
}

/// A server, asked by UDP and, for what is too long, by TCP.
fn server_at(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn reply_of(response: &DnsResponse) -> Reply {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entry = |record: &hickory_resolver::proto::rr::Record| {
        let data = match &record.data {
            RData::A(a) => Data::Record(Record::Address(IpAddr::V4(a.0))),
            RData::AAAA(aaaa) => Data::Record(Record::Address(IpAddr::V6(aaaa.0))),
            RData::CNAME(name) => Data::Alias(plain_name(&name.0.to_ascii())),
            RData::SRV(srv) => Data::Record(Record::Srv(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: plain_name(&srv.target.to_ascii()),
            })),
            RData::NAPTR(naptr) => Data::Record(Record::Naptr(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: text(&naptr.flags),
                services: text(&naptr.services),
                replacement: plain_name(&naptr.replacement.to_ascii()),
            })),
            _ => return None,
        };
        let ttl = Duration::from_secs(u64::from(record.ttl));
        Some(Entry { name: plain_name(&record.name.to_ascii()), ttl, data })
    };
    Reply { entries: response.answers.iter().filter_map(entry).collect(), negative_ttl: None }
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
