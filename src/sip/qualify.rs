//! Watches whether somebody is at an address: OPTIONS now and then (RFC 3261 §11).
//!
//! Drive it: drain [`Qualify::poll_output`]; at [`Output::Probe`] send an OPTIONS that is given up after
//! [`PROBE_LIMIT`] and hand its result to [`Qualify::handle_result`]; wake it at [`Qualify::poll_timeout`].
//! Any final answer means that somebody is there, a refusal too; 408 and 503 say that nobody is who could take a
//! call. One that was up is down after two failures in a row, the second looked for soon after the first: a
//! lost datagram is no outage. One that is down is asked at least every [`MAX_DOWN_INTERVAL`].

use super::StatusCode;
use super::transaction::Failure;
use crate::base::Seed;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long one OPTIONS is waited for.
pub const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// The second look after a failure of one that was up.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// Longest pause while it is down: calls flow again soon after it came back.
pub const MAX_DOWN_INTERVAL: Duration = Duration::from_secs(4);

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// The first answer is waited for.
    Unknown,
    /// Somebody answered.
    Up,
    /// Nobody answers.
    Down,
}

/// What it asks of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Send an OPTIONS.
    Probe,
    /// It is up or down now.
    State(Reachability),
}

/// The machine.
#[derive(Debug)]
pub struct Qualify {
    interval: Duration,
    seed: Seed,
    state: Reachability,
    failures: u32,
    is_asking: bool,
    deadline: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Qualify {
    /// Asks at once, then every `interval` give or take a tenth.
    #[must_use]
    pub fn start(interval: Duration, seed: Seed) -> Self {
        Self {
            interval,
            seed,
            state: Reachability::Unknown,
            failures: 0,
            is_asking: true,
            deadline: None,
            outputs: VecDeque::from([Output::Probe]),
        }
    }

    /// Whether somebody is there.
    #[must_use]
    pub const fn state(&self) -> Reachability {
        self.state
    }

    /// The outcome of the OPTIONS that is out.
    pub fn handle_result(&mut self, now: Instant, result: Result<StatusCode, Failure>) {
        if !self.is_asking {
            return;
        }
        self.is_asking = false;
        let absent = [StatusCode::REQUEST_TIMEOUT, StatusCode::SERVICE_UNAVAILABLE];
        let is_there = result.is_ok_and(|status| !absent.contains(&status));
        self.failures = if is_there { 0 } else { self.failures.saturating_add(1) };
        let (state, pause) = match (is_there, self.state) {
            (true, _) => (Reachability::Up, self.interval),
            (false, Reachability::Up) if self.failures < 2 => {
                (Reachability::Up, SECOND_LOOK.min(self.interval))
            }
            (false, _) => (Reachability::Down, self.interval.min(MAX_DOWN_INTERVAL)),
        };
        if state != self.state {
            self.state = state;
            self.outputs.push_back(Output::State(state));
        }
        // many trunks of one PBX do not ask it in step
        let share = u32::try_from(900 + self.seed.below(201)).unwrap_or(1_000);
        self.deadline = Some(now + pause.saturating_mul(share) / 1_000);
    }

    /// The clock; early calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.is_asking = true;
            self.outputs.push_back(Output::Probe);
        }
    }

    /// The next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next wake-up.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<StatusCode, Failure>;

    const OK: Outcome = Ok(StatusCode::OK);
    const LOST: Outcome = Err(Failure::Timeout);

    /// Plays outcomes; the state after each, and the pause that follows in seconds.
    fn play(outcomes: &[Outcome]) -> (Vec<Reachability>, Vec<f64>) {
        let (mut now, mut q) =
            (Instant::now(), Qualify::start(Duration::from_secs(10), Seed::from_number(1)));
        let (mut states, mut pauses, mut told) = (Vec::new(), Vec::new(), Reachability::Unknown);
        for outcome in outcomes {
            assert_eq!(
                (q.poll_output(), q.poll_output(), q.poll_timeout()),
                (Some(Output::Probe), None, None)
            );
            q.handle_timeout(now + Duration::from_secs(99));
            assert_eq!(q.poll_output(), None, "one at a time");
            q.handle_result(now, *outcome);
            match q.poll_output() {
                Some(Output::State(state)) => {
                    assert_ne!(state, told, "a state is told once");
                    told = state;
                }
                other => assert_eq!(other, None),
            }
            assert_eq!(q.state(), told);
            states.push(told);
            let at = q.poll_timeout().unwrap();
            q.handle_result(now, LOST);
            pauses.push((at - now).as_secs_f64());
            now = at;
            q.handle_timeout(now);
        }
        (states, pauses)
    }

    #[test]
    fn the_transitions_are_those_of_the_table() {
        use Reachability::{Down, Up};
        let refused = Ok(StatusCode::FORBIDDEN);
        let table: &[(&[Outcome], &[Reachability])] = &[
            (&[OK], &[Up]),
            (&[refused], &[Up]),
            (&[LOST], &[Down]),
            (&[Err(Failure::Transport)], &[Down]),
            (&[Ok(StatusCode::REQUEST_TIMEOUT)], &[Down]),
            (&[Ok(StatusCode::SERVICE_UNAVAILABLE)], &[Down]),
            (&[OK, LOST, OK, LOST, OK], &[Up, Up, Up, Up, Up]),
            (&[OK, LOST, LOST, LOST], &[Up, Up, Down, Down]),
            (&[OK, Err(Failure::Transport), Ok(StatusCode::SERVICE_UNAVAILABLE)], &[Up, Up, Down]),
            (&[LOST, LOST, OK, LOST, OK], &[Down, Down, Up, Up, Up]),
        ];
        for (outcomes, states) in table {
            assert_eq!(play(outcomes).0, *states, "{outcomes:?}");
        }
    }

    #[test]
    fn it_asks_every_ten_seconds_give_or_take_one_and_sooner_when_in_doubt_or_down() {
        let (_, pauses) = play(&[OK; 50]);
        assert!(pauses.iter().all(|p| (9.0..=11.0).contains(p)), "{pauses:?}");
        assert!(pauses.iter().any(|p| *p < 9.5) && pauses.iter().any(|p| *p > 10.5));
        let (_, pauses) = play(&[OK, LOST, LOST, LOST]);
        assert!(pauses[1] <= 1.1 && pauses[2] <= 4.4 && pauses[3] >= 3.6, "{pauses:?}");
    }
}
