//! Calls over a virtual network that loses, delays, doubles and reorders: the endpoint as UAC against a
//! scripted UAS built from our transaction layer, and (`sip_loss_pair.rs`) two endpoints against each other.
//! No socket, no waiting.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: helpers outside test functions may fail it too"
)]

#[path = "net.rs"]
mod net;
#[path = "sip_loss_pair.rs"]
mod pair;

use bytes::Bytes;
use net::{Net, Weather};
use sipedge::base::Seed;
use sipedge::sip::answer::{Answer, Body};
use sipedge::sip::endpoint::{Endpoint, EndpointConfig, Output, Refuse, RequestHandler, SessionId};
use sipedge::sip::session::{CallEnd, CallFailure, OutgoingCall, SessionCommand, SessionEvent};
use sipedge::sip::transaction::{Layer, LayerConfig, LayerOutput, TransactionId};
use sipedge::sip::{
    Flow, HeaderName, Limits, Message, Method, NameAddr, Request, Response, StatusCode, Uri, parse,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const T1: Duration = Duration::from_millis(500);

/// An endpoint whose calls `handler` decides on.
fn endpoint(handler: Arc<dyn RequestHandler>, seed: Seed) -> Endpoint {
    let config = EndpointConfig {
        layer: LayerConfig::default(),
        max_sessions: 10,
        limits: Limits::UDP,
        agent: "test".into(),
        handler,
    };
    Endpoint::new(config, seed)
}

/// What is dialled.
fn call(offer: &'static str) -> OutgoingCall {
    let uri = Uri::parse("sip:100@192.0.2.4").unwrap();
    let call = OutgoingCall::new(uri.clone(), NameAddr::new(uri));
    OutgoingCall { body: Some(Body::sdp(offer)), ..call }
}

/// What the UAS does with a call.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// 180, after a second 200.
    Answer,
    /// 180, then silence until CANCEL.
    Ring,
    /// 486.
    Busy,
    /// Nothing at all.
    Dead,
    /// 180, then its machine is gone.
    DiesRinging,
    /// 200, and gone once the ACK is there.
    DiesAnswered,
    /// 200, and REFER once the ACK is there.
    Refers,
}

struct Uas {
    address: SocketAddr,
    layer: Layer,
    script: Script,
    is_dead: bool,
    invite: Option<(TransactionId, Request)>,
    /// Next time to (re)send the 200, and the interval after it.
    accept: Option<(Instant, Duration, Response)>,
    is_accepted: bool,
    /// When it stops ringing, or waiting for the ACK of its 200.
    patience: Option<Instant>,
    is_acked: bool,
    is_over: bool,
    /// Answers to its REFER, and what it was told after it: first lines of NOTIFYs, and BYE.
    heard: Vec<String>,
}

impl Uas {
    fn new(address: SocketAddr, script: Script) -> Self {
        Self {
            address,
            layer: Layer::new(LayerConfig::default()),
            script,
            is_dead: script == Script::Dead,
            invite: None,
            accept: None,
            is_accepted: false,
            patience: None,
            is_acked: false,
            is_over: false,
            heard: Vec::new(),
        }
    }

    fn next(&self) -> Option<Instant> {
        let layer = self.layer.poll_timeout().map(|(at, _)| at);
        [layer, self.accept.as_ref().map(|a| a.0), self.patience].into_iter().flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        if self.patience.is_some_and(|at| at <= now) {
            self.patience = None;
            self.accept = None;
            if let Some((id, request)) = &self.invite {
                let gone = request.response(StatusCode::TEMPORARILY_UNAVAILABLE, Some("uas"));
                self.layer.respond(now, *id, &gone);
            }
        }
        if let (Some((at, interval, ok)), Some((id, _))) = (self.accept.clone(), &self.invite)
            && at <= now
        {
            // the user repeats its 2xx until ACK (RFC 3261 §13.3.1.4)
            self.layer.respond(now, *id, &ok);
            self.is_accepted = true;
            self.accept = Some((now + interval, (interval * 2).min(T1 * 8), ok));
        }
    }

    fn on_datagram(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        match parse(bytes, &Limits::UDP).unwrap() {
            Message::Request(r) => self.layer.handle_request(now, r, flow, false).unwrap(),
            Message::Response(r) => self.layer.handle_response(now, r),
        }
    }

    fn drain(&mut self, now: Instant) -> Vec<(SocketAddr, Bytes)> {
        let mut out = Vec::new();
        while let Some(output) = self.layer.poll_output() {
            match output {
                LayerOutput::Send { flow, bytes } => out.push((flow.path.remote, bytes)),
                LayerOutput::Request { id, request, invite, .. } => {
                    self.on_request(now, id, *request, invite)
                }
                LayerOutput::Ack { .. } => {
                    if self.script == Script::Refers && !self.is_acked {
                        self.refer(now);
                    }
                    self.is_acked = true;
                    self.accept = None;
                    self.patience = None;
                    self.is_dead |= self.script == Script::DiesAnswered;
                }
                LayerOutput::Response { response, .. } => self.heard.push(response.status.to_string()),
                LayerOutput::Silent { .. } | LayerOutput::Failed { .. } | LayerOutput::Terminated { .. } => {}
            }
        }
        if self.is_dead { Vec::new() } else { out }
    }

    fn refer(&mut self, now: Instant) {
        let Some((_, invite)) = &self.invite else { return };
        let (text, name) = (|name| invite.headers.get(&name).unwrap().to_owned(), self.address);
        let uac: SocketAddr = "192.0.2.1:5080".parse().unwrap();
        let mut r = Request::new(Method::REFER, Uri::parse("sip:192.0.2.1:5080").unwrap());
        r.headers.push(HeaderName::Via, format!("SIP/2.0/UDP {name};branch=z9hG4bKrefer"));
        r.headers.push(HeaderName::From, format!("{};tag=uas", text(HeaderName::To)));
        r.headers.push(HeaderName::To, text(HeaderName::From));
        r.headers.push(HeaderName::CallId, text(HeaderName::CallId));
        r.headers.push(HeaderName::CSeq, "1 REFER");
        r.headers.push(HeaderName::Contact, format!("<sip:uas@{name}>"));
        r.headers.push(HeaderName::ReferTo, "<sip:600@192.0.2.4>");
        self.layer.send_request(now, r, Flow::udp(self.address, uac)).unwrap();
    }

    fn on_request(&mut self, now: Instant, id: TransactionId, r: Request, invite: Option<TransactionId>) {
        let answer = |code: u16| {
            let mut response = r.response(StatusCode::new(code).unwrap(), Some("uas"));
            response.headers.push(HeaderName::Contact, format!("<sip:uas@{}>", self.address));
            response
        };
        match r.method.as_str() {
            "INVITE" => {
                let first = if self.script == Script::Busy { 486 } else { 180 };
                self.layer.respond(now, id, &answer(first));
                if matches!(self.script, Script::Answer | Script::DiesAnswered | Script::Refers) {
                    self.accept = Some((now + Duration::from_secs(1), T1, answer(200)));
                }
                self.patience = Some(now + T1 * 128);
                self.invite = Some((id, r.clone()));
            }
            "CANCEL" => {
                self.layer.respond(now, id, &answer(200));
                // a CANCEL after the 200 changes nothing (RFC 3261 §9.2)
                if let (Some(_), Some((invite, request)), false) = (invite, &self.invite, self.is_accepted) {
                    let gone = request.response(StatusCode::REQUEST_TERMINATED, Some("uas"));
                    self.layer.respond(now, *invite, &gone);
                    self.accept = None;
                    self.patience = None;
                    self.is_over = true;
                }
            }
            "NOTIFY" => {
                self.heard.push(String::from_utf8_lossy(&r.body).trim().to_owned());
                self.layer.respond(now, id, &answer(200));
            }
            _ => {
                assert_eq!(r.method, Method::BYE);
                self.heard.push("BYE".to_owned());
                self.layer.respond(now, id, &answer(200));
                self.is_over = true;
            }
        }
    }
}

struct Run {
    t0: Instant,
    now: Instant,
    uac: Endpoint,
    uac_at: SocketAddr,
    uas: Uas,
    net: Net<SocketAddr, Bytes>,
    session: SessionId,
    events: Vec<(Duration, SessionEvent)>,
    /// When to hang up.
    hangup: Option<Instant>,
    hangup_at: Option<Duration>,
}

impl Run {
    fn new(n: u64, script: Script, weather: Weather, hangup_after: Option<Duration>) -> Self {
        let mut seed = Seed::from_number(n);
        let (uac_at, uas_at): (SocketAddr, SocketAddr) =
            ("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap());
        let mut uac = endpoint(Arc::new(Refuse(StatusCode::NOT_FOUND)), seed.fork());
        let t0 = Instant::now();
        let session = uac.dial(t0, Flow::udp(uac_at, uas_at), None, call("v=0\r\n")).unwrap();
        Self {
            t0,
            now: t0,
            uac,
            uac_at,
            uas: Uas::new(uas_at, script),
            net: Net::new(weather, seed.fork()),
            session,
            events: Vec::new(),
            hangup: hangup_after.map(|d| t0 + d),
            hangup_at: None,
        }
    }

    fn pump(&mut self) {
        while let Some(output) = self.uac.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.net.send(self.now, &flow.path.remote, &bytes),
                Output::Event { event, .. } => {
                    if matches!(event, SessionEvent::Refer(_)) {
                        let accepted = SessionCommand::AnswerRefer(Answer::new(StatusCode::ACCEPTED));
                        self.uac.command(self.now, self.session, accepted);
                        self.uac.command(self.now, self.session, SessionCommand::Notify(StatusCode::OK));
                        self.uac.hangup(self.now, self.session, None);
                    }
                    let is_transferred = self.uas.script == Script::Refers;
                    if matches!(event, SessionEvent::Answered { .. })
                        && self.hangup.is_none()
                        && !is_transferred
                    {
                        self.hangup = Some(self.now + Duration::from_secs(3));
                    }
                    self.events.push((self.now - self.t0, event));
                }
                Output::Incoming { .. }
                | Output::Done { .. }
                | Output::Silent { .. }
                | Output::Probed { .. }
                | Output::Answered { .. } => {}
            }
        }
        for (to, bytes) in self.uas.drain(self.now) {
            self.net.send(self.now, &to, &bytes);
        }
    }

    /// Runs until nothing is left to happen.
    fn run(mut self) -> Self {
        self.pump();
        for _ in 0..10_000 {
            let times = [self.net.next_arrival(), self.uac.poll_timeout(), self.uas.next(), self.hangup];
            let Some(next) = times.into_iter().flatten().min() else { return self };
            self.now = self.now.max(next);
            if self.hangup.is_some_and(|at| at <= self.now) {
                self.hangup = None;
                self.hangup_at = Some(self.now - self.t0);
                self.uac.hangup(self.now, self.session, None);
            }
            while let Some((to, bytes)) = self.net.arrive(self.now) {
                if to == self.uac_at {
                    self.uac.handle_datagram(self.now, Flow::udp(to, self.uas.address), &bytes);
                } else if !self.uas.is_dead {
                    self.uas.on_datagram(self.now, Flow::udp(to, self.uac_at), &bytes);
                }
            }
            self.uac.handle_timeout(self.now);
            if self.uas.is_dead {
                self.uas.layer = Layer::new(LayerConfig::default());
                self.uas.accept = None;
                self.uas.patience = None;
            } else {
                self.uas.on_time(self.now);
                self.pump();
                self.uas.is_dead |= self.uas.script == Script::DiesRinging && self.uas.invite.is_some();
            }
            self.pump();
            if self.now - self.t0 > Duration::from_secs(600) {
                panic!("it never ends");
            }
        }
        panic!("it never rests")
    }

    fn last(&self) -> &SessionEvent {
        &self.events.last().unwrap().1
    }

    /// How long after the hangup the terminal event came.
    fn ended_after_hangup(&self) -> Duration {
        self.events.last().unwrap().0.saturating_sub(self.hangup_at.unwrap())
    }
}

const CALM: Weather =
    Weather { loss: 0, duplicate: 0, delay: Duration::from_millis(10), jitter: Duration::ZERO };

const STORM: Weather =
    Weather { loss: 30, duplicate: 10, delay: Duration::from_millis(5), jitter: Duration::from_millis(200) };

#[test]
fn every_call_is_set_up_and_torn_down_at_30_per_cent_loss() {
    let mut lost = 0;
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..300 {
        let run = Run::new(n, Script::Answer, STORM, None).run();
        let answers = run.events.iter().filter(|(_, e)| matches!(e, SessionEvent::Answered { .. })).count();
        let ends =
            run.events.iter().filter(|(_, e)| matches!(e, SessionEvent::Ended(_) | SessionEvent::Failed(_)));
        assert_eq!((answers, ends.count()), (1, 1), "seed {n}: {:?}", run.events);
        assert_eq!(run.last(), &SessionEvent::Ended(CallEnd::Local), "seed {n}");
        assert!(run.ended_after_hangup() <= T1 * 64, "seed {n}");
        assert!(run.uas.is_acked && run.uas.is_over, "seed {n}");
        // nothing is left over, on either side
        assert_eq!((run.uac.live(), run.uas.layer.len()), ((0, 0), 0), "seed {n}");
        lost += run.net.lost;
        *tally.entry(format!("{} ringing", run.events.len() - 2)).or_default() += 1;
    }
    assert!(lost > 500, "{lost} lost, {tally:?}");
}

#[test]
fn a_transfer_is_asked_for_once_and_its_news_come_in_order_before_bye_at_30_per_cent_loss_rfc_3515_2_4() {
    let mut whole = 0;
    for n in 0..300 {
        // who transferred would hang up after a while, had nobody else
        let run = Run::new(n, Script::Refers, STORM, Some(Duration::from_secs(120))).run();
        let asked = run.events.iter().filter(|(_, e)| matches!(e, SessionEvent::Refer(_))).count();
        assert_eq!(asked, 1, "seed {n}: {:?}", run.events);
        assert_eq!(run.last(), &SessionEvent::Ended(CallEnd::Local), "seed {n}");
        assert_eq!((run.uac.live(), run.uas.layer.len()), ((0, 0), 0), "seed {n}");
        let at = |word: &str| run.uas.heard.iter().position(|h| h == word);
        assert_eq!(run.uas.heard.iter().filter(|h| *h == "202").count(), 1, "seed {n}: {:?}", run.uas.heard);
        assert!(at("BYE").is_some(), "seed {n}");
        // BYE waits for two seconds and not longer
        whole +=
            usize::from(at("SIP/2.0 100 Trying") < at("SIP/2.0 200 OK") && at("SIP/2.0 200 OK") < at("BYE"));
    }
    assert!(whole > 150, "{whole}");
}

#[test]
fn every_cancel_ends_the_call_at_30_per_cent_loss_at_any_moment() {
    for n in 0..300 {
        let after = Duration::from_millis(n * 13);
        let run = Run::new(n, Script::Ring, STORM, Some(after)).run();
        assert_eq!(run.last(), &SessionEvent::Ended(CallEnd::Local), "seed {n}: {:?}", run.events);
        // CANCEL may wait for a provisional response first: two times 64·T1 bound it
        assert!(run.ended_after_hangup() <= T1 * 128, "seed {n}");
        assert_eq!((run.uac.live(), run.uas.layer.len()), ((0, 0), 0), "seed {n}");
    }
}

#[test]
fn a_cancel_that_crosses_the_answer_leaves_no_call_behind() {
    // the 200 leaves after one second: hang up around that time
    for n in 0..200 {
        let run = Run::new(n, Script::Answer, STORM, Some(Duration::from_millis(800 + n * 5))).run();
        assert_eq!(run.last(), &SessionEvent::Ended(CallEnd::Local), "seed {n}: {:?}", run.events);
        assert!(run.uas.is_over, "seed {n}");
        assert_eq!((run.uac.live(), run.uas.layer.len()), ((0, 0), 0), "seed {n}");
    }
}

#[test]
fn a_refusal_comes_through_at_30_per_cent_loss() {
    for n in 0..200 {
        let run = Run::new(n, Script::Busy, STORM, None).run();
        assert!(
            matches!(run.last(), SessionEvent::Failed(CallFailure::Status { status, .. }) if *status == StatusCode::BUSY_HERE),
            "seed {n}: {:?}",
            run.events
        );
        assert_eq!((run.uac.live(), run.uas.layer.len()), ((0, 0), 0), "seed {n}");
    }
}

#[test]
fn every_failure_ends_within_64_t1() {
    let dead = Run::new(1, Script::Dead, CALM, None).run();
    assert_eq!(dead.events, [(T1 * 64, SessionEvent::Failed(CallFailure::Timeout))]);
    assert_eq!(dead.uac.live(), (0, 0));
    for script in [Script::DiesRinging, Script::DiesAnswered] {
        let run = Run::new(2, script, CALM, Some(Duration::from_secs(5))).run();
        assert_eq!(run.last(), &SessionEvent::Ended(CallEnd::Local));
        assert_eq!(run.ended_after_hangup(), T1 * 64);
        assert_eq!(run.uac.live(), (0, 0));
    }
}

#[test]
fn the_same_seed_makes_the_same_call() {
    let once = |n| Run::new(n, Script::Answer, STORM, None).run().events;
    assert_eq!(once(5), once(5));
    assert_ne!(once(5), once(6));
}

#[test]
fn mutated_traffic_within_a_call_never_panics_and_leaves_nothing_behind() {
    for n in 0..60 {
        let mut run = Run::new(n, Script::Answer, CALM, None);
        let mut seed = Seed::from_number(n);
        run.pump();
        // everything the UAS sends arrives once more, broken
        let wires: Vec<Bytes> = ["INVITE", "BYE", "OPTIONS", "CANCEL", "ACK", "FROB"]
            .iter()
            .map(|m| {
                format!(
                    "{m} sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK{n}{m}\r\n\
                     From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>\r\nCall-ID: {n}\r\nCSeq: 1 {m}\r\n\r\n"
                )
                .into()
            })
            .collect();
        for wire in wires {
            for _ in 0..50 {
                let mut bytes = wire.to_vec();
                for _ in 0..seed.below(4) {
                    let at = seed.below(bytes.len() as u64) as usize;
                    if let Some(b) = bytes.get_mut(at) {
                        *b = seed.next_u32() as u8;
                    }
                }
                let flow = Flow::udp(run.uac_at, "192.0.2.66:5060".parse().unwrap());
                run.uac.handle_datagram(run.now, flow, &bytes);
                while let Some(output) = run.uac.poll_output() {
                    if let Output::Send { flow, bytes } = output
                        && flow.path.remote == run.uas.address
                    {
                        run.net.send(run.now, &flow.path.remote, &bytes);
                    }
                }
            }
        }
        let run = run.run();
        assert_eq!(run.uac.live(), (0, 0), "seed {n}");
    }
}
