//! Where a message goes or comes from.

use crate::base::Path;
use std::fmt;
use std::net::SocketAddr;

/// A transport protocol. Others are added here; machines ask only whether it is reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream within TLS, to somebody whose certificate says who he is.
    Tls(TlsPeer),
}

/// Whom a TLS connection of ours leads to, so that what is meant for one is never sent to who proved to be another at
/// the same address. [`super::io::SipStack::tls_peer`] gives them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsPeer(pub(super) u32);

impl TlsPeer {
    /// Nobody in particular: who came to us, and who is known by his address alone.
    pub const ANY: Self = Self(0);
}

impl Transport {
    /// The word in Via.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls(_) => "TLS",
        }
    }

    /// The port that is meant where none is written (RFC 3261 §19.1.2).
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls(_) => 5061,
        }
    }

    /// Whether nobody on the way can read along.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether it delivers by itself, so that nothing is retransmitted (RFC 3261 §17).
    #[must_use]
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls(_) => true,
        }
    }
}

/// Where a request goes next: a transport and the far address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// Transport.
    pub transport: Transport,
    /// Address.
    pub address: SocketAddr,
}

impl From<SocketAddr> for Hop {
    /// By UDP.
    fn from(address: SocketAddr) -> Self {
        Self { transport: Transport::Udp, address }
    }
}

/// A transport and its two addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    /// Transport.
    pub transport: Transport,
    /// Addresses.
    pub path: Path,
}

impl Flow {
    /// A UDP flow.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, path: Path { local, remote } }
    }

    /// A TCP flow. Its local end is the address that we listen on, whatever port a connection of ours has.
    #[must_use]
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Tcp, path: Path { local, remote } }
    }

    /// A flow by TLS of who came to us.
    #[must_use]
    pub const fn tls(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Tls(TlsPeer::ANY), path: Path { local, remote } }
    }

    /// Its far end.
    #[must_use]
    pub const fn hop(&self) -> Hop {
        Hop { transport: self.transport, address: self.path.remote }
    }

    /// The same from the same local end to another hop.
    #[must_use]
    pub const fn towards(mut self, hop: Hop) -> Self {
        self.transport = hop.transport;
        self.to(hop.address)
    }

    /// The same from the same local end to another address.
    #[must_use]
    pub const fn to(mut self, remote: SocketAddr) -> Self {
        self.path.remote = remote;
        self
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport.as_str(), self.path)
    }
}
