//! `sipedge config asterisk|freeswitch [--trunk NAME]`.

use crate::app::Configured;
use crate::cli::{EXIT_USAGE, say};
use crate::edge::contract::Pbx;
use clap::{Args, ValueEnum};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What the PBX is
    #[arg(value_enum)]
    pbx: Kind,
    /// Which trunk; needed where there are several
    #[arg(long, value_name = "NAME")]
    trunk: Option<String>,
    /// Where the PBX reaches sipedge, HOST, HOST:PORT or [IPV6]:PORT; without it, as this machine sees it
    #[arg(long, value_name = "HOST", value_parser = read_address)]
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
            say::complain(format_args!("--trunk: {remedy}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match configured.pbx_end(&trunk, pbx, arguments.address.as_deref()) {
        Ok(text) => say::answer(&text, ExitCode::SUCCESS),
        Err(remedy) => {
            say::complain(remedy);
            ExitCode::FAILURE
        }
    }
}

/// A host with or without a port, as the PBX's configuration takes it; an IPv6 address alone loses its brackets.
fn read_address(text: &str) -> Result<String, String> {
    let wrong = || "write HOST, HOST:PORT or [IPV6]:PORT, as 192.0.2.5:5080".to_owned();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() > 0 { Ok(text.to_owned()) } else { Err(wrong()) };
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string());
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().map(|ip| ip.to_string()).map_err(|_| wrong());
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if is_port && is_host_name(name) { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// RFC 1123 §2.1; the last label is not of digits alone, for then an address was meant.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
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
    fn an_address_is_a_host_with_or_without_a_port_and_nothing_else() {
        for (text, read) in [
            ("pbx.example.org", "pbx.example.org"),
            ("edge:5080", "edge:5080"),
            ("192.0.2.5", "192.0.2.5"),
            ("192.0.2.5:5080", "192.0.2.5:5080"),
            ("2001:db8::5", "2001:db8::5"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("[2001:db8::5]:5080", "[2001:db8::5]:5080"),
        ] {
            assert_eq!(read_address(text).as_deref(), Ok(read));
        }
        for wrong in [
            "",
            "bad host",
            "host:",
            "host:0",
            "host:65536",
            "host:sip",
            ":5080",
            "[::1",
            "[::1]:0",
            "[host]:1",
            "a..b",
            "-a",
            "300.1.1.1",
            "1.2.3",
            "host;x",
            "host\nfoo=bar",
            "sip:host",
            "http://host",
        ] {
            assert!(read_address(wrong).is_err(), "{wrong:?}");
        }
    }

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
