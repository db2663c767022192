//! What the log says of streams: how each ended, and what is wrong with one while it lasts.

use super::*;
use std::io;

/// A stream as the log names it.
struct Seen<'a> {
    owner: &'a Owner,
    kind: &'static str,
    stats: &'a StreamStats,
    /// Our address, and the far side's; a browser's are its association's.
    ours: Option<SocketAddr>,
    far: Option<SocketAddr>,
}

impl Controller {
    fn seen(&self, stream: StreamId) -> Option<Seen<'_>> {
        self.legs.iter().find_map(|leg| {
            if let Some(p) = leg.plain.as_ref().filter(|p| p.stream == stream) {
                let (owner, kind, stats) = (&p.owner, p.kind(), &*p.stats);
                return Some(Seen { owner, kind, stats, ours: Some(p.rtp), far: p.far_rtp });
            }
            let transports = leg.current.iter().chain(&leg.pending);
            let t = transports.into_iter().find(|t| t.stream == stream)?;
            Some(Seen { owner: &t.owner, kind: "webrtc", stats: &t.stats, ours: None, far: None })
        })
    }

    /// No RTP of a far side is heard that should send.
    pub(super) fn note_quiet(&self, stream: StreamId, has_rtcp: bool) {
        let Some(Seen { owner, kind, stats, ours, far }) = self.seen(stream) else { return };
        let has_dropped = stats.drops.total() > stats.drops.of(Dropped::SendFailed);
        let why = match (has_dropped, has_rtcp) {
            (true, _) => "see what was dropped; if that is little, look at a firewall between",
            (false, true) => "RTCP comes: look at a firewall that drops RTP alone",
            (false, false) => "look at a firewall between, and at whether it reaches our address",
        };
        tracing::warn!(
            call = %self.call, leg = %owner.leg, party = owner.party.as_deref(), stream = stream.0, kind,
            from = far.map(tracing::field::display), to = ours.map(tracing::field::display),
            packets_in = stats.packets_in.get(), rtcp = has_rtcp, dropped = %stats.drops, why,
            "no RTP is heard from a party that should send, for 5 s"
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

/// What to look at when the kernel gives this error.
const fn remedy(errno: i32) -> &'static str {
    match errno {
        libc::EPERM | libc::EACCES => {
            "a firewall of this machine refuses what we send; let UDP from media.rtp_ports out"
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
    fn an_error_in_sending_has_a_remedy_that_names_whose_it_is() {
        for (errno, word) in [
            (libc::EPERM, "firewall of this machine"),
            (libc::ECONNREFUSED, "port unreachable"),
            (libc::EHOSTUNREACH, "no route"),
            (libc::EINVAL, "media_address"),
        ] {
            assert!(remedy(errno).contains(word), "{errno}");
        }
    }
}
