//! Keys held long, between clocks that count them by another measure (RFC 4733 §2.5.1.3).

use super::*;
use crate::media::keys::Heard;

/// The most that a segment lasts.
const FULL: u32 = 0xffff;
const SLOW: u32 = 8_000;
const FAST: u32 = 48_000;

/// Opus, whose far sides count keys by one clock in what they send and by another in what they take.
const fn format(from: u32, to: u32) -> Format {
    Format {
        codec: Codec::Opus,
        payload_in: 111,
        payload_out: 107,
        others_in: [None; 3],
        events_in: [Some(EventFormat { payload_type: 126, clock_rate: from }), None],
        event_out: Some(EventFormat { payload_type: 101, clock_rate: to }),
    }
}

/// An event packet: its timestamp, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    is_marked: bool,
    timestamp: u32,
    is_end: bool,
    duration: u32,
}

/// A key as a telephone tells it: each 20 ms what it lasted, in segments, and three times that it ended.
fn pressed(start: u32, ms: u32, clock: u32) -> Vec<Told> {
    let units = ms * (clock / 1_000);
    let frame = clock / 50;
    let mut told = Vec::new();
    let mut segment = start;
    let mut say = |segment, is_end, duration| {
        let is_marked = told.is_empty();
        told.push(Told { is_marked, timestamp: segment, is_end, duration });
    };
    for lasted in (1..=units / frame).map(|n| n * frame) {
        if start + lasted - segment > FULL {
            say(segment, false, FULL);
            segment += FULL;
        }
        say(segment, false, start + lasted - segment);
    }
    for _ in 0..3 {
        say(segment, true, start + units - segment);
    }
    told
}

/// What leaves of the packets of a key, with the sequence numbers one after the other.
fn relayed(from: u32, to: u32, packets: &[Told]) -> Vec<Told> {
    let format = format(from, to);
    let mut now = Instant::now();
    let mut out = Outgoing::new(7, 0, 1_000, Codec::Opus);
    let mut send = |now: Instant, sequence: u16, payload_type: u8, told: Told, payload: &[u8]| {
        let header = RtpHeader {
            is_marked: told.is_marked,
            payload_type,
            sequence,
            timestamp: told.timestamp,
            ssrc: 1,
            header_len: 12,
            is_padded: false,
        };
        let mut buf = PacketBuf::from_bytes(&[&header.to_fixed()[..], payload].concat()).unwrap();
        let kind = format.kind_of(payload_type).unwrap();
        out.rewrite(now, &header, kind, &format, &mut buf).unwrap();
        let header = RtpHeader::parse(buf.bytes()).unwrap();
        assert_eq!(header.sequence, sequence, "one packet for each");
        (header, buf)
    };
    let audio = Told { is_marked: true, timestamp: 77_000, is_end: false, duration: 0 };
    send(now, 0, 111, audio, b"opus");
    let mut heard = Heard::default();
    packets
        .iter()
        .zip(1_u16..)
        .map(|(told, sequence)| {
            now += FRAME;
            let flags = if told.is_end { 0x8a } else { 10 };
            let [high, low] = u16::try_from(told.duration).unwrap().to_be_bytes();
            let (header, buf) = send(now, sequence, 126, *told, &[5, flags, high, low]);
            assert_eq!(header.payload_type, 101);
            let payload = header.payload(buf.bytes()).unwrap();
            let is_new = heard.handle(&header, payload).is_some();
            // where events count by another clock than timestamps do, a receiver cannot tell a segment from a key
            if to == FAST || sequence == 1 {
                assert_eq!(is_new, sequence == 1, "a key that is held is one");
            }
            let [5, flags, high, low] = *payload else { panic!("{payload:?}") };
            Told {
                is_marked: header.is_marked,
                timestamp: header.timestamp,
                is_end: flags == 0x8a,
                duration: u32::from(u16::from_be_bytes([high, low])),
            }
        })
        .collect()
}

/// What a receiver makes of a key, by the timestamps of `line`: the packets are of one event that lasted this many units.
fn lasted(told: &[Told], line: u32, to: u32) -> u32 {
    let first = told[0].timestamp;
    let (mut segments, mut before) = (0, Told { duration: 0, ..told[0] });
    for packet in told {
        assert_eq!(packet.is_marked, *packet == told[0], "{packet:?}");
        if packet.timestamp != before.timestamp {
            assert_eq!((before.duration, before.is_end), (FULL, false), "a segment that is over is full");
            segments += 1;
            assert_eq!(packet.timestamp, first + segments * FULL * (line / to), "it begins where that ended");
        } else {
            assert!(packet.duration >= before.duration, "{before:?} {packet:?}");
        }
        before = *packet;
    }
    segments * FULL + before.duration
}

#[test]
fn a_key_held_long_is_told_in_segments_where_a_faster_clock_counts_it_rfc4733_2_5_1_3() {
    for (ms, segments) in [(1_300, 1), (3_000, 3), (9_000, 7), (20_000, 15)] {
        let told = relayed(SLOW, FAST, &pressed(160_000, ms, SLOW));
        assert_eq!(lasted(&told, FAST, FAST), ms * 48);
        let mut starts: Vec<u32> = told.iter().map(|t| t.timestamp).collect();
        starts.dedup();
        assert_eq!(starts.len(), segments, "{ms} ms");
        let ends: Vec<_> = told.iter().filter(|t| t.is_end).collect();
        assert_eq!(ends.len(), 3, "{ms} ms");
        assert!(ends.iter().all(|t| *t == &told[told.len() - 1]), "three times the same");
    }
}

#[test]
fn a_key_held_long_is_one_segment_where_a_slower_clock_counts_it_until_that_is_full_rfc4733_2_5_1_3() {
    for (ms, segments) in [(1_300, 1), (3_000, 1), (9_000, 2), (20_000, 3)] {
        let told = relayed(FAST, SLOW, &pressed(160_000, ms, FAST));
        // timestamps go by the clock of the audio
        assert_eq!(lasted(&told, FAST, SLOW), ms * 8);
        let mut starts: Vec<u32> = told.iter().map(|t| t.timestamp).collect();
        starts.dedup();
        assert_eq!(starts.len(), segments, "{ms} ms");
        let ends: Vec<_> = told.iter().filter(|t| t.is_end).collect();
        assert_eq!(ends.len(), 3, "{ms} ms");
    }
}

#[test]
fn a_key_held_long_passes_as_it_is_where_both_count_by_one_clock() {
    for clock in [SLOW, FAST] {
        let packets = pressed(160_000, 9_000, clock);
        let told = relayed(clock, clock, &packets);
        let says = |packets: &[Told]| packets.iter().map(|t| (t.is_end, t.duration)).collect::<Vec<_>>();
        assert_eq!(says(&told), says(&packets));
        assert_eq!(lasted(&told, FAST, clock), 9 * clock);
    }
}

#[test]
fn a_segment_that_is_found_full_by_the_end_of_the_key_is_told_to_be_full_first() {
    // 69 frames of 960 units are more than a segment, and the last of them is told with the end alone
    let mut packets = pressed(160_000, 1_380, SLOW);
    packets.remove(68);
    let told = relayed(SLOW, FAST, &packets);
    assert_eq!(lasted(&told, FAST, FAST), 1_380 * 48);
    let last: Vec<_> = told[told.len() - 3..].iter().map(|t| (t.is_end, t.duration)).collect();
    assert_eq!(last, [(false, FULL), (true, 66_240 - FULL), (true, 66_240 - FULL)]);
}

#[test]
fn a_key_whose_packets_are_lost_for_longer_than_a_segment_is_still_one_and_ends_where_it_ends() {
    let mut packets = pressed(160_000, 4_000, SLOW);
    packets.drain(20..170);
    let told = relayed(SLOW, FAST, &packets);
    assert_eq!(lasted(&told, FAST, FAST), 4_000 * 48);
    assert!(told[told.len() - 3..].iter().all(|t| t.is_end));
}
