//! DNS: where a name of a SIP server leads (RFC 3263), with a memory that outlives an outage of DNS.
//!
//! `locate` is RFC 3263 §4 as a machine that asks questions and takes answers, `select` the order of SRV records
//! (RFC 2782), `chase` follows aliases, `cache` remembers, and keeps the last good answer while DNS fails
//! (RFC 8767); all of them are pure. `io` has the sockets, by `hickory-resolver`, and reads /etc/hosts. Names are in lower
//! case and without the last dot.
//!
//! Left out: DNSSEC (a resolver that we trust validates), ENUM, SCTP and WebSocket as transports of SIP.

mod cache;
mod chase;
mod config;
pub mod io;
mod locate;
mod select;

pub use config::DnsConfig;
pub use locate::{Families, Located, Wanted, Way};
pub use select::by_weight;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Which services a domain has (RFC 3403).
    Naptr,
    /// Which hosts serve (RFC 2782).
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Question {
    /// Of this name.
    pub name: String,
    /// This.
    pub kind: Kind,
}

impl Question {
    /// A question; the name is written as all names here are.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: plain_name(name), kind }
    }
}

/// A name in lower case and without its last dot.
fn plain_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A NAPTR record (RFC 3403 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Records of the lowest order come first, and those of a higher one are not looked at when one of it fits.
    pub order: u16,
    /// Within an order, the lowest first.
    pub preference: u16,
    /// What the replacement is; `s`: the name of SRV records.
    pub flags: String,
    /// As `SIP+D2U`.
    pub services: String,
    /// Where to ask on.
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    /// The lowest first.
    pub priority: u16,
    /// Its share among those of a priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; empty: there is no such service.
    pub target: String,
}

/// What an answer consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// NAPTR.
    Naptr(Naptr),
    /// SRV.
    Srv(Srv),
    /// A and AAAA.
    Address(IpAddr),
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// DNS says that there is nothing of the kind.
    #[error("DNS knows no such name, or no address of it")]
    Absent,
    /// It offers TLS, and nothing that was asked for.
    #[error("DNS names services by TLS alone: write transport = \"tls\"")]
    OnlyByTls,
    /// DNS gave no answer.
    #[error("DNS gives no usable answer")]
    Failed,
}

/// Records, one at least; or why there are none.
pub type Answer = Result<Arc<[Record]>, Missing>;

/// What came of asking, with how long it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Found { records: Arc<[Record]>, ttl: Duration },
    Absent { ttl: Option<Duration> },
    Failed,
}
