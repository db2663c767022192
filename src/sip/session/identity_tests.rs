//! Who the far side says that it is, and who it is told that it talks to (RFC 3325 §9.1, RFC 3311 §5.1).

use super::bench_tests::{Bench, SDP, T1, sdp};
use super::client_tests;
use crate::sip::session::{SessionCommand, SessionEvent};
use crate::sip::{Header, HeaderName as H, Method};

const ALL: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE");
const ANNA: &str = "\"Anna\" <sip:4711@192.0.2.4>";
const BERT: &str = "\"Bert\" <sip:4712@192.0.2.4>";

fn identify(value: &str) -> SessionCommand {
    SessionCommand::Identify(vec![Header::new(H::PAssertedIdentity, value)])
}

/// What was said of who the far side is, and what else happened.
fn said(events: &[SessionEvent]) -> Vec<String> {
    let word = |event: &SessionEvent| match event {
        SessionEvent::Identity(headers) => {
            headers.iter().map(|h| h.value().to_owned()).collect::<Vec<_>>().join(" ")
        }
        SessionEvent::Answered { .. } => "answered".to_owned(),
        SessionEvent::Offer { .. } => "offer".to_owned(),
        other => format!("{other:?}"),
    };
    events.iter().map(word).collect()
}

/// The UPDATEs of ours: the identity, and the length of the body.
fn updates(b: &Bench) -> Vec<(&str, usize)> {
    let updates = b.requests.iter().filter(|r| r.method == Method::UPDATE);
    updates.map(|r| (r.headers.get(&H::PAssertedIdentity).unwrap_or_default(), r.body.len())).collect()
}

/// A call to us by who takes UPDATE, answered and acknowledged.
fn talking() -> Bench {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[ALL], SDP);
    b.command(SessionCommand::Answer(sdp()));
    b.ask("ACK", 1, &[], "");
    b.events.clear();
    b
}

#[test]
fn who_answers_our_call_says_who_it_is_with_the_answer_or_while_it_rang_and_no_other_fork_does() {
    let mut b = client_tests::Bench::new(client_tests::call());
    let contact = |tag: &str| format!("<sip:{tag}@192.0.2.4>");
    let rings = |b: &mut client_tests::Bench, tag: &str, who| {
        b.answer(Method::INVITE, 180, tag, &[(H::Contact, &contact(tag)), (H::PAssertedIdentity, who)]);
    };
    rings(&mut b, "a", ANNA);
    rings(&mut b, "b", BERT);
    b.events.clear();
    b.answer(Method::INVITE, 200, "b", &[(H::Contact, &contact("b"))]);
    assert_eq!(said(&b.events), [BERT, "answered"]);
    let mut b = client_tests::Bench::new(client_tests::call());
    rings(&mut b, "a", ANNA);
    b.events.clear();
    let lines = [(H::PAssertedIdentity, BERT), (H::Privacy, "id"), (H::Contact, "<sip:c@192.0.2.4>")];
    b.answer(Method::INVITE, 200, "c", &lines);
    assert_eq!(said(&b.events), [format!("{BERT} id").as_str(), "answered"]);
}

#[test]
fn within_the_call_it_is_said_by_reinvite_and_update_and_by_no_answer_of_theirs() {
    let mut b = talking();
    let anna = [("P-Asserted-Identity", ANNA)];
    b.ask("UPDATE", 2, &anna, "");
    b.ask("UPDATE", 3, &[("Privacy", "id")], "");
    b.ask("INVITE", 4, &[("Remote-Party-ID", BERT)], SDP);
    assert_eq!(said(&b.events), [ANNA, BERT, "offer"]);
    b.command(SessionCommand::AnswerOffer(sdp().unwrap()));
    b.ask("ACK", 4, &[], "");
    b.events.clear();
    b.command(identify(BERT));
    b.answer(Method::UPDATE, 200, &[(H::PAssertedIdentity, ANNA)], "");
    assert!(b.events.is_empty());
    // and before the answer
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.ask("UPDATE", 2, &anna, "");
    assert_eq!(said(&b.events), [ANNA]);
}

#[test]
fn a_caller_is_told_who_answers_with_the_2xx_and_later_by_update_without_an_offer() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[ALL], SDP);
    b.command(identify(ANNA));
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(b.responses.last().unwrap().headers.get(&H::PAssertedIdentity), Some(ANNA));
    // not before the ACK: it may not know of the dialog yet
    b.command(identify(BERT));
    assert!(b.requests.is_empty());
    b.ask("ACK", 1, &[], "");
    assert_eq!(updates(&b), [(BERT, 0)]);
    // the last that waits counts
    b.command(identify(ANNA));
    b.command(identify(BERT));
    b.command(identify(ANNA));
    assert_eq!(updates(&b).len(), 1);
    b.answer(Method::UPDATE, 401, &[(H::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\"")], "");
    b.answer(Method::UPDATE, 200, &[], "");
    assert_eq!(updates(&b), [(BERT, 0), (BERT, 0), (ANNA, 0)]);
}

#[test]
fn it_waits_for_what_is_under_way() {
    let mut b = talking();
    b.ask("INVITE", 2, &[], SDP);
    b.command(identify(ANNA));
    b.command(SessionCommand::AnswerOffer(sdp().unwrap()));
    assert!(updates(&b).is_empty());
    b.ask("ACK", 2, &[], "");
    assert_eq!(updates(&b), [(ANNA, 0)]);
    b.answer(Method::UPDATE, 200, &[], "");
    let keys = || {
        let key = |c| crate::sip::Key { digit: crate::base::Digit::from_char(c).unwrap(), duration: T1 };
        SessionCommand::Keys(vec![key('1'), key('2')])
    };
    b.command(keys());
    b.command(identify(BERT));
    b.answer(Method::INFO, 200, &[], "");
    assert_eq!(updates(&b).len(), 1, "the second key is out");
    b.answer(Method::INFO, 200, &[], "");
    assert_eq!(updates(&b)[1..], [(BERT, 0)]);
    // what nobody answered in time is under way no more
    b.answer(Method::UPDATE, 200, &[], "");
    b.ask("INVITE", 3, &[], SDP);
    b.command(identify(ANNA));
    b.pass(T1 * 64);
    assert_eq!(updates(&b)[2], (ANNA, 0));
}

#[test]
fn who_takes_no_update_is_told_nothing_and_no_refusal_ends_a_call() {
    let mut b = Bench::talking();
    b.command(identify(ANNA));
    assert!(b.requests.is_empty(), "it names no methods");
    for code in [405, 500, 491, 488] {
        let mut b = talking();
        b.command(identify(ANNA));
        b.answer(Method::UPDATE, code, &[], "");
        assert_eq!((b.methods(), b.events.len()), (vec!["UPDATE"], 0), "{code}");
        b.command(identify(BERT));
        assert_eq!(updates(&b).len(), if code == 405 { 1 } else { 2 });
    }
    let mut b = talking();
    b.command(identify(ANNA));
    b.pass(T1 * 64);
    assert!(b.events.is_empty(), "nobody answers it");
    // but that the far side knows nothing of the call does (RFC 3261 §12.2.1.2)
    let mut b = talking();
    b.command(identify(ANNA));
    b.answer(Method::UPDATE, 481, &[], "");
    assert_eq!(b.methods(), ["UPDATE", "BYE"]);
}
