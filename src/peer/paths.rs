//! The paths of an association: which ones proved themselves, which one media takes, which one is being asked.
//!
//! A path is **known** when a STUN message with our credentials, or the answer to a check of ours, came by it; it is
//! **confirmed** when it answered a request of ours (RFC 8445 §7.2.5.3: only such a path may carry media for long; a
//! source address alone can be written by anybody). The first path is selected as soon as it is nominated, because the DTLS
//! handshake that follows proves it; a later one is asked first and selected when it answers.

use super::stun::TransactionId;
use crate::base::{Path, Seed};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Remote candidates that are probed.
const CANDIDATE_LIMIT: usize = 20;
/// Known paths that are kept; the oldest unselected one gives way.
const KNOWN_LIMIT: usize = 16;
/// Paths asked at once.
const ASK_LIMIT: usize = 8;
/// First wait for an answer; doubled each time.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// Requests to a path before it is given up.
const ASK_TRIES: u8 = 5;
/// A confirmed path is not asked again within this time.
const CONFIRMED_FOR: Duration = Duration::from_secs(5);
/// Shortest time between two moves: a browser that gets no answers nominates in turn every 62 ms.
const MOVE_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Known {
    path: Path,
    confirmed_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Ask {
    path: Path,
    transaction: TransactionId,
    /// What was sent last may be answered late, after the next went out.
    before: Option<TransactionId>,
    again_at: Instant,
    tries: u8,
    /// Whether media goes there when it answers.
    selects: bool,
}

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// It was not known before.
    pub(crate) is_new: bool,
}

/// The paths of one association.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    known: Vec<Known>,
    selected: Option<Path>,
    /// Where media shall go, and when that move is allowed.
    wanted: Option<(Path, Instant)>,
    moved_at: Option<Instant>,
    asks: Vec<Ask>,
}

impl Paths {
    /// Where media goes.
    pub(crate) const fn selected(&self) -> Option<Path> {
        self.selected
    }

    /// Whether the path proved itself.
    pub(crate) fn is_known(&self, path: Path) -> bool {
        self.known.iter().any(|k| k.path == path)
    }

    /// A known path with this remote address: through which socket of ours it is reached.
    pub(crate) fn by_remote(&self, remote: SocketAddr) -> Option<Path> {
        self.known.iter().rev().map(|k| k.path).find(|p| p.remote == remote)
    }

    /// A request with our credentials came by the path; true when it is new.
    pub(crate) fn learn(&mut self, path: Path) -> bool {
        if self.is_known(path) {
            return false;
        }
        if self.known.len() >= KNOWN_LIMIT
            && let Some(oldest) = self.known.iter().position(|k| Some(k.path) != self.selected)
        {
            self.known.remove(oldest);
        }
        self.known.push(Known { path, confirmed_at: None });
        true
    }

    /// Media shall go there. Before media flows (`is_connected` false) the path need not answer first.
    pub(crate) fn want(&mut self, now: Instant, path: Path, is_connected: bool, seed: &mut Seed) {
        if self.selected == Some(path) {
            return self.follow(now, path);
        }
        let is_confirmed = self.known.iter().any(|k| {
            k.path == path
                && k.confirmed_at.is_some_and(|at| now.saturating_duration_since(at) < CONFIRMED_FOR)
        });
        if is_confirmed || !is_connected {
            self.plan_move(now, path);
        } else {
            self.ask(now, path, true, seed);
        }
    }

    /// Media shall go there, without asking; a move to another path that was planned is off.
    pub(crate) fn follow(&mut self, now: Instant, path: Path) {
        for ask in &mut self.asks {
            ask.selects = false;
        }
        if self.selected == Some(path) {
            self.wanted = None;
        } else {
            self.plan_move(now, path);
        }
    }

    /// Asks a path for consent, unless it is being asked.
    pub(crate) fn ask(&mut self, now: Instant, path: Path, selects: bool, seed: &mut Seed) {
        if selects {
            // the latest wish counts
            for ask in &mut self.asks {
                ask.selects = ask.path == path;
            }
        }
        if self.asks.iter().any(|a| a.path == path) || self.asks.len() >= ASK_LIMIT {
            return;
        }
        let mut transaction = TransactionId::default();
        seed.fill(&mut transaction);
        self.asks.push(Ask { path, transaction, before: None, again_at: now, tries: 0, selects });
    }

    /// A verified success answer came; whether it answers a request to this very path.
    pub(crate) fn handle_answer(
        &mut self,
        now: Instant,
        path: Path,
        transaction: TransactionId,
    ) -> Option<Answered> {
        let at = self.asks.iter().position(|a| {
            a.path == path && (a.transaction == transaction || a.before == Some(transaction))
        })?;
        let ask = self.asks.swap_remove(at);
        let is_new = self.learn(path);
        self.confirm(now, path);
        if ask.selects && self.selected != Some(path) {
            self.plan_move(now, path);
        }
        Some(Answered { is_new })
    }

    /// The path answered a request of ours.
    pub(crate) fn confirm(&mut self, now: Instant, path: Path) {
        if let Some(known) = self.known.iter_mut().find(|k| k.path == path) {
            known.confirmed_at = Some(now);
        }
    }

    /// The move that is due, if one is.
    pub(crate) fn poll_move(&mut self, now: Instant) -> Option<Path> {
        let (path, _) = self.wanted.take_if(|(_, at)| now >= *at)?;
        self.selected = Some(path);
        self.moved_at = Some(now);
        Some(path)
    }

    /// The request that is due, if one is: its path and transaction.
    pub(crate) fn poll_ask(&mut self, now: Instant, seed: &mut Seed) -> Option<(Path, TransactionId)> {
        self.asks.retain(|a| a.tries < ASK_TRIES || now < a.again_at);
        let ask = self.asks.iter_mut().find(|a| now >= a.again_at)?;
        if ask.tries > 0 {
            ask.before = Some(ask.transaction);
            seed.fill(&mut ask.transaction);
        }
        ask.again_at = now + ASK_INTERVAL * 2_u32.saturating_pow(u32::from(ask.tries));
        ask.tries = ask.tries.saturating_add(1);
        Some((ask.path, ask.transaction))
    }

    /// Next wake-up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.asks.iter().map(|a| a.again_at).chain(self.wanted.map(|(_, at)| at)).min()
    }

    fn plan_move(&mut self, now: Instant, path: Path) {
        let at = self.moved_at.map_or(now, |moved| now.max(moved + MOVE_INTERVAL));
        self.wanted = Some((path, at));
    }
}

/// Those of the other side's candidates that are probed.
pub(crate) fn choose_candidates(mut candidates: Vec<SocketAddr>, allow_loopback: bool) -> Vec<SocketAddr> {
    candidates.retain(|c| may_probe(*c, allow_loopback));
    candidates.truncate(CANDIDATE_LIMIT);
    candidates
}

/// Whether a candidate of the other side may be probed: addresses that lead back into this machine or to
/// many, or to nobody, are not (RFC 8445 §5.1.1.1).
pub(super) fn may_probe(candidate: SocketAddr, allow_loopback: bool) -> bool {
    let ip = candidate.ip();
    let is_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast() || ip.octets().first() == Some(&0),
        // an IPv4 address written as IPv6 belongs to no socket of ours
        IpAddr::V6(v6) => v6.is_unicast_link_local() || ip.to_canonical().is_ipv4(),
    };
    candidate.port() != 0
        && !is_local
        && !ip.is_unspecified()
        && !ip.is_multicast()
        && (allow_loopback || !ip.is_loopback())
}
