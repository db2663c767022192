//! `[sip]`.

use crate::base::{Fault, Section};
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Beside a PBX that has 5060.
const DEFAULT_PORT: u16 = 5080;
/// Beside a PBX that has 5061.
const DEFAULT_TLS_PORT: u16 = 5081;

/// Where SIP listens and how it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipConfig {
    listen: Vec<SocketAddr>,
    tls_listen: Vec<SocketAddr>,
    tls_files: Option<(PathBuf, PathBuf)>,
    user_agent: String,
}

#[derive(Deserialize)]
struct Raw {
    listen: Option<Vec<String>>,
    tls_listen: Option<Vec<String>>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    user_agent: Option<String>,
}

impl SipConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let known = ["listen", "tls_listen", "tls_certificate", "tls_key", "user_agent"];
        let (raw, mut faults): (Raw, _) = section.read(&known)?;
        let names_tls = raw.tls_listen.is_some();
        let listen = read_addresses(section, "listen", raw.listen, DEFAULT_PORT, &mut faults);
        let tls_listen = read_addresses(section, "tls_listen", raw.tls_listen, DEFAULT_TLS_PORT, &mut faults);
        let (certificate, key) = (raw.tls_certificate, raw.tls_key);
        match (&certificate, &key) {
            (None, None) if names_tls => {
                faults.push(section.fault("tls_certificate", "TLS needs a certificate: a PEM file"));
            }
            (Some(_), None) => {
                faults.push(section.fault("tls_key", "the certificate needs its key: a PEM file"));
            }
            (None, Some(_)) => {
                faults.push(section.fault("tls_certificate", "the key needs its certificate: a PEM file"));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let tls_files = certificate.zip(key);
        let user_agent =
            raw.user_agent.unwrap_or_else(|| concat!("sipedge/", env!("CARGO_PKG_VERSION")).to_owned());
        let is_printable = user_agent.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if user_agent.trim().is_empty() || user_agent.len() > 128 || !is_printable {
            faults.push(section.fault("user_agent", "write 1 to 128 printable characters"));
        }
        if faults.is_empty() { Ok(Self { listen, tls_listen, tls_files, user_agent }) } else { Err(faults) }
    }

    /// Addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Addresses to listen on for TLS, should there be a certificate.
    #[must_use]
    pub fn tls_listen(&self) -> &[SocketAddr] {
        &self.tls_listen
    }

    /// The files of the certificate and of its key.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        self.tls_files.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()))
    }

    /// User-Agent and Server.
    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }
}

/// The addresses of a list; without one, all addresses of both families.
fn read_addresses(
    section: &Section,
    key: &str,
    texts: Option<Vec<String>>,
    default_port: u16,
    faults: &mut Vec<Fault>,
) -> Vec<SocketAddr> {
    let Some(texts) = texts else {
        return vec![
            (Ipv4Addr::UNSPECIFIED, default_port).into(),
            (Ipv6Addr::UNSPECIFIED, default_port).into(),
        ];
    };
    if texts.is_empty() {
        faults.push(section.fault(key, "name at least one ADDRESS:PORT"));
    }
    let mut addresses = Vec::new();
    for text in &texts {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() > 0 => addresses.push(address),
            _ => {
                let example = format!("[\"0.0.0.0:{default_port}\", \"[::]:{default_port}\"]");
                faults.push(section.fault(key, format!("write a list of ADDRESS:PORT, as {example}")));
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_families_are_listened_on_unless_told_otherwise() {
        let read = |value| SipConfig::read(&Section::new("sip", "t", value));
        let default: Vec<String> =
            read(json!({})).unwrap().listen().iter().map(ToString::to_string).collect();
        assert_eq!(default, ["0.0.0.0:5080", "[::]:5080"]);
        assert_eq!(read(json!({"listen": ["[::1]:5080"]})).unwrap().listen().len(), 1);
        assert_eq!(read(json!({"listen": ["5080", "x:1"]})).unwrap_err().len(), 2);
        assert_eq!(read(json!({"listen": [], "user_agent": "a\r\nb"})).unwrap_err().len(), 2);
    }

    #[test]
    fn tls_needs_both_files_and_says_which_is_missing() {
        let read = |value| SipConfig::read(&Section::new("sip", "t", value));
        let all = read(json!({"tls_certificate": "c.pem", "tls_key": "k.pem"})).unwrap();
        let listen: Vec<String> = all.tls_listen().iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["0.0.0.0:5081", "[::]:5081"]);
        assert_eq!(all.tls_files(), Some((Path::new("c.pem"), Path::new("k.pem"))));
        assert!(read(json!({})).unwrap().tls_files().is_none());
        for (value, key) in [
            (json!({"tls_listen": ["[::1]:5081"]}), "sip.tls_certificate"),
            (json!({"tls_certificate": "c.pem"}), "sip.tls_key"),
            (json!({"tls_key": "k.pem"}), "sip.tls_certificate"),
            (
                json!({"tls_certificate": "c.pem", "tls_key": "k.pem", "tls_listen": ["5081"]}),
                "sip.tls_listen",
            ),
        ] {
            let faults = read(value).unwrap_err();
            assert_eq!(faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), [key]);
        }
    }
}
