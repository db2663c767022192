//! What an outgoing call is made of and what becomes of it.

use super::answer::Body;
use super::dialog::NoDialog;
use super::digest::{Credentials, DigestError};
use super::{Header, NameAddr, StatusCode, Uri};
use crate::base::Excerpt;
use std::fmt;
use std::time::Duration;

/// What to dial.
#[derive(Debug, Clone)]
pub struct OutgoingCall {
    /// Request-URI.
    pub request_uri: Uri,
    /// From, without tag.
    pub from: NameAddr,
    /// To, without tag.
    pub to: NameAddr,
    /// More headers of the INVITE.
    pub headers: Vec<Header>,
    /// For 401 and 407.
    pub credentials: Option<Credentials>,
    /// Our offer.
    pub body: Option<Body>,
    /// How long it may ring before it is cancelled; RFC 3261 §16.6 timer C asks for more than 3 minutes of a proxy.
    pub ring_limit: Duration,
    /// Requests within the dialog go to the address of the INVITE, whatever Contact and Record-Route say
    /// (a peer behind NAT).
    pub stays_on_flow: bool,
}

/// News of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// 180.
    Ringing,
    /// Another provisional response above 100, or the early media of a 180 (before its `Ringing`).
    Progress {
        /// 180 to 199.
        status: StatusCode,
        /// Early media.
        body: Option<Body>,
    },
    /// 2xx, acknowledged.
    Answered {
        /// The answer to our offer.
        body: Option<Body>,
    },
    /// No call came about; the last event.
    Failed(CallFailure),
    /// The call is over; the last event.
    Ended(CallEnd),
}

/// Why no call came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallFailure {
    /// The far side refused.
    Status {
        /// 300 to 699.
        status: StatusCode,
        /// Reason phrase.
        phrase: String,
        /// Q.850 cause of a Reason header (RFC 3326).
        q850: Option<u8>,
        /// Text of that header.
        text: Option<String>,
    },
    /// The far side asked for credentials that we lack or that it refused.
    Credentials(DigestError),
    /// Nobody answered in time.
    Timeout,
    /// Nobody is there.
    Transport,
    /// The 2xx could not be understood.
    BadAnswer(NoDialog),
    /// Too much is pending on our side.
    Congestion,
}

/// For logs: what the far side wrote is cut and freed of control characters.
impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, phrase, q850, text } => {
                write!(f, "{} {}", status.code(), Excerpt(phrase))?;
                q850.map_or(Ok(()), |q850| write!(f, ", Q.850 cause {q850}"))?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ", reason \"{}\"", Excerpt(text)))
            }
            Self::Credentials(why) => why.fmt(f),
            Self::Timeout => f.write_str("nobody answered in time"),
            Self::Transport => f.write_str("nobody is there"),
            Self::BadAnswer(why) => write!(f, "its answer cannot be used: {why}"),
            Self::Congestion => f.write_str("too much is pending here"),
        }
    }
}

/// Who ended a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// We did; CANCEL or BYE is through.
    Local,
    /// BYE of the far side.
    Remote {
        /// Q.850 cause of its Reason header.
        q850: Option<u8>,
        /// Text of that header.
        text: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_the_log_holds_little_of_what_the_far_side_wrote() {
        let status = StatusCode::BUSY_HERE;
        let long = "B\u{1b}[31m".repeat(1_000);
        let shown = CallFailure::Status { status, phrase: long.clone(), q850: Some(17), text: Some(long) }
            .to_string();
        assert!(shown.len() < 500 && shown.starts_with("486 B"), "{shown}");
        assert!(!shown.chars().any(char::is_control));
    }
}
