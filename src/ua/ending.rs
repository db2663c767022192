//! How a leg ends, the same for the leg that calls and the leg that is called.

use super::cause;
use crate::base::End;
use crate::call::leg::LegEvent;
use crate::sip::Reason;

/// Whether a leg has said its last word, and what its session has yet to hear.
#[derive(Debug, Default)]
pub(super) struct Ending {
    is_over: bool,
    /// The leg ended by itself, and its session lives.
    parting: Option<End>,
}

impl Ending {
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The call ended the leg: nothing more is said of it.
    pub(super) const fn silence(&mut self) {
        self.is_over = true;
    }

    /// The session is over.
    pub(super) fn over(&mut self, end: impl Into<End>) -> LegEvent {
        self.is_over = true;
        LegEvent::Ended(end.into())
    }

    /// The leg ends, and its session is to be hung up for the same cause.
    pub(super) fn part(&mut self, end: impl Into<End>) -> LegEvent {
        let end = end.into();
        self.parting = Some(end);
        self.over(end)
    }

    /// The leg cannot go on; none when it has ended before.
    pub(super) fn fail(&mut self, end: impl Into<End>) -> Option<LegEvent> {
        if self.is_over { None } else { Some(self.over(end)) }
    }

    /// Why the session is to be hung up.
    pub(super) fn parting(&self) -> Option<Reason> {
        self.parting.map(cause::reason)
    }
}
