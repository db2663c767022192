//! What calls are made of, what is asked of them, and what becomes of them.

use super::answer::{Answer, Body};
use super::dialog::NoDialog;
use super::digest::{Credentials, DigestError};
use super::session::TimerRules;
use super::{Flow, Header, Headers, Key, NameAddr, Reason, Refer, StatusCode, Uri};
use crate::base::{Excerpt, External, Pii};
use std::fmt;
use std::net::SocketAddr;
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
    /// How long the far side may say nothing at all, not even 100: the call has failed then, and what comes later is
    /// cancelled or ended. None: 64·T1 (RFC 3261 §17.1.1.2 timer B).
    pub silence_limit: Option<Duration>,
    /// Max-Forwards (RFC 3261 §8.1.1.6).
    pub max_forwards: u8,
    /// Requests within the dialog go to the address of the INVITE, whatever Contact and Record-Route say
    /// (a peer behind NAT).
    pub stays_on_flow: bool,
    /// What a NAT between us makes of our address.
    pub external: External,
    /// Its session timer.
    pub timers: TimerRules,
}

impl OutgoingCall {
    /// A call to somebody by his own address, without an offer, credentials or further headers: it may ring for three
    /// minutes and be passed on 70 times.
    #[must_use]
    pub fn new(request_uri: Uri, from: NameAddr) -> Self {
        Self {
            to: NameAddr::new(request_uri.clone()),
            request_uri,
            from,
            headers: Vec::new(),
            credentials: None,
            body: None,
            ring_limit: Duration::from_secs(180),
            silence_limit: None,
            max_forwards: 70,
            stays_on_flow: false,
            external: External::default(),
            timers: TimerRules::default(),
        }
    }
}

/// A call to us: what its INVITE says.
#[derive(Debug, Clone)]
pub struct IncomingInvite {
    /// Who proved to be calling, in the words of the handler that accepted it.
    pub owner: String,
    /// Request-URI.
    pub uri: Uri,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// All headers.
    pub headers: Headers,
    /// Its offer; none when it asks for ours.
    pub body: Option<Body>,
    /// Where it came from.
    pub flow: Flow,
}

/// What is asked of a call. A command that does not fit its state is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// A call to us: 180.
    Ring,
    /// A call to us: another provisional response; with a description, it is a 183 of another name.
    Provisional(StatusCode, Option<Body>),
    /// A call to us: 183, with the answer to its offer or, when it made none and takes it reliably, our offer.
    Progress(Option<Body>),
    /// A call to us: 200 with the answer to its offer (that of the 183 when there is none here), or with our
    /// offer when it made none.
    Answer(Option<Body>),
    /// A call to us: the final failure.
    Refuse(Answer),
    /// Our offer within the call; before the answer by UPDATE, where the far side takes one (RFC 3311 §5.1).
    Offer(Body),
    /// The answer to theirs or, when theirs was empty, our offer.
    AnswerOffer(Body),
    /// Theirs cannot be served; the session stays as it was.
    RefuseOffer(Answer),
    /// Keys, by INFO, one after the other.
    Keys(Vec<Key>),
    /// Header lines that say who the far side talks to: with the 2xx to its call, and after that by UPDATE where it takes one
    /// (RFC 3311 §5.1), else not at all.
    Identify(Vec<Header>),
    /// What a REFER hears; after a 2xx its sender is told that it is tried (RFC 3515 §2.4.4).
    AnswerRefer(Answer),
    /// What becomes of the REFER that was accepted; a final status is the last word of it.
    Notify(StatusCode),
    /// The end, whatever the state: CANCEL, a refusal, or BYE, with this as Reason header.
    Hangup(Option<Reason>),
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
    /// The ACK of our 2xx: a call to us is established.
    Confirmed {
        /// The answer to our offer, when the INVITE made none.
        body: Option<Body>,
    },
    /// An offer within the call (re-INVITE, UPDATE) or before its answer (UPDATE, PRACK), to be answered by
    /// [`SessionCommand::AnswerOffer`] or refused.
    Offer {
        /// The offer; none: it asks for ours.
        body: Option<Body>,
    },
    /// The answer to our offer within the call, or to the one of a provisional response.
    OfferAnswered {
        /// The answer; none when the far side forgot it.
        body: Option<Body>,
    },
    /// Our offer within the call was refused; the session stays as it was.
    OfferRefused {
        /// 300 to 699; 491 also when it comes before the first one is answered for good, or while another one is open.
        status: StatusCode,
    },
    /// It repeats its 2xx, which our ACK does not end (RFC 3261 §13.3.1.4: after 32 s it hangs up); told once.
    AckUnheard {
        /// What its Contact says.
        contact: String,
        /// Where the ACK went by that.
        sent_to: SocketAddr,
    },
    /// The far side says who it is: header lines of a message that the next event may be of.
    Identity(Box<Headers>),
    /// The far side pressed a key, and says so by INFO.
    Key(Key),
    /// The far side asks for a transfer (REFER), to be answered by [`SessionCommand::AnswerRefer`].
    Refer(Box<Refer>),
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
        /// Not to be asked again before (RFC 3261 §20.33).
        retry_after: Option<Duration>,
        /// The request that was refused had our credentials.
        had_credentials: bool,
    },
    /// The far side is elsewhere (RFC 3261 §21.3).
    Redirected {
        /// 300 to 399.
        status: StatusCode,
        /// Where, the best first.
        contacts: Vec<Uri>,
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

impl CallFailure {
    /// Whether nobody was there who could take the call, so that another server may (RFC 3263 §4.3).
    #[must_use]
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Timeout | Self::Transport => true,
            Self::Status { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE,
            Self::Redirected { .. } | Self::Credentials(_) | Self::BadAnswer(_) | Self::Congestion => false,
        }
    }
}

/// For logs: what the far side wrote is cut and freed of control characters.
impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, phrase, q850, text, .. } => {
                write!(f, "{} {}", status.code(), Excerpt(phrase))?;
                q850.map_or(Ok(()), |q850| write!(f, ", Q.850 cause {q850}"))?;
                text.as_ref().map_or(Ok(()), |text| write!(f, ", reason \"{}\"", Excerpt(text)))
            }
            Self::Redirected { status, contacts } => {
                write!(f, "{}", status.code())?;
                contacts.iter().try_for_each(|uri| write!(f, ", to {}", Pii(&uri.to_string())))
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
    /// A call to us was given up before an answer: CANCEL, BYE, or its Expires passed.
    Cancelled {
        /// Q.850 cause of its Reason header (RFC 3326).
        q850: Option<u8>,
        /// SIP cause of that header; 200 when somebody else answered.
        sip: Option<u16>,
        /// Text of that header.
        text: Option<String>,
    },
    /// The far side is gone: no ACK came (RFC 3261 §13.3.1.4), or it knows nothing of the dialog any more
    /// (§12.2.1.2). In words, for the log.
    Lost(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_in_the_log_holds_little_of_what_the_far_side_wrote() {
        let status = StatusCode::BUSY_HERE;
        let long = "B\u{1b}[31m".repeat(1_000);
        let (phrase, text) = (long.clone(), Some(long));
        let shown = CallFailure::Status {
            status,
            phrase,
            q850: Some(17),
            text,
            retry_after: None,
            had_credentials: false,
        }
        .to_string();
        assert!(shown.len() < 500 && shown.starts_with("486 B"), "{shown}");
        assert!(!shown.chars().any(char::is_control));
    }
}
