//! SRTP alone: nanoseconds a packet of 172 bytes (PCMU, 20 ms), ours in place against webrtc-srtp's context,
//! sealing and opening. `cargo bench --bench srtp`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a bench: what cannot be had ends it"
)]

#[path = "../media_rig.rs"]
mod rig;

use rig::{master, packet};
use sipedge::media::packet::PacketBuf;
use sipedge::media::srtp::{Opener, Sealer};
use sipedge::peer::SrtpProfile;
use std::hint::black_box;
use std::time::Instant;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PACKETS: u64 = 60_000;
const ROUNDS: u64 = 5;

fn main() {
    let _ = sipedge::media::io::pin_to_core(0);
    println!("ns per packet of 172 bytes, best of {ROUNDS} rounds of {PACKETS}");
    println!("profile                      seal  webrtc-srtp   open  webrtc-srtp");
    for (name, ours, theirs) in [
        ("AES_CM_128_HMAC_SHA1_80", SrtpProfile::AesCm128HmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
        ("AEAD_AES_128_GCM", SrtpProfile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
        ("AEAD_AES_256_GCM", SrtpProfile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
    ] {
        let key = master(ours, 3);
        let mut best = [f64::MAX; 4];
        for _ in 0..ROUNDS {
            let context = || Context::new(&key.key, &key.salt, theirs, None, None).unwrap();
            let (mut sealer, mut opener) =
                (Sealer::new(ours, &key).unwrap(), Opener::new(ours, &key).unwrap());
            let (mut seals, mut opens) = (context(), context());
            let mut packets: Vec<PacketBuf> = (0..PACKETS).map(|n| packet(7, n)).collect();
            let plain: Vec<Vec<u8>> = packets.iter().map(|p| p.bytes().to_vec()).collect();
            let mut time = |which: usize, work: &mut dyn FnMut(usize)| {
                let start = Instant::now();
                (0..packets_len()).for_each(&mut *work);
                best[which] = best[which].min(start.elapsed().as_secs_f64() * 1e9 / PACKETS as f64);
            };
            time(0, &mut |n| sealer.protect_rtp(&mut packets[n], n as u64).unwrap());
            let sealed: Vec<Vec<u8>> = packets.iter().map(|p| p.bytes().to_vec()).collect();
            time(1, &mut |n| drop(black_box(seals.encrypt_rtp(&plain[n]).unwrap())));
            time(2, &mut |n| assert!(opener.unprotect_rtp(&mut packets[n]).is_ok()));
            time(3, &mut |n| drop(black_box(opens.decrypt_rtp(&sealed[n]).unwrap())));
        }
        println!("{name:26} {:6.0} {:12.0} {:6.0} {:12.0}", best[0], best[1], best[2], best[3]);
    }
}

const fn packets_len() -> usize {
    PACKETS as usize
}
