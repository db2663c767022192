//! Our own RTCP: reports on what we send and receive, CNAME, goodbye (RFC 3550 §6). Every leg's RTCP ends
//! here; none is passed on, for our sequence numbers and SSRCs are not the other leg's.
//!
//! Left out: feedback messages (they concern video or congestion control we do not do), XR, the scaling of the
//! interval with the number of members (there are two).

use super::packet::{PacketBuf, RtcpParts, RtpHeader, low32};
use super::relay::SenderFigures;
use super::stats::Quality;
use std::time::{Duration, Instant};

/// Time between our reports: RFC 3550 §6.2 gives 5 s as the fixed minimum.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// Seconds from 1900 to 1970 (RFC 5905 §6).
const NTP_EPOCH: u64 = 2_208_988_800;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
/// A jump of sequence numbers beyond this starts the count anew (RFC 3550 appendix A.1).
const JUMP_MAX: i64 = 3_000;

/// What the far side's RTCP says of its RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// There is no RTCP.
    Nothing,
    /// It sends none, or none beyond what has come.
    Silent,
    /// It sends more than has come.
    Sending,
}

/// Packets that a far side may have sent before we could hear it, and counts in its reports: one second of them.
const UNHEARD_MAX: u64 = 50;

/// Receiver state for one source at a time (RFC 3550 appendix A.1, A.3, A.8).
#[derive(Debug, Default)]
pub struct Reception {
    source: Option<Counted>,
    lost_before: u64,
    /// Middle 32 bits of the last sender report's NTP time and when it came.
    last_report: Option<(u32, Instant)>,
    /// How many packets the far side had sent by its last report (none: it is not a sender's), and when that came.
    last_sent: Option<(Option<u32>, Instant)>,
    lost_out: u64,
    round_trip: Duration,
}

#[derive(Debug)]
struct Counted {
    ssrc: u32,
    first: i64,
    highest: i64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Sixteenths of a timestamp unit.
    jitter16: u32,
    transit: Option<u32>,
    clock_rate: u32,
}

impl Counted {
    fn expected(&self) -> u64 {
        u64::try_from(self.highest - self.first + 1).unwrap_or(0)
    }

    fn lost(&self) -> u64 {
        self.expected().saturating_sub(self.received)
    }
}

impl Reception {
    /// Counts a packet with a good tag and a known payload type. `since` is any clock's reading that goes
    /// forward with real time.
    pub fn receive(&mut self, since: Duration, header: &RtpHeader, clock_rate: u32) {
        let known = self.source.as_mut().filter(|s| s.ssrc == header.ssrc);
        let step = known.as_ref().map(|s| {
            i64::from(
                header.sequence.wrapping_sub(super::packet::low16(s.highest.cast_unsigned())).cast_signed(),
            )
        });
        match (known, step) {
            (Some(source), Some(step)) if step.abs() <= JUMP_MAX => {
                source.highest = source.highest.max(source.highest + step);
                source.received += 1;
                source.jitter(since, header.timestamp);
            }
            _ => {
                self.lost_before += self.source.as_ref().map_or(0, Counted::lost);
                let first = i64::from(header.sequence);
                let mut source = Counted {
                    ssrc: header.ssrc,
                    first,
                    highest: first,
                    received: 1,
                    expected_prior: 0,
                    received_prior: 0,
                    jitter16: 0,
                    transit: None,
                    clock_rate,
                };
                source.jitter(since, header.timestamp);
                self.source = Some(source);
            }
        }
    }

    /// Reads an unprotected compound of the far side: its sender time, and what it says of our SSRC.
    pub fn handle_rtcp(&mut self, now: Instant, wall: Duration, our_ssrc: u32, bytes: &[u8]) {
        for part in RtcpParts::new(bytes) {
            if matches!(part.packet_type, SENDER_REPORT | RECEIVER_REPORT) {
                // RFC 3550 §6.4.1: a sender's has the count of packets behind three times
                let count = part.body.get(16..20).and_then(|b| b.first_chunk::<4>());
                let is_sender = part.packet_type == SENDER_REPORT;
                self.last_sent = Some((count.filter(|_| is_sender).map(|c| u32::from_be_bytes(*c)), now));
            }
            let blocks = match part.packet_type {
                SENDER_REPORT => {
                    let Some(ntp) = part.body.get(6..10).and_then(|b| b.first_chunk::<4>()) else { continue };
                    self.last_report = Some((u32::from_be_bytes(*ntp), now));
                    part.body.get(24..)
                }
                RECEIVER_REPORT => part.body.get(4..),
                _ => None,
            };
            let blocks = blocks.unwrap_or_default().chunks_exact(24).take(usize::from(part.count));
            for block in blocks {
                self.handle_block(wall, our_ssrc, block);
            }
        }
    }

    /// What the far side's reports since then say of its RTP (RFC 3550 §6.4: who sends none, sends receiver reports).
    #[must_use]
    pub fn reported_since(&self, since: Instant) -> Reported {
        let Some((sent, at)) = self.last_sent else { return Reported::Nothing };
        let heard = self.source.as_ref().map_or(0, |s| s.expected().saturating_add(UNHEARD_MAX));
        match sent {
            _ if at < since => Reported::Nothing,
            Some(sent) if u64::from(sent) > heard => Reported::Sending,
            _ => Reported::Silent,
        }
    }

    /// Figures as they stand.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let (lost, jitter) = self.source.as_ref().map_or((0, 0), |s| {
            let micros = u64::from(s.jitter16 / 16) * 1_000_000 / u64::from(s.clock_rate.max(1));
            (s.lost(), u32::try_from(micros).unwrap_or(u32::MAX))
        });
        Quality {
            lost_in: self.lost_before + lost,
            lost_out: self.lost_out,
            jitter_in_us: jitter,
            round_trip_us: u32::try_from(self.round_trip.as_micros()).unwrap_or(u32::MAX),
        }
    }

    fn handle_block(&mut self, wall: Duration, our_ssrc: u32, block: &[u8]) {
        let word = |at: usize| {
            block.get(at..).and_then(|b| b.first_chunk::<4>()).map_or(0, |b| u32::from_be_bytes(*b))
        };
        if word(0) != our_ssrc {
            return;
        }
        // 24 bits, signed: duplicates may make it negative
        let lost = (word(4) << 8).cast_signed() >> 8;
        self.lost_out = u64::try_from(lost).unwrap_or(0);
        let (last_report, delay) = (word(16), word(20));
        if last_report != 0 {
            // RFC 3550 §6.4.1: arrival − LSR − DLSR, all in 1/65536 s
            let trip = ntp_middle(wall).wrapping_sub(last_report).wrapping_sub(delay);
            if trip < 60 << 16 {
                self.round_trip = Duration::from_micros((u64::from(trip) * 1_000_000) >> 16);
            }
        }
    }

    /// A report block on the current source; starts the next interval.
    fn block(&mut self, now: Instant) -> Option<[u8; 24]> {
        let source = self.source.as_mut()?;
        let (expected, received) = (source.expected(), source.received);
        let expected_now = expected.saturating_sub(source.expected_prior);
        let received_now = received.saturating_sub(source.received_prior);
        source.expected_prior = expected;
        source.received_prior = received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0).min(255);
        let lost = source.lost().min(0x7f_ffff);
        let [_, l1, l2, l3] = low32(lost).to_be_bytes();
        let [fraction, ..] = low32(fraction << 24).to_be_bytes();
        let (last, delay) = self.last_report.map_or((0, 0), |(ntp, at)| {
            let delay = (now.saturating_duration_since(at).as_micros() << 16) / 1_000_000;
            (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        let mut block = [0; 24];
        let words = [
            source.ssrc,
            u32::from_be_bytes([fraction, l1, l2, l3]),
            low32(source.highest.cast_unsigned()),
            source.jitter16 / 16,
            last,
            delay,
        ];
        for (room, word) in block.chunks_exact_mut(4).zip(words) {
            room.copy_from_slice(&word.to_be_bytes());
        }
        Some(block)
    }
}

impl Counted {
    /// RFC 3550 appendix A.8.
    fn jitter(&mut self, since: Duration, timestamp: u32) {
        let arrival = since.as_micros() * u128::from(self.clock_rate) / 1_000_000;
        let arrival = low32(u64::try_from(arrival & u128::from(u32::MAX)).unwrap_or(0));
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // a source may jump in its timestamps; one such step says nothing of the network
            if difference < self.clock_rate * 10 {
                self.jitter16 = self.jitter16 + difference - ((self.jitter16 + 8) >> 4);
            }
        }
    }
}

/// The middle 32 bits of the NTP time at this wall-clock reading (time since 1970).
fn ntp_middle(wall: Duration) -> u32 {
    low32(ntp(wall) >> 16)
}

/// 64 bits of NTP time (RFC 5905 §6).
fn ntp(wall: Duration) -> u64 {
    let seconds = wall.as_secs().wrapping_add(NTP_EPOCH);
    let fraction = (u64::from(wall.subsec_nanos()) << 32) / 1_000_000_000;
    (seconds << 32) | fraction
}

/// What a report says.
pub struct Report<'a> {
    /// Our SSRC.
    pub ssrc: u32,
    /// What we sent, for a sender report; none makes a receiver report.
    pub sent: Option<SenderFigures>,
    /// Our name; the same for all streams of a call's leg (RFC 7022 §4.2).
    pub cname: &'a str,
    /// Whether we leave.
    pub is_goodbye: bool,
}

/// Writes a compound: SR or RR, SDES with CNAME, BYE if we leave (RFC 3550 §6.1).
pub fn write_report(
    report: &Report<'_>,
    reception: &mut Reception,
    now: Instant,
    wall: Duration,
    buf: &mut PacketBuf,
) {
    let block = reception.block(now);
    let count = u8::from(block.is_some());
    let words = |packet_type: u8, count: u8, words: u16| {
        let [h, l] = words.to_be_bytes();
        [0x80 | count, packet_type, h, l]
    };
    let ssrc = report.ssrc.to_be_bytes();
    buf.fill(&[]);
    let block_words = 6 * u16::from(count);
    if let Some(sent) = report.sent {
        buf.append(&words(SENDER_REPORT, count, 6 + block_words));
        buf.append(&ssrc);
        buf.append(&ntp(wall).to_be_bytes());
        for word in [sent.timestamp, sent.packets, sent.octets] {
            buf.append(&word.to_be_bytes());
        }
    } else {
        buf.append(&words(RECEIVER_REPORT, count, 1 + block_words));
        buf.append(&ssrc);
    }
    buf.append(block.as_ref().map_or(&[][..], |b| &b[..]));
    // chunk: SSRC, CNAME item, at least one zero byte, filled up to a word (RFC 3550 §6.5)
    let name = report.cname.as_bytes();
    let name = name.get(..name.len().min(64)).unwrap_or_default();
    let items = (2 + name.len() + 1).next_multiple_of(4);
    let chunk_words = u16::try_from(items / 4).unwrap_or(0).saturating_add(1);
    buf.append(&words(SOURCE_DESCRIPTION, 1, chunk_words));
    buf.append(&ssrc);
    buf.append(&[1, u8::try_from(name.len()).unwrap_or(0)]);
    buf.append(name);
    buf.append([0; 4].get(..items.saturating_sub(2 + name.len())).unwrap_or_default());
    if report.is_goodbye {
        buf.append(&words(GOODBYE, 1, 1));
        buf.append(&ssrc);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtcp::packet::Packet;
    use rtcp::receiver_report::ReceiverReport;
    use rtcp::sender_report::SenderReport;
    use rtcp::source_description::SourceDescription;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader {
            is_marked: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc: 5,
            header_len: 12,
            is_padded: false,
        }
    }

    fn parse(buf: &PacketBuf) -> Vec<Box<dyn Packet + Send + Sync>> {
        rtcp::packet::unmarshal(&mut buf.bytes()).unwrap()
    }

    fn report(
        reception: &mut Reception,
        now: Instant,
        sent: Option<SenderFigures>,
        is_goodbye: bool,
    ) -> PacketBuf {
        let mut buf = PacketBuf::default();
        let report = Report { ssrc: 0x0102_0304, sent, cname: "abc@def", is_goodbye };
        write_report(&report, reception, now, Duration::from_secs(1_700_000_000), &mut buf);
        buf
    }

    #[test]
    fn a_quarter_lost_is_reported_as_64_of_256_and_only_once() {
        let t0 = Instant::now();
        let mut reception = Reception::default();
        for n in (0..400_u16).filter(|n| n % 4 != 3) {
            let sequence = 65_400_u16.wrapping_add(n);
            reception.receive(
                Duration::from_millis(20 * u64::from(n)),
                &header(sequence, u32::from(n) * 160),
                8_000,
            );
        }
        let packets = parse(&report(&mut reception, t0, None, false));
        let rr = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        assert_eq!(rr.ssrc, 0x0102_0304);
        let block = &rr.reports[0];
        // the last of the 400 is lost and not yet known to be: 99 of 399
        assert_eq!((block.ssrc, block.total_lost, block.fraction_lost), (5, 99, 63));
        assert_eq!(block.last_sequence_number, (1 << 16) | u32::from(65_400_u16.wrapping_add(398)));
        assert_eq!(block.jitter, 0);
        let sdes = packets[1].as_any().downcast_ref::<SourceDescription>().unwrap();
        assert_eq!(&sdes.chunks[0].items[0].text[..], b"abc@def");
        let packets = parse(&report(&mut reception, t0, None, false));
        let again = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        assert_eq!((again.reports[0].total_lost, again.reports[0].fraction_lost), (99, 0));
    }

    #[test]
    fn a_sender_report_carries_ntp_time_counts_and_a_goodbye_when_we_leave() {
        let t0 = Instant::now();
        let sent = SenderFigures { ssrc: 0x0102_0304, timestamp: 160, packets: 7, octets: 1_120 };
        let packets = parse(&report(&mut Reception::default(), t0, Some(sent), true));
        let sr = packets[0].as_any().downcast_ref::<SenderReport>().unwrap();
        assert_eq!(sr.ntp_time, (1_700_000_000 + 2_208_988_800) << 32);
        assert_eq!((sr.rtp_time, sr.packet_count, sr.octet_count), (160, 7, 1_120));
        assert!(sr.reports.is_empty());
        assert_eq!(packets.len(), 3);
        assert_eq!(packets[2].header().packet_type, rtcp::header::PacketType::Goodbye);
    }

    #[test]
    fn jitter_is_a_sixteenth_of_the_deviation_at_its_first_step_rfc3550_a_8() {
        let mut reception = Reception::default();
        reception.receive(Duration::ZERO, &header(1, 0), 8_000);
        reception.receive(Duration::from_millis(20), &header(2, 160), 8_000);
        assert_eq!(reception.quality().jitter_in_us, 0);
        reception.receive(Duration::from_millis(60), &header(3, 320), 8_000);
        // 20 ms late: 160 units, of which a sixteenth: 10 units, 1.25 ms
        assert_eq!(reception.quality().jitter_in_us, 1_250);
    }

    #[test]
    fn the_far_sides_report_gives_round_trip_and_loss_of_ours() {
        let t0 = Instant::now();
        let mut reception = Reception::default();
        let wall = Duration::from_millis(1_700_000_000_500);
        // our report left 300 ms ago, it held it for 200 ms
        let last = ntp_middle(wall - Duration::from_millis(300));
        let mut bytes = vec![0x81, 201, 0, 7, 9, 9, 9, 9];
        for word in [0x0102_0304, 0x40ff_fffe, 0, 0, last, 65_536 / 5] {
            bytes.extend(u32::to_be_bytes(word));
        }
        reception.handle_rtcp(t0, wall, 0x0102_0304, &bytes);
        let quality = reception.quality();
        assert!((99_000..=101_000).contains(&quality.round_trip_us), "{quality:?}");
        assert_eq!(quality.lost_out, 0, "duplicates made it minus two");
        bytes[12..16].copy_from_slice(&0x4000_0007_u32.to_be_bytes());
        reception.handle_rtcp(t0, wall, 0x0102_0304, &bytes);
        assert_eq!(reception.quality().lost_out, 7);
    }

    #[test]
    fn a_sender_report_of_the_far_side_comes_back_as_its_middle_bits_and_our_delay() {
        let t0 = Instant::now();
        let mut reception = Reception::default();
        reception.receive(Duration::ZERO, &header(1, 0), 8_000);
        let mut bytes = vec![0x80, 200, 0, 6, 0, 0, 0, 5];
        bytes.extend(0x1111_2222_3333_4444_u64.to_be_bytes());
        bytes.extend([0; 12]);
        reception.handle_rtcp(t0, Duration::ZERO, 1, &bytes);
        let packets = parse(&report(&mut reception, t0 + Duration::from_millis(500), None, false));
        let rr = packets[0].as_any().downcast_ref::<ReceiverReport>().unwrap();
        assert_eq!((rr.reports[0].last_sender_report, rr.reports[0].delay), (0x2222_3333, 32_768));
    }

    #[test]
    fn reports_cut_short_are_read_as_far_as_they_go() {
        let t0 = Instant::now();
        let mut reception = Reception::default();
        let bytes = [0x9f, 200, 0, 1, 0, 0, 0, 5, 0x9f, 201, 0, 0];
        for len in 0..=bytes.len() {
            reception.handle_rtcp(t0, Duration::ZERO, 5, &bytes[..len]);
        }
        assert_eq!(reception.quality(), Quality::default());
    }
}
