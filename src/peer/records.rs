//! The DTLS datagrams of an association, by where its handshake stands: those that come too early wait, those of the
//! handshake pass the record guard, and after it a server repeats its last flight to a client that has not seen it.
//!
//! Whose datagrams these may be is the machine's to say; it hands over those of nobody else.

use super::guard::{LastFlight, RecordGuard, is_alert};
use super::output::Output;
use super::{Counter, Counters, DtlsRole};
use crate::base::Path;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Datagrams that are kept until the handshake begins.
const EARLY_LIMIT: usize = 16;
const EARLY_BYTES_LIMIT: usize = 24 * 1024;

enum Stage {
    Early(VecDeque<(Path, Vec<u8>)>),
    Handshake(Box<RecordGuard>),
    Done,
}

/// See the head of this file.
pub(super) struct Records {
    stage: Stage,
    role: DtlsRole,
    last_flight: LastFlight,
    counters: Arc<Counters>,
}

impl Records {
    /// No handshake has begun.
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        let stage = Stage::Early(VecDeque::new());
        Self { stage, role: DtlsRole::Client, last_flight: LastFlight::default(), counters }
    }

    /// A handshake begins, the first one or another; gives what waited for it, which is to be handled now.
    #[must_use]
    pub(super) fn begin(&mut self, role: DtlsRole) -> VecDeque<(Path, Vec<u8>)> {
        self.role = role;
        self.last_flight = LastFlight::default();
        match std::mem::replace(&mut self.stage, Stage::Handshake(Box::new(RecordGuard::new(role)))) {
            Stage::Early(early) => early,
            Stage::Handshake(_) | Stage::Done => VecDeque::new(),
        }
    }

    /// The handshake is over.
    pub(super) fn finish(&mut self) {
        if let Stage::Handshake(guard) = std::mem::replace(&mut self.stage, Stage::Done) {
            tracing::debug!(refused = guard.refused(), "DTLS handshake ended");
        }
    }

    /// A datagram came by a path that may bring one.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        path: Path,
        bytes: Vec<u8>,
        outputs: &mut VecDeque<Output>,
    ) {
        match &mut self.stage {
            Stage::Early(early) => {
                let queued: usize = early.iter().map(|(_, b)| b.len()).sum();
                if early.len() < EARLY_LIMIT && queued.saturating_add(bytes.len()) <= EARLY_BYTES_LIMIT {
                    early.push_back((path, bytes));
                } else {
                    self.counters.add(Counter::EarlyDtlsFull);
                }
            }
            Stage::Handshake(guard) => match guard.filter(&bytes) {
                Ok(bytes) => outputs.push_back(Output::ToDtls { remote: path.remote, bytes }),
                Err(refused) => {
                    tracing::debug!(?refused, "DTLS datagram dropped");
                    self.counters.add(Counter::RefusedDtls);
                }
            },
            Stage::Done if is_alert(&bytes) => {
                // no hang-up: signalling, consent or the media's absence says when it is over
                self.counters.add(Counter::DtlsAlert);
                tracing::debug!("DTLS alert after the handshake");
            }
            Stage::Done => {
                if self.role == DtlsRole::Server {
                    let flight = self.last_flight.repeat(now, &bytes);
                    outputs.extend(flight.iter().map(|b| Output::Send(path, b.clone())));
                }
            }
        }
    }

    /// The engine sends this.
    pub(super) fn handle_send(&mut self, bytes: &[u8]) {
        if self.role == DtlsRole::Server {
            self.last_flight.record(bytes);
        }
    }
}
