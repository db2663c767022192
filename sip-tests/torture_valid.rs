//! The 13 valid messages of RFC 4475 §3.1.1: what each means, as it came and as we print it.
//!
//! Two witnesses that know nothing of each other. A small reader of the tests' own takes both texts apart by the
//! rules of RFC 3261 §7.3 (folding, compact names) and compares them line by line; and the values that the RFC's
//! words name are asked of the parser, for the message that came and for its print alike.

use super::{RFC4475, bytes};
use sipedge::sip::{HeaderName, Limits, Message, NameAddr, Request, Response, Uri, Via, parse};

pub(super) const VALID: [&str; 13] = [
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

/// A message as plain texts.
#[derive(Debug, PartialEq)]
struct Plain {
    start: String,
    /// Long names in lower case and unfolded values, in order; Content-Length is left to the body.
    lines: Vec<(String, String)>,
    body: Vec<u8>,
}

/// Long form of a compact name (RFC 3261 §20, table of §7.3.3).
fn long(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.as_str() {
        "i" => "call-id",
        "m" => "contact",
        "e" => "content-encoding",
        "l" => "content-length",
        "c" => "content-type",
        "f" => "from",
        "s" => "subject",
        "k" => "supported",
        "t" => "to",
        "v" => "via",
        other => other,
    }
    .to_owned()
}

/// Reads a message by the rules of RFC 3261 §7.3 alone: white space around a fold is one space, none around the
/// colon counts, the body is as long as Content-Length says.
fn plain(bytes: &[u8]) -> Plain {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let blank = [' ', '\t'];
    let mut all: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match all.last_mut().filter(|_| line.starts_with(blank)) {
            Some(last) => *last = format!("{} {}", last.trim_end_matches(blank), line.trim_matches(blank)),
            None => all.push(line.to_owned()),
        }
    }
    let start = all.remove(0);
    let mut length = bytes.len() - end - 4;
    let mut lines = Vec::new();
    for line in all {
        let (name, value) = line.split_once(':').unwrap();
        let (name, value) = (long(name.trim_matches(blank)), value.trim_matches(blank).to_owned());
        if name == "content-length" {
            length = value.parse().unwrap();
        } else {
            lines.push((name, value));
        }
    }
    Plain { start, lines, body: bytes[end + 4..][..length].to_vec() }
}

fn read(bytes: &[u8]) -> Message {
    parse(bytes, &Limits::UDP).unwrap_or_else(|e| panic!("{}: {e}", bytes.escape_ascii()))
}

#[test]
fn each_valid_message_is_printed_with_every_line_and_its_body_rfc_4475_3_1_1() {
    for name in VALID {
        let came = bytes(RFC4475, name);
        let printed = read(&came).to_bytes();
        assert_eq!(plain(&printed), plain(&came), "{name}");
        assert_eq!(read(&printed), read(&came), "{name}");
    }
}

#[test]
fn each_valid_message_has_what_a_message_must_have_rfc_4475_3_1_1() {
    for name in VALID {
        let m = read(&bytes(RFC4475, name));
        let essentials = match &m {
            Message::Request(r) => r.essentials(),
            Message::Response(r) => r.essentials(),
        };
        essentials.unwrap_or_else(|e| panic!("{name}: {e}"));
        let headers = m.headers();
        headers.vias().unwrap_or_else(|e| panic!("{name}: {e}"));
        headers.contacts().unwrap_or_else(|e| panic!("{name}: {e}"));
    }
}

/// Both forms of a request: as it came, and as we print it.
fn requests(name: &str) -> [Request; 2] {
    let came = bytes(RFC4475, name);
    let printed = read(&came).to_bytes();
    [read(&came), read(&printed)].map(|m| match m {
        Message::Request(r) => r,
        Message::Response(_) => panic!("{name} is a request"),
    })
}

/// Both forms of a response.
fn responses(name: &str) -> [Response; 2] {
    let came = bytes(RFC4475, name);
    let printed = read(&came).to_bytes();
    [read(&came), read(&printed)].map(|m| match m {
        Message::Response(r) => r,
        Message::Request(_) => panic!("{name} is a response"),
    })
}

fn user(address: &NameAddr) -> String {
    address.uri.user_text().unwrap_or_default()
}

fn host(uri: &Uri) -> String {
    uri.sip().map(|u| u.host.to_string()).unwrap_or_default()
}

fn branches(request: &Request) -> Vec<String> {
    request.headers.vias().unwrap().iter().filter_map(|v| v.branch().map(str::to_owned)).collect()
}

#[test]
fn folds_odd_spaces_and_odd_names_change_nothing_rfc_4475_3_1_1_1() {
    for wsinv in requests("wsinv") {
        let e = wsinv.essentials().unwrap();
        assert_eq!((wsinv.method.as_str(), wsinv.uri.user_text().as_deref()), ("INVITE", Some("vivekg")));
        assert_eq!(wsinv.uri.sip().unwrap().params.find("unknownparam"), Some(None));
        assert_eq!((e.to.tag(), e.from.tag()), (Some("1918181833n"), Some("98asjd8")));
        assert_eq!(e.from.display.as_deref(), Some("J Rosenberg \\\""));
        assert_eq!((user(&e.from), host(&e.from.uri)), ("jdrosen".into(), "example.com".into()));
        // leading zeros
        assert_eq!((e.cseq.number, wsinv.headers.max_forwards()), (9, Ok(Some(68))));
        assert_eq!(e.call_id, "wsinv.ndaksdj@192.0.2.1");
        // two lines, one of them with two values
        assert_eq!(branches(&wsinv), ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
        let vias = wsinv.headers.vias().unwrap();
        let hosts: Vec<_> = vias.iter().map(|v| (v.transport.to_string(), v.host.to_string())).collect();
        let hop = |transport: &str, host: &str| (transport.to_owned(), host.to_owned());
        assert_eq!(
            hosts,
            [hop("UDP", "192.0.2.2"), hop("TCP", "spindle.example.com"), hop("UDP", "192.168.255.111")]
        );
        let route = &wsinv.headers.routes(&HeaderName::Route).unwrap()[0];
        let params = &route.uri.sip().unwrap().params;
        assert_eq!(params.find("lr"), Some(None));
        assert_eq!(params.value("unknownwith"), Some("value"));
        let contact = &wsinv.headers.contacts().unwrap()[0];
        assert_eq!(contact.display.as_deref(), Some("Quoted string \"\""));
        assert_eq!(
            (contact.params.value("q"), contact.params.value("newparam")),
            (Some("0.33"), Some("newvalue"))
        );
        assert_eq!(contact.params.find("secondparam"), Some(None));
        assert_eq!(wsinv.headers.get(&HeaderName::Subject), Some(""));
        let unknown = wsinv.headers.get(&HeaderName::parse("unknownheaderwithunusualvalue"));
        assert_eq!(unknown, Some(";;,,;;,;"));
        assert_eq!(wsinv.headers.content_type().as_deref(), Some("application/sdp"));
        assert_eq!(wsinv.body.len(), 150);
    }
}

#[test]
fn every_character_that_is_allowed_stays_what_it_is_rfc_4475_3_1_1_2() {
    for intmeth in requests("intmeth") {
        let e = intmeth.essentials().unwrap();
        assert_eq!(intmeth.method.as_str(), "!interesting-Method0123456789_*+`.%indeed'~");
        assert_eq!(e.cseq.method, intmeth.method);
        let uri = intmeth.uri.sip().unwrap();
        assert_eq!(uri.user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
        assert_eq!(uri.host.to_string(), "example.com");
        assert_eq!(e.to.display.as_deref(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
        assert_eq!(e.from.display.as_deref(), Some("token1~` token2'+_ token3*%!.-"));
        assert_eq!(e.from.params.text("fromParam''~+*_!.-%").as_deref(), Some("работающий"));
        assert_eq!(e.from.tag(), Some("_token~1'+`*%!-."));
        assert_eq!(e.call_id, "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
        assert_eq!(e.via.branch(), Some("z9hG4bK-.!%66*_+`'~"));
        let unknown = intmeth.headers.get(&HeaderName::parse("extensionHeader-!.%*+_`'~"));
        assert_eq!(unknown, Some("\u{feff}大停電"));
    }
}

#[test]
fn an_escape_is_one_where_the_grammar_has_it_and_once_rfc_4475_3_1_1_3() {
    for esc01 in requests("esc01") {
        assert_eq!(esc01.uri.user_text().as_deref(), Some("sips:user@example.com"));
        assert_eq!(host(&esc01.uri), "example.net");
        let e = esc01.essentials().unwrap();
        assert_eq!((user(&e.to), user(&e.from)), ("user".into(), "I have spaces".into()));
        let contact = &esc01.headers.contacts().unwrap()[0];
        assert_eq!(user(contact), "caller");
        let uri = contact.uri.sip().unwrap();
        assert_eq!(uri.param("lr"), Some(None), "an escaped name");
        assert_eq!(uri.param("name"), Some(Some("value%41".into())), "not valueA");
    }
}

#[test]
fn a_null_ends_no_user_and_a_percent_sign_is_mostly_none_rfc_4475_3_1_1_4_and_5() {
    for escnull in requests("escnull") {
        let e = escnull.essentials().unwrap();
        assert_eq!(user(&e.to), "null-\0-null");
        let contacts = escnull.headers.contacts().unwrap();
        assert_eq!((user(&contacts[0]), user(&contacts[1])), ("\0".into(), "\0\0".into()));
    }
    for esc02 in requests("esc02") {
        assert_eq!(esc02.method.as_str(), "RE%47IST%45R");
        let contacts: Vec<_> = esc02.headers.contacts().unwrap().iter().map(user).collect();
        assert_eq!(contacts, ["alias1", "alias3"]);
        let e = esc02.essentials().unwrap();
        assert_eq!((e.to.display.as_deref(), e.from.display.as_deref()), (Some("%Z%45"), Some("%Z%45")));
        assert_eq!(e.via.branch(), Some("z9hG4bK209%fzsnel234"));
    }
}

#[test]
fn names_without_space_and_values_without_end_are_read_rfc_4475_3_1_1_6_and_7() {
    for lwsdisp in requests("lwsdisp") {
        let from = lwsdisp.headers.from().unwrap();
        assert_eq!(
            (from.display.as_deref(), user(&from), from.tag()),
            (Some("caller"), "caller".into(), Some("323"))
        );
    }
    for longreq in requests("longreq") {
        let e = longreq.essentials().unwrap();
        let name = format!("I have a user name of {} proportion", "extreme".repeat(10));
        assert_eq!(e.to.display, Some(name));
        let to = e.to.uri.sip().unwrap();
        assert_eq!(to.port, Some(6000));
        assert_eq!(
            to.params.value("unknownparam1"),
            Some(format!("very{}value", "long".repeat(20)).as_str())
        );
        assert_eq!(e.from.tag(), Some(format!("12{}424", "982".repeat(50)).as_str()));
        assert_eq!(user(&e.from), "amazinglylongcallername".repeat(5));
        assert_eq!(e.call_id, format!("longreq.one{}longcallid", "really".repeat(20)));
        let vias = longreq.headers.vias().unwrap();
        let mut hosts: Vec<_> = (1..=33).rev().map(|n| format!("sip{n}.example.com")).collect();
        hosts.push("host.example.com".into());
        assert_eq!(vias.iter().map(|v| v.host.to_string()).collect::<Vec<_>>(), hosts);
        let branch = format!("very{}branchvalue", "long".repeat(50));
        assert_eq!(vias.last().and_then(Via::branch), Some(branch.as_str()));
        assert_eq!(longreq.body.len(), 150);
    }
}

#[test]
fn surplus_bytes_semicolons_and_transports_of_nobody_are_no_trouble_rfc_4475_3_1_1_8_to_10() {
    for dblreq in requests("dblreq") {
        assert_eq!((dblreq.method.as_str(), dblreq.body.len()), ("REGISTER", 0));
        assert_eq!(branches(&dblreq), ["z9hG4bKkdjuw23492"], "nothing of the second message");
    }
    for semiuri in requests("semiuri") {
        assert_eq!(semiuri.uri.user_text().as_deref(), Some("user;par=u@example.net"));
        assert_eq!(host(&semiuri.uri), "example.com");
        assert_eq!(semiuri.headers.tokens(&HeaderName::Accept).len(), 6);
    }
    for transports in requests("transports") {
        let vias = transports.headers.vias().unwrap();
        let names: Vec<_> = vias.iter().map(|v| v.transport.as_str()).collect();
        assert_eq!(names, ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]);
    }
}

#[test]
fn a_binary_body_and_a_phrase_of_any_words_are_kept_rfc_4475_3_1_1_11_to_13() {
    for mpart in requests("mpart01") {
        assert_eq!(mpart.body.len(), 553);
        assert!(mpart.body.starts_with(b"--7a9cbec02ceef655\r\nContent-Type: text/plain"));
        assert!(mpart.body.ends_with(b"\x99\xd0\x05\r\n--7a9cbec02ceef655--\r\n"));
        assert_eq!(mpart.headers.content_type().as_deref(), Some("multipart/mixed"));
    }
    for r in responses("unreason") {
        assert_eq!(r.status.code(), 200);
        assert_eq!(r.phrase, "= 2**3 * 5**2 но сто девяносто девять - простое");
        assert_eq!(r.body.len(), 154);
    }
    for r in responses("noreason") {
        assert_eq!((r.status.code(), r.phrase.as_str()), (100, ""));
        assert_eq!(r.headers.cseq().map(|c| c.number), Ok(35));
    }
}
