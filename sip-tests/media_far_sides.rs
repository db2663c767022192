//! Far sides of every kind, through real sockets: a PBX behind a NAT and strangers beside it, keys pressed with
//! other clocks, IPv6, an announced address that is not ours, and a fault of ours.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what cannot be had ends it"
)]

#[path = "media_rig.rs"]
mod rig;
#[path = "media_world.rs"]
mod world;

use sipedge::base::{Cause, External, LegId, Seed, StreamId};
use sipedge::call::port::{Codec, Encryption, HoldMusic, MediaCommand, MediaEvent, MediaProfile, OwnAddress};
use sipedge::media::io::{Command, MediaThread, News, PlainSockets};
use sipedge::media::packet::{PacketBuf, RtpHeader};
use sipedge::media::relay::{EventFormat, Format};
use sipedge::media::srtp::{Opener, Sealer};
use sipedge::media::stats::StreamStats;
use sipedge::media::stream::{OwnSource, PeerInlet};
use sipedge::peer::{PeerInput, SrtpProfile};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use world::{BROWSER, Browser, LOCAL, LOCAL_V6, PBX, Pbx, call, call_with, config, plain};

/// Long enough for a packet on loopback, short enough to wait for one that must not come.
const MOMENT: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_behind_a_nat_is_learned_once_and_strangers_before_and_after_it_are_not() {
    let mut call = call("41500-41599");
    let listener_leg = LegId(7);
    let mut listener = Pbx::start();
    let listener_port = call.set_up_leg(listener_leg, &listener, plain(&[Codec::Pcmu])).await;
    let mut described = Pbx::start();
    let symmetric = MediaProfile::Rtp {
        codecs: vec![Codec::Pcmu],
        towards: LOCAL,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: true,
        encryption: Encryption::Off,
        is_avpf: false,
        hold_music: HoldMusic::Silence,
    };
    let port = call.set_up_leg(PBX, &described, symmetric).await;
    call.port.command(MediaCommand::Bridge(listener_leg, PBX));
    let (mut behind_nat, mut stranger) = (Pbx::start(), Pbx::start());
    tokio::task::block_in_place(|| {
        // a stranger speaks first: a payload type that was not agreed, then a new source with every packet
        (0..5).for_each(|_| stranger.say_as(port, b'x', 96));
        for ssrc in 1..=5 {
            stranger.ssrc = ssrc;
            stranger.say(port, b'x');
        }
        assert!(!listener.hears_within(b'x', MOMENT));
        (0..3).for_each(|_| listener.say(listener_port, b'l'));
        described.hear(b'l');
        assert!(!stranger.hears_within(b'l', MOMENT), "nothing is sent to a stranger");
        // the far side, from another port than it wrote
        (0..3).for_each(|_| behind_nat.say(port, b'n'));
        listener.hear(b'n');
        (0..3).for_each(|_| listener.say(listener_port, b'm'));
        behind_nat.hear(b'm');
        assert!(!described.hears_within(b'm', MOMENT), "media went to the learned address alone");
        // learned once: a perfect stream of a stranger changes nothing
        stranger.ssrc = behind_nat.ssrc;
        stranger.sent = behind_nat.sent;
        (0..50).for_each(|_| stranger.say(port, b'y'));
        assert!(!listener.hears_within(b'y', MOMENT));
        (0..3).for_each(|_| listener.say(listener_port, b'o'));
        behind_nat.hear(b'o');
        assert!(!stranger.hears_within(b'o', MOMENT));
    });
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_pbx_alone_is_heard() {
    let mut call = call("41600-41699");
    let listener_leg = LegId(7);
    let mut listener = Pbx::start();
    call.set_up_leg(listener_leg, &listener, plain(&[Codec::Pcmu])).await;
    let mut fixed = Pbx::start();
    let port = call.set_up_leg(PBX, &fixed, plain(&[Codec::Pcmu])).await;
    call.port.command(MediaCommand::Bridge(listener_leg, PBX));
    let mut stranger = Pbx::start();
    tokio::task::block_in_place(|| {
        (0..50).for_each(|_| stranger.say(port, b'x'));
        assert!(!listener.hears_within(b'x', MOMENT));
        (0..3).for_each(|_| fixed.say(port, b'f'));
        listener.hear(b'f');
    });
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_over_ipv6_alone_carries_srtp_on_one_side_and_rtp_on_the_other() {
    let mut call = call_with(config(&[LOCAL_V6], "41700-41799", serde_json::json!({})));
    let mut pbx = Pbx::start_at(LOCAL_V6);
    let port = call.set_up_pbx(&pbx).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let browser = Browser::start_at(LOCAL_V6, b'6');
    let answer = call.attach(&browser).await;
    assert_eq!(answer.media[0].connection, Some(LOCAL_V6));
    assert!(answer.media[0].candidates().iter().all(|c| c.address == Some(LOCAL_V6)));
    tokio::task::block_in_place(|| {
        pbx.hear(b'6');
        (0..5).for_each(|_| pbx.say(port, b'p'));
        browser.hear(b'p');
    });
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_external_address_is_announced_in_place_of_those_of_its_family() {
    let external = serde_json::json!({ "external": "203.0.113.7" });
    let mut call = call_with(config(&[LOCAL, LOCAL_V6], "41800-41899", external));
    let browser = Browser::start(b'e');
    let answer = call.answer_to(&browser.offer).await;
    let port = call.engine.webrtc_ports().0;
    let announced: Vec<_> =
        answer.media[0].candidates().iter().map(|c| (c.address.unwrap(), c.port)).collect();
    assert_eq!(announced, [("203.0.113.7".parse().unwrap(), port), (LOCAL_V6, port)]);
    assert_eq!(answer.media[0].connection, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(answer.media[0].port, port);
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_beyond_a_nat_is_told_the_address_there_in_offers_and_answers_and_media_keeps_its_own() {
    for (local, of_nat, ports) in
        [(LOCAL, "203.0.113.7", "41900-41999"), (LOCAL_V6, "2001:db8::7", "42000-42099")]
    {
        let of_nat: std::net::IpAddr = of_nat.parse().unwrap();
        let mut call = call_with(config(&[local], ports, serde_json::json!({})));
        let profile = MediaProfile::Rtp {
            codecs: vec![Codec::Pcmu],
            towards: local,
            external: External::new(&[of_nat]).unwrap(),
            own_address: Default::default(),
            is_symmetric: false,
            encryption: Encryption::Off,
            is_avpf: false,
            hold_music: HoldMusic::Silence,
        };
        let (mut asked, mut asking) = (Pbx::start_at(local), Pbx::start_at(local));
        call.port.command(MediaCommand::CreateOffer { leg: PBX, profile: profile.clone() });
        let MediaEvent::Offer { sdp: offer, .. } = call.next().await else { panic!() };
        call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(asked.description("0", "")) });
        assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
        let other = LegId(7);
        let sdp = Box::new(asking.description("0", ""));
        call.port.command(MediaCommand::AcceptOffer { leg: other, profile, sdp });
        let mut answer = None;
        while answer.is_none() {
            if let MediaEvent::Answer { sdp, .. } = call.next().await {
                answer = Some(sdp);
            }
        }
        let answer = answer.unwrap();
        for sdp in [&offer, &answer] {
            assert_eq!((sdp.origin.address, sdp.connection), (of_nat, Some(of_nat)));
            assert_eq!(sdp.connection_of(&sdp.media[0]), Some(of_nat));
        }
        call.port.command(MediaCommand::Bridge(PBX, other));
        tokio::task::block_in_place(|| {
            // what comes before the legs are joined is nobody's
            let carries = |from: &mut Pbx, port: u16, to: &mut Pbx, byte: u8| {
                (0..50).any(|_| {
                    from.say(port, byte);
                    to.hears_within(byte, MOMENT)
                })
            };
            assert!(carries(&mut asked, offer.media[0].port, &mut asking, b'n'));
            assert!(carries(&mut asking, answer.media[0].port, &mut asked, b'm'));
        });
        call.end().await;
    }
}

/// A leg whose far side is at `towards`.
fn at(towards: std::net::IpAddr, own_address: OwnAddress, external: External) -> MediaProfile {
    MediaProfile::Rtp {
        codecs: vec![Codec::Pcmu],
        towards,
        own_address,
        external,
        is_symmetric: false,
        encryption: Encryption::Off,
        is_avpf: false,
        hold_music: HoldMusic::Silence,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_has_the_address_that_signalling_has_or_the_one_that_is_configured() {
    let second: std::net::IpAddr = [127, 0, 0, 2].into();
    let of_nat: std::net::IpAddr = "203.0.113.7".parse().unwrap();
    let none = External::default();
    for (own, external, written, ports) in [
        (OwnAddress::Signalling(second), none, second, "42100-42199"),
        (OwnAddress::Fixed(second), none, second, "42200-42299"),
        // beyond a NAT the text alone is another
        (OwnAddress::Signalling(second), External::new(&[of_nat]).unwrap(), of_nat, "42300-42399"),
    ] {
        let mut call = call_with(config(&[LOCAL], ports, serde_json::json!({})));
        let profile = at(LOCAL, own, external);
        let pbx = Pbx::start();
        call.port.command(MediaCommand::CreateOffer { leg: PBX, profile: profile.clone() });
        let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
        assert_eq!((sdp.origin.address, sdp.connection), (written, Some(written)));
        call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(pbx.description("0", "")) });
        assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
        call.port.command(MediaCommand::Bridge(BROWSER, PBX));
        let from = tokio::task::block_in_place(|| pbx.source());
        assert_eq!((from.ip(), from.port()), (second, sdp.media[0].port), "{own:?}");
        // the same where the far side offers
        let other = LegId(7);
        let offer = Box::new(Pbx::start().description("0", ""));
        call.port.command(MediaCommand::AcceptOffer { leg: other, profile, sdp: offer });
        let MediaEvent::Answer { sdp, .. } = call.next().await else { panic!() };
        assert_eq!((sdp.origin.address, sdp.connection), (written, Some(written)));
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signals_by_one_ip_version_and_has_media_at_the_other_is_answered_from_an_address_that_reaches_it()
 {
    let mut call = call_with(config(&[LOCAL], "42400-42499", serde_json::json!({})));
    let pbx = Pbx::start();
    let profile = at(LOCAL_V6, OwnAddress::Signalling(LOCAL_V6), External::default());
    let sdp = Box::new(pbx.description("0", ""));
    call.port.command(MediaCommand::CheckOffer { leg: PBX, profile: profile.clone(), sdp: sdp.clone() });
    assert!(matches!(call.next().await, MediaEvent::OfferGood { .. }));
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp });
    let MediaEvent::Answer { sdp, .. } = call.next().await else { panic!() };
    assert_eq!(sdp.connection, Some(LOCAL));
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let from = tokio::task::block_in_place(|| pbx.source());
    assert_eq!(from, SocketAddr::new(LOCAL, sdp.media[0].port));
    assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
    // what is said of another one later is true: signalling has that version
    let profile = at(LOCAL_V6, OwnAddress::Signalling(LOCAL_V6), External::default());
    let sdp = Box::new(Pbx::start_at(LOCAL_V6).description("0", ""));
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp });
    let event = call.next().await;
    let MediaEvent::Refused { refusal, .. } = event else { panic!("{event:?}") };
    let said = refusal.to_string();
    assert!(said.contains("is IPv6") && said.contains("stays with IPv4"), "{said}");
    assert!(!said.contains("signalling"), "{said}");
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_address_is_named_and_one_that_moved_away_is_replaced() {
    let mut call = call_with(config(&[LOCAL_V6], "42500-42599", serde_json::json!({})));
    let foreign: std::net::IpAddr = "192.0.2.77".parse().unwrap();
    // nobody may send to all without asking for it, whatever the routes are
    let nowhere: std::net::IpAddr = [255; 4].into();
    for (towards, own, wanted) in [
        (nowhere, OwnAddress::Towards, "no route to 255.255.255.255 ("),
        (LOCAL, OwnAddress::Fixed(foreign), "192.0.2.77 is no address of this machine"),
    ] {
        let profile = at(towards, own, External::default());
        call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
        let event = call.next().await;
        let MediaEvent::Refused { refusal, .. } = event else { panic!("{event:?}") };
        assert!(refusal.to_string().contains(wanted) && !refusal.is_of_description(), "{refusal}");
        let is_elsewhere = towards == nowhere;
        assert_eq!(refusal.cause(), if is_elsewhere { Cause::Unreachable } else { Cause::Congestion });
    }
    let profile = at(LOCAL, OwnAddress::Signalling(foreign), External::default());
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
    let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
    assert_eq!(sdp.connection, Some(LOCAL));
    call.end().await;
}

/// A telephone-event packet (RFC 4733 §2.3).
fn event(sequence: u16, timestamp: u32, payload_type: u8, is_end: bool, duration: u16) -> PacketBuf {
    let header = RtpHeader {
        is_marked: duration <= 960 && !is_end,
        payload_type,
        sequence,
        timestamp,
        ssrc: 7,
        header_len: 12,
        is_padded: false,
    };
    let mut buf = PacketBuf::from_bytes(&header.to_fixed()).unwrap();
    let [high, low] = duration.to_be_bytes();
    buf.append(&[5, if is_end { 0x8a } else { 0x0a }, high, low]);
    buf
}

fn audio(sequence: u16, timestamp: u32, payload_type: u8) -> PacketBuf {
    let header = RtpHeader {
        is_marked: false,
        payload_type,
        sequence,
        timestamp,
        ssrc: 7,
        header_len: 12,
        is_padded: false,
    };
    let mut buf = PacketBuf::from_bytes(&header.to_fixed()).unwrap();
    buf.append(&[0xf8, 0xff, 0xfe]);
    buf
}

/// What arrives at a far side: payload type, timestamp, event, flags and volume, duration.
type Key = (u8, u32, u8, u8, u16);

fn keys(packets: &[Vec<u8>], payload_type: u8) -> Vec<Key> {
    let read = |bytes: &Vec<u8>| {
        let header = RtpHeader::parse(bytes).unwrap();
        let body = &bytes[12..];
        (header.payload_type, header.timestamp, body[0], body[1], u16::from_be_bytes([body[2], body[3]]))
    };
    packets.iter().filter(|b| RtpHeader::parse(b).unwrap().payload_type == payload_type).map(read).collect()
}

#[test]
fn pressed_keys_cross_between_clocks_of_48000_and_8000_in_both_directions_rfc4733_2_3_5() {
    const PROFILE: SrtpProfile = SrtpProfile::AesCm128HmacSha1_80;
    let format = |codec, payload, event: u8, clock_rate| {
        let event = EventFormat { payload_type: event, clock_rate };
        Format {
            codec,
            payload_in: payload,
            payload_out: payload,
            others_in: [None; 3],
            events_in: [Some(event), None],
            event_out: Some(event),
        }
    };
    let formats = [format(Codec::Opus, 111, 110, 48_000), format(Codec::Opus, 107, 101, 8_000)];
    let shared = [SocketAddr::new(LOCAL, 0)];
    let thread =
        MediaThread::start("media-keys", &shared, Duration::from_secs(30), Seed::from_number(1)).unwrap();
    let [browser, pbx] = [(); 2].map(|()| UdpSocket::bind((LOCAL, 0)).unwrap());
    for socket in [&browser, &pbx] {
        socket.set_read_timeout(Some(MOMENT)).unwrap();
    }
    let ends = [browser.local_addr().unwrap(), pbx.local_addr().unwrap()];
    let to_pbx_leg = rig::add_call_of(&thread, 1, PROFILE, ends, formats, [Arc::default(), Arc::default()]);
    rig::settle(&thread, 2);
    let shared = thread.addresses().next().unwrap();
    let receive = |socket: &UdpSocket, count: usize| -> Vec<Vec<u8>> {
        let mut buffer = [0; 2000];
        (0..count).map(|_| socket.recv(&mut buffer).map(|n| buffer[..n].to_vec()).unwrap()).collect()
    };

    // the browser presses 5 for 60 ms, the end three times
    let mut sealer = Sealer::new(PROFILE, &rig::master(PROFILE, 2)).unwrap();
    let pressed = [(false, 960), (false, 1_920), (true, 2_880), (true, 2_880), (true, 2_880)];
    let mut packets = vec![audio(1, 48_000, 111)];
    packets.extend((2..).zip(pressed).map(|(n, (is_end, d))| event(n, 48_960, 110, is_end, d)));
    for (index, packet) in (1..).zip(&mut packets) {
        sealer.protect_rtp(packet, index).unwrap();
        browser.send_to(packet.bytes(), shared).unwrap();
    }
    let at_pbx = receive(&pbx, 6);
    let start = RtpHeader::parse(&at_pbx[0]).unwrap().timestamp.wrapping_add(960);
    let expected: Vec<Key> = [(0x0a, 160), (0x0a, 320), (0x8a, 480), (0x8a, 480), (0x8a, 480)]
        .map(|(flags, duration)| (101, start, 5, flags, duration))
        .to_vec();
    assert_eq!(keys(&at_pbx, 101), expected, "one start for the whole event (RFC 4733 §2.2)");

    // and the PBX
    let mut opener = Opener::new(PROFILE, &rig::master(PROFILE, 1)).unwrap();
    let pressed = [(false, 160), (false, 320), (true, 480), (true, 480), (true, 480)];
    pbx.send_to(audio(1, 48_000, 107).bytes(), to_pbx_leg).unwrap();
    for (n, (is_end, duration)) in (2..).zip(pressed) {
        pbx.send_to(event(n, 48_960, 101, is_end, duration).bytes(), to_pbx_leg).unwrap();
    }
    let at_browser: Vec<Vec<u8>> = receive(&browser, 6)
        .into_iter()
        .map(|bytes| {
            let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
            opener.unprotect_rtp(&mut buf).unwrap();
            buf.bytes().to_vec()
        })
        .collect();
    let found = keys(&at_browser, 110);
    let without_time = |keys: &[Key]| keys.iter().map(|k| (k.0, k.2, k.3, k.4)).collect::<Vec<_>>();
    let expected: Vec<_> = [(0x0a, 960), (0x0a, 1_920), (0x8a, 2_880), (0x8a, 2_880), (0x8a, 2_880)]
        .map(|(flags, duration)| (110, 5, flags, duration))
        .to_vec();
    assert_eq!(without_time(&found), expected);
    assert!(found.iter().all(|k| k.1 == found[0].1), "one start for the whole event (RFC 4733 §2.2)");
    let audio = RtpHeader::parse(&at_browser[0]).unwrap().timestamp;
    let step = found[0].1.wrapping_sub(audio);
    assert!((960..9_600).contains(&step), "a frame or a little more behind the audio: {step}");
    thread.stop();
}

/// An association with a fault.
struct Faulty;

impl PeerInlet for Faulty {
    fn input(&self, _: PeerInput) {
        panic!("provoked by the test");
    }
}

#[test]
fn a_fault_while_one_datagram_is_handled_ends_that_stream_and_the_others_go_on() {
    let mut rig = rig::Rig::start(SrtpProfile::AesCm128HmacSha1_80, 2);
    rig.exchange(3);
    let (news, mut told) = tokio::sync::mpsc::channel(4);
    let id = StreamId(4_711);
    assert!(rig.thread.send(Command::AddWebRtc {
        id,
        source: OwnSource::random(&mut Seed::from_number(5)),
        ufrag: "faulty".into(),
        inlet: Some(Arc::new(Faulty)),
        stats: Arc::default(),
        news: Some(news),
    }));
    rig::settle(&rig.thread, 5);
    // a binding request with USERNAME `faulty:x`
    let mut request = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42];
    request.extend([9; 12]);
    request.extend([0, 6, 0, 8]);
    request.extend(b"faulty:x");
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    for _ in 0..3 {
        socket.send_to(&request, rig.thread.addresses().next().unwrap()).unwrap();
    }
    rig.exchange(3);
    assert_eq!(told.try_recv().unwrap(), (id, News::Lost(Cause::Internal)));
    assert!(told.try_recv().is_err(), "told once");
    assert!(rig.thread.strays().of(sipedge::media::stats::Drop::Fault) >= 1);
    rig.exchange(3);
    assert!(rig.thread.send(Command::Remove(id)));
    rig::settle(&rig.thread, 4);
    rig.exchange(3);
    rig.stop();
}

#[test]
fn packets_that_the_far_side_refuses_are_counted_as_come_back_and_told_with_the_error() {
    let rig = rig::Rig::start(SrtpProfile::AesCm128HmacSha1_80, 1);
    let (news, mut told) = tokio::sync::mpsc::channel(4);
    let (id, stats) = (StreamId(4_712), Arc::new(StreamStats::default()));
    let [rtp, rtcp] = [(); 2].map(|()| UdpSocket::bind((LOCAL, 0)).unwrap());
    rtp.set_nonblocking(true).unwrap();
    rtcp.set_nonblocking(true).unwrap();
    // nobody listens there any more
    let gone = UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap();
    for command in [
        Command::AddPlain {
            id,
            source: OwnSource::random(&mut Seed::from_number(5)),
            sockets: PlainSockets { rtp, rtcp, is_symmetric: false, home: None, leg: None },
            stats: Arc::clone(&stats),
            news: Some(news),
        },
        Command::Format(id, rig::PCMU),
        // silence goes there from now on
        Command::Remote(id, gone, gone),
    ] {
        assert!(rig.thread.send(command));
    }
    let refused = std::io::ErrorKind::ConnectionRefused;
    let until = std::time::Instant::now() + Duration::from_secs(5);
    let errno = loop {
        match told.try_recv() {
            Ok((told, News::Unsent(errno))) if told == id => break errno,
            other => assert!(other.is_err() && std::time::Instant::now() < until, "{other:?}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(std::io::Error::from_raw_os_error(errno).kind(), refused);
    assert!(stats.bounced.get() >= 5 && stats.packets_out.get() >= stats.bounced.get());
    assert_eq!(stats.drops.of(sipedge::media::stats::Drop::SendFailed), 0, "the kernel took them");
    assert!(told.try_recv().is_err(), "told once");
    rig.stop();
}
