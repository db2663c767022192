//! A codec that one party speaks and the other one does not, and what is done about it: who takes offers within the call is
//! offered another one.
//!
//! A party is **free** while it may be offered another codec than its own: the other party is then not held to that.

use super::*;

/// An offer of a codec that the other party does not speak at the moment. It waits until that one has said whether it
/// takes the codec: who hears 200 can no longer be told that it does not.
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
    /// A party answers, or offers, codecs of which the other one speaks none: an answer after early media with another codec
    /// (RFC 3261 §13.2.2.4: of another dialog), or a re-INVITE. Where the other one takes offers, it is offered the new one:
    /// before an offer is answered, so that both stay as they were where it refuses, and after an answer, which was given.
    /// So it is with an offer of the party that rings, after an announcement with another codec. True when it is so.
    pub(super) fn free_other(&mut self, leg: LegId, refusal: &MediaRefusal) -> bool {
        let is_no_codec = matches!(refusal, MediaRefusal::NoCommonCodec { .. });
        let is_early = self.partner.is_none() && self.ringing_alone().is_some_and(|p| p.leg == leg);
        let is_partner = is_early || self.partner.as_ref().is_some_and(|p| p.leg == leg);
        // what the caller offers anew is looked at once the call is answered
        let is_caller = leg == self.caller.party.leg && self.caller.offer.is_none() && self.is_settled();
        if !is_no_codec || self.transfer.is_some() || !(is_partner || is_caller) {
            return false;
        }
        let may_change = |p: &Party| p.profile.takes_reoffer && !p.is_free;
        let other = if is_partner { Some(&self.caller.party) } else { self.partner.as_ref() };
        let Some(other) = other.filter(|p| may_change(p)) else { return false };
        let (other, is_open) = (other.leg, other.is_asked || other.is_asking);
        let Some(party) = self.party_mut(leg) else { return false };
        let (is_asking, profile) = (party.is_asking, party.profile.media.clone());
        let Some(sdp) = party.description.take() else { return false };
        // what a browser offers is looked at once, as its transport goes with it
        if is_asking && matches!(profile, MediaProfile::Rtp { .. }) {
            if !is_open {
                self.media(MediaCommand::CheckOffer { leg, profile, sdp: sdp.clone() });
                self.change = Some(Change { by: leg, other, sdp, refusal: refusal.clone() });
            }
            return !is_open;
        }
        if !is_early && !self.make_partner(leg) {
            return false;
        }
        let stays = &mut self.caller.party;
        stays.is_free = true;
        let stays = stays.leg;
        self.media(MediaCommand::FreeCodec(stays, true));
        self.media(match is_asking {
            true => MediaCommand::AcceptOffer { leg, profile, sdp },
            false => MediaCommand::AcceptAnswer { leg, sdp },
        });
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

    /// The codec of the new party is known: who stays is offered it, if that is another one.
    pub(super) fn change_codec(&mut self, leg: LegId) {
        let stays = &self.caller.party;
        let new = self.partner.as_ref().or_else(|| self.ringing_alone());
        let Some(new) = new.filter(|p| stays.is_free && stays.codec.is_some() && p.codec.is_some()) else {
            return;
        };
        if new.codec == stays.codec {
            return self.bind_codec();
        }
        if leg == new.leg && self.transfer.is_none() {
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
