//! TLS for listeners (TLS 1.2 and 1.3, by ring): certificates from PEM files, or one made on the spot for a demo.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Makes ring the crypto library of all TLS of this process; the first thing a program or test with TLS does. A
/// second call changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Why a certificate cannot be used.
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
    Pair(#[from] rustls::Error),
    /// A certificate of our own could not be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// Takes TLS connections. Cloning shares it.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// With a certificate (its chain after it) and its key, both PEM.
    ///
    /// # Errors
    /// Which file is of no use and why.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let wrong = |file: &Path, error: &pem::Error, what: &str| TlsError::File {
            file: file.to_owned(),
            reason: match error {
                pem::Error::NoItemsFound => format!("it has no {what} in PEM form"),
                pem::Error::Io(error) => error.to_string(),
                error => error.to_string(),
            },
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|e| wrong(certificate, &e, "certificate"))?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, &e, "private key"))?;
        Self::new(chain, key)
    }

    /// With a certificate of its own for these addresses, signed by nobody: a browser warns of it.
    ///
    /// # Errors
    /// [`TlsError::Make`], without system entropy for one.
    pub fn self_signed(addresses: &[IpAddr]) -> Result<Self, TlsError> {
        let names: Vec<String> = std::iter::once("localhost".to_owned())
            .chain(addresses.iter().map(ToString::to_string))
            .collect();
        let made = rcgen::generate_simple_self_signed(names)?;
        let key = PrivateKeyDer::Pkcs8(made.key_pair.serialize_der().into());
        Self::new(vec![made.cert.der().clone()], key)
    }

    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Takes one connection; the caller sets the deadline.
    ///
    /// # Errors
    /// The handshake failed.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        self.0.accept(stream).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_no_use_is_named_with_the_reason() {
        let missing = Acceptor::from_files(Path::new("/nonexistent/x.pem"), Path::new("/nonexistent/y.pem"));
        assert!(missing.unwrap_err().to_string().starts_with("cannot read /nonexistent/x.pem: "));
        let file = std::env::temp_dir().join(format!("sipedge-tls-{}.pem", std::process::id()));
        std::fs::write(&file, "no PEM at all").unwrap();
        let empty = Acceptor::from_files(&file, &file).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(empty.ends_with("it has no certificate in PEM form"), "{empty}");
    }

    #[test]
    fn a_certificate_of_its_own_can_be_made_and_read_back_from_files() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let at = |n: &str| std::env::temp_dir().join(format!("sipedge-tls-{}-{n}.pem", std::process::id()));
        std::fs::write(at("cert"), made.cert.pem()).unwrap();
        std::fs::write(at("key"), made.key_pair.serialize_pem()).unwrap();
        let read = Acceptor::from_files(&at("cert"), &at("key"));
        let swapped = Acceptor::from_files(&at("key"), &at("cert"));
        std::fs::remove_file(at("cert")).unwrap();
        std::fs::remove_file(at("key")).unwrap();
        assert!(read.is_ok(), "{read:?}");
        assert!(swapped.is_err());
        assert!(Acceptor::self_signed(&["192.0.2.7".parse().unwrap()]).is_ok());
    }
}
