//! The owner by itself: its queues in the hands of the test.

use super::super::super::endpoint::{Acceptance, RequestHandler, Verdict};
use super::super::super::transaction::LayerConfig;
use super::super::super::{Limits, Message, parse};
use super::*;

struct Take;

impl RequestHandler for Take {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Accept(Acceptance { owner: "x".into(), credentials: None, stays_on_flow: false })
    }
}

#[tokio::test]
async fn what_a_calls_reader_said_before_it_went_is_heard_before_the_call_is_hung_up() {
    let config = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 1,
        limits: Limits::UDP,
        agent: "test".into(),
        handler: Arc::new(Take),
    };
    let bound = Bound::new("127.0.0.1:0".parse().unwrap()).map_err(|(_, why)| why).unwrap();
    let local = bound.address;
    let (served, (commands, inbox)) = (Arc::new(Served::default()), mpsc::channel(8));
    let (taken, mut calls) = mpsc::channel(1);
    served.add("x", taken);
    let incoming = Incoming { served, commands: commands.downgrade() };
    let shared = (Arc::new(Known::new(&[])), Arc::new(ReaderStats::default()));
    let (seed, admission) = (Seed::from_number(1), AdmissionConfig::default());
    let mut owner = Owner::new(config, seed, vec![bound], shared, admission, inbox, incoming);
    let far = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let here = far.local_addr().unwrap();
    let invite = format!(
        "INVITE sip:600@{local} SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK1\r\nFrom: <sip:a@{here}>;tag=a\r\n\
         To: <sip:600@{local}>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{here}>\r\n\r\n"
    );
    let (flow, bytes) = (Flow::udp(local, here), Bytes::from(invite));
    owner.handle_inbound(Inbound::Datagram { flow, bytes, is_stranger: false });
    let IncomingSession { handle, events, .. } = calls.try_recv().unwrap();
    assert!(handle.try_command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE))));
    drop(events);
    owner.unread_check = None;
    owner.check_unread(Instant::now());
    while let Ok(command) = owner.commands.try_recv() {
        owner.handle_command(command);
    }
    let mut buffer = [0; 4_096];
    let heard = loop {
        let (n, _) = far.recv_from(&mut buffer).unwrap();
        match parse(&buffer[..n], &Limits::UDP).unwrap() {
            Message::Response(r) if r.status.is_provisional() => {}
            Message::Response(r) => break r.status,
            Message::Request(r) => panic!("{}", r.method),
        }
    };
    assert_eq!(heard, StatusCode::BUSY_HERE);
}

#[test]
fn a_source_is_known_while_something_makes_it_so_and_a_network_always() {
    let (ip, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([198, 51, 100, 1]));
    let known = Known::new(&[]);
    known.add(ip);
    known.add(ip);
    known.remove(ip);
    assert!(known.contains(ip) && !known.contains(other));
    known.remove(ip);
    assert!(!known.contains(ip));
    known.add_network("198.51.100.0/24".parse().unwrap());
    assert!(known.contains(other) && !known.contains(ip));
}
