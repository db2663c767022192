//! When a trunk does something by itself: registrations, questions whether the PBX is there and knows a call, session
//! timers, and how long silence counts as absence.

use super::{DEFAULT_EXPIRES, DEFAULT_FAILOVER, DEFAULT_QUALIFY, DEFAULT_SESSION, Raw};
use crate::base::{Fault, Section, parse_duration};
use crate::sip::session::{KEEPALIVE, TimerRules, TimerUse};
use std::time::Duration;

/// Whether and for how long we register; a PBX that knows us by address needs none.
pub(super) fn read_register(
    section: &Section,
    raw: &Raw,
    has_user: bool,
    faults: &mut Vec<Fault>,
) -> Option<Duration> {
    let is_on = match &raw.register {
        None => false,
        Some(serde_json::Value::Bool(is_on)) => *is_on,
        Some(serde_json::Value::String(text)) if text == "accept" => false,
        Some(_) => {
            let remedy = "write true (we register at the PBX), false, or \"accept\" (the PBX registers here)";
            faults.push(section.fault("register", remedy));
            false
        }
    };
    if is_on && !has_user {
        let remedy = "registering needs `user`, and `password` where the PBX asks for it";
        faults.push(section.fault("register", remedy));
    }
    if !is_on && raw.register_expires.is_some() {
        faults.push(section.fault("register_expires", "this is for register = true"));
    }
    let expires = match raw.register_expires.as_deref().map(parse_duration) {
        None => DEFAULT_EXPIRES,
        Some(Ok(expires)) if (30..=86_400).contains(&expires.as_secs()) => expires,
        Some(Ok(_)) => {
            faults.push(section.fault("register_expires", "must be 30s to 24h"));
            DEFAULT_EXPIRES
        }
        Some(Err(remedy)) => {
            faults.push(section.fault("register_expires", remedy));
            DEFAULT_EXPIRES
        }
    };
    is_on.then_some(expires)
}

/// How often we look whether the PBX is there.
pub(super) fn read_qualify(
    section: &Section,
    text: Option<&str>,
    faults: &mut Vec<Fault>,
) -> Option<Duration> {
    match text {
        None => Some(DEFAULT_QUALIFY),
        Some("off") => None,
        Some(text) => {
            let interval = parse_duration(text).ok().filter(|i| (1..=3_600).contains(&i.as_secs()));
            if interval.is_none() {
                faults.push(section.fault("qualify", "write \"off\", or 1s to 1h as in \"10s\""));
            }
            interval
        }
    }
}

/// How long a place may say nothing at all.
pub(super) fn read_failover(section: &Section, text: Option<&str>, faults: &mut Vec<Fault>) -> Duration {
    let Some(text) = text else { return DEFAULT_FAILOVER };
    // less than the first repetition of a lost INVITE is no trial, and after 32 s it is given up in any case
    let range = Duration::from_millis(500)..=Duration::from_secs(32);
    parse_duration(text).ok().filter(|after| range.contains(after)).unwrap_or_else(|| {
        faults.push(section.fault("failover_after", "write 500ms to 32s, as in \"4s\""));
        DEFAULT_FAILOVER
    })
}

/// Session timers; every PBX can be asked, few must be.
pub(super) fn read_timers(section: &Section, raw: &Raw, faults: &mut Vec<Fault>) -> TimerRules {
    let usage = match raw.session_timers.as_deref() {
        None | Some("accept") => TimerUse::Accept, // what the PBX wants it gets
        Some("always") => TimerUse::Always,
        Some("off") => TimerUse::Off,
        Some(_) => {
            faults.push(section.fault("session_timers", "write \"accept\", \"always\" or \"off\""));
            TimerUse::Off
        }
    };
    if usage == TimerUse::Off && raw.session_timers.is_some() && raw.session_expires.is_some() {
        faults.push(section.fault("session_expires", "this is for session_timers that are not off"));
    }
    let expires = match raw.session_expires.as_deref().map(parse_duration) {
        None => DEFAULT_SESSION,
        // RFC 4028 §4 forbids less, and a day is no sign of life
        Some(Ok(expires)) if (90..=86_400).contains(&expires.as_secs()) => expires,
        Some(Ok(_)) => {
            faults.push(section.fault("session_expires", "must be 90s to 24h"));
            DEFAULT_SESSION
        }
        Some(Err(remedy)) => {
            faults.push(section.fault("session_expires", remedy));
            DEFAULT_SESSION
        }
    };
    let keepalive = match raw.dialog_keepalive.as_deref() {
        None => Some(KEEPALIVE),
        Some("off") => None,
        Some(text) => {
            let interval = parse_duration(text).ok().filter(|i| (30..=86_400).contains(&i.as_secs()));
            if interval.is_none() {
                faults.push(section.fault("dialog_keepalive", "write \"off\", or 30s to 24h as in \"15m\""));
            }
            interval
        }
    };
    TimerRules::new(usage, expires).with_keepalive(keepalive)
}
