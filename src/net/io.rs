//! What the system is asked about the network.

use crate::base::Network;
use if_addrs::IfAddr;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use tracing::debug;

/// An address of IPv6 is wanted on a machine that has none: its kernel was started with `ipv6.disable=1`, or is built so, or
/// the service may not use it. Other addresses that are wanted in vain are those of [`io::ErrorKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine has no IPv6, so there is no {ip}: write {other} in its place (ipv6.disable=1 on the kernel's command line takes \
     IPv6 away, and so does RestrictAddressFamilies= of a systemd unit that leaves out AF_INET6)",
    ip = .0.ip(),
    other = in_place_of(.0.ip())
)]
pub struct NoIpv6(SocketAddr);

impl NoIpv6 {
    /// Whether that is why a socket for this address was refused.
    #[must_use]
    pub fn of(address: SocketAddr, reason: &io::Error) -> Option<Self> {
        (address.is_ipv6() && lacks_family(reason)).then_some(Self(address))
    }
}

const fn in_place_of(ip: IpAddr) -> &'static str {
    match ip {
        ip if ip.is_unspecified() => "0.0.0.0",
        ip if ip.is_loopback() => "127.0.0.1",
        _ => "an IPv4 address of this machine",
    }
}

fn lacks_family(reason: &io::Error) -> bool {
    reason.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Whether the kernel makes sockets of IPv6 at all. It may, and the machine have no address of it.
#[must_use]
pub fn has_ipv6() -> bool {
    !Socket::new(Domain::IPV6, Type::DGRAM, None).is_err_and(|reason| lacks_family(&reason))
}

/// The addresses of a list that there is something to listen on for: all of IPv6 beside an IPv4 address of the same port mean
/// "IPv6 too", and are left out on a machine that has none. Any other address is asked for, and stays.
pub fn listenable(addresses: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let has_ipv6 = has_ipv6();
    addresses.iter().copied().filter(move |address| {
        let is_there = has_ipv6 || !(address.ip().is_unspecified() && has_ipv4_beside(*address, addresses));
        if !is_there {
            debug!(%address, "not listened on: this machine has no IPv6");
        }
        is_there
    })
}

/// Whether an IPv4 address of its port stands beside one of IPv6.
#[must_use]
pub fn has_ipv4_beside(address: SocketAddr, all: &[SocketAddr]) -> bool {
    address.is_ipv6() && all.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

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
