//! Who there is and where calls go: accounts with their tokens and limits, and the routes.

mod config;
mod limits;
mod pattern;

pub use config::{ACCOUNTS, Account, Line, Route, read_accounts, read_routes, read_source, useless_routes};
pub use pattern::{Pattern, PatternError, RewriteError, Rewrites};

use crate::base::{Cause, Seed};
use crate::call::route::{Place, RouteDecision, RouteQuery, Router, Source, Step};
use dashmap::DashMap;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Calls at once, of all accounts and trunks together, unless it is configured; see [`Registry::with_places`].
const MAX_CALLS: usize = 2_000;
/// A trunk's calls that nobody has answered may be so many for each place that is free.
const UNANSWERED_FOR_A_FREE_PLACE: usize = 4;

/// Accounts, routes, and what they use now.
pub struct Registry {
    accounts: BTreeMap<String, Arc<Account>>,
    routes: Vec<Route>,
    /// Keyed digest of a token → account. A key of this process makes what a timing could tell worthless.
    tokens: BTreeMap<[u8; 32], Arc<Account>>,
    token_key: [u8; 32],
    places: usize,
    live: Arc<Live>,
}

#[derive(Default)]
struct Live {
    requests: DashMap<String, limits::Bucket>,
    all: AtomicUsize,
    by_account: DashMap<String, usize>,
    /// Calls of each trunk that it has not seen answered.
    unanswered: DashMap<String, usize>,
}

/// Why a trunk's call has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// All are taken.
    Full,
    /// The trunk's calls that nobody has answered have as many as they may.
    Unanswered,
}

/// A place among the calls at once; dropping it gives the place back.
pub struct CallPermit {
    live: Arc<Live>,
    /// None for a call of nobody's in particular.
    account: Option<String>,
}

/// A trunk's call that it has not seen answered; dropping it says that it has, or that the call is over.
pub struct Unanswered {
    live: Arc<Live>,
    trunk: String,
}

impl Registry {
    /// A registry; `seed` keys the token digests.
    #[must_use]
    pub fn new(accounts: Vec<Account>, routes: Vec<Route>, seed: &mut Seed) -> Self {
        let mut token_key = [0; 32];
        seed.fill(&mut token_key);
        let accounts: BTreeMap<String, Arc<Account>> =
            accounts.into_iter().map(|a| (a.name().to_owned(), Arc::new(a))).collect();
        let digests = |a: &Arc<Account>| {
            let digest = |t: &crate::base::Secret| (keyed_digest(&token_key, t.expose()), a.clone());
            a.tokens().iter().map(digest).collect::<Vec<_>>()
        };
        let tokens = accounts.values().flat_map(digests).collect();
        Self { accounts, routes, tokens, token_key, places: MAX_CALLS, live: Arc::default() }
    }

    /// The same with so many places for calls at once.
    #[must_use]
    pub const fn with_places(mut self, places: usize) -> Self {
        self.places = places;
        self
    }

    /// The account that a token belongs to.
    #[must_use]
    pub fn account_by_token(&self, token: &str) -> Option<Arc<Account>> {
        self.tokens.get(&keyed_digest(&self.token_key, token)).cloned()
    }

    /// All accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    /// An account by name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<Arc<Account>> {
        self.accounts.get(name).cloned()
    }

    /// The names of all accounts.
    pub fn account_names(&self) -> impl Iterator<Item = &str> {
        self.accounts.keys().map(String::as_str)
    }

    /// A place for one more call of an account.
    ///
    /// # Errors
    /// [`Cause::Congestion`] when the account's or the process's limit is reached.
    pub fn admit(&self, account: &Account) -> Result<CallPermit, Cause> {
        let mut permit = self.admit_any()?;
        let mut count = self.live.by_account.entry(account.name().to_owned()).or_default();
        *count += 1;
        let is_over = *count > account.max_calls();
        drop(count);
        permit.account = Some(account.name().to_owned());
        if is_over { Err(Cause::Congestion) } else { Ok(permit) }
    }

    /// A place for one more call of a trunk; it counts as unanswered until the second one is dropped.
    ///
    /// # Errors
    /// Why there is none: whoever writes a trunk's address on datagrams gets no answer and cannot talk, so what rings
    /// leaves room for others, who leave room in their turn.
    pub fn admit_trunk(&self, trunk: &str) -> Result<(CallPermit, Unanswered), NoPlace> {
        let mut count = self.live.unanswered.entry(trunk.to_owned()).or_default();
        let free = self.places.saturating_sub(self.live_calls());
        if free > 0 && *count >= free.saturating_mul(UNANSWERED_FOR_A_FREE_PLACE) {
            return Err(NoPlace::Unanswered);
        }
        let permit = self.admit_any();
        // before its place is, so that the entry is forgotten again
        *count += 1;
        drop(count);
        let unanswered = Unanswered { live: self.live.clone(), trunk: trunk.to_owned() };
        permit.map(|permit| (permit, unanswered)).map_err(|_| NoPlace::Full)
    }

    /// A place for one more call.
    fn admit_any(&self) -> Result<CallPermit, Cause> {
        let is_free = |n: usize| (n < self.places).then_some(n + 1);
        if self.live.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_free).is_err() {
            return Err(Cause::Congestion);
        }
        // from here on the permit gives back what was taken
        Ok(CallPermit { live: self.live.clone(), account: None })
    }

    /// Whether an account may ask the API once more now.
    #[must_use]
    pub fn may_ask(&self, account: &Account, now: Instant) -> bool {
        let mut bucket =
            self.live.requests.entry(account.name().to_owned()).or_insert_with(|| limits::Bucket::full(now));
        bucket.take(now)
    }

    /// Calls that hold a permit now.
    #[must_use]
    pub fn live_calls(&self) -> usize {
        self.live.all.load(Ordering::Acquire)
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.live.all.fetch_sub(1, Ordering::AcqRel);
        let Some(account) = &self.account else { return };
        if let Some(mut count) = self.live.by_account.get_mut(account) {
            *count = count.saturating_sub(1);
        }
        self.live.by_account.remove_if(account, |_, count| *count == 0);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(mut count) = self.live.unanswered.get_mut(&self.trunk) {
            *count = count.saturating_sub(1);
        }
        self.live.unanswered.remove_if(&self.trunk, |_, count| *count == 0);
    }
}

/// Why a call goes where it goes: one line a rule that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rule: `route[2]`, `numbers of account.anna`.
    pub rule: String,
    /// What it does with the call, or why it does nothing.
    pub outcome: Result<Step, String>,
}

impl Registry {
    /// What each rule does with a call, in the order in which they are looked at: the routes, then the lines and numbers of
    /// accounts. A route that is the last ends the list.
    #[must_use]
    pub fn explain(&self, query: &RouteQuery) -> Vec<Explanation> {
        let mut lines = Vec::new();
        for (n, route) in (1..).zip(&self.routes) {
            let mismatch = route.mismatch(query);
            let is_end = mismatch.is_none() && route.is_last();
            let outcome = mismatch.map_or_else(|| Ok(route.step(&query.to)), Err);
            lines.push(Explanation { rule: format!("route[{n}]"), outcome });
            if is_end {
                return lines;
            }
        }
        let is_line =
            |line: &Line| query.source == Source::Trunk(line.trunk.clone()) && query.to == line.user;
        if let Some(account) = self.accounts.values().find(|a| a.line().is_some_and(is_line)) {
            let place = Place::Account { name: account.name().to_owned(), number: query.to.clone() };
            let rule = format!("line of account.{}", account.name());
            lines.push(Explanation { rule, outcome: Ok(Step { places: vec![place], ..Step::default() }) });
            return lines;
        }
        if let Some(account) = self.accounts.values().find(|a| a.numbers().contains(&query.to)) {
            let place = Place::Account { name: account.name().to_owned(), number: query.to.clone() };
            let rule = format!("numbers of account.{}", account.name());
            lines.push(Explanation { rule, outcome: Ok(Step { places: vec![place], ..Step::default() }) });
        }
        lines
    }
}

impl Router for Registry {
    /// The routes whose source and number match, in order; then the account that has the number.
    fn route(&self, query: &RouteQuery) -> RouteDecision {
        let steps: Vec<_> = self.explain(query).into_iter().filter_map(|line| line.outcome.ok()).collect();
        if steps.is_empty() { RouteDecision::NoRoute } else { RouteDecision::To(steps) }
    }
}

fn keyed_digest(key: &[u8; 32], token: &str) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(token.as_bytes());
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 32], // HMAC takes keys of any length (RFC 2104 §2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Section;
    use crate::call::route::Target;
    use serde_json::json;

    fn registry() -> Registry {
        let account = |name: &str, value| Section::new(format!("account.{name}"), "t", value);
        let accounts = read_accounts(&[
            account("anna", json!({"token": "anna-token-0123456789", "max_calls": 2, "numbers": ["1001"]})),
            account("bert", json!({"tokens": ["bert-token-0123456789", "bert-other-0123456789"]})),
        ])
        .unwrap();
        let route = |value| Section::new("route[1]", "t", value);
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect();
        let targets =
            BTreeMap::from([("trunk", names(&["pbx", "isp"])), (ACCOUNTS, names(&["anna", "bert"]))]);
        let routes = read_routes(
            &[
                route(json!({"number": "6??", "to": "trunk.pbx"})),
                route(json!({"from": "account.bert", "number": "+*", "to": "trunk.isp"})),
                route(json!({"number": "7*", "to": ["account.anna", "account.bert"], "timeout": "20s"})),
                route(json!({"number": "7*", "to": "trunk.pbx", "last": true})),
                route(json!({"number": "7*", "to": "trunk.isp"})),
            ],
            &targets,
        )
        .unwrap();
        Registry::new(accounts, routes, &mut Seed::from_number(1))
    }

    fn ask(registry: &Registry, from: &str, to: &str) -> RouteDecision {
        registry.route(&RouteQuery { source: Source::Account(from.into()), to: to.into() })
    }

    #[test]
    fn a_route_is_taken_by_source_and_number() {
        let r = registry();
        let to = |name: &str, number: &str| {
            let target = Target { edge: "trunk", name: name.into(), number: number.into(), place: None };
            RouteDecision::To(vec![Step { places: vec![Place::Target(target)], ..Step::default() }])
        };
        assert_eq!(ask(&r, "anna", "600"), to("pbx", "600"));
        assert_eq!(ask(&r, "bert", "+49301234"), to("isp", "+49301234"));
        assert_eq!(ask(&r, "anna", "+49301234"), RouteDecision::NoRoute);
        assert_eq!(ask(&r, "anna", "6000"), RouteDecision::NoRoute);
    }

    #[test]
    fn every_route_that_matches_is_tried_in_turn_up_to_the_one_that_is_the_last() {
        let r = registry();
        let account = |name: &str| Place::Account { name: name.into(), number: "70".into() };
        let pbx =
            Place::Target(Target { edge: "trunk", name: "pbx".into(), number: "70".into(), place: None });
        let both = Step {
            places: vec![account("anna"), account("bert")],
            ring_timeout: Some(std::time::Duration::from_secs(20)),
            ..Step::default()
        };
        let last = Step { places: vec![pbx], ..Step::default() };
        assert_eq!(ask(&r, "anna", "70"), RouteDecision::To(vec![both, last]));
    }

    #[test]
    fn a_call_by_an_accounts_line_rings_it_and_the_same_number_by_another_way_does_not() {
        let anna = json!({"token": "anna-token-0123456789", "line": "trunk.pbx", "line_user": "101"});
        let accounts = read_accounts(&[Section::new("account.anna", "t", anna)]).unwrap();
        let r = Registry::new(accounts, Vec::new(), &mut Seed::from_number(1));
        let by = |trunk: &str| r.route(&RouteQuery { source: Source::Trunk(trunk.into()), to: "101".into() });
        let place = Place::Account { name: "anna".into(), number: "101".into() };
        assert_eq!(by("pbx"), RouteDecision::To(vec![Step { places: vec![place], ..Step::default() }]));
        assert_eq!(by("isp"), RouteDecision::NoRoute);
    }

    #[test]
    fn a_number_of_an_account_rings_it_without_a_route_and_an_explanation_names_each_rule() {
        let r = registry();
        let place = Place::Account { name: "anna".into(), number: "1001".into() };
        let step = Step { places: vec![place], ..Step::default() };
        assert_eq!(ask(&r, "bert", "1001"), RouteDecision::To(vec![step.clone()]));
        let query = RouteQuery { source: Source::Trunk("pbx".into()), to: "1001".into() };
        let lines = r.explain(&query);
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0].outcome, Err("number 6?? does not match".to_owned()));
        assert_eq!(lines[1].outcome, Err("it is for calls from account.bert".to_owned()));
        assert_eq!((lines[5].rule.as_str(), &lines[5].outcome), ("numbers of account.anna", &Ok(step)));
    }

    #[test]
    fn each_token_leads_to_its_account_and_no_other_text_does() {
        let r = registry();
        let name = |t: &str| r.account_by_token(t).map(|a| a.name().to_owned());
        assert_eq!(name("anna-token-0123456789").as_deref(), Some("anna"));
        assert_eq!(name("bert-other-0123456789").as_deref(), Some("bert"));
        assert_eq!(name("anna-token-012345678"), None);
        assert_eq!(name(""), None);
    }

    #[test]
    fn a_permit_counts_until_it_is_dropped_and_a_refused_one_counts_nothing() {
        let r = registry();
        let anna = r.account("anna").unwrap();
        let first = r.admit(&anna).ok();
        let second = r.admit(&anna).ok();
        assert!(first.is_some() && second.is_some());
        assert!(matches!(r.admit(&anna), Err(Cause::Congestion)));
        assert_eq!(r.live_calls(), 2);
        drop(first);
        assert!(r.admit(&anna).is_ok());
        drop(second);
        assert_eq!(r.live_calls(), 0);
        assert!(r.live.by_account.is_empty());
    }

    #[test]
    fn calls_that_nobody_has_answered_leave_places_for_others_who_leave_some_in_turn() {
        let r = registry().with_places(1_000);
        let flood = |trunk: &str| {
            let mut held = Vec::new();
            while let Ok(call) = r.admit_trunk(trunk) {
                held.push(call);
            }
            held
        };
        let (first, second) = (flood("a"), flood("b"));
        assert_eq!((first.len(), second.len()), (800, 160));
        assert!(r.admit(&r.account("anna").unwrap()).is_ok());
        assert_eq!(r.admit_trunk("a").err(), Some(NoPlace::Unanswered));
        // an answered call keeps its place, and makes room for another that rings
        let (answered, unanswered): (Vec<_>, Vec<_>) = first.into_iter().unzip();
        drop(unanswered);
        let more = flood("a");
        assert_eq!((more.len(), r.live_calls()), (32, 992));
        drop((answered, more, second));
        assert_eq!(r.live_calls(), 0);
        assert!(r.live.unanswered.is_empty());
    }

    #[test]
    fn the_last_place_may_be_a_trunks_and_one_beyond_it_is_nobodys() {
        let r = registry().with_places(1);
        let only = r.admit_trunk("a").ok();
        assert!(only.is_some());
        assert_eq!(r.admit_trunk("a").err(), Some(NoPlace::Full));
        assert_eq!(r.admit_trunk("b").err(), Some(NoPlace::Full));
        assert!(r.admit(&r.account("anna").unwrap()).is_err());
        drop(only);
        assert!(r.live.unanswered.is_empty() && r.admit_trunk("b").is_ok());
    }
}
