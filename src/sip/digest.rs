//! Digest credentials, client side (RFC 3261 §22, RFC 7616, RFC 8760).
//!
//! [`DigestClient::answer`] takes a 401 or 407 and yields the header lines for the next try, or says why
//! there is none. It answers the strongest algorithm that is allowed, once per realm; a second challenge
//! without `stale=true` means that the password is wrong. What the request had for other realms goes with it again, with
//! the next nonce count: proxies in line ask one after the other (RFC 3261 §22.3). Credentials with a realm never answer another.
//! The hashing is free functions, for the server side too. Left out: `auth-int`, `-sess`, `userhash`.

use super::lex::{quote, split_outside, trim, unquote};
use super::{Header, HeaderName, Method, Response, StatusCode};
use crate::base::{Excerpt, Secret};
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
    /// Its name as it was written; none: it was not.
    pub algorithm_name: Option<String>,
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
        parse_digests(line).iter().filter_map(|params| Self::read(params)).collect()
    }

    /// From a challenge's parameters; credentials name all that their challenge did.
    fn read(params: &[(String, String)]) -> Option<Self> {
        let find = |name: &str| params.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let algorithm_name = find("algorithm");
        Some(Self {
            realm: find("realm")?,
            nonce: find("nonce")?,
            opaque: find("opaque"),
            algorithm: algorithm_name.as_deref().map_or(Some(Algorithm::Md5), Algorithm::parse),
            algorithm_name,
            qop: find("qop").map(|q| q.split(',').map(|o| trim(o).to_ascii_lowercase()).collect()),
            is_stale: find("stale").is_some_and(|s| s.eq_ignore_ascii_case("true")),
        })
    }

    /// Algorithm and qop, for the log.
    fn kind(&self) -> String {
        let name = self.algorithm_name.as_deref().unwrap_or("MD5");
        match &self.qop {
            Some(qop) if !qop.iter().any(|option| option == "auth") => {
                format!("{name} with qop {}", qop.join(","))
            }
            _ => name.to_owned(),
        }
    }

    fn is_usable(&self, credentials: &Credentials) -> bool {
        let has_auth = self.qop.as_ref().is_none_or(|q| q.iter().any(|o| o == "auth"));
        has_auth && self.algorithm.is_some_and(|a| credentials.algorithms.contains(&a))
    }
}

/// Why a challenge is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There are no credentials.
    #[error("the far side asks for a user and password, and none are configured")]
    NoCredentials,
    /// No Digest challenge in the response.
    #[error("the far side asked for credentials and named no Digest challenge")]
    NoChallenge,
    /// The realm is not the configured one.
    #[error("the far side asked for credentials of another realm than the configured one: {}", Excerpt(.0))]
    OtherRealm(String),
    /// No algorithm or qop that is allowed; it wants these.
    #[error("the far side wants a digest that is not spoken here: {}", Excerpt(.0))]
    NotAllowed(String),
    /// One proxy after the other asks, each for a realm of its own.
    #[error("the far side asks for credentials of more than {MAX_REALMS} realms")]
    TooManyRealms,
    /// The answer was refused.
    #[error("the far side refused the user or password")]
    Refused,
    /// It was answered 403: nobody says whether for the password or for what was asked.
    #[error(
        "the far side answered our login with 403 Forbidden: check user and password, and what it lets that user do"
    )]
    Forbidden,
}

/// Most realms answered in one request: a response cannot make us compute without end.
const MAX_REALMS: usize = 4;

/// Most challenges of one request that are answered: a peer that says stale for ever is refused in the end.
const MAX_ROUNDS: usize = 2 * MAX_REALMS;

/// The client's memory: nonce counts, and how often the current request was challenged. What that has answered stands in
/// it.
#[derive(Debug, Clone)]
pub struct DigestClient {
    credentials: Credentials,
    rounds: usize,
    counts: Vec<(String, u32)>,
}

impl DigestClient {
    /// Nothing answered yet.
    #[must_use]
    pub const fn new(credentials: Credentials) -> Self {
        Self { credentials, rounds: 0, counts: Vec::new() }
    }

    /// A new request begins: it may be challenged once more.
    pub const fn begin(&mut self) {
        self.rounds = 0;
    }

    /// The credentials for a 401 or 407 to a request that had these header lines: those that it is asked for, and those
    /// that it had for others (RFC 3261 §22.3). `cnonce` is fresh randomness; `uri` the Request-URI of the retry.
    ///
    /// # Errors
    /// Why there are none.
    pub fn answer(
        &mut self,
        challenged: &Response,
        had: &[Header],
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
        let realms = || all.iter().map(|c| c.realm.as_str()).collect::<Vec<_>>().join(", ");
        let ours: Vec<&Challenge> = all.iter().filter(|c| is_ours(c)).collect();
        if ours.is_empty() {
            return Err(DigestError::OtherRealm(realms()));
        }
        let kinds = ours.iter().map(|c| c.kind()).collect::<Vec<_>>().join(", ");
        let mut chosen: Vec<&Challenge> = Vec::new();
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
            return Err(DigestError::NotAllowed(kinds));
        }
        let earlier: Vec<(HeaderName, Challenge)> = had.iter().flat_map(answered).collect();
        let is_asked = |name: &HeaderName, old: &Challenge| {
            *name == to && chosen.iter().any(|c| c.realm == old.realm && !c.is_stale)
        };
        self.rounds = self.rounds.saturating_add(1);
        if self.rounds > MAX_ROUNDS || earlier.iter().any(|(name, old)| is_asked(name, old)) {
            return Err(DigestError::Refused);
        }
        let is_over = |(name, old): &(HeaderName, Challenge)| {
            *name == to && chosen.iter().any(|c| c.realm == old.realm)
        };
        let kept = earlier.iter().filter(|other| !is_over(other)).map(|(name, c)| (name, c));
        let next: Vec<(&HeaderName, &Challenge)> = kept.chain(chosen.iter().map(|c| (&to, *c))).collect();
        if next.len() > MAX_REALMS {
            return Err(DigestError::TooManyRealms);
        }
        let line = |(name, c): (&HeaderName, &Challenge)| {
            Header::new(name.clone(), self.credentials_for(c, method, uri, cnonce))
        };
        Ok(next.into_iter().map(line).collect())
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

/// The challenges that a request's header line answers; none where it is no credentials.
fn answered(line: &Header) -> Vec<(HeaderName, Challenge)> {
    let name = line.name();
    if !matches!(name, HeaderName::Authorization | HeaderName::ProxyAuthorization) {
        return Vec::new();
    }
    Challenge::parse_line(line.value()).into_iter().map(|c| (name.clone(), c)).collect()
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
        again(client, &[], lines).map(|(text, _)| text)
    }

    /// The same for a request that had credentials, and those of the next one.
    fn again(
        client: &mut DigestClient,
        had: &[Header],
        lines: &[&str],
    ) -> Result<(String, Vec<Header>), DigestError> {
        let lines = client.answer(&challenged(lines), had, &Method::INVITE, "sip:a@b", "0a4f")?;
        let text =
            lines.iter().map(|h| format!("{}: {}", h.name(), h.value())).collect::<Vec<_>>().join("\n");
        Ok((text, lines))
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
        assert_eq!(answer(&mut md5_only, &[SHA]), Err(DigestError::NotAllowed("SHA-256".into())));
    }

    #[test]
    fn what_is_not_spoken_here_is_named() {
        let refusal = |lines: &[&str]| answer(&mut client(), lines).unwrap_err().to_string();
        let [old, int] = ["algorithm=SHA-1", "algorithm=MD5, qop=\"auth-int\""]
            .map(|kind| format!("Digest realm=\"r\", nonce=\"n\", {kind}"));
        assert_eq!(
            refusal(&[&old, &int]),
            "the far side wants a digest that is not spoken here: SHA-1, MD5 with qop auth-int"
        );
        let long = format!("Digest realm=\"r\", nonce=\"n\", algorithm={}", "\u{1b}x".repeat(500));
        let said = refusal(&[&long]);
        assert!(said.len() < 300 && !said.chars().any(char::is_control), "{said}");
    }

    fn of_realm(realm: &str, nonce: &str) -> String {
        format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", opaque=\"o{realm}\", qop=\"auth\"")
    }

    #[test]
    fn proxies_in_line_each_find_their_credentials_rfc_3261_22_3() {
        let mut c = client();
        let (_, had) = again(&mut c, &[], &[&of_realm("p1", "n1")]).unwrap();
        let (text, had) = again(&mut c, &had, &[&of_realm("p2", "n2")]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("realm=\"p1\", nonce=\"n1\"") && lines[0].contains("opaque=\"op1\""));
        assert!(lines[0].contains("qop=auth, nc=00000002"), "a nonce is never used twice alike: {text}");
        assert!(lines[1].contains("realm=\"p2\", nonce=\"n2\"") && lines[1].contains("nc=00000001"));
        // one of them refuses what it was told
        assert_eq!(again(&mut c, &had, &[&of_realm("p1", "n3")]).unwrap_err(), DigestError::Refused);
        // or its nonce is too old
        let stale = of_realm("p1", "n4") + ", stale=true";
        let (text, had) = again(&mut c, &had, &[&stale]).unwrap();
        assert!(text.contains("realm=\"p2\", nonce=\"n2\"") && text.contains("realm=\"p1\", nonce=\"n4\""));
        assert_eq!(had.len(), 2);
    }

    #[test]
    fn the_realms_of_one_request_are_few() {
        let (mut c, mut had) = (client(), Vec::new());
        for n in 0..MAX_REALMS {
            (_, had) = again(&mut c, &had, &[&of_realm(&format!("p{n}"), "n")]).unwrap();
            assert_eq!(had.len(), n + 1);
        }
        assert_eq!(again(&mut c, &had, &[&of_realm("more", "n")]).unwrap_err(), DigestError::TooManyRealms);
    }

    #[test]
    fn a_second_challenge_means_a_wrong_password_unless_it_says_stale_rfc_7616_3_3() {
        let mut c = client();
        let (_, had) = again(&mut c, &[], &[SHA]).unwrap();
        let stale = SHA.replace("n1", "n9") + ", stale=TRUE";
        let (text, had) = again(&mut c, &had, &[&stale]).unwrap();
        assert!(text.contains("nonce=\"n9\""));
        assert_eq!(again(&mut c, &had, &[SHA]).unwrap_err(), DigestError::Refused);
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
        assert_eq!(answer(&mut c, &[SHA]), Err(DigestError::OtherRealm("r".into())));
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
