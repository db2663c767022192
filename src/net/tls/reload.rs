//! Finds out that files have changed.
//!
//! Drive it: [`Watch::look`] every few seconds. Links are followed, so certbot's are seen to lead elsewhere. What has
//! changed is read when it has not changed further by the next look: certificate and key are two files, and a copy
//! takes its time.

use super::TlsError;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is read from files and can be read anew while it is in use.
pub trait Reload: Send + Sync {
    /// Its files.
    fn files(&self) -> Vec<PathBuf>;

    /// Takes the present contents over. What was there stays when they are of no use.
    ///
    /// # Errors
    /// Which file is of no use and why.
    fn reload(&self) -> Result<(), TlsError>;

    /// Until when it is valid, in seconds of Unix time, if that is known.
    fn not_after(&self) -> Option<u64>;
}

/// A file as it is now: time of change, length, and which it is; none when it is not there.
type Stamp = Option<(i64, i64, u64, u64, u64)>;

fn stamp(file: &Path) -> Stamp {
    let m = std::fs::metadata(file).ok()?;
    Some((m.mtime(), m.mtime_nsec(), m.len(), m.ino(), m.dev()))
}

struct Watched {
    /// The key of the configuration that names it.
    key: String,
    what: Arc<dyn Reload>,
    /// As it was read.
    read: Vec<Stamp>,
    /// As it was seen by the last look.
    seen: Vec<Stamp>,
}

/// Something was read anew.
pub struct Reloaded {
    /// The key of the configuration that names it.
    pub key: String,
    /// What it is.
    pub what: Arc<dyn Reload>,
    /// What came of it.
    pub result: Result<(), TlsError>,
}

/// All files that may change.
#[derive(Default)]
pub struct Watch(Vec<Watched>);

impl Watch {
    /// Watches also this, which was read just now because of `key` in the configuration.
    pub fn add(&mut self, key: impl Into<String>, what: Arc<dyn Reload>) {
        let read: Vec<Stamp> = what.files().iter().map(|f| stamp(f)).collect();
        if !read.is_empty() {
            self.0.push(Watched { key: key.into(), what, seen: read.clone(), read });
        }
    }

    /// Reads anew what has changed and stands still.
    pub fn look(&mut self) -> Vec<Reloaded> {
        let mut reloaded = Vec::new();
        for watched in &mut self.0 {
            let now: Vec<Stamp> = watched.what.files().iter().map(|f| stamp(f)).collect();
            let stands = now == watched.seen;
            watched.seen.clone_from(&now);
            if now == watched.read || !stands {
                continue;
            }
            watched.read = now;
            let result = watched.what.reload();
            reloaded.push(Reloaded { key: watched.key.clone(), what: Arc::clone(&watched.what), result });
        }
        reloaded
    }
}
