//! `sipedge hash-secret USER`.

use crate::base::Secret;
use crate::cli::say;
use crate::edge::trunk;
use clap::Args;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The user whose password it is, as in `inbound_user`
    #[arg(value_parser = read_user)]
    user: String,
}

/// Reads the password from standard input, so that it stands in no list of processes and no history.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        say::complain("type the password and press Enter (it is shown; or pipe it in):");
    }
    let mut line = String::new();
    if let Err(error) = stdin.lock().read_line(&mut line) {
        say::complain(format_args!("the password cannot be read: {error}"));
        return ExitCode::FAILURE;
    }
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        say::complain(
            "no password on standard input; as: printf %s 'the password' | sipedge hash-secret USER",
        );
        return ExitCode::FAILURE;
    }
    say::answer(&printed(&arguments.user, &Secret::new(password)), ExitCode::SUCCESS)
}

/// A user that can log in by digest. What is hashed is USER:REALM:PASSWORD (RFC 7616 §3.4.2), so that a colon in the
/// user would make it another one's hash.
fn read_user(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("name the user".to_owned());
    }
    if text.contains(':') {
        return Err(
            "a user with a colon cannot log in by digest, which joins user and realm by one".to_owned()
        );
    }
    if text.chars().any(char::is_control) {
        return Err("a user has no control characters".to_owned());
    }
    Ok(text.to_owned())
}

/// To be pasted: lines of a configuration, and where they belong.
fn printed(user: &str, password: &Secret) -> String {
    let lines = trunk::hash_lines(user, password);
    format!(
        "# below inbound_user of [trunk.NAME], in place of inbound_password; any of them will do\n{lines}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use crate::config::Config;

    /// The keys that are wrong in a configuration whose trunk has these lines.
    fn faults(lines: &str) -> Vec<String> {
        let place = format!("sipedge-hash-{}-{:p}.toml", std::process::id(), lines);
        let file = std::env::temp_dir().join(place);
        std::fs::write(&file, format!("[trunk.pbx]\nhost = \"192.0.2.1\"\n{lines}")).unwrap();
        let config = Config::load(Some(&file), std::iter::empty()).unwrap();
        let _ = std::fs::remove_file(&file);
        let faults = crate::app::judge(&config, Seed::from_number(1)).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn a_user_that_could_never_log_in_is_refused() {
        assert_eq!(read_user("a \"quoted\\ name\"").as_deref(), Ok("a \"quoted\\ name\""));
        for wrong in ["", "a:b", ":", "a\nb"] {
            assert!(read_user(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_it_prints_can_be_pasted_below_the_user_that_it_is_for_and_no_other() {
        for user in ["pbx", "a \"quoted\\ name\""] {
            let printed = printed(user, &Secret::new("a password"));
            let quoted = serde_json::Value::from(user);
            assert!(faults(&format!("inbound_user = {quoted}\n{printed}")).is_empty());
            let other = faults(&format!("inbound_user = \"other\"\n{printed}"));
            let keys = ["md5", "sha256", "sha512_256"].map(|a| format!("trunk.pbx.inbound_ha1_{a}"));
            assert_eq!(other, keys);
        }
    }
}
