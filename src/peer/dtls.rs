//! The DTLS handshake of one association (RFC 5763, 5764) on the crate's engine.
//!
//! [`handshake`] runs from the first flight to the keys. The engine checks the signature of the other side's
//! certificate key; whether it is the announced certificate is checked here, before keys are exported. Then
//! the engine is closed: after the handshake an association needs nothing of it but our close_notify, which
//! is made in advance.
//!
//! No deadline of its own: `core` ends it. Dropping the future ends the engine's tasks. An exception to
//! "same inputs, same outputs": the engine has tasks and randomness of its own.

use super::conn::MemoryEnd;
use super::output::{Established, HandshakeError};
use super::{Certificate, DtlsRole, Fingerprint, MasterKey, SrtpKeys, SrtpProfile};
use std::sync::Arc;
use std::time::Duration;
use webrtc_dtls::config::{ClientAuthType, Config, ExtendedMasterSecretType};
use webrtc_dtls::conn::DTLSConn;
use webrtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use webrtc_util::{Conn, KeyingMaterialExporter};
use zeroize::Zeroizing;

/// Time until a flight is repeated (RFC 6347 §4.2.4.1 says 1 s at first; media waits for us).
const FLIGHT_INTERVAL: Duration = Duration::from_millis(120);
/// RFC 5764 §4.2.
const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

/// What a handshake is run with.
pub(crate) struct Handshake {
    /// The engine's end.
    pub(crate) end: Arc<MemoryEnd>,
    /// Our side.
    pub(crate) role: DtlsRole,
    /// Our certificate.
    pub(crate) certificate: Arc<Certificate>,
    /// Profiles in order of preference.
    pub(crate) profiles: Vec<SrtpProfile>,
    /// The announced certificates.
    pub(crate) fingerprints: Vec<Fingerprint>,
}

/// Runs a handshake.
///
/// # Errors
/// [`HandshakeError`]; nothing runs then.
pub(crate) async fn handshake(how: Handshake) -> Result<Established, HandshakeError> {
    let config = Config {
        certificates: vec![how.certificate.dtls().clone()],
        srtp_protection_profiles: how.profiles.iter().map(|p| to_crate(*p)).collect(),
        client_auth: ClientAuthType::RequireAnyClientCert,
        extended_master_secret: ExtendedMasterSecretType::Request,
        flight_interval: FLIGHT_INTERVAL,
        // self-signed certificates (RFC 8827 §6.5): the fingerprint is what is verified
        insecure_skip_verify: true,
        server_name: "localhost".to_owned(),
        ..Config::default()
    };
    let conn: Arc<dyn Conn + Send + Sync> = Arc::<MemoryEnd>::clone(&how.end);
    let engine = Box::pin(DTLSConn::new(conn, config, how.role == DtlsRole::Client, None)).await;
    let engine = engine.map_err(|error| {
        tracing::debug!(%error, "DTLS engine gave up");
        HandshakeError::Engine
    })?;
    let result = export(&engine, &how).await;
    if result.is_ok() {
        how.end.capture();
    } else {
        how.end.shut();
    }
    let _ = engine.close().await;
    let farewell = how.end.captured();
    result.map(|keys| Established { keys, farewell })
}

/// Checks the certificate, then takes the keys.
async fn export(engine: &DTLSConn, how: &Handshake) -> Result<SrtpKeys, HandshakeError> {
    let state = engine.connection_state().await;
    let certificate = state.peer_certificates.first().ok_or(HandshakeError::Certificate)?;
    if !how.fingerprints.contains(&Fingerprint::of(certificate)) {
        return Err(HandshakeError::Certificate);
    }
    let profile = from_crate(engine.selected_srtpprotection_profile()).filter(|p| how.profiles.contains(p));
    let profile = profile.ok_or(HandshakeError::Profile)?;
    let len = profile.key_len().saturating_add(profile.salt_len()).saturating_mul(2);
    let material = state.export_keying_material(EXPORTER_LABEL, &[], len).await;
    let material = Zeroizing::new(material.map_err(|_| HandshakeError::Engine)?);
    split_keys(profile, how.role, &material).ok_or(HandshakeError::Engine)
}

/// Client key, server key, client salt, server salt (RFC 5764 §4.2).
fn split_keys(profile: SrtpProfile, role: DtlsRole, material: &[u8]) -> Option<SrtpKeys> {
    let (client_key, rest) = material.split_at_checked(profile.key_len())?;
    let (server_key, rest) = rest.split_at_checked(profile.key_len())?;
    let (client_salt, server_salt) = rest.split_at_checked(profile.salt_len())?;
    if server_salt.len() != profile.salt_len() {
        return None;
    }
    let master = |key: &[u8], salt: &[u8]| MasterKey {
        key: Zeroizing::new(key.to_vec()),
        salt: Zeroizing::new(salt.to_vec()),
    };
    let (client, server) = (master(client_key, client_salt), master(server_key, server_salt));
    Some(match role {
        DtlsRole::Client => SrtpKeys { profile, local: client, remote: server },
        DtlsRole::Server => SrtpKeys { profile, local: server, remote: client },
    })
}

const fn to_crate(profile: SrtpProfile) -> SrtpProtectionProfile {
    match profile {
        SrtpProfile::AesCm128HmacSha1_80 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        SrtpProfile::AesCm128HmacSha1_32 => SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32,
        SrtpProfile::AeadAes128Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
        SrtpProfile::AeadAes256Gcm => SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm,
    }
}

const fn from_crate(profile: SrtpProtectionProfile) -> Option<SrtpProfile> {
    match profile {
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => Some(SrtpProfile::AesCm128HmacSha1_80),
        SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => Some(SrtpProfile::AeadAes128Gcm),
        SrtpProtectionProfile::Srtp_Aead_Aes_256_Gcm => Some(SrtpProfile::AeadAes256Gcm),
        SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_32 => Some(SrtpProfile::AesCm128HmacSha1_32),
        SrtpProtectionProfile::Unsupported => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_material_is_split_in_the_order_of_rfc5764_4_2() {
        let material: Vec<u8> = (0..60).collect();
        let ours = split_keys(SrtpProfile::AesCm128HmacSha1_80, DtlsRole::Client, &material).unwrap();
        assert_eq!(*ours.local.key, (0..16).collect::<Vec<u8>>());
        assert_eq!(*ours.remote.key, (16..32).collect::<Vec<u8>>());
        assert_eq!(*ours.local.salt, (32..46).collect::<Vec<u8>>());
        assert_eq!(*ours.remote.salt, (46..60).collect::<Vec<u8>>());
        let theirs = split_keys(SrtpProfile::AesCm128HmacSha1_80, DtlsRole::Server, &material).unwrap();
        assert!(theirs.local == ours.remote && theirs.remote == ours.local);
        assert!(split_keys(SrtpProfile::AeadAes256Gcm, DtlsRole::Client, &material).is_none());
    }
}
