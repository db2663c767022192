//! `[sip]`.

use crate::base::{Fault, Section};
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Beside a PBX that has 5060.
const DEFAULT_PORT: u16 = 5080;

/// Where SIP listens and how it names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipConfig {
    listen: Vec<SocketAddr>,
    user_agent: String,
}

#[derive(Deserialize)]
struct Raw {
    listen: Option<Vec<String>>,
    user_agent: Option<String>,
}

impl SipConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let raw: Raw = section.read(&["listen", "user_agent"])?;
        let mut faults = Vec::new();
        let mut listen = Vec::new();
        match raw.listen {
            None => {
                listen.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
                listen.push(SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT)));
            }
            Some(texts) => {
                for text in &texts {
                    match text.parse::<SocketAddr>() {
                        Ok(address) if address.port() > 0 => listen.push(address),
                        _ => faults.push(section.fault(
                            "listen",
                            "write a list of ADDRESS:PORT, as [\"0.0.0.0:5080\", \"[::]:5080\"]",
                        )),
                    }
                }
                if texts.is_empty() {
                    faults.push(section.fault("listen", "name at least one ADDRESS:PORT"));
                }
            }
        }
        let user_agent =
            raw.user_agent.unwrap_or_else(|| concat!("sipedge/", env!("CARGO_PKG_VERSION")).to_owned());
        let is_printable = user_agent.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if user_agent.trim().is_empty() || user_agent.len() > 128 || !is_printable {
            faults.push(section.fault("user_agent", "write 1 to 128 printable characters"));
        }
        if faults.is_empty() { Ok(Self { listen, user_agent }) } else { Err(faults) }
    }

    /// Addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// User-Agent and Server.
    #[must_use]
    pub fn user_agent(&self) -> &str {
        &self.user_agent
    }
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
}
