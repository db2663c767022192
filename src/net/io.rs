//! What the system is asked about the network.

use socket2::Socket;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Binds a socket that listens: to the loopback also while that is down, early in a boot or in a network of its own. It
/// hears nothing until then.
///
/// # Errors
/// The system's.
pub fn bind_listener(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        if address.is_ipv4() { socket.set_freebind_v4(true)? } else { socket.set_freebind_v6(true)? }
    }
    socket.bind(&address.into())
}

/// Our address that the kernel would send from. Nothing is sent.
///
/// # Errors
/// There is no route, or no descriptor left to ask by.
pub fn source_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: IpAddr = if target.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(target)?;
    socket.local_addr().map(|a| a.ip())
}
