//! The transition table of a call: a detached caller (an account's leg), and a trunk that is rung.

use super::core_tests::*;
use super::*;
use crate::base::Digit;
use crate::call::leg::Delay;
use crate::call::port::DtmfDigit;

type Make = fn(Instant) -> Call;
type Act = fn(&mut Call, Instant);

/// State → what each input brings about.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 13]); 5] = [
    // callee: rings, is queued, early media, answers, offers, is busy
    // caller: offers, holds, presses a key, detaches, ends
    // a minute, shutdown
    ("routing", ["—", "—", "—", "—", "—", "—",
        "—", "media hold L1 true", "—", "media detach L1", "media release L1, ended cancelled",
        "—", "L1 hangup shutdown, media release L1, ended shutdown"]),
    ("dialing", ["L1 ring", "L1 queued", "media accept-answer L2 v8, L1 progress", ANSWERED, "L2 refuse-offer", BUSY,
        "media accept-offer L1 v1", "media hold L1 true", "media send L2 5, L2 dtmf 5", "media detach L1", CANCELLED,
        NO_ANSWER, SHUTDOWN]),
    ("ringing", ["—", "L1 queued", "media accept-answer L2 v8, L1 progress", ANSWERED, "L2 refuse-offer", BUSY,
        "media accept-offer L1 v1", "media hold L1 true", "media send L2 5, L2 dtmf 5", "media detach L1", CANCELLED,
        NO_ANSWER, SHUTDOWN]),
    ("active", ["—", "—", "—", "—", "media accept-offer L2 v9", "L1 hangup busy, media release L2, media release L1, ended busy",
        "media accept-offer L1 v1", "media hold L1 true, media create-offer L2", "media send L2 5, L2 dtmf 5", "media detach L1",
        "L2 hangup normal, media release L2, media release L1, ended normal",
        "—", SHUTDOWN]),
    ("ended", ["—", "—", "—", "—", "—", "—", "—", "—", "—", "—", "—", "—", "—"]),
];

const ANSWERED: &str = "media accept-answer L2 v8, media expect L2, media expect L1, L1 answer";
const BUSY: &str = "media release L2, L1 hangup busy, media release L1, ended busy";
const CANCELLED: &str = "L2 hangup cancelled, media release L2, media release L1, ended cancelled";
const NO_ANSWER: &str =
    "L2 hangup no-answer, media release L2, L1 hangup no-answer, media release L1, ended no-answer";
const SHUTDOWN: &str =
    "L1 hangup shutdown, L2 hangup shutdown, media release L2, media release L1, ended shutdown";

#[test]
fn every_input_in_every_state_of_a_call_does_what_the_table_says() {
    let states: [(&str, Make); 5] = [
        ("routing", |_| {
            let mut call = call(None);
            call.start();
            call
        }),
        ("dialing", |t0| dialed(None, t0)),
        ("ringing", |t0| {
            let mut call = dialed(None, t0);
            call.handle_leg(t0, B, LegEvent::Ringing);
            call
        }),
        ("active", active),
        ("ended", |t0| {
            let mut call = active(t0);
            call.handle_leg(t0, A, LegEvent::Ended(Cause::Normal.into()));
            call
        }),
    ];
    let inputs: [(&str, Act); 13] = [
        ("callee rings", |c, t0| c.handle_leg(t0, B, LegEvent::Ringing)),
        ("callee is queued", |c, t0| c.handle_leg(t0, B, LegEvent::Delayed(Delay::Queued))),
        ("early media", |c, t0| {
            c.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(8)), delay: None })
        }),
        ("callee answers", |c, t0| {
            c.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
        }),
        ("callee offers", |c, t0| c.handle_leg(t0, B, LegEvent::Offer(sdp(9)))),
        ("callee is busy", |c, t0| c.handle_leg(t0, B, LegEvent::Ended(Cause::Busy.into()))),
        ("caller offers", |c, t0| c.handle_leg(t0, A, LegEvent::Offer(sdp(1)))),
        ("caller holds", |c, t0| c.handle_leg(t0, A, LegEvent::Hold(true))),
        ("caller presses a key", |c, t0| {
            let digit = Digit::from_char('5').unwrap();
            c.handle_leg(
                t0,
                A,
                LegEvent::Dtmf(vec![DtmfDigit { digit, duration: Duration::from_millis(100) }]),
            );
        }),
        ("caller detaches", |c, t0| c.handle_leg(t0, A, LegEvent::Detached)),
        ("caller ends", |c, t0| c.handle_leg(t0, A, LegEvent::Ended(Cause::Normal.into()))),
        ("a minute", |c, t0| c.handle_timeout(t0 + Duration::from_secs(60))),
        ("shutdown", |c, _| c.hangup(Cause::Shutdown)),
    ];
    let mut wrong = Vec::new();
    for ((state, make), row) in states.into_iter().zip(TABLE) {
        assert_eq!(state, row.0);
        for ((input, act), expected) in inputs.into_iter().zip(row.1) {
            let t0 = Instant::now();
            let mut call = make(t0);
            drain(&mut call);
            act(&mut call, t0);
            let words = drain(&mut call).join(", ");
            let words = if words.is_empty() { "—".to_owned() } else { words };
            if words != expected {
                wrong.push(format!("{state} + {input}: {words}, and not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
