//! Refreshes of the session timer (RFC 4028 §7.4, §10): UPDATE without an offer where the far side takes it, else a
//! re-INVITE that offers what stands, with the same version, so that nothing changes by it.
//!
//! And who the far side talks to, by UPDATE alone: no media is offered anew for a name.

use super::super::line::{Line, is_challenge};
use super::super::timer::Due;
use super::super::{SessionEvent, Ticket};
use super::{Bye, Confirmed, MAX_TRIES, Ours};
use crate::sip::answer::Body;
use crate::sip::{Header, Method, Request, Response, StatusCode};
use std::time::Instant;

/// An UPDATE of ours that is out.
#[derive(Debug)]
pub(super) struct Update {
    ticket: Ticket,
    request: Box<Request>,
    /// What it says of who the far side talks to; it is no refresh then, though it counts as one.
    identity: Vec<Header>,
}

impl Confirmed {
    /// What the session timer wants now.
    pub(super) fn keep_session(&mut self, now: Instant, line: &mut Line) {
        if !line.is_live() {
            return;
        }
        match line.timer.handle_timeout(now) {
            Some(Due::Bye) => self.lost(now, line, "session timer expired"),
            Some(Due::Refresh) => self.refresh(now, line),
            Some(Due::Question) => self.ask(line),
            None => {}
        }
    }

    /// Sends a refresh, unless an INVITE of ours is out, which is one; what cannot go now is due again.
    fn refresh(&mut self, now: Instant, line: &mut Line) {
        if self.update.is_some() || self.ours.is_some() {
            return;
        }
        line.begin_digest();
        if line.timer.takes_update {
            return self.send_update(line, Vec::new(), Vec::new());
        }
        if self.theirs.is_none()
            && let Some(body) = line.description.clone()
        {
            // it does not go again after a glare: its next time comes anyway
            self.send_offer(now, line, body, MAX_TRIES, Vec::new());
            if let Some(Ours::Sent(sent)) = &mut self.ours {
                sent.is_refresh = true;
            }
        }
    }

    /// Who the far side talks to, for the next UPDATE.
    pub(in super::super) fn identify(&mut self, line: &mut Line, identity: Vec<Header>) {
        self.identity = Some(identity);
        self.send_identity(line);
    }

    /// Says who the far side talks to, once nothing else is under way: of two requests by UDP the second may come first, and
    /// be refused for its number (RFC 3261 §12.2.2).
    pub(in super::super) fn send_identity(&mut self, line: &mut Line) {
        let is_open = self.update.is_some() || self.ours.is_some() || self.theirs.is_some();
        if is_open || line.early.is_offering() || line.errands.is_busy() || !line.is_live() {
            return;
        }
        if let Some(identity) = self.identity.take()
            && line.timer.takes_update
        {
            line.begin_digest();
            self.send_update(line, Vec::new(), identity);
        }
    }

    fn send_update(&mut self, line: &mut Line, credentials: Vec<Header>, identity: Vec<Header>) {
        let mut r = line.request(&mut self.dialog, Method::UPDATE);
        line.push_capabilities(&mut r.headers);
        line.timer.ask(&mut r.headers);
        identity.iter().cloned().chain(credentials).for_each(|h| r.headers.push_header(h));
        let flow = line.flow_of(&self.dialog);
        let ticket = line.start(r.clone(), flow);
        self.update = Some(Update { ticket, request: Box::new(r), identity });
    }

    /// A response to our UPDATE; false when it is to none.
    pub(super) fn handle_update_response(
        &mut self,
        now: Instant,
        line: &mut Line,
        ticket: Ticket,
        response: &Response,
    ) -> bool {
        let Some(update) = self.take_update(ticket) else { return false };
        let status = response.status;
        if status.is_provisional() {
            self.update = Some(update);
        } else if !line.is_live() {
            // it comes too late to matter
        } else if status.is_success() {
            self.dialog.refresh_target(&response.headers);
            line.timer.answered(now, &response.headers);
        } else if is_challenge(status) && line.is_home(&line.flow_of(&self.dialog)) {
            let uri = update.request.uri.to_string();
            if let Ok(credentials) = line.credentials(response, &update.request, &uri) {
                self.send_update(line, credentials, update.identity);
            }
        } else {
            self.handle_update_failure(now, line, update.identity, response);
        }
        true
    }

    fn handle_update_failure(
        &mut self,
        now: Instant,
        line: &mut Line,
        identity: Vec<Header>,
        response: &Response,
    ) {
        match response.status {
            StatusCode::SESSION_INTERVAL_TOO_SMALL if line.timer.raise(&response.headers) => {
                line.begin_digest();
                self.send_update(line, Vec::new(), identity);
            }
            // it does not take what its Allow names
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                line.timer.takes_update = false;
                if identity.is_empty() {
                    self.refresh(now, line);
                }
            }
            // RFC 3261 §12.2.1.2
            StatusCode::REQUEST_TIMEOUT | StatusCode::NO_SUCH_CALL => {
                self.lost(now, line, "the far side knows nothing of the call");
            }
            _ => {}
        }
    }

    /// Our UPDATE got no final response: whoever takes it does answer (RFC 4028 §10, RFC 3261 §12.2.1.2). RFC 3261
    /// §12.2.1.2 not followed for a name, which is no reason to end a call.
    pub(super) fn handle_update_timeout(&mut self, now: Instant, line: &mut Line, ticket: Ticket) {
        let update = self.take_update(ticket);
        if update.is_some_and(|update| update.identity.is_empty()) && self.bye == Bye::None {
            self.lost(now, line, "no answer to a refresh");
        }
    }

    /// Our UPDATE could not even start; it is due again.
    pub(super) fn handle_update_refused(&mut self, ticket: Ticket) {
        self.take_update(ticket);
    }

    /// A re-INVITE of ours is through: what became of a mere refresh is no news, but an offer of the user that waited
    /// for it goes now.
    pub(super) fn settled(
        &mut self,
        now: Instant,
        line: &mut Line,
        next: Option<Body>,
        is_refresh: bool,
        event: SessionEvent,
    ) {
        if !is_refresh {
            line.tell(event);
        }
        if let Some(body) = next
            && line.is_live()
        {
            self.offer(now, line, body);
        }
    }

    fn take_update(&mut self, ticket: Ticket) -> Option<Update> {
        if self.update.as_ref().is_some_and(|u| u.ticket == ticket) { self.update.take() } else { None }
    }
}
