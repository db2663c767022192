//! The program under attack: real sockets on the loopback, the real binary where its process is attacked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;
use sipedge::base::Section;
use sipedge::http::HttpConfig;
use sipedge::http::io::HttpServer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[path = "attacks_rig.rs"]
mod rig;

use rig::{
    OTHER, PBX, Party, Ports, Program, REPEAT, SOON, STRANGER, connect, header, with_a_trunk,
    with_a_trunk_at, with_two_trunks,
};

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

/// The first line that answers an OPTIONS by this connection.
fn options_by(stream: &mut TcpStream, ports: &Ports) -> Option<String> {
    let request = Party::new(STRANGER, ports).request("OPTIONS", "TCP", None, "");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = [0; 2_048];
    let length = stream.read(&mut answer).ok()?;
    String::from_utf8_lossy(&answer[..length]).lines().next().map(str::to_owned)
}

#[test]
fn silent_sip_connections_of_many_addresses_keep_no_new_pbx_out_and_what_a_known_one_holds_stays() {
    rlimit::increase_nofile_limit(8_192).unwrap();
    let ports = Ports::free();
    let mut program = with_a_trunk("silent-many", &ports);
    let sip = SocketAddr::from(([127, 0, 0, 1], ports.sip));
    let ok = Some("SIP/2.0 200 OK".to_owned());
    // the oldest of all: one that the trunk holds, and one that a stranger has said something by
    let mut known = connect(PBX, sip);
    let mut spoken = connect("127.0.7.1", sip);
    assert_eq!(options_by(&mut spoken, &ports), ok);
    let silent: Vec<TcpStream> = (0..12)
        .flat_map(|n| std::iter::repeat_n(n, 64))
        .map(|n| connect(&format!("127.0.5.{}", n + 1), sip))
        .collect();
    for n in 1..=50 {
        let mut pbx = connect(&format!("127.0.6.{n}"), sip);
        assert_eq!(options_by(&mut pbx, &ports), ok, "new PBX {n}");
    }
    // who shares the address of one that holds as many as it may
    let mut neighbours: Vec<TcpStream> = (0..64).map(|_| connect("127.0.5.1", sip)).collect();
    assert_eq!(options_by(neighbours.last_mut().unwrap(), &ports), ok);
    assert_eq!(options_by(&mut known, &ports), ok);
    assert_eq!(options_by(&mut spoken, &ports), ok);
    let line = program.reads_until("for want of a place");
    assert!(line.contains("WARN") && line.contains("others made room for new ones"), "{line}");
    drop(silent);
}

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
fn calls_in_a_trunks_name_that_are_refused_before_they_start_are_told_one_by_one_until_they_are_a_flood() {
    let ports = Ports::free();
    let mut program = with_a_trunk("unstarted", &ports);
    let mut pbx = Party::new(PBX, &ports);
    let begin = Instant::now();
    for _ in 0..150 {
        let invite = pbx.request("INVITE", "UDP", None, "no session description");
        assert!((400..500).contains(&pbx.status(&invite)));
    }
    let seconds = usize::try_from(begin.elapsed().as_secs()).unwrap();
    program.signal("TERM");
    let mut log = String::new();
    program.stderr.read_to_string(&mut log).unwrap();
    let lines = |words: &str| log.lines().filter(|l| l.contains("WARN") && l.contains(words)).count();
    let in_full = lines("a call is refused before it starts");
    assert!(in_full >= 10 && in_full <= 10 * (seconds + 2).min(14), "{in_full} lines in {seconds} s");
    assert_eq!(lines("more calls of the trunk are refused before they start"), 1, "{log}");
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
