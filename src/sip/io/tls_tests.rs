//! TLS on real sockets, loopback only.

use super::super::tests::call;
use super::super::{SipStack, StackConfig};
use super::*;
use crate::base::Seed;
use crate::net::tls::Acceptor;
use crate::net::tls::fixtures::{Authority, Folder, of_its_own};
use crate::sip::Request;
use crate::sip::endpoint::{Acceptance, Probe, RequestHandler, Verdict};
use crate::sip::frame::{Frame, Framer};
use crate::sip::session::{CallEnd, CallFailure, SessionCommand, SessionEvent};
use crate::sip::transaction::Failure;
use crate::sip::{Answer, Flow, HeaderName, Method, StatusCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Takes all calls.
struct AcceptAll;

impl RequestHandler for AcceptAll {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Accept(Acceptance {
            owner: "x".into(),
            credentials: None,
            stays_on_flow: false,
            external: Default::default(),
            timers: Default::default(),
        })
    }
}

/// An authority that the stack believes, files, and a stack that has a certificate of it.
struct World {
    folder: Folder,
    authority: Authority,
    stack: SipStack,
}

impl World {
    fn new(name: &str) -> Self {
        let (folder, authority) = (Folder::new(&format!("sip-{name}")), Authority::new());
        let identity = folder.identity("edge", &authority.signs("127.0.0.1", |_| {}));
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut config = StackConfig::new(vec![any]);
        (config.tls_listen, config.identity) = (vec![any], Some(identity));
        config.handler = Arc::new(AcceptAll);
        Self { folder, authority, stack: SipStack::start(config, Seed::from_number(1)).unwrap() }
    }

    fn here(&self) -> SocketAddr {
        self.stack.tls_addresses()[0]
    }

    fn target(&self, name: &str) -> TlsTarget {
        let authorities =
            Authorities::from_file(&self.folder.file("ca.pem", &self.authority.0.pem())).unwrap();
        TlsTarget { label: "trunk.pbx".into(), name: name.into(), authorities }
    }

    /// The hop of a peer of this name.
    fn hop(&self, name: &str, address: SocketAddr) -> Hop {
        Hop { transport: self.stack.tls_peer(self.target(name)).unwrap(), address }
    }

    /// A PBX that has a certificate of this name.
    async fn pbx(&self, name: &str) -> Pbx {
        let identity = self.folder.identity("pbx", &self.authority.signs(name, |_| {}));
        Pbx::new(identity).await
    }

    /// A connection to the stack, with a certificate of ours or none.
    async fn connect(&self, own: Option<Arc<Identity>>) -> Result<Far, String> {
        let authorities = self.target("x").authorities;
        let connector = Connector::new("127.0.0.1", authorities, own).unwrap();
        let stream = TcpStream::connect(self.here()).await.unwrap();
        let local = stream.local_addr().unwrap();
        let far = connector.connect(stream).await.map_err(|error| explain(&error))?;
        Ok(Far { local: Some(local), ..Far::new(far) })
    }
}

/// The far side's listener.
struct Pbx {
    listener: TcpListener,
    acceptor: Acceptor,
    address: SocketAddr,
}

impl Pbx {
    async fn new(identity: Arc<Identity>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, acceptor: Acceptor::for_sip(identity).unwrap(), address }
    }

    async fn accept(&self) -> Far {
        let accepted = timeout(Duration::from_secs(5), self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection comes").unwrap();
        Far::new(self.acceptor.accept(stream).await.unwrap())
    }
}

#[tokio::test]
async fn a_handshake_that_is_not_done_makes_room_before_its_time_is_over() {
    let world = World::new("room");
    let connect = async |to: SocketAddr| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap()
    };
    let mut oldest = connect(world.here()).await;
    oldest.write_all(&[22, 3, 1]).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..64 {
        others.push(connect(world.stack.addresses()[0]).await);
    }
    let ended = timeout(HANDSHAKE_TIMEOUT / 2, oldest.read(&mut [0])).await.expect("it is closed");
    assert!(matches!(ended, Ok(0) | Err(_)));
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection read message by message.
struct Far {
    stream: Box<dyn Stream>,
    framer: Framer,
    /// Where it connected to us from.
    local: Option<SocketAddr>,
}

impl Far {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), framer: Framer::new(Limits::TCP), local: None }
    }

    async fn next(&mut self) -> Option<Message> {
        let mut buffer = [0; 4_096];
        loop {
            if let Some(Frame::Message(bytes)) = self.framer.poll_frame().unwrap() {
                return Some(parse(&bytes, &Limits::TCP).unwrap());
            }
            let read = timeout(Duration::from_secs(5), self.stream.read(&mut buffer)).await;
            match read.expect("a message comes") {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.framer.push(&buffer[..n]),
            }
        }
    }

    async fn request(&mut self) -> Request {
        match self.next().await {
            Some(Message::Request(r)) => r,
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    async fn status(&mut self) -> u16 {
        match self.next().await {
            Some(Message::Response(r)) => r.status.code(),
            other => panic!("a response was expected, not {other:?}"),
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Answers the next request, which must be of this method.
    async fn answers(&mut self, method: Method) -> Request {
        let r = self.request().await;
        assert_eq!(r.method, method);
        self.say(&r.response(StatusCode::OK, Some("t")).to_bytes()).await;
        r
    }
}

/// A request of a transaction and a call of its own.
fn text(method: &str, uri: &str, sent_by: &str, contact: &str) -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TLS {sent_by};branch=z9hG4bK{n};alias\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\n\
         Contact: <{contact}>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_tls_is_set_up_and_ended_on_one_connection_that_may_be_reused_rfc_5923() {
    let world = World::new("call");
    let pbx = world.pbx("pbx.example").await;
    let hop = world.hop("pbx.example", pbx.address);
    let (handle, mut events) = world.stack.dial(call(hop)).await;
    let mut far = pbx.accept().await;
    let invite = far.request().await;
    let via = invite.headers.top_via().unwrap();
    assert_eq!((via.transport.as_str(), via.port), ("TLS", Some(world.here().port())));
    assert!(via.params.has("alias"));
    let contact = format!("<sip:{};transport=tls>", world.here());
    assert_eq!(invite.headers.get(&HeaderName::Contact), Some(contact.as_str()));
    let mut ok = invite.response(StatusCode::OK, Some("t"));
    ok.headers.push(HeaderName::Contact, format!("<sip:x@{};transport=tls>", pbx.address));
    far.say(&ok.to_bytes()).await;
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(far.request().await.method, Method::ACK);
    handle.hangup(None).await;
    far.answers(Method::BYE).await;
    assert_eq!(events.recv().await, Some(SessionEvent::Ended(CallEnd::Local)));
    assert_eq!(world.stack.stats().await.connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_prove_to_be_the_peer_hears_nothing() {
    let world = World::new("proof");
    let start = Instant::now();
    let stranger = Pbx::new(world.folder.identity("stranger", &of_its_own("pbx.example"))).await;
    let other = world.pbx("other.example").await;
    for pbx in [&stranger, &other] {
        let hop = world.hop("pbx.example", pbx.address);
        let (accepting, (_handle, mut events)) =
            tokio::join!(async { pbx.listener.accept().await.unwrap() }, world.stack.dial(call(hop)));
        assert!(pbx.acceptor.accept(accepting.0).await.is_err());
        assert_eq!(events.recv().await, Some(SessionEvent::Failed(CallFailure::Transport)));
    }
    assert!(start.elapsed() < Duration::from_secs(4));
    assert_eq!(world.stack.stats().await.connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_one_peer_is_none_to_another_at_the_same_address() {
    let world = World::new("two");
    let pbx = world.pbx("pbx.example").await;
    let (right, wrong) = (world.hop("pbx.example", pbx.address), world.hop("other.example", pbx.address));
    let ask = |hop: Hop| {
        let stack = world.stack.clone();
        tokio::spawn(async move { stack.options(hop, Probe::default()).await })
    };
    let asking = ask(right);
    let mut far = pbx.accept().await;
    far.answers(Method::OPTIONS).await;
    assert_eq!(asking.await.unwrap(), Ok(StatusCode::OK));
    let asking = ask(wrong);
    let (stream, _) = pbx.listener.accept().await.unwrap();
    assert!(pbx.acceptor.accept(stream).await.is_err());
    assert_eq!(asking.await.unwrap(), Err(Failure::Transport));
    // nor is one by TCP
    let asking = ask(Hop { transport: Transport::Tcp, address: pbx.address });
    let (mut stream, _) = pbx.listener.accept().await.unwrap();
    let mut word = [0; 7];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"OPTIONS");
    drop(stream);
    assert_eq!(asking.await.unwrap(), Err(Failure::Transport));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_broke_is_made_anew_by_the_next_request() {
    let world = World::new("anew");
    let pbx = world.pbx("pbx.example").await;
    let hop = world.hop("pbx.example", pbx.address);
    for _ in 0..2 {
        let stack = world.stack.clone();
        let asking = tokio::spawn(async move { stack.options(hop, Probe::default()).await });
        let mut far = pbx.accept().await;
        far.answers(Method::OPTIONS).await;
        assert_eq!(asking.await.unwrap(), Ok(StatusCode::OK));
        drop(far);
        while world.stack.stats().await.connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_completed_is_given_up_after_five_seconds_on_either_side() {
    let world = World::new("slow");
    for beginning in [&b""[..], &[0x16, 3, 1, 2, 0, 1]] {
        let start = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(world.here()).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        let took = start.elapsed();
        assert!(took >= HANDSHAKE_TIMEOUT && took < HANDSHAKE_TIMEOUT * 2, "{took:?}");
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hop = world.hop("pbx.example", silent.local_addr().unwrap());
    let start = tokio::time::Instant::now();
    assert_eq!(world.stack.options(hop, Probe::default()).await, Err(Failure::Transport));
    assert!(start.elapsed() < HANDSHAKE_TIMEOUT * 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_and_old_versions_get_no_further() {
    let world = World::new("plain");
    let mut plain = TcpStream::connect(world.here()).await.unwrap();
    plain.write_all(&text("OPTIONS", "sip:x@127.0.0.1", "127.0.0.1:9", "sip:a@b")).await.unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.windows(3).any(|w| w == b"SIP"), "{heard:?}");
    // a ClientHello of TLS 1.1, one cipher suite that it had
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    let mut old = TcpStream::connect(world.here()).await.unwrap();
    old.write_all(&hello).await.unwrap();
    let mut heard = Vec::new();
    let _ = old.read_to_end(&mut heard).await;
    assert_eq!((heard.first(), heard.len()), (Some(&21), 7), "an alert and nothing else: {heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_a_hundred_handshakes_at_once_is_let_into_six_and_others_are_answered() {
    let world = World::new("places");
    let from = |ip: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
        socket.connect(world.here())
    };
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(from("127.0.0.2").await.unwrap());
    }
    let mut far = world.connect(None).await.unwrap();
    far.say(&text("OPTIONS", "sip:x@127.0.0.1", "127.0.0.1:9", "sip:a@b")).await;
    assert_eq!(far.status().await, 200);
    let open = silent
        .iter()
        .filter(|s| s.try_read(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock))
        .count();
    assert_eq!(open, 6);
    assert!(world.stack.stats().await.over_budget > 90);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_us_is_ended_by_its_connection_and_when_that_is_gone_by_a_new_one_to_its_contact() {
    let world = World::new("back");
    let pbx = world.pbx("pbx.example").await;
    world.stack.meet(world.hop("pbx.example", pbx.address)).await;
    let mut calls = world.stack.serve("x");
    for is_gone in [false, true] {
        let mut far = world.connect(None).await.unwrap();
        let contact = format!("sip:a@{};transport=tls", pbx.address);
        let invite = String::from_utf8(text("INVITE", "sip:x@127.0.0.1", "127.0.0.1:9", &contact)).unwrap();
        far.say(invite.as_bytes()).await;
        let session = calls.recv().await.unwrap();
        session.handle.command(SessionCommand::Answer(None)).await;
        let answer = loop {
            match far.next().await {
                Some(Message::Response(r)) if !r.status.is_provisional() => break r,
                Some(_) => {}
                None => panic!("the connection stays"),
            }
        };
        let named = answer.headers.get(&HeaderName::Contact).unwrap();
        assert_eq!(named, format!("<sip:x@{};transport=tls>", world.here()));
        let to = answer.headers.get(&HeaderName::To).unwrap();
        let ack = invite.replace("INVITE", "ACK").replace("<sip:x@b>", to);
        far.say(ack.replace("z9hG4bK", "z9hG4bKack").as_bytes()).await;
        if is_gone {
            drop(far);
            while world.stack.stats().await.connections > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            session.handle.hangup(None).await;
            pbx.accept().await.answers(Method::BYE).await;
        } else {
            session.handle.hangup(None).await;
            far.answers(Method::BYE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_what_registered_by_tls_stays_on_its_connection_whatever_its_contact_says() {
    let world = World::new("bound");
    let mut far = world.connect(None).await.unwrap();
    far.say(&text("OPTIONS", "sip:x@127.0.0.1", "127.0.0.1:9", "sip:a@b")).await;
    assert_eq!(far.status().await, 200);
    let hop = Hop { transport: Transport::Tls(TlsPeer::ANY), address: far.local.unwrap() };
    let (handle, mut events) = world.stack.dial(call(hop)).await;
    let invite = far.request().await;
    assert!(!invite.headers.top_via().unwrap().params.has("alias"), "the connection is theirs");
    let mut ok = invite.response(StatusCode::OK, Some("t"));
    ok.headers.push(HeaderName::Contact, "<sip:127.0.0.1:9;transport=TLS>");
    far.say(&ok.to_bytes()).await;
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(far.request().await.method, Method::ACK);
    handle.hangup(None).await;
    far.answers(Method::BYE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_who_proved_to_be_there_go_by_his_connection_and_to_others_not_rfc_5923() {
    let world = World::new("alias");
    let pbx = world.pbx("pbx.example").await;
    let sent_by = pbx.address.to_string();
    let hello = text("OPTIONS", "sip:x@127.0.0.1", &sent_by, "sip:a@b");
    let ask = |hop: Hop| {
        let stack = world.stack.clone();
        tokio::spawn(async move { stack.options(hop, Probe::default()).await })
    };
    let pbx_identity = world.folder.identity("pbx", &world.authority.signs("pbx.example", |_| {}));
    let thief = world.folder.identity("thief", &world.authority.signs("thief.example", |_| {}));
    for (own, is_reused) in [(None, false), (Some(thief), false), (Some(pbx_identity), true)] {
        let mut far = world.connect(own).await.unwrap();
        far.say(&hello).await;
        assert_eq!(far.status().await, 200);
        // a peer of its own each time, so that no connection of ours is open
        let asking = ask(world.hop("pbx.example", pbx.address));
        if is_reused {
            far.answers(Method::OPTIONS).await;
        } else {
            pbx.accept().await.answers(Method::OPTIONS).await;
        }
        assert_eq!(asking.await.unwrap(), Ok(StatusCode::OK), "{is_reused}");
        if is_reused {
            // what waits for an answer by it fails with it
            let asking = ask(world.hop("pbx.example", pbx.address));
            assert_eq!(far.request().await.method, Method::OPTIONS);
            drop(far);
            assert_eq!(
                timeout(Duration::from_secs(3), asking).await.unwrap().unwrap(),
                Err(Failure::Transport)
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_sips_has_a_sips_contact_and_is_refused_where_it_did_not_come_by_tls_rfc_3261_12_1_1() {
    let world = World::new("sips");
    let mut calls = world.stack.serve("x");
    let mut far = world.connect(None).await.unwrap();
    far.say(&text("INVITE", "sips:x@127.0.0.1", "127.0.0.1:9", "sips:a@127.0.0.1:9")).await;
    let session = calls.recv().await.unwrap();
    session.handle.command(SessionCommand::Ring).await;
    let ringing = loop {
        match far.next().await {
            Some(Message::Response(r)) if r.status == StatusCode::RINGING => break r,
            Some(_) => {}
            None => panic!("the connection stays"),
        }
    };
    assert_eq!(
        ringing.headers.get(&HeaderName::Contact),
        Some(format!("<sips:x@{}>", world.here()).as_str())
    );
    session.handle.command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE))).await;
    for (uri, contact) in [("sips:x@127.0.0.1", "sip:a@b"), ("sip:x@127.0.0.1", "sips:a@b")] {
        let mut plain = Far::new(TcpStream::connect(world.stack.addresses()[0]).await.unwrap());
        plain.say(&text("INVITE", uri, "127.0.0.1:9", contact)).await;
        let status = loop {
            match plain.status().await {
                100 => {}
                status => break status,
            }
        };
        assert_eq!(status, 403, "{uri} {contact}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_for_new_connections_and_a_call_goes_on_by_the_old_one() {
    use crate::net::tls::io::Watcher;
    let (folder, authority) = (Folder::new("sip-swap"), Authority::new());
    let identity = folder.identity("edge", &authority.signs("old.example", |_| {}));
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = StackConfig::new(vec![any]);
    (config.tls_listen, config.identity) = (vec![any], Some(identity.clone()));
    let stack = SipStack::start(config, Seed::from_number(1)).unwrap();
    let watcher = Watcher::default();
    watcher.add("sip.tls_certificate", identity);
    let watching = tokio::spawn(async move { watcher.run().await });
    let connect = async |name: &str| {
        let authorities = Authorities::from_file(&folder.file("ca.pem", &authority.0.pem())).unwrap();
        let connector = Connector::new(name, authorities, None).unwrap();
        let stream = TcpStream::connect(stack.tls_addresses()[0]).await.unwrap();
        connector.connect(stream).await.map(Far::new)
    };
    let mut old = connect("old.example").await.unwrap();
    let hello = text("OPTIONS", "sip:x@127.0.0.1", "127.0.0.1:9", "sip:a@b");
    old.say(&hello).await;
    assert_eq!(old.status().await, 200);
    folder.identity("edge", &authority.signs("new.example", |_| {}));
    let start = Instant::now();
    let mut new = loop {
        if let Ok(new) = connect("new.example").await {
            break new;
        }
        assert!(start.elapsed() < Duration::from_secs(15), "the certificate was not read anew");
        tokio::time::sleep(Duration::from_millis(500)).await; // within the budget of strangers
    };
    for far in [&mut old, &mut new] {
        far.say(&String::from_utf8(hello.clone()).unwrap().replace("z9hG4bK", "z9hG4bKx").into_bytes()).await;
        assert_eq!(far.status().await, 200);
    }
    watching.abort();
}
