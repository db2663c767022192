//! The task that owns the machines.

use super::super::admission::AdmissionConfig;
use super::super::answer::Answer;
use super::super::dialog::LocalEnd;
use super::super::endpoint::{
    Endpoint, EndpointConfig, Output, Probe, ProbeId, Replaced, RequestId, SessionId,
};
use super::super::session::{CallEnd, CallFailure, IncomingInvite, SessionCommand, SessionEvent};
use super::super::transaction::Failure;
use super::super::{Flow, Hop, Reason, Replaces, Request, Response, StatusCode, Transport, wire};
use super::feed::{Feed, Inbound, Known, ReaderStats, read};
use super::served::Served;
use super::tcp::Streams;
use super::tls::Peers;
use super::udp::Ways;
use super::{Bound, Dial, EVENT_QUEUE, IncomingSession, SessionHandle, StackStats, TlsBound};
use crate::base::{External, Fresh, Path, Seed, Seldom};
use crate::net::io::source_towards;
use bytes::Bytes;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, warn};

/// Turns in a row that known sources are served first.
const TRUSTED_RUN: u32 = 64;
/// Free places in a queue of events below which provisional events are dropped.
const RESERVED_EVENTS: usize = 4;

/// How long the system's word on our address towards a host holds: to ask takes a socket.
const SOURCE_HOLDS: Duration = Duration::from_secs(1);

/// How often calls are looked for whose reader has gone without a word.
const UNREAD_INTERVAL: Duration = Duration::from_secs(1);

static NEXT_TOKEN: AtomicU64 = AtomicU64::new(1);

/// A name for a call before the endpoint has one.
pub(super) fn next_token() -> u64 {
    NEXT_TOKEN.fetch_add(1, Ordering::Relaxed)
}

/// From handles to the owner.
pub(super) enum Command {
    /// `named` hears its Call-ID.
    Dial {
        token: u64,
        dial: Box<Dial>,
        events: mpsc::Sender<SessionEvent>,
        named: oneshot::Sender<Arc<str>>,
    },
    Probe {
        target: Hop,
        probe: Box<Probe>,
        reply: oneshot::Sender<Result<StatusCode, Failure>>,
    },
    Meet {
        target: Hop,
    },
    Source {
        target: Hop,
        reply: oneshot::Sender<Option<IpAddr>>,
    },
    End {
        target: Hop,
        reply: oneshot::Sender<Option<LocalEnd>>,
    },
    Request {
        flow: Flow,
        request: Box<Request>,
        limit: Option<Duration>,
        reply: Reply,
    },
    Session {
        token: u64,
        command: SessionCommand,
    },
    Find {
        replaces: Box<Replaces>,
        reply: oneshot::Sender<Replaced<u64>>,
    },
    Stats {
        reply: oneshot::Sender<StackStats>,
    },
    Drain {
        limit: Duration,
    },
    Shutdown {
        limit: Duration,
        reason: Option<Reason>,
    },
}

type Reply = oneshot::Sender<Result<Box<Response>, Failure>>;

struct Call {
    token: u64,
    events: mpsc::Sender<SessionEvent>,
}

/// Where calls to us go. The sender is weak: handles alone keep the owner alive.
pub(super) struct Incoming {
    pub(super) served: Arc<Served>,
    pub(super) commands: mpsc::WeakSender<Command>,
}

/// Sends at once or not at all. Past tokio's readiness on purpose: that of a fresh socket is unknown until the
/// runtime has looked, and the first datagram of a call would be lost to it. The socket never blocks.
fn send_to(socket: &UdpSocket, bytes: &[u8], remote: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(bytes, &remote.into())
}

/// The listen addresses that a target can be reached from: the one that the kernel itself would send from goes first, then
/// the wildcard.
fn fitting(mut mains: Vec<SocketAddr>, target: SocketAddr, preferred: Option<IpAddr>) -> Vec<SocketAddr> {
    mains.retain(|main| main.is_ipv4() == target.is_ipv4());
    // an address of the loopback reaches nothing else
    mains.retain(|main| !main.ip().is_loopback() || target.ip().is_loopback());
    mains.sort_by_key(|main| match Some(main.ip()) {
        ip if ip == preferred => 0,
        _ if main.ip().is_unspecified() => 1,
        _ => 2,
    });
    mains
}

/// The kernel has no room at the moment: what is repeated gets through.
fn is_full(sent: &io::Result<usize>) -> bool {
    sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

/// How often the log hears that messages cannot be sent.
const UNSENT_INTERVAL: Duration = Duration::from_secs(60);

/// Whether an error in asking for a route says that there is none (`unreachable`, `prohibit` and `blackhole` are errors of
/// their own); without a descriptor there is no telling.
fn says_no_route(error: &io::Error) -> bool {
    use io::ErrorKind::{HostUnreachable, InvalidInput, NetworkUnreachable, PermissionDenied};
    matches!(error.kind(), HostUnreachable | NetworkUnreachable | PermissionDenied | InvalidInput)
}

/// The owner of the machines.
pub(super) struct Owner {
    endpoint: Endpoint,
    mains: Vec<(SocketAddr, Arc<UdpSocket>)>,
    /// Where we listen for TLS.
    tls_mains: Vec<SocketAddr>,
    ways: Ways,
    streams: Streams,
    readers: JoinSet<()>,
    feed: Feed,
    trusted: mpsc::Receiver<Inbound>,
    strangers: mpsc::Receiver<Inbound>,
    commands: mpsc::Receiver<Command>,
    incoming: Incoming,
    calls: BTreeMap<SessionId, Call>,
    tokens: BTreeMap<u64, SessionId>,
    probes: BTreeMap<ProbeId, (IpAddr, oneshot::Sender<Result<StatusCode, Failure>>)>,
    requests: BTreeMap<RequestId, (IpAddr, Reply)>,
    /// Which of our addresses reaches a host.
    sources: Fresh<IpAddr, IpAddr>,
    unsent: u64,
    unsent_told: Seldom,
    deadline: Option<Instant>,
    /// When to look for calls without a reader; none when there are no calls.
    unread_check: Option<Instant>,
}

impl Owner {
    pub(super) fn new(
        config: EndpointConfig,
        seed: Seed,
        (bound, tls): (Vec<Bound>, TlsBound),
        (known, stats, peers): (Arc<Known>, Arc<ReaderStats>, Peers),
        admission: AdmissionConfig,
        commands: mpsc::Receiver<Command>,
        incoming: Incoming,
    ) -> Self {
        let (feed, trusted, strangers) = Feed::new(known, stats, admission);
        let (mains, listeners): (Vec<_>, Vec<_>) =
            bound.into_iter().map(|b| ((b.address, b.udp), b.tcp)).unzip();
        let streams = Streams::new(feed.clone(), peers);
        listeners.into_iter().for_each(|listener| streams.listen(listener, None));
        let mut tls_mains = Vec::new();
        for (address, listener) in tls.listeners {
            tls_mains.push(address);
            streams.listen(listener, tls.acceptor.clone());
        }
        Self {
            endpoint: Endpoint::new(config, seed),
            mains,
            tls_mains,
            ways: Ways::default(),
            streams,
            readers: JoinSet::new(),
            feed,
            trusted,
            strangers,
            commands,
            incoming,
            calls: BTreeMap::new(),
            tokens: BTreeMap::new(),
            probes: BTreeMap::new(),
            requests: BTreeMap::new(),
            sources: Fresh::new(SOURCE_HOLDS),
            unsent: 0,
            unsent_told: Seldom::new(UNSENT_INTERVAL),
            deadline: None,
            unread_check: None,
        }
    }

    /// The connections.
    pub(super) fn streams(&self) -> Streams {
        self.streams.clone()
    }

    /// Runs until shut down, or until every handle is gone.
    pub(super) async fn run(mut self) {
        for (local, socket) in &self.mains {
            self.readers.spawn(read(Arc::clone(socket), *local, None, self.feed.clone()));
        }
        let mut run: u32 = 0;
        loop {
            let now = Instant::now();
            // before the queues, so that a flood cannot hold the clock
            if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
                self.endpoint.handle_timeout(now);
                self.carry_out(now);
            }
            if self.deadline.is_some_and(|at| at <= now || self.endpoint.is_quiet()) {
                return self.end_all().await;
            }
            self.check_unread(now);
            self.ways.close_idle(now);
            let ours = [self.deadline, self.unread_check, self.ways.poll_timeout()];
            let wake = ours.into_iter().chain([self.endpoint.poll_timeout()]).flatten().min();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            // a known source that floods may not hold commands and strangers off for ever
            run = (run + 1) % TRUSTED_RUN;
            if run == 0 {
                if let Ok(command) = self.commands.try_recv() {
                    self.handle_command(command);
                }
                if let Ok(inbound) = self.strangers.try_recv() {
                    self.handle_inbound(inbound);
                }
                tokio::task::consume_budget().await;
                continue;
            }
            // every arm is cancel-safe: receiving from a channel, sleeping
            tokio::select! {
                biased;
                Some(inbound) = self.trusted.recv() => self.handle_inbound(inbound),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => return self.end_all().await,
                },
                Some(inbound) = self.strangers.recv() => self.handle_inbound(inbound),
                () = sleep => {}
            }
        }
    }

    /// The stack ends: calls whose far side has not answered are over all the same.
    async fn end_all(mut self) {
        while let Some((_, call)) = self.calls.pop_first() {
            // a reader that is gone or behind sees the channel close
            let _ = call.events.try_send(SessionEvent::Ended(CallEnd::Local));
        }
        self.streams.close().await;
    }

    fn handle_inbound(&mut self, inbound: Inbound) {
        let now = Instant::now();
        match inbound {
            Inbound::Datagram { mut flow, bytes, is_stranger } => {
                // an INVITE may become a dialog, whose Contact must name an address of ours; that of a REGISTER must not
                if flow.path.local.ip().is_unspecified()
                    && (bytes.starts_with(b"INVITE ") || bytes.starts_with(b"REGISTER "))
                    && let Ok(ip) = self.source_towards(now, flow.path.remote)
                {
                    flow.path.local.set_ip(ip);
                }
                if !flow.transport.is_reliable() {
                    self.ways.heard(now, flow.path.remote);
                }
                wire::received(&flow, &bytes);
                if is_stranger {
                    self.endpoint.handle_stranger(now, flow, &bytes);
                } else {
                    self.endpoint.handle_datagram(now, flow, &bytes);
                }
            }
            Inbound::Unreachable { hop } => self.endpoint.handle_transport_error(now, hop),
            Inbound::Broken { flow, error } => {
                let is_stranger = !self.feed.is_known(flow.path.remote.ip());
                self.endpoint.handle_broken(now, flow, *error, is_stranger);
                self.carry_out(now);
                self.streams.finish(flow.hop());
            }
            Inbound::Closed { hop } => self.endpoint.handle_closed(now, hop),
        }
        self.carry_out(now);
    }

    fn handle_command(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Dial { token, dial, events, named } => {
                if let Some(session) = self.dial(now, token, *dial, events) {
                    let _ = named.send(self.endpoint.call_id(session).unwrap_or_default().into());
                }
            }
            Command::Session { token, command } => {
                if let Some(session) = self.tokens.get(&token) {
                    self.endpoint.command(now, *session, command);
                }
            }
            Command::Find { replaces, reply } => {
                let token = |session| self.calls.get(&session).map(|call| call.token);
                let found = match self.endpoint.find(&replaces) {
                    Replaced::Talking(session) => token(session).map_or(Replaced::Over, Replaced::Talking),
                    Replaced::Ringing { call, is_ours } => {
                        token(call).map_or(Replaced::Over, |call| Replaced::Ringing { call, is_ours })
                    }
                    Replaced::Unknown => Replaced::Unknown,
                    Replaced::Over => Replaced::Over,
                };
                let _ = reply.send(found);
            }
            Command::Probe { target, probe, reply } => match self.flow_to(target) {
                Some(flow) => match self.endpoint.probe(now, flow, *probe) {
                    Ok(probe) => {
                        self.feed.known().add(target.address.ip());
                        self.probes.insert(probe, (target.address.ip(), reply));
                    }
                    Err(_) => drop(reply.send(Err(Failure::Timeout))),
                },
                None => drop(reply.send(Err(Failure::Transport))),
            },
            Command::Meet { target } => {
                self.streams.meet(target);
                let _ = self.flow_to(target);
                if target.transport == Transport::Udp {
                    self.ways.keep(target.address);
                }
            }
            Command::Source { target, reply } => {
                // a socket that is connected there may have lost its route since
                let asked = self.source_towards(Instant::now(), target.address);
                let has_route = !asked.is_err_and(|error| says_no_route(&error));
                let flow = if has_route { self.flow_to(target) } else { None };
                let _ = reply.send(flow.map(|flow| flow.path.local.ip()));
            }
            Command::End { target, reply } => {
                let agent = self.endpoint.agent().to_owned();
                let flow = self.flow_to(target);
                drop(reply.send(flow.map(|flow| LocalEnd {
                    flow,
                    external: External::default(),
                    contact_user: None,
                    agent,
                    is_sips: false,
                })));
            }
            Command::Request { flow, request, limit, reply } => {
                match self.endpoint.request(now, flow, *request, limit) {
                    Ok(id) => {
                        let ip = flow.path.remote.ip();
                        self.feed.known().add(ip);
                        self.requests.insert(id, (ip, reply));
                    }
                    Err(_) => drop(reply.send(Err(Failure::Timeout))),
                }
            }
            Command::Stats { reply } => drop(reply.send(self.stats())),
            Command::Drain { limit } => self.endpoint.drain(now + limit),
            Command::Shutdown { limit, reason } => {
                self.endpoint.close(now + limit);
                self.endpoint.hangup_all(now, reason.as_ref());
                self.deadline = Some(now + limit);
            }
        }
        self.carry_out(now);
    }

    fn dial(
        &mut self,
        now: Instant,
        token: u64,
        dial: Dial,
        events: mpsc::Sender<SessionEvent>,
    ) -> Option<SessionId> {
        // the channel is new: there is room for the one event
        let Some(flow) = self.flow_to(dial.target) else {
            let _ = events.try_send(SessionEvent::Failed(CallFailure::Transport));
            return None;
        };
        match self.endpoint.dial(now, flow, dial.contact_user, dial.call) {
            Ok(session) => {
                if self.streams.is_theirs(dial.target) {
                    self.endpoint.stay_on_connection(session);
                }
                self.feed.known().add(dial.target.address.ip());
                self.tokens.insert(token, session);
                self.calls.insert(session, Call { token, events });
                Some(session)
            }
            Err(_) => {
                let _ = events.try_send(SessionEvent::Failed(CallFailure::Congestion));
                None
            }
        }
    }

    /// Hangs up calls whose events nobody reads any more: the reader's task failed, and its call would live as
    /// long as the far side likes.
    fn check_unread(&mut self, now: Instant) {
        if self.calls.is_empty() {
            self.unread_check = None;
            return;
        }
        if self.unread_check.is_some_and(|at| at > now) {
            return;
        }
        self.unread_check = Some(now + UNREAD_INTERVAL);
        self.calls.values().filter(|c| c.events.is_closed()).for_each(|c| self.hang_up_unread(c.token));
    }

    /// Hangs up a call whose reader is gone, after the commands that wait: its last word may be among them. With no room
    /// for it, the next check comes here again.
    fn hang_up_unread(&self, token: u64) {
        if let Some(commands) = self.incoming.commands.upgrade() {
            let _ = commands.try_send(Command::Session { token, command: SessionCommand::Hangup(None) });
        }
    }

    /// Our address that reaches a host.
    fn source_towards(&mut self, now: Instant, target: SocketAddr) -> io::Result<IpAddr> {
        self.sources.get(now, target.ip(), |_| source_towards(target))
    }

    /// The flow towards a target. By UDP from its connected socket, made when there is none.
    fn flow_to(&mut self, target: Hop) -> Option<Flow> {
        let Hop { transport, address } = target;
        let now = Instant::now();
        if transport == Transport::Udp
            && let Some(local) = self.ways.local(now, address)
        {
            return Some(Flow::udp(local, address));
        }
        let preferred = self.source_towards(now, address).ok();
        // readers of sockets that were given up
        while self.readers.try_join_next().is_some() {}
        let mains = match transport {
            Transport::Udp | Transport::Tcp => self.mains.iter().map(|(main, _)| *main).collect(),
            Transport::Tls(_) => self.tls_mains.clone(),
        };
        let fit = fitting(mains, address, preferred);
        if transport == Transport::Udp {
            for main in &fit {
                let Some((_, main)) = self.mains.iter().find(|(local, _)| local == main) else { continue };
                let made = self.ways.connect(now, main, address, &mut self.readers, &self.feed);
                if let Some(local) = made {
                    return Some(Flow::udp(local, address));
                }
            }
        }
        // a connection's own port is nothing to name; and by UDP there was no room for one more socket: by the
        // main one, without news of a closed port
        let main = fit.first()?;
        let ip = if main.ip().is_unspecified() { preferred? } else { main.ip() };
        Some(Flow { transport, path: Path { local: SocketAddr::new(ip, main.port()), remote: address } })
    }

    /// Carries out what the endpoint asks for.
    fn carry_out(&mut self, now: Instant) {
        let mut done = Vec::new();
        while let Some(output) = self.endpoint.poll_output() {
            match output {
                Output::Send { flow, bytes } => self.send(now, flow, &bytes),
                Output::Incoming { session, invite } => self.ring(now, session, invite),
                Output::Event { session, event } => self.tell(now, session, event),
                Output::Done { session, remote } => {
                    done.push(remote.ip());
                    if let Some(call) = self.calls.remove(&session) {
                        self.tokens.remove(&call.token);
                    }
                }
                Output::Silent { hop, since } => self.streams.doubt(hop, since),
                Output::Probed { probe, result } => {
                    if let Some((ip, reply)) = self.probes.remove(&probe) {
                        self.feed.known().remove(ip);
                        // who asked may have gone
                        let _ = reply.send(result);
                    }
                }
                Output::Answered { request, result } => {
                    if let Some((ip, reply)) = self.requests.remove(&request) {
                        self.feed.known().remove(ip);
                        let _ = reply.send(result);
                    }
                }
            }
        }
        // after its last words, which may need a connection that only known sources get
        done.into_iter().for_each(|ip| self.feed.known().remove(ip));
    }

    /// Hands a call to who serves its owner.
    fn ring(&mut self, now: Instant, session: SessionId, invite: Box<IncomingInvite>) {
        // taken back by the session's end
        self.feed.known().add(invite.flow.path.remote.ip());
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let token = next_token();
        let is_taken = self.incoming.commands.upgrade().is_some_and(|commands| {
            let call_id = invite.headers.call_id().unwrap_or_default().into();
            let handle = SessionHandle { commands, token, call_id };
            self.incoming.served.deliver(IncomingSession { invite, handle, events: receiver })
        });
        if is_taken {
            self.tokens.insert(token, session);
            self.calls.insert(session, Call { token, events });
        } else {
            let refusal = Answer::new(StatusCode::SERVICE_UNAVAILABLE);
            self.endpoint.command(now, session, SessionCommand::Refuse(refusal));
        }
    }

    fn tell(&mut self, now: Instant, session: SessionId, event: SessionEvent) {
        let Some(call) = self.calls.get(&session) else { return };
        let is_provisional = matches!(event, SessionEvent::Ringing | SessionEvent::Progress { .. });
        let is_last = matches!(event, SessionEvent::Failed(_) | SessionEvent::Ended(_));
        if is_provisional && call.events.capacity() < RESERVED_EVENTS {
            return;
        }
        let (token, told) = (call.token, call.events.try_send(event));
        if is_last {
            // the session lingers for retransmissions; its reader need not
            self.calls.remove(&session);
            self.tokens.remove(&token);
            return;
        }
        match told {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => self.hang_up_unread(token),
            // who presses keys faster than they are read loses some of them, and not the call
            Err(mpsc::error::TrySendError::Full(SessionEvent::Key(_))) => {
                debug!("a key by INFO is dropped: there are too many at once");
            }
            // its reader sleeps
            Err(mpsc::error::TrySendError::Full(_)) => {
                warn!("a call's events are not read; it is hung up");
                self.endpoint.hangup(now, session, None);
            }
        }
    }

    fn send(&mut self, now: Instant, flow: Flow, bytes: &Bytes) {
        wire::sent(&flow, bytes);
        let remote = flow.path.remote;
        if flow.transport.is_reliable() {
            if !self.streams.send(flow, bytes) {
                self.unsent += 1;
                self.endpoint.handle_transport_error(now, flow.hop());
            }
            return;
        }
        if let Some(socket) = self.ways.socket(now, remote) {
            let sent = match socket.send(bytes) {
                // the error of an earlier datagram, told and forgotten by the kernel: this one has not left
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => socket.send(bytes),
                sent => sent,
            };
            match sent {
                Ok(_) => return,
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    self.endpoint.handle_transport_error(now, remote);
                    self.unsent += 1;
                    return;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent += 1;
                    return;
                }
                // our address may have changed: the next call makes a new socket
                Err(_) => self.ways.close(remote),
            }
        }
        let local = flow.path.local;
        let fit = |(main, _): &&(SocketAddr, Arc<UdpSocket>)| *main == local;
        let same_port = |(main, _): &&(SocketAddr, Arc<UdpSocket>)| {
            main.port() == local.port() && main.is_ipv4() == local.is_ipv4()
        };
        let main = self.mains.iter().find(fit).or_else(|| self.mains.iter().find(same_port));
        let sent = main.map(|(_, socket)| send_to(socket, bytes, remote));
        if let Some(Ok(_)) = sent {
            return;
        }
        self.unsent += 1;
        // no route, or a firewall of our own: to wait for an answer is in vain (RFC 3261 §18.4)
        if let Some(Err(error)) = sent.filter(|sent| !is_full(sent)) {
            if let Some(times) = self.unsent_told.happened(now) {
                warn!(to = %remote, %error, times, "SIP messages cannot be sent");
            }
            self.endpoint.handle_transport_error(now, remote);
        }
    }

    fn stats(&self) -> StackStats {
        let (sessions, transactions) = self.endpoint.live();
        StackStats {
            drops: self.endpoint.drops(),
            over_budget: self.feed.over_budget(),
            queue_full: self.feed.queue_full(),
            unsent: self.unsent,
            sessions,
            transactions,
            connections: self.streams.len(),
        }
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
