//! Sockets for media: bound to one address each, non-blocking.

use super::thread::PlainSockets;
use crate::base::{Family, Path};
use crate::call::port::NoSocket;
use crate::media::ports::PortPool;
use crate::net::io::source_towards;
use crate::peer::DatagramSink;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Receive and send buffer asked of the kernel for a shared socket: 100 ms of a thousand calls.
pub(super) const SHARED_BUFFER: usize = 2 << 20;
/// Pairs tried before giving up when other programs hold ports of the range.
const TRIES: usize = 64;

/// A non-blocking UDP socket at that address. `buffer_bytes` is a wish (0: the system's default).
pub(super) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if buffer_bytes > 0 {
        // the system's limit may be lower; it then gives what it allows
        let _ = socket.set_recv_buffer_size(buffer_bytes);
        let _ = socket.set_send_buffer_size(buffer_bytes);
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The local address the system would send from to reach `towards`. Nothing is sent.
///
/// # Errors
/// There is no route, or no descriptor left to ask by.
pub(super) fn local_address_towards(towards: IpAddr) -> Result<IpAddr, NoSocket> {
    source_towards((towards, 9).into()).map_err(|error| match no_socket(error) {
        NoSocket::System { error } => NoSocket::NoRoute { towards, error },
        why => why,
    })
}

/// What an error in making a socket means.
pub(super) fn no_socket(error: io::Error) -> NoSocket {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => NoSocket::NoDescriptor { error: error.to_string() },
        _ => NoSocket::System { error: error.to_string() },
    }
}

/// Whether media of a far side can be reached from an address of ours, as far as addresses tell: what comes from the loopback
/// does not leave this machine.
pub(super) fn reaches(local: IpAddr, far: IpAddr) -> bool {
    Family::of(local) == Family::of(far) && (far.is_loopback() || !local.is_loopback())
}

/// A pair of sockets at `local` from the pool, with its even port. Ports that another program holds go back to rest.
///
/// # Errors
/// Why no pair is to be had.
pub(super) fn bind_pair(
    pool: &Mutex<PortPool>,
    local: IpAddr,
    is_symmetric: bool,
) -> Result<(u16, PlainSockets), NoSocket> {
    for _ in 0..TRIES {
        let port = pool.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let port = port.ok_or(NoSocket::NoPort)?;
        let rtp = bind((local, port).into(), 0);
        let rtcp = bind((local, port.saturating_add(1)).into(), 0);
        match (rtp, rtcp) {
            (Ok(rtp), Ok(rtcp)) => {
                return Ok((port, PlainSockets { rtp, rtcp, is_symmetric, home: None, leg: None }));
            }
            (Err(error), _) | (_, Err(error)) => {
                pool.lock().unwrap_or_else(PoisonError::into_inner).put_back(port, Instant::now());
                match error.kind() {
                    io::ErrorKind::AddrInUse => {}
                    io::ErrorKind::AddrNotAvailable => return Err(NoSocket::NotOurs(local)),
                    _ => return Err(no_socket(error)),
                }
            }
        }
    }
    Err(NoSocket::Taken)
}

/// Sends an association's datagrams from one socket of a plain leg.
pub(super) struct PairSink(UdpSocket);

impl PairSink {
    /// By a copy of that socket; the port is free once both are closed.
    pub(super) fn of(socket: &UdpSocket) -> io::Result<Self> {
        socket.try_clone().map(Self)
    }
}

impl DatagramSink for PairSink {
    fn send(&self, path: Path, bytes: &[u8]) {
        // UDP: a full socket drops
        let _ = self.0.send_to(bytes, path.remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::PortRange;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_socket_is_told_by_its_name_and_with_the_word_of_the_system() {
        // nobody may send there without asking for broadcast, whatever the routes are
        let broadcast = ip("255.255.255.255");
        let error = local_address_towards(broadcast).unwrap_err();
        let NoSocket::NoRoute { towards, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*towards, broadcast);
        assert!(error.to_string().contains("os error"), "{error}");
        let pool = Mutex::new(PortPool::new(PortRange::new(27_000, 27_001).unwrap()));
        let error = bind_pair(&pool, ip("192.0.2.77"), false).unwrap_err();
        assert_eq!(error, NoSocket::NotOurs(ip("192.0.2.77")));
        assert_eq!(bind_pair(&pool, ip("127.0.0.1"), false).unwrap_err(), NoSocket::NoPort, "it rests");
        let error = no_socket(io::Error::from_raw_os_error(libc::EMFILE)).to_string();
        assert!(error.contains("os error 24") && error.contains("LimitNOFILE"), "{error}");
        let error = no_socket(io::Error::from_raw_os_error(libc::ENOBUFS));
        assert!(matches!(error, NoSocket::System { .. }), "{error:?}");
    }

    #[test]
    fn what_comes_from_the_loopback_reaches_the_loopback_alone() {
        assert!(reaches(ip("127.0.0.1"), ip("127.0.0.9")) && reaches(ip("192.0.2.1"), ip("198.51.100.1")));
        assert!(!reaches(ip("127.0.0.1"), ip("192.0.2.1")) && !reaches(ip("::1"), ip("2001:db8::1")));
        assert!(!reaches(ip("192.0.2.1"), ip("2001:db8::1")) && !reaches(ip("::1"), ip("127.0.0.1")));
        // who says that his media is here is not helped to be there
        assert!(reaches(ip("192.0.2.1"), ip("127.0.0.1")));
    }
}
