//! `[http]`.

use super::Origins;
use crate::base::{Fault, OneOrMany, Section};
use crate::net::tls::{Acceptor, Identity, TlsError};
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Where and for whom HTTP is served.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    listen: Vec<SocketAddr>,
    tls: Option<Tls>,
    origins: Origins,
    has_page: bool,
}

/// Where HTTPS is served, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) acceptor: Acceptor,
    identity: Arc<Identity>,
}

impl Tls {
    fn new(listen: Vec<SocketAddr>, identity: Arc<Identity>) -> Result<Self, TlsError> {
        Ok(Self { listen, acceptor: Acceptor::for_http(identity.clone())?, identity })
    }
}

/// HTTPS is on every address, of both IP versions: who sets a certificate means to be reached.
#[must_use]
pub fn everywhere() -> Vec<SocketAddr> {
    const PORT: u16 = 1338;
    vec![(Ipv4Addr::UNSPECIFIED, PORT).into(), (Ipv6Addr::UNSPECIFIED, PORT).into()]
}

#[derive(Deserialize)]
struct Raw {
    listen: Option<OneOrMany>,
    tls_listen: Option<OneOrMany>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    origins: Option<Vec<String>>,
    page: Option<bool>,
}

impl HttpConfig {
    /// Reads the section, and the certificate that it names.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let known = ["listen", "tls_listen", "tls_certificate", "tls_key", "origins", "page"];
        let (raw, mut faults): (Raw, _) = section.read(&known)?;
        // a browser gives a microphone to 127.0.0.1 without TLS
        let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, 1337));
        let listen = read_addresses(section, "listen", raw.listen, vec![plain], &mut faults);
        let names_tls = raw.tls_listen.is_some();
        let tls_listen = read_addresses(section, "tls_listen", raw.tls_listen, everywhere(), &mut faults);
        let tls = match (raw.tls_certificate, raw.tls_key) {
            (Some(certificate), Some(key)) => match Identity::from_files(&certificate, &key)
                .and_then(|identity| Tls::new(tls_listen, identity))
            {
                Ok(tls) => Some(tls),
                Err(error) => {
                    faults.push(section.fault(error.at_fault(&key), error.to_string()));
                    None
                }
            },
            (None, None) => {
                if names_tls {
                    faults.push(section.fault("tls_certificate", "HTTPS needs a certificate: a PEM file"));
                }
                None
            }
            (Some(_), None) => {
                faults.push(section.fault("tls_key", "the certificate needs its key: a PEM file"));
                None
            }
            (None, Some(_)) => {
                faults.push(section.fault("tls_certificate", "the key needs its certificate: a PEM file"));
                None
            }
        };
        let origins = Origins::parse(&raw.origins.unwrap_or_default());
        if let Err(wrong) = &origins {
            let remedy =
                format!("`{wrong}` is no origin; write https://host[:port] without a path, or \"*\"");
            faults.push(section.fault("origins", remedy));
        }
        match origins {
            Ok(origins) if faults.is_empty() => {
                Ok(Self { listen, tls, origins, has_page: raw.page.unwrap_or(true) }) // it shows nothing without a token
            }
            _ => Err(faults),
        }
    }

    /// HTTPS with a certificate that is not read from files.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn set_tls(&mut self, listen: Vec<SocketAddr>, identity: Arc<Identity>) -> Result<(), TlsError> {
        self.tls = Some(Tls::new(listen, identity)?);
        Ok(())
    }

    /// Its certificate, where there is one.
    #[must_use]
    pub fn identity(&self) -> Option<Arc<Identity>> {
        self.tls.as_ref().map(|tls| tls.identity.clone())
    }

    /// Addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Addresses to listen on for HTTPS; none without a certificate.
    #[must_use]
    pub fn tls_listen(&self) -> &[SocketAddr] {
        self.tls.as_ref().map_or(&[], |tls| &tls.listen)
    }

    pub(super) const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Pages of other origins that may call.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// Whether the call page is served.
    #[must_use]
    pub const fn has_page(&self) -> bool {
        self.has_page
    }
}

/// One address or several; what cannot be read is a fault.
fn read_addresses(
    section: &Section,
    key: &str,
    raw: Option<OneOrMany>,
    default: Vec<SocketAddr>,
    faults: &mut Vec<Fault>,
) -> Vec<SocketAddr> {
    let Some(OneOrMany(texts)) = raw else { return default };
    if texts.is_empty() {
        faults.push(section.fault(key, "name at least one ADDRESS:PORT"));
    }
    let mut addresses = Vec::new();
    for text in &texts {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                faults.push(section.fault(key, "write ADDRESS:PORT, as 127.0.0.1:1337 or [::]:1337"));
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::fixtures::{Folder, of_its_own};
    use serde_json::json;

    #[test]
    fn one_address_or_several_are_read_and_mistakes_carry_a_remedy() {
        let read = |value| HttpConfig::read(&Section::new("http", "t", value));
        assert_eq!(read(json!({})).unwrap().listen(), ["127.0.0.1:1337".parse::<SocketAddr>().unwrap()]);
        assert_eq!(read(json!({"listen": ["127.0.0.1:1", "[::1]:2"]})).unwrap().listen().len(), 2);
        assert_eq!(read(json!({"listen": "localhost:80", "origins": ["example.org"]})).unwrap_err().len(), 2);
        let told = |value| {
            let faults = Fault::settle(read(json!({ "listen": value })).unwrap_err());
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for other in [json!(7), json!("7"), json!([1])] {
            assert_eq!(told(other), ["t: http.listen: write ADDRESS:PORT, as 127.0.0.1:1337 or [::]:1337"]);
        }
        let expected = ["t: http.listen: write a text in quotes or a list of texts, not a table"];
        assert_eq!(told(json!({"a": 1})), expected);
    }

    #[test]
    fn https_needs_both_files_and_says_which_is_missing() {
        let read = |value| HttpConfig::read(&Section::new("http", "t", value));
        assert!(read(json!({})).unwrap().tls().is_none());
        for (value, key) in [
            (json!({"tls_listen": "[::]:1338"}), "http.tls_certificate"),
            (json!({"tls_certificate": "/nonexistent/x.pem"}), "http.tls_key"),
            (json!({"tls_key": "/nonexistent/x.pem"}), "http.tls_certificate"),
            (
                json!({"tls_certificate": "/nonexistent/x.pem", "tls_key": "/nonexistent/y.pem"}),
                "http.tls_certificate",
            ),
        ] {
            let faults = read(value).unwrap_err();
            assert_eq!(faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), [key]);
        }
        let folder = Folder::new("http-config");
        let (certificate, key) = of_its_own("edge.example");
        let (certificate, key) = (folder.file("c.pem", &certificate), folder.file("k.pem", &key));
        let bad = json!({"tls_certificate": certificate, "tls_key": "/nonexistent/y.pem"});
        assert_eq!(read(bad).unwrap_err()[0].key, "http.tls_key");
        let good = read(json!({"tls_certificate": certificate, "tls_key": key})).unwrap();
        let listen: Vec<String> = good.tls_listen().iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["0.0.0.0:1338", "[::]:1338"]);
    }
}
