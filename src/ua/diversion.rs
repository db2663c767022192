//! Whom a call was meant for before, as SIP says it: Diversion (RFC 5806) and History-Info (RFC 7044, RFC 4244).

use super::Identity;
use super::policy::wants;
use crate::call::leg::{Diversion, Party};
use crate::call::route::Occasion;
use crate::sip::{Header, HeaderName, Headers, NameAddr, SipUri};

/// Diversions that a call may carry; a loop of forwards adds one a turn.
const MAX_DIVERSIONS: usize = 10;

/// Why, in the words of RFC 5806 §4.
pub(super) const fn reason_word(why: Option<Occasion>) -> &'static str {
    match why {
        Some(Occasion::Busy) => "user-busy",
        Some(Occasion::NoAnswer) => "no-answer",
        Some(Occasion::Unreachable) => "unavailable",
        None => "unconditional",
    }
}

/// Why, as the cause of a target (RFC 4458 §2).
const fn history_cause(why: Option<Occasion>) -> u16 {
    match why {
        Some(Occasion::Busy) => 486,
        Some(Occasion::NoAnswer) => 408,
        Some(Occasion::Unreachable) => 503,
        None => 302,
    }
}

/// One line with the way of a call: each target after the first names why it became one (RFC 7044 §5).
pub(super) fn history(identity: &Identity, number: &str, diversions: &[&Diversion]) -> Header {
    let mut index = String::from("1");
    let mut entries = Vec::new();
    let mut why = None;
    let steps = diversions.iter().rev().map(|d| (d.from.user.as_str(), d.is_private, Some(d.why)));
    for (user, is_private, next) in steps.chain(std::iter::once((number, false, None))) {
        let uri = SipUri::new(Some(user), identity.host.clone(), None);
        let cause = why.map_or_else(String::new, |why| format!(";cause={}", history_cause(why)));
        let privacy = if is_private { "?Privacy=history" } else { "" };
        entries.push(format!("<{uri}{cause}{privacy}>;index={index}"));
        index.push_str(".1");
        why = next;
    }
    Header::new(HeaderName::HistoryInfo, entries.join(", "))
}

/// Whom a call was meant for before, the latest first.
pub(super) fn diversions(headers: &Headers) -> Vec<Diversion> {
    let addresses = |name: &HeaderName| -> Vec<NameAddr> {
        let list = headers.list(name).unwrap_or_default();
        list.into_iter().filter_map(|text| NameAddr::parse(text).ok()).collect()
    };
    let of_header = addresses(&HeaderName::Diversion);
    if !of_header.is_empty() {
        return of_header.iter().filter_map(of_diversion).take(MAX_DIVERSIONS).collect();
    }
    let entries = addresses(&HeaderName::HistoryInfo);
    // the whole history is to be kept (RFC 7044 §10.1.1)
    let is_private = ["history", "header", "session"].iter().any(|word| wants(headers, word));
    let mut found: Vec<_> = (1..entries.len())
        .filter_map(|at| of_history(&entries, at))
        .map(|d| Diversion { is_private: d.is_private || is_private, ..d })
        .collect();
    found.reverse();
    found.truncate(MAX_DIVERSIONS);
    found
}

fn diverted(address: &NameAddr) -> Option<Party> {
    let user = address.uri.user_text().filter(|user| !user.is_empty())?;
    Some(Party { user, display: address.shown_name() })
}

/// RFC 5806 §4.
fn of_diversion(address: &NameAddr) -> Option<Diversion> {
    let value = |name| address.params.value(name).unwrap_or_default().trim_matches('"').to_ascii_lowercase();
    let why = match value("reason").as_str() {
        "user-busy" => Some(Occasion::Busy),
        "no-answer" => Some(Occasion::NoAnswer),
        "unavailable" | "out-of-service" => Some(Occasion::Unreachable),
        _ => None,
    };
    let is_private = !matches!(value("privacy").as_str(), "" | "off");
    Some(Diversion { from: diverted(address)?, why, is_private })
}

/// What the entry at `at` says of one before it: that its own target took the place of that one (RFC 7044 §5: `mp` names which, by
/// its index). Why stands with either: as the cause of the new target (RFC 4458), or as the Reason that the old one ended for.
fn of_history(entries: &[NameAddr], at: usize) -> Option<Diversion> {
    let target = entries.get(at)?;
    let replaced = target.params.value("mp");
    let index = |entry: &&NameAddr| replaced.is_some() && entry.params.value("index") == replaced;
    let before = entries.get(..at)?.iter().find(index).or_else(|| entries.get(at.checked_sub(1)?))?;
    let uri = before.uri.sip()?;
    let ended_for = uri.header("Reason").and_then(|reason| sip_cause(&reason));
    let cause = target.uri.sip()?.param("cause").flatten().or(ended_for);
    // a hop that only found where somebody is diverts nobody
    let is_diverted = replaced.is_some() || cause.is_some();
    let from = diverted(before).filter(|_| is_diverted)?;
    let why = match cause.as_deref() {
        Some("486" | "600") => Some(Occasion::Busy),
        Some("408" | "487") => Some(Occasion::NoAnswer),
        Some("404" | "480" | "503") => Some(Occasion::Unreachable),
        _ => None,
    };
    let is_private = uri.header("Privacy").is_some_and(|privacy| !privacy.eq_ignore_ascii_case("none"));
    Some(Diversion { from, why, is_private })
}

/// The status of a Reason (RFC 3326), as `SIP;cause=486`.
fn sip_cause(reason: &str) -> Option<String> {
    let mut parts = reason.split(';').map(str::trim);
    parts.next().filter(|protocol| protocol.eq_ignore_ascii_case("SIP"))?;
    let cause = parts
        .filter_map(|p| p.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("cause"))?;
    Some(cause.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::policy::{DiversionStyle, Policy};
    use super::*;
    use crate::call::leg::Particulars;
    use crate::sip::Host;

    fn headers(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        lines.iter().for_each(|(name, value)| headers.push(HeaderName::parse(name), *value));
        headers
    }

    fn trusting() -> Policy {
        Policy { is_trusted: true, diversion: DiversionStyle::Diversion, ..Policy::default() }
    }

    fn from() -> NameAddr {
        NameAddr::parse("<sip:trunk@192.0.2.4>;tag=x").unwrap()
    }

    fn told(policy: &Policy, shown: &Party, of: &Particulars) -> Vec<String> {
        let identity = Identity::of_host(Host::parse("pbx.example").unwrap());
        let lines = policy.lines(&identity, shown, "600", of);
        lines.iter().map(|h| format!("{}: {}", h.name(), h.value())).collect()
    }

    #[test]
    fn diversions_are_read_from_either_header_and_told_in_either() {
        let of = |lines: &[(&str, &str)]| trusting().read(&headers(lines), &from()).1.diversions;
        let diversion = |user: &str, why| {
            let from = Party { user: user.into(), display: None };
            Diversion { from, why, is_private: false }
        };
        let both = [diversion("1002", Some(Occasion::NoAnswer)), diversion("1001", Some(Occasion::Busy))];
        let header = ("Diversion", "<sip:1002@a>;reason=no-answer, <sip:1001@a>;reason=user-busy;counter=1");
        assert_eq!(of(&[header]), both);
        let history = (
            "History-Info",
            "<sip:1001@a>;index=1, <sip:1002@a;cause=486>;index=1.1, <sip:600@a;cause=408>;index=1.1.1",
        );
        assert_eq!(of(&[history]), both);
        assert_eq!(of(&[("Diversion", "<sip:1@a>;reason=unconditional")]), [diversion("1", None)]);
        assert_eq!(of(&[("Diversion", "<tel:>, ;;, <sip:a>")]), [], "what cannot be read is left out");
        assert!(Policy::default().read(&headers(&[header]), &from()).1.diversions.is_empty());

        let particulars = Particulars { diversions: both.to_vec(), ..Particulars::default() };
        let nobody = Party::default();
        assert_eq!(
            told(&trusting(), &nobody, &particulars),
            [
                "Diversion: <sip:1002@pbx.example>;reason=no-answer",
                "Diversion: <sip:1001@pbx.example>;reason=user-busy"
            ]
        );
        let by_history = Policy { diversion: DiversionStyle::HistoryInfo, ..trusting() };
        assert_eq!(
            told(&by_history, &nobody, &particulars),
            ["History-Info: <sip:1001@pbx.example>;index=1, <sip:1002@pbx.example;cause=486>;index=1.1, \
              <sip:600@pbx.example;cause=408>;index=1.1.1"]
        );
        assert!(told(&by_history, &nobody, &Particulars::default()).is_empty());
    }

    #[test]
    fn history_is_read_as_each_rfc_has_it() {
        let of = |line: &str| trusting().read(&headers(&[("History-Info", line)]), &from()).1.diversions;
        let read = |line: &str| of(line).into_iter().map(|d| (d.from.user, d.why)).collect::<Vec<_>>();
        let busy = [("777".to_owned(), Some(Occasion::Busy))];
        // RFC 4244 §4.1, RFC 7044 §5: why the old target was left
        assert_eq!(read("<sip:777@p?Reason=SIP%3Bcause%3D486>;index=1, <sip:100@p>;index=1.1"), busy);
        assert_eq!(
            read("<sip:777@p?Reason=SIP%3bcause%3d486%3btext%3d%22Busy%22>;index=1,<sip:5@p>;index=1.1;mp=1"),
            busy
        );
        // a target that was mapped from one further up
        assert_eq!(
            read("<sip:777@p>;index=1,<sip:8@p>;index=1.1,<sip:100@p;cause=486>;index=1.2;mp=1"),
            busy
        );
        assert_eq!(read("<sip:777@p>;index=1, <sip:100@p>;index=1.1;mp=1"), [("777".to_owned(), None)]);
        // somebody was looked up, and nobody diverted
        assert_eq!(read("<sip:777@p>;index=1, <sip:777@192.0.2.1>;index=1.1;rc=1"), []);
        assert_eq!(read("<sip:777@p?Reason=Q.850%3Bcause%3D17>;index=1, <sip:100@p>;index=1.1"), []);
    }

    #[test]
    fn who_diverted_and_asks_not_to_be_named_is_told_only_to_those_who_are_trusted() {
        let styles = [DiversionStyle::Diversion, DiversionStyle::HistoryInfo];
        for lines in [
            &[("Diversion", "<sip:777@a>;reason=user-busy;privacy=full, <sip:1@a>;privacy=off")][..],
            &[("Diversion", "<sip:777@a>;reason=user-busy;privacy=\"name\", <sip:1@a>")],
            &[(
                "History-Info",
                "<sip:1@a>;index=1,<sip:777@a;cause=302?Privacy=history>;index=1.1,<sip:6@a;cause=486>;index=1.1.1",
            )],
        ] {
            let (_, of) = trusting().read(&headers(lines), &from());
            let by = |is_trusted| {
                styles.map(|diversion| {
                    told(&Policy { is_trusted, diversion, ..Policy::default() }, &Party::default(), &of)
                        .join("\n")
                })
            };
            assert_eq!(
                by(true),
                [
                    "Diversion: <sip:777@pbx.example>;reason=user-busy;privacy=full\n\
                     Diversion: <sip:1@pbx.example>;reason=unconditional",
                    "History-Info: <sip:1@pbx.example>;index=1, <sip:777@pbx.example;cause=302?Privacy=history>;index=1.1, \
                     <sip:600@pbx.example;cause=486>;index=1.1.1"
                ]
            );
            assert!(
                by(false).iter().all(|line| line.contains("<sip:1@pbx.example>") && !line.contains("777"))
            );
        }
        // the whole history of a call
        let history = ("History-Info", "<sip:777@a>;index=1,<sip:6@a;cause=486>;index=1.1");
        let (_, of) = trusting().read(&headers(&[history, ("Privacy", "history")]), &from());
        assert!(of.diversions.iter().all(|d| d.is_private) && of.diversions.len() == 1);
    }

    #[test]
    fn a_loop_of_forwards_does_not_grow_a_call_for_ever() {
        let line = vec!["<sip:1@a>;reason=user-busy"; 30].join(",");
        let (_, of) = trusting().read(&headers(&[("Diversion", &line)]), &from());
        assert_eq!(of.diversions.len(), MAX_DIVERSIONS);
    }
}
