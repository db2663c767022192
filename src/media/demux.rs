//! What a datagram on a shared port is: STUN, DTLS, RTP or RTCP, by its first bytes (RFC 7983 §7, RFC 5761 §4),
//! and whose connectivity check a STUN request is (RFC 8445 §7.2.2). Lengths are checked; integrity is not:
//! that is the peer's.

/// A class of datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// STUN (RFC 8489).
    Stun,
    /// A DTLS record (RFC 6347).
    Dtls,
    /// RTP or SRTP.
    Rtp,
    /// RTCP or SRTCP.
    Rtcp,
}

/// The class of a datagram; none for everything else (ZRTP, TURN channels, noise).
#[must_use]
pub fn classify(bytes: &[u8]) -> Option<Class> {
    match *bytes {
        [0..=3, _, ..] if is_stun(bytes) => Some(Class::Stun),
        [20..=63, _, ..] if bytes.len() >= 13 => Some(Class::Dtls),
        // RFC 5761 §4: RTCP packet types 192 to 223 fall on RTP payload types 64 to 95, which are not used
        [128..=191, 192..=223, ..] if bytes.len() >= 8 => Some(Class::Rtcp),
        [128..=191, _, ..] if bytes.len() >= 12 => Some(Class::Rtp),
        _ => None,
    }
}

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;

/// Whether the header is STUN's: cookie, and a length that is a multiple of four and the datagram's.
fn is_stun(bytes: &[u8]) -> bool {
    let Some((head, attributes)) = bytes.split_first_chunk::<20>() else { return false };
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    [head[4], head[5], head[6], head[7]] == COOKIE && len == attributes.len() && len.is_multiple_of(4)
}

/// What a STUN message is, as far as routing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StunKind<'a> {
    /// A request; with the first half of its USERNAME, which is the ufrag of the side it is for.
    Request(Option<&'a str>),
    /// A success or error response, with its transaction id.
    Response([u8; 12]),
    /// An indication.
    Indication,
}

/// Looks into a datagram of class [`Class::Stun`].
#[must_use]
pub fn peek_stun(bytes: &[u8]) -> Option<StunKind<'_>> {
    let (head, attributes) = bytes.split_first_chunk::<20>()?;
    // RFC 8489 §5: the class bits are bit 0 of the first byte and bit 4 of the second
    match (head[0] & 0x01, head[1] & 0x10) {
        (0, 0) => {
            Some(StunKind::Request(username(attributes).and_then(|u| u.split_once(':')).map(|(l, _)| l)))
        }
        (0, _) => Some(StunKind::Indication),
        _ => head.last_chunk::<12>().map(|id| StunKind::Response(*id)),
    }
}

/// The USERNAME attribute, by a walk that ends with the datagram.
fn username(mut attributes: &[u8]) -> Option<&str> {
    while let Some((head, rest)) = attributes.split_first_chunk::<4>() {
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let value = rest.get(..len)?;
        if u16::from_be_bytes([head[0], head[1]]) == USERNAME {
            return std::str::from_utf8(value).ok();
        }
        attributes = rest.get(len.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    /// RFC 5769 §2.1: sample request, USERNAME `evtj:h6vY`.
    const REQUEST: [u8; 108] = [
        0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa,
        0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20,
        0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff, 0x80, 0x29, 0x00,
        0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a,
        0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c, 0xbf,
        0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49, 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28,
        0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf,
    ];

    #[test]
    fn the_sample_request_of_rfc5769_is_stun_for_its_ufrag() {
        assert_eq!(classify(&REQUEST), Some(Class::Stun));
        assert_eq!(peek_stun(&REQUEST), Some(StunKind::Request(Some("evtj"))));
    }

    #[test]
    fn first_bytes_decide_the_class_rfc7983_7() {
        let with = |first: u8, second: u8| {
            let mut bytes = [0; 40];
            (bytes[0], bytes[1]) = (first, second);
            classify(&bytes)
        };
        assert_eq!(with(20, 0xfe), Some(Class::Dtls));
        assert_eq!(with(63, 0xfe), Some(Class::Dtls));
        assert_eq!(with(16, 0), None, "ZRTP");
        assert_eq!(with(64, 0), None, "TURN channel");
        assert_eq!(with(0x80, 0), Some(Class::Rtp));
        assert_eq!(with(0x80, 200), Some(Class::Rtcp));
        assert_eq!(with(0x80, 223), Some(Class::Rtcp));
        assert_eq!(with(0x80, 224), Some(Class::Rtp), "payload type 96 with the marker bit");
        assert_eq!(with(192, 0), None);
        assert_eq!(with(1, 0), None, "no magic cookie");
    }

    #[test]
    fn a_response_is_known_by_its_transaction() {
        let mut bytes = REQUEST;
        (bytes[0], bytes[1]) = (0x01, 0x01);
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        assert_eq!(peek_stun(&bytes), Some(StunKind::Response(id)));
        (bytes[0], bytes[1]) = (0x00, 0x11);
        assert_eq!(peek_stun(&bytes), Some(StunKind::Indication));
    }

    #[test]
    fn random_changes_of_a_request_never_panic_nor_read_outside() {
        let mut seed = Seed::from_number(3);
        let mut stun = 0;
        for _ in 0..100_000 {
            let mut bytes = REQUEST.to_vec();
            for _ in 0..1 + seed.below(3) {
                let at = seed.below(bytes.len() as u64) as usize;
                bytes[at] = seed.next_u32() as u8;
            }
            if seed.below(4) == 0 {
                bytes.truncate(seed.below(109) as usize);
            }
            stun += u32::from(classify(&bytes) == Some(Class::Stun));
            let _ = peek_stun(&bytes);
        }
        assert!(stun > 10_000, "{stun}");
    }
}
