//! A part of the configuration with its origin, so that the folder it belongs to can judge it and say where
//! a mistake stands.

use super::Secret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// One table of the configuration, unparsed.
///
/// Values that came from the environment are text; where a key wants a number, a boolean or a list, its text is
/// read as one, so that a password of digits stays a password.
#[derive(Debug, Clone)]
pub struct Section {
    path: String,
    origin: String,
    value: Value,
    /// Dotted keys below this table that the environment said, with the variable's name.
    from_env: BTreeMap<String, String>,
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
    pub fn new(path: impl Into<String>, origin: impl Into<String>, value: Value) -> Self {
        Self { path: path.into(), origin: origin.into(), value, from_env: BTreeMap::new() }
    }

    /// The same, with the keys (dotted, below this table) that environment variables said.
    #[must_use]
    pub fn with_env(mut self, from_env: BTreeMap<String, String>) -> Self {
        self.from_env = from_env;
        self
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

    /// A text of this table, for who judges it from elsewhere.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value.get(key)?.as_str()
    }

    /// A fault at a key of this table.
    #[must_use]
    pub fn fault(&self, key: &str, remedy: impl Into<String>) -> Fault {
        let origin = match self.from_env.get(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => self.origin.clone(),
        };
        let key = match (self.path.as_str(), key) {
            ("", k) => k.to_owned(),
            (p, "") => p.to_owned(),
            (p, k) => format!("{p}.{k}"),
        };
        Fault { origin, key, remedy: remedy.into() }
    }

    /// Reads the table into a raw type, naming every unknown key and the wrong values at once (`known` lists
    /// the known keys).
    ///
    /// # Errors
    /// Unknown keys and values of a wrong type.
    pub fn read<T: DeserializeOwned>(&self, known: &[&str]) -> Result<T, Vec<Fault>> {
        let table = match &self.value {
            Value::Object(table) => table.clone(),
            Value::Null => serde_json::Map::new(),
            _ => return Err(vec![self.fault("", "this must be a table")]),
        };
        let mut faults: Vec<Fault> = table
            .keys()
            .filter(|k| !known.contains(&k.as_str()))
            .map(|key| match closest(key, known) {
                Some(near) => self.fault(key, format!("unknown key; did you mean `{near}`?")),
                None => self.fault(key, format!("unknown key; known here: {}", known.join(", "))),
            })
            .collect();
        let mut kept: serde_json::Map<String, Value> =
            table.into_iter().filter(|(k, _)| known.contains(&k.as_str())).collect();
        // each round names one wrong value and goes on without it, so that all are named
        let mut readings: BTreeMap<String, (Fault, Vec<Value>)> = BTreeMap::new();
        let mut raw = None;
        while raw.is_none() {
            match serde_path_to_error::deserialize::<_, T>(Value::Object(kept.clone())) {
                Ok(read) => raw = Some(read),
                Err(error) => {
                    let path = error.path().to_string();
                    let key = path.split(['.', '[']).next().unwrap_or_default().to_owned();
                    let Some(value) = kept.get(&key) else {
                        faults.push(self.fault("", error.inner().to_string()));
                        return Err(faults);
                    };
                    let (fault, left) = readings.entry(key.clone()).or_insert_with(|| {
                        let others = match value {
                            Value::String(text) if self.from_env.contains_key(&key) => read_env_text(text),
                            _ => Vec::new(),
                        };
                        (self.fault(&path, error.inner().to_string()), others)
                    });
                    match left.pop() {
                        Some(other) => drop(kept.insert(key, other)),
                        None => {
                            faults.push(fault.clone());
                            kept.remove(&key);
                        }
                    }
                }
            }
        }
        raw.filter(|_| faults.is_empty()).ok_or(faults)
    }

    /// A secret that is written in place or in a file of its own (`…_file`); trailing line ends of the file
    /// do not count.
    ///
    /// # Errors
    /// When both are given, or the file cannot be read or is empty.
    pub fn secret(
        &self,
        key: &str,
        inline: Option<Secret>,
        file: Option<&Path>,
    ) -> Result<Option<Secret>, Fault> {
        let file_key = format!("{key}_file");
        match (inline, file) {
            (Some(_), Some(_)) => Err(self.fault(key, format!("give `{key}` or `{file_key}`, not both"))),
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) if !text.trim_end().is_empty() => {
                    Ok(Some(Secret::new(text.trim_end_matches(['\r', '\n']))))
                }
                Ok(_) => Err(self.fault(&file_key, format!("{} is empty", path.display()))),
                Err(error) => Err(self.fault(&file_key, format!("cannot read {}: {error}", path.display()))),
            },
            (inline, None) => Ok(inline),
        }
    }
}

/// What else the text of an environment variable may mean, last choice first: a comma-separated list (in
/// brackets or not), a number or a boolean.
fn read_env_text(text: &str) -> Vec<Value> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let items = inner.split(',').map(|item| Value::String(item.trim().trim_matches('"').to_owned()));
    let list = Value::Array(items.filter(|item| item.as_str() != Some("")).collect());
    let scalar = serde_json::from_str::<Value>(text).ok().filter(|v| v.is_number() || v.is_boolean());
    [Some(list), scalar].into_iter().flatten().collect()
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

    #[derive(serde::Deserialize, Debug)]
    struct Typed {
        password: Option<Secret>,
        workers: Option<u16>,
        on: Option<bool>,
        list: Option<Vec<String>>,
    }

    #[test]
    fn text_from_the_environment_becomes_what_the_key_wants_and_a_password_of_digits_stays_text() {
        let value = serde_json::json!({"password": "0123", "workers": "3", "on": "true", "list": "a, b"});
        let env = ["password", "workers", "on", "list"].map(|k| (k.to_owned(), format!("SIPEDGE_X__{k}")));
        let s = Section::new("x", "a.toml", value).with_env(BTreeMap::from(env));
        let typed: Typed = s.read(&["password", "workers", "on", "list"]).unwrap();
        assert!(typed.password.unwrap().matches("0123"));
        assert_eq!((typed.workers, typed.on), (Some(3), Some(true)));
        assert_eq!(typed.list.unwrap(), ["a", "b"]);
        let s = Section::new("x", "a.toml", serde_json::json!({"workers": "many"}))
            .with_env(BTreeMap::from([("workers".to_owned(), "SIPEDGE_X__WORKERS".to_owned())]));
        let faults = s.read::<Typed>(&["workers"]).unwrap_err();
        assert!(
            faults[0].to_string().starts_with("environment variable SIPEDGE_X__WORKERS: x.workers: "),
            "{faults:?}"
        );
    }

    #[test]
    fn every_wrong_value_is_named_at_once() {
        let s = Section::new("x", "a.toml", serde_json::json!({"workers": "many", "on": 7, "list": [1]}));
        let keys: Vec<String> =
            s.read::<Typed>(&["workers", "on", "list"]).unwrap_err().into_iter().map(|f| f.key).collect();
        assert_eq!(keys.len(), 3, "{keys:?}");
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
        assert!(parse_duration("30").is_err() && parse_duration("s").is_err());
        assert!(parse_duration("99999999999999999999h").is_err());
    }
}
