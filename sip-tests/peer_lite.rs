//! Our lite agent against a second stack (str0m), which always controls then.

use super::*;

fn lite(setup: Setup) -> Setup {
    Setup { are_we_lite: true, ice: IceRole::Controlled, told_candidates: false, ..setup }
}

/// Binding requests that we sent.
fn requests(w: &World) -> usize {
    w.sent_by_us.iter().filter(|(_, d)| d.bytes.starts_with(&[0, 1])).count()
}

#[tokio::test(start_paused = true)]
async fn a_lite_agent_connects_in_both_families_and_dtls_roles_and_never_asks_anything() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        for (ours, theirs) in [(OURS_V4, THEIRS_V4), (OURS_V6, THEIRS_V6)] {
            let (ours, theirs) = (vec![addr(OURS_V4), addr(OURS_V6), addr(ours)], vec![addr(theirs)]);
            let mut w = World::new(&lite(Setup { dtls, ours, theirs: theirs.clone(), ..Setup::new() }));
            assert!(w.connect(LIMIT).await, "{dtls:?} {theirs:?}: {:?}", w.events);
            assert_eq!(w.selected().unwrap().remote, theirs[0]);
            let took = w.connected_after().unwrap();
            assert!(took <= Duration::from_millis(100), "{dtls:?} {theirs:?}: {took:?}");
            talk(&mut w).await;
            w.run(600 * SECOND, |_| false).await;
            assert!(!w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost));
            assert_eq!(requests(&w), 0);
            let answers = w.sent_by_us.iter().filter(|(_, d)| d.bytes.starts_with(&[1, 1])).count();
            assert!(answers > 100, "{answers}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lite_agent_loses_consent_fifteen_seconds_after_the_last_request() {
    let mut w = World::new(&lite(Setup::new()));
    assert!(w.connect(LIMIT).await);
    w.run(3_600 * SECOND, |_| false).await;
    w.net.set_filter(|_| false);
    let died = now();
    assert!(w.run(20 * SECOND, |w| w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost)).await);
    let took = now() - died;
    assert!((9 * SECOND..=15 * SECOND).contains(&took), "{took:?}");
    assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
    assert_eq!(requests(&w), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lite_agent_follows_a_restart_and_an_address_that_moved() {
    let mut w = World::new(&lite(Setup::new()));
    assert!(w.connect(LIMIT).await);
    w.restart(IceRole::Controlled);
    w.run(60 * SECOND, |_| false).await;
    talk(&mut w).await;
    // a NAT gives the other side another port; its media shows that first
    let moved = addr("10.0.0.2:6001");
    w.rewrite = Some((addr(THEIRS_V4), moved));
    w.handle.input(PeerInput::MediaFrom(Path { local: addr(OURS_V4), remote: moved })).unwrap();
    assert!(w.run(10 * SECOND, |w| w.selected().is_some_and(|p| p.remote == moved)).await, "{:?}", w.events);
    w.run(60 * SECOND, |_| false).await;
    assert!(!w.events.iter().any(|(_, e)| *e == PeerEvent::ConsentLost), "{:?}", w.events);
    assert_eq!(requests(&w), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_set_ups_of_a_lite_agent_survive_every_tenth_datagram_lost() {
    for dtls in [DtlsRole::Client, DtlsRole::Server] {
        for seed in 0..50 {
            let mut w =
                World::new(&lite(Setup { dtls, seed, weather: Weather::with_loss(10), ..Setup::new() }));
            assert!(w.connect(LIMIT).await, "{dtls:?} {seed}: {:?}", w.events);
            assert_eq!(requests(&w), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lite_association_is_one_task_and_leaves_none() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let mut w = World::new(&lite(Setup::new()));
    assert!(w.connect(LIMIT).await);
    w.run(SECOND, |_| false).await;
    assert_eq!(metrics.num_alive_tasks(), before + 1);
    w.handle.input(PeerInput::Close).unwrap();
    assert!(w.run(SECOND, |w| w.handle.has_ended()).await);
    assert_eq!(metrics.num_alive_tasks(), before);
}
