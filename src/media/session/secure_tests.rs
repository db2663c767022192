//! Offers and answers of legs without ICE that are protected.

use super::plain::*;
use super::*;
use crate::base::Seed;
use crate::call::port::{Described, Encryption};
use crate::peer::SrtpProfile;

const SUITES: [SrtpProfile; 2] = [SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80];
const KEY: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
const FINGERPRINT: &str = "a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\n";

fn ours() -> SocketAddr {
    "192.0.2.10:40000".parse().unwrap()
}

/// A PBX's description of audio sections: profile and attributes of each.
fn pbx(sections: &[(&str, &str)]) -> SessionDescription {
    let sections: String = (0..)
        .zip(sections)
        .map(|(n, (profile, lines))| format!("m=audio {} {profile} 8 0\n{lines}", 12_000 + 2 * n))
        .collect();
    let text = format!("v=0\no=- 1 1 IN IP4 192.0.2.20\ns=-\nc=IN IP4 192.0.2.20\nt=0 0\n{sections}");
    SessionDescription::parse(&text.replace('\n', "\r\n")).unwrap()
}

fn crypto(tag: u32) -> String {
    format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}\n")
}

fn read(sections: &[(&str, &str)], encryption: Encryption) -> Result<PlainRemote, MediaRefusal> {
    read_plain_offer(&pbx(sections), &[Codec::Pcma], PlainRules { encryption, profiles: &SUITES })
}

fn refusal(sections: &[(&str, &str)], encryption: Encryption) -> String {
    read(sections, encryption).unwrap_err().to_string()
}

fn tag_of(remote: &PlainRemote) -> Option<u32> {
    match &remote.security {
        Security::Sdes(far) => Some(far.tag),
        _ => None,
    }
}

#[test]
fn an_encrypted_offer_is_taken_by_its_line_and_answered_with_that_tag_and_our_key_rfc4568_5_1_2() {
    let unknown = "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\n";
    let sections = [("RTP/SAVP", &*(unknown.to_owned() + &crypto(4) + &crypto(5)))];
    let remote = read(&sections, Encryption::Sdes).unwrap();
    assert_eq!(tag_of(&remote), Some(4));
    let line = OwnCrypto::random(4, SrtpProfile::AesCm128HmacSha1_80, &mut Seed::from_number(1));
    let security = OwnSecurity::Sdes(vec![line.clone()]);
    let answer =
        answer_plain(&pbx(&sections), &remote, false, &security, ours(), PTIME, &mut OwnOrigin::new(1));
    assert_eq!((answer.media[0].protocol.as_str(), answer.media[0].port), ("RTP/SAVP", 40_000));
    let lines = answer.media[0].cryptos();
    assert_eq!((lines.len(), lines[0].tag, lines[0].suite.as_str()), (1, 4, "AES_CM_128_HMAC_SHA1_80"));
    let key = [line.key.key.as_slice(), line.key.salt.as_slice()].concat();
    assert_eq!(lines[0].keys[0].key_and_salt.as_slice(), key);
}

const OFF: Encryption = Encryption::Off;
const SDES: Encryption = Encryption::Sdes;
const OPTIONAL: Encryption = Encryption::SdesOptional;
const DTLS: Encryption = Encryption::Dtls;

/// Sections as PBXs have them, and what they are.
fn sections() -> [(&'static str, String, Described); 7] {
    let fingerprint = || FINGERPRINT.to_owned();
    [
        ("RTP/AVP", String::new(), Described::Clear),
        ("RTP/SAVP", crypto(1), Described::Sdes),
        // RFC 4568 §4: the keys are in a line that this one has not
        ("RTP/SAVP", String::new(), Described::Keyless),
        ("UDP/TLS/RTP/SAVP", fingerprint(), Described::Dtls),
        ("UDP/TLS/RTP/SAVPF", fingerprint(), Described::Dtls),
        ("RTP/SAVPF", fingerprint(), Described::Dtls),
        ("TCP/RTP/AVP", String::new(), Described::Other),
    ]
}

#[test]
fn what_is_protected_otherwise_than_it_shall_be_is_refused_by_both_settings() {
    for (ours, taken) in [(OFF, &[0][..]), (SDES, &[1]), (OPTIONAL, &[0, 1]), (DTLS, &[3, 4, 5])] {
        for (n, (profile, lines, theirs)) in sections().into_iter().enumerate() {
            let refusal = read(&[(profile, &lines)], ours).err();
            let expected = MediaRefusal::Protection { ours, theirs, is_answer: false };
            assert_eq!(refusal, (!taken.contains(&n)).then_some(expected), "{ours:?} {profile}");
        }
    }
}

#[test]
fn an_answer_that_is_protected_otherwise_or_takes_no_audio_says_so_as_an_answer() {
    let own = OwnSecurity::Dtls { fingerprint: Fingerprint([1; 32]), setup: Setup::ActPass, is_muxed: true };
    let first = || PlainOffer::first(&[Codec::Pcma]);
    let offers = [
        (OFF, first(), &[0][..]),
        (SDES, sdes_offer("RTP/SAVP"), &[]),
        (OPTIONAL, sdes_offer("RTP/AVP").or_clear(), &[0]),
        (DTLS, first().secured(own, "UDP/TLS/RTP/SAVP"), &[3, 4, 5]),
    ];
    for (ours, offer, taken) in offers {
        let refused = pbx(&[("RTP/AVP", "")]).to_string().replace("m=audio 12000", "m=audio 0");
        let refusal = |text: &str| {
            read_plain_answer(&SessionDescription::parse(text).unwrap(), &offer, &Codec::ALL).unwrap_err()
        };
        assert_eq!(refusal(&refused), MediaRefusal::AudioRefused { ours });
        // nothing was refused where a line is left out (RFC 3264 §6)
        let bare = "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\n";
        for (lines, said) in [("", "has no m= line"), ("m=video 4000 RTP/AVP 31\r\n", "has no m=audio line")]
        {
            let refusal = refusal(&format!("{bare}{lines}"));
            assert!(refusal.is_of_description(), "{refusal:?}");
            assert!(refusal.to_string().contains(said), "{refusal}");
        }
        for (n, (profile, lines, theirs)) in sections().into_iter().enumerate() {
            // the key of the answer is of another line
            if theirs == Described::Sdes && matches!(ours, SDES | OPTIONAL) {
                continue;
            }
            let refusal = answer_to(&offer, profile, &lines).err();
            let expected = MediaRefusal::Protection { ours, theirs, is_answer: true };
            assert_eq!(refusal, (!taken.contains(&n)).then_some(expected), "{ours:?} {profile}");
        }
    }
}

#[test]
fn what_a_pbx_offers_beside_what_is_served_is_noted() {
    let ice = "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuvwx\n";
    let noted = |profile: &str, lines: &str, ours| {
        let unserved = read(&[(profile, lines)], ours).unwrap().unserved;
        (unserved.ice, unserved.dtls)
    };
    assert_eq!(noted("RTP/AVP", "", OFF), (false, false));
    assert_eq!(noted("RTP/AVP", ice, OFF), (true, false));
    let both = format!("{ice}{FINGERPRINT}");
    assert_eq!(noted("RTP/AVP", &both, OFF), (true, true));
    assert_eq!(noted("UDP/TLS/RTP/SAVPF", &both, DTLS), (true, false));
    // Asterisk with webrtc = yes answers RTP/AVP so
    let answer = answer_to(&PlainOffer::first(&[Codec::Pcma]), "RTP/AVP", FINGERPRINT).unwrap();
    assert!(answer.unserved.dtls);
}

#[test]
fn a_line_that_is_not_served_is_named() {
    let with_mki = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:4\n");
    for encryption in [Encryption::Sdes, Encryption::SdesOptional] {
        assert!(refusal(&[("RTP/SAVP", &with_mki)], encryption).contains("no a=crypto line that is served"));
    }
    assert!(
        refusal(&[("UDP/TLS/RTP/SAVP", "a=setup:actpass\n")], Encryption::Dtls).contains("no fingerprint")
    );
}

#[test]
fn who_offers_both_is_taken_encrypted_and_who_cannot_in_clear_where_that_is_optional() {
    let both = [("RTP/AVP", ""), ("RTP/SAVP", &*crypto(2))];
    let remote = read(&both, Encryption::SdesOptional).unwrap();
    assert_eq!((tag_of(&remote), remote.rtp.map(|r| r.port())), (Some(2), Some(12_002)));
    let remote = read(&both, Encryption::Off).unwrap();
    assert_eq!((remote.security, remote.rtp.map(|r| r.port())), (Security::Clear, Some(12_000)));
    // keys beside RTP/AVP, as Asterisk's media_encryption_optimistic has them
    let beside = [("RTP/AVP", &*crypto(3))];
    for encryption in [Encryption::Sdes, Encryption::SdesOptional] {
        assert_eq!(tag_of(&read(&beside, encryption).unwrap()), Some(3));
    }
    assert_eq!(read(&beside, Encryption::Off).unwrap().security, Security::Clear);
    for clear in ["", "a=crypto:1 F8_128_HMAC_SHA1_80 inline:AAAA\n"] {
        assert_eq!(read(&[("RTP/AVP", clear)], Encryption::SdesOptional).unwrap().security, Security::Clear);
    }
}

fn sdes_offer(protocol: &str) -> PlainOffer {
    let lines = OwnCrypto::offer(&SUITES, &mut Seed::from_number(2));
    PlainOffer::first(&[Codec::Pcma]).secured(OwnSecurity::Sdes(lines), protocol)
}

fn answer_to(offer: &PlainOffer, profile: &str, lines: &str) -> Result<PlainRemote, MediaRefusal> {
    read_plain_answer(&pbx(&[(profile, lines)]), offer, &Codec::ALL)
}

#[test]
fn our_offer_names_every_suite_with_a_key_and_the_answer_one_of_them() {
    let offer = sdes_offer("RTP/SAVP");
    let sdp = offer_plain(&offer, ours(), &mut OwnOrigin::new(1));
    let lines: Vec<_> = sdp.media[0].cryptos().into_iter().map(|c| (c.tag, c.suite)).collect();
    assert_eq!(sdp.media[0].protocol, "RTP/SAVP");
    assert_eq!(lines, [(1, "AEAD_AES_128_GCM".to_owned()), (2, "AES_CM_128_HMAC_SHA1_80".to_owned())]);
    assert_eq!(tag_of(&answer_to(&offer, "RTP/SAVP", &crypto(2)).unwrap()), Some(2));
    for (profile, lines) in [
        ("RTP/SAVP", ""),
        ("RTP/AVP", ""),
        ("RTP/SAVP", &*crypto(1)),
        ("RTP/SAVP", &*crypto(9)),
        ("UDP/TLS/RTP/SAVP", FINGERPRINT),
    ] {
        let refusal = answer_to(&offer, profile, lines);
        assert_eq!(refusal.unwrap_err().cause(), crate::base::Cause::BadMedia, "{profile} {lines}");
    }
}

#[test]
fn an_answer_in_clear_will_do_only_where_that_is_optional() {
    let offer = sdes_offer("RTP/AVP");
    assert!(answer_to(&offer, "RTP/AVP", "").is_err(), "what a PBX offered so stays encrypted");
    let offer = offer.or_clear();
    assert_eq!(answer_to(&offer, "RTP/AVP", "").map(|r| r.security), Ok(Security::Clear));
    assert_eq!(tag_of(&answer_to(&offer, "RTP/AVP", &crypto(2)).unwrap()), Some(2));
    assert!(answer_to(&offer, "RTP/AVP", &crypto(7)).is_err(), "a line of nobody is not clear");
}

#[test]
fn the_two_ends_of_dtls_without_ice_are_described_and_read_rfc5763_5() {
    let role = |lines: &str| match read(
        &[("UDP/TLS/RTP/SAVPF", &*format!("{FINGERPRINT}{lines}"))],
        Encryption::Dtls,
    ) {
        Ok(PlainRemote { security: Security::Dtls(far), rtp, rtcp, .. }) => {
            assert_eq!(far.is_muxed, rtp == rtcp);
            assert_eq!(far.fingerprints.len(), 1);
            (far.role, far.is_muxed)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(role("a=setup:actpass\n"), (DtlsRole::Client, false));
    assert_eq!(role("a=setup:passive\na=rtcp-mux\n"), (DtlsRole::Client, true));
    assert_eq!(role("a=setup:active\n"), (DtlsRole::Server, false));
    assert!(
        refusal(&[("UDP/TLS/RTP/SAVP", &*format!("{FINGERPRINT}a=setup:holdconn\n"))], Encryption::Dtls)
            .contains("holdconn")
    );

    let security =
        |setup, is_muxed| OwnSecurity::Dtls { fingerprint: Fingerprint([0xab; 32]), setup, is_muxed };
    let offer = PlainOffer::first(&[Codec::Pcma]).secured(security(Setup::ActPass, true), "UDP/TLS/RTP/SAVP");
    let sdp = offer_plain(&offer, ours(), &mut OwnOrigin::new(1));
    let media = &sdp.media[0];
    assert_eq!((media.protocol.as_str(), sdp.setup_of(media)), ("UDP/TLS/RTP/SAVP", Some(Setup::ActPass)));
    assert!(media.has("rtcp-mux") && sdp.sha256_fingerprints_of(media) == [[0xab; 32]]);
    assert!(media.candidates().is_empty() && !media.has("ice-ufrag"));
    for (setup, ours) in [("active", DtlsRole::Server), ("passive", DtlsRole::Client)] {
        let lines = format!("{FINGERPRINT}a=setup:{setup}\n");
        let remote = answer_to(&offer, "UDP/TLS/RTP/SAVP", &lines).unwrap();
        assert!(matches!(remote.security, Security::Dtls(far) if far.role == ours && !far.is_muxed));
    }
    assert!(answer_to(&offer, "RTP/AVP", "").is_err());
    assert!(answer_to(&offer, "UDP/TLS/RTP/SAVP", "a=setup:active\n").is_err());
}

/// FreeSWITCH's `rtp_use_dtls` offers DTLS in RTP/AVP, as RFC 8643 has it, and it answers UDP/TLS/RTP/SAVP by RTP/SAVP.
#[test]
fn dtls_is_known_by_its_fingerprint_whatever_the_profile_is_called_rfc8643_3() {
    for profile in ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"] {
        let lines = format!("{FINGERPRINT}a=setup:actpass\n");
        let remote = read(&[(profile, &lines)], Encryption::Dtls).unwrap();
        assert!(matches!(&remote.security, Security::Dtls(far) if far.role == DtlsRole::Client), "{profile}");
        let security =
            OwnSecurity::Dtls { fingerprint: Fingerprint([0xab; 32]), setup: Setup::Active, is_muxed: false };
        let sdp = pbx(&[(profile, &lines)]);
        let answer = answer_plain(&sdp, &remote, false, &security, ours(), PTIME, &mut OwnOrigin::new(1));
        assert_eq!(answer.media[0].protocol, profile, "RFC 3264 §6: an answer keeps the profile");
        assert_eq!(answer.setup_of(&answer.media[0]), Some(Setup::Active));
        assert_eq!(answer.sha256_fingerprints_of(&answer.media[0]), [[0xab; 32]]);

        let own =
            OwnSecurity::Dtls { fingerprint: Fingerprint([0xab; 32]), setup: Setup::ActPass, is_muxed: true };
        let offer = PlainOffer::first(&[Codec::Pcma]).secured(own, "UDP/TLS/RTP/SAVP");
        let lines = format!("{FINGERPRINT}a=setup:active\n");
        let remote = answer_to(&offer, profile, &lines).unwrap();
        assert!(matches!(&remote.security, Security::Dtls(far) if far.role == DtlsRole::Server), "{profile}");
        assert_eq!(remote.protocol, "UDP/TLS/RTP/SAVP", "further offers of ours say what it is");
        assert!(answer_to(&offer, profile, "a=setup:active\n").is_err(), "nothing of DTLS in it: {profile}");
    }
    // who does not want DTLS is not given it
    let both = format!("{FINGERPRINT}a=setup:actpass\n{}", crypto(1));
    assert_eq!(tag_of(&read(&[("RTP/SAVP", &both)], Encryption::Sdes).unwrap()), Some(1));
    assert_eq!(read(&[("RTP/AVP", &both)], Encryption::Off).unwrap().security, Security::Clear);
}

#[test]
fn of_an_answer_with_several_codecs_one_is_taken_that_the_other_leg_speaks() {
    let offer = PlainOffer::first(&[Codec::Pcma, Codec::Pcmu]);
    let sdp = pbx(&[("RTP/AVP", "")]);
    let codec = |beside: &[Codec]| read_plain_answer(&sdp, &offer, beside).map(|r| r.format.codec);
    assert_eq!(codec(&Codec::ALL), Ok(Codec::Pcma), "theirs first");
    assert_eq!(codec(&[Codec::Pcmu]), Ok(Codec::Pcmu));
    assert!(matches!(codec(&[Codec::Opus]), Err(MediaRefusal::NoCommonCodec { .. })));
}

#[test]
fn however_a_description_is_mangled_nothing_is_taken_in_clear_where_it_shall_be_encrypted() {
    let mut seed = Seed::from_number(4568);
    let text = pbx(&[("RTP/SAVP", &(crypto(1) + &crypto(2))), ("RTP/AVP", &crypto(3))]).to_string();
    let offer = sdes_offer("RTP/AVP");
    let (mut taken, mut answered) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=seed.below(4) {
            let at = usize::try_from(seed.below(bytes.len() as u64)).unwrap();
            match seed.below(3) {
                0 => bytes[at] = b"SAVP/0 =|:;"[usize::try_from(seed.below(11)).unwrap()],
                1 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                _ => bytes.insert(at, b'A'),
            }
        }
        let Ok(sdp) = SessionDescription::parse(&String::from_utf8_lossy(&bytes)) else { continue };
        let rules = PlainRules { encryption: Encryption::Sdes, profiles: &SUITES };
        if let Ok(remote) = read_plain_offer(&sdp, &Codec::ALL, rules) {
            taken += 1;
            let Security::Sdes(far) = remote.security else { panic!("{sdp}") };
            assert_eq!(
                (far.key.key.len(), far.key.salt.len()),
                (far.profile.key_len(), far.profile.salt_len())
            );
        }
        if let Ok(remote) = read_plain_answer(&sdp, &offer, &Codec::ALL) {
            answered += 1;
            assert!(matches!(remote.security, Security::Sdes(_)), "{sdp}");
        }
        let dtls = PlainRules { encryption: Encryption::Dtls, profiles: &SUITES };
        assert!(read_plain_offer(&sdp, &Codec::ALL, dtls).is_err());
    }
    assert!(taken > 5_000, "{taken} {answered}");
}
