//! Keys that are sent.

use super::*;

#[test]
fn keys_leave_as_events_of_one_start_each_in_place_of_audio_and_media_goes_on_behind_them() {
    let mut world = world();
    let t0 = world.t0;
    world.browser_sends(t0, browser());
    world.worker.send_keys(t0, PBX, &[key('7', 60), key('#', 60)]).unwrap();
    let mut seen = to_pbx(&mut world, t0 + Duration::from_millis(5));
    let (verdict, _) = world.browser_sends(t0 + Duration::from_millis(10), browser());
    assert!(matches!(verdict, Verdict::Done), "audio gives way");
    assert_eq!(world.stats[1].drops.of(Drop::Keying), 1);
    seen.extend(to_pbx(&mut world, t0 + Duration::from_millis(500)));
    assert!(seen.iter().all(|(header, _)| header.payload_type == 101 && header.ssrc == 0x0a));
    let keys: Vec<(u8, bool)> = seen.iter().map(|(_, p)| (p[0], p[1] & 0x80 != 0)).collect();
    let one = |code| [(code, false), (code, false), (code, false), (code, true), (code, true), (code, true)];
    assert_eq!(keys, [one(7), one(11)].concat());
    let starts: std::collections::BTreeSet<u32> = seen.iter().map(|(h, _)| h.timestamp).collect();
    assert_eq!(starts.len(), 2, "one start each");
    assert_eq!(seen.iter().filter(|(h, _)| h.is_marked).count(), 2);
    let last = seen.last().unwrap().0.sequence;
    let (verdict, buf) = world.browser_sends(t0 + Duration::from_millis(520), browser());
    assert!(matches!(verdict, Verdict::Send(_)));
    let header = RtpHeader::parse(buf.bytes()).unwrap();
    assert_eq!((header.payload_type, header.sequence), (0, last.wrapping_add(1)));
    assert!(world.worker.keying.is_empty());
}

#[test]
fn keys_for_a_far_side_that_takes_none_are_refused() {
    let mut world = detached();
    let t0 = world.t0;
    world.worker.set_format(PBX, Format { event_out: None, ..PCMU }).unwrap();
    assert_eq!(world.worker.send_keys(t0, PBX, &[key('1', 60)]), Err(CommandError::NoEvents));
    assert_eq!(world.worker.send_keys(t0, StreamId(99), &[key('1', 60)]), Err(CommandError::NoStream));
}

/// A packet of a key: of which, whether it ends it, and what it says that its segment lasted.
fn says(payload: &[u8]) -> (u8, bool, u32) {
    let [code, flags, high, low] = *payload else { panic!("{payload:?}") };
    (code, flags & 0x80 != 0, u32::from(u16::from_be_bytes([high, low])))
}

#[test]
fn a_key_is_held_for_as_long_as_was_asked_for_in_segments_where_one_cannot_tell_it_rfc4733_2_5_1_3() {
    const FULL: u32 = 0xffff;
    for (codec, clock_rate) in [(Codec::Pcmu, 8_000), (Codec::Opus, 48_000), (Codec::Opus, 8_000)] {
        for (ms, segments) in [(1_300, [1, 1]), (1_380, [1, 2]), (2_000, [1, 2]), (5_000, [1, 4])] {
            let mut world = detached();
            let t0 = world.t0;
            let event_out = Some(EventFormat { payload_type: 101, clock_rate });
            world.worker.set_format(PBX, Format { codec, event_out, ..PCMU }).unwrap();
            world.worker.send_keys(t0, PBX, &[key('5', ms), key('6', 60)]).unwrap();
            let sent = to_pbx(&mut world, t0 + Duration::from_secs(8));
            let what = format!("{codec:?} {clock_rate} {ms}");
            // units of the clock of timestamps in one of the events'
            let line = codec.clock_rate() / clock_rate;
            let events = || sent.iter().filter(|(h, _)| h.payload_type == 101);
            let held: Vec<_> = events().filter(|(_, p)| p[0] == 5).collect();
            let next: Vec<_> = events().filter(|(_, p)| p[0] == 6).collect();

            let first = held[0].0.timestamp;
            let frames = u32::try_from(ms / 20).unwrap();
            assert_eq!(held.len(), usize::try_from(frames + 3).unwrap(), "a packet each 20 ms, {what}");
            let mut before = (0, 0);
            for ((header, payload), n) in held.iter().zip(1..) {
                let (_, is_end, duration) = says(payload);
                let lasted = n.min(frames) * clock_rate / 50;
                let segment = header.timestamp.wrapping_sub(first) / (FULL * line);
                assert_eq!(header.timestamp, first.wrapping_add(segment * FULL * line), "{what}");
                assert_eq!((header.is_marked, is_end), (n == 1, n > frames), "packet {n}, {what}");
                if segment == before.0 {
                    assert!(duration == FULL || segment * FULL + duration == lasted, "packet {n}, {what}");
                } else {
                    assert_eq!(before, (segment - 1, FULL), "a segment that is over is full, {what}");
                }
                before = (segment, duration);
            }
            assert_eq!(before.0 + 1, segments[usize::from(clock_rate == 48_000)], "{what}");
            let ends: Vec<_> = held.iter().rev().take(3).map(|(h, p)| (h.timestamp, says(p))).collect();
            assert!(ends.iter().all(|end| *end == ends[0]), "three times the same, {what}");
            let milliseconds = codec.clock_rate() / 1_000;
            let over = ends[0].0.wrapping_sub(first) + ends[0].1.2 * line;
            assert_eq!(over, u32::try_from(ms).unwrap() * milliseconds, "{what}");

            // 60 ms of three ends and 100 ms of pause lie between
            let start = next[0].0.timestamp;
            assert_eq!(start.wrapping_sub(first), over + 160 * milliseconds, "{what}");
            assert!(next[0].0.is_marked && next.iter().all(|(h, _)| h.timestamp == start), "{what}");
            assert!(sent.windows(2).all(|w| w[1].0.sequence == w[0].0.sequence.wrapping_add(1)), "{what}");
            let audio = sent.iter().filter(|(h, _)| h.payload_type == 0);
            assert!(audio.clone().count() > 0);
            for (header, _) in audio {
                assert!(header.timestamp.wrapping_sub(first) >= over, "audio after the key, {what}");
            }
        }
    }
}
