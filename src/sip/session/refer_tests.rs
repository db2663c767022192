//! Transfers that the far side asks for (RFC 3515), and keys by INFO.

use super::bench_tests::*;
use crate::base::Digit;
use crate::sip::answer::Answer;
use crate::sip::session::{CallEnd, SessionCommand, SessionEvent};
use crate::sip::{HeaderName as H, Key, Method, Request, StatusCode};
use std::time::Duration;

const LOST: [SessionEvent; 1] =
    [SessionEvent::Ended(CallEnd::Lost("the far side knows nothing of the call"))];

const TO_600: (&str, &str) = ("Refer-To", "<sip:600@192.0.2.4>");

fn accept() -> SessionCommand {
    SessionCommand::AnswerRefer(Answer::new(StatusCode::ACCEPTED))
}

fn notify(code: u16) -> SessionCommand {
    SessionCommand::Notify(StatusCode::new(code).unwrap())
}

fn key(sign: char) -> Key {
    Key { digit: Digit::from_char(sign).unwrap(), duration: Duration::from_millis(160) }
}

/// Event, Subscription-State and body of the NOTIFYs so far.
fn notifies(b: &Bench) -> Vec<(String, String, String)> {
    let text = |r: &Request, name| r.headers.get(&name).unwrap_or_default().to_owned();
    let body = |r: &Request| String::from_utf8(r.body.to_vec()).unwrap();
    let all = b.requests.iter().filter(|r| r.method == Method::NOTIFY);
    all.map(|r| (text(r, H::Event), text(r, H::SubscriptionState), body(r))).collect()
}

fn told(event: &str, state: &str, line: &str) -> (String, String, String) {
    (event.into(), state.into(), format!("SIP/2.0 {line}\r\n"))
}

#[test]
fn a_refer_is_accepted_and_its_sender_told_what_comes_of_it_rfc_3515_2_4() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("REFER", 2, &[TO_600, ("Referred-By", "<sip:desk@192.0.2.4>")], "");
    let [SessionEvent::Refer(refer)] = &b.events[..] else { panic!("{:?}", b.events) };
    assert_eq!(refer.to.to_string(), "sip:600@192.0.2.4");
    assert!(b.responses.is_empty(), "its answer is the call's");
    b.command(accept());
    assert!(b.responses[0].headers.get(&H::Contact).is_some(), "it makes a dialog usage (RFC 3515 §2.2)");
    assert_eq!(b.statuses(), ["202 REFER"]);
    assert_eq!(notifies(&b), [told("refer", "active;expires=3600", "100 Trying")]);
    let first = b.requests.last().unwrap();
    assert_eq!(first.headers.get(&H::ContentType), Some("message/sipfrag;version=2.0"));
    assert!(first.headers.get(&H::Contact).is_some());
    // one at a time: they may overtake each other on the way
    b.command(notify(180));
    b.command(notify(200));
    assert_eq!(notifies(&b).len(), 1);
    b.answer(Method::NOTIFY, 200, &[], "");
    b.answer(Method::NOTIFY, 200, &[], "");
    assert_eq!(
        notifies(&b)[1..],
        [
            told("refer", "active;expires=3600", "180 Ringing"),
            told("refer", "terminated;reason=noresource", "200 OK")
        ]
    );
    let numbers: Vec<u32> = b.requests.iter().skip(1).map(|r| r.headers.cseq().unwrap().number).collect();
    assert!(numbers.windows(2).all(|n| n[1] == n[0] + 1), "{numbers:?}");
    b.answer(Method::NOTIFY, 200, &[], "");
    b.command(notify(486));
    assert_eq!(notifies(&b).len(), 3, "after the last word there is none");
}

#[test]
fn further_transfers_of_a_call_are_told_apart_rfc_3515_2_4_6() {
    let mut b = Bench::talking();
    for (cseq, event) in [(2, "refer"), (3, "refer;id=3")] {
        b.ask("REFER", cseq, &[TO_600], "");
        b.command(accept());
        assert_eq!(notifies(&b).last().unwrap().0, event);
        b.answer(Method::NOTIFY, 200, &[], "");
        b.command(notify(503));
        assert_eq!(
            *notifies(&b).last().unwrap(),
            told(event, "terminated;reason=noresource", "503 Service Unavailable")
        );
        b.answer(Method::NOTIFY, 200, &[], "");
    }
}

#[test]
fn one_transfer_at_a_time_and_none_that_cannot_be_read() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("REFER", 2, &[("Refer-To", "nonsense")], "");
    b.ask("REFER", 3, &[("Refer-To", "<mailto:a@b>")], "");
    b.ask("REFER", 4, &[TO_600], "");
    b.ask("REFER", 5, &[TO_600], "");
    assert_eq!(b.statuses(), ["400 REFER", "416 REFER", "491 REFER"]);
    b.command(accept());
    b.ask("REFER", 6, &[TO_600], "");
    assert_eq!(b.statuses(), ["202 REFER", "491 REFER"]);
}

#[test]
fn a_refer_that_is_refused_makes_no_subscription() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("REFER", 2, &[TO_600], "");
    b.command(SessionCommand::AnswerRefer(Answer::new(StatusCode::DECLINE)));
    b.command(notify(200));
    assert_eq!((b.statuses(), notifies(&b).len()), (vec!["603 REFER".into()], 0));
    // nobody decides: before timer F of its sender
    b.ask("REFER", 3, &[TO_600], "");
    b.pass(T1 * 63);
    assert_eq!(b.statuses(), ["504 REFER"]);
    b.command(accept());
    assert!(b.responses.is_empty(), "too late");
}

#[test]
fn who_wants_no_news_gets_none_rfc_4488_4() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("REFER", 2, &[TO_600, ("Require", "norefersub"), ("Refer-Sub", "false")], "");
    b.command(accept());
    assert_eq!(b.responses[0].headers.get(&H::ReferSub), Some("false"));
    b.command(notify(200));
    assert_eq!((b.statuses(), notifies(&b).len()), (vec!["202 REFER".into()], 0));
    b.ask("REFER", 3, &[TO_600], "");
    assert!(b.responses.is_empty(), "the one before is over");
}

#[test]
fn a_refer_before_the_answer_is_put_off() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.statuses();
    b.ask("REFER", 2, &[TO_600], "");
    assert_eq!((b.statuses(), b.events.len()), (vec!["500 REFER".into()], 0));
}

#[test]
fn the_last_word_of_a_transfer_goes_before_bye_and_holds_it_up_for_two_seconds_at_most() {
    let mut b = Bench::talking();
    b.ask("REFER", 2, &[TO_600], "");
    b.command(accept());
    b.command(notify(200));
    b.command(SessionCommand::Hangup(None));
    assert_eq!(b.methods(), ["NOTIFY"], "it could be overtaken");
    b.answer(Method::NOTIFY, 200, &[], "");
    b.answer(Method::NOTIFY, 200, &[], "");
    assert_eq!(b.methods(), ["NOTIFY", "NOTIFY", "BYE"]);
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
    let mut b = Bench::talking();
    b.ask("REFER", 2, &[TO_600], "");
    b.command(accept());
    b.command(SessionCommand::Hangup(None));
    b.pass(Duration::from_millis(1_999));
    assert!(!b.methods().contains(&"BYE"));
    b.pass(Duration::from_millis(1));
    assert_eq!(b.methods().iter().filter(|m| **m == "BYE").count(), 1);
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn who_hangs_up_after_its_refer_ends_the_session_and_a_notify_that_is_refused_does_not() {
    let mut b = Bench::talking();
    b.ask("REFER", 2, &[TO_600], "");
    b.command(accept());
    b.answer(Method::NOTIFY, 481, &[], "");
    assert_eq!(b.events.len(), 1, "the call goes on");
    b.ask("BYE", 3, &[], "");
    b.command(notify(200));
    b.rest();
}

#[test]
fn a_bye_that_comes_before_ours_which_waits_for_the_last_word_ends_the_wait() {
    for answers in [false, true] {
        let mut b = Bench::talking();
        b.ask("REFER", 2, &[TO_600], "");
        b.command(accept());
        b.command(notify(200));
        b.command(SessionCommand::Hangup(None));
        b.ask("BYE", 3, &[], "");
        if answers {
            b.answer(Method::NOTIFY, 200, &[], "");
        }
        b.pass(Duration::from_secs(3));
        assert!(b.methods().iter().all(|m| *m == "NOTIFY"), "nothing follows");
        b.rest();
    }
}

#[test]
fn a_bye_answers_a_refer_that_waits_rfc_3261_15_1_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("REFER", 2, &[TO_600], "");
    b.ask("BYE", 3, &[], "");
    let mut statuses = b.statuses();
    statuses.sort();
    assert_eq!(statuses, ["200 BYE", "487 REFER"]);
    b.rest();
}

#[test]
fn keys_go_by_info_one_after_the_other() {
    let mut b = Bench::talking();
    b.command(SessionCommand::Keys(vec![key('1'), key('#')]));
    assert_eq!(b.methods(), ["INFO"]);
    assert_eq!(b.requests[0].body.as_ref(), b"Signal=1\r\nDuration=160\r\n");
    assert_eq!(b.requests[0].headers.get(&H::ContentType), Some("application/dtmf-relay"));
    b.answer(Method::INFO, 401, &[(H::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\"")], "");
    assert!(b.requests[1].headers.get(&H::Authorization).is_some());
    b.answer(Method::INFO, 415, &[], "");
    assert_eq!(b.methods(), ["INFO"; 3]);
    assert!(b.requests[2].body.starts_with(b"Signal=#"));
    b.answer(Method::INFO, 200, &[], "");
    assert!(b.events.is_empty());
}

#[test]
fn who_hears_a_key_and_knows_nothing_of_the_call_or_says_nothing_is_gone_rfc_3261_12_2_1_2_and_rfc_5057_5_1()
{
    let told = || {
        let mut b = Bench::talking();
        b.command(SessionCommand::Keys(vec![key('1'), key('2')]));
        b
    };
    for code in [481, 408] {
        let mut b = told();
        b.answer(Method::INFO, code, &[], "");
        assert_eq!((b.methods(), &b.events[..]), (vec!["INFO", "BYE"], &LOST[..]), "{code}");
        let reason = b.requests[1].headers.get(&H::Reason).unwrap();
        assert_eq!(reason, "Q.850;cause=102;text=\"the far side knows nothing of the call\"");
        b.answer(Method::BYE, 481, &[], "");
        b.rest();
    }
    let mut b = told();
    b.pass(T1 * 64);
    assert_eq!(
        (b.methods().last(), &b.events[..]),
        (Some(&"BYE"), &[SessionEvent::Ended(CallEnd::Lost("no answer within the call"))][..])
    );
    let reason = b.requests.last().unwrap().headers.get(&H::Reason).unwrap();
    assert_eq!(reason, "Q.850;cause=102;text=\"no answer within the call\"");
    b.rest();
    // who takes no INFO, or cannot at the moment, may be talking all the same
    for code in [405, 415, 469, 488, 500, 501, 503] {
        let mut b = told();
        b.answer(Method::INFO, code, &[], "");
        assert_eq!((b.methods(), b.events.len()), (vec!["INFO", "INFO"], 0), "{code}");
    }
    // what could not leave says nothing of the far side: a proxy on the way may be starting anew
    let mut b = told();
    b.endpoint.handle_transport_error(b.now, std::net::SocketAddr::from(([192, 0, 2, 4], 5070)));
    b.drain();
    assert_eq!((b.methods(), b.events.len()), (vec!["INFO", "INFO"], 0));
}

#[test]
fn a_notify_that_nobody_wants_is_no_end_of_the_call_rfc_5057_5_1() {
    for code in [481, 408] {
        let mut b = Bench::talking();
        b.ask("REFER", 2, &[TO_600], "");
        b.command(accept());
        b.events.clear();
        b.answer(Method::NOTIFY, code, &[], "");
        assert_eq!((b.methods(), b.events.len()), (vec!["NOTIFY"], 0), "{code}");
    }
}

#[test]
fn a_key_of_theirs_is_told_once_in_early_dialogs_too() {
    let relay = [("Content-Type", "application/dtmf-relay")];
    let mut b = Bench::called();
    b.command(SessionCommand::Progress(sdp()));
    b.statuses();
    b.ask("INFO", 2, &relay, "Signal=5\r\nDuration=160\r\n");
    b.command(SessionCommand::Answer(sdp()));
    b.ask("ACK", 1, &[], "");
    b.ask("INFO", 3, &relay, "Signal=*\r\nDuration=160\r\n");
    b.ask("INFO", 3, &relay, "Signal=*\r\nDuration=160\r\n");
    b.ask("INFO", 4, &[("Content-Type", "text/plain")], "5");
    let keys: Vec<char> = b
        .events
        .iter()
        .filter_map(|e| match e {
            SessionEvent::Key(key) => Some(key.digit.as_char()),
            _ => None,
        })
        .collect();
    assert_eq!(keys, ['5', '*']);
    assert_eq!(b.statuses(), ["200 INFO", "200 INVITE", "200 INFO", "500 INFO", "415 INFO"]);
}
