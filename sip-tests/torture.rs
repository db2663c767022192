//! Hostile and odd SIP messages: RFC 4475, RFC 5118, seeded mutations of them, and the cost of size.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: helpers outside test functions may fail it too"
)]

#[path = "torture_valid.rs"]
mod valid;

use sipedge::base::Seed;
use sipedge::sdp::SessionDescription;
use sipedge::sip::digest::Challenge;
use sipedge::sip::endpoint::{Acceptance, Endpoint, EndpointConfig, Output, RequestHandler, Verdict};
use sipedge::sip::frame::Framer;
use sipedge::sip::session::IncomingInvite;
use sipedge::sip::transaction::LayerConfig;
use sipedge::sip::{
    CSeq, Flow, HeaderName, Host, Limits, Message, NameAddr, Reason, Replaces, Request, Response, StatusCode,
    Uri, Via, parse,
};
use std::net::IpAddr;
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

const RFC4475: &str = "rfc4475";

fn bytes(folder: &str, name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-tests/torture");
    std::fs::read(root.join(folder).join(format!("{name}.dat"))).unwrap()
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
        if let Some(a) = Replaces::parse(v) {
            assert_eq!(Replaces::parse(&a.to_string()).as_ref(), Some(&a), "{v:?}");
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
        "98732@sip.example.com ;from-tag=r33th4x0r; to-tag=ff87ff;early-only",
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

/// A shape of a message that grows, and how it is read.
type Shape = (fn(usize) -> String, fn(&Message));

#[test]
fn time_is_linear_in_size() {
    let limits =
        Limits { message: 1 << 22, header_section: 1 << 22, lines_of_a_kind: 1 << 22, body: 1 << 22 };
    let nothing: fn(&Message) = |_| ();
    let contacts: fn(&Message) = |m| drop(m.headers().contacts());
    let vias: fn(&Message) = |m| drop(m.headers().vias());
    let shapes: [Shape; 15] = [
        (|n| "X: y\r\n".repeat(n / 6), nothing),
        (|n| (0..n / 10).map(|i| format!("X{i:06}:\r\n")).collect(), nothing),
        (|n| format!("X: {}\r\n", "a".repeat(n)), nothing),
        (|n| format!("X: a{}\r\n", "\r\n b".repeat(n / 4)), nothing),
        (|n| format!("X: a{}\r\n", "\r\n ".repeat(n / 3)), nothing),
        (|n| format!("X: {}\r\n", "\r".repeat(n)), nothing),
        (|n| format!("Contact: {}<sip:a@b>\r\n", "<sip:a@b>, ".repeat(n / 11)), contacts),
        (|n| format!("Contact: \"{}\" <sip:a@b>\r\n", "\\\"".repeat(n / 2)), contacts),
        (|n| format!("Contact: {}\r\n", "\"".repeat(n)), contacts),
        (|n| format!("Contact: <sip:a@b;{}>\r\n", "x;".repeat(n / 2)), contacts),
        (|n| format!("Contact: {}<sip:a@b>\r\n", "<".repeat(n)), contacts),
        (|n| format!("Via: SIP/2.0/UDP h{}\r\n", ";a=b".repeat(n / 4)), vias),
        (|n| format!("Via: {}\r\n", "SIP/2.0/UDP h,".repeat(n / 14)), vias),
        (
            |n| format!("WWW-Authenticate: {}\r\n", "Digest realm=\"a\", nonce=\"b\", ".repeat(n / 29)),
            |m| m.headers().all(&HeaderName::WwwAuthenticate).for_each(|v| drop(Challenge::parse_line(v))),
        ),
        (
            |n| format!("Require: {}\r\nAccept: {0}\r\n", "a,".repeat(n / 4)),
            |m| {
                let Message::Request(r) = m else { return };
                drop(sipedge::sip::answer::check(r).map(|a| a.to(r, Some("t")).to_bytes()));
            },
        ),
    ];
    for (i, (shape, look)) in shapes.iter().enumerate() {
        let cost = |n: usize| {
            let text = format!("OPTIONS sip:a@b SIP/2.0\r\n{}\r\n", shape(n));
            let start = Instant::now();
            let read = parse(text.as_bytes(), &limits).unwrap();
            look(&read);
            start.elapsed()
        };
        // 32 times the size: linear is 32, and some times that where memory comes in fresh pages; quadratic is 1,024.
        // A busy machine only ever adds to a time, so the least of many rounds is the cost, and a reader that is
        // not linear never comes below the bound.
        let (mut small, mut large) = (Duration::MAX, Duration::MAX);
        let is_linear = (0..40).any(|_| {
            small = small.min(cost(1 << 14));
            large = large.min(cost(1 << 19));
            large < small.max(Duration::from_micros(10)) * 320
        });
        assert!(is_linear, "shape {i}: {small:?}, 32 times of it {large:?}");
    }
}

/// What an RFC asks of a user agent that gets a message.
#[derive(Debug, Clone, Copy)]
enum Want {
    /// It is well formed, and an INVITE of it may become a call; a response matches nothing of ours.
    Take,
    /// It is no message to act on: nothing is sent, and nothing becomes of it.
    Drop,
    /// One of these statuses.
    Status(&'static [u16]),
    /// The RFC lets an element be lenient: taken, or one of these.
    TakeOr(&'static [u16]),
}
use Want::{Drop, Status, Take, TakeOr};

/// Every message of the two RFCs with the section it stands in and what the words there ask of us.
///
/// We are an endpoint that serves INVITE and OPTIONS, and no registrar: RFC 4475 §3.3.7 has such a one reject
/// REGISTER with 405, RFC 3261 §8.2.1 MESSAGE likewise, and a BYE of no dialog gets 481 (§15.1.2).
const VERDICTS: &[(&str, &str, Want)] = &[
    // "all elements should treat this as a well-formed request"
    ("rfc4475/wsinv", "3.1.1.1", Status(&[481])), // its To has a tag of no dialog of ours: RFC 3261 §12.2.2
    // "endpoints will generate a 501 listing the methods they understand in an Allow header field"
    ("rfc4475/intmeth", "3.1.1.2", Status(&[501])),
    ("rfc4475/esc01", "3.1.1.3", Take),
    ("rfc4475/escnull", "3.1.1.4", Status(&[405])),
    // "an endpoint would reject this message with a 501"
    ("rfc4475/esc02", "3.1.1.5", Status(&[501])),
    ("rfc4475/lwsdisp", "3.1.1.6", Status(&[200])),
    ("rfc4475/longreq", "3.1.1.7", Take),
    // one request: the rest of the datagram "must be ignored"
    ("rfc4475/dblreq", "3.1.1.8", Status(&[405])),
    ("rfc4475/semiuri", "3.1.1.9", Status(&[200])),
    ("rfc4475/transports", "3.1.1.10", Status(&[200])),
    ("rfc4475/mpart01", "3.1.1.11", Status(&[405])),
    ("rfc4475/unreason", "3.1.1.12", Take),
    ("rfc4475/noreason", "3.1.1.13", Take),
    ("rfc4475/badinv01", "3.1.2.1", Status(&[400])),
    ("rfc4475/clerr", "3.1.2.2", Status(&[400])),
    // "should respond with an error"; the code is left open
    ("rfc4475/ncl", "3.1.2.3", Status(&[400])),
    // "400 due to the CSeq error"
    ("rfc4475/scalar02", "3.1.2.4", Status(&[400])),
    ("rfc4475/scalarlg", "3.1.2.5", Drop),
    ("rfc4475/quotbal", "3.1.2.6", TakeOr(&[400])),
    ("rfc4475/ltgtruri", "3.1.2.7", TakeOr(&[400])),
    ("rfc4475/lwsruri", "3.1.2.8", TakeOr(&[400])),
    ("rfc4475/lwsstart", "3.1.2.9", TakeOr(&[400])),
    ("rfc4475/trws", "3.1.2.10", TakeOr(&[400])),
    ("rfc4475/escruri", "3.1.2.11", TakeOr(&[400])),
    // an element "shouldn't" reject it unless Date is "important to its processing", which it is not here
    ("rfc4475/baddate", "3.1.2.12", Take),
    // "reasonable" to answer 400; what is no registrar need not look at the Contact (§3.3.7)
    ("rfc4475/regbadct", "3.1.2.13", Status(&[400, 405])),
    ("rfc4475/badaspec", "3.1.2.14", TakeOr(&[400])),
    ("rfc4475/baddn", "3.1.2.15", TakeOr(&[400])),
    ("rfc4475/badvers", "3.1.2.16", Status(&[505])),
    ("rfc4475/mismatch01", "3.1.2.17", Status(&[400])),
    // 501 has the better "future-proof characteristics", 400 "is also acceptable"
    ("rfc4475/mismatch02", "3.1.2.18", Status(&[501, 400])),
    ("rfc4475/bigcode", "3.1.2.19", Drop),
    // 400, "or it could fall back to the RFC 2543-style transaction identifier"
    ("rfc4475/badbranch", "3.2.1", Status(&[400, 200])),
    ("rfc4475/insuf", "3.3.1", Status(&[400])),
    ("rfc4475/unkscm", "3.3.2", Status(&[416])),
    // 404 only for an element that takes some URIs of the scheme
    ("rfc4475/novelsc", "3.3.3", Status(&[416])),
    // the 400 is a registrar's
    ("rfc4475/unksm2", "3.3.4", Status(&[405])),
    ("rfc4475/bext01", "3.3.5", Status(&[420])),
    ("rfc4475/invut", "3.3.6", Status(&[415])),
    // "endpoints choosing not to act as registrars will simply reject the request. A 405 … is appropriate"
    ("rfc4475/regaut01", "3.3.7", Status(&[405])),
    ("rfc4475/multi01", "3.3.8", Status(&[400])),
    // "should respond with an error"
    ("rfc4475/mcl01", "3.3.9", Status(&[400])),
    ("rfc4475/bcast", "3.3.10", Drop),
    // "an endpoint should process the request as if the Max-Forwards field value were still positive"
    ("rfc4475/zeromf", "3.3.11", Status(&[200])),
    ("rfc4475/cparam01", "3.3.12", Status(&[405])),
    ("rfc4475/cparam02", "3.3.13", Status(&[405])),
    ("rfc4475/regescrt", "3.3.14", Status(&[405])),
    ("rfc4475/sdp01", "3.3.15", Status(&[406, 400])),
    ("rfc4475/inv2543", "3.4.1", Take),
    ("rfc5118/4_1", "4.1", Status(&[405])),
    ("rfc5118/4_2", "4.2", Status(&[400])),
    // "from a parsing perspective, the request below is well-formed"
    ("rfc5118/4_3", "4.3", Status(&[405])),
    ("rfc5118/4_4", "4.4", Status(&[405])),
    // both "must" be parsed, with the brackets and without
    ("rfc5118/4_5_1", "4.5", Status(&[481])),
    ("rfc5118/4_5_2", "4.5", Status(&[200])),
    ("rfc5118/4_6", "4.6", Take),
    ("rfc5118/4_7", "4.7", Status(&[481])),
    ("rfc5118/4_8", "4.8", Take),
    ("rfc5118/4_9", "4.9", Take),
    // three colons before an IPv4 address: "an implementation must tolerate both of the above constructs"
    ("rfc5118/4_10_1", "4.10", Status(&[200])),
    ("rfc5118/4_10_2", "4.10", Status(&[200])),
];

/// Takes every INVITE for a call.
struct TakeAll;

impl RequestHandler for TakeAll {
    fn handle(&self, _: Instant, request: &Request, _: &Flow) -> Verdict {
        assert_eq!(request.method.as_str(), "INVITE", "nothing else is a trunk's to decide");
        Verdict::Accept(Acceptance {
            owner: "pbx".into(),
            credentials: None,
            stays_on_flow: false,
            external: Default::default(),
            timers: Default::default(),
        })
    }
}

/// What an endpoint of ours does with a datagram.
struct Outcome {
    /// What it answers, at most once.
    response: Option<Response>,
    /// The call that it becomes.
    invite: Option<Box<IncomingInvite>>,
    /// It is a response that was understood, and is to nothing of ours.
    is_stray: bool,
}

impl Outcome {
    fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|r| r.status.code())
    }

    fn header(&self, name: &HeaderName) -> &str {
        self.response.as_ref().and_then(|r| r.headers.get(name)).unwrap_or_default()
    }
}

fn ours(bytes: &[u8]) -> Outcome {
    let config = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 10,
        limits: Limits::UDP,
        agent: "test".into(),
        handler: Arc::new(TakeAll),
    };
    let mut endpoint = Endpoint::new(config, Seed::from_number(1));
    let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap());
    endpoint.handle_datagram(Instant::now(), flow, bytes);
    let mut outcome = Outcome { response: None, invite: None, is_stray: false };
    while let Some(output) = endpoint.poll_output() {
        match output {
            Output::Send { bytes, .. } => {
                // a long request has a long answer: its Vias come back
                let limits = Limits { message: 1 << 16, header_section: 1 << 16, ..Limits::UDP };
                let Message::Response(response) = parse(&bytes, &limits).unwrap() else {
                    panic!("a request was sent")
                };
                assert!(outcome.response.replace(response).is_none(), "two answers");
            }
            Output::Incoming { invite, .. } => {
                assert!(outcome.invite.replace(invite).is_none(), "two calls");
            }
            other => panic!("{other:?}"),
        }
    }
    outcome.is_stray = endpoint.drops().stray_responses == 1;
    outcome
}

fn outcome(name: &str) -> Outcome {
    let (folder, name) = name.split_once('/').unwrap();
    ours(&bytes(folder, name))
}

#[test]
fn every_message_gets_what_its_rfc_asks_for_rfc_4475_3_and_rfc_5118_4() {
    let mut wrong = Vec::new();
    for (name, section, want) in VERDICTS {
        let outcome = outcome(name);
        let status = outcome.status();
        // a broken message is told by these; everything else is an answer to what was asked
        let is_taken = outcome.is_stray
            || outcome.invite.is_some()
            || status.is_some_and(|s| ![400, 505, 513].contains(&s));
        let is_right = match want {
            Take => outcome.is_stray || outcome.invite.is_some(),
            Drop => status.is_none() && outcome.invite.is_none() && !outcome.is_stray,
            Status(list) => outcome.invite.is_none() && status.is_some_and(|s| list.contains(&s)),
            TakeOr(list) => is_taken || status.is_some_and(|s| list.contains(&s)),
        };
        if !is_right {
            wrong.push(format!("{name} ({section}): {want:?} is asked for, ours is {status:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let count = |prefix: &str| VERDICTS.iter().filter(|(n, ..)| n.starts_with(prefix)).count();
    assert_eq!((count("rfc4475/"), count("rfc5118/")), (49, 12), "all of them are there");
    for name in valid::VALID {
        let want = VERDICTS.iter().find(|(n, ..)| n.strip_prefix("rfc4475/") == Some(name)).map(|v| v.2);
        let is_valid = match want {
            Some(Take) => true,
            Some(Status(list)) => !list.contains(&400),
            _ => false,
        };
        assert!(is_valid, "{name} is to be taken for what it is");
    }
}

#[test]
fn refusals_say_what_the_rfc_has_them_say_rfc_4475_3() {
    for (name, section) in [("rfc4475/intmeth", "3.1.1.2"), ("rfc4475/regaut01", "3.3.7")] {
        assert!(outcome(name).header(&HeaderName::Allow).contains("INVITE"), "{section}");
    }
    // 3.3.5: Require is an endpoint's, Proxy-Require a proxy's
    assert_eq!(
        outcome("rfc4475/bext01").header(&HeaderName::Unsupported),
        "nothingSupportsThis, nothingSupportsThisEither"
    );
    // RFC 3261 §21.4.13: what would be taken
    assert_eq!(outcome("rfc4475/invut").header(&HeaderName::Accept), "application/sdp");
    // 3.3.15: a Warning 399 with the 406
    assert!(outcome("rfc4475/sdp01").header(&HeaderName::Warning).starts_with("399 "));
}

#[test]
fn a_stream_whose_length_cannot_be_known_ends_and_a_long_one_is_waited_for_rfc_4475_3() {
    let read = |name: &str| {
        let mut framer = Framer::new(Limits::TCP);
        framer.push(&bytes(RFC4475, name));
        framer.poll_frame().map_err(|e| e.status.code())
    };
    // 3.1.2.2: "not much the receiving party could do but wait for more data"
    assert_eq!(read("clerr"), Ok(None));
    // 3.1.2.3, 3.3.9: "the framing error is not recoverable, and the connection should be closed"
    assert_eq!((read("ncl"), read("mcl01")), (Err(400), Err(400)));
}

#[test]
fn descriptions_with_ipv6_are_read_rfc_5118_4_6_to_4_9() {
    let sdp = |name: &str| {
        let body = outcome(name).invite.and_then(|i| i.body).unwrap_or_else(|| panic!("{name}")).bytes;
        SessionDescription::parse(std::str::from_utf8(&body).unwrap()).unwrap()
    };
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let s = sdp("rfc5118/4_6");
    assert_eq!((s.connection, s.media.len()), (address("2001:db8::20"), 2));
    // each section has an address of its own, of different families, and the session has none
    let s = sdp("rfc5118/4_8");
    let own: Vec<_> = s.media.iter().map(|m| s.connection_of(m)).collect();
    assert_eq!(own, [address("192.0.2.1"), address("2001:db8::1")]);
    assert_eq!(sdp("rfc5118/4_9").connection, address("::ffff:192.0.2.2"));
}

#[test]
fn the_ipv6_address_in_each_place_is_the_one_that_is_meant_rfc_5118_4() {
    let request = |name: &str| match parse(&bytes("rfc5118", name), &Limits::UDP) {
        Ok(Message::Request(r)) => r,
        other => panic!("{name}: {other:?}"),
    };
    let v6 = |text: &str| Host::Ip(text.parse::<IpAddr>().unwrap());
    let host = |r: &Request| r.uri.sip().map(|u| (u.host.clone(), u.port)).unwrap();
    assert_eq!(host(&request("4_1")), (v6("2001:db8::10"), None));
    // 4.3: the port that was meant is the last piece of the address
    assert_eq!(host(&request("4_3")), (v6("2001:db8::10:5070"), None));
    assert_eq!(host(&request("4_4")), (v6("2001:db8::10"), Some(5070)));
    for name in ["4_5_1", "4_5_2"] {
        let via = request(name).headers.top_via().unwrap();
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().unwrap()), "{name}");
    }
    let vias = request("4_7").headers.vias().unwrap();
    assert_eq!((vias[0].host.clone(), vias[0].port), (v6("2001:db8::9:1"), Some(6050)));
    assert_eq!(vias[2].received(), Some("192.0.2.200".parse().unwrap()));
    let vias = request("4_9").headers.vias().unwrap();
    assert_eq!((vias[0].host.clone(), vias[0].port), (v6("::ffff:192.0.2.10"), Some(19823)));
    // 4.10: the third colon is ignored
    for name in ["4_10_1", "4_10_2"] {
        let r = request(name);
        assert_eq!(host(&r).0, v6("2001:db8::192.0.2.1"), "{name}");
        assert_eq!(
            r.headers.to().unwrap().uri.sip().map(|u| u.host.clone()),
            Some(v6("2001:db8::192.0.2.1"))
        );
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
        // what a peer is told in words of ours: the other lines of an answer are its own, come back
        if let Some(response) = ours(&input).response {
            assert!(response.phrase.len() <= 200);
            for name in [HeaderName::Warning, HeaderName::Allow, HeaderName::Accept] {
                assert!(response.headers.all(&name).all(|v| v.len() <= 200));
            }
        }
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

#[test]
fn no_error_of_a_description_carries_more_than_200_bytes_of_it() {
    let huge = "X".repeat(20_000);
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";
    for text in [
        huge.clone(),
        format!("v={huge}"),
        format!("v=0\r\no={huge}"),
        format!("{head}c={huge}"),
        format!("{head}m={huge}"),
        format!("{head}a=:{huge}"),
        format!("{head}{huge}"),
        format!("{head}m=audio 1 RTP/AVP {}", "0 ".repeat(20_000)),
    ] {
        let error = SessionDescription::parse(&text).unwrap_err();
        assert!(error.to_string().len() <= 200 && !error.to_string().contains("XX"), "{error}");
    }
}
