//! Tells of the PBXs that register here, ends bindings in time, and watches whether somebody is where they lead.

use super::{Bindings, Kept, Ring, Trunk};
use crate::base::Excerpt;
use crate::sip::io::{Locate, Reach, SipStack};
use crate::sip::qualify::Reachability;
use crate::sip::register::RegisterFailure;
use crate::sip::registrar::{Binding, Change};
use crate::sip::{Hop, NameAddr, SipUri};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// Runs as long as the program; `registered` tells of every REGISTER.
pub(super) async fn look_after(
    trunks: Vec<Arc<Trunk>>,
    bindings: Bindings,
    registered: Arc<Notify>,
    sip: Arc<SipStack>,
    mut kept: Option<Kept>,
) {
    let mut watch = Watch { bindings: bindings.clone(), sip, present: BTreeMap::new() };
    loop {
        let (changes, next) = {
            let mut registrar = bindings.lock();
            registrar.handle_timeout(Instant::now());
            let changes: Vec<_> = std::iter::from_fn(|| registrar.poll_output()).collect();
            (changes, registrar.poll_timeout())
        };
        for (name, change) in changes {
            let rings_several = trunks.iter().any(|t| t.name == name && t.ring != Ring::First);
            let places = bindings.lock().bindings(&name).len();
            tell(&name, &change, rings_several && places > 1);
        }
        trunks.iter().filter(|trunk| trunk.takes_registration).for_each(|trunk| watch.follow(trunk));
        let again = match &mut kept {
            Some(kept) => kept.keep(&bindings).await,
            None => None,
        };
        let until = async {
            match next.into_iter().chain(again).min() {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = registered.notified() => {}
            () = until => {}
        }
    }
}

/// A place that a PBX registered at.
struct Present {
    trunk: String,
    /// It shall not wait behind strangers, and keeps its connection.
    ip: IpAddr,
    /// Asks now and then whether somebody is there.
    asks: Option<JoinHandle<()>>,
}

/// Looks after all places that PBXs registered at.
struct Watch {
    bindings: Bindings,
    sip: Arc<SipStack>,
    /// By [`Binding::id`].
    present: BTreeMap<u64, Present>,
}

impl Watch {
    /// Takes note of the places that a trunk's PBX is registered at now.
    fn follow(&mut self, trunk: &Arc<Trunk>) {
        let places: Vec<Binding> = {
            let registrar = self.bindings.lock();
            registrar.ranked(Instant::now(), &trunk.name).into_iter().cloned().collect()
        };
        let before = self.present.len();
        self.present.retain(|id, present| {
            if present.trunk != trunk.name || places.iter().any(|place| place.id() == *id) {
                return true;
            }
            self.sip.distrust(present.ip);
            present.asks.iter().for_each(JoinHandle::abort);
            trunk.set_away(*id, false);
            false
        });
        let mut has_changed = self.present.len() < before;
        for place in &places {
            if self.present.contains_key(&place.id()) {
                continue;
            }
            let ip = place.flow.path.remote.ip();
            self.sip.trust(ip);
            let asks = ask(trunk, place, &self.sip, &self.bindings);
            self.present.insert(place.id(), Present { trunk: trunk.name.clone(), ip, asks });
            has_changed = true;
        }
        if has_changed {
            judge(trunk, &self.bindings);
        }
    }
}

/// A trunk is down when its PBX is registered, and answers nowhere.
fn judge(trunk: &Trunk, bindings: &Bindings) {
    let is_down = {
        let registrar = bindings.lock();
        let places = registrar.ranked(Instant::now(), &trunk.name);
        !places.is_empty() && places.iter().all(|place| trunk.is_away(place.id()))
    };
    match (trunk.is_down(), is_down) {
        (false, true) => {
            warn!(
                trunk = trunk.name,
                "the trunk's PBX is registered and does not answer: calls to it fail at once"
            );
        }
        (true, false) => {
            info!(trunk = trunk.name, "somebody answers again where the trunk's PBX is registered")
        }
        _ => {}
    }
    trunk.set_down(is_down);
}

/// Where a registered PBX is called now.
pub(super) fn hop(trunk: &Trunk, binding: &Binding, sip: &SipStack) -> Option<Hop> {
    binding.hop(trunk.is_symmetric, |connection| sip.is_connected(connection))
}

/// A registered PBX, which is elsewhere once its connection has closed.
struct Place {
    trunk: Arc<Trunk>,
    binding: Binding,
    sip: SipStack,
}

#[async_trait]
impl Locate for Place {
    async fn locate(&self) -> Result<Reach, RegisterFailure> {
        let hop = hop(&self.trunk, &self.binding, &self.sip).ok_or(RegisterFailure::Unreachable)?;
        Ok(Reach { external: self.trunk.external, ..Reach::from(hop) })
    }
}

/// A PBX that ended without a word is registered for a while yet; its calls shall not wait for nobody to answer.
fn ask(trunk: &Arc<Trunk>, binding: &Binding, sip: &SipStack, bindings: &Bindings) -> Option<JoinHandle<()>> {
    let user = trunk.user.as_deref();
    let asker = user.map(|user| NameAddr::new(SipUri::new(Some(user), binding.contact.host.clone(), None)));
    let place = Place { trunk: trunk.clone(), binding: binding.clone(), sip: sip.clone() };
    let mut reached = sip.qualify(Arc::new(place), asker, trunk.qualify?);
    let (trunk, bindings, id) = (trunk.clone(), bindings.clone(), binding.id());
    let contact = binding.contact.to_string();
    Some(tokio::spawn(async move {
        while reached.changed().await.is_ok() {
            let is_away = *reached.borrow_and_update() == Reachability::Down;
            if is_away != trunk.is_away(id) && bindings.lock().bindings(&trunk.name).len() > 1 {
                let (trunk, contact) = (&trunk.name, Excerpt(&contact));
                if is_away {
                    warn!(trunk, %contact, "nobody answers at one of the places where the PBX is registered");
                } else {
                    info!(trunk, %contact, "somebody answers again at one of the places where the PBX is registered");
                }
            }
            trunk.set_away(id, is_away);
            judge(&trunk, &bindings);
        }
    }))
}

/// `rings_together`: there are several places, and calls do not go to one of them alone.
fn tell(trunk: &str, change: &Change, rings_together: bool) {
    let line = |binding: &Binding, what: &str| {
        let contact = binding.contact.to_string();
        let (transport, source) = (binding.flow.transport.as_str(), binding.flow.path.remote);
        info!(trunk, contact = %Excerpt(&contact), %source, transport, "{what}");
    };
    match change {
        Change::Registered(binding) => line(binding, "the trunk's PBX registered here"),
        Change::Moved(binding) if rings_together => {
            line(binding, "the trunk's PBX registered at another place: calls ring there too");
        }
        Change::Moved(binding) => line(binding, "the trunk's PBX registered elsewhere: calls go there now"),
        Change::Removed => {
            info!(trunk, "the trunk's PBX took its registration away: calls to it fail at once")
        }
        Change::Expired => {
            warn!(trunk, "the trunk's PBX did not register again in time: calls to it fail at once")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, Legs, TrunkDialer};
    use super::*;
    use crate::base::{Cause, Secret, Section, Seed, Services};
    use crate::call::io::Dialer;
    use crate::call::route::Target;
    use crate::edge::trunk::inbound::Inbound;
    use crate::sip::digest::{Credentials, DigestClient};
    use crate::sip::endpoint::Probe;
    use crate::sip::frame::{Frame, Framer};
    use crate::sip::io::StackConfig;
    use crate::sip::{HeaderName, Limits, Message, Method, Request, Response, StatusCode, Uri, parse};
    use crate::ua::Destination;
    use serde_json::json;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpStream, UdpSocket};

    /// The PBX's end, by either transport.
    enum Pbx {
        Udp(UdpSocket, SocketAddr),
        Tcp(TcpStream, Framer),
    }

    impl Pbx {
        async fn send(&mut self, bytes: &[u8]) {
            match self {
                Self::Udp(socket, to) => drop(socket.send_to(bytes, *to).await.unwrap()),
                Self::Tcp(stream, _) => stream.write_all(bytes).await.unwrap(),
            }
        }

        async fn next(&mut self) -> Message {
            let mut buffer = [0; 4_096];
            loop {
                match self {
                    Self::Udp(socket, _) => {
                        let received = tokio::time::timeout(Duration::from_secs(5), socket.recv(&mut buffer));
                        let n = received.await.expect("a message comes").unwrap();
                        return parse(&buffer[..n], &Limits::UDP).unwrap();
                    }
                    Self::Tcp(stream, framer) => {
                        if let Some(Frame::Message(bytes)) = framer.poll_frame().unwrap() {
                            return parse(&bytes, &Limits::TCP).unwrap();
                        }
                        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer));
                        let n = read.await.expect("a message comes").unwrap();
                        assert!(n > 0, "the connection stays");
                        framer.push(&buffer[..n]);
                    }
                }
            }
        }

        async fn response(&mut self, request: &Request) -> Response {
            self.send(&request.to_bytes()).await;
            match self.next().await {
                Message::Response(response) => response,
                Message::Request(r) => panic!("a response was expected, not {}", r.method),
            }
        }

        /// Registers this contact, or takes it away.
        async fn register(&mut self, n: u32, contact: &str, expires: u32) -> Response {
            let transport = if matches!(self, Self::Udp(..)) { "UDP" } else { "TCP" };
            let mut r = Request::new(Method::REGISTER, Uri::parse("sip:127.0.0.1").unwrap());
            r.headers
                .push(HeaderName::Via, format!("SIP/2.0/{transport} 127.0.0.1:9;rport;branch=z9hG4bK{n}"));
            r.headers.push(HeaderName::From, "<sip:pbx@127.0.0.1>;tag=a");
            r.headers.push(HeaderName::To, "<sip:pbx@127.0.0.1>");
            r.headers.push(HeaderName::CallId, "c");
            r.headers.push(HeaderName::CSeq, format!("{n} REGISTER"));
            r.headers.push(HeaderName::Contact, format!("<{contact}>;expires={expires}"));
            let challenge = self.response(&r).await;
            assert_eq!(challenge.status, StatusCode::UNAUTHORIZED);
            let mut client = DigestClient::new(Credentials::new("pbx", Secret::new("secret")));
            let lines = client.answer(&challenge, &[], &Method::REGISTER, "sip:127.0.0.1", "cnonce").unwrap();
            lines.into_iter().for_each(|line| r.headers.push_header(line));
            let via = format!("SIP/2.0/{transport} 127.0.0.1:9;rport;branch=z9hG4bKx{n}");
            r.headers.set(HeaderName::Via, via);
            r.headers.set(HeaderName::CSeq, format!("{} REGISTER", n + 1));
            self.response(&r).await
        }
    }

    /// A stack whose one trunk registers here.
    fn start(qualify: &str) -> (Arc<SipStack>, Arc<Trunk>, TrunkDialer) {
        start_with(qualify, json!({}))
    }

    /// The same with more keys.
    fn start_with(qualify: &str, more: serde_json::Value) -> (Arc<SipStack>, Arc<Trunk>, TrunkDialer) {
        let mut value = json!({
            "register": "accept", "inbound_user": "pbx", "inbound_password": "secret", "user": "edge", "qualify": qualify,
            "ring": "all",
        });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let (bindings, trunks) = (Bindings::default(), vec![trunk.clone()]);
        let inbound =
            Inbound::new(&trunks, Instant::now(), Seed::from_number(2)).registering(bindings.clone());
        let registered = Arc::new(Notify::new());
        tokio::spawn(look_after(trunks.clone(), bindings.clone(), registered.clone(), sip.clone(), None));
        sip.set_handler(Arc::new(Gate { inbound: Mutex::new(inbound), registered }));
        let dialer =
            TrunkDialer::new(trunks, bindings, Legs::default(), &Services::default().with(sip.clone()))
                .unwrap();
        (sip, trunk, dialer)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trunk_is_called_where_its_pbx_registered_and_down_before_and_after() {
        let (sip, trunk, dialer) = start("off");
        assert_eq!(dialer.registered(&trunk, None).err(), Some(Cause::Unreachable));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        let contact = format!("sip:s@{address};line=x");
        let bound = pbx.register(1, &contact, 300).await;
        assert_eq!((bound.status, bound.headers.contacts().unwrap().len()), (StatusCode::OK, 1));
        let Destination { hop, identity } = dialer.registered(&trunk, None).unwrap();
        assert_eq!(hop.address, address);
        assert_eq!(identity.request_uri("600").to_string(), format!("sip:600@{address};line=x"));
        assert_eq!(pbx.register(3, &contact, 0).await.headers.contacts().unwrap().len(), 0);
        assert_eq!(dialer.registered(&trunk, None).err(), Some(Cause::Unreachable));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_beyond_a_nat_is_asked_and_called_from_our_address_there() {
        let (sip, trunk, dialer) = start_with("1s", json!({"external": "203.0.113.7"}));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let port = sip.addresses()[0].port();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        pbx.register(1, &format!("sip:s@{address}"), 300).await;
        let Destination { identity, .. } = dialer.registered(&trunk, None).unwrap();
        assert_eq!(identity.external, trunk.external);
        let Message::Request(options) = pbx.next().await else { panic!("OPTIONS was expected") };
        let via = options.headers.get(&HeaderName::Via).unwrap();
        assert!(via.starts_with(&format!("SIP/2.0/UDP 203.0.113.7:{port};")), "{via}");
        let contact = format!("<sip:203.0.113.7:{port}>");
        assert_eq!(options.headers.get(&HeaderName::Contact), Some(contact.as_str()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_at_two_places_has_a_target_for_each_and_one_that_is_away_gives_way_to_the_other() {
        let (sip, trunk, dialer) = start("off");
        let target = Target { edge: "trunk", name: "pbx".into(), number: "600".into(), place: None };
        let places = || -> Vec<Option<u64>> {
            dialer.groups(&target).into_iter().flat_map(|g| g.targets).map(|t| t.place).collect()
        };
        assert_eq!(places(), [None], "who opens it hears that nobody is there");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        let (first, second) = ("127.0.0.1:5071", "127.0.0.1:5072");
        pbx.register(1, &format!("sip:s@{first}"), 300).await;
        pbx.register(3, &format!("sip:s@{second}"), 300).await;
        let [newest, other] = places()[..] else { panic!("{:?}", places()) };
        for (place, address) in [(newest, second), (other, first), (None, second)] {
            let Destination { hop, identity } = dialer.registered(&trunk, place).unwrap();
            assert_eq!(hop.address.to_string(), address);
            assert_eq!(identity.request_uri("600").to_string(), format!("sip:600@{address}"));
        }
        trunk.set_away(newest.unwrap(), true);
        assert_eq!(dialer.registered(&trunk, newest).err(), Some(Cause::Unreachable));
        for place in [other, None] {
            assert_eq!(dialer.registered(&trunk, place).unwrap().hop.address.to_string(), first);
        }
        pbx.register(5, &format!("sip:s@{first}"), 0).await;
        assert_eq!(dialer.registered(&trunk, other).err(), Some(Cause::Unreachable), "it has gone meanwhile");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_is_registered_and_gone_is_down_until_it_answers_or_registers_elsewhere() {
        let (sip, trunk, dialer) = start("1s");
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        pbx.register(1, &format!("sip:s@{address}"), 300).await;
        let Message::Request(asked) = pbx.next().await else { panic!("a request was expected") };
        assert_eq!(asked.method, Method::OPTIONS);
        let from = asked.headers.from().unwrap().uri.to_string();
        assert_eq!(from, "sip:edge@127.0.0.1", "the PBX knows who asks");
        pbx.send(&asked.response(StatusCode::OK, Some("t")).to_bytes()).await;
        drop(pbx);
        while !trunk.is_down() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(dialer.registered(&trunk, None).err(), Some(Cause::Unreachable));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        pbx.register(3, &format!("sip:s@{address}"), 300).await;
        assert!(matches!(pbx.next().await, Message::Request(r) if r.method == Method::OPTIONS));
        // it is asked a moment before it is up
        let start = Instant::now();
        while trunk.is_down() && start.elapsed() < Duration::from_secs(5) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(dialer.registered(&trunk, None).ok().map(|d| d.hop.address), Some(address));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_places_the_one_that_answers_is_called_and_the_trunk_is_up() {
        let (sip, trunk, dialer) = start("1s");
        let place = || async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            (socket.local_addr().unwrap(), Pbx::Udp(socket, sip.addresses()[0]))
        };
        let ((first, mut lives), (second, mut dies)) = (place().await, place().await);
        lives.register(1, &format!("sip:s@{first}"), 300).await;
        let Message::Request(asked) = lives.next().await else { panic!("a request was expected") };
        lives.send(&asked.response(StatusCode::OK, Some("t")).to_bytes()).await;
        dies.register(3, &format!("sip:s@{second}"), 300).await;
        drop(dies);
        // the newest is the best, and nobody is there
        tokio::spawn(async move {
            loop {
                let Message::Request(asked) = lives.next().await else { panic!("a request was expected") };
                lives.send(&asked.response(StatusCode::OK, Some("t")).to_bytes()).await;
            }
        });
        let called = || dialer.registered(&trunk, None).unwrap().hop.address;
        let start = Instant::now();
        while called() != first {
            assert!(start.elapsed() < Duration::from_secs(10), "calls still go to {}", called());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(!trunk.is_down());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_registered_by_tcp_is_called_by_that_connection_rfc_5626_5_3() {
        let (sip, trunk, dialer) = start("off");
        let stream = TcpStream::connect(sip.addresses()[0]).await.unwrap();
        let mut pbx = Pbx::Tcp(stream, Framer::new(Limits::TCP));
        // nobody listens where the contact points
        assert_eq!(pbx.register(1, "sip:s@127.0.0.1:9;transport=tcp", 300).await.status, StatusCode::OK);
        let hop = dialer.registered(&trunk, None).unwrap().hop;
        let asking = sip.clone();
        let asked = tokio::spawn(async move { asking.options(hop, Probe::default()).await });
        let Message::Request(request) = pbx.next().await else { panic!("a request was expected") };
        pbx.send(&request.response(StatusCode::OK, Some("t")).to_bytes()).await;
        assert_eq!((request.method, asked.await.unwrap()), (Method::OPTIONS, Ok(StatusCode::OK)));
        assert_eq!(sip.stats().await.connections, 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_whose_connection_has_closed_is_called_at_its_contact_and_nowhere_else() {
        for (contact, expected) in [("127.0.0.1:9", Ok("127.0.0.1:9")), ("pbx.test", Err(Cause::Unreachable))]
        {
            let (sip, trunk, dialer) = start("off");
            let stream = TcpStream::connect(sip.addresses()[0]).await.unwrap();
            let connection = stream.local_addr().unwrap();
            let mut pbx = Pbx::Tcp(stream, Framer::new(Limits::TCP));
            let bound = pbx.register(1, &format!("sip:s@{contact};transport=tcp"), 300).await;
            assert_eq!(bound.status, StatusCode::OK);
            assert_eq!(dialer.registered(&trunk, None).unwrap().hop.address, connection);
            drop(pbx);
            while sip.stats().await.connections > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let place = dialer.registered(&trunk, None).map(|d| d.hop.address.to_string());
            assert_eq!(place, expected.map(str::to_owned));
        }
    }
}
