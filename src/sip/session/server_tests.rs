//! Calls to us, through the endpoint: the far side is text that is written here.

use crate::base::{Secret, Seed};
use crate::sip::answer::{Answer, Body};
use crate::sip::digest::Credentials;
use crate::sip::endpoint::{
    Acceptance, Endpoint, EndpointConfig, Output, RequestHandler, SessionId, Verdict,
};
use crate::sip::session::{CallEnd, IncomingInvite, SessionCommand, SessionEvent};
use crate::sip::transaction::LayerConfig;
use crate::sip::{
    CSeq, Flow, HeaderName, Limits, Message, Method, Reason, Request, Response, StatusCode, Uri, parse,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);
const SDP: &str = "v=0\r\n";

/// Takes every INVITE; a REGISTER, had `check` let it through, would hear 403.
struct Doorman;

impl RequestHandler for Doorman {
    fn handle(&self, _: Instant, request: &Request, _: &Flow) -> Verdict {
        if request.method != Method::INVITE {
            return Verdict::Answer(Answer::new(StatusCode::FORBIDDEN));
        }
        Verdict::Accept(Acceptance {
            owner: "pbx".into(),
            credentials: Some(Credentials::new("edge", Secret::new("pw"))),
            stays_on_flow: false,
        })
    }
}

struct Bench {
    now: Instant,
    endpoint: Endpoint,
    session: Option<SessionId>,
    invite: Option<Box<IncomingInvite>>,
    events: Vec<SessionEvent>,
    requests: Vec<Request>,
    responses: Vec<Response>,
    is_done: bool,
    branch: u32,
    /// Our tag, once a response had one.
    tag: Option<String>,
}

fn flow() -> Flow {
    Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap())
}

impl Bench {
    fn new() -> Self {
        let config = EndpointConfig {
            layer: LayerConfig::default(),
            max_sessions: 2,
            limits: Limits::UDP,
            agent: "test".into(),
            handler: Arc::new(Doorman),
        };
        Self {
            now: Instant::now(),
            endpoint: Endpoint::new(config, Seed::from_number(3)),
            session: None,
            invite: None,
            events: vec![],
            requests: vec![],
            responses: vec![],
            is_done: false,
            branch: 0,
            tag: None,
        }
    }

    /// With an INVITE that brings an offer.
    fn called() -> Self {
        let mut b = Self::new();
        b.ask("INVITE", 1, &[], SDP);
        b
    }

    /// Answered and acknowledged.
    fn talking() -> Self {
        let mut b = Self::called();
        b.command(SessionCommand::Answer(sdp()));
        b.ask("ACK", 1, &[], "");
        assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
        b.events.clear();
        b
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { bytes, .. } => match parse(&bytes, &Limits::UDP).unwrap() {
                    Message::Request(r) => self.requests.push(r),
                    Message::Response(r) => {
                        if r.headers.cseq().unwrap().method == Method::INVITE && self.session.is_some() {
                            self.tag =
                                self.tag.take().or_else(|| r.headers.to().unwrap().tag().map(str::to_owned));
                        }
                        self.responses.push(r);
                    }
                },
                Output::Incoming { session, invite } => {
                    self.session = Some(session);
                    self.invite = Some(invite);
                }
                Output::Event { event, .. } => self.events.push(event),
                Output::Done { .. } => self.is_done = true,
                Output::Probed { .. } => {}
            }
        }
    }

    /// The far side sends a request: with our tag when there is one, in a new transaction unless it is a CANCEL.
    fn ask(&mut self, method: &str, cseq: u32, lines: &[(&str, &str)], body: &str) {
        let tag = self.tag.as_ref().filter(|_| method != "CANCEL").map(|t| format!(";tag={t}"));
        self.ask_as(method, cseq, tag.as_deref().unwrap_or_default(), lines, body);
    }

    fn ask_as(&mut self, method: &str, cseq: u32, tag: &str, lines: &[(&str, &str)], body: &str) {
        self.branch += u32::from(method != "CANCEL");
        let n = self.branch;
        let mut text = format!(
            "{method} sip:6%2300@192.0.2.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK{n}\r\n\
             From: <sip:anna@192.0.2.4>;tag=far\r\nTo: <sip:600@192.0.2.1>{tag}\r\nCall-ID: c\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:anna@192.0.2.4:5070>\r\n"
        );
        lines.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.endpoint.handle_datagram(self.now, flow(), text.as_bytes());
        self.drain();
    }

    fn command(&mut self, command: SessionCommand) {
        self.endpoint.command(self.now, self.session.unwrap(), command);
        self.drain();
    }

    /// The far side answers our newest request of a method.
    fn answer(&mut self, method: Method, code: u16, lines: &[(HeaderName, &str)], body: &'static str) {
        let request = self.requests.iter().rev().find(|r| r.method == method).unwrap();
        let mut r = request.response(StatusCode::new(code).unwrap(), Some("far"));
        lines.iter().for_each(|(n, v)| r.headers.push(n.clone(), *v));
        if !body.is_empty() {
            r.headers.push(HeaderName::ContentType, "application/sdp");
            r.body = body.into();
        }
        self.endpoint.handle_datagram(self.now, flow(), &r.to_bytes());
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.endpoint.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    /// What was answered since the last look: status and method.
    fn statuses(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.responses);
        all.iter().map(|r| format!("{} {}", r.status, r.headers.cseq().unwrap().method)).collect()
    }

    fn methods(&self) -> Vec<&str> {
        self.requests.iter().map(|r| r.method.as_str()).collect()
    }

    /// Time passes until nothing is left.
    fn rest(&mut self) {
        self.pass(T1 * 256);
        assert_eq!(self.endpoint.live(), (0, 0));
        assert!(self.is_done && self.endpoint.poll_timeout().is_none());
        let is_end = |e: &&SessionEvent| matches!(e, SessionEvent::Ended(_) | SessionEvent::Failed(_));
        assert_eq!(self.events.iter().filter(is_end).count(), 1, "{:?}", self.events);
    }
}

fn sdp() -> Option<Body> {
    Some(Body::sdp(SDP))
}

fn offer() -> SessionCommand {
    SessionCommand::Offer(Body::sdp("v=0\r\no=ours\r\n"))
}

fn cancelled() -> SessionEvent {
    SessionEvent::Ended(CallEnd::Cancelled { q850: None, sip: None, text: None })
}

#[test]
fn a_call_to_us_rings_is_answered_and_acknowledged_with_one_tag_rfc_3261_13_3() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[("Record-Route", "<sip:192.0.2.20;lr>"), ("P-Asserted-Identity", "<sip:1@x>")], SDP);
    let invite = b.invite.take().unwrap();
    assert_eq!((invite.owner.as_str(), invite.uri.user_text().as_deref()), ("pbx", Some("6#00")));
    assert_eq!((invite.body.clone(), invite.flow), (sdp(), flow()));
    assert_eq!(invite.headers.asserted()[0].uri.user_text().as_deref(), Some("1"));
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Ring);
    b.command(SessionCommand::Progress(sdp()));
    b.command(SessionCommand::Answer(None));
    let tags: Vec<_> = b.responses.iter().map(|r| r.headers.to().unwrap().tag().map(str::to_owned)).collect();
    assert!(tags.iter().all(|t| t.is_some() && *t == b.tag), "{tags:?}");
    for r in &b.responses {
        assert_eq!(r.headers.get(&HeaderName::Contact), Some("<sip:6%2300@192.0.2.1:5080>"));
        assert_eq!(r.headers.get(&HeaderName::RecordRoute), Some("<sip:192.0.2.20;lr>"));
        assert!(r.headers.get(&HeaderName::Allow).unwrap().contains("INVITE"));
        assert!(r.headers.get(&HeaderName::Supported).is_some());
        assert_eq!(r.headers.get(&HeaderName::Server), Some("test"));
    }
    // the answer of the 183 goes again with the 200
    assert_eq!(b.responses.last().unwrap().body, SDP);
    assert_eq!(b.statuses(), ["180 INVITE", "183 INVITE", "200 INVITE"]);
    b.ask("ACK", 1, &[], "");
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
    b.ask("BYE", 2, &[("Reason", "Q.850;cause=16;text=\"done\"")], "");
    let end = CallEnd::Remote { q850: Some(16), text: Some("done".into()) };
    assert_eq!((b.statuses(), b.events.last()), (vec!["200 BYE".into()], Some(&SessionEvent::Ended(end))));
    b.rest();
    assert_eq!(b.statuses().len(), 0, "nothing was repeated");
}

#[test]
fn a_2xx_goes_again_from_t1_to_t2_until_its_ack_rfc_3261_13_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    let mut gaps = vec![];
    let mut last = b.now;
    for _ in 0..6 {
        b.statuses();
        let at = b.endpoint.poll_timeout().unwrap();
        b.pass(at - b.now);
        assert_eq!(b.statuses(), ["200 INVITE"]);
        gaps.push((at - last).as_millis());
        last = at;
    }
    assert_eq!(gaps, [500, 1000, 2000, 4000, 4000, 4000]);
    b.ask("ACK", 1, &[], "");
    b.pass(T1 * 128);
    assert_eq!(b.statuses().len(), 0);
    b.command(SessionCommand::Hangup(None));
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn an_ack_that_never_comes_ends_the_call_after_64_t1_with_bye_rfc_3261_13_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.pass(T1 * 64 - Duration::from_millis(1));
    assert_eq!((b.methods().len(), b.events.len()), (0, 0));
    b.pass(Duration::from_millis(1));
    assert_eq!((b.methods(), &b.events[..]), (vec!["BYE"], &[SessionEvent::Ended(CallEnd::Lost)][..]));
    assert_eq!(b.requests[0].uri.to_string(), "sip:anna@192.0.2.4:5070");
    b.answer(Method::BYE, 481, &[], "");
    b.rest();
}

#[test]
fn a_hangup_waits_for_the_ack_of_our_2xx_or_its_giving_up_rfc_3261_15() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(SessionCommand::Hangup(Some(Reason::q850(16, "bye"))));
    assert_eq!(b.methods().len(), 0);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["BYE"]);
    assert_eq!(b.requests[0].headers.get(&HeaderName::Reason), Some("Q.850;cause=16;text=\"bye\""));
    b.answer(Method::BYE, 200, &[], "");
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
    b.rest();
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(SessionCommand::Hangup(None));
    b.pass(T1 * 64);
    assert_eq!(b.methods(), ["BYE"]);
    b.answer(Method::BYE, 200, &[], "");
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
    b.rest();
}

#[test]
fn a_bye_of_ours_answers_a_challenge_and_gives_credentials_to_no_other_host_rfc_3261_22_2() {
    let challenge = (HeaderName::WwwAuthenticate, "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"");
    let mut b = Bench::talking();
    b.command(SessionCommand::Hangup(None));
    b.answer(Method::BYE, 401, std::slice::from_ref(&challenge), "");
    assert_eq!(b.methods(), ["BYE", "BYE"]);
    let (first, second) = (&b.requests[0].headers, &b.requests[1].headers);
    assert!(second.get(&HeaderName::Authorization).unwrap().contains("username=\"edge\""));
    assert_eq!(second.cseq().unwrap().number, first.cseq().unwrap().number + 1);
    b.answer(Method::BYE, 401, &[challenge], "");
    assert_eq!((b.methods().len(), b.events.last()), (2, Some(&SessionEvent::Ended(CallEnd::Local))));
    b.rest();
}

#[test]
fn a_cancel_at_any_moment_before_the_answer_ends_the_call_with_487_rfc_3261_9_2() {
    let moments: [&[SessionCommand]; 3] =
        [&[], &[SessionCommand::Ring], &[SessionCommand::Ring, SessionCommand::Progress(sdp())]];
    for before in moments {
        let mut b = Bench::called();
        before.iter().for_each(|c| b.command(c.clone()));
        b.statuses();
        b.ask("CANCEL", 1, &[("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"")], "");
        let tags: Vec<_> =
            b.responses.iter().map(|r| r.headers.to().unwrap().tag().map(str::to_owned)).collect();
        assert!(tags[0].is_some() && tags[0] == tags[1], "{tags:?}");
        assert_eq!(b.statuses(), ["200 CANCEL", "487 INVITE"]);
        let text = Some("Call completed elsewhere".into());
        let end = SessionEvent::Ended(CallEnd::Cancelled { q850: None, sip: Some(200), text });
        assert_eq!(b.events, [end]);
        // too late
        b.command(SessionCommand::Answer(sdp()));
        b.command(SessionCommand::Hangup(None));
        assert_eq!((b.statuses().len(), b.methods().len()), (0, 0));
        b.rest();
    }
}

#[test]
fn a_cancel_that_crosses_our_2xx_changes_nothing_rfc_3261_9_2() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.ask("CANCEL", 1, &[], "");
    assert_eq!(b.statuses(), ["200 INVITE", "200 CANCEL"]);
    assert_eq!(b.events.len(), 0);
    b.ask("ACK", 1, &[], "");
    b.ask("BYE", 2, &[], "");
    assert_eq!(b.events.len(), 2);
    b.rest();
}

#[test]
fn the_caller_may_end_an_early_dialog_by_bye_rfc_3261_15() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.ask("OPTIONS", 2, &[], "");
    b.ask("INVITE", 3, &[], SDP);
    assert!(b.responses.last().unwrap().headers.get(&HeaderName::RetryAfter).is_some());
    b.ask("BYE", 3, &[], "");
    b.ask("BYE", 4, &[], "");
    let expected = ["180 INVITE", "200 OPTIONS", "500 INVITE", "500 BYE", "200 BYE", "487 INVITE"];
    assert_eq!(b.statuses(), expected);
    assert_eq!(b.events, [cancelled()]);
    b.ask("BYE", 5, &[], "");
    assert_eq!(b.statuses(), ["481 BYE"]);
    b.rest();
}

#[test]
fn a_refusal_carries_its_headers_and_goes_again_until_ack() {
    let mut b = Bench::called();
    let answer = Answer::new(StatusCode::NOT_ACCEPTABLE_HERE).warning(305, "no common codec");
    b.command(SessionCommand::Refuse(answer));
    let r = b.responses.last().unwrap();
    assert_eq!(r.headers.get(&HeaderName::Warning), Some("305 sipedge \"no common codec\""));
    assert_eq!(r.headers.get(&HeaderName::Contact), None);
    b.pass(T1 * 3);
    assert_eq!(b.statuses().len(), 3);
    assert_eq!((&b.events[..], b.is_done), (&[SessionEvent::Ended(CallEnd::Local)][..], true));
    b.rest();
    let mut b = Bench::called();
    b.command(SessionCommand::Hangup(Some(Reason::q850(31, "shutting down"))));
    let r = b.responses.last().unwrap();
    assert_eq!((r.status.code(), r.headers.get(&HeaderName::Reason).is_some()), (480, true));
    b.rest();
}

#[test]
fn an_invitation_expires_when_the_caller_says_so_rfc_3261_13_3_1() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[("Expires", "20")], SDP);
    b.command(SessionCommand::Ring);
    b.pass(Duration::from_secs(19));
    assert_eq!(b.statuses(), ["180 INVITE"]);
    b.pass(Duration::from_secs(1));
    assert_eq!((b.statuses(), &b.events[..]), (vec!["487 INVITE".into()], &[cancelled()][..]));
    b.rest();
}

#[test]
fn a_call_that_rings_long_is_told_each_minute_and_not_for_ever_rfc_3261_13_3_1_1() {
    let mut b = Bench::called();
    b.pass(Duration::from_secs(100));
    assert_eq!(b.statuses(), ["100 INVITE"]);
    b.command(SessionCommand::Ring);
    b.pass(Duration::from_secs(185));
    assert_eq!(b.statuses(), vec!["180 INVITE"; 4]);
    b.pass(Duration::from_secs(3_600));
    assert_eq!(b.events, [cancelled()]);
    b.rest();
}

#[test]
fn a_retransmitted_invite_is_absorbed_and_its_last_answer_repeated_rfc_3261_17_2_1() {
    let mut b = Bench::called();
    b.command(SessionCommand::Ring);
    b.tag = None;
    b.branch -= 1;
    b.ask("INVITE", 1, &[], SDP);
    assert_eq!(b.statuses(), ["180 INVITE", "180 INVITE"]);
    assert_eq!(b.endpoint.live(), (1, 1));
}

#[test]
fn an_invite_that_comes_by_two_ways_becomes_one_call_rfc_3261_8_2_2_2() {
    let mut b = Bench::called();
    b.ask("INVITE", 1, &[], SDP);
    assert_eq!(b.statuses(), ["482 INVITE"]);
    assert_eq!(b.endpoint.live().0, 1);
    b.ask_as("INVITE", 2, "", &[], SDP);
    assert_eq!((b.statuses().len(), b.endpoint.live().0), (0, 2), "another number is another call");
}

#[test]
fn an_invite_of_ours_that_comes_back_is_a_loop() {
    let mut b = Bench::new();
    let mut r = Request::new(Method::INVITE, Uri::parse("sip:600@192.0.2.4").unwrap());
    let address = || crate::sip::NameAddr::new(r.uri.clone());
    let call = crate::sip::session::OutgoingCall {
        request_uri: r.uri.clone(),
        from: address(),
        to: address(),
        headers: vec![],
        credentials: None,
        body: sdp(),
        ring_limit: Duration::from_secs(60),
        stays_on_flow: false,
    };
    b.endpoint.dial(b.now, flow(), None, call).unwrap();
    b.drain();
    r = b.requests.pop().unwrap();
    r.headers.push_front(HeaderName::Via, "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKproxy");
    b.endpoint.handle_datagram(b.now, flow(), &r.to_bytes());
    b.drain();
    assert_eq!((b.statuses(), b.session), (vec!["482 INVITE".into()], None));
}

#[test]
fn an_invite_that_makes_no_dialog_is_400_and_beyond_the_cap_503() {
    let mut b = Bench::new();
    let text = "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKx\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n";
    b.endpoint.handle_datagram(b.now, flow(), text.as_bytes());
    b.drain();
    assert_eq!(b.responses[0].phrase, "Contact is missing or malformed");
    b.statuses();
    (1..=3).for_each(|n| b.ask_as("INVITE", n, "", &[], SDP));
    assert_eq!((b.statuses(), b.endpoint.live().0), (vec!["503 INVITE".into()], 2));
}

#[test]
fn a_call_without_an_offer_is_answered_with_ours_and_its_ack_brings_the_answer_rfc_3261_13_2_1() {
    let mut b = Bench::new();
    b.ask("INVITE", 1, &[], "");
    assert_eq!(b.invite.as_ref().unwrap().body, None);
    b.command(SessionCommand::Progress(sdp()));
    assert!(b.responses.last().unwrap().body.is_empty(), "an unreliable response carries no offer");
    b.command(SessionCommand::Answer(sdp()));
    // their next offer before the answer to ours: glare (RFC 5407 §3.1.5)
    b.ask("INVITE", 2, &[], SDP);
    b.ask("ACK", 1, &[], "v=0\r\no=answer\r\n");
    assert_eq!(b.statuses(), ["183 INVITE", "200 INVITE", "491 INVITE"]);
    assert_eq!(b.events, [SessionEvent::Confirmed { body: Some(Body::sdp("v=0\r\no=answer\r\n")) }]);
}

#[test]
fn their_offer_is_answered_once_and_refreshes_the_target_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!(b.events, [SessionEvent::Offer { body: sdp() }]);
    // a second one while the first has no answer
    b.ask("INVITE", 3, &[], SDP);
    let after: u32 = b.responses[0].headers.get(&HeaderName::RetryAfter).unwrap().parse().unwrap();
    assert!(after <= 10);
    b.command(SessionCommand::AnswerOffer(Body::sdp("v=0\r\no=answer\r\n")));
    b.command(SessionCommand::AnswerOffer(Body::sdp("v=0\r\no=again\r\n")));
    let r = b.responses.last().unwrap();
    assert_eq!((r.status.code(), r.body.as_ref()), (200, &b"v=0\r\no=answer\r\n"[..]));
    assert!(r.headers.get(&HeaderName::Contact).is_some());
    assert_eq!(b.statuses(), ["500 INVITE", "200 INVITE"]);
    b.branch -= 1; // the ACK of a failure belongs to its transaction
    b.ask("ACK", 3, &[], "");
    b.pass(T1);
    assert_eq!(b.statuses(), ["200 INVITE"], "until its ACK");
    b.ask("ACK", 2, &[], "");
    b.pass(T1 * 20);
    assert_eq!(b.statuses().len(), 0);
    assert_eq!(b.events.len(), 1);
    b.ask("BYE", 4, &[], "");
    b.rest();
}

#[test]
fn their_empty_offer_takes_ours_and_its_ack_brings_the_answer_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.ask("INVITE", 2, &[], "");
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("ACK", 2, &[], SDP);
    let expected = [SessionEvent::Offer { body: None }, SessionEvent::OfferAnswered { body: sdp() }];
    assert_eq!(b.events, expected);
}

#[test]
fn their_offer_that_is_refused_or_left_unanswered_leaves_the_session_as_it_was_rfc_3261_14_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE).warning(399, "no")));
    assert!(b.responses[0].headers.get(&HeaderName::Warning).is_some());
    assert_eq!(b.statuses(), ["488 INVITE"]);
    b.ask("ACK", 2, &[], "");
    b.ask("INVITE", 3, &[], SDP);
    b.pass(T1 * 64);
    assert!(b.statuses().contains(&"504 INVITE".into()));
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("OPTIONS", 4, &[], "");
    assert_eq!(b.responses.last().unwrap().status, StatusCode::OK);
    b.ask("BYE", 5, &[], "");
    b.rest();
}

#[test]
fn an_offer_of_theirs_says_that_our_2xx_came_when_its_ack_was_lost_rfc_5407_3_1_4() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!(b.events, [SessionEvent::Confirmed { body: None }, SessionEvent::Offer { body: sdp() }]);
}

#[test]
fn a_bye_with_an_offer_of_theirs_unanswered_answers_that_with_487_rfc_3261_15_1_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.ask("BYE", 3, &[], "");
    assert_eq!(b.statuses(), ["200 BYE", "487 INVITE"]);
    b.rest();
    let mut b = Bench::talking();
    b.statuses();
    b.ask("INVITE", 2, &[], SDP);
    b.command(SessionCommand::Hangup(None));
    assert_eq!((b.statuses(), b.methods()), (vec!["487 INVITE".into()], vec!["BYE"]));
    b.ask("INVITE", 3, &[], SDP);
    assert_eq!(b.statuses(), ["481 INVITE"], "the session ended when BYE left (RFC 3261 §15.1.1)");
    b.answer(Method::BYE, 200, &[], "");
    b.rest();
}

#[test]
fn our_offer_is_answered_acknowledged_each_time_and_refreshes_the_target_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.command(offer());
    let r = b.requests[0].clone();
    assert_eq!((r.method.as_str(), r.body.as_ref()), ("INVITE", &b"v=0\r\no=ours\r\n"[..]));
    assert!(r.headers.get(&HeaderName::Contact).is_some() && r.headers.to().unwrap().tag() == Some("far"));
    b.command(offer());
    assert_eq!(
        b.events,
        [SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING }],
        "one at a time"
    );
    b.answer(Method::INVITE, 100, &[], "");
    let contact = (HeaderName::Contact, "<sip:anna@192.0.2.4:5999>");
    b.answer(Method::INVITE, 200, std::slice::from_ref(&contact), SDP);
    b.answer(Method::INVITE, 200, &[contact], SDP);
    assert_eq!(b.methods(), ["INVITE", "ACK", "ACK"]);
    assert_eq!(b.requests[1].uri.to_string(), "sip:anna@192.0.2.4:5999");
    assert_eq!(b.requests[1].headers.get(&HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(b.events[1..], [SessionEvent::OfferAnswered { body: sdp() }]);
    b.ask("BYE", 2, &[], "");
    b.rest();
}

#[test]
fn our_offer_answers_a_challenge_and_its_ack_has_the_credentials_rfc_3261_22_1() {
    let mut b = Bench::talking();
    b.command(offer());
    let challenge = "Digest realm=\"pbx\", nonce=\"n\", qop=\"auth\"";
    b.answer(Method::INVITE, 407, &[(HeaderName::ProxyAuthenticate, challenge)], "");
    b.answer(Method::INVITE, 401, &[(HeaderName::WwwAuthenticate, challenge)], "");
    b.answer(Method::INVITE, 200, &[], SDP);
    assert_eq!(b.methods(), ["INVITE", "ACK", "INVITE", "ACK", "INVITE", "ACK"]);
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        assert!(b.requests[4].headers.get(&name).is_some() && b.requests[5].headers.get(&name).is_some());
    }
    assert_eq!(b.events, [SessionEvent::OfferAnswered { body: sdp() }]);
}

#[test]
fn our_offer_that_is_refused_leaves_the_session_as_it_was_and_408_or_481_ends_it_rfc_3261_12_2_1_2() {
    let mut b = Bench::talking();
    for code in [488, 500, 503, 603, 401] {
        b.command(offer());
        b.answer(Method::INVITE, code, &[], "");
        let status = StatusCode::new(code).unwrap();
        assert_eq!(b.events.pop(), Some(SessionEvent::OfferRefused { status }));
    }
    assert_eq!(b.events.len(), 0);
    for code in [408, 481] {
        let mut b = Bench::talking();
        b.command(offer());
        b.answer(Method::INVITE, code, &[], "");
        assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost)]);
        assert_eq!(b.methods(), ["INVITE", "ACK", "BYE"]);
        b.answer(Method::BYE, 481, &[], "");
        b.rest();
    }
}

#[test]
fn our_offer_that_nobody_answers_ends_the_call_and_one_that_stays_open_is_cancelled() {
    let mut b = Bench::talking();
    b.command(offer());
    b.pass(T1 * 64);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost)]);
    b.rest();
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 100, &[], "");
    b.pass(T1 * 128);
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
    let branch = |r: &Request| r.headers.top_via().unwrap().branch().map(str::to_owned);
    assert_eq!(branch(&b.requests[0]), branch(&b.requests[1]));
    b.answer(Method::CANCEL, 200, &[], "");
    b.answer(Method::INVITE, 487, &[], "");
    assert_eq!(b.events, [SessionEvent::OfferRefused { status: StatusCode::REQUEST_TERMINATED }]);
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 100, &[], "");
    b.pass(T1 * 192);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Lost)]);
    b.rest();
}

#[test]
fn our_offer_waits_for_the_end_of_theirs_and_for_the_first_ack_rfc_3261_14_1() {
    let mut b = Bench::called();
    b.command(SessionCommand::Answer(sdp()));
    b.command(offer());
    assert_eq!(b.methods().len(), 0);
    b.ask("ACK", 1, &[], "");
    assert_eq!(b.methods(), ["INVITE"]);
    b.answer(Method::INVITE, 200, &[], SDP);
    b.ask("INVITE", 2, &[], SDP);
    b.command(offer());
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    assert_eq!(b.methods(), ["INVITE", "ACK"]);
    b.ask("ACK", 2, &[], "");
    assert_eq!(b.methods(), ["INVITE", "ACK", "INVITE"]);
    b.answer(Method::INVITE, 200, &[], SDP);
    b.ask("INVITE", 3, &[], SDP);
    b.command(offer());
    b.command(SessionCommand::RefuseOffer(Answer::new(StatusCode::REQUEST_PENDING)));
    assert_eq!(b.methods()[3..], ["ACK", "INVITE"]);
}

#[test]
fn offers_that_cross_are_both_refused_and_ours_goes_again_after_the_callees_back_off_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.statuses();
    b.command(offer());
    b.ask("INVITE", 2, &[], SDP);
    assert_eq!((b.statuses(), b.events.len()), (vec!["491 INVITE".into()], 0));
    b.ask("ACK", 2, &[], "");
    for tries in 2..=5 {
        b.answer(Method::INVITE, 491, &[], "");
        b.requests.clear();
        // in units of 10 ms
        let units = (0..=200).find(|n| {
            b.pass(Duration::from_millis(u64::from(*n > 0) * 10));
            !b.requests.is_empty()
        });
        assert!(units.is_some(), "try {tries}");
        assert_eq!((b.methods(), b.events.len()), (vec!["INVITE"], 0), "try {tries}");
    }
    b.answer(Method::INVITE, 491, &[], "");
    assert_eq!(b.events, [SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING }]);
}

#[test]
fn their_offer_during_our_back_off_takes_the_place_of_ours_rfc_3261_14_1() {
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 491, &[], "");
    b.ask("INVITE", 2, &[], SDP);
    let refused = SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING };
    assert_eq!(b.events, [refused, SessionEvent::Offer { body: sdp() }]);
    b.command(SessionCommand::AnswerOffer(Body::sdp(SDP)));
    b.ask("ACK", 2, &[], "");
    b.pass(Duration::from_secs(10));
    assert_eq!(b.methods(), ["INVITE", "ACK"]);
}

#[test]
fn requests_within_the_dialog_get_their_status_rfc_3261_12_2_2() {
    let mut b = Bench::talking();
    b.statuses();
    b.ask("OPTIONS", 10, &[], "");
    b.ask("OPTIONS", 10, &[], "");
    b.ask("INVITE", 9, &[], SDP);
    b.ask("UPDATE", 11, &[], SDP);
    b.ask("INFO", 12, &[], "");
    b.ask("INVITE", 13, &[("Require", "100rel")], SDP);
    b.ask_as("BYE", 14, ";tag=other", &[], "");
    let expected =
        ["200 OPTIONS", "500 OPTIONS", "500 INVITE", "405 UPDATE", "200 INFO", "420 INVITE", "481 BYE"];
    assert_eq!((b.statuses(), b.events.len()), (expected.map(String::from).to_vec(), 0));
}

#[test]
fn a_stranger_who_proved_identity_is_one_no_more() {
    let mut b = Bench::new();
    let text = "INVITE sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKx\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContact: <sip:a@192.0.2.4>\r\n\r\n";
    b.endpoint.handle_stranger(b.now, flow(), text.as_bytes());
    b.drain();
    b.command(SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE)));
    b.pass(T1 * 3);
    assert_eq!(b.statuses(), vec!["486 INVITE"; 3], "a lost refusal comes again by itself");
    b.rest();
}

#[test]
fn the_number_of_a_request_of_ours_starts_the_sequence_of_our_side() {
    let mut b = Bench::talking();
    b.command(offer());
    b.answer(Method::INVITE, 200, &[], SDP);
    b.command(SessionCommand::Hangup(None));
    let numbers: Vec<CSeq> = b.requests.iter().map(|r| r.headers.cseq().unwrap()).collect();
    assert_eq!(numbers.iter().map(|c| c.number).collect::<Vec<_>>(), [1, 1, 2]);
}
