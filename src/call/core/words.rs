//! What a call is given, and what it asks of the world.

use super::*;

/// Targets that ring together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// What rings; with none, the attempt fails as [`Cause::Unavailable`].
    pub targets: Vec<Target>,
    /// How long; none: as long as the caller lets it.
    pub ring_timeout: Option<Duration>,
    /// See [`crate::call::route::Step::when`].
    pub when: Vec<Occasion>,
    /// It goes on with the attempt before: it is tried when that one was and came to nothing, whatever `when` says.
    pub continues: bool,
}

/// What a call asks of the world. Exhaustive on purpose: a new variant must break every driver.
#[derive(Debug)]
pub enum Output {
    /// Find a route; answer with [`Call::handle_route`].
    Route(RouteQuery),
    /// Open a leg at an edge; answer with [`Call::handle_opened`].
    Open {
        /// The leg's id.
        leg: LegId,
        /// Where.
        target: Target,
    },
    /// A command to a leg. [`LegCommand::Hangup`] is the last one of its leg.
    Leg(LegId, LegCommand),
    /// A command to the media of this call.
    Media(MediaCommand),
    /// A line for the log.
    Note(Note),
    /// The call is over; nothing follows.
    Ended(Cause),
}

/// What the log says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A leg was placed towards a target.
    Dialing(LegId, Target),
    /// A party rings.
    Ringing(LegId),
    /// A party that was rung came to nothing.
    Failed(LegId, Cause),
    /// A party answered.
    Answered(LegId),
    /// A leg's media changed.
    Media(LegId, MediaState),
    /// A leg holds the other one, or not any more.
    Hold(LegId, bool),
    /// A leg refused an offer of ours; its media stayed as it was.
    OfferRefused(LegId, Cause),
    /// Media could not serve what a leg described.
    MediaRefused(LegId, MediaRefusal),
    /// A leg hands the other one over.
    Transferring(LegId, Person),
    /// The other one talks to this leg now.
    Transferred(LegId),
    /// Nothing came of it.
    TransferFailed(Cause),
    /// The first leg takes the place of the second.
    Replaced(LegId, LegId),
}

/// The timers of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer {
    /// The attempt has rung long enough.
    Ring,
    /// Who answered has hung up, and media has yet to make the caller's answer.
    Parting,
    /// Media has not told keys that signalling told.
    Keys,
    /// Nobody has come to either side.
    Deserted,
}
