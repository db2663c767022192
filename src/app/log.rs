//! `[log]`: what is told to the operator, and how.

mod io;
mod json;
mod text;

use crate::base::{Excerpt, Fault, Section, set_pii_mask};
use io::{Batches, LastLines};
use json::Json;
use serde::Deserialize;
use text::Text;
use tracing_subscriber::EnvFilter;

/// These log passwords of ICE and bytes of handshakes, and warn of what is no fault: that a check came before a
/// candidate, that a closed agent is closed.
const QUIET_CRATES: &[&str] =
    &["webrtc_ice=error", "dtls=error", "webrtc_util=warn", "webrtc_mdns=off", "turn=warn"];

/// Who asks for nothing sees what happens to calls.
const DEFAULT_LEVEL: &str = "info";
/// What this program's modules begin with, and the names of the first ones below; a test holds them against the library.
const PROGRAM: &str = "sipedge";
const MODULES: [&str; 14] = [
    "app", "base", "call", "cli", "config", "edge", "http", "media", "net", "peer", "registry", "sdp", "sip",
    "ua",
];
/// From none to all.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

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
        let (raw, mut faults): (Raw, _) = section.read(&["level", "format", "mask"])?;
        let filter = read_filter(raw.level.as_deref().unwrap_or(DEFAULT_LEVEL)).unwrap_or_else(|remedy| {
            faults.push(section.fault("level", remedy));
            DEFAULT_LEVEL.to_owned()
        });
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

    /// Modules of this program with a level of their own that there are not, as far as their first names tell.
    pub(super) fn unknown_modules(&self) -> impl Iterator<Item = &str> {
        let modules = self.filter.split(',').filter_map(|directive| Some(directive.split_once('=')?.0));
        modules.filter(|module| {
            let mut names = module.split("::");
            names.next() == Some(PROGRAM) && names.next().is_some_and(|name| !MODULES.contains(&name))
        })
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
            builder.event_format(Json).try_init()
        } else {
            let has_colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.event_format(Text { has_colours }).try_init()
        };
        last_lines
    }
}

/// A level, modules with levels of their own, or both, as `warn,sipedge::sip=debug`. The filter itself would take a
/// mistyped level for a module's name, and then log nothing.
fn read_filter(text: &str) -> Result<String, String> {
    let mut directives: Vec<String> = Vec::new();
    let mut has_level = false;
    for directive in text.split(',').map(str::trim) {
        let (module, level) = match directive.rsplit_once('=') {
            Some((module, level)) => (Some(module.trim()), level.trim()),
            None => (None, directive),
        };
        let Some(level) = read_level(level) else {
            let (shown, known) = (Excerpt(level), LEVELS.join(", "));
            return Err(format!(
                "`{shown}` is no level; write one of {known}, or modules with their own, as \"info,sipedge::sip=debug\""
            ));
        };
        match module {
            Some(module) if is_module(module) => directives.push(format!("{module}={level}")),
            Some(module) => {
                let module = Excerpt(module);
                return Err(format!("`{module}` is no module; write as \"info,sipedge::sip=debug\""));
            }
            None => {
                has_level = true;
                directives.push(level.to_owned());
            }
        }
    }
    if !has_level {
        directives.insert(0, DEFAULT_LEVEL.to_owned());
    }
    Ok(directives.join(","))
}

fn read_level(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    // syslog and Python call it so
    let text = if text == "warning" { "warn" } else { text.as_str() };
    LEVELS.into_iter().find(|level| *level == text)
}

fn is_module(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    text.split("::").all(is_name)
}

/// Where tests find what was written.
#[cfg(test)]
mod kept {
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_level_is_one_of_six_in_any_case_and_modules_may_have_their_own() {
        for (text, filter) in [
            ("warn", "warn"),
            ("Warning", "warn"),
            ("off", "off"),
            ("info, sipedge::sip = debug", "info,sipedge::sip=debug"),
            ("sipedge::sip=trace", "info,sipedge::sip=trace"),
        ] {
            assert_eq!(read_filter(text).unwrap(), filter, "{text}");
            assert_eq!(
                EnvFilter::try_new(filter).unwrap().to_string().split(',').count(),
                filter.split(',').count()
            );
        }
    }

    #[test]
    fn a_module_of_ours_that_there_is_not_is_found() {
        let library = include_str!("../lib.rs");
        let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        assert_eq!(modules.collect::<Vec<_>>(), MODULES);
        let text = "info,sipedge::nope=debug,sipedge::sip::wire=trace,sipedge=warn,hyper=debug";
        let log = LogConfig::read(&Section::new("log", "t", json!({ "level": text }))).ok().unwrap();
        assert_eq!(log.unknown_modules().collect::<Vec<_>>(), ["sipedge::nope"]);
    }

    #[test]
    fn a_level_that_is_none_is_refused_wherever_it_stands_and_the_levels_are_named() {
        for text in ["verbose", "inf", "", "info,", "info,debgu", "sipedge::sip=loud", "info,sipedge"] {
            let faults = LogConfig::read(&Section::new("log", "t", json!({ "level": text }))).err().unwrap();
            assert_eq!(faults.len(), 1, "{text}");
            assert_eq!(faults[0].key, "log.level");
            for level in LEVELS {
                assert!(faults[0].remedy.contains(level), "{}", faults[0]);
            }
        }
        for module in ["=debug", "a b=debug", "x=y=debug"] {
            assert!(read_filter(module).unwrap_err().contains("is no module"), "{module}");
        }
    }
}
