//! One WebRTC association: ICE (RFC 8445), DTLS-SRTP (RFC 5763, 5764) and consent (RFC 7675); or DTLS-SRTP alone.
//!
//! `core` decides (who we are in DTLS, whether the certificate is the announced one, when keys are handed
//! over, where media goes, when consent is lost); `ice` and `dtls` adapt the crates to it; `conn` holds the
//! in-memory datagram ends they read and write; `io` is the task that runs them. Sockets belong to `media`:
//! datagrams come in as [`PeerInput`] and leave through a [`DatagramSink`].
//!
//! `lite` is the machine of an association that only answers checks (RFC 8445 §2.5), `fixed` that of one without ICE, on
//! the path that the descriptions name; the task drives any of them as a `machine`.
//!
//! [`spawn`] starts the task of an association, [`spawn_lite`] and [`spawn_fixed`] those of the others;
//! [`PeerHandle::input`] feeds it from any thread. What it may say
//! is [`PeerEvent`]; after `Failed` or `ConsentLost` it has ended by itself. Everything before the media starts
//! passes here; of media itself only [`PeerInput::MediaFrom`], once for a new path.

mod certificate;
mod checks;
mod conn;
mod consent;
mod core;
mod counters;
mod dtls;
mod fixed;
mod guard;
mod ice;
mod io;
mod lite;
mod machine;
mod output;
mod paths;
mod records;
mod stun;

pub use certificate::{Certificate, CertificateError};
pub use counters::{Counter, Counters};
pub use io::{PeerHandle, Refusal, spawn, spawn_fixed, spawn_lite, spawn_on};

use crate::base::{Path, Secret};
use std::net::SocketAddr;
use std::sync::Arc;
use zeroize::Zeroizing;

/// SHA-256 of a certificate in DER form (RFC 8122 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Our side in the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// We send the ClientHello (`a=setup:active`).
    Client,
    /// We wait for it (`a=setup:passive`).
    Server,
}

/// Our side in ICE (RFC 8445 §6.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// We nominate.
    Controlling,
    /// The other side nominates.
    Controlled,
}

/// User fragment and password of one side (RFC 8839 §5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`.
    pub ufrag: String,
    /// `a=ice-pwd`.
    pub pwd: Secret,
}

/// SRTP protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// SRTP_AES128_CM_HMAC_SHA1_80.
    AesCm128HmacSha1_80,
    /// SRTP_AES128_CM_HMAC_SHA1_32: tags of RTP are 32 bits, those of RTCP 80 all the same.
    AesCm128HmacSha1_32,
    /// SRTP_AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// SRTP_AEAD_AES_256_GCM.
    AeadAes256Gcm,
}

impl SrtpProfile {
    /// Its name as a crypto-suite (RFC 4568 §6.2, RFC 7714 §14.2).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Length of the master key in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// One direction's master key and salt.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// [`SrtpProfile::key_len`] bytes.
    pub key: Zeroizing<Vec<u8>>,
    /// [`SrtpProfile::salt_len`] bytes.
    pub salt: Zeroizing<Vec<u8>>,
}

/// What a finished handshake gives SRTP (RFC 5764 §4.2).
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// The negotiated profile.
    pub profile: SrtpProfile,
    /// Protects what we send.
    pub local: MasterKey,
    /// Protects what the other side sends.
    pub remote: MasterKey,
}

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// What we bring to an association, fixed when it is made.
#[derive(Clone)]
pub struct LocalParameters {
    /// Our ufrag and password; the ufrag is unique in the process.
    pub credentials: IceCredentials,
    /// Our certificate and key (one per process).
    pub certificate: Arc<Certificate>,
    /// Profiles in order of preference.
    pub profiles: Vec<SrtpProfile>,
    /// Addresses of the sockets we may use, those the SDP announces as host candidates.
    pub addresses: Vec<SocketAddr>,
    /// Whether remote candidates on loopback may be probed (`ice.loopback`).
    pub allow_loopback: bool,
}

/// What the other side's session description said.
#[derive(Debug, Clone)]
pub struct RemoteParameters {
    /// Its ufrag and password.
    pub credentials: IceCredentials,
    /// Its SHA-256 fingerprints, at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// Whether it said `a=ice-lite`.
    pub is_lite: bool,
    /// Its UDP host, server-reflexive and relayed candidates of component 1; `.local` names are left out.
    pub candidates: Vec<SocketAddr>,
    /// Our DTLS role, as the offer and answer decided (RFC 8842 §5).
    pub dtls_role: DtlsRole,
    /// Our ICE role in a first exchange; when the other side's checks claim the same role (an ICE restart, where
    /// browsers differ), ours changes to the opposite.
    pub ice_role: IceRole,
}

/// What we bring to an association without ICE.
#[derive(Clone)]
pub struct FixedParameters {
    /// Our certificate and key (one per process).
    pub certificate: Arc<Certificate>,
    /// Profiles in order of preference.
    pub profiles: Vec<SrtpProfile>,
}

/// What the other side's description said of an association without ICE.
#[derive(Debug, Clone)]
pub struct FixedRemote {
    /// Where its DTLS comes from and goes.
    pub address: SocketAddr,
    /// Its SHA-256 fingerprints, at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// Our DTLS role, as the offer and answer decided (RFC 5763 §5).
    pub dtls_role: DtlsRole,
}

/// What an association is told.
#[derive(Debug)]
pub enum PeerInput {
    /// The other side's description; once.
    Remote(Box<RemoteParameters>),
    /// The same for an association without ICE; once.
    FixedRemote(Box<FixedRemote>),
    /// An ICE restart (RFC 8445 §9, RFC 8842 §3.3: new ufrag and password, the same certificate). Browsers do no
    /// new handshake then, so keys stay and no second `Connected` comes; the selected path stays too until
    /// [`PeerEvent::Selected`] names the new one.
    Restart {
        /// Our new credentials, those of the answer or new offer.
        local: IceCredentials,
        /// The other side's description; its fingerprints and DTLS role are not looked at.
        remote: Box<RemoteParameters>,
    },
    /// A STUN or DTLS datagram that `media` took from a socket. STUN is checked here (MESSAGE-INTEGRITY);
    /// DTLS from a path that no authenticated STUN request came by is counted and dropped.
    Datagram {
        /// The socket it came in by and its sender.
        path: Path,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A packet with a good SRTP tag came by a path that is not yet known: ask it for consent, and announce
    /// [`PeerEvent::Authenticated`] when it answers.
    MediaFrom(Path),
    /// End: say close_notify, stop the tasks, free everything.
    Close,
}

/// What an association says.
#[derive(Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A STUN message with our credentials, or the answer to a check of ours, proved this path: its datagrams belong to
    /// this association.
    Authenticated(Path),
    /// Media goes to this path from now on.
    Selected(Path),
    /// The handshake is done and the certificate is the announced one: media may flow.
    Connected(SrtpKeys),
    /// It never came up, with [`crate::base::Cause::IceFailed`] or [`crate::base::Cause::DtlsFailed`]; or a fault
    /// of ours ended it, with [`crate::base::Cause::Internal`].
    Failed(crate::base::Cause),
    /// It was up and consent is gone (RFC 7675 §5.1).
    ConsentLost,
}

/// Where an association's datagrams leave. Never blocks; a full socket drops (UDP).
pub trait DatagramSink: Send + Sync {
    /// Sends from the socket bound to `path.local` to `path.remote`.
    fn send(&self, path: Path, bytes: &[u8]);
}
