//! `sipedge hash-secret USER`.

use crate::base::Secret;
use crate::sip::digest::{Algorithm, ha1};
use clap::Args;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The user whose password it is
    user: String,
    /// The realm that the password is for; sipedge's own unless it is somebody else's
    #[arg(long, default_value = crate::sip::REALM)]
    realm: String,
}

/// Reads the password from standard input, so that it stands in no list of processes and no history.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type the password and press Enter (it is shown; or pipe it in):");
    }
    let mut line = String::new();
    if let Err(error) = stdin.lock().read_line(&mut line) {
        eprintln!("sipedge: the password cannot be read: {error}");
        return ExitCode::FAILURE;
    }
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        eprintln!(
            "sipedge: no password on standard input; as: printf %s 'the password' | sipedge hash-secret USER"
        );
        return ExitCode::FAILURE;
    }
    print!("{}", hashes(&arguments.user, &arguments.realm, &Secret::new(password)));
    ExitCode::SUCCESS
}

/// As they stand in a configuration: `H(user:realm:password)` for each algorithm (RFC 7616 §3.4.2).
fn hashes(user: &str, realm: &str, password: &Secret) -> String {
    Algorithm::ALL
        .iter()
        .map(|a| format!("{:<11} = \"{}\"\n", a.as_str(), ha1(*a, user, realm, password).expose()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_hashes_are_those_of_the_rfcs_examples() {
        // RFC 7616 §3.9.1; the hashes are those of md5sum and sha256sum over the text
        let text = hashes("Mufasa", "http-auth@example.org", &Secret::new("Circle of Life"));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "MD5         = \"3d78807defe7de2157e2b0b6573a855f\"");
        assert_eq!(
            lines[1],
            "SHA-256     = \"7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232\""
        );
        assert!(lines[2].starts_with("SHA-512-256 = \""));
    }
}
