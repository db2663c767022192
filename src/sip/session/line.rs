//! What a session has from its first message to its last: our end, randomness, credentials, the requests that
//! are out, and the one terminal event.

use super::super::answer::{self, Answer, Body};
use super::super::dialog::{Dialog, LocalEnd};
use super::super::digest::{Credentials, DigestClient, DigestError};
use super::super::transaction::{Timings, TransactionId};
use super::super::{
    CSeq, Flow, Header, HeaderName, Headers, Hop, MAGIC_COOKIE, Method, NameAddr, Reason, Request, Response,
    StatusCode, TlsPeer, Transport,
};
use super::early::{self, Offers};
use super::errands::Errands;
use super::prack;
use super::timer::{Timer, TimerRules};
use super::{CallFailure, SessionEvent, SessionOutput, Ticket};
use crate::base::Seed;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) end: LocalEnd,
    pub(super) timings: Timings,
    pub(super) seed: Seed,
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) digest: Option<DigestClient>,
    /// Set when we hang up: the reason we give.
    pub(super) hangup: Option<Option<Reason>>,
    /// Why the call failed by our own decision; told when it is over.
    pub(super) failure: Option<CallFailure>,
    /// The session timer.
    pub(super) timer: Timer,
    /// Our description as it stands, for a refresh that changes nothing.
    pub(super) description: Option<Body>,
    /// Offers in early dialogs.
    pub(super) early: Offers,
    /// What is said within the call.
    pub(super) errands: Errands,
    stays_on_flow: bool,
    /// The call goes by a connection that the far side has made, and that is open. Its requests go that way: the far
    /// side is known to be there, may be behind NAT (RFC 5626 §5.3), and may have no certificate that a connection of
    /// ours would make sure of.
    has_connection: bool,
    /// Nobody stands between us and the far side: one Via in its INVITE, no Route in ours.
    pub(super) is_direct: bool,
    open: BTreeSet<Ticket>,
    next_ticket: u32,
    is_over: bool,
    is_done: bool,
    outputs: VecDeque<SessionOutput>,
}

impl Line {
    pub(super) fn new(
        end: LocalEnd,
        timings: Timings,
        mut seed: Seed,
        credentials: Option<Credentials>,
        stays_on_flow: bool,
        timers: TimerRules,
    ) -> Self {
        Self {
            has_connection: end.flow.transport == Transport::Tls(TlsPeer::ANY),
            local_tag: seed.token(16),
            call_id: seed.token(32),
            end,
            timings,
            seed,
            digest: credentials.map(DigestClient::new),
            hangup: None,
            failure: None,
            timer: Timer::new(timers),
            description: None,
            early: Offers::default(),
            errands: Errands::default(),
            stays_on_flow,
            is_direct: false,
            open: BTreeSet::new(),
            next_ticket: 0,
            is_over: false,
            is_done: false,
            outputs: VecDeque::new(),
        }
    }

    /// Whether the terminal event is out; transactions linger.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether nobody has asked for its end.
    pub(super) const fn is_live(&self) -> bool {
        self.hangup.is_none() && !self.is_over
    }

    pub(super) fn poll_output(&mut self) -> Option<SessionOutput> {
        self.outputs.pop_front()
    }

    /// A branch of a new transaction.
    pub(super) fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", self.seed.token(20))
    }

    /// The next request of a dialog.
    pub(super) fn request(&mut self, dialog: &mut Dialog, method: Method) -> Request {
        let branch = self.branch();
        dialog.request(method, &self.end, &branch)
    }

    /// Sends in a transaction.
    pub(super) fn start(&mut self, mut request: Request, flow: Flow) -> Ticket {
        if flow.transport != self.end.flow.transport {
            request.go_by(flow.transport);
        }
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.open.insert(ticket);
        self.outputs.push_back(SessionOutput::Start { ticket, request: Box::new(request), flow });
        ticket
    }

    /// Sends without one (an ACK).
    pub(super) fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.outputs.push_back(SessionOutput::Send { flow, bytes });
    }

    /// Answers a request; the answer needs nothing of ours.
    pub(super) fn respond_to(&mut self, id: TransactionId, request: &Request, answer: &Answer) {
        let mut response = answer.to(request, Some(&self.local_tag));
        response.headers.push(HeaderName::Server, self.end.agent.clone());
        self.respond(id, response);
    }

    /// Answers an INVITE. What may make a dialog carries Contact, and what we can do (RFC 3261 §12.1.1,
    /// §13.3.1).
    pub(super) fn invite_response(&self, request: &Request, answer: &Answer) -> Response {
        let mut response = answer.to(request, Some(&self.local_tag));
        if response.status != StatusCode::TRYING && !response.status.is_failure() {
            self.push_capabilities(&mut response.headers);
        }
        response.headers.push(HeaderName::Server, self.end.agent.clone());
        response
    }

    pub(super) fn respond(&mut self, id: TransactionId, response: Response) {
        self.outputs.push_back(SessionOutput::Respond { id, response: Box::new(response) });
    }

    /// Contact, and what we can do: for an INVITE and its answers.
    pub(super) fn push_capabilities(&self, headers: &mut Headers) {
        headers.push_printed(HeaderName::Contact, &NameAddr::new(self.end.contact()));
        headers.push(HeaderName::Allow, answer::ALLOW);
        headers.push(HeaderName::Accept, answer::ACCEPT);
        headers.push(HeaderName::Supported, self.supported(false));
    }

    /// The extensions that we know, reliable provisional responses among them or not.
    pub(super) fn supported(&self, is_reliable: bool) -> String {
        let reliable = if is_reliable { prack::TAG } else { "" };
        let all = [reliable, "norefersub", "replaces", self.timer.supported()];
        all.into_iter().filter(|tag| !tag.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// The ACK of a 2xx, with the credentials of the INVITE (RFC 3261 §22.1), and where it goes.
    pub(super) fn ack(&mut self, dialog: &Dialog, invite: &Request) -> (Flow, Bytes) {
        let number = invite.headers.cseq().map_or(0, |c| c.number);
        let branch = self.branch();
        let mut ack = dialog.ack(number, &self.end, &branch);
        let flow = self.flow_of(dialog);
        if self.is_home(&flow) {
            credentials_of(invite).for_each(|h| ack.headers.push_header(h.clone()));
        }
        if flow.transport != self.end.flow.transport {
            ack.go_by(flow.transport);
        }
        (flow, ack.to_bytes())
    }

    /// The CANCEL of an INVITE: everything of it, its branch too (RFC 3261 §9.1).
    pub(super) fn cancel(&self, invite: &Request) -> Request {
        let mut r = Request::new(Method::CANCEL, invite.uri.clone());
        for h in invite.headers.iter() {
            match h.name() {
                HeaderName::Via
                | HeaderName::From
                | HeaderName::To
                | HeaderName::CallId
                | HeaderName::MaxForwards
                | HeaderName::Route => r.headers.push_header(h.clone()),
                HeaderName::CSeq => {
                    let number = invite.headers.cseq().map_or(0, |c| c.number);
                    let cseq = CSeq { number, method: Method::CANCEL };
                    r.headers.push(HeaderName::CSeq, cseq.to_string());
                }
                _ => {}
            }
        }
        self.push_reason(&mut r);
        r
    }

    pub(super) fn push_reason(&self, request: &mut Request) {
        if let Some(Some(reason)) = &self.hangup {
            request.headers.push(HeaderName::Reason, reason.to_string());
        }
    }

    /// A new request begins: it may be challenged.
    pub(super) fn begin_digest(&mut self) {
        if let Some(digest) = &mut self.digest {
            digest.begin();
        }
    }

    /// The credentials for the next try of a challenged request: those it had, and those it was asked for.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn credentials(
        &mut self,
        challenge: &Response,
        challenged: &Request,
        uri: &str,
    ) -> Result<Vec<Header>, DigestError> {
        let cnonce = self.seed.token(16);
        let digest = self.digest.as_mut().ok_or(DigestError::NoCredentials)?;
        let had: Vec<Header> = credentials_of(challenged).cloned().collect();
        digest.answer(challenge, &had, &challenged.method, uri, &cnonce)
    }

    /// The call goes by a connection that the far side has made.
    pub(super) const fn stay_on_connection(&mut self) {
        self.has_connection = true;
    }

    /// A connection was closed.
    pub(super) fn handle_closed(&mut self, hop: Hop) {
        self.has_connection &= self.end.flow.hop() != hop;
    }

    /// Where requests of a dialog go.
    pub(super) fn flow_of(&self, dialog: &Dialog) -> Flow {
        let hop = (!self.stays_on_flow).then(|| dialog.next_hop(&self.end.flow)).flatten();
        let hop = hop.filter(|hop| !(self.has_connection && self.is_by_connection(dialog, *hop)));
        hop.map_or(self.end.flow, |hop| self.end.flow.towards(hop))
    }

    /// Whether the far side's connection leads to where a request of the dialog is to go: to who made it, whatever
    /// address he says that he has, and not to anybody behind him or beside him. By TLS all of the dialog goes there.
    fn is_by_connection(&self, dialog: &Dialog, hop: Hop) -> bool {
        let Flow { transport, path } = self.end.flow;
        let is_peer = if dialog.is_routed() { hop.address.ip() == path.remote.ip() } else { self.is_direct };
        transport.is_secure() || (is_peer && hop.transport == transport)
    }

    /// Whether a flow leads to the peer that the credentials are for; a Contact may name any other host.
    pub(super) fn is_home(&self, flow: &Flow) -> bool {
        flow.path.remote.ip() == self.end.flow.path.remote.ip()
    }

    /// Forgets a client INVITE without a word.
    pub(super) fn abandon(&mut self, ticket: Ticket) {
        self.outputs.push_back(SessionOutput::Abandon(ticket));
    }

    /// A client INVITE goes no more.
    pub(super) fn hush(&mut self, ticket: Ticket) {
        self.outputs.push_back(SessionOutput::Hush(ticket));
    }

    /// News that is not the last.
    pub(super) fn tell(&mut self, event: SessionEvent) {
        if !self.is_over {
            self.outputs.push_back(SessionOutput::Event(event));
        }
    }

    /// The last news; only the first call counts.
    pub(super) fn finish(&mut self, event: SessionEvent) {
        if self.is_over {
            return;
        }
        early::refuse(self, &Answer::new(StatusCode::REQUEST_TERMINATED));
        // a call that rang too long and was answered while CANCEL was out has failed all the same
        let event = self.failure.take().map_or(event, SessionEvent::Failed);
        self.tell(event);
        self.is_over = true;
        self.check_done();
    }

    /// A transaction is over.
    pub(super) fn close(&mut self, ticket: Ticket) {
        self.open.remove(&ticket);
        self.check_done();
    }

    fn check_done(&mut self) {
        if self.is_over && self.open.is_empty() && !self.is_done {
            self.is_done = true;
            self.outputs.push_back(SessionOutput::Done);
        }
    }
}

fn credentials_of(request: &Request) -> impl Iterator<Item = &Header> {
    let is_credentials =
        |h: &&Header| matches!(h.name(), HeaderName::Authorization | HeaderName::ProxyAuthorization);
    request.headers.iter().filter(is_credentials)
}

/// Whether a response asks for credentials.
pub(super) fn is_challenge(status: StatusCode) -> bool {
    status == StatusCode::UNAUTHORIZED || status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
}
