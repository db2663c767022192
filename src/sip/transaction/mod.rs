//! Transactions (RFC 3261 §17, RFC 6026): four machines and the [`Layer`] that routes messages to them.

pub mod client_invite;
pub mod client_request;
mod large;
pub mod layer;
mod machine;
mod room;
pub mod server_invite;
pub mod server_request;
pub mod timer;

use super::{Request, Response};
use bytes::Bytes;

pub use layer::{Full, Layer, LayerConfig, LayerOutput, TransactionId};
pub use timer::{Timer, Timings};

/// Why a transaction ended without its due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Timer B, F or H: nobody answered.
    Timeout,
    /// The transport says that nobody is there.
    Transport,
}

/// What a client transaction asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientOutput {
    /// Bytes for the flow of the transaction.
    Send(Bytes),
    /// A response for the user.
    Deliver(Response),
    /// No final response will come.
    Failed(Failure),
    /// Over; forget it.
    Terminated,
}

/// What a server transaction asks of the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerOutput {
    /// Bytes for the address of the response.
    Send(Bytes),
    /// The ACK of a 2xx, for the user.
    Ack(Box<Request>),
    /// A response could not be delivered, or its ACK never came.
    Failed(Failure),
    /// Over; forget it.
    Terminated,
}

#[cfg(test)]
mod tests;
