//! The command line: what can be asked of the program besides running, and its exit codes.
//!
//! | code | meaning |
//! | --- | --- |
//! | 0 | ended on request, or the answer is yes |
//! | 1 | could not start or go on; no route; a password that cannot be read |
//! | 2 | the command line cannot be understood |
//! | 78 | the configuration cannot be used (`EX_CONFIG` of sysexits.h) |

mod check_config;
mod config;
mod hash_secret;
mod route;

use crate::app::{self, Configured};
use crate::base::Fault;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// A WebRTC edge for a PBX: browsers on one side, SIP on the other. Without a command, it runs.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Configuration file; without it, $SIPEDGE_CONFIG, then /etc/sipedge/sipedge.toml, then a demo
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The demo for others in this network too: HTTPS on port 1338 with a certificate of its own
    #[arg(long)]
    lan: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "Exit codes: 0 ended on request, 1 could not start or go on, 2 wrong command line, 78 wrong \
                          configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge the configuration and name everything that is wrong with it
    CheckConfig,
    /// Say where a call would go, and why
    Route(route::Arguments),
    /// Print the other end of a trunk, ready to paste into the PBX's configuration
    Config(config::Arguments),
    /// Print the digest hashes of a password that is read from standard input
    HashSecret(hash_secret::Arguments),
}

/// Exit code for a configuration that cannot be used, as sysexits.h names it (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { config, lan, command } = Arguments::parse();
    crate::net::install_crypto();
    match command {
        None => run(config, lan),
        Some(Command::CheckConfig) => with(config, |configured| check_config::run(&configured)),
        Some(Command::Route(arguments)) => with(config, |configured| route::run(&arguments, &configured)),
        Some(Command::Config(arguments)) => with(config, |configured| config::run(&arguments, &configured)),
        Some(Command::HashSecret(arguments)) => hash_secret::run(&arguments),
    }
}

fn run(config: Option<PathBuf>, lan: bool) -> ExitCode {
    let configured = match app::configure(config, lan) {
        Ok(configured) => configured,
        Err(faults) => return refuse(&faults),
    };
    match app::run(configured) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sipedge: {error}");
            if let Some(owner) = error.port_owner() {
                eprintln!("sipedge: {} (process {}) has it", owner.name, owner.process);
            }
            ExitCode::FAILURE
        }
    }
}

/// What a command does with a good configuration.
fn with(config: Option<PathBuf>, command: impl FnOnce(Configured) -> ExitCode) -> ExitCode {
    match app::configure(config, false) {
        Ok(configured) => command(configured),
        Err(faults) => refuse(&faults),
    }
}

fn refuse(faults: &[Fault]) -> ExitCode {
    for fault in faults {
        eprintln!("sipedge: {fault}");
    }
    ExitCode::from(EXIT_CONFIG)
}
