//! Causes and SIP, both ways. Every edge that speaks SIP uses this one table.

use crate::base::{Cause, End};
use crate::call::leg::Delay;
use crate::sip::session::CallEnd;
use crate::sip::{Reason, StatusCode};
use std::time::Duration;

/// What a final status says (RFC 3261 §21). After ringing, 408 and 480 mean that nobody answered.
#[must_use]
pub const fn from_status(status: u16, was_ringing: bool) -> Cause {
    match status {
        401 | 407 => Cause::Unauthorized,
        403 => Cause::Forbidden,
        404 | 410 | 414 | 416 | 484 | 485 | 604 => Cause::NotFound,
        301 | 302 | 305 => Cause::Moved,
        408 | 480 if was_ringing => Cause::NoAnswer,
        408 => Cause::Unreachable,
        480 => Cause::Unavailable,
        486 | 600 => Cause::Busy,
        603 | 607 | 608 => Cause::Declined,
        487 => Cause::Cancelled,
        488 | 606 => Cause::NoCommonCodec,
        406 | 415 => Cause::BadMedia,
        503 => Cause::Congestion,
        405 | 420 | 421 | 501 | 505 => Cause::NotImplemented,
        _ => Cause::RemoteFailure,
    }
}

/// What a Q.850 value says that came with a BYE or CANCEL (RFC 3326); without one, or with one that says
/// nothing special, the party hung up.
#[must_use]
pub const fn from_q850(value: Option<u8>) -> Cause {
    match value {
        Some(17) => Cause::Busy,
        Some(18 | 19) => Cause::NoAnswer,
        Some(21) => Cause::Declined,
        Some(26) => Cause::AnsweredElsewhere,
        Some(34 | 42) => Cause::Congestion,
        Some(88) => Cause::NoCommonCodec,
        Some(102) => Cause::MediaTimeout,
        Some(_) | None => Cause::Normal,
    }
}

/// What a final failure says that carries a Q.850 value beside its status (RFC 6432): where the status says little, the
/// value says what it is.
#[must_use]
pub const fn from_failure(status: u16, q850: Option<u8>, was_ringing: bool) -> Cause {
    let cause = from_status(status, was_ringing);
    let is_vague = matches!(
        cause,
        Cause::Unavailable
            | Cause::NoAnswer
            | Cause::Unreachable
            | Cause::Congestion
            | Cause::RemoteFailure
            | Cause::NotImplemented
    );
    match q850 {
        Some(value) if is_vague => match value {
            1 | 2 | 3 | 28 => Cause::NotFound,
            17 => Cause::Busy,
            18 | 19 => Cause::NoAnswer,
            20 => Cause::Unavailable,
            21 => Cause::Declined,
            22 => Cause::Moved,
            27 | 38 => Cause::Unreachable,
            34 | 42 | 44 => Cause::Congestion,
            57 => Cause::Forbidden,
            65 | 88 => Cause::NoCommonCodec,
            79 => Cause::NotImplemented,
            _ => cause,
        },
        _ => cause,
    }
}

/// Whether a final status says something of the called party or of the way there, and not of our own request: a caller may
/// act on it, as on 484 by another digit, and on 503 by another way.
const fn is_of_the_call(status: u16) -> bool {
    matches!(
        status,
        403 | 404 | 408 | 410 | 433 | 480 | 482..=484 | 486 | 488 | 500 | 502..=504 | 600 | 603 | 604 | 606..=608
    )
}

/// The final status that refuses a caller's INVITE: that of the far side, where the caller may know it.
#[must_use]
pub const fn to_status(end: End) -> u16 {
    match end.status {
        Some(status) if is_of_the_call(status) => status,
        _ => status_of(end.cause),
    }
}

const fn status_of(cause: Cause) -> u16 {
    match cause {
        Cause::Busy => 486,
        Cause::Declined => 603,
        Cause::NoAnswer | Cause::Unavailable | Cause::Normal | Cause::Transferred => 480,
        Cause::Cancelled | Cause::AnsweredElsewhere => 487,
        Cause::NotFound => 404,
        Cause::Moved => 410,
        Cause::Forbidden => 403,
        Cause::NoCommonCodec | Cause::BadMedia | Cause::AudioRefused => 488,
        // what our own credentials failed at is no business of the caller's
        Cause::Unauthorized | Cause::RemoteFailure | Cause::IceFailed | Cause::DtlsFailed => 502,
        Cause::ConsentLost | Cause::MediaTimeout => 480,
        // 503 without Retry-After says no more than 500 does (RFC 3261 §21.5.4), and who calls by routes tries the next
        Cause::Unreachable | Cause::Congestion | Cause::Shutdown => 503,
        Cause::NotImplemented => 501,
        Cause::Internal => 500,
    }
}

/// The provisional status that says why a call does not ring as yet (RFC 3261 §21.1.3, §21.1.4).
#[must_use]
pub const fn of_delay(why: Delay) -> StatusCode {
    match why {
        Delay::Forwarded => StatusCode::CALL_IS_BEING_FORWARDED,
        Delay::Queued => StatusCode::QUEUED,
    }
}

/// What it says; none for every other.
#[must_use]
pub fn to_delay(status: StatusCode) -> Option<Delay> {
    [Delay::Forwarded, Delay::Queued].into_iter().find(|why| of_delay(*why) == status)
}

/// What the end of a session says.
#[must_use]
pub const fn from_end(end: &CallEnd) -> End {
    let q850 = match end {
        CallEnd::Remote { q850, .. } | CallEnd::Cancelled { q850, .. } => *q850,
        CallEnd::Local | CallEnd::Lost(_) => None,
    };
    End { cause: cause_of_end(end), status: None, q850, retry_after: None }
}

const fn cause_of_end(end: &CallEnd) -> Cause {
    match end {
        CallEnd::Local => Cause::Normal,
        CallEnd::Remote { q850, .. } => from_q850(*q850),
        // RFC 3326 §3: a proxy that rang us beside others says 200 when one of them answered
        CallEnd::Cancelled { sip: Some(200), .. } | CallEnd::Cancelled { q850: Some(26), .. } => {
            Cause::AnsweredElsewhere
        }
        CallEnd::Cancelled { .. } => Cause::Cancelled,
        CallEnd::Lost(_) => Cause::Unreachable,
    }
}

/// How long the caller is asked to wait before it calls again: what the far side said with a status that goes across, and
/// that may say so (RFC 3261 §20.33). With 503 it would be said of us, and the caller would bring us no call at all
/// meanwhile (§21.5.4).
#[must_use]
pub const fn retry_after(end: End) -> Option<Duration> {
    match end.status {
        Some(404 | 480 | 486 | 500 | 600 | 603) => end.retry_after,
        _ => None,
    }
}

/// The `Reason` header of a refusal, which is a Q.850 cause always (RFC 6432 §2).
#[must_use]
pub fn refusal_reason(end: End) -> Reason {
    let ours = end.cause.q850();
    let value = end.q850.unwrap_or(match end.status {
        // who takes no session description has sent no invalid one (RFC 3398 §8.2.6.1)
        Some(406 | 415) => Cause::NotImplemented.q850(),
        // number changed, address incomplete
        Some(410) => 22,
        Some(484) => 28,
        _ => ours,
    });
    let reason = Reason::q850(value, reason_text(end.cause));
    // our words are of our value
    if value == ours { reason } else { Reason { text: None, ..reason } }
}

/// The `Reason` header of a BYE or CANCEL.
#[must_use]
pub fn reason(end: End) -> Reason {
    match end.cause {
        // RFC 3326 §3.1: telephones look for these words, so that the call is none that was missed
        Cause::AnsweredElsewhere => Reason::sip(200, reason_text(end.cause)),
        _ => refusal_reason(end),
    }
}

/// Words for the text of a `Reason` header.
#[must_use]
pub const fn reason_text(cause: Cause) -> &'static str {
    match cause {
        Cause::MediaTimeout => "media timeout",
        Cause::ConsentLost => "consent lost",
        Cause::NoAnswer => "no answer",
        Cause::AnsweredElsewhere => "Call completed elsewhere",
        Cause::Shutdown => "shutting down",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_the_field_mean_what_a_pbx_means_by_them() {
        let table = [
            (486, Cause::Busy),
            (600, Cause::Busy),
            (603, Cause::Declined),
            (404, Cause::NotFound),
            (484, Cause::NotFound),
            (403, Cause::Forbidden),
            (401, Cause::Unauthorized),
            (407, Cause::Unauthorized),
            (487, Cause::Cancelled),
            (488, Cause::NoCommonCodec),
            (503, Cause::Congestion),
            (500, Cause::RemoteFailure),
            (480, Cause::Unavailable),
            (408, Cause::Unreachable),
        ];
        for (status, cause) in table {
            assert_eq!(from_status(status, false), cause, "{status}");
        }
        assert_eq!(from_status(480, true), Cause::NoAnswer);
        assert_eq!(from_status(408, true), Cause::NoAnswer);
    }

    #[test]
    fn a_q850_value_beside_a_status_that_says_little_says_what_it_is_rfc_6432() {
        for (status, q850, was_ringing, cause) in [
            (480, Some(17), false, Cause::Busy),
            (480, Some(19), false, Cause::NoAnswer),
            (480, Some(20), true, Cause::Unavailable),
            (500, Some(21), false, Cause::Declined),
            (503, Some(1), false, Cause::NotFound),
            (503, Some(34), false, Cause::Congestion),
            (502, Some(41), false, Cause::RemoteFailure),
            (503, Some(17), false, Cause::Busy),
            (486, Some(21), false, Cause::Busy),
            (404, Some(17), false, Cause::NotFound),
            (487, Some(17), false, Cause::Cancelled),
            (480, None, true, Cause::NoAnswer),
            (480, Some(16), false, Cause::Unavailable),
        ] {
            assert_eq!(from_failure(status, q850, was_ringing), cause, "{status} {q850:?}");
        }
    }

    #[test]
    fn the_reason_of_a_bye_says_the_same_on_the_other_side() {
        for cause in [
            Cause::Normal,
            Cause::Busy,
            Cause::Declined,
            Cause::NoAnswer,
            Cause::Congestion,
            Cause::NoCommonCodec,
            Cause::MediaTimeout,
        ] {
            let said = reason(cause.into());
            let q850 = said.q850_cause();
            assert_eq!(from_end(&CallEnd::Remote { q850, text: said.text }).cause, cause);
        }
        let said = reason(Cause::AnsweredElsewhere.into());
        assert_eq!(said.to_string(), "SIP;cause=200;text=\"Call completed elsewhere\"");
        let (q850, sip) = (said.q850_cause(), said.cause);
        let heard = from_end(&CallEnd::Cancelled { q850, sip, text: said.text });
        assert_eq!(heard.cause, Cause::AnsweredElsewhere);
        // what means nothing to who hears it is a plain hangup
        for cause in [Cause::Transferred, Cause::Cancelled, Cause::Shutdown, Cause::Internal] {
            assert_eq!(from_q850(Some(cause.q850())), Cause::Normal, "{cause}");
        }
    }

    #[test]
    fn a_cause_that_one_trunk_refuses_with_is_the_same_by_another() {
        for cause in Cause::ALL {
            let status = to_status(cause.into());
            let back = from_failure(status, Some(cause.q850()), false);
            let is_its_own_word = matches!(
                cause,
                Cause::Busy
                    | Cause::Declined
                    | Cause::NoAnswer
                    | Cause::Unavailable
                    | Cause::NotFound
                    | Cause::Forbidden
                    | Cause::NoCommonCodec
                    | Cause::Unreachable
                    | Cause::Congestion
                    | Cause::NotImplemented
                    | Cause::RemoteFailure
            );
            if is_its_own_word {
                assert_eq!(back, cause, "{status}, Q.850 cause {}", cause.q850());
            }
            assert!(back != Cause::Normal, "{cause}: nobody was reached");
        }
    }

    #[test]
    fn every_cause_refuses_with_a_final_failure_and_the_clear_ones_survive_the_way_there_and_back() {
        assert!(Cause::ALL.iter().all(|c| (400..=699).contains(&to_status((*c).into()))));
        for cause in [
            Cause::Busy,
            Cause::Declined,
            Cause::NotFound,
            Cause::Forbidden,
            Cause::NoCommonCodec,
            Cause::Congestion,
        ] {
            assert_eq!(from_status(to_status(cause.into()), false), cause);
        }
    }

    #[test]
    fn what_the_far_side_said_goes_across_as_it_was_unless_it_is_of_our_request_alone() {
        let end =
            |status, q850| End { status: Some(status), q850, ..from_failure(status, q850, false).into() };
        for status in [404, 408, 410, 480, 482, 483, 484, 486, 500, 502, 503, 504, 600, 603, 604, 606] {
            assert_eq!(to_status(end(status, None)), status);
        }
        // a value beside it changes neither
        for (status, q850) in [(500, 38), (503, 27), (408, 18), (404, 3), (486, 34)] {
            let end = end(status, Some(q850));
            assert_eq!((to_status(end), refusal_reason(end).q850_cause()), (status, Some(q850)));
        }
        // what we asked for wrongly, or are not let in for, is not the caller's doing
        for (status, ours) in
            [(400, 502), (401, 502), (407, 502), (420, 501), (421, 501), (423, 502), (481, 502)]
        {
            assert_eq!(to_status(end(status, None)), ours);
        }
        assert_eq!(refusal_reason(end(404, Some(3))).to_string(), "Q.850;cause=3");
        // RFC 3398 §8.2.6.1
        assert_eq!(refusal_reason(end(484, None)).to_string(), "Q.850;cause=28");
        assert_eq!(refusal_reason(end(410, None)).to_string(), "Q.850;cause=22");
        assert_eq!(refusal_reason(end(404, None)).to_string(), "Q.850;cause=1;text=\"not-found\"");
        for value in [31, 38, 41, 127] {
            let bye = from_end(&CallEnd::Remote { q850: Some(value), text: None });
            assert_eq!((bye.cause, reason(bye).q850_cause()), (Cause::Normal, Some(value)));
        }
    }

    #[test]
    fn who_cannot_be_reached_is_503_and_who_was_reached_and_does_not_answer_480() {
        let says = |end: End| (to_status(end), refusal_reason(end).q850_cause());
        assert_eq!(says(Cause::Unreachable.into()), (503, Some(27)));
        assert_eq!(says(Cause::NoAnswer.into()), (480, Some(19)));
        // a proxy behind which nobody answered has said so itself
        let silent = End { status: Some(408), ..from_status(408, false).into() };
        assert_eq!(says(silent), (408, Some(27)));
    }

    #[test]
    fn when_to_call_again_goes_across_with_the_status_that_said_so_and_not_with_503_rfc_3261_20_33() {
        let wait = Some(Duration::from_secs(30));
        let end = |status| End {
            status: Some(status),
            retry_after: wait,
            ..from_failure(status, None, false).into()
        };
        for status in [404, 480, 486, 500, 600, 603] {
            assert_eq!(retry_after(end(status)), wait, "{status}");
        }
        // it would be said of us, and of all calls; with the others the RFC knows none
        for status in [503, 403, 408, 484] {
            assert_eq!(retry_after(end(status)), None, "{status}");
        }
        // the caller hears another status: it was said of our request
        assert_eq!(retry_after(end(400)), None);
        assert_eq!(retry_after(Cause::Busy.into()), None);
    }

    #[test]
    fn a_q850_value_that_says_nothing_special_is_a_plain_hangup() {
        assert_eq!(from_q850(Some(16)), Cause::Normal);
        assert_eq!(from_q850(None), Cause::Normal);
        assert_eq!(from_q850(Some(102)), Cause::MediaTimeout);
    }
}
