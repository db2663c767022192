//! What a trunk's calls speak and how that is protected.

use super::Raw;
use crate::base::{Fault, Section};
use crate::call::port::{Codec, Encryption};

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
    Media { codecs, codecs_in, encryption, is_avpf: raw.avpf.unwrap_or(false) }
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
