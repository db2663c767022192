//! Log lines as JSON, one object a line: numbers are numbers, and lists of addresses are lists.

use serde_json::Value;
use std::fmt::{self, Debug, Write};
use std::net::SocketAddr;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format `"json"`.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Line::default();
        line.put("timestamp", &time.into());
        line.put("level", &event.metadata().level().as_str().into());
        event.record(&mut line);
        writeln!(out, "{}}}", line.0)
    }
}

/// An object whose closing brace is missing.
#[derive(Default)]
struct Line(String);

impl Line {
    fn put(&mut self, name: &str, value: &Value) {
        // fields of the `log` crate's records, which say where in its source a crate stands
        if name.starts_with("log.") {
            return;
        }
        let comma = if self.0.is_empty() { '{' } else { ',' };
        // writing into a String cannot fail
        let _ = write!(self.0, "{comma}{}:{value}", Value::from(name));
    }

    /// A whole number of more than 64 bits is text: readers of JSON would round it (RFC 8259 §6).
    fn put_large(&mut self, name: &str, small: Option<Value>, large: &dyn fmt::Display) {
        match small {
            Some(value) => self.put(name, &value),
            None => self.put(name, &large.to_string().into()),
        }
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), &value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put_large(field.name(), i64::try_from(value).ok().map(Value::from), &value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put_large(field.name(), u64::try_from(value).ok().map(Value::from), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        self.put(field.name(), &addresses(&text).unwrap_or_else(|| text.into()));
    }
}

/// A list of addresses, which reaches a log line as text only.
fn addresses(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    if inner.is_empty() {
        return Some(Value::Array(Vec::new()));
    }
    let is_address = |item: &str| item.parse::<SocketAddr>().is_ok();
    inner.split(", ").map(|item| is_address(item).then(|| Value::from(item))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kept::Kept;
    use super::*;

    #[test]
    fn numbers_are_numbers_lists_of_addresses_are_lists_and_the_rest_is_text() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(Json).with_writer(move || writer.clone()).finish();
        let listen: [SocketAddr; 2] = ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(
                setup_ms = 7_u128, talked_s = 4_u64, less = -1, half = 0.5, is = true, http = ?listen,
                none = ?&listen[..0], one = %listen[1], user = "a\"b\n", "call {}", "ended"
            );
        });
        let written = kept.text();
        assert!(written.ends_with("}\n") && written.lines().count() == 1, "{written}");
        let mut line: Value = serde_json::from_str(&written).unwrap();
        let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        let expected = serde_json::json!({
            "level": "WARN", "message": "call ended", "setup_ms": 7, "talked_s": 4, "less": -1, "half": 0.5,
            "is": true, "http": ["127.0.0.1:1", "[::1]:2"], "none": [], "one": "[::1]:2", "user": "a\"b\n",
        });
        assert_eq!(line, expected);
    }
}
