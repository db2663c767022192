//! The transaction layer: matches messages to transactions and keeps their clocks (RFC 3261 §17.1.3, §17.2.3).
//!
//! Requests that are new go to the user with an id to answer by; ACKs of no failure, and responses of no
//! transaction, are not errors: the former go to the dialogs, the latter are counted and dropped (RFC 6026
//! §8.9: a 2xx after its transaction is stray). Requests of RFC 2543 peers (no cookie in the branch) are
//! matched by the old rule. Both tables are capped; a request beyond the cap is dropped, and its sender
//! tries again; but first whoever lingers makes room, or has not acknowledged a failure. Strangers have a small part of the table and no more, so that they cannot keep a dialog's BYE
//! out; and a failure is sent to them once for each INVITE that comes, not eleven times (timer G) to an address
//! that anybody can write.

use super::client_invite::ClientInvite;
use super::client_request::ClientRequest;
use super::large::{Fallback, Large};
use super::machine::{Machine, MachineOutput};
use super::room::Room;
use super::server_invite::ServerInvite;
use super::server_request::ServerRequest;
use super::timer::{Timer, Timings};
use super::{ClientOutput, Failure, ServerOutput};
use crate::base::Seldom;
use crate::sip::lex::print;
use crate::sip::{
    Essentials, Flow, HeaderName, Hop, Malformed, Method, Request, Response, StatusCode, Uri, Via,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// That requests are dropped is told this often at most.
const FULL_INTERVAL: Duration = Duration::from_secs(60);

/// Settings.
#[derive(Debug, Clone, Copy)]
pub struct LayerConfig {
    /// Base times.
    pub timings: Timings,
    /// Most client transactions. When there are so many, the oldest of those that linger makes room.
    pub max_clients: usize,
    /// Most server transactions; likewise, and INVITEs whose failure is not acknowledged.
    pub max_servers: usize,
    /// Most of these that strangers may have.
    pub max_strangers: usize,
}

impl Default for LayerConfig {
    /// Room for 2,000 calls at once, and for what lingers of some hundred calls a second.
    fn default() -> Self {
        Self { timings: Timings::default(), max_clients: 16_384, max_servers: 16_384, max_strangers: 4_096 }
    }
}

/// A transaction, unique for the life of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId(u64);

/// The cap of client transactions is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many SIP transactions are pending")]
pub struct Full;

/// What the layer asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerOutput {
    /// Bytes for a flow.
    Send {
        /// Where.
        flow: Flow,
        /// What.
        bytes: Bytes,
    },
    /// A new request. Answer by [`Layer::respond`].
    Request {
        /// Its transaction.
        id: TransactionId,
        /// The request, its Via completed with the source.
        request: Box<Request>,
        /// What was read of it.
        essentials: Box<Essentials>,
        /// Where it came from.
        flow: Flow,
        /// For CANCEL: the INVITE it means, when that is there (RFC 3261 §9.2).
        invite: Option<TransactionId>,
    },
    /// An ACK for a 2xx; never answered.
    Ack {
        /// The request.
        request: Box<Request>,
        /// What was read of it.
        essentials: Box<Essentials>,
    },
    /// A response to a request of ours.
    Response {
        /// Its transaction.
        id: TransactionId,
        /// The response.
        response: Box<Response>,
    },
    /// A request of ours by a stream has had no answer; what became of it follows.
    Silent {
        /// Where it went.
        hop: Hop,
        /// When.
        since: Instant,
    },
    /// A transaction failed.
    Failed {
        /// Which.
        id: TransactionId,
        /// How.
        failure: Failure,
    },
    /// A transaction is over and forgotten.
    Terminated {
        /// Which.
        id: TransactionId,
    },
}

/// Things that were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerDrops {
    /// Responses of no transaction.
    pub stray_responses: u64,
    /// New requests beyond the cap.
    pub full: u64,
    /// Requests or responses without what they must have.
    pub malformed: u64,
}

#[derive(Debug)]
struct Entry {
    machine: Machine,
    key: String,
    flow: Flow,
    deadline: Option<Instant>,
    is_stranger: bool,
    /// When a request of ours was sent.
    since: Option<Instant>,
    /// By UDP instead, should TCP bring no answer.
    fallback: Option<Box<Fallback>>,
}

impl Entry {
    fn next_deadline(&self) -> Option<(Instant, Timer)> {
        let fallback = self.fallback.as_ref().map(|f| (f.at, Timer::Fallback));
        self.machine.poll_timeout().into_iter().chain(fallback).min()
    }
}

/// The layer.
#[derive(Debug)]
pub struct Layer {
    config: LayerConfig,
    next_id: u64,
    entries: BTreeMap<TransactionId, Entry>,
    clients: HashMap<String, TransactionId>,
    servers: HashMap<String, TransactionId>,
    strangers: usize,
    room: Room,
    deadlines: BTreeSet<(Instant, TransactionId)>,
    large: Large,
    outputs: VecDeque<LayerOutput>,
    drops: LayerDrops,
    full: Seldom,
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new(config: LayerConfig) -> Self {
        Self {
            config,
            next_id: 0,
            entries: BTreeMap::new(),
            clients: HashMap::new(),
            servers: HashMap::new(),
            strangers: 0,
            room: Room::default(),
            deadlines: BTreeSet::new(),
            large: Large::default(),
            outputs: VecDeque::new(),
            drops: LayerDrops::default(),
            full: Seldom::new(FULL_INTERVAL),
        }
    }

    /// How many transactions live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every transaction has had its final answer; those that linger only absorb retransmissions.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.entries.len() == self.room.lingering()
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn drops(&self) -> LayerDrops {
        self.drops
    }

    /// Sends a request in a transaction of its own; its topmost Via carries a branch of ours. One that is too large
    /// for UDP goes by TCP, and by UDP after all, in the same transaction, when TCP is refused or silent
    /// (RFC 3261 §18.1.1): whoever had it already takes it for one that is repeated. CANCEL goes where its INVITE did
    /// (§9.1).
    ///
    /// # Errors
    /// When the cap is reached.
    pub fn send_request(
        &mut self,
        now: Instant,
        mut request: Request,
        mut flow: Flow,
    ) -> Result<TransactionId, Full> {
        let branch = request.headers.top_via().ok().and_then(|v| v.branch().map(str::to_owned));
        let branch = branch.as_deref().unwrap_or_default();
        let key = client_key(branch, &request.method);
        if request.method == Method::CANCEL
            && let Some(invite) = self.clients.get(&client_key(branch, &Method::INVITE))
            && let Some(invite) = self.entries.get(invite)
        {
            flow = invite.flow;
            request.go_by(flow.transport);
        }
        if self.clients.contains_key(&key) {
            return Err(Full);
        }
        if self.clients.len() >= self.config.max_clients {
            let oldest = self.room.client().ok_or(Full)?;
            self.forget(oldest);
        }
        let mut fallback = None;
        if let Some((tcp, by_tcp, by_udp)) = self.large.by_tcp(now, &request, flow) {
            (flow, request, fallback) = (tcp, by_tcp, Some(Box::new(by_udp)));
        }
        let (timings, is_reliable) = (self.config.timings, flow.transport.is_reliable());
        let machine = if request.method == Method::INVITE {
            Machine::ClientInvite(ClientInvite::start(now, request, timings, is_reliable))
        } else {
            Machine::ClientRequest(ClientRequest::start(now, request.to_bytes(), timings, is_reliable))
        };
        let id = self.insert(machine, key.clone(), flow, false);
        if let Some(entry) = self.entries.get_mut(&id) {
            (entry.fallback, entry.since) = (fallback, Some(now));
        }
        self.clients.insert(key, id);
        self.settle(id);
        Ok(id)
    }

    /// A request of ours that is no INVITE is given up at this time, should timer F come later.
    pub fn give_up_at(&mut self, id: TransactionId, at: Instant) {
        if let Some(Machine::ClientRequest(m)) = self.entries.get_mut(&id).map(|e| &mut e.machine) {
            m.give_up_at(at);
            self.settle(id);
        }
    }

    /// An INVITE of ours goes no more; answers to it are taken as before.
    pub fn hush(&mut self, id: TransactionId) {
        if let Some(Machine::ClientInvite(m)) = self.entries.get_mut(&id).map(|e| &mut e.machine) {
            m.hush();
            self.settle(id);
        }
    }

    /// Answers a request.
    pub fn respond(&mut self, now: Instant, id: TransactionId, response: &Response) {
        match self.entries.get_mut(&id).map(|e| &mut e.machine) {
            Some(Machine::ServerInvite(m)) => m.respond(now, response),
            Some(Machine::ServerRequest(m)) => m.respond(now, response),
            _ => return,
        }
        self.settle(id);
    }

    /// The sender of this request has proved who it is: it counts as a stranger no more, and a failure is
    /// repeated to it until its ACK.
    pub fn trust(&mut self, id: TransactionId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|e| e.is_stranger) else { return };
        entry.is_stranger = false;
        self.strangers = self.strangers.saturating_sub(1);
        let is_reliable = entry.flow.transport.is_reliable();
        if let Machine::ServerInvite(m) = &mut entry.machine {
            m.set_reliable(is_reliable);
        }
    }

    /// Where an INVITE of ours with this branch goes that has no final response yet.
    #[must_use]
    pub fn invite_target(&self, branch: &str) -> Option<&Uri> {
        let id = self.clients.get(&client_key(branch, &Method::INVITE))?;
        match &self.entries.get(id)?.machine {
            Machine::ClientInvite(m) => m.target(),
            _ => None,
        }
    }

    /// Forgets a client INVITE without a word (RFC 3261 §9.1).
    pub fn abandon(&mut self, id: TransactionId) {
        if let Some(Machine::ClientInvite(m)) = self.entries.get_mut(&id).map(|e| &mut e.machine) {
            m.abandon();
            self.settle(id);
        }
    }

    /// Answers a request that is not worth a transaction, once and without memory (RFC 3261 §8.2.7).
    /// ACK is never answered, nor is a request without Via. With one that cannot be read (of another version of
    /// SIP, RFC 4475 §3.1.2.16) the answer goes where the request came from.
    pub fn refuse(
        &mut self,
        request: &Request,
        status: StatusCode,
        why: Malformed,
        to_tag: &str,
        flow: Flow,
    ) {
        if request.method == Method::ACK || request.headers.count(&HeaderName::Via) == 0 {
            return;
        }
        let mut response = request.response(status, Some(to_tag));
        let mut answers = flow;
        if let Ok(mut via) = request.headers.top_via() {
            answers = response_flow(flow, &via);
            via.note_source(flow.path.remote);
            response.headers.replace_top_via(&via.to_string());
        }
        why.0.clone_into(&mut response.phrase);
        self.outputs.push_back(LayerOutput::Send { flow: answers, bytes: response.to_bytes() });
    }

    /// A request from the network. A stranger is who is neither known by address nor part of a dialog.
    ///
    /// # Errors
    /// What it lacks, and the request; answer it with [`Layer::refuse`].
    pub fn handle_request(
        &mut self,
        now: Instant,
        mut request: Request,
        flow: Flow,
        is_stranger: bool,
    ) -> Result<(), (Malformed, Box<Request>)> {
        let mut essentials = match request.essentials() {
            Ok(essentials) => essentials,
            Err(why) => {
                self.drops.malformed += 1;
                return Err((why, Box::new(request)));
            }
        };
        let key = |method: &Method| server_key(&request, &essentials, method);
        if request.method == Method::ACK {
            let id = self.servers.get(&key(&Method::INVITE)).copied();
            match id.and_then(|id| self.entries.get_mut(&id)).map(|e| &mut e.machine) {
                Some(Machine::ServerInvite(m)) => m.handle_ack(now, request),
                _ => {
                    let (request, essentials) = (Box::new(request), Box::new(essentials));
                    self.outputs.push_back(LayerOutput::Ack { request, essentials });
                }
            }
            id.into_iter().for_each(|id| self.settle(id));
            return Ok(());
        }
        let own = key(&request.method);
        if let Some(id) = self.servers.get(&own).copied() {
            match self.entries.get_mut(&id).map(|e| &mut e.machine) {
                Some(Machine::ServerInvite(m)) => m.handle_retransmission(),
                Some(Machine::ServerRequest(m)) => m.handle_retransmission(),
                _ => {}
            }
            self.settle(id);
            return Ok(());
        }
        let is_over = is_stranger && self.strangers >= self.config.max_strangers;
        let is_full = self.servers.len() >= self.config.max_servers;
        let is_ignored = |id| self.entries.get(&id).is_some_and(|e| e.machine.is_ignored());
        let oldest = if is_full { self.room.server(is_ignored) } else { None };
        if is_over || (is_full && oldest.is_none()) {
            self.drops.full += 1;
            let (from, all, strangers) = (flow.path.remote, self.servers.len(), self.strangers);
            if let Some(times) = self.full.happened(now) {
                tracing::warn!(%from, all, strangers, times, "too many SIP requests at once: new ones are dropped");
            }
            return Ok(());
        }
        oldest.into_iter().for_each(|oldest| self.forget(oldest));
        let is_cancel = request.method == Method::CANCEL;
        let invite = is_cancel.then(|| self.servers.get(&key(&Method::INVITE)).copied()).flatten();
        let answers = response_flow(flow, &essentials.via);
        essentials.via.note_source(flow.path.remote);
        request.headers.replace_top_via(&print(&essentials.via));
        let (timings, is_reliable) = (self.config.timings, flow.transport.is_reliable());
        let machine = if request.method == Method::INVITE {
            // a stranger's own retransmissions bring a lost failure back
            Machine::ServerInvite(ServerInvite::start(now, &request, timings, is_reliable || is_stranger))
        } else {
            Machine::ServerRequest(ServerRequest::start(now, timings, is_reliable))
        };
        let id = self.insert(machine, own.clone(), answers, is_stranger);
        self.servers.insert(own, id);
        let (request, essentials) = (Box::new(request), Box::new(essentials));
        self.outputs.push_back(LayerOutput::Request { id, request, essentials, flow, invite });
        self.settle(id);
        Ok(())
    }

    /// A response from the network.
    pub fn handle_response(&mut self, now: Instant, response: Response) {
        // more than one Via: it is not for us (RFC 3261 §8.1.3.3)
        let is_ours = response.headers.list(&HeaderName::Via).is_ok_and(|v| v.len() == 1);
        let read = if is_ours { response.essentials() } else { Err(Malformed("Not One Via")) };
        let Essentials { via, cseq, .. } = match read {
            Ok(essentials) => essentials,
            Err(why) => {
                let status = response.status.code();
                tracing::debug!(why = why.0, status, "a response that cannot be taken");
                self.drops.malformed += 1;
                return;
            }
        };
        let key = client_key(via.branch().unwrap_or_default(), &cseq.method);
        let Some(id) = self.clients.get(&key).copied() else {
            self.drops.stray_responses += 1;
            return;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.fallback = None;
            match &mut entry.machine {
                Machine::ClientInvite(m) => m.handle_response(now, response),
                Machine::ClientRequest(m) => m.handle_response(now, response),
                Machine::ServerInvite(_) | Machine::ServerRequest(_) => {}
            }
        }
        self.settle(id);
    }

    /// The transport says that nobody is there (an ICMP error, a connection that cannot be made).
    pub fn handle_transport_error(&mut self, now: Instant, hop: Hop) {
        self.fail(now, hop, |_| true);
    }

    /// A connection was closed: what waits for an answer by it waits in vain. Our own answers may still go by
    /// another one (RFC 3261 §18.2.2).
    pub fn handle_closed(&mut self, now: Instant, hop: Hop) {
        self.fail(now, hop, Machine::is_client);
    }

    fn fail(&mut self, now: Instant, hop: Hop, is_meant: impl Fn(&Machine) -> bool) {
        let hit = self.entries.iter().filter(|(_, e)| e.flow.hop() == hop && is_meant(&e.machine));
        for id in hit.map(|(id, _)| *id).collect::<Vec<_>>() {
            if self.fall_back(now, id) {
                continue;
            }
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.machine.handle_transport_error();
            }
            self.settle(id);
        }
    }

    /// A request that went by TCP goes by UDP after all; false when there is none to do so.
    fn fall_back(&mut self, now: Instant, id: TransactionId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let Some(fallback) = entry.fallback.take() else { return false };
        let Fallback { request, flow, .. } = *fallback;
        self.large.shut(now, flow.path.remote);
        entry.flow = flow;
        match &mut entry.machine {
            Machine::ClientInvite(m) => m.fall_back(now, request),
            Machine::ClientRequest(m) => m.fall_back(now, request.to_bytes()),
            Machine::ServerInvite(_) | Machine::ServerRequest(_) => {}
        }
        self.settle(id);
        true
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                return;
            }
            let is_silent = |e: &Entry| e.fallback.as_ref().is_some_and(|f| f.at <= now);
            if self.entries.get(&id).is_some_and(is_silent) {
                self.fall_back(now, id);
                continue;
            }
            match self.entries.get_mut(&id) {
                Some(entry) => entry.machine.handle_timeout(now),
                None => {
                    self.deadlines.remove(&(at, id));
                }
            }
            self.settle(id);
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<LayerOutput> {
        self.outputs.pop_front()
    }

    /// The next wake-up and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let (at, id) = self.deadlines.first()?;
        let timer = self.entries.get(id).and_then(Entry::next_deadline).map(|(_, t)| t)?;
        Some((*at, timer))
    }

    fn insert(&mut self, machine: Machine, key: String, flow: Flow, is_stranger: bool) -> TransactionId {
        self.next_id += 1;
        let id = TransactionId(self.next_id);
        let entry = Entry { machine, key, flow, deadline: None, is_stranger, since: None, fallback: None };
        self.entries.insert(id, entry);
        self.strangers += usize::from(is_stranger);
        id
    }

    /// Passes a machine's outputs on, notes its next deadline, forgets it when it is over.
    fn settle(&mut self, id: TransactionId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let flow = entry.flow;
        let since = entry.since.filter(|_| flow.transport.is_reliable());
        let mut is_over = false;
        loop {
            let output = entry.machine.poll_output();
            if let (Some(MachineOutput::Client(ClientOutput::Failed(Failure::Timeout))), Some(since)) =
                (&output, since)
            {
                self.outputs.push_back(LayerOutput::Silent { hop: flow.hop(), since });
            }
            self.outputs.push_back(match output {
                None => break,
                Some(
                    MachineOutput::Client(ClientOutput::Send(bytes))
                    | MachineOutput::Server(ServerOutput::Send(bytes)),
                ) => LayerOutput::Send { flow, bytes },
                Some(MachineOutput::Client(ClientOutput::Deliver(response))) => {
                    LayerOutput::Response { id, response: Box::new(response) }
                }
                Some(MachineOutput::Server(ServerOutput::Ack(request))) => match request.essentials() {
                    Ok(essentials) => LayerOutput::Ack { request, essentials: Box::new(essentials) },
                    Err(_) => continue,
                },
                Some(
                    MachineOutput::Client(ClientOutput::Failed(failure))
                    | MachineOutput::Server(ServerOutput::Failed(failure)),
                ) => LayerOutput::Failed { id, failure },
                Some(
                    MachineOutput::Client(ClientOutput::Terminated)
                    | MachineOutput::Server(ServerOutput::Terminated),
                ) => {
                    is_over = true;
                    LayerOutput::Terminated { id }
                }
            });
        }
        if is_over {
            return self.remove(id);
        }
        self.room.note(id, &entry.machine);
        let next = entry.next_deadline().map(|(at, _)| at);
        if next != entry.deadline {
            if let Some(old) = entry.deadline {
                self.deadlines.remove(&(old, id));
            }
            entry.deadline = next;
            self.deadlines.extend(next.map(|at| (at, id)));
        }
    }

    /// Ends a transaction that makes room, before its time.
    fn forget(&mut self, id: TransactionId) {
        self.outputs.push_back(LayerOutput::Terminated { id });
        self.remove(id);
    }

    fn remove(&mut self, id: TransactionId) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.strangers = self.strangers.saturating_sub(usize::from(entry.is_stranger));
        if let Some(at) = entry.deadline {
            self.deadlines.remove(&(at, id));
        }
        if entry.machine.is_client() {
            self.clients.remove(&entry.key);
        } else {
            self.servers.remove(&entry.key);
        }
        self.room.remove(id);
    }
}

/// Where answers go: over a stream by the connection the request came by (RFC 3261 §18.2.2), else see
/// [`Via::response_address`].
fn response_flow(flow: Flow, via: &Via) -> Flow {
    if flow.transport.is_reliable() { flow } else { flow.to(via.response_address(flow.path.remote)) }
}

/// RFC 3261 §17.1.3: branch and CSeq method.
fn client_key(branch: &str, method: &Method) -> String {
    format!("{method} {branch}")
}

/// RFC 3261 §17.2.3: branch, sent-by and method; without the cookie, what RFC 2543 matched by.
fn server_key(request: &Request, e: &Essentials, method: &Method) -> String {
    let sent_by = (&e.via.host, e.via.port.unwrap_or(5060));
    let mut key = print(&format_args!("{}:{} ", sent_by.0, sent_by.1));
    key.make_ascii_lowercase();
    // writing into a String cannot fail
    let _ = match e.via.rfc3261_branch() {
        Some(branch) => write!(key, "{method} {branch}"),
        None => {
            let tag = e.from.tag().unwrap_or_default();
            write!(key, "{method} 2543 {} {tag} {} {} {}", e.call_id, e.cseq.number, request.uri, e.via)
        }
    };
    key
}
