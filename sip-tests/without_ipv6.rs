//! The program on a machine whose kernel has no IPv6 (`ipv6.disable=1`): a filter of system calls gives it the kernel's answer to
//! whoever wants such a socket. The machine's own addresses of IPv6 stay listed, as they do for a service that its unit keeps
//! from them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![expect(unsafe_code, reason = "the filter is installed between fork and exec")]
#![expect(clippy::cast_possible_truncation, reason = "the constants of the filter are small")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

/// Answers socket(AF_INET6, …) with EAFNOSUPPORT from now on, in this process and in those that it becomes or starts.
fn without_ipv6() -> std::io::Result<()> {
    const fn step(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    /// The next `skipped` steps are for what equals `k`.
    const fn if_is(k: u32, skipped: u8) -> libc::sock_filter {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        libc::sock_filter { code, jt: 0, jf: skipped, k }
    }
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // the number of the call, and the lower half of its first argument
    let arguments = if cfg!(target_endian = "little") { 16 } else { 20 };
    let mut steps = [
        step(LOAD, 0),
        if_is(libc::SYS_socket as u32, 3),
        step(LOAD, arguments),
        if_is(libc::AF_INET6 as u32, 1),
        step(RETURN, libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which lives as long as the call
    let is_done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if is_done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Sipedge with a configuration of its own.
struct Sipedge {
    child: Child,
    stderr: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Sipedge {
    fn start(name: &str, config: &str, arguments: &[&str]) -> Self {
        let file = std::env::temp_dir().join(format!("sipedge-no-ipv6-{name}-{}.toml", std::process::id()));
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sipedge"));
        command.args(arguments).arg("--config").arg(&file);
        command.env("SIPEDGE_LOG__LEVEL", "debug").stdout(Stdio::null()).stderr(Stdio::piped());
        // SAFETY: what runs there makes system calls alone
        unsafe { command.pre_exec(without_ipv6) };
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, file }
    }

    /// What it says until it says this.
    fn says(&mut self, word: &str) -> String {
        let mut all = String::new();
        while !all.contains(word) {
            assert_ne!(self.stderr.read_line(&mut all).unwrap(), 0, "{word} was not said: {all}");
        }
        all
    }

    /// Its code, and the rest of what it says.
    fn ends(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Sipedge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Ports that nobody has, by TCP and by UDP.
fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    while held.len() < N {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind(tcp.local_addr().unwrap());
        held.extend(udp.ok().map(|udp| (tcp, udp)));
    }
    let port = |n: usize| held[n].1.local_addr().unwrap().port();
    std::array::from_fn(port)
}

/// A PBX of one call.
struct Pbx {
    sip: UdpSocket,
    rtp: UdpSocket,
    edge: SocketAddr,
}

impl Pbx {
    fn new(edge: u16) -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket
        };
        Self { sip: socket(), rtp: socket(), edge: ([127, 0, 0, 1], edge).into() }
    }

    fn request(&self, method: &str, n: u32, to_tag: &str, sdp: &str) {
        let (own, edge) = (self.sip.local_addr().unwrap(), self.edge);
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let sequence = if method == "BYE" { 2 } else { 1 };
        let text = format!(
            "{method} sip:echo@{edge} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK-{n}\r\nMax-Forwards: 70\r\n\
             From: <sip:200@{own}>;tag=a\r\nTo: <sip:echo@{edge}>{to_tag}\r\nCall-ID: one@{own}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:200@{own}>\r\n{kind}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.sip.send_to(text.as_bytes(), self.edge).unwrap();
    }

    /// The final response to the request that was sent.
    fn response(&self) -> String {
        let mut buffer = [0; 4_096];
        loop {
            let (length, from) = self.sip.recv_from(&mut buffer).expect("a response");
            assert_eq!(from, self.edge);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !text.starts_with("SIP/2.0 1") {
                return text;
            }
        }
    }

    /// Calls the echo, hears itself and hangs up.
    fn calls(&self) {
        let media = self.rtp.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {media} RTP/AVP 0\r\n"
        );
        self.request("INVITE", 1, "", &sdp);
        let answer = self.response();
        assert!(answer.starts_with("SIP/2.0 200") && answer.contains("c=IN IP4 127.0.0.1"), "{answer}");
        let tag = answer.lines().find_map(|line| line.strip_prefix("To: ")?.split_once(";tag=")).unwrap().1;
        let tag = format!(";tag={tag}");
        self.request("ACK", 2, &tag, "");
        let port = answer.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        let towards: SocketAddr = ([127, 0, 0, 1], port).into();
        let mut packet = [0x55; 172];
        packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 1, 2, 3, 4]);
        self.rtp.send_to(&packet, towards).unwrap();
        let mut heard = [0; 1_500];
        // what is silence until then is other bytes
        while !heard[12..].starts_with(&packet[12..]) {
            let (_, from) = self.rtp.recv_from(&mut heard).expect("media");
            assert_eq!(from, towards);
        }
        self.request("BYE", 3, &tag, "");
        let answer = self.response();
        assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    }
}

#[test]
fn all_addresses_are_those_of_ipv4_and_calls_are_made_by_them() {
    let [http, sip, tls, media] = free_ports();
    let pbx = Pbx::new(sip);
    let identity = rcgen::generate_simple_self_signed(["sipedge".to_owned()]).unwrap();
    let [certificate, key] =
        [("certificate", identity.cert.pem()), ("key", identity.key_pair.serialize_pem())].map(
            |(name, text)| {
                let file =
                    std::env::temp_dir().join(format!("sipedge-no-ipv6-{}-{name}.pem", std::process::id()));
                std::fs::write(&file, text).unwrap();
                file.display().to_string()
            },
        );
    let config = format!(
        "[http]\nlisten = [\"0.0.0.0:{http}\", \"[::]:{http}\"]\n\
         [sip]\nlisten = [\"0.0.0.0:{sip}\", \"[::]:{sip}\"]\ntls_listen = [\"0.0.0.0:{tls}\", \"[::]:{tls}\"]\n\
         tls_certificate = \"{certificate}\"\ntls_key = \"{key}\"\n\
         [media]\nwebrtc_port = {media}\nworkers = 1\nrtp_ports = \"27700-27799\"\n[ice]\nloopback = true\n[local]\nenabled = true\n\
         [trunk.pbx]\nhost = \"{}\"\nqualify = \"off\"\n\
         [[route]]\nnumber = \"echo\"\nto = \"local.echo\"\n",
        pbx.sip.local_addr().unwrap()
    );
    let mut sipedge = Sipedge::start("all", &config, &[]);
    let said = sipedge.says("sipedge is ready");
    assert_eq!(said.matches("this machine has no IPv6").count(), 3, "{said}");
    [certificate, key].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let mut page = TcpStream::connect(("127.0.0.1", http)).unwrap();
    page.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    TcpStream::connect(("127.0.0.1", sip)).unwrap();
    TcpStream::connect(("127.0.0.1", tls)).unwrap();
    pbx.calls();
    let process = sipedge.child.id().to_string();
    assert!(Command::new("kill").arg(process).status().unwrap().success());
    let (code, said) = sipedge.ends();
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn an_address_that_is_asked_for_by_itself_is_named_with_its_key_and_what_to_write() {
    let [http, sip, media] = free_ports();
    for (key, listens, sips, medias, remedy) in [
        ("http.listen", "[::]", "127.0.0.1", "127.0.0.1", "write 0.0.0.0 in its place"),
        ("sip.listen", "127.0.0.1", "[::1]", "127.0.0.1", "write 127.0.0.1 in its place"),
        ("sip.listen", "127.0.0.1", "[::]", "127.0.0.1", "write 0.0.0.0 in its place"),
        ("media.addresses", "127.0.0.1", "127.0.0.1", "2001:db8::7", "write an IPv4 address of this machine"),
    ] {
        let config = format!(
            "[http]\nlisten = \"{listens}:{http}\"\n[sip]\nlisten = [\"{sips}:{sip}\"]\n\
             [media]\nwebrtc_port = {media}\naddresses = [\"{medias}\"]\n[local]\nenabled = true\n"
        );
        let (code, said) = Sipedge::start(&format!("one-{key}"), &config, &[]).ends();
        let is_told = said.contains(&format!("{key}: this machine has no IPv6")) && said.contains(remedy);
        assert!(code == Some(1) && is_told, "{said}");
    }
}

#[test]
fn the_defaults_are_good_to_start_there() {
    let config = "[trunk.pbx]\nhost = \"pbx.example\"\ninbound = \"off\"\n";
    let (code, said) = Sipedge::start("defaults", config, &["check-config"]).ends();
    assert_eq!(code, Some(0), "{said}");
}
