//! The program under attack: real sockets on the loopback, the real binary where its process is attacked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::json;
use sipedge::base::Section;
use sipedge::http::HttpConfig;
use sipedge::http::io::HttpServer;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
    assert_eq!(silent.iter().filter(|s| is_open(s)).count(), 64);
    assert!(!is_answered(connect("127.0.0.2", address)));
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
        let file = std::env::temp_dir().join(format!("sipedge-{name}-{}.toml", std::process::id()));
        let text = format!(
            "[http]\nlisten = \"127.0.0.1:{}\"\n[sip]\nlisten = [\"127.0.0.1:{}\"]\n[media]\nwebrtc_port = {}\n\
             workers = 1\naddresses = [\"127.0.0.1\"]\n[ice]\nloopback = true\n",
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
        let line = program.reads_until(key);
        assert!(line.contains(&address) && line.contains("choose another port"), "{line}");
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
