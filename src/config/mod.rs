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
    /// Dotted key → variable.
    from_env: BTreeMap<String, String>,
}

impl Config {
    /// Reads `file` (if any) and those of `variables` that begin with [`ENV_PREFIX`], [`ENV_FILE`] excepted.
    ///
    /// # Errors
    /// The file is missing, unreadable or not TOML; the fault names it and the line.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Fault> {
        let origin = file.map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
        let mut root = Map::new();
        if let Some(path) = file {
            if let Err(error) = std::fs::metadata(path) {
                return Err(Fault { origin, key: "file".into(), remedy: format!("cannot be read: {error}") });
            }
            root = extract(&Figment::from(Toml::file_exact(path)), &origin)?;
        }
        Self::from_value(&origin, root).with_variables(variables)
    }

    /// A configuration from a value; for tests and the demo.
    #[must_use]
    pub fn from_value(origin: &str, root: Map<String, Value>) -> Self {
        Self { origin: origin.to_owned(), root, from_env: BTreeMap::new() }
    }

    /// The same, with what the environment says over it.
    ///
    /// # Errors
    /// A variable whose name cannot be a key.
    pub fn with_variables(
        mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Fault> {
        let mut figment = Figment::from(Serialized::defaults(std::mem::take(&mut self.root)));
        for (name, value) in variables {
            let Some(path) = name.strip_prefix(ENV_PREFIX).filter(|_| name != ENV_FILE) else { continue };
            let key = path.to_ascii_lowercase().replace("__", ".");
            if key.split('.').any(str::is_empty) {
                let remedy = "write SIPEDGE_TABLE__KEY, two underscores between levels".to_owned();
                return Err(Fault { origin: format!("environment variable {name}"), key, remedy });
            }
            figment = figment.merge(Serialized::default(&key, value));
            self.from_env.insert(key, name);
        }
        self.root = extract(&figment, &self.origin)?;
        Ok(self)
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
            Some(_) => Err(self.table(name).fault("", format!("write it as [[{name}]], two brackets"))),
        }
    }

    /// A fault for each table that nobody knows.
    #[must_use]
    pub fn unknown_tables(&self, known: &[&str]) -> Vec<Fault> {
        let root = self.section("", Value::Object(self.root.clone()));
        root.read::<Value>(known).err().unwrap_or_default()
    }

    fn section(&self, path: &str, value: Value) -> Section {
        let prefix = format!("{path}.");
        let below = |(key, variable): (&String, &String)| {
            key.strip_prefix(&prefix).map(|k| (k.to_owned(), variable.clone()))
        };
        Section::new(path, self.origin.clone(), value)
            .with_env(self.from_env.iter().filter_map(below).collect())
    }
}

fn extract(figment: &Figment, origin: &str) -> Result<Map<String, Value>, Fault> {
    figment.extract().map_err(|error: figment::Error| Fault {
        origin: origin.to_owned(),
        key: if error.path.is_empty() { "file".to_owned() } else { error.path.join(".") },
        remedy: error.kind.to_string().trim().replace('\n', " "),
    })
}

/// Which file to read: the one named on the command line, else by [`ENV_FILE`], else [`DEFAULT_FILE`] if it is
/// there. A named file is read even if it is missing, so that this is an error.
#[must_use]
pub fn choose_file(argument: Option<PathBuf>, variable: Option<PathBuf>) -> Option<PathBuf> {
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
        let http: BTreeMap<String, String> = config.table("http").read(&["listen"]).unwrap();
        assert_eq!(http["listen"], "b");
        let trunks = config.named("trunk").unwrap();
        assert_eq!(trunks.len(), 1);
        assert_eq!(trunks[0].name(), "pbx");
        let trunk: BTreeMap<String, String> = trunks[0].read(&["user", "password"]).unwrap();
        assert_eq!((trunk["user"].as_str(), trunk["password"].as_str()), ("u", "007"));
        assert!(config.unknown_tables(&["http", "trunk"]).is_empty());
    }

    #[test]
    fn a_missing_file_broken_toml_and_unknown_tables_name_themselves() {
        let missing = Config::load(Some(Path::new("/nonexistent/x.toml")), []).unwrap_err();
        assert!(missing.to_string().starts_with("/nonexistent/x.toml: file: cannot be read"), "{missing}");
        let broken = load("[http\nlisten = 1", &[]).unwrap_err();
        assert!(broken.to_string().contains("line 1"), "{broken}");
        let unknown = load("[htp]\n[[route]]\n", &[]).unwrap().unknown_tables(&["http", "route"]);
        assert_eq!(unknown.len(), 1);
        assert!(unknown[0].to_string().ends_with("htp: unknown key; did you mean `http`?"), "{}", unknown[0]);
        assert!(load("", &[("SIPEDGE___X", "1")]).is_err());
    }

    #[test]
    fn a_list_and_a_named_table_written_as_the_other_are_refused_with_the_right_spelling() {
        let config = load("[route]\nto = 1\n[[trunk]]\nuser = 1\n", &[]).unwrap();
        assert!(config.list("route").unwrap_err().remedy.contains("[[route]]"));
        assert!(config.named("trunk").unwrap_err().remedy.contains("[trunk.some-name]"));
    }
}
