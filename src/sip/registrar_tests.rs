use super::*;
use crate::base::Seed;
use crate::sip::{Limits, Message, parse};

const AOR: &str = "pbx";

/// A registrar and a client that counts its requests.
struct Bench {
    registrar: Registrar,
    t0: Instant,
    at: u64,
    call_id: &'static str,
    cseq: u32,
    from: &'static str,
}

impl Bench {
    fn new() -> Self {
        Self {
            registrar: Registrar::new(RegistrarConfig::default()),
            t0: Instant::now(),
            at: 0,
            call_id: "c1",
            cseq: 0,
            from: "192.0.2.1:5060",
        }
    }

    fn now(&self) -> Instant {
        self.t0 + Duration::from_secs(self.at)
    }

    /// Sends a REGISTER with these lines: status and contacts of the answer.
    fn send(&mut self, lines: &str) -> (u16, Vec<String>) {
        let answer = self.answer(lines);
        let contacts = answer.headers.iter().filter(|h| *h.name() == HeaderName::Contact);
        (answer.status.code(), contacts.map(|h| h.value().to_owned()).collect())
    }

    fn answer(&mut self, lines: &str) -> Answer {
        self.cseq += 1;
        let text = request(self.call_id, self.cseq, lines);
        let Message::Request(request) = parse(text.as_bytes(), &Limits::UDP).unwrap() else { panic!() };
        let flow = Flow::udp("192.0.2.10:5080".parse().unwrap(), self.from.parse().unwrap());
        self.registrar.handle_register(self.now(), AOR, &request, &flow)
    }

    fn status(&mut self, lines: &str) -> u16 {
        self.send(lines).0
    }

    /// What the log would hear since the last look: R registered, M moved, X removed, E expired.
    fn changes(&mut self) -> String {
        let mut text = String::new();
        while let Some((aor, change)) = self.registrar.poll_output() {
            assert_eq!(aor, AOR);
            text.push(match change {
                Change::Registered(_) => 'R',
                Change::Moved(_) => 'M',
                Change::Removed => 'X',
                Change::Expired => 'E',
            });
        }
        text
    }

    fn best(&self) -> Option<String> {
        self.registrar.best(self.now(), AOR).map(|b| b.contact.to_string())
    }
}

fn request(call_id: &str, cseq: u32, lines: &str) -> String {
    let lines = lines.replace('\n', "\r\n");
    format!(
        "REGISTER sip:192.0.2.10:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
         From: <sip:pbx@192.0.2.10>;tag=a\r\nTo: <sip:pbx@192.0.2.10>\r\nCall-ID: {call_id}\r\n\
         CSeq: {cseq} REGISTER\r\n{lines}{}\r\n",
        if lines.is_empty() { "" } else { "\r\n" }
    )
}

fn ok(contacts: &[&str]) -> (u16, Vec<String>) {
    (200, contacts.iter().map(|c| (*c).to_owned()).collect())
}

#[test]
fn the_lifetime_is_of_the_contact_else_of_the_header_else_an_hour_and_an_hour_at_most_rfc_3261_10_3() {
    for (lines, left) in [
        ("Contact: <sip:a@192.0.2.1>;expires=120\nExpires: 600", 120),
        ("Contact: <sip:a@192.0.2.1>\nExpires: 600", 600),
        ("Contact: <sip:a@192.0.2.1>", 3_600),
        ("Contact: <sip:a@192.0.2.1>;expires=7200", 3_600),
        ("Contact: <sip:a@192.0.2.1>;expires=99999999999", 3_600),
        ("Contact: <sip:a@192.0.2.1>;expires=60", 60),
        // malformed ones are 3600 (§20.10, §20.19)
        ("Contact: <sip:a@192.0.2.1>;expires=soon\nExpires: 600", 3_600),
        ("Contact: <sip:a@192.0.2.1>\nExpires: -1", 3_600),
    ] {
        assert_eq!(Bench::new().send(lines), ok(&[&format!("<sip:a@192.0.2.1>;expires={left}")]), "{lines}");
    }
}

#[test]
fn who_asks_for_too_little_hears_how_much_it_must_be_and_nothing_is_bound_rfc_3261_10_3() {
    let mut b = Bench::new();
    for lines in [
        "Contact: <sip:a@192.0.2.1>;expires=59",
        "Contact: <sip:a@192.0.2.1>\nExpires: 1",
        "Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>;expires=10",
    ] {
        let answer = b.answer(lines);
        assert_eq!(answer.status.code(), 423, "{lines}");
        assert!(answer.headers.iter().any(|h| *h.name() == HeaderName::MinExpires && h.value() == "60"));
    }
    assert_eq!((b.send(""), b.changes()), (ok(&[]), String::new()));
}

#[test]
fn an_answer_lists_all_bindings_with_what_is_left_of_each_and_a_fetch_changes_nothing_rfc_3261_10_2_3() {
    let mut b = Bench::new();
    b.send("Contact: <sip:a@192.0.2.1>;q=0.5;expires=300");
    b.at = 100;
    b.send("Contact: <sip:b@192.0.2.1>;expires=300");
    b.at = 150;
    let listed = ["<sip:a@192.0.2.1>;q=0.5;expires=150", "<sip:b@192.0.2.1>;expires=250"];
    assert_eq!(b.send(""), ok(&listed));
    assert_eq!(b.send(""), ok(&listed), "a fetch");
}

#[test]
fn each_binding_ends_at_its_time_and_the_next_wake_up_is_the_first_of_them() {
    let mut b = Bench::new();
    assert_eq!(b.registrar.poll_timeout(), None);
    b.send("Contact: <sip:a@192.0.2.1>;expires=300, <sip:b@192.0.2.1>;expires=100;q=0.1");
    assert_eq!(b.registrar.poll_timeout(), Some(b.t0 + Duration::from_secs(100)));
    assert_eq!(b.changes(), "R");
    b.at = 100;
    assert_eq!(b.registrar.bindings(AOR).len(), 2, "the clock was not told");
    b.registrar.handle_timeout(b.now());
    assert_eq!(
        (b.registrar.bindings(AOR).len(), b.changes()),
        (1, String::new()),
        "calls go where they went"
    );
    b.registrar.handle_timeout(b.t0 + Duration::from_millis(299_999));
    assert_eq!(b.registrar.bindings(AOR).len(), 1);
    b.at = 300;
    assert_eq!(b.best(), None, "even before the clock is told");
    b.registrar.handle_timeout(b.now());
    assert_eq!((b.registrar.poll_timeout(), b.changes().as_str()), (None, "E"));
}

#[test]
fn a_star_takes_all_away_and_only_alone_and_with_expires_0_rfc_3261_10_3_step_6() {
    let mut b = Bench::new();
    b.send("Contact: <sip:a@192.0.2.1>, <sip:b@192.0.2.1>");
    for lines in [
        "Contact: *",
        "Contact: *\nExpires: 60",
        "Contact: *\nExpires: none",
        "Contact: *, <sip:a@192.0.2.1>\nExpires: 0",
        "Contact: *\nContact: *\nExpires: 0",
    ] {
        assert_eq!(b.status(lines), 400, "{lines}");
    }
    assert_eq!((b.registrar.bindings(AOR).len(), b.changes().as_str()), (2, "R"));
    b.cseq = 0;
    assert_eq!(b.status("Contact: *\nExpires: 0"), 500, "the bindings are of a later request");
    b.cseq = 10;
    assert_eq!(b.send("Contact: *\nExpires: 0"), ok(&[]));
    assert_eq!(b.changes(), "X");
}

#[test]
fn an_older_request_changes_nothing_unless_its_call_id_is_another_rfc_3261_10_3_step_7() {
    let mut b = Bench::new();
    b.cseq = 9;
    b.send("Contact: <sip:a@192.0.2.1>;expires=300");
    for (cseq, status) in [(5, 500), (10, 500), (11, 200)] {
        b.cseq = cseq - 1;
        assert_eq!(b.status("Contact: <sip:new@192.0.2.1>, <sip:a@192.0.2.1>;expires=900"), status, "{cseq}");
        // all of it or nothing: the new contact of a refused request is not bound either
        assert_eq!(b.registrar.bindings(AOR).len(), if status == 500 { 1 } else { 2 }, "{cseq}");
    }
    b.cseq = 0;
    b.call_id = "c2";
    assert_eq!(b.status("Contact: <sip:a@192.0.2.1>;expires=0"), 200);
    assert_eq!(b.registrar.bindings(AOR).len(), 1);
}

#[test]
fn contacts_are_the_same_as_their_uris_are_rfc_3261_19_1_4() {
    let mut b = Bench::new();
    b.send("Contact: <sip:%61@PBX.example;transport=udp>;expires=100");
    assert_eq!(
        b.send("Contact: <sip:a@pbx.example;transport=UDP>;expires=200"),
        ok(&["<sip:a@pbx.example;transport=UDP>;expires=200"])
    );
    assert_eq!(b.send("Contact: <sip:a@pbx.example;transport=tcp>").1.len(), 2);
    assert_eq!(b.send("Contact: <sip:a@pbx.example;transport=udp>;expires=0").1.len(), 1);
    // what stands twice in a request: the last of them
    let twice = "Contact: <sip:b@192.0.2.1>;expires=100, <sip:b@192.0.2.1>;expires=200";
    assert_eq!(b.send(twice).1[1], "<sip:b@192.0.2.1>;expires=200");
}

#[test]
fn calls_go_to_the_highest_q_and_of_those_to_the_newest_rfc_3261_10_2_1_2() {
    let mut b = Bench::new();
    let steps = [
        ("Contact: <sip:a@192.0.2.1>;q=0.5", "a", "R"),
        ("Contact: <sip:b@192.0.2.1>;q=0.5", "b", "M"),
        // refreshing the older makes it no newer
        ("Contact: <sip:a@192.0.2.1>;q=0.50", "b", ""),
        ("Contact: <sip:c@192.0.2.1>;q=0.499", "b", ""),
        ("Contact: <sip:d@192.0.2.1>;q=0.501", "d", "M"),
        ("Contact: <sip:e@192.0.2.1>", "e", "M"),
        ("Contact: <sip:f@192.0.2.1>;q=1.000", "f", "M"),
        ("Contact: <sip:e@192.0.2.1>;expires=0, <sip:f@192.0.2.1>;expires=0", "d", "M"),
    ];
    for (lines, user, changes) in steps {
        assert_eq!(b.status(lines), 200);
        let best = b.best().unwrap();
        assert_eq!(
            (best.as_str(), b.changes().as_str()),
            (&*format!("sip:{user}@192.0.2.1"), changes),
            "{lines}"
        );
    }
    let ranked = b.registrar.ranked(b.now(), AOR);
    let users: Vec<_> = ranked.iter().map(|r| (r.contact.user_text().unwrap(), r.q)).collect();
    assert_eq!(users, [("d", 501), ("b", 500), ("a", 500), ("c", 499)].map(|(u, q)| (u.to_owned(), q)));
    assert_eq!(ranked.first().copied(), b.registrar.best(b.now(), AOR));
    let ids: std::collections::BTreeSet<u64> = ranked.iter().map(|r| r.id()).collect();
    assert_eq!(ids.len(), 4);
    // one that starts anew with the contact it had is newer than what came in between
    let mut b = Bench::new();
    b.send("Contact: <sip:a@192.0.2.1>");
    b.send("Contact: <sip:b@192.0.2.1>");
    b.call_id = "c2";
    b.send("Contact: <sip:a@192.0.2.1>");
    assert_eq!((b.best().as_deref(), b.changes().as_str()), (Some("sip:a@192.0.2.1"), "RMM"));
    // the same contact from elsewhere is another way to it
    b.from = "192.0.2.1:40000";
    b.send("Contact: <sip:a@192.0.2.1>");
    assert_eq!(b.changes(), "M");
}

#[test]
fn the_eleventh_contact_pushes_the_oldest_out_and_eleven_at_once_are_too_many() {
    let mut b = Bench::new();
    for n in 0..11 {
        assert_eq!(b.status(&format!("Contact: <sip:s@192.0.2.1;line={n}>")), 200);
    }
    let users: Vec<String> = b.registrar.bindings(AOR).iter().map(|b| b.contact.to_string()).collect();
    let expected: Vec<String> = (1..11).map(|n| format!("sip:s@192.0.2.1;line={n}")).collect();
    assert_eq!(users, expected);
    let many: Vec<String> = (0..11).map(|n| format!("<sip:{n}@192.0.2.1>")).collect();
    assert_eq!(b.status(&format!("Contact: {}", many.join(", "))), 403);
    assert_eq!(b.registrar.bindings(AOR).len(), 10);
}

#[test]
fn a_path_is_kept_and_told_back_and_needs_a_client_that_knows_of_it_rfc_3327_5_3() {
    let mut b = Bench::new();
    let path = "Path: <sip:p1.example;lr>\nPath: <sip:p2.example:5066;lr>;x=1";
    let answer = b.answer(&format!("{path}\nContact: <sip:a@192.0.2.1>"));
    assert_eq!(answer.status.code(), 420);
    assert!(answer.headers.iter().any(|h| *h.name() == HeaderName::Unsupported && h.value() == "path"));
    let answer = b.answer(&format!("{path}\nSupported: timer, path\nContact: <sip:a@192.0.2.1>"));
    let told: Vec<&str> = answer
        .headers
        .iter()
        .filter(|h| *h.name() == HeaderName::Path)
        .map(super::super::Header::value)
        .collect();
    assert_eq!(told, ["<sip:p1.example;lr>", "<sip:p2.example:5066;lr>;x=1"]);
    let kept: Vec<String> = b.registrar.bindings(AOR)[0].path.iter().map(ToString::to_string).collect();
    assert_eq!(kept, told);
    let many = ["<sip:p.example;lr>"; 9].join(", ");
    assert_eq!(b.status(&format!("Path: {many}\nSupported: path\nContact: <sip:b@192.0.2.1>")), 400);
    assert_eq!(b.status("Path: <tel:1>\nSupported: path\nContact: <sip:b@192.0.2.1>"), 400);
}

#[test]
fn the_same_instance_and_reg_id_replaces_whatever_the_contact_is_rfc_5626_6() {
    let mut b = Bench::new();
    let contact = |host: &str, reg_id: &str| {
        format!(
            "Supported: outbound, path\nContact: <sip:a@{host};ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\"{reg_id}"
        )
    };
    b.send(&contact("192.0.2.1:1111", ";reg-id=1"));
    b.call_id = "c2";
    let (_, listed) = b.send(&contact("192.0.2.1:2222", ";reg-id=1"));
    assert_eq!(
        listed,
        [
            "<sip:a@192.0.2.1:2222;ob>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000A95A0E128>\";reg-id=1;expires=3600"
        ]
    );
    assert_eq!(b.send(&contact("192.0.2.1:3333", ";reg-id=2")).1.len(), 2);
    // an instance alone is a contact like any other
    assert_eq!(b.send(&contact("192.0.2.1:4444", "")).1.len(), 3);
}

#[test]
fn what_cannot_be_called_or_is_too_long_is_refused() {
    let mut b = Bench::new();
    for lines in [
        "Contact: <tel:+1-201-555-0123>",
        "Contact: <sips:a@192.0.2.1>",
        "Contact: <mailto:a@b.example>",
        "Contact: <sip:a@192.0.2.1",
        "Contact: \"a",
        "Contact: <sip:a@192.0.2.1>, hello",
        &format!("Contact: <sip:{}@192.0.2.1>", "a".repeat(512)),
        &format!("Contact: <sip:a@192.0.2.1>;x={}", "a".repeat(512)),
    ] {
        assert_eq!(b.status(lines), 400, "{lines}");
    }
    let long: &'static str = Box::leak("i".repeat(257).into_boxed_str());
    b.call_id = long;
    assert_eq!(b.status("Contact: <sip:a@192.0.2.1>"), 400);
    assert!(b.registrar.bindings.is_empty() && b.changes().is_empty());
}

#[test]
fn a_call_goes_to_the_contact_or_the_first_of_its_path_and_by_the_flow_where_there_is_no_other_way() {
    let hop = |lines: &str, is_symmetric| {
        let mut b = Bench::new();
        b.from = "203.0.113.9:41000";
        assert_eq!(b.status(lines), 200, "{lines}");
        b.registrar.bindings(AOR)[0].hop(is_symmetric, |_| false).unwrap().address.to_string()
    };
    assert_eq!(hop("Contact: <sip:a@192.0.2.1:5070>", false), "192.0.2.1:5070");
    assert_eq!(hop("Contact: <sip:a@192.0.2.1;transport=udp>", false), "192.0.2.1:5060");
    assert_eq!(hop("Contact: <sip:a@192.0.2.1:5070>", true), "203.0.113.9:41000");
    assert_eq!(hop("Contact: <sip:a@pbx.example:5070>", false), "203.0.113.9:41000");
    assert_eq!(hop("Contact: <sip:a@192.0.2.1;transport=tcp>", false), "203.0.113.9:41000");
    let path = "Path: <sip:192.0.2.7:5066;lr>\nSupported: path\nContact: <sip:a@192.0.2.1:5070>";
    assert_eq!(hop(path, false), "192.0.2.7:5066");
    let mut b = Bench::new();
    b.send("Contact: <sip:a@192.0.2.1:5070>");
    let mut binding = b.registrar.bindings(AOR)[0].clone();
    binding.flow = Flow::tcp("192.0.2.10:5080".parse().unwrap(), "192.0.2.1:41000".parse().unwrap());
    assert_eq!(binding.hop(false, |_| true), Some(binding.flow.hop()));
}

#[test]
fn one_whose_connection_has_closed_is_called_at_its_contact_where_that_can_be_reached_rfc_5626_7() {
    let ours = "192.0.2.10:5080".parse().unwrap();
    let hop = |contact: &str, make: fn(SocketAddr, SocketAddr) -> Flow, remote: &str| {
        let mut b = Bench::new();
        assert_eq!(b.status("Contact: <sip:a@192.0.2.1>"), 200);
        let mut binding = b.registrar.bindings(AOR)[0].clone();
        binding.flow = make(ours, remote.parse().unwrap());
        let Uri::Sip(contact) = Uri::parse(contact).unwrap() else { panic!("{contact}") };
        binding.contact = *contact;
        let hop = binding.hop(false, |_| false)?;
        Some(format!("{} {}", hop.transport.as_str(), hop.address))
    };
    let (nat, lan) = ("203.0.113.9:41000", "10.1.0.9:41000");
    for (contact, make, remote, expected) in [
        ("sip:a@192.0.2.1:5070;transport=tcp", Flow::tcp as fn(_, _) -> _, nat, Some("TCP 192.0.2.1:5070")),
        ("sip:a@192.0.2.1", Flow::tcp, nat, Some("TCP 192.0.2.1:5060")),
        ("sip:a@192.0.2.1;transport=udp", Flow::tcp, nat, Some("UDP 192.0.2.1:5060")),
        ("sip:a@pbx.example;transport=tcp", Flow::tcp, nat, None),
        ("sip:a@10.1.2.3;transport=tcp", Flow::tcp, nat, None),
        ("sip:a@10.1.2.3;transport=tcp", Flow::tcp, lan, Some("TCP 10.1.2.3:5060")),
        ("sip:a@127.0.0.1;transport=tcp", Flow::tcp, nat, None),
        ("sips:a@192.0.2.1", Flow::tls, nat, Some("TLS 192.0.2.1:5061")),
        ("sip:a@192.0.2.1;transport=tcp", Flow::tls, nat, None),
    ] {
        assert_eq!(hop(contact, make, remote).as_deref(), expected, "{contact} from {remote}");
    }
}

/// State → what each input brings about: status, how many bindings there are then, and what the log hears.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 8]); 3] = [
    // fetch, bind a, bind b, refuse (423), remove a, remove *, late a, the clock
    ("nobody", ["200 0", "200 1 R", "200 1 R", "423 0", "200 0", "200 0", "200 1 R", "- 0"]),
    ("a", ["200 1", "200 1", "200 2 M", "423 1", "200 0 X", "200 0 X", "500 1", "- 0 E"]),
    ("a and b", ["200 2", "200 2", "200 2", "423 2", "200 1", "200 0 X", "500 2", "- 0 E"]),
];

#[test]
fn a_sips_contact_is_bound_by_tls_alone_and_called_by_its_connection() {
    let mut b = Bench::new();
    let Message::Request(request) =
        parse(request("c", 1, "Contact: <sips:a@192.0.2.1>").as_bytes(), &Limits::TCP).unwrap()
    else {
        panic!()
    };
    let (ours, theirs) = ("192.0.2.10:5081".parse().unwrap(), "192.0.2.1:40000".parse().unwrap());
    let status = |b: &mut Bench, flow| b.registrar.handle_register(b.t0, AOR, &request, &flow).status;
    assert_eq!(status(&mut b, Flow::tcp(ours, theirs)), StatusCode::BAD_REQUEST);
    assert_eq!(status(&mut b, Flow::tls(ours, theirs)), StatusCode::OK);
    let binding = b.registrar.best(b.t0, AOR).unwrap();
    assert_eq!(
        (binding.contact.to_string().as_str(), binding.hop(false, |_| true)),
        ("sips:a@192.0.2.1", Some(Flow::tls(ours, theirs).hop()))
    );
}

#[test]
fn every_input_in_every_state_does_what_the_table_says_rfc_3261_10_3() {
    const A: &str = "Contact: <sip:a@192.0.2.1>;expires=100";
    const B: &str = "Contact: <sip:b@192.0.2.1>;expires=100";
    let inputs = [
        ("fetch", ""),
        ("bind a", A),
        ("bind b", B),
        ("too brief", "Contact: <sip:a@192.0.2.1>;expires=1"),
        ("remove a", "Contact: <sip:a@192.0.2.1>;expires=0"),
        ("remove *", "Contact: *\nExpires: 0"),
        ("late a", A),
        ("the clock", ""),
    ];
    for ((state, row), bound) in TABLE.into_iter().zip([&[][..], &[A], &[A, B]]) {
        for ((input, lines), expected) in inputs.into_iter().zip(row) {
            let mut b = Bench::new();
            bound.iter().for_each(|lines| assert_eq!(b.status(lines), 200));
            b.changes();
            let status = match input {
                "the clock" => {
                    b.at = 100;
                    b.registrar.handle_timeout(b.now());
                    "-".to_owned()
                }
                "late a" => {
                    b.cseq = 0;
                    b.status(lines).to_string()
                }
                _ => b.status(lines).to_string(),
            };
            let shown = format!("{status} {} {}", b.registrar.bindings(AOR).len(), b.changes());
            assert_eq!(shown.trim_end(), expected, "{state} + {input}");
        }
    }
}

#[test]
fn no_mutation_panics_or_leaves_a_binding_beyond_its_bounds() {
    let originals = [
        "Contact: <sip:a@192.0.2.1;line=abc>;q=0.7;expires=300, \"B\" <sip:b@[2001:db8::1]:5060>;expires=90",
        "Contact: *\nExpires: 0",
        "Path: <sip:p1.example;lr>, <sip:p2.example;lr>\nSupported: path\nContact: <sip:a@192.0.2.1>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"",
    ];
    let mut seed = Seed::from_number(7);
    let mut b = Bench::new();
    let mut answered = BTreeMap::<u16, u32>::new();
    for n in 0..6_000_u32 {
        let lines = originals[n as usize % originals.len()];
        let mut bytes = request("c1", n, lines).into_bytes();
        for _ in 0..=seed.below(3) {
            // the lines of the contact are at the end
            let at = bytes.len() - 1 - usize::try_from(seed.below(150)).unwrap().min(bytes.len() - 1);
            match seed.below(3) {
                0 => bytes[at] = u8::try_from(seed.below(256)).unwrap(),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
        }
        let Ok(Message::Request(r)) = parse(&bytes, &Limits::UDP) else { continue };
        b.at += 1;
        let flow = Flow::udp("192.0.2.10:5080".parse().unwrap(), "192.0.2.1:5060".parse().unwrap());
        let answer = b.registrar.handle_register(b.now(), AOR, &r, &flow);
        *answered.entry(answer.status.code()).or_default() += 1;
        let now = b.now();
        let bindings = b.registrar.bindings(AOR);
        assert!(bindings.len() <= 10);
        assert!(bindings.iter().all(|b| b.until > now && b.until <= now + Duration::from_secs(3_600)));
        assert!(bindings.iter().all(|b| b.line(now).len() <= MAX_CONTACT + 32 && b.path.len() <= 8));
        b.changes();
    }
    // the mutations reach what they are for
    for status in [200, 400, 420, 423] {
        assert!(answered.get(&status).is_some_and(|n| *n > 10), "{status}: {answered:?}");
    }
    assert!(answered.keys().all(|s| [200, 400, 420, 423, 500].contains(s)), "{answered:?}");
}

#[test]
fn a_contact_that_no_call_could_reach_is_refused_by_name() {
    let mut b = Bench::new();
    let mut hear = |contact: &str| {
        let answer = b.answer(&format!("Contact: <{contact}>\r\n"));
        (answer.status.code(), answer.phrase)
    };
    let refused = |phrase: &str| (400, Some(phrase.to_owned()));
    for transport in ["ws", "WSS", "sctp"] {
        let contact = format!("sip:x@192.0.2.1:5060;transport={transport}");
        assert_eq!(hear(&contact), refused("Transport Of Contact Is Not Served"), "{contact}");
    }
    for contact in ["sip:x@192.0.2.10:5080", "sip:x@192.0.2.10:5080;transport=tcp"] {
        assert_eq!(hear(contact), refused("Contact Is Our Own Address"), "{contact}");
    }
    for place in ["0.0.0.0", "[::]:5060", "224.0.0.1", "[ff02::1]", "255.255.255.255:5060", "192.0.2.1:0"] {
        assert_eq!(hear(&format!("sip:x@{place}")), refused("Contact Cannot Be Called"), "{place}");
    }
    for contact in ["sip:x@192.0.2.10:5060", "sip:x@192.0.2.1:5080", "sip:x@192.0.2.1;transport=TCP"] {
        assert_eq!(hear(contact).0, 200, "{contact}");
    }
}
