//! The machine of an association without ICE: the descriptions name the path, DTLS makes the keys (RFC 5763, 5764).
//!
//! Driven as [`super::core`]. Nothing is believed of anybody but the address that the other side's description names;
//! what comes from there passes the record guard. DTLS that comes before the description waits, within bounds:
//! who answers begins at once, and its answer may be slower.
//!
//! A client that shakes hands anew on the same path is served (RFC 6347 §4.2.8): Asterisk does after every offer within a
//! call. Its keys take the place of the old ones when that handshake is done, and not before, so a ClientHello that somebody else
//! wrote comes to nothing.
//!
//! There is no consent (RFC 7675 needs ICE): who is gone is noticed by the media that does not come. Left out: a
//! path that moves, a new handshake that we begin (a new association does that).

use super::conn::FromEngine;
use super::guard::{LastFlight, RecordGuard, client_random, is_alert};
use super::machine::{DtlsParameters, Machine};
use super::output::{Established, HandshakeError, Output};
use super::{
    Counter, Counters, DtlsRole, FixedParameters, FixedRemote, LocalParameters, PeerEvent, PeerInput,
    RemoteParameters, stun,
};
use crate::base::{Cause, Path};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The handshake has this long, from the other side's description on.
const DEADLINE: Duration = Duration::from_secs(30);
/// Datagrams kept until the other side is known.
const EARLY_LIMIT: usize = 16;
const EARLY_BYTES_LIMIT: usize = 24 * 1024;
/// Shortest time between two handshakes of a client on one path: each costs a millisecond.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

enum Phase {
    Waiting(VecDeque<(SocketAddr, Vec<u8>)>),
    /// With the close_notify of the handshake before, whose keys hold until this one is done.
    Handshaking {
        guard: Box<RecordGuard>,
        deadline: Instant,
        before: Option<Vec<Vec<u8>>>,
    },
    Connected {
        farewell: Vec<Vec<u8>>,
    },
    Ended,
}

/// One association on a path that does not change.
pub(crate) struct Fixed {
    local: FixedParameters,
    remote: Option<Box<FixedRemote>>,
    phase: Phase,
    last_flight: LastFlight,
    /// The random of the last ClientHello, and when the handshake began: another one is another handshake.
    client: Option<([u8; 32], Instant)>,
    counters: Arc<Counters>,
    outputs: VecDeque<Output>,
}

impl Fixed {
    /// A new association; it waits for [`PeerInput::FixedRemote`].
    pub(crate) fn new(local: FixedParameters, counters: Arc<Counters>) -> Self {
        Self {
            local,
            remote: None,
            phase: Phase::Waiting(VecDeque::new()),
            last_flight: LastFlight::default(),
            client: None,
            counters,
            outputs: VecDeque::new(),
        }
    }

    fn handle_remote(&mut self, now: Instant, remote: Box<FixedRemote>) {
        let Phase::Waiting(early) = &mut self.phase else {
            self.counters.add(Counter::SecondDescription);
            return;
        };
        let early = std::mem::take(early);
        self.phase = Phase::Handshaking { guard: Box::default(), deadline: now + DEADLINE, before: None };
        self.outputs.push_back(Output::StartDtls(remote.dtls_role));
        self.remote = Some(remote);
        for (from, bytes) in early {
            self.handle_dtls(now, from, bytes);
        }
    }

    fn handle_dtls(&mut self, now: Instant, from: SocketAddr, bytes: Vec<u8>) {
        if self.remote.as_ref().is_some_and(|r| r.address != from) {
            self.counters.add(Counter::UnauthenticatedDtls);
            return;
        }
        self.follow_client(now, &bytes);
        match &mut self.phase {
            Phase::Waiting(early) => {
                let queued: usize = early.iter().map(|(_, b)| b.len()).sum();
                if early.len() < EARLY_LIMIT && queued.saturating_add(bytes.len()) <= EARLY_BYTES_LIMIT {
                    early.push_back((from, bytes));
                } else {
                    self.counters.add(Counter::EarlyDtlsFull);
                }
            }
            Phase::Handshaking { guard, .. } => match guard.filter(&bytes) {
                Ok(bytes) => self.outputs.push_back(Output::ToDtls { remote: from, bytes }),
                Err(refused) => {
                    tracing::debug!(?refused, "DTLS datagram dropped");
                    self.counters.add(Counter::RefusedDtls);
                }
            },
            Phase::Connected { .. } => {
                if is_alert(&bytes) {
                    // no hang-up: signalling says when it is over
                    self.counters.add(Counter::DtlsAlert);
                } else if self.remote.as_ref().is_some_and(|r| r.dtls_role == DtlsRole::Server) {
                    let path = to(from);
                    let flight = self.last_flight.repeat(now, &bytes);
                    self.outputs.extend(flight.iter().map(|b| Output::Send(path, b.clone())));
                }
            }
            Phase::Ended => {}
        }
    }

    /// A ClientHello of another handshake than the last one begins a new one: beside the keys that are there, or in the
    /// place of a handshake that the client has given up.
    fn follow_client(&mut self, now: Instant, bytes: &[u8]) {
        let is_server = self.remote.as_ref().is_some_and(|r| r.dtls_role == DtlsRole::Server);
        let Some(random) = client_random(bytes).filter(|_| is_server) else { return };
        let Some((known, at)) = self.client else {
            self.client = Some((random, now));
            return;
        };
        if known == random || now.saturating_duration_since(at) < RENEWAL_INTERVAL {
            return;
        }
        let (before, deadline) = match &mut self.phase {
            Phase::Connected { farewell } => (Some(std::mem::take(farewell)), now + DEADLINE),
            Phase::Handshaking { before, deadline, .. } => {
                self.outputs.push_back(Output::StopIce);
                (before.take(), *deadline)
            }
            Phase::Waiting(_) | Phase::Ended => return,
        };
        self.phase = Phase::Handshaking { guard: Box::default(), deadline, before };
        self.client = Some((random, now));
        self.last_flight = LastFlight::default();
        self.outputs.push_back(Output::StartDtls(DtlsRole::Server));
    }

    fn handle_dtls_send(&mut self, bytes: Vec<u8>) {
        let Some(remote) = &self.remote else { return };
        if !matches!(self.phase, Phase::Handshaking { .. } | Phase::Connected { .. }) {
            return;
        }
        if remote.dtls_role == DtlsRole::Server {
            self.last_flight.record(&bytes);
        }
        self.outputs.push_back(Output::Send(to(remote.address), bytes));
    }

    fn handle_close(&mut self) {
        if let (Phase::Connected { farewell }, Some(remote)) = (&mut self.phase, &self.remote) {
            let path = to(remote.address);
            let farewell = std::mem::take(farewell);
            self.outputs.extend(farewell.into_iter().map(|bytes| Output::Send(path, bytes)));
        }
        self.end();
    }

    /// The handshake came to nothing: the keys of the one before hold, if there was one.
    fn fail(&mut self) {
        if let Phase::Handshaking { before: Some(farewell), .. } = &mut self.phase {
            let farewell = std::mem::take(farewell);
            self.phase = Phase::Connected { farewell };
            self.outputs.push_back(Output::StopIce);
            return;
        }
        self.outputs.push_back(Output::Event(PeerEvent::Failed(Cause::DtlsFailed)));
        self.end();
    }

    fn end(&mut self) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::End);
        }
    }
}

/// The path to that address; our end is the socket that the sink has.
fn to(remote: SocketAddr) -> Path {
    Path { local: SocketAddr::from(([0, 0, 0, 0], 0)), remote }
}

impl Machine for Fixed {
    fn handle_engine(&mut self, _now: Instant, said: FromEngine) {
        match said {
            FromEngine::Dtls(bytes) => self.handle_dtls_send(bytes),
            FromEngine::Ice { .. } | FromEngine::Selected { .. } => {}
        }
    }

    fn handle_input(&mut self, now: Instant, input: PeerInput) {
        match input {
            PeerInput::FixedRemote(remote) => self.handle_remote(now, remote),
            PeerInput::Datagram { path, bytes } if stun::is_dtls(&bytes) => {
                self.handle_dtls(now, path.remote, bytes);
            }
            PeerInput::Datagram { .. } => self.counters.add(Counter::UnknownKind),
            PeerInput::Close => self.handle_close(),
            // of the machine with ICE
            PeerInput::Remote(_) | PeerInput::Restart { .. } | PeerInput::MediaFrom(_) => {}
        }
    }

    fn handle_handshake(&mut self, _now: Instant, result: Result<Established, HandshakeError>) {
        let Phase::Handshaking { guard, .. } = &self.phase else { return };
        tracing::debug!(refused = guard.refused(), ok = result.is_ok(), "DTLS handshake ended");
        match result {
            Ok(Established { keys, farewell }) => {
                self.phase = Phase::Connected { farewell };
                self.outputs.push_back(Output::StopIce);
                self.outputs.push_back(Output::Event(PeerEvent::Connected(keys)));
            }
            Err(error) => {
                tracing::debug!(%error, "no keys");
                self.fail();
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Handshaking { deadline, .. } if now >= deadline) {
            self.fail();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Handshaking { deadline, .. } => Some(deadline),
            Phase::Waiting(_) | Phase::Connected { .. } | Phase::Ended => None,
        }
    }

    fn ice(&self) -> Option<(&LocalParameters, &RemoteParameters)> {
        None
    }

    fn dtls(&self) -> Option<DtlsParameters> {
        Some(DtlsParameters {
            certificate: Arc::clone(&self.local.certificate),
            profiles: self.local.profiles.clone(),
            fingerprints: self.remote.as_ref()?.fingerprints.clone(),
        })
    }
}

#[cfg(test)]
#[path = "fixed_tests.rs"]
mod tests;
