//! `[log]`: what is told to the operator, and how.

mod io;

use crate::base::{Fault, Section, set_pii_mask};
use io::{Batches, LastLines};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// These log passwords of ICE and bytes of handshakes, and warn of what is no fault: that a check came before a
/// candidate, that a closed agent is closed.
const QUIET_CRATES: &[&str] =
    &["webrtc_ice=error", "dtls=error", "webrtc_util=warn", "webrtc_mdns=off", "turn=warn"];

/// What is logged, and in which form.
pub(super) struct LogConfig {
    filter: String,
    is_json: bool,
    is_masked: bool,
}

#[derive(Deserialize)]
struct Raw {
    level: Option<String>,
    format: Option<String>,
    mask: Option<bool>,
}

impl LogConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub(super) fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let raw: Raw = section.read(&["level", "format", "mask"])?;
        let mut faults = Vec::new();
        let filter = raw.level.unwrap_or_else(|| "info".to_owned());
        if EnvFilter::try_new(&filter).is_err() {
            faults.push(section.fault(
                "level",
                "write error, warn, info, debug or trace, or a filter as info,sipedge::sip=debug",
            ));
        }
        let is_json = match raw.format.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => {
                faults.push(section.fault("format", "write \"text\" or \"json\""));
                false
            }
        };
        let is_masked = raw.mask.unwrap_or(false);
        if faults.is_empty() { Ok(Self { filter, is_json, is_masked }) } else { Err(faults) }
    }

    /// Begins to log to standard error; what waits to be written is, when the value returned is dropped.
    pub(super) fn start(&self) -> LastLines {
        set_pii_mask(self.is_masked);
        let quiet = QUIET_CRATES.iter().filter_map(|directive| directive.parse().ok());
        let filter =
            quiet.fold(EnvFilter::try_new(&self.filter).unwrap_or_default(), EnvFilter::add_directive);
        let batches = Batches::start(std::io::stderr());
        let last_lines = batches.last_lines();
        let builder =
            tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(batches);
        // a second start in one process (tests) keeps the first log
        let _ = if self.is_json {
            builder.json().flatten_event(true).try_init()
        } else {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        };
        last_lines
    }
}
