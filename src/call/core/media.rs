//! What the media of a call says, and who is joined with whom.

use super::*;

impl Call {
    /// What the media of this call said.
    pub fn handle_media(&mut self, now: Instant, event: MediaEvent) {
        if matches!(self.state, State::Ended | State::New) {
            return;
        }
        self.hear_media(now, event);
        self.note_early_media();
        self.note_presence(now);
    }

    fn hear_media(&mut self, now: Instant, event: MediaEvent) {
        match event {
            MediaEvent::Offer { leg, sdp } => self.handle_own_offer(leg, sdp),
            MediaEvent::Answer { leg, sdp } => self.handle_own_answer(leg, sdp),
            MediaEvent::OfferGood { leg } => self.handle_offer_good(leg),
            MediaEvent::Refused { leg, refusal } => self.handle_refused(now, leg, refusal),
            MediaEvent::Connected { leg, codec } => {
                if let Some(party) = self.party_mut(leg) {
                    party.is_negotiated = true;
                    party.codec = Some(codec);
                    party.description = None;
                    self.change_codec(leg);
                    self.report_media(leg, MediaState::Connected { codec: codec.name() });
                }
            }
            MediaEvent::Failed { leg, cause } => {
                self.handle_media_end(now, leg, MediaState::Failed(cause), cause)
            }
            MediaEvent::Lost { leg, cause } => {
                self.handle_media_end(now, leg, MediaState::Lost(cause), cause)
            }
            MediaEvent::Detached { leg, .. } => {
                if self.party_mut(leg).is_some() {
                    self.report_media(leg, MediaState::Closed);
                }
            }
            MediaEvent::OtherCodec { leg } => self.settle_codec(leg),
            MediaEvent::Dtmf { leg, digit } => self.handle_heard(leg, digit),
        }
    }

    /// The caller's offer can be served: those are rung that get no offer of ours, which would have waited as well.
    fn handle_offer_good(&mut self, leg: LegId) {
        let is_first = leg == self.caller.party.leg && std::mem::take(&mut self.caller.is_unchecked);
        if self.ask_other(leg) || !is_first {
            return;
        }
        let waits = |c: &&Callee| {
            c.progress == Progress::Offering && c.party.as_ref().is_some_and(|p| !p.profile.takes_offer)
        };
        let waiting: Vec<LegId> = self.callees.iter().filter(waits).map(|c| c.leg).collect();
        waiting.into_iter().for_each(|leg| self.dial(leg, None));
    }

    fn handle_media_end(&mut self, now: Instant, leg: LegId, state: MediaState, cause: Cause) {
        let Some(party) = self.party_mut(leg) else { return };
        let stays = party.profile.may_detach && cause != Cause::Internal;
        self.report_media(leg, state);
        if stays {
            if matches!(state, MediaState::Failed(_)) {
                self.change_back(leg);
            }
            return;
        }
        if self.callee(leg).is_some() {
            self.give_up(now, leg, cause, false);
        } else if leg != self.caller.party.leg && self.transfer.is_some() {
            // whoever transfers may have nothing more to say
            self.tell(leg, LegCommand::Hangup(cause.into()));
            self.let_go(leg);
        } else {
            self.end(cause, None);
        }
    }

    pub(super) fn bridge(&mut self, leg: LegId) {
        if self.bridged.replace(leg) != Some(leg) {
            self.media(MediaCommand::Bridge(self.caller.party.leg, leg));
        }
    }

    /// Tells the caller when somebody who rings begins to hear it, or does no more.
    pub(super) fn note_early_media(&mut self) {
        if self.state != State::Trying {
            // an answer, or an end, says all
            self.is_early = false;
            return;
        }
        let hears = |p: &Party| p.is_negotiated && !p.profile.is_silent_until_answered();
        let is_heard = self.bridged.and_then(|leg| self.party(leg)).is_some_and(hears);
        if std::mem::replace(&mut self.is_early, is_heard) != is_heard {
            self.tell(self.caller.party.leg, LegCommand::EarlyMedia(is_heard));
        }
    }

    /// Whether anybody is on either side of the answered call; with nobody it ends after a while.
    pub(super) fn note_presence(&mut self, now: Instant) {
        let is_deserted = self.state == State::Active
            && self.caller.is_answered
            && !self.caller.party.is_present
            && self.partner.as_ref().is_some_and(|partner| !partner.is_present);
        if !is_deserted {
            self.deserted_until = None;
        } else if self.deserted_until.is_none() {
            self.deserted_until = Some(now + DESERTED_LIMIT);
        }
    }

    fn report_media(&mut self, leg: LegId, state: MediaState) {
        if let Some(party) = self.party_mut(leg) {
            party.is_present = matches!(state, MediaState::Connected { .. });
        }
        self.outputs.push_back(Output::Note(Note::Media(leg, state)));
        self.tell(leg, LegCommand::MediaState(state));
    }
}
