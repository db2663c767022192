//! One side hears nothing: what is counted and told of it.

use super::*;
use crate::media::rtcp::Reported;

/// Nothing came at all.
const NOTHING: Signs = Signs { was_heard: false, reported: Reported::Nothing };

/// The two legs up, and the PBX should send.
fn talking() -> World {
    let mut world = world();
    world.worker.expect(world.t0, PBX).unwrap();
    world
}

fn of_pbx(outputs: &[(Output, PacketBuf)]) -> Vec<Output> {
    let is_its =
        |o: &&Output| matches!(o, Output::Quiet(PBX, _) | Output::HeardAgain(PBX) | Output::Unsent(PBX, _));
    outputs.iter().map(|(o, _)| o).filter(is_its).copied().collect()
}

impl World {
    fn told(&mut self, ms: u64) -> Vec<Output> {
        let outputs = self.outputs(self.t0 + Duration::from_millis(ms));
        of_pbx(&outputs)
    }
}

#[test]
fn a_far_side_whose_rtp_stays_away_is_told_once_and_so_is_its_return() {
    let mut world = talking();
    let t0 = world.t0;
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    assert!(world.told(5_900).is_empty());
    assert_eq!(world.told(6_500), [Output::Quiet(PBX, NOTHING)], "from the answer on");
    assert!(world.told(9_000).is_empty());
    assert!(matches!(world.pbx_sends(at(9_100), 1), Verdict::Send(_)));
    assert_eq!(world.told(9_500), [Output::HeardAgain(PBX)]);
    assert!(world.told(25_000).is_empty(), "once a stream");
}

/// A report of a far side (RFC 3550 §6.4): of a sender with so many packets, or of one who sends none.
fn report(sent: Option<u32>) -> PacketBuf {
    let mut bytes = vec![0x80, if sent.is_some() { 200 } else { 201 }, 0, if sent.is_some() { 6 } else { 1 }];
    bytes.extend([0, 0, 0, 9]);
    if let Some(sent) = sent {
        bytes.extend([0; 12]);
        bytes.extend(sent.to_be_bytes());
        bytes.extend([0; 4]);
    }
    PacketBuf::from_bytes(&bytes).unwrap()
}

#[test]
fn the_reports_of_a_quiet_far_side_say_whether_it_sends_rfc3550_6_4() {
    for (heard, sent, reported) in [
        (0, None, Reported::Silent),
        (0, Some(0), Reported::Silent),
        (0, Some(250), Reported::Sending),
        // as many as came, give or take what went before we could hear it
        (50, Some(90), Reported::Silent),
        (50, None, Reported::Silent),
        (50, Some(300), Reported::Sending),
    ] {
        let mut world = talking();
        let t0 = world.t0;
        let at = |ms: u64| t0 + Duration::from_millis(ms);
        for n in 0..heard {
            assert!(world.told(20 * n).is_empty());
            assert!(matches!(world.pbx_sends(at(20 * n), n), Verdict::Send(_)));
        }
        assert!(world.told(5_000).is_empty());
        let (slot, mut report) = (world.pbx_slot, report(sent));
        world.worker.handle_plain(at(5_000), slot, true, address("192.0.2.20:4001"), &mut report);
        let signs = Signs { was_heard: heard > 0, reported };
        assert_eq!(world.told(7_500), [Output::Quiet(PBX, signs)], "{heard} {sent:?}");
    }
}

#[test]
fn a_report_from_before_the_silence_says_nothing_of_it() {
    let mut world = talking();
    let t0 = world.t0;
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    let (slot, mut report) = (world.pbx_slot, report(None));
    world.worker.handle_plain(t0, slot, true, address("192.0.2.20:4001"), &mut report);
    for n in 0..50 {
        assert!(world.told(20 * n).is_empty());
        assert!(matches!(world.pbx_sends(at(20 * n), n), Verdict::Send(_)));
    }
    let signs = Signs { was_heard: true, reported: Reported::Nothing };
    assert_eq!(world.told(7_500), [Output::Quiet(PBX, signs)]);
}

#[test]
fn nobody_is_missed_who_need_not_send() {
    // who has not answered
    let mut world = world();
    assert!(world.told(20_000).is_empty());
    // who is held, and who holds; after that there are five seconds more
    for (may_send, may_receive) in [(true, false), (false, true), (false, false)] {
        let mut world = talking();
        let t0 = world.t0;
        world.worker.set_direction(t0, PBX, may_send, may_receive).unwrap();
        assert!(world.told(20_000).is_empty(), "{may_send} {may_receive}");
        world.worker.set_direction(t0 + Duration::from_secs(20), PBX, true, true).unwrap();
        assert!(world.told(25_900).is_empty());
        assert_eq!(world.told(26_500).len(), 1);
    }
    // comfort noise that nobody asked for is RTP
    let mut world = talking();
    for n in 0..100_u64 {
        let now = world.t0 + Duration::from_millis(200 * n);
        assert!(world.told(200 * n).is_empty());
        let mut noise = packet(9, n, 13);
        let slot = world.pbx_slot;
        world.worker.handle_plain(now, slot, false, pbx(), &mut noise);
    }
    assert_eq!(world.stats[1].drops.of(Drop::ComfortNoise), 100);
}

#[test]
fn who_sends_nothing_but_a_codec_that_was_not_agreed_is_not_heard() {
    let mut world = talking();
    let mut told = Vec::new();
    for n in 0..400_u64 {
        told.extend(world.told(20 * n));
        let (now, slot) = (world.t0 + Duration::from_millis(20 * n), world.pbx_slot);
        world.worker.handle_plain(now, slot, false, pbx(), &mut packet(9, n, 18));
    }
    let signs = Signs { was_heard: false, reported: Reported::Nothing };
    assert_eq!(told, [Output::Quiet(PBX, signs)]);
    assert_eq!(world.stats[1].drops.of(Drop::UnknownPayload), 400);
}

#[test]
fn what_the_kernel_does_not_take_is_counted_apart_and_told_once() {
    let mut world = world();
    let (now, slot) = (world.t0, world.pbx_slot);
    for n in 1..=3 {
        let (Verdict::Send(transmit), buf) = world.browser_sends(now, browser()) else { panic!() };
        assert_eq!(world.stats[1].packets_out.get(), 1);
        if n < 3 {
            world.worker.handle_send_failure(transmit, buf.len(), 1);
        }
    }
    let report = to_pbx_as(slot, Content::Report);
    world.worker.handle_send_failure(report, 60, 1);
    let stats = &world.stats[1];
    assert_eq!((stats.packets_out.get(), stats.drops.of(Drop::SendFailed)), (1, 3));
    assert_eq!(stats.bytes_out.get(), 17, "a header of 12 bytes and five of payload");
    assert_eq!(stats.send_error(), Some(1));
    assert_eq!(world.told(1_000), [Output::Unsent(PBX, 1)]);
}

#[test]
fn silence_that_the_kernel_does_not_take_is_none_and_reports_alone_tell_nothing() {
    let mut world = detached();
    let slot = world.pbx_slot;
    world.worker.handle_send_failure(to_pbx_as(slot, Content::Report), 60, 1);
    assert!(of_pbx(&world.outputs(world.t0 + Duration::from_millis(990))).is_empty());
    let made = world.stats[1].silence_out.get();
    assert!(made > 40);
    world.worker.handle_send_failure(to_pbx_as(slot, Content::Filling), 172, 1);
    assert_eq!((world.stats[1].silence_out.get(), world.stats[1].packets_out.get()), (made - 1, made - 1));
}

#[test]
fn packets_that_come_back_are_told_when_there_are_some() {
    let mut world = world();
    let slot = world.pbx_slot;
    for _ in 0..4 {
        world.worker.handle_bounce(slot, 111);
    }
    assert!(world.told(500).is_empty(), "its port may open a moment after its answer");
    world.worker.handle_bounce(slot, 111);
    world.worker.handle_bounce(slot, 111);
    assert_eq!(world.told(1_000), [Output::Unsent(PBX, 111)]);
    assert_eq!((world.stats[1].bounced.get(), world.stats[1].send_error()), (6, Some(111)));
}

#[test]
fn loss_is_published_before_the_next_report_is_due() {
    let mut world = talking();
    let t0 = world.t0;
    world.outputs(t0 + Duration::from_millis(2_000));
    assert!(matches!(world.pbx_sends(t0 + Duration::from_millis(2_000), 10), Verdict::Send(_)));
    assert!(matches!(world.pbx_sends(t0 + Duration::from_millis(2_001), 15), Verdict::Send(_)));
    world.outputs(t0 + Duration::from_millis(2_300));
    assert_eq!(world.stats[1].quality().lost_in, 4);
}

#[test]
fn the_time_in_which_the_thread_was_stopped_counts_for_nobody() {
    let mut world = talking();
    let t0 = world.t0;
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    assert!(matches!(world.pbx_sends(t0, 1), Verdict::Send(_)));
    assert!(matches!(world.browser_sends(t0, browser()).0, Verdict::Send(_)));
    world.outputs(at(2_000));
    let lost = |outputs: Vec<(Output, PacketBuf)>| {
        outputs.iter().filter(|(o, _)| matches!(o, Output::Lost(..) | Output::Quiet(..))).count()
    };
    // awake after 60 s: the clock is looked at before a packet is read
    let awake = at(62_000);
    world.worker.handle_timeout(awake);
    let mut buf = PacketBuf::default();
    while let Some(output) = world.worker.poll_output(awake, &mut buf) {
        assert!(!matches!(output, Output::Lost(..) | Output::Quiet(..)), "{output:?}");
    }
    assert_eq!(lost(world.outputs(at(64_000))), 0);
    assert_eq!(lost(world.outputs(at(66_000))), 2, "both are quiet by now");
    assert_eq!(lost(world.outputs(at(89_000))), 0);
    assert_eq!(lost(world.outputs(at(92_500))), 2, "who is gone is gone");
}
