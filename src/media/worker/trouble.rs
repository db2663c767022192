//! What an operator looks for when one side hears nothing: a far side that sends no RTP, packets of ours that cannot be sent
//! or come back, and a thread that was stopped.

use super::*;
use crate::media::rtcp::Reported;

/// A far side that should send RTP and sends none for so long is told of: longer than the pauses of who leaves out silence and
/// sends comfort noise now and then, and than the 5 s between two reports (RFC 3550 §6.2), which say whether it sends at all;
/// and short enough to be told before people hang up.
pub const QUIET_AFTER: Duration = Duration::from_secs(6);

/// What is known of a far side whose RTP stays away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// RTP of it was heard before.
    pub was_heard: bool,
    /// Its RTCP since then.
    pub reported: Reported,
}

/// So many packets come back before that is told: a PBX may open its port a moment after its answer, and close it a moment
/// before its BYE.
const BOUNCES_TOLD: u64 = 5;

/// The clock's own lateness from which on the thread did not run, and nobody could be heard: the process was stopped, or the
/// machine was.
const STOPPED: Duration = Duration::from_secs(1);

impl Worker {
    /// A packet could not be sent, for this reason (`errno`).
    pub fn handle_send_failure(&mut self, transmit: Transmit, len_bytes: usize, errno: i32) {
        let Some(stream) = self.streams.get_mut(transmit.slot) else {
            return self.strays.count(Drop::SendFailed);
        };
        stream.stats.drops.count(Drop::SendFailed);
        stream.stats.note_send_error(errno);
        if transmit.content == Content::Report {
            return;
        }
        stream.stats.packets_out.take_back(1);
        stream.stats.bytes_out.take_back(len_bytes as u64);
        if transmit.content == Content::Filling {
            stream.stats.silence_out.take_back(1);
        }
        self.tell_unsent(transmit.slot, errno);
    }

    /// An RTP packet of the plain stream in `slot` that was sent has come back: an ICMP error says why (`errno`).
    pub fn handle_bounce(&mut self, slot: usize, errno: i32) {
        let Some(stream) = self.streams.get(slot) else { return };
        stream.stats.bounced.add(1);
        stream.stats.note_send_error(errno);
        if stream.stats.bounced.get() >= BOUNCES_TOLD {
            self.tell_unsent(slot, errno);
        }
    }

    fn tell_unsent(&mut self, slot: usize, errno: i32) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if self.unsent.len() < PRESSED_MAX && !std::mem::replace(&mut stream.is_unsent_told, true) {
            self.unsent.push((stream.id, errno));
        }
    }

    /// Whether the far side in a slot has become quiet, or is heard again.
    pub(super) fn check_quiet(&mut self, now: Instant, slot: usize) -> Option<Output> {
        let stream = self.streams.get_mut(slot)?;
        let should_send = stream.is_expected && stream.is_awaited() && stream.holding.is_none();
        let drops = &stream.stats.drops;
        let count = stream.stats.packets_in.get() + drops.of(Drop::ComfortNoise);
        match stream.quiet.look(now, count, should_send)? {
            Hush::Quiet { since } => {
                let reported = stream.reception.reported_since(since);
                Some(Output::Quiet(stream.id, Signs { was_heard: count > 0, reported }))
            }
            Hush::Over => Some(Output::HeardAgain(stream.id)),
        }
    }

    /// The time in which the thread did not run is nobody's fault: what waits in the sockets is read first, and judged after.
    pub(super) fn forgive(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.next_housekeeping);
        if late < STOPPED {
            return;
        }
        let shift = |at: &mut Instant| *at = at.checked_add(late).map_or(now, |at| at.min(now));
        for (_, stream) in &mut self.streams {
            shift(&mut stream.last_heard);
            shift(&mut stream.quiet.since);
            if let Some(holding) = &mut stream.holding {
                holding.shift(shift);
            }
        }
    }
}
