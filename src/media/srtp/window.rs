//! Which index a sequence number means, and which indices were seen (RFC 3711 §3.3.1, §3.3.2).

use crate::media::stats::Drop;

/// Highest index of 48 bits.
const INDEX_MAX: u64 = 0xffff_ffff_ffff;

/// The highest authenticated index of a source and the 128 up to it.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::media) struct Window {
    /// Highest index; none before the first packet.
    highest: Option<u64>,
    /// Bit n: `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// The index a sequence number most likely means (RFC 3711 §3.3.1); none when it would lie before 0 or
    /// beyond the last.
    pub(in crate::media) fn guess(&self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(sequence)) };
        let last = highest & 0xffff;
        let sequence = u64::from(sequence);
        let same = (highest - last) | sequence;
        let index = if last < 0x8000 && sequence.saturating_sub(last) > 0x8000 {
            same.checked_sub(0x1_0000)?
        } else if last >= 0x8000 && last - 0x8000 > sequence {
            same.checked_add(0x1_0000)?
        } else {
            same
        };
        (index <= INDEX_MAX).then_some(index)
    }

    /// Refuses an index that was seen or is too old to tell.
    pub(in crate::media) fn check(&self, index: u64) -> Result<(), Drop> {
        let Some(highest) = self.highest else { return Ok(()) };
        match highest.checked_sub(index) {
            None => Ok(()),
            Some(age @ 0..128) if self.seen & (1 << age) == 0 => Ok(()),
            Some(_) => Err(Drop::Replayed),
        }
    }

    /// Notes an index whose tag was good.
    pub(in crate::media) fn accept(&mut self, index: u64) {
        let highest = self.highest.unwrap_or(index);
        if let Some(age) = highest.checked_sub(index) {
            self.seen |= u32::try_from(age).ok().and_then(|a| 1_u128.checked_shl(a)).unwrap_or(0);
            self.highest = Some(highest);
        } else {
            let ahead = u32::try_from(index - highest).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(index: u64) -> Window {
        let mut window = Window::default();
        window.accept(index);
        window
    }

    #[test]
    fn the_rollover_counter_is_guessed_from_half_a_cycle_rfc3711_3_3_1() {
        assert_eq!(Window::default().guess(40_000), Some(40_000));
        assert_eq!(at(65_535).guess(0), Some(65_536));
        assert_eq!(at(65_536).guess(65_535), Some(65_535));
        assert_eq!(at(0x2_7fff).guess(0xffff), Some(0x2_ffff), "exactly half a cycle is ahead");
        assert_eq!(at(0x2_7ffe).guess(0xffff), Some(0x1_ffff), "one more is behind");
        assert_eq!(at(5).guess(0xfff0), None, "before the first rollover there is nothing behind");
        assert_eq!(at(INDEX_MAX).guess(0), None, "the last index of a key");
    }

    #[test]
    fn an_index_is_taken_once_and_only_within_128_rfc3711_3_3_2() {
        let mut window = at(1000);
        assert_eq!(window.check(1000), Err(Drop::Replayed));
        assert_eq!(window.check(873), Ok(()));
        assert_eq!(window.check(872), Err(Drop::Replayed));
        window.accept(873);
        assert_eq!(window.check(873), Err(Drop::Replayed));
        window.accept(1001);
        assert_eq!(window.check(1000), Err(Drop::Replayed));
        assert_eq!(window.check(999), Ok(()));
        window.accept(5000);
        assert_eq!(window.check(4999), Ok(()));
        assert_eq!(window.check(1001), Err(Drop::Replayed));
    }
}
