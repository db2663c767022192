//! Where the program keeps what shall outlive it.

use std::path::PathBuf;

/// A folder of the program's own, on the shelf of [`super::Services`] when there is one.
#[derive(Debug, Clone)]
pub struct StateDirectory(pub PathBuf);
