//! SRTP and SRTCP in place (RFC 3711; RFC 7714 for GCM): [`Sealer`] protects what we send, [`Opener`] checks
//! and decrypts what comes in. No allocation after construction.
//!
//! Profiles: AES_CM_128_HMAC_SHA1_80, AEAD_AES_128_GCM, AEAD_AES_256_GCM. An opener keeps state for a few
//! SSRCs only, and makes it after the first good tag: a stranger cannot fill it, move a rollover counter or
//! a replay window. Left out: MKI, key derivation rates other than 0, re-keying (a new handshake makes a new
//! pair of these).

mod cipher;
mod window;

use super::packet::{PacketBuf, RtpHeader};
use super::stats::Drop;
use crate::peer::{MasterKey, SrtpProfile};
use cipher::Cipher;
pub(super) use window::Window;

/// SSRCs an opener keeps state for: a browser's audio, and the ones it changes to.
pub const SOURCES_MAX: usize = 8;

/// A master key or salt of a wrong length for the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the SRTP master key or salt has not the length of its profile")]
pub struct KeyError;

/// Protects the packets of one direction.
pub struct Sealer {
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_index: u32,
}

impl Sealer {
    /// With keys derived from this master key (RFC 3711 §4.3).
    ///
    /// # Errors
    /// [`KeyError`] when the lengths are not the profile's.
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Result<Self, KeyError> {
        let [rtp, rtcp] = Cipher::pair(profile, master)?;
        Ok(Self { rtp, rtcp, rtcp_index: 0 })
    }

    /// Protects an RTP packet; `index` is its extended sequence number (rollover counter and sequence, RFC 3711
    /// §3.3.1), whose low 16 bits are those in the header. No index may be used twice for an SSRC.
    ///
    /// # Errors
    /// [`Drop::BadHeader`] when it is no RTP packet.
    pub fn protect_rtp(&mut self, buf: &mut PacketBuf, index: u64) -> Result<(), Drop> {
        let header = RtpHeader::parse(buf.bytes())?;
        self.rtp.seal_rtp(buf, header.header_len, header.ssrc, index)
    }

    /// Protects an RTCP compound (RFC 3711 §3.4).
    ///
    /// # Errors
    /// [`Drop::BadHeader`] when it is shorter than a header with SSRC.
    pub fn protect_rtcp(&mut self, buf: &mut PacketBuf) -> Result<(), Drop> {
        let ssrc = rtcp_ssrc(buf.bytes())?;
        let index = self.rtcp_index;
        self.rtcp_index = self.rtcp_index.wrapping_add(1) & 0x7fff_ffff;
        self.rtcp.seal_rtcp(buf, ssrc, index)
    }
}

/// What an opener knows of one SSRC.
#[derive(Clone, Copy)]
struct Source {
    ssrc: u32,
    window: Window,
}

/// Checks and decrypts the packets of one direction.
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: [Option<Source>; SOURCES_MAX],
    rtcp_sources: [Option<Source>; SOURCES_MAX],
}

impl Opener {
    /// With keys derived from this master key (RFC 3711 §4.3).
    ///
    /// # Errors
    /// [`KeyError`] when the lengths are not the profile's.
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Result<Self, KeyError> {
        let [rtp, rtcp] = Cipher::pair(profile, master)?;
        Ok(Self { rtp, rtcp, rtp_sources: [None; SOURCES_MAX], rtcp_sources: [None; SOURCES_MAX] })
    }

    /// Checks and decrypts an RTP packet in place: replay, tag, then state (RFC 3711 §3.3).
    ///
    /// # Errors
    /// [`Drop::BadHeader`], [`Drop::Replayed`], [`Drop::BadTag`] or [`Drop::TooManySources`]; nothing but the
    /// buffer is changed then.
    pub fn unprotect_rtp(&mut self, buf: &mut PacketBuf) -> Result<RtpHeader, Drop> {
        let header = RtpHeader::parse(buf.bytes())?;
        let (slot, mut source) = find(&mut self.rtp_sources, header.ssrc)?;
        let index = source.window.guess(header.sequence).ok_or(Drop::Replayed)?;
        source.window.check(index)?;
        self.rtp.open_rtp(buf, header.header_len, header.ssrc, index)?;
        source.window.accept(index);
        *slot = Some(source);
        Ok(header)
    }

    /// Checks and decrypts an RTCP compound in place (RFC 3711 §3.4).
    ///
    /// # Errors
    /// As [`Self::unprotect_rtp`].
    pub fn unprotect_rtcp(&mut self, buf: &mut PacketBuf) -> Result<(), Drop> {
        let ssrc = rtcp_ssrc(buf.bytes())?;
        let (slot, mut source) = find(&mut self.rtcp_sources, ssrc)?;
        let index = self.rtcp.rtcp_index(buf)?;
        source.window.check(u64::from(index & 0x7fff_ffff))?;
        self.rtcp.open_rtcp(buf, ssrc, index)?;
        source.window.accept(u64::from(index & 0x7fff_ffff));
        *slot = Some(source);
        Ok(())
    }
}

/// The SSRC of the first packet of an RTCP compound.
fn rtcp_ssrc(bytes: &[u8]) -> Result<u32, Drop> {
    let (head, _) = bytes.split_first_chunk::<8>().ok_or(Drop::BadHeader)?;
    Ok(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}

/// The state of an SSRC, or a fresh one with the free place it will take once its tag proved good.
fn find(sources: &mut [Option<Source>], ssrc: u32) -> Result<(&mut Option<Source>, Source), Drop> {
    let known = sources.iter().position(|s| s.is_some_and(|s| s.ssrc == ssrc));
    let at = known.or_else(|| sources.iter().position(Option::is_none)).ok_or(Drop::TooManySources)?;
    let slot = sources.get_mut(at).ok_or(Drop::TooManySources)?;
    let source = slot.unwrap_or(Source { ssrc, window: Window::default() });
    Ok((slot, source))
}

#[cfg(test)]
mod tests;
