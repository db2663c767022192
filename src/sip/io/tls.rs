//! TLS of the stack's connections: whom those that we make lead to, and who may be sent requests by a connection that he
//! has made.
//!
//! RFC 5923: somebody connected to us, showed a certificate and said `alias` in Via. When a request is to go where that
//! Via says and no connection of ours leads there, it goes by his, if a connection of ours would have believed what he
//! showed. Who showed nothing is believed no alias; what is within a call that he made, or goes to what he registered,
//! is sent by his connection all the same, since it is meant for him and not for an address.

use super::super::{Hop, Limits, Message, TlsPeer, Transport, parse};
use crate::net::tls::{Authorities, Connector, Identity, Presented, TlsError, explain};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tracing::{debug, warn};

/// A handshake must be done by then.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// What a handshake takes of a stranger's budget, in messages: a millisecond of a core with a key of RSA, so that all
/// strangers together have a tenth of one.
pub(super) const HANDSHAKE_COST: u32 = 10;
/// Most addresses that are remembered to be somebody's, and most sources whose last fault is.
const MAX_REMEMBERED: usize = 1_024;

/// Whom connections lead to.
#[derive(Debug, Clone)]
pub struct TlsTarget {
    /// Who it is to the log.
    pub label: String,
    /// What its certificate must name: a host or an address.
    pub name: String,
    /// Who makes that certificate believed.
    pub authorities: Arc<Authorities>,
}

struct Peer {
    label: String,
    connector: Arc<Connector>,
}

/// All peers of the stack. Clones share them.
#[derive(Clone)]
pub(super) struct Peers(Arc<Inner>);

struct Inner {
    /// Shown to who asks for it.
    identity: Option<Arc<Identity>>,
    /// In the order of their numbers, from 1 on.
    peers: RwLock<Vec<Peer>>,
    /// Of who is known by his address alone; read when the first of them is met.
    system: Mutex<Option<Arc<Authorities>>>,
    /// Where a peer has been, for connections to where nobody in particular is said to be.
    met: Mutex<BTreeMap<SocketAddr, TlsPeer>>,
    /// The last fault of an address: told when it is another, a peer that is tried again and again would fill the log.
    told: Mutex<BTreeMap<IpAddr, String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peers {
    pub(super) fn new(identity: Option<Arc<Identity>>) -> Self {
        Self(Arc::new(Inner {
            identity,
            peers: RwLock::default(),
            system: Mutex::default(),
            met: Mutex::default(),
            told: Mutex::default(),
        }))
    }

    /// The transport that leads to this target.
    pub(super) fn add(&self, target: TlsTarget) -> Result<Transport, TlsError> {
        let TlsTarget { label, name, authorities } = target;
        let connector = Connector::new(&name, authorities, self.0.identity.clone())?;
        let mut peers = self.0.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.push(Peer { label, connector: Arc::new(connector) });
        Ok(Transport::Tls(TlsPeer(u32::try_from(peers.len()).unwrap_or(u32::MAX))))
    }

    /// A peer is at this address.
    pub(super) fn meet(&self, hop: Hop) {
        if let Transport::Tls(peer) = hop.transport
            && peer != TlsPeer::ANY
        {
            let mut met = lock(&self.0.met);
            while met.len() >= MAX_REMEMBERED && !met.contains_key(&hop.address) {
                met.pop_first();
            }
            met.insert(hop.address, peer);
        }
    }

    /// The peer that was last met at an address where nobody in particular is said to be.
    pub(super) fn met_at(&self, hop: Hop) -> Option<Hop> {
        let is_anybody = hop.transport == Transport::Tls(TlsPeer::ANY);
        let peer = is_anybody.then(|| lock(&self.0.met).get(&hop.address).copied()).flatten()?;
        Some(Hop { transport: Transport::Tls(peer), ..hop })
    }

    /// What makes connections to a hop, if anything does.
    pub(super) fn connector(&self, hop: Hop) -> Option<Arc<Connector>> {
        let Transport::Tls(peer) = self.met_at(hop).unwrap_or(hop).transport else { return None };
        if peer == TlsPeer::ANY {
            return self.anybody(hop.address.ip());
        }
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(peer.0).ok()?.checked_sub(1)?;
        peers.get(at).map(|p| Arc::clone(&p.connector))
    }

    fn anybody(&self, ip: IpAddr) -> Option<Arc<Connector>> {
        let mut system = lock(&self.0.system);
        if system.is_none() {
            *system = Authorities::of_system().ok();
        }
        let connector = Connector::new(&ip.to_string(), system.clone()?, self.0.identity.clone());
        connector.ok().map(Arc::new)
    }

    fn label(&self, hop: Hop) -> String {
        let peers = self.0.peers.read().unwrap_or_else(PoisonError::into_inner);
        let at = match self.met_at(hop).unwrap_or(hop).transport {
            Transport::Tls(peer) => usize::try_from(peer.0).unwrap_or_default().checked_sub(1),
            Transport::Udp | Transport::Tcp => None,
        };
        at.and_then(|at| peers.get(at)).map_or_else(|| "somebody".to_owned(), |p| p.label.clone())
    }

    /// A connection that we made, or tried to, is of no use.
    pub(super) fn failed(&self, hop: Hop, error: &io::Error) {
        let (why, remote) = (explain(error), hop.address);
        if self.is_news(remote.ip(), &why) {
            warn!(peer = self.label(hop), %remote, "no TLS: {why}");
        } else {
            debug!(%remote, "no TLS: {why}");
        }
    }

    /// Somebody who connected to us got no further.
    pub(super) fn refused(&self, remote: SocketAddr, error: &io::Error, is_known: bool) {
        let why = explain(error);
        if is_known && self.is_news(remote.ip(), &why) {
            warn!(%remote, "who connected by TLS was not let in: {why}");
        } else {
            debug!(%remote, "no TLS: {why}");
        }
    }

    /// It works: the next fault is news.
    pub(super) fn succeeded(&self, ip: IpAddr) {
        lock(&self.0.told).remove(&ip);
    }

    fn is_news(&self, ip: IpAddr, why: &str) -> bool {
        let mut told = lock(&self.0.told);
        while told.len() >= MAX_REMEMBERED && !told.contains_key(&ip) {
            told.pop_first();
        }
        told.insert(ip, why.to_owned()).is_none_or(|last| last != why)
    }

    /// Whether a request to this hop may go by the connection of who has shown this.
    pub(super) fn may_go_by(&self, hop: Hop, shown: &Presented) -> bool {
        self.connector(hop).is_some_and(|connector| connector.believes(shown, SystemTime::now()))
    }
}

/// Where requests may go by the connection that this one came by: its sent-by, when it says `alias` (RFC 5923).
pub(super) fn alias(remote: SocketAddr, bytes: &[u8]) -> Option<SocketAddr> {
    let word = b"alias";
    if !bytes.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word)) {
        return None;
    }
    let Ok(Message::Request(request)) = parse(bytes, &Limits::TCP) else { return None };
    let via = request.headers.top_via().ok().filter(|via| via.params.has("alias"))?;
    let port = via.port.unwrap_or(Transport::Tls(TlsPeer::ANY).default_port());
    Some(SocketAddr::new(via.host.ip().unwrap_or(remote.ip()), port))
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
