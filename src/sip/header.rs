//! Header lines: names (canonical, compact, unknown), values in order, and lists.
//!
//! Values are unfolded text. A value that came in as no UTF-8 is taken with replacement characters
//! (RFC 3261 §7.3.1 asks for UTF-8). Values that *we* add are cleaned of control characters, so a line end can
//! never be built into a message.

use super::lex::{Malformed, print, split_outside};
use compact_str::CompactString;
use std::fmt;

macro_rules! names {
    ($($variant:ident, $text:literal, $compact:expr;)*) => {
        /// A header name; unknown ones keep their spelling and compare without case (RFC 3261 §7.3.1).
        #[derive(Debug, Clone)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other.
            Other(Box<str>),
        }

        impl HeaderName {
            /// Canonical spellings, in order.
            const SPELLINGS: &'static [&'static str] = &[$($text),*];
            /// How many names are known.
            pub(super) const KNOWN: usize = Self::SPELLINGS.len();

            /// Position of a known name, for counting lines of a kind.
            pub(super) fn known_index(&self) -> Option<usize> {
                let text = match self {
                    Self::Other(_) => return None,
                    known => known.as_str(),
                };
                // the same literal: its address tells it, most compares end at the length
                Self::SPELLINGS.iter().position(|s| *s == text)
            }

            /// The name written like this, in any case, compact or long (RFC 3261 §7.3.3).
            #[must_use]
            pub fn parse(text: &str) -> Self {
                if let [b] = text.as_bytes() {
                    let b = Some(b.to_ascii_lowercase());
                    $(if $compact == b { return Self::$variant; })*
                }
                $(if text.eq_ignore_ascii_case($text) { return Self::$variant; })*
                Self::Other(text.into())
            }

            /// Canonical spelling; as it came for an unknown one.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text) => text,
                }
            }
        }
    };
}

names! {
    Via, "Via", Some(b'v');
    From, "From", Some(b'f');
    To, "To", Some(b't');
    CallId, "Call-ID", Some(b'i');
    CSeq, "CSeq", None;
    Contact, "Contact", Some(b'm');
    MaxForwards, "Max-Forwards", None;
    ContentLength, "Content-Length", Some(b'l');
    ContentType, "Content-Type", Some(b'c');
    ContentEncoding, "Content-Encoding", Some(b'e');
    ContentDisposition, "Content-Disposition", None;
    Route, "Route", None;
    RecordRoute, "Record-Route", None;
    Allow, "Allow", None;
    Supported, "Supported", Some(b'k');
    Require, "Require", None;
    ProxyRequire, "Proxy-Require", None;
    Unsupported, "Unsupported", None;
    Accept, "Accept", None;
    AcceptEncoding, "Accept-Encoding", None;
    UserAgent, "User-Agent", None;
    Server, "Server", None;
    WwwAuthenticate, "WWW-Authenticate", None;
    ProxyAuthenticate, "Proxy-Authenticate", None;
    Authorization, "Authorization", None;
    ProxyAuthorization, "Proxy-Authorization", None;
    AuthenticationInfo, "Authentication-Info", None;
    Expires, "Expires", None;
    MinExpires, "Min-Expires", None;
    Reason, "Reason", None;
    RetryAfter, "Retry-After", None;
    Warning, "Warning", None;
    SessionExpires, "Session-Expires", Some(b'x');
    MinSe, "Min-SE", None;
    ReferTo, "Refer-To", Some(b'r');
    ReferredBy, "Referred-By", Some(b'b');
    Replaces, "Replaces", None;
    ReferSub, "Refer-Sub", None;
    Event, "Event", Some(b'o');
    SubscriptionState, "Subscription-State", None;
    AllowEvents, "Allow-Events", Some(b'u');
    Subject, "Subject", Some(b's');
    PAssertedIdentity, "P-Asserted-Identity", None;
    PPreferredIdentity, "P-Preferred-Identity", None;
    Privacy, "Privacy", None;
    Diversion, "Diversion", None;
    HistoryInfo, "History-Info", None;
    Path, "Path", None;
    ServiceRoute, "Service-Route", None;
    RSeq, "RSeq", None;
    RAck, "RAck", None;
    Date, "Date", None;
    Timestamp, "Timestamp", None;
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Other(a), Self::Other(b)) => a.eq_ignore_ascii_case(b),
            (Self::Other(_), _) | (_, Self::Other(_)) => false,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Eq for HeaderName {}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One header line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    name: HeaderName,
    value: CompactString,
}

impl Header {
    /// A line of ours; control characters become spaces.
    #[must_use]
    pub fn new(name: HeaderName, value: impl Into<CompactString>) -> Self {
        let mut value = value.into();
        if value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            value = value.chars().map(|c| if c.is_ascii_control() && c != '\t' { ' ' } else { c }).collect();
        }
        Self { name, value }
    }

    /// A line from the network, unfolded and free of line ends.
    pub(super) fn received(name: HeaderName, value: impl Into<CompactString>) -> Self {
        Self { name, value: value.into() }
    }

    /// Name.
    #[must_use]
    pub const fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Value, unfolded.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// Header lines in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

impl Headers {
    /// No line yet, and room for some.
    pub(super) fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// Appends a line of ours.
    pub fn push(&mut self, name: HeaderName, value: impl Into<CompactString>) {
        self.0.push(Header::new(name, value));
    }

    /// Appends a line of ours, printed.
    pub fn push_printed(&mut self, name: HeaderName, value: &impl fmt::Display) {
        self.0.push(Header::new(name, print(value)));
    }

    /// Appends a line as it is.
    pub fn push_header(&mut self, header: Header) {
        self.0.push(header);
    }

    /// Puts a line of ours on top (a Via).
    pub fn push_front(&mut self, name: HeaderName, value: impl Into<CompactString>) {
        self.0.insert(0, Header::new(name, value));
    }

    /// Sets the one line of this name, in the place of the first.
    pub fn set(&mut self, name: HeaderName, value: impl Into<CompactString>) {
        let header = Header::new(name, value);
        let mut is_set = false;
        self.0.retain_mut(|h| {
            if h.name != header.name {
                return true;
            }
            if !is_set {
                h.value.clone_from(&header.value);
                is_set = true;
                return true;
            }
            false
        });
        if !is_set {
            self.0.push(header);
        }
    }

    /// Takes all lines of this name away.
    pub fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|h| h.name != *name);
    }

    /// The first value of this name.
    #[must_use]
    pub fn get<'a>(&'a self, name: &HeaderName) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of this name, a line each.
    pub fn all<'a, 'n>(&'a self, name: &'n HeaderName) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0.iter().filter(move |h| h.name == *name).map(Header::value)
    }

    /// All values of this name, comma lists taken apart (RFC 3261 §7.3.1). Empty elements are left out.
    ///
    /// # Errors
    /// Quotes or brackets that do not end.
    pub fn list<'a>(&'a self, name: &HeaderName) -> Result<Vec<&'a str>, Malformed> {
        let mut out = Vec::new();
        for line in self.all(name) {
            out.extend(split_outside(line, b',')?.into_iter().filter(|p| !p.is_empty()));
        }
        Ok(out)
    }

    /// How many lines of this name there are.
    #[must_use]
    pub fn count(&self, name: &HeaderName) -> usize {
        self.all(name).count()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.0.iter()
    }

    /// Rewrites the first element of the topmost Via; the rest of its line stays.
    pub(super) fn replace_top_via(&mut self, value: &str) {
        if let Some(h) = self.0.iter_mut().find(|h| h.name == HeaderName::Via) {
            let rest = split_outside(&h.value, b',').unwrap_or_default();
            let mut line = value.to_owned();
            for more in rest.iter().skip(1) {
                line.push_str(", ");
                line.push_str(more);
            }
            h.value = line.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_and_odd_case_names_are_the_known_ones_rfc_3261_7_3_3() {
        for (text, name) in [
            ("v", HeaderName::Via),
            ("I", HeaderName::CallId),
            ("mAx-FORwards", HeaderName::MaxForwards),
            ("l", HeaderName::ContentLength),
        ] {
            assert_eq!(HeaderName::parse(text), name);
        }
        assert_eq!(HeaderName::parse("X-Foo"), HeaderName::parse("x-fOO"));
        assert_eq!(HeaderName::parse("X-Foo").as_str(), "X-Foo");
    }

    #[test]
    fn a_line_end_cannot_be_built_into_a_value() {
        let mut h = Headers::default();
        h.push(HeaderName::Subject, "a\r\nEvil: yes\0");
        h.set(HeaderName::Subject, "b\nEvil: yes");
        assert_eq!(h.get(&HeaderName::Subject), Some("b Evil: yes"));
    }

    #[test]
    fn lists_run_over_lines_and_commas() {
        let mut h = Headers::default();
        h.push(HeaderName::Route, "<sip:a;lr>,<sip:b,c@d;lr>");
        h.push(HeaderName::Route, "<sip:e>");
        assert_eq!(h.list(&HeaderName::Route).unwrap(), ["<sip:a;lr>", "<sip:b,c@d;lr>", "<sip:e>"]);
    }
}
