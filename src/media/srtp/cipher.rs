//! The transforms: AES-CM with HMAC-SHA1, 80 or 32 bits of it (RFC 3711 §4.1.1, §4.2.1), and AES-GCM (RFC 7714 §8, §9).

use super::KeyError;
use crate::media::packet::PacketBuf;
use crate::media::stats::Drop;
use crate::peer::{MasterKey, SrtpProfile};
use aes::cipher::{BlockCipher, BlockEncrypt, InnerIvInit, KeyInit, StreamCipherCore, consts::U16};
use aes::{Aes128, Aes256};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const CM_TAG: usize = 10;
/// Tag of RTP where HMAC-SHA1 is cut to 32 bits; RTCP has the long one there too (RFC 4568 §6.2.2).
const CM_SHORT_TAG: usize = 4;
const GCM_TAG: usize = 16;
/// E flag and index behind an SRTCP payload.
const RTCP_WORD: usize = 4;
/// First bytes of an RTCP compound that stay readable.
const RTCP_CLEAR: usize = 8;
const ENCRYPTED: u32 = 0x8000_0000;

/// Session keys for RTP or for RTCP of one direction.
pub(super) enum Cipher {
    /// AES counter mode and HMAC-SHA1 with its two inner states computed once.
    Cm { aes: Box<Aes128>, mac: Box<Hmac<Sha1>>, salt: [u8; 14], rtp_tag: usize },
    /// AES-GCM.
    Gcm { key: Box<LessSafeKey>, salt: [u8; 12] },
}

impl Cipher {
    /// The session keys for RTP and RTCP (RFC 3711 §4.3.2: labels 0 to 2 and 3 to 5).
    pub(super) fn pair(profile: SrtpProfile, master: &MasterKey) -> Result<[Self; 2], KeyError> {
        if master.key.len() != profile.key_len() || master.salt.len() != profile.salt_len() {
            return Err(KeyError);
        }
        Ok([Self::derive(profile, master, 0)?, Self::derive(profile, master, 3)?])
    }

    fn derive(profile: SrtpProfile, master: &MasterKey, label: u8) -> Result<Self, KeyError> {
        match profile {
            SrtpProfile::AesCm128HmacSha1_80 | SrtpProfile::AesCm128HmacSha1_32 => {
                let is_short = profile == SrtpProfile::AesCm128HmacSha1_32;
                let aes =
                    Aes128::new_from_slice(derived::<16>(master, label)?.as_ref()).map_err(|_| KeyError)?;
                let mac = <Hmac<Sha1> as Mac>::new_from_slice(derived::<20>(master, label + 1)?.as_ref())
                    .map_err(|_| KeyError)?;
                Ok(Self::Cm {
                    aes: Box::new(aes),
                    mac: Box::new(mac),
                    salt: *derived::<14>(master, label + 2)?,
                    rtp_tag: if is_short { CM_SHORT_TAG } else { CM_TAG },
                })
            }
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                let key = if profile == SrtpProfile::AeadAes128Gcm {
                    UnboundKey::new(&AES_128_GCM, derived::<16>(master, label)?.as_ref())
                } else {
                    UnboundKey::new(&AES_256_GCM, derived::<32>(master, label)?.as_ref())
                };
                let key = Box::new(LessSafeKey::new(key.map_err(|_| KeyError)?));
                Ok(Self::Gcm { key, salt: *derived::<12>(master, label + 2)? })
            }
        }
    }

    /// Encrypts the payload behind `header_len` and appends the tag.
    pub(super) fn seal_rtp(
        &self,
        buf: &mut PacketBuf,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Drop> {
        let (header, payload) = buf.bytes_mut().split_at_mut_checked(header_len).ok_or(Drop::BadHeader)?;
        match self {
            Self::Cm { aes, mac, salt, rtp_tag } => {
                count_mode(aes.as_ref(), cm_iv(salt, ssrc, index), payload);
                let tag = cm_tag(mac, buf.bytes(), &rollover(index));
                let tag = tag.get(..*rtp_tag).ok_or(Drop::BadHeader)?;
                buf.append(tag).then_some(()).ok_or(Drop::BadHeader)
            }
            Self::Gcm { key, salt } => {
                let tag = key
                    .seal_in_place_separate_tag(gcm_rtp_iv(salt, ssrc, index), Aad::from(header), payload)
                    .map_err(|_| Drop::BadHeader)?;
                buf.append(tag.as_ref()).then_some(()).ok_or(Drop::BadHeader)
            }
        }
    }

    /// Checks the tag, cuts it off and decrypts the payload. On a bad tag the payload may be destroyed.
    pub(super) fn open_rtp(
        &self,
        buf: &mut PacketBuf,
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), Drop> {
        match self {
            Self::Cm { aes, mac, salt, rtp_tag } => {
                let len =
                    buf.len().checked_sub(*rtp_tag).filter(|l| *l >= header_len).ok_or(Drop::BadHeader)?;
                let (packet, tag) = buf.bytes().split_at_checked(len).ok_or(Drop::BadHeader)?;
                let made = cm_tag(mac, packet, &rollover(index));
                if !bool::from(made.get(..*rtp_tag).ok_or(Drop::BadHeader)?.ct_eq(tag)) {
                    return Err(Drop::BadTag);
                }
                buf.truncate(len);
                let payload = buf.bytes_mut().get_mut(header_len..).ok_or(Drop::BadHeader)?;
                count_mode(aes.as_ref(), cm_iv(salt, ssrc, index), payload);
            }
            Self::Gcm { key, salt } => {
                let len =
                    buf.len().checked_sub(GCM_TAG).filter(|l| *l >= header_len).ok_or(Drop::BadHeader)?;
                let (header, payload) =
                    buf.bytes_mut().split_at_mut_checked(header_len).ok_or(Drop::BadHeader)?;
                key.open_in_place(gcm_rtp_iv(salt, ssrc, index), Aad::from(header), payload)
                    .map_err(|_| Drop::BadTag)?;
                buf.truncate(len);
            }
        }
        Ok(())
    }

    /// Encrypts an RTCP compound behind its first 8 bytes and appends trailer and tag in the profile's order.
    pub(super) fn seal_rtcp(&self, buf: &mut PacketBuf, ssrc: u32, index: u32) -> Result<(), Drop> {
        let word = (index | ENCRYPTED).to_be_bytes();
        let (header, payload) = buf.bytes_mut().split_at_mut_checked(RTCP_CLEAR).ok_or(Drop::BadHeader)?;
        let appended = match self {
            Self::Cm { aes, mac, salt, .. } => {
                count_mode(aes.as_ref(), cm_iv(salt, ssrc, u64::from(index)), payload);
                buf.append(&word) && {
                    let tag = cm_tag(mac, buf.bytes(), &[]);
                    buf.append(&tag)
                }
            }
            Self::Gcm { key, salt } => {
                let aad = gcm_rtcp_aad(header, word)?;
                let tag = key
                    .seal_in_place_separate_tag(gcm_rtcp_iv(salt, ssrc, index), Aad::from(aad), payload)
                    .map_err(|_| Drop::BadHeader)?;
                buf.append(tag.as_ref()) && buf.append(&word)
            }
        };
        appended.then_some(()).ok_or(Drop::BadHeader)
    }

    /// E flag and index of an SRTCP packet, as they stand in it; also proves it long enough for
    /// [`Self::open_rtcp`].
    pub(super) fn rtcp_index(&self, buf: &PacketBuf) -> Result<u32, Drop> {
        let tag = match self {
            Self::Cm { .. } => CM_TAG,
            Self::Gcm { .. } => GCM_TAG,
        };
        if buf.len() < RTCP_CLEAR + tag + RTCP_WORD {
            return Err(Drop::BadHeader);
        }
        let behind = if matches!(self, Self::Cm { .. }) { CM_TAG } else { 0 };
        let end = buf.len().checked_sub(behind).ok_or(Drop::BadHeader)?;
        let word = buf.bytes().get(..end).and_then(<[u8]>::last_chunk::<RTCP_WORD>).ok_or(Drop::BadHeader)?;
        Ok(u32::from_be_bytes(*word))
    }

    /// Checks the tag, cuts the trailer off and decrypts.
    pub(super) fn open_rtcp(&self, buf: &mut PacketBuf, ssrc: u32, word: u32) -> Result<(), Drop> {
        let is_encrypted = word & ENCRYPTED != 0;
        let index = word & !ENCRYPTED;
        match self {
            Self::Cm { aes, mac, salt, .. } => {
                let signed = buf.len().checked_sub(CM_TAG).ok_or(Drop::BadHeader)?;
                let (packet, tag) = buf.bytes().split_at_checked(signed).ok_or(Drop::BadHeader)?;
                if !bool::from(cm_tag(mac, packet, &[]).ct_eq(tag)) {
                    return Err(Drop::BadTag);
                }
                buf.truncate(signed.saturating_sub(RTCP_WORD));
                if is_encrypted {
                    let payload = buf.bytes_mut().get_mut(RTCP_CLEAR..).ok_or(Drop::BadHeader)?;
                    count_mode(aes.as_ref(), cm_iv(salt, ssrc, u64::from(index)), payload);
                }
            }
            Self::Gcm { key, salt } => {
                // RFC 7714 §17: authentication without encryption is possible there; nobody negotiates it
                if !is_encrypted {
                    return Err(Drop::BadTag);
                }
                let len = buf.len().checked_sub(GCM_TAG + RTCP_WORD).ok_or(Drop::BadHeader)?;
                buf.truncate(len + GCM_TAG);
                let (header, payload) =
                    buf.bytes_mut().split_at_mut_checked(RTCP_CLEAR).ok_or(Drop::BadHeader)?;
                let aad = gcm_rtcp_aad(header, word.to_be_bytes())?;
                key.open_in_place(gcm_rtcp_iv(salt, ssrc, index), Aad::from(aad), payload)
                    .map_err(|_| Drop::BadTag)?;
                buf.truncate(len);
            }
        }
        Ok(())
    }
}

/// `N` bytes of key material for a label (RFC 3711 §4.3.1, §4.3.3; RFC 7714 §11: the salt of 12 bytes is
/// filled up with zeros behind).
fn derived<const N: usize>(master: &MasterKey, label: u8) -> Result<Zeroizing<[u8; N]>, KeyError> {
    let mut iv = [0; 16];
    iv.iter_mut().zip(master.salt.iter()).for_each(|(b, s)| *b = *s);
    iv[7] ^= label;
    let mut out = Zeroizing::new([0; N]);
    match master.key.len() {
        16 => count_mode(&Aes128::new_from_slice(&master.key).map_err(|_| KeyError)?, iv, out.as_mut()),
        _ => count_mode(&Aes256::new_from_slice(&master.key).map_err(|_| KeyError)?, iv, out.as_mut()),
    }
    Ok(out)
}

/// AES counter mode over a buffer; the key schedule is borrowed, not copied.
fn count_mode<A: BlockCipher + BlockEncrypt<BlockSize = U16>>(aes: &A, iv: [u8; 16], data: &mut [u8]) {
    CtrCore::<&A, Ctr128BE>::inner_iv_init(aes, &iv.into()).apply_keystream_partial(data.into());
}

/// The counter block's start (RFC 3711 §4.1.1).
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    let ssrc = ssrc.to_be_bytes();
    let index = index.to_be_bytes();
    let mixed = [
        0, 0, 0, 0, ssrc[0], ssrc[1], ssrc[2], ssrc[3], index[2], index[3], index[4], index[5], index[6],
        index[7],
    ];
    iv.iter_mut().zip(salt).zip(mixed).for_each(|((b, s), m)| *b = *s ^ m);
    iv
}

/// The rollover counter as the tag covers it (RFC 3711 §4.2).
const fn rollover(index: u64) -> [u8; 4] {
    let b = index.to_be_bytes();
    [b[2], b[3], b[4], b[5]]
}

fn cm_tag(mac: &Hmac<Sha1>, packet: &[u8], behind: &[u8]) -> [u8; CM_TAG] {
    let mut mac = mac.clone();
    mac.update(packet);
    mac.update(behind);
    let full: [u8; 20] = mac.finalize().into_bytes().into();
    let mut tag = [0; CM_TAG];
    tag.iter_mut().zip(full).for_each(|(t, f)| *t = f);
    tag
}

/// RFC 7714 §8.1.
fn gcm_rtp_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let s = ssrc.to_be_bytes();
    let i = index.to_be_bytes();
    gcm_iv(salt, [0, 0, s[0], s[1], s[2], s[3], i[2], i[3], i[4], i[5], i[6], i[7]])
}

/// RFC 7714 §9.1.
fn gcm_rtcp_iv(salt: &[u8; 12], ssrc: u32, index: u32) -> Nonce {
    let s = ssrc.to_be_bytes();
    let i = index.to_be_bytes();
    gcm_iv(salt, [0, 0, s[0], s[1], s[2], s[3], 0, 0, i[0], i[1], i[2], i[3]])
}

fn gcm_iv(salt: &[u8; 12], mut iv: [u8; 12]) -> Nonce {
    iv.iter_mut().zip(salt).for_each(|(b, s)| *b ^= *s);
    Nonce::assume_unique_for_key(iv)
}

/// RFC 7714 §9.2: the clear header, then E flag and index.
fn gcm_rtcp_aad(header: &[u8], word: [u8; 4]) -> Result<[u8; 12], Drop> {
    let h = header.first_chunk::<8>().ok_or(Drop::BadHeader)?;
    Ok([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], word[0], word[1], word[2], word[3]])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn keys_are_derived_as_in_rfc3711_b_3() {
        let master = MasterKey {
            key: Zeroizing::new(hex("E1F97A0D3E018BE0D64FA32C06DE4139")),
            salt: Zeroizing::new(hex("0EC675AD498AFEEBB6960B3AABE6")),
        };
        assert_eq!(derived::<16>(&master, 0).unwrap().to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived::<14>(&master, 2).unwrap().to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(
            derived::<94>(&master, 1).unwrap().to_vec(),
            hex("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
                 E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
                 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2")
        );
    }

    #[test]
    fn the_keystream_is_that_of_rfc3711_b_2() {
        let aes = Aes128::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
        let mut out = [0; 48];
        count_mode(&aes, iv, &mut out);
        assert_eq!(
            out.to_vec(),
            hex("E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
                 41E95B3BB0A2E8DD477901E4FCA894C0")
        );
    }

    /// RFC 7714 §16: session keys, not master keys, are given there.
    fn gcm(key: &str) -> Cipher {
        let key = hex(key);
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = Box::new(LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap()));
        Cipher::Gcm { key, salt: hex("517569642070726f2071756f").try_into().unwrap() }
    }

    const PLAIN: &str = "8040f17b8041f8d35501a0b2 47616c6c696120657374206f6d6e697320646976697361
                         20696e207061727465732074726573";

    #[test]
    fn an_rtp_packet_is_sealed_and_opened_as_in_rfc7714_16() {
        let cases = [
            (
                "000102030405060708090a0b0c0d0e0f",
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b
                 36de3adf8833899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f
                 1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (key, sealed) in cases {
            let cipher = gcm(key);
            let mut buf = PacketBuf::from_bytes(&hex(PLAIN)).unwrap();
            cipher.seal_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(buf.bytes(), hex(sealed));
            cipher.open_rtp(&mut buf, 12, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(buf.bytes(), hex(PLAIN));
        }
    }

    #[test]
    fn an_rtcp_packet_is_sealed_and_opened_as_in_rfc7714_17_1() {
        let plain = hex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeef
                         deadbeefdeadbeefdeadbeef");
        let sealed = hex("81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda
                          4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4");
        let cipher = gcm("000102030405060708090a0b0c0d0e0f");
        let mut buf = PacketBuf::from_bytes(&plain).unwrap();
        cipher.seal_rtcp(&mut buf, 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(buf.bytes(), sealed);
        assert_eq!(cipher.rtcp_index(&buf), Ok(0x8000_05d4));
        cipher.open_rtcp(&mut buf, 0x4d61_7273, 0x8000_05d4).unwrap();
        assert_eq!(buf.bytes(), plain);
    }
}
