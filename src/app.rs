//! Wires the folders together: what is judged, the order of start, the order of drain.

mod demo;
mod io;
mod judged;
mod log;
mod state;

use crate::base::Services;
use crate::call::io::{Switch, SwitchParts};
use crate::edge::EDGES;
use crate::edge::contract::EdgeContext;
use crate::http;
use crate::http::io::HttpServer;
use crate::http::openapi;
use crate::http::page::{self};
use crate::media::ports::SOCKETS_RESTING;
use crate::media::{self, Engine};
use crate::net::client::io::HttpClient;
use crate::net::dns::io::Resolver;
use crate::net::owner::{Owner, Protocol, owner_of};
use crate::net::tls::io::Watcher;
use crate::peer::Certificate;
use crate::registry::Registry;
use crate::sip::Transport;
use crate::sip::io::{SipStack, StackConfig};
use demo::Demo;
use judged::SipIdentity;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;
use tracing::{info, warn};

pub use judged::{Configured, configure, judge};

/// SIP transactions and HTTP requests under way have this long after the calls have ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Why the program could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The asynchronous runtime.
    #[error("cannot start the runtime: {0}")]
    Runtime(std::io::Error),
    /// The certificate for DTLS.
    #[error("cannot make a DTLS certificate: {0}")]
    Certificate(String),
    /// Media.
    #[error(transparent)]
    Media(#[from] media::StartError),
    /// SIP.
    #[error(transparent)]
    Sip(#[from] crate::sip::io::StartError),
    /// HTTP.
    #[error(transparent)]
    Http(#[from] http::io::StartError),
    /// An edge.
    #[error("edge {0}: {1}")]
    Edge(&'static str, String),
    /// The client of webhooks.
    #[error("cannot set up TLS for webhooks: {0}")]
    Client(String),
    /// The port of the demo's page.
    #[error("{0} is taken: {remedy}", remedy = Demo::remedy())]
    DemoTaken(SocketAddr),
    /// Signals.
    #[error("cannot listen for signals: {0}")]
    Signals(std::io::Error),
}

impl RunError {
    /// Who has the port that was wanted, where a port was and the system tells.
    #[must_use]
    pub fn port_owner(&self) -> Option<Owner> {
        use crate::{media, sip};
        let (protocol, address) = match self {
            Self::Media(media::StartError::Taken(address)) => (Protocol::Udp, address),
            Self::Sip(sip::io::StartError::Taken { address, transport: Transport::Udp }) => {
                (Protocol::Udp, address)
            }
            Self::Sip(sip::io::StartError::Taken {
                address,
                transport: Transport::Tcp | Transport::Tls(_),
            }) => (Protocol::Tcp, address),
            Self::Http(http::io::StartError::Taken(_, address)) | Self::DemoTaken(address) => {
                (Protocol::Tcp, address)
            }
            _ => return None,
        };
        owner_of(protocol, *address)
    }
}

/// Runs until SIGTERM or SIGINT, and through the drain.
///
/// # Errors
/// When something cannot be started.
pub fn run(configured: Configured) -> Result<(), RunError> {
    // held to the end: what it still has to write goes with it
    let _log = configured.log.start();
    configured.notes().iter().for_each(|note| warn!("{note}"));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    raise_descriptor_limit(configured.media.calls(), configured.media.threads(cores));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(signalling_threads())
        .thread_name("signalling")
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    let done = runtime.block_on(serve(configured));
    runtime.shutdown_timeout(LAST_WORDS);
    done
}

/// Descriptors of a call: two sockets of media towards the PBX, and a browser's connections.
const DESCRIPTORS_PER_CALL: u64 = 4;
/// Descriptors of the program itself: listeners, its threads' own, logs, connections of who does not call.
const DESCRIPTORS: u64 = 128;

/// Takes as many descriptors as the system lets us have: the soft limit of a login shell ends at 250 calls.
fn raise_descriptor_limit(calls: usize, media_threads: usize) {
    let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
    let resting = count(media_threads.saturating_mul(SOCKETS_RESTING).saturating_mul(2));
    let needed =
        count(calls).saturating_mul(DESCRIPTORS_PER_CALL).saturating_add(DESCRIPTORS).saturating_add(resting);
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit < needed => warn!(
            limit,
            needed,
            calls,
            "the descriptor limit is lower than the calls of media.calls need: raise it (ulimit -Hn, LimitNOFILE=), or \
             lower media.calls"
        ),
        Ok(limit) => tracing::debug!(limit, "descriptor limit"),
        Err(error) => warn!(%error, "cannot raise the descriptor limit"),
    }
}

/// Threads of signalling: one for every four cores. A thread carries more calls a second than a PBX takes, and
/// a call whose messages stay on one thread is cheaper by the wake-ups of others; media has threads of its own.
fn signalling_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(4))
}

async fn serve(mut configured: Configured) -> Result<(), RunError> {
    let file = configured.file.as_ref().map_or_else(|| "none".to_owned(), |f| f.display().to_string());
    let drain = configured.drain;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Signals)?;
    // with the terminal that it was started in, the program goes; a service is asked to reload by the same signal
    let has_terminal = std::io::IsTerminal::is_terminal(&std::io::stdin());
    let demo = configured.demo.take();
    let running = Running::start(configured).await.map_err(|error| match error {
        RunError::Http(http::io::StartError::Taken("listen", address)) if demo.is_some() => {
            RunError::DemoTaken(address)
        }
        error => error,
    })?;
    if let Some(demo) = demo {
        let machine = io::addresses_of_this_machine();
        let accounts = demo::ACCOUNTS.map(|(name, ..)| running.registry.account(name));
        let tokens = accounts.each_ref().map(|account| {
            account.as_deref().and_then(|a| a.tokens().first()).map_or("", |token| token.expose())
        });
        let (http, https) = (running.http.addresses(), running.http.tls_addresses());
        // who started it may not read it, or no longer
        let _ = writeln!(std::io::stdout(), "{}", demo.greeting(tokens, http, https, &machine));
    }
    let (first, last) = running.engine.webrtc_ports();
    info!(
        config = file, http = ?running.http.addresses(), sip = ?running.sip.addresses(),
        sip_tls = ?running.sip.tls_addresses(),
        webrtc_udp = format!("{first}-{last}"),
        "sipedge is ready"
    );

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                if has_terminal {
                    break;
                }
                warn!("SIGHUP changes nothing: the configuration is read at start; restart to use a new one");
            }
        }
    }
    info!(calls = running.switch.live(), drain_s = drain.as_secs(), "ending");
    tokio::select! {
        () = running.drain(drain) => {}
        // a second signal ends now
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop(Duration::ZERO).await;
    info!("sipedge has ended");
    Ok(())
}

/// The program at work: every folder started and wired. It lives on the runtime it was started on.
pub struct Running {
    http: HttpServer,
    sip: Arc<SipStack>,
    engine: Arc<Engine>,
    switch: Switch,
    registry: Arc<Registry>,
    /// Looks after certificates.
    watching: AbortHandle,
}

/// What the program holds at the moment. All is zero when no call lives and the last one has been forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls of the switch.
    pub calls: usize,
    /// Places taken among the calls at once.
    pub permits: usize,
    /// Media.
    pub media: media::Counts,
    /// SIP sessions; an ended one is kept as long as its far side may repeat itself.
    pub sip_sessions: usize,
    /// SIP transactions, those that only absorb retransmissions included.
    pub sip_transactions: usize,
}

impl Running {
    /// Starts everything, the listeners last.
    ///
    /// # Errors
    /// The first thing that cannot be started.
    pub async fn start(configured: Configured) -> Result<Self, RunError> {
        let Configured {
            http,
            sip,
            sip_identity,
            sip_timings,
            dns,
            media,
            client,
            state,
            edges,
            registry,
            suggestions,
            mut seed,
            ..
        } = configured;
        let certificates = Arc::new(Watcher::default());
        if let Some(identity) = http.identity() {
            certificates.add("http.tls_certificate", identity);
        }
        let certificate = Certificate::generate().map_err(|e| RunError::Certificate(e.to_string()))?;
        let calls = media.calls();
        let engine = Arc::new(Engine::start(media, Arc::new(certificate), seed.fork())?);
        let mut stack = StackConfig::new(sip.listen().to_vec());
        // a call from trunk to trunk has a session on either side
        stack.max_sessions = calls.saturating_mul(2);
        sip.user_agent().clone_into(&mut stack.agent);
        stack.tls_listen = sip.tls_listen().to_vec();
        stack.identity = match sip_identity {
            SipIdentity::None => None,
            SipIdentity::Files(identity) => {
                certificates.add("sip.tls_certificate", identity.clone());
                Some(identity)
            }
            SipIdentity::MadeAtStart => {
                info!("no sip.tls_certificate: one is made, which a PBX that verifies certificates refuses");
                Some(io::self_signed("sipedge").map_err(crate::sip::io::StartError::Tls)?)
            }
        };
        stack.timings = sip_timings;
        let sip = Arc::new(SipStack::start(stack, seed.fork())?);
        let registry = Arc::new(registry);
        let client = HttpClient::new(client).map_err(|e| RunError::Client(e.to_string()))?;
        let mut services = Services::default()
            .with(sip.clone())
            .with(Arc::new(client))
            .with(Arc::new(Resolver::new(dns)))
            .with(registry.clone())
            .with(certificates.clone());
        if let Some(state) = state {
            services = services.with(Arc::new(state.directory));
        }

        let mut dialers = BTreeMap::new();
        let mut prepared = Vec::new();
        for (name, mut edge) in edges {
            if let Some(dialer) = edge.dialer(&services).map_err(|e| RunError::Edge(name, e))? {
                dialers.insert(name, dialer);
            }
            prepared.push(edge);
        }
        let parts = SwitchParts { router: registry.clone(), media: engine.clone(), dialers };
        let switch = Switch::new(parts, seed.fork());
        let context = EdgeContext { switch: switch.clone(), registry: registry.clone(), services };
        let routes = prepared.into_iter().filter_map(|edge| edge.start(context.clone()));
        let router = routes.fold(axum::Router::new(), axum::Router::merge);
        let router = router.merge(openapi::router(EDGES.iter().filter_map(|edge| edge.openapi)));
        let router = if http.has_page() { router.merge(page::router(suggestions)) } else { router };
        let http = HttpServer::start(&http, router).await?;
        let watching = tokio::spawn(async move { certificates.run().await }).abort_handle();
        Ok(Self { http, sip, engine, switch, registry, watching })
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http_addresses(&self) -> &[SocketAddr] {
        self.http.addresses()
    }

    /// What it holds at the moment.
    pub async fn counts(&self) -> Counts {
        let sip = self.sip.stats().await;
        Counts {
            calls: self.switch.live(),
            permits: self.registry.live_calls(),
            media: self.engine.counts(),
            sip_sessions: sip.sessions,
            sip_transactions: sip.transactions,
        }
    }

    /// Takes no new calls and says so to PBXs that ask, lets those that live end for `limit`, and ends the rest.
    pub async fn drain(&self, limit: Duration) {
        self.sip.drain(limit).await;
        self.switch.shutdown(limit).await;
    }

    /// Ends: drains, and says the last words of SIP and HTTP.
    pub async fn stop(self, drain: Duration) {
        self.drain(drain).await;
        self.watching.abort();
        self.http.stop(LAST_WORDS).await;
        self.sip.shutdown(LAST_WORDS, None).await;
        self.engine.stop();
    }
}
