//! Makes TLS connections, and says in an admin's words why one cannot be made.

use super::{Authorities, Identity, TlsError, acceptor, provider};
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error};
use std::io;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::server;

/// Makes TLS connections to one peer.
pub struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
    authorities: Arc<Authorities>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connector({:?})", self.name)
    }
}

/// Whether a certificate could have this name: a host name or an address.
#[must_use]
pub fn is_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

impl Connector {
    /// To who has a certificate of this name that the authorities make believed; ours is shown when it asks for one.
    /// No session is resumed, so that every connection is held against the authorities of its day.
    ///
    /// # Errors
    /// The name is none.
    pub fn new(
        name: &str,
        authorities: Arc<Authorities>,
        identity: Option<Arc<Identity>>,
    ) -> Result<Self, TlsError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .dangerous() // it says so of any verifier that is not its own
            .with_custom_certificate_verifier(authorities.clone());
        let mut config = match identity {
            Some(identity) => config.with_client_cert_resolver(identity),
            None => config.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name, authorities })
    }

    /// Makes one connection; the caller sets the deadline.
    ///
    /// # Errors
    /// The handshake failed; [`explain`] says why.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        self.tls.connect(self.name.clone(), stream).await
    }

    /// Whether what somebody showed of himself would do if we connected to him.
    #[must_use]
    pub fn believes(&self, presented: &Presented, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some((end_entity, intermediates)) = presented.0.split_first() else { return false };
        let now = UnixTime::since_unix_epoch(now);
        self.authorities.verify_server_cert(end_entity, intermediates, &self.name, &[], now).is_ok()
    }
}

/// The certificates that the far side of a connection has shown, its own first; it has proved to have that one's key.
#[derive(Debug, Clone)]
pub struct Presented(Arc<[CertificateDer<'static>]>);

impl Presented {
    pub(super) fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let owned = |c: &CertificateDer<'_>| c.clone().into_owned();
        (!chain.is_empty()).then(|| Self(chain.iter().map(owned).collect()))
    }

    /// Of who connected to us; none when it showed nothing.
    #[must_use]
    pub fn by<S>(stream: &server::TlsStream<S>) -> Option<Self> {
        acceptor::presented(stream)
    }
}

/// Why a handshake, or reading after it, failed, and what to do about it.
#[must_use]
pub fn explain(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let why = match inner {
        Some(Error::InvalidCertificate(why)) => return explain_certificate(why),
        Some(Error::AlertReceived(alert)) => alert,
        Some(Error::InvalidMessage(_)) => {
            return "what it speaks is no TLS: is that its TLS port?".to_owned();
        }
        _ => return error.to_string(),
    };
    match why {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::UnsupportedCertificate => {
            format!("it does not believe our certificate ({why:?}): make it trust sip.tls_certificate")
        }
        AlertDescription::CertificateRequired => {
            "it wants a certificate of ours: set sip.tls_certificate and sip.tls_key".to_owned()
        }
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3".to_owned(),
        other => format!("it refuses the connection ({other:?})"),
    }
}

/// The names of a certificate, which come as `DnsName("pbx.example")`.
fn named(presented: &[String]) -> String {
    let bare = |name: &String| {
        let inner = name.split_once('(').map_or(name.as_str(), |(_, inner)| inner.trim_end_matches(')'));
        inner.trim_matches('"').to_owned()
    };
    if presented.is_empty() {
        "no name".to_owned()
    } else {
        presented.iter().map(bare).collect::<Vec<_>>().join(", ")
    }
}

fn explain_certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody we believe: name the file of its CA, or of the certificate \
             itself, in tls_ca"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}: if that is who it shall be, set tls_name to the name it has",
            named(presented),
            expected.to_str()
        ),
        CertificateError::NotValidForName => {
            "its certificate is for another name: if that is who it shall be, set tls_name to the name it has"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: it needs a new one".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is a clock wrong?".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one of a server (extended key usage): it needs another one".to_owned()
        }
        // what stands in tls_ca itself is not asked for this
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is signed by itself: name a file of that very certificate in tls_ca".to_owned()
        }
        other => format!("its certificate cannot be used: {other}"),
    }
}
