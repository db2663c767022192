//! Calls to us: how they begin and end.

use super::bench_tests::*;
use crate::base::External;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::{CallEnd, SessionCommand, SessionEvent};
use crate::sip::{CSeq, HeaderName, Method, Reason, Request, StatusCode, Uri};
use std::time::Duration;

#[test]
fn a_call_to_us_rings_is_answered_and_acknowledged_with_one_tag_rfc_3261_13_3() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[("Record-Route", "<sip:192.0.2.20;lr>"), ("P-Asserted-Identity", "<sip:1@x>")], SDP);
    let invite = b.invite.take().unwrap();
    assert_eq!((invite.owner.as_str(), invite.uri.user_text().as_deref()), ("pbx", Some("6#00")));
    assert_eq!((invite.body.clone(), invite.flow), (sdp(), flow()));
    assert_eq!(invite.headers.asserted()[0].uri.user_text().as_deref(), Some("1"));
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(None));
    let tags: Vec<_> = b.responses.iter().map(|r| r.headers.to().unwrap().tag().map(str::to_owned)).collect();
    assert!(tags.iter().all(|t| t.is_some() && *t == b.tag), "{tags:?}");
    for r in &b.responses {
        assert_eq!(r.headers.get(&HeaderName::Contact), Some("<sip:6%2300@192.0.2.1:5080>"));
        assert_eq!(r.headers.get(&HeaderName::RecordRoute), Some("<sip:192.0.2.20;lr>"));
        assert!(r.headers.get(&HeaderName::Allow).unwrap().contains("INVITE"));
        assert!(r.headers.get(&HeaderName::Supported).is_some());
        assert_eq!(r.headers.get(&HeaderName::Server), Some("test"));
    }
    // the answer of the 183 goes again with the 200
    assert_eq!(b.responses.last().unwrap().body, SDP);
    assert_eq!(b.statuses(), ["180 INVITE", "183 INVITE", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
    b.ask("BYE", 2, &[("Reason", "Q.850;cause=16;text=\"done\"")], "");
    let end = CallEnd::Remote { q850: Some(16), text: Some("done".into()) };
    assert_eq!((b.statuses(), b.events.last()), (vec!["200 BYE".into()], Some(&SessionEvent::Ended(end))));
    b.rest();
    assert_eq!(b.statuses().len(), 0, "nothing was repeated");
}

#[test]
fn beyond_a_nat_all_that_a_call_to_us_says_of_us_is_the_address_there() {
    let mut b = Bench::beyond_nat(External::new(&["203.0.113.7".parse().unwrap()]).unwrap());
    b.ask("INVITE", 1, &[], SDP);
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(None));
    b.ask("ACK", 1, &[], "");
    b.ask("INVITE", 2, &[], SDP);
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("ACK", 2, &[], "");
    b.command(offer());
    b.answer(Method::INVITE, 200, &[(HeaderName::Contact, "<sip:anna@192.0.2.4:5070>")], SDP);
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.methods(), ["INVITE", "ACK", "BYE"]);
    for r in &b.requests {
        let via = r.headers.get(&HeaderName::Via).unwrap();
        assert!(via.starts_with("SIP/2.0/UDP 203.0.113.7:5080;"), "{} {via}", r.method);
    }
    let of_requests = b.requests.iter().filter_map(|r| r.headers.get(&HeaderName::Contact));
    let contacts: Vec<&str> =
        b.responses.iter().filter_map(|r| r.headers.get(&HeaderName::Contact)).chain(of_requests).collect();
    // 180, 183, 200, the 200 to the offer, and ours
    assert_eq!(contacts, ["<sip:6%2300@203.0.113.7:5080>"; 5]);
}

#[test]
fn a_2xx_goes_again_from_t1_to_t2_until_its_ack_rfc_3261_13_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    let mut gaps = vec![];
    let mut last = b.now;
    for _ in 0..6 {
        b.statuses();
        let at = b.endpoint.poll_timeout().unwrap();
        b.pass(at - b.now);
        assert_eq!(b.statuses(), ["200 INVITE"]);
        gaps.push((at - last).as_millis());
        last = at;
    }
    assert_eq!(gaps, [500, 1000, 2000, 4000, 4000, 4000]);
    b.ask("ACK", 1, &[], "");
    b.pass(T1 * 128);
    assert_eq!(b.statuses().len(), 0);
    b.command(SessionCommand::Hangup(None));
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn an_ack_that_never_comes_ends_the_call_after_64_t1_with_bye_rfc_3261_13_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.pass(T1 * 64 - Duration::from_millis(1));
    assert_eq!((b.methods().len(), b.events.len()), (0, 0));
    b.pass(Duration::from_millis(1));
    assert_eq!(
        (b.methods(), &b.events[..]),
        (vec!["BYE"], &[SessionEvent::Ended(CallEnd::Lost("no ACK"))][..])
    );
    assert_eq!(b.requests[0].uri.to_string(), "sip:anna@192.0.2.4:5070");
    b.answer(Method::BYE, 481, &[], "");
    b.rest();
}

#[test]
fn a_hangup_waits_for_the_ack_of_our_2xx_or_its_giving_up_rfc_3261_15() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(SessionCommand::Hangup(Some(Reason::q850(16, "bye"))));
    assert_eq!(b.methods().len(), 0);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["BYE"]);
    assert_eq!(b.requests[0].headers.get(&HeaderName::Reason), Some("Q.850;cause=16;text=\"bye\""));
    b.answer(Method::BYE, 200, &[], "");
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
    b.rest();
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(SessionCommand::Hangup(None));
    b.pass(T1 * 64);
    assert_eq!(b.methods(), ["BYE"]);
    b.answer(Method::BYE, 200, &[], "");
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
    b.rest();
}

#[test]
fn a_bye_of_ours_answers_a_challenge_and_gives_credentials_to_no_other_host_rfc_3261_22_2() {
    let challenge = (HeaderName::WwwAuthenticate, "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"");
    let mut b = Bench::talking();
    b.command(SessionCommand::Hangup(None));
    b.answer(Method::BYE, 401, std::slice::from_ref(&challenge), "");
    assert_eq!(b.methods(), ["BYE", "BYE"]);
    let (first, second) = (&b.requests[0].headers, &b.requests[1].headers);
    assert!(second.get(&HeaderName::Authorization).unwrap().contains("username=\"edge\""));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    b.answer(Method::BYE, 401, &[challenge], "");
    assert_eq!((b.methods().len(), b.events.last()), (2, Some(&SessionEvent::Ended(CallEnd::Local))));
    b.rest();
}

#[test]
fn a_cancel_at_any_moment_before_the_answer_ends_the_call_with_487_rfc_3261_9_2() {
    let moments: [&[SessionCommand]; 3] =
        [&[], &[SessionCommand::Ring], &[SessionCommand::Ring, SessionCommand::Progress(sdp())]];
    for before in moments {
        let mut b = Bench::called();
        before.iter().for_each(|c| b.command(c.clone()));
        b.statuses();
        b.ask("CANCEL", 1, &[("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"")], "");
        let tags: Vec<_> =
            b.responses.iter().map(|r| r.headers.to().unwrap().tag().map(str::to_owned)).collect();
        assert!(tags[0].is_some() && tags[0] == tags[1], "{tags:?}");
        assert_eq!(b.statuses(), ["200 CANCEL", "487 INVITE"]);
        let text = Some("Call completed elsewhere".into());
        let end = SessionEvent::Ended(CallEnd::Cancelled { q850: None, sip: Some(200), text });
        assert_eq!(b.events, [end]);
        // too late
        b.command(SessionCommand::Answer(sdp()));
        b.command(SessionCommand::Hangup(None));
        assert_eq!((b.statuses().len(), b.methods().len()), (0, 0));
        b.rest();
    }
}

#[test]
fn a_cancel_that_crosses_our_2xx_changes_nothing_rfc_3261_9_2() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.ask("CANCEL", 1, &[], "");
    assert_eq!(b.statuses(), ["200 INVITE", "200 CANCEL"]);
    assert_eq!(b.events.len(), 0);
    b.ask("ACK", 1, &[], "");
    b.ask("BYE", 2, &[], "");
    assert_eq!(b.events.len(), 2);
    b.rest();
}

#[test]
fn the_caller_may_end_an_early_dialog_by_bye_rfc_3261_15() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.ask("OPTIONS", 2, &[], "");
    b.ask("INVITE", 3, &[], SDP);
    assert!(b.responses.last().unwrap().headers.get(&HeaderName::RetryAfter).is_some());
    b.ask("BYE", 2, &[], "");
    b.ask("BYE", 4, &[], "");
    let expected = ["180 INVITE", "200 OPTIONS", "500 INVITE", "500 BYE", "200 BYE", "487 INVITE"];
    assert_eq!(b.statuses(), expected);
    assert_eq!(b.events, [cancelled()]);
    b.ask("BYE", 5, &[], "");
    assert_eq!(b.statuses(), ["481 BYE"]);
    b.rest();
}

#[test]
fn a_refusal_carries_its_headers_and_goes_again_until_ack() {
    let mut b = Bench::called();
    let answer = Answer::new(StatusCode::NOT_ACCEPTABLE_HERE).warning(305, "no common codec");
    b.command(SessionCommand::Refuse(answer));
    let r = b.responses.last().unwrap();
    assert_eq!(r.headers.get(&HeaderName::Warning), Some("305 sipedge \"no common codec\""));
    assert_eq!(r.headers.get(&HeaderName::Contact), None);
    b.pass(T1 * 3);
    assert_eq!(b.statuses().len(), 3);
    assert_eq!((&b.events[..], b.is_done), (&[SessionEvent::Ended(CallEnd::Local)][..], true));
    b.rest();
    let mut b = Bench::called();
    b.command(SessionCommand::Hangup(Some(Reason::q850(31, "shutting down"))));
    let r = b.responses.last().unwrap();
    assert_eq!((r.status.code(), r.headers.get(&HeaderName::Reason).is_some()), (480, true));
    b.rest();
}

#[test]
fn an_invitation_expires_when_the_caller_says_so_rfc_3261_13_3_1() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[("Expires", "20")], SDP);
    b.command(SessionCommand::Ring);
    b.pass(Duration::from_secs(19));
    assert_eq!(b.statuses(), ["180 INVITE"]);
    b.pass(Duration::from_secs(1));
    assert_eq!((b.statuses(), &b.events[..]), (vec!["487 INVITE".into()], &[cancelled()][..]));
    b.rest();
}

#[test]
fn a_call_that_rings_long_is_told_each_minute_and_not_for_ever_rfc_3261_13_3_1_1() {
    let mut b = Bench::called();
    b.pass(Duration::from_secs(100));
    assert_eq!(b.statuses(), ["100 INVITE"]);
    b.command(SessionCommand::Ring);
    b.pass(Duration::from_secs(185));
    assert_eq!(b.statuses(), vec!["180 INVITE"; 4]);
    b.pass(Duration::from_secs(3_600));
    assert_eq!(b.events, [cancelled()]);
    b.rest();
}

#[test]
fn a_retransmitted_invite_is_absorbed_and_its_last_answer_repeated_rfc_3261_17_2_1() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.tag = None;
    b.branch -= 1;
    b.ask("INVITE", 1, &[], SDP);
    assert_eq!(b.statuses(), ["180 INVITE", "180 INVITE"]);
    assert_eq!(b.endpoint.live(), (1, 1));
}

#[test]
fn an_invite_that_comes_by_two_ways_becomes_one_call_rfc_3261_8_2_2_2() {
    let mut b = Bench::called();
    b.ask("INVITE", 1, &[], SDP);
    assert_eq!(b.statuses(), ["482 INVITE"]);
    assert_eq!(b.endpoint.live().0, 1);
    b.ask_as("INVITE", 2, "", &[], SDP);
    assert_eq!((b.statuses().len(), b.endpoint.live().0), (0, 2), "another number is another call");
}

#[test]
fn an_invite_that_was_refused_may_come_again_with_the_same_number() {
    let mut b = Bench::new();
    b.ask_as("INVITE", 1, "", &[("Require", "foo")], SDP);
    b.ask_as("INVITE", 1, "", &[], SDP);
    assert_eq!((b.statuses(), b.endpoint.live().0), (vec!["420 INVITE".into()], 1));
}

#[test]
fn an_invite_of_ours_that_comes_back_is_a_loop() {
    let mut b = Bench::new();
    let mut r = Request::new(Method::INVITE, Uri::parse("sip:600@192.0.2.4").unwrap());
    let call = super::OutgoingCall::new(r.uri.clone(), crate::sip::NameAddr::new(r.uri.clone()));
    let call = super::OutgoingCall { body: sdp(), ..call };
    b.endpoint.dial(b.now, flow(), None, call).unwrap();
    b.drain();
    r = b.requests.pop().unwrap();
    r.headers.push_front(HeaderName::Via, "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKproxy");
    r.uri = Uri::parse("sip:600@192.0.2.1:5080").unwrap();
    b.endpoint.handle_datagram(b.now, flow(), &r.to_bytes());
    b.drain();
    assert_eq!((b.statuses(), b.session), (vec!["482 INVITE".into()], None));
    // a proxy that has another number for it (RFC 3261 §16.3 step 4)
    r.uri = Uri::parse("sip:1002@192.0.2.1:5080").unwrap();
    r.headers.set(HeaderName::Via, "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKspiral");
    b.endpoint.handle_datagram(b.now, flow(), &r.to_bytes());
    b.drain();
    assert!(b.session.is_some(), "{:?}", b.statuses());
}

#[test]
fn an_invite_that_makes_no_dialog_is_400_and_beyond_the_cap_503() {
    let mut b = Bench::new();
    let text = "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKx\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: *\r\n\r\n";
    b.endpoint.handle_datagram(b.now, flow(), text.as_bytes());
    b.drain();
    assert_eq!(
        (b.responses[0].status, b.responses[0].phrase.as_str()),
        (StatusCode::BAD_REQUEST, "Contact is malformed")
    );
    b.statuses();
    (1..=3).for_each(|n| b.ask_as("INVITE", n, "", &[], SDP));
    assert_eq!((b.statuses(), b.endpoint.live().0), (vec!["503 INVITE".into()], 2));
}

#[test]
fn a_call_without_an_offer_is_answered_with_ours_and_its_ack_brings_the_answer_rfc_3261_13_2_1() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[], "");
    assert_eq!(b.invite.as_ref().unwrap().body, None);
    b.command(SessionCommand::Progress(sdp()));
    assert!(b.responses.last().unwrap().body.is_empty(), "an unreliable response carries no offer");
    b.command(SessionCommand::Answer(sdp()));
    // their next offer before the answer to ours: glare (RFC 5407 §3.1.5)
    b.ask("INVITE", 2, &[], SDP);
    b.ask("ACK", 1, &[], "v=0\r\no=answer\r\n");
    assert_eq!(b.statuses(), ["183 INVITE", "200 INVITE", "491 INVITE"]);
    assert_eq!(b.events, [SessionEvent::Confirmed { body: Some(Body::sdp("v=0\r\no=answer\r\n")) }]);
}

#[test]
fn requests_within_the_dialog_get_their_status_rfc_3261_12_2_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("OPTIONS", 10, &[], "");
    b.ask("OPTIONS", 10, &[], "");
    b.ask("INVITE", 9, &[], SDP);
    b.ask("MESSAGE", 11, &[], "");
    b.ask("INFO", 12, &[], "");
    b.ask("NOTIFY", 13, &[("Event", "talk")], "");
    b.ask("INVITE", 14, &[("Require", "foo")], SDP);
    b.ask_as("BYE", 15, ";tag=other", &[], "");
    let expected = [
        "200 OPTIONS",
        "500 OPTIONS",
        "500 INVITE",
        "405 MESSAGE",
        "200 INFO",
        "489 NOTIFY",
        "420 INVITE",
        "481 BYE",
    ];
    assert_eq!((b.statuses(), b.events.len()), (expected.map(String::from).to_vec(), 0));
}

#[test]
fn a_stranger_who_proved_identity_is_one_no_more() {
    let mut b = Bench::new();
    let text = "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKx\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.4>\r\n\r\n";
    b.endpoint.handle_stranger(b.now, flow(), text.as_bytes());
    b.drain();
    b.command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE)));
    b.pass(T1 * 3);
    assert_eq!(b.statuses(), vec!["486 INVITE"; 3], "a lost refusal comes again by itself");
    b.rest();
}

#[test]
fn the_number_of_a_request_of_ours_starts_the_sequence_of_our_side() {
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 200, &[], SDP);
    b.command(SessionCommand::Hangup(None));
    let numbers: Vec<CSeq> = b.requests.iter().map(|r| r.headers.cseq().unwrap()).collect();
    assert_eq!(numbers.iter().map(|c| c.number).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn a_description_among_other_parts_is_the_offer_and_a_part_that_must_be_understood_is_415_rfc_5621() {
    let isup = |handling: &str| {
        format!(
            "--x\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--x\r\nContent-Type: application/isup\r\n\
             Content-Disposition: signal;handling={handling}\r\n\r\n\u{1}\r\n--x--\r\n"
        )
    };
    let ask = |b: &mut Bench, cseq, body: &str| {
        let text = format!(
            "INVITE sip:600@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKm{cseq}\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: m\r\nCSeq: {cseq} INVITE\r\nContact: <sip:a@192.0.2.4>\r\n\
             Content-Type: multipart/mixed; boundary=\"x\"\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        b.endpoint.handle_datagram(b.now, flow(), text.as_bytes());
        b.drain();
    };
    let mut b = Bench::new();
    ask(&mut b, 1, &isup("required"));
    assert_eq!((b.statuses(), b.invite.is_none()), (vec!["415 INVITE".into()], true));
    ask(&mut b, 2, &isup("optional"));
    assert_eq!(b.invite.take().unwrap().body, sdp());
    b.command(SessionCommand::Answer(sdp()));
    assert_eq!(b.statuses(), ["200 INVITE"]);
}
