//! Connections on real sockets, loopback only.

use super::super::tests::call;
use super::super::{SipStack, StackConfig};
use super::*;
use crate::base::Seed;
use crate::sip::answer::{Answer, Body};
use crate::sip::endpoint::Probe;
use crate::sip::endpoint::{Acceptance, RequestHandler, Verdict};
use crate::sip::frame::PONG;
use crate::sip::session::{CallEnd, CallFailure, SessionCommand, SessionEvent};
use crate::sip::transaction::Failure;
use crate::sip::{HeaderName, Hop, Method, Request, StatusCode, Transport};
use std::io::{Read, Write};
use tokio::io::AsyncWriteExt;

fn stack() -> SipStack {
    SipStack::start(StackConfig::new(vec!["127.0.0.1:0".parse().unwrap()]), Seed::from_number(1)).unwrap()
}

/// A plain connection, from one of the addresses of the loopback network.
fn connect_from(ip: &str, to: SocketAddr) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{ip}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream: std::net::TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream
}

fn text(method: &str, n: u32) -> String {
    format!(
        "{method} sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{n}\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:x@b>\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A connection read message by message.
struct Far {
    stream: std::net::TcpStream,
    framer: Framer,
}

impl Far {
    fn new(stream: std::net::TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self { stream, framer: Framer::new(Limits::TCP) }
    }

    fn next(&mut self) -> Option<Message> {
        let mut buffer = [0; 4_096];
        loop {
            if let Some(Frame::Message(bytes)) = self.framer.poll_frame().unwrap() {
                return Some(parse(&bytes, &Limits::TCP).unwrap());
            }
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                n => self.framer.push(&buffer[..n]),
            }
        }
    }

    fn request(&mut self) -> Request {
        match self.next() {
            Some(Message::Request(r)) => r,
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    fn status(&mut self) -> Option<u16> {
        match self.next()? {
            Message::Response(r) => Some(r.status.code()),
            Message::Request(r) => panic!("a response was expected, not {:?}", r.method),
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }
}

fn by_tcp(address: SocketAddr) -> Hop {
    Hop { transport: Transport::Tcp, address }
}

fn listener() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_piece_or_byte_by_byte_are_answered_on_their_connection_rfc_3261_18_2_2() {
    let stack = stack();
    let mut far = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    far.say((text("OPTIONS", 1) + &text("INVITE", 2) + &text("FROB", 3)).as_bytes());
    let mut heard = [far.status(), far.status(), far.status()];
    heard.sort_unstable();
    assert_eq!(heard, [Some(200), Some(404), Some(501)]);
    for byte in text("OPTIONS", 4).bytes() {
        far.say(&[byte]);
    }
    assert_eq!(far.status(), Some(200));
    assert_eq!(stack.stats().await.connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_is_answered_with_a_pong_rfc_5626_3_5_1() {
    let stack = stack();
    let mut stream = connect_from("127.0.0.2", stack.addresses()[0]);
    stream.write_all(b"\r\n\r\n").unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).unwrap();
    assert_eq!(&pong, PONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_frame_is_answered_with_400_and_the_connection_closed() {
    let stack = stack();
    let mut far = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    far.say(text("OPTIONS", 1).replace("Content-Length: 0\r\n", "").as_bytes());
    assert_eq!(far.status(), Some(400));
    assert_eq!(far.status(), None);
    let mut noise = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    noise.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(noise.status(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_tcp_is_set_up_and_ended_on_one_connection() {
    let (listener, address) = listener();
    let stack = stack();
    let (handle, mut events) = stack.dial(call(by_tcp(address))).await;
    let mut far = Far::new(listener.accept().unwrap().0);
    let invite = far.request();
    let ours = stack.addresses()[0];
    let via = invite.headers.top_via().unwrap();
    assert_eq!((via.transport.as_str(), via.port), ("TCP", Some(ours.port())));
    let contact = format!("<sip:{ours};transport=tcp>");
    assert_eq!(invite.headers.get(&HeaderName::Contact), Some(contact.as_str()));
    let mut ok = invite.response(StatusCode::OK, Some("t"));
    ok.headers.push(HeaderName::Contact, format!("<sip:x@{address};transport=tcp>"));
    far.say(&ok.to_bytes());
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(far.request().method, Method::ACK);
    handle.hangup(None).await;
    let bye = far.request();
    assert_eq!(bye.method, Method::BYE);
    far.say(&bye.response(StatusCode::OK, None).to_bytes());
    assert_eq!(events.recv().await, Some(SessionEvent::Ended(CallEnd::Local)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_a_connection_that_closes_fail_at_once() {
    let (gone, address) = listener();
    let stack = stack();
    let start = Instant::now();
    let asking = {
        let stack = stack.clone();
        tokio::spawn(async move { stack.options(by_tcp(address), Probe::default()).await })
    };
    let mut far = Far::new(gone.accept().unwrap().0);
    assert_eq!(far.request().method, Method::OPTIONS);
    drop(far);
    assert_eq!(asking.await.unwrap(), Err(Failure::Transport));
    drop(gone);
    let (_handle, mut events) = stack.dial(call(by_tcp(address))).await;
    assert_eq!(events.recv().await, Some(SessionEvent::Failed(CallFailure::Transport)));
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(stack.stats().await.connections, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_a_target_and_a_new_one_is_made_when_it_is_gone() {
    let (listener, address) = listener();
    let stack = stack();
    for _ in 0..2 {
        let mut far = None;
        for _ in 0..3 {
            let stack = stack.clone();
            let asking = tokio::spawn(async move { stack.options(by_tcp(address), Probe::default()).await });
            let far = far.get_or_insert_with(|| Far::new(listener.accept().unwrap().0));
            let r = far.request();
            far.say(&r.response(StatusCode::OK, Some("t")).to_bytes());
            assert_eq!(asking.await.unwrap(), Ok(StatusCode::OK));
        }
        drop(far);
        while stack.stats().await.connections > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

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

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_connection_is_gone_goes_to_where_via_says_rfc_3261_18_2_2() {
    let (listener, address) = listener();
    let stack = stack();
    stack.set_handler(Arc::new(AcceptAll));
    let mut calls = stack.serve("x");
    let mut far = Far::new(connect_from("127.0.0.1", stack.addresses()[0]));
    let invite = text("INVITE", 1).replace("127.0.0.1:9", &address.to_string());
    far.say(invite.replace("Max-Forwards", "Contact: <sip:a@127.0.0.1>\r\nMax-Forwards").as_bytes());
    let session = calls.recv().await.unwrap();
    drop(far);
    while stack.stats().await.connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    session.handle.command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE))).await;
    let mut far = Far::new(listener.accept().unwrap().0);
    let statuses: Vec<_> = (0..3).map_while(|_| far.status()).take_while(|s| *s != 486).collect();
    assert!(statuses.iter().all(|s| *s == 100), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_hundreds_of_silent_connections_keeps_64_and_others_are_answered() {
    let stack = stack();
    let to = stack.addresses()[0];
    let silent: Vec<_> = (0..300).map(|_| connect_from("127.0.0.2", to)).collect();
    let mut far = Far::new(connect_from("127.0.0.3", to));
    far.say(text("OPTIONS", 1).as_bytes());
    assert_eq!(far.status(), Some(200));
    let is_open = |stream: &&std::net::TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.peek(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    };
    // each is closed by a task of its own
    let until = Instant::now() + Duration::from_secs(5);
    while silent.iter().filter(is_open).count() != 64 {
        assert!(Instant::now() < until, "{} are open", silent.iter().filter(is_open).count());
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_from_where_a_call_or_a_registration_is_gives_way_to_nobody() {
    let stack = stack();
    let to = stack.addresses()[0];
    let mut registered = Far::new(connect_from("127.0.0.4", to));
    registered.say(text("OPTIONS", 1).as_bytes());
    assert_eq!(registered.status(), Some(200));
    // it has asked as a stranger, and is known only since
    stack.trust("127.0.0.4".parse().unwrap());
    let strangers: Vec<_> = (0..12)
        .flat_map(|n| std::iter::repeat_n(n, 64))
        .map(|n| {
            let mut far = Far::new(connect_from(&format!("127.0.5.{}", n + 1), to));
            // half of them have said as much as it has, as far as their budget goes
            if n < 6 {
                let _ = far.stream.write_all(text("OPTIONS", 1).as_bytes());
            }
            far
        })
        .collect();
    for n in 1..=20 {
        let mut far = Far::new(connect_from(&format!("127.0.6.{n}"), to));
        far.say(text("OPTIONS", 1).as_bytes());
        assert_eq!(far.status(), Some(200));
    }
    registered.say(text("OPTIONS", 2).as_bytes());
    assert_eq!(registered.status(), Some(200));
    drop(strangers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_read_is_cut_off() {
    let (listener, address) = listener();
    let stack = stack();
    let end = stack.end_towards(by_tcp(address)).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..800 {
        let Ok(Message::Request(mut r)) = parse(text("OPTIONS", n).as_bytes(), &Limits::TCP) else {
            panic!()
        };
        r.body = vec![b'x'; 40_000].into();
        let (stack, flow) = (stack.clone(), end.flow);
        asking.spawn(async move { stack.request(flow, r, None).await });
    }
    let (_far, _) = listener.accept().unwrap();
    let first = timeout(Duration::from_secs(5), asking.join_next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap(), Err(Failure::Transport));
}

/// On one thread, so that the writer has its turn when the owner has none.
#[tokio::test]
async fn a_peer_that_reads_is_not_cut_off_however_many_messages_come_at_once_rfc_3261_18_4() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stack = stack();
    let end = stack.end_towards(by_tcp(listener.local_addr().unwrap())).await.unwrap();
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let Ok(Message::Request(r)) = parse(text("OPTIONS", n).as_bytes(), &Limits::TCP) else { panic!() };
        let (stack, flow) = (stack.clone(), end.flow);
        asking.spawn(async move { stack.request(flow, r, None).await.map(|r| r.status) });
    }
    let answering = tokio::spawn(async move {
        let (mut far, _) = listener.accept().await.unwrap();
        let (mut framer, mut chunk) = (Framer::new(Limits::TCP), BytesMut::new());
        while far.read_buf(&mut chunk).await.unwrap() > 0 {
            framer.push(&chunk.split());
            while let Some(Frame::Message(bytes)) = framer.poll_frame().unwrap() {
                let Ok(Message::Request(r)) = parse(&bytes, &Limits::TCP) else { panic!() };
                far.write_all(&r.response(StatusCode::OK, Some("t")).to_bytes()).await.unwrap();
            }
        }
    });
    while let Some(asked) = asking.join_next().await {
        assert_eq!(asked.unwrap(), Ok(StatusCode::OK));
    }
    answering.abort();
}

#[tokio::test]
async fn the_kernel_is_asked_to_find_out_who_has_gone_without_a_word() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    tune(&stream);
    let socket = SockRef::from(&stream);
    assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ACKNOWLEDGED));
}

/// The next connection that is made, within five seconds.
fn accept_soon(listener: &std::net::TcpListener) -> Far {
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                return Far::new(stream);
            }
            Err(_) => assert!(start.elapsed() < Duration::from_secs(5), "a new connection is made"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ask(
    stack: &SipStack,
    hop: Hop,
    limit: Option<Duration>,
) -> tokio::task::JoinHandle<Result<StatusCode, Failure>> {
    let stack = stack.clone();
    tokio::spawn(async move { stack.options(hop, Probe { limit, ..Probe::default() }).await })
}

const BRIEF: Option<Duration> = Some(Duration::from_millis(100));

#[tokio::test(flavor = "multi_thread")]
async fn after_a_request_without_an_answer_the_next_goes_by_a_new_connection_rfc_5626_4_4() {
    let (listener, address) = listener();
    let (stack, hop) = (stack(), by_tcp(address));
    let patient = ask(&stack, hop, None);
    let mut silent = accept_soon(&listener);
    let late = silent.request();
    assert_eq!(ask(&stack, hop, BRIEF).await.unwrap(), Err(Failure::Timeout));
    let next = ask(&stack, hop, None);
    let mut far = accept_soon(&listener);
    let request = far.request();
    far.say(&request.response(StatusCode::OK, Some("t")).to_bytes());
    assert_eq!(next.await.unwrap(), Ok(StatusCode::OK));
    // it was not dead after all
    silent.say(&late.response(StatusCode::OK, Some("t")).to_bytes());
    assert_eq!(patient.await.unwrap(), Ok(StatusCode::OK));
    // and its end is nothing to who waits by the new one
    let next = ask(&stack, hop, None);
    let request = far.request();
    drop(silent);
    assert_eq!(
        ask(&stack, by_tcp("127.0.0.1:9".parse().unwrap()), None).await.unwrap(),
        Err(Failure::Transport)
    );
    far.say(&request.response(StatusCode::OK, Some("t")).to_bytes());
    assert_eq!(next.await.unwrap(), Ok(StatusCode::OK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_something_else_comes_by_is_kept() {
    let (listener, address) = listener();
    let (stack, hop) = (stack(), by_tcp(address));
    let unanswered = ask(&stack, hop, Some(Duration::from_secs(1)));
    let mut far = accept_soon(&listener);
    far.request();
    for _ in 0..2 {
        let answered = ask(&stack, hop, None);
        let request = far.request();
        far.say(&request.response(StatusCode::OK, Some("t")).to_bytes());
        assert_eq!(answered.await.unwrap(), Ok(StatusCode::OK));
    }
    assert_eq!(unanswered.await.unwrap(), Err(Failure::Timeout));
    let answered = ask(&stack, hop, None);
    let request = far.request();
    far.say(&request.response(StatusCode::OK, Some("t")).to_bytes());
    assert_eq!(answered.await.unwrap(), Ok(StatusCode::OK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_by_their_connection_has_its_ack_and_bye_go_there_rfc_5626_5_3() {
    let stack = stack();
    let mut far = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    far.say(text("OPTIONS", 1).as_bytes());
    assert_eq!(far.status(), Some(200));
    let (handle, mut events) = stack.dial(call(by_tcp(far.stream.local_addr().unwrap()))).await;
    let mut ok = far.request().response(StatusCode::OK, Some("t"));
    ok.headers.push(HeaderName::Contact, "<sip:x@10.1.2.3:5060;transport=tcp>");
    far.say(&ok.to_bytes());
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(far.request().method, Method::ACK);
    handle.hangup(None).await;
    assert_eq!(far.request().method, Method::BYE);
}

/// Whether the BYE of a call that came from 127.0.0.2 goes by its connection; else it comes to the listener.
async fn stays(lines: &str, is_closed: bool, listener: &std::net::TcpListener) -> bool {
    let stack = stack();
    stack.set_handler(Arc::new(AcceptAll));
    let mut calls = stack.serve("x");
    let mut far = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    far.say(text("INVITE", 1).replace("Max-Forwards", &format!("{lines}\r\nMax-Forwards")).as_bytes());
    let mut session = calls.recv().await.unwrap();
    session.handle.command(SessionCommand::Answer(Some(Body::sdp("v=0\r\n")))).await;
    let tag = loop {
        match far.next() {
            Some(Message::Response(r)) if r.status.is_provisional() => {}
            Some(Message::Response(r)) => break r.headers.to().unwrap().tag().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    };
    let ack = text("ACK", 1).replace("bK1", "bK2").replace("<sip:x@b>", &format!("<sip:x@b>;tag={tag}"));
    far.say(ack.as_bytes());
    assert_eq!(session.events.recv().await, Some(SessionEvent::Confirmed { body: None }));
    let stream = far.stream.try_clone().unwrap();
    if is_closed {
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        while stack.stats().await.connections > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    session.handle.hangup(None).await;
    let other = std::thread::spawn({
        let listener = listener.try_clone().unwrap();
        move || accept_soon(&listener).next()
    });
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let stays = loop {
        if other.is_finished() {
            break false;
        }
        match stream.peek(&mut [0]) {
            Ok(1) => break true,
            Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(_) => {}
        }
    };
    let bye = if stays {
        // it ends who waits at the listener
        drop(std::net::TcpStream::connect(listener.local_addr().unwrap()));
        assert!(other.join().unwrap().is_none());
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        far.next()
    } else {
        other.join().unwrap()
    };
    assert!(matches!(bye, Some(Message::Request(r)) if r.method == Method::BYE));
    stays
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_us_stays_on_its_connection_unless_a_proxy_asks_for_more_rfc_3261_12_2_1_1() {
    let listener = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
    let there = listener.local_addr().unwrap();
    let contact = format!("Contact: <sip:a@{there};transport=tcp>");
    let hidden = "Contact: <sip:a@10.1.2.3:5060;transport=tcp>";
    assert!(stays(&contact, false, &listener).await, "who made it is there");
    assert!(stays(hidden, false, &listener).await, "behind NAT");
    assert!(!stays(&contact, true, &listener).await, "it has closed");
    let route = format!("Record-Route: <sip:{there};transport=tcp;lr>\r\n{hidden}");
    assert!(!stays(&route, false, &listener).await, "a proxy that is another host");
    let route = format!("Record-Route: <sip:127.0.0.2:9;transport=tcp;lr>\r\n{contact}");
    assert!(stays(&route, false, &listener).await, "the proxy's own connection");
    let via = format!("Via: SIP/2.0/TCP 127.0.0.9;branch=z9hG4bKx\r\n{contact}");
    assert!(!stays(&via, false, &listener).await, "a proxy that wants to see no more of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_a_stranger_ends_its_connection() {
    let stack = stack();
    let mut far = Far::new(connect_from("127.0.0.2", stack.addresses()[0]));
    let flood: String = (0..2_000).map(|n| text("OPTIONS", n)).collect();
    // it may be closed while we still write
    let _ = far.stream.write_all(flood.as_bytes());
    while stack.stats().await.connections > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stack.stats().await.over_budget > 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_and_half_a_message_are_given_up_after_ten_seconds() {
    for beginning in ["", "OPTIONS sip:x@y SIP/2.0\r\nVia: "] {
        let stack = stack();
        let start = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(stack.addresses()[0]).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        assert!(start.elapsed() <= MESSAGE_TIMEOUT * 2);
    }
}
