//! What goes to standard output and standard error. Either may be closed, or full, at any time: that is no reason to
//! panic.

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Prints the answer and ends with `code`. A reader that has seen enough (`| head -1`) is no mistake; an answer that
/// could not be written (a full disk) is one.
pub(super) fn answer(text: &str, code: ExitCode) -> ExitCode {
    match write(&mut std::io::stdout().lock(), text) {
        Ok(()) => code,
        Err(error) => {
            complain(format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A line to standard error; where nobody reads it there is nobody to tell.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "sipedge: {line}");
}

fn write(out: &mut impl Write, text: &str) -> std::io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refuses everything.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_mistake_and_a_full_disk_is_one() {
        assert!(write(&mut Broken(ErrorKind::BrokenPipe), "x").is_ok());
        assert_eq!(
            write(&mut Broken(ErrorKind::StorageFull), "x").unwrap_err().kind(),
            ErrorKind::StorageFull
        );
        let mut out = Vec::new();
        write(&mut out, "x").unwrap();
        assert_eq!(out, b"x");
    }
}
