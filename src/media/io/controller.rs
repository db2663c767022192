//! The media of one call: a task that owns the legs' sessions and associations, and turns the call's commands
//! and the associations' events into commands of the media thread and events of the call.
//!
//! A WebRTC leg has up to two transports: the one in use, and one whose offer was answered and whose ICE and
//! DTLS are under way; when that is up it takes the place of the first. An ICE restart of either (RFC 8445 §9)
//! changes its credentials and nothing else. A plain leg has one, and keeps its ports over every re-offer.

use super::engine::Shared;
use super::thread::{Command, MediaThread};
use crate::base::{CallId, Cause, LegId, Seed, StreamId};
use crate::call::port::{Codec, MediaCommand, MediaEvent, MediaProfile, MediaRefusal};
use crate::media::relay::Format;
use crate::media::session::{
    LocalTransport, OwnOrigin, PlainRemote, TransportKey, WebRtcOffer, answer_plain, answer_webrtc,
    offer_plain, read_plain_answer, read_plain_offer, read_webrtc_offer,
};
use crate::media::stats::StreamStats;
use crate::media::stream::{OwnSource, PeerInlet};
use crate::peer::{self, DtlsRole, IceCredentials, LocalParameters, PeerEvent, PeerHandle, PeerInput};
use crate::sdp::{Direction, SessionDescription};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::sync::mpsc;

/// Characters of our ufrag and password (RFC 8839 §5.4 wants 4 and 22); the ufrag is unique in the process.
const UFRAG_LEN: usize = 12;
const PWD_LEN: usize = 24;
/// News and association events that may wait.
const NEWS_LIMIT: usize = 16;
const PEER_EVENT_LIMIT: usize = 32;

impl PeerInlet for PeerHandle {
    fn input(&self, input: PeerInput) {
        // a full queue drops and counts there; an ended association takes nothing
        let _ = Self::input(self, input);
    }
}

/// A WebRTC transport of a leg.
struct Transport {
    stream: StreamId,
    stats: Arc<StreamStats>,
    key: TransportKey,
    local: LocalTransport,
    /// As the first offer and answer decided; it stays (RFC 8842 §5.5).
    dtls_role: DtlsRole,
    format: Format,
    peer: Arc<PeerHandle>,
    events: Option<mpsc::Receiver<PeerEvent>>,
}

impl Transport {
    /// New credentials of ours and of the far side for the same association (RFC 8445 §9): DTLS, keys and stream
    /// stay. False when the association takes nothing any more; nothing is changed then.
    fn restart(&mut self, offer: &WebRtcOffer, credentials: IceCredentials) -> bool {
        let remote = Box::new(offer.remote.clone());
        let input = PeerInput::Restart { local: credentials.clone(), remote };
        let is_taken = PeerHandle::input(&self.peer, input).is_ok();
        if is_taken {
            self.local.credentials = credentials;
            self.key = offer.key.clone();
        }
        is_taken
    }
}

/// A plain transport of a leg.
struct Plain {
    stream: StreamId,
    stats: Arc<StreamStats>,
    rtp: SocketAddr,
    offered: Vec<Codec>,
    format: Option<Format>,
}

struct Leg {
    id: LegId,
    origin: OwnOrigin,
    plain: Option<Plain>,
    /// It should send, now or once it has media (see [`MediaCommand::Expect`]).
    is_expected: bool,
    current: Option<Transport>,
    pending: Option<Transport>,
}

impl Leg {
    /// The stream that carries the leg's media now, and what it speaks.
    fn live(&self) -> Option<(StreamId, Codec)> {
        let webrtc = self.current.as_ref().map(|t| (t.stream, t.format.codec));
        webrtc.or_else(|| self.plain.as_ref().and_then(|p| Some((p.stream, p.format?.codec))))
    }

    /// The codec the leg is bound to, also before its transport is up.
    fn codec(&self) -> Option<Codec> {
        let pending = || self.pending.as_ref().map(|t| t.format.codec);
        self.live().map(|(_, codec)| codec).or_else(pending)
    }

    fn transports(&mut self) -> impl Iterator<Item = &mut Transport> {
        self.current.iter_mut().chain(&mut self.pending)
    }
}

pub(super) struct Controller {
    call: CallId,
    shared: Arc<Shared>,
    thread: usize,
    events: mpsc::Sender<MediaEvent>,
    seed: Seed,
    legs: Vec<Leg>,
    bridge: Option<(LegId, LegId)>,
    news: mpsc::Sender<(StreamId, Cause)>,
    told: mpsc::Receiver<(StreamId, Cause)>,
}

/// However the task ends, by a fault too: streams, ports and the place among the calls are given back.
impl Drop for Controller {
    fn drop(&mut self) {
        for leg in std::mem::take(&mut self.legs) {
            self.close_leg(leg);
        }
        self.shared.close(self.thread);
        self.shared.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Controller {
    pub(super) fn new(
        call: CallId,
        shared: Arc<Shared>,
        thread: usize,
        events: mpsc::Sender<MediaEvent>,
        seed: Seed,
    ) -> Self {
        let (news, told) = mpsc::channel(NEWS_LIMIT);
        Self { call, shared, thread, events, seed, legs: Vec::new(), bridge: None, news, told }
    }

    /// Runs until the call drops its port.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<MediaCommand>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => break,
                },
                Some((stream, event)) = next_event(&mut self.legs) => self.handle_peer(stream, event).await,
                Some((stream, cause)) = self.told.recv() => self.handle_news(stream, cause).await,
            }
        }
    }

    async fn handle_command(&mut self, command: MediaCommand) {
        match command {
            MediaCommand::CreateOffer { leg, profile } => {
                let event = match self.create_offer(leg, &profile) {
                    Ok(sdp) => MediaEvent::Offer { leg, sdp: Box::new(sdp) },
                    Err(refusal) => MediaEvent::Refused { leg, refusal },
                };
                self.say(event).await;
            }
            MediaCommand::AcceptAnswer { leg, sdp } => match self.accept_answer(leg, &sdp) {
                Ok(None) => {}
                Ok(Some(codec)) => self.say(MediaEvent::Connected { leg, codec }).await,
                Err(refusal) => self.say(MediaEvent::Refused { leg, refusal }).await,
            },
            MediaCommand::AcceptOffer { leg, profile, sdp } => {
                let accepted = match &profile {
                    MediaProfile::WebRtc => self.accept_webrtc(leg, &sdp).map(|answer| (answer, None)),
                    MediaProfile::Application(_) => {
                        Err(MediaRefusal::Unusable("an application takes no offers"))
                    }
                    MediaProfile::Rtp { codecs, towards, is_symmetric, .. } => {
                        self.accept_plain(leg, &sdp, codecs, *towards, *is_symmetric)
                    }
                };
                match accepted {
                    Ok((answer, connected)) => {
                        self.say(MediaEvent::Answer { leg, sdp: Box::new(answer) }).await;
                        if let Some(codec) = connected {
                            self.say(MediaEvent::Connected { leg, codec }).await;
                        }
                    }
                    Err(refusal) => self.say(MediaEvent::Refused { leg, refusal }).await,
                }
            }
            MediaCommand::Run(..) | MediaCommand::Hold(..) | MediaCommand::SendDtmf(..) => {}
            MediaCommand::Bridge(a, b) => {
                self.bridge = Some((a, b));
                self.relink();
            }
            MediaCommand::Expect(leg) => self.expect(leg),
            MediaCommand::Detach(leg) => {
                let had_media = self.detach(leg);
                self.say(MediaEvent::Detached { leg, had_media }).await;
            }
            MediaCommand::Release(leg) => {
                if let Some(at) = self.legs.iter().position(|l| l.id == leg) {
                    let leg = self.legs.swap_remove(at);
                    self.close_leg(leg);
                }
            }
        }
    }

    // ---- plain legs

    fn create_offer(
        &mut self,
        leg: LegId,
        profile: &MediaProfile,
    ) -> Result<SessionDescription, MediaRefusal> {
        let MediaProfile::Rtp { codecs, towards, is_symmetric, .. } = profile else {
            return Err(MediaRefusal::Unusable("offers to a browser are not served; let it offer"));
        };
        let codecs = match self.codec_beside(leg) {
            None => codecs.clone(),
            Some(codec) if codecs.contains(&codec) => vec![codec],
            Some(codec) => {
                return Err(MediaRefusal::NoCommonCodec {
                    offered: codecs.iter().map(|c| c.name().to_owned()).collect(),
                    wanted: vec![codec.name().to_owned()],
                });
            }
        };
        let at = self.plain_leg(leg, *towards, *is_symmetric)?;
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        let plain = leg.plain.as_mut().ok_or(MediaRefusal::Congestion)?;
        plain.offered.clone_from(&codecs);
        Ok(offer_plain(&codecs, plain.rtp, &mut leg.origin))
    }

    /// Answers with the codec when media can flow now and could not before, or by another codec.
    fn accept_answer(&mut self, leg: LegId, sdp: &SessionDescription) -> Result<Option<Codec>, MediaRefusal> {
        let unknown = MediaRefusal::Unusable("an answer without an offer of ours");
        let at = self.legs.iter().position(|l| l.id == leg).ok_or(unknown.clone())?;
        let plain = self.legs.get(at).and_then(|l| l.plain.as_ref()).ok_or(unknown)?;
        let remote = read_plain_answer(sdp, &plain.offered)?;
        self.install(at, &remote)
    }

    fn accept_plain(
        &mut self,
        leg: LegId,
        sdp: &SessionDescription,
        codecs: &[Codec],
        towards: IpAddr,
        is_symmetric: bool,
    ) -> Result<(SessionDescription, Option<Codec>), MediaRefusal> {
        let remote = read_plain_offer(sdp, self.codec_beside(leg), codecs)?;
        let at = self.plain_leg(leg, towards, is_symmetric)?;
        let connected = self.install(at, &remote)?;
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        let rtp = leg.plain.as_ref().ok_or(MediaRefusal::Congestion)?.rtp;
        Ok((answer_plain(sdp, &remote, rtp, &mut leg.origin), connected))
    }

    /// The leg should send from now on, or as soon as it has media.
    fn expect(&mut self, leg: LegId) {
        let at = self.leg(leg);
        let Some(leg) = self.legs.get_mut(at) else { return };
        leg.is_expected = true;
        // a WebRTC stream is expected to from its keys on
        if let Some(stream) = leg.plain.as_ref().map(|p| p.stream) {
            self.tell(Command::Expect(stream));
        }
    }

    /// Hands a far side's description to the media thread.
    fn install(&mut self, at: usize, remote: &PlainRemote) -> Result<Option<Codec>, MediaRefusal> {
        let plain = self.legs.get_mut(at).and_then(|l| l.plain.as_mut()).ok_or(MediaRefusal::Congestion)?;
        let before = plain.format.replace(remote.format).map(|f| f.codec);
        let stream = plain.stream;
        let mut is_taken = self.tell(Command::Format(stream, remote.format));
        is_taken &= self.tell(direction(stream, remote.direction));
        // on hold by a null address, the old one stays: media comes back there
        if let Some(rtp) = remote.rtp {
            let rtcp = remote.rtcp.unwrap_or(rtp);
            is_taken &= self.tell(Command::Remote(stream, rtp, rtcp));
        }
        self.relink();
        let codec = remote.format.codec;
        if is_taken { Ok((before != Some(codec)).then_some(codec)) } else { Err(MediaRefusal::Congestion) }
    }

    /// The place of a plain leg, with its ports.
    fn plain_leg(&mut self, id: LegId, towards: IpAddr, is_symmetric: bool) -> Result<usize, MediaRefusal> {
        let at = self.leg(id);
        if self.legs.get(at).is_some_and(|l| l.plain.is_some()) {
            return Ok(at);
        }
        let (rtp, sockets) = self.shared.open_pair(towards, is_symmetric).ok_or(MediaRefusal::Congestion)?;
        let stream = self.shared.stream_id();
        let stats = Arc::new(StreamStats::default());
        let news = Some(self.news.clone());
        let source = OwnSource::random(&mut self.seed);
        let shown = Arc::clone(&stats);
        if !self.tell(Command::AddPlain { id: stream, source, sockets, stats: shown, news }) {
            self.shared.put_back(rtp.port());
            return Err(MediaRefusal::Congestion);
        }
        if let Some(leg) = self.legs.get_mut(at) {
            leg.plain = Some(Plain { stream, stats, rtp, offered: Vec::new(), format: None });
            if leg.is_expected {
                self.tell(Command::Expect(stream));
            }
        }
        Ok(at)
    }

    // ---- WebRTC legs

    fn accept_webrtc(
        &mut self,
        leg: LegId,
        sdp: &SessionDescription,
    ) -> Result<SessionDescription, MediaRefusal> {
        let mut offer = read_webrtc_offer(sdp, self.codec_beside(leg))?;
        let at = self.leg(leg);
        self.restart_transport(at, &offer);
        let known = self.legs.get_mut(at).and_then(|l| l.transports().find(|t| t.key == offer.key));
        let (stream, local) = match known {
            Some(transport) => {
                transport.format = offer.format;
                offer.remote.dtls_role = transport.dtls_role;
                (transport.stream, transport.local.clone())
            }
            None => {
                let transport = self.open_transport(&offer)?;
                let opened = (transport.stream, transport.local.clone());
                let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
                if let Some(given_up) = leg.pending.replace(transport) {
                    self.close_transport(given_up);
                }
                opened
            }
        };
        self.tell(Command::Format(stream, offer.format));
        self.tell(direction(stream, offer.direction));
        self.relink();
        let leg = self.legs.get_mut(at).ok_or(MediaRefusal::Congestion)?;
        Ok(answer_webrtc(sdp, &offer, &local, &mut leg.origin))
    }

    /// Restarts ICE of the transport that the offer is of, if it is an offer of one with another ufrag. An
    /// association that has just ended takes no restart: the offer then makes a new transport.
    fn restart_transport(&mut self, at: usize, offer: &WebRtcOffer) {
        let credentials = self.credentials();
        let Some(leg) = self.legs.get_mut(at) else { return };
        let Some(transport) = leg.transports().find(|t| t.key.is_restarted_by(&offer.key)) else { return };
        let ufrag = credentials.ufrag.clone();
        if transport.restart(offer, credentials) {
            let stream = transport.stream;
            self.tell(Command::Ufrag(stream, ufrag));
        }
    }

    fn credentials(&mut self) -> IceCredentials {
        let pwd = crate::base::Secret::new(self.seed.token(PWD_LEN));
        IceCredentials { ufrag: self.seed.token(UFRAG_LEN), pwd }
    }

    fn open_transport(&mut self, offer: &WebRtcOffer) -> Result<Transport, MediaRefusal> {
        let thread = self.media_thread().ok_or(MediaRefusal::Congestion)?;
        let stream = self.shared.stream_id();
        let addresses: Vec<SocketAddr> = thread.addresses().collect();
        let sink = Arc::new(thread.sink(stream));
        let credentials = self.credentials();
        let config = &self.shared.config;
        let candidates = addresses.iter().map(|a| announced(*a, config.external())).collect();
        let fingerprint = self.shared.certificate.fingerprint();
        let source = OwnSource::random(&mut self.seed);
        let local = LocalTransport {
            credentials: credentials.clone(),
            fingerprint,
            candidates,
            source: source.clone(),
        };
        let parameters = LocalParameters {
            credentials,
            certificate: Arc::clone(&self.shared.certificate),
            profiles: config.profiles().to_vec(),
            addresses,
            allow_loopback: config.is_loopback_allowed(),
        };
        let (sender, events) = mpsc::channel(PEER_EVENT_LIMIT);
        let peer = Arc::new(peer::spawn(parameters, sink, sender, self.seed.fork()));
        let stats: Arc<StreamStats> = Arc::default();
        let added = self.tell(Command::AddWebRtc {
            id: stream,
            source,
            ufrag: local.credentials.ufrag.clone(),
            inlet: Some(Arc::<PeerHandle>::clone(&peer)),
            stats: Arc::clone(&stats),
            news: Some(self.news.clone()),
        });
        let remote = PeerInput::Remote(Box::new(offer.remote.clone()));
        if !added || PeerHandle::input(&peer, remote).is_err() {
            if added {
                self.tell(Command::Remove(stream));
            }
            return Err(MediaRefusal::Congestion);
        }
        Ok(Transport {
            stream,
            stats,
            key: offer.key.clone(),
            local,
            dtls_role: offer.remote.dtls_role,
            format: offer.format,
            peer,
            events: Some(events),
        })
    }

    async fn handle_peer(&mut self, stream: StreamId, event: PeerEvent) {
        match event {
            PeerEvent::Authenticated(path) => drop(self.tell(Command::Bind(stream, path))),
            PeerEvent::Selected(path) => drop(self.tell(Command::Select(stream, path))),
            PeerEvent::Connected(keys) => {
                self.tell(Command::Keys(stream, Box::new(keys)));
                let pending = |l: &Leg| l.pending.as_ref().is_some_and(|t| t.stream == stream);
                let Some(leg) = self.legs.iter_mut().find(|l| pending(l)) else { return };
                let replaced = std::mem::replace(&mut leg.current, leg.pending.take());
                let connected = leg.live().map(|(_, codec)| (leg.id, codec));
                // first the new one takes over at the listener, then the old one ends
                self.relink();
                if let Some(replaced) = replaced {
                    self.close_transport(replaced);
                }
                if let Some((leg, codec)) = connected {
                    self.say(MediaEvent::Connected { leg, codec }).await;
                }
            }
            PeerEvent::Failed(cause) => match self.end_transport(stream) {
                Some((leg, true)) => self.say(MediaEvent::Lost { leg, cause }).await,
                Some((leg, false)) => self.say(MediaEvent::Failed { leg, cause }).await,
                None => {}
            },
            PeerEvent::ConsentLost => {
                if let Some((leg, _)) = self.end_transport(stream) {
                    self.say(MediaEvent::Lost { leg, cause: Cause::ConsentLost }).await;
                }
            }
        }
    }

    /// A stream lost its media, as the thread noticed.
    async fn handle_news(&mut self, stream: StreamId, cause: Cause) {
        let plain = |l: &Leg| l.plain.as_ref().is_some_and(|p| p.stream == stream);
        let leg = match self.legs.iter().find(|l| plain(l)) {
            Some(leg) => Some(leg.id),
            None => self.end_transport(stream).filter(|(_, was_current)| *was_current).map(|(leg, _)| leg),
        };
        if let Some(leg) = leg {
            self.say(MediaEvent::Lost { leg, cause }).await;
        }
    }

    // ---- ends

    /// Ends the transport of that stream; answers its leg and whether it was the one in use.
    fn end_transport(&mut self, stream: StreamId) -> Option<(LegId, bool)> {
        let is_it = |t: &Option<Transport>| t.as_ref().is_some_and(|t| t.stream == stream);
        let leg = self.legs.iter_mut().find(|l| is_it(&l.current) || is_it(&l.pending))?;
        let was_current = is_it(&leg.current);
        let ended = if was_current { leg.current.take() } else { leg.pending.take() };
        let id = leg.id;
        if let Some(ended) = ended {
            self.close_transport(ended);
        }
        Some((id, was_current))
    }

    fn detach(&mut self, id: LegId) -> bool {
        let Some(leg) = self.legs.iter_mut().find(|l| l.id == id) else { return false };
        let taken = [leg.current.take(), leg.pending.take()];
        let plain = leg.plain.take();
        let had_media = plain.is_some() || taken.iter().any(Option::is_some);
        for transport in taken.into_iter().flatten() {
            self.close_transport(transport);
        }
        if let Some(plain) = plain {
            self.close_plain(&plain);
        }
        had_media
    }

    fn close_leg(&self, mut leg: Leg) {
        for transport in [leg.current.take(), leg.pending.take()].into_iter().flatten() {
            self.close_transport(transport);
        }
        if let Some(plain) = leg.plain.take() {
            self.close_plain(&plain);
        }
    }

    fn close_transport(&self, transport: Transport) {
        self.tell(Command::Remove(transport.stream));
        self.note_end(transport.stream, "webrtc", &transport.stats);
        let _ = PeerHandle::input(&transport.peer, PeerInput::Close);
    }

    fn close_plain(&self, plain: &Plain) {
        self.tell(Command::Remove(plain.stream));
        self.note_end(plain.stream, "rtp", &plain.stats);
        self.shared.put_back(plain.rtp.port());
    }

    /// One line and the totals for a stream that ends; packets of the last moment may be missing.
    fn note_end(&self, stream: StreamId, kind: &'static str, stats: &StreamStats) {
        self.shared.totals.add(stats);
        let quality = stats.quality();
        tracing::info!(
            call = %self.call,
            stream = stream.0,
            kind,
            packets_in = stats.packets_in.get(),
            packets_out = stats.packets_out.get(),
            silence_out = stats.silence_out.get(),
            dropped = stats.drops.total(),
            lost_in = quality.lost_in,
            lost_out = quality.lost_out,
            jitter_us = quality.jitter_in_us,
            round_trip_us = quality.round_trip_us,
            "media stream ended"
        );
    }

    // ---- small things

    /// Joins the two legs of the bridge, as far as they have media of one codec; else both hear silence.
    fn relink(&self) {
        let Some((a, b)) = self.bridge else { return };
        let live = |id| self.legs.iter().find(|l| l.id == id).and_then(Leg::live);
        let (a, b) = (live(a), live(b));
        let is_joined = matches!((a, b), (Some((_, x)), Some((_, y))) if x == y);
        for (listener, source) in [(a, b), (b, a)] {
            if let Some((listener, _)) = listener {
                let source = source.filter(|_| is_joined).map(|(stream, _)| stream);
                self.tell(Command::Hear(listener, source));
            }
        }
    }

    /// The codec another leg of the call is bound to.
    fn codec_beside(&self, leg: LegId) -> Option<Codec> {
        self.legs.iter().filter(|l| l.id != leg).find_map(Leg::codec)
    }

    fn leg(&mut self, id: LegId) -> usize {
        if let Some(at) = self.legs.iter().position(|l| l.id == id) {
            return at;
        }
        let origin = OwnOrigin::new(self.seed.next_u64());
        self.legs.push(Leg { id, origin, plain: None, is_expected: false, current: None, pending: None });
        self.legs.len().saturating_sub(1)
    }

    fn media_thread(&self) -> Option<&MediaThread> {
        self.shared.threads.get(self.thread)
    }

    fn tell(&self, command: Command) -> bool {
        let is_taken = self.media_thread().is_some_and(|t| t.send(command));
        if !is_taken {
            tracing::error!(call = %self.call, "the media thread takes no commands");
        }
        is_taken
    }

    async fn say(&self, event: MediaEvent) {
        // nobody listens when the call is over already
        let _ = self.events.send(event).await;
    }
}

/// Which ways media may go, from what the far side says of itself.
fn direction(stream: StreamId, far: Direction) -> Command {
    Command::Direction(stream, far.receives(), far.sends())
}

/// The address to announce for a socket.
fn announced(socket: SocketAddr, external: Option<IpAddr>) -> SocketAddr {
    match external {
        Some(ip) if ip.is_ipv4() == socket.is_ipv4() => (ip, socket.port()).into(),
        _ => socket,
    }
}

/// The next event of any association; pends when there is none. Cancel-safe: nothing is taken before it is
/// returned.
async fn next_event(legs: &mut [Leg]) -> Option<(StreamId, PeerEvent)> {
    std::future::poll_fn(|context| {
        for transport in legs.iter_mut().flat_map(Leg::transports) {
            let Some(events) = &mut transport.events else { continue };
            match events.poll_recv(context) {
                Poll::Ready(Some(event)) => return Poll::Ready(Some((transport.stream, event))),
                // a transport leaves the leg with its last event; one that is still there ended without a word
                Poll::Ready(None) => {
                    transport.events = None;
                    let fault = PeerEvent::Failed(Cause::Internal);
                    return Poll::Ready(Some((transport.stream, fault)));
                }
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}
