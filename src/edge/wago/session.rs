//! One call as the API shows it: commands of the call core come in, its JSON comes out. Pure.

use super::cause;
use super::wire::ApiError;
use crate::base::{CallId, Cause};
use crate::call::leg::{LegCommand, MediaState};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Ringing,
    Active,
    Ended,
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
    from: String,
    to: String,
    state: State,
    browser: Browser,
    started: SystemTime,
    answered: Option<SystemTime>,
    ended: Option<(SystemTime, &'static str)>,
}

impl WagoCall {
    /// A call that its client just made.
    pub(super) const fn outbound(id: CallId, from: String, to: String, now: SystemTime) -> Self {
        Self {
            id,
            from,
            to,
            state: State::Starting,
            browser: Browser::None,
            started: now,
            answered: None,
            ended: None,
        }
    }

    /// What the call core says; the outcome of the oldest open offer, if this is it.
    pub(super) fn handle_command(&mut self, command: LegCommand, now: SystemTime) -> Option<OfferOutcome> {
        match command {
            LegCommand::Ring | LegCommand::Progress { .. } => {
                if self.state == State::Starting {
                    self.state = State::Ringing;
                }
            }
            LegCommand::Answer { .. } => {
                if self.state != State::Ended {
                    self.state = State::Active;
                    self.answered = Some(now);
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
            LegCommand::MediaState(state) => {
                self.browser = match state {
                    MediaState::Connected { codec } => Browser::Connected(codec),
                    MediaState::Failed(_) | MediaState::Lost(_) => Browser::Failed,
                    MediaState::Closed => Browser::Closed,
                };
            }
            LegCommand::Hangup(cause) => self.end(cause::end_reason(cause), now),
            // this edge places no calls through itself, and its browsers take no offers
            LegCommand::Dial(_) | LegCommand::Offer(_) | LegCommand::Dtmf(_) => {}
        }
        None
    }

    /// The call task is gone without a word.
    pub(super) fn handle_lost(&mut self, now: SystemTime) {
        self.end(cause::end_reason(Cause::Internal), now);
    }

    /// The client hangs up. False when the call has ended before.
    pub(super) fn hangup(&mut self, now: SystemTime) -> bool {
        let was_live = self.is_live();
        self.end(cause::own_end_reason(self.state == State::Active), now);
        was_live
    }

    /// The client takes its browser away. Whether there was one.
    pub(super) fn close(&mut self) -> bool {
        let had = matches!(self.browser, Browser::Connecting | Browser::Connected(_));
        if had {
            self.browser = Browser::Closed;
        }
        had
    }

    /// Whether it goes on.
    pub(super) fn is_live(&self) -> bool {
        self.state != State::Ended
    }

    fn end(&mut self, reason: &'static str, now: SystemTime) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.ended = Some((now, reason));
            if self.browser != Browser::None {
                self.browser = Browser::Closed;
            }
        }
    }

    /// The `call` object.
    pub(super) fn to_json(&self) -> Value {
        let time = |t: SystemTime| humantime::format_rfc3339_seconds(t).to_string();
        let state = match self.state {
            State::Starting => "starting",
            State::Ringing => "ringing",
            State::Active => "active",
            State::Ended => "ended",
        };
        let (webrtc, codec) = match self.browser {
            Browser::None => ("none", None),
            Browser::Connecting => ("connecting", None),
            Browser::Connected(codec) => ("connected", Some(codec.to_ascii_lowercase())),
            Browser::Failed => ("failed", None),
            Browser::Closed => ("closed", None),
        };
        json!({
            "callID": self.id.to_string(),
            "direction": "outbound",
            "state": state,
            "from": self.from,
            "to": self.to,
            "startedAt": time(self.started),
            "answeredAt": self.answered.map(time),
            "endedAt": self.ended.map(|(at, _)| time(at)),
            "endReason": self.ended.map(|(_, reason)| reason),
            "media": { "webrtc": webrtc, "codec": codec },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(json["media"], json!({"webrtc": "connected", "codec": "pcmu"}));
        c.handle_command(LegCommand::Hangup(Cause::Normal), at(9));
        assert_eq!(show(&c), ("ended".into(), json!("remote_ended"), json!("closed")));
        assert_eq!(c.to_json()["endedAt"], "2026-01-15T12:00:09Z");
    }

    #[test]
    fn the_first_end_counts_and_nothing_revives_an_ended_call() {
        let mut c = call();
        c.handle_command(LegCommand::Hangup(Cause::Busy), at(1));
        assert!(!c.hangup(at(2)));
        c.handle_command(LegCommand::Answer { answer: None }, at(3));
        c.handle_lost(at(4));
        assert_eq!(show(&c).1, "busy");
        assert!(!c.is_live());
    }

    #[test]
    fn hanging_up_says_whether_it_was_answered() {
        let mut unanswered = call();
        assert!(unanswered.hangup(at(1)));
        assert_eq!(show(&unanswered).1, "cancelled");
        let mut answered = call();
        answered.handle_command(LegCommand::Answer { answer: None }, at(1));
        assert!(answered.hangup(at(2)));
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
        let refusal = MediaRefusal::NoCommonCodec {
            offered: vec!["opus/48000/2".into()],
            wanted: vec!["PCMU/8000".into()],
        };
        let refused = c.handle_command(LegCommand::RefuseOffer(refusal), at(2)).unwrap().unwrap_err();
        assert_eq!(refused.text, "no common codec: the offer has opus/48000/2; this call takes PCMU/8000");
    }
}
