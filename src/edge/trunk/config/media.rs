//! What a trunk's calls speak and how that is protected.

use super::Raw;
use crate::base::{Fault, Section};
use crate::call::port::{Codec, Encryption};
use std::net::IpAddr;

/// What a trunk's calls speak and how that is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Media {
    /// Codecs of calls to it, in order.
    pub(in super::super) codecs: Vec<Codec>,
    /// Codecs of its own calls, in order.
    pub(in super::super) codecs_in: Vec<Codec>,
    pub(in super::super) encryption: Encryption,
    /// Offers name the profile with feedback.
    pub(in super::super) is_avpf: bool,
    /// Our address for it; none: that of the signalling.
    pub(in super::super) address: Option<IpAddr>,
}

/// Reads the keys of media.
pub(super) fn read(section: &Section, raw: &Raw, faults: &mut Vec<Fault>) -> Media {
    let (codecs, codecs_in) = match raw.codecs.as_deref() {
        // what every PBX takes; and of what it offers, whatever there is
        None => (vec![Codec::Pcmu], Codec::ALL.to_vec()),
        Some(names) => {
            let codecs = read_codecs(section, names, faults);
            (codecs.clone(), codecs)
        }
    };
    let encryption = match raw.media_encryption.as_deref() {
        None | Some("off") => Encryption::Off, // what every PBX takes
        Some("sdes") => Encryption::Sdes,
        Some("sdes-optional") => Encryption::SdesOptional,
        Some("dtls") => Encryption::Dtls,
        Some(_) => {
            let remedy = "write \"off\", \"sdes\", \"sdes-optional\" or \"dtls\"";
            faults.push(section.fault("media_encryption", remedy));
            Encryption::Off
        }
    };
    if encryption == Encryption::Dtls && raw.symmetric == Some(true) {
        let remedy =
            "with media_encryption = \"dtls\" the description says where media comes from; leave it out";
        faults.push(section.fault("symmetric", remedy));
    }
    let address = raw.media_address.as_deref().and_then(|text| read_address(section, text, faults));
    Media { codecs, codecs_in, encryption, is_avpf: raw.avpf.unwrap_or(false), address }
}

/// Whether this machine has it is seen with each call: an address may move here from a machine that fails.
fn read_address(section: &Section, text: &str, faults: &mut Vec<Fault>) -> Option<IpAddr> {
    let address = text.parse().ok().map(|ip: IpAddr| ip.to_canonical());
    let address = address.filter(|ip| !ip.is_unspecified() && !ip.is_multicast());
    if address.is_none() {
        let remedy =
            "write an address of this machine that the media of this trunk goes by, as \"192.0.2.7\"";
        faults.push(section.fault("media_address", remedy));
    }
    address
}

fn read_codecs(section: &Section, names: &[String], faults: &mut Vec<Fault>) -> Vec<Codec> {
    let mut codecs = Vec::new();
    for name in names {
        match Codec::from_name(name) {
            Some(codec) if codecs.contains(&codec) => {
                faults.push(section.fault("codecs", format!("{} stands twice", codec.name())));
            }
            Some(codec) => codecs.push(codec),
            None => {
                let known: Vec<&str> = Codec::ALL.iter().map(|c| c.name()).collect();
                faults
                    .push(section.fault("codecs", format!("no such codec; there are: {}", known.join(", "))));
            }
        }
    }
    if names.is_empty() {
        faults.push(section.fault("codecs", "name at least one, or leave the key out"));
    }
    codecs
}

#[cfg(test)]
mod tests {
    use super::super::{Trunk, read};
    use super::*;
    use serde_json::json;

    fn trunk(more: serde_json::Value) -> Result<Trunk, Vec<String>> {
        let mut all = json!({"host": "192.0.2.1"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(&Section::new("trunk.pbx", "t", all))
            .map_err(|faults| Fault::settle(faults).into_iter().map(|f| f.key).collect())
    }

    #[test]
    fn codecs_are_a_list_in_the_order_of_preference_for_both_directions() {
        let media = trunk(json!({"codecs": ["pcma", "opus"]})).unwrap().media;
        assert_eq!(media.codecs, [Codec::Pcma, Codec::Opus]);
        assert_eq!(media.codecs_in, media.codecs);
        let media = trunk(json!({})).unwrap().media;
        assert_eq!((media.codecs, media.codecs_in), (vec![Codec::Pcmu], Codec::ALL.to_vec()));
        for wrong in [json!(["mp3"]), json!([]), json!(["PCMU", "pcmu"]), json!("PCMU"), json!([7])] {
            let keys = trunk(json!({"codecs": wrong})).unwrap_err();
            assert!(keys.len() == 1 && keys[0].starts_with("trunk.pbx.codecs"), "{keys:?}");
        }
    }

    #[test]
    fn the_address_of_media_is_one_of_a_machine() {
        assert_eq!(trunk(json!({})).unwrap().media.address, None);
        for (text, address) in [("192.0.2.7", "192.0.2.7"), ("2001:db8::7", "2001:db8::7")] {
            let read = trunk(json!({"media_address": text})).unwrap().media.address;
            assert_eq!(read, Some(address.parse().unwrap()));
        }
        for wrong in ["pbx.example", "0.0.0.0", "::", "224.0.0.1", "192.0.2.7:4000", ""] {
            let keys = trunk(json!({"media_address": wrong})).unwrap_err();
            assert_eq!(keys, ["trunk.pbx.media_address"], "{wrong}");
        }
    }

    #[test]
    fn encryption_has_four_values_and_dtls_is_not_symmetric() {
        for (value, encryption) in [
            ("off", Encryption::Off),
            ("sdes", Encryption::Sdes),
            ("sdes-optional", Encryption::SdesOptional),
            ("dtls", Encryption::Dtls),
        ] {
            assert_eq!(trunk(json!({"media_encryption": value})).unwrap().media.encryption, encryption);
        }
        assert_eq!(trunk(json!({})).unwrap().media.encryption, Encryption::Off);
        assert_eq!(trunk(json!({"media_encryption": "yes"})).unwrap_err(), ["trunk.pbx.media_encryption"]);
        let symmetric = json!({"media_encryption": "dtls", "symmetric": true});
        assert_eq!(trunk(symmetric).unwrap_err(), ["trunk.pbx.symmetric"]);
        assert!(
            trunk(json!({"media_encryption": "sdes", "symmetric": true, "avpf": true}))
                .unwrap()
                .media
                .is_avpf
        );
    }
}
