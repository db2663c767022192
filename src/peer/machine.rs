//! What the task of an association drives: the machine with full ICE, the one that only answers checks, or the one whose
//! path the descriptions fix.

use super::conn::FromEngine;
use super::core::Peer;
use super::output::{Established, HandshakeError, Output};
use super::{Certificate, Fingerprint, LocalParameters, PeerInput, RemoteParameters, SrtpProfile};
use std::sync::Arc;
use std::time::Instant;

/// A machine of an association; see [`super::core`] for how it is driven.
pub(super) trait Machine: Send + 'static {
    /// An engine sends, or has a pair.
    fn handle_engine(&mut self, now: Instant, said: FromEngine);

    /// What it is told.
    fn handle_input(&mut self, now: Instant, input: PeerInput);

    /// The handshake came to an end.
    fn handle_handshake(&mut self, now: Instant, result: Result<Established, HandshakeError>);

    /// The clock; early calls are harmless.
    fn handle_timeout(&mut self, now: Instant);

    /// The next thing to do.
    fn poll_output(&mut self) -> Option<Output>;

    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Instant>;

    /// What ICE agents are run with, once both sides are known; never without agents.
    fn ice(&self) -> Option<(&LocalParameters, &RemoteParameters)> {
        None
    }

    /// What a handshake is run with, once the other side is known.
    fn dtls(&self) -> Option<DtlsParameters>;
}

/// Both sides of a handshake.
pub(super) struct DtlsParameters {
    pub(super) certificate: Arc<Certificate>,
    pub(super) profiles: Vec<SrtpProfile>,
    pub(super) fingerprints: Vec<Fingerprint>,
}

impl DtlsParameters {
    /// Our certificate and profiles, and what the other side's certificate must be.
    pub(super) fn new(
        certificate: &Arc<Certificate>,
        profiles: &[SrtpProfile],
        fingerprints: &[Fingerprint],
    ) -> Self {
        Self {
            certificate: Arc::clone(certificate),
            profiles: profiles.to_vec(),
            fingerprints: fingerprints.to_vec(),
        }
    }
}

impl Machine for Peer {
    fn handle_engine(&mut self, now: Instant, said: FromEngine) {
        match said {
            FromEngine::Ice { remote, bytes } => self.handle_ice_send(now, remote, bytes),
            FromEngine::Selected { remote } => self.handle_ice_selected(now, remote),
            FromEngine::Dtls(bytes) => self.handle_dtls_send(bytes),
        }
    }

    fn handle_input(&mut self, now: Instant, input: PeerInput) {
        match input {
            PeerInput::Remote(remote) => self.handle_remote(now, remote),
            PeerInput::Datagram { path, bytes } => self.handle_datagram(now, path, bytes),
            PeerInput::Restart { local, remote } => self.handle_restart(now, local, remote),
            PeerInput::MediaFrom(path) => self.handle_media_from(now, path),
            PeerInput::Close => self.handle_close(),
            // of the other machine
            PeerInput::FixedRemote(_) => {}
        }
    }

    fn handle_handshake(&mut self, now: Instant, result: Result<Established, HandshakeError>) {
        Self::handle_handshake(self, now, result);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Self::handle_timeout(self, now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Self::poll_timeout(self)
    }

    fn ice(&self) -> Option<(&LocalParameters, &RemoteParameters)> {
        Some((self.local(), self.remote()?))
    }

    fn dtls(&self) -> Option<DtlsParameters> {
        let local = self.local();
        Some(DtlsParameters::new(&local.certificate, &local.profiles, &self.remote()?.fingerprints))
    }
}
