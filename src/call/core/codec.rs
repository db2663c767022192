//! A codec that one party speaks and the other one does not, and what is done about it: who takes offers within the call is
//! offered another one.
//!
//! What a party **offers** waits until the other one was asked ([`Change`]): both stay as they were where that one refuses.
//! What can wait no more is an answer that was given: of a party that answers with another codec than its early media had,
//! and of the new party of a transfer, which is called while two others talk. Nor can the offer of a party that rings wait
//! for a caller who takes none before its answer. There the party that is to follow is **free**: what is beside it is not
//! held to its codec meanwhile, and the call ends if it does not follow.

use super::*;

/// An offer of a codec that the other party does not speak at the moment. It waits until that one has said whether it
/// takes the codec: who hears 200 can no longer be told that it does not. Only offers are so: an answer, too, may name another
/// codec than the other party speaks (RFC 3261 §13.2.2.4: it is of another dialog than early media was), and nothing said
/// later takes it back; waiting would keep its party unheard, and the refusal that it waits for is the end of the call all
/// the same.
#[derive(Debug)]
pub(super) struct Change {
    /// Whose offer it is.
    pub(super) by: LegId,
    /// Who is asked.
    pub(super) other: LegId,
    sdp: Box<SessionDescription>,
    refusal: MediaRefusal,
}

impl Call {
    /// A party offers, or answers, codecs of which the other one speaks none. Where that one takes offers, it is offered
    /// them: before an offer is answered, and after an answer, which was given. So it is with an offer of the party that
    /// rings, after an announcement with another codec. True when it is so.
    pub(super) fn follow(&mut self, leg: LegId, refusal: &MediaRefusal) -> bool {
        let is_no_codec = matches!(refusal, MediaRefusal::NoCommonCodec { .. });
        let Some(other) = self.follower(leg).filter(|_| is_no_codec) else { return false };
        let is_open = other.is_asked || other.is_asking;
        let other = other.leg;
        let Some(party) = self.party_mut(leg) else { return false };
        let (is_asking, profile) = (party.is_asking, party.profile.media.clone());
        let Some(sdp) = party.description.take() else { return false };
        if !is_asking {
            return self.free_other(leg, sdp);
        }
        if !is_open {
            self.media(MediaCommand::CheckOffer { leg, profile, sdp: sdp.clone() });
            self.change = Some(Change { by: leg, other, sdp, refusal: refusal.clone() });
        }
        !is_open
    }

    /// Who may be offered the codec of this party.
    fn follower(&self, leg: LegId) -> Option<&Party> {
        if self.transfer.is_some() {
            return None;
        }
        let is_partner = self.partner.as_ref().is_some_and(|p| p.leg == leg);
        // what the caller offers anew is looked at once the call is answered
        let is_caller = leg == self.caller.party.leg && self.caller.offer.is_none() && self.is_settled();
        let other = match () {
            () if is_partner || self.rings_early(leg) => Some(&self.caller.party),
            () if is_caller => self.partner.as_ref(),
            () => None,
        };
        other.filter(|p| p.profile.takes_reoffer && !p.is_free)
    }

    /// Whether this party rings, and has early media already.
    fn rings_early(&self, leg: LegId) -> bool {
        self.partner.is_none() && self.ringing_alone().is_some_and(|p| p.leg == leg)
    }

    /// The answer of a party counts, and the other one is to follow.
    fn free_other(&mut self, leg: LegId, sdp: Box<SessionDescription>) -> bool {
        if !self.rings_early(leg) && !self.make_partner(leg) {
            return false;
        }
        let stays = &mut self.caller.party;
        stays.is_free = true;
        let stays = stays.leg;
        self.media(MediaCommand::FreeCodec(stays, true));
        self.media(MediaCommand::AcceptAnswer { leg, sdp });
        true
    }

    /// Media has read which codecs an offer names: the other party is offered those. True when it is so.
    pub(super) fn ask_other(&mut self, leg: LegId) -> bool {
        let Some(change) = self.change.take_if(|change| change.by == leg) else { return false };
        let other = change.other;
        // an offer of either side may have come meanwhile
        if self.party(other).is_some_and(|p| p.is_asked || p.is_asking) {
            self.turn_down(change);
        } else {
            self.change = Some(change);
            self.offer(other);
        }
        true
    }

    /// Who was asked has answered: the offer that waited for it is served.
    pub(super) fn make_change(&mut self, other: LegId) {
        if let Some(change) = self.change.take_if(|change| change.other == other) {
            self.serve(change);
        }
    }

    fn serve(&mut self, Change { by, sdp, .. }: Change) {
        self.media(MediaCommand::FreeCodec(by, false));
        if let Some(profile) = self.party(by).map(|p| p.profile.media.clone()) {
            self.media(MediaCommand::AcceptOffer { leg: by, profile, sdp });
        }
    }

    /// Who was asked does not take it: the offer that waited for it is refused. One that merely does not take offers before
    /// the answer gets it then. True when an offer waited.
    pub(super) fn refuse_change(&mut self, other: LegId, cause: Cause) -> bool {
        let Some(change) = self.change.take_if(|change| change.other == other) else { return false };
        if cause != Cause::NoCommonCodec && !self.is_answered(other) {
            self.caller.party.is_free = true;
            self.media(MediaCommand::FreeCodec(other, true));
            self.serve(change);
            return true;
        }
        self.outputs.push_back(Output::Note(Note::OfferRefused(other, cause)));
        self.turn_down(change);
        true
    }

    /// Whether an offer of this leg waits, or one of the other's waits for it.
    pub(super) fn awaits(&self, leg: LegId) -> bool {
        self.change.as_ref().is_some_and(|change| [change.by, change.other].contains(&leg))
    }

    /// Media cannot make the offer for who is to be asked, or can serve nothing of what waits. True when an offer waited.
    pub(super) fn give_up_change(&mut self, leg: LegId) -> bool {
        let change = self.change.take_if(|change| [change.by, change.other].contains(&leg));
        let Some(change) = change else { return false };
        if leg == change.other
            && let Some(party) = self.party_mut(leg)
        {
            party.is_asked = false;
        }
        self.turn_down(change);
        true
    }

    /// Whose offer waits takes it back: who was asked may change all the same, and changes back with the next offer.
    pub(super) fn take_back_change(&mut self, leg: LegId) {
        if let Some(mut change) = self.change.take_if(|change| change.by == leg) {
            change.refusal = MediaRefusal::Unusable("the offer was taken back before it was answered");
            self.turn_down(change);
        }
    }

    /// The transport of an offer did not come up, for which the other party has changed its codec: it is offered the one of
    /// before, which goes on.
    pub(super) fn change_back(&mut self, leg: LegId) {
        let Some(codec) = self.party(leg).and_then(|p| p.codec) else { return };
        let Some(other) = self.other(leg).filter(|_| self.is_settled()) else { return };
        if self.party(other).is_some_and(|p| p.profile.takes_reoffer && p.codec.is_some_and(|c| c != codec)) {
            self.party_mut(other).into_iter().for_each(|p| p.is_offer_due = true);
            self.offer_if_due(other);
        }
    }

    fn turn_down(&mut self, Change { by, other, refusal, .. }: Change) {
        self.media(MediaCommand::FreeCodec(by, false));
        if let Some(party) = self.party_mut(by) {
            party.is_asking = false;
            // what it was refused for at first says what is spoken here now
            self.tell(by, LegCommand::RefuseOffer(refusal));
        }
        [by, other].into_iter().for_each(|leg| self.offer_if_due(leg));
    }

    /// A party sends another codec than the one that was settled, as it may when its answer had several: it is offered that
    /// one alone.
    pub(super) fn settle_codec(&mut self, leg: LegId) {
        if self.state == State::Active
            && self.party(leg).is_some_and(|p| p.profile.takes_reoffer && !p.is_asked && !p.is_asking)
        {
            self.offer(leg);
        }
    }

    /// The new party speaks no codec of who stays: where that one can be offered another, the new party is offered all it
    /// speaks. True when it is.
    pub(super) fn free_codec(&mut self, leg: LegId, refusal: &MediaRefusal) -> bool {
        let stays = &mut self.caller.party;
        let may_change = self.transfer.is_some() && stays.profile.takes_reoffer && !stays.is_free;
        let is_no_codec = matches!(refusal, MediaRefusal::NoCommonCodec { .. });
        let callee = self.callees.iter().find(|c| c.leg == leg && c.progress == Progress::Offering);
        let Some(party) = callee.and_then(|c| c.party.as_ref()).filter(|_| may_change && is_no_codec) else {
            return false;
        };
        stays.is_free = true;
        let (stays, profile) = (stays.leg, party.profile.media.clone());
        self.media(MediaCommand::FreeCodec(stays, true));
        self.media(MediaCommand::CreateOffer { leg, profile });
        true
    }

    /// The codec of the new party is known, or it answers with the one that it had while it rang: who stays is offered that, if
    /// it is another one. Until the answer it goes on talking to who transfers.
    pub(super) fn change_codec(&mut self, leg: LegId) {
        if self.transfer.is_some() {
            return;
        }
        let stays = &self.caller.party;
        let new = self.partner.as_ref().or_else(|| self.ringing_alone());
        let Some(new) = new.filter(|p| stays.is_free && stays.codec.is_some() && p.codec.is_some()) else {
            return;
        };
        if new.codec == stays.codec {
            return self.bind_codec();
        }
        if leg == new.leg {
            let stays = stays.leg;
            self.media(MediaCommand::FreeCodec(stays, false));
            if let Some(party) = self.party_mut(stays) {
                party.is_offer_due = true;
            }
            match self.partner {
                Some(_) => self.offer_if_due(stays),
                // a caller that does not take it yet gets it with the answer
                None => self.offer(stays),
            }
        }
    }

    /// The one party that rings and has media already.
    fn ringing_alone(&self) -> Option<&Party> {
        let [callee] = self.callees.as_slice() else { return None };
        let party = callee.party.as_ref().filter(|p| p.is_negotiated && self.bridged == Some(p.leg))?;
        (callee.progress == Progress::Dialed && self.caller.offer.is_none()).then_some(party)
    }

    /// Who stays does not take the codec of the new party, and the two hear nothing of each other: the end. True when it
    /// is so.
    pub(super) fn keeps_codec(&mut self, leg: LegId) -> bool {
        let is_so = self.caller.party.is_free
            && self.caller.party.leg == leg
            && self.transfer.is_none()
            && self.partner.as_ref().is_some_and(|p| p.codec != self.caller.party.codec);
        if is_so {
            self.end(Cause::NoCommonCodec, None);
        }
        is_so
    }

    /// Who stays has its codec for good.
    pub(super) fn bind_codec(&mut self) {
        if std::mem::take(&mut self.caller.party.is_free) {
            self.media(MediaCommand::FreeCodec(self.caller.party.leg, false));
        }
    }
}
