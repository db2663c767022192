//! A fast hash for tables that the packet path reads: keyed by a secret of the process, so that addresses
//! chosen by strangers do not collide on purpose. Only authenticated addresses are ever inserted.

use crate::base::Seed;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A map with keyed hashing.
pub(super) type KeyedMap<K, V> = HashMap<K, V, KeyedState>;

/// The secret.
#[derive(Clone)]
pub(super) struct KeyedState {
    start: u64,
    factor: u64,
}

impl KeyedState {
    /// From the process' randomness.
    pub(super) fn new(seed: &mut Seed) -> Self {
        Self { start: seed.next_u64(), factor: seed.next_u64() | 1 }
    }
}

impl BuildHasher for KeyedState {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.start, factor: self.factor }
    }
}

/// Folds words by a multiplication of 64 × 64 bits.
pub(super) struct KeyedHasher {
    state: u64,
    factor: u64,
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(chunk).for_each(|(w, b)| *w = *b);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(u64::try_from(bytes.len()).unwrap_or(0));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.factor);
        self.state = super::packet::fold(product).rotate_left(23);
    }

    fn write_u128(&mut self, word: u128) {
        let bytes = word.to_le_bytes();
        if let (Some(low), Some(high)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
            self.write_u64(u64::from_le_bytes(*low));
            self.write_u64(u64::from_le_bytes(*high));
        }
    }

    fn finish(&self) -> u64 {
        self.state ^ (self.state >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_keys_spread_over_low_and_high_bits() {
        let state = KeyedState::new(&mut Seed::from_number(1));
        let (mut low, mut high) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for port in 0..1_000_u32 {
            let hash = state.hash_one((0x7f00_0001_u128, port));
            low.insert(hash & 0xffff);
            high.insert(hash >> 48);
        }
        assert!(low.len() > 950 && high.len() > 950, "{} {}", low.len(), high.len());
    }
}
