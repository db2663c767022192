//! Small lexical pieces that every SIP header shares (RFC 3261 §25.1). All run in time linear in their input.

use compact_str::CompactString;
use std::fmt::Write as _;

/// What is wrong with a text, in words fit for the reason phrase of a 400. It never carries input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// `token` of RFC 3261 §25.1.
pub(super) const fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric()
        || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

/// Whether the text is one token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// A value as text, with room from the start: `to_string` grows its text five times over for a header line.
pub(super) fn print(value: &impl std::fmt::Display) -> String {
    let mut out = String::with_capacity(128);
    // writing into a String cannot fail
    let _ = write!(out, "{value}");
    out
}

/// Spaces and tabs off both ends.
pub(super) fn trim(text: &str) -> &str {
    let is_blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    let bytes = text.as_bytes();
    if is_blank(bytes.first()) || is_blank(bytes.last()) { text.trim_matches([' ', '\t']) } else { text }
}

/// Splits at the first `separator`, an ASCII character, as `str::split_once` does in three times as many steps: the texts of
/// a header are short.
pub(super) fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|b| b == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Splits at `separator` where it stands outside quoted strings and angle brackets. Pieces are trimmed.
///
/// # Errors
/// A quoted string or bracket that never ends.
pub(super) fn split_outside(text: &str, separator: u8) -> Result<Vec<&str>, Malformed> {
    Pieces::new(text, separator).collect()
}

/// The first of those pieces.
///
/// # Errors
/// As of [`split_outside`], wherever it is.
pub(super) fn first_outside(text: &str, separator: u8) -> Result<&str, Malformed> {
    let mut pieces = Pieces::new(text, separator);
    let first = pieces.next().unwrap_or(Ok(""))?;
    pieces.try_for_each(|piece| piece.map(|_| ()))?;
    Ok(first)
}

/// The pieces of [`split_outside`], one after another; an error is the last one.
struct Pieces<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> Pieces<'a> {
    const fn new(text: &'a str, separator: u8) -> Self {
        Self { rest: Some(text), separator }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<&'a str, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        let mut bytes = text.bytes().enumerate();
        while let Some((at, b)) = bytes.next() {
            let is_whole = match b {
                b'"' => skip_quoted(&mut bytes),
                b'<' => bytes.any(|(_, b)| b == b'>'),
                _ if b == self.separator => {
                    self.rest = text.get(at + 1..);
                    return Some(Ok(trim(text.get(..at).unwrap_or_default())));
                }
                _ => true,
            };
            if !is_whole {
                return Some(Err(Malformed("Unbalanced Quotes")));
            }
        }
        Some(Ok(trim(text)))
    }
}

/// Goes on behind the end of a quoted string that has begun; false when it has none.
fn skip_quoted(bytes: &mut impl Iterator<Item = (usize, u8)>) -> bool {
    while let Some((_, b)) = bytes.next() {
        match b {
            b'\\' => _ = bytes.next(),
            b'"' => return true,
            _ => {}
        }
    }
    false
}

/// Reads a quoted string at the start: its text without escapes, and what follows it.
pub(super) fn take_quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut out = String::new();
    let mut chars = inner.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((out, inner.get(i + 1..)?)),
            '\\' => out.push(chars.next()?.1),
            other => out.push(other),
        }
    }
    None
}

/// A quoted string for this text; line ends become spaces, so nothing can leave the header.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_ascii_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of a parameter value: without quotes and escapes when it is a quoted string.
pub(super) fn unquote(raw: &str) -> String {
    take_quoted(raw).map_or_else(|| raw.to_owned(), |(text, _)| text)
}

/// `%41` → `A`; anything that is no escape stays. Bytes that are no UTF-8 are replaced.
pub(super) fn percent_decode(text: &str) -> String {
    if text.bytes().all(|b| b != b'%') {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        if let (b'%', [h, l, after @ ..]) = (b, tail)
            && let (Some(h), Some(l)) = (hex(*h), hex(*l))
        {
            out.push(h << 4 | l);
            rest = after;
        } else {
            out.push(b);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes every byte that `allowed` does not name.
pub(super) fn percent_encode(text: &str, allowed: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if allowed(b) {
            out.push(char::from(b));
        } else {
            // writing into a String cannot fail
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// One `name` or `name=value`; the value as it came, quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name, in the case it came in.
    pub name: CompactString,
    /// Raw value.
    pub value: Option<CompactString>,
}

/// Parameters in order (RFC 3261 §7.3.1). Names compare without case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<Param>);

impl Params {
    /// Parses `;a=b;c` (header parameters; spaces around separators allowed).
    ///
    /// # Errors
    /// Anything else.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Self::default());
        }
        let bad = Malformed("Bad Header Parameter");
        let text = text.strip_prefix(';').ok_or(bad)?;
        let mut out = Vec::new();
        for piece in Pieces::new(text, b';') {
            let piece = piece?;
            let (name, value) = match cut(piece, b'=') {
                Some((n, v)) => (trim(n), Some(trim(v))),
                None => (piece, None),
            };
            if !is_token(name) {
                return Err(bad);
            }
            if let Some(v) = value {
                let is_whole = if v.starts_with('"') {
                    take_quoted(v).is_some_and(|(_, rest)| rest.is_empty())
                } else {
                    !v.is_empty() && v.bytes().all(|b| b > b' ' && b != b'"' && b != 0x7f)
                };
                if !is_whole {
                    return Err(bad);
                }
            }
            out.push(Param { name: name.into(), value: value.map(Into::into) });
        }
        Ok(Self(out))
    }

    /// Parameters of a URI: no spaces, no quotes; empty pieces are skipped.
    pub(super) fn parse_uri(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let pieces = text.split(';').filter(|p| !p.is_empty());
        Self(
            pieces
                .map(|p| match cut(p, b'=') {
                    Some((n, v)) => Param { name: n.into(), value: Some(v.into()) },
                    None => Param { name: p.into(), value: None },
                })
                .collect(),
        )
    }

    /// The parameter, if there: `Some(None)` when it has no value.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Option<&str>> {
        self.0.iter().find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value.as_deref())
    }

    /// The raw value of a parameter.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.find(name).flatten()
    }

    /// The value of a parameter, quotes and escapes taken off.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name).map(unquote)
    }

    /// Whether the parameter is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets a parameter, in place of one of the same name. A value that is no token is quoted; a name that
    /// is none is ignored, so that nothing can be smuggled in.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        if !is_token(name) {
            return;
        }
        let plain = |v: &str| {
            !v.is_empty() && v.bytes().all(|b| is_token_byte(b) || matches!(b, b'[' | b']' | b':' | b'/'))
        };
        let value = value.map(|v| if plain(v) { v.into() } else { quote(v).into() });
        match self.0.iter_mut().find(|p| p.name.eq_ignore_ascii_case(name)) {
            Some(p) => p.value = value,
            None => self.0.push(Param { name: name.into(), value }),
        }
    }

    /// Takes a parameter away.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|p| !p.name.eq_ignore_ascii_case(name));
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Param> {
        self.0.iter()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Params {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|p| {
            f.write_str(";")?;
            f.write_str(&p.name)?;
            p.value.iter().try_for_each(|v| {
                f.write_str("=")?;
                f.write_str(v)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_quotes_and_brackets_alone() {
        let pieces = split_outside(r#""a, \"b" <sip:c,d@e>;x="1,2" , <sip:f>"#, b',').unwrap();
        assert_eq!(pieces, [r#""a, \"b" <sip:c,d@e>;x="1,2""#, "<sip:f>"]);
        assert!(split_outside("\"a, b", b',').is_err());
    }

    #[test]
    fn parameters_keep_order_quotes_and_names_without_value() {
        let p = Params::parse(" ; a = 1;LR; b=\"x;y\\\"\"").unwrap();
        assert_eq!(p.to_string(), ";a=1;LR;b=\"x;y\\\"\"");
        assert_eq!(p.text("B").as_deref(), Some("x;y\""));
        assert_eq!(p.find("lr"), Some(None));
        assert!(Params::parse(";;a").is_err() && Params::parse(";a=").is_err());
    }

    #[test]
    fn a_set_value_cannot_leave_its_parameter() {
        let mut p = Params::default();
        p.set("a", Some("x\r\nEvil: 1;b=\"c"));
        p.set("bad name", Some("1"));
        assert_eq!(p.to_string(), ";a=\"x  Evil: 1;b=\\\"c\"");
    }

    #[test]
    fn percent_escapes_decode_once() {
        assert_eq!(percent_decode("sips%3Auser%2540%"), "sips:user%40%");
        assert_eq!(percent_encode("a b%", |b| b.is_ascii_alphanumeric()), "a%20b%25");
    }
}
