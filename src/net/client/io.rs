//! Sends one request: looks the name up, asks only addresses that are allowed, and reads little of the answer.

use super::{ClientConfig, Url, UrlError};
use crate::base::Network;
use crate::net::io::networks_of_this_machine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// From the lookup to the last byte that is read.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A name with many addresses is given up after these.
const MAX_ADDRESSES: usize = 4;
/// Bytes of an answer's body that are read; more breaks it off.
const MAX_ANSWER: usize = 64 * 1024;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The name has no address.
    #[error("the name cannot be looked up: {0}")]
    Lookup(std::io::Error),
    /// All addresses of the name are of a kind that is not asked.
    #[error(
        "{0} is an address of this machine or its networks; set webhook.allow_private = true if it shall be reached"
    )]
    NotAllowed(IpAddr),
    /// What this machine's own addresses are is not known, so nothing can be held against them.
    #[error("the addresses of this machine cannot be listed: {0}")]
    Interfaces(std::io::Error),
    /// Nobody is there.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// Somebody is there, and not who it should be.
    #[error("TLS: {0}")]
    Tls(std::io::Error),
    /// What came is no HTTP, or too much.
    #[error("no HTTP answer: {0}")]
    Http(String),
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
}

/// The client. Every request has a connection of its own: there are few.
pub struct HttpClient {
    config: ClientConfig,
    tls: TlsConnector,
    agent: HeaderValue,
    /// The networks that this machine is in, asked for each time: addresses come and go.
    networks: fn() -> std::io::Result<Vec<Network>>,
}

impl HttpClient {
    /// A client that goes where `config` allows, and trusts whom browsers trust.
    ///
    /// # Errors
    /// The crypto library lacks what TLS needs.
    pub fn new(config: ClientConfig) -> Result<Self, rustls::Error> {
        let roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let agent = HeaderValue::from_static(concat!("sipedge/", env!("CARGO_PKG_VERSION")));
        Ok(Self { config, tls: TlsConnector::from(Arc::new(tls)), agent, networks: networks_of_this_machine })
    }

    /// Where it may go.
    #[must_use]
    pub const fn config(&self) -> ClientConfig {
        self.config
    }

    /// Reads a URL that somebody writes now, held against this machine's addresses if it names one.
    ///
    /// # Errors
    /// [`UrlError`], with the remedy.
    pub fn read_url(&self, text: &str) -> Result<Url, UrlError> {
        // where they cannot be listed, the post says so
        Url::parse(text, self.config, &(self.networks)().unwrap_or_default())
    }

    /// Posts JSON; the status of the answer, whatever it is. A redirect is an answer like any other.
    ///
    /// # Errors
    /// When none came.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<u16, ClientError> {
        tokio::time::timeout(TIMEOUT, self.post_now(url, headers, body))
            .await
            .unwrap_or(Err(ClientError::Timeout))
    }

    async fn post_now(
        &self,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<u16, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            url.path.parse().map_err(|_| ClientError::Http("the path is none".to_owned()))?;
        let host = HeaderValue::try_from(url.authority());
        let fields = request.headers_mut();
        fields.insert(HOST, host.map_err(|_| ClientError::Http("the host is none".to_owned()))?);
        fields.insert(USER_AGENT, self.agent.clone());
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.extend(headers.iter().cloned());

        let stream = self.connect(url).await?;
        if !url.is_secure {
            return exchange(stream, request).await;
        }
        let name = ServerName::try_from(url.host.clone())
            .map_err(|e| ClientError::Tls(std::io::Error::new(std::io::ErrorKind::InvalidInput, e)))?;
        let stream = self.tls.connect(name, stream).await.map_err(ClientError::Tls)?;
        exchange(stream, request).await
    }

    /// To the first address that answers, of those that may be asked.
    async fn connect(&self, url: &Url) -> Result<TcpStream, ClientError> {
        let found =
            tokio::net::lookup_host((url.host.as_str(), url.port)).await.map_err(ClientError::Lookup)?;
        let ours = (self.networks)().map_err(ClientError::Interfaces)?;
        let mut failure = ClientError::Lookup(std::io::ErrorKind::NotFound.into());
        for address in found.take(MAX_ADDRESSES) {
            if !self.config.allows(address.ip(), &ours) {
                failure = ClientError::NotAllowed(address.ip());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = ClientError::Connect(named(address, &error)),
            }
        }
        Err(failure)
    }
}

fn named(address: SocketAddr, error: &std::io::Error) -> std::io::Error {
    std::io::Error::new(error.kind(), format!("{address}: {error}"))
}

/// One request and its answer; the connection is over then.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<u16, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let wrong = |error: hyper::Error| ClientError::Http(error.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_ANSWER)
        .handshake::<_, Full<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(wrong)?;
    let asking = async {
        let answer = sender.send_request(request).await.map_err(wrong)?;
        let status = answer.status().as_u16();
        // the status is known: a body that breaks off or is too long changes nothing
        let _ = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        Ok(status)
    };
    let mut asking = std::pin::pin!(asking);
    tokio::select! {
        biased;
        answer = asking.as_mut() => return answer,
        // it may end with the last byte of the answer, which then has been handed over; else asking fails
        _ = connection => {}
    }
    asking.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Section;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn client(may_be_private: bool) -> HttpClient {
        let section = Section::new("webhook", "t", json!({ "allow_private": may_be_private }));
        HttpClient::new(ClientConfig::read(&section).unwrap()).unwrap()
    }

    /// A server that answers one request with this, and tells what it was asked.
    async fn server(answer: &'static str) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{}") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (port, asked)
    }

    #[tokio::test]
    async fn a_post_is_answered_with_its_status_and_a_redirect_is_not_followed() {
        let client = client(true);
        let answer = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let (port, asked) = server(answer).await;
        let url = Url::parse(&format!("http://127.0.0.1:{port}/hook?a=b"), client.config(), &[]).unwrap();
        let extra = (HeaderName::from_static("x-test"), HeaderValue::from_static("1"));
        assert_eq!(client.post(&url, &[extra], Bytes::from_static(b"{}")).await.unwrap(), 302);
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: 127.0.0.1:{port}\r\n")) && asked.contains("x-test: 1\r\n"));
    }

    #[tokio::test]
    async fn a_name_that_leads_into_this_network_is_not_asked() {
        let client = client(false);
        let url = Url::parse("http://localhost:9/", client.config(), &[]).unwrap();
        let refused = client.post(&url, &[], Bytes::new()).await.unwrap_err();
        assert!(matches!(refused, ClientError::NotAllowed(ip) if ip.is_loopback()), "{refused}");
    }

    #[tokio::test]
    async fn a_public_address_of_this_machine_is_not_asked_whenever_it_came() {
        let mut client = client(false);
        client.networks = || Ok(Vec::new());
        let url = client.read_url("http://192.0.2.77:9/a").unwrap();
        // now an interface has it
        client.networks = || Ok(vec![Network::around([192, 0, 2, 77].into(), 24)]);
        let refused = client.post(&url, &[], Bytes::new()).await.unwrap_err();
        assert!(matches!(refused, ClientError::NotAllowed(ip) if ip.to_string() == url.host()), "{refused}");
        assert!(refused.to_string().contains("webhook.allow_private = true"), "{refused}");
        assert_eq!(client.read_url("http://192.0.2.77:9/a"), Err(UrlError::Private([192, 0, 2, 77].into())));
        client.networks = || Err(std::io::ErrorKind::PermissionDenied.into());
        let unknown = client.post(&url, &[], Bytes::new()).await.unwrap_err();
        assert!(matches!(unknown, ClientError::Interfaces(_)), "{unknown}");
    }

    #[tokio::test]
    async fn what_is_no_http_and_nobody_there_are_told_apart() {
        let client = client(true);
        let (port, _asked) = server("hello\r\n\r\n").await;
        let url = |port| Url::parse(&format!("http://127.0.0.1:{port}/"), client.config(), &[]).unwrap();
        let odd = client.post(&url(port), &[], Bytes::from_static(b"{}")).await.unwrap_err();
        assert!(matches!(odd, ClientError::Http(_)), "{odd}");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let nobody = client.post(&url(free), &[], Bytes::new()).await.unwrap_err();
        assert!(matches!(nobody, ClientError::Connect(_)), "{nobody}");
    }
}
