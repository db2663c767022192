//! Session descriptions as data (RFC 8866): parsed from text, printed to text, read through typed views.
//!
//! A [`SessionDescription`] keeps what it does not know as attributes, in order. The typed views read the
//! attributes of offer/answer (RFC 3264), ICE (RFC 8839), SRTP keys (RFC 4568), DTLS-SRTP (RFC 5763, 8122, 8842),
//! rtcp-mux (RFC 5761, 8858) and BUNDLE (RFC 8843), a media section falling back to the session where the RFC says so.
//!
//! Parsing is bounded in size and count, linear in time, tolerant of order within a section and of bare LF
//! line ends, and never panics; errors name the line and never echo it.
//!
//! Words are kept in place where they are short ([`CompactString`]): nearly all are, and a call holds several descriptions.
//!
//! Left out: bandwidth, time zones, repeat times, keys and e-mail lines are read over and not kept.

mod attribute;
mod crypto;
mod parse;
mod print;

pub use attribute::{Candidate, Direction, MediaCodec, Setup, codec_label};
pub use crypto::{Crypto, CryptoKey};
pub use parse::{MAX_SDP_BYTES, SdpError};

use attribute::{parse_candidate, parse_fmtp, parse_rtpmap, static_codec};
use compact_str::CompactString;
use std::net::IpAddr;

/// A session description (RFC 8866 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// `o=`.
    pub origin: Origin,
    /// `s=`; `-` when there is nothing to say.
    pub name: CompactString,
    /// `c=` of the session.
    pub connection: Option<IpAddr>,
    /// `a=` of the session, in order.
    pub attributes: Vec<Attribute>,
    /// `m=` sections, in order.
    pub media: Vec<Media>,
}

/// `o=` (RFC 8866 §5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// User name, `-` when there is none.
    pub username: CompactString,
    /// Session id.
    pub session_id: u64,
    /// Session version, one more for each change (RFC 3264 §8).
    pub version: u64,
    /// Address of the machine that made it; a host name reads as unspecified.
    pub address: IpAddr,
}

/// `a=` (RFC 8866 §5.13).
#[derive(Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name; case-sensitive.
    pub name: CompactString,
    /// What stands after the colon; none for a property attribute.
    pub value: Option<CompactString>,
}

/// Values that are keys or passwords do not show.
impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_secret = matches!(self.name.as_str(), "crypto" | "ice-pwd");
        let value = self.value.as_deref().map(|v| if is_secret { "(secret)" } else { v });
        f.debug_struct("Attribute").field("name", &self.name).field("value", &value).finish()
    }
}

impl Attribute {
    /// `a=name`.
    #[must_use]
    pub fn flag(name: &str) -> Self {
        Self { name: name.into(), value: None }
    }

    /// `a=name:value`.
    #[must_use]
    pub fn new(name: &str, value: impl Into<CompactString>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// An `m=` section (RFC 8866 §5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, `video`, `application` …
    pub kind: CompactString,
    /// Port; 0 means refused (RFC 3264 §6).
    pub port: u16,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF` …
    pub protocol: CompactString,
    /// Payload types or other formats, in order of preference.
    pub formats: Vec<CompactString>,
    /// `c=` of this section.
    pub connection: Option<IpAddr>,
    /// `a=` of this section, in order.
    pub attributes: Vec<Attribute>,
}

fn value_of<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes.iter().find(|a| a.name == name).and_then(|a| a.value.as_deref())
}

fn values_of<'a>(attributes: &'a [Attribute], name: &'a str) -> impl Iterator<Item = &'a str> {
    attributes.iter().filter(move |a| a.name == name).filter_map(|a| a.value.as_deref())
}

impl SessionDescription {
    /// Reads a description.
    ///
    /// # Errors
    /// When it is too long, not SDP, or beyond the limits of count; the error names the line.
    pub fn parse(text: &str) -> Result<Self, SdpError> {
        parse::parse(text)
    }

    /// The first audio section, refused or not, with its index.
    #[must_use]
    pub fn audio(&self) -> Option<(usize, &Media)> {
        self.media
            .iter()
            .enumerate()
            .find(|(_, m)| m.kind == "audio" && m.port != 0)
            .or_else(|| self.media.iter().enumerate().find(|(_, m)| m.kind == "audio"))
    }

    /// Where media of a section goes: its own `c=`, else the session's (RFC 8866 §5.7).
    #[must_use]
    pub fn connection_of(&self, media: &Media) -> Option<IpAddr> {
        media.connection.or(self.connection)
    }

    /// Direction of a section, by its own attribute, else the session's, else both ways (RFC 8866 §6.7).
    #[must_use]
    pub fn direction_of(&self, media: &Media) -> Direction {
        let read = |attributes: &[Attribute]| attributes.iter().find_map(|a| Direction::from_name(&a.name));
        read(&media.attributes).or_else(|| read(&self.attributes)).unwrap_or(Direction::SendRecv)
    }

    /// An attribute of a section, else of the session.
    #[must_use]
    pub fn value_for<'a>(&'a self, media: &'a Media, name: &str) -> Option<&'a str> {
        value_of(&media.attributes, name).or_else(|| value_of(&self.attributes, name))
    }

    /// `a=ice-ufrag` and `a=ice-pwd` of a section or the session, when both are there and within the bounds
    /// of RFC 8839 §5.4 (4 and 22 to 256 characters).
    #[must_use]
    pub fn ice_credentials_of<'a>(&'a self, media: &'a Media) -> Option<(&'a str, &'a str)> {
        let ufrag = self.value_for(media, "ice-ufrag")?;
        let pwd = self.value_for(media, "ice-pwd")?;
        let is_ice = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
        // RFC 8839 §5.4 allows ice-chars only; some clients use - and _ in their ufrag, so printable ASCII passes
        let is_sane = |s: &str| is_ice(s) || s.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        ((4..=256).contains(&ufrag.len())
            && (22..=256).contains(&pwd.len())
            && is_sane(ufrag)
            && is_sane(pwd))
        .then_some((ufrag, pwd))
    }

    /// SHA-256 fingerprints of a section or, when it has none, of the session (RFC 8122 §5).
    #[must_use]
    pub fn sha256_fingerprints_of(&self, media: &Media) -> Vec<[u8; 32]> {
        let read = |attributes: &[Attribute]| -> Vec<[u8; 32]> {
            values_of(attributes, "fingerprint").filter_map(attribute::parse_sha256_fingerprint).collect()
        };
        let own = read(&media.attributes);
        if own.is_empty() { read(&self.attributes) } else { own }
    }

    /// Whether any fingerprint of any hash is there.
    #[must_use]
    pub fn has_fingerprint(&self, media: &Media) -> bool {
        self.value_for(media, "fingerprint").is_some()
    }

    /// `a=setup` of a section or the session (RFC 4145 §4, RFC 8842 §5.2).
    #[must_use]
    pub fn setup_of(&self, media: &Media) -> Option<Setup> {
        self.value_for(media, "setup").and_then(Setup::from_name)
    }

    /// `a=ice-lite` (RFC 8839 §5.3).
    #[must_use]
    pub fn is_ice_lite(&self) -> bool {
        self.attributes.iter().any(|a| a.name == "ice-lite")
    }

    /// The mids of the first BUNDLE group (RFC 8843 §7).
    #[must_use]
    pub fn bundle(&self) -> Vec<&str> {
        values_of(&self.attributes, "group")
            .find_map(|v| v.strip_prefix("BUNDLE"))
            .map(|mids| mids.split_ascii_whitespace().collect())
            .unwrap_or_default()
    }
}

impl Media {
    /// Value of an attribute of this section.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        value_of(&self.attributes, name)
    }

    /// Whether an attribute stands here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|a| a.name == name)
    }

    /// `a=mid` (RFC 5888 §4).
    #[must_use]
    pub fn mid(&self) -> Option<&str> {
        self.value("mid")
    }

    /// The codecs of an RTP section in order of preference: `m=` formats with their `a=rtpmap` and `a=fmtp`,
    /// or the static assignment of RFC 3551 §6. A format without either is left out.
    #[must_use]
    pub fn codecs(&self) -> Vec<MediaCodec> {
        let number = |format: &CompactString| format.parse::<u8>().ok().filter(|pt| *pt < 128);
        self.formats
            .iter()
            .filter_map(number)
            .filter_map(|pt| {
                let mapped = values_of(&self.attributes, "rtpmap")
                    .filter_map(parse_rtpmap)
                    .find(|c| c.payload_type == pt);
                let mut codec = mapped.or_else(|| static_codec(pt))?;
                codec.fmtp = values_of(&self.attributes, "fmtp")
                    .filter_map(parse_fmtp)
                    .find(|(p, _)| *p == pt)
                    .map(|(_, f)| f.into());
                Some(codec)
            })
            .collect()
    }

    /// `a=crypto` lines that could be read (RFC 4568 §4), in order of preference.
    #[must_use]
    pub fn cryptos(&self) -> Vec<Crypto> {
        values_of(&self.attributes, "crypto").filter_map(crypto::parse_crypto).collect()
    }

    /// `a=candidate` lines that could be read (RFC 8839 §5.1), in order.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        values_of(&self.attributes, "candidate").filter_map(parse_candidate).collect()
    }
}

#[cfg(test)]
mod tests;
