//! Requests of the far side: those of a dialog go to their session, an INVITE of none becomes one, and the rest is
//! answered.

use super::*;
use crate::sip::answer::{Answer, Body};
use crate::sip::session::Invite;
use crate::sip::{Essentials, Via};

impl Endpoint {
    pub(super) fn handle_request(
        &mut self,
        now: Instant,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
        flow: Flow,
        invite: Option<TransactionId>,
    ) {
        if request.method == Method::CANCEL {
            return self.handle_cancel(now, id, request, invite);
        }
        if e.to.tag().is_some() {
            return match self.session_of(e) {
                Some(session) => {
                    self.with_session(now, session, |s| s.handle_request(now, id, request, e));
                }
                None => self.respond(now, id, request, &Answer::new(StatusCode::NO_SUCH_CALL)),
            };
        }
        let answer = match answer::check_served(request, self.config.handler.serves()) {
            Some(refusal) => refusal,
            None => match request.method {
                // RFC 3261 §11.2: as an INVITE would be answered now
                Method::OPTIONS => self.drained(now).unwrap_or_else(answer::options),
                // they live in dialogs alone
                Method::BYE | Method::INFO | Method::UPDATE | Method::PRACK => {
                    Answer::new(StatusCode::NO_SUCH_CALL)
                }
                Method::INVITE => match self.handle_invite(now, id, request, e, flow) {
                    Some(refusal) => refusal,
                    None => return,
                },
                _ => match self.config.handler.handle(now, request, &flow) {
                    Verdict::Answer(answer) => answer,
                    // only an INVITE makes a session
                    Verdict::Accept(_) => Answer::new(StatusCode::SERVER_ERROR),
                },
            },
        };
        self.respond(now, id, request, &answer);
    }

    /// A CANCEL is answered for itself, with the tag of the INVITE's answers (RFC 3261 §9.2).
    fn handle_cancel(
        &mut self,
        now: Instant,
        id: TransactionId,
        request: &Request,
        invite: Option<TransactionId>,
    ) {
        let Some(invite) = invite else {
            return self.respond(now, id, request, &Answer::new(StatusCode::NO_SUCH_CALL));
        };
        let session = self.invites.get(&invite).map(|asked| asked.session);
        match session.and_then(|s| self.sessions.get(&s)).map(|live| live.session.local_tag().to_owned()) {
            Some(tag) => self.respond_as(now, id, request, &Answer::new(StatusCode::OK), &tag),
            None => self.respond(now, id, request, &Answer::new(StatusCode::OK)),
        }
        if let Some(session) = session {
            self.with_session(now, session, |s| s.handle_cancel(invite, request));
        }
    }

    /// An INVITE of no dialog: it becomes a session, or this is what it hears.
    fn handle_invite(
        &mut self,
        now: Instant,
        id: TransactionId,
        request: &Request,
        e: &Essentials,
        flow: Flow,
    ) -> Option<Answer> {
        let vias = request.headers.vias().unwrap_or_default();
        let targets =
            vias.iter().filter_map(Via::branch).filter_map(|branch| self.layer.invite_target(branch));
        // a proxy that sends ours back for another number makes a spiral, and no loop (RFC 3261 §16.3 step 4)
        let is_loop = targets.into_iter().any(|target| is_same_number(target, &request.uri));
        // one that came to us by two ways rings once (RFC 3261 §8.2.2.2); one that was
        // refused may come again with the same number, as some clients do with their credentials
        if is_loop || self.merged.contains(&merge_key(e)) {
            return Some(Answer::new(StatusCode::LOOP_DETECTED));
        }
        if let Some(refusal) = self.drained(now) {
            return Some(refusal);
        }
        if self.is_full() {
            return Some(Answer::new(StatusCode::SERVICE_UNAVAILABLE));
        }
        let acceptance = match self.config.handler.handle(now, request, &flow) {
            Verdict::Answer(answer) => return Some(answer),
            Verdict::Accept(acceptance) => acceptance,
        };
        if let Some(refusal) = acceptance.timers.refusal(request) {
            return Some(refusal);
        }
        let is_sips = wants_sips(request);
        if is_sips && !flow.transport.is_secure() {
            return Some(Answer {
                phrase: Some("sips Needs TLS".to_owned()),
                ..Answer::new(StatusCode::FORBIDDEN)
            });
        }
        self.layer.trust(id);
        let agent = self.config.agent.clone();
        let external = acceptance.external;
        let end = LocalEnd { flow, external, contact_user: request.uri.user_text(), agent, is_sips };
        let invite = Invite {
            id,
            request: Box::new(request.clone()),
            essentials: Box::new(e.clone()),
            credentials: acceptance.credentials,
            stays_on_flow: acceptance.stays_on_flow,
            timers: acceptance.timers,
        };
        let session = Session::accept(now, end, invite, self.config.layer.timings, self.seed.fork());
        let session = match session {
            Ok(session) => self.insert(session, flow.path.remote),
            Err(why) => {
                return Some(Answer {
                    phrase: Some(why.to_string()),
                    ..Answer::new(StatusCode::BAD_REQUEST)
                });
            }
        };
        let key = merge_key(e);
        self.merged.insert(key.clone());
        self.invites.insert(id, Asked { key, session });
        let invite = IncomingInvite {
            owner: acceptance.owner,
            uri: request.uri.clone(),
            from: e.from.clone(),
            to: e.to.clone(),
            headers: request.headers.clone(),
            body: Body::of(&request.headers, &request.body).filter(Body::is_sdp),
            flow,
        };
        self.outputs.push_back(Output::Incoming { session, invite: Box::new(invite) });
        self.settle(now, session);
        None
    }

    /// What asks for a call hears while there are none to be had.
    fn drained(&self, now: Instant) -> Option<Answer> {
        self.drains_until.map(|until| answer::out_of_service(until.saturating_duration_since(now)))
    }

    fn respond(&mut self, now: Instant, id: TransactionId, request: &Request, answer: &Answer) {
        let tag = self.seed.token(16);
        self.respond_as(now, id, request, answer, &tag);
    }

    fn respond_as(&mut self, now: Instant, id: TransactionId, request: &Request, answer: &Answer, tag: &str) {
        let mut response = answer.to(request, Some(tag));
        response.headers.push(HeaderName::Server, self.config.agent.clone());
        self.layer.respond(now, id, &response);
    }
}

/// Whether what asks for a call wants TLS on every hop (RFC 3261 §12.1.1): by its Request-URI, by the proxy that is the
/// next hop of the dialog, or where there is none by its Contact.
fn wants_sips(request: &Request) -> bool {
    let is_sips = |uri: &Uri| uri.sip().is_some_and(|uri| uri.is_secure);
    let first = |name| request.headers.routes(name).ok()?.into_iter().next().map(|r| r.uri);
    let contact = || request.headers.contacts().ok()?.into_iter().next().map(|c| c.uri);
    is_sips(&request.uri)
        || first(&HeaderName::RecordRoute).or_else(contact).is_some_and(|next| is_sips(&next))
}

/// Whether two URIs mean the same number here, whatever hosts they name.
fn is_same_number(a: &Uri, b: &Uri) -> bool {
    match (a.user_text(), b.user_text()) {
        (Some(a), Some(b)) => a == b,
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn merge_key(e: &Essentials) -> MergeKey {
    (e.call_id.clone(), e.from.tag().unwrap_or_default().to_owned(), e.cseq.number)
}
