//! One leg's offer and answer (RFC 3264): what a description offers is read into what the packet path needs,
//! and our own description is made. Pure.
//!
//! WebRTC (RFC 8829, without trickle): we answer; one audio section, every other refused; DTLS role `active`
//! where the offer leaves it to us (RFC 5763 §5). Legs without ICE, in clear or with SRTP by either way: we offer or
//! answer ([`plain`], [`sdes`]). One codec at a time, that of the other leg, until there is a transcoder. Left out:
//! offers to browsers, trickled candidates.

mod plain;
mod sdes;

pub use plain::{
    FarDtls, OursIs, OwnSecurity, PTIME, PlainOffer, PlainRemote, PlainRules, Security, Unserved,
    answer_plain, offer_plain, read_plain_answer, read_plain_offer,
};
pub use sdes::{FarCrypto, OwnCrypto};

use super::relay::{EventFormat, Format};
use super::stream::OwnSource;
use crate::base::Secret;
use crate::call::port::{Codec, MediaRefusal};
use crate::peer::{DtlsRole, Fingerprint, IceCredentials, IceRole, RemoteParameters};
use crate::sdp::{Attribute, Direction, Media, MediaCodec, Origin, SessionDescription, Setup, codec_label};
use compact_str::{CompactString, format_compact};
use std::net::{IpAddr, SocketAddr};

/// Most candidates of the far side that are probed.
const CANDIDATES_MAX: usize = 20;
/// Payload types of telephone-event in our offers.
const EVENT_8000: u8 = 101;
const EVENT_48000: u8 = 102;
const EVENT_NAME: &str = "telephone-event";

/// What identifies a WebRTC transport of the far side: another value is another transport, or an ICE restart of
/// the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportKey {
    ufrag: String,
    fingerprints: Vec<Fingerprint>,
    /// User name and session id of `o=`: one peer connection of a browser keeps them (RFC 8829 §5.2.2).
    session: (CompactString, u64),
}

impl TransportKey {
    /// Whether an offer of `next` restarts ICE of this transport (RFC 8839 §4.4.1.1.1): the same session and
    /// certificate, another ufrag. Browsers do no new DTLS handshake then.
    #[must_use]
    pub fn is_restarted_by(&self, next: &Self) -> bool {
        self.ufrag != next.ufrag && self.fingerprints == next.fingerprints && self.session == next.session
    }
}

/// An offer of a browser, read.
#[derive(Debug, Clone)]
pub struct WebRtcOffer {
    /// What the stream will speak.
    pub format: Format,
    /// The far side's direction.
    pub direction: Direction,
    /// For its association.
    pub remote: RemoteParameters,
    /// Its identity.
    pub key: TransportKey,
    section: usize,
    event: Option<EventFormat>,
    fmtp: Option<CompactString>,
}

/// Our side of a WebRTC transport, for its description.
#[derive(Debug, Clone)]
pub struct LocalTransport {
    /// Our ufrag and password.
    pub credentials: IceCredentials,
    /// SHA-256 of our certificate.
    pub fingerprint: Fingerprint,
    /// Addresses to announce, at least one.
    pub candidates: Vec<SocketAddr>,
    /// What we send as.
    pub source: OwnSource,
    /// Our agent is lite.
    pub is_lite: bool,
}

/// Identity of our descriptions towards one leg (RFC 8866 §5.2): the version goes up with each change.
#[derive(Debug, Clone)]
pub struct OwnOrigin {
    session_id: u64,
    version: u64,
    last: Option<SessionDescription>,
}

impl OwnOrigin {
    /// Nothing described yet. The id is cut to 62 bits: some peers read it as a signed number.
    #[must_use]
    pub const fn new(session_id: u64) -> Self {
        Self { session_id: session_id >> 2, version: 0, last: None }
    }

    /// The sections of a further offer: what was described before stays in its place (RFC 3264 §8), this in the place
    /// of the one that is in use.
    fn sections_around(&self, media: Media) -> Vec<Media> {
        let mut sections = self.last.as_ref().map(|last| last.media.clone()).unwrap_or_default();
        match sections.iter_mut().find(|m| m.port != 0) {
            Some(used) => *used = media,
            None => sections.push(media),
        }
        sections
    }

    /// The description with its origin: the same as the last one when nothing else differs (RFC 3264 §8).
    fn stamp(&mut self, mut sdp: SessionDescription, address: IpAddr) -> SessionDescription {
        let origin = |version| Origin { username: "-".into(), session_id: self.session_id, version, address };
        sdp.origin = origin(self.version);
        if self.last.as_ref() != Some(&sdp) {
            self.version += 1;
            sdp.origin = origin(self.version);
            self.last = Some(sdp.clone());
        }
        sdp
    }
}

// ---- WebRTC

/// Reads a browser's offer. `wanted` are the codecs that the other leg can speak.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`], [`MediaRefusal::Unusable`].
pub fn read_webrtc_offer(sdp: &SessionDescription, wanted: &[Codec]) -> Result<WebRtcOffer, MediaRefusal> {
    let (section, media) = audio(sdp)?;
    if !media.protocol.starts_with("UDP/TLS/RTP/SAVP") {
        return Err(MediaRefusal::Unusable(
            "the audio section is not UDP/TLS/RTP/SAVPF; offer DTLS-SRTP as a browser does",
        ));
    }
    let fingerprints = fingerprints_of(sdp, media).map_err(MediaRefusal::Unusable)?;
    let (ufrag, pwd) = sdp
        .ice_credentials_of(media)
        .ok_or(MediaRefusal::Unusable("no usable a=ice-ufrag and a=ice-pwd; offer ICE"))?;
    if !media.has("rtcp-mux") {
        return Err(MediaRefusal::Unusable("no a=rtcp-mux; RTP and RTCP share a port here"));
    }
    let dtls_role = match sdp.setup_of(media) {
        Some(Setup::Active) => DtlsRole::Server,
        Some(Setup::ActPass | Setup::Passive) | None => DtlsRole::Client,
        Some(Setup::HoldConn) => {
            return Err(MediaRefusal::Unusable("a=setup:holdconn; offer actpass"));
        }
    };
    let codecs = media.codecs();
    let chosen = choose(&codecs, wanted, &codecs)?;
    let event = event_for(&codecs, chosen.0);
    let credentials = IceCredentials { ufrag: ufrag.to_owned(), pwd: Secret::new(pwd) };
    let candidates = media
        .candidates()
        .into_iter()
        .filter(|c| c.component == 1 && c.port != 0 && c.transport.eq_ignore_ascii_case("udp"))
        .filter_map(|c| Some(SocketAddr::new(c.address?, c.port)))
        .take(CANDIDATES_MAX)
        .collect();
    let is_lite = sdp.is_ice_lite();
    Ok(WebRtcOffer {
        format: format(chosen.0, chosen.1.payload_type, chosen.1.payload_type, [event, None], event),
        direction: sdp.direction_of(media),
        key: TransportKey {
            ufrag: ufrag.to_owned(),
            fingerprints: fingerprints.clone(),
            session: (sdp.origin.username.clone(), sdp.origin.session_id),
        },
        remote: RemoteParameters {
            credentials,
            fingerprints,
            is_lite,
            candidates,
            dtls_role,
            // RFC 8445 §6.1.1: the offerer controls, unless it is lite and we are not
            ice_role: if is_lite { IceRole::Controlling } else { IceRole::Controlled },
        },
        section,
        event,
        fmtp: chosen.1.fmtp.clone(),
    })
}

/// The codecs that a browser's offer names, best first, as far as it can be served at all.
///
/// # Errors
/// Those of [`read_webrtc_offer`].
pub fn webrtc_codecs(sdp: &SessionDescription) -> Result<Vec<Codec>, MediaRefusal> {
    let offer = read_webrtc_offer(sdp, &Codec::ALL)?;
    let lines = sdp.media.get(offer.section).map(Media::codecs).unwrap_or_default();
    Ok(lines.iter().filter_map(|line| Codec::ALL.into_iter().find(|c| is_codec(line, *c))).collect())
}

/// Our answer to a browser's offer. `a=setup` says `offer.remote.dtls_role`: for a transport that is already
/// there, the caller sets the role it has (RFC 8842 §5.5), whatever the offer would leave open.
#[must_use]
pub fn answer_webrtc(
    sdp: &SessionDescription,
    offer: &WebRtcOffer,
    local: &LocalTransport,
    origin: &mut OwnOrigin,
) -> SessionDescription {
    let first = local.candidates.first().copied().unwrap_or_else(|| ([0, 0, 0, 0], 9).into());
    let mut answer = empty();
    if local.is_lite {
        answer.attributes.push(Attribute::flag("ice-lite")); // RFC 8839 §5.3
    }
    let mid = sdp.media.get(offer.section).and_then(Media::mid).map(str::to_owned);
    if let Some(mid) = mid.as_deref().filter(|m| sdp.bundle().contains(m)) {
        answer.attributes.push(Attribute::new("group", format!("BUNDLE {mid}")));
    }
    answer.media = refused(sdp);
    let Some(media) = answer.media.get_mut(offer.section) else { return answer };
    media.port = first.port();
    media.connection = Some(first.ip());
    media.attributes.clear();
    let add =
        |media: &mut Media, name: &str, value: String| media.attributes.push(Attribute::new(name, value));
    if let Some(mid) = mid {
        add(media, "mid", mid);
    }
    media.attributes.push(Attribute::flag(offer.direction.reversed().name()));
    media.attributes.push(Attribute::flag("rtcp-mux"));
    add(media, "ice-ufrag", local.credentials.ufrag.clone());
    add(media, "ice-pwd", local.credentials.pwd.expose().to_owned());
    describe_fingerprint(media, local.fingerprint, setup_as(offer.remote.dtls_role));
    describe_codec(media, &offer.format, offer.event, offer.fmtp.as_deref());
    // a track without a name has no stream in some browsers' events
    add(media, "msid", "sipedge audio".to_owned());
    // RFC 5576 §4.1: so that no receiver has to guess whose section our packets are
    add(media, "ssrc", format!("{} cname:{}", local.source.ssrc, local.source.cname));
    for (n, candidate) in local.candidates.iter().enumerate() {
        add(media, "candidate", candidate_line(n, *candidate));
    }
    media.attributes.push(Attribute::flag("end-of-candidates"));
    origin.stamp(answer, first.ip())
}

/// A host candidate (RFC 8839 §5.1), the earlier the better (RFC 8445 §5.1.2.1).
fn candidate_line(n: usize, address: SocketAddr) -> String {
    let preference = u32::from(u16::MAX).saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
    let priority = (126 << 24) | (preference << 8) | 255;
    format!("{} 1 udp {priority} {} {} typ host", n + 1, address.ip(), address.port())
}

// ---- both

/// How a role is written once it is settled.
#[must_use]
pub const fn setup_as(role: DtlsRole) -> Setup {
    match role {
        DtlsRole::Client => Setup::Active,
        DtlsRole::Server => Setup::Passive,
    }
}

/// The SHA-256 fingerprints of a section, at least one.
fn fingerprints_of(sdp: &SessionDescription, media: &Media) -> Result<Vec<Fingerprint>, &'static str> {
    let fingerprints: Vec<_> = sdp.sha256_fingerprints_of(media).into_iter().map(Fingerprint).collect();
    match fingerprints.is_empty() {
        false => Ok(fingerprints),
        true if sdp.has_fingerprint(media) => Err("no sha-256 fingerprint; offer a=fingerprint:sha-256"),
        true => Err("no fingerprint; offer DTLS-SRTP with a=fingerprint:sha-256"),
    }
}

fn describe_fingerprint(media: &mut Media, fingerprint: Fingerprint, setup: Setup) {
    let digits: Vec<String> = fingerprint.0.iter().map(|b| format!("{b:02X}")).collect();
    media.attributes.push(Attribute::new("fingerprint", format!("sha-256 {}", digits.join(":"))));
    media.attributes.push(Attribute::new("setup", setup.name()));
}

fn audio(sdp: &SessionDescription) -> Result<(usize, &Media), MediaRefusal> {
    sdp.audio().filter(|(_, m)| m.port != 0).ok_or(MediaRefusal::NoAudio)
}

fn is_codec(line: &MediaCodec, codec: Codec) -> bool {
    line.is(codec.name(), codec.clock_rate(), codec.channels())
}

/// The first line that is one of `wanted`.
fn choose<'a>(
    lines: &'a [MediaCodec],
    wanted: &[Codec],
    offered: &[MediaCodec],
) -> Result<(Codec, &'a MediaCodec), MediaRefusal> {
    lines.iter().find_map(|line| wanted.iter().find(|c| is_codec(line, **c)).map(|c| (*c, line))).ok_or_else(
        || MediaRefusal::NoCommonCodec {
            offered: offered.iter().map(MediaCodec::label).collect(),
            wanted: wanted.iter().copied().map(label).collect(),
        },
    )
}

/// A codec in words for people.
pub(super) fn label(codec: Codec) -> String {
    codec_label(codec.name(), codec.clock_rate(), codec.channels())
}

/// telephone-event as the far side has it: the clock of the audio first (RFC 4733 §2.1), else 8,000 Hz.
fn event_for(lines: &[MediaCodec], codec: Codec) -> Option<EventFormat> {
    let with = |clock: u32| lines.iter().find(|l| l.is(EVENT_NAME, clock, 1));
    let line = with(codec.clock_rate()).or_else(|| with(8_000))?;
    Some(EventFormat { payload_type: line.payload_type, clock_rate: line.clock_rate })
}

/// What our offers of these codecs say of telephone-event: 8,000 Hz always, for that is what PBXs know, and
/// 48,000 with Opus.
fn offered_events(codecs: &[Codec]) -> [Option<EventFormat>; 2] {
    let wide = EventFormat { payload_type: EVENT_48000, clock_rate: 48_000 };
    [
        Some(EventFormat { payload_type: EVENT_8000, clock_rate: 8_000 }),
        codecs.contains(&Codec::Opus).then_some(wide),
    ]
}

const fn format(
    codec: Codec,
    payload_in: u8,
    payload_out: u8,
    events_in: [Option<EventFormat>; 2],
    event_out: Option<EventFormat>,
) -> Format {
    Format { codec, payload_in, payload_out, others_in: [None; 3], events_in, event_out }
}

fn rtpmap(codec: Codec) -> String {
    match codec.channels() {
        1 => format!("{}/{}", codec.name(), codec.clock_rate()),
        n => format!("{}/{}/{n}", codec.name(), codec.clock_rate()),
    }
}

/// Codec and telephone-event of an answer, under the offer's payload types.
fn describe_codec(media: &mut Media, format: &Format, event: Option<EventFormat>, fmtp: Option<&str>) {
    media.formats.clear();
    describe_payload(media, format.payload_in, &rtpmap(format.codec), fmtp);
    if let Some(event) = event {
        describe_event(media, event);
    }
}

fn describe_event(media: &mut Media, event: EventFormat) {
    let map = format!("{EVENT_NAME}/{}", event.clock_rate);
    describe_payload(media, event.payload_type, &map, Some("0-15"));
}

fn describe_payload(media: &mut Media, payload_type: u8, rtpmap: &str, fmtp: Option<&str>) {
    media.formats.push(format_compact!("{payload_type}"));
    media.attributes.push(Attribute::new("rtpmap", format_compact!("{payload_type} {rtpmap}")));
    if let Some(fmtp) = fmtp {
        media.attributes.push(Attribute::new("fmtp", format_compact!("{payload_type} {fmtp}")));
    }
}

/// All sections of an offer, refused: port 0, the offer's formats, its mid (RFC 3264 §6).
fn refused(sdp: &SessionDescription) -> Vec<Media> {
    sdp.media
        .iter()
        .map(|m| Media {
            kind: m.kind.clone(),
            port: 0,
            protocol: m.protocol.clone(),
            formats: m.formats.clone(),
            connection: None,
            attributes: m.mid().map(|mid| Attribute::new("mid", mid)).into_iter().collect(),
        })
        .collect()
}

fn empty() -> SessionDescription {
    SessionDescription {
        origin: Origin {
            username: "-".into(),
            session_id: 0,
            version: 0,
            address: IpAddr::from([127, 0, 0, 1]),
        },
        name: "-".into(),
        connection: None,
        attributes: Vec::new(),
        media: Vec::new(),
    }
}

#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;
