//! Memory of whole calls: the engine in a process of its own, and in the load browsers that do ICE and DTLS as
//! associations of ours on sockets of their own, with a plain leg that is answered at once.

use super::{LOCAL, Target};
use sipedge::base::{CallId, LegId, Path, Secret, Section, Seed};
use sipedge::call::port::{
    Codec, Encryption, HoldMusic, MediaCommand, MediaEngine, MediaEvent, MediaProfile,
};
use sipedge::media::{Engine, MediaConfig};
use sipedge::peer::{
    Certificate, DatagramSink, DtlsRole, Fingerprint, IceCredentials, IceRole, LocalParameters, PeerEvent,
    PeerHandle, PeerInput, RemoteParameters, SrtpProfile, spawn,
};
use sipedge::sdp::SessionDescription;
use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Calls before the first look, so that what is there once is not counted.
const BEFORE: usize = 20;
const CALLS: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);
const BROWSER: LegId = LegId(1);
const PBX: LegId = LegId(2);

/// Sets the calls up one by one; says what one took.
pub(crate) fn measure() -> String {
    eprintln!("memory, {CALLS} calls");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let certificate = Arc::new(Certificate::generate().unwrap());
        let mut seed = Seed::from_number(7);
        let mut target = Target::start("memory");
        let mut browsers = Vec::new();
        let mut grow = async |count: usize, target: &mut Target| {
            for _ in 0..count {
                browsers.push(attach(target, &certificate, &mut seed).await);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            target.ask("memory")[0].parse::<u64>().unwrap()
        };
        let before = grow(BEFORE, &mut target).await;
        let after = grow(CALLS, &mut target).await;
        let _ = target.ask("stop");
        let _ = target.child.wait();
        let each = after.saturating_sub(before) as f64 / CALLS as f64;
        format!("memory: {each:.1} KiB for a call with a WebRTC and a plain leg ({before} KiB with {BEFORE} calls, {after} KiB with {CALLS} more)")
    })
}

struct Sink(UdpSocket);

impl DatagramSink for Sink {
    fn send(&self, path: Path, bytes: &[u8]) {
        let _ = self.0.send_to(bytes, path.remote);
    }
}

/// A browser that is connected, for as long as it is kept.
async fn attach(
    target: &mut Target,
    certificate: &Arc<Certificate>,
    seed: &mut Seed,
) -> (Arc<PeerHandle>, mpsc::Receiver<PeerEvent>) {
    let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let local = socket.local_addr().unwrap();
    let credentials = IceCredentials { ufrag: seed.token(8), pwd: Secret::new(seed.token(24)) };
    let (sender, mut events) = mpsc::channel(16);
    let parameters = LocalParameters {
        credentials: credentials.clone(),
        certificate: Arc::clone(certificate),
        profiles: vec![SrtpProfile::AesCm128HmacSha1_80],
        addresses: vec![local],
        allow_loopback: true,
    };
    let sink = Arc::new(Sink(socket.try_clone().unwrap()));
    let handle = Arc::new(spawn(parameters, sink, sender, seed.fork()));
    let offer = offer(local, &credentials, certificate.fingerprint(), seed.next_u32());
    let answer = target.ask(&format!("call {}", hex(&offer)));
    let answer = SessionDescription::parse(&unhex(&answer[0])).unwrap();
    let media = &answer.media[0];
    let (ufrag, pwd) = answer.ice_credentials_of(media).unwrap();
    let remote = RemoteParameters {
        credentials: IceCredentials { ufrag: ufrag.to_owned(), pwd: Secret::new(pwd) },
        fingerprints: answer.sha256_fingerprints_of(media).into_iter().map(Fingerprint).collect(),
        is_lite: false,
        candidates: media.candidates().iter().map(|c| SocketAddr::new(c.address.unwrap(), c.port)).collect(),
        dtls_role: DtlsRole::Server,
        ice_role: IceRole::Controlling,
    };
    handle.input(PeerInput::Remote(Box::new(remote))).unwrap();
    let (socket, inlet) = (tokio::net::UdpSocket::from_std(socket).unwrap(), Arc::downgrade(&handle));
    tokio::spawn(async move {
        let mut bytes = [0; 2_000];
        while let Ok((n, from)) = socket.recv_from(&mut bytes).await {
            let Some(inlet) = inlet.upgrade() else { return };
            // media is not for the association
            if bytes[0] < 128 {
                let path = Path { local, remote: from };
                let _ = inlet.input(PeerInput::Datagram { path, bytes: bytes[..n].to_vec() });
            }
        }
    });
    let connected = async { while !matches!(events.recv().await.unwrap(), PeerEvent::Connected(_)) {} };
    tokio::time::timeout(PATIENCE, connected).await.unwrap();
    (handle, events)
}

fn offer(local: SocketAddr, credentials: &IceCredentials, of: Fingerprint, session: u32) -> String {
    let digits: Vec<String> = of.0.iter().map(|b| format!("{b:02X}")).collect();
    let (ip, port) = (local.ip(), local.port());
    [
        "v=0".to_owned(),
        format!("o=- {session} 1 IN IP4 {ip}"),
        "s=-".to_owned(),
        "t=0 0".to_owned(),
        format!("m=audio {port} UDP/TLS/RTP/SAVPF 0"),
        format!("c=IN IP4 {ip}"),
        format!("a=ice-ufrag:{}", credentials.ufrag),
        format!("a=ice-pwd:{}", credentials.pwd.expose()),
        format!("a=fingerprint:sha-256 {}", digits.join(":")),
        "a=setup:actpass".to_owned(),
        "a=mid:0".to_owned(),
        "a=rtcp-mux".to_owned(),
        format!("a=candidate:1 1 udp 2130706431 {ip} {port} typ host"),
        String::new(),
    ]
    .join("\r\n")
}

fn hex(text: &str) -> String {
    text.bytes().map(|b| format!("{b:02x}")).collect()
}

fn unhex(digits: &str) -> String {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    String::from_utf8((0..digits.len()).step_by(2).map(byte).collect()).unwrap()
}

/// Lines of the load: `call OFFER`, `memory`, `stop`.
pub(crate) fn target() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let engine =
        Engine::start(config(), Arc::new(Certificate::generate().unwrap()), Seed::from_number(1)).unwrap();
    // one PBX for all, which never reads: its queue fills, and the kernel drops the rest
    let pbx = UdpSocket::bind((LOCAL, 0)).unwrap();
    let pbx_port = pbx.local_addr().unwrap().port();
    let mut calls = Vec::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match line.split_ascii_whitespace().collect::<Vec<_>>().as_slice() {
            ["call", offer] => {
                let (sender, mut events) = mpsc::channel(8);
                let mut port = engine.open(CallId::from_bits(calls.len() as u128 + 1), sender).unwrap();
                let codecs = vec![Codec::Pcmu];
                let profile = MediaProfile::Rtp {
                    codecs,
                    towards: LOCAL,
                    external: Default::default(),
                    own_address: Default::default(),
                    is_symmetric: false,
                    encryption: Encryption::Off,
                    is_avpf: false,
                    hold_music: HoldMusic::Silence,
                };
                port.command(MediaCommand::CreateOffer { leg: PBX, profile });
                let pbx = format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio {pbx_port} RTP/AVP 0\r\n"
                );
                let sdp = Box::new(SessionDescription::parse(&pbx).unwrap());
                port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp });
                port.command(MediaCommand::Bridge(BROWSER, PBX));
                let sdp = Box::new(SessionDescription::parse(&unhex(offer)).unwrap());
                port.command(MediaCommand::AcceptOffer { leg: BROWSER, profile: MediaProfile::WebRtc, sdp });
                let answer = loop {
                    match events.blocking_recv().unwrap() {
                        MediaEvent::Answer { sdp, .. } => break sdp,
                        MediaEvent::Offer { .. } | MediaEvent::Connected { .. } => {}
                        other => panic!("{other:?}"),
                    }
                };
                println!("{}", hex(&answer.to_string()));
                calls.push((port, events));
            }
            ["memory"] => println!("{}", resident_kib()),
            _ => break,
        }
    }
    println!("over");
    engine.stop();
    drop(pbx);
}

fn config() -> MediaConfig {
    let free = UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
    let media = serde_json::json!({
        "webrtc_port": free, "workers": 1, "addresses": ["127.0.0.1"], "rtp_ports": "42000-43999"
    });
    let section = |name: &str, value| Section::new(name, "bench", value);
    MediaConfig::from_sections(
        &section("media", media),
        &section("ice", serde_json::json!({ "loopback": true })),
        &section("srtp", serde_json::json!({})),
    )
    .unwrap()
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
