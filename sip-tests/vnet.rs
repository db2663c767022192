//! A virtual network for tests: seeded loss, delay and reordering, on a clock that the test gives.
//!
//! The sender calls [`VirtualNet::send`], the test takes what is due with [`VirtualNet::poll`] and sleeps until
//! [`VirtualNet::next`]. Nothing here waits or reads a clock.

use sipedge::base::Seed;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// What the network does to datagrams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// Datagrams lost, in a thousand.
    pub(crate) loss_per_mille: u64,
    /// Shortest time on the way.
    pub(crate) delay: Duration,
    /// Random time added; more than the gap between two datagrams reorders them.
    pub(crate) jitter: Duration,
}

impl Weather {
    /// Nothing is lost, everything takes a millisecond.
    pub(crate) const FINE: Self =
        Self { loss_per_mille: 0, delay: Duration::from_millis(1), jitter: Duration::ZERO };

    /// The same with loss.
    pub(crate) const fn with_loss(loss_per_mille: u64) -> Self {
        Self { loss_per_mille, ..Self::FINE }
    }
}

/// A datagram on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

type Filter = Box<dyn FnMut(&Datagram) -> bool>;

/// The network between two hosts.
pub(crate) struct VirtualNet {
    pub(crate) weather: Weather,
    seed: Seed,
    on_the_way: BinaryHeap<Reverse<(Instant, u64)>>,
    datagrams: std::collections::BTreeMap<u64, Datagram>,
    count: u64,
    filter: Filter,
    pub(crate) lost: u64,
}

impl VirtualNet {
    /// A network that behaves the same for the same seed.
    pub(crate) fn new(weather: Weather, seed: u64) -> Self {
        Self {
            weather,
            seed: Seed::from_number(seed),
            on_the_way: BinaryHeap::new(),
            datagrams: Default::default(),
            count: 0,
            filter: Box::new(|_| true),
            lost: 0,
        }
    }

    /// From now on only datagrams that the filter passes go their way.
    pub(crate) fn set_filter(&mut self, filter: impl FnMut(&Datagram) -> bool + 'static) {
        self.filter = Box::new(filter);
    }

    /// A datagram leaves.
    pub(crate) fn send(&mut self, now: Instant, datagram: Datagram) {
        if !(self.filter)(&datagram) || self.seed.below(1000) < self.weather.loss_per_mille {
            self.lost += 1;
            return;
        }
        let jitter = u64::try_from(self.weather.jitter.as_micros()).unwrap();
        let at = now + self.weather.delay + Duration::from_micros(self.seed.below(jitter + 1));
        self.count += 1;
        self.on_the_way.push(Reverse((at, self.count)));
        self.datagrams.insert(self.count, datagram);
    }

    /// A datagram that arrives by now, if there is one.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Datagram> {
        let Reverse((at, id)) = *self.on_the_way.peek()?;
        if at > now {
            return None;
        }
        self.on_the_way.pop();
        self.datagrams.remove(&id)
    }

    /// When the next one arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.on_the_way.peek().map(|Reverse((at, _))| *at)
    }
}
