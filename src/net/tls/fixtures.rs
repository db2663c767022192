//! Certificates for tests.

use super::Identity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use std::path::PathBuf;
use std::sync::Arc;

/// A folder of files of one test; gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sipedge-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Files NAME.pem and NAME.key of a certificate and its key.
    pub(crate) fn identity(&self, name: &str, (certificate, key): &(String, String)) -> Arc<Identity> {
        let certificate = self.file(&format!("{name}.pem"), certificate);
        Identity::from_files(&certificate, &self.file(&format!("{name}.key"), key)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An authority.
pub(crate) struct Authority(pub(crate) rcgen::Certificate, KeyPair);

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(params.self_signed(&key).unwrap(), key)
    }

    /// A certificate for a name, changed by `change`, and its key, in PEM.
    pub(crate) fn signs(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        (params.signed_by(&key, &self.0, &self.1).unwrap().pem(), key.serialize_pem())
    }
}

/// A certificate that signed itself; an authority's, as `openssl req -x509` makes them.
pub(crate) fn of_its_own(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}
