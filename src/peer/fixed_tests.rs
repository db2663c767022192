//! Tests of the machine without ICE: the engine is not there, its words are written here.

use super::super::{Certificate, Fingerprint, MasterKey, SrtpKeys, SrtpProfile};
use super::*;
use zeroize::Zeroizing;

/// A ChangeCipherSpec, which passes the guard at any time.
const DTLS: [u8; 14] = [20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

fn pbx() -> SocketAddr {
    "192.0.2.20:4000".parse().unwrap()
}

fn stranger() -> SocketAddr {
    "203.0.113.9:4000".parse().unwrap()
}

fn machine() -> Fixed {
    let certificate = Arc::new(Certificate::generate().unwrap());
    Fixed::new(FixedParameters { certificate, profiles: vec![SrtpProfile::AeadAes128Gcm] }, Arc::default())
}

fn describe(machine: &mut Fixed, now: Instant, dtls_role: DtlsRole) {
    let fingerprints = vec![Fingerprint([1; 32])];
    let remote = FixedRemote { address: pbx(), fingerprints, dtls_role };
    machine.handle_input(now, PeerInput::FixedRemote(Box::new(remote)));
}

fn receive(machine: &mut Fixed, now: Instant, from: SocketAddr, bytes: &[u8]) {
    machine.handle_input(now, PeerInput::Datagram { path: to(from), bytes: bytes.to_vec() });
}

fn established() -> Established {
    let master = || MasterKey { key: Zeroizing::new(vec![0; 16]), salt: Zeroizing::new(vec![0; 12]) };
    Established {
        keys: SrtpKeys { profile: SrtpProfile::AeadAes128Gcm, local: master(), remote: master() },
        farewell: vec![vec![21, 9, 9]],
    }
}

/// What it says, in words.
fn words(machine: &mut Fixed) -> Vec<String> {
    std::iter::from_fn(|| machine.poll_output())
        .map(|output| match output {
            Output::Send(path, bytes) => format!("send {} {}", path.remote, bytes[0]),
            Output::Event(PeerEvent::Connected(_)) => "connected".to_owned(),
            Output::Event(PeerEvent::Failed(cause)) => format!("failed {cause:?}"),
            Output::StartDtls(role) => format!("handshake {role:?}"),
            Output::ToDtls { remote, bytes } => format!("engine {remote} {}", bytes.len()),
            Output::StopIce => "stop".to_owned(),
            Output::End => "end".to_owned(),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn dtls_before_the_description_waits_within_bounds_and_that_of_others_is_dropped() {
    let t0 = Instant::now();
    let mut m = machine();
    receive(&mut m, t0, stranger(), &DTLS);
    for _ in 0..20 {
        receive(&mut m, t0, pbx(), &DTLS);
    }
    assert!(words(&mut m).is_empty());
    assert_eq!(m.counters.get(Counter::EarlyDtlsFull), 5);
    describe(&mut m, t0, DtlsRole::Server);
    let said = words(&mut m);
    assert_eq!(said[..2], ["handshake Server", "engine 192.0.2.20:4000 14"]);
    assert_eq!(said.len(), 16);
    receive(&mut m, t0, stranger(), &DTLS);
    receive(&mut m, t0, pbx(), &[0x80; 40]);
    receive(&mut m, t0, pbx(), &[21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]);
    assert!(words(&mut m).is_empty(), "a stranger, no DTLS, and a plaintext alert");
    assert_eq!(m.counters.get(Counter::UnauthenticatedDtls), 2);
    assert_eq!(m.counters.get(Counter::RefusedDtls), 1);
}

#[test]
fn a_forged_message_of_the_wrong_side_is_counted_and_the_engine_never_sees_it() {
    let t0 = Instant::now();
    // (our role, the kind of an empty message that the far side never sends)
    for (role, kind) in
        [(DtlsRole::Server, 0), (DtlsRole::Server, 14), (DtlsRole::Client, 0), (DtlsRole::Client, 16)]
    {
        let forged = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, kind, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let mut m = machine();
        // also one that comes before the description waits for the role
        receive(&mut m, t0, pbx(), &forged);
        describe(&mut m, t0, role);
        receive(&mut m, t0, pbx(), &forged);
        receive(&mut m, t0, pbx(), &DTLS);
        assert_eq!(words(&mut m), [format!("handshake {role:?}"), "engine 192.0.2.20:4000 14".to_owned()]);
        assert_eq!(m.counters.get(Counter::RefusedDtls), 2, "{role:?} {kind}");
    }
}

#[test]
fn the_last_flight_of_a_server_is_repeated_when_the_client_asks_rfc6347_4_2_4() {
    let t0 = Instant::now();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut m = machine();
        describe(&mut m, t0, role);
        m.handle_engine(t0, FromEngine::Dtls(DTLS.to_vec()));
        m.handle_handshake(t0, Ok(established()));
        assert_eq!(words(&mut m)[1..], ["send 192.0.2.20:4000 20", "stop", "connected"]);
        assert_eq!(m.poll_timeout(), None);
        receive(&mut m, t0, pbx(), &DTLS);
        let expected: &[&str] = if role == DtlsRole::Server { &["send 192.0.2.20:4000 20"] } else { &[] };
        assert_eq!(words(&mut m), expected);
        receive(&mut m, t0 + Duration::from_millis(1), pbx(), &DTLS);
        receive(&mut m, t0 + Duration::from_millis(100), stranger(), &DTLS);
        assert!(words(&mut m).is_empty());
        m.handle_input(t0, PeerInput::Close);
        assert_eq!(words(&mut m), ["send 192.0.2.20:4000 21", "end"]);
    }
}

#[test]
fn a_handshake_that_does_not_end_or_ends_badly_fails_once() {
    let t0 = Instant::now();
    let mut m = machine();
    m.handle_timeout(t0 + Duration::from_secs(3_600));
    describe(&mut m, t0, DtlsRole::Client);
    m.handle_timeout(t0 + DEADLINE - Duration::from_millis(1));
    assert_eq!(words(&mut m), ["handshake Client"]);
    assert_eq!(m.poll_timeout(), Some(t0 + DEADLINE));
    m.handle_timeout(t0 + DEADLINE);
    m.handle_timeout(t0 + DEADLINE);
    assert_eq!(words(&mut m), ["failed DtlsFailed", "end"]);
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Client);
    describe(&mut m, t0, DtlsRole::Server);
    m.handle_handshake(t0, Err(HandshakeError::Certificate));
    m.handle_handshake(t0, Ok(established()));
    assert_eq!(words(&mut m), ["handshake Client", "failed DtlsFailed", "end"]);
    assert_eq!(m.counters.get(Counter::SecondDescription), 1);
}

/// A ClientHello with that byte for a random, whole in its record.
fn hello(byte: u8) -> Vec<u8> {
    let body = [&[0xfe, 0xfd][..], &[byte; 32], &[0; 6]].concat();
    let len = body.len() as u8;
    let handshake = [&[1, 0, 0, len, 0, 0, 0, 0, 0, 0, 0, len][..], &body].concat();
    [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, handshake.len() as u8][..], &handshake].concat()
}

#[test]
fn a_client_that_shakes_hands_anew_is_served_and_the_old_keys_hold_until_it_is_done_rfc6347_4_2_8() {
    let t0 = Instant::now();
    let at = |s: u64| t0 + Duration::from_secs(s);
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Server);
    receive(&mut m, t0, pbx(), &hello(1));
    m.handle_handshake(t0, Ok(established()));
    words(&mut m);
    // the same ClientHello late, another one too soon, and one of a stranger
    receive(&mut m, at(5), pbx(), &hello(1));
    receive(&mut m, t0 + Duration::from_millis(500), pbx(), &hello(2));
    receive(&mut m, at(5), stranger(), &hello(2));
    assert!(words(&mut m).iter().all(|w| w.starts_with("send")), "the last flight at most");
    receive(&mut m, at(5), pbx(), &hello(2));
    assert_eq!(words(&mut m), ["handshake Server", "engine 192.0.2.20:4000 65"]);
    // the client gives it up for another, within the same time
    receive(&mut m, at(7), pbx(), &hello(4));
    assert_eq!(words(&mut m), ["stop", "handshake Server", "engine 192.0.2.20:4000 65"]);
    // it comes to nothing: no word of it, and the next one is served
    m.handle_timeout(at(5) + DEADLINE);
    assert_eq!(words(&mut m), ["stop"]);
    receive(&mut m, at(50), pbx(), &hello(3));
    m.handle_handshake(at(50), Ok(established()));
    assert_eq!(words(&mut m)[2..], ["stop", "connected"]);
    m.handle_input(at(51), PeerInput::Close);
    assert_eq!(words(&mut m), ["send 192.0.2.20:4000 21", "end"]);
}

#[test]
fn a_client_is_not_served_where_we_are_the_client() {
    let t0 = Instant::now();
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Client);
    m.handle_handshake(t0, Ok(established()));
    words(&mut m);
    receive(&mut m, t0 + Duration::from_secs(9), pbx(), &hello(2));
    assert!(words(&mut m).is_empty());
    for cut in 0..hello(1).len() {
        assert_eq!(client_random(&hello(1)[..cut]).is_some(), cut >= 59, "{cut}");
    }
}
