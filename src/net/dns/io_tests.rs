use super::*;
use crate::net::dns::{Families, Way};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::Record as Line;
use hickory_resolver::proto::rr::rdata::{A, CNAME, SRV};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket as Socket;

/// A name server with a small zone, and how often it was asked by UDP.
async fn server() -> (Resolver, Arc<AtomicUsize>) {
    let socket = Socket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = usize::from(stream.read_u16().await.unwrap());
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).await.unwrap();
            let answer = answer_to(&Message::from_vec(&bytes).unwrap()).to_vec().unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        loop {
            let (n, from) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..n]).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let mut answer = answer_to(&question);
            if question.queries[0].name().to_ascii() == "big.test." {
                answer.answers.clear();
                answer.metadata.truncation = true;
            }
            // somebody else asks the same meanwhile
            tokio::time::sleep(Duration::from_millis(50)).await;
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    (Resolver::new(DnsConfig::of(vec![address])), asked)
}

fn answer_to(question: &Message) -> Message {
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.add_query(query.clone());
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let line = |owner: &str, data| Line::from_rdata(name(owner), 60, data);
    let lines = match (query.name().to_ascii().as_str(), query.query_type()) {
        ("_sip._udp.pbx.test.", RecordType::SRV) => vec![
            line("_sip._udp.pbx.test.", RData::CNAME(CNAME(name("_sip._udp.real.test.")))),
            line("_sip._udp.real.test.", RData::SRV(SRV::new(2, 0, 5062, name("two.test.")))),
            line("_sip._udp.real.test.", RData::SRV(SRV::new(1, 0, 5061, name("one.test.")))),
        ],
        ("big.test.", RecordType::A) => {
            (1..=60).map(|n| line("big.test.", RData::A(A::new(10, 0, 0, n)))).collect()
        }
        ("one.test.", RecordType::A) => vec![line("one.test.", RData::A(A::new(192, 0, 2, 1)))],
        ("two.test.", RecordType::A) => vec![line("two.test.", RData::A(A::new(192, 0, 2, 2)))],
        _ => Vec::new(),
    };
    if lines.is_empty() {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    answer.add_answers(lines);
    answer
}

fn wanted(host: &str) -> Wanted {
    let families = Families { v4: true, v6: false };
    Wanted { host: host.into(), port: None, way: Some(Way::Udp), is_sips: false, families }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_over_aliases_and_who_asks_the_same_at_once_asks_once() {
    let (resolver, asked) = server().await;
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let resolver = resolver.clone();
        all.spawn(async move { resolver.locate(wanted("PBX.test"), Seed::from_number(1)).await });
    }
    while let Some(found) = all.join_next().await {
        let places = found.unwrap().unwrap();
        let places: Vec<String> = places.iter().map(|p| p.address.to_string()).collect();
        assert_eq!(places, ["192.0.2.1:5061", "192.0.2.2:5062"]);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3, "SRV and two addresses");
    let none = resolver.locate(wanted("none.test"), Seed::from_number(1)).await;
    assert_eq!(none, Err(Missing::Absent));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_too_long_for_a_datagram_is_asked_for_by_tcp_rfc_7766() {
    let (resolver, _) = server().await;
    let answer = resolver.ask(&Question::new("big.test", Kind::A)).await.unwrap();
    assert_eq!(answer.len(), 60);
}

#[tokio::test]
async fn localhost_and_numbers_need_nobody_to_ask() {
    let resolver = Resolver::new(DnsConfig::of(vec!["192.0.2.53:53".parse().unwrap()]));
    for host in ["localhost", "LOCALHOST", "pbx.localhost", "127.0.0.1"] {
        let found = resolver.locate(wanted(host), Seed::from_number(1)).await.unwrap();
        assert_eq!(found[0].address.to_string(), "127.0.0.1:5060", "{host}");
    }
}
