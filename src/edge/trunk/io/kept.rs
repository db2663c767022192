//! The file that registrations outlive a restart in: read at the start, written anew when they change.

use super::Bindings;
use crate::base::StateDirectory;
use crate::sip::registrar::SavedBinding;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

const FILE: &str = "registrations.json";
/// Written no more often than this.
const PAUSE: Duration = Duration::from_secs(1);
/// Larger is none of ours.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The file, and what it says.
pub(super) struct Kept {
    file: PathBuf,
    written: Vec<SavedBinding>,
    /// Not written again before this.
    next: Option<Instant>,
    /// What went wrong was told.
    is_told: bool,
}

impl Kept {
    /// Takes up what the file says of these trunks.
    pub(super) fn restored(
        directory: &StateDirectory,
        bindings: &Bindings,
        is_known: impl Fn(&str) -> bool,
    ) -> Self {
        let file = directory.0.join(FILE);
        let mut kept = Self { file, written: Vec::new(), next: None, is_told: false };
        match read(&kept.file) {
            Ok(mut saved) => {
                saved.retain(|binding| is_known(&binding.aor));
                let count = bindings.lock().restore(Instant::now(), unix(), &saved);
                if count > 0 {
                    info!(registrations = count, file = %kept.file.display(), "registrations from before the restart hold");
                }
                kept.written = saved;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => kept.complain(&error),
        }
        kept
    }

    /// Writes what changed. When to come back, should it be too early for that.
    pub(super) async fn keep(&mut self, bindings: &Bindings) -> Option<Instant> {
        let now = Instant::now();
        let saved = bindings.lock().save(now, unix());
        let is_same = |(a, b): (&SavedBinding, &SavedBinding)| a.is_same_as(b);
        if saved.len() == self.written.len() && saved.iter().zip(&self.written).all(is_same) {
            return None;
        }
        if let Some(next) = self.next.filter(|next| *next > now) {
            return Some(next);
        }
        self.next = Some(now + PAUSE);
        let (file, bytes) = (self.file.clone(), serde_json::to_vec_pretty(&saved).unwrap_or_default());
        self.written = saved;
        match spawn_blocking(move || write(&file, &bytes)).await {
            Ok(Ok(())) => self.is_told = false,
            Ok(Err(error)) => self.complain(&error),
            Err(_) => {}
        }
        None
    }

    /// Once, until it works again.
    fn complain(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(
                file = %self.file.display(), %error,
                "registrations are not kept over a restart: make state.directory a folder that sipedge may write to"
            );
        }
    }
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn read(file: &Path) -> io::Result<Vec<SavedBinding>> {
    if std::fs::metadata(file)?.len() > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    serde_json::from_slice(&std::fs::read(file)?).map_err(io::Error::from)
}

/// In one step, so that a crash leaves the old or the new file.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    // it tells where a PBX can be reached
    let mut out =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(bytes)?;
    out.sync_all()?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{CSeq, Flow, HeaderName, Method, Request, Uri};

    fn register(bindings: &Bindings, aor: &str) {
        let mut r = Request::new(Method::REGISTER, Uri::parse("sip:192.0.2.1").unwrap());
        r.headers.push(HeaderName::Contact, "<sip:x@192.0.2.9>");
        r.headers.push(HeaderName::CallId, "a");
        r.headers.push(HeaderName::CSeq, CSeq { number: 1, method: Method::REGISTER }.to_string());
        let flow = Flow::udp("192.0.2.1:5080".parse().unwrap(), "192.0.2.9:5060".parse().unwrap());
        bindings.lock().handle_register(Instant::now(), aor, &r, &flow);
    }

    #[tokio::test]
    async fn what_is_registered_is_found_again_for_trunks_that_there_still_are() {
        let directory =
            StateDirectory(std::env::temp_dir().join(format!("sipedge-kept-{}", std::process::id())));
        std::fs::create_dir(&directory.0).unwrap();
        let start = |bindings: &Bindings| Kept::restored(&directory, bindings, |aor| aor != "gone");
        let before = Bindings::default();
        let mut kept = start(&before);
        assert_eq!(kept.keep(&before).await, None);
        assert!(!directory.0.join(FILE).exists(), "nothing to keep");
        register(&before, "pbx");
        assert_eq!(kept.keep(&before).await, None);
        register(&before, "gone");
        let again = kept.keep(&before).await;
        assert!(again.is_some_and(|at| at > Instant::now()), "not twice at once");
        kept.next = None;
        assert_eq!(kept.keep(&before).await, None);

        let after = Bindings::default();
        let mut kept = start(&after);
        let count = |aor: &str| after.lock().bindings(aor).len();
        assert_eq!([count("pbx"), count("gone")], [1, 0]);
        assert_eq!(kept.keep(&after).await, None);
        std::fs::write(directory.0.join(FILE), "no json").unwrap();
        let broken = Bindings::default();
        assert!(start(&broken).is_told);
        assert!(broken.lock().bindings("pbx").is_empty());
        std::fs::remove_dir_all(&directory.0).unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_to_is_told_of_once() {
        let directory = StateDirectory(PathBuf::from("/proc/self"));
        let bindings = Bindings::default();
        let mut kept = Kept::restored(&directory, &bindings, |_| true);
        assert!(!kept.is_told);
        register(&bindings, "pbx");
        assert_eq!(kept.keep(&bindings).await, None);
        assert!(kept.is_told);
    }
}
