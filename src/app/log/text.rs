//! Log lines as text: when, how grave, what happened, then its fields as `key=value`, for people and for `grep` alike.
//! A value that a reader could take for several is quoted, and nothing that came from outside begins a line of its own.

use super::io;
use std::fmt::{self, Debug, Write};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format `"text"`.
pub(super) struct Text {
    /// On a terminal, with the colours of the level.
    pub(super) has_colours: bool,
}

/// Room that most lines need, in bytes.
const USUAL: usize = 384;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line { text: String::with_capacity(USUAL), below: String::new(), ..Line::default() };
        line.begin(io::now(), *event.metadata().level(), self.has_colours);
        event.record(&mut line);
        line.end();
        out.write_str(&line.text)
    }
}

#[derive(Default)]
struct Line {
    text: String,
    /// What the message says on further lines; it follows behind the fields.
    below: String,
    has_colours: bool,
}

// writing into a String cannot fail, so what `write!` gives is let go here
impl Line {
    fn begin(&mut self, now: SystemTime, level: Level, has_colours: bool) {
        self.has_colours = has_colours;
        let (colour, word) = match level {
            Level::ERROR => ("31", "ERROR"),
            Level::WARN => ("33", " WARN"),
            Level::INFO => ("32", " INFO"),
            Level::DEBUG => ("34", "DEBUG"),
            Level::TRACE => ("35", "TRACE"),
        };
        let time = humantime::format_rfc3339_micros(now);
        let _ = if has_colours {
            write!(self.text, "\x1b[2m{time}\x1b[0m \x1b[{colour}m{word}\x1b[0m ")
        } else {
            write!(self.text, "{time} {word} ")
        };
    }

    fn end(&mut self) {
        self.text.push('\n');
        if !self.below.is_empty() {
            self.text.push_str(&self.below);
            self.text.push('\n');
        }
    }

    /// Begins a field. False: it is none for a reader.
    fn name(&mut self, name: &str) -> bool {
        // fields of the `log` crate's records, which say where in its source a crate stands
        if name.starts_with("log.") {
            return false;
        }
        let (before, after) = if self.has_colours { (" \x1b[2m", "=\x1b[0m") } else { (" ", "=") };
        self.text.push_str(before);
        self.text.push_str(name.strip_prefix("r#").unwrap_or(name));
        self.text.push_str(after);
        true
    }

    fn message(&mut self, message: &dyn Debug) {
        let start = self.text.len();
        let _ = write!(self.text, "{message:?}");
        if let Some((at, _)) = self.text.match_indices("\n  ").find(|(at, _)| *at >= start) {
            self.below = escaped(self.text.get(at + 1..).unwrap_or_default(), true);
            self.text.truncate(at);
        }
        self.escape_from(start);
    }

    /// Control characters, which could end the line or steer a terminal, are written out.
    fn escape_from(&mut self, start: usize) {
        let told = self.text.get(start..).unwrap_or_default();
        if told.contains(char::is_control) {
            let escaped = escaped(told, false);
            self.text.truncate(start);
            self.text.push_str(&escaped);
        }
    }

    /// Quotes what was written from `start` on where a reader could not tell its end.
    fn close_from(&mut self, start: usize) {
        let told = self.text.get(start..).unwrap_or_default();
        let is_plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
        if (!told.is_empty() && told.bytes().all(is_plain)) || is_quoted(told) {
            return;
        }
        let is_open = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
        if told.is_empty() || told.contains(is_open) {
            let quoted = format!("{told:?}");
            self.text.truncate(start);
            self.text.push_str(&quoted);
        }
    }

    fn number(&mut self, field: &Field, number: impl itoa::Integer) {
        if self.name(field.name()) {
            self.text.push_str(itoa::Buffer::new().format(number));
        }
    }
}

/// One string in quotes, from its first character to its last: what `Debug` makes of one.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut is_escaped = false;
    let is_inside = |c: char| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        !is_end && !c.is_control()
    };
    inner.chars().all(is_inside) && !is_escaped
}

/// The text with its control characters written out, but for the ends of lines where they are `wanted`.
fn escaped(text: &str, has_lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' if has_lines => out.push(c),
            '\t' => out.push(c),
            _ if c.is_control() => out.extend(c.escape_debug()),
            _ => out.push(c),
        }
    }
    out
}

impl Visit for Line {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.number(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.number(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message(&format_args!("{value}"));
        } else if self.name(field.name()) {
            let _ = write!(self.text, "{value:?}");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.message(value);
        } else if self.name(field.name()) {
            let start = self.text.len();
            let _ = write!(self.text, "{value:?}");
            self.close_from(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;

    fn lines(has_colours: bool, event: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Text { has_colours })
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, event);
        let written = kept.text();
        let told = if has_colours { written.split_once("\x1b[0m ").unwrap().1 } else { &written[28..] };
        told.to_owned()
    }

    #[test]
    fn a_line_has_its_time_level_message_and_fields() {
        let mut line = Line::default();
        line.begin(SystemTime::UNIX_EPOCH, Level::INFO, false);
        assert_eq!(line.text, "1970-01-01T00:00:00.000000Z  INFO ");
        let told = lines(false, || {
            tracing::warn!(
                setup_ms = 7_u128,
                less = -1,
                is = true,
                half = 0.5,
                user = "anna",
                "call {}",
                "ended"
            );
        });
        assert_eq!(told, " WARN call ended setup_ms=7 less=-1 is=true half=0.5 user=\"anna\"\n");
    }

    #[test]
    fn a_value_that_could_pass_for_several_is_quoted() {
        for (value, told) in [
            ("plain", "plain"),
            ("192.0.2.1:5060", "192.0.2.1:5060"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("x cause=forged", "\"x cause=forged\""),
            ("a\"b", "\"a\\\"b\""),
            ("\"", "\"\\\"\""),
            ("\"x\" cause=forged \"y\"", "\"\\\"x\\\" cause=forged \\\"y\\\"\""),
            ("\"x\\\"", "\"\\\"x\\\\\\\"\""),
            ("line\nline", "\"line\\nline\""),
            ("\x1b[31m", "\"\\u{1b}[31m\""),
        ] {
            assert_eq!(
                lines(false, || tracing::info!(%value, "m")),
                format!(" INFO m value={told}\n"),
                "{value:?}"
            );
        }
        let list = ["127.0.0.1:1", "127.0.0.1:2"];
        let told = lines(false, || tracing::info!(name = ?"two words", list = %list.join(", "), "m"));
        assert_eq!(told, " INFO m name=\"two words\" list=\"127.0.0.1:1, 127.0.0.1:2\"\n");
    }

    #[test]
    fn fields_stand_before_the_further_lines_of_a_message_and_nothing_else_begins_a_line() {
        let told = lines(false, || tracing::trace!(transport = "UDP", "SIP sent\n  BYE sip:a\n  \n  b\x07"));
        assert_eq!(told, "TRACE SIP sent transport=\"UDP\"\n  BYE sip:a\n  \n  b\\u{7}\n");
        let told = lines(false, || tracing::info!("a\nb\rc\td \x1b[0m"));
        assert_eq!(told, " INFO a\\nb\\rc\td \\u{1b}[0m\n");
    }

    #[test]
    fn a_terminal_sees_colours_and_no_others_than_ours() {
        let told = lines(true, || tracing::error!(user = %"\x1b[31m", "failed \x1b[32m"));
        assert_eq!(told, "\x1b[31mERROR\x1b[0m failed \\u{1b}[32m \x1b[2muser=\x1b[0m\"\\u{1b}[31m\"\n");
    }
}
