//! What the system is asked about the network.

use crate::base::Network;
use if_addrs::IfAddr;
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

/// The networks that this machine is in now, by the addresses and masks of its interfaces. Its own addresses are in them.
///
/// # Errors
/// The system's.
pub fn networks_of_this_machine() -> io::Result<Vec<Network>> {
    let network = |address: IpAddr, prefix: u8| match prefix {
        // the mask is not known, or the interface is a way to everywhere: nobody is a neighbour by that
        0 => Network::of(address),
        _ => Network::around(address, prefix),
    };
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    Ok(interfaces
        .map(|interface| match interface.addr {
            IfAddr::V4(v4) => network(v4.ip.into(), v4.prefixlen),
            IfAddr::V6(v6) => network(v6.ip.into(), v6.prefixlen),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_of_this_machine_have_its_addresses_in_them() {
        let networks = networks_of_this_machine().unwrap();
        for interface in if_addrs::get_if_addrs().unwrap() {
            assert!(networks.iter().any(|n| n.contains(interface.ip())), "{interface:?}: {networks:?}");
        }
        assert!(!networks.iter().any(|n| n.contains([0, 0, 0, 0].into())), "{networks:?}");
    }
}
