//! Listens, serves, and ends.

mod stall;

use super::{HttpConfig, Visitor, cors};
use crate::base::Seldom;
use crate::net::guard::{GuardConfig, Refusal};
use crate::net::io::{NoIpv6, bind_listener, has_ipv4_beside, listenable};
use crate::net::places::Places;
use crate::net::tls::Acceptor;
use axum::Router;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use stall::Stall;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// Connections that may wait to be taken.
const BACKLOG: u32 = 1_024;
/// A TLS handshake must be done by then.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// A request's header section must be there by then; slow senders cannot hold places.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that is not taken for so long is given up with its connection.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's body must be there by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// After a failed accept (descriptors used up), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Failed accepts are told once a while.
const FAILURE_INTERVAL: Duration = Duration::from_secs(60);
/// What who speaks HTTP where HTTPS is spoken is told.
const NOT_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 62\r\nConnection: \
                         close\r\n\r\nThis port speaks HTTPS: write https:// in front of the address";

/// Says how long a connection without a request stays open, so that no client sends one just then (RFC 2068 §19.7.1.1, which
/// browsers and Node go by).
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// In seconds, as [`HEADER_TIMEOUT`].
const IDLE: &str = "timeout=10";
const NO_HOST: &str = "a request of HTTP/1.1 has one Host header (RFC 9112 §3.2)";

/// RFC 9112 §3.2: a request of HTTP/1.1 names its host once.
fn has_one_host<B>(request: &hyper::Request<B>) -> bool {
    request.version() < hyper::Version::HTTP_11 || request.headers().get_all(HOST).iter().count() == 1
}

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else listens there.
    #[error("http.{0}: {1} is taken by another program; stop it or choose another port")]
    Taken(&'static str, SocketAddr),
    /// The address is none of this machine.
    #[error(
        "http.{0}: {ip} is no address of this machine; name one that `ip address` shows, or have sipedge start when it is \
         there (in its systemd unit: Wants= and After=network-online.target)",
        ip = .1.ip()
    )]
    NotLocal(&'static str, SocketAddr),
    /// It is of IPv6, which this machine has not.
    #[error("http.{0}: {1}")]
    NoIpv6(&'static str, NoIpv6),
    /// Anything else.
    #[error("http.{key}: cannot listen on {address}: {reason}")]
    Listen {
        /// What said so.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// The places of all listeners, and when the log heard last of wrong tokens.
struct Doors {
    places: Places<CancellationToken>,
    wrong_tokens: Seldom,
}

/// The same, shared by the connections.
#[derive(Clone)]
struct SharedDoors(Arc<Mutex<Doors>>);

impl SharedDoors {
    fn new() -> Self {
        let places = Places::new(GuardConfig::default());
        Self(Arc::new(Mutex::new(Doors { places, wrong_tokens: Seldom::new(FAILURE_INTERVAL) })))
    }

    fn lock(&self) -> MutexGuard<'_, Doors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place; dropping it gives the place back.
pub(super) struct Place {
    doors: SharedDoors,
    id: u64,
    source: IpAddr,
    /// The connection goes, for another one to have its place.
    cut: CancellationToken,
}

impl Place {
    /// A place; true when another connection goes for it.
    fn take(doors: &SharedDoors, source: IpAddr) -> Result<(Self, bool), Refusal> {
        let cut = CancellationToken::new();
        let (id, closed) = doors.lock().places.enter(Instant::now(), source, cut.clone(), |_| false)?;
        let is_anothers = closed.is_some();
        closed.into_iter().for_each(|other| other.cancel());
        Ok((Self { doors: doors.clone(), id, source, cut }, is_anothers))
    }

    fn asked(&self) {
        self.doors.lock().places.asked(self.id);
    }

    pub(super) fn good_login(&self) {
        self.doors.lock().places.good_login(Instant::now(), self.id, self.source);
    }

    pub(super) fn may_fail(&self) -> bool {
        let now = Instant::now();
        let mut doors = self.doors.lock();
        let may_fail = doors.places.may_fail(now, self.source);
        if !may_fail && let Some(times) = doors.wrong_tokens.happened(now) {
            warn!(last = %self.source, times, "wrong tokens get 429: too many came from one address");
        }
        may_fail
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doors.lock().places.leave(self.id);
    }
}

/// The running listeners.
pub struct HttpServer {
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl HttpServer {
    /// Binds every address and serves `router` on them.
    ///
    /// # Errors
    /// The first address that cannot be bound.
    pub async fn start(config: &HttpConfig, router: Router) -> Result<Self, StartError> {
        let origins = config.origins().clone();
        let router = router
            .fallback(|| async { super::problem(404, "no such path") })
            .method_not_allowed_fallback(|| async { super::problem(405, "this path takes another method") })
            .layer(axum::middleware::from_fn(move |request, next| {
                cors::apply(origins.clone(), request, next)
            }));
        let plain = listen("listen", config.listen()).await?;
        let secure = match config.tls() {
            Some(tls) => listen("tls_listen", &tls.listen).await?,
            None => Vec::new(),
        };
        let addresses = |of: &[TcpListener]| of.iter().filter_map(|l| l.local_addr().ok()).collect();
        let (addresses, tls_addresses) = (addresses(&plain), addresses(&secure));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let doors = SharedDoors::new();
        let acceptor = config.tls().map(|tls| tls.acceptor.clone());
        let plain = plain.into_iter().map(|listener| (listener, None));
        for (listener, acceptor) in plain.chain(secure.into_iter().map(|l| (l, acceptor.clone()))) {
            let (doors, stop, tasks) = (doors.clone(), stop.clone(), tasks.clone());
            let desk = Desk { router: router.clone(), acceptor, doors, stop, tasks };
            desk.tasks.clone().spawn(desk.accept(listener));
        }
        Ok(Self { addresses, tls_addresses, stop, tasks })
    }

    /// Where it listens without TLS.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where it listens with TLS.
    #[must_use]
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Takes no new connections, lets requests under way finish until `deadline`, then cuts.
    pub async fn stop(self, deadline: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            warn!("some HTTP requests did not end in time");
        }
    }
}

/// What a future gives within the time that a body may take; none when it takes longer.
pub(super) async fn within_body_deadline<F: Future>(reading: F) -> Option<F::Output> {
    tokio::time::timeout(BODY_TIMEOUT, reading).await.ok()
}

async fn listen(key: &'static str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for address in listenable(addresses) {
        // all addresses of either IP version are listened on each by itself
        let listener = bind(address, has_ipv4_beside(address, addresses)).map_err(|reason| {
            match (NoIpv6::of(address, &reason), reason.kind()) {
                (Some(none), _) => StartError::NoIpv6(key, none),
                (None, ErrorKind::AddrInUse) => StartError::Taken(key, address),
                (None, ErrorKind::AddrNotAvailable) => StartError::NotLocal(key, address),
                _ => StartError::Listen { key, address, reason },
            }
        })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, is_only_v6: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_only_v6 {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    // connections of a process that has ended do not hold the address
    socket.set_reuseaddr(true)?;
    bind_listener(&SockRef::from(&socket), address)?;
    socket.listen(BACKLOG)
}

/// A connection by TLS. Who writes a request without it is told so, for a browser shows an empty page otherwise.
async fn accept_tls(
    acceptor: Acceptor,
    mut stream: TcpStream,
) -> std::io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    // a record of TLS begins with its type, 22 for a handshake (RFC 8446 §5.1); a method is letters
    if first[0].is_ascii_alphabetic() {
        // what was not read would take the answer with it when the connection closes
        let mut request = vec![0; 4_096];
        let _ = stream.read(&mut request).await?;
        stream.write_all(NOT_HTTPS.as_bytes()).await?;
        stream.shutdown().await?;
        return Err(std::io::Error::other("a request without TLS"));
    }
    acceptor.accept(Stall::new(stream, WRITE_TIMEOUT)).await
}

/// What serves the connections of one listener.
#[derive(Clone)]
struct Desk {
    router: Router,
    acceptor: Option<Acceptor>,
    doors: SharedDoors,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Desk {
    async fn accept(self, listener: TcpListener) {
        let mut failures = Seldom::new(FAILURE_INTERVAL);
        let mut shortages = Seldom::new(FAILURE_INTERVAL);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => match accepted {
                    // without a place the connection is closed at once, so that who waits behind it is seen
                    Ok((stream, remote)) => {
                        let why = match Place::take(&self.doors, remote.ip()) {
                            Ok((place, is_anothers)) => {
                                self.tasks.spawn(self.clone().greet(stream, remote, Arc::new(place)));
                                is_anothers.then(|| "others without a token made room for new ones".to_owned())
                            }
                            Err(refusal) => Some(refusal.to_string()),
                        };
                        if let Some(why) = why && let Some(times) = shortages.happened(Instant::now()) {
                            warn!(last = %remote.ip(), why, times, "HTTP connections were closed for want of a place");
                        }
                    }
                    Err(error) => {
                        if let Some(times) = failures.happened(Instant::now()) {
                            warn!(%error, times, "cannot take an HTTP connection");
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    async fn greet(self, stream: TcpStream, remote: SocketAddr, place: Arc<Place>) {
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.acceptor.clone() else {
            return self.serve(Stall::new(stream, WRITE_TIMEOUT), remote, place).await;
        };
        let handshake = tokio::time::timeout(TLS_TIMEOUT, accept_tls(acceptor, stream));
        let accepted = tokio::select! {
            accepted = handshake => accepted,
            () = place.cut.cancelled() => return,
            () = self.stop.cancelled() => return,
        };
        match accepted {
            Ok(Ok(stream)) => self.serve(stream, remote, place).await,
            Ok(Err(error)) => debug!(%remote, %error, "no TLS"),
            Err(_) => debug!(%remote, "TLS did not complete in time"),
        }
    }

    async fn serve<S>(self, stream: S, remote: SocketAddr, place: Arc<Place>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let visitor = Visitor::new(place.clone(), self.stop.clone());
        let routes = TowerToHyperService::new(self.router);
        // with the request, and not as a layer: that would make all routes anew for each connection
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            visitor.place.asked();
            request.extensions_mut().insert(visitor.clone());
            let is_addressed = has_one_host(&request);
            let answer = routes.call(request);
            async move {
                let answer = if is_addressed {
                    answer.await
                } else {
                    Ok(super::problem(400, NO_HOST).into_response())
                };
                answer.map(|mut answer| {
                    answer.headers_mut().insert(KEEP_ALIVE, HeaderValue::from_static(IDLE));
                    answer
                })
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = place.cut.cancelled() => return,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%remote, %error, "HTTP connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_addresses_of_both_ip_versions_can_be_listened_on_at_one_port() {
        let free = listen("listen", &["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let port = free.first().unwrap().local_addr().unwrap().port();
        drop(free);
        let both = ["0.0.0.0", "::"].map(|ip| SocketAddr::new(ip.parse().unwrap(), port));
        let bound = listen("listen", &both).await.unwrap();
        assert!(matches!(bound.len(), 1 | 2), "IPv6 is not on every machine");
        // alone, [::] is both
        drop(bound);
        if let Ok(_alone) = listen("listen", &both[1..]).await {
            assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
        }
    }
}
