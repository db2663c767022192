//! What an association costs: two of ours on a memory link, real clock, one thread.
//!
//! Prints the time to a selected path and to keys in both ICE roles, the CPU time of a whole set-up (both
//! sides together), and memory and CPU time of connected idle associations. Run with
//! `cargo bench --bench peer`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use sipedge::base::{Path, Secret, Seed};
use sipedge::peer::{
    Certificate, DatagramSink, DtlsRole, IceCredentials, IceRole, LocalParameters, PeerEvent, PeerHandle,
    PeerInput, RemoteParameters, SrtpProfile, spawn,
};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
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

fn side(address: &str, seed: &mut Seed, certificate: &Arc<Certificate>) -> (Side, Arc<Link>) {
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
    let handle = Arc::new(spawn(local, sink, events, seed.fork()));
    (Side { handle, events: events_rx, credentials, address }, link)
}

fn describe(of: &Side, certificate: &Certificate, dtls: DtlsRole, ice: IceRole) -> PeerInput {
    PeerInput::Remote(Box::new(RemoteParameters {
        credentials: of.credentials.clone(),
        fingerprints: vec![certificate.fingerprint()],
        is_lite: false,
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

async fn pair(ice: IceRole, seed: &mut Seed, certificate: &Arc<Certificate>) -> (Side, Side, [Duration; 2]) {
    let (mut a, link_a) = side("10.0.0.1:7000", seed, certificate);
    let (mut b, link_b) = side("10.0.0.2:7000", seed, certificate);
    link_a.0.set(Arc::downgrade(&b.handle)).unwrap();
    link_b.0.set(Arc::downgrade(&a.handle)).unwrap();
    let other = if ice == IceRole::Controlled { IceRole::Controlling } else { IceRole::Controlled };
    let start = Instant::now();
    a.handle.input(describe(&b, certificate, DtlsRole::Client, ice)).unwrap();
    b.handle.input(describe(&a, certificate, DtlsRole::Server, other)).unwrap();
    let (times, _) = tokio::join!(up(&mut a.events, start), up(&mut b.events, start));
    (a, b, times)
}

/// CPU time of this process in microseconds and its resident memory in KiB.
fn usage() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanos: u64 = stat.split_whitespace().next().unwrap().parse().unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    (nanos / 1_000, line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100])
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let certificate = Arc::new(Certificate::generate().unwrap());
    let mut seed = Seed::from_number(1);
    for ice in [IceRole::Controlled, IceRole::Controlling] {
        let (mut selected, mut connected) = (Vec::new(), Vec::new());
        let (cpu, _) = usage();
        for _ in 0..200 {
            let (_a, _b, times) = pair(ice, &mut seed, &certificate).await;
            selected.push(times[0]);
            connected.push(times[1]);
        }
        let cpu = (usage().0 - cpu) / 200;
        println!("{ice:?}: path {}; keys {}", spread(selected), spread(connected));
        println!("{ice:?}: {cpu} µs CPU a set-up, both sides together");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = usage();
    // a second round shows what is kept for good and what the allocator keeps for the next
    for round in 1..=2 {
        let start = usage();
        let mut kept = Vec::new();
        for _ in 0..500 {
            kept.push(pair(IceRole::Controlled, &mut seed, &certificate).await);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = usage().1.saturating_sub(start.1) as f64 / 1_000.0;
        println!("round {round}: connected {each:.1} KiB more each");
        let cpu = usage().0;
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("idle: {:.2} µs CPU a second each", (usage().0 - cpu) as f64 / 10_000.0);
        drop(kept);
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("after the end: {} KiB kept", usage().1.saturating_sub(before.1));
    }
}
