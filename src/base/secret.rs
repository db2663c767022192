//! Values that must not show.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password, token or key: never printed, wiped when dropped, compared in constant time.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, to be used and not kept.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Equal, in time that depends on the lengths alone.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.expose())
    }
}

impl Eq for Secret {}

impl<'de> serde::Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret text in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
        }
        d.deserialize_string(Text)
    }
}

static MASK: AtomicBool = AtomicBool::new(false);

/// Whether [`Pii`] prints masked from now on (`log.mask`).
pub fn set_pii_mask(on: bool) {
    MASK.store(on, Ordering::Relaxed);
}

/// A number or name of a person in a log: plain unless `log.mask` is set, then all but the last two
/// characters are hidden.
pub struct Pii<'a>(pub &'a str);

impl fmt::Display for Pii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = crate::base::Excerpt(self.0);
        if !MASK.load(Ordering::Relaxed) {
            return fmt::Display::fmt(&shown, f);
        }
        let tail: Vec<char> = self.0.chars().rev().take(2).collect();
        f.write_str("…")?;
        if self.0.chars().count() > 4 {
            tail.iter().rev().try_for_each(|c| write!(f, "{}", c.escape_debug()))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "(secret)");
        assert!(Secret::new("a").matches("a") && !Secret::new("a").matches("ab"));
    }
}
