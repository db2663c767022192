//! Sessions, told by hand what the far side says. Transactions are not involved.

use super::*;
use crate::base::{External, Secret};
use crate::sip::digest::{Credentials, DigestError};
use crate::sip::{CSeq, Header, HeaderName, Message, Method, NameAddr, Uri, parse};
use std::net::SocketAddr;
use std::time::Duration;

const T0: fn() -> Instant = Instant::now;

fn far() -> SocketAddr {
    "192.0.2.4:5060".parse().unwrap()
}

pub(super) fn call() -> OutgoingCall {
    let address = |s: &str| NameAddr::parse(s).unwrap();
    OutgoingCall {
        request_uri: Uri::parse("sip:100@192.0.2.4").unwrap(),
        from: address("\"A \\\"x\\\"\" <sip:edge@192.0.2.1>"),
        to: address("<sip:100@192.0.2.4>"),
        headers: vec![Header::new(HeaderName::PAssertedIdentity, "<sip:anna@192.0.2.1>")],
        credentials: Some(Credentials::new("edge", Secret::new("pw"))),
        body: Some(Body::sdp("v=0\r\n")),
        ring_limit: Duration::from_secs(60),
        silence_limit: None,
        max_forwards: 70,
        stays_on_flow: false,
        external: External::default(),
        timers: TimerRules::default(),
    }
}

pub(super) struct Bench {
    pub(super) now: Instant,
    pub(super) session: Session,
    /// Requests of ours, newest last, with their tickets.
    pub(super) sent: Vec<(Ticket, Request)>,
    pub(super) acks: Vec<(Flow, Request)>,
    pub(super) answers: Vec<Response>,
    pub(super) events: Vec<SessionEvent>,
    pub(super) abandoned: usize,
    pub(super) hushed: usize,
    pub(super) is_done: bool,
    /// Requests that [`Self::short`] has told.
    told: usize,
}

impl Bench {
    pub(super) fn new(call: OutgoingCall) -> Self {
        let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), far());
        let end = LocalEnd {
            flow,
            external: call.external,
            contact_user: Some("edge".into()),
            agent: "t".into(),
            is_sips: false,
        };
        let session = Session::dial(end, call, Timings::default(), Seed::from_number(7));
        let mut bench = Self {
            now: T0(),
            session,
            sent: vec![],
            acks: vec![],
            answers: vec![],
            events: vec![],
            abandoned: 0,
            hushed: 0,
            is_done: false,
            told: 0,
        };
        bench.drain();
        bench
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                SessionOutput::Start { ticket, request, .. } => self.sent.push((ticket, *request)),
                SessionOutput::Send { flow, bytes } => {
                    let Message::Request(ack) = parse(&bytes, &crate::sip::Limits::UDP).unwrap() else {
                        panic!()
                    };
                    self.acks.push((flow, ack));
                }
                SessionOutput::Respond { response, .. } => self.answers.push(*response),
                SessionOutput::Abandon(_) => self.abandoned += 1,
                SessionOutput::Hush(_) => self.hushed += 1,
                SessionOutput::Event(event) => self.events.push(event),
                SessionOutput::Done => self.is_done = true,
            }
        }
    }

    pub(super) fn methods(&self) -> Vec<&str> {
        self.sent.iter().map(|(_, r)| r.method.as_str()).collect()
    }

    pub(super) fn last(&self, method: Method) -> (Ticket, Request) {
        self.sent.iter().rev().find(|(_, r)| r.method == method).cloned().unwrap()
    }

    /// The far side answers the newest request of a method.
    pub(super) fn answer(&mut self, method: Method, code: u16, tag: &str, lines: &[(HeaderName, &str)]) {
        self.answer_body(method, code, tag, lines, if (183..300).contains(&code) { "v=0\r\n" } else { "" });
    }

    pub(super) fn answer_body(
        &mut self,
        method: Method,
        code: u16,
        tag: &str,
        lines: &[(HeaderName, &str)],
        body: &'static str,
    ) {
        let (ticket, request) = self.last(method);
        let mut r = request.response(StatusCode::new(code).unwrap(), Some(tag));
        lines.iter().for_each(|(n, v)| r.headers.push(n.clone(), *v));
        r.body = Bytes::from_static(body.as_bytes());
        r.headers.push(HeaderName::ContentType, "application/sdp");
        self.session.handle_response(self.now, ticket, &r);
        self.drain();
    }

    pub(super) fn answer_200(&mut self, tag: &str) {
        let contact = format!("<sip:{tag}@192.0.2.4:5070>");
        self.answer(Method::INVITE, 200, tag, &[(HeaderName::Contact, &contact)]);
    }

    pub(super) fn hangup(&mut self) {
        self.session.hangup(self.now, Some(Reason::q850(16, "bye")));
        self.drain();
    }

    /// The far side asks something in the dialog with this tag.
    fn ask(&mut self, method: &str, number: u32, tag: &str, lines: &[(HeaderName, &str)]) -> u16 {
        self.send(method, number, tag, lines);
        self.answers.last().unwrap().status.code()
    }

    /// The same, whether it is answered at once or not.
    fn send(&mut self, method: &str, number: u32, tag: &str, lines: &[(HeaderName, &str)]) {
        self.send_body(method, number, tag, lines, "");
    }

    pub(super) fn send_body(
        &mut self,
        method: &str,
        number: u32,
        tag: &str,
        lines: &[(HeaderName, &str)],
        body: &'static str,
    ) {
        let method = Method::parse(method).unwrap();
        let mut r = Request::new(method.clone(), Uri::parse("sip:edge@192.0.2.1:5080").unwrap());
        r.headers.push(HeaderName::Via, "SIP/2.0/UDP 192.0.2.4;branch=z9hG4bKfar");
        r.headers.push(HeaderName::From, format!("<sip:100@192.0.2.4>;tag={tag}"));
        r.headers.push(HeaderName::To, format!("<sip:edge@192.0.2.1>;tag={}", self.session.local_tag()));
        r.headers.push(HeaderName::CallId, self.session.call_id());
        r.headers.push(HeaderName::CSeq, CSeq { number, method }.to_string());
        lines.iter().for_each(|(n, v)| r.headers.push(n.clone(), *v));
        r.body = Bytes::from_static(body.as_bytes());
        let e = r.essentials().unwrap();
        let mut layer = crate::sip::transaction::Layer::new(Default::default());
        let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), far());
        layer.handle_request(self.now, r.clone(), flow, false).unwrap();
        let Some(crate::sip::transaction::LayerOutput::Request { id, .. }) = layer.poll_output() else {
            panic!("a request was expected")
        };
        self.session.handle_request(self.now, id, &r, &e);
        self.drain();
    }

    pub(super) fn end_all(&mut self) {
        for (ticket, _) in self.sent.clone() {
            self.session.handle_terminated(ticket);
        }
        self.drain();
    }
}

fn body() -> Option<Body> {
    Some(Body::sdp("v=0\r\n"))
}

#[test]
fn a_call_rings_is_answered_and_ends_by_our_bye_rfc_3261_13_and_15() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 100, "", &[]);
    b.answer(Method::INVITE, 180, "t1", &[]);
    b.answer(Method::INVITE, 183, "t1", &[]);
    b.answer_200("t1");
    assert_eq!(
        b.events,
        [
            SessionEvent::Ringing,
            SessionEvent::Progress { status: StatusCode::SESSION_PROGRESS, body: body() },
            SessionEvent::Answered { body: body() },
        ]
    );
    let (flow, ack) = &b.acks[0].clone();
    assert_eq!(flow.path.remote, "192.0.2.4:5070".parse::<SocketAddr>().unwrap());
    assert_eq!(ack.uri.to_string(), "sip:t1@192.0.2.4:5070");
    assert_eq!(ack.headers.cseq().unwrap().number, b.sent[0].1.headers.cseq().unwrap().number);
    b.hangup();
    let (_, bye) = b.last(Method::BYE);
    assert_eq!(bye.headers.get(&HeaderName::Reason), Some("Q.850;cause=16;text=\"bye\""));
    assert_eq!(bye.headers.cseq().unwrap().number, ack.headers.cseq().unwrap().number + 1);
    b.answer(Method::BYE, 200, "t1", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Ended(CallEnd::Local)));
    assert!(!b.is_done);
    b.end_all();
    assert!(b.is_done);
}

#[test]
fn beyond_a_nat_all_that_a_call_of_ours_says_of_us_is_the_address_there() {
    let external = External::new(&["203.0.113.7".parse().unwrap()]).unwrap();
    let mut b = Bench::new(OutgoingCall { external, ..call() });
    let reliable = [
        (HeaderName::Require, "100rel"),
        (HeaderName::RSeq, "7"),
        (HeaderName::Contact, "<sip:t1@192.0.2.4>"),
    ];
    b.answer(Method::INVITE, 183, "t1", &reliable);
    b.answer(Method::PRACK, 200, "t1", &[]);
    b.answer_200("t1");
    b.session.command(b.now, SessionCommand::Offer(Body::sdp("v=0\r\no=2\r\n")));
    b.drain();
    b.answer_200("t1");
    b.send("REFER", 5, "t1", &[(HeaderName::ReferTo, "<sip:7@192.0.2.4>")]);
    b.session.command(b.now, SessionCommand::AnswerRefer(Answer::new(StatusCode::ACCEPTED)));
    b.drain();
    b.answer(Method::NOTIFY, 200, "t1", &[]);
    b.hangup();
    assert_eq!(b.methods(), ["INVITE", "PRACK", "INVITE", "NOTIFY", "BYE"]);
    let requests: Vec<&Request> =
        b.sent.iter().map(|(_, r)| r).chain(b.acks.iter().map(|(_, a)| a)).collect();
    for r in &requests {
        let via = r.headers.get(&HeaderName::Via).unwrap();
        assert!(via.starts_with("SIP/2.0/UDP 203.0.113.7:5080;"), "{} {via}", r.method);
    }
    let of_answers = b.answers.iter().filter_map(|r| r.headers.get(&HeaderName::Contact));
    let contacts: Vec<&str> =
        requests.iter().filter_map(|r| r.headers.get(&HeaderName::Contact)).chain(of_answers).collect();
    assert!(contacts.iter().all(|c| *c == "<sip:edge@203.0.113.7:5080>"), "{contacts:?}");
    // both INVITEs, the NOTIFY, the 202
    assert_eq!(contacts.len(), 4);
}

#[test]
fn each_retransmission_of_the_2xx_gets_the_same_ack_rfc_3261_13_2_2_4() {
    let mut b = Bench::new(call());
    b.answer_200("t1");
    b.answer_200("t1");
    assert_eq!(b.acks.len(), 2);
    assert_eq!(b.acks[0], b.acks[1]);
    assert_eq!(b.events.len(), 1);
    // one that goes on does so for want of an ACK that arrives
    (0..4).for_each(|_| b.answer_200("t1"));
    let contact = "<sip:t1@192.0.2.4:5070>".to_owned();
    let sent_to = "192.0.2.4:5070".parse().unwrap();
    assert_eq!(b.events[1..], [SessionEvent::AckUnheard { contact, sent_to }]);
}

#[test]
fn a_second_fork_that_answers_is_acknowledged_and_ended_rfc_3261_13_2_2_4() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    b.answer(Method::INVITE, 180, "t2", &[]);
    b.answer_200("t2");
    b.answer_200("t1");
    assert_eq!(b.acks.iter().map(|(_, a)| a.uri.to_string()).collect::<Vec<_>>().len(), 2);
    let (ticket, bye) = b.last(Method::BYE);
    assert_eq!(bye.headers.to().unwrap().tag(), Some("t1"));
    b.session.handle_terminated(ticket);
    b.drain();
    assert_eq!(b.ask("OPTIONS", 5, "t2", &[]), 200);
    assert_eq!(b.events.iter().filter(|e| matches!(e, SessionEvent::Answered { .. })).count(), 1);
}

#[test]
fn cancel_waits_for_a_provisional_response_and_has_the_branch_of_the_invite_rfc_3261_9_1() {
    let mut b = Bench::new(call());
    b.hangup();
    assert_eq!(b.methods(), ["INVITE"]);
    b.answer(Method::INVITE, 100, "", &[]);
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
    let (invite, cancel) = (&b.sent[0].1, &b.sent[1].1);
    assert_eq!(cancel.headers.get(&HeaderName::Via), invite.headers.get(&HeaderName::Via));
    assert_eq!(cancel.headers.cseq().unwrap().number, invite.headers.cseq().unwrap().number);
    assert!(cancel.headers.get(&HeaderName::Reason).unwrap().starts_with("Q.850;cause=16"));
    b.answer(Method::CANCEL, 200, "t1", &[]);
    b.answer(Method::INVITE, 487, "t1", &[]);
    assert_eq!(b.events, [SessionEvent::Ended(CallEnd::Local)]);
}

#[test]
fn a_2xx_that_crosses_cancel_is_acknowledged_and_ended_rfc_3261_15() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    b.hangup();
    b.answer_200("t1");
    assert_eq!((b.acks.len(), b.methods()), (1, vec!["INVITE", "CANCEL", "BYE"]));
    b.answer(Method::BYE, 200, "t1", &[]);
    assert_eq!(b.events, [SessionEvent::Ringing, SessionEvent::Ended(CallEnd::Local)]);
}

#[test]
fn a_cancel_without_a_final_response_is_given_up_after_64_t1_rfc_3261_9_1() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    b.hangup();
    let give_up = b.now + Duration::from_secs(32);
    assert_eq!(b.session.poll_timeout(), Some((give_up, SessionTimer::CancelGiveUp)));
    b.session.handle_timeout(give_up);
    b.drain();
    assert_eq!((b.abandoned, b.events.last()), (1, Some(&SessionEvent::Ended(CallEnd::Local))));
    b.end_all();
    assert!(b.is_done);
}

#[test]
fn a_call_that_rings_too_long_is_cancelled_and_has_timed_out() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    b.session.handle_timeout(b.now + Duration::from_secs(60));
    b.drain();
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
    b.answer(Method::INVITE, 487, "t1", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Failed(CallFailure::Timeout)));
}

#[test]
fn a_refusal_tells_status_and_q850_cause_rfc_3326() {
    let mut b = Bench::new(call());
    let reason = (HeaderName::Reason, "SIP;cause=480, Q.850;cause=19;text=\"no answer\"");
    let retry = (HeaderName::RetryAfter, "18000 (I'm in a meeting);duration=3600");
    b.answer(Method::INVITE, 480, "t1", &[reason, retry]);
    let expected = CallFailure::Status {
        status: StatusCode::TEMPORARILY_UNAVAILABLE,
        phrase: "Temporarily Unavailable".into(),
        q850: Some(19),
        text: Some("no answer".into()),
        retry_after: Some(Duration::from_secs(18_000)),
        had_credentials: false,
    };
    assert_eq!(b.events, [SessionEvent::Failed(expected)]);
}

#[test]
fn a_timeout_or_a_closed_port_fails_the_call() {
    for (failure, expected) in
        [(Failure::Timeout, CallFailure::Timeout), (Failure::Transport, CallFailure::Transport)]
    {
        let mut b = Bench::new(call());
        let ticket = b.sent[0].0;
        b.session.handle_failure(b.now, ticket, failure);
        b.drain();
        assert_eq!(b.events, [SessionEvent::Failed(expected)]);
        b.end_all();
        assert!(b.is_done);
    }
}

const CHALLENGE: &str = "Digest realm=\"pbx\", nonce=\"n\", algorithm=MD5, qop=\"auth\"";

#[test]
fn a_challenged_invite_goes_again_with_credentials_and_the_next_cseq_rfc_3261_22_2() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 401, "x", &[(HeaderName::WwwAuthenticate, CHALLENGE)]);
    let (first, second) = (&b.sent[0].1, &b.sent[1].1);
    assert_eq!(second.headers.cseq().unwrap().number, first.headers.cseq().unwrap().number + 1);
    assert_eq!(second.headers.call_id(), first.headers.call_id());
    assert_eq!(second.headers.from().unwrap().tag(), first.headers.from().unwrap().tag());
    assert_eq!(second.headers.to().unwrap().tag(), None);
    assert_ne!(second.headers.top_via().unwrap().branch(), first.headers.top_via().unwrap().branch());
    assert!(second.headers.get(&HeaderName::Authorization).unwrap().contains("username=\"edge\""));
    b.answer_200("t1");
    assert!(b.acks[0].1.headers.get(&HeaderName::Authorization).is_some());
    // BYE is challenged too
    b.hangup();
    b.answer(Method::BYE, 401, "t1", &[(HeaderName::WwwAuthenticate, CHALLENGE)]);
    assert!(b.last(Method::BYE).1.headers.get(&HeaderName::Authorization).unwrap().contains("nc=00000002"));
    b.answer(Method::BYE, 200, "t1", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Ended(CallEnd::Local)));
}

#[test]
fn proxies_in_line_are_each_told_who_we_are_rfc_3261_22_3() {
    let mut b = Bench::new(call());
    let mut ask = |realm: &str| {
        let challenge = CHALLENGE.replace("\"pbx\"", &format!("\"{realm}\""));
        b.answer(Method::INVITE, 407, "x", &[(HeaderName::ProxyAuthenticate, &challenge)]);
        let (_, again) = b.last(Method::INVITE);
        let realms = again
            .headers
            .all(&HeaderName::ProxyAuthorization)
            .filter_map(|line| line.split("realm=\"").nth(1)?.split('"').next());
        (realms.map(str::to_owned).collect::<Vec<_>>(), b.events.clone())
    };
    assert_eq!(ask("p1"), (vec!["p1".into()], vec![]));
    assert_eq!(ask("p2"), (vec!["p1".into(), "p2".into()], vec![]));
    let refused = SessionEvent::Failed(CallFailure::Credentials(DigestError::Refused));
    assert_eq!(ask("p1").1, [refused]);
}

#[test]
fn a_second_challenge_is_a_wrong_password_and_none_is_answered_without_credentials() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 407, "x", &[(HeaderName::ProxyAuthenticate, CHALLENGE)]);
    b.answer(Method::INVITE, 407, "x", &[(HeaderName::ProxyAuthenticate, CHALLENGE)]);
    assert_eq!(b.events, [SessionEvent::Failed(CallFailure::Credentials(DigestError::Refused))]);
    let mut b = Bench::new(OutgoingCall { credentials: None, ..call() });
    b.answer(Method::INVITE, 401, "x", &[(HeaderName::WwwAuthenticate, CHALLENGE)]);
    assert!(matches!(&b.events[..], [SessionEvent::Failed(CallFailure::Status { status, .. })]
        if *status == StatusCode::UNAUTHORIZED));
}

#[test]
fn the_far_side_ends_the_call_with_its_reason() {
    let mut b = Bench::new(call());
    b.answer_200("t1");
    let reason = (HeaderName::Reason, "Q.850;cause=102;text=\"media timeout\"");
    assert_eq!(b.ask("BYE", 1, "t1", &[reason]), 200);
    let expected = CallEnd::Remote { q850: Some(102), text: Some("media timeout".into()) };
    assert_eq!(b.events.last(), Some(&SessionEvent::Ended(expected)));
    assert_eq!(b.ask("BYE", 2, "t1", &[]), 481);
    b.end_all();
    assert!(b.is_done);
}

#[test]
fn requests_within_the_dialog_get_their_status_and_the_call_lives_on() {
    let mut b = Bench::new(call());
    b.answer_200("t1");
    assert_eq!(b.ask("OPTIONS", 10, "t1", &[]), 200);
    assert_eq!(b.ask("OPTIONS", 10, "t1", &[]), 500); // RFC 3261 §12.2.2
    assert_eq!(b.ask("REFER", 12, "t1", &[]), 400);
    assert_eq!(b.ask("MESSAGE", 12, "t1", &[]), 500);
    assert_eq!(b.ask("FROB", 13, "t1", &[]), 501);
    assert_eq!(b.ask("INVITE", 14, "t1", &[(HeaderName::Require, "x")]), 420);
    assert_eq!(b.ask("INFO", 15, "t1", &[]), 200);
    assert_eq!(b.ask("BYE", 16, "other", &[]), 481);
    assert_eq!(b.events.len(), 1);
    assert_eq!(b.answers.last().unwrap().headers.to().unwrap().tag(), Some(b.session.local_tag()));
}

#[test]
fn an_offer_of_the_callee_before_its_answer_crosses_ours_rfc_3261_14_2() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    assert_eq!(b.ask("INVITE", 1, "t1", &[]), 491);
    b.session.command(b.now, SessionCommand::Offer(Body::sdp("v=0\r\n")));
    b.drain();
    let too_early = SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING };
    assert_eq!((b.methods(), b.events.last()), (vec!["INVITE"], Some(&too_early)));
}

#[test]
fn who_chose_the_call_id_waits_longer_after_offers_that_crossed_rfc_3261_14_1() {
    let mut waits = vec![];
    let mut b = Bench::new(call());
    b.answer_200("t1");
    b.session.command(b.now, SessionCommand::Offer(Body::sdp("v=0\r\n")));
    b.drain();
    for _ in 0..4 {
        b.answer(Method::INVITE, 491, "t1", &[]);
        let (at, timer) = b.session.poll_timeout().unwrap();
        assert_eq!(timer, SessionTimer::OfferRetry);
        waits.push((at - b.now).as_millis());
        b.now = at;
        b.session.handle_timeout(at);
        b.drain();
    }
    assert!(waits.iter().all(|w| (2_100..=4_000).contains(w) && w.is_multiple_of(10)), "{waits:?}");
    assert!(waits.windows(2).any(|w| w[0] != w[1]), "{waits:?}");
    assert_eq!(b.methods(), ["INVITE"; 6]);
    b.answer(Method::INVITE, 200, "t1", &[(HeaderName::Contact, "<sip:t1@192.0.2.4:5999>")]);
    assert_eq!(b.events.last(), Some(&SessionEvent::OfferAnswered { body: body() }));
    assert_eq!(b.acks.last().unwrap().1.uri.to_string(), "sip:t1@192.0.2.4:5999");
    let numbers: Vec<u32> = b.sent.iter().map(|(_, r)| r.headers.cseq().unwrap().number).collect();
    assert!(numbers.windows(2).all(|n| n[1] == n[0] + 1), "{numbers:?}");
}

#[test]
fn an_offer_of_the_callee_is_answered_within_the_call_rfc_3261_14_2() {
    let mut b = Bench::new(call());
    b.answer_200("t1");
    assert_eq!(b.ask("OPTIONS", 1, "t1", &[]), 200);
    b.ask("INVITE", 2, "t1", &[]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Offer { body: None }));
    b.session.command(b.now, SessionCommand::AnswerOffer(Body::sdp("v=0\r\n")));
    b.drain();
    let ok = b.answers.last().unwrap();
    assert_eq!((ok.status, ok.body.as_ref()), (StatusCode::OK, &b"v=0\r\n"[..]));
    assert_eq!(ok.headers.get(&HeaderName::Contact), Some("<sip:edge@192.0.2.1:5080>"));
}

#[test]
fn bye_is_refused_in_an_early_dialog_and_hangup_twice_is_one_rfc_3261_15() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 180, "t1", &[]);
    assert_eq!(b.ask("BYE", 1, "t1", &[]), 481);
    b.hangup();
    b.hangup();
    assert_eq!(b.methods(), ["INVITE", "CANCEL"]);
}

#[test]
fn credentials_never_follow_a_contact_to_another_host() {
    let mut b = Bench::new(call());
    b.answer(Method::INVITE, 401, "x", &[(HeaderName::WwwAuthenticate, CHALLENGE)]);
    b.answer(Method::INVITE, 200, "t1", &[(HeaderName::Contact, "<sip:x@203.0.113.66>")]);
    let (flow, ack) = &b.acks[0];
    assert_eq!(flow.path.remote, "203.0.113.66:5060".parse::<SocketAddr>().unwrap());
    assert_eq!(ack.headers.get(&HeaderName::Authorization), None);
    b.hangup();
    b.answer(Method::BYE, 401, "t1", &[(HeaderName::WwwAuthenticate, CHALLENGE)]);
    assert_eq!(b.methods(), ["INVITE", "INVITE", "BYE"]);
    assert_eq!(b.events.last(), Some(&SessionEvent::Ended(CallEnd::Local)));
}

type Make = fn() -> Bench;
type Act = fn(&mut Bench);

/// State → what each input brings about, written from RFC 3261 §9, §13, §14.2, §15, §17.1.1.2, RFC 3262 §4, RFC 3311 §5.2,
/// RFC 4028 §7.3.
#[rustfmt::skip]
const TABLE: [(&str, [&str; 16]); 8] = [
    // 100, 180, 183, 200, 200 of a fork, 486, no answer, nobody there, hangup, a minute, INVITE, BYE, UPDATE, 422, reliable 183, PRACK
    ("calling", ["—", "ringing", "progress", "ACK answered", "ACK answered", "failed", "failed", "failed", "—", "—", "481", "481", "481", "INVITE", "PRACK progress", "481"]),
    ("ringing", ["—", "ringing", "progress", "ACK answered", "ACK answered", "failed", "failed", "failed", "CANCEL", "CANCEL", "491", "481", "200", "INVITE", "PRACK progress", "481"]),
    ("early", ["—", "ringing", "progress", "ACK answered", "ACK answered", "failed", "failed", "failed", "CANCEL", "CANCEL", "491", "481", "200", "INVITE", "PRACK progress", "481"]),
    ("held back", ["CANCEL", "CANCEL", "CANCEL", "ACK BYE", "ACK BYE", "LOCAL", "LOCAL", "LOCAL", "—", "—", "481", "481", "481", "LOCAL", "CANCEL", "481"]),
    ("cancelling", ["—", "—", "—", "ACK BYE", "ACK BYE", "LOCAL", "LOCAL", "LOCAL", "—", "abandoned LOCAL", "491", "481", "200", "LOCAL", "—", "481"]),
    ("talking", ["—", "—", "—", "ACK", "ACK BYE", "—", "—", "—", "BYE", "—", "offer", "200 REMOTE", "200", "—", "—", "481"]),
    ("ending", ["—", "—", "—", "ACK", "ACK BYE", "—", "—", "—", "—", "—", "481", "200 REMOTE", "481", "—", "—", "481"]),
    ("over", ["—", "—", "—", "ACK BYE", "ACK BYE", "—", "—", "—", "—", "—", "481", "481", "481", "—", "—", "481"]),
];

impl Bench {
    /// What came out since the last look, in short: ACKs, requests by method, answers by status, events by name.
    fn short(&mut self) -> String {
        let mut out: Vec<String> = self.acks.drain(..).map(|_| "ACK".into()).collect();
        out.extend(self.sent.iter().skip(self.told).map(|(_, r)| r.method.to_string()));
        self.told = self.sent.len();
        out.extend(self.answers.drain(..).map(|r| r.status.to_string()));
        out.extend((0..std::mem::take(&mut self.abandoned)).map(|_| "abandoned".into()));
        out.extend(self.events.drain(..).map(|event| match event {
            SessionEvent::Ended(end) => format!("{end:?}").split([' ', '{']).next().unwrap().to_uppercase(),
            event => format!("{event:?}").split([' ', '{', '(']).next().unwrap().to_lowercase(),
        }));
        if out.is_empty() { "—".into() } else { out.join(" ") }
    }

    fn fail(&mut self, failure: Failure) {
        let (ticket, _) = self.last(Method::INVITE);
        self.session.handle_failure(self.now, ticket, failure);
        self.drain();
    }
}

#[test]
fn every_input_in_every_state_of_a_call_of_ours_does_what_the_table_says() {
    let states: [(&str, Make); 8] = [
        ("calling", || Bench::new(call())),
        ("ringing", || {
            let mut b = Bench::new(call());
            b.answer(Method::INVITE, 180, "a", &[]);
            b
        }),
        ("early", || {
            let mut b = Bench::new(call());
            b.answer(Method::INVITE, 183, "a", &[]);
            b
        }),
        ("held back", || {
            let mut b = Bench::new(call());
            b.hangup();
            b
        }),
        ("cancelling", || {
            let mut b = Bench::new(call());
            b.answer(Method::INVITE, 180, "a", &[]);
            b.hangup();
            b
        }),
        ("talking", || {
            let mut b = Bench::new(call());
            b.answer_200("a");
            b
        }),
        ("ending", || {
            let mut b = Bench::new(call());
            b.answer_200("a");
            b.hangup();
            b
        }),
        ("over", || {
            let mut b = Bench::new(call());
            b.answer(Method::INVITE, 486, "a", &[]);
            b
        }),
    ];
    let inputs: [(&str, Act); 16] = [
        ("100", |b| b.answer(Method::INVITE, 100, "", &[])),
        ("180", |b| b.answer(Method::INVITE, 180, "a", &[])),
        ("183", |b| b.answer(Method::INVITE, 183, "a", &[])),
        ("200", |b| b.answer_200("a")),
        ("200 of a fork", |b| b.answer_200("b")),
        ("486", |b| b.answer(Method::INVITE, 486, "a", &[])),
        ("no answer", |b| b.fail(Failure::Timeout)),
        ("nobody there", |b| b.fail(Failure::Transport)),
        ("hangup", Bench::hangup),
        ("a minute", |b| {
            b.now += Duration::from_secs(60);
            b.session.handle_timeout(b.now);
            b.drain();
        }),
        ("INVITE", |b| b.send("INVITE", 1, "a", &[])),
        ("BYE", |b| b.send("BYE", 1, "a", &[])),
        ("UPDATE", |b| b.send("UPDATE", 1, "a", &[])),
        ("422", |b| b.answer(Method::INVITE, 422, "a", &[(HeaderName::MinSe, "3600")])),
        ("reliable 183", |b| {
            let lines = [(HeaderName::Require, "100rel"), (HeaderName::RSeq, "9")];
            b.answer(Method::INVITE, 183, "a", &lines);
        }),
        ("PRACK", |b| b.send("PRACK", 1, "a", &[])),
    ];
    for ((state, make), row) in states.into_iter().zip(TABLE) {
        assert_eq!(state, row.0);
        for ((input, act), expected) in inputs.into_iter().zip(row.1) {
            let mut b = make();
            b.short();
            act(&mut b);
            assert_eq!(b.short(), expected, "{state} + {input}");
        }
    }
}

#[test]
fn a_2xx_that_makes_no_dialog_is_acknowledged_and_ended_rfc_3261_13_2_2_4() {
    let mut b = Bench::new(call());
    let routes = vec!["<sip:192.0.2.20;lr>"; 40].join(", ");
    b.answer(
        Method::INVITE,
        200,
        "t",
        &[(HeaderName::RecordRoute, &routes), (HeaderName::Contact, "<sip:b@192.0.2.4:5070>")],
    );
    assert_eq!((b.acks.len(), b.methods().last()), (1, Some(&"BYE")));
    let (flow, ack) = &b.acks[0];
    assert_eq!(
        (flow.path.remote.to_string().as_str(), ack.uri.to_string()),
        ("192.0.2.4:5070", "sip:b@192.0.2.4:5070".into())
    );
    assert!(
        matches!(b.events[..], [SessionEvent::Failed(CallFailure::BadAnswer(NoDialog::BadRoute))]),
        "{:?}",
        b.events
    );
    // it comes again: so does the ACK, and nothing else
    b.answer(Method::INVITE, 200, "t", &[(HeaderName::RecordRoute, &routes)]);
    assert_eq!((b.acks.len(), b.events.len()), (2, 1));
}
