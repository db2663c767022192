//! The task of one association: it feeds `core` with inputs, engine output and the clock, and obeys it.
//!
//! One task and one timer for a connected association; the engines and their queues live only as long as the
//! set-up. A full input queue drops and counts; a slow reader of events delays events, never the task.

use super::conn::{ENGINE_QUEUE_LIMIT, Engine, FromEngine, MemoryEnd};
use super::core::Peer;
use super::dtls::{self, Handshake};
use super::fixed::Fixed;
use super::ice::Agents;
use super::lite::Lite;
use super::machine::{DtlsParameters, Machine};
use super::output::{Established, HandshakeError, Output, StartIce};
use super::{
    Counter, Counters, DatagramSink, DtlsRole, FixedParameters, LocalParameters, PeerEvent, PeerInput,
};
use crate::base::{Cause, Seed};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Inputs that wait for the task: a ClientHello in two parts and the checks of twenty pairs fit.
const INPUT_LIMIT: usize = 64;
/// Events that wait for a slow reader; with this many the association is given up.
const EVENT_LIMIT: usize = 64;

/// Why an input was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Too many wait; counted as [`Counter::QueueFull`].
    #[error("the association's queue is full")]
    Full(PeerInput),
    /// The association has ended.
    #[error("the association has ended")]
    Ended(PeerInput),
}

/// The way to a running association. Dropping it closes the association.
#[derive(Debug)]
pub struct PeerHandle {
    inputs: mpsc::Sender<PeerInput>,
    close: CancellationToken,
    counters: Arc<Counters>,
}

impl PeerHandle {
    /// Hands over an input; never blocks, may be called from any thread. [`PeerInput::Close`] is always taken.
    ///
    /// # Errors
    /// [`Refusal`], with the input.
    pub fn input(&self, input: PeerInput) -> Result<(), Refusal> {
        if matches!(input, PeerInput::Close) {
            self.close.cancel();
            return Ok(());
        }
        self.inputs.try_send(input).map_err(|error| match error {
            mpsc::error::TrySendError::Full(input) => {
                self.counters.add(Counter::QueueFull);
                Refusal::Full(input)
            }
            mpsc::error::TrySendError::Closed(input) => Refusal::Ended(input),
        })
    }

    /// Whether the association has ended and freed everything.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.inputs.is_closed()
    }

    /// What it dropped.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Drop for PeerHandle {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

/// Starts an association on the current runtime (a worker thread of its own enters one, or uses
/// [`spawn_on`]). `seed` gives its transactions and timers.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn(
    local: LocalParameters,
    sink: Arc<dyn DatagramSink>,
    events: mpsc::Sender<PeerEvent>,
    seed: Seed,
) -> PeerHandle {
    spawn_on(&runtime::Handle::current(), local, sink, events, seed)
}

/// Starts an association on a runtime, from any thread.
pub fn spawn_on(
    runtime: &runtime::Handle,
    local: LocalParameters,
    sink: Arc<dyn DatagramSink>,
    events: mpsc::Sender<PeerEvent>,
    seed: Seed,
) -> PeerHandle {
    start(runtime, sink, events, |counters| Peer::new(local, seed, counters))
}

/// Starts an association whose ICE agent of ours is lite (RFC 8445 §2.5), on the current runtime; not for a peer that is
/// lite itself, with which nobody would check.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn_lite(
    local: LocalParameters,
    sink: Arc<dyn DatagramSink>,
    events: mpsc::Sender<PeerEvent>,
) -> PeerHandle {
    start(&runtime::Handle::current(), sink, events, |counters| Lite::new(local, counters))
}

/// Starts an association without ICE on the current runtime.
///
/// # Panics
/// Outside of a tokio runtime.
pub fn spawn_fixed(
    local: FixedParameters,
    sink: Arc<dyn DatagramSink>,
    events: mpsc::Sender<PeerEvent>,
) -> PeerHandle {
    start(&runtime::Handle::current(), sink, events, |counters| Fixed::new(local, counters))
}

fn start<M: Machine>(
    runtime: &runtime::Handle,
    sink: Arc<dyn DatagramSink>,
    events: mpsc::Sender<PeerEvent>,
    machine: impl FnOnce(Arc<Counters>) -> M,
) -> PeerHandle {
    let (inputs, queue) = mpsc::channel(INPUT_LIMIT);
    let close = CancellationToken::new();
    let counters = Arc::new(Counters::default());
    let task = Task {
        core: machine(Arc::clone(&counters)),
        sink,
        counters: Arc::clone(&counters),
        events,
        unsaid: VecDeque::new(),
        setup: None,
        has_ended: false,
    };
    let handle = PeerHandle { inputs, close: close.clone(), counters };
    runtime.spawn(task.run(queue, close));
    handle
}

/// What lives only until the association is up.
struct Setup {
    out: mpsc::Sender<FromEngine>,
    from_engines: mpsc::Receiver<FromEngine>,
    agents: Option<Agents>,
    dtls: Option<Arc<MemoryEnd>>,
    handshake: JoinSet<Result<Established, HandshakeError>>,
}

impl Setup {
    fn new() -> Self {
        let (out, from_engines) = mpsc::channel(ENGINE_QUEUE_LIMIT);
        Self { out, from_engines, agents: None, dtls: None, handshake: JoinSet::new() }
    }

    async fn close(mut self) {
        if let Some(end) = self.dtls.take() {
            end.shut();
        }
        // waits until an unfinished handshake is dropped
        self.handshake.shutdown().await;
        if let Some(agents) = self.agents.take() {
            agents.close().await;
        }
    }
}

enum Wake {
    Engine(FromEngine),
    Handshake(Result<Established, HandshakeError>),
    Input(PeerInput),
    Close,
    Timeout,
    /// An event was taken.
    Said,
}

struct Task<M> {
    core: M,
    sink: Arc<dyn DatagramSink>,
    counters: Arc<Counters>,
    events: mpsc::Sender<PeerEvent>,
    unsaid: VecDeque<PeerEvent>,
    setup: Option<Box<Setup>>,
    has_ended: bool,
}

impl<M: Machine> Task<M> {
    async fn run(mut self, mut inputs: mpsc::Receiver<PeerInput>, close: CancellationToken) {
        while !self.has_ended {
            let wake = self.next(&mut inputs, &close).await;
            let now = Instant::now().into_std();
            // bytes from the network: whatever a fault does with them, it ends this association alone, and in
            // order
            let handled = catch_unwind(AssertUnwindSafe(|| self.handle(now, wake)));
            if handled.is_err() {
                self.counters.add(Counter::Panicked);
                self.say(PeerEvent::Failed(Cause::Internal));
                break;
            }
            self.obey().await;
        }
        if let Some(setup) = self.setup.take() {
            setup.close().await;
        }
        // the last words wait for their reader, who may be gone; a close wants none of them
        for event in std::mem::take(&mut self.unsaid) {
            let said = tokio::select! {
                said = self.events.send(event) => said.is_ok(),
                () = close.cancelled() => false,
            };
            if !said {
                break;
            }
        }
    }

    fn handle(&mut self, now: std::time::Instant, wake: Wake) {
        match wake {
            Wake::Engine(said) => self.core.handle_engine(now, said),
            Wake::Handshake(result) => self.core.handle_handshake(now, result),
            Wake::Input(input) => self.core.handle_input(now, input),
            Wake::Close => self.core.handle_input(now, PeerInput::Close),
            Wake::Timeout => self.core.handle_timeout(now),
            Wake::Said => {}
        }
    }

    async fn next(&mut self, inputs: &mut mpsc::Receiver<PeerInput>, close: &CancellationToken) -> Wake {
        let deadline = self.core.poll_timeout().map(Instant::from_std);
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let (events, unsaid) = (&self.events, &mut self.unsaid);
        let say = async {
            if unsaid.is_empty() {
                return std::future::pending().await;
            }
            match events.reserve().await {
                Ok(permit) => {
                    if let Some(event) = unsaid.pop_front() {
                        permit.send(event);
                    }
                    Wake::Said
                }
                Err(_) => Wake::Close,
            }
        };
        let engines = async {
            match &mut self.setup {
                Some(setup) => {
                    tokio::select! {
                        biased;
                        Some(said) = setup.from_engines.recv() => Wake::Engine(said),
                        Some(done) = setup.handshake.join_next() => {
                            // a panic in the engine ends this handshake and nothing else
                            Wake::Handshake(done.unwrap_or(Err(HandshakeError::Engine)))
                        }
                    }
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = close.cancelled() => Wake::Close,
            wake = say => wake,
            wake = engines => wake,
            () = timer => Wake::Timeout,
            input = inputs.recv() => input.map_or(Wake::Close, Wake::Input),
        }
    }

    async fn obey(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(path, bytes) => self.sink.send(path, &bytes),
                Output::Event(event) => self.say(event),
                Output::StartIce(how) => Box::pin(self.start_ice(how)).await,
                Output::ToIce { remote, bytes } => {
                    if let Some(agents) = self.setup.as_ref().and_then(|s| s.agents.as_ref()) {
                        agents.deliver(remote, bytes);
                    }
                }
                Output::StopIce => {
                    if let Some(setup) = self.setup.take() {
                        Box::pin(setup.close()).await;
                    }
                }
                Output::StartDtls(role) => self.start_dtls(role),
                Output::ToDtls { remote, bytes } => {
                    if let Some(end) = self.setup.as_ref().and_then(|s| s.dtls.as_ref()) {
                        end.deliver(remote, bytes);
                    }
                }
                Output::End => self.has_ended = true,
            }
        }
    }

    fn say(&mut self, event: PeerEvent) {
        // in order: straight into the channel only when none waits
        let event = if self.unsaid.is_empty() {
            match self.events.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event) | mpsc::error::TrySendError::Closed(event)) => {
                    event
                }
            }
        } else {
            event
        };
        if self.unsaid.len() < EVENT_LIMIT {
            self.unsaid.push_back(event);
        } else {
            // nobody listens
            self.has_ended = true;
        }
    }

    async fn start_ice(&mut self, how: StartIce) {
        let Some((local, remote)) = self.core.ice() else { return };
        let setup = self.setup.get_or_insert_with(|| Box::new(Setup::new()));
        if let Some(agents) = setup.agents.take() {
            agents.close().await;
        }
        match Agents::start(local, remote, &how, &setup.out).await {
            Ok(agents) => setup.agents = Some(agents),
            Err(error) => {
                // checks of the other side are still answered; when it controls, that may be enough
                self.counters.add(Counter::AgentFailed);
                tracing::debug!(%error, "no ICE agent");
            }
        }
    }

    fn start_dtls(&mut self, role: DtlsRole) {
        let Some(DtlsParameters { certificate, profiles, fingerprints }) = self.core.dtls() else { return };
        let setup = self.setup.get_or_insert_with(|| Box::new(Setup::new()));
        // the engine never looks at it
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let end = Arc::new(MemoryEnd::new(Engine::Dtls, address, setup.out.clone()));
        setup.dtls = Some(Arc::clone(&end));
        setup.handshake.spawn(dtls::handshake(Handshake { end, role, certificate, profiles, fingerprints }));
    }
}
