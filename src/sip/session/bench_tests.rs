//! A call to us, driven through the endpoint: the far side is text that the tests write.

use crate::base::{External, Secret, Seed};
use crate::sip::answer::{Answer, Body};
use crate::sip::digest::Credentials;
use crate::sip::endpoint::{
    Acceptance, Endpoint, EndpointConfig, Output, RequestHandler, SessionId, Verdict,
};
use crate::sip::session::{CallEnd, IncomingInvite, SessionCommand, SessionEvent, TimerRules};
use crate::sip::transaction::LayerConfig;
use crate::sip::{Flow, HeaderName, Limits, Message, Method, Request, Response, StatusCode, parse};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const T1: Duration = Duration::from_millis(500);
pub(super) const SDP: &str = "v=0\r\n";

/// Takes every INVITE; a REGISTER, had `check` let it through, would hear 403.
struct Doorman(TimerRules, External);

impl RequestHandler for Doorman {
    fn handle(&self, _: Instant, request: &Request, _: &Flow) -> Verdict {
        if request.method != Method::INVITE {
            return Verdict::Answer(Answer::new(StatusCode::FORBIDDEN));
        }
        Verdict::Accept(Acceptance {
            owner: "pbx".into(),
            credentials: Some(Credentials::new("edge", Secret::new("pw"))),
            stays_on_flow: false,
            external: self.1,
            timers: self.0,
        })
    }
}

pub(super) struct Bench {
    pub(super) now: Instant,
    pub(super) endpoint: Endpoint,
    pub(super) session: Option<SessionId>,
    pub(super) invite: Option<Box<IncomingInvite>>,
    pub(super) events: Vec<SessionEvent>,
    pub(super) requests: Vec<Request>,
    pub(super) responses: Vec<Response>,
    pub(super) is_done: bool,
    pub(super) branch: u32,
    /// Our tag, once a response had one.
    pub(super) tag: Option<String>,
    /// RSeq of our responses.
    pub(super) rseqs: Vec<u32>,
    /// What the far side writes as Contact.
    pub(super) contact: &'static str,
}

pub(super) fn flow() -> Flow {
    Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap())
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(TimerRules::default())
    }

    pub(super) fn with(timers: TimerRules) -> Self {
        Self::admitting(Doorman(timers, External::default()))
    }

    /// Between us is a NAT.
    pub(super) fn beyond_nat(external: External) -> Self {
        Self::admitting(Doorman(TimerRules::default(), external))
    }

    fn admitting(doorman: Doorman) -> Self {
        let config = EndpointConfig {
            layer: LayerConfig::default(),
            max_sessions: 2,
            limits: Limits::UDP,
            agent: "test".into(),
            handler: Arc::new(doorman),
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
            rseqs: vec![],
            contact: "<sip:anna@192.0.2.4:5070>",
        }
    }

    /// With an INVITE that brings an offer.
    pub(super) fn called() -> Self {
        let mut b = Self::new();
        b.ask("INVITE", 1, &[], SDP);
        b
    }

    /// Answered and acknowledged.
    pub(super) fn talking() -> Self {
        let mut b = Self::called();
        b.command(SessionCommand::Answer(sdp()));
        b.ask("ACK", 1, &[], "");
        assert_eq!(b.events, [SessionEvent::Confirmed { body: None }]);
        b.events.clear();
        b
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { bytes, .. } => match parse(&bytes, &Limits::UDP).unwrap() {
                    Message::Request(r) => self.requests.push(r),
                    Message::Response(r) => {
                        if r.headers.cseq().unwrap().method == Method::INVITE && self.session.is_some() {
                            self.tag =
                                self.tag.take().or_else(|| r.headers.to().unwrap().tag().map(str::to_owned));
                        }
                        self.rseqs
                            .extend(r.headers.get(&HeaderName::RSeq).map(|n| n.parse::<u32>().unwrap()));
                        self.responses.push(r);
                    }
                },
                Output::Incoming { session, invite } => {
                    self.session = Some(session);
                    self.invite = Some(invite);
                }
                Output::Event { event, .. } => self.events.push(event),
                Output::Done { .. } => self.is_done = true,
                Output::Probed { .. } | Output::Answered { .. } | Output::Silent { .. } => {}
            }
        }
    }

    /// The far side sends a request: with our tag when there is one, in a new transaction unless it is a CANCEL.
    pub(super) fn ask(&mut self, method: &str, cseq: u32, lines: &[(&str, &str)], body: &str) {
        let tag = self.tag.as_ref().filter(|_| method != "CANCEL").map(|t| format!(";tag={t}"));
        self.ask_as(method, cseq, tag.as_deref().unwrap_or_default(), lines, body);
    }

    pub(super) fn ask_as(&mut self, method: &str, cseq: u32, tag: &str, lines: &[(&str, &str)], body: &str) {
        self.branch += u32::from(method != "CANCEL");
        let n = self.branch;
        let mut text = format!(
            "{method} sip:6%2300@192.0.2.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK{n}\r\n\
             From: <sip:anna@192.0.2.4>;tag=far\r\nTo: <sip:600@192.0.2.1>{tag}\r\nCall-ID: c\r\n\
             CSeq: {cseq} {method}\r\nContact: {}\r\n",
            self.contact
        );
        lines.iter().for_each(|(name, value)| text.push_str(&format!("{name}: {value}\r\n")));
        if !body.is_empty() && lines.iter().all(|(name, _)| *name != "Content-Type") {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.endpoint.handle_datagram(self.now, flow(), text.as_bytes());
        self.drain();
    }

    /// The far side acknowledges our last reliable provisional response, or one so many after it less one.
    pub(super) fn prack(&mut self, cseq: u32, rseq: u32) {
        let last = self.rseqs.last().copied().unwrap_or_default();
        let rack = format!("{} 1 INVITE", last + rseq - 1);
        self.ask("PRACK", cseq, &[("RAck", &rack)], "");
    }

    pub(super) fn command(&mut self, command: SessionCommand) {
        self.endpoint.command(self.now, self.session.unwrap(), command);
        self.drain();
    }

    /// The far side answers our newest request of a method.
    pub(super) fn answer(
        &mut self,
        method: Method,
        code: u16,
        lines: &[(HeaderName, &str)],
        body: &'static str,
    ) {
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

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.endpoint.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.endpoint.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }

    /// What was answered since the last look: status and method.
    pub(super) fn statuses(&mut self) -> Vec<String> {
        let all = std::mem::take(&mut self.responses);
        all.iter().map(|r| format!("{} {}", r.status, r.headers.cseq().unwrap().method)).collect()
    }

    pub(super) fn methods(&self) -> Vec<&str> {
        self.requests.iter().map(|r| r.method.as_str()).collect()
    }

    /// Time passes until nothing is left.
    pub(super) fn rest(&mut self) {
        self.pass(T1 * 256);
        assert_eq!(self.endpoint.live(), (0, 0));
        assert!(self.is_done && self.endpoint.poll_timeout().is_none());
        let is_end = |e: &&SessionEvent| matches!(e, SessionEvent::Ended(_) | SessionEvent::Failed(_));
        assert_eq!(self.events.iter().filter(is_end).count(), 1, "{:?}", self.events);
    }
}

pub(super) fn sdp() -> Option<Body> {
    Some(Body::sdp(SDP))
}

pub(super) fn offer() -> SessionCommand {
    SessionCommand::Offer(Body::sdp("v=0\r\no=ours\r\n"))
}

pub(super) fn cancelled() -> SessionEvent {
    SessionEvent::Ended(CallEnd::Cancelled { q850: None, sip: None, text: None })
}
