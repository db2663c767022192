//! A call of ours that nobody says anything to (RFC 3263 §4.3).

use super::client_tests::{Bench, call};
use super::*;
use crate::sip::{HeaderName, Method};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(4);

fn dialled() -> Bench {
    let mut b = Bench::new(call());
    b.session.give_up_silent_at(b.now + LIMIT);
    b
}

/// After the limit, if nothing came before.
fn given_up() -> Bench {
    let mut b = dialled();
    b.wait(LIMIT);
    assert_eq!(b.events, [SessionEvent::Failed(CallFailure::Timeout)]);
    assert_eq!((b.hushed, b.is_done, b.methods()), (1, false, vec!["INVITE"]));
    b
}

impl Bench {
    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(self.now);
        self.drain();
    }
}

#[test]
fn it_has_failed_after_the_limit_and_goes_no_more_and_its_transaction_lives_on() {
    let mut b = dialled();
    b.wait(LIMIT - Duration::from_millis(1));
    assert_eq!((b.events.len(), b.hushed), (0, 0));
    let mut b = given_up();
    assert_eq!(b.session.poll_timeout(), None);
    b.end_all();
    assert!(b.is_done);
}

#[test]
fn a_word_of_the_far_side_ends_the_limit() {
    for code in [100, 180] {
        let mut b = dialled();
        b.answer(Method::INVITE, code, "t1", &[]);
        b.wait(LIMIT);
        assert_eq!(b.hushed, 0, "{code}");
    }
    let mut b = dialled();
    let challenge = "Digest realm=\"r\",nonce=\"n\"";
    b.answer(Method::INVITE, 401, "t1", &[(HeaderName::WwwAuthenticate, challenge)]);
    b.wait(LIMIT);
    assert_eq!((b.hushed, b.methods()), (0, vec!["INVITE", "INVITE"]));
}

#[test]
fn a_late_answer_is_acknowledged_and_ended_rfc_3261_13_2_2_4() {
    let mut b = given_up();
    b.answer_200("t1");
    assert_eq!((b.acks.len(), b.methods(), b.events.len()), (1, vec!["INVITE", "BYE"], 1));
    b.answer_200("t1");
    assert_eq!((b.acks.len(), b.methods().len()), (2, 2), "as often as it comes");
    b.end_all();
    assert!(b.is_done);
}

#[test]
fn one_that_rings_late_is_cancelled_once_and_given_up_rfc_3261_9_1() {
    let mut b = given_up();
    b.answer(Method::INVITE, 100, "", &[]);
    b.answer(Method::INVITE, 180, "t1", &[]);
    assert_eq!((b.methods(), b.events.len()), (vec!["INVITE", "CANCEL"], 1));
    let (_, timer) = b.session.poll_timeout().unwrap();
    assert_eq!(timer, SessionTimer::CancelGiveUp);
    b.wait(Timings::default().give_up());
    assert_eq!((b.abandoned, b.session.poll_timeout()), (1, None));
}

#[test]
fn a_late_refusal_or_challenge_changes_nothing() {
    for code in [401, 422, 486, 302] {
        let mut b = given_up();
        let challenge = "Digest realm=\"r\",nonce=\"n\"";
        let lines = [(HeaderName::WwwAuthenticate, challenge), (HeaderName::MinSe, "3600")];
        b.answer(Method::INVITE, code, "t1", &lines);
        assert_eq!((b.methods(), b.events.len()), (vec!["INVITE"], 1), "{code}");
    }
}

#[test]
fn who_hangs_up_meanwhile_hears_that_it_is_over() {
    let mut b = dialled();
    b.hangup();
    b.wait(LIMIT);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
    b.answer(Method::INVITE, 180, "t1", &[]);
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
}
