//! What an association costs: two of ours on a memory link, real clock, a thread for each side.
//!
//! Prints the time to a selected path and to keys in both ICE roles and with a lite agent on our side, the CPU time of a
//! whole set-up (our side, and both together), and memory and CPU time of connected idle associations. Run with
//! `cargo bench --bench peer`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use sipedge::base::{Path, Secret, Seed};
use sipedge::peer::{
    Certificate, DatagramSink, DtlsRole, IceCredentials, IceRole, LocalParameters, PeerEvent, PeerHandle,
    PeerInput, RemoteParameters, SrtpProfile, spawn, spawn_lite, spawn_on,
};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

/// Hands a datagram straight to the other side.
#[derive(Default)]
struct Link(OnceLock<Weak<PeerHandle>>);

impl DatagramSink for Link {
    fn send(&self, path: Path, bytes: &[u8]) {
        if let Some(other) = self.0.get().and_then(Weak::upgrade) {
            let path = Path { local: path.remote, remote: path.local };
            let _ = other.input(PeerInput::Datagram { path, bytes: bytes.to_vec() });
        }
    }
}

struct Side {
    handle: Arc<PeerHandle>,
    events: mpsc::Receiver<PeerEvent>,
    credentials: IceCredentials,
    address: SocketAddr,
}

/// Our agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agent {
    Full(IceRole),
    Lite,
}

/// Where a side runs.
enum Place<'a> {
    /// On this thread.
    Here(Agent),
    /// On that of the far side, with full ICE.
    There(&'a Handle),
}

fn side(
    place: &Place<'_>,
    address: &str,
    seed: &mut Seed,
    certificate: &Arc<Certificate>,
) -> (Side, Arc<Link>) {
    let link = Arc::new(Link::default());
    let (events, events_rx) = mpsc::channel(16);
    let credentials = IceCredentials { ufrag: seed.token(8), pwd: Secret::new(seed.token(24)) };
    let address = address.parse().unwrap();
    let local = LocalParameters {
        credentials: credentials.clone(),
        certificate: Arc::clone(certificate),
        profiles: vec![SrtpProfile::AeadAes128Gcm],
        addresses: vec![address],
        allow_loopback: false,
    };
    let sink: Arc<dyn DatagramSink> = Arc::<Link>::clone(&link);
    let handle = Arc::new(match place {
        Place::Here(Agent::Full(_)) => spawn(local, sink, events, seed.fork()),
        Place::Here(Agent::Lite) => spawn_lite(local, sink, events),
        Place::There(runtime) => spawn_on(runtime, local, sink, events, seed.fork()),
    });
    (Side { handle, events: events_rx, credentials, address }, link)
}

fn describe(of: &Side, is_lite: bool, certificate: &Certificate, dtls: DtlsRole, ice: IceRole) -> PeerInput {
    PeerInput::Remote(Box::new(RemoteParameters {
        credentials: of.credentials.clone(),
        fingerprints: vec![certificate.fingerprint()],
        is_lite,
        candidates: vec![of.address],
        dtls_role: dtls,
        ice_role: ice,
    }))
}

/// Until selected, and until keys.
async fn up(events: &mut mpsc::Receiver<PeerEvent>, start: Instant) -> [Duration; 2] {
    let mut selected = Duration::ZERO;
    loop {
        match events.recv().await.unwrap() {
            PeerEvent::Selected(_) => selected = start.elapsed(),
            PeerEvent::Connected(_) => return [selected, start.elapsed()],
            PeerEvent::Authenticated(_) => {}
            other => unreachable!("{other:?}"),
        }
    }
}

async fn pair(
    agent: Agent,
    far: &Handle,
    seed: &mut Seed,
    certificate: &Arc<Certificate>,
) -> (Side, Side, [Duration; 2]) {
    let (ice, is_lite) = match agent {
        Agent::Full(role) => (role, false),
        Agent::Lite => (IceRole::Controlled, true),
    };
    let (mut a, link_a) = side(&Place::Here(agent), "10.0.0.1:7000", seed, certificate);
    let (mut b, link_b) = side(&Place::There(far), "10.0.0.2:7000", seed, certificate);
    link_a.0.set(Arc::downgrade(&b.handle)).unwrap();
    link_b.0.set(Arc::downgrade(&a.handle)).unwrap();
    let other = if ice == IceRole::Controlled { IceRole::Controlling } else { IceRole::Controlled };
    let start = Instant::now();
    a.handle.input(describe(&b, false, certificate, DtlsRole::Client, ice)).unwrap();
    b.handle.input(describe(&a, is_lite, certificate, DtlsRole::Server, other)).unwrap();
    let (times, _) = tokio::join!(up(&mut a.events, start), up(&mut b.events, start));
    (a, b, times)
}

/// CPU time so far, in microseconds: of this thread, and of all.
fn cpu() -> [u64; 2] {
    let of = |file: &std::path::Path| -> u64 {
        let text = std::fs::read_to_string(file).unwrap();
        text.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1_000
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let all = tasks.map(|task| of(&task.unwrap().path().join("schedstat"))).sum();
    [of(std::path::Path::new("/proc/thread-self/schedstat")), all]
}

/// Resident memory in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let certificate = Arc::new(Certificate::generate().unwrap());
    let mut seed = Seed::from_number(1);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let far = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let agents = [Agent::Full(IceRole::Controlled), Agent::Full(IceRole::Controlling), Agent::Lite];
    for agent in agents {
        let (mut selected, mut connected) = (Vec::new(), Vec::new());
        let before = cpu();
        for _ in 0..200 {
            let (_a, _b, times) = pair(agent, &far, &mut seed, &certificate).await;
            selected.push(times[0]);
            connected.push(times[1]);
        }
        let [ours, all] = cpu();
        let [ours, all] = [ours - before[0], all - before[1]].map(|us| us / 200);
        println!("{agent:?}: path {}; keys {}", spread(selected), spread(connected));
        println!("{agent:?}: {ours} µs CPU of ours a set-up, both sides {all}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = memory();
    // a second round shows what is kept for good and what the allocator keeps for the next
    for (round, agent) in [(1, agents[0]), (2, agents[0]), (3, agents[2])] {
        let start = memory();
        let mut kept = Vec::new();
        for _ in 0..500 {
            kept.push(pair(agent, &far, &mut seed, &certificate).await);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = memory().saturating_sub(start) as f64 / 1_000.0;
        println!("round {round}, {agent:?}: connected {each:.1} KiB more each");
        let [ours, _] = cpu();
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("idle: {:.2} µs CPU a second of ours", (cpu()[0] - ours) as f64 / 5_000.0);
        drop(kept);
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("after the end: {} KiB kept", memory().saturating_sub(before));
    }
}
