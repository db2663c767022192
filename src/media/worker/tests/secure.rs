//! A PBX whose media is protected: nothing leaves for it in clear, and nothing in clear is taken of it.

use super::*;

/// The far side's ends of SRTP.
struct Far {
    sealer: Sealer,
    opener: Opener,
}

fn keys(ours: u8, theirs: u8) -> SrtpKeys {
    SrtpKeys { profile: PROFILE, local: master(ours), remote: master(theirs) }
}

impl Far {
    fn new(ours: u8, theirs: u8) -> Self {
        Self {
            sealer: Sealer::new(PROFILE, &master(theirs)).unwrap(),
            opener: Opener::new(PROFILE, &master(ours)).unwrap(),
        }
    }

    fn packet(&mut self, index: u64) -> PacketBuf {
        let mut buf = packet(9, index, 0);
        self.sealer.protect_rtp(&mut buf, index).unwrap();
        buf
    }

    /// An RTCP receiver report of no blocks.
    fn report(&mut self) -> PacketBuf {
        let mut buf = PacketBuf::from_bytes(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
        self.sealer.protect_rtcp(&mut buf).unwrap();
        buf
    }
}

/// The PBX leg beside a browser, protected and without keys.
fn protected(protection: Protection) -> World {
    let mut world = world();
    world.worker.set_protection(PBX, protection).unwrap();
    world
}

/// What leaves for the PBX in that time: by which socket, and the packet.
fn leaving(world: &mut World, until: Instant) -> Vec<(Via, PacketBuf)> {
    let sent = world.outputs(until).into_iter().filter_map(|(output, buf)| match output {
        Output::Send(transmit) if transmit.to.ip() == pbx().ip() => Some((transmit.via, buf)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn before_its_keys_nothing_leaves_and_nothing_is_heard_and_after_them_nothing_in_clear() {
    let mut world = protected(Protection::Srtp);
    let (t0, slot) = (world.t0, world.pbx_slot);
    let mut far = Far::new(5, 6);
    assert!(leaving(&mut world, t0 + Duration::from_secs(8)).is_empty(), "neither silence nor reports");
    assert!(matches!(world.browser_sends(t0, browser()).0, Verdict::Done));
    for mut buf in [packet(9, 5, 0), far.packet(5)] {
        assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut buf), Verdict::Done));
    }
    assert_eq!(world.stats[1].packets_in.get(), 0);
    assert!(world.stats[1].drops.of(Drop::NoKeys) >= 2);

    world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
    let (verdict, mut buf) = world.browser_sends(t0, browser());
    assert!(matches!(verdict, Verdict::Send(transmit) if transmit.to == pbx()));
    assert_ne!(&buf.bytes()[12..17], b"voice");
    far.opener.unprotect_rtp(&mut buf).unwrap();
    assert_eq!(&buf.bytes()[12..], b"voice");
    let mut clear = packet(9, 6, 0);
    assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut clear), Verdict::Done));
    assert_eq!(world.stats[1].packets_in.get(), 0);
    let mut sealed = far.packet(7);
    let verdict = world.worker.handle_plain(t0, slot, false, pbx(), &mut sealed);
    assert!(matches!(verdict, Verdict::Send(transmit) if transmit.to == browser()));
    world.opener.unprotect_rtp(&mut sealed).unwrap();
    assert_eq!(&sealed.bytes()[12..], b"voice");
}

#[test]
fn silence_keys_and_reports_are_sealed_and_those_of_others_need_a_tag() {
    let mut world = protected(Protection::Srtp);
    let t0 = world.t0;
    let mut far = Far::new(5, 6);
    world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
    world.worker.hear(PBX, None).unwrap();
    world.worker.send_keys(t0, PBX, &[key('7', 60)]).unwrap();
    let sent = leaving(&mut world, t0 + Duration::from_secs(8));
    let mut reports = 0;
    for (via, mut buf) in sent {
        if via == Via::Rtcp(world.pbx_slot) {
            reports += 1;
            far.opener.unprotect_rtcp(&mut buf).unwrap();
        } else {
            far.opener.unprotect_rtp(&mut buf).unwrap();
        }
    }
    assert!(reports >= 1, "{reports}");
    let rtcp = address("192.0.2.20:4001");
    let slot = world.pbx_slot;
    let mut clear = PacketBuf::from_bytes(&[0x80, 201, 0, 1, 0, 0, 0, 9]).unwrap();
    let before = world.stats[1].drops.total();
    assert!(matches!(world.worker.handle_plain(t0, slot, true, rtcp, &mut clear), Verdict::Done));
    assert_eq!(world.stats[1].drops.total(), before + 1);
    let mut sealed = far.report();
    world.worker.handle_plain(t0, slot, true, rtcp, &mut sealed);
    assert_eq!(world.stats[1].drops.total(), before + 1);
    let mut buf = PacketBuf::default();
    let goodbye = world.worker.remove(t0, PBX, &mut buf).unwrap();
    assert_eq!(goodbye.via, Via::Rtcp(slot));
    far.opener.unprotect_rtcp(&mut buf).unwrap();
}

#[test]
fn rtcp_of_its_own_handshake_has_its_own_keys_and_rtcp_beside_rtp_the_same_port_and_keys_rfc5764() {
    for is_muxed in [false, true] {
        let mut world = protected(if is_muxed { Protection::Srtp } else { Protection::SrtpEach });
        let (t0, slot) = (world.t0, world.pbx_slot);
        if is_muxed {
            world.worker.set_remote(t0, PBX, Some(pbx()), Some(pbx())).unwrap();
        }
        world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
        let reports = |world: &mut World, until| {
            let via = if is_muxed { Via::Rtp(slot) } else { Via::Rtcp(slot) };
            let sent = leaving(world, until).into_iter();
            sent.filter(|(v, buf)| *v == via && buf.bytes()[1] >= 200 && buf.bytes()[1] < 208)
                .collect::<Vec<_>>()
        };
        let first = reports(&mut world, t0 + Duration::from_secs(8));
        assert_eq!(first.is_empty(), !is_muxed, "without keys of its own RTCP says nothing");
        if !is_muxed {
            world.worker.set_rtcp_keys(PBX, keys(7, 8)).unwrap();
        }
        let mut far = if is_muxed { Far::new(5, 6) } else { Far::new(7, 8) };
        let later = reports(&mut world, t0 + Duration::from_secs(20));
        assert!(!later.is_empty());
        for (_, mut buf) in first.into_iter().chain(later) {
            far.opener.unprotect_rtcp(&mut buf).unwrap();
        }
        let (from, mut report) = (if is_muxed { pbx() } else { address("192.0.2.20:4001") }, far.report());
        let before = world.stats[1].drops.total();
        world.worker.handle_plain(t0, slot, !is_muxed, from, &mut report);
        assert_eq!(world.stats[1].drops.total(), before);
    }
}

#[test]
fn a_new_key_of_ours_begins_its_indices_anew_and_the_same_one_goes_on_rfc4568_7_1_4() {
    let mut world = protected(Protection::Srtp);
    let t0 = world.t0;
    world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
    let mut far = Far::new(5, 6);
    // over a rollover of our sequence numbers
    let mut last = 0_u16;
    for _ in 0..70_000 {
        let (verdict, mut buf) = world.browser_sends(t0, browser());
        assert!(matches!(verdict, Verdict::Send(_)));
        last = far.opener.unprotect_rtp(&mut buf).unwrap().sequence;
    }
    world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
    let (_, mut buf) = world.browser_sends(t0, browser());
    assert_eq!(far.opener.unprotect_rtp(&mut buf).unwrap().sequence, last.wrapping_add(1));
    world.worker.set_keys(t0, PBX, keys(7, 6)).unwrap();
    let (_, mut buf) = world.browser_sends(t0, browser());
    let mut far = Far::new(7, 6);
    assert!(far.opener.unprotect_rtp(&mut buf).unwrap().sequence < 0x8000, "under a rollover counter of 0");
    // back in clear, where both agree on it
    world.worker.set_protection(PBX, Protection::Clear).unwrap();
    let (_, buf) = world.browser_sends(t0, browser());
    assert_eq!(&buf.bytes()[12..], b"voice");
    assert_eq!(world.worker.set_keys(t0, PBX, keys(7, 6)), Err(CommandError::WrongKind));
}

#[test]
fn a_stranger_without_the_key_teaches_a_symmetric_transport_nothing() {
    let mut world = protected(Protection::Srtp);
    let (t0, slot) = (world.t0, world.pbx_slot);
    if let Transport::Plain(plain) = &mut world.worker.streams[slot].transport {
        plain.is_symmetric = true;
    }
    world.worker.set_keys(t0, PBX, keys(5, 6)).unwrap();
    let (nat, stranger) = (address("198.51.100.7:9000"), address("203.0.113.9:7"));
    let (mut far, mut forger) = (Far::new(5, 6), Far::new(5, 9));
    for index in 0..10 {
        let mut buf = forger.packet(index);
        assert!(matches!(world.worker.handle_plain(t0, slot, false, stranger, &mut buf), Verdict::Done));
    }
    for (index, is_heard) in [(20, false), (21, true), (22, true)] {
        let mut buf = far.packet(index);
        let verdict = world.worker.handle_plain(t0, slot, false, nat, &mut buf);
        assert_eq!(matches!(verdict, Verdict::Send(_)), is_heard, "{index}");
    }
    let (verdict, _) = world.browser_sends(t0, browser());
    assert!(matches!(verdict, Verdict::Send(transmit) if transmit.to == nat));
}

#[test]
fn dtls_of_a_plain_stream_goes_to_the_association_of_its_port_and_without_one_nowhere() {
    let mut world = protected(Protection::SrtpEach);
    let (t0, slot) = (world.t0, world.pbx_slot);
    let dtls = || PacketBuf::from_bytes(&[22; 60]).unwrap();
    assert!(matches!(world.worker.handle_plain(t0, slot, false, pbx(), &mut dtls()), Verdict::Done));
    let inlets: [Arc<Inlet>; 2] = Default::default();
    let given = inlets.each_ref().map(|i| Some(Arc::<Inlet>::clone(i) as Arc<dyn PeerInlet>));
    world.worker.set_inlets(PBX, given).unwrap();
    for (is_rtcp, inlet) in [(false, &inlets[0]), (true, &inlets[1])] {
        let verdict = world.worker.handle_plain(t0, slot, is_rtcp, pbx(), &mut dtls());
        let Verdict::Peer(found, path) = verdict else { panic!() };
        assert_eq!(path.remote, pbx());
        found.input(PeerInput::Datagram { path, bytes: Vec::new() });
        assert_eq!(*inlet.0.lock().unwrap(), ["datagram"]);
    }
}
