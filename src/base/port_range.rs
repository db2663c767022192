//! A range of UDP ports.

use std::fmt;
use std::str::FromStr;

/// Ports `first..=last`, at least one pair of an even and the next odd port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why a text is no port range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortRangeError {
    /// Not two numbers with a hyphen between.
    #[error("write two ports with a hyphen between, as 40000-49999")]
    Syntax,
    /// Below 1024, or the last before the first.
    #[error("ports must be 1024 to 65535 and the last not before the first")]
    Order,
    /// No even port with its odd successor inside.
    #[error("the range holds no even port with the odd one after it")]
    NoPair,
}

impl PortRange {
    /// A range, checked.
    ///
    /// # Errors
    /// When the bounds are out of order or hold no pair.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first < 1024 || last < first {
            return Err(PortRangeError::Order);
        }
        let even = if first.is_multiple_of(2) { first as u32 } else { first as u32 + 1 };
        if even + 1 > last as u32 {
            return Err(PortRangeError::NoPair);
        }
        Ok(Self { first, last })
    }

    /// First port.
    #[must_use]
    pub const fn first(self) -> u16 {
        self.first
    }

    /// Last port, included.
    #[must_use]
    pub const fn last(self) -> u16 {
        self.last
    }

    /// The even ports whose odd successor is in the range too (RFC 3550 §11), in order.
    pub fn pairs(self) -> impl Iterator<Item = u16> {
        let last = self.last;
        (self.first..self.last).filter(move |p| p.is_multiple_of(2) && *p < last)
    }
}

impl FromStr for PortRange {
    type Err = PortRangeError;

    fn from_str(s: &str) -> Result<Self, PortRangeError> {
        let (a, b) = s.split_once('-').ok_or(PortRangeError::Syntax)?;
        let port = |t: &str| t.trim().parse::<u16>().map_err(|_| PortRangeError::Syntax);
        Self::new(port(a)?, port(b)?)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_yields_even_ports_with_their_successor_inside() {
        let r: PortRange = "40001-40006".parse().unwrap();
        assert_eq!(r.pairs().collect::<Vec<_>>(), [40002, 40004]);
        let top: PortRange = "65534-65535".parse().unwrap();
        assert_eq!(top.pairs().collect::<Vec<_>>(), [65534]);
    }

    #[test]
    fn a_range_without_a_pair_or_out_of_order_is_refused() {
        assert_eq!("40001-40002".parse::<PortRange>(), Err(PortRangeError::NoPair));
        assert_eq!("40002-40001".parse::<PortRange>(), Err(PortRangeError::Order));
        assert_eq!("40000".parse::<PortRange>(), Err(PortRangeError::Syntax));
        assert_eq!("80-90000".parse::<PortRange>(), Err(PortRangeError::Syntax));
    }
}
