//! SRTP and SRTCP in place (RFC 3711; RFC 7714 for GCM): [`Sealer`] protects what we send, [`Opener`] checks
//! and decrypts what comes in. No allocation after construction.
//!
//! Profiles: AES_CM_128_HMAC_SHA1_80 and _32, AEAD_AES_128_GCM, AEAD_AES_256_GCM. An opener keeps state for a few
//! SSRCs only, and makes it after the first good tag: a stranger cannot fill it, move a rollover counter or
//! a replay window. Of more, the one that was heard longest ago gives way and never comes back.
//!
//! [`Srtp`] is both directions of one transport, and what becomes of them when a description brings other keys.
//! Left out: MKI, key derivation rates other than 0.

mod cipher;
mod rekeying;
mod window;

use super::packet::{PacketBuf, RtpHeader};
use super::stats::Drop;
use crate::peer::{MasterKey, SrtpProfile};
use cipher::Cipher;
pub use rekeying::{Rekeyed, Srtp};
pub(super) use window::Window;

/// SSRCs an opener keeps state for: a browser's audio, and the ones it changes to.
pub const SOURCES_MAX: usize = 8;
/// SSRCs that gave way to others. They are refused: what they sent could be sent again unnoticed.
const RETIRED_MAX: usize = 64;

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
    /// When it was heard, counted in packets.
    heard_at: u64,
    window: Window,
}

/// The SSRCs of one kind of packets.
struct Sources {
    live: [Option<Source>; SOURCES_MAX],
    retired: [u32; RETIRED_MAX],
    retired_len: usize,
    heard: u64,
}

impl Sources {
    const fn new() -> Self {
        Self { live: [None; SOURCES_MAX], retired: [0; RETIRED_MAX], retired_len: 0, heard: 0 }
    }

    /// The state of an SSRC, or a fresh one; with the place it has, or will take once its tag proved good.
    fn find(&self, ssrc: u32) -> Result<(usize, Source), Drop> {
        let known = self.live.iter().position(|s| s.is_some_and(|s| s.ssrc == ssrc));
        if let Some(at) = known {
            return Ok((at, self.live.get(at).copied().flatten().ok_or(Drop::TooManySources)?));
        }
        if self.retired.iter().take(self.retired_len).any(|s| *s == ssrc) {
            return Err(Drop::Replayed);
        }
        let heard_at = |s: &Option<Source>| s.map_or(0, |s| s.heard_at);
        let (at, oldest) =
            self.live.iter().enumerate().min_by_key(|(_, s)| heard_at(s)).ok_or(Drop::TooManySources)?;
        if oldest.is_some() && self.retired_len >= RETIRED_MAX {
            return Err(Drop::TooManySources);
        }
        Ok((at, Source { ssrc, heard_at: 0, window: Window::default() }))
    }

    /// A packet of that source was good.
    fn keep(&mut self, at: usize, mut source: Source) {
        self.heard += 1;
        source.heard_at = self.heard;
        let Some(slot) = self.live.get_mut(at) else { return };
        let before = slot.replace(source).filter(|b| b.ssrc != source.ssrc);
        if let (Some(before), Some(place)) = (before, self.retired.get_mut(self.retired_len)) {
            *place = before.ssrc;
            self.retired_len += 1;
        }
    }
}

/// Checks and decrypts the packets of one direction.
pub struct Opener {
    rtp: Cipher,
    rtcp: Cipher,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

impl Opener {
    /// With keys derived from this master key (RFC 3711 §4.3).
    ///
    /// # Errors
    /// [`KeyError`] when the lengths are not the profile's.
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Result<Self, KeyError> {
        let [rtp, rtcp] = Cipher::pair(profile, master)?;
        Ok(Self { rtp, rtcp, rtp_sources: Sources::new(), rtcp_sources: Sources::new() })
    }

    /// Checks and decrypts an RTP packet in place: replay, tag, then state (RFC 3711 §3.3).
    ///
    /// # Errors
    /// [`Drop::BadHeader`], [`Drop::Replayed`], [`Drop::BadTag`] or [`Drop::TooManySources`]; nothing but the
    /// buffer is changed then.
    pub fn unprotect_rtp(&mut self, buf: &mut PacketBuf) -> Result<RtpHeader, Drop> {
        let header = RtpHeader::parse(buf.bytes())?;
        let (at, source) = self.rtp_sources.find(header.ssrc)?;
        let index = source.window.guess(header.sequence).ok_or(Drop::Replayed)?;
        self.open_rtp(buf, header, index, (at, source))
    }

    /// The same for a packet whose index (RFC 3711 §3.3.1) is known from elsewhere.
    ///
    /// # Errors
    /// As [`Self::unprotect_rtp`].
    fn unprotect_rtp_at(&mut self, buf: &mut PacketBuf, index: u64) -> Result<RtpHeader, Drop> {
        let header = RtpHeader::parse(buf.bytes())?;
        let found = self.rtp_sources.find(header.ssrc)?;
        self.open_rtp(buf, header, index, found)
    }

    fn open_rtp(
        &mut self,
        buf: &mut PacketBuf,
        header: RtpHeader,
        index: u64,
        (at, mut source): (usize, Source),
    ) -> Result<RtpHeader, Drop> {
        source.window.check(index)?;
        self.rtp.open_rtp(buf, header.header_len, header.ssrc, index)?;
        source.window.accept(index);
        self.rtp_sources.keep(at, source);
        Ok(header)
    }

    /// Which index a sequence number of a source would have; none for one that was not heard.
    fn guess(&self, ssrc: u32, sequence: u16) -> Option<u64> {
        let source = self.rtp_sources.live.iter().flatten().find(|s| s.ssrc == ssrc)?;
        source.window.guess(sequence)
    }

    /// Checks and decrypts an RTCP compound in place (RFC 3711 §3.4).
    ///
    /// # Errors
    /// As [`Self::unprotect_rtp`].
    pub fn unprotect_rtcp(&mut self, buf: &mut PacketBuf) -> Result<(), Drop> {
        let ssrc = rtcp_ssrc(buf.bytes())?;
        let (at, mut source) = self.rtcp_sources.find(ssrc)?;
        let index = self.rtcp.rtcp_index(buf)?;
        source.window.check(u64::from(index & 0x7fff_ffff))?;
        self.rtcp.open_rtcp(buf, ssrc, index)?;
        source.window.accept(u64::from(index & 0x7fff_ffff));
        self.rtcp_sources.keep(at, source);
        Ok(())
    }
}

/// The SSRC of the first packet of an RTCP compound.
fn rtcp_ssrc(bytes: &[u8]) -> Result<u32, Drop> {
    let (head, _) = bytes.split_first_chunk::<8>().ok_or(Drop::BadHeader)?;
    Ok(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}

#[cfg(test)]
mod tests;
