//! Offers before a call is answered: of either side, and ours to a caller who made none.

use super::core_tests::*;
use super::core_transfer_tests::newcomer;
use super::*;
use crate::call::port::Codec;

/// A trunk calls a trunk, and the called side was dialled; outputs drained.
fn trunks(offer: Option<Box<SessionDescription>>, early_offer: EarlyOffer, t0: Instant) -> Call {
    let mut call = call(offer);
    call.caller.party.profile = plain();
    call.caller.incoming.early_offer = early_offer;
    call.start();
    call.handle_media(t0, MediaEvent::OfferGood { leg: A });
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, B, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(7) });
    drain(&mut call);
    call
}

/// The same with early media both ways.
fn early(t0: Instant) -> Call {
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(3) });
    call.handle_media(t0, MediaEvent::Connected { leg: A, codec: Codec::Pcmu });
    assert!(drain(&mut call).contains(&"L1 progress v3".to_owned()));
    call
}

#[test]
fn who_is_queued_with_an_announcement_stays_queued_until_it_rings() {
    let t0 = Instant::now();
    let queued = Some(Delay::Queued);
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: queued });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call).last().unwrap(), "L1 progress v3 queued");
    // its place in the queue changes
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: queued });
    assert_eq!(drain(&mut call).last().unwrap(), "L1 progress v3 queued");
    call.handle_leg(t0, B, LegEvent::Ringing);
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    assert_eq!(drain(&mut call).last().unwrap(), "L1 progress v3");
}

#[test]
fn an_offer_of_either_side_before_the_answer_is_for_its_media_alone() {
    let t0 = Instant::now();
    for leg in [A, B] {
        let mut call = early(t0);
        call.handle_leg(t0, leg, LegEvent::Offer(sdp(4)));
        assert_eq!(drain(&mut call), [format!("media accept-offer {leg} v4")]);
        call.handle_media(t0, MediaEvent::Answer { leg, sdp: sdp(5) });
        assert_eq!(drain(&mut call), [format!("{leg} answer-offer v5")]);
        // and one that cannot be served ends nothing
        call.handle_leg(t0, leg, LegEvent::Offer(sdp(6)));
        call.handle_media(t0, MediaEvent::Refused { leg, refusal: MediaRefusal::Congestion });
        assert_eq!(drain(&mut call)[1..], [format!("{leg} refuse-offer")]);
        assert!(call.has_leg(A) && call.has_leg(B));
    }
}

#[test]
fn a_caller_without_an_offer_gets_ours_with_early_media_and_the_answer_says_it_again() {
    let t0 = Instant::now();
    let mut call = trunks(None, EarlyOffer::Possible, t0);
    call.handle_leg(t0, B, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L1 ring"], "which needs none");
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    assert!(drain(&mut call).contains(&"media create-offer L1".to_owned()));
    call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call), ["L1 progress v3"]);
    call.handle_leg(t0, A, LegEvent::OfferAnswered(sdp(4)));
    assert_eq!(drain(&mut call), ["media accept-answer L1 v4"]);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Nothing });
    let told = drain(&mut call);
    assert!(
        told.contains(&"L1 answer v3".to_owned()) && !told.join(" ").contains("create-offer"),
        "{told:?}"
    );
}

#[test]
fn a_caller_who_needs_it_gets_it_when_it_rings_and_one_who_does_not_take_it_with_the_answer() {
    let t0 = Instant::now();
    let mut call = trunks(None, EarlyOffer::Needed, t0);
    call.handle_leg(t0, B, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L1 ring", "media create-offer L1"]);
    // media is asked once, however soon the answer comes
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(2)) });
    assert!(!drain(&mut call).join(" ").contains("create-offer"));
    call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call), ["L1 answer v3"]);
    let mut call = trunks(None, EarlyOffer::No, t0);
    call.handle_leg(t0, B, LegEvent::Ringing);
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    assert!(!drain(&mut call).join(" ").contains("create-offer"));
}

#[test]
fn who_holds_before_the_answer_has_the_other_told_at_once_or_with_the_answer() {
    let t0 = Instant::now();
    let mut call = early(t0);
    call.handle_leg(t0, A, LegEvent::Hold(true));
    assert_eq!(drain(&mut call), ["media hold L1 true", "media create-offer L2"]);
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(8) });
    assert_eq!(drain(&mut call), ["L2 offer v8"]);
    // it does not take one yet
    call.handle_leg(t0, B, LegEvent::OfferRefused(Cause::Congestion));
    assert_eq!(drain(&mut call).len(), 0);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Nothing });
    assert!(drain(&mut call).contains(&"media create-offer L2".to_owned()));
    // nor could it be told of it while the first offer was open
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.handle_leg(t0, A, LegEvent::Hold(true));
    assert_eq!(drain(&mut call), ["media hold L1 true"]);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(2)) });
    assert!(drain(&mut call).contains(&"media create-offer L2".to_owned()));
}

#[test]
fn a_party_that_rings_and_offers_another_codec_has_the_caller_offered_it_now_or_with_the_answer() {
    let t0 = Instant::now();
    let no_codec = || MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    let asked = || {
        let mut call = early(t0);
        call.handle_leg(t0, B, LegEvent::Offer(sdp(4)));
        call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
        call.handle_media(t0, MediaEvent::OfferGood { leg: B });
        call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(6) });
        assert_eq!(
            drain(&mut call)[1..],
            ["media check-offer L2 v4", "media create-offer L1", "L1 offer v6"]
        );
        call
    };
    let answers = |call: &mut Call| {
        call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Nothing });
        drain(call).join(", ")
    };
    let mut call = asked();
    call.handle_leg(t0, A, LegEvent::OfferAnswered(sdp(7)));
    call.handle_media(t0, MediaEvent::Connected { leg: A, codec: Codec::Pcma });
    call.handle_media(t0, MediaEvent::Answer { leg: B, sdp: sdp(5) });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    let told = drain(&mut call).join(", ");
    let change = "media accept-answer L1 v7, media free-codec L2 false, media accept-offer L2 v4";
    assert!(told.starts_with(change) && told.contains("L2 answer-offer v5"), "{told}");
    let told = answers(&mut call);
    assert!(told.contains("L1 answer v3") && !told.contains("create-offer"), "{told}");
    // a caller that takes no offers before the answer gets it with that
    let mut call = asked();
    call.handle_leg(t0, A, LegEvent::OfferRefused(Cause::RemoteFailure));
    let later = ["media free-codec L1 true", "media free-codec L2 false", "media accept-offer L2 v4"];
    assert_eq!(drain(&mut call), later);
    call.handle_media(t0, MediaEvent::Answer { leg: B, sdp: sdp(5) });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(6) });
    call.handle_leg(t0, A, LegEvent::OfferRefused(Cause::RemoteFailure));
    drain(&mut call);
    let told = answers(&mut call);
    assert!(told.contains("L1 answer v3") && told.contains("media create-offer L1"), "{told}");
    // one that refuses the codec is left with its own, and so is who rings
    let mut call = asked();
    call.handle_leg(t0, A, LegEvent::OfferRefused(Cause::NoCommonCodec));
    assert_eq!(drain(&mut call), ["media free-codec L2 false", "L2 refuse-offer"]);
    let told = answers(&mut call);
    assert!(told.contains("L1 answer v3") && !told.contains("create-offer"), "{told}");
    // and one that the caller cannot speak either is refused
    let mut call = early(t0);
    call.handle_leg(t0, B, LegEvent::Offer(sdp(4)));
    call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
    call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
    assert_eq!(drain(&mut call).last().unwrap(), "L2 refuse-offer");
}

const C: LegId = LegId(3);
const D: LegId = LegId(4);

#[test]
fn a_call_that_rings_is_picked_up_and_who_rings_hears_that_it_was_answered_elsewhere_rfc_3891_3() {
    let t0 = Instant::now();
    // before and after there was early media
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    assert_eq!(call.replace(B, newcomer(Some(sdp(20)))), Some(C));
    assert_eq!(drain(&mut call), ["media accept-offer L3 v20"]);
    assert_eq!(call.replace(B, newcomer(None)), None, "somebody does it already");
    call.handle_media(t0, MediaEvent::Answer { leg: C, sdp: sdp(21) });
    let expected = [
        "L3 party anna",
        "L3 answer v21",
        "L2 hangup answered-elsewhere",
        "media release L2",
        "media bridge L1 L3",
        "media expect L3",
        "L1 party 200",
    ];
    let told = drain(&mut call);
    assert_eq!(told[..7], expected);
    assert_eq!(told[7..], ["media expect L1", "media accept-offer L1 v1"]);
    call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call), ["L1 answer v3"]);
    assert!(call.is_active() && call.has_leg(C) && !call.has_leg(B));
    let mut call = early(t0);
    call.replace(B, newcomer(None));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(30) });
    let told = drain(&mut call);
    assert!(
        told.contains(&"L3 answer v30".to_owned()) && told.contains(&"L1 answer v3".to_owned()),
        "{told:?}"
    );
    // who brought no offer answers ours with its ACK
    call.handle_leg(t0, C, LegEvent::OfferAnswered(sdp(31)));
    assert_eq!(drain(&mut call), ["media accept-answer L3 v31"]);
}

#[test]
fn who_cannot_pick_a_call_up_leaves_it_ringing() {
    let t0 = Instant::now();
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.replace(B, newcomer(Some(sdp(20))));
    call.handle_media(t0, MediaEvent::Refused { leg: C, refusal: MediaRefusal::Congestion });
    call.replace(B, newcomer(Some(sdp(20))));
    call.handle_leg(t0, D, LegEvent::Ended(Cause::Cancelled.into()));
    assert!(call.has_leg(A) && call.has_leg(B) && !call.has_leg(C) && !call.has_leg(D));
    drain(&mut call);
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(2)) });
    assert!(drain(&mut call).contains(&"media bridge L1 L2".to_owned()) || call.is_active());
    assert_eq!(call.replace(LegId(9), newcomer(None)), None, "it is no leg of this call");
}

#[test]
fn who_has_a_call_placed_is_replaced_while_it_rings_and_the_other_one_waits_in_its_stead() {
    let t0 = Instant::now();
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.handle_leg(t0, B, LegEvent::Ringing);
    drain(&mut call);
    assert_eq!(call.replace(A, newcomer(Some(sdp(20)))), Some(C));
    assert_eq!(
        drain(&mut call),
        [
            "media bridge L3 L2",
            "L1 hangup transferred",
            "media release L1",
            "L3 ring",
            "media check-offer L3 v20"
        ]
    );
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(2)) });
    assert!(drain(&mut call).contains(&"media accept-offer L3 v20".to_owned()));
    call.handle_media(t0, MediaEvent::Answer { leg: C, sdp: sdp(21) });
    assert_eq!(drain(&mut call), ["L3 answer v21"]);
    // where there is early media, it hears that
    let mut call = early(t0);
    call.replace(A, newcomer(Some(sdp(20))));
    assert_eq!(drain(&mut call).last().unwrap(), "media accept-offer L3 v20");
    call.handle_media(t0, MediaEvent::Answer { leg: C, sdp: sdp(21) });
    assert_eq!(drain(&mut call), ["L3 progress v21"]);
    call.handle_leg(t0, C, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(drain(&mut call).last().unwrap(), "ended cancelled");
}

/// What a caller is told of being heard before the answer.
fn hears(call: &mut Call) -> Vec<String> {
    drain(call).into_iter().filter(|told| told.contains("early-media")).collect()
}

#[test]
fn a_caller_is_told_when_who_rings_begins_to_hear_it_and_when_nobody_does_any_more() {
    let t0 = Instant::now();
    let mut call = call(None);
    call.start();
    let next = Attempt { continues: true, ..attempt() };
    call.handle_route(t0, Ok(vec![attempt(), next]));
    call.handle_opened(t0, B, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(7) });
    call.handle_leg(t0, B, LegEvent::Ringing);
    call.handle_leg(t0, B, LegEvent::Progress { answer: None, delay: None });
    assert!(hears(&mut call).is_empty(), "it rings, and has no media");
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    assert_eq!(hears(&mut call), ["L1 early-media true"], "once");
    // another one is rung, and its browser, which has media, hears nobody before it answers
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Unavailable.into()));
    assert_eq!(hears(&mut call), ["L1 early-media false"]);
    call.handle_opened(t0, C, Ok(webrtc()));
    call.handle_leg(t0, C, LegEvent::Ringing);
    call.handle_media(t0, MediaEvent::Connected { leg: C, codec: Codec::Pcmu });
    call.handle_leg(t0, C, LegEvent::Answered { answer: Answered::Nothing });
    assert!(hears(&mut call).is_empty(), "the answer says it");
    // who waits in the stead of who called is told as well
    let mut call = trunks(Some(sdp(1)), EarlyOffer::No, t0);
    call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(2)), delay: None });
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.replace(A, newcomer(Some(sdp(20))));
    assert_eq!(hears(&mut call), ["L1 early-media true", "L3 early-media true"]);
    // the time is up
    call.handle_timeout(t0 + Duration::from_secs(60));
    assert!(!call.has_leg(B) && hears(&mut call).is_empty(), "the end says it");
}

#[test]
fn keys_that_signalling_tells_before_the_answer_go_to_the_other_side_from_either() {
    let t0 = Instant::now();
    let key = |c| DtmfDigit { digit: crate::base::Digit::from_char(c).unwrap(), duration: KEY_DURATION };
    let mut call = early(t0);
    call.handle_leg(t0, A, LegEvent::Pressed(key('5')));
    call.handle_leg(t0, B, LegEvent::Pressed(key('6')));
    call.handle_timeout(t0 + Duration::from_millis(200));
    assert_eq!(drain(&mut call), ["media send L2 5", "L2 dtmf 5", "media send L1 6", "L1 dtmf 6"]);
}
