//! One media transport of a leg as its worker knows it: where it sends and from where it may receive, keys,
//! what it speaks, what it counted. Pure data and decisions; [`super::worker::Worker`] owns all of them.

use super::keys::{Heard, Sending};
use super::packet::{PacketBuf, RtpHeader};
use super::relay::{Format, Outgoing};
use super::rtcp::Reception;
use super::srtp::Srtp;
use super::stats::{Drop, StreamStats};
use super::tone::Player;
use crate::base::{Path, StreamId};
use crate::peer::PeerInput;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where STUN and DTLS of a stream go: its association. Never blocks; drops when full.
pub trait PeerInlet: Send + Sync {
    /// Hands over.
    fn input(&self, input: PeerInput);
}

/// What a stream sends as (RFC 3550 §3, RFC 7022 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnSource {
    /// Our SSRC, for the stream's whole life.
    pub ssrc: u32,
    /// Our name for this stream, random.
    pub cname: String,
}

impl OwnSource {
    /// A random one.
    #[must_use]
    pub fn random(seed: &mut crate::base::Seed) -> Self {
        Self { ssrc: seed.next_u32(), cname: seed.token(16) }
    }
}

/// How a stream's packets travel.
pub enum Transport {
    /// ICE, SRTP, RTCP on the same port, on the worker's shared sockets.
    WebRtc(WebRtc),
    /// RTP or SRTP on a pair of sockets of its own, without ICE.
    Plain(Plain),
}

/// State of a WebRTC transport.
pub struct WebRtc {
    /// Our ufrag, by which requests from unknown addresses find their stream; after an ICE restart also the one
    /// before, which the far side goes on with until it knows the new one.
    pub ufrag: String,
    pub(super) old_ufrag: Option<String>,
    /// Its association; none where keys are given by hand (load tools).
    pub inlet: Option<Arc<dyn PeerInlet>>,
    /// Where media goes.
    pub selected: Option<(u8, SocketAddr)>,
    /// Paths that may bring media.
    pub(super) bound: Vec<(u8, SocketAddr)>,
    /// Paths that brought a request with our ufrag, not yet proved; their DTLS goes to the association, which
    /// checks for itself.
    pub(super) hinted: Vec<(u8, SocketAddr)>,
    /// Its keys, once the handshake is done.
    pub(super) srtp: Option<Box<Srtp>>,
    pub(super) ssrcs: Vec<u32>,
    pub(super) media_from_at: Option<Instant>,
}

/// Most paths a stream may be bound to; a browser has a few, the oldest is forgotten.
pub(super) const BOUND_MAX: usize = 8;
/// Most unproved paths remembered.
pub(super) const HINTED_MAX: usize = 4;

impl WebRtc {
    /// Without paths and keys.
    #[must_use]
    pub fn new(ufrag: String, inlet: Option<Arc<dyn PeerInlet>>) -> Self {
        Self {
            ufrag,
            old_ufrag: None,
            inlet,
            selected: None,
            bound: Vec::with_capacity(BOUND_MAX),
            hinted: Vec::with_capacity(HINTED_MAX),
            srtp: None,
            ssrcs: Vec::with_capacity(super::srtp::SOURCES_MAX),
            media_from_at: None,
        }
    }
}

/// How a plain transport is protected; settled by offer and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    Clear,
    /// By SRTP with keys that RTP and RTCP share.
    Srtp,
    /// By SRTP, and RTCP has keys of its own: each port had its handshake (RFC 5764).
    SrtpEach,
}

/// The keys of a protected plain transport, those that are there.
#[derive(Default)]
pub(super) struct Keys {
    rtp: Option<Box<Srtp>>,
    rtcp: Option<Box<Srtp>>,
    has_each: bool,
}

impl Keys {
    /// What RTP is opened and sealed by.
    pub(super) fn rtp(&mut self) -> Result<&mut Srtp, Drop> {
        self.rtp.as_deref_mut().ok_or(Drop::NoKeys)
    }

    /// What RTCP is opened and sealed by.
    pub(super) fn rtcp(&mut self) -> Result<&mut Srtp, Drop> {
        if self.has_each { self.rtcp.as_deref_mut().ok_or(Drop::NoKeys) } else { self.rtp() }
    }

    /// Where the keys of RTP, or those of RTCP's own, are.
    pub(super) fn slot(&mut self, is_rtcp: bool) -> &mut Option<Box<Srtp>> {
        if is_rtcp { &mut self.rtcp } else { &mut self.rtp }
    }
}

/// State of a plain transport.
#[derive(Default)]
pub struct Plain {
    /// Where RTP goes.
    pub rtp: Option<SocketAddr>,
    /// Where RTCP goes.
    pub rtcp: Option<SocketAddr>,
    /// Whether media may come from another address than the description names.
    pub is_symmetric: bool,
    /// The address that signalling goes to: a symmetric transport believes it more than others.
    pub home: Option<IpAddr>,
    /// Where DTLS of the RTP socket and of the RTCP socket goes, where there is any.
    pub inlets: [Option<Arc<dyn PeerInlet>>; 2],
    /// Its keys where it is protected: nothing passes in clear then, and nothing at all before they are there.
    pub(super) keys: Option<Keys>,
    /// A symmetric transport's address is settled: until the next description, or until a stranger who spoke
    /// first gives way to the party itself.
    pub(super) is_locked: bool,
    /// The addresses of the last description, whatever was learned since.
    pub(super) described: Option<(Option<SocketAddr>, Option<SocketAddr>)>,
    /// The first packet of a candidate for the lock.
    pub(super) probation: Option<(SocketAddr, u32, u16)>,
}

impl Plain {
    /// Protected or not, from now on; keys that are there stay.
    pub(super) fn set_protection(&mut self, protection: Protection) {
        if protection == Protection::Clear {
            self.keys = None;
        } else {
            self.keys.get_or_insert_default().has_each = protection == Protection::SrtpEach;
        }
    }

    /// Whether media can pass: in clear, or because the keys are there.
    fn is_open(&self) -> bool {
        self.rtp.is_some() && self.keys.as_ref().is_none_or(|k| k.rtp.is_some())
    }

    /// Whether RTCP travels with RTP (RFC 5761).
    pub(super) fn is_muxed(&self) -> bool {
        self.rtp.is_some() && self.rtp == self.rtcp
    }

    /// Opens or admits an RTP packet. Where it is protected, a stranger's is told from the far side's by its tag before
    /// anything is learned from it.
    pub(super) fn open_rtp(
        &mut self,
        from: SocketAddr,
        format: Option<&Format>,
        buf: &mut PacketBuf,
    ) -> Result<RtpHeader, Drop> {
        let is_known = self.rtp == Some(from);
        if !is_known && !self.is_symmetric {
            return Err(Drop::WrongSource);
        }
        let header = match &mut self.keys {
            Some(keys) => keys.rtp()?.unprotect_rtp(buf)?,
            None => RtpHeader::parse(buf.bytes())?,
        };
        // a symmetric transport learns from negotiated payload types only
        if let Some(format) = format.filter(|_| !is_known) {
            format.kind_of(header.payload_type).map_err(|_| Drop::WrongSource)?;
        }
        self.admit(from, &header)?;
        Ok(header)
    }

    /// Opens or admits an RTCP packet.
    pub(super) fn open_rtcp(&mut self, from: SocketAddr, buf: &mut PacketBuf) -> Result<(), Drop> {
        match &mut self.keys {
            // whoever has the keys is the far side, and teaches where its RTCP comes from
            Some(keys) if self.is_symmetric || self.rtcp == Some(from) => keys.rtcp()?.unprotect_rtcp(buf)?,
            Some(_) => return Err(Drop::WrongSource),
            None => {}
        }
        self.admit_rtcp(from)
    }

    /// Takes a new description's addresses; a symmetric transport may then learn anew. The same description
    /// again (a refreshed session) keeps what was learned until something else proves itself.
    pub fn set_remote(&mut self, rtp: Option<SocketAddr>, rtcp: Option<SocketAddr>) {
        if self.described.replace((rtp, rtcp)) != Some((rtp, rtcp)) {
            self.rtp = rtp;
            self.rtcp = rtcp;
        }
        self.is_locked = false;
        self.probation = None;
    }

    /// Whether an RTP packet of a negotiated payload type may come from there; locks a symmetric transport on
    /// the address of the description at its first packet, on another at the second in sequence of one
    /// source. Anybody can speak before the party does: so the address of the description, or of the host
    /// that signalling goes to, takes the lock from one that is neither, and never the other way round.
    pub(super) fn admit(&mut self, from: SocketAddr, header: &RtpHeader) -> Result<(), Drop> {
        if self.rtp == Some(from) {
            self.is_locked = true;
            return Ok(());
        }
        let Some(settled) = self.rtp.filter(|_| self.is_symmetric) else { return Err(Drop::WrongSource) };
        let is_party = self.is_party(from);
        if self.is_locked && (!is_party || self.is_party(settled)) {
            return Err(Drop::WrongSource);
        }
        // a stranger may not interrupt the party's two packets
        if !is_party && self.probation.is_some_and(|(address, ..)| self.is_party(address)) {
            return Err(Drop::WrongSource);
        }
        match self.probation.replace((from, header.ssrc, header.sequence)) {
            Some((address, ssrc, sequence))
                if address == from
                    && ssrc == header.ssrc
                    && (1..=3).contains(&header.sequence.wrapping_sub(sequence)) =>
            {
                let is_muxed = self.is_muxed();
                self.rtp = Some(from);
                // until the first RTCP names its port, the next one up (RFC 3550 §11)
                let next = from.port().checked_add(1).map(|port| SocketAddr::new(from.ip(), port));
                self.rtcp = if is_muxed { self.rtp } else { next };
                self.is_locked = true;
                self.probation = None;
                Ok(())
            }
            _ => Err(Drop::WrongSource),
        }
    }

    fn is_party(&self, address: SocketAddr) -> bool {
        self.described.is_some_and(|(rtp, _)| rtp == Some(address)) || self.home == Some(address.ip())
    }

    /// Whether an RTCP packet may come from there.
    pub(super) fn admit_rtcp(&mut self, from: SocketAddr) -> Result<(), Drop> {
        if self.rtcp == Some(from) {
            return Ok(());
        }
        // a NAT gives RTCP a port of its own; its address is the one RTP was locked on
        if self.is_symmetric && self.is_locked && self.rtp.is_some_and(|rtp| rtp.ip() == from.ip()) {
            self.rtcp = Some(from);
            return Ok(());
        }
        Err(Drop::WrongSource)
    }
}

/// A far side that holds without music of its own is told from one with it after so long.
const MUTE_AFTER: Duration = Duration::from_secs(1);

/// A far side that takes nothing and may send (RFC 3264 §8.4: `sendonly`, or a null address): what it sends is
/// its music on hold. Many send none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holding {
    since: Instant,
    /// Packets that had come, and when the last of them was seen.
    count: u64,
    heard_at: Instant,
    /// More came than what was on its way when the hold began.
    has_music: bool,
}

impl Holding {
    /// Since now, when that many packets had come.
    pub(super) const fn new(now: Instant, count: u64) -> Self {
        Self { since: now, count, heard_at: now, has_music: false }
    }

    /// So many packets have come by now; whether the far side is mute.
    pub(super) fn look(&mut self, now: Instant, count: u64) -> bool {
        if self.count != count {
            self.count = count;
            self.heard_at = now;
            self.has_music |= now.saturating_duration_since(self.since) >= MUTE_AFTER;
        }
        now.saturating_duration_since(self.heard_at) >= MUTE_AFTER
    }

    /// Moves its times.
    pub(super) fn shift(&mut self, shift: impl Fn(&mut Instant)) {
        shift(&mut self.since);
        shift(&mut self.heard_at);
    }
}

/// What [`Quiet::look`] saw.
pub(super) enum Hush {
    /// Nothing has come since then, though it should.
    Quiet {
        /// When it was noticed that nothing came any more.
        since: Instant,
    },
    /// Something comes again.
    Over,
}

/// Whether RTP of the far side stays away; told once, and once that it is back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quiet {
    pub(super) since: Instant,
    count: u64,
    is_told: bool,
    is_over: bool,
}

impl Quiet {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, count: 0, is_told: false, is_over: false }
    }

    /// So many packets have come by now, and the far side should send or not.
    pub(super) fn look(&mut self, now: Instant, count: u64, should_send: bool) -> Option<Hush> {
        if !should_send || count != self.count {
            self.since = now;
        }
        let has_come = std::mem::replace(&mut self.count, count) != count;
        if self.is_told {
            let is_news = has_come && !self.is_over;
            self.is_over |= has_come;
            return is_news.then_some(Hush::Over);
        }
        let is_long = now.saturating_duration_since(self.since) >= super::worker::QUIET_AFTER;
        self.is_told = is_long;
        is_long.then_some(Hush::Quiet { since: self.since })
    }
}

/// One media transport.
pub struct Stream {
    /// Its name.
    pub id: StreamId,
    /// How it travels.
    pub transport: Transport,
    /// What it speaks; none until offer and answer are done.
    pub(super) format: Option<Format>,
    pub(super) outgoing: Option<Outgoing>,
    pub(super) reception: Reception,
    /// Whose media it gets, by slot; none: silence.
    pub(super) hears: Option<usize>,
    /// What it gets while it hears nobody.
    pub(super) player: Player,
    /// Keys that are sent to its far side.
    pub(super) sending: Sending,
    /// Keys that its far side presses.
    pub(super) heard: Heard,
    /// Who gets its media, by slot.
    pub(super) heard_by: Option<usize>,
    /// The far side wants media.
    pub(super) may_send: bool,
    /// The far side sends media.
    pub(super) may_receive: bool,
    pub(super) is_silent: bool,
    /// The far side holds the call and may send music of its own.
    pub(super) holding: Option<Holding>,
    /// It holds the call and sends nothing.
    pub(super) is_mute: bool,
    /// When RTP or RTCP last came, or became able to come. A PBX that records sends reports alone.
    pub(super) last_heard: Instant,
    /// Whether its RTP stays away.
    pub(super) quiet: Quiet,
    /// It was told that packets cannot be sent.
    pub(super) is_unsent_told: bool,
    /// It was told that another codec comes than the one in use.
    pub(super) is_other_codec_told: bool,
    /// Whether the far side should send: only then does the media timeout count.
    pub(super) is_expected: bool,
    pub(super) is_timed_out: bool,
    pub(super) next_report: Instant,
    /// A report of ours went out.
    pub(super) has_reported: bool,
    pub(super) stats: Arc<StreamStats>,
    pub(super) source: OwnSource,
}

impl Stream {
    /// Whether media of the far side can come in.
    pub(super) fn is_live(&self) -> bool {
        let is_open = match &self.transport {
            Transport::WebRtc(w) => w.srtp.is_some(),
            Transport::Plain(p) => p.is_open(),
        };
        is_open && self.may_receive && self.format.is_some() && !self.is_mute
    }

    /// Whether the far side's media is waited for: it can come in, or cannot yet for want of keys.
    pub(super) fn is_awaited(&self) -> bool {
        let has_address = matches!(&self.transport, Transport::Plain(plain) if plain.rtp.is_some());
        self.is_live() || (has_address && self.may_receive && self.format.is_some() && !self.is_mute)
    }

    /// Whether the far side may be given up for lost when it sends nothing: one that holds the call need not send.
    pub(super) fn must_send(&self) -> bool {
        self.is_expected && (self.is_live() || self.holding.is_some_and(|h| self.is_mute && h.has_music))
    }

    /// Whether media can go out to the far side.
    pub(super) fn is_ready(&self) -> bool {
        let is_open = match &self.transport {
            Transport::WebRtc(w) => w.srtp.is_some() && w.selected.is_some(),
            Transport::Plain(p) => p.is_open(),
        };
        is_open && self.may_send && self.format.is_some()
    }

    /// Protects an RTP packet if this transport does that.
    pub(super) fn seal_rtp(&mut self, buf: &mut PacketBuf, index: u64) -> Result<(), Drop> {
        match &mut self.transport {
            Transport::WebRtc(w) => w.srtp.as_mut().ok_or(Drop::NoKeys)?.protect_rtp(buf, index),
            Transport::Plain(p) => match &mut p.keys {
                Some(keys) => keys.rtp()?.protect_rtp(buf, index),
                None => Ok(()),
            },
        }
    }

    /// The key of the address table for a path.
    pub(super) fn forget_path(&mut self, key: (u8, SocketAddr)) {
        if let Transport::WebRtc(w) = &mut self.transport {
            w.bound.retain(|p| *p != key);
        }
    }
}

/// A path as the worker's tables key it; none when its local address is no socket of the worker.
pub(super) fn path_key(sockets: &[SocketAddr], path: Path) -> Option<(u8, SocketAddr)> {
    let at = sockets.iter().position(|s| *s == path.local)?;
    Some((u8::try_from(at).ok()?, path.remote))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(ssrc: u32, sequence: u16) -> RtpHeader {
        RtpHeader {
            is_marked: false,
            payload_type: 0,
            sequence,
            timestamp: 0,
            ssrc,
            header_len: 12,
            is_padded: false,
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn plain(is_symmetric: bool) -> Plain {
        let mut plain = Plain { is_symmetric, ..Plain::default() };
        plain.set_remote(Some(address("192.0.2.1:4000")), Some(address("192.0.2.1:4001")));
        plain
    }

    #[test]
    fn a_transport_with_a_fixed_peer_takes_nothing_from_others() {
        let mut plain = plain(false);
        for n in 0..10 {
            assert_eq!(plain.admit(address("192.0.2.1:4002"), &header(1, n)), Err(Drop::WrongSource));
        }
        assert_eq!(plain.admit(address("192.0.2.1:4000"), &header(1, 1)), Ok(()));
        assert_eq!(plain.admit_rtcp(address("192.0.2.1:4005")), Err(Drop::WrongSource));
        assert_eq!(plain.rtp, Some(address("192.0.2.1:4000")));
    }

    #[test]
    fn a_symmetric_transport_locks_on_two_packets_in_sequence_and_learns_once() {
        let mut plain = plain(true);
        let (nat, stranger) = (address("198.51.100.7:9000"), address("203.0.113.9:7"));
        assert!(plain.admit(stranger, &header(1, 1)).is_err());
        assert!(plain.admit(nat, &header(2, 10)).is_err());
        assert!(plain.admit(nat, &header(3, 11)).is_err(), "another source");
        assert!(plain.admit(nat, &header(3, 12)).is_ok());
        assert_eq!(plain.rtp, Some(nat));
        for n in 2..10 {
            assert!(plain.admit(stranger, &header(1, n)).is_err());
        }
        assert!(plain.admit_rtcp(stranger).is_err());
        assert!(plain.admit_rtcp(address("198.51.100.7:12345")).is_ok());
        plain.set_remote(Some(address("192.0.2.1:4000")), Some(address("192.0.2.1:4001")));
        assert_eq!(plain.rtp, Some(nat), "a refreshed session does not lose the way");
        assert!(plain.admit(nat, &header(3, 30)).is_ok());
        assert!(plain.admit(stranger, &header(1, 18)).is_err());
        assert!(plain.admit(stranger, &header(1, 19)).is_err());
        plain.set_remote(Some(address("192.0.2.1:4000")), None);
        assert_eq!(plain.rtp, Some(address("192.0.2.1:4000")));
        assert!(plain.admit(stranger, &header(1, 20)).is_err());
        assert!(plain.admit(stranger, &header(1, 21)).is_ok(), "a new answer lets it learn again");
    }

    #[test]
    fn a_symmetric_transport_locks_at_once_on_the_address_of_the_description() {
        let mut plain = plain(true);
        assert!(plain.admit(address("192.0.2.1:4000"), &header(1, 1)).is_ok());
        assert!(plain.admit(address("203.0.113.9:7"), &header(2, 1)).is_err());
        assert!(plain.admit(address("203.0.113.9:7"), &header(2, 2)).is_err());
    }

    #[test]
    fn a_stranger_who_spoke_first_gives_way_to_the_party_and_never_comes_back() {
        let (described, stranger) = (address("192.0.2.1:4000"), address("203.0.113.9:7"));
        for party in [described, address("198.51.100.7:9000")] {
            let mut plain = plain(true);
            plain.home = Some(address("198.51.100.7:5060").ip());
            assert!(plain.admit(stranger, &header(9, 1)).is_err());
            assert!(plain.admit(stranger, &header(9, 2)).is_ok(), "nobody else has spoken");
            assert!(plain.admit(party, &header(1, 50)).is_err());
            assert!(plain.admit(stranger, &header(9, 3)).is_ok());
            assert!(plain.admit(party, &header(1, 51)).is_ok());
            assert_eq!(plain.rtp, Some(party));
            for n in 4..20 {
                assert!(plain.admit(stranger, &header(9, n)).is_err());
            }
            assert_eq!(plain.rtp, Some(party));
        }
    }

    #[test]
    fn a_stranger_who_floods_does_not_keep_the_party_from_being_learned() {
        let mut plain = plain(true);
        plain.home = Some(address("198.51.100.7:5060").ip());
        let (nat, stranger) = (address("198.51.100.7:9000"), address("203.0.113.9:7"));
        assert!(plain.admit(nat, &header(1, 1)).is_err());
        for n in 0..10 {
            assert!(plain.admit(stranger, &header(9, n)).is_err());
        }
        assert!(plain.admit(nat, &header(1, 2)).is_ok());
    }
}
