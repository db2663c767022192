//! What a media thread does: its sockets, its wait, and the [`Worker`] it drives.
//!
//! Commands are taken between two rounds of datagrams. A round: wait, take what the ready sockets have in
//! batches, hand each datagram to the worker (a fault there loses that stream alone), send what goes to
//! plain legs at once and what goes to the shared sockets in one call at the end.

use super::sys::{BATCH, Batch, Epoll, Waker};
use super::thread::{Command, Gauges, News, PlainSockets, SharedSockets, StreamNews, bound};
use super::transactions::Transactions;
use crate::base::StreamId;
use crate::media::demux::{Class, StunKind, classify, peek_stun};
use crate::media::packet::PacketBuf;
use crate::media::ports::{Resting, SOCKETS_RESTING};
use crate::media::stream::{Plain, Transport, WebRtc};
use crate::media::worker::{Output, Transmit, Verdict, Via, Worker};
use crate::peer::PeerInput;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Datagrams a round may hold at once.
const ARENA: usize = 4 * BATCH;
/// Most datagrams taken from a plain socket at once. One is the rule, and asking for one alone is cheapest; a
/// socket that is ready again within [`BURST`] is asked for twice as many.
const PLAIN_BATCH: usize = 16;
const BURST: Duration = Duration::from_millis(2);
const EVENTS: usize = 256;
const WAKE_TOKEN: u64 = u64::MAX;
const SHARED_TOKENS: u64 = 1 << 40;

struct PlainIo {
    sockets: PlainSockets,
    remote: Option<(SocketAddr, SocketAddr)>,
    /// Datagrams to ask for the next time, and when there were some last.
    burst: usize,
    last: Instant,
}

/// Waits for datagrams, time and commands, and has the worker judge each.
pub(super) struct Driver {
    worker: Worker,
    shared: SharedSockets,
    plain: Vec<Option<PlainIo>>,
    news: Vec<Option<StreamNews>>,
    resting: Resting<PlainSockets>,
    waker: Arc<Waker>,
    commands: Receiver<Command>,
    transactions: Arc<Mutex<Transactions>>,
    gauges: Arc<Gauges>,
    epoll: Epoll,
    receiving: Batch,
    sending: Batch,
    arena: Vec<PacketBuf>,
    used: usize,
    /// Whose the packets in the arena are that wait for a shared socket.
    waiting: Vec<Option<Transmit>>,
    queues: Vec<Vec<(usize, SocketAddr)>>,
    scratch: PacketBuf,
}

impl Driver {
    /// With these sockets, which it waits at from now on.
    pub(super) fn new(
        worker: Worker,
        shared: SharedSockets,
        waker: Arc<Waker>,
        commands: Receiver<Command>,
        transactions: Arc<Mutex<Transactions>>,
        gauges: Arc<Gauges>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EVENTS)?;
        epoll.add(waker.as_fd(), WAKE_TOKEN)?;
        let mut driver = Self {
            worker,
            shared,
            plain: Vec::new(),
            news: Vec::new(),
            resting: Resting::new(SOCKETS_RESTING),
            waker,
            commands,
            transactions,
            gauges,
            epoll,
            receiving: Batch::default(),
            sending: Batch::default(),
            arena: (0..ARENA).map(|_| PacketBuf::default()).collect(),
            used: 0,
            waiting: vec![None; ARENA],
            queues: Vec::new(),
            scratch: PacketBuf::default(),
        };
        driver.listen()?;
        Ok(driver)
    }

    /// Waits at the shared sockets, once they are bound.
    fn listen(&mut self) -> io::Result<()> {
        let shared = bound(&self.shared);
        for (token, (_, socket)) in (SHARED_TOKENS..).zip(shared) {
            self.epoll.add(socket.as_fd(), token)?;
        }
        self.queues = shared.iter().map(|_| Vec::with_capacity(ARENA)).collect();
        self.worker.set_sockets(shared.iter().map(|(address, _)| *address).collect());
        Ok(())
    }

    /// Runs until it is told to stop, or nobody can tell it anything any more.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            let next = self.worker.poll_timeout().into_iter().chain(self.resting.poll_timeout()).min();
            let timeout = next.map(|at| at.saturating_duration_since(now));
            let Ok(count) = self.epoll.wait(timeout) else { return };
            let now = Instant::now();
            let mut is_woken = false;
            for at in 0..count {
                match self.epoll.token(at) {
                    Some(WAKE_TOKEN) => is_woken = true,
                    Some(token) => self.receive(now, token),
                    None => {}
                }
            }
            self.flush();
            if is_woken {
                self.waker.clear();
                if !self.obey(now) {
                    return;
                }
            }
            self.handle_time(now);
        }
    }

    // ---- datagrams

    /// Takes one batch of a ready socket; the kernel says again when there is more.
    fn receive(&mut self, now: Instant, token: u64) {
        let shared = token.checked_sub(SHARED_TOKENS).and_then(|s| u8::try_from(s).ok());
        let slot = usize::try_from(token >> 1).unwrap_or(usize::MAX);
        let is_rtcp = token & 1 == 1;
        let (fd, wanted) = match shared {
            Some(at) => (bound(&self.shared).get(usize::from(at)).map(|(_, s)| s.as_raw_fd()), BATCH),
            None => match self.plain.get(slot).and_then(Option::as_ref) {
                Some(plain) if is_rtcp => (Some(plain.sockets.rtcp.as_raw_fd()), 1),
                Some(plain) => (Some(plain.sockets.rtp.as_raw_fd()), plain.burst),
                None => (None, 0),
            },
        };
        let Some(fd) = fd else { return };
        if self.arena.len().saturating_sub(self.used) < wanted {
            self.flush();
        }
        let first = self.used;
        let Some(room) = self.arena.get_mut(first..first.saturating_add(wanted)) else { return };
        let count = match self.receiving.receive(fd, room) {
            Ok(count) => count,
            Err(error) => {
                // an ICMP answer to something we sent; many a PBX has no RTCP, and says so each time
                if let Some(errno) = bounce(&error).filter(|_| shared.is_none() && !is_rtcp) {
                    self.worker.handle_bounce(slot, errno);
                }
                return;
            }
        };
        if let Some(plain) = self.plain.get_mut(slot).and_then(Option::as_mut).filter(|_| !is_rtcp) {
            let last = std::mem::replace(&mut plain.last, now);
            let is_burst = count == wanted && now.saturating_duration_since(last) < BURST;
            plain.burst = if is_burst { (wanted * 2).min(PLAIN_BATCH) } else { 1 };
        }
        self.used = first.saturating_add(count);
        for n in 0..count {
            let Some(from) = self.receiving.from(n) else { continue };
            let at = first.saturating_add(n);
            let Some(buf) = self.arena.get_mut(at) else { continue };
            let worker = &mut self.worker;
            let transactions = &self.transactions;
            let handled = catch_unwind(AssertUnwindSafe(|| {
                let verdict = match shared {
                    Some(socket) => match answered(transactions, buf) {
                        Some(id) => worker.handle_stun_response(id, socket, from),
                        None => worker.handle_shared(now, socket, from, buf),
                    },
                    None => worker.handle_plain(now, slot, is_rtcp, from, buf),
                };
                match verdict {
                    Verdict::Done => None,
                    Verdict::Send(transmit) => Some(transmit),
                    Verdict::Peer(inlet, path) => {
                        inlet.input(PeerInput::Datagram { path, bytes: buf.bytes().to_vec() });
                        None
                    }
                    Verdict::MediaFrom(inlet, path) => {
                        inlet.input(PeerInput::MediaFrom(path));
                        None
                    }
                }
            }));
            match handled {
                Ok(Some(transmit)) => self.transmit(transmit, at),
                Ok(None) => {}
                Err(_) => self.worker.handle_fault(),
            }
        }
    }

    /// Sends the packet in the arena: to a plain leg at once, else with the others of the round.
    fn transmit(&mut self, transmit: Transmit, at: usize) {
        if let Via::Shared(socket) = transmit.via {
            if let Some(queue) = self.queues.get_mut(usize::from(socket)) {
                queue.push((at, transmit.to));
            }
            if let Some(waiting) = self.waiting.get_mut(at) {
                *waiting = Some(transmit);
            }
            return;
        }
        let Some(buf) = self.arena.get(at) else { return };
        let sent = send_now(&self.plain, bound(&self.shared), transmit, buf);
        if let Some(errno) = sent.bounced.filter(|_| matches!(transmit.via, Via::Rtp(_))) {
            self.worker.handle_bounce(transmit.slot, errno);
        }
        if let Some(errno) = sent.failed {
            self.worker.handle_send_failure(transmit, buf.len(), errno);
        }
    }

    /// Sends all that waits for the shared sockets and frees the arena.
    fn flush(&mut self) {
        for (queue, (_, shared)) in self.queues.iter_mut().zip(bound(&self.shared)) {
            let mut rest = queue.as_slice();
            while !rest.is_empty() {
                // a packet the kernel refuses (no buffer, no route) is dropped, the others go on
                let sent = self.sending.send(shared.as_raw_fd(), rest, &mut self.arena);
                if let (Err(error), Some((at, _))) = (&sent, rest.first())
                    && let Some(transmit) = self.waiting.get(*at).copied().flatten()
                {
                    let len = self.arena.get(*at).map_or(0, PacketBuf::len);
                    self.worker.handle_send_failure(transmit, len, error.raw_os_error().unwrap_or(0));
                }
                let sent = sent.unwrap_or(0);
                rest = rest.get(sent.max(1)..).unwrap_or_default();
            }
            queue.clear();
        }
        self.used = 0;
    }

    // ---- time

    fn handle_time(&mut self, now: Instant) {
        while self.resting.pop(now).is_some() {
            self.gauges.sockets.fetch_sub(1, Ordering::Relaxed);
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= now) {
            self.worker.handle_timeout(now);
        }
        loop {
            if self.used >= self.arena.len() {
                self.flush();
            }
            let at = self.used;
            let Some(buf) = self.arena.get_mut(at) else { break };
            match self.worker.poll_output(now, buf) {
                None => break,
                Some(Output::Send(transmit)) => {
                    self.used = at.saturating_add(1);
                    self.transmit(transmit, at);
                }
                Some(Output::Lost(id, cause)) => self.tell(id, News::Lost(cause)),
                Some(Output::Pressed(id, digit)) => self.tell(id, News::Pressed(digit)),
                Some(Output::OtherCodec(id)) => self.tell(id, News::OtherCodec),
                Some(Output::Quiet(id, signs)) => self.tell(id, News::Quiet(signs)),
                Some(Output::HeardAgain(id)) => self.tell(id, News::HeardAgain),
                Some(Output::Unsent(id, errno)) => self.tell(id, News::Unsent(errno)),
            }
        }
        self.flush();
    }

    fn tell(&self, id: StreamId, news: News) {
        let slot = self.worker.slot_of(id);
        let queue = slot.and_then(|s| self.news.get(s)).and_then(Option::as_ref);
        // the queue holds more losses than a call has streams, and more keys than a person presses
        let _ = queue.map(|q| q.try_send((id, news)));
    }

    // ---- commands

    /// Takes all commands that wait; false when the thread is to end.
    fn obey(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Ok(command) => {
                    if catch_unwind(AssertUnwindSafe(|| self.execute(now, command))).is_err() {
                        self.worker.handle_fault();
                    }
                }
            }
        }
    }

    fn execute(&mut self, now: Instant, command: Command) {
        let done = match command {
            Command::AddWebRtc { id, source, ufrag, inlet, stats, news } => {
                let transport = Transport::WebRtc(WebRtc::new(ufrag, inlet));
                let slot = self.worker.add(now, id, source, transport, stats);
                self.place(slot, None, news);
                Ok(())
            }
            Command::AddPlain { id, source, sockets, stats, news } => {
                let (is_symmetric, home) = (sockets.is_symmetric, sockets.home);
                let transport = Transport::Plain(Plain { is_symmetric, home, ..Plain::default() });
                let slot = self.worker.add(now, id, source, transport, stats);
                self.watch(slot, &sockets);
                self.gauges.sockets.fetch_add(1, Ordering::Relaxed);
                self.place(slot, Some(PlainIo { sockets, remote: None, burst: 1, last: now }), news);
                Ok(())
            }
            Command::Format(id, format) => self.worker.set_format(id, format),
            Command::Direction(id, may_send, may_receive) => {
                self.worker.set_direction(now, id, may_send, may_receive)
            }
            Command::Remote(id, rtp, rtcp) => {
                self.connect(id, rtp, rtcp);
                self.worker.set_remote(now, id, Some(rtp), Some(rtcp))
            }
            Command::Expect(id) => self.worker.expect(now, id),
            Command::Ufrag(id, ufrag) => self.worker.set_ufrag(id, ufrag),
            Command::Protect(id, protection) => self.worker.set_protection(id, protection),
            Command::Inlets(id, inlets) => self.worker.set_inlets(id, inlets),
            Command::Keys(id, keys) => self.worker.set_keys(now, id, *keys),
            Command::RtcpKeys(id, keys) => self.worker.set_rtcp_keys(id, *keys),
            Command::Bind(id, path) => self.worker.bind(id, path),
            Command::Select(id, path) => self.worker.select(id, path),
            Command::Hear(listener, source) => self.worker.hear(listener, source),
            Command::Play(id, program) => self.worker.play(id, program),
            Command::Press(id, keys) => self.worker.press(id, &keys),
            Command::SendKeys(id, keys) => self.worker.send_keys(now, id, &keys),
            Command::Remove(id) => {
                self.remove(now, id);
                Ok(())
            }
            Command::Listen => {
                if let Err(error) = self.listen() {
                    tracing::error!(%error, "the WebRTC ports cannot be heard");
                }
                Ok(())
            }
            Command::Stop => Ok(()),
        };
        // a stream that ended meanwhile is the usual reason, and no fault
        if let Err(error) = done {
            tracing::debug!(%error, "media command without effect");
        }
        self.gauges.streams.store(self.worker.len(), Ordering::Relaxed);
    }

    fn place(&mut self, slot: usize, plain: Option<PlainIo>, news: Option<StreamNews>) {
        if self.plain.len() <= slot {
            self.plain.resize_with(slot.saturating_add(1), || None);
            self.news.resize_with(slot.saturating_add(1), || None);
        }
        if let (Some(p), Some(n)) = (self.plain.get_mut(slot), self.news.get_mut(slot)) {
            *p = plain;
            *n = news;
        }
    }

    fn watch(&self, slot: usize, sockets: &PlainSockets) {
        let token = u64::try_from(slot).unwrap_or(0) << 1;
        let watched = self
            .epoll
            .add(sockets.rtp.as_fd(), token)
            .and_then(|()| self.epoll.add(sockets.rtcp.as_fd(), token | 1));
        if let Err(error) = watched {
            tracing::error!(%error, "a plain media socket cannot be watched");
        }
    }

    /// Connects a plain stream's sockets in the kernel, so that nobody else's datagrams reach us.
    fn connect(&mut self, id: StreamId, rtp: SocketAddr, rtcp: SocketAddr) {
        let plain = self.worker.slot_of(id).and_then(|s| self.plain.get_mut(s)).and_then(Option::as_mut);
        let Some(plain) = plain else { return };
        if plain.sockets.is_symmetric || plain.remote == Some((rtp, rtcp)) {
            return;
        }
        // without a route the socket stays open and the worker compares addresses itself
        let connected = plain.sockets.rtp.connect(rtp).and_then(|()| plain.sockets.rtcp.connect(rtcp));
        plain.remote = connected.is_ok().then_some((rtp, rtcp));
        if let Err(error) = connected {
            let (call, leg) = plain.sockets.leg.unzip();
            let (call, leg) = (call.map(tracing::field::display), leg.map(tracing::field::display));
            let ours = plain.sockets.rtp.local_addr().map_or_else(|_| String::new(), |a| a.ip().to_string());
            let why = match error.kind() {
                // ip(7): of a broadcast address, or by a route that prohibits
                io::ErrorKind::PermissionDenied => {
                    "it is a broadcast address, or a route of this machine forbids it"
                }
                _ => "where signalling goes over a proxy on this machine, set the trunk's media_address",
            };
            tracing::warn!(
                call, leg, %rtp, %rtcp, ours, %error, why,
                "there is no way to where the far side wants its RTP or RTCP from our media address"
            );
        }
    }

    fn remove(&mut self, now: Instant, id: StreamId) {
        let slot = self.worker.slot_of(id);
        let goodbye = self.worker.remove(now, id, &mut self.scratch);
        if let Some(transmit) = goodbye {
            let _ = send_now(&self.plain, bound(&self.shared), transmit, &self.scratch);
        }
        let Some(slot) = slot else { return };
        if let Some(news) = self.news.get_mut(slot) {
            *news = None;
        }
        if let Some(plain) = self.plain.get_mut(slot).and_then(Option::take) {
            let _ = self.epoll.remove(plain.sockets.rtp.as_fd());
            let _ = self.epoll.remove(plain.sockets.rtcp.as_fd());
            // bound a while longer, so that late packets meet no closed port and no new call
            if self.resting.push(plain.sockets, now).is_some() {
                self.gauges.sockets.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// What came of sending a packet, as `errno`.
#[derive(Default)]
struct Sent {
    /// It was not taken.
    failed: Option<i32>,
    /// An earlier one came back.
    bounced: Option<i32>,
}

/// Sends one packet at once.
fn send_now(
    plain: &[Option<PlainIo>],
    shared: &[(SocketAddr, UdpSocket)],
    transmit: Transmit,
    buf: &PacketBuf,
) -> Sent {
    let (slot, is_rtcp) = match transmit.via {
        Via::Shared(socket) => {
            let socket = shared.get(usize::from(socket)).map(|(_, socket)| socket);
            return socket.map_or_else(Sent::default, |s| sent(|| s.send_to(buf.bytes(), transmit.to)));
        }
        Via::Rtp(slot) => (slot, false),
        Via::Rtcp(slot) => (slot, true),
    };
    let Some(plain) = plain.get(slot).and_then(Option::as_ref) else { return Sent::default() };
    let socket = if is_rtcp { &plain.sockets.rtcp } else { &plain.sockets.rtp };
    if plain.remote.is_some() {
        sent(|| socket.send(buf.bytes()))
    } else {
        sent(|| socket.send_to(buf.bytes(), transmit.to))
    }
}

/// Sends, and again where the kernel answers with the error of an earlier packet, which it tells once: this one has not
/// left then.
fn sent(send: impl Fn() -> io::Result<usize>) -> Sent {
    let errno = |error: io::Error| error.raw_os_error().unwrap_or(0);
    let bounced = match send() {
        Ok(_) => return Sent::default(),
        Err(error) => match bounce(&error) {
            Some(bounced) => bounced,
            None => return Sent { failed: Some(errno(error)), bounced: None },
        },
    };
    match send() {
        Ok(_) => Sent { failed: None, bounced: Some(bounced) },
        Err(error) => Sent { failed: Some(errno(error)), bounced: None },
    }
}

/// The number of an error that an ICMP answer to an earlier packet may be the cause of.
fn bounce(error: &io::Error) -> Option<i32> {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let is_one = matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable);
    error.raw_os_error().filter(|_| is_one)
}

/// Whose STUN request a response answers, if it is one.
fn answered(transactions: &Mutex<Transactions>, buf: &PacketBuf) -> Option<StreamId> {
    // the first byte tells responses (1) from everything frequent without a lock
    if buf.bytes().first() != Some(&1) || classify(buf.bytes()) != Some(Class::Stun) {
        return None;
    }
    match peek_stun(buf.bytes()) {
        Some(StunKind::Response(id)) => transactions.lock().unwrap_or_else(PoisonError::into_inner).take(&id),
        _ => None,
    }
}
