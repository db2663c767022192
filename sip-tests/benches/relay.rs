//! CPU per relayed packet through real sockets: CPU time of the process ÷ packets it sent out, WebRTC (SRTP)
//! on one side and plain RTP on the other, both directions, at 1, 100 and 1,000 calls, saturated and paced
//! (50 packets a second each way), and beside it, in the same run, a bare relay of the same system calls that
//! looks at nothing.
//!
//! The target is a process of its own on core 0, the load on core 1 (this binary executes itself).
//! `cargo bench --bench relay -- [seconds [calls …]]`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench: what cannot be had ends it"
)]

#[path = "../media_rig.rs"]
mod rig;

use rig::{LOCAL, add_call, master, packet};
use sipedge::base::Seed;
use sipedge::media::io::sys::{BATCH, Batch, Epoll};
use sipedge::media::io::{MediaThread, pin_to_core, process_cpu_time};
use sipedge::media::packet::PacketBuf;
use sipedge::media::srtp::Sealer;
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
    let mut numbers = args.iter().filter_map(|a| a.parse::<f64>().ok());
    let seconds = numbers.next().unwrap_or(4.0);
    let sizes: Vec<usize> = numbers.map(|n| n as usize).collect();
    let sizes = if sizes.is_empty() { vec![1, 100, 1_000] } else { sizes };
    let time = Duration::from_secs_f64(seconds);
    let _ = pin_to_core(1);
    println!(
        "µs of CPU per packet sent out (ours with AES_CM_128_HMAC_SHA1_80, with AEAD_AES_128_GCM, bare relay)"
    );
    println!("calls  load        CM    GCM   bare   CM/bare   packets/s (CM)  delivered (CM)");
    for calls in sizes {
        for is_paced in [false, true] {
            let [cm, gcm, bare] = ["cm", "gcm", "bare"].map(|kind| measure(kind, calls, is_paced, time));
            println!(
                "{calls:5}  {:9} {:5.2}  {:5.2}  {:5.2}   {:6.2}   {:13.0}  {:11.1} %",
                if is_paced { "paced" } else { "saturated" },
                cm.micros(),
                gcm.micros(),
                bare.micros(),
                cm.micros() / bare.micros(),
                cm.packets as f64 / seconds,
                100.0 * cm.received as f64 / cm.sent as f64,
            );
        }
    }
}

struct Figures {
    cpu: Duration,
    packets: u64,
    sent: u64,
    received: u64,
}

impl Figures {
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
    index: u64,
}

impl Ends {
    /// A packet each way.
    fn send(&mut self, is_srtp: bool) {
        let mut from_browser = packet(7, self.index);
        if is_srtp {
            self.sealer.protect_rtp(&mut from_browser, self.index).unwrap();
        }
        let _ = self.browser.send(from_browser.bytes());
        let _ = self.pbx.send(packet(8, self.index).bytes());
        self.index += 1;
    }

    /// Takes what came; answers how many.
    fn drain(&self, buffers: &mut [PacketBuf], batch: &mut Batch) -> u64 {
        let mut received = 0;
        for socket in [&self.browser, &self.pbx] {
            while let Ok(n) = batch.receive(socket.as_raw_fd(), buffers) {
                received += n as u64;
                if n < buffers.len() {
                    break;
                }
            }
        }
        received
    }
}

fn measure(kind: &str, calls: usize, is_paced: bool, time: Duration) -> Figures {
    let profile = profile(kind);
    let mut target = Target::start(kind);
    let mut ends: Vec<Ends> = (0..calls)
        .map(|_| {
            let browser = UdpSocket::bind((LOCAL, 0)).unwrap();
            let pbx = UdpSocket::bind((LOCAL, 0)).unwrap();
            for socket in [&browser, &pbx] {
                socket.set_nonblocking(true).unwrap();
            }
            let line = format!("add {} {}", browser.local_addr().unwrap(), pbx.local_addr().unwrap());
            let answer = target.ask(&line);
            browser.connect(answer[0].parse::<SocketAddr>().unwrap()).unwrap();
            pbx.connect(answer[1].parse::<SocketAddr>().unwrap()).unwrap();
            Ends { browser, pbx, sealer: Sealer::new(profile, &master(profile, 2)).unwrap(), index: 0 }
        })
        .collect();
    let is_srtp = kind != "bare";
    let mut buffers: Vec<PacketBuf> = (0..16).map(|_| PacketBuf::default()).collect();
    let mut batch = Batch::default();
    // warm up, then measure
    run(&mut ends, is_srtp, is_paced, time / 4, &mut buffers, &mut batch);
    let (cpu_before, packets_before) = target.mark();
    let (sent, received) = run(&mut ends, is_srtp, is_paced, time, &mut buffers, &mut batch);
    let (cpu, packets) = target.mark();
    let _ = target.ask("stop");
    let _ = target.child.wait();
    Figures { cpu: cpu - cpu_before, packets: packets - packets_before, sent, received }
}

fn run(
    ends: &mut [Ends],
    is_srtp: bool,
    is_paced: bool,
    time: Duration,
    buffers: &mut [PacketBuf],
    batch: &mut Batch,
) -> (u64, u64) {
    let start = Instant::now();
    let (mut sent, mut received) = (0, 0);
    if is_paced {
        let step = FRAME / u32::try_from(ends.len()).unwrap();
        let mut next = start;
        while start.elapsed() < time {
            for end in ends.iter_mut() {
                // spread over the frame; a short pause is spun, a long one slept
                let pause = next.saturating_duration_since(Instant::now());
                if pause > Duration::from_millis(1) {
                    std::thread::sleep(pause);
                }
                while Instant::now() < next {
                    std::hint::spin_loop();
                }
                next += step;
                received += end.drain(buffers, batch);
                end.send(is_srtp);
                sent += 2;
            }
        }
    } else {
        let bursts = 64_usize.div_ceil(ends.len());
        while start.elapsed() < time {
            for end in ends.iter_mut() {
                for _ in 0..bursts {
                    end.send(is_srtp);
                    sent += 2;
                }
                received += end.drain(buffers, batch);
            }
        }
    }
    std::thread::sleep(Duration::from_millis(50));
    received += ends.iter().map(|e| e.drain(buffers, batch)).sum::<u64>();
    (sent, received)
}

// ---- the target

fn target(kind: &str) {
    let _ = pin_to_core(0);
    if kind == "bare" { bare() } else { ours(profile(kind)) }
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
