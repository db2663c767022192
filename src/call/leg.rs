//! The closed vocabulary between a call and its legs. `LegEvent` comes from an edge, `LegCommand` goes to
//! one. A protocol that needs a word that is not here adds it for all edges.

use super::port::{MediaProfile, MediaRefusal};
use crate::base::Cause;
use crate::sdp::SessionDescription;
use std::time::Duration;

/// A party as the other side may be told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// Number or name; the user part of an address.
    pub user: String,
    /// Name to show.
    pub display: Option<String>,
}

/// What a leg's client can and cannot do; media and call obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegProfile {
    /// What kind of media it speaks.
    pub media: MediaProfile,
    /// It takes a new offer in an established call (re-INVITE and the like).
    pub takes_reoffer: bool,
    /// When the other leg answered first, this one may live on without media (detached).
    pub may_detach: bool,
}

/// A new leg that called us.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Where it comes from, for routing: the kind and name of what proved its identity.
    pub source: super::route::Source,
    /// Who calls.
    pub from: Party,
    /// Whom it calls.
    pub to: String,
    /// Its offer; none when it lives detached at first.
    pub offer: Option<Box<SessionDescription>>,
    /// What it can do.
    pub profile: LegProfile,
    /// How long it lets the other side ring; none: the default.
    pub ring_timeout: Option<Duration>,
}

/// From an edge to the call.
#[derive(Debug)]
pub enum LegEvent {
    /// A new call.
    Incoming(Box<Incoming>),
    /// The called party is being alerted.
    Ringing,
    /// Early media (a provisional answer), or progress without any.
    Progress {
        /// Provisional answer to our offer.
        answer: Option<Box<SessionDescription>>,
    },
    /// The called party answered.
    Answered {
        /// Answer to our offer; none if a reliable provisional one already carried it, or the leg is detached.
        answer: Option<Box<SessionDescription>>,
    },
    /// A new offer within the call: attach media, replace it, hold.
    Offer(Box<SessionDescription>),
    /// Answer to our offer within the call.
    OfferAnswered(Box<SessionDescription>),
    /// Our offer within the call was refused; media stays as it was.
    OfferRefused(Cause),
    /// The client took its media away and stays in the call.
    Detached,
    /// The leg is over.
    Ended(Cause),
}

/// What became of a leg's media, for edges that report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaState {
    /// ICE and DTLS are up, or the plain leg is set.
    Connected {
        /// Name of the codec in use, as in SDP.
        codec: &'static str,
    },
    /// It did not come up; the call goes on without.
    Failed(Cause),
    /// It was up and is gone; the call goes on without.
    Lost(Cause),
    /// It was taken away on request.
    Closed,
}

/// From the call to an edge.
#[derive(Debug)]
pub enum LegCommand {
    /// Place a call.
    Dial(Box<Dial>),
    /// The other side rings.
    Ring,
    /// Early media for the caller.
    Progress {
        /// Provisional answer to its offer, if it made one.
        answer: Option<Box<SessionDescription>>,
    },
    /// The other side answered.
    Answer {
        /// Answer to its offer; none when it made none (detached) or has it already.
        answer: Option<Box<SessionDescription>>,
    },
    /// Our offer within the call.
    Offer(Box<SessionDescription>),
    /// Answer to its offer within the call.
    AnswerOffer(Box<SessionDescription>),
    /// Its offer within the call cannot be served.
    RefuseOffer(MediaRefusal),
    /// News of its media.
    MediaState(MediaState),
    /// End the leg.
    Hangup(Cause),
}

/// An outgoing leg.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The route target, of the edge's own kind.
    pub target: super::route::Target,
    /// Who calls.
    pub from: Party,
    /// Our offer.
    pub offer: Box<SessionDescription>,
}
