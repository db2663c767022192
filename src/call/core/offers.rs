//! Offers and answers of a call: at most one open on each leg (RFC 3264 §4), those of the legs carried to media, those of
//! media to the legs. Hold is among them, because a leg that can be offered something hears of it so.

use super::*;

impl Call {
    /// The offer that the leg was called with has its answer: it may offer now (RFC 3264 §4).
    pub(super) fn close_first_offer(&mut self, leg: LegId) {
        if let Some(party) = self.party_mut(leg) {
            party.is_asked = false;
        }
    }

    pub(super) fn handle_offer(&mut self, leg: LegId, sdp: Box<SessionDescription>) {
        // RFC 3264 §4: no second offer while the first has no answer
        let is_open = leg == self.caller.party.leg && self.caller.offer.is_some();
        let Some(party) = self.party_mut(leg) else { return };
        if is_open || party.is_asking || party.is_asked {
            let refusal = MediaRefusal::Unusable("an offer of this call is still unanswered");
            return self.tell(leg, LegCommand::RefuseOffer(refusal));
        }
        party.is_asking = true;
        let profile = party.profile.media.clone();
        if leg == self.caller.party.leg && self.bridged.is_none() {
            self.caller.early = Some(sdp);
        } else {
            self.keep(leg, &sdp);
            self.media(MediaCommand::AcceptOffer { leg, profile, sdp });
        }
    }

    pub(super) fn handle_offer_requested(&mut self, leg: LegId) {
        let Some(party) = self.party_mut(leg) else { return };
        if party.is_asking || party.is_asked {
            let refusal = MediaRefusal::Unusable("an offer of this call is still unanswered");
            return self.tell(leg, LegCommand::RefuseOffer(refusal));
        }
        self.offer(leg);
    }

    pub(super) fn handle_own_offer(&mut self, leg: LegId, sdp: Box<SessionDescription>) {
        if self.callee(leg).is_some_and(|c| c.progress == Progress::Offering) {
            return self.dial(leg, Some(sdp));
        }
        if self.joining.as_ref().is_some_and(|j| j.leg == leg) {
            return self.join(Some(sdp));
        }
        let is_first = leg == self.caller.party.leg && self.caller.is_unanswered();
        if self.party_mut(leg).is_none_or(|p| !p.is_asked) {
            return;
        }
        if is_first && self.state != State::Active {
            self.caller.answer = Some(sdp.clone());
            self.tell(leg, LegCommand::Progress { answer: Some(sdp), delay: self.caller.delay });
        } else if is_first {
            self.caller.answer = Some(sdp.clone());
            self.answer_caller(Some(sdp));
        } else {
            self.tell(leg, LegCommand::Offer(sdp));
        }
    }

    pub(super) fn handle_own_answer(&mut self, leg: LegId, sdp: Box<SessionDescription>) {
        if let Some(joining) = self.joining.as_mut().filter(|j| j.leg == leg) {
            (joining.is_negotiated, joining.is_asking) = (true, false);
            return self.join(Some(sdp));
        }
        if leg == self.caller.party.leg && self.caller.offer.take().is_some() {
            self.caller.party.is_negotiated = true;
            self.caller.party.is_asking = false;
            self.caller.answer = Some(sdp.clone());
            let answer = Some(sdp);
            return if self.state == State::Active {
                self.answer_caller(answer)
            } else {
                self.tell(leg, LegCommand::Progress { answer, delay: self.caller.delay })
            };
        }
        if let Some(party) = self.party_mut(leg)
            && std::mem::take(&mut party.is_asking)
        {
            party.is_negotiated = true;
            party.description = None;
            self.tell(leg, LegCommand::AnswerOffer(sdp));
            self.offer_if_due(leg);
        }
    }

    pub(super) fn handle_refused(&mut self, now: Instant, leg: LegId, refusal: MediaRefusal) {
        // a codec that the other party is asked to follow in is served yet
        let is_joining = self.joining.as_ref().is_some_and(|j| j.leg == leg);
        if !is_joining && !self.awaits(leg) && (self.free_codec(leg, &refusal) || self.follow(leg, &refusal))
        {
            return;
        }
        self.outputs.push_back(Output::Note(Note::MediaRefused(leg, refusal.clone())));
        if self.joining.take_if(|j| j.leg == leg).is_some() {
            let cause = refusal.cause();
            self.tell(leg, LegCommand::RefuseOffer(refusal));
            self.tell(leg, LegCommand::Hangup(cause.into()));
            self.media(MediaCommand::Release(leg));
            return self.go_on_alone(cause);
        }
        if self.give_up_change(leg) {
            return;
        }
        if self.callee(leg).is_some() {
            if self.callee(leg).is_some_and(|c| c.progress == Progress::Dialed)
                && let Some(party) = self.party_mut(leg)
                && std::mem::take(&mut party.is_asking)
            {
                // an offer of its own before it answered
                if self.transfer.is_none() {
                    self.bind_codec();
                }
                return self.tell(leg, LegCommand::RefuseOffer(refusal));
            }
            return self.give_up(now, leg, refusal.cause(), false);
        }
        if self.keeps_codec(leg) {
            return;
        }
        let is_first = leg == self.caller.party.leg && self.caller.offer.is_some();
        // the other one was free to follow, and the second look came to nothing as well
        let is_second = self.caller.party.is_free && self.transfer.is_none() && leg != self.caller.party.leg;
        let is_no_codec = matches!(refusal, MediaRefusal::NoCommonCodec { .. });
        let Some(party) = self.party_mut(leg) else { return };
        if !is_first && std::mem::take(&mut party.is_asking) {
            if self.transfer.is_none() {
                self.bind_codec();
            }
            self.tell(leg, LegCommand::RefuseOffer(refusal));
            return self.offer_if_due(leg);
        }
        let was_asked = std::mem::take(&mut party.is_asked);
        // whoever answers with another codec at last would not be heard
        let is_answer = party.description.take().is_some() || is_second;
        if is_first || (is_answer && is_no_codec) || !party.is_negotiated {
            let cause = refusal.cause();
            if is_first {
                self.tell(leg, LegCommand::RefuseOffer(refusal));
            }
            self.end(cause, None);
        } else if was_asked {
            // no offer could be made for it: what it wanted one for does not happen
            self.tell(leg, LegCommand::RefuseOffer(refusal));
        }
    }

    pub(super) fn handle_hold(&mut self, leg: LegId, is_holding: bool) {
        let Some(party) = self.party_mut(leg).filter(|p| p.is_holding != is_holding) else { return };
        party.is_holding = is_holding;
        self.outputs.push_back(Output::Note(Note::Hold(leg, is_holding)));
        self.media(MediaCommand::Hold(leg, is_holding));
        let is_active = self.state == State::Active;
        let Some(other) = self.other(leg) else { return };
        let Some(party) = self.party_mut(other).filter(|p| p.profile.takes_reoffer) else { return };
        if party.is_asked || party.is_asking {
            party.is_offer_due = true;
        } else if is_active || party.is_negotiated {
            self.offer(other);
        }
        // before that, the first offer or answer says it
    }

    /// An offer of ours was refused before the leg is answered: it comes again after that. True when it is so.
    pub(super) fn put_off(&mut self, leg: LegId) -> bool {
        let is_early = !self.is_answered(leg);
        if let Some(party) = self.party_mut(leg).filter(|_| is_early) {
            party.is_offer_due = true;
        }
        is_early
    }

    /// Whether a leg is beyond its ringing.
    pub(super) fn is_answered(&self, leg: LegId) -> bool {
        self.state == State::Active && (leg != self.caller.party.leg || self.caller.is_answered)
    }

    /// The caller made no offer, and takes ours before the answer.
    pub(super) fn offer_early(&mut self, least: EarlyOffer) {
        let caller = &self.caller;
        let takes_it = caller.incoming.early_offer == EarlyOffer::Needed
            || caller.incoming.early_offer == EarlyOffer::Possible && least == EarlyOffer::Possible;
        if takes_it && caller.party.profile.takes_offer && caller.is_unanswered() && !caller.party.is_asked {
            self.offer(caller.party.leg);
        }
    }

    /// The caller offered at first and the callee's codec is known: answer it.
    pub(super) fn answer_caller_media(&mut self) {
        let leg = self.caller.party.leg;
        if let Some(sdp) = self.caller.offer.clone() {
            // once: the answer is on its way
            if !std::mem::replace(&mut self.caller.party.is_asking, true) {
                let profile = self.caller.party.profile.media.clone();
                self.media(MediaCommand::AcceptOffer { leg, profile, sdp });
            }
        } else {
            self.offer_early(EarlyOffer::Possible);
            let answer = self.caller.answer.clone();
            self.tell(leg, LegCommand::Progress { answer, delay: self.caller.delay });
        }
    }

    /// Has an offer made for a leg.
    pub(super) fn offer(&mut self, leg: LegId) {
        let Some(party) = self.party_mut(leg) else { return };
        party.is_asked = true;
        party.is_offer_due = false;
        party.description = None;
        let profile = party.profile.media.clone();
        self.media(MediaCommand::CreateOffer { leg, profile });
    }

    pub(super) fn offer_if_due(&mut self, leg: LegId) {
        if self.is_answered(leg)
            && self.party_mut(leg).is_some_and(|p| p.is_offer_due && !p.is_asked && !p.is_asking)
        {
            self.offer(leg);
        }
    }
}
