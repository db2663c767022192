//! The transition table of a registration, and what its requests say.

use super::*;
use crate::base::{External, Secret};
use crate::sip::{Flow, Host};
use std::net::SocketAddr;

fn end(local: &str) -> LocalEnd {
    let local: SocketAddr = local.parse().unwrap();
    let flow = Flow::udp(local, "192.0.2.4:5060".parse().unwrap());
    LocalEnd { flow, external: External::default(), contact_user: None, agent: "test".into(), is_sips: false }
}

fn here() -> LocalEnd {
    end("192.0.2.1:5080")
}

fn machine() -> Registration {
    let host = || Host::parse("pbx.example").unwrap();
    let config = RegisterConfig {
        registrar: SipUri::new(None, host(), None),
        aor: SipUri::new(Some("edge"), host(), None),
        contact_user: Some("edge".into()),
        credentials: Some(Credentials::new("edge", Secret::new("s3cret"))),
        expires: Duration::from_secs(300),
    };
    Registration::start(config, Seed::from_number(1))
}

/// What is asked for; each `Send` is built, and the last request comes back.
fn drain(m: &mut Registration, end: &LocalEnd) -> (Vec<String>, Option<Request>) {
    let (mut said, mut last) = (Vec::new(), None);
    while let Some(output) = m.poll_output() {
        said.push(match output {
            Output::Send => {
                let r = m.request(end);
                let expires = r.headers.get(&HeaderName::Expires).unwrap_or_default().to_owned();
                last = Some(r);
                format!("send {expires}")
            }
            Output::State(RegisterState::Registering) => "registering".into(),
            Output::State(RegisterState::Registered { expires }) => format!("bound {}", expires.as_secs()),
            Output::State(RegisterState::Failed(why)) => format!("failed: {why}"),
            Output::State(RegisterState::Closed) => "closed".into(),
            Output::ServiceRoute(way) => {
                format!("way {}", way.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Output::Done => "done".into(),
        });
    }
    (said, last)
}

fn response(r: &Request, code: u16, lines: &[(HeaderName, &str)]) -> Response {
    let mut response = r.response(StatusCode::new(code).unwrap(), Some("t"));
    lines.iter().for_each(|(n, v)| response.headers.push(n.clone(), *v));
    response
}

const CHALLENGE: &str = "Digest realm=\"pbx\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";

#[test]
fn beyond_a_nat_the_address_there_is_bound_and_the_former_one_taken_away() {
    let external = External::new(&["203.0.113.7".parse().unwrap()]).unwrap();
    let (mut m, now) = (machine(), Instant::now());
    let contacts = |r: &Request| {
        r.headers
            .contacts()
            .unwrap()
            .iter()
            .map(|c| (c.uri.to_string(), c.params.value("expires").unwrap().to_owned()))
            .collect::<Vec<_>>()
    };
    let bound = |address: &str, expires: &str| (format!("sip:edge@{address}:5080"), expires.to_owned());
    let r = drain(&mut m, &LocalEnd { external, ..here() }).1.unwrap();
    assert!(r.headers.get(&HeaderName::Via).unwrap().starts_with("SIP/2.0/UDP 203.0.113.7:5080;"));
    assert_eq!(contacts(&r), [bound("203.0.113.7", "300")]);
    m.handle_response(
        now,
        &response(&r, 200, &[(HeaderName::Contact, "<sip:edge@203.0.113.7:5080>;expires=90")]),
    );
    m.refresh();
    // the NAT has gone
    let r = drain(&mut m, &here()).1.unwrap();
    assert_eq!(contacts(&r), [bound("192.0.2.1", "300"), bound("203.0.113.7", "0")]);
}

#[test]
fn proxies_on_the_way_to_a_registrar_are_each_told_who_we_are_rfc_3261_22_3() {
    let (mut m, now) = (machine(), Instant::now());
    let mut r = drain(&mut m, &here()).1.unwrap();
    let mut ask = |realm: &str| {
        let challenge = CHALLENGE.replace("realm=\"", &format!("realm=\"{realm}-"));
        m.handle_response(now, &response(&r, 407, &[(HeaderName::ProxyAuthenticate, &challenge)]));
        r = drain(&mut m, &here()).1?;
        Some(r.headers.count(&HeaderName::ProxyAuthorization))
    };
    assert_eq!((ask("p1"), ask("p2"), ask("p3")), (Some(1), Some(2), Some(3)));
    assert_eq!(ask("p2"), None, "that one has refused what it was told");
    assert_eq!(*m.state(), RegisterState::Failed(RegisterFailure::Credentials(DigestError::Refused)));
}

#[test]
fn a_proxy_on_the_way_may_add_a_path_rfc_3327_5_1() {
    let request = drain(&mut machine(), &here()).1.unwrap();
    assert_eq!(request.headers.tokens(&HeaderName::Supported), ["path"]);
}

/// One event; returns what is asked for.
fn event(m: &mut Registration, now: Instant, name: &str) -> String {
    let r = match m.contact.is_some() {
        // any request will do for a response's headers
        true => Request::new(Method::REGISTER, Uri::parse("sip:pbx.example").unwrap()),
        false => return drain(m, &here()).0.join(", "),
    };
    match name {
        "200" => m.handle_response(now, &response(&r, 200, &[(HeaderName::Expires, "100")])),
        "401" => m.handle_response(now, &response(&r, 401, &[(HeaderName::WwwAuthenticate, CHALLENGE)])),
        "423" => m.handle_response(now, &response(&r, 423, &[(HeaderName::MinExpires, "600")])),
        "100" | "403" => m.handle_response(now, &response(&r, name.parse().unwrap(), &[])),
        "lost" => m.handle_failure(now, RegisterFailure::Timeout),
        "clock" => m.handle_timeout(now + Duration::from_secs(100)),
        "early" => m.handle_timeout(now),
        "refresh" => m.refresh(),
        "close" => m.close(),
        other => panic!("{other}"),
    }
    drain(m, &here()).0.join(", ")
}

#[test]
fn the_transitions_are_those_of_the_table() {
    let t0 = Instant::now();
    // events that lead into a state, the event under test, what is asked for, and the state then
    let table: &[(&[&str], &str, &str, Phase)] = &[
        (&[""], "100", "", Phase::Asking),
        (&[""], "200", "bound 100", Phase::Resting),
        (&[""], "401", "send 300", Phase::Asking),
        (&[""], "423", "send 600", Phase::Asking),
        (&[""], "403", "failed: the registrar answers 403 Forbidden", Phase::Waiting),
        (&[""], "lost", "failed: nobody answered in time", Phase::Waiting),
        (&[""], "clock", "", Phase::Asking),
        (&[""], "refresh", "", Phase::Asking),
        (&[""], "close", "", Phase::Asking),
        (&["", "401"], "200", "bound 100", Phase::Resting),
        (&["", "401"], "401", "failed: the far side refused the user or password", Phase::Waiting),
        (&["", "423"], "401", "send 600", Phase::Asking),
        (&["", "401"], "423", "send 600", Phase::Asking),
        (&["", "423"], "423", "failed: the registrar answers 423 Interval Too Brief", Phase::Waiting),
        (&["", "200"], "200", "", Phase::Resting),
        (&["", "200"], "403", "", Phase::Resting),
        (&["", "200"], "lost", "", Phase::Resting),
        (&["", "200"], "early", "", Phase::Resting),
        (&["", "200"], "clock", "send 300", Phase::Asking),
        (&["", "200"], "refresh", "send 300", Phase::Asking),
        (&["", "200"], "close", "send 0", Phase::Removing),
        (&["", "200", "clock"], "200", "", Phase::Resting),
        (&["", "200", "clock"], "lost", "failed: nobody answered in time", Phase::Waiting),
        (&["", "403"], "200", "", Phase::Waiting),
        (&["", "403"], "early", "", Phase::Waiting),
        (&["", "403"], "clock", "send 300", Phase::Asking),
        (&["", "403"], "refresh", "send 300", Phase::Asking),
        (&["", "403"], "close", "send 0", Phase::Removing),
        (&["", "403", "clock"], "403", "", Phase::Waiting),
        (&["", "403", "clock"], "lost", "failed: nobody answered in time", Phase::Waiting),
        (&["", "403", "clock"], "200", "bound 100", Phase::Resting),
        (&["", "close"], "200", "bound 100, send 0", Phase::Removing),
        (&["", "close"], "401", "send 300", Phase::Asking),
        (&["", "close"], "lost", "failed: nobody answered in time, closed, done", Phase::Closed),
        (&["", "close"], "403", "failed: the registrar answers 403 Forbidden, send 0", Phase::Removing),
        (&["", "200", "close"], "401", "send 0", Phase::Removing),
        (&["", "200", "close"], "200", "closed, done", Phase::Closed),
        (&["", "200", "close"], "403", "closed, done", Phase::Closed),
        (&["", "200", "close"], "423", "closed, done", Phase::Closed),
        (&["", "200", "close"], "lost", "closed, done", Phase::Closed),
        (&["", "200", "close"], "clock", "", Phase::Removing),
        (&["", "200", "close"], "close", "", Phase::Removing),
        (&["", "200", "close", "200"], "200", "", Phase::Closed),
        (&["", "200", "close", "200"], "clock", "", Phase::Closed),
        (&["", "200", "close", "200"], "refresh", "", Phase::Closed),
        (&["", "200", "close", "200"], "close", "", Phase::Closed),
    ];
    for (before, name, expected, phase) in table {
        let mut m = machine();
        before.iter().for_each(|b| drop(event(&mut m, t0, b)));
        assert_eq!((event(&mut m, t0, name).as_str(), m.phase), (*expected, *phase), "{before:?} {name}");
        let has_timer = matches!(m.phase, Phase::Resting | Phase::Waiting);
        assert_eq!(m.poll_timeout().is_some(), has_timer, "{before:?} {name}");
    }
}

#[test]
fn call_id_stays_and_cseq_rises_over_challenges_and_refreshes_rfc_3261_10_2_4() {
    let (t0, mut m) = (Instant::now(), machine());
    let first = drain(&mut m, &here()).1.unwrap();
    m.handle_response(t0, &response(&first, 401, &[(HeaderName::WwwAuthenticate, CHALLENGE)]));
    let second = drain(&mut m, &here()).1.unwrap();
    m.handle_response(t0, &response(&second, 200, &[]));
    m.refresh();
    let third = drain(&mut m, &here()).1.unwrap();
    for (a, b) in [(&first, &second), (&second, &third)] {
        assert_eq!(a.headers.call_id(), b.headers.call_id());
        assert_eq!(a.headers.cseq().unwrap().number + 1, b.headers.cseq().unwrap().number);
        assert_ne!(a.headers.top_via().unwrap().branch(), b.headers.top_via().unwrap().branch());
        assert!(b.essentials().is_ok());
    }
    assert_eq!(first.uri.to_string(), "sip:pbx.example");
    assert_eq!(first.headers.get(&HeaderName::To), Some("<sip:edge@pbx.example>"));
    assert_eq!(first.headers.get(&HeaderName::Contact), Some("<sip:edge@192.0.2.1:5080>;expires=300"));
    assert!(second.headers.get(&HeaderName::Authorization).unwrap().contains("uri=\"sip:pbx.example\""));
    assert!(third.headers.get(&HeaderName::Authorization).is_none());
}

#[test]
fn the_granted_lifetime_counts_and_is_refreshed_before_its_last_tenth_rfc_3261_10_2_4() {
    let t0 = Instant::now();
    let ours = "<sip:edge@192.0.2.1:5080>";
    for (lines, granted) in [
        (vec![(HeaderName::Expires, "60".to_owned())], 60),
        (vec![], 300),
        (vec![(HeaderName::Contact, format!("<sip:x@y>;expires=7, {ours};expires=120"))], 120),
        (vec![(HeaderName::Contact, "<sip:edge@198.51.100.9:1024>;expires=90".to_owned())], 90),
        (vec![(HeaderName::Contact, ours.to_owned()), (HeaderName::Expires, "70".to_owned())], 70),
        (vec![(HeaderName::Contact, format!("{ours};expires=4294967295"))], MAX_EXPIRES),
        (vec![(HeaderName::Contact, "\"open".to_owned())], 300),
    ] {
        let mut m = machine();
        let r = drain(&mut m, &here()).1.unwrap();
        let lines: Vec<_> = lines.iter().map(|(n, v)| (n.clone(), v.as_str())).collect();
        m.handle_response(t0, &response(&r, 200, &lines));
        let expires = Duration::from_secs(u64::from(granted));
        assert_eq!(*m.state(), RegisterState::Registered { expires }, "{lines:?}");
        let rest = m.poll_timeout().unwrap().0 - t0;
        assert!(rest >= expires * 8 / 10 && rest <= expires * 9 / 10, "{rest:?}");
    }
    let mut m = machine();
    let r = drain(&mut m, &here()).1.unwrap();
    m.handle_response(t0, &response(&r, 200, &[(HeaderName::Expires, "0")]));
    assert_eq!(*m.state(), RegisterState::Failed(RegisterFailure::NotBound));
}

#[test]
fn a_registrar_that_is_away_is_asked_ever_more_slowly_and_at_least_every_four_seconds() {
    let (mut now, mut m) = (Instant::now(), machine());
    let mut waits = Vec::new();
    let mut told = 0;
    for _ in 0..40 {
        let (said, _) = drain(&mut m, &here());
        told += said.iter().filter(|s| s.starts_with("failed")).count();
        m.handle_failure(now, RegisterFailure::Unreachable);
        let (at, why) = m.poll_timeout().unwrap();
        assert_eq!(why, RegisterTimer::Retry);
        waits.push(at - now);
        now = at;
        m.handle_timeout(now);
    }
    assert!(waits[0] <= FIRST_WAIT && waits.iter().all(|w| *w <= MAX_WAIT), "{waits:?}");
    assert!(waits[10..].iter().all(|w| *w >= MAX_WAIT / 2));
    assert_eq!(told, 1, "one state, one word");
}

/// Waits between attempts that all come to this, so many.
fn waits(m: &mut Registration, n: usize, code: u16, lines: &[(HeaderName, &str)]) -> Vec<Duration> {
    let mut now = Instant::now();
    let mut waits = Vec::new();
    for _ in 0..n {
        let r = drain(m, &here()).1.unwrap();
        let mut answer = response(&r, code, lines);
        m.handle_response(now, &answer);
        // challenged twice, it is refused
        if code == 401 {
            answer = response(&drain(m, &here()).1.unwrap(), code, lines);
            m.handle_response(now, &answer);
        }
        let (at, why) = m.poll_timeout().unwrap();
        assert_eq!(why, RegisterTimer::Retry);
        waits.push(at - now);
        now = at;
        m.handle_timeout(now);
    }
    waits
}

#[test]
fn a_registrar_that_refuses_is_asked_ever_more_slowly_rfc_3261_22_3() {
    let challenge = [(HeaderName::WwwAuthenticate, CHALLENGE)];
    for (code, lines) in [(401, &challenge[..]), (403, &[]), (404, &[]), (302, &[]), (603, &[])] {
        let waits = waits(&mut machine(), 12, code, lines);
        let in_ten_minutes = waits.iter().scan(0, |sum, w| {
            *sum += w.as_secs();
            Some(*sum)
        });
        assert!(in_ten_minutes.filter(|at| *at < 600).count() < 5, "{code} {waits:?}");
        assert!(waits[0] >= FIRST_REFUSED_WAIT / 2 && waits.iter().all(|w| *w <= MAX_REFUSED_WAIT));
        assert!(waits[8..].iter().all(|w| *w >= MAX_REFUSED_WAIT / 2), "{waits:?}");
    }
    // one that is only not ready yet
    for code in [408, 480, 500, 503, 504] {
        assert!(waits(&mut machine(), 12, code, &[]).iter().all(|w| *w <= MAX_WAIT), "{code}");
    }
    // one that starts, and then lets us in or refuses
    let mut m = machine();
    waits(&mut m, 5, 503, &[]);
    assert!(waits(&mut m, 1, 403, &[])[0] <= FIRST_REFUSED_WAIT);
    assert!(waits(&mut m, 1, 503, &[])[0] <= FIRST_WAIT);
}

#[test]
fn a_registrar_that_says_when_to_come_again_is_left_alone_until_then_rfc_3261_21_5_4() {
    for (code, after, least) in [(503, "60", 60), (480, "20 (later);duration=9", 20), (404, "120", 120)] {
        let waits = waits(&mut machine(), 3, code, &[(HeaderName::RetryAfter, after)]);
        let range = Duration::from_secs(least)..=Duration::from_secs(least) + MAX_WAIT;
        assert!(waits.iter().all(|w| range.contains(w)), "{code} {waits:?}");
    }
    let forever = waits(&mut machine(), 1, 503, &[(HeaderName::RetryAfter, "4294967295")])[0];
    assert!(forever <= MAX_RETRY_AFTER + MAX_WAIT);
}

#[test]
fn a_changed_address_leaves_no_second_binding_behind() {
    let (t0, mut m) = (Instant::now(), machine());
    let r = drain(&mut m, &here()).1.unwrap();
    m.handle_response(t0, &response(&r, 200, &[]));
    let moved = end("198.51.100.7:5080");
    m.refresh();
    let r = drain(&mut m, &moved).1.unwrap();
    let contacts: Vec<_> = r.headers.all(&HeaderName::Contact).collect();
    let (new, old) = ("<sip:edge@198.51.100.7:5080>;expires=300", "<sip:edge@192.0.2.1:5080>;expires=0");
    assert_eq!(contacts, [new, old]);
    // it may not have arrived: the old one is taken away until a 200 says so
    m.handle_failure(t0, RegisterFailure::Timeout);
    m.refresh();
    let r = drain(&mut m, &moved).1.unwrap();
    assert_eq!(r.headers.count(&HeaderName::Contact), 2);
    m.handle_response(t0, &response(&r, 200, &[]));
    m.refresh();
    let r = drain(&mut m, &moved).1.unwrap();
    assert_eq!(r.headers.count(&HeaderName::Contact), 1);
}

#[test]
fn the_way_that_the_registrar_names_is_replaced_each_time_and_given_up_when_the_binding_lapses_rfc_3608_6_1()
{
    let t0 = Instant::now();
    let mut m = machine();
    let bind = |m: &mut Registration, now, ways: &[&str]| {
        let r = drain(m, &here()).1.unwrap();
        let mut lines = vec![(HeaderName::Expires, "100")];
        lines.extend(ways.iter().map(|way| (HeaderName::ServiceRoute, *way)));
        m.handle_response(now, &response(&r, 200, &lines));
        m.poll_output()
    };
    let way =
        |text: &str| Output::ServiceRoute(text.split(", ").map(|w| NameAddr::parse(w).unwrap()).collect());
    let two = "<sip:p.example;lr>, <sip:orig@s.example;lr>";
    assert_eq!(bind(&mut m, t0, &[two]), Some(way(two)));
    m.refresh();
    drain(&mut m, &here());
    // the same says nothing new
    m.refresh();
    let mut lines = drain(&mut m, &here()).1;
    assert!(lines.take().is_none(), "one request is out at a time");
    m.handle_failure(t0, RegisterFailure::Timeout);
    m.refresh();
    assert_eq!(
        bind(&mut m, t0, &["<sip:p.example;lr>", "<sip:orig@s.example;lr>"]),
        Some(Output::State(RegisterState::Registered { expires: Duration::from_secs(100) }))
    );
    m.refresh();
    assert_eq!(bind(&mut m, t0, &["<sip:q.example;lr>"]), Some(way("<sip:q.example;lr>")));
    // a refresh that fails leaves it until the binding lapses
    m.refresh();
    drain(&mut m, &here());
    m.handle_failure(t0, RegisterFailure::Timeout);
    drain(&mut m, &here());
    m.handle_timeout(t0 + Duration::from_secs(99));
    assert!(!drain(&mut m, &here()).0.join(" ").contains("way"));
    m.handle_timeout(t0 + Duration::from_secs(100));
    assert!(drain(&mut m, &here()).0.contains(&"way ".to_owned()));
    // and what cannot be read, or is missing, is none
    for ways in [&["<sip:p.example"][..], &[]] {
        let mut m = machine();
        assert!(!matches!(bind(&mut m, t0, ways), Some(Output::ServiceRoute(_))));
    }
}

#[test]
fn an_unreasonable_min_expires_is_not_obeyed_rfc_3261_10_2_8() {
    let t0 = Instant::now();
    for least in ["0", "300", "86401", "4294967296", "x"] {
        let mut m = machine();
        let r = drain(&mut m, &here()).1.unwrap();
        m.handle_response(t0, &response(&r, 423, &[(HeaderName::MinExpires, least)]));
        assert!(matches!(m.state(), RegisterState::Failed(RegisterFailure::Status(_))), "{least}");
    }
}

#[test]
fn another_registrar_of_several_is_asked_in_its_own_name_and_by_the_proxy_on_the_way() {
    let mut m = machine();
    let first = drain(&mut m, &here()).1.unwrap();
    let now = Instant::now();
    m.handle_failure(now, RegisterFailure::Unreachable);
    m.handle_timeout(now + MAX_WAIT);
    let proxy = NameAddr::parse("<sip:sbc.example;lr>").unwrap();
    m.set_registrar(&Host::parse("192.0.2.9").unwrap(), Some(5070), vec![proxy]);
    let second = drain(&mut m, &here()).1.unwrap();
    let line = |r: &Request, name| r.headers.get(&name).map(str::to_owned);
    assert_eq!((first.uri.to_string(), line(&first, HeaderName::Route)), ("sip:pbx.example".into(), None));
    assert_eq!(second.uri.to_string(), "sip:192.0.2.9:5070");
    assert_eq!(line(&second, HeaderName::To).as_deref(), Some("<sip:edge@192.0.2.9>"));
    assert_eq!(line(&second, HeaderName::Route).as_deref(), Some("<sip:sbc.example;lr>"));
    assert_eq!(line(&first, HeaderName::CallId), line(&second, HeaderName::CallId));
    // the digest is of where it goes
    m.handle_response(now, &response(&second, 401, &[(HeaderName::WwwAuthenticate, CHALLENGE)]));
    let third = drain(&mut m, &here()).1.unwrap();
    assert!(line(&third, HeaderName::Authorization).unwrap().contains("uri=\"sip:192.0.2.9:5070\""));
}
