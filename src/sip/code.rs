//! Methods and status codes: thin wrappers over rsip's types, so that no other folder names that crate.
//!
//! rsip knows the methods and codes of the RFCs; what it does not know (an extension method, a code without
//! a name) is kept here as it came. Methods are case-sensitive (RFC 3261 §7.1), rsip's parser is not, so the
//! look-up is ours.

use super::lex::is_token;
use std::fmt;

/// A request method (RFC 3261 §7.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Method(Word);

#[derive(Clone, PartialEq, Eq)]
enum Word {
    Known(rsip::Method),
    Extension(Box<str>),
}

impl Method {
    /// `ACK`
    pub const ACK: Self = Self(Word::Known(rsip::Method::Ack));
    /// `BYE`
    pub const BYE: Self = Self(Word::Known(rsip::Method::Bye));
    /// `CANCEL`
    pub const CANCEL: Self = Self(Word::Known(rsip::Method::Cancel));
    /// `INFO` (RFC 6086)
    pub const INFO: Self = Self(Word::Known(rsip::Method::Info));
    /// `INVITE`
    pub const INVITE: Self = Self(Word::Known(rsip::Method::Invite));
    /// `MESSAGE` (RFC 3428)
    pub const MESSAGE: Self = Self(Word::Known(rsip::Method::Message));
    /// `NOTIFY` (RFC 6665)
    pub const NOTIFY: Self = Self(Word::Known(rsip::Method::Notify));
    /// `OPTIONS`
    pub const OPTIONS: Self = Self(Word::Known(rsip::Method::Options));
    /// `PRACK` (RFC 3262)
    pub const PRACK: Self = Self(Word::Known(rsip::Method::PRack));
    /// `PUBLISH` (RFC 3903)
    pub const PUBLISH: Self = Self(Word::Known(rsip::Method::Publish));
    /// `REFER` (RFC 3515)
    pub const REFER: Self = Self(Word::Known(rsip::Method::Refer));
    /// `REGISTER`
    pub const REGISTER: Self = Self(Word::Known(rsip::Method::Register));
    /// `SUBSCRIBE` (RFC 6665)
    pub const SUBSCRIBE: Self = Self(Word::Known(rsip::Method::Subscribe));
    /// `UPDATE` (RFC 3311)
    pub const UPDATE: Self = Self(Word::Known(rsip::Method::Update));

    /// The method written like this; none when the text is no token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use rsip::Method as M;
        let known = match text {
            "ACK" => M::Ack,
            "BYE" => M::Bye,
            "CANCEL" => M::Cancel,
            "INFO" => M::Info,
            "INVITE" => M::Invite,
            "MESSAGE" => M::Message,
            "NOTIFY" => M::Notify,
            "OPTIONS" => M::Options,
            "PRACK" => M::PRack,
            "PUBLISH" => M::Publish,
            "REFER" => M::Refer,
            "REGISTER" => M::Register,
            "SUBSCRIBE" => M::Subscribe,
            "UPDATE" => M::Update,
            other if is_token(other) => return Some(Self(Word::Extension(other.into()))),
            _ => return None,
        };
        Some(Self(Word::Known(known)))
    }

    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        use rsip::Method as M;
        match &self.0 {
            Word::Known(M::Ack) => "ACK",
            Word::Known(M::Bye) => "BYE",
            Word::Known(M::Cancel) => "CANCEL",
            Word::Known(M::Info) => "INFO",
            Word::Known(M::Invite) => "INVITE",
            Word::Known(M::Message) => "MESSAGE",
            Word::Known(M::Notify) => "NOTIFY",
            Word::Known(M::Options) => "OPTIONS",
            Word::Known(M::PRack) => "PRACK",
            Word::Known(M::Publish) => "PUBLISH",
            Word::Known(M::Refer) => "REFER",
            Word::Known(M::Register) => "REGISTER",
            Word::Known(M::Subscribe) => "SUBSCRIBE",
            Word::Known(M::Update) => "UPDATE",
            Word::Extension(text) => text,
        }
    }

    /// Whether an RFC that we know of defines it; others are answered 501, these 405 (RFC 3261 §8.2.1, §21.5.2).
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(self.0, Word::Known(_))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&crate::base::Excerpt(self.as_str()), f)
    }
}

impl std::hash::Hash for Method {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// A status code, 100 to 699 (RFC 3261 §7.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        impl StatusCode { $($(#[$doc])* pub const $name: Self = Self($code);)* }
    };
}

codes! {
    /// 100 Trying
    TRYING = 100,
    /// 180 Ringing
    RINGING = 180,
    /// 181 Call Is Being Forwarded
    CALL_IS_BEING_FORWARDED = 181,
    /// 182 Queued
    QUEUED = 182,
    /// 183 Session Progress
    SESSION_PROGRESS = 183,
    /// 200 OK
    OK = 200,
    /// 202 Accepted (RFC 3515 §2.4.2)
    ACCEPTED = 202,
    /// 400 Bad Request
    BAD_REQUEST = 400,
    /// 401 Unauthorized
    UNAUTHORIZED = 401,
    /// 403 Forbidden
    FORBIDDEN = 403,
    /// 404 Not Found
    NOT_FOUND = 404,
    /// 405 Method Not Allowed
    METHOD_NOT_ALLOWED = 405,
    /// 406 Not Acceptable
    NOT_ACCEPTABLE = 406,
    /// 407 Proxy Authentication Required
    PROXY_AUTHENTICATION_REQUIRED = 407,
    /// 408 Request Timeout
    REQUEST_TIMEOUT = 408,
    /// 415 Unsupported Media Type
    UNSUPPORTED_MEDIA_TYPE = 415,
    /// 416 Unsupported URI Scheme
    UNSUPPORTED_URI_SCHEME = 416,
    /// 420 Bad Extension
    BAD_EXTENSION = 420,
    /// 422 Session Interval Too Small (RFC 4028 §6)
    SESSION_INTERVAL_TOO_SMALL = 422,
    /// 423 Interval Too Brief
    INTERVAL_TOO_BRIEF = 423,
    /// 469 Bad Info Package (RFC 6086 §4.2.2)
    BAD_INFO_PACKAGE = 469,
    /// 480 Temporarily Unavailable
    TEMPORARILY_UNAVAILABLE = 480,
    /// 481 Call/Transaction Does Not Exist
    NO_SUCH_CALL = 481,
    /// 482 Loop Detected
    LOOP_DETECTED = 482,
    /// 483 Too Many Hops
    TOO_MANY_HOPS = 483,
    /// 486 Busy Here
    BUSY_HERE = 486,
    /// 487 Request Terminated
    REQUEST_TERMINATED = 487,
    /// 488 Not Acceptable Here
    NOT_ACCEPTABLE_HERE = 488,
    /// 489 Bad Event (RFC 6665 §8.3.2)
    BAD_EVENT = 489,
    /// 491 Request Pending
    REQUEST_PENDING = 491,
    /// 500 Server Internal Error
    SERVER_ERROR = 500,
    /// 501 Not Implemented
    NOT_IMPLEMENTED = 501,
    /// 503 Service Unavailable
    SERVICE_UNAVAILABLE = 503,
    /// 504 Server Time-out
    SERVER_TIMEOUT = 504,
    /// 505 Version Not Supported
    VERSION_NOT_SUPPORTED = 505,
    /// 513 Message Too Large
    MESSAGE_TOO_LARGE = 513,
    /// 603 Decline
    DECLINE = 603,
}

impl StatusCode {
    /// A code in range.
    #[must_use]
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 699 { Some(Self(code)) } else { None }
    }

    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.0
    }

    /// 1xx.
    #[must_use]
    pub const fn is_provisional(self) -> bool {
        self.0 < 200
    }

    /// 2xx.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 200 && self.0 < 300
    }

    /// 3xx to 6xx.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self.0 >= 300
    }

    /// The phrase of the RFC; "Unknown" for a code without a name.
    #[must_use]
    pub fn phrase(self) -> String {
        match self.0 {
            202 => "Accepted".to_owned(),
            414 => "Request-URI Too Long".to_owned(),
            416 => "Unsupported URI Scheme".to_owned(),
            469 => "Bad Info Package".to_owned(),
            489 => "Bad Event".to_owned(),
            481 => "Call/Transaction Does Not Exist".to_owned(),
            504 => "Server Time-out".to_owned(),
            code => match rsip::StatusCode::from(code) {
                rsip::StatusCode::Other(..) => "Unknown".to_owned(),
                known => words(&format!("{known:?}")),
            },
        }
    }
}

/// `BusyHere` → `Busy Here`; runs of capitals stay together.
fn words(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && was_lower {
            out.push(' ');
        }
        was_lower = c.is_ascii_lowercase();
        out.push(c);
    }
    out
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_and_unknown_ones_are_kept_as_they_came_rfc_3261_7_1() {
        assert_eq!(Method::parse("INVITE"), Some(Method::INVITE));
        let other = Method::parse("invite").unwrap();
        assert_ne!(other, Method::INVITE);
        assert_eq!(other.as_str(), "invite");
        assert!(!other.is_known());
        assert_eq!(Method::parse("IN VITE"), None);
        assert_eq!(Method::parse(""), None);
    }

    #[test]
    fn phrases_are_those_of_the_rfc() {
        assert_eq!(StatusCode::OK.phrase(), "OK");
        assert_eq!(StatusCode::BUSY_HERE.phrase(), "Busy Here");
        assert_eq!(StatusCode::SERVER_ERROR.phrase(), "Server Internal Error");
        assert_eq!(StatusCode::ACCEPTED.phrase(), "Accepted");
        assert_eq!(StatusCode::new(499).unwrap().phrase(), "Unknown");
        assert_eq!(StatusCode::new(700), None);
    }
}
