//! Keys in INFO requests, as PBXs write them: `application/dtmf-relay` with lines of `Signal` and `Duration`, and
//! `application/dtmf`, which is the key alone. No RFC describes either.

use super::answer::{Answer, Body};
use super::{HeaderName, Request, StatusCode};
use crate::base::Digit;
use std::time::Duration;

/// Bodies that an INFO may have.
pub(super) const ACCEPT: &str = "application/dtmf-relay, application/dtmf";

/// How long a key is held of which nothing else is said.
const USUAL: Duration = Duration::from_millis(100);
/// Shorter is heard by few receivers.
const SHORTEST: Duration = Duration::from_millis(40);
const LONGEST: Duration = Duration::from_millis(5_000);

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Which.
    pub digit: Digit,
    /// How long it is held.
    pub duration: Duration,
}

impl Key {
    /// The body of an INFO that tells it.
    #[must_use]
    pub fn body(&self) -> Body {
        let text = format!("Signal={}\r\nDuration={}\r\n", self.digit, self.duration.as_millis());
        Body { content_type: "application/dtmf-relay".to_owned(), bytes: text.into() }
    }

    /// What a body of one of the two types says; none when it is no key.
    fn read(content_type: &str, text: &str) -> Option<Self> {
        if content_type == "application/dtmf" {
            return Some(Self { digit: digit(text)?, duration: USUAL });
        }
        let mut key = None;
        let mut duration = USUAL;
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "signal" => key = digit(value),
                "duration" => {
                    let told = value.trim().parse().map(Duration::from_millis);
                    duration = told.map_or(USUAL, |d| d.clamp(SHORTEST, LONGEST));
                }
                _ => {}
            }
        }
        Some(Self { digit: key?, duration })
    }
}

/// A key as it is written, or by its event code (RFC 4733 §3.2) where that has two digits.
fn digit(text: &str) -> Option<Digit> {
    let text = text.trim();
    let mut signs = text.chars();
    match (signs.next(), signs.next()) {
        (Some(sign), None) => Digit::from_char(sign),
        _ => text.parse().ok().and_then(Digit::from_event),
    }
}

/// What an INFO that passed [`super::answer::check_in_dialog`] hears, and the key that it brought. One without a body
/// is the keep-alive of old peers; of the packages of RFC 6086 none is taken here (§4.2.2).
pub(super) fn take(request: &Request) -> (Answer, Option<Key>) {
    if request.headers.iter().any(|h| *h.name() == HeaderName::Other("Info-Package".into())) {
        let none = HeaderName::Other("Recv-Info".into());
        return (Answer::new(StatusCode::BAD_INFO_PACKAGE).with(none, ""), None);
    }
    if request.body.is_empty() {
        return (Answer::new(StatusCode::OK), None);
    }
    let content_type = request.headers.content_type().unwrap_or_default();
    if !ACCEPT.split(", ").any(|accepted| accepted == content_type) {
        // it may be ignored (RFC 3261 §8.2.3)
        return (Answer::new(StatusCode::OK), None);
    }
    match Key::read(&content_type, &String::from_utf8_lossy(&request.body)) {
        Some(key) => (Answer::new(StatusCode::OK), Some(key)),
        None => {
            let phrase = Some("No Such Key".to_owned());
            (Answer { phrase, ..Answer::new(StatusCode::BAD_REQUEST) }, None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, Uri};

    fn info(content_type: &str, body: &'static str) -> (u16, Option<(char, u128)>) {
        let mut r = Request::new(Method::INFO, Uri::parse("sip:a@192.0.2.1").unwrap());
        r.headers.push(HeaderName::ContentType, content_type);
        r.body = bytes::Bytes::from_static(body.as_bytes());
        let (answer, key) = take(&r);
        (answer.status.code(), key.map(|k| (k.digit.as_char(), k.duration.as_millis())))
    }

    #[test]
    fn a_key_is_read_however_pbxs_write_it() {
        for (content_type, body, key) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", ('5', 160)),
            ("application/DTMF-Relay", "Signal= *\nDuration = 250\n", ('*', 250)),
            ("application/dtmf-relay", "signal=#", ('#', 100)),
            ("application/dtmf-relay", "Signal=11\r\nDuration=1\r\n", ('#', 40)),
            ("application/dtmf-relay", "Duration=99999999999999999999\r\nSignal=a\r\n", ('A', 100)),
            ("application/dtmf", "7", ('7', 100)),
            ("application/dtmf", "10\r\n", ('*', 100)),
        ] {
            assert_eq!(info(content_type, body), (200, Some(key)), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_a_bad_request_and_nothing_at_all_is_a_keep_alive() {
        for body in ["Signal=\r\n", "Signal=16\r\n", "Duration=100\r\n", "Signal=12345678901", "x"] {
            assert_eq!(info("application/dtmf-relay", body), (400, None), "{body:?}");
        }
        assert_eq!(info("", ""), (200, None));
        let mut r = Request::new(Method::INFO, Uri::parse("sip:a@192.0.2.1").unwrap());
        r.headers.push(HeaderName::parse("info-package"), "conference");
        assert_eq!(take(&r).0.status.code(), 469);
    }

    #[test]
    fn what_we_write_we_can_read() {
        let key = Key { digit: Digit::from_char('#').unwrap(), duration: Duration::from_millis(120) };
        let body = key.body();
        let text = String::from_utf8(body.bytes.to_vec()).unwrap();
        assert_eq!(Key::read(&body.content_type, &text), Some(key));
    }
}
