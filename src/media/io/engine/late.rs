//! A machine that has no address at the start: the WebRTC ports are bound when it has one.

use super::{Shared, StartError, addresses};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How often it is looked. Addresses that were the same twice are taken for all that come: IPv6 follows IPv4 by a second
/// or two, and has to prove that nobody else has it.
const INTERVAL: Duration = Duration::from_secs(2);

/// Waits for addresses, and binds them on all threads.
pub(super) async fn open(shared: Arc<Shared>) {
    let mut seen: Vec<IpAddr> = Vec::new();
    let mut told = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let found = addresses(&shared.config).unwrap_or_default();
        let is_settled = !found.is_empty() && found == std::mem::replace(&mut seen, found.clone());
        if !is_settled {
            continue;
        }
        match bind(&shared, &found) {
            Ok(()) => return info!(addresses = ?found, "there are addresses now that browsers can reach"),
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    warn!(%error, "browsers cannot be served yet");
                    told = Some(error);
                }
            }
        }
    }
}

fn bind(shared: &Shared, ips: &[IpAddr]) -> Result<(), StartError> {
    for (thread, port) in shared.threads.iter().zip(shared.config.webrtc_port()..=u16::MAX) {
        let addresses: Vec<SocketAddr> = ips.iter().map(|ip| (*ip, port).into()).collect();
        thread.open(&addresses)?;
    }
    Ok(())
}
