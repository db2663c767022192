//! The whole of SIP without a socket: transaction layer, sessions and the answers of a UAS behind one machine.
//!
//! Datagrams, transport errors, commands and the clock go in; datagrams and news come out. [`super::io`]
//! drives it with sockets, the tests with a virtual network. Who may call us is not decided here: a
//! [`RequestHandler`] is asked.

use super::answer;
use super::dialog::LocalEnd;
use super::session::{
    IncomingInvite, OutgoingCall, Session, SessionCommand, SessionEvent, SessionOutput, Ticket,
};
use super::transaction::{Failure, Full, Layer, LayerConfig, LayerOutput, TransactionId};
use super::{
    CSeq, Essentials, Flow, HeaderName, Hop, Limits, MAGIC_COOKIE, Message, Method, NameAddr, ParseError,
    Reason, Replaces, Request, Response, SipUri, StatusCode, Uri, parse,
};
use crate::base::{External, Seed, Seldom};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use super::handler::{Acceptance, Refuse, RequestHandler, Verdict};

/// When a timer is looked at again that did not end when its time came.
const STUCK_TIMER_DELAY: Duration = Duration::from_secs(1);
/// What known peers send that cannot be read is told this often at most.
const UNREADABLE_INTERVAL: Duration = Duration::from_secs(60);

/// A session, unique for the life of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

/// An OPTIONS of ours, unique for the life of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeId(u64);

/// A request of ours outside any dialog, unique for the life of the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// How to ask whether somebody is there.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// From, without tag: who we are to the peer; none: our address. A PBX notes an OPTIONS of nobody it knows as an
    /// intruder's.
    pub from: Option<NameAddr>,
    /// How long the answer is waited for; none: 64·T1.
    pub limit: Option<Duration>,
    /// Who is asked; none: whoever is at the address.
    pub to: Option<SipUri>,
    /// Proxies on the way.
    pub routes: Vec<NameAddr>,
    /// What a NAT between us makes of our address.
    pub external: External,
}

/// What the endpoint asks of the world.
#[derive(Debug)]
pub enum Output {
    /// A datagram.
    Send {
        /// Where.
        flow: Flow,
        /// What.
        bytes: Bytes,
    },
    /// A call to us, accepted by the handler; nobody has answered it yet.
    Incoming {
        /// Its session.
        session: SessionId,
        /// What its INVITE says.
        invite: Box<IncomingInvite>,
    },
    /// News of a session.
    Event {
        /// Which.
        session: SessionId,
        /// What.
        event: SessionEvent,
    },
    /// A session is forgotten; nothing more of it comes.
    Done {
        /// Which.
        session: SessionId,
        /// Where its INVITE went, or came from.
        remote: SocketAddr,
    },
    /// A request of ours by a stream has had no answer: the connection may be dead (RFC 5626 §4.4).
    Silent {
        /// Where it went.
        hop: Hop,
        /// When.
        since: Instant,
    },
    /// The answer to an OPTIONS of ours.
    Probed {
        /// Which.
        probe: ProbeId,
        /// The status, or that none came.
        result: Result<StatusCode, Failure>,
    },
    /// The final response to a request of ours outside any dialog.
    Answered {
        /// Which.
        request: RequestId,
        /// The response, or that none came.
        result: Result<Box<Response>, Failure>,
    },
}

/// What was dropped or refused so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Datagrams that are no SIP, or lack what a message must have.
    pub malformed: u64,
    /// Responses of no transaction.
    pub stray_responses: u64,
    /// Requests beyond the cap of transactions.
    pub full: u64,
    /// ACKs of no dialog.
    pub stray_acks: u64,
}

/// What there is of a dialog that a Replaces names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced<Id = SessionId> {
    /// Nothing.
    Unknown,
    /// A call that nobody has answered yet.
    Ringing {
        /// It.
        call: Id,
        /// We have placed it.
        is_ours: bool,
    },
    /// A call.
    Talking(Id),
    /// A call that has ended.
    Over,
}

/// Settings.
#[derive(Clone)]
pub struct EndpointConfig {
    /// Transactions.
    pub layer: LayerConfig,
    /// Most calls at once.
    pub max_sessions: usize,
    /// Bounds of a datagram; messages of a stream have [`Limits::TCP`].
    pub limits: Limits,
    /// User-Agent and Server.
    pub agent: String,
    /// Answers calls to us.
    pub handler: Arc<dyn RequestHandler>,
}

#[derive(Debug, Clone, Copy)]
enum Owner {
    Session(SessionId, Ticket),
    Probe(ProbeId),
    Request(RequestId),
}

/// An INVITE that became a session, as long as its transaction lives.
struct Asked {
    key: MergeKey,
    session: SessionId,
}

/// Call-ID, From tag and CSeq: what an INVITE keeps on every path it takes to us (RFC 3261 §8.2.2.2).
type MergeKey = (String, String, u32);

struct Live {
    session: Session,
    key: (String, String),
    remote: SocketAddr,
    deadline: Option<Instant>,
    /// It lives on for retransmissions alone, and is no call any more.
    is_over: bool,
}

/// The machine.
pub struct Endpoint {
    config: EndpointConfig,
    seed: Seed,
    layer: Layer,
    next_id: u64,
    /// In boxes: a session takes kilobytes, and a tree moves what is beside it when one comes or goes.
    sessions: BTreeMap<SessionId, Box<Live>>,
    /// How many of these are over.
    over: usize,
    /// By Call-ID and our tag.
    index: HashMap<(String, String), SessionId>,
    owners: BTreeMap<TransactionId, Owner>,
    invites: BTreeMap<TransactionId, Asked>,
    merged: HashSet<MergeKey>,
    tickets: BTreeMap<(SessionId, Ticket), TransactionId>,
    deadlines: BTreeSet<(Instant, SessionId)>,
    outputs: VecDeque<Output>,
    /// No call comes in any more; others are told to ask again then.
    drains_until: Option<Instant>,
    /// No call goes out either.
    is_closed: bool,
    malformed: u64,
    /// Of peers that are no strangers.
    unreadable: Seldom,
    stray_acks: u64,
}

impl Endpoint {
    /// An endpoint with nothing to do.
    #[must_use]
    pub fn new(config: EndpointConfig, seed: Seed) -> Self {
        Self {
            layer: Layer::new(config.layer),
            config,
            seed,
            next_id: 0,
            sessions: BTreeMap::new(),
            over: 0,
            index: HashMap::new(),
            owners: BTreeMap::new(),
            invites: BTreeMap::new(),
            merged: HashSet::new(),
            tickets: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            outputs: VecDeque::new(),
            drains_until: None,
            is_closed: false,
            malformed: 0,
            unreadable: Seldom::new(UNREADABLE_INTERVAL),
            stray_acks: 0,
        }
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn drops(&self) -> Drops {
        let layer = self.layer.drops();
        Drops {
            malformed: self.malformed + layer.malformed,
            stray_responses: layer.stray_responses,
            full: layer.full,
            stray_acks: self.stray_acks,
        }
    }

    /// How many sessions and transactions live.
    #[must_use]
    pub fn live(&self) -> (usize, usize) {
        (self.sessions.len(), self.layer.len())
    }

    /// Whether nothing waits for an answer any more; what lingers only absorbs retransmissions.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.layer.is_quiet()
    }

    /// From now on calls to us are refused with 503, and whoever asks whether we are there hears the same, so that a
    /// PBX sends its calls elsewhere. Retry-After says `until` when (RFC 3261 §21.5.4). Calls that live go on.
    pub const fn drain(&mut self, until: Instant) {
        self.drains_until = Some(until);
    }

    /// The same, and from now on no call of ours goes out.
    pub const fn close(&mut self, until: Instant) {
        self.drain(until);
        self.is_closed = true;
    }

    /// Dials. The flow says from which of our addresses and to whom.
    ///
    /// # Errors
    /// When the cap of sessions is reached or the endpoint is closed.
    pub fn dial(
        &mut self,
        now: Instant,
        flow: Flow,
        contact_user: Option<String>,
        call: OutgoingCall,
    ) -> Result<SessionId, Full> {
        if self.is_closed || self.is_full() {
            return Err(Full);
        }
        let is_sips = call.request_uri.sip().is_some_and(|uri| uri.is_secure);
        let (external, agent) = (call.external, self.config.agent.clone());
        let end = LocalEnd { flow, external, contact_user, agent, is_sips };
        let silence_limit = call.silence_limit;
        let mut session = Session::dial(end, call, self.config.layer.timings, self.seed.fork());
        silence_limit.into_iter().for_each(|limit| session.give_up_silent_at(now + limit));
        let id = self.insert(session, flow.path.remote);
        self.settle(now, id);
        self.drain_layer(now);
        Ok(id)
    }

    /// This call of ours goes by a connection that the far side made: what belongs to it stays there while it is open
    /// (RFC 5626 §5.3).
    pub fn stay_on_connection(&mut self, id: SessionId) {
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.stay_on_connection();
        }
    }

    /// The Call-ID of a live call.
    #[must_use]
    pub fn call_id(&self, id: SessionId) -> Option<&str> {
        Some(self.sessions.get(&id)?.session.call_id())
    }

    /// The call that a Replaces names, if it is one of ours (RFC 3891 §3).
    #[must_use]
    pub fn find(&self, replaces: &Replaces) -> Replaced {
        let key = (replaces.call_id.clone(), replaces.to_tag.clone());
        let Some((id, live)) = self.index.get(&key).and_then(|id| Some((*id, self.sessions.get(id)?))) else {
            return Replaced::Unknown;
        };
        match live.session.is_with(&replaces.from_tag) {
            Some(false) => Replaced::Unknown,
            _ if live.is_over => Replaced::Over,
            Some(true) => Replaced::Talking(id),
            None if live.session.rings_with(&replaces.from_tag) => {
                Replaced::Ringing { call: id, is_ours: live.session.is_ours() }
            }
            None => Replaced::Unknown,
        }
    }

    /// Whether there are as many calls as may be. Sessions that are over are bounded by their transactions.
    fn is_full(&self) -> bool {
        self.sessions.len().saturating_sub(self.over) >= self.config.max_sessions
    }

    /// Asks something of a call; harmless when it is over.
    pub fn command(&mut self, now: Instant, id: SessionId, command: SessionCommand) {
        if let Some(live) = self.sessions.get_mut(&id) {
            live.session.command(now, command);
            self.settle(now, id);
            self.drain_layer(now);
        }
    }

    /// Ends a call; harmless when it is over.
    pub fn hangup(&mut self, now: Instant, id: SessionId, reason: Option<Reason>) {
        self.command(now, id, SessionCommand::Hangup(reason));
    }

    /// Ends all calls.
    pub fn hangup_all(&mut self, now: Instant, reason: Option<&Reason>) {
        for id in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.hangup(now, id, reason.cloned());
        }
    }

    /// User-Agent and Server.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.config.agent
    }

    /// Sends a request outside any dialog, complete with its Via; its final response comes as
    /// [`Output::Answered`]. It is waited for as long as the limit says, or 64·T1.
    ///
    /// # Errors
    /// When the cap of transactions is reached.
    pub fn request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Request,
        limit: Option<Duration>,
    ) -> Result<RequestId, Full> {
        let transaction = self.layer.send_request(now, request, flow)?;
        limit.into_iter().for_each(|limit| self.layer.give_up_at(transaction, now + limit));
        self.next_id += 1;
        let id = RequestId(self.next_id);
        self.owners.insert(transaction, Owner::Request(id));
        self.drain_layer(now);
        Ok(id)
    }

    /// Asks whether somebody is there (RFC 3261 §11).
    ///
    /// # Errors
    /// When the cap of transactions is reached.
    pub fn probe(&mut self, now: Instant, flow: Flow, probe: Probe) -> Result<ProbeId, Full> {
        let at_the_address = || SipUri::of_address(None, flow.path.remote).by(flow.transport);
        let uri: Uri = probe.to.unwrap_or_else(at_the_address).into();
        let agent = self.config.agent.clone();
        let external = probe.external;
        let end = LocalEnd { flow, external, contact_user: None, agent, is_sips: false };
        let mut from = probe.from.unwrap_or_else(|| NameAddr::new(end.contact()));
        from.params.set("tag", Some(&self.seed.token(16)));
        let mut r = Request::new(Method::OPTIONS, uri.clone());
        let branch = format!("{MAGIC_COOKIE}{}", self.seed.token(20));
        r.headers.push(HeaderName::Via, end.via(&branch).to_string());
        r.headers.push(HeaderName::MaxForwards, "70");
        r.headers.push(HeaderName::From, from.to_string());
        r.headers.push(HeaderName::To, NameAddr::new(uri).to_string());
        r.headers.push(HeaderName::CallId, self.seed.token(32));
        r.headers.push(HeaderName::CSeq, CSeq { number: 1, method: Method::OPTIONS }.to_string());
        probe.routes.iter().for_each(|route| r.headers.push(HeaderName::Route, route.to_string()));
        r.headers.push(HeaderName::Contact, NameAddr::new(end.contact()).to_string());
        r.headers.push(HeaderName::Accept, answer::ACCEPT);
        r.headers.push(HeaderName::UserAgent, end.agent);
        let transaction = self.layer.send_request(now, r, flow)?;
        probe.limit.into_iter().for_each(|limit| self.layer.give_up_at(transaction, now + limit));
        self.next_id += 1;
        let probe = ProbeId(self.next_id);
        self.owners.insert(transaction, Owner::Probe(probe));
        self.drain_layer(now);
        Ok(probe)
    }

    /// A datagram of a known source.
    pub fn handle_datagram(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        self.handle_bytes(now, flow, bytes, false);
    }

    /// A datagram of a stranger: requests of no dialog of ours have a small part of the transactions.
    pub fn handle_stranger(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        self.handle_bytes(now, flow, bytes, true);
    }

    fn handle_bytes(&mut self, now: Instant, flow: Flow, bytes: &[u8], is_stranger: bool) {
        // keep-alives of peers behind NAT: line ends (RFC 5626 §3.5.1) or zeros
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        let limits = if flow.transport.is_reliable() { Limits::TCP } else { self.config.limits };
        match parse(bytes, &limits) {
            Ok(Message::Request(request)) => {
                let is_stranger = is_stranger && !self.is_in_dialog(&request);
                if let Err((why, request)) = self.layer.handle_request(now, request, flow, is_stranger) {
                    let tag = self.seed.token(16);
                    self.layer.refuse(&request, StatusCode::BAD_REQUEST, why, &tag, flow);
                }
            }
            Ok(Message::Response(response)) => self.layer.handle_response(now, response),
            Err(error) => self.handle_unreadable(now, flow, error, is_stranger),
        }
        self.drain_layer(now);
    }

    /// Whether Call-ID and To tag name a session of ours: only who saw its messages knows both.
    fn is_in_dialog(&self, request: &Request) -> bool {
        let tag = request.headers.to().ok().and_then(|to| to.tag().map(str::to_owned));
        let call_id = request.headers.get(&HeaderName::CallId).map(str::to_owned);
        call_id.zip(tag).is_some_and(|key| self.index.contains_key(&key))
    }

    /// The transport says that nobody is there.
    pub fn handle_transport_error(&mut self, now: Instant, hop: impl Into<Hop>) {
        self.layer.handle_transport_error(now, hop.into());
        self.drain_layer(now);
    }

    /// A connection was closed.
    pub fn handle_closed(&mut self, now: Instant, hop: Hop) {
        self.sessions.values_mut().for_each(|live| live.session.handle_closed(hop));
        self.layer.handle_closed(now, hop);
        self.drain_layer(now);
    }

    /// A stream cannot be read on; the request that broke it is answered if it can be.
    pub fn handle_broken(&mut self, now: Instant, flow: Flow, error: ParseError, is_stranger: bool) {
        self.handle_unreadable(now, flow, error, is_stranger);
        self.drain_layer(now);
    }

    fn handle_unreadable(&mut self, now: Instant, flow: Flow, error: ParseError, is_stranger: bool) {
        self.malformed += 1;
        let (why, remote) = (error.fault.0, flow.path.remote);
        if is_stranger {
            tracing::debug!(why, %remote, "a SIP message that cannot be read");
        } else if let Some(times) = self.unreadable.happened(now) {
            tracing::warn!(
                why, %remote, times,
                "a SIP message of a known peer cannot be read; log.level info,sipedge::sip::wire=trace shows it"
            );
        }
        if let Some(request) = error.request {
            let tag = self.seed.token(16);
            self.layer.refuse(&request, error.status, error.fault, &tag, flow);
        }
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.layer.handle_timeout(now);
        self.drain_layer(now);
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            match self.sessions.get_mut(&id) {
                Some(live) => live.session.handle_timeout(now),
                None => {
                    self.deadlines.remove(&(at, id));
                }
            }
            self.settle(now, id);
            self.drain_layer(now);
            self.put_off(now, (at, id));
        }
    }

    /// A deadline that its handling leaves where it is would be handled for ever: such a fault shall cost a session its timers
    /// and nobody else anything.
    fn put_off(&mut self, now: Instant, stuck: (Instant, SessionId)) {
        debug_assert_ne!(self.deadlines.first(), Some(&stuck), "a deadline that does not move");
        if self.deadlines.first() != Some(&stuck) {
            return;
        }
        self.deadlines.remove(&stuck);
        let (_, id) = stuck;
        if let Some(live) = self.sessions.get_mut(&id) {
            let timer = live.session.poll_timeout().map(|(_, timer)| timer);
            tracing::error!(?timer, "a timer of a SIP session does not end; please report this");
            let later = now + STUCK_TIMER_DELAY;
            live.deadline = Some(later);
            self.deadlines.insert((later, id));
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next wake-up.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let layer = self.layer.poll_timeout().map(|(at, _)| at);
        let session = self.deadlines.first().map(|(at, _)| *at);
        [layer, session].into_iter().flatten().min()
    }

    /// What the layer has to say goes to its owner, whose outputs may feed the layer again.
    fn drain_layer(&mut self, now: Instant) {
        while let Some(output) = self.layer.poll_output() {
            match output {
                LayerOutput::Send { flow, bytes } => self.outputs.push_back(Output::Send { flow, bytes }),
                LayerOutput::Request { id, request, essentials, flow, invite } => {
                    self.handle_request(now, id, &request, &essentials, flow, invite);
                }
                LayerOutput::Ack { request, essentials } => match self.session_of(&essentials) {
                    Some(id) => self.with_session(now, id, |s| s.handle_ack(now, &request, &essentials)),
                    None => self.stray_acks += 1,
                },
                LayerOutput::Response { id, response } => self.handle_response(now, id, &response),
                LayerOutput::Silent { hop, since } => self.outputs.push_back(Output::Silent { hop, since }),
                LayerOutput::Failed { id, failure } => match self.owners.get(&id).copied() {
                    Some(Owner::Session(session, ticket)) => {
                        self.with_session(now, session, |s| s.handle_failure(now, ticket, failure));
                    }
                    Some(Owner::Probe(probe)) => {
                        self.outputs.push_back(Output::Probed { probe, result: Err(failure) });
                    }
                    Some(Owner::Request(request)) => {
                        self.outputs.push_back(Output::Answered { request, result: Err(failure) });
                    }
                    // a response of ours that finds nobody: whoever sent the request ends by its own clock
                    None => {}
                },
                LayerOutput::Terminated { id } => {
                    if let Some(asked) = self.invites.remove(&id) {
                        self.merged.remove(&asked.key);
                    }
                    if let Some(Owner::Session(session, ticket)) = self.owners.remove(&id) {
                        self.tickets.remove(&(session, ticket));
                        self.with_session(now, session, |s| s.handle_terminated(ticket));
                    }
                }
            }
        }
    }

    fn handle_response(&mut self, now: Instant, id: TransactionId, response: &Response) {
        match self.owners.get(&id).copied() {
            Some(Owner::Session(session, ticket)) => {
                self.with_session(now, session, |s| s.handle_response(now, ticket, response));
            }
            Some(Owner::Probe(probe)) if !response.status.is_provisional() => {
                self.outputs.push_back(Output::Probed { probe, result: Ok(response.status) });
            }
            Some(Owner::Request(request)) if !response.status.is_provisional() => {
                let result = Ok(Box::new(response.clone()));
                self.outputs.push_back(Output::Answered { request, result });
            }
            Some(Owner::Probe(_) | Owner::Request(_)) | None => {}
        }
    }

    fn insert(&mut self, session: Session, remote: SocketAddr) -> SessionId {
        self.next_id += 1;
        let id = SessionId(self.next_id);
        let key = (session.call_id().to_owned(), session.local_tag().to_owned());
        self.index.insert(key.clone(), id);
        let live = Live { session, key, remote, deadline: None, is_over: false };
        self.sessions.insert(id, Box::new(live));
        id
    }

    /// The session that Call-ID and To tag name.
    fn session_of(&self, e: &Essentials) -> Option<SessionId> {
        let tag = e.to.tag()?;
        self.index.get(&(e.call_id.clone(), tag.to_owned())).copied()
    }

    fn with_session(&mut self, now: Instant, id: SessionId, act: impl FnOnce(&mut Session)) {
        if let Some(live) = self.sessions.get_mut(&id) {
            act(&mut live.session);
            self.settle(now, id);
        }
    }

    /// Carries out what a session asks for.
    fn settle(&mut self, now: Instant, id: SessionId) {
        let mut is_done = false;
        loop {
            let Some(live) = self.sessions.get_mut(&id) else { return };
            let Some(output) = live.session.poll_output() else { break };
            match output {
                SessionOutput::Start { ticket, request, flow } => {
                    match self.layer.send_request(now, *request, flow) {
                        Ok(transaction) => {
                            self.owners.insert(transaction, Owner::Session(id, ticket));
                            self.tickets.insert((id, ticket), transaction);
                        }
                        Err(Full) => live.session.handle_refused(now, ticket),
                    }
                }
                SessionOutput::Send { flow, bytes } => self.outputs.push_back(Output::Send { flow, bytes }),
                SessionOutput::Respond { id: transaction, response } => {
                    self.layer.respond(now, transaction, &response);
                }
                SessionOutput::Abandon(ticket) => {
                    if let Some(transaction) = self.tickets.get(&(id, ticket)) {
                        self.layer.abandon(*transaction);
                    }
                }
                SessionOutput::Hush(ticket) => {
                    if let Some(transaction) = self.tickets.get(&(id, ticket)) {
                        self.layer.hush(*transaction);
                    }
                }
                SessionOutput::Event(event) => self.outputs.push_back(Output::Event { session: id, event }),
                SessionOutput::Done => is_done = true,
            }
        }
        let Some(live) = self.sessions.get_mut(&id) else { return };
        if live.session.is_over() && !std::mem::replace(&mut live.is_over, true) {
            self.over += 1;
        }
        let next = if is_done { None } else { live.session.poll_timeout().map(|(at, _)| at) };
        if next != live.deadline {
            if let Some(old) = live.deadline {
                self.deadlines.remove(&(old, id));
            }
            live.deadline = next;
            self.deadlines.extend(next.map(|at| (at, id)));
        }
        if is_done && let Some(live) = self.sessions.remove(&id) {
            self.over -= usize::from(live.is_over);
            self.index.remove(&live.key);
            self.outputs.push_back(Output::Done { session: id, remote: live.remote });
        }
    }
}

mod requests;

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
