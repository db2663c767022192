//! The program: arguments, descriptor limit, runtime, exit code.

use clap::Parser;
use sipedge::app;
use std::path::PathBuf;
use std::process::ExitCode;

/// A WebRTC edge for a PBX: browsers and WhatsApp on one side, SIP on the other.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file; without it, $SIPEDGE_CONFIG, then /etc/sipedge/sipedge.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Exit code for a configuration that cannot be used, as sysexits.h names it (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match app::configure(arguments.config) {
        Ok(config) => config,
        Err(faults) => {
            for fault in &faults {
                eprintln!("sipedge: {fault}");
            }
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match app::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sipedge: {error}");
            ExitCode::FAILURE
        }
    }
}
