//! `[http]`.

use super::Origins;
use crate::base::{Fault, Section};
use serde::Deserialize;
use std::net::SocketAddr;

/// Where and for whom HTTP is served.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    listen: Vec<SocketAddr>,
    origins: Origins,
}

#[derive(Deserialize)]
struct Raw {
    listen: Option<OneOrMany>,
    origins: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
    Other(serde::de::IgnoredAny),
}

impl HttpConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let raw: Raw = section.read(&["listen", "origins"])?;
        let mut faults = Vec::new();
        let texts = match raw.listen {
            None => vec!["127.0.0.1:1337".to_owned()], // a browser gives a microphone to 127.0.0.1 without TLS
            Some(OneOrMany::One(text)) => vec![text],
            Some(OneOrMany::Many(texts)) => texts,
            // what it is not is left to the check below, whose text says what it must be
            Some(OneOrMany::Other(_)) => vec![String::new()],
        };
        let mut listen = Vec::new();
        for text in &texts {
            match text.parse() {
                Ok(address) => listen.push(address),
                Err(_) => {
                    faults.push(section.fault("listen", "write ADDRESS:PORT, as 127.0.0.1:1337 or [::]:1337"))
                }
            }
        }
        if listen.is_empty() && faults.is_empty() {
            faults.push(section.fault("listen", "name at least one ADDRESS:PORT"));
        }
        let origins = Origins::parse(&raw.origins.unwrap_or_default());
        if let Err(wrong) = &origins {
            let remedy =
                format!("`{wrong}` is no origin; write https://host[:port] without a path, or \"*\"");
            faults.push(section.fault("origins", remedy));
        }
        match origins {
            Ok(origins) if faults.is_empty() => Ok(Self { listen, origins }),
            _ => Err(faults),
        }
    }

    /// Addresses to listen on.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Pages of other origins that may call.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_address_or_several_are_read_and_mistakes_carry_a_remedy() {
        let read = |value| HttpConfig::read(&Section::new("http", "t", value));
        assert_eq!(read(json!({})).unwrap().listen(), ["127.0.0.1:1337".parse::<SocketAddr>().unwrap()]);
        assert_eq!(read(json!({"listen": ["127.0.0.1:1", "[::1]:2"]})).unwrap().listen().len(), 2);
        assert_eq!(read(json!({"listen": "localhost:80", "origins": ["example.org"]})).unwrap_err().len(), 2);
        for other in [json!(7), json!({"a": 1}), json!([1])] {
            let faults = read(json!({ "listen": other })).unwrap_err();
            assert!(faults.iter().all(|f| f.to_string().contains("write ADDRESS:PORT")), "{faults:?}");
        }
    }
}
