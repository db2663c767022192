//! Legs without ICE that are protected, through the media engine: a PBX that encrypts by keys in descriptions or by
//! DTLS, a browser beside it, all on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test: what cannot be had ends it"
)]

#[path = "media_world.rs"]
mod world;

use sipedge::base::Path;
use sipedge::call::port::{
    Codec, Encryption, HoldMusic, MediaCommand, MediaEvent, MediaProfile, MediaRefusal,
};
use sipedge::media::packet::{PacketBuf, RtcpParts, RtpHeader};
use sipedge::media::srtp::Srtp;
use sipedge::peer::{
    Certificate, DatagramSink, DtlsRole, Fingerprint, FixedParameters, FixedRemote, MasterKey, PeerEvent,
    PeerInput, SrtpKeys, SrtpProfile, spawn_fixed,
};
use sipedge::sdp::{Crypto, SessionDescription};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use world::{BROWSER, Browser, Call, LOCAL, PATIENCE, PBX, Pbx, call};

const CM: SrtpProfile = SrtpProfile::AesCm128HmacSha1_80;

fn profile(encryption: Encryption) -> MediaProfile {
    MediaProfile::Rtp {
        codecs: vec![Codec::Pcmu],
        towards: LOCAL,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: false,
        encryption,
        is_avpf: false,
        hold_music: HoldMusic::Generated,
    }
}

fn master(profile: SrtpProfile, byte: u8) -> MasterKey {
    MasterKey { key: vec![byte; profile.key_len()].into(), salt: vec![byte; profile.salt_len()].into() }
}

/// The key of a line, split.
fn key_of(line: &Crypto, profile: SrtpProfile) -> MasterKey {
    let (key, salt) = line.keys[0].key_and_salt.split_at(profile.key_len());
    MasterKey { key: key.to_vec().into(), salt: salt.to_vec().into() }
}

/// A PBX that encrypts.
struct Secure {
    pbx: Pbx,
    srtp: Srtp,
    /// Packets that would not open.
    strange: usize,
}

impl Secure {
    fn new(pbx: Pbx, keys: SrtpKeys) -> Self {
        Self { pbx, srtp: Srtp::new(keys).unwrap(), strange: 0 }
    }

    fn description(pbx: &Pbx, protocol: &str, lines: &str) -> SessionDescription {
        let mut sdp = pbx.description("0 101", &format!("a=rtpmap:101 telephone-event/8000\r\n{lines}"));
        sdp.media[0].protocol = protocol.into();
        sdp
    }

    fn say(&mut self, to: u16, byte: u8) {
        let header = RtpHeader {
            is_marked: false,
            payload_type: 0,
            sequence: self.pbx.sent,
            timestamp: u32::from(self.pbx.sent) * 160,
            ssrc: 4711,
            header_len: 12,
            is_padded: false,
        };
        let mut buf = PacketBuf::from_bytes(&[&header.to_fixed()[..], &[byte; 160]].concat()).unwrap();
        self.srtp.protect_rtp(&mut buf, u64::from(self.pbx.sent)).unwrap();
        self.pbx.sent += 1;
        self.pbx.rtp.send_to(buf.bytes(), (LOCAL, to)).unwrap();
    }

    /// Reads until a payload comes that is wanted; what does not open is counted.
    fn hear(&mut self, is_wanted: impl Fn(&[u8]) -> bool) {
        let until = Instant::now() + PATIENCE;
        let mut buffer = [0; 1500];
        while Instant::now() < until {
            let Ok(n) = self.pbx.rtp.recv(&mut buffer) else { continue };
            let mut buf = PacketBuf::from_bytes(&buffer[..n]).unwrap();
            match self.srtp.unprotect_rtp(&mut buf) {
                Ok(_) if is_wanted(&buf.bytes()[12..]) => return,
                Ok(_) => {}
                Err(_) => self.strange += 1,
            }
        }
        panic!("the PBX never heard it; {} packets did not open", self.strange);
    }

    fn hear_letter(&mut self, byte: u8) {
        self.hear(|payload| payload == [byte; 160]);
    }

    /// Speaks until the browser hears it.
    fn reaches(&mut self, browser: &Browser, to: u16, byte: u8) {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.say(to, byte);
            while let Ok((_, _, payload)) = browser.heard.recv_timeout(Duration::from_millis(20)) {
                if payload == [byte; 160] {
                    return;
                }
            }
        }
        panic!("the browser never heard {byte:#x}");
    }
}

async fn offered(call: &mut Call, encryption: Encryption) -> SessionDescription {
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile: profile(encryption) });
    let event = call.next().await;
    let MediaEvent::Offer { sdp, .. } = event else { panic!("{event:?}") };
    *sdp
}

async fn answered(call: &mut Call, sdp: SessionDescription, encryption: Encryption) -> SessionDescription {
    let profile = profile(encryption);
    call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp: Box::new(sdp) });
    let event = call.next().await;
    let MediaEvent::Answer { sdp, .. } = event else { panic!("{event:?}") };
    *sdp
}

fn accept(call: &mut Call, sdp: SessionDescription) {
    call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(sdp) });
}

fn own_line(sdp: &SessionDescription, profile: SrtpProfile) -> Crypto {
    sdp.media[0].cryptos().into_iter().find(|c| c.suite == profile.name()).unwrap()
}

fn line(tag: u32, profile: SrtpProfile, byte: u8) -> String {
    let key = master(profile, byte);
    let both = [key.key.as_slice(), key.salt.as_slice()].concat();
    format!("a=crypto:{}\r\n", Crypto::new(tag, profile.name(), both.into()).value())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_to_an_encrypting_pbx_is_heard_both_ways_held_with_music_and_taken_back() {
    for profile in [CM, SrtpProfile::AesCm128HmacSha1_32, SrtpProfile::AeadAes256Gcm] {
        let mut call = call("42000-42099");
        let pbx = Pbx::start();
        let offer = offered(&mut call, Encryption::Sdes).await;
        assert_eq!(offer.media[0].protocol, "RTP/SAVP");
        let suites: Vec<String> = offer.media[0].cryptos().into_iter().map(|c| c.suite).collect();
        let expected =
            ["AEAD_AES_128_GCM", "AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_32"];
        assert_eq!(suites, expected);
        let ours = own_line(&offer, profile);
        let port = offer.media[0].port;
        let describe = |pbx: &Pbx, more: &str| {
            Secure::description(pbx, "RTP/SAVP", &(line(ours.tag, profile, 7) + more))
        };
        accept(&mut call, describe(&pbx, ""));
        assert!(matches!(call.next().await, MediaEvent::Connected { codec: Codec::Pcmu, .. }));
        let keys = SrtpKeys { profile, local: master(profile, 7), remote: key_of(&ours, profile) };
        let mut pbx = Secure::new(pbx, keys);
        call.port.command(MediaCommand::Bridge(BROWSER, PBX));
        tokio::task::block_in_place(|| pbx.hear_letter(0xff));
        let browser = Browser::start(b'a');
        call.attach(&browser).await;
        tokio::task::block_in_place(|| {
            pbx.hear_letter(b'a');
            // what comes in clear is not heard
            (0..5).for_each(|_| pbx.pbx.say(port, b'c'));
            pbx.reaches(&browser, port, b'p');
            while let Ok((_, _, payload)) = browser.heard.recv_timeout(Duration::from_millis(50)) {
                assert_ne!(payload, [b'c'; 160]);
                if payload == [0xff; 160] {
                    break;
                }
            }
        });

        for is_held in [true, false] {
            call.port.command(MediaCommand::Hold(BROWSER, is_held));
            let again = offered(&mut call, Encryption::Sdes).await;
            let lines = again.media[0].cryptos();
            assert_eq!(
                lines,
                std::slice::from_ref(&ours),
                "the same line with the same key (RFC 4568 §7.1.4)"
            );
            accept(&mut call, describe(&pbx.pbx, if is_held { "a=recvonly\r\n" } else { "a=sendrecv\r\n" }));
            tokio::task::block_in_place(|| {
                if is_held {
                    pbx.hear(|payload| payload.windows(2).any(|pair| pair[0] != pair[1]));
                } else {
                    pbx.hear_letter(b'a');
                    pbx.reaches(&browser, port, b'q');
                }
            });
        }
        assert_eq!(pbx.strange, 0, "every packet opened");
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_call_of_a_pbx_goes_on_when_its_key_changes_and_ours_stays() {
    let mut call = call("42100-42199");
    let pbx = Pbx::start();
    let offer = |pbx: &Pbx, tag, byte| Secure::description(pbx, "RTP/SAVP", &line(tag, CM, byte));
    let answer = answered(&mut call, offer(&pbx, 3, 7), Encryption::Sdes).await;
    assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
    let ours = own_line(&answer, CM);
    assert_eq!((answer.media[0].protocol.as_str(), ours.tag), ("RTP/SAVP", 3));
    let port = answer.media[0].port;
    let keys = |byte| SrtpKeys { profile: CM, local: master(CM, byte), remote: key_of(&ours, CM) };
    let mut pbx = Secure::new(pbx, keys(7));
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let browser = Browser::start(b'a');
    call.attach(&browser).await;
    tokio::task::block_in_place(|| {
        pbx.hear_letter(b'a');
        pbx.reaches(&browser, port, b'p');
    });
    // the same again: nothing changes
    assert_eq!(answered(&mut call, offer(&pbx.pbx, 3, 7), Encryption::Sdes).await, answer);
    tokio::task::block_in_place(|| pbx.reaches(&browser, port, b'q'));
    // another key, under another tag: ours is the same
    let again = answered(&mut call, offer(&pbx.pbx, 9, 8), Encryption::Sdes).await;
    let line = own_line(&again, CM);
    assert_eq!((line.tag, line.keys[0].clone()), (9, ours.keys[0].clone()));
    tokio::task::block_in_place(|| {
        // until it has our answer it goes on with the old one
        pbx.reaches(&browser, port, b'r');
        pbx.srtp.rekey(keys(8)).unwrap();
        pbx.reaches(&browser, port, b's');
        pbx.hear_letter(b'a');
    });
    assert_eq!(pbx.strange, 0);
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_never_have_the_same_key() {
    let mut keys = Vec::new();
    let mut call = call("42200-42299");
    for leg in 20..24 {
        let leg = sipedge::base::LegId(leg);
        call.port.command(MediaCommand::CreateOffer { leg, profile: profile(Encryption::Sdes) });
        let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
        keys.extend(sdp.media[0].cryptos().into_iter().map(|c| c.keys[0].key_and_salt.to_vec()));
    }
    assert_eq!(keys.len(), 16);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 16);
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_encryption_is_optional_both_are_served_and_where_it_is_not_clear_is_refused() {
    let mut call = call("42300-42399");
    let mut pbx = Pbx::start();
    let offer = offered(&mut call, Encryption::SdesOptional).await;
    assert_eq!(offer.media[0].protocol, "RTP/AVP");
    assert_eq!(offer.media[0].cryptos().len(), 4);
    accept(&mut call, pbx.description("0", ""));
    assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    tokio::task::block_in_place(|| pbx.hear(0xff));
    let again = offered(&mut call, Encryption::SdesOptional).await;
    assert!(again.media[0].cryptos().is_empty(), "it was settled in clear");
    // its own offer may yet bring keys
    let sdp = Secure::description(&pbx, "RTP/AVP", &line(1, CM, 7));
    let answer = answered(&mut call, sdp, Encryption::SdesOptional).await;
    let ours = own_line(&answer, CM);
    assert_eq!(answer.media[0].protocol, "RTP/AVP");
    let keys = SrtpKeys { profile: CM, local: master(CM, 7), remote: key_of(&ours, CM) };
    let mut pbx = Secure::new(pbx, keys);
    tokio::task::block_in_place(|| pbx.hear_letter(0xff));

    let Pbx { .. } = &pbx.pbx;
    let clear = pbx.pbx.description("0", "");
    let leg = sipedge::base::LegId(9);
    let strict = profile(Encryption::Sdes);
    let sdp = Box::new(clear.clone());
    call.port.command(MediaCommand::AcceptOffer { leg, profile: strict.clone(), sdp });
    let event = call.next().await;
    let MediaEvent::Refused { refusal: MediaRefusal::Unusable(why), .. } = event else { panic!("{event:?}") };
    assert!(why.contains("not encrypted"), "{why}");
    call.port.command(MediaCommand::CreateOffer { leg, profile: strict });
    assert!(matches!(call.next().await, MediaEvent::Offer { .. }));
    call.port.command(MediaCommand::AcceptAnswer { leg, sdp: Box::new(clear) });
    let event = call.next().await;
    let MediaEvent::Refused { refusal: MediaRefusal::Unusable(why), .. } = event else { panic!("{event:?}") };
    assert!(why.contains("not encrypted"), "{why}");
    call.end().await;
}

// ---- DTLS

struct Socket(UdpSocket);

impl DatagramSink for Socket {
    fn send(&self, path: Path, bytes: &[u8]) {
        let _ = self.0.send_to(bytes, path.remote);
    }
}

/// Runs the far side's handshake on a socket; answers its keys.
async fn shake(
    socket: &UdpSocket,
    certificate: &Arc<Certificate>,
    ours: (SocketAddr, Fingerprint),
    dtls_role: DtlsRole,
) -> SrtpKeys {
    let (sender, mut events) = mpsc::channel(8);
    let parameters =
        FixedParameters { certificate: Arc::clone(certificate), profiles: vec![SrtpProfile::AeadAes128Gcm] };
    let sink = Arc::new(Socket(socket.try_clone().unwrap()));
    let peer = spawn_fixed(parameters, sink, sender);
    let remote = FixedRemote { address: ours.0, fingerprints: vec![ours.1], dtls_role };
    peer.input(PeerInput::FixedRemote(Box::new(remote))).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; 2000];
    while Instant::now() < until {
        if let Ok((n, from)) = tokio::task::block_in_place(|| socket.recv_from(&mut buffer))
            && (20..64).contains(&buffer[0])
        {
            let path = Path { local: socket.local_addr().unwrap(), remote: from };
            peer.input(PeerInput::Datagram { path, bytes: buffer[..n].to_vec() }).unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        match events.try_recv() {
            Ok(PeerEvent::Connected(keys)) => return keys,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    panic!("no handshake");
}

fn fingerprint_line(fingerprint: Fingerprint) -> String {
    let digits: Vec<String> = fingerprint.0.iter().map(|b| format!("{b:02X}")).collect();
    format!("a=fingerprint:sha-256 {}\r\n", digits.join(":"))
}

async fn a_dtls_call(ports: &str, setup: &str, is_muxed: bool) {
    let mut call = call(ports);
    let pbx = Pbx::start();
    let certificate = Arc::new(Certificate::generate().unwrap());
    let offer = offered(&mut call, Encryption::Dtls).await;
    let media = &offer.media[0];
    assert_eq!((media.protocol.as_str(), media.value("setup")), ("UDP/TLS/RTP/SAVP", Some("actpass")));
    let ours = Fingerprint(offer.sha256_fingerprints_of(media)[0]);
    let port = media.port;
    let mux = if is_muxed { "a=rtcp-mux\r\n" } else { "" };
    let describe = |pbx: &Pbx, setup: &str, more: &str| {
        let lines = format!("{}a=setup:{setup}\r\n{mux}{more}", fingerprint_line(certificate.fingerprint()));
        Secure::description(pbx, "UDP/TLS/RTP/SAVP", &lines)
    };
    accept(&mut call, describe(&pbx, setup, ""));
    let role = if setup == "active" { DtlsRole::Client } else { DtlsRole::Server };
    let keys = shake(&pbx.rtp, &certificate, ((LOCAL, port).into(), ours), role).await;
    let event = call.next().await;
    assert!(matches!(event, MediaEvent::Connected { codec: Codec::Pcmu, .. }), "{event:?}");
    match is_muxed {
        true => {}
        false => drop(shake(&pbx.rtcp, &certificate, ((LOCAL, port + 1).into(), ours), role).await),
    }
    let mut pbx = Secure::new(pbx, keys);
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let browser = Browser::start(b'd');
    call.attach(&browser).await;
    tokio::task::block_in_place(|| {
        pbx.hear_letter(b'd');
        pbx.reaches(&browser, port, b'p');
    });
    // a hold and back keeps the association: no second handshake
    for is_held in [true, false] {
        call.port.command(MediaCommand::Hold(BROWSER, is_held));
        let again = offered(&mut call, Encryption::Dtls).await;
        let settled = if setup == "active" { "passive" } else { "active" };
        assert_eq!(again.media[0].value("setup"), Some(settled));
        let direction = if is_held { "a=recvonly\r\n" } else { "a=sendrecv\r\n" };
        accept(&mut call, describe(&pbx.pbx, setup, direction));
        tokio::task::block_in_place(|| match is_held {
            true => pbx.hear(|payload| payload.windows(2).any(|pair| pair[0] != pair[1])),
            false => {
                pbx.hear_letter(b'd');
                pbx.reaches(&browser, port, b'q');
            }
        });
    }
    // it says that it begins anew, as Asterisk does after a hold: a second handshake, and media goes on
    offered(&mut call, Encryption::Dtls).await;
    let mut anew = describe(&pbx.pbx, setup, "a=connection:new\r\n");
    anew.origin.version = 77;
    accept(&mut call, anew.clone());
    let keys = shake(&pbx.pbx.rtp, &certificate, ((LOCAL, port).into(), ours), role).await;
    let rtcp_keys = match is_muxed {
        true => None,
        false => Some(shake(&pbx.pbx.rtcp, &certificate, ((LOCAL, port + 1).into(), ours), role).await),
    };
    pbx.srtp = Srtp::new(keys).unwrap();
    tokio::task::block_in_place(|| {
        pbx.hear_letter(b'd');
        pbx.reaches(&browser, port, b'r');
    });
    // the same description again is no third
    accept(&mut call, anew);
    tokio::task::block_in_place(|| {
        pbx.hear_letter(b'd');
        pbx.reaches(&browser, port, b's');
    });
    call.port.command(MediaCommand::Release(PBX));
    let mut rtcp = rtcp_keys.map(|keys| Srtp::new(keys).unwrap());
    let goodbye = tokio::task::block_in_place(|| {
        let mut buffer = [0; 1500];
        let socket = if is_muxed { &pbx.pbx.rtp } else { &pbx.pbx.rtcp };
        (0..200).any(|_| {
            let Ok(n) = socket.recv(&mut buffer) else { return false };
            let mut buf = PacketBuf::from_bytes(&buffer[..n]).unwrap();
            let srtp = rtcp.as_mut().unwrap_or(&mut pbx.srtp);
            srtp.unprotect_rtcp(&mut buf).is_ok() && RtcpParts::new(buf.bytes()).any(|p| p.packet_type == 203)
        })
    });
    assert!(goodbye, "an encrypted goodbye by the right port");
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_with_a_handshake_for_each_port_as_server() {
    a_dtls_call("42400-42499", "active", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_with_one_handshake_for_both_as_server() {
    a_dtls_call("42500-42599", "active", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dtls_with_a_handshake_for_each_port_as_client() {
    a_dtls_call("42600-42699", "passive", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_was_not_announced_ends_the_leg() {
    let mut call = call("42700-42799");
    let pbx = Pbx::start();
    let (announced, other) = (Certificate::generate().unwrap(), Arc::new(Certificate::generate().unwrap()));
    let lines = format!("{}a=setup:actpass\r\na=rtcp-mux\r\n", fingerprint_line(announced.fingerprint()));
    let offer = Secure::description(&pbx, "UDP/TLS/RTP/SAVPF", &lines);
    let answer = answered(&mut call, offer, Encryption::Dtls).await;
    let media = &answer.media[0];
    assert_eq!((media.protocol.as_str(), media.value("setup")), ("UDP/TLS/RTP/SAVPF", Some("active")));
    assert!(media.has("rtcp-mux"));
    let ours = ((LOCAL, media.port).into(), Fingerprint(answer.sha256_fingerprints_of(media)[0]));
    let socket = pbx.rtp.try_clone().unwrap();
    let far = tokio::spawn(async move { shake(&socket, &other, ours, DtlsRole::Server).await });
    let event = call.next().await;
    let cause = sipedge::base::Cause::DtlsFailed;
    assert!(matches!(event, MediaEvent::Failed { leg: PBX, cause: c } if c == cause), "{event:?}");
    far.abort();
    call.end().await;
}
