//! SRTP keys in descriptions (RFC 4568): the lines that we write and those of the far side that are served.
//!
//! Each side names the key of what it sends. Served are lines with one key and no MKI; a lifetime is taken note of by
//! nobody, for no call lasts as long as the shortest that is written. `WSH` and extensions that need not be understood
//! (§6.3.7) are passed over; a line with any other session parameter is not served, since it changes what
//! stands on the wire: `KDR` other than 0, `UNENCRYPTED_SRTP` and its like, `FEC_ORDER`.

use crate::base::Seed;
use crate::peer::{MasterKey, SrtpProfile};
use crate::sdp::{Attribute, Crypto, Media};
use std::fmt;
use zeroize::Zeroizing;

/// A line of ours: the key of what we send.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnCrypto {
    /// Its number among those of one offer.
    pub tag: u32,
    /// Its crypto-suite.
    pub profile: SrtpProfile,
    /// Never that of another stream: the same key twice gives away what it protects.
    pub key: MasterKey,
}

/// A line of the far side that is served: the key of what it sends.
#[derive(Clone, PartialEq, Eq)]
pub struct FarCrypto {
    /// Its number among those of one offer.
    pub tag: u32,
    /// Its crypto-suite.
    pub profile: SrtpProfile,
    /// Its key.
    pub key: MasterKey,
}

impl fmt::Debug for OwnCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnCrypto({} {})", self.tag, self.profile.name())
    }
}

impl fmt::Debug for FarCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FarCrypto({} {})", self.tag, self.profile.name())
    }
}

impl OwnCrypto {
    /// A line with a fresh key.
    #[must_use]
    pub fn random(tag: u32, profile: SrtpProfile, seed: &mut Seed) -> Self {
        let mut key = Zeroizing::new(vec![0; profile.key_len()]);
        let mut salt = Zeroizing::new(vec![0; profile.salt_len()]);
        seed.fill(&mut key);
        seed.fill(&mut salt);
        Self { tag, profile, key: MasterKey { key, salt } }
    }

    /// A line for each of these, with a key of its own (RFC 4568 §6.1), in their order.
    #[must_use]
    pub fn offer(profiles: &[SrtpProfile], seed: &mut Seed) -> Vec<Self> {
        (1..).zip(profiles).map(|(tag, profile)| Self::random(tag, *profile, seed)).collect()
    }

    pub(super) fn attribute(&self) -> Attribute {
        let key_and_salt = [self.key.key.as_slice(), self.key.salt.as_slice()].concat();
        let line = Crypto::new(self.tag, self.profile.name(), Zeroizing::new(key_and_salt));
        Attribute::new("crypto", line.value())
    }
}

/// The first line of an offer that is served, the far side's order being that of its preference (RFC 4568 §5.1.1).
pub(super) fn choose(media: &Media, served: &[SrtpProfile]) -> Option<FarCrypto> {
    media.cryptos().iter().find_map(|line| read(line, served))
}

/// The line of an answer, which must be one of ours by its tag and suite (RFC 4568 §5.1.3).
pub(super) fn answered(media: &Media, ours: &[OwnCrypto]) -> Option<FarCrypto> {
    let lines = media.cryptos();
    let [line] = lines.as_slice() else { return None };
    let asked = ours.iter().find(|o| o.tag == line.tag)?;
    read(line, &[asked.profile])
}

fn read(line: &Crypto, served: &[SrtpProfile]) -> Option<FarCrypto> {
    let profile = served.iter().copied().find(|p| p.name() == line.suite)?;
    let [key] = line.keys.as_slice() else { return None };
    if key.has_mki || !line.parameters.iter().all(|p| is_harmless(p)) {
        return None;
    }
    let (master, salt) = key.key_and_salt.split_at_checked(profile.key_len())?;
    (salt.len() == profile.salt_len()).then(|| FarCrypto {
        tag: line.tag,
        profile,
        key: MasterKey { key: Zeroizing::new(master.to_vec()), salt: Zeroizing::new(salt.to_vec()) },
    })
}

/// Whether a session parameter changes nothing for who does not know it.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=") || parameter == "KDR=0"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::SessionDescription;

    const ALL: [SrtpProfile; 3] =
        [SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80, SrtpProfile::AesCm128HmacSha1_32];
    /// 30 bytes, as AES-CM wants them.
    const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";

    fn media(lines: &[&str]) -> Media {
        let lines: String = lines.iter().map(|l| format!("a=crypto:{l}\r\n")).collect();
        let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/SAVP 0\r\n{lines}");
        SessionDescription::parse(&text).unwrap().media.remove(0)
    }

    fn tag(lines: &[&str]) -> Option<u32> {
        choose(&media(lines), &ALL).map(|c| c.tag)
    }

    #[test]
    fn the_first_line_that_is_served_is_taken_and_its_key_split_rfc4568_5_1_1() {
        let cm = format!("2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31");
        let short = format!("3 AES_CM_128_HMAC_SHA1_32 inline:{KEY}");
        let lines = ["1 F8_128_HMAC_SHA1_80 inline:AAAA", &cm, &short];
        let taken = choose(&media(&lines), &ALL).unwrap();
        assert_eq!((taken.tag, taken.profile), (2, SrtpProfile::AesCm128HmacSha1_80));
        assert_eq!(taken.key.key.as_slice(), b"=-n@%^x!Bjufr9)?");
        assert_eq!(taken.key.salt.as_slice(), b",#5h\\`=&]{qiPQ");
        assert_eq!(tag(&[&short, &cm]), Some(3));
        assert_eq!(choose(&media(&[&cm]), &ALL[..1]), None, "what is not wanted is not taken");
    }

    #[test]
    fn what_would_look_different_on_the_wire_is_not_served_rfc4568_6_3() {
        let line = |tail: &str| format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{tail}");
        for fine in ["", " WSH=64", " KDR=0", " -SOMETHING=new", "|2^20", "|1000 WSH=128"] {
            assert_eq!(tag(&[&line(fine)]), Some(1), "{fine}");
        }
        for bad in [
            "|1:4",
            "|2^20|1:4",
            &format!("|1:1;inline:{KEY}|2:1"),
            " KDR=1",
            " UNENCRYPTED_SRTP",
            " UNENCRYPTED_SRTCP",
            " UNAUTHENTICATED_SRTP",
            " FEC_ORDER=FEC_SRTP",
            " SOMETHING=new",
            "AAAA",
        ] {
            assert_eq!(tag(&[&line(bad)]), None, "{bad}");
        }
        assert_eq!(
            tag(&["1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0m"]),
            None,
            "too short"
        );
    }

    #[test]
    fn an_answer_names_one_of_our_lines_with_its_suite_rfc4568_5_1_3() {
        let ours = OwnCrypto::offer(&ALL, &mut Seed::from_number(1));
        let with = |lines: &[&str]| answered(&media(lines), &ours).map(|c| c.profile);
        let line = |tag: u32, suite: &str| format!("{tag} {suite} inline:{KEY}");
        assert_eq!(with(&[&line(2, "AES_CM_128_HMAC_SHA1_80")]), Some(SrtpProfile::AesCm128HmacSha1_80));
        assert_eq!(with(&[&line(3, "AES_CM_128_HMAC_SHA1_80")]), None, "another suite");
        assert_eq!(with(&[&line(4, "AES_CM_128_HMAC_SHA1_80")]), None, "no tag of ours");
        assert_eq!(with(&[]), None);
        let two = line(2, "AES_CM_128_HMAC_SHA1_80");
        assert_eq!(with(&[&two, &two]), None, "an answer has one line");
    }

    #[test]
    fn each_line_of_an_offer_has_a_key_of_its_own_that_is_read_back_and_not_shown() {
        let ours = OwnCrypto::offer(&ALL, &mut Seed::from_number(2));
        let tags: Vec<u32> = ours.iter().map(|o| o.tag).collect();
        assert_eq!(tags, [1, 2, 3]);
        assert!(ours[1].key != ours[2].key, "of the same length, and not the same");
        for own in &ours {
            let value = own.attribute().value.unwrap();
            let far = choose(&media(&[&value]), &ALL).unwrap();
            assert_eq!((far.tag, far.profile), (own.tag, own.profile));
            assert!(far.key == own.key);
            let shown = format!("{own:?} {far:?}");
            let secret = value.split("inline:").nth(1).unwrap();
            assert!(!shown.contains(secret) && shown.contains(own.profile.name()), "{shown}");
        }
    }
}
