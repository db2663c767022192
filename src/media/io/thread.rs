//! One media thread as the rest of the program sees it: how it is started, told what to do, and stopped.
//!
//! The thread owns everything it touches per packet (`driver`). Commands come to it through a bounded queue and an
//! eventfd.

use super::driver::Driver;
use super::engine::StartError;
use super::sys::Waker;
use super::transactions::Transactions;
use crate::base::{CallId, Cause, Digit, LegId, Path, Seed, StreamId};
use crate::call::port::DtmfDigit;
use crate::media::demux::{Class, StunKind, classify, peek_stun};
use crate::media::relay::Format;
use crate::media::stats::{Drops, StreamStats};
use crate::media::stream::{OwnSource, PeerInlet, Protection};
use crate::media::tone::Program;
use crate::media::worker::Signs;
use crate::media::worker::Worker;
use crate::peer::SrtpKeys;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Commands that may wait; a call sets up with about fifteen.
const COMMAND_LIMIT: usize = 16_384;

/// News of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Its media is gone.
    Lost(Cause),
    /// Its far side pressed a key.
    Pressed(Digit),
    /// Its far side sends another of the codecs that it accepted than the one in use.
    OtherCodec,
    /// Its far side should send RTP, and none is heard for a while.
    Quiet(Signs),
    /// RTP of its far side is heard again.
    HeardAgain,
    /// Its RTP cannot be sent, or comes back: `errno`.
    Unsent(i32),
}

/// Where news of streams go.
pub type StreamNews = mpsc::Sender<(StreamId, News)>;

/// The two sockets of a plain stream.
#[derive(Debug)]
pub struct PlainSockets {
    /// Even port.
    pub rtp: UdpSocket,
    /// The odd one after it.
    pub rtcp: UdpSocket,
    /// Connected to the far side in the kernel once that is known.
    pub is_symmetric: bool,
    /// The host that signalling goes to.
    pub home: Option<IpAddr>,
    /// Whose they are, for the log.
    pub leg: Option<(CallId, LegId)>,
}

/// What a media thread is told.
pub enum Command {
    /// A new WebRTC stream.
    AddWebRtc {
        /// Its name.
        id: StreamId,
        /// What we send as.
        source: OwnSource,
        /// Our ufrag.
        ufrag: String,
        /// Its association; none where keys are set by hand.
        inlet: Option<Arc<dyn PeerInlet>>,
        /// Its counters.
        stats: Arc<StreamStats>,
        /// Where its loss is told.
        news: Option<StreamNews>,
    },
    /// A new plain stream.
    AddPlain {
        /// Its name.
        id: StreamId,
        /// What we send as.
        source: OwnSource,
        /// Its sockets, bound and non-blocking.
        sockets: PlainSockets,
        /// Its counters.
        stats: Arc<StreamStats>,
        /// Where its loss is told.
        news: Option<StreamNews>,
    },
    /// See [`Worker::set_format`].
    Format(StreamId, Format),
    /// See [`Worker::set_direction`]: may we send, may we receive.
    Direction(StreamId, bool, bool),
    /// See [`Worker::set_remote`]: RTP and RTCP of the far side.
    Remote(StreamId, SocketAddr, SocketAddr),
    /// See [`Worker::expect`].
    Expect(StreamId),
    /// See [`Worker::set_ufrag`].
    Ufrag(StreamId, String),
    /// See [`Worker::set_protection`].
    Protect(StreamId, Protection),
    /// See [`Worker::set_inlets`].
    Inlets(StreamId, [Option<Arc<dyn PeerInlet>>; 2]),
    /// See [`Worker::set_keys`].
    Keys(StreamId, Box<SrtpKeys>),
    /// See [`Worker::set_rtcp_keys`].
    RtcpKeys(StreamId, Box<SrtpKeys>),
    /// See [`Worker::bind`].
    Bind(StreamId, Path),
    /// See [`Worker::select`].
    Select(StreamId, Path),
    /// See [`Worker::hear`]: listener and source.
    Hear(StreamId, Option<StreamId>),
    /// See [`Worker::play`].
    Play(StreamId, Program),
    /// See [`Worker::press`].
    Press(StreamId, Vec<DtmfDigit>),
    /// See [`Worker::send_keys`].
    SendKeys(StreamId, Vec<DtmfDigit>),
    /// See [`Worker::remove`].
    Remove(StreamId),
    /// The shared sockets are bound.
    Listen,
    /// End the thread.
    Stop,
}

/// What others see of a thread.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) streams: AtomicUsize,
    /// Plain streams whose sockets are still open, resting ones included.
    pub(super) sockets: AtomicUsize,
    pub(super) is_over: AtomicBool,
}

/// The sockets that WebRTC streams share, with their addresses: bound at the start, or once the machine has an address.
pub(super) type SharedSockets = Arc<OnceLock<Vec<(SocketAddr, UdpSocket)>>>;

/// They; none before they are bound.
pub(super) fn bound(sockets: &SharedSockets) -> &[(SocketAddr, UdpSocket)] {
    sockets.get().map_or(&[], Vec::as_slice)
}

fn bind(addresses: &[SocketAddr]) -> Result<Vec<(SocketAddr, UdpSocket)>, StartError> {
    let mut sockets = Vec::new();
    for address in addresses.iter().take(usize::from(u8::MAX)) {
        let socket = super::sockets::bind(*address, super::sockets::SHARED_BUFFER)
            .map_err(|reason| StartError::of_bind(*address, reason))?;
        sockets.push((socket.local_addr()?, socket));
    }
    Ok(sockets)
}

/// The way to a media thread. Dropping the last one ends the thread.
pub struct MediaThread {
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    sockets: SharedSockets,
    transactions: Arc<Mutex<Transactions>>,
    strays: Arc<Drops>,
    pub(super) gauges: Arc<Gauges>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl MediaThread {
    /// Starts a thread with shared sockets bound to these addresses; without any, [`Self::open`] may bind some later.
    ///
    /// # Errors
    /// When a socket cannot be bound or the system refuses a thread.
    pub fn start(
        name: &str,
        addresses: &[SocketAddr],
        media_timeout: Duration,
        seed: Seed,
    ) -> Result<Self, StartError> {
        let sockets = SharedSockets::default();
        if !addresses.is_empty() {
            let _ = sockets.set(bind(addresses)?);
        }
        let waker = Arc::new(Waker::new()?);
        let (commands, queue) = sync_channel(COMMAND_LIMIT);
        let transactions: Arc<Mutex<Transactions>> = Arc::default();
        let gauges: Arc<Gauges> = Arc::default();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let worker = Worker::new(Vec::new(), media_timeout, Instant::now(), wall, seed);
        let strays = worker.strays();
        let driver = Driver::new(
            worker,
            Arc::clone(&sockets),
            Arc::clone(&waker),
            queue,
            Arc::clone(&transactions),
            Arc::clone(&gauges),
        )?;
        let over = Arc::clone(&gauges);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            driver.run();
            over.is_over.store(true, Ordering::Release);
        })?;
        Ok(Self { commands, waker, sockets, transactions, strays, gauges, thread: Mutex::new(Some(thread)) })
    }

    /// Binds the shared sockets of a thread that was started without; harmless when it has some.
    ///
    /// # Errors
    /// When one cannot be bound.
    pub(super) fn open(&self, addresses: &[SocketAddr]) -> Result<(), StartError> {
        if self.sockets.get().is_none() && self.sockets.set(bind(addresses)?).is_ok() {
            self.send(Command::Listen);
        }
        Ok(())
    }

    /// Hands over a command; false when the queue is full or the thread has ended.
    pub fn send(&self, command: Command) -> bool {
        let is_taken = self.queue(command);
        self.wake();
        is_taken
    }

    /// The same for one of several: it may wait until [`Self::wake`].
    pub(super) fn queue(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// Has the thread take what was queued. One of these for several commands saves system calls.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// The addresses of the shared sockets.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        bound(&self.sockets).iter().map(|(address, _)| *address)
    }

    /// The way out for an association's STUN and DTLS.
    #[must_use]
    pub fn sink(&self, id: StreamId) -> PeerSink {
        PeerSink { id, sockets: Arc::clone(&self.sockets), transactions: Arc::clone(&self.transactions) }
    }

    /// Datagrams of nobody, by reason.
    #[must_use]
    pub fn strays(&self) -> &Drops {
        &self.strays
    }

    /// Streams on it.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.gauges.streams.load(Ordering::Relaxed)
    }

    /// Ends the thread and waits for it.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
        self.waker.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for MediaThread {
    fn drop(&mut self) {
        // the queue closes with us; the thread sees that when it wakes
        let _ = self.commands.try_send(Command::Stop);
        self.waker.wake();
    }
}

/// Sends an association's datagrams from the shared sockets, and remembers its STUN transactions so that
/// answers from addresses not yet proved find it.
pub struct PeerSink {
    id: StreamId,
    sockets: SharedSockets,
    transactions: Arc<Mutex<Transactions>>,
}

impl crate::peer::DatagramSink for PeerSink {
    fn send(&self, path: Path, bytes: &[u8]) {
        let Some((_, socket)) = bound(&self.sockets).iter().find(|(address, _)| *address == path.local)
        else {
            return;
        };
        if classify(bytes) == Some(Class::Stun)
            && let (Some(StunKind::Request(_)), Some(head)) = (peek_stun(bytes), bytes.first_chunk::<20>())
            && let Some(id) = head.last_chunk::<12>()
        {
            self.transactions.lock().unwrap_or_else(PoisonError::into_inner).add(*id, self.id);
        }
        // UDP: a full socket drops
        let _ = socket.send_to(bytes, path.remote);
    }
}
