//! The program under attack: real sockets on the loopback, the real binary where its process is attacked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;
use sipedge::base::Section;
use sipedge::http::HttpConfig;
use sipedge::http::io::HttpServer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A connection from one of the addresses of the loopback network.
fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.into()
}

fn is_answered(mut stream: TcpStream) -> bool {
    let mut answer = [0; 8];
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"HTTP/1.1"
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_hundreds_of_silent_http_connections_keeps_64_and_others_are_answered() {
    let config = HttpConfig::read(&Section::new("http", "t", json!({"listen": "127.0.0.1:0"}))).unwrap();
    let server = HttpServer::start(&config, axum::Router::new()).await.unwrap();
    let address = server.addresses()[0];
    let silent: Vec<TcpStream> = (0..300).map(|_| connect("127.0.0.2", address)).collect();
    assert!(is_answered(connect("127.0.0.3", address)));
    assert!(is_answered(connect("127.0.0.1", address)));
    let is_open = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let mut one = [0];
        stream.peek(&mut one).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock)
    };
    let are_open = || silent.iter().filter(|s| is_open(s)).count();
    // each is closed by a task of its own
    let until = Instant::now() + SOON;
    while are_open() != 64 {
        assert!(Instant::now() < until, "{} are open", are_open());
        tokio::task::yield_now().await;
    }
    // who shares its address is answered too: one of the silent ones makes room
    assert!(is_answered(connect("127.0.0.2", address)));
}

/// Good credentials, whoever asks.
async fn log_in(visitor: axum::Extension<sipedge::http::Visitor>) -> &'static str {
    visitor.good_login();
    "welcome"
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_http_connections_of_many_addresses_keep_no_browser_out_and_who_has_logged_in_stays() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let config = HttpConfig::read(&Section::new("http", "t", json!({"listen": "127.0.0.1:0"}))).unwrap();
    let router = axum::Router::new().route("/login", axum::routing::get(log_in));
    let server = HttpServer::start(&config, router).await.unwrap();
    let address = server.addresses()[0];
    let asked = move |stream: &mut TcpStream, path: &str| {
        let mut answer = [0; 12];
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        stream.read_exact(&mut answer).map(|()| String::from_utf8_lossy(&answer).into_owned())
    };
    let answers = tokio::task::spawn_blocking(move || {
        let mut known = connect("127.0.4.1", address);
        let mut answers = vec![asked(&mut known, "/login").unwrap()];
        // its rest
        let mut rest = [0; 512];
        let _ = known.read(&mut rest).unwrap();
        let silent: Vec<TcpStream> = (0..12)
            .flat_map(|n| std::iter::repeat_n(n, 64))
            .map(|n| connect(&format!("127.0.5.{}", n + 1), address))
            .collect();
        let browsers: Vec<bool> =
            (0..100).map(|n| is_answered(connect(&format!("127.0.6.{}", n + 1), address))).collect();
        assert_eq!(browsers.iter().filter(|is_answered| **is_answered).count(), 100);
        answers.push(asked(&mut known, "/login").unwrap());
        drop(silent);
        answers
    });
    assert_eq!(answers.await.unwrap(), ["HTTP/1.1 200", "HTTP/1.1 200"]);
}

#[tokio::test]
async fn a_request_of_http_1_1_names_its_host_once_rfc_9112_3_2() {
    let config = HttpConfig::read(&Section::new("http", "t", json!({"listen": "127.0.0.1:0"}))).unwrap();
    let server = HttpServer::start(&config, axum::Router::new()).await.unwrap();
    let address = server.addresses()[0];
    let status = move |request: &'static str| {
        let mut stream = connect("127.0.0.1", address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    let asked = tokio::task::spawn_blocking(move || {
        [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
        ]
        .map(status)
    });
    assert_eq!(asked.await.unwrap(), ["HTTP/1.1 400", "HTTP/1.1 400", "HTTP/1.1 404", "HTTP/1.0 404"]);
}

#[test]
fn a_silent_http_connection_takes_little_memory() {
    let ports = Ports::free();
    let mut program = Program::start("silent-http", &ports);
    program.reads_until("sipedge is ready");
    let address = SocketAddr::from(([127, 0, 0, 1], ports.http));
    assert!(is_answered(connect("127.0.0.1", address)));
    let before = program.bytes_resident();
    let silent: Vec<TcpStream> =
        (0..240).map(|n| connect(&format!("127.0.0.{}", 2 + n / 60), address)).collect();
    // it was accepted after them
    assert!(is_answered(connect("127.0.0.1", address)));
    let each = program.bytes_resident().saturating_sub(before) / silent.len();
    assert!(each < 48 * 1024, "{each} bytes each");
}

struct Program {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

/// Ports that are free now.
struct Ports {
    http: u16,
    sip: u16,
    webrtc: u16,
}

impl Ports {
    fn free() -> Self {
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { http, sip: udp(), webrtc: udp() }
    }
}

impl Program {
    fn start(name: &str, ports: &Ports) -> Self {
        Self::start_with(name, ports, "")
    }

    fn start_with(name: &str, ports: &Ports, more: &str) -> Self {
        Self::start_with_media(name, ports, &format!("[ice]\nloopback = true\n{more}"))
    }

    /// The same with more in the table of media, and what follows it.
    fn start_with_media(name: &str, ports: &Ports, more: &str) -> Self {
        let file = std::env::temp_dir().join(format!("sipedge-{name}-{}.toml", std::process::id()));
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:{}\"\n[sip]\nlisten = [\"127.0.0.1:{}\"]\n[media]\nwebrtc_port = {}\n\
             workers = 1\naddresses = [\"127.0.0.1\"]\n{more}",
            ports.http, ports.sip, ports.webrtc
        );
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sipedge"))
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr }
    }

    fn reads_until(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended before it said {word}");
            if line.contains(word) {
                return line;
            }
        }
    }

    fn bytes_resident(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sighup_ends_no_service_and_sigterm_does() {
    let mut program = Program::start("sighup", &Ports::free());
    program.reads_until("sipedge is ready");
    program.signal("HUP");
    program.reads_until("restart to use a new one");
    program.signal("TERM");
    assert!(program.child.wait().unwrap().success());
}

#[test]
fn a_taken_port_is_told_with_its_key_its_address_and_a_remedy() {
    let ports = Ports::free();
    for key in ["http.listen", "sip.listen", "media.webrtc_port"] {
        let port = match key {
            "http.listen" => ports.http,
            "sip.listen" => ports.sip,
            _ => ports.webrtc,
        };
        let address = format!("127.0.0.1:{port}");
        let taken: Box<dyn std::any::Any> = if key == "http.listen" {
            Box::new(TcpListener::bind(&address).unwrap())
        } else {
            Box::new(UdpSocket::bind(&address).unwrap())
        };
        let mut program = Program::start(&format!("taken-{port}"), &ports);
        let line = program.reads_until(&address);
        assert!(line.contains(key) && line.contains("choose another port"), "{line}");
        assert_eq!(program.child.wait().unwrap().code(), Some(1));
        drop(taken);
    }
}

#[test]
fn an_environment_variable_that_is_no_text_does_not_stop_the_start() {
    use std::os::unix::ffi::OsStrExt;
    let garbage = std::ffi::OsStr::from_bytes(&[b'x', 0xff]);
    let output = Command::new(env!("CARGO_BIN_EXE_sipedge"))
        .args(["--config", "/dev/null"])
        .env("NO_TEXT", garbage)
        .env("SIPEDGE_LOG__FORMAT", garbage)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("environment variable SIPEDGE_LOG__FORMAT: log.format: "), "{said}");
}

/// The trunk's address, and one that nobody knows.
const PBX: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.9";
/// How long an answer may take, on a machine with other things to do.
const SOON: Duration = Duration::from_secs(8);
/// A request is sent again after this, as by T1 (RFC 3261 §17.1.1.1): a flood may fill the kernel's buffer.
const REPEAT: Duration = Duration::from_millis(500);

/// A PBX known by its address, whose calls are echoed.
fn with_a_trunk(name: &str, ports: &Ports) -> Program {
    with_a_trunk_at(PBX, name, ports)
}

fn with_a_trunk_at(host: &str, name: &str, ports: &Ports) -> Program {
    let more = format!(
        "[local]\nenabled = true\n[trunk.pbx]\nhost = \"{host}\"\nqualify = \"off\"\n\
         [[route]]\nnumber = \"echo\"\nto = \"local.echo\"\n"
    );
    let mut program = Program::start_with(name, ports, &more);
    program.reads_until("sipedge is ready");
    program
}

/// Somebody who speaks SIP and RTP.
struct Party {
    sip: UdpSocket,
    rtp: UdpSocket,
    to: SocketAddr,
    next: u32,
    /// Of the next RTP packet.
    sequence: u16,
}

impl Party {
    fn new(from: &str, ports: &Ports) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket
        };
        Self { sip: socket(), rtp: socket(), to: ([127, 0, 0, 1], ports.sip).into(), next: 0, sequence: 0 }
    }

    /// A request of no dialog, or of one whose Call-ID and To tag are given.
    fn request(&mut self, method: &str, transport: &str, dialog: Option<(&str, &str)>, sdp: &str) -> String {
        self.next += 1;
        let (n, here, to) = (self.next, self.sip.local_addr().unwrap(), self.to);
        let own = format!("attack{n}-{here}");
        let (call_id, tag) = dialog.map_or((own.as_str(), String::new()), |(c, t)| (c, format!(";tag={t}")));
        format!(
            "{method} sip:echo@{to} SIP/2.0\r\nVia: SIP/2.0/{transport} {here};branch=z9hG4bK{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@{here}>;tag=a\r\nTo: <sip:echo@{to}>{tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {n} {method}\r\nContact: <sip:a@{here}>\r\n\
             Refer-To: <sip:b@{here}>\r\nEvent: presence\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }

    fn sdp(&self) -> String {
        let rtp = self.rtp.local_addr().unwrap();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            rtp.port(),
            ip = rtp.ip()
        )
    }

    /// The final response to a request.
    fn ask(&self, request: &str) -> Option<String> {
        let mut repeat = Instant::now();
        self.ask_as(request, |now| {
            let is_due = now >= repeat;
            repeat += if is_due { REPEAT } else { Duration::ZERO };
            is_due
        })
    }

    /// The same, sent whenever it is due.
    fn ask_as(&self, request: &str, mut is_due: impl FnMut(Instant) -> bool) -> Option<String> {
        let until = Instant::now() + SOON;
        let mut buffer = [0; 8_192];
        while Instant::now() < until {
            if is_due(Instant::now()) {
                self.sip.send_to(request.as_bytes(), self.to).unwrap();
            }
            let Ok((n, _)) = self.sip.recv_from(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("SIP/2.0 ")
                && header(&text, "CSeq") == header(request, "CSeq")
                && !text.starts_with("SIP/2.0 1")
            {
                return Some(text);
            }
        }
        None
    }

    fn status(&self, request: &str) -> u16 {
        self.ask(request).map_or(0, |answer| answer[8..11].parse().unwrap())
    }

    /// A call that is up: its Call-ID, our tag of it, and where it hears.
    fn call(&mut self) -> (String, String, SocketAddr) {
        let sdp = self.sdp();
        let invite = self.request("INVITE", "UDP", None, &sdp);
        let answer = self.ask(&invite).expect("the call is answered");
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
        let call_id = header(&invite, "Call-ID").to_owned();
        let tag = header(&answer, "To").split("tag=").nth(1).unwrap().to_owned();
        let port = answer.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let cseq = header(&invite, "CSeq").split(' ').next().unwrap().to_owned();
        let ack = self.request("ACK", "UDP", Some((&call_id, &tag)), "");
        let ack = ack.replace(header(&ack, "CSeq"), &format!("{cseq} ACK"));
        self.sip.send_to(ack.as_bytes(), self.to).unwrap();
        (call_id, tag, ([127, 0, 0, 1], port).into())
    }

    /// Sends 50 packets in a second and says how many came back.
    fn echoes(&mut self, to: SocketAddr) -> usize {
        let mut buffer = [0; 2_000];
        let mut heard = 0;
        self.rtp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        for _ in 0..50 {
            self.sequence += 1;
            let mut packet = vec![0x80, 0];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend((u32::from(self.sequence) * 160).to_be_bytes());
            packet.extend([0, 0, 0, 7]);
            packet.extend([0x55; 160]);
            let _ = self.rtp.send_to(&packet, to);
            let sent = Instant::now();
            heard += usize::from(self.rtp.recv_from(&mut buffer).is_ok());
            std::thread::sleep(Duration::from_millis(20).saturating_sub(sent.elapsed()));
        }
        heard
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

#[test]
fn a_flood_of_invites_leaves_a_trunks_call_and_its_next_ones_alone_and_memory_where_it_was() {
    let ports = Ports::free();
    let program = with_a_trunk("flood", &ports);
    let mut pbx = Party::new(PBX, &ports);
    let (_, _, media) = pbx.call();
    assert!(pbx.echoes(media) > 40);
    let before = program.bytes_resident();
    let is_over = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..4)
        .map(|n| {
            let (mut stranger, is_over) =
                (Party::new(&format!("127.0.1.{}", n + 1), &ports), is_over.clone());
            std::thread::spawn(move || {
                let mut sent = 0_usize;
                while !is_over.load(Ordering::Relaxed) {
                    let sdp = stranger.sdp();
                    let invite = stranger.request("INVITE", "UDP", None, &sdp);
                    sent += usize::from(stranger.sip.send_to(invite.as_bytes(), stranger.to).is_ok());
                    // some 17,000 a second of all four, so that the machine has time left to measure by
                    if sent.is_multiple_of(5) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
                sent
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let options = pbx.request("OPTIONS", "UDP", None, "");
        assert_eq!(pbx.status(&options), 200);
        pbx.call();
        let heard = pbx.echoes(media);
        assert!(heard > 25, "the call goes on: {heard} heard");
    }
    let grown = program.bytes_resident().saturating_sub(before);
    is_over.store(true, Ordering::Relaxed);
    let sent: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    println!("{sent} INVITEs of strangers in 5 s; {} KiB more", grown / 1_024);
    assert!(sent > 10_000 && grown < 32 << 20, "{sent} INVITEs, {grown} bytes more");
}

/// Datagrams that the kernel had no room for, of each socket on a port by its far side: columns of `/proc/net/udp`.
fn kernel_drops(port: u16) -> Vec<(String, u64)> {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{port:04X}");
    let rows = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row[1].ends_with(&local))
        .map(|row| (row[2].to_owned(), row.last().unwrap().parse().unwrap()))
        .collect()
}

#[test]
fn a_trunks_call_gets_through_a_flood_as_fast_as_it_can_be_sent_by_its_own_retransmissions() {
    let ports = Ports::free();
    let mut pbx = Party::new(PBX, &ports);
    // it calls from where it is called
    let host = pbx.sip.local_addr().unwrap().to_string();
    let _program = with_a_trunk_at(&host, "unpaced", &ports);
    let is_over = Arc::new(AtomicBool::new(false));
    let floods: Vec<_> = (0..4)
        .map(|n| {
            let mut stranger = Party::new(&format!("127.0.1.{}", n + 1), &ports);
            let (sdp, is_over) = (stranger.sdp(), is_over.clone());
            let invite = stranger.request("INVITE", "UDP", None, &sdp);
            std::thread::spawn(move || {
                let mut sent = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    sent += u64::from(stranger.sip.send_to(invite.as_bytes(), stranger.to).is_ok());
                }
                sent
            })
        })
        .collect();
    // until it is a flood: the first datagrams are lost, or a machine with room for all has taken many
    let until = Instant::now() + SOON;
    let is_lost = || kernel_drops(ports.sip).iter().any(|(_, drops)| *drops > 0);
    while !is_lost() && Instant::now() < until {
        std::thread::yield_now();
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let sdp = pbx.sdp();
        let invite = pbx.request("INVITE", "UDP", None, &sdp);
        // RFC 3261 §17.1.1.2: again after T1, then after twice as long each time
        let (begin, mut wait) = (Instant::now(), REPEAT);
        let mut next = begin;
        let answer = pbx.ask_as(&invite, |now| {
            let is_due = now >= next;
            if is_due && now > begin + REPEAT {
                wait *= 2;
            }
            next += if is_due { wait } else { Duration::ZERO };
            is_due
        });
        assert!(answer.is_some_and(|a| a.starts_with("SIP/2.0 200")), "the call is answered");
        slowest = slowest.max(begin.elapsed());
    }
    is_over.store(true, Ordering::Relaxed);
    let sent: u64 = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    println!(
        "{sent} INVITEs of strangers, lost: {:?}; the slowest call took {slowest:?}",
        kernel_drops(ports.sip)
    );
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[test]
fn strangers_are_refused_whatever_they_ask_for_and_guessed_tags_reach_no_call() {
    let ports = Ports::free();
    let _program = with_a_trunk("strangers", &ports);
    let mut stranger = Party::new(STRANGER, &ports);
    for method in ["INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "REFER", "PUBLISH", "NOTIFY"] {
        let request = stranger.request(method, "UDP", None, "");
        assert!([401, 405, 481].contains(&stranger.status(&request)), "{method}");
    }
    let mut pbx = Party::new(PBX, &ports);
    let (call_id, tag, media) = pbx.call();
    let guesses = ["", "a", &tag[1..], &tag.to_uppercase()].map(|guess| format!("{guess}x"));
    for method in ["BYE", "INVITE", "REFER", "INFO"] {
        for guess in &guesses {
            let request = stranger.request(method, "UDP", Some((&call_id, guess)), "");
            assert_eq!(stranger.status(&request), 481, "{method}");
        }
    }
    // a stranger's packets on the call's port: none comes back to it, and none reaches the PBX
    assert_eq!(stranger.echoes(media), 0);
    let mut buffer = [0; 2_000];
    assert!(pbx.rtp.recv_from(&mut buffer).is_err(), "nothing was relayed");
    assert!(pbx.echoes(media) > 40, "the call goes on");
}

#[test]
fn thousands_of_silent_connections_of_one_source_and_a_slow_one_do_not_keep_the_trunks_call_out() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let ports = Ports::free();
    let _program = with_a_trunk("silent", &ports);
    let sip = SocketAddr::from(([127, 0, 0, 1], ports.sip));
    let mut slow = connect(STRANGER, sip);
    let silent: Vec<TcpStream> = (0..2_000).map(|_| connect(STRANGER, sip)).collect();
    let mut pbx = Party::new(PBX, &ports);
    let mut stream = connect(PBX, sip);
    let sdp = pbx.sdp();
    let begin = Instant::now();
    stream.write_all(pbx.request("INVITE", "TCP", None, &sdp).as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines();
    let is_answered =
        |line: &std::io::Result<String>| line.as_ref().is_ok_and(|l| l.starts_with("SIP/2.0 200"));
    assert!(lines.any(|line| is_answered(&line)), "the call over TCP is answered");
    println!("answered after {:?}, beside {} silent connections", begin.elapsed(), silent.len());
    // a message that trickles in is cut off, however steadily
    slow.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let is_cut = |slow: &mut TcpStream| {
        let is_refused = slow.write_all(b"I").is_err();
        let mut one = [0];
        is_refused
            || match slow.read(&mut one) {
                Ok(n) => n == 0,
                Err(e) => !matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            }
    };
    while !is_cut(&mut slow) {
        assert!(Instant::now() < until, "a slow connection is still open");
    }
}

/// Two PBXs known by their addresses, whose calls are echoed.
fn with_two_trunks(name: &str, ports: &Ports, more: &str) -> Program {
    let trunk = |name: &str, host: &str, more: &str| {
        format!("[trunk.{name}]\nhost = \"{host}\"\nqualify = \"off\"\n{more}")
    };
    let trunks = trunk("pbx", PBX, "") + &trunk("other", OTHER, more);
    let more = format!(
        "calls = 10\n[local]\nenabled = true\n{trunks}[[route]]\nnumber = \"600\"\nto = \"trunk.other\"\n\
         [[route]]\nto = \"local.echo\"\n"
    );
    Program::start_with_media(name, ports, &more)
}

/// The other trunk's address.
const OTHER: &str = "127.0.0.3";

#[test]
fn calls_in_a_trunks_name_that_nobody_talks_in_leave_places_for_other_trunks() {
    let ports = Ports::free();
    let mut program = with_two_trunks("unanswered", &ports, "");
    program.reads_until("sipedge is ready");
    let mut pbx = Party::new(PBX, &ports);
    // whoever writes its address on datagrams hears no answer, and acknowledges none
    let answers: Vec<String> = (0..20)
        .map(|_| {
            let sdp = pbx.sdp();
            let invite = pbx.request("INVITE", "UDP", None, &sdp);
            pbx.ask(&invite).expect("an answer")
        })
        .collect();
    let is_taken = |answer: &&String| answer.starts_with("SIP/2.0 200");
    assert_eq!(answers.iter().filter(is_taken).count(), 8);
    let refused = answers.last().unwrap();
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert_eq!(header(refused, "Retry-After"), "5");
    let line = program.reads_until("those that nobody has answered");
    assert!(line.contains("WARN") && line.contains("key=\"media.calls\"") && line.contains("pbx"), "{line}");
    // a call of the other trunk finds a place, and is heard
    Party::new(OTHER, &ports).call();
}

#[test]
fn a_trunk_with_as_many_calls_as_it_may_have_gets_503_and_calls_to_it_go_elsewhere() {
    let ports = Ports::free();
    let mut program = with_two_trunks("max-calls", &ports, "max_calls = 1\n");
    program.reads_until("sipedge is ready");
    let mut other = Party::new(OTHER, &ports);
    let (call_id, tag, _) = other.call();
    let sdp = other.sdp();
    let second = other.request("INVITE", "UDP", None, &sdp);
    let refused = other.ask(&second).expect("an answer");
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert_eq!(header(&refused, "Retry-After"), "5");
    let line = program.reads_until("as many calls as max_calls allows");
    assert!(line.contains("WARN") && line.contains("trunk.other.max_calls"), "{line}");
    // nobody is asked there for the call to it, which goes on to the next route
    let mut pbx = Party::new(PBX, &ports);
    let sdp = pbx.sdp();
    let invite = pbx.request("INVITE", "UDP", None, &sdp).replace("sip:echo@", "sip:600@");
    let answer = pbx.ask(&invite).expect("an answer");
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    // and with its call over there is a place again
    let bye = other.request("BYE", "UDP", Some((&call_id, &tag)), "");
    assert_eq!(other.status(&bye), 200);
    other.call();
}
