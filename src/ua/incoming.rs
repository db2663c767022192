//! A leg that calls us by SIP.

use super::cause;
use super::ending::Ending;
use super::offers::{Action, Offers, Unreadable, body_of, no_common_codec, read_sdp, unreadable, with_words};
use super::within::{Terms, Within};
use crate::base::{CallId, Cause, End, LegId};
use crate::call::leg::{EarlyOffer, HOPS, Incoming, LegCommand, LegEvent, LegProfile, Stated};
use crate::call::port::MediaRefusal;
use crate::sdp::{MediaCodec, SessionDescription};
use crate::sip::answer::Answer;
use crate::sip::session::{IncomingInvite, SessionCommand, SessionEvent};
use crate::sip::{HeaderName, Headers, Reason, Refer, StatusCode};

/// The leg between its session and its call.
#[derive(Debug)]
pub struct IncomingLeg {
    /// Names of the codecs it offered; none when it asks for our offer.
    offered: Option<Vec<String>>,
    /// It made none, and a provisional response brings ours.
    is_offered: bool,
    is_answered: bool,
    /// It was sent our description, and hears who is called.
    has_early_media: bool,
    offers: Offers,
    within: Within,
    ending: Ending,
    /// What was wrong with its offer.
    refusal: Option<MediaRefusal>,
}

impl IncomingLeg {
    /// The leg of an INVITE, and what the call is told of it; who calls is what [`super::Policy::read`] makes of it.
    ///
    /// # Errors
    /// The refusal of an INVITE whose offer cannot be read.
    pub fn start(
        invite: &IncomingInvite,
        terms: Terms,
        profile: LegProfile,
    ) -> Result<(Self, Incoming), Answer> {
        let mut offer = read_sdp(invite.body.as_ref()).map_err(|Unreadable| unreadable())?;
        let source = terms.source.clone();
        let mut within = Within::new(terms);
        within.read(offer.as_mut());
        let (from, particulars) = within.terms.policy.read(&invite.headers, &invite.from);
        within.stated = Some(Stated::caller(&from, &particulars));
        let leg = Self {
            offered: offer.as_deref().map(codecs_of),
            is_offered: false,
            is_answered: false,
            has_early_media: false,
            offers: Offers::default(),
            within,
            ending: Ending::default(),
            refusal: None,
        };
        let incoming = Incoming {
            source,
            from,
            to: invite.uri.user_text().unwrap_or_default(),
            particulars,
            offer,
            profile,
            early_offer: early_offer(&invite.headers),
            ring_timeout: None,
            hops: invite.headers.max_forwards().ok().flatten().unwrap_or(HOPS),
        };
        Ok((leg, incoming))
    }

    /// What the call commands.
    pub fn handle_command(&mut self, mut command: LegCommand) -> Action {
        if self.is_over() {
            return Action::None;
        }
        self.within.tailor_command(&mut command);
        // before the answer a refusal may be that of the first offer
        let is_refused = matches!(command, LegCommand::RefuseOffer(_)) && !self.offers.is_asked();
        if (self.is_answered || !is_refused)
            && let Some(action) = self.offers.handle_command(&command)
        {
            return action;
        }
        // who is called may press keys as soon as it is heard
        let is_early = match command {
            LegCommand::Dtmf(_) => self.has_early_media,
            // its answer says who answers
            LegCommand::Party(_) => true,
            _ => false,
        };
        if (self.is_answered || is_early)
            && let Some(action) = self.within.handle_command(&command)
        {
            return action;
        }
        match command {
            LegCommand::Ring => Action::Session(SessionCommand::Ring),
            LegCommand::Delayed(why) => {
                Action::Session(SessionCommand::Provisional(cause::of_delay(why), None))
            }
            LegCommand::Progress { answer: Some(answer), delay } => {
                self.is_offered |= self.offered.is_none();
                self.has_early_media = true;
                let body = Some(body_of(&answer));
                Action::Session(match delay {
                    Some(why) => SessionCommand::Provisional(cause::of_delay(why), body),
                    None => SessionCommand::Progress(body),
                })
            }
            // peers take a 183 for early media, and would stop their own ringback for the silence of this one
            LegCommand::Progress { answer: None, .. } => Action::None,
            LegCommand::Answer { answer } => {
                self.is_answered = true;
                Action::Session(SessionCommand::Answer(answer.as_deref().map(body_of)))
            }
            LegCommand::Hangup(why) => {
                self.ending.silence();
                Action::Session(self.hangup(why))
            }
            // the end follows, and its answer says this
            LegCommand::RefuseOffer(refusal) => {
                self.refusal = Some(refusal);
                Action::None
            }
            // a caller is not called, and its media is no news to SIP
            LegCommand::Dial(_)
            | LegCommand::EarlyMedia(_)
            | LegCommand::Offer(_)
            | LegCommand::AnswerOffer(_)
            | LegCommand::Dtmf(_)
            | LegCommand::Party(_)
            | LegCommand::Notify(_)
            | LegCommand::MediaState(_) => Action::None,
        }
    }

    /// What the session reports.
    pub fn handle_session(&mut self, event: SessionEvent) -> Action {
        let action = self.heard(event);
        self.within.tailor_action(action)
    }

    /// Where the call is that a REFER names.
    pub fn handle_found(&mut self, refer: &Refer, found: Option<(CallId, LegId)>) -> Action {
        if self.is_over() { Action::None } else { self.within.handle_found(refer, found) }
    }

    fn heard(&mut self, event: SessionEvent) -> Action {
        if self.is_over() {
            return Action::None;
        }
        // the answer to the offer in our 2xx, or in a provisional response before it
        if let SessionEvent::Confirmed { body } | SessionEvent::OfferAnswered { body } = &event
            && self.offered.is_none()
            && (self.is_offered || matches!(event, SessionEvent::Confirmed { .. }))
        {
            self.is_offered = false;
            self.offered = Some(Vec::new());
            return Action::Tell(match read_sdp(body.as_ref()) {
                Ok(Some(sdp)) => LegEvent::OfferAnswered(sdp),
                Ok(None) | Err(Unreadable) => self.ending.part(Cause::BadMedia),
            });
        }
        if let Some(action) =
            self.offers.handle_session(&event).or_else(|| self.within.handle_session(&event))
        {
            return action;
        }
        match event {
            SessionEvent::Ended(end) => Action::Tell(self.ending.over(cause::from_end(&end))),
            SessionEvent::Failed(_) => Action::Tell(self.ending.over(Cause::Unreachable)),
            SessionEvent::Confirmed { .. }
            | SessionEvent::Ringing
            | SessionEvent::Progress { .. }
            | SessionEvent::Answered { .. }
            | SessionEvent::Offer { .. }
            | SessionEvent::OfferAnswered { .. }
            | SessionEvent::OfferRefused { .. }
            | SessionEvent::AckUnheard { .. }
            | SessionEvent::Identity(_)
            | SessionEvent::Key(_)
            | SessionEvent::Refer(_) => Action::None,
        }
    }

    /// The leg cannot go on: its session is gone.
    pub fn fail(&mut self, cause: Cause) -> Option<LegEvent> {
        self.ending.fail(cause)
    }

    /// Why the session is to be hung up, when the leg ended by itself while its session lives: an ACK without an
    /// answer that is of use.
    #[must_use]
    pub fn parting(&self) -> Option<Reason> {
        self.ending.parting()
    }

    /// Whether the last word was said.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ending.is_over()
    }

    /// A refusal before the answer, with the cause for who understands it (RFC 6432), BYE after it.
    fn hangup(&self, why: End) -> SessionCommand {
        if self.is_answered {
            return SessionCommand::Hangup(Some(cause::reason(why)));
        }
        let status = StatusCode::new(cause::to_status(why)).unwrap_or(StatusCode::TEMPORARILY_UNAVAILABLE);
        let mut answer = Answer::new(status).with(HeaderName::Reason, cause::refusal_reason(why).to_string());
        if let Some(wait) = cause::retry_after(why) {
            answer = answer.with(HeaderName::RetryAfter, wait.as_secs().to_string());
        }
        if let Some(refusal) = self.refusal.as_ref().filter(|r| r.cause() == why.cause) {
            return SessionCommand::Refuse(with_words(answer, refusal));
        }
        SessionCommand::Refuse(match (why.cause, &self.offered) {
            (Cause::NoCommonCodec, Some(offered)) => answer.warning(305, &no_common_codec(offered)),
            (Cause::NoCommonCodec, None) => answer.warning(305, "no common codec"),
            (Cause::AudioRefused, _) => answer
                .warning(399, "the called side took the call and refused its audio (port 0 in its answer)"),
            (Cause::BadMedia, _) => match why.status {
                Some(status) => {
                    let words = format!(
                        "the called side refused the call ({status}): it takes no session description"
                    );
                    answer.warning(399, &words)
                }
                None => answer
                    .warning(399, "the called side answered without a session description that can be used"),
            },
            _ => answer,
        })
    }
}

/// Whether a caller takes our offer before the answer, should it have made none (RFC 3262 §5).
fn early_offer(headers: &Headers) -> EarlyOffer {
    let has_tag = |name| headers.tokens(name).iter().any(|tag| tag.eq_ignore_ascii_case("100rel"));
    match (has_tag(&HeaderName::Require), has_tag(&HeaderName::Supported)) {
        (true, _) => EarlyOffer::Needed,
        (false, true) => EarlyOffer::Possible,
        (false, false) => EarlyOffer::No,
    }
}

fn codecs_of(sdp: &SessionDescription) -> Vec<String> {
    let audio = sdp.audio().map(|(_, media)| media.codecs()).unwrap_or_default();
    audio.iter().map(MediaCodec::label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::leg::{Delay, Party};
    use crate::call::port::{Codec, Encryption, HoldMusic, MediaProfile, MediaRefusal};
    use crate::call::route::{Source, Target};
    use crate::sip::NameAddr;
    use crate::sip::answer::Body;
    use crate::sip::session::CallEnd;
    use crate::sip::{Flow, Host, Uri};
    use crate::ua::Policy;
    use std::sync::Arc;
    use std::time::Duration;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n";

    fn invite(uri: &str, asserted: &str, body: Option<&'static str>) -> IncomingInvite {
        let mut headers = Headers::default();
        headers.push(HeaderName::PAssertedIdentity, asserted);
        IncomingInvite {
            owner: "pbx".into(),
            uri: Uri::parse(uri).unwrap(),
            from: NameAddr::parse("\"Anna\" <sip:trunk%2Bin@192.0.2.4>;tag=x").unwrap(),
            to: NameAddr::parse("<sip:600@192.0.2.1>").unwrap(),
            headers,
            body: body.map(Body::sdp),
            flow: Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.4:5060".parse().unwrap()),
        }
    }

    fn profile() -> LegProfile {
        let media = MediaProfile::Rtp {
            codecs: vec![Codec::Pcmu],
            towards: "192.0.2.4".parse().unwrap(),
            external: Default::default(),
            own_address: Default::default(),
            is_symmetric: false,
            encryption: Encryption::Off,
            is_avpf: false,
            hold_music: HoldMusic::default(),
        };
        LegProfile {
            media,
            takes_offer: true,
            takes_reoffer: true,
            may_detach: false,
            takes_keys: false,
            account: None,
        }
    }

    fn terms() -> Terms {
        Terms {
            policy: Arc::new(Policy { is_trusted: true, ..Policy::default() }),
            source: Source::Trunk("pbx".into()),
            target: Target { edge: "trunk", name: "pbx".into(), number: String::new(), place: None },
            host: Host::parse("192.0.2.4").unwrap(),
            places: vec![(Host::parse("192.0.2.4").unwrap(), 5060)],
            is_secure: false,
            keys_by_info: false,
            may_transfer: true,
            follows_redirects: true,
        }
    }

    fn start(invite: &IncomingInvite, is_trusted: bool) -> (IncomingLeg, Incoming) {
        let policy = Arc::new(Policy { is_trusted, ..Policy::default() });
        IncomingLeg::start(invite, Terms { policy, ..terms() }, profile()).unwrap()
    }

    fn leg() -> IncomingLeg {
        start(&invite("sip:600@192.0.2.1", "", Some(SDP)), true).0
    }

    fn sdp() -> Box<SessionDescription> {
        Box::new(SessionDescription::parse(SDP).unwrap())
    }

    fn refusal(action: Action) -> Answer {
        match action {
            Action::Session(SessionCommand::Refuse(answer)) => answer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_caller_is_whom_a_trusted_peer_asserts_and_else_who_stands_in_from_rfc_3325_9_1() {
        let i = invite("sip:6%30%30@192.0.2.1;user=phone", "<tel:+55-11-3000-0001>, <sip:b@x>", Some(SDP));
        let told = start(&i, true).1;
        assert_eq!(told.from, Party { user: "+551130000001".into(), display: Some("Anna".into()) });
        assert_eq!((told.to.as_str(), told.offer.is_some(), told.hops), ("600", true, HOPS));
        let mut passed = invite("sip:600@192.0.2.1", "", Some(SDP));
        passed.headers.push(HeaderName::MaxForwards, "7");
        assert_eq!(start(&passed, true).1.hops, 7, "RFC 7332 §4");
        assert_eq!(start(&i, false).1.from.user, "trunk+in");
        assert_eq!(start(&invite("sip:192.0.2.1", "\"open", None), true).1.from.user, "trunk+in");
    }

    #[test]
    fn an_offer_that_cannot_be_read_is_refused_before_there_is_a_call() {
        let i = invite("sip:600@192.0.2.1", "", Some("hello"));
        let refused = IncomingLeg::start(&i, terms(), profile()).unwrap_err();
        assert_eq!(refused.status.code(), 488);
        assert_eq!(refused.headers[0].value(), "399 sipedge \"the session description cannot be read\"");
    }

    #[test]
    fn it_rings_has_early_media_and_is_answered() {
        let mut l = leg();
        assert!(matches!(l.handle_command(LegCommand::Ring), Action::Session(SessionCommand::Ring)));
        assert!(matches!(l.handle_command(LegCommand::Progress { answer: None, delay: None }), Action::None));
        // without telephone-events in its offer keys go by INFO, once there is somebody who presses them
        let keys = || LegCommand::Dtmf(Vec::new());
        assert!(matches!(l.handle_command(keys()), Action::None));
        let early = l.handle_command(LegCommand::Progress { answer: Some(sdp()), delay: None });
        assert!(matches!(early, Action::Session(SessionCommand::Progress(Some(_)))));
        assert!(matches!(l.handle_command(keys()), Action::Session(SessionCommand::Keys(_))));
        let answer = l.handle_command(LegCommand::Answer { answer: Some(sdp()) });
        assert!(matches!(answer, Action::Session(SessionCommand::Answer(Some(_)))));
        assert!(matches!(l.handle_session(SessionEvent::Confirmed { body: None }), Action::None));
        let offer = l.handle_command(LegCommand::Offer(sdp()));
        assert!(matches!(offer, Action::Session(SessionCommand::Offer(_))));
        let end = l.handle_command(LegCommand::Hangup(Cause::MediaTimeout.into()));
        let Action::Session(SessionCommand::Hangup(Some(reason))) = end else { panic!("{end:?}") };
        assert_eq!(reason.q850_cause(), Some(102));
        assert!(l.is_over());
    }

    #[test]
    fn a_call_without_an_offer_takes_ours_and_its_ack_brings_the_answer_rfc_3261_13_2_1() {
        let i = invite("sip:600@192.0.2.1", "", None);
        let (mut l, told) = start(&i, true);
        assert!(told.offer.is_none());
        l.handle_command(LegCommand::Answer { answer: Some(sdp()) });
        let confirmed = l.handle_session(SessionEvent::Confirmed { body: Some(Body::sdp(SDP)) });
        assert!(matches!(confirmed, Action::Tell(LegEvent::OfferAnswered(_))));
        let (mut l, _) = start(&i, true);
        l.handle_command(LegCommand::Answer { answer: Some(sdp()) });
        let confirmed = l.handle_session(SessionEvent::Confirmed { body: None });
        assert!(matches!(confirmed, Action::Tell(LegEvent::Ended(End { cause: Cause::BadMedia, .. }))));
        assert_eq!(l.parting().unwrap().q850_cause(), Some(95), "the session is to be hung up");
    }

    #[test]
    fn a_caller_who_can_gets_our_offer_before_the_answer_and_answers_it_by_prack_rfc_3262_5() {
        let with = |name: HeaderName, value: &str| {
            let mut i = invite("sip:600@192.0.2.1", "", None);
            i.headers.push(name, value);
            start(&i, true)
        };
        let takes = |name, value| with(name, value).1.early_offer;
        assert_eq!(takes(HeaderName::Supported, "timer"), EarlyOffer::No);
        assert_eq!(takes(HeaderName::Supported, "timer, 100rel"), EarlyOffer::Possible);
        assert_eq!(takes(HeaderName::Require, "100REL"), EarlyOffer::Needed);
        let offered = || {
            let mut l = with(HeaderName::Supported, "100rel").0;
            let early = l.handle_command(LegCommand::Progress { answer: Some(sdp()), delay: None });
            assert!(matches!(early, Action::Session(SessionCommand::Progress(Some(_)))));
            l
        };
        let mut l = offered();
        let answered = l.handle_session(SessionEvent::OfferAnswered { body: Some(Body::sdp(SDP)) });
        assert!(matches!(answered, Action::Tell(LegEvent::OfferAnswered(_))));
        l.handle_command(LegCommand::Answer { answer: Some(sdp()) });
        assert!(matches!(l.handle_session(SessionEvent::Confirmed { body: None }), Action::None));
        // what comes after that is an answer within the call
        let refused = l.handle_session(SessionEvent::OfferAnswered { body: None });
        assert!(matches!(refused, Action::Tell(LegEvent::OfferRefused(Cause::BadMedia))));
        let mut l = offered();
        let ended = l.handle_session(SessionEvent::OfferAnswered { body: None });
        assert!(matches!(ended, Action::Tell(LegEvent::Ended(End { cause: Cause::BadMedia, .. }))));
        assert!(l.parting().is_some());
    }

    #[test]
    fn before_the_answer_a_further_offer_is_answered_or_refused_and_ours_goes_rfc_3311() {
        let mut l = leg();
        l.handle_command(LegCommand::Progress { answer: Some(sdp()), delay: None });
        assert!(matches!(
            l.handle_command(LegCommand::Offer(sdp())),
            Action::Session(SessionCommand::Offer(_))
        ));
        l.handle_session(SessionEvent::OfferRefused { status: StatusCode::REQUEST_PENDING });
        let offer = || SessionEvent::Offer { body: Some(Body::sdp(SDP)) };
        assert!(matches!(l.handle_session(offer()), Action::Tell(LegEvent::Offer(_))));
        assert!(matches!(
            l.handle_command(LegCommand::AnswerOffer(sdp())),
            Action::Session(SessionCommand::AnswerOffer(_))
        ));
        l.handle_session(offer());
        let refused = l.handle_command(LegCommand::RefuseOffer(MediaRefusal::Unusable("no")));
        assert!(matches!(refused, Action::Session(SessionCommand::RefuseOffer(_))), "{refused:?}");
        // and a refusal of the first one waits for the end of the call
        let refused = l.handle_command(LegCommand::RefuseOffer(MediaRefusal::Unusable("no")));
        assert!(matches!(refused, Action::None), "{refused:?}");
    }

    #[test]
    fn every_cause_refuses_the_call_with_its_status_and_reason_rfc_6432() {
        for cause in Cause::ALL {
            let answer = refusal(leg().handle_command(LegCommand::Hangup(cause.into())));
            assert_eq!(answer.status.code(), cause::to_status(cause.into()));
            assert!(answer.headers[0].value().starts_with(&format!("Q.850;cause={}", cause.q850())));
        }
        let answer = refusal(leg().handle_command(LegCommand::Hangup(Cause::NoCommonCodec.into())));
        assert_eq!(answer.headers[1].value(), "305 sipedge \"no common codec: PCMU PCMA offered\"");
    }

    #[test]
    fn a_caller_is_told_of_a_delay_and_when_to_call_again() {
        let told = |why| match leg().handle_command(LegCommand::Delayed(why)) {
            Action::Session(SessionCommand::Provisional(status, None)) => status.code(),
            other => panic!("{other:?}"),
        };
        assert_eq!((told(Delay::Forwarded), told(Delay::Queued)), (181, 182));
        // what is heard meanwhile goes with it
        let early = LegCommand::Progress { answer: Some(sdp()), delay: Some(Delay::Queued) };
        let early = leg().handle_command(early);
        let queued =
            matches!(&early, Action::Session(SessionCommand::Provisional(s, Some(_))) if s.code() == 182);
        assert!(queued, "{early:?}");
        let wait = Some(Duration::from_secs(30));
        let busy = End { status: Some(486), retry_after: wait, ..Cause::Busy.into() };
        let answer = refusal(leg().handle_command(LegCommand::Hangup(busy)));
        let after: Vec<_> = answer.headers.iter().filter(|h| *h.name() == HeaderName::RetryAfter).collect();
        assert_eq!((answer.status.code(), after.len()), (486, 1));
        assert_eq!(after[0].value(), "30");
    }

    #[test]
    fn what_was_offered_is_named_alike_before_the_answer_and_after_it() {
        const OTHER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 18 96\r\n\
                             a=rtpmap:18 G729/8000\r\na=rtpmap:96 opus/48000/2\r\n";
        let mut first = start(&invite("sip:600@192.0.2.1", "", Some(OTHER)), true).0;
        let answer = refusal(first.handle_command(LegCommand::Hangup(Cause::NoCommonCodec.into())));
        let warning = "305 sipedge \"no common codec: G729 opus/48000/2 offered";
        assert_eq!(answer.headers[1].value(), format!("{warning}\""));
        let mut later = leg();
        later.handle_command(LegCommand::Answer { answer: Some(sdp()) });
        later.handle_session(SessionEvent::Offer { body: Some(Body::sdp(OTHER)) });
        let offered = codecs_of(&SessionDescription::parse(OTHER).unwrap());
        let refused = MediaRefusal::NoCommonCodec { offered, wanted: vec!["PCMU".into()] };
        let action = later.handle_command(LegCommand::RefuseOffer(refused));
        let Action::Session(SessionCommand::RefuseOffer(answer)) = action else { panic!("{action:?}") };
        assert_eq!(answer.headers[0].value(), format!("{warning}, PCMU possible\""));
    }

    #[test]
    fn who_wants_to_stay_unknown_does_rfc_3325_7_and_rfc_3323_4_2() {
        let from = |privacy: &str, from: &str| {
            let mut i = invite("sip:600@192.0.2.1", "\"Anna\" <sip:+551130000001@192.0.2.4>", None);
            i.headers.push(HeaderName::Privacy, privacy);
            i.from = NameAddr::parse(from).unwrap();
            let from = start(&i, true).1.from;
            (from.user, from.display)
        };
        let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=x";
        let hidden = ("anonymous".to_owned(), Some("Anonymous".to_owned()));
        // the asserted identity is for the peers of the trust domain alone
        assert_eq!(from("id", anonymous), hidden);
        assert_eq!(from("Critical; ID", anonymous), hidden);
        assert_eq!(
            from("id", "<sip:100@192.0.2.4>;tag=x"),
            ("100".to_owned(), None),
            "From is what its sender wrote"
        );
        // From itself is to be hidden
        assert_eq!(from("user", "\"Anna\" <sip:100@192.0.2.4>;tag=x"), hidden);
        assert_eq!(from("none", anonymous), ("+551130000001".to_owned(), Some("Anna".to_owned())));
        let open = "<sip:100@192.0.2.4>;tag=x";
        assert_eq!(from("session;header", open).0, "+551130000001");
        assert_eq!(from("session;header", anonymous), hidden, "From has said so");
    }

    #[test]
    fn a_caller_whose_offer_cannot_be_served_is_told_why() {
        let mut l = leg();
        let unusable =
            MediaRefusal::Unusable("the audio section is not RTP/AVP; switch SRTP off for this trunk");
        assert!(matches!(l.handle_command(LegCommand::RefuseOffer(unusable)), Action::None));
        let answer = refusal(l.handle_command(LegCommand::Hangup(Cause::BadMedia.into())));
        assert_eq!(
            answer.headers[1].value(),
            "399 sipedge \"the audio section is not RTP/AVP; switch SRTP off for this trunk\""
        );
        let mut l = leg();
        let (offered, wanted) = (vec!["G729/8000".to_owned()], vec!["PCMU".to_owned()]);
        l.handle_command(LegCommand::RefuseOffer(MediaRefusal::NoCommonCodec { offered, wanted }));
        let answer = refusal(l.handle_command(LegCommand::Hangup(Cause::NoCommonCodec.into())));
        assert_eq!(
            answer.headers[1].value(),
            "305 sipedge \"no common codec: G729/8000 offered, PCMU possible\""
        );
    }

    #[test]
    fn a_called_side_that_takes_no_description_has_refused_and_not_answered_rfc_3398_8_2_6_1() {
        let says = |status: Option<u16>, q850| {
            let end = End { status, q850, ..Cause::BadMedia.into() };
            let answer = refusal(leg().handle_command(LegCommand::Hangup(end)));
            let value = |n: usize| answer.headers[n].value().to_owned();
            (answer.status.code(), value(0), value(1))
        };
        for status in [406, 415] {
            let (code, reason, warning) = says(Some(status), None);
            assert_eq!((code, reason.as_str()), (488, "Q.850;cause=79"));
            assert!(warning.starts_with("399 sipedge \"the called side refused the call"), "{warning}");
            assert!(warning.contains(&format!("({status})")) && !warning.contains("answer"), "{warning}");
            assert_eq!(says(Some(status), Some(65)).1, "Q.850;cause=65", "its own value");
        }
        let (_, reason, warning) = says(None, None);
        assert!(reason.contains("cause=95") && warning.contains("answered without"), "{reason} {warning}");
    }

    #[test]
    fn a_called_side_that_takes_the_call_without_its_audio_has_refused_that_rfc_3264_6() {
        let refusal_of = MediaRefusal::AudioRefused { ours: Encryption::Off };
        let answer = refusal(leg().handle_command(LegCommand::Hangup(refusal_of.cause().into())));
        let (reason, warning) = (answer.headers[0].value(), answer.headers[1].value());
        assert_eq!((answer.status.code(), reason), (488, "Q.850;cause=88;text=\"audio-refused\""));
        assert!(warning.contains("refused its audio") && !warning.contains("description"), "{warning}");
    }

    #[test]
    fn a_warning_names_what_was_offered_and_never_at_length() {
        let formats: Vec<String> = (96..128).map(|pt| pt.to_string()).collect();
        let maps: String =
            formats.iter().map(|pt| format!("a=rtpmap:{pt} {}/8000\r\n", "X".repeat(300))).collect();
        let sdp = SDP.replace("0 8", &formats.join(" ")) + &maps;
        let i = IncomingInvite { body: Some(Body::sdp(sdp)), ..invite("sip:600@192.0.2.1", "", None) };
        let answer =
            refusal(start(&i, true).0.handle_command(LegCommand::Hangup(Cause::NoCommonCodec.into())));
        let warning = answer.headers[1].value();
        assert!(warning.starts_with("305 sipedge \"no common codec: XXX"), "{warning}");
        assert!(warning.len() <= 250, "{}", warning.len());
    }

    #[test]
    fn a_cancel_says_whether_somebody_else_answered_rfc_3326_3() {
        let cancelled = |q850, sip| CallEnd::Cancelled { q850, sip, text: None };
        for (end, cause) in [
            (cancelled(None, None), Cause::Cancelled),
            (cancelled(Some(16), None), Cause::Cancelled),
            (cancelled(None, Some(200)), Cause::AnsweredElsewhere),
            (cancelled(Some(26), Some(200)), Cause::AnsweredElsewhere),
            (cancelled(Some(26), None), Cause::AnsweredElsewhere),
            (CallEnd::Remote { q850: Some(17), text: None }, Cause::Busy),
            (CallEnd::Lost("no ACK"), Cause::Unreachable),
        ] {
            let ended = leg().handle_session(SessionEvent::Ended(end));
            assert!(
                matches!(ended, Action::Tell(LegEvent::Ended(end)) if end.cause == cause),
                "{ended:?}, not {cause}"
            );
        }
    }
}
