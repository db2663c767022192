//! The other end of a trunk, as the PBX's own configuration, ready to paste. The shipped files in `config/` are what this
//! prints for the shipped `config/sipedge.toml`.

mod freeswitch;

use super::config::{Access, Trunk};
use crate::call::port::{Codec, Encryption};
use crate::edge::contract::Pbx;
use crate::sip::Transport;
use crate::ua::CallerId;

/// Stands where a password is known by its hash alone.
const UNKNOWN_PASSWORD: &str = "WRITE-THE-PASSWORD-HERE";
/// A PBX that registers is called again within so long after sipedge was started anew.
const REGISTRATION_SECONDS: u32 = 120;

/// Of a block that lets anybody register.
const NO_PASSWORD: &str =
    "; without a password anybody can register in sipedge's place: give the trunk a user and a password";

/// What else Asterisk needs.
const CONTEXT_HINT: &str =
    "; What browsers may dial stands in extensions.conf, in the context [from-sipedge].";

/// And what it needs for TLS: the transport is the machine's, not the trunk's.
const TLS_HINT: [&str; 2] = [
    "; Asterisk needs a transport by TLS in pjsip.conf: type = transport, protocol = tls, bind = 0.0.0.0:5061, cert_file",
    "; and priv_key_file. With verify_server = yes its ca_list_file must have who signed sip.tls_certificate.",
];

/// What the PBX is told of a trunk.
struct End<'a> {
    trunk: &'a Trunk,
    /// `HOST:PORT` of sipedge, as the PBX reaches it.
    ours: &'a str,
}

/// The configuration of a PBX for a trunk; `ours` is where it reaches sipedge, `HOST:PORT`, and `lines` are the users
/// that accounts have there.
///
/// # Errors
/// When the PBX would tell the trunk by its address, and take its own extensions at that address for it.
pub(super) fn print(trunk: &Trunk, pbx: Pbx, ours: &str, lines: &[&str]) -> Result<String, String> {
    let end = End { trunk, ours };
    if end.is_known_by_address() && !lines.is_empty() {
        return Err(format!(
            "trunk.{name}: the PBX would know this trunk by the address of sipedge, and take what its extensions {users} send \
             from there for the trunk's. For the extensions alone nothing is needed there but their own endpoints; for \
             other calls give trunk.{name} a `user` and a `password`",
            name = trunk.name,
            users = lines.join(", ")
        ));
    }
    Ok(match pbx {
        Pbx::Asterisk => end.asterisk(),
        Pbx::AsteriskWizard => end.asterisk_wizard(),
        Pbx::FreeSwitch => end.freeswitch(),
    })
}

impl End<'_> {
    /// The endpoint's name. A stock Asterisk finds an endpoint by the user in From, so it is ours there.
    fn name(&self) -> &str {
        self.trunk.user.as_deref().unwrap_or("sipedge")
    }

    /// User and password that sipedge calls with, where the PBX is to challenge it.
    fn our_login(&self) -> Option<(&str, &str)> {
        let password = self.trunk.password.as_ref()?;
        Some((self.trunk.user.as_deref()?, password.expose()))
    }

    /// User and password that the PBX calls with.
    fn its_login(&self) -> Option<(&str, &str)> {
        let Access::Digest { user, password, .. } = &self.trunk.access else { return None };
        Some((user, password.as_ref().map_or(UNKNOWN_PASSWORD, |p| p.expose())))
    }

    /// Whether the PBX knows our calls by the user in From; else by our address.
    fn is_known_by_user(&self) -> bool {
        self.trunk.user.is_some() && self.trunk.policy.caller_id != CallerId::From
    }

    /// Whether it goes by our address.
    fn is_known_by_address(&self) -> bool {
        !self.is_known_by_user() || self.our_login().is_none()
    }

    /// The address that our calls come from.
    fn host(&self) -> &str {
        if let Some(proxy) = &self.trunk.proxy {
            return &proxy.host;
        }
        let host = self.ours.rsplit_once(':').map_or(self.ours, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Where sipedge is, as an Asterisk writes it: a semicolon would begin a comment.
    fn asterisk_uri(&self) -> String {
        match self.trunk.transport {
            Transport::Udp => format!("sip:{}", self.ours),
            other => format!("sip:{}\\;transport={}", self.ours, other.as_str().to_ascii_lowercase()),
        }
    }

    /// The proxy in between, as the PBX writes it: a semicolon would begin a comment in Asterisk's files.
    fn outbound_proxy(&self) -> Option<String> {
        let proxy = self.trunk.proxy.as_ref()?.route(self.trunk.transport).uri.to_string();
        Some(proxy.replace(';', "\\;"))
    }

    fn add_outbound_proxy(&self, lines: &mut Lines) {
        self.outbound_proxy().iter().for_each(|proxy| lines.key("outbound_proxy", proxy));
    }

    fn add_tls_hint(&self, lines: &mut Lines) {
        if self.trunk.transport.is_secure() {
            TLS_HINT.iter().for_each(|line| lines.add(line));
        }
    }

    fn asterisk_codecs(&self) -> String {
        let name = |codec: &Codec| match codec {
            Codec::Pcmu => "ulaw",
            Codec::Pcma => "alaw",
            Codec::G722 => "g722",
            Codec::Opus => "opus",
        };
        let names: Vec<&str> = self.trunk.media.codecs_in.iter().map(name).collect();
        names.join(",")
    }

    fn asterisk_encryption(&self) -> Vec<(&'static str, &'static str)> {
        let mut keys = match self.trunk.media.encryption {
            Encryption::Off => Vec::new(),
            Encryption::Sdes => vec![("media_encryption", "sdes")],
            Encryption::SdesOptional => {
                vec![("media_encryption", "sdes"), ("media_encryption_optimistic", "yes")]
            }
            Encryption::Dtls => vec![
                ("media_encryption", "dtls"),
                ("dtls_auto_generate_cert", "yes"),
                ("dtls_verify", "fingerprint"),
                ("dtls_setup", "actpass"),
            ],
        };
        if self.trunk.media.is_avpf {
            keys.push(("use_avpf", "yes"));
        }
        keys
    }

    fn asterisk(&self) -> String {
        let (name, trunk) = (self.name(), self.trunk);
        let mut lines = Lines::default();
        lines.add(&format!(
            "; sipedge: the other end of [trunk.{}], for the end of /etc/asterisk/pjsip.conf",
            trunk.name
        ));
        lines.add(&format!(";   Dial(PJSIP/${{EXTEN}}@{name})     rings a browser"));
        lines.add(CONTEXT_HINT);
        self.add_tls_hint(&mut lines);
        lines.section(name);
        lines.keys(&[("type", "endpoint"), ("context", "from-sipedge"), ("disallow", "all")]);
        lines.key("allow", &self.asterisk_codecs());
        if self.our_login().is_some() {
            lines.key("auth", &format!("{name}-in"));
        }
        if self.its_login().is_some() {
            lines.key("outbound_auth", &format!("{name}-out"));
        }
        if self.our_login().is_none() {
            lines.key("identify_by", "ip"); // else anybody who writes our name in From is let in
        }
        lines.keys(&[("aors", name), ("direct_media", "no")]);
        self.add_outbound_proxy(&mut lines);
        if trunk.keys_by_info {
            lines.key("dtmf_mode", "info");
        }
        if trunk.policy.is_trusted {
            lines.keys(&[("trust_id_inbound", "yes"), ("send_pai", "yes")]);
        }
        if trunk.is_symmetric {
            lines.key("rtp_symmetric", "yes");
        }
        self.asterisk_encryption().iter().for_each(|(key, value)| lines.key(key, value));
        for (suffix, login) in [("in", self.our_login()), ("out", self.its_login())] {
            let Some((user, password)) = login else { continue };
            lines.section(&format!("{name}-{suffix}"));
            lines.keys(&[("type", "auth"), ("auth_type", "userpass"), ("username", user)]);
            lines.key("password", &password.replace(';', "\\;"));
        }
        lines.section(name);
        lines.key("type", "aor");
        if trunk.register.is_some() {
            lines.keys(&[("max_contacts", "1"), ("remove_existing", "yes")]);
        } else {
            lines.key("contact", &self.asterisk_uri());
        }
        lines.key("qualify_frequency", "30");
        self.add_outbound_proxy(&mut lines);
        if self.is_known_by_address() {
            lines.section(name);
            lines.keys(&[("type", "identify"), ("endpoint", name), ("match", self.host())]);
        }
        if let Some((user, _)) = self.its_login().filter(|_| trunk.takes_registration) {
            lines.section(&format!("{name}-registration"));
            lines.keys(&[("type", "registration"), ("outbound_auth", &format!("{name}-out"))]);
            lines.key("server_uri", &self.asterisk_uri());
            lines.keys(&[("client_uri", &format!("sip:{user}@{}", self.ours)), ("contact_user", user)]);
            lines.key("expiration", &REGISTRATION_SECONDS.to_string());
            lines.keys(&[("retry_interval", "10"), ("forbidden_retry_interval", "10")]);
            lines.keys(&[("auth_rejection_permanent", "no"), ("max_retries", "10000")]);
            lines.keys(&[("line", "yes"), ("endpoint", name)]);
            self.add_outbound_proxy(&mut lines);
        }
        lines.0
    }

    fn asterisk_wizard(&self) -> String {
        let (name, trunk) = (self.name(), self.trunk);
        let word = |is: bool| if is { "yes" } else { "no" };
        let mut lines = Lines::default();
        lines.add(&format!(
            "; sipedge: the other end of [trunk.{}], for the end of /etc/asterisk/pjsip_wizard.conf",
            trunk.name
        ));
        lines.add(&format!(";   Dial(PJSIP/${{EXTEN}}@{name})     rings a browser"));
        lines.add(CONTEXT_HINT);
        self.add_tls_hint(&mut lines);
        if trunk.register.is_some() && self.our_login().is_none() {
            lines.add(NO_PASSWORD);
        }
        lines.section(name);
        lines.key("type", "wizard");
        lines.key("accepts_auth", word(self.our_login().is_some()));
        lines.key("sends_auth", word(self.its_login().is_some()));
        lines.key("accepts_registrations", word(trunk.register.is_some()));
        lines.key("sends_registrations", word(trunk.takes_registration));
        if trunk.register.is_none() {
            lines.key("remote_hosts", self.ours);
        }
        self.add_outbound_proxy(&mut lines);
        if trunk.transport != Transport::Udp {
            let transport = trunk.transport.as_str().to_ascii_lowercase();
            lines.key("contact_pattern", &format!("sip:${{REMOTE_HOST}}\\;transport={transport}"));
            lines.key("server_uri_pattern", &format!("sip:${{REMOTE_HOST}}\\;transport={transport}"));
        }
        for (table, login) in [("inbound_auth", self.our_login()), ("outbound_auth", self.its_login())] {
            let Some((user, password)) = login else { continue };
            lines.key(&format!("{table}/username"), user);
            lines.key(&format!("{table}/password"), &password.replace(';', "\\;"));
        }
        lines.keys(&[("endpoint/context", "from-sipedge"), ("endpoint/disallow", "all")]);
        lines.key("endpoint/allow", &self.asterisk_codecs());
        if self.our_login().is_none() {
            lines.key("endpoint/identify_by", "ip"); // else anybody who writes our name in From is let in
        }
        lines.key("endpoint/direct_media", "no");
        if trunk.keys_by_info {
            lines.key("endpoint/dtmf_mode", "info");
        }
        if trunk.policy.is_trusted {
            lines.keys(&[("endpoint/trust_id_inbound", "yes"), ("endpoint/send_pai", "yes")]);
        }
        if trunk.is_symmetric {
            lines.key("endpoint/rtp_symmetric", "yes");
        }
        for (key, value) in self.asterisk_encryption() {
            lines.key(&format!("endpoint/{key}"), value);
        }
        if trunk.register.is_some() {
            lines.keys(&[("aor/max_contacts", "1"), ("aor/remove_existing", "yes")]);
        }
        lines.key("aor/qualify_frequency", "30");
        if let Some((user, _)) = self.its_login().filter(|_| trunk.takes_registration) {
            lines.key("client_uri_pattern", &format!("sip:{user}@${{REMOTE_HOST}}"));
            lines.key("registration/contact_user", user);
            lines.key("registration/expiration", &REGISTRATION_SECONDS.to_string());
            lines.key("registration/auth_rejection_permanent", "no");
            lines.keys(&[("registration/retry_interval", "10"), ("registration/max_retries", "10000")]);
            lines.keys(&[("registration/line", "yes"), ("registration/endpoint", name)]);
        }
        lines.0
    }
}

/// Lines of an Asterisk file.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.add("");
        self.add(&format!("[{name}]"));
    }

    fn key(&mut self, key: &str, value: &str) {
        self.add(&format!("{key} = {value}"));
    }

    fn keys(&mut self, keys: &[(&str, &str)]) {
        keys.iter().for_each(|(key, value)| self.key(key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::super::config;
    use super::*;
    use crate::base::Section;
    use serde_json::{Value, json};

    pub(super) fn end(value: Value, pbx: Pbx) -> String {
        let trunk = config::read(&Section::new("trunk.pbx", "t", value)).unwrap();
        print(&trunk, pbx, "192.0.2.9:5080", &[]).unwrap()
    }

    #[test]
    fn a_block_that_would_take_the_extensions_of_accounts_for_the_trunk_is_not_printed() {
        let nobody = json!({"host": "192.0.2.1"});
        for (value, pbx) in [
            (nobody.clone(), Pbx::Asterisk),
            (nobody.clone(), Pbx::AsteriskWizard),
            (nobody, Pbx::FreeSwitch),
        ] {
            let trunk = config::read(&Section::new("trunk.pbx", "t", value)).unwrap();
            let why = print(&trunk, pbx, "192.0.2.9:5080", &["101", "102"]).unwrap_err();
            assert!(
                why.starts_with("trunk.pbx: ") && why.contains("101, 102") && why.contains("`password`"),
                "{why}"
            );
        }
        let trunk = config::read(&Section::new("trunk.pbx", "t", shipped())).unwrap();
        let with = print(&trunk, Pbx::Asterisk, "192.0.2.9:5080", &["101"]).unwrap();
        assert!(!with.contains("identify"), "{with}");
    }

    /// Without comments and what only serves to line them up.
    fn bare(text: &str) -> Vec<String> {
        let lines = text.lines().map(|line| {
            line.split_once(';').filter(|(l, _)| !l.ends_with('\\')).map_or(line, |(l, _)| l).trim()
        });
        lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn shipped() -> Value {
        json!({"host": "127.0.0.1:5060", "user": "sipedge", "password": "change-this-password",
            "inbound_user": "asterisk", "inbound_password": "change-this-password-too"})
    }

    #[test]
    fn what_is_printed_for_the_shipped_configuration_is_the_shipped_example() {
        let printed = end(shipped(), Pbx::Asterisk).replace("192.0.2.9", "127.0.0.1");
        assert_eq!(bare(&printed), bare(include_str!("../../../config/asterisk/pjsip.conf")));
        let mut registers = shipped();
        registers.as_object_mut().unwrap().remove("host");
        registers["register"] = json!("accept");
        let printed = end(registers, Pbx::Asterisk).replace("192.0.2.9", "127.0.0.1");
        assert_eq!(bare(&printed), bare(include_str!("../../../config/asterisk/registers/pjsip.conf")));
        let printed = end(shipped(), Pbx::AsteriskWizard).replace("192.0.2.9", "127.0.0.1");
        assert_eq!(bare(&printed), bare(include_str!("../../../config/asterisk/wizard/pjsip_wizard.conf")));
        let by_address = json!({"host": "127.0.0.1:5060"});
        let printed = end(by_address, Pbx::Asterisk).replace("192.0.2.9", "127.0.0.1");
        assert_eq!(bare(&printed), bare(include_str!("../../../config/asterisk/address/pjsip.conf")));
    }

    #[test]
    fn a_trunk_that_registers_is_an_aor_without_contact_under_its_own_name() {
        let mut value = shipped();
        value["register"] = json!(true);
        value["user"] = json!("edge7");
        let lines = bare(&end(value.clone(), Pbx::Asterisk));
        assert!(!lines.iter().any(|l| l.starts_with("contact")), "{lines:?}");
        for line in ["[edge7]", "aors = edge7", "max_contacts = 1", "auth = edge7-in"] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
        }
        let wizard = bare(&end(value, Pbx::AsteriskWizard));
        assert!(wizard.contains(&"accepts_registrations = yes".to_owned()), "{wizard:?}");
        assert!(!wizard.iter().any(|l| l.starts_with("remote_hosts")), "{wizard:?}");
    }

    #[test]
    fn who_is_not_known_by_the_user_in_from_is_known_by_address() {
        let mut value = shipped();
        value["caller_id"] = json!("from");
        let lines = bare(&end(value, Pbx::Asterisk));
        assert!(
            lines.windows(3).any(|w| w == ["type = identify", "endpoint = sipedge", "match = 192.0.2.9"]),
            "{lines:?}"
        );
    }

    #[test]
    fn who_has_no_password_is_known_by_address_alone_whatever_its_from_says() {
        for (register, user) in
            [(json!(false), None), (json!(false), Some("sipedge")), (json!(true), Some("sipedge"))]
        {
            let mut value = shipped();
            let keys = value.as_object_mut().unwrap();
            keys.remove("password");
            keys.remove("user");
            keys.extend(user.map(|user| ("user".to_owned(), json!(user))));
            keys.insert("register".to_owned(), register.clone());
            let lines = bare(&end(value.clone(), Pbx::Asterisk));
            assert!(lines.contains(&"identify_by = ip".to_owned()), "{lines:?}");
            assert!(
                lines.windows(3).any(|w| w[0] == "type = identify" && w[2] == "match = 192.0.2.9"),
                "{lines:?}"
            );
            let wizard = end(value, Pbx::AsteriskWizard);
            assert!(bare(&wizard).contains(&"endpoint/identify_by = ip".to_owned()), "{wizard}");
            assert_eq!(wizard.contains(NO_PASSWORD), register == json!(true));
        }
        let lines = bare(&end(shipped(), Pbx::Asterisk));
        assert!(!lines.iter().any(|l| l.starts_with("identify_by")), "{lines:?}");
    }

    #[test]
    fn a_password_is_written_as_each_file_needs_it_and_one_known_by_hash_is_asked_for() {
        let mut value = shipped();
        value["inbound_password"] = json!("a;b<&\"");
        assert!(end(value.clone(), Pbx::Asterisk).contains("password = a\\;b<&\"\n"));
        assert!(end(value.clone(), Pbx::FreeSwitch).contains("value=\"a;b&lt;&amp;&quot;\"/>"));
        value.as_object_mut().unwrap().remove("inbound_password");
        let hashes = config::hash_lines("asterisk", &crate::base::Secret::new("x"));
        let md5 = hashes.lines().next().unwrap().split('"').nth(1).unwrap().to_owned();
        value["inbound_ha1_md5"] = json!(md5);
        assert!(end(value, Pbx::Asterisk).contains(UNKNOWN_PASSWORD));
    }

    #[test]
    fn by_tcp_and_tls_everything_that_leads_to_sipedge_says_so() {
        for transport in ["tcp", "tls"] {
            let mut value = shipped();
            value["transport"] = json!(transport);
            let (asterisk, wizard) =
                (end(value.clone(), Pbx::Asterisk), end(value.clone(), Pbx::AsteriskWizard));
            assert!(asterisk.contains(&format!("contact = sip:192.0.2.9:5080\\;transport={transport}\n")));
            let pattern = format!("contact_pattern = sip:${{REMOTE_HOST}}\\;transport={transport}\n");
            assert!(wizard.contains(&pattern));
            for text in [asterisk, wizard] {
                assert_eq!(text.contains("protocol = tls"), transport == "tls", "{text}");
            }
            let freeswitch = end(value, Pbx::FreeSwitch);
            assert!(freeswitch.contains(&format!("sofia/gateway/sipedge/$1;transport={transport}")));
        }
    }

    #[test]
    fn protected_media_is_asked_for_at_the_other_end_too() {
        let with = |encryption: &str, pbx| {
            let mut value = shipped();
            value["media_encryption"] = json!(encryption);
            end(value, pbx)
        };
        assert!(with("sdes", Pbx::Asterisk).contains("\nmedia_encryption = sdes\n"));
        assert!(with("sdes-optional", Pbx::Asterisk).contains("\nmedia_encryption_optimistic = yes\n"));
        assert!(with("dtls", Pbx::AsteriskWizard).contains("\nendpoint/dtls_auto_generate_cert = yes\n"));
        assert!(with("sdes", Pbx::FreeSwitch).contains("rtp_secure_media=mandatory"));
    }

    #[test]
    fn several_hosts_get_the_same_and_a_proxy_stands_between_the_two() {
        let mut pair = shipped();
        pair.as_object_mut().unwrap().remove("host");
        pair["hosts"] = json!(["127.0.0.1", "127.0.0.2"]);
        for pbx in [Pbx::Asterisk, Pbx::AsteriskWizard, Pbx::FreeSwitch] {
            assert_eq!(end(pair.clone(), pbx), end(shipped(), pbx));
        }
        let by_proxy = json!({"host": "pbx.example", "proxy": "192.0.2.7:5070", "inbound": "address"});
        let asterisk = end(by_proxy.clone(), Pbx::Asterisk);
        assert_eq!(asterisk.matches("outbound_proxy = sip:192.0.2.7:5070\\;lr\n").count(), 2, "{asterisk}");
        assert!(asterisk.contains("match = 192.0.2.7\n"), "{asterisk}");
        assert!(
            end(by_proxy.clone(), Pbx::AsteriskWizard).contains("outbound_proxy = sip:192.0.2.7:5070\\;lr\n")
        );
        let freeswitch = end(by_proxy, Pbx::FreeSwitch);
        for part in ["name=\"outbound-proxy\" value=\"192.0.2.7:5070\"", "cidr=\"192.0.2.7/32\""] {
            assert!(freeswitch.contains(part), "{freeswitch}");
        }
        let named = end(json!({"host": "pbx.example", "proxy": "sbc.example"}), Pbx::FreeSwitch);
        assert!(
            named.contains("address of sbc.example for ADDRESS") && !named.contains("cidr=\"sbc"),
            "{named}"
        );
    }
}
