//! What signalling may change of the streams.

use super::*;
use crate::call::port::DtmfDigit;
use crate::media::keys::{Heard, Sending};
use crate::media::stream::{Holding, Quiet};
use crate::media::tone::{Player, Program};

impl Worker {
    /// A new stream; answers its slot. It sends and takes nothing until the rest is set.
    pub fn add(
        &mut self,
        now: Instant,
        id: StreamId,
        source: OwnSource,
        transport: Transport,
        stats: Arc<StreamStats>,
    ) -> usize {
        let ufrag = match &transport {
            Transport::WebRtc(w) => Some(w.ufrag.clone()),
            Transport::Plain(_) => None,
        };
        let slot = self.streams.insert(Stream {
            id,
            transport,
            format: None,
            outgoing: None,
            reception: Reception::default(),
            hears: None,
            player: Player::default(),
            sending: Sending::default(),
            heard: Heard::default(),
            heard_by: None,
            may_send: true,
            may_receive: true,
            is_silent: false,
            holding: None,
            is_mute: false,
            last_heard: now,
            quiet: Quiet::new(now),
            is_unsent_told: false,
            is_other_codec_told: false,
            is_expected: false,
            is_timed_out: false,
            has_reported: false,
            next_report: now + INTERVAL / 5,
            stats,
            source,
        });
        self.by_id.insert(id, slot);
        if let Some(ufrag) = ufrag {
            self.by_ufrag.insert(ufrag, slot);
        }
        slot
    }

    /// What a stream speaks, by its offer and answer.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn set_format(&mut self, id: StreamId, format: Format) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let (sequence, timestamp) = (self.seed.next_u32(), self.seed.next_u32());
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        stream.is_other_codec_told = false;
        match (&mut stream.outgoing, stream.format) {
            (Some(outgoing), Some(before)) if before.codec != format.codec => {
                outgoing.set_codec(format.codec)
            }
            (Some(_), _) => {}
            (none, _) => {
                let [_, _, high, low] = sequence.to_be_bytes();
                let first = u16::from_be_bytes([high, low]);
                *none = Some(Outgoing::new(stream.source.ssrc, first, timestamp, format.codec));
            }
        }
        stream.format = Some(format);
        self.refresh_around(slot);
        Ok(())
    }

    /// Which ways media may go, seen from us.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn set_direction(
        &mut self,
        now: Instant,
        id: StreamId,
        may_send: bool,
        may_receive: bool,
    ) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        if may_receive && !stream.may_receive {
            stream.last_heard = now;
        }
        stream.may_send = may_send;
        stream.may_receive = may_receive;
        let holds = may_receive && !may_send;
        if holds != stream.holding.is_some() {
            stream.holding = holds.then(|| Holding::new(now, stream.stats.packets_in.get()));
            stream.is_mute = false;
            // who sent nothing on hold has its full time to send again
            stream.last_heard = now;
        }
        self.refresh_around(slot);
        Ok(())
    }

    /// Where a plain stream's far side is, by its description.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`].
    pub fn set_remote(
        &mut self,
        now: Instant,
        id: StreamId,
        rtp: Option<SocketAddr>,
        rtcp: Option<SocketAddr>,
    ) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::Plain(plain) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        if plain.rtp.is_none() {
            stream.last_heard = now;
        }
        plain.set_remote(rtp, rtcp);
        self.refresh_around(slot);
        Ok(())
    }

    /// After an ICE restart, our ufrag is another; the one before still leads here, older ones no more.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`].
    pub fn set_ufrag(&mut self, id: StreamId, ufrag: String) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::WebRtc(webrtc) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        let before = std::mem::replace(&mut webrtc.ufrag, ufrag.clone());
        let forgotten = webrtc.old_ufrag.replace(before);
        self.by_ufrag.insert(ufrag, slot);
        if let Some(forgotten) = forgotten {
            self.by_ufrag.remove(&forgotten);
        }
        Ok(())
    }

    /// From now on the far side should send: the media timeout counts. A WebRTC stream is expected to from its
    /// keys on.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn expect(&mut self, now: Instant, id: StreamId) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        if !std::mem::replace(&mut stream.is_expected, true) {
            stream.last_heard = now;
        }
        Ok(())
    }

    /// Whether and how a plain stream is protected; before its far side's address is set.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`].
    pub fn set_protection(&mut self, id: StreamId, protection: Protection) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::Plain(plain) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        plain.set_protection(protection);
        self.refresh_around(slot);
        Ok(())
    }

    /// Where DTLS of a plain stream's two sockets goes.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`].
    pub fn set_inlets(
        &mut self,
        id: StreamId,
        inlets: [Option<Arc<dyn PeerInlet>>; 2],
    ) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::Plain(plain) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        plain.inlets = inlets;
        Ok(())
    }

    /// Keys of a stream, of its RTCP too unless that has its own. Those that it has already go on where they are.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`] (a plain one that is not protected),
    /// [`CommandError::Keys`].
    pub fn set_keys(&mut self, now: Instant, id: StreamId, keys: SrtpKeys) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let room = match &mut stream.transport {
            Transport::WebRtc(webrtc) => &mut webrtc.srtp,
            Transport::Plain(plain) => plain.keys.as_mut().ok_or(CommandError::WrongKind)?.slot(false),
        };
        let is_new = room.is_none();
        if rekey(room, keys)? == Rekeyed::Ours
            && let Some(outgoing) = &mut stream.outgoing
        {
            outgoing.begin_anew();
        }
        if is_new {
            stream.last_heard = now;
        }
        stream.is_expected |= matches!(stream.transport, Transport::WebRtc(_));
        self.refresh_around(slot);
        Ok(())
    }

    /// Keys of the RTCP of a plain stream that has keys for each.
    ///
    /// # Errors
    /// As [`Self::set_keys`].
    pub fn set_rtcp_keys(&mut self, id: StreamId, keys: SrtpKeys) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::Plain(plain) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        rekey(plain.keys.as_mut().ok_or(CommandError::WrongKind)?.slot(true), keys)?;
        Ok(())
    }

    /// A path proved by a stream's association: its datagrams are the stream's.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`], [`CommandError::NoSocket`].
    pub fn bind(&mut self, id: StreamId, path: Path) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let key = path_key(&self.sockets, path).ok_or(CommandError::NoSocket)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::WebRtc(webrtc) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        if !webrtc.bound.contains(&key) {
            if webrtc.bound.len() >= BOUND_MAX {
                let oldest = webrtc.bound.iter().position(|p| Some(*p) != webrtc.selected).unwrap_or(0);
                self.by_path.remove(&webrtc.bound.remove(oldest));
            }
            webrtc.bound.push(key);
        }
        // a browser that makes a new association on the same ports: the newest proof counts
        if let Some(other) = self.by_path.insert(key, slot).filter(|o| *o != slot)
            && let Some(other) = self.streams.get_mut(other)
        {
            other.forget_path(key);
        }
        Ok(())
    }

    /// Media of a WebRTC stream goes to this path from now on.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::WrongKind`], [`CommandError::NoSocket`].
    pub fn select(&mut self, id: StreamId, path: Path) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let key = path_key(&self.sockets, path).ok_or(CommandError::NoSocket)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        let Transport::WebRtc(webrtc) = &mut stream.transport else { return Err(CommandError::WrongKind) };
        webrtc.selected = Some(key);
        self.refresh_around(slot);
        Ok(())
    }

    /// From now on `listener` gets the media of `source`, or silence. What it gets is one unbroken stream.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn hear(&mut self, listener: StreamId, source: Option<StreamId>) -> Result<(), CommandError> {
        let slot = self.slot(listener)?;
        let source = source.map(|s| self.slot(s)).transpose()?;
        let before = self.streams.get(slot).and_then(|s| s.hears);
        if before == source {
            return Ok(());
        }
        if let Some(before) = before.and_then(|b| self.streams.get_mut(b)) {
            before.heard_by = None;
        }
        // a source has one listener: whoever had it gets silence
        let robbed = source.and_then(|s| self.streams.get_mut(s)).and_then(|s| s.heard_by.replace(slot));
        if let Some(robbed) = robbed {
            if let Some(stream) = self.streams.get_mut(robbed) {
                stream.hears = None;
            }
            self.refresh(robbed);
        }
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.hears = source;
            if let Some(outgoing) = &mut stream.outgoing {
                outgoing.switch();
            }
        }
        self.refresh(slot);
        Ok(())
    }

    /// What a stream gets while it hears nobody.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn play(&mut self, id: StreamId, program: Program) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        self.streams.get_mut(slot).ok_or(CommandError::NoStream)?.player.set(program);
        Ok(())
    }

    /// Keys for what is played to a stream, as if its far side had pressed them.
    ///
    /// # Errors
    /// [`CommandError::NoStream`].
    pub fn press(&mut self, id: StreamId, keys: &[DtmfDigit]) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let player = &mut self.streams.get_mut(slot).ok_or(CommandError::NoStream)?.player;
        keys.iter().for_each(|key| player.press(key.digit));
        Ok(())
    }

    /// Sends keys to a stream's far side, after those that wait.
    ///
    /// # Errors
    /// [`CommandError::NoStream`], [`CommandError::NoEvents`], [`CommandError::TooManyKeys`].
    pub fn send_keys(&mut self, now: Instant, id: StreamId, keys: &[DtmfDigit]) -> Result<(), CommandError> {
        let slot = self.slot(id)?;
        let stream = self.streams.get_mut(slot).ok_or(CommandError::NoStream)?;
        if stream.format.is_none_or(|f| f.event_out.is_none()) {
            return Err(CommandError::NoEvents);
        }
        let is_taken = stream.sending.add(keys);
        if self.silent.is_empty() && self.keying.is_empty() {
            self.next_silence = self.next_silence.max(now);
        }
        if !self.keying.contains(&slot) {
            self.keying.push(slot);
        }
        if is_taken { Ok(()) } else { Err(CommandError::TooManyKeys) }
    }

    /// Ends a stream. When it was up, the buffer then holds its RTCP goodbye for that destination.
    pub fn remove(&mut self, now: Instant, id: StreamId, buf: &mut PacketBuf) -> Option<Transmit> {
        let slot = self.by_id.remove(&id)?;
        let goodbye = self.report(now, slot, true, buf);
        let stream = self.streams.try_remove(slot)?;
        if let Transport::WebRtc(webrtc) = &stream.transport {
            let is_ours = |s: Option<&usize>| s == Some(&slot);
            for ufrag in webrtc.old_ufrag.iter().chain([&webrtc.ufrag]) {
                if is_ours(self.by_ufrag.get(ufrag)) {
                    self.by_ufrag.remove(ufrag);
                }
            }
            for key in &webrtc.bound {
                self.by_path.remove(key);
            }
            for key in &webrtc.hinted {
                if is_ours(self.by_hint.get(key)) {
                    self.by_hint.remove(key);
                }
            }
            for ssrc in &webrtc.ssrcs {
                if is_ours(self.by_ssrc.get(ssrc)) {
                    self.by_ssrc.remove(ssrc);
                }
            }
        }
        self.silent.retain(|s| *s != slot);
        self.keying.retain(|s| *s != slot);
        if let Some(source) = stream.hears.and_then(|s| self.streams.get_mut(s)) {
            source.heard_by = None;
        }
        if let Some(listener) = stream.heard_by {
            if let Some(stream) = self.streams.get_mut(listener) {
                stream.hears = None;
                if let Some(outgoing) = &mut stream.outgoing {
                    outgoing.switch();
                }
            }
            self.refresh(listener);
        }
        goodbye
    }
}

/// Other keys in the place of those that are there, if any.
fn rekey(room: &mut Option<Box<Srtp>>, keys: SrtpKeys) -> Result<Rekeyed, KeyError> {
    match room {
        Some(srtp) => srtp.rekey(keys),
        None => {
            *room = Some(Box::new(Srtp::new(keys)?));
            Ok(Rekeyed::Ours)
        }
    }
}
