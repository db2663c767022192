//! Patterns of numbers in routes.

use std::fmt;
use std::str::FromStr;

/// A number pattern: `?` stands for one character, `*` for any run of them, everything else for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// A pattern that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number, with ? for one character and * for any run of them, at most 64 characters")]
pub struct PatternError;

impl Pattern {
    /// Whether a number fits.
    #[must_use]
    pub fn matches(&self, number: &str) -> bool {
        // the usual two-pointer walk: on a mismatch go back to the last star and let it take one more
        let (pattern, text) = (self.0.as_bytes(), number.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match (pattern.get(p), text.get(t)) {
                (Some(b'*'), _) => {
                    star = Some((p, t));
                    p += 1;
                }
                (Some(b'?'), Some(_)) => {
                    p += 1;
                    t += 1;
                }
                (Some(a), Some(b)) if a == b => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, taken)) => {
                        p = at + 1;
                        t = taken + 1;
                        star = Some((at, taken + 1));
                    }
                    None => return false,
                },
            }
        }
        pattern.get(p..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(s: &str) -> Result<Self, PatternError> {
        let is_fit = (1..=64).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic());
        if is_fit { Ok(Self(s.to_owned())) } else { Err(PatternError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_they_do_for_file_names() {
        let matches = |p: &str, n: &str| p.parse::<Pattern>().unwrap().matches(n);
        assert!(matches("*", "600") && matches("*", ""));
        assert!(matches("6??", "600") && !matches("6??", "60") && !matches("6??", "6000"));
        assert!(matches("+49*1", "+49301") && !matches("+49*1", "+49302"));
        assert!(matches("*0*0*", "00") && !matches("*0*0*", "0"));
        assert!(!matches("600", "6000") && !matches("600", ""));
        assert_eq!("".parse::<Pattern>(), Err(PatternError));
        assert_eq!("6 0".parse::<Pattern>(), Err(PatternError));
    }

    #[test]
    fn a_hostile_number_costs_no_more_than_its_length_times_the_pattern() {
        let pattern: Pattern = format!("{}b", "*a".repeat(31)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
