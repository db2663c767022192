//! Datagram buffers of fixed size and length-checked views of RTP and RTCP headers (RFC 3550 §5.1, §6.4).
//!
//! Every packet is received into a [`PacketBuf`], checked by [`RtpHeader::parse`] or [`RtcpParts`], changed in
//! place and sent from the same buffer. No media parser of another crate sees bytes that were not checked
//! here first. Left out: the contents of header extensions, which are stripped between legs.

use super::stats::Drop;

/// Size of a buffer; a datagram of [`RECEIVE_MAX`] bytes leaves room for an SRTP or SRTCP trailer.
pub const CAPACITY: usize = 2048;
/// Largest datagram taken from a socket: more than an Ethernet frame carries.
pub const RECEIVE_MAX: usize = CAPACITY - TAILROOM;
/// Room kept behind a received datagram (longest trailer: SRTCP with GCM, 16 + 4 bytes).
pub const TAILROOM: usize = 64;
/// Length of an RTP header without CSRCs and extension.
pub const RTP_FIXED: usize = 12;

/// A datagram in a buffer of fixed size. Bytes may be cut in front, and cut or appended behind.
pub struct PacketBuf {
    start: usize,
    end: usize,
    data: [u8; CAPACITY],
}

impl Default for PacketBuf {
    fn default() -> Self {
        Self { start: 0, end: 0, data: [0; CAPACITY] }
    }
}

impl PacketBuf {
    /// A buffer that holds these bytes; none when they are longer than [`RECEIVE_MAX`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut buf = Self::default();
        buf.fill(bytes).then_some(buf)
    }

    /// Replaces the contents; false, and empty, when they are longer than [`RECEIVE_MAX`].
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        self.start = 0;
        self.end = 0;
        match self.data.get_mut(..RECEIVE_MAX).and_then(|d| d.get_mut(..bytes.len())) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.end = bytes.len();
                true
            }
            None => false,
        }
    }

    /// Where a socket writes; then call [`Self::set_received`].
    pub fn receive_area(&mut self) -> &mut [u8] {
        self.start = 0;
        self.end = 0;
        self.data.get_mut(..RECEIVE_MAX).unwrap_or_default()
    }

    /// The socket wrote `len` bytes.
    pub fn set_received(&mut self, len: usize) {
        self.start = 0;
        self.end = len.min(RECEIVE_MAX);
    }

    /// The datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.data.get(self.start..self.end).unwrap_or_default()
    }

    /// The datagram, to change in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.data.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts `count` bytes in front (all, when there are fewer).
    pub fn cut_front(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Shortens to `len` bytes, when it is longer.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.start.saturating_add(len).min(self.end);
    }

    /// Appends bytes; false, and unchanged, when the buffer is full.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.end.saturating_add(bytes.len());
        match self.data.get_mut(self.end..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.end = end;
                true
            }
            None => false,
        }
    }
}

/// The fixed part of an RTP header and where its payload starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit.
    pub is_marked: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp, in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Bytes before the payload: fixed part, CSRCs, extension.
    pub header_len: usize,
    /// The last payload byte counts padding (readable only when the payload is not encrypted).
    pub is_padded: bool,
}

impl RtpHeader {
    /// Reads a header, checking every length against the datagram's (RFC 3550 §5.1, §5.3.1).
    ///
    /// # Errors
    /// [`Drop::BadHeader`] when it is no RTP packet of version 2 that fits the datagram.
    pub fn parse(bytes: &[u8]) -> Result<Self, Drop> {
        let (fixed, rest) = bytes.split_first_chunk::<RTP_FIXED>().ok_or(Drop::BadHeader)?;
        let [b0, b1, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        if b0 >> 6 != 2 {
            return Err(Drop::BadHeader);
        }
        let csrcs = usize::from(b0 & 0x0f) * 4;
        let mut header_len = RTP_FIXED + csrcs;
        let after_csrcs = rest.get(csrcs..).ok_or(Drop::BadHeader)?;
        if b0 & 0x10 != 0 {
            let (head, _) = after_csrcs.split_first_chunk::<4>().ok_or(Drop::BadHeader)?;
            let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
            header_len += 4 + 4 * words;
        }
        if header_len > bytes.len() {
            return Err(Drop::BadHeader);
        }
        Ok(Self {
            is_marked: b1 & 0x80 != 0,
            payload_type: b1 & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            header_len,
            is_padded: b0 & 0x20 != 0,
        })
    }

    /// Writes a header without CSRCs, extension and padding.
    #[must_use]
    pub fn to_fixed(self) -> [u8; RTP_FIXED] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [i0, i1, i2, i3] = self.ssrc.to_be_bytes();
        let b1 = (self.payload_type & 0x7f) | if self.is_marked { 0x80 } else { 0 };
        [0x80, b1, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3]
    }

    /// The payload of an unprotected packet, without padding.
    ///
    /// # Errors
    /// [`Drop::BadPadding`] when the padding count is zero or exceeds the payload (RFC 3550 §5.1).
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Drop> {
        let payload = bytes.get(self.header_len..).ok_or(Drop::BadHeader)?;
        if !self.is_padded {
            return Ok(payload);
        }
        let count = payload.last().copied().filter(|count| *count > 0).ok_or(Drop::BadPadding)?;
        let len = payload.len().checked_sub(usize::from(count)).ok_or(Drop::BadPadding)?;
        payload.get(..len).ok_or(Drop::BadPadding)
    }

    /// Cuts an unprotected packet down to the 12 fixed bytes and the payload: no CSRCs, no extension, no
    /// padding. The caller then writes the fixed bytes anew ([`Self::to_fixed`]).
    ///
    /// # Errors
    /// As [`Self::payload`].
    pub fn strip(&self, buf: &mut PacketBuf) -> Result<(), Drop> {
        let payload = self.payload(buf.bytes())?.len();
        buf.truncate(self.header_len.saturating_add(payload));
        buf.cut_front(self.header_len.saturating_sub(RTP_FIXED));
        Ok(())
    }
}

/// Most packets read of one RTCP compound.
const RTCP_PARTS_MAX: usize = 16;

/// One RTCP packet of a compound: the header's fields and the bytes after its first four.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpPart<'a> {
    /// Reception report count, source count or format: the low five bits of the first byte.
    pub count: u8,
    /// Packet type: 200 sender report, 201 receiver report, 202 source description, 203 goodbye …
    pub packet_type: u8,
    /// The bytes after the first four; padding is still there.
    pub body: &'a [u8],
}

/// Walks over an unprotected RTCP compound (RFC 3550 §6.1; also single packets, RFC 5506). Ends at the
/// first part that is not of version 2 or does not fit, and after 16 parts.
pub struct RtcpParts<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> RtcpParts<'a> {
    /// Over these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, left: RTCP_PARTS_MAX }
    }
}

impl<'a> Iterator for RtcpParts<'a> {
    type Item = RtcpPart<'a>;

    fn next(&mut self) -> Option<RtcpPart<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (head, rest) = self.rest.split_first_chunk::<4>()?;
        let len = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[0] >> 6 != 2 {
            return None;
        }
        let body = rest.get(..len)?;
        self.rest = rest.get(len..)?;
        Some(RtcpPart { count: head[0] & 0x1f, packet_type: head[1], body })
    }
}

/// The low 16 bits.
#[must_use]
pub(crate) const fn low16(x: u64) -> u16 {
    let b = x.to_be_bytes();
    u16::from_be_bytes([b[6], b[7]])
}

/// The low 32 bits.
#[must_use]
pub(crate) const fn low32(x: u64) -> u32 {
    let b = x.to_be_bytes();
    u32::from_be_bytes([b[4], b[5], b[6], b[7]])
}

/// Both halves of a product, mixed.
#[must_use]
pub(crate) const fn fold(x: u128) -> u64 {
    let b = x.to_be_bytes();
    u64::from_be_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
        ^ u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    /// V=2, X, CC=1: CSRC, an extension of one word, three bytes of payload and a padding of two.
    const FULL: [u8; 29] = [
        0xb1, 0xe5, 0x12, 0x34, 0, 0, 0x10, 0, 0xde, 0xad, 0xbe, 0xef, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10,
        0xff, 0, 0, b'a', b'b', b'c', 0, 2,
    ];

    #[test]
    fn a_header_with_csrc_extension_and_padding_is_read_and_stripped() {
        let mut buf = PacketBuf::from_bytes(&FULL).unwrap();
        let header = RtpHeader::parse(buf.bytes()).unwrap();
        assert_eq!(header.payload_type, 0x65);
        assert!(header.is_marked && header.is_padded);
        assert_eq!((header.sequence, header.timestamp, header.ssrc), (0x1234, 0x1000, 0xdead_beef));
        assert_eq!(header.header_len, 24);
        header.strip(&mut buf).unwrap();
        assert_eq!(buf.bytes().get(12..), Some(&b"abc"[..]));
    }

    #[test]
    fn a_padding_longer_than_the_payload_or_zero_is_refused_rfc3550_5_1() {
        for last in [0, 6, 255] {
            let mut bytes = FULL;
            bytes[28] = last;
            let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
            let header = RtpHeader::parse(buf.bytes()).unwrap();
            assert_eq!(header.strip(&mut buf), Err(Drop::BadPadding), "{last}");
        }
    }

    #[test]
    fn every_truncation_of_the_header_is_refused() {
        for len in 0..24 {
            assert_eq!(RtpHeader::parse(&FULL[..len]), Err(Drop::BadHeader), "{len}");
        }
        assert!(RtpHeader::parse(&FULL[..24]).is_ok());
    }

    #[test]
    fn an_rtcp_compound_is_walked_and_a_part_longer_than_the_datagram_ends_it() {
        let compound =
            [0x80, 201, 0, 1, 9, 9, 9, 9, 0x81, 203, 0, 1, 9, 9, 9, 9, 0x80, 204, 0, 2, 0, 0, 0, 0];
        let types: Vec<_> =
            RtcpParts::new(&compound).map(|p| (p.packet_type, p.count, p.body.len())).collect();
        assert_eq!(types, [(201, 0, 4), (203, 1, 4)]);
    }

    #[test]
    fn packets_that_made_crates_panic_and_random_changes_of_them_only_get_refused_or_read() {
        let mut seed = Seed::from_number(7);
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/sip-tests/data/crate-panics");
        let mut seeds: Vec<Vec<u8>> =
            std::fs::read_dir(dir).unwrap().map(|f| std::fs::read(f.unwrap().path()).unwrap()).collect();
        assert!(seeds.len() >= 4);
        seeds.push(FULL.to_vec());
        let mut read = 0_u32;
        for round in 0..200_000_u32 {
            let mut bytes = seeds[(round as usize) % seeds.len()].clone();
            for _ in 0..seed.below(4) {
                let at = seed.below(bytes.len() as u64) as usize;
                bytes[at] = seed.next_u32() as u8;
            }
            bytes.truncate(1 + seed.below(bytes.len() as u64) as usize);
            let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
            if let Ok(header) = RtpHeader::parse(buf.bytes()) {
                read += 1;
                assert!(header.header_len <= bytes.len());
                let _ = header.strip(&mut buf);
            }
            let parts: usize = RtcpParts::new(&bytes).map(|p| p.body.len() + 4).sum();
            assert!(parts <= bytes.len());
        }
        assert!(read > 5_000, "{read} of the mutations are still RTP");
    }

    #[test]
    fn a_buffer_never_grows_over_its_capacity() {
        let mut buf = PacketBuf::from_bytes(&[7; RECEIVE_MAX]).unwrap();
        assert!(buf.append(&[1; TAILROOM]));
        assert!(!buf.append(&[1]));
        assert_eq!(buf.len(), CAPACITY);
        assert!(PacketBuf::from_bytes(&[0; RECEIVE_MAX + 1]).is_none());
        buf.cut_front(5000);
        assert!(buf.is_empty());
    }
}
