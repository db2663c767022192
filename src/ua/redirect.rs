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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::route::{Source, Target};
    use crate::sip::{Host, StatusCode, Uri};
    use std::sync::Arc;

    fn terms(follows_redirects: bool) -> Terms {
        Terms {
            policy: Arc::default(),
            host: Host::parse("pbx.example").unwrap(),
            source: Source::Trunk("pbx".into()),
            target: Target { edge: "trunk", name: "pbx".into(), number: String::new(), place: None },
            places: vec![(Host::parse("192.0.2.4").unwrap(), 5060)],
            is_secure: false,
            keys_by_info: false,
            may_transfer: true,
            follows_redirects,
        }
    }

    fn to(numbers: &[&str]) -> CallFailure {
        let uri = |n: &&str| {
            Uri::parse(&if n.contains('@') { format!("sip:{n}") } else { format!("sip:{n}@192.0.2.4") })
                .unwrap()
        };
        let status = StatusCode::new(302).unwrap();
        CallFailure::Redirected { status, contacts: numbers.iter().map(uri).collect() }
    }

    #[test]
    fn the_contacts_of_the_peer_are_tried_in_turn_and_those_of_others_never() {
        let (mut redirects, terms) = (Redirects::default(), terms(true));
        redirects.note("200");
        let first = to(&["201", "900@203.0.113.9", "200", "900@192.0.2.4:5080", "202"]);
        assert_eq!(redirects.next(&first, &terms).as_deref(), Some("201"));
        // 201 is elsewhere, too: that goes first
        assert_eq!(redirects.next(&to(&["203", "201"]), &terms).as_deref(), Some("203"));
        assert_eq!(redirects.next(&CallFailure::Timeout, &terms).as_deref(), Some("202"));
        assert_eq!(redirects.next(&CallFailure::Timeout, &terms), None);
    }

    #[test]
    fn who_is_to_be_reached_by_tls_is_not_called_in_clear_rfc_3261_26_2_2() {
        let status = StatusCode::new(302).unwrap();
        let secret =
            CallFailure::Redirected { status, contacts: vec![Uri::parse("sips:201@192.0.2.4").unwrap()] };
        assert_eq!(Redirects::default().next(&secret, &terms(true)), None);
        let by_tls = Terms { is_secure: true, ..terms(true) };
        assert_eq!(Redirects::default().next(&secret, &by_tls).as_deref(), Some("201"));
    }

    #[test]
    fn redirects_that_go_round_or_on_and_on_come_to_an_end() {
        let (mut redirects, terms) = (Redirects::default(), terms(true));
        redirects.note("0");
        for n in 1..=5 {
            assert_eq!(redirects.next(&to(&["0", &n.to_string()]), &terms), Some(n.to_string()));
        }
        assert_eq!(redirects.next(&to(&["6"]), &terms), None);
    }

    #[test]
    fn who_is_not_to_be_followed_is_not() {
        assert_eq!(Redirects::default().next(&to(&["201"]), &terms(false)), None);
        assert_eq!(Redirects::default().next(&CallFailure::Timeout, &terms(true)), None);
    }
}
