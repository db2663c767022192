//! Identities that cannot be mixed up.

use std::fmt;
use std::str::FromStr;

/// A bridged conversation. 128 random bits, written as 32 upper-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(u128);

impl CallId {
    /// The call with these bits; the id source is a [`crate::base::Seed`].
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032X}", self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no [`CallId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a call id: 32 hex digits expected")]
pub struct CallIdError;

impl FromStr for CallId {
    type Err = CallIdError;

    fn from_str(s: &str) -> Result<Self, CallIdError> {
        if s.len() != 32 || !s.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(CallIdError);
        }
        u128::from_str_radix(s, 16).map(Self).map_err(|_| CallIdError)
    }
}

/// One party's side of a call; unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "L{}", self.0)
    }
}

/// One media transport of a leg on its worker; unique in the process. A leg whose browser is replaced has
/// two for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_is_written_and_read_as_32_upper_case_hex_digits() {
        let id = CallId::from_bits(0xB2C1);
        assert_eq!(id.to_string(), "0000000000000000000000000000B2C1");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("+".repeat(32).parse::<CallId>(), Err(CallIdError));
        assert_eq!("".parse::<CallId>(), Err(CallIdError));
    }
}
