//! What we say within a call beside offers: keys (INFO), what becomes of a transfer (NOTIFY), and the question whether the
//! far side still knows it (OPTIONS). One at a time: the far side takes numbers in order alone (RFC 3261 §12.2.2), and
//! datagrams overtake each other.
//!
//! Keys go in early dialogs, too (RFC 6086 §4.2.1). What is out or waits when the call is answered goes on in `confirmed`.

use super::super::answer::Body;
use super::super::dialog::Dialog;
use super::super::{Header, HeaderName, Key, Method, NameAddr, Request, Response};
use super::line::{Line, is_challenge};
use super::{SessionTimer, Ticket};
use std::collections::VecDeque;
use std::time::Instant;

/// Most that may wait; a far side that answers none of them is told no more.
const MAX_WAITING: usize = 64;

/// Something to say.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) method: Method,
    pub(super) headers: Vec<Header>,
    pub(super) body: Option<Body>,
}

impl Errand {
    /// A key.
    pub(super) fn key(key: &Key) -> Self {
        Self { method: Method::INFO, headers: Vec::new(), body: Some(key.body()) }
    }
}

#[derive(Debug)]
struct Out {
    ticket: Ticket,
    request: Box<Request>,
    errand: Errand,
    /// The far side's tag in its dialog.
    tag: String,
}

/// What is said and what waits.
#[derive(Debug, Default)]
pub(super) struct Errands {
    waiting: VecDeque<Errand>,
    out: Option<Out>,
    /// So long a BYE waits for them.
    until: Option<Instant>,
    /// Questions that got no answer, one after the other.
    pub(super) unanswered: u32,
}

impl Errands {
    pub(super) const fn is_busy(&self) -> bool {
        self.out.is_some()
    }

    /// The far side's tag of the dialog in which one is out.
    pub(super) fn out_to(&self) -> Option<&str> {
        self.out.as_ref().map(|out| out.tag.as_str())
    }

    /// The dialog with this tag is that of the call: what was for another one is nobody's any more.
    pub(super) fn keep_to(&mut self, remote_tag: &str) {
        if self.out_to().is_some_and(|tag| tag != remote_tag) {
            self.clear();
        }
    }

    /// Nothing more is said, and no answer is awaited.
    pub(super) fn clear(&mut self) {
        (self.out, self.waiting) = (None, VecDeque::new());
    }

    pub(super) const fn wait_until(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Nothing more is said, and no BYE waits for it.
    pub(super) fn drop_waiting(&mut self) {
        self.waiting.clear();
        self.until = None;
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    pub(super) fn poll_timeout(&self) -> Option<(Instant, SessionTimer)> {
        self.until.map(|until| (until, SessionTimer::LastWords))
    }

    /// One of them came to nothing: what it was; none when it was none.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Method> {
        self.out.take_if(|out| out.ticket == ticket).map(|out| out.errand.method)
    }
}

/// What a response to one of them says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing yet, or it went again with credentials.
    Pending,
    /// It is the final answer to one of this method.
    Final(Method),
}

/// Says something in a dialog, after what waits.
pub(super) fn run(line: &mut Line, dialog: &mut Dialog, errand: Errand) {
    if line.errands.waiting.len() < MAX_WAITING {
        line.errands.waiting.push_back(errand);
    }
    next(line, dialog);
}

/// Says what waits, unless something is out; false when nothing waits.
pub(super) fn next(line: &mut Line, dialog: &mut Dialog) -> bool {
    if line.errands.out.is_none() {
        let Some(errand) = line.errands.waiting.pop_front() else { return false };
        line.begin_digest();
        send(line, dialog, errand, Vec::new());
    }
    true
}

fn send(line: &mut Line, dialog: &mut Dialog, errand: Errand, credentials: Vec<Header>) {
    let mut r = line.request(dialog, errand.method.clone());
    r.headers.push(HeaderName::Contact, NameAddr::new(line.end.contact()).to_string());
    errand.headers.iter().cloned().chain(credentials).for_each(|h| r.headers.push_header(h));
    if let Some(body) = &errand.body {
        r.headers.push(HeaderName::ContentType, body.content_type.clone());
        r.body = body.bytes.clone();
    }
    let flow = line.flow_of(dialog);
    let ticket = line.start(r.clone(), flow);
    let tag = dialog.remote_tag().to_owned();
    line.errands.out = Some(Out { ticket, request: Box::new(r), errand, tag });
}

/// A response to one of them; none when it is to none.
pub(super) fn hear(
    line: &mut Line,
    dialog: &mut Dialog,
    ticket: Ticket,
    response: &Response,
) -> Option<Heard> {
    let out = line.errands.out.take_if(|out| out.ticket == ticket)?;
    if response.status.is_provisional() {
        line.errands.out = Some(out);
        return Some(Heard::Pending);
    }
    if is_challenge(response.status) && !line.is_over() && line.is_home(&line.flow_of(dialog)) {
        let uri = out.request.uri.to_string();
        if let Ok(credentials) = line.credentials(response, &out.request, &uri) {
            send(line, dialog, out.errand, credentials);
            return Some(Heard::Pending);
        }
    }
    Some(Heard::Final(out.errand.method))
}

/// A response to one of them in an early dialog; false when it is to none. A refusal ends nothing: what becomes of the
/// call the answer to the INVITE says.
pub(super) fn hear_early(line: &mut Line, dialog: &mut Dialog, ticket: Ticket, response: &Response) -> bool {
    let Some(heard) = hear(line, dialog, ticket, response) else { return false };
    if heard != Heard::Pending && line.is_live() {
        next(line, dialog);
    }
    true
}

/// One of them in an early dialog got no answer, or could not even start; false when it was none. What waits behind it
/// would get none either.
pub(super) fn fail_early(line: &mut Line, ticket: Ticket) -> bool {
    let is_its = line.errands.take(ticket).is_some();
    if is_its {
        line.errands.clear();
    }
    is_its
}
