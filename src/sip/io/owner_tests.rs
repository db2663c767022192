//! The owner, driven by hand.

use super::*;
use crate::sip::Limits;
use crate::sip::endpoint::{Acceptance, RequestHandler, Verdict};
use crate::sip::idle::LIMIT;
use crate::sip::transaction::LayerConfig;
use crate::sip::{Message, parse};

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

struct Take;

impl RequestHandler for Take {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Accept(Acceptance {
            owner: "pbx".into(),
            credentials: None,
            stays_on_flow: true,
            external: Default::default(),
            timers: Default::default(),
        })
    }
}

/// An owner with one call to us, and what its taker was given.
struct World {
    owner: Owner,
    peer: std::net::UdpSocket,
    call: IncomingSession,
    _commands: mpsc::Sender<Command>,
}

fn world() -> World {
    let bound = Bound::new("127.0.0.1:0".parse().unwrap()).unwrap();
    let local = bound.address;
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let remote = peer.local_addr().unwrap();
    let served = Arc::new(Served::default());
    let (calls, mut incoming) = mpsc::channel(1);
    served.add("pbx", calls);
    let (commands, inbox) = mpsc::channel(8);
    let endpoint = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 8,
        limits: Limits::UDP,
        agent: "test".into(),
        handler: Arc::new(Take),
    };
    let shared = (Arc::new(Known::new(&[])), Arc::default(), Peers::new(None));
    let no_tls = TlsBound::new(&[], None).unwrap();
    let to_calls = Incoming { served, commands: commands.downgrade() };
    let mut owner = Owner::new(
        endpoint,
        Seed::from_number(1),
        (vec![bound], no_tls),
        shared,
        AdmissionConfig::default(),
        inbox,
        to_calls,
    );
    let invite = format!(
        "INVITE sip:600@{local} SIP/2.0\r\nVia: SIP/2.0/UDP {remote};branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n\
         To: <sip:600@b>\r\nCall-ID: in\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{remote}>\r\nMax-Forwards: 70\r\n\r\n"
    );
    let flow = Flow::udp(local, remote);
    owner.handle_inbound(Inbound::Datagram { flow, bytes: invite.into(), is_stranger: false });
    let call = incoming.try_recv().unwrap();
    World { owner, peer, call, _commands: commands }
}

impl World {
    /// The final response to the call, after all commands that wait.
    fn refusal(mut self) -> StatusCode {
        while let Ok(command) = self.owner.commands.try_recv() {
            self.owner.handle_command(command);
        }
        let mut buffer = [0; 2_000];
        loop {
            let n = self.peer.recv(&mut buffer).unwrap();
            match parse(&buffer[..n], &Limits::UDP).unwrap() {
                Message::Response(r) if r.status.is_provisional() => {}
                Message::Response(r) => return r.status,
                Message::Request(r) => panic!("a response was expected, not {}", r.method),
            }
        }
    }
}

#[tokio::test]
async fn a_call_whose_taker_goes_without_a_word_is_ended() {
    let mut world = world();
    let later = Instant::now() + UNREAD_INTERVAL * 2;
    let (_, unread) = mpsc::channel(1);
    drop(std::mem::replace(&mut world.call.events, unread));
    world.owner.check_unread(later);
    assert_eq!(world.refusal(), StatusCode::TEMPORARILY_UNAVAILABLE);
}

#[tokio::test]
async fn the_last_word_of_a_taker_is_heard_before_it_is_found_gone() {
    let mut world = world();
    let later = Instant::now() + UNREAD_INTERVAL * 2;
    assert!(world.call.handle.try_command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE))));
    let (_, unread) = mpsc::channel(1);
    drop(std::mem::replace(&mut world.call.events, unread));
    // its command waits still: the network was served first
    world.owner.check_unread(later);
    assert_eq!(world.refusal(), StatusCode::BUSY_HERE);
}

#[tokio::test]
async fn a_socket_that_nobody_uses_is_closed_and_its_peer_is_reached_and_heard_by_the_main_one() {
    let World { mut owner, peer, .. } = world();
    let hop = Hop::from(peer.local_addr().unwrap());
    let flow = owner.flow_to(hop).unwrap();
    let is_connected = |owner: &mut Owner| owner.ways.socket(Instant::now(), hop.address).is_some();
    let end = owner.ways.poll_timeout().unwrap();
    owner.ways.close_idle(end - Duration::from_secs(1));
    assert!(is_connected(&mut owner));
    // the last word of it was just now
    owner.ways.close_idle(end);
    assert!(is_connected(&mut owner));
    owner.ways.close_idle(Instant::now() + LIMIT);
    assert!(!is_connected(&mut owner));
    while owner.readers.join_next().await.is_some() {}
    owner.send(Instant::now(), flow, &Bytes::from_static(b"still there?"));
    let mut buffer = [0; 2_000];
    let (n, from) = loop {
        match peer.recv_from(&mut buffer).unwrap() {
            (n, _) if buffer[..n].starts_with(b"SIP/2.0") => {}
            other => break other,
        }
    };
    assert_eq!((&buffer[..n], from), (&b"still there?"[..], flow.path.local));
    peer.send_to(b"yes", from).unwrap();
    let main = owner.mains[0].1.clone();
    let (n, from) = main.recv_from(&mut buffer).await.unwrap();
    assert_eq!((&buffer[..n], from), (&b"yes"[..], hop.address));
    // a trunk's stays
    owner.handle_command(Command::Meet { target: hop });
    owner.ways.close_idle(Instant::now() + LIMIT * 9);
    assert!(is_connected(&mut owner));
}

#[test]
fn a_machine_without_descriptors_is_not_taken_for_one_without_a_route() {
    // ENETUNREACH, EHOSTUNREACH, EACCES, EINVAL; EMFILE, ENFILE
    for (errno, is_one) in [(101, true), (113, true), (13, true), (22, true), (24, false), (23, false)] {
        assert_eq!(says_no_route(&io::Error::from_raw_os_error(errno)), is_one, "{errno}");
    }
}
