//! Our certificate with its key.

use super::{Reload, TlsError, not_after, provider, read_certificates, unreadable};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// A certificate with its chain and key. What is taken over by [`Reload::reload`] holds for handshakes to come;
/// connections that are open go on.
pub struct Identity {
    current: RwLock<Arc<CertifiedKey>>,
    /// Certificate and key; none for one made on the spot.
    files: Option<(PathBuf, PathBuf)>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl Identity {
    /// A certificate (its chain after it) and its key, both PEM.
    ///
    /// # Errors
    /// Which file is of no use and why.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Arc::new(Self { current, files: Some((certificate.to_owned(), key.to_owned())) }))
    }

    /// A certificate of its own for these addresses, signed by nobody: a browser warns of it.
    ///
    /// # Errors
    /// [`TlsError::Make`], without system entropy for one.
    pub fn self_signed(addresses: &[IpAddr]) -> Result<Arc<Self>, TlsError> {
        let names: Vec<String> = std::iter::once("localhost".to_owned())
            .chain(addresses.iter().map(ToString::to_string))
            .collect();
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
        let pair = CertifiedKey::from_der(vec![made.cert.der().clone()], key, &provider());
        let current = RwLock::new(Arc::new(pair.map_err(TlsError::Pair)?));
        Ok(Arc::new(Self { current, files: None }))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e, "private key"))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Pair)
}

impl Reload for Identity {
    fn files(&self) -> Vec<PathBuf> {
        self.files.iter().flat_map(|(certificate, key)| [certificate.clone(), key.clone()]).collect()
    }

    fn reload(&self) -> Result<(), TlsError> {
        let Some((certificate, key)) = &self.files else { return Ok(()) };
        let new = Arc::new(read(certificate, key)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    fn not_after(&self) -> Option<u64> {
        self.current().cert.first().and_then(|certificate| not_after(certificate))
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
