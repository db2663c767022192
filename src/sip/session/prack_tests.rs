//! Provisional responses that arrive (RFC 3262), ours and theirs.

use super::bench_tests::*;
use super::client_tests;
use crate::sip::answer::Body;
use crate::sip::session::{CallEnd, SessionCommand, SessionEvent};
use crate::sip::{HeaderName as H, Method, StatusCode};
use std::time::Duration;

const REQUIRED: [(&str, &str); 1] = [("Require", "100rel")];
const SUPPORTED: [(&str, &str); 1] = [("Supported", "replaces, 100rel")];

fn asked(lines: &[(&str, &str)], body: &str) -> Bench {
    let mut b = Bench::new();
    b.ask("INVITE", 1, lines, body);
    b
}

#[test]
fn who_answers_and_hangs_up_before_the_prack_has_answered() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(None));
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.statuses(), ["183 INVITE"], "the 2xx waits");
    b.prack(2, 1);
    assert_eq!(b.statuses(), ["200 PRACK", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["BYE"]);
    // and where no PRACK comes the call is over like any other whose caller is gone
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(None));
    b.command(SessionCommand::Hangup(None));
    b.rest();
    assert_eq!(b.responses.last().unwrap().status, StatusCode::SERVER_TIMEOUT);
}

#[test]
fn a_caller_who_requires_it_gets_each_once_the_one_before_has_its_prack_rfc_3262_3() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Progress(sdp()));
    assert_eq!(b.responses.len(), 1, "the second waits");
    let first = &b.responses[0].headers;
    assert_eq!(first.get(&H::Require), Some("100rel"));
    assert!((1..1 << 31).contains(&b.rseqs[0]) && first.get(&H::Contact).is_some());
    b.prack(2, 1);
    assert_eq!(b.rseqs[1], b.rseqs[0] + 1);
    assert_eq!(b.responses.last().unwrap().body, SDP);
    b.prack(3, 1);
    b.command(SessionCommand::Answer(None));
    assert_eq!(b.statuses(), ["180 INVITE", "200 PRACK", "183 INVITE", "200 PRACK", "200 INVITE"]);
    // it is acknowledged already (§3)
    b.prack(4, 1);
    assert_eq!(b.statuses(), ["481 PRACK"]);
    b.ask("ACK", 1, &[], "");
    b.ask("BYE", 5, &[], "");
    b.rest();
}

#[test]
fn a_caller_who_can_gets_descriptions_reliably_and_nothing_else_rfc_3262_3() {
    let mut b = asked(&SUPPORTED, SDP);
    b.command(SessionCommand::Ring);
    assert_eq!(b.rseqs.len(), 0);
    b.command(SessionCommand::Progress(sdp()));
    assert_eq!(b.rseqs.len(), 1);
    let mut b = asked(&[], SDP);
    b.command(SessionCommand::Progress(sdp()));
    assert_eq!((b.rseqs.len(), b.statuses()), (0, vec!["183 INVITE".into()]));
}

#[test]
fn a_description_goes_with_whatever_status_it_came_with_and_reliably_rfc_3261_21_1_4() {
    let mut b = asked(&SUPPORTED, SDP);
    b.command(SessionCommand::Provisional(StatusCode::QUEUED, sdp()));
    assert_eq!((b.rseqs.len(), b.responses[0].body.as_ref()), (1, SDP.as_bytes()));
    b.prack(2, 1);
    // the 200 may say the same again
    b.command(SessionCommand::Answer(None));
    assert_eq!(b.responses[2].body, SDP);
    assert_eq!(b.statuses(), ["182 INVITE", "200 PRACK", "200 INVITE"]);
}

#[test]
fn it_goes_again_from_t1_doubled_and_after_64_t1_the_call_is_refused_rfc_3262_3() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Ring);
    let (begin, mut at) = (b.now, vec![]);
    while b.events.is_empty() {
        b.statuses();
        let next = b.endpoint.poll_timeout().unwrap();
        b.pass(next - b.now);
        at.push((b.now - begin).as_millis());
    }
    assert_eq!(at, [500, 1_500, 3_500, 7_500, 15_500, 31_500, 32_000]);
    assert_eq!(
        (b.statuses(), &b.events[..]),
        (vec!["504 INVITE".into()], &[SessionEvent::Ended(CallEnd::Lost("no PRACK"))][..])
    );
    assert!(b.rseqs.iter().all(|n| *n == b.rseqs[0]), "it is the same each time");
    b.rest();
}

#[test]
fn the_2xx_waits_for_the_prack_rfc_3262_3() {
    let mut b = asked(&SUPPORTED, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(Some(Body::sdp("v=0\r\no=answer\r\n"))));
    // nothing of it may go any more
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(b.statuses(), ["183 INVITE"]);
    for rack in ["1 1 INVITE", "x", "", "1 1", "4294967296 1 INVITE"] {
        b.ask("PRACK", 10 + b.branch, &[("RAck", rack)], "");
        assert_eq!(b.statuses(), ["481 PRACK"], "{rack}");
    }
    b.prack(30, 2);
    assert_eq!(b.statuses(), ["481 PRACK"], "of another");
    b.prack(31, 1);
    assert_eq!(b.responses.last().unwrap().body.as_ref(), b"v=0\r\no=answer\r\n");
    assert_eq!(b.statuses(), ["200 PRACK", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
    b.ask("BYE", 32, &[], "");
    b.rest();
}

#[test]
fn a_2xx_that_waits_is_taken_back_by_cancel() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(sdp()));
    b.statuses();
    b.ask("CANCEL", 1, &[], "");
    assert_eq!(b.responses.last().unwrap().status.code(), 487);
    b.prack(2, 1);
    assert_eq!((b.statuses().last().unwrap().as_str(), b.events.len()), ("481 PRACK", 1));
    b.rest();
}

#[test]
fn an_offer_in_a_prack_before_the_first_has_its_answer_is_refused_and_the_prack_counts() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Answer(None));
    let rack = format!("{} 1 INVITE", b.rseqs[0]);
    b.ask("PRACK", 2, &[("RAck", &rack)], SDP);
    assert_eq!(b.statuses(), ["180 INVITE", "488 PRACK", "200 INVITE"]);
    // RFC 3261 §13.2.1: the first reliable response would have to bring our offer
    let mut b = asked(&REQUIRED, "");
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(b.statuses(), ["200 INVITE"]);
}

#[test]
fn a_call_that_rings_long_is_told_each_minute_with_a_new_number_rfc_3262_3() {
    let mut b = asked(&REQUIRED, SDP);
    b.command(SessionCommand::Ring);
    b.prack(2, 1);
    b.statuses();
    b.pass(Duration::from_secs(60));
    assert_eq!((b.statuses(), b.rseqs[1]), (vec!["180 INVITE".into()], b.rseqs[0] + 1));
}

/// A reliable 183 to a call of ours.
fn early(b: &mut client_tests::Bench, tag: &str, rseq: &str) {
    let contact = format!("<sip:{tag}@192.0.2.4:5070>");
    let lines = [(H::Require, "100rel"), (H::RSeq, rseq), (H::Contact, contact.as_str())];
    b.answer(Method::INVITE, 183, tag, &lines);
}

#[test]
fn what_is_reliable_of_theirs_is_acknowledged_in_order_and_once_rfc_3262_4() {
    let mut b = client_tests::Bench::new(client_tests::call());
    assert_eq!(b.sent[0].1.headers.get(&H::Supported), Some("100rel, norefersub, replaces, timer"));
    let invite_seq = b.sent[0].1.headers.cseq().unwrap().number;
    early(&mut b, "a", "4000000000");
    early(&mut b, "a", "4000000000");
    // one is missing in between
    early(&mut b, "a", "4000000002");
    assert_eq!((b.methods(), b.events.len()), (vec!["INVITE", "PRACK"], 1));
    early(&mut b, "a", "4000000001");
    // another fork counts by itself
    early(&mut b, "b", "7");
    assert_eq!((b.methods(), b.events.len()), (vec!["INVITE", "PRACK", "PRACK", "PRACK"], 3));
    let racks: Vec<_> =
        b.sent[1..].iter().map(|(_, r)| r.headers.get(&H::RAck).unwrap().to_owned()).collect();
    let expected = ["4000000000", "4000000001", "7"].map(|n| format!("{n} {invite_seq} INVITE"));
    assert_eq!(racks, expected);
    assert_eq!(b.sent[1].1.uri.to_string(), "sip:a@192.0.2.4:5070");
    let numbers: Vec<u32> =
        b.sent.iter().map(|(_, r)| r.headers.cseq().unwrap().number - invite_seq).collect();
    assert_eq!(numbers, [0, 1, 2, 1]);
    b.answer(Method::PRACK, 200, "b", &[]);
    // the call counts on where the PRACKs ended (RFC 3261 §12.2.1.1)
    b.answer_200("a");
    b.hangup();
    let (_, bye) = b.last(Method::BYE);
    assert_eq!(bye.headers.cseq().unwrap().number, invite_seq + 3);
}

#[test]
fn a_far_side_that_answers_no_prack_gets_no_more_than_16() {
    let mut b = client_tests::Bench::new(client_tests::call());
    (1..=40).for_each(|n| early(&mut b, "a", &n.to_string()));
    assert_eq!((b.methods().len(), b.events.len()), (17, 16));
    let (ticket, _) = b.last(Method::PRACK);
    b.session.handle_terminated(ticket);
    early(&mut b, "a", "17");
    assert_eq!(b.methods().len(), 18);
}

#[test]
fn what_is_not_reliable_gets_no_prack_rfc_3262_4() {
    for lines in [
        &[(H::RSeq, "1")][..],
        &[(H::Require, "100rel")],
        &[(H::Require, "100rel"), (H::RSeq, "x")],
        &[(H::Require, "100rel"), (H::RSeq, "4294967296")],
    ] {
        let mut b = client_tests::Bench::new(client_tests::call());
        b.answer(Method::INVITE, 183, "a", lines);
        b.answer(Method::INVITE, 183, "a", lines);
        assert_eq!((b.methods(), b.events.len()), (vec!["INVITE"], 2), "{lines:?}");
    }
    let call = super::OutgoingCall { body: None, ..client_tests::call() };
    let b = client_tests::Bench::new(call);
    assert_eq!(
        b.sent[0].1.headers.get(&H::Supported),
        Some("norefersub, replaces, timer"),
        "theirs would be an offer"
    );
}

#[test]
fn a_prack_answers_a_challenge_once_rfc_3261_22_2() {
    let challenge = (H::WwwAuthenticate, "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"");
    let mut b = client_tests::Bench::new(client_tests::call());
    early(&mut b, "a", "5");
    b.answer(Method::PRACK, 401, "a", std::slice::from_ref(&challenge));
    assert_eq!(b.methods(), ["INVITE", "PRACK", "PRACK"]);
    let (first, second) = (&b.sent[1].1.headers, &b.sent[2].1.headers);
    assert!(second.get(&H::Authorization).is_some());
    assert_eq!(second.get(&H::RAck), first.get(&H::RAck));
    b.answer(Method::PRACK, 401, "a", std::slice::from_ref(&challenge));
    assert_eq!(b.methods().len(), 3);
    // and the INVITE is challenged no more often than it would be
    for n in 0..20 {
        b.answer(Method::INVITE, 401, "a", std::slice::from_ref(&challenge));
        early(&mut b, "a", &n.to_string());
        b.answer(Method::PRACK, 401, "a", std::slice::from_ref(&challenge));
    }
    assert!(b.methods().iter().filter(|m| **m == "INVITE").count() <= 8);
    assert_eq!(b.events.iter().filter(|e| matches!(e, SessionEvent::Failed(_))).count(), 1);
}
