//! The transition table of a call to us, written from RFC 3261 §9, §13 to §15, RFC 3262 §3 and RFC 3311 §5.2.

use super::bench_tests::*;
use crate::sip::StatusCode;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::{SessionCommand, SessionEvent};

type Make = fn() -> Bench;
type Act = fn(&mut Bench);

/// State → what each input brings about, in the order of the inputs. Answers to INVITE stand as their number alone.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 16]); 9] = [
    // ring, queued, progress, answer, refuse, offer, answer offer, refuse offer, hangup, CANCEL, ACK, INVITE, BYE, UPDATE, UPDATE with an offer, PRACK
    ("asked", ["180", "182", "183", "200", "486 LOCAL", "refused 491", "—", "—", "480 LOCAL", "200 CANCEL 487 CANCELLED", "—", "—", "481 BYE", "481 UPDATE", "481 UPDATE", "481 PRACK"]),
    ("ringing", ["—", "182", "183", "200", "486 LOCAL", "refused 491", "—", "—", "480 LOCAL", "200 CANCEL 487 CANCELLED", "—", "500", "200 BYE 487 CANCELLED", "200 UPDATE", "500 UPDATE", "481 PRACK"]),
    ("reliable", ["—", "—", "—", "—", "486 LOCAL", "refused 491", "—", "—", "480 LOCAL", "200 CANCEL 487 CANCELLED", "—", "500", "200 BYE 487 CANCELLED", "200 UPDATE", "500 UPDATE", "200 PRACK"]),
    ("answered", ["—", "—", "—", "—", "—", "—", "—", "—", "—", "200 CANCEL", "confirmed", "confirmed offer", "200 BYE REMOTE", "200 UPDATE", "500 UPDATE", "481 PRACK"]),
    ("talking", ["—", "—", "—", "—", "—", "INVITE", "—", "—", "BYE", "200 CANCEL", "—", "offer", "200 BYE REMOTE", "200 UPDATE", "offer", "481 PRACK"]),
    ("offered", ["—", "—", "—", "—", "—", "—", "200", "488", "487 BYE", "200 CANCEL", "—", "500", "200 BYE 487 REMOTE", "200 UPDATE", "500 UPDATE", "481 PRACK"]),
    ("offering", ["—", "—", "—", "—", "—", "refused 491", "—", "—", "BYE", "200 CANCEL", "—", "491", "200 BYE REMOTE", "200 UPDATE", "491 UPDATE", "481 PRACK"]),
    ("ending", ["—", "—", "—", "—", "—", "—", "—", "—", "—", "200 CANCEL", "—", "481", "200 BYE REMOTE", "481 UPDATE", "481 UPDATE", "481 PRACK"]),
    ("over", ["—", "—", "—", "—", "—", "—", "—", "—", "—", "200 CANCEL", "—", "481", "481 BYE", "481 UPDATE", "481 UPDATE", "481 PRACK"]),
];

/// What came out since the last look, in short: answers by status, requests by method, events by name.
fn short(b: &mut Bench) -> String {
    let mut out: Vec<String> = b.statuses().iter().map(|s| s.replace(" INVITE", "")).collect();
    out.extend(b.requests.drain(..).map(|r| r.method.to_string()));
    out.extend(b.events.drain(..).map(|event| match event {
        SessionEvent::OfferRefused { status } => format!("refused {status}"),
        SessionEvent::Ended(end) => format!("{end:?}").split([' ', '{']).next().unwrap().to_uppercase(),
        event => format!("{event:?}").split([' ', '{']).next().unwrap().to_lowercase(),
    }));
    if out.is_empty() { "—".into() } else { out.join(" ") }
}

#[test]
fn every_input_in_every_state_of_a_call_to_us_does_what_the_table_says() {
    let states: [(&str, Make); 9] = [
        ("asked", Bench::called),
        ("ringing", || {
            let mut b = Bench::called();
            b.command(SessionCommand::Ring);
            b
        }),
        ("reliable", || {
            let mut b = Bench::new();
            b.ask("INVITE", 1, &[("Require", "100rel")], SDP);
            b.command(SessionCommand::Ring);
            b
        }),
        ("answered", || {
            let mut b = Bench::called();
            b.command(SessionCommand::Answer(sdp()));
            b
        }),
        ("talking", Bench::talking),
        ("offered", || {
            let mut b = Bench::talking();
            b.ask("INVITE", 2, &[], SDP);
            b
        }),
        ("offering", || {
            let mut b = Bench::talking();
            b.command(offer());
            b
        }),
        ("ending", || {
            let mut b = Bench::talking();
            b.command(SessionCommand::Hangup(None));
            b
        }),
        ("over", || {
            let mut b = Bench::talking();
            b.ask("BYE", 2, &[], "");
            b
        }),
    ];
    let inputs: [(&str, Act); 16] = [
        ("ring", |b| b.command(SessionCommand::Ring)),
        ("queued", |b| b.command(SessionCommand::Provisional(StatusCode::QUEUED, None))),
        ("progress", |b| b.command(SessionCommand::Progress(sdp()))),
        ("answer", |b| b.command(SessionCommand::Answer(sdp()))),
        ("refuse", |b| b.command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE)))),
        ("offer", |b| b.command(offer())),
        ("answer offer", |b| b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)))),
        ("refuse offer", |b| {
            b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE)));
        }),
        ("hangup", |b| b.command(SessionCommand::Hangup(None))),
        ("CANCEL", |b| {
            b.branch = 1;
            b.ask("CANCEL", 1, &[], "");
        }),
        ("ACK", |b| b.ask("ACK", 1, &[], "")),
        ("INVITE", |b| b.ask("INVITE", 8, &[], SDP)),
        ("BYE", |b| b.ask("BYE", 9, &[], "")),
        ("UPDATE", |b| b.ask("UPDATE", 9, &[], "")),
        ("UPDATE with an offer", |b| b.ask("UPDATE", 9, &[], SDP)),
        ("PRACK", |b| b.prack(9, 1)),
    ];
    for ((state, make), row) in states.into_iter().zip(TABLE) {
        assert_eq!(state, row.0);
        for ((input, act), expected) in inputs.into_iter().zip(row.1) {
            let mut b = make();
            short(&mut b);
            act(&mut b);
            assert_eq!(short(&mut b), expected, "{state} + {input}");
        }
    }
}
