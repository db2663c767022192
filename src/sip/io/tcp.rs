//! TCP and TLS connections of the stack (RFC 3261 §18).
//!
//! One task a connection, whoever opened it, reads and writes; all of them stand in one table by transport and far
//! address, where [`Streams::send`] finds them. One by TLS is there when its handshake is done (`tls`), or, when it is
//! ours, from the start: what is to be sent waits in its `outbox`. Who does not read is cut off, and so is who sends half a
//! message and no more, or nothing at all. How many there may be, and who gives way to a newcomer, `net::places` says: the
//! silent ones of strangers, and never one from where a known peer is, who has places that strangers cannot take. A broken
//! frame ends a connection after its answer was written.
//!
//! One that is dead without a word is found out by the kernel (keep-alive, and the time that what was sent may go without
//! an acknowledgement); and one of ours that nothing came by while a request by it went unanswered has a new one
//! take its place (RFC 5626 §4.4).
//!
//! A request goes by the connection that is open to its target, else by one that is opened for it; an answer
//! by the one its request came by, else by a new one to where Via says (§18.2.2), which only known peers get.

use super::super::frame::{Frame, Framer};
use super::super::{Flow, Hop, Limits, Message, parse};
use super::feed::{Feed, Inbound};
use super::outbox::{Outbox, Refused, WRITE_TIMEOUT, Waiting, outbox, write_all};
use super::tls::{self, HANDSHAKE_COST, HANDSHAKE_TIMEOUT, Peers};
use crate::base::Seldom;
use crate::net::guard::{GuardConfig, Refusal};
use crate::net::io::bind_listener;
use crate::net::places::Places;
use crate::net::tls::{Acceptor, Presented};
use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// A connection that nobody takes within this is no use to a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A message must be there this long after its first byte, and the first one this long after the connection.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without a message, a registration or a dialog.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// What was queued when the stack ended is written within this.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A connection that nothing came by for so long is asked whether it still stands, and again in such intervals.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));
/// What was sent is acknowledged by the far side's kernel within this.
const ACKNOWLEDGED: Duration = Duration::from_secs(20);
/// How long one that another has taken the place of is still read.
const LAST_LOOK: Duration = Duration::from_secs(20);
/// Connections of ours at once.
const MAX_OWN: usize = 256;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// After a failed accept (descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often the log hears of failed accepts, and of connections without a place.
const FAILURE_INTERVAL: Duration = Duration::from_secs(60);
/// Why a handshake that was not done in time is given up.
const TOO_SLOW: &str = "it did not complete the handshake in time: is that its TLS port?";
/// Bytes read at once.
const CHUNK: usize = 8 * 1024;

/// Binds a listen address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // so that [::] and 0.0.0.0 can both be listened on
        socket.set_only_v6(true)?;
    }
    // connections of a process that has ended do not hold the address
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    bind_listener(&socket, address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Open {
    id: u64,
    outbox: Outbox,
    is_ours: bool,
    life: Arc<Life>,
    /// Cuts it off.
    cut: CancellationToken,
    /// The certificates of who came to us by it.
    shown: Option<Presented>,
    /// Where he says that he is (RFC 5923).
    alias: Option<SocketAddr>,
}

/// Times of a connection, in milliseconds since the start of the stack, from 1 on; 0: not yet.
#[derive(Default)]
struct Life {
    /// It can be written to.
    begun: AtomicU64,
    /// Something last came by it.
    heard: AtomicU64,
}

impl Life {
    /// Whether nothing has come by it since then, though what was sent then has left.
    fn is_silent(&self, since: u64) -> bool {
        let (begun, heard) = (self.begun.load(Ordering::Relaxed), self.heard.load(Ordering::Relaxed));
        // what is sent may wait for its connection
        let latest = since.saturating_add(milliseconds(CONNECT_TIMEOUT + HANDSHAKE_TIMEOUT));
        (1..=latest).contains(&begun) && heard < since
    }
}

#[derive(Default)]
struct Table {
    next_id: u64,
    open: BTreeMap<Hop, Open>,
    /// What goes by a connection that leads there under another name.
    detours: BTreeMap<Hop, Hop>,
    own: usize,
}

/// All connections.
#[derive(Clone)]
pub(super) struct Streams {
    start: Instant,
    table: Arc<Mutex<Table>>,
    places: Arc<Mutex<Places<Visit>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    feed: Feed,
    peers: Peers,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    pub(super) fn new(feed: Feed, peers: Peers) -> Self {
        Self {
            start: Instant::now(),
            table: Arc::default(),
            places: Arc::new(Mutex::new(Places::new(GuardConfig::default()))),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            feed,
            peers,
        }
    }

    /// Accepts on a listen address until the end of the stack, with an acceptor by TLS.
    pub(super) fn listen(&self, listener: TcpListener, acceptor: Option<Acceptor>) {
        self.tasks.spawn(accept(self.clone(), listener, acceptor));
    }

    /// A peer is there.
    pub(super) fn meet(&self, hop: Hop) {
        self.peers.meet(hop);
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        lock(&self.table).open.len()
    }

    /// Whether the far side's own connection from there is open.
    pub(super) fn is_theirs(&self, hop: Hop) -> bool {
        hop.transport.is_reliable() && lock(&self.table).open.get(&hop).is_some_and(|open| !open.is_ours)
    }

    /// A request that was sent to this hop at that time has no answer. Has nothing else come by our connection there
    /// since, what comes next goes by a new one (RFC 5626 §4.4); what waits for an answer by the old one may get it
    /// for a while yet.
    pub(super) fn doubt(&self, hop: Hop, since: Instant) {
        let since = self.clock(since);
        let mut table = lock(&self.table);
        if !table.open.get(&hop).is_some_and(|open| open.is_ours && open.life.is_silent(since)) {
            return;
        }
        let old = table.open.remove(&hop);
        drop(table);
        debug!(remote = %hop.address, "nothing comes by a SIP connection: the next request gets a new one");
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(LAST_LOOK) => {}
                () = stop.cancelled() => {}
            }
            drop(old);
        });
    }

    /// A time in milliseconds since the start, from 1 on.
    fn clock(&self, at: Instant) -> u64 {
        milliseconds(at.saturating_duration_since(self.start)).saturating_add(1)
    }

    /// Sends by the connection to the far end of a flow, opened when there is none. False when it cannot be.
    pub(super) fn send(&self, flow: Flow, bytes: &Bytes) -> bool {
        let hop = flow.hop();
        if let Some(is_sent) = self.send_by(hop, bytes).or_else(|| self.send_around(hop, bytes)) {
            return is_sent;
        }
        match self.where_to(hop, bytes) {
            Some(other) if other != hop => {
                let flow = flow.to(other.address);
                self.send_by(other, bytes).unwrap_or_else(|| self.connect(flow, bytes.clone()))
            }
            Some(_) => self.connect(flow, bytes.clone()),
            None => false,
        }
    }

    /// Sends by a connection that leads to a hop under another name: a peer's, to an address that is his, or that of
    /// who came to us and has proved to be there (RFC 5923). None when there is none.
    fn send_around(&self, hop: Hop, bytes: &Bytes) -> Option<bool> {
        if !hop.transport.is_secure() {
            return None;
        }
        let known = lock(&self.table).detours.get(&hop).copied();
        let found =
            known.or_else(|| self.peers.met_at(hop)).filter(|by| lock(&self.table).open.contains_key(by));
        let by = found.or_else(|| self.aliased(hop))?;
        lock(&self.table).detours.insert(hop, by);
        self.send_by(by, bytes)
    }

    /// The connection of who says that he is there, and may be believed.
    fn aliased(&self, hop: Hop) -> Option<Hop> {
        let says_so = |open: &Open| open.alias.filter(|a| *a == hop.address).and(open.shown.clone());
        let saying: Vec<(Hop, Presented)> =
            lock(&self.table).open.iter().filter_map(|(by, open)| Some((*by, says_so(open)?))).collect();
        saying.into_iter().find(|(_, shown)| self.peers.may_go_by(hop, shown)).map(|(by, _)| by)
    }

    /// Sends by the open connection to a hop; none when there is none any more, false when it is full.
    fn send_by(&self, hop: Hop, bytes: &Bytes) -> Option<bool> {
        let mut table = lock(&self.table);
        let is_known = || self.feed.is_known(hop.address.ip());
        match table.open.get(&hop)?.outbox.push(bytes.clone(), is_known) {
            Ok(()) => Some(true),
            // it does not read, or it has just ended
            Err(why) => {
                if let Some(open) = table.open.remove(&hop) {
                    open.cut.cancel();
                }
                (why == Refused::Full).then_some(false)
            }
        }
    }

    /// Where a new connection for this message goes: to the target of a request, to the sent-by port of who
    /// gets an answer.
    fn where_to(&self, hop: Hop, bytes: &[u8]) -> Option<Hop> {
        if !bytes.starts_with(b"SIP/") {
            return Some(hop);
        }
        // a stranger shall not make us connect anywhere
        let ip = hop.address.ip();
        if !self.feed.is_known(ip) {
            return None;
        }
        let Ok(Message::Response(response)) = parse(bytes, &Limits::TCP) else { return None };
        let via = response.headers.top_via().ok()?;
        let port = via.port.unwrap_or(hop.transport.default_port());
        Some(Hop { address: SocketAddr::new(ip, port), ..hop })
    }

    /// Takes the connection to this hop out, after what is queued was written.
    pub(super) fn finish(&self, hop: Hop) {
        lock(&self.table).open.remove(&hop);
    }

    /// Ends all: what is queued is written first, for a moment.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        lock(&self.table).open.clear();
        self.tasks.close();
        let _ = timeout(LAST_WORDS, self.tasks.wait()).await;
    }

    /// Opens a connection and puts the first message into its queue.
    fn connect(&self, flow: Flow, first: Bytes) -> bool {
        let is_full = {
            let mut table = lock(&self.table);
            let is_full = table.own >= MAX_OWN;
            table.own += usize::from(!is_full);
            is_full
        };
        if is_full {
            return false;
        }
        let (streams, entry) = (self.clone(), self.enter(flow.hop(), None, None));
        let is_queued =
            lock(&self.table).open.get(&flow.hop()).is_some_and(|o| o.outbox.push(first, || true).is_ok());
        self.tasks.spawn(async move {
            streams.reach(flow, entry).await;
            let mut table = lock(&streams.table);
            table.own = table.own.saturating_sub(1);
        });
        is_queued
    }

    /// A connection of ours, from its first packet to its end.
    async fn reach(&self, flow: Flow, entry: Entry) {
        let opened = tokio::select! {
            opened = timeout(CONNECT_TIMEOUT, TcpStream::connect(flow.path.remote)) => opened,
            () = entry.cut.cancelled() => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
        };
        let Ok(Ok(stream)) = opened else { return self.give_up(flow, &entry).await };
        tune(&stream);
        if !flow.transport.is_secure() {
            return self.serve(stream.into_split(), flow, entry).await;
        }
        let Some(connector) = self.peers.connector(flow.hop()) else {
            return self.give_up(flow, &entry).await;
        };
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIMEOUT, connector.connect(stream)) => shaken,
            () = entry.cut.cancelled() => return self.give_up(flow, &entry).await,
        };
        match shaken.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, TOO_SLOW))) {
            Ok(stream) => self.serve(tokio::io::split(stream), flow, entry).await,
            Err(error) => {
                self.peers.failed(flow.hop(), &error);
                self.give_up(flow, &entry).await;
            }
        }
    }

    /// Nobody is there, or not who should be.
    async fn give_up(&self, flow: Flow, entry: &Entry) {
        for hop in self.leave(flow.hop(), entry.id, &entry.cut) {
            let _ = self.feed.trusted.send(Inbound::Unreachable { hop }).await;
        }
    }

    /// A connection to us, from its first packet to its end.
    async fn greet(&self, stream: TcpStream, remote: SocketAddr, acceptor: Option<Acceptor>, place: Place) {
        let Ok(local) = stream.local_addr() else { return };
        tune(&stream);
        let Some(acceptor) = acceptor else {
            let flow = Flow::tcp(local, remote);
            let entry = self.enter(flow.hop(), None, Some(place));
            return self.serve(stream.into_split(), flow, entry).await;
        };
        // without a word, as for want of a place
        if !self.feed.is_known(remote.ip()) && !self.feed.admit_for(remote.ip(), HANDSHAKE_COST) {
            return debug!(%remote, "no budget for a handshake");
        }
        let shaken = tokio::select! {
            shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => shaken,
            () = place.cut.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        match shaken.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, TOO_SLOW))) {
            Ok(stream) => {
                let flow = Flow::tls(local, remote);
                let entry = self.enter(flow.hop(), Presented::by(&stream), Some(place));
                self.serve(tokio::io::split(stream), flow, entry).await;
            }
            Err(error) => self.peers.refused(remote, &error, self.feed.is_known(remote.ip())),
        }
    }

    /// A place among the connections at once; true when another connection goes for it.
    fn place(&self, ip: IpAddr) -> Result<(Place, bool), Refusal> {
        let (now, cut) = (Instant::now(), CancellationToken::new());
        let mut places = lock(&self.places);
        if self.feed.is_known(ip) {
            places.trust(now, ip);
        }
        let visit = Visit { ip, cut: cut.clone() };
        let (id, closed) = places.enter(now, ip, visit, |other| self.feed.is_known(other.ip))?;
        drop(places);
        let is_anothers = closed.is_some();
        closed.into_iter().for_each(|other| other.cut.cancel());
        Ok((Place { places: Arc::clone(&self.places), id, cut }, is_anothers))
    }

    /// An entry in the table, with the place of one that is not ours; one that stood there is cut off: the far side has a
    /// new connection by that address.
    fn enter(&self, hop: Hop, shown: Option<Presented>, place: Option<Place>) -> Entry {
        let (outbox, outgoing) = outbox();
        let cut = place.as_ref().map_or_else(CancellationToken::new, |place| place.cut.clone());
        let (life, is_ours) = (Arc::new(Life::default()), place.is_none());
        let mut table = lock(&self.table);
        table.next_id += 1;
        let id = table.next_id;
        let is_proved = shown.is_some();
        let entry = Entry { id, outgoing, cut: cut.clone(), life: Arc::clone(&life), place, is_proved };
        let open = Open { id, outbox, is_ours, life, cut, shown, alias: None };
        if let Some(old) = table.open.insert(hop, open) {
            old.cut.cancel();
        }
        entry
    }

    /// Takes a connection out; gives the hops that were reached by it.
    fn leave(&self, hop: Hop, id: u64, cut: &CancellationToken) -> Vec<Hop> {
        let mut table = lock(&self.table);
        // in doubt, it was given a successor, by which all goes on
        if !cut.is_cancelled() && table.open.get(&hop).is_some_and(|open| open.id != id) {
            return Vec::new();
        }
        // another one may stand there by now
        if table.open.get(&hop).is_none_or(|open| open.id == id) {
            table.open.remove(&hop);
        }
        let around: Vec<Hop> =
            table.detours.iter().filter(|(_, by)| **by == hop).map(|(to, _)| *to).collect();
        table.detours.retain(|_, by| *by != hop);
        std::iter::once(hop).chain(around).collect()
    }

    /// Notes where who came by a connection says that he is.
    fn note_alias(&self, flow: Flow, bytes: &[u8]) {
        if let Some(alias) = tls::alias(flow.path.remote, bytes)
            && let Some(open) = lock(&self.table).open.get_mut(&flow.hop())
        {
            open.alias = Some(alias);
        }
    }

    /// An open connection until its end.
    async fn serve<R, W>(&self, (read, write): (R, W), flow: Flow, entry: Entry)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (pongs, pong) = mpsc::channel(1);
        entry.life.begun.store(self.clock(Instant::now()), Ordering::Relaxed);
        {
            let origin =
                Origin { place: entry.place.as_ref(), is_proved: entry.is_proved, life: &entry.life };
            let reading = self.read(read, flow, &pongs, origin);
            let writing = write_all(write, entry.outgoing, pong);
            let mut writing = std::pin::pin!(writing);
            tokio::select! {
                // the answer to what broke it is still in the queue; its sender goes with the table's entry
                is_broken = reading => if is_broken {
                    let _ = timeout(WRITE_TIMEOUT, writing).await;
                },
                () = &mut writing => {}
                () = entry.cut.cancelled() => {}
            }
        }
        for hop in self.leave(flow.hop(), entry.id, &entry.cut) {
            let _ = self.feed.trusted.send(Inbound::Closed { hop }).await;
        }
    }

    /// Reads until the end; true when the frame broke.
    async fn read<R: AsyncRead + Unpin>(
        &self,
        mut read: R,
        flow: Flow,
        pongs: &mpsc::Sender<()>,
        Origin { place, is_proved, life }: Origin<'_>,
    ) -> bool {
        let is_ours = place.is_none();
        let ip = flow.path.remote.ip();
        let mut framer = Framer::new(Limits::TCP);
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let mut has_spoken = is_ours;
        let mut idle = Instant::now() + if is_ours { IDLE_TIMEOUT } else { MESSAGE_TIMEOUT };
        // a message that trickles in does not move its own deadline
        let mut message: Option<Instant> = None;
        loop {
            chunk.clear();
            chunk.reserve(CHUNK);
            match tokio::time::timeout_at(message.unwrap_or(idle).into(), read.read_buf(&mut chunk)).await {
                Ok(Ok(0)) => return false,
                Ok(Err(error)) => {
                    // TLS 1.3 has our certificate refused after the handshake
                    if is_ours && error.kind() == io::ErrorKind::InvalidData {
                        self.peers.failed(flow.hop(), &error);
                    }
                    return false;
                }
                Ok(Ok(_)) => life.heard.store(self.clock(Instant::now()), Ordering::Relaxed),
                // a registration or a dialog keeps an idle one open
                Err(_) if has_spoken && message.is_none() && self.feed.is_known(ip) => {
                    idle = Instant::now() + IDLE_TIMEOUT;
                    continue;
                }
                Err(_) => {
                    debug!(remote = %flow.path.remote, "a SIP connection was idle, or too slow");
                    return false;
                }
            }
            let mut has_frame = false;
            framer.push(&chunk);
            loop {
                match framer.poll_frame() {
                    Ok(None) => break,
                    // one pong that waits says it all
                    Ok(Some(Frame::Ping)) => drop(pongs.try_send(())),
                    Ok(Some(Frame::Message(bytes))) => {
                        if let (false, Some(place)) = (has_spoken, place) {
                            place.asked();
                        }
                        (has_frame, has_spoken) = (true, true);
                        if is_proved {
                            self.note_alias(flow, &bytes);
                        }
                        if !self.feed.stream(flow, bytes).await {
                            return false;
                        }
                    }
                    Err(error) => {
                        let error = Box::new(error);
                        return self.feed.trusted.send(Inbound::Broken { flow, error }).await.is_ok();
                    }
                }
            }
            let now = Instant::now();
            if has_frame {
                if flow.transport.is_secure() {
                    self.peers.succeeded(ip);
                }
                (idle, message) = (now + IDLE_TIMEOUT, None);
            }
            message = framer.is_midway().then(|| message.unwrap_or(now + MESSAGE_TIMEOUT));
        }
    }
}

struct Entry {
    id: u64,
    outgoing: Waiting,
    cut: CancellationToken,
    life: Arc<Life>,
    /// Of one that is not ours.
    place: Option<Place>,
    is_proved: bool,
}

/// Where a connection comes from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    /// None: it is ours.
    place: Option<&'a Place>,
    /// Who came by it has a certificate.
    is_proved: bool,
    life: &'a Life,
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Messages leave at once, and a far side that has gone without a word is found out. A kernel that refuses has the
/// connection serve all the same.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let (idle, interval) = KEEPALIVE;
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(interval));
    let _ = socket.set_tcp_user_timeout(Some(ACKNOWLEDGED));
}

/// Who has a place.
struct Visit {
    ip: IpAddr,
    cut: CancellationToken,
}

/// A connection's place; dropping it gives the place back.
struct Place {
    places: Arc<Mutex<Places<Visit>>>,
    id: u64,
    /// The connection goes, for another one to have its place, or its entry in the table.
    cut: CancellationToken,
}

impl Place {
    fn asked(&self) {
        lock(&self.places).asked(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).leave(self.id);
    }
}

async fn accept(streams: Streams, listener: TcpListener, acceptor: Option<Acceptor>) {
    let mut failures = Seldom::new(FAILURE_INTERVAL);
    let mut shortages = Seldom::new(FAILURE_INTERVAL);
    loop {
        let accepted = tokio::select! {
            () = streams.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                // without a place the connection is closed at once, so that who waits behind it is seen
                let why = match streams.place(remote.ip()) {
                    Ok((place, is_anothers)) => {
                        let (own, acceptor) = (streams.clone(), acceptor.clone());
                        streams.tasks.spawn(async move { own.greet(stream, remote, acceptor, place).await });
                        is_anothers.then(|| "others made room for new ones".to_owned())
                    }
                    Err(refusal) => Some(refusal.to_string()),
                };
                if let Some(why) = why
                    && let Some(times) = shortages.happened(Instant::now())
                {
                    warn!(last = %remote.ip(), why, times, "SIP connections were closed for want of a place");
                }
            }
            Err(error) => {
                if let Some(times) = failures.happened(Instant::now()) {
                    warn!(%error, times, "cannot take a SIP connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
