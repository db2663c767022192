//! Offers in an early dialog (RFC 3262 §5, RFC 3311 §5, RFC 6337 §3.1): theirs in UPDATE or PRACK, held for the user, and
//! ours in UPDATE. They may come once the first offer has its answer for good: in a reliable provisional response with
//! its PRACK or, where that response brought our offer, in the PRACK.
//!
//! One of each side is open at a time. What of theirs is open when our call is answered goes on in `confirmed`; our 2xx
//! waits for the answer to what of theirs is open. Left out: offers of ours in PRACK, where an UPDATE does the same.

use super::super::answer::{self, Answer, Body};
use super::super::dialog::Dialog;
use super::super::transaction::TransactionId;
use super::super::{Header, HeaderName, Headers, Method, Request, Response, StatusCode};
use super::client::MAX_FORKS;
use super::identity;
use super::line::{Line, is_challenge};
use super::update;
use super::{SessionEvent, SessionTimer, Ticket, sdp_of};
use std::time::Instant;

/// An offer of theirs that the user has to answer.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: TransactionId,
    pub(super) seq: u32,
    pub(super) request: Box<Request>,
    pub(super) until: Instant,
    /// The far side's tag in its dialog.
    tag: String,
}

/// An UPDATE of ours that is out.
#[derive(Debug)]
struct Ours {
    ticket: Ticket,
    request: Box<Request>,
    body: Body,
    /// The far side's tag in its dialog.
    tag: String,
}

/// The offers of a session's early dialogs.
#[derive(Debug, Default)]
pub(super) struct Offers {
    ours: Option<Ours>,
    theirs: Option<Asked>,
    /// What was described last in each dialog, by the far side's tag, and where that was last of all at the end.
    described: Vec<Described>,
}

/// What was described in an early dialog.
#[derive(Debug)]
struct Described {
    tag: String,
    /// The far side. None: its answer to a further offer of ours had none that can be read.
    body: Option<Body>,
    /// Our end, once a further offer was answered: what a response to the INVITE says means nothing there any more (RFC 3261
    /// §13.2.1).
    ours: Option<Body>,
}

impl Offers {
    /// Whether one of theirs waits for the user.
    pub(super) const fn is_asked(&self) -> bool {
        self.theirs.is_some()
    }

    /// Whether one of ours has no answer.
    pub(super) const fn is_offering(&self) -> bool {
        self.ours.is_some()
    }

    /// The far side's tag of the dialog in which one of theirs is open.
    pub(super) fn asked_by(&self) -> Option<&str> {
        self.theirs.as_ref().map(|asked| asked.tag.as_str())
    }

    /// The far side's tag of the dialog in which one of ours is open.
    pub(super) fn offered_to(&self) -> Option<&str> {
        self.ours.as_ref().map(|ours| ours.tag.as_str())
    }

    /// Whether a further offer was answered in the dialog with this tag.
    pub(super) fn has_changed(&self, remote_tag: &str) -> bool {
        self.described.iter().any(|d| d.ours.is_some() && d.tag == remote_tag)
    }

    /// The far side with this tag has described itself in a response to the INVITE.
    pub(super) fn note(&mut self, tag: &str, body: &Body) {
        self.put(Described { tag: tag.to_owned(), body: Some(body.clone()), ours: None });
    }

    fn put(&mut self, described: Described) {
        self.described.retain(|d| d.tag != described.tag);
        if self.described.len() >= MAX_FORKS {
            self.described.remove(0);
        }
        self.described.push(described);
    }

    /// What the far side with this tag has described, where another has done so since: it is who answers that is heard, not
    /// who rang beside it.
    pub(super) fn take_superseded(&mut self, tag: &str) -> Option<Body> {
        let at = self.described.iter().position(|d| d.tag == tag)?;
        let is_last = at.saturating_add(1) == self.described.len();
        self.described.get_mut(at).filter(|_| !is_last).and_then(|d| d.body.take())
    }

    /// What the far side with this tag knows of us by a further offer.
    pub(super) fn take_ours(&mut self, tag: &str) -> Option<Body> {
        self.described.iter_mut().find(|d| d.tag == tag).and_then(|d| d.ours.take())
    }

    /// What of theirs is open in the dialog with this tag, for who answers it from here on.
    pub(super) fn take_asked(&mut self, remote_tag: &str) -> Option<Asked> {
        self.theirs.take_if(|asked| asked.tag == remote_tag)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        self.theirs.as_ref().map(|asked| (asked.until, SessionTimer::OfferLimit))
    }
}

/// An UPDATE or a PRACK with an offer, where the first offer of its dialog has its answer for good: it is held for the
/// user, or this is what it hears at once (RFC 3311 §5.2).
pub(super) fn ask(
    now: Instant,
    line: &mut Line,
    dialog: &Dialog,
    id: TransactionId,
    request: &Request,
) -> Option<Answer> {
    if line.early.is_asked() {
        return Some(answer::try_later(&mut line.seed));
    }
    if line.early.is_offering() {
        return Some(Answer::new(StatusCode::REQUEST_PENDING));
    }
    let seq = request.headers.cseq().map_or(0, |c| c.number);
    // who sent it is told before he gives up waiting (RFC 3261 §17.1.2.2 timer F)
    let until = now + line.timings.give_up() / 2;
    let tag = dialog.remote_tag().to_owned();
    line.early.theirs = Some(Asked { id, seq, request: Box::new(request.clone()), until, tag });
    identity::tell(line, &request.headers);
    line.tell(SessionEvent::Offer { body: sdp_of(&request.headers, &request.body) });
    None
}

/// The user's answer to theirs: 200 to the UPDATE, which moves the target, or to the PRACK.
pub(super) fn answer(now: Instant, line: &mut Line, dialog: &mut Dialog, body: Body) {
    let Some(asked) = line.early.take_asked(dialog.remote_tag()) else { return };
    line.description = Some(body.clone());
    let described = sdp_of(&asked.request.headers, &asked.request.body);
    line.early.put(Described { tag: asked.tag, body: described, ours: Some(body.clone()) });
    if asked.request.method == Method::UPDATE {
        dialog.refresh_target(&asked.request.headers);
        return update::answer(now, line, asked.id, &asked.request, Some(body));
    }
    let answer = Answer { body: Some(body), ..Answer::new(StatusCode::OK) };
    line.respond_to(asked.id, &asked.request, &answer);
}

/// A failure to theirs: the session stays as it was. A PRACK counts all the same.
///
/// RFC 3262 §3 not followed: a PRACK that acknowledges something has a 2xx, and so an answer, whatever it offers. That answer
/// could only refuse the media which is there (port 0), for one codec that is not.
pub(super) fn refuse(line: &mut Line, answer: &Answer) {
    if let Some(asked) = line.early.theirs.take() {
        line.respond_to(asked.id, &asked.request, answer);
    }
}

/// The call was answered in the dialog with this tag: what was offered in another means nothing any more.
pub(super) fn keep_to(line: &mut Line, tag: &str) {
    refuse(line, &Answer::new(StatusCode::NO_SUCH_CALL));
    if line.early.ours.take_if(|ours| ours.tag != tag).is_some() {
        line.tell(SessionEvent::OfferRefused { status: StatusCode::NO_SUCH_CALL });
    }
}

/// The clock: theirs had no answer of the user's in time. True when it is so.
pub(super) fn handle_timeout(now: Instant, line: &mut Line) -> bool {
    let is_late = line.early.theirs.as_ref().is_some_and(|asked| asked.until <= now);
    if is_late {
        refuse(line, &Answer::new(StatusCode::SERVER_TIMEOUT));
    }
    is_late
}

/// Ours, by UPDATE in this dialog; none: there is no dialog whose first offer has its answer for good.
pub(super) fn offer(line: &mut Line, dialog: Option<&mut Dialog>, takes_update: bool, body: Body) {
    let is_open = line.early.is_offering() || line.early.is_asked();
    match dialog {
        Some(dialog) if takes_update && !is_open => {
            line.begin_digest();
            send(line, dialog, body, Vec::new());
        }
        _ => line.tell(super::TOO_EARLY),
    }
}

fn send(line: &mut Line, dialog: &mut Dialog, body: Body, credentials: Vec<Header>) {
    let mut r = line.request(dialog, Method::UPDATE);
    line.push_capabilities(&mut r.headers);
    credentials.into_iter().for_each(|h| r.headers.push_header(h));
    r.headers.push(HeaderName::ContentType, body.content_type.clone());
    r.body = body.bytes.clone();
    let flow = line.flow_of(dialog);
    let ticket = line.start(r.clone(), flow);
    let tag = dialog.remote_tag().to_owned();
    line.early.ours = Some(Ours { ticket, request: Box::new(r), body, tag });
}

/// A response to our UPDATE, in its dialog, unless that is gone; false when it is to none.
pub(super) fn handle_response(
    line: &mut Line,
    dialog: Option<&mut Dialog>,
    ticket: Ticket,
    response: &Response,
) -> bool {
    if response.status.is_provisional() {
        return line.early.ours.as_ref().is_some_and(|ours| ours.ticket == ticket);
    }
    let Some(ours) = line.early.ours.take_if(|ours| ours.ticket == ticket) else { return false };
    let status = response.status;
    if status.is_success() {
        dialog.into_iter().for_each(|dialog| dialog.refresh_target(&response.headers));
        line.description = Some(ours.body.clone());
        let body = sdp_of(&response.headers, &response.body);
        line.early.put(Described { tag: ours.tag, body: body.clone(), ours: Some(ours.body) });
        line.tell(SessionEvent::OfferAnswered { body });
        return true;
    }
    if let Some(dialog) = dialog
        && is_challenge(status)
        && line.is_live()
        && line.is_home(&line.flow_of(dialog))
        && let Ok(credentials) = line.credentials(response, &ours.request, &ours.request.uri.to_string())
    {
        send(line, dialog, ours.body, credentials);
    } else {
        line.tell(SessionEvent::OfferRefused { status });
    }
    true
}

/// Our UPDATE got no final response, or could not even start; false when it is another request.
pub(super) fn handle_failure(line: &mut Line, ticket: Ticket) -> bool {
    let is_ours = line.early.ours.take_if(|ours| ours.ticket == ticket).is_some();
    if is_ours {
        line.tell(SessionEvent::OfferRefused { status: StatusCode::REQUEST_TIMEOUT });
    }
    is_ours
}

/// Whether who sent this takes UPDATE (RFC 3311 §5.1); none: it does not say.
pub(super) fn takes_update(headers: &Headers) -> Option<bool> {
    let is_named = || headers.tokens(&HeaderName::Allow).iter().any(|m| m.eq_ignore_ascii_case("UPDATE"));
    (headers.count(&HeaderName::Allow) > 0).then(is_named)
}
