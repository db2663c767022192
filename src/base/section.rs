//! A part of the configuration with its origin, so that the folder it belongs to can judge it and say where
//! a mistake stands.

use super::{Excerpt, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
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
    /// Dotted path of the key; empty for the whole of the origin.
    pub key: String,
    /// What is wrong and what to write instead.
    pub remedy: String,
    standing: Standing,
}

/// What a fault means for those beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// A value, or the lack of one, was judged.
    Judged,
    /// It rests on nothing beside it: nobody knows such a key, or its value has quotes too many.
    Certain,
    /// This key's value could not be read, and the rest was judged without it.
    Unread(String),
    /// A number stands where a text should, and was judged as that text.
    Unquoted,
}

impl Fault {
    /// A fault of a key (dotted, empty for the whole of `origin`) that a file or variable said.
    #[must_use]
    pub fn new(origin: impl Into<String>, key: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (origin, key, remedy) = (origin.into(), key.into(), remedy.into());
        Self { origin, key, remedy, standing: Standing::Judged }
    }

    /// All faults in order and each once, without those that only follow from another: what is said of a key that could
    /// not be read, or of a key beside it by a sentence that names it.
    #[must_use]
    pub fn settle(mut faults: Vec<Self>) -> Vec<Self> {
        faults.sort();
        faults.dedup();
        let is_told = |fault: &Self| match &fault.standing {
            Standing::Judged => !faults.iter().any(|other| fault.follows_from(other)),
            Standing::Certain | Standing::Unread(_) => true,
            // what is wrong with the value itself says how to write it
            Standing::Unquoted => !faults
                .iter()
                .any(|other| other.standing == Standing::Judged && other.key == without_index(&fault.key)),
        };
        let is_told: Vec<bool> = faults.iter().map(is_told).collect();
        let mut is_told = is_told.into_iter();
        faults.retain(|_| is_told.next().unwrap_or(true));
        faults
    }

    fn follows_from(&self, other: &Self) -> bool {
        let Standing::Unread(unread) = &other.standing else { return false };
        let of_table = |key: &str| key.rsplit_once('.').map_or("", |(table, _)| table).to_owned();
        let name = unread.rsplit('.').next().unwrap_or_default();
        let mut words = self.remedy.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let key = without_index(&self.key);
        key == unread || (of_table(key) == of_table(unread) && words.any(|w| w.eq_ignore_ascii_case(name)))
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.remedy),
            key => write!(f, "{}: {key}: {}", self.origin, self.remedy),
        }
    }
}

/// A key without the place in its list: `listen[2]` is `listen`.
fn without_index(key: &str) -> &str {
    key.strip_suffix(']').and_then(|k| k.rsplit_once('[')).map_or(key, |(list, _)| list)
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

    /// The text of a key, or those of its list, for who judges them from elsewhere. A list of the environment is one text
    /// with commas.
    #[must_use]
    pub fn texts(&self, key: &str) -> Vec<&str> {
        match self.value.get(key) {
            Some(Value::String(text)) if self.variable(key).is_some() => {
                text.split(',').map(str::trim).collect()
            }
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// A fault at a key of this table.
    #[must_use]
    pub fn fault(&self, key: &str, remedy: impl Into<String>) -> Fault {
        let origin = match self.variable(key) {
            Some(variable) => format!("environment variable {variable}"),
            None => self.origin.clone(),
        };
        let key = match (self.path.as_str(), key) {
            ("", k) => k.to_owned(),
            (p, "") => p.to_owned(),
            (p, k) => format!("{p}.{k}"),
        };
        Fault::new(origin, key, remedy)
    }

    /// The environment variable that said a key (empty: the table itself, which is there for its sake alone).
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.from_env.get(without_index(key)).or_else(|| self.from_env.get("")).map(String::as_str)
    }

    /// Reads the table into a raw type whose keys are all optional (`known` lists them). What cannot be read is left out
    /// and named, so that the caller judges the rest and adds its own faults; [`Fault::settle`] takes out those that only
    /// follow.
    ///
    /// # Errors
    /// It is no table.
    pub fn read<T: DeserializeOwned>(&self, known: &[&str]) -> Result<(T, Vec<Fault>), Vec<Fault>> {
        let table = match &self.value {
            Value::Object(table) => table.clone(),
            Value::Null => serde_json::Map::new(),
            other => {
                let remedy =
                    format!("this is a table: write [{}] and its keys below, not {}", self.path, kind(other));
                return Err(vec![self.fault("", remedy)]);
            }
        };
        let (mut kept, unknown): (serde_json::Map<_, _>, serde_json::Map<_, _>) =
            table.into_iter().partition(|(key, _)| known.contains(&key.as_str()));
        let mut faults: Vec<Fault> = unknown.keys().map(|key| self.unknown(key, known)).collect();
        // each round names one wrong value and goes on with another reading of it, or without it, so that all are named
        let mut wrong: BTreeMap<String, Wrong> = BTreeMap::new();
        loop {
            let error = match serde_path_to_error::deserialize::<_, T>(Value::Object(kept.clone())) {
                Ok(raw) => {
                    let left =
                        wrong.into_iter().filter(|(key, w)| w.is_told || !self.from_env.contains_key(key));
                    faults.extend(left.map(|(_, w)| w.fault));
                    return Ok((raw, faults));
                }
                Err(error) => error,
            };
            let place = Place::of(error.path());
            let Some(value) = kept.get_mut(&place.key) else {
                faults.push(self.fault("", error.inner().to_string()));
                return Err(faults);
            };
            let found = value.pointer(&place.below).cloned().unwrap_or_default();
            let wanted = Wanted::of(&error.inner().to_string());
            let is_env = self.from_env.contains_key(&place.key);
            let entry = wrong.entry(place.key.clone()).or_insert_with(|| Wrong {
                fault: Fault {
                    standing: Standing::Certain,
                    ..self.fault(&place.shown, wanted.remedy(&found, is_env))
                },
                readings: value.as_str().map(readings).unwrap_or_default(),
                is_told: false,
            });
            if wanted.is_text && (found.is_number() || found.is_boolean()) {
                entry.fault.standing = Standing::Unquoted;
                entry.is_told = true;
                if let Some(slot) = value.pointer_mut(&place.below) {
                    *slot = Value::String(found.to_string());
                    continue;
                }
            }
            match entry.readings.pop() {
                Some(other) => *value = other,
                None => {
                    entry.fault.standing = Standing::Unread(self.fault(&place.key, "").key);
                    entry.is_told = true;
                    kept.remove(&place.key);
                }
            }
        }
    }

    fn unknown(&self, key: &str, known: &[&str]) -> Fault {
        match closest(key, known) {
            Some(near) => Fault {
                // what was meant is not missing
                standing: Standing::Unread(self.fault(near, "").key),
                ..self.fault(key, format!("unknown key; did you mean `{near}`?"))
            },
            None => Fault {
                standing: Standing::Certain,
                ..self.fault(key, format!("unknown key; known here: {}", known.join(", ")))
            },
        }
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

/// A key whose value cannot be read as it stands.
struct Wrong {
    fault: Fault,
    /// What else its text may mean, last choice first.
    readings: Vec<Value>,
    /// Whether it is a fault even where the environment, which knows texts alone, said it.
    is_told: bool,
}

/// Where a value stands that cannot be read.
struct Place {
    /// Key of the table.
    key: String,
    /// JSON pointer (RFC 6901) below that key.
    below: String,
    /// For people, who count from one.
    shown: String,
}

impl Place {
    fn of(path: &serde_path_to_error::Path) -> Self {
        let mut place = Self { key: String::new(), below: String::new(), shown: String::new() };
        for segment in path {
            match segment {
                Segment::Map { key } if place.key.is_empty() => {
                    place.key.clone_from(key);
                    place.shown.clone_from(key);
                }
                Segment::Map { key } => {
                    place.below.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                    place.shown.push_str(&format!(".{key}"));
                }
                Segment::Seq { index } => {
                    place.below.push_str(&format!("/{index}"));
                    place.shown.push_str(&format!("[{}]", index + 1));
                }
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        place
    }
}

/// What a key wants, in words.
struct Wanted {
    words: String,
    is_text: bool,
    /// A number, true or false: no secret is one.
    is_plain: bool,
}

impl Wanted {
    /// From what the reader says, which ends in what it expected.
    fn of(error: &str) -> Self {
        let expected = error.rsplit_once(", expected ").map_or(error, |(_, expected)| expected);
        let whole = |most: u32| format!("a whole number from 0 to {most}");
        let (words, is_plain) = match expected {
            "a boolean" => ("true or false".to_owned(), true),
            "u8" => (whole(u8::MAX.into()), true),
            "u16" => (whole(u16::MAX.into()), true),
            "u32" | "u64" | "usize" => ("a whole number, 0 or more".to_owned(), true),
            "i8" | "i16" | "i32" | "i64" | "isize" => ("a whole number".to_owned(), true),
            "f32" | "f64" => ("a number".to_owned(), true),
            "a string" | "path string" => ("a text in quotes".to_owned(), false),
            "a sequence" => ("a list, as [\"one\", \"two\"]".to_owned(), false),
            other => (other.to_owned(), false),
        };
        Self { is_text: words.contains("text"), is_plain, words }
    }

    /// How to write it. A text is shown only where no secret can stand.
    fn remedy(&self, found: &Value, is_env: bool) -> String {
        let is_secret = self.words.contains("secret");
        let shown = match found {
            Value::String(text) if self.is_plain => format!("\"{}\"", Excerpt(text)),
            Value::Number(_) | Value::Bool(_) if !is_secret => found.to_string(),
            other => kind(other).to_owned(),
        };
        let bare = if self.is_plain && found.is_string() && !is_env { ", without quotes" } else { "" };
        format!("write {}{bare}, not {shown}", self.words)
    }
}

/// What a value is, in words.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// What else a text may mean, last choice first: a comma-separated list (in brackets or not), a number or a boolean.
fn readings(text: &str) -> Vec<Value> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let items = inner.split(',').map(|item| Value::String(item.trim().trim_matches('"').to_owned()));
    let list = Value::Array(items.filter(|item| item.as_str() != Some("")).collect());
    let scalar = serde_json::from_str::<Value>(text).ok().filter(|v| v.is_number() || v.is_boolean());
    [Some(list), scalar].into_iter().flatten().collect()
}

/// One text, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> serde::Deserialize<'de> for OneOrMany {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text in quotes or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Either)
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
    let remedy = || format!("`{}` is no duration; write \"500ms\", \"30s\", \"5m\" or \"1h\"", Excerpt(text));
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
mod tests;
