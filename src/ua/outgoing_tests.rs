//! The leg that we call: what it dials, what it hears, where it goes next.

use super::*;
use crate::base::{External, Secret};
use crate::call::leg::{Delay, Particulars};
use crate::call::port::MediaRefusal;
use crate::call::route::{Source, Target};
use crate::sdp::SessionDescription;
use crate::sip::answer::Body;
use crate::sip::digest::DigestError;
use crate::sip::session::CallEnd;
use crate::sip::{Host, StatusCode, Transport, Uri};
use crate::ua::{DiversionStyle, Policy};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn leg() -> OutgoingLeg {
    let identity = Identity {
        host: Host::parse("192.0.2.9").unwrap(),
        contact: None,
        routes: Vec::new(),
        port: Some(5060),
        transport: Transport::Udp,
        is_sips: false,
        user: Some("trunk".into()),
        external: External::default(),
    };
    let destination = Destination { hop: at(1), identity };
    OutgoingLeg::new(destination, Others::default(), Logins::default(), false, TimerRules::default(), terms())
}

fn at(host: u8) -> Hop {
    std::net::SocketAddr::from(([192, 0, 2, host], 5060)).into()
}

fn dial(number: &str) -> LegCommand {
    LegCommand::Dial(Box::new(Dial {
        particulars: Particulars::default(),
        hops: 69,
        target: Target { edge: "trunk", name: "pbx".into(), number: number.into(), place: None },
        source: Source::Account("anna".into()),
        from: Party { user: "anna".into(), display: None },
        offer: Some(Box::new(SessionDescription::parse(SDP).unwrap())),
        transferred_by: None,
        takes_over: None,
        account: None,
    }))
}

/// A leg with three places, dialled.
fn with_others() -> OutgoingLeg {
    let mut l = leg();
    let other = |host: u8| {
        let name = Host::parse(&format!("192.0.2.{host}")).unwrap();
        Destination { hop: at(host), identity: Identity { host: name, ..l.destination.identity.clone() } }
    };
    l.others.destinations = [other(2), other(3)].into();
    l.others.silence_limit = Duration::from_secs(4);
    let Action::Dial(call) = l.handle_command(dial("600")) else { panic!() };
    assert_eq!(call.silence_limit, Some(Duration::from_secs(4)));
    l
}

#[test]
fn the_way_that_the_registrar_names_is_preloaded_behind_the_proxy_for_its_own_user_rfc_3608_6_1() {
    let way = |text: &str| text.split(", ").map(|r| NameAddr::parse(r).unwrap()).collect::<Vec<_>>();
    let routes = |proxies: &str, ways: &[(&str, &str)]| {
        let mut l = leg();
        l.destination.identity.routes = if proxies.is_empty() { Vec::new() } else { way(proxies) };
        l.logins.service_routes = ways.iter().map(|(user, w)| ((*user).to_owned(), way(w))).collect();
        let Action::Dial(call) = l.handle_command(dial("600")) else { panic!() };
        let is_route = |h: &&Header| *h.name() == HeaderName::Route;
        call.headers.iter().filter(is_route).map(|h| h.value().to_owned()).collect::<Vec<_>>().join(", ")
    };
    let two = "<sip:p.example;lr>, <sip:orig@s.example;lr>";
    assert_eq!(routes("", &[("trunk", two)]), two);
    assert_eq!(routes("<sip:out.example;lr>", &[("trunk", two)]), format!("<sip:out.example;lr>, {two}"));
    // the proxy may be the first of them
    assert_eq!(routes("<sip:p.example;lr>", &[("trunk", two)]), two);
    assert_eq!(routes("", &[("somebody", two)]), "");
}

#[test]
fn a_place_where_nobody_can_take_the_call_is_left_for_the_next_rfc_3263_4_3() {
    let mut l = with_others();
    assert_eq!(l.hop(), at(1));
    let Action::Dial(call) = l.handle_session(SessionEvent::Failed(CallFailure::Transport)) else { panic!() };
    assert_eq!((l.hop(), call.request_uri.to_string()), (at(2), "sip:600@192.0.2.2:5060".into()));
    assert_eq!(call.body.unwrap().bytes.as_ref(), SDP.as_bytes());
    let Action::Dial(call) = l.handle_session(status(503)) else { panic!() };
    assert_eq!((l.hop(), call.request_uri.to_string()), (at(3), "sip:600@192.0.2.3:5060".into()));
    assert_eq!(call.silence_limit, None, "there is no other place to go to");
    assert_eq!(ended(&mut l, SessionEvent::Failed(CallFailure::Timeout)), Cause::Unreachable);
}

#[test]
fn an_answer_of_the_pbx_is_the_answer() {
    for (code, cause) in [(486, Cause::Busy), (404, Cause::NotFound), (480, Cause::Unavailable)] {
        assert_eq!(ended(&mut with_others(), status(code)), cause, "{code}");
    }
    let refused = SessionEvent::Failed(CallFailure::Credentials(DigestError::Refused));
    assert_eq!(ended(&mut with_others(), refused), Cause::Unauthorized);
}

#[test]
fn who_has_heard_something_of_a_place_stays_with_it() {
    let mut l = with_others();
    l.handle_session(SessionEvent::Ringing);
    assert!(matches!(l.handle_session(status(503)), Action::Tell(LegEvent::Ended(_))));
    let mut l = with_others();
    let early = StatusCode::new(183).unwrap();
    l.handle_session(SessionEvent::Progress { status: early, body: Some(Body::sdp(SDP)) });
    assert!(matches!(l.handle_session(status(503)), Action::Tell(LegEvent::Ended(_))));
}

fn terms() -> Terms {
    Terms {
        policy: Arc::new(Policy { is_trusted: true, ..Policy::default() }),
        host: Host::parse("pbx.example").unwrap(),
        source: Source::Trunk("pbx".into()),
        target: Target { edge: "trunk", name: "pbx".into(), number: String::new(), place: None },
        places: vec![(Host::parse("192.0.2.9").unwrap(), 5060)],
        is_secure: false,
        keys_by_info: false,
        may_transfer: true,
        follows_redirects: true,
    }
}

fn status(code: u16) -> SessionEvent {
    let status = StatusCode::new(code).unwrap();
    let phrase = String::new();
    SessionEvent::Failed(CallFailure::Status {
        status,
        phrase,
        q850: None,
        text: None,
        retry_after: None,
        had_credentials: false,
    })
}

fn ended(leg: &mut OutgoingLeg, event: SessionEvent) -> Cause {
    end_of(leg, event).cause
}

fn end_of(leg: &mut OutgoingLeg, event: SessionEvent) -> End {
    match leg.handle_session(event) {
        Action::Tell(LegEvent::Ended(end)) => end,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dial_becomes_an_invite_with_the_offer_and_the_asserted_identity() {
    let Action::Dial(call) = leg().handle_command(dial("600")) else { panic!() };
    assert_eq!(call.request_uri.to_string(), "sip:600@192.0.2.9:5060");
    assert_eq!(call.body.unwrap().bytes.as_ref(), SDP.as_bytes());
    assert_eq!((call.headers.len(), call.max_forwards), (1, 69));
}

#[test]
fn an_account_with_a_line_calls_as_that_extension_and_others_as_the_trunk() {
    let mut l = leg();
    let login = Login { user: "101".into(), credentials: Some(Credentials::new("101", Secret::new("p"))) };
    l.logins.of_accounts = Arc::new(BTreeMap::from([("anna".to_owned(), login)]));
    let call = |account: Option<&str>| {
        let dial = Dial {
            particulars: Particulars::default(),
            hops: 69,
            target: Target { edge: "trunk", name: "pbx".into(), number: "600".into(), place: None },
            source: Source::Trunk("whose rights count after a transfer".into()),
            from: Party { user: "anna".into(), display: None },
            offer: None,
            transferred_by: None,
            takes_over: None,
            account: account.map(str::to_owned),
        };
        let call = l.outgoing(&dial);
        (call.from.to_string(), call.credentials.map(|c| c.user))
    };
    let anna = call(Some("anna"));
    assert_eq!(anna, ("<sip:101@192.0.2.9>".to_owned(), Some("101".to_owned())));
    for other in [Some("bert"), None] {
        assert_eq!(call(other), ("\"anna\" <sip:trunk@192.0.2.9>".to_owned(), None));
    }
}

/// RFC 5806 §3: who is called by a redirect is told whom the call was meant for.
#[test]
fn a_redirect_is_a_diversion_by_who_was_dialled() {
    let mut l = leg();
    let policy = Policy { is_trusted: true, diversion: DiversionStyle::Diversion, ..Policy::default() };
    l.within.terms.policy = Arc::new(policy);
    l.handle_command(dial("600"));
    let redirect = |to: &str| {
        let contacts = vec![Uri::parse(to).unwrap()];
        SessionEvent::Failed(CallFailure::Redirected { status: StatusCode::new(302).unwrap(), contacts })
    };
    let told = |action: Action| {
        let Action::Dial(call) = action else { panic!("{action:?}") };
        let lines = call.headers.iter().filter(|h| *h.name() == HeaderName::Diversion);
        lines.map(|h| h.value().to_owned()).collect::<Vec<_>>()
    };
    let by_600 = "<sip:600@192.0.2.9>;reason=unconditional";
    assert_eq!(told(l.handle_session(redirect("sip:601@192.0.2.9"))), [by_600]);
    assert_eq!(
        told(l.handle_session(redirect("sip:602@192.0.2.9"))),
        ["<sip:601@192.0.2.9>;reason=unconditional", by_600]
    );
}

#[test]
fn provisional_and_final_answers_become_the_words_of_a_leg() {
    let mut l = leg();
    assert!(matches!(l.handle_session(SessionEvent::Ringing), Action::Tell(LegEvent::Ringing)));
    let body = Some(Body::sdp(SDP));
    let early = SessionEvent::Progress { status: StatusCode::new(183).unwrap(), body: body.clone() };
    assert!(matches!(
        l.handle_session(early),
        Action::Tell(LegEvent::Progress { answer: Some(_), delay: None })
    ));
    assert!(matches!(
        l.handle_session(SessionEvent::Answered { body }),
        Action::Tell(LegEvent::Answered { answer: Answered::Sdp(_) })
    ));
    let bye = SessionEvent::Ended(CallEnd::Remote { q850: Some(16), text: None });
    assert_eq!(ended(&mut l, bye), Cause::Normal);
    assert!(l.is_over() && matches!(l.handle_session(SessionEvent::Ringing), Action::None));
}

#[test]
fn who_waits_or_is_forwarded_is_told_so_and_early_media_says_more_rfc_3261_21_1_3() {
    let hears = |code, body| {
        let status = StatusCode::new(code).unwrap();
        leg().handle_session(SessionEvent::Progress { status, body })
    };
    assert!(matches!(hears(181, None), Action::Tell(LegEvent::Delayed(Delay::Forwarded))));
    assert!(matches!(hears(182, None), Action::Tell(LegEvent::Delayed(Delay::Queued))));
    for code in [183, 199] {
        assert!(matches!(hears(code, None), Action::Tell(LegEvent::Progress { answer: None, .. })), "{code}");
    }
    for (code, why) in [(181, Some(Delay::Forwarded)), (182, Some(Delay::Queued)), (183, None)] {
        let early = hears(code, Some(Body::sdp(SDP)));
        let Action::Tell(LegEvent::Progress { answer: Some(_), delay }) = early else { panic!("{early:?}") };
        assert_eq!(delay, why, "{code}: an announcement of why it does not ring");
    }
}

#[test]
fn every_way_to_fail_has_its_cause() {
    assert_eq!(ended(&mut leg(), status(486)), Cause::Busy);
    let mut busy = status(486);
    if let SessionEvent::Failed(CallFailure::Status { retry_after, .. }) = &mut busy {
        *retry_after = Some(Duration::from_secs(30));
    }
    let end = end_of(&mut leg(), busy);
    assert_eq!((end.status, end.retry_after), (Some(486), Some(Duration::from_secs(30))));
    assert_eq!(ended(&mut leg(), status(480)), Cause::Unavailable);
    let mut rang = leg();
    rang.handle_session(SessionEvent::Ringing);
    assert_eq!(ended(&mut rang, status(480)), Cause::NoAnswer);
    let failed = |f| ended(&mut leg(), SessionEvent::Failed(f));
    assert_eq!(failed(CallFailure::Credentials(DigestError::Refused)), Cause::Unauthorized);
    assert_eq!(failed(CallFailure::Timeout), Cause::Unreachable);
    assert_eq!(failed(CallFailure::Transport), Cause::Unreachable);
    let garbage = SessionEvent::Answered { body: Some(Body::sdp("hello")) };
    assert_eq!(ended(&mut leg(), garbage), Cause::BadMedia);
}

#[test]
fn a_2xx_without_an_answer_fails_the_call_unless_early_media_brought_it_rfc_3261_13_2_1() {
    let mut l = leg();
    assert!(l.parting().is_none());
    assert_eq!(ended(&mut l, SessionEvent::Answered { body: None }), Cause::BadMedia);
    assert_eq!(l.parting().unwrap().q850_cause(), Some(95), "the session is to be hung up");
    let mut l = leg();
    let status = StatusCode::new(183).unwrap();
    l.handle_session(SessionEvent::Progress { status, body: None });
    l.handle_session(SessionEvent::Progress { status, body: Some(Body::sdp(SDP)) });
    let answered = l.handle_session(SessionEvent::Answered { body: None });
    assert!(
        matches!(answered, Action::Tell(LegEvent::Answered { answer: Answered::Nothing })),
        "{answered:?}"
    );
}

#[test]
fn a_hangup_carries_its_reason_and_silences_the_leg() {
    let mut l = leg();
    let command = l.handle_command(LegCommand::Hangup(Cause::MediaTimeout.into()));
    let Action::Session(SessionCommand::Hangup(Some(reason))) = command else { panic!() };
    assert_eq!((reason.q850_cause(), reason.text.as_deref()), (Some(102), Some("media timeout")));
    assert!(matches!(l.handle_session(SessionEvent::Ended(CallEnd::Local)), Action::None));
    assert!(matches!(l.handle_command(LegCommand::Hangup(Cause::Normal.into())), Action::None));
}

#[test]
fn an_offer_within_the_call_goes_both_ways_and_the_two_never_cross_rfc_3261_14_2() {
    let mut l = leg();
    let sdp = || Box::new(SessionDescription::parse(SDP).unwrap());
    let body = || Some(Body::sdp(SDP));
    assert!(matches!(
        l.handle_session(SessionEvent::Offer { body: body() }),
        Action::Tell(LegEvent::Offer(_))
    ));
    let answer = l.handle_command(LegCommand::AnswerOffer(sdp()));
    assert!(matches!(answer, Action::Session(SessionCommand::AnswerOffer(b)) if b.is_sdp()));
    let late = l.handle_session(SessionEvent::Offer { body: None });
    assert!(matches!(late, Action::Tell(LegEvent::OfferRequested)));
    let offer = l.handle_command(LegCommand::Offer(sdp()));
    assert!(matches!(offer, Action::Session(SessionCommand::AnswerOffer(_))), "{offer:?}");
    assert!(matches!(
        l.handle_session(SessionEvent::OfferAnswered { body: body() }),
        Action::Tell(LegEvent::OfferAnswered(_))
    ));
    let refusal = || LegCommand::RefuseOffer(MediaRefusal::Unusable("why"));
    let status = |action| match action {
        Action::Session(SessionCommand::RefuseOffer(answer)) => answer.status.code(),
        other => panic!("{other:?}"),
    };
    assert_eq!(status(l.handle_command(refusal())), 488);
    assert!(matches!(l.handle_command(LegCommand::Offer(sdp())), Action::Session(SessionCommand::Offer(_))));
    assert_eq!(status(l.handle_command(refusal())), 491);
    let refused = SessionEvent::OfferRefused { status: StatusCode::NOT_ACCEPTABLE_HERE };
    assert!(matches!(l.handle_session(refused), Action::Tell(LegEvent::OfferRefused(Cause::NoCommonCodec))));
    let garbage = l.handle_session(SessionEvent::Offer { body: Some(Body::sdp("hello")) });
    assert_eq!(status(garbage), 488);
    let nothing = l.handle_session(SessionEvent::OfferAnswered { body: None });
    assert!(matches!(nothing, Action::Tell(LegEvent::OfferRefused(Cause::BadMedia))));
}
