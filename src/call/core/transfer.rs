//! A party of an answered call has the other one talk to somebody else. Who stays is called for as a caller is: attempts,
//! one after the other, while the two go on talking; who transfers leaves when the new party answers, or before. And
//! another leg takes the place of a party's.
//!
//! Media of who stays is never taken down: it hears who transfers, then the new party's early media or silence, then the
//! new party. The new party is offered the codec of who stays, so that nothing has to be offered there; where it speaks
//! no such codec, who stays is offered its own afterwards, if it takes offers.

use super::*;
use crate::call::leg::{Particulars, Transfer as Wish, TransferTo};

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transfer {
    /// Who asked for it, for the party called.
    pub(super) by: Option<Person>,
    pub(super) takes_over: Option<String>,
    /// The route is asked for.
    pub(super) is_routing: bool,
}

impl Call {
    /// A party wants the other one to talk to somebody else.
    pub(super) fn handle_transfer(&mut self, now: Instant, leg: LegId, wish: Wish) {
        if !self.is_settled() || !self.make_partner(leg) {
            if self.party(leg).is_some() {
                let failed = TransferState::Failed(Cause::Unavailable);
                self.tell(leg, LegCommand::Notify(failed));
            }
            return;
        }
        self.notify(TransferState::Trying);
        self.is_ringing = false;
        self.failure = None;
        self.last_failure = None;
        self.diversion = None;
        let Wish { source, by, to } = wish;
        let shown = match &to {
            TransferTo::Number(number) => number,
            TransferTo::Target { target, .. } => &target.number,
            TransferTo::Partner(..) => "",
        };
        let shown = Person { user: shown.to_owned(), display: None };
        self.outputs.push_back(Output::Note(Note::Transferring(leg, shown.clone())));
        let incoming = &mut self.caller.incoming;
        let Stated { shown: from, withheld, is_private } = self.caller.party.who.clone();
        incoming.from = from;
        (incoming.particulars.withheld, incoming.particulars.is_private) = (withheld, is_private);
        // whom the call was meant for before is no news to somebody who is called anew
        incoming.particulars.diversions.clear();
        if !shown.user.is_empty() {
            incoming.to.clone_from(&shown.user);
        }
        incoming.source = source.clone();
        // two that hand a call to each other for ever come to an end
        incoming.hops = incoming.hops.saturating_sub(1);
        incoming.ring_timeout = None;
        let mut transfer = Transfer { by, takes_over: None, is_routing: false };
        let target = match to {
            TransferTo::Number(to) => {
                transfer.is_routing = true;
                self.transfer = Some(transfer);
                return self.outputs.push_back(Output::Route(RouteQuery { source, to }));
            }
            TransferTo::Target { target, takes_over } => {
                transfer.takes_over = takes_over;
                target
            }
            TransferTo::Partner(call, leg) => Target::partner_of(call, leg),
        };
        self.transfer = Some(transfer);
        self.attempts = VecDeque::from([Attempt {
            targets: vec![target],
            ring_timeout: None,
            when: Vec::new(),
            continues: false,
        }]);
        self.try_next(now);
    }

    /// The new party answered: who transferred is told, and leaves.
    pub(super) fn finish_transfer(&mut self, before: Option<Party>) {
        if let Some(before) = before {
            self.tell(before.leg, LegCommand::Notify(TransferState::Done));
            self.leave(&before);
        }
    }

    /// Nobody was reached: the two go on talking, or who stays is alone.
    pub(super) fn fail_transfer(&mut self, cause: Cause) {
        self.outputs.push_back(Output::Note(Note::TransferFailed(cause)));
        self.attempts.clear();
        self.ring_deadline = None;
        self.notify(TransferState::Failed(cause));
        self.transfer = None;
        self.bind_codec();
        self.go_on_alone(cause);
    }

    /// What was to come in the place of the partner does not: the two go on, or who stays is alone.
    pub(super) fn go_on_alone(&mut self, cause: Cause) {
        // those that ring go on ringing
        if self.state == State::Trying {
            return;
        }
        match self.partner.as_ref().map(|p| p.leg) {
            Some(partner) => {
                self.bridge(partner);
                self.introduce();
            }
            None => self.end(cause, None),
        }
    }

    /// News for who transfers, unless it has left.
    pub(super) fn notify(&mut self, state: TransferState) {
        if let Some(by) = self.partner.as_ref().map(|p| p.leg) {
            self.tell(by, LegCommand::Notify(state));
        }
    }

    /// The partner is gone while another is about to come.
    pub(super) fn let_go(&mut self, leg: LegId) {
        if self.partner.take_if(|p| p.leg == leg).is_some() {
            if self.bridged == Some(leg) {
                self.bridged = None;
            }
            self.media(MediaCommand::Release(leg));
        }
    }

    /// Another leg takes the place of one of the two parties; its id. In the place of one that rings it answers the call
    /// (a pick-up), in the place of who has such a call placed it waits in its stead. None when the call is not in a state
    /// for it, or has no such leg.
    pub fn replace(&mut self, old: LegId, mut incoming: Incoming) -> Option<LegId> {
        if self.joining.is_some() || self.parting.is_some() {
            return None;
        }
        if self.state == State::Trying && old == self.caller.party.leg {
            return self.replace_caller(incoming);
        }
        if !(self.is_rung(old) || self.is_settled() && self.make_partner(old)) {
            return None;
        }
        let leg = self.new_leg()?;
        self.outputs.push_back(Output::Note(Note::Replaced(leg, old)));
        let mut party = Party::calling(leg, &incoming);
        let profile = incoming.profile.media.clone();
        let offer = incoming.offer.take();
        party.is_asking = offer.is_some();
        party.is_asked = offer.is_none() && incoming.profile.takes_offer;
        let is_asked = party.is_asked;
        self.joining = Some(party);
        match offer {
            Some(sdp) => self.media(MediaCommand::AcceptOffer { leg, profile, sdp }),
            None if is_asked => self.media(MediaCommand::CreateOffer { leg, profile }),
            None => self.join(None),
        }
        Some(leg)
    }

    /// The leg that joins is answered, and the one whose place it takes leaves.
    pub(super) fn join(&mut self, answer: Option<Box<SessionDescription>>) {
        let Some(party) = self.joining.take() else { return };
        let (leg, is_asked) = (party.leg, party.is_asked);
        self.joining = Some(party);
        self.introduce_to(leg, self.caller.party.leg);
        let Some(party) = self.joining.take() else { return };
        self.tell(leg, LegCommand::Answer { answer });
        if self.is_trying() {
            // it picks the call up, and those that ring hear that it was answered elsewhere
            let target = Target { edge: "", name: String::new(), number: String::new(), place: None };
            self.callees.push(Callee { leg, target, progress: Progress::Dialed, party: Some(party) });
            self.handle_answered(leg, Answered::Nothing);
            // an offer of ours that came with the answer has none yet
            self.party_mut(leg).into_iter().for_each(|party| party.is_asked = is_asked);
            return;
        }
        let before = self.partner.replace(party);
        self.bridge(leg);
        self.introduce();
        self.media(MediaCommand::Expect(leg));
        if let Some(before) = before {
            self.leave(&before);
        }
    }

    /// Who has placed a call that nobody has answered is replaced by another one, who waits in its stead.
    fn replace_caller(&mut self, mut incoming: Incoming) -> Option<LegId> {
        // a look at its offer is still under way, and somebody may wait for that
        if self.caller.is_unchecked {
            return None;
        }
        let leg = self.new_leg()?;
        let party = Party::calling(leg, &incoming);
        let before = std::mem::replace(&mut self.caller.party, party);
        self.outputs.push_back(Output::Note(Note::Replaced(leg, before.leg)));
        self.caller.offer = incoming.offer.take();
        (self.caller.answer, self.caller.early) = (None, None);
        incoming.to = std::mem::take(&mut self.caller.incoming.to);
        incoming.ring_timeout = self.caller.incoming.ring_timeout;
        self.caller.incoming = incoming;
        let rung = self.bridged.take();
        rung.into_iter().for_each(|rung| self.bridge(rung));
        self.leave(&before);
        self.is_early = false;
        self.note_early_media();
        if self.is_ringing {
            self.tell(leg, LegCommand::Ring);
        }
        if rung.and_then(|rung| self.party(rung)).is_some_and(|party| party.is_negotiated) {
            self.answer_caller_media();
        } else if let Some(sdp) = self.caller.offer.clone() {
            // who is rung may bring its media first, which then speaks what the newcomer does
            self.caller.is_unchecked = true;
            let profile = self.caller.party.profile.media.clone();
            self.media(MediaCommand::CheckOffer { leg, profile, sdp });
        }
        Some(leg)
    }

    fn leave(&mut self, party: &Party) {
        self.tell(party.leg, LegCommand::Hangup(Cause::Transferred.into()));
        self.media(MediaCommand::Release(party.leg));
    }

    /// Whether two talk, and nothing is about to change that.
    pub(super) fn is_settled(&self) -> bool {
        self.state == State::Active
            && self.caller.is_answered
            && self.partner.is_some()
            && self.parting.is_none()
            && self.transfer.is_none()
            && self.joining.is_none()
            && self.change.is_none()
    }

    /// Makes this leg the partner, and the other party the one that others are rung for. False when it is neither.
    pub(super) fn make_partner(&mut self, leg: LegId) -> bool {
        let Some(partner) = &mut self.partner else { return false };
        if leg != self.caller.party.leg {
            return leg == partner.leg;
        }
        std::mem::swap(&mut self.caller.party, partner);
        // what went with the call is of who leaves
        self.caller.incoming.particulars = Particulars::default();
        self.caller.answer = None;
        self.bridged = None;
        self.bridge(leg);
        true
    }
}
