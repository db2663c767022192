//! One party hands the other over, and a leg takes another's place.

use super::core_tests::*;
use super::*;
use crate::call::leg::{Diversion, Particulars, Transfer as Wish, TransferTo};
use crate::call::route::Source;

const D: LegId = LegId(4);

fn wish(to: TransferTo) -> LegEvent {
    let by = Some(Person { user: "desk".into(), display: None });
    LegEvent::Transfer(Box::new(Wish { source: Source::Trunk("pbx".into()), by, to }))
}

fn to_number() -> LegEvent {
    wish(TransferTo::Number("700".into()))
}

/// B has A handed over; the new party is opened, offered and dialled. Outputs drained.
fn transferring(t0: Instant) -> Call {
    let mut call = active(t0);
    call.handle_leg(t0, B, to_number());
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, C, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(20) });
    drain(&mut call);
    call
}

fn answers(call: &mut Call, leg: LegId) {
    call.handle_leg(Instant::now(), leg, LegEvent::Answered { answer: Answered::Sdp(sdp(21)) });
}

#[test]
fn who_is_handed_over_talks_on_until_the_new_party_answers_and_is_offered_nothing() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.handle_leg(t0, B, to_number());
    assert_eq!(drain(&mut call), ["L2 notify Trying", "route 700"]);
    assert_eq!(
        (&call.caller.incoming.source, call.caller.incoming.from.user.as_str()),
        (&Source::Trunk("pbx".into()), "anna"),
        "the rights of who transfers, and the number of who stays"
    );
    call.handle_route(t0, Ok(vec![attempt()]));
    assert_eq!(drain(&mut call), ["open L3 600"]);
    call.handle_opened(t0, C, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(20) });
    assert_eq!(drain(&mut call), ["media create-offer L3", "L3 dial v20"]);
    call.handle_leg(t0, C, LegEvent::Ringing);
    call.handle_leg(t0, C, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L2 notify Ringing"]);
    answers(&mut call, C);
    assert_eq!(
        drain(&mut call),
        [
            "media bridge L1 L3",
            "media accept-answer L3 v21",
            "media expect L3",
            "L2 notify Done",
            "L2 hangup transferred",
            "media release L2"
        ]
    );
    assert!(call.is_active() && !call.has_leg(B) && call.poll_timeout().is_none());
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    assert!(drain(&mut call).is_empty(), "who has left ends nothing");
    call.handle_leg(t0, C, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(
        drain(&mut call),
        ["L1 hangup normal", "media release L3", "media release L1", "ended normal"]
    );
}

#[test]
fn the_new_party_is_called_for_the_account_that_stays_whichever_side_it_was() {
    let t0 = Instant::now();
    let account = |mut call: Call, by, stays| {
        call.party_mut(stays).unwrap().profile.account = Some("anna".into());
        call.handle_leg(t0, by, to_number());
        call.handle_route(t0, Ok(vec![attempt()]));
        call.handle_opened(t0, C, Ok(plain()));
        call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(20) });
        std::iter::from_fn(|| call.poll_output()).find_map(|output| match output {
            Output::Leg(C, LegCommand::Dial(dial)) => Some(dial.account),
            _ => None,
        })
    };
    for (by, stays) in [(A, B), (B, A)] {
        assert_eq!(account(active(t0), by, stays), Some(Some("anna".into())));
    }
}

#[test]
fn what_went_with_the_call_stays_with_its_caller_but_for_whom_it_was_meant_for() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.caller.incoming.particulars = particulars();
    call.caller.party.who = Stated::caller(&call.caller.incoming.from, &particulars());
    call.handle_leg(t0, B, to_number());
    let wanted = Particulars { diversions: Vec::new(), ..particulars() };
    let Incoming { particulars, to, .. } = &call.caller.incoming;
    assert_eq!((particulars, to.as_str()), (&wanted, "700"), "a forward from there is one of that number");
}

fn particulars() -> Particulars {
    let party = Person { user: "4711".into(), display: None };
    Particulars {
        withheld: Some(party.clone()),
        is_private: true,
        diversions: vec![Diversion { from: party, why: None, is_private: false }],
        extras: vec![("X-Customer".into(), "7".into())],
    }
}

#[test]
fn a_caller_may_hand_over_whom_it_called() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.caller.incoming.particulars = particulars();
    call.handle_leg(t0, A, to_number());
    assert_eq!(drain(&mut call), ["media bridge L2 L1", "L1 notify Trying", "route 700"]);
    assert_eq!(call.caller.incoming.from.user, "600", "the number that was called");
    assert_eq!(call.caller.incoming.particulars, Particulars::default(), "they were of who leaves");
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, C, Ok(plain()));
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(20) });
    drain(&mut call);
    answers(&mut call, C);
    assert_eq!(
        drain(&mut call),
        [
            "media bridge L2 L3",
            "media accept-answer L3 v21",
            "media expect L3",
            "L2 party 600",
            "L1 notify Done",
            "L1 hangup transferred",
            "media release L1"
        ]
    );
    // and an offer of ours to who stays is one within the call
    call.handle_leg(t0, B, LegEvent::OfferRequested);
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(30) });
    assert_eq!(drain(&mut call), ["media create-offer L2", "L2 offer v30"]);
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(
        drain(&mut call),
        ["L3 hangup normal", "media release L3", "media release L2", "ended normal"]
    );
}

#[test]
fn a_transfer_that_comes_to_nothing_leaves_the_call_as_it_was() {
    let t0 = Instant::now();
    let mut none = active(t0);
    none.handle_leg(t0, B, to_number());
    none.handle_route(t0, Err(Cause::NotFound));
    assert_eq!(drain(&mut none), ["L2 notify Trying", "route 700", "L2 notify Failed(NotFound)"]);
    let mut busy = transferring(t0);
    busy.handle_leg(t0, C, LegEvent::Progress { answer: Some(sdp(21)), delay: None });
    assert_eq!(drain(&mut busy), ["media accept-answer L3 v21", "media bridge L1 L3"]);
    busy.handle_leg(t0, C, LegEvent::Ended(Cause::Busy.into()));
    assert_eq!(drain(&mut busy), ["media release L3", "L2 notify Failed(Busy)", "media bridge L1 L2"]);
    let mut late = transferring(t0);
    late.handle_timeout(t0 + DEFAULT_RING_TIMEOUT);
    assert_eq!(drain(&mut late), ["L3 hangup no-answer", "media release L3", "L2 notify Failed(NoAnswer)"]);
    for mut call in [none, busy, late] {
        assert!(call.is_active() && call.poll_timeout().is_none());
        call.handle_leg(t0, B, to_number());
        assert_eq!(drain(&mut call), ["L2 notify Trying", "route 700"], "and it may be tried again");
    }
}

#[test]
fn who_transfers_may_leave_before_anybody_has_answered() {
    let t0 = Instant::now();
    let mut call = transferring(t0);
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(drain(&mut call), ["media release L2"]);
    answers(&mut call, C);
    assert_eq!(drain(&mut call), ["media bridge L1 L3", "media accept-answer L3 v21", "media expect L3"]);
    assert!(call.is_active());
    // with nobody to go back to, a failure ends the call
    let mut call = transferring(t0);
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    call.handle_leg(t0, C, LegEvent::Ended(Cause::Declined.into()));
    assert_eq!(
        drain(&mut call),
        ["media release L2", "media release L3", "L1 hangup declined", "media release L1", "ended declined"]
    );
    // and while the route is looked for
    let mut call = active(t0);
    call.handle_leg(t0, B, to_number());
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    call.handle_route(t0, Ok(vec![attempt()]));
    assert_eq!(drain(&mut call).last().unwrap(), "open L3 600");
    call.handle_opened(t0, C, Ok(plain()));
    assert_eq!(drain(&mut call), ["media bridge L1 L3", "media create-offer L3"]);
}

#[test]
fn who_stays_may_hang_up_and_ends_it_all() {
    let t0 = Instant::now();
    let mut call = transferring(t0);
    call.handle_leg(t0, A, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(
        drain(&mut call),
        [
            "L2 hangup normal",
            "media release L2",
            "L3 hangup normal",
            "media release L3",
            "media release L1",
            "ended normal"
        ]
    );
}

#[test]
fn who_transfers_may_fall_silent() {
    let t0 = Instant::now();
    let mut call = transferring(t0);
    call.handle_media(t0, MediaEvent::Lost { leg: B, cause: Cause::MediaTimeout });
    let words = drain(&mut call);
    assert!(words.ends_with(&["L2 hangup media-timeout".into(), "media release L2".into()]), "{words:?}");
    assert!(call.is_active());
}

#[test]
fn a_second_transfer_waits_for_the_first_and_one_before_the_answer_is_refused() {
    let t0 = Instant::now();
    let mut call = transferring(t0);
    for leg in [A, B] {
        call.handle_leg(t0, leg, to_number());
        assert_eq!(drain(&mut call), [format!("{leg} notify Failed(Unavailable)")]);
    }
    let mut early = dialed(None, t0);
    early.handle_leg(t0, B, to_number());
    assert_eq!(drain(&mut early), ["L2 notify Failed(Unavailable)"]);
    early.handle_leg(t0, LegId(99), to_number());
    assert!(drain(&mut early).is_empty());
}

#[test]
fn a_target_of_the_edge_is_dialled_without_a_route_and_told_what_it_takes_over() {
    let t0 = Instant::now();
    let mut call = active(t0);
    let to = TransferTo::Target { target: target(), takes_over: Some("a call".into()) };
    call.handle_leg(t0, B, wish(to));
    assert_eq!(drain(&mut call), ["L2 notify Trying", "open L3 600"]);
    call.handle_opened(t0, C, Ok(webrtc()));
    let dial = std::iter::from_fn(|| call.poll_output()).find_map(|output| match output {
        Output::Leg(C, LegCommand::Dial(dial)) => Some(dial),
        _ => None,
    });
    let dial = dial.unwrap();
    assert_eq!(dial.takes_over.as_deref(), Some("a call"));
    assert_eq!((dial.transferred_by.unwrap().user.as_str(), dial.from.user.as_str()), ("desk", "anna"));
}

#[test]
fn the_partner_of_a_leg_of_another_call_is_a_target_that_no_route_can_name() {
    let call = crate::base::CallId::from_bits(7);
    let target = Target::partner_of(call, LegId(5));
    assert_eq!(target.as_partner_of(), Some((call, LegId(5))));
    assert_eq!(attempt().targets[0].as_partner_of(), None);
}

/// A trunk that talks PCMU hands over to one that speaks no PCMU.
fn other_codec(t0: Instant) -> Call {
    let mut call = active(t0);
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.handle_leg(t0, A, to_number());
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, C, Ok(plain()));
    drain(&mut call);
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    call.handle_media(t0, MediaEvent::Refused { leg: C, refusal });
    assert_eq!(drain(&mut call), ["media free-codec L2 true", "media create-offer L3"]);
    call.handle_media(t0, MediaEvent::Offer { leg: C, sdp: sdp(20) });
    assert_eq!(drain(&mut call), ["L3 dial v20"]);
    call
}

#[test]
fn who_stays_is_offered_the_codec_of_the_new_party_when_there_is_no_common_one_and_it_takes_offers() {
    let t0 = Instant::now();
    let mut call = other_codec(t0);
    answers(&mut call, C);
    drain(&mut call);
    call.handle_media(t0, MediaEvent::Connected { leg: C, codec: Codec::Pcma });
    assert_eq!(drain(&mut call)[..2], ["media free-codec L2 false", "media create-offer L2"]);
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(30) });
    call.handle_leg(t0, B, LegEvent::OfferAnswered(sdp(31)));
    assert_eq!(drain(&mut call), ["L2 offer v30", "media accept-answer L2 v31"]);
    call.handle_media(t0, MediaEvent::Connected { leg: B, codec: Codec::Pcma });
    assert!(call.is_active() && !call.caller.party.is_free);
    // refused, the two have nothing to say to each other
    let mut call = other_codec(t0);
    answers(&mut call, C);
    call.handle_media(t0, MediaEvent::Connected { leg: C, codec: Codec::Pcma });
    call.handle_media(t0, MediaEvent::Offer { leg: B, sdp: sdp(30) });
    drain(&mut call);
    call.handle_leg(t0, B, LegEvent::OfferRefused(Cause::NoCommonCodec));
    assert_eq!(drain(&mut call).last().unwrap(), "ended no-common-codec");
}

#[test]
fn who_stays_is_offered_the_codec_that_the_new_party_had_while_it_rang() {
    let t0 = Instant::now();
    for codec in [Codec::Pcma, Codec::Pcmu] {
        let mut call = other_codec(t0);
        // who transfers talks on by the codec of who stays
        call.handle_media(t0, MediaEvent::Connected { leg: A, codec: Codec::Pcmu });
        call.handle_leg(t0, C, LegEvent::Progress { answer: Some(sdp(21)), delay: None });
        call.handle_media(t0, MediaEvent::Connected { leg: C, codec });
        let told = drain(&mut call);
        assert!(
            !told.iter().any(|w| w.contains("-codec L2") || w.contains("-offer L2")),
            "they talk on: {told:?}"
        );
        // media has nothing new to say of the answer
        call.handle_leg(t0, C, LegEvent::Answered { answer: Answered::Nothing });
        let told = drain(&mut call);
        assert!(told.contains(&"media free-codec L2 false".to_owned()), "{told:?}");
        let is_offered = told.contains(&"media create-offer L2".to_owned());
        assert_eq!(is_offered, codec != Codec::Pcmu, "{told:?}");
    }
}

#[test]
fn a_party_that_kept_its_codec_after_all_is_offered_nothing() {
    let t0 = Instant::now();
    let mut same = other_codec(t0);
    answers(&mut same, C);
    drain(&mut same);
    same.handle_media(t0, MediaEvent::Connected { leg: C, codec: Codec::Pcmu });
    assert_eq!(drain(&mut same)[0], "media free-codec L2 false");
    assert!(!drain(&mut same).iter().any(|w| w.contains("offer")));
    let mut failed = other_codec(t0);
    failed.handle_leg(t0, C, LegEvent::Ended(Cause::Busy.into()));
    assert!(drain(&mut failed).contains(&"media free-codec L2 false".to_owned()));
    // a browser is not offered anything: there the transfer fails
    let mut browser = active(t0);
    browser.handle_leg(t0, B, to_number());
    browser.handle_route(t0, Ok(vec![attempt()]));
    browser.handle_opened(t0, C, Ok(plain()));
    drain(&mut browser);
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    browser.handle_media(t0, MediaEvent::Refused { leg: C, refusal });
    assert_eq!(drain(&mut browser).last().unwrap(), "L2 notify Failed(NoCommonCodec)");
}

pub(super) fn newcomer(offer: Option<Box<SessionDescription>>) -> Incoming {
    Incoming {
        particulars: Particulars::default(),
        source: Source::Trunk("pbx".into()),
        from: Person { user: "200".into(), display: None },
        to: String::new(),
        offer,
        profile: plain(),
        early_offer: EarlyOffer::No,
        ring_timeout: None,
        hops: 70,
    }
}

#[test]
fn a_leg_takes_the_place_of_another_and_who_stays_is_offered_nothing() {
    for (old, stays, who) in [(B, A, "anna"), (A, B, "600")] {
        let t0 = Instant::now();
        let mut call = active(t0);
        assert_eq!(call.replace(old, newcomer(Some(sdp(20)))), Some(C));
        assert_eq!(drain(&mut call).last().unwrap(), "media accept-offer L3 v20");
        call.handle_media(t0, MediaEvent::Answer { leg: C, sdp: sdp(21) });
        assert_eq!(
            drain(&mut call),
            [
                format!("L3 party {who}"),
                "L3 answer v21".to_owned(),
                format!("media bridge {stays} L3"),
                format!("{stays} party 200"),
                "media expect L3".to_owned(),
                format!("{old} hangup transferred"),
                format!("media release {old}")
            ]
        );
        assert!(call.is_active() && !call.has_leg(old));
        assert_eq!(call.replace(old, newcomer(None)), None, "it is no leg of this call any more");
        assert_eq!(call.replace(C, newcomer(None)), Some(D));
        assert_eq!(drain(&mut call), ["media create-offer L4"]);
        call.handle_media(t0, MediaEvent::Offer { leg: D, sdp: sdp(30) });
        assert_eq!(drain(&mut call)[1], "L4 answer v30", "who brought no offer gets ours (RFC 3261 §13.2.1)");
        call.handle_leg(t0, D, LegEvent::OfferAnswered(sdp(31)));
        assert_eq!(drain(&mut call), ["media accept-answer L4 v31"]);
    }
}

#[test]
fn a_leg_that_cannot_join_leaves_the_call_as_it_was() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.replace(B, newcomer(Some(sdp(20))));
    drain(&mut call);
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    call.handle_media(t0, MediaEvent::Refused { leg: C, refusal });
    assert_eq!(drain(&mut call), ["L3 refuse-offer", "L3 hangup no-common-codec", "media release L3"]);
    call.replace(B, newcomer(Some(sdp(20))));
    drain(&mut call);
    call.handle_leg(t0, D, LegEvent::Ended(Cause::Cancelled.into()));
    assert_eq!(drain(&mut call), ["media release L4"]);
    assert!(call.is_active());
    // the one that was to leave is gone already, and then the one that was to come
    let last = call.replace(B, newcomer(Some(sdp(20)))).unwrap();
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    assert!(call.is_active());
    drain(&mut call);
    call.handle_leg(t0, last, LegEvent::Ended(Cause::Cancelled.into()));
    assert_eq!(drain(&mut call).last().unwrap(), "ended cancelled");
}

#[test]
fn a_key_told_by_signalling_and_by_media_counts_once_whichever_comes_first() {
    let t0 = Instant::now();
    let key = |c| DtmfDigit { digit: crate::base::Digit::from_char(c).unwrap(), duration: KEY_DURATION };
    let media = |c| MediaEvent::Dtmf { leg: B, digit: key(c).digit };
    let mut call = active(t0);
    call.handle_leg(t0, B, LegEvent::Pressed(key('1')));
    assert!(drain(&mut call).is_empty(), "media may tell it yet");
    call.handle_media(t0, media('1'));
    assert_eq!(drain(&mut call), ["L1 dtmf 1"]);
    call.handle_media(t0, media('2'));
    call.handle_leg(t0, B, LegEvent::Pressed(key('2')));
    assert_eq!(drain(&mut call), ["L1 dtmf 2"]);
    assert_eq!(call.poll_timeout(), None);
}

#[test]
fn keys_that_signalling_alone_tells_wait_once_and_none_is_lost() {
    let t0 = Instant::now();
    let key = |c| DtmfDigit { digit: crate::base::Digit::from_char(c).unwrap(), duration: KEY_DURATION };
    let mut call = active(t0);
    call.handle_leg(t0, B, LegEvent::Pressed(key('1')));
    call.handle_leg(t0, B, LegEvent::Pressed(key('2')));
    let until = t0 + keys::KEY_GRACE;
    assert_eq!(call.poll_timeout(), Some((until, Timer::Keys)));
    call.handle_timeout(t0);
    assert!(drain(&mut call).is_empty(), "early");
    call.handle_timeout(until);
    assert_eq!(drain(&mut call), ["media send L1 12", "L1 dtmf 12"]);
    call.handle_leg(until, B, LegEvent::Pressed(key('3')));
    assert_eq!(drain(&mut call), ["media send L1 3", "L1 dtmf 3"], "from then on at once");
    // of the other leg that says nothing, and who hangs up at once has pressed all the same
    call.handle_leg(t0, A, LegEvent::Pressed(key('4')));
    call.handle_leg(t0, A, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(drain(&mut call)[..2], ["media send L2 4", "L2 dtmf 4"]);
}

#[test]
fn keys_for_a_leg_that_takes_them_as_words_are_not_sent_by_media() {
    let t0 = Instant::now();
    let key = DtmfDigit { digit: crate::base::Digit::from_char('5').unwrap(), duration: KEY_DURATION };
    let mut call = dialed(None, t0);
    call.callees[0].party.as_mut().unwrap().profile.takes_keys = true;
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    drain(&mut call);
    call.handle_leg(t0, A, LegEvent::Dtmf(vec![key, key]));
    assert_eq!(drain(&mut call), ["L2 dtmf 55"]);
    call.handle_media(t0, MediaEvent::Dtmf { leg: A, digit: key.digit });
    assert_eq!(drain(&mut call), ["L2 dtmf 5"]);
}

type Make = fn(Instant) -> Call;
type Act = fn(&mut Call, Instant);

const DONE: &str = "media bridge L1 L3, media accept-answer L3 v21, media expect L3, L2 notify Done, \
                    L2 hangup transferred, media release L2";
const ALL_END: &str =
    "L2 hangup normal, media release L2, L3 hangup normal, media release L3, media release L1, ended normal";

/// State → what each input brings about.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 8]); 5] = [
    // transfer asked for again, a route; new party: opened, answers, is busy; who transfers ends; who stays ends; a minute
    ("routing", ["L2 notify Failed(Unavailable)", "open L3 600", "—", "—", "—", "media release L2",
        "L2 hangup normal, media release L2, media release L1, ended normal", "—"]),
    ("opening", ["L2 notify Failed(Unavailable)", "—", "media create-offer L3", "—", "L2 notify Failed(Busy)", "media release L2",
        "L2 hangup normal, media release L2, media release L1, ended normal", "L2 notify Failed(NoAnswer)"]),
    ("dialing", ["L2 notify Failed(Unavailable)", "—", "—", DONE, "media release L3, L2 notify Failed(Busy)", "media release L2",
        ALL_END, "L3 hangup no-answer, media release L3, L2 notify Failed(NoAnswer)"]),
    ("left alone", ["—", "—", "—", "media bridge L1 L3, media accept-answer L3 v21, media expect L3",
        "media release L3, L1 hangup busy, media release L1, ended busy", "—",
        "L3 hangup normal, media release L3, media release L1, ended normal",
        "L3 hangup no-answer, media release L3, L1 hangup no-answer, media release L1, ended no-answer"]),
    ("done", ["—", "—", "—", "—", "L1 hangup busy, media release L3, media release L1, ended busy", "—",
        "L3 hangup normal, media release L3, media release L1, ended normal", "—"]),
];

#[test]
fn every_input_in_every_state_of_a_transfer_does_what_the_table_says() {
    let states: [(&str, Make); 5] = [
        ("routing", |t0| {
            let mut call = active(t0);
            call.handle_leg(t0, B, to_number());
            call
        }),
        ("opening", |t0| {
            let mut call = active(t0);
            call.handle_leg(t0, B, to_number());
            call.handle_route(t0, Ok(vec![attempt()]));
            call
        }),
        ("dialing", transferring),
        ("left alone", |t0| {
            let mut call = transferring(t0);
            call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
            call
        }),
        ("done", |t0| {
            let mut call = transferring(t0);
            answers(&mut call, C);
            call
        }),
    ];
    let inputs: [(&str, Act); 8] = [
        ("asked again", |c, t0| c.handle_leg(t0, B, to_number())),
        ("a route", |c, t0| c.handle_route(t0, Ok(vec![attempt()]))),
        ("opened", |c, t0| c.handle_opened(t0, C, Ok(plain()))),
        ("answers", |c, _| answers(c, C)),
        ("is busy", |c, t0| c.handle_leg(t0, C, LegEvent::Ended(Cause::Busy.into()))),
        ("who transfers ends", |c, t0| c.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()))),
        ("who stays ends", |c, t0| c.handle_leg(t0, A, LegEvent::Ended(Cause::Normal.into()))),
        ("a minute", |c, t0| c.handle_timeout(t0 + Duration::from_secs(60))),
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

#[test]
fn random_events_around_transfers_end_a_call_at_most_once_and_release_every_leg() {
    for seed in 0..3_000 {
        let t0 = Instant::now();
        let mut random = crate::base::Seed::from_number(seed);
        let mut call = active(t0);
        let mut words = Vec::new();
        for step in 0..40 {
            let leg = LegId(1 + random.below(7));
            match random.below(14) {
                0 | 1 => call.handle_leg(t0, leg, to_number()),
                2 => call.handle_route(t0, Ok(vec![attempt(), attempt()])),
                3 => call.handle_opened(t0, leg, Ok(plain())),
                4 => call.handle_opened(t0, leg, Ok(webrtc())),
                5 | 6 => call.handle_media(t0, MediaEvent::Offer { leg, sdp: sdp(step) }),
                7 => call.handle_leg(t0, leg, LegEvent::Answered { answer: Answered::Sdp(sdp(step)) }),
                8 => call.handle_leg(t0, leg, LegEvent::Progress { answer: Some(sdp(step)), delay: None }),
                9 if random.below(4) == 0 => call.handle_leg(t0, leg, LegEvent::Ended(Cause::Busy.into())),
                10 => drop(call.replace(leg, newcomer((step % 2 == 0).then(|| sdp(step))))),
                11 => call.handle_media(t0, MediaEvent::Answer { leg, sdp: sdp(step) }),
                12 => call.handle_media(t0, MediaEvent::Refused { leg, refusal: MediaRefusal::Congestion }),
                _ => call.handle_timeout(t0 + Duration::from_secs(step * 10)),
            }
            words.extend(drain(&mut call));
        }
        call.hangup(Cause::Shutdown);
        words.extend(drain(&mut call));
        assert_eq!(words.iter().filter(|w| w.starts_with("ended")).count(), 1, "seed {seed}");
        for leg in 1..=64 {
            let count = |word: String| words.iter().filter(|w| w.starts_with(&word)).count();
            let made =
                count(format!("media create-offer L{leg}")) + count(format!("media accept-offer L{leg} "));
            let released = words.iter().filter(|w| **w == format!("media release L{leg}")).count();
            assert!(released <= 1 && (made == 0 || released == 1), "seed {seed}, L{leg}: {words:?}");
            assert!(count(format!("L{leg} hangup")) <= 1, "seed {seed}, L{leg}: {words:?}");
        }
    }
}
