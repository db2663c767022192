//! The packet machine of one media thread: streams, the tables that find them, and what becomes of a datagram.
//!
//! Pure: it is told the time, the socket and the bytes. Drive it with [`Worker::handle_shared`] (a datagram of
//! a WebRTC socket) and [`Worker::handle_plain`] (one of a plain stream's own sockets), which change the
//! datagram in place and answer with what to do with it; with [`Worker::handle_timeout`] when
//! [`Worker::poll_timeout`] says so, then [`Worker::poll_output`] until it has no more; and with commands
//! (`add`, `set_*`, `bind`, `select`, `hear`, `remove`).
//!
//! A datagram costs one table look-up, opening, rewriting and sealing; nothing is allocated for RTP. Unknown
//! senders reach nothing: STUN requests go to the association they name, everything else from an address
//! that no association proved is dropped, except that SRTP with a known SSRC and a good tag makes the
//! association ask that path for consent.

use super::demux::{Class, StunKind, classify, peek_stun};
use super::keyed::{KeyedMap, KeyedState};
use super::packet::{PacketBuf, RtpHeader};
use super::relay::{FRAME, Format, Kind, Outgoing};
use super::rtcp::{INTERVAL, Reception, Report, write_report};
use super::srtp::{KeyError, Rekeyed, SOURCES_MAX, Srtp};
use super::stats::{Drop, Drops, StreamStats};
use super::stream::{
    BOUND_MAX, HINTED_MAX, Hush, OwnSource, PeerInlet, Protection, Stream, Transport, WebRtc, path_key,
};
use crate::base::{Cause, Digit, Path, Seed, StreamId};
use crate::peer::SrtpKeys;
use slab::Slab;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often timers that may be late are looked at: reports, media timeouts.
const HOUSEKEEPING: Duration = Duration::from_millis(250);
/// Least time between two consent requests caused by SRTP from an unknown path.
const MEDIA_FROM_EVERY: Duration = Duration::from_millis(100);

/// A socket of a plain stream, which is nobody else's.
const UNNAMED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Keys that may wait to be told; a round of datagrams brings a few.
const PRESSED_MAX: usize = 64;

/// By which socket a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A shared WebRTC socket, by index.
    Shared(u8),
    /// The RTP socket of the plain stream in this slot.
    Rtp(usize),
    /// The RTCP socket of the plain stream in this slot.
    Rtcp(usize),
}

/// Where the packet in the buffer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// The socket.
    pub via: Via,
    /// The far side.
    pub to: SocketAddr,
    /// The slot of its stream.
    pub slot: usize,
    /// What it is, for the count where it cannot be sent.
    pub content: Content,
}

/// What a packet of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// RTP of the other leg, or a key.
    Media,
    /// RTP of our own making, which fills a silence.
    Filling,
    /// RTCP.
    Report,
}

/// What becomes of a datagram.
pub enum Verdict {
    /// Nothing more: consumed or dropped, and counted.
    Done,
    /// The buffer holds a packet for another far side.
    Send(Transmit),
    /// STUN or DTLS for an association: the bytes in the buffer.
    Peer(Arc<dyn PeerInlet>, Path),
    /// Tell the association that media with a good tag came by this path.
    MediaFrom(Arc<dyn PeerInlet>, Path),
}

/// What the worker has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The buffer holds a packet of our own: silence, a report.
    Send(Transmit),
    /// A stream's media is gone: [`Cause::MediaTimeout`] or [`Cause::Internal`]. Once a stream.
    Lost(StreamId, Cause),
    /// A stream's far side pressed a key.
    Pressed(StreamId, Digit),
    /// A stream's far side sends another of the codecs that it accepted than the one in use; once a format.
    OtherCodec(StreamId),
    /// A stream's far side should send, and no RTP of it is heard for [`QUIET_AFTER`]. Once a stream.
    Quiet(StreamId, Signs),
    /// RTP of it is heard again; once a stream.
    HeardAgain(StreamId),
    /// RTP of a stream cannot be sent, or comes back, for this reason (`errno`). Once a stream.
    Unsent(StreamId, i32),
}

/// Why a command came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No stream of that name (it may be gone already).
    #[error("no such stream")]
    NoStream,
    /// The command is for the other kind of transport.
    #[error("the stream's transport is of another kind")]
    WrongKind,
    /// The path's local address is no socket of this worker.
    #[error("no socket of this worker has that address")]
    NoSocket,
    /// The keys do not fit their profile.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The far side takes no telephone-events.
    #[error("the far side takes no telephone-events: its description names none")]
    NoEvents,
    /// Too many keys wait to be sent.
    #[error("too many keys wait to be sent")]
    TooManyKeys,
}

/// The machine.
pub struct Worker {
    sockets: Vec<SocketAddr>,
    streams: Slab<Stream>,
    by_id: HashMap<StreamId, usize>,
    by_ufrag: HashMap<String, usize>,
    by_path: KeyedMap<(u8, SocketAddr), usize>,
    by_hint: KeyedMap<(u8, SocketAddr), usize>,
    by_ssrc: KeyedMap<u32, usize>,
    /// Slots that get silence.
    silent: Vec<usize>,
    /// Datagrams of nobody, by reason.
    strays: Arc<Drops>,
    seed: Seed,
    started: (Instant, Duration),
    media_timeout: Duration,
    next_silence: Instant,
    next_housekeeping: Instant,
    /// How far `poll_output` has come in the round of silence and of housekeeping.
    silence_at: Option<usize>,
    housekeeping_at: Option<usize>,
    failed: Vec<StreamId>,
    pressed: Vec<(StreamId, Digit)>,
    other_codecs: Vec<StreamId>,
    unsent: Vec<(StreamId, i32)>,
    /// Slots to whose far side keys are being sent.
    keying: Vec<usize>,
    keying_at: Option<usize>,
    current: Option<usize>,
}

impl Worker {
    /// The shared sockets, in order of their index, of a worker that was made without.
    pub fn set_sockets(&mut self, sockets: Vec<SocketAddr>) {
        self.sockets = sockets;
    }

    /// A worker with these shared sockets (in order of their index), started at `now`, which is `wall` after
    /// 1970 by the machine's clock.
    #[must_use]
    pub fn new(
        sockets: Vec<SocketAddr>,
        media_timeout: Duration,
        now: Instant,
        wall: Duration,
        mut seed: Seed,
    ) -> Self {
        let keyed = KeyedState::new(&mut seed);
        Self {
            sockets,
            streams: Slab::with_capacity(64),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_path: KeyedMap::with_hasher(keyed.clone()),
            by_hint: KeyedMap::with_hasher(keyed.clone()),
            by_ssrc: KeyedMap::with_capacity_and_hasher(256, keyed),
            silent: Vec::with_capacity(64),
            strays: Arc::default(),
            seed,
            started: (now, wall),
            media_timeout,
            next_silence: now,
            next_housekeeping: now,
            silence_at: None,
            housekeeping_at: None,
            failed: Vec::new(),
            pressed: Vec::with_capacity(PRESSED_MAX),
            other_codecs: Vec::with_capacity(PRESSED_MAX),
            unsent: Vec::with_capacity(PRESSED_MAX),
            keying: Vec::with_capacity(64),
            keying_at: None,
            current: None,
        }
    }

    /// Datagrams that belonged to no stream, by reason.
    #[must_use]
    pub fn strays(&self) -> Arc<Drops> {
        Arc::clone(&self.strays)
    }

    /// Streams there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Slot of a stream, for the owner of its sockets.
    #[must_use]
    pub fn slot_of(&self, id: StreamId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    // ---- datagrams

    /// A datagram of a shared socket.
    pub fn handle_shared(
        &mut self,
        now: Instant,
        socket: u8,
        from: SocketAddr,
        buf: &mut PacketBuf,
    ) -> Verdict {
        self.current = None;
        let Some(class) = classify(buf.bytes()) else {
            return self.stray(Drop::Unclassified);
        };
        let key = (socket, from);
        let bound = self.by_path.get(&key).copied();
        match (class, bound) {
            (Class::Rtp, Some(slot)) => self.handle_rtp(now, slot, None, buf),
            (Class::Rtp, None) => self.handle_unknown_rtp(now, key, buf),
            (Class::Rtcp, Some(slot)) => self.handle_rtcp(now, slot, None, buf),
            (Class::Rtcp, None) => self.stray(Drop::WrongSource),
            (Class::Dtls, bound) => match bound.or_else(|| self.by_hint.get(&key).copied()) {
                Some(slot) => self.hand_to_peer(slot, key),
                None => self.stray(Drop::WrongSource),
            },
            (Class::Stun, bound) => self.handle_stun(key, bound, buf),
        }
    }

    /// A datagram of the own sockets of the plain stream in `slot`.
    pub fn handle_plain(
        &mut self,
        now: Instant,
        slot: usize,
        is_rtcp_socket: bool,
        from: SocketAddr,
        buf: &mut PacketBuf,
    ) -> Verdict {
        self.current = None;
        match (classify(buf.bytes()), is_rtcp_socket) {
            (Some(Class::Rtp), false) => self.handle_rtp(now, slot, Some(from), buf),
            (Some(Class::Rtcp), _) => self.handle_rtcp(now, slot, Some(from), buf),
            (Some(Class::Dtls), _) => self.handle_plain_dtls(slot, is_rtcp_socket, from),
            _ => self.dropped(slot, Drop::Unclassified),
        }
    }

    /// DTLS of a plain stream: its association compares the sender with the description.
    fn handle_plain_dtls(&self, slot: usize, is_rtcp_socket: bool, from: SocketAddr) -> Verdict {
        let [rtp, rtcp] = match self.streams.get(slot).map(|s| &s.transport) {
            Some(Transport::Plain(plain)) => &plain.inlets,
            _ => return self.stray(Drop::WrongSource),
        };
        match if is_rtcp_socket { rtcp } else { rtp } {
            // the association knows which socket of ours it has
            Some(inlet) => Verdict::Peer(Arc::clone(inlet), Path { local: UNNAMED, remote: from }),
            None => self.dropped(slot, Drop::Unclassified),
        }
    }

    /// Handling the last datagram was a fault of ours: the stream it concerned, if one was found, is lost.
    pub fn handle_fault(&mut self) {
        self.strays.count(Drop::Fault);
        if let Some(stream) = self.current.take().and_then(|slot| self.streams.get_mut(slot))
            && !std::mem::replace(&mut stream.is_timed_out, true)
        {
            self.failed.push(stream.id);
        }
    }

    fn handle_rtp(
        &mut self,
        now: Instant,
        slot: usize,
        plain_from: Option<SocketAddr>,
        buf: &mut PacketBuf,
    ) -> Verdict {
        self.current = Some(slot);
        let since = now.saturating_duration_since(self.started.0);
        let Some(stream) = self.streams.get_mut(slot) else { return self.stray(Drop::WrongSource) };
        let opened = open_rtp(stream, plain_from, buf).and_then(|header| {
            // a sign of life, whatever it carries: a PBX may send comfort noise that nobody asked for
            stream.last_heard = now;
            let format = stream.format.as_ref().ok_or(Drop::NotReady)?;
            Ok((header, format.kind_of(header.payload_type)?, format.codec.clock_rate()))
        });
        let (header, kind, clock_rate) = match opened {
            Ok(opened) => opened,
            Err(reason) => {
                if reason == Drop::OtherCodec
                    && self.other_codecs.len() < PRESSED_MAX
                    && !std::mem::replace(&mut stream.is_other_codec_told, true)
                {
                    self.other_codecs.push(stream.id);
                }
                return self.dropped(slot, reason);
            }
        };
        stream.stats.packets_in.add(1);
        stream.stats.bytes_in.add(buf.len() as u64);
        stream.reception.receive(since, &header, clock_rate);
        if let Transport::WebRtc(webrtc) = &mut stream.transport
            && webrtc.ssrcs.last() != Some(&header.ssrc)
        {
            learn_ssrc(&mut self.by_ssrc, webrtc, slot, header.ssrc);
        }
        if matches!(kind, Kind::Event(_))
            && let Some(digit) =
                header.payload(buf.bytes()).ok().and_then(|p| stream.heard.handle(&header, p))
        {
            stream.player.press(digit);
            if self.pressed.len() < PRESSED_MAX {
                self.pressed.push((stream.id, digit));
            }
        }
        let listener = stream.heard_by;
        let may_receive = stream.may_receive;
        if std::mem::take(&mut stream.is_mute) {
            self.refresh_around(slot);
        }
        let Some((to, listener)) = listener.and_then(|l| Some((l, self.streams.get_mut(l)?))) else {
            return self.dropped(slot, Drop::NoSink);
        };
        if !may_receive || !listener.is_ready() {
            return self.dropped(to, Drop::NotReady);
        }
        let sent = match (&mut listener.outgoing, &listener.format) {
            _ if listener.sending.is_sounding() => Err(Drop::Keying),
            (Some(outgoing), Some(format)) => outgoing.rewrite(now, &header, kind, format, buf),
            _ => Err(Drop::NotReady),
        };
        match sent.and_then(|placed| listener.seal_rtp(buf, placed.index)) {
            Ok(()) => match destination(to, listener, Content::Media) {
                Some(transmit) => {
                    listener.stats.packets_out.add(1);
                    listener.stats.bytes_out.add(buf.len() as u64);
                    Verdict::Send(transmit)
                }
                None => self.dropped(to, Drop::NotReady),
            },
            Err(reason) => self.dropped(to, reason),
        }
    }

    fn handle_rtcp(
        &mut self,
        now: Instant,
        slot: usize,
        plain_from: Option<SocketAddr>,
        buf: &mut PacketBuf,
    ) -> Verdict {
        self.current = Some(slot);
        let wall = self.wall(now);
        let Some(stream) = self.streams.get_mut(slot) else { return self.stray(Drop::WrongSource) };
        let opened = match (&mut stream.transport, plain_from) {
            (Transport::WebRtc(webrtc), _) => {
                webrtc.srtp.as_mut().ok_or(Drop::NoKeys).and_then(|s| s.unprotect_rtcp(buf))
            }
            (Transport::Plain(plain), Some(from)) => plain.open_rtcp(from, buf),
            (Transport::Plain(_), None) => Err(Drop::WrongSource),
        };
        if let Err(reason) = opened {
            return self.dropped(slot, reason);
        }
        stream.last_heard = now;
        if let Some(outgoing) = &stream.outgoing {
            stream.reception.handle_rtcp(now, wall, outgoing.ssrc(), buf.bytes());
        }
        Verdict::Done
    }

    /// SRTP from an address nobody proved: with a known SSRC and a good tag, its association asks there for
    /// consent. The tag is looked at a few times a second only.
    fn handle_unknown_rtp(&mut self, now: Instant, key: (u8, SocketAddr), buf: &mut PacketBuf) -> Verdict {
        let slot = RtpHeader::parse(buf.bytes()).ok().and_then(|h| self.by_ssrc.get(&h.ssrc).copied());
        let Some(slot) = slot else { return self.stray(Drop::WrongSource) };
        self.current = Some(slot);
        let path = self.path(key);
        let Some(Transport::WebRtc(webrtc)) = self.streams.get_mut(slot).map(|s| &mut s.transport) else {
            return self.stray(Drop::WrongSource);
        };
        let is_due =
            webrtc.media_from_at.is_none_or(|at| now.saturating_duration_since(at) >= MEDIA_FROM_EVERY);
        if is_due {
            webrtc.media_from_at = Some(now);
            let is_genuine = webrtc.srtp.as_mut().is_some_and(|s| s.unprotect_rtp(buf).is_ok());
            if let (true, Some(inlet), Some(path)) = (is_genuine, &webrtc.inlet, path) {
                return Verdict::MediaFrom(Arc::clone(inlet), path);
            }
        }
        self.dropped(slot, Drop::WrongSource)
    }

    /// Requests go to the association whose ufrag they name, the rest to the one the path belongs to. Responses
    /// from other paths are found by their transaction, which the owner of the sockets knows.
    fn handle_stun(&mut self, key: (u8, SocketAddr), bound: Option<usize>, buf: &PacketBuf) -> Verdict {
        let slot = match peek_stun(buf.bytes()) {
            Some(StunKind::Request(Some(ufrag))) => self.by_ufrag.get(ufrag).copied(),
            Some(_) => bound,
            None => None,
        };
        let Some(slot) = slot else { return self.stray(Drop::WrongSource) };
        if bound != Some(slot) {
            self.hint(slot, key);
        }
        self.hand_to_peer(slot, key)
    }

    /// A STUN response for the association of a stream that asked from the socket.
    pub fn handle_stun_response(&mut self, id: StreamId, socket: u8, from: SocketAddr) -> Verdict {
        self.current = None;
        match self.by_id.get(&id).copied() {
            Some(slot) => self.hand_to_peer(slot, (socket, from)),
            None => self.stray(Drop::WrongSource),
        }
    }

    fn hint(&mut self, slot: usize, key: (u8, SocketAddr)) {
        let Some(Transport::WebRtc(webrtc)) = self.streams.get_mut(slot).map(|s| &mut s.transport) else {
            return;
        };
        if webrtc.hinted.contains(&key) {
            self.by_hint.insert(key, slot);
            return;
        }
        if webrtc.hinted.len() >= HINTED_MAX {
            let oldest = webrtc.hinted.remove(0);
            if self.by_hint.get(&oldest) == Some(&slot) {
                self.by_hint.remove(&oldest);
            }
        }
        webrtc.hinted.push(key);
        self.by_hint.insert(key, slot);
    }

    fn hand_to_peer(&mut self, slot: usize, key: (u8, SocketAddr)) -> Verdict {
        self.current = Some(slot);
        let inlet = match self.streams.get(slot).map(|s| &s.transport) {
            Some(Transport::WebRtc(WebRtc { inlet: Some(inlet), .. })) => Arc::clone(inlet),
            _ => return self.stray(Drop::WrongSource),
        };
        match self.path(key) {
            Some(path) => Verdict::Peer(inlet, path),
            None => Verdict::Done,
        }
    }

    // ---- small things

    fn slot(&self, id: StreamId) -> Result<usize, CommandError> {
        self.by_id.get(&id).copied().ok_or(CommandError::NoStream)
    }

    fn path(&self, (socket, remote): (u8, SocketAddr)) -> Option<Path> {
        self.sockets.get(usize::from(socket)).map(|local| Path { local: *local, remote })
    }

    fn wall(&self, now: Instant) -> Duration {
        self.started.1 + now.saturating_duration_since(self.started.0)
    }

    fn stray(&self, reason: Drop) -> Verdict {
        self.strays.count(reason);
        Verdict::Done
    }

    fn dropped(&self, slot: usize, reason: Drop) -> Verdict {
        match self.streams.get(slot) {
            Some(stream) => stream.stats.drops.count(reason),
            None => self.strays.count(reason),
        }
        Verdict::Done
    }

    /// After a change of a stream: it and who hears it may begin or cease to get silence.
    fn refresh_around(&mut self, slot: usize) {
        self.refresh(slot);
        if let Some(listener) = self.streams.get(slot).and_then(|s| s.heard_by) {
            self.refresh(listener);
        }
    }

    fn refresh(&mut self, slot: usize) {
        let Some(stream) = self.streams.get(slot) else { return };
        let has_source = stream.hears.and_then(|s| self.streams.get(s)).is_some_and(Stream::is_live);
        let is_silent = stream.is_ready() && !has_source;
        if is_silent != stream.is_silent {
            if is_silent {
                self.silent.push(slot);
            } else {
                self.silent.retain(|s| *s != slot);
            }
        }
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.is_silent = is_silent;
        }
    }
}

/// Opens or admits an RTP packet.
fn open_rtp(stream: &mut Stream, from: Option<SocketAddr>, buf: &mut PacketBuf) -> Result<RtpHeader, Drop> {
    match (&mut stream.transport, from) {
        (Transport::WebRtc(webrtc), _) => webrtc.srtp.as_mut().ok_or(Drop::NoKeys)?.unprotect_rtp(buf),
        (Transport::Plain(plain), Some(from)) => plain.open_rtp(from, stream.format.as_ref(), buf),
        (Transport::Plain(_), None) => Err(Drop::WrongSource),
    }
}

/// Remembers a source that proved itself by a good tag, so that it is found when it comes from elsewhere.
fn learn_ssrc(by_ssrc: &mut KeyedMap<u32, usize>, webrtc: &mut WebRtc, slot: usize, ssrc: u32) {
    match webrtc.ssrcs.iter().position(|s| *s == ssrc) {
        Some(at) => {
            let last = webrtc.ssrcs.len().saturating_sub(1);
            webrtc.ssrcs.swap(at, last);
        }
        None => {
            if webrtc.ssrcs.len() >= SOURCES_MAX {
                let oldest = webrtc.ssrcs.remove(0);
                if by_ssrc.get(&oldest) == Some(&slot) {
                    by_ssrc.remove(&oldest);
                }
            }
            webrtc.ssrcs.push(ssrc);
            by_ssrc.entry(ssrc).or_insert(slot);
        }
    }
}

/// Where a stream's media leaves.
fn destination(slot: usize, stream: &Stream, content: Content) -> Option<Transmit> {
    let (via, to) = match &stream.transport {
        Transport::WebRtc(webrtc) => webrtc.selected.map(|(socket, to)| (Via::Shared(socket), to))?,
        Transport::Plain(plain) => (Via::Rtp(slot), plain.rtp?),
    };
    Some(Transmit { via, to, slot, content })
}

mod commands;
mod time;
mod trouble;

pub use trouble::{QUIET_AFTER, Signs};

#[cfg(test)]
mod tests;
