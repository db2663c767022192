//! Session timers (RFC 4028): what both ends agree on, when the next refresh is due, and when a call whose far side was
//! not heard of is over. `confirmed` sends the refreshes and the BYE; this says when, and writes and reads the headers.
//!
//! Refreshes are counted from the 2xx as the RFC has it. Left out: what proxies do (§8).
//!
//! Where no timer runs, the far side is asked from time to time whether it still knows the call (OPTIONS within the
//! dialog, RFC 3261 §11): a call that is held has no media whose silence would tell.

use super::super::answer::Answer;
use super::super::{HeaderName, Headers, Method, Request, StatusCode};
use super::SessionTimer;
use super::early;
use std::time::{Duration, Instant};

/// No interval is shorter, in seconds (RFC 4028 §4).
const SHORTEST: u32 = 90;

/// An interval that a far side sets all the same is taken as it is, but not shorter: it would be nothing but refreshes.
const FLOOR: u32 = 10;

/// A far side that asks for more than this as its minimum asks for no timer, in seconds.
const LONGEST_MINIMUM: u32 = 86_400;

/// Most 422 of one call that we obey; each asks for more than the one before.
const MAX_RAISES: u32 = 3;

/// After a refresh or a question that came to nothing, or could not go, the next try.
const RETRY: Duration = Duration::from_secs(10);

/// A BYE goes so long before the end, or a third of the interval before it (RFC 4028 §10).
const MARGIN: Duration = Duration::from_secs(32);

/// How long a far side may say nothing within a call that has no session timer, before it is asked, unless configured.
pub const KEEPALIVE: Duration = Duration::from_secs(900);

/// When a call has a session timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimerUse {
    /// Never.
    Off,
    /// When the far side asks for one; we say that we know of them.
    #[default]
    Accept,
    /// We ask for one, and refresh the call even if the far side knows nothing of timers.
    Always,
}

/// When a call has a session timer, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerRules {
    usage: TimerUse,
    expires: u32,
    keepalive: Option<Duration>,
}

impl TimerRules {
    /// The interval is what we ask for, and the longest that we grant: whole seconds, 90 or more (RFC 4028 §4).
    #[must_use]
    pub fn new(usage: TimerUse, expires: Duration) -> Self {
        let expires = u32::try_from(expires.as_secs()).unwrap_or(u32::MAX).max(SHORTEST);
        Self { usage, expires, keepalive: Some(KEEPALIVE) }
    }

    /// The same, with a question after each such time of silence where no session timer runs; none: never.
    #[must_use]
    pub const fn with_keepalive(self, keepalive: Option<Duration>) -> Self {
        Self { keepalive, ..self }
    }

    /// Why a request cannot be taken: 422 when its interval is too short (RFC 4028 §9), which only a sender who knows of
    /// timers would understand; 420 when it requires what is switched off.
    pub(in crate::sip) fn refusal(&self, request: &Request) -> Option<Answer> {
        if request.method != Method::INVITE && request.method != Method::UPDATE {
            return None;
        }
        if self.usage == TimerUse::Off {
            let requires = has_timer(&request.headers, &HeaderName::Require);
            let refusal = || Answer::new(StatusCode::BAD_EXTENSION).with(HeaderName::Unsupported, "timer");
            return requires.then(refusal);
        }
        let is_short = session_expires(&request.headers).is_some_and(|(seconds, _)| seconds < SHORTEST);
        (is_short && knows_timers(&request.headers)).then(|| {
            Answer::new(StatusCode::SESSION_INTERVAL_TOO_SMALL).with(HeaderName::MinSe, SHORTEST.to_string())
        })
    }
}

impl Default for TimerRules {
    /// Half an hour, as the RFC recommends (§4) and Asterisk has it.
    fn default() -> Self {
        Self::new(TimerUse::default(), Duration::from_secs(1_800))
    }
}

/// Who refreshes, in the words of one request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refresher {
    Uac,
    Uas,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// A refresh of ours.
    Refresh,
    /// BYE: no refresh came, or none of ours was answered.
    Bye,
    /// A question whether the far side still knows the call.
    Question,
}

#[derive(Debug)]
struct Running {
    seconds: u32,
    is_ours: bool,
    refresh_at: Instant,
    end_at: Instant,
}

/// The timer of a call.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) rules: TimerRules,
    /// The far side names UPDATE in Allow.
    pub(super) takes_update: bool,
    /// The least that it wants, by its 422.
    min: u32,
    raises: u32,
    running: Option<Running>,
    /// The next question.
    ask_at: Option<Instant>,
}

impl Timer {
    pub(super) const fn new(rules: TimerRules) -> Self {
        Self { rules, takes_update: false, min: SHORTEST, raises: 0, running: None, ask_at: None }
    }

    /// What of it stands in Supported.
    pub(super) fn supported(&self) -> &'static str {
        if self.rules.usage == TimerUse::Off { "" } else { "timer" }
    }

    /// Reads what the far side can do.
    pub(super) fn note(&mut self, headers: &Headers) {
        self.takes_update = early::takes_update(headers).unwrap_or(self.takes_update);
    }

    /// The far side said something within the call.
    pub(super) fn heard(&mut self, now: Instant) {
        self.ask_at = self.rules.keepalive.map(|after| now + after);
    }

    /// It is to be asked again soon.
    pub(super) fn ask_soon(&mut self, now: Instant) {
        self.ask_at = Some(now + RETRY);
    }

    /// What we ask for with an INVITE or UPDATE of ours: what runs goes on (RFC 4028 §7.1, §7.4).
    pub(super) fn ask(&self, headers: &mut Headers) {
        let expires = match (&self.running, self.rules.usage) {
            (_, TimerUse::Off) => return,
            (Some(r), _) => {
                format!("{};refresher={}", r.seconds.max(self.min), if r.is_ours { "uac" } else { "uas" })
            }
            // a proxy wants one
            (None, TimerUse::Always) => self.rules.expires.max(self.min).to_string(),
            (None, TimerUse::Accept) if self.raises > 0 => self.rules.expires.max(self.min).to_string(),
            (None, TimerUse::Accept) => return,
        };
        headers.push(HeaderName::SessionExpires, expires);
        headers.push(HeaderName::MinSe, self.min.to_string());
    }

    /// The 2xx to what we asked: it decides (RFC 4028 §7.2).
    pub(super) fn answered(&mut self, now: Instant, headers: &Headers) {
        self.note(headers);
        self.heard(now);
        let (seconds, is_ours) = match (session_expires(headers), self.rules.usage) {
            (_, TimerUse::Off) | (None, TimerUse::Accept) => return self.running = None,
            // who forgot to say gets refreshed
            (Some((seconds, refresher)), _) => (seconds, refresher != Some(Refresher::Uas)),
            (None, TimerUse::Always) => (self.rules.expires.max(self.min), true),
        };
        self.start(now, seconds, is_ours);
    }

    /// Our 2xx to an INVITE or UPDATE of theirs: the interval is theirs or less, who refreshes is as they say and, when
    /// they do not, the one who asked, if it can (RFC 4028 §9, table 2).
    pub(super) fn grant(&mut self, now: Instant, request: &Headers, response: &mut Headers) {
        self.note(request);
        self.heard(now);
        let knows = knows_timers(request);
        let longest = self.rules.expires.max(seconds_of(request.get(&HeaderName::MinSe)).unwrap_or(0));
        let (seconds, refresher) = match (session_expires(request), self.rules.usage) {
            (_, TimerUse::Off) | (None, TimerUse::Accept) => return self.running = None,
            (Some((seconds, refresher)), _) => (seconds.min(longest), refresher),
            (None, TimerUse::Always) => (longest, None),
        };
        let is_ours = refresher == Some(Refresher::Uas) || !knows;
        self.start(now, seconds, is_ours);
        let role = if is_ours { "uas" } else { "uac" };
        response.push(HeaderName::SessionExpires, format!("{seconds};refresher={role}"));
        if !is_ours {
            response.push(HeaderName::Require, "timer");
        }
    }

    /// 422: whether to ask again, for as much as it wants (RFC 4028 §7.3).
    pub(super) fn raise(&mut self, headers: &Headers) -> bool {
        let Some(wanted) = seconds_of(headers.get(&HeaderName::MinSe)) else { return false };
        if self.rules.usage == TimerUse::Off || self.raises >= MAX_RAISES || wanted > LONGEST_MINIMUM {
            return false;
        }
        self.raises += 1;
        self.min = self.min.max(wanted);
        true
    }

    /// What is due now; a refresh is due again later should it come to nothing.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Due> {
        let Some(running) = self.running.as_mut() else {
            self.ask_at.filter(|at| *at <= now)?;
            self.heard(now);
            return Some(Due::Question);
        };
        if running.end_at <= now {
            self.running = None;
            return Some(Due::Bye);
        }
        if !running.is_ours || running.refresh_at > now {
            return None;
        }
        running.refresh_at = now + RETRY;
        Some(Due::Refresh)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        let Some(running) = self.running.as_ref() else {
            return self.ask_at.map(|at| (at, SessionTimer::Question));
        };
        let end = (running.end_at, SessionTimer::SessionEnd);
        let refresh = running.is_ours.then_some((running.refresh_at, SessionTimer::Refresh));
        Some(refresh.map_or(end, |refresh| refresh.min(end)))
    }

    /// Half the interval is for the refresh, the end has the margin of RFC 4028 §10.
    fn start(&mut self, now: Instant, seconds: u32, is_ours: bool) {
        let interval = Duration::from_secs(seconds.max(FLOOR).into());
        self.running = Some(Running {
            seconds,
            is_ours,
            refresh_at: now + interval / 2,
            end_at: now + (interval - MARGIN.min(interval / 3)),
        });
    }
}

fn has_timer(headers: &Headers, name: &HeaderName) -> bool {
    headers.tokens(name).iter().any(|t| t.eq_ignore_ascii_case("timer"))
}

fn knows_timers(headers: &Headers) -> bool {
    has_timer(headers, &HeaderName::Supported) || has_timer(headers, &HeaderName::Require)
}

/// Seconds, before parameters; one too great for us is the greatest.
fn seconds_of(value: Option<&str>) -> Option<u32> {
    let digits = value?.split(';').next().unwrap_or_default().trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Session-Expires (RFC 4028 §4); one that cannot be read is none.
fn session_expires(headers: &Headers) -> Option<(u32, Option<Refresher>)> {
    let value = headers.get(&HeaderName::SessionExpires)?;
    let params = value.split(';').skip(1).filter_map(|p| p.split_once('='));
    let refresher = params.filter(|(name, _)| name.trim().eq_ignore_ascii_case("refresher")).find_map(
        |(_, who)| match who.trim().to_ascii_lowercase().as_str() {
            "uac" => Some(Refresher::Uac),
            "uas" => Some(Refresher::Uas),
            _ => None,
        },
    );
    Some((seconds_of(Some(value))?, refresher))
}
