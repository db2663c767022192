//! Log lines on their way out: one at once, many together, and nobody waits for whoever reads them.
//!
//! A thread of its own writes: a warning as it comes, with all that waits before it. Other lines wait for [`PAUSE`] and leave in
//! one piece with what comes meanwhile: a system call and a wake-up for each of a call's lines would cost more than making
//! them. Where the reader stalls (a pipe, a terminal that was stopped, a log driver), lines wait
//! up to [`MOST_WAITING`]; those beyond are dropped and counted, and calls go on. What a process that is killed outright has
//! not said is of its last few milliseconds.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tracing::{Level, Metadata, warn};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for others.
const PAUSE: Duration = Duration::from_millis(10);
/// Bytes that wait for no more: half a second of a burst that nobody would read anyway.
const FULL: usize = 64 * 1024;
/// Most bytes that wait for a reader.
const MOST_WAITING: usize = 1024 * 1024;
/// How long the end of the program waits for a reader.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// When a line is written.
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

/// What waits.
#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Lines that there was no room for.
    lost: u64,
    /// Something that waits shall not.
    is_urgent: bool,
    /// The program ends.
    is_over: bool,
    /// The thread has ended: lines are written as they come.
    is_alone: bool,
}

impl State {
    /// A line. True when the thread must be told.
    fn push(&mut self, line: &[u8], is_urgent: bool) -> bool {
        if self.waiting.len().saturating_add(line.len()) > MOST_WAITING {
            self.lost += 1;
            return false;
        }
        let is_news = self.waiting.is_empty() || is_urgent && !self.is_urgent;
        self.waiting.extend_from_slice(line);
        self.is_urgent |= is_urgent;
        is_news || self.waiting.len() >= FULL
    }

    /// Whether lines wait for others to come.
    const fn has_time(&self) -> bool {
        !self.is_urgent && !self.is_over && self.waiting.len() < FULL
    }

    /// All that waits, and how many lines were lost; an empty buffer takes its place.
    fn take(&mut self, empty: Vec<u8>) -> (Vec<u8>, u64) {
        self.is_urgent = false;
        (std::mem::replace(&mut self.waiting, empty), std::mem::take(&mut self.lost))
    }
}

struct Shared {
    state: Mutex<State>,
    /// Something for the thread, or its end.
    news: Condvar,
    out: Mutex<Box<dyn Write + Send>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8], is_urgent: bool) {
        let mut state = self.state();
        if state.is_alone {
            drop(state);
            return self.write(line);
        }
        if state.push(line, is_urgent) {
            drop(state);
            self.news.notify_all();
        }
    }

    fn write(&self, lines: &[u8]) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // standard error may be closed; there is nowhere to say so
        let _ = out.write_all(lines).and_then(|()| out.flush());
    }

    /// The end: what waits is written, if anybody reads it.
    fn close(&self) {
        let mut state = self.state();
        state.is_over = true;
        self.news.notify_all();
        drop(self.news.wait_timeout_while(state, LAST_WAIT, |state| !state.is_alone));
    }

    /// Writes what waits, until the end.
    fn run(&self) {
        let mut buffer = Vec::new();
        loop {
            let is_idle = |state: &mut State| state.waiting.is_empty() && !state.is_over;
            let mut state =
                self.news.wait_while(self.state(), is_idle).unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                state.is_alone = true;
                drop(state);
                return self.news.notify_all();
            }
            let waited = self.news.wait_timeout_while(state, PAUSE, |state| state.has_time());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            let (lines, lost) = state.take(std::mem::take(&mut buffer));
            drop(state);
            self.write(&lines);
            buffer = lines;
            buffer.clear();
            buffer.shrink_to(FULL);
            if lost > 0 {
                warn!(lines = lost, "whoever reads the log was too slow: lines were dropped");
            }
        }
    }
}

/// Makes writers for the log.
pub(super) struct Batches(Arc<Shared>);

impl Batches {
    /// Lines go to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> Self {
        let out: Box<dyn Write + Send> = Box::new(out);
        let shared = Arc::new(Shared { state: Mutex::default(), news: Condvar::new(), out: Mutex::new(out) });
        let of_thread = Arc::clone(&shared);
        // without a thread nothing may wait
        if std::thread::Builder::new().name("log".into()).spawn(move || of_thread.run()).is_err() {
            shared.state().is_alone = true;
        }
        Self(shared)
    }

    /// Once it is dropped, lines are written as they come.
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
    use std::time::Instant;

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

    /// Takes nothing until it is let.
    #[derive(Clone)]
    struct Stalled(Arc<Mutex<()>>, Pieces);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.0.lock().unwrap();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_thread_hears_of_the_first_line_of_a_warning_and_of_a_full_buffer() {
        let mut state = State::default();
        assert!(state.push(b"a\n", false));
        assert!(!state.push(b"b\n", false), "it was told");
        assert!(state.has_time());
        assert!(state.push(b"warning\n", true) && !state.push(b"another\n", true));
        assert!(!state.has_time());
        assert_eq!(state.take(Vec::new()), (b"a\nb\nwarning\nanother\n".to_vec(), 0));
        state.push(b"c\n", false);
        assert!(state.has_time());
        assert!(state.push(&vec![b'x'; FULL], false) && !state.has_time());
    }

    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_costs_the_lines_beyond_a_bound() {
        let (closed, pieces) = (Arc::new(Mutex::new(())), Pieces::default());
        let batches = Batches::start(Stalled(closed.clone(), pieces.clone()));
        let last_lines = batches.last_lines();
        let stalled = closed.lock().unwrap();
        let line = [b'x'; 1_000];
        let write = || Line { shared: &batches.0, is_urgent: true }.write_all(&line).unwrap();
        write();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !batches.0.state().waiting.is_empty() {
            assert!(Instant::now() < deadline, "the thread takes nothing");
            std::thread::yield_now();
        }
        // it has the first line, and stalls with it
        (1..10_000).for_each(|_| write());
        let lost = batches.0.state().lost;
        assert_eq!(lost, 9_999 - (MOST_WAITING / line.len()) as u64);
        drop(stalled);
        drop(last_lines);
        let written = pieces.0.lock().unwrap().concat().len() / line.len();
        assert_eq!(written as u64 + lost, 10_000);
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
