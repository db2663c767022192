//! Legs without ICE: RTP in clear, or SRTP with keys in the descriptions (RFC 4568) or by DTLS (RFC 5763).

use super::sdes::{self, FarCrypto, OwnCrypto};
use super::{
    OwnOrigin, audio, choose, describe_codec, describe_event, describe_fingerprint, describe_payload, empty,
    event_for, fingerprints_of, format, is_codec, offered_events, refused, rtpmap,
};
use crate::call::port::{Codec, Described, Encryption, MediaRefusal};
use crate::media::relay::{EventFormat, Format};
use crate::peer::{DtlsRole, Fingerprint, SrtpProfile};
use crate::sdp::{Attribute, Direction, Media, SessionDescription, Setup};
use compact_str::CompactString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// How much sound is in a packet where nobody says otherwise, in milliseconds (RFC 3551 §4.2); what we make ourselves is.
pub const PTIME: u16 = 20;
/// What is passed on of such wishes.
const PTIMES: std::ops::RangeInclusive<u16> = 5..=120;

/// What a leg may be protected by.
#[derive(Debug, Clone, Copy)]
pub struct PlainRules<'a> {
    /// Which way.
    pub encryption: Encryption,
    /// Crypto-suites of keys in descriptions.
    pub profiles: &'a [SrtpProfile],
}

/// How the far side protects media, by its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Clear,
    /// With this key.
    Sdes(FarCrypto),
    /// After a handshake.
    Dtls(FarDtls),
}

/// The far side's end of a DTLS association.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FarDtls {
    /// Its SHA-256 fingerprints, at least one.
    pub fingerprints: Vec<Fingerprint>,
    /// Our role, unless an association that is there has another.
    pub role: DtlsRole,
    /// RTCP goes with RTP, and needs no handshake of its own.
    pub is_muxed: bool,
    /// It begins a new association (`a=connection:new`, RFC 4145 §5): in this version of its description. Asterisk does
    /// after a hold.
    pub begun_in: Option<u64>,
}

/// What our descriptions say of protection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnSecurity {
    /// Nothing.
    Clear,
    /// These lines.
    Sdes(Vec<OwnCrypto>),
    /// Our end of a DTLS association.
    Dtls {
        /// SHA-256 of our certificate.
        fingerprint: Fingerprint,
        /// Our role, or that the far side may choose.
        setup: Setup,
        /// RTCP goes with RTP, or may.
        is_muxed: bool,
    },
}

impl OwnSecurity {
    fn describe(&self, media: &mut Media) {
        match self {
            Self::Clear => {}
            Self::Sdes(lines) => media.attributes.extend(lines.iter().map(OwnCrypto::attribute)),
            Self::Dtls { fingerprint, setup, is_muxed } => {
                describe_fingerprint(media, *fingerprint, *setup);
                if *is_muxed {
                    media.attributes.push(Attribute::flag("rtcp-mux"));
                }
            }
        }
    }
}

/// What a far side may wait for in vain, though its description can be served without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unserved {
    /// It offers ICE (RFC 8839); no more than that, as it may do without.
    pub ice: bool,
    /// It names a certificate, and its section is served in clear or with keys in the description.
    pub dtls: bool,
}

impl Unserved {
    fn of(sdp: &SessionDescription, media: &Media, security: &Security) -> Self {
        let is_dtls = matches!(security, Security::Dtls(_));
        Self { ice: sdp.ice_credentials_of(media).is_some(), dtls: !is_dtls && sdp.has_fingerprint(media) }
    }
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
    /// How it protects media.
    pub security: Security,
    /// The section's profile, which further offers keep.
    pub protocol: CompactString,
    /// The codecs that it could speak, in our order.
    pub codecs: Vec<Codec>,
    /// How much sound it wants in a packet, in milliseconds; none: it does not say.
    pub ptime: Option<u16>,
    /// What it names beside, that we do not serve.
    pub unserved: Unserved,
    section: usize,
    event: Option<EventFormat>,
    fmtp: Option<CompactString>,
}

impl PlainRemote {
    /// Whether media can go there from an address of ours, which it has for that reason.
    ///
    /// # Errors
    /// When its IP version is another one: neither side would hear anything.
    pub fn check_reach(&self, local: IpAddr, ours: OursIs) -> Result<(), MediaRefusal> {
        let Some(rtp) = self.rtp.filter(|rtp| rtp.is_ipv4() != local.is_ipv4()) else { return Ok(()) };
        Err(MediaRefusal::Unusable(match (rtp.is_ipv4(), ours) {
            (true, OursIs::Begun) => {
                "the media address is IPv4, and media of this call stays with IPv6, as it began: announce an IPv6 address"
            }
            (false, OursIs::Begun) => {
                "the media address is IPv6, and media of this call stays with IPv4, as it began: announce an IPv4 address"
            }
            (true, OursIs::Configured) => {
                "the media address is IPv4, and media of this trunk goes by IPv6 (see trunk.NAME.media_address): announce an IPv6 \
                 address"
            }
            (false, OursIs::Configured) => {
                "the media address is IPv6, and media of this trunk goes by IPv4 (see trunk.NAME.media_address): announce an IPv4 \
                 address"
            }
            (true, OursIs::WithoutRoute) => {
                "the media address is IPv4, and this machine has no route there by IPv4: announce an IPv6 address"
            }
            (false, OursIs::WithoutRoute) => {
                "the media address is IPv6, and this machine has no route there by IPv6: announce an IPv4 address"
            }
        }))
    }
}

/// Why media of a leg has the address of ours that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OursIs {
    /// The call has its ports there, and keeps them.
    Begun,
    /// The trunk's configuration says so.
    Configured,
    /// It is that of signalling, for there is no route to where the far side wants media.
    WithoutRoute,
}

/// What an offer of ours to a plain leg says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainOffer {
    codecs: Vec<(Codec, u8)>,
    events: [Option<EventFormat>; 2],
    direction: Direction,
    protocol: CompactString,
    security: OwnSecurity,
    /// An answer in clear will do.
    is_optional: bool,
    ptime: u16,
}

impl PlainOffer {
    /// The first one: these codecs, in order, under payload types of our own. In clear, unless it is secured.
    #[must_use]
    pub fn first(codecs: &[Codec]) -> Self {
        Self {
            codecs: codecs.iter().map(|c| (*c, c.payload_type())).collect(),
            events: offered_events(codecs),
            direction: Direction::SendRecv,
            protocol: "RTP/AVP".into(),
            security: OwnSecurity::Clear,
            is_optional: false,
            ptime: PTIME,
        }
    }

    /// A later one: what is spoken already, under the same payload types (RFC 3264 §8.3.2).
    #[must_use]
    pub fn again(format: &Format) -> Self {
        Self {
            codecs: vec![(format.codec, format.payload_in)],
            events: format.events_in,
            direction: Direction::SendRecv,
            protocol: "RTP/AVP".into(),
            security: OwnSecurity::Clear,
            is_optional: false,
            ptime: PTIME,
        }
    }

    /// The same with protection, under this profile of RTP.
    #[must_use]
    pub fn secured(mut self, security: OwnSecurity, protocol: &str) -> Self {
        self.security = security;
        self.protocol = protocol.into();
        self
    }

    /// The same with a direction of ours.
    #[must_use]
    pub const fn with_direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// The same, with so much sound wanted in a packet, in milliseconds.
    #[must_use]
    pub const fn with_ptime(mut self, ptime: u16) -> Self {
        self.ptime = ptime;
        self
    }

    /// The same, and an answer in clear will do.
    #[must_use]
    pub const fn or_clear(mut self) -> Self {
        self.is_optional = true;
        self
    }

    /// What it says of protection.
    #[must_use]
    pub const fn security(&self) -> &OwnSecurity {
        &self.security
    }

    /// The setting that it says the same as.
    const fn encryption(&self) -> Encryption {
        match &self.security {
            OwnSecurity::Clear => Encryption::Off,
            OwnSecurity::Sdes(_) if self.is_optional => Encryption::SdesOptional,
            OwnSecurity::Sdes(_) => Encryption::Sdes,
            OwnSecurity::Dtls { .. } => Encryption::Dtls,
        }
    }

    /// The codecs it names.
    pub fn codecs(&self) -> impl Iterator<Item = Codec> + '_ {
        self.codecs.iter().map(|(codec, _)| *codec)
    }
}

/// Our offer to a plain leg, which reaches us at this address.
#[must_use]
pub fn offer_plain(offer: &PlainOffer, rtp: SocketAddr, origin: &mut OwnOrigin) -> SessionDescription {
    let mut media = Media {
        kind: "audio".into(),
        port: rtp.port(),
        protocol: offer.protocol.clone(),
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
    offer.security.describe(&mut media);
    media.attributes.push(Attribute::new("ptime", offer.ptime.to_string()));
    media.attributes.push(Attribute::flag(offer.direction.name()));
    let mut sdp = empty();
    sdp.connection = Some(rtp.ip());
    sdp.media = origin.sections_around(media);
    origin.stamp(sdp, rtp.ip())
}

/// Reads the answer to [`offer_plain`] of the same offer. `beside` are the codecs that the other leg can speak by now: an
/// answer may name several, and one of these is taken.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`], [`MediaRefusal::Unusable`].
pub fn read_plain_answer(
    sdp: &SessionDescription,
    offer: &PlainOffer,
    beside: &[Codec],
) -> Result<PlainRemote, MediaRefusal> {
    let (section, media, security) = answered_audio(sdp, offer)?;
    let (rtp, rtcp) = plain_addresses(sdp, media, &security)?;
    let codecs = media.codecs();
    let wanted: Vec<Codec> = offer.codecs().filter(|c| beside.contains(c)).collect();
    let (codec, line) = choose(&codecs, &wanted, &codecs)?;
    let event_out = event_for(&codecs, codec);
    let known = offer.codecs.iter().find(|(c, _)| *c == codec);
    let payload_in = known.map_or_else(|| codec.payload_type(), |(_, payload_type)| *payload_type);
    let is_answered = |c: Codec| choose(&codecs, &[c], &codecs).is_ok();
    let mut others = offer.codecs.iter().filter(|(c, _)| *c != codec && is_answered(*c)).map(|(_, pt)| *pt);
    let others_in = std::array::from_fn(|_| others.next());
    // an answer may call DTLS by another name than it has
    let is_dtls = matches!(security, Security::Dtls(_));
    let protocol = if is_dtls { &offer.protocol } else { &media.protocol }.clone();
    Ok(PlainRemote {
        // RFC 3264 §6.1: we send what the answer says and receive what the offer said
        format: Format { others_in, ..format(codec, payload_in, line.payload_type, offer.events, event_out) },
        direction: plain_direction(sdp, media, rtp),
        rtp,
        rtcp,
        unserved: Unserved::of(sdp, media, &security),
        security,
        protocol,
        codecs: vec![codec],
        ptime: ptime_of(media),
        section,
        event: event_out,
        fmtp: None,
    })
}

/// The profiles of RTP, with feedback or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Profile {
    /// RTP in clear; with keys beside it, SRTP of who can.
    Avp,
    /// SRTP with keys in the description.
    Savp,
    /// SRTP by DTLS.
    Dtls,
    Other,
}

impl Profile {
    fn of(media: &Media) -> Self {
        match media.protocol.as_str() {
            "RTP/AVP" | "RTP/AVPF" => Self::Avp,
            "RTP/SAVP" | "RTP/SAVPF" => Self::Savp,
            "UDP/TLS/RTP/SAVP" | "UDP/TLS/RTP/SAVPF" => Self::Dtls,
            _ => Self::Other,
        }
    }

    /// Whether it is DTLS, by its name or by a fingerprint beside another one: FreeSWITCH offers it in RTP/AVP (RFC 8643
    /// §3.1), and answers an offer by its name with RTP/SAVP, which RFC 3264 §6 does not allow.
    fn may_be_dtls(self, sdp: &SessionDescription, media: &Media) -> bool {
        match self {
            Self::Dtls => true,
            Self::Avp | Self::Savp => sdp.has_fingerprint(media),
            Self::Other => false,
        }
    }
}

/// How a section has media protected, whatever its leg wants.
fn described(sdp: &SessionDescription, media: &Media) -> Described {
    match Profile::of(media) {
        Profile::Dtls => Described::Dtls,
        Profile::Avp | Profile::Savp if media.has("crypto") => Described::Sdes,
        Profile::Avp | Profile::Savp if sdp.has_fingerprint(media) => Described::Dtls,
        Profile::Avp => Described::Clear,
        Profile::Savp => Described::Keyless,
        Profile::Other => Described::Other,
    }
}

/// The audio section of an offer that is served, and how: the first that is protected as it shall be; where that is
/// optional, else the first in clear. Without one, the first says why not.
fn offered_audio<'a>(
    sdp: &'a SessionDescription,
    rules: PlainRules<'_>,
) -> Result<(usize, &'a Media, Security), MediaRefusal> {
    let (mut clear, mut refusal) = (None, None);
    for (at, media) in sdp.media.iter().enumerate().filter(|(_, m)| m.kind == "audio" && m.port != 0) {
        match security_of(sdp, media, rules) {
            Ok(Security::Clear) => {
                clear.get_or_insert((at, media, Security::Clear));
                if rules.encryption == Encryption::Off {
                    break;
                }
            }
            Ok(security) => return Ok((at, media, security)),
            Err(why) => {
                refusal.get_or_insert(why);
            }
        }
    }
    match (clear, refusal) {
        (Some(clear), _) => Ok(clear),
        (None, Some(why)) => Err(why),
        (None, None) => audio(sdp).map(|(at, media)| (at, media, Security::Clear)),
    }
}

/// How a section of an offer would be protected.
fn security_of(
    sdp: &SessionDescription,
    media: &Media,
    rules: PlainRules<'_>,
) -> Result<Security, MediaRefusal> {
    let is_optional = rules.encryption == Encryption::SdesOptional;
    match (rules.encryption, Profile::of(media)) {
        (Encryption::Off, Profile::Avp) => return Ok(Security::Clear),
        (Encryption::Sdes | Encryption::SdesOptional, profile @ (Profile::Avp | Profile::Savp)) => {
            match sdes::choose(media, rules.profiles) {
                Some(crypto) => return Ok(Security::Sdes(crypto)),
                None if is_optional && profile == Profile::Avp => return Ok(Security::Clear),
                None if media.has("crypto") => {
                    return Err(MediaRefusal::Unusable(
                        "no a=crypto line that is served; offer AES_CM_128_HMAC_SHA1_80 with one key, no MKI and no \
                         session parameters",
                    ));
                }
                None => {}
            }
        }
        (Encryption::Dtls, profile) if profile.may_be_dtls(sdp, media) => {
            return dtls_of(sdp, media, Setup::Active).map(Security::Dtls);
        }
        _ => {}
    }
    Err(MediaRefusal::Protection { ours: rules.encryption, theirs: described(sdp, media), is_answer: false })
}

/// The audio section of an answer, protected as we offered.
fn answered_audio<'a>(
    sdp: &'a SessionDescription,
    offer: &PlainOffer,
) -> Result<(usize, &'a Media, Security), MediaRefusal> {
    let ours = offer.encryption();
    let (at, media) = audio(sdp).map_err(|_| unanswered(sdp, ours))?;
    let mismatch = || MediaRefusal::Protection { ours, theirs: described(sdp, media), is_answer: true };
    let security = match (&offer.security, Profile::of(media)) {
        (OwnSecurity::Clear, Profile::Avp) => Ok(Security::Clear),
        (OwnSecurity::Sdes(lines), profile @ (Profile::Avp | Profile::Savp)) => {
            match sdes::answered(media, lines) {
                Some(crypto) => Ok(Security::Sdes(crypto)),
                None if profile == Profile::Avp && !media.has("crypto") && offer.is_optional => {
                    Ok(Security::Clear)
                }
                None if media.has("crypto") => {
                    Err(MediaRefusal::Unusable("the answer's a=crypto is none of those that were offered"))
                }
                None => Err(mismatch()),
            }
        }
        (OwnSecurity::Dtls { .. }, profile) if profile.may_be_dtls(sdp, media) => {
            dtls_of(sdp, media, Setup::Passive).map(Security::Dtls)
        }
        _ => Err(mismatch()),
    };
    security.map(|security| (at, media, security))
}

/// Why an answer has no audio: it refused what was offered (RFC 3264 §6), or said nothing of it.
fn unanswered(sdp: &SessionDescription, ours: Encryption) -> MediaRefusal {
    match (sdp.audio(), sdp.media.is_empty()) {
        (Some(_), _) => MediaRefusal::AudioRefused { ours },
        (None, true) => {
            MediaRefusal::Unusable("the answer has no m= line; it must have one for each that was offered")
        }
        (None, false) => MediaRefusal::Unusable(
            "the answer has no m=audio line; it must have one for each that was offered",
        ),
    }
}

/// The far side's end of DTLS; `default` is its role where it says none (RFC 4145 §4.1).
fn dtls_of(sdp: &SessionDescription, media: &Media, default: Setup) -> Result<FarDtls, MediaRefusal> {
    let role = match sdp.setup_of(media).unwrap_or(default) {
        Setup::Active => DtlsRole::Server,
        Setup::ActPass | Setup::Passive => DtlsRole::Client,
        Setup::HoldConn => return Err(MediaRefusal::Unusable("a=setup:holdconn; offer actpass")),
    };
    let fingerprints = fingerprints_of(sdp, media).map_err(MediaRefusal::Unusable)?;
    let is_new = sdp.value_for(media, "connection") == Some("new");
    let begun_in = is_new.then_some(sdp.origin.version);
    Ok(FarDtls { fingerprints, role, is_muxed: media.has("rtcp-mux"), begun_in })
}

/// Reads an offer of a plain leg: the first of `wanted` that is offered is taken, those being the codecs that it may
/// speak and the other leg can.
///
/// # Errors
/// [`MediaRefusal::NoCommonCodec`], [`MediaRefusal::Unusable`].
pub fn read_plain_offer(
    sdp: &SessionDescription,
    wanted: &[Codec],
    rules: PlainRules<'_>,
) -> Result<PlainRemote, MediaRefusal> {
    let (section, media, security) = offered_audio(sdp, rules)?;
    let (rtp, rtcp) = plain_addresses(sdp, media, &security)?;
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
        unserved: Unserved::of(sdp, media, &security),
        security,
        protocol: media.protocol.clone(),
        codecs: wanted.iter().copied().filter(|c| codecs.iter().any(|line| is_codec(line, *c))).collect(),
        ptime: ptime_of(media),
        section,
        event,
        fmtp: line.fmtp.clone(),
    })
}

/// How much sound a section wants in a packet, in milliseconds (RFC 8866 §6.4), as long as that is an amount that anybody
/// sends.
fn ptime_of(media: &Media) -> Option<u16> {
    let value = |name| media.value(name).and_then(|v| v.trim().parse::<u16>().ok());
    let longest = value("maxptime");
    let wanted = value("ptime").or_else(|| longest.map(|longest| longest.min(PTIME)))?;
    let wanted = wanted.min(longest.unwrap_or(wanted));
    PTIMES.contains(&wanted).then_some(wanted)
}

/// Our answer to the offer of a plain leg, which reaches us at `rtp`; `is_held`: the other leg holds the call, so that
/// nothing is wanted of this one; `ptime`: so much sound is wanted in a packet, in milliseconds.
#[must_use]
pub fn answer_plain(
    sdp: &SessionDescription,
    remote: &PlainRemote,
    is_held: bool,
    security: &OwnSecurity,
    rtp: SocketAddr,
    ptime: u16,
    origin: &mut OwnOrigin,
) -> SessionDescription {
    let mut answer = empty();
    answer.connection = Some(rtp.ip());
    answer.media = refused(sdp);
    let Some(media) = answer.media.get_mut(remote.section) else { return answer };
    media.port = rtp.port();
    media.attributes.clear();
    describe_codec(media, &remote.format, remote.event, remote.fmtp.as_deref());
    security.describe(media);
    media.attributes.push(Attribute::new("ptime", ptime.to_string()));
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
    security: &Security,
) -> Result<(Option<SocketAddr>, Option<SocketAddr>), MediaRefusal> {
    let ip = sdp.connection_of(media).ok_or(MediaRefusal::Unusable(
        "no connection address (c=), or a name in its place; media needs an IP address",
    ))?;
    let ip = ip.to_canonical();
    if ip.is_multicast() {
        return Err(MediaRefusal::Unusable("a multicast address; media is unicast here"));
    }
    if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err(MediaRefusal::Unusable("a broadcast address (255.255.255.255); media is unicast here"));
    }
    if ip.is_unspecified() {
        return Ok((None, None));
    }
    let rtp = SocketAddr::new(ip, media.port);
    if matches!(security, Security::Dtls(far) if far.is_muxed) {
        return Ok((Some(rtp), Some(rtp)));
    }
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
