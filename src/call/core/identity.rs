//! Who the parties are to each other (connected line identification, RFC 3325, RFC 4916). A party's system may say who it is
//! when it answers, and that it is somebody else within the call; the other party is told what it does not know yet.
//!
//! Of those that ring nobody is told of: another one may answer. Of who answers without a word the caller knows whom it
//! called; after a transfer and a pick-up, that is news.

use super::*;

impl Call {
    /// A party's system says who it is.
    pub(super) fn handle_party(&mut self, leg: LegId, who: Stated) {
        let Some(party) = self.party_mut(leg) else { return };
        (party.who, party.is_stated) = (who, true);
        self.introduce();
    }

    /// The callee has answered the caller, who knows whom it called, unless it waits in the stead of who did.
    pub(super) fn introduce_callee(&mut self) {
        let has_called = self.caller.party.leg == self.first;
        if let Some(callee) = self.partner.as_ref().filter(|callee| has_called && !callee.is_stated) {
            self.caller.party.told = Some(callee.who.clone());
        }
        self.introduce();
    }

    /// Tells the two that talk who the other one is, where that is news.
    pub(super) fn introduce(&mut self) {
        let Some(partner) = self.partner.as_ref().map(|p| p.leg) else { return };
        if self.bridged == Some(partner) {
            let caller = self.caller.party.leg;
            self.introduce_to(caller, partner);
            self.introduce_to(partner, caller);
        }
    }

    /// Tells one who the other is.
    pub(super) fn introduce_to(&mut self, leg: LegId, other: LegId) {
        let Some(who) = self.party(other).map(|other| other.who.clone()) else { return };
        let Some(party) = self.party_mut(leg) else { return };
        if !who.shown.user.is_empty() && party.told.as_ref() != Some(&who) {
            party.told = Some(who.clone());
            self.tell(leg, LegCommand::Party(Box::new(who)));
        }
    }
}
