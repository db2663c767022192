//! A trunk by TLS: who its PBX must prove to be.

use super::config::Trunk;
use crate::base::{Fault, Section, Services};
use crate::net::tls::io::Watcher;
use crate::net::tls::{Authorities, is_name};
use crate::sip::Transport;
use crate::sip::io::{SipStack, TlsTarget};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What the configuration says of it.
pub(super) struct Keys<'a> {
    pub(super) ca: Option<&'a PathBuf>,
    pub(super) name: Option<&'a str>,
    pub(super) sips: Option<bool>,
}

/// TLS of one trunk.
#[derive(Debug, Clone)]
pub(super) struct TrunkTls {
    /// The name that its certificate must have.
    name: String,
    authorities: Arc<Authorities>,
    /// Its calls go to `sips:` URIs.
    pub(super) is_sips: bool,
    /// As the stack knows it, once it is started.
    way: OnceLock<Transport>,
}

impl TrunkTls {
    /// What belongs to a transport; none for one that is not TLS.
    pub(super) fn read(
        section: &Section,
        transport: Transport,
        host: &str,
        keys: &Keys<'_>,
        faults: &mut Vec<Fault>,
    ) -> Option<Self> {
        if !transport.is_secure() {
            let written = [
                ("tls_ca", keys.ca.is_some()),
                ("tls_name", keys.name.is_some()),
                ("sips", keys.sips == Some(true)),
            ];
            let wrong = written.into_iter().filter(|(_, is_written)| *is_written);
            faults.extend(wrong.map(|(key, _)| section.fault(key, "this is for transport = \"tls\"")));
            return None;
        }
        let name = keys.name.unwrap_or(host);
        // that there is no host is told elsewhere
        let is_written = keys.name.is_some() || !host.is_empty();
        if is_written && !is_name(name) {
            let remedy =
                "write the host name or address that the PBX's certificate has, as \"pbx.example.org\"";
            faults.push(section.fault("tls_name", remedy));
        }
        let authorities = match keys.ca {
            Some(file) => Authorities::from_file(file),
            None => Authorities::of_system(),
        };
        let authorities =
            authorities.map_err(|error| faults.push(section.fault("tls_ca", error.to_string())));
        Some(Self {
            name: name.to_owned(),
            authorities: authorities.ok()?,
            is_sips: keys.sips.unwrap_or(false), // few PBXs listen for it
            way: OnceLock::new(),
        })
    }

    /// Tells the stack of it, once.
    fn start(&self, trunk: &str, sip: &SipStack, services: &Services) -> Result<(), String> {
        if self.way.get().is_some() {
            return Ok(());
        }
        let (label, authorities) = (format!("trunk.{trunk}"), self.authorities.clone());
        if let Some(watcher) = services.get::<Watcher>() {
            watcher.add(&format!("{label}.tls_ca"), authorities.clone());
        }
        let target = TlsTarget { label, name: self.name.clone(), authorities };
        let way = sip.tls_peer(target).map_err(|error| format!("trunk.{trunk}: {error}"))?;
        self.way.get_or_init(|| way);
        Ok(())
    }
}

impl Trunk {
    /// Readies its way.
    pub(super) fn start_tls(&self, sip: &SipStack, services: &Services) -> Result<(), String> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.start(&self.name, sip, services))
    }

    /// The transport that leads to it, and by TLS to nobody else.
    pub(super) fn way(&self) -> Transport {
        self.tls.as_ref().and_then(|tls| tls.way.get().copied()).unwrap_or(self.transport)
    }
}
