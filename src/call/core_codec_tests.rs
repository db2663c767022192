//! A party speaks another codec than the other one.

use super::core_tests::*;
use super::*;

fn no_codec() -> MediaRefusal {
    MediaRefusal::NoCommonCodec { offered: vec!["PCMA".into()], wanted: vec!["PCMU".into()] }
}

#[test]
fn an_answer_with_another_codec_than_early_media_had_is_taken_and_the_caller_offered_that_rfc_3261_13_2_2_4()
{
    let t0 = now();
    let early = |profile: LegProfile| {
        let mut call = routed(Some(sdp(1)), t0, &[1]);
        call.caller.party.profile = profile;
        ring(&mut call, B);
        call.handle_leg(t0, B, LegEvent::Progress { answer: Some(sdp(7)), delay: None });
        call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
        call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(2) });
        call.handle_media(t0, MediaEvent::Connected { leg: A, codec: Codec::Pcmu });
        call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
        drain(&mut call);
        call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
        call
    };
    let mut call = early(plain());
    assert_eq!(drain(&mut call), ["media free-codec L1 true", "media accept-answer L2 v8"]);
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    assert_eq!(drain(&mut call)[..2], ["media free-codec L1 false", "media create-offer L1"]);
    call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(3) });
    call.handle_leg(t0, A, LegEvent::OfferAnswered(sdp(4)));
    assert_eq!(drain(&mut call), ["L1 offer v3", "media accept-answer L1 v4"]);
    assert!(call.is_active());
    // nor is there another codec
    let mut call = early(plain());
    drain(&mut call);
    call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
    assert_eq!(drain(&mut call)[..2], ["L1 hangup no-common-codec", "L2 hangup no-common-codec"]);
    // a caller that takes no offers hears nothing any more: the end, and no call without sound
    let mut call = early(webrtc());
    assert_eq!(drain(&mut call)[..2], ["L1 hangup no-common-codec", "L2 hangup no-common-codec"]);
}

#[test]
fn a_party_that_offers_another_codec_within_the_call_has_the_other_one_offered_it() {
    let t0 = now();
    for (offers, other) in [(A, B), (B, A)] {
        let mut call = active(t0);
        for leg in [A, B] {
            call.party_mut(leg).unwrap().profile = plain();
            call.handle_media(t0, MediaEvent::Connected { leg, codec: Codec::Pcmu });
        }
        drain(&mut call);
        call.handle_leg(t0, offers, LegEvent::Offer(sdp(5)));
        call.handle_media(t0, MediaEvent::Refused { leg: offers, refusal: no_codec() });
        call.handle_media(t0, MediaEvent::OfferGood { leg: offers });
        call.handle_media(t0, MediaEvent::Offer { leg: other, sdp: sdp(8) });
        let words = [
            format!("media accept-offer {offers} v5"),
            format!("media check-offer {offers} v5"),
            format!("media create-offer {other}"),
            format!("{other} offer v8"),
        ];
        assert_eq!(drain(&mut call), words, "it is answered when the other one has");
        call.handle_leg(t0, other, LegEvent::OfferAnswered(sdp(9)));
        let words = [
            format!("media accept-answer {other} v9"),
            format!("media free-codec {offers} false"),
            format!("media accept-offer {offers} v5"),
        ];
        assert_eq!(drain(&mut call), words);
        call.handle_media(t0, MediaEvent::Connected { leg: other, codec: Codec::Pcma });
        call.handle_media(t0, MediaEvent::Answer { leg: offers, sdp: sdp(6) });
        call.handle_media(t0, MediaEvent::Connected { leg: offers, codec: Codec::Pcma });
        assert!(drain(&mut call).contains(&format!("{offers} answer-offer v6")));
        // a codec that neither speaks is refused
        call.handle_leg(t0, offers, LegEvent::Offer(sdp(7)));
        drain(&mut call);
        call.party_mut(other).unwrap().profile.takes_reoffer = false;
        call.handle_media(t0, MediaEvent::Refused { leg: offers, refusal: no_codec() });
        assert_eq!(drain(&mut call), [format!("{offers} refuse-offer")]);
        assert!(call.is_active());
    }
}

#[test]
fn a_codec_that_the_other_party_refuses_is_refused_and_the_call_stays_as_it_was_rfc_3261_14_2() {
    let t0 = now();
    for (offers, other) in [(A, B), (B, A)] {
        let asked = || {
            let mut call = active(t0);
            for leg in [A, B] {
                call.party_mut(leg).unwrap().profile = plain();
                call.handle_media(t0, MediaEvent::Connected { leg, codec: Codec::Pcmu });
            }
            call.handle_leg(t0, offers, LegEvent::Offer(sdp(5)));
            call.handle_media(t0, MediaEvent::Refused { leg: offers, refusal: no_codec() });
            drain(&mut call);
            call
        };
        let refused = [format!("media free-codec {offers} false"), format!("{offers} refuse-offer")];
        let stays = |mut call: Call| {
            assert_eq!(drain(&mut call), refused);
            assert!(call.is_active());
            // and the next offer of either is served
            call.handle_leg(t0, offers, LegEvent::Offer(sdp(9)));
            call.handle_media(t0, MediaEvent::Answer { leg: offers, sdp: sdp(10) });
            call.handle_leg(t0, other, LegEvent::Offer(sdp(11)));
            let words = [
                format!("media accept-offer {offers} v9"),
                format!("{offers} answer-offer v10"),
                format!("media accept-offer {other} v11"),
            ];
            assert_eq!(drain(&mut call), words);
        };
        // by its far side, whatever it says
        for cause in [Cause::NoCommonCodec, Cause::RemoteFailure] {
            let mut call = asked();
            call.handle_media(t0, MediaEvent::OfferGood { leg: offers });
            call.handle_media(t0, MediaEvent::Offer { leg: other, sdp: sdp(8) });
            drain(&mut call);
            call.handle_leg(t0, other, LegEvent::OfferRefused(cause));
            stays(call);
        }
        // because its trunk shall not speak it
        let mut call = asked();
        call.handle_media(t0, MediaEvent::OfferGood { leg: offers });
        drain(&mut call);
        call.handle_media(t0, MediaEvent::Refused { leg: other, refusal: no_codec() });
        stays(call);
        // because what is offered can be served nowhere
        let mut call = asked();
        call.handle_media(t0, MediaEvent::Refused { leg: offers, refusal: no_codec() });
        stays(call);
        // an offer of its own has come first
        let mut call = asked();
        call.handle_leg(t0, other, LegEvent::Offer(sdp(6)));
        call.handle_media(t0, MediaEvent::OfferGood { leg: offers });
        let words = [&[format!("media accept-offer {other} v6")][..], &refused].concat();
        assert_eq!(drain(&mut call), words);
        // and one that comes while it is asked is refused
        let mut call = asked();
        call.handle_media(t0, MediaEvent::OfferGood { leg: offers });
        call.handle_leg(t0, other, LegEvent::Offer(sdp(6)));
        assert_eq!(drain(&mut call).last().unwrap(), &format!("{other} refuse-offer"));
    }
}

/// A browser and a PBX talk by PCMU, and the browser has offered another codec.
fn offered_by_browser(t0: Instant) -> Call {
    let mut call = active(t0);
    for leg in [A, B] {
        call.handle_media(t0, MediaEvent::Connected { leg, codec: Codec::Pcmu });
    }
    drain(&mut call);
    call.handle_leg(t0, A, LegEvent::Offer(sdp(5)));
    call.handle_media(t0, MediaEvent::Refused { leg: A, refusal: no_codec() });
    assert_eq!(drain(&mut call), ["media accept-offer L1 v5", "media check-offer L1 v5"]);
    call.handle_media(t0, MediaEvent::OfferGood { leg: A });
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(8) });
    assert_eq!(drain(&mut call), ["media create-offer L2", "L2 offer v8"]);
    call
}

#[test]
fn a_browsers_offer_of_another_codec_waits_for_the_pbx_and_is_refused_as_it_refuses() {
    let t0 = now();
    for cause in [Cause::NoCommonCodec, Cause::RemoteFailure] {
        let mut call = offered_by_browser(t0);
        call.handle_leg(t0, B, LegEvent::OfferRefused(cause));
        assert_eq!(drain(&mut call), ["media free-codec L1 false", "L1 refuse-offer"]);
        assert!(call.is_active(), "and the two go on as they were");
        call.handle_leg(t0, A, LegEvent::Offer(sdp(9)));
        assert_eq!(drain(&mut call), ["media accept-offer L1 v9"]);
    }
    let mut call = offered_by_browser(t0);
    call.handle_leg(t0, B, LegEvent::OfferAnswered(sdp(6)));
    let words = ["media accept-answer L2 v6", "media free-codec L1 false", "media accept-offer L1 v5"];
    assert_eq!(drain(&mut call), words);
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(7) });
    assert!(drain(&mut call).contains(&"L1 answer-offer v7".to_owned()));
    call.handle_media(t0, MediaEvent::Connected { leg: A, codec: Codec::Pcma });
    assert!(!drain(&mut call).join(" ").contains("offer"), "nothing is left to be asked");
    // a browser that is called, and changes; the PBX has called
    let mut call = active(t0);
    call.party_mut(A).unwrap().profile = plain();
    call.party_mut(B).unwrap().profile = webrtc();
    drain(&mut call);
    call.handle_leg(t0, B, LegEvent::Offer(sdp(5)));
    call.handle_media(t0, MediaEvent::Refused { leg: B, refusal: no_codec() });
    call.handle_media(t0, MediaEvent::OfferGood { leg: B });
    call.handle_media(t0, MediaEvent::Offer { leg: A, sdp: sdp(8) });
    call.handle_leg(t0, A, LegEvent::OfferRefused(Cause::NoCommonCodec));
    assert_eq!(drain(&mut call)[4..], ["media free-codec L2 false", "L2 refuse-offer"]);
    assert!(call.is_active());
}

#[test]
fn a_browser_whose_new_transport_does_not_come_up_has_the_pbx_offered_the_codec_of_before() {
    let t0 = now();
    let mut call = offered_by_browser(t0);
    call.handle_leg(t0, B, LegEvent::OfferAnswered(sdp(6)));
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    call.handle_media(t0, MediaEvent::Answer { leg: A, sdp: sdp(7) });
    drain(&mut call);
    call.handle_media(t0, MediaEvent::Failed { leg: A, cause: Cause::IceFailed });
    assert_eq!(drain(&mut call).last().unwrap(), "media create-offer L2");
    // and where nothing was changed nothing is offered
    let mut call = active(t0);
    for leg in [A, B] {
        call.handle_media(t0, MediaEvent::Connected { leg, codec: Codec::Pcmu });
    }
    call.handle_media(t0, MediaEvent::Failed { leg: A, cause: Cause::IceFailed });
    assert!(!drain(&mut call).join(" ").contains("create-offer"));
}

#[test]
fn a_browser_that_goes_while_its_offer_waits_has_taken_it_back() {
    let t0 = now();
    let mut call = offered_by_browser(t0);
    call.handle_leg(t0, A, LegEvent::Detached);
    assert_eq!(drain(&mut call), ["media free-codec L1 false", "L1 refuse-offer", "media detach L1"]);
    call.handle_leg(t0, B, LegEvent::OfferAnswered(sdp(6)));
    assert_eq!(drain(&mut call), ["media accept-answer L2 v6"], "nothing is served that nobody waits for");
}

#[test]
fn the_log_hears_of_a_description_that_cannot_be_served_and_of_none_that_is() {
    let t0 = now();
    let refusals = |call: &mut Call| {
        let outputs = std::iter::from_fn(|| call.poll_output());
        outputs.filter(|output| matches!(output, Output::Note(Note::MediaRefused(..)))).count()
    };
    let offered = || {
        let mut call = active(t0);
        call.handle_leg(t0, A, LegEvent::Offer(sdp(5)));
        call.handle_media(t0, MediaEvent::Refused { leg: A, refusal: no_codec() });
        call
    };
    let mut call = offered();
    assert_eq!(refusals(&mut call), 0, "the PBX is asked");
    call.handle_media(t0, MediaEvent::Refused { leg: A, refusal: no_codec() });
    assert_eq!(refusals(&mut call), 1, "it can be served nowhere");
    let mut call = offered();
    call.party_mut(B).unwrap().profile.takes_reoffer = false;
    call.change = None;
    call.party_mut(A).unwrap().is_asking = false;
    refusals(&mut call);
    call.handle_leg(t0, A, LegEvent::Offer(sdp(6)));
    call.handle_media(t0, MediaEvent::Refused { leg: A, refusal: no_codec() });
    assert_eq!(refusals(&mut call), 1, "nobody can be asked");
}

#[test]
fn a_party_that_sends_another_codec_than_the_one_in_use_is_offered_that_one_alone() {
    let t0 = now();
    let mut call = active(t0);
    call.handle_media(t0, MediaEvent::OtherCodec { leg: B });
    call.handle_media(t0, MediaEvent::OtherCodec { leg: B });
    assert_eq!(drain(&mut call), ["media create-offer L2"], "once");
    call.handle_media(t0, MediaEvent::OtherCodec { leg: A });
    assert!(drain(&mut call).is_empty(), "a browser takes no offers");
}

#[test]
fn an_answer_that_media_took_is_not_looked_at_again_and_a_later_one_that_it_refuses_ends_nothing() {
    let t0 = now();
    let mut call = active(t0);
    // early media had its codec: media says nothing of the answer
    call.party_mut(B).unwrap().is_negotiated = true;
    call.handle_leg(t0, A, LegEvent::Hold(true));
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(9) });
    call.handle_leg(t0, B, LegEvent::OfferAnswered(sdp(10)));
    drain(&mut call);
    for refusal in [no_codec(), MediaRefusal::Unusable("no address")] {
        call.handle_media(t0, MediaEvent::Refused { leg: B, refusal });
        assert!(drain(&mut call).is_empty() && call.is_active(), "the call stays as it was (RFC 3261 §14.1)");
    }
}
