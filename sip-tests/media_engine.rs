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

#[path = "media_world.rs"]
mod world;

use sipedge::base::{Cause, LegId};
use sipedge::call::port::{
    Application, Codec, Encryption, HoldMusic, MediaCommand, MediaEvent, MediaProfile, MediaRefusal, NoSocket,
};
use std::net::UdpSocket;
use std::time::Duration;
use world::{BROWSER, Browser, Call, LOCAL, PBX, Pbx, call, call_with, config_with_ice, plain};

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
    assert_eq!((offered, wanted), (vec!["G729".to_owned()], vec!["PCMU".to_owned()]));

    // the same before anybody is rung
    let profile = plain(&[Codec::Pcmu]);
    let fine = Box::new(pbx.description("0", ""));
    call.port.command(MediaCommand::CheckOffer { leg: PBX, profile: profile.clone(), sdp: fine });
    assert!(matches!(call.next().await, MediaEvent::OfferGood { leg: PBX }));
    let g729 = Box::new(pbx.description("18", ""));
    call.port.command(MediaCommand::CheckOffer { leg: PBX, profile, sdp: g729 });
    let event = call.next().await;
    assert!(
        matches!(event, MediaEvent::Refused { refusal: MediaRefusal::NoCommonCodec { .. }, .. }),
        "{event:?}"
    );

    // the trunk is reached by IPv4: what has its media at an IPv6 address would never hear anything
    let mut other = pbx.description("0", "");
    other.connection = Some("2001:db8::1".parse().unwrap());
    other.media.iter_mut().for_each(|m| m.connection = None);
    call.port.command(MediaCommand::AcceptOffer {
        leg: PBX,
        profile: plain(&[Codec::Pcmu]),
        sdp: Box::new(other),
    });
    let event = call.next().await;
    let MediaEvent::Refused { refusal: MediaRefusal::Unusable(why), .. } = event else { panic!("{event:?}") };
    assert!(why.contains("is IPv6") && why.contains("stays with IPv4"), "{why}");

    let mut browser = Browser::start(b'x');
    browser.offer.media[0].attributes.retain(|a| a.name != "fingerprint");
    browser.offer.attributes.retain(|a| a.name != "fingerprint");
    let sdp = Box::new(browser.offer.clone());
    call.port.command(MediaCommand::AcceptOffer { leg: BROWSER, profile: MediaProfile::WebRtc, sdp });
    let event = call.next().await;
    assert!(matches!(event, MediaEvent::Refused { refusal: MediaRefusal::Unusable(_), .. }), "{event:?}");

    // two pairs of ports: the caller that was looked at has one, the next leg another; whoever calls or is called now has none
    let profile = plain(&[Codec::Pcmu]);
    call.port.command(MediaCommand::CreateOffer { leg: LegId(11), profile: profile.clone() });
    assert!(matches!(call.next().await, MediaEvent::Offer { .. }));
    let sdp = Box::new(pbx.description("0", ""));
    for command in [
        MediaCommand::CreateOffer { leg: LegId(12), profile: profile.clone() },
        MediaCommand::CheckOffer { leg: LegId(13), profile, sdp },
    ] {
        call.port.command(command);
        let event = call.next().await;
        let MediaEvent::Refused { refusal, .. } = event else { panic!("{event:?}") };
        assert_eq!(refusal, MediaRefusal::NoSocket(NoSocket::NoPort));
        assert_eq!(refusal.cause(), Cause::Congestion);
        assert!(refusal.to_string().contains("media.rtp_ports"), "{refusal}");
    }
    call.end().await;
}

/// With `ice.lite` a browser finds a lite agent; who is lite itself finds a full one, since nobody would check otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_lite_agent_of_ours_answers_whoever_checks_and_a_full_one_who_is_lite_too() {
    for (is_peer_lite, ports) in [(false, "41900-41949"), (true, "41950-41999")] {
        let ice = serde_json::json!({ "loopback": true, "lite": true });
        let mut call = call_with(config_with_ice(&[LOCAL], ports, serde_json::json!({}), ice));
        let mut pbx = Pbx::start();
        let port = call.set_up_pbx(&pbx).await;
        call.port.command(MediaCommand::Bridge(BROWSER, PBX));
        let browser = Browser::start_as(LOCAL, b'a', is_peer_lite);
        assert_eq!(browser.offer.is_ice_lite(), is_peer_lite);
        let answer = call.attach(&browser).await;
        assert_eq!(answer.is_ice_lite(), !is_peer_lite);
        tokio::task::block_in_place(|| {
            pbx.hear(b'a');
            (0..5).for_each(|_| pbx.say(port, b'p'));
            browser.hear(b'p');
        });
    }
}

/// An ICE restart of one connection, with the role in DTLS that the browser asks for in its first offer.
async fn an_ice_restart(rtp_ports: &str, first_setup: &str, ours: &str) {
    let mut call = call(rtp_ports);
    let mut pbx = Pbx::start();
    let port = call.set_up_pbx(&pbx).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let mut browser = Browser::start(b'a');
    for attribute in browser.offer.media[0].attributes.iter_mut().filter(|a| a.name == "setup") {
        attribute.value = Some(first_setup.into());
    }
    let first = call.attach(&browser).await;
    let value = |sdp: &sipedge::sdp::SessionDescription, name: &str| {
        sdp.media[0].value(name).map(str::to_owned).unwrap()
    };
    assert_eq!(value(&first, "setup"), ours);
    let before = tokio::task::block_in_place(|| {
        pbx.hear(b'a');
        (0..5).for_each(|_| pbx.say(port, b'p'));
        browser.hear(b'p')
    });
    let seen_before = pbx.seen.len();

    let offer = browser.restart();
    assert_ne!(value(&offer, "ice-ufrag"), value(&browser.offer, "ice-ufrag"));
    let answer = call.answer_to(&offer).await;
    assert_ne!(value(&answer, "ice-ufrag"), value(&first, "ice-ufrag"));
    assert_ne!(value(&answer, "ice-pwd"), value(&first, "ice-pwd"));
    assert_eq!(value(&answer, "fingerprint"), value(&first, "fingerprint"));
    assert_eq!(value(&answer, "setup"), ours, "the DTLS roles stay (RFC 8842 §5.5)");
    assert_eq!(value(&answer, "ssrc"), value(&first, "ssrc"), "the stream goes on");
    // the browser does not know the answer yet: media still goes the old way
    tokio::task::block_in_place(|| {
        pbx.hear(b'a');
        browser.accept(answer.clone());
        browser.say(b'b');
        // only its new port is left to it by now
        pbx.hear(b'b');
        let after = loop {
            pbx.say(port, b'q');
            if let Ok((ssrc, sequence, payload)) = browser.heard.recv_timeout(Duration::from_millis(20))
                && payload == [b'q'; 160]
            {
                break (ssrc, sequence);
            }
        };
        assert_eq!(after.0, before.0);
        assert!(after.1.wrapping_sub(before.1) < 600, "one sequence: {} then {}", before.1, after.1);
    });
    let times = &pbx.times[seen_before..];
    let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    assert!(gap < Duration::from_millis(1_500), "{gap:?}");
    println!("largest gap at the PBX: {gap:?}");
    // the same offer again gives the same answer, and nothing else was said: no second handshake
    assert_eq!(call.answer_to(&offer).await, answer);
    assert!(call.events.try_recv().is_err());
    assert_eq!(call.engine.counts().streams, 2);
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_moves_the_same_association_to_the_new_port_as_dtls_client_rfc8842_5_5() {
    an_ice_restart("41300-41399", "actpass", "active").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ice_restart_moves_the_same_association_to_the_new_port_as_dtls_server_rfc8842_5_5() {
    an_ice_restart("41400-41499", "active", "passive").await;
}

/// The leg of a media application.
const APPLICATION: LegId = LegId(77);

#[tokio::test(flavor = "multi_thread")]
async fn an_application_limits_the_codecs_and_plays_to_the_pbx_and_an_echo_sends_back() {
    for application in [Application::Tone, Application::Echo] {
        let mut call = call("41300-41399");
        let mut pbx = Pbx::start();
        call.port.command(MediaCommand::Bridge(PBX, APPLICATION));
        call.port.command(MediaCommand::Run(APPLICATION, application));
        let opus = pbx.description("107", "a=rtpmap:107 opus/48000/2\r\na=sendrecv\r\n");
        let profile = plain(&Codec::ALL);
        if application == Application::Tone {
            let sdp = Box::new(opus);
            call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
            let refused = call.next().await;
            let no_codec = |r: &MediaRefusal| matches!(r, MediaRefusal::NoCommonCodec { .. });
            assert!(
                matches!(&refused, MediaEvent::Refused { refusal, .. } if no_codec(refusal)),
                "{refused:?}"
            );
        }
        let offer = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n");
        call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile, sdp: Box::new(offer) });
        let MediaEvent::Answer { sdp, .. } = call.next().await else { panic!() };
        assert!(matches!(call.next().await, MediaEvent::Connected { .. }));
        let port = sdp.media[0].port;
        tokio::task::block_in_place(|| {
            if application == Application::Echo {
                (0..5).for_each(|_| pbx.say(port, b'e'));
                pbx.hear(b'e');
            } else {
                pbx.hear_sound();
            }
        });
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_pbx_is_offered_sendonly_hears_music_and_its_media_is_not_heard() {
    let mut call = call("41400-41499");
    let mut pbx = Pbx::start();
    let towards = pbx.address().ip();
    let codecs = vec![Codec::Pcmu];
    let hold_music = HoldMusic::Generated;
    let encryption = Encryption::Off;
    let profile = MediaProfile::Rtp {
        codecs,
        towards,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: false,
        encryption,
        is_avpf: false,
        hold_music,
    };
    let port = call.set_up_leg(PBX, &pbx, profile.clone()).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let browser = Browser::start(b'h');
    call.attach(&browser).await;
    tokio::task::block_in_place(|| pbx.hear(b'h'));

    call.port.command(MediaCommand::Hold(BROWSER, true));
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile: profile.clone() });
    let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
    assert!(sdp.media[0].has("sendonly") && sdp.media[0].port == port);
    assert_eq!(sdp.media[0].formats, ["0", "101"], "the payload types stay (RFC 3264 §8.3.2)");
    let held = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\na=recvonly\r\n");
    call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(held) });
    tokio::task::block_in_place(|| {
        pbx.hear_sound();
        (0..5).for_each(|_| pbx.say(port, b'x'));
        browser.hear(0xff);
    });

    call.port.command(MediaCommand::Hold(BROWSER, false));
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
    let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
    assert!(sdp.media[0].has("sendrecv"));
    let back = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n");
    call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp: Box::new(back) });
    tokio::task::block_in_place(|| {
        pbx.hear(b'h');
        (0..5).for_each(|_| pbx.say(port, b'y'));
        browser.hear(b'y');
    });
    call.end().await;
}

/// A PBX whose trunk has music of ours, and a browser that says `k`, in a call.
struct Talking {
    call: Call,
    pbx: Pbx,
    browser: Browser,
    profile: MediaProfile,
    port: u16,
}

async fn talking(ports: &str) -> Talking {
    let mut call = call(ports);
    let pbx = Pbx::start();
    let towards = pbx.address().ip();
    let profile = MediaProfile::Rtp {
        codecs: vec![Codec::Pcmu],
        towards,
        external: Default::default(),
        own_address: Default::default(),
        is_symmetric: false,
        encryption: Encryption::Off,
        is_avpf: false,
        hold_music: HoldMusic::Generated,
    };
    let port = call.set_up_leg(PBX, &pbx, profile.clone()).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let browser = Browser::start(b'k');
    call.attach(&browser).await;
    Talking { call, pbx, browser, profile, port }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_that_holds_and_sends_nothing_leaves_music_to_the_browser_and_comes_back() {
    let Talking { mut call, mut pbx, browser, profile, port } = talking("41500-41599").await;
    let null = "0.0.0.0".parse().unwrap();
    let describe = |pbx: &Pbx, direction: &str| {
        let lines = format!("a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n");
        Box::new(pbx.description("0 101", &lines))
    };
    for (direction, is_null, answer) in [
        ("inactive", false, "inactive"),
        ("sendrecv", false, "sendrecv"),
        // as in RFC 2543
        ("sendrecv", true, "recvonly"),
        ("sendrecv", false, "sendrecv"),
        ("sendrecv", true, "recvonly"),
    ] {
        let mut sdp = describe(&pbx, direction);
        if is_null {
            sdp.connection = Some(null);
        }
        call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
        let MediaEvent::Answer { sdp, .. } = call.next().await else { panic!() };
        assert!(sdp.media[0].has(answer), "{direction} {is_null}");
        tokio::task::block_in_place(|| {
            if answer == "sendrecv" {
                pbx.hear(b'k');
                (0..5).for_each(|_| pbx.say(port, b'z'));
                browser.hear(b'z');
            } else {
                browser.hear_sound();
            }
        });
    }
    // it takes the call back by asking for our offer
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
    let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
    assert!(sdp.media[0].has("sendrecv"));
    let sdp = describe(&pbx, "sendrecv");
    call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp });
    tokio::task::block_in_place(|| {
        pbx.hear(b'k');
        (0..5).for_each(|_| pbx.say(port, b'q'));
        browser.hear(b'q');
    });
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_that_holds_and_might_send_is_passed_on_and_what_it_does_not_send_is_made_here() {
    let Talking { mut call, mut pbx, browser, profile, port } = talking("41600-41699").await;
    let written = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n");
    let mut null = written.clone();
    // the old way (RFC 3264 §8.4): the direction stays as it is
    null.connection = Some("0.0.0.0".parse().unwrap());
    let sendonly = pbx.description("0 101", "a=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n");
    for hold in [null, sendonly] {
        let sdp = Box::new(hold);
        call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
        let MediaEvent::Answer { .. } = call.next().await else { panic!() };
        tokio::task::block_in_place(|| {
            browser.hear_sound();
            // music of its own takes the place of ours
            (0..5).for_each(|_| pbx.say(port, b'm'));
            browser.hear(b'm');
            browser.hear_sound();
        });
        let sdp = Box::new(written.clone());
        call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
        let MediaEvent::Answer { .. } = call.next().await else { panic!() };
        tokio::task::block_in_place(|| {
            pbx.hear(b'k');
            (0..5).for_each(|_| pbx.say(port, b'z'));
            browser.hear(b'z');
        });
    }
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pbx_that_listens_only_holds_nobody_it_hears_the_browser_which_hears_silence_rfc3264_6_1() {
    let Talking { mut call, mut pbx, browser, profile, port } = talking("42100-42199").await;
    for (direction, answer) in [("recvonly", "sendonly"), ("sendrecv", "sendrecv"), ("recvonly", "sendonly")]
    {
        let lines = format!("a=rtpmap:101 telephone-event/8000\r\na={direction}\r\n");
        let sdp = Box::new(pbx.description("0 101", &lines));
        call.port.command(MediaCommand::AcceptOffer { leg: PBX, profile: profile.clone(), sdp });
        let MediaEvent::Answer { sdp, .. } = call.next().await else { panic!() };
        assert!(sdp.media[0].has(answer), "{direction}");
        tokio::task::block_in_place(|| {
            pbx.hear(b'k');
            if direction == "recvonly" {
                browser.hear_silence(50);
            } else {
                (0..5).for_each(|_| pbx.say(port, b'z'));
                browser.hear(b'z');
            }
        });
    }
    call.end().await;
}

/// Codecs of a PBX's description: opus and PCMA.
const TWO: (&str, &str) = ("107 8", "a=rtpmap:107 opus/48000/2\r\n");

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_beside_a_pbx_that_has_yet_to_choose_gets_the_first_of_the_list_and_the_pbx_is_held_to_it()
{
    for (formats, is_taken) in [(TWO.0, true), ("107", false)] {
        let mut call = call("41700-41799");
        let pbx = Pbx::start();
        call.port.command(MediaCommand::Bridge(BROWSER, PBX));
        let profile = plain(&[Codec::Pcma, Codec::Opus]);
        call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
        let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
        assert_eq!(sdp.media[0].formats[..2], ["8", "107"]);
        // its own first choice would be opus
        let browser = Browser::start(b'a');
        let answer = call.answer_to(&browser.offer).await;
        assert_eq!(answer.media[0].codecs()[0].name, "PCMA");
        let sdp = Box::new(pbx.description(formats, TWO.1));
        call.port.command(MediaCommand::AcceptAnswer { leg: PBX, sdp });
        let event = call.next().await;
        match event {
            MediaEvent::Connected { leg: PBX, codec: Codec::Pcma } => assert!(is_taken),
            MediaEvent::Refused { leg: PBX, refusal: MediaRefusal::NoCommonCodec { wanted, .. } } => {
                assert!(!is_taken && wanted == ["PCMA"], "{wanted:?}");
            }
            other => panic!("{other:?}"),
        }
        call.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_called_is_offered_what_the_caller_has_in_the_order_of_its_own_trunk() {
    let mut call = call("41800-41899");
    let (caller, callee) = (LegId(1), LegId(2));
    let pbx = Pbx::start();
    let sdp = Box::new(pbx.description(TWO.0, TWO.1));
    let profile = plain(&Codec::ALL);
    call.port.command(MediaCommand::CheckOffer { leg: caller, profile, sdp });
    assert!(matches!(call.next().await, MediaEvent::OfferGood { .. }));
    call.port.command(MediaCommand::Bridge(caller, callee));
    let profile = plain(&[Codec::Pcmu, Codec::Pcma, Codec::Opus]);
    call.port.command(MediaCommand::CreateOffer { leg: callee, profile });
    let MediaEvent::Offer { sdp, .. } = call.next().await else { panic!() };
    let names: Vec<_> = sdp.media[0].codecs().into_iter().map(|c| c.name).collect();
    assert_eq!(names[..2], ["PCMA", "opus"]);
    let leg = LegId(3);
    call.port.command(MediaCommand::CreateOffer { leg, profile: plain(&[Codec::G722]) });
    let event = call.next().await;
    let no_codec = |r: &MediaRefusal| matches!(r, MediaRefusal::NoCommonCodec { .. });
    assert!(matches!(&event, MediaEvent::Refused { refusal, .. } if no_codec(refusal)), "{event:?}");
    call.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_browsers_offer_says_what_the_pbx_is_offered_and_leaves_its_transport_as_it_is() {
    let mut call = call("42000-42099");
    let mut pbx = Pbx::start();
    call.set_up_pbx(&pbx).await;
    call.port.command(MediaCommand::Bridge(BROWSER, PBX));
    let first = Browser::start(b'a');
    call.attach(&first).await;
    tokio::task::block_in_place(|| pbx.hear(b'a'));

    // another browser that speaks PCMA alone
    let second = Browser::start(b'b');
    let only = |codec: &str| {
        let text = second.offer.to_string();
        let others = ["opus", "PCMU", "PCMA"].into_iter().filter(|name| *name != codec);
        let text = others.fold(text, |text, name| text.replace(name, "none"));
        Box::new(sipedge::sdp::SessionDescription::parse(&text).unwrap())
    };
    let check = |sdp| MediaCommand::CheckOffer { leg: BROWSER, profile: MediaProfile::WebRtc, sdp };
    call.port.command(check(only("PCMA")));
    assert!(matches!(call.next().await, MediaEvent::OfferGood { leg: BROWSER }));
    let profile = plain(&[Codec::Pcmu, Codec::Pcma]);
    let offered = |event| match event {
        MediaEvent::Offer { leg: PBX, sdp } => sdp.media[0].formats.clone(),
        other => panic!("{other:?}"),
    };
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile: profile.clone() });
    assert_eq!(offered(call.next().await), ["8", "101"]);
    // the PBX refuses that: all is as it was
    call.port.command(MediaCommand::FreeCodec(BROWSER, false));
    call.port.command(MediaCommand::CreateOffer { leg: PBX, profile });
    assert_eq!(offered(call.next().await), ["0", "101"]);
    first.say(b'c');
    tokio::task::block_in_place(|| pbx.hear(b'c'));

    // what cannot be served is said at once
    call.port.command(check(only("G729")));
    let event = call.next().await;
    assert!(
        matches!(event, MediaEvent::Refused { refusal: MediaRefusal::NoCommonCodec { .. }, .. }),
        "{event:?}"
    );
    let mut bare = only("PCMA");
    bare.media[0].attributes.retain(|a| a.name != "ice-ufrag");
    bare.attributes.retain(|a| a.name != "ice-ufrag");
    call.port.command(check(bare));
    assert!(matches!(call.next().await, MediaEvent::Refused { refusal: MediaRefusal::Unusable(_), .. }));
    call.end().await;
}
