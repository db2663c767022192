//! Our association against a second stack (str0m) over a virtual network, on tokio's paused clock.
//!
//! The ICE agents and the DTLS engine of our side have tasks and randomness of their own, so what is asserted
//! is the outcome, never a trace.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking; its helpers are no #[test]"
)]

mod peer_lite;
mod peer_world;
mod vnet;

use peer_world::{OURS_V4, OURS_V6, SSRC_OURS, SSRC_THEIRS, Setup, THEIRS_V4, THEIRS_V6, World, addr, now};
use sipedge::base::{Cause, Path, Seed};
use sipedge::peer::{
    Certificate, Counter, DatagramSink, DtlsRole, FixedParameters, FixedRemote, IceRole, PeerEvent,
    PeerInput, Refusal, SrtpKeys, SrtpProfile, spawn_fixed,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use str0m::rtp::RtpWrite;
use tokio::sync::mpsc;
use vnet::Weather;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(35);

fn path(ours: &str, theirs: &str) -> Path {
    Path { local: addr(ours), remote: addr(theirs) }
}

fn contexts(keys: &SrtpKeys) -> (Context, Context) {
    let profile = match keys.profile {
        SrtpProfile::AesCm128HmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        SrtpProfile::AesCm128HmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let context = |m: &sipedge::peer::MasterKey| Context::new(&m.key, &m.salt, profile, None, None).unwrap();
    (context(&keys.local), context(&keys.remote))
}

/// Sends a packet each way with the keys that were agreed on; panics unless both are understood.
async fn talk(w: &mut World) {
    let (mut local, mut remote) = contexts(w.keys().unwrap());
    let codec = w.rtc.codec_config().find(|p| p.spec().codec == str0m::format::Codec::Opus).cloned();
    let pt = codec.unwrap().pt();
    let time = now();
    let mut api = w.rtc.direct_api();
    let stream = api.stream_tx(&SSRC_THEIRS.into()).unwrap();
    let payload = *b"their words";
    stream.write_rtp(RtpWrite::new(pt, 47_000.into(), 960, time, payload.as_slice()));
    let mut packet = vec![0x80, *pt, 0x12, 0x34, 0, 0, 3, 0xC0];
    packet.extend_from_slice(&SSRC_OURS.to_be_bytes());
    packet.extend_from_slice(b"our words");
    let sealed = local.encrypt_rtp(&packet).unwrap();
    let way = w.selected().unwrap();
    w.net.send(time, vnet::Datagram { from: way.local, to: way.remote, bytes: sealed.to_vec() });
    let heard = w.run(SECOND, |w| !w.rtp.is_empty() && !w.rtp_from_them.is_empty()).await;
    assert!(heard, "ours {}, theirs {}", w.rtp_from_them.len(), w.rtp.len());
    let opened = remote.decrypt_rtp(&w.rtp[0]).unwrap();
    assert!(opened.ends_with(b"their words"));
    assert_eq!(w.rtp_from_them[0], b"our words");
}

#[tokio::test(start_paused = true)]
async fn every_pair_of_roles_connects_in_both_families_and_media_is_understood_both_ways() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        for ice in [IceRole::Controlled, IceRole::Controlling] {
            for (ours, theirs) in [(OURS_V4, THEIRS_V4), (OURS_V6, THEIRS_V6)] {
                for told_candidates in [true, false] {
                    let setup = Setup {
                        dtls,
                        ice,
                        ours: vec![addr(ours)],
                        theirs: vec![addr(theirs)],
                        told_candidates,
                        ..Setup::new()
                    };
                    let mut w = World::new(&setup);
                    let case = format!("{dtls:?} {ice:?} {ours} {told_candidates}");
                    assert!(w.connect(LIMIT).await, "{case}: {:?}", w.events);
                    assert_eq!(w.selected(), Some(path(ours, theirs)), "{case}");
                    // 1 ms each way; the agent's tick is 10 ms
                    let took = w.connected_after().unwrap();
                    assert!(took <= Duration::from_millis(60), "{case}: {took:?}");
                    talk(&mut w).await;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_srtp_profile_is_agreed_on_and_its_keys_fit_in_both_dtls_roles() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        for profile in
            [SrtpProfile::AesCm128HmacSha1_80, SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm]
        {
            let mut w = World::new(&Setup { dtls, profiles: vec![profile], ..Setup::new() });
            assert!(w.connect(LIMIT).await, "{dtls:?} {profile:?}: {:?}", w.events);
            assert_eq!(w.keys().unwrap().profile, profile);
            talk(&mut w).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_with_both_families_connects_and_the_other_side_may_have_one() {
    for theirs in [vec![addr(THEIRS_V4)], vec![addr(THEIRS_V6)], vec![addr(THEIRS_V4), addr(THEIRS_V6)]] {
        for ice in [IceRole::Controlled, IceRole::Controlling] {
            for round in 0..5 {
                let ours = vec![addr(OURS_V4), addr(OURS_V6)];
                let setup = Setup { ice, ours, theirs: theirs.clone(), seed: round, ..Setup::new() };
                let mut w = World::new(&setup);
                assert!(w.connect(LIMIT).await, "{ice:?} {theirs:?}: {:?}", w.events);
                talk(&mut w).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn checks_that_come_before_the_description_are_not_lost() {
    let setup = Setup { answer_after: Duration::from_millis(120), ..Setup::new() };
    let mut w = World::new(&setup);
    assert!(w.connect(LIMIT).await);
    assert!(w.events[0].0 < w.started + Duration::from_millis(20), "the path was known early");
    assert!(w.connected_after().unwrap() < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_lite_peer_is_connected_by_our_own_nomination() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        let mut w = World::new(&Setup { dtls, is_lite: true, ..Setup::new() });
        w.rtc.direct_api().set_ice_controlling(false);
        assert!(w.connect(LIMIT).await, "{dtls:?}: {:?}", w.events);
        // its first flight may come before our agent has made up its mind; nothing waits for the second
        let took = w.connected_after().unwrap();
        assert!(took <= Duration::from_millis(60), "{dtls:?}: {took:?}");
        assert_eq!(w.handle.counters().get(Counter::UnauthenticatedDtls), 0);
        talk(&mut w).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_certificate_than_the_announced_one_ends_it_before_any_key_is_handed_over() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        let mut w = World::new(&Setup { dtls, lies: true, ..Setup::new() });
        let failed = PeerEvent::Failed(Cause::DtlsFailed);
        assert!(w.run(LIMIT, |w| w.events.iter().any(|(_, e)| *e == failed)).await);
        assert!(w.keys().is_none());
        assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
    }
}

/// A hundred set-ups, both ICE roles in turn; how many did not come up, and the slowest of the others.
async fn a_hundred_set_ups(dtls: DtlsRole, weather: Weather) -> (usize, Duration) {
    let (mut failed, mut slowest, mut total) = (0, Duration::ZERO, Duration::ZERO);
    for round in 0..100 {
        let ice = if round % 2 == 0 { IceRole::Controlled } else { IceRole::Controlling };
        let mut w = World::new(&Setup { dtls, ice, weather, seed: 1_000 + round, ..Setup::new() });
        if w.connect(LIMIT).await {
            slowest = slowest.max(w.connected_after().unwrap());
            total += w.connected_after().unwrap();
        } else {
            println!("round {round}: {:?}, {} lost", w.events, w.net.lost);
            failed += 1;
        }
    }
    let mean = total / 100;
    println!("{dtls:?} {} ‰: {failed} failed, mean {mean:?}, slowest {slowest:?}", weather.loss_per_mille);
    (failed, slowest)
}

#[tokio::test(start_paused = true)]
async fn at_three_percent_loss_a_hundred_of_a_hundred_connect_as_dtls_client() {
    let (failed, slowest) = a_hundred_set_ups(DtlsRole::Client, Weather::with_loss(30)).await;
    assert!(failed == 0 && slowest < 10 * SECOND, "{failed} {slowest:?}");
}

#[tokio::test(start_paused = true)]
async fn at_three_percent_loss_a_hundred_of_a_hundred_connect_as_dtls_server() {
    let (failed, slowest) = a_hundred_set_ups(DtlsRole::Server, Weather::with_loss(30)).await;
    assert!(failed == 0 && slowest < 10 * SECOND, "{failed} {slowest:?}");
}

/// Twenty per cent, and datagrams overtake each other by up to 30 ms.
const STORM: Weather =
    Weather { loss_per_mille: 200, delay: Duration::from_millis(10), jitter: Duration::from_millis(30) };

/// The second stack repeats a flight four times, a second and more apart, and then gives up: with a fifth of
/// the datagrams lost that is not always enough for it, whatever we do.
#[tokio::test(start_paused = true)]
async fn a_storm_slows_set_ups_in_both_dtls_roles_and_stops_few() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        let (failed, _) = a_hundred_set_ups(dtls, STORM).await;
        assert!(failed <= 10, "{dtls:?} {failed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_last_flight_is_repeated_when_we_were_the_server() {
    let mut w = World::new(&Setup { dtls: DtlsRole::Server, ..Setup::new() });
    let mut dropped = 0;
    w.net.set_filter(move |d| {
        let is_last_flight = d.from == addr(OURS_V4) && d.bytes.first() == Some(&20);
        if is_last_flight && dropped < 3 {
            dropped += 1;
            return false;
        }
        true
    });
    assert!(w.connect(LIMIT).await, "{:?}", w.events);
    assert_eq!(w.net.lost, 3);
    talk(&mut w).await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_of_a_second_and_a_half_at_the_start_is_survived_in_both_ice_roles() {
    for ice in [IceRole::Controlled, IceRole::Controlling] {
        for hole in [300, 1_500, 4_000] {
            let mut w = World::new(&Setup { ice, ..Setup::new() });
            let end = now() + Duration::from_millis(hole);
            w.net.set_filter(move |_| now() >= end);
            assert!(w.connect(LIMIT).await, "{ice:?} {hole}: {:?}", w.events);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_an_ice_failure_after_thirty_seconds() {
    let mut w = World::new(&Setup::new());
    w.net.set_filter(|_| false);
    let failed = PeerEvent::Failed(Cause::IceFailed);
    assert!(w.run(LIMIT, |w| !w.events.is_empty()).await);
    assert_eq!(w.events.len(), 1);
    assert_eq!(w.events[0].1, failed);
    let took = w.events[0].0 - w.started;
    assert!((30 * SECOND..=31 * SECOND).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_in_dtls_is_a_dtls_failure_after_thirty_seconds() {
    let mut w = World::new(&Setup::new());
    w.net.set_filter(|d| !matches!(d.bytes.first(), Some(20..=63)));
    let failed = PeerEvent::Failed(Cause::DtlsFailed);
    assert!(w.run(LIMIT, |w| w.events.iter().any(|(_, e)| *e == failed)).await);
    assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
}

#[tokio::test(start_paused = true)]
async fn consent_is_kept_for_hours_and_lost_fifteen_seconds_after_the_network_died() {
    let mut w = World::new(&Setup::new());
    assert!(w.connect(LIMIT).await);
    w.run(2 * 3_600 * SECOND, |_| false).await;
    assert!(!w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost));
    assert!(w.rtc.is_alive() && w.rtc.is_connected());
    w.net.set_filter(|_| false);
    let died = now();
    assert!(w.run(20 * SECOND, |w| w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost)).await);
    let took = now() - died;
    // the last answer was up to six seconds old
    assert!((9 * SECOND..=15 * SECOND).contains(&took), "{took:?}");
    assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
}

#[tokio::test(start_paused = true)]
async fn a_connected_association_sends_one_request_every_five_seconds_and_no_more() {
    let mut w = World::new(&Setup::new());
    assert!(w.connect(LIMIT).await);
    w.run(SECOND, |_| false).await;
    w.sent_by_us.clear();
    w.run(600 * SECOND, |_| false).await;
    let requests = w.sent_by_us.iter().filter(|(_, d)| d.bytes.starts_with(&[0, 1])).count();
    let others = w.sent_by_us.iter().filter(|(_, d)| !d.bytes.starts_with(&[0, 1])).count();
    let answers = w.sent_by_us.iter().filter(|(_, d)| d.bytes.starts_with(&[1, 1])).count();
    assert!((110..=130).contains(&requests), "{requests}");
    assert_eq!(others, answers);
}

#[tokio::test(start_paused = true)]
async fn media_that_comes_by_a_moved_address_is_followed_and_the_old_path_forgotten() {
    let mut w = World::new(&Setup { ice: IceRole::Controlling, ..Setup::new() });
    assert!(w.connect(LIMIT).await);
    // a NAT gives the other side another port
    let moved = addr("10.0.0.2:6001");
    w.rewrite = Some((addr(THEIRS_V4), moved));
    w.handle.input(PeerInput::MediaFrom(Path { local: addr(OURS_V4), remote: moved })).unwrap();
    assert!(w.run(SECOND, |w| w.selected().is_some_and(|p| p.remote == moved)).await, "{:?}", w.events);
    w.run(60 * SECOND, |_| false).await;
    assert!(!w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost));
    talk(&mut w).await;
}

#[tokio::test(start_paused = true)]
async fn a_controlling_peer_that_nominates_another_address_is_followed() {
    let mut w = World::new(&Setup::new());
    assert!(w.connect(LIMIT).await);
    let moved = addr("10.0.0.2:6001");
    w.rewrite = Some((addr(THEIRS_V4), moved));
    let followed = w.run(30 * SECOND, |w| w.selected().is_some_and(|p| p.remote == moved)).await;
    assert!(followed, "{:?}", w.events);
    talk(&mut w).await;
}

#[tokio::test(start_paused = true)]
async fn an_ice_restart_keeps_keys_and_consent_in_both_ice_roles() {
    for ice in [IceRole::Controlled, IceRole::Controlling] {
        let mut w = World::new(&Setup { ice, ..Setup::new() });
        assert!(w.connect(LIMIT).await);
        w.restart(ice);
        w.run(60 * SECOND, |_| false).await;
        assert!(!w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost), "{ice:?} {:?}", w.events);
        assert_eq!(w.selected(), Some(path(OURS_V4, THEIRS_V4)));
        talk(&mut w).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_neither_answered_nor_able_to_disturb_the_handshake() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        let mut w = World::new(&Setup { dtls, weather: Weather::with_loss(0), ..Setup::new() });
        let stranger = addr("203.0.113.66:666");
        let mut seed = Seed::from_number(66);
        let mut tries = 0;
        while w.keys().is_none() || tries < 400 {
            tries += 1;
            assert!(tries < 5_000, "{:?}", w.events);
            let mut bytes = vec![0; 20 + seed.below(200) as usize];
            seed.fill(&mut bytes);
            bytes[0] = [0, 1, 20, 21, 22, 23][seed.below(6) as usize];
            w.inject(stranger, bytes);
            // a plaintext alert, a null ClientHello
            w.inject(stranger, vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40]);
            w.run(Duration::from_micros(500), |_| false).await;
        }
        assert!(w.handle.counters().get(Counter::UnauthenticatedDtls) > 100);
        assert!(!w.sent_by_us.iter().any(|(_, d)| d.to == stranger));
        talk(&mut w).await;
    }
}

/// The same from the other side's own address: what a spoofer who sees nothing could send.
#[tokio::test(start_paused = true)]
async fn forged_records_from_the_right_address_do_not_end_a_handshake() {
    let mut key_exchange = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 12];
    key_exchange.extend_from_slice(&[0x0c, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut client_key_exchange = key_exchange.clone();
    client_key_exchange[13] = 0x10;
    let forged = [
        vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
        vec![23, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40],
        vec![20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 9],
        key_exchange,
        client_key_exchange,
    ];
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        for record in &forged {
            let mut w = World::new(&Setup { dtls, ..Setup::new() });
            while w.keys().is_none() {
                assert!(now() - w.started < SECOND, "{dtls:?} {record:?} {:?}", w.events);
                w.inject(addr(THEIRS_V4), record.clone());
                w.run(Duration::from_micros(700), |_| false).await;
            }
            talk(&mut w).await;
        }
    }
}

/// The real two-part ClientHello of a browser reaches the engine in both orders: it is answered.
#[tokio::test(start_paused = true)]
async fn a_browsers_hello_in_two_parts_is_answered_in_both_orders() {
    let parts: [&[u8]; 2] = [
        include_bytes!("data/browser-hellos/firefox-153_clienthello_1_1408B.bin"),
        include_bytes!("data/browser-hellos/firefox-153_clienthello_2_103B.bin"),
    ];
    for order in [[0, 1], [1, 0]] {
        let mut w = World::new(&Setup { dtls: DtlsRole::Server, ..Setup::new() });
        w.net.set_filter(|d| !matches!(d.bytes.first(), Some(20..=63)) || d.from == addr(OURS_V4));
        assert!(w.run(SECOND, |w| w.selected().is_some()).await);
        for i in order {
            w.inject(addr(THEIRS_V4), parts[i].to_vec());
        }
        // HelloVerifyRequest: handshake type 3 (RFC 6347 §4.2.1)
        let is_answer = |d: &vnet::Datagram| d.bytes.first() == Some(&22) && d.bytes.get(13) == Some(&3);
        assert!(w.run(SECOND, |w| w.sent_by_us.iter().any(|(_, d)| is_answer(d))).await, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn close_says_close_notify_and_leaves_no_task_behind() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        let mut w = World::new(&Setup { dtls, ..Setup::new() });
        assert!(w.connect(LIMIT).await);
        w.run(SECOND, |_| false).await;
        assert_eq!(metrics.num_alive_tasks(), before + 1, "a connected association is one task");
        w.sent_by_us.clear();
        w.handle.input(PeerInput::Close).unwrap();
        assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
        assert!(w.run(SECOND, |w| w.sent_by_us.iter().any(|(_, d)| d.bytes.first() == Some(&21))).await);
        let refused = w.handle.input(PeerInput::MediaFrom(path(OURS_V4, THEIRS_V4)));
        assert!(matches!(refused, Err(Refusal::Ended(_))));
        assert_eq!(metrics.num_alive_tasks(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn an_association_given_up_at_any_moment_leaves_no_task_behind() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    for moment in 0..40 {
        for dtls in [DtlsRole::Client, DtlsRole::Server] {
            let mut w = World::new(&Setup { dtls, ..Setup::new() });
            w.run(Duration::from_micros(300 * moment), |_| false).await;
            drop(w);
            tokio::time::sleep(2 * SECOND).await;
            assert_eq!(metrics.num_alive_tasks(), before, "{moment} {dtls:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_counts_and_close_is_always_taken() {
    let w = World::new(&Setup::new());
    let mut refused = 0;
    for _ in 0..100 {
        let input = PeerInput::Datagram { path: path(OURS_V4, THEIRS_V4), bytes: vec![99] };
        refused += u64::from(matches!(w.handle.input(input), Err(Refusal::Full(_))));
    }
    assert!(refused > 0);
    assert_eq!(w.handle.counters().get(Counter::QueueFull), refused);
    w.handle.input(PeerInput::Close).unwrap();
    tokio::time::sleep(SECOND).await;
    assert!(w.handle.has_ended());
}

/// A worker thread is no part of a runtime: it hands in a runtime and only ever tries to send.
#[test]
fn an_association_is_started_and_fed_from_a_thread_of_its_own() {
    struct Nowhere;
    impl DatagramSink for Nowhere {
        fn send(&self, _: Path, _: &[u8]) {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (events, mut said) = mpsc::channel(4);
    let on = runtime.handle().clone();
    let worker = std::thread::spawn(move || {
        let local = peer_world::local_parameters(&Setup::new(), "ours");
        let handle = sipedge::peer::spawn_on(&on, local, Arc::new(Nowhere), events, Seed::from_number(1));
        let bytes = peer_world::check_for("ours");
        handle.input(PeerInput::Datagram { path: path(OURS_V4, THEIRS_V4), bytes }).unwrap();
        let event = said.blocking_recv();
        handle.input(PeerInput::Close).unwrap();
        (event, said.blocking_recv())
    });
    let (event, end) = worker.join().unwrap();
    assert_eq!(event, Some(PeerEvent::Authenticated(path(OURS_V4, THEIRS_V4))));
    assert_eq!(end, None, "the task is gone, and its sender with it");
}

/// Carries datagrams to the other side, and loses some.
struct Lossy {
    to: mpsc::UnboundedSender<Vec<u8>>,
    seed: Mutex<Seed>,
    lost_of_100: u64,
}

impl DatagramSink for Lossy {
    fn send(&self, _path: Path, bytes: &[u8]) {
        if self.seed.lock().unwrap().below(100) >= self.lost_of_100 {
            let _ = self.to.send(bytes.to_vec());
        }
    }
}

/// Two associations without ICE and a path that loses; the time until both have keys.
async fn meet_without_ice(seed: u64, lost_of_100: u64) -> Duration {
    let certificates = [0, 1].map(|_| Arc::new(Certificate::generate().unwrap()));
    let addresses = [addr("10.0.0.1:4000"), addr("10.0.0.2:4000")];
    let begun = now();
    let (mut peers, mut inboxes, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (n, certificate) in (0..).zip(&certificates) {
        let (to, inbox) = mpsc::unbounded_channel();
        let (sender, said) = mpsc::channel(8);
        let sink = Arc::new(Lossy { to, seed: Mutex::new(Seed::from_number(2 * seed + n)), lost_of_100 });
        let local = FixedParameters {
            certificate: Arc::clone(certificate),
            profiles: vec![SrtpProfile::AeadAes128Gcm],
        };
        peers.push(spawn_fixed(local, sink, sender));
        inboxes.push(inbox);
        events.push(said);
    }
    for (n, role) in [(0, DtlsRole::Client), (1, DtlsRole::Server)] {
        let fingerprints = vec![certificates[1 - n].fingerprint()];
        let remote = FixedRemote { address: addresses[1 - n], fingerprints, dtls_role: role };
        peers[n].input(PeerInput::FixedRemote(Box::new(remote))).unwrap();
    }
    let mut keys: [Option<SrtpKeys>; 2] = [None, None];
    let [first, second] = &mut inboxes[..] else { panic!() };
    let [one, other] = &mut events[..] else { panic!() };
    while keys.iter().any(Option::is_none) {
        tokio::select! {
            Some(bytes) = first.recv() => {
                let path = Path { local: addresses[1], remote: addresses[0] };
                let _ = peers[1].input(PeerInput::Datagram { path, bytes });
            }
            Some(bytes) = second.recv() => {
                let path = Path { local: addresses[0], remote: addresses[1] };
                let _ = peers[0].input(PeerInput::Datagram { path, bytes });
            }
            Some(event) = one.recv() => match event {
                PeerEvent::Connected(theirs) => keys[0] = Some(theirs),
                other => panic!("{other:?}"),
            },
            Some(event) = other.recv() => match event {
                PeerEvent::Connected(theirs) => keys[1] = Some(theirs),
                other => panic!("{other:?}"),
            },
        }
    }
    let [Some(a), Some(b)] = keys else { panic!() };
    assert!(a.local == b.remote && a.remote == b.local, "one's key is the other's");
    now().duration_since(begun)
}

#[tokio::test(start_paused = true)]
async fn without_ice_two_sides_find_their_keys_though_every_fifth_datagram_is_lost() {
    for seed in 0..20 {
        let took = meet_without_ice(seed, 20).await;
        assert!(took < Duration::from_secs(15), "{seed}: {took:?}");
    }
}
