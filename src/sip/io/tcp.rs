//! TCP connections of the stack (RFC 3261 §18).
//!
//! One task a connection, whoever opened it, reads and writes; all of them stand in one table by their far
//! address, where [`Streams::send`] finds them. Each has a bounded queue of what is to be written: who does not
//! read is cut off, and so is who sends half a message and no more, or nothing at all. Who may hold how many is
//! the guard's to say; known peers have places that strangers cannot take. A broken frame ends a connection after
//! its answer was written.
//!
//! A request goes by the connection that is open to its target, else by one that is opened for it; an answer
//! by the one its request came by, else by a new one to where Via says (§18.2.2), which only known peers get.
//! Left out: connection reuse by alias (RFC 5923).

use super::super::frame::{Frame, Framer, PONG};
use super::super::{Flow, Limits, Message, parse};
use super::owner::{Feed, Inbound};
use crate::net::guard::{Guard, GuardConfig};
use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
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
/// What is written must be taken by then.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// What was queued when the stack ended is written within this.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Messages that may wait to be written.
const QUEUE: usize = 64;
/// Connections of ours at once.
const MAX_OWN: usize = 256;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;
/// After a failed accept (descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

struct Open {
    id: u64,
    queue: mpsc::Sender<Bytes>,
    /// Cuts it off.
    cut: CancellationToken,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    open: BTreeMap<SocketAddr, Open>,
    own: usize,
}

/// All connections.
#[derive(Clone)]
pub(super) struct Streams {
    table: Arc<Mutex<Table>>,
    guard: Arc<Mutex<Guard>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    feed: Feed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Streams {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            table: Arc::default(),
            guard: Arc::new(Mutex::new(Guard::new(GuardConfig::default()))),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            feed,
        }
    }

    /// Accepts on a listen address until the end of the stack.
    pub(super) fn listen(&self, listener: TcpListener) {
        self.tasks.spawn(accept(self.clone(), listener));
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        lock(&self.table).open.len()
    }

    /// Sends by the connection to the far end of a flow, opened when there is none. False when it cannot be.
    pub(super) fn send(&self, flow: Flow, bytes: &Bytes) -> bool {
        let remote = flow.path.remote;
        if let Some(is_sent) = self.send_by(remote, bytes) {
            return is_sent;
        }
        match self.where_to(remote, bytes) {
            Some(other) if other != remote => self
                .send_by(other, bytes)
                .unwrap_or_else(|| self.connect(Flow::tcp(flow.path.local, other), bytes.clone())),
            Some(_) => self.connect(flow, bytes.clone()),
            None => false,
        }
    }

    /// Sends by the open connection to an address; none when there is none any more, false when it is full.
    fn send_by(&self, remote: SocketAddr, bytes: &Bytes) -> Option<bool> {
        let mut table = lock(&self.table);
        match table.open.get(&remote)?.queue.try_send(bytes.clone()) {
            Ok(()) => Some(true),
            // it does not read, or it has just ended
            Err(error) => {
                if let Some(open) = table.open.remove(&remote) {
                    open.cut.cancel();
                }
                matches!(error, mpsc::error::TrySendError::Full(_)).then_some(false)
            }
        }
    }

    /// Where a new connection for this message goes: to the target of a request, to the sent-by port of who
    /// gets an answer.
    fn where_to(&self, remote: SocketAddr, bytes: &[u8]) -> Option<SocketAddr> {
        if !bytes.starts_with(b"SIP/") {
            return Some(remote);
        }
        // a stranger shall not make us connect anywhere
        if !self.feed.is_known(remote.ip()) {
            return None;
        }
        let Ok(Message::Response(response)) = parse(bytes, &Limits::TCP) else { return None };
        let via = response.headers.top_via().ok()?;
        Some(SocketAddr::new(remote.ip(), via.port.unwrap_or(5060)))
    }

    /// Takes the connection to this address out, after what is queued was written.
    pub(super) fn finish(&self, remote: SocketAddr) {
        lock(&self.table).open.remove(&remote);
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
        let (streams, entry) = (self.clone(), self.enter(flow.path.remote));
        let is_queued = lock(&self.table)
            .open
            .get(&flow.path.remote)
            .is_some_and(|open| open.queue.try_send(first).is_ok());
        self.tasks.spawn(async move {
            let remote = flow.path.remote;
            let opened = tokio::select! {
                opened = timeout(CONNECT_TIMEOUT, TcpStream::connect(remote)) => opened,
                () = entry.cut.cancelled() => Ok(Err(io::ErrorKind::ConnectionAborted.into())),
            };
            if let Ok(Ok(stream)) = opened {
                streams.serve(stream, flow, entry, true).await;
            } else {
                streams.leave(remote, entry.id);
                let _ = streams.feed.trusted.send(Inbound::Unreachable { hop: flow.hop() }).await;
            }
            let mut table = lock(&streams.table);
            table.own = table.own.saturating_sub(1);
        });
        is_queued
    }

    /// A place among the connections at once.
    fn place(&self, source: IpAddr) -> Option<Place> {
        let now = Instant::now();
        let mut guard = lock(&self.guard);
        if self.feed.is_known(source) {
            guard.good_login(now, source);
        }
        match guard.enter(now, source) {
            Ok(()) => Some(Place { guard: Arc::clone(&self.guard), source }),
            Err(refusal) => {
                debug!(%source, ?refusal, "no place for a SIP connection");
                None
            }
        }
    }

    /// A place in the table; one that stood there is cut off: the far side has a new connection by that address.
    fn enter(&self, remote: SocketAddr) -> Entry {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        let cut = CancellationToken::new();
        let mut table = lock(&self.table);
        table.next_id += 1;
        let id = table.next_id;
        if let Some(old) = table.open.insert(remote, Open { id, queue, cut: cut.clone() }) {
            old.cut.cancel();
        }
        Entry { id, outgoing, cut }
    }

    fn leave(&self, remote: SocketAddr, id: u64) {
        let mut table = lock(&self.table);
        if table.open.get(&remote).is_some_and(|open| open.id == id) {
            table.open.remove(&remote);
        }
    }

    /// One connection from begin to end.
    async fn serve(&self, stream: TcpStream, flow: Flow, entry: Entry, is_ours: bool) {
        let remote = flow.path.remote;
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (pongs, pong) = mpsc::channel(1);
        {
            let reading = self.read(read, flow, &pongs, is_ours);
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
        self.leave(remote, entry.id);
        let _ = self.feed.trusted.send(Inbound::Closed { hop: flow.hop() }).await;
    }

    /// Reads until the end; true when the frame broke.
    async fn read(
        &self,
        mut read: OwnedReadHalf,
        flow: Flow,
        pongs: &mpsc::Sender<()>,
        is_ours: bool,
    ) -> bool {
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
                Ok(Ok(0) | Err(_)) => return false,
                Ok(Ok(_)) => {}
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
                        has_frame = true;
                        has_spoken = true;
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
                (idle, message) = (now + IDLE_TIMEOUT, None);
            }
            message = framer.is_midway().then(|| message.unwrap_or(now + MESSAGE_TIMEOUT));
        }
    }
}

struct Entry {
    id: u64,
    outgoing: mpsc::Receiver<Bytes>,
    cut: CancellationToken,
}

/// Writes what is queued until the queue ends, or the far side takes no more.
async fn write_all(
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    mut pong: mpsc::Receiver<()>,
) {
    loop {
        // both arms only receive: nothing is lost when the other is taken
        let bytes = tokio::select! {
            next = queue.recv() => match next {
                Some(bytes) => bytes,
                None => break,
            },
            Some(()) = pong.recv() => Bytes::from_static(PONG),
        };
        if !matches!(timeout(WRITE_TIMEOUT, write.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(WRITE_TIMEOUT, write.shutdown()).await;
}

/// A connection's place; dropping it gives the place back.
struct Place {
    guard: Arc<Mutex<Guard>>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.guard).leave(self.source);
    }
}

async fn accept(streams: Streams, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = streams.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, remote)) => {
                // without a place the connection is closed at once, so that who waits behind it is seen
                let Some(place) = streams.place(remote.ip()) else { continue };
                let Ok(local) = stream.local_addr() else { continue };
                let (own, entry) = (streams.clone(), streams.enter(remote));
                streams.tasks.spawn(async move {
                    own.serve(stream, Flow::tcp(local, remote), entry, false).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!(%error, "cannot take a SIP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
#[path = "tcp_tests.rs"]
mod tests;
