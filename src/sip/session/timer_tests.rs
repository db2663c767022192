//! The session timer (RFC 4028). Whole seconds; an interval of 90 s ends after 60, one of 1800 s after 1768 (§10).

use super::bench_tests::*;
use super::client_tests;
use super::{KEEPALIVE, OutgoingCall, SessionTimer, TimerRules, TimerUse};
use crate::sip::answer::Body;
use crate::sip::session::{CallEnd, CallFailure, SessionCommand, SessionEvent};
use crate::sip::{HeaderName as H, Headers, Method, StatusCode};
use std::time::Duration;

const ALL: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE");
const OLD: (&str, &str) = ("Allow", "INVITE, ACK, BYE, CANCEL");
const KNOWS: (&str, &str) = ("Supported", "replaces, timer");
const OURS: [(&str, &str); 3] = [ALL, KNOWS, ("Session-Expires", "90;refresher=uas")];
const THEIRS: [(&str, &str); 3] = [ALL, KNOWS, ("x", "90 ; Refresher=UAC")];
const CHALLENGE: (H, &str) = (H::WwwAuthenticate, "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"");

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn rules(usage: TimerUse) -> TimerRules {
    TimerRules::new(usage, seconds(1_800))
}

/// A call to us whose INVITE brought these lines, answered and acknowledged.
fn called(rules: TimerRules, lines: &[(&str, &str)]) -> Bench {
    let mut b = Bench::with(rules);
    b.ask("INVITE", 1, lines, SDP);
    b.command(SessionCommand::Answer(Some(Body::sdp("v=0\r\no=we 1 7\r\n"))));
    b.ask("ACK", 1, &[], "");
    b.events.clear();
    b
}

/// What a message says of it: Session-Expires, and whether the other side must know of timers.
fn said(headers: &Headers) -> (Option<&str>, bool) {
    (headers.get(&H::SessionExpires), headers.get(&H::Require) == Some("timer"))
}

/// A call of ours with the lines of its 2xx.
fn calling(usage: TimerUse, lines: &[(H, &str)]) -> client_tests::Bench {
    let timers = rules(usage);
    let mut b = client_tests::Bench::new(OutgoingCall { timers, ..client_tests::call() });
    b.answer(Method::INVITE, 200, "t", lines);
    b
}

/// When the session timer wants something.
fn due(b: &client_tests::Bench) -> Option<u64> {
    let next = b.session.poll_timeout().filter(|(_, timer)| *timer != SessionTimer::Question);
    next.map(|(at, _)| (at - b.now).as_secs())
}

fn pass(b: &mut client_tests::Bench, time: Duration) {
    b.now += time;
    b.session.handle_timeout(b.now);
    b.drain();
}

#[test]
fn a_caller_gets_the_interval_it_asks_for_and_refreshes_when_it_can_rfc_4028_9() {
    use TimerUse::{Accept, Always, Off};
    type Case = (TimerUse, &'static [(&'static str, &'static str)], (Option<&'static str>, bool));
    const fn asks(value: &'static str) -> (&'static str, &'static str) {
        ("Session-Expires", value)
    }
    const CASES: [Case; 13] = [
        (Accept, &[KNOWS, asks("1800"), ("Min-SE", "90")], (Some("1800;refresher=uac"), true)),
        (Accept, &[KNOWS, asks("90;refresher=uas")], (Some("90;refresher=uas"), false)),
        (Accept, &[KNOWS, asks("600;refresher=uac;x=1")], (Some("600;refresher=uac"), true)),
        (Accept, &[("Require", "timer"), asks("600")], (Some("600;refresher=uac"), true)),
        // ours is the longest, but not below what they want at least
        (Accept, &[KNOWS, asks("7200")], (Some("1800;refresher=uac"), true)),
        (Accept, &[KNOWS, asks("7200"), ("Min-SE", "3600")], (Some("3600;refresher=uac"), true)),
        // a proxy asked: the caller cannot refresh, and need not be able to
        (Accept, &[asks("600")], (Some("600;refresher=uas"), false)),
        (Accept, &[asks("600;refresher=uac")], (Some("600;refresher=uas"), false)),
        (Accept, &[KNOWS], (None, false)),
        (Accept, &[KNOWS, asks("soon")], (None, false)),
        (Always, &[KNOWS], (Some("1800;refresher=uac"), true)),
        (Always, &[], (Some("1800;refresher=uas"), false)),
        (Off, &[KNOWS, asks("600")], (None, false)),
    ];
    for (usage, lines, expected) in CASES {
        let b = called(rules(usage), lines);
        let ok = b.responses.last().unwrap();
        assert_eq!((ok.status, said(&ok.headers)), (StatusCode::OK, expected), "{usage:?} {lines:?}");
        let supported = if usage == Off { "norefersub, replaces" } else { "norefersub, replaces, timer" };
        assert_eq!(ok.headers.get(&H::Supported), Some(supported));
    }
}

#[test]
fn an_interval_below_90_s_is_refused_with_the_least_rfc_4028_9() {
    let mut b = Bench::new();
    b.ask_as("INVITE", 1, "", &[KNOWS, ("Session-Expires", "89")], SDP);
    assert_eq!(b.responses[0].headers.get(&H::MinSe), Some("90"));
    assert_eq!((b.statuses(), b.endpoint.live().0), (vec!["422 INVITE".into()], 0));
    // who does not know of timers would not understand
    b.ask_as("INVITE", 2, "", &[("Session-Expires", "60")], SDP);
    assert_eq!(b.endpoint.live().0, 1);
    let mut b = Bench::talking();
    b.statuses();
    b.ask("UPDATE", 2, &[KNOWS, ("Session-Expires", "30")], "");
    b.ask("INVITE", 3, &[KNOWS, ("Session-Expires", "30")], SDP);
    assert_eq!(b.statuses(), ["422 UPDATE", "422 INVITE"]);
    let mut b = Bench::with(rules(TimerUse::Off));
    b.ask_as("INVITE", 1, "", &[("Require", "timer"), ("Session-Expires", "30")], SDP);
    assert_eq!(b.responses[0].headers.get(&H::Unsupported), Some("timer"));
    assert_eq!(b.statuses(), ["420 INVITE"]);
}

#[test]
fn a_far_side_that_does_not_refresh_is_told_bye_before_the_end_rfc_4028_10() {
    for (lines, end) in [(THEIRS, 60), ([ALL, KNOWS, ("Session-Expires", "1800")], 1_768)] {
        let mut b = called(TimerRules::default(), &lines);
        b.pass(seconds(end) - Duration::from_millis(1));
        assert_eq!((b.methods().len(), b.events.len()), (0, 0), "it is theirs to refresh");
        b.pass(Duration::from_millis(1));
        assert_eq!(
            (b.methods(), &b.events[..]),
            (vec!["BYE"], &[SessionEvent::Ended(CallEnd::Lost("session timer expired"))][..])
        );
        let reason = b.requests[0].headers.get(&H::Reason);
        assert_eq!(reason, Some("Q.850;cause=102;text=\"session timer expired\""));
        b.answer(Method::BYE, 481, &[], "");
        b.rest();
    }
}

#[test]
fn refreshes_of_the_far_side_keep_the_call_and_may_change_or_end_its_timer_rfc_4028_9() {
    let mut b = called(TimerRules::default().with_keepalive(None), &THEIRS);
    b.pass(seconds(45));
    b.statuses();
    b.ask("UPDATE", 2, &THEIRS, "");
    assert_eq!(said(&b.responses[0].headers), (Some("90;refresher=uac"), true));
    b.pass(seconds(45));
    b.ask("INVITE", 3, &THEIRS, SDP);
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    assert_eq!(said(&b.responses.last().unwrap().headers), (Some("90;refresher=uac"), true));
    b.ask("ACK", 3, &[], "");
    b.pass(seconds(59));
    assert_eq!(b.methods().len(), 0);
    // now it is ours
    b.ask("UPDATE", 4, &OURS, "");
    b.pass(seconds(45));
    assert_eq!(b.methods(), ["UPDATE"]);
    assert_eq!(
        said(&b.requests[0].headers).0,
        Some("90;refresher=uac"),
        "in the words of this request (§7.4)"
    );
    // without one in the answer there is none any more (§7.2)
    b.answer(Method::UPDATE, 200, &[], "");
    b.pass(seconds(7_200));
    assert_eq!(b.methods(), ["UPDATE"]);
    b.ask("BYE", 5, &[], "");
    b.rest();
}

#[test]
fn we_refresh_at_half_the_interval_by_update_rfc_4028_7_4() {
    let mut b = called(TimerRules::default(), &OURS);
    b.pass(seconds(45) - Duration::from_millis(1));
    assert_eq!(b.methods().len(), 0);
    b.pass(Duration::from_millis(1));
    let update = b.requests[0].clone();
    assert_eq!((update.method.as_str(), update.body.len()), ("UPDATE", 0));
    assert_eq!(update.headers.get(&H::MinSe), Some("90"));
    assert!(update.headers.get(&H::Contact).is_some());
    let grants = [(H::SessionExpires, "120;refresher=uac"), (H::Contact, "<sip:anna@192.0.2.4:5999>")];
    b.answer(Method::UPDATE, 200, &grants, "");
    b.pass(seconds(60));
    assert_eq!(b.methods(), ["UPDATE", "UPDATE"]);
    assert_eq!(b.requests[1].uri.to_string(), "sip:anna@192.0.2.4:5999");
    assert_eq!(said(&b.requests[1].headers).0, Some("120;refresher=uac"));
    assert_eq!(b.events.len(), 0);
    b.ask("BYE", 2, &[], "");
    b.answer(Method::UPDATE, 481, &[], "");
    b.rest();
}

#[test]
fn without_update_a_reinvite_offers_what_stands_and_is_no_news_rfc_4028_7_4() {
    let mut b = called(TimerRules::default(), &[OLD, KNOWS, ("Session-Expires", "90;refresher=uas")]);
    b.pass(seconds(45));
    assert_eq!((b.methods(), b.requests[0].body.as_ref()), (vec!["INVITE"], &b"v=0\r\no=we 1 7\r\n"[..]));
    // an offer of the user waits for it
    b.command(offer());
    b.answer(Method::INVITE, 200, &[(H::SessionExpires, "90;refresher=uac")], SDP);
    assert_eq!((b.methods(), b.events.len()), (vec!["INVITE", "ACK", "INVITE"], 0));
    b.answer(Method::INVITE, 200, &[(H::SessionExpires, "90;refresher=uac")], SDP);
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: sdp() }]);
    // from now on that is what stands, and it was a refresh too
    b.pass(seconds(44));
    assert_eq!(b.methods().len(), 4);
    b.pass(seconds(1));
    assert_eq!(b.requests[4].body.as_ref(), b"v=0\r\no=ours\r\n");
    // refused for now: again after 10 s, and nobody is told
    b.answer(Method::INVITE, 491, &[], "");
    b.requests.clear();
    b.pass(seconds(10));
    assert_eq!(b.methods(), ["INVITE"]);
    b.answer(Method::INVITE, 488, &[], "");
    assert_eq!(b.events.len(), 1);
    b.ask("BYE", 9, &[], "");
    b.rest();
}

#[test]
fn what_becomes_of_our_update_decides_how_it_goes_on_rfc_4028_7_3_and_10() {
    let make = || {
        let mut b = called(TimerRules::default(), &OURS);
        b.pass(seconds(45));
        assert_eq!(b.methods(), ["UPDATE"]);
        b
    };
    // not taken: a re-INVITE, and never again an UPDATE
    let mut b = make();
    b.answer(Method::UPDATE, 405, &[], "");
    assert_eq!(b.methods(), ["UPDATE", "INVITE"]);
    // nobody knows the call, or answers
    for code in [408, 481] {
        let mut b = make();
        b.answer(Method::UPDATE, code, &[], "");
        assert_eq!(
            (b.methods(), &b.events[..]),
            (
                vec!["UPDATE", "BYE"],
                &[SessionEvent::Ended(CallEnd::Lost("the far side knows nothing of the call"))][..]
            )
        );
    }
    let mut b = make();
    b.requests.clear();
    // the end is 15 s away, before the 32 s of the transaction
    b.pass(seconds(15));
    assert_eq!(
        (b.methods().last(), &b.events[..]),
        (Some(&"BYE"), &[SessionEvent::Ended(CallEnd::Lost("session timer expired"))][..])
    );
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
    let mut b = called(TimerRules::default(), &[ALL, KNOWS, ("Session-Expires", "600;refresher=uas")]);
    b.pass(seconds(300) + T1 * 64);
    let reason = b.requests.last().unwrap().headers.get(&H::Reason);
    assert_eq!(reason, Some("Q.850;cause=102;text=\"no answer to a refresh\""));
    // for now: once more, and in the end BYE
    let mut b = make();
    b.answer(Method::UPDATE, 500, &[], "");
    b.pass(seconds(10));
    assert_eq!(b.methods(), ["UPDATE", "UPDATE"]);
    b.answer(Method::UPDATE, 500, &[], "");
    b.pass(seconds(5));
    assert_eq!(b.methods(), ["UPDATE", "UPDATE", "BYE"]);
    // credentials, once
    let mut b = make();
    b.answer(Method::UPDATE, 401, &[CHALLENGE], "");
    assert!(b.requests[1].headers.get(&H::Authorization).unwrap().contains("username=\"edge\""));
    b.answer(Method::UPDATE, 401, &[CHALLENGE], "");
    assert_eq!((b.methods().len(), b.events.len()), (2, 0));
    // longer
    let mut b = make();
    b.answer(Method::UPDATE, 422, &[(H::MinSe, "400")], "");
    let (first, second) = (&b.requests[0].headers, &b.requests[1].headers);
    assert_eq!(said(second).0, Some("400;refresher=uac"));
    assert_eq!(second.get(&H::MinSe), Some("400"));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    for wanted in ["500", "600", "700"] {
        b.answer(Method::UPDATE, 422, &[(H::MinSe, wanted)], "");
    }
    assert_eq!(b.methods(), ["UPDATE"; 4], "not for ever");
}

#[test]
fn a_call_of_ours_asks_for_a_timer_when_told_to_and_takes_what_is_granted_rfc_4028_7_1_and_7_2() {
    let asked = |usage| {
        let b = calling(usage, &[]);
        let h = b.sent[0].1.headers.clone();
        let text = |name: &H| h.get(name).map(str::to_owned);
        (text(&H::Supported), text(&H::SessionExpires), text(&H::MinSe))
    };
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(asked(TimerUse::Off), (some("100rel, norefersub, replaces"), None, None));
    assert_eq!(asked(TimerUse::Accept), (some("100rel, norefersub, replaces, timer"), None, None));
    assert_eq!(
        asked(TimerUse::Always),
        (some("100rel, norefersub, replaces, timer"), some("1800"), some("90"))
    );
    let granted = |usage, value| due(&calling(usage, &[(H::SessionExpires, value)]));
    assert_eq!(granted(TimerUse::Off, "600;refresher=uac"), None);
    // ours at half, theirs ends by the margin
    assert_eq!(granted(TimerUse::Accept, "600;refresher=uac"), Some(300));
    assert_eq!(granted(TimerUse::Accept, "600;refresher=uas"), Some(568));
    assert_eq!(granted(TimerUse::Accept, "600"), Some(300));
    assert_eq!(due(&calling(TimerUse::Accept, &[])), None);
    assert_eq!(due(&calling(TimerUse::Always, &[])), Some(900), "a far side without timers is looked after");
    // nonsense is no storm, and no overflow
    assert_eq!(granted(TimerUse::Accept, "0;refresher=uac"), Some(5));
    assert_eq!(granted(TimerUse::Accept, "99999999999;refresher=uac"), Some(u64::from(u32::MAX / 2)));
}

#[test]
fn a_call_of_ours_goes_on_refreshing_with_the_method_of_the_answer_rfc_4028_7_4() {
    for (allow, expected) in [("INVITE, BYE, update", "UPDATE"), ("INVITE, BYE", "INVITE")] {
        let mut b = calling(TimerUse::Always, &[(H::Allow, allow)]);
        pass(&mut b, seconds(900));
        let (_, refresh) = b.sent.last().unwrap().clone();
        assert_eq!(refresh.method.as_str(), expected);
        assert_eq!(said(&refresh.headers).0, Some("1800;refresher=uac"));
        assert_eq!(refresh.body, if expected == "UPDATE" { "" } else { "v=0\r\n" });
        let news = b.events.len();
        b.answer(refresh.method, 200, "t", &[(H::SessionExpires, "1800;refresher=uas")]);
        assert_eq!((due(&b), b.events.len()), (Some(1_768), news));
    }
}

#[test]
fn a_422_to_a_call_of_ours_asks_for_more_and_not_for_ever_rfc_4028_7_3() {
    for usage in [TimerUse::Always, TimerUse::Accept] {
        let timers = rules(usage);
        let mut b = client_tests::Bench::new(OutgoingCall { timers, ..client_tests::call() });
        b.answer(Method::INVITE, 422, "t", &[(H::MinSe, "3600")]);
        let (first, second) = (&b.sent[0].1.headers, &b.sent[1].1.headers);
        assert_eq!((said(second).0, second.get(&H::MinSe)), (Some("3600"), Some("3600")));
        assert_eq!(second.get(&H::CallId), first.get(&H::CallId));
        assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
        b.answer(Method::INVITE, 401, "t", &[CHALLENGE]);
        assert!(b.sent[2].1.headers.get(&H::Authorization).is_some());
        assert_eq!(said(&b.sent[2].1.headers).0, Some("3600"));
        b.answer(Method::INVITE, 422, "t", &[(H::MinSe, "4000")]);
        b.answer(Method::INVITE, 422, "t", &[(H::MinSe, "5000")]);
        assert_eq!((b.methods().len(), b.events.len()), (5, 0));
        b.answer(Method::INVITE, 422, "t", &[(H::MinSe, "6000")]);
        let is_refused = |e: &SessionEvent| matches!(e, SessionEvent::Failed(CallFailure::Status { status, .. }) if status.code() == 422);
        assert_eq!((b.methods().len(), b.events.iter().filter(|e| is_refused(e)).count()), (5, 1));
    }
    // nothing to go by, off, hung up
    for (usage, min) in [(TimerUse::Always, "x"), (TimerUse::Always, "86401"), (TimerUse::Off, "3600")] {
        let timers = rules(usage);
        let mut b = client_tests::Bench::new(OutgoingCall { timers, ..client_tests::call() });
        b.answer(Method::INVITE, 422, "t", &[(H::MinSe, min)]);
        assert_eq!((b.methods().len(), b.events.len()), (1, 1), "{min}");
    }
    let mut b = client_tests::Bench::new(client_tests::call());
    b.hangup();
    b.answer(Method::INVITE, 422, "t", &[(H::MinSe, "3600")]);
    assert_eq!((b.methods(), &b.events[..]), (vec!["INVITE"], &[SessionEvent::Ended(CallEnd::Local)][..]));
}

#[test]
fn without_a_timer_a_far_side_that_says_nothing_is_asked_whether_it_knows_the_call_rfc_3261_12_2_1_2() {
    let quiet = || {
        let mut b = called(TimerRules::default(), &[ALL]);
        b.statuses();
        b.pass(KEEPALIVE - Duration::from_millis(1));
        assert_eq!(b.methods().len(), 0);
        b
    };
    let asked = || {
        let mut b = quiet();
        b.pass(Duration::from_millis(1));
        assert_eq!((b.methods(), b.requests[0].body.len()), (vec!["OPTIONS"], 0));
        b
    };
    // who lives says something, and the time begins anew, as it does with a request of theirs
    for code in [200, 405, 500, 501] {
        let mut b = asked();
        b.answer(Method::OPTIONS, code, &[], "");
        b.pass(KEEPALIVE / 2);
        b.ask("INFO", 2, &[], "");
        b.pass(KEEPALIVE - Duration::from_millis(1));
        assert_eq!((b.methods(), b.events.len()), (vec!["OPTIONS"], 0), "{code}");
        b.pass(Duration::from_millis(1));
        assert_eq!(b.methods(), ["OPTIONS", "OPTIONS"]);
    }
    // credentials, where it wants some
    let mut b = asked();
    b.answer(Method::OPTIONS, 401, &[CHALLENGE], "");
    assert!(b.requests[1].headers.get(&H::Authorization).is_some());
    // who was started anew knows nothing of it
    for code in [408, 481] {
        let mut b = asked();
        b.answer(Method::OPTIONS, code, &[], "");
        assert_eq!(
            b.events,
            [SessionEvent::Ended(CallEnd::Lost("the far side knows nothing of the call"))],
            "{code}"
        );
        assert_eq!(b.methods(), ["OPTIONS", "BYE"]);
        b.answer(Method::BYE, 481, &[], "");
        b.rest();
    }
    // who is gone says nothing twice
    let mut b = asked();
    b.pass(T1 * 64);
    assert_eq!(b.events.len(), 0, "one may be lost");
    b.pass(seconds(10) + T1 * 64);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost("no answer within the call"))]);
    let reason = b.requests.last().unwrap().headers.get(&H::Reason);
    assert_eq!(reason, Some("Q.850;cause=102;text=\"no answer within the call\""));
    b.rest();
    // one that was lost does not count with the next
    let mut b = asked();
    b.pass(T1 * 64 + seconds(10));
    b.answer(Method::OPTIONS, 200, &[], "");
    b.pass(KEEPALIVE + T1 * 64);
    assert_eq!(b.events.len(), 0);
}

#[test]
fn nobody_is_asked_where_a_session_timer_runs_or_it_is_switched_off() {
    let mut b = called(TimerRules::default(), &[ALL, KNOWS, ("Session-Expires", "7200;refresher=uac")]);
    b.pass(KEEPALIVE * 2 - Duration::from_secs(33));
    assert_eq!(b.methods().len(), 0);
    let mut b = called(TimerRules::default().with_keepalive(None), &[ALL]);
    b.pass(KEEPALIVE * 100);
    assert_eq!(b.methods().len(), 0);
}

#[test]
fn a_timer_of_a_call_that_was_hung_up_asks_nothing_any_more() {
    let mut b = called(TimerRules::default(), &OURS);
    b.command(SessionCommand::Hangup(None));
    b.answer(Method::BYE, 200, &[], "");
    b.pass(seconds(7_200));
    assert_eq!(b.methods(), ["BYE"]);
    b.rest();
}
