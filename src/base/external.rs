//! Our addresses as they are beyond a NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses that a NAT in front of us has in place of ours, at most one of each IP version. Ports are the same on both
/// sides of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct External {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// Addresses that are none of a NAT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExternalError {
    /// Nobody can send there from elsewhere.
    #[error(
        "nobody reaches {0} from beyond the NAT; write the address that the NAT has there, as \"203.0.113.7\""
    )]
    OutOfReach(IpAddr),
    /// Which of them is meant?
    #[error("{0} and {1} are of one IP version; write one IPv4 and one IPv6 address at most")]
    SameVersion(IpAddr, IpAddr),
}

impl External {
    /// These addresses.
    ///
    /// # Errors
    /// One that nobody can send to from elsewhere (unspecified, loopback, link-local, multicast, broadcast), and two of one
    /// IP version.
    pub fn new(addresses: &[IpAddr]) -> Result<Self, ExternalError> {
        let mut external = Self::default();
        for address in addresses.iter().map(IpAddr::to_canonical) {
            if !is_within_reach(address) {
                return Err(ExternalError::OutOfReach(address));
            }
            let before = match address {
                IpAddr::V4(ip) => external.v4.replace(ip).map(IpAddr::from),
                IpAddr::V6(ip) => external.v6.replace(ip).map(IpAddr::from),
            };
            if let Some(before) = before {
                return Err(ExternalError::SameVersion(before, address));
            }
        }
        Ok(external)
    }

    /// An address of ours as it is beyond the NAT: itself, where no NAT changes addresses of its IP version.
    #[must_use]
    pub fn of(&self, local: SocketAddr) -> SocketAddr {
        let ip = match local.ip() {
            IpAddr::V4(_) => self.v4.map(IpAddr::from),
            IpAddr::V6(_) => self.v6.map(IpAddr::from),
        };
        SocketAddr::new(ip.unwrap_or_else(|| local.ip()), local.port())
    }

    /// The addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::from).into_iter().chain(self.v6.map(IpAddr::from))
    }
}

/// Whether an address means one machine, also to who is on another link.
const fn is_within_reach(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified() || ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn external(texts: &[&str]) -> Result<External, ExternalError> {
        External::new(&texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>())
    }

    fn seen(external: External, local: &str) -> String {
        external.of(local.parse().unwrap()).to_string()
    }

    #[test]
    fn an_address_is_another_beyond_the_nat_and_its_port_the_same_in_each_ip_version_alone() {
        let both = external(&["203.0.113.7", "2001:db8::7"]).unwrap();
        assert_eq!(seen(both, "10.0.0.5:5080"), "203.0.113.7:5080");
        assert_eq!(seen(both, "[fd00::5]:40000"), "[2001:db8::7]:40000");
        let v4 = external(&["203.0.113.7"]).unwrap();
        assert_eq!(seen(v4, "[fd00::5]:5080"), "[fd00::5]:5080");
        assert_eq!(seen(External::default(), "10.0.0.5:5080"), "10.0.0.5:5080");
        assert_eq!(both.addresses().count(), 2);
    }

    #[test]
    fn what_nobody_reaches_from_elsewhere_and_two_of_a_kind_are_refused() {
        for bad in [
            "0.0.0.0",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(matches!(external(&[bad]), Err(ExternalError::OutOfReach(_))), "{bad}");
        }
        for two in [["203.0.113.7", "203.0.113.8"], ["2001:db8::1", "2001:db8::2"]] {
            assert!(matches!(external(&two), Err(ExternalError::SameVersion(..))), "{two:?}");
        }
        // a NAT behind another one has a private address, too
        assert!(external(&["192.168.1.1", "fd00::1"]).is_ok());
    }
}
