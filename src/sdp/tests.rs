//! Descriptions of real clients, and what must not pass.

use super::*;
use crate::base::Seed;

/// What a Chromium offers for one audio track, shortened.
const BROWSER: &str = "v=0\r\no=- 4611733 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\na=msid-semantic: WMS s\r\n\
m=audio 51372 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\nc=IN IP4 192.0.2.7\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
a=candidate:1 1 udp 2122260223 192.0.2.7 51372 typ host generation 0 network-id 1\r\n\
a=candidate:2 1 udp 2122262783 0b4a.local 51373 typ host\r\na=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n\
a=ice-ufrag:Ab3+\r\na=ice-pwd:0123456789abcdefghijkl/+\r\na=ice-options:trickle\r\n\
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r\n\
a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n\
a=rtpmap:63 red/48000/2\r\na=rtpmap:9 G722/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:110 telephone-event/48000\r\n\
a=rtpmap:126 telephone-event/8000\r\na=ssrc:1 cname:x\r\n";

#[test]
fn a_browser_offer_is_read_through_the_typed_views() {
    let sdp = SessionDescription::parse(BROWSER).unwrap();
    let (index, audio) = sdp.audio().unwrap();
    assert_eq!((index, audio.port, audio.protocol.as_str()), (0, 51372, "UDP/TLS/RTP/SAVPF"));
    assert_eq!(sdp.connection_of(audio), Some("192.0.2.7".parse().unwrap()));
    assert_eq!(sdp.ice_credentials_of(audio), Some(("Ab3+", "0123456789abcdefghijkl/+")));
    let expected: [u8; 32] = std::array::from_fn(|i| i as u8);
    assert_eq!(sdp.sha256_fingerprints_of(audio), [expected]);
    assert_eq!(sdp.setup_of(audio), Some(Setup::ActPass));
    assert_eq!(sdp.direction_of(audio), Direction::SendRecv);
    assert_eq!(sdp.bundle(), ["0"]);
    assert!(audio.has("rtcp-mux") && audio.mid() == Some("0") && !sdp.is_ice_lite());
    let codecs: Vec<String> = audio.codecs().iter().map(ToString::to_string).collect();
    assert_eq!(
        codecs,
        [
            "opus/48000/2",
            "red/48000/2",
            "G722/8000",
            "PCMU/8000",
            "PCMA/8000",
            "CN/8000",
            "telephone-event/48000",
            "telephone-event/8000"
        ]
    );
    assert_eq!(audio.codecs()[0].fmtp.as_deref(), Some("minptime=10;useinbandfec=1"));
    let candidates = audio.candidates();
    assert_eq!(candidates.len(), 3);
    assert_eq!(candidates[0].address, Some("192.0.2.7".parse().unwrap()));
    assert_eq!((candidates[1].address, candidates[1].port), (None, 51373));
    assert_eq!(candidates[2].transport, "tcp");
}

#[test]
fn what_is_printed_reads_back_as_the_same() {
    let sdp = SessionDescription::parse(BROWSER).unwrap();
    assert_eq!(SessionDescription::parse(&sdp.to_string()), Ok(sdp));
}

#[test]
fn a_plain_phone_offer_with_ipv6_and_bare_line_feeds_is_read() {
    let text = "v=0\no=user1 53655765 2353687637 IN IP6 2001:db8::1\ns=-\nc=IN IP6 2001:db8::1\nt=0 0\nm=audio 6000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=sendonly\n";
    let sdp = SessionDescription::parse(text).unwrap();
    let (_, audio) = sdp.audio().unwrap();
    assert_eq!(sdp.connection_of(audio), Some("2001:db8::1".parse().unwrap()));
    assert_eq!(sdp.direction_of(audio), Direction::SendOnly);
    assert!(audio.codecs()[0].is("pcmu", 8000, 1));
    assert!(audio.codecs()[1].is("telephone-event", 8000, 1));
}

#[test]
fn a_session_level_attribute_serves_a_section_that_has_none() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:passive\r\na=inactive\r\nm=audio 9 RTP/AVP 0\r\n";
    let sdp = SessionDescription::parse(text).unwrap();
    let (_, audio) = sdp.audio().unwrap();
    assert_eq!(sdp.ice_credentials_of(audio), Some(("abcd", "0123456789012345678901")));
    assert_eq!(sdp.setup_of(audio), Some(Setup::Passive));
    assert_eq!(sdp.direction_of(audio), Direction::Inactive);
}

#[test]
fn what_is_not_sdp_is_refused_with_its_line() {
    let head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n";
    assert_eq!(SessionDescription::parse(""), Err(SdpError::Version));
    assert_eq!(SessionDescription::parse("hello"), Err(SdpError::Version));
    assert_eq!(SessionDescription::parse("v=1\r\n"), Err(SdpError::Version));
    assert_eq!(SessionDescription::parse("v=0\r\ns=-\r\n"), Err(SdpError::NoOrigin));
    let bad = |line: &str| SessionDescription::parse(&format!("{head}{line}\r\n"));
    assert_eq!(bad("m=audio x RTP/AVP 0"), Err(SdpError::BadLine { line: 4, kind: 'm' }));
    assert_eq!(bad("m=audio 70000 RTP/AVP 0"), Err(SdpError::BadLine { line: 4, kind: 'm' }));
    assert_eq!(bad("c=IN IP4 2001:db8::1"), Err(SdpError::BadLine { line: 4, kind: 'c' }));
    assert_eq!(bad("a=:x"), Err(SdpError::BadLine { line: 4, kind: 'a' }));
    assert_eq!(bad("nonsense"), Err(SdpError::NotALine(4)));
    assert_eq!(bad("a=x\u{0}y"), Err(SdpError::NotALine(4)));
    assert_eq!(SessionDescription::parse(&" ".repeat(MAX_SDP_BYTES + 1)), Err(SdpError::TooLong));
    assert_eq!(bad(&"m=audio 9 RTP/AVP 0\r\n".repeat(33)), Err(SdpError::TooMany(36)));
}

#[test]
fn a_value_with_a_line_end_cannot_add_a_line() {
    let mut sdp = SessionDescription::parse(BROWSER).unwrap();
    sdp.media[0].attributes.push(Attribute::new("label", "x\r\na=setup:active"));
    let lines = BROWSER.lines().count() + 1;
    assert_eq!(sdp.to_string().lines().count(), lines);
}

#[test]
fn mutated_descriptions_never_panic_and_what_passes_prints_and_reads_again() {
    let mut seed = Seed::from_number(8866);
    for _ in 0..20_000 {
        let mut bytes = BROWSER.as_bytes().to_vec();
        for _ in 0..=seed.below(4) {
            let at = seed.below(bytes.len() as u64) as usize;
            match seed.below(3) {
                0 => bytes[at] = seed.next_u32() as u8,
                1 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                _ => bytes.insert(at, b"=:/ \r\n09"[seed.below(8) as usize]),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(sdp) = SessionDescription::parse(&text) {
            if let Some((_, audio)) = sdp.audio() {
                let _ = (audio.codecs(), audio.candidates(), sdp.sha256_fingerprints_of(audio), sdp.bundle());
            }
            assert_eq!(
                SessionDescription::parse(&sdp.to_string()).as_ref().map(|s| s.media.len()),
                Ok(sdp.media.len())
            );
        }
    }
}

#[test]
fn a_user_name_with_spaces_is_a_user_name_all_the_same_rfc_8866_5_2() {
    let sdp = |origin: &str| SessionDescription::parse(&format!("v=0\r\no={origin}\r\ns=-\r\nt=0 0\r\n"));
    let origin = sdp("My  Phone 7 3 IN IP4 192.0.2.1").unwrap().origin;
    assert_eq!((origin.username.as_str(), origin.session_id, origin.version), ("My Phone", 7, 3));
    assert!(sdp("7 3 IN IP4 192.0.2.1").is_err(), "none at all");
}

#[test]
fn keys_and_passwords_of_a_description_do_not_show_in_debug_output() {
    let text = format!(
        "{BROWSER}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n"
    );
    let sdp = SessionDescription::parse(&text).unwrap();
    assert_eq!(sdp.media[0].cryptos().len(), 1);
    let shown = format!("{sdp:?}");
    assert!(
        shown.contains("crypto") && !shown.contains("PS1uQCV") && !shown.contains("0123456789abc"),
        "{shown}"
    );
}
