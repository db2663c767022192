//! Registrations and watched peers on real sockets, loopback only.

use super::*;
use crate::base::Seed;
use crate::sip::io::StackConfig;
use crate::sip::register::RegisterConfig;
use crate::sip::{HeaderName, Host, Limits, Message, Method, Request, Response, SipUri, StatusCode, parse};
use std::net::SocketAddr;
use tokio::net::UdpSocket;

async fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn stack() -> SipStack {
    SipStack::start(StackConfig::new(vec!["127.0.0.1:0".parse().unwrap()]), Seed::from_number(1)).unwrap()
}

async fn next(socket: &UdpSocket) -> (Request, SocketAddr) {
    let mut buffer = [0; 4_096];
    let received = tokio::time::timeout(Duration::from_secs(10), socket.recv_from(&mut buffer));
    let (n, from) = received.await.expect("a request comes").unwrap();
    match parse(&buffer[..n], &Limits::UDP).unwrap() {
        Message::Request(r) => (r, from),
        Message::Response(r) => panic!("a request was expected, not {}", r.status),
    }
}

async fn answer(socket: &UdpSocket, code: u16) -> Request {
    let (r, from) = next(socket).await;
    let response: Response = r.response(StatusCode::new(code).unwrap(), Some("t"));
    socket.send_to(&response.to_bytes(), from).await.unwrap();
    r
}

fn register(stack: &SipStack, registrar: SocketAddr) -> RegistrationHandle {
    let host = || Host::from(registrar.ip());
    let config = RegisterConfig {
        registrar: SipUri::new(None, host(), Some(registrar.port())),
        aor: SipUri::new(Some("edge"), host(), None),
        contact_user: Some("edge".into()),
        credentials: None,
        expires: Duration::from_secs(300),
    };
    stack.register(config, Arc::new(Hop::from(registrar)))
}

fn expires(r: &Request) -> Option<&str> {
    assert_eq!(r.method, Method::REGISTER);
    r.headers.get(&HeaderName::Expires)
}

fn is_registered(state: &RegisterState) -> bool {
    matches!(state, RegisterState::Registered { .. })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_registered_refreshed_on_demand_and_taken_away_on_close() {
    let (socket, address) = peer().await;
    let stack = stack();
    let handle = register(&stack, address);
    let mut state = handle.state();
    let r = answer(&socket, 200).await;
    let contact = format!("<sip:edge@{}>;expires=300", stack.addresses()[0]);
    assert_eq!(r.headers.get(&HeaderName::Contact), Some(contact.as_str()));
    state.wait_for(is_registered).await.unwrap();
    handle.refresh().await;
    assert_eq!(expires(&answer(&socket, 200).await), Some("300"));
    let closing = tokio::spawn(handle.close());
    assert_eq!(expires(&answer(&socket, 200).await), Some("0"));
    closing.await.unwrap();
    assert_eq!(*state.borrow(), RegisterState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_stack_takes_registrations_away_and_does_not_wait_for_a_registrar_that_is_gone() {
    let (socket, address) = peer().await;
    let stack = stack();
    let handle = register(&stack, address);
    answer(&socket, 200).await;
    handle.state().wait_for(is_registered).await.unwrap();
    let (silent, _gone) = peer().await;
    let lost = register(&stack, silent.local_addr().unwrap());
    next(&silent).await;
    let other = stack.clone();
    let start = Instant::now();
    let ending = tokio::spawn(async move { other.shutdown(Duration::from_secs(1), None).await });
    assert_eq!(expires(&answer(&socket, 200).await), Some("0"));
    ending.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    lost.state().wait_for(|s| *s == RegisterState::Closed).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_that_comes_back_knows_us_again_within_about_four_seconds() {
    let (socket, address) = peer().await;
    drop(socket);
    let stack = stack();
    let handle = register(&stack, address);
    let mut state = handle.state();
    let unreachable = RegisterState::Failed(RegisterFailure::Unreachable);
    state.wait_for(|s| *s == unreachable).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let socket = UdpSocket::bind(address).await.unwrap();
    let start = Instant::now();
    answer(&socket, 200).await;
    state.wait_for(is_registered).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_up_while_it_answers_and_down_when_it_is_gone() {
    let (socket, address) = peer().await;
    let stack = stack();
    let mut state = stack.qualify(Arc::new(Hop::from(address)), None, Duration::from_secs(1));
    let r = answer(&socket, 404).await;
    assert_eq!(r.method, Method::OPTIONS);
    state.wait_for(|s| *s == Reachability::Up).await.unwrap();
    drop(socket);
    let down = state.wait_for(|s| *s == Reachability::Down);
    tokio::time::timeout(Duration::from_secs(10), down).await.unwrap().unwrap();
    let socket = UdpSocket::bind(address).await.unwrap();
    answer(&socket, 200).await;
    state.wait_for(|s| *s == Reachability::Up).await.unwrap();
    stack.shutdown(Duration::from_secs(1), None).await;
    assert!(state.changed().await.is_err());
}
