//! SIP and SIPS URIs (RFC 3261 §19.1), IPv6 references (RFC 5118) and any other scheme kept whole (tel:,
//! RFC 3966). The user part stays as it came, escapes included; [`SipUri::user_text`] decodes it.

use super::flow::Transport;
use super::lex::{Malformed, Params, cut, percent_decode, percent_encode, trim};
use compact_str::CompactString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host: a name or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name; compared without case.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl Host {
    /// Parses `example.com`, `192.0.2.1`, `[2001:db8::1]`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("Bad Host");
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(bad)?;
            return parse_ipv6(inner).map(|ip| Self::Ip(ip.into())).ok_or(bad);
        }
        if let Ok(ip) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(ip.into()));
        }
        let is_name = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if is_name { Ok(Self::Name(text.to_owned())) } else { Err(bad) }
    }

    /// Splits `host[:port]`.
    pub(super) fn parse_with_port(text: &str) -> Result<(Self, Option<u16>), Malformed> {
        let colon = match text.strip_prefix('[') {
            Some(_) => text.rfind(']').and_then(|end| Some(end + text.get(end..)?.find(':')?)),
            None => text.bytes().position(|b| b == b':'),
        };
        let Some((host, port)) = colon.and_then(|c| text.split_at_checked(c)) else {
            return Ok((Self::parse(text)?, None));
        };
        let digits = trim(port.trim_start_matches(':'));
        let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
        let port = port.ok_or(Malformed("Bad Port"))?;
        Ok((Self::parse(trim(host))?, Some(port)))
    }

    /// The address, when it is one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }

    /// Equal, names without case (RFC 3261 §19.1.4).
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a == b,
        }
    }
}

/// An IPv6 address. The grammar of RFC 3261 has a third colon before an IPv4 address at the end, which RFC 5118
/// §4.10 has us ignore.
fn parse_ipv6(text: &str) -> Option<Ipv6Addr> {
    let with_ipv4 = |(front, ipv4): (&str, &str)| {
        ipv4.parse::<Ipv4Addr>().ok().and_then(|ipv4| format!("{front}::{ipv4}").parse().ok())
    };
    text.parse().ok().or_else(|| text.split_once(":::").and_then(with_ipv4))
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}

/// As an IPv4 address prints itself, without the padding that it makes room for: a call prints some forty.
fn print_ipv4(ip: Ipv4Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [first, rest @ ..] = ip.octets();
    let mut digits = itoa::Buffer::new();
    f.write_str(digits.format(first))?;
    rest.into_iter().try_for_each(|octet| {
        f.write_str(".")?;
        f.write_str(digits.format(octet))
    })
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => print_ipv4(*ip, f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// `host[:port]`.
pub(super) fn print_place(host: &Host, port: Option<u16>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Display::fmt(host, f)?;
    port.into_iter().try_for_each(|port| {
        f.write_str(":")?;
        f.write_str(itoa::Buffer::new().format(port))
    })
}

/// A SIP or SIPS URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri {
    /// `sips:`
    pub is_secure: bool,
    user: Option<CompactString>,
    password: Option<CompactString>,
    /// Host.
    pub host: Host,
    /// Port, when written.
    pub port: Option<u16>,
    /// Parameters (`transport`, `lr`, …).
    pub params: Params,
    headers: Option<String>,
}

/// Characters of a user part that need no escape (RFC 3261 §25.1 `user`).
const fn is_user_byte(b: u8) -> bool {
    is_unreserved(b) || matches!(b, b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/')
}

const fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

impl SipUri {
    /// A `sip:` URI; the user is escaped where it must be.
    #[must_use]
    pub fn new(user: Option<&str>, host: Host, port: Option<u16>) -> Self {
        // `;` and `?` are legal in a user part and confuse enough parsers to be worth an escape
        let user = user.filter(|u| !u.is_empty());
        let user = user.map(|u| percent_encode(u, |b| is_user_byte(b) && !matches!(b, b';' | b'?')).into());
        Self { is_secure: false, user, password: None, host, port, params: Params::default(), headers: None }
    }

    /// A `sip:` URI of a socket address.
    #[must_use]
    pub fn of_address(user: Option<&str>, address: SocketAddr) -> Self {
        Self::new(user, address.ip().into(), Some(address.port()))
    }

    /// The same with the transport that reaches it. UDP is what a URI means that says nothing (RFC 3263 §4.1).
    #[must_use]
    pub fn by(mut self, transport: Transport) -> Self {
        if transport != Transport::Udp {
            self.params.set("transport", Some(&transport.as_str().to_ascii_lowercase()));
        }
        self
    }

    /// The same with TLS on every hop: `sips:`.
    #[must_use]
    pub const fn into_sips(mut self) -> Self {
        self.is_secure = true;
        self
    }

    /// Whether it is reached by TLS: `sips:` (RFC 3261 §26.2.2), or by its `transport`.
    #[must_use]
    pub fn is_by_tls(&self) -> bool {
        self.is_secure || self.param("transport").flatten().is_some_and(|t| t.eq_ignore_ascii_case("tls"))
    }

    /// The same place for another user; password and headers stay behind.
    #[must_use]
    pub fn with_user(&self, user: &str) -> Self {
        let place = Self::new(Some(user), self.host.clone(), self.port);
        Self { is_secure: self.is_secure, params: self.params.clone(), ..place }
    }

    /// The user part as written.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user part with escapes decoded once; of a telephone (`user=phone`) its number (RFC 3261 §19.1.6). What looks like
    /// a number and has parameters, as `030123;cpc=ordinary`, is one without them: gateways leave `user=phone` out.
    #[must_use]
    pub fn user_text(&self) -> Option<String> {
        let user = self.user.as_deref()?;
        let is_phone = self.param("user").flatten().is_some_and(|u| u.eq_ignore_ascii_case("phone"));
        Some(match user.split_once(';') {
            _ if is_phone => subscriber(user),
            // RFC 3966 §3: parameters of the number
            Some((number, _)) if is_number(number) => percent_decode(number),
            _ => percent_decode(user),
        })
    }

    /// A parameter by its name, escapes of name and value decoded once (RFC 3261 §19.1.4): `Some(None)` when it
    /// has no value.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<Option<String>> {
        let is_it = |written: &str| match written.contains('%') {
            true => percent_decode(written).eq_ignore_ascii_case(name),
            false => written.eq_ignore_ascii_case(name),
        };
        let found = self.params.iter().find(|p| is_it(&p.name))?;
        Some(found.value.as_deref().map(percent_decode))
    }

    /// The headers part (`?…`) as written; never taken into a request.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        self.headers.as_deref()
    }

    /// A header of that part by its name, escapes decoded once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let all = self.headers.as_deref()?.split('&').filter_map(|h| h.split_once('='));
        all.into_iter()
            .find(|(n, _)| percent_decode(n).eq_ignore_ascii_case(name))
            .map(|(_, value)| percent_decode(value))
    }

    /// The same without headers and without what is not allowed in a Request-URI (RFC 3261 §19.1.1).
    #[must_use]
    pub fn as_request_uri(&self) -> Self {
        let mut uri = self.clone();
        uri.headers = None;
        uri.params.remove("method");
        uri
    }

    /// Whether both name the same resource (RFC 3261 §19.1.4). Not transitive: a parameter that one of them lacks
    /// is no difference, so this is no `Eq`.
    #[must_use]
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let part = |text: &Option<CompactString>| text.as_deref().map(percent_decode);
        self.is_secure == other.is_secure
            && part(&self.user) == part(&other.user)
            && part(&self.password) == part(&other.password)
            && self.host.is_same(&other.host)
            && self.port == other.port
            && self.has_params_like(other)
            && other.has_params_like(self)
            && self.sorted_headers() == other.sorted_headers()
    }

    /// Whether each of our parameters is the other's too, or is one that may be missing there.
    fn has_params_like(&self, other: &Self) -> bool {
        self.params.iter().all(|p| {
            let name = percent_decode(&p.name).to_ascii_lowercase();
            match other.param(&name) {
                Some(value) => {
                    let ours = p.value.as_deref().map(percent_decode).unwrap_or_default();
                    ours.eq_ignore_ascii_case(&value.unwrap_or_default())
                }
                // the rules name the first four; the examples of that section have the transport with them
                None => !["user", "ttl", "method", "maddr", "transport"].contains(&name.as_str()),
            }
        })
    }

    /// Headers in an order of ours: theirs means nothing.
    fn sorted_headers(&self) -> Vec<(String, String)> {
        let all = self.headers.as_deref().unwrap_or_default().split('&').filter(|h| !h.is_empty());
        let mut all: Vec<_> = all
            .map(|h| h.split_once('=').unwrap_or((h, "")))
            .map(|(name, value)| (percent_decode(name).to_ascii_lowercase(), percent_decode(value)))
            .collect();
        all.sort_unstable();
        all
    }

    fn parse(rest: &str, is_secure: bool) -> Result<Self, Malformed> {
        let bad = Malformed("Bad URI");
        let (userinfo, rest) = match cut(rest, b'@') {
            Some((u, r)) => (Some(u), r),
            None => (None, rest),
        };
        let (user, password) = match userinfo.map(|u| cut(u, b':').map_or((u, None), |(u, p)| (u, Some(p)))) {
            Some((u, p)) => (Some(u), p),
            None => (None, None),
        };
        if user.is_some_and(str::is_empty) {
            return Err(bad);
        }
        let (rest, headers) = match cut(rest, b'?') {
            Some((r, h)) => (r, Some(h.to_owned())),
            None => (rest, None),
        };
        let (hostport, params) = cut(rest, b';').unwrap_or((rest, ""));
        let (host, port) = Host::parse_with_port(hostport).map_err(|_| bad)?;
        Ok(Self {
            is_secure,
            user: user.map(Into::into),
            password: password.map(Into::into),
            host,
            port,
            params: Params::parse_uri(params),
            headers,
        })
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            f.write_str(user)?;
            if let Some(password) = &self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        print_place(&self.host, self.port, f)?;
        fmt::Display::fmt(&self.params, f)?;
        self.headers.as_ref().map_or(Ok(()), |h| write!(f, "?{h}"))
    }
}

/// The number of a telephone-subscriber without parameters and visual separators (RFC 3966 §5.1.1); what is no number
/// is a name and keeps its signs.
fn subscriber(text: &str) -> String {
    let user = percent_decode(text.split(';').next().unwrap_or_default());
    let number: String = user.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect();
    let is_digit = |c: char| c.is_ascii_hexdigit() || matches!(c, '+' | '*' | '#');
    if !number.is_empty() && number.chars().all(is_digit) { number } else { user }
}

/// Whether it looks like a telephone number (RFC 3966 §3): digits, separators, keys, and a plus in front.
fn is_number(text: &str) -> bool {
    let number = text.strip_prefix('+').unwrap_or(text);
    let is_sign = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'(' | b')' | b'*' | b'#');
    number.bytes().any(|b| b.is_ascii_digit()) && number.bytes().all(is_sign)
}

/// A URI of any scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uri {
    /// `sip:` or `sips:`
    Sip(Box<SipUri>),
    /// Any other, kept whole.
    Other {
        /// Scheme, as written.
        scheme: String,
        /// All after the colon.
        rest: String,
    },
}

impl Uri {
    /// Parses an absolute URI. It never holds a space, a control character, a quote or an angle bracket.
    ///
    /// # Errors
    /// What is no URI.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let bad = Malformed("Bad URI");
        let is_clean = |b: u8| b > b' ' && b != 0x7f && !matches!(b, b'<' | b'>' | b'"');
        if !text.bytes().all(is_clean) {
            return Err(bad);
        }
        let (scheme, rest) = cut(text, b':').ok_or(bad)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !is_scheme || rest.is_empty() {
            return Err(bad);
        }
        if scheme.eq_ignore_ascii_case("sip") {
            return Ok(Self::Sip(Box::new(SipUri::parse(rest, false)?)));
        }
        if scheme.eq_ignore_ascii_case("sips") {
            return Ok(Self::Sip(Box::new(SipUri::parse(rest, true)?)));
        }
        Ok(Self::Other { scheme: scheme.to_owned(), rest: rest.to_owned() })
    }

    /// The SIP URI, when it is one.
    #[must_use]
    pub fn sip(&self) -> Option<&SipUri> {
        match self {
            Self::Sip(uri) => Some(uri),
            Self::Other { .. } => None,
        }
    }

    /// Whom it names: the user of a SIP URI, the number of a tel: URI (parameters and visual separators off).
    #[must_use]
    pub fn user_text(&self) -> Option<String> {
        match self {
            Self::Sip(uri) => uri.user_text(),
            Self::Other { scheme, rest } if scheme.eq_ignore_ascii_case("tel") => {
                let number = rest.split(';').next().unwrap_or_default();
                Some(number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')')).collect())
            }
            Self::Other { .. } => None,
        }
    }
}

impl From<SipUri> for Uri {
    fn from(uri: SipUri) -> Self {
        Self::Sip(Box::new(uri))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(uri) => fmt::Display::fmt(uri, f),
            Self::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_print_as_they_came_rfc_3261_19_1() {
        for text in [
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
            "sip:a.b.c@[2001:db8::9:1]:5080;lr",
            "tel:+1-201-555-0123;phone-context=example.com",
            "urn:service:sos",
        ] {
            assert_eq!(Uri::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_third_colon_is_ignored_before_an_ipv4_address_alone_rfc_5118_4_10() {
        let host = |text| Host::parse(text).map(|h| h.to_string());
        assert_eq!(host("[2001:db8:::192.0.2.1]"), host("[2001:db8::192.0.2.1]"));
        assert_eq!(host("[:::192.0.2.1]"), Ok("[::c000:201]".into()));
        for text in
            ["[2001:db8:::1]", "[2001:::192.0.2.1:1]", "[1::2:::192.0.2.1]", "[:::]", "[::::192.0.2.1]"]
        {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_built_user_part_is_escaped_and_reads_back() {
        let uri = SipUri::new(Some("a b@c;d\r\n"), Host::parse("h").unwrap(), None);
        assert_eq!(uri.to_string(), "sip:a%20b%40c%3Bd%0D%0A@h");
        let back = Uri::parse(&uri.to_string()).unwrap();
        assert_eq!(back.user_text().as_deref(), Some("a b@c;d\r\n"));
    }

    #[test]
    fn uris_are_equivalent_as_the_examples_say_rfc_3261_19_1_4() {
        let is_same = |a: &str, b: &str| {
            let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
            let (a, b) = (a.sip().unwrap(), b.sip().unwrap());
            assert_eq!(a.is_equivalent(b), b.is_equivalent(a), "{a} {b}");
            a.is_equivalent(b)
        };
        for (a, b) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(is_same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;maddr=192.0.2.1"),
            ("sip:carol@chicago.com", "sips:carol@chicago.com"),
        ] {
            assert!(!is_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn what_is_no_uri_is_refused() {
        for text in ["", "sip:", "alice", "sip:@h", "sip:a b@h", "sip:h:99999", "sip:[::1", "sip:<h>", "1a:x"]
        {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_user_of_a_telephone_is_its_number_without_parameters_and_separators_rfc_3261_19_1_6() {
        let user = |text: &str| Uri::parse(text).unwrap().user_text().unwrap();
        for text in [
            "sip:+1-201-555-0123;npdi;rn=+1-201-555-0000@gateway.com;user=phone",
            "sip:+1(201)555.0123@gateway.com;user=phone",
            "sip:+12015550123;ext=5@gateway.com;transport=tcp;USER=Phone",
            "tel:+1-201-555-0123;npdi;rn=+1-201-555-0000",
        ] {
            assert_eq!(user(text), "+12015550123", "{text}");
        }
        assert_eq!(user("sip:*98%23;phone-context=example.com@gateway.com;user=phone"), "*98#");
        // what is no telephone keeps its dots, and its parameters are part of the name
        assert_eq!(user("sip:anna-b.c@h;user=phone"), "anna-b.c");
        assert_eq!(user("sip:anna;day=1@h;user=phone"), "anna");
        assert_eq!(user("sip:anna;day=1@h"), "anna;day=1");
        assert_eq!(user("sip:;x=1@h"), ";x=1");
        assert_eq!(user("sip:+;x=1@h"), "+;x=1");
    }

    #[test]
    fn a_number_is_one_without_its_parameters_though_user_phone_is_left_out_rfc_3966_3() {
        let user = |text: &str| Uri::parse(text).unwrap().user_text().unwrap();
        for text in [
            "sip:030123;isup-oli=0@x",
            "sip:030123;cpc=ordinary@x;user=ip",
            "sip:030123;tgrp=a;trunk-context=b@x",
            "sip:030123;phone-context=+49@x;transport=tcp",
        ] {
            assert_eq!(user(text), "030123", "{text}");
        }
        assert_eq!(user("sip:+49-30;npdi@x"), "+49-30");
        assert_eq!(user("sip:*21*;npdi@x"), "*21*");
    }

    #[test]
    fn a_tel_uri_yields_its_number_rfc_3966_5_1_1() {
        let uri = Uri::parse("tel:+1(201)555-0123;isub=1").unwrap();
        assert_eq!(uri.user_text().as_deref(), Some("+12015550123"));
    }
}
