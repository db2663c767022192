//! Where the agents' checks go, and how often: an address that has proved nothing yet may be anybody's, and whoever describes it
//! to us must not be able to have it flooded. The crate checks every pair at its own rate, however long none is answered (RFC
//! 8445 §14 has them paced, and each repeated with growing waits).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Addresses that are checked; candidates are fewer.
const LIMIT: usize = 64;
/// From one check of an address to the next: at first, doubled each time, and at most.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_millis(800);

#[derive(Debug)]
struct Target {
    remote: SocketAddr,
    next_at: Instant,
    wait: Duration,
}

/// The checks of one association.
#[derive(Debug, Default)]
pub(super) struct Checks(Vec<Target>);

impl Checks {
    /// Whether a check went there.
    pub(super) fn has(&self, remote: SocketAddr) -> bool {
        self.0.iter().any(|t| t.remote == remote)
    }

    /// Whether one may go now to an address that has proved nothing; it then counts as sent.
    pub(super) fn may_go(&mut self, now: Instant, remote: SocketAddr) -> bool {
        if let Some(target) = self.0.iter_mut().find(|t| t.remote == remote) {
            if now < target.next_at {
                return false;
            }
            target.wait = target.wait.saturating_mul(2).min(LAST_WAIT);
            target.next_at = now + target.wait;
            return true;
        }
        let has_room = self.0.len() < LIMIT;
        if has_room {
            self.0.push(Target { remote, next_at: now + FIRST_WAIT, wait: FIRST_WAIT });
        }
        has_room
    }

    /// Other credentials: all begins anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the checks of so many milliseconds go, when one is tried every 10 ms.
    fn gone(checks: &mut Checks, t0: Instant, remote: &str, ms: std::ops::Range<u64>) -> Vec<u64> {
        let remote = remote.parse().unwrap();
        ms.step_by(10).filter(|ms| checks.may_go(t0 + Duration::from_millis(*ms), remote)).collect()
    }

    #[test]
    fn an_address_that_answers_nothing_is_checked_with_growing_waits() {
        let (t0, mut checks) = (Instant::now(), Checks::default());
        let early = gone(&mut checks, t0, "192.0.2.1:1", 0..2_500);
        assert_eq!(early, [0, 50, 150, 350, 750, 1_550, 2_350]);
        assert_eq!(gone(&mut checks, t0, "192.0.2.1:1", 2_500..30_000).len(), 34);
        assert_eq!(gone(&mut checks, t0, "192.0.2.1:2", 0..100), [0, 50], "another port is another target");
        checks.clear();
        assert!(!checks.has("192.0.2.1:1".parse().unwrap()));
        assert_eq!(gone(&mut checks, t0, "192.0.2.1:1", 30_000..30_100), [30_000, 30_050]);
    }

    #[test]
    fn there_are_no_more_targets_than_the_limit() {
        let (t0, mut checks) = (Instant::now(), Checks::default());
        let went =
            (1..=100).filter(|port| checks.may_go(t0, SocketAddr::from(([192, 0, 2, 1], *port)))).count();
        assert_eq!(went, LIMIT);
    }
}
