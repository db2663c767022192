//! The stack on real sockets, loopback only.

use super::*;
use crate::sip::answer::{Answer, Body};
use crate::sip::endpoint::Probe;
use crate::sip::endpoint::{Acceptance, Refuse, Verdict};
use crate::sip::session::{CallEnd, CallFailure};
use crate::sip::{Flow, HeaderName, Message, Method, NameAddr, Request, Response, Uri, parse};
use std::net::UdpSocket;
use std::time::Instant;

fn config(listen: &str) -> StackConfig {
    let mut config = StackConfig::new(vec![listen.parse().unwrap()]);
    config.handler = Arc::new(Refuse(StatusCode::FORBIDDEN));
    config
}

fn stack() -> SipStack {
    SipStack::start(config("127.0.0.1:0"), Seed::from_number(1)).unwrap()
}

pub(super) fn call(target: impl Into<Hop>) -> Dial {
    let target = target.into();
    let uri = Uri::parse(&format!("sip:100@{}", target.address)).unwrap();
    let call = OutgoingCall::new(uri.clone(), NameAddr::new(uri));
    Dial { target, contact_user: None, call: OutgoingCall { body: Some(Body::sdp("v=0\r\n")), ..call } }
}

fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next message a plain socket gets, and from where.
fn next(socket: &UdpSocket) -> (Message, SocketAddr) {
    let mut buffer = [0; 65_536];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    (parse(&buffer[..n], &Limits::UDP).unwrap(), from)
}

fn next_request(socket: &UdpSocket) -> (Request, SocketAddr) {
    match next(socket) {
        (Message::Request(r), from) => (r, from),
        (Message::Response(r), _) => panic!("a request was expected, not {}", r.status),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_a_closed_port_fails_within_a_second() {
    let closed = peer().1;
    let stack = stack();
    // twice: also over the socket that has seen the error before
    for _ in 0..2 {
        let start = Instant::now();
        let (_handle, mut events) = stack.dial(call(closed)).await;
        assert_eq!(events.recv().await, Some(SessionEvent::Failed(CallFailure::Transport)));
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!(events.recv().await, None);
    }
    assert_eq!(stack.options(closed, Probe::default()).await, Err(Failure::Transport));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_the_system_does_not_let_go_fails_at_once_rfc_3261_18_4() {
    let stack = SipStack::start(config("0.0.0.0:0"), Seed::from_number(1)).unwrap();
    // a socket may not send there unless it asks for it: no firewall and no route is needed for an error
    let (_handle, mut events) = stack.dial(call("255.255.255.255:5060".parse::<SocketAddr>().unwrap())).await;
    let event = tokio::time::timeout(Duration::from_secs(2), events.recv()).await;
    assert_eq!(event, Ok(Some(SessionEvent::Failed(CallFailure::Transport))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_and_ended_by_the_far_side() {
    let (socket, address) = peer();
    let stack = stack();
    let (_handle, mut events) = stack.dial(call(address)).await;
    let (invite, from) = next_request(&socket);
    assert_eq!(from, stack.addresses()[0]);
    assert_eq!(invite.headers.top_via().unwrap().port, Some(from.port()));
    let mut ok = invite.response(StatusCode::OK, Some("t"));
    ok.headers.push(HeaderName::Contact, format!("<sip:x@{address}>"));
    socket.send_to(&ok.to_bytes(), from).unwrap();
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    // nothing was lost on the way out of a fresh socket: the next is the ACK, not the INVITE again
    assert_eq!(next_request(&socket).0.method, Method::ACK);
    let mut bye = Request::new(Method::BYE, Uri::parse(&format!("sip:x@{from}")).unwrap());
    bye.headers.push(HeaderName::Via, format!("SIP/2.0/UDP {address};branch=z9hG4bKb"));
    bye.headers.push(HeaderName::From, ok.headers.get(&HeaderName::To).unwrap());
    bye.headers.push(HeaderName::To, ok.headers.get(&HeaderName::From).unwrap());
    bye.headers.push(HeaderName::CallId, ok.headers.call_id().unwrap());
    bye.headers.push(HeaderName::CSeq, "1 BYE");
    socket.send_to(&bye.to_bytes(), from).unwrap();
    assert!(matches!(next(&socket).0, Message::Response(r) if r.status == StatusCode::OK));
    let end = SessionEvent::Ended(CallEnd::Remote { q850: None, text: None });
    assert_eq!(events.recv().await, Some(end));
    assert_eq!(events.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_call_whose_events_nobody_reads_is_hung_up() {
    let (socket, address) = peer();
    let stack = stack();
    let (handle, mut events) = stack.dial(call(address)).await;
    let (invite, from) = next_request(&socket);
    socket.send_to(&invite.response(StatusCode::OK, Some("t")).to_bytes(), from).unwrap();
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(next_request(&socket).0.method, Method::ACK);
    drop((handle, events));
    let (bye, from) = next_request(&socket);
    assert_eq!(bye.method, Method::BYE);
    socket.send_to(&bye.response(StatusCode::OK, None).to_bytes(), from).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_hangs_up_and_ends_when_nothing_is_unanswered() {
    let (socket, address) = peer();
    let stack = stack();
    let (_handle, mut events) = stack.dial(call(address)).await;
    let (invite, from) = next_request(&socket);
    socket.send_to(&invite.response(StatusCode::OK, Some("t")).to_bytes(), from).unwrap();
    assert_eq!(events.recv().await, Some(SessionEvent::Answered { body: None }));
    assert_eq!(next_request(&socket).0.method, Method::ACK);
    let start = Instant::now();
    let other = stack.clone();
    let ending = tokio::spawn(async move { other.shutdown(Duration::from_secs(20), None).await });
    let (bye, from) = next_request(&socket);
    assert_eq!(bye.method, Method::BYE);
    socket.send_to(&bye.response(StatusCode::OK, None).to_bytes(), from).unwrap();
    ending.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(events.recv().await, Some(SessionEvent::Ended(CallEnd::Local)));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_answers_and_a_flood_of_them_is_capped() {
    let (socket, address) = peer();
    let stack = stack();
    let to = stack.addresses()[0];
    let send = |method: &str, n: usize| {
        let text = format!(
            "{method} sip:x@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{method}{n}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {n}\r\nCSeq: 1 {method}\r\n\
             Max-Forwards: 70\r\n\r\n"
        );
        socket.send_to(text.as_bytes(), to).unwrap();
    };
    for (method, expected) in
        [("OPTIONS", 200), ("INVITE", 403), ("BYE", 481), ("REFER", 405), ("FROB", 501), ("CANCEL", 481)]
    {
        send(method, 0);
        let Message::Response(r) = next(&socket).0 else { panic!("a response was expected") };
        assert_eq!((r.status.code(), r.headers.cseq().unwrap().method.as_str()), (expected, method));
    }
    (1..2_000).for_each(|n| send("OPTIONS", n));
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 2048];
    let answers = std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count();
    assert!(answers < 200, "{answers}");
    assert!(stack.stats().await.over_budget > 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named_also_while_a_connected_socket_shares_it() {
    let stack = stack();
    let address = stack.addresses()[0];
    let (_handle, _events) = stack.dial(call(peer().1)).await;
    stack.stats().await;
    let again = SipStack::start(config(&address.to_string()), Seed::from_number(2)).err();
    assert!(matches!(again, Some(StartError::Taken { address: a, .. }) if a == address));
    let foreign = SipStack::start(config("192.0.2.1:5080"), Seed::from_number(2)).err();
    assert!(matches!(foreign, Some(StartError::NotLocal(..))), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_served_side_by_side() {
    let v6 = match UdpSocket::bind("[::1]:0") {
        Ok(socket) => socket,
        Err(e) => return eprintln!("no IPv6 here: {e}"),
    };
    let mut config = config("127.0.0.1:0");
    config.listen.push("[::1]:0".parse().unwrap());
    let stack = SipStack::start(config, Seed::from_number(3)).unwrap();
    let (_handle, _events) = stack.dial(call(v6.local_addr().unwrap())).await;
    v6.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (invite, from) = next_request(&v6);
    assert_eq!(from, stack.addresses()[1]);
    assert!(invite.headers.get(&HeaderName::Via).unwrap().contains("[::1]:"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_targets_share_the_port_and_each_hears_its_own() {
    let stack = stack();
    let peers: Vec<_> = (0..5).map(|_| peer()).collect();
    let mut calls = Vec::new();
    for (_, address) in &peers {
        calls.push(stack.dial(call(*address)).await);
    }
    for ((socket, address), (_, events)) in peers.iter().zip(&mut calls) {
        let (invite, from) = next_request(socket);
        assert_eq!(from, stack.addresses()[0]);
        assert!(invite.uri.to_string().ends_with(&address.to_string()));
        socket.send_to(&invite.response(StatusCode::BUSY_HERE, Some("t")).to_bytes(), from).unwrap();
        let event = events.recv().await;
        assert!(
            matches!(&event, Some(SessionEvent::Failed(CallFailure::Status { status, .. }))
            if *status == StatusCode::BUSY_HERE),
            "{event:?}"
        );
    }
    // a closed port beside them fails alone and at once
    let start = Instant::now();
    let (_handle, mut events) = stack.dial(call(peer().1)).await;
    assert_eq!(events.recv().await, Some(SessionEvent::Failed(CallFailure::Transport)));
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_address_says_in_via_what_reaches_the_target() {
    let stack = SipStack::start(config("0.0.0.0:0"), Seed::from_number(4)).unwrap();
    let (socket, address) = peer();
    let (_handle, _events) = stack.dial(call(address)).await;
    let (invite, from) = next_request(&socket);
    assert_eq!((from.ip().to_string().as_str(), from.port()), ("127.0.0.1", stack.addresses()[0].port()));
    assert_eq!(invite.headers.top_via().unwrap().host.to_string(), "127.0.0.1");
}

/// Takes every call for one owner.
struct Take(&'static str);

impl RequestHandler for Take {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        let acceptance = Acceptance {
            owner: self.0.into(),
            credentials: None,
            stays_on_flow: true,
            external: Default::default(),
            timers: Default::default(),
        };
        Verdict::Accept(acceptance)
    }
}

/// An INVITE or what follows it, as a plain peer sends it.
fn send_to_stack(socket: &UdpSocket, to: SocketAddr, method: &str, cseq: u32, branch: &str, to_tag: &str) {
    let from = socket.local_addr().unwrap();
    let text = format!(
        "{method} sip:600@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:600@b>{to_tag}\r\nCall-ID: in\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:a@{from}>\r\nMax-Forwards: 70\r\n\r\n"
    );
    socket.send_to(text.as_bytes(), to).unwrap();
}

fn next_response(socket: &UdpSocket) -> Response {
    match next(socket).0 {
        Message::Response(r) => r,
        Message::Request(r) => panic!("a response was expected, not {}", r.method),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_us_reaches_who_serves_its_owner_and_leaves_nothing_behind() {
    let mut config = config("0.0.0.0:0");
    config.timings.t1 = Duration::from_millis(5);
    let stack = SipStack::start(config, Seed::from_number(5)).unwrap();
    let (socket, address) = peer();
    let to = SocketAddr::new(address.ip(), stack.addresses()[0].port());
    stack.set_handler(Arc::new(Take("pbx")));
    let mut incoming = stack.serve("pbx");
    send_to_stack(&socket, to, "INVITE", 1, "a", "");
    let IncomingSession { invite, handle, mut events } = incoming.recv().await.unwrap();
    assert_eq!((invite.owner.as_str(), invite.uri.user_text().as_deref()), ("pbx", Some("600")));
    assert!(handle.try_command(SessionCommand::Ring));
    assert_eq!(next_response(&socket).status, StatusCode::RINGING);
    handle.command(SessionCommand::Answer(Some(Body::sdp("v=0\r\n")))).await;
    let ok = next_response(&socket);
    // a wildcard address is no Contact
    assert_eq!(ok.headers.get(&HeaderName::Contact), Some(format!("<sip:600@{to}>").as_str()));
    let tag = format!(";tag={}", ok.headers.to().unwrap().tag().unwrap());
    send_to_stack(&socket, to, "ACK", 1, "b", &tag);
    assert_eq!(events.recv().await, Some(SessionEvent::Confirmed { body: None }));
    send_to_stack(&socket, to, "BYE", 2, "c", &tag);
    let end = SessionEvent::Ended(CallEnd::Remote { q850: None, text: None });
    assert_eq!((events.recv().await, events.recv().await), (Some(end), None));
    let patience = Instant::now() + Duration::from_secs(5);
    loop {
        let stats = stack.stats().await;
        if (stats.sessions, stats.transactions) == (0, 0) {
            break;
        }
        assert!(Instant::now() < patience, "{stats:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_calls_waits_to_be_taken() {
    let stack = stack();
    let (socket, _) = peer();
    stack.set_handler(Arc::new(Take("pbx")));
    stack.trust(socket.local_addr().unwrap().ip());
    let mut incoming = stack.serve("pbx");
    for n in 0..200 {
        send_to_stack(&socket, stack.addresses()[0], "INVITE", n + 1, &format!("burst{n}"), "");
    }
    while stack.stats().await.transactions < 200 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let taken = std::iter::from_fn(|| incoming.try_recv().ok()).count();
    assert_eq!(taken, 200, "nobody took one before all had come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_nobody_takes_is_refused_and_one_whose_events_nobody_reads_is_ended() {
    let stack = stack();
    let (socket, _) = peer();
    let to = stack.addresses()[0];
    stack.set_handler(Arc::new(Take("pbx")));
    send_to_stack(&socket, to, "INVITE", 1, "a", "");
    assert_eq!(next_response(&socket).status, StatusCode::SERVICE_UNAVAILABLE);
    send_to_stack(&socket, to, "ACK", 1, "a", "");
    let mut incoming = stack.serve("pbx");
    send_to_stack(&socket, to, "INVITE", 2, "b", "");
    drop(incoming.recv().await.unwrap());
    let refused = std::iter::repeat_with(|| next_response(&socket)).find(|r| !r.status.is_provisional());
    assert_eq!(refused.unwrap().status, StatusCode::TEMPORARILY_UNAVAILABLE);
    drop(incoming);
    send_to_stack(&socket, to, "INVITE", 3, "c", "");
    let refused = std::iter::repeat_with(|| next_response(&socket))
        .find(|r| r.headers.cseq().unwrap().number == 3)
        .unwrap();
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_one_that_was_asked_for_though_its_reader_has_gone() {
    let stack = stack();
    let (socket, _) = peer();
    let to = stack.addresses()[0];
    stack.set_handler(Arc::new(Take("pbx")));
    stack.trust(socket.local_addr().unwrap().ip());
    let mut incoming = stack.serve("pbx");
    tokio::spawn(async move {
        while let Some(session) = incoming.recv().await {
            let answer = Answer::new(StatusCode::NOT_ACCEPTABLE_HERE);
            session.handle.command(SessionCommand::Refuse(answer)).await;
        }
    });
    // one after the other: each is the only call, and looked at as soon as it has come
    for n in 1..=300 {
        let branch = format!("refused{n}");
        send_to_stack(&socket, to, "INVITE", n, &branch, "");
        let is_final = |r: &Response| !r.status.is_provisional() && r.headers.cseq().unwrap().number == n;
        let refused = std::iter::repeat_with(|| next_response(&socket)).find(is_final).unwrap();
        assert_eq!(refused.status, StatusCode::NOT_ACCEPTABLE_HERE, "call {n}");
        send_to_stack(&socket, to, "ACK", n, &branch, "");
    }
}
