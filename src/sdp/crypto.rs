//! `a=crypto` (RFC 4568): the key and the way of SRTP, in the description itself.
//!
//! Every key that is written is read; which lines are of use is for the reader to say. Keys are wiped when they are
//! dropped and do not show in debug output.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::fmt;
use zeroize::Zeroizing;

/// Some write no padding (RFC 4568 §6.1 has the base64 of RFC 3548, with it).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Keys and session parameters of one line; nobody writes as many.
const MAX_KEYS: usize = 16;
const MAX_PARAMETERS: usize = 16;

/// One `a=crypto` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// By which the answer names the line that it takes (RFC 4568 §4.1).
    pub tag: u32,
    /// Crypto-suite, as written.
    pub suite: String,
    /// Keys, at least one; more than one needs an MKI to tell them apart.
    pub keys: Vec<CryptoKey>,
    /// Session parameters, as written.
    pub parameters: Vec<String>,
}

/// A key of the method `inline` (RFC 4568 §6.1).
#[derive(Clone, PartialEq, Eq)]
pub struct CryptoKey {
    /// Master key, and behind it the master salt.
    pub key_and_salt: Zeroizing<Vec<u8>>,
    /// Packets that it may protect; more than 2^63 read as that.
    pub lifetime: Option<u64>,
    /// Whether packets carry a master key identifier.
    pub has_mki: bool,
}

impl fmt::Debug for CryptoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CryptoKey").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl Crypto {
    /// A line with one key and nothing besides.
    #[must_use]
    pub fn new(tag: u32, suite: &str, key_and_salt: Zeroizing<Vec<u8>>) -> Self {
        let key = CryptoKey { key_and_salt, lifetime: None, has_mki: false };
        Self { tag, suite: suite.to_owned(), keys: vec![key], parameters: Vec::new() }
    }

    /// The attribute's value; lifetimes and MKIs, which ours have none of, are left out.
    #[must_use]
    pub fn value(&self) -> String {
        let keys: Vec<String> =
            self.keys.iter().map(|k| format!("inline:{}", BASE64.encode(&*k.key_and_salt))).collect();
        let parameters = self.parameters.iter().map(String::as_str);
        let keys = keys.join(";");
        let words: Vec<&str> = [self.suite.as_str(), &keys].into_iter().chain(parameters).collect();
        format!("{} {}", self.tag, words.join(" "))
    }
}

/// `<tag> <suite> inline:<key>[|lifetime][|MKI:length][;inline:…] [parameter …]`; none when it is anything else.
pub(super) fn parse_crypto(value: &str) -> Option<Crypto> {
    let mut words = value.split_ascii_whitespace();
    let tag = words.next().filter(|t| t.len() <= 9 && t.bytes().all(|b| b.is_ascii_digit()))?;
    let suite = words.next()?.to_owned();
    let keys = words.next()?.split(';').take(MAX_KEYS + 1).map(parse_key).collect::<Option<Vec<_>>>()?;
    let parameters: Vec<String> = words.take(MAX_PARAMETERS + 1).map(str::to_owned).collect();
    (keys.len() <= MAX_KEYS && parameters.len() <= MAX_PARAMETERS).then_some(Crypto {
        tag: tag.parse().ok()?,
        suite,
        keys,
        parameters,
    })
}

fn parse_key(text: &str) -> Option<CryptoKey> {
    let (method, info) = text.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = info.split('|');
    let key_and_salt = Zeroizing::new(BASE64.decode(parts.next()?).ok().filter(|k| !k.is_empty())?);
    let mut key = CryptoKey { key_and_salt, lifetime: None, has_mki: false };
    for part in parts {
        // both may be missing; the colon tells them apart
        match part.split_once(':') {
            Some((mki, length)) if is_number(mki) && is_number(length) && !key.has_mki => key.has_mki = true,
            None if key.lifetime.is_none() && !key.has_mki => key.lifetime = Some(parse_lifetime(part)?),
            _ => return None,
        }
    }
    Some(key)
}

/// A number, or a power of two as `2^48`.
fn parse_lifetime(text: &str) -> Option<u64> {
    match text.strip_prefix("2^") {
        Some(power) if is_number(power) && power.len() <= 3 => {
            Some(1_u64.checked_shl(power.parse().ok()?).unwrap_or(1 << 63))
        }
        None if is_number(text) => Some(text.parse().unwrap_or(1 << 63)),
        _ => None,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;

    /// RFC 4568 §6.1 and §4: the examples' key, of 30 bytes.
    const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    fn parse(value: &str) -> Option<Crypto> {
        parse_crypto(value)
    }

    #[test]
    fn the_line_of_rfc_4568_4_is_read_with_its_key_lifetime_and_mki() {
        let line = parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:32")).unwrap();
        assert_eq!((line.tag, line.suite.as_str()), (1, "AES_CM_128_HMAC_SHA1_80"));
        let [key] = &line.keys[..] else { panic!() };
        assert_eq!(key.key_and_salt.as_slice(), b"=-n@%^x!Bjufr9)?,#5h\\`=&]{qiPQ");
        assert_eq!((key.lifetime, key.has_mki), (Some(1 << 20), true));
        assert!(line.parameters.is_empty());
    }

    #[test]
    fn lifetime_and_mki_may_each_be_missing_and_more_keys_and_parameters_follow() {
        let key = |tail: &str| parse(&format!("1 S inline:{KEY}{tail}")).map(|c| c.keys[0].clone());
        let parts = |tail: &str| key(tail).map(|k| (k.lifetime, k.has_mki));
        assert_eq!(parts(""), Some((None, false)));
        assert_eq!(parts("|1000"), Some((Some(1_000), false)));
        assert_eq!(parts("|1:4"), Some((None, true)));
        assert_eq!(parts("|2^48"), Some((Some(1 << 48), false)));
        assert_eq!(parts("|2^999"), Some((Some(1 << 63), false)));
        assert_eq!(parts("|99999999999999999999999"), Some((Some(1 << 63), false)));
        for bad in ["|", "|x", "|2^", "|1:", "|:1", "|1:4|2^20", "|2^20|2^20", "|1:1|1:1", "|a:b", "|2^+5"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
        let many = parse(&format!("7 S inline:{KEY}|1:1;inline:{KEY}|2:1 KDR=1 WSH=64")).unwrap();
        assert_eq!((many.tag, many.keys.len()), (7, 2));
        assert_eq!(many.parameters, ["KDR=1", "WSH=64"]);
    }

    #[test]
    fn what_is_no_crypto_line_is_none() {
        let long = format!("1 S inline:{KEY}{}", format!(";inline:{KEY}").repeat(MAX_KEYS));
        let many = format!("1 S inline:{KEY}{}", " A=1".repeat(MAX_PARAMETERS + 1));
        for bad in [
            "",
            "1",
            "1 S",
            "x S inline:AAAA",
            "-1 S inline:AAAA",
            "1234567890 S inline:AAAA",
            "1 S uri:AAAA",
            "1 S inline",
            "1 S inline:",
            "1 S inline:*",
            "1 S inline:AAAA;",
            &long,
            &many,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        // neither the padding nor the case of the method decides
        assert!(parse("1 S inline:AA==").is_some() && parse("1 S INLINE:AA").is_some());
    }

    #[test]
    fn what_is_printed_reads_back_and_no_key_shows_in_debug_output() {
        let line = Crypto::new(3, "AEAD_AES_128_GCM", Zeroizing::new((100..128).collect()));
        assert_eq!(parse(&line.value()), Some(line.clone()));
        let shown = format!("{line:?}");
        assert!(shown.contains("AEAD_AES_128_GCM") && !shown.contains("100"), "{shown}");
    }

    #[test]
    fn mutated_lines_never_panic_and_what_is_read_prints_and_reads_again() {
        let mut seed = Seed::from_number(4568);
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2:4 KDR=1 -X");
        let mut passed = 0;
        for _ in 0..50_000 {
            let mut bytes = line.as_bytes().to_vec();
            for _ in 0..=seed.below(3) {
                let at = seed.below(bytes.len() as u64) as usize;
                match seed.below(3) {
                    0 => bytes[at] = seed.next_u32() as u8,
                    1 => drop(bytes.drain(at..(at + 7).min(bytes.len()))),
                    _ => bytes.insert(at, b"|:;^ =29"[seed.below(8) as usize]),
                }
            }
            if let Some(read) = parse(&String::from_utf8_lossy(&bytes)) {
                passed += 1;
                let again = parse(&read.value()).unwrap();
                assert_eq!(
                    (again.tag, &again.suite, &again.parameters),
                    (read.tag, &read.suite, &read.parameters)
                );
                let keys = |c: &Crypto| c.keys.iter().map(|k| k.key_and_salt.clone()).collect::<Vec<_>>();
                assert_eq!(keys(&again), keys(&read));
            }
        }
        assert!(passed > 5_000, "{passed}");
    }
}
