//! Keys that parties press, told by media (RFC 4733), by signalling (INFO), or by both.
//!
//! A side that tells keys in both ways is heard by its media alone. Which way it has shows with its first key, so the
//! first that signalling tells waits for [`KEY_GRACE`], in which media would tell it as well.

use super::*;

/// How long after signalling media may tell the same key: more than the packets of a key need that were lost at first.
pub(super) const KEY_GRACE: Duration = Duration::from_millis(200);

/// How a party tells its keys.
#[derive(Debug)]
pub(super) enum KeySource {
    /// It has told none.
    Unknown,
    /// Signalling told these; until then media may tell them too.
    Open(Instant, Vec<DtmfDigit>),
    /// Signalling alone.
    Signalling,
    /// Media, whether or not signalling repeats it.
    Media,
}

impl Call {
    /// Keys that a leg sends the other one, which is told of them.
    pub(super) fn handle_keys(&mut self, leg: LegId, keys: Vec<DtmfDigit>) {
        let Some(other) = self.other(leg) else { return };
        if self.party(other).is_some_and(|p| !p.profile.takes_keys) {
            self.media(MediaCommand::SendDtmf(other, keys.clone()));
        }
        self.tell(other, LegCommand::Dtmf(keys));
    }

    /// Signalling tells a key.
    pub(super) fn handle_pressed(&mut self, now: Instant, leg: LegId, key: DtmfDigit) {
        let Some(party) = self.party_mut(leg) else { return };
        match &mut party.keys {
            KeySource::Unknown => party.keys = KeySource::Open(now + KEY_GRACE, vec![key]),
            KeySource::Open(_, keys) => keys.push(key),
            KeySource::Signalling => self.handle_keys(leg, vec![key]),
            KeySource::Media => {}
        }
    }

    /// Media tells a key, and has carried it to the other side already.
    pub(super) fn handle_heard(&mut self, leg: LegId, digit: crate::base::Digit) {
        if let Some(party) = self.party_mut(leg) {
            party.keys = KeySource::Media;
        }
        if let Some(other) = self.other(leg) {
            self.tell(other, LegCommand::Dtmf(vec![DtmfDigit { digit, duration: KEY_DURATION }]));
        }
    }

    /// Keys whose time has come; with no time, those of a leg that ends.
    pub(super) fn flush_keys(&mut self, leg: LegId, now: Option<Instant>) {
        let Some(party) = self.party_mut(leg) else { return };
        if !matches!(party.keys, KeySource::Open(until, _) if now.is_none_or(|now| until <= now)) {
            return;
        }
        if let KeySource::Open(_, keys) = std::mem::replace(&mut party.keys, KeySource::Signalling) {
            self.handle_keys(leg, keys);
        }
    }

    /// The leg whose keys wait the shortest, and until when.
    pub(super) fn next_keys(&self) -> Option<(Instant, LegId)> {
        let waits = |p: &Party| match p.keys {
            KeySource::Open(until, _) => Some((until, p.leg)),
            _ => None,
        };
        self.parties().filter_map(waits).min()
    }
}
