//! UDP sockets of the stack.
//!
//! Every listen address has a main socket. Towards each target that we dial there is also a **connected**
//! socket on the same local address and port: Linux gives datagrams of that peer to it, and reports an ICMP
//! error there as `ECONNREFUSED`, so a call to a closed port fails at once instead of after 32 s. (The error
//! queue of `IP_RECVERR` would say the same for one socket, but reading it needs `unsafe`.) The port is shared
//! by `SO_REUSEADDR`, set on the main socket only while a connected one is bound: at all other times the
//! main socket lets nobody else in, and a second process is told that the address is taken. The connected socket also tells
//! which of our addresses reaches the target. Datagrams that arrive between its bind and its connect are
//! read from it like any other.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// Kernel buffer of a socket, in bytes: a burst of a thousand messages.
const BUFFER: usize = 1 << 20;

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // so that [::] and 0.0.0.0 can both be listened on
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // the kernel may grant less; that is no error
    let _ = socket.set_recv_buffer_size(BUFFER);
    Ok(socket)
}

/// Binds a listen address.
pub(super) fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = open(address)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

/// A socket on the same address and port as `main`, connected to `target`.
pub(super) fn connect(main: &UdpSocket, target: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let local = main.local_addr()?;
    let socket = open(local)?;
    let main = socket2::SockRef::from(main);
    main.set_reuse_address(true)?;
    let bound = socket.set_reuse_address(true).and_then(|()| socket.bind(&local.into()));
    main.set_reuse_address(false)?;
    bound?;
    // it keeps the option: the next connected socket can only be bound if all that are there have it
    socket.connect(&target.into())?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

/// The address that datagrams of `main` to `target` leave from, found without sending.
pub(super) fn local_towards(main: SocketAddr, target: SocketAddr) -> io::Result<SocketAddr> {
    let probe = open(main)?;
    probe.bind(&SocketAddr::new(main.ip(), 0).into())?;
    probe.connect(&target.into())?;
    let local = probe.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(SocketAddr::new(local.ip(), main.port()))
}
