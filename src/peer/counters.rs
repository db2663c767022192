//! What associations drop, counted (one set for each, readable from any thread).

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that was dropped, or seen and not acted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// An input did not fit into the queue of the association.
    QueueFull,
    /// A datagram that is neither STUN nor DTLS.
    UnknownKind,
    /// STUN of a wrong form.
    BadStun,
    /// STUN without our credentials.
    UnauthenticatedStun,
    /// A STUN error answer (400, 401, 487 …): no consent.
    StunErrorAnswer,
    /// DTLS from a path that proved nothing.
    UnauthenticatedDtls,
    /// DTLS that came too early, when the queue for it was full.
    EarlyDtlsFull,
    /// DTLS that the guards stopped, or beyond the handshake's share.
    RefusedDtls,
    /// A DTLS alert after the handshake: no hang-up.
    DtlsAlert,
    /// A second description of the other side.
    SecondDescription,
    /// An ICE restart of an association that is not up.
    RestartTooEarly,
    /// Handling an input panicked: the association ended.
    Panicked,
    /// An agent could not be started.
    AgentFailed,
    /// A check that claims the role of ours that cannot change: answered with 487.
    RoleConflict,
}

impl Counter {
    /// All counters.
    pub const ALL: [Self; 14] = [
        Self::QueueFull,
        Self::UnknownKind,
        Self::BadStun,
        Self::UnauthenticatedStun,
        Self::StunErrorAnswer,
        Self::UnauthenticatedDtls,
        Self::EarlyDtlsFull,
        Self::RefusedDtls,
        Self::DtlsAlert,
        Self::SecondDescription,
        Self::RestartTooEarly,
        Self::Panicked,
        Self::AgentFailed,
        Self::RoleConflict,
    ];

    /// One word for logs and metrics; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::UnknownKind => "unknown-kind",
            Self::BadStun => "bad-stun",
            Self::UnauthenticatedStun => "unauthenticated-stun",
            Self::StunErrorAnswer => "stun-error-answer",
            Self::UnauthenticatedDtls => "unauthenticated-dtls",
            Self::EarlyDtlsFull => "early-dtls-full",
            Self::RefusedDtls => "refused-dtls",
            Self::DtlsAlert => "dtls-alert",
            Self::SecondDescription => "second-description",
            Self::RestartTooEarly => "restart-too-early",
            Self::Panicked => "panicked",
            Self::AgentFailed => "agent-failed",
            Self::RoleConflict => "role-conflict",
        }
    }
}

/// Counts of one association.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// How often it happened.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0.get(counter as usize).map_or(0, |c| c.load(Ordering::Relaxed))
    }

    pub(super) fn add(&self, counter: Counter) {
        if let Some(cell) = self.0.get(counter as usize) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_a_place_of_its_own() {
        let counters = Counters::default();
        for (i, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, i);
            counters.add(counter);
        }
        assert!(Counter::ALL.iter().all(|c| counters.get(*c) == 1));
    }
}
