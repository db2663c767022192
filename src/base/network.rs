//! Networks of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with a prefix length: `192.0.2.0/24`, `2001:db8::/32`, or one address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "write an address or a network, as 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32, with no bits set behind the prefix"
)]
pub struct NetworkError;

impl Network {
    /// The network of one address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Self { address, prefix }
    }

    /// The network with a prefix of this length, in bits, that an address is in; one that is longer than the address
    /// means the address alone.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        let prefix = prefix.min(Self::of(address).prefix);
        let behind = |width: u8| u32::from(width.saturating_sub(prefix));
        let address = match address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(behind(32)).unwrap_or(0);
                IpAddr::from(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(behind(128)).unwrap_or(0);
                IpAddr::from(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { address, prefix }
    }

    /// Whether an address is in it. An IPv4 address that came over an IPv6 socket counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let masked = |ip| self.masked(ip);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(_), ip @ IpAddr::V4(_)) | (IpAddr::V6(_), ip @ IpAddr::V6(_)) => {
                masked(ip) == masked(self.address)
            }
            _ => false,
        }
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The leading bits of an address of this family.
    fn masked(&self, ip: IpAddr) -> u128 {
        let (bits, width) = match ip {
            IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
            IpAddr::V6(ip) => (ip.to_bits(), 128),
        };
        bits.checked_shr(width - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| NetworkError)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let whole = Self::of(address);
        let network = Self { address, prefix: prefix.unwrap_or(whole.prefix) };
        let is_exact = network.prefix <= whole.prefix && {
            let width = u32::from(whole.prefix) - u32::from(network.prefix);
            let bits = whole.masked(address);
            network.masked(address).checked_shl(width).unwrap_or(0) == bits
        };
        if is_exact { Ok(network) } else { Err(NetworkError) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_in_both_families_and_no_others() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(!network("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(network("2001:db8::/32").contains(ip("2001:db8:ffff::1")));
        assert!(!network("2001:db8::/32").contains(ip("2001:db9::1")));
        assert!(network("0.0.0.0/0").contains(ip("203.0.113.9")) && network("::/0").contains(ip("::1")));
        assert!(!network("::/0").contains(ip("203.0.113.9")));
        assert!(network("127.0.0.1").contains(ip("::ffff:127.0.0.1")));
        assert!(network("10.0.0.0/8").overlaps(&network("10.1.0.0/16")));
        assert!(!network("10.0.0.0/16").overlaps(&network("10.1.0.0/16")));
    }

    #[test]
    fn a_network_around_an_address_has_no_bits_behind_its_prefix() {
        for (address, prefix, expected) in [
            ("192.0.2.77", 24, "192.0.2.0/24"),
            ("192.0.2.77", 32, "192.0.2.77/32"),
            ("192.0.2.77", 33, "192.0.2.77/32"),
            ("192.0.2.77", 0, "0.0.0.0/0"),
            ("2001:db8::1:2", 64, "2001:db8::/64"),
            ("2001:db8::2", 128, "2001:db8::2/128"),
            ("2001:db8::2", 0, "::/0"),
        ] {
            assert_eq!(Network::around(address.parse().unwrap(), prefix), network(expected), "{address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["", "a", "192.0.2.7/24", "192.0.2.0/33", "192.0.2.0/", "::1/129", "::1/0", "1.2.3/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert_eq!(network("192.0.2.7").to_string(), "192.0.2.7/32");
    }
}
