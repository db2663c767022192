//! Who is rung, in which order, and what becomes of a party that does not answer.

use super::*;

/// How much a failure says to the caller when several differ: a person's word before a machine's.
const fn weight(cause: Cause) -> u8 {
    match cause {
        Cause::Declined => 6,
        Cause::Busy => 5,
        Cause::NoAnswer => 4,
        Cause::NoCommonCodec | Cause::BadMedia | Cause::AudioRefused => 3,
        Cause::Forbidden | Cause::NotFound | Cause::Moved => 2,
        Cause::Unavailable => 1,
        _ => 0,
    }
}

impl Call {
    /// Rings the targets of the next attempt; without one the call has failed.
    pub(super) fn try_next(&mut self, now: Instant) {
        while self.is_trying() && self.callees.is_empty() {
            let Some(attempt) = self.attempts.pop_front() else {
                return self.come_to_nothing(self.failure.unwrap_or(Cause::Unavailable.into()));
            };
            let is_forward = !attempt.when.is_empty();
            if !attempt.continues {
                let occasion = self.last_failure.and_then(|end| Occasion::of(end.cause));
                self.was_skipped = is_forward && !occasion.is_some_and(|o| attempt.when.contains(&o));
            }
            if self.was_skipped {
                continue;
            }
            // of the groups of one step, what says most is what the next step is held against
            if !attempt.continues {
                self.diversion = self.last_failure.take().filter(|_| is_forward);
            }
            for target in attempt.targets {
                let Some(leg) = self.new_leg() else { break };
                self.callees.push(Callee { leg, target, progress: Progress::Opening, party: None });
            }
            if self.callees.is_empty() {
                self.note_failure(Cause::Unavailable.into());
                continue;
            }
            let patience = self.caller.incoming.ring_timeout.unwrap_or(DEFAULT_RING_TIMEOUT);
            let ring = attempt.ring_timeout.map_or(patience, |t| t.min(patience));
            self.ring_deadline = Some(now + ring);
            let open = self.callees.iter().map(|c| Output::Open { leg: c.leg, target: c.target.clone() });
            self.outputs.extend(open);
        }
    }

    /// A party that is rung came to nothing; `is_gone`: it said so itself, or never was.
    pub(super) fn give_up(&mut self, now: Instant, leg: LegId, end: impl Into<End>, is_gone: bool) {
        let end = end.into();
        let cause = end.cause;
        let Some(at) = self.callees.iter().position(|c| c.leg == leg) else { return };
        let callee = self.callees.swap_remove(at);
        self.outputs.push_back(Output::Note(Note::Failed(leg, cause)));
        if is_gone {
            self.release(&callee);
        } else {
            self.close(&callee, end);
        }
        self.note_failure(end);
        // a person who declines does so at all places where the call rings
        if cause == Cause::Declined {
            let others = std::mem::take(&mut self.callees);
            others.iter().for_each(|c| self.close(c, end));
        }
        if !self.callees.is_empty() {
            return;
        }
        if Occasion::of(cause).is_some() {
            self.try_next(now);
        } else {
            self.come_to_nothing(self.failure.unwrap_or(end));
        }
    }

    /// Nobody was reached: the end of a call, and not of one that is transferred.
    pub(super) fn come_to_nothing(&mut self, end: End) {
        if self.transfer.is_some() {
            self.fail_transfer(end.cause);
        } else {
            self.end(end, None);
        }
    }

    pub(super) fn note_failure(&mut self, end: End) {
        for failure in [&mut self.failure, &mut self.last_failure] {
            if failure.is_none_or(|known| weight(end.cause) > weight(known.cause)) {
                *failure = Some(end);
            }
        }
    }

    /// Ends a leg that is rung.
    pub(super) fn close(&mut self, callee: &Callee, end: End) {
        if callee.progress != Progress::Opening {
            self.tell(callee.leg, LegCommand::Hangup(end));
        }
        self.release(callee);
    }

    pub(super) fn release(&mut self, callee: &Callee) {
        if self.bridged == Some(callee.leg) {
            self.bridged = None;
        }
        if callee.party.is_some() {
            self.media(MediaCommand::Release(callee.leg));
        }
    }

    pub(super) fn dial(&mut self, leg: LegId, offer: Option<Box<SessionDescription>>) {
        let Some(callee) = self.callees.iter_mut().find(|c| c.leg == leg) else { return };
        callee.progress = Progress::Dialed;
        let Incoming { from, particulars, .. } = &self.caller.incoming;
        if let Some(party) = &mut callee.party {
            party.is_asked = offer.is_some();
            party.told = Some(Stated::caller(from, particulars));
        }
        let target = callee.target.clone();
        self.outputs.push_back(Output::Note(Note::Dialing(leg, target.clone())));
        let Incoming { source, from, .. } = &self.caller.incoming;
        let hops = self.caller.incoming.hops.saturating_sub(1);
        let (transferred_by, takes_over) =
            self.transfer.as_ref().map(|t| (t.by.clone(), t.takes_over.clone())).unwrap_or_default();
        let (source, from) = (source.clone(), from.clone());
        let account = self.caller.party.profile.account.clone();
        let mut particulars = self.caller.incoming.particulars.clone();
        if let Some(End { cause, .. }) = self.diversion {
            let from = super::super::leg::Party { user: self.caller.incoming.to.clone(), display: None };
            particulars.diversions.insert(
                0,
                super::super::leg::Diversion { from, why: Occasion::of(cause), is_private: false },
            );
        }
        let dial =
            Dial { target, source, from, particulars, hops, offer, transferred_by, takes_over, account };
        self.tell(leg, LegCommand::Dial(Box::new(dial)));
    }
}
