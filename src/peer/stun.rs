//! STUN as ICE uses it (RFC 8489, RFC 8445 §7): a length-checked view of a Binding message, and the
//! messages we send ourselves, the answers to a check and the consent request.
//!
//! [`View::parse`] looks at every length before a byte is used, so that nothing else in this folder, and no
//! crate behind it, sees a malformed message. [`View::is_signed_by`] verifies MESSAGE-INTEGRITY.
//!
//! Left out: error answers but that to a role conflict (a request we do not like is dropped, not answered), long-term
//! credentials, TCP framing, MESSAGE-INTEGRITY-SHA256 (no browser sends it).

use super::IceRole;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use std::net::{IpAddr, SocketAddr};

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
const HEADER_LEN: usize = 20;
const INTEGRITY_LEN: usize = 20;
/// Most attributes a message may have: browsers send up to ten.
const ATTRIBUTE_LIMIT: usize = 32;

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802A;
/// RFC 8489 §14.7.
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// Identifies a request and its answer (RFC 8489 §5).
pub(crate) type TransactionId = [u8; 12];

/// What kind of Binding message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// Why bytes are no STUN message we look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StunError {
    /// Not STUN, or not the Binding method.
    NotBinding,
    /// A length points outside, or there are too many attributes.
    Malformed,
    /// FINGERPRINT does not match (RFC 8489 §14.7).
    BadFingerprint,
}

/// A Binding message whose lengths were checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    bytes: &'a [u8],
    class: Class,
    transaction: TransactionId,
    username: Option<&'a [u8]>,
    /// Offset of MESSAGE-INTEGRITY's header.
    integrity_at: Option<usize>,
    has_use_candidate: bool,
    sender_role: Option<IceRole>,
}

impl<'a> View<'a> {
    /// Checks a datagram. Attributes behind MESSAGE-INTEGRITY are ignored except FINGERPRINT
    /// (RFC 8489 §14.5).
    ///
    /// # Errors
    /// [`StunError`]; the datagram is then to be dropped.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, StunError> {
        let class = match be16(bytes, 0).ok_or(StunError::NotBinding)? {
            BINDING_REQUEST => Class::Request,
            BINDING_INDICATION => Class::Indication,
            BINDING_SUCCESS => Class::Success,
            BINDING_ERROR => Class::Error,
            _ => return Err(StunError::NotBinding),
        };
        if bytes.get(4..8) != Some(&MAGIC_COOKIE) {
            return Err(StunError::NotBinding);
        }
        let body_len = usize::from(be16(bytes, 2).ok_or(StunError::Malformed)?);
        let transaction: TransactionId =
            bytes.get(8..HEADER_LEN).and_then(|t| t.try_into().ok()).ok_or(StunError::Malformed)?;
        if bytes.len().checked_sub(HEADER_LEN) != Some(body_len) || !body_len.is_multiple_of(4) {
            return Err(StunError::Malformed);
        }
        let mut view = Self {
            bytes,
            class,
            transaction,
            username: None,
            integrity_at: None,
            has_use_candidate: false,
            sender_role: None,
        };
        view.read_attributes()?;
        Ok(view)
    }

    fn read_attributes(&mut self) -> Result<(), StunError> {
        let mut at = HEADER_LEN;
        for _ in 0..ATTRIBUTE_LIMIT {
            if at == self.bytes.len() {
                return Ok(());
            }
            let kind = be16(self.bytes, at).ok_or(StunError::Malformed)?;
            let len = usize::from(be16(self.bytes, at.saturating_add(2)).ok_or(StunError::Malformed)?);
            let value_at = at.saturating_add(4);
            let end = value_at.saturating_add(len);
            let value = self.bytes.get(value_at..end).ok_or(StunError::Malformed)?;
            match kind {
                FINGERPRINT => return self.check_fingerprint(at, value),
                _ if self.integrity_at.is_some() => {}
                USERNAME => self.username = Some(value),
                MESSAGE_INTEGRITY if len == INTEGRITY_LEN => self.integrity_at = Some(at),
                MESSAGE_INTEGRITY => return Err(StunError::Malformed),
                USE_CANDIDATE => self.has_use_candidate = true,
                ICE_CONTROLLING => self.sender_role = Some(IceRole::Controlling),
                ICE_CONTROLLED => self.sender_role = Some(IceRole::Controlled),
                _ => {}
            }
            at = end.next_multiple_of(4);
        }
        if at == self.bytes.len() { Ok(()) } else { Err(StunError::Malformed) }
    }

    /// FINGERPRINT is the last attribute and covers all before it.
    fn check_fingerprint(&self, at: usize, value: &[u8]) -> Result<(), StunError> {
        let told = be32(value, 0).filter(|_| value.len() == 4).ok_or(StunError::Malformed)?;
        if at.saturating_add(8) != self.bytes.len() {
            return Err(StunError::Malformed);
        }
        let covered = self.bytes.get(..at).ok_or(StunError::Malformed)?;
        if crc32(covered) ^ FINGERPRINT_XOR == told { Ok(()) } else { Err(StunError::BadFingerprint) }
    }

    /// Request, answer or indication.
    pub(crate) const fn class(&self) -> Class {
        self.class
    }

    /// Its transaction.
    pub(crate) const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// Whether it nominates (RFC 8445 §7.1.2).
    pub(crate) const fn has_use_candidate(&self) -> bool {
        self.has_use_candidate
    }

    /// The role its sender claims (RFC 8445 §7.1.3).
    pub(crate) const fn sender_role(&self) -> Option<IceRole> {
        self.sender_role
    }

    /// Whether USERNAME is `local:remote` (RFC 8445 §7.2.2); any remote part when it is not known yet.
    pub(crate) fn is_addressed_to(&self, local: &str, remote: Option<&str>) -> bool {
        let Some((ours, theirs)) =
            self.username.and_then(|u| u.strip_prefix(local.as_bytes())).and_then(<[u8]>::split_first)
        else {
            return false;
        };
        *ours == b':' && remote.is_none_or(|r| r.as_bytes() == theirs)
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with this password (RFC 8489 §14.5), compared in
    /// constant time.
    pub(crate) fn is_signed_by(&self, password: &str) -> bool {
        let Some(at) = self.integrity_at else { return false };
        let (Some(covered), Some(tag)) = (
            self.bytes.get(..at),
            self.bytes.get(at.saturating_add(4)..).and_then(|b| b.get(..INTEGRITY_LEN)),
        ) else {
            return false;
        };
        integrity(covered, password).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    }
}

/// Whether a datagram is of the STUN kind (RFC 7983 §7).
pub(crate) fn is_stun(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0..=3))
}

/// Whether a datagram is of the DTLS kind (RFC 7983 §7).
pub(crate) fn is_dtls(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(20..=63))
}

/// The answer to a check: the address it came from, signed with our own password (RFC 8445 §7.3).
pub(crate) fn binding_success(transaction: TransactionId, mapped: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = Builder::new(BINDING_SUCCESS, transaction);
    message.xor_mapped_address(mapped);
    message.finish(password)
}

/// The answer to a check whose sender claims the role that is ours (RFC 8445 §7.3.1.1): 487, without the words, so that
/// it is shorter than any check.
pub(crate) fn role_conflict(transaction: TransactionId, password: &str) -> Vec<u8> {
    error_answer(transaction, 4, 87, password)
}

fn error_answer(transaction: TransactionId, class: u8, number: u8, password: &str) -> Vec<u8> {
    let mut message = Builder::new(BINDING_ERROR, transaction);
    message.attribute(ERROR_CODE, &[0, 0, class, number]);
    message.finish(password)
}

/// A consent request (RFC 7675 §5.1): no role, no PRIORITY, no USE-CANDIDATE, because a role attribute can
/// make a browser change its own.
pub(crate) fn consent_request(transaction: TransactionId, username: &str, password: &str) -> Vec<u8> {
    let mut message = Builder::new(BINDING_REQUEST, transaction);
    message.attribute(USERNAME, username.as_bytes());
    message.finish(password)
}

/// Writes a message attribute by attribute.
pub(crate) struct Builder(Vec<u8>);

impl Builder {
    fn new(kind: u16, transaction: TransactionId) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&MAGIC_COOKIE);
        bytes.extend_from_slice(&transaction);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        // the values we write are usernames, addresses and tags, all far below 64 KiB
        let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
        let value = value.get(..usize::from(len)).unwrap_or(value);
        self.0.extend_from_slice(&kind.to_be_bytes());
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.set_len(0);
    }

    /// Writes the length field as if `more` bytes followed.
    fn set_len(&mut self, more: usize) {
        let len = self.0.len().saturating_sub(HEADER_LEN).saturating_add(more);
        let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
        if let Some(field) = self.0.get_mut(2..4) {
            field.copy_from_slice(&len);
        }
    }

    /// RFC 8489 §14.2.
    fn xor_mapped_address(&mut self, address: SocketAddr) {
        let mut value = Vec::with_capacity(20);
        let port = address.port() ^ u16::from_be_bytes([MAGIC_COOKIE[0], MAGIC_COOKIE[1]]);
        let family: u8 = if address.is_ipv4() { 1 } else { 2 };
        value.extend_from_slice(&[0, family]);
        value.extend_from_slice(&port.to_be_bytes());
        // cookie and transaction stand side by side in the header
        let mask: Vec<u8> = self.0.iter().skip(4).take(16).copied().collect();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => value.extend(ip.octets().iter().zip(&mask).map(|(a, m)| a ^ m)),
            IpAddr::V6(ip) => value.extend(ip.octets().iter().zip(&mask).map(|(a, m)| a ^ m)),
        }
        self.attribute(XOR_MAPPED_ADDRESS, &value);
    }

    /// Signs, adds FINGERPRINT and gives the bytes.
    fn finish(mut self, password: &str) -> Vec<u8> {
        if let Some(mac) = integrity(&self.0, password) {
            self.attribute(MESSAGE_INTEGRITY, &mac.finalize().into_bytes());
        }
        self.set_len(8);
        let crc = crc32(&self.0) ^ FINGERPRINT_XOR;
        self.attribute(FINGERPRINT, &crc.to_be_bytes());
        self.0
    }
}

/// HMAC-SHA1 over a message up to its MESSAGE-INTEGRITY, the length field counting that attribute.
fn integrity(covered: &[u8], password: &str) -> Option<Hmac<Sha1>> {
    let len = covered.len().checked_sub(HEADER_LEN)?.checked_add(4 + INTEGRITY_LEN)?;
    let mut mac = Hmac::<Sha1>::new_from_slice(password.as_bytes()).ok()?;
    mac.update(covered.get(..2)?);
    mac.update(&u16::try_from(len).ok()?.to_be_bytes());
    mac.update(covered.get(4..)?);
    Some(mac)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

/// CRC-32 of ITU-T V.42, as FINGERPRINT uses it.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = crc_table();
    let step = |crc: u32, nibble: u8| {
        let i = usize::from((crc.to_le_bytes()[0] ^ nibble) & 15);
        (crc >> 4) ^ TABLE.get(i).copied().unwrap_or(0)
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| step(step(crc, byte & 15), byte >> 4))
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the index")]
#[expect(clippy::cast_possible_truncation, reason = "the index is below 16")]
const fn crc_table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// A check as the other side sends it, for the tests of this folder.
#[cfg(test)]
pub(crate) fn check_request(
    transaction: TransactionId,
    username: &str,
    role: IceRole,
    nominates: bool,
    password: &str,
) -> Vec<u8> {
    let mut message = Builder::new(BINDING_REQUEST, transaction);
    message.attribute(USERNAME, username.as_bytes());
    let kind = if role == IceRole::Controlling { ICE_CONTROLLING } else { ICE_CONTROLLED };
    message.attribute(kind, &[7; 8]);
    if nominates {
        message.attribute(USE_CANDIDATE, &[]);
    }
    message.finish(password)
}

/// An error answer, for the tests of this folder.
#[cfg(test)]
pub(crate) fn error_response(transaction: TransactionId, code: u16, password: &str) -> Vec<u8> {
    let [class, number] = [code / 100, code % 100].map(|n| u8::try_from(n).unwrap_or(0));
    error_answer(transaction, class, number, password)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "random values are meant to be cut")]
mod tests {
    use super::*;
    use crate::base::Seed;

    const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
    const TRANSACTION: TransactionId =
        [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn hex(text: &str) -> Vec<u8> {
        text.split_ascii_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
    }

    fn sample_request() -> Vec<u8> {
        hex(
            "00 01 00 58 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae 80 22 00 10 53 54 55 4e 20 74 65 73 \
             74 20 63 6c 69 65 6e 74 00 24 00 04 6e 00 01 ff 80 29 00 08 93 2f f9 b1 51 26 3b 36 00 06 00 09 \
             65 76 74 6a 3a 68 36 76 59 20 20 20 00 08 00 14 9a ea a7 0c bf d8 cb 56 78 1e f2 b5 b2 d3 f2 49 \
             c1 b5 71 a2 80 28 00 04 e5 7a 3b cf",
        )
    }

    fn sample_ipv4_response() -> Vec<u8> {
        hex(
            "01 01 00 3c 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae 80 22 00 0b 74 65 73 74 20 76 65 63 \
             74 6f 72 20 00 20 00 08 00 01 a1 47 e1 12 a6 43 00 08 00 14 2b 91 f5 99 fd 9e 90 c3 8c 74 89 f9 \
             2a f9 ba 53 f0 6b e7 d7 80 28 00 04 c0 7d 4c 96",
        )
    }

    fn sample_ipv6_response() -> Vec<u8> {
        hex(
            "01 01 00 48 21 12 a4 42 b7 e7 a7 01 bc 34 d6 86 fa 87 df ae 80 22 00 0b 74 65 73 74 20 76 65 63 \
             74 6f 72 20 00 20 00 14 00 02 a1 47 01 13 a9 fa a5 d3 f1 79 bc 25 f4 b5 be d2 b9 d9 00 08 00 14 \
             a3 82 95 4e 4b e6 7b f1 17 84 c9 7c 82 92 c2 75 bf e3 ed 41 80 28 00 04 c8 fb 0b 4c",
        )
    }

    #[test]
    fn the_sample_request_of_rfc5769_2_1_is_read_and_its_integrity_verified() {
        let bytes = sample_request();
        let view = View::parse(&bytes).unwrap();
        assert_eq!((view.class(), view.transaction()), (Class::Request, TRANSACTION));
        assert!(view.is_addressed_to("evtj", Some("h6vY")) && view.is_addressed_to("evtj", None));
        assert!(!view.is_addressed_to("evt", None) && !view.is_addressed_to("evtj", Some("h6v")));
        assert_eq!(view.sender_role(), Some(IceRole::Controlled));
        assert!(!view.has_use_candidate());
        assert!(view.is_signed_by(PASSWORD) && !view.is_signed_by("VOkJxbRl1RmTxUk/WvJxBu"));
    }

    #[test]
    fn the_sample_responses_of_rfc5769_2_2_and_2_3_verify() {
        for bytes in [sample_ipv4_response(), sample_ipv6_response()] {
            let view = View::parse(&bytes).unwrap();
            assert_eq!(view.class(), Class::Success);
            assert!(view.is_signed_by(PASSWORD));
        }
    }

    /// The samples carry a SOFTWARE attribute, ours do not: the mapped address is what can be compared.
    #[test]
    fn our_answers_carry_the_mapped_addresses_of_rfc5769_2_2_and_2_3() {
        let v4 = binding_success(TRANSACTION, "192.0.2.1:32853".parse().unwrap(), PASSWORD);
        assert_eq!(v4.get(20..32), Some(sample_ipv4_response().get(36..48).unwrap()));
        let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = binding_success(TRANSACTION, address, PASSWORD);
        assert_eq!(v6.get(20..44), Some(sample_ipv6_response().get(36..60).unwrap()));
        for bytes in [v4, v6] {
            assert!(View::parse(&bytes).unwrap().is_signed_by(PASSWORD));
            let mut decoded = stun::message::Message { raw: bytes, ..Default::default() };
            decoded.decode().unwrap();
            let key = stun::integrity::MessageIntegrity::new_short_term_integrity(PASSWORD.to_owned());
            key.check(&mut decoded).unwrap();
            stun::fingerprint::FINGERPRINT.check(&decoded).unwrap();
        }
    }

    #[test]
    fn a_consent_request_has_username_integrity_and_fingerprint_and_nothing_else_rfc7675_5_1() {
        let bytes = consent_request(TRANSACTION, "remote:local", PASSWORD);
        let view = View::parse(&bytes).unwrap();
        assert!(view.is_addressed_to("remote", Some("local")) && view.is_signed_by(PASSWORD));
        assert_eq!((view.sender_role(), view.has_use_candidate()), (None, false));
        assert_eq!(bytes.len(), 20 + 16 + 24 + 8, "header, USERNAME, MESSAGE-INTEGRITY, FINGERPRINT");
        assert_eq!(be16(&bytes, bytes.len() - 8), Some(FINGERPRINT));
    }

    #[test]
    fn an_attribute_behind_the_integrity_says_nothing_rfc8489_14_5() {
        let mut bytes = sample_request();
        bytes.truncate(bytes.len() - 8);
        bytes.extend_from_slice(&[0, 0x25, 0, 0]);
        bytes[3] = (bytes.len() - 20) as u8;
        assert!(!View::parse(&bytes).unwrap().has_use_candidate());
    }

    #[test]
    fn wrong_lengths_cookies_and_fingerprints_are_refused() {
        let good = sample_request();
        for cut in 0..good.len() {
            assert!(View::parse(&good[..cut]).is_err(), "{cut}");
        }
        let mut longer = good.clone();
        longer.push(0);
        assert_eq!(View::parse(&longer).unwrap_err(), StunError::Malformed);
        let mut other = good.clone();
        other[107] ^= 1;
        assert_eq!(View::parse(&other).unwrap_err(), StunError::BadFingerprint);
        let mut cookie = good;
        cookie[4] ^= 1;
        assert_eq!(View::parse(&cookie).unwrap_err(), StunError::NotBinding);
    }

    /// A message changed before its MESSAGE-INTEGRITY's end is refused or does not verify; nothing panics.
    #[test]
    fn random_changes_never_panic_and_never_verify() {
        let mut seed = Seed::from_number(5769);
        for sample in [sample_request(), sample_ipv4_response(), sample_ipv6_response()] {
            for _ in 0..60_000 {
                let mut bytes = sample.clone();
                for _ in 0..=seed.below(3) {
                    let at = seed.below(bytes.len() as u64) as usize;
                    bytes[at] = seed.next_u32() as u8;
                }
                if seed.below(4) == 0 {
                    bytes.truncate(seed.below(bytes.len() as u64 + 1) as usize);
                }
                let signed = sample.len() - 8;
                let changed = bytes.get(..signed) != sample.get(..signed);
                if let Ok(view) = View::parse(&bytes) {
                    assert!(!changed || !view.is_signed_by(PASSWORD), "{bytes:02x?}");
                }
            }
        }
    }
}
