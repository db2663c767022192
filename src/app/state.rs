//! `[state]`: where the program keeps what shall outlive a restart.

use crate::base::{Fault, Section, StateDirectory};
use serde::Deserialize;
use std::path::PathBuf;

/// Set by systemd for a unit with `StateDirectory=`; folders with a colon between them.
const ENV: &str = "STATE_DIRECTORY";

#[derive(Deserialize)]
struct Raw {
    directory: Option<PathBuf>,
}

/// The folder that is configured.
///
/// # Errors
/// When it is none that can be one.
pub(super) fn read(section: &Section) -> Result<Option<StateDirectory>, Vec<Fault>> {
    let (raw, mut faults): (Raw, _) = section.read(&["directory"])?;
    let judged = raw.directory.map(|directory| judge(section, directory)).transpose();
    let directory = judged.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    });
    if faults.is_empty() { Ok(directory) } else { Err(faults) }
}

fn judge(section: &Section, directory: PathBuf) -> Result<StateDirectory, Fault> {
    if !directory.is_absolute() {
        return Err(section.fault("directory", "write the whole path, as \"/var/lib/sipedge\""));
    }
    match std::fs::metadata(&directory) {
        Ok(found) if found.is_dir() => Ok(StateDirectory(directory)),
        Ok(_) => Err(section.fault("directory", "this is no folder")),
        Err(error) => {
            let remedy = format!("cannot be used: {error}; make it, for the user that sipedge runs as");
            Err(section.fault("directory", remedy))
        }
    }
}

/// The folder that the service manager made.
pub(super) fn of_service_manager() -> Option<StateDirectory> {
    let folders = std::env::var(ENV).ok()?;
    let first = folders.split(':').next().filter(|first| !first.is_empty())?;
    Some(StateDirectory(PathBuf::from(first)))
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
        assert_eq!(read(json!({ "directory": folder })).unwrap().unwrap().0, folder);
        for bad in ["state", "/nowhere/at/all", "/dev/null"] {
            let faults = read(json!({ "directory": bad })).unwrap_err();
            assert_eq!(
                faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(),
                ["state.directory"],
                "{bad}"
            );
        }
    }
}
