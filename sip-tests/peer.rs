//! Our association against a second stack (str0m) over a virtual network, on tokio's paused clock.

mod peer_world;
mod vnet;

use peer_world::{Setup, World};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn thin() {
    let mut w = World::new(&Setup::new());
    let ok = w.connect(Duration::from_secs(40)).await;
    eprintln!("{ok} {:?} {:?}", w.connected_after(), w.events);
    assert!(ok);
}
