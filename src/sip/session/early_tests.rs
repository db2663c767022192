//! Offers before the answer (RFC 3262 §5, RFC 3311 §5, RFC 6337 §3.1), of calls to us and of calls of ours.

use super::bench_tests::{Bench, SDP, T1, offer, sdp};
use super::client_tests;
use crate::sip::answer::{Answer, Body};
use crate::sip::endpoint::Replaced;
use crate::sip::session::{CallEnd, SessionCommand, SessionEvent};
use crate::sip::{HeaderName as H, Method, Replaces, StatusCode};

const RELIABLE: [(&str, &str); 2] = [("Supported", "100rel"), ("Allow", "INVITE, UPDATE, PRACK")];
const ANSWER: &str = "v=0\r\no=answer\r\n";

fn answer_offer() -> SessionCommand {
    SessionCommand::AnswerOffer(Body::sdp(ANSWER))
}

fn refuse_offer() -> SessionCommand {
    SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE))
}

fn asks() -> SessionEvent {
    SessionEvent::Offer { body: sdp() }
}

fn refused(status: StatusCode) -> SessionEvent {
    SessionEvent::OfferRefused { status }
}

/// A call to us whose offer has its answer for good: a reliable 183 with its PRACK.
fn settled() -> Bench {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &RELIABLE, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.prack(2, 1);
    assert_eq!(b.statuses(), ["183 INVITE", "200 PRACK"]);
    b
}

#[test]
fn once_the_first_offer_has_its_answer_for_good_an_update_offers_anew_rfc_3311_5_2() {
    let mut b = settled();
    b.contact = "<sip:anna@192.0.2.4:5999>";
    b.ask("UPDATE", 3, &[], SDP);
    assert_eq!((&b.events[..], b.responses.len()), (&[asks()][..], 0));
    // theirs has no answer yet: 500, to be tried again within 0 to 10 s
    b.ask("UPDATE", 4, &[], SDP);
    let after: u32 = b.responses[0].headers.get(&H::RetryAfter).unwrap().parse().unwrap();
    assert!(after <= 10);
    b.command(answer_offer());
    let ok = b.responses.last().unwrap();
    assert_eq!((ok.body.as_ref(), ok.headers.get(&H::Contact).is_some()), (ANSWER.as_bytes(), true));
    assert_eq!(b.statuses(), ["500 UPDATE", "200 UPDATE"]);
    b.ask("UPDATE", 5, &[], SDP);
    b.command(refuse_offer());
    assert_eq!(b.statuses(), ["488 UPDATE"]);
    // and the 2xx says nothing that is out of date (RFC 3261 §13.2.1)
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(b.responses.last().unwrap().body.len(), 0);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.events.last(), Some(&SessionEvent::Confirmed { body: None }));
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.requests[0].uri.to_string(), "sip:anna@192.0.2.4:5999");
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn before_that_it_hears_500_and_while_ours_is_open_491_rfc_3311_5_2() {
    // a 183 that may be lost answers nothing for good
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[], SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.ask("UPDATE", 2, &[], SDP);
    assert_eq!(b.statuses(), ["183 INVITE", "500 UPDATE"]);
    // nor does one without its PRACK
    let mut b = Bench::new();
    b.ask("INVITE", 1, &RELIABLE, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.ask("UPDATE", 2, &[], SDP);
    assert_eq!(b.statuses(), ["183 INVITE", "500 UPDATE"]);
    let mut b = settled();
    b.command(offer());
    b.ask("UPDATE", 3, &[], SDP);
    assert_eq!((b.statuses(), b.events.len()), (vec!["491 UPDATE".into()], 0));
}

#[test]
fn a_prack_may_bring_a_further_offer_and_its_200_the_answer_rfc_3262_5() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &RELIABLE, SDP);
    b.command(SessionCommand::Progress(sdp()));
    let rack = format!("{} 1 INVITE", b.rseqs[0]);
    b.ask("PRACK", 2, &[("RAck", &rack)], SDP);
    assert_eq!((b.statuses(), &b.events[..]), (vec!["183 INVITE".into()], &[asks()][..]));
    // the 2xx waits for what is open
    b.command(SessionCommand::Answer(None));
    assert_eq!(b.responses.len(), 0);
    b.command(answer_offer());
    assert_eq!(b.responses[0].body, ANSWER);
    assert_eq!(b.responses[1].body.len(), 0);
    assert_eq!(b.statuses(), ["200 PRACK", "200 INVITE"]);
    // refused, it counts all the same
    let mut b = Bench::new();
    b.ask("INVITE", 1, &RELIABLE, SDP);
    b.command(SessionCommand::Progress(sdp()));
    b.ask("PRACK", 2, &[("RAck", &format!("{} 1 INVITE", b.rseqs[0]))], SDP);
    b.command(SessionCommand::Answer(None));
    b.command(refuse_offer());
    assert_eq!(b.responses[2].body, SDP, "the answer stands, so the 2xx may repeat it");
    assert_eq!(b.statuses(), ["183 INVITE", "488 PRACK", "200 INVITE"]);
}

#[test]
fn a_caller_without_an_offer_gets_ours_reliably_and_its_prack_answers_rfc_3262_5() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[("Require", "100rel"), RELIABLE[1]], "");
    // the first reliable one has to bring the offer, so that it rings is said with it
    b.command(SessionCommand::Ring);
    assert_eq!(b.responses.len(), 0);
    b.command(SessionCommand::Progress(sdp()));
    assert_eq!((b.responses[0].body.as_ref(), b.rseqs.len()), (SDP.as_bytes(), 1));
    // ours has no answer
    b.ask("UPDATE", 2, &[], SDP);
    let rack = format!("{} 1 INVITE", b.rseqs[0]);
    b.ask("PRACK", 3, &[("RAck", &rack)], ANSWER);
    assert_eq!(b.statuses(), ["180 INVITE", "491 UPDATE", "200 PRACK"]);
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: Some(Body::sdp(ANSWER)) }]);
    b.ask("UPDATE", 4, &[], SDP);
    b.command(answer_offer());
    // it offers nothing again (RFC 3261 §13.2.1)
    b.command(SessionCommand::Progress(sdp()));
    b.prack(5, 1);
    b.command(SessionCommand::Answer(sdp()));
    assert!(b.responses[1..].iter().all(|r| r.body.is_empty()));
    assert_eq!(b.statuses(), ["200 UPDATE", "183 INVITE", "200 PRACK", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.events.last(), Some(&SessionEvent::Confirmed { body: None }));
    b.ask("BYE", 6, &[], "");
    b.rest();
}

#[test]
fn a_caller_without_an_offer_who_cannot_gets_ours_with_the_2xx_rfc_3261_13_2_1() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[], "");
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!((b.responses[0].body.len(), b.responses[1].body.as_ref()), (0, SDP.as_bytes()));
    // and a PRACK that forgets the answer is told as it is
    let mut b = Bench::new();
    b.ask("INVITE", 1, &RELIABLE, "");
    b.command(SessionCommand::Progress(sdp()));
    b.prack(2, 1);
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: None }]);
}

#[test]
fn we_offer_anew_by_update_where_the_caller_takes_it_rfc_3311_5_1() {
    let mut b = settled();
    b.command(offer());
    assert_eq!((b.methods(), b.requests[0].body.as_ref()), (vec!["UPDATE"], &b"v=0\r\no=ours\r\n"[..]));
    b.command(offer());
    assert_eq!(b.events, [refused(StatusCode::REQUEST_PENDING)]);
    let challenge = (H::WwwAuthenticate, "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"");
    b.answer(Method::UPDATE, 401, &[challenge], "");
    assert_eq!(b.methods(), ["UPDATE", "UPDATE"]);
    assert!(b.requests[1].headers.get(&H::Authorization).is_some());
    b.answer(Method::UPDATE, 200, &[], ANSWER);
    assert_eq!(b.events[1..], [SessionEvent::OfferAnswered { body: Some(Body::sdp(ANSWER)) }]);
    b.command(offer());
    b.answer(Method::UPDATE, 488, &[], "");
    assert_eq!(b.events[2..], [refused(StatusCode::NOT_ACCEPTABLE_HERE)]);
    // its answer may come after the call was answered
    b.command(offer());
    b.command(SessionCommand::Answer(None));
    b.ask("ACK", 1, &[], "");
    b.answer(Method::UPDATE, 200, &[], SDP);
    assert_eq!(b.events[4..], [SessionEvent::OfferAnswered { body: sdp() }]);
    b.ask("BYE", 9, &[], "");
    b.rest();
    // whoever does not name UPDATE, or has no answer for good, is offered nothing
    for (lines, is_reliable) in [(&RELIABLE[..1], true), (&RELIABLE[1..], false)] {
        let mut b = Bench::new();
        b.ask("INVITE", 1, lines, SDP);
        b.command(SessionCommand::Progress(sdp()));
        if is_reliable {
            b.prack(2, 1);
        }
        b.command(offer());
        assert_eq!((b.methods().len(), &b.events[..]), (0, &[refused(StatusCode::REQUEST_PENDING)][..]));
    }
}

#[test]
fn what_is_open_when_the_call_ends_is_487_and_what_nobody_answers_504() {
    let mut b = settled();
    b.ask("UPDATE", 3, &[], SDP);
    b.ask("BYE", 4, &[], "");
    assert_eq!(b.statuses(), ["200 BYE", "487 INVITE", "487 UPDATE"]);
    b.rest();
    // before timer F of its sender, 64·T1; the 2xx goes then
    let mut b = settled();
    b.ask("UPDATE", 3, &[], SDP);
    b.command(SessionCommand::Answer(None));
    b.pass(T1 * 63);
    let mut told = b.statuses();
    told.dedup();
    assert_eq!(told, ["504 UPDATE", "200 INVITE"]);
    // who hangs up meanwhile has answered
    let mut b = settled();
    b.ask("UPDATE", 3, &[], SDP);
    b.command(SessionCommand::Answer(None));
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.statuses(), ["487 UPDATE", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["BYE"]);
}

/// A call of ours whose offer has its answer for good.
fn ringing(tag: &str) -> client_tests::Bench {
    let mut b = client_tests::Bench::new(client_tests::call());
    early(&mut b, tag, "1");
    b.events.clear();
    b
}

fn early(b: &mut client_tests::Bench, tag: &str, rseq: &str) {
    let contact = format!("<sip:{tag}@192.0.2.4:5070>");
    let allow = (H::Allow, "INVITE, UPDATE");
    b.answer(
        Method::INVITE,
        183,
        tag,
        &[(H::Require, "100rel"), (H::RSeq, rseq), (H::Contact, &contact), allow],
    );
}

/// The far side offers by UPDATE.
fn update(b: &mut client_tests::Bench, number: u32, tag: &str) {
    b.send_body("UPDATE", number, tag, &[(H::ContentType, "application/sdp")], SDP);
}

/// The same, and what it hears at once.
fn hears(b: &mut client_tests::Bench, number: u32, tag: &str) -> u16 {
    update(b, number, tag);
    b.answers.last().unwrap().status.code()
}

fn tell(b: &mut client_tests::Bench, command: SessionCommand) {
    b.session.command(b.now, command);
    b.drain();
}

#[test]
fn the_far_side_of_our_call_offers_anew_before_it_answers_rfc_3311_5_2() {
    // not before its answer to ours is reliable
    let mut b = client_tests::Bench::new(client_tests::call());
    b.answer(Method::INVITE, 183, "a", &[(H::Contact, "<sip:a@192.0.2.4>")]);
    assert_eq!(hears(&mut b, 1, "a"), 491);
    let mut b = ringing("a");
    update(&mut b, 1, "a");
    assert_eq!((&b.events[..], b.answers.len()), (&[asks()][..], 0));
    assert_eq!(hears(&mut b, 2, "a"), 500);
    tell(&mut b, answer_offer());
    let ok = b.answers.last().unwrap();
    assert_eq!((ok.status.code(), ok.body.as_ref()), (200, ANSWER.as_bytes()));
    // what repeats the answer to our first offer is out of date (RFC 3261 §13.2.1)
    b.events.clear();
    early(&mut b, "a", "2");
    b.answer_200("a");
    let status = StatusCode::SESSION_PROGRESS;
    assert_eq!(
        b.events,
        [SessionEvent::Progress { status, body: None }, SessionEvent::Answered { body: None }]
    );
}

#[test]
fn what_of_theirs_is_open_when_they_answer_is_answered_all_the_same() {
    let mut b = ringing("a");
    update(&mut b, 1, "a");
    b.answer_200("a");
    tell(&mut b, answer_offer());
    assert_eq!(b.answers.last().unwrap().body, ANSWER);
    // of a telephone that has not got the call it is not
    let mut b = ringing("a");
    update(&mut b, 1, "a");
    b.answer_200("b");
    assert_eq!(b.answers.last().unwrap().status.code(), 481);
}

/// A reliable 183 of a fork with this description.
fn early_as(b: &mut client_tests::Bench, tag: &str, rseq: &str, body: &'static str) {
    let contact = format!("<sip:{tag}@192.0.2.4:5070>");
    let lines = [(H::Require, "100rel"), (H::RSeq, rseq), (H::Contact, contact.as_str())];
    b.answer_body(Method::INVITE, 183, tag, &lines, body);
}

#[test]
fn of_forks_with_early_media_it_is_who_answers_that_is_heard_rfc_3261_13_2_1() {
    const A: &str = "v=0\r\no=a\r\n";
    const B: &str = "v=0\r\no=b\r\n";
    let contact = [(H::Contact, "<sip:a@192.0.2.4:5070>")];
    let answered = |b: &client_tests::Bench| match b.events.last() {
        Some(SessionEvent::Answered { body }) => body.clone(),
        other => panic!("{other:?}"),
    };
    // its answer was in its reliable response, and the 200 need not repeat it (RFC 6337 §3.1.1)
    let mut b = client_tests::Bench::new(client_tests::call());
    early_as(&mut b, "a", "1", A);
    early_as(&mut b, "b", "1", B);
    b.answer_body(Method::INVITE, 200, "a", &contact, "");
    assert_eq!(answered(&b), Some(Body::sdp(A)));
    // the one that was heard last is heard already
    let mut b = client_tests::Bench::new(client_tests::call());
    early_as(&mut b, "b", "1", B);
    early_as(&mut b, "a", "1", A);
    b.answer_body(Method::INVITE, 200, "a", &contact, "");
    assert_eq!(answered(&b), None);
    // by UPDATE it described itself anew: what its 200 repeats is out of date
    let mut b = client_tests::Bench::new(client_tests::call());
    early_as(&mut b, "a", "1", A);
    update(&mut b, 1, "a");
    tell(&mut b, answer_offer());
    early_as(&mut b, "b", "1", B);
    b.answer_body(Method::INVITE, 200, "a", &contact, A);
    assert_eq!(answered(&b), sdp());
    // and so it is where the other one did the same since
    let mut b = client_tests::Bench::new(client_tests::call());
    for tag in ["a", "b"] {
        early_as(&mut b, tag, "1", A);
        update(&mut b, 1, tag);
        tell(&mut b, answer_offer());
    }
    b.answer_body(Method::INVITE, 200, "a", &contact, A);
    assert_eq!(answered(&b), sdp());
}

/// The far side with this tag answers, and takes no UPDATE: what our re-INVITE says when the session timer wants a refresh.
fn refreshed(b: &mut client_tests::Bench, tag: &str) -> String {
    let contact = format!("<sip:{tag}@192.0.2.4:5070>");
    let expires = (H::SessionExpires, "90;refresher=uac");
    let allow = (H::Allow, "INVITE, ACK, BYE, CANCEL");
    b.answer_body(Method::INVITE, 200, tag, &[(H::Contact, &contact), expires, allow], "");
    b.now += std::time::Duration::from_secs(45);
    b.session.handle_timeout(b.now);
    b.drain();
    let (_, refresh) = b.last(Method::INVITE);
    assert!(refresh.headers.to().unwrap().tag() == Some(tag), "{:?}", b.methods());
    String::from_utf8(refresh.body.to_vec()).unwrap()
}

#[test]
fn a_refresh_offers_what_its_own_dialog_knows_of_us_and_no_other_fork_rfc_4028_7_4() {
    const FIRST: &str = "v=0\r\n";
    // by answers of ours: to each fork its own
    let forked = || {
        let mut b = ringing("a");
        early(&mut b, "b", "1");
        early(&mut b, "c", "1");
        for (tag, ours) in [("a", "v=0\r\no=a\r\n"), ("b", "v=0\r\no=b\r\n")] {
            update(&mut b, 1, tag);
            tell(&mut b, SessionCommand::AnswerOffer(Body::sdp(ours)));
        }
        b
    };
    assert_eq!(refreshed(&mut forked(), "a"), "v=0\r\no=a\r\n");
    assert_eq!(refreshed(&mut forked(), "b"), "v=0\r\no=b\r\n");
    assert_eq!(refreshed(&mut forked(), "c"), FIRST);
    // and by an offer of ours that one of them took
    let mut b = forked();
    tell(&mut b, offer());
    let (_, offered) = b.last(Method::UPDATE);
    assert_eq!(offered.headers.to().unwrap().tag(), Some("c"));
    b.answer(Method::UPDATE, 200, "c", &[]);
    assert_eq!(refreshed(&mut b, "a"), "v=0\r\no=a\r\n");
    // what is open when it answers is what stands as soon as it has its answer
    let mut b = ringing("a");
    tell(&mut b, offer());
    b.answer_200("a");
    b.answer(Method::UPDATE, 200, "a", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::OfferAnswered { body: sdp() }));
}

#[test]
fn what_we_have_offered_to_a_fork_is_over_when_another_answers_rfc_3261_13_2_2_4() {
    let mut b = ringing("a");
    tell(&mut b, offer());
    b.events.clear();
    b.answer_200("b");
    assert_eq!(b.events[0], refused(StatusCode::NO_SUCH_CALL));
    assert!(matches!(b.events[1..], [SessionEvent::Answered { .. }]));
    // its answer comes too late to mean anything, and the next offer goes to who has answered
    b.answer(Method::UPDATE, 200, "a", &[]);
    tell(&mut b, offer());
    assert_eq!((b.events.len(), b.last(Method::INVITE).1.headers.to().unwrap().tag()), (2, Some("b")));
}

#[test]
fn we_offer_anew_to_who_rings_rfc_3311_5_1() {
    let mut b = ringing("a");
    tell(&mut b, offer());
    assert_eq!(b.methods(), ["INVITE", "PRACK", "UPDATE"]);
    assert_eq!(hears(&mut b, 1, "a"), 491);
    b.answer(Method::UPDATE, 200, "a", &[(H::Contact, "<sip:moved@192.0.2.4:5071>")]);
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: sdp() }]);
    tell(&mut b, offer());
    assert_eq!(b.last(Method::UPDATE).1.uri.to_string(), "sip:moved@192.0.2.4:5071");
    let (ticket, _) = b.last(Method::UPDATE);
    b.session.handle_refused(b.now, ticket);
    b.drain();
    assert_eq!(b.events[1..], [refused(StatusCode::REQUEST_TIMEOUT)]);
    // it is cancelled like any other, and nothing is offered then
    b.hangup();
    tell(&mut b, offer());
    b.answer(Method::INVITE, 487, "a", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Ended(CallEnd::Local)));
}

#[test]
fn a_replaces_finds_a_call_that_rings_by_all_its_names_and_knows_who_has_placed_it_rfc_3891_3() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    let named = |b: &Bench, from_tag: &str| {
        let to_tag = b.tag.clone().unwrap();
        let (call_id, from_tag) = ("c".to_owned(), from_tag.to_owned());
        b.endpoint.find(&Replaces { call_id, to_tag, from_tag, is_early_only: false })
    };
    let call = b.session.unwrap();
    assert_eq!(named(&b, "far"), Replaced::Ringing { call, is_ours: false });
    assert_eq!(named(&b, "other"), Replaced::Unknown);
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(named(&b, "far"), Replaced::Talking(call));
    // of ours, each telephone that rings has a dialog
    let mut b = client_tests::Bench::new(client_tests::call());
    assert!(!b.session.rings_with("a") && b.session.is_ours());
    b.answer(Method::INVITE, 180, "a", &[(H::Contact, "<sip:a@192.0.2.4>")]);
    assert!(b.session.rings_with("a") && !b.session.rings_with("b"));
    b.answer_200("a");
    assert!(!b.session.rings_with("a"));
}
