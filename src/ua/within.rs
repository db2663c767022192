//! What is said within a call beside offers, the same for the leg that calls and the leg that is called: keys by INFO, and
//! transfers by REFER (RFC 3515, RFC 5589).

use super::Policy;
use super::cause;
use super::offers::Action;
use crate::call::leg::{
    Answered, DtmfDigit, LegCommand, LegEvent, Party, Stated, Transfer, TransferState, TransferTo,
};
use crate::call::route::{Source, Target};
use crate::sdp::SessionDescription;
use crate::sip::answer::Answer;
use crate::sip::session::{SessionCommand, SessionEvent};
use crate::sip::{Headers, Host, Key, NameAddr, Refer, SipUri, StatusCode, Uri};
use std::sync::Arc;

/// What a peer may do within its calls, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Who it is, for routes.
    pub source: Source,
    /// Where a number at the peer is dialled; the number is filled in.
    pub target: Target,
    /// Its host, as it stands in the addresses that it is told.
    pub host: Host,
    /// Hosts and ports that mean the peer itself.
    pub places: Vec<(Host, u16)>,
    /// What it tells of callers and is told of them.
    pub policy: Arc<Policy>,
    /// It is reached by TLS, as a `sips:` address asks for (RFC 3261 §26.2.2).
    pub is_secure: bool,
    /// Keys go to it by INFO, and its media carries none.
    pub keys_by_info: bool,
    /// It may transfer who it talks to.
    pub may_transfer: bool,
    /// A redirect to a number of its own is followed.
    pub follows_redirects: bool,
}

impl Terms {
    /// Whether an address asks for TLS where there is none.
    fn is_too_secret(&self, uri: &Uri) -> bool {
        !self.is_secure && uri.sip().is_some_and(|sip| sip.is_secure)
    }

    /// The number at the peer that an address means; none when it is another host's, or another program's on the same
    /// host, or to be reached by a better protected way than the peer is.
    pub(super) fn own_number(&self, uri: &Uri) -> Option<String> {
        let is_its = |sip: &SipUri| {
            let is_port = |port: u16| sip.port.is_none_or(|p| p == port);
            self.places.iter().any(|(host, port)| host.is_same(&sip.host) && is_port(*port))
        };
        let sip = uri.sip().filter(|sip| is_its(sip) && !self.is_too_secret(uri))?;
        sip.user_text().filter(|number| !number.is_empty())
    }

    fn target(&self, number: String) -> Target {
        Target { number, ..self.target.clone() }
    }
}

/// The telephone-event format, by its name (RFC 4733 §7.1.1).
const EVENTS: &str = "telephone-event";

/// Whether a description takes keys with the media.
fn has_events(sdp: &SessionDescription) -> bool {
    sdp.media.iter().any(|m| m.port != 0 && m.codecs().iter().any(|c| c.name.eq_ignore_ascii_case(EVENTS)))
}

/// A description that names no telephone-events: a peer that wants keys by INFO shall get none by media, nor send any.
fn without_events(sdp: &mut SessionDescription) {
    for media in &mut sdp.media {
        let is_event = |c: &crate::sdp::MediaCodec| c.name.eq_ignore_ascii_case(EVENTS);
        let types: Vec<String> =
            media.codecs().iter().filter(|c| is_event(c)).map(|c| c.payload_type.to_string()).collect();
        if types.len() == media.formats.len() {
            continue;
        }
        media.formats.retain(|format| types.iter().all(|t| t != format));
        let is_of_events = |value: Option<&str>| {
            let payload_type = value.and_then(|v| v.split([' ', ':']).next()).unwrap_or_default();
            types.iter().any(|t| t == payload_type)
        };
        media
            .attributes
            .retain(|a| !["rtpmap", "fmtp"].contains(&a.name.as_str()) || !is_of_events(a.value.as_deref()));
    }
}

/// One leg's part of it.
#[derive(Debug)]
pub(super) struct Within {
    pub(super) terms: Terms,
    /// A REFER waits for its answer.
    is_asked: bool,
    /// The peer's last description takes no keys with the media.
    lacks_events: bool,
    /// Who it said last that it is.
    pub(super) stated: Option<Stated>,
}

impl Within {
    pub(super) const fn new(terms: Terms) -> Self {
        Self { terms, is_asked: false, lacks_events: false, stated: None }
    }

    /// Takes what is not for this peer out of a description.
    fn tailor(&self, sdp: Option<&mut Box<SessionDescription>>) {
        if let Some(sdp) = sdp.filter(|_| self.terms.keys_by_info) {
            without_events(sdp);
        }
    }

    /// The same for a command.
    pub(super) fn tailor_command(&self, command: &mut LegCommand) {
        self.tailor(match command {
            LegCommand::Dial(dial) => dial.offer.as_mut(),
            LegCommand::Progress { answer, .. } | LegCommand::Answer { answer } => answer.as_mut(),
            LegCommand::Offer(sdp) | LegCommand::AnswerOffer(sdp) => Some(sdp),
            _ => None,
        });
    }

    /// Reads a description of the peer's, and takes out of it what is not for the call.
    pub(super) fn read(&mut self, sdp: Option<&mut Box<SessionDescription>>) {
        let Some(sdp) = sdp else { return };
        self.lacks_events = !has_events(sdp);
        self.tailor(Some(sdp));
    }

    /// The same for what the call is told.
    pub(super) fn tailor_action(&mut self, mut action: Action) -> Action {
        if let Action::Tell(event) = &mut action {
            self.read(match event {
                LegEvent::Progress { answer, .. } => answer.as_mut(),
                LegEvent::Answered { answer: Answered::Sdp(sdp) }
                | LegEvent::Offer(sdp)
                | LegEvent::OfferAnswered(sdp) => Some(sdp),
                _ => None,
            });
        }
        action
    }

    /// Whether a command is about this, and what to do then.
    pub(super) fn handle_command(&mut self, command: &LegCommand) -> Option<Action> {
        Some(match command {
            // without telephone-events a key would be lost, and a peer that takes no INFO either says so
            LegCommand::Dtmf(keys) if self.terms.keys_by_info || self.lacks_events => {
                let key = |k: &DtmfDigit| Key { digit: k.digit, duration: k.duration };
                Action::Session(SessionCommand::Keys(keys.iter().map(key).collect()))
            }
            LegCommand::Notify(state) => Action::Session(self.notify(*state)),
            LegCommand::Party(who) => self.identify(who),
            _ => return None,
        })
    }

    /// The peer is told who it talks to by now.
    pub(super) fn identify(&self, who: &Stated) -> Action {
        let lines = self.terms.policy.connected(&self.terms.host, who);
        if lines.is_empty() { Action::None } else { Action::Session(SessionCommand::Identify(lines)) }
    }

    /// The peer says who it is. What it said before is no news, and a number that it named keeps its name.
    fn handle_identity(&mut self, headers: &Headers) -> Action {
        let Some(mut who) = self.terms.policy.stated(headers) else { return Action::None };
        if let Some(known) = &self.stated {
            name_as(&mut who.shown, &known.shown);
            who.withheld.iter_mut().zip(&known.withheld).for_each(|(party, known)| name_as(party, known));
            let is_kept = who.withheld.is_some() && who.withheld == known.withheld;
            if is_kept || who == *known {
                return Action::None;
            }
        }
        self.stated = Some(who.clone());
        LegEvent::Party(Box::new(who)).into()
    }

    fn notify(&mut self, state: TransferState) -> SessionCommand {
        let was_asked = std::mem::take(&mut self.is_asked);
        let status = match state {
            TransferState::Trying if was_asked => {
                return SessionCommand::AnswerRefer(Answer::new(StatusCode::ACCEPTED));
            }
            TransferState::Trying => StatusCode::TRYING,
            TransferState::Ringing => StatusCode::RINGING,
            TransferState::Done => StatusCode::OK,
            TransferState::Failed(why) => {
                let status =
                    StatusCode::new(cause::to_status(why.into())).unwrap_or(StatusCode::SERVER_ERROR);
                if was_asked {
                    return SessionCommand::AnswerRefer(Answer::new(status));
                }
                status
            }
        };
        SessionCommand::Notify(status)
    }

    /// News of this; none for any other.
    pub(super) fn handle_session(&mut self, event: &SessionEvent) -> Option<Action> {
        Some(match event {
            SessionEvent::Key(Key { digit, duration }) => {
                LegEvent::Pressed(DtmfDigit { digit: *digit, duration: *duration }).into()
            }
            SessionEvent::Refer(refer) => self.handle_refer(refer),
            SessionEvent::Identity(headers) => self.handle_identity(headers),
            _ => return None,
        })
    }

    fn handle_refer(&mut self, refer: &Refer) -> Action {
        let refuse = |status| Action::Session(SessionCommand::AnswerRefer(Answer::new(status)));
        if !self.terms.may_transfer {
            return refuse(StatusCode::DECLINE);
        }
        let Some(number) = refer.to.user_text().filter(|number| !number.is_empty()) else {
            return refuse(StatusCode::NOT_FOUND);
        };
        if self.terms.is_too_secret(&refer.to) {
            return refuse(StatusCode::FORBIDDEN);
        }
        self.is_asked = true;
        if refer.replaces.is_some() {
            return Action::Find(Box::new(refer.clone()));
        }
        let to = match self.terms.own_number(&refer.to) {
            Some(number) => TransferTo::Target { target: self.terms.target(number), takes_over: None },
            None => TransferTo::Number(number),
        };
        self.transfer(refer, to)
    }

    /// The REFER names a call that ours is to take the place of, and this is where that is; none: not here, so the peer
    /// may know it.
    pub(super) fn handle_found(
        &self,
        refer: &Refer,
        found: Option<(crate::base::CallId, crate::base::LegId)>,
    ) -> Action {
        let to = match (found, self.terms.own_number(&refer.to)) {
            (Some((call, leg)), _) => TransferTo::Partner(call, leg),
            (None, Some(number)) => TransferTo::Target {
                target: self.terms.target(number),
                takes_over: refer.replaces.as_ref().map(ToString::to_string),
            },
            // a dialog of a host that no trunk names: nobody here could reach it
            (None, None) => {
                return Action::Session(SessionCommand::AnswerRefer(Answer::new(StatusCode::NOT_FOUND)));
            }
        };
        self.transfer(refer, to)
    }

    fn transfer(&self, refer: &Refer, to: TransferTo) -> Action {
        let by = refer.by.as_ref().map(party_of);
        LegEvent::Transfer(Box::new(Transfer { source: self.terms.source.clone(), by, to })).into()
    }
}

/// A party without a name has the one that it had.
fn name_as(party: &mut Party, known: &Party) {
    if party.user == known.user && party.display.is_none() {
        party.display.clone_from(&known.display);
    }
}

fn party_of(address: &NameAddr) -> Party {
    Party { user: address.uri.user_text().unwrap_or_default(), display: address.shown_name() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{CallId, Cause, Digit, LegId};
    use crate::sip::Replaces;
    use std::time::Duration;

    pub(in super::super) fn terms() -> Terms {
        Terms {
            policy: Arc::default(),
            host: Host::parse("pbx.example").unwrap(),
            source: Source::Trunk("pbx".into()),
            target: Target { edge: "trunk", name: "pbx".into(), number: String::new(), place: None },
            places: vec![
                (Host::parse("PBX.example").unwrap(), 5060),
                (Host::parse("192.0.2.4").unwrap(), 5062),
            ],
            is_secure: false,
            keys_by_info: false,
            may_transfer: true,
            follows_redirects: true,
        }
    }

    fn refer(to: &str, replaces: Option<&str>) -> SessionEvent {
        SessionEvent::Refer(Box::new(Refer {
            to: Uri::parse(to).unwrap(),
            replaces: replaces.map(|r| Replaces::parse(r).unwrap()),
            by: Some(NameAddr::parse("Desk <sip:100@pbx.example>").unwrap()),
        }))
    }

    fn asked(within: &mut Within, to: &str) -> TransferTo {
        match within.handle_session(&refer(to, None)) {
            Some(Action::Tell(LegEvent::Transfer(wish))) => {
                assert_eq!(wish.source, Source::Trunk("pbx".into()));
                assert_eq!(wish.by.unwrap().user, "100");
                wish.to
            }
            other => panic!("{other:?}"),
        }
    }

    fn status(action: Option<Action>) -> u16 {
        match action {
            Some(Action::Session(SessionCommand::AnswerRefer(answer))) => answer.status.code(),
            Some(Action::Session(SessionCommand::Notify(status))) => status.code(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_of_the_peer_is_called_there_and_any_other_is_a_number_for_the_routes() {
        let mut within = Within::new(terms());
        let there = |number: &str| TransferTo::Target {
            target: Target { edge: "trunk", name: "pbx".into(), number: number.into(), place: None },
            takes_over: None,
        };
        for own in
            ["sip:600@pbx.example", "sip:600@PBX.EXAMPLE:5060", "sip:600@192.0.2.4:5062", "sip:600@192.0.2.4"]
        {
            assert_eq!(asked(&mut within, own), there("600"), "{own}");
        }
        for other in ["sip:600@192.0.2.4:5080", "sip:600@203.0.113.66", "sip:600@evil.example", "tel:600"] {
            assert_eq!(asked(&mut within, other), TransferTo::Number("600".into()), "{other}");
        }
        assert_eq!(status(within.handle_session(&refer("sip:192.0.2.4:5062", None))), 404, "nobody is named");
    }

    #[test]
    fn what_becomes_of_a_transfer_is_an_answer_first_and_news_after_it() {
        let mut within = Within::new(terms());
        let hears = |within: &mut Within, state| status(within.handle_command(&LegCommand::Notify(state)));
        asked(&mut within, "sip:600@pbx.example");
        assert_eq!(hears(&mut within, TransferState::Failed(Cause::Unavailable)), 480, "refused");
        asked(&mut within, "sip:600@pbx.example");
        for (state, code) in [
            (TransferState::Trying, 202),
            (TransferState::Ringing, 180),
            (TransferState::Failed(Cause::Busy), 486),
            (TransferState::Done, 200),
        ] {
            assert_eq!(hears(&mut within, state), code, "{state:?}");
        }
    }

    #[test]
    fn a_peer_that_may_not_transfer_hears_603() {
        let mut within = Within::new(Terms { may_transfer: false, ..terms() });
        assert_eq!(status(within.handle_session(&refer("sip:600@pbx.example", None))), 603);
    }

    #[test]
    fn a_transfer_to_a_sips_address_is_refused_where_the_trunk_has_no_tls_rfc_3261_26_2_2() {
        for (is_secure, to) in [(false, "sips:600@pbx.example"), (false, "sips:600@203.0.113.1")] {
            let mut within = Within::new(Terms { is_secure, ..terms() });
            assert_eq!(status(within.handle_session(&refer(to, None))), 403, "{to}");
        }
        let mut within = Within::new(Terms { is_secure: true, ..terms() });
        assert!(matches!(asked(&mut within, "sips:600@pbx.example"), TransferTo::Target { .. }));
    }

    #[test]
    fn a_dialog_is_looked_for_here_and_else_left_to_the_peer_alone_rfc_3891() {
        let mut within = Within::new(terms());
        let dialog = "abc;to-tag=1;from-tag=2";
        let find = |within: &mut Within, to: &str| match within.handle_session(&refer(to, Some(dialog))) {
            Some(Action::Find(refer)) => refer,
            other => panic!("{other:?}"),
        };
        let to = |action| match action {
            Action::Tell(LegEvent::Transfer(wish)) => wish.to,
            other => panic!("{other:?}"),
        };
        let (call, leg) = (CallId::from_bits(1), LegId(2));
        let named = find(&mut within, "sip:x@203.0.113.1");
        assert_eq!(to(within.handle_found(&named, Some((call, leg)))), TransferTo::Partner(call, leg));
        assert_eq!(status(Some(within.handle_found(&named, None))), 404, "no host that no trunk names");
        let named = find(&mut within, "sip:x@pbx.example");
        let TransferTo::Target { target, takes_over } = to(within.handle_found(&named, None)) else {
            panic!()
        };
        assert_eq!((target.number.as_str(), takes_over.as_deref()), ("x", Some(dialog)));
    }

    #[test]
    fn keys_go_by_info_where_the_peer_wants_them_so_and_its_descriptions_name_none_then() {
        const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101 102\r\n\
                           a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 Telephone-Event/8000\r\na=fmtp:101 0-16\r\n\
                           a=rtpmap:102 telephone-event/48000\r\na=sendrecv\r\n";
        let sdp = || Box::new(SessionDescription::parse(SDP).unwrap());
        let key = DtmfDigit { digit: Digit::from_char('5').unwrap(), duration: Duration::from_millis(160) };
        let by_media = Within::new(terms());
        let by_info = Within::new(Terms { keys_by_info: true, ..terms() });
        for (mut within, expected) in [(by_media, None), (by_info, Some("0"))] {
            let mut offer = LegCommand::Offer(sdp());
            within.tailor_command(&mut offer);
            let LegCommand::Offer(offer) = offer else { panic!() };
            let formats = expected.unwrap_or("0 101 102");
            assert_eq!(offer.media[0].formats.join(" "), formats);
            assert_eq!(offer.to_string().contains("elephone-"), expected.is_none());
            let Action::Tell(LegEvent::Offer(offer)) = within.tailor_action(LegEvent::Offer(sdp()).into())
            else {
                panic!()
            };
            assert_eq!(offer.media[0].formats.join(" "), formats);
            let told = within.handle_command(&LegCommand::Dtmf(vec![key, key]));
            let is_told = matches!(told, Some(Action::Session(SessionCommand::Keys(keys))) if keys.len() == 2 && keys[0].digit == key.digit);
            assert_eq!(is_told, expected.is_some());
            // a peer that takes none with its media gets them by INFO, whatever is configured
            let mut plain = sdp();
            without_events(&mut plain);
            within.tailor_action(LegEvent::Offer(plain).into());
            assert!(within.handle_command(&LegCommand::Dtmf(vec![key])).is_some());
            // theirs are taken in any case
            let theirs = SessionEvent::Key(Key { digit: key.digit, duration: key.duration });
            let pressed = within.handle_session(&theirs);
            assert!(matches!(pressed, Some(Action::Tell(LegEvent::Pressed(k))) if k == key));
        }
    }

    #[test]
    fn a_peer_is_believed_once_and_a_number_that_it_named_keeps_its_name() {
        let policy = Arc::new(Policy { is_trusted: true, ..Policy::default() });
        let mut within = Within::new(Terms { policy, ..terms() });
        let mut says = |lines: &[(crate::sip::HeaderName, &str)]| {
            let mut headers = Headers::default();
            lines.iter().for_each(|(name, value)| headers.push(name.clone(), *value));
            match within.handle_session(&SessionEvent::Identity(Box::new(headers))) {
                Some(Action::Tell(LegEvent::Party(who))) => {
                    Some((who.shown.user, who.shown.display, who.withheld.map(|w| w.user)))
                }
                Some(Action::None) => None,
                other => panic!("{other:?}"),
            }
        };
        let of = |value: &'static str| (crate::sip::HeaderName::PAssertedIdentity, value);
        let named = |user: &str, name: &str| Some((user.to_owned(), Some(name.to_owned()), None));
        assert_eq!(says(&[of("Anna <sip:100@a>")]), named("100", "Anna"));
        assert_eq!(says(&[of("Anna <sip:100@b>")]), None);
        assert_eq!(says(&[of("<sip:100@a>")]), None);
        assert_eq!(says(&[of("Bert <sip:100@a>")]), named("100", "Bert"));
        assert_eq!(says(&[of("<sip:101@a>")]), Some(("101".into(), None, None)));
        let keep = (crate::sip::HeaderName::Privacy, "id");
        let hidden = Some(("anonymous".into(), Some("Anonymous".into()), Some("102".into())));
        assert_eq!(says(&[of("<sip:102@a>"), keep.clone()]), hidden);
        assert_eq!(says(&[of("<sip:102@a>"), keep]), None);
    }
}
