//! What the system is asked about the network.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

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
