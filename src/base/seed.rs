//! Randomness that cores are given, never ask for.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// A source of random values, cryptographically strong when seeded from the system (`io` files do that once),
/// repeatable when seeded from a number (tests).
#[derive(Debug, Clone)]
pub struct Seed(StdRng);

impl Seed {
    /// From 32 bytes; give system entropy in production.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(StdRng::from_seed(bytes))
    }

    /// For tests: the same number, the same values.
    #[must_use]
    pub fn from_number(n: u64) -> Self {
        Self(StdRng::seed_from_u64(n))
    }

    /// A source of its own, derived from this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        Self::from_bytes(bytes)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 128 random bits.
    pub fn next_u128(&mut self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// Fills a buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// A number below `bound` (0 when `bound` is 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64 }
    }

    /// `len` characters of `[a-z0-9]`, fit for tags, branches, ufrags and passwords (RFC 8445 `ice-char`).
    #[must_use]
    pub fn token(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        (0..len)
            .map(|_| {
                let i = usize::try_from(self.below(36)).unwrap_or(0);
                ALPHABET.get(i).map_or('a', |b| char::from(*b))
            })
            .collect()
    }
}
