//! Who a peer says that it is once the call is under way, and who it is told that it talks to (connected line): by the same
//! trust, rewriting and privacy as for callers.
//!
//! Left out: From and To by which RFC 4916 says so, as they do without trust; and a re-INVITE merely for a name.

use super::policy::{ANONYMOUS, nobody, remote_party, wants};
use super::{CallerId, Policy};
use crate::call::leg::{Party, Stated};
use crate::sip::{Header, HeaderName, Headers, Host, NameAddr, SipUri};

impl Policy {
    /// Who a peer is, by its answer or within a call; none when it does not say, or is not believed. Whom it does not want
    /// named is nobody to others, whatever From or To says.
    #[must_use]
    pub fn stated(&self, headers: &Headers) -> Option<Stated> {
        if !self.is_trusted {
            return None;
        }
        let asserted = headers.asserted();
        let former = remote_party(headers, |_| true);
        let is_former_private = former.as_ref().is_some_and(|(_, is_private)| *is_private);
        let former = former.map(|(address, _)| address);
        let address = asserted.iter().chain(&former).find(|a| a.uri.user_text().is_some())?;
        let user = self.callers_in.apply(address.uri.user_text().unwrap_or_default());
        let party = Party { user, display: address.shown_name() };
        if party.user == ANONYMOUS {
            return Some(Stated { shown: nobody(), withheld: None, is_private: true });
        }
        let is_private = is_former_private || wants(headers, "user") || wants(headers, "id");
        Some(if is_private {
            Stated { shown: nobody(), withheld: Some(party), is_private }
        } else {
            Stated { shown: party, withheld: None, is_private }
        })
    }

    /// The header lines that tell a peer who it talks to by now; none for one that is told nothing of the kind: who is not
    /// trusted, and a carrier that asserts by itself. Who asks not to be named is told to those who trust each other, with
    /// the word to keep it (RFC 3325 §7), and is nobody where we do not know better: the name before was another's.
    #[must_use]
    pub fn connected(&self, host: &Host, who: &Stated) -> Vec<Header> {
        if !self.is_trusted || self.caller_id == CallerId::Preferred || who.shown.user.is_empty() {
            return Vec::new();
        }
        let asserted = |address: &NameAddr| Header::new(HeaderName::PAssertedIdentity, address.to_string());
        let keep = Header::new(HeaderName::Privacy, "id");
        match &who.withheld {
            Some(withheld) => vec![asserted(&self.address(host, withheld)), keep],
            None if who.shown.user == ANONYMOUS => {
                let invalid = Host::Name("anonymous.invalid".to_owned());
                let mut address = NameAddr::new(SipUri::new(Some(ANONYMOUS), invalid, None));
                address.display = nobody().display;
                vec![asserted(&address), keep]
            }
            None => {
                let keep = who.is_private.then_some(keep);
                std::iter::once(asserted(&self.address(host, &who.shown))).chain(keep).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Rewrites;

    fn trusting() -> Policy {
        Policy { is_trusted: true, ..Policy::default() }
    }

    fn stated(policy: &Policy, lines: &[(&str, &str)]) -> Option<Stated> {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(HeaderName::parse(name), *value));
        policy.stated(&headers)
    }

    fn party(user: &str, name: &str) -> Party {
        Party { user: user.into(), display: (!name.is_empty()).then(|| name.into()) }
    }

    fn told(policy: &Policy, who: &Stated) -> Vec<String> {
        let lines = policy.connected(&Host::parse("pbx.example").unwrap(), who);
        lines.iter().map(|h| format!("{}: {}", h.name(), h.value())).collect()
    }

    #[test]
    fn a_trusted_peer_says_who_it_is_and_no_other_does() {
        let asserted = [("P-Asserted-Identity", "\"Anna\" <sip:0471@192.0.2.4>")];
        let mut policy = trusting();
        policy.callers_in = Rewrites::parse(&["0*=+49*"]).unwrap();
        let open = Stated { shown: party("+49471", "Anna"), ..Stated::default() };
        assert_eq!(stated(&policy, &asserted), Some(open.clone()));
        assert_eq!(stated(&Policy::default(), &asserted), None);
        // as Asterisk and FreeSWITCH write it where they assert nothing, whichever party they take it for
        for who in ["calling", "called"] {
            let former = format!("\"Anna\" <sip:0471@192.0.2.4>;party={who};privacy=off;screen=no");
            assert_eq!(stated(&policy, &[("Remote-Party-ID", &former)]), Some(open.clone()), "{who}");
        }
        for nothing in ["", "\"Anna", "<sip:192.0.2.4>"] {
            assert_eq!(stated(&policy, &[("P-Asserted-Identity", nothing)]), None, "{nothing}");
        }
    }

    #[test]
    fn whom_it_does_not_want_named_is_nobody_and_told_to_those_who_keep_it_rfc_3325_7() {
        let line = ("P-Asserted-Identity", "\"Anna\" <sip:4711@192.0.2.4>");
        let hidden = Stated { shown: nobody(), withheld: Some(party("4711", "Anna")), is_private: true };
        for word in ["id", "user", "critical;id"] {
            assert_eq!(stated(&trusting(), &[line, ("Privacy", word)]), Some(hidden.clone()), "{word}");
        }
        let former = "<sip:4711@a>;privacy=full";
        assert!(stated(&trusting(), &[("Remote-Party-ID", former)]).is_some_and(|who| who.is_private));
        let unknown = Stated { shown: nobody(), withheld: None, is_private: true };
        let anonymous = ("P-Asserted-Identity", "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
        assert_eq!(stated(&trusting(), &[anonymous]), Some(unknown.clone()));
        let address = "P-Asserted-Identity: \"Anna\" <sip:4711@pbx.example>";
        assert_eq!(told(&trusting(), &hidden), [address, "Privacy: id"]);
        let nobody = "P-Asserted-Identity: \"Anonymous\" <sip:anonymous@anonymous.invalid>";
        assert_eq!(told(&trusting(), &unknown), [nobody, "Privacy: id"]);
        for who in [&hidden, &unknown] {
            assert!(told(&Policy::default(), who).is_empty());
        }
    }

    #[test]
    fn a_peer_is_told_as_it_is_of_callers_and_a_carrier_that_asserts_by_itself_is_not() {
        let who = Stated { shown: party("+49471", "Anna"), ..Stated::default() };
        let callers_out = Rewrites::parse(&["+49*=0*"]).unwrap();
        let line = ["P-Asserted-Identity: \"Anna\" <sip:0471@pbx.example>"];
        for caller_id in [CallerId::Asserted, CallerId::From] {
            let policy = Policy { caller_id, callers_out: callers_out.clone(), ..trusting() };
            assert_eq!(told(&policy, &who), line, "{caller_id:?}");
        }
        assert!(told(&Policy { caller_id: CallerId::Preferred, ..trusting() }, &who).is_empty());
        assert!(told(&Policy::default(), &who).is_empty());
        assert!(told(&trusting(), &Stated::default()).is_empty());
    }
}
