//! The SIP stack with its sockets: drives [`super::endpoint::Endpoint`].
//!
//! One task a socket reads; one task owns the machines, with one timer at their next deadline. Readers sort
//! sources into known (trunks, far sides of live calls) and strangers: the former have a queue of their own
//! that is served first, the latter pass [`super::admission`]. Full queues drop and count: SIP over UDP
//! repeats itself. Sending never waits; a full kernel buffer is a lost datagram. Every listen address is served by
//! UDP and TCP, those for TLS by it alone; connections have a task each (`tcp`, `tls`). Another transport adds a
//! reader, a branch in `send` and a variant of `Transport`.

mod feed;
mod outbox;
mod owner;
mod served;
mod tcp;
mod tls;
mod udp;
mod upkeep;

use super::admission::AdmissionConfig;
use super::dialog::LocalEnd;
use super::endpoint::{Drops, EndpointConfig, Probe, Refuse, Replaced, RequestHandler};
use super::qualify::{Qualify, Reachability};
use super::register::{RegisterConfig, Registration};
use super::session::{IncomingInvite, OutgoingCall, SessionCommand, SessionEvent};
use super::transaction::{Failure, LayerConfig, Timings};
use super::{
    Flow, Hop, Limits, NameAddr, Reason, Replaces, Request, Response, StatusCode, TlsPeer, Transport,
};
use crate::base::{Network, Seed};
use crate::net::io::{NoIpv6, listenable};
use crate::net::tls::{Acceptor, Identity, TlsError};
use feed::{Known, ReaderStats};
use owner::{Command, Owner};
use served::{Served, Switch};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tcp::Streams;
use tls::Peers;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::info;
use upkeep::Upkeep;

pub use tls::TlsTarget;
pub use upkeep::{Locate, Reach, RegistrationHandle};

/// Settings of the stack.
#[derive(Clone)]
pub struct StackConfig {
    /// Addresses to listen on, v4 and v6.
    pub listen: Vec<SocketAddr>,
    /// Addresses to listen on for TLS.
    pub tls_listen: Vec<SocketAddr>,
    /// Who we are by TLS; it is listened for with it alone.
    pub identity: Option<Arc<Identity>>,
    /// Sources that need no budget: the trunks' addresses.
    pub known: Vec<IpAddr>,
    /// User-Agent and Server.
    pub agent: String,
    /// Base times of transactions.
    pub timings: Timings,
    /// Most calls of ours at once.
    pub max_sessions: usize,
    /// Budget of strangers.
    pub admission: AdmissionConfig,
    /// Answers calls to us.
    pub handler: Arc<dyn RequestHandler>,
}

impl StackConfig {
    /// Defaults: calls to us get 404.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            tls_listen: Vec::new(),
            identity: None,
            known: Vec::new(),
            agent: concat!("sipedge/", env!("CARGO_PKG_VERSION")).to_owned(),
            timings: Timings::default(),
            max_sessions: 2_000,
            admission: AdmissionConfig::default(),
            handler: Arc::new(Refuse(StatusCode::NOT_FOUND)),
        }
    }
}

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program has the address.
    #[error(
        "{}: {} {address} is taken by another program (FreeSWITCH's external profile uses {} too); stop it or choose \
         another port",
        key(*transport),
        transport.as_str(),
        if transport.is_secure() { 5081 } else { 5080 }
    )]
    Taken {
        /// The address.
        address: SocketAddr,
        /// Which of its sockets.
        transport: Transport,
    },
    /// The address is none of this machine.
    #[error(
        "{}: {} is no address of this machine; name one that `ip address` shows, or have sipedge start when it is there (in \
         its systemd unit: Wants= and After=network-online.target)",
        key(*.0),
        .1.ip()
    )]
    NotLocal(Transport, SocketAddr),
    /// It is of IPv6, which this machine has not.
    #[error("{}: {}", key(*.0), .1)]
    NoIpv6(Transport, NoIpv6),
    /// Anything else.
    #[error("{}: cannot listen on {address}: {reason}", key(*transport))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which of its sockets.
        transport: Transport,
        /// What the system said.
        reason: io::Error,
    },
    /// Nothing to listen on.
    #[error("sip.listen: no address to listen on; name one, as 0.0.0.0:5080")]
    NoAddress,
    /// The certificate cannot be served with.
    #[error("sip.tls_certificate: {0}")]
    Tls(#[from] TlsError),
}

/// What named an address.
const fn key(transport: Transport) -> &'static str {
    if transport.is_secure() { "sip.tls_listen" } else { "sip.listen" }
}

impl StartError {
    fn new(transport: Transport, address: SocketAddr, reason: io::Error) -> Self {
        match (NoIpv6::of(address, &reason), reason.kind()) {
            (Some(none), _) => Self::NoIpv6(transport, none),
            (None, io::ErrorKind::AddrInUse) => Self::Taken { address, transport },
            (None, io::ErrorKind::AddrNotAvailable) => Self::NotLocal(transport, address),
            _ => Self::Listen { address, transport, reason },
        }
    }
}

/// What to dial and where.
#[derive(Debug, Clone)]
pub struct Dial {
    /// Next hop.
    pub target: Hop,
    /// User part of our Contact.
    pub contact_user: Option<String>,
    /// The call.
    pub call: OutgoingCall,
}

/// A call to us.
#[derive(Debug)]
pub struct IncomingSession {
    /// What its INVITE says.
    pub invite: Box<IncomingInvite>,
    /// For commands.
    pub handle: SessionHandle,
    /// Its news; dropping it ends the call.
    pub events: mpsc::Receiver<SessionEvent>,
}

/// Counters of the stack, since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StackStats {
    /// What the machines dropped.
    pub drops: Drops,
    /// Datagrams of strangers beyond their budget.
    pub over_budget: u64,
    /// Datagrams dropped because a queue was full.
    pub queue_full: u64,
    /// Datagrams that could not be sent.
    pub unsent: u64,
    /// Live sessions.
    pub sessions: usize,
    /// Live transactions.
    pub transactions: usize,
    /// Open TCP and TLS connections.
    pub connections: usize,
}

/// How many events of a call may wait for their reader. Provisional ones are dropped when it is nearly
/// full; the answer and the end always have room.
const EVENT_QUEUE: usize = 32;

/// Calls to one owner that may wait to be taken; further ones are refused with 503. A queue of datagrams is read in
/// one go, and every one of them may be a call.
const INCOMING_QUEUE: usize = 1_024;

/// Commands that may wait for the owner.
const COMMAND_QUEUE: usize = 4_096;

/// The running stack. Clones share it.
#[derive(Clone)]
pub struct SipStack {
    commands: mpsc::Sender<Command>,
    known: Arc<Known>,
    served: Arc<Served>,
    handler: Arc<Switch>,
    addresses: Arc<[SocketAddr]>,
    tls_addresses: Arc<[SocketAddr]>,
    peers: Peers,
    streams: Streams,
    seed: Arc<std::sync::Mutex<Seed>>,
    upkeep: Arc<Upkeep>,
    task: Arc<tokio::sync::Mutex<Option<JoinHandle<()>>>>,
}

/// A call, ours or to us. Dropping the handle does not end the call; [`SessionCommand::Hangup`] does, and so
/// does, a second later or sooner, dropping the receiver of its events.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    commands: mpsc::Sender<Command>,
    token: u64,
    call_id: Arc<str>,
}

impl SessionHandle {
    /// Asks something of the call. Harmless when it is over.
    pub async fn command(&self, command: SessionCommand) {
        // the stack is gone only when all calls are
        let _ = self.commands.send(Command::Session { token: self.token, command }).await;
    }

    /// Its name, unique for the life of the process.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Its Call-ID, by which the far side's log knows it too; empty for a call that could not even be sent.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The same without waiting; false when the queue of commands is full.
    #[must_use]
    pub fn try_command(&self, command: SessionCommand) -> bool {
        let sent = self.commands.try_send(Command::Session { token: self.token, command });
        !matches!(sent, Err(mpsc::error::TrySendError::Full(_)))
    }

    /// Ends the call in whatever state it is; the reason travels as a Reason header.
    pub async fn hangup(&self, reason: Option<Reason>) {
        self.command(SessionCommand::Hangup(reason)).await;
    }

    /// The same without waiting; false when the queue of commands is full.
    #[must_use]
    pub fn try_hangup(&self, reason: Option<Reason>) -> bool {
        self.try_command(SessionCommand::Hangup(reason))
    }
}

/// A listen address with its two sockets.
struct Bound {
    address: SocketAddr,
    udp: Arc<tokio::net::UdpSocket>,
    tcp: tokio::net::TcpListener,
}

/// The listen addresses for TLS.
struct TlsBound {
    listeners: Vec<(SocketAddr, tokio::net::TcpListener)>,
    acceptor: Option<Acceptor>,
}

impl TlsBound {
    fn new(addresses: &[SocketAddr], identity: Option<Arc<Identity>>) -> Result<Self, StartError> {
        let Some(identity) = identity else { return Ok(Self { listeners: Vec::new(), acceptor: None }) };
        let acceptor = Acceptor::for_sip(identity)?;
        let mut listeners = Vec::new();
        for address in listenable(addresses) {
            let bound = tcp::bind(address).and_then(|l| l.local_addr().map(|address| (address, l)));
            let failed = |reason| StartError::new(Transport::Tls(TlsPeer::ANY), address, reason);
            listeners.push(bound.map_err(failed)?);
        }
        Ok(Self { listeners, acceptor: Some(acceptor) })
    }
}

/// How often a port of the system's choice is asked for that is free for both transports.
const PORT_TRIES: u32 = 16;

impl Bound {
    fn new(address: SocketAddr) -> Result<Self, (Transport, io::Error)> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let tcp = tcp::bind(address).map_err(|reason| (Transport::Tcp, reason))?;
            let address = tcp.local_addr().map_err(|reason| (Transport::Tcp, reason))?;
            match udp::bind(address) {
                Ok(udp) => return Ok(Self { address, udp, tcp }),
                Err(reason) if tries > 0 && reason.kind() == io::ErrorKind::AddrInUse => {}
                Err(reason) => return Err((Transport::Udp, reason)),
            }
        }
    }
}

impl SipStack {
    /// Binds all addresses and starts the tasks; needs a running tokio runtime.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub fn start(config: StackConfig, mut seed: Seed) -> Result<Self, StartError> {
        if config.listen.is_empty() {
            return Err(StartError::NoAddress);
        }
        let mut bound = Vec::new();
        for address in listenable(&config.listen) {
            let failed = |(transport, reason)| StartError::new(transport, address, reason);
            bound.push(Bound::new(address).map_err(failed)?);
        }
        let tls = TlsBound::new(&config.tls_listen, config.identity.clone())?;
        let tls_addresses: Arc<[SocketAddr]> = tls.listeners.iter().map(|(address, _)| *address).collect();
        let peers = Peers::new(config.identity);
        if let Some((granted, wanted)) = bound.first().and_then(|b| udp::narrow_buffer(&b.udp)) {
            info!(
                granted_kib = granted >> 10,
                wanted_kib = wanted >> 10,
                "the kernel grants SIP by UDP little room for bursts; sysctl net.core.rmem_max={wanted} gives it all"
            );
        }
        let addresses: Arc<[SocketAddr]> = bound.iter().map(|b| b.address).collect();
        let known = Arc::new(Known::new(&config.known));
        let (served, handler) = (Arc::new(Served::default()), Arc::new(Switch::new(config.handler)));
        let (commands, inbox) = mpsc::channel(COMMAND_QUEUE);
        let endpoint = EndpointConfig {
            layer: LayerConfig { timings: config.timings, ..LayerConfig::default() },
            max_sessions: config.max_sessions,
            limits: Limits::UDP,
            agent: config.agent,
            handler: Arc::clone(&handler) as Arc<dyn RequestHandler>,
        };
        let incoming = owner::Incoming { served: Arc::clone(&served), commands: commands.downgrade() };
        let stats = Arc::new(ReaderStats::default());
        let own_seed = Arc::new(std::sync::Mutex::new(seed.fork()));
        let shared = (Arc::clone(&known), stats, peers.clone());
        let owner = Owner::new(endpoint, seed, (bound, tls), shared, config.admission, inbox, incoming);
        let streams = owner.streams();
        let task = Arc::new(tokio::sync::Mutex::new(Some(tokio::spawn(owner.run()))));
        Ok(Self {
            commands,
            known,
            served,
            handler,
            addresses,
            tls_addresses,
            peers,
            streams,
            seed: own_seed,
            upkeep: Arc::default(),
            task,
        })
    }

    /// From now on this handler decides on requests of no dialog.
    pub fn set_handler(&self, handler: Arc<dyn RequestHandler>) {
        self.handler.set(handler);
    }

    /// The calls to us that the handler accepts for this owner. A second receiver takes the place of the
    /// first; calls that nobody receives, or that wait behind too many others, are refused with 503.
    #[must_use]
    pub fn serve(&self, owner: &str) -> mpsc::Receiver<IncomingSession> {
        let (sender, receiver) = mpsc::channel(INCOMING_QUEUE);
        self.served.add(owner, sender);
        receiver
    }

    /// The addresses it listens on, with the ports the system chose where 0 was asked for.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses it listens on for TLS, likewise.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// The transport of what is sent by TLS to this target. It needs an address that we listen on for TLS, which Via and
    /// Contact name.
    ///
    /// # Errors
    /// The target has no name that a certificate could have.
    pub fn tls_peer(&self, target: TlsTarget) -> Result<Transport, TlsError> {
        self.peers.add(target)
    }

    /// Whether the connection that the far side made from there is open: what it registered by one may go by no other.
    #[must_use]
    pub fn is_connected(&self, hop: Hop) -> bool {
        self.streams.is_theirs(hop)
    }

    /// Lets a source pass without the budget of strangers, until [`SipStack::distrust`].
    pub fn trust(&self, source: IpAddr) {
        self.known.add(source);
    }

    /// Takes one [`SipStack::trust`] back.
    pub fn distrust(&self, source: IpAddr) {
        self.known.remove(source);
    }

    /// The same as [`SipStack::trust`] for a network, for the life of the stack.
    pub fn trust_network(&self, network: Network) {
        self.known.add_network(network);
    }

    /// Readies the way to a peer: by UDP, what comes from its address and port has a socket of its own from now on,
    /// and waits behind nobody else's datagrams in the kernel; by TLS, it is who a call that came from there is in.
    pub async fn meet(&self, peer: Hop) {
        let _ = self.commands.send(Command::Meet { target: peer }).await;
    }

    /// The address of ours that messages to a peer come from; none without a way to it: no route, or no listen address that
    /// it could be reached from.
    pub async fn source(&self, peer: Hop) -> Option<IpAddr> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Source { target: peer, reply }).await;
        answer.await.ok().flatten()
    }

    /// Dials. What becomes of the call comes as events, a failure to send it too; the last event is `Failed`
    /// or `Ended`, then the channel closes.
    pub async fn dial(&self, dial: Dial) -> (SessionHandle, mpsc::Receiver<SessionEvent>) {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let token = owner::next_token();
        let (named, name) = oneshot::channel();
        // when the stack is gone, the events' sender goes with the command and the receiver sees the end
        let _ = self.commands.send(Command::Dial { token, dial: Box::new(dial), events, named }).await;
        let call_id = name.await.unwrap_or_else(|_| "".into());
        (SessionHandle { commands: self.commands.clone(), token, call_id }, receiver)
    }

    /// The call that a Replaces names, by the token of its handle.
    pub async fn find(&self, replaces: Replaces) -> Replaced<u64> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Find { replaces: Box::new(replaces), reply }).await;
        answer.await.unwrap_or(Replaced::Unknown)
    }

    /// Asks whether somebody is at the target (OPTIONS): its status, or that none came.
    ///
    /// # Errors
    /// Nobody answered within 64·T1, or within the limit; or nobody is there.
    pub async fn options(&self, target: impl Into<Hop>, probe: Probe) -> Result<StatusCode, Failure> {
        let (reply, answer) = oneshot::channel();
        let _ =
            self.commands.send(Command::Probe { target: target.into(), probe: Box::new(probe), reply }).await;
        answer.await.unwrap_or(Err(Failure::Transport))
    }

    /// Keeps an address-of-record registered until the handle is closed or dropped, or the stack is shut down.
    pub fn register(&self, config: RegisterConfig, peer: Arc<dyn Locate>) -> RegistrationHandle {
        self.upkeep.register(self.clone(), peer, Registration::start(config, self.fork_seed()))
    }

    /// Watches whether somebody is there, until the receiver is dropped or the stack is shut down; `from` says who
    /// asks, see [`Probe::from`].
    pub fn qualify(
        &self,
        peer: Arc<dyn Locate>,
        from: Option<NameAddr>,
        interval: Duration,
    ) -> watch::Receiver<Reachability> {
        self.upkeep.qualify(self.clone(), peer, from, Qualify::start(interval, self.fork_seed()))
    }

    fn fork_seed(&self) -> Seed {
        self.seed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fork()
    }

    /// Our end of the signalling towards a target, if it can be reached at all.
    async fn end_towards(&self, target: Hop) -> Option<LocalEnd> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::End { target, reply }).await;
        answer.await.ok().flatten()
    }

    /// The final response to a request outside any dialog, within the limit or 64·T1.
    async fn request(
        &self,
        flow: Flow,
        request: Request,
        limit: Option<Duration>,
    ) -> Result<Box<Response>, Failure> {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Request { flow, request: Box::new(request), limit, reply }).await;
        answer.await.unwrap_or(Err(Failure::Transport))
    }

    /// Returns when the stack has ended.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Counters; zeros when the stack has ended.
    pub async fn stats(&self) -> StackStats {
        let (reply, answer) = oneshot::channel();
        let _ = self.commands.send(Command::Stats { reply }).await;
        answer.await.unwrap_or_default()
    }

    /// From now on calls to us are refused, and OPTIONS of no dialog is answered likewise: 503, with a Retry-After
    /// that names what is left of `limit`. Calls that live go on.
    pub async fn drain(&self, limit: Duration) {
        let _ = self.commands.send(Command::Drain { limit }).await;
    }

    /// Ends: takes registrations away, refuses new calls, hangs up those that live, waits until nothing is
    /// unanswered, at most `limit`, of which half is the registrars'.
    pub async fn shutdown(&self, limit: Duration, reason: Option<Reason>) {
        let start = tokio::time::Instant::now();
        self.upkeep.close(limit / 2).await;
        let limit = limit.saturating_sub(start.elapsed());
        let _ = self.commands.send(Command::Shutdown { limit, reason }).await;
        let task = self.task.lock().await.take();
        if let Some(task) = task {
            // a panic of the task was already told by the runtime's hook
            let _ = task.await;
        }
    }
}

#[cfg(test)]
mod tests;
