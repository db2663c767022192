//! A part of the configuration with its origin, so that the folder it belongs to can judge it and say where
//! a mistake stands.

use serde::de::DeserializeOwned;
use std::time::Duration;

/// One table of the configuration, unparsed.
#[derive(Debug, Clone)]
pub struct Section {
    path: String,
    origin: String,
    value: serde_json::Value,
}

/// One mistake in the configuration: where it stands and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// File or variable that said it.
    pub origin: String,
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong and what to write instead.
    pub remedy: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.remedy)
    }
}

impl Section {
    /// A table found at `path` (dotted, empty for the root), said by `origin`.
    #[must_use]
    pub fn new(path: impl Into<String>, origin: impl Into<String>, value: serde_json::Value) -> Self {
        Self { path: path.into(), origin: origin.into(), value }
    }

    /// Dotted path of the table.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The last part of the path: the name of a named table.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// A fault at a key of this table.
    #[must_use]
    pub fn fault(&self, key: &str, remedy: impl Into<String>) -> Fault {
        let key = match (self.path.as_str(), key) {
            ("", k) => k.to_owned(),
            (p, "") => p.to_owned(),
            (p, k) => format!("{p}.{k}"),
        };
        Fault { origin: self.origin.clone(), key, remedy: remedy.into() }
    }

    /// Reads the table into a raw type, naming every unknown key at once (`known` lists the known ones).
    ///
    /// # Errors
    /// Unknown keys and values of a wrong type.
    pub fn read<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, Vec<Fault>> {
        let mut faults = Vec::new();
        let empty = serde_json::Map::new();
        let table = match &self.value {
            serde_json::Value::Object(table) => table,
            serde_json::Value::Null => &empty,
            _ => return Err(vec![self.fault("", "this must be a table")]),
        };
        for key in table.keys().filter(|k| !known.contains(&k.as_str())) {
            let remedy = match closest(key, known) {
                Some(near) => format!("unknown key; did you mean `{near}`?"),
                None => format!("unknown key; known here: {}", known.join(", ")),
            };
            faults.push(self.fault(key, remedy));
        }
        // one key at a time, so that each wrong value is named
        let mut kept = serde_json::Map::new();
        for (key, value) in table.iter().filter(|(k, _)| known.contains(&k.as_str())) {
            kept.insert(key.clone(), value.clone());
        }
        match serde_path_to_error::deserialize::<_, T>(serde_json::Value::Object(kept)) {
            Ok(raw) if faults.is_empty() => Ok(raw),
            Ok(_) => Err(faults),
            Err(error) => {
                let key = error.path().to_string();
                let key = if key == "." { String::new() } else { key };
                faults.push(self.fault(&key, error.inner().to_string()));
                Err(faults)
            }
        }
    }
}

/// The known key within two edits, if there is one.
fn closest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    known.iter().map(|k| (edits(key, k), *k)).filter(|(d, _)| *d <= 2).min_by_key(|(d, _)| *d).map(|(_, k)| k)
}

/// Levenshtein distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (slot, cb) in row.iter_mut().skip(1).zip(&b) {
            let above = *slot;
            let cell = (left + 1).min(above + 1).min(diagonal + usize::from(ca != *cb));
            diagonal = above;
            left = cell;
            *slot = cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Reads `"500ms"`, `"30s"`, `"5m"`, `"1h"`.
///
/// # Errors
/// A sentence that says how to write it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let remedy = || format!("`{}` is no duration; write 500ms, 30s, 5m or 1h", super::Excerpt(text));
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| remedy())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(remedy()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    struct Raw {
        #[allow(dead_code)]
        listen: Option<u16>,
    }

    #[test]
    fn an_unknown_key_and_a_wrong_value_are_both_named_with_a_remedy() {
        let s = Section::new("http", "a.toml", serde_json::json!({"lisen": 1, "listen": "x", "colour": 2}));
        let faults: Vec<String> =
            s.read::<Raw>(&["listen"]).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults.contains(&"a.toml: http.lisen: unknown key; did you mean `listen`?".to_owned()));
        assert!(faults.contains(&"a.toml: http.colour: unknown key; known here: listen".to_owned()));
        assert!(faults.iter().any(|f| f.starts_with("a.toml: http.listen: invalid type")));
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert!(parse_duration("30").is_err() && parse_duration("s").is_err());
        assert!(parse_duration("99999999999999999999h").is_err());
    }
}
