//! Digest credentials, server side (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! [`DigestServer::check`] takes a request and yields the user whose credentials it carries, or the 401 that
//! asks for them. A nonce is valid by its keyed contents alone (when it was made and for whom), so a challenge
//! costs no memory. What is remembered is the last nonce count of nonces that were used with a right password,
//! and that table is bounded: who pushes an entry out makes all older nonces stale, never one usable twice.
//! An unknown user, a wrong password and a right one cost the same hashes and the same comparison, told by
//! [`DigestServer::work`]; the first two get the same answer. `stale=true` comes for right credentials alone
//! (RFC 2617 §3.2.1), so it is no failed login and tells nothing to who does not have them.
//!
//! Clients of RFC 2069, which know no `qop`, may use a nonce once. Left out: `auth-int`, `-sess`, `userhash`,
//! Authentication-Info, Proxy-Authorization.

use super::admission::network;
use super::digest::{Algorithm, ha1, hex, parse_digests, response_as_written};
use super::lex::{percent_decode, quote, trim, unquote};
use super::{Answer, HeaderName, Request, SipUri, StatusCode, Transport, Uri};
use crate::base::{Excerpt, Secret, Seed};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// Settings.
#[derive(Debug, Clone)]
pub struct DigestServerConfig {
    /// The realm of all challenges.
    pub realm: String,
    /// How long a nonce may be used.
    pub lifetime: Duration,
    /// Most nonces whose counts are remembered.
    pub nonces: usize,
}

impl DigestServerConfig {
    /// A nonce lives for five minutes: a phone that registers more often answers without a second challenge.
    /// 4,096 nonces are as many peers that have logged in within that time.
    #[must_use]
    pub fn new(realm: impl Into<String>) -> Self {
        Self { realm: realm.into(), lifetime: Duration::from_secs(300), nonces: 4_096 }
    }
}

/// What is offered over a transport unless it is configured: SHA-256 first (RFC 8760 §2.4: the preferred one on
/// top), MD5 for who knows no other.
#[must_use]
pub const fn offer(transport: Transport) -> &'static [Algorithm] {
    match transport {
        Transport::Udp | Transport::Tcp | Transport::Tls(_) => &[Algorithm::Sha256, Algorithm::Md5],
    }
}

/// What we know of a user's password: `H(user:realm:password)` by algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ha1Set(BTreeMap<Algorithm, Secret>);

impl Ha1Set {
    /// From a password, for the algorithms that this user may use.
    #[must_use]
    pub fn of_password(user: &str, realm: &str, password: &Secret, algorithms: &[Algorithm]) -> Self {
        Self(algorithms.iter().map(|a| (*a, ha1(*a, user, realm, password))).collect())
    }

    /// With one hash more, in lower-case hex.
    #[must_use]
    pub fn with(mut self, algorithm: Algorithm, ha1: Secret) -> Self {
        self.0.insert(algorithm, ha1);
        self
    }

    /// Whether there is a hash of this algorithm.
    #[must_use]
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.0.contains_key(&algorithm)
    }
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The 401.
    pub answer: Answer,
    /// Credentials were given and are wrong.
    pub is_failed_login: bool,
    /// As [`Named::is_source_proved`].
    pub is_source_proved: bool,
    /// The user that was named, fit to be printed.
    pub user: Option<String>,
}

/// What credentials say, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The user, as it came.
    pub user: String,
    /// They answer a challenge that was sent to this source: nobody forges its address.
    pub is_source_proved: bool,
}

/// What was computed so far; equal for all users, so that time tells nothing of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Hashes over secrets, the HMAC of a nonce included.
    pub hashes: u64,
    /// Bytes compared with secret values.
    pub bytes_compared: u64,
}

/// When a nonce was made, in milliseconds, and a number that makes it one of its kind.
type NonceId = (u64, u32);

/// The server.
#[derive(Debug)]
pub struct DigestServer {
    config: DigestServerConfig,
    key: Secret,
    /// Stands in for the password of users that are not there.
    nobody: Ha1Set,
    epoch: Instant,
    made: u32,
    /// The last count of each nonce that was used.
    counts: BTreeMap<NonceId, u32>,
    /// Nonces up to this one are not remembered any more.
    forgotten: Option<NonceId>,
    work: Work,
}

/// Digest credentials as they stand in a request.
struct Given {
    user: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    /// Count as written, as a number, and the client's nonce.
    qop: Option<(String, u32, String)>,
}

/// What is wrong with a request's credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// There are none.
    Missing,
    /// Another password, or another user.
    Wrong { is_source_proved: bool },
    /// They are right, and their nonce is too old or was used.
    Stale,
}

impl DigestServer {
    /// A server whose nonces are keyed by `seed`; nonces count time from `now`.
    #[must_use]
    pub fn new(config: DigestServerConfig, now: Instant, mut seed: Seed) -> Self {
        let nobody = Ha1Set::of_password(
            &seed.token(16),
            &config.realm,
            &Secret::new(seed.token(32)),
            &Algorithm::ALL,
        );
        Self {
            config,
            key: Secret::new(seed.token(64)),
            nobody,
            epoch: now,
            made: 0,
            counts: BTreeMap::new(),
            forgotten: None,
            work: Work::default(),
        }
    }

    /// The realm of its challenges.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.config.realm
    }

    /// What was computed so far.
    #[must_use]
    pub const fn work(&self) -> Work {
        self.work
    }

    /// Whose credentials a request carries. `offered` lists the algorithms of this source, preferred first (see
    /// [`offer`]); others are not accepted.
    ///
    /// # Errors
    /// The challenge, when it carries none, or wrong or used ones.
    pub fn check<'s>(
        &mut self,
        now: Instant,
        request: &Request,
        source: IpAddr,
        offered: &[Algorithm],
        secrets: impl FnOnce(&str) -> Option<&'s Ha1Set>,
    ) -> Result<String, Box<Denied>> {
        let Some(given) = self.given(request, offered) else {
            return Err(self.deny(now, source, offered, None, Fault::Missing));
        };
        let known = secrets(&given.user).and_then(|set| set.0.get(&given.algorithm));
        let is_right = self.is_right(&given, request.method.as_str(), known);
        let ours = self.ours(&given.nonce, source);
        if !is_right {
            let fault = Fault::Wrong { is_source_proved: ours.is_some() };
            return Err(self.deny(now, source, offered, Some(&given.user), fault));
        }
        // RFC 7616 §3.4: a count must rise; without one, the nonce is used up at once
        let count = given.qop.as_ref().map_or(u32::MAX, |(_, count, _)| *count);
        match ours.filter(|id| self.is_young(now, *id)) {
            Some(id) if self.take(now, id, count) => Ok(given.user),
            _ => Err(self.deny(now, source, offered, Some(&given.user), Fault::Stale)),
        }
    }

    /// What a request's credentials say, without a look at whether they are right; none when [`Self::check`]
    /// would see none.
    pub fn named(&mut self, request: &Request, source: IpAddr, offered: &[Algorithm]) -> Option<Named> {
        let given = self.given(request, offered)?;
        let is_source_proved = self.ours(&given.nonce, source).is_some();
        Some(Named { user: given.user, is_source_proved })
    }

    /// A challenge, as for a request without credentials.
    pub fn challenge(&mut self, now: Instant, source: IpAddr, offered: &[Algorithm]) -> Answer {
        self.deny(now, source, offered, None, Fault::Missing).answer
    }

    /// The first Digest credentials for our realm that use what we offered.
    fn given(&self, request: &Request, offered: &[Algorithm]) -> Option<Given> {
        let realm = quote(&self.config.realm);
        let lines = request.headers.all(&HeaderName::Authorization);
        let params = lines.flat_map(parse_digests).find(|params| {
            params.iter().any(|(n, v)| n == "realm" && unquote(&format!("\"{v}\"")) == unquote(&realm))
        })?;
        let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let algorithm = find("algorithm").map_or(Some(Algorithm::Md5), Algorithm::parse)?;
        let qop = match find("qop") {
            Some(qop) => {
                let nc = find("nc")?;
                let is_hex = nc.len() == 8 && nc.bytes().all(|b| b.is_ascii_hexdigit());
                let count = is_hex.then(|| u32::from_str_radix(nc, 16).ok()).flatten()?;
                let is_auth = trim(qop).eq_ignore_ascii_case("auth");
                Some((nc.to_owned(), count, find("cnonce")?.to_owned()))
                    .filter(|_| is_auth && count > 0)?
                    .into()
            }
            None => None,
        };
        let given = Given {
            user: unquote(&format!("\"{}\"", find("username")?)),
            nonce: find("nonce")?.to_owned(),
            uri: find("uri")?.to_owned(),
            response: find("response")?.to_ascii_lowercase(),
            algorithm,
            qop,
        };
        let is_usable = offered.contains(&algorithm) && is_same_resource(&given.uri, &request.uri);
        is_usable.then_some(given)
    }

    /// Whether the response is that of the password; without one, the same is computed for nobody's.
    fn is_right(&mut self, given: &Given, method: &str, known: Option<&Secret>) -> bool {
        let Some(ha1) = known.or_else(|| self.nobody.0.get(&given.algorithm)) else { return false };
        let qop = given.qop.as_ref().map(|(nc, _, cnonce)| (nc.as_str(), cnonce.as_str()));
        let right = response_as_written(given.algorithm, ha1, &given.nonce, qop, method, &given.uri);
        self.work.hashes += 2;
        self.work.bytes_compared += right.len() as u64;
        let is_equal: bool = right.as_bytes().ct_eq(given.response.as_bytes()).into();
        is_equal & known.is_some()
    }

    /// The nonce's identity, when we made it for this source.
    fn ours(&mut self, nonce: &str, source: IpAddr) -> Option<NonceId> {
        let hex = |range| u64::from_str_radix(nonce.get(range)?, 16).ok();
        let (made_at, number) = (hex(0..16).unwrap_or_default(), hex(16..24).unwrap_or_default());
        let number = u32::try_from(number).unwrap_or_default();
        let ours = self.nonce(made_at, number, source);
        self.work.bytes_compared += ours.len() as u64;
        let is_ours: bool = ours.as_bytes().ct_eq(nonce.as_bytes()).into();
        is_ours.then_some((made_at, number))
    }

    /// Whether it may be used still.
    fn is_young(&self, now: Instant, (made_at, _): NonceId) -> bool {
        let age = self.clock(now).checked_sub(made_at);
        age.is_some_and(|age| Duration::from_millis(age) < self.config.lifetime)
    }

    /// Notes a count; false when it did not rise, or when nothing is known of so old a nonce any more.
    fn take(&mut self, now: Instant, id: NonceId, count: u32) -> bool {
        match self.counts.get_mut(&id) {
            Some(last) if *last >= count => return false,
            Some(last) => {
                *last = count;
                return true;
            }
            None if self.forgotten.is_some_and(|at| id <= at) => return false,
            None => {}
        }
        let oldest = self.clock(now).saturating_sub(millis(self.config.lifetime));
        while let Some((first, _)) = self.counts.first_key_value()
            && (first.0 < oldest || self.counts.len() >= self.config.nonces)
        {
            self.forgotten = self.forgotten.max(Some(*first));
            self.counts.pop_first();
        }
        // it may itself be older than what had to go
        if self.forgotten.is_some_and(|at| id <= at) {
            return false;
        }
        self.counts.insert(id, count);
        true
    }

    fn deny(
        &mut self,
        now: Instant,
        source: IpAddr,
        offered: &[Algorithm],
        user: Option<&str>,
        fault: Fault,
    ) -> Box<Denied> {
        self.made = self.made.wrapping_add(1);
        let nonce = self.nonce(self.clock(now), self.made, source);
        let stale = if fault == Fault::Stale { ", stale=true" } else { "" };
        let realm = quote(&self.config.realm);
        let answer = offered.iter().fold(Answer::new(StatusCode::UNAUTHORIZED), |answer, algorithm| {
            let value = format!(
                "Digest realm={realm}, nonce=\"{nonce}\", algorithm={}, qop=\"auth\"{stale}",
                algorithm.as_str()
            );
            answer.with(HeaderName::WwwAuthenticate, value)
        });
        Box::new(Denied {
            answer,
            is_failed_login: matches!(fault, Fault::Wrong { .. }),
            is_source_proved: fault == Fault::Wrong { is_source_proved: true },
            user: user.map(|u| Excerpt(u).to_string()),
        })
    }

    /// `time number mac`, in hex; the MAC is over the other two and the source's network.
    fn nonce(&mut self, made_at: u64, number: u32, source: IpAddr) -> String {
        self.work.hashes += 1;
        let head = format!("{made_at:016x}{number:08x}");
        let mut mac = [0; 32];
        // HMAC takes keys of any length (RFC 2104 §2)
        if let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(self.key.expose().as_bytes()) {
            hmac.update(head.as_bytes());
            hmac.update(network(source).to_string().as_bytes());
            mac = hmac.finalize().into_bytes().into();
        }
        let (half, _) = mac.split_at(16);
        head + &hex(half)
    }

    fn clock(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.epoch))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether the `uri` of credentials means the Request-URI (RFC 7616 §3.4.6): the same user at the same host.
/// Ports and parameters are not compared: real peers write them in one place and not in the other, and a proxy
/// in between may add them (RFC 3261 §22.4).
fn is_same_resource(written: &str, request_uri: &Uri) -> bool {
    match (Uri::parse(written), request_uri) {
        (Ok(Uri::Sip(a)), Uri::Sip(b)) => {
            // what the parameters make of a user counts as little
            let user = |uri: &SipUri| uri.user().map(percent_decode);
            a.is_secure == b.is_secure && user(&a) == user(b) && a.host.is_same(&b.host)
        }
        (Ok(a), b) => a == *b,
        (Err(_), _) => false,
    }
}

#[cfg(test)]
#[path = "digest_server_tests.rs"]
mod tests;
