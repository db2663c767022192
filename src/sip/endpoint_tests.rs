//! What strangers hear: requests of no dialog, malformed ones, and those to dialogs that are not.

use super::*;

const T1: Duration = Duration::from_millis(500);

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 2,
        limits: Limits::UDP,
        agent: "test".into(),
        handler: Arc::new(Refuse(StatusCode::FORBIDDEN)),
    };
    Endpoint::new(config, Seed::from_number(1))
}

fn flow() -> Flow {
    Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:6060".parse().unwrap())
}

fn text(method: &str, more: &str) -> String {
    format!(
        "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKa;rport\r\n\
         From: <sip:a@192.0.2.4>;tag=far\r\nTo: <sip:100@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\n{more}\r\n"
    )
}

fn sent(e: &mut Endpoint) -> Vec<(SocketAddr, Response)> {
    let mut out = Vec::new();
    while let Some(output) = e.poll_output() {
        if let Output::Send { flow, bytes } = output
            && let Ok(Message::Response(r)) = parse(&bytes, &Limits::UDP)
        {
            out.push((flow.path.remote, r));
        }
    }
    out
}

fn ask(text: &str) -> Option<Response> {
    let mut e = endpoint();
    e.handle_datagram(Instant::now(), flow(), text.as_bytes());
    let mut answers = sent(&mut e);
    assert!(answers.len() <= 1);
    answers.pop().map(|(to, r)| {
        assert_eq!(to, flow().path.remote);
        r
    })
}

fn status(text: &str) -> Option<u16> {
    ask(text).map(|r| r.status.code())
}

#[test]
fn options_is_answered_with_what_we_can_do_rfc_3261_11_2() {
    let r = ask(&text("OPTIONS", "Max-Forwards: 0\r\n")).unwrap();
    assert_eq!(r.status, StatusCode::OK);
    for name in [HeaderName::Allow, HeaderName::Accept, HeaderName::Supported, HeaderName::AcceptEncoding] {
        assert!(r.headers.get(&name).is_some(), "{name}");
    }
    assert!(r.headers.to().unwrap().tag().is_some());
}

#[test]
fn each_request_of_a_stranger_gets_its_status() {
    for (expected, message) in [
        (403, text("INVITE", "")),
        (483, text("INVITE", "Max-Forwards: 0\r\n")),
        (420, text("INVITE", "Require: 100rel, x\r\n")),
        (415, text("INVITE", "Content-Type: text/plain\r\nContent-Length: 2\r\n") + "hi"),
        (481, text("BYE", "")),
        (481, text("CANCEL", "")),
        (481, text("INFO", "")),
        (405, text("REGISTER", "")),
        (481, text("UPDATE", "")),
        (481, text("PRACK", "")),
        (405, text("REFER", "")),
        (501, text("FROB", "")),
        (481, text("INVITE", "").replace("192.0.2.1>\r\nCall", "192.0.2.1>;tag=x\r\nCall")),
        (481, text("OPTIONS", "").replace("192.0.2.1>\r\nCall", "192.0.2.1>;tag=x\r\nCall")),
        (400, text("INVITE", "Content-Length: 9\r\n")),
        (400, text("INVITE", "").replace("CSeq: 1 INVITE\r\n", "")),
        (400, text("INVITE", "").replace("1 INVITE", "1 BYE")),
        (400, text("INVITE", "").replace("sip:100@192.0.2.1 ", "<sip:100@192.0.2.1> ")),
        (416, text("INVITE", "").replace("INVITE sip:100@192.0.2.1", "INVITE unknown:x")),
        (505, text("INVITE", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")),
        (513, text("INVITE", &format!("Subject: {}\r\n", "a".repeat(9_000)))),
    ] {
        assert_eq!(status(&message), Some(expected), "{message}");
    }
}

#[test]
fn a_400_says_what_is_wrong_and_carries_the_calls_headers() {
    let r = ask(&text("INVITE", "").replace("Call-ID: c\r\n", "")).unwrap();
    assert_eq!(r.phrase, "Missing Call-ID");
    assert_eq!(r.headers.cseq().unwrap().method, Method::INVITE);
    assert_eq!(r.headers.top_via().unwrap().rport(), Some(Some(6060)));
}

#[test]
fn ack_and_noise_are_never_answered() {
    for message in [
        text("ACK", ""),
        text("ACK", "Content-Length: 9\r\n"),
        text("ACK", "").replace("CSeq: 1 ACK\r\n", ""),
        "\r\n\r\n".into(),
        "\0\0\0\0".into(),
        "hello".into(),
        "SIP/2.0 200 OK\r\n\r\n".into(),
        "INVITE sip:a@b SIP/2.0\r\n\r\n".into(),
    ] {
        assert_eq!(status(&message), None, "{message:?}");
    }
}

#[test]
fn a_refused_invite_is_repeated_until_ack_and_a_cancel_of_it_is_200_rfc_3261_17_2_1() {
    let (mut e, t0) = (endpoint(), Instant::now());
    e.handle_datagram(t0, flow(), text("INVITE", "").as_bytes());
    assert_eq!(sent(&mut e)[0].1.status, StatusCode::FORBIDDEN);
    e.handle_timeout(t0 + T1);
    e.handle_timeout(t0 + T1 * 3);
    assert_eq!(sent(&mut e).len(), 2);
    e.handle_datagram(t0 + T1 * 3, flow(), text("CANCEL", "").as_bytes());
    assert_eq!(sent(&mut e)[0].1.status, StatusCode::OK);
    e.handle_datagram(t0 + T1 * 4, flow(), text("ACK", "").as_bytes());
    e.handle_timeout(t0 + T1 * 100);
    assert_eq!((sent(&mut e).len(), e.live(), e.poll_timeout()), (0, (0, 0), None));
}

#[test]
fn draining_refuses_calls_and_says_so_to_who_asks_whether_we_are_there_rfc_3261_11_2() {
    let (mut e, t0) = (endpoint(), Instant::now());
    e.drain(t0 + Duration::from_secs(30));
    let said = |e: &mut Endpoint, after, message: String| {
        e.handle_datagram(t0 + Duration::from_millis(after), flow(), message.as_bytes());
        let r = sent(e).remove(0).1;
        (r.status.code(), r.headers.get(&HeaderName::RetryAfter).map(str::to_owned))
    };
    let later = |seconds: &str| (503, Some(seconds.to_owned()));
    assert_eq!(said(&mut e, 0, numbered("INVITE", 1)), later("30"));
    assert_eq!(said(&mut e, 0, numbered("OPTIONS", 2)), later("30"));
    assert_eq!(said(&mut e, 10_001, numbered("OPTIONS", 3)), later("20"), "as long as it takes yet");
    assert_eq!(said(&mut e, 99_000, numbered("OPTIONS", 4)), later("1"), "never at once");
    assert_eq!(said(&mut e, 99_000, numbered("BYE", 5)).0, 481, "what asks for no call is answered as ever");
    assert!(e.dial(t0, flow(), None, outgoing()).is_ok(), "a call that began before may ring the next party");
    e.close(t0);
    assert!(e.dial(t0, flow(), None, outgoing()).is_err());
}

#[test]
fn draining_leaves_requests_within_a_dialog_alone() {
    let (mut e, t0) = (endpoint(), Instant::now());
    e.dial(t0, flow(), None, outgoing()).unwrap();
    let Some(Output::Send { bytes, .. }) = e.poll_output() else { panic!("no INVITE") };
    let Ok(Message::Request(invite)) = parse(&bytes, &Limits::UDP) else { panic!("no INVITE") };
    let mut ok = invite.response(StatusCode::OK, Some("far"));
    ok.headers.push(HeaderName::Contact, "<sip:600@192.0.2.4:6060>");
    e.handle_datagram(t0, flow(), &ok.to_bytes());
    let _ = sent(&mut e);
    e.drain(t0 + Duration::from_secs(30));
    let head = |name| invite.headers.get(&name).unwrap().to_owned();
    for (cseq, method) in [(8, "OPTIONS"), (9, "BYE")] {
        let request = format!(
            "{method} sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4:6060;branch=z9hG4bK{cseq}\r\n\
             From: {};tag=far\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\r\n",
            head(HeaderName::To),
            head(HeaderName::From),
            head(HeaderName::CallId)
        );
        e.handle_datagram(t0, flow(), request.as_bytes());
        assert_eq!(sent(&mut e)[0].1.status, StatusCode::OK, "{method}");
    }
}

#[test]
fn a_probe_tells_the_status_or_that_none_came() {
    let (mut e, t0) = (endpoint(), Instant::now());
    let probe = e.probe(t0, flow(), Probe::default()).unwrap();
    let Some(Output::Send { bytes, .. }) = e.poll_output() else { panic!("a request was expected") };
    let Message::Request(r) = parse(&bytes, &Limits::UDP).unwrap() else { panic!() };
    let answer = r.response(StatusCode::OK, Some("t")).to_bytes();
    e.handle_datagram(t0, flow(), &answer);
    assert!(
        matches!(e.poll_output(), Some(Output::Probed { probe: p, result: Ok(StatusCode::OK) }) if p == probe)
    );
    e.probe(t0, flow(), Probe::default()).unwrap();
    e.handle_timeout(t0 + T1 * 64);
    let last = std::iter::from_fn(|| e.poll_output()).last();
    assert!(matches!(last, Some(Output::Probed { result: Err(Failure::Timeout), .. })));
    let later = t0 + T1 * 100;
    e.probe(later, flow(), Probe { limit: Some(T1 * 6), ..Probe::default() }).unwrap();
    e.handle_timeout(later + T1 * 6);
    let last = std::iter::from_fn(|| e.poll_output()).last();
    assert!(matches!(last, Some(Output::Probed { result: Err(Failure::Timeout), .. })));
    assert_eq!(e.live().1, 0);
}

#[test]
fn a_probe_by_a_proxy_asks_for_who_is_behind_it_rfc_3261_8_1_2() {
    let mut e = endpoint();
    let uri = |text: &str| Uri::parse(text).unwrap().sip().unwrap().clone();
    let routes = vec![NameAddr::parse("<sip:sbc.example;lr>").unwrap()];
    let probe = Probe { to: Some(uri("sip:pbx.example:5070")), routes, ..Probe::default() };
    e.probe(Instant::now(), flow(), probe).unwrap();
    let Some(Output::Send { bytes, .. }) = e.poll_output() else { panic!("a request was expected") };
    let Message::Request(r) = parse(&bytes, &Limits::UDP).unwrap() else { panic!() };
    assert_eq!(r.uri.to_string(), "sip:pbx.example:5070");
    assert_eq!(r.headers.get(&HeaderName::Route), Some("<sip:sbc.example;lr>"));
}

#[test]
fn a_probe_beyond_a_nat_names_our_address_there() {
    let mut e = endpoint();
    let external = External::new(&["203.0.113.7".parse().unwrap()]).unwrap();
    e.probe(Instant::now(), flow(), Probe { external, ..Probe::default() }).unwrap();
    let Some(Output::Send { flow: by, bytes }) = e.poll_output() else { panic!("a request was expected") };
    let Message::Request(r) = parse(&bytes, &Limits::UDP).unwrap() else { panic!() };
    assert!(r.headers.get(&HeaderName::Via).unwrap().starts_with("SIP/2.0/UDP 203.0.113.7:5080;"));
    assert_eq!(r.headers.get(&HeaderName::Contact), Some("<sip:203.0.113.7:5080>"));
    assert_eq!(r.headers.from().unwrap().uri.to_string(), "sip:203.0.113.7:5080");
    assert_eq!(by, flow(), "it leaves by our own address");
}

#[test]
fn a_request_of_ours_may_be_given_up_before_64_t1() {
    let (mut e, t0) = (endpoint(), Instant::now());
    let Message::Request(r) = parse(text("REGISTER", "").as_bytes(), &Limits::UDP).unwrap() else { panic!() };
    e.request(t0, flow(), r, Some(T1 * 8)).unwrap();
    e.handle_timeout(t0 + T1 * 8);
    let last = std::iter::from_fn(|| e.poll_output()).last();
    assert!(matches!(last, Some(Output::Answered { result: Err(Failure::Timeout), .. })));
}

#[test]
fn a_call_that_nobody_says_anything_to_is_sent_no_more_after_its_limit_and_a_late_200_is_ended() {
    let (mut e, t0) = (endpoint(), Instant::now());
    let call = OutgoingCall { silence_limit: Some(T1 * 8), ..outgoing() };
    e.dial(t0, flow(), None, call).unwrap();
    let invites = |e: &mut Endpoint| {
        let sent = std::iter::from_fn(|| e.poll_output()).filter_map(|output| match output {
            Output::Send { bytes, .. } => Some(bytes),
            _ => None,
        });
        sent.map(|bytes| parse(&bytes, &Limits::UDP).unwrap()).collect::<Vec<_>>()
    };
    let first = invites(&mut e);
    for n in 1..=16 {
        e.handle_timeout(t0 + T1 * n / 2);
    }
    assert_eq!(invites(&mut e).len(), 3, "at T1, 3·T1 and 7·T1");
    e.handle_timeout(t0 + T1 * 40);
    assert_eq!(invites(&mut e).len(), 0);
    let Message::Request(invite) = &first[0] else { panic!() };
    let mut late = invite.response(StatusCode::OK, Some("t"));
    late.headers.push(HeaderName::Contact, "<sip:x@192.0.2.4>");
    e.handle_datagram(t0 + T1 * 40, flow(), &late.to_bytes());
    let sent: Vec<String> = invites(&mut e)
        .iter()
        .map(|m| match m {
            Message::Request(r) => r.method.to_string(),
            Message::Response(r) => r.status.to_string(),
        })
        .collect();
    assert_eq!(sent, ["ACK", "BYE"]);
}

#[test]
fn a_request_of_ours_outside_any_dialog_yields_its_final_response() {
    let (mut e, t0) = (endpoint(), Instant::now());
    let Message::Request(r) = parse(text("REGISTER", "").as_bytes(), &Limits::UDP).unwrap() else { panic!() };
    let id = e.request(t0, flow(), r.clone(), None).unwrap();
    assert!(matches!(e.poll_output(), Some(Output::Send { .. })));
    e.handle_datagram(t0, flow(), &r.response(StatusCode::TRYING, None).to_bytes());
    assert!(e.poll_output().is_none());
    e.handle_datagram(t0, flow(), &r.response(StatusCode::FORBIDDEN, Some("t")).to_bytes());
    let Some(Output::Answered { request, result: Ok(response) }) = e.poll_output() else { panic!() };
    assert_eq!((request, response.status), (id, StatusCode::FORBIDDEN));
}

fn numbered(method: &str, n: u32) -> String {
    text(method, "").replace("branch=z9hG4bKa", &format!("branch=z9hG4bK{n}"))
}

#[test]
fn strangers_fill_their_part_of_the_transactions_and_a_known_source_is_heard_all_the_same() {
    let (t0, mut e) = (Instant::now(), endpoint());
    let cap = LayerConfig::default().max_strangers;
    for n in 0..50_000 {
        e.handle_stranger(t0, flow(), numbered("OPTIONS", n).as_bytes());
    }
    assert_eq!(sent(&mut e).len(), cap);
    assert_eq!(e.live().1, cap);
    e.handle_datagram(t0, flow(), numbered("OPTIONS", 99_999).as_bytes());
    assert_eq!(sent(&mut e).len(), 1);
    e.handle_timeout(t0 + T1 * 64);
    e.handle_stranger(t0 + T1 * 64, flow(), numbered("OPTIONS", 1).as_bytes());
    assert_eq!(sent(&mut e).len(), 1, "their part is free again");
}

#[test]
fn a_bye_within_a_dialog_is_heard_whatever_strangers_do() {
    let (t0, mut e) = (Instant::now(), endpoint());
    e.dial(t0, flow(), None, outgoing()).unwrap();
    let Some(Output::Send { bytes, .. }) = e.poll_output() else { panic!("no INVITE") };
    let Ok(Message::Request(invite)) = parse(&bytes, &Limits::UDP) else { panic!("no INVITE") };
    let mut ok = invite.response(StatusCode::OK, Some("far"));
    ok.headers.push(HeaderName::Contact, "<sip:600@192.0.2.4:6060>");
    e.handle_datagram(t0, flow(), &ok.to_bytes());
    for n in 0..5_000 {
        e.handle_stranger(t0, flow(), numbered("OPTIONS", n).as_bytes());
    }
    let _ = sent(&mut e);
    let head = |name| invite.headers.get(&name).unwrap().to_owned();
    let bye = format!(
        "BYE sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKbye;rport\r\nFrom: {};tag=far\r\n\
         To: {}\r\nCall-ID: {}\r\nCSeq: 9 BYE\r\n\r\n",
        head(HeaderName::To),
        head(HeaderName::From),
        head(HeaderName::CallId)
    );
    // another host of the far side may send it
    let elsewhere = flow().to("198.51.100.7:5060".parse().unwrap());
    e.handle_stranger(t0, elsewhere, bye.as_bytes());
    let answers = sent(&mut e);
    assert_eq!(answers.iter().map(|(_, r)| r.status.code()).collect::<Vec<_>>(), [200]);
}

#[test]
fn a_stranger_is_refused_once_for_each_invite_it_sends_so_that_a_forged_source_is_not_flooded() {
    let (t0, mut e) = (Instant::now(), endpoint());
    e.handle_stranger(t0, flow(), text("INVITE", "").as_bytes());
    for n in 1..=64 {
        e.handle_timeout(t0 + T1 * n);
    }
    assert_eq!(sent(&mut e).len(), 1);
    assert_eq!(e.live(), (0, 0));
    let mut e = endpoint();
    e.handle_stranger(t0, flow(), text("INVITE", "").as_bytes());
    e.handle_stranger(t0 + T1, flow(), text("INVITE", "").as_bytes());
    assert_eq!(sent(&mut e).len(), 2, "a lost answer comes again when it is asked for again");
}

#[test]
fn a_call_that_is_over_takes_no_place_among_the_calls_at_once() {
    let (t0, mut e) = (Instant::now(), endpoint());
    let dial = |e: &mut Endpoint| {
        let id = e.dial(t0, flow(), None, outgoing());
        let invite = std::iter::from_fn(|| e.poll_output()).find_map(|o| match o {
            Output::Send { bytes, .. } => match parse(&bytes, &Limits::UDP) {
                Ok(Message::Request(r)) if r.method == Method::INVITE => Some(r),
                _ => None,
            },
            _ => None,
        });
        id.map(|_| invite.unwrap())
    };
    for _ in 0..10 {
        let invite = dial(&mut e).unwrap();
        e.handle_datagram(t0, flow(), &invite.response(StatusCode::BUSY_HERE, Some("x")).to_bytes());
    }
    assert_eq!(e.live().0, 10, "they absorb what comes again");
    assert!(dial(&mut e).is_ok() && dial(&mut e).is_ok());
    assert!(dial(&mut e).is_err(), "two are still calls");
    e.handle_timeout(t0 + T1 * 64);
    e.handle_timeout(t0 + T1 * 64);
    assert!(dial(&mut e).is_ok());
}

fn outgoing() -> OutgoingCall {
    let uri = Uri::parse("sip:600@192.0.2.4").unwrap();
    OutgoingCall::new(uri.clone(), NameAddr::new(uri))
}
