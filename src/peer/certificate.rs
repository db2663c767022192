//! Our certificate for DTLS: self-signed, P-256, made once per process (RFC 8827 §6.5).
//!
//! Nobody checks its names or dates; its SHA-256 stands in our session descriptions (RFC 8122 §5).

use super::Fingerprint;
use sha2::{Digest, Sha256};
use std::fmt;
use webrtc_dtls::crypto::{Certificate as DtlsCertificate, CryptoPrivateKey};

/// A certificate with its private key.
pub struct Certificate {
    dtls: DtlsCertificate,
    fingerprint: Fingerprint,
}

/// Making a certificate failed.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Key generation or signing failed; without system entropy, for one.
    #[error("no certificate could be made")]
    Generate(#[from] rcgen::Error),
    /// The DTLS engine does not take the key.
    #[error("the DTLS engine refuses the key of the certificate")]
    Key(#[source] webrtc_dtls::Error),
}

impl Certificate {
    /// Makes a new key and certificate; takes about 0.1 ms and system entropy (through the crypto library).
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn generate() -> Result<Self, CertificateError> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let mut params = rcgen::CertificateParams::new(Vec::new())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
        let der = params.self_signed(&key)?.der().clone();
        let fingerprint = Fingerprint::of(&der);
        let private_key = CryptoPrivateKey::from_key_pair(&key).map_err(CertificateError::Key)?;
        Ok(Self { dtls: DtlsCertificate { certificate: vec![der], private_key }, fingerprint })
    }

    /// Its SHA-256, for `a=fingerprint`.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    pub(super) const fn dtls(&self) -> &DtlsCertificate {
        &self.dtls
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_certificates_differ_and_the_fingerprint_is_that_of_the_der_form() {
        let (a, b) = (Certificate::generate().unwrap(), Certificate::generate().unwrap());
        assert_ne!(a.fingerprint(), b.fingerprint());
        let der = a.dtls().certificate.first().unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA256, der);
        assert_eq!(a.fingerprint().0.as_slice(), digest.as_ref());
    }
}
