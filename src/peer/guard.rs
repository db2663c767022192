//! What stands before the DTLS engine: only records that cannot end, stall or crash it come through
//! (RFC 6347 §4.1.2.7: invalid records are silently dropped).
//!
//! [`RecordGuard`] looks at every record of a datagram with lengths checked, and gives back the ones the
//! engine may see. [`LastFlight`] keeps the last datagrams of a DTLS server and says when to repeat them
//! (RFC 6347 §4.2.4), which the engine does not.
//!
//! Before the handshake is done the engine ends it on a plaintext alert, on application data in epoch 0 and
//! on a strange ChangeCipherSpec; many small fragments overflow its stack; an empty ServerKeyExchange or
//! ClientKeyExchange makes it panic. A message that it does not expect takes the number of the one it waits for, and
//! the handshake stands still. None of these come through, as far as they are told from what the far side sends
//! in its role; a forged message of a kind that it does send is not (a plaintext handshake proves nobody).
//! Encrypted records are only bounded, in size and number.

use super::DtlsRole;
use std::time::{Duration, Instant};

const RECORD_HEADER_LEN: usize = 13;
const HANDSHAKE_HEADER_LEN: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
// handshake messages (RFC 5246 §7.4, RFC 6347 §4.3.2)
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_VERIFY: u8 = 15;
const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Datagrams and bytes that a handshake may take from the network.
const DATAGRAM_LIMIT: u32 = 256;
const BYTE_LIMIT: usize = 256 * 1024;
/// A fragment that is not the end of its message is at least this long: no stack sends shorter ones.
const FRAGMENT_MIN: u32 = 64;
/// A message is at most this long: a chain of RSA certificates fits, and its fragments cannot nest deep.
const MESSAGE_LIMIT: u32 = 32 * 1024;
/// A handshake has far fewer messages; the engine keeps those that come early.
const SEQUENCE_LIMIT: u16 = 24;
/// Encrypted records hold a Finished (at most 80 bytes with any cipher suite we offer), or an alert.
const ENCRYPTED_LIMIT: usize = 96;
/// Encrypted records in all: what could be hidden fragments inside stays below any stack.
const ENCRYPTED_COUNT_LIMIT: u32 = 300;

/// Why a record, or a whole datagram, was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A length does not fit, or the record is of no known kind or version.
    Malformed,
    /// A kind that has no place in an unfinished handshake: plaintext alert, application data, a
    /// ChangeCipherSpec of another form, a handshake message that the far side never sends in its role.
    OutOfPlace,
    /// A handshake fragment of a form that no honest stack sends.
    Fragment,
    /// A key exchange message too short to be one.
    KeyExchange,
    /// The handshake had its share of datagrams, bytes or encrypted records.
    Budget,
}

/// Type and length of a message, as its first fragment told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    kind: u8,
    len: u32,
}

/// Checks the datagrams of one handshake.
#[derive(Debug)]
pub(crate) struct RecordGuard {
    /// Ours.
    role: DtlsRole,
    datagrams: u32,
    bytes: usize,
    encrypted: u32,
    messages: Vec<(u16, Message)>,
    refused: u32,
}

impl RecordGuard {
    /// For a handshake in which this is our role.
    pub(crate) const fn new(role: DtlsRole) -> Self {
        Self { role, datagrams: 0, bytes: 0, encrypted: 0, messages: Vec::new(), refused: 0 }
    }

    /// The records of a datagram that the engine may see, in their order.
    ///
    /// # Errors
    /// The reason the first record was refused for, when none is left.
    pub(crate) fn filter(&mut self, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
        let bytes = self.bytes.saturating_add(datagram.len());
        if self.datagrams >= DATAGRAM_LIMIT || bytes > BYTE_LIMIT {
            return Err(Refused::Budget);
        }
        self.datagrams = self.datagrams.saturating_add(1);
        self.bytes = bytes;
        let mut passed = Vec::with_capacity(datagram.len());
        let mut first_refusal = None;
        let mut rest = datagram;
        while !rest.is_empty() {
            let Some((record, tail)) = split_record(rest) else {
                first_refusal.get_or_insert(Refused::Malformed);
                break;
            };
            match self.check(record) {
                Ok(()) => passed.extend_from_slice(record),
                Err(refused) => {
                    self.refused = self.refused.saturating_add(1);
                    first_refusal.get_or_insert(refused);
                }
            }
            rest = tail;
        }
        if passed.is_empty() { Err(first_refusal.unwrap_or(Refused::Malformed)) } else { Ok(passed) }
    }

    /// Records refused so far.
    pub(crate) const fn refused(&self) -> u32 {
        self.refused
    }

    fn check(&mut self, record: &[u8]) -> Result<(), Refused> {
        let (header, body) = record.split_at_checked(RECORD_HEADER_LEN).ok_or(Refused::Malformed)?;
        let [kind, 0xfe, 0xff | 0xfd, epoch_high, epoch_low, ..] = header else {
            return Err(Refused::Malformed);
        };
        match (u16::from_be_bytes([*epoch_high, *epoch_low]), *kind) {
            (0, HANDSHAKE) => self.check_messages(body),
            (0, CHANGE_CIPHER_SPEC) if body == [1] => Ok(()),
            (0, _) => Err(Refused::OutOfPlace),
            (1, HANDSHAKE | ALERT) if body.len() <= ENCRYPTED_LIMIT => {
                self.encrypted = self.encrypted.saturating_add(1);
                if self.encrypted > ENCRYPTED_COUNT_LIMIT { Err(Refused::Budget) } else { Ok(()) }
            }
            _ => Err(Refused::OutOfPlace),
        }
    }

    /// Every handshake message or fragment of a plaintext record (RFC 6347 §4.2.2).
    fn check_messages(&mut self, body: &[u8]) -> Result<(), Refused> {
        if body.is_empty() {
            return Err(Refused::Malformed);
        }
        let mut rest = body;
        let mut told = Vec::new();
        while !rest.is_empty() {
            let (header, data) = rest.split_at_checked(HANDSHAKE_HEADER_LEN).ok_or(Refused::Malformed)?;
            let fields: &[u8; HANDSHAKE_HEADER_LEN] = header.try_into().map_err(|_| Refused::Malformed)?;
            let [kind, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = *fields;
            if !is_sent_to(self.role, kind) {
                return Err(Refused::OutOfPlace);
            }
            let len = u32::from_be_bytes([0, l0, l1, l2]);
            let sequence = u16::from_be_bytes([s0, s1]);
            let offset = u32::from_be_bytes([0, o0, o1, o2]);
            let fragment = u32::from_be_bytes([0, f0, f1, f2]);
            let end = offset.saturating_add(fragment);
            if len > MESSAGE_LIMIT || end > len || sequence >= SEQUENCE_LIMIT {
                return Err(Refused::Fragment);
            }
            let here = usize::try_from(fragment).map_err(|_| Refused::Fragment)?;
            if fragment == len {
                // a whole message; another may follow it
                rest = data.get(here..).ok_or(Refused::Fragment)?;
            } else {
                // the engine takes all that is left of the record for this fragment
                let is_end = end == len && fragment > 0;
                if data.len() != here || (fragment < FRAGMENT_MIN && !is_end) {
                    return Err(Refused::Fragment);
                }
                rest = &[];
            }
            if matches!(kind, SERVER_KEY_EXCHANGE | CLIENT_KEY_EXCHANGE) && len < 4 {
                return Err(Refused::KeyExchange);
            }
            told.push((sequence, Message { kind, len }));
        }
        // fragments of one message agree on what it is; else the engine would put one together that
        // nobody looked at
        let conflicts = |known: &[(u16, Message)]| {
            told.iter().any(|(s, m)| known.iter().any(|(known_s, known)| s == known_s && m != known))
        };
        if conflicts(&told) || conflicts(&self.messages) {
            return Err(Refused::Fragment);
        }
        for (sequence, message) in told {
            if !self.messages.iter().any(|(s, _)| *s == sequence) {
                self.messages.push((sequence, message));
            }
        }
        Ok(())
    }
}

/// Whether the far side sends messages of this kind, in plaintext, to us in this role (RFC 5246 §7.4).
///
/// Nobody sends a HelloRequest here: nothing is negotiated anew, and before the handshake is done it says nothing. A Finished
/// comes behind a ChangeCipherSpec and so encrypted (§7.4.9). A NewSessionTicket and a CertificateStatus answer
/// extensions that our hello does not have (RFC 5077 §3.2, RFC 6066 §8).
const fn is_sent_to(role: DtlsRole, kind: u8) -> bool {
    match role {
        DtlsRole::Server => {
            matches!(kind, CLIENT_HELLO | CERTIFICATE | CERTIFICATE_VERIFY | CLIENT_KEY_EXCHANGE)
        }
        DtlsRole::Client => matches!(
            kind,
            SERVER_HELLO
                | HELLO_VERIFY_REQUEST
                | CERTIFICATE
                | SERVER_KEY_EXCHANGE
                | CERTIFICATE_REQUEST
                | SERVER_HELLO_DONE
        ),
    }
}

/// The first record of a datagram and what follows.
fn split_record(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = datagram.get(11..RECORD_HEADER_LEN)?.first_chunk().map(|b| u16::from_be_bytes(*b))?;
    datagram.split_at_checked(RECORD_HEADER_LEN.checked_add(usize::from(len))?)
}

/// Datagrams of a last flight that are kept, and their bytes.
const FLIGHT_LIMIT: usize = 4;
const FLIGHT_BYTES_LIMIT: usize = 4 * 1024;
/// Shortest time between two repetitions: an attacker cannot make us a source of packets.
const REPEAT_INTERVAL: Duration = Duration::from_millis(20);

/// The last flight of a DTLS server (ChangeCipherSpec and Finished), kept because the client repeats its own
/// last flight until it has seen it (RFC 6347 §4.2.4, figure 3).
#[derive(Debug, Default)]
pub(crate) struct LastFlight {
    datagrams: Vec<Vec<u8>>,
    repeated_at: Option<Instant>,
}

impl LastFlight {
    /// Looks at a datagram we send: the flight starts with the first that begins with ChangeCipherSpec.
    pub(crate) fn record(&mut self, datagram: &[u8]) {
        let starts = datagram.first() == Some(&CHANGE_CIPHER_SPEC);
        let kept: usize = self.datagrams.iter().map(Vec::len).sum();
        let fits =
            self.datagrams.len() < FLIGHT_LIMIT && kept.saturating_add(datagram.len()) <= FLIGHT_BYTES_LIMIT;
        if (starts || !self.datagrams.is_empty()) && fits {
            self.datagrams.push(datagram.to_vec());
        }
    }

    /// A datagram came after completion; the flight when it asks for it, that is when it holds the other
    /// side's last flight again.
    pub(crate) fn repeat(&mut self, now: Instant, datagram: &[u8]) -> &[Vec<u8>] {
        let asks = matches!(datagram.first(), Some(&(CHANGE_CIPHER_SPEC | HANDSHAKE)));
        if !asks || self.repeated_at.is_some_and(|at| now.saturating_duration_since(at) < REPEAT_INTERVAL) {
            return &[];
        }
        self.repeated_at = Some(now);
        &self.datagrams
    }
}

/// The random of the ClientHello that a datagram begins with (RFC 6347 §4.2.1), if it begins with one: it tells one
/// handshake from another.
pub(crate) fn client_random(datagram: &[u8]) -> Option<[u8; 32]> {
    let (record, rest) = datagram.split_at_checked(RECORD_HEADER_LEN)?;
    let (handshake, body) = rest.split_at_checked(HANDSHAKE_HEADER_LEN)?;
    // in epoch 0, and from the message's beginning
    let is_hello = matches!(record, [HANDSHAKE, 0xfe, _, 0, 0, ..])
        && matches!(handshake, [CLIENT_HELLO, _, _, _, _, _, 0, 0, 0, ..]);
    body.get(2..34).filter(|_| is_hello)?.try_into().ok()
}

/// Whether a datagram begins with a DTLS alert (it is no hang-up: a stranger can write one in plaintext).
pub(crate) fn is_alert(datagram: &[u8]) -> bool {
    datagram.first() == Some(&ALERT)
}

#[cfg(test)]
#[path = "guard_tests.rs"]
#[expect(clippy::cast_possible_truncation, reason = "random values are meant to be cut")]
mod tests;
