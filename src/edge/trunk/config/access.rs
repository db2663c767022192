//! Who may call us by a trunk: who has a user's password, who sends from some networks, or nobody.

use super::Raw;
use super::places::Places;
use crate::base::{Excerpt, Fault, Network, Secret, Section};
use crate::sip::digest::Algorithm;
use crate::sip::digest_server::{Ha1Set, offer};
use crate::sip::{REALM, Transport};
use std::net::IpAddr;

/// Who may call us by a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Access {
    /// Who has this user's password, with the algorithms that there are hashes for.
    Digest {
        user: String,
        hashes: Ha1Set,
        /// The password itself, where it is written: for who writes the PBX's end.
        password: Option<Secret>,
    },
    /// Who sends from these networks.
    Address(Vec<Network>),
    /// Who sends from these, or from where DNS says that the PBX is.
    Located(Vec<Network>),
    /// Nobody.
    Off,
}

impl Access {
    /// The networks that are let in.
    pub(in super::super) fn networks(&self) -> &[Network] {
        match self {
            Self::Address(networks) | Self::Located(networks) => networks,
            Self::Digest { .. } | Self::Off => &[],
        }
    }

    /// Whether a source is let in by its address alone.
    pub(in super::super) fn admits(&self, source: IpAddr) -> bool {
        self.networks().iter().any(|n| n.contains(source))
    }

    /// Whether those are let in whom DNS names.
    pub(in super::super) const fn follows_host(&self) -> bool {
        matches!(self, Self::Located(_))
    }
}

/// What a login is held against.
enum Known {
    Password(Secret),
    /// Hashes as they are written, none of them missing.
    Hashes(Vec<(Algorithm, Secret)>),
}

/// Who may call us by it: by default who has the password, where one is given, else who sends from its hosts.
pub(super) fn read(section: &Section, raw: &mut Raw, places: &Places, faults: &mut Vec<Fault>) -> Access {
    let known = read_known(section, raw, faults);
    let digest = read_algorithms(section, raw.digest.take(), faults);
    let user = raw.inbound_user.take().filter(|u| !u.is_empty());
    if user.as_deref().is_some_and(|user| user.contains(':')) {
        let remedy = "a user of digest authentication has no colon (RFC 7616 §3.4.2); choose one without";
        faults.push(section.fault("inbound_user", remedy));
    }
    let has_digest = user.is_some() || known.is_some();
    let kind = raw.inbound.as_deref().unwrap_or(if has_digest { "digest" } else { "address" });
    if kind != "digest" && has_digest {
        let remedy = "inbound_user and its password or hashes are for inbound = \"digest\"";
        faults.push(section.fault("inbound", remedy));
    }
    if kind != "address" && raw.inbound_networks.is_some() {
        faults.push(section.fault("inbound_networks", "these are for inbound = \"address\""));
    }
    match kind {
        "digest" => match (user, known) {
            (Some(user), Some(known)) => {
                let (hashes, password) = match known {
                    Known::Password(password) => {
                        let algorithms = digest.unwrap_or_else(|| offer(Transport::Udp).to_vec());
                        (Ha1Set::of_password(&user, REALM, &password, &algorithms), Some(password))
                    }
                    Known::Hashes(written) => {
                        (read_hashes(section, &user, &written, digest.as_deref(), faults), None)
                    }
                };
                Access::Digest { user, hashes, password }
            }
            (None, _) => {
                faults.push(section.fault("inbound_user", "name the user that the PBX logs in with"));
                Access::Off
            }
            (_, None) => {
                let remedy = "write the password that the PBX logs in with, inbound_password_file, or the hashes \
                              that `sipedge hash-secret` prints";
                faults.push(section.fault("inbound_password", remedy));
                Access::Off
            }
        },
        "address" => match raw.inbound_networks.take() {
            Some(texts) if texts.is_empty() => {
                let remedy = "nobody would be let in; list the networks, or write inbound = \"off\"";
                faults.push(section.fault("inbound_networks", remedy));
                Access::Off
            }
            Some(texts) => Access::Address(read_networks(section, &texts, faults)),
            None => {
                let networks: Vec<Network> =
                    places.all().filter_map(|place| Some(Network::of(place.ip()?))).collect();
                let has_name = places.all().any(|place| place.ip().is_none());
                match (networks.is_empty(), has_name) {
                    // a name may lead to any address: it proves nothing unless the admin says that it does
                    (_, true) if raw.inbound.is_some() => Access::Located(networks),
                    (false, _) => Access::Address(networks),
                    (true, _) => Access::Off,
                }
            }
        },
        "off" => Access::Off,
        _ => {
            faults.push(section.fault("inbound", "write \"digest\", \"address\" or \"off\""));
            Access::Off
        }
    }
}

/// The key of a hash.
const fn key(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Md5 => "inbound_ha1_md5",
        Algorithm::Sha256 => "inbound_ha1_sha256",
        Algorithm::Sha512_256 => "inbound_ha1_sha512_256",
    }
}

/// The lines that stand for a password in a trunk's table (RFC 7616 §3.4.2, the realm and user before each hash, by
/// which a hash that is for others is found out).
pub fn hash_lines(user: &str, password: &Secret) -> String {
    let line = |algorithm: &Algorithm| {
        let hash = crate::sip::digest::ha1(*algorithm, user, REALM, password);
        let value = serde_json::Value::from(format!("{user}:{REALM}:{}", hash.expose()));
        format!("{} = {value}\n", key(*algorithm)) // a JSON text is a TOML text
    };
    Algorithm::ALL.iter().map(line).collect()
}

fn read_known(section: &Section, raw: &mut Raw, faults: &mut Vec<Fault>) -> Option<Known> {
    let file = raw.inbound_password_file.as_deref();
    let password =
        section.secret("inbound_password", raw.inbound_password.take(), file).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
    let hashes: Vec<_> = [
        (Algorithm::Md5, raw.inbound_ha1_md5.take()),
        (Algorithm::Sha256, raw.inbound_ha1_sha256.take()),
        (Algorithm::Sha512_256, raw.inbound_ha1_sha512_256.take()),
    ]
    .into_iter()
    .filter_map(|(algorithm, hash)| Some((algorithm, hash?)))
    .collect();
    match (password, hashes.is_empty()) {
        (Some(password), true) => Some(Known::Password(password)),
        (None, false) => Some(Known::Hashes(hashes)),
        (Some(_), false) => {
            let remedy = "give the password or its hashes (inbound_ha1_…), not both";
            faults.push(section.fault("inbound_password", remedy));
            Some(Known::Hashes(hashes))
        }
        (None, true) => None,
    }
}

/// The hashes of a user that can ever match, and are among the algorithms of `digest`.
fn read_hashes(
    section: &Section,
    user: &str,
    written: &[(Algorithm, Secret)],
    digest: Option<&[Algorithm]>,
    faults: &mut Vec<Fault>,
) -> Ha1Set {
    let missing = digest.into_iter().flatten().filter(|a| !written.iter().any(|(known, _)| known == *a));
    for algorithm in missing {
        let remedy =
            format!("there is no hash for {}; add {}, or leave it out", algorithm.as_str(), key(*algorithm));
        faults.push(section.fault("digest", remedy));
    }
    let mut set = Ha1Set::default();
    for (algorithm, text) in written {
        match read_hash(user, *algorithm, text.expose()) {
            Ok(hash) if digest.is_none_or(|d| d.contains(algorithm)) => set = set.with(*algorithm, hash),
            Ok(_) => {}
            Err(remedy) => faults.push(section.fault(key(*algorithm), remedy)),
        }
    }
    set
}

/// `USER:REALM:HASH`, which must be for this user and our realm: another one's hash would match no password.
fn read_hash(user: &str, algorithm: Algorithm, text: &str) -> Result<Secret, String> {
    let (whose, hash) = text.rsplit_once(':').unwrap_or_default();
    let owner = format!("{user}:{REALM}");
    let digits = algorithm.hash("").len();
    if whose.is_empty() {
        return Err(format!(
            "write {owner}:HASH, as `sipedge hash-secret` prints it: user and realm tell whether it can match"
        ));
    }
    if whose != owner {
        let (whose, owner) = (Excerpt(whose), Excerpt(&owner));
        return Err(format!(
            "this hash is for {whose} and matches no login of {owner}; make it anew with `sipedge hash-secret`"
        ));
    }
    if hash.len() != digits || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(format!("a hash of {} is {digits} hexadecimal digits", algorithm.as_str()));
    }
    Ok(Secret::new(hash.to_ascii_lowercase()))
}

/// The digest algorithms that a peer may use towards us; none where the configuration does not say.
fn read_algorithms(
    section: &Section,
    names: Option<Vec<String>>,
    faults: &mut Vec<Fault>,
) -> Option<Vec<Algorithm>> {
    let names = names?;
    let read: Vec<Algorithm> = names.iter().filter_map(|n| Algorithm::parse(n)).collect();
    if read.len() != names.len() || read.is_empty() {
        let known: Vec<&str> = Algorithm::ALL.iter().map(|a| a.as_str()).collect();
        faults.push(section.fault("digest", format!("write a list of these: {}", known.join(", "))));
    }
    Some(read)
}

fn read_networks(section: &Section, texts: &[String], faults: &mut Vec<Fault>) -> Vec<Network> {
    let mut networks = Vec::new();
    for text in texts {
        match text.parse() {
            Ok(network) => networks.push(network),
            Err(error) => {
                let remedy = format!("{}: {error}", Excerpt(text));
                faults.push(section.fault("inbound_networks", remedy));
            }
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn faults(value: Value) -> Result<Access, Vec<Fault>> {
        let mut all = json!({"host": "192.0.2.1"});
        all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        super::super::read(&Section::new("trunk.pbx", "t", all)).map(|t| t.access)
    }

    fn access(value: Value) -> Result<Access, Vec<String>> {
        faults(value).map_err(|faults| faults.into_iter().map(|f| f.key).collect())
    }

    fn password(user: &str, password: &str, algorithms: &[Algorithm]) -> Ha1Set {
        Ha1Set::of_password(user, "sipedge", &Secret::new(password), algorithms)
    }

    #[test]
    fn a_user_with_a_colon_is_refused_for_digest_could_not_tell_it_from_the_realm_rfc_7616_3_4_2() {
        let value = serde_json::json!({
            "host": "192.0.2.4", "inbound_user": "p:bx", "inbound_password": "secret",
        });
        let faults = super::super::read(&Section::new("trunk.pbx", "t", value)).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("trunk.pbx.inbound_user") && told[0].contains("choose one without"),
            "{told:?}"
        );
    }

    #[test]
    fn who_may_call_is_who_has_the_password_else_who_sends_from_the_host_unless_it_says_otherwise() {
        assert_eq!(access(json!({})), Ok(Access::Address(vec!["192.0.2.1".parse().unwrap()])));
        assert_eq!(access(json!({"host": "pbx.example"})), Ok(Access::Off));
        let named = json!({"host": "pbx.example", "inbound": "address"});
        assert_eq!(access(named), Ok(Access::Located(vec![])), "whoever answers for the name");
        let several = |inbound| {
            let hosts = json!({"host": null, "hosts": ["192.0.2.1", "pbx.example", "192.0.2.2:5070"]});
            let mut all = hosts.as_object().unwrap().clone();
            all.extend(inbound);
            access(Value::Object(all))
        };
        let both: Vec<Network> = vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        assert_eq!(several(serde_json::Map::new()), Ok(Access::Address(both.clone())));
        let written = serde_json::Map::from_iter([("inbound".to_owned(), json!("address"))]);
        assert_eq!(several(written), Ok(Access::Located(both)));
        let proxy = access(json!({"proxy": "192.0.2.9"})).unwrap();
        assert!(["192.0.2.1", "192.0.2.9"].iter().all(|ip| proxy.admits(ip.parse().unwrap())));
        assert_eq!(access(json!({"inbound": "off"})), Ok(Access::Off));
        let digest = access(json!({"inbound_user": "u", "inbound_password": "p"})).unwrap();
        let hashes = password("u", "p", &[Algorithm::Sha256, Algorithm::Md5]);
        assert_eq!(digest, Access::Digest { user: "u".into(), hashes, password: Some(Secret::new("p")) });
        let networks = json!({"inbound": "address", "inbound_networks": ["10.0.0.0/8", "::1"]});
        assert!(access(networks).unwrap().admits("10.9.9.9".parse().unwrap()));
    }

    #[test]
    fn every_mistake_about_who_may_call_has_its_remedy() {
        let keys = |value| access(value).unwrap_err();
        assert_eq!(keys(json!({"inbound": "digest"})), ["trunk.pbx.inbound_user"]);
        assert_eq!(keys(json!({"inbound_user": "u"})), ["trunk.pbx.inbound_password"]);
        assert_eq!(keys(json!({"inbound": "maybe"})), ["trunk.pbx.inbound"]);
        assert_eq!(keys(json!({"inbound_networks": ["10.0.0.1/8"]})), ["trunk.pbx.inbound_networks"]);
        assert_eq!(keys(json!({"inbound": "off", "inbound_networks": []})), ["trunk.pbx.inbound_networks"]);
        assert_eq!(keys(json!({"inbound_networks": []})), ["trunk.pbx.inbound_networks"]);
        assert_eq!(keys(json!({"realm": ""})), ["trunk.pbx.realm"]);
        let both = json!({"inbound": "address", "inbound_user": "u", "inbound_password": "p"});
        assert_eq!(keys(both), ["trunk.pbx.inbound"]);
        assert_eq!(
            keys(json!({"digest": ["MD4"], "hold_music": "x"})),
            ["trunk.pbx.hold_music", "trunk.pbx.digest"]
        );
    }

    /// The hashes are those of md5sum, sha256sum and openssl dgst -sha512-256 over `pbx:sipedge:Circle of Life`.
    const MD5: &str = "c9e80c1e353af183fef1886bc8ebe939";
    const SHA_256: &str = "73e8b847a6f1afce1f72b914cd5b859b0441aad1aa74d643700e4628dc11c52c";
    const SHA_512_256: &str = "404565cfb7e59b8776954b71a487a94859554dc5e304cc59874c74f660b52e0e";

    fn digest(more: Value) -> Result<Ha1Set, Vec<String>> {
        let mut all = json!({"inbound_user": "pbx"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        access(all).map(|access| match access {
            Access::Digest { user, hashes, .. } => {
                assert_eq!(user, "pbx");
                hashes
            }
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_lines_of_hash_secret_have_the_hashes_of_user_realm_and_password_rfc_7616_3_4_2() {
        let lines = hash_lines("pbx", &Secret::new("Circle of Life"));
        let expected = format!(
            "inbound_ha1_md5 = \"pbx:sipedge:{MD5}\"\ninbound_ha1_sha256 = \"pbx:sipedge:{SHA_256}\"\n\
             inbound_ha1_sha512_256 = \"pbx:sipedge:{SHA_512_256}\"\n"
        );
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_algorithms_are_those_of_the_hashes_and_digest_may_name_fewer() {
        let md5 = format!("pbx:sipedge:{}", MD5.to_uppercase());
        let sha = format!("pbx:sipedge:{SHA_256}");
        let of = |algorithms: &[Algorithm]| Ok(password("pbx", "Circle of Life", algorithms));
        assert_eq!(digest(json!({"inbound_ha1_md5": md5})), of(&[Algorithm::Md5]));
        let both = json!({"inbound_ha1_md5": md5, "inbound_ha1_sha256": sha});
        assert_eq!(digest(both.clone()), of(&[Algorithm::Md5, Algorithm::Sha256]));
        let mut fewer = both;
        fewer["digest"] = json!(["SHA-256"]);
        assert_eq!(digest(fewer), of(&[Algorithm::Sha256]));
        let all = json!({"inbound_password": "Circle of Life", "digest": ["SHA-512-256", "MD5"]});
        assert_eq!(digest(all), of(&[Algorithm::Md5, Algorithm::Sha512_256]));
    }

    #[test]
    fn a_hash_that_cannot_match_is_a_mistake_and_is_never_shown() {
        let sha =
            |text: &str| faults(json!({"inbound_user": "pbx", "inbound_ha1_sha256": text})).unwrap_err();
        for (text, remedy) in [
            (SHA_256.to_owned(), "write pbx:sipedge:HASH, as `sipedge hash-secret` prints it"),
            (
                format!("pbx:other:{SHA_256}"),
                "this hash is for pbx:other and matches no login of pbx:sipedge",
            ),
            (format!("anna:sipedge:{SHA_256}"), "this hash is for anna:sipedge and matches no login"),
            (format!("pbx:sipedge:{MD5}"), "a hash of SHA-256 is 64 hexadecimal digits"),
            (format!("pbx:sipedge:{}", SHA_256.replace('7', "g")), "a hash of SHA-256 is 64 hexadecimal"),
        ] {
            let faults = sha(&text);
            assert_eq!(faults.len(), 1, "{faults:?}");
            assert_eq!(faults[0].key, "trunk.pbx.inbound_ha1_sha256");
            assert!(faults[0].remedy.starts_with(remedy), "{text}: {}", faults[0]);
            assert!(![SHA_256, MD5].iter().any(|hash| faults[0].remedy.contains(hash)), "{}", faults[0]);
        }
        let sha = format!("pbx:sipedge:{SHA_256}");
        let keys = |value| digest(value).unwrap_err();
        assert_eq!(
            keys(json!({"inbound_ha1_sha256": sha, "inbound_password": "p"})),
            ["trunk.pbx.inbound_password"]
        );
        assert_eq!(
            keys(json!({"inbound_ha1_sha256": sha, "digest": ["SHA-256", "MD5"]})),
            ["trunk.pbx.digest"]
        );
        assert_eq!(keys(json!({"inbound_ha1_sha256": sha, "inbound": "off"})), ["trunk.pbx.inbound"]);
        assert_eq!(access(json!({"inbound_ha1_sha256": sha})), Err(vec!["trunk.pbx.inbound_user".into()]));
    }
}
