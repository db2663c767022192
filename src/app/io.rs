//! What this machine is asked before anything is started: its ports, its addresses, its clock.

use crate::net::io::source_towards;
use crate::net::tls::{Identity, TlsError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::SystemTime;

/// Whether a port is nobody's, on any address.
pub(super) fn is_free(port: u16) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
        && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Where a host reaches us: the address that we listen on for it, or send from. Nothing is sent.
pub(super) fn address_towards(host: Option<&str>, listen: &[SocketAddr]) -> Option<String> {
    let fixed = |is_ipv4: Option<bool>| {
        let fits = |l: &&SocketAddr| is_ipv4.is_none_or(|v4| l.is_ipv4() == v4);
        listen.iter().find(|l| fits(l) && !l.ip().is_unspecified()).copied()
    };
    let Some(host) = host else { return fixed(None).map(|address| address.to_string()) };
    let remotes = std::net::ToSocketAddrs::to_socket_addrs(&(host, 5060)).ok()?;
    let address = remotes.into_iter().find_map(|remote| {
        let main = listen.iter().find(|l| l.is_ipv4() == remote.is_ipv4())?;
        if let Some(fixed) = fixed(Some(remote.is_ipv4())) {
            return Some(fixed);
        }
        Some(SocketAddr::new(source_towards(remote).ok()?, main.port()))
    })?;
    Some(address.to_string())
}

/// All addresses of its interfaces.
pub(super) fn addresses_of_this_machine() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.into_iter().map(|interface| interface.ip()).collect()
}

/// A certificate for this machine, made now.
pub(super) fn self_signed(name: &str) -> Result<Arc<Identity>, TlsError> {
    Identity::self_signed(name, &addresses_of_this_machine(), SystemTime::now())
}
