//! The closed vocabulary between a call and its legs. `LegEvent` comes from an edge, `LegCommand` goes to
//! one. A protocol that needs a word that is not here adds it for all edges.

pub use super::port::DtmfDigit;
use super::port::{Application, MediaProfile, MediaRefusal};
use crate::base::{CallId, Cause, End, LegId};
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

/// Who a party of a call is, as others may be told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// It, as anybody may know it.
    pub shown: Party,
    /// It, for those who may know it though it asks not to be named.
    pub withheld: Option<Party>,
    /// It asks that others are not told who it is (RFC 3323).
    pub is_private: bool,
}

impl Stated {
    /// A number that somebody was called by.
    #[must_use]
    pub fn number(user: String) -> Self {
        Self { shown: Party { user, display: None }, ..Self::default() }
    }

    /// Who called.
    #[must_use]
    pub fn caller(from: &Party, particulars: &Particulars) -> Self {
        let Particulars { withheld, is_private, .. } = particulars.clone();
        Self { shown: from.clone(), withheld, is_private }
    }
}

/// What goes with a call besides who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Who calls, for those who may know it though the caller asks not to be named.
    pub withheld: Option<Party>,
    /// The caller asks that others are not told who calls (RFC 3323).
    pub is_private: bool,
    /// Whom the call was meant for before, the latest first.
    pub diversions: Vec<Diversion>,
    /// Names and values that the caller's edge lets through, for edges that let them through too.
    pub extras: Vec<(String, String)>,
}

/// A party that a call was meant for, and that it was diverted from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The party.
    pub from: Party,
    /// Why; none: always, or nobody said.
    pub why: Option<super::route::Occasion>,
    /// It asks that others are not told of it (RFC 5806 §4, RFC 7044 §10.1).
    pub is_private: bool,
}

/// What a leg's client can and cannot do; media and call obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegProfile {
    /// What kind of media it speaks.
    pub media: MediaProfile,
    /// It takes an offer of ours when it is called, or with our answer when it called without one. A client that
    /// does not is called without media, and offers by itself once it has some (see [`LegEvent::Offer`]).
    pub takes_offer: bool,
    /// It takes a new offer in an established call (re-INVITE and the like).
    pub takes_reoffer: bool,
    /// When the other leg answered first, this one may live on without media (detached).
    pub may_detach: bool,
    /// Keys go to it as [`LegCommand::Dtmf`] alone; its media carries none.
    pub takes_keys: bool,
    /// The account of ours that it is; none: somebody else.
    pub account: Option<String>,
}

impl LegProfile {
    /// Whether its media means nothing before it answers: it brings that by itself, a browser's page as it loads, and not
    /// as early media.
    #[must_use]
    pub fn is_silent_until_answered(&self) -> bool {
        !self.takes_offer && !matches!(self.media, MediaProfile::Application(_))
    }
}

/// What a caller that made no offer takes before the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyOffer {
    /// Nothing: our offer comes with the answer.
    #[default]
    No,
    /// Our offer, when there is early media.
    Possible,
    /// The same as soon as anything rings, which it does not hear of without.
    Needed,
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
    /// What goes with it.
    pub particulars: Particulars,
    /// Its offer; none when it lives detached at first, or wants ours with the answer.
    pub offer: Option<Box<SessionDescription>>,
    /// What it takes when it made none and its profile takes one.
    pub early_offer: EarlyOffer,
    /// What it can do.
    pub profile: LegProfile,
    /// How long it lets each party ring; none: the default.
    pub ring_timeout: Option<Duration>,
    /// How many systems more the call may pass through; [`HOPS`] where it begins. It keeps a call that two systems
    /// send to each other from going on for ever (RFC 7332 §4).
    pub hops: u8,
}

/// Systems that a call may pass through (RFC 3261 §8.1.1.6).
pub const HOPS: u8 = 70;

/// Why a called party does not ring yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// Its system forwards the call.
    Forwarded,
    /// It is busy, and the call waits in a queue.
    Queued,
}

/// From an edge to the call.
#[derive(Debug)]
pub enum LegEvent {
    /// A new call.
    Incoming(Box<Incoming>),
    /// The called party is being alerted.
    Ringing,
    /// It is not, as yet, for a reason that the caller may be told.
    Delayed(Delay),
    /// Early media (a provisional answer), or progress without any.
    Progress {
        /// Provisional answer to our offer.
        answer: Option<Box<SessionDescription>>,
        /// Why it does not ring, when this is an announcement of that.
        delay: Option<Delay>,
    },
    /// The called party answered.
    Answered {
        /// What it answered with.
        answer: Answered,
    },
    /// A new offer within the call: attach media, replace it, hold.
    Offer(Box<SessionDescription>),
    /// The client wants an offer of ours within the call (a re-INVITE without one); answered with
    /// [`LegCommand::Offer`], or with [`LegCommand::RefuseOffer`].
    OfferRequested,
    /// Answer to our offer within the call.
    OfferAnswered(Box<SessionDescription>),
    /// Our offer within the call was refused; media stays as it was.
    OfferRefused(Cause),
    /// The client took its media away and stays in the call.
    Detached,
    /// The client puts the other party on hold (true), or takes it back, by a word of its own and not by an offer.
    Hold(bool),
    /// Digits that the client wants sent to the other party, in order.
    Dtmf(Vec<DtmfDigit>),
    /// The far side pressed a key and says so by signalling. Where its media tells keys too, that counts, and not this.
    Pressed(DtmfDigit),
    /// Who the party is by now, by the word of its system: it answered in the place of who was called, was handed over there,
    /// or has a name.
    Party(Box<Stated>),
    /// The party wants the other one to talk to somebody else; answered with [`LegCommand::Notify`]. When that comes about,
    /// this leg is hung up.
    Transfer(Box<Transfer>),
    /// The leg is over.
    Ended(End),
}

/// What a party that transfers the other one wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Whose rights count.
    pub source: super::route::Source,
    /// Who asks, as the party called may be told; none: nobody in particular.
    pub by: Option<Party>,
    /// Whom to call.
    pub to: TransferTo,
}

/// Where a transfer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferTo {
    /// A number, by the routes.
    Number(String),
    /// A target that the edge knows.
    Target {
        /// It.
        target: super::route::Target,
        /// A call of that target's that ours takes the place of, in the words of its edge.
        takes_over: Option<String>,
    },
    /// The party that this leg, of another call here, talks to: the two that are left are joined.
    Partner(CallId, LegId),
}

/// What becomes of a transfer, for who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// It was accepted, and is tried.
    Trying,
    /// The new party rings.
    Ringing,
    /// The other party talks to the new one.
    Done,
    /// It came to nothing, and the call goes on; without [`TransferState::Trying`] before, it was refused.
    Failed(Cause),
}

/// How a called party answered.
#[derive(Debug)]
pub enum Answered {
    /// With an answer to our offer.
    Sdp(Box<SessionDescription>),
    /// A provisional answer carried it already, or the leg is detached.
    Nothing,
    /// By a media application of sipedge in its place.
    Application(Application),
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
    /// It does not as yet.
    Delayed(Delay),
    /// Early media for the caller.
    Progress {
        /// Provisional answer to its offer, or our offer when it made none and takes one now.
        answer: Option<Box<SessionDescription>>,
        /// Why it does not ring on the other side, when that is what is heard.
        delay: Option<Delay>,
    },
    /// The other side, which has not answered, has media: it hears this leg and its keys. With false, none has any more.
    EarlyMedia(bool),
    /// The other side answered.
    Answer {
        /// Answer to its offer, or our offer when it made none and takes one; none when it is detached or has the
        /// answer already.
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
    /// The other party pressed keys. The leg's media carries them, unless the leg takes keys as words.
    Dtmf(Vec<DtmfDigit>),
    /// Who the other party is, which is news to this one: before [`LegCommand::Answer`], or within the call.
    Party(Box<Stated>),
    /// News of the transfer that it asked for.
    Notify(TransferState),
    /// End the leg.
    Hangup(End),
}

/// An outgoing leg.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The route target, of the edge's own kind.
    pub target: super::route::Target,
    /// What proved the caller's identity.
    pub source: super::route::Source,
    /// Who calls.
    pub from: Party,
    /// What goes with it.
    pub particulars: Particulars,
    /// How many systems more the call may pass through.
    pub hops: u8,
    /// Our offer; none when the leg takes none.
    pub offer: Option<Box<SessionDescription>>,
    /// Who had the call transferred here.
    pub transferred_by: Option<Party>,
    /// A call of the target's that this one takes the place of, see [`TransferTo::Target`].
    pub takes_over: Option<String>,
    /// The account of ours that will talk, whoever's rights the call is made by.
    pub account: Option<String>,
}
