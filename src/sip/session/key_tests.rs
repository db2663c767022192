//! Keys by INFO before the answer, of calls to us and of calls of ours.

use super::bench_tests::{Bench, T1, sdp};
use super::client_tests;
use crate::base::Digit;
use crate::sip::session::{SessionCommand, SessionEvent};
use crate::sip::{HeaderName as H, Key, Method};
use std::time::Duration;

fn keys(signs: &str) -> SessionCommand {
    let key = |sign| Key { digit: Digit::from_char(sign).unwrap(), duration: Duration::from_millis(160) };
    SessionCommand::Keys(signs.chars().map(key).collect())
}

/// What went by INFO, with its number and the user that it was sent to.
fn told(requests: &[&crate::sip::Request]) -> Vec<String> {
    let infos = requests.iter().filter(|r| r.method == Method::INFO);
    infos
        .map(|r| {
            let body = String::from_utf8(r.body.to_vec()).unwrap();
            let sign = body.strip_prefix("Signal=").and_then(|b| b.chars().next()).unwrap();
            let user = r.uri.user_text().unwrap();
            format!("{sign} {user} {}", r.headers.cseq().unwrap().number)
        })
        .collect()
}

#[test]
fn a_caller_hears_keys_in_its_early_dialog_and_those_that_wait_after_the_answer() {
    let mut b = Bench::called();
    b.command(keys("0"));
    assert!(b.requests.is_empty(), "it knows of no dialog yet");
    b.command(SessionCommand::Progress(sdp()));
    b.command(keys("123"));
    assert_eq!(told(&b.requests.iter().collect::<Vec<_>>()), ["1 anna 1"]);
    b.answer(Method::INFO, 401, &[(H::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\"")], "");
    b.answer(Method::INFO, 405, &[], "");
    assert_eq!(told(&b.requests.iter().collect::<Vec<_>>()), ["1 anna 1", "1 anna 2", "2 anna 3"]);
    // that is out when the call is answered
    b.command(SessionCommand::Answer(sdp()));
    b.ask("ACK", 1, &[], "");
    b.answer(Method::INFO, 200, &[], "");
    assert_eq!(told(&b.requests.iter().collect::<Vec<_>>())[3..], ["3 anna 4"]);
    b.answer(Method::INFO, 200, &[], "");
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
}

#[test]
fn keys_before_the_answer_end_no_call_and_those_that_wait_go_no_more_when_it_does() {
    for code in [481, 408, 500] {
        let mut b = Bench::called();
        b.command(SessionCommand::Progress(sdp()));
        b.command(keys("1"));
        b.answer(Method::INFO, code, &[], "");
        assert!(b.events.is_empty(), "{code}: the caller may not have heard of the dialog");
    }
    let mut b = Bench::called();
    b.command(SessionCommand::Progress(sdp()));
    b.command(keys("12"));
    b.pass(T1 * 65);
    assert!(
        b.events.is_empty() && told(&b.requests.iter().collect::<Vec<_>>()).iter().all(|t| t == "1 anna 1")
    );
    b.command(keys("34"));
    b.ask("CANCEL", 1, &[], "");
    b.answer(Method::INFO, 481, &[], "");
    assert_eq!(told(&[b.requests.last().unwrap()]), ["3 anna 2"]);
    b.rest();
}

type Outgoing = client_tests::Bench;

fn sends(b: &mut Outgoing, signs: &str) {
    b.session.command(b.now, keys(signs));
    b.drain();
}

fn heard(b: &Outgoing) -> Vec<String> {
    told(&b.sent.iter().map(|(_, r)| r).collect::<Vec<_>>())
}

fn rings(b: &mut Outgoing, code: u16, tag: &str) {
    let contact = format!("<sip:{tag}@192.0.2.4>");
    b.answer(Method::INVITE, code, tag, &[(H::Contact, &contact)]);
}

#[test]
fn keys_of_ours_go_to_who_is_heard_and_else_to_who_rang_last() {
    let mut b = Outgoing::new(client_tests::call());
    sends(&mut b, "0");
    assert!(heard(&b).is_empty(), "there is no dialog");
    let first = b.last(Method::INVITE).1.headers.cseq().unwrap().number;
    rings(&mut b, 180, "a");
    sends(&mut b, "1");
    b.answer(Method::INFO, 200, "a", &[]);
    rings(&mut b, 183, "b");
    rings(&mut b, 180, "c");
    sends(&mut b, "23");
    let second = format!("2 b {}", first + 1);
    assert_eq!(heard(&b), [format!("1 a {}", first + 1), second.clone()]);
    // what is out to the telephone that answers goes on, in the order of its numbers
    b.answer_200("b");
    b.answer(Method::INFO, 200, "b", &[]);
    assert_eq!(heard(&b)[1..], [second, format!("3 b {}", first + 2)]);
    // what was for another one is nobody's
    let mut b = Outgoing::new(client_tests::call());
    rings(&mut b, 183, "a");
    sends(&mut b, "12");
    b.answer_200("b");
    b.answer(Method::INFO, 481, "a", &[]);
    sends(&mut b, "3");
    let users: Vec<_> = heard(&b).iter().map(|told| told[..3].to_owned()).collect();
    assert_eq!(users, ["1 a", "3 b"]);
    assert_eq!(b.events.len(), 2, "{:?}", b.events);
}

#[test]
fn no_keys_go_to_a_call_that_is_cancelled() {
    let mut b = Outgoing::new(client_tests::call());
    rings(&mut b, 183, "a");
    sends(&mut b, "12");
    b.hangup();
    b.answer(Method::INFO, 200, "a", &[]);
    sends(&mut b, "3");
    assert_eq!(heard(&b).len(), 1);
    b.answer(Method::INVITE, 487, "a", &[]);
}
