//! telephone-events whose durations one far side counts by another clock than the other (RFC 4733).
//!
//! A duration is at most 0xFFFF units: a key that is held for longer is told in segments, each of which begins where the one
//! before ended (§2.5.1.3), and at 48,000 Hz that is after 1.37 s. So segments are ours to make: those that come are joined to
//! what the key lasted, and that is cut anew by the clock of who listens.

use super::{Outgoing, RTP_FIXED};
use crate::media::packet::{PacketBuf, RtpHeader, low32};
use crate::media::relay::EventFormat;
use crate::media::stats::Drop;
use std::time::Instant;

/// The longest duration that a packet can tell (RFC 4733 §2.3.5).
const SEGMENT: u16 = 0xffff;
const END_BIT: u8 = 0x80;

/// What a packet of an event can tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// What the segments before it lasted, in units.
    pub before: u64,
    /// What it lasted itself, in units.
    pub duration: u16,
    /// The event goes on behind it, whatever else the packet would say.
    pub goes_on: bool,
}

/// Cuts an event into segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segments {
    /// Those that were told to be full.
    full: u64,
}

impl Segments {
    /// What the next packet tells of an event that has lasted so many units. The packet that finds a segment too short says that
    /// it is full, and those behind it tell of the next one: so none is put between. One comes after the other, also behind a
    /// loss: a segment left out makes two keys of one.
    pub fn tell(&mut self, lasted: u64) -> Segment {
        let full = u64::from(SEGMENT);
        let fits = lasted.saturating_sub(1) / full;
        let index = fits.min(self.full);
        let before = index.saturating_mul(full);
        let duration = u16::try_from(lasted.saturating_sub(before)).unwrap_or(SEGMENT);
        if duration == SEGMENT {
            self.full = self.full.max(index.saturating_add(1));
        }
        Segment { before, duration, goes_on: fits > index }
    }
}

/// A telephone-event under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    code: u8,
    is_ended: bool,
    /// Where its present segment began in the source's timestamps, and how long those before lasted, in the source's units.
    theirs: u32,
    before: u64,
    /// Where it began in our timestamps.
    ours: u32,
    segments: Segments,
}

impl Outgoing {
    /// Writes an event packet's duration by the clock of `out`, and answers with its timestamp: where its segment begins on
    /// our timeline, one value for all packets of a segment (RFC 4733 §2.2). `at` is where audio of the packet's timestamp is
    /// on it. No packet is put between ([`Segments`]), and numbers that are lost or late stay those of the source.
    pub(super) fn retell(
        &mut self,
        now: Instant,
        header: &RtpHeader,
        at: u32,
        clock: u32,
        out: EventFormat,
        buf: &mut PacketBuf,
    ) -> Result<u32, Drop> {
        let blocks = buf.bytes_mut().get_mut(RTP_FIXED..).unwrap_or_default();
        let (code, is_end) = match *blocks {
            [code, flags, ..] => (code, flags & END_BIT != 0),
            _ => (0, false),
        };
        let at = if clock == self.clock_rate { at } else { self.timestamp_at(now) };
        let mut event = self.event_at(header.timestamp, code, at, clock)?;
        event.is_ended |= is_end;
        let scaled = |duration: u64| duration.saturating_mul(out.clock_rate.into()) / u64::from(clock.max(1));
        let before = match blocks {
            [_, flags, high, low] => {
                let told = event.before.saturating_add(u16::from_be_bytes([*high, *low]).into());
                let segment = event.segments.tell(scaled(told));
                if segment.goes_on {
                    *flags &= !END_BIT;
                }
                [*high, *low] = segment.duration.to_be_bytes();
                segment.before
            }
            // several events in one packet: short ones (RFC 4733 §2.5.1.2)
            blocks => {
                for block in blocks.chunks_exact_mut(4) {
                    if let Some((_, duration)) = block.split_last_chunk_mut::<2>() {
                        let scaled = scaled(u16::from_be_bytes(*duration).into());
                        *duration = u16::try_from(scaled).unwrap_or(SEGMENT).to_be_bytes();
                    }
                }
                let full = u64::from(SEGMENT);
                (scaled(event.before) / full).saturating_mul(full)
            }
        };
        self.event = Some(event);
        Ok(event.ours.wrapping_add(self.on_our_line(before, out.clock_rate)))
    }

    /// The event that a packet with this timestamp is of; `at` is where a new one begins on our timeline. One that begins no
    /// longer after the last than a segment lasts keeps its distance.
    fn event_at(&self, theirs: u32, code: u8, at: u32, clock: u32) -> Result<Event, Drop> {
        let new =
            |ours| Event { code, is_ended: false, theirs, before: 0, ours, segments: Segments::default() };
        let Some(event) = self.event else { return Ok(new(at)) };
        let step = theirs.wrapping_sub(event.theirs).cast_signed();
        let longest = i32::from(SEGMENT);
        if step == 0 {
            return Ok(event);
        }
        // an event ends where the next one begins (RFC 4733 §2.5.2.3)
        if (-longest..0).contains(&step) {
            return Err(Drop::Late);
        }
        let Some(step) = u16::try_from(step).ok() else { return Ok(new(at)) };
        let before = event.before.saturating_add(step.into());
        Ok(if step == SEGMENT && code == event.code && !event.is_ended {
            Event { theirs, before, ..event }
        } else {
            new(event.ours.wrapping_add(self.on_our_line(before, clock)))
        })
    }

    /// So many units of another clock in those of our timestamps.
    pub(super) fn on_our_line(&self, units: u64, clock: u32) -> u32 {
        low32(units.saturating_mul(self.clock_rate.into()) / u64::from(clock.max(1)))
    }
}
