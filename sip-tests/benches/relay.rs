//! CPU per relayed packet through real sockets: CPU time of the process ÷ packets it sent out, WebRTC (SRTP)
//! on one side and plain RTP on the other, both directions, at 1, 100 and 1,000 calls, saturated and paced
//! (50 packets a second each way), and beside it, in the same run, a bare relay of the same system calls that
//! looks at nothing. Paced runs also give loss and delay: from before the load's send call to after its
//! receive call, so what a relay adds is that less the bare relay's. Last, memory of whole calls (ICE, DTLS,
//! both legs): growth of the resident set ÷ calls.
//!
//! The target is a process of its own on core 0, the load on core 1 (this binary executes itself).
//! `cargo bench --bench relay -- [seconds [calls …]]`. Ends within three minutes, shortening the runs if it
//! must; fails when a run relayed nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench: what cannot be had ends it"
)]

#[path = "relay_memory.rs"]
mod memory;
#[path = "../media_rig.rs"]
mod rig;

use rig::{LOCAL, add_call, master, packet};
use sipedge::base::Seed;
use sipedge::media::io::sys::{BATCH, Batch, Epoll};
use sipedge::media::io::{MediaThread, pin_to_core, process_cpu_time};
use sipedge::media::packet::PacketBuf;
use sipedge::media::srtp::{Opener, Sealer};
use sipedge::media::stats::{Drop, StreamStats};
use sipedge::peer::SrtpProfile;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const FRAME: Duration = Duration::from_millis(20);
/// All runs together take no longer, and what hangs is ended a little later.
const RUNS_LIMIT: Duration = Duration::from_secs(140);
const LIMIT: Duration = Duration::from_secs(178);
/// Calls of a run whose delays are noted.
const SAMPLED: usize = 100;
const KINDS: [&str; 3] = ["cm", "gcm", "bare"];

fn profile(name: &str) -> SrtpProfile {
    match name {
        "gcm" => SrtpProfile::AeadAes128Gcm,
        _ => SrtpProfile::AesCm128HmacSha1_80,
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "target") {
        return target(&args[at + 1]);
    }
    std::thread::spawn(|| {
        std::thread::sleep(LIMIT);
        eprintln!("not done after {LIMIT:?}");
        std::process::exit(2);
    });
    let mut numbers = args.iter().filter_map(|a| a.parse::<f64>().ok());
    let seconds = numbers.next().unwrap_or(4.0);
    let sizes: Vec<usize> = numbers.map(|n| n as usize).collect();
    let sizes = if sizes.is_empty() { vec![1, 100, 1_000] } else { sizes };
    let runs = u32::try_from(2 * KINDS.len() * sizes.len()).unwrap();
    // each run is warmed up for a quarter of its time
    let time = Duration::from_secs_f64(seconds).min(RUNS_LIMIT / runs * 4 / 5);
    let _ = pin_to_core(1);
    let mut rows = Vec::new();
    for calls in sizes {
        for is_paced in [false, true] {
            let figures = KINDS.map(|kind| {
                eprintln!("{kind}, {calls} calls, {}", load(is_paced));
                measure(kind, calls, is_paced, time)
            });
            if figures.iter().any(|f| f.packets == 0 || f.received == 0) {
                eprintln!("nothing was relayed");
                std::process::exit(1);
            }
            rows.push(row(calls, is_paced, time, &figures));
        }
    }
    let memory = memory::measure();
    println!("\nOurs with AES_CM_128_HMAC_SHA1_80 (CM), with AEAD_AES_128_GCM (GCM), and the bare relay.");
    println!("CPU: µs per packet sent out; delay: ms from the load's send to its receive, p50/p99.");
    println!(
        "calls  load       CPU CM    GCM   bare  CM/bare  GCM/bare  CM packets/s  CM loss  CM delay       bare delay"
    );
    rows.iter().for_each(|row| println!("{row}"));
    println!("{memory}");
}

const fn load(is_paced: bool) -> &'static str {
    if is_paced { "paced" } else { "saturated" }
}

fn row(calls: usize, is_paced: bool, time: Duration, [cm, gcm, bare]: &[Figures; 3]) -> String {
    let cpu = [cm, gcm, bare].map(Figures::micros);
    let (loss, delays) = if is_paced {
        let loss = 100.0 * (1.0 - cm.received as f64 / cm.sent as f64);
        (format!("{loss:.3} %"), [cm.delay(), bare.delay()])
    } else {
        ("–".to_owned(), ["–", "–"].map(str::to_owned))
    };
    format!(
        "{calls:5}  {:9}  {:6.2} {:6.2} {:6.2} {:8.2} {:9.2} {:13.0} {loss:>8}  {:13}  {}",
        load(is_paced),
        cpu[0],
        cpu[1],
        cpu[2],
        cpu[0] / cpu[2],
        cpu[1] / cpu[2],
        cm.packets as f64 / time.as_secs_f64(),
        delays[0],
        delays[1],
    )
}

struct Figures {
    cpu: Duration,
    packets: u64,
    sent: u64,
    received: u64,
    /// Sorted.
    delays: Vec<Duration>,
}

impl Figures {
    /// p50 and p99 in milliseconds.
    fn delay(&self) -> String {
        let at = |percent: usize| {
            let delay = self.delays.get(self.delays.len() * percent / 100).copied().unwrap_or_default();
            delay.as_secs_f64() * 1_000.0
        };
        format!("{:.3}/{:.3}", at(50), at(99))
    }

    fn micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.packets.max(1) as f64
    }
}

// ---- the load

struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Target {
    fn start(kind: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["target", kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    fn ask(&mut self, line: &str) -> Vec<String> {
        writeln!(self.input, "{line}").unwrap();
        self.input.flush().unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// CPU time and packets so far.
    fn mark(&mut self) -> (Duration, u64) {
        let answer = self.ask("mark");
        (Duration::from_micros(answer[0].parse().unwrap()), answer[1].parse().unwrap())
    }
}

struct Ends {
    browser: UdpSocket,
    pbx: UdpSocket,
    sealer: Sealer,
    /// None where nothing is protected.
    opener: Option<Opener>,
    is_sampled: bool,
    index: u64,
}

/// A packet that carries the time it was made.
fn stamped(ssrc: u32, index: u64, start: Instant) -> PacketBuf {
    let mut buf = packet(ssrc, index);
    let now = u64::try_from(start.elapsed().as_nanos()).unwrap();
    buf.bytes_mut()[12..20].copy_from_slice(&now.to_be_bytes());
    buf
}

impl Ends {
    /// A packet each way.
    fn send(&mut self, start: Instant) {
        let mut from_browser = stamped(7, self.index, start);
        if self.opener.is_some() {
            self.sealer.protect_rtp(&mut from_browser, self.index).unwrap();
        }
        let _ = self.browser.send(from_browser.bytes());
        let _ = self.pbx.send(stamped(8, self.index, start).bytes());
        self.index += 1;
    }
}

/// The receiving half of the load.
struct Receiver {
    start: Instant,
    buffers: Vec<PacketBuf>,
    batch: Batch,
    received: u64,
    delays: Vec<Duration>,
}

impl Receiver {
    fn new() -> Self {
        let buffers = (0..16).map(|_| PacketBuf::default()).collect();
        Self { start: Instant::now(), buffers, batch: Batch::default(), received: 0, delays: Vec::new() }
    }

    /// Takes what came for one side of a call; `room` datagrams at a time, and again while that was not enough.
    fn take(&mut self, ends: &mut Ends, is_browser: bool, room: usize) {
        let socket = if is_browser { &ends.browser } else { &ends.pbx };
        let fd = socket.as_raw_fd();
        while let Ok(n) = self.batch.receive(fd, &mut self.buffers[..room]) {
            let now = self.start.elapsed();
            for buf in &mut self.buffers[..n] {
                // our reports are no packets of the load (RFC 5761 §4)
                if matches!(buf.bytes().get(1), Some(192..=223)) {
                    continue;
                }
                self.received += 1;
                if !ends.is_sampled {
                    continue;
                }
                if is_browser
                    && let Some(opener) = &mut ends.opener
                    && opener.unprotect_rtp(buf).is_err()
                {
                    continue;
                }
                let sent = buf.bytes()[12..20].try_into().map(u64::from_be_bytes).unwrap();
                self.delays.push(now.saturating_sub(Duration::from_nanos(sent)));
            }
            if n < room {
                break;
            }
        }
    }

    fn drain(&mut self, ends: &mut [Ends]) {
        for end in ends {
            self.take(end, true, 16);
            self.take(end, false, 16);
        }
    }
}

fn measure(kind: &str, calls: usize, is_paced: bool, time: Duration) -> Figures {
    let profile = profile(kind);
    let mut target = Target::start(kind);
    let mut ends: Vec<Ends> = (0..calls)
        .map(|n| {
            let browser = UdpSocket::bind((LOCAL, 0)).unwrap();
            let pbx = UdpSocket::bind((LOCAL, 0)).unwrap();
            for socket in [&browser, &pbx] {
                socket.set_nonblocking(true).unwrap();
            }
            let line = format!("add {} {}", browser.local_addr().unwrap(), pbx.local_addr().unwrap());
            let answer = target.ask(&line);
            browser.connect(answer[0].parse::<SocketAddr>().unwrap()).unwrap();
            pbx.connect(answer[1].parse::<SocketAddr>().unwrap()).unwrap();
            let opener = Opener::new(profile, &master(profile, 1)).unwrap();
            Ends {
                browser,
                pbx,
                sealer: Sealer::new(profile, &master(profile, 2)).unwrap(),
                opener: (kind != "bare").then_some(opener),
                is_sampled: n % calls.div_ceil(SAMPLED) == 0,
                index: 0,
            }
        })
        .collect();
    let run = |ends: &mut [Ends], time| if is_paced { paced(ends, time) } else { saturated(ends, time) };
    // warm up, then measure
    run(&mut ends, time / 4);
    let (cpu_before, packets_before) = target.mark();
    let (sent, mut receiver) = run(&mut ends, time);
    let (cpu, packets) = target.mark();
    let _ = target.ask("stop");
    let _ = target.child.wait();
    receiver.delays.sort_unstable();
    Figures {
        cpu: cpu - cpu_before,
        packets: packets - packets_before,
        sent,
        received: receiver.received,
        delays: receiver.delays,
    }
}

/// As much as goes, in bursts.
fn saturated(ends: &mut [Ends], time: Duration) -> (u64, Receiver) {
    let mut receiver = Receiver::new();
    let start = receiver.start;
    let mut sent = 0;
    let bursts = 64_usize.div_ceil(ends.len());
    while start.elapsed() < time {
        for end in ends.iter_mut() {
            for _ in 0..bursts {
                end.send(start);
                sent += 2;
            }
            receiver.take(end, true, 16);
            receiver.take(end, false, 16);
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    receiver.drain(ends);
    (sent, receiver)
}

/// A packet each way every 20 ms, the calls spread over the frame; in between, what comes is taken at once.
fn paced(ends: &mut [Ends], time: Duration) -> (u64, Receiver) {
    let mut epoll = Epoll::new(64).unwrap();
    for (end, token) in ends.iter().zip((0..).step_by(2)) {
        epoll.add(end.browser.as_fd(), token).unwrap();
        epoll.add(end.pbx.as_fd(), token + 1).unwrap();
    }
    let mut receiver = Receiver::new();
    let start = receiver.start;
    let step = FRAME / u32::try_from(ends.len()).unwrap();
    let (mut next, mut sent, mut turn) = (start, 0, 0);
    let listen = |receiver: &mut Receiver, ends: &mut [Ends], epoll: &mut Epoll| {
        let ready = epoll.wait(Some(Duration::ZERO)).unwrap();
        for at in 0..ready {
            let token = epoll.token(at).unwrap() as usize;
            receiver.take(&mut ends[token / 2], token.is_multiple_of(2), 2);
        }
    };
    while start.elapsed() < time {
        // a late load sends what is due, but never forgets to listen
        if Instant::now() >= next {
            ends[turn].send(start);
            turn = (turn + 1) % ends.len();
            next += step;
            sent += 2;
        }
        listen(&mut receiver, ends, &mut epoll);
    }
    let over = Instant::now() + Duration::from_millis(50);
    while Instant::now() < over {
        listen(&mut receiver, ends, &mut epoll);
    }
    (sent, receiver)
}

// ---- the target

fn target(kind: &str) {
    let _ = pin_to_core(0);
    match kind {
        "bare" => bare(),
        "memory" => memory::target(),
        _ => ours(profile(kind)),
    }
}

/// Lines of the load: `add BROWSER PBX`, `mark`, `stop`.
fn serve(mut add: impl FnMut(SocketAddr, SocketAddr) -> (SocketAddr, SocketAddr), packets: impl Fn() -> u64) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["add", browser, pbx] => {
                let (shared, plain) = add(browser.parse().unwrap(), pbx.parse().unwrap());
                println!("{shared} {plain}");
            }
            ["mark"] => println!("{} {}", process_cpu_time().as_micros(), packets()),
            _ => {
                println!("over");
                return;
            }
        }
    }
}

fn ours(profile: SrtpProfile) {
    let address = SocketAddr::new(LOCAL, 0);
    let thread =
        MediaThread::start("media-bench", &[address], Duration::from_secs(30), Seed::from_number(1)).unwrap();
    let shared = thread.addresses().next().unwrap();
    let stats: Arc<StreamStats> = Arc::default();
    let mut calls = 0;
    serve(
        |browser, pbx| {
            calls += 1;
            let both = [Arc::clone(&stats), Arc::clone(&stats)];
            (shared, add_call(&thread, calls, profile, browser, pbx, both))
        },
        || stats.packets_out.get(),
    );
    let drops = Drop::ALL.into_iter().filter(|d| *d != Drop::SendFailed && stats.drops.of(*d) > 0);
    drops.for_each(|d| eprintln!("dropped: {} {}", d.as_str(), stats.drops.of(d)));
    thread.stop();
}

/// The same sockets and calls of the system, and nothing else: receives in batches, finds the other side by
/// the sender's port, sends.
fn bare() {
    let shared = Arc::new(UdpSocket::bind((LOCAL, 0)).unwrap());
    shared.set_nonblocking(true).unwrap();
    let address = shared.local_addr().unwrap();
    let packets = Arc::new(AtomicU64::new(0));
    let (calls, new_calls) = std::sync::mpsc::channel::<(SocketAddr, UdpSocket)>();
    let (counted, socket) = (Arc::clone(&packets), Arc::clone(&shared));
    std::thread::spawn(move || bare_loop(&socket, &new_calls, &counted));
    serve(
        |browser, pbx| {
            let plain = UdpSocket::bind((LOCAL, 0)).unwrap();
            plain.set_nonblocking(true).unwrap();
            plain.connect(pbx).unwrap();
            let ours = plain.local_addr().unwrap();
            calls.send((browser, plain)).unwrap();
            (address, ours)
        },
        || packets.load(Ordering::Relaxed),
    );
}

fn bare_loop(
    shared: &UdpSocket,
    new_calls: &std::sync::mpsc::Receiver<(SocketAddr, UdpSocket)>,
    packets: &AtomicU64,
) {
    const SHARED: u64 = u64::MAX;
    let mut epoll = Epoll::new(256).unwrap();
    epoll.add(shared.as_fd(), SHARED).unwrap();
    let mut calls: Vec<(SocketAddr, UdpSocket)> = Vec::new();
    let mut by_port = vec![usize::MAX; 65_536];
    let (mut receiving, mut sending) = (Batch::default(), Batch::default());
    let mut buffers: Vec<PacketBuf> = (0..4 * BATCH).map(|_| PacketBuf::default()).collect();
    let mut queue: Vec<(usize, SocketAddr)> = Vec::new();
    let mut used = 0;
    loop {
        let count = epoll.wait(Some(Duration::from_millis(100))).unwrap();
        let mut sent = 0;
        for at in 0..count {
            let token = epoll.token(at).unwrap();
            let (fd, wanted) = match token {
                SHARED => (shared.as_raw_fd(), BATCH),
                call => (calls[call as usize].1.as_raw_fd(), 4),
            };
            if buffers.len() - used < wanted {
                sent += flush(shared, &mut queue, &mut sending, &mut buffers);
                used = 0;
            }
            let Ok(n) = receiving.receive(fd, &mut buffers[used..used + wanted]) else { continue };
            for i in 0..n {
                if token == SHARED {
                    let call = by_port[usize::from(receiving.from(i).unwrap().port())];
                    if let Some((_, plain)) = calls.get(call) {
                        sent += u64::from(plain.send(buffers[used + i].bytes()).is_ok());
                    }
                } else {
                    queue.push((used + i, calls[token as usize].0));
                }
            }
            used += n;
        }
        sent += flush(shared, &mut queue, &mut sending, &mut buffers);
        used = 0;
        packets.fetch_add(sent, Ordering::Relaxed);
        while let Ok((browser, plain)) = new_calls.try_recv() {
            by_port[usize::from(browser.port())] = calls.len();
            epoll.add(plain.as_fd(), calls.len() as u64).unwrap();
            calls.push((browser, plain));
        }
    }
}

fn flush(
    shared: &UdpSocket,
    queue: &mut Vec<(usize, SocketAddr)>,
    sending: &mut Batch,
    buffers: &mut [PacketBuf],
) -> u64 {
    let mut sent = 0;
    while sent < queue.len() {
        sent += sending.send(shared.as_raw_fd(), &queue[sent..], buffers).unwrap_or(0).max(1);
    }
    queue.clear();
    sent as u64
}
