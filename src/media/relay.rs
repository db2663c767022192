//! One direction between two streams: what comes from a [`Source`] leaves by an [`Outgoing`] under a payload
//! type, SSRC, sequence and timestamp line of our own (RFC 3550 §2.3 a mixer's view, without mixing).
//!
//! An [`Outgoing`] lives as long as its transport and survives every change of what it sends: silence, a
//! browser, hold, another browser. The far side sees one SSRC, sequence numbers without a break of ours and
//! a timestamp that went on with the clock. Loss and reordering of the source stay visible as gaps.
//!
//! telephone-event packets (RFC 4733) keep their start on the audio's timeline and their duration is scaled
//! when the two sides count events by different clocks. Header extensions, CSRCs and padding are not passed.

use super::packet::{PacketBuf, RTP_FIXED, RtpHeader, low16, low32};
use super::srtp::Window;
use super::stats::Drop;
use crate::call::port::Codec;
use std::time::{Duration, Instant};

/// Length of a silence packet, and the least a timestamp moves when one source follows another.
pub const FRAME: Duration = Duration::from_millis(20);
/// A jump of sequence numbers beyond this, either way, is a source that began anew (RFC 3550 appendix A.1).
const JUMP_MAX: i64 = 3_000;
/// What lies further back is no reordering; two in a row are a source that began anew. Such packets could not be sent
/// in any case: nobody can tell whether their numbers left before.
const MISORDER_MAX: i64 = 127;
/// The longest duration that a telephone-event packet can tell (RFC 4733 §2.3.5).
const SEGMENT: i32 = 0xffff;

/// A payload type of telephone-event and the clock its durations count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFormat {
    /// Payload type.
    pub payload_type: u8,
    /// Clock in Hz.
    pub clock_rate: u32,
}

/// What one stream speaks, fixed by its offer and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The audio codec.
    pub codec: Codec,
    /// Its payload type as the far side sends it.
    pub payload_in: u8,
    /// Its payload type as the far side wants it.
    pub payload_out: u8,
    /// telephone-event as the far side may send it.
    pub events_in: [Option<EventFormat>; 2],
    /// telephone-event as the far side wants it.
    pub event_out: Option<EventFormat>,
}

/// What a packet of a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Audio of the stream's codec.
    Audio,
    /// A telephone-event whose duration counts by this clock.
    Event(u32),
}

impl Format {
    /// What a payload type means here.
    ///
    /// # Errors
    /// [`Drop::UnknownPayload`] when it was not negotiated.
    pub fn kind_of(&self, payload_type: u8) -> Result<Kind, Drop> {
        if payload_type == self.payload_in {
            return Ok(Kind::Audio);
        }
        self.events_in
            .iter()
            .flatten()
            .find(|e| e.payload_type == payload_type)
            .map(|e| Kind::Event(e.clock_rate))
            .ok_or(Drop::UnknownPayload)
    }
}

/// How a source's numbers map to ours.
#[derive(Debug, Clone, Copy)]
struct Map {
    ssrc: u32,
    /// Highest sequence number seen of the source, extended.
    highest: i64,
    /// Ours minus theirs.
    sequence_offset: i64,
    timestamp_offset: u32,
    /// First extended number of the source; what is before belongs to nobody.
    first: i64,
    /// The number that follows one which came from too far back.
    behind: Option<u16>,
}

/// A telephone-event under way: where it began in the source's timestamps and in ours.
#[derive(Debug, Clone, Copy)]
struct Event {
    theirs: u32,
    ours: u32,
}

/// The RTP a transport sends.
#[derive(Debug)]
pub struct Outgoing {
    ssrc: u32,
    clock_rate: u32,
    /// Extended sequence number of the next packet (RFC 3711 §3.3.1: the SRTP index).
    next_index: u64,
    /// Timestamp of the last audio packet and when it left.
    last: Option<(u32, Instant)>,
    first_timestamp: u32,
    map: Option<Map>,
    event: Option<Event>,
    /// The numbers that left: none leaves twice, for two packets sealed under one SRTP index give away both, and with
    /// GCM the key of the tags too (RFC 3711 §9.1, RFC 7714 §13.3).
    sent: Window,
    is_marker_due: bool,
    /// The last packet was one of our own making.
    is_generating: bool,
    packets: u32,
    octets: u32,
}

/// A rewritten packet's place in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Extended sequence number, the SRTP index.
    pub index: u64,
}

/// Figures for a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderFigures {
    /// Our SSRC.
    pub ssrc: u32,
    /// Our timestamp at the instant asked for.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

impl Outgoing {
    /// A stream that has sent nothing. `first_sequence` should be below 2^15, so that the receiver's rollover
    /// counter cannot be wrong after a loss at the start (RFC 3711 §3.3.1); it is cut to that.
    #[must_use]
    pub fn new(ssrc: u32, first_sequence: u16, first_timestamp: u32, codec: Codec) -> Self {
        Self {
            ssrc,
            clock_rate: codec.clock_rate(),
            next_index: u64::from(first_sequence & 0x7fff),
            last: None,
            first_timestamp,
            map: None,
            event: None,
            sent: Window::default(),
            is_marker_due: true,
            is_generating: false,
            packets: 0,
            octets: 0,
        }
    }

    /// Our SSRC.
    #[must_use]
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Counts by another codec's clock from now on (a new answer changed the codec).
    pub fn set_codec(&mut self, codec: Codec) {
        self.clock_rate = codec.clock_rate();
        self.switch();
    }

    /// What comes next is from another source: its first packet is placed behind all that was sent.
    pub fn switch(&mut self) {
        self.map = None;
        self.event = None;
        self.is_marker_due = true;
    }

    /// Rewrites an unprotected packet in place.
    ///
    /// # Errors
    /// [`Drop::Late`] for a packet from before the source took over or of an event that is over, [`Drop::Replayed`]
    /// for a number that left before, [`Drop::UnknownPayload`] for an event the far side did not ask for,
    /// [`Drop::BadPadding`].
    pub fn rewrite(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        kind: Kind,
        format: &Format,
        buf: &mut PacketBuf,
    ) -> Result<Placed, Drop> {
        let event_out = match kind {
            Kind::Audio => None,
            Kind::Event(clock) => Some((clock, format.event_out.ok_or(Drop::UnknownPayload)?)),
        };
        header.strip(buf)?;
        let (map, extended) = self.place(now, header)?;
        let index = extended.checked_add(map.sequence_offset).and_then(|i| u64::try_from(i).ok());
        let index = index.ok_or(Drop::Late)?;
        self.sent.check(index)?;
        let mut timestamp = header.timestamp.wrapping_add(map.timestamp_offset);
        let mut payload_type = format.payload_out;
        if let Some((clock, out)) = event_out {
            if clock != self.clock_rate {
                timestamp = self.event_start(now, header.timestamp, clock)?;
            }
            payload_type = out.payload_type;
            scale_duration(buf, clock, out.clock_rate);
        }
        self.is_generating = false;
        self.sent.accept(index);
        let is_newest = index >= self.next_index;
        if is_newest {
            self.next_index = index + 1;
            if event_out.is_none() {
                self.last = Some((timestamp, now));
            }
        }
        let is_marked = header.is_marked || std::mem::take(&mut self.is_marker_due);
        self.write(
            buf,
            RtpHeader {
                is_marked,
                payload_type,
                sequence: low16(index),
                timestamp,
                ssrc: self.ssrc,
                header_len: RTP_FIXED,
                is_padded: false,
            },
        );
        Ok(Placed { index })
    }

    /// Makes a packet of our own (silence) behind all that was sent: `payload` lasts one [`FRAME`].
    pub fn generate(&mut self, now: Instant, format: &Format, payload: &[u8], buf: &mut PacketBuf) -> Placed {
        let frame = self.units(FRAME);
        let is_first = !std::mem::replace(&mut self.is_generating, true);
        let timestamp = match self.last {
            // on the beat of the timer, so a late tick does not stretch the timeline
            Some((last, _)) if !is_first => last.wrapping_add(frame),
            _ => self.timestamp_at(now),
        };
        self.map = None;
        self.event = None;
        let index = self.next_index;
        self.next_index += 1;
        self.sent.accept(index);
        self.last = Some((timestamp, now));
        buf.fill(&[0; RTP_FIXED]);
        buf.append(payload);
        self.is_marker_due = true;
        self.write(
            buf,
            RtpHeader {
                is_marked: is_first,
                payload_type: format.payload_out,
                sequence: low16(index),
                timestamp,
                ssrc: self.ssrc,
                header_len: RTP_FIXED,
                is_padded: false,
            },
        );
        Placed { index }
    }

    /// Makes a telephone-event packet behind all that was sent (RFC 4733 §2.5.1). All packets of an event carry the
    /// timestamp of its `start`: none for the first, then what the first one answered.
    pub fn key(
        &mut self,
        now: Instant,
        payload_type: u8,
        start: Option<u32>,
        payload: [u8; 4],
        buf: &mut PacketBuf,
    ) -> (Placed, u32) {
        let timestamp = start.unwrap_or_else(|| self.timestamp_at(now));
        // the source's next packet is placed anew, behind the event
        self.switch();
        self.is_generating = false;
        let index = self.next_index;
        self.next_index += 1;
        self.sent.accept(index);
        buf.fill(&[0; RTP_FIXED]);
        buf.append(&payload);
        self.write(
            buf,
            RtpHeader {
                is_marked: start.is_none(),
                payload_type,
                sequence: low16(index),
                timestamp,
                ssrc: self.ssrc,
                header_len: RTP_FIXED,
                is_padded: false,
            },
        );
        (Placed { index }, timestamp)
    }

    /// Figures for a sender report; none before the first packet.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Option<SenderFigures> {
        let (last, at) = self.last?;
        let timestamp = last.wrapping_add(self.units(now.saturating_duration_since(at)));
        Some(SenderFigures { ssrc: self.ssrc, timestamp, packets: self.packets, octets: self.octets })
    }

    fn write(&mut self, buf: &mut PacketBuf, header: RtpHeader) {
        if let Some(fixed) = buf.bytes_mut().first_chunk_mut::<RTP_FIXED>() {
            *fixed = header.to_fixed();
        }
        self.packets = self.packets.wrapping_add(1);
        let octets = u32::try_from(buf.len().saturating_sub(RTP_FIXED)).unwrap_or(0);
        self.octets = self.octets.wrapping_add(octets);
    }

    /// The mapping for a packet and its extended sequence number; a new mapping when the source is new or
    /// began anew.
    fn place(&mut self, now: Instant, header: &RtpHeader) -> Result<(Map, i64), Drop> {
        if let Some(map) = self.map.as_mut().filter(|m| m.ssrc == header.ssrc) {
            let delta =
                i64::from(header.sequence.wrapping_sub(low16(map.highest.cast_unsigned())).cast_signed());
            let follows = map.behind.take() == Some(header.sequence);
            let is_behind = (-JUMP_MAX..-MISORDER_MAX).contains(&delta);
            if is_behind && !follows {
                map.behind = Some(header.sequence.wrapping_add(1));
                return Err(Drop::Late);
            }
            if delta.abs() <= JUMP_MAX && !is_behind {
                let extended = map.highest + delta;
                if extended < map.first {
                    return Err(Drop::Late);
                }
                map.highest = map.highest.max(extended);
                return Ok((*map, extended));
            }
        }
        let extended = i64::from(header.sequence);
        let map = Map {
            ssrc: header.ssrc,
            highest: extended,
            sequence_offset: i64::try_from(self.next_index).unwrap_or(i64::MAX).saturating_sub(extended),
            timestamp_offset: self.timestamp_at(now).wrapping_sub(header.timestamp),
            first: extended,
            behind: None,
        };
        self.map = Some(map);
        self.event = None;
        self.is_marker_due = true;
        Ok((map, extended))
    }

    /// Our timestamp for something that begins now and not within the last frame sent.
    fn timestamp_at(&self, now: Instant) -> u32 {
        match self.last {
            None => self.first_timestamp,
            Some((last, at)) => last.wrapping_add(self.units(now.saturating_duration_since(at).max(FRAME))),
        }
    }

    /// Start of an event on our timeline: one value for all packets of the event (RFC 4733 §2.2). One that begins no
    /// longer after the last than a segment lasts keeps its distance, as the next segment of a long event must
    /// (§2.5.1.3).
    fn event_start(&mut self, now: Instant, theirs: u32, clock: u32) -> Result<u32, Drop> {
        let ours = match self.event.map(|e| (e, theirs.wrapping_sub(e.theirs).cast_signed())) {
            Some((event, 0)) => return Ok(event.ours),
            // an event ends where the next one begins (RFC 4733 §2.5.2.3)
            Some((_, step)) if (-SEGMENT..0).contains(&step) => return Err(Drop::Late),
            Some((event, step @ 1..=SEGMENT)) => {
                let step = u64::from(step.unsigned_abs()) * u64::from(self.clock_rate);
                event.ours.wrapping_add(low32(step / u64::from(clock.max(1))))
            }
            _ => self.timestamp_at(now),
        };
        self.event = Some(Event { theirs, ours });
        Ok(ours)
    }

    fn units(&self, time: Duration) -> u32 {
        let units = time.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        low32(u64::try_from(units).unwrap_or(u64::MAX))
    }
}

/// Scales the duration fields of a telephone-event payload (RFC 4733 §2.3.5), at most to their largest value.
fn scale_duration(buf: &mut PacketBuf, from: u32, to: u32) {
    if from == to || from == 0 {
        return;
    }
    let Some(payload) = buf.bytes_mut().get_mut(RTP_FIXED..) else { return };
    for block in payload.chunks_exact_mut(4) {
        if let Some((_, duration)) = block.split_last_chunk_mut::<2>() {
            let scaled = u64::from(u16::from_be_bytes(*duration)) * u64::from(to) / u64::from(from);
            *duration = u16::try_from(scaled).unwrap_or(u16::MAX).to_be_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::packet::RtcpParts;

    const PCMU: Format = Format {
        codec: Codec::Pcmu,
        payload_in: 0,
        payload_out: 0,
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

    fn send(
        out: &mut Outgoing,
        now: Instant,
        format: &Format,
        mut buf: PacketBuf,
    ) -> Result<RtpHeader, Drop> {
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
        assert_eq!(
            seen.iter().map(|h| h.is_marked).collect::<Vec<_>>(),
            [true, false, true, false, true, true]
        );
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
    fn a_source_that_goes_back_is_heard_from_its_second_packet_and_a_straggler_changes_nothing_rfc3550_a_1() {
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
        assert_eq!(try_send(1_001), Ok(613), "it began anew");
        assert_eq!(try_send(1_002), Ok(614));
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
        assert_eq!(send(&mut out, t0, &PCMU, packet(1, 1, 0, 13, b"x")), Err(Drop::UnknownPayload));
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
        let mut long = packet(1, 9, 8_160, 126, &[5, 10, 0xff, 0xff]);
        scale_duration(&mut long, 8_000, 48_000);
        assert_eq!(long.bytes()[14..16], [0xff, 0xff]);
    }

    #[test]
    fn a_number_that_left_does_not_leave_again_for_another_packet_rfc3711_9_1() {
        let t0 = Instant::now();
        let mut out = Outgoing::new(7, 10, 0, Codec::Pcmu);
        let mut try_send = |s: u16, payload: &[u8]| {
            send(&mut out, t0, &PCMU, packet(1, s, 0, 0, payload)).map(|h| h.sequence)
        };
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
    fn the_second_segment_of_a_long_event_begins_where_the_first_ends_rfc4733_2_5_1_3() {
        let mut now = Instant::now();
        let mut out = Outgoing::new(7, 0, 1_000, Codec::Opus);
        send(&mut out, now, &OPUS, packet(1, 1, 48_000, 111, b"opus")).unwrap();
        let first = event(&mut out, &mut now, 2, 8_160).unwrap();
        // some packets of the first segment later, by a clock that is not quite ours
        now += Duration::from_millis(8_150);
        let second = event(&mut out, &mut now, 3, 8_160 + 0xffff).unwrap();
        assert_eq!(second.wrapping_sub(first), 0xffff * 6);
    }

    #[test]
    fn extensions_csrcs_and_padding_are_not_passed() {
        let t0 = Instant::now();
        let mut out = Outgoing::new(0x0a0b_0c0d, 3, 4, Codec::Pcmu);
        let full =
            [
                &[
                    0xb1, 0x80, 0x12, 0x34, 0, 0, 0x10, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 0xbe, 0xde, 0,
                    1,
                ][..],
                &[0x10, 0xff, 0, 0, b'a', b'b', b'c', 0, 2],
            ]
            .concat();
        let mut buf = PacketBuf::from_bytes(&full).unwrap();
        let header = RtpHeader::parse(buf.bytes()).unwrap();
        out.rewrite(t0, &header, Kind::Audio, &PCMU, &mut buf).unwrap();
        assert_eq!(buf.bytes(), [0x80, 0x80, 0, 3, 0, 0, 0, 4, 0x0a, 0x0b, 0x0c, 0x0d, b'a', b'b', b'c']);
        assert_eq!(RtcpParts::new(buf.bytes()).count(), 0);
    }
}
