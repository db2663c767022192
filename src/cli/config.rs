//! `sipedge config asterisk|freeswitch [--trunk NAME]`.

use crate::app::Configured;
use crate::edge::contract::Pbx;
use clap::{Args, ValueEnum};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What the PBX is
    #[arg(value_enum)]
    pbx: Kind,
    /// Which trunk; needed where there are several
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Where the PBX reaches sipedge, HOST or HOST:PORT; without it, as this machine sees it
    #[arg(long, value_name = "HOST")]
    address: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A block for pjsip.conf
    Asterisk,
    /// The same in short, for pjsip_wizard.conf
    AsteriskWizard,
    /// Gateway, dialplan and directory
    Freeswitch,
}

pub(super) fn run(arguments: &Arguments, configured: &Configured) -> ExitCode {
    let pbx = match arguments.pbx {
        Kind::Asterisk => Pbx::Asterisk,
        Kind::AsteriskWizard => Pbx::AsteriskWizard,
        Kind::Freeswitch => Pbx::FreeSwitch,
    };
    let trunk = match choose(arguments.trunk.as_deref(), &configured.trunks()) {
        Ok(trunk) => trunk,
        Err(remedy) => {
            eprintln!("sipedge: --trunk: {remedy}");
            return ExitCode::from(2);
        }
    };
    match configured.pbx_end(&trunk, pbx, arguments.address.as_deref()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(remedy) => {
            eprintln!("sipedge: {remedy}");
            ExitCode::FAILURE
        }
    }
}

fn choose(named: Option<&str>, trunks: &[String]) -> Result<String, String> {
    match (named, trunks) {
        (Some(name), _) if trunks.iter().any(|t| t == name) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (_, []) => Err("no trunk is configured; write a [trunk.NAME] first".to_owned()),
        (Some(_), _) => Err(format!("no such trunk; there are: {}", trunks.join(", "))),
        (None, _) => Err(format!("name one of: {}", trunks.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_trunk_needs_no_name_and_of_several_one_must_be_named() {
        let trunks = ["isp".to_owned(), "pbx".to_owned()];
        assert_eq!(choose(None, &trunks[1..]), Ok("pbx".into()));
        assert_eq!(choose(Some("isp"), &trunks), Ok("isp".into()));
        assert_eq!(choose(None, &trunks), Err("name one of: isp, pbx".into()));
        assert_eq!(choose(Some("pbc"), &trunks), Err("no such trunk; there are: isp, pbx".into()));
        assert!(choose(None, &[]).is_err());
    }
}
