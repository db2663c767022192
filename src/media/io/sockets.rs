//! Sockets for media: bound to one address each, non-blocking.

use super::thread::PlainSockets;
use crate::base::Path;
use crate::media::ports::PortPool;
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
pub(super) fn local_address_towards(towards: IpAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match towards {
        IpAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        IpAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect((towards, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// A pair of sockets at `local` from the pool, with its even port; none when no pair is to be had. Ports that
/// another program holds go back to rest.
pub(super) fn bind_pair(
    pool: &Mutex<PortPool>,
    local: IpAddr,
    is_symmetric: bool,
) -> Option<(u16, PlainSockets)> {
    for _ in 0..TRIES {
        let port = pool.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())?;
        let rtp = bind((local, port).into(), 0);
        let rtcp = bind((local, port.saturating_add(1)).into(), 0);
        match (rtp, rtcp) {
            (Ok(rtp), Ok(rtcp)) => {
                return Some((port, PlainSockets { rtp, rtcp, is_symmetric, home: None, leg: None }));
            }
            _ => pool.lock().unwrap_or_else(PoisonError::into_inner).put_back(port, Instant::now()),
        }
    }
    None
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
