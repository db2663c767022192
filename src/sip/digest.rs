//! Digest credentials, client side (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! [`DigestClient::answer`] takes a 401 or 407 and yields the header lines for the next try, or says why
//! there is none. It answers the strongest algorithm that is allowed, once per realm; a second challenge
//! without `stale=true` means that the password is wrong. Credentials with a realm never answer another.
//! The hashing is free functions, for the server side too. Left out: `auth-int`, `-sess`, `userhash`.

use super::lex::{quote, split_outside, trim, unquote};
use super::{Header, HeaderName, Method, Response, StatusCode};
use crate::base::Secret;
use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha512_256};
use std::fmt::Write as _;

/// A hash (RFC 7616 §6.1), weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `MD5`
    Md5,
    /// `SHA-256`
    Sha256,
    /// `SHA-512-256`
    Sha512_256,
}

impl Algorithm {
    /// All, weakest first.
    pub const ALL: [Self; 3] = [Self::Md5, Self::Sha256, Self::Sha512_256];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// By name, without case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str().eq_ignore_ascii_case(text))
    }

    /// The hash of a text in lower-case hex.
    #[must_use]
    pub fn hash(self, text: &str) -> String {
        match self {
            Self::Md5 => hex(&Md5::digest(text)),
            Self::Sha256 => hex(&Sha256::digest(text)),
            Self::Sha512_256 => hex(&Sha512_256::digest(text)),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut out, b| {
        // writing into a String cannot fail
        let _ = write!(out, "{b:02x}");
        out
    })
}

/// `H(user:realm:password)` (RFC 7616 §3.4.2).
#[must_use]
pub fn ha1(algorithm: Algorithm, user: &str, realm: &str, password: &Secret) -> Secret {
    Secret::new(algorithm.hash(&format!("{user}:{realm}:{}", password.expose())))
}

/// The `qop=auth` part of a response (RFC 7616 §3.4.1).
#[derive(Debug, Clone, Copy)]
pub struct QopAuth<'a> {
    /// Nonce count, from 1.
    pub nc: u32,
    /// Client nonce.
    pub cnonce: &'a str,
}

/// The `response` value; without `qop` by the rule of RFC 2069.
#[must_use]
pub fn response(
    algorithm: Algorithm,
    ha1: &Secret,
    nonce: &str,
    qop: Option<QopAuth<'_>>,
    method: &str,
    uri: &str,
) -> String {
    let nc = qop.map(|q| format!("{:08x}", q.nc));
    let qop = nc.as_deref().zip(qop.map(|q| q.cnonce));
    response_as_written(algorithm, ha1, nonce, qop, method, uri)
}

/// The same from nonce count and client nonce as they stand in a message. Two hashes.
pub(super) fn response_as_written(
    algorithm: Algorithm,
    ha1: &Secret,
    nonce: &str,
    qop: Option<(&str, &str)>,
    method: &str,
    uri: &str,
) -> String {
    let ha1 = ha1.expose();
    let ha2 = algorithm.hash(&format!("{method}:{uri}"));
    match qop {
        Some((nc, cnonce)) => algorithm.hash(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}")),
        None => algorithm.hash(&format!("{ha1}:{nonce}:{ha2}")),
    }
}

/// Who we are towards one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// The only realm that is answered; none: whatever the peer names.
    pub realm: Option<String>,
    /// Algorithms that may be used.
    pub algorithms: Vec<Algorithm>,
}

impl Credentials {
    /// Credentials for any realm and algorithm.
    #[must_use]
    pub fn new(user: impl Into<String>, password: Secret) -> Self {
        Self { user: user.into(), password, realm: None, algorithms: Algorithm::ALL.to_vec() }
    }
}

/// A Digest challenge. Text values are the insides of their quotes, escapes untouched (RFC 7616 `unq`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Realm.
    pub realm: String,
    /// Nonce.
    pub nonce: String,
    /// Opaque, echoed.
    pub opaque: Option<String>,
    /// Algorithm; none when we do not know it.
    pub algorithm: Option<Algorithm>,
    /// The qop options, lower case; none in challenges of RFC 2069.
    pub qop: Option<Vec<String>>,
    /// The nonce was too old, the credentials were right.
    pub is_stale: bool,
}

/// The Digest challenges or credentials of one header line, which may hold several, as name and value pairs.
pub(super) fn parse_digests(line: &str) -> Vec<Vec<(String, String)>> {
    let mut all: Vec<(bool, Vec<(String, String)>)> = Vec::new();
    for piece in split_outside(line, b',').unwrap_or_default() {
        let mut param = piece;
        // `Scheme name=value` opens the next one
        if let Some((scheme, rest)) = piece.split_once([' ', '\t'])
            && !scheme.contains('=')
            && !trim(rest).starts_with('=')
        {
            all.push((scheme.eq_ignore_ascii_case("Digest"), Vec::new()));
            param = rest;
        }
        if let (Some((name, value)), Some((_, params))) = (param.split_once('='), all.last_mut()) {
            let value = trim(value);
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
            params.push((trim(name).to_ascii_lowercase(), inner.to_owned()));
        }
    }
    all.into_iter().filter(|(is_digest, _)| *is_digest).map(|(_, params)| params).collect()
}

impl Challenge {
    /// The Digest challenges of one header line; other schemes and those without realm or nonce are left out.
    #[must_use]
    pub fn parse_line(line: &str) -> Vec<Self> {
        parse_digests(line)
            .into_iter()
            .filter_map(|params| {
                let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
                Some(Self {
                    realm: find("realm")?,
                    nonce: find("nonce")?,
                    opaque: find("opaque"),
                    algorithm: find("algorithm").map_or(Some(Algorithm::Md5), |a| Algorithm::parse(&a)),
                    qop: find("qop").map(|q| q.split(',').map(|o| trim(o).to_ascii_lowercase()).collect()),
                    is_stale: find("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
                })
            })
            .collect()
    }

    fn is_usable(&self, credentials: &Credentials) -> bool {
        let has_auth = self.qop.as_ref().is_none_or(|q| q.iter().any(|o| o == "auth"));
        has_auth && self.algorithm.is_some_and(|a| credentials.algorithms.contains(&a))
    }
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No Digest challenge in the response.
    #[error("the far side asked for credentials and named no Digest challenge")]
    NoChallenge,
    /// The realm is not the configured one.
    #[error("the far side asked for credentials of another realm than the configured one")]
    OtherRealm,
    /// No algorithm or qop that is allowed.
    #[error("the far side offers no digest algorithm that is allowed")]
    NotAllowed,
    /// The answer was refused.
    #[error("the far side refused the user or password")]
    Refused,
}

/// Most realms answered in one request: a response cannot make us compute without end.
const MAX_REALMS: usize = 4;

/// The client's memory: nonce counts, and what the current request has answered.
#[derive(Debug, Clone)]
pub struct DigestClient {
    credentials: Credentials,
    answered: Vec<(bool, String)>,
    counts: Vec<(String, u32)>,
}

impl DigestClient {
    /// Nothing answered yet.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials, answered: Vec::new(), counts: Vec::new() }
    }

    /// A new request begins: it may be challenged once more.
    pub fn begin(&mut self) {
        self.answered.clear();
    }

    /// The credentials for a 401 or 407. `cnonce` is fresh randomness; `uri` the Request-URI of the retry.
    ///
    /// # Errors
    /// Why there are none.
    pub fn answer(
        &mut self,
        challenged: &Response,
        method: &Method,
        uri: &str,
        cnonce: &str,
    ) -> Result<Vec<Header>, DigestError> {
        let is_proxy = challenged.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let (from, to) = if is_proxy {
            (HeaderName::ProxyAuthenticate, HeaderName::ProxyAuthorization)
        } else {
            (HeaderName::WwwAuthenticate, HeaderName::Authorization)
        };
        let all: Vec<Challenge> = challenged.headers.all(&from).flat_map(Challenge::parse_line).collect();
        if all.is_empty() {
            return Err(DigestError::NoChallenge);
        }
        let is_ours = |c: &Challenge| {
            let wanted = self.credentials.realm.as_deref();
            wanted.is_none_or(|w| w == c.realm || w == unquote(&format!("\"{}\"", c.realm)))
        };
        let ours: Vec<Challenge> = all.into_iter().filter(is_ours).collect();
        if ours.is_empty() {
            return Err(DigestError::OtherRealm);
        }
        let mut chosen: Vec<Challenge> = Vec::new();
        for c in ours.into_iter().filter(|c| c.is_usable(&self.credentials)) {
            let has_room = chosen.len() < MAX_REALMS;
            match chosen.iter_mut().find(|o| o.realm == c.realm) {
                Some(other) if other.algorithm < c.algorithm => *other = c,
                Some(_) => {}
                None if has_room => chosen.push(c),
                None => {}
            }
        }
        if chosen.is_empty() {
            return Err(DigestError::NotAllowed);
        }
        let mut lines = Vec::new();
        for c in chosen {
            let mark = (is_proxy, c.realm.clone());
            if self.answered.contains(&mark) && !c.is_stale {
                return Err(DigestError::Refused);
            }
            // a peer that says stale for ever is refused too
            if self.answered.len() >= 2 * MAX_REALMS {
                return Err(DigestError::Refused);
            }
            self.answered.push(mark);
            lines.push(Header::new(to.clone(), self.credentials_for(&c, method, uri, cnonce)));
        }
        Ok(lines)
    }

    fn credentials_for(&mut self, c: &Challenge, method: &Method, uri: &str, cnonce: &str) -> String {
        let algorithm = c.algorithm.unwrap_or(Algorithm::Md5);
        let quoted_user = quote(&self.credentials.user);
        let user = quoted_user.get(1..quoted_user.len().saturating_sub(1)).unwrap_or_default();
        let ha1 = ha1(algorithm, user, &c.realm, &self.credentials.password);
        let nc = self.count(&c.nonce);
        let qop = c.qop.is_some().then_some(QopAuth { nc, cnonce });
        let value = response(algorithm, &ha1, &c.nonce, qop, method.as_str(), uri);
        let mut line = format!(
            "Digest username={quoted_user}, realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", response=\"{value}\", algorithm={}",
            c.realm,
            c.nonce,
            algorithm.as_str()
        );
        // writing into a String cannot fail
        if let Some(opaque) = &c.opaque {
            let _ = write!(line, ", opaque=\"{opaque}\"");
        }
        if qop.is_some() {
            let _ = write!(line, ", qop=auth, nc={nc:08x}, cnonce=\"{cnonce}\"");
        }
        line
    }

    /// How often this nonce was used, this time included (RFC 7616 §3.4). The last few are remembered.
    fn count(&mut self, nonce: &str) -> u32 {
        if let Some((_, n)) = self.counts.iter_mut().find(|(known, _)| known == nonce) {
            *n = n.saturating_add(1);
            return *n;
        }
        if self.counts.len() >= MAX_REALMS {
            self.counts.remove(0);
        }
        self.counts.push((nonce.to_owned(), 1));
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Request, Uri};

    #[test]
    fn the_examples_of_rfc_2617_and_rfc_7616_come_out() {
        let md5 = |user, realm, pass| ha1(Algorithm::Md5, user, realm, &Secret::new(pass));
        let nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
        // RFC 2617 §3.5
        let q = Some(QopAuth { nc: 1, cnonce: "0a4f113b" });
        let h = md5("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(
            response(Algorithm::Md5, &h, nonce, q, "GET", "/dir/index.html"),
            "6629fae49393a05397450978507c4ef1"
        );
        // RFC 2069 §2.4, value of erratum 749
        let h = md5("Mufasa", "testrealm@host.com", "CircleOfLife");
        assert_eq!(
            response(Algorithm::Md5, &h, nonce, None, "GET", "/dir/index.html"),
            "1949323746fe6a43ef61f9606e7febea"
        );
        // RFC 7616 §3.9.1
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let q = Some(QopAuth { nc: 1, cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ" });
        for (a, expected) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let h = ha1(a, "Mufasa", "http-auth@example.org", &Secret::new("Circle of Life"));
            assert_eq!(response(a, &h, nonce, q, "GET", "/dir/index.html"), expected);
        }
        // inputs of RFC 7616 §3.9.2; the value is from OpenSSL, since the printed one is disputed by errata
        let a = Algorithm::Sha512_256;
        let h = ha1(a, "Jäsøn Doe", "api@example.org", &Secret::new("Secret, or not?"));
        let q = Some(QopAuth { nc: 1, cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+niz/sm" });
        assert_eq!(
            response(a, &h, "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", q, "GET", "/doe.json"),
            "7a4e1192babbba02e91182d2895bfdbf7adafc6e48d4e517ca301974843d840c"
        );
    }

    fn challenged(lines: &[&str]) -> Response {
        let request = Request::new(Method::INVITE, Uri::parse("sip:a@b").unwrap());
        let mut r = request.response(StatusCode::UNAUTHORIZED, None);
        lines.iter().for_each(|l| r.headers.push(HeaderName::WwwAuthenticate, *l));
        r
    }

    fn client() -> DigestClient {
        DigestClient::new(Credentials::new("alice", Secret::new("s3cret")))
    }

    fn answer(client: &mut DigestClient, lines: &[&str]) -> Result<String, DigestError> {
        let lines = client.answer(&challenged(lines), &Method::INVITE, "sip:a@b", "0a4f")?;
        Ok(lines.iter().map(|h| format!("{}: {}", h.name(), h.value())).collect::<Vec<_>>().join("\n"))
    }

    const SHA: &str =
        "Digest realm=\"r\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"o\"";
    const MD5: &str = "Digest realm=\"r\", nonce=\"n2\", algorithm=MD5";

    #[test]
    fn the_strongest_allowed_of_several_challenges_is_answered_rfc_8760_2_4() {
        for lines in [vec![MD5, SHA], vec![SHA, MD5], vec![&format!("Basic realm=\"x\", {MD5}, {SHA}")]] {
            let line = answer(&mut client(), &lines).unwrap();
            assert!(line.contains("algorithm=SHA-256") && !line.contains('\n'), "{line}");
            assert!(line.contains("opaque=\"o\"") && line.contains("qop=auth, nc=00000001"), "{line}");
        }
        let mut md5_only = client();
        md5_only.credentials.algorithms = vec![Algorithm::Md5];
        let line = answer(&mut md5_only, &[SHA, MD5]).unwrap();
        assert!(line.contains("algorithm=MD5") && !line.contains("qop"), "{line}");
        assert_eq!(answer(&mut md5_only, &[SHA]), Err(DigestError::NotAllowed));
    }

    #[test]
    fn a_second_challenge_means_a_wrong_password_unless_it_says_stale_rfc_7616_3_3() {
        let mut c = client();
        answer(&mut c, &[SHA]).unwrap();
        let stale = SHA.replace("n1", "n9") + ", stale=TRUE";
        assert!(answer(&mut c, &[&stale]).unwrap().contains("nonce=\"n9\""));
        assert_eq!(answer(&mut c, &[SHA]), Err(DigestError::Refused));
        c.begin();
        assert!(answer(&mut c, &[SHA]).unwrap().contains("nc=00000002"));
    }

    #[test]
    fn stale_for_ever_is_refused_in_the_end() {
        let (mut c, stale) = (client(), SHA.to_owned() + ", stale=true");
        let tries = (0..100).take_while(|_| answer(&mut c, &[&stale]).is_ok()).count();
        assert!((1..=8).contains(&tries), "{tries}");
    }

    #[test]
    fn a_challenge_of_another_realm_is_never_answered() {
        let mut c = client();
        c.credentials.realm = Some("pbx".to_owned());
        assert_eq!(answer(&mut c, &[SHA]), Err(DigestError::OtherRealm));
        assert!(answer(&mut c, &[&SHA.replace("\"r\"", "\"pbx\"")]).is_ok());
        assert_eq!(answer(&mut c, &["Basic realm=\"pbx\""]), Err(DigestError::NoChallenge));
    }

    #[test]
    fn a_quote_in_a_name_stays_inside_its_quotes() {
        let mut c = client();
        c.credentials.user = "a\"b, c\\".to_owned();
        let line = answer(&mut c, &[SHA]).unwrap();
        assert!(line.contains("username=\"a\\\"b, c\\\\\", realm=\"r\""), "{line}");
    }
}
