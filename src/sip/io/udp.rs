//! UDP sockets of the stack.
//!
//! Every listen address has a main socket. Towards each target that we dial, and each trunk, there is also a
//! **connected** socket on the same local address and port, with a kernel buffer that nobody else fills: Linux gives datagrams of that peer to it, and reports an ICMP
//! error there as `ECONNREFUSED`, so a call to a closed port fails at once instead of after 32 s. (The error
//! queue of `IP_RECVERR` would say the same for one socket, but reading it needs `unsafe`.) The port is shared
//! by `SO_REUSEADDR`, set on the main socket only while a connected one is bound: at all other times the
//! address is ours alone, and a second process is told that it is taken. (The connected ones keep the option, or
//! they would stand in each other's way.) The connected socket also tells
//! which of our addresses reaches the target. Datagrams that arrive between its bind and its connect are
//! read from it like any other.

use crate::net::io::bind_listener;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// Kernel buffer of a socket, in bytes: a burst of some thousand messages.
const BUFFER: usize = 4 << 20;

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // so that [::] and 0.0.0.0 can both be listened on
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    // the kernel may grant less; that is no error, see `narrow_buffer`
    let _ = socket.set_recv_buffer_size(BUFFER);
    Ok(socket)
}

/// The bytes of a socket's kernel buffer and those that were asked for, where the kernel granted less.
pub(super) fn narrow_buffer(socket: &UdpSocket) -> Option<(usize, usize)> {
    // Linux tells twice what it granted: half is for its own bookkeeping (socket(7))
    let granted = socket2::SockRef::from(socket).recv_buffer_size().ok()? / 2;
    (granted < BUFFER).then_some((granted, BUFFER))
}

/// Binds a listen address.
pub(super) fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = open(address)?;
    bind_listener(&socket, address)?;
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
    socket.connect(&target.into())?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}
