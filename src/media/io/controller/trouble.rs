//! What the log says of streams: how each ended, and what is wrong with one while it lasts.

use super::*;
use crate::media::rtcp::Reported;
use crate::media::session::Unserved;
use crate::media::worker::Signs;
use std::io;

/// A stream as the log names it.
struct Seen<'a> {
    owner: &'a Owner,
    kind: &'static str,
    stats: &'a StreamStats,
    /// Our address, and the far side's; a browser's are its association's.
    ours: Option<SocketAddr>,
    far: Option<SocketAddr>,
    waits: Waits,
}

/// What the far side of a stream may wait for, though it has answered.
#[derive(Debug, Clone, Copy, Default)]
struct Waits {
    /// The DTLS handshake that was agreed on.
    for_handshake: bool,
    unserved: Unserved,
}

/// Why no RTP is heard.
#[derive(Debug, PartialEq, Eq)]
enum Silence {
    /// The far side says that it sends none.
    Meant,
    /// Something is wrong; what to look at.
    Fault(&'static str),
}

/// What is known of packets that came and were of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Useless {
    None,
    /// They were of codecs that were not agreed.
    Codec,
    /// They came from another address than the description names.
    Elsewhere,
    /// Something else.
    Other,
}

impl Useless {
    fn of(stats: &StreamStats) -> Self {
        let has = |reasons: &[Dropped]| reasons.iter().any(|reason| stats.drops.of(*reason) > 0);
        match () {
            () if has(&[Dropped::UnknownPayload, Dropped::OtherCodec]) => Self::Codec,
            () if has(&USELESS) => Self::Other,
            () if has(&[Dropped::WrongSource]) => Self::Elsewhere,
            () => Self::None,
        }
    }
}

/// Packets of these kinds came from somewhere, and were of no use.
const USELESS: [Dropped; 6] = [
    Dropped::BadHeader,
    Dropped::BadPadding,
    Dropped::BadTag,
    Dropped::NoKeys,
    Dropped::Unclassified,
    Dropped::TooManySources,
];

impl Controller {
    fn seen(&self, stream: StreamId) -> Option<Seen<'_>> {
        self.legs.iter().find_map(|leg| {
            if let Some(p) = leg.plain.as_ref().filter(|p| p.stream == stream) {
                let (owner, kind, stats) = (&p.owner, p.kind(), &*p.stats);
                let for_handshake = p.dtls.as_ref().is_some_and(|dtls| !dtls.is_up());
                let waits = Waits { for_handshake, unserved: p.unserved };
                return Some(Seen { owner, kind, stats, ours: Some(p.rtp), far: p.far_rtp, waits });
            }
            let transports = leg.current.iter().chain(&leg.pending);
            let t = transports.into_iter().find(|t| t.stream == stream)?;
            let waits = Waits::default();
            Some(Seen { owner: &t.owner, kind: "webrtc", stats: &t.stats, ours: None, far: None, waits })
        })
    }

    /// No RTP of a far side is heard that should send.
    pub(super) fn note_quiet(&self, stream: StreamId, signs: Signs) {
        let Some(Seen { owner, kind, stats, ours, far, waits }) = self.seen(stream) else { return };
        let (from, to) = (far.map(tracing::field::display), ours.map(tracing::field::display));
        let has_rtcp = signs.reported != Reported::Nothing;
        macro_rules! say {
            ($level:ident, $why:expr) => {
                tracing::$level!(
                    call = %self.call, leg = %owner.leg, party = owner.party.as_deref(), stream = stream.0, kind,
                    from, to, packets_in = stats.packets_in.get(), rtcp = has_rtcp, dropped = %stats.drops,
                    why = $why, "no RTP is heard from a party that should send, for 6 s"
                )
            };
        }
        match silence(waits, signs, Useless::of(stats)) {
            Silence::Meant => {
                say!(info, "its RTCP says that it sends none: a recording, a mute, nothing to play")
            }
            Silence::Fault(why) => say!(warn, why),
        }
    }

    /// The DTLS of a plain leg came to nothing.
    pub(super) fn note_unkeyed(&self, stream: StreamId) {
        let Some(Seen { owner, kind, ours, far, waits, .. }) = self.seen(stream) else { return };
        tracing::warn!(
            call = %self.call, leg = %owner.leg, party = owner.party.as_deref(), stream = stream.0, kind,
            from = far.map(tracing::field::display), to = ours.map(tracing::field::display),
            why = handshake_remedy(waits.unserved), "no DTLS handshake with a party: neither side is heard"
        );
    }

    pub(super) fn note_heard_again(&self, stream: StreamId) {
        let Some(Seen { owner, kind, .. }) = self.seen(stream) else { return };
        tracing::info!(
            call = %self.call, leg = %owner.leg, party = owner.party.as_deref(), stream = stream.0, kind,
            "RTP is heard again"
        );
    }

    /// RTP cannot be sent, or comes back.
    pub(super) fn note_unsent(&self, stream: StreamId, errno: i32) {
        let Some(Seen { owner, kind, ours, far, .. }) = self.seen(stream) else { return };
        tracing::warn!(
            call = %self.call, leg = %owner.leg, party = owner.party.as_deref(), stream = stream.0, kind,
            from = ours.map(tracing::field::display), to = far.map(tracing::field::display),
            error = %io::Error::from_raw_os_error(errno), why = remedy(errno),
            "RTP does not reach a party"
        );
    }

    /// One line and the totals for a stream that ends; packets of the last moment may be missing.
    pub(super) fn note_end(
        &self,
        stream: StreamId,
        owner: &Owner,
        kind: &'static str,
        far: Option<SocketAddr>,
        stats: &StreamStats,
    ) {
        self.shared.totals.add(stats);
        let quality = stats.quality();
        tracing::info!(
            call = %self.call,
            leg = %owner.leg,
            party = owner.party.as_deref(),
            stream = stream.0,
            kind,
            far = far.map(tracing::field::display),
            packets_in = stats.packets_in.get(),
            packets_out = stats.packets_out.get(),
            silence_out = stats.silence_out.get(),
            dropped = %stats.drops,
            send_failed = stats.drops.of(Dropped::SendFailed),
            bounced = stats.bounced.get(),
            send_error = stats.send_error().map(|errno| tracing::field::display(io::Error::from_raw_os_error(errno))),
            lost_in = quality.lost_in,
            lost_out = quality.lost_out,
            jitter_us = quality.jitter_in_us,
            round_trip_us = quality.round_trip_us,
            "media stream ended"
        );
    }
}

/// What may be behind it that no RTP is heard, by what is known.
const fn silence(waits: Waits, signs: Signs, useless: Useless) -> Silence {
    let unserved = waits.unserved;
    Silence::Fault(match signs.reported {
        _ if waits.for_handshake => handshake_remedy(unserved),
        _ if unserved.dtls && !signs.was_heard => {
            "its description names a certificate, and it waits for DTLS-SRTP: make trunk.NAME.media_encryption dtls, or \
             media_encryption no and webrtc no in Asterisk"
        }
        Reported::Silent => return Silence::Meant,
        _ if matches!(useless, Useless::Codec) => {
            "it sends a codec that was not agreed: compare trunk.NAME.codecs with those of the PBX (Asterisk: allow)"
        }
        _ if matches!(useless, Useless::Elsewhere) => {
            "it sends from another address than its description names: write trunk.NAME.symmetric = true if a NAT is between"
        }
        _ if matches!(useless, Useless::Other) => {
            "see what was dropped; if that is little, look at a firewall between"
        }
        Reported::Sending => "its RTCP says that it sends RTP: look at a firewall that drops RTP alone",
        Reported::Nothing if signs.was_heard => {
            "it was heard before and RTCP does not come either: it is gone, or a NAT or firewall between has forgotten the way"
        }
        Reported::Nothing if unserved.ice => {
            "it offers ICE, and may wait for it: switch that off there (Asterisk: webrtc no, ice_support no); else look at a \
             firewall between"
        }
        Reported::Nothing => {
            "RTCP does not come either: it sends from another address than its description names (NAT: trunk.NAME.symmetric = \
             true), a firewall is between, or it does not reach our address"
        }
    })
}

/// What to look at where a DTLS handshake was agreed on and does not come about.
const fn handshake_remedy(unserved: Unserved) -> &'static str {
    if unserved.ice {
        "it waits for ICE, which trunks are not served with: write webrtc no, ice_support no and media_encryption dtls in \
         Asterisk's endpoint"
    } else {
        "its DTLS does not come or does not fit: look at a firewall between, at whether it reaches our address, and at its own log"
    }
}

/// What to look at when the kernel gives this error.
const fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "a firewall of this machine refuses what we send; let UDP from media.rtp_ports out",
        libc::EACCES => {
            "the address that its description names is a broadcast address, or a route of this machine forbids it: see what `ip \
             route get` says of it"
        }
        libc::ECONNREFUSED => {
            "nobody takes RTP at the address that its description names (ICMP: port unreachable): the far side is gone, or a \
             firewall rejects it"
        }
        libc::ENETUNREACH | libc::EHOSTUNREACH => {
            "there is no route to the address that its description names, or a router on the way says so"
        }
        libc::EINVAL => "it cannot be reached from our media address; see trunk.NAME.media_address",
        libc::EAGAIN | libc::ENOBUFS => "more is sent than this machine's network takes",
        libc::EMSGSIZE => "a packet is larger than the network on the way takes",
        _ => "see what the error says",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_worded_by_what_is_known_and_is_no_fault_where_the_far_side_says_that_it_sends_none() {
        let (none, ice) = (Unserved::default(), Unserved { ice: true, dtls: false });
        let heard = |was_heard, reported| Signs { was_heard, reported };
        let said = |unserved, for_handshake, signs, has_dropped| match silence(
            Waits { for_handshake, unserved },
            signs,
            if has_dropped { Useless::Other } else { Useless::None },
        ) {
            Silence::Meant => "",
            Silence::Fault(why) => why,
        };
        for was_heard in [true, false] {
            assert_eq!(said(none, false, heard(was_heard, Reported::Silent), true), "");
            let sending = said(ice, false, heard(was_heard, Reported::Sending), false);
            assert!(sending.contains("drops RTP alone"), "{sending}");
        }
        let never = heard(false, Reported::Nothing);
        let unknown = said(none, false, never, false);
        assert!(unknown.contains("symmetric = true") && unknown.contains("firewall"), "{unknown}");
        let foreign = silence(Waits::default(), never, Useless::Codec);
        assert!(matches!(foreign, Silence::Fault(why) if why.contains("not agreed")), "{foreign:?}");
        assert!(said(none, false, never, true).contains("dropped"));
        let stats = StreamStats::default();
        stats.drops.count(Dropped::WrongSource);
        let nat = silence(Waits::default(), never, Useless::of(&stats));
        assert!(matches!(nat, Silence::Fault(why) if why.contains("trunk.NAME.symmetric = true")), "{nat:?}");
        assert!(said(ice, false, never, false).contains("ice_support no"));
        assert!(said(none, false, heard(true, Reported::Nothing), false).contains("heard before"));
        let dtls = Unserved { ice: false, dtls: true };
        assert!(said(dtls, false, heard(false, Reported::Silent), false).contains("media_encryption dtls"));
        assert_eq!(said(dtls, false, heard(true, Reported::Silent), false), "", "it does without");
        assert!(said(ice, true, never, false).contains("waits for ICE"));
        assert!(said(none, true, never, false).contains("DTLS"));
    }

    #[test]
    fn an_error_in_sending_has_a_remedy_that_names_whose_it_is() {
        for (errno, word) in [
            (libc::EPERM, "firewall of this machine"),
            // udp(7): to a broadcast address as though it were a unicast one
            (libc::EACCES, "broadcast address"),
            (libc::ECONNREFUSED, "port unreachable"),
            (libc::EHOSTUNREACH, "no route"),
            (libc::EINVAL, "media_address"),
        ] {
            assert!(remedy(errno).contains(word), "{errno}");
        }
    }
}
