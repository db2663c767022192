//! Which of our logins and offers a trunk's PBX refuses, so that a busy trunk does not say it with every call. Pure: it is
//! told the time.

use crate::sdp::{MediaCodec, SessionDescription};
use crate::sip::StatusCode;
use crate::sip::digest::DigestError;
use crate::sip::session::CallFailure;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the same is said again.
const REMIND: Duration = Duration::from_secs(600);

/// What was said.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Of which login; there are no more of them than the configuration names. None: calls without one.
    logins: BTreeMap<Option<String>, (DigestError, Instant)>,
    /// Of which offer, the last time.
    offer: Option<(String, Instant)>,
}

impl Refusals {
    /// A call of this user was refused for that. True when the log is to hear of it.
    pub(super) fn refused(&mut self, now: Instant, user: Option<&str>, why: &DigestError) -> bool {
        let user = user.map(str::to_owned);
        let is_known = self.logins.get(&user).is_some_and(|(said, at)| said == why && now < *at + REMIND);
        if !is_known {
            self.logins.insert(user, (why.clone(), now));
        }
        !is_known
    }

    /// A call of this user was not refused for that. What was forbidden may have been the number alone, so that the next
    /// such call is no news.
    pub(super) fn taken(&mut self, user: Option<&str>) {
        self.logins.retain(|refused, (why, _)| refused.as_deref() != user || *why == DigestError::Forbidden);
    }

    /// An offer of this kind was refused. True when the log is to hear of it.
    pub(super) fn offer_refused(&mut self, now: Instant, offered: &str) -> bool {
        let is_known = self.offer.as_ref().is_some_and(|(said, at)| said == offered && now < *at + REMIND);
        if !is_known {
            self.offer = Some((offered.to_owned(), now));
        }
        !is_known
    }
}

/// Of a call that failed because its PBX took nothing of our offer, or no session description at all: profile and codecs that
/// were offered. A 488 says no more than that (RFC 3261 §21.4.26).
pub(super) fn offer_of_call(failure: &CallFailure, offer: &[u8]) -> Option<String> {
    let CallFailure::Status { status, .. } = failure else { return None };
    if !matches!(status.code(), 406 | 415 | 488 | 606) {
        return None;
    }
    let sdp = SessionDescription::parse(&String::from_utf8_lossy(offer)).ok()?;
    let (_, media) = sdp.audio()?;
    let codecs = media.codecs();
    let codecs = codecs.iter().map(MediaCodec::label).filter(|label| !label.starts_with("telephone-event"));
    // keys in a profile that is not secure by itself are what some refuse (SDES "optional")
    let has_keys = media.attributes.iter().any(|attribute| attribute.name == "crypto");
    let keys = has_keys.then(|| "a=crypto".to_owned());
    Some(std::iter::once(media.protocol.to_string()).chain(keys).chain(codecs).collect::<Vec<_>>().join(" "))
}

/// What is wrong with the login of a call, when that is why it failed.
pub(super) fn of_call(failure: &CallFailure, user: Option<&str>) -> Option<DigestError> {
    match failure {
        CallFailure::Credentials(why) => Some(why.clone()),
        CallFailure::Status { status, .. } if matches!(status.code(), 401 | 407) => {
            Some(if user.is_none() { DigestError::NoCredentials } else { DigestError::Refused })
        }
        CallFailure::Status { status: StatusCode::FORBIDDEN, had_credentials: true, .. } => {
            Some(DigestError::Forbidden)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(code: u16, had_credentials: bool) -> CallFailure {
        CallFailure::Status {
            status: StatusCode::new(code).unwrap(),
            phrase: String::new(),
            q850: None,
            text: None,
            retry_after: None,
            had_credentials,
        }
    }

    #[test]
    fn a_login_that_is_refused_is_told_of_once_and_again_when_that_changes_or_lasts() {
        let (mut refusals, t0) = (Refusals::default(), Instant::now());
        let (refused, other) = (DigestError::Refused, DigestError::NotAllowed("SHA-1".into()));
        let mut heard = |after: Duration, user, why| refusals.refused(t0 + after, user, why);
        assert!(heard(Duration::ZERO, Some("edge"), &refused));
        assert!(!heard(Duration::from_secs(1), Some("edge"), &refused));
        assert!(heard(Duration::from_secs(1), Some("anna"), &refused), "each login for itself");
        assert!(heard(Duration::from_secs(2), Some("edge"), &other));
        assert!(!heard(REMIND, Some("edge"), &other));
        assert!(heard(Duration::from_secs(2) + REMIND, Some("edge"), &other));
        let forbidden = DigestError::Forbidden;
        assert!(refusals.refused(t0, Some("barred"), &forbidden));
        refusals.taken(Some("barred"));
        assert!(!refusals.refused(t0, Some("barred"), &forbidden), "other numbers may be called");
        refusals.taken(Some("edge"));
        assert!(refusals.refused(t0 + REMIND * 2, Some("edge"), &other));
    }

    #[test]
    fn an_offer_that_is_refused_is_told_of_with_what_it_had_and_seldom() {
        let sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nm=audio 4000 RTP/SAVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";
        let said = |code, sdp: &[u8]| offer_of_call(&status_of(code, false), sdp);
        assert_eq!(said(488, sdp).as_deref(), Some("RTP/SAVP PCMU PCMA"));
        let keys =
            b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=crypto:2 AES_256_CM_HMAC_SHA1_80 inline:y\r\n";
        assert_eq!(said(488, &[&sdp[..], keys].concat()).as_deref(), Some("RTP/SAVP a=crypto PCMU PCMA"));
        for status in [606, 406, 415] {
            assert_eq!(said(status, sdp).as_deref(), Some("RTP/SAVP PCMU PCMA"), "{status}");
        }
        assert_eq!((said(486, sdp), said(488, b"")), (None, None));
        let (mut refusals, t0) = (Refusals::default(), Instant::now());
        let mut heard = |after: Duration, offered| refusals.offer_refused(t0 + after, offered);
        assert!(heard(Duration::ZERO, "RTP/SAVP PCMU"));
        assert!(!heard(Duration::from_secs(1), "RTP/SAVP PCMU"));
        assert!(heard(Duration::from_secs(2), "RTP/AVP PCMU"));
        assert!(heard(Duration::from_secs(2) + REMIND, "RTP/AVP PCMU"));
    }

    #[test]
    fn a_challenge_that_nobody_can_answer_is_such_a_failure_and_a_busy_telephone_is_none() {
        let with = status_of;
        let status = |code| with(code, false);
        assert_eq!(of_call(&status(401), None), Some(DigestError::NoCredentials));
        assert_eq!(of_call(&status(407), Some("edge")), Some(DigestError::Refused));
        assert_eq!(of_call(&status(486), None), None);
        // of a call that was not challenged it says nothing of the login
        assert_eq!(of_call(&status(403), Some("edge")), None);
        assert_eq!(of_call(&with(403, true), Some("edge")), Some(DigestError::Forbidden));
        let why = DigestError::OtherRealm("r".into());
        assert_eq!(of_call(&CallFailure::Credentials(why.clone()), Some("edge")), Some(why));
    }
}
