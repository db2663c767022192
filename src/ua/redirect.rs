//! Redirects of a call of ours (RFC 3261 §8.1.3.4): the peer is asked for the number that it names, and nobody else is ever
//! called for a redirect.

use super::within::Terms;
use crate::sip::session::CallFailure;
use std::collections::{BTreeSet, VecDeque};

/// Most calls that redirects may lead to; peers that send a call on more often send it round.
const MAX_CALLS: u32 = 5;

/// Where redirects lead.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    /// Numbers yet to be tried, the best first.
    waiting: VecDeque<String>,
    /// Numbers that were dialled: none is dialled twice.
    dialled: BTreeSet<String>,
    calls: u32,
}

impl Redirects {
    /// A number was dialled.
    pub(super) fn note(&mut self, number: &str) {
        self.dialled.insert(number.to_owned());
    }

    /// The number to dial after this failure: those of a redirect go before what is left of the one that led to it.
    pub(super) fn next(&mut self, failure: &CallFailure, terms: &Terms) -> Option<String> {
        if let CallFailure::Redirected { contacts, .. } = failure
            && terms.follows_redirects
        {
            contacts
                .iter()
                .rev()
                .filter_map(|uri| terms.own_number(uri))
                .for_each(|n| self.waiting.push_front(n));
        }
        while let Some(number) = self.waiting.pop_front() {
            if self.calls < MAX_CALLS && self.dialled.insert(number.clone()) {
                self.calls += 1;
                return Some(number);
            }
        }
        None
    }
}
