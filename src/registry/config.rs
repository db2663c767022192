//! `[account.…]` and `[[route]]`.

use super::Pattern;
use crate::base::{Fault, Secret, Section};
use crate::call::route::{Place, RouteQuery, Source, Step, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Calls at once of one account: a person with a few windows open, not a dialler.
const DEFAULT_MAX_CALLS: usize = 4;
/// Shorter tokens can be guessed.
const MIN_TOKEN: usize = 16;

/// One person or program.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    tokens: Vec<Secret>,
    caller_id: String,
    display_name: Option<String>,
    max_calls: usize,
    numbers: Vec<String>,
    webhook: Option<String>,
    webhook_secret: Option<Secret>,
}

impl Account {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its API tokens.
    #[must_use]
    pub fn tokens(&self) -> &[Secret] {
        &self.tokens
    }

    /// The number it calls from; its name when none is configured.
    #[must_use]
    pub fn caller_id(&self) -> &str {
        &self.caller_id
    }

    /// The name shown with its calls.
    #[must_use]
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }

    /// Calls at once.
    #[must_use]
    pub const fn max_calls(&self) -> usize {
        self.max_calls
    }

    /// Numbers that ring it.
    #[must_use]
    pub fn numbers(&self) -> &[String] {
        &self.numbers
    }

    /// URL that is told of its calls.
    #[must_use]
    pub fn webhook(&self) -> Option<&str> {
        self.webhook.as_deref()
    }

    /// What signs that.
    #[must_use]
    pub const fn webhook_secret(&self) -> Option<&Secret> {
        self.webhook_secret.as_ref()
    }
}

#[derive(Deserialize)]
struct RawAccount {
    token: Option<Secret>,
    tokens: Option<Vec<Secret>>,
    token_file: Option<PathBuf>,
    caller_id: Option<String>,
    display_name: Option<String>,
    max_calls: Option<usize>,
    numbers: Option<Vec<String>>,
    webhook: Option<String>,
    webhook_secret: Option<Secret>,
    webhook_secret_file: Option<PathBuf>,
}

/// Keys of `[account.…]`.
const KNOWN_OF_ACCOUNT: &[&str] = &[
    "token",
    "tokens",
    "token_file",
    "caller_id",
    "display_name",
    "max_calls",
    "numbers",
    "webhook",
    "webhook_secret",
    "webhook_secret_file",
];

/// Reads `[account.…]` tables.
///
/// # Errors
/// All that is wrong in any of them.
pub fn read_accounts(sections: &[Section]) -> Result<Vec<Account>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut accounts: Vec<Account> = Vec::new();
    for section in sections {
        match read_account(section) {
            Ok(account) => {
                let is_known = |t: &Secret| accounts.iter().any(|a| a.tokens.contains(t));
                if account.tokens.iter().any(is_known) {
                    faults.push(
                        section.fault("token", "another account has the same token; give each its own"),
                    );
                }
                accounts.push(account);
            }
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(accounts) } else { Err(faults) }
}

fn read_account(section: &Section) -> Result<Account, Vec<Fault>> {
    let raw: RawAccount = section.read(KNOWN_OF_ACCOUNT)?;
    let mut faults = Vec::new();
    let mut tokens = raw.tokens.unwrap_or_default();
    match section.secret("token", raw.token, raw.token_file.as_deref()) {
        Ok(token) => tokens.extend(token),
        Err(fault) => faults.push(fault),
    }
    if tokens.iter().any(|t| t.expose().len() < MIN_TOKEN) {
        let remedy =
            format!("a token must have {MIN_TOKEN} characters or more; `openssl rand -hex 16` makes one");
        faults.push(section.fault("token", remedy));
    }
    if tokens.iter().any(|t| !t.expose().bytes().all(|b| b.is_ascii_graphic())) {
        faults.push(section.fault("token", "a token must be of printable ASCII characters without blanks"));
    }
    let caller_id = raw.caller_id.unwrap_or_else(|| section.name().to_owned());
    if caller_id.is_empty() || caller_id.len() > 64 || !caller_id.bytes().all(|b| b.is_ascii_graphic()) {
        faults.push(
            section
                .fault("caller_id", "write a number or name of 1 to 64 printable characters without blanks"),
        );
    }
    let max_calls = raw.max_calls.unwrap_or(DEFAULT_MAX_CALLS);
    if !(1..=super::MAX_CALLS).contains(&max_calls) {
        faults.push(section.fault("max_calls", format!("must be 1 to {}", super::MAX_CALLS)));
    }
    let numbers = raw.numbers.unwrap_or_default();
    let is_number = |n: &String| (1..=64).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_graphic());
    if !numbers.iter().all(is_number) {
        faults.push(
            section.fault("numbers", "write numbers or names of 1 to 64 printable characters without blanks"),
        );
    }
    let webhook_secret = section
        .secret("webhook_secret", raw.webhook_secret, raw.webhook_secret_file.as_deref())
        .unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Account {
        name: section.name().to_owned(),
        tokens,
        caller_id,
        display_name: raw.display_name.filter(|n| !n.is_empty()),
        max_calls,
        numbers,
        webhook: raw.webhook,
        webhook_secret,
    })
}

/// One rule: who calls what goes where.
#[derive(Debug, Clone)]
pub struct Route {
    from: Option<Source>,
    number: Pattern,
    edge: &'static str,
    name: String,
}

impl Route {
    /// Whether a call is this rule's.
    #[must_use]
    pub fn matches(&self, query: &RouteQuery) -> bool {
        self.from.as_ref().is_none_or(|f| *f == query.source) && self.number.matches(&query.to)
    }

    /// Where it sends a number.
    #[must_use]
    pub fn step(&self, number: &str) -> Step {
        let target = Target { edge: self.edge, name: self.name.clone(), number: number.to_owned() };
        Step { places: vec![Place::Target(target)], ring_timeout: None }
    }
}

#[derive(Deserialize)]
struct RawRoute {
    from: Option<String>,
    number: Option<String>,
    to: String,
}

/// Reads `[[route]]` tables; `targets` lists what each edge can dial.
///
/// # Errors
/// All that is wrong in any of them.
pub fn read_routes(
    sections: &[Section],
    targets: &BTreeMap<&'static str, Vec<String>>,
) -> Result<Vec<Route>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut routes = Vec::new();
    for section in sections {
        let raw: RawRoute = match section.read(&["from", "number", "to"]) {
            Ok(raw) => raw,
            Err(more) => {
                faults.extend(more);
                continue;
            }
        };
        let number = raw.number.as_deref().unwrap_or("*").parse::<Pattern>();
        let target = raw.to.split_once('.').and_then(|(edge, name)| {
            let (edge, names) = targets.get_key_value(edge)?;
            names.iter().any(|n| n == name).then(|| (*edge, name.to_owned()))
        });
        let from = raw.from.as_deref().map(read_source).transpose();
        if let Err(error) = &number {
            faults.push(section.fault("number", error.to_string()));
        }
        if target.is_none() {
            let list =
                targets.iter().flat_map(|(edge, names)| names.iter().map(move |n| format!("{edge}.{n}")));
            let list: Vec<String> = list.collect();
            let known =
                if list.is_empty() { "nothing is configured to dial to".to_owned() } else { list.join(", ") };
            faults.push(section.fault("to", format!("no such target; there are: {known}")));
        }
        if from.is_err() {
            faults.push(section.fault("from", "write account.NAME or trunk.NAME, or leave it out for all"));
        }
        if let (Ok(number), Some((edge, name)), Ok(from)) = (number, target, from) {
            routes.push(Route { from, number, edge, name });
        }
    }
    if faults.is_empty() { Ok(routes) } else { Err(faults) }
}

fn read_source(text: &str) -> Result<Source, ()> {
    match text.split_once('.') {
        Some(("account", name)) if !name.is_empty() => Ok(Source::Account(name.to_owned())),
        Some(("trunk", name)) if !name.is_empty() => Ok(Source::Trunk(name.to_owned())),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_route_to_nowhere_names_what_there_is() {
        let targets = BTreeMap::from([("trunk", vec!["pbx".to_owned()])]);
        let section =
            Section::new("route[1]", "a.toml", json!({"to": "trunk.pbc", "from": "anna", "number": ""}));
        let faults: Vec<String> =
            read_routes(&[section], &targets).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(
            faults.contains(&"a.toml: route[1].to: no such target; there are: trunk.pbx".to_owned()),
            "{faults:?}"
        );
    }

    #[test]
    fn a_short_token_and_a_shared_token_are_refused_without_being_shown() {
        let a = Section::new("account.a", "t", json!({"token": "short"}));
        let b = Section::new("account.b", "t", json!({"token": "long-enough-to-pass"}));
        let c = Section::new("account.c", "t", json!({"token": "long-enough-to-pass"}));
        let faults: Vec<String> =
            read_accounts(&[a, b, c]).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults.iter().all(|f| !f.contains("short\"") && !f.contains("long-enough")), "{faults:?}");
    }
}
