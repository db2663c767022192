//! Both directions of one transport, and new keys in a session that goes on (RFC 4568 §7.1.4).

use super::{KeyError, Opener, Sealer};
use crate::media::packet::{PacketBuf, RtpHeader};
use crate::media::stats::Drop;
use crate::peer::SrtpKeys;

/// Whether other keys changed what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rekeyed {
    /// Ours is as it was: its packet indices go on.
    TheirsAtMost,
    /// Ours is new: its rollover counter begins at 0, as libsrtp has it for a new stream. RFC 3711 §3.3.1 would have it go on.
    Ours,
}

/// What protects and opens the packets of one transport.
pub struct Srtp {
    keys: SrtpKeys,
    sealer: Sealer,
    opener: Box<Opener>,
    /// The far side has said that it will use another key; until its first packet under it, the old one goes on.
    next: Option<Box<Opener>>,
}

impl Srtp {
    /// With these keys.
    ///
    /// # Errors
    /// [`KeyError`] when their lengths are not the profile's.
    pub fn new(keys: SrtpKeys) -> Result<Self, KeyError> {
        Ok(Self {
            sealer: Sealer::new(keys.profile, &keys.local)?,
            opener: Box::new(Opener::new(keys.profile, &keys.remote)?),
            next: None,
            keys,
        })
    }

    /// Takes the keys of a new offer and answer. A key that is the same keeps its state: rollover counters and replay
    /// windows (RFC 4568 §7.1.4); starting them anew would use indices twice.
    ///
    /// # Errors
    /// [`KeyError`]; nothing is changed then.
    pub fn rekey(&mut self, keys: SrtpKeys) -> Result<Rekeyed, KeyError> {
        let has_other_profile = keys.profile != self.keys.profile;
        let sealer = if has_other_profile || keys.local != self.keys.local {
            Some(Sealer::new(keys.profile, &keys.local)?)
        } else {
            None
        };
        if has_other_profile || keys.remote != self.keys.remote {
            self.next = Some(Box::new(Opener::new(keys.profile, &keys.remote)?));
        }
        self.keys = keys;
        match sealer {
            Some(sealer) => {
                self.sealer = sealer;
                Ok(Rekeyed::Ours)
            }
            None => Ok(Rekeyed::TheirsAtMost),
        }
    }

    /// See [`Sealer::protect_rtp`].
    ///
    /// # Errors
    /// As there.
    pub fn protect_rtp(&mut self, buf: &mut PacketBuf, index: u64) -> Result<(), Drop> {
        self.sealer.protect_rtp(buf, index)
    }

    /// See [`Sealer::protect_rtcp`].
    ///
    /// # Errors
    /// As there.
    pub fn protect_rtcp(&mut self, buf: &mut PacketBuf) -> Result<(), Drop> {
        self.sealer.protect_rtcp(buf)
    }

    /// See [`Opener::unprotect_rtp`].
    ///
    /// # Errors
    /// As there.
    pub fn unprotect_rtp(&mut self, buf: &mut PacketBuf) -> Result<RtpHeader, Drop> {
        if self.next.is_none() {
            return self.opener.unprotect_rtp(buf);
        }
        let header = RtpHeader::parse(buf.bytes())?;
        // libsrtp begins the rollover counter of a new key at 0, others let it go on (RFC 3711 §3.3.1)
        let going_on = self.opener.guess(header.ssrc, header.sequence);
        let going_on = going_on.filter(|index| *index != u64::from(header.sequence));
        let copy = PacketBuf::from_bytes(buf.bytes()).ok_or(Drop::BadHeader)?;
        let refusal = match self.open(buf, Opener::unprotect_rtp) {
            Ok(opened) => return Ok(opened),
            Err(refusal) => refusal,
        };
        let (Some(index), Some(mut next)) = (going_on, self.next.take()) else { return Err(refusal) };
        *buf = copy;
        match next.unprotect_rtp_at(buf, index) {
            Ok(opened) => {
                self.opener = next;
                Ok(opened)
            }
            Err(_) => {
                self.next = Some(next);
                Err(refusal)
            }
        }
    }

    /// See [`Opener::unprotect_rtcp`].
    ///
    /// # Errors
    /// As there.
    pub fn unprotect_rtcp(&mut self, buf: &mut PacketBuf) -> Result<(), Drop> {
        self.open(buf, Opener::unprotect_rtcp)
    }

    /// By the key in use, else by the next one, which is then the one in use.
    fn open<T>(
        &mut self,
        buf: &mut PacketBuf,
        open: impl Fn(&mut Opener, &mut PacketBuf) -> Result<T, Drop>,
    ) -> Result<T, Drop> {
        let Some(next) = &mut self.next else { return open(&mut self.opener, buf) };
        // a failed attempt may destroy the packet
        let copy = PacketBuf::from_bytes(buf.bytes()).ok_or(Drop::BadHeader)?;
        let refusal = match open(&mut self.opener, buf) {
            Ok(opened) => return Ok(opened),
            Err(refusal) => refusal,
        };
        *buf = copy;
        let opened = open(next, buf).map_err(|_| refusal)?;
        if let Some(next) = self.next.take() {
            self.opener = next;
        }
        Ok(opened)
    }
}
