//! A peer that sends anything at any time, and a user that asks for anything at any time.
//!
//! Whatever is said in whatever order, nothing panics, each call has exactly one last word, and once all calls are
//! hung up and the peer is silent, everything is forgotten by the clocks of RFC 3261 alone.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: helpers outside test functions may fail it too"
)]

use sipedge::base::{Digit, Secret, Seed};
use sipedge::sip::endpoint::{
    Acceptance, Endpoint, EndpointConfig, Output, Probe, RequestHandler, SessionId, Verdict,
};
use sipedge::sip::session::OutgoingCall;
use sipedge::sip::transaction::LayerConfig;
use sipedge::sip::{
    Answer, Body, Credentials, Flow, HeaderName, Key, Limits, Message, NameAddr, Request, Response,
    SessionCommand, SessionEvent, StatusCode, Uri, parse,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.4\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

fn credentials() -> Credentials {
    Credentials::new("edge", Secret::new("pw"))
}

/// Takes most INVITEs.
struct Door;

impl RequestHandler for Door {
    fn handle(&self, _: Instant, request: &Request, _: &Flow) -> Verdict {
        if request.uri.user_text().as_deref() == Some("nobody") {
            return Verdict::Answer(Answer::new(StatusCode::NOT_FOUND));
        }
        let credentials = Some(credentials());
        Verdict::Accept(Acceptance {
            owner: "pbx".into(),
            credentials,
            stays_on_flow: false,
            external: Default::default(),
            timers: Default::default(),
        })
    }
}

fn flow() -> Flow {
    Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap())
}

struct World {
    endpoint: Endpoint,
    seed: Seed,
    now: Instant,
    requests: Vec<Request>,
    responses: Vec<Response>,
    /// Last words of each session so far.
    sessions: BTreeMap<SessionId, u32>,
    done: usize,
    last: Vec<u8>,
}

impl World {
    fn new(number: u64) -> Self {
        let config = EndpointConfig {
            layer: LayerConfig {
                max_clients: 64,
                max_servers: 64,
                max_strangers: 16,
                ..LayerConfig::default()
            },
            max_sessions: 6,
            limits: Limits::UDP,
            agent: "test".into(),
            handler: Arc::new(Door),
        };
        Self {
            endpoint: Endpoint::new(config, Seed::from_number(number)),
            seed: Seed::from_number(number ^ 0x5eed),
            now: Instant::now(),
            requests: Vec::new(),
            responses: Vec::new(),
            sessions: BTreeMap::new(),
            done: 0,
            last: Vec::new(),
        }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.seed.below(of.len() as u64) as usize]
    }

    fn chance(&mut self, of: u64) -> bool {
        self.seed.below(of) == 0
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { bytes, .. } => match parse(&bytes, &Limits::TCP).unwrap() {
                    Message::Request(r) => self.requests.push(r),
                    Message::Response(r) => self.responses.push(r),
                },
                Output::Incoming { session, .. } => drop(self.sessions.insert(session, 0)),
                Output::Event { session, event } => {
                    let last = matches!(event, SessionEvent::Failed(_) | SessionEvent::Ended(_));
                    let words = self.sessions.get_mut(&session).unwrap();
                    assert_eq!(*words, 0, "{event:?} after the last word");
                    *words += u32::from(last);
                    if matches!(event, SessionEvent::Refer(_)) && self.seed.below(4) > 0 {
                        let accepted = SessionCommand::AnswerRefer(Answer::new(StatusCode::ACCEPTED));
                        self.endpoint.command(self.now, session, accepted);
                    }
                }
                Output::Done { session, .. } => {
                    assert_eq!(self.sessions.get(&session), Some(&1), "the last word came once");
                    self.done += 1;
                }
                Output::Probed { .. } | Output::Answered { .. } | Output::Silent { .. } => {}
            }
        }
    }

    fn datagram(&mut self, bytes: Vec<u8>) {
        if self.chance(4) {
            self.endpoint.handle_stranger(self.now, flow(), &bytes);
        } else {
            self.endpoint.handle_datagram(self.now, flow(), &bytes);
        }
        self.last = bytes;
        self.drain();
    }

    /// A request with the call, tags and branch of something that was said, or of nothing.
    fn request(&mut self) {
        let methods = [
            "INVITE", "INVITE", "ACK", "ACK", "BYE", "CANCEL", "INFO", "OPTIONS", "UPDATE", "PRACK", "REFER",
            "NOTIFY",
        ];
        let method = self.pick(&methods);
        let (mut call, mut from, mut to) =
            ("c".to_owned(), "<sip:a@192.0.2.4>;tag=f".to_owned(), "<sip:b@x>".to_owned());
        call.push_str(self.pick(&["1", "2", "3"]));
        from.push_str(self.pick(&["1", "2", ""]));
        let said = |h: &sipedge::sip::Headers, name| h.get(&name).unwrap_or_default().to_owned();
        let known = [&self.requests.len(), &self.responses.len()].map(|n| *n as u64);
        match self.seed.below(3) {
            0 if known[0] > 0 => {
                let n = self.seed.below(known[0]) as usize;
                let h = &self.requests[n].headers;
                (call, from, to) =
                    (said(h, HeaderName::CallId), said(h, HeaderName::To), said(h, HeaderName::From));
                if !from.contains("tag=") {
                    from.push_str(self.pick(&[";tag=t1", ";tag=t2", ""]));
                }
            }
            1 if known[1] > 0 => {
                let n = self.seed.below(known[1]) as usize;
                let h = &self.responses[n].headers;
                (call, from, to) =
                    (said(h, HeaderName::CallId), said(h, HeaderName::From), said(h, HeaderName::To));
            }
            _ => {}
        }
        let user = self.pick(&["600", "600", "600", "nobody"]);
        let branch = self.pick(&["z9hG4bKa", "z9hG4bKb", "z9hG4bKc", "z9hG4bKd", "old", "z9hG4bK"]);
        let cseq = 1 + self.seed.below(5);
        let mut text = format!(
            "{method} sip:{user}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch={branch}\r\nFrom: {from}\r\n\
             To: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n"
        );
        for line in [
            "Contact: <sip:a@192.0.2.4:5070>",
            "Contact: <sip:a@name.example;transport=tcp>",
            "Record-Route: <sip:192.0.2.20;lr>, <sip:strict@192.0.2.21>",
            "Max-Forwards: 0",
            "Require: 100rel",
            "Session-Expires: 90;refresher=uas",
            "Session-Expires: 1;refresher=uac",
            "Min-SE: 4294967296",
            "Allow: UPDATE",
            "Supported: 100rel, timer",
            "RAck: 1 1 INVITE",
            "Expires: 1",
            "Reason: Q.850;cause=16",
            "Refer-Sub: false",
            "Event: refer",
            "Replaces: c1;to-tag=t1;from-tag=f1",
        ] {
            if self.chance(if line.starts_with("Contact: <sip:a@1") { 2 } else { 12 }) {
                text += &format!("{line}\r\n");
            }
        }
        if method == "REFER" {
            let to = self.pick(&[
                "<sip:600@192.0.2.4>",
                "<sip:a@b?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>",
                "<sip:",
                "<tel:1>",
            ]);
            text += &format!("Refer-To: {to}\r\n");
        }
        let (kind, body) = match method {
            "INFO" => ("application/dtmf-relay", self.pick(&["Signal=5\r\nDuration=160\r\n", "Signal=", ""])),
            _ => ("application/sdp", if self.chance(2) { SDP } else { "" }),
        };
        text += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.datagram(text.into_bytes());
    }

    /// A response to something that we asked.
    fn response(&mut self) {
        let Some(n) = (self.requests.len() as u64).checked_sub(1) else { return };
        // mostly to something new
        let n = if self.chance(3) { self.seed.below(n + 1) } else { n.saturating_sub(self.seed.below(3)) };
        let codes = [
            100, 180, 183, 199, 200, 200, 200, 202, 302, 401, 407, 408, 420, 422, 481, 486, 487, 491, 500,
            503, 603,
        ];
        let code = StatusCode::new(self.pick(&codes)).unwrap();
        let tag = self.pick(&["t1", "t2", "t3", ""]);
        let request = self.requests[n as usize].clone();
        let mut r = request.response(code, Some(tag).filter(|t| !t.is_empty()));
        if self.chance(2) {
            r.headers.push(HeaderName::Contact, "<sip:b@192.0.2.4:5071>");
        }
        if self.chance(8) {
            r.headers.push(
                HeaderName::RecordRoute,
                self.pick(&["<sip:192.0.2.20;lr>", "<sip:", "<sip:strict@h>"]),
            );
        }
        if self.chance(2) {
            r.headers.push(HeaderName::ContentType, "application/sdp");
            r.body = SDP.into();
        }
        if self.chance(3) {
            r.headers.push(HeaderName::Require, "100rel");
            r.headers.push(HeaderName::RSeq, self.seed.below(4).to_string());
        }
        let stale = self.pick(&["true", "false"]);
        let challenge =
            format!("Digest realm=\"r\", nonce=\"{}\", qop=\"auth\", stale={stale}", self.seed.below(3));
        r.headers.push(HeaderName::WwwAuthenticate, challenge.clone());
        r.headers.push(HeaderName::ProxyAuthenticate, challenge);
        self.datagram(r.to_bytes().to_vec());
    }

    fn command(&mut self) {
        let all: Vec<SessionId> = self.sessions.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let session = self.pick(&all);
        let body = || Body::sdp(SDP);
        let answer = |code| Answer::new(StatusCode::new(code).unwrap());
        let key = || Key { digit: Digit::from_event(5).unwrap(), duration: Duration::from_millis(100) };
        let command = match self.seed.below(16) {
            0 => SessionCommand::Ring,
            1 => SessionCommand::Progress(Some(body())),
            2 | 3 | 14 => SessionCommand::Answer(Some(body())),
            4 => SessionCommand::Answer(None),
            5 => SessionCommand::Refuse(answer(486)),
            6 => SessionCommand::Offer(body()),
            7 => SessionCommand::AnswerOffer(body()),
            8 => SessionCommand::RefuseOffer(answer(488)),
            9 => SessionCommand::Keys(vec![key()]),
            10 | 11 => SessionCommand::AnswerRefer(answer(202)),
            12 => SessionCommand::AnswerRefer(answer(603)),
            13 => SessionCommand::Notify(StatusCode::new(self.pick(&[180, 200, 486])).unwrap()),
            _ => SessionCommand::Hangup(None),
        };
        self.endpoint.command(self.now, session, command);
        self.drain();
    }

    fn dial(&mut self) {
        let uri = Uri::parse("sip:100@192.0.2.4").unwrap();
        let call = OutgoingCall {
            request_uri: uri.clone(),
            from: NameAddr::new(uri.clone()),
            to: NameAddr::new(uri),
            headers: Vec::new(),
            credentials: Some(credentials()).filter(|_| self.seed.below(2) == 0),
            body: Some(Body::sdp(SDP)).filter(|_| self.seed.below(4) > 0),
            silence_limit: None,
            ring_limit: Duration::from_secs(60),
            max_forwards: 70,
            stays_on_flow: self.seed.below(2) == 0,
            external: Default::default(),
            timers: Default::default(),
        };
        if let Ok(session) = self.endpoint.dial(self.now, flow(), None, call) {
            self.sessions.insert(session, 0);
        }
        self.drain();
    }

    /// Lets time pass, waking up when it is due and not more often than there is reason to.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain();
            wakes += 1;
            assert!(wakes < 20_000, "it wakes up without end");
        }
        self.now = until;
    }

    fn step(&mut self) {
        match self.seed.below(16) {
            0..5 => self.request(),
            5..9 => self.response(),
            9..12 => self.command(),
            12 => self.dial(),
            13 => {
                let times = [0, 1, 210, 500, 2_500, 4_000, 33_000, 61_000].map(Duration::from_millis);
                let time = self.pick(&times);
                self.pass(time);
            }
            14 => {
                let last = self.last.clone();
                self.datagram(last);
            }
            _ => {
                match self.seed.below(4) {
                    0 => self.endpoint.handle_transport_error(self.now, flow().hop()),
                    1 => self.endpoint.handle_closed(self.now, flow().hop()),
                    _ => drop(self.endpoint.probe(self.now, flow(), Probe::default())),
                }
                self.drain();
            }
        }
    }
}

#[test]
fn whatever_is_said_in_whatever_order_each_call_ends_once_and_everything_is_forgotten() {
    let (mut answered, mut dialled, mut referred) = (0, 0, 0);
    for number in 0..600 {
        let mut world = World::new(number);
        (0..150).for_each(|_| world.step());
        world.endpoint.hangup_all(world.now, None);
        world.drain();
        // the longest wait: an offer that is out, its CANCEL, and a BYE after it, 64·T1 each and a half more
        world.pass(Duration::from_secs(32 * 8));
        assert_eq!(world.endpoint.live(), (0, 0), "run {number}: {:?}", world.endpoint.poll_timeout());
        assert_eq!(world.endpoint.poll_timeout(), None, "run {number}");
        assert_eq!(world.done, world.sessions.len(), "run {number}");
        answered += world.responses.iter().filter(|r| r.status.is_success()).count();
        referred += world.responses.iter().filter(|r| r.status.code() == 202).count();
        dialled += world.requests.iter().filter(|r| r.method.as_str() == "ACK").count();
    }
    assert!(answered > 4_000 && dialled > 1_000, "the runs reach answered calls: {answered}, {dialled}");
    assert!(referred > 10, "and transfers: {referred}");
}
