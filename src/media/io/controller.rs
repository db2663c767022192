//! The media of one call: a task that owns the legs' sessions and associations, and turns the call's commands
//! and the associations' events into commands of the media thread and events of the call.
//!
//! A WebRTC leg has up to two transports: the one in use, and one whose offer was answered and whose ICE and
//! DTLS are under way; when that is up it takes the place of the first. An ICE restart of either (RFC 8445 §9)
//! changes its credentials and nothing else. A plain leg (without ICE, whether protected or not) has one, and keeps its
//! ports over every re-offer. A leg that is a media application has none: what it plays is played on the other leg's stream.

mod dtls;
mod plain;
mod trouble;
mod webrtc;

use super::engine::Shared;
use super::thread::{Command, MediaThread, News};
use crate::base::{CallId, Cause, LegId, Seed, StreamId};
use crate::call::port::{
    Application, Codec, Encryption, HoldMusic, MediaCommand, MediaEvent, MediaProfile, MediaRefusal,
};
use crate::media::session::{OwnOrigin, PTIME, label};
use crate::media::stats::{Drop as Dropped, StreamStats};
use crate::media::stream::{OwnSource, PeerInlet};
use crate::media::tone::Program;
use crate::peer::{self, DtlsRole, Fingerprint, PeerEvent, PeerHandle, PeerInput, SrtpProfile};
use crate::sdp::{Direction, SessionDescription, Setup};
use plain::Plain;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio::sync::mpsc;
use webrtc::{Transport, next_event};

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

/// Whose a stream is, for the log.
#[derive(Debug, Clone)]
struct Owner {
    leg: LegId,
    party: Option<Arc<str>>,
}

struct Leg {
    id: LegId,
    /// What it belongs to.
    party: Option<Arc<str>>,
    origin: OwnOrigin,
    application: Option<Application>,
    /// It holds the other leg.
    is_holding: bool,
    /// It is rung, and shall neither be heard nor hear.
    is_muted: bool,
    hold_music: HoldMusic,
    plain: Option<Plain>,
    /// The codecs of a caller's offer that waits for its answer, as far as the leg may speak them; none: not known.
    described: Vec<Codec>,
    /// How much sound it wants in a packet, in milliseconds.
    ptime: Option<u16>,
    /// It should send, now or once it has media (see [`MediaCommand::Expect`]).
    is_expected: bool,
    /// Codecs that it may be offered in the place of its own (see [`MediaCommand::FreeCodec`]), or that it offers itself
    /// (see [`MediaCommand::CheckOffer`]).
    free: Option<Vec<Codec>>,
    /// Codecs that it may speak.
    codecs: Vec<Codec>,
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
    news: mpsc::Sender<(StreamId, News)>,
    told: mpsc::Receiver<(StreamId, News)>,
    /// The media thread has commands of ours that should not wait, and was not woken since.
    has_queued: AtomicBool,
}

/// However the task ends, by a fault too: streams, ports and the place among the calls are given back.
impl Drop for Controller {
    fn drop(&mut self) {
        for leg in std::mem::take(&mut self.legs) {
            self.close_leg(leg);
        }
        self.wake_thread();
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
        Self {
            call,
            shared,
            thread,
            events,
            seed,
            legs: Vec::new(),
            bridge: None,
            news,
            told,
            has_queued: AtomicBool::new(false),
        }
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
                Some((stream, news)) = self.told.recv() => self.handle_news(stream, news).await,
            }
            // those that came together go to the thread together
            while let Ok(command) = commands.try_recv() {
                self.handle_command(command).await;
            }
            self.wake_thread();
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
            MediaCommand::CheckOffer { leg, profile, sdp } => {
                let event = match self.check_offer(leg, &profile, &sdp) {
                    Ok(()) => MediaEvent::OfferGood { leg },
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
                    MediaProfile::WebRtc => self.accept_webrtc(leg, &sdp),
                    MediaProfile::Application(_) => {
                        Err(MediaRefusal::Unusable("an application takes no offers"))
                    }
                    MediaProfile::Rtp { .. } => self.accept_plain(leg, &sdp, &profile),
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
            MediaCommand::Name(leg, party) => {
                let at = self.leg(leg);
                if let Some(leg) = self.legs.get_mut(at) {
                    leg.party = Some(party.into());
                }
            }
            MediaCommand::Run(leg, application) => {
                let at = self.leg(leg);
                if let Some(leg) = self.legs.get_mut(at) {
                    leg.application = Some(application);
                }
                self.relink();
            }
            MediaCommand::Hold(leg, is_holding) => self.hold(leg, is_holding),
            MediaCommand::Mute(leg, is_muted) => {
                let at = self.leg(leg);
                if let Some(leg) = self.legs.get_mut(at) {
                    leg.is_muted = is_muted;
                }
                self.relink();
            }
            MediaCommand::SendDtmf(leg, keys) => {
                let find = |id| self.legs.iter().find(|l| Some(l.id) == id);
                if find(Some(leg)).is_some_and(|l| l.application.is_some()) {
                    // an application is what the leg beside it is played
                    if let Some((stream, _)) = find(self.partner_of(leg)).and_then(Leg::live) {
                        self.tell(Command::Press(stream, keys));
                    }
                } else if let Some((stream, _)) = find(Some(leg)).and_then(Leg::live) {
                    self.tell(Command::SendKeys(stream, keys));
                }
            }
            MediaCommand::Bridge(a, b) => {
                self.bridge = Some((a, b));
                self.relink();
            }
            MediaCommand::FreeCodec(leg, is_free) => {
                if let Some(leg) = self.legs.iter_mut().find(|l| l.id == leg) {
                    leg.free = is_free.then(|| leg.codecs.clone());
                    if !is_free {
                        leg.described.clear();
                    }
                }
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

    // ---- what goes on in a call

    /// A leg holds the other one, or not any more.
    fn hold(&mut self, leg: LegId, is_holding: bool) {
        let at = self.leg(leg);
        if let Some(leg) = self.legs.get_mut(at) {
            leg.is_holding = is_holding;
        }
        let held = self.partner_of(leg).and_then(|id| self.legs.iter().find(|l| l.id == id));
        // nothing is expected of a far side that is held, whether it goes on sending or not
        if let Some(plain) = held.and_then(|l| l.plain.as_ref()) {
            self.tell(direction(plain.stream, plain.far, is_holding));
        }
        self.relink();
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

    /// What the thread noticed of a stream.
    async fn handle_news(&mut self, stream: StreamId, news: News) {
        let has_plain = |l: &Leg| l.plain.as_ref().is_some_and(|p| p.stream == stream);
        match news {
            News::Lost(cause) => {
                let leg = match self.legs.iter().find(|l| has_plain(l)) {
                    Some(leg) => Some(leg.id),
                    None => {
                        self.end_transport(stream).filter(|(_, was_current)| *was_current).map(|(leg, _)| leg)
                    }
                };
                if let Some(leg) = leg {
                    self.say(MediaEvent::Lost { leg, cause }).await;
                }
            }
            News::OtherCodec => {
                if let Some(leg) = self.legs.iter().find(|l| has_plain(l)).map(|l| l.id) {
                    self.say(MediaEvent::OtherCodec { leg }).await;
                }
            }
            News::Quiet(signs) => self.note_quiet(stream, signs),
            News::HeardAgain => self.note_heard_again(stream),
            News::Unsent(errno) => self.note_unsent(stream, errno),
            News::Pressed(digit) => {
                let is_its = |l: &Leg| has_plain(l) || l.current.as_ref().is_some_and(|t| t.stream == stream);
                if let Some(leg) = self.legs.iter().find(|l| is_its(l)).map(|l| l.id) {
                    self.say(MediaEvent::Dtmf { leg, digit }).await;
                }
            }
        }
    }

    // ---- ends

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

    // ---- small things

    /// Joins the two legs of the bridge, as far as they have media of one codec; else each hears what is played to it.
    fn relink(&self) {
        let Some((a, b)) = self.bridge else { return };
        let leg = |id| self.legs.iter().find(|l| l.id == id);
        for (listener, other) in [(leg(a), leg(b)), (leg(b), leg(a))] {
            let Some(listener) = listener else { continue };
            let Some((stream, codec)) = listener.live() else { continue };
            let (source, program) = match other {
                Some(other) => heard(listener, other, stream, codec),
                None => (None, Program::Silence),
            };
            self.tell(Command::Hear(stream, source));
            self.tell(Command::Play(stream, program));
        }
    }

    /// The leg that a leg is joined with; one that is rung beside others, with the caller.
    fn partner_of(&self, leg: LegId) -> Option<LegId> {
        let (caller, callee) = self.bridge?;
        Some(if leg == caller { callee } else { caller })
    }

    /// Whether the other leg holds this one.
    fn is_held(&self, leg: LegId) -> bool {
        let partner = self.partner_of(leg);
        self.legs.iter().any(|l| Some(l.id) == partner && l.is_holding)
    }

    /// The codecs that the leg beside can speak: the one it is bound to, those of its application or of an offer under
    /// way, else all.
    fn codecs_beside(&self, leg: LegId) -> Vec<Codec> {
        let partner = self.partner_of(leg);
        let Some(beside) = self.legs.iter().find(|l| Some(l.id) == partner) else {
            return Codec::ALL.to_vec();
        };
        if let Some(free) = &beside.free {
            return free.clone();
        }
        if let Some(codec) = beside.codec() {
            return vec![codec];
        }
        let offered = || beside.plain.as_ref()?.offer.as_ref().map(|o| o.codecs().collect());
        let described = || (!beside.described.is_empty()).then(|| beside.described.clone());
        let application = beside.application.map(|a| a.codecs().to_vec());
        application.or_else(offered).or_else(described).unwrap_or_else(|| Codec::ALL.to_vec())
    }

    /// How much sound the leg beside wants in a packet, in milliseconds: what this one is told to send goes there as it comes.
    fn ptime_beside(&self, leg: LegId) -> u16 {
        let partner = self.partner_of(leg);
        let beside = self.legs.iter().find(|l| Some(l.id) == partner);
        beside.and_then(|l| l.ptime).unwrap_or(PTIME)
    }

    /// Whether the leg beside was offered several codecs and has yet to choose.
    fn is_undecided_beside(&self, leg: LegId) -> bool {
        let partner = self.partner_of(leg);
        let beside = self.legs.iter().find(|l| Some(l.id) == partner);
        beside.and_then(|l| l.plain.as_ref()).is_some_and(|p| p.offer.is_some() && p.format.is_none())
    }

    fn leg(&mut self, id: LegId) -> usize {
        if let Some(at) = self.legs.iter().position(|l| l.id == id) {
            return at;
        }
        let origin = OwnOrigin::new(self.seed.next_u64());
        self.legs.push(Leg {
            id,
            party: None,
            origin,
            application: None,
            is_holding: false,
            is_muted: false,
            hold_music: HoldMusic::Silence,
            plain: None,
            described: Vec::new(),
            ptime: None,
            is_expected: false,
            free: None,
            codecs: Vec::new(),
            current: None,
            pending: None,
        });
        self.legs.len().saturating_sub(1)
    }

    fn media_thread(&self) -> Option<&MediaThread> {
        self.shared.threads.get(self.thread)
    }

    /// Hands a command to the media thread, which takes it at [`Self::wake_thread`] or before. A plain stream by itself
    /// is no reason to wake it: the kernel keeps what comes to its ports until the far side is known.
    fn tell(&self, command: Command) -> bool {
        let is_urgent = !matches!(command, Command::AddPlain { .. });
        let is_taken = self.media_thread().is_some_and(|t| t.queue(command));
        self.has_queued.fetch_or(is_urgent, Ordering::Relaxed);
        if !is_taken {
            tracing::error!(call = %self.call, "the media thread takes no commands");
        }
        is_taken
    }

    fn wake_thread(&self) {
        if self.has_queued.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.media_thread()
        {
            thread.wake();
        }
    }

    async fn say(&self, event: MediaEvent) {
        // the far side may act on it at once: the thread shall know by then
        self.wake_thread();
        // nobody listens when the call is over already
        let _ = self.events.send(event).await;
    }
}

/// Which ways media may go, from what the far side says of itself; nothing is taken of one that is held.
fn direction(stream: StreamId, far: Direction, is_held: bool) -> Command {
    Command::Direction(stream, far.receives(), far.sends() && !is_held)
}

/// What a leg hears of the other one, or is played in its place.
fn heard(listener: &Leg, other: &Leg, stream: StreamId, codec: Codec) -> (Option<StreamId>, Program) {
    let chosen = [other, listener].into_iter().map(|leg| &leg.hold_music).find(|m| **m != HoldMusic::Silence);
    let music = match chosen {
        None | Some(HoldMusic::Silence) => Program::Silence,
        Some(HoldMusic::Generated) => Program::Music,
        Some(HoldMusic::Recording(recording)) => Program::Recording(recording.clone()),
    };
    if listener.is_holding || other.is_holding {
        return (None, if other.is_holding { music } else { Program::Silence });
    }
    if listener.is_muted || other.is_muted {
        return (None, Program::Silence);
    }
    match other.application {
        Some(Application::Echo) => return (Some(stream), Program::Silence),
        Some(Application::Tone) => return (None, Program::Tone),
        Some(Application::DtmfEcho) => return (None, Program::Keys),
        Some(Application::Music) => return (None, Program::Music),
        None => {}
    }
    let source = other.live().filter(|(_, theirs)| *theirs == codec).map(|(stream, _)| stream);
    let is_on_hold = other.plain.as_ref().is_some_and(Plain::is_on_hold);
    (source, if is_on_hold { music } else { Program::Silence })
}

/// The codecs of the first list that are in the second.
fn common(codecs: &[Codec], beside: &[Codec]) -> Result<Vec<Codec>, MediaRefusal> {
    let common: Vec<Codec> = codecs.iter().copied().filter(|c| beside.contains(c)).collect();
    if common.is_empty() {
        let names = |list: &[Codec]| list.iter().copied().map(label).collect();
        return Err(MediaRefusal::NoCommonCodec { offered: names(codecs), wanted: names(beside) });
    }
    Ok(common)
}
