//! One leg's offer and answer (RFC 3264): what a description offers is read into what the packet path needs,
//! and our own description is made. Pure.
//!
//! WebRTC (RFC 8829, without trickle): we answer; one audio section, every other refused; DTLS role `active`
//! where the offer leaves it to us (RFC 5763 §5). Plain RTP (RTP/AVP): we offer or answer. One codec at a
//! time, that of the other leg, until there is a transcoder. Left out: offers to browsers, SDES, trickled
//! candidates.

use super::relay::{EventFormat, Format};
use super::stream::OwnSource;
use crate::base::Secret;
use crate::call::port::{Codec, MediaRefusal};
use crate::peer::{DtlsRole, Fingerprint, IceCredentials, IceRole, RemoteParameters};
use crate::sdp::{Attribute, Direction, Media, MediaCodec, Origin, SessionDescription, Setup, codec_label};
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
    session: (String, u64),
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
    fmtp: Option<String>,
}

/// A description of a plain leg, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainRemote {
    /// What the stream will speak.
    pub format: Format,
    /// The far side's direction; a null address takes away that it receives (RFC 3264 §8.4).
    pub direction: Direction,
    /// Where it wants RTP; none with a null address.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP.
    pub rtcp: Option<SocketAddr>,
    section: usize,
    event: Option<EventFormat>,
    fmtp: Option<String>,
}

impl PlainRemote {
    /// Whether media can go there from an address of ours.
    ///
    /// # Errors
    /// When its IP version is another one: neither side would hear anything.
    pub fn check_reach(&self, local: IpAddr) -> Result<(), MediaRefusal> {
        match self.rtp {
            Some(rtp) if rtp.is_ipv4() != local.is_ipv4() => Err(MediaRefusal::Unusable(
                "the media address is of another IP version than the signalling; announce one of the same",
            )),
            _ => Ok(()),
        }
    }
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
    let fingerprints: Vec<_> = sdp.sha256_fingerprints_of(media).into_iter().map(Fingerprint).collect();
    if fingerprints.is_empty() {
        return Err(MediaRefusal::Unusable(if sdp.has_fingerprint(media) {
            "no sha-256 fingerprint; offer a=fingerprint:sha-256"
        } else {
            "no fingerprint; offer DTLS-SRTP with a=fingerprint:sha-256"
        }));
    }
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
    let digits: Vec<String> = local.fingerprint.0.iter().map(|b| format!("{b:02X}")).collect();
    add(media, "fingerprint", format!("sha-256 {}", digits.join(":")));
    let setup = match offer.remote.dtls_role {
        DtlsRole::Client => Setup::Active,
        DtlsRole::Server => Setup::Passive,
    };
    add(media, "setup", setup.name().to_owned());
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

// ---- plain RTP

/// What an offer of ours to a plain leg says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainOffer {
    codecs: Vec<(Codec, u8)>,
    events: [Option<EventFormat>; 2],
    direction: Direction,
}

impl PlainOffer {
    /// The first one: these codecs, in order, under payload types of our own.
    #[must_use]
    pub fn first(codecs: &[Codec]) -> Self {
        Self {
            codecs: codecs.iter().map(|c| (*c, c.payload_type())).collect(),
            events: offered_events(codecs),
            direction: Direction::SendRecv,
        }
    }

    /// A later one: what is spoken already, under the same payload types (RFC 3264 §8.3.2).
    #[must_use]
    pub fn again(format: &Format) -> Self {
        Self {
            codecs: vec![(format.codec, format.payload_in)],
            events: format.events_in,
            direction: Direction::SendRecv,
        }
    }

    /// The same with a direction of ours.
    #[must_use]
    pub const fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// The codecs it names.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        self.codecs.iter().map(|(codec, _)| *codec)
    }
}

/// Our offer to a plain leg at this address.
#[must_use]
pub fn offer_plain(offer: &PlainOffer, rtp: SocketAddr, origin: &mut OwnOrigin) -> SessionDescription {
    let mut media = Media {
        kind: "audio".into(),
        port: rtp.port(),
        protocol: "RTP/AVP".into(),
        formats: Vec::new(),
        connection: None,
        attributes: Vec::new(),
    };
    for (codec, payload_type) in &offer.codecs {
        let fmtp = (*codec == Codec::Opus).then_some("useinbandfec=1");
        describe_payload(&mut media, *payload_type, &rtpmap(*codec), fmtp);
    }
    for event in offer.events.into_iter().flatten() {
        describe_event(&mut media, event);
    }
    media.attributes.push(Attribute::new("ptime", "20"));
    media.attributes.push(Attribute::flag(offer.direction.name()));
    let mut sdp = empty();
    sdp.connection = Some(rtp.ip());
    sdp.media = origin.sections_around(media);
    origin.stamp(sdp, rtp.ip())
}

/// Reads the answer to [`offer_plain`] of the same offer.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`], [`MediaRefusal::Unusable`].
pub fn read_plain_answer(sdp: &SessionDescription, offer: &PlainOffer) -> Result<PlainRemote, MediaRefusal> {
    let (section, media) = plain_audio(sdp)?;
    let (rtp, rtcp) = plain_addresses(sdp, media)?;
    let codecs = media.codecs();
    let offered: Vec<Codec> = offer.codecs().collect();
    let (codec, line) = choose(&codecs, &offered, &codecs)?;
    let event_out = event_for(&codecs, codec);
    let known = offer.codecs.iter().find(|(c, _)| *c == codec);
    let payload_in = known.map_or_else(|| codec.payload_type(), |(_, payload_type)| *payload_type);
    Ok(PlainRemote {
        // RFC 3264 §6.1: we send what the answer says and receive what the offer said
        format: format(codec, payload_in, line.payload_type, offer.events, event_out),
        direction: plain_direction(sdp, media, rtp),
        rtp,
        rtcp,
        section,
        event: event_out,
        fmtp: None,
    })
}

/// Whether a section may carry plain RTP. What SRTP a peer offers beside it is refused with its own section.
fn is_plain(media: &Media) -> bool {
    matches!(media.protocol.as_str(), "RTP/AVP" | "RTP/AVPF")
}

/// The audio section that is served: the first that speaks plain RTP, else the first of all, which will say why not.
fn plain_audio(sdp: &SessionDescription) -> Result<(usize, &Media), MediaRefusal> {
    let is_served = |m: &Media| m.kind == "audio" && m.port != 0 && is_plain(m);
    sdp.media.iter().enumerate().find(|(_, m)| is_served(m)).map_or_else(|| audio(sdp), Ok)
}

/// Reads an offer of a plain leg: the first of `wanted` that is offered is taken, those being the codecs that it may
/// speak and the other leg can.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`], [`MediaRefusal::Unusable`].
pub fn read_plain_offer(sdp: &SessionDescription, wanted: &[Codec]) -> Result<PlainRemote, MediaRefusal> {
    let (section, media) = plain_audio(sdp)?;
    let (rtp, rtcp) = plain_addresses(sdp, media)?;
    let codecs = media.codecs();
    // our order decides, then theirs
    let mut ordered = codecs.clone();
    ordered.sort_by_key(|line| wanted.iter().position(|c| is_codec(line, *c)).unwrap_or(usize::MAX));
    let (codec, line) = choose(&ordered, wanted, &codecs)?;
    let event = event_for(&codecs, codec);
    Ok(PlainRemote {
        format: format(codec, line.payload_type, line.payload_type, [event, None], event),
        direction: plain_direction(sdp, media, rtp),
        rtp,
        rtcp,
        section,
        event,
        fmtp: line.fmtp.clone(),
    })
}

/// Our answer to a plain leg's offer; `is_held`: the other leg holds the call, so that nothing is wanted of this one.
#[must_use]
pub fn answer_plain(
    sdp: &SessionDescription,
    remote: &PlainRemote,
    is_held: bool,
    rtp: SocketAddr,
    origin: &mut OwnOrigin,
) -> SessionDescription {
    let mut answer = empty();
    answer.connection = Some(rtp.ip());
    answer.media = refused(sdp);
    let Some(media) = answer.media.get_mut(remote.section) else { return answer };
    media.port = rtp.port();
    media.attributes.clear();
    describe_codec(media, &remote.format, remote.event, remote.fmtp.as_deref());
    media.attributes.push(Attribute::new("ptime", "20"));
    let direction = sdp.media.get(remote.section).map_or(Direction::SendRecv, |m| sdp.direction_of(m));
    let direction = match direction.reversed() {
        // RFC 3264 §8.4: to a null address neither RTP nor RTCP is sent, whatever the direction beside it says
        Direction::SendRecv | Direction::RecvOnly if remote.rtp.is_none() && !is_held => Direction::RecvOnly,
        Direction::SendRecv | Direction::SendOnly if remote.rtp.is_none() => Direction::Inactive,
        Direction::SendRecv if is_held => Direction::SendOnly,
        Direction::RecvOnly if is_held => Direction::Inactive,
        direction => direction,
    };
    media.attributes.push(Attribute::flag(direction.name()));
    origin.stamp(answer, rtp.ip())
}

/// Where a plain section wants RTP and RTCP; none with a null address (RFC 3264 §8.4).
fn plain_addresses(
    sdp: &SessionDescription,
    media: &Media,
) -> Result<(Option<SocketAddr>, Option<SocketAddr>), MediaRefusal> {
    if !is_plain(media) {
        return Err(MediaRefusal::Unusable(
            "the audio section is not RTP/AVP; switch SRTP off for this trunk",
        ));
    }
    let ip = sdp.connection_of(media).ok_or(MediaRefusal::Unusable(
        "no connection address (c=), or a name in its place; media needs an IP address",
    ))?;
    let ip = ip.to_canonical();
    if ip.is_multicast() {
        return Err(MediaRefusal::Unusable("a multicast address; media is unicast here"));
    }
    if ip.is_unspecified() {
        return Ok((None, None));
    }
    let rtp = SocketAddr::new(ip, media.port);
    // RFC 3605: another port, and perhaps another address, for RTCP
    let written = media.value("rtcp").map(|v| {
        let mut words = v.split_ascii_whitespace();
        let port = words.next().and_then(|p| p.parse::<u16>().ok());
        (port, words.nth(2).and_then(|a| a.parse::<IpAddr>().ok()))
    });
    let (port, address) = written.unwrap_or((None, None));
    let port = port.or_else(|| media.port.checked_add(1)).filter(|p| *p != 0);
    Ok((Some(rtp), port.map(|p| SocketAddr::new(address.unwrap_or(ip), p))))
}

fn plain_direction(sdp: &SessionDescription, media: &Media, rtp: Option<SocketAddr>) -> Direction {
    match (sdp.direction_of(media), rtp) {
        (direction, Some(_)) => direction,
        // who holds by a null address says so with `sendrecv` beside it, and may send music of its own
        (Direction::SendRecv | Direction::SendOnly, None) => Direction::SendOnly,
        (Direction::RecvOnly | Direction::Inactive, None) => Direction::Inactive,
    }
}

// ---- both

fn audio(sdp: &SessionDescription) -> Result<(usize, &Media), MediaRefusal> {
    sdp.audio().filter(|(_, m)| m.port != 0).ok_or(MediaRefusal::Unusable("no audio section; offer audio"))
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
    Format { codec, payload_in, payload_out, events_in, event_out }
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
    media.formats.push(payload_type.to_string());
    media.attributes.push(Attribute::new("rtpmap", format!("{payload_type} {rtpmap}")));
    if let Some(fmtp) = fmtp {
        media.attributes.push(Attribute::new("fmtp", format!("{payload_type} {fmtp}")));
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
mod tests;
