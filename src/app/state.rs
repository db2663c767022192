//! `[state]`: where the program keeps what shall outlive a restart.

use crate::base::{Fault, Section, StateDirectory};
use serde::Deserialize;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Set by systemd for a unit with `StateDirectory=`; folders with a colon between them.
const ENV: &str = "STATE_DIRECTORY";

#[derive(Deserialize)]
struct Raw {
    directory: Option<PathBuf>,
}

/// The folder, and what named it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) directory: StateDirectory,
    origin: String,
}

impl State {
    /// What is wrong when nothing can be written there. It is tried, since rights alone do not tell: the file system may be
    /// read-only or full, and a service may be kept out of it.
    pub(super) fn fault(&self) -> Option<Fault> {
        let folder = &self.directory.0;
        let error = try_to_write(folder).err()?;
        let remedy = format!(
            "nothing can be written to {}: {error}; make it a folder that the user who runs sipedge may write to, or leave \
             the key out and have PBXs register anew after a restart",
            folder.display()
        );
        Some(Fault::new(self.origin.clone(), "state.directory", remedy))
    }
}

/// Writes a file of no use, and takes it away.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".sipedge-{}", std::process::id()));
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).open(&file)?;
    let written = out.write_all(b"x").and_then(|()| out.sync_all());
    let removed = std::fs::remove_file(&file);
    written.and(removed)
}

/// The folder that is configured.
///
/// # Errors
/// When it is none that can be one.
pub(super) fn read(section: &Section) -> Result<Option<State>, Vec<Fault>> {
    let (raw, mut faults): (Raw, _) = section.read(&["directory"])?;
    let judged = raw.directory.map(|directory| judge(section, directory)).transpose();
    let directory = judged.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if faults.is_empty() { Ok(directory) } else { Err(faults) }
}

fn judge(section: &Section, directory: PathBuf) -> Result<State, Fault> {
    if !directory.is_absolute() {
        return Err(section.fault("directory", "write the whole path, as \"/var/lib/sipedge\""));
    }
    match std::fs::metadata(&directory) {
        Ok(found) if found.is_dir() => {
            let origin = section.fault("directory", "").origin;
            Ok(State { directory: StateDirectory(directory), origin })
        }
        Ok(_) => Err(section.fault("directory", "this is no folder")),
        Err(error) => {
            let remedy = format!("cannot be used: {error}; make it, for the user that sipedge runs as");
            Err(section.fault("directory", remedy))
        }
    }
}

/// The folder that the service manager made.
pub(super) fn of_service_manager() -> Option<State> {
    let folders = std::env::var(ENV).ok()?;
    let first = folders.split(':').next().filter(|first| !first.is_empty())?;
    let directory = StateDirectory(PathBuf::from(first));
    Some(State { directory, origin: format!("environment variable {ENV}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_state_directory_is_a_whole_path_to_a_folder_that_is_there() {
        let read = |value| read(&Section::new("state", "t", value));
        assert!(read(json!({})).unwrap().is_none());
        let folder = std::env::temp_dir();
        assert_eq!(read(json!({ "directory": folder })).unwrap().unwrap().directory.0, folder);
        for bad in ["state", "/nowhere/at/all", "/dev/null"] {
            let faults = read(json!({ "directory": bad })).unwrap_err();
            assert_eq!(
                faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(),
                ["state.directory"],
                "{bad}"
            );
        }
    }

    #[test]
    fn a_folder_that_nothing_can_be_written_to_is_named_with_its_key_and_a_remedy() {
        let fault = |folder: &Path| {
            let section = Section::new("state", "t", json!({ "directory": folder }));
            read(&section).unwrap().unwrap().fault().map(|fault| fault.to_string())
        };
        // nobody makes files there, not even who may do anything
        let said = fault(Path::new("/sys")).unwrap();
        assert!(said.starts_with("t: state.directory: nothing can be written to /sys: "), "{said}");
        assert!(said.contains("make it a folder that the user who runs sipedge may write to"), "{said}");
        let folder = std::env::temp_dir().join(format!("sipedge-state-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(fault(&folder), None);
        // nothing of the trial is left
        std::fs::remove_dir(&folder).unwrap();
    }
}
