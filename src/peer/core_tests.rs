//! Tests of the machine: the other side's messages are built here, the clock is `t0 + Duration`.

use super::super::paths::may_probe;
use super::super::{Certificate, DtlsRole, Fingerprint, IceCredentials, MasterKey, SrtpKeys, SrtpProfile};
use super::*;
use crate::base::Secret;
use std::sync::OnceLock;
use zeroize::Zeroizing;

const PASSWORD: &str = "ourpasswordourpassword00";
const THEIR_PASSWORD: &str = "theirpasswordtheirpass00";

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn path(remote: &str) -> Path {
    let remote = addr(remote);
    let local = if remote.is_ipv4() { addr("192.0.2.1:7000") } else { addr("[2001:db8::1]:7000") };
    Path { local, remote }
}

fn peer() -> Peer {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().unwrap()));
    let local = LocalParameters {
        credentials: IceCredentials { ufrag: "ours".into(), pwd: Secret::new(PASSWORD) },
        certificate: Arc::clone(certificate),
        profiles: vec![SrtpProfile::AeadAes128Gcm],
        addresses: vec![addr("192.0.2.1:7000"), addr("[2001:db8::1]:7000")],
        allow_loopback: false,
    };
    Peer::new(local, Seed::from_number(1), Arc::default())
}

fn remote(dtls_role: DtlsRole, ice_role: IceRole) -> Box<RemoteParameters> {
    Box::new(RemoteParameters {
        credentials: IceCredentials { ufrag: "them".into(), pwd: Secret::new(THEIR_PASSWORD) },
        fingerprints: vec![Fingerprint([1; 32])],
        is_lite: false,
        candidates: vec![addr("198.51.100.7:5000")],
        dtls_role,
        ice_role,
    })
}

fn check(number: u8, role: IceRole, nominates: bool) -> Vec<u8> {
    stun::check_request([number; 12], "ours:them", role, nominates, PASSWORD)
}

/// The other side controls and nominates.
fn nomination(number: u8) -> Vec<u8> {
    check(number, IceRole::Controlling, true)
}

fn outputs(peer: &mut Peer) -> Vec<Output> {
    std::iter::from_fn(|| peer.poll_output()).collect()
}

fn events(outputs: &[Output]) -> Vec<&PeerEvent> {
    outputs.iter().filter_map(|o| if let Output::Event(e) = o { Some(e) } else { None }).collect()
}

fn sent(outputs: &[Output]) -> Vec<(Path, &[u8])> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Send(p, b) = o { Some((*p, b.as_slice())) } else { None })
        .collect()
}

fn requests(outputs: &[Output]) -> Vec<(Path, stun::TransactionId)> {
    let view =
        |(p, b)| View::parse(b).ok().filter(|v| v.class() == Class::Request).map(|v| (p, v.transaction()));
    sent(outputs).into_iter().filter_map(view).collect()
}

fn established() -> Established {
    let master = || MasterKey { key: Zeroizing::new(vec![0; 16]), salt: Zeroizing::new(vec![0; 12]) };
    Established {
        keys: SrtpKeys { profile: SrtpProfile::AeadAes128Gcm, local: master(), remote: master() },
        farewell: vec![vec![21, 9, 9]],
    }
}

fn connected(t0: Instant, dtls_role: DtlsRole) -> Peer {
    let mut p = peer();
    p.handle_remote(t0, remote(dtls_role, IceRole::Controlled));
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    p.handle_handshake(t0, Ok(established()));
    p
}

fn answer(transaction: stun::TransactionId) -> Vec<u8> {
    stun::binding_success(transaction, addr("192.0.2.1:7000"), THEIR_PASSWORD)
}

const DTLS: [u8; 14] = [20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

#[test]
fn a_check_before_the_description_is_answered_and_its_path_announced_once() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(2));
    let out = outputs(&mut p);
    assert_eq!(events(&out), [&PeerEvent::Authenticated(path("198.51.100.7:5000"))]);
    assert_eq!(sent(&out).len(), 2);
    assert!(sent(&out).iter().all(|(_, b)| View::parse(b).unwrap().is_signed_by(PASSWORD)));
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    let out = outputs(&mut p);
    assert_eq!(events(&out), [&PeerEvent::Selected(path("198.51.100.7:5000"))]);
    assert!(out.iter().any(|o| matches!(o, Output::ToIce { .. })));
    assert!(matches!(out.last(), Some(Output::StartDtls(DtlsRole::Client))));
}

#[test]
fn a_check_with_a_wrong_password_or_name_is_counted_and_neither_answered_nor_believed() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    outputs(&mut p);
    for bytes in [
        stun::check_request([1; 12], "ours:them", IceRole::Controlling, true, "guessed"),
        stun::check_request([1; 12], "ours:other", IceRole::Controlling, true, PASSWORD),
        stun::check_request([1; 12], "they:them", IceRole::Controlling, true, PASSWORD),
    ] {
        p.handle_datagram(t0, path("203.0.113.9:1"), bytes);
    }
    p.handle_datagram(t0, path("203.0.113.9:1"), DTLS.to_vec());
    assert!(outputs(&mut p).is_empty());
    assert_eq!(p.counters.get(Counter::UnauthenticatedStun), 3);
    assert_eq!(p.counters.get(Counter::UnauthenticatedDtls), 1);
}

#[test]
fn dtls_from_a_known_path_waits_for_the_nomination_and_the_queue_is_bounded() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Server, IceRole::Controlled));
    p.handle_datagram(t0, path("198.51.100.7:5000"), check(1, IceRole::Controlling, false));
    for _ in 0..20 {
        p.handle_datagram(t0, path("198.51.100.7:5000"), DTLS.to_vec());
    }
    assert!(!outputs(&mut p).iter().any(|o| matches!(o, Output::ToDtls { .. })));
    assert_eq!(p.counters.get(Counter::EarlyDtlsFull), 4);
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(2));
    let out = outputs(&mut p);
    assert_eq!(out.iter().filter(|o| matches!(o, Output::ToDtls { .. })).count(), 16);
}

#[test]
fn while_we_control_only_the_agents_pair_selects_rfc8445_8_1_1() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Server, IceRole::Controlling));
    p.handle_datagram(t0, path("198.51.100.7:5000"), check(1, IceRole::Controlled, true));
    assert!(!events(&outputs(&mut p)).iter().any(|e| matches!(e, PeerEvent::Selected(_))));
    p.handle_ice_selected(t0, addr("198.51.100.7:5000"));
    p.handle_ice_selected(t0, addr("[2001:db8::7]:5000"));
    let out = outputs(&mut p);
    assert_eq!(events(&out), [&PeerEvent::Selected(path("198.51.100.7:5000"))]);
}

#[test]
fn a_lite_peers_path_is_proved_by_the_pair_our_agent_found() {
    let t0 = Instant::now();
    let mut p = peer();
    let mut lite = remote(DtlsRole::Server, IceRole::Controlled);
    lite.is_lite = true;
    p.handle_remote(t0, lite);
    let out = outputs(&mut p);
    assert!(out.iter().any(|o| matches!(o, Output::StartIce(s) if s.role == IceRole::Controlling)));
    p.handle_ice_selected(t0, addr("198.51.100.7:5000"));
    let way = path("198.51.100.7:5000");
    assert_eq!(events(&outputs(&mut p)), [&PeerEvent::Authenticated(way), &PeerEvent::Selected(way)]);
}

#[test]
fn dtls_of_a_lite_peer_that_answered_a_check_waits_for_the_agents_choice() {
    let t0 = Instant::now();
    let mut p = peer();
    let mut lite = remote(DtlsRole::Server, IceRole::Controlled);
    lite.is_lite = true;
    p.handle_remote(t0, lite);
    let (way, elsewhere) = (path("198.51.100.7:5000"), path("203.0.113.9:1"));
    p.handle_ice_send(t0, way.remote, check(1, IceRole::Controlling, true));
    outputs(&mut p);
    // an answer from where no check went, or with another password, proves nothing
    p.handle_datagram(t0, elsewhere, answer([1; 12]));
    p.handle_datagram(t0, way, stun::binding_success([1; 12], way.local, "guessed"));
    p.handle_datagram(t0, way, DTLS.to_vec());
    p.handle_datagram(t0, elsewhere, DTLS.to_vec());
    assert_eq!(p.counters.get(Counter::UnauthenticatedDtls), 2);
    assert!(events(&outputs(&mut p)).is_empty());
    p.handle_datagram(t0, way, answer([1; 12]));
    p.handle_datagram(t0, way, DTLS.to_vec());
    assert_eq!(events(&outputs(&mut p)), [&PeerEvent::Authenticated(way)]);
    p.handle_ice_selected(t0, way.remote);
    let out = outputs(&mut p);
    assert_eq!(events(&out), [&PeerEvent::Selected(way)]);
    assert!(matches!(out.last(), Some(Output::ToDtls { remote, .. }) if *remote == way.remote), "{out:?}");
}

#[test]
fn our_role_becomes_the_opposite_of_the_one_the_first_check_claims() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlling));
    outputs(&mut p);
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    let out = outputs(&mut p);
    assert!(out.iter().any(|o| matches!(o, Output::StartIce(s) if s.role == IceRole::Controlled)));
    assert!(events(&out).contains(&&PeerEvent::Selected(path("198.51.100.7:5000"))));
}

#[test]
fn answers_of_an_agent_do_not_leave_and_its_checks_do() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    outputs(&mut p);
    p.handle_ice_send(t0, addr("198.51.100.7:5000"), answer([1; 12]));
    p.handle_ice_send(t0, addr("198.51.100.7:5000"), check(2, IceRole::Controlled, false));
    p.handle_ice_send(t0, addr("[2001:db8::7]:5000"), check(3, IceRole::Controlled, false));
    let ways: Vec<_> = sent(&outputs(&mut p)).iter().map(|(p, _)| *p).collect();
    assert_eq!(ways, [path("198.51.100.7:5000"), path("[2001:db8::7]:5000")]);
}

#[test]
fn thirty_seconds_without_a_path_are_an_ice_failure_and_with_one_a_dtls_failure() {
    let t0 = Instant::now();
    for (has_path, cause) in [(false, Cause::IceFailed), (true, Cause::DtlsFailed)] {
        let mut p = peer();
        p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
        if has_path {
            p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
        }
        p.handle_timeout(t0 + Duration::from_millis(29_999));
        assert!(!events(&outputs(&mut p)).iter().any(|e| matches!(e, PeerEvent::Failed(_))));
        p.handle_timeout(t0 + Duration::from_secs(30));
        let out = outputs(&mut p);
        assert_eq!(events(&out), [&PeerEvent::Failed(cause)]);
        assert!(matches!(out.last(), Some(Output::End)));
        assert_eq!(p.poll_timeout(), None);
    }
}

#[test]
fn agents_check_every_10_ms_for_two_seconds_and_every_50_ms_after() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    let intervals = |out: Vec<Output>| -> Vec<Duration> {
        out.iter()
            .filter_map(|o| if let Output::StartIce(s) = o { Some(s.check_interval) } else { None })
            .collect()
    };
    assert_eq!(intervals(outputs(&mut p)), [Duration::from_millis(10)]);
    let later = p.poll_timeout().unwrap();
    assert_eq!(later, t0 + Duration::from_secs(2));
    p.handle_timeout(later);
    assert_eq!(intervals(outputs(&mut p)), [Duration::from_millis(50)]);
    assert_eq!(p.poll_timeout(), Some(t0 + Duration::from_secs(30)));
}

#[test]
fn after_the_handshake_agents_stop_and_consent_is_asked_by_the_selected_path() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    let out = outputs(&mut p);
    assert!(out.iter().any(|o| matches!(o, Output::StopIce)));
    assert!(matches!(events(&out).last(), Some(PeerEvent::Connected(_))));
    p.handle_timeout(p.poll_timeout().unwrap());
    let asked = outputs(&mut p);
    assert_eq!(requests(&asked).len(), 1);
    let (way, bytes) = sent(&asked)[0];
    assert_eq!(way, path("198.51.100.7:5000"));
    let view = View::parse(bytes).unwrap();
    assert!(view.is_addressed_to("them", Some("ours")) && view.is_signed_by(THEIR_PASSWORD));
}

type Reply<'a> = &'a dyn Fn(stun::TransactionId) -> Option<Vec<u8>>;
type Heard = Vec<(Instant, PeerEvent)>;

/// Takes the outputs of this moment; answers every request with `reply`.
fn settle(p: &mut Peer, now: Instant, reply: Reply<'_>) -> Heard {
    let mut heard = Vec::new();
    loop {
        let out = outputs(p);
        if out.is_empty() {
            return heard;
        }
        for (way, transaction) in requests(&out) {
            if let Some(bytes) = reply(transaction) {
                p.handle_datagram(now, way, bytes);
            }
        }
        heard.extend(out.into_iter().filter_map(|o| match o {
            Output::Event(e) => Some((now, e)),
            _ => None,
        }));
    }
}

/// Lets the clock run from deadline to deadline.
fn live(p: &mut Peer, until: Instant, reply: Reply<'_>) -> Heard {
    let mut heard = Vec::new();
    while let Some(at) = p.poll_timeout().filter(|at| *at <= until) {
        p.handle_timeout(at);
        heard.extend(settle(p, at, reply));
    }
    heard
}

#[test]
fn consent_lives_by_verified_answers_alone_rfc7675_5_1() {
    let t0 = Instant::now();
    let hour = t0 + Duration::from_secs(3_600);
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    assert!(live(&mut p, hour, &|t| Some(answer(t))).is_empty());
    assert!(p.is_connected());
    let replies: [Reply<'_>; 4] = [
        &|_| None,
        &|t| Some(stun::error_response(t, 487, THEIR_PASSWORD)),
        &|t| Some(stun::error_response(t, 400, THEIR_PASSWORD)),
        &|t| Some(stun::binding_success(t, addr("192.0.2.1:7000"), "guessed")),
    ];
    for reply in replies {
        let mut p = connected(t0, DtlsRole::Client);
        outputs(&mut p);
        let heard = live(&mut p, hour, reply);
        assert_eq!(heard, [(t0 + Duration::from_secs(15), PeerEvent::ConsentLost)]);
    }
}

#[test]
fn a_nomination_after_connecting_moves_media_when_the_new_path_answers() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    let new = path("[2001:db8::7]:6000");
    let t1 = t0 + Duration::from_millis(430);
    p.handle_datagram(t1, new, nomination(5));
    let out = outputs(&mut p);
    assert_eq!(events(&out), [&PeerEvent::Authenticated(new)]);
    let asked: Vec<_> = requests(&out).into_iter().filter(|(p, _)| *p == new).collect();
    assert_eq!(asked.len(), 1);
    // the answer must come by the path that was asked
    p.handle_datagram(t1, path("198.51.100.7:5000"), answer(asked[0].1));
    assert!(events(&outputs(&mut p)).is_empty());
    p.handle_datagram(t1, new, answer(asked[0].1));
    assert_eq!(events(&outputs(&mut p)), [&PeerEvent::Selected(new)]);
}

#[test]
fn moves_are_at_least_a_tenth_of_a_second_apart_and_the_last_wish_counts() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    let ways = [path("198.51.100.7:5000"), path("198.51.100.7:5001")];
    let reply: Reply<'_> = &|t| Some(answer(t));
    let mut heard = Vec::new();
    let mut now = t0;
    for step in 1..=33_u8 {
        // it alternates every 62 ms
        now += Duration::from_millis(62);
        heard.extend(live(&mut p, now, reply));
        p.handle_datagram(now, ways[usize::from(step % 2)], nomination(step));
        heard.extend(settle(&mut p, now, reply));
    }
    heard.extend(live(&mut p, now + Duration::from_secs(1), reply));
    let selected = |(at, event)| if let PeerEvent::Selected(p) = event { Some((at, p)) } else { None };
    let moves: Vec<_> = heard.into_iter().filter_map(selected).collect();
    assert!(moves.len() > 10, "{moves:?}");
    assert!(moves.windows(2).all(|w| w[1].0 - w[0].0 >= Duration::from_millis(100)), "{moves:?}");
    assert_eq!(moves.last().map(|(_, p)| *p), Some(ways[1]));
}

#[test]
fn media_from_an_unknown_path_is_followed_when_the_path_answers() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    let new = path("198.51.100.99:4000");
    p.handle_media_from(t0, new);
    p.handle_media_from(t0, new);
    let asked: Vec<_> = requests(&outputs(&mut p)).into_iter().filter(|(p, _)| *p == new).collect();
    assert_eq!(asked.len(), 1);
    let t1 = t0 + Duration::from_millis(150);
    p.handle_timeout(t1);
    outputs(&mut p);
    // a late answer to the first request counts too
    p.handle_datagram(t1, new, answer(asked[0].1));
    assert_eq!(events(&outputs(&mut p)), [&PeerEvent::Authenticated(new), &PeerEvent::Selected(new)]);
}

#[test]
fn a_path_that_never_answers_is_asked_five_times_and_not_followed() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    let silent = path("198.51.100.99:4000");
    p.handle_media_from(t0, silent);
    let mut asked = requests(&outputs(&mut p)).iter().filter(|(p, _)| *p == silent).count();
    while let Some(at) = p.poll_timeout().filter(|at| *at < t0 + Duration::from_secs(14)) {
        p.handle_timeout(at);
        let out = outputs(&mut p);
        assert!(events(&out).is_empty());
        asked += requests(&out).iter().filter(|(p, _)| *p == silent).count();
    }
    assert_eq!(asked, 5);
}

#[test]
fn a_server_repeats_its_last_flight_to_known_paths_and_a_client_has_none() {
    let t0 = Instant::now();
    for (role, repeats) in [(DtlsRole::Server, 1), (DtlsRole::Client, 0)] {
        let mut p = peer();
        p.handle_remote(t0, remote(role, IceRole::Controlled));
        p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
        p.handle_dtls_send(DTLS.to_vec());
        p.handle_handshake(t0, Ok(established()));
        outputs(&mut p);
        let asks = vec![22, 0xfe, 0xfd];
        p.handle_datagram(t0, path("198.51.100.7:5000"), asks.clone());
        let out = outputs(&mut p);
        assert_eq!(sent(&out).iter().filter(|(_, b)| *b == DTLS).count(), repeats, "{role:?}");
        p.handle_datagram(t0 + Duration::from_secs(1), path("203.0.113.9:1"), asks);
        assert!(!sent(&outputs(&mut p)).iter().any(|(_, b)| *b == DTLS));
    }
}

#[test]
fn an_alert_is_no_hang_up_and_close_says_close_notify() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Server);
    outputs(&mut p);
    p.handle_datagram(t0, path("198.51.100.7:5000"), vec![21, 0xfe, 0xfd, 0, 1]);
    assert!(p.is_connected());
    assert_eq!(p.counters.get(Counter::DtlsAlert), 1);
    outputs(&mut p);
    p.handle_close();
    let out = outputs(&mut p);
    assert_eq!(sent(&out), [(path("198.51.100.7:5000"), [21, 9, 9].as_slice())]);
    assert!(matches!(out.last(), Some(Output::End)));
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(9));
    assert!(outputs(&mut p).is_empty());
}

#[test]
fn a_failed_handshake_ends_with_dtls_failed() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Server, IceRole::Controlled));
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    outputs(&mut p);
    p.handle_handshake(t0, Err(HandshakeError::Certificate));
    assert_eq!(events(&outputs(&mut p)), [&PeerEvent::Failed(Cause::DtlsFailed)]);
}

#[test]
fn candidates_that_lead_back_into_the_machine_or_nowhere_are_not_probed() {
    let may = ["192.0.2.7:1", "10.1.2.3:1", "[2001:db8::7]:1", "[fd00::7]:1"];
    let may_not = [
        "127.0.0.1:1",
        "169.254.1.1:1",
        "224.0.0.5:1",
        "0.0.0.0:1",
        "255.255.255.255:1",
        "192.0.2.7:0",
        "[::1]:1",
        "[fe80::1]:1",
        "[ff02::1]:1",
        "[::]:1",
        "[::ffff:127.0.0.1]:1",
        "[::ffff:192.0.2.7]:1",
    ];
    assert!(may.iter().all(|c| may_probe(addr(c), false)));
    assert!(!may_not.iter().any(|c| may_probe(addr(c), false)));
    assert!(may_probe(addr("127.0.0.1:1"), true) && may_probe(addr("[::1]:1"), true));
    assert!(!may_probe(addr("169.254.1.1:1"), true));
}

#[test]
fn at_most_twenty_candidates_are_probed() {
    let mut p = peer();
    let mut many = remote(DtlsRole::Client, IceRole::Controlled);
    many.candidates = (1..=60).map(|i| addr(&format!("192.0.2.{i}:5000"))).collect();
    p.handle_remote(Instant::now(), many);
    assert_eq!(p.remote().unwrap().candidates.len(), 20);
}

#[test]
fn the_same_seed_and_inputs_give_the_same_outputs() {
    let t0 = Instant::now();
    let run = || {
        let mut p = connected(t0, DtlsRole::Client);
        p.handle_media_from(t0, path("198.51.100.99:4000"));
        p.handle_timeout(t0 + Duration::from_secs(6));
        format!("{:?}", outputs(&mut p))
    };
    assert_eq!(run(), run());
}

const NEW_PASSWORD: &str = "ournewpasswordournewpass";
const THEIR_NEW_PASSWORD: &str = "theirnewpasswordtheirnew";

fn restart(p: &mut Peer, now: Instant) {
    let mut described = remote(DtlsRole::Client, IceRole::Controlled);
    described.credentials = IceCredentials { ufrag: "them2".into(), pwd: Secret::new(THEIR_NEW_PASSWORD) };
    let ours = IceCredentials { ufrag: "ours2".into(), pwd: Secret::new(NEW_PASSWORD) };
    p.handle_restart(now, ours, described);
}

fn new_check(number: u8, role: IceRole, nominates: bool) -> Vec<u8> {
    stun::check_request([number; 12], "ours2:them2", role, nominates, NEW_PASSWORD)
}

#[test]
fn a_restart_keeps_the_path_and_answers_both_credentials_rfc8445_9() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    restart(&mut p, t0);
    let old_path = path("198.51.100.7:5000");
    for (bytes, password) in
        [(nomination(7), PASSWORD), (new_check(8, IceRole::Controlling, false), NEW_PASSWORD)]
    {
        p.handle_datagram(t0, old_path, bytes);
        let out = outputs(&mut p);
        assert!(sent(&out).iter().any(|(_, b)| View::parse(b).unwrap().is_signed_by(password)));
        assert!(events(&out).is_empty());
    }
    // an old check from elsewhere proves nothing any more
    p.handle_datagram(t0, path("203.0.113.9:1"), nomination(9));
    assert!(outputs(&mut p).is_empty());
}

#[test]
fn the_first_check_after_a_restart_tells_our_role_and_the_pair_found_is_moved_to() {
    let t0 = Instant::now();
    let new = path("198.51.100.8:5001");
    for (claims, ours) in
        [(IceRole::Controlling, IceRole::Controlled), (IceRole::Controlled, IceRole::Controlling)]
    {
        let mut p = connected(t0, DtlsRole::Client);
        outputs(&mut p);
        restart(&mut p, t0);
        let t1 = t0 + Duration::from_millis(200);
        assert!(!outputs(&mut p).iter().any(|o| matches!(o, Output::StartIce(_))));
        p.handle_datagram(t1, new, new_check(1, claims, false));
        let out = outputs(&mut p);
        assert!(out.iter().any(|o| matches!(o, Output::StartIce(s) if s.role == ours)), "{claims:?}");
        assert!(out.iter().any(|o| matches!(o, Output::ToIce { .. })));
        if ours == IceRole::Controlling {
            p.handle_ice_selected(t1, new.remote);
        } else {
            p.handle_datagram(t1, new, new_check(2, claims, true));
            let out = outputs(&mut p);
            let asked = requests(&out).into_iter().find(|(p, _)| *p == new).unwrap();
            p.handle_datagram(
                t1,
                new,
                stun::binding_success(asked.1, addr("192.0.2.1:7000"), THEIR_NEW_PASSWORD),
            );
        }
        assert!(events(&outputs(&mut p)).contains(&&PeerEvent::Selected(new)), "{claims:?}");
        assert!(p.is_connected());
    }
}

#[test]
fn a_restart_without_any_check_takes_the_role_described_and_gives_up_its_agents_after_thirty_seconds() {
    let t0 = Instant::now();
    let mut p = connected(t0, DtlsRole::Client);
    outputs(&mut p);
    restart(&mut p, t0);
    outputs(&mut p);
    p.handle_timeout(t0 + Duration::from_millis(500));
    assert!(
        outputs(&mut p).iter().any(|o| matches!(o, Output::StartIce(s) if s.role == IceRole::Controlled))
    );
    let reply: Reply<'_> = &|t| Some(stun::binding_success(t, addr("192.0.2.1:7000"), THEIR_NEW_PASSWORD));
    assert!(live(&mut p, t0 + Duration::from_secs(29), reply).is_empty());
    p.handle_timeout(t0 + Duration::from_secs(30));
    assert!(outputs(&mut p).iter().any(|o| matches!(o, Output::StopIce)));
    assert!(p.is_connected());
}

#[test]
fn a_restart_before_any_description_is_counted_and_ignored() {
    let t0 = Instant::now();
    let mut p = peer();
    restart(&mut p, t0);
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    assert_eq!(p.counters.get(Counter::RestartTooEarly), 1);
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    assert!(events(&outputs(&mut p)).contains(&&PeerEvent::Selected(path("198.51.100.7:5000"))));
}

#[test]
fn a_restart_before_a_path_is_found_begins_the_search_anew_with_a_deadline_of_its_own() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    outputs(&mut p);
    let t1 = t0 + Duration::from_secs(20);
    restart(&mut p, t1);
    assert!(outputs(&mut p).iter().any(|o| matches!(o, Output::StartIce(_))));
    p.handle_timeout(t0 + Duration::from_secs(31));
    assert!(events(&outputs(&mut p)).is_empty(), "the clock began anew");
    let path = path("198.51.100.7:5000");
    p.handle_datagram(t1, path, new_check(1, IceRole::Controlling, true));
    let out = outputs(&mut p);
    assert!(events(&out).contains(&&PeerEvent::Selected(path)));
    assert!(out.iter().any(|o| matches!(o, Output::StartDtls(DtlsRole::Client))));
}

#[test]
fn a_restart_during_the_handshake_waits_for_its_end() {
    let t0 = Instant::now();
    let mut p = peer();
    p.handle_remote(t0, remote(DtlsRole::Client, IceRole::Controlled));
    p.handle_datagram(t0, path("198.51.100.7:5000"), nomination(1));
    outputs(&mut p);
    restart(&mut p, t0);
    assert!(outputs(&mut p).is_empty(), "the engines go on");
    p.handle_handshake(t0, Ok(established()));
    outputs(&mut p);
    p.handle_datagram(t0, path("198.51.100.7:5000"), new_check(2, IceRole::Controlling, false));
    let out = outputs(&mut p);
    assert!(sent(&out).iter().any(|(_, b)| View::parse(b).unwrap().is_signed_by(NEW_PASSWORD)));
    assert!(p.is_connected());
}
