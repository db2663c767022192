//! Offers within a call, theirs and ours (RFC 3261 §14).

use super::bench_tests::*;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::{CallEnd, SessionCommand, SessionEvent};
use crate::sip::{HeaderName, Method, Request, StatusCode};
use std::time::Duration;

#[test]
fn their_offer_is_answered_once_and_refreshes_the_target_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!(b.events, [SessionEvent::Offer { body: sdp() }]);
    // a second one while the first has no answer
    b.ask("INVITE", 3, &[], SDP);
    let after: u32 = b.responses[0].headers.get(&HeaderName::RetryAfter).unwrap().parse().unwrap();
    assert!(after <= 10);
    b.command(SessionCommand::AnswerOffer(Body::sdp("v=0\r\no=answer\r\n")));
    b.command(SessionCommand::AnswerOffer(Body::sdp("v=0\r\no=again\r\n")));
    let r = b.responses.last().unwrap();
    assert_eq!((r.status.code(), r.body.as_ref()), (200, &b"v=0\r\no=answer\r\n"[..]));
    assert!(r.headers.get(&HeaderName::Contact).is_some());
    assert_eq!(b.statuses(), ["500 INVITE", "200 INVITE"]);
    b.branch -= 1; // the ACK of a failure belongs to its transaction
    b.ask("ACK", 3, &[], "");
    b.pass(T1);
    assert_eq!(b.statuses(), ["200 INVITE"], "until its ACK");
    b.ask("ACK", 2, &[], "");
    b.pass(T1 * 20);
    assert_eq!(b.statuses().len(), 0);
    assert_eq!(b.events.len(), 1);
    b.ask("BYE", 4, &[], "");
    b.rest();
}

#[test]
fn their_empty_offer_takes_ours_and_its_ack_brings_the_answer_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.ask("INVITE", 2, &[], "");
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("ACK", 2, &[], SDP);
    let expected = [SessionEvent::Offer { body: None }, SessionEvent::OfferAnswered { body: sdp() }];
    assert_eq!(b.events, expected);
}

#[test]
fn their_offer_that_is_refused_or_left_unanswered_leaves_the_session_as_it_was_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE).warning(399, "no")));
    assert!(b.responses[0].headers.get(&HeaderName::Warning).is_some());
    assert_eq!(b.statuses(), ["488 INVITE"]);
    b.ask("ACK", 2, &[], "");
    b.ask("INVITE", 3, &[], SDP);
    b.pass(T1 * 64);
    assert!(b.statuses().contains(&"504 INVITE".into()));
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("OPTIONS", 4, &[], "");
    assert_eq!(b.responses.last().unwrap().status, StatusCode::OK);
    b.ask("BYE", 5, &[], "");
    b.rest();
}

#[test]
fn an_offer_of_theirs_says_that_our_2xx_came_when_its_ack_was_lost_rfc_5407_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }, SessionEvent::Offer { body: sdp() }]);
}

#[test]
fn a_bye_with_an_offer_of_theirs_unanswered_answers_that_with_487_rfc_3261_15_1_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.ask("BYE", 3, &[], "");
    assert_eq!(b.statuses(), ["200 BYE", "487 INVITE"]);
    b.rest();
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.command(SessionCommand::Hangup(None));
    assert_eq!((b.statuses(), b.methods()), (vec!["487 INVITE".into()], vec!["BYE"]));
    b.ask("INVITE", 3, &[], SDP);
    assert_eq!(b.statuses(), ["481 INVITE"], "the session ended when BYE left (RFC 3261 §15.1.1)");
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn our_offer_is_answered_acknowledged_each_time_and_refreshes_the_target_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.command(offer());
    let r = b.requests[0].clone();
    assert_eq!((r.method.as_str(), r.body.as_ref()), ("INVITE", &b"v=0\r\no=ours\r\n"[..]));
    assert!(r.headers.get(&HeaderName::Contact).is_some() && r.headers.to().unwrap().tag() == Some("far"));
    b.command(offer());
    assert_eq!(
        b.events,
        [SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING }],
        "one at a time"
    );
    b.answer(Method::INVITE, 100, &[], "");
    let contact = (HeaderName::Contact, "<sip:anna@192.0.2.4:5999>");
    b.answer(Method::INVITE, 200, std::slice::from_ref(&contact), SDP);
    b.answer(Method::INVITE, 200, &[contact], SDP);
    assert_eq!(b.methods(), ["INVITE", "ACK", "ACK"]);
    assert_eq!(b.requests[1].uri.to_string(), "sip:anna@192.0.2.4:5999");
    assert_eq!(b.requests[1].headers.get(&HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(b.events[1..], [SessionEvent::OfferAnswered { body: sdp() }]);
    b.ask("BYE", 2, &[], "");
    b.rest();
}

#[test]
fn our_offer_answers_a_challenge_and_its_ack_has_the_credentials_rfc_3261_22_1() {
    let mut b = Bench::talking();
    b.command(offer());
    let challenge = "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"";
    b.answer(Method::INVITE, 407, &[(HeaderName::ProxyAuthenticate, challenge)], "");
    b.answer(Method::INVITE, 401, &[(HeaderName::WwwAuthenticate, challenge)], "");
    b.answer(Method::INVITE, 200, &[], SDP);
    assert_eq!(b.methods(), ["INVITE", "ACK", "INVITE", "ACK", "INVITE", "ACK"]);
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        assert!(b.requests[4].headers.get(&name).is_some() && b.requests[5].headers.get(&name).is_some());
    }
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: sdp() }]);
}

#[test]
fn our_offer_that_cannot_leave_is_refused_with_503_and_the_call_goes_on_rfc_3261_8_1_3_1() {
    let mut b = Bench::talking();
    b.command(offer());
    for remote in ["192.0.2.4:5060", "192.0.2.4:5070"] {
        b.endpoint.handle_transport_error(b.now, remote.parse::<std::net::SocketAddr>().unwrap());
    }
    b.drain();
    let refused = SessionEvent::OfferRefused { status: StatusCode::SERVICE_UNAVAILABLE };
    assert_eq!(std::mem::take(&mut b.events), [refused]);
    // the way is there again
    b.command(offer());
    b.answer(Method::INVITE, 200, &[], SDP);
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: sdp() }]);
    b.ask("BYE", 2, &[], "");
    b.rest();
}

#[test]
fn our_offer_that_is_refused_leaves_the_session_as_it_was_and_408_or_481_ends_it_rfc_3261_12_2_1_2() {
    let mut b = Bench::talking();
    for code in [488, 500, 503, 603, 401] {
        b.command(offer());
        b.answer(Method::INVITE, code, &[], "");
        let status = StatusCode::new(code).unwrap();
        assert_eq!(b.events.pop(), Some(SessionEvent::OfferRefused { status }));
    }
    assert_eq!(b.events.len(), 0);
    for code in [408, 481] {
        let mut b = Bench::talking();
        b.command(offer());
        b.answer(Method::INVITE, code, &[], "");
        assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost("the far side knows nothing of the call"))]);
        assert_eq!(b.methods(), ["INVITE", "ACK", "BYE"]);
        b.answer(Method::BYE, 481, &[], "");
        b.rest();
    }
}

#[test]
fn our_offer_that_nobody_answers_ends_the_call_and_one_that_stays_open_is_cancelled() {
    let mut b = Bench::talking();
    b.command(offer());
    b.pass(T1 * 64);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost("no answer to an offer"))]);
    b.rest();
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 100, &[], "");
    b.pass(T1 * 128);
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
    let branch = |r: &Request| r.headers.top_via().unwrap().branch().map(str::to_owned);
    assert_eq!(branch(&b.requests[0]), branch(&b.requests[1]));
    b.answer(Method::CANCEL, 200, &[], "");
    b.answer(Method::INVITE, 487, &[], "");
    assert_eq!(b.events, [SessionEvent::OfferRefused { status: StatusCode::REQUEST_TERMINATED }]);
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 100, &[], "");
    b.pass(T1 * 192);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost("no answer to an offer"))]);
    b.rest();
}

#[test]
fn our_offer_waits_for_the_end_of_theirs_and_for_the_first_ack_rfc_3261_14_1() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(offer());
    assert_eq!(b.methods().len(), 0);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["INVITE"]);
    b.answer(Method::INVITE, 200, &[], SDP);
    b.ask("INVITE", 2, &[], SDP);
    b.command(offer());
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    assert_eq!(b.methods(), ["INVITE", "ACK"]);
    b.ask("ACK", 2, &[], "");
    assert_eq!(b.methods(), ["INVITE", "ACK", "INVITE"]);
    b.answer(Method::INVITE, 200, &[], SDP);
    b.ask("INVITE", 3, &[], SDP);
    b.command(offer());
    b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::REQUEST_PENDING)));
    assert_eq!(b.methods()[3..], ["ACK", "INVITE"]);
}

#[test]
fn offers_that_cross_are_both_refused_and_ours_goes_again_after_the_callees_back_off_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.statuses();
    b.command(offer());
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!((b.statuses(), b.events.len()), (vec!["491 INVITE".into()], 0));
    b.ask("ACK", 2, &[], "");
    for tries in 2..=5 {
        b.answer(Method::INVITE, 491, &[], "");
        b.requests.clear();
        // in units of 10 ms
        let units = (0..=200).find(|n| {
            b.pass(Duration::from_millis(u64::from(*n > 0) * 10));
            !b.requests.is_empty()
        });
        assert!(units.is_some(), "try {tries}");
        assert_eq!((b.methods(), b.events.len()), (vec!["INVITE"], 0), "try {tries}");
    }
    b.answer(Method::INVITE, 491, &[], "");
    assert_eq!(b.events, [SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING }]);
}

#[test]
fn their_offer_during_our_back_off_takes_the_place_of_ours_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 491, &[], "");
    b.ask("INVITE", 2, &[], SDP);
    let refused = SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING };
    assert_eq!(b.events, [refused, SessionEvent::Offer { body: sdp() }]);
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("ACK", 2, &[], "");
    b.pass(Duration::from_secs(10));
    assert_eq!(b.methods(), ["INVITE", "ACK"]);
}
