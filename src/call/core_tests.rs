//! A call from its first word to its last, without a socket or a clock.

use super::*;
use crate::call::leg::Party;
use crate::call::port::{Codec, MediaProfile, MediaRefusal};
use crate::call::route::Source;

const A: LegId = LegId(1);
const B: LegId = LegId(2);

fn sdp(version: u64) -> Box<SessionDescription> {
    let text = format!("v=0\r\no=- 1 {version} IN IP4 192.0.2.1\r\ns=-\r\nm=audio 9 RTP/AVP 0\r\n");
    Box::new(SessionDescription::parse(&text).unwrap())
}

fn webrtc() -> LegProfile {
    LegProfile { media: MediaProfile::WebRtc, takes_reoffer: false, may_detach: true }
}

fn plain() -> LegProfile {
    let towards = "192.0.2.9".parse().unwrap();
    let media = MediaProfile::Rtp { codecs: vec![Codec::Pcmu], towards, is_symmetric: false };
    LegProfile { media, takes_reoffer: true, may_detach: false }
}

fn target() -> Target {
    Target { edge: "trunk", name: "pbx".into(), number: "600".into() }
}

fn call(offer: Option<Box<SessionDescription>>) -> Call {
    let incoming = Incoming {
        source: Source::Account("anna".into()),
        from: Party { user: "anna".into(), display: None },
        to: "600".into(),
        offer,
        profile: webrtc(),
        ring_timeout: Some(Duration::from_secs(5)),
    };
    Call::new(A, B, incoming)
}

/// Outputs in short words.
fn drain(call: &mut Call) -> Vec<String> {
    std::iter::from_fn(|| call.poll_output())
        .map(|output| match output {
            Output::Route(q) => format!("route {}", q.to),
            Output::Open { leg, target } => format!("open {leg} {}", target.number),
            Output::Leg(leg, command) => format!("{leg} {}", word(&command)),
            Output::Media(MediaCommand::CreateOffer { leg, .. }) => format!("media create-offer {leg}"),
            Output::Media(MediaCommand::AcceptAnswer { leg, sdp }) => {
                format!("media accept-answer {leg} v{}", sdp.origin.version)
            }
            Output::Media(MediaCommand::AcceptOffer { leg, sdp, .. }) => {
                format!("media accept-offer {leg} v{}", sdp.origin.version)
            }
            Output::Media(MediaCommand::Bridge(a, b)) => format!("media bridge {a} {b}"),
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
        LegCommand::Dial(dial) => format!("dial v{}", dial.offer.origin.version),
        LegCommand::Ring => "ring".into(),
        LegCommand::Progress { answer } => format!("progress{}", version(answer)),
        LegCommand::Answer { answer } => format!("answer{}", version(answer)),
        LegCommand::Offer(_) => "offer".into(),
        LegCommand::AnswerOffer(sdp) => format!("answer-offer v{}", sdp.origin.version),
        LegCommand::RefuseOffer(_) => "refuse-offer".into(),
        LegCommand::MediaState(state) => format!("{state:?}"),
        LegCommand::Hangup(cause) => format!("hangup {cause}"),
    }
}

/// A call whose callee was dialled, outputs drained.
fn dialed(offer: Option<Box<SessionDescription>>, t0: Instant) -> Call {
    let mut call = call(offer);
    call.start(t0);
    call.handle_route(RouteDecision::To(vec![target()]));
    call.handle_opened(Ok(plain()));
    call.handle_media(MediaEvent::Offer { leg: B, sdp: sdp(7) });
    drain(&mut call);
    call
}

fn active(t0: Instant) -> Call {
    let mut call = dialed(None, t0);
    call.handle_leg(B, LegEvent::Answered { answer: Some(sdp(8)) });
    drain(&mut call);
    call
}

#[test]
fn a_detached_caller_is_routed_dialled_answered_and_attached() {
    let t0 = Instant::now();
    let mut call = call(None);
    call.start(t0);
    assert_eq!(drain(&mut call), ["route 600"]);
    call.handle_route(RouteDecision::To(vec![target()]));
    assert_eq!(drain(&mut call), ["open L2 600"]);
    call.handle_opened(Ok(plain()));
    assert_eq!(drain(&mut call), ["media create-offer L2", "media bridge L1 L2"]);
    call.handle_media(MediaEvent::Offer { leg: B, sdp: sdp(7) });
    assert_eq!(drain(&mut call), ["L2 dial v7"]);
    call.handle_leg(B, LegEvent::Ringing);
    call.handle_leg(B, LegEvent::Ringing);
    assert_eq!(drain(&mut call), ["L1 ring"], "a second 180 says nothing new");
    call.handle_leg(B, LegEvent::Answered { answer: Some(sdp(8)) });
    assert_eq!(
        drain(&mut call),
        ["media accept-answer L2 v8", "media expect L2", "media expect L1", "L1 answer"]
    );
    assert!(call.is_active() && call.poll_timeout().is_none());
    call.handle_leg(A, LegEvent::Offer(sdp(1)));
    assert_eq!(drain(&mut call), ["media accept-offer L1 v1"]);
    call.handle_media(MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 answer-offer v2"]);
    call.handle_media(MediaEvent::Connected { leg: A, codec: Codec::Pcmu });
    assert_eq!(drain(&mut call), ["L1 Connected { codec: \"PCMU\" }"]);
    call.handle_leg(A, LegEvent::Ended(Cause::Normal));
    assert_eq!(
        drain(&mut call),
        ["L2 hangup normal", "media release L1", "media release L2", "ended normal"]
    );
}

#[test]
fn a_caller_with_an_offer_gets_its_answer_with_early_media_and_again_with_the_answer() {
    let mut call = dialed(Some(sdp(1)), Instant::now());
    call.handle_leg(B, LegEvent::Progress { answer: Some(sdp(8)) });
    assert_eq!(drain(&mut call), ["media accept-answer L2 v8", "media accept-offer L1 v1"]);
    call.handle_media(MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 progress v2"]);
    call.handle_leg(B, LegEvent::Answered { answer: None });
    assert_eq!(drain(&mut call), ["media expect L2", "media expect L1", "L1 answer v2"]);
}

#[test]
fn a_caller_with_an_offer_is_answered_once_media_has_its_answer() {
    let mut call = dialed(Some(sdp(1)), Instant::now());
    call.handle_leg(B, LegEvent::Answered { answer: Some(sdp(8)) });
    assert_eq!(
        drain(&mut call),
        ["media accept-answer L2 v8", "media expect L2", "media expect L1", "media accept-offer L1 v1"]
    );
    call.handle_media(MediaEvent::Answer { leg: A, sdp: sdp(2) });
    assert_eq!(drain(&mut call), ["L1 answer v2"]);
}

#[test]
fn a_first_offer_without_a_common_codec_ends_the_call_a_later_one_is_refused() {
    let refusal = MediaRefusal::NoCommonCodec { offered: vec![], wanted: vec![] };
    let mut first = dialed(Some(sdp(1)), Instant::now());
    first.handle_leg(B, LegEvent::Answered { answer: Some(sdp(8)) });
    drain(&mut first);
    first.handle_media(MediaEvent::Refused { leg: A, refusal: refusal.clone() });
    assert_eq!(drain(&mut first).last().unwrap(), "ended no-common-codec");
    let mut later = active(Instant::now());
    later.handle_leg(A, LegEvent::Offer(sdp(1)));
    later.handle_media(MediaEvent::Refused { leg: A, refusal });
    assert_eq!(drain(&mut later), ["media accept-offer L1 v1", "L1 refuse-offer"]);
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
            "L1 hangup no-answer",
            "L2 hangup no-answer",
            "media release L1",
            "media release L2",
            "ended no-answer"
        ]
    );
    assert_eq!(call.poll_timeout(), None);
}

#[test]
fn each_way_to_end_before_the_answer_tells_the_other_leg_why() {
    let end = |leg, cause| {
        let mut call = dialed(None, Instant::now());
        call.handle_leg(leg, LegEvent::Ended(cause));
        let words = drain(&mut call);
        assert_eq!(words.iter().filter(|w| w.starts_with("ended")).count(), 1);
        words.into_iter().next().unwrap()
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
    none.start(Instant::now());
    none.handle_route(RouteDecision::NoRoute);
    assert_eq!(
        drain(&mut none)[1..],
        ["L1 hangup not-found", "media release L1", "media release L2", "ended not-found"]
    );
    let mut down = call(None);
    down.start(Instant::now());
    down.handle_route(RouteDecision::To(vec![target()]));
    down.handle_opened(Err(Cause::Unavailable));
    assert!(drain(&mut down).contains(&"L1 hangup unavailable".to_owned()));
    let mut full = call(None);
    full.start(Instant::now());
    full.handle_route(RouteDecision::To(vec![target()]));
    full.handle_opened(Ok(plain()));
    full.handle_media(MediaEvent::Refused { leg: B, refusal: MediaRefusal::Congestion });
    let words = drain(&mut full);
    assert!(
        words.contains(&"L1 hangup congestion".to_owned())
            && words.contains(&"L2 hangup congestion".to_owned())
    );
}

#[test]
fn lost_media_detaches_a_leg_that_may_and_ends_the_call_of_one_that_may_not() {
    let mut call = active(Instant::now());
    call.handle_media(MediaEvent::Lost { leg: A, cause: Cause::ConsentLost });
    assert_eq!(drain(&mut call), ["L1 Lost(ConsentLost)"]);
    assert!(call.is_active());
    call.handle_media(MediaEvent::Lost { leg: B, cause: Cause::MediaTimeout });
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
    call.handle_leg(A, LegEvent::Ended(Cause::Normal));
    call.handle_leg(B, LegEvent::Answered { answer: None });
    call.handle_leg(A, LegEvent::Offer(sdp(1)));
    call.handle_media(MediaEvent::Connected { leg: A, codec: Codec::Opus });
    call.handle_route(RouteDecision::NoRoute);
    call.handle_opened(Err(Cause::Busy));
    call.handle_timeout(t0 + Duration::from_secs(3600));
    call.hangup(Cause::Busy);
    call.start(t0);
    assert!(drain(&mut call).is_empty() && call.poll_timeout().is_none());
}

#[test]
fn random_events_in_any_order_end_a_call_at_most_once_and_never_panic() {
    let t0 = Instant::now();
    for seed in 0..3_000 {
        let mut random = crate::base::Seed::from_number(seed);
        let mut call = call((random.below(2) == 0).then(|| sdp(1)));
        let mut ended = 0;
        for step in 0..30 {
            let leg = if random.below(2) == 0 { A } else { B };
            match random.below(14) {
                0 => call.start(t0),
                1 => call.handle_route(RouteDecision::To(vec![target()])),
                2 => call.handle_opened(Ok(plain())),
                3 => call.handle_media(MediaEvent::Offer { leg, sdp: sdp(step) }),
                4 => call.handle_leg(leg, LegEvent::Ringing),
                5 => call.handle_leg(leg, LegEvent::Progress { answer: Some(sdp(step)) }),
                6 => call.handle_leg(leg, LegEvent::Answered { answer: None }),
                7 => call.handle_leg(leg, LegEvent::Offer(sdp(step))),
                8 => call.handle_leg(leg, LegEvent::Detached),
                9 => call.handle_media(MediaEvent::Answer { leg, sdp: sdp(step) }),
                10 => call.handle_media(MediaEvent::Failed { leg, cause: Cause::IceFailed }),
                11 => call.handle_leg(leg, LegEvent::Ended(Cause::Normal)),
                12 => call.handle_timeout(t0 + Duration::from_secs(step)),
                _ => call.handle_leg(LegId(99), LegEvent::Ringing),
            }
            ended += drain(&mut call).iter().filter(|w| w.starts_with("ended")).count();
        }
        assert!(ended <= 1, "seed {seed}");
    }
}
