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
//!
//! One that nobody has used for a while is closed, and its peer's datagrams come to the main socket again; those of trunks
//! stay as long as there is room.

use super::super::idle::Idle;
use super::feed::{Feed, read};
use crate::net::io::bind_listener;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::task::{AbortHandle, JoinSet};

/// Most connected sockets; further targets are reached by the main socket, without news of closed ports.
const MAX_CONNECTED: usize = 256;

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
    let granted = SockRef::from(socket).recv_buffer_size().ok()? / 2;
    (granted < BUFFER).then_some((granted, BUFFER))
}

/// Binds a listen address.
pub(super) fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let socket = open(address)?;
    bind_listener(&socket, address)?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

/// A socket on the same address and port as `main`, connected to `target`.
fn connect(main: &UdpSocket, target: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let local = main.local_addr()?;
    let socket = open(local)?;
    let main = SockRef::from(main);
    main.set_reuse_address(true)?;
    let bound = socket.set_reuse_address(true).and_then(|()| socket.bind(&local.into()));
    main.set_reuse_address(false)?;
    bound?;
    socket.connect(&target.into())?;
    UdpSocket::from_std(socket.into()).map(Arc::new)
}

struct Connected {
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    reader: AbortHandle,
}

/// The connected sockets, by their targets.
#[derive(Default)]
pub(super) struct Ways {
    sockets: BTreeMap<SocketAddr, Connected>,
    idle: Idle<SocketAddr>,
}

impl Ways {
    /// Our address on the way to a target, for who is about to use it; none: there is no socket for it.
    pub(super) fn local(&mut self, now: Instant, target: SocketAddr) -> Option<SocketAddr> {
        self.idle.used(now, target);
        self.sockets.get(&target).map(|known| known.local)
    }

    /// The socket towards a target, for a message.
    pub(super) fn socket(&mut self, now: Instant, target: SocketAddr) -> Option<SockRef<'_>> {
        self.idle.used(now, target);
        self.sockets.get(&target).map(|known| SockRef::from(&*known.socket))
    }

    /// A datagram came from there.
    pub(super) fn heard(&mut self, now: Instant, target: SocketAddr) {
        self.idle.used(now, target);
    }

    /// Connects a socket to a target beside a main one, and reads it; our address there. None when that cannot be, or all
    /// places are in use.
    pub(super) fn connect(
        &mut self,
        now: Instant,
        main: &UdpSocket,
        target: SocketAddr,
        readers: &mut JoinSet<()>,
        feed: &Feed,
    ) -> Option<SocketAddr> {
        if self.sockets.len() >= MAX_CONNECTED {
            let idle = self.idle.make_room(now)?;
            self.close(idle);
        }
        let socket = connect(main, target).ok()?;
        let local = socket.local_addr().ok()?;
        let reader = readers.spawn(read(Arc::clone(&socket), local, Some(target), feed.clone()));
        self.sockets.insert(target, Connected { socket, local, reader });
        self.idle.begin(now, target);
        Some(local)
    }

    /// The socket is a trunk's.
    pub(super) fn keep(&mut self, target: SocketAddr) {
        self.idle.keep(target);
    }

    /// Closes the socket: another one is made when it is needed.
    pub(super) fn close(&mut self, target: SocketAddr) {
        self.idle.end(target);
        if let Some(known) = self.sockets.remove(&target) {
            known.reader.abort();
        }
    }

    /// Closes those that nobody has used for a while.
    pub(super) fn close_idle(&mut self, now: Instant) {
        while let Some(target) = self.idle.poll_expired(now) {
            self.close(target);
        }
    }

    /// When to call [`Self::close_idle`].
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.idle.poll_timeout()
    }
}
