//! Why a call ended, in WaGo's words.

use crate::base::Cause;

/// `endReason` for a cause that the other side, or sipedge, gave.
#[must_use]
pub(super) const fn end_reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Normal | Cause::Transferred => "remote_ended",
        // as in SIP, where a call that was answered elsewhere is cancelled here
        Cause::Cancelled | Cause::AnsweredElsewhere => "cancelled",
        Cause::Busy => "busy",
        Cause::Declined | Cause::Forbidden => "declined",
        Cause::NoAnswer => "timeout",
        Cause::Unavailable | Cause::NotFound | Cause::Moved => "unavailable",
        Cause::Unauthorized
        | Cause::Unreachable
        | Cause::NoCommonCodec
        | Cause::BadMedia
        | Cause::AudioRefused
        | Cause::IceFailed
        | Cause::DtlsFailed
        | Cause::ConsentLost
        | Cause::MediaTimeout
        | Cause::Congestion
        | Cause::NotImplemented
        | Cause::RemoteFailure
        | Cause::Shutdown
        | Cause::Internal => "failed",
    }
}

/// `endReason` when the client itself hangs up.
#[must_use]
pub(super) const fn own_end_reason(was_answered: bool) -> &'static str {
    if was_answered { "user_ended" } else { "cancelled" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_becomes_one_of_the_documented_reasons() {
        let documented = [
            "user_ended",
            "remote_ended",
            "declined",
            "busy",
            "timeout",
            "cancelled",
            "failed",
            "unavailable",
        ];
        assert!(Cause::ALL.iter().all(|c| documented.contains(&end_reason(*c))));
        assert_eq!(end_reason(Cause::Busy), "busy");
        assert_eq!(end_reason(Cause::Congestion), "failed");
        assert_eq!(end_reason(Cause::NoAnswer), "timeout");
    }
}
