//! Keeps a trunk registered and knows whether its PBX is there.

use super::super::config::DEFAULT_EXPIRES;
use super::super::config::Place;
use super::super::targets::Target;
use super::Trunk;
use super::finder::{Finder, Lost};
use crate::base::{Excerpt, Seed};
use crate::sip::io::{Locate, Reach, SipStack};
use crate::sip::qualify::Reachability;
use crate::sip::register::{RegisterConfig, RegisterFailure, RegisterState};
use crate::sip::{Hop, NameAddr, SipUri};
use crate::ua::Login;
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// Where a trunk's registrar is: of several places always the same, as long as somebody is there, since a refresh is no
/// use to another one.
struct Registrar {
    trunk: Arc<Trunk>,
    finder: Arc<Finder>,
    /// Decides among equals, once and for all.
    seed: u64,
}

#[async_trait]
impl Locate for Registrar {
    async fn locate(&self) -> Result<Reach, RegisterFailure> {
        // a failure shows in the state, once; a log line for each attempt would be thousands a day
        let found = self.finder.find(&self.trunk, Seed::from_number(self.seed)).await;
        let found = found.map_err(|Lost { host, why }| RegisterFailure::Unlocated {
            host: host.into(),
            why: why.into(),
        })?;
        let place = found.first().ok_or(RegisterFailure::Unreachable)?;
        let host = self.trunk.places.get(place.place).ok_or(RegisterFailure::Unreachable)?;
        let port = registrar_port(&self.trunk, host);
        Ok(Reach {
            hop: place.hop,
            host: Some((host.sip_host(), port)),
            routes: self.trunk.routes(),
            limit: (found.len() > 1).then_some(self.trunk.failover_after),
            external: self.trunk.external,
        })
    }

    fn failed(&self, hop: Hop) {
        self.trunk.targets().failed(Instant::now(), hop, None);
    }
}

/// Looks whether somebody is at each place of a trunk.
struct Watch {
    trunk: Arc<Trunk>,
    sip: Arc<SipStack>,
    interval: Duration,
    places: BTreeMap<Hop, (Reachability, AbortHandle)>,
    news: mpsc::Sender<(Hop, Reachability)>,
    tasks: JoinSet<()>,
}

impl Watch {
    fn new(trunk: &Arc<Trunk>, sip: &Arc<SipStack>, interval: Duration) -> (Self, News) {
        let (news, heard) = mpsc::channel(NEWS);
        let (trunk, sip, tasks) = (trunk.clone(), sip.clone(), JoinSet::new());
        (Self { trunk, sip, interval, places: BTreeMap::new(), news, tasks }, heard)
    }

    /// These are the places now. True when some are not what they were.
    fn set(&mut self, found: &[Target]) -> bool {
        let is_there = |hop: &Hop| found.iter().any(|target| target.hop == *hop);
        let before = self.places.len();
        let is_same = before == found.len() && self.places.keys().all(is_there);
        self.places.retain(|hop, (_, task)| {
            let stays = is_there(hop);
            if !stays {
                task.abort();
            }
            stays
        });
        for target in found {
            if self.places.contains_key(&target.hop) {
                continue;
            }
            let place = self.trunk.places.get(target.place).filter(|_| self.trunk.proxy.is_some());
            let reach = Reach {
                host: place.map(|place| (place.sip_host(), place.uri_port(self.trunk.transport))),
                routes: self.trunk.routes(),
                external: self.trunk.external,
                ..Reach::from(target.hop)
            };
            let mut reached = self.sip.qualify(Arc::new(reach), asker(&self.trunk), self.interval);
            let (hop, news) = (target.hop, self.news.clone());
            let task = self.tasks.spawn(async move {
                while reached.changed().await.is_ok() {
                    let state = *reached.borrow_and_update();
                    if news.send((hop, state)).await.is_err() {
                        return;
                    }
                }
            });
            self.places.insert(target.hop, (Reachability::Unknown, task));
        }
        // those that ended
        while self.tasks.try_join_next().is_some() {}
        self.judge();
        before > 0 && !is_same
    }

    /// News of a place. True when it came or went.
    fn hear(&mut self, hop: Hop, state: Reachability) -> bool {
        let several = self.places.len() > 1;
        let Some((known, _)) = self.places.get_mut(&hop) else { return false };
        let before = std::mem::replace(known, state);
        let (trunk, address) = (&self.trunk.name, hop.address);
        match (before, state) {
            (Reachability::Up | Reachability::Unknown, Reachability::Down) => {
                self.trunk.targets().set_down(hop);
                if several {
                    warn!(trunk, %address, "nobody answers at one of the trunk's addresses: calls go to the others");
                }
            }
            (_, Reachability::Up) => {
                self.trunk.targets().answered(hop);
                if several && before == Reachability::Down {
                    info!(trunk, %address, "one of the trunk's addresses answers again");
                }
            }
            _ => {}
        }
        self.judge();
        before != Reachability::Unknown && before != state
    }

    /// A trunk is down when nobody answers at any of its places.
    fn judge(&self) {
        let mut states = self.places.values().map(|(state, _)| *state);
        if states.clone().any(|state| state == Reachability::Up) {
            self.trunk.set_down(false);
        } else if states.all(|state| state == Reachability::Down) {
            self.trunk.set_down(true);
        }
    }
}

type News = mpsc::Receiver<(Hop, Reachability)>;

/// News of places that may wait.
const NEWS: usize = 32;
/// How often DNS is asked where the trunk is now; mostly the cache answers.
const LOOK: Duration = Duration::from_secs(5);

/// Runs until the stack ends.
pub(super) async fn look_after(trunk: Arc<Trunk>, lines: BTreeMap<String, Login>, finder: Arc<Finder>) {
    let sip = finder.sip.clone();
    let registrar = || {
        let seed = finder.fork_seed().next_u64();
        Arc::new(Registrar { trunk: trunk.clone(), finder: finder.clone(), seed })
    };
    let own = trunk.register.and_then(|expires| register_config(&trunk, expires));
    let own = own.map(|config| sip.register(config, registrar()));
    let mut registered = own.as_ref().map(|r| r.state());
    for (own, user) in own.iter().zip(&trunk.user) {
        tokio::spawn(follow_way(trunk.clone(), user.clone(), own.service_route()));
    }
    let lines: Vec<_> = lines
        .iter()
        .map(|(account, login)| {
            let registration = sip.register(line_config(&trunk, login), registrar());
            tokio::spawn(follow_way(trunk.clone(), login.user.clone(), registration.service_route()));
            tokio::spawn(watch_line(
                trunk.clone(),
                account.clone(),
                login.user.clone(),
                registration.state(),
            ));
            registration
        })
        .collect();
    let (mut watch, mut heard) = match trunk.qualify {
        Some(interval) => {
            let (watch, heard) = Watch::new(&trunk, &sip, interval);
            (Some(watch), Some(heard))
        }
        None => (None, None),
    };
    // a state that came before the first wait is news too
    registered.iter_mut().for_each(watch::Receiver::mark_changed);
    let mut is_registered = false;
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // addresses stay what they are
    let is_fixed = trunk.places.iter().chain(&trunk.proxy).all(|place| place.ip().is_some());
    let mut is_found = false;
    loop {
        let was_down = trunk.is_down();
        let mut has_changed = false;
        // all arms only wait for news; what was told before the end is heard before it
        tokio::select! {
            biased;
            state = next(&mut registered) => {
                let was_registered = is_registered;
                is_registered = matches!(state, Some(RegisterState::Registered { .. }));
                // registrars grant a second more or less each time; and who never was registered does not cease to be
                let is_news = match state {
                    Some(RegisterState::Registered { .. } | RegisterState::Closed) => was_registered != is_registered,
                    _ => true,
                };
                if is_news {
                    tell(&trunk, &state);
                }
            }
            Some((hop, state)) = heard_of(&mut heard) => {
                has_changed = watch.as_mut().is_some_and(|watch| watch.hear(hop, state));
            }
            _ = look.tick(), if !(is_fixed && is_found) => {
                let found = finder.find(&trunk, finder.fork_seed()).await;
                is_found = found.is_ok();
                has_changed =
                    watch.as_mut().is_some_and(|watch| watch.set(found.as_deref().unwrap_or_default()));
            }
            () = sip.ended() => return,
        }
        match (was_down, trunk.is_down()) {
            (false, true) => warn!(trunk = trunk.name, "the trunk is down: calls to it fail at once"),
            (true, false) => info!(trunk = trunk.name, "the trunk is up again"),
            _ => {}
        }
        if has_changed && !trunk.is_down() {
            // it may have forgotten us, or another place is the registrar now
            for registration in own.iter().chain(&lines) {
                registration.refresh().await;
            }
        }
    }
}

/// The next news of a place; never, where none is watched.
async fn heard_of(heard: &mut Option<News>) -> Option<(Hop, Reachability)> {
    match heard {
        Some(heard) => heard.recv().await,
        None => std::future::pending().await,
    }
}

/// Tells of an account's extension, until the stack ends.
async fn watch_line(
    trunk: Arc<Trunk>,
    account: String,
    line: String,
    mut registered: watch::Receiver<RegisterState>,
) {
    registered.mark_changed();
    let mut was_registered = false;
    while registered.changed().await.is_ok() {
        let state = registered.borrow_and_update().clone();
        let is_registered = matches!(state, RegisterState::Registered { .. });
        match &state {
            RegisterState::Registered { .. } if !was_registered => {
                info!(trunk = trunk.name, account, line, "an account's extension is registered at the PBX");
            }
            RegisterState::Failed(why) => {
                warn!(trunk = trunk.name, account, line, %why, "an account's extension is not registered; it is tried again");
            }
            _ => {}
        }
        was_registered = is_registered;
    }
}

/// Keeps the way that requests of this user go (RFC 3608 §6.1), until the stack ends.
async fn follow_way(trunk: Arc<Trunk>, user: String, mut way: watch::Receiver<Vec<NameAddr>>) {
    while way.changed().await.is_ok() {
        let way = way.borrow_and_update().clone();
        if way.is_empty() {
            info!(trunk = trunk.name, user, "calls go no special way any more");
            trunk.service_routes().remove(&user);
        } else {
            let routes = way.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            info!(trunk = trunk.name, user, service_route = %Excerpt(&routes), "calls go the way that the registrar names");
            trunk.service_routes().insert(user.clone(), way);
        }
    }
}

/// The next news; none, and no more of it, when its source has ended.
async fn next<T: Clone>(news: &mut Option<watch::Receiver<T>>) -> Option<T> {
    let Some(receiver) = news else { return std::future::pending().await };
    if receiver.changed().await.is_ok() {
        return Some(receiver.borrow_and_update().clone());
    }
    *news = None;
    None
}

/// Who asks: the trunk's user, by which the PBX knows us.
fn asker(trunk: &Trunk) -> Option<NameAddr> {
    trunk.user.as_deref().map(|user| NameAddr::new(SipUri::new(Some(user), trunk.sip_host(), None)))
}

fn tell(trunk: &Trunk, state: &Option<RegisterState>) {
    match state {
        Some(RegisterState::Registered { expires }) => {
            info!(trunk = trunk.name, expires_s = expires.as_secs(), "registered at the trunk's PBX");
        }
        Some(RegisterState::Failed(why)) => {
            warn!(trunk = trunk.name, %why, "not registered at the trunk's PBX; it is tried again");
        }
        Some(RegisterState::Closed) => info!(trunk = trunk.name, "no longer registered at the trunk's PBX"),
        Some(RegisterState::Registering) | None => {}
    }
}

/// What a trunk registers; none without a user, which its configuration does not allow.
fn register_config(trunk: &Trunk, expires: Duration) -> Option<RegisterConfig> {
    let login = Login { user: trunk.user.clone()?, credentials: trunk.credentials() };
    Some(RegisterConfig { expires, ..line_config(trunk, &login) })
}

/// The usual port goes without saying, and some registrars compare domains as text.
fn registrar_port(trunk: &Trunk, place: &Place) -> Option<u16> {
    place.port.filter(|p| *p != trunk.transport.default_port())
}

/// What registers a user of the PBX.
fn line_config(trunk: &Trunk, login: &Login) -> RegisterConfig {
    let port = trunk.places.first().and_then(|place| registrar_port(trunk, place));
    RegisterConfig {
        registrar: SipUri::new(None, trunk.sip_host(), port).by(trunk.transport),
        aor: SipUri::new(Some(&login.user), trunk.sip_host(), None),
        contact_user: Some(login.user.clone()),
        credentials: login.credentials.clone(),
        expires: trunk.register.unwrap_or(DEFAULT_EXPIRES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Section, Services};
    use crate::net::dns::io::Resolver;
    use crate::net::dns::{DnsConfig, Missing};
    use crate::sip::io::StackConfig;
    use crate::sip::{HeaderName, Limits, Message, Method, Request, StatusCode, parse};
    use serde_json::json;
    use std::net::SocketAddr;
    use tokio::net::UdpSocket;

    async fn next_request(socket: &UdpSocket) -> (Request, SocketAddr) {
        let mut buffer = [0; 4_096];
        let received = tokio::time::timeout(Duration::from_secs(15), socket.recv_from(&mut buffer));
        let (n, from) = received.await.expect("a request comes").unwrap();
        match parse(&buffer[..n], &Limits::UDP).unwrap() {
            Message::Request(r) => (r, from),
            Message::Response(r) => panic!("a request was expected, not {}", r.status),
        }
    }

    /// Answers until a REGISTER came.
    async fn registered(socket: &UdpSocket) -> Request {
        loop {
            let (r, from) = next_request(socket).await;
            socket.send_to(&r.response(StatusCode::OK, Some("t")).to_bytes(), from).await.unwrap();
            if r.method == Method::REGISTER {
                return r;
            }
        }
    }

    /// Answers OPTIONS until the task is ended.
    fn answering(socket: UdpSocket) -> AbortHandle {
        tokio::spawn(async move {
            loop {
                let (r, from) = next_request(&socket).await;
                socket.send_to(&r.response(StatusCode::OK, Some("t")).to_bytes(), from).await.unwrap();
            }
        })
        .abort_handle()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_name_that_cannot_be_looked_up_is_why_we_are_not_registered_and_the_server_is_named() {
        // nobody listens there any more
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let value = json!({"host": "pbx.test", "user": "edge", "register": true, "qualify": "off"});
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let resolver = Arc::new(Resolver::new(DnsConfig::of(vec![server])));
        let services = Services::default().with(sip).with(resolver);
        let finder = Arc::new(Finder::new(&services).unwrap());
        let registrar = Registrar { trunk: trunk.clone(), finder, seed: 1 };
        let why = registrar.locate().await.unwrap_err();
        assert_eq!(
            why.to_string(),
            format!("pbx.test cannot be looked up: no usable answer from the name server {server}")
        );
        assert!(!trunk.lookups().heard("pbx.test", Some(Missing::Failed)), "the log was told");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_hosts_the_one_that_answers_is_called_and_the_trunk_is_down_when_neither_does() {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            sockets.push(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses: Vec<SocketAddr> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
        let hosts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let value = json!({"hosts": hosts, "qualify": "1s"});
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let finder = Arc::new(Finder::new(&Services::default().with(sip.clone())).unwrap());
        let tasks: Vec<AbortHandle> = sockets.into_iter().map(answering).collect();
        let _task = tokio::spawn(look_after(trunk.clone(), BTreeMap::new(), finder.clone()));
        let first = async || {
            let found = finder.find(&trunk, Seed::from_number(1)).await.unwrap();
            assert_eq!(found.len(), 2);
            found[0].hop.address
        };
        assert_eq!(first().await, addresses[0]);
        tasks[0].abort();
        while first().await != addresses[1] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!trunk.is_down());
        tasks[1].abort();
        while !trunk.is_down() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let back = answering(UdpSocket::bind(addresses[0]).await.unwrap());
        while trunk.is_down() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(first().await, addresses[0]);
        back.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trunk_is_down_while_its_pbx_is_gone_and_registered_anew_when_it_is_back() {
        let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = pbx.local_addr().unwrap();
        let value = json!({"host": address.to_string(), "user": "edge", "register": true, "qualify": "1s"});
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let finder = Finder::new(&Services::default().with(sip.clone())).unwrap();
        let task = tokio::spawn(look_after(trunk.clone(), BTreeMap::new(), Arc::new(finder)));
        let r = registered(&pbx).await;
        assert_eq!(r.headers.get(&HeaderName::To), Some("<sip:edge@127.0.0.1>"));
        assert_eq!(r.uri.to_string(), format!("sip:{address}"));
        // up: an OPTIONS was answered
        let (r, from) = next_request(&pbx).await;
        assert_eq!(r.headers.from().unwrap().uri.to_string(), "sip:edge@127.0.0.1", "the PBX knows who asks");
        pbx.send_to(&r.response(StatusCode::OK, Some("t")).to_bytes(), from).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!trunk.is_down());
        drop(pbx);
        while !trunk.is_down() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pbx = UdpSocket::bind(address).await.unwrap();
        registered(&pbx).await;
        assert!(!trunk.is_down());
        let ending = sip.clone();
        let ending = tokio::spawn(async move { ending.shutdown(Duration::from_secs(2), None).await });
        assert_eq!(registered(&pbx).await.headers.get(&HeaderName::Expires), Some("0"));
        ending.await.unwrap();
        task.await.unwrap();
    }
}
