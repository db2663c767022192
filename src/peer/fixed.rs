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
use super::guard::client_random;
use super::machine::{DtlsParameters, Machine};
use super::output::{Established, HandshakeError, Output};
use super::records::Records;
use super::{Counter, Counters, DtlsRole, FixedParameters, FixedRemote, PeerEvent, PeerInput, stun};
use crate::base::{Cause, Path};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The handshake has this long, from the other side's description on.
const DEADLINE: Duration = Duration::from_secs(30);
/// Shortest time between two handshakes of a client on one path: each costs a millisecond.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(1);

enum Phase {
    Waiting,
    /// With the close_notify of the handshake before, whose keys hold until this one is done.
    Handshaking {
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
    records: Records,
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
            phase: Phase::Waiting,
            records: Records::new(Arc::clone(&counters)),
            client: None,
            counters,
            outputs: VecDeque::new(),
        }
    }

    fn handle_remote(&mut self, now: Instant, remote: Box<FixedRemote>) {
        if !matches!(self.phase, Phase::Waiting) {
            self.counters.add(Counter::SecondDescription);
            return;
        }
        let role = remote.dtls_role;
        self.phase = Phase::Handshaking { deadline: now + DEADLINE, before: None };
        self.outputs.push_back(Output::StartDtls(role));
        self.remote = Some(remote);
        for (path, bytes) in self.records.begin(role) {
            self.handle_dtls(now, path.remote, bytes);
        }
    }

    fn handle_dtls(&mut self, now: Instant, from: SocketAddr, bytes: Vec<u8>) {
        if self.remote.as_ref().is_some_and(|r| r.address != from) {
            self.counters.add(Counter::UnauthenticatedDtls);
            return;
        }
        self.follow_client(now, &bytes);
        if !matches!(self.phase, Phase::Ended) {
            self.records.handle(now, to(from), bytes, &mut self.outputs);
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
            Phase::Waiting | Phase::Ended => return,
        };
        self.phase = Phase::Handshaking { deadline, before };
        self.client = Some((random, now));
        // nothing waits for a handshake that is not the first
        let _ = self.records.begin(DtlsRole::Server);
        self.outputs.push_back(Output::StartDtls(DtlsRole::Server));
    }

    fn handle_dtls_send(&mut self, bytes: Vec<u8>) {
        let Some(remote) = &self.remote else { return };
        if !matches!(self.phase, Phase::Handshaking { .. } | Phase::Connected { .. }) {
            return;
        }
        self.records.handle_send(&bytes);
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
        self.records.finish();
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
        if !matches!(self.phase, Phase::Handshaking { .. }) {
            return;
        }
        match result {
            Ok(Established { keys, farewell }) => {
                self.records.finish();
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
            Phase::Waiting | Phase::Connected { .. } | Phase::Ended => None,
        }
    }

    fn dtls(&self) -> Option<DtlsParameters> {
        let remote = self.remote.as_ref()?;
        Some(DtlsParameters::new(&self.local.certificate, &self.local.profiles, &remote.fingerprints))
    }
}

#[cfg(test)]
#[path = "fixed_tests.rs"]
mod tests;
