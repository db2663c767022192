//! The parties of a call as the core sees them.

use super::*;

/// One side of the call as the core sees it.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) leg: LegId,
    pub(super) profile: LegProfile,
    /// As others are told of it.
    pub(super) who: Stated,
    /// That is by its own word, and not just the number that it was called by.
    pub(super) is_stated: bool,
    /// Who it knows the other one to be.
    pub(super) told: Option<Stated>,
    pub(super) keys: KeySource,
    /// Somebody is there: it has media, or is of a kind that always has.
    pub(super) is_present: bool,
    /// An offer of its own waits for its answer.
    pub(super) is_asking: bool,
    /// An offer of ours is being made or waits for its answer.
    pub(super) is_asked: bool,
    /// The call changed while an offer was open: another one is due.
    pub(super) is_offer_due: bool,
    /// An offer of either side was answered before: a failure leaves that as it was.
    pub(super) is_negotiated: bool,
    /// It holds the other one.
    pub(super) is_holding: bool,
    /// What its media speaks.
    pub(super) codec: Option<Codec>,
    /// It may be, or is, offered another codec: that of the new party.
    pub(super) is_free: bool,
    /// What it offered or answered last, for a second look at it; none once the next offer is made.
    pub(super) description: Option<Box<SessionDescription>>,
}

impl Party {
    /// A party that called us.
    pub(super) fn calling(leg: LegId, incoming: &Incoming) -> Self {
        let who = Stated::caller(&incoming.from, &incoming.particulars);
        Self { is_stated: true, ..Self::new(leg, incoming.profile.clone(), who) }
    }

    pub(super) const fn new(leg: LegId, profile: LegProfile, who: Stated) -> Self {
        // who takes no offer comes with media of its own later, but for an application
        let is_present = profile.takes_offer || matches!(profile.media, MediaProfile::Application(_));
        Self {
            leg,
            profile,
            who,
            is_stated: false,
            told: None,
            keys: KeySource::Unknown,
            is_present,
            is_asking: false,
            is_asked: false,
            is_offer_due: false,
            is_negotiated: false,
            is_holding: false,
            codec: None,
            is_free: false,
            description: None,
        }
    }
}

/// The party that others are rung for: who called, and after a transfer by that one, who stayed.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) party: Party,
    /// Its first offer, kept until the callee's answer says which codec.
    pub(super) offer: Option<Box<SessionDescription>>,
    /// Its answer, once media made it: sent with progress, and again with the answer.
    pub(super) answer: Option<Box<SessionDescription>>,
    /// Why nobody rings as yet: media before the answer is an announcement of that.
    pub(super) delay: Option<Delay>,
    /// An offer that came before there was another leg: which codecs it may be answered with is not known yet.
    pub(super) early: Option<Box<SessionDescription>>,
    /// Media has yet to say whether its first offer can be served: nobody is rung for one that cannot.
    pub(super) is_unchecked: bool,
    /// It was told that the call is answered.
    pub(super) is_answered: bool,
    /// With what those that are rung are called.
    pub(super) incoming: Incoming,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The edge is making it ready.
    Opening,
    /// Our offer to it is being made.
    Offering,
    /// It was dialled.
    Dialed,
}

/// A party that is rung.
#[derive(Debug)]
pub(super) struct Callee {
    pub(super) leg: LegId,
    pub(super) target: Target,
    pub(super) progress: Progress,
    pub(super) party: Option<Party>,
}

impl Caller {
    /// Whether it waits for its answer, having made no offer.
    pub(super) fn is_unanswered(&self) -> bool {
        self.offer.is_none() && self.answer.is_none() && !self.is_answered
    }
}
