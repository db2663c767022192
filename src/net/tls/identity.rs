//! Our certificate with its key.

use super::{Reload, TlsError, not_after, provider, read_certificates, unreadable};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// As long as public ones may last (CA/Browser Forum Baseline Requirements §6.3.2: under 398 days); Apple's devices
/// refuse any of more than 825.
const VALIDITY: Duration = Duration::from_secs(397 * 24 * 3_600);

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

    /// A certificate of its own for localhost and these addresses, signed by nobody: a browser warns of it. It holds
    /// from a day before `now`, for clocks that are late, until [`VALIDITY`] after that.
    ///
    /// # Errors
    /// [`TlsError::Make`], without system entropy for one.
    pub fn self_signed(subject: &str, addresses: &[IpAddr], now: SystemTime) -> Result<Arc<Self>, TlsError> {
        let names: Vec<String> = std::iter::once("localhost".to_owned())
            .chain(addresses.iter().map(ToString::to_string))
            .collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // SIP shows it to those that it calls, too
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(DAY);
        params.not_after = params.not_before + VALIDITY;
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let made = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let pair = CertifiedKey::from_der(vec![made.der().clone()], key, &provider());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Position of one DER piece in another.
    fn find(der: &[u8], piece: &[u8]) -> Option<usize> {
        der.windows(piece.len()).position(|window| window == piece)
    }

    #[test]
    fn what_is_made_on_the_spot_names_itself_and_its_addresses_and_lasts_no_longer_than_browsers_take() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_750_000_000);
        let addresses = ["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let identity = Identity::self_signed("sipedge demo", &addresses, now).unwrap();
        assert_eq!(identity.not_after(), Some(1_750_000_000 + 396 * 24 * 3_600));
        let current = identity.current();
        let der = current.cert.first().unwrap();
        // UTCTime (RFC 5280 §4.1.2.5.1) of 1,749,913,600 s, a day before
        assert!(find(der, b"\x17\x0d250614150640Z").is_some());
        for piece in [
            &b"sipedge demo"[..],
            b"\x82\x09localhost",
            b"\x87\x04\xc0\x00\x02\x07",
            b"\x87\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07",
            b"\x55\x1d\x0f",                             // keyUsage
            b"\x06\x08\x2b\x06\x01\x05\x05\x07\x03\x01", // id-kp-serverAuth
        ] {
            assert!(find(der, piece).is_some(), "{piece:?}");
        }
    }
}
