//! Why a leg ended, in words of no protocol. Every edge maps its own codes to these and back, once.

use std::fmt;
use std::time::Duration;

/// Why a leg ended.
///
/// An edge turns what its protocol said into one of these (`edge/x/cause.rs`), the call core hands it to the
/// other side, and the other edge turns it into its own words. [`Cause::q850`] is the ITU-T Q.850 value that
/// travels in a `Reason` header (RFC 3326).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A party hung up an answered call.
    Normal,
    /// The caller gave up before an answer.
    Cancelled,
    /// The callee is in another call.
    Busy,
    /// The callee refused the call.
    Declined,
    /// It rang, and nobody answered in time.
    NoAnswer,
    /// The callee exists and cannot be rung now.
    Unavailable,
    /// No such number or account, or the number is incomplete.
    NotFound,
    /// The called number has changed.
    Moved,
    /// This party may not place this call.
    Forbidden,
    /// Our credentials were refused by the far side.
    Unauthorized,
    /// The next hop could not be reached: refused, timed out, or not resolvable.
    Unreachable,
    /// The two sides share no codec.
    NoCommonCodec,
    /// A session description could not be understood or served.
    BadMedia,
    /// A party answered an offer of audio without taking it (RFC 3264 §6: port 0).
    AudioRefused,
    /// ICE found no path.
    IceFailed,
    /// DTLS did not complete, or the certificate was not the announced one (RFC 5763 §5).
    DtlsFailed,
    /// Consent to send was not renewed (RFC 7675 §5.1).
    ConsentLost,
    /// A leg that should send media sent none for too long.
    MediaTimeout,
    /// A limit of ours, or of the far side, is reached.
    Congestion,
    /// The far side does not serve what was asked for.
    NotImplemented,
    /// The far side failed.
    RemoteFailure,
    /// sipedge is shutting down.
    Shutdown,
    /// The call was transferred away.
    Transferred,
    /// Another party answered first.
    AnsweredElsewhere,
    /// A fault of sipedge itself.
    Internal,
}

/// The end of a leg: why, and how the far side put it, for who speaks its protocol too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Why.
    pub cause: Cause,
    /// The final SIP status that said so (RFC 3261 §21).
    pub status: Option<u16>,
    /// The Q.850 value that said so (RFC 3326, RFC 6432).
    pub q850: Option<u8>,
    /// Who said so asks not to be called again before (RFC 3261 §20.33).
    pub retry_after: Option<Duration>,
}

impl From<Cause> for End {
    /// Nobody said anything but this.
    fn from(cause: Cause) -> Self {
        Self { cause, status: None, q850: None, retry_after: None }
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.cause)?;
        self.status.map_or(Ok(()), |status| write!(f, " {status}"))?;
        self.q850.map_or(Ok(()), |value| write!(f, " Q.850 {value}"))?;
        self.retry_after.map_or(Ok(()), |wait| write!(f, " again in {} s", wait.as_secs()))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 25] = [
        Self::Normal,
        Self::Cancelled,
        Self::Busy,
        Self::Declined,
        Self::NoAnswer,
        Self::Unavailable,
        Self::NotFound,
        Self::Moved,
        Self::Forbidden,
        Self::Unauthorized,
        Self::Unreachable,
        Self::NoCommonCodec,
        Self::BadMedia,
        Self::AudioRefused,
        Self::IceFailed,
        Self::DtlsFailed,
        Self::ConsentLost,
        Self::MediaTimeout,
        Self::Congestion,
        Self::NotImplemented,
        Self::RemoteFailure,
        Self::Shutdown,
        Self::Transferred,
        Self::AnsweredElsewhere,
        Self::Internal,
    ];

    /// The Q.850 cause value that says the same, for a `Reason` header (RFC 3326 §2).
    #[must_use]
    pub const fn q850(self) -> u8 {
        match self {
            Self::Normal | Self::Cancelled | Self::Transferred => 16,
            Self::Busy => 17,
            Self::Declined => 21,
            Self::NoAnswer => 19,
            Self::Unavailable => 20,
            Self::NotFound => 1,
            Self::Moved => 22,
            Self::Forbidden | Self::Unauthorized => 57,
            Self::Unreachable => 27,
            Self::NoCommonCodec | Self::AudioRefused => 88,
            Self::BadMedia => 95,
            Self::IceFailed | Self::DtlsFailed => 47,
            Self::ConsentLost | Self::MediaTimeout => 102,
            Self::Congestion => 42,
            Self::NotImplemented => 79,
            Self::RemoteFailure | Self::Internal => 41,
            Self::Shutdown => 31,
            Self::AnsweredElsewhere => 26,
        }
    }

    /// One word for logs, metrics and APIs; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Cancelled => "cancelled",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::NoAnswer => "no-answer",
            Self::Unavailable => "unavailable",
            Self::NotFound => "not-found",
            Self::Moved => "moved",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::Unreachable => "unreachable",
            Self::NoCommonCodec => "no-common-codec",
            Self::BadMedia => "bad-media",
            Self::AudioRefused => "audio-refused",
            Self::IceFailed => "ice-failed",
            Self::DtlsFailed => "dtls-failed",
            Self::ConsentLost => "consent-lost",
            Self::MediaTimeout => "media-timeout",
            Self::Congestion => "congestion",
            Self::NotImplemented => "not-implemented",
            Self::RemoteFailure => "remote-failure",
            Self::Shutdown => "shutdown",
            Self::Transferred => "transferred",
            Self::AnsweredElsewhere => "answered-elsewhere",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_word_of_its_own_and_a_q850_value_in_range() {
        let words: BTreeSet<_> = Cause::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(words.len(), Cause::ALL.len());
        assert!(Cause::ALL.iter().all(|c| (1..=127).contains(&c.q850())));
    }
}
