//! Tests of the lite agent's machine: checks are built here, the clock is `t0 + Duration`.

use super::super::{Certificate, DtlsRole, Fingerprint, MasterKey, SrtpKeys, SrtpProfile};
use super::*;
use crate::base::{Secret, Seed};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use zeroize::Zeroizing;

const OURS: (&str, &str) = ("ours", "ourpasswordourpassword00");
const THEIRS: (&str, &str) = ("them", "theirpasswordtheirpass00");
const OURS_NEW: (&str, &str) = ("ours2", "ournewpasswordournewpass");
const THEIRS_NEW: (&str, &str) = ("them2", "theirnewpasswordtheirnew");
const SECOND: Duration = Duration::from_secs(1);

fn credentials((ufrag, pwd): (&str, &str)) -> IceCredentials {
    IceCredentials { ufrag: ufrag.into(), pwd: Secret::new(pwd) }
}

fn path(remote: &str) -> Path {
    let remote: SocketAddr = remote.parse().unwrap();
    let local = if remote.is_ipv4() { "192.0.2.1:7000" } else { "[2001:db8::1]:7000" };
    Path { local: local.parse().unwrap(), remote }
}

fn v4() -> Path {
    path("198.51.100.7:5000")
}

fn v6() -> Path {
    path("[2001:db8::7]:6000")
}

fn machine() -> Lite {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    let certificate = CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().unwrap()));
    let local = LocalParameters {
        credentials: credentials(OURS),
        certificate: Arc::clone(certificate),
        profiles: vec![SrtpProfile::AeadAes128Gcm],
        addresses: vec![v4().local, v6().local],
        allow_loopback: false,
    };
    Lite::new(local, Arc::default())
}

fn described(who: (&str, &str), dtls_role: DtlsRole) -> Box<RemoteParameters> {
    Box::new(RemoteParameters {
        credentials: credentials(who),
        fingerprints: vec![Fingerprint([1; 32])],
        is_lite: false,
        candidates: vec![v4().remote],
        dtls_role,
        ice_role: IceRole::Controlled,
    })
}

fn describe(m: &mut Lite, now: Instant, dtls_role: DtlsRole) {
    m.handle_input(now, PeerInput::Remote(described(THEIRS, dtls_role)));
}

fn restart(m: &mut Lite, now: Instant) {
    let remote = described(THEIRS_NEW, DtlsRole::Server);
    m.handle_input(now, PeerInput::Restart { local: credentials(OURS_NEW), remote });
}

fn receive(m: &mut Lite, now: Instant, path: Path, bytes: &[u8]) {
    m.handle_input(now, PeerInput::Datagram { path, bytes: bytes.to_vec() });
}

/// A check of theirs, to the first of two ufrags from the second, signed with a password.
fn signed(number: u8, names: &str, role: IceRole, nominates: bool, password: &str) -> Vec<u8> {
    stun::check_request([number; 12], names, role, nominates, password)
}

fn check(number: u8) -> Vec<u8> {
    signed(number, "ours:them", IceRole::Controlling, false, OURS.1)
}

fn nomination(number: u8) -> Vec<u8> {
    signed(number, "ours:them", IceRole::Controlling, true, OURS.1)
}

fn established() -> Established {
    let master = || MasterKey { key: Zeroizing::new(vec![0; 16]), salt: Zeroizing::new(vec![0; 12]) };
    Established {
        keys: SrtpKeys { profile: SrtpProfile::AeadAes128Gcm, local: master(), remote: master() },
        farewell: vec![vec![21, 9, 9]],
    }
}

fn outputs(m: &mut Lite) -> Vec<Output> {
    std::iter::from_fn(|| m.poll_output()).collect()
}

/// What it says, in words; a path by its remote port.
fn words(m: &mut Lite) -> Vec<String> {
    let port = |path: Path| path.remote.port();
    outputs(m)
        .into_iter()
        .map(|output| match output {
            Output::Send(path, bytes) => match View::parse(&bytes).map(|v| v.class()) {
                Ok(class) => format!("{class:?} to {}", port(path)),
                Err(_) => format!("send {} to {}", bytes[0], port(path)),
            },
            Output::Event(PeerEvent::Authenticated(path)) => format!("authenticated {}", port(path)),
            Output::Event(PeerEvent::Selected(path)) => format!("selected {}", port(path)),
            Output::Event(PeerEvent::Connected(_)) => "connected".to_owned(),
            Output::Event(event) => format!("{event:?}"),
            Output::StartDtls(role) => format!("handshake {role:?}"),
            Output::ToDtls { bytes, .. } => format!("engine {}", bytes.len()),
            Output::StopIce => "stop".to_owned(),
            Output::End => "end".to_owned(),
            other => panic!("a lite agent does not {other:?}"),
        })
        .collect()
}

fn connected(t0: Instant, dtls_role: DtlsRole) -> Lite {
    let mut m = machine();
    describe(&mut m, t0, dtls_role);
    receive(&mut m, t0, v4(), &nomination(1));
    m.handle_handshake(t0, Ok(established()));
    outputs(&mut m);
    m
}

/// A ChangeCipherSpec, which passes the guard at any time.
const DTLS: [u8; 14] = [20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];

#[test]
fn each_check_is_held_against_the_table_rfc8445_7_3() {
    use IceRole::{Controlled, Controlling};
    let t0 = Instant::now();
    let good = |role, nominates| signed(1, "ours:them", role, nominates, OURS.1);
    // what comes, by which path, and what it comes to once the other side is known
    let table: [(Vec<u8>, Path, &[&str]); 8] = [
        (good(Controlling, false), v4(), &["Success to 5000", "authenticated 5000"]),
        (
            good(Controlling, true),
            v4(),
            &["Success to 5000", "authenticated 5000", "selected 5000", "handshake Client"],
        ),
        (
            good(Controlling, true),
            v6(),
            &["Success to 6000", "authenticated 6000", "selected 6000", "handshake Client"],
        ),
        // no role: a consent check
        (
            stun::consent_request([1; 12], "ours:them", OURS.1),
            v4(),
            &["Success to 5000", "authenticated 5000"],
        ),
        // a role conflict proves no path and nominates none (§7.3.1.1)
        (good(Controlled, true), v4(), &["Error to 5000"]),
        (signed(1, "ours:them", Controlling, true, "guessed"), v4(), &[]),
        (signed(1, "ours:other", Controlling, true, OURS.1), v4(), &[]),
        (signed(1, "they:them", Controlling, true, OURS.1), v4(), &[]),
    ];
    for (bytes, way, expected) in table {
        let mut m = machine();
        describe(&mut m, t0, DtlsRole::Client);
        receive(&mut m, t0, way, &bytes);
        assert_eq!(words(&mut m), expected);
        let is_refused = expected.is_empty();
        assert_eq!(m.counters.get(Counter::UnauthenticatedStun), u64::from(is_refused));
    }
}

#[test]
fn an_answer_has_the_address_integrity_and_fingerprint_and_is_no_longer_than_the_check() {
    let t0 = Instant::now();
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Client);
    for (number, way) in [(1, v4()), (2, v6())] {
        for role in [IceRole::Controlling, IceRole::Controlled] {
            let asked = signed(number, "ours:them", role, false, OURS.1);
            receive(&mut m, t0, way, &asked);
            let sent: Vec<_> = outputs(&mut m)
                .into_iter()
                .filter_map(|o| if let Output::Send(p, b) = o { Some((p, b)) } else { None })
                .collect();
            let [(to, answer)] = &sent[..] else { panic!("one answer for one check: {sent:?}") };
            assert_eq!(*to, way, "back by the socket that it came in by");
            assert!(answer.len() <= asked.len(), "{} for {}", answer.len(), asked.len());
            let view = View::parse(answer).unwrap();
            assert!(view.is_signed_by(OURS.1));
            assert_eq!(view.transaction(), [number; 12]);
            let mut message = ::stun::message::Message { raw: answer.clone(), ..Default::default() };
            message.decode().unwrap();
            ::stun::fingerprint::FINGERPRINT.check(&message).unwrap();
            if role == IceRole::Controlled {
                let code = message.get(::stun::attributes::ATTR_ERROR_CODE).unwrap();
                assert_eq!(code, [0, 0, 4, 87]);
                continue;
            }
            let mut mapped = ::stun::xoraddr::XorMappedAddress::default();
            ::stun::message::Getter::get_from(&mut mapped, &message).unwrap();
            assert_eq!(SocketAddr::new(mapped.ip, mapped.port), way.remote);
        }
    }
    assert_eq!(m.counters.get(Counter::RoleConflict), 2);
}

#[test]
fn a_nomination_before_the_description_counts_once_it_comes_and_the_last_one_wins() {
    let t0 = Instant::now();
    let mut m = machine();
    receive(&mut m, t0, v4(), &nomination(1));
    receive(&mut m, t0, v6(), &nomination(2));
    receive(&mut m, t0, v4(), &check(3));
    assert_eq!(
        words(&mut m),
        ["Success to 5000", "authenticated 5000", "Success to 6000", "authenticated 6000", "Success to 5000"]
    );
    assert_eq!(m.poll_timeout(), None, "nothing is waited for");
    receive(&mut m, t0, v6(), &DTLS);
    receive(&mut m, t0, path("203.0.113.9:1"), &DTLS);
    assert_eq!(m.counters.get(Counter::UnauthenticatedDtls), 1);
    describe(&mut m, t0, DtlsRole::Server);
    assert_eq!(words(&mut m), ["selected 6000", "handshake Server", "engine 14"]);
    describe(&mut m, t0, DtlsRole::Server);
    assert_eq!(m.counters.get(Counter::SecondDescription), 1);
}

#[test]
fn nothing_is_sent_unasked_and_the_only_clock_of_the_set_up_is_its_deadline() {
    let t0 = Instant::now();
    for (is_nominated, cause) in [(false, "Failed(IceFailed)"), (true, "Failed(DtlsFailed)")] {
        let mut m = machine();
        describe(&mut m, t0, DtlsRole::Client);
        if is_nominated {
            receive(&mut m, t0, v4(), &nomination(1));
        }
        outputs(&mut m);
        for ms in (0..30_000).step_by(10) {
            m.handle_timeout(t0 + Duration::from_millis(ms));
            assert_eq!(words(&mut m), [""; 0], "{ms}");
            assert_eq!(m.poll_timeout(), Some(t0 + 30 * SECOND));
        }
        m.handle_timeout(t0 + 30 * SECOND);
        assert_eq!(words(&mut m), [cause, "end"]);
        receive(&mut m, t0, v4(), &nomination(2));
        assert_eq!((words(&mut m).len(), m.poll_timeout()), (0, None));
    }
}

#[test]
fn another_nomination_moves_media_and_moves_are_at_least_a_tenth_of_a_second_apart() {
    let t0 = Instant::now();
    let mut m = connected(t0, DtlsRole::Client);
    let t1 = t0 + Duration::from_millis(430);
    receive(&mut m, t1, v6(), &nomination(2));
    assert_eq!(words(&mut m), ["Success to 6000", "authenticated 6000", "selected 6000"]);
    // at once back: it waits, and what came last counts
    receive(&mut m, t1, v4(), &nomination(3));
    receive(&mut m, t1, v4(), &check(4));
    assert_eq!(words(&mut m), ["Success to 5000", "Success to 5000"]);
    let due = m.poll_timeout().unwrap();
    assert_eq!(due, t1 + Duration::from_millis(100));
    m.handle_timeout(due);
    assert_eq!(words(&mut m), ["selected 5000"]);
    receive(&mut m, due, v6(), &nomination(5));
    receive(&mut m, due, v4(), &nomination(6));
    outputs(&mut m);
    m.handle_timeout(due + SECOND);
    assert_eq!(words(&mut m), [""; 0], "the wish to move was taken back");
}

#[test]
fn consent_is_kept_by_requests_on_the_selected_path_alone_and_lost_after_fifteen_seconds_rfc7675_5_1() {
    let t0 = Instant::now();
    let kept = |bytes: &dyn Fn(u8) -> Vec<u8>, way: Path| -> u64 {
        let mut m = connected(t0, DtlsRole::Client);
        for second in 1..=60 {
            let now = t0 + SECOND * second;
            m.handle_timeout(now);
            if words(&mut m).contains(&"ConsentLost".to_owned()) {
                return u64::from(second);
            }
            if second % 5 == 0 {
                receive(&mut m, now, way, &bytes(u8::try_from(second).unwrap()));
            }
        }
        0
    };
    assert_eq!(kept(&check, v4()), 0, "an hour would be the same");
    assert_eq!(kept(&nomination, v4()), 0);
    assert_eq!(kept(&|n| stun::consent_request([n; 12], "ours:them", OURS.1), v4()), 0);
    assert_eq!(kept(&nomination, v6()), 0, "the path that it moved to");
    assert_eq!(kept(&check, v6()), 15, "another path");
    assert_eq!(kept(&|n| signed(n, "ours:them", IceRole::Controlling, false, "guessed"), v4()), 15);
    assert_eq!(kept(&|n| signed(n, "ours:them", IceRole::Controlled, false, OURS.1), v4()), 15);
    assert_eq!(kept(&|n| stun::binding_success([n; 12], v4().local, THEIRS.1), v4()), 15);
    assert_eq!(kept(&|_| DTLS.to_vec(), v4()), 15);
}

#[test]
fn a_restart_takes_new_credentials_and_keeps_the_path_until_they_nominate_rfc8445_9() {
    let t0 = Instant::now();
    let new = |number, nominates| signed(number, "ours2:them2", IceRole::Controlling, nominates, OURS_NEW.1);
    let mut m = connected(t0, DtlsRole::Client);
    restart(&mut m, t0);
    assert_eq!(words(&mut m), [""; 0]);
    assert_eq!(m.remote.as_ref().unwrap().dtls_role, DtlsRole::Client, "the role in DTLS stays");
    // the old ones go on by the path they had, and keep consent there
    let t1 = t0 + 10 * SECOND;
    receive(&mut m, t1, v4(), &nomination(7));
    assert_eq!(words(&mut m), ["Success to 5000"]);
    assert_eq!(m.poll_timeout(), Some(t1 + 15 * SECOND));
    receive(&mut m, t1, v6(), &nomination(8));
    assert_eq!(words(&mut m), [""; 0], "elsewhere they prove nothing any more");
    receive(&mut m, t1, v6(), &new(9, false));
    assert_eq!(words(&mut m), ["Success to 6000", "authenticated 6000"]);
    receive(&mut m, t1, v6(), &new(10, true));
    assert_eq!(words(&mut m), ["Success to 6000", "selected 6000"]);
}

#[test]
fn a_restart_may_come_at_any_time_after_the_description() {
    let t0 = Instant::now();
    let new = |number| signed(number, "ours2:them2", IceRole::Controlling, true, OURS_NEW.1);
    let mut m = machine();
    restart(&mut m, t0);
    assert_eq!(m.counters.get(Counter::RestartTooEarly), 1);
    describe(&mut m, t0, DtlsRole::Client);
    // before a path is nominated: the clock begins anew
    let t1 = t0 + 20 * SECOND;
    restart(&mut m, t1);
    assert_eq!(m.poll_timeout(), Some(t1 + 30 * SECOND));
    receive(&mut m, t1, v4(), &new(1));
    assert!(words(&mut m).contains(&"handshake Client".to_owned()));

    // during the handshake, which goes on
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Client);
    receive(&mut m, t0, v4(), &nomination(1));
    restart(&mut m, t0);
    outputs(&mut m);
    receive(&mut m, t0, v6(), &new(2));
    assert_eq!(words(&mut m), ["Success to 6000", "authenticated 6000"], "a move so soon waits");
    m.handle_engine(t0, FromEngine::Dtls(vec![22, 1]));
    assert_eq!(words(&mut m), ["send 22 to 5000"]);
    m.handle_timeout(t0 + SECOND);
    m.handle_engine(t0 + SECOND, FromEngine::Dtls(vec![22, 2]));
    assert_eq!(words(&mut m), ["selected 6000", "send 22 to 6000"]);
    m.handle_handshake(t0 + SECOND, Ok(established()));
    assert_eq!(words(&mut m), ["stop", "connected"]);
}

#[test]
fn media_by_an_unknown_path_is_followed_when_a_request_comes_from_there() {
    let t0 = Instant::now();
    let moved = path("198.51.100.7:6001");
    let mut m = connected(t0, DtlsRole::Client);
    m.handle_input(t0, PeerInput::MediaFrom(moved));
    assert_eq!(words(&mut m), [""; 0], "nothing is asked");
    let t1 = t0 + SECOND;
    receive(&mut m, t1, moved, &signed(1, "ours:them", IceRole::Controlling, false, "guessed"));
    receive(&mut m, t1, v6(), &check(2));
    assert_eq!(words(&mut m), ["Success to 6000", "authenticated 6000"]);
    receive(&mut m, t1, moved, &check(3));
    assert_eq!(words(&mut m), ["Success to 6001", "authenticated 6001", "selected 6001"]);
    assert_eq!(m.poll_timeout(), Some(t1 + 15 * SECOND), "consent counts there");
    // a known path waits for the word
    m.handle_input(t1, PeerInput::MediaFrom(v6()));
    receive(&mut m, t1, v6(), &check(4));
    assert_eq!(words(&mut m), ["Success to 6000"]);
}

#[test]
fn the_last_flight_an_alert_and_the_farewell_are_as_with_full_ice() {
    let t0 = Instant::now();
    for (role, repeats) in [(DtlsRole::Server, 1), (DtlsRole::Client, 0)] {
        let mut m = machine();
        describe(&mut m, t0, role);
        receive(&mut m, t0, v4(), &nomination(1));
        m.handle_engine(t0, FromEngine::Dtls(DTLS.to_vec()));
        m.handle_handshake(t0, Ok(established()));
        outputs(&mut m);
        receive(&mut m, t0, v4(), &[22, 0xfe, 0xfd]);
        assert_eq!(words(&mut m), vec!["send 20 to 5000"; repeats], "{role:?}");
        receive(&mut m, t0, v4(), &[21, 0xfe, 0xfd, 0, 1]);
        assert_eq!(m.counters.get(Counter::DtlsAlert), 1);
        m.handle_input(t0, PeerInput::Close);
        assert_eq!(words(&mut m), ["send 21 to 5000", "end"]);
    }
    let mut m = machine();
    describe(&mut m, t0, DtlsRole::Client);
    receive(&mut m, t0, v4(), &nomination(1));
    outputs(&mut m);
    m.handle_handshake(t0, Err(HandshakeError::Certificate));
    assert_eq!(words(&mut m), ["Failed(DtlsFailed)", "end"]);
}

/// Whatever is changed in a check: nothing panics, and nothing but what was signed is believed or answered.
#[test]
#[expect(clippy::cast_possible_truncation, reason = "random values are meant to be cut")]
fn changed_checks_never_panic_are_never_answered_and_select_nothing() {
    let t0 = Instant::now();
    let mut seed = Seed::from_number(8445);
    let mut m = connected(t0, DtlsRole::Server);
    let samples = [
        nomination(1),
        signed(2, "ours:them", IceRole::Controlled, true, OURS.1),
        stun::consent_request([3; 12], "ours:them", OURS.1),
        stun::binding_success([4; 12], v4().local, THEIRS.1),
    ];
    let elsewhere = path("203.0.113.9:4000");
    for sample in &samples {
        let signed = sample.len() - 8;
        for _ in 0..30_000 {
            let mut bytes = sample.clone();
            for _ in 0..=seed.below(3) {
                let at = seed.below(bytes.len() as u64) as usize;
                bytes[at] = seed.next_u32() as u8;
            }
            if seed.below(4) == 0 {
                bytes.truncate(seed.below(bytes.len() as u64 + 1) as usize);
            }
            if bytes.get(..signed) == sample.get(..signed) {
                continue;
            }
            receive(&mut m, t0, elsewhere, &bytes);
            let said = words(&mut m);
            assert!(said.is_empty(), "{said:?} for {bytes:02x?}");
        }
    }
    assert!(!m.paths.is_known(elsewhere));
}
