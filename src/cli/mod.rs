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
mod say;

use crate::app::{self, Configured};
use crate::base::Fault;
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Connect web browsers to a SIP PBX such as Asterisk or FreeSWITCH
///
/// Without a command, sipedge runs until it is told to end.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Read this configuration file [default: $SIPEDGE_CONFIG, else /etc/sipedge/sipedge.toml, else a built-in demo]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Open the demo to this network: HTTPS on port 1338 with a self-signed certificate
    #[arg(long, conflicts_with = "config")]
    lan: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str =
    "Exit codes: 0 success; 1 failure; 2 invalid command line; 78 invalid configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and report every error in it
    CheckConfig,
    /// Show where a call would be sent, and why
    Route(route::Arguments),
    /// Print the PBX's side of a trunk, ready to paste into its configuration
    Config(config::Arguments),
    /// Read a password from standard input and print its digest hashes
    HashSecret(hash_secret::Arguments),
}

/// Exit code for a command line that cannot be understood, as of a shell's own commands.
const EXIT_USAGE: u8 = 2;
/// Exit code for a configuration that cannot be used, as sysexits.h names it (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

/// Does what the command line asks.
#[must_use]
pub fn main() -> ExitCode {
    let Arguments { config, lan, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    crate::net::install_crypto();
    match command {
        None => run(config, lan),
        Some(Command::CheckConfig) => with(config, |configured| match configured.state_fault() {
            Some(fault) => refuse(&[fault]),
            None => check_config::run(&configured),
        }),
        Some(Command::Route(arguments)) => with(config, |configured| route::run(&arguments, &configured)),
        Some(Command::Config(arguments)) => with(config, |configured| config::run(&arguments, &configured)),
        Some(Command::HashSecret(arguments)) => hash_secret::run(&arguments),
    }
}

/// Prints the help that was asked for, or what is wrong with the command line.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let _ = error.print();
        return ExitCode::from(EXIT_USAGE);
    }
    let text = error.render();
    let text = if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    say::answer(&text, ExitCode::SUCCESS)
}

fn run(config: Option<PathBuf>, lan: bool) -> ExitCode {
    let configured = match app::configure(config, lan) {
        Ok(configured) => configured,
        Err(faults) => return refuse(&faults),
    };
    if let Some(fault) = configured.state_fault() {
        return refuse(&[fault]);
    }
    match app::run(configured) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::complain(&error);
            if let Some(owner) = error.port_owner() {
                say::complain(format_args!("{} (process {}) has it", owner.name, owner.process));
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
        say::complain(fault);
    }
    ExitCode::from(EXIT_CONFIG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_is_the_demos_and_a_wrong_command_line_beside_a_configuration() {
        let parse = |arguments: &[&str]| Arguments::try_parse_from(arguments);
        assert!(parse(&["sipedge", "--lan"]).is_ok());
        let conflict = parse(&["sipedge", "--lan", "--config", "x"]).unwrap_err();
        assert!(
            conflict.use_stderr() && conflict.kind() == clap::error::ErrorKind::ArgumentConflict,
            "{conflict}"
        );
    }
}
