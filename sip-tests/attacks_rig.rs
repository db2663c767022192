//! The program under attack, and who speaks SIP and RTP with it: real sockets on the loopback.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A connection from one of the addresses of the loopback network.
pub(crate) fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.into()
}

pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) stderr: BufReader<std::process::ChildStderr>,
}

/// Ports that are free now.
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) sip: u16,
    pub(crate) webrtc: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        let udp = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { http, sip: udp(), webrtc: udp() }
    }
}

impl Program {
    pub(crate) fn start(name: &str, ports: &Ports) -> Self {
        Self::start_with(name, ports, "")
    }

    pub(crate) fn start_with(name: &str, ports: &Ports, more: &str) -> Self {
        Self::start_with_media(name, ports, &format!("[ice]\nloopback = true\n{more}"))
    }

    /// The same with more in the table of media, and what follows it.
    pub(crate) fn start_with_media(name: &str, ports: &Ports, more: &str) -> Self {
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

    pub(crate) fn reads_until(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended before it said {word}");
            if line.contains(word) {
                return line;
            }
        }
    }

    pub(crate) fn bytes_resident(&self) -> usize {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    }

    pub(crate) fn signal(&self, name: &str) {
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

/// The trunk's address, and one that nobody knows.
pub(crate) const PBX: &str = "127.0.0.2";
pub(crate) const STRANGER: &str = "127.0.0.9";
/// How long an answer may take, on a machine with other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(8);
/// A request is sent again after this, as by T1 (RFC 3261 §17.1.1.1): a flood may fill the kernel's buffer.
pub(crate) const REPEAT: Duration = Duration::from_millis(500);

/// A PBX known by its address, whose calls are echoed.
pub(crate) fn with_a_trunk(name: &str, ports: &Ports) -> Program {
    with_a_trunk_at(PBX, name, ports)
}

pub(crate) fn with_a_trunk_at(host: &str, name: &str, ports: &Ports) -> Program {
    let more = format!(
        "[local]\nenabled = true\n[trunk.pbx]\nhost = \"{host}\"\nqualify = \"off\"\n\
         [[route]]\nnumber = \"echo\"\nto = \"local.echo\"\n"
    );
    let mut program = Program::start_with(name, ports, &more);
    program.reads_until("sipedge is ready");
    program
}

/// Somebody who speaks SIP and RTP.
pub(crate) struct Party {
    pub(crate) sip: UdpSocket,
    pub(crate) rtp: UdpSocket,
    pub(crate) to: SocketAddr,
    pub(crate) next: u32,
    /// Of the next RTP packet.
    pub(crate) sequence: u16,
}

impl Party {
    pub(crate) fn new(from: &str, ports: &Ports) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((from, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket
        };
        Self { sip: socket(), rtp: socket(), to: ([127, 0, 0, 1], ports.sip).into(), next: 0, sequence: 0 }
    }

    /// A request of no dialog, or of one whose Call-ID and To tag are given.
    pub(crate) fn request(
        &mut self,
        method: &str,
        transport: &str,
        dialog: Option<(&str, &str)>,
        sdp: &str,
    ) -> String {
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

    pub(crate) fn sdp(&self) -> String {
        let rtp = self.rtp.local_addr().unwrap();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n",
            rtp.port(),
            ip = rtp.ip()
        )
    }

    /// The final response to a request.
    pub(crate) fn ask(&self, request: &str) -> Option<String> {
        let mut repeat = Instant::now();
        self.ask_as(request, |now| {
            let is_due = now >= repeat;
            repeat += if is_due { REPEAT } else { Duration::ZERO };
            is_due
        })
    }

    /// The same, sent whenever it is due.
    pub(crate) fn ask_as(&self, request: &str, mut is_due: impl FnMut(Instant) -> bool) -> Option<String> {
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

    pub(crate) fn status(&self, request: &str) -> u16 {
        self.ask(request).map_or(0, |answer| answer[8..11].parse().unwrap())
    }

    /// A call that is up: its Call-ID, our tag of it, and where it hears.
    pub(crate) fn call(&mut self) -> (String, String, SocketAddr) {
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
    pub(crate) fn echoes(&mut self, to: SocketAddr) -> usize {
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

pub(crate) fn header<'a>(message: &'a str, name: &str) -> &'a str {
    message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}

/// Two PBXs known by their addresses, whose calls are echoed.
pub(crate) fn with_two_trunks(name: &str, ports: &Ports, more: &str) -> Program {
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
pub(crate) const OTHER: &str = "127.0.0.3";
