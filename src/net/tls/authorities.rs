//! Whom we believe.

use super::{Reload, TlsError, not_after, provider, read_certificates};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

/// Where distributions keep the authorities that they believe: Debian and its kin, Red Hat, SUSE, Alpine.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Those whose signature makes a certificate believed, and certificates that are believed by themselves.
#[derive(Debug)]
pub struct Authorities {
    current: RwLock<Arc<Believed>>,
    file: Option<PathBuf>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Believed {
    /// By signature and name; none when no certificate of the file can sign.
    chains: Option<Arc<WebPkiServerVerifier>>,
    /// Those of the file, each believed when it is shown itself, whatever it names: a PBX that signed its own.
    /// RFC 5280 would have no authority's certificate used by a server, and many a PBX does.
    themselves: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// The certificates of a PEM file.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn from_file(file: &Path) -> Result<Arc<Self>, TlsError> {
        Ok(Self::new(read(file)?, Some(file)))
    }

    /// Those of the system, else those that browsers believe.
    ///
    /// # Errors
    /// [`TlsError::Setup`].
    pub fn of_system() -> Result<Arc<Self>, TlsError> {
        for file in SYSTEM.map(Path::new) {
            if let Ok(mut believed) = read(file) {
                // an authority of the system is believed for what it signs
                believed.themselves.clear();
                return Ok(Self::new(believed, Some(file)));
            }
        }
        let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let chains = Some(verifier(roots).map_err(TlsError::Setup)?);
        Ok(Self::new(Believed { chains, themselves: Vec::new() }, None))
    }

    fn new(believed: Believed, file: Option<&Path>) -> Arc<Self> {
        let algorithms = provider().signature_verification_algorithms;
        let current = RwLock::new(Arc::new(believed));
        Arc::new(Self { current, file: file.map(Path::to_owned), algorithms })
    }

    fn current(&self) -> Arc<Believed> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn verifier(roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>, Error> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))
}

fn read(file: &Path) -> Result<Believed, TlsError> {
    let themselves = read_certificates(file)?;
    let mut roots = RootCertStore::empty();
    // what cannot sign may still be believed itself
    roots.add_parsable_certificates(themselves.iter().cloned());
    let chains = if roots.is_empty() { None } else { Some(verifier(roots).map_err(TlsError::Setup)?) };
    Ok(Believed { chains, themselves })
}

impl Reload for Authorities {
    fn files(&self) -> Vec<PathBuf> {
        self.file.iter().cloned().collect()
    }

    fn reload(&self) -> Result<(), TlsError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut new = read(file)?;
        if self.current().themselves.is_empty() {
            new.themselves.clear();
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    fn not_after(&self) -> Option<u64> {
        None
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let believed = self.current();
        if believed.themselves.iter().any(|c| c == end_entity) {
            return match not_after(end_entity) {
                Some(last) if last < now.as_secs() => Err(CertificateError::Expired.into()),
                _ => Ok(ServerCertVerified::assertion()),
            };
        }
        match &believed.chains {
            Some(chains) => chains.verify_server_cert(end_entity, intermediates, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
