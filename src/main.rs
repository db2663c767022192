//! The program: arguments, descriptor limit, runtime, exit code.

use clap::Parser;
use sipedge::app;
use std::path::PathBuf;
use std::process::ExitCode;

/// A WebRTC edge for a PBX: browsers and WhatsApp on one side, SIP on the other.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Configuration file; without it, $SIPEDGE_CONFIG, then /etc/sipedge/sipedge.toml, then a demo
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The demo for others in this network too: HTTPS on port 1338 with a certificate of its own
    #[arg(long)]
    lan: bool,
}

/// Exit code for a configuration that cannot be used, as sysexits.h names it (`EX_CONFIG`).
const EXIT_CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    sipedge::net::install_crypto();
    let config = match app::configure(arguments.config, arguments.lan) {
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
