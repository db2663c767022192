//! Legs without ICE: their ports, offers and answers in both directions, and the keys that these bring.

use super::dtls::Dtls;
use super::*;
use crate::call::port::{NoSocket, OwnAddress};
use crate::media::io::sockets::no_socket;
use crate::media::relay::Format;
use crate::media::session::{
    OursIs, OwnCrypto, OwnSecurity, PlainOffer, PlainRemote, PlainRules, Security, Unserved, answer_plain,
    offer_plain, read_plain_answer, read_plain_offer, webrtc_codecs,
};
use crate::media::stream::Protection;
use crate::peer::SrtpKeys;
use std::net::IpAddr;

/// A plain transport of a leg.
pub(super) struct Plain {
    pub(super) stream: StreamId,
    pub(super) owner: Owner,
    pub(super) stats: Arc<StreamStats>,
    pub(super) rtp: SocketAddr,
    /// The same as the far side reaches it: what descriptions name.
    described: SocketAddr,
    /// Where the far side wants RTP.
    pub(super) far_rtp: Option<SocketAddr>,
    pub(super) offer: Option<PlainOffer>,
    pub(super) format: Option<Format>,
    /// What the far side says of itself.
    pub(super) far: Direction,
    /// What the far side may wait for in vain.
    pub(super) unserved: Unserved,
    /// What we describe of protection, as the last offer and answer settled it.
    security: OwnSecurity,
    /// The profile that they settled; further offers keep it.
    protocol: Option<compact_str::CompactString>,
    /// The media thread was told that it is protected.
    is_protected: bool,
    pub(super) dtls: Option<Dtls>,
}

impl Plain {
    /// Whether the far side holds the call by its description: it hears nothing, though it may send music of its own. One
    /// that is `recvonly` holds nobody, for it listens (RFC 3264 §8.4 tells a hold by what is not received any more).
    pub(super) fn is_on_hold(&self) -> bool {
        self.format.is_some() && !self.far.receives()
    }

    /// Which way it is protected, for the log.
    pub(super) const fn kind(&self) -> &'static str {
        match self.security {
            OwnSecurity::Clear => "rtp",
            OwnSecurity::Sdes(_) => "srtp-sdes",
            OwnSecurity::Dtls { .. } => "srtp-dtls",
        }
    }

    /// Takes the far side's line, for which ours has the key: the one that is in use already, where the crypto-suite stays
    /// (RFC 4568 §7.1.4), else a fresh one.
    fn answer_line(&mut self, tag: u32, profile: SrtpProfile, seed: &mut Seed) {
        let kept = match &self.security {
            OwnSecurity::Sdes(lines) => lines.iter().find(|l| l.profile == profile).cloned(),
            _ => None,
        };
        let line = kept.map(|line| OwnCrypto { tag, ..line });
        self.security =
            OwnSecurity::Sdes(vec![line.unwrap_or_else(|| OwnCrypto::random(tag, profile, seed))]);
    }
}

impl Controller {
    pub(super) fn create_offer(
        &mut self,
        leg: LegId,
        profile: &MediaProfile,
    ) -> Result<SessionDescription, MediaRefusal> {
        let MediaProfile::Rtp { codecs, encryption, is_avpf, .. } = profile else {
            return Err(MediaRefusal::Unusable("offers to a browser are not served; let it offer"));
        };
        let is_held = self.is_held(leg);
        let beside = self.codecs_beside(leg);
        let ptime = self.ptime_beside(leg);
        let at = self.plain_leg(leg, profile, None)?;
        let suites = self.shared.config.sdes_profiles();
        let fingerprint = self.shared.certificate.fingerprint();
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        let plain = leg.plain.as_mut().ok_or(MediaRefusal::Congestion)?;
        let offer = match (&plain.format, &plain.protocol) {
            (Some(format), Some(protocol)) => {
                let offer = if beside.contains(&format.codec) {
                    PlainOffer::again(format)
                } else {
                    // another codec where the leg beside speaks none but that
                    PlainOffer::first(&common(codecs, &beside)?)
                };
                offer.secured(plain.security.clone(), protocol)
            }
            _ => {
                let security = match (encryption, &plain.offer) {
                    // nobody has answered the first one
                    (_, Some(offer)) => offer.security().clone(),
                    (Encryption::Off, None) => OwnSecurity::Clear,
                    (Encryption::Sdes | Encryption::SdesOptional, None) => {
                        OwnSecurity::Sdes(OwnCrypto::offer(&suites, &mut self.seed))
                    }
                    (Encryption::Dtls, None) => {
                        OwnSecurity::Dtls { fingerprint, setup: Setup::ActPass, is_muxed: true }
                    }
                };
                let protocol = protocol(*encryption, *is_avpf);
                PlainOffer::first(&common(codecs, &beside)?).secured(security, protocol)
            }
        };
        let offer = if *encryption == Encryption::SdesOptional { offer.or_clear() } else { offer };
        let offer = offer.with_ptime(ptime);
        let offer = if is_held { offer.with_direction(Direction::SendOnly) } else { offer };
        let sdp = offer_plain(&offer, plain.described, &mut leg.origin);
        plain.offer = Some(offer);
        Ok(sdp)
    }

    /// Looks at a caller's offer before anybody is rung, or at one within the call; what it has is what those beside it will be
    /// offered.
    pub(super) fn check_offer(
        &mut self,
        leg: LegId,
        profile: &MediaProfile,
        sdp: &SessionDescription,
    ) -> Result<(), MediaRefusal> {
        let MediaProfile::Rtp { codecs, towards, own_address, encryption, .. } = profile else {
            if *profile == MediaProfile::WebRtc {
                // its transport waits for the answer
                self.describe(leg, webrtc_codecs(sdp)?);
            }
            return Ok(());
        };
        let profiles = self.shared.config.sdes_profiles();
        let rules = PlainRules { encryption: *encryption, profiles: &profiles };
        let remote = read_plain_offer(sdp, codecs, rules)?;
        match self.legs.iter().find(|l| l.id == leg).and_then(|l| l.plain.as_ref()) {
            Some(plain) => remote.check_reach(plain.rtp.ip(), OursIs::Begun)?,
            None => {
                self.check_reach(&remote, *towards, *own_address)?;
                // its ports now: nobody shall answer a caller for whom there are none
                self.plain_leg(leg, profile, remote.rtp.map(|rtp| rtp.ip()))?;
            }
        }
        if self.describe(leg, remote.codecs)
            && let Some(leg) = self.legs.iter_mut().find(|l| l.id == leg)
        {
            leg.ptime = remote.ptime;
        }
        Ok(())
    }

    /// An offer of the leg names these codecs, and waits. True when the leg has no media by now.
    fn describe(&mut self, leg: LegId, codecs: Vec<Codec>) -> bool {
        let at = self.leg(leg);
        let Some(leg) = self.legs.get_mut(at) else { return false };
        let is_first = leg.codec().is_none();
        if is_first {
            leg.described = codecs;
        } else {
            leg.free = Some(codecs);
        }
        is_first
    }

    /// Answers with the codec when media can flow now and could not before, or by another codec.
    pub(super) fn accept_answer(
        &mut self,
        leg: LegId,
        sdp: &SessionDescription,
    ) -> Result<Option<Codec>, MediaRefusal> {
        let unknown = MediaRefusal::Unusable("an answer without an offer of ours");
        let beside = self.codecs_beside(leg);
        let at = self.legs.iter().position(|l| l.id == leg).ok_or(unknown.clone())?;
        let plain = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()).ok_or(unknown.clone())?;
        let offer = plain.offer.as_ref().ok_or(unknown)?;
        let remote = read_plain_answer(sdp, offer, &beside)?;
        remote.check_reach(plain.rtp.ip(), OursIs::Begun)?;
        plain.security = match (&remote.security, offer.security()) {
            (Security::Sdes(far), OwnSecurity::Sdes(lines)) => {
                OwnSecurity::Sdes(lines.iter().filter(|l| l.tag == far.tag).cloned().collect())
            }
            (_, OwnSecurity::Dtls { .. }) => plain.security.clone(),
            _ => OwnSecurity::Clear,
        };
        self.install(at, &remote)
    }

    pub(super) fn accept_plain(
        &mut self,
        leg: LegId,
        sdp: &SessionDescription,
        profile: &MediaProfile,
    ) -> Result<(SessionDescription, Option<Codec>), MediaRefusal> {
        let MediaProfile::Rtp { codecs, towards, own_address, encryption, .. } = profile else {
            return Err(MediaRefusal::Unusable("this leg speaks no plain RTP"));
        };
        let wanted = common(codecs, &self.codecs_beside(leg))?;
        let profiles = self.shared.config.sdes_profiles();
        let rules = PlainRules { encryption: *encryption, profiles: &profiles };
        let remote = read_plain_offer(sdp, &wanted, rules)?;
        match self.legs.iter().find(|l| l.id == leg).and_then(|l| l.plain.as_ref()) {
            Some(plain) => remote.check_reach(plain.rtp.ip(), OursIs::Begun)?,
            None => self.check_reach(&remote, *towards, *own_address)?,
        }
        let is_held = self.is_held(leg);
        let ptime = self.ptime_beside(leg);
        let at = self.plain_leg(leg, profile, remote.rtp.map(|rtp| rtp.ip()))?;
        let plain = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()).ok_or(MediaRefusal::Congestion)?;
        match &remote.security {
            Security::Clear => plain.security = OwnSecurity::Clear,
            Security::Sdes(far) => plain.answer_line(far.tag, far.profile, &mut self.seed),
            Security::Dtls(_) => {}
        }
        let connected = self.install(at, &remote)?;
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        let plain = leg.plain.as_ref().ok_or(MediaRefusal::Congestion)?;
        Ok((
            answer_plain(sdp, &remote, is_held, &plain.security, plain.described, ptime, &mut leg.origin),
            connected,
        ))
    }

    /// Hands a far side's description to the media thread.
    fn install(&mut self, at: usize, remote: &PlainRemote) -> Result<Option<Codec>, MediaRefusal> {
        if let Security::Dtls(far) = &remote.security {
            self.associate(at, far, remote.rtp, remote.rtcp)?;
        }
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        leg.ptime = remote.ptime;
        let plain = leg.plain.as_mut().ok_or(MediaRefusal::Congestion)?;
        let before = plain.format.replace(remote.format).map(|f| f.codec);
        plain.far = remote.direction;
        plain.unserved = remote.unserved;
        plain.protocol = Some(remote.protocol.clone());
        plain.far_rtp = remote.rtp.or(plain.far_rtp);
        let stream = plain.stream;
        let protection = match &remote.security {
            Security::Clear => Protection::Clear,
            Security::Dtls(far) if !far.is_muxed => Protection::SrtpEach,
            Security::Sdes(_) | Security::Dtls(_) => Protection::Srtp,
        };
        let was_protected = std::mem::replace(&mut plain.is_protected, protection != Protection::Clear);
        let is_up = plain.dtls.as_ref().is_none_or(Dtls::is_up);
        let keys = plain.keys(&remote.security);
        let is_held = self.legs.get(at).is_some_and(|l| self.is_held(l.id));
        // before the address is known: not one packet passes otherwise than was agreed
        let mut is_taken = true;
        if was_protected || protection != Protection::Clear {
            is_taken &= self.tell(Command::Protect(stream, protection));
        }
        if let Some(keys) = keys {
            is_taken &= self.tell(Command::Keys(stream, Box::new(keys)));
        }
        is_taken &= self.tell(Command::Format(stream, remote.format));
        is_taken &= self.tell(direction(stream, remote.direction, is_held));
        // on hold by a null address, the old one stays: media comes back there
        if let Some(rtp) = remote.rtp {
            let rtcp = remote.rtcp.unwrap_or(rtp);
            is_taken &= self.tell(Command::Remote(stream, rtp, rtcp));
        }
        self.relink();
        let codec = remote.format.codec;
        let is_news = is_up && before != Some(codec);
        if is_taken { Ok(is_news.then_some(codec)) } else { Err(MediaRefusal::Congestion) }
    }

    /// Whether an address of ours can be found that reaches the far side's media.
    fn check_reach(
        &self,
        remote: &PlainRemote,
        towards: IpAddr,
        own: OwnAddress,
    ) -> Result<(), MediaRefusal> {
        match self.shared.own_address(towards, own, remote.rtp.map(|rtp| rtp.ip())) {
            Ok(local) => remote.check_reach(local, OursIs::Configured),
            Err(NoSocket::NoRoute { .. }) => remote.check_reach(towards, OursIs::WithoutRoute),
            Err(why) => Err(MediaRefusal::NoSocket(why)),
        }
    }

    /// The place of a plain leg, with its ports; `media_at` is where its description wants media.
    fn plain_leg(
        &mut self,
        id: LegId,
        profile: &MediaProfile,
        media_at: Option<IpAddr>,
    ) -> Result<usize, MediaRefusal> {
        let MediaProfile::Rtp {
            codecs,
            towards,
            own_address,
            external,
            is_symmetric,
            hold_music,
            encryption,
            ..
        } = profile
        else {
            return Err(MediaRefusal::Unusable("this leg speaks no plain RTP"));
        };
        let at = self.leg(id);
        if let Some(leg) = self.legs.get_mut(at) {
            leg.hold_music.clone_from(hold_music);
            leg.codecs.clone_from(codecs);
        }
        if self.legs.get(at).is_some_and(|l| l.plain.is_some()) {
            return Ok(at);
        }
        let opened = self.shared.open_pair(*towards, *own_address, media_at, *is_symmetric);
        let (rtp, mut sockets) = opened.map_err(MediaRefusal::NoSocket)?;
        sockets.leg = Some((self.call, id));
        let stream = self.shared.stream_id();
        let dtls = match encryption {
            Encryption::Dtls => match self.open_dtls(&sockets) {
                Ok(dtls) => Some(dtls),
                Err(error) => {
                    self.shared.put_back(rtp.port());
                    return Err(MediaRefusal::NoSocket(no_socket(error)));
                }
            },
            _ => None,
        };
        let stats = Arc::new(StreamStats::default());
        let news = Some(self.news.clone());
        let source = OwnSource::random(&mut self.seed);
        let shown = Arc::clone(&stats);
        let is_added = self.tell(Command::AddPlain { id: stream, source, sockets, stats: shown, news })
            && dtls.as_ref().is_none_or(|d| self.tell(Command::Inlets(stream, d.inlets())));
        if !is_added {
            self.shared.put_back(rtp.port());
            return Err(MediaRefusal::Congestion);
        }
        if let Some(leg) = self.legs.get_mut(at) {
            leg.plain = Some(Plain {
                stream,
                owner: Owner { leg: id, party: leg.party.clone() },
                stats,
                rtp,
                far_rtp: None,
                described: external.of(rtp),
                offer: None,
                format: None,
                far: Direction::SendRecv,
                unserved: Unserved::default(),
                security: OwnSecurity::Clear,
                protocol: None,
                is_protected: false,
                dtls,
            });
            if leg.is_expected {
                self.tell(Command::Expect(stream));
            }
        }
        Ok(at)
    }

    pub(super) fn close_plain(&self, plain: &Plain) {
        self.tell(Command::Remove(plain.stream));
        if let Some(dtls) = &plain.dtls {
            dtls.close();
        }
        self.note_end(plain.stream, &plain.owner, plain.kind(), plain.far_rtp, &plain.stats);
        self.shared.put_back(plain.rtp.port());
    }
}

impl Plain {
    /// The keys of both directions, where the descriptions have them.
    fn keys(&self, far: &Security) -> Option<SrtpKeys> {
        match (far, &self.security) {
            (Security::Sdes(far), OwnSecurity::Sdes(lines)) => {
                let ours = lines.iter().find(|l| l.tag == far.tag)?;
                Some(SrtpKeys { profile: far.profile, local: ours.key.clone(), remote: far.key.clone() })
            }
            _ => None,
        }
    }

    /// The DTLS association has this role, and RTCP goes with RTP or not.
    pub(super) fn settle_dtls(&mut self, fingerprint: Fingerprint, setup: Setup, is_muxed: bool) {
        self.security = OwnSecurity::Dtls { fingerprint, setup, is_muxed };
    }
}

/// The profile of RTP in our offers (RFC 3551, RFC 4585, RFC 3711, RFC 5124, RFC 5764).
const fn protocol(encryption: Encryption, is_avpf: bool) -> &'static str {
    match (encryption, is_avpf) {
        // keys in clear's company: who knows them encrypts, who does not passes them over
        (Encryption::Off | Encryption::SdesOptional, false) => "RTP/AVP",
        (Encryption::Off | Encryption::SdesOptional, true) => "RTP/AVPF",
        (Encryption::Sdes, false) => "RTP/SAVP",
        (Encryption::Sdes, true) => "RTP/SAVPF",
        (Encryption::Dtls, false) => "UDP/TLS/RTP/SAVP",
        (Encryption::Dtls, true) => "UDP/TLS/RTP/SAVPF",
    }
}
