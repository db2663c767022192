//! Keys of a telephone as telephone-events (RFC 4733): those that come, each told once, and those that are sent.
//! Pure; one of each belongs to one stream.

use super::packet::RtpHeader;
use super::relay::{EventFormat, FRAME, Segment, Segments};
use crate::base::Digit;
use crate::call::port::DtmfDigit;
use std::collections::VecDeque;
use std::time::Duration;

/// Keys that may wait to be sent; more are not.
const WAITING_MAX: usize = 128;
/// The last packet of an event is sent three times (RFC 4733 §2.5.1.4).
const ENDS: u32 = 3;
/// Packets of pause after a key: 100 ms, so that two equal ones are two.
const PAUSE: u32 = 5;
/// -10 dBm0, as phones say (RFC 4733 §2.3.4).
const VOLUME: u8 = 10;
const END_BIT: u8 = 0x80;
/// Shortest and longest key: what receivers must take for one, and the most that an INFO of a PBX asks for.
const KEY_RANGE: (Duration, Duration) = (Duration::from_millis(40), Duration::from_millis(5_000));

/// What a segment of a long key lasts, in timestamp units (RFC 4733 §2.5.1.3).
const SEGMENT: i32 = 0xffff;
/// A start that lies further back than late packets do is of a source that began its timestamps anew.
const LATEST: i32 = -2 * SEGMENT;

/// An event of a far side.
#[derive(Debug, Clone, Copy)]
struct HeardEvent {
    ssrc: u32,
    start: u32,
    code: u8,
    is_ended: bool,
}

/// The keys a far side presses.
#[derive(Debug, Default)]
pub struct Heard {
    last: Option<HeardEvent>,
}

impl Heard {
    /// A telephone-event packet: the key, if this packet is the first seen of its event. Later packets of the event,
    /// further segments of it, repeated ends and late ones of an event before say nothing.
    pub fn handle(&mut self, header: &RtpHeader, payload: &[u8]) -> Option<Digit> {
        let [code, flags, _, _] = *payload.first_chunk::<4>()?;
        let is_end = flags & END_BIT != 0;
        let mut is_new = true;
        if let Some(last) = self.last.as_mut().filter(|l| l.ssrc == header.ssrc) {
            match header.timestamp.wrapping_sub(last.start).cast_signed() {
                0 => {
                    last.is_ended |= is_end;
                    return None;
                }
                LATEST..0 => return None,
                SEGMENT if last.code == code && !last.is_ended => is_new = false,
                _ => {}
            }
        }
        let event = HeardEvent { ssrc: header.ssrc, start: header.timestamp, code, is_ended: is_end };
        self.last = Some(event);
        Digit::from_event(code).filter(|_| is_new)
    }
}

/// A packet of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyPacket {
    /// Payload.
    pub payload: [u8; 4],
    /// It begins its event.
    pub is_first: bool,
    /// What the segments of its event before its own lasted, in units of the event's clock (RFC 4733 §2.5.1.3).
    pub before: u64,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    digit: Digit,
    frames: u32,
    /// Packets made, those of the pause included.
    made: u32,
    segments: Segments,
}

/// The keys that are sent to a far side.
#[derive(Debug, Default)]
pub struct Sending {
    waiting: VecDeque<Key>,
    /// Our timestamp of the event under way.
    pub(super) start: Option<u32>,
}

impl Sending {
    /// More keys to send; those beyond what may wait are not, which is answered with false.
    pub fn add(&mut self, digits: &[DtmfDigit]) -> bool {
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        for DtmfDigit { digit, duration } in digits.iter().take(room) {
            let held = (*duration).clamp(KEY_RANGE.0, KEY_RANGE.1);
            let frames = u32::try_from(held.as_millis().div_ceil(FRAME.as_millis())).unwrap_or(1);
            self.waiting.push_back(Key { digit: *digit, frames, made: 0, segments: Segments::default() });
        }
        digits.len() <= room
    }

    /// Whether nothing is left to send.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a key is being sent now, in place of audio.
    #[must_use]
    pub fn is_sounding(&self) -> bool {
        self.waiting.front().is_some_and(|k| k.made > 0 && k.made < k.frames + ENDS)
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.start = None;
    }

    /// The packet of this 20 ms; none in a pause and when idle.
    pub fn next(&mut self, format: EventFormat) -> Option<KeyPacket> {
        let key = self.waiting.front_mut()?;
        key.made += 1;
        let (digit, frames, made) = (key.digit, key.frames, key.made);
        if made > frames + ENDS {
            if made >= frames + ENDS + PAUSE {
                self.waiting.pop_front();
            }
            self.start = None;
            return None;
        }
        let lasted = FRAME * made.min(frames);
        let units = lasted.as_micros() * u128::from(format.clock_rate) / 1_000_000;
        let Segment { before, duration, goes_on } =
            key.segments.tell(u64::try_from(units).unwrap_or(u64::MAX));
        let [high, low] = duration.to_be_bytes();
        let is_end = made > frames && !goes_on;
        let flags = if is_end { VOLUME | END_BIT } else { VOLUME };
        Some(KeyPacket { payload: [digit.event(), flags, high, low], is_first: made == 1, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: EventFormat = EventFormat { payload_type: 101, clock_rate: 8_000 };

    fn digit(c: char, ms: u64) -> DtmfDigit {
        DtmfDigit { digit: Digit::from_char(c).unwrap(), duration: Duration::from_millis(ms) }
    }

    fn header(ssrc: u32, timestamp: u32) -> RtpHeader {
        RtpHeader {
            is_marked: false,
            payload_type: 101,
            sequence: 0,
            timestamp,
            ssrc,
            header_len: 12,
            is_padded: false,
        }
    }

    #[test]
    fn a_key_grows_by_20_ms_a_packet_ends_three_times_and_is_followed_by_a_pause_rfc_4733_2_5_1() {
        let mut sending = Sending::default();
        assert!(sending.add(&[digit('#', 50), digit('1', 40)]));
        let packets: Vec<_> =
            std::iter::from_fn(|| (!sending.is_idle()).then(|| sending.next(FORMAT))).collect();
        let payloads: Vec<Option<[u8; 4]>> = packets.iter().map(|p| p.map(|p| p.payload)).collect();
        let end = Some([11, 0x8a, 1, 0xe0]);
        assert_eq!(
            payloads[..6],
            [Some([11, 10, 0, 160]), Some([11, 10, 1, 64]), Some([11, 10, 1, 0xe0]), end, end, end]
        );
        assert_eq!(payloads[6..11], [None; 5]);
        assert_eq!(payloads[11], Some([1, 10, 0, 160]));
        assert_eq!(packets.iter().flatten().filter(|p| p.is_first).count(), 2);
    }

    #[test]
    fn audio_gives_way_while_a_key_sounds_and_not_in_its_pause() {
        let mut sending = Sending::default();
        sending.add(&[digit('5', 40)]);
        assert!(!sending.is_sounding());
        let sounds: Vec<bool> = (0..10)
            .map(|_| {
                sending.next(FORMAT);
                sending.is_sounding()
            })
            .collect();
        assert_eq!(sounds[..4], [true; 4]);
        assert_eq!(sounds[4..], [false; 6]);
    }

    #[test]
    fn no_more_keys_wait_than_may() {
        let mut sending = Sending::default();
        assert!(sending.add(&[digit('1', 100); WAITING_MAX]));
        assert!(!sending.add(&[digit('1', 100)]));
        assert_eq!(sending.waiting.len(), WAITING_MAX);
    }

    #[test]
    fn each_key_is_heard_once_however_its_packets_are_repeated_lost_or_late() {
        let mut heard = Heard::default();
        let mut told = Vec::new();
        let packets =
            [(1, 100), (1, 100), (1, 100), (5, 2_000), (1, 100), (5, 2_000), (5, 4_000), (16, 9_000)];
        for (code, start) in packets {
            told.extend(heard.handle(&header(7, start), &[code, 0x8a, 0, 160]).map(Digit::as_char));
        }
        assert_eq!(told, ['1', '5', '5'], "an event that is no key is none");
        assert!(heard.handle(&header(8, 50), &[2, 0, 0, 0]).is_some(), "another source counts anew");
        assert!(heard.handle(&header(8, 60), &[]).is_none());
    }

    #[test]
    fn a_key_held_longer_than_a_segment_is_one_key_rfc4733_2_5_1_3() {
        let mut heard = Heard::default();
        // 8.19 s of 8,000 Hz fit into a segment; it ends without its end bit, and the next one begins where it ended
        assert!(heard.handle(&header(7, 100), &[5, 10, 0, 160]).is_some());
        assert!(heard.handle(&header(7, 100), &[5, 10, 0xff, 0xff]).is_none());
        assert!(heard.handle(&header(7, 100 + 0xffff), &[5, 10, 0, 160]).is_none());
        assert!(heard.handle(&header(7, 100 + 2 * 0xffff), &[5, 0x8a, 0, 160]).is_none());
        assert!(
            heard.handle(&header(7, 100 + 3 * 0xffff), &[5, 10, 0, 160]).is_some(),
            "it was let go before"
        );
        assert!(heard.handle(&header(7, 100 + 4 * 0xffff), &[6, 10, 0, 160]).is_some(), "another key");
    }

    #[test]
    fn keys_are_heard_again_after_a_source_began_its_timestamps_anew() {
        let mut heard = Heard::default();
        assert!(heard.handle(&header(7, 2_000_000), &[1, 0x8a, 0, 160]).is_some());
        assert!(heard.handle(&header(7, 1_990_000), &[1, 0x8a, 0, 160]).is_none(), "a late packet");
        assert!(heard.handle(&header(7, 500), &[1, 0x8a, 0, 160]).is_some());
    }

    #[test]
    fn what_is_shorter_than_an_event_is_none_rfc4733_2_3() {
        let mut heard = Heard::default();
        assert!(heard.handle(&header(7, 100), &[1, 10, 0]).is_none());
        assert!(heard.handle(&header(7, 100), &[1, 10, 0, 160]).is_some());
    }

    #[test]
    fn timestamps_wrap() {
        let mut heard = Heard::default();
        assert!(heard.handle(&header(7, u32::MAX - 10), &[1, 0, 0, 0]).is_some());
        assert!(heard.handle(&header(7, 500), &[1, 0, 0, 0]).is_some());
        assert!(heard.handle(&header(7, u32::MAX - 10), &[1, 0, 0, 0]).is_none());
    }
}
