//! Keys of a telephone.

use std::fmt;

/// A DTMF key (ITU-T Q.23): `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digit(u8);

/// The keys in the order of their event codes (RFC 4733 §3.2).
const KEYS: [u8; 16] = *b"0123456789*#ABCD";

impl Digit {
    /// By its character; letters in any case.
    #[must_use]
    pub fn from_char(c: char) -> Option<Self> {
        let wanted = c.to_ascii_uppercase();
        (0..).zip(KEYS).find(|(_, key)| char::from(*key) == wanted).map(|(code, _)| Self(code))
    }

    /// By its event code, 0 to 15 (RFC 4733 §3.2); other events are no keys.
    #[must_use]
    pub const fn from_event(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// Its event code (RFC 4733 §3.2).
    #[must_use]
    pub const fn event(self) -> u8 {
        self.0
    }

    /// Its character.
    #[must_use]
    pub fn as_char(self) -> char {
        KEYS.get(usize::from(self.0)).map_or('?', |key| char::from(*key))
    }

    /// Its low and high tone in Hz (ITU-T Q.23).
    #[must_use]
    pub const fn tones(self) -> (u16, u16) {
        let low = match self.0 {
            1..=3 | 12 => 697,
            4..=6 | 13 => 770,
            7..=9 | 14 => 852,
            _ => 941,
        };
        let high = match self.0 {
            1 | 4 | 7 | 10 => 1_209,
            2 | 5 | 8 | 0 => 1_336,
            3 | 6 | 9 | 11 => 1_477,
            _ => 1_633,
        };
        (low, high)
    }
}

impl fmt::Display for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_char())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_by_character_and_by_event_and_has_the_tones_of_its_row_and_column() {
        for (code, c) in (0..).zip("0123456789*#ABCD".chars()) {
            let digit = Digit::from_char(c).unwrap();
            assert_eq!((digit.event(), digit.as_char(), Digit::from_event(code)), (code, c, Some(digit)));
        }
        assert_eq!(Digit::from_char('a'), Digit::from_char('A'));
        assert_eq!((Digit::from_char('x'), Digit::from_event(16)), (None, None));
        let rows = ["123A", "456B", "789C", "*0#D"];
        for (row, low) in rows.iter().zip([697, 770, 852, 941]) {
            for (key, high) in row.chars().zip([1_209, 1_336, 1_477, 1_633]) {
                assert_eq!(Digit::from_char(key).unwrap().tones(), (low, high), "{key}");
            }
        }
    }
}
