//! Who hangs up right after its answer: the call was answered, so its caller is told of the answer first, and of the
//! end after it. Nobody hears a refusal of a call that somebody took.

use super::*;

/// Media makes an answer at once; nobody waits longer for one, on whatever machine.
const LIMIT: Duration = Duration::from_secs(10);

/// A callee that is gone, and why.
#[derive(Debug)]
pub(super) struct Parting {
    pub(super) leg: LegId,
    pub(super) end: End,
    pub(super) until: Instant,
}

impl Call {
    /// Tells the caller that the call is answered, and that it is over, if it is by now.
    pub(super) fn answer_caller(&mut self, answer: Option<Box<SessionDescription>>) {
        self.caller.is_answered = true;
        self.tell(self.caller.party.leg, LegCommand::Answer { answer });
        if let Some(Parting { leg, end, .. }) = self.parting.take() {
            self.end(end, Some(leg));
        } else {
            self.offer_if_due(self.caller.party.leg);
        }
    }

    /// Who answered is gone: the call ends, as soon as its caller knows that it was answered.
    pub(super) fn part(&mut self, now: Instant, leg: LegId, end: End) {
        if self.caller.is_answered {
            self.end(end, Some(leg));
        } else if self.parting.is_none() {
            self.parting = Some(Parting { leg, end, until: now + LIMIT });
        }
    }
}
