//! One association of ours, a second stack (str0m) and a virtual network between them, on tokio's paused clock.

use crate::vnet::{Datagram, VirtualNet, Weather};
use sipedge::base::{Path, Secret, Seed};
use sipedge::peer::{
    Certificate, DatagramSink, DtlsRole, Fingerprint, IceCredentials, IceRole, LocalParameters, PeerEvent,
    PeerHandle, PeerInput, RemoteParameters, SrtpKeys, SrtpProfile, spawn, spawn_lite,
};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use str0m::config::DtlsVersion;
use str0m::ice::IceCreds;
use str0m::media::MediaKind;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc};
use stun::attributes::{ATTR_PRIORITY, ATTR_USERNAME};
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::{BINDING_REQUEST, Message, Setter};
use stun::textattrs::TextAttribute;
use tokio::sync::mpsc;

pub(crate) const OURS_V4: &str = "10.0.0.1:7000";
pub(crate) const OURS_V6: &str = "[fd00::1]:7000";
pub(crate) const THEIRS_V4: &str = "10.0.0.2:5000";
pub(crate) const THEIRS_V6: &str = "[fd00::2]:5000";

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The time of tokio's clock.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

struct ToNet(mpsc::UnboundedSender<(Path, Vec<u8>)>);

impl DatagramSink for ToNet {
    fn send(&self, path: Path, bytes: &[u8]) {
        let _ = self.0.send((path, bytes.to_vec()));
    }
}

/// How the two sides meet.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Our DTLS role.
    pub(crate) dtls: DtlsRole,
    /// Our ICE role.
    pub(crate) ice: IceRole,
    /// Our profiles.
    pub(crate) profiles: Vec<SrtpProfile>,
    /// Our sockets.
    pub(crate) ours: Vec<SocketAddr>,
    /// Their sockets.
    pub(crate) theirs: Vec<SocketAddr>,
    /// Whether we are told their candidates.
    pub(crate) told_candidates: bool,
    /// A wrong fingerprint is announced for them.
    pub(crate) lies: bool,
    /// They are ice-lite.
    pub(crate) is_lite: bool,
    /// We are.
    pub(crate) are_we_lite: bool,
    /// The network.
    pub(crate) weather: Weather,
    /// Randomness of network and core.
    pub(crate) seed: u64,
    /// Time between their knowledge and ours (their checks come first).
    pub(crate) answer_after: Duration,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self {
            dtls: DtlsRole::Client,
            ice: IceRole::Controlled,
            profiles: vec![
                SrtpProfile::AeadAes128Gcm,
                SrtpProfile::AesCm128HmacSha1_80,
                SrtpProfile::AeadAes256Gcm,
            ],
            ours: vec![addr(OURS_V4)],
            theirs: vec![addr(THEIRS_V4)],
            told_candidates: true,
            lies: false,
            is_lite: false,
            are_we_lite: false,
            weather: Weather::FINE,
            seed: 1,
            answer_after: Duration::ZERO,
        }
    }
}

pub(crate) fn certificate() -> Arc<Certificate> {
    static CERTIFICATE: OnceLock<Arc<Certificate>> = OnceLock::new();
    Arc::clone(CERTIFICATE.get_or_init(|| Arc::new(Certificate::generate().unwrap())))
}

/// Our side with this ufrag and the password `passwordpasswordpassword`.
pub(crate) fn local_parameters(setup: &Setup, ufrag: &str) -> LocalParameters {
    LocalParameters {
        credentials: IceCredentials { ufrag: ufrag.to_owned(), pwd: Secret::new("passwordpasswordpassword") },
        certificate: certificate(),
        profiles: setup.profiles.clone(),
        addresses: setup.ours.clone(),
        allow_loopback: false,
    }
}

/// A check for [`local_parameters`].
pub(crate) fn check_for(ufrag: &str) -> Vec<u8> {
    let mut made = Message::new();
    made.build(&[
        Box::new(BINDING_REQUEST),
        Box::new(stun::agent::TransactionId([3; 12])),
        Box::new(TextAttribute::new(ATTR_USERNAME, format!("{ufrag}:them"))),
        Box::new(MessageIntegrity::new_short_term_integrity("passwordpasswordpassword".to_owned())),
        Box::new(FINGERPRINT),
    ])
    .unwrap();
    made.raw
}

pub(crate) struct World {
    pub(crate) handle: PeerHandle,
    pub(crate) events: Vec<(Instant, PeerEvent)>,
    pub(crate) net: VirtualNet,
    pub(crate) rtc: Rtc,
    pub(crate) rtp: Vec<Vec<u8>>,
    pub(crate) rtp_from_them: Vec<Vec<u8>>,
    pub(crate) sent_by_us: Vec<(Instant, Datagram)>,
    pub(crate) started: Instant,
    pub(crate) rtc_is_connected: bool,
    /// Datagrams their stack does not take (media of ours it must not see, say).
    pub(crate) rtc_is_dead: bool,
    /// Replaces their address on the way to us, and back (a NAT that moved).
    pub(crate) rewrite: Option<(SocketAddr, SocketAddr)>,
    events_rx: mpsc::Receiver<PeerEvent>,
    sent_rx: mpsc::UnboundedReceiver<(Path, Vec<u8>)>,
    remote: Option<(Instant, Box<RemoteParameters>)>,
    rtc_at: Option<Instant>,
    their_password: String,
}

pub(crate) const SSRC_THEIRS: u32 = 0x1111;
pub(crate) const SSRC_OURS: u32 = 0x2222;

impl World {
    pub(crate) fn new(setup: &Setup) -> Self {
        let started = now();
        let mut seed = Seed::from_number(setup.seed);
        let credentials = IceCredentials { ufrag: seed.token(8), pwd: Secret::new(seed.token(24)) };
        let mut rtc = Rtc::builder()
            .set_rtp_mode(true)
            .set_ice_lite(setup.is_lite)
            .set_dtls_version(DtlsVersion::Dtls12)
            .build(started);
        for theirs in &setup.theirs {
            rtc.add_local_candidate(Candidate::host(*theirs, "udp").unwrap()).unwrap();
        }
        for ours in &setup.ours {
            rtc.add_remote_candidate(Candidate::host(*ours, "udp").unwrap());
        }
        let mut api = rtc.direct_api();
        let their_creds = api.local_ice_credentials();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(&api.local_dtls_fingerprint().bytes);
        if setup.lies {
            fingerprint[0] ^= 1;
        }
        api.set_remote_ice_credentials(IceCreds {
            ufrag: credentials.ufrag.clone(),
            pass: credentials.pwd.expose().to_owned(),
        });
        api.set_remote_fingerprint(str0m::config::Fingerprint {
            hash_func: "sha-256".to_owned(),
            bytes: certificate().fingerprint().0.to_vec(),
        });
        api.set_ice_controlling(setup.ice == IceRole::Controlled);
        api.start_dtls(setup.dtls == DtlsRole::Server).unwrap();
        let mid = "aud".into();
        api.declare_media(mid, MediaKind::Audio);
        api.declare_stream_tx(SSRC_THEIRS.into(), None, mid, None);
        api.expect_stream_rx(SSRC_OURS.into(), None, mid, None);

        let (sent, sent_rx) = mpsc::unbounded_channel();
        let (events, events_rx) = mpsc::channel(32);
        let local = LocalParameters { credentials, ..local_parameters(setup, "") };
        let their_password = their_creds.pass.clone();
        let remote = RemoteParameters {
            credentials: IceCredentials { ufrag: their_creds.ufrag, pwd: Secret::new(their_creds.pass) },
            fingerprints: vec![Fingerprint(fingerprint)],
            is_lite: setup.is_lite,
            candidates: if setup.told_candidates { setup.theirs.clone() } else { Vec::new() },
            dtls_role: setup.dtls,
            ice_role: setup.ice,
        };
        Self {
            handle: if setup.are_we_lite {
                spawn_lite(local, Arc::new(ToNet(sent)), events)
            } else {
                spawn(local, Arc::new(ToNet(sent)), events, seed.fork())
            },
            events: Vec::new(),
            net: VirtualNet::new(setup.weather, setup.seed),
            rtc,
            rtp: Vec::new(),
            rtp_from_them: Vec::new(),
            sent_by_us: Vec::new(),
            started,
            rtc_is_connected: false,
            rtc_is_dead: false,
            rewrite: None,
            events_rx,
            sent_rx,
            remote: Some((started + setup.answer_after, Box::new(remote))),
            rtc_at: None,
            their_password,
        }
    }

    /// Runs until the condition holds, at most for a time; whether it held.
    pub(crate) async fn run(&mut self, limit: Duration, mut until: impl FnMut(&Self) -> bool) -> bool {
        let end = now() + limit;
        loop {
            self.step();
            if until(self) {
                return true;
            }
            let now = now();
            if now >= end {
                return false;
            }
            let answer_at = self.remote.as_ref().map(|(at, _)| *at);
            let rtc_at = self.rtc_at.filter(|_| !self.rtc_is_dead);
            let wake = [self.net.next(), rtc_at, answer_at].into_iter().flatten().min();
            let wake = wake.map_or(end, |w| w.min(end)).max(now);
            tokio::select! {
                biased;
                Some((path, bytes)) = self.sent_rx.recv() => self.on_sent(path, bytes),
                Some(event) = self.events_rx.recv() => self.events.push((now_of_clock(), event)),
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn on_sent(&mut self, path: Path, bytes: Vec<u8>) {
        let mut datagram = Datagram { from: path.local, to: path.remote, bytes };
        self.sent_by_us.push((now(), datagram.clone()));
        if let Some((inside, outside)) = self.rewrite {
            if datagram.to == outside {
                datagram.to = inside;
            } else if datagram.to == inside {
                return;
            }
        }
        self.net.send(now(), datagram);
    }

    fn step(&mut self) {
        let now = now();
        if self.remote.as_ref().is_some_and(|(at, _)| now >= *at) {
            let (_, remote) = self.remote.take().unwrap();
            self.handle.input(PeerInput::Remote(remote)).unwrap();
        }
        while let Ok((path, bytes)) = self.sent_rx.try_recv() {
            self.on_sent(path, bytes);
        }
        while let Ok(event) = self.events_rx.try_recv() {
            self.events.push((now, event));
        }
        while let Some(Datagram { from, to, bytes }) = self.net.poll(now) {
            if to.ip() == addr(OURS_V4).ip() || to.ip() == addr(OURS_V6).ip() {
                self.deliver_to_us(Path { local: to, remote: from }, bytes);
            } else if !self.rtc_is_dead
                && let bytes = with_priority(bytes, &self.their_password)
                && let Ok(receive) = Receive::new(Protocol::Udp, from, to, &bytes)
            {
                let taken = self.rtc.handle_input(Input::Receive(now, receive));
                self.after_rtc(now, taken);
            }
        }
        if !self.rtc_is_dead && self.rtc_at.is_none_or(|at| now >= at) {
            let taken = self.rtc.handle_input(Input::Timeout(now));
            self.after_rtc(now, taken);
        }
    }

    fn deliver_to_us(&mut self, path: Path, bytes: Vec<u8>) {
        match bytes.first() {
            // RTCP: payload types 64 to 95 in the second byte (RFC 5761 §4)
            Some(128..=191) if matches!(bytes.get(1).map(|b| b & 0x7f), Some(64..=95)) => {}
            Some(128..=191) => self.rtp.push(bytes),
            _ => {
                let _ = self.handle.input(PeerInput::Datagram { path, bytes });
            }
        }
    }

    /// An error is the end of their side, with a reason to show when a test fails.
    fn after_rtc(&mut self, now: Instant, taken: Result<(), str0m::RtcError>) {
        if let Err(error) = taken.and_then(|()| self.drain_rtc(now)) {
            println!("their side ended: {error}");
            self.rtc_is_dead = true;
        }
        self.rtc_is_dead |= !self.rtc.is_alive();
    }

    fn drain_rtc(&mut self, now: Instant) -> Result<(), str0m::RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    // a machine that wants to run again at once would stop the clock
                    self.rtc_at = Some(at.max(now + Duration::from_micros(100)));
                    return Ok(());
                }
                Output::Transmit(t) => {
                    let mut from = t.source;
                    if let Some((inside, outside)) = self.rewrite
                        && from == inside
                    {
                        from = outside;
                    }
                    self.net.send(now, Datagram { from, to: t.destination, bytes: t.contents.to_vec() });
                }
                Output::Event(Event::Connected) => self.rtc_is_connected = true,
                Output::Event(Event::RtpPacket(packet)) => self.rtp_from_them.push(packet.payload.to_vec()),
                Output::Event(_) => {}
            }
        }
    }

    pub(crate) fn keys(&self) -> Option<&SrtpKeys> {
        self.events.iter().find_map(|(_, e)| match e {
            PeerEvent::Connected(keys) => Some(keys),
            _ => None,
        })
    }

    pub(crate) fn connected_after(&self) -> Option<Duration> {
        self.events
            .iter()
            .find(|(_, e)| matches!(e, PeerEvent::Connected(_)))
            .map(|(at, _)| *at - self.started)
    }

    pub(crate) fn selected(&self) -> Option<Path> {
        self.events.iter().rev().find_map(|(_, e)| match e {
            PeerEvent::Selected(path) => Some(*path),
            _ => None,
        })
    }

    /// Runs until both sides are up.
    pub(crate) async fn connect(&mut self, limit: Duration) -> bool {
        self.run(limit, |w| w.keys().is_some() && w.rtc_is_connected).await
    }

    /// Both sides take new credentials.
    pub(crate) fn restart(&mut self, ice_role: IceRole) {
        let ours = IceCredentials { ufrag: "ours2".to_owned(), pwd: Secret::new("x".repeat(24)) };
        let theirs = IceCreds { ufrag: "them2".to_owned(), pass: "y".repeat(24) };
        self.their_password.clone_from(&theirs.pass);
        let remote = RemoteParameters {
            credentials: IceCredentials {
                ufrag: theirs.ufrag.clone(),
                pwd: Secret::new(theirs.pass.clone()),
            },
            fingerprints: Vec::new(),
            is_lite: false,
            candidates: vec![addr(THEIRS_V4)],
            dtls_role: DtlsRole::Client,
            ice_role,
        };
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(theirs);
        let creds = IceCreds { ufrag: ours.ufrag.clone(), pass: ours.pwd.expose().to_owned() };
        api.set_remote_ice_credentials(creds);
        self.handle.input(PeerInput::Restart { local: ours, remote: Box::new(remote) }).unwrap();
    }

    /// Hands a datagram to us as if it came from the network.
    pub(crate) fn inject(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        let path = Path { local: addr(OURS_V4), remote: from };
        self.handle.input(PeerInput::Datagram { path, bytes }).unwrap();
    }
}

/// str0m takes no request without PRIORITY; a consent request has none (RFC 7675 §5.1 wants a Binding request,
/// browsers take it as it is), so it gets one here and is signed anew.
fn with_priority(bytes: Vec<u8>, password: &str) -> Vec<u8> {
    struct Priority;
    impl Setter for Priority {
        fn add_to(&self, m: &mut Message) -> Result<(), stun::Error> {
            m.add(ATTR_PRIORITY, &[0x6e, 0, 1, 0xff]);
            Ok(())
        }
    }
    let mut given = Message { raw: bytes.clone(), ..Message::default() };
    if given.decode().is_err() || given.typ != BINDING_REQUEST || given.contains(ATTR_PRIORITY) {
        return bytes;
    }
    let name = TextAttribute::get_from_as(&given, ATTR_USERNAME).unwrap();
    let mut made = Message::new();
    made.build(&[
        Box::new(BINDING_REQUEST),
        Box::new(given.transaction_id),
        Box::new(name),
        Box::new(Priority),
        Box::new(MessageIntegrity::new_short_term_integrity(password.to_owned())),
        Box::new(FINGERPRINT),
    ])
    .unwrap();
    made.raw
}

fn now_of_clock() -> Instant {
    now()
}
