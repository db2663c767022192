//! Offers and answers.

use super::*;
use crate::call::port::{Described, Encryption};

fn parse(text: &str) -> SessionDescription {
    SessionDescription::parse(&text.replace('\n', "\r\n")).unwrap()
}

fn read_clear(sdp: &SessionDescription, wanted: &[Codec]) -> Result<PlainRemote, MediaRefusal> {
    read_plain_offer(sdp, wanted, PlainRules { encryption: Encryption::Off, profiles: &[] })
}

fn read_answer(sdp: &SessionDescription, offer: &PlainOffer) -> Result<PlainRemote, MediaRefusal> {
    read_plain_answer(sdp, offer, &Codec::ALL)
}

fn answer_clear(
    sdp: &SessionDescription,
    remote: &PlainRemote,
    is_held: bool,
    rtp: SocketAddr,
    origin: &mut OwnOrigin,
) -> SessionDescription {
    answer_plain(sdp, remote, is_held, &OwnSecurity::Clear, rtp, PTIME, origin)
}

/// The audio and video of a Chromium, shortened to what is read.
const CHROMIUM: &str = "v=0
o=- 46117317 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS x
m=audio 54400 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 192.0.2.33
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 192.0.2.33 54400 typ host generation 0 network-id 1
a=candidate:2 1 tcp 1518280447 192.0.2.33 9 typ host tcptype active generation 0
a=candidate:3 1 udp 2122194687 8c5a-11.local 54401 typ host generation 0
a=candidate:4 2 udp 2122194686 192.0.2.33 54402 typ host generation 0
a=ice-ufrag:l5VL
a=ice-pwd:1uRUUoX5i8kPzyN+lPh4z7Jq
a=ice-options:trickle
a=fingerprint:sha-256 7B:8B:F0:65:5F:78:E2:51:3B:AC:6F:F3:3F:46:1B:35:DC:B8:5F:64:1A:24:C2:43:F0:A1:58:D0:A1:2C:19:08
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=mid:1
a=rtpmap:96 VP8/90000
";

fn local() -> LocalTransport {
    LocalTransport {
        credentials: IceCredentials { ufrag: "ours".into(), pwd: Secret::new("p".repeat(24)) },
        fingerprint: Fingerprint([0xab; 32]),
        candidates: vec!["192.0.2.10:7000".parse().unwrap(), "[2001:db8::10]:7000".parse().unwrap()],
        source: OwnSource { ssrc: 77, cname: "name".into() },
        is_lite: false,
    }
}

#[test]
fn a_browsers_offer_is_answered_with_one_codec_its_events_and_everything_else_refused() {
    let sdp = parse(CHROMIUM);
    let offer = read_webrtc_offer(&sdp, &[Codec::Pcma]).unwrap();
    assert_eq!(offer.remote.candidates, ["192.0.2.33:54400".parse::<SocketAddr>().unwrap()]);
    assert_eq!((offer.remote.dtls_role, offer.remote.ice_role), (DtlsRole::Client, IceRole::Controlled));
    assert_eq!(offer.remote.credentials.ufrag, "l5VL");
    let mut origin = OwnOrigin::new(99);
    let text = answer_webrtc(&sdp, &offer, &local(), &mut origin).to_string();
    let answer = SessionDescription::parse(&text).unwrap();
    assert_eq!(answer.bundle(), ["0"]);
    let [audio, video] = &answer.media[..] else { panic!("{text}") };
    assert_eq!((audio.port, audio.protocol.as_str()), (7_000, "UDP/TLS/RTP/SAVPF"));
    assert_eq!(audio.formats, ["8", "126"], "events by the clock of the audio");
    assert_eq!(answer.setup_of(audio), Some(Setup::Active));
    assert_eq!(audio.mid(), Some("0"));
    assert!(audio.has("rtcp-mux") && audio.has("sendrecv") && audio.has("end-of-candidates"));
    assert_eq!(answer.sha256_fingerprints_of(audio), [[0xab; 32]]);
    let candidates: Vec<_> = audio.candidates();
    assert_eq!(candidates.len(), 2);
    assert!(candidates[0].priority > candidates[1].priority);
    assert!(text.contains("a=candidate:1 1 udp 2130706431 192.0.2.10 7000 typ host\r\n"), "{text}");
    assert_eq!((video.port, video.kind.as_str(), video.mid()), (0, "video", Some("1")));
    assert!(video.candidates().is_empty());
}

#[test]
fn without_another_leg_the_browsers_first_codec_is_taken_with_its_own_payload_types() {
    let offer = read_webrtc_offer(&parse(CHROMIUM), &Codec::ALL).unwrap();
    let wide = EventFormat { payload_type: 110, clock_rate: 48_000 };
    assert_eq!(
        offer.format,
        Format {
            codec: Codec::Opus,
            payload_in: 111,
            payload_out: 111,
            others_in: [None; 3],
            events_in: [Some(wide), None],
            event_out: Some(wide),
        }
    );
    let text = answer_webrtc(&parse(CHROMIUM), &offer, &local(), &mut OwnOrigin::new(1)).to_string();
    assert!(
        text.contains("a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"),
        "{text}"
    );
}

#[test]
fn an_active_browser_finds_us_passive_and_a_lite_one_finds_us_controlling() {
    let active = CHROMIUM.replace("setup:actpass", "setup:active").replace("a=group", "a=ice-lite\na=group");
    let sdp = parse(&active);
    let offer = read_webrtc_offer(&sdp, &Codec::ALL).unwrap();
    assert_eq!((offer.remote.dtls_role, offer.remote.ice_role), (DtlsRole::Server, IceRole::Controlling));
    let answer = answer_webrtc(&sdp, &offer, &local(), &mut OwnOrigin::new(1));
    assert_eq!(answer.setup_of(&answer.media[0]), Some(Setup::Passive));
}

#[test]
fn a_lite_agent_of_ours_says_so_for_the_whole_session_rfc8839_5_3() {
    let sdp = parse(CHROMIUM);
    let offer = read_webrtc_offer(&sdp, &Codec::ALL).unwrap();
    for is_lite in [false, true] {
        let local = LocalTransport { is_lite, ..local() };
        let text = answer_webrtc(&sdp, &offer, &local, &mut OwnOrigin::new(1)).to_string();
        assert_eq!(SessionDescription::parse(&text).unwrap().is_ice_lite(), is_lite);
        let before_sections = text.split("m=audio").next().unwrap();
        assert_eq!(before_sections.contains("a=ice-lite\r\n"), is_lite, "{text}");
    }
}

#[test]
fn the_same_offer_gives_the_same_answer_and_a_changed_direction_a_new_version() {
    let mut origin = OwnOrigin::new(5);
    let mut answer = |text: &str| {
        let sdp = parse(text);
        answer_webrtc(&sdp, &read_webrtc_offer(&sdp, &Codec::ALL).unwrap(), &local(), &mut origin)
    };
    let first = answer(CHROMIUM);
    assert_eq!(answer(CHROMIUM), first);
    let held = answer(&CHROMIUM.replace("a=sendrecv", "a=sendonly"));
    assert!(held.media[0].has("recvonly"));
    assert_eq!(held.origin.version, first.origin.version + 1);
    assert_eq!(held.origin.session_id, first.origin.session_id);
    let inactive = answer(&CHROMIUM.replace("a=sendrecv", "a=inactive"));
    assert!(inactive.media[0].has("inactive"), "a client that holds by inactive is answered inactive");
}

#[test]
fn another_transport_is_known_by_its_ufrag_and_fingerprint() {
    let key = |text: &str| read_webrtc_offer(&parse(text), &Codec::ALL).unwrap().key;
    assert_eq!(key(CHROMIUM), key(&CHROMIUM.replace("a=sendrecv", "a=sendonly")));
    assert_ne!(key(CHROMIUM), key(&CHROMIUM.replace("l5VL", "next")));
    assert_ne!(key(CHROMIUM), key(&CHROMIUM.replace("7B:8B", "7B:8C")));
    let first = key(CHROMIUM);
    let again = CHROMIUM.replace("l5VL", "next");
    assert!(first.is_restarted_by(&key(&again)) && !first.is_restarted_by(&first));
    assert!(!first.is_restarted_by(&key(&again.replace("7B:8B", "7B:8C"))), "another certificate");
    let origin = CHROMIUM.lines().find(|l| l.starts_with("o=")).unwrap();
    let other = again.replace(origin, "o=- 4711 2 IN IP4 127.0.0.1");
    assert!(!first.is_restarted_by(&key(&other)), "another peer connection with the same certificate");
}

#[test]
fn what_a_browsers_offer_lacks_is_named() {
    let refusal = |from: &str, to: &str| {
        assert!(CHROMIUM.contains(from), "{from}");
        let refusal = read_webrtc_offer(&parse(&CHROMIUM.replace(from, to)), &[Codec::Pcmu]).unwrap_err();
        assert_eq!(refusal.cause(), crate::base::Cause::BadMedia);
        refusal.to_string()
    };
    assert!(refusal("a=fingerprint:sha-256", "a=fingerprint:sha-1").contains("no sha-256 fingerprint"));
    assert!(refusal("a=fingerprint", "a=x").contains("no fingerprint"));
    assert!(refusal("a=ice-ufrag", "a=x").contains("ICE"));
    assert!(refusal("a=rtcp-mux\n", "").contains("rtcp-mux"));
    assert!(refusal("m=audio 54400", "m=audio 0").contains("no audio"));
    assert!(refusal("m=audio 54400 UDP/TLS/RTP/SAVPF", "m=audio 54400 RTP/AVP").contains("SAVPF"));
    let none = CHROMIUM.replace("a=rtpmap:0 PCMU/8000\n", "a=rtpmap:0 X/8000\n");
    let refusal = read_webrtc_offer(&parse(&none), &[Codec::Pcmu]).unwrap_err();
    let MediaRefusal::NoCommonCodec { offered, wanted } = refusal else { panic!("{refusal:?}") };
    assert_eq!(wanted, ["PCMU"]);
    assert!(offered.contains(&"opus/48000/2".to_owned()));
}

const PBX: &str = "v=0
o=- 1 1 IN IP4 192.0.2.20
s=Asterisk
c=IN IP4 192.0.2.20
t=0 0
m=audio 12000 RTP/AVP 8 96
a=rtpmap:8 PCMA/8000
a=rtpmap:96 telephone-event/8000
a=fmtp:96 0-16
a=ptime:20
a=sendrecv
";

fn ours() -> SocketAddr {
    "192.0.2.10:40000".parse().unwrap()
}

#[test]
fn our_offer_to_a_pbx_names_the_codec_its_events_and_20_ms() {
    let text =
        offer_plain(&PlainOffer::first(&[Codec::Pcma]), ours(), &mut OwnOrigin::new(u64::MAX)).to_string();
    assert_eq!(
        text,
        "v=0\r\no=- 4611686018427387903 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
         m=audio 40000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    );
    let opus = offer_plain(&PlainOffer::first(&[Codec::Opus]), ours(), &mut OwnOrigin::new(1));
    assert_eq!(opus.media[0].formats, ["107", "101", "102"]);
    let clocks: Vec<u32> = opus.media[0].codecs().iter().map(|c| c.clock_rate).collect();
    assert_eq!(clocks, [48_000, 8_000, 48_000]);
}

#[test]
fn an_answer_of_a_pbx_gives_its_payload_types_for_sending_and_ours_for_receiving_rfc3264_6_1() {
    let remote = read_answer(&parse(PBX), &PlainOffer::first(&[Codec::Pcmu, Codec::Pcma])).unwrap();
    assert_eq!(remote.rtp, Some("192.0.2.20:12000".parse().unwrap()));
    assert_eq!(remote.rtcp, Some("192.0.2.20:12001".parse().unwrap()));
    assert_eq!((remote.format.codec, remote.format.payload_out), (Codec::Pcma, 8));
    assert_eq!(remote.format.event_out, Some(EventFormat { payload_type: 96, clock_rate: 8_000 }));
    assert_eq!(remote.format.events_in[0], Some(EventFormat { payload_type: 101, clock_rate: 8_000 }));
    let refusal = read_answer(&parse(PBX), &PlainOffer::first(&[Codec::Opus])).unwrap_err();
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
    let (offered, wanted) = (names(&["PCMA", "telephone-event"]), names(&["opus/48000/2"]));
    assert_eq!(refusal, MediaRefusal::NoCommonCodec { offered, wanted });
}

#[test]
fn rtcp_goes_where_a_rtcp_says_rfc3605() {
    let rtcp = |line: &str| {
        let text = format!("{PBX}{line}\n");
        read_answer(&parse(&text), &PlainOffer::first(&[Codec::Pcma])).unwrap().rtcp.unwrap().to_string()
    };
    assert_eq!(rtcp("a=rtcp:12345"), "192.0.2.20:12345");
    assert_eq!(rtcp("a=rtcp:12345 IN IP4 192.0.2.99"), "192.0.2.99:12345");
    assert_eq!(rtcp("a=rtcp:nonsense"), "192.0.2.20:12001");
}

#[test]
fn hold_by_direction_or_null_address_is_understood_and_answered_in_kind_rfc3264_8_4() {
    let read = |text: &str| read_clear(&parse(text), &[Codec::Pcma]).unwrap();
    let mut origin = OwnOrigin::new(1);
    let mut answer = |text: &str, is_held| {
        let answer = answer_clear(&parse(text), &read(text), is_held, ours(), &mut origin);
        answer.direction_of(&answer.media[0])
    };
    let sendonly = PBX.replace("sendrecv", "sendonly");
    assert_eq!(read(&sendonly).direction, Direction::SendOnly);
    assert_eq!(answer(&sendonly, false), Direction::RecvOnly);
    assert_eq!(answer(&PBX.replace("sendrecv", "inactive"), false), Direction::Inactive);
    for null in ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"] {
        let text = PBX.replace("c=IN IP4 192.0.2.20", null);
        // what it says, and what is answered while the other side holds and while it does not
        for (written, read_as, held, not_held) in [
            ("sendrecv", Direction::SendOnly, Direction::Inactive, Direction::RecvOnly),
            ("sendonly", Direction::SendOnly, Direction::Inactive, Direction::RecvOnly),
            ("recvonly", Direction::Inactive, Direction::Inactive, Direction::Inactive),
            ("inactive", Direction::Inactive, Direction::Inactive, Direction::Inactive),
        ] {
            let text = text.replace("sendrecv", written);
            let remote = read(&text);
            assert_eq!((remote.direction, remote.rtp), (read_as, None), "{null} {written}");
            assert_eq!((answer(&text, true), answer(&text, false)), (held, not_held), "{null} {written}");
        }
    }
    let held =
        read_answer(&parse(&PBX.replace("192.0.2.20\nt", "0.0.0.0\nt")), &PlainOffer::first(&[Codec::Pcma]));
    assert_eq!(held.map(|r| (r.direction, r.rtp)), Ok((Direction::SendOnly, None)));
}

#[test]
fn an_offer_of_a_pbx_is_answered_in_our_order_under_its_payload_types() {
    let text = PBX
        .replace("RTP/AVP 8 96", "RTP/AVP 9 8 0 100 96")
        .replace("a=ptime", "a=rtpmap:100 opus/48000/2\na=fmtp:100 useinbandfec=1\na=ptime");
    let sdp = parse(&(text + "m=video 12002 RTP/AVP 31\n"));
    let remote = read_clear(&sdp, &[Codec::Opus, Codec::Pcmu]).unwrap();
    assert_eq!((remote.format.codec, remote.format.payload_in), (Codec::Opus, 100));
    let answer = answer_clear(&sdp, &remote, false, ours(), &mut OwnOrigin::new(1));
    assert_eq!(answer.media[0].formats, ["100", "96"]);
    assert_eq!((answer.media[0].port, answer.media[1].port), (40_000, 0));
    let remote = read_clear(&sdp, &[Codec::G722]).unwrap();
    assert_eq!(remote.format.codec, Codec::G722, "the other leg's codec decides");
}

#[test]
fn srtp_multicast_and_missing_addresses_of_a_plain_leg_are_refused() {
    let refusal = |from: &str, to: &str| {
        let refusal = read_clear(&parse(&PBX.replace(from, to)), &Codec::ALL).unwrap_err();
        assert_eq!(refusal.cause(), crate::base::Cause::BadMedia, "{refusal:?}");
    };
    refusal("RTP/AVP", "RTP/SAVP");
    refusal("c=IN IP4 192.0.2.20", "c=IN IP4 233.252.0.1");
    refusal("c=IN IP4 192.0.2.20\n", "");
    refusal("m=audio 12000", "m=audio 0");
}

#[test]
fn media_of_the_other_ip_version_is_refused_by_what_its_own_has() {
    let v4 = read_clear(&parse(PBX), &Codec::ALL).unwrap();
    let v6 = PBX.replace("c=IN IP4 192.0.2.20", "c=IN IP6 2001:db8::20");
    let v6 = read_clear(&parse(&v6), &Codec::ALL).unwrap();
    let own = |text: &str| text.parse::<IpAddr>().unwrap();
    for (ours, words) in
        [(OursIs::Begun, "stays with"), (OursIs::Configured, "goes by"), (OursIs::WithoutRoute, "no route")]
    {
        let said = |remote: &PlainRemote, local: &str| {
            remote.check_reach(own(local), ours).map_err(|refusal| refusal.to_string())
        };
        assert_eq!((said(&v4, "192.0.2.10"), said(&v6, "2001:db8::10")), (Ok(()), Ok(())));
        for (remote, local, is, others) in
            [(&v4, "2001:db8::10", "address is IPv4", "IPv6"), (&v6, "192.0.2.10", "address is IPv6", "IPv4")]
        {
            let said = said(remote, local).unwrap_err();
            assert!(said.contains(is) && said.ends_with(&format!("announce an {others} address")), "{said}");
            assert!(said.contains(words), "{said}");
            assert!(said.len() < crate::base::LOG_TEXT_LIMIT);
        }
    }
}

#[test]
fn a_broadcast_address_is_named_as_one_rfc919_7() {
    let all =
        read_clear(&parse(&PBX.replace("c=IN IP4 192.0.2.20", "c=IN IP4 255.255.255.255")), &Codec::ALL);
    let refusal = all.unwrap_err();
    assert!(refusal.is_of_description() && refusal.to_string().contains("broadcast"), "{refusal}");
}

#[test]
fn of_two_audio_sections_the_one_that_is_served_is_taken_and_the_other_refused_rfc_3264_6() {
    // a telephone that would like SRTP and can do without
    let both = |first: &str, second: &str| {
        parse(&format!(
            "v=0\no=- 1 1 IN IP4 192.0.2.4\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\n\
             m=audio 4000 {first} 0\nm=audio 4002 {second} 0\n"
        ))
    };
    let mut origin = OwnOrigin::new(8);
    for sdp in [both("RTP/SAVP", "RTP/AVP"), both("RTP/AVP", "RTP/SAVP"), both("RTP/AVP", "RTP/AVP")] {
        let remote = read_clear(&sdp, &[Codec::Pcmu]).unwrap();
        let taken = sdp.media.iter().position(|m| m.protocol == "RTP/AVP").unwrap();
        assert_eq!(remote.rtp, Some(SocketAddr::new([192, 0, 2, 4].into(), sdp.media[taken].port)));
        let answer = answer_clear(&sdp, &remote, false, "192.0.2.10:40000".parse().unwrap(), &mut origin);
        let ports: Vec<_> = answer.media.iter().map(|m| (m.port, m.protocol.as_str())).collect();
        let other = (0, sdp.media[1 - taken].protocol.as_str());
        let expected = if taken == 0 { [(40_000, "RTP/AVP"), other] } else { [other, (40_000, "RTP/AVP")] };
        assert_eq!(ports, expected);
    }
    let refused = read_clear(&both("RTP/SAVP", "UDP/TLS/RTP/SAVPF"), &[Codec::Pcmu]).unwrap_err();
    let (ours, theirs) = (Encryption::Off, Described::Keyless);
    assert_eq!(refused, MediaRefusal::Protection { ours, theirs, is_answer: false }, "of the first");
}

#[test]
fn an_offer_of_codecs_that_are_not_served_is_refused_by_their_names_rfc_3551_6() {
    let sdp = parse(
        "v=0\no=- 1 1 IN IP4 192.0.2.4\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\nm=audio 4000 RTP/AVP 3 4 15 18 101\n\
         a=rtpmap:101 telephone-event/8000\n",
    );
    let MediaRefusal::NoCommonCodec { offered, .. } = read_clear(&sdp, &[Codec::Pcmu]).unwrap_err() else {
        panic!()
    };
    assert_eq!(offered, ["GSM", "G723", "G728", "G729", "telephone-event"]);
}

#[test]
fn an_ipv4_address_in_the_clothes_of_ipv6_is_one_rfc_5118_4_9() {
    let sdp =
        parse("v=0\no=- 1 1 IN IP6 ::1\ns=-\nc=IN IP6 ::ffff:192.0.2.4\nt=0 0\nm=audio 4000 RTP/AVP 0\n");
    let remote = read_clear(&sdp, &[Codec::Pcmu]).unwrap();
    assert_eq!(remote.rtp, Some("192.0.2.4:4000".parse().unwrap()));
}

#[test]
fn a_later_offer_of_ours_keeps_every_section_in_its_place_rfc_3264_8() {
    // theirs had a picture and SRTP before the audio that was taken; both were refused
    let sdp = parse(
        "v=0\no=- 1 1 IN IP4 192.0.2.4\ns=-\nc=IN IP4 192.0.2.4\nt=0 0\n\
         m=video 4004 RTP/AVP 99\na=rtpmap:99 H264/90000\nm=audio 4000 RTP/SAVP 0\nm=audio 4002 RTP/AVP 0\n",
    );
    let rtp = "192.0.2.10:40000".parse().unwrap();
    let mut origin = OwnOrigin::new(8);
    let remote = read_clear(&sdp, &[Codec::Pcmu]).unwrap();
    assert_eq!(answer_clear(&sdp, &remote, false, rtp, &mut origin).origin.version, 1);
    let again = PlainOffer::again(&remote.format).with_direction(Direction::SendOnly);
    let offer = offer_plain(&again, rtp, &mut origin);
    let sections: Vec<_> =
        offer.media.iter().map(|m| (m.kind.as_str(), m.port, m.protocol.as_str())).collect();
    assert_eq!(sections, [("video", 0, "RTP/AVP"), ("audio", 0, "RTP/SAVP"), ("audio", 40_000, "RTP/AVP")]);
    assert!(offer.media[2].has("sendonly") && offer.origin.version == 2);
    // and its answer is read from that place
    let mut answer = sdp.clone();
    answer.media[0].port = 0;
    answer.media[1].port = 0;
    let remote = read_answer(&answer, &again).unwrap();
    assert_eq!(remote.rtp, Some("192.0.2.4:4002".parse().unwrap()));
    // a first offer has one section
    assert_eq!(offer_plain(&PlainOffer::first(&[Codec::Pcmu]), rtp, &mut OwnOrigin::new(9)).media.len(), 1);
}

#[test]
fn how_much_sound_a_packet_is_to_have_is_read_and_never_more_than_the_longest_rfc_8866_6_4() {
    let read = |lines: &str| {
        let sdp = SessionDescription::parse(&PBX.replace("a=ptime:20\n", lines)).unwrap();
        let rules = PlainRules { encryption: Encryption::Off, profiles: &[] };
        read_plain_offer(&sdp, &[Codec::Pcma], rules).unwrap().ptime
    };
    for (lines, expected) in [
        ("", None),
        ("a=ptime:30\n", Some(30)),
        ("a=maxptime:10\n", Some(10)),
        ("a=maxptime:150\n", Some(20)),
        ("a=ptime:30\na=maxptime:20\n", Some(20)),
        ("a=ptime:0\n", None),
        ("a=ptime:9999\n", None),
        ("a=ptime:x\n", None),
    ] {
        assert_eq!(read(lines), expected, "{lines}");
    }
    let offer = PlainOffer::first(&[Codec::Pcma]).with_ptime(30);
    assert_eq!(offer_plain(&offer, ours(), &mut OwnOrigin::new(1)).media[0].value("ptime"), Some("30"));
}
