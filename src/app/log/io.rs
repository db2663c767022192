//! Log lines on their way out: one at once, many together.
//!
//! A line after a quiet moment is written as it comes, and so is a warning, with all that waits before it. Of a burst
//! the lines wait for at most [`PAUSE`] and leave in one piece: under load a system call for each of a call's lines would
//! cost more than making them. What a process that is killed outright has not said is of its last few milliseconds.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line of a burst may wait.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes that may wait: half a second of a burst that nobody would read anyway.
const FULL: usize = 64 * 1024;

/// When a line is written.
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

struct State {
    out: Box<dyn Write + Send>,
    waiting: Vec<u8>,
    written: Option<Instant>,
    is_over: bool,
}

impl State {
    /// A line. True when it waits and no other did before: the writer must come.
    fn push(&mut self, now: Instant, line: &[u8], is_urgent: bool) -> bool {
        let was_empty = self.waiting.is_empty();
        self.waiting.extend_from_slice(line);
        let is_quiet = self.written.is_none_or(|at| now.saturating_duration_since(at) >= PAUSE);
        if is_urgent || self.is_over || (was_empty && is_quiet) || self.waiting.len() >= FULL {
            self.write(now);
            return false;
        }
        was_empty
    }

    fn write(&mut self, now: Instant) {
        // standard error may be closed; there is nowhere to say so
        let _ = self.out.write_all(&self.waiting).and_then(|()| self.out.flush());
        self.waiting.clear();
        self.written = Some(now);
    }
}

struct Shared {
    state: Mutex<State>,
    has_waiting: Condvar,
}

impl Shared {
    fn push(&self, line: &[u8], is_urgent: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.push(Instant::now(), line, is_urgent) {
            drop(state);
            self.has_waiting.notify_one();
        }
    }

    fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        state.write(Instant::now());
        drop(state);
        self.has_waiting.notify_one();
    }

    /// Writes what waits, until the end.
    fn run(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            if state.waiting.is_empty() {
                state = self.has_waiting.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            std::thread::sleep(PAUSE);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.waiting.is_empty() {
                state.write(Instant::now());
            }
        }
    }
}

/// Makes writers for the log.
pub(super) struct Batches(Arc<Shared>);

impl Batches {
    /// Lines go to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> Self {
        let state = State { out: Box::new(out), waiting: Vec::new(), written: None, is_over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), has_waiting: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        // without a thread nothing may wait
        if std::thread::Builder::new().name("log".into()).spawn(move || of_thread.run()).is_err() {
            shared.close();
        }
        Self(shared)
    }

    /// Whoever holds it lets lines wait; once it is dropped, all are written as they come.
    pub(super) fn last_lines(&self) -> LastLines {
        LastLines(Arc::clone(&self.0))
    }
}

/// Writes what waits when it is dropped.
pub(in crate::app) struct LastLines(Arc<Shared>);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Takes one line.
pub(super) struct Line<'a> {
    shared: &'a Shared,
    is_urgent: bool,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.push(line, self.is_urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Batches {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { shared: &self.0, is_urgent: true }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        Line { shared: &self.0, is_urgent: *meta.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps each write as a piece.
    #[derive(Clone, Default)]
    struct Pieces(Arc<Mutex<Vec<String>>>);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn state() -> (State, Pieces) {
        let pieces = Pieces::default();
        let state =
            State { out: Box::new(pieces.clone()), waiting: Vec::new(), written: None, is_over: false };
        (state, pieces)
    }

    #[test]
    fn a_line_after_a_quiet_moment_leaves_at_once_and_those_of_a_burst_together() {
        let (mut state, pieces) = state();
        let t0 = Instant::now();
        assert!(!state.push(t0, b"a\n", false));
        assert!(state.push(t0 + PAUSE / 2, b"b\n", false), "the writer must be called");
        assert!(!state.push(t0 + PAUSE / 2, b"c\n", false), "it was called");
        assert!(!state.push(t0 + PAUSE, b"d\n", false), "order is kept: it waits behind the others");
        assert_eq!(*pieces.0.lock().unwrap(), ["a\n"]);
        state.write(t0 + PAUSE * 3 / 2);
        assert!(!state.push(t0 + PAUSE * 3, b"e\n", false));
        assert_eq!(*pieces.0.lock().unwrap(), ["a\n", "b\nc\nd\n", "e\n"]);
    }

    #[test]
    fn a_warning_a_full_buffer_and_the_end_do_not_wait() {
        let (mut state, pieces) = state();
        let t0 = Instant::now();
        state.push(t0, b"a\n", false);
        state.push(t0, b"b\n", false);
        state.push(t0, b"warning\n", true);
        assert_eq!(*pieces.0.lock().unwrap(), ["a\n", "b\nwarning\n"]);
        state.push(t0, &vec![b'x'; FULL], false);
        assert!(state.waiting.is_empty());
        state.is_over = true;
        state.push(t0, b"z\n", false);
        assert_eq!(pieces.0.lock().unwrap().last().unwrap(), "z\n");
    }

    #[test]
    fn what_waits_is_written_by_the_thread_and_at_the_end() {
        let pieces = Pieces::default();
        let batches = Batches::start(pieces.clone());
        let last_lines = batches.last_lines();
        let line = || Line { shared: &batches.0, is_urgent: false };
        for _ in 0..100 {
            line().write_all(b"line\n").unwrap();
        }
        let all = || pieces.0.lock().unwrap().concat().len();
        let deadline = Instant::now() + Duration::from_secs(10);
        while all() < 500 {
            assert!(Instant::now() < deadline, "{}", all());
            std::thread::yield_now();
        }
        line().write_all(b"x").unwrap();
        line().write_all(b"y").unwrap();
        drop(last_lines);
        assert_eq!(all(), 502);
        line().write_all(b"z").unwrap();
        assert_eq!(all(), 503, "after the end, lines are written as they come");
    }
}
