//! The engine against webrtc-srtp, and against forgers.

use super::*;
use crate::base::Seed;
use crate::peer::SrtpKeys;
use rtp::packet::Packet;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;
use webrtc_util::marshal::Unmarshal;
use zeroize::Zeroizing;

const PROFILES: [(SrtpProfile, ProtectionProfile); 4] = [
    (SrtpProfile::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (SrtpProfile::AesCm128HmacSha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
    (SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpProfile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

fn master(profile: SrtpProfile, seed: &mut Seed) -> MasterKey {
    let mut key = Zeroizing::new(vec![0; profile.key_len()]);
    let mut salt = Zeroizing::new(vec![0; profile.salt_len()]);
    seed.fill(&mut key);
    seed.fill(&mut salt);
    MasterKey { key, salt }
}

fn oracle(profile: ProtectionProfile, master: &MasterKey) -> Context {
    Context::new(&master.key, &master.salt, profile, None, None).unwrap()
}

fn packet(sequence: u16, len: usize, seed: &mut Seed) -> Vec<u8> {
    let header = RtpHeader {
        is_marked: false,
        payload_type: 0,
        sequence,
        timestamp: seed.next_u32(),
        ssrc: 0x1234_5678,
        header_len: 12,
        is_padded: false,
    };
    let mut bytes = header.to_fixed().to_vec();
    bytes.resize(12 + len, 0);
    seed.fill(&mut bytes[12..]);
    bytes
}

#[test]
fn seventy_thousand_packets_over_a_rollover_are_byte_equal_to_the_oracle_both_ways() {
    // the short tag is the beginning of the long one, which the other tests see
    for (ours, theirs) in PROFILES.into_iter().filter(|(p, _)| *p != SrtpProfile::AesCm128HmacSha1_32) {
        let mut seed = Seed::from_number(11);
        let master = master(ours, &mut seed);
        let mut sealer = Sealer::new(ours, &master).unwrap();
        let mut opener = Opener::new(ours, &master).unwrap();
        let (mut seals, mut opens) = (oracle(theirs, &master), oracle(theirs, &master));
        let start = 30_000_u64;
        for index in start..start + 71_000 {
            let plain = packet(crate::media::packet::low16(index), seed.below(200) as usize, &mut seed);
            let theirs = seals.encrypt_rtp(&plain).unwrap();
            let mut buf = PacketBuf::from_bytes(&plain).unwrap();
            sealer.protect_rtp(&mut buf, index).unwrap();
            assert_eq!(buf.bytes(), &theirs[..], "{ours:?} sealing {index}");
            assert_eq!(&opens.decrypt_rtp(buf.bytes()).unwrap()[..], &plain[..], "{ours:?} {index}");
            let header = opener.unprotect_rtp(&mut buf).unwrap();
            assert_eq!(buf.bytes(), &plain[..], "{ours:?} opening {index}");
            assert_eq!(u64::from(header.sequence), index & 0xffff);
        }
    }
}

#[test]
fn header_extensions_and_csrcs_are_authenticated_and_stay_clear() {
    for (ours, theirs) in PROFILES {
        let mut seed = Seed::from_number(5);
        let master = master(ours, &mut seed);
        let plain = [
            &[0x91, 0x6f, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0][..],
            b"payload",
        ]
        .concat();
        assert!(Packet::unmarshal(&mut &plain[..]).is_ok());
        let mut buf = PacketBuf::from_bytes(&plain).unwrap();
        Sealer::new(ours, &master).unwrap().protect_rtp(&mut buf, 1).unwrap();
        assert_eq!(&oracle(theirs, &master).encrypt_rtp(&plain).unwrap()[..], buf.bytes());
        let mut changed = PacketBuf::from_bytes(buf.bytes()).unwrap();
        changed.bytes_mut()[21] ^= 1;
        let mut opener = Opener::new(ours, &master).unwrap();
        assert_eq!(opener.unprotect_rtp(&mut changed), Err(Drop::BadTag));
        assert!(opener.unprotect_rtp(&mut buf).is_ok());
        assert_eq!(buf.bytes(), plain);
    }
}

#[test]
fn rtcp_is_understood_by_the_oracle_and_the_oracle_by_us() {
    for (ours, theirs) in PROFILES {
        let mut seed = Seed::from_number(6);
        let master = master(ours, &mut seed);
        let mut sealer = Sealer::new(ours, &master).unwrap();
        let mut opener = Opener::new(ours, &master).unwrap();
        let (mut seals, mut opens) = (oracle(theirs, &master), oracle(theirs, &master));
        let mut plain = [0x80, 201, 0, 7, 0xde, 0xad, 0xbe, 0xef].to_vec();
        plain.resize(32, 0x42);
        for _ in 0..100 {
            seed.fill(&mut plain[8..]);
            let mut buf = PacketBuf::from_bytes(&plain).unwrap();
            sealer.protect_rtcp(&mut buf).unwrap();
            assert_eq!(&opens.decrypt_rtcp(buf.bytes()).unwrap()[..], &plain[..], "{ours:?}");
            let mut buf = PacketBuf::from_bytes(&seals.encrypt_rtcp(&plain).unwrap()).unwrap();
            let mut again = PacketBuf::from_bytes(buf.bytes()).unwrap();
            opener.unprotect_rtcp(&mut buf).unwrap();
            assert_eq!(buf.bytes(), &plain[..], "{ours:?}");
            assert_eq!(opener.unprotect_rtcp(&mut again), Err(Drop::Replayed));
        }
    }
}

#[test]
fn a_bad_tag_moves_neither_window_nor_rollover_counter_nor_takes_a_place() {
    for (profile, _) in PROFILES {
        let mut seed = Seed::from_number(8);
        let master = master(profile, &mut seed);
        let mut sealer = Sealer::new(profile, &master).unwrap();
        let mut opener = Opener::new(profile, &master).unwrap();
        let mut sealed = |index: u64, seed: &mut Seed| {
            let plain = packet(crate::media::packet::low16(index), 160, seed);
            let mut buf = PacketBuf::from_bytes(&plain).unwrap();
            sealer.protect_rtp(&mut buf, index).unwrap();
            buf
        };
        opener.unprotect_rtp(&mut sealed(65_000, &mut seed)).unwrap();
        for n in 0..2_000_u32 {
            let mut forged = sealed(65_001, &mut seed);
            forged.bytes_mut()[2..4].copy_from_slice(&seed.next_u32().to_be_bytes()[..2]);
            if n % 2 == 0 {
                forged.bytes_mut()[8..12].copy_from_slice(&seed.next_u32().to_be_bytes());
            }
            forged.bytes_mut()[50] ^= 0x80;
            assert!(opener.unprotect_rtp(&mut forged).is_err());
        }
        assert!(opener.unprotect_rtp(&mut sealed(65_001, &mut seed)).is_ok(), "{profile:?}");
        let again = sealed(65_002, &mut seed);
        let mut first = PacketBuf::from_bytes(again.bytes()).unwrap();
        let mut second = PacketBuf::from_bytes(again.bytes()).unwrap();
        assert!(opener.unprotect_rtp(&mut first).is_ok());
        assert_eq!(opener.unprotect_rtp(&mut second), Err(Drop::Replayed));
    }
}

/// Sealed packets of any source, and the opener of their session.
struct Session {
    seed: Seed,
    sealer: Sealer,
    opener: Opener,
}

impl Session {
    fn new() -> Self {
        let profile = SrtpProfile::AeadAes128Gcm;
        let mut seed = Seed::from_number(9);
        let master = master(profile, &mut seed);
        let sealer = Sealer::new(profile, &master).unwrap();
        Self { seed, sealer, opener: Opener::new(profile, &master).unwrap() }
    }

    fn packet(&mut self, ssrc: u32, sequence: u16) -> PacketBuf {
        let mut plain = packet(sequence, 20, &mut self.seed);
        plain[8..12].copy_from_slice(&ssrc.to_be_bytes());
        let mut buf = PacketBuf::from_bytes(&plain).unwrap();
        self.sealer.protect_rtp(&mut buf, u64::from(sequence)).unwrap();
        buf
    }

    fn opens(&mut self, ssrc: u32, sequence: u16) -> Result<u32, Drop> {
        let mut buf = self.packet(ssrc, sequence);
        self.opener.unprotect_rtp(&mut buf).map(|h| h.ssrc)
    }
}

#[test]
fn a_source_that_changes_often_is_heard_and_what_it_sent_before_is_not_heard_again() {
    let mut session = Session::new();
    for n in 0..40_u16 {
        // one goes on all the time, the other changes its SSRC each time, as some do at every hold
        assert_eq!(session.opens(7, n), Ok(7), "{n}");
        assert_eq!(session.opens(1_000 + u32::from(n), 5), Ok(1_000 + u32::from(n)), "{n}");
    }
    for n in 0..40_u16 {
        assert_eq!(session.opens(1_000 + u32::from(n), 5), Err(Drop::Replayed), "{n}");
    }
    assert_eq!(session.opens(7, 40), Ok(7));
    // whose state is gone is not heard at all, for its window is gone too
    assert_eq!(session.opens(1_000, 6), Err(Drop::Replayed));
}

#[test]
fn a_session_has_an_end_of_sources_and_those_that_are_forged_take_no_place() {
    let mut session = Session::new();
    for ssrc in 0..1_000_u32 {
        let mut forged = session.packet(ssrc, 1);
        forged.bytes_mut()[20] ^= 1;
        assert_eq!(session.opener.unprotect_rtp(&mut forged), Err(Drop::BadTag));
    }
    let heard: Vec<bool> = (0..200).map(|ssrc| session.opens(ssrc, 1).is_ok()).collect();
    let most = SOURCES_MAX + RETIRED_MAX;
    assert_eq!(heard.iter().position(|h| !h), Some(most));
    assert!(heard[most..].iter().all(|h| !h));
    assert_eq!(session.opens(500, 1), Err(Drop::TooManySources));
    assert!(session.opens(u32::try_from(most).unwrap() - 1, 2).is_ok(), "the last ones go on");
}

#[test]
fn short_and_random_datagrams_are_refused_without_panic() {
    let mut seed = Seed::from_number(10);
    for (profile, _) in PROFILES {
        let master = master(profile, &mut seed);
        let mut opener = Opener::new(profile, &master).unwrap();
        for round in 0..20_000 {
            let mut bytes = vec![0; seed.below(64) as usize];
            seed.fill(&mut bytes);
            if let Some(first) = bytes.first_mut() {
                *first = 0x80 | (*first & 0x3f);
            }
            let mut buf = PacketBuf::from_bytes(&bytes).unwrap();
            let result = if round % 2 == 0 {
                opener.unprotect_rtp(&mut buf).map(drop)
            } else {
                opener.unprotect_rtcp(&mut buf)
            };
            assert!(result.is_err());
        }
    }
}

#[test]
fn keys_of_a_wrong_length_are_refused() {
    let short = MasterKey { key: Zeroizing::new(vec![0; 15]), salt: Zeroizing::new(vec![0; 14]) };
    assert_eq!(Sealer::new(SrtpProfile::AesCm128HmacSha1_80, &short).map(drop), Err(KeyError));
    assert_eq!(Opener::new(SrtpProfile::AeadAes256Gcm, &short).map(drop), Err(KeyError));
}

/// The far side of an [`Srtp`], which sends under a key of its own.
struct Far {
    sealer: Sealer,
    seed: Seed,
}

impl Far {
    fn new(profile: SrtpProfile, key: &MasterKey) -> Self {
        Self { sealer: Sealer::new(profile, key).unwrap(), seed: Seed::from_number(3) }
    }

    fn packet(&mut self, index: u64) -> PacketBuf {
        let plain = packet(crate::media::packet::low16(index), 160, &mut self.seed);
        let mut buf = PacketBuf::from_bytes(&plain).unwrap();
        self.sealer.protect_rtp(&mut buf, index).unwrap();
        buf
    }
}

#[test]
fn the_old_key_opens_until_the_first_packet_under_the_new_one_and_never_after_rfc4568_7_1_4() {
    for (profile, _) in PROFILES {
        let mut seed = Seed::from_number(12);
        let [ours, old, new] = std::array::from_fn(|_| master(profile, &mut seed));
        let (mut before, mut after) = (Far::new(profile, &old), Far::new(profile, &new));
        let keys = |remote: &MasterKey| SrtpKeys { profile, local: ours.clone(), remote: remote.clone() };
        let mut srtp = Srtp::new(keys(&old)).unwrap();
        assert!(srtp.unprotect_rtp(&mut before.packet(70_000)).is_err(), "a rollover counter begins at 0");
        assert!(srtp.unprotect_rtp(&mut before.packet(60_000)).is_ok());
        assert!(srtp.unprotect_rtp(&mut before.packet(70_000)).is_ok());
        assert_eq!(srtp.rekey(keys(&new)), Ok(Rekeyed::TheirsAtMost));
        assert!(srtp.unprotect_rtp(&mut before.packet(70_001)).is_ok(), "it has not heard our answer yet");
        let mut forged = after.packet(70_002 & 0xffff);
        forged.bytes_mut()[40] ^= 1;
        assert!(srtp.unprotect_rtp(&mut forged).is_err());
        assert!(srtp.unprotect_rtp(&mut before.packet(70_002)).is_ok(), "a forged packet changes nothing");
        assert!(srtp.unprotect_rtp(&mut after.packet(70_003 & 0xffff)).is_ok());
        assert!(srtp.unprotect_rtp(&mut before.packet(70_004)).is_err());
        assert!(srtp.unprotect_rtp(&mut after.packet(70_005 & 0xffff)).is_ok());
    }
}

#[test]
fn a_rollover_counter_that_goes_on_under_a_new_key_is_found_rfc3711_3_3_1() {
    for (profile, _) in PROFILES {
        let mut seed = Seed::from_number(14);
        let [ours, old, new] = std::array::from_fn(|_| master(profile, &mut seed));
        let (mut before, mut after) = (Far::new(profile, &old), Far::new(profile, &new));
        let keys = |remote: &MasterKey| SrtpKeys { profile, local: ours.clone(), remote: remote.clone() };
        let mut srtp = Srtp::new(keys(&old)).unwrap();
        for index in [60_000, 70_000, 100_000, 0x1_ffff] {
            srtp.unprotect_rtp(&mut before.packet(index)).unwrap();
        }
        srtp.rekey(keys(&new)).unwrap();
        assert!(srtp.unprotect_rtp(&mut after.packet(0x4_0000)).is_err(), "no counter that it can have");
        assert!(srtp.unprotect_rtp(&mut before.packet(0x2_0000)).is_ok());
        assert!(srtp.unprotect_rtp(&mut after.packet(0x2_0001)).is_ok());
        assert!(srtp.unprotect_rtp(&mut before.packet(0x2_0002)).is_err());
        assert!(srtp.unprotect_rtp(&mut after.packet(0x2_0002)).is_ok());
    }
}

#[test]
fn the_same_keys_again_keep_their_state_so_that_no_index_is_used_or_taken_twice() {
    let profile = SrtpProfile::AeadAes128Gcm;
    let mut seed = Seed::from_number(13);
    let [ours, theirs, other] = std::array::from_fn(|_| master(profile, &mut seed));
    let keys = |local: &MasterKey, remote: &MasterKey| SrtpKeys {
        profile,
        local: local.clone(),
        remote: remote.clone(),
    };
    let mut far = Far::new(profile, &theirs);
    let mut srtp = Srtp::new(keys(&ours, &theirs)).unwrap();
    let first = far.packet(5);
    assert!(srtp.unprotect_rtp(&mut PacketBuf::from_bytes(first.bytes()).unwrap()).is_ok());
    let report = [0x80, 201, 0, 1, 0xde, 0xad, 0xbe, 0xef];
    let sealed = |srtp: &mut Srtp| {
        let mut buf = PacketBuf::from_bytes(&report).unwrap();
        srtp.protect_rtcp(&mut buf).unwrap();
        buf.bytes().to_vec()
    };
    let before = sealed(&mut srtp);
    assert_eq!(srtp.rekey(keys(&ours, &theirs)), Ok(Rekeyed::TheirsAtMost));
    assert_eq!(
        srtp.unprotect_rtp(&mut PacketBuf::from_bytes(first.bytes()).unwrap()).err(),
        Some(Drop::Replayed)
    );
    assert_ne!(sealed(&mut srtp), before, "the index of RTCP went on");
    assert_eq!(srtp.rekey(keys(&other, &theirs)), Ok(Rekeyed::Ours));
    let short = MasterKey { key: vec![0; 3].into(), salt: ours.salt.clone() };
    assert_eq!(srtp.rekey(keys(&short, &theirs)), Err(KeyError));
    assert!(srtp.unprotect_rtp(&mut far.packet(6)).is_ok(), "what fails changes nothing");
}
