//! What a stream counts: packets, bytes, drops by reason, loss, jitter, round trip.
//!
//! The worker alone writes, by plain atomic stores; anybody reads without a lock. Numbers of one snapshot may
//! be some packets apart.

use std::fmt;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Why a datagram went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Drop {
    /// No RTP or RTCP of version 2, or its lengths do not fit the datagram.
    BadHeader,
    /// The padding count does not fit the payload.
    BadPadding,
    /// The SRTP or SRTCP tag is wrong.
    BadTag,
    /// The index was seen, or is too old to tell (RFC 3711 §3.3.2).
    Replayed,
    /// More sources than one session may have.
    TooManySources,
    /// No keys yet.
    NoKeys,
    /// A payload type that was not negotiated.
    UnknownPayload,
    /// Comfort noise (RFC 3389) that was not negotiated: the far side is there, and silent.
    ComfortNoise,
    /// A codec that was negotiated beside the one in use, which the other side of the call does not speak.
    OtherCodec,
    /// Before the point where this source took over, or long after its successors.
    Late,
    /// Nobody hears this stream.
    NoSink,
    /// The far side of the stream that hears it is not known yet, or wants no media.
    NotReady,
    /// From an address that is not this stream's.
    WrongSource,
    /// Not STUN, DTLS, RTP or RTCP; or too long.
    Unclassified,
    /// The peer's queue was full.
    QueueFull,
    /// The socket would not take it.
    SendFailed,
    /// A key was being sent in its place.
    Keying,
    /// Handling it was a fault of ours.
    Fault,
}

impl Drop {
    /// All reasons.
    pub const ALL: [Self; 18] = [
        Self::BadHeader,
        Self::BadPadding,
        Self::BadTag,
        Self::Replayed,
        Self::TooManySources,
        Self::NoKeys,
        Self::UnknownPayload,
        Self::ComfortNoise,
        Self::OtherCodec,
        Self::Late,
        Self::NoSink,
        Self::NotReady,
        Self::WrongSource,
        Self::Unclassified,
        Self::QueueFull,
        Self::SendFailed,
        Self::Keying,
        Self::Fault,
    ];

    /// One word for metrics; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadHeader => "bad-header",
            Self::BadPadding => "bad-padding",
            Self::BadTag => "bad-tag",
            Self::Replayed => "replayed",
            Self::TooManySources => "too-many-sources",
            Self::NoKeys => "no-keys",
            Self::UnknownPayload => "unknown-payload",
            Self::ComfortNoise => "comfort-noise",
            Self::OtherCodec => "other-codec",
            Self::Late => "late",
            Self::NoSink => "no-sink",
            Self::NotReady => "not-ready",
            Self::WrongSource => "wrong-source",
            Self::Unclassified => "unclassified",
            Self::QueueFull => "queue-full",
            Self::SendFailed => "send-failed",
            Self::Keying => "keying",
            Self::Fault => "fault",
        }
    }
}

/// A number with one writer: adding is a load and a store, no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; only the writer may call it.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes back what was added; only the writer may call it.
    pub fn take_back(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(n), Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Drops by reason.
#[derive(Debug, Default)]
pub struct Drops([Counter; Drop::ALL.len()]);

impl Drops {
    /// Counts one; only the writer may call it.
    pub fn count(&self, reason: Drop) {
        if let Some(counter) = self.0.get(reason as usize) {
            counter.add(1);
        }
    }

    /// How many for that reason.
    #[must_use]
    pub fn of(&self, reason: Drop) -> u64 {
        self.0.get(reason as usize).map_or(0, Counter::get)
    }

    /// How many in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).fold(0, u64::wrapping_add)
    }
}

/// Reasons by name with how many each, as `no-sink 31, wrong-source 2`. Without those that could not be sent, which have a
/// number of their own.
impl fmt::Display for Drops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons = Drop::ALL.into_iter().filter(|d| *d != Drop::SendFailed && self.of(*d) > 0);
        let Some(first) = reasons.next() else { return f.write_str("none") };
        write!(f, "{} {}", first.as_str(), self.of(first))?;
        reasons.try_for_each(|reason| write!(f, ", {} {}", reason.as_str(), self.of(reason)))
    }
}

/// Counters of one stream.
#[derive(Debug, Default)]
pub struct StreamStats {
    /// RTP packets taken from the far side (good tag, known payload).
    pub packets_in: Counter,
    /// Their bytes, RTP header included, SRTP tag not.
    pub bytes_in: Counter,
    /// RTP packets that the kernel took to send, silence included.
    pub packets_out: Counter,
    /// Their bytes as sent.
    pub bytes_out: Counter,
    /// Of `packets_out`, the silence we made.
    pub silence_out: Counter,
    /// What was dropped on the way in or out.
    pub drops: Drops,
    /// Of `packets_out`, those that came back: an ICMP error said that nobody takes them there.
    pub bounced: Counter,
    send_error: AtomicI32,
    lost_in: AtomicU64,
    lost_out: AtomicU64,
    jitter_in_us: AtomicU32,
    round_trip_us: AtomicU32,
}

/// Receiver figures of a stream, as of a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quality {
    /// Packets expected and not received from the far side, as far as a later one tells of them.
    pub lost_in: u64,
    /// Packets of ours that the far side says it misses.
    pub lost_out: u64,
    /// Interarrival jitter of what we receive, µs (RFC 3550 §6.4.1).
    pub jitter_in_us: u32,
    /// Round trip by the far side's reports, µs; 0 when unknown (RFC 3550 §6.4.1).
    pub round_trip_us: u32,
}

impl StreamStats {
    /// Publishes the receiver figures; only the writer may call it.
    pub fn publish(&self, quality: Quality) {
        self.lost_in.store(quality.lost_in, Ordering::Relaxed);
        self.lost_out.store(quality.lost_out, Ordering::Relaxed);
        self.jitter_in_us.store(quality.jitter_in_us, Ordering::Relaxed);
        self.round_trip_us.store(quality.round_trip_us, Ordering::Relaxed);
    }

    /// A packet could not be sent, or came back, for this reason (`errno`); only the writer may call it.
    pub fn note_send_error(&self, errno: i32) {
        self.send_error.store(errno, Ordering::Relaxed);
    }

    /// Why a packet last could not be sent, or came back (`errno`).
    #[must_use]
    pub fn send_error(&self) -> Option<i32> {
        Some(self.send_error.load(Ordering::Relaxed)).filter(|errno| *errno != 0)
    }

    /// The receiver figures last published.
    #[must_use]
    pub fn quality(&self) -> Quality {
        Quality {
            lost_in: self.lost_in.load(Ordering::Relaxed),
            lost_out: self.lost_out.load(Ordering::Relaxed),
            jitter_in_us: self.jitter_in_us.load(Ordering::Relaxed),
            round_trip_us: self.round_trip_us.load(Ordering::Relaxed),
        }
    }
}

/// What all streams that ended counted, for metrics; many writers.
#[derive(Debug, Default)]
pub struct Totals {
    streams: AtomicU64,
    packets_in: AtomicU64,
    packets_out: AtomicU64,
    silence_out: AtomicU64,
    drops: [AtomicU64; Drop::ALL.len()],
}

impl Totals {
    /// Adds a stream that ended.
    pub fn add(&self, stream: &StreamStats) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.packets_in.fetch_add(stream.packets_in.get(), Ordering::Relaxed);
        self.packets_out.fetch_add(stream.packets_out.get(), Ordering::Relaxed);
        self.silence_out.fetch_add(stream.silence_out.get(), Ordering::Relaxed);
        for (total, reason) in self.drops.iter().zip(Drop::ALL) {
            total.fetch_add(stream.drops.of(reason), Ordering::Relaxed);
        }
    }

    /// Streams that ended.
    #[must_use]
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    /// RTP packets they took.
    #[must_use]
    pub fn packets_in(&self) -> u64 {
        self.packets_in.load(Ordering::Relaxed)
    }

    /// RTP packets they sent, and how many of these were silence.
    #[must_use]
    pub fn packets_out(&self) -> (u64, u64) {
        (self.packets_out.load(Ordering::Relaxed), self.silence_out.load(Ordering::Relaxed))
    }

    /// What they dropped for that reason.
    #[must_use]
    pub fn dropped(&self, reason: Drop) -> u64 {
        self.drops.get(reason as usize).map_or(0, |d| d.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn totals_are_the_sum_of_the_streams_that_ended() {
        let (totals, stream) = (Totals::default(), StreamStats::default());
        stream.packets_in.add(3);
        stream.packets_out.add(5);
        stream.silence_out.add(2);
        stream.drops.count(Drop::BadTag);
        totals.add(&stream);
        totals.add(&stream);
        assert_eq!((totals.streams(), totals.packets_in(), totals.packets_out()), (2, 6, (10, 4)));
        assert_eq!((totals.dropped(Drop::BadTag), totals.dropped(Drop::Late)), (2, 0));
    }

    #[test]
    fn drops_are_told_by_name_and_what_could_not_be_sent_apart() {
        let drops = Drops::default();
        assert_eq!(drops.to_string(), "none");
        for reason in [Drop::WrongSource, Drop::NoSink, Drop::SendFailed, Drop::WrongSource] {
            drops.count(reason);
        }
        assert_eq!(drops.to_string(), "no-sink 1, wrong-source 2");
    }

    #[test]
    fn every_reason_has_a_counter_and_a_word_of_its_own() {
        let drops = Drops::default();
        for reason in Drop::ALL {
            drops.count(reason);
            assert_eq!(drops.of(reason), 1, "{reason:?}");
        }
        assert_eq!(drops.total(), Drop::ALL.len() as u64);
        assert_eq!(Drop::ALL.iter().map(|d| d.as_str()).collect::<BTreeSet<_>>().len(), Drop::ALL.len());
    }

    #[test]
    fn the_document_explains_every_reason_and_no_other() {
        let text = include_str!("../../docs/connect.md");
        let table = text.split_once("| `dropped` |").unwrap().1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with("| `"));
        let explained: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
        assert_eq!(explained, Drop::ALL.map(Drop::as_str));
    }
}
