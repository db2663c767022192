//! Who there is and where calls go: accounts with their tokens and limits, and the routes.

mod config;
mod limits;
mod pattern;

pub use config::{Account, Route, read_accounts, read_routes};
pub use pattern::{Pattern, PatternError};

use crate::base::{Cause, Seed};
use crate::call::route::{RouteDecision, RouteQuery, Router};
use dashmap::DashMap;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// Calls at once, of all accounts and trunks together.
pub const MAX_CALLS: usize = 2_000;

/// Accounts, routes, and what they use now.
pub struct Registry {
    accounts: BTreeMap<String, Arc<Account>>,
    routes: Vec<Route>,
    /// Keyed digest of a token → account. A key of this process makes what a timing could tell worthless.
    tokens: BTreeMap<[u8; 32], Arc<Account>>,
    token_key: [u8; 32],
    live: Arc<Live>,
}

#[derive(Default)]
struct Live {
    requests: DashMap<String, limits::Bucket>,
    all: AtomicUsize,
    by_account: DashMap<String, usize>,
}

/// A place among the calls at once; dropping it gives the place back.
pub struct CallPermit {
    live: Arc<Live>,
    account: String,
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
        Self { accounts, routes, tokens, token_key, live: Arc::default() }
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

    /// A place for one more call of an account.
    ///
    /// # Errors
    /// [`Cause::Congestion`] when the account's or the process's limit is reached.
    pub fn admit(&self, account: &Account) -> Result<CallPermit, Cause> {
        let is_free = |n: usize| (n < MAX_CALLS).then_some(n + 1);
        if self.live.all.fetch_update(Ordering::AcqRel, Ordering::Acquire, is_free).is_err() {
            return Err(Cause::Congestion);
        }
        // from here on the permit gives back what was taken
        let mut count = self.live.by_account.entry(account.name().to_owned()).or_default();
        *count += 1;
        let is_over = *count > account.max_calls();
        drop(count);
        let permit = CallPermit { live: self.live.clone(), account: account.name().to_owned() };
        if is_over { Err(Cause::Congestion) } else { Ok(permit) }
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
        if let Some(mut count) = self.live.by_account.get_mut(&self.account) {
            *count = count.saturating_sub(1);
        }
        self.live.by_account.remove_if(&self.account, |_, count| *count == 0);
    }
}

impl Router for Registry {
    /// The routes whose source and number match, in order.
    fn route(&self, query: &RouteQuery) -> RouteDecision {
        let steps: Vec<_> =
            self.routes.iter().filter(|r| r.matches(query)).map(|r| r.step(&query.to)).collect();
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
    use crate::call::route::{Place, Source, Step, Target};
    use serde_json::json;

    fn registry() -> Registry {
        let account = |name: &str, value| Section::new(format!("account.{name}"), "t", value);
        let accounts = read_accounts(&[
            account("anna", json!({"token": "anna-token-0123456789", "max_calls": 2})),
            account("bert", json!({"tokens": ["bert-token-0123456789", "bert-other-0123456789"]})),
        ])
        .unwrap();
        let route = |value| Section::new("route[1]", "t", value);
        let targets = BTreeMap::from([("trunk", vec!["pbx".to_owned(), "isp".to_owned()])]);
        let routes = read_routes(
            &[
                route(json!({"number": "6??", "to": "trunk.pbx"})),
                route(json!({"from": "account.bert", "number": "+*", "to": "trunk.isp"})),
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
    fn the_first_route_that_matches_source_and_number_is_taken() {
        let r = registry();
        let to = |name: &str, number: &str| {
            let target = Target { edge: "trunk", name: name.into(), number: number.into() };
            RouteDecision::To(vec![Step { places: vec![Place::Target(target)], ring_timeout: None }])
        };
        assert_eq!(ask(&r, "anna", "600"), to("pbx", "600"));
        assert_eq!(ask(&r, "bert", "+49301234"), to("isp", "+49301234"));
        assert_eq!(ask(&r, "anna", "+49301234"), RouteDecision::NoRoute);
        assert_eq!(ask(&r, "anna", "6000"), RouteDecision::NoRoute);
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
}
