//! The relay packet by packet.

use super::*;
use crate::media::packet::RtcpParts;

const PCMU: Format = Format {
    codec: Codec::Pcmu,
    payload_in: 0,
    payload_out: 0,
    others_in: [None; 3],
    events_in: [Some(EventFormat { payload_type: 101, clock_rate: 8_000 }), None],
    event_out: Some(EventFormat { payload_type: 96, clock_rate: 8_000 }),
};

fn packet(ssrc: u32, sequence: u16, timestamp: u32, payload_type: u8, payload: &[u8]) -> PacketBuf {
    let header = RtpHeader {
        is_marked: false,
        payload_type,
        sequence,
        timestamp,
        ssrc,
        header_len: 12,
        is_padded: false,
    };
    PacketBuf::from_bytes(&[&header.to_fixed()[..], payload].concat()).unwrap()
}

fn send(out: &mut Outgoing, now: Instant, format: &Format, mut buf: PacketBuf) -> Result<RtpHeader, Drop> {
    let header = RtpHeader::parse(buf.bytes()).unwrap();
    let kind = format.kind_of(header.payload_type)?;
    let placed = out.rewrite(now, &header, kind, format, &mut buf)?;
    let header = RtpHeader::parse(buf.bytes()).unwrap();
    assert_eq!(header.sequence, low16(placed.index));
    Ok(header)
}

fn silence(out: &mut Outgoing, now: Instant) -> RtpHeader {
    let mut buf = PacketBuf::default();
    out.generate(now, &PCMU, &[0xff; 160], &mut buf);
    assert_eq!(buf.len(), 172);
    RtpHeader::parse(buf.bytes()).unwrap()
}

#[test]
fn silence_then_media_then_silence_then_another_source_is_one_stream_to_the_far_side() {
    let t0 = Instant::now();
    let at = |ms: u64| t0 + Duration::from_millis(ms);
    let mut out = Outgoing::new(77, 100, 5_000, Codec::Pcmu);
    let mut seen = vec![silence(&mut out, at(0)), silence(&mut out, at(21))];
    out.switch();
    seen.push(send(&mut out, at(50), &PCMU, packet(1, 65_535, 900_000, 0, b"a")).unwrap());
    seen.push(send(&mut out, at(70), &PCMU, packet(1, 0, 900_160, 0, b"b")).unwrap());
    out.switch();
    seen.push(silence(&mut out, at(95)));
    out.switch();
    seen.push(send(&mut out, at(1_095), &PCMU, packet(2, 9, 3, 0, b"c")).unwrap());
    assert!(seen.iter().all(|h| h.ssrc == 77 && h.payload_type == 0));
    assert_eq!(seen.iter().map(|h| h.sequence).collect::<Vec<_>>(), [100, 101, 102, 103, 104, 105]);
    let stamps: Vec<_> = seen.iter().map(|h| h.timestamp - 5_000).collect();
    // 29 ms after the second silence: 232 units; 25 ms after `b`: 200; a second after the third silence
    assert_eq!(stamps, [0, 160, 392, 552, 752, 8_752]);
    assert_eq!(seen.iter().map(|h| h.is_marked).collect::<Vec<_>>(), [true, false, true, false, true, true]);
}

#[test]
fn loss_and_reordering_of_the_source_stay_visible() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    let order = [1000_u16, 1001, 1004, 1003, 1005, 1002];
    let sent: Vec<_> = order
        .iter()
        .map(|s| send(&mut out, t0, &PCMU, packet(1, *s, u32::from(*s) * 160, 0, b"x")).unwrap())
        .collect();
    let gaps: Vec<_> = sent.iter().map(|h| h.sequence - 10 + 1000).collect();
    assert_eq!(gaps, order);
    assert!(sent.iter().all(|h| h.timestamp == (u32::from(h.sequence) - 10) * 160));
}

#[test]
fn what_was_sent_before_a_source_took_over_is_not_sent_after_it() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    assert!(send(&mut out, t0, &PCMU, packet(1, 500, 0, 0, b"x")).is_ok());
    assert_eq!(send(&mut out, t0, &PCMU, packet(1, 499, 0, 0, b"x")), Err(Drop::Late));
}

#[test]
fn a_source_that_begins_anew_goes_on_behind_all_that_was_sent() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    for s in [500_u16, 501] {
        send(&mut out, t0, &PCMU, packet(1, s, u32::from(s) * 160, 0, b"x")).unwrap();
    }
    let jumped =
        send(&mut out, t0 + Duration::from_millis(40), &PCMU, packet(1, 30_000, 9, 0, b"x")).unwrap();
    assert_eq!((jumped.sequence, jumped.timestamp), (12, 160 + 320));
    assert!(jumped.is_marked);
}

#[test]
fn a_source_that_goes_back_is_heard_from_its_third_packet_and_a_straggler_changes_nothing_rfc3550_a_1() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    let mut try_send =
        |s: u16| send(&mut out, t0, &PCMU, packet(1, s, u32::from(s) * 160, 0, b"x")).map(|h| h.sequence);
    assert_eq!(try_send(1_000), Ok(10));
    assert_eq!(try_send(1_600), Ok(610));
    assert_eq!(try_send(1_100), Err(Drop::Late), "a straggler");
    assert_eq!(try_send(1_601), Ok(611));
    assert_eq!(try_send(1_101), Err(Drop::Late), "two stragglers are no row with the party between them");
    assert_eq!(try_send(1_602), Ok(612));
    assert_eq!(try_send(1_000), Err(Drop::Late));
    assert_eq!(try_send(1_001), Err(Drop::Late));
    assert_eq!(try_send(1_002), Ok(613), "it began anew");
    assert_eq!(try_send(1_003), Ok(614));
}

#[test]
fn sequence_numbers_go_on_over_the_rollover() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 0x7fff, 0, Codec::Pcmu);
    let mut buf;
    let mut last = None;
    for n in 0..140_000_u32 {
        buf = packet(1, (n & 0xffff) as u16, n * 160, 0, b"x");
        let header = RtpHeader::parse(buf.bytes()).unwrap();
        last = Some(out.rewrite(t0, &header, Kind::Audio, &PCMU, &mut buf).unwrap());
    }
    assert_eq!(last, Some(Placed { index: 0x7fff + 139_999 }));
}

#[test]
fn payload_types_not_negotiated_are_refused_and_events_get_the_far_sides_type() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 0, 0, Codec::Pcmu);
    assert_eq!(send(&mut out, t0, &PCMU, packet(1, 1, 0, 18, b"x")), Err(Drop::UnknownPayload));
    assert_eq!(send(&mut out, t0, &PCMU, packet(1, 1, 0, 13, b"x")), Err(Drop::ComfortNoise));
    let event = send(&mut out, t0, &PCMU, packet(1, 1, 0, 101, &[5, 0x8a, 0, 160])).unwrap();
    assert_eq!(event.payload_type, 96);
}

#[test]
fn an_event_of_another_clock_keeps_one_start_on_the_audios_timeline_and_its_duration_is_scaled() {
    let t0 = Instant::now();
    let opus = Format {
        codec: Codec::Opus,
        payload_in: 111,
        payload_out: 107,
        others_in: [None; 3],
        events_in: [Some(EventFormat { payload_type: 126, clock_rate: 8_000 }), None],
        event_out: Some(EventFormat { payload_type: 101, clock_rate: 48_000 }),
    };
    let mut out = Outgoing::new(7, 0, 1_000, Codec::Opus);
    send(&mut out, t0, &opus, packet(1, 1, 48_000, 111, b"opus")).unwrap();
    let mut stamps = Vec::new();
    for (n, duration) in [(0_u16, 160_u16), (1, 320), (2, 480)] {
        let payload = [5, 10, duration.to_be_bytes()[0], duration.to_be_bytes()[1]];
        let mut buf = packet(1, 2 + n, 8_160, 126, &payload);
        let header = RtpHeader::parse(buf.bytes()).unwrap();
        let now = t0 + Duration::from_millis(20 + 20 * u64::from(n));
        out.rewrite(now, &header, Kind::Event(8_000), &opus, &mut buf).unwrap();
        assert_eq!(buf.bytes()[14..16], (duration * 6).to_be_bytes());
        stamps.push(RtpHeader::parse(buf.bytes()).unwrap().timestamp);
    }
    assert_eq!(stamps, [1_960; 3]);
}

#[test]
fn a_source_that_says_the_same_numbers_again_is_heard_under_other_ones() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    let mut sent = Vec::new();
    // a recording of a second that is played three times, as SIPp does
    for s in (0..50_u16).cycle().take(150) {
        sent.extend(send(&mut out, t0, &PCMU, packet(1, s, u32::from(s) * 160, 0, b"x")).map(|h| h.sequence));
    }
    assert_eq!(sent, (10..10 + 50 + 48 + 48).collect::<Vec<u16>>());
}

#[test]
fn a_number_that_left_does_not_leave_again_for_another_packet_rfc3711_9_1() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
    let mut try_send =
        |s: u16, payload: &[u8]| send(&mut out, t0, &PCMU, packet(1, s, 0, 0, payload)).map(|h| h.sequence);
    assert_eq!(try_send(1000, b"first"), Ok(10));
    assert_eq!(try_send(1001, b"x"), Ok(11));
    // the network doubles packets, and who guesses the numbers may write others under them
    assert_eq!(try_send(1000, b"other"), Err(Drop::Replayed));
    assert_eq!(try_send(1001, b"other"), Err(Drop::Replayed));
    assert_eq!(try_send(1200, b"x"), Ok(210));
    assert_eq!(try_send(1073, b"x"), Ok(83), "127 behind the newest");
    assert_eq!(try_send(1073, b"other"), Err(Drop::Replayed));
    assert_eq!(try_send(1072, b"x"), Err(Drop::Late), "too old to tell");
    let silence = silence(&mut out, t0);
    assert_eq!(silence.sequence, 211);
    assert_eq!(send(&mut out, t0, &PCMU, packet(1, 1199, 0, 0, b"x")).map(|h| h.sequence), Ok(212));
}

/// Opus with events of 8,000 Hz on one side and of 48,000 on the other.
const OPUS: Format = Format {
    codec: Codec::Opus,
    payload_in: 111,
    payload_out: 107,
    others_in: [None; 3],
    events_in: [Some(EventFormat { payload_type: 126, clock_rate: 8_000 }), None],
    event_out: Some(EventFormat { payload_type: 101, clock_rate: 48_000 }),
};

/// Sends an event packet 20 ms after the last; its timestamp.
fn event(out: &mut Outgoing, now: &mut Instant, sequence: u16, start: u32) -> Result<u32, Drop> {
    *now += FRAME;
    send(out, *now, &OPUS, packet(1, sequence, start, 126, &[5, 10, 0, 160])).map(|h| h.timestamp)
}

#[test]
fn audio_between_the_packets_of_an_event_of_another_clock_does_not_begin_it_anew_rfc4733_2_2() {
    let mut now = Instant::now();
    let mut out = Outgoing::new(7, 0, 1_000, Codec::Opus);
    send(&mut out, now, &OPUS, packet(1, 1, 48_000, 111, b"opus")).unwrap();
    let first = event(&mut out, &mut now, 2, 8_160);
    send(&mut out, now, &OPUS, packet(1, 3, 48_960, 111, b"opus")).unwrap();
    assert_eq!(event(&mut out, &mut now, 4, 8_160), first);
    assert!(first.is_ok());
}

#[test]
fn of_two_events_of_another_clock_a_late_packet_of_the_first_is_no_third_one() {
    let mut now = Instant::now();
    let mut out = Outgoing::new(7, 0, 1_000, Codec::Opus);
    send(&mut out, now, &OPUS, packet(1, 1, 48_000, 111, b"opus")).unwrap();
    let first = event(&mut out, &mut now, 2, 8_160).unwrap();
    let second = event(&mut out, &mut now, 4, 8_960).unwrap();
    assert_eq!(second.wrapping_sub(first), 4_800, "100 ms");
    assert_eq!(event(&mut out, &mut now, 3, 8_160), Err(Drop::Late));
    assert_eq!(event(&mut out, &mut now, 5, 8_960), Ok(second));
}

#[test]
fn extensions_csrcs_and_padding_are_not_passed() {
    let t0 = Instant::now();
    let mut out = Outgoing::new(0x0a0b_0c0d, 3, 4, Codec::Pcmu);
    let full = [
        &[0xb1, 0x80, 0x12, 0x34, 0, 0, 0x10, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 0xbe, 0xde, 0, 1][..],
        &[0x10, 0xff, 0, 0, b'a', b'b', b'c', 0, 2],
    ]
    .concat();
    let mut buf = PacketBuf::from_bytes(&full).unwrap();
    let header = RtpHeader::parse(buf.bytes()).unwrap();
    out.rewrite(t0, &header, Kind::Audio, &PCMU, &mut buf).unwrap();
    assert_eq!(buf.bytes(), [0x80, 0x80, 0, 3, 0, 0, 0, 4, 0x0a, 0x0b, 0x0c, 0x0d, b'a', b'b', b'c']);
    assert_eq!(RtcpParts::new(buf.bytes()).count(), 0);
}
