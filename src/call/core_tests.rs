//! A call from its first word to its last, without a socket or a clock.

use super::*;
use crate::call::leg::{HOPS, Particulars, Party as Person};
use crate::call::port::{Application, Codec, Encryption, HoldMusic, MediaProfile, MediaRefusal};
use crate::call::route::Source;

pub(super) const A: LegId = LegId(1);
pub(super) const B: LegId = LegId(2);

pub(super) fn sdp(version: u64) -> Box<SessionDescription> {
    let text = format!("v=0\r\no=- 1 {version} IN IP4 192.0.2.1\r\ns=-\r\nm=audio 9 RTP/AVP 0\r\n");
    Box::new(SessionDescription::parse(&text).unwrap())
}

pub(super) fn webrtc() -> LegProfile {
    LegProfile {
        media: MediaProfile::WebRtc,
        takes_offer: false,
        takes_reoffer: false,
        may_detach: true,
        takes_keys: false,
        account: None,
    }
}

pub(super) fn plain() -> LegProfile {
    let towards = "192.0.2.9".parse().unwrap();
    let media = MediaProfile::Rtp {
        codecs: vec![Codec::Pcmu],
        towards,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: false,
        encryption: Encryption::Off,
        is_avpf: false,
        hold_music: HoldMusic::Silence,
    };
    LegProfile {
        media,
        takes_offer: true,
        takes_reoffer: true,
        may_detach: false,
        takes_keys: false,
        account: None,
    }
}

pub(super) fn target() -> Target {
    Target { edge: "trunk", name: "pbx".into(), number: "600".into(), place: None }
}

pub(super) fn attempt() -> Attempt {
    Attempt { targets: vec![target()], ring_timeout: None, when: Vec::new(), continues: false }
}

pub(super) fn call(offer: Option<Box<SessionDescription>>) -> Call {
    let incoming = Incoming {
        particulars: Particulars::default(),
        source: Source::Account("anna".into()),
        from: Person { user: "anna".into(), display: None },
        to: "600".into(),
        offer,
        profile: webrtc(),
        early_offer: EarlyOffer::No,
        ring_timeout: Some(Duration::from_secs(5)),
        hops: HOPS,
    };
    Call::new(A, incoming)
}

/// Outputs in short words.
pub(super) fn drain(call: &mut Call) -> Vec<String> {
    std::iter::from_fn(|| call.poll_output())
        .map(|output| match output {
            Output::Route(q) => format!("route {}", q.to),
            Output::Open { leg, target } => format!("open {leg} {}", target.number),
            Output::Leg(leg, command) => format!("{leg} {}", word(&command)),
            Output::Media(MediaCommand::CreateOffer { leg, .. }) => format!("media create-offer {leg}"),
            Output::Media(MediaCommand::CheckOffer { leg, sdp, .. }) => {
                format!("media check-offer {leg} v{}", sdp.origin.version)
            }
            Output::Media(MediaCommand::AcceptAnswer { leg, sdp }) => {
                format!("media accept-answer {leg} v{}", sdp.origin.version)
            }
            Output::Media(MediaCommand::AcceptOffer { leg, sdp, .. }) => {
                format!("media accept-offer {leg} v{}", sdp.origin.version)
            }
            Output::Media(MediaCommand::Run(leg, application)) => format!("media run {leg} {application:?}"),
            Output::Media(MediaCommand::Hold(leg, on)) => format!("media hold {leg} {on}"),
            Output::Media(MediaCommand::Mute(leg, on)) => format!("media mute {leg} {on}"),
            Output::Media(MediaCommand::SendDtmf(leg, digits)) => {
                format!("media send {leg} {}", digits.iter().map(|d| d.digit.as_char()).collect::<String>())
            }
            Output::Media(MediaCommand::Bridge(a, b)) => format!("media bridge {a} {b}"),
            Output::Media(MediaCommand::FreeCodec(leg, on)) => format!("media free-codec {leg} {on}"),
            Output::Media(MediaCommand::Name(leg, party)) => format!("media name {leg} {party}"),
            Output::Media(MediaCommand::Expect(leg)) => format!("media expect {leg}"),
            Output::Media(MediaCommand::Detach(leg)) => format!("media detach {leg}"),
            Output::Media(MediaCommand::Release(leg)) => format!("media release {leg}"),
            Output::Note(_) => String::new(),
            Output::Ended(cause) => format!("ended {cause}"),
        })
        .filter(|line| !line.is_empty())
        .collect()
}

fn word(command: &LegCommand) -> String {
    let version = |sdp: &Option<Box<SessionDescription>>| {
        sdp.as_ref().map_or_else(String::new, |s| format!(" v{}", s.origin.version))
    };
    match command {
        LegCommand::Dial(dial) => {
            let passed = if dial.source == Source::Trunk("pbx".into()) { HOPS - dial.hops } else { 1 };
            assert_eq!(dial.hops, HOPS - passed, "one system more (RFC 7332 §4)");
            format!("dial{}", version(&dial.offer))
        }
        LegCommand::Ring => "ring".into(),
        LegCommand::Delayed(why) => format!("{why:?}").to_lowercase(),
        LegCommand::Progress { answer, delay } => {
            let why = delay.map_or_else(String::new, |why| format!(" {why:?}").to_lowercase());
            format!("progress{}{why}", version(answer))
        }
        LegCommand::EarlyMedia(is_heard) => format!("early-media {is_heard}"),
        LegCommand::Answer { answer } => format!("answer{}", version(answer)),
        LegCommand::Offer(sdp) => format!("offer v{}", sdp.origin.version),
        LegCommand::Dtmf(keys) => {
            format!("dtmf {}", keys.iter().map(|k| k.digit.as_char()).collect::<String>())
        }
        LegCommand::Party(who) => {
            let Stated { shown, withheld, is_private } = &**who;
            let also = withheld.as_ref().map_or_else(String::new, |w| format!(" withheld {}", w.user));
            let name = shown.display.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            format!("party {}{name}{also}{}", shown.user, if *is_private { " private" } else { "" })
        }
        LegCommand::Notify(state) => format!("notify {state:?}"),
        LegCommand::AnswerOffer(sdp) => format!("answer-offer v{}", sdp.origin.version),
        LegCommand::RefuseOffer(_) => "refuse-offer".into(),
        LegCommand::MediaState(state) => format!("{state:?}"),
        LegCommand::Hangup(cause) => format!("hangup {cause}"),
    }
}

/// A call whose callee was dialled, outputs drained.
pub(super) fn dialed(offer: Option<Box<SessionDescription>>, t0: Instant) -> Call {
    let mut call = call(offer);
    call.start();
    call.handle_media(t0, MediaEvent::OfferGood { leg: A });
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, B, Ok(plain()));
    call.handle_media(Instant::now(), MediaEvent::Offer { leg: B, sdp: sdp(7) });
    drain(&mut call);
    call
}

pub(super) fn active(t0: Instant) -> Call {
    let mut call = dialed(None, t0);
    call.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    drain(&mut call);
    call
}

#[test]
fn a_detached_caller_is_routed_dialled_answered_and_attached() {
    let t0 = Instant::now();
    let mut call = call(None);
    call.start();
    assert_eq!(drain(&mut call), ["route 600"]);
    call.handle_route(t0, Ok(vec![attempt()]));
    assert_eq!(drain(&mut call), ["open L2 600"]);
    call.handle_opened(t0, B, Ok(plain()));
    assert_eq!(drain(&mut call), ["media bridge L1 L2", "media create-offer L2"]);
    call.handle_media(Instant::now(), MediaEvent::Offer { leg: B, sdp: sdp(7) });
    assert_eq!(drain(&mut call), ["L2 dial v7"]);
    call.handle_leg(Instant::now(), B, LegEvent::Ringing);
    call.handle_leg(Instant::now(), B, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L1 ring"], "a second 180 says nothing new");
    call.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert_eq!(
        drain(&mut call),
        ["media accept-answer L2 v8", "media expect L2", "media expect L1", "L1 answer"]
    );
    assert!(call.is_active() && call.poll_timeout().is_none());
    call.handle_leg(Instant::now(), A, LegEvent::Offer(sdp(1)));
    assert_eq!(drain(&mut call), ["media accept-offer L1 v1"]);
    call.handle_media(Instant::now(), MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 answer-offer v2"]);
    call.handle_media(Instant::now(), MediaEvent::Connected { leg: A, codec: Codec::Pcmu });
    assert_eq!(drain(&mut call), ["L1 Connected { codec: \"PCMU\" }"]);
    call.handle_leg(Instant::now(), A, LegEvent::Ended(Cause::Normal.into()));
    assert_eq!(
        drain(&mut call),
        ["L2 hangup normal", "media release L2", "media release L1", "ended normal"]
    );
}

#[test]
fn nobody_is_rung_for_an_offer_before_media_has_looked_at_it() {
    let started = || {
        let mut call = call(Some(sdp(1)));
        call.caller.party.profile = plain();
        call.start();
        call.handle_route(Instant::now(), Ok(vec![attempt()]));
        call.handle_opened(Instant::now(), B, Ok(webrtc()));
        assert_eq!(
            drain(&mut call),
            [
                "media check-offer L1 v1",
                "route 600",
                "open L2 600",
                "media bridge L1 L2",
                "media mute L2 true"
            ]
        );
        call
    };
    let mut good = started();
    good.handle_media(Instant::now(), MediaEvent::OfferGood { leg: A });
    assert_eq!(drain(&mut good), ["L2 dial"]);
    good.handle_media(Instant::now(), MediaEvent::OfferGood { leg: A });
    assert_eq!(drain(&mut good), [""; 0], "once");
    let mut bad = started();
    let refusal = MediaRefusal::Unusable("it is not encrypted");
    bad.handle_media(Instant::now(), MediaEvent::Refused { leg: A, refusal });
    assert!(!drain(&mut bad).iter().any(|line| line.contains("dial")));
    let mut late = call(Some(sdp(1)));
    late.start();
    late.handle_media(Instant::now(), MediaEvent::OfferGood { leg: A });
    late.handle_route(Instant::now(), Ok(vec![attempt()]));
    late.handle_opened(Instant::now(), B, Ok(webrtc()));
    assert!(drain(&mut late).contains(&"L2 dial".to_owned()));
}

#[test]
fn a_caller_with_an_offer_gets_its_answer_with_early_media_and_again_with_the_answer() {
    let mut call = dialed(Some(sdp(1)), Instant::now());
    call.handle_leg(Instant::now(), B, LegEvent::Progress { answer: Some(sdp(8)), delay: None });
    assert_eq!(drain(&mut call), ["media accept-answer L2 v8", "media accept-offer L1 v1"]);
    call.handle_media(Instant::now(), MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 progress v2"]);
    call.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Nothing });
    assert_eq!(drain(&mut call), ["media expect L2", "media expect L1", "L1 answer v2"]);
}

#[test]
fn a_caller_with_an_offer_is_answered_once_media_has_its_answer() {
    let mut call = dialed(Some(sdp(1)), Instant::now());
    call.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    assert_eq!(
        drain(&mut call),
        ["media accept-answer L2 v8", "media expect L2", "media expect L1", "media accept-offer L1 v1"]
    );
    call.handle_media(Instant::now(), MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 answer v2"]);
}

/// A caller that offers, or wants our offer, and a callee that answers and at once hangs up; outputs drained.
fn parting(offer: Option<Box<SessionDescription>>, t0: Instant) -> Call {
    let mut call = call(offer);
    call.caller.party.profile = plain();
    call.start();
    call.handle_media(t0, MediaEvent::OfferGood { leg: A });
    call.handle_route(t0, Ok(vec![attempt()]));
    call.handle_opened(t0, B, Ok(webrtc()));
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Nothing });
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Normal.into()));
    // the io finds its task gone, too
    call.handle_leg(t0, B, LegEvent::Ended(Cause::Internal.into()));
    let words = drain(&mut call);
    assert!(!words.iter().any(|w| w.contains("hangup") || w.contains("release")), "{words:?}");
    call
}

#[test]
fn a_callee_that_hangs_up_right_after_its_answer_has_answered_rfc_3261_15() {
    let over = ["L1 hangup normal", "media release L2", "media release L1", "ended normal"];
    let mut offered = parting(Some(sdp(1)), Instant::now());
    offered.handle_media(Instant::now(), MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut offered), [&["L1 answer v2"][..], &over].concat());
    let mut asked = parting(None, Instant::now());
    asked.handle_media(Instant::now(), MediaEvent::Offer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut asked), [&["L1 answer v3"][..], &over].concat());
    assert_eq!(asked.poll_timeout(), None);
}

#[test]
fn a_callee_that_hung_up_ends_the_call_once_though_its_caller_can_never_be_answered() {
    let t0 = Instant::now();
    let mut late = parting(Some(sdp(1)), t0);
    assert_eq!(late.poll_timeout(), Some((t0 + Duration::from_secs(10), Timer::Parting)));
    late.handle_timeout(t0 + Duration::from_millis(9_999));
    assert!(drain(&mut late).is_empty());
    late.handle_timeout(t0 + Duration::from_secs(10));
    let over = |cause| {
        let hangup = format!("L1 hangup {cause}");
        [hangup, "media release L2".into(), "media release L1".into(), format!("ended {cause}")]
    };
    assert_eq!(drain(&mut late), over("normal"));
    let mut refused = parting(Some(sdp(1)), t0);
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    refused.handle_media(t0, MediaEvent::Refused { leg: A, refusal });
    let words = [&["L1 refuse-offer".to_owned()][..], &over("no-common-codec")].concat();
    assert_eq!(drain(&mut refused), words, "why, and then the end");
    let mut gone = parting(Some(sdp(1)), t0);
    gone.handle_leg(t0, A, LegEvent::Ended(Cause::Cancelled.into()));
    assert_eq!(drain(&mut gone), over("cancelled")[1..]);
}

#[test]
fn a_caller_whose_offer_cannot_be_served_is_refused_before_anybody_is_rung() {
    let mut call = call(Some(sdp(1)));
    call.start();
    assert_eq!(drain(&mut call), ["media check-offer L1 v1", "route 600"]);
    call.handle_route(Instant::now(), Ok(vec![attempt()]));
    assert_eq!(drain(&mut call), ["open L2 600"]);
    let refusal = MediaRefusal::Unusable("the audio section is not RTP/AVP; switch SRTP off for this trunk");
    call.handle_media(Instant::now(), MediaEvent::Refused { leg: A, refusal });
    let told = drain(&mut call);
    assert_eq!(told[..2], ["L1 refuse-offer", "L1 hangup bad-media"]);
    assert_eq!(told.last().unwrap(), "ended bad-media");
    // what opens by then is not rung
    call.handle_opened(Instant::now(), B, Ok(plain()));
    assert!(drain(&mut call).iter().all(|t| !t.contains("dial")));
}

#[test]
fn a_first_offer_without_a_common_codec_ends_the_call_a_later_one_is_refused() {
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    let mut first = dialed(Some(sdp(1)), Instant::now());
    first.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Sdp(sdp(8)) });
    drain(&mut first);
    first.handle_media(Instant::now(), MediaEvent::Refused { leg: A, refusal: refusal.clone() });
    let told = drain(&mut first);
    assert_eq!(told.last().unwrap(), "ended no-common-codec");
    // the caller hears what is wrong before it hears that this is the end
    let at = |word: &str| told.iter().position(|t| t == word);
    assert!(
        at("L1 refuse-offer") < at("L1 hangup no-common-codec") && at("L1 refuse-offer").is_some(),
        "{told:?}"
    );
    let mut later = active(Instant::now());
    later.handle_leg(Instant::now(), A, LegEvent::Offer(sdp(1)));
    later.handle_media(Instant::now(), MediaEvent::Refused { leg: A, refusal: refusal.clone() });
    assert_eq!(drain(&mut later)[1..], ["media check-offer L1 v1"], "the other side may speak another codec");
    later.handle_media(Instant::now(), MediaEvent::Refused { leg: A, refusal });
    assert_eq!(drain(&mut later), ["media free-codec L1 false", "L1 refuse-offer"]);
    assert!(later.is_active());
}

#[test]
fn a_callee_that_is_not_answered_in_time_is_cancelled_at_the_deadline_and_not_before() {
    let t0 = Instant::now();
    let mut call = dialed(None, t0);
    assert_eq!(call.poll_timeout(), Some((t0 + Duration::from_secs(5), Timer::Ring)));
    call.handle_timeout(t0 + Duration::from_millis(4_999));
    assert!(drain(&mut call).is_empty());
    call.handle_timeout(t0 + Duration::from_secs(5));
    assert_eq!(
        drain(&mut call),
        [
            "L2 hangup no-answer",
            "media release L2",
            "L1 hangup no-answer",
            "media release L1",
            "ended no-answer"
        ]
    );
    assert_eq!(call.poll_timeout(), None);
}

#[test]
fn each_way_to_end_before_the_answer_tells_the_other_leg_why() {
    let end = |leg, cause: Cause| {
        let mut call = dialed(None, Instant::now());
        call.handle_leg(Instant::now(), leg, LegEvent::Ended(cause.into()));
        let words = drain(&mut call);
        assert_eq!(words.iter().filter(|w| w.starts_with("ended")).count(), 1);
        words.into_iter().find(|w| w.contains("hangup")).unwrap()
    };
    assert_eq!(end(A, Cause::Normal), "L2 hangup cancelled");
    assert_eq!(end(A, Cause::Shutdown), "L2 hangup shutdown");
    for cause in [Cause::Busy, Cause::Declined, Cause::Unreachable, Cause::Unauthorized, Cause::Congestion] {
        assert_eq!(end(B, cause), format!("L1 hangup {cause}"));
    }
}

#[test]
fn no_route_no_leg_and_no_media_end_the_call_without_touching_a_leg_that_is_not_there() {
    let mut none = call(None);
    none.start();
    none.handle_route(Instant::now(), Err(Cause::NotFound));
    assert_eq!(drain(&mut none)[1..], ["L1 hangup not-found", "media release L1", "ended not-found"]);
    let mut down = call(None);
    down.start();
    down.handle_route(Instant::now(), Ok(vec![attempt()]));
    down.handle_opened(Instant::now(), B, Err(Cause::Unavailable));
    assert!(drain(&mut down).contains(&"L1 hangup unavailable".to_owned()));
    let mut full = call(None);
    full.start();
    full.handle_route(Instant::now(), Ok(vec![attempt()]));
    full.handle_opened(Instant::now(), B, Ok(plain()));
    full.handle_media(Instant::now(), MediaEvent::Refused { leg: B, refusal: MediaRefusal::Congestion });
    let words = drain(&mut full);
    assert!(
        words.contains(&"L1 hangup congestion".to_owned())
            && words.contains(&"L2 hangup congestion".to_owned())
    );
}

#[test]
fn lost_media_detaches_a_leg_that_may_and_ends_the_call_of_one_that_may_not() {
    let mut call = active(Instant::now());
    call.handle_media(Instant::now(), MediaEvent::Lost { leg: A, cause: Cause::ConsentLost });
    assert_eq!(drain(&mut call), ["L1 Lost(ConsentLost)"]);
    assert!(call.is_active());
    call.handle_media(Instant::now(), MediaEvent::Lost { leg: B, cause: Cause::MediaTimeout });
    let words = drain(&mut call);
    assert!(
        words.contains(&"L1 hangup media-timeout".to_owned())
            && words.contains(&"L2 hangup media-timeout".to_owned())
    );
}

#[test]
fn an_ended_call_says_nothing_more_whatever_comes() {
    let t0 = Instant::now();
    let mut call = active(t0);
    call.hangup(Cause::Shutdown);
    assert_eq!(drain(&mut call).last().unwrap(), "ended shutdown");
    call.handle_leg(Instant::now(), A, LegEvent::Ended(Cause::Normal.into()));
    call.handle_leg(Instant::now(), B, LegEvent::Answered { answer: Answered::Nothing });
    call.handle_leg(Instant::now(), A, LegEvent::Offer(sdp(1)));
    call.handle_media(Instant::now(), MediaEvent::Connected { leg: A, codec: Codec::Opus });
    call.handle_route(Instant::now(), Err(Cause::NotFound));
    call.handle_opened(Instant::now(), B, Err(Cause::Busy));
    call.handle_timeout(t0 + Duration::from_secs(3600));
    call.hangup(Cause::Busy);
    call.start();
    assert!(drain(&mut call).is_empty() && call.poll_timeout().is_none());
}

pub(super) const C: LegId = LegId(3);

pub(super) fn now() -> Instant {
    Instant::now()
}

/// A call whose route has these attempts, with so many targets each; outputs drained.
pub(super) fn routed(offer: Option<Box<SessionDescription>>, t0: Instant, attempts: &[usize]) -> Call {
    let mut call = call(offer);
    call.start();
    call.handle_media(t0, MediaEvent::OfferGood { leg: A });
    let attempt = |n: &usize| Attempt { targets: vec![target(); *n], ..attempt() };
    call.handle_route(t0, Ok(attempts.iter().map(attempt).collect()));
    drain(&mut call);
    call
}

/// An edge's leg that takes no offers: it is called without one.
pub(super) fn ring(call: &mut Call, leg: LegId) {
    call.handle_opened(now(), leg, Ok(webrtc()));
}

#[test]
fn a_caller_without_an_offer_that_takes_one_gets_ours_with_the_answer_rfc_3261_13_2_1() {
    let mut call = call(None);
    call.caller.party.profile = plain();
    call.start();
    call.handle_route(now(), Ok(vec![attempt()]));
    ring(&mut call, B);
    drain(&mut call);
    call.handle_leg(now(), B, LegEvent::Answered { answer: Answered::Nothing });
    assert_eq!(
        drain(&mut call),
        ["media mute L2 false", "media expect L2", "media expect L1", "media create-offer L1"]
    );
    call.handle_media(now(), MediaEvent::Offer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call), ["L1 answer v3"]);
    call.handle_leg(now(), A, LegEvent::OfferAnswered(sdp(4)));
    assert_eq!(drain(&mut call), ["media accept-answer L1 v4"]);
    call.handle_leg(now(), A, LegEvent::OfferAnswered(sdp(5)));
    assert!(drain(&mut call).is_empty(), "an answer without an offer is nothing");
}

#[test]
fn a_callee_that_takes_no_offer_is_called_without_one_and_attaches_like_a_caller() {
    let mut call = routed(Some(sdp(1)), now(), &[1]);
    ring(&mut call, B);
    assert_eq!(drain(&mut call), ["media bridge L1 L2", "media mute L2 true", "L2 dial"]);
    call.handle_leg(now(), B, LegEvent::Answered { answer: Answered::Nothing });
    assert_eq!(
        drain(&mut call),
        ["media mute L2 false", "media expect L2", "media expect L1", "media accept-offer L1 v1"]
    );
    call.handle_media(now(), MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 answer v2"]);
    call.handle_leg(now(), B, LegEvent::Offer(sdp(3)));
    assert_eq!(drain(&mut call), ["media accept-offer L2 v3"]);
    call.handle_media(now(), MediaEvent::Answer { leg: B, sdp: sdp(4) });
    assert_eq!(drain(&mut call), ["L2 answer-offer v4"]);
    call.handle_media(now(), MediaEvent::Lost { leg: B, cause: Cause::ConsentLost });
    assert_eq!(drain(&mut call), ["L2 Lost(ConsentLost)"]);
    assert!(call.is_active());
}

#[test]
fn an_offer_that_comes_before_the_other_leg_is_there_waits_for_what_that_one_speaks() {
    let mut call = call(None);
    call.start();
    call.handle_leg(now(), A, LegEvent::Offer(sdp(1)));
    call.handle_leg(now(), A, LegEvent::Offer(sdp(2)));
    assert_eq!(drain(&mut call), ["route 600", "L1 refuse-offer"], "one at a time (RFC 3264 §4)");
    call.handle_route(now(), Ok(vec![attempt()]));
    call.handle_opened(now(), B, Ok(plain()));
    assert_eq!(
        drain(&mut call),
        ["open L2 600", "media bridge L1 L2", "media create-offer L2", "media accept-offer L1 v1"]
    );
    call.handle_media(now(), MediaEvent::Answer { leg: A, sdp: sdp(3) });
    assert_eq!(drain(&mut call), ["L1 answer-offer v3"]);
}

#[test]
fn an_early_offer_that_is_taken_back_is_answered_all_the_same() {
    let mut call = call(None);
    call.start();
    call.handle_leg(now(), A, LegEvent::Offer(sdp(1)));
    call.handle_leg(now(), A, LegEvent::Detached);
    assert_eq!(drain(&mut call), ["route 600", "L1 refuse-offer", "media detach L1"]);
    call.handle_leg(now(), A, LegEvent::Offer(sdp(2)));
    call.handle_route(now(), Ok(vec![attempt()]));
    ring(&mut call, B);
    assert_eq!(drain(&mut call).last().unwrap(), "media accept-offer L1 v2");
}

#[test]
fn an_application_answers_in_place_of_a_description() {
    let mut call = routed(Some(sdp(1)), now(), &[1]);
    let media = MediaProfile::Application(Application::Echo);
    call.handle_opened(now(), B, Ok(LegProfile { media, may_detach: false, ..webrtc() }));
    assert_eq!(drain(&mut call), ["media bridge L1 L2", "media run L2 Echo", "L2 dial"]);
    call.handle_leg(now(), B, LegEvent::Answered { answer: Answered::Application(Application::Echo) });
    assert_eq!(drain(&mut call)[0], "media run L2 Echo");
}

#[test]
fn an_answered_call_without_anybody_on_either_side_ends_after_a_while() {
    let t0 = now();
    let connected = |leg| MediaEvent::Connected { leg, codec: Codec::Opus };
    let lost = |leg| MediaEvent::Lost { leg, cause: Cause::ConsentLost };
    let is_deserted = |call: &Call| call.poll_timeout().map(|(at, timer)| (at - t0, timer));
    let until = Some((DESERTED_LIMIT, Timer::Deserted));
    let mut call = routed(None, t0, &[1]);
    call.handle_opened(t0, B, Ok(webrtc()));
    call.handle_leg(t0, B, LegEvent::Answered { answer: Answered::Nothing });
    assert!(call.is_active());
    assert_eq!(is_deserted(&call), until, "neither has come");
    call.handle_media(t0, connected(A));
    assert_eq!(is_deserted(&call), None);
    call.handle_media(t0, connected(B));
    call.handle_media(t0, lost(A));
    assert_eq!(is_deserted(&call), None, "it may come back");
    call.handle_media(t0, lost(B));
    assert_eq!(is_deserted(&call), until);
    call.handle_media(t0 + DESERTED_LIMIT / 2, lost(A));
    assert_eq!(is_deserted(&call), until, "from when they went");
    drain(&mut call);
    call.handle_timeout(t0 + DESERTED_LIMIT);
    assert_eq!(
        drain(&mut call),
        [
            "L1 hangup media-timeout",
            "L2 hangup media-timeout",
            "media release L2",
            "media release L1",
            "ended media-timeout"
        ]
    );
    // a PBX is somebody, and so is an extension of ours
    let mut call = active(t0);
    call.handle_media(t0, lost(A));
    assert_eq!(is_deserted(&call), None);
}

#[test]
fn a_hold_is_offered_to_the_other_side_if_it_takes_offers_and_again_when_it_changed_meanwhile() {
    let mut call = active(now());
    call.handle_leg(now(), A, LegEvent::Hold(true));
    call.handle_leg(now(), A, LegEvent::Hold(true));
    assert_eq!(drain(&mut call), ["media hold L1 true", "media create-offer L2"], "once");
    call.handle_media(now(), MediaEvent::Offer { leg: B, sdp: sdp(9) });
    assert_eq!(drain(&mut call), ["L2 offer v9"]);
    call.handle_leg(now(), A, LegEvent::Hold(false));
    assert_eq!(drain(&mut call), ["media hold L1 false"]);
    call.handle_leg(now(), B, LegEvent::OfferAnswered(sdp(10)));
    assert_eq!(drain(&mut call), ["media accept-answer L2 v10", "media create-offer L2"]);
    call.handle_media(now(), MediaEvent::Offer { leg: B, sdp: sdp(11) });
    call.handle_leg(now(), B, LegEvent::OfferRefused(Cause::RemoteFailure));
    assert_eq!(drain(&mut call), ["L2 offer v11"]);
    assert!(call.is_active(), "a refused offer leaves the call as it was (RFC 3261 §14.1)");
    call.handle_leg(now(), B, LegEvent::Hold(true));
    assert_eq!(drain(&mut call), ["media hold L2 true"], "a browser is not offered anything");
}

#[test]
fn an_offer_of_the_callee_is_served_in_the_call_and_two_at_once_are_not_rfc_3264_4() {
    let mut call = active(now());
    call.handle_leg(now(), B, LegEvent::Offer(sdp(5)));
    call.handle_leg(now(), B, LegEvent::Offer(sdp(6)));
    call.handle_leg(now(), B, LegEvent::OfferRequested);
    assert_eq!(drain(&mut call), ["media accept-offer L2 v5", "L2 refuse-offer", "L2 refuse-offer"]);
    call.handle_media(now(), MediaEvent::Answer { leg: B, sdp: sdp(7) });
    assert_eq!(drain(&mut call), ["L2 answer-offer v7"]);
    call.handle_leg(now(), B, LegEvent::OfferRequested);
    call.handle_media(now(), MediaEvent::Offer { leg: B, sdp: sdp(8) });
    call.handle_leg(now(), B, LegEvent::OfferAnswered(sdp(9)));
    assert_eq!(drain(&mut call), ["media create-offer L2", "L2 offer v8", "media accept-answer L2 v9"]);
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    call.handle_leg(now(), B, LegEvent::Offer(sdp(10)));
    call.handle_media(now(), MediaEvent::Connected { leg: B, codec: Codec::Pcmu });
    call.handle_media(now(), MediaEvent::Refused { leg: B, refusal });
    assert!(drain(&mut call).ends_with(&["L2 refuse-offer".to_owned()]) && call.is_active());
}

#[test]
fn keys_go_to_the_other_side_and_are_told_to_it() {
    let mut call = active(now());
    let digit = crate::base::Digit::from_char('5').unwrap();
    let keys = vec![DtmfDigit { digit, duration: Duration::from_millis(100) }];
    call.handle_leg(now(), A, LegEvent::Dtmf(keys));
    call.handle_media(now(), MediaEvent::Dtmf { leg: B, digit });
    assert_eq!(drain(&mut call), ["media send L2 5", "L2 dtmf 5", "L1 dtmf 5"]);
}

#[test]
fn random_events_in_any_order_end_a_call_at_most_once_and_never_panic() {
    let t0 = Instant::now();
    for seed in 0..3_000 {
        let mut random = crate::base::Seed::from_number(seed);
        let mut call = call((random.below(2) == 0).then(|| sdp(1)));
        let mut ended = 0;
        for step in 0..30 {
            let leg = [A, B, C][random.below(3) as usize];
            match random.below(21) {
                0 => call.start(),
                1 => call.handle_route(t0, Ok(vec![attempt()])),
                2 => call.handle_opened(t0, B, Ok(plain())),
                19 => call.handle_media(t0, MediaEvent::OfferGood { leg }),
                3 => call.handle_media(Instant::now(), MediaEvent::Offer { leg, sdp: sdp(step) }),
                4 => call.handle_leg(Instant::now(), leg, LegEvent::Ringing),
                5 => call.handle_leg(
                    Instant::now(),
                    leg,
                    LegEvent::Progress { answer: Some(sdp(step)), delay: None },
                ),
                6 => call.handle_leg(Instant::now(), leg, LegEvent::Answered { answer: Answered::Nothing }),
                7 => call.handle_leg(Instant::now(), leg, LegEvent::Offer(sdp(step))),
                8 => call.handle_leg(Instant::now(), leg, LegEvent::Detached),
                9 => call.handle_media(Instant::now(), MediaEvent::Answer { leg, sdp: sdp(step) }),
                10 => call.handle_media(Instant::now(), MediaEvent::Failed { leg, cause: Cause::IceFailed }),
                11 => call.handle_leg(Instant::now(), leg, LegEvent::Ended(Cause::Normal.into())),
                13 => call.handle_leg(t0, leg, LegEvent::Hold(step % 2 == 0)),
                14 => call.handle_leg(t0, leg, LegEvent::OfferRequested),
                15 => call.handle_leg(t0, leg, LegEvent::OfferAnswered(sdp(step))),
                16 => call.handle_leg(t0, leg, LegEvent::OfferRefused(Cause::Busy)),
                17 => call.handle_opened(t0, C, Ok(webrtc())),
                18 => {
                    let refusal = MediaRefusal::Congestion;
                    call.handle_media(t0, MediaEvent::Refused { leg, refusal });
                }
                12 => call.handle_timeout(t0 + Duration::from_secs(step)),
                _ => call.handle_leg(Instant::now(), LegId(99), LegEvent::Ringing),
            }
            ended += drain(&mut call).iter().filter(|w| w.starts_with("ended")).count();
        }
        assert!(ended <= 1, "seed {seed}");
    }
}
