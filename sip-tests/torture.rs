//! Hostile and odd SIP messages: RFC 4475, RFC 5118, seeded mutations of them, and the cost of size.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: helpers outside test functions may fail it too"
)]

use sipedge::base::Seed;
use sipedge::sip::digest::Challenge;
use sipedge::sip::endpoint::{Endpoint, EndpointConfig, Output, RequestHandler, Verdict};
use sipedge::sip::transaction::LayerConfig;
use sipedge::sip::{
    Answer, CSeq, Flow, HeaderName, Host, Limits, Message, NameAddr, Reason, Request, StatusCode, Uri, Via,
    parse,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-tests/torture");
    let mut all: Vec<PathBuf> = ["rfc4475", "rfc5118"]
        .iter()
        .flat_map(|d| std::fs::read_dir(root.join(d)).unwrap().map(|e| e.unwrap().path()))
        .collect();
    all.sort();
    assert_eq!(all.len(), 62);
    all
}

fn bytes(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-tests/torture/rfc4475");
    std::fs::read(root.join(format!("{name}.dat"))).unwrap()
}

fn message(name: &str) -> Message {
    parse(&bytes(name), &Limits::UDP).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn request(name: &str) -> Request {
    match message(name) {
        Message::Request(r) => r,
        Message::Response(_) => panic!("{name} is a request"),
    }
}

const VALID: [&str; 13] = [
    "wsinv",
    "intmeth",
    "esc01",
    "escnull",
    "esc02",
    "lwsdisp",
    "longreq",
    "dblreq",
    "semiuri",
    "transports",
    "mpart01",
    "unreason",
    "noreason",
];

#[test]
fn the_13_valid_messages_are_read_whole_and_print_with_the_same_meaning_rfc_4475_3_1_1() {
    for name in VALID {
        let m = message(name);
        let essentials = match &m {
            Message::Request(r) => r.essentials(),
            Message::Response(r) => r.essentials(),
        };
        essentials.unwrap_or_else(|e| panic!("{name}: {e}"));
        let headers = m.headers();
        headers.vias().unwrap_or_else(|e| panic!("{name}: {e}"));
        headers.contacts().unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = parse(&m.to_bytes(), &Limits::UDP).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again, m, "{name}");
    }
}

#[test]
fn the_meaning_of_each_valid_message_is_that_of_the_rfc_4475_3_1_1() {
    // 3.1.1.1: folding, odd spaces, escapes in a quoted name, two Vias on one line, a leading zero
    let wsinv = request("wsinv");
    let e = wsinv.essentials().unwrap();
    assert_eq!((e.to.tag(), e.from.tag()), (Some("1918181833n"), Some("98asjd8")));
    assert_eq!(e.from.display.as_deref(), Some("J Rosenberg \\\""));
    assert_eq!((e.cseq.number, wsinv.headers.max_forwards()), (9, Ok(Some(68))));
    let vias = wsinv.headers.vias().unwrap();
    let branches: Vec<_> = vias.iter().filter_map(Via::branch).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    let contact = &wsinv.headers.contacts().unwrap()[0];
    assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
    assert_eq!(contact.params.value("q"), Some("0.33"));
    assert_eq!(wsinv.body.len(), 150);
    assert_eq!(
        wsinv.headers.get(&HeaderName::parse("newfangledheader")),
        Some("newfangled value continued newfangled value")
    );
    // 3.1.1.2: every allowed character
    let intmeth = request("intmeth");
    assert_eq!(intmeth.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
    let to = intmeth.headers.to().unwrap();
    assert_eq!(to.display.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(intmeth.headers.from().unwrap().tag(), Some("_token~1'+`*%!-."));
    // 3.1.1.3: an escaped @ and an escaped scheme are part of the user
    let esc01 = request("esc01");
    assert_eq!(esc01.uri.user_text().as_deref(), Some("sips:user@example.com"));
    assert_eq!(esc01.uri.sip().map(|u| u.host.to_string()).as_deref(), Some("example.net"));
    // 3.1.1.4: escaped nulls make different contacts
    let contacts = request("escnull").headers.contacts().unwrap();
    assert_ne!(contacts[0].uri, contacts[1].uri);
    // 3.1.1.5: % is no escape in method and header names: an unknown method, an unknown header
    let esc02 = request("esc02");
    assert_eq!(esc02.method.as_str(), "RE%47IST%45R");
    assert_eq!(esc02.headers.contacts().unwrap().len(), 2);
    assert_eq!(esc02.headers.to().unwrap().display.as_deref(), Some("%Z%45"));
    // 3.1.1.6: no space before <
    assert_eq!(request("lwsdisp").headers.from().unwrap().display.as_deref(), Some("caller"));
    // 3.1.1.7: 34 Vias in any spelling, one without port and with a long branch at the end
    assert_eq!(request("longreq").headers.vias().unwrap().len(), 34);
    // 3.1.1.8: the second request of the datagram is no body
    assert_eq!((request("dblreq").method.as_str(), request("dblreq").body.len()), ("REGISTER", 0));
    // 3.1.1.9: a semicolon in the user part
    assert_eq!(request("semiuri").uri.user_text().as_deref(), Some("user;par=u@example.net"));
    // 3.1.1.10: transports nobody knows
    let transports: Vec<_> =
        request("transports").headers.vias().unwrap().into_iter().map(|v| v.transport).collect();
    assert_eq!(transports, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    // 3.1.1.11: a binary body
    let mpart = request("mpart01");
    assert_eq!(mpart.body.len(), 553);
    // 3.1.1.12 and .13: a phrase in Russian, and none
    let Message::Response(r) = message("unreason") else { panic!() };
    assert!(r.phrase.starts_with("= 2**3 * 5**2 но сто"));
    let Message::Response(r) = message("noreason") else { panic!() };
    assert_eq!((r.status.code(), r.phrase.as_str()), (100, ""));
}

#[test]
fn a_request_uri_with_headers_is_refused_and_can_be_answered_rfc_4475_3_1_2_11() {
    let e = parse(&bytes("escruri"), &Limits::UDP).unwrap_err();
    assert_eq!((e.status.code(), e.fault.0), (400, "Headers In Request-URI"));
    assert!(e.request.is_some());
}

/// Everything that reads bytes from the network, on one input. Only a panic fails.
fn read_everything(input: &[u8]) {
    let (message, request) = match parse(input, &Limits::UDP) {
        Ok(m) => (Some(m), None),
        Err(e) => {
            assert!(e.to_string().len() <= 200);
            (None, e.request.map(|r| *r))
        }
    };
    if let Some(m) = &message {
        let again =
            parse(&m.to_bytes(), &Limits { header_section: 1 << 20, message: 1 << 20, ..Limits::UDP });
        assert_eq!(again.as_ref(), Ok(m), "{}", input.escape_ascii());
    }
    let request = request.or(match &message {
        Some(Message::Request(r)) => Some(r.clone()),
        _ => None,
    });
    if let Some(r) = request {
        let _ = r.essentials();
        let _ = sipedge::sip::answer::check(&r);
        let response = r.response(StatusCode::BAD_REQUEST, Some("t"));
        // an answer is a message again, whatever the request was
        let limits = Limits { header_section: 1 << 20, message: 1 << 20, ..Limits::UDP };
        assert!(parse(&response.to_bytes(), &limits).is_ok());
        read_values(r.headers.iter().map(|h| h.value()));
    }
}

/// Each value parser, on each text; what reads must print and read back the same.
fn read_values<'a>(values: impl Iterator<Item = &'a str>) {
    for v in values {
        if let Ok(a) = NameAddr::parse(v) {
            let back = NameAddr::parse(&a.to_string());
            assert!(back.is_ok_and(|b| b.uri == a.uri && b.params == a.params), "{v:?}");
        }
        if let Ok(a) = Via::parse(v) {
            assert_eq!(Via::parse(&a.to_string()).as_ref(), Ok(&a), "{v:?}");
        }
        if let Ok(a) = CSeq::parse(v) {
            assert_eq!(CSeq::parse(&a.to_string()).as_ref(), Ok(&a), "{v:?}");
        }
        if let Ok(a) = Uri::parse(v) {
            assert_eq!(Uri::parse(&a.to_string()).as_ref(), Ok(&a), "{v:?}");
        }
        let _ = Reason::parse(v);
        let _ = Host::parse(v);
        let _ = Challenge::parse_line(v);
    }
}

#[test]
fn no_message_of_the_rfcs_panics() {
    files().iter().for_each(|f| read_everything(&std::fs::read(f).unwrap()));
}

/// A few random edits: flip, cut, insert, repeat.
fn mutate(seed: &mut Seed, input: &[u8]) -> Vec<u8> {
    const SPICE: &[u8] = b"\r\n\t \0\"<>;:,=@%[]?\\\xff\xc3z9";
    let mut out = input.to_vec();
    for _ in 0..=seed.below(8) {
        let at = seed.below(out.len() as u64 + 1) as usize;
        let spice = SPICE[seed.below(SPICE.len() as u64) as usize];
        match seed.below(5) {
            0 if at < out.len() => out[at] ^= 1 << seed.below(8),
            1 if at < out.len() => out[at] = spice,
            2 => out.insert(at, spice),
            3 => {
                let end = (at + seed.below(16) as usize).min(out.len());
                drop(out.drain(at..end));
            }
            _ => {
                let end = (at + seed.below(64) as usize).min(out.len());
                let piece = out[at..end].to_vec();
                let to = seed.below(out.len() as u64 + 1) as usize;
                drop(out.splice(to..to, piece));
            }
        }
    }
    out
}

#[test]
fn no_mutation_panics_or_reads_differently_when_printed() {
    let mut seed = Seed::from_number(4475);
    for file in files() {
        let original = std::fs::read(&file).unwrap();
        (0..400).for_each(|_| read_everything(&mutate(&mut seed, &original)));
    }
}

#[test]
fn no_mutated_value_panics() {
    let texts = [
        "\"J \\\\\\\"\" <sip:j:p@[2001:db8::1]:5060;lr;x=%41?a=b>;tag=\"1;2\";q=0.3",
        "SIP / 2.0 / UDP [2001:db8::9]:5060 ;branch=z9hG4bK1;received=[2001:db8::2];rport",
        "Digest realm=\"a, \\\"b\", nonce=\"x\", qop=\"auth,auth-int\", stale=true, Basic realm=x",
        "Q.850;cause=16;text=\"a;b\", SIP;cause=200",
        "2147483647 INVITE",
        "sips:user;par=u%40e.net:pw@example.com:5061;transport=tcp;method=REGISTER?to=x",
    ];
    let mut seed = Seed::from_number(5118);
    for text in texts {
        for _ in 0..5_000 {
            let mutated = mutate(&mut seed, text.as_bytes());
            let text = String::from_utf8_lossy(&mutated).into_owned();
            read_values([text.as_str()].into_iter());
        }
    }
}

#[test]
fn time_is_linear_in_size() {
    let limits =
        Limits { message: 1 << 22, header_section: 1 << 22, lines_of_a_kind: 1 << 22, body: 1 << 22 };
    let shapes: [fn(usize) -> String; 6] = [
        |n| "X: y\r\n".repeat(n / 6),
        |n| format!("X: {}\r\n", "a".repeat(n)),
        |n| format!("X: a{}\r\n", "\r\n b".repeat(n / 4)),
        |n| format!("Contact: {}<sip:a@b>\r\n", "<sip:a@b>, ".repeat(n / 11)),
        |n| format!("Contact: \"{}\" <sip:a@b>\r\n", "\\\"".repeat(n / 2)),
        |n| format!("Via: SIP/2.0/UDP h{}\r\n", ";a=b".repeat(n / 4)),
    ];
    for (i, shape) in shapes.iter().enumerate() {
        let cost = |n: usize| {
            let text = format!("OPTIONS sip:a@b SIP/2.0\r\n{}\r\n", shape(n));
            let once = || {
                let start = Instant::now();
                let m = parse(text.as_bytes(), &limits).unwrap();
                let _ = m.headers().contacts().map(|c| c.len());
                let _ = m.headers().vias().map(|v| v.len());
                start.elapsed()
            };
            (0..5).map(|_| once()).min().unwrap().max(Duration::from_micros(50))
        };
        // 16 times the size: linear is 16, quadratic 256
        let ratio = cost(1 << 19).as_secs_f64() / cost(1 << 15).as_secs_f64();
        assert!(ratio < 80.0, "shape {i}: {ratio}");
    }
}

/// What an RFC asks of a user agent that gets a message.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// It is valid: understood, and answered for what it asks (or, a response, matched and found stray).
    Take,
    /// It is no message to act on: nothing is sent.
    Drop,
    /// One of these.
    Status(&'static [u16]),
    /// The RFC lets an element be lenient: taken, or one of these.
    TakeOr(&'static [u16]),
}
use Want::{Drop, Status, Take, TakeOr};

/// Every message of the two RFCs with its section and its verdict, which comes from the RFCs' text.
///
/// We are a user agent that serves INVITE and OPTIONS and no registrar: REGISTER is taken when it is understood
/// and answered 405, and MESSAGE likewise.
const VERDICTS: &[(&str, &str, Want)] = &[
    ("rfc4475/wsinv", "3.1.1.1", Take),
    ("rfc4475/intmeth", "3.1.1.2", Status(&[501])),
    ("rfc4475/esc01", "3.1.1.3", Take),
    ("rfc4475/escnull", "3.1.1.4", Take),
    ("rfc4475/esc02", "3.1.1.5", Status(&[501])),
    ("rfc4475/lwsdisp", "3.1.1.6", Take),
    ("rfc4475/longreq", "3.1.1.7", Take),
    ("rfc4475/dblreq", "3.1.1.8", Take),
    ("rfc4475/semiuri", "3.1.1.9", Take),
    ("rfc4475/transports", "3.1.1.10", Take),
    ("rfc4475/mpart01", "3.1.1.11", Take),
    ("rfc4475/unreason", "3.1.1.12", Take),
    ("rfc4475/noreason", "3.1.1.13", Take),
    ("rfc4475/badinv01", "3.1.2.1", Status(&[400])),
    ("rfc4475/clerr", "3.1.2.2", Status(&[400])),
    ("rfc4475/ncl", "3.1.2.3", Status(&[400])),
    ("rfc4475/scalar02", "3.1.2.4", Status(&[400])),
    ("rfc4475/scalarlg", "3.1.2.5", Drop),
    ("rfc4475/quotbal", "3.1.2.6", TakeOr(&[400])),
    ("rfc4475/ltgtruri", "3.1.2.7", TakeOr(&[400])),
    ("rfc4475/lwsruri", "3.1.2.8", TakeOr(&[400])),
    ("rfc4475/lwsstart", "3.1.2.9", TakeOr(&[400])),
    ("rfc4475/trws", "3.1.2.10", TakeOr(&[400])),
    ("rfc4475/escruri", "3.1.2.11", TakeOr(&[400])),
    ("rfc4475/baddate", "3.1.2.12", TakeOr(&[400])),
    ("rfc4475/regbadct", "3.1.2.13", TakeOr(&[400])),
    ("rfc4475/badaspec", "3.1.2.14", TakeOr(&[400])),
    ("rfc4475/baddn", "3.1.2.15", TakeOr(&[400])),
    ("rfc4475/badvers", "3.1.2.16", Status(&[505])),
    ("rfc4475/mismatch01", "3.1.2.17", Status(&[400])),
    ("rfc4475/mismatch02", "3.1.2.18", Status(&[501, 400])),
    ("rfc4475/bigcode", "3.1.2.19", Drop),
    ("rfc4475/badbranch", "3.2.1", TakeOr(&[400])),
    ("rfc4475/insuf", "3.3.1", Status(&[400])),
    ("rfc4475/unkscm", "3.3.2", Status(&[416])),
    ("rfc4475/novelsc", "3.3.3", Status(&[416, 404])),
    ("rfc4475/unksm2", "3.3.4", TakeOr(&[400])),
    ("rfc4475/bext01", "3.3.5", Status(&[420])),
    ("rfc4475/invut", "3.3.6", Status(&[415])),
    ("rfc4475/regaut01", "3.3.7", TakeOr(&[401])),
    ("rfc4475/multi01", "3.3.8", Status(&[400])),
    ("rfc4475/mcl01", "3.3.9", Status(&[400])),
    ("rfc4475/bcast", "3.3.10", Drop),
    ("rfc4475/zeromf", "3.3.11", TakeOr(&[483])),
    ("rfc4475/cparam01", "3.3.12", Take),
    ("rfc4475/cparam02", "3.3.13", Take),
    ("rfc4475/regescrt", "3.3.14", Take),
    ("rfc4475/sdp01", "3.3.15", Status(&[406, 400])),
    ("rfc4475/inv2543", "3.4.1", Take),
    ("rfc5118/4_1", "4.1", Take),
    ("rfc5118/4_2", "4.2", Status(&[400])),
    ("rfc5118/4_3", "4.3", Take),
    ("rfc5118/4_4", "4.4", Take),
    ("rfc5118/4_5_1", "4.5", Take),
    ("rfc5118/4_5_2", "4.5", Take),
    ("rfc5118/4_6", "4.6", Take),
    ("rfc5118/4_7", "4.7", Take),
    ("rfc5118/4_8", "4.8", Take),
    ("rfc5118/4_9", "4.9", Take),
    // three colons: allowed by the grammar of RFC 3261, a fault of it by RFC 5118
    ("rfc5118/4_10_1", "4.10", TakeOr(&[400])),
    ("rfc5118/4_10_2", "4.10", Take),
];

/// Answers every INVITE.
struct AnswerAll;

impl RequestHandler for AnswerAll {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Answer(Answer::new(StatusCode::OK))
    }
}

/// What an endpoint of ours does with a datagram: the status it sends, and whether a response was understood.
fn ours(bytes: &[u8]) -> (Option<u16>, bool) {
    let config = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 10,
        limits: Limits::UDP,
        agent: "test".into(),
        handler: Arc::new(AnswerAll),
    };
    let mut endpoint = Endpoint::new(config, Seed::from_number(1));
    let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap());
    endpoint.handle_datagram(Instant::now(), flow, bytes);
    let mut statuses = Vec::new();
    while let Some(output) = endpoint.poll_output() {
        if let Output::Send { bytes, .. } = output {
            // a long request has a long answer: its Vias come back
            let limits = Limits { message: 1 << 16, header_section: 1 << 16, ..Limits::UDP };
            match parse(&bytes, &limits).unwrap() {
                Message::Response(r) => statuses.push(r.status.code()),
                Message::Request(r) => panic!("a request was sent: {:?}", r.method),
            }
        }
    }
    assert!(statuses.len() <= 1, "{statuses:?}");
    (statuses.first().copied(), endpoint.drops().stray_responses == 1)
}

#[test]
fn every_message_gets_what_its_rfc_asks_for_rfc_4475_3_and_rfc_5118_4() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-tests/torture");
    let mut wrong = Vec::new();
    for (name, section, want) in VERDICTS {
        let (status, is_stray) = ours(&std::fs::read(root.join(format!("{name}.dat"))).unwrap());
        // a broken message is told by these; everything else is an answer to what was asked
        let is_taken = is_stray || status.is_some_and(|s| ![400, 505, 513].contains(&s));
        let is_right = match want {
            Take => is_taken,
            Drop => status.is_none() && !is_stray,
            Status(list) => status.is_some_and(|s| list.contains(&s)),
            TakeOr(list) => is_taken || status.is_some_and(|s| list.contains(&s)),
        };
        if !is_right {
            wrong.push(format!("{name} ({section}): {want:?} is asked for, ours is {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // all of them are there, and all 13 valid ones are taken
    let count = |prefix: &str| VERDICTS.iter().filter(|(n, ..)| n.starts_with(prefix)).count();
    assert_eq!((count("rfc4475/"), count("rfc5118/")), (49, 12));
    for name in VALID {
        let (status, is_stray) = ours(&bytes(name));
        assert!(is_stray || status.is_some_and(|s| ![400, 505, 513].contains(&s)), "{name}: {status:?}");
    }
}

#[test]
fn no_error_text_carries_more_than_200_bytes_of_the_input() {
    let huge = "X".repeat(20_000);
    let mut inputs: Vec<Vec<u8>> = files().iter().map(|f| std::fs::read(f).unwrap()).collect();
    for line in ["Via", "From", "To", "Call-ID", "CSeq", "Contact", "Content-Length", "Max-Forwards"] {
        inputs.push(format!("INVITE sip:a@b SIP/2.0\r\n{line}: \"{huge}\r\n\r\n").into_bytes());
    }
    inputs.push(format!("{huge} {huge} SIP/2.0\r\n\r\n").into_bytes());
    inputs.push(format!("SIP/2.0 {huge}\r\n\r\n").into_bytes());
    let wide = Limits { message: 1 << 20, header_section: 1 << 20, lines_of_a_kind: 64, body: 1 << 20 };
    for input in inputs {
        for limits in [Limits::UDP, Limits::TCP, wide] {
            match parse(&input, &limits) {
                Err(e) => assert!(e.to_string().len() <= 200),
                Ok(Message::Request(r)) => {
                    if let Err(e) = r.essentials() {
                        assert!(e.to_string().len() <= 200);
                    }
                    assert!(format!("{:?}", r.method).len() <= 200);
                }
                Ok(Message::Response(_)) => {}
            }
        }
    }
}
