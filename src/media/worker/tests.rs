//! Tests of the packet machine: a browser with keys given by hand and a PBX, no socket.

use super::*;
use crate::call::port::Codec;
use crate::media::relay::EventFormat;
use crate::media::srtp::{Opener, Sealer};
use crate::media::stream::Plain;
use crate::peer::{MasterKey, PeerInput, SrtpProfile};
use std::sync::Mutex;

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
const WEB: StreamId = StreamId(1);
const PBX: StreamId = StreamId(2);
const PCMU: Format = Format {
    codec: Codec::Pcmu,
    payload_in: 0,
    payload_out: 0,
    others_in: [None; 3],
    events_in: [Some(EventFormat { payload_type: 101, clock_rate: 8_000 }), None],
    event_out: Some(EventFormat { payload_type: 101, clock_rate: 8_000 }),
};

#[derive(Default)]
struct Inlet(Mutex<Vec<&'static str>>);

impl PeerInlet for Inlet {
    fn input(&self, input: PeerInput) {
        self.0.lock().unwrap().push(match input {
            PeerInput::Datagram { .. } => "datagram",
            PeerInput::MediaFrom(_) => "media",
            _ => "other",
        });
    }
}

struct World {
    worker: Worker,
    t0: Instant,
    sealer: Sealer,
    opener: Opener,
    stats: [Arc<StreamStats>; 2],
    pbx_slot: usize,
    index: u64,
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn browser() -> SocketAddr {
    address("198.51.100.1:50000")
}

fn pbx() -> SocketAddr {
    address("192.0.2.20:4000")
}

fn shared() -> SocketAddr {
    address("192.0.2.10:7000")
}

fn master(byte: u8) -> MasterKey {
    MasterKey { key: vec![byte; PROFILE.key_len()].into(), salt: vec![byte; PROFILE.salt_len()].into() }
}

fn source(ssrc: u32) -> OwnSource {
    OwnSource { ssrc, cname: "c".into() }
}

/// Both legs up and bridged.
fn world() -> World {
    let mut world = detached();
    let WebKeys { keys } = WebKeys::new();
    let t0 = world.t0;
    let worker = &mut world.worker;
    let inlet: Arc<dyn PeerInlet> = Arc::new(Inlet::default());
    let transport = Transport::WebRtc(WebRtc::new("ours".into(), Some(inlet)));
    worker.add(t0, WEB, source(0x0b), transport, Arc::clone(&world.stats[0]));
    worker.set_format(WEB, PCMU).unwrap();
    let path = Path { local: shared(), remote: browser() };
    worker.bind(WEB, path).unwrap();
    worker.select(WEB, path).unwrap();
    worker.set_keys(t0, WEB, keys).unwrap();
    worker.hear(WEB, Some(PBX)).unwrap();
    worker.hear(PBX, Some(WEB)).unwrap();
    world
}

fn to_pbx_as(slot: usize, content: Content) -> Transmit {
    Transmit { via: Via::Rtp(slot), to: pbx(), slot, content }
}

struct WebKeys {
    keys: SrtpKeys,
}

impl WebKeys {
    fn new() -> Self {
        Self { keys: SrtpKeys { profile: PROFILE, local: master(1), remote: master(2) } }
    }
}

/// The PBX leg alone.
fn detached() -> World {
    let t0 = Instant::now();
    let mut worker = Worker::new(
        vec![shared()],
        Duration::from_secs(30),
        t0,
        Duration::from_secs(1_700_000_000),
        Seed::from_number(4),
    );
    let stats: [Arc<StreamStats>; 2] = Default::default();
    let transport = Transport::Plain(Plain::default());
    let pbx_slot = worker.add(t0, PBX, source(0x0a), transport, Arc::clone(&stats[1]));
    worker.set_format(PBX, PCMU).unwrap();
    worker.set_remote(t0, PBX, Some(pbx()), Some(address("192.0.2.20:4001"))).unwrap();
    World {
        worker,
        t0,
        sealer: Sealer::new(PROFILE, &master(2)).unwrap(),
        opener: Opener::new(PROFILE, &master(1)).unwrap(),
        stats,
        pbx_slot,
        index: 100,
    }
}

fn packet(ssrc: u32, index: u64, payload_type: u8) -> PacketBuf {
    let header = RtpHeader {
        is_marked: false,
        payload_type,
        sequence: super::super::packet::low16(index),
        timestamp: super::super::packet::low32(index * 160),
        ssrc,
        header_len: 12,
        is_padded: false,
    };
    let mut buf = PacketBuf::from_bytes(&header.to_fixed()).unwrap();
    buf.append(b"voice");
    buf
}

impl World {
    fn sealed(&mut self) -> PacketBuf {
        let mut buf = packet(7, self.index, 0);
        self.sealer.protect_rtp(&mut buf, self.index).unwrap();
        self.index += 1;
        buf
    }

    fn browser_sends(&mut self, now: Instant, from: SocketAddr) -> (Verdict, PacketBuf) {
        let mut buf = self.sealed();
        let verdict = self.worker.handle_shared(now, 0, from, &mut buf);
        (verdict, buf)
    }

    /// All the worker has to say up to that time.
    fn outputs(&mut self, until: Instant) -> Vec<(Output, PacketBuf)> {
        let mut outputs = Vec::new();
        while let Some(at) = self.worker.poll_timeout().filter(|at| *at <= until) {
            self.worker.handle_timeout(at);
            let mut buf = PacketBuf::default();
            while let Some(output) = self.worker.poll_output(at, &mut buf) {
                outputs.push((output, std::mem::take(&mut buf)));
            }
        }
        outputs
    }

    fn silence(&mut self, until: Instant) -> usize {
        let to = to_pbx_as(self.pbx_slot, Content::Filling);
        self.outputs(until).iter().filter(|(o, _)| *o == Output::Send(to)).count()
    }
}

#[test]
fn a_packet_of_the_browser_leaves_for_the_pbx_unprotected_under_our_ssrc_and_back() {
    let mut world = world();
    let now = world.t0;
    let (verdict, buf) = world.browser_sends(now, browser());
    let Verdict::Send(transmit) = verdict else { panic!() };
    assert_eq!(transmit, to_pbx_as(world.pbx_slot, Content::Media));
    assert_eq!(RtpHeader::parse(buf.bytes()).unwrap().ssrc, 0x0a);
    assert_eq!(&buf.bytes()[12..], b"voice");

    let mut buf = packet(9, 5, 0);
    let slot = world.pbx_slot;
    let Verdict::Send(transmit) = world.worker.handle_plain(now, slot, false, pbx(), &mut buf) else {
        panic!()
    };
    assert_eq!((transmit.via, transmit.to), (Via::Shared(0), browser()));
    assert_eq!(transmit.slot, world.worker.slot_of(WEB).unwrap());
    let header = world.opener.unprotect_rtp(&mut buf).unwrap();
    assert_eq!((header.ssrc, &buf.bytes()[12..]), (0x0b, &b"voice"[..]));
    assert_eq!(world.stats[0].packets_in.get(), 1);
    assert_eq!(world.stats[0].packets_out.get(), 1);
}

#[test]
fn strangers_reach_nobody_on_either_side() {
    let mut world = world();
    let now = world.t0;
    let slot = world.pbx_slot;
    let stranger = address("203.0.113.66:6666");
    let mut buf = packet(9, 5, 0);
    assert!(matches!(world.worker.handle_plain(now, slot, false, stranger, &mut buf), Verdict::Done));
    assert_eq!(world.stats[1].drops.of(Drop::WrongSource), 1);
    let mut buf = packet(9, 5, 0);
    assert!(matches!(world.worker.handle_shared(now, 0, stranger, &mut buf), Verdict::Done));
    let mut dtls = PacketBuf::from_bytes(&[22; 60]).unwrap();
    assert!(matches!(world.worker.handle_shared(now, 0, stranger, &mut dtls), Verdict::Done));
    assert_eq!(world.worker.strays().of(Drop::WrongSource), 2);
}

#[test]
fn srtp_with_a_good_tag_from_a_new_path_asks_the_association_and_a_bad_tag_does_not() {
    let mut world = world();
    let now = world.t0;
    assert!(matches!(world.browser_sends(now, browser()).0, Verdict::Send(_)));
    let elsewhere = address("198.51.100.1:50001");
    let later = now + Duration::from_secs(1);
    let mut forged = world.sealed();
    forged.bytes_mut()[14] ^= 1;
    assert!(matches!(world.worker.handle_shared(later, 0, elsewhere, &mut forged), Verdict::Done));
    let at_once = world.browser_sends(later, elsewhere).0;
    assert!(matches!(at_once, Verdict::Done), "ten looks a second at most");
    let verdict = world.browser_sends(later + MEDIA_FROM_EVERY, elsewhere).0;
    assert!(matches!(verdict, Verdict::MediaFrom(_, path) if path.remote == elsewhere));
}

/// A binding request with USERNAME `ours:theirs`.
fn request(username: &str) -> PacketBuf {
    let padded = username.len().next_multiple_of(4);
    let mut bytes = vec![0, 1, 0, (4 + padded) as u8, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend([9; 12]);
    bytes.extend([0, 6, 0, username.len() as u8]);
    bytes.extend(username.bytes());
    bytes.resize(20 + 4 + padded, 0);
    PacketBuf::from_bytes(&bytes).unwrap()
}

#[test]
fn a_request_goes_by_its_ufrag_and_dtls_follows_it_but_never_takes_a_bound_path_away() {
    let mut world = world();
    let now = world.t0;
    let elsewhere = address("198.51.100.9:40000");
    let mut dtls = PacketBuf::from_bytes(&[22; 60]).unwrap();
    assert!(matches!(world.worker.handle_shared(now, 0, elsewhere, &mut request("none:x")), Verdict::Done));
    assert!(matches!(world.worker.handle_shared(now, 0, elsewhere, &mut dtls), Verdict::Done));
    assert!(matches!(
        world.worker.handle_shared(now, 0, elsewhere, &mut request("ours:x")),
        Verdict::Peer(..)
    ));
    assert!(matches!(world.worker.handle_shared(now, 0, elsewhere, &mut dtls), Verdict::Peer(..)));
    // another stream's ufrag from the bound path of the first: DTLS stays with the first
    let inlet: Arc<dyn PeerInlet> = Arc::new(Inlet::default());
    let transport = Transport::WebRtc(WebRtc::new("thief".into(), Some(Arc::clone(&inlet))));
    world.worker.add(now, StreamId(3), source(3), transport, Arc::default());
    assert!(matches!(
        world.worker.handle_shared(now, 0, browser(), &mut request("thief:x")),
        Verdict::Peer(..)
    ));
    let Verdict::Peer(owner, _) = world.worker.handle_shared(now, 0, browser(), &mut dtls) else { panic!() };
    assert!(!Arc::ptr_eq(&owner, &inlet));
    assert!(matches!(world.browser_sends(now, browser()).0, Verdict::Send(_)));
}

#[test]
fn a_leg_without_its_other_side_gets_a_silence_packet_every_20_ms() {
    let mut world = detached();
    let t0 = world.t0;
    let sent = world.silence(t0 + Duration::from_secs(2));
    assert!((99..=102).contains(&sent), "{sent}");
    assert_eq!(world.stats[1].silence_out.get(), sent as u64);
}

#[test]
fn silence_ends_when_the_other_side_can_send_and_begins_again_when_it_is_gone() {
    let mut world = world();
    let t0 = world.t0;
    assert_eq!(world.silence(t0 + Duration::from_secs(1)), 0);
    world.worker.remove(t0, WEB, &mut PacketBuf::default());
    assert!(world.silence(t0 + Duration::from_secs(2)) >= 48);
}

#[test]
fn on_hold_nothing_is_sent_and_nothing_times_out() {
    let mut world = detached();
    let t0 = world.t0;
    world.worker.expect(t0, PBX).unwrap();
    world.worker.set_direction(t0, PBX, false, false).unwrap();
    let outputs = world.outputs(t0 + Duration::from_secs(300));
    assert!(outputs.iter().all(|(o, _)| matches!(o, Output::Send(t) if t.via == Via::Rtcp(world.pbx_slot))));
}

#[test]
fn thirty_seconds_without_media_are_told_once() {
    let mut world = world();
    let t0 = world.t0;
    assert!(matches!(world.browser_sends(t0, browser()).0, Verdict::Send(_)));
    let lost = |outputs: &[(Output, PacketBuf)]| -> Vec<Output> {
        outputs.iter().map(|(o, _)| *o).filter(|o| matches!(o, Output::Lost(..))).collect()
    };
    assert!(lost(&world.outputs(t0 + Duration::from_millis(29_900))).is_empty());
    let told = lost(&world.outputs(t0 + Duration::from_secs(60)));
    assert_eq!(told, [Output::Lost(WEB, Cause::MediaTimeout)]);
}

#[test]
fn a_pbx_that_records_and_sends_reports_alone_is_not_lost() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    world.worker.expect(t0, PBX).unwrap();
    let is_lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().any(|(o, _)| matches!(o, Output::Lost(PBX, Cause::MediaTimeout)))
    };
    // an empty receiver report (RFC 3550 §6.4.2)
    let mut report = PacketBuf::from_bytes(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
    for seconds in (5..=120).step_by(5) {
        let now = t0 + Duration::from_secs(seconds);
        assert!(matches!(
            world.worker.handle_plain(now, slot, true, address("192.0.2.20:4001"), &mut report),
            Verdict::Done
        ));
        assert!(!is_lost(world.outputs(now)), "{seconds} s");
    }
    assert!(is_lost(world.outputs(t0 + Duration::from_secs(151))), "and lost when they end too");
}

#[test]
fn a_callee_that_falls_silent_while_it_rings_is_not_lost_before_it_is_expected_to_send() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    let is_lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().filter(|(o, _)| matches!(o, Output::Lost(PBX, Cause::MediaTimeout))).count()
    };
    // early media, then it rings for 40 s
    assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut packet(9, 5, 0)), Verdict::Done));
    let answered = t0 + Duration::from_secs(40);
    assert_eq!(is_lost(world.outputs(answered)), 0);
    // answered: 30 s from here, said twice or once
    world.worker.expect(answered, PBX).unwrap();
    world.worker.expect(answered + Duration::from_secs(20), PBX).unwrap();
    assert_eq!(is_lost(world.outputs(answered + Duration::from_millis(29_700))), 0);
    assert_eq!(is_lost(world.outputs(answered + Duration::from_secs(31))), 1);
    assert_eq!(world.worker.expect(answered, WEB), Err(CommandError::NoStream));
}

#[test]
fn a_leg_whose_description_says_that_it_does_not_send_is_not_lost_and_counts_anew_when_it_does() {
    let mut world = detached();
    let t0 = world.t0;
    world.worker.expect(t0, PBX).unwrap();
    world.worker.set_direction(t0, PBX, true, false).unwrap();
    let held = t0 + Duration::from_secs(300);
    let lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().filter(|(o, _)| matches!(o, Output::Lost(..))).count()
    };
    assert_eq!(lost(world.outputs(held)), 0);
    world.worker.set_direction(held, PBX, true, true).unwrap();
    assert_eq!(lost(world.outputs(held + Duration::from_millis(29_700))), 0);
    assert_eq!(lost(world.outputs(held + Duration::from_secs(31))), 1);
}

impl World {
    fn pbx_sends(&mut self, now: Instant, index: u64) -> Verdict {
        let slot = self.pbx_slot;
        self.worker.handle_plain(now, slot, false, pbx(), &mut packet(9, index, 0))
    }
}

#[test]
fn a_pbx_that_sends_comfort_noise_alone_is_not_lost_rfc3389() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    world.worker.expect(t0, PBX).unwrap();
    let is_lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().any(|(o, _)| matches!(o, Output::Lost(PBX, Cause::MediaTimeout)))
    };
    for seconds in (5..=120).step_by(5) {
        let now = t0 + Duration::from_secs(seconds);
        let mut noise = packet(9, seconds, 13);
        assert!(matches!(world.worker.handle_plain(now, slot, false, pbx(), &mut noise), Verdict::Done));
        assert!(!is_lost(world.outputs(now)), "{seconds} s");
    }
    assert!(is_lost(world.outputs(t0 + Duration::from_secs(151))), "and lost when it ends too");
}

#[test]
fn a_doubled_packet_of_the_pbx_leaves_once_for_a_browser_rfc3711_9_1() {
    let mut world = world();
    let (t0, slot) = (world.t0, world.pbx_slot);
    assert!(matches!(world.pbx_sends(t0, 5), Verdict::Send(_)));
    let mut other = packet(9, 5, 0);
    other.bytes_mut()[12] ^= 0xff;
    assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut other), Verdict::Done));
    assert_eq!(world.stats[0].drops.of(Drop::Replayed), 1);
    assert!(matches!(world.pbx_sends(t0, 6), Verdict::Send(_)));
}

#[test]
fn padding_is_no_key() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    let mut buf = packet(9, 5, 101);
    buf.truncate(12);
    buf.append(&[3, 10, 0, 4]);
    buf.bytes_mut()[0] |= 0x20;
    world.worker.handle_plain(t0, slot, false, pbx(), &mut buf);
    assert!(!world.outputs(t0).iter().any(|(o, _)| matches!(o, Output::Pressed(..))));
}

#[test]
fn after_an_ice_restart_the_new_and_the_last_ufrag_lead_to_the_same_association_rfc8445_9() {
    let mut world = world();
    let now = world.t0;
    let leads = |world: &mut World, ufrag: &str| {
        let elsewhere = address("198.51.100.9:40000");
        let verdict = world.worker.handle_shared(now, 0, elsewhere, &mut request(&format!("{ufrag}:x")));
        matches!(verdict, Verdict::Peer(..))
    };
    world.worker.set_ufrag(WEB, "second".into()).unwrap();
    assert!(leads(&mut world, "ours") && leads(&mut world, "second"));
    world.worker.set_ufrag(WEB, "third".into()).unwrap();
    assert!(!leads(&mut world, "ours") && leads(&mut world, "second") && leads(&mut world, "third"));
    assert!(matches!(world.browser_sends(now, browser()).0, Verdict::Send(_)), "keys and path stay");
    world.worker.remove(now, WEB, &mut PacketBuf::default());
    assert!(world.worker.by_ufrag.is_empty());
    assert_eq!(world.worker.set_ufrag(PBX, "x".into()), Err(CommandError::WrongKind));
}

#[test]
fn reports_leave_every_five_seconds_and_are_protected_on_the_browsers_side() {
    let mut world = world();
    let t0 = world.t0;
    assert!(matches!(world.browser_sends(t0, browser()).0, Verdict::Send(_)));
    let slot = world.worker.slot_of(WEB).unwrap();
    let to = Transmit { via: Via::Shared(0), to: browser(), slot, content: Content::Report };
    let outputs = world.outputs(t0 + Duration::from_secs(26));
    let mut reports: Vec<PacketBuf> =
        outputs.into_iter().filter(|(o, _)| *o == Output::Send(to)).map(|(_, b)| b).collect();
    assert!((5..=7).contains(&reports.len()), "{}", reports.len());
    for report in &mut reports {
        world.opener.unprotect_rtcp(report).unwrap();
    }
    let first = super::super::packet::RtcpParts::new(reports[0].bytes()).next().unwrap();
    assert_eq!((first.packet_type, first.count), (201, 1), "received one packet, sent none");
}

#[test]
fn a_removed_stream_says_goodbye_and_leaves_no_trace_in_the_tables() {
    let mut world = world();
    let t0 = world.t0;
    assert!(matches!(world.browser_sends(t0, browser()).0, Verdict::Send(_)));
    let slot = world.pbx_slot;
    assert!(matches!(
        world.worker.handle_plain(t0, slot, false, pbx(), &mut packet(9, 5, 0)),
        Verdict::Send(_)
    ));
    world.worker.handle_shared(t0, 0, address("198.51.100.9:40000"), &mut request("ours:x"));
    let mut buf = PacketBuf::default();
    assert!(world.worker.remove(t0, WEB, &mut buf).is_some());
    world.opener.unprotect_rtcp(&mut buf).unwrap();
    assert!(super::super::packet::RtcpParts::new(buf.bytes()).any(|p| p.packet_type == 203));
    assert!(world.worker.remove(t0, PBX, &mut buf).is_some());
    let worker = &world.worker;
    assert!(worker.is_empty() && worker.by_id.is_empty() && worker.by_ufrag.is_empty());
    assert!(worker.by_path.is_empty() && worker.by_hint.is_empty() && worker.by_ssrc.is_empty());
    assert!(worker.silent.is_empty() && worker.poll_timeout().is_none());
}

#[test]
fn a_stream_that_never_sent_leaves_without_a_word_rfc3550_6_3_7() {
    let mut world = world();
    let t0 = world.t0;
    let mut buf = PacketBuf::default();
    assert_eq!(world.worker.remove(t0, PBX, &mut buf), None, "no packet and no report of ours went there");
    let later = t0 + Duration::from_secs(6);
    assert!(!world.outputs(later).is_empty());
    assert!(world.worker.remove(later, WEB, &mut buf).is_some(), "a report did");
}

#[test]
fn a_fault_in_handling_loses_that_stream_alone() {
    let mut world = world();
    let t0 = world.t0;
    let _ = world.browser_sends(t0, browser());
    world.worker.handle_fault();
    let mut buf = PacketBuf::default();
    assert_eq!(world.worker.poll_output(t0, &mut buf), Some(Output::Lost(WEB, Cause::Internal)));
    assert_eq!(world.worker.strays().of(Drop::Fault), 1);
    let slot = world.pbx_slot;
    let mut buf = packet(9, 5, 0);
    assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut buf), Verdict::Send(_)));
}

#[test]
fn random_datagrams_from_known_and_unknown_paths_never_panic_and_send_nothing() {
    let mut world = world();
    let mut seed = Seed::from_number(12);
    let (t0, slot) = (world.t0, world.pbx_slot);
    let paths = [browser(), address("203.0.113.1:1")];
    for n in 0..50_000_u64 {
        let mut bytes = vec![0; seed.below(120) as usize];
        seed.fill(&mut bytes);
        if let Some(first) = bytes.first_mut() {
            *first = [*first, 0x80 | (*first & 0x3f), 0, 22][seed.below(4) as usize];
        }
        let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
        let now = t0 + Duration::from_micros(n);
        let from = paths[seed.below(2) as usize];
        let verdict = world.worker.handle_shared(now, 0, from, &mut buf);
        assert!(!matches!(verdict, Verdict::Send(_)));
        let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
        let verdict = world.worker.handle_plain(now, slot, seed.below(2) == 0, from, &mut buf);
        assert!(matches!(verdict, Verdict::Done));
    }
}

#[test]
fn a_new_browser_on_the_ports_of_the_old_one_takes_the_path_over() {
    let mut world = world();
    let t0 = world.t0;
    let (new, inlet): (_, Arc<dyn PeerInlet>) = (StreamId(5), Arc::new(Inlet::default()));
    let transport = Transport::WebRtc(WebRtc::new("new".into(), Some(inlet)));
    world.worker.add(t0, new, source(5), transport, Arc::default());
    world.worker.bind(new, Path { local: shared(), remote: browser() }).unwrap();
    world.worker.remove(t0, WEB, &mut PacketBuf::default());
    assert_eq!(world.worker.by_path.len(), 1, "the end of the old one leaves the new one's path alone");
}

#[test]
fn commands_for_what_is_not_there_say_so() {
    let mut world = detached();
    let path = Path { local: address("192.0.2.99:1"), remote: browser() };
    assert_eq!(world.worker.bind(WEB, path), Err(CommandError::NoStream));
    assert_eq!(world.worker.bind(PBX, path), Err(CommandError::NoSocket));
    let path = Path { local: shared(), remote: browser() };
    assert_eq!(world.worker.bind(PBX, path), Err(CommandError::WrongKind));
    let keys = SrtpKeys { profile: PROFILE, local: master(1), remote: master(2) };
    assert_eq!(world.worker.set_keys(world.t0, PBX, keys), Err(CommandError::WrongKind));
}

fn key(digit: char, ms: u64) -> crate::call::port::DtmfDigit {
    let digit = Digit::from_char(digit).unwrap();
    crate::call::port::DtmfDigit { digit, duration: Duration::from_millis(ms) }
}

/// RTP that left for the PBX: header and payload.
fn to_pbx(world: &mut World, until: Instant) -> Vec<(RtpHeader, Vec<u8>)> {
    let outputs = world.outputs(until);
    let slot = world.pbx_slot;
    let is_rtp = |t: &Transmit| t.via == Via::Rtp(slot) && t.content != Content::Report;
    let sent = outputs.iter().filter(|(output, _)| matches!(output, Output::Send(t) if is_rtp(t)));
    sent.map(|(_, buf)| (RtpHeader::parse(buf.bytes()).unwrap(), buf.bytes()[12..].to_vec())).collect()
}

#[test]
fn a_key_of_the_far_side_is_told_once_whether_somebody_hears_it_or_not() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    for _ in 0..5 {
        let mut buf = packet(9, 5, 101);
        buf.truncate(12);
        buf.append(&[3, 10, 0, 160]);
        world.worker.handle_plain(t0, slot, false, pbx(), &mut buf);
    }
    let told = world.outputs(t0);
    let digit = Digit::from_char('3').unwrap();
    assert_eq!(told.iter().filter(|(o, _)| *o == Output::Pressed(PBX, digit)).count(), 1);
}

#[test]
fn an_echo_hears_itself_and_what_is_played_takes_the_place_of_silence() {
    let mut world = detached();
    let (t0, slot) = (world.t0, world.pbx_slot);
    world.worker.play(PBX, crate::media::tone::Program::Tone).unwrap();
    let sent = to_pbx(&mut world, t0 + Duration::from_millis(100));
    assert!(sent.len() >= 4 && sent.iter().all(|(_, p)| p.len() == 160 && p.iter().any(|b| *b != 0xff)));
    world.worker.hear(PBX, Some(PBX)).unwrap();
    let mut buf = packet(9, 5, 0);
    let verdict = world.worker.handle_plain(t0, slot, false, pbx(), &mut buf);
    assert!(matches!(verdict, Verdict::Send(to) if to.to == pbx()));
    assert_eq!(&buf.bytes()[12..], b"voice");
    assert!(to_pbx(&mut world, t0 + Duration::from_secs(1)).is_empty(), "nothing is played beside it");
    let mut buf = PacketBuf::default();
    world.worker.remove(t0, PBX, &mut buf);
    assert!(world.worker.is_empty());
}

mod hold;
mod keys;
mod secure;
mod trouble;
