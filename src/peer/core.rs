//! The machine of one association: it decides, the adaptors obey (RFC 8445, 5763, 5764, 7675).
//!
//! Drive it with the `handle_*` calls, each with the time, then take [`Peer::poll_output`] until it is empty
//! and sleep until [`Peer::poll_timeout`]. It owns the checks of every datagram: STUN is verified and
//! answered here in all phases (the ICE agents only find and nominate a pair), DTLS passes the record guard
//! and comes from known paths only.
//!
//! An ICE restart (RFC 8445 §9) keeps the DTLS association and the selected path: only credentials change, new
//! agents look for a path, and what they or the other side nominate is moved to.
//!
//! Phases: **waiting** for the other side's description (paths already prove themselves, DTLS is queued);
//! **checking** until a path is selected; **handshaking**; **connected**, where only answers, consent and
//! moves are left; **ended**.
//!
//! RFC 8445 §7.3.1.1 not followed: a role conflict is not answered with 487; instead our role follows the one
//! the other side claims in its first verified request, until a path is selected. That is what an ICE
//! restart needs, where browsers disagree on who controls.

use super::checks::Checks;
use super::consent::{Consent, Due};
use super::output::{Established, HandshakeError, Output, StartIce};
use super::paths::{Paths, choose_candidates};
use super::records::Records;
use super::stun::{self, Class, View};
use super::{Counter, Counters, IceCredentials, IceRole, LocalParameters, PeerEvent, RemoteParameters};
use crate::base::{Cause, Family, Path, Seed};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// ICE and DTLS together have this long, from the other side's description on.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
/// After this long without a path the agents check less often: many dead candidates would cost too much.
const EAGER: Duration = Duration::from_secs(2);
/// Time between checks of a pair, at first and later; times `MAX_CHECKS` both exceed [`DEADLINE`].
const EAGER_INTERVAL: Duration = Duration::from_millis(10);
const PATIENT_INTERVAL: Duration = Duration::from_millis(50);
/// Verified checks kept for the agents, which come later than the first checks may.
const EARLY_STUN_LIMIT: usize = 8;
/// Times our ICE role may change.
const ROLE_CHANGES_LIMIT: u8 = 4;
/// After a restart the other side's first check tells our role; without one for this long the description does.
const ROLE_PATIENCE: Duration = Duration::from_millis(500);

/// An ICE restart under way.
#[derive(Debug, Clone, Copy)]
struct Restart {
    since: Instant,
    /// Agents run: our role is known.
    has_agents: bool,
}

enum Phase {
    Waiting,
    Checking,
    Handshaking,
    Connected { consent: Consent, farewell: Vec<Vec<u8>> },
    Ended,
}

/// One association.
pub(crate) struct Peer {
    local: LocalParameters,
    remote: Option<Box<RemoteParameters>>,
    /// `remote:local`, as our requests say.
    username: String,
    phase: Phase,
    role: IceRole,
    role_changes: u8,
    is_eager: bool,
    started_at: Option<Instant>,
    /// The role the other side claims.
    remote_role: Option<IceRole>,
    paths: Paths,
    checks: Checks,
    restart: Option<Restart>,
    /// Our credentials before the restart: the other side goes on with them until it knows the new ones.
    previous: Option<IceCredentials>,
    /// A restart that waits for the end of the handshake.
    deferred: Option<(IceCredentials, Box<RemoteParameters>)>,
    early_stun: Vec<(Path, Vec<u8>)>,
    records: Records,
    seed: Seed,
    counters: Arc<Counters>,
    outputs: VecDeque<Output>,
}

impl Peer {
    /// A new association; it waits for [`Self::handle_remote`].
    pub(crate) fn new(local: LocalParameters, seed: Seed, counters: Arc<Counters>) -> Self {
        Self {
            local,
            remote: None,
            username: String::new(),
            phase: Phase::Waiting,
            role: IceRole::Controlled,
            role_changes: 0,
            is_eager: true,
            started_at: None,
            remote_role: None,
            paths: Paths::default(),
            checks: Checks::default(),
            restart: None,
            previous: None,
            deferred: None,
            early_stun: Vec::new(),
            records: Records::new(Arc::clone(&counters)),
            seed,
            counters,
            outputs: VecDeque::new(),
        }
    }

    /// What we brought.
    pub(crate) const fn local(&self) -> &LocalParameters {
        &self.local
    }

    /// What the other side said, once it did; its candidates are those we probe.
    pub(crate) fn remote(&self) -> Option<&RemoteParameters> {
        self.remote.as_deref()
    }

    /// The other side's description came. A second one is ignored.
    pub(crate) fn handle_remote(&mut self, now: Instant, mut remote: Box<RemoteParameters>) {
        if !matches!(self.phase, Phase::Waiting) {
            self.counters.add(Counter::SecondDescription);
            return;
        }
        remote.candidates = choose_candidates(remote.candidates, self.local.allow_loopback);
        self.role = match self.remote_role {
            _ if remote.is_lite => IceRole::Controlling,
            Some(theirs) => theirs.other(),
            None => remote.ice_role,
        };
        self.username = format!("{}:{}", remote.credentials.ufrag, self.local.credentials.ufrag);
        self.remote = Some(remote);
        self.started_at = Some(now);
        self.phase = Phase::Checking;
        self.start_ice();
        for (path, bytes) in std::mem::take(&mut self.early_stun) {
            let nominates = View::parse(&bytes).is_ok_and(|v| v.has_use_candidate());
            self.outputs.push_back(Output::ToIce { remote: path.remote, bytes });
            if nominates && self.role == IceRole::Controlled {
                self.paths.want(now, path, false, &mut self.seed);
            }
        }
        self.after(now);
    }

    /// New ICE credentials on both sides (RFC 8445 §9); certificate, DTLS role and keys stay as they were. During
    /// the handshake it waits for its end, which comes by the old path or not at all; before a path is
    /// selected, the search begins anew.
    pub(crate) fn handle_restart(
        &mut self,
        now: Instant,
        local: IceCredentials,
        mut remote: Box<RemoteParameters>,
    ) {
        let current = match (&self.phase, &self.remote) {
            (Phase::Checking | Phase::Connected { .. }, Some(current)) => current,
            (Phase::Handshaking, Some(_)) => return self.deferred = Some((local, remote)),
            _ => return self.counters.add(Counter::RestartTooEarly),
        };
        remote.candidates = choose_candidates(remote.candidates, self.local.allow_loopback);
        remote.dtls_role = current.dtls_role;
        self.username = format!("{}:{}", remote.credentials.ufrag, local.ufrag);
        let (is_lite, described_role) = (remote.is_lite, remote.ice_role);
        self.remote = Some(remote);
        self.previous = Some(std::mem::replace(&mut self.local.credentials, local));
        self.remote_role = None;
        self.role_changes = 0;
        self.checks.clear();
        if self.is_connected() {
            self.restart = Some(Restart { since: now, has_agents: false });
            self.outputs.push_back(Output::StopIce);
            if is_lite {
                self.start_restarted(IceRole::Controlling);
            }
        } else {
            self.role = described_role;
            self.started_at = Some(now);
            self.is_eager = true;
            self.start_ice();
        }
        self.after(now);
    }

    /// Our role in the restart is known.
    fn start_restarted(&mut self, role: IceRole) {
        if let Some(restart) = &mut self.restart {
            restart.has_agents = true;
            self.role = role;
            self.is_eager = true;
            self.start_ice();
        }
    }

    /// The restart found its path, or time is up: consent decides from here.
    fn end_restart(&mut self) {
        if self.restart.take().is_some() {
            self.outputs.push_back(Output::StopIce);
        }
    }

    /// A datagram came from the network.
    pub(crate) fn handle_datagram(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if stun::is_stun(&bytes) {
            self.handle_stun(now, path, bytes);
        } else if stun::is_dtls(&bytes) {
            self.handle_dtls(now, path, bytes);
        } else {
            self.counters.add(Counter::UnknownKind);
        }
        self.after(now);
    }

    /// SRTP with a good tag came by a path that is not known: ask it (see [`super::PeerInput::MediaFrom`]).
    pub(crate) fn handle_media_from(&mut self, now: Instant, path: Path) {
        if matches!(self.phase, Phase::Connected { .. }) && self.paths.selected() != Some(path) {
            // when the other side nominates, a known path waits for its word
            let selects = self.role == IceRole::Controlling || !self.paths.is_known(path);
            self.paths.ask(now, path, selects, &mut self.seed);
            self.after(now);
        }
    }

    /// An agent sends. Answers are ours to give, so the agent's are left out, and checks of what proves nothing go ever
    /// less often.
    pub(crate) fn handle_ice_send(&mut self, now: Instant, remote: SocketAddr, bytes: Vec<u8>) {
        if !self.has_agents() || !View::parse(&bytes).is_ok_and(|v| v.class() == Class::Request) {
            return;
        }
        if let Some(path) = self.path_to(remote) {
            let may_go = self.checks.may_go(now, remote);
            if may_go || self.paths.by_remote(remote).is_some() {
                self.outputs.push_back(Output::Send(path, bytes));
            }
        }
    }

    /// An agent has a pair: while we nominate, that is the path.
    pub(crate) fn handle_ice_selected(&mut self, now: Instant, remote: SocketAddr) {
        let is_first = matches!(self.phase, Phase::Checking) && self.paths.selected().is_none();
        if self.role != IceRole::Controlling || !(is_first || self.restart.is_some()) {
            return;
        }
        if let Some(path) = self.path_to(remote) {
            // the agent verified the answer to a check of its own
            self.learn(path);
            self.paths.confirm(now, path);
            self.paths.want(now, path, false, &mut self.seed);
            self.end_restart();
            self.after(now);
        }
    }

    /// The DTLS engine sends.
    pub(crate) fn handle_dtls_send(&mut self, bytes: Vec<u8>) {
        if !matches!(self.phase, Phase::Handshaking | Phase::Connected { .. }) {
            return;
        }
        self.records.handle_send(&bytes);
        if let Some(path) = self.paths.selected() {
            self.outputs.push_back(Output::Send(path, bytes));
        }
    }

    /// The handshake came to an end.
    pub(crate) fn handle_handshake(&mut self, now: Instant, result: Result<Established, HandshakeError>) {
        if !matches!(self.phase, Phase::Handshaking) {
            return;
        }
        self.records.finish();
        match result {
            Ok(Established { keys, farewell }) => {
                self.phase = Phase::Connected { consent: Consent::new(now), farewell };
                self.outputs.push_back(Output::StopIce);
                self.outputs.push_back(Output::Event(PeerEvent::Connected(keys)));
                self.after(now);
                if let Some((local, remote)) = self.deferred.take() {
                    self.handle_restart(now, local, remote);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no keys");
                self.fail(Cause::DtlsFailed);
            }
        }
    }

    /// The end is wished: say close_notify, stop.
    pub(crate) fn handle_close(&mut self) {
        if let (Phase::Connected { farewell, .. }, Some(path)) = (&mut self.phase, self.paths.selected()) {
            let farewell = std::mem::take(farewell);
            self.outputs.extend(farewell.into_iter().map(|bytes| Output::Send(path, bytes)));
        }
        self.end();
    }

    /// The clock; early calls are harmless.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Checking | Phase::Handshaking)
            && self.deadline().is_some_and(|at| now >= at)
        {
            let has_path = self.paths.selected().is_some();
            self.fail(if has_path { Cause::DtlsFailed } else { Cause::IceFailed });
            return;
        }
        if matches!(self.phase, Phase::Checking)
            && self.is_eager
            && self.started_at.is_some_and(|at| now >= at + EAGER)
        {
            self.is_eager = false;
            self.start_ice();
        }
        if let Some(restart) = self.restart {
            if now >= restart.since + DEADLINE {
                self.end_restart();
            } else if !restart.has_agents && now >= restart.since + ROLE_PATIENCE {
                let role = self.remote.as_ref().map_or(self.role, |r| r.ice_role);
                self.start_restarted(role);
            }
        }
        if let Phase::Connected { consent, .. } = &mut self.phase {
            while let Some(due) = consent.handle_timeout(now, &mut self.seed) {
                match (due, self.paths.selected(), &self.remote) {
                    (Due::Ask(transaction), Some(path), Some(remote)) => {
                        let pwd = remote.credentials.pwd.expose();
                        let bytes = stun::consent_request(transaction, &self.username, pwd);
                        self.outputs.push_back(Output::Send(path, bytes));
                    }
                    _ => {
                        self.outputs.push_back(Output::Event(PeerEvent::ConsentLost));
                        self.end();
                        return;
                    }
                }
            }
        }
        self.after(now);
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Waiting => None,
            Phase::Checking if self.is_eager => self.started_at.map(|at| at + EAGER),
            Phase::Checking | Phase::Handshaking => self.deadline(),
            Phase::Connected { consent, .. } => Some(consent.poll_timeout()),
            Phase::Ended => return None,
        };
        let restart = self.restart.map(|r| r.since + if r.has_agents { DEADLINE } else { ROLE_PATIENCE });
        own.into_iter().chain(restart).chain(self.paths.poll_timeout()).min()
    }

    /// Whether the association is up and needs no engine any more.
    pub(crate) const fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. })
    }

    fn has_agents(&self) -> bool {
        matches!(self.phase, Phase::Checking | Phase::Handshaking)
            || self.restart.is_some_and(|r| r.has_agents)
    }

    fn deadline(&self) -> Option<Instant> {
        self.started_at.map(|at| at + DEADLINE)
    }

    fn handle_stun(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        let Ok(view) = View::parse(&bytes) else {
            self.counters.add(Counter::BadStun);
            return;
        };
        match view.class() {
            Class::Request => self.handle_check(now, path, bytes),
            Class::Success => self.handle_success(now, path, bytes),
            // RFC 7675 §5.1: an error answer is not consent, whatever its code
            Class::Error => self.counters.add(Counter::StunErrorAnswer),
            Class::Indication => {}
        }
    }

    /// A connectivity check (RFC 8445 §7.3).
    fn handle_check(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        let Ok(view) = View::parse(&bytes) else { return };
        let credentials = &self.local.credentials;
        let theirs = self.remote.as_ref().map(|r| r.credentials.ufrag.as_str());
        if !view.is_addressed_to(&credentials.ufrag, theirs) || !view.is_signed_by(credentials.pwd.expose()) {
            self.handle_old_check(path, &view);
            return;
        }
        let answer = stun::binding_success(view.transaction(), path.remote, credentials.pwd.expose());
        let (nominates, claims) = (view.has_use_candidate(), view.sender_role());
        self.outputs.push_back(Output::Send(path, answer));
        self.learn(path);
        if let Some(claims) = claims {
            self.remote_role = Some(claims);
        }
        match self.phase {
            Phase::Waiting => {
                self.early_stun.retain(|(p, _)| *p != path);
                if self.early_stun.len() < EARLY_STUN_LIMIT {
                    self.early_stun.push((path, bytes));
                }
                return;
            }
            Phase::Checking => {
                self.follow_role(claims);
                self.outputs.push_back(Output::ToIce { remote: path.remote, bytes });
            }
            Phase::Handshaking => {
                self.outputs.push_back(Output::ToIce { remote: path.remote, bytes });
            }
            Phase::Connected { .. } | Phase::Ended => self.follow_restart(path, claims, bytes),
        }
        if nominates && self.role == IceRole::Controlled {
            let is_connected = self.is_connected();
            self.paths.want(now, path, is_connected, &mut self.seed);
            self.end_restart();
        }
    }

    /// The first check with the new credentials tells our role; the agents are given all of them.
    fn follow_restart(&mut self, path: Path, claims: Option<IceRole>, bytes: Vec<u8>) {
        let Some(restart) = self.restart else { return };
        match claims {
            Some(theirs) if !restart.has_agents => self.start_restarted(theirs.other()),
            _ => self.follow_role(claims),
        }
        self.outputs.push_back(Output::ToIce { remote: path.remote, bytes });
    }

    /// A check with the credentials from before a restart is answered, so that the old path goes on.
    fn handle_old_check(&mut self, path: Path, view: &View<'_>) {
        let old = self.previous.as_ref().filter(|old| {
            self.paths.is_known(path)
                && view.is_addressed_to(&old.ufrag, None)
                && view.is_signed_by(old.pwd.expose())
        });
        match old {
            Some(old) => {
                let answer = stun::binding_success(view.transaction(), path.remote, old.pwd.expose());
                self.outputs.push_back(Output::Send(path, answer));
            }
            None => self.counters.add(Counter::UnauthenticatedStun),
        }
    }

    /// See the head of this file.
    fn follow_role(&mut self, claims: Option<IceRole>) {
        let is_lite = self.remote.as_ref().is_some_and(|r| r.is_lite);
        if claims == Some(self.role) && !is_lite && self.role_changes < ROLE_CHANGES_LIMIT {
            self.role_changes = self.role_changes.saturating_add(1);
            self.role = self.role.other();
            self.start_ice();
        }
    }

    /// A success answer (RFC 8445 §7.2.5, RFC 7675 §5.1).
    fn handle_success(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        let (Ok(view), Some(remote)) = (View::parse(&bytes), &self.remote) else { return };
        if !view.is_signed_by(remote.credentials.pwd.expose()) {
            self.counters.add(Counter::UnauthenticatedStun);
            return;
        }
        let transaction = view.transaction();
        if let Some(answered) = self.paths.handle_answer(now, path, transaction) {
            if answered.is_new {
                self.outputs.push_back(Output::Event(PeerEvent::Authenticated(path)));
            }
            return;
        }
        if let Phase::Connected { consent, .. } = &mut self.phase
            && self.paths.selected() == Some(path)
            && consent.handle_answer(now, transaction)
        {
            self.paths.confirm(now, path);
        } else if self.has_agents() {
            // RFC 8445 §7.2.5.3.2: a valid pair. Of a lite peer nothing else tells, and its DTLS may come before the agent
            // has made up its mind
            if self.checks.has(path.remote) {
                self.learn(path);
                self.paths.confirm(now, path);
            }
            self.outputs.push_back(Output::ToIce { remote: path.remote, bytes });
        }
    }

    fn handle_dtls(&mut self, now: Instant, path: Path, bytes: Vec<u8>) {
        if !self.paths.is_known(path) {
            self.counters.add(Counter::UnauthenticatedDtls);
            return;
        }
        self.records.handle(now, path, bytes, &mut self.outputs);
    }

    /// What follows from a change: the move, requests to paths, the handshake's start.
    fn after(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        if self.remote.is_some()
            && let Some(path) = self.paths.poll_move(now)
        {
            tracing::debug!("path selected");
            self.outputs.push_back(Output::Event(PeerEvent::Selected(path)));
            if let Phase::Connected { consent, .. } = &mut self.phase {
                consent.handle_move(now, &mut self.seed);
            }
        }
        if let (Phase::Checking, Some(_), Some(remote)) = (&self.phase, self.paths.selected(), &self.remote) {
            self.outputs.push_back(Output::StartDtls(remote.dtls_role));
            self.phase = Phase::Handshaking;
            for (path, bytes) in self.records.begin(remote.dtls_role) {
                self.handle_dtls(now, path, bytes);
            }
        }
        if let Some(remote) = &self.remote {
            while let Some((path, transaction)) = self.paths.poll_ask(now, &mut self.seed) {
                let pwd = remote.credentials.pwd.expose();
                let bytes = stun::consent_request(transaction, &self.username, pwd);
                self.outputs.push_back(Output::Send(path, bytes));
            }
        }
    }

    fn learn(&mut self, path: Path) {
        if self.paths.learn(path) {
            self.outputs.push_back(Output::Event(PeerEvent::Authenticated(path)));
        }
    }

    fn start_ice(&mut self) {
        let check_interval = if self.is_eager { EAGER_INTERVAL } else { PATIENT_INTERVAL };
        self.outputs.push_back(Output::StartIce(StartIce { role: self.role, check_interval }));
    }

    /// How the other side's address is reached: as it reached us, or by the first socket of its family.
    fn path_to(&self, remote: SocketAddr) -> Option<Path> {
        self.paths.by_remote(remote).or_else(|| {
            let family = Family::of(remote.ip());
            let local = self.local.addresses.iter().find(|a| Family::of(a.ip()) == family)?;
            Some(Path { local: *local, remote })
        })
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

impl IceRole {
    const fn other(self) -> Self {
        match self {
            Self::Controlling => Self::Controlled,
            Self::Controlled => Self::Controlling,
        }
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
