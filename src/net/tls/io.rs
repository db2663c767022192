//! Watches certificates that come from files.

use super::reload::Reloaded;
use super::{Reload, Watch};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::{info, warn};

/// How often the files are looked at; what changed is in use after two looks.
const INTERVAL: Duration = Duration::from_secs(2);
/// A certificate that ends so soon should have been renewed: those of Let's Encrypt are after 60 of 90 days.
const SOON: u64 = 14 * DAY;
const DAY: u64 = 24 * 3_600;

/// Looks after all that is added to it.
#[derive(Default)]
pub struct Watcher(Mutex<Watch>);

impl Watcher {
    /// Looks also after this, which was read just now because of `key` in the configuration; tells when it ends soon.
    pub fn add(&self, key: &str, what: Arc<dyn Reload>) {
        tell_end(key, &*what);
        self.lock().add(key, what);
    }

    /// Never ends.
    pub async fn run(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            let reloaded = self.lock().look();
            reloaded.iter().for_each(tell);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(Reloaded { key, what, result }: &Reloaded) {
    match result {
        Ok(()) => {
            info!(key, "certificates were read anew: new connections have them");
            tell_end(key, &**what);
        }
        Err(error) => warn!(key, %error, "what was written is of no use: the old certificates stay"),
    }
}

fn tell_end(key: &str, what: &dyn Reload) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    match what.not_after() {
        Some(end) if end < now => warn!(key, "the certificate has expired: nobody will believe it"),
        Some(end) if end < now.saturating_add(SOON) => {
            warn!(key, days = end.saturating_sub(now) / DAY, "the certificate expires soon");
        }
        _ => {}
    }
}
