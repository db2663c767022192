//! Offers within a call, the same for the leg that calls and the leg that is called (RFC 3261 §14, RFC 3264).

use super::cause;
use crate::base::{Cause, Excerpt};
use crate::call::leg::{LegCommand, LegEvent};
use crate::call::port::MediaRefusal;
use crate::sdp::SessionDescription;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::{OutgoingCall, SessionCommand, SessionEvent};
use crate::sip::{Refer, StatusCode};

/// What a leg asks for, after a command or an event.
#[derive(Debug)]
pub enum Action {
    /// Start the session.
    Dial(Box<OutgoingCall>),
    /// Ask this of the session.
    Session(SessionCommand),
    /// Tell the call this.
    Tell(LegEvent),
    /// Look for the call that the REFER names, and say what there is.
    Find(Box<Refer>),
    /// Nothing.
    None,
}

impl From<LegEvent> for Action {
    fn from(event: LegEvent) -> Self {
        Self::Tell(event)
    }
}

/// Warning of a body that is no session description (RFC 3261 §20.43).
const UNREADABLE: &str = "the session description cannot be read";

/// The offers of one leg.
#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Ours has no answer yet.
    is_offering: bool,
    /// They want an offer of ours in the answer to theirs, which is empty.
    is_requested: bool,
    /// Theirs has no answer yet.
    is_asked: bool,
}

impl Offers {
    /// Whether an offer of theirs waits for its answer.
    pub(super) const fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Whether a command is about offers within the call, and what to do then.
    pub(super) fn handle_command(&mut self, command: &LegCommand) -> Option<Action> {
        Some(match command {
            LegCommand::Offer(sdp) => self.offer(sdp),
            LegCommand::AnswerOffer(sdp) => {
                self.is_asked = false;
                Action::Session(SessionCommand::AnswerOffer(body_of(sdp)))
            }
            LegCommand::RefuseOffer(refusal) => self.refuse(refusal),
            _ => return None,
        })
    }

    /// Ours: in an INVITE of its own, unless theirs asked for it.
    fn offer(&mut self, sdp: &SessionDescription) -> Action {
        let body = body_of(sdp);
        if std::mem::take(&mut self.is_requested) {
            return Action::Session(SessionCommand::AnswerOffer(body));
        }
        self.is_offering = true;
        Action::Session(SessionCommand::Offer(body))
    }

    /// Theirs cannot be served. While ours is out, that is why: they may try again (RFC 3261 §14.2).
    fn refuse(&mut self, refusal: &MediaRefusal) -> Action {
        (self.is_requested, self.is_asked) = (false, false);
        let answer =
            if self.is_offering { Answer::new(StatusCode::REQUEST_PENDING) } else { refuse(refusal) };
        Action::Session(SessionCommand::RefuseOffer(answer))
    }

    /// News of offers within the call; none for any other.
    pub(super) fn handle_session(&mut self, event: &SessionEvent) -> Option<Action> {
        match event {
            SessionEvent::Offer { body } => Some(match read_sdp(body.as_ref()) {
                Ok(Some(sdp)) => {
                    self.is_asked = true;
                    LegEvent::Offer(sdp).into()
                }
                Ok(None) => {
                    self.is_requested = true;
                    LegEvent::OfferRequested.into()
                }
                Err(Unreadable) => Action::Session(SessionCommand::RefuseOffer(unreadable())),
            }),
            SessionEvent::OfferAnswered { body } => {
                self.is_offering = false;
                Some(match read_sdp(body.as_ref()) {
                    Ok(Some(sdp)) => LegEvent::OfferAnswered(sdp).into(),
                    // media stays as it was: nothing says what else it should be
                    Ok(None) | Err(Unreadable) => LegEvent::OfferRefused(Cause::BadMedia).into(),
                })
            }
            SessionEvent::OfferRefused { status } => {
                self.is_offering = false;
                Some(LegEvent::OfferRefused(cause::from_status(status.code(), false)).into())
            }
            _ => None,
        }
    }
}

pub(super) fn body_of(sdp: &SessionDescription) -> Body {
    Body::sdp(sdp.to_string())
}

/// A body that is no session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// The session description of a body; none when there is no body.
pub(super) fn read_sdp(body: Option<&Body>) -> Result<Option<Box<SessionDescription>>, Unreadable> {
    let Some(body) = body else { return Ok(None) };
    if !body.is_sdp() {
        return Err(Unreadable);
    }
    // names may be in any character set (RFC 8866 §5), what media needs is ASCII
    let text = String::from_utf8_lossy(&body.bytes);
    SessionDescription::parse(&text).map(|sdp| Some(Box::new(sdp))).map_err(|_| Unreadable)
}

/// What an INVITE hears whose offer cannot be read.
pub(super) fn unreadable() -> Answer {
    Answer::new(StatusCode::NOT_ACCEPTABLE_HERE).warning(399, UNREADABLE)
}

/// Warning of an offer whose codecs nobody here speaks (RFC 3261 §20.43).
pub(super) fn no_common_codec(offered: &[String]) -> String {
    format!("no common codec: {} offered", Excerpt(&offered.join(" ")))
}

/// What an INVITE hears whose offer media cannot serve, with words on what is wrong.
fn refuse(refusal: &MediaRefusal) -> Answer {
    let status =
        StatusCode::new(cause::to_status(refusal.cause().into())).unwrap_or(StatusCode::NOT_ACCEPTABLE_HERE);
    with_words(Answer::new(status), refusal)
}

/// A refusal with a Warning of what is wrong.
pub(super) fn with_words(answer: Answer, refusal: &MediaRefusal) -> Answer {
    match refusal {
        MediaRefusal::NoCommonCodec { offered, wanted } => {
            answer.warning(305, &format!("{}, {} possible", no_common_codec(offered), wanted.join(" ")))
        }
        MediaRefusal::Unusable(_)
        | MediaRefusal::NoAudio
        | MediaRefusal::AudioRefused { .. }
        | MediaRefusal::Protection { .. } => answer.warning(399, &refusal.to_string()),
        MediaRefusal::NoSocket(_) | MediaRefusal::Congestion => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_whatever_the_character_set_of_its_words_rfc_8866_5() {
        let text =
            b"v=0\r\no=Caf\xe9 1 1 IN IP4 192.0.2.1\r\ns=B\xfcro\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let sdp = read_sdp(Some(&Body::sdp(&text[..]))).unwrap().unwrap();
        assert_eq!(sdp.media.len(), 1);
    }
}
