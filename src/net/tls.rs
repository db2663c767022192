//! TLS 1.2 and 1.3, by ring: who we are ([`Identity`]), how connections are taken ([`Acceptor`]) and made
//! ([`Connector`]), whom we believe ([`Authorities`]), and how files that change are taken over ([`Watch`]).
//!
//! Certificates come from PEM files, or are made on the spot. Nobody is ever believed unverified: a PBX that signed
//! its own certificate is believed when that very certificate stands among the authorities.

mod acceptor;
mod authorities;
mod connector;
#[cfg(test)]
pub(crate) mod fixtures;
mod identity;
pub mod io;
mod reload;
mod validity;

pub use acceptor::Acceptor;
pub use authorities::Authorities;
pub use connector::{Connector, Presented, explain, is_name};
pub use identity::Identity;
pub use reload::{Reload, Watch};
pub use validity::not_after;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Makes ring the crypto library of all TLS of this process; the first thing a program or test with TLS does. A
/// second call changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read, or holds no PEM of that kind.
    #[error("cannot read {}: {reason}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The two do not belong together, or are of a kind that is not served.
    #[error("certificate and key cannot be used: {0}")]
    Pair(rustls::Error),
    /// A certificate of our own could not be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
    /// What a certificate must name is neither a name nor an address.
    #[error("`{0}` is neither a name nor an address that a certificate could have")]
    Name(String),
    /// The crypto library lacks what TLS needs.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

impl TlsError {
    /// The key that names the file of no use, of those of a certificate and of its key (`key`).
    #[must_use]
    pub fn at_fault(&self, key: &Path) -> &'static str {
        match self {
            Self::File { file, .. } if file == key => "tls_key",
            _ => "tls_certificate",
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A file that is of no use, for want of `what`.
fn unreadable(file: &Path, error: &pem::Error, what: &str) -> TlsError {
    TlsError::File {
        file: file.to_owned(),
        reason: match error {
            pem::Error::NoItemsFound => format!("it has no {what} in PEM form"),
            pem::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        },
    }
}

/// All certificates of a file, of which there is one at least.
fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .and_then(|all| if all.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(all) })
        .map_err(|e| unreadable(file, &e, "certificate"))
}

#[cfg(test)]
#[path = "tls/tests.rs"]
mod tests;
