//! From data to text.

use super::{Attribute, Media, SessionDescription};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

impl Display for SessionDescription {
    /// CRLF line ends, the order of RFC 8866 §5.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let o = &self.origin;
        write!(
            f,
            "v=0\r\no={} {} {} {}\r\n",
            Text(&o.username),
            o.session_id,
            o.version,
            Address(o.address)
        )?;
        write!(f, "s={}\r\n", if self.name.is_empty() { Text("-") } else { Text(&self.name) })?;
        if let Some(address) = self.connection {
            write!(f, "c={}\r\n", Address(address))?;
        }
        f.write_str("t=0 0\r\n")?;
        self.attributes.iter().try_for_each(|a| a.fmt(f))?;
        self.media.iter().try_for_each(|m| m.fmt(f))
    }
}

impl Display for Media {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "m={} {} {}", Text(&self.kind), self.port, Text(&self.protocol))?;
        self.formats.iter().try_for_each(|format| {
            f.write_str(" ")?;
            Text(format).fmt(f)
        })?;
        f.write_str("\r\n")?;
        if let Some(address) = self.connection {
            write!(f, "c={}\r\n", Address(address))?;
        }
        self.attributes.iter().try_for_each(|a| a.fmt(f))
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a=")?;
        Text(&self.name).fmt(f)?;
        if let Some(value) = &self.value {
            f.write_str(":")?;
            Text(value).fmt(f)?;
        }
        f.write_str("\r\n")
    }
}

struct Address(IpAddr);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(a) => write!(f, "IN IP4 {a}"),
            IpAddr::V6(a) => write!(f, "IN IP6 {a}"),
        }
    }
}

/// Text without line ends, so that no value can add a line.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|b| !matches!(b, b'\r' | b'\n' | b'\0')) {
            return f.write_str(self.0);
        }
        self.0.split(['\r', '\n', '\0']).try_for_each(|part| f.write_str(part))
    }
}
