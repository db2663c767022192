//! Where a SIP server is (RFC 3263 §4).
//!
//! Drive it: ask all of [`Locate::poll_question`], hand the answers to [`Locate::handle_answer`] in whatever order they come,
//! until [`Locate::result`] says what came of it; [`Locate::give_up`] has it make do with what is known.
//!
//! RFC 3263 §4.1 not followed: of the NAPTR records that fit, those of one order are looked at, and the first that leads
//! to a server counts; a name of this machine's own (/etc/hosts, or without a dot) has addresses and nothing else; and what
//! DNS fails to answer about services counts as none, since there are name servers that know addresses alone.

use super::{Answer, Kind, Missing, Naptr, Question, Record, Srv, by_weight, plain_name};
use crate::base::Seed;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Most services that NAPTR records may name.
const MAX_SERVICES: usize = 4;
/// Most hosts of SRV records that are looked at; the best ones are.
const MAX_HOSTS: usize = 8;
/// Most addresses of a host and family.
const MAX_ADDRESSES: usize = 8;
/// Most targets.
const MAX_TARGETS: usize = 16;

/// A way to reach a SIP server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream within TLS.
    Tls,
}

impl Way {
    /// The port where none is named (RFC 3261 §19.1.2).
    const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }

    /// The name of its SRV records (RFC 3263 §4.1).
    fn service(self, host: &str) -> String {
        match self {
            Self::Udp => format!("_sip._udp.{host}"),
            Self::Tcp => format!("_sip._tcp.{host}"),
            Self::Tls => format!("_sips._tcp.{host}"),
        }
    }

    /// The way of a NAPTR record's service.
    fn of_service(service: &str) -> Option<Self> {
        let is = |name: &str| service.eq_ignore_ascii_case(name);
        match () {
            () if is("SIP+D2U") => Some(Self::Udp),
            () if is("SIP+D2T") => Some(Self::Tcp),
            () if is("SIPS+D2T") => Some(Self::Tls),
            () => None,
        }
    }
}

/// The IP versions that we can send by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

impl Families {
    /// Those of some addresses of ours.
    #[must_use]
    pub fn of(ours: &[SocketAddr]) -> Self {
        Self { v4: ours.iter().any(SocketAddr::is_ipv4), v6: ours.iter().any(SocketAddr::is_ipv6) }
    }

    const fn has(self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The host of a URI: a name or an address.
    pub host: String,
    /// Its port, where one is written.
    pub port: Option<u16>,
    /// The transport, where one is asked for.
    pub way: Option<Way>,
    /// Nothing but TLS will do (`sips:`).
    pub is_sips: bool,
    /// What we can send by.
    pub families: Families,
}

impl Wanted {
    /// The ways that will do, the default first: where nothing says which, UDP (RFC 3263 §4.1).
    fn ways(&self) -> &'static [Way] {
        match (self.way, self.is_sips) {
            (Some(Way::Udp), false) => &[Way::Udp],
            (Some(Way::Tcp), false) => &[Way::Tcp],
            (Some(Way::Tls), _) | (_, true) => &[Way::Tls],
            // TLS needs to know whom to believe, which nobody said
            (None, false) => &[Way::Udp, Way::Tcp],
        }
    }

    fn default_way(&self) -> Way {
        self.ways().first().copied().unwrap_or(Way::Udp)
    }
}

/// A place to send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// How.
    pub way: Way,
    /// Where.
    pub address: SocketAddr,
}

/// A host that is to have addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Host {
    way: Way,
    name: String,
    port: u16,
    /// The same for hosts of equal standing; a lower one goes first.
    rank: usize,
}

#[derive(Debug)]
enum Phase {
    /// The domain is asked which services it has.
    Naptr,
    /// These services are asked for their hosts.
    Services(Vec<(Way, String)>),
    /// These hosts are asked for their addresses.
    Hosts(Vec<Host>),
    Done(Result<Vec<Located>, Missing>),
}

/// The machine.
#[derive(Debug)]
pub(super) struct Locate {
    wanted: Wanted,
    seed: Seed,
    phase: Phase,
    questions: VecDeque<Question>,
    /// Those of the phase; none: not answered yet.
    answers: BTreeMap<Question, Option<Answer>>,
    /// The domain names services, and none but by TLS, which will not do.
    is_by_tls_alone: bool,
}

impl Locate {
    /// Begins; `own` are the addresses that this machine itself has for the name.
    pub(super) fn start(wanted: Wanted, own: Option<Vec<IpAddr>>, seed: Seed) -> Self {
        let name = plain_name(&wanted.host);
        let mut locate = Self {
            phase: Phase::Naptr,
            wanted: Wanted { host: name.clone(), ..wanted },
            seed,
            questions: VecDeque::new(),
            answers: BTreeMap::new(),
            is_by_tls_alone: false,
        };
        let numeric = name.parse::<IpAddr>().ok().map(|ip| vec![ip]);
        if let Some(own) = numeric.or(own) {
            let host = locate.host_itself(None);
            locate.done(&[host], |_| own.clone());
        } else if locate.wanted.port.is_some() || !name.contains('.') {
            locate.ask_hosts(vec![locate.host_itself(None)]);
        } else if let Some(way) = locate.wanted.way {
            locate.ask_services(vec![(way, way.service(&name))]);
        } else {
            locate.ask([Question::new(&name, Kind::Naptr)]);
        }
        locate
    }

    /// The next question to ask.
    pub(super) fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// Whether there are some.
    pub(super) fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Whether nothing is asked after what is being asked now.
    pub(super) const fn is_last(&self) -> bool {
        matches!(self.phase, Phase::Hosts(_) | Phase::Done(_))
    }

    /// An answer to one of them.
    pub(super) fn handle_answer(&mut self, question: &Question, answer: Answer) {
        match self.answers.get_mut(question) {
            Some(open @ None) => *open = Some(answer),
            _ => return,
        }
        if self.answers.values().all(Option::is_some) {
            self.go_on();
        }
    }

    /// No more answers come; what is asked from now on is answered at once or not at all.
    pub(super) fn give_up(&mut self) {
        let open = self.answers.iter().filter(|(_, answer)| answer.is_none());
        for question in open.map(|(question, _)| question.clone()).collect::<Vec<_>>() {
            self.handle_answer(&question, Err(Missing::Failed));
        }
    }

    /// The places, the best first; none before all is answered.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn result(&self) -> Option<Result<&[Located], Missing>> {
        match &self.phase {
            Phase::Done(result) => Some(result.as_deref().map_err(|missing| *missing)),
            _ => None,
        }
    }

    fn ask(&mut self, questions: impl IntoIterator<Item = Question>) {
        self.answers.clear();
        for question in questions {
            if self.answers.insert(question.clone(), None).is_none() {
                self.questions.push_back(question);
            }
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        self.answers.get(question).cloned().flatten().unwrap_or(Err(Missing::Failed))
    }

    fn go_on(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Naptr) {
            Phase::Naptr => {
                let question = Question::new(&self.wanted.host, Kind::Naptr);
                let answer = self.answer(&question);
                let named = self.named_services(&answer, self.wanted.ways());
                let is_plain = self.wanted.way.is_none() && !self.wanted.is_sips;
                self.is_by_tls_alone =
                    is_plain && named.is_empty() && !self.named_services(&answer, &[Way::Tls]).is_empty();
                let host = &self.wanted.host;
                let by_default = || self.wanted.ways().iter().map(|way| (*way, way.service(host))).collect();
                self.ask_services(if named.is_empty() { by_default() } else { named });
            }
            Phase::Services(services) => self.choose_service(&services),
            Phase::Hosts(hosts) => {
                let found = |host: &Host| self.addresses_of(&host.name);
                let addresses: BTreeMap<String, Vec<IpAddr>> =
                    hosts.iter().map(|host| (host.name.clone(), found(host))).collect();
                self.done(&hosts, |host| addresses.get(&host.name).cloned().unwrap_or_default());
            }
            done @ Phase::Done(_) => self.phase = done,
        }
    }

    /// The services of NAPTR records by one of these ways, of the lowest order that has one (RFC 3403 §4.1, RFC 3263 §4.1).
    fn named_services(&self, answer: &Answer, ways: &[Way]) -> Vec<(Way, String)> {
        let fitting = |record: &Record| {
            let Record::Naptr(Naptr { order, preference, flags, services, replacement }) = record else {
                return None;
            };
            let way = Way::of_service(services).filter(|way| ways.contains(way))?;
            let is_usable = flags.eq_ignore_ascii_case("s") && !replacement.is_empty();
            is_usable.then(|| (*order, *preference, way, replacement.clone()))
        };
        let records: Arc<[Record]> = answer.clone().unwrap_or_else(|_| [].into());
        let mut fitting: Vec<_> = records.iter().filter_map(fitting).collect();
        fitting.sort();
        let order = fitting.first().map(|(order, ..)| *order);
        let same = fitting.into_iter().filter(|(o, ..)| Some(*o) == order);
        same.take(MAX_SERVICES).map(|(_, _, way, name)| (way, name)).collect()
    }

    fn ask_services(&mut self, services: Vec<(Way, String)>) {
        self.ask(services.iter().map(|(_, name)| Question::new(name, Kind::Srv)).collect::<Vec<_>>());
        self.phase = Phase::Services(services);
    }

    /// The first service that has hosts; where none has any, the name itself has addresses.
    fn choose_service(&mut self, services: &[(Way, String)]) {
        let mut is_denied = false;
        for (way, name) in services {
            let Ok(records) = self.answer(&Question::new(name, Kind::Srv)) else { continue };
            let hosts = self.hosts_of(*way, &records);
            if !hosts.is_empty() {
                return self.ask_hosts(hosts);
            }
            // a single record without a host says: not here (RFC 2782)
            is_denied = true;
        }
        if is_denied {
            self.phase = Phase::Done(Err(self.absent()));
            return;
        }
        let way = services.first().map(|(way, _)| *way);
        self.ask_hosts(vec![self.host_itself(way)]);
    }

    /// The hosts of SRV records, in the order to try them.
    fn hosts_of(&mut self, way: Way, records: &[Record]) -> Vec<Host> {
        let usable = records.iter().filter_map(|record| match record {
            Record::Srv(srv) if !srv.target.is_empty() && srv.port > 0 => {
                Some((srv.priority, srv.weight, srv.clone()))
            }
            _ => None,
        });
        let mut things: Vec<_> = usable.collect();
        // which of too many are left out is no matter of chance: it shall not change from call to call
        things.sort_by_key(|(priority, weight, srv)| (*priority, Reverse(*weight), srv.clone()));
        things.truncate(MAX_HOSTS);
        let host = |(rank, Srv { target, port, .. })| Host { way, name: plain_name(&target), port, rank };
        by_weight(things, &mut self.seed).into_iter().map(host).collect()
    }

    /// The name that was asked for, as a host.
    fn host_itself(&self, way: Option<Way>) -> Host {
        let way = self.wanted.way.or(way).unwrap_or_else(|| self.wanted.default_way());
        let port = self.wanted.port.unwrap_or_else(|| way.default_port());
        Host { way, name: self.wanted.host.clone(), port, rank: 0 }
    }

    fn ask_hosts(&mut self, hosts: Vec<Host>) {
        let families = self.wanted.families;
        let kinds = [(families.v6, Kind::Aaaa), (families.v4, Kind::A)];
        let questions = hosts.iter().filter(|host| host.name.parse::<IpAddr>().is_err()).flat_map(|host| {
            let kinds = kinds.iter().filter(|(is_served, _)| *is_served);
            kinds.map(|(_, kind)| Question::new(&host.name, *kind))
        });
        let questions: Vec<_> = questions.collect();
        self.ask(questions);
        self.phase = Phase::Hosts(hosts);
        if self.answers.is_empty() {
            self.go_on();
        }
    }

    /// IPv6 goes first (RFC 7984 §4, RFC 6724 §2.1).
    fn addresses_of(&self, name: &str) -> Vec<IpAddr> {
        if let Ok(ip) = name.parse() {
            return vec![ip];
        }
        let of = |kind| {
            let records = self.answer(&Question::new(name, kind)).unwrap_or_else(|_| [].into());
            let address = |record: &Record| match record {
                Record::Address(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(*ip),
                _ => None,
            };
            records.iter().filter_map(address).take(MAX_ADDRESSES).collect::<Vec<_>>()
        };
        [of(Kind::Aaaa), of(Kind::A)].concat()
    }

    /// Ends with the addresses of these hosts. Those that we can send to count; where there is none of the kind, the first
    /// of all, and the failure will name it.
    fn done(&mut self, hosts: &[Host], addresses: impl Fn(&Host) -> Vec<IpAddr>) {
        let places = |hosts: &[&Host]| {
            let mut all: Vec<Located> = Vec::new();
            for host in hosts {
                for ip in addresses(host) {
                    let place = Located { way: host.way, address: SocketAddr::new(ip, host.port) };
                    if !all.contains(&place) {
                        all.push(place);
                    }
                }
            }
            all
        };
        // here, too, chance has no say in what is left out
        let mut by_rank: Vec<&Host> = hosts.iter().collect();
        by_rank.sort_by_key(|host| (host.rank, &host.name, host.port));
        let mut kept = places(&by_rank);
        kept.retain(|place| self.wanted.families.has(place.address.ip()));
        kept.truncate(MAX_TARGETS);
        let all = places(&hosts.iter().collect::<Vec<_>>());
        let mut served: Vec<Located> = all.iter().filter(|place| kept.contains(place)).copied().collect();
        if served.is_empty() {
            served.extend(all.into_iter().take(1));
        }
        let is_failure = self.answers.values().any(|a| matches!(a, Some(Err(Missing::Failed))));
        self.phase = Phase::Done(match served.is_empty() {
            false => Ok(served),
            true if is_failure => Err(Missing::Failed),
            true => Err(self.absent()),
        });
    }

    const fn absent(&self) -> Missing {
        if self.is_by_tls_alone { Missing::OnlyByTls } else { Missing::Absent }
    }
}

#[cfg(test)]
#[path = "locate_tests.rs"]
mod tests;
