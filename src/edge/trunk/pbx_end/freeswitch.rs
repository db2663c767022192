//! The end of a trunk at FreeSWITCH: a gateway, the way to browsers and the way in, files below its `conf`.

use super::{End, REGISTRATION_SECONDS};
use crate::call::port::{Codec, Encryption};
use crate::sip::Transport;
use std::fmt::Write;
use std::net::IpAddr;

/// Numbers that its own example dialplan takes before ours is asked.
const NUMBERS_HINT: &str = "Numbers like\n     \
    1000 to 1019 and 1100 to 1119 will not do: the vanilla dialplan has them for its own users, and is asked first.";

/// FreeSWITCH offers DTLS without ICE only where it is told to by name.
const DTLS_HINT: &str = "\
<!-- DTLS-SRTP: rtp_use_dtls has FreeSWITCH offer it to a gateway without ICE, which is for browsers (media_webrtc). It takes
     the DTLS of calls from sipedge by itself. Where this FreeSWITCH does not know rtp_use_dtls, its calls are offered plain RTP
     and get 488: write media_encryption = \"sdes\" with transport = \"tls\" in sipedge.toml then. -->
";

/// And refuses what others take for an offer that leaves the choice.
const SDES_OPTIONAL_HINT: &str = "\
<!-- FreeSWITCH refuses a=crypto beside RTP/AVP, so calls from sipedge get 488: write media_encryption = \"sdes\", with
     transport = \"tls\", or \"off\" in sipedge.toml. -->
";

/// Its vanilla configuration speaks no TLS.
const TLS_HINT: &str = "\
<!-- By TLS: set internal_ssl_enable and external_ssl_enable to true in vars.xml, and put certificate and key of this FreeSWITCH
     into tls/agent.pem; restart it then. It listens on 5061 (internal) and 5081 (external): sipedge's host is the former, as
     host = \"ADDRESS:5061\", and tls_ca names who signed agent.pem. -->
";

/// What its preprocessor, its dialplan and its lists of variables would read as their own.
const SPECIAL: [char; 7] = ['$', '{', '}', '[', ']', '\'', '\\'];
const PASSWORD_HINT: &str = "\
<!-- A password below has one of $ { } [ ] ' \\ in it, which FreeSWITCH reads as its own: choose another one, best of letters and
     digits alone, and print this again. -->
";

fn freeswitch_codec(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
        Codec::G722 => "G722",
        Codec::Opus => "OPUS",
    }
}

impl End<'_> {
    pub(super) fn freeswitch(&self) -> String {
        let mut text = format!(
            "<!-- sipedge: the other end of [trunk.{}], files below FreeSWITCH's conf. -->\n",
            self.trunk.name
        );
        if matches!(self.trunk.transport, Transport::Tls(_)) {
            text.push_str(TLS_HINT);
        }
        let mut logins = self.its_login().into_iter().chain(self.our_login());
        if logins.any(|(user, password)| user.contains(SPECIAL) || password.contains(SPECIAL)) {
            text.push_str(PASSWORD_HINT);
        }
        if self.trunk.register.is_none() {
            text.push_str(&self.freeswitch_gateway());
        }
        text.push_str(&self.freeswitch_dialplan());
        text.push_str(&self.freeswitch_access());
        text
    }

    /// Calls to sipedge, and the registration there.
    fn freeswitch_gateway(&self) -> String {
        let trunk = self.trunk;
        let own = self.host().parse::<IpAddr>();
        let is_ipv6 = matches!(own, Ok(IpAddr::V6(_)));
        let profile = if is_ipv6 { "external-ipv6" } else { "external" };
        let mut text = format!(
            "\n<!-- sip_profiles/{profile}/sipedge.xml; then `sofia profile {profile} rescan`.\n     \
             The external profile listens on 5080 itself: on one machine let sipedge or the profile take another port. -->\n\
             <include>\n  <gateway name=\"sipedge\">\n",
        );
        let mut param = |name: &str, value: &str| {
            let _ = writeln!(text, "    <param name=\"{name}\" value=\"{}\"/>", xml(value));
        };
        // FreeSWITCH wants both, also where nobody asks for them
        let (user, password) = self.its_login().unwrap_or(("not-asked", "not-asked"));
        param("username", user);
        param("password", password);
        param("realm", crate::sip::REALM);
        param("proxy", self.ours);
        self.trunk.proxy.iter().for_each(|proxy| {
            let uri = proxy.route(self.trunk.transport).uri.to_string();
            param("outbound-proxy", uri.trim_start_matches("sip:").trim_end_matches(";lr"));
        });
        if is_ipv6 {
            // it answers challenges of the proxy alone, and does not know an IPv6 address of it for one
            param("gw-auth-acl", &format!("{}/128", self.host()));
        }
        param("register", if trunk.takes_registration { "true" } else { "false" });
        if trunk.transport != Transport::Udp {
            // the Contact says so by this, too
            param("register-transport", &trunk.transport.as_str().to_ascii_lowercase());
        }
        if trunk.takes_registration {
            param("expire-seconds", &REGISTRATION_SECONDS.to_string());
            param("retry-seconds", "10");
        }
        param("caller-id-in-from", "true");
        param("ping", "30");
        text.push_str("  </gateway>\n</include>\n");
        text
    }

    fn freeswitch_dialplan(&self) -> String {
        let hint = match self.trunk.media.encryption {
            Encryption::Dtls => DTLS_HINT,
            Encryption::SdesOptional => SDES_OPTIONAL_HINT,
            _ => "",
        };
        format!(
            "\n<!-- dialplan/default/sipedge.xml: 12xx rings a browser; then `reloadxml`. {NUMBERS_HINT} -->\n{hint}\
             <include>\n  <extension name=\"sipedge\">\n    \
             <condition field=\"destination_number\" expression=\"^(12\\d{{2}})$\">\n      \
             <action application=\"set\" data=\"hangup_after_bridge=true\"/>\n      \
             <action application=\"bridge\" data=\"{}{}\"/>\n    \
             </condition>\n  </extension>\n</include>\n",
            xml(&self.freeswitch_variables()),
            xml(&self.freeswitch_target()),
        )
    }

    /// Whom it dials: the gateway, or, where we register, the number at our contact.
    fn freeswitch_target(&self) -> String {
        if self.trunk.register.is_some() {
            let name = self.name();
            return format!(
                "sofia/internal/$1${{regex(${{sofia_contact({name}@$${{domain}})}}|^[^\\@]+(.*)|%1)}}"
            );
        }
        match self.trunk.transport {
            Transport::Udp => "sofia/gateway/sipedge/$1".to_owned(),
            other => {
                format!("sofia/gateway/sipedge/$1;transport={}", other.as_str().to_ascii_lowercase())
            }
        }
    }

    /// What its calls to sipedge speak, as channel variables of the leg; in a list the commas would end a variable.
    fn freeswitch_variables(&self) -> String {
        let media = &self.trunk.media;
        // else it tells of another party behind it only to telephones that it knows by their User-Agent
        let mut variables = vec!["update_ignore_ua=true".to_owned()];
        if media.codecs_in != Codec::ALL {
            let names: Vec<&str> = media.codecs_in.iter().map(|codec| freeswitch_codec(*codec)).collect();
            let mark = if names.len() > 1 { "^^:" } else { "" };
            variables.push(format!("absolute_codec_string={mark}{}", names.join(":")));
        }
        variables.extend(self.freeswitch_keys().iter().map(|(name, value)| format!("{name}={value}")));
        let secure = match media.encryption {
            Encryption::Off => None,
            Encryption::Sdes => Some("rtp_secure_media=mandatory"),
            Encryption::SdesOptional => Some("rtp_secure_media=optional"),
            Encryption::Dtls => Some("rtp_use_dtls=true"),
        };
        variables.extend(secure.map(str::to_owned));
        // no gateway has the login then
        if let Some((user, password)) = self.its_login().filter(|_| self.trunk.register.is_some()) {
            variables.push(format!("sip_auth_username={user}"));
            variables.push(format!("sip_auth_password={password}"));
        }
        let is_free = |mark: &char| variables.iter().all(|variable| !variable.contains(*mark));
        match [',', ';', '|', '!'].into_iter().find(is_free) {
            Some(mark) if mark != ',' => format!("{{^^{mark}{}}}", variables.join(&mark.to_string())),
            _ => format!("{{{}}}", variables.join(",")),
        }
    }

    /// Keys by INFO: its own `vars.xml` has `rtp_liberal_dtmf`, by which it sends telephone-events all the same, of a
    /// payload type that nobody has named.
    const fn freeswitch_keys(&self) -> &'static [(&'static str, &'static str)] {
        if self.trunk.keys_by_info { &[("dtmf_type", "info"), ("rtp_liberal_dtmf", "false")] } else { &[] }
    }

    /// Calls from sipedge: by login to the internal profile, or by address.
    fn freeswitch_access(&self) -> String {
        if self.trunk.takes_registration {
            return self.freeswitch_public();
        }
        let name = xml(self.name());
        let variables: String = [("user_context", "default")]
            .iter()
            .chain(self.freeswitch_keys())
            .map(|(name, value)| format!("      <variable name=\"{name}\" value=\"{value}\"/>\n"))
            .collect();
        let user = |attributes: &str, param: &str, password: &str| {
            format!(
                "<include>\n  <user id=\"{name}\"{attributes}>\n    <params>\n      \
                 <param name=\"{param}\" value=\"{}\"/>\n    </params>\n    <variables>\n{variables}    \
                 </variables>\n  </user>\n</include>\n",
                xml(password),
            )
        };
        if let Some((_, password)) = self.our_login() {
            return format!(
                "\n<!-- directory/default/sipedge.xml: sipedge calls the internal profile with this login; then `reloadxml`. -->\n{}",
                user("", "password", password)
            );
        }
        let host = self.host();
        let (address, hint) = match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => (format!("{host}/32"), String::new()),
            Ok(IpAddr::V6(_)) => (format!("{host}/128"), String::new()),
            Err(_) => {
                ("ADDRESS/32".to_owned(), format!("\n     Write the address of {} for ADDRESS.", xml(host)))
            }
        };
        format!(
            "\n<!-- directory/default/sipedge.xml: sipedge calls the internal profile without a login, known by its address;\n     \
             then `reloadxml` and `reloadacl`. Nobody can register as this user.{hint} -->\n{}",
            user(&format!(" cidr=\"{address}\""), "allow-empty-password", "false")
        )
    }

    /// Calls from sipedge to the contact of the gateway: in the context of strangers, whom no login tells apart, and any of
    /// whom may write `gw=sipedge` into a request.
    fn freeswitch_public(&self) -> String {
        let host = self.host();
        let (address, hint) = match host.parse::<IpAddr>() {
            Ok(_) => (host.replace('.', "\\."), String::new()),
            Err(_) => {
                ("ADDRESS".to_owned(), format!("\n     Write the address of {} for ADDRESS.", xml(host)))
            }
        };
        format!(
            "\n<!-- dialplan/public/sipedge.xml: sipedge calls the contact of the gateway, in the external profile's context\n     \
             \"public\", without a login; what comes from its address goes on in \"default\". Then `reloadxml`.{hint} -->\n\
             <include>\n  <extension name=\"from-sipedge\">\n    \
             <condition field=\"${{sip_gateway}}\" expression=\"^sipedge$\"/>\n    \
             <condition field=\"network_addr\" expression=\"^{address}$\"/>\n    \
             <condition field=\"destination_number\" expression=\"^(.+)$\">\n      \
             <action application=\"transfer\" data=\"$1 XML default\"/>\n    \
             </condition>\n  </extension>\n</include>\n"
        )
    }
}

/// A text as XML has it in an attribute.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::print;
    use super::super::tests::{end, shipped};
    use crate::base::Section;
    use crate::edge::contract::Pbx;
    use crate::edge::trunk::config;
    use serde_json::{Value, json};

    #[test]
    fn the_files_for_freeswitch_are_what_is_printed_for_the_shipped_configuration() {
        let printed = end(shipped(), Pbx::FreeSwitch).replace("192.0.2.9", "127.0.0.1");
        let includes = |text: &str| -> Vec<String> {
            text.split("<include>")
                .skip(1)
                .map(|part| part.split("</include>").next().unwrap().to_owned())
                .collect()
        };
        let files = [
            include_str!("../../../../config/freeswitch/sip_profiles/external/sipedge.xml"),
            include_str!("../../../../config/freeswitch/dialplan/default/sipedge.xml"),
            include_str!("../../../../config/freeswitch/directory/default/sipedge.xml"),
        ];
        assert_eq!(includes(&printed), files.iter().flat_map(|file| includes(file)).collect::<Vec<_>>());
    }

    #[test]
    fn a_freeswitch_is_told_of_codecs_keys_and_protection_too() {
        let bridge = |more: Value| {
            let mut value = shipped();
            value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let text = end(value, Pbx::FreeSwitch);
            let data = text.split("application=\"bridge\" data=\"").nth(1).unwrap();
            data.split("sofia/").next().unwrap().to_owned()
        };
        assert_eq!(bridge(json!({})), "{update_ignore_ua=true}");
        assert_eq!(bridge(json!({"codecs": ["PCMA"]})), "{update_ignore_ua=true,absolute_codec_string=PCMA}");
        assert_eq!(
            bridge(json!({"codecs": ["opus", "PCMU"], "dtmf": "info", "media_encryption": "sdes-optional"})),
            "{update_ignore_ua=true,absolute_codec_string=^^:OPUS:PCMU,dtmf_type=info,rtp_liberal_dtmf=false,rtp_secure_media=optional}"
        );
        assert_eq!(bridge(json!({"media_encryption": "dtls"})), "{update_ignore_ua=true,rtp_use_dtls=true}");
        let mut dtls = shipped();
        dtls["media_encryption"] = json!("dtls");
        assert!(end(dtls, Pbx::FreeSwitch).contains("<!-- DTLS-SRTP: rtp_use_dtls"));
        let mut optional = shipped();
        optional["media_encryption"] = json!("sdes-optional");
        assert!(end(optional, Pbx::FreeSwitch).contains("calls from sipedge get 488"));
    }

    #[test]
    fn keys_by_info_are_not_sent_as_events_that_nobody_named_whoever_calls() {
        let mut value = shipped();
        value["dtmf"] = json!("info");
        let text = end(value, Pbx::FreeSwitch);
        assert!(text.contains(",dtmf_type=info,rtp_liberal_dtmf=false}sofia/"), "{text}");
        let user = text.split("<user ").nth(1).unwrap();
        for (name, value) in
            [("user_context", "default"), ("dtmf_type", "info"), ("rtp_liberal_dtmf", "false")]
        {
            assert!(user.contains(&format!("<variable name=\"{name}\" value=\"{value}\"/>")), "{user}");
        }
    }

    #[test]
    fn where_freeswitch_registers_its_calls_from_us_come_in_among_strangers_and_go_on_by_our_address() {
        let mut value = shipped();
        value.as_object_mut().unwrap().remove("host");
        value["register"] = json!("accept");
        let text = end(value, Pbx::FreeSwitch);
        let public = text.split("dialplan/public/sipedge.xml").nth(1).unwrap();
        for part in [
            "<condition field=\"${sip_gateway}\" expression=\"^sipedge$\"/>",
            "<condition field=\"network_addr\" expression=\"^192\\.0\\.2\\.9$\"/>",
            "data=\"$1 XML default\"",
        ] {
            assert!(public.contains(part), "{part}: {public}");
        }
        // a login that nobody would be asked for, and a context that whoever names the gateway would be in
        assert!(!text.contains("<user ") && !text.contains("name=\"context\""), "{text}");
    }

    #[test]
    fn where_we_register_we_are_dialled_at_our_contact_with_the_number_and_its_login() {
        let mut value = shipped();
        value["register"] = json!(true);
        let text = end(value.clone(), Pbx::FreeSwitch);
        let target = "sofia/internal/$1${regex(${sofia_contact(sipedge@$${domain})}|^[^\\@]+(.*)|%1)}";
        let login =
            "{update_ignore_ua=true,sip_auth_username=asterisk,sip_auth_password=change-this-password-too}";
        assert!(text.contains(&format!("data=\"{login}{target}\"")), "{text}");
        assert!(!text.contains("<gateway "), "{text}");
        value["inbound_password"] = json!("a,b");
        let text = end(value, Pbx::FreeSwitch);
        assert!(
            text.contains(
                "{^^;update_ignore_ua=true;sip_auth_username=asterisk;sip_auth_password=a,b}sofia/"
            ),
            "{text}"
        );
    }

    #[test]
    fn by_ipv6_the_gateway_is_in_the_profile_of_ipv6_and_our_challenges_are_answered() {
        let trunk = Section::new("trunk.pbx", "t", json!({"host": "[2001:db8::1]:5060"}));
        let trunk = config::read(&trunk).unwrap();
        let text = print(&trunk, Pbx::FreeSwitch, "[2001:db8::9]:5080", &[]).unwrap();
        for part in [
            "sip_profiles/external-ipv6/sipedge.xml",
            "name=\"proxy\" value=\"[2001:db8::9]:5080\"",
            "name=\"gw-auth-acl\" value=\"2001:db8::9/128\"",
            "cidr=\"2001:db8::9/128\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!end(shipped(), Pbx::FreeSwitch).contains("gw-auth-acl"));
    }

    #[test]
    fn a_contact_says_its_transport_once() {
        let mut value = shipped();
        value["transport"] = json!("tls");
        let text = end(value, Pbx::FreeSwitch);
        assert!(text.contains("name=\"register-transport\" value=\"tls\""), "{text}");
        assert!(!text.contains("contact-params"), "{text}");
    }

    #[test]
    fn what_freeswitch_lacks_for_tls_and_reads_otherwise_in_a_password_is_said() {
        let text = end(shipped(), Pbx::FreeSwitch);
        assert!(!text.contains("agent.pem") && !text.contains("A password below"), "{text}");
        let mut value = shipped();
        value["transport"] = json!("tls");
        assert!(end(value, Pbx::FreeSwitch).contains("external_ssl_enable"));
        for (key, password) in
            [("password", "a$${b}"), ("inbound_password", "it's"), ("inbound_password", "a}b")]
        {
            let mut value = shipped();
            value[key] = json!(password);
            assert!(end(value, Pbx::FreeSwitch).contains("A password below"), "{password}");
        }
    }

    #[test]
    fn a_freeswitch_gets_a_gateway_a_dialplan_and_a_user_or_an_address() {
        let text = end(shipped(), Pbx::FreeSwitch);
        for part in [
            "<gateway name=\"sipedge\">",
            "name=\"realm\" value=\"sipedge\"",
            "name=\"proxy\" value=\"192.0.2.9:5080\"",
            "<user id=\"sipedge\">",
            "data=\"{update_ignore_ua=true}sofia/gateway/sipedge/$1\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let by_address = end(json!({"host": "192.0.2.1"}), Pbx::FreeSwitch);
        for part in [
            "<user id=\"sipedge\" cidr=\"192.0.2.9/32\">",
            "name=\"allow-empty-password\" value=\"false\"",
            "name=\"user_context\" value=\"default\"",
            "`reloadacl`",
        ] {
            assert!(by_address.contains(part), "{part}: {by_address}");
        }
        assert!(!by_address.contains("name=\"password\" value=\"change"), "{by_address}");
    }
}
