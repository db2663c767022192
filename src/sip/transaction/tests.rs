//! Transition tables of the four machines and the routing of the layer. The tables are written from the
//! figures of RFC 3261 §17 and RFC 6026, not from the code.

use super::*;
use crate::sip::{CSeq, Flow, HeaderName, Message, Method, StatusCode, Uri, parse};
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);

fn request(method: Method) -> Request {
    let mut r = Request::new(method.clone(), Uri::parse("sip:bob@192.0.2.4").unwrap());
    r.headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bKnashds8;rport");
    r.headers.push(HeaderName::MaxForwards, "70");
    r.headers.push(HeaderName::From, "<sip:alice@192.0.2.1>;tag=1928301774");
    r.headers.push(HeaderName::To, "<sip:bob@192.0.2.4>");
    r.headers.push(HeaderName::CallId, "a84b4c76e66710");
    r.headers.push(HeaderName::CSeq, CSeq { number: 7, method }.to_string());
    r
}

fn response(method: Method, code: u16) -> Response {
    request(method).response(StatusCode::new(code).unwrap(), Some("a6c85cf"))
}

/// Outputs in short: the first word of each message sent, and marks for the rest.
fn short_client(mut next: impl FnMut() -> Option<ClientOutput>) -> String {
    let mut out = Vec::new();
    while let Some(o) = next() {
        out.push(match o {
            ClientOutput::Send(b) => format!("send {}", first_word(&b)),
            ClientOutput::Deliver(r) => format!("tell {}", r.status),
            ClientOutput::Failed(f) => format!("{f:?}"),
            ClientOutput::Terminated => "end".to_owned(),
        });
    }
    out.join(", ")
}

fn short_server(mut next: impl FnMut() -> Option<ServerOutput>) -> String {
    let mut out = Vec::new();
    while let Some(o) = next() {
        out.push(match o {
            ServerOutput::Send(b) => format!("send {}", first_word(&b)),
            ServerOutput::Ack(_) => "tell ACK".to_owned(),
            ServerOutput::Failed(f) => format!("{f:?}"),
            ServerOutput::Terminated => "end".to_owned(),
        });
    }
    out.join(", ")
}

fn first_word(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let word = text.strip_prefix("SIP/2.0 ").unwrap_or(&text);
    word.split(' ').next().unwrap().to_owned()
}

/// The event that leads into a state, then the event under test.
#[test]
fn the_invite_client_follows_figure_3_of_rfc_6026() {
    // state, event → state, actions; "—" stands for no action
    let table = [
        ("Calling", "180", "Proceeding", "tell 180"),
        ("Calling", "200", "Accepted", "tell 200"),
        ("Calling", "486", "Completed", "send ACK, tell 486"),
        ("Calling", "A", "Calling", "send INVITE"),
        ("Calling", "B", "Terminated", "Timeout, end"),
        ("Calling", "error", "Terminated", "Transport, end"),
        ("Proceeding", "180", "Proceeding", "tell 180"),
        ("Proceeding", "200", "Accepted", "tell 200"),
        ("Proceeding", "486", "Completed", "send ACK, tell 486"),
        ("Proceeding", "A", "Proceeding", ""),
        ("Proceeding", "B", "Proceeding", ""),
        ("Proceeding", "error", "Proceeding", ""),
        ("Completed", "180", "Completed", ""),
        ("Completed", "200", "Completed", ""),
        ("Completed", "486", "Completed", "send ACK"),
        ("Completed", "B", "Terminated", "end"), // 64·T1 is timer D here
        ("Completed", "error", "Terminated", "end"),
        ("Accepted", "180", "Accepted", ""),
        ("Accepted", "200", "Accepted", "tell 200"),
        ("Accepted", "486", "Accepted", ""),
        ("Accepted", "B", "Terminated", "end"), // 64·T1 is timer M here
        ("Accepted", "error", "Accepted", ""),
        ("Terminated", "180", "Terminated", ""),
        ("Terminated", "200", "Terminated", ""),
        ("Terminated", "486", "Terminated", ""),
        ("Terminated", "B", "Terminated", ""),
        ("Terminated", "error", "Terminated", ""),
    ];
    for (state, event, then, actions) in table {
        let t0 = Instant::now();
        let mut m = ClientInvite::start(t0, request(Method::INVITE), Timings::default(), false);
        let apply = |m: &mut ClientInvite, event: &str| match event {
            "A" => m.handle_timeout(t0 + T1),
            "B" => m.handle_timeout(t0 + T1 * 64),
            "error" => m.handle_transport_error(),
            code => m.handle_response(t0, response(Method::INVITE, code.parse().unwrap())),
        };
        match state {
            "Proceeding" => apply(&mut m, "180"),
            "Completed" => apply(&mut m, "486"),
            "Accepted" => apply(&mut m, "200"),
            "Terminated" => apply(&mut m, "error"),
            _ => {}
        }
        if event == "B" && state == "Calling" {
            // A fires on the way; only what B does is looked at
            (1..64).for_each(|n| m.handle_timeout(t0 + T1 * n));
        }
        while m.poll_output().is_some() {}
        assert_eq!(format!("{:?}", m.state()), state);
        apply(&mut m, event);
        let did = short_client(|| m.poll_output());
        let did = did.strip_prefix("send INVITE, Timeout").map_or(did.clone(), |r| format!("Timeout{r}"));
        assert_eq!((format!("{:?}", m.state()).as_str(), did.as_str()), (then, actions), "{state} + {event}");
    }
}

use super::client_invite::ClientInvite;
use super::client_request::ClientRequest;
use super::server_invite::ServerInvite;
use super::server_request::ServerRequest;

#[test]
fn the_non_invite_client_follows_figure_6_of_rfc_3261() {
    let table = [
        ("Trying", "100", "Proceeding", "tell 100"),
        ("Trying", "200", "Completed", "tell 200"),
        ("Trying", "481", "Completed", "tell 481"),
        ("Trying", "E", "Trying", "send BYE"),
        ("Trying", "F", "Terminated", "Timeout, end"),
        ("Trying", "error", "Terminated", "Transport, end"),
        ("Proceeding", "100", "Proceeding", "tell 100"),
        ("Proceeding", "200", "Completed", "tell 200"),
        ("Proceeding", "E", "Proceeding", "send BYE"),
        ("Proceeding", "F", "Terminated", "Timeout, end"),
        ("Proceeding", "error", "Terminated", "Transport, end"),
        ("Completed", "100", "Completed", ""),
        ("Completed", "200", "Completed", ""),
        ("Completed", "K", "Terminated", "end"),
        ("Completed", "error", "Completed", ""),
        ("Terminated", "200", "Terminated", ""),
        ("Terminated", "F", "Terminated", ""),
    ];
    for (state, event, then, actions) in table {
        let t0 = Instant::now();
        let wire = request(Method::BYE).to_bytes();
        let mut m = ClientRequest::start(t0, wire, Timings::default(), false);
        let apply = |m: &mut ClientRequest, event: &str| match event {
            "E" => m.handle_timeout(t0 + T1),
            "K" => m.handle_timeout(t0 + Duration::from_secs(5)),
            "F" => m.handle_timeout(t0 + T1 * 64),
            "error" => m.handle_transport_error(),
            code => m.handle_response(t0, response(Method::BYE, code.parse().unwrap())),
        };
        match state {
            "Proceeding" => apply(&mut m, "100"),
            "Completed" => apply(&mut m, "200"),
            "Terminated" => apply(&mut m, "error"),
            _ => {}
        }
        while m.poll_output().is_some() {}
        assert_eq!(format!("{:?}", m.state()), state);
        apply(&mut m, event);
        let did = short_client(|| m.poll_output());
        let did = did.strip_prefix("send BYE, Timeout").map_or(did.clone(), |r| format!("Timeout{r}"));
        assert_eq!((format!("{:?}", m.state()).as_str(), did.as_str()), (then, actions), "{state} + {event}");
    }
}

#[test]
fn the_invite_server_follows_figure_2_of_rfc_6026() {
    let table = [
        ("Proceeding", "INVITE", "Proceeding", "send 180"),
        ("Proceeding", "183", "Proceeding", "send 183"),
        ("Proceeding", "200", "Accepted", "send 200"),
        ("Proceeding", "486", "Completed", "send 486"),
        ("Proceeding", "ACK", "Proceeding", ""),
        ("Proceeding", "error", "Proceeding", "Transport"),
        ("Completed", "INVITE", "Completed", "send 486"),
        ("Completed", "183", "Completed", ""),
        ("Completed", "200", "Completed", ""),
        ("Completed", "ACK", "Confirmed", ""),
        ("Completed", "G", "Completed", "send 486"),
        ("Completed", "H", "Terminated", "Timeout, end"),
        ("Completed", "error", "Completed", "Transport"),
        ("Confirmed", "INVITE", "Confirmed", ""),
        ("Confirmed", "ACK", "Confirmed", ""),
        ("Confirmed", "G", "Confirmed", ""),
        ("Confirmed", "I", "Terminated", "end"),
        ("Accepted", "INVITE", "Accepted", ""),
        ("Accepted", "ACK", "Accepted", "tell ACK"),
        ("Accepted", "200", "Accepted", "send 200"),
        ("Accepted", "486", "Accepted", ""),
        ("Accepted", "H", "Terminated", "end"), // 64·T1 is timer L here
        ("Accepted", "error", "Accepted", "Transport"),
        ("Terminated", "INVITE", "Terminated", ""),
        ("Terminated", "ACK", "Terminated", ""),
    ];
    for (state, event, then, actions) in table {
        let t0 = Instant::now();
        let mut m = ServerInvite::start(t0, &request(Method::INVITE), Timings::default(), false);
        let apply = |m: &mut ServerInvite, event: &str| match event {
            "INVITE" => m.handle_retransmission(),
            "ACK" => m.handle_ack(t0, request(Method::ACK)),
            "G" => m.handle_timeout(t0 + T1),
            "I" => m.handle_timeout(t0 + Duration::from_secs(5)),
            "H" => m.handle_timeout(t0 + T1 * 64),
            "error" => m.handle_transport_error(),
            code => m.respond(t0, &response(Method::INVITE, code.parse().unwrap())),
        };
        let into: &[&str] = match state {
            "Completed" => &["486"],
            "Confirmed" => &["486", "ACK"],
            "Accepted" => &["200"],
            "Terminated" => &["200", "H"],
            _ => &["180"],
        };
        into.iter().for_each(|e| apply(&mut m, e));
        while m.poll_output().is_some() {}
        assert_eq!(format!("{:?}", m.state()), state);
        apply(&mut m, event);
        let did = short_server(|| m.poll_output());
        let did = did.strip_prefix("send 486, Timeout").map_or(did.clone(), |r| format!("Timeout{r}"));
        assert_eq!((format!("{:?}", m.state()).as_str(), did.as_str()), (then, actions), "{state} + {event}");
    }
}

#[test]
fn the_non_invite_server_follows_figure_8_of_rfc_3261() {
    let table = [
        ("Trying", "again", "Trying", ""),
        ("Trying", "100", "Proceeding", "send 100"),
        ("Trying", "200", "Completed", "send 200"),
        ("Proceeding", "again", "Proceeding", "send 100"),
        ("Proceeding", "200", "Completed", "send 200"),
        ("Proceeding", "error", "Terminated", "Transport, end"),
        ("Completed", "again", "Completed", "send 200"),
        ("Completed", "481", "Completed", ""),
        ("Completed", "J", "Terminated", "end"),
        ("Completed", "error", "Terminated", "Transport, end"),
        ("Terminated", "again", "Terminated", ""),
    ];
    for (state, event, then, actions) in table {
        let t0 = Instant::now();
        let mut m = ServerRequest::start(t0, Timings::default(), false);
        let apply = |m: &mut ServerRequest, event: &str| match event {
            "again" => m.handle_retransmission(),
            "J" => m.handle_timeout(t0 + T1 * 64),
            "error" => m.handle_transport_error(),
            code => m.respond(t0, &response(Method::OPTIONS, code.parse().unwrap())),
        };
        match state {
            "Proceeding" => apply(&mut m, "100"),
            "Completed" => apply(&mut m, "200"),
            "Terminated" => ["200", "J"].iter().for_each(|e| apply(&mut m, e)),
            _ => {}
        }
        while m.poll_output().is_some() {}
        assert_eq!(format!("{:?}", m.state()), state);
        apply(&mut m, event);
        let did = short_server(|| m.poll_output());
        assert_eq!((format!("{:?}", m.state()).as_str(), did.as_str()), (then, actions), "{state} + {event}");
    }
}

/// When a machine sends, in milliseconds from its start.
fn schedule(mut next: impl FnMut() -> Option<(Instant, Timer)>, t0: Instant) -> Option<(u64, Timer)> {
    next().map(|(at, timer)| (u64::try_from(at.duration_since(t0).as_millis()).unwrap(), timer))
}

#[test]
fn an_unanswered_invite_is_sent_7_times_and_given_up_after_32_s_rfc_3261_17_1_1_2() {
    let t0 = Instant::now();
    let mut m = ClientInvite::start(t0, request(Method::INVITE), Timings::default(), false);
    let mut fired = Vec::new();
    while let Some((at, timer)) = schedule(|| m.poll_timeout(), t0) {
        fired.push((at, timer));
        m.handle_timeout(t0 + Duration::from_millis(at));
    }
    let a = |ms| (ms, Timer::A);
    assert_eq!(fired, [a(500), a(1_500), a(3_500), a(7_500), a(15_500), a(31_500), (32_000, Timer::B)]);
}

#[test]
fn an_unanswered_bye_is_repeated_up_to_every_t2_rfc_3261_17_1_2_2() {
    let t0 = Instant::now();
    let mut m = ClientRequest::start(t0, request(Method::BYE).to_bytes(), Timings::default(), false);
    let mut fired = Vec::new();
    while let Some((at, timer)) = schedule(|| m.poll_timeout(), t0) {
        fired.push(at);
        m.handle_timeout(t0 + Duration::from_millis(at));
        assert!(matches!(timer, Timer::E | Timer::F));
    }
    assert_eq!(fired, [500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500, 32_000]);
}

#[test]
fn an_invite_without_an_answer_of_the_user_gets_100_after_200_ms_rfc_3261_17_2_1() {
    let t0 = Instant::now();
    let mut m = ServerInvite::start(t0, &request(Method::INVITE), Timings::default(), false);
    m.handle_retransmission();
    assert_eq!(short_server(|| m.poll_output()), "");
    assert_eq!(m.poll_timeout(), Some((t0 + Duration::from_millis(200), Timer::Trying)));
    m.handle_timeout(t0 + Duration::from_millis(200));
    m.handle_retransmission();
    assert_eq!(short_server(|| m.poll_output()), "send 100, send 100");
}

#[test]
fn the_ack_of_a_failure_has_the_branch_of_the_invite_and_the_to_of_the_response_rfc_3261_17_1_1_3() {
    let t0 = Instant::now();
    let mut invite = request(Method::INVITE);
    invite.headers.push(HeaderName::Route, "<sip:p1.example;lr>");
    let mut m = ClientInvite::start(t0, invite.clone(), Timings::default(), false);
    m.poll_output();
    m.handle_response(t0, response(Method::INVITE, 486));
    let Some(ClientOutput::Send(bytes)) = m.poll_output() else { panic!("an ACK was expected") };
    let Message::Request(ack) = parse(&bytes, &crate::sip::Limits::UDP).unwrap() else { panic!() };
    assert_eq!(ack.method, Method::ACK);
    assert_eq!(ack.uri, invite.uri);
    assert_eq!(ack.headers.get(&HeaderName::Via), invite.headers.get(&HeaderName::Via));
    assert_eq!(ack.headers.get(&HeaderName::Route), Some("<sip:p1.example;lr>"));
    assert_eq!(ack.headers.to().unwrap().tag(), Some("a6c85cf"));
    assert_eq!(ack.headers.get(&HeaderName::CSeq), Some("7 ACK"));
}

fn flow() -> Flow {
    Flow::udp("192.0.2.4:5080".parse().unwrap(), "192.0.2.1:5999".parse().unwrap())
}

fn layer(max: usize) -> Layer {
    Layer::new(LayerConfig { max_servers: max, max_clients: max, ..LayerConfig::default() })
}

fn drain(layer: &mut Layer) -> Vec<LayerOutput> {
    std::iter::from_fn(|| layer.poll_output()).collect()
}

#[test]
fn a_retransmission_reaches_the_user_once_and_the_answer_goes_to_the_source_port_rfc_3581_4() {
    let (t0, mut l) = (Instant::now(), layer(10));
    l.handle_request(t0, request(Method::OPTIONS), flow(), false).unwrap();
    l.handle_request(t0, request(Method::OPTIONS), flow(), false).unwrap();
    let out = drain(&mut l);
    let [LayerOutput::Request { id, request: r, .. }] = out.as_slice() else { panic!("{out:?}") };
    l.respond(t0, *id, &r.response(StatusCode::OK, Some("x")));
    l.handle_request(t0, request(Method::OPTIONS), flow(), false).unwrap();
    let sent = drain(&mut l);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|o| matches!(o, LayerOutput::Send { flow: f, bytes }
        if *f == flow() && String::from_utf8_lossy(bytes).contains("rport=5999;received=192.0.2.1"))));
    l.handle_timeout(t0 + T1 * 64);
    assert!(l.is_empty());
}

#[test]
fn a_cancel_names_its_invite_and_an_ack_of_a_failure_is_not_told_rfc_3261_9_2() {
    let (t0, mut l) = (Instant::now(), layer(10));
    l.handle_request(t0, request(Method::INVITE), flow(), false).unwrap();
    let Some(LayerOutput::Request { id: invite_id, request: r, .. }) = l.poll_output() else { panic!() };
    l.handle_request(t0, request(Method::CANCEL), flow(), false).unwrap();
    let Some(LayerOutput::Request { invite, .. }) = l.poll_output() else { panic!() };
    assert_eq!(invite, Some(invite_id));
    l.respond(t0, invite_id, &r.response(StatusCode::REQUEST_TERMINATED, Some("x")));
    drain(&mut l);
    l.handle_request(t0, request(Method::ACK), flow(), false).unwrap();
    assert_eq!(drain(&mut l), []);
    let mut stray = request(Method::ACK);
    stray.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1:5080;branch=z9hG4bKother");
    l.handle_request(t0, stray, flow(), false).unwrap();
    assert!(matches!(drain(&mut l).as_slice(), [LayerOutput::Ack { .. }]));
}

#[test]
fn another_sent_by_with_the_same_branch_is_another_transaction_rfc_3261_17_2_3() {
    let (t0, mut l) = (Instant::now(), layer(10));
    l.handle_request(t0, request(Method::OPTIONS), flow(), false).unwrap();
    let mut other = request(Method::OPTIONS);
    other.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.9:5080;branch=z9hG4bKnashds8");
    l.handle_request(t0, other, flow(), false).unwrap();
    assert_eq!(l.len(), 2);
}

#[test]
fn requests_without_the_cookie_are_matched_by_the_old_rule_rfc_3261_17_2_3() {
    let (t0, mut l) = (Instant::now(), layer(10));
    for (call, expected) in [("one", 1), ("one", 1), ("two", 2)] {
        let mut old = request(Method::OPTIONS);
        old.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1");
        old.headers.set(HeaderName::CallId, call);
        l.handle_request(t0, old, flow(), false).unwrap();
        assert_eq!(l.len(), expected);
    }
}

#[test]
fn the_table_is_capped_and_empties_by_itself() {
    let (t0, mut l) = (Instant::now(), layer(3));
    for n in 0..50 {
        let mut r = request(Method::OPTIONS);
        r.headers.set(HeaderName::Via, format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{n}"));
        l.handle_request(t0, r, flow(), false).unwrap();
    }
    assert_eq!((l.len(), l.drops().full), (3, 47));
    l.handle_timeout(t0 + T1 * 64);
    assert_eq!((l.len(), l.poll_timeout()), (0, None));
}

#[test]
fn what_lingers_makes_room_for_what_is_new_the_oldest_first() {
    let (t0, mut l) = (Instant::now(), layer(2));
    let ours = |n: u32| {
        let mut r = request(Method::OPTIONS);
        r.headers.set(HeaderName::Via, format!("SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK{n}"));
        r
    };
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(l.send_request(t0, ours(n), flow()).unwrap());
        l.handle_response(t0, ours(n).response(StatusCode::OK, Some("x")));
    }
    let over: Vec<_> =
        drain(&mut l).into_iter().filter(|o| matches!(o, LayerOutput::Terminated { .. })).collect();
    assert_eq!(over, [LayerOutput::Terminated { id: ids[0] }, LayerOutput::Terminated { id: ids[1] }]);
    for n in 4..8 {
        l.handle_request(t0, ours(n), flow(), false).unwrap();
        let Some(LayerOutput::Request { id, request, .. }) =
            drain(&mut l).into_iter().find(|o| matches!(o, LayerOutput::Request { .. }))
        else {
            panic!()
        };
        l.respond(t0, id, &request.response(StatusCode::OK, Some("x")));
    }
    assert_eq!((l.len(), l.drops().full, l.is_quiet()), (4, 0, true));
    l.handle_timeout(t0 + T1 * 64);
    assert_eq!((l.len(), l.poll_timeout()), (0, None));
}

/// A request of its own transaction.
fn numbered(method: Method, n: u32) -> Request {
    let mut r = request(method);
    r.headers.set(HeaderName::Via, format!("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{n}"));
    r
}

/// It comes, and is answered; whether it got that far.
fn is_answered(l: &mut Layer, now: Instant, request: Request, status: StatusCode) -> bool {
    l.handle_request(now, request, flow(), false).unwrap();
    let asked = drain(l).into_iter().find_map(|o| match o {
        LayerOutput::Request { id, request, .. } => Some((id, request)),
        _ => None,
    });
    if let Some((id, request)) = &asked {
        l.respond(now, *id, &request.response(status, Some("x")));
    }
    asked.is_some()
}

#[test]
fn failures_that_nobody_acknowledges_keep_nobody_out() {
    let (t0, mut l) = (Instant::now(), layer(4));
    for n in 0..20 {
        assert!(is_answered(&mut l, t0, numbered(Method::INVITE, n), StatusCode::NOT_FOUND), "INVITE {n}");
    }
    assert!(is_answered(&mut l, t0, numbered(Method::BYE, 20), StatusCode::OK));
    assert_eq!((l.len(), l.drops().full, l.is_quiet()), (4, 0, false));
    l.handle_timeout(t0 + T1 * 64);
    assert_eq!((l.len(), l.poll_timeout()), (0, None));
}

#[test]
fn who_ignores_our_failures_makes_room_before_who_may_repeat_himself() {
    let (t0, mut l) = (Instant::now(), layer(3));
    assert!(is_answered(&mut l, t0, numbered(Method::BYE, 0), StatusCode::OK));
    assert!(is_answered(&mut l, t0, numbered(Method::INVITE, 1), StatusCode::NOT_FOUND));
    assert!(is_answered(&mut l, t0, numbered(Method::INVITE, 2), StatusCode::NOT_FOUND));
    drain(&mut l);
    for after in [1, 3, 7] {
        l.handle_timeout(t0 + T1 * after);
    }
    assert_eq!(drain(&mut l).len(), 6, "each is repeated three times");
    let later = t0 + T1 * 8;
    assert!(is_answered(&mut l, later, numbered(Method::BYE, 3), StatusCode::OK));
    // what lingers is answered from memory, what made room is asked anew
    assert!(!is_answered(&mut l, later, numbered(Method::BYE, 0), StatusCode::OK));
    assert!(!is_answered(&mut l, later, numbered(Method::INVITE, 2), StatusCode::NOT_FOUND));
    assert!(is_answered(&mut l, later, numbered(Method::INVITE, 1), StatusCode::NOT_FOUND));
}

#[test]
fn a_response_needs_branch_and_method_of_a_request_of_ours_rfc_3261_17_1_3() {
    let (t0, mut l) = (Instant::now(), layer(10));
    let id = l.send_request(t0, request(Method::INVITE), flow()).unwrap();
    drain(&mut l);
    l.handle_response(t0, response(Method::CANCEL, 200));
    assert_eq!((drain(&mut l), l.drops().stray_responses), (vec![], 1));
    l.handle_response(t0, response(Method::INVITE, 180));
    assert!(matches!(drain(&mut l).as_slice(), [LayerOutput::Response { id: i, .. }] if *i == id));
}
