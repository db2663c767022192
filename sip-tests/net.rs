//! A virtual network: datagrams with seeded delay, loss, reordering and duplication, and a clock that jumps.
//! Included by tests through `#[path]`.

use sipedge::base::Seed;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What the network does to a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Chance of loss, in per cent.
    pub(crate) loss: u64,
    /// Chance of a second copy, in per cent.
    pub(crate) duplicate: u64,
    /// Least delay.
    pub(crate) delay: Duration,
    /// Most delay beyond it; datagrams overtake each other by it.
    pub(crate) jitter: Duration,
}

/// Datagrams on their way, ordered by arrival.
pub(crate) struct Net<A, D> {
    weather: Weather,
    seed: Seed,
    on_the_way: BTreeMap<(Instant, u64), (A, D)>,
    sent: u64,
    /// How many were lost.
    pub(crate) lost: u64,
}

impl<A: Clone, D: Clone> Net<A, D> {
    /// An empty network.
    pub(crate) fn new(weather: Weather, seed: Seed) -> Self {
        Self { weather, seed, on_the_way: BTreeMap::new(), sent: 0, lost: 0 }
    }

    /// Sends to an address.
    pub(crate) fn send(&mut self, now: Instant, to: &A, datagram: &D) {
        let copies = 1 + usize::from(self.seed.below(100) < self.weather.duplicate);
        for _ in 0..copies {
            self.sent += 1;
            if self.seed.below(100) < self.weather.loss {
                self.lost += 1;
                continue;
            }
            let jitter = self.weather.jitter.as_micros() as u64;
            let late = Duration::from_micros(self.seed.below(jitter + 1));
            let at = now + self.weather.delay + late;
            self.on_the_way.insert((at, self.sent), (to.clone(), datagram.clone()));
        }
    }

    /// When the next one arrives.
    pub(crate) fn next_arrival(&self) -> Option<Instant> {
        self.on_the_way.keys().next().map(|(at, _)| *at)
    }

    /// Takes one that has arrived.
    pub(crate) fn arrive(&mut self, now: Instant) -> Option<(A, D)> {
        let key = *self.on_the_way.keys().next().filter(|(at, _)| *at <= now)?;
        self.on_the_way.remove(&key)
    }
}
