//! An HTTP client for addresses that somebody else chose (webhooks): it goes to public addresses only, unless the
//! configuration says otherwise, and follows nobody's redirect. Otherwise who may name an address could make
//! sipedge ask what only this machine may ask (server-side request forgery).
//!
//! [`Url`] is judged when it is written, every address of its name again when it is used: a name may change, and so may
//! the addresses of this machine. Those are a parameter here; [`io`] asks for them each time.
//!
//! Left out: an address of ours that is no interface's, as the one a NAT before this machine has.

pub mod io;

use crate::base::{Excerpt, Fault, Network, Section};
use hyper::Uri;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL.
const MAX_URL: usize = 2_048;

/// `[webhook]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientConfig {
    may_be_private: bool,
}

#[derive(Deserialize)]
struct Raw {
    allow_private: Option<bool>,
}

impl ClientConfig {
    /// Reads the section.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn read(section: &Section) -> Result<Self, Vec<Fault>> {
        let (raw, faults): (Raw, _) = section.read(&["allow_private"])?;
        let may_be_private = raw.allow_private.unwrap_or(false); // what can be reached from here is nobody's business
        if faults.is_empty() { Ok(Self { may_be_private }) } else { Err(faults) }
    }

    /// Whether this address may be asked by a machine that is in the networks `ours`.
    #[must_use]
    pub fn allows(self, ip: IpAddr, ours: &[Network]) -> bool {
        match Reach::of(ip, ours) {
            Reach::Public => true,
            Reach::Private => self.may_be_private,
            Reach::Never => false,
        }
    }
}

/// Who can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Everybody.
    Public,
    /// This machine or its network.
    Private,
    /// No web server is there: link-local ones (a cloud's metadata service among them), multicast, none at all.
    Never,
}

impl Reach {
    /// `ours`: the networks that this machine is in. By its addresses it asks itself, and its neighbours may be
    /// behind a firewall that it is behind, too.
    fn of(ip: IpAddr, ours: &[Network]) -> Self {
        let meant = meant(ip);
        let by_range = match meant {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        };
        let is_ours = || ours.iter().any(|network| network.contains(meant) || network.contains(ip));
        if by_range == Self::Public && is_ours() { Self::Private } else { by_range }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [0, ..] | [169, 254, ..] | [224..=255, ..] => Self::Never,
            [10 | 127, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [100, 64..=127, ..] // RFC 6598
            | [198, 18 | 19, ..] // RFC 2544
            | [192, 0, 0, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            _ if ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() => Self::Never,
            _ if ip.is_loopback() || ip.is_unique_local() => Self::Private,
            [0x64, 0xff9b, 1, ..] => Self::Private, // RFC 8215
            [0x2001, 0, ..] => Self::Never,         // Teredo (RFC 4380)
            _ => Self::Public,
        }
    }
}

/// The address that is asked by another: an IPv4 address inside of an IPv6 one, which is mapped or of NAT64 (RFC 6052),
/// 6to4 (RFC 3056) or the old "compatible" form.
fn meant(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    match v6.segments() {
        _ if v6.is_unspecified() || v6.is_loopback() => IpAddr::V6(v6),
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] | [0x2002, a, b, ..] | [0, 0, 0, 0, 0, 0, a, b] => {
            Ipv4Addr::from_bits((u32::from(a) << 16) | u32::from(b)).into()
        }
        _ => IpAddr::V6(v6),
    }
}

/// Why a URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It is none, or too long, or carries a password.
    #[error("`{0}` is no URL; write https://HOST/PATH, without a user, of 2048 characters at most")]
    Unreadable(String),
    /// It has letters that a URL cannot have (RFC 3986 §2), as the name of a server in another script.
    #[error(
        "`{0}` has letters beyond ASCII; write the server's name in punycode (xn--…, RFC 5891), and others in a path as %XX"
    )]
    Foreign(String),
    /// Its port is none.
    #[error("`{0}` names no port that there is; write one from 1 to 65535, or leave it out")]
    Port(String),
    /// It names an address that is not asked.
    #[error(
        "{0} is an address of this machine or its networks; set webhook.allow_private = true if it shall be reached"
    )]
    Private(IpAddr),
    /// It names an address that is never asked.
    #[error("{0} is an address that no web server has")]
    NoServer(IpAddr),
}

/// Where a request goes: `http` or `https`, a host, a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    is_secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Url {
    /// Reads a URL, and judges the address that it names if it names one and no name: for a machine that is in the
    /// networks `ours`. Whoever reads a configuration need not know them; they are asked for when the URL is used.
    ///
    /// # Errors
    /// [`UrlError`], with the remedy.
    pub fn parse(text: &str, config: ClientConfig, ours: &[Network]) -> Result<Self, UrlError> {
        let unreadable = || UrlError::Unreadable(Excerpt(text).to_string());
        if text.len() > MAX_URL {
            return Err(unreadable());
        }
        if !text.is_ascii() {
            return Err(UrlError::Foreign(Excerpt(text).to_string()));
        }
        let uri: Uri = text.parse().map_err(|_| unreadable())?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(unreadable()),
        };
        let authority = uri.authority().filter(|a| !a.as_str().contains('@')).ok_or_else(unreadable)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(unreadable());
        }
        // what is no number of 16 bits is no port to the reader, and would be passed over
        let written =
            authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        if written.is_some_and(|port| !port.is_empty() && !port.parse::<u16>().is_ok_and(|port| port > 0)) {
            return Err(UrlError::Port(Excerpt(text).to_string()));
        }
        if let Ok(ip) = host.parse::<IpAddr>()
            && !config.allows(ip, ours)
        {
            let is_private = Reach::of(ip, ours) == Reach::Private;
            return Err(if is_private { UrlError::Private(ip) } else { UrlError::NoServer(ip) });
        }
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        Ok(Self { text: text.to_owned(), is_secure, host, port, path })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, for logs: a path may hold what is secret.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Value of the Host header (RFC 9110 §7.2).
    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAREFUL: ClientConfig = ClientConfig { may_be_private: false };
    const LOCAL: ClientConfig = ClientConfig { may_be_private: true };

    #[test]
    fn only_http_and_https_without_a_user_are_urls() {
        let url = Url::parse("https://hooks.example:8443/a/b?c=d", CAREFUL, &[]).unwrap();
        assert_eq!((url.host(), url.port, url.path.as_str()), ("hooks.example", 8443, "/a/b?c=d"));
        assert_eq!(url.authority(), "hooks.example:8443");
        let plain = Url::parse("http://[2001:db8::1]", CAREFUL, &[]).unwrap();
        assert_eq!((plain.authority().as_str(), plain.path.as_str()), ("[2001:db8::1]", "/"));
        for bad in ["", "hooks.example", "ftp://a/", "file:///etc/passwd", "https://u:p@a/", "https:///x"] {
            assert!(matches!(Url::parse(bad, LOCAL, &[]), Err(UrlError::Unreadable(_))), "{bad}");
        }
        for bad in ["http://a:0/", "http://127.0.0.1:99999/", "http://[::1]:65536"] {
            assert!(matches!(Url::parse(bad, LOCAL, &[]), Err(UrlError::Port(_))), "{bad}");
        }
        assert_eq!(
            Url::parse("http://[::1]:/", LOCAL, &[]).unwrap().port,
            80,
            "RFC 3986 §3.2.3: an empty port is the default"
        );
        let foreign = Url::parse("http://例え.jp/", LOCAL, &[]).unwrap_err().to_string();
        assert!(foreign.contains("punycode (xn--"), "{foreign}");
        assert!(Url::parse(&format!("https://a/{}", "x".repeat(3_000)), LOCAL, &[]).is_err());
    }

    #[test]
    fn an_address_of_this_network_is_refused_in_every_spelling_unless_configured() {
        for inside in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ] {
            let url = format!("http://{inside}/");
            let refused = Url::parse(&url, CAREFUL, &[]).unwrap_err();
            assert!(refused.to_string().contains("webhook.allow_private = true"), "{url}: {refused}");
            assert!(Url::parse(&url, LOCAL, &[]).is_ok(), "{url}");
        }
        for never in
            ["169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "[fe80::1]", "[::]", "[ff02::1]"]
        {
            assert!(
                matches!(Url::parse(&format!("http://{never}/"), LOCAL, &[]), Err(UrlError::NoServer(_))),
                "{never}"
            );
        }
        assert!(Url::parse("http://192.0.2.1/", CAREFUL, &[]).is_ok());
    }

    #[test]
    fn a_public_address_of_this_machine_or_its_networks_is_refused_unless_configured() {
        let ours: Vec<Network> =
            ["203.0.113.0/24", "198.51.100.7", "2001:db8:1::/64"].map(|n| n.parse().unwrap()).into();
        for inside in [
            "203.0.113.1",
            "203.0.113.255",
            "198.51.100.7",
            "[2001:db8:1::1]",
            "[::ffff:203.0.113.1]",
            "[64:ff9b::203.0.113.1]",
            "[2002:cb00:7101::1]",
        ] {
            let url = format!("http://{inside}:9999/a");
            let refused = Url::parse(&url, CAREFUL, &ours).unwrap_err();
            assert!(matches!(refused, UrlError::Private(_)), "{url}: {refused}");
            assert!(refused.to_string().contains("webhook.allow_private = true"), "{url}: {refused}");
            assert!(Url::parse(&url, LOCAL, &ours).is_ok(), "{url}");
            assert!(Url::parse(&url, CAREFUL, &[]).is_ok(), "{url} is public elsewhere");
        }
        for outside in ["203.0.112.255", "198.51.100.8", "[2001:db8:2::1]", "[64:ff9b::198.51.100.8]"] {
            assert!(Url::parse(&format!("http://{outside}/"), CAREFUL, &ours).is_ok(), "{outside}");
        }
        let everywhere: Vec<Network> = vec!["0.0.0.0/0".parse().unwrap()];
        for never in ["169.254.169.254", "0.0.0.0", "255.255.255.255"] {
            let refused = Url::parse(&format!("http://{never}/"), LOCAL, &everywhere).unwrap_err();
            assert!(matches!(refused, UrlError::NoServer(_)), "{never}: {refused}");
        }
    }
}
