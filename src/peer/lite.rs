//! The machine of an association in which our ICE agent is lite (RFC 8445 §2.5): it answers checks and sends none.
//!
//! Driven as [`super::core`]. We are always controlled (RFC 8445 §6.1.1), so a check whose sender claims that role is
//! answered with 487 (§7.3.1.1). Media goes where the latest verified USE-CANDIDATE came from (§7.3.1.5); both
//! address families are served alike, since every answer leaves by the socket that the check came in by. No crate
//! and no task of an agent stands behind it, and nothing is repeated: the only clocks are the deadline of the set-up
//! and that of consent.
//!
//! RFC 7675 §5.1 has a lite agent answer the other side's consent checks and make none. That the other side has gone
//! shows all the same: when no verified request came by the selected path for as long as consent lasts.
//!
//! What a lite agent cannot have: proof that who nominates a path also listens there. Whoever holds a call's
//! credentials can have its media sent to an address that he forges (an insider's attack, RFC 8445 §19.5; full agents
//! check the way back). Strangers cannot.
//!
//! A NAT that moves shows first by media from a path that nobody proved. When a verified request follows by that path, media
//! follows it, nominated or not: some browsers nominate once and keep consent without a further word.
//!
//! Left out: a peer that is lite too. Nobody would check there; such a peer gets a full agent of ours (`media`).

use super::conn::FromEngine;
use super::consent::EXPIRY;
use super::core::DEADLINE;
use super::machine::{DtlsParameters, Machine};
use super::output::{Established, HandshakeError, Output};
use super::paths::Paths;
use super::records::Records;
use super::stun::{self, Class, View};
use super::{
    Counter, Counters, IceCredentials, IceRole, LocalParameters, PeerEvent, PeerInput, RemoteParameters,
};
use crate::base::{Cause, Path};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

enum Phase {
    /// The other side's description has not come. Paths prove themselves, and the last nominated one is kept.
    Waiting {
        nominated: Option<Path>,
    },
    /// Nothing is nominated yet.
    Checked {
        deadline: Instant,
    },
    Handshaking {
        deadline: Instant,
    },
    Connected {
        lost_at: Instant,
        farewell: Vec<Vec<u8>>,
    },
    Ended,
}

/// One association of a lite agent.
pub(crate) struct Lite {
    local: LocalParameters,
    remote: Option<Box<RemoteParameters>>,
    phase: Phase,
    paths: Paths,
    /// Our credentials before a restart: the other side goes on with them until it knows the new ones.
    previous: Option<IceCredentials>,
    /// A path by which genuine media came before any request did.
    media_from: Option<Path>,
    records: Records,
    counters: Arc<Counters>,
    outputs: VecDeque<Output>,
}

impl Lite {
    /// A new association; it waits for [`PeerInput::Remote`].
    pub(crate) fn new(local: LocalParameters, counters: Arc<Counters>) -> Self {
        Self {
            local,
            remote: None,
            phase: Phase::Waiting { nominated: None },
            paths: Paths::default(),
            previous: None,
            media_from: None,
            records: Records::new(Arc::clone(&counters)),
            counters,
            outputs: VecDeque::new(),
        }
    }

    fn handle_remote(&mut self, now: Instant, remote: Box<RemoteParameters>) {
        let Phase::Waiting { nominated } = self.phase else {
            self.counters.add(Counter::SecondDescription);
            return;
        };
        self.remote = Some(remote);
        self.phase = Phase::Checked { deadline: now + DEADLINE };
        if let Some(path) = nominated {
            self.paths.follow(now, path);
        }
    }

    /// New credentials on both sides (RFC 8445 §9). The selected path stays until the other side nominates with them,
    /// and the handshake, if one is under way, goes on.
    fn handle_restart(&mut self, now: Instant, local: IceCredentials, mut remote: Box<RemoteParameters>) {
        let (Some(current), false) = (&self.remote, matches!(self.phase, Phase::Ended)) else {
            return self.counters.add(Counter::RestartTooEarly);
        };
        remote.dtls_role = current.dtls_role;
        // RFC 8842 §3.3: the certificate is the same
        remote.fingerprints.clone_from(&current.fingerprints);
        self.remote = Some(remote);
        self.previous = Some(std::mem::replace(&mut self.local.credentials, local));
        if let Phase::Checked { deadline } = &mut self.phase {
            *deadline = now + DEADLINE;
        }
    }

    fn handle_datagram(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        if stun::is_stun(&bytes) {
            self.handle_stun(now, path, &bytes);
        } else if !stun::is_dtls(&bytes) {
            self.counters.add(Counter::UnknownKind);
        } else if self.paths.is_known(path) {
            self.records.handle(now, path, bytes, &mut self.outputs);
        } else {
            self.counters.add(Counter::UnauthenticatedDtls);
        }
    }

    fn handle_stun(&mut self, now: Instant, path: Path, bytes: &[u8]) {
        let Ok(view) = View::parse(bytes) else {
            return self.counters.add(Counter::BadStun);
        };
        match view.class() {
            Class::Request => self.handle_check(now, path, &view),
            // we asked for nothing
            Class::Success | Class::Error => self.counters.add(Counter::UnauthenticatedStun),
            Class::Indication => {}
        }
    }

    /// A connectivity or consent check (RFC 8445 §7.3, RFC 7675 §5.1).
    fn handle_check(&mut self, now: Instant, path: Path, view: &View<'_>) {
        let credentials = &self.local.credentials;
        let theirs = self.remote.as_ref().map(|r| r.credentials.ufrag.as_str());
        let pwd = credentials.pwd.expose();
        if !view.is_addressed_to(&credentials.ufrag, theirs) || !view.is_signed_by(pwd) {
            return self.handle_old_check(now, path, view);
        }
        if view.sender_role() == Some(IceRole::Controlled) {
            self.counters.add(Counter::RoleConflict);
            let refusal = stun::role_conflict(view.transaction(), pwd);
            return self.outputs.push_back(Output::Send(path, refusal));
        }
        let answer = stun::binding_success(view.transaction(), path.remote, pwd);
        self.outputs.push_back(Output::Send(path, answer));
        if self.paths.learn(path) {
            self.outputs.push_back(Output::Event(PeerEvent::Authenticated(path)));
        }
        self.hear(now, path);
        if view.has_use_candidate() || self.media_from == Some(path) {
            self.media_from = None;
            match &mut self.phase {
                Phase::Waiting { nominated } => *nominated = Some(path),
                _ => self.paths.follow(now, path),
            }
        }
    }

    /// A check with the credentials from before a restart is answered, so that the old path goes on; it proves no new one.
    fn handle_old_check(&mut self, now: Instant, path: Path, view: &View<'_>) {
        let old = self.previous.as_ref().filter(|old| {
            self.paths.is_known(path)
                && view.is_addressed_to(&old.ufrag, None)
                && view.is_signed_by(old.pwd.expose())
        });
        let Some(old) = old else {
            return self.counters.add(Counter::UnauthenticatedStun);
        };
        let answer = stun::binding_success(view.transaction(), path.remote, old.pwd.expose());
        self.outputs.push_back(Output::Send(path, answer));
        self.hear(now, path);
    }

    /// A verified request: by the selected path it keeps consent.
    fn hear(&mut self, now: Instant, path: Path) {
        if let Phase::Connected { lost_at, .. } = &mut self.phase
            && self.paths.selected() == Some(path)
        {
            *lost_at = now + EXPIRY;
        }
    }

    /// Genuine media by an unknown path: a request may follow. A known one waits for the other side's word.
    fn handle_media_from(&mut self, path: Path) {
        if matches!(self.phase, Phase::Connected { .. }) && !self.paths.is_known(path) {
            self.media_from = Some(path);
        }
    }

    fn handle_dtls_send(&mut self, bytes: Vec<u8>) {
        if !matches!(self.phase, Phase::Handshaking { .. } | Phase::Connected { .. }) {
            return;
        }
        self.records.handle_send(&bytes);
        if let Some(path) = self.paths.selected() {
            self.outputs.push_back(Output::Send(path, bytes));
        }
    }

    fn handle_close(&mut self) {
        if let (Phase::Connected { farewell, .. }, Some(path)) = (&mut self.phase, self.paths.selected()) {
            let farewell = std::mem::take(farewell);
            self.outputs.extend(farewell.into_iter().map(|bytes| Output::Send(path, bytes)));
        }
        self.end();
    }

    /// What follows from a change: the move, and the handshake's start.
    fn after(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if let Some(path) = self.paths.poll_move(now) {
            tracing::debug!("path selected");
            self.outputs.push_back(Output::Event(PeerEvent::Selected(path)));
            self.hear(now, path);
        }
        if let (&Phase::Checked { deadline }, Some(_), Some(remote)) =
            (&self.phase, self.paths.selected(), &self.remote)
        {
            let role = remote.dtls_role;
            self.outputs.push_back(Output::StartDtls(role));
            self.phase = Phase::Handshaking { deadline };
            for (path, bytes) in self.records.begin(role) {
                self.records.handle(now, path, bytes, &mut self.outputs);
            }
        }
    }

    fn fail(&mut self, cause: Cause) {
        self.outputs.push_back(Output::Event(PeerEvent::Failed(cause)));
        self.end();
    }

    fn end(&mut self) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::End);
        }
    }
}

impl Machine for Lite {
    fn handle_engine(&mut self, _now: Instant, said: FromEngine) {
        match said {
            FromEngine::Dtls(bytes) => self.handle_dtls_send(bytes),
            FromEngine::Ice { .. } | FromEngine::Selected { .. } => {}
        }
    }

    fn handle_input(&mut self, now: Instant, input: PeerInput) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        match input {
            PeerInput::Remote(remote) => self.handle_remote(now, remote),
            PeerInput::Restart { local, remote } => self.handle_restart(now, local, remote),
            PeerInput::Datagram { path, bytes } => self.handle_datagram(now, path, bytes),
            PeerInput::MediaFrom(path) => self.handle_media_from(path),
            PeerInput::Close => self.handle_close(),
            // of the machine without ICE
            PeerInput::FixedRemote(_) => {}
        }
        self.after(now);
    }

    fn handle_handshake(&mut self, now: Instant, result: Result<Established, HandshakeError>) {
        if !matches!(self.phase, Phase::Handshaking { .. }) {
            return;
        }
        self.records.finish();
        match result {
            Ok(Established { keys, farewell }) => {
                self.phase = Phase::Connected { lost_at: now + EXPIRY, farewell };
                self.outputs.push_back(Output::StopIce);
                self.outputs.push_back(Output::Event(PeerEvent::Connected(keys)));
            }
            Err(error) => {
                tracing::debug!(%error, "no keys");
                self.fail(Cause::DtlsFailed);
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self.phase {
            Phase::Checked { deadline } if now >= deadline => self.fail(Cause::IceFailed),
            Phase::Handshaking { deadline } if now >= deadline => self.fail(Cause::DtlsFailed),
            Phase::Connected { lost_at, .. } if now >= lost_at => {
                self.outputs.push_back(Output::Event(PeerEvent::ConsentLost));
                self.end();
            }
            _ => {}
        }
        self.after(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Waiting { .. } | Phase::Ended => return None,
            Phase::Checked { deadline } | Phase::Handshaking { deadline } => deadline,
            Phase::Connected { lost_at, .. } => lost_at,
        };
        self.paths.poll_timeout().into_iter().chain([own]).min()
    }

    fn dtls(&self) -> Option<DtlsParameters> {
        let remote = self.remote.as_ref()?;
        Some(DtlsParameters::new(&self.local.certificate, &self.local.profiles, &remote.fingerprints))
    }
}

#[cfg(test)]
#[path = "lite_tests.rs"]
mod tests;
