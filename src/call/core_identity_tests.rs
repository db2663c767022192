//! Who the parties are told that the other one is.

use super::core_tests::*;
use super::core_transfer_tests::newcomer;
use super::*;
use crate::call::leg::{Transfer as Wish, TransferTo};
use crate::call::port::Codec;
use crate::call::route::Source;

const C: LegId = LegId(3);

const D: LegId = LegId(4);

fn to_target() -> LegEvent {
    let to = TransferTo::Target { target: target(), takes_over: None };
    LegEvent::Transfer(Box::new(Wish { source: Source::Trunk("pbx".into()), by: None, to }))
}

fn named(user: &str, name: &str) -> Stated {
    let display = (!name.is_empty()).then(|| name.to_owned());
    Stated { shown: Person { user: user.to_owned(), display }, ..Stated::default() }
}

fn says(call: &mut Call, leg: LegId, who: Stated) -> Vec<String> {
    call.handle_leg(Instant::now(), leg, LegEvent::Party(Box::new(who)));
    introduced(call)
}

/// Who is told what of the other one.
fn introduced(call: &mut Call) -> Vec<String> {
    drain(call).into_iter().filter(|told| told.contains(" party ")).collect()
}

#[test]
fn who_answers_is_named_with_the_answer_and_whoever_talks_within_the_call_each_once() {
    let t0 = Instant::now();
    let mut call = dialed(None, t0);
    assert!(says(&mut call, B, named("601", "Berta")).is_empty(), "another one may answer yet");
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    let told = drain(&mut call);
    assert_eq!(told[told.len() - 2..], ["media expect L1", "L1 answer"]);
    let party = told.iter().position(|t| t == "L1 party 601 Berta");
    assert!(party.is_some_and(|at| at + 1 < told.len()), "before the answer: {told:?}");
    assert!(says(&mut call, B, named("601", "Berta")).is_empty());
    assert_eq!(says(&mut call, B, named("602", "Carl")), ["L1 party 602 Carl"]);
    assert_eq!(says(&mut call, A, named("102", "Dora")), ["L2 party 102 Dora"]);
    // what one is told and says again in its own name is one word for the other, and the end of it
    assert_eq!(says(&mut call, A, named("602", "Carl")), ["L2 party 602 Carl"]);
    assert!(says(&mut call, A, named("602", "Carl")).is_empty());
}

#[test]
fn of_a_callee_that_says_nothing_its_caller_knows_whom_it_called() {
    let t0 = Instant::now();
    let mut call = dialed(None, t0);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert!(introduced(&mut call).is_empty());
    // and of a caller that is handed over while it rings, the callee hears with the answer
    let mut call = dialed(None, t0);
    assert!(says(&mut call, A, named("102", "Dora")).is_empty());
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert_eq!(introduced(&mut call), ["L2 party 102 Dora"]);
}

#[test]
fn who_asks_not_to_be_named_is_told_with_that_word() {
    let mut call = active(Instant::now());
    let withheld = Some(named("4711", "").shown);
    let hidden = Stated { withheld, is_private: true, ..named("anonymous", "Anonymous") };
    assert_eq!(says(&mut call, B, hidden), ["L1 party anonymous Anonymous withheld 4711 private"]);
}

#[test]
fn who_stays_hears_of_the_new_party_and_that_one_of_who_stays_by_the_name_it_has_by_then() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.caller.party.profile = plain();
    says(&mut call, A, named("102", "Dora"));
    let wish = Wish { source: Source::Trunk("pbx".into()), by: None, to: TransferTo::Number("700".into()) };
    call.handle_leg(t0, B, LegEvent::Transfer(Box::new(wish)));
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, C, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(9) });
    let dialed = std::iter::from_fn(|| call.poll_output()).find_map(|output| match output {
        Output::Leg(C, LegCommand::Dial(dial)) => Some(dial.from),
        _ => None,
    });
    assert_eq!(dialed, Some(named("102", "Dora").shown));
    assert!(says(&mut call, C, named("701", "Emil")).is_empty(), "it only rings");
    call.handle_leg(t0, C, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert_eq!(introduced(&mut call), ["L1 party 701 Emil"]);
    // one that says nothing is known by its number
    let mut call = active(t0);
    call.handle_leg(t0, B, to_target());
    call.handle_opened(t0, C, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(9) });
    assert_eq!(says(&mut call, B, named("603", "Fritz")), ["L1 party 603 Fritz"], "the two talk on");
    call.handle_leg(t0, C, LegEvent::Progress { answer: Some(sdp(8)), delay: None });
    assert!(says(&mut call, B, named("604", "Gerd")).is_empty(), "who stays hears the new one ring");
    drain(&mut call);
    call.handle_leg(t0, C, LegEvent::Ended(Cause::Busy.into()));
    assert_eq!(introduced(&mut call), ["L1 party 604 Gerd"], "and is back with who hands over");
    call.handle_leg(t0, B, to_target());
    call.handle_opened(t0, D, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: D, sdp: sdp(9) });
    call.handle_leg(t0, D, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert_eq!(introduced(&mut call), ["L1 party 600"]);
}

#[test]
fn a_leg_that_takes_a_place_and_the_one_it_talks_to_hear_of_each_other() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.replace(B, newcomer(Some(sdp(20))));
    call.handle_media(t0, MediaEvent::Answer { leg: C, sdp: sdp(21) });
    let told =
        drain(&mut call).into_iter().filter(|t| t.contains("L1") || t.contains("L3 ")).collect::<Vec<_>>();
    let order: Vec<&str> =
        told.iter().map(String::as_str).filter(|t| t.contains("party") || t.contains("answer")).collect();
    let from = newcomer(None).from.user;
    assert_eq!(order, ["L3 party anna", "L3 answer v21", format!("L1 party {from}").as_str()]);
    // it waits in the stead of who called: whom that one has called is news to it
    let mut call = dialed(None, t0);
    call.replace(A, newcomer(Some(sdp(20))));
    drain(&mut call);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    assert_eq!(introduced(&mut call), ["L3 party 600".to_owned(), format!("L2 party {from}")]);
}
