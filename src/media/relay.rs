//! One direction between two streams: what comes from a [`Source`] leaves by an [`Outgoing`] under a payload
//! type, SSRC, sequence and timestamp line of our own (RFC 3550 §2.3 a mixer's view, without mixing).
//!
//! An [`Outgoing`] lives as long as its transport and survives every change of what it sends: silence, a
//! browser, hold, another browser. The far side sees one SSRC, sequence numbers without a break of ours and
//! a timestamp that went on with the clock. Loss and reordering of the source stay visible as gaps.
//!
//! telephone-event packets (RFC 4733) keep their start on the audio's timeline and their duration is scaled
//! when the two sides count events by different clocks. Header extensions, CSRCs and padding are not passed.

mod event;

use super::packet::{PacketBuf, RTP_FIXED, RtpHeader, low16, low32};
use super::srtp::Window;
use super::stats::Drop;
use crate::call::port::Codec;
use event::Event;
pub use event::{Segment, Segments};
use std::time::{Duration, Instant};

/// Length of a silence packet, and the least a timestamp moves when one source follows another.
pub const FRAME: Duration = Duration::from_millis(20);
/// A jump of sequence numbers beyond this, either way, is a source that began anew (RFC 3550 appendix A.1).
const JUMP_MAX: i64 = 3_000;
/// What lies further back is no reordering, and nobody can tell whether its number left before.
const MISORDER_MAX: i64 = 127;
/// So many in a row that cannot be sent, for they lie too far back or left before, are a source that began anew.
const ANEW_RUN: u8 = 3;

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
    /// Payload types of other codecs that the far side accepted too, and may send at any time (RFC 3264 §6.1); the other
    /// side of the call speaks none of them.
    pub others_in: [Option<u8>; 3],
    /// telephone-event as the far side may send it.
    pub events_in: [Option<EventFormat>; 2],
    /// telephone-event as the far side wants it.
    pub event_out: Option<EventFormat>,
}

/// Static payload type of comfort noise at 8,000 Hz (RFC 3389 §4).
const COMFORT_NOISE: u8 = 13;

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
    /// [`Drop::UnknownPayload`] when it was not negotiated, or [`Drop::ComfortNoise`] when it is that; [`Drop::OtherCodec`] when it
    /// was, beside the one in use.
    pub fn kind_of(&self, payload_type: u8) -> Result<Kind, Drop> {
        if payload_type == self.payload_in {
            return Ok(Kind::Audio);
        }
        let otherwise = match payload_type {
            other if self.others_in.contains(&Some(other)) => Drop::OtherCodec,
            COMFORT_NOISE => Drop::ComfortNoise,
            _ => Drop::UnknownPayload,
        };
        self.events_in
            .iter()
            .flatten()
            .find(|e| e.payload_type == payload_type)
            .map(|e| Kind::Event(e.clock_rate))
            .ok_or(otherwise)
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
    /// The number that follows those which could not be sent, and how many they were in a row.
    behind: Option<(u16, u8)>,
}

/// The RTP a transport sends.
#[derive(Debug)]
pub struct Outgoing {
    ssrc: u32,
    clock_rate: u32,
    /// Extended sequence number of the next packet (RFC 3711 §3.3.1: the SRTP index).
    next_index: u64,
    /// Timestamp of the last audio packet and when it left; before there is one, of the first key.
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

    /// What comes next is sealed under another key: the rollover counter begins at 0 again, low enough for the receiver
    /// to see it turn (RFC 3711 §3.3.1).
    pub fn begin_anew(&mut self) {
        self.next_index &= 0x7fff;
        self.sent = Window::default();
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
        let mut timestamp = header.timestamp.wrapping_add(map.timestamp_offset);
        let mut payload_type = format.payload_out;
        if let Some((clock, out)) = event_out {
            if clock != self.clock_rate || clock != out.clock_rate {
                timestamp = self.retell(now, header, timestamp, clock, out, buf)?;
            }
            payload_type = out.payload_type;
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
        let is_marked = std::mem::take(&mut self.is_marker_due) || header.is_marked;
        Ok(self.write(buf, is_marked, payload_type, index, timestamp))
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
        self.last = Some((timestamp, now));
        self.append(buf, is_first, format.payload_out, timestamp, payload)
    }

    /// Makes a telephone-event packet behind all that was sent (RFC 4733 §2.5.1). All packets of an event have its `start`: none
    /// for the first, then what the first one answered. Their timestamp is where their segment begins, which is `before` units
    /// of the format's clock behind it (§2.5.1.3).
    pub fn key(
        &mut self,
        now: Instant,
        format: EventFormat,
        start: Option<u32>,
        before: u64,
        payload: [u8; 4],
        buf: &mut PacketBuf,
    ) -> (Placed, u32) {
        let first = start.unwrap_or_else(|| self.timestamp_at(now));
        // what follows is behind it, also where nothing was sent before it
        self.last.get_or_insert((first, now));
        self.is_generating = false;
        let timestamp = first.wrapping_add(self.on_our_line(before, format.clock_rate));
        (self.append(buf, start.is_none(), format.payload_type, timestamp, &payload), first)
    }

    /// Figures for a sender report; none before the first packet.
    #[must_use]
    pub fn figures(&self, now: Instant) -> Option<SenderFigures> {
        let (last, at) = self.last?;
        let timestamp = last.wrapping_add(self.units(now.saturating_duration_since(at)));
        Some(SenderFigures { ssrc: self.ssrc, timestamp, packets: self.packets, octets: self.octets })
    }

    /// A packet of our own behind all that was sent; the source's next one is placed anew, behind it.
    fn append(
        &mut self,
        buf: &mut PacketBuf,
        is_marked: bool,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
    ) -> Placed {
        self.switch();
        let index = self.next_index;
        self.next_index += 1;
        self.sent.accept(index);
        buf.fill(&[0; RTP_FIXED]);
        buf.append(payload);
        self.write(buf, is_marked, payload_type, index, timestamp)
    }

    fn write(
        &mut self,
        buf: &mut PacketBuf,
        is_marked: bool,
        payload_type: u8,
        index: u64,
        timestamp: u32,
    ) -> Placed {
        let header = RtpHeader {
            is_marked,
            payload_type,
            sequence: low16(index),
            timestamp,
            ssrc: self.ssrc,
            header_len: RTP_FIXED,
            is_padded: false,
        };
        if let Some(fixed) = buf.bytes_mut().first_chunk_mut::<RTP_FIXED>() {
            *fixed = header.to_fixed();
        }
        self.packets = self.packets.wrapping_add(1);
        let octets = u32::try_from(buf.len().saturating_sub(RTP_FIXED)).unwrap_or(0);
        self.octets = self.octets.wrapping_add(octets);
        Placed { index }
    }

    /// The mapping for a packet and its extended sequence number; a new mapping when the source is new or
    /// began anew.
    fn place(&mut self, now: Instant, header: &RtpHeader) -> Result<(Map, i64), Drop> {
        if let Some(map) = self.map.as_mut().filter(|m| m.ssrc == header.ssrc) {
            let delta =
                i64::from(header.sequence.wrapping_sub(low16(map.highest.cast_unsigned())).cast_signed());
            if delta.abs() <= JUMP_MAX {
                let extended = map.highest + delta;
                let index = extended.checked_add(map.sequence_offset).and_then(|i| u64::try_from(i).ok());
                let fault = if delta < -MISORDER_MAX || extended < map.first {
                    Some(Drop::Late)
                } else {
                    index.map_or(Some(Drop::Late), |index| self.sent.check(index).err())
                };
                let Some(fault) = fault else {
                    map.behind = None;
                    map.highest = map.highest.max(extended);
                    return Ok((*map, extended));
                };
                let run =
                    map.behind.filter(|(next, _)| *next == header.sequence).map_or(1, |(_, run)| run + 1);
                if run < ANEW_RUN {
                    map.behind = Some((header.sequence.wrapping_add(1), run));
                    return Err(fault);
                }
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

    fn units(&self, time: Duration) -> u32 {
        let units = time.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        low32(u64::try_from(units).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod event_tests;
#[cfg(test)]
mod tests;
