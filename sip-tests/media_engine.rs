//! The media engine as a call uses it: a second WebRTC stack (str0m) as the browser, a bare socket as the PBX,
//! all on loopback, every command and event of the contract.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what cannot be had ends it"
)]

use sipedge::base::{CallId, Cause, LegId, Section, Seed};
use sipedge::call::port::{
    Codec, MediaCommand, MediaEngine, MediaEvent, MediaPort, MediaProfile, MediaRefusal,
};
use sipedge::media::packet::RtpHeader;
use sipedge::media::{Engine, MediaConfig};
use sipedge::peer::Certificate;
use sipedge::sdp::SessionDescription;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};
use str0m::change::SdpAnswer;
use str0m::media::{Direction, MediaKind, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};
use tokio::sync::mpsc;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BROWSER: LegId = LegId(1);
const PBX: LegId = LegId(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A browser: offers PCMU, PCMA and Opus, and sends a packet of its letter every 20 ms once it may.
struct Browser {
    answers: Option<std_mpsc::Sender<SessionDescription>>,
    offer: SessionDescription,
    heard: std_mpsc::Receiver<(u32, u16, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Browser {
    fn start(letter: u8) -> Self {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        let address = socket.local_addr().unwrap();
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_pcmu(true, false)
            .enable_pcma(true, false)
            .set_rtp_mode(true)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let offer = SessionDescription::parse(&offer.to_sdp_string()).unwrap();
        let (answers, answer) = std_mpsc::channel::<SessionDescription>();
        let (hears, heard) = std_mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let Ok(answer) = answer.recv_timeout(PATIENCE) else { return };
            let text = answer.to_string();
            let payload_type: u8 = answer.media[0].formats[0].parse().unwrap();
            rtc.sdp_api().accept_answer(pending, SdpAnswer::from_sdp_string(&text).unwrap()).unwrap();
            let mut buffer = [0; 2000];
            let (mut sequence, mut is_connected, mut next) = (65_500_u64, false, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                let timeout = loop {
                    match rtc.poll_output().unwrap() {
                        Output::Timeout(at) => break at,
                        Output::Transmit(t) => drop(socket.send_to(&t.contents, t.destination)),
                        Output::Event(Event::Connected) => is_connected = true,
                        Output::Event(Event::RtpPacket(p)) => {
                            let h = &p.header;
                            let _ = hears.send((*h.ssrc, h.sequence_number, p.payload.to_vec()));
                        }
                        Output::Event(_) => {}
                    }
                };
                let now = Instant::now();
                if is_connected && now >= next {
                    next = now + Duration::from_millis(20);
                    let time = (sequence as u32).wrapping_mul(160);
                    let write =
                        RtpWrite::new(Pt::from(payload_type), sequence.into(), time, now, vec![letter; 160]);
                    let mut direct = rtc.direct_api();
                    direct.stream_tx_by_mid(mid, None).unwrap().write_rtp(write);
                    sequence += 1;
                    continue;
                }
                let wait = timeout
                    .saturating_duration_since(now)
                    .clamp(Duration::from_millis(1), Duration::from_millis(10));
                socket.set_read_timeout(Some(wait)).unwrap();
                match socket.recv_from(&mut buffer) {
                    Ok((n, source)) => {
                        let Ok(contents) = buffer[..n].try_into() else { continue };
                        let receive =
                            Receive { proto: Protocol::Udp, source, destination: address, contents };
                        let _ = rtc.handle_input(Input::Receive(Instant::now(), receive));
                    }
                    Err(_) => rtc.handle_input(Input::Timeout(Instant::now())).unwrap(),
                }
            }
        });
        Self { answers: Some(answers), offer, heard, stop, thread: Some(thread) }
    }

    /// Waits until it hears a payload of this byte; answers SSRC and sequence number.
    fn hear(&self, byte: u8) -> (u32, u16) {
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
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.answers = None;
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// A PBX: one socket for RTP, one for RTCP.
struct Pbx {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    seen: Vec<RtpHeader>,
    sent: u16,
}

impl Pbx {
    fn start() -> Self {
        loop {
            let rtp = UdpSocket::bind((LOCAL, 0)).unwrap();
            let port = rtp.local_addr().unwrap().port();
            if let Some(Ok(rtcp)) = port.checked_add(1).map(|p| UdpSocket::bind((LOCAL, p))) {
                rtp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                rtcp.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                return Self { rtp, rtcp, seen: Vec::new(), sent: 0 };
            }
        }
    }

    fn description(&self, formats: &str, maps: &str) -> SessionDescription {
        let port = self.rtp.local_addr().unwrap().port();
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\n{maps}a=ptime:20\r\n"
        );
        SessionDescription::parse(&text).unwrap()
    }

    /// Reads until a payload of this byte comes; every packet's header is kept.
    fn hear(&mut self, byte: u8) {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 2000];
        while Instant::now() < until {
            if let Ok(n) = self.rtp.recv(&mut buffer) {
                self.seen.push(RtpHeader::parse(&buffer[..n]).unwrap());
                if buffer[12..n] == [byte; 160] {
                    return;
                }
            }
        }
        panic!("the PBX never heard {byte:#x}");
    }

    fn say(&mut self, to: u16, byte: u8) {
        let header = RtpHeader {
            is_marked: false,
            payload_type: 0,
            sequence: self.sent,
            timestamp: u32::from(self.sent) * 160,
            ssrc: 4711,
            header_len: 12,
            is_padded: false,
        };
        self.sent += 1;
        self.rtp.send_to(&[&header.to_fixed()[..], &[byte; 160]].concat(), (LOCAL, to)).unwrap();
    }
}

struct Call {
    engine: Engine,
    port: Box<dyn MediaPort>,
    events: mpsc::Receiver<MediaEvent>,
}

fn config(rtp_ports: &str) -> MediaConfig {
    let free = UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port();
    let media = serde_json::json!({
        "webrtc_port": free, "workers": 1, "addresses": ["127.0.0.1"], "rtp_ports": rtp_ports
    });
    let section = |name: &str, value| Section::new(name, "test", value);
    let ice = serde_json::json!({ "loopback": true });
    MediaConfig::from_sections(
        &section("media", media),
        &section("ice", ice),
        &section("srtp", serde_json::json!({})),
    )
    .unwrap()
}

fn call(rtp_ports: &str) -> Call {
    let certificate = Arc::new(Certificate::generate().unwrap());
    let engine = Engine::start(config(rtp_ports), certificate, Seed::from_number(1)).unwrap();
    let (sender, events) = mpsc::channel(8);
    let port = engine.open(CallId::from_bits(1), sender).unwrap();
    Call { engine, port, events }
}

fn plain(codecs: &[Codec]) -> MediaProfile {
    MediaProfile::Rtp { codecs: codecs.to_vec(), towards: LOCAL, is_symmetric: false }
}

impl Call {
    async fn next(&mut self) -> MediaEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").unwrap()
    }

    /// Offers to the PBX and takes its answer; answers our RTP port.
    async fn set_up_pbx(&mut self, pbx: &Pbx) -> u16 {
        self.port.command(MediaCommand::CreateOffer { leg: PBX, profile: plain(&[Codec::Pcmu]) });
        let MediaEvent::Offer { leg: PBX, sdp } = self.next().await else { panic!() };
        assert_eq!(sdp.media[0].protocol, "RTP/AVP");
        assert_eq!(sdp.media[0].formats, ["0", "101"]);
        let answer = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\n");
        self.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(answer) });
        let event = self.next().await;
        assert!(matches!(event, MediaEvent::Connected { leg: PBX, codec: Codec::Pcmu }), "{event:?}");
        sdp.media[0].port
    }

    async fn attach(&mut self, browser: &Browser) {
        let sdp = Box::new(browser.offer.clone());
        let profile = MediaProfile::WebRtc;
        self.port.command(MediaCommand::AcceptOffer { leg: BROWSER, profile, sdp });
        let event = self.next().await;
        let MediaEvent::Answer { leg: BROWSER, sdp } = event else { panic!("{event:?}") };
        browser.answers.as_ref().unwrap().send(*sdp).unwrap();
        let event = self.next().await;
        assert!(matches!(event, MediaEvent::Connected { leg: BROWSER, codec: Codec::Pcmu }), "{event:?}");
    }

    /// After the call, nothing is left but sockets at rest.
    async fn end(self) {
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

#[tokio::test(flavor = "multi_thread")]
async fn the_pbx_hears_one_unbroken_stream_from_silence_over_two_browsers_to_silence() {
    let mut call = call("41000-41099");
    let mut pbx = Pbx::start();
    let port = call.set_up_pbx(&pbx).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    tokio::task::block_in_place(|| pbx.hear(0xff));

    let first = Browser::start(b'a');
    call.attach(&first).await;
    tokio::task::block_in_place(|| {
        pbx.hear(b'a');
        for _ in 0..5 {
            pbx.say(port, b'p');
        }
        first.hear(b'p');
    });

    let second = Browser::start(b'b');
    call.attach(&second).await;
    tokio::task::block_in_place(|| {
        pbx.hear(b'b');
        for _ in 0..5 {
            pbx.say(port, b'q');
        }
        second.hear(b'q');
    });

    call.port.command(MediaCommand::Detach(BROWSER));
    let event = call.next().await;
    assert!(matches!(event, MediaEvent::Detached { leg: BROWSER, had_media: true }), "{event:?}");
    tokio::task::block_in_place(|| pbx.hear(0xff));

    let ssrc = pbx.seen[0].ssrc;
    assert!(pbx.seen.iter().all(|h| h.ssrc == ssrc && h.payload_type == 0));
    for pair in pbx.seen.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "no gap of ours");
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!((160..8_000).contains(&step), "the clock goes on: {step}");
    }
    assert!(pbx.seen.iter().filter(|h| h.is_marked).count() >= 4, "marked where the source changed");
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_from_the_pbx_is_answered_and_ends_with_a_goodbye() {
    let mut call = call("41100-41199");
    let mut pbx = Pbx::start();
    let offer = pbx.description("8 0 101", "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n");
    let profile = plain(&[Codec::Pcmu, Codec::Pcma]);
    let sdp = Box::new(offer.clone());
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
    let MediaEvent::Answer { leg: PBX, sdp: answer } = call.next().await else { panic!() };
    assert_eq!(answer.media[0].formats, ["0", "101"], "our order decides");
    assert!(matches!(call.next().await, MediaEvent::Connected { codec: Codec::Pcmu, .. }));
    tokio::task::block_in_place(|| pbx.hear(0xff));
    // the same again gives the same answer
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp: Box::new(offer) });
    let MediaEvent::Answer { sdp: again, .. } = call.next().await else { panic!() };
    assert_eq!(again, answer);
    // a stranger is not heard and gets nothing
    let stranger = UdpSocket::bind((LOCAL, 0)).unwrap();
    stranger.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stranger.send_to(&[0x80; 172], (LOCAL, answer.media[0].port)).unwrap();
    assert!(tokio::task::block_in_place(|| stranger.recv(&mut [0; 10])).is_err());
    call.port.command(MediaCommand::Release(PBX));
    let goodbye = tokio::task::block_in_place(|| {
        let mut buffer = [0; 2000];
        (0..100).find_map(|_| {
            let n = pbx.rtcp.recv(&mut buffer).ok()?;
            let bytes = buffer[..n].to_vec();
            sipedge::media::packet::RtcpParts::new(&bytes).any(|p| p.packet_type == 203).then_some(())
        })
    });
    assert!(goodbye.is_some());
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_refused_and_what_was_there_goes_on() {
    let mut call = call("41200-41203");
    let pbx = Pbx::start();
    let g729 = pbx.description("18", "a=rtpmap:18 G729/8000\r\n");
    let profile = plain(&[Codec::Pcmu]);
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp: Box::new(g729) });
    let event = call.next().await;
    let MediaEvent::Refused { refusal: MediaRefusal::NoCommonCodec { offered, wanted }, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!((offered, wanted), (vec!["G729/8000".to_owned()], vec!["PCMU".to_owned()]));

    let mut browser = Browser::start(b'x');
    browser.offer.media[0].attributes.retain(|a| a.name != "fingerprint");
    browser.offer.attributes.retain(|a| a.name != "fingerprint");
    let sdp = Box::new(browser.offer.clone());
    call.port.command(MediaCommand::AcceptOffer { leg: BROWSER, profile: MediaProfile::WebRtc, sdp });
    let event = call.next().await;
    assert!(matches!(event, MediaEvent::Refused { refusal: MediaRefusal::Unusable(_), .. }), "{event:?}");

    // two pairs of ports: the third leg finds none
    for leg in [LegId(11), LegId(12)] {
        call.port.command(MediaCommand::CreateOffer { leg, profile: plain(&[Codec::Pcmu]) });
        assert!(matches!(call.next().await, MediaEvent::Offer { .. }));
    }
    call.port.command(MediaCommand::CreateOffer { leg: LegId(13), profile: plain(&[Codec::Pcmu]) });
    let event = call.next().await;
    assert!(matches!(event, MediaEvent::Refused { refusal: MediaRefusal::Congestion, .. }), "{event:?}");
    assert_eq!(MediaRefusal::Congestion.cause(), Cause::Congestion);
    call.end().await;
}
