//! Who is let in, who is asked again, and what either costs.

use super::*;
use crate::sip::digest::{Credentials, DigestClient};
use crate::sip::{Method, Response};

const REALM: &str = "sipedge";
const BOTH: &[Algorithm] = &[Algorithm::Sha256, Algorithm::Md5];

fn here() -> IpAddr {
    IpAddr::from([192, 0, 2, 4])
}

fn server(t0: Instant) -> DigestServer {
    DigestServer::new(DigestServerConfig::new(REALM), t0, Seed::from_number(1))
}

fn invite(uri: &str) -> Request {
    Request::new(Method::INVITE, Uri::parse(uri).unwrap())
}

/// A peer with its password, and the set that the server has of it.
struct Peer {
    client: DigestClient,
    secrets: BTreeMap<String, Ha1Set>,
    uri: &'static str,
}

impl Peer {
    fn new(user: &str, password: &str) -> Self {
        let right = Secret::new("s3cret");
        let secrets = [("pbx", "pbx"), ("o'hara é", "o'hara é")]
            .map(|(key, user)| (key.to_owned(), Ha1Set::of_password(user, REALM, &right, &Algorithm::ALL)));
        Self {
            client: DigestClient::new(Credentials::new(user, Secret::new(password))),
            secrets: BTreeMap::from(secrets),
            uri: "sip:100@192.0.2.1",
        }
    }

    fn only(mut self, algorithm: Algorithm) -> Self {
        let mut credentials = Credentials::new("pbx", Secret::new("s3cret"));
        credentials.algorithms = vec![algorithm];
        self.client = DigestClient::new(credentials);
        self
    }

    fn check(&self, s: &mut DigestServer, now: Instant, r: &Request) -> Result<String, Box<Denied>> {
        s.check(now, r, here(), BOTH, |user| self.secrets.get(user))
    }

    /// The request that answers a challenge.
    fn answer(&mut self, denied: &Denied) -> Request {
        self.client.begin();
        let r = invite(self.uri);
        let challenged: Response = denied.answer.to(&r, Some("t"));
        let lines = self.client.answer(&challenged, &[], &Method::INVITE, self.uri, "c0ffee").unwrap();
        with(r, lines.iter().map(|h| h.value()))
    }

    /// Asks, and answers what comes back.
    fn log_in(&mut self, s: &mut DigestServer, now: Instant) -> (Request, Result<String, Box<Denied>>) {
        let denied = self.check(s, now, &invite(self.uri)).unwrap_err();
        assert!(!denied.is_failed_login && denied.user.is_none());
        let r = self.answer(&denied);
        let result = self.check(s, now, &r);
        (r, result)
    }
}

fn with<'a>(mut r: Request, lines: impl Iterator<Item = &'a str>) -> Request {
    lines.for_each(|l| r.headers.push(HeaderName::Authorization, l));
    r
}

fn edited(r: &Request, from: &str, to: &str) -> Request {
    let line = r.headers.get(&HeaderName::Authorization).unwrap();
    assert!(line.contains(from), "{line}");
    let mut out = r.clone();
    out.headers.set(HeaderName::Authorization, line.replace(from, to));
    out
}

fn is_stale(denied: &Denied) -> bool {
    denied.answer.headers.iter().all(|h| h.value().ends_with(", stale=true"))
}

#[test]
fn a_challenge_names_sha_256_first_and_md5_second_rfc_8760_2_4() {
    let t0 = Instant::now();
    let denied = Peer::new("pbx", "s3cret").check(&mut server(t0), t0, &invite("sip:a@b")).unwrap_err();
    assert_eq!(denied.answer.status, StatusCode::UNAUTHORIZED);
    let lines: Vec<_> = denied.answer.headers.iter().map(|h| (h.name().clone(), h.value())).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|(n, v)| *n == HeaderName::WwwAuthenticate && v.contains("qop=\"auth\"")));
    assert!(lines[0].1.contains("algorithm=SHA-256") && lines[1].1.contains("algorithm=MD5"));
    assert_eq!(offer(Transport::Udp), BOTH);
}

#[test]
fn the_right_password_lets_in_by_each_algorithm_that_is_offered() {
    let t0 = Instant::now();
    for algorithm in BOTH {
        let mut peer = Peer::new("pbx", "s3cret").only(*algorithm);
        let (r, result) = peer.log_in(&mut server(t0), t0);
        assert!(r.headers.get(&HeaderName::Authorization).unwrap().contains(algorithm.as_str()));
        assert_eq!(result.as_deref(), Ok("pbx"));
    }
    let (_, result) = Peer::new("o'hara é", "s3cret").log_in(&mut server(t0), t0);
    assert_eq!(result.as_deref(), Ok("o'hara é"));
}

#[test]
fn an_algorithm_that_was_not_offered_or_that_the_user_may_not_use_does_not_let_in() {
    let t0 = Instant::now();
    let mut s = server(t0);
    let mut peer = Peer::new("pbx", "s3cret").only(Algorithm::Md5);
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let r = peer.answer(&denied);
    let downgraded = s.check(t0, &r, here(), &[Algorithm::Sha256], |u| peer.secrets.get(u)).unwrap_err();
    assert_eq!(downgraded.answer.headers.len(), 1);
    let strict = Ha1Set::of_password("pbx", REALM, &Secret::new("s3cret"), &[Algorithm::Sha256]);
    assert!(s.check(t0, &r, here(), BOTH, |_| Some(&strict)).unwrap_err().is_failed_login);
    assert_eq!(peer.check(&mut s, t0, &r).as_deref(), Ok("pbx"));
}

#[test]
fn the_same_work_is_done_and_the_same_answer_given_whoever_asks() {
    let t0 = Instant::now();
    let mut s = server(t0);
    let mut seen = Vec::new();
    for (user, password) in [("pbx", "s3cret"), ("pbx", "wrong"), ("nobody", "s3cret")] {
        let mut peer = Peer::new(user, password);
        let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
        let r = peer.answer(&denied);
        let before = s.work();
        let result = peer.check(&mut s, t0, &r);
        // a refusal makes one nonce more
        let hashes = s.work().hashes - before.hashes - u64::from(result.is_err());
        seen.push((hashes, s.work().bytes_compared - before.bytes_compared, result));
    }
    assert!(seen.iter().all(|(hashes, bytes, _)| (*hashes, *bytes) == (3, 64 + 56)), "{seen:?}");
    let shape = |i: usize| {
        let denied = seen[i].2.as_ref().unwrap_err();
        assert!(denied.is_failed_login);
        let nonce = |v: &str| v.split('"').nth(3).unwrap().to_owned();
        denied.answer.headers.iter().map(|h| h.value().replace(&nonce(h.value()), "")).collect::<Vec<_>>()
    };
    assert!(seen[0].2.is_ok());
    assert_eq!(shape(1), shape(2));
    assert_eq!(seen[2].2.as_ref().unwrap_err().user.as_deref(), Some("nobody"));
}

#[test]
fn a_count_must_rise_and_a_replay_is_stale_and_no_failed_login_rfc_7616_3_4() {
    let t0 = Instant::now();
    let (mut s, mut peer) = (server(t0), Peer::new("pbx", "s3cret"));
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let first = peer.answer(&denied);
    let second = peer.answer(&denied);
    assert!(second.headers.get(&HeaderName::Authorization).unwrap().contains("nc=00000002"));
    assert!(peer.check(&mut s, t0, &second).is_ok());
    for replay in [&first, &second] {
        let denied = peer.check(&mut s, t0, replay).unwrap_err();
        assert!(is_stale(&denied) && !denied.is_failed_login);
        let again = peer.answer(&denied);
        assert!(peer.check(&mut s, t0, &again).is_ok());
    }
}

#[test]
fn a_nonce_ends_after_its_lifetime_and_serves_its_source_alone() {
    let t0 = Instant::now();
    let (mut s, mut peer) = (server(t0), Peer::new("pbx", "s3cret"));
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let r = peer.answer(&denied);
    let elsewhere = IpAddr::from([192, 0, 2, 5]);
    let stolen = s.check(t0, &r, elsewhere, BOTH, |u| peer.secrets.get(u)).unwrap_err();
    assert!(is_stale(&stolen) && !stolen.is_failed_login);
    let late = peer.check(&mut s, t0 + Duration::from_secs(300), &r).unwrap_err();
    assert!(is_stale(&late) && !late.is_failed_login);
    assert!(peer.check(&mut s, t0 + Duration::from_secs(299), &r).is_ok());
    // another process, another key
    let mut other = DigestServer::new(DigestServerConfig::new(REALM), t0, Seed::from_number(2));
    assert!(is_stale(&peer.check(&mut other, t0, &r).unwrap_err()));
}

#[test]
fn who_is_wrong_with_an_old_nonce_has_failed_to_log_in() {
    let t0 = Instant::now();
    let (mut s, mut peer) = (server(t0), Peer::new("pbx", "wrong"));
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let r = peer.answer(&denied);
    let late = peer.check(&mut s, t0 + Duration::from_secs(900), &r).unwrap_err();
    assert!(!is_stale(&late) && late.is_failed_login);
}

#[test]
fn a_client_that_knows_no_qop_may_use_a_nonce_once_rfc_2069() {
    let t0 = Instant::now();
    let (mut s, peer) = (server(t0), Peer::new("pbx", "s3cret"));
    let once = |s: &mut DigestServer| {
        let denied = peer.check(s, t0, &invite(peer.uri)).unwrap_err();
        let nonce = denied.answer.headers[1].value().split('"').nth(3).unwrap().to_owned();
        let h = ha1(Algorithm::Md5, "pbx", REALM, &Secret::new("s3cret"));
        let response = response_as_written(Algorithm::Md5, &h, &nonce, None, "INVITE", peer.uri);
        let line = format!(
            "Digest username=\"pbx\",realm=\"sipedge\",nonce=\"{nonce}\",uri=\"{}\",response=\"{response}\"",
            peer.uri
        );
        with(invite(peer.uri), [line.as_str()].into_iter())
    };
    let r = once(&mut s);
    assert!(peer.check(&mut s, t0, &r).is_ok());
    assert!(is_stale(&peer.check(&mut s, t0, &r).unwrap_err()));
    let r = once(&mut s);
    assert!(peer.check(&mut s, t0, &r).is_ok());
}

#[test]
fn credentials_for_another_resource_method_or_realm_are_none() {
    let t0 = Instant::now();
    let (mut s, mut peer) = (server(t0), Peer::new("pbx", "s3cret"));
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let r = peer.answer(&denied);
    let is_let_in = |s: &mut DigestServer, r: &Request| peer.check(s, t0, r).is_ok();
    for uri in ["sip:101@192.0.2.1", "sip:100@192.0.2.9", "sips:100@192.0.2.1", "tel:100"] {
        let mut other = r.clone();
        other.uri = Uri::parse(uri).unwrap();
        assert!(!is_let_in(&mut s, &other), "{uri}");
    }
    let mut bye = r.clone();
    bye.method = Method::BYE;
    assert!(!is_let_in(&mut s, &bye));
    assert!(!is_let_in(&mut s, &edited(&r, "realm=\"sipedge\"", "realm=\"other\"")));
    assert!(!is_let_in(&mut s, &edited(&r, "Digest ", "NoOneKnowsThisScheme ")));
    assert!(!is_let_in(&mut s, &edited(&r, "qop=auth", "qop=auth-int")));
    assert!(!is_let_in(&mut s, &edited(&r, "nc=00000001", "nc=00000000")));
    assert!(!is_let_in(&mut s, &edited(&r, "nc=00000001", "nc=+0000001")));
    // what real peers and proxies do to a Request-URI
    let mut same = r;
    same.uri = Uri::parse("sip:100@192.0.2.1:5080;transport=udp").unwrap();
    assert!(is_let_in(&mut s, &same));
}

#[test]
fn the_table_of_counts_is_bounded_and_what_it_forgets_can_never_be_replayed() {
    let t0 = Instant::now();
    let config = DigestServerConfig { nonces: 8, ..DigestServerConfig::new(REALM) };
    let mut s = DigestServer::new(config, t0, Seed::from_number(3));
    let used: Vec<Request> = (0..100_u64)
        .map(|n| {
            let (r, result) = Peer::new("pbx", "s3cret").log_in(&mut s, t0 + Duration::from_millis(n / 3));
            assert!(result.is_ok());
            r
        })
        .collect();
    assert_eq!(s.counts.len(), 8);
    let now = t0 + Duration::from_secs(1);
    let peer = Peer::new("pbx", "s3cret");
    assert!(used.iter().all(|r| peer.check(&mut s, now, r).is_err_and(|d| is_stale(&d))));
    // nobody without a password takes any room
    for n in 0..1_000 {
        let (_, result) = Peer::new(&format!("u{n}"), "x").log_in(&mut s, now);
        assert!(result.is_err());
    }
    assert_eq!(s.counts.len(), 8);
    let (_, result) = Peer::new("pbx", "s3cret").log_in(&mut s, t0 + Duration::from_secs(600));
    assert!(result.is_ok());
    assert_eq!(s.counts.len(), 1);
}

#[test]
fn no_changed_byte_of_the_credentials_lets_anybody_else_in_or_panics() {
    let t0 = Instant::now();
    let (mut s, mut peer) = (server(t0), Peer::new("pbx", "s3cret"));
    let denied = peer.check(&mut s, t0, &invite(peer.uri)).unwrap_err();
    let r = peer.answer(&denied);
    let line = r.headers.get(&HeaderName::Authorization).unwrap().to_owned();
    let mut seed = Seed::from_number(7616);
    let spice = b"\",=\\ \t;:<>\xff\0aA0";
    for _ in 0..20_000 {
        let mut bytes = line.clone().into_bytes();
        for _ in 0..=seed.below(6) {
            let at = usize::try_from(seed.below(bytes.len() as u64)).unwrap();
            let byte = spice[usize::try_from(seed.below(spice.len() as u64)).unwrap()];
            match seed.below(4) {
                0 => bytes[at] ^= 1 << seed.below(8),
                1 => bytes.insert(at, byte),
                2 => bytes[at] = byte,
                _ => bytes.truncate(at + 1),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let other = with(invite(peer.uri), [text.as_str()].into_iter());
        match peer.check(&mut s, t0, &other) {
            Ok(user) => assert_eq!(user, "pbx", "{text}"),
            Err(d) => assert!(d.user.is_none_or(|u| u.len() <= 200)),
        }
    }
}

#[test]
fn the_uri_of_credentials_may_leave_parameters_out_also_those_of_a_telephone_rfc_3261_22_4() {
    let t0 = Instant::now();
    let mut s = server(t0);
    // the Request-URI of one who writes `user=phone` and other parameters there, and not in its credentials
    for (request, written) in [
        ("sip:+1-201-555-0123@192.0.2.1:5080;user=phone", "sip:+1-201-555-0123@192.0.2.1"),
        ("sip:100@192.0.2.1;transport=udp", "sip:100@192.0.2.1"),
    ] {
        let mut peer = Peer::new("pbx", "s3cret");
        let denied = peer.check(&mut s, t0, &invite(request)).unwrap_err();
        let r = invite(request);
        let challenged = denied.answer.to(&r, Some("t"));
        let lines = peer.client.answer(&challenged, &[], &Method::INVITE, written, "c0ffee").unwrap();
        let r = with(r, lines.iter().map(|h| h.value()));
        assert_eq!(peer.check(&mut s, t0, &r), Ok("pbx".into()), "{request}");
    }
}
