//! One call as the API shows it: commands of the call core and wishes of the client come in; its JSON, and events
//! for who listens, come out. Pure.

use super::cause;
use super::event::CallEvent;
use super::wire::ApiError;
use crate::base::{CallId, Cause, is_hidden};
use crate::call::leg::{LegCommand, MediaState, Party};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::SystemTime;

/// Who began the call, as seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Inbound,
    Outbound,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Made by the client; nobody rings yet.
    Starting,
    /// Made by the client; the other side rings.
    Ringing,
    /// It rings the client.
    Incoming,
    Active,
    /// Active, and the client holds the other side.
    OnHold,
    Ended,
}

/// How the client refuses a call that rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Busy,
    Declined,
}

/// Where its browser stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Browser {
    None,
    Connecting,
    Connected(&'static str),
    Failed,
    Closed,
}

/// What an offer came to.
pub(super) type OfferOutcome = Result<String, ApiError>;

/// A call of this edge.
#[derive(Debug)]
pub(super) struct WagoCall {
    id: CallId,
    direction: Direction,
    from: String,
    to: String,
    /// Who is at the other side, who may have changed since the call began. Its name is told with the event of an incoming
    /// call.
    peer: Party,
    state: State,
    browser: Browser,
    /// The other side has not answered and has media: it hears this one and its keys.
    has_early_media: bool,
    started: SystemTime,
    answered: Option<SystemTime>,
    ended: Option<(SystemTime, &'static str)>,
    events: VecDeque<CallEvent>,
}

impl WagoCall {
    /// A call that its client just made.
    pub(super) fn outbound(id: CallId, from: String, to: String, now: SystemTime) -> Self {
        let peer = Party { user: to.clone(), display: None };
        Self::new(id, Direction::Outbound, from, to, peer, State::Starting, now)
    }

    /// A call that rings its client.
    pub(super) fn inbound(id: CallId, from: Party, to: String, now: SystemTime) -> Self {
        Self::new(id, Direction::Inbound, from.user.clone(), to, from, State::Incoming, now)
    }

    fn new(
        id: CallId,
        direction: Direction,
        from: String,
        to: String,
        peer: Party,
        state: State,
        now: SystemTime,
    ) -> Self {
        let mut call = Self {
            id,
            direction,
            from,
            to,
            peer,
            state,
            browser: Browser::None,
            has_early_media: false,
            started: now,
            answered: None,
            ended: None,
            events: VecDeque::new(),
        };
        match direction {
            Direction::Outbound => call.event("call.state", None),
            Direction::Inbound => {
                let name = call.peer.display.clone().map(|name| ("displayName", json!(name)));
                call.event("call.incoming", name);
            }
        }
        call
    }

    /// What the call core says; the outcome of the oldest open offer, if this is it.
    pub(super) fn handle_command(&mut self, command: LegCommand, now: SystemTime) -> Option<OfferOutcome> {
        match command {
            LegCommand::Ring | LegCommand::Delayed(_) | LegCommand::Progress { .. } => {
                if self.state == State::Starting {
                    self.enter(State::Ringing);
                }
            }
            LegCommand::EarlyMedia(is_heard) => {
                if matches!(self.state, State::Starting | State::Ringing) && self.has_early_media != is_heard
                {
                    self.has_early_media = is_heard;
                    self.enter(State::Ringing);
                }
            }
            LegCommand::Answer { .. } => {
                if matches!(self.state, State::Starting | State::Ringing) {
                    self.has_early_media = false;
                    self.answered = Some(now);
                    self.enter(State::Active);
                }
            }
            LegCommand::AnswerOffer(sdp) => {
                // the same offer again is answered again and changes nothing
                if !matches!(self.browser, Browser::Connected(_)) {
                    self.browser = Browser::Connecting;
                }
                return Some(Ok(sdp.to_string()));
            }
            LegCommand::RefuseOffer(refusal) => return Some(Err(ApiError::from_refusal(&refusal))),
            LegCommand::MediaState(state) => self.handle_media(state),
            LegCommand::Dtmf(keys) => {
                for key in keys {
                    self.event("call.dtmf", Some(("digit", json!(key.digit.to_string()))));
                }
            }
            LegCommand::Party(who) => {
                // before the answer that tells it as well
                let is_told = matches!(self.state, State::Active | State::OnHold);
                if std::mem::replace(&mut self.peer, who.shown.clone()) != who.shown && is_told {
                    self.event("call.state", None);
                }
            }
            LegCommand::Hangup(end) => self.end(cause::end_reason(end.cause), now),
            // a dial makes this call, browsers take no offers here, and nobody transfers
            LegCommand::Dial(_) | LegCommand::Offer(_) | LegCommand::Notify(_) => {}
        }
        None
    }

    fn handle_media(&mut self, state: MediaState) {
        let (browser, event, cause) = match state {
            MediaState::Connected { codec } => (Browser::Connected(codec), "webrtc.connected", None),
            MediaState::Failed(cause) | MediaState::Lost(cause) => {
                (Browser::Failed, "webrtc.failed", Some(("reason", json!(cause.as_str()))))
            }
            MediaState::Closed => (Browser::Closed, "webrtc.closed", None),
        };
        if self.browser != browser {
            self.browser = browser;
            self.event(event, cause);
        }
    }

    /// The call task is gone without a word.
    pub(super) fn handle_lost(&mut self, now: SystemTime) {
        self.end(cause::end_reason(Cause::Internal), now);
    }

    /// The client answers.
    ///
    /// # Errors
    /// It does not ring the client, or not any more.
    pub(super) fn answer(&mut self, now: SystemTime) -> Result<(), ApiError> {
        self.require(self.state == State::Incoming, "the call does not ring here")?;
        self.answered = Some(now);
        self.enter(State::Active);
        Ok(())
    }

    /// The client refuses; the cause for the call core.
    ///
    /// # Errors
    /// As for [`Self::answer`].
    pub(super) fn reject(&mut self, refusal: Refusal, now: SystemTime) -> Result<Cause, ApiError> {
        self.require(self.state == State::Incoming, "the call does not ring here")?;
        let cause = match refusal {
            Refusal::Busy => Cause::Busy,
            Refusal::Declined => Cause::Declined,
        };
        self.end(cause::end_reason(cause), now);
        Ok(cause)
    }

    /// The client hangs up; the cause for the call core.
    ///
    /// # Errors
    /// The call has ended before.
    pub(super) fn hangup(&mut self, now: SystemTime) -> Result<Cause, ApiError> {
        if self.state == State::Incoming {
            return self.reject(Refusal::Declined, now);
        }
        self.require(true, "")?;
        self.end(cause::own_end_reason(self.answered.is_some()), now);
        Ok(Cause::Normal)
    }

    /// The client holds the other side, or takes it back. Whether that changes anything.
    ///
    /// # Errors
    /// The call is not answered.
    pub(super) fn hold(&mut self, is_held: bool) -> Result<bool, ApiError> {
        let is_talking = matches!(self.state, State::Active | State::OnHold);
        self.require(is_talking, "the call is not answered yet")?;
        let state = if is_held { State::OnHold } else { State::Active };
        let is_news = self.state != state;
        if is_news {
            self.enter(state);
        }
        Ok(is_news)
    }

    /// Whether digits can be sent now.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_send_digits(&self) -> Result<(), ApiError> {
        self.require(self.state != State::OnHold, "the call is on hold; resume it first")?;
        self.require(self.state != State::Incoming, "the call rings here; answer it first")?;
        let is_heard = self.state == State::Active || self.has_early_media;
        self.require(
            is_heard,
            "the other side hears no keys yet: it has not answered, and has no early media",
        )
    }

    /// The client takes its browser away. Whether there was one.
    pub(super) fn close(&mut self) -> bool {
        let had = matches!(self.browser, Browser::Connecting | Browser::Connected(_));
        if had {
            self.browser = Browser::Closed;
            self.event("webrtc.closed", None);
        }
        had
    }

    /// Whether it goes on.
    pub(super) fn is_live(&self) -> bool {
        self.state != State::Ended
    }

    /// What happened, oldest first; until none.
    pub(super) fn poll_event(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    fn require(&self, holds: bool, otherwise: &str) -> Result<(), ApiError> {
        match self.state {
            State::Ended => Err(ApiError::call_not_found()),
            _ if holds => Ok(()),
            _ => Err(ApiError::new(400, otherwise)),
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.event("call.state", None);
    }

    fn end(&mut self, reason: &'static str, now: SystemTime) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.ended = Some((now, reason));
            self.has_early_media = false;
            if self.browser != Browser::None {
                self.browser = Browser::Closed;
            }
            self.event("call.ended", None);
        }
    }

    fn event(&mut self, name: &'static str, more: Option<(&'static str, Value)>) {
        self.events.push_back(CallEvent { name, call: self.to_json(), more });
    }

    /// The `call` object.
    pub(super) fn to_json(&self) -> Value {
        let time = |t: SystemTime| humantime::format_rfc3339_seconds(t).to_string();
        let direction = match self.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        };
        let state = match self.state {
            State::Starting => "starting",
            State::Ringing => "ringing",
            State::Incoming => "incoming",
            State::Active => "active",
            State::OnHold => "on_hold",
            State::Ended => "ended",
        };
        let (webrtc, codec) = match self.browser {
            Browser::None => ("none", None),
            Browser::Connecting => ("connecting", None),
            Browser::Connected(codec) => ("connected", Some(codec.to_ascii_lowercase())),
            Browser::Failed => ("failed", None),
            Browser::Closed => ("closed", None),
        };
        let visible = |number: &str| number.replace(is_hidden, "");
        let mut shown = json!({
            "callID": self.id.to_string(),
            "direction": direction,
            "state": state,
            "from": visible(&self.from),
            "to": visible(&self.to),
            "peer": visible(&self.peer.user),
            "startedAt": time(self.started),
            "answeredAt": self.answered.map(time),
            "endedAt": self.ended.map(|(at, _)| time(at)),
            "endReason": self.ended.map(|(_, reason)| reason),
            "media": { "webrtc": webrtc, "codec": codec, "early": self.has_early_media },
        });
        // a client that comes later than the event shall know who calls
        if let (Some(name), Some(members)) = (&self.peer.display, shown.as_object_mut()) {
            members.insert("displayName".to_owned(), json!(name));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Digit;
    use crate::call::leg::{DtmfDigit, Stated};
    use crate::call::port::MediaRefusal;
    use std::time::{Duration, UNIX_EPOCH};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_768_478_400 + seconds) // 2026-01-15T12:00:00Z
    }

    fn call() -> WagoCall {
        WagoCall::outbound(CallId::from_bits(1), "+551130000001".into(), "600".into(), at(0))
    }

    fn show(call: &WagoCall) -> (String, Value, Value) {
        let json = call.to_json();
        (
            json["state"].as_str().unwrap().to_owned(),
            json["endReason"].clone(),
            json["media"]["webrtc"].clone(),
        )
    }

    #[test]
    fn a_call_shows_each_state_with_its_times() {
        let mut c = call();
        assert_eq!(show(&c), ("starting".into(), Value::Null, json!("none")));
        c.handle_command(LegCommand::Ring, at(1));
        assert_eq!(show(&c).0, "ringing");
        c.handle_command(LegCommand::Answer { answer: None }, at(7));
        c.handle_command(LegCommand::MediaState(MediaState::Connected { codec: "PCMU" }), at(8));
        let json = c.to_json();
        assert_eq!(json["answeredAt"], "2026-01-15T12:00:07Z");
        assert_eq!(json["media"], json!({"webrtc": "connected", "codec": "pcmu", "early": false}));
        c.handle_command(LegCommand::Hangup(Cause::Normal.into()), at(9));
        assert_eq!(show(&c), ("ended".into(), json!("remote_ended"), json!("closed")));
        assert_eq!(c.to_json()["endedAt"], "2026-01-15T12:00:09Z");
    }

    #[test]
    fn numbers_are_shown_without_what_cannot_be_seen() {
        let from = Party { user: "a\0b\r\nX\u{202e}".into(), display: None };
        let json = WagoCall::inbound(CallId::from_bits(1), from, "6\n0".into(), at(0)).to_json();
        assert_eq!((&json["from"], &json["peer"], &json["to"]), (&json!("abX"), &json!("abX"), &json!("60")));
    }

    #[test]
    fn the_first_end_counts_and_nothing_revives_an_ended_call() {
        let mut c = call();
        c.handle_command(LegCommand::Hangup(Cause::Busy.into()), at(1));
        assert_eq!(c.hangup(at(2)).unwrap_err().status, 404);
        c.handle_command(LegCommand::Answer { answer: None }, at(3));
        c.handle_lost(at(4));
        assert_eq!(show(&c).1, "busy");
        assert!(!c.is_live());
    }

    #[test]
    fn hanging_up_says_whether_it_was_answered() {
        let mut unanswered = call();
        assert_eq!(unanswered.hangup(at(1)), Ok(Cause::Normal));
        assert_eq!(show(&unanswered).1, "cancelled");
        let mut answered = call();
        answered.handle_command(LegCommand::Answer { answer: None }, at(1));
        assert_eq!(answered.hangup(at(2)), Ok(Cause::Normal));
        assert_eq!(show(&answered).1, "user_ended");
    }

    #[test]
    fn an_offer_is_answered_or_refused_and_close_tells_whether_there_was_a_browser() {
        let mut c = call();
        assert!(!c.close());
        let sdp =
            crate::sdp::SessionDescription::parse("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n").unwrap();
        let outcome = c.handle_command(LegCommand::AnswerOffer(Box::new(sdp)), at(1));
        assert!(outcome.unwrap().unwrap().starts_with("v=0\r\n"));
        assert_eq!(show(&c).2, "connecting");
        assert!(c.close() && !c.close());
        let refusal =
            MediaRefusal::NoCommonCodec { offered: vec!["opus/48000/2".into()], wanted: vec!["PCMU".into()] };
        let refused = c.handle_command(LegCommand::RefuseOffer(refusal), at(2)).unwrap().unwrap_err();
        assert_eq!(refused.text, "no common codec: the offer has opus/48000/2; this call takes PCMU");
    }

    fn incoming() -> WagoCall {
        let from = Party { user: "600".into(), display: Some("Front desk".into()) };
        WagoCall::inbound(CallId::from_bits(2), from, "100".into(), at(0))
    }

    fn events(c: &mut WagoCall) -> Vec<(&'static str, Value)> {
        std::iter::from_fn(|| c.poll_event())
            .map(|e| (e.name, e.more.map_or_else(|| e.call["state"].clone(), |(_, v)| v)))
            .collect()
    }

    #[test]
    fn an_incoming_call_is_answered_once() {
        let mut c = incoming();
        assert_eq!(show(&c), ("incoming".into(), Value::Null, json!("none")));
        assert_eq!((&c.to_json()["direction"], &c.to_json()["from"]), (&json!("inbound"), &json!("600")));
        assert_eq!(c.answer(at(3)), Ok(()));
        assert_eq!(c.to_json()["answeredAt"], "2026-01-15T12:00:03Z");
        assert_eq!(c.answer(at(4)).unwrap_err(), ApiError::new(400, "the call does not ring here"));
        assert_eq!(c.reject(Refusal::Busy, at(4)).unwrap_err().status, 400);
        assert_eq!(events(&mut c), [("call.incoming", json!("Front desk")), ("call.state", json!("active"))]);
        assert_eq!(c.hangup(at(5)), Ok(Cause::Normal));
        assert_eq!(show(&c).1, "user_ended");
    }

    #[test]
    fn a_call_that_rings_here_is_declined_busy_or_given_up_by_its_caller() {
        let mut busy = incoming();
        assert_eq!(busy.reject(Refusal::Busy, at(1)), Ok(Cause::Busy));
        assert_eq!(show(&busy).1, "busy");
        let mut declined = incoming();
        assert_eq!(declined.hangup(at(1)), Ok(Cause::Declined));
        assert_eq!(show(&declined).1, "declined");
        for (cause, reason) in [
            (Cause::Cancelled, "cancelled"),
            (Cause::AnsweredElsewhere, "cancelled"),
            (Cause::NoAnswer, "timeout"),
        ] {
            let mut given_up = incoming();
            given_up.handle_command(LegCommand::Hangup(cause.into()), at(1));
            assert_eq!(show(&given_up).1, reason);
            assert_eq!(given_up.answer(at(2)).unwrap_err().status, 404);
        }
    }

    #[test]
    fn only_an_answered_call_is_held_and_digits_wait_until_it_is_resumed() {
        let mut c = call();
        assert_eq!(c.hold(true).unwrap_err(), ApiError::new(400, "the call is not answered yet"));
        assert_eq!(c.may_send_digits().unwrap_err().status, 400);
        c.handle_command(LegCommand::Answer { answer: None }, at(1));
        assert_eq!(c.may_send_digits(), Ok(()));
        assert_eq!((c.hold(false), c.hold(true), c.hold(true)), (Ok(false), Ok(true), Ok(false)));
        assert_eq!(show(&c).0, "on_hold");
        assert!(c.may_send_digits().unwrap_err().text.contains("resume"));
        // an answer that is told twice does not resume it
        c.handle_command(LegCommand::Answer { answer: None }, at(2));
        assert_eq!(show(&c).0, "on_hold");
        assert_eq!((c.hold(false), show(&c).0), (Ok(true), "active".to_owned()));
        let states = [json!("starting"), json!("active"), json!("on_hold"), json!("active")];
        assert_eq!(events(&mut c), states.map(|state| ("call.state", state)));
        assert_eq!(c.hangup(at(3)), Ok(Cause::Normal));
        assert_eq!(c.hold(true).unwrap_err().status, 404);
    }

    #[test]
    fn digits_go_before_the_answer_to_who_is_heard_then() {
        let mut c = call();
        let refused = |c: &WagoCall| c.may_send_digits().unwrap_err();
        c.handle_command(LegCommand::Ring, at(1));
        c.handle_command(LegCommand::Progress { answer: None, delay: None }, at(1));
        assert_eq!((refused(&c).status, c.to_json()["media"]["early"].clone()), (400, json!(false)));
        assert!(refused(&c).text.contains("no early media"));
        c.handle_command(LegCommand::EarlyMedia(true), at(2));
        c.handle_command(LegCommand::EarlyMedia(true), at(2));
        assert_eq!((c.may_send_digits(), c.to_json()["media"]["early"].clone()), (Ok(()), json!(true)));
        // the next one is rung
        c.handle_command(LegCommand::EarlyMedia(false), at(3));
        assert_eq!(refused(&c).status, 400);
        c.handle_command(LegCommand::EarlyMedia(true), at(4));
        c.handle_command(LegCommand::Answer { answer: None }, at(5));
        assert_eq!((c.may_send_digits(), c.to_json()["media"]["early"].clone()), (Ok(()), json!(false)));
        let states = ["starting", "ringing", "ringing", "ringing", "ringing", "active"];
        assert_eq!(events(&mut c), states.map(|state| ("call.state", json!(state))));
        assert!(incoming().may_send_digits().unwrap_err().text.contains("answer it first"));
    }

    #[test]
    fn what_happens_to_the_browser_and_what_the_other_side_presses_are_events() {
        let mut c = call();
        c.handle_command(LegCommand::MediaState(MediaState::Connected { codec: "PCMU" }), at(1));
        c.handle_command(LegCommand::MediaState(MediaState::Connected { codec: "PCMU" }), at(1));
        let key = DtmfDigit { digit: Digit::from_char('5').unwrap(), duration: Duration::from_millis(100) };
        c.handle_command(LegCommand::Dtmf(vec![key]), at(2));
        assert!(c.close());
        c.handle_command(LegCommand::MediaState(MediaState::Closed), at(3));
        c.handle_command(LegCommand::MediaState(MediaState::Failed(Cause::IceFailed)), at(4));
        c.handle_command(LegCommand::Hangup(Cause::Normal.into()), at(5));
        let wanted = [
            ("call.state", json!("starting")),
            ("webrtc.connected", json!("starting")),
            ("call.dtmf", json!("5")),
            ("webrtc.closed", json!("starting")),
            ("webrtc.failed", json!("ice-failed")),
            ("call.ended", json!("ended")),
        ];
        assert_eq!(events(&mut c), wanted);
    }

    #[test]
    fn who_is_at_the_other_side_is_shown_and_told_when_it_is_somebody_else() {
        let party = |user: &str, name: Option<&str>| {
            let shown = Party { user: user.into(), display: name.map(str::to_owned) };
            LegCommand::Party(Box::new(Stated { shown, ..Stated::default() }))
        };
        let who = |c: &WagoCall| {
            let json = c.to_json();
            ["from", "to", "peer", "displayName"].map(|key| json[key].as_str().unwrap_or("—").to_owned())
        };
        let mut c = call();
        assert_eq!(who(&c), ["+551130000001", "600", "600", "—"]);
        c.handle_command(party("601", Some("Berta")), at(1));
        c.handle_command(LegCommand::Answer { answer: None }, at(1));
        assert_eq!(who(&c), ["+551130000001", "600", "601", "Berta"]);
        c.handle_command(party("601", Some("Berta")), at(2));
        c.handle_command(party("602", None), at(3));
        assert_eq!(who(&c), ["+551130000001", "600", "602", "—"]);
        assert_eq!(events(&mut c), ["starting", "active", "active"].map(|s| ("call.state", json!(s))));
        let mut c = incoming();
        assert_eq!(who(&c), ["600", "100", "600", "Front desk"]);
        c.answer(at(1)).unwrap();
        c.handle_command(party("anonymous", Some("Anonymous")), at(2));
        assert_eq!(who(&c), ["600", "100", "anonymous", "Anonymous"]);
    }
}
