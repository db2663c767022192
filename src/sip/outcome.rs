//! What an outgoing call is made of and what becomes of it.

use super::answer::Body;
use super::dialog::NoDialog;
use super::digest::{Credentials, DigestError};
use super::{Header, NameAddr, StatusCode, Uri};
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
