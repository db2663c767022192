//! What a peer may tell us of a caller, and what it is told: asserted and preferred identities (RFC 3325), privacy (RFC
//! 3323), diversions (RFC 5806, RFC 7044), headers that pass, and numbers written anew.
//!
//! The former Remote-Party-ID (draft-ietf-sip-privacy-04) is read where nothing is asserted, and never written: FreeSWITCH
//! sends it by default, and says in it alone that a caller wants to be private.
//!
//! Left out: Privacy values `header` and `session`, History-Info beyond who diverted and why.

use super::Identity;
use super::diversion::{diversions, history, reason_word};
use crate::call::leg::{Diversion, Particulars, Party};
use crate::registry::Rewrites;
use crate::sip::{Header, HeaderName, Headers, Host, NameAddr, SipUri};

/// Remote-Party-ID is read so far.
const MAX_REMOTE_PARTIES: usize = 16;

/// Where the caller's number stands (RFC 3261 §8.1.1.3, RFC 3325 §9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallerId {
    /// In P-Asserted-Identity, for a peer that trusts us; From carries our user, by which a stock Asterisk knows the
    /// endpoint.
    #[default]
    Asserted,
    /// In P-Preferred-Identity, for a carrier that asserts by itself; From carries our user.
    Preferred,
    /// In From.
    From,
}

/// How a peer is told that a call was meant for others before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DiversionStyle {
    /// Not at all.
    #[default]
    Off,
    /// By Diversion (RFC 5806), which Asterisk and most carriers know.
    Diversion,
    /// By History-Info (RFC 7044).
    HistoryInfo,
}

/// What goes between a peer and a call beside who calls whom.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether the peer's assertions are believed, and it is told ours (RFC 3325 §2.4).
    pub is_trusted: bool,
    /// Where the caller's number stands.
    pub caller_id: CallerId,
    /// How it is told of diversions; those it tells of are believed where it is trusted.
    pub diversion: DiversionStyle,
    /// Headers that pass, from it and to it.
    pub passes: Vec<HeaderName>,
    /// How the numbers of its callers are written here.
    pub callers_in: Rewrites,
    /// How our callers' numbers are written there.
    pub callers_out: Rewrites,
}

impl Policy {
    /// Who calls, and what else an INVITE tells. The asserted identity is for those who trust each other, and the far
    /// side of a call need not be of them: with `Privacy: id` it is withheld (RFC 3325 §7), with `user` also what From
    /// says (RFC 3323 §4.2). So it is where From is that of nobody and nothing says that it may be told (`none`).
    #[must_use]
    pub fn read(&self, headers: &Headers, from: &NameAddr) -> (Party, Particulars) {
        let wants = |word: &str| wants(headers, word);
        let asserted = if self.is_trusted { headers.asserted() } else { Vec::new() };
        let is_caller = |party: &str| party.eq_ignore_ascii_case("calling");
        let former = if self.is_trusted { remote_party(headers, is_caller) } else { None };
        // From has the number all the same then
        let is_former_private = former.as_ref().is_some_and(|(_, is_private)| *is_private);
        let is_nobody = wants("user") || is_former_private;
        let has_hidden_itself = is_anonymous_host(from) && !wants("none");
        let is_withheld = is_nobody || wants("id") || has_hidden_itself;
        let former = former.map(|(address, _)| address);
        let asserted = asserted.iter().chain(&former).find(|a| a.uri.user_text().is_some());
        let party = |address: &NameAddr| self.party_of(address, from);
        let shown = match asserted {
            _ if is_nobody => nobody(),
            Some(asserted) if !is_withheld => party(asserted),
            _ if is_anonymous_host(from) => nobody(),
            _ => party(from),
        };
        let particulars = Particulars {
            withheld: asserted.filter(|_| is_withheld).map(party),
            is_private: is_withheld,
            diversions: if self.is_trusted { diversions(headers) } else { Vec::new() },
            extras: self.extras(headers),
        };
        (shown, particulars)
    }

    /// A party by its address. An asserted address often has no name to show; From may have one.
    fn party_of(&self, address: &NameAddr, from: &NameAddr) -> Party {
        let display = address.shown_name().or_else(|| from.shown_name());
        let user = self.callers_in.apply(address.uri.user_text().unwrap_or_default());
        Party { user, display }
    }

    fn extras(&self, headers: &Headers) -> Vec<(String, String)> {
        // as many and as long as a message may have
        let passing = headers.iter().filter(|h| self.passes.contains(h.name()));
        passing.map(|h| (h.name().to_string(), h.value().to_owned())).collect()
    }

    /// The caller as this peer is to see it.
    #[must_use]
    pub fn caller(&self, caller: &Party) -> Party {
        Party { user: self.callers_out.apply(caller.user.clone()), display: caller.display.clone() }
    }

    /// From of a call, without tag. A caller without a name is named by the number where our user stands in From: FreeSWITCH
    /// shows who is asserted without a name by From, and each call would come from "sipedge". A peer that is told no
    /// asserted number is not told it by name either.
    #[must_use]
    pub fn from(&self, identity: &Identity, caller: &Party) -> NameAddr {
        let caller = self.caller(caller);
        let mut from = identity.from(&caller, self.caller_id);
        let is_asserted = self.is_trusted && self.caller_id == CallerId::Asserted && identity.user.is_some();
        if is_asserted && from.display.is_none() && !caller.user.is_empty() {
            from.display = Some(caller.user);
        }
        from
    }

    /// A party's address as this peer is to see it.
    pub(super) fn address(&self, host: &Host, party: &Party) -> NameAddr {
        let party = self.caller(party);
        let mut address = NameAddr::new(SipUri::new(Some(&party.user), host.clone(), None));
        address.display = party.display;
        address
    }

    /// The header lines that tell a peer what it may know of a call from `shown`, to `number`.
    #[must_use]
    pub fn lines(&self, identity: &Identity, shown: &Party, number: &str, of: &Particulars) -> Vec<Header> {
        let mut lines = Vec::new();
        let address = |party: &Party| self.address(&identity.host, party);
        match (self.caller_id, self.is_trusted, &of.withheld) {
            // it is one of those who trust each other: it is told, and told to keep it (RFC 3325 §7)
            (caller_id, true, Some(withheld)) => {
                let name = match caller_id {
                    CallerId::Preferred => HeaderName::PPreferredIdentity,
                    CallerId::Asserted | CallerId::From => HeaderName::PAssertedIdentity,
                };
                lines.push(Header::new(name, address(withheld).to_string()));
                lines.push(Header::new(HeaderName::Privacy, "id"));
            }
            _ if shown.user.is_empty() || shown.user == ANONYMOUS => {}
            (CallerId::Preferred, ..) => {
                lines.push(Header::new(HeaderName::PPreferredIdentity, address(shown).to_string()));
            }
            (_, true, None) => {
                lines.push(Header::new(HeaderName::PAssertedIdentity, address(shown).to_string()));
            }
            (_, false, _) => {}
        }
        // our user in From is a number, too, that a carrier would show
        let is_hidden = of.is_private || shown.user == ANONYMOUS;
        if is_hidden && (!self.is_trusted || of.withheld.is_none()) {
            lines.push(Header::new(HeaderName::Privacy, "id"));
        }
        lines.extend(self.diversion_lines(identity, number, &of.diversions));
        let passing = of.extras.iter().map(|(name, value)| (HeaderName::parse(name), value));
        lines.extend(
            passing
                .filter(|(name, _)| self.passes.contains(name))
                .map(|(name, value)| Header::new(name, value.clone())),
        );
        lines
    }

    /// Whom a call to `number` was meant for before. Who asks not to be named is named to those who are trusted, with the
    /// same mark.
    fn diversion_lines(&self, identity: &Identity, number: &str, all: &[Diversion]) -> Vec<Header> {
        let told: Vec<_> = all.iter().filter(|d| self.is_trusted || !d.is_private).collect();
        match self.diversion {
            DiversionStyle::HistoryInfo if !told.is_empty() => vec![history(identity, number, &told)],
            DiversionStyle::Off | DiversionStyle::HistoryInfo => Vec::new(),
            DiversionStyle::Diversion => told
                .iter()
                .map(|diversion| {
                    let address = self.address(&identity.host, &diversion.from);
                    let reason = reason_word(diversion.why);
                    let privacy = if diversion.is_private { ";privacy=full" } else { "" };
                    Header::new(HeaderName::Diversion, format!("{address};reason={reason}{privacy}"))
                })
                .collect(),
        }
    }
}

/// The user of who wants to stay unknown (RFC 3323 §4.1.1.3).
pub(super) const ANONYMOUS: &str = "anonymous";

pub(super) fn nobody() -> Party {
    Party { user: ANONYMOUS.to_owned(), display: Some("Anonymous".to_owned()) }
}

/// Who may not be named has this host (RFC 3323 §4.1.1.3). Asterisk leaves the user of its `from_user` before it, which is our
/// own login.
fn is_anonymous_host(from: &NameAddr) -> bool {
    let host = from.uri.sip().map(|uri| &uri.host);
    matches!(host, Some(Host::Name(name)) if name.eq_ignore_ascii_case("anonymous.invalid"))
}

/// Whether Privacy has this word.
pub(super) fn wants(headers: &Headers, word: &str) -> bool {
    let mut values = headers.all(&HeaderName::Privacy).flat_map(|line| line.split([';', ',']));
    values.any(|v| v.trim().eq_ignore_ascii_case(word))
}

/// The party of this kind by Remote-Party-ID, and whether name or number shall not be told to others.
pub(super) fn remote_party(headers: &Headers, is_meant: impl Fn(&str) -> bool) -> Option<(NameAddr, bool)> {
    let lines = headers.list(&HeaderName::parse("Remote-Party-ID")).ok()?;
    let addresses = lines.into_iter().filter_map(|text| NameAddr::parse(text).ok());
    let mut addresses = addresses.take(MAX_REMOTE_PARTIES);
    let caller = addresses.find(|address| address.params.value("party").is_none_or(&is_meant))?;
    let privacy = caller.params.value("privacy").unwrap_or("off").to_ascii_lowercase();
    let is_private = ["full", "name", "uri"].iter().any(|word| privacy.starts_with(word));
    Some((caller, is_private))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Host;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(HeaderName::parse(name), *value));
        headers
    }

    fn trusting() -> Policy {
        Policy { is_trusted: true, diversion: DiversionStyle::Diversion, ..Policy::default() }
    }

    fn identity() -> Identity {
        Identity::of_host(Host::parse("pbx.example").unwrap())
    }

    fn from() -> NameAddr {
        NameAddr::parse("\"Anna\" <sip:trunk@192.0.2.4>;tag=x").unwrap()
    }

    /// As FreeSWITCH writes it; From has the same number, whatever the caller wants.
    #[test]
    fn a_former_identity_says_who_calls_and_that_nobody_shall_know() {
        let line = |privacy: &str| {
            format!("\"Anna\" <sip:4711@192.0.2.4>;party=calling;screen=yes;privacy={privacy}")
        };
        let read =
            |policy: &Policy, value: &str| policy.read(&headers(&[("Remote-Party-ID", value)]), &from());
        let (shown, of) = read(&trusting(), &line("off"));
        assert_eq!((shown.user.as_str(), of.withheld, of.is_private), ("4711", None, false));
        for privacy in ["full", "name", "uri", "uri-network"] {
            let (shown, of) = read(&trusting(), &line(privacy));
            assert_eq!(shown.user, "anonymous", "{privacy}");
            assert_eq!(of.withheld.map(|party| party.user).as_deref(), Some("4711"));
            assert!(of.is_private);
        }
        // who is called is no caller, and a stranger says nothing
        let (shown, of) = read(&trusting(), "<sip:600@192.0.2.4>;party=called;privacy=full");
        assert_eq!((shown.user.as_str(), of.is_private), ("trunk", false));
        let (shown, of) = read(&Policy::default(), &line("full"));
        assert_eq!((shown.user.as_str(), of.withheld, of.is_private), ("trunk", None, false));
        // what is asserted comes first
        let both =
            headers(&[("Remote-Party-ID", &line("off")), ("P-Asserted-Identity", "<sip:4712@192.0.2.4>")]);
        assert_eq!(trusting().read(&both, &from()).0.user, "4712");
    }

    /// As Asterisk hides a caller where its endpoint has `from_user`.
    #[test]
    fn who_has_the_host_of_nobody_is_nobody_rfc_3323_4_1_1_3() {
        let from = NameAddr::parse("\"Anonymous\" <sip:trunk@Anonymous.invalid>;tag=x").unwrap();
        for policy in [trusting(), Policy::default()] {
            let (shown, of) = policy.read(&Headers::default(), &from);
            assert_eq!(shown.user, "anonymous");
            let lines = trusting().lines(&identity(), &shown, "600", &of);
            let lines: Vec<_> = lines.iter().map(|h| format!("{}: {}", h.name(), h.value())).collect();
            assert_eq!(lines, ["Privacy: id"]);
        }
        // who is asserted is told to those who are trusted alone
        let asserted = ("P-Asserted-Identity", "<sip:4712@192.0.2.4>");
        let (shown, of) = trusting().read(&headers(&[asserted]), &from);
        assert_eq!((shown.user.as_str(), of.is_private), ("anonymous", true));
        assert_eq!(told(&Policy::default(), &shown, &of), ["Privacy: id"]);
        assert_eq!(
            told(&trusting(), &shown, &of),
            ["P-Asserted-Identity: \"Anonymous\" <sip:4712@pbx.example>", "Privacy: id"]
        );
        let open = headers(&[asserted, ("Privacy", "none")]);
        assert_eq!(trusting().read(&open, &from).0.user, "4712", "it may be told");
    }

    #[test]
    fn a_caller_without_a_name_is_shown_by_number_and_not_by_our_user() {
        let ours = Identity { user: Some("sipedge".into()), ..identity() };
        let nobody = Party { user: "100".into(), display: None };
        let anna = Party { user: "100".into(), display: Some("Anna".into()) };
        let shown = |policy: &Policy, identity: &Identity, caller: &Party| {
            let from = policy.from(identity, caller);
            (from.uri.user_text(), from.display)
        };
        let sipedge = Some("sipedge".to_owned());
        assert_eq!(shown(&trusting(), &ours, &nobody), (sipedge.clone(), Some("100".into())));
        assert_eq!(shown(&trusting(), &ours, &anna), (sipedge.clone(), Some("Anna".into())));
        assert_eq!(shown(&Policy::default(), &ours, &nobody), (sipedge, None), "it is not trusted with it");
        let by_number = Some("100".to_owned());
        assert_eq!(shown(&trusting(), &identity(), &nobody), (by_number.clone(), None));
        let in_from = Policy { caller_id: CallerId::From, ..trusting() };
        assert_eq!(shown(&in_from, &ours, &nobody), (by_number, None));
    }

    fn told(policy: &Policy, shown: &Party, of: &Particulars) -> Vec<String> {
        policy
            .lines(&identity(), shown, "600", of)
            .iter()
            .map(|h| format!("{}: {}", h.name(), h.value()))
            .collect()
    }

    #[test]
    fn who_asks_not_to_be_named_is_told_only_to_those_who_are_trusted_rfc_3325_7() {
        let asserted = ("P-Asserted-Identity", "<sip:4930@carrier>");
        let (shown, of) = trusting().read(&headers(&[asserted, ("Privacy", "id")]), &from());
        assert_eq!((shown.user.as_str(), shown.display.as_deref()), ("trunk", Some("Anna")));
        assert_eq!(of.withheld.as_ref().unwrap().user, "4930");
        assert_eq!(
            told(&trusting(), &shown, &of),
            ["P-Asserted-Identity: \"Anna\" <sip:4930@pbx.example>", "Privacy: id"]
        );
        assert_eq!(told(&Policy::default(), &shown, &of), ["Privacy: id"], "a carrier is told no more");
        let (nobody, of) = trusting().read(&headers(&[("Privacy", "user")]), &from());
        assert_eq!((nobody.user.as_str(), &of.withheld), ("anonymous", &None));
        assert_eq!(
            told(&trusting(), &nobody, &of),
            ["Privacy: id"],
            "nobody is asserted to be called anonymous"
        );
        let (believed, of) = trusting().read(&headers(&[asserted]), &from());
        assert_eq!((believed.user.as_str(), of), ("4930", Particulars::default()));
        let (_, of) = Policy::default().read(&headers(&[asserted, ("Privacy", "id")]), &from());
        assert_eq!(of.withheld, None, "a stranger's word");
    }

    #[test]
    fn a_carrier_that_asserts_by_itself_is_told_whom_we_would_prefer_rfc_3325_9_2() {
        let policy = Policy { caller_id: CallerId::Preferred, ..Policy::default() };
        let anna = Party { user: "+4930".into(), display: None };
        assert_eq!(
            told(&policy, &anna, &Particulars::default()),
            ["P-Preferred-Identity: <sip:+4930@pbx.example>"]
        );
        let trusted = Policy { is_trusted: true, ..policy };
        let private = Particulars { withheld: Some(anna), is_private: true, ..Particulars::default() };
        assert_eq!(
            told(&trusted, &nobody(), &private),
            ["P-Preferred-Identity: <sip:+4930@pbx.example>", "Privacy: id"]
        );
    }

    #[test]
    fn who_is_not_trusted_is_told_to_keep_it_since_our_user_there_is_a_number_too_rfc_3325_7() {
        let shown = Party { user: "4711".into(), display: None };
        let anonymous = Party { user: "anonymous".into(), display: Some("Anonymous".into()) };
        let (_, private) = Policy::default().read(&headers(&[("Privacy", "id")]), &from());
        let told = |policy: &Policy, shown: &Party, of: &Particulars| {
            told(policy, shown, of).into_iter().filter(|line| line.starts_with("Privacy")).collect::<Vec<_>>()
        };
        let open = Particulars::default();
        assert_eq!(told(&Policy::default(), &shown, &private), ["Privacy: id"]);
        assert_eq!(told(&Policy::default(), &anonymous, &open), ["Privacy: id"]);
        assert_eq!(told(&Policy::default(), &shown, &open), [""; 0]);
        assert_eq!(told(&trusting(), &shown, &private), ["Privacy: id"], "the wish goes on");
        let withheld = Particulars { withheld: Some(shown.clone()), ..private };
        assert_eq!(told(&trusting(), &anonymous, &withheld), ["Privacy: id"], "once");
    }

    #[test]
    fn headers_pass_when_both_peers_lists_have_them_and_no_others() {
        let passes = |names: &[&str]| Policy {
            passes: names.iter().map(|n| HeaderName::parse(n)).collect(),
            ..Policy::default()
        };
        let lines =
            [("X-Customer", "7"), ("x-queue", "sales; a=\"b\""), ("X-Secret", "s"), ("User-to-User", "00aa")];
        let (_, of) = passes(&["X-Customer", "X-Queue", "User-to-User"]).read(&headers(&lines), &from());
        assert_eq!(of.extras.len(), 3);
        let nobody = Party::default();
        assert_eq!(
            told(&passes(&["x-customer", "X-Queue", "X-Secret"]), &nobody, &of),
            ["X-Customer: 7", "x-queue: sales; a=\"b\""]
        );
        // a signed identity is long, and a queue may have a lot to say
        let long = "v".repeat(3_000);
        let (_, of) = passes(&["X-Customer"]).read(&headers(&[("X-Customer", long.as_str()); 24]), &from());
        assert_eq!(of.extras, vec![("X-Customer".to_owned(), long); 24]);
    }

    #[test]
    fn callers_are_written_as_each_side_writes_numbers() {
        let mut policy = trusting();
        policy.callers_in = Rewrites::parse(&["00*=+*", "0* = +49*"]).unwrap();
        policy.callers_out = Rewrites::parse(&["+49*=0*"]).unwrap();
        let (shown, _) = policy.read(&headers(&[("P-Asserted-Identity", "<sip:03012@pbx>")]), &from());
        assert_eq!(shown.user, "+493012");
        assert_eq!(
            told(&policy, &shown, &Particulars::default()),
            ["P-Asserted-Identity: \"Anna\" <sip:03012@pbx.example>"]
        );
    }
}
