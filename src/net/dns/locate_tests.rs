use super::*;

const BOTH: Families = Families { v4: true, v6: true };
const V4: Families = Families { v4: true, v6: false };

/// A zone: lines as `NAME TYPE DATA`.
struct Zone(&'static [&'static str]);

impl Zone {
    fn answer(&self, question: &Question) -> Answer {
        let mut records = Vec::new();
        for line in self.0 {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[0] != question.name {
                continue;
            }
            let number = |at: usize| words[at].parse::<u16>().unwrap();
            let name = |at: usize| words[at].trim_end_matches('.').to_owned();
            match (words[1], question.kind) {
                ("FAIL", _) => return Err(Missing::Failed),
                ("NAPTR", Kind::Naptr) => records.push(Record::Naptr(Naptr {
                    order: number(2),
                    preference: number(3),
                    flags: words[4].into(),
                    services: words[5].into(),
                    replacement: name(6),
                })),
                ("SRV", Kind::Srv) => records.push(Record::Srv(Srv {
                    priority: number(2),
                    weight: number(3),
                    port: number(4),
                    target: name(5),
                })),
                ("A", Kind::A) | ("AAAA", Kind::Aaaa) => {
                    records.push(Record::Address(words[2].parse().unwrap()));
                }
                _ => {}
            }
        }
        if records.is_empty() { Err(Missing::Absent) } else { Ok(records.into()) }
    }
}

fn wanted(host: &str) -> Wanted {
    Wanted { host: host.into(), port: None, way: None, is_sips: false, families: V4 }
}

/// What was asked, and what came of it.
fn locate(wanted: Wanted, zone: &[&'static str]) -> (Vec<String>, Result<Vec<String>, Missing>) {
    let zone = Zone(Box::leak(zone.to_vec().into_boxed_slice()));
    let mut machine = Locate::start(wanted, None, Seed::from_number(1));
    let mut asked = Vec::new();
    while machine.result().is_none() {
        let questions: Vec<_> = std::iter::from_fn(|| machine.poll_question()).collect();
        assert!(!questions.is_empty(), "it asks or is done");
        // in reverse order: whichever comes first must not matter
        for question in questions.iter().rev() {
            machine.handle_answer(question, zone.answer(question));
        }
        asked.extend(questions.iter().map(|q| format!("{:?} {}", q.kind, q.name)));
    }
    let show = |p: &Located| format!("{:?} {}", p.way, p.address);
    let result = machine.result().unwrap().map(|places| places.iter().map(show).collect());
    (asked, result)
}

fn places(wanted: Wanted, zone: &[&'static str]) -> Vec<String> {
    locate(wanted, zone).1.unwrap()
}

const EXAMPLE: &[&str] = &[
    // RFC 3263 §4.1, its own example
    "example.com NAPTR 50 50 s SIPS+D2T _sips._tcp.example.com.",
    "example.com NAPTR 90 50 s SIP+D2T _sip._tcp.example.com",
    "example.com NAPTR 100 50 s SIP+D2U _sip._udp.example.com.",
    "_sip._tcp.example.com SRV 0 1 5060 server1.example.com",
    "_sip._tcp.example.com SRV 1 2 5062 server2.example.com",
    "_sip._udp.example.com SRV 0 1 5070 server3.example.com",
    "_sips._tcp.example.com SRV 0 1 5063 server4.example.com",
    "server1.example.com A 192.0.2.1",
    "server2.example.com A 192.0.2.2",
    "server3.example.com A 192.0.2.3",
    "server4.example.com A 192.0.2.4",
    "example.com A 192.0.2.80",
];

#[test]
fn naptr_then_srv_then_addresses_as_in_the_example_of_rfc_3263_4_1() {
    let (asked, found) = locate(wanted("Example.COM."), EXAMPLE);
    assert_eq!(
        asked,
        ["Naptr example.com", "Srv _sip._tcp.example.com", "A server1.example.com", "A server2.example.com"]
    );
    assert_eq!(found.unwrap(), ["Tcp 192.0.2.1:5060", "Tcp 192.0.2.2:5062"]);
    // a sips URI discards all but its own service
    let sips = Wanted { is_sips: true, ..wanted("example.com") };
    assert_eq!(places(sips, EXAMPLE), ["Tls 192.0.2.4:5063"]);
}

/// Whom to believe by TLS was not said, so it is not taken; the log says what to write.
#[test]
fn a_domain_that_names_tls_alone_is_told_of_as_such() {
    let zone = [
        "a.example NAPTR 50 50 s SIPS+D2T _sips._tcp.a.example",
        "_sips._tcp.a.example SRV 0 1 5061 b.example",
        "b.example A 192.0.2.4",
    ];
    assert_eq!(locate(wanted("a.example"), &zone).1, Err(Missing::OnlyByTls));
    assert!(Missing::OnlyByTls.to_string().contains("transport = \"tls\""));
    let udp = Wanted { way: Some(Way::Udp), ..wanted("a.example") };
    assert_eq!(locate(udp, &zone).1, Err(Missing::Absent), "somebody has decided");
}

#[test]
fn a_transport_that_is_written_asks_no_naptr_and_a_port_no_srv_rfc_3263_4_1_and_4_2() {
    let udp = Wanted { way: Some(Way::Udp), ..wanted("example.com") };
    let (asked, found) = locate(udp, EXAMPLE);
    assert_eq!(asked, ["Srv _sip._udp.example.com", "A server3.example.com"]);
    assert_eq!(found.unwrap(), ["Udp 192.0.2.3:5070"]);
    let tls = Wanted { way: Some(Way::Tls), ..wanted("example.com") };
    assert_eq!(places(tls, EXAMPLE), ["Tls 192.0.2.4:5063"]);
    for (way, shown) in [(None, "Udp"), (Some(Way::Tcp), "Tcp"), (Some(Way::Tls), "Tls")] {
        let (asked, found) = locate(Wanted { port: Some(5090), way, ..wanted("example.com") }, EXAMPLE);
        assert_eq!(asked, ["A example.com"]);
        assert_eq!(found.unwrap(), [format!("{shown} 192.0.2.80:5090")]);
    }
    let sips = Wanted { port: Some(5090), is_sips: true, ..wanted("example.com") };
    assert_eq!(places(sips, EXAMPLE), ["Tls 192.0.2.80:5090"]);
}

#[test]
fn an_address_needs_no_dns_rfc_3263_4_2() {
    for (host, port, way, place) in [
        ("192.0.2.7", None, None, "Udp 192.0.2.7:5060"),
        ("192.0.2.7", Some(5070), Some(Way::Tcp), "Tcp 192.0.2.7:5070"),
        ("192.0.2.7", None, Some(Way::Tls), "Tls 192.0.2.7:5061"),
        ("2001:db8::7", None, None, "Udp [2001:db8::7]:5060"),
    ] {
        let (asked, found) = locate(Wanted { port, way, families: BOTH, ..wanted(host) }, &[]);
        assert_eq!((asked.len(), found.unwrap()), (0, vec![place.to_owned()]));
    }
    // one that we cannot send to is told of by its failure
    assert_eq!(places(wanted("2001:db8::7"), &[]), ["Udp [2001:db8::7]:5060"]);
}

#[test]
fn without_naptr_the_services_are_asked_and_udp_goes_before_tcp_rfc_3263_4_1() {
    let both = [
        "_sip._udp.a.example SRV 0 1 5070 u.example",
        "_sip._tcp.a.example SRV 0 1 5071 t.example",
        "u.example A 192.0.2.1",
        "t.example A 192.0.2.2",
    ];
    let (asked, found) = locate(wanted("a.example"), &both);
    assert_eq!(
        asked,
        ["Naptr a.example", "Srv _sip._udp.a.example", "Srv _sip._tcp.a.example", "A u.example"]
    );
    assert_eq!(found.unwrap(), ["Udp 192.0.2.1:5070"]);
    assert_eq!(places(wanted("a.example"), &both[1..]), ["Tcp 192.0.2.2:5071"]);
    // and without any of them, the name itself by UDP
    assert_eq!(places(wanted("a.example"), &["a.example A 192.0.2.3"]), ["Udp 192.0.2.3:5060"]);
    assert_eq!(locate(wanted("a.example"), &[]).1, Err(Missing::Absent));
}

#[test]
fn a_name_server_that_knows_addresses_alone_will_do() {
    let zone = ["b.example A 192.0.2.3", "_sip._udp.b.example FAIL", "_sip._tcp.b.example FAIL"];
    assert_eq!(places(wanted("b.example"), &zone), ["Udp 192.0.2.3:5060"]);
    let tcp = Wanted { way: Some(Way::Tcp), ..wanted("b.example") };
    assert_eq!(places(tcp, &zone), ["Tcp 192.0.2.3:5060"]);
    assert_eq!(locate(wanted("b.example"), &["b.example FAIL"]).1, Err(Missing::Failed));
}

#[test]
fn of_naptr_records_those_count_that_fit_in_their_order_rfc_3403() {
    let zone = [
        "n.example NAPTR 10 10 u E2U+sip x.example",
        "n.example NAPTR 10 20 s SIP+D2S _sip._sctp.n.example",
        "n.example NAPTR 10 30 a SIP+D2U n.example",
        "n.example NAPTR 10 40 s SIP+D2U .",
        "n.example NAPTR 20 20 S sip+d2u _u.n.example",
        "n.example NAPTR 20 10 s SIP+D2T _t.n.example",
        "n.example NAPTR 30 10 s SIP+D2U _never.n.example",
        "_u.n.example SRV 0 0 5070 h.example",
        "h.example A 192.0.2.1",
        "n.example A 192.0.2.2",
    ];
    // the one that is preferred has no servers: the next of its order
    let (asked, found) = locate(wanted("n.example"), &zone);
    assert_eq!(asked, ["Naptr n.example", "Srv _t.n.example", "Srv _u.n.example", "A h.example"]);
    assert_eq!(found.unwrap(), ["Udp 192.0.2.1:5070"]);
    // no SRV at all: the name itself, by the transport that was named first (RFC 3263 §4.2)
    let none = ["n.example NAPTR 10 10 s SIP+D2T _t.n.example", "n.example A 192.0.2.2"];
    assert_eq!(places(wanted("n.example"), &none), ["Tcp 192.0.2.2:5060"]);
}

#[test]
fn hosts_go_by_priority_and_each_has_its_addresses_of_both_families() {
    let zone = [
        "_sip._udp.c.example SRV 20 0 5062 two.example",
        "_sip._udp.c.example SRV 10 0 5061 one.example",
        "one.example A 192.0.2.1",
        "one.example AAAA 2001:db8::1",
        "two.example A 192.0.2.2",
        "two.example A 192.0.2.1",
    ];
    let udp = |families| Wanted { way: Some(Way::Udp), families, ..wanted("c.example") };
    assert_eq!(
        places(udp(BOTH), &zone),
        ["Udp [2001:db8::1]:5061", "Udp 192.0.2.1:5061", "Udp 192.0.2.2:5062", "Udp 192.0.2.1:5062"]
    );
    assert_eq!(places(udp(V4), &zone), ["Udp 192.0.2.1:5061", "Udp 192.0.2.2:5062", "Udp 192.0.2.1:5062"]);
    let (asked, _) = locate(udp(Families { v4: false, v6: true }), &zone);
    assert_eq!(asked[1..], ["Aaaa one.example", "Aaaa two.example"]);
}

#[test]
fn a_record_that_says_not_here_is_believed_rfc_2782() {
    let zone = ["_sip._udp.d.example SRV 0 0 0 .", "d.example A 192.0.2.1"];
    let udp = Wanted { way: Some(Way::Udp), ..wanted("d.example") };
    assert_eq!(locate(udp, &zone).1, Err(Missing::Absent));
    let tcp = [
        "_sip._udp.d.example SRV 0 0 0 .",
        "_sip._tcp.d.example SRV 0 0 5060 t.example",
        "t.example A 192.0.2.2",
    ];
    assert_eq!(places(wanted("d.example"), &tcp), ["Tcp 192.0.2.2:5060"]);
    // no port to send to
    let zero = ["_sip._udp.d.example SRV 0 0 0 t.example", "t.example A 192.0.2.2"];
    assert_eq!(locate(wanted("d.example"), &zero).1, Err(Missing::Absent));
}

#[test]
fn huge_answers_and_addresses_that_are_none_are_bounded() {
    let mut zone: Vec<String> = Vec::new();
    for n in 0..60 {
        zone.push(format!("_sip._udp.e.example SRV {n} 0 5060 h{n}.example"));
        zone.extend((0..60).map(|m| format!("h{n}.example A 10.{n}.0.{}", m + 1)));
    }
    zone.push("h0.example A 0.0.0.0".into());
    zone.push("h0.example A 224.0.0.1".into());
    zone.reverse();
    let zone: Vec<&'static str> = zone.into_iter().map(|line| &*line.leak()).collect();
    let (asked, found) = locate(wanted("e.example"), &zone);
    let found = found.unwrap();
    assert_eq!((asked.len(), found.len()), (3 + MAX_HOSTS, MAX_TARGETS));
    assert!(found.iter().all(|p| p.starts_with("Udp 10.0.") || p.starts_with("Udp 10.1.")), "{found:?}");
    // targets that are addresses, and the same one twice
    let same = ["_sip._udp.f.example SRV 0 0 5060 192.0.2.1", "_sip._udp.f.example SRV 1 0 5060 192.0.2.1"];
    let (asked, found) = locate(wanted("f.example"), &same);
    assert_eq!((asked.len(), found.unwrap()), (3, vec!["Udp 192.0.2.1:5060".to_owned()]));
}

#[test]
fn what_is_left_out_of_too_many_is_the_same_each_time_though_the_order_is_not() {
    let mut zone: Vec<String> = Vec::new();
    for n in 0..20 {
        zone.push(format!("_sip._udp.g.example SRV 1 5 5060 h{n}.example"));
        zone.extend((0..4).map(|m| format!("h{n}.example A 10.{n}.0.{}", m + 1)));
    }
    let zone: &'static [&'static str] =
        zone.into_iter().map(|line| &*line.leak()).collect::<Vec<&'static str>>().leak();
    let found = |seed| {
        let mut machine = Locate::start(wanted("g.example"), None, Seed::from_number(seed));
        while machine.result().is_none() {
            let question = machine.poll_question().unwrap();
            machine.handle_answer(&question, Zone(zone).answer(&question));
        }
        machine.result().unwrap().unwrap().to_vec()
    };
    let first = found(1);
    assert_eq!((first.len(), found(1) == first), (MAX_TARGETS, true));
    let others: Vec<_> = (2..10).map(found).collect();
    assert!(others.iter().any(|other| *other != first));
    let sorted = |mut places: Vec<Located>| {
        places.sort_by_key(|p| p.address);
        places
    };
    let first = sorted(first);
    assert!(others.into_iter().all(|other| sorted(other) == first));
}

#[test]
fn a_name_of_this_machine_has_addresses_and_nothing_else() {
    let (asked, found) = locate(wanted("pbx"), &["pbx A 192.0.2.1"]);
    assert_eq!((asked, found.unwrap()), (vec!["A pbx".to_owned()], vec!["Udp 192.0.2.1:5060".to_owned()]));
    let own = Some(vec!["::1".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
    let tcp = Wanted { way: Some(Way::Tcp), ..wanted("pbx.example") };
    let mut machine = Locate::start(tcp, own, Seed::from_number(1));
    assert_eq!(machine.poll_question(), None);
    let address = "127.0.0.1:5060".parse().unwrap();
    assert_eq!(machine.result(), Some(Ok(&[Located { way: Way::Tcp, address }][..])));
}

#[test]
fn what_is_not_answered_in_time_is_done_without() {
    let mut machine = Locate::start(wanted("a.example"), None, Seed::from_number(1));
    let naptr = machine.poll_question().unwrap();
    machine.give_up();
    // services, then the name itself
    machine.give_up();
    let address = [Record::Address("192.0.2.1".parse().unwrap())];
    machine.handle_answer(&naptr, Ok(address.clone().into()));
    assert_eq!(machine.result(), None);
    machine.handle_answer(&Question::new("a.example", Kind::A), Ok(address.into()));
    assert_eq!(machine.result().unwrap().unwrap().len(), 1);
    let mut machine = Locate::start(wanted("a.example"), None, Seed::from_number(1));
    (0..3).for_each(|_| machine.give_up());
    assert_eq!(machine.result(), Some(Err(Missing::Failed)));
}
