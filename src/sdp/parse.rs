//! From text to data.

use super::{Attribute, Media, Origin, SessionDescription};
use compact_str::CompactString;
use std::net::{IpAddr, Ipv4Addr};

/// Longest description that is read, in bytes.
pub const MAX_SDP_BYTES: usize = 64 * 1024;
const MAX_LINES: usize = 2_000;
const MAX_MEDIA: usize = 32;
const MAX_ATTRIBUTES: usize = 512;
const MAX_FORMATS: usize = 64;

/// Why a text is no session description; lines count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`MAX_SDP_BYTES`].
    #[error("session description longer than 65536 bytes")]
    TooLong,
    /// More lines, sections, formats or attributes than any real description has.
    #[error("session description line {0}: too many lines of this kind")]
    TooMany(usize),
    /// Not `x=…`, or a control character inside.
    #[error("session description line {0}: expected a letter, an equals sign and text")]
    NotALine(usize),
    /// The first line is not `v=0`.
    #[error("session description line 1: expected v=0")]
    Version,
    /// No `o=` line.
    #[error("session description has no o= line")]
    NoOrigin,
    /// A line whose fields cannot be read.
    #[error("session description line {line}: {kind}= cannot be read")]
    BadLine {
        /// Which line.
        line: usize,
        /// Its letter.
        kind: char,
    },
}

pub(super) fn parse(text: &str) -> Result<SessionDescription, SdpError> {
    if text.len() > MAX_SDP_BYTES {
        return Err(SdpError::TooLong);
    }
    let mut origin = None;
    let mut name = CompactString::default();
    let mut connection = None;
    let mut attributes = Vec::new();
    let mut media: Vec<Media> = Vec::new();
    let mut is_first = true;
    let mut rest = Some(text);
    let mut line = 0;
    while let Some(raw) = next_line(&mut rest) {
        line += 1;
        if line > MAX_LINES {
            return Err(SdpError::TooMany(line));
        }
        let content = raw.strip_suffix('\r').unwrap_or(raw);
        if content.is_empty() {
            continue; // a blank line at the end, or between, does no harm
        }
        let mut chars = content.chars();
        let (Some(kind), Some('=')) = (chars.next(), chars.next()) else {
            return Err(if is_first { SdpError::Version } else { SdpError::NotALine(line) });
        };
        let value = chars.as_str();
        if !kind.is_ascii_lowercase() || has_control(value) {
            return Err(SdpError::NotALine(line));
        }
        if is_first {
            if kind != 'v' || value.trim_end() != "0" {
                return Err(SdpError::Version);
            }
            is_first = false;
            continue;
        }
        let bad = SdpError::BadLine { line, kind };
        match (kind, media.last_mut()) {
            ('o', None) => origin = Some(parse_origin(value).ok_or(bad)?),
            ('s', None) => name = value.into(),
            ('c', None) => connection = parse_connection(value).ok_or(bad)?,
            ('c', Some(section)) => section.connection = parse_connection(value).ok_or(bad)?,
            ('a', section) => {
                let list = section.map_or(&mut attributes, |s| &mut s.attributes);
                if list.len() >= MAX_ATTRIBUTES {
                    return Err(SdpError::TooMany(line));
                }
                list.push(parse_attribute(value).ok_or(bad)?);
            }
            ('m', _) => {
                if media.len() >= MAX_MEDIA {
                    return Err(SdpError::TooMany(line));
                }
                media.push(parse_media(value).ok_or(bad)?);
            }
            ('v', _) => return Err(bad),
            _ => {} // b=, t=, r=, z=, k=, i=, u=, e=, p= and letters to come (RFC 8866 §5: ignored)
        }
    }
    if is_first {
        return Err(SdpError::Version);
    }
    Ok(SessionDescription { origin: origin.ok_or(SdpError::NoOrigin)?, name, connection, attributes, media })
}

/// The next line, without its LF; the last one may be empty.
fn next_line<'a>(rest: &mut Option<&'a str>) -> Option<&'a str> {
    let text = rest.take()?;
    let Some(end) = memchr::memchr(b'\n', text.as_bytes()) else { return Some(text) };
    *rest = text.get(end + 1..);
    text.get(..end)
}

/// A control character other than a tab.
fn has_control(text: &str) -> bool {
    let is_unfit = |b: u8| b.is_ascii_control() && b != b'\t';
    text.bytes().any(is_unfit) || !text.is_ascii() && text.chars().any(|c| c.is_control() && c != '\t')
}

fn parse_origin(value: &str) -> Option<Origin> {
    let parts: Vec<&str> = value.split_ascii_whitespace().collect();
    // some telephones have spaces in the user name
    let (username, rest) = parts.split_at_checked(parts.len().checked_sub(5)?)?;
    let [id, version, "IN", kind, address] = rest else { return None };
    if username.is_empty() {
        return None;
    }
    Some(Origin {
        username: username.join(" ").into(),
        session_id: parse_big(id)?,
        version: parse_big(version)?,
        address: parse_address(kind, address)?.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
    })
}

/// Session ids and versions may be longer than 64 bits (RFC 8866 §5.2 sets no bound); only equality and
/// order of ours matter, so a longer one keeps its low digits.
fn parse_big(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.bytes().fold(0_u64, |n, b| n.wrapping_mul(10).wrapping_add(u64::from(b - b'0'))))
}

/// `IN IP4 192.0.2.1`; a multicast suffix (`/127`) is cut, a host name gives no address.
fn parse_connection(value: &str) -> Option<Option<IpAddr>> {
    let parts: Vec<&str> = value.split_ascii_whitespace().collect();
    let ["IN", kind, address] = parts.as_slice() else { return None };
    parse_address(kind, address.split('/').next().unwrap_or(address))
}

fn parse_address(kind: &str, address: &str) -> Option<Option<IpAddr>> {
    let parsed = address.parse::<IpAddr>().ok();
    match (kind, parsed) {
        ("IP4", Some(IpAddr::V4(_))) | ("IP6", Some(IpAddr::V6(_))) => Some(parsed),
        ("IP4" | "IP6", None) => Some(None),
        _ => None,
    }
}

fn parse_attribute(value: &str) -> Option<Attribute> {
    let (name, value) = match memchr::memchr(b':', value.as_bytes()) {
        Some(colon) => (value.get(..colon)?, Some(value.get(colon + 1..)?.into())),
        None => (value.trim_end(), None),
    };
    (!name.is_empty()).then(|| Attribute { name: name.into(), value })
}

fn parse_media(value: &str) -> Option<Media> {
    let mut parts = value.split_ascii_whitespace();
    let kind = parts.next()?.into();
    let port = parts.next()?;
    let port = port.split('/').next().unwrap_or(port).parse().ok()?; // `/<count>` means hierarchical encodings
    let protocol = parts.next()?.into();
    let formats: Vec<CompactString> = parts.map(Into::into).collect();
    (!formats.is_empty() && formats.len() <= MAX_FORMATS).then(|| Media {
        kind,
        port,
        protocol,
        formats,
        connection: None,
        attributes: Vec::new(),
    })
}
