//! Typed values of single attributes.

use compact_str::CompactString;
use std::net::IpAddr;

/// `a=sendrecv` and its like (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The describing side sends only.
    SendOnly,
    /// The describing side receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// By the attribute's name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|d| d.name() == name)
    }

    /// As the other side sees it (RFC 3264 §6.1).
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            both => both,
        }
    }

    /// Whether the describing side sends.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describing side receives.
    #[must_use]
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// `a=setup` (RFC 4145 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// It opens the association.
    Active,
    /// It waits for it.
    Passive,
    /// Either; the answer chooses.
    ActPass,
    /// Not now.
    HoldConn,
}

impl Setup {
    /// The attribute's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    /// By the attribute's value.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn].into_iter().find(|s| s.name() == name)
    }
}

/// One codec of an RTP section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaCodec {
    /// RTP payload type, below 128.
    pub payload_type: u8,
    /// Encoding name as written.
    pub name: CompactString,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Channels; 1 when not said.
    pub channels: u8,
    /// Format parameters, as written.
    pub fmtp: Option<CompactString>,
}

impl MediaCodec {
    /// Whether it is this codec: name in any case, clock and channels equal.
    #[must_use]
    pub fn is(&self, name: &str, clock_rate: u32, channels: u8) -> bool {
        self.name.eq_ignore_ascii_case(name) && self.clock_rate == clock_rate && self.channels == channels
    }

    /// As [`codec_label`].
    #[must_use]
    pub fn label(&self) -> String {
        codec_label(&self.name, self.clock_rate, self.channels)
    }
}

/// A codec in words for people: `G729`, `opus/48000/2`. Clock and channels are said where they are not those of a
/// telephone, 8,000 Hz and one.
#[must_use]
pub fn codec_label(name: &str, clock_rate: u32, channels: u8) -> String {
    match (clock_rate, channels) {
        (8_000, 1) => name.to_owned(),
        (_, 1) => format!("{name}/{clock_rate}"),
        _ => format!("{name}/{clock_rate}/{channels}"),
    }
}

impl std::fmt::Display for MediaCodec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.name, self.clock_rate)?;
        if self.channels == 1 { Ok(()) } else { write!(f, "/{}", self.channels) }
    }
}

/// `<pt> <name>/<clock>[/<channels>]` (RFC 8866 §6.6).
pub(super) fn parse_rtpmap(value: &str) -> Option<MediaCodec> {
    let (pt, encoding) = value.split_once(' ')?;
    let mut parts = encoding.trim().split('/');
    let name = parts.next().filter(|n| !n.is_empty())?;
    let clock_rate = parts.next()?.parse().ok().filter(|r| *r > 0)?;
    let channels = parts.next().map_or(Some(1), |c| c.parse().ok())?;
    Some(MediaCodec {
        payload_type: pt.parse().ok().filter(|p| *p < 128)?,
        name: name.into(),
        clock_rate,
        channels,
        fmtp: None,
    })
}

/// `<pt> <parameters>` (RFC 8866 §6.15).
pub(super) fn parse_fmtp(value: &str) -> Option<(u8, &str)> {
    let (pt, parameters) = value.split_once(' ')?;
    Some((pt.parse().ok()?, parameters.trim()))
}

/// Static payload types of RFC 3551 §6: those that are served, and those that a refusal should be able to name.
pub(super) fn static_codec(payload_type: u8) -> Option<MediaCodec> {
    let name = match payload_type {
        0 => "PCMU",
        3 => "GSM",
        4 => "G723",
        8 => "PCMA",
        9 => "G722",
        13 => "CN",
        15 => "G728",
        18 => "G729",
        _ => return None,
    };
    Some(MediaCodec { payload_type, name: name.into(), clock_rate: 8_000, channels: 1, fmtp: None })
}

/// `sha-256 AA:BB:…` with 32 bytes; other hashes and malformed values give none.
pub(super) fn parse_sha256_fingerprint(value: &str) -> Option<[u8; 32]> {
    let (hash, hex) = value.split_once(' ')?;
    if !hash.eq_ignore_ascii_case("sha-256") {
        return None;
    }
    let mut out = [0_u8; 32];
    let mut parts = hex.trim().split(':');
    for slot in &mut out {
        let part = parts.next().filter(|p| p.len() == 2)?;
        *slot = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(out)
}

/// One ICE candidate (RFC 8839 §5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// 1 RTP, 2 RTCP.
    pub component: u16,
    /// `udp` or `tcp`, lower case.
    pub transport: String,
    /// Its address; none when it is a name (`….local`).
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its priority.
    pub priority: u32,
    /// `host`, `srflx`, `prflx`, `relay`.
    pub kind: String,
}

/// `<foundation> <component> <transport> <priority> <address> <port> typ <kind> …`
pub(super) fn parse_candidate(value: &str) -> Option<Candidate> {
    let mut parts = value.split_ascii_whitespace();
    let foundation = parts.next()?;
    if foundation.is_empty() || foundation.len() > 32 {
        return None;
    }
    let component = parts.next()?.parse().ok()?;
    let transport = parts.next()?.to_ascii_lowercase();
    let priority = parts.next()?.parse().ok()?;
    let address = parts.next()?.parse().ok();
    let port = parts.next()?.parse().ok()?;
    let kind = (parts.next()? == "typ").then(|| parts.next())??.to_owned();
    Some(Candidate { component, transport, address, port, priority, kind })
}
