//! Which transactions make room when a table is full. Pure bookkeeping: the layer notes what they do.

use super::layer::TransactionId;
use super::machine::Machine;
use std::collections::BTreeSet;

/// Those that may end before their time, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Ours that only absorb retransmissions, and the far side's that do.
    clients: BTreeSet<TransactionId>,
    servers: BTreeSet<TransactionId>,
    /// INVITEs whose failure waits for its ACK.
    refused: BTreeSet<TransactionId>,
}

impl Room {
    /// What became of a transaction.
    pub(super) fn note(&mut self, id: TransactionId, machine: &Machine) {
        if machine.lingers() {
            let lingering = if machine.is_client() { &mut self.clients } else { &mut self.servers };
            lingering.insert(id);
        }
        if machine.awaits_ack() {
            self.refused.insert(id);
        } else {
            self.refused.remove(&id);
        }
    }

    /// It is over.
    pub(super) fn remove(&mut self, id: TransactionId) {
        for all in [&mut self.clients, &mut self.servers, &mut self.refused] {
            all.remove(&id);
        }
    }

    /// How many only absorb retransmissions.
    pub(super) fn lingering(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// A client transaction that another one may take the place of.
    pub(super) fn client(&self) -> Option<TransactionId> {
        self.clients.first().copied()
    }

    /// A server transaction that another one may take the place of. Whoever writes INVITEs in another's name never
    /// acknowledges a failure, and what is his goes before what a live far side may still repeat.
    pub(super) fn server(&self, is_ignored: impl Fn(TransactionId) -> bool) -> Option<TransactionId> {
        let refused = self.refused.first().copied();
        refused.filter(|id| is_ignored(*id)).or_else(|| self.servers.first().copied()).or(refused)
    }
}
