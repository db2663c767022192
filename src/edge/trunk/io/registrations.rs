//! Tells of the PBXs that register here, and ends bindings in time.

use super::Bindings;
use crate::base::Excerpt;
use crate::sip::io::SipStack;
use crate::sip::registrar::{Binding, Change};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use tracing::{info, warn};

/// Runs as long as the program; `registered` tells of every REGISTER.
pub(super) async fn look_after(bindings: Bindings, registered: Arc<Notify>, sip: Arc<SipStack>) {
    // who is registered shall not wait behind strangers, and keeps its connection
    let mut trusted: BTreeMap<String, IpAddr> = BTreeMap::new();
    loop {
        let (changes, next) = {
            let mut registrar = bindings.lock();
            registrar.handle_timeout(Instant::now());
            let changes: Vec<_> = std::iter::from_fn(|| registrar.poll_output()).collect();
            (changes, registrar.poll_timeout())
        };
        for (trunk, change) in changes {
            tell(&trunk, &change);
            let ip = match &change {
                Change::Registered(binding) | Change::Moved(binding) => Some(binding.flow.path.remote.ip()),
                Change::Removed | Change::Expired => None,
            };
            ip.into_iter().for_each(|ip| sip.trust(ip));
            let old = match ip {
                Some(ip) => trusted.insert(trunk, ip),
                None => trusted.remove(&trunk),
            };
            old.into_iter().for_each(|ip| sip.distrust(ip));
        }
        let until = async {
            match next {
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

fn tell(trunk: &str, change: &Change) {
    let line = |binding: &Binding, what: &str| {
        let contact = binding.contact.to_string();
        let (transport, source) = (binding.flow.transport.as_str(), binding.flow.path.remote);
        info!(trunk, contact = %Excerpt(&contact), %source, transport, "{what}");
    };
    match change {
        Change::Registered(binding) => line(binding, "the trunk's PBX registered here"),
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
    use super::super::{Gate, Trunk, TrunkDialer};
    use super::*;
    use crate::base::{Cause, Secret, Section, Seed, Services};
    use crate::edge::trunk::inbound::Inbound;
    use crate::sip::digest::{Credentials, DigestClient};
    use crate::sip::endpoint::Probe;
    use crate::sip::frame::{Frame, Framer};
    use crate::sip::io::StackConfig;
    use crate::sip::{HeaderName, Limits, Message, Method, Request, Response, StatusCode, Uri, parse};
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
            let lines = client.answer(&challenge, &Method::REGISTER, "sip:127.0.0.1", "cnonce").unwrap();
            lines.into_iter().for_each(|line| r.headers.push_header(line));
            let via = format!("SIP/2.0/{transport} 127.0.0.1:9;rport;branch=z9hG4bKx{n}");
            r.headers.set(HeaderName::Via, via);
            r.headers.set(HeaderName::CSeq, format!("{} REGISTER", n + 1));
            self.response(&r).await
        }
    }

    /// A stack whose one trunk registers here.
    fn start() -> (Arc<SipStack>, Arc<Trunk>, TrunkDialer) {
        let value = json!({"register": "accept", "inbound_user": "pbx", "inbound_password": "secret"});
        let trunk =
            Arc::new(super::super::super::config::read(&Section::new("trunk.pbx", "t", value)).unwrap());
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let sip = Arc::new(SipStack::start(StackConfig::new(listen), Seed::from_number(1)).unwrap());
        let (bindings, trunks) = (Bindings::default(), vec![trunk.clone()]);
        let inbound =
            Inbound::new(&trunks, Instant::now(), Seed::from_number(2)).registering(bindings.clone());
        let registered = Arc::new(Notify::new());
        tokio::spawn(look_after(bindings.clone(), registered.clone(), sip.clone()));
        sip.set_handler(Arc::new(Gate {
            inbound: Mutex::new(inbound),
            serves: &[Method::REGISTER],
            registered,
        }));
        let dialer = TrunkDialer::new(trunks, bindings, &Services::default().with(sip.clone())).unwrap();
        (sip, trunk, dialer)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_trunk_is_called_where_its_pbx_registered_and_down_before_and_after() {
        let (sip, trunk, dialer) = start();
        assert_eq!(dialer.place(&trunk).await.err(), Some(Cause::Unreachable));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut pbx = Pbx::Udp(socket, sip.addresses()[0]);
        let contact = format!("sip:s@{address};line=x");
        let bound = pbx.register(1, &contact, 300).await;
        assert_eq!((bound.status, bound.headers.contacts().unwrap().len()), (StatusCode::OK, 1));
        let (hop, identity) = dialer.place(&trunk).await.unwrap();
        assert_eq!(hop.address, address);
        assert_eq!(identity.request_uri("600").to_string(), format!("sip:600@{address};line=x"));
        assert_eq!(pbx.register(3, &contact, 0).await.headers.contacts().unwrap().len(), 0);
        assert_eq!(dialer.place(&trunk).await.err(), Some(Cause::Unreachable));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_registered_by_tcp_is_called_by_that_connection_rfc_5626_5_3() {
        let (sip, trunk, dialer) = start();
        let stream = TcpStream::connect(sip.addresses()[0]).await.unwrap();
        let mut pbx = Pbx::Tcp(stream, Framer::new(Limits::TCP));
        // nobody listens where the contact points
        assert_eq!(pbx.register(1, "sip:s@127.0.0.1:9;transport=tcp", 300).await.status, StatusCode::OK);
        let (hop, _) = dialer.place(&trunk).await.unwrap();
        let asking = sip.clone();
        let asked = tokio::spawn(async move { asking.options(hop, Probe::default()).await });
        let Message::Request(request) = pbx.next().await else { panic!("a request was expected") };
        pbx.send(&request.response(StatusCode::OK, Some("t")).to_bytes()).await;
        assert_eq!((request.method, asked.await.unwrap()), (Method::OPTIONS, Ok(StatusCode::OK)));
        assert_eq!(sip.stats().await.connections, 1);
    }
}
