//! What the call asks of media and what media answers.

mod refusal;

use crate::base::{Cause, Digit, External, LegId, Recording};
use crate::sdp::SessionDescription;
use std::net::IpAddr;
use std::time::Duration;

pub use refusal::{Described, MediaRefusal, NoSocket};

/// An audio codec that passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// G.711 µ-law (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law (RFC 3551 §4.5.14).
    Pcma,
    /// G.722 at 64 kbit/s; its RTP clock is 8,000 Hz though it samples at 16,000 (RFC 3551 §4.5.2).
    G722,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// All codecs.
    pub const ALL: [Self; 4] = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus];

    /// Encoding name in SDP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }

    /// RTP clock rate in Hz.
    #[must_use]
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8_000,
            Self::Opus => 48_000,
        }
    }

    /// Channels in `a=rtpmap` (RFC 7587 §7: Opus always says 2).
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Opus => 2,
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
        }
    }

    /// Payload type of its own (RFC 3551 §6) or, for Opus, the one we offer.
    #[must_use]
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 107,
        }
    }

    /// By its name in SDP, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name().eq_ignore_ascii_case(name))
    }
}

/// A party of sipedge's own: what it says and does with what it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Application {
    /// Sends back what it hears, in any codec.
    Echo,
    /// 1,004 Hz at -16 dBm0 (ITU-T O.133's line-up tone, as PBXs play it).
    Tone,
    /// Plays back each key it hears, as the two tones of that key (ITU-T Q.23).
    DtmfEcho,
    /// Generated music.
    Music,
}

impl Application {
    /// Codecs it speaks, best first; what it makes itself is G.711 until there is a transcoder.
    #[must_use]
    pub const fn codecs(self) -> &'static [Codec] {
        match self {
            Self::Echo => &Codec::ALL,
            Self::Tone | Self::DtmfEcho | Self::Music => &[Codec::Pcmu, Codec::Pcma],
        }
    }
}

/// How long a key is held of which nobody says it.
pub const KEY_DURATION: Duration = Duration::from_millis(100);

/// A digit to send, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfDigit {
    /// Which.
    pub digit: Digit,
    /// How long the key is held.
    pub duration: Duration,
}

/// What a party on hold hears.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum HoldMusic {
    /// Silence.
    #[default]
    Silence,
    /// Generated music, where the codec is G.711; else silence.
    Generated,
    /// A recording, over and over, where the codec is G.711; else silence.
    Recording(Recording),
}

/// How the media of a leg without ICE is protected on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Not at all.
    #[default]
    Off,
    /// SRTP with keys in the descriptions (RFC 4568).
    Sdes,
    /// The same where the far side can, else not at all.
    SdesOptional,
    /// SRTP with keys from a DTLS handshake (RFC 5763).
    Dtls,
}

impl Encryption {
    /// As the configuration has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Sdes => "sdes",
            Self::SdesOptional => "sdes-optional",
            Self::Dtls => "dtls",
        }
    }
}

/// Which address of ours the media of a leg without ICE has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnAddress {
    /// The one that the system sends from towards the far side of signalling. Where it cannot reach the address that an offer
    /// names (it is of the loopback, or of the other IP version), the one that can.
    #[default]
    Towards,
    /// That of its signalling: of several, the far side knows this one. Where it cannot reach what an offer names, likewise.
    Signalling(IpAddr),
    /// This one, by the configuration.
    Fixed(IpAddr),
}

/// What kind of media a leg speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaProfile {
    /// None: it is a media application.
    Application(Application),
    /// ICE, DTLS-SRTP, rtcp-mux (a browser).
    WebRtc,
    /// RTP on ports of its own, without ICE.
    Rtp {
        /// Codecs it may speak, in order; an offer of ours names those that the other leg speaks too.
        codecs: Vec<Codec>,
        /// The far side of signalling.
        towards: IpAddr,
        /// Where media is bound.
        own_address: OwnAddress,
        /// What a NAT on the way makes of that address: descriptions name this one.
        external: External,
        /// Whether media may come from another address than the SDP names, learned once and locked.
        is_symmetric: bool,
        /// How it is protected.
        encryption: Encryption,
        /// Offers of ours name the profile with feedback (RFC 4585), which some want to see; offers of the far side may
        /// name either.
        is_avpf: bool,
        /// What is heard while this side, or towards this side the other one, holds the call and says nothing.
        hold_music: HoldMusic,
    },
}

/// To the media of one call. All legs of a call live on one worker.
#[derive(Debug)]
pub enum MediaCommand {
    /// Make an offer for a leg; answered by [`MediaEvent::Offer`] or [`MediaEvent::Refused`]. A known leg is offered
    /// what it has, as the call stands: `sendonly` while the other leg holds it, and the codec of the other leg where that
    /// is bound to one.
    CreateOffer {
        /// The leg, new or known.
        leg: LegId,
        /// What it speaks.
        profile: MediaProfile,
    },
    /// The answer to that offer, provisional or final; a second one replaces the first. Refused with
    /// [`MediaEvent::Refused`].
    AcceptAnswer {
        /// The leg.
        leg: LegId,
        /// Its answer.
        sdp: Box<SessionDescription>,
    },
    /// An offer of the leg: first media, another transport (replaces once the new one is up), an ICE restart of
    /// the same transport (RFC 8445 §9: media goes on), or the same again (the same answer). Answered by [`MediaEvent::Answer`] or [`MediaEvent::Refused`]. The
    /// codec is the one the other leg uses.
    AcceptOffer {
        /// The leg, new or known.
        leg: LegId,
        /// What it speaks.
        profile: MediaProfile,
        /// Its offer.
        sdp: Box<SessionDescription>,
    },
    /// Look at a caller's offer before anybody is rung, and take the ports it will need; answered by
    /// [`MediaEvent::OfferGood`], or by [`MediaEvent::Refused`] when nothing of it can be served whoever answers. Within the call: what the other leg is
    /// offered next is what this one names, until [`MediaCommand::FreeCodec`] says otherwise. Its media stays as it is.
    CheckOffer {
        /// The leg, new or known.
        leg: LegId,
        /// What it speaks.
        profile: MediaProfile,
        /// Its offer.
        sdp: Box<SessionDescription>,
    },
    /// What the leg belongs to, for the log, as a route writes it: `trunk.pbx`. Before its media is made.
    Name(LegId, String),
    /// The leg is a media application.
    Run(LegId, Application),
    /// The leg holds the other one (true), or not any more: while it does, neither hears the other.
    Hold(LegId, bool),
    /// The leg is rung and has said nothing yet (true), or not any more: until then neither it nor the other leg is heard,
    /// whatever media it has already.
    Mute(LegId, bool),
    /// Send these keys to the leg's far side, one after the other (RFC 4733).
    SendDtmf(LegId, Vec<DtmfDigit>),
    /// Join two legs; each may be detached (then the other hears silence).
    Bridge(LegId, LegId),
    /// The leg may be offered another codec (true), or not any more: while it may, what is beside it is not bound to the
    /// codec that it speaks. It is offered the other one's at the next [`MediaCommand::CreateOffer`].
    FreeCodec(LegId, bool),
    /// From now on this leg should send (it answered, or was answered): its media timeout counts. A WebRTC leg
    /// counts from its [`MediaEvent::Connected`] on, whatever this says.
    Expect(LegId),
    /// Take a leg's media away; the other hears silence. Answered by [`MediaEvent::Detached`].
    Detach(LegId),
    /// Forget a leg; its ports drain and are freed.
    Release(LegId),
}

/// From the media of one call.
#[derive(Debug)]
pub enum MediaEvent {
    /// The offer asked for.
    Offer {
        /// The leg.
        leg: LegId,
        /// Our offer.
        sdp: Box<SessionDescription>,
    },
    /// The caller's offer can be served.
    OfferGood {
        /// The leg.
        leg: LegId,
    },
    /// The answer asked for.
    Answer {
        /// The leg.
        leg: LegId,
        /// Our answer.
        sdp: Box<SessionDescription>,
    },
    /// An offer or answer of this leg cannot be served; what was there before goes on.
    Refused {
        /// The leg.
        leg: LegId,
        /// Why.
        refusal: MediaRefusal,
    },
    /// Media can flow: ICE and DTLS are up, or the answer of a plain leg was taken.
    Connected {
        /// The leg.
        leg: LegId,
        /// What it speaks.
        codec: Codec,
    },
    /// The transport of the last offer did not come up; an older one of the leg, if any, goes on.
    Failed {
        /// The leg.
        leg: LegId,
        /// [`Cause::IceFailed`] or [`Cause::DtlsFailed`].
        cause: Cause,
    },
    /// The leg's media was up and is gone (consent lost, no media for too long).
    Lost {
        /// The leg.
        leg: LegId,
        /// [`Cause::ConsentLost`] or [`Cause::MediaTimeout`] or [`Cause::Internal`].
        cause: Cause,
    },
    /// The leg's far side pressed a key; told once, when it is pressed (RFC 4733 §2.5.1.2).
    Dtmf {
        /// The leg.
        leg: LegId,
        /// Which key.
        digit: Digit,
    },
    /// The leg's far side sends another of the codecs that it accepted than the one in use, and is not heard: it is to be
    /// offered that one alone.
    OtherCodec {
        /// The leg.
        leg: LegId,
    },
    /// Done with [`MediaCommand::Detach`]; says whether there was any media.
    Detached {
        /// The leg.
        leg: LegId,
        /// Whether there was something to take away.
        had_media: bool,
    },
}

/// The media of one call: commands go in here, events come out by the sender given to [`MediaEngine::open`].
/// Dropping it releases all legs.
pub trait MediaPort: Send {
    /// Hands over a command; never blocks. After the media side failed, an event says so.
    fn command(&mut self, command: MediaCommand);
}

/// Makes media for calls.
pub trait MediaEngine: Send + Sync {
    /// Media for one call, on the least loaded worker. Events reach `events` in order;
    /// the sender waits when it is full.
    ///
    /// # Errors
    /// [`Cause::Congestion`] when the limit of calls is reached.
    fn open(
        &self,
        call: crate::base::CallId,
        events: tokio::sync::mpsc::Sender<MediaEvent>,
    ) -> Result<Box<dyn MediaPort>, Cause>;
}
