//! Two endpoints of ours against each other over the virtual network: one calls, one is called, both make
//! offers and hang up. Each offer has one outcome, each call one end on either side, and nothing is left.

use crate::net::{Net, Weather};
use crate::{CALM, STORM, call, endpoint};
use bytes::Bytes;
use sipedge::base::Seed;
use sipedge::sip::answer::{Answer, Body};
use sipedge::sip::endpoint::{Acceptance, Endpoint, Output, RequestHandler, SessionId, Verdict};
use sipedge::sip::session::{CallEnd, OutgoingCall, SessionCommand, SessionEvent, TimerRules, TimerUse};
use sipedge::sip::{Flow, Limits, Message, Request, StatusCode, parse};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct TakeAll;

impl RequestHandler for TakeAll {
    fn handle(&self, _: Instant, _: &Request, _: &Flow) -> Verdict {
        Verdict::Accept(Acceptance {
            owner: "x".into(),
            credentials: None,
            stays_on_flow: false,
            external: Default::default(),
            timers: Default::default(),
        })
    }
}

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Caller,
    Callee,
}

use Who::{Callee, Caller};

impl Who {
    const fn other(self) -> Self {
        match self {
            Caller => Callee,
            Callee => Caller,
        }
    }
}

/// What the two sides believe to have agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Agreed {
    local: Option<Bytes>,
    remote: Option<Bytes>,
}

struct Side {
    at: SocketAddr,
    endpoint: Endpoint,
    session: Option<SessionId>,
    events: Vec<SessionEvent>,
    agreed: Agreed,
    /// Our offer that is out.
    offer: Option<Bytes>,
    offers: usize,
    outcomes: usize,
    is_done: bool,
}

impl Side {
    fn new(at: &str, seed: Seed) -> Self {
        Self {
            at: at.parse().unwrap(),
            endpoint: endpoint(Arc::new(TakeAll), seed),
            session: None,
            events: Vec::new(),
            agreed: Agreed::default(),
            offer: None,
            offers: 0,
            outcomes: 0,
            is_done: false,
        }
    }

    fn ends(&self) -> Vec<&SessionEvent> {
        let is_end = |e: &&SessionEvent| matches!(e, SessionEvent::Ended(_) | SessionEvent::Failed(_));
        self.events.iter().filter(is_end).collect()
    }
}

type Loses = fn(&[u8]) -> bool;

struct Pair {
    t0: Instant,
    now: Instant,
    caller: Side,
    callee: Side,
    net: Net<SocketAddr, Bytes>,
    /// What the network never carries, whatever the weather.
    loses: Loses,
    /// The session timer of the caller.
    timers: TimerRules,
    /// The callee has early media.
    is_early: bool,
    /// UPDATEs that went out.
    updates: usize,
    /// Commands to come.
    plan: BTreeMap<(Instant, usize), (Who, SessionCommand)>,
    planned: usize,
}

fn body(text: String) -> Body {
    Body::sdp(text)
}

impl Pair {
    fn new(n: u64, weather: Weather) -> Self {
        let mut seed = Seed::from_number(n);
        let t0 = Instant::now();
        Self {
            t0,
            now: t0,
            caller: Side::new("192.0.2.1:5080", seed.fork()),
            callee: Side::new("192.0.2.4:5060", seed.fork()),
            net: Net::new(weather, seed.fork()),
            loses: |_| false,
            timers: TimerRules::default(),
            is_early: false,
            updates: 0,
            plan: BTreeMap::new(),
            planned: 0,
        }
    }

    fn side(&mut self, who: Who) -> &mut Side {
        match who {
            Caller => &mut self.caller,
            Callee => &mut self.callee,
        }
    }

    fn at(mut self, after: Duration, who: Who, command: SessionCommand) -> Self {
        self.plan_at(self.t0 + after, who, command);
        self
    }

    fn plan_at(&mut self, at: Instant, who: Who, command: SessionCommand) {
        self.planned += 1;
        self.plan.insert((at, self.planned), (who, command));
    }

    const fn side_of(&self, who: Who) -> &Side {
        match who {
            Caller => &self.caller,
            Callee => &self.callee,
        }
    }

    fn dial(&mut self) {
        let call = OutgoingCall { timers: self.timers, ..call("first offer") };
        let flow = Flow::udp(self.caller.at, self.callee.at);
        self.caller.session = Some(self.caller.endpoint.dial(self.now, flow, None, call).unwrap());
    }

    fn command(&mut self, who: Who, command: SessionCommand) {
        let now = self.now;
        let side = self.side(who);
        let Some(session) = side.session.filter(|_| side.ends().is_empty()) else { return };
        match &command {
            SessionCommand::Offer(b) if side.offer.is_none() => {
                side.offer = Some(b.bytes.clone());
                side.offers += 1;
            }
            // one at a time
            SessionCommand::Offer(_) => return,
            SessionCommand::AnswerOffer(b) => side.agreed.local = Some(b.bytes.clone()),
            SessionCommand::Answer(Some(b)) => side.agreed.local = Some(b.bytes.clone()),
            _ => {}
        }
        side.endpoint.command(now, session, command);
    }

    fn handle(&mut self, who: Who, event: SessionEvent) {
        let soon = self.now + Duration::from_millis(20);
        let side = self.side(who);
        match &event {
            SessionEvent::Offer { body: Some(offer) } => {
                side.agreed.remote = Some(offer.bytes.clone());
                let answer = body(format!("answer to {}", String::from_utf8_lossy(&offer.bytes)));
                self.plan_at(soon, who, SessionCommand::AnswerOffer(answer));
            }
            SessionEvent::Answered { body: answer } => {
                side.agreed.remote = answer.as_ref().map(|b| b.bytes.clone());
                side.agreed.local = Some("first offer".into());
            }
            SessionEvent::OfferAnswered { body: answer } => {
                side.agreed =
                    Agreed { local: side.offer.take(), remote: answer.as_ref().map(|b| b.bytes.clone()) };
                side.outcomes += 1;
            }
            SessionEvent::OfferRefused { status } => {
                assert_eq!(*status, StatusCode::REQUEST_PENDING);
                side.offer = None;
                side.outcomes += 1;
            }
            _ => {}
        }
        self.side(who).events.push(event);
    }

    fn pump(&mut self) {
        for who in [Caller, Callee] {
            while let Some(output) = self.side(who).endpoint.poll_output() {
                match output {
                    Output::Send { flow, bytes } => {
                        self.updates += usize::from(bytes.starts_with(b"UPDATE "));
                        if !(self.loses)(&bytes) {
                            self.net.send(self.now, &flow.path.remote, &bytes);
                        }
                    }
                    Output::Incoming { session, invite } => {
                        assert_eq!((who, self.callee.session), (Callee, None), "one call");
                        self.callee.session = Some(session);
                        self.callee.agreed.remote = invite.body.as_ref().map(|b| b.bytes.clone());
                        self.plan_at(self.now, Callee, SessionCommand::Ring);
                        if self.is_early {
                            let early = SessionCommand::Progress(Some(body("first answer".into())));
                            self.plan_at(self.now + Duration::from_millis(300), Callee, early);
                        }
                        let answer = SessionCommand::Answer(Some(body("first answer".into())));
                        self.plan_at(self.now + seconds(1), Callee, answer);
                    }
                    Output::Event { event, .. } => self.handle(who, event),
                    Output::Done { .. } => self.side(who).is_done = true,
                    Output::Probed { .. } | Output::Answered { .. } | Output::Silent { .. } => {}
                }
            }
        }
    }

    /// Runs until nothing is left to happen.
    fn run(mut self) -> Self {
        self.dial();
        self.pump();
        for _ in 0..20_000 {
            let plan = self.plan.keys().next().map(|(at, _)| *at);
            let clocks = [self.caller.endpoint.poll_timeout(), self.callee.endpoint.poll_timeout()];
            let times = [self.net.next_arrival(), plan].into_iter().chain(clocks);
            let Some(next) = times.flatten().min() else { return self };
            self.now = self.now.max(next);
            while let Some(entry) = self.plan.first_entry().filter(|e| e.key().0 <= self.now) {
                let (who, command) = entry.remove();
                self.command(who, command);
            }
            while let Some((to, bytes)) = self.net.arrive(self.now) {
                let who = if to == self.caller.at { Caller } else { Callee };
                let (now, flow) = (self.now, Flow::udp(to, self.side(who.other()).at));
                self.side(who).endpoint.handle_datagram(now, flow, &bytes);
            }
            let now = self.now;
            self.caller.endpoint.handle_timeout(now);
            self.callee.endpoint.handle_timeout(now);
            self.pump();
            assert!(self.now - self.t0 < Duration::from_secs(900), "it never ends");
        }
        panic!("it never rests")
    }

    /// One end on each side that had a call, and nothing left.
    fn check(&self, seed: u64) {
        for side in [&self.caller, &self.callee] {
            let has_call = usize::from(side.session.is_some());
            assert_eq!(side.ends().len(), has_call, "seed {seed}: {:?}", side.events);
            assert_eq!(side.endpoint.live(), (0, 0), "seed {seed}");
            assert!(side.is_done || has_call == 0, "seed {seed}");
            // an offer that is out when the call ends has no outcome
            assert!(side.offers - side.outcomes <= 1, "seed {seed}: {:?}", side.events);
        }
    }

    fn ends(&self) -> (&SessionEvent, &SessionEvent) {
        (self.caller.ends()[0], self.callee.ends()[0])
    }
}

const fn hangup() -> SessionCommand {
    SessionCommand::Hangup(None)
}

fn offer(n: u64) -> SessionCommand {
    SessionCommand::Offer(body(format!("offer {n}")))
}

const fn remote() -> SessionEvent {
    SessionEvent::Ended(CallEnd::Remote { q850: None, text: None })
}

const LOCAL: SessionEvent = SessionEvent::Ended(CallEnd::Local);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_call_between_two_is_set_up_and_ended_by_either_side_at_30_per_cent_loss() {
    let mut lost = 0;
    for n in 0..300 {
        let who = if n % 2 == 0 { Caller } else { Callee };
        let run = Pair::new(n, STORM).at(seconds(100), who, hangup()).run();
        run.check(n);
        lost += run.net.lost;
        // 64·T1 of storm may lose every ACK, or every BYE
        if !matches!(
            run.ends(),
            (SessionEvent::Ended(CallEnd::Lost(_)), _) | (_, SessionEvent::Ended(CallEnd::Lost(_)))
        ) {
            assert_eq!(run.side_of(who).ends(), [&LOCAL], "seed {n}");
            assert_eq!(run.side_of(who.other()).ends(), [&remote()], "seed {n}");
            assert_eq!(run.caller.agreed.local, run.callee.agreed.remote, "seed {n}");
            assert_eq!(run.caller.agreed.remote, run.callee.agreed.local, "seed {n}");
        }
    }
    assert!(lost > 500, "{lost}");
}

#[test]
fn offers_of_both_sides_at_any_time_leave_both_with_the_same_idea_of_the_session_rfc_3261_14() {
    let (mut crossed, mut agreed, mut lost) = (0, 0, 0);
    for n in 0..300 {
        let mut seed = Seed::from_number(n ^ 0xffff);
        let weather = if n % 3 == 0 { CALM } else { STORM };
        let mut pair = Pair::new(n, weather);
        for i in 0..6 {
            // pairs of offers that are likely to cross
            let at = Duration::from_millis(2_000 + i / 2 * 12_000 + seed.below(400));
            let who = if i % 2 == 0 { Caller } else { Callee };
            pair = pair.at(at, who, offer(i));
        }
        let run = pair.at(seconds(200), Caller, hangup()).run();
        run.check(n);
        if run.ends() != (&LOCAL, &remote()) {
            lost += 1; // the storm took every ACK, or every answer, for 64·T1
            continue;
        }
        for side in [&run.caller, &run.callee] {
            assert_eq!(side.offers, side.outcomes, "seed {n}: {:?}", side.events);
            let refused = side.events.iter().filter(|e| matches!(e, SessionEvent::OfferRefused { .. }));
            crossed += refused.count();
        }
        assert_eq!(run.caller.agreed.local, run.callee.agreed.remote, "seed {n}");
        assert_eq!(run.caller.agreed.remote, run.callee.agreed.local, "seed {n}");
        agreed += 1;
    }
    assert!(crossed > 20 && agreed > 280 && lost < 20, "{crossed} crossed, {agreed} agreed, {lost} lost");
}

#[test]
fn a_cancel_at_every_step_of_a_call_leaves_none_behind() {
    for weather in [CALM, STORM] {
        for n in 0..250 {
            let after = Duration::from_millis(n * 6);
            let run = Pair::new(n, weather).at(after, Caller, hangup()).run();
            run.check(n);
            assert_eq!(run.caller.ends(), [&LOCAL], "seed {n}");
        }
    }
}

#[test]
fn a_callee_may_hang_up_at_every_step_and_one_that_was_not_answered_refuses() {
    for weather in [CALM, STORM] {
        for n in 0..250 {
            let after = Duration::from_millis(n * 6);
            let run =
                Pair::new(n, weather).at(after, Callee, hangup()).at(seconds(90), Caller, hangup()).run();
            run.check(n);
        }
    }
}

#[test]
fn both_may_hang_up_at_once() {
    for n in 0..100 {
        let spread = Duration::from_millis(n);
        let run = Pair::new(n, STORM)
            .at(seconds(60), Caller, hangup())
            .at(seconds(60) + spread, Callee, hangup())
            .run();
        run.check(n);
    }
}

#[test]
fn a_refusal_crosses_a_cancel_and_each_side_ends_once() {
    for n in 0..200 {
        let busy = SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE));
        let run = Pair::new(n, STORM)
            .at(Duration::from_millis(300 + n), Callee, busy)
            .at(Duration::from_millis(400), Caller, hangup())
            .run();
        run.check(n);
    }
}

#[test]
fn an_ack_that_is_lost_for_good_ends_the_call_on_both_sides_rfc_3261_13_3_1_4() {
    let mut pair = Pair::new(1, CALM);
    pair.loses = |bytes| bytes.starts_with(b"ACK ");
    let run = pair.run();
    run.check(1);
    let lost = SessionEvent::Ended(CallEnd::Lost("no ACK"));
    let reason = SessionEvent::Ended(CallEnd::Remote { q850: Some(102), text: Some("no ACK".into()) });
    assert_eq!(run.ends(), (&reason, &lost));
}

/// Whether a message holds this text.
fn has(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

#[test]
fn an_ack_of_an_offer_that_is_lost_for_good_ends_the_call_on_both_sides_rfc_3261_14_2() {
    let mut pair = Pair::new(1, CALM).at(seconds(3), Callee, offer(1));
    pair.loses = |bytes| bytes.starts_with(b"ACK ") && has(bytes, "UDP 192.0.2.4:5060");
    let run = pair.run();
    run.check(1);
    let reason = SessionEvent::Ended(CallEnd::Remote { q850: Some(102), text: Some("no ACK".into()) });
    assert_eq!(run.ends(), (&SessionEvent::Ended(CallEnd::Lost("no ACK")), &reason));
}

#[test]
fn an_offer_that_is_never_answered_ends_the_call_on_both_sides_rfc_3261_14_1() {
    let mut pair = Pair::new(1, CALM).at(seconds(3), Caller, offer(1));
    pair.loses = |bytes| has(bytes, "answer to offer") || has(bytes, "SIP/2.0 100");
    let run = pair.run();
    run.check(1);
    assert_eq!(run.caller.ends(), [&SessionEvent::Ended(CallEnd::Lost("no answer to an offer"))]);
}

#[test]
fn the_same_seed_makes_the_same_call_between_two() {
    let once = |n| {
        let run =
            Pair::new(n, STORM).at(seconds(5), Callee, offer(1)).at(seconds(60), Caller, hangup()).run();
        (run.caller.events, run.callee.events)
    };
    assert_eq!(once(5), once(5));
    assert_ne!(once(5), once(7));
}

#[test]
fn broken_messages_of_a_caller_never_panic_and_leave_nothing_behind() {
    for n in 0..100 {
        let mut seed = Seed::from_number(n);
        let mut side = Side::new("192.0.2.4:5060", seed.fork());
        let (t0, from) = (Instant::now(), "192.0.2.66:5060".parse().unwrap());
        let mut now = t0;
        let mut tag = String::new();
        for step in 0..400 {
            let method = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO"][seed.below(6) as usize];
            let (branch, cseq) = (seed.below(4), 1 + seed.below(4));
            let to_tag = if seed.below(2) == 0 { &tag[..] } else { "" };
            let text = format!(
                "{method} sip:x@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bK{branch}\r\n\
                 From: <sip:a@b>;tag=1\r\nTo: <sip:x@b>{to_tag}\r\nCall-ID: {n}\r\nCSeq: {cseq} {method}\r\n\
                 Contact: <sip:a@192.0.2.66>\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"
            );
            let mut bytes = text.into_bytes();
            if seed.below(3) == 0 {
                let at = seed.below(bytes.len() as u64) as usize;
                bytes[at] = seed.next_u32() as u8;
            }
            side.endpoint.handle_datagram(now, Flow::udp(side.at, from), &bytes);
            let sdp = || body("v=0".into());
            let command = [
                SessionCommand::Ring,
                SessionCommand::Progress(Some(sdp())),
                SessionCommand::Answer(Some(sdp())),
                SessionCommand::Offer(sdp()),
                SessionCommand::AnswerOffer(sdp()),
                SessionCommand::RefuseOffer(Answer::new(StatusCode::NOT_ACCEPTABLE_HERE)),
                SessionCommand::Refuse(Answer::new(StatusCode::BUSY_HERE)),
                hangup(),
            ][seed.below(if step % 8 == 0 { 8 } else { 6 }) as usize]
                .clone();
            if let Some(session) = side.session {
                side.endpoint.command(now, session, command);
            }
            while let Some(output) = side.endpoint.poll_output() {
                match output {
                    Output::Incoming { session, .. } => side.session = Some(session),
                    Output::Send { bytes, .. } => {
                        if let Ok(Message::Response(r)) = parse(&bytes, &Limits::UDP)
                            && let Some(known) =
                                r.headers.to().ok().and_then(|to| to.tag().map(str::to_owned))
                        {
                            tag = format!(";tag={known}");
                        }
                    }
                    _ => {}
                }
            }
            now += Duration::from_millis(seed.below(700));
            side.endpoint.handle_timeout(now);
        }
        side.endpoint.hangup_all(now, None);
        while let Some(at) = side.endpoint.poll_timeout() {
            side.endpoint.handle_timeout(at);
            assert!(at - t0 < Duration::from_secs(8_000), "seed {n}: it never ends");
        }
        assert_eq!(side.endpoint.live(), (0, 0), "seed {n}");
    }
}

#[test]
fn early_media_that_wants_a_prack_comes_once_and_before_the_answer_at_30_per_cent_loss_rfc_3262_3() {
    let mut answered = 0;
    for n in 0..300 {
        let mut pair = Pair::new(n, STORM).at(seconds(100), Caller, hangup());
        pair.is_early = true;
        let run = pair.run();
        run.check(n);
        let position = |is: fn(&SessionEvent) -> bool| run.caller.events.iter().position(is);
        let Some(at) = position(|e| matches!(e, SessionEvent::Answered { .. })) else { continue };
        answered += 1;
        let media = |e: &&SessionEvent| matches!(e, SessionEvent::Progress { body: Some(_), .. });
        assert_eq!(run.caller.events.iter().filter(media).count(), 1, "seed {n}: {:?}", run.caller.events);
        assert_eq!(run.caller.events[..at].iter().filter(media).count(), 1, "seed {n}");
    }
    assert!(answered > 280, "{answered}");
}

#[test]
fn keys_by_info_come_once_each_and_in_their_order_at_30_per_cent_loss() {
    let mut whole = 0;
    for n in 0..300 {
        let key = |sign| {
            let digit = sipedge::base::Digit::from_char(sign).unwrap();
            SessionCommand::Keys(vec![sipedge::sip::Key { digit, duration: Duration::from_millis(100) }])
        };
        let who = if n % 2 == 0 { Caller } else { Callee };
        let mut pair = Pair::new(n, STORM);
        for sign in "123456789".chars() {
            pair = pair.at(seconds(40), who, key(sign));
        }
        let run = pair.at(seconds(300), Caller, hangup()).run();
        run.check(n);
        let keys = run.side_of(who.other()).events.iter().filter_map(|e| match e {
            SessionEvent::Key(key) => Some(key.digit.as_char()),
            _ => None,
        });
        let keys: String = keys.collect();
        // 64·T1 of storm may lose one
        assert!(keys.chars().zip(keys.chars().skip(1)).all(|(a, b)| a < b), "seed {n}: {keys}");
        whole += usize::from(keys == "123456789");
    }
    assert!(whole > 270, "{whole}");
}

/// A call whose caller asks for a timer of 90 s: it refreshes every 45 s, the end is after 60 (RFC 4028 §10).
fn timed(seed: u64, loses: Loses) -> Pair {
    let mut pair = Pair::new(seed, CALM).at(seconds(500), Caller, hangup());
    pair.timers = TimerRules::new(TimerUse::Always, seconds(90));
    pair.loses = loses;
    pair.run()
}

#[test]
fn a_call_with_a_session_timer_is_refreshed_as_long_as_it_lasts_rfc_4028_10() {
    let run = timed(1, |_| false);
    run.check(1);
    assert_eq!(run.ends(), (&LOCAL, &remote()));
    // a second of ringing, then (499 s) / 45 s
    assert_eq!(run.updates, 11);
    let run = timed(2, |bytes| bytes.starts_with(b"UPDATE "));
    run.check(2);
    let text = Some("session timer expired".into());
    let told = SessionEvent::Ended(CallEnd::Remote { q850: Some(102), text });
    // the clock of the callee began with its 200, that of the caller when it came
    assert_eq!(run.ends(), (&told, &SessionEvent::Ended(CallEnd::Lost("session timer expired"))));
}

#[test]
fn a_far_side_that_is_gone_is_noticed_on_both_sides_by_the_session_timer_rfc_4028_10() {
    let run = timed(3, |bytes| bytes.starts_with(b"UPDATE ") || bytes.starts_with(b"BYE "));
    run.check(3);
    let lost = SessionEvent::Ended(CallEnd::Lost("session timer expired"));
    assert_eq!(run.ends(), (&lost, &lost), "before the caller would have hung up");
}
