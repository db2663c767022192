//! `[account.…]` and `[[route]]`.

mod reach;

pub use reach::useless_routes;

use super::Pattern;
use crate::base::{Fault, OneOrMany, Secret, Section, parse_duration};
use crate::call::route::{Occasion, Place, RouteQuery, Source, Step, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Calls at once of one account: a person with a few windows open, not a dialler.
const DEFAULT_MAX_CALLS: usize = 4;
/// The word for accounts among the targets of routes.
pub const ACCOUNTS: &str = "account";
/// Shorter tokens can be guessed.
const MIN_TOKEN: usize = 16;

/// One person or program.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    tokens: Vec<Secret>,
    caller_id: String,
    display_name: Option<String>,
    numbers: Vec<String>,
    max_calls: usize,
    webhook: Option<String>,
    webhook_secret: Option<Secret>,
    line: Option<Line>,
}

/// An extension that a PBX has for an account: the account is registered there as a telephone would be.
#[derive(Debug, Clone)]
pub struct Line {
    /// The trunk to that PBX.
    pub trunk: String,
    /// The extension's user there.
    pub user: String,
    /// For the PBX's challenges.
    pub password: Option<Secret>,
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

    /// The numbers that ring it.
    #[must_use]
    pub fn numbers(&self) -> &[String] {
        &self.numbers
    }

    /// Calls at once.
    #[must_use]
    pub const fn max_calls(&self) -> usize {
        self.max_calls
    }

    /// Its extension at a PBX.
    #[must_use]
    pub const fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    /// URL that is told of its calls.
    #[must_use]
    pub fn webhook(&self) -> Option<&str> {
        self.webhook.as_deref()
    }

    /// Whether nothing can be done with it: it cannot use the API, is told of no calls, and is no extension of a PBX.
    #[must_use]
    pub fn is_useless(&self) -> bool {
        self.tokens.is_empty() && self.webhook.is_none() && self.line.is_none()
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
    numbers: Option<Vec<String>>,
    max_calls: Option<usize>,
    webhook: Option<String>,
    webhook_secret: Option<Secret>,
    webhook_secret_file: Option<PathBuf>,
    line: Option<String>,
    line_user: Option<String>,
    line_password: Option<Secret>,
    line_password_file: Option<PathBuf>,
}

/// Keys of `[account.…]`.
const KNOWN_OF_ACCOUNT: &[&str] = &[
    "token",
    "tokens",
    "token_file",
    "caller_id",
    "display_name",
    "numbers",
    "max_calls",
    "webhook",
    "webhook_secret",
    "webhook_secret_file",
    "line",
    "line_user",
    "line_password",
    "line_password_file",
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
            Ok((account, more)) => {
                faults.extend(more);
                let is_known = |t: &Secret| accounts.iter().any(|a| a.tokens.contains(t));
                let has_number = |n: &String| accounts.iter().any(|a| a.numbers.contains(n));
                if let Some(number) = account.numbers.iter().find(|n| has_number(n)) {
                    let remedy = format!("another account has the number {number}; a route can ring both");
                    faults.push(section.fault("numbers", remedy));
                }
                let has_line = |line: &Line| {
                    let is_same = |l: &Line| l.trunk == line.trunk && l.user == line.user;
                    accounts.iter().any(|a| a.line.as_ref().is_some_and(is_same))
                };
                if account.line.as_ref().is_some_and(has_line) {
                    let remedy = "another account has this extension; one telephone, one account";
                    faults.push(section.fault("line_user", remedy));
                }
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

/// An account as far as it can be read, and what is wrong with it.
fn read_account(section: &Section) -> Result<(Account, Vec<Fault>), Vec<Fault>> {
    let (raw, mut faults): (RawAccount, _) = section.read(KNOWN_OF_ACCOUNT)?;
    let token_key = match (&raw.token_file, &raw.token, &raw.tokens) {
        (Some(_), None, None) => "token_file",
        _ => "token",
    };
    let mut tokens = raw.tokens.unwrap_or_default();
    match section.secret("token", raw.token, raw.token_file.as_deref()) {
        Ok(token) => tokens.extend(token),
        Err(fault) => faults.push(fault),
    }
    if tokens.iter().any(|t| t.expose().len() < MIN_TOKEN) {
        let remedy =
            format!("a token must have {MIN_TOKEN} characters or more; `openssl rand -hex 16` makes one");
        faults.push(section.fault(token_key, remedy));
    }
    if tokens.iter().any(|t| !t.expose().bytes().all(|b| b.is_ascii_graphic())) {
        faults.push(section.fault(token_key, "a token must be of printable ASCII characters without blanks"));
    }
    let has_caller_id = raw.caller_id.is_some();
    let caller_id = raw.caller_id.unwrap_or_else(|| section.name().to_owned());
    if caller_id.is_empty() || caller_id.len() > 64 || !caller_id.bytes().all(|b| b.is_ascii_graphic()) {
        let wanted = "a number or name of 1 to 64 printable ASCII characters without blanks";
        faults.push(match has_caller_id {
            true => section.fault("caller_id", format!("write {wanted}")),
            false => {
                section.fault("", format!("calls cannot come from this name; write a caller_id, {wanted}"))
            }
        });
    }
    let numbers = raw.numbers.unwrap_or_default();
    if numbers.iter().any(|n| n.is_empty() || n.len() > 64 || !n.bytes().all(|b| b.is_ascii_graphic())) {
        faults.push(section.fault("numbers", "write numbers or names of 1 to 64 printable characters"));
    }
    let max_calls = raw.max_calls.unwrap_or(DEFAULT_MAX_CALLS);
    if max_calls == 0 {
        faults.push(section.fault("max_calls", "write 1 or more"));
    }
    let webhook_secret = section
        .secret("webhook_secret", raw.webhook_secret, raw.webhook_secret_file.as_deref())
        .unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    let password = section
        .secret("line_password", raw.line_password, raw.line_password_file.as_deref())
        .unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    let line = read_line(section, raw.line.as_deref(), raw.line_user, password, &mut faults);
    let account = Account {
        line,
        name: section.name().to_owned(),
        tokens,
        caller_id,
        display_name: raw.display_name.filter(|n| !n.is_empty()),
        numbers,
        max_calls,
        webhook: raw.webhook,
        webhook_secret,
    };
    Ok((account, faults))
}

/// An account's extension at a PBX.
fn read_line(
    section: &Section,
    trunk: Option<&str>,
    user: Option<String>,
    password: Option<Secret>,
    faults: &mut Vec<Fault>,
) -> Option<Line> {
    let is_user = |u: &str| {
        (1..=64).contains(&u.len()) && u.bytes().all(|b| b.is_ascii_graphic() && !b"<>@\"".contains(&b))
    };
    let trunk = match trunk.map(|text| text.strip_prefix("trunk.").filter(|name| !name.is_empty())) {
        Some(Some(name)) => Some(name.to_owned()),
        Some(None) => {
            faults.push(section.fault("line", "write the trunk to the PBX, as \"trunk.pbx\""));
            return None;
        }
        None => None,
    };
    match (trunk, user) {
        (Some(trunk), Some(user)) if is_user(&user) => Some(Line { trunk, user, password }),
        (Some(_), _) => {
            let remedy =
                "write the extension's user at the PBX, 1 to 64 characters without blanks, quotes, < > or @";
            faults.push(section.fault("line_user", remedy));
            None
        }
        (None, None) if password.is_none() => None,
        (None, _) => {
            faults
                .push(section.fault("line", "name the trunk whose PBX has this extension, as \"trunk.pbx\""));
            None
        }
    }
}

/// One rule: who calls what goes where.
#[derive(Debug, Clone)]
pub struct Route {
    from: Option<Source>,
    number: Pattern,
    to: Vec<Goal>,
    /// What is dialled there in place of the number.
    dial: Option<Pattern>,
    ring_timeout: Option<Duration>,
    when: Vec<Occasion>,
    is_last: bool,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Goal {
    /// An edge and what it dials.
    Target(&'static str, String),
    /// An account.
    Account(String),
}

impl Route {
    /// Why a call is not this rule's; none when it is.
    #[must_use]
    pub fn mismatch(&self, query: &RouteQuery) -> Option<String> {
        if let Some(from) = self.from.as_ref().filter(|f| **f != query.source) {
            return Some(format!("it is for calls from {from}"));
        }
        (!self.number.matches(&query.to)).then(|| format!("number {} does not match", self.number))
    }

    /// Where it sends a number.
    #[must_use]
    pub fn step(&self, number: &str) -> Step {
        let dialled = self.dial.as_ref().and_then(|dial| self.number.rewrite(number, dial));
        let number = dialled.as_deref().unwrap_or(number);
        let place = |goal: &Goal| match goal {
            Goal::Target(edge, name) => {
                Place::Target(Target { edge, name: name.clone(), number: number.to_owned(), place: None })
            }
            Goal::Account(name) => Place::Account { name: name.clone(), number: number.to_owned() },
        };
        Step {
            places: self.to.iter().map(place).collect(),
            ring_timeout: self.ring_timeout,
            when: self.when.clone(),
        }
    }

    /// Whether no later route is tried when this one comes to nothing.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.is_last
    }
}

#[derive(Deserialize)]
struct RawRoute {
    from: Option<String>,
    number: Option<String>,
    to: Option<OneOrMany>,
    dial: Option<String>,
    timeout: Option<String>,
    when: Option<OneOrMany>,
    last: Option<bool>,
}

/// What a forward is for.
fn read_when(section: &Section, raw: Option<OneOrMany>, faults: &mut Vec<Fault>) -> Vec<Occasion> {
    let Some(OneOrMany(words)) = raw else { return Vec::new() };
    let occasion = |text: &String| Occasion::ALL.into_iter().find(|o| o.as_str() == text);
    let when: Option<Vec<_>> = words.iter().map(occasion).collect();
    when.filter(|list| !list.is_empty()).unwrap_or_else(|| {
        let words: Vec<String> = Occasion::ALL.iter().map(|o| format!("\"{}\"", o.as_str())).collect();
        faults.push(section.fault("when", format!("write one of {} or a list of them", words.join(", "))));
        Vec::new()
    })
}

/// Reads `[[route]]` tables; `targets` lists what each edge can dial, accounts under `account`.
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
        match read_route(section, targets) {
            Ok(route) => routes.push(route),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(routes) } else { Err(faults) }
}

fn read_route(section: &Section, targets: &BTreeMap<&'static str, Vec<String>>) -> Result<Route, Vec<Fault>> {
    let known = ["from", "number", "to", "dial", "timeout", "when", "last"];
    let (raw, mut faults): (RawRoute, _) = section.read(&known)?;
    let number = raw.number.as_deref().unwrap_or("*").parse::<Pattern>();
    if let Err(error) = &number {
        faults.push(section.fault("number", error.to_string()));
    }
    let dial = raw.dial.as_deref().map(str::parse::<Pattern>).transpose();
    match (&dial, &number) {
        (Err(error), _) => faults.push(section.fault("dial", error.to_string())),
        (Ok(Some(dial)), Ok(number)) if !number.serves(dial) => {
            let remedy = format!(
                "number {number} has fewer * or ? than {dial}; each stands for one of its kind there"
            );
            faults.push(section.fault("dial", remedy));
        }
        _ => {}
    }
    let when = read_when(section, raw.when, &mut faults);
    let goal = |text: &String| {
        let (edge, name) = text.split_once('.')?;
        let (edge, names) = targets.get_key_value(edge)?;
        let name = names.iter().find(|n| *n == name)?.clone();
        Some(if *edge == ACCOUNTS { Goal::Account(name) } else { Goal::Target(edge, name) })
    };
    let is_local = |text: &String| text.starts_with("local.") && !targets.contains_key("local");
    let what = match &raw.to {
        None => "write where its calls go",
        Some(OneOrMany(texts)) if texts.is_empty() => "write at least one",
        Some(OneOrMany(texts)) if texts.iter().any(is_local) => {
            "extensions of our own need local.enabled = true; no such target"
        }
        Some(_) => "no such target",
    };
    let to: Option<Vec<Goal>> = raw.to.and_then(|OneOrMany(texts)| texts.iter().map(goal).collect());
    let to = to.filter(|goals| !goals.is_empty());
    if to.is_none() {
        let list = targets.iter().flat_map(|(edge, names)| names.iter().map(move |n| format!("{edge}.{n}")));
        let list: Vec<String> = list.collect();
        let known =
            if list.is_empty() { "nothing is configured to dial to".to_owned() } else { list.join(", ") };
        faults.push(section.fault("to", format!("{what}; there are: {known}")));
    }
    let from = raw.from.as_deref().map(read_source).transpose();
    match &from {
        Err(()) => {
            faults.push(section.fault("from", "write account.NAME or trunk.NAME, or leave it out for all"));
        }
        Ok(Some(source)) if !is_known(source, targets) => {
            faults.push(section.fault("from", format!("there is no {source}")));
        }
        Ok(_) => {}
    }
    let ring_timeout = raw.timeout.as_deref().map(parse_duration).transpose();
    let ring_timeout = ring_timeout.and_then(|t| match t {
        Some(t) if t < Duration::from_secs(1) => Err("write 1s or more".to_owned()),
        t => Ok(t),
    });
    if let Err(remedy) = &ring_timeout {
        faults.push(section.fault("timeout", remedy));
    }
    match (number, to, dial, from, ring_timeout) {
        (Ok(number), Some(to), Ok(dial), Ok(from), Ok(ring_timeout)) if faults.is_empty() => {
            Ok(Route { from, number, to, dial, ring_timeout, when, is_last: raw.last.unwrap_or(false) })
        }
        _ => Err(faults),
    }
}

/// Whether there is such a source: trunks and accounts are targets too.
fn is_known(source: &Source, targets: &BTreeMap<&'static str, Vec<String>>) -> bool {
    let (kind, name) = match source {
        Source::Account(name) => (ACCOUNTS, name),
        Source::Trunk(name) => ("trunk", name),
        Source::Local(name) => ("local", name),
    };
    targets.get(kind).is_some_and(|names| names.contains(name))
}

/// Reads where a call comes from: `account.anna`, `trunk.pbx`.
///
/// # Errors
/// When it is neither.
#[allow(
    clippy::result_unit_err,
    reason = "there is one way to be wrong, and the caller knows the words for it"
)]
pub fn read_source(text: &str) -> Result<Source, ()> {
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
        let unknown = Section::new("route[2]", "a.toml", json!({"to": "trunk.pbx", "from": "account.anna"}));
        let faults = read_routes(&[unknown], &targets).unwrap_err();
        assert_eq!(faults[0].to_string(), "a.toml: route[2].from: there is no account.anna");
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
    fn a_route_may_dial_another_number_and_be_a_forward_and_mistakes_are_named() {
        let targets = BTreeMap::from([("trunk", vec!["pbx".to_owned()])]);
        let read = |value| read_routes(&[Section::new("route[1]", "t", value)], &targets);
        let forward =
            json!({"number": "0*", "to": "trunk.pbx", "dial": "+49*", "when": ["busy", "no-answer"]});
        let step = read(forward).unwrap()[0].step("030");
        assert_eq!(step.when, [Occasion::Busy, Occasion::NoAnswer]);
        assert!(matches!(&step.places[..], [Place::Target(t)] if t.number == "+4930"), "{step:?}");
        for (key, value) in
            [("dial", json!("+49??")), ("dial", json!("")), ("when", json!("declined")), ("when", json!([]))]
        {
            let mut all = json!({"number": "0*", "to": "trunk.pbx"});
            all[key] = value;
            let faults: Vec<String> = read(all).unwrap_err().into_iter().map(|f| f.key).collect();
            assert_eq!(faults, [format!("route[1].{key}")]);
        }
    }

    #[test]
    fn a_line_names_its_trunk_and_its_user_and_is_one_accounts() {
        let account = |name: &str, value| Section::new(format!("account.{name}"), "t", value);
        let good = || json!({"line": "trunk.pbx", "line_user": "101", "line_password": "p"});
        let line = read_accounts(&[account("a", good())]).unwrap()[0].line().unwrap().clone();
        assert_eq!((line.trunk.as_str(), line.user.as_str()), ("pbx", "101"));
        for (value, key) in [
            (json!({"line": "pbx", "line_user": "101"}), "line"),
            (json!({"line_user": "101"}), "line"),
            (json!({"line_password": "p"}), "line"),
            (json!({"line": "trunk.pbx"}), "line_user"),
            (json!({"line": "trunk.pbx", "line_user": "a b"}), "line_user"),
        ] {
            let faults = read_accounts(&[account("a", value)]).unwrap_err();
            assert_eq!(
                faults.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(),
                [format!("account.a.{key}")]
            );
        }
        let faults = read_accounts(&[account("a", good()), account("b", good())]).unwrap_err();
        assert_eq!(faults[0].key, "account.b.line_user");
    }

    #[test]
    fn a_route_without_a_target_or_with_a_wrong_one_is_told_so_in_words() {
        let targets = BTreeMap::from([("trunk", vec!["pbx".to_owned()])]);
        let told = |value| {
            let faults = read_routes(&[Section::new("route[1]", "t", value)], &targets).unwrap_err();
            Fault::settle(faults).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({})), ["t: route[1].to: write where its calls go; there are: trunk.pbx"]);
        let no_such = "t: route[1].to: no such target; there are: trunk.pbx";
        assert_eq!(told(json!({"to": 5})), [no_such]);
        let all = json!({"to": {"a": 1}, "timeout": 3, "last": "no", "number": ["0*"], "dial": "+49?"});
        assert_eq!(
            told(all),
            [
                "t: route[1].last: write true or false, without quotes, not \"no\"",
                "t: route[1].number: write a text in quotes, not a list",
                "t: route[1].timeout: `3` is no duration; write \"500ms\", \"30s\", \"5m\" or \"1h\"",
                "t: route[1].to: write a text in quotes or a list of texts, not a table",
            ]
        );
    }

    #[test]
    fn a_name_that_can_be_no_caller_id_is_told_without_the_key_that_nobody_wrote() {
        let told = |value| {
            let faults = read_accounts(&[Section::new("account.ü", "t", value)]).unwrap_err();
            faults.into_iter().map(|fault| fault.to_string()).collect::<Vec<_>>()
        };
        let token = "0123456789abcdef";
        let faults = told(json!({ "token": token }));
        assert!(
            faults.len() == 1 && faults[0].starts_with("t: account.ü: ") && faults[0].contains("caller_id"),
            "{faults:?}"
        );
        assert!(told(json!({"token": token, "caller_id": "ä"}))[0].starts_with("t: account.ü.caller_id: "));
    }

    #[test]
    fn accounts_are_held_against_each_other_whatever_else_is_wrong_with_one() {
        let account = |name: &str, value| Section::new(format!("account.{name}"), "t", value);
        let a = account("a", json!({"token": "short", "numbers": ["100"], "max_calls": "4"}));
        let b = account("b", json!({"numbers": ["100"]}));
        let keys: Vec<String> = read_accounts(&[a, b]).unwrap_err().into_iter().map(|f| f.key).collect();
        assert_eq!(keys, ["account.a.max_calls", "account.a.token", "account.b.numbers"]);
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
