//! The system calls of the media thread that the standard library has not: epoll, eventfd, `recvmmsg`,
//! `sendmmsg` (Linux). All `unsafe` of the program is here; each block says why it holds.

#![expect(unsafe_code, reason = "system calls with pointers into buffers of this file's own types")]

use crate::media::packet::PacketBuf;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Most datagrams taken or sent by one call.
pub const BATCH: usize = 64;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Readiness of many descriptors, level-triggered.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// Takes up to `capacity` events a wait.
    pub fn new(capacity: usize) -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is checked and then owned here alone.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; capacity] })
    }

    /// Watches a descriptor for input; `token` comes back with its events.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        // SAFETY: both descriptors are open (borrowed), `event` lives through the call.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        };
        check(result).map(drop)
    }

    /// Watches no longer.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: both descriptors are open (borrowed); the event pointer may be null for this operation.
        let result = unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut())
        };
        check(result).map(drop)
    }

    /// Waits for events, at most that long (rounded up to a millisecond), for ever when none is given. An
    /// interrupted wait is one without events. Answers how many tokens [`Self::token`] has.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout
            .map_or(-1, |t| libc::c_int::try_from(t.as_micros().div_ceil(1_000)).unwrap_or(libc::c_int::MAX));
        let capacity = libc::c_int::try_from(self.events.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: `events` holds `capacity` entries and is borrowed mutably through the call.
        let result =
            unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), capacity, timeout) };
        match check(result) {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The token of an event of the last wait.
    pub fn token(&self, at: usize) -> Option<u64> {
        self.events.get(at).map(|event| event.u64)
    }
}

/// Wakes a thread that waits in [`Epoll::wait`].
pub struct Waker {
    fd: OwnedFd,
    /// A wake-up is on its way: further ones need no system call.
    is_pending: AtomicBool,
}

impl Waker {
    /// A waker nobody has used.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor is checked and then owned here alone.
        let fd = unsafe { check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))? };
        // SAFETY: as above.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, is_pending: AtomicBool::new(false) })
    }

    /// Wakes; what was handed over before is seen after [`Self::clear`], also when the thread is awake already.
    pub fn wake(&self) {
        if self.is_pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1_u64;
        // SAFETY: eight bytes of a live local; a full counter (EAGAIN) is a wake-up that is still pending.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Takes note of all wake-ups so far. To be called before what was handed over is looked at.
    pub fn clear(&self) {
        let mut count = 0_u64;
        // SAFETY: eight bytes of a live local; EAGAIN leaves it as it is.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), 8) };
        // last: a wake-up that finds the flag set is before what is looked at now, one that finds it cleared writes anew
        self.is_pending.swap(false, Ordering::AcqRel);
    }

    /// What to watch.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.fd)
    }
}

/// A socket address as the kernel writes and reads it.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    fn zero() -> Self {
        // SAFETY: all fields are integers; zero is a value of each.
        unsafe { std::mem::zeroed() }
    }

    fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        *self = Self::zero();
        let len = match address {
            SocketAddr::V4(a) => {
                // SAFETY: the union is at least as long; all its fields are plain integers.
                let v4 = unsafe { &mut self.v4 };
                v4.sin_family = family(libc::AF_INET);
                v4.sin_port = a.port().to_be();
                v4.sin_addr.s_addr = u32::from_ne_bytes(a.ip().octets());
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(a) => {
                // SAFETY: as above.
                let v6 = unsafe { &mut self.v6 };
                v6.sin6_family = family(libc::AF_INET6);
                v6.sin6_port = a.port().to_be();
                v6.sin6_flowinfo = a.flowinfo();
                v6.sin6_addr.s6_addr = a.ip().octets();
                v6.sin6_scope_id = a.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        libc::socklen_t::try_from(len).unwrap_or(0)
    }

    fn get(&self) -> Option<SocketAddr> {
        // SAFETY: every bit pattern is a value of every field; the family says which one the kernel wrote.
        unsafe {
            if self.family == family(libc::AF_INET) {
                let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port))))
            } else if self.family == family(libc::AF_INET6) {
                let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                // flow and scope are left out: an address must compare equal however it came
                Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(self.v6.sin6_port), 0, 0)))
            } else {
                None
            }
        }
    }
}

fn family(family: libc::c_int) -> libc::sa_family_t {
    libc::sa_family_t::try_from(family).unwrap_or(0)
}

/// Arrays for one `recvmmsg` or `sendmmsg`, reused for ever.
pub struct Batch {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<Name>,
}

// SAFETY: the raw pointers inside are written anew before every call and never read between calls.
unsafe impl Send for Batch {}

impl Default for Batch {
    fn default() -> Self {
        // SAFETY: integers and null pointers: zero is a value of each.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        Self {
            headers: vec![header; BATCH],
            vectors: vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; BATCH],
            names: vec![Name::zero(); BATCH],
        }
    }
}

impl Batch {
    /// Fills buffers from a non-blocking socket; answers how many. A datagram that did not fit is left empty.
    /// [`Self::from`] then names the senders.
    pub fn receive(&mut self, fd: RawFd, buffers: &mut [PacketBuf]) -> io::Result<usize> {
        let count = buffers.len().min(BATCH);
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.names);
        for (((header, vector), name), buffer) in places.zip(buffers.iter_mut()) {
            let area = buffer.receive_area();
            vector.iov_base = area.as_mut_ptr().cast();
            vector.iov_len = area.len();
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of::<Name>()).unwrap_or(0);
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
            header.msg_len = 0;
        }
        let wanted = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: the first `count` headers point to vectors, names and buffer areas that live through the call
        // and are borrowed mutably by it; no control data is asked for.
        let result = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                wanted,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        let received = usize::try_from(check(result)?).unwrap_or(0).min(count);
        for (header, buffer) in self.headers.iter().zip(buffers.iter_mut()).take(received) {
            let is_cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            buffer.set_received(if is_cut { 0 } else { usize::try_from(header.msg_len).unwrap_or(0) });
        }
        Ok(received)
    }

    /// Sender of a datagram of the last [`Self::receive`].
    pub fn from(&self, at: usize) -> Option<SocketAddr> {
        self.names.get(at).and_then(Name::get)
    }

    /// Sends packets, at most [`BATCH`] of them, named by their place among the buffers; answers how many the
    /// kernel took, from the front.
    pub fn send(
        &mut self,
        fd: RawFd,
        packets: &[(usize, SocketAddr)],
        buffers: &mut [PacketBuf],
    ) -> io::Result<usize> {
        let count = packets.len().min(BATCH);
        let places = self.headers.iter_mut().zip(&mut self.vectors).zip(&mut self.names);
        for (((header, vector), name), (at, to)) in places.zip(packets) {
            let bytes = buffers.get_mut(*at).map(PacketBuf::bytes_mut).unwrap_or_default();
            vector.iov_base = bytes.as_mut_ptr().cast();
            vector.iov_len = bytes.len();
            header.msg_hdr.msg_namelen = name.set(*to);
            header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
        }
        let wanted = libc::c_uint::try_from(count).unwrap_or(0);
        // SAFETY: as in `receive`; the kernel only reads the buffers.
        let result = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), wanted, libc::MSG_DONTWAIT) };
        Ok(usize::try_from(check(result)?).unwrap_or(0))
    }
}

/// Keeps the calling thread on one processor; for load tools and benches.
///
/// # Errors
/// When there is no such processor.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: a set of plain integers, zero is the empty one; `core` is checked against its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    check(result).map(drop)
}

/// CPU time of the process so far, user and system.
#[must_use]
pub fn process_cpu_time() -> Duration {
    // SAFETY: zero is a value of the plain struct, which lives through the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| {
        Duration::from_secs(u64::try_from(t.tv_sec).unwrap_or(0))
            + Duration::from_micros(u64::try_from(t.tv_usec).unwrap_or(0))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_batch_goes_out_and_comes_in_over_both_families_with_its_senders() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(a) = UdpSocket::bind(local) else { continue };
            let b = UdpSocket::bind(local).unwrap();
            let mut batch = Batch::default();
            let mut buffers: Vec<PacketBuf> =
                (0..4_u8).map(|n| PacketBuf::from_bytes(&[n; 20]).unwrap()).collect();
            let to = b.local_addr().unwrap();
            let packets: Vec<_> = (0..4).map(|n| (n, to)).collect();
            assert_eq!(batch.send(a.as_raw_fd(), &packets, &mut buffers).unwrap(), 4);
            let mut epoll = Epoll::new(4).unwrap();
            epoll.add(std::os::fd::AsFd::as_fd(&b), 42).unwrap();
            assert_eq!(epoll.wait(Some(Duration::from_secs(5))).unwrap(), 1);
            assert_eq!(epoll.token(0), Some(42));
            let mut got: Vec<PacketBuf> = (0..8).map(|_| PacketBuf::default()).collect();
            assert_eq!(batch.receive(b.as_raw_fd(), &mut got).unwrap(), 4);
            for (n, buffer) in got.iter().take(4).enumerate() {
                assert_eq!(buffer.bytes(), [n as u8; 20]);
                assert_eq!(batch.from(n), Some(a.local_addr().unwrap()));
            }
            let error = batch.receive(b.as_raw_fd(), &mut got).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_waker_ends_a_wait_once() {
        let mut epoll = Epoll::new(1).unwrap();
        let waker = Waker::new().unwrap();
        epoll.add(waker.as_fd(), 1).unwrap();
        waker.wake();
        waker.wake();
        assert_eq!(epoll.wait(None).unwrap(), 1);
        waker.clear();
        assert_eq!(epoll.wait(Some(Duration::ZERO)).unwrap(), 0);
        waker.wake();
        assert_eq!(epoll.wait(None).unwrap(), 1, "and wakes again after it was taken note of");
    }
}
