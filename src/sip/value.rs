//! Typed values of headers: addresses with a name, Via, CSeq, Reason (RFC 3261 §20, RFC 3326, RFC 3581).

use super::lex::{Malformed, Params, cut, first_outside, is_token, quote, take_quoted, trim};
use super::uri::{Host, Uri, print_place};
use super::{HeaderName, Headers, Method};
use crate::base::is_hidden;
use compact_str::CompactString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `"name" <uri>;params`: From, To, Contact, Route and their like (RFC 3261 §20.10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// Name as it came, quotes and escapes taken off (RFC 4475 §3.1.1.2); [`NameAddr::shown_name`] is what people see.
    pub display: Option<String>,
    /// Address.
    pub uri: Uri,
    /// Parameters of the header, not of the URI.
    pub params: Params,
}

impl NameAddr {
    /// An address without a name.
    #[must_use]
    pub fn new(uri: impl Into<Uri>) -> Self {
        Self { display: None, uri: uri.into(), params: Params::default() }
    }

    /// Parses one element. Without brackets, parameters belong to the header (RFC 3261 §20.10).
    ///
    /// # Errors
    /// What is no address.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("Bad Address");
        let text = trim(text);
        let (display, rest) = match take_quoted(text) {
            Some((name, rest)) => (Some(name), trim(rest)),
            None if text.starts_with('"') => return Err(bad),
            None => match split_before(text, b'<') {
                Some((name, rest)) => {
                    let name = trim(name);
                    let is_name =
                        name.bytes().all(|b| b > 0x7f || b == b' ' || b == b'\t' || is_name_byte(b));
                    if !is_name {
                        return Err(bad);
                    }
                    ((!name.is_empty()).then(|| name.to_owned()), rest)
                }
                None => {
                    let (uri, params) = split_before(text, b';').unwrap_or((text, ""));
                    return Ok(Self {
                        display: None,
                        uri: Uri::parse(trim(uri))?,
                        params: Params::parse(params)?,
                    });
                }
            },
        };
        let (uri, params) = rest.strip_prefix('<').and_then(|r| cut(r, b'>')).ok_or(bad)?;
        Ok(Self { display, uri: Uri::parse(uri)?, params: Params::parse(params)? })
    }

    /// The `tag` parameter (RFC 3261 §19.3).
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params.value("tag")
    }

    /// The name without what cannot be seen; none when nothing else is in it.
    #[must_use]
    pub fn shown_name(&self) -> Option<String> {
        let name = self.display.as_ref()?.replace(is_hidden, "");
        Some(trim(&name)).filter(|name| !name.is_empty()).map(str::to_owned)
    }
}

/// Splits so that the second part begins with `mark`, an ASCII character.
fn split_before(text: &str, mark: u8) -> Option<(&str, &str)> {
    text.split_at_checked(text.bytes().position(|b| b == mark)?)
}

/// Characters of an unquoted display name: tokens; real peers also leave `@`-less punctuation unquoted.
const fn is_name_byte(b: u8) -> bool {
    super::lex::is_token_byte(b) || matches!(b, b'(' | b')' | b'/' | b'&' | b'#' | b'=' | b'|' | b'$')
}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.display {
            write!(f, "{} ", quote(name))?;
        }
        f.write_str("<")?;
        fmt::Display::fmt(&self.uri, f)?;
        f.write_str(">")?;
        fmt::Display::fmt(&self.params, f)
    }
}

/// One Via element (RFC 3261 §20.42).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// `UDP`, `TCP`, `TLS`, `WS`, … as written.
    pub transport: CompactString,
    /// Host of sent-by.
    pub host: Host,
    /// Port of sent-by, when written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport`, …
    pub params: Params,
}

/// What begins every branch of RFC 3261 (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

impl Via {
    /// A Via of ours, asking for the source port (RFC 3581 §3).
    #[must_use]
    pub fn new(transport: &str, sent_by: SocketAddr, branch: &str) -> Self {
        let mut params = Params::default();
        params.set("branch", Some(branch));
        params.set("rport", None);
        Self { transport: transport.into(), host: sent_by.ip().into(), port: Some(sent_by.port()), params }
    }

    /// Parses one element; spaces around the slashes are allowed.
    ///
    /// # Errors
    /// What is no Via, or of another protocol than SIP/2.0.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("Bad Via");
        let (name, rest) = cut(text, b'/').ok_or(bad)?;
        let (version, rest) = cut(rest, b'/').ok_or(bad)?;
        if !trim(name).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
            return Err(bad);
        }
        let rest = trim(rest);
        let (transport, rest) = rest.split_once([' ', '\t']).ok_or(bad)?;
        let (sent_by, params) = split_before(rest, b';').unwrap_or((rest, ""));
        let (host, port) = Host::parse_with_port(trim(sent_by)).map_err(|_| bad)?;
        if !is_token(transport) {
            return Err(bad);
        }
        Ok(Self { transport: transport.into(), host, port, params: Params::parse(params).map_err(|_| bad)? })
    }

    /// The branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.value("branch")
    }

    /// The branch of an element that obeys RFC 3261: the cookie and something after it.
    #[must_use]
    pub fn rfc3261_branch(&self) -> Option<&str> {
        let branch = self.branch()?;
        let cookie = branch.get(..MAGIC_COOKIE.len())?;
        let is_unique = cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && branch.len() > cookie.len();
        is_unique.then_some(branch)
    }

    /// `received`, with or without the brackets of an IPv6 address (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.params.value("received")?.trim_matches(['[', ']']).parse().ok()
    }

    /// `rport`: `Some(None)` asks for it (RFC 3581 §3).
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.find("rport").map(|v| v.and_then(|p| p.parse().ok()))
    }

    /// Notes where the request came from: `received` when it differs from sent-by or rport was asked for, and
    /// the port (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn note_source(&mut self, source: SocketAddr) {
        let wants_port = self.params.has("rport");
        if wants_port {
            self.params.set("rport", Some(&source.port().to_string()));
        }
        if wants_port || self.host.ip() != Some(source.ip()) {
            self.params.set("received", Some(&source.ip().to_string()));
        }
    }

    /// Where an answer goes over a datagram transport (RFC 3261 §18.2.2, RFC 3581 §4): the source address,
    /// and its port when rport was asked for, else the port of sent-by. `maddr` is not followed: it would
    /// let a stranger aim our answers.
    #[must_use]
    pub fn response_address(&self, source: SocketAddr) -> SocketAddr {
        if self.params.has("rport") {
            return source;
        }
        SocketAddr::new(source.ip(), self.port.unwrap_or(5060))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ["SIP/2.0/", &self.transport, " "].into_iter().try_for_each(|part| f.write_str(part))?;
        print_place(&self.host, self.port, f)?;
        fmt::Display::fmt(&self.params, f)
    }
}

/// `CSeq` (RFC 3261 §20.16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2³¹ (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// Method.
    pub method: Method,
}

impl CSeq {
    /// Parses `42 INVITE`.
    ///
    /// # Errors
    /// Anything else, and numbers of 2³¹ or more.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("Bad CSeq");
        let (number, method) = trim(text).split_once([' ', '\t']).ok_or(bad)?;
        Ok(Self { number: parse_number(number).ok_or(bad)?, method: Method::parse(trim(method)).ok_or(bad)? })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Digits alone, below 2³¹.
fn parse_number(text: &str) -> Option<u32> {
    let is_digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten().filter(|n| *n < 1 << 31)
}

/// One value of a `Reason` header (RFC 3326 §2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// `Q.850`, `SIP`, …
    pub protocol: String,
    /// `cause`.
    pub cause: Option<u16>,
    /// `text`.
    pub text: Option<String>,
}

impl Reason {
    /// A Q.850 cause with words for people.
    #[must_use]
    pub fn q850(cause: u8, text: &str) -> Self {
        Self { protocol: "Q.850".to_owned(), cause: Some(u16::from(cause)), text: Some(text.to_owned()) }
    }

    /// A SIP status with words for people (RFC 3326 §2).
    #[must_use]
    pub fn sip(status: u16, text: &str) -> Self {
        Self { protocol: "SIP".to_owned(), cause: Some(status), text: Some(text.to_owned()) }
    }

    /// Parses one value.
    ///
    /// # Errors
    /// What is none.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let (protocol, params) = split_before(text, b';').unwrap_or((text, ""));
        if !is_token(trim(protocol)) {
            return Err(Malformed("Bad Reason"));
        }
        let params = Params::parse(params)?;
        Ok(Self {
            protocol: trim(protocol).to_owned(),
            cause: params.value("cause").and_then(|c| c.parse().ok()),
            text: params.text("text"),
        })
    }

    /// The Q.850 cause value, when it is one.
    #[must_use]
    pub fn q850_cause(&self) -> Option<u8> {
        let is_q850 = self.protocol.eq_ignore_ascii_case("Q.850");
        is_q850.then_some(self.cause).flatten().and_then(|c| u8::try_from(c).ok())
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if is_token(&self.protocol) { &self.protocol } else { "SIP" })?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        self.text.as_ref().map_or(Ok(()), |t| write!(f, ";text={}", quote(t)))
    }
}

/// Typed reading of headers.
impl Headers {
    /// The topmost Via.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn top_via(&self) -> Result<Via, Malformed> {
        let line = self.get(&HeaderName::Via).ok_or(Malformed("Missing Via"))?;
        Via::parse(first_outside(line, b',').map_err(|_| Malformed("Bad Via"))?)
    }

    /// All Vias, topmost first.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn vias(&self) -> Result<Vec<Via>, Malformed> {
        self.list(&HeaderName::Via)?.into_iter().map(Via::parse).collect()
    }

    /// From.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn from(&self) -> Result<NameAddr, Malformed> {
        let text = self.get(&HeaderName::From).ok_or(Malformed("Missing From"))?;
        NameAddr::parse(text).map_err(|_| Malformed("Bad From"))
    }

    /// To.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn to(&self) -> Result<NameAddr, Malformed> {
        let text = self.get(&HeaderName::To).ok_or(Malformed("Missing To"))?;
        NameAddr::parse(text).map_err(|_| Malformed("Bad To"))
    }

    /// Call-ID.
    ///
    /// # Errors
    /// Missing, empty or with a space in it.
    pub fn call_id(&self) -> Result<&str, Malformed> {
        let id = self.get(&HeaderName::CallId).ok_or(Malformed("Missing Call-ID"))?;
        let is_word = !id.is_empty() && id.bytes().all(|b| b > b' ' && b != 0x7f);
        if is_word { Ok(id) } else { Err(Malformed("Bad Call-ID")) }
    }

    /// CSeq.
    ///
    /// # Errors
    /// Missing or malformed.
    pub fn cseq(&self) -> Result<CSeq, Malformed> {
        CSeq::parse(self.get(&HeaderName::CSeq).ok_or(Malformed("Missing CSeq"))?)
    }

    /// Contacts; `*` is left out (it is no address).
    ///
    /// # Errors
    /// When one is malformed.
    pub fn contacts(&self) -> Result<Vec<NameAddr>, Malformed> {
        let list = self.list(&HeaderName::Contact)?;
        list.into_iter().filter(|c| *c != "*").map(NameAddr::parse).collect()
    }

    /// P-Asserted-Identity (RFC 3325 §9.1): who the peer says is calling; what cannot be read is left out.
    #[must_use]
    pub fn asserted(&self) -> Vec<NameAddr> {
        let list = self.list(&HeaderName::PAssertedIdentity).unwrap_or_default();
        list.into_iter().filter_map(|a| NameAddr::parse(a).ok()).collect()
    }

    /// Addresses of Route or Record-Route, in order.
    ///
    /// # Errors
    /// When one is malformed.
    pub fn routes(&self, name: &HeaderName) -> Result<Vec<NameAddr>, Malformed> {
        self.list(name)?.into_iter().map(NameAddr::parse).collect()
    }

    /// Max-Forwards; none when it is not there.
    ///
    /// # Errors
    /// No number, or above 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, Malformed> {
        let bad = Malformed("Bad Max-Forwards");
        let number = |t| parse_number(t).and_then(|n| u8::try_from(n).ok()).ok_or(bad);
        self.get(&HeaderName::MaxForwards).map(number).transpose()
    }

    /// Content-Type without parameters, in lower case.
    #[must_use]
    pub fn content_type(&self) -> Option<String> {
        let value = self.get(&HeaderName::ContentType)?;
        Some(trim(value.split(';').next().unwrap_or_default()).to_ascii_lowercase())
    }

    /// Expires, in seconds.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.get(&HeaderName::Expires).and_then(|t| trim(t).parse().ok())
    }

    /// Retry-After: seconds, before a comment and parameters (RFC 3261 §20.33).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let value = trim(self.get(&HeaderName::RetryAfter)?);
        let digits = value.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(|seconds: u32| Duration::from_secs(u64::from(seconds)))
    }

    /// Values of Reason that can be read.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason> {
        let list = self.list(&HeaderName::Reason).unwrap_or_default();
        list.into_iter().filter_map(|r| Reason::parse(r).ok()).collect()
    }

    /// Option tags or tokens of a list header (Require, Supported, Allow, …).
    #[must_use]
    pub fn tokens<'a>(&'a self, name: &HeaderName) -> Vec<&'a str> {
        self.list(name).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_via_of_wsinv_reads_through_its_spaces_rfc_4475_3_1_1_1() {
        let v = Via::parse("SIP  / 2.0  / TCP     spindle.example.com   ; branch  =   z9hG4bK9ikj8").unwrap();
        assert_eq!((v.transport.as_str(), v.branch()), ("TCP", Some("z9hG4bK9ikj8")));
        assert_eq!(v.to_string(), "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8");
    }

    #[test]
    fn a_via_notes_the_source_and_answers_go_there_rfc_3581_4() {
        let source: SocketAddr = "192.0.2.9:9988".parse().unwrap();
        let mut v = Via::parse("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff").unwrap();
        assert_eq!(v.response_address(source), source);
        v.note_source(source);
        assert_eq!(
            v.to_string(),
            "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.9"
        );
        let mut plain = Via::parse("SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa").unwrap();
        plain.note_source(source);
        assert_eq!(plain.to_string(), "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa");
        assert_eq!(plain.response_address(source).port(), 5060);
    }

    #[test]
    fn received_is_read_with_brackets_and_written_without_rfc_5118_4_5() {
        let mut v =
            Via::parse("SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3").unwrap();
        assert_eq!(v.received(), Some("2001:db8::9:255".parse().unwrap()));
        // what the sender wrote there is its own affair
        v.note_source("[2001:db8::7]:5060".parse().unwrap());
        assert_eq!(v.to_string(), "SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::7;branch=z9hG4bKas3");
    }

    #[test]
    fn a_branch_of_the_cookie_alone_is_none_rfc_4475_3_3_9() {
        assert_eq!(Via::parse("SIP/2.0/UDP h;branch=z9hG4bK").unwrap().rfc3261_branch(), None);
    }

    #[test]
    fn names_addresses_and_parameters_come_apart_rfc_3261_20_10() {
        let a = NameAddr::parse("\"J \\\\\\\"\" <sip:j@e.com;a=b>  ; tag = 98").unwrap();
        assert_eq!(a.display.as_deref(), Some("J \\\""));
        assert_eq!(a.tag(), Some("98"));
        assert_eq!(a.to_string(), "\"J \\\\\\\"\" <sip:j@e.com;a=b>;tag=98");
        let b = NameAddr::parse("sip:a@b;tag=1").unwrap();
        assert_eq!((b.tag(), b.uri.to_string().as_str()), (Some("1"), "sip:a@b"));
        let c = NameAddr::parse("caller<sip:caller@example.com>;tag=323").unwrap();
        assert_eq!(c.display.as_deref(), Some("caller"));
        let turned = NameAddr::parse("\"Bank \u{202e}gpj\u{2066}.\u{200f}txt\u{7}\" <sip:a@b>").unwrap();
        assert_eq!(
            turned.shown_name().as_deref(),
            Some("Bank gpj.txt"),
            "a name must not turn the text around it"
        );
        assert_eq!(NameAddr::parse("\u{202e}\u{200e} <sip:a@b>").unwrap().shown_name(), None);
        assert!(NameAddr::parse("Bell, A <sip:a@b>").is_err());
        assert!(NameAddr::parse("\"open <sip:a@b>").is_err());
    }

    #[test]
    fn a_sequence_number_stays_below_2_to_the_31_rfc_3261_8_1_1_5() {
        assert!(CSeq::parse("2147483647 INVITE").is_ok());
        assert!(CSeq::parse("2147483648 INVITE").is_err());
        assert!(CSeq::parse("+1 INVITE").is_err());
    }

    #[test]
    fn a_reason_says_its_q850_cause_rfc_3326_2() {
        let r = Reason::parse("Q.850 ;cause=16 ;text=\"Terminated\"").unwrap();
        assert_eq!((r.q850_cause(), r.text.as_deref()), (Some(16), Some("Terminated")));
        assert_eq!(Reason::q850(102, "media \"x\"").to_string(), "Q.850;cause=102;text=\"media \\\"x\\\"\"");
    }
}
