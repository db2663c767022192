//! What the configuration says of media: `[media]`, `[ice]`, `[srtp]`.

use crate::base::{Fault, PortRange, Section, parse_duration};
use crate::peer::SrtpProfile;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Validated settings of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaConfig {
    webrtc_port: u16,
    workers: Option<usize>,
    addresses: Vec<IpAddr>,
    external: Option<IpAddr>,
    rtp_ports: PortRange,
    timeout: Duration,
    calls: usize,
    is_loopback_allowed: bool,
    is_lite: bool,
    profiles: Vec<SrtpProfile>,
}

/// Most media threads that may be asked for.
const WORKERS_MAX: usize = 256;
/// Outside the ranges of Asterisk, FreeSWITCH, Janus and the kernel's ephemeral ports.
const WEBRTC_PORT: u16 = 7_000;
/// A party that sends nothing for so long is gone.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Pairs of ports that a call has at most while nobody is transferred.
const PAIRS_OF_A_CALL: usize = 2;
/// What one machine carries with room to spare.
const CALLS: usize = 2_000;

/// In our order of preference: GCM is the fastest, 256 bits cost more and nobody asks for them first.
const PROFILES: [SrtpProfile; 3] =
    [SrtpProfile::AeadAes128Gcm, SrtpProfile::AesCm128HmacSha1_80, SrtpProfile::AeadAes256Gcm];

#[derive(serde::Deserialize)]
struct RawMedia {
    webrtc_port: Option<u16>,
    workers: Option<usize>,
    addresses: Option<Vec<String>>,
    external: Option<String>,
    rtp_ports: Option<String>,
    timeout: Option<String>,
    calls: Option<usize>,
}

#[derive(serde::Deserialize)]
struct RawIce {
    loopback: Option<bool>,
    lite: Option<bool>,
}

#[derive(serde::Deserialize)]
struct RawSrtp {
    profiles: Option<Vec<String>>,
}

impl MediaConfig {
    /// Reads the three tables.
    ///
    /// # Errors
    /// Every mistake in them.
    pub fn from_sections(media: &Section, ice: &Section, srtp: &Section) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let raw_media = media.read::<RawMedia>(&[
            "webrtc_port",
            "workers",
            "addresses",
            "external",
            "rtp_ports",
            "timeout",
            "calls",
        ]);
        let raw_ice = ice.read::<RawIce>(&["loopback", "lite"]);
        let raw_srtp = srtp.read::<RawSrtp>(&["profiles"]);
        let mut config = Self::default();
        match raw_media {
            Ok((raw, more)) => {
                faults.extend(more);
                config.read_media(raw, media, &mut faults);
            }
            Err(more) => faults.extend(more),
        }
        match raw_ice {
            Ok((raw, more)) => {
                faults.extend(more);
                config.is_loopback_allowed = raw.loopback.unwrap_or(false);
                config.is_lite = raw.lite.unwrap_or(false);
            }
            Err(more) => faults.extend(more),
        }
        match raw_srtp {
            Ok((raw, more)) => {
                faults.extend(more);
                config.read_profiles(raw, srtp, &mut faults);
            }
            Err(more) => faults.extend(more),
        }
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn read_media(&mut self, raw: RawMedia, section: &Section, faults: &mut Vec<Fault>) {
        let mut ip = |key: &str, text: &str| match text.parse::<IpAddr>() {
            Ok(ip) if !ip.is_unspecified() && !ip.is_multicast() => Some(ip),
            _ => {
                faults.push(section.fault(key, "write addresses of this machine, as \"192.0.2.7\""));
                None
            }
        };
        if let Some(addresses) = raw.addresses {
            self.addresses = addresses.iter().filter_map(|a| ip("addresses", a)).collect();
            self.addresses.dedup();
        }
        self.external = raw.external.and_then(|e| ip("external", &e));
        match raw.webrtc_port {
            Some(0..1024) => faults.push(section.fault("webrtc_port", "write a port from 1024 to 65535")),
            Some(port) => self.webrtc_port = port,
            None => {}
        }
        match raw.workers {
            Some(n) if n == 0 || n > WORKERS_MAX => {
                faults.push(section.fault("workers", "write a number from 1 to 256"));
            }
            workers => self.workers = workers,
        }
        let last = usize::from(self.webrtc_port) + self.workers.unwrap_or(1) - 1;
        if last > usize::from(u16::MAX) {
            faults.push(section.fault("webrtc_port", "the ports of all workers must end at 65535 or before"));
        }
        if let Some(range) = raw.rtp_ports {
            match range.parse() {
                Ok(range) => self.rtp_ports = range,
                Err(e) => faults.push(section.fault("rtp_ports", e.to_string())),
            }
        }
        match raw.timeout.map(|t| parse_duration(&t)) {
            Some(Ok(timeout)) if timeout >= Duration::from_secs(1) => self.timeout = timeout,
            Some(Ok(_)) => faults.push(section.fault("timeout", "write 1s or more")),
            Some(Err(remedy)) => faults.push(section.fault("timeout", remedy)),
            None => {}
        }
        match raw.calls {
            Some(0) => faults.push(section.fault("calls", "write 1 or more")),
            Some(calls) => self.calls = calls,
            None => {}
        }
    }

    fn read_profiles(&mut self, raw: RawSrtp, section: &Section, faults: &mut Vec<Fault>) {
        let Some(names) = raw.profiles else { return };
        self.profiles.clear();
        for name in &names {
            match PROFILES.iter().find(|p| p.name() == name) {
                Some(profile) if !self.profiles.contains(profile) => self.profiles.push(*profile),
                Some(_) => faults.push(section.fault("profiles", "a profile stands twice")),
                None => faults.push(section.fault(
                    "profiles",
                    "known are \"AEAD_AES_128_GCM\", \"AES_CM_128_HMAC_SHA1_80\" and \"AEAD_AES_256_GCM\"",
                )),
            }
        }
        if names.is_empty() {
            faults.push(section.fault("profiles", "name at least one, or leave the key out"));
        }
    }

    /// UDP port of the first worker's WebRTC sockets; the others follow (7000).
    #[must_use]
    pub const fn webrtc_port(&self) -> u16 {
        self.webrtc_port
    }

    /// Media threads on a machine with so many cores: as many as are asked for, else one core is left to signalling.
    #[must_use]
    pub fn threads(&self, cores: usize) -> usize {
        self.workers.unwrap_or(cores.saturating_sub(1).max(1))
    }

    /// UDP ports of the WebRTC sockets there, one a thread.
    #[must_use]
    pub fn webrtc_ports(&self, cores: usize) -> RangeInclusive<u16> {
        let more = u16::try_from(self.threads(cores).saturating_sub(1)).unwrap_or(u16::MAX);
        self.webrtc_port..=self.webrtc_port.saturating_add(more)
    }

    /// Addresses to bind and announce; empty: all of the machine's.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Address a NAT maps to ours one to one; announced to browsers instead.
    #[must_use]
    pub const fn external(&self) -> Option<IpAddr> {
        self.external
    }

    /// Ports of plain RTP legs (40000-49999).
    #[must_use]
    pub const fn rtp_ports(&self) -> PortRange {
        self.rtp_ports
    }

    /// What is wrong when the ports towards PBXs are too few for the calls at once; a call from trunk to trunk has two pairs.
    #[must_use]
    pub fn port_shortage(&self) -> Option<String> {
        let (range, calls) = (self.rtp_ports, self.calls);
        let pairs = range.pairs().count();
        let needed = calls.saturating_mul(PAIRS_OF_A_CALL);
        let enough_for = (pairs / PAIRS_OF_A_CALL).max(1);
        (pairs < needed).then(|| {
            format!(
                "media.rtp_ports = \"{range}\" has {pairs} pairs of ports, and the {calls} calls of media.calls need {needed} \
                 where both sides are PBXs: write a range of {} ports, or media.calls = {enough_for}",
                needed.saturating_mul(2)
            )
        })
    }

    /// How long a leg that should send media may send none (30 s).
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls at once (2,000).
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Whether loopback addresses are announced and probed; for the demo and tests.
    #[must_use]
    pub const fn is_loopback_allowed(&self) -> bool {
        self.is_loopback_allowed
    }

    /// Whether browsers find a lite ICE agent here (RFC 8445 §2.5), which answers checks and makes none.
    #[must_use]
    pub const fn is_lite(&self) -> bool {
        self.is_lite
    }

    /// SRTP profiles in order of preference.
    #[must_use]
    pub fn profiles(&self) -> &[SrtpProfile] {
        &self.profiles
    }

    /// The same for keys in descriptions; where AES-CM is among them, last the short tags that some telephones want.
    #[must_use]
    pub fn sdes_profiles(&self) -> Vec<SrtpProfile> {
        let has_cm = self.profiles.contains(&SrtpProfile::AesCm128HmacSha1_80);
        let short = has_cm.then_some(SrtpProfile::AesCm128HmacSha1_32);
        self.profiles.iter().copied().chain(short).collect()
    }
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            webrtc_port: WEBRTC_PORT,
            workers: None,
            addresses: Vec::new(),
            external: None,
            rtp_ports: DEFAULT_PORTS,
            timeout: TIMEOUT,
            calls: CALLS,
            is_loopback_allowed: false,
            is_lite: false,
            profiles: PROFILES.to_vec(),
        }
    }
}

/// Large enough for the calls at once, and reserved by a sysctl fragment.
const DEFAULT_PORTS: PortRange = match PortRange::new(40_000, 49_999) {
    Ok(range) => range,
    Err(_) => unreachable!(),
};

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        media: serde_json::Value,
        ice: serde_json::Value,
        srtp: serde_json::Value,
    ) -> Result<MediaConfig, Vec<String>> {
        let section = |name: &str, value| Section::new(name, "a.toml", value);
        MediaConfig::from_sections(&section("media", media), &section("ice", ice), &section("srtp", srtp))
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_a_word_the_defaults_hold() {
        let config = read(serde_json::json!(null), serde_json::json!({}), serde_json::json!(null)).unwrap();
        assert_eq!(config.webrtc_port(), 7_000);
        assert_eq!(config.rtp_ports().to_string(), "40000-49999");
        assert_eq!((config.timeout(), config.calls()), (Duration::from_secs(30), 2_000));
        assert!(
            !config.is_loopback_allowed()
                && !config.is_lite()
                && config.threads(8) == 7
                && config.threads(1) == 1
        );
        use SrtpProfile::{AeadAes128Gcm, AeadAes256Gcm, AesCm128HmacSha1_80};
        assert_eq!(config.profiles(), [AeadAes128Gcm, AesCm128HmacSha1_80, AeadAes256Gcm]);
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let faults = read(
            serde_json::json!({"webrtc_port": 80, "workers": 0, "addresses": ["x", "0.0.0.0"], "timeout": "3",
                               "rtp_ports": "9-8", "calls": 0}),
            serde_json::json!({"lopback": true}),
            serde_json::json!({"profiles": ["NULL", "AEAD_AES_128_GCM", "AEAD_AES_128_GCM"]}),
        )
        .unwrap_err();
        for key in ["webrtc_port", "workers", "addresses", "timeout", "rtp_ports", "calls"] {
            assert!(faults.iter().any(|f| f.contains(&format!("media.{key}:"))), "{key}: {faults:?}");
        }
        assert!(faults.contains(&"a.toml: ice.lopback: unknown key; did you mean `loopback`?".to_owned()));
        assert_eq!(faults.iter().filter(|f| f.contains("srtp.profiles")).count(), 2);
    }

    #[test]
    fn ports_that_are_too_few_for_the_calls_are_told_with_both_keys_and_the_number_needed() {
        let shortage =
            |media| read(media, serde_json::json!(null), serde_json::json!(null)).unwrap().port_shortage();
        assert_eq!(shortage(serde_json::json!({})), None);
        assert_eq!(shortage(serde_json::json!({"rtp_ports": "30000-30099", "calls": 25})), None);
        let said = shortage(serde_json::json!({"rtp_ports": "30000-30099"})).unwrap();
        assert_eq!(
            said,
            "media.rtp_ports = \"30000-30099\" has 50 pairs of ports, and the 2000 calls of media.calls need 4000 where both \
             sides are PBXs: write a range of 8000 ports, or media.calls = 25"
        );
    }

    #[test]
    fn values_are_taken_in_their_order() {
        let config = read(
            serde_json::json!({"addresses": ["127.0.0.1", "::1"], "external": "203.0.113.5", "workers": 2}),
            serde_json::json!({"loopback": true, "lite": true}),
            serde_json::json!({"profiles": ["AEAD_AES_256_GCM", "AES_CM_128_HMAC_SHA1_80"]}),
        )
        .unwrap();
        assert_eq!(config.addresses().len(), 2);
        assert_eq!((config.threads(8), config.webrtc_ports(8)), (2, 7_000..=7_001));
        assert_eq!(config.external(), Some(IpAddr::from([203, 0, 113, 5])));
        assert_eq!(config.profiles(), [SrtpProfile::AeadAes256Gcm, SrtpProfile::AesCm128HmacSha1_80]);
        assert!(config.is_loopback_allowed() && config.is_lite());
    }
}
