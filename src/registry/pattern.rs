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
        self.captures(number).is_some()
    }

    /// A number written anew: each `*` and `?` of `template` stands for what the one of its kind, in the same order, took
    /// of the number. None where the number does not fit.
    #[must_use]
    pub fn rewrite(&self, number: &str, template: &Self) -> Option<String> {
        let taken = self.captures(number)?;
        let of_kind =
            |kind: u8| taken.iter().filter(move |t| t.kind == kind).map(|t| number.get(t.from..t.to));
        let (mut runs, mut ones) = (of_kind(b'*'), of_kind(b'?'));
        let mut text = String::new();
        for byte in template.0.bytes() {
            match byte {
                b'*' => text.push_str(runs.next().flatten().unwrap_or_default()),
                b'?' => text.push_str(ones.next().flatten().unwrap_or_default()),
                other => text.push(char::from(other)),
            }
        }
        Some(text)
    }

    /// Whether some letter stands for itself.
    fn names_a_letter(&self) -> bool {
        self.0.bytes().any(|b| b.is_ascii_alphabetic())
    }

    /// Whether every `*` and `?` of `template` has one here to stand for.
    #[must_use]
    pub fn serves(&self, template: &Self) -> bool {
        let count = |pattern: &Self, kind: u8| pattern.0.bytes().filter(|b| *b == kind).count();
        b"*?".iter().all(|kind| count(template, *kind) <= count(self, *kind))
    }

    /// Whether every number that fits `other` fits this, too. A cover that needs a longer run than the shortest is not seen.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let Some(taken) = self.captures(&other.0) else { return false };
        let is_in_run = |at: usize| taken.iter().any(|t| t.kind == b'*' && (t.from..t.to).contains(&at));
        other.0.bytes().enumerate().all(|(at, byte)| byte != b'*' || is_in_run(at))
    }

    /// Whether some number may fit both; what has wildcards on both sides may.
    #[must_use]
    pub fn may_share(&self, other: &Self) -> bool {
        let is_plain = |pattern: &Self| !pattern.0.contains(['*', '?']);
        match (is_plain(self), is_plain(other)) {
            (_, true) => self.matches(&other.0),
            (true, false) => other.matches(&self.0),
            (false, false) => true,
        }
    }

    /// What each wildcard takes of a number; of several ways the one in which earlier runs are shorter.
    fn captures(&self, number: &str) -> Option<Vec<Taken>> {
        // the usual two-pointer walk: on a mismatch go back to the last star and let it take one more
        let (pattern, text) = (self.0.as_bytes(), number.as_bytes());
        let (mut p, mut t) = (0, 0);
        let mut taken: Vec<Taken> = Vec::new();
        // the last star: its place in the pattern, and in `taken`
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match (pattern.get(p), text.get(t)) {
                (Some(b'*'), _) => {
                    star = Some((p, taken.len()));
                    taken.push(Taken { kind: b'*', from: t, to: t });
                    p += 1;
                }
                (Some(b'?'), Some(_)) => {
                    taken.push(Taken { kind: b'?', from: t, to: t + 1 });
                    p += 1;
                    t += 1;
                }
                (Some(a), Some(b)) if a == b => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let (at, index) = star?;
                    taken.truncate(index + 1);
                    let run = taken.get_mut(index)?;
                    run.to += 1;
                    (p, t) = (at + 1, run.to);
                }
            }
        }
        let rest = pattern.get(p..)?;
        taken.extend(rest.iter().map(|_| Taken { kind: b'*', from: t, to: t }));
        rest.iter().all(|b| *b == b'*').then_some(taken)
    }
}

/// What a wildcard took: bytes of the number.
#[derive(Debug)]
struct Taken {
    kind: u8,
    from: usize,
    to: usize,
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

/// Rules by which numbers are written anew; the first that fits counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<(Pattern, Pattern)>);

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "write PATTERN=NUMBER, as \"00*=+*\", each * and ? standing for what the one of its kind took; {rule:?} is not of that form"
)]
pub struct RewriteError {
    /// The rule.
    pub rule: String,
}

impl Rewrites {
    /// Reads rules, each `PATTERN=NUMBER`.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, RewriteError> {
        let read = |rule: &str| {
            let (from, to) = rule.split_once('=')?;
            let (from, to) = (from.trim().parse::<Pattern>().ok()?, to.trim().parse::<Pattern>().ok()?);
            from.serves(&to).then_some((from, to))
        };
        let rules = rules.iter().map(|rule| {
            let rule = rule.as_ref();
            read(rule).ok_or_else(|| RewriteError { rule: rule.chars().take(80).collect() })
        });
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// A number by the rules; as it was, where none fits. A caller that is no number, as `anonymous` or an account's name, is
    /// written anew only by rules that name it.
    #[must_use]
    pub fn apply(&self, number: String) -> String {
        let is_number = number.bytes().any(|b| b.is_ascii_digit())
            && number.bytes().all(|b| b.is_ascii_digit() || b"+*#-.()".contains(&b));
        let mut rules = self.0.iter().filter(|(from, _)| is_number || from.names_a_letter());
        rules.find_map(|(from, to)| from.rewrite(&number, to)).unwrap_or(number)
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
    fn a_number_is_written_anew_with_what_the_wildcards_took() {
        let rewrite = |p: &str, n: &str, to: &str| {
            let (p, to) = (p.parse::<Pattern>().unwrap(), to.parse::<Pattern>().unwrap());
            assert!(p.serves(&to), "{p} {to}");
            p.rewrite(n, &to)
        };
        assert_eq!(rewrite("0*", "030123", "+49*").as_deref(), Some("+4930123"));
        assert_eq!(rewrite("0*", "130123", "+49*"), None);
        assert_eq!(rewrite("9??", "912", "1??0").as_deref(), Some("1120"));
        assert_eq!(rewrite("*#*", "12#34", "*-*").as_deref(), Some("12-34"));
        assert_eq!(rewrite("*1*", "2112", "*/*").as_deref(), Some("2/12"), "earlier runs are shorter");
        assert_eq!(rewrite("*a?b", "xaxayb", "*?").as_deref(), Some("xaxy"));
        assert_eq!(rewrite("1*", "1", "9*").as_deref(), Some("9"));
        assert_eq!(rewrite("1001", "1001", "voicemail").as_deref(), Some("voicemail"));
        let serves = |p: &str, to: &str| p.parse::<Pattern>().unwrap().serves(&to.parse().unwrap());
        assert!(!serves("100?", "*") && !serves("*", "??") && serves("*?", "?*"));
    }

    #[test]
    fn the_first_rule_that_fits_counts_and_a_bad_one_is_named() {
        let rules = Rewrites::parse(&["00*=+*", "0* = +49*", "1??=2??"]).unwrap();
        let apply = |number: &str| rules.apply(number.to_owned());
        assert_eq!([apply("0044"), apply("030"), apply("123"), apply("99")], ["+44", "+4930", "223", "99"]);
        let all =
            Rewrites::parse(&["+*=+*", "anna=+4930123", "d?sk=00*".trim_end_matches('*'), "*=+49*"]).unwrap();
        let apply = |caller: &str| all.apply(caller.to_owned());
        assert_eq!([apply("anonymous"), apply(""), apply("bert")], ["anonymous", "", "bert"]);
        assert_eq!([apply("anna"), apply("desk"), apply("30-1")], ["+4930123", "00", "+4930-1"]);
        for bad in ["0*", "=1", "0=", "0=*", "a b=c"] {
            assert_eq!(Rewrites::parse(&["0*=*", bad]).unwrap_err().rule, bad);
        }
    }

    #[test]
    fn a_hostile_number_costs_no_more_than_its_length_times_the_pattern() {
        let pattern: Pattern = format!("{}b", "*a".repeat(31)).parse().unwrap();
        assert!(!pattern.matches(&"a".repeat(10_000)));
    }
}
