//! Who is rung, in which order, and who of them wins.

use super::core_tests::*;
use super::*;

#[test]
fn a_forward_is_tried_only_for_what_it_is_for_and_the_rest_is_passed_over() {
    use Occasion::{Busy, NoAnswer, Unreachable};
    let t0 = now();
    let forward = |when: &[Occasion], number: &str| Attempt {
        targets: vec![Target { number: number.into(), ..target() }],
        when: when.to_vec(),
        ..attempt()
    };
    let list = || {
        vec![
            forward(&[Busy], "0"),
            attempt(),
            forward(&[Busy], "1"),
            forward(&[NoAnswer, Unreachable], "2"),
            forward(&[], "3"),
        ]
    };
    let next = |cause: Cause| {
        let mut call = call(None);
        call.start();
        drain(&mut call);
        call.handle_route(t0, Ok(list()));
        assert_eq!(drain(&mut call), ["open L2 600"], "nothing has failed that the first one is for");
        call.handle_opened(t0, B, Err(cause));
        drain(&mut call).last().cloned().unwrap_or_default()
    };
    assert_eq!(next(Cause::Busy), "open L3 1");
    assert_eq!(next(Cause::Unreachable), "open L3 2");
    // of what was before, the last counts
    let mut call = call(None);
    call.start();
    call.handle_route(t0, Ok(list()));
    call.handle_opened(t0, B, Err(Cause::Busy));
    call.handle_opened(t0, C, Err(Cause::Unreachable));
    assert_eq!(drain(&mut call).last().unwrap(), "open L4 2");
    call.handle_opened(t0, LegId(4), Err(Cause::Busy));
    assert_eq!(drain(&mut call).last().unwrap(), "open L5 3");
    // where nothing is left, the first failure of weight is told
    call.handle_opened(t0, LegId(5), Err(Cause::Unreachable));
    assert!(drain(&mut call).contains(&"L1 hangup busy".to_owned()));
}

#[test]
fn the_groups_of_one_step_are_tried_in_turn_or_passed_over_together() {
    use Occasion::{Busy, NoAnswer};
    let t0 = now();
    let number = |number: &str, when: &[Occasion], continues: bool| Attempt {
        targets: vec![Target { number: number.into(), ..target() }],
        when: when.to_vec(),
        continues,
        ..attempt()
    };
    let list = || {
        vec![
            number("1", &[], false),
            number("1b", &[], true),
            number("2", &[NoAnswer], false),
            number("2b", &[NoAnswer], true),
            number("3", &[Busy], false),
            number("3b", &[Busy], true),
            number("4", &[Busy], false),
        ]
    };
    let mut call = call(None);
    call.start();
    call.handle_route(t0, Ok(list()));
    assert_eq!(drain(&mut call).last().unwrap(), "open L2 1");
    call.handle_opened(t0, LegId(2), Err(Cause::Busy));
    assert_eq!(drain(&mut call).last().unwrap(), "open L3 1b");
    // the second group's failure says less than the first one's: the step was busy
    call.handle_opened(t0, LegId(3), Err(Cause::Unreachable));
    assert_eq!(drain(&mut call).last().unwrap(), "open L4 3");
    // whatever came of the first group, and still as a forward
    call.handle_opened(t0, LegId(4), Err(Cause::Unreachable));
    assert_eq!(drain(&mut call).last().unwrap(), "open L5 3b");
    assert_eq!(call.diversion, Some(Cause::Busy.into()));
    call.handle_opened(t0, LegId(5), Err(Cause::Busy));
    assert_eq!(drain(&mut call).last().unwrap(), "open L6 4");
}

#[test]
fn an_attempt_that_is_busy_unreachable_or_not_answered_makes_room_for_the_next() {
    let t0 = now();
    for cause in
        [Cause::Busy, Cause::Unreachable, Cause::Unavailable, Cause::Congestion, Cause::NoCommonCodec]
    {
        let mut call = routed(None, t0, &[1, 1]);
        ring(&mut call, B);
        drain(&mut call);
        call.handle_leg(t0, B, LegEvent::Ended(cause.into()));
        assert_eq!(drain(&mut call), ["media release L2", "open L3 600"], "{cause}");
    }
    let mut call = routed(None, t0, &[1, 1]);
    ring(&mut call, B);
    drain(&mut call);
    call.handle_timeout(t0 + Duration::from_secs(5));
    assert_eq!(drain(&mut call), ["L2 hangup no-answer", "media release L2", "open L3 600"]);
    call.handle_opened(t0, C, Err(Cause::Unreachable));
    assert!(drain(&mut call).contains(&"L1 hangup no-answer".to_owned()), "what says most is told");
    for cause in [Cause::Declined, Cause::NotFound, Cause::BadMedia, Cause::Internal] {
        let mut call = routed(None, t0, &[1, 1]);
        ring(&mut call, B);
        call.handle_leg(t0, B, LegEvent::Ended(cause.into()));
        assert_eq!(drain(&mut call).last().unwrap(), &format!("ended {cause}"));
    }
}

#[test]
fn of_targets_that_ring_together_the_first_answer_wins_and_the_others_are_told() {
    let mut call = routed(None, now(), &[3]);
    for leg in [2, 3] {
        ring(&mut call, LegId(leg));
    }
    assert_eq!(
        drain(&mut call),
        ["media bridge L1 L2", "media mute L2 true", "L2 dial", "media mute L3 true", "L3 dial"]
    );
    call.handle_leg(now(), C, LegEvent::Ringing);
    call.handle_leg(now(), B, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L1 ring"]);
    call.handle_leg(now(), C, LegEvent::Answered { answer: Answered::Nothing });
    assert_eq!(
        drain(&mut call),
        [
            "L2 hangup answered-elsewhere",
            "media release L2",
            "media bridge L1 L3",
            "media mute L3 false",
            "media expect L3",
            "media expect L1",
            "L1 answer"
        ]
    );
    assert!(!call.has_leg(LegId(4)), "one that was still being opened is given up");
    call.handle_opened(now(), LegId(4), Ok(webrtc()));
    call.handle_leg(now(), B, LegEvent::Answered { answer: Answered::Nothing });
    assert!(drain(&mut call).is_empty());
}

#[test]
fn one_that_declines_declines_for_all_and_one_that_fails_leaves_the_others_ringing() {
    let mut call = routed(None, now(), &[2, 1]);
    ring(&mut call, B);
    ring(&mut call, C);
    drain(&mut call);
    call.handle_leg(now(), B, LegEvent::Ended(Cause::Busy.into()));
    assert_eq!(drain(&mut call), ["media release L2"]);
    call.handle_leg(now(), C, LegEvent::Ended(Cause::Declined.into()));
    assert_eq!(
        drain(&mut call),
        ["media release L3", "L1 hangup declined", "media release L1", "ended declined"]
    );
    let mut call = routed(None, now(), &[2, 1]);
    ring(&mut call, B);
    ring(&mut call, C);
    drain(&mut call);
    call.handle_leg(now(), B, LegEvent::Ended(Cause::Declined.into()));
    assert!(drain(&mut call).contains(&"L3 hangup declined".to_owned()));
}
