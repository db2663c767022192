//! A media thread with calls whose keys are set by hand, and both far sides of each: a browser's socket that
//! speaks SRTP and a PBX's that speaks RTP. For tests and benches.

#![allow(dead_code, reason = "each user takes what it needs")]

use sipedge::base::{Path, Seed, StreamId};
use sipedge::call::port::Codec;
use sipedge::media::io::{Command, MediaThread, PlainSockets};
use sipedge::media::packet::{PacketBuf, RtpHeader};
use sipedge::media::relay::Format;
use sipedge::media::srtp::{Opener, Sealer, Srtp};
use sipedge::media::stats::StreamStats;
use sipedge::media::stream::{OwnSource, Protection};
use sipedge::peer::{MasterKey, SrtpKeys, SrtpProfile};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Loopback, where all of it lives.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(5);

/// What both sides of the rig speak.
pub(crate) const PCMU: Format = Format {
    codec: Codec::Pcmu,
    payload_in: 0,
    payload_out: 0,
    others_in: [None; 3],
    events_in: [None, None],
    event_out: None,
};

/// A master key whose every byte is that.
pub(crate) fn master(profile: SrtpProfile, byte: u8) -> MasterKey {
    MasterKey {
        key: vec![byte; profile.key_len()].into(),
        salt: vec![byte ^ 0x5a; profile.salt_len()].into(),
    }
}

/// Our keys: what the thread has.
pub(crate) fn keys(profile: SrtpProfile) -> SrtpKeys {
    SrtpKeys { profile, local: master(profile, 1), remote: master(profile, 2) }
}

/// One call's media on a thread: a browser at `browser`, a PBX at `pbx`. Answers the address the PBX sends to.
pub(crate) fn add_call(
    thread: &MediaThread,
    n: u64,
    profile: SrtpProfile,
    browser: SocketAddr,
    pbx: SocketAddr,
    stats: [Arc<StreamStats>; 2],
) -> SocketAddr {
    add_call_of(thread, n, profile, [browser, pbx], [PCMU, PCMU], stats)
}

/// As [`add_call`], with what browser and PBX speak.
pub(crate) fn add_call_of(
    thread: &MediaThread,
    n: u64,
    profile: SrtpProfile,
    [browser, pbx]: [SocketAddr; 2],
    [web_format, plain_format]: [Format; 2],
    stats: [Arc<StreamStats>; 2],
) -> SocketAddr {
    let (web, plain) = (StreamId(2 * n), StreamId(2 * n + 1));
    let rtp = UdpSocket::bind((LOCAL, 0)).unwrap();
    let rtcp = UdpSocket::bind((LOCAL, 0)).unwrap();
    for socket in [&rtp, &rtcp] {
        socket.set_nonblocking(true).unwrap();
    }
    let ours = rtp.local_addr().unwrap();
    let shared = thread.addresses().next().unwrap();
    let path = Path { local: shared, remote: browser };
    let mut seed = Seed::from_number(n);
    let [web_stats, plain_stats] = stats;
    let commands = [
        Command::AddWebRtc {
            id: web,
            source: OwnSource::random(&mut seed),
            ufrag: format!("ufrag{n}"),
            inlet: None,
            stats: web_stats,
            news: None,
        },
        Command::AddPlain {
            id: plain,
            source: OwnSource::random(&mut seed),
            sockets: PlainSockets { rtp, rtcp, is_symmetric: false, home: None, leg: None },
            stats: plain_stats,
            news: None,
        },
        Command::Format(web, web_format),
        Command::Format(plain, plain_format),
        Command::Bind(web, path),
        Command::Select(web, path),
        Command::Hear(web, Some(plain)),
        Command::Hear(plain, Some(web)),
        Command::Keys(web, Box::new(keys(profile))),
        Command::Remote(plain, pbx, (LOCAL, pbx.port().wrapping_add(1)).into()),
    ];
    for command in commands {
        assert!(thread.send(command));
    }
    ours
}

/// An RTP packet of 160 bytes payload.
pub(crate) fn packet(ssrc: u32, index: u64) -> PacketBuf {
    let sequence = (index & 0xffff) as u16;
    let header = RtpHeader {
        is_marked: false,
        payload_type: 0,
        sequence,
        timestamp: (index as u32).wrapping_mul(160),
        ssrc,
        header_len: 12,
        is_padded: false,
    };
    let mut buf = PacketBuf::from_bytes(&header.to_fixed()).unwrap();
    buf.append(&[0x55; 160]);
    buf
}

/// Waits until the thread has taken the commands of that many streams.
pub(crate) fn settle(thread: &MediaThread, streams: usize) {
    let until = Instant::now() + PATIENCE;
    while thread.streams() != streams {
        assert!(Instant::now() < until, "commands are not taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    // the counter moves before the last command of a call: one more round
    std::thread::sleep(Duration::from_millis(20));
}

/// One call's far sides.
struct Ends {
    browser: UdpSocket,
    pbx: UdpSocket,
    to_pbx_leg: SocketAddr,
    sealer: Sealer,
    opener: Opener,
    /// What the PBX seals and opens by, where its leg is protected.
    secure: Option<Srtp>,
    index: u64,
}

/// The whole.
pub(crate) struct Rig {
    /// The thread under test.
    pub(crate) thread: MediaThread,
    shared: SocketAddr,
    calls: Vec<Ends>,
}

impl Rig {
    /// A thread with that many calls, ready to relay.
    pub(crate) fn start(profile: SrtpProfile, calls: u64) -> Self {
        let address = SocketAddr::new(LOCAL, 0);
        let thread =
            MediaThread::start("media-test", &[address], Duration::from_secs(30), Seed::from_number(1))
                .unwrap();
        let shared = thread.addresses().next().unwrap();
        let calls = (0..calls)
            .map(|n| {
                let browser = UdpSocket::bind((LOCAL, 0)).unwrap();
                let pbx = UdpSocket::bind((LOCAL, 0)).unwrap();
                for socket in [&browser, &pbx] {
                    socket.set_read_timeout(Some(PATIENCE)).unwrap();
                }
                let to_pbx_leg = add_call(
                    &thread,
                    n,
                    profile,
                    browser.local_addr().unwrap(),
                    pbx.local_addr().unwrap(),
                    [Arc::default(), Arc::default()],
                );
                Ends {
                    browser,
                    pbx,
                    to_pbx_leg,
                    sealer: Sealer::new(profile, &master(profile, 2)).unwrap(),
                    opener: Opener::new(profile, &master(profile, 1)).unwrap(),
                    secure: None,
                    index: 0,
                }
            })
            .collect();
        let rig = Self { thread, shared, calls };
        rig.settle(2 * rig.calls.len());
        rig
    }

    /// From now on the PBX legs are protected too, with keys of their own.
    pub(crate) fn protect(&mut self, profile: SrtpProfile) {
        for (n, call) in (0..).zip(&mut self.calls) {
            let (ours, theirs) = (master(profile, 3), master(profile, 4));
            let keys = SrtpKeys { profile, local: ours.clone(), remote: theirs.clone() };
            assert!(self.thread.send(Command::Protect(StreamId(2 * n + 1), Protection::Srtp)));
            assert!(self.thread.send(Command::Keys(StreamId(2 * n + 1), Box::new(keys))));
            call.secure = Some(Srtp::new(SrtpKeys { profile, local: theirs, remote: ours }).unwrap());
        }
        // taken in order: once this one is there, those before are
        self.add_idle_stream();
    }

    fn settle(&self, streams: usize) {
        settle(&self.thread, streams);
    }

    /// One more stream that nobody uses.
    pub(crate) fn add_idle_stream(&mut self) {
        let mut seed = Seed::from_number(99);
        let streams = self.thread.streams();
        assert!(self.thread.send(Command::AddWebRtc {
            id: StreamId(u64::MAX - u64::try_from(streams).unwrap()),
            source: OwnSource::random(&mut seed),
            ufrag: "idle".into(),
            inlet: None,
            stats: Arc::default(),
            news: None,
        }));
        self.settle(streams + 1);
    }

    /// `count` packets of every call, each way, each checked where it arrives.
    pub(crate) fn exchange(&mut self, count: u64) {
        let mut bytes = [0; 2000];
        for _ in 0..count {
            for call in &mut self.calls {
                let mut from_browser = packet(7, call.index);
                call.sealer.protect_rtp(&mut from_browser, call.index).unwrap();
                call.browser.send_to(from_browser.bytes(), self.shared).unwrap();
                let mut from_pbx = packet(8, call.index);
                if let Some(srtp) = &mut call.secure {
                    srtp.protect_rtp(&mut from_pbx, call.index).unwrap();
                }
                call.pbx.send_to(from_pbx.bytes(), call.to_pbx_leg).unwrap();
                call.index += 1;
                loop {
                    let n = call.pbx.recv(&mut bytes).expect("a packet for the PBX");
                    let mut at_pbx = PacketBuf::from_bytes(&bytes[..n]).unwrap();
                    if let Some(srtp) = &mut call.secure {
                        srtp.unprotect_rtp(&mut at_pbx).unwrap();
                    }
                    // on a busy machine silence may have stood in for what came late
                    if at_pbx.bytes()[12..] != [0xff; 160] {
                        assert_eq!(at_pbx.bytes()[12..], [0x55; 160]);
                        break;
                    }
                }
                let n = call.browser.recv(&mut bytes).expect("a packet for the browser");
                let mut sealed = PacketBuf::from_bytes(&bytes[..n]).unwrap();
                // a report may come between, and silence
                if call.opener.unprotect_rtp(&mut sealed).is_ok() && sealed.bytes()[12..] != [0xff; 160] {
                    assert_eq!(sealed.bytes()[12..], [0x55; 160]);
                }
            }
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        self.thread.stop();
    }
}
