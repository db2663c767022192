//! The media of all calls: threads, ports, and a controller task for each call.

use super::controller::Controller;
use super::sockets;
use super::thread::MediaThread;
use crate::base::{CallId, Cause, Family, Fresh, Seed, StreamId};
use crate::call::port::{MediaCommand, MediaEngine, MediaEvent, MediaPort, NoSocket, OwnAddress};
use crate::media::config::MediaConfig;
use crate::media::ports::PortPool;
use crate::media::stats::Totals;
use crate::net::io::{NoIpv6, has_ipv6};
use crate::peer::Certificate;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::warn;

mod late;

/// Commands of one call that may wait for its controller: far more than a call has at once.
const COMMAND_LIMIT: usize = 64;

/// How long the system's word on our address towards a host holds: to ask takes a socket, as dear as one of the call's
/// own, and an address that moved is used by the calls of the next second.
const ADDRESS_HOLDS: Duration = Duration::from_secs(1);

/// Why media did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else has the port.
    #[error("media.webrtc_port: UDP {0} is taken by another program; stop it or choose another port")]
    Taken(SocketAddr),
    /// The address is none of this machine, so that it cannot be listened on.
    #[error(
        "media.addresses: {} is no address of this machine; name one that `ip address` shows, or have sipedge start when it \
         is there (in its systemd unit: Wants= and After=network-online.target)",
        .0.ip()
    )]
    NotLocal(SocketAddr),
    /// It is of IPv6, which this machine has not.
    #[error("media.addresses: {0}")]
    NoIpv6(NoIpv6),
    /// A socket or thread was refused.
    #[error("media cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// Not called within a tokio runtime.
    #[error("media must be started within the runtime")]
    NoRuntime,
}

impl StartError {
    /// Why an address cannot be listened on.
    pub(super) fn of_bind(address: SocketAddr, reason: std::io::Error) -> Self {
        match (NoIpv6::of(address, &reason), reason.kind()) {
            (Some(none), _) => Self::NoIpv6(none),
            (None, ErrorKind::AddrInUse) => Self::Taken(address),
            (None, ErrorKind::AddrNotAvailable) => Self::NotLocal(address),
            (None, kind) => Self::Io(std::io::Error::new(kind, format!("UDP {address}: {reason}"))),
        }
    }
}

/// What is there at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Calls with an open port to media.
    pub calls: usize,
    /// Controller tasks.
    pub tasks: usize,
    /// Streams on all threads.
    pub streams: usize,
    /// Port pairs in use.
    pub ports: usize,
    /// Plain streams whose sockets are open, those that rest after their call included.
    pub sockets: usize,
}

/// What all controllers share.
pub(super) struct Shared {
    pub(super) config: MediaConfig,
    pub(super) certificate: Arc<Certificate>,
    pub(super) threads: Vec<MediaThread>,
    pool: Mutex<PortPool>,
    /// Which of our addresses reaches a host.
    locals: Mutex<Fresh<IpAddr, IpAddr>>,
    seed: Mutex<Seed>,
    next_stream: AtomicU64,
    calls: AtomicUsize,
    pub(super) tasks: AtomicUsize,
    pub(super) totals: Totals,
    load: Vec<AtomicUsize>,
}

impl Shared {
    pub(super) fn stream_id(&self) -> StreamId {
        StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    fn seed(&self) -> Seed {
        self.seed.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// Sockets for a plain leg; with our address and the pair's even port. `media_at` is where its description wants media,
    /// as far as that is known.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn open_pair(
        &self,
        towards: IpAddr,
        own: OwnAddress,
        media_at: Option<IpAddr>,
        is_symmetric: bool,
    ) -> Result<(SocketAddr, super::PlainSockets), NoSocket> {
        let local = self.own_address(towards, own, media_at)?;
        let opened =
            sockets::bind_pair(&self.pool, local, is_symmetric).map(|(port, pair)| (local, port, pair));
        let (local, port, mut pair) = match opened {
            // it moved away, and signalling has not noticed yet
            Err(NoSocket::NotOurs(_)) if !matches!(own, OwnAddress::Fixed(_)) => {
                let local = sockets::local_address_towards(media_at.unwrap_or(towards))?;
                sockets::bind_pair(&self.pool, local, is_symmetric).map(|(port, pair)| (local, port, pair))?
            }
            opened => opened?,
        };
        pair.home = Some(towards);
        Ok(((local, port).into(), pair))
    }

    /// Our address for the media of a plain leg.
    ///
    /// # Errors
    /// There is no route.
    pub(super) fn own_address(
        &self,
        towards: IpAddr,
        own: OwnAddress,
        media_at: Option<IpAddr>,
    ) -> Result<IpAddr, NoSocket> {
        let found = match own {
            OwnAddress::Fixed(ip) => return Ok(ip),
            OwnAddress::Signalling(ip) => Ok(ip),
            OwnAddress::Towards => self.source_towards(towards),
        };
        match (found, media_at) {
            (Ok(local), Some(far)) if sockets::reaches(local, far) => Ok(local),
            (_, Some(far)) => self.source_towards(far),
            (found, None) => found,
        }
    }

    /// Our address that the system sends from towards a host; where it has no route yet, a configured one of the IP version.
    fn source_towards(&self, towards: IpAddr) -> Result<IpAddr, NoSocket> {
        let mut locals = self.locals.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = locals.get(Instant::now(), towards, |host| sockets::local_address_towards(*host));
        drop(locals);
        asked.or_else(|error| {
            let known = self.config.addresses().iter().copied();
            let known = known.filter(|_| matches!(error, NoSocket::NoRoute { .. }));
            known.into_iter().find(|a| Family::of(*a) == Family::of(towards)).ok_or(error)
        })
    }

    pub(super) fn put_back(&self, port: u16) {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).put_back(port, Instant::now());
    }

    /// The call's controller is done.
    pub(super) fn close(&self, thread: usize) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
        if let Some(load) = self.load.get(thread) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The media of all calls.
pub struct Engine {
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Engine {
    /// Binds the WebRTC ports and starts the threads. Call within a tokio runtime, whose tasks then control
    /// the calls.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        config: MediaConfig,
        certificate: Arc<Certificate>,
        mut seed: Seed,
    ) -> Result<Self, StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let ips = addresses(&config)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut threads = Vec::new();
        for (n, port) in (0..config.threads(cores)).zip(config.webrtc_ports(cores)) {
            let addresses: Vec<SocketAddr> = ips.iter().map(|ip| (*ip, port).into()).collect();
            let name = format!("media-{n}");
            threads.push(MediaThread::start(&name, &addresses, config.timeout(), seed.fork())?);
        }
        let pool = Mutex::new(PortPool::new(config.rtp_ports()));
        let load = threads.iter().map(|_| AtomicUsize::new(0)).collect();
        let shared = Shared {
            config,
            certificate,
            threads,
            pool,
            locals: Mutex::new(Fresh::new(ADDRESS_HOLDS)),
            seed: Mutex::new(seed),
            next_stream: AtomicU64::new(1),
            calls: AtomicUsize::new(0),
            tasks: AtomicUsize::new(0),
            totals: Totals::default(),
            load,
        };
        let shared = Arc::new(shared);
        if ips.is_empty() {
            warn!(
                "this machine has no address yet that browsers could reach; calls of browsers fail until it has one (for a test \
                 on this machine alone, set ice.loopback)"
            );
            runtime.spawn(late::open(Arc::clone(&shared)));
        }
        Ok(Self { shared, runtime })
    }

    /// First and last WebRTC port.
    #[must_use]
    pub fn webrtc_ports(&self) -> (u16, u16) {
        let first = self.shared.config.webrtc_port();
        let more = u16::try_from(self.shared.threads.len().saturating_sub(1)).unwrap_or(u16::MAX);
        (first, first.saturating_add(more))
    }

    /// Addresses media is bound to, the first thread's.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.threads.first().map(|t| t.addresses().collect()).unwrap_or_default()
    }

    /// What is there at the moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let threads = &self.shared.threads;
        Counts {
            calls: self.shared.calls.load(Ordering::Relaxed),
            tasks: self.shared.tasks.load(Ordering::Relaxed),
            streams: threads.iter().map(MediaThread::streams).sum(),
            ports: self.shared.pool.lock().unwrap_or_else(PoisonError::into_inner).used(),
            sockets: threads.iter().map(|t| t.gauges.sockets.load(Ordering::Relaxed)).sum(),
        }
    }

    /// What the streams that ended counted.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }

    /// Datagrams of nobody, by reason, over all threads.
    #[must_use]
    pub fn strays(&self, reason: crate::media::stats::Drop) -> u64 {
        self.shared.threads.iter().map(|t| t.strays().of(reason)).sum()
    }

    /// Whether all threads run; false is a fault that health checks report.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.threads.iter().all(|t| !t.gauges.is_over.load(Ordering::Acquire))
    }

    /// Ends the threads and waits for them; calls that still run lose their media.
    pub fn stop(&self) {
        self.shared.threads.iter().for_each(MediaThread::stop);
    }
}

/// The configured addresses, else the machine's: loopback only when allowed, no link-local ones (they mean
/// nothing without a zone).
fn addresses(config: &MediaConfig) -> std::io::Result<Vec<IpAddr>> {
    if !config.addresses().is_empty() {
        return Ok(config.addresses().to_vec());
    }
    // a service may be kept from IPv6 on a machine that has it
    let has_ipv6 = has_ipv6();
    let mut ips: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|ip| match ip {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => has_ipv6 && !ip.is_unicast_link_local(),
        })
        .filter(|ip| !ip.is_loopback() || config.is_loopback_allowed())
        .collect();
    // IPv4 before IPv6, loopback last: the first is the one in c= and m=
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6(), *ip));
    ips.dedup();
    Ok(ips)
}

impl MediaEngine for Engine {
    fn open(&self, call: CallId, events: mpsc::Sender<MediaEvent>) -> Result<Box<dyn MediaPort>, Cause> {
        let shared = &self.shared;
        if shared.calls.fetch_add(1, Ordering::Relaxed) >= shared.config.calls() {
            shared.calls.fetch_sub(1, Ordering::Relaxed);
            return Err(Cause::Congestion);
        }
        let loads = shared.load.iter().map(|l| l.load(Ordering::Relaxed));
        let thread = loads.enumerate().min_by_key(|(_, load)| *load).map_or(0, |(n, _)| n);
        if let Some(load) = shared.load.get(thread) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        let (commands, queue) = mpsc::channel(COMMAND_LIMIT);
        let port = Port { commands, events: events.downgrade() };
        shared.tasks.fetch_add(1, Ordering::Relaxed);
        let controller = Controller::new(call, Arc::clone(shared), thread, events, shared.seed());
        self.runtime.spawn(controller.run(queue));
        Ok(Box::new(port))
    }
}

struct Port {
    commands: mpsc::Sender<MediaCommand>,
    /// Weak, so that the call's queue of events ends with the controller, whatever ends that.
    events: mpsc::WeakSender<MediaEvent>,
}

impl MediaPort for Port {
    fn command(&mut self, command: MediaCommand) {
        let leg = match &command {
            MediaCommand::CreateOffer { leg, .. }
            | MediaCommand::CheckOffer { leg, .. }
            | MediaCommand::AcceptAnswer { leg, .. }
            | MediaCommand::AcceptOffer { leg, .. }
            | MediaCommand::Name(leg, _)
            | MediaCommand::Run(leg, _)
            | MediaCommand::Hold(leg, _)
            | MediaCommand::Mute(leg, _)
            | MediaCommand::SendDtmf(leg, _)
            | MediaCommand::Bridge(leg, _)
            | MediaCommand::FreeCodec(leg, _)
            | MediaCommand::Expect(leg)
            | MediaCommand::Detach(leg)
            | MediaCommand::Release(leg) => *leg,
        };
        if self.commands.try_send(command).is_err()
            && let Some(events) = self.events.upgrade()
        {
            // the controller is stuck: the call hears that its media is lost
            let _ = events.try_send(MediaEvent::Lost { leg, cause: Cause::Internal });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{LegId, Section};
    use crate::call::port::{Codec, Encryption, HoldMusic, MediaProfile};

    fn engine() -> Engine {
        let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let media = serde_json::json!({
            "webrtc_port": port, "workers": 1, "addresses": ["127.0.0.1"], "rtp_ports": "21000-21099"
        });
        let section = |name: &str, value| Section::new(name, "test", value);
        let (ice, srtp) =
            (section("ice", serde_json::json!({"loopback": true})), section("srtp", serde_json::json!({})));
        let config = MediaConfig::from_sections(&section("media", media), &ice, &srtp).unwrap();
        Engine::start(config, Arc::new(Certificate::generate().unwrap()), Seed::from_number(1)).unwrap()
    }

    #[tokio::test]
    async fn an_offer_is_answered_with_an_address_that_reaches_its_media_whatever_signalling_is_bound_to() {
        let engine = engine();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (v4, v6) = (ip("127.0.0.1"), ip("::1"));
        for own in [OwnAddress::Towards, OwnAddress::Signalling(v4)] {
            let local = |media_at| engine.shared.own_address(v4, own, media_at);
            assert_eq!((local(None), local(Some(v4)), local(Some(v6))), (Ok(v4), Ok(v4), Ok(v6)), "{own:?}");
            // nobody may send there without asking for it, whatever the routes are
            let nowhere = ip("255.255.255.255");
            let found = engine.shared.own_address(v6, own, Some(nowhere));
            assert!(found == Ok(v4), "that of media.addresses: {found:?}");
        }
        let fixed = engine.shared.own_address(v4, OwnAddress::Fixed(v4), Some(v6));
        assert_eq!(fixed, Ok(v4), "as it is configured");
    }

    #[test]
    fn a_controller_that_ends_by_a_fault_tells_its_call_and_gives_all_back() {
        // a runtime that goes down drops its tasks where they wait, as a fault does
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let engine = {
            let _entered = runtime.enter();
            engine()
        };
        let (sender, mut events) = mpsc::channel(8);
        let mut port = engine.open(CallId::from_bits(1), sender).unwrap();
        let towards = "127.0.0.1".parse().unwrap();
        let profile = MediaProfile::Rtp {
            codecs: vec![Codec::Pcmu],
            towards,
            external: Default::default(),
            own_address: Default::default(),
            is_symmetric: false,
            encryption: Encryption::Off,
            is_avpf: false,
            hold_music: HoldMusic::Silence,
        };
        port.command(MediaCommand::CreateOffer { leg: LegId(1), profile });
        assert!(matches!(events.blocking_recv(), Some(MediaEvent::Offer { .. })));
        let counts = engine.counts();
        assert_eq!((counts.calls, counts.tasks, counts.ports), (1, 1, 1));
        runtime.shutdown_timeout(Duration::from_secs(5));
        assert!(events.blocking_recv().is_none(), "the call hears of it");
        let counts = engine.counts();
        assert_eq!((counts.calls, counts.tasks, counts.ports), (0, 0, 0));
        port.command(MediaCommand::Release(LegId(1)));
    }
}
