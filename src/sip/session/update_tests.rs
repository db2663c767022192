//! UPDATE of the far side (RFC 3311).

use super::bench_tests::*;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::{SessionCommand, SessionEvent};
use crate::sip::{HeaderName, Method, StatusCode};

#[test]
fn an_update_without_offer_is_answered_at_once_and_moves_the_target_rfc_3311_5_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("UPDATE", 2, &[], "");
    let ok = &b.responses[0];
    assert_eq!(ok.headers.get(&HeaderName::Contact), Some("<sip:6%2300@192.0.2.1:5080>"));
    assert!(ok.headers.tokens(&HeaderName::Allow).contains(&"UPDATE"));
    assert_eq!((b.statuses(), b.events.len()), (vec!["200 UPDATE".into()], 0));
    b.contact = "<sip:anna@192.0.2.4:5999>";
    b.ask("UPDATE", 3, &[], "");
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.requests[0].uri.to_string(), "sip:anna@192.0.2.4:5999");
}

#[test]
fn an_update_with_an_offer_is_an_offer_whose_answer_needs_no_ack_rfc_3311_5_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("UPDATE", 2, &[], SDP);
    assert_eq!(b.events, [SessionEvent::Offer { body: sdp() }]);
    b.ask("UPDATE", 3, &[], SDP);
    let after: u32 = b.responses[0].headers.get(&HeaderName::RetryAfter).unwrap().parse().unwrap();
    assert!(after <= 10);
    // one without an offer asks for nothing that is under way
    b.ask("UPDATE", 4, &[], "");
    b.command(SessionCommand::AnswerOffer(Body::sdp("v=0\r\no=answer\r\n")));
    let ok = b.responses.last().unwrap();
    assert_eq!(ok.body.as_ref(), b"v=0\r\no=answer\r\n");
    assert!(ok.headers.get(&HeaderName::Contact).is_some());
    assert_eq!(b.statuses(), ["500 UPDATE", "200 UPDATE", "200 UPDATE"]);
    b.pass(T1 * 128);
    assert_eq!((b.statuses().len(), b.methods().len()), (0, 0), "no ACK is awaited");
    // what of ours waited for it goes now
    b.ask("UPDATE", 5, &[], SDP);
    b.command(offer());
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    assert_eq!(b.methods(), ["INVITE"]);
}

#[test]
fn an_update_offer_that_is_refused_or_left_alone_leaves_the_session_as_it_was_rfc_3311_5_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("UPDATE", 2, &[], SDP);
    b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE)));
    assert_eq!(b.statuses(), ["488 UPDATE"]);
    // before timer F of its sender, 64·T1
    b.ask("UPDATE", 3, &[], SDP);
    b.pass(T1 * 63);
    assert_eq!(b.statuses(), ["504 UPDATE"]);
    b.ask("UPDATE", 4, &[], SDP);
    b.ask("BYE", 5, &[], "");
    assert_eq!(b.statuses(), ["200 BYE", "487 UPDATE"]);
    b.rest();
}

#[test]
fn an_update_offer_that_crosses_an_offer_of_ours_is_refused_with_491_rfc_3311_5_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.command(offer());
    b.ask("UPDATE", 2, &[], SDP);
    b.ask("UPDATE", 3, &[], "");
    assert_eq!((b.statuses(), b.events.len()), (vec!["491 UPDATE".into(), "200 UPDATE".into()], 0));
    b.answer(Method::INVITE, 491, &[], "");
    b.ask("UPDATE", 4, &[], SDP);
    let refused = SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING };
    assert_eq!(b.events, [refused, SessionEvent::Offer { body: sdp() }], "it takes the place of ours");
}

#[test]
fn in_an_early_dialog_an_update_moves_the_target_and_its_offer_waits_rfc_3311_5_2() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.statuses();
    b.contact = "<sip:anna@192.0.2.4:5999>";
    b.ask("UPDATE", 2, &[], "");
    b.contact = "<sip:anna@192.0.2.4:6000>";
    b.ask("UPDATE", 3, &[], SDP);
    assert!(b.responses[1].headers.get(&HeaderName::RetryAfter).is_some());
    assert_eq!(b.statuses(), ["200 UPDATE", "500 UPDATE"]);
    b.command(SessionCommand::Answer(sdp()));
    // before the ACK nobody knows whether it saw our 200
    b.ask("UPDATE", 4, &[], SDP);
    assert_eq!(b.statuses(), ["200 INVITE", "500 UPDATE"]);
    b.ask("ACK", 1, &[], "");
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.requests[0].uri.to_string(), "sip:anna@192.0.2.4:5999");
    b.ask("UPDATE", 5, &[], "");
    assert_eq!(b.statuses(), ["481 UPDATE"]);
}
