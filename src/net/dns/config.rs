//! `[dns]`.

use crate::base::{Fault, Section};
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};

/// Where DNS is asked.
pub(super) const DEFAULT_PORT: u16 = 53;
/// As many as the system's own list may have (`resolv.conf(5)`), and one more.
const MAX_SERVERS: usize = 4;

/// Whom to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsConfig {
    servers: Vec<SocketAddr>,
}

#[derive(Deserialize)]
struct Raw {
    servers: Option<Vec<String>>,
}

impl DnsConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let (raw, mut faults): (Raw, _) = section.read(&["servers"])?;
        let Some(texts) = raw.servers else {
            return if faults.is_empty() { Ok(Self::default()) } else { Err(faults) };
        };
        let servers: Option<Vec<_>> = texts.iter().map(|text| read_server(text)).collect();
        match servers {
            Some(servers) if (1..=MAX_SERVERS).contains(&servers.len()) => {
                if faults.is_empty() {
                    Ok(Self { servers })
                } else {
                    Err(faults)
                }
            }
            _ => {
                let remedy = "write one to four name servers, as [\"192.0.2.53\", \"127.0.0.1:5353\"]; without the \
                              key, the system's are asked (/etc/resolv.conf)";
                faults.push(section.fault("servers", remedy));
                Err(faults)
            }
        }
    }

    /// The servers that are asked in place of the system's; none: the system's.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// For tests: these servers.
    #[cfg(test)]
    pub(crate) const fn of(servers: Vec<SocketAddr>) -> Self {
        Self { servers }
    }
}

/// An address, with or without a port.
fn read_server(text: &str) -> Option<SocketAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let server = bare.map(|ip| SocketAddr::new(ip, DEFAULT_PORT)).or_else(|_| text.parse()).ok()?;
    (server.port() > 0 && !server.ip().is_unspecified()).then_some(server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Vec<String>, Vec<String>> {
        DnsConfig::read(&Section::new("dns", "t", value))
            .map(|c| c.servers().iter().map(ToString::to_string).collect())
            .map_err(|faults| faults.into_iter().map(|f| f.key).collect())
    }

    #[test]
    fn servers_are_addresses_with_or_without_a_port() {
        assert_eq!(read(json!({})), Ok(vec![]));
        let all = json!({"servers": ["192.0.2.53", "127.0.0.1:5353", "::1", "[2001:db8::1]:54"]});
        let expected = ["192.0.2.53:53", "127.0.0.1:5353", "[::1]:53", "[2001:db8::1]:54"];
        assert_eq!(read(all).unwrap(), expected);
        for bad in
            [json!([]), json!(["ns.example"]), json!(["192.0.2.1:0"]), json!(["0.0.0.0"]), json!(["1:2:3"])]
        {
            assert_eq!(read(json!({"servers": bad})), Err(vec!["dns.servers".to_owned()]), "{bad}");
        }
        assert_eq!(read(json!({"servers": ["::1", "::2", "::3", "::4", "::5"]})).unwrap_err().len(), 1);
    }
}
