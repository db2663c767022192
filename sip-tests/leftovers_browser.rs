//! A browser by another stack (str0m) on a real socket: a task that offers, and may go away in rude ways.

use crate::pbx::LOCAL;
use sipedge::sdp::SessionDescription;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How far it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    Offered,
    Ice,
    Connected,
    /// It has sent and heard packets.
    Talking,
}

/// Packets heard that make a talk.
const TALK: usize = 10;

pub(crate) struct Browser {
    pub(crate) offer: String,
    rtc: Option<(Rtc, UdpSocket, Mid, SdpPendingOffer)>,
    with_dtls: bool,
    progress: watch::Receiver<Progress>,
    says: watch::Sender<Progress>,
    /// Packets of its own that came back.
    echoes: watch::Receiver<usize>,
    echo: watch::Sender<usize>,
    task: Option<JoinHandle<()>>,
}

impl Browser {
    pub(crate) async fn new() -> Self {
        Self::with(true, true).await
    }

    /// One that takes part in ICE and never in DTLS.
    pub(crate) async fn without_dtls() -> Self {
        Self::with(false, true).await
    }

    /// One that has only Opus, which the PBX has not.
    pub(crate) async fn with_opus_alone() -> Self {
        Self::with(true, false).await
    }

    async fn with(with_dtls: bool, with_pcmu: bool) -> Self {
        let socket = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_pcmu(with_pcmu, false)
            .set_rtp_mode(true)
            .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().unwrap(), "udp").unwrap());
        let mut api = rtc.sdp_api();
        let mid = api.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = api.apply().unwrap();
        let (says, progress) = watch::channel(Progress::Offered);
        let (echo, echoes) = watch::channel(0);
        let rtc = Some((rtc, socket, mid, pending));
        let offer = offer.to_sdp_string();
        Self { offer, rtc, with_dtls, progress, says, echoes, echo, task: None }
    }

    /// Takes the answer and runs until dropped.
    pub(crate) fn accept(&mut self, answer: &str) {
        let (mut rtc, socket, mid, pending) = self.rtc.take().unwrap();
        // what the answer names first is what is spoken (RFC 3264 §6.1); others are dropped as not agreed
        let spoken = &SessionDescription::parse(answer).unwrap().media[0].formats[0];
        let payload_type = Pt::from(spoken.parse::<u8>().unwrap());
        let answer = SdpAnswer::from_sdp_string(answer).unwrap();
        rtc.sdp_api().accept_answer(pending, answer).unwrap();
        let talk = Talk { mid, payload_type, says: self.says.clone(), echo: self.echo.clone() };
        self.task = Some(tokio::spawn(run(rtc, socket, self.with_dtls, talk)));
    }

    /// Waits until more of its own packets came back.
    pub(crate) async fn hear_echo(&mut self) {
        let wanted = *self.echoes.borrow() + TALK;
        let heard =
            tokio::time::timeout(Duration::from_secs(20), self.echoes.wait_for(|n| *n >= wanted)).await;
        assert!(heard.is_ok_and(|r| r.is_ok()), "the browser never heard its echo");
    }

    /// Waits until it got this far.
    pub(crate) async fn reach(&mut self, progress: Progress) {
        let reached = self.progress.wait_for(|p| *p >= progress);
        let reached = tokio::time::timeout(Duration::from_secs(20), reached).await;
        assert!(reached.is_ok_and(|r| r.is_ok()), "the browser never reached {progress:?}");
    }
}

/// Gone without a word: no close, no alert, no socket.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// RFC 7983 §7.
fn is_dtls(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|b| (20..64).contains(b))
}

/// What it says, and to whom it tells what it heard.
struct Talk {
    mid: Mid,
    payload_type: Pt,
    says: watch::Sender<Progress>,
    echo: watch::Sender<usize>,
}

/// What every packet of its carries.
const PAYLOAD: [u8; 160] = [0x55; 160];

async fn run(mut rtc: Rtc, socket: UdpSocket, with_dtls: bool, talk: Talk) {
    let Talk { mid, payload_type, says, echo } = talk;
    let local = socket.local_addr().unwrap();
    let mut buffer = vec![0; 2_000];
    let (mut sequence, mut next, mut heard) = (0_u16, Instant::now(), 0);
    while rtc.is_alive() {
        let timeout = loop {
            match rtc.poll_output() {
                Ok(Output::Timeout(at)) => break at,
                Ok(Output::Transmit(t)) if with_dtls || !is_dtls(&t.contents) => {
                    let _ = socket.try_send_to(&t.contents, t.destination);
                }
                Ok(Output::Event(Event::IceConnectionStateChange(
                    IceConnectionState::Connected | IceConnectionState::Completed,
                ))) => {
                    says.send_if_modified(|p| (*p < Progress::Ice).then(|| *p = Progress::Ice).is_some());
                }
                Ok(Output::Event(Event::Connected)) => drop(says.send_replace(Progress::Connected)),
                Ok(Output::Event(Event::RtpPacket(packet))) => {
                    heard += 1;
                    if packet.payload[..] == PAYLOAD {
                        echo.send_modify(|n| *n += 1);
                    }
                    if heard == TALK {
                        says.send_replace(Progress::Talking);
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        };
        let now = Instant::now();
        if *says.borrow() >= Progress::Connected && now >= next {
            next = now + Duration::from_millis(20);
            sequence = sequence.wrapping_add(1);
            let time = u32::from(sequence) * 160;
            let packet = RtpWrite::new(payload_type, u64::from(sequence).into(), time, now, PAYLOAD.to_vec());
            rtc.direct_api().stream_tx_by_mid(mid, None).unwrap().write_rtp(packet);
            continue;
        }
        let at = timeout.min(now + Duration::from_millis(20)).max(now + Duration::from_millis(1));
        tokio::select! {
            got = socket.recv_from(&mut buffer) => {
                // an error is the ICMP answer to a packet that came too late
                let Ok((n, source)) = got else { continue };
                if !with_dtls && is_dtls(&buffer[..n]) {
                    continue;
                }
                let Ok(contents) = buffer[..n].try_into() else { continue };
                let receive = Receive { proto: Protocol::Udp, source, destination: local, contents };
                let _ = rtc.handle_input(Input::Receive(Instant::now(), receive));
            }
            () = tokio::time::sleep_until(at.into()) => {
                let _ = rtc.handle_input(Input::Timeout(Instant::now()));
            }
        }
    }
}
