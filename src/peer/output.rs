//! What `core` asks of the adaptors, and what a finished handshake brings back.

use super::{DtlsRole, IceRole, PeerEvent, SrtpKeys};
use crate::base::Path;
use std::net::SocketAddr;
use std::time::Duration;

/// What the adaptors are to do.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send a datagram.
    Send(Path, Vec<u8>),
    /// Say something.
    Event(PeerEvent),
    /// Start agents, in place of those that run.
    StartIce(StartIce),
    /// A verified STUN message for the agent of its family.
    ToIce {
        /// Sender.
        remote: SocketAddr,
        /// The message.
        bytes: Vec<u8>,
    },
    /// End the agents.
    StopIce,
    /// Start the handshake.
    StartDtls(DtlsRole),
    /// A guarded datagram for the DTLS engine.
    ToDtls {
        /// Sender.
        remote: SocketAddr,
        /// Its records.
        bytes: Vec<u8>,
    },
    /// All is over: stop everything; no output follows.
    End,
}

/// How the agents are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartIce {
    /// Our role.
    pub(crate) role: IceRole,
    /// Time between checks of a pair.
    pub(crate) check_interval: Duration,
}

/// Why there are no keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The engine gave up.
    #[error("the DTLS handshake failed")]
    Engine,
    /// RFC 5763 §5.
    #[error("the certificate is not the announced one")]
    Certificate,
    /// No profile, or one we did not offer.
    #[error("no SRTP profile was agreed on")]
    Profile,
}

/// What a finished handshake leaves.
#[derive(Debug)]
pub(crate) struct Established {
    /// Keys for SRTP.
    pub(crate) keys: SrtpKeys,
    /// Our close_notify, made in advance: the engine is gone by the time it is sent.
    pub(crate) farewell: Vec<Vec<u8>>,
}
