//! One of the four machines of RFC 3261 §17, with what the layer does to each alike.

use super::client_invite::{self, ClientInvite};
use super::client_request::{self, ClientRequest};
use super::server_invite::{self, ServerInvite};
use super::server_request::{self, ServerRequest};
use super::timer::Timer;
use super::{ClientOutput, ServerOutput};
use std::time::Instant;

#[derive(Debug)]
pub(super) enum Machine {
    ClientInvite(ClientInvite),
    ClientRequest(ClientRequest),
    ServerInvite(ServerInvite),
    ServerRequest(ServerRequest),
}

/// What a machine asks of the layer.
pub(super) enum MachineOutput {
    Client(ClientOutput),
    Server(ServerOutput),
}

impl Machine {
    /// Whether its request is ours.
    pub(super) const fn is_client(&self) -> bool {
        matches!(self, Self::ClientInvite(_) | Self::ClientRequest(_))
    }

    /// Whether it has had its final answer and only absorbs retransmissions.
    pub(super) const fn lingers(&self) -> bool {
        match self {
            Self::ClientInvite(m) => {
                !matches!(m.state(), client_invite::State::Calling | client_invite::State::Proceeding)
            }
            Self::ClientRequest(m) => {
                !matches!(m.state(), client_request::State::Trying | client_request::State::Proceeding)
            }
            Self::ServerInvite(m) => {
                !matches!(m.state(), server_invite::State::Proceeding | server_invite::State::Completed)
            }
            Self::ServerRequest(m) => {
                !matches!(m.state(), server_request::State::Trying | server_request::State::Proceeding)
            }
        }
    }

    /// Whether it is an INVITE whose failure has no ACK yet.
    pub(super) const fn awaits_ack(&self) -> bool {
        matches!(self, Self::ServerInvite(m) if matches!(m.state(), server_invite::State::Completed))
    }

    /// Whether its failure was repeated so often in vain that a live far side would have acknowledged it.
    pub(super) fn is_ignored(&self) -> bool {
        matches!(self, Self::ServerInvite(m) if m.is_ignored())
    }

    /// The transport could not carry what it sent.
    pub(super) fn handle_transport_error(&mut self) {
        match self {
            Self::ClientInvite(m) => m.handle_transport_error(),
            Self::ClientRequest(m) => m.handle_transport_error(),
            Self::ServerInvite(m) => m.handle_transport_error(),
            Self::ServerRequest(m) => m.handle_transport_error(),
        }
    }

    /// The clock; early calls are harmless.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::ClientInvite(m) => m.handle_timeout(now),
            Self::ClientRequest(m) => m.handle_timeout(now),
            Self::ServerInvite(m) => m.handle_timeout(now),
            Self::ServerRequest(m) => m.handle_timeout(now),
        }
    }

    /// The next output.
    pub(super) fn poll_output(&mut self) -> Option<MachineOutput> {
        match self {
            Self::ClientInvite(m) => m.poll_output().map(MachineOutput::Client),
            Self::ClientRequest(m) => m.poll_output().map(MachineOutput::Client),
            Self::ServerInvite(m) => m.poll_output().map(MachineOutput::Server),
            Self::ServerRequest(m) => m.poll_output().map(MachineOutput::Server),
        }
    }

    /// The next wake-up and why.
    pub(super) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self {
            Self::ClientInvite(m) => m.poll_timeout(),
            Self::ClientRequest(m) => m.poll_timeout(),
            Self::ServerInvite(m) => m.poll_timeout(),
            Self::ServerRequest(m) => m.poll_timeout(),
        }
    }
}
