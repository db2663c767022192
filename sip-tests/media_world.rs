//! Both far sides of a call on loopback, for the tests of the media engine: a second WebRTC stack (str0m) as the
//! browser, bare sockets as the PBX, and the engine between them as a call uses it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what cannot be had ends it; each user takes what it needs"
)]

use sipedge::base::{CallId, LegId, Section, Seed};
use sipedge::call::port::{
    Codec, Encryption, HoldMusic, MediaCommand, MediaEngine, MediaEvent, MediaPort, MediaProfile,
};
use sipedge::media::packet::RtpHeader;
use sipedge::media::{Engine, MediaConfig};
use sipedge::peer::Certificate;
use sipedge::sdp::SessionDescription;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::sync::mpsc;

pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(crate) const LOCAL_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
pub(crate) const BROWSER: LegId = LegId(1);
pub(crate) const PBX: LegId = LegId(2);
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a browser heard: SSRC, sequence number, payload.
pub(crate) type Heard = (u32, u16, Vec<u8>);

enum Order {
    Answer(SessionDescription),
    Restart(std_mpsc::Sender<SessionDescription>),
    /// Its letter changes.
    Say(u8),
}

/// A browser: offers PCMU, PCMA and Opus, and sends a packet of its letter every 20 ms once it may.
pub(crate) struct Browser {
    pub(crate) offer: SessionDescription,
    pub(crate) heard: std_mpsc::Receiver<Heard>,
    orders: Option<std_mpsc::Sender<Order>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Browser {
    pub(crate) fn start(letter: u8) -> Self {
        Self::start_at(LOCAL, letter)
    }

    pub(crate) fn start_at(ip: IpAddr, letter: u8) -> Self {
        Self::start_as(ip, letter, false)
    }

    /// One whose ICE agent is lite, or not.
    pub(crate) fn start_as(ip: IpAddr, letter: u8, is_lite: bool) -> Self {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .set_rtp_mode(true)
            .set_ice_lite(is_lite)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let offer = SessionDescription::parse(&offer.to_sdp_string()).unwrap();
        let (orders, queue) = std_mpsc::channel();
        let (hears, heard) = std_mpsc::channel();
        let stack = Stack {
            rtc,
            mid,
            sockets: vec![socket],
            pending: Some(pending),
            is_restarting: false,
            payload_type: 0,
            letter,
            is_connected: false,
            next: Instant::now(),
            sequence: 65_500,
            hears,
        };
        let thread = std::thread::spawn(move || stack.run(&queue));
        Self { orders: Some(orders), offer, heard, thread: Some(thread) }
    }

    fn order(&self, order: Order) {
        self.orders.as_ref().unwrap().send(order).unwrap();
    }

    pub(crate) fn accept(&self, answer: SessionDescription) {
        self.order(Order::Answer(answer));
    }

    pub(crate) fn say(&self, letter: u8) {
        self.order(Order::Say(letter));
    }

    /// A second offer of the same connection: new ufrag and password, and another port.
    pub(crate) fn restart(&self) -> SessionDescription {
        let (sender, offer) = std_mpsc::channel();
        self.order(Order::Restart(sender));
        offer.recv_timeout(PATIENCE).unwrap()
    }

    /// Waits until it hears a payload of this byte; answers SSRC and sequence number.
    pub(crate) fn hear(&self, byte: u8) -> (u32, u16) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok((ssrc, sequence, payload)) = self.heard.recv_timeout(Duration::from_millis(100))
                && payload == vec![byte; 160]
            {
                return (ssrc, sequence);
            }
        }
        panic!("the browser never heard {byte:#x}");
    }

    /// Waits for silence, which then lasts for so many packets.
    pub(crate) fn hear_silence(&self, packets: usize) {
        self.hear(0xff);
        for _ in 0..packets {
            let (_, _, payload) = self.heard.recv_timeout(PATIENCE).expect("packets that keep it alive");
            assert_eq!(payload, [0xff; 160]);
        }
    }

    /// Waits until it hears something that was made and not relayed.
    pub(crate) fn hear_sound(&self) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Ok((_, _, payload)) = self.heard.recv_timeout(Duration::from_millis(100))
                && is_sound(&payload)
            {
                return;
            }
        }
        panic!("the browser never heard a sound");
    }
}

/// Whether a payload is a sound and neither silence nor a test letter: its bytes differ.
fn is_sound(payload: &[u8]) -> bool {
    payload.len() == 160 && payload.windows(2).any(|pair| pair[0] != pair[1])
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// The browser's thread.
struct Stack {
    rtc: Rtc,
    mid: Mid,
    /// The last one is of the newest candidate.
    sockets: Vec<UdpSocket>,
    pending: Option<SdpPendingOffer>,
    is_restarting: bool,
    payload_type: u8,
    letter: u8,
    is_connected: bool,
    next: Instant,
    sequence: u64,
    hears: std_mpsc::Sender<Heard>,
}

impl Stack {
    fn run(mut self, orders: &std_mpsc::Receiver<Order>) {
        loop {
            match orders.try_recv() {
                Ok(order) => self.obey(order),
                Err(std_mpsc::TryRecvError::Disconnected) => return,
                Err(std_mpsc::TryRecvError::Empty) => {}
            }
            while !self.output() {}
            let now = Instant::now();
            if self.is_connected && now >= self.next {
                self.speak(now);
                continue;
            }
            self.receive();
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Say(letter) => self.letter = letter,
            Order::Answer(answer) => {
                self.payload_type = answer.media[0].formats[0].parse().unwrap();
                let answer = SdpAnswer::from_sdp_string(&answer.to_string()).unwrap();
                self.rtc.sdp_api().accept_answer(self.pending.take().unwrap(), answer).unwrap();
                if std::mem::take(&mut self.is_restarting) {
                    // the restart cleared all candidates, the new one too
                    self.add_candidate();
                }
            }
            Order::Restart(reply) => {
                let ip = self.sockets[0].local_addr().unwrap().ip();
                self.sockets.push(UdpSocket::bind((ip, 0)).unwrap());
                self.add_candidate();
                let mut api = self.rtc.sdp_api();
                api.ice_restart(false);
                let (offer, pending) = api.apply().unwrap();
                self.pending = Some(pending);
                self.is_restarting = true;
                reply.send(SessionDescription::parse(&offer.to_sdp_string()).unwrap()).unwrap();
            }
        }
    }

    fn add_candidate(&mut self) {
        let address = self.sockets.last().unwrap().local_addr().unwrap();
        self.rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
    }

    /// One thing that the stack wants; true when it only waits.
    fn output(&mut self) -> bool {
        match self.rtc.poll_output().unwrap() {
            Output::Timeout(_) => return true,
            Output::Transmit(t) => {
                let socket = self.sockets.iter().find(|s| s.local_addr().unwrap() == t.source);
                let _ = socket.map(|s| s.send_to(&t.contents, t.destination));
            }
            Output::Event(Event::Connected) => self.is_connected = true,
            Output::Event(Event::RtpPacket(p)) => {
                let h = &p.header;
                let _ = self.hears.send((*h.ssrc, h.sequence_number, p.payload.to_vec()));
            }
            Output::Event(_) => {}
        }
        false
    }

    fn speak(&mut self, now: Instant) {
        self.next = now + Duration::from_millis(20);
        let time = (self.sequence as u32).wrapping_mul(160);
        let write = RtpWrite::new(
            Pt::from(self.payload_type),
            self.sequence.into(),
            time,
            now,
            vec![self.letter; 160],
        );
        let mut direct = self.rtc.direct_api();
        direct.stream_tx_by_mid(self.mid, None).unwrap().write_rtp(write);
        self.sequence += 1;
    }

    fn receive(&mut self) {
        let mut buffer = [0; 2000];
        let wait = Duration::from_millis(4) / u32::try_from(self.sockets.len()).unwrap();
        for socket in &self.sockets {
            socket.set_read_timeout(Some(wait)).unwrap();
            let destination = socket.local_addr().unwrap();
            if let Ok((n, source)) = socket.recv_from(&mut buffer)
                && let Ok(contents) = buffer[..n].try_into()
            {
                let receive = Receive { proto: Protocol::Udp, source, destination, contents };
                let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
            }
        }
        self.rtc.handle_input(Input::Timeout(Instant::now())).unwrap();
    }
}

/// A PBX: one socket for RTP, one for RTCP.
pub(crate) struct Pbx {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
    pub(crate) seen: Vec<RtpHeader>,
    /// When each of `seen` came.
    pub(crate) times: Vec<Instant>,
    pub(crate) sent: u16,
    pub(crate) ssrc: u32,
}

impl Pbx {
    pub(crate) fn start() -> Self {
        Self::start_at(LOCAL)
    }

    pub(crate) fn start_at(ip: IpAddr) -> Self {
        loop {
            let rtp = UdpSocket::bind((ip, 0)).unwrap();
            let port = rtp.local_addr().unwrap().port();
            if let Some(Ok(rtcp)) = port.checked_add(1).map(|p| UdpSocket::bind((ip, p))) {
                rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                rtcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                return Self { rtp, rtcp, seen: Vec::new(), times: Vec::new(), sent: 0, ssrc: 4711 };
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.rtp.local_addr().unwrap()
    }

    pub(crate) fn description(&self, formats: &str, maps: &str) -> SessionDescription {
        let address = self.address();
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        let (ip, port) = (address.ip(), address.port());
        let text = format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\n{maps}a=ptime:20\r\n"
        );
        SessionDescription::parse(&text).unwrap()
    }

    /// Reads until a payload of this byte comes; every packet's header is kept.
    pub(crate) fn hear(&mut self, byte: u8) {
        assert!(self.hears_within(byte, PATIENCE), "the PBX never heard {byte:#x}");
    }

    /// Waits until it hears something that was made and not relayed.
    pub(crate) fn hear_sound(&mut self) {
        assert!(self.hears(is_sound, PATIENCE), "the PBX never heard a sound");
    }

    /// Where the next packet comes from.
    pub(crate) fn source(&self) -> SocketAddr {
        let mut buffer = [0; 2000];
        let mut packets = (0..50).filter_map(|_| self.rtp.recv_from(&mut buffer).ok());
        packets.next().expect("the PBX hears something").1
    }

    /// Whether a payload of this byte comes in that time.
    pub(crate) fn hears_within(&mut self, byte: u8, time: Duration) -> bool {
        self.hears(|payload| payload == [byte; 160], time)
    }

    fn hears(&mut self, is_it: impl Fn(&[u8]) -> bool, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut buffer = [0; 2000];
        while Instant::now() < until {
            if let Ok(n) = self.rtp.recv(&mut buffer) {
                self.seen.push(RtpHeader::parse(&buffer[..n]).unwrap());
                self.times.push(Instant::now());
                if is_it(&buffer[12..n]) {
                    return true;
                }
            }
        }
        false
    }

    pub(crate) fn say(&mut self, to: u16, byte: u8) {
        self.say_as(to, byte, 0);
    }

    pub(crate) fn say_as(&mut self, to: u16, byte: u8, payload_type: u8) {
        let header = RtpHeader {
            is_marked: false,
            payload_type,
            sequence: self.sent,
            timestamp: u32::from(self.sent) * 160,
            ssrc: self.ssrc,
            header_len: 12,
            is_padded: false,
        };
        self.sent += 1;
        let bytes = [&header.to_fixed()[..], &[byte; 160]].concat();
        self.rtp.send_to(&bytes, (self.address().ip(), to)).unwrap();
    }
}

/// The engine with one call.
pub(crate) struct Call {
    pub(crate) engine: Engine,
    pub(crate) port: Box<dyn MediaPort>,
    pub(crate) events: mpsc::Receiver<MediaEvent>,
}

/// A configuration on these addresses, with more keys of `[media]`.
pub(crate) fn config(addresses: &[IpAddr], rtp_ports: &str, more: serde_json::Value) -> MediaConfig {
    config_with_ice(addresses, rtp_ports, more, serde_json::json!({ "loopback": true }))
}

/// The same with this table `[ice]`.
pub(crate) fn config_with_ice(
    addresses: &[IpAddr],
    rtp_ports: &str,
    more: serde_json::Value,
    ice: serde_json::Value,
) -> MediaConfig {
    let free = UdpSocket::bind((addresses[0], 0)).unwrap().local_addr().unwrap().port();
    let mut media = serde_json::json!({
        "webrtc_port": free, "workers": 1, "addresses": addresses, "rtp_ports": rtp_ports
    });
    if let (Some(media), serde_json::Value::Object(more)) = (media.as_object_mut(), more) {
        media.extend(more);
    }
    let section = |name: &str, value| Section::new(name, "test", value);
    MediaConfig::from_sections(
        &section("media", media),
        &section("ice", ice),
        &section("srtp", serde_json::json!({})),
    )
    .unwrap()
}

pub(crate) fn call(rtp_ports: &str) -> Call {
    call_with(config(&[LOCAL], rtp_ports, serde_json::json!({})))
}

pub(crate) fn call_with(config: MediaConfig) -> Call {
    let certificate = Arc::new(Certificate::generate().unwrap());
    let engine = Engine::start(config, certificate, Seed::from_number(1)).unwrap();
    let (sender, events) = mpsc::channel(8);
    let port = engine.open(CallId::from_bits(1), sender).unwrap();
    Call { engine, port, events }
}

pub(crate) fn plain(codecs: &[Codec]) -> MediaProfile {
    MediaProfile::Rtp {
        codecs: codecs.to_vec(),
        towards: LOCAL,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: false,
        encryption: Encryption::Off,
        is_avpf: false,
        hold_music: HoldMusic::Silence,
    }
}

impl Call {
    pub(crate) async fn next(&mut self) -> MediaEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Offers to the PBX and takes its answer; answers our RTP port.
    pub(crate) async fn set_up_pbx(&mut self, pbx: &Pbx) -> u16 {
        let towards = pbx.address().ip();
        let profile = MediaProfile::Rtp {
            codecs: vec![Codec::Pcmu],
            towards,
            external: Default::default(),
            own_address: Default::default(),
            is_symmetric: false,
            encryption: Encryption::Off,
            is_avpf: false,
            hold_music: HoldMusic::Silence,
        };
        self.set_up_leg(PBX, pbx, profile).await
    }

    pub(crate) async fn set_up_leg(&mut self, leg: LegId, pbx: &Pbx, profile: MediaProfile) -> u16 {
        self.port.command(MediaCommand::CreateOffer { leg, profile });
        let MediaEvent::Offer { leg: offered, sdp } = self.next().await else { panic!() };
        assert_eq!(offered, leg);
        assert_eq!(sdp.media[0].protocol, "RTP/AVP");
        assert_eq!(sdp.media[0].formats, ["0", "101"]);
        let answer = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\n");
        self.port.command(MediaCommand::AcceptAnswer { leg, sdp: Box::new(answer) });
        let event = self.next().await;
        let MediaEvent::Connected { leg: connected, codec: Codec::Pcmu } = event else { panic!("{event:?}") };
        assert_eq!(connected, leg);
        sdp.media[0].port
    }

    /// Our answer to an offer of the browser's leg.
    pub(crate) async fn answer_to(&mut self, offer: &SessionDescription) -> SessionDescription {
        let sdp = Box::new(offer.clone());
        let profile = MediaProfile::WebRtc;
        self.port.command(MediaCommand::AcceptOffer { leg: BROWSER, profile, sdp });
        let event = self.next().await;
        let MediaEvent::Answer { leg: BROWSER, sdp } = event else { panic!("{event:?}") };
        *sdp
    }

    /// Offer and answer with a browser; answers the answer.
    pub(crate) async fn attach(&mut self, browser: &Browser) -> SessionDescription {
        let answer = self.answer_to(&browser.offer).await;
        browser.accept(answer.clone());
        let event = self.next().await;
        assert!(matches!(event, MediaEvent::Connected { leg: BROWSER, codec: Codec::Pcmu }), "{event:?}");
        answer
    }

    /// After the call, nothing is left but sockets at rest.
    pub(crate) async fn end(self) {
        drop(self.port);
        let until = Instant::now() + PATIENCE;
        loop {
            let counts = self.engine.counts();
            if (counts.calls, counts.tasks, counts.streams, counts.ports) == (0, 0, 0, 0) {
                break;
            }
            assert!(Instant::now() < until, "{counts:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(self.engine.is_healthy());
        self.engine.stop();
    }
}
