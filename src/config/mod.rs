//! The configuration: one file and the environment, merged into [`Section`]s that each folder judges itself.
//!
//! Order: file, then environment variables. `SIPEDGE_` + the path with `__` between levels names a key:
//! `SIPEDGE_HTTP__LISTEN` is `http.listen`. Nothing is read twice and nothing is kept open.

use crate::base::{Fault, Section};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Prefix of environment variables that name a key.
pub const ENV_PREFIX: &str = "SIPEDGE_";
/// Names the file, in place of `--config`.
pub const ENV_FILE: &str = "SIPEDGE_CONFIG";
/// Read when nothing else names a file.
pub const DEFAULT_FILE: &str = "/etc/sipedge/sipedge.toml";

/// The merged configuration, unparsed.
#[derive(Debug, Clone)]
pub struct Config {
    origin: String,
    root: Map<String, Value>,
    /// Dotted key → variable; tables too that are there for a variable's sake alone.
    from_env: BTreeMap<String, String>,
    /// Variables that can be no keys.
    faults: Vec<Fault>,
}

impl Config {
    /// Reads `file` (if any) and those of `variables` that begin with [`ENV_PREFIX`], [`ENV_FILE`] excepted.
    ///
    /// # Errors
    /// The file is missing, unreadable or not TOML; the fault names it, line and column.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Fault> {
        let origin = file.map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
        let mut root = Map::new();
        if let Some(path) = file {
            root = read(path).map_err(|remedy| Fault::new(&origin, "", remedy))?;
        }
        Ok(Self::from_value(&origin, root).with_variables(variables))
    }

    /// A configuration from a value; for tests and the demo.
    #[must_use]
    pub fn from_value(origin: &str, root: Map<String, Value>) -> Self {
        Self { origin: origin.to_owned(), root, from_env: BTreeMap::new(), faults: Vec::new() }
    }

    /// The same, with what the environment says over it. A variable that can be no key is among [`Self::faults`].
    #[must_use]
    pub fn with_variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(ENV_PREFIX) && name != ENV_FILE)
            .collect();
        for (name, value) in ours {
            let key = name.trim_start_matches(ENV_PREFIX).to_ascii_lowercase().replace("__", ".");
            if let Err(remedy) = self.set(&name, &key, value) {
                self.faults.push(Fault::new(format!("environment variable {name}"), key, remedy));
            }
        }
        self
    }

    /// Writes a variable's text at a dotted key, and makes the tables on the way.
    fn set(&mut self, name: &str, key: &str, value: String) -> Result<(), String> {
        let parts: Vec<&str> = key.split('.').collect();
        let (Some((_, tables)), false) = (parts.split_last(), parts.contains(&"")) else {
            return Err(format!("write {ENV_PREFIX}TABLE__KEY, two underscores between levels"));
        };
        if tables.is_empty() {
            return Err(format!(
                "write {name}__KEY: it is a table's name, and keys stand behind two underscores"
            ));
        }
        let mut table = &mut self.root;
        let mut path = String::new();
        for part in tables {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(part);
            let slot = table.entry(*part).or_insert_with(|| {
                self.from_env.insert(path.clone(), name.to_owned());
                Value::Object(Map::new())
            });
            table = match slot {
                Value::Object(below) => below,
                Value::Array(items) if items.iter().all(Value::is_object) => {
                    return Err(format!("[[{path}]] is a list of tables, which is written in the file only"));
                }
                _ => return Err(format!("{path} is no table: there are no keys below it")),
            };
        }
        let below = Figment::from(Serialized::defaults(&self.root));
        let merged = below.merge(Serialized::default(key, value)).extract();
        self.root = merged.map_err(|error| error.to_string())?;
        self.from_env.insert(key.to_owned(), name.to_owned());
        Ok(())
    }

    /// Whether nothing stands below a table's name.
    #[must_use]
    pub fn is_without(&self, name: &str) -> bool {
        match self.root.get(name) {
            Some(Value::Object(tables)) => tables.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            other => other.is_none(),
        }
    }

    /// A table; empty when it is not there.
    #[must_use]
    pub fn table(&self, name: &str) -> Section {
        self.section(name, self.root.get(name).cloned().unwrap_or(Value::Null))
    }

    /// The tables below `[name.…]`, by name.
    ///
    /// # Errors
    /// When `name` is there and holds something else than tables.
    pub fn named(&self, name: &str) -> Result<Vec<Section>, Fault> {
        match self.root.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Object(tables)) => Ok(tables
                .iter()
                .map(|(key, value)| self.section(&format!("{name}.{key}"), value.clone()))
                .collect()),
            Some(_) => Err(self.table(name).fault("", format!("write it as [{name}.some-name]"))),
        }
    }

    /// The tables of a list `[[name]]`, in order.
    ///
    /// # Errors
    /// When `name` is there and is no list.
    pub fn list(&self, name: &str) -> Result<Vec<Section>, Fault> {
        match self.root.get(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let section =
                    |(i, value): (usize, &Value)| self.section(&format!("{name}[{}]", i + 1), value.clone());
                Ok(items.iter().enumerate().map(section).collect())
            }
            Some(_) => {
                let section = self.table(name);
                let remedy = match section.variable("") {
                    Some(_) => format!("[[{name}]] is a list of tables, which is written in the file only"),
                    None => format!("write it as [[{name}]], two brackets"),
                };
                Err(section.fault("", remedy))
            }
        }
    }

    /// Tables that nobody knows (`known` lists those that are), and variables that can be no keys.
    #[must_use]
    pub fn faults(&self, known: &[&str]) -> Vec<Fault> {
        let root = self.section("", Value::Object(self.root.clone()));
        let (Ok((_, unknown)) | Err(unknown)) = root.read::<Value>(known).map(|(_, faults)| ((), faults));
        unknown.into_iter().chain(self.faults.iter().cloned()).collect()
    }

    fn section(&self, path: &str, value: Value) -> Section {
        let below = |(key, variable): (&String, &String)| {
            let rest = if path.is_empty() { key } else { key.strip_prefix(path)? };
            let rest = if path.is_empty() || rest.is_empty() { rest } else { rest.strip_prefix('.')? };
            Some((rest.to_owned(), variable.clone()))
        };
        Section::new(path, self.origin.clone(), value)
            .with_env(self.from_env.iter().filter_map(below).collect())
    }
}

/// The tables of a file, or what to do about it.
fn read(path: &Path) -> Result<Map<String, Value>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {}", reason(&error)))?;
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text.trim_start_matches('\u{feff}'),
        Err(error) => {
            let place = place(&bytes, error.valid_up_to());
            return Err(format!("{place}: this is no UTF-8 text"));
        }
    };
    Figment::from(Toml::string(text)).extract().map_err(|error| mistake_in(text, &error))
}

/// What is wrong with a text that is no TOML, and where.
fn mistake_in(text: &str, error: &figment::Error) -> String {
    match toml::from_str::<toml::Table>(text) {
        Ok(_) => error.to_string(),
        Err(error) => {
            let place = place(text.as_bytes(), error.span().map_or(0, |span| span.start));
            format!("{place}: {}", in_words(error.message()))
        }
    }
}

/// What the system says, without its number.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Where a byte stands, as editors count: from one, and in characters.
fn place(text: &[u8], at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
    format!("line {line}, column {column}")
}

/// A parser's sentence for people, who know no grammar.
fn in_words(message: &str) -> String {
    let words = match message.trim() {
        "" => "a value is missing",
        m if m.starts_with("invalid string\nexpected") || m.starts_with("string values must be quoted") => {
            "write a value: a text in quotes, a number, true, false or a list in [ ]"
        }
        m if m.starts_with("invalid basic string") || m.starts_with("invalid literal string") => {
            "the quote that ends this text is missing"
        }
        m if m.starts_with("invalid table header\nexpected `.`, `]]`") => {
            "close the name of the list with ]]"
        }
        m if m.starts_with("invalid table header\nexpected `.`, `]`") => "close the name of the table with ]",
        m if m.starts_with("invalid array\nexpected `]`") => {
            "close the list with ], and write commas between its values"
        }
        m if m.starts_with("invalid inline table\nexpected `}`") => "close the table with }",
        m if m.starts_with("invalid escape sequence") => {
            "a text in double quotes has \\\\ for a backslash, and one in single quotes is taken as it is"
        }
        m if m.starts_with("expected newline") => "the value has ended before this; a text stands in quotes",
        m if m.starts_with("expected `.`, `=`") => "write KEY = VALUE",
        "invalid key" => "a key is missing",
        "number too large to fit in target type" => "this number is too large",
        m => return m.trim_start_matches("invalid table header\n").replace('\n', "; "),
    };
    words.to_owned()
}

/// Which file to read: the one named on the command line, else by [`ENV_FILE`], else [`DEFAULT_FILE`] if it is
/// there. A named file is read even if it is missing, so that this is an error. A variable without a text names none: files
/// of Compose set it so where nothing is given.
#[must_use]
pub fn choose_file(argument: Option<PathBuf>, variable: Option<PathBuf>) -> Option<PathBuf> {
    let variable = variable.filter(|file| !file.as_os_str().is_empty());
    argument.or(variable).or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|p| p.exists()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, Fault> {
        let path =
            std::env::temp_dir().join(format!("sipedge-config-{}-{:p}.toml", std::process::id(), toml));
        std::fs::write(&path, toml).unwrap();
        let loaded = Config::load(Some(&path), env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        std::fs::remove_file(&path).unwrap();
        loaded
    }

    #[test]
    fn the_environment_wins_over_the_file_and_reaches_named_tables() {
        let config = load(
            "[http]\nlisten = \"a\"\n[trunk.pbx]\nuser = \"u\"\n",
            &[
                ("SIPEDGE_HTTP__LISTEN", "b"),
                ("SIPEDGE_TRUNK__PBX__PASSWORD", "007"),
                ("SIPEDGE_CONFIG", "x"),
                ("HOME", "y"),
            ],
        )
        .unwrap();
        let (http, _): (BTreeMap<String, String>, _) = config.table("http").read(&["listen"]).unwrap();
        assert_eq!(http["listen"], "b");
        let trunks = config.named("trunk").unwrap();
        assert_eq!(trunks.len(), 1);
        assert_eq!(trunks[0].name(), "pbx");
        let (trunk, _): (BTreeMap<String, String>, _) = trunks[0].read(&["user", "password"]).unwrap();
        assert_eq!((trunk["user"].as_str(), trunk["password"].as_str()), ("u", "007"));
        assert!(config.faults(&["http", "trunk"]).is_empty());
    }

    fn told(toml: &str, env: &[(&str, &str)], known: &[&str]) -> Vec<String> {
        let config = load(toml, env).unwrap();
        let mut faults = config.faults(known);
        faults.extend(config.list("route").err());
        faults.extend(config.named("trunk").iter().flatten().map(|trunk| trunk.fault("host", "?")));
        let told = faults.iter().map(ToString::to_string);
        told.map(|f| f.rsplit_once('/').map_or_else(|| f.clone(), |(_, file)| file.to_owned())).collect()
    }

    #[test]
    fn a_missing_file_and_unknown_tables_name_themselves() {
        let missing = Config::load(Some(Path::new("/nonexistent/x.toml")), []).unwrap_err();
        assert_eq!(missing.to_string(), "/nonexistent/x.toml: cannot be read: No such file or directory");
        let folder = Config::load(Some(&std::env::temp_dir()), []).unwrap_err();
        assert!(folder.remedy.starts_with("cannot be read: Is a directory"), "{folder}");
        let unknown = load("[htp]\n[[route]]\n", &[]).unwrap().faults(&["http", "route"]);
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].to_string().ends_with("htp: unknown key; did you mean `http`?"), "{}", unknown[0]);
    }

    #[test]
    fn the_file_is_the_command_lines_else_the_variables_and_an_empty_variable_says_nothing() {
        let choose = |argument: Option<&str>, variable: Option<&str>| {
            choose_file(argument.map(PathBuf::from), variable.map(PathBuf::from))
        };
        assert_eq!(choose(Some("a"), Some("b")), Some("a".into()));
        assert_eq!(choose(None, Some("b")), Some("b".into()));
        assert_eq!(choose(None, Some("")), choose(None, None));
    }

    #[test]
    fn broken_toml_is_told_with_line_and_column_in_one_line() {
        for (toml, place) in [
            ("x = ", "line 1, column 5: a value is missing"),
            ("x = abc", "line 1, column 5: write a value: a text in quotes, "),
            ("[http\nlisten = 1", "line 1, column 6: close the name of the table with ]"),
            ("[[route\nto = 1", "line 1, column 8: close the name of the list with ]]"),
            (
                "[log]\n\n[http]\nlisten = 127.0.0.1:1337\n",
                "line 4, column 15: the value has ended before this",
            ),
            ("[a]\nb = 1\nb = 2\n", "line 3, column 1: duplicate key `b`"),
            ("[a]\n[a]\n", "line 2, column 1: duplicate key `a`"),
            ("# é\nt = \"é\n", "line 2, column 7: the quote that ends this text is missing"),
            ("a = [1 2]", "line 1, column 8: close the list with ], and write commas"),
            ("listen: 1", "line 1, column 7: write KEY = VALUE"),
        ] {
            let fault = load(toml, &[]).unwrap_err();
            assert!(fault.remedy.starts_with(place), "{toml:?}: {fault}");
            assert!(fault.key.is_empty() && !fault.remedy.contains(['\n', '|', '^']), "{fault}");
        }
        let path = std::env::temp_dir().join(format!("sipedge-config-{}-latin.toml", std::process::id()));
        std::fs::write(&path, b"[a]\nb = \"\xe4\"").unwrap();
        let latin = Config::load(Some(&path), []).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(latin.remedy, "line 2, column 6: this is no UTF-8 text");
        assert!(load("\u{feff}[http]\n", &[]).is_ok());
    }

    #[test]
    fn the_environments_mistake_is_the_variables_and_not_the_files() {
        let known = ["http", "route", "trunk"];
        let route = "[[route]]\nto = \"x\"\n";
        let only_file = "[[route]] is a list of tables, which is written in the file only";
        for (toml, name, fault) in [
            ("", "SIPEDGE_HTP__LISTEN", "htp: unknown key; did you mean `http`?".to_owned()),
            ("", "SIPEDGE_ROUTE__0__TO", format!("route: {only_file}")),
            (route, "SIPEDGE_ROUTE__0__TO", format!("route.0.to: {only_file}")),
            ("", "SIPEDGE_TRUNK__PBX__USER", "trunk.pbx.host: ?".to_owned()),
            ("", "SIPEDGE___X", ".x: write SIPEDGE_TABLE__KEY, two underscores between levels".to_owned()),
            (
                "[http]\nlisten = \"a\"\n",
                "SIPEDGE_HTTP__LISTEN__X",
                "http.listen.x: http.listen is no table: there are no keys below it".to_owned(),
            ),
            (
                "[http]\n",
                "SIPEDGE_HTTP",
                "http: write SIPEDGE_HTTP__KEY: it is a table's name, and keys stand behind two underscores"
                    .to_owned(),
            ),
        ] {
            assert_eq!(told(toml, &[(name, "x")], &known), [format!("environment variable {name}: {fault}")]);
        }
        let both = told("[trunk.pbx]\n", &[("SIPEDGE_TRUNK__PBX__USER", "x")], &known);
        assert!(both[0].ends_with(".toml: trunk.pbx.host: ?"), "{both:?}");
    }

    #[test]
    fn a_list_and_a_named_table_written_as_the_other_are_refused_with_the_right_spelling() {
        let config = load("[route]\nto = 1\n[[trunk]]\nuser = 1\n", &[]).unwrap();
        assert!(config.list("route").unwrap_err().remedy.contains("[[route]]"));
        assert!(config.named("trunk").unwrap_err().remedy.contains("[trunk.some-name]"));
    }
}
