//! What feeds the owner: the readers of sockets, the budget of strangers, and who needs none.

use super::super::admission::{Admission, AdmissionConfig};
use super::super::{Flow, Hop, ParseError};
use crate::base::{Network, Seldom};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tracing::warn;

/// Datagrams of known sources that may wait.
const KNOWN_QUEUE: usize = 4_096;
/// Datagrams of strangers that may wait.
const STRANGER_QUEUE: usize = 512;
/// Room for one datagram: a byte more than is taken, so that a longer one is seen to be.
const DATAGRAM: usize = 24 * 1024 + 1;

/// Sources that need no budget, counted by what makes them known.
pub(super) struct Known {
    sources: RwLock<HashMap<IpAddr, usize>>,
    /// Known for the life of the stack.
    networks: RwLock<Vec<Network>>,
}

impl Known {
    pub(super) fn new(always: &[IpAddr]) -> Self {
        Self { sources: RwLock::new(always.iter().map(|ip| (*ip, 1)).collect()), networks: RwLock::default() }
    }

    pub(super) fn add_network(&self, network: Network) {
        self.networks.write().unwrap_or_else(PoisonError::into_inner).push(network);
    }

    pub(super) fn add(&self, ip: IpAddr) {
        *self.sources.write().unwrap_or_else(PoisonError::into_inner).entry(ip).or_default() += 1;
    }

    pub(super) fn remove(&self, ip: IpAddr) {
        let mut map = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = map.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                map.remove(&ip);
            }
        }
    }

    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        let is_source = self.sources.read().unwrap_or_else(PoisonError::into_inner).contains_key(&ip);
        is_source
            || self.networks.read().unwrap_or_else(PoisonError::into_inner).iter().any(|n| n.contains(ip))
    }
}

/// What the readers count.
#[derive(Default)]
pub(super) struct ReaderStats {
    over_budget: AtomicU64,
    queue_full: AtomicU64,
}

/// From readers to the owner.
pub(super) enum Inbound {
    /// A datagram, or a message of a stream.
    Datagram { flow: Flow, bytes: Bytes, is_stranger: bool },
    /// Nobody is there.
    Unreachable { hop: Hop },
    /// A stream cannot be read on.
    Broken { flow: Flow, error: Box<ParseError> },
    /// A connection is over.
    Closed { hop: Hop },
}

/// How often the log hears of messages beyond their budget.
const FLOOD_INTERVAL: Duration = Duration::from_secs(60);

/// What strangers may send, and when the log heard last that one sent more.
struct Budget {
    admission: Admission,
    told: Seldom,
}

/// Where a reader puts what it reads.
#[derive(Clone)]
pub(super) struct Feed {
    known: Arc<Known>,
    stats: Arc<ReaderStats>,
    admission: Arc<Mutex<Budget>>,
    pub(super) trusted: mpsc::Sender<Inbound>,
    strangers: mpsc::Sender<Inbound>,
}

impl Feed {
    /// A feed, and where the owner reads it: known sources first, then strangers.
    pub(super) fn new(
        known: Arc<Known>,
        stats: Arc<ReaderStats>,
        admission: AdmissionConfig,
    ) -> (Self, mpsc::Receiver<Inbound>, mpsc::Receiver<Inbound>) {
        let (trusted, from_known) = mpsc::channel(KNOWN_QUEUE);
        let (strangers, from_strangers) = mpsc::channel(STRANGER_QUEUE);
        let admission = Admission::new(admission, Instant::now());
        let admission = Arc::new(Mutex::new(Budget { admission, told: Seldom::new(FLOOD_INTERVAL) }));
        (Self { known, stats, admission, trusted, strangers }, from_known, from_strangers)
    }

    /// Sources that need no budget.
    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    /// Messages of strangers beyond their budget.
    pub(super) fn over_budget(&self) -> u64 {
        self.stats.over_budget.load(Ordering::Relaxed)
    }

    /// Messages that found no room.
    pub(super) fn queue_full(&self) -> u64 {
        self.stats.queue_full.load(Ordering::Relaxed)
    }

    pub(super) fn is_known(&self, source: IpAddr) -> bool {
        self.known.contains(source)
    }

    fn admit(&self, source: IpAddr) -> bool {
        self.admit_for(source, 1)
    }

    /// Whether a stranger may have what costs as much as some of his messages.
    pub(super) fn admit_for(&self, source: IpAddr, cost: u32) -> bool {
        let now = Instant::now();
        let mut budget = self.admission.lock().unwrap_or_else(PoisonError::into_inner);
        let is_admitted = budget.admission.admit_for(now, source, cost);
        if !is_admitted {
            self.stats.over_budget.fetch_add(1, Ordering::Relaxed);
            if let Some(times) = budget.told.happened(now) {
                warn!(last = %source, times, "SIP messages of strangers are dropped: they send more than they may");
            }
        }
        is_admitted
    }

    /// A message of a stream. A known source waits for room; false for a stranger beyond its budget, and when
    /// nobody listens any more: a stream does not repeat itself.
    pub(super) async fn stream(&self, flow: Flow, bytes: Bytes) -> bool {
        let ip = flow.path.remote.ip();
        if self.is_known(ip) {
            let inbound = Inbound::Datagram { flow, bytes, is_stranger: false };
            return self.trusted.send(inbound).await.is_ok();
        }
        if !self.admit(ip) {
            return false;
        }
        let is_taken = self.strangers.try_send(Inbound::Datagram { flow, bytes, is_stranger: true }).is_ok();
        self.stats.queue_full.fetch_add(u64::from(!is_taken), Ordering::Relaxed);
        is_taken
    }

    fn datagram(&self, flow: Flow, bytes: &[u8]) {
        let ip = flow.path.remote.ip();
        let is_stranger = !self.known.contains(ip);
        let queue = if !is_stranger {
            &self.trusted
        } else {
            if !self.admit(ip) {
                return;
            }
            &self.strangers
        };
        if queue
            .try_send(Inbound::Datagram { flow, bytes: Bytes::copy_from_slice(bytes), is_stranger })
            .is_err()
        {
            self.stats.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// That nobody is there, or that a firewall on the way refuses (ICMP; RFC 3261 §18.4).
fn is_told_by_the_network(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

/// Reads one socket until it is closed or aborted. `peer` is set for a connected one.
pub(super) async fn read(socket: Arc<UdpSocket>, local: SocketAddr, peer: Option<SocketAddr>, feed: Feed) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                feed.datagram(Flow::udp(local, remote), buffer.get(..length).unwrap_or_default());
            }
            Err(error) => {
                if let Some(remote) = peer.filter(|_| is_told_by_the_network(&error)) {
                    // news of a peer that is not there waits for room: it is rare and worth it
                    if feed.trusted.send(Inbound::Unreachable { hop: remote.into() }).await.is_err() {
                        return;
                    }
                } else {
                    // an error that comes at once and always must not spin
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}
