//! Text from outside, made safe to print.

use std::fmt;

/// Most bytes of foreign text that a log line or error carries.
pub const LOG_TEXT_LIMIT: usize = 200;

/// Prints at most [`LOG_TEXT_LIMIT`] bytes of a foreign text, control characters escaped.
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // what nearly all of it is: nothing to escape, nothing to leave out
        if self.0.len() < LOG_TEXT_LIMIT && self.0.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return f.write_str(self.0);
        }
        let mut room = LOG_TEXT_LIMIT.saturating_sub('…'.len_utf8());
        for c in self.0.chars() {
            let escaped = c.escape_debug();
            let printed: usize = if c == '"' || c == '\'' || c == '\\' {
                1
            } else {
                escaped.clone().map(char::len_utf8).sum()
            };
            if printed > room {
                return f.write_str("…");
            }
            room -= printed;
            if printed == 1 && !c.is_control() { write!(f, "{c}")? } else { write!(f, "{escaped}")? }
        }
        Ok(())
    }
}

/// Whether a character has no place in a name that is shown: a control character, or one that turns the direction of
/// the text after it (Unicode UAX #9, explicit formatting and implicit marks). With those a caller writes over the
/// words around the name.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_capped_and_keeps_no_control_character() {
        let long = "\u{1b}[31m\r\n".repeat(100);
        let shown = Excerpt(&long).to_string();
        assert!(shown.len() <= LOG_TEXT_LIMIT, "{}", shown.len());
        assert!(!shown.chars().any(char::is_control));
        assert_eq!(Excerpt("O\"Hara \\ é").to_string(), "O\"Hara \\ é");
        assert_eq!(Excerpt("O'Hara \\ \"~\"").to_string(), "O'Hara \\ \"~\"");
        assert_eq!(Excerpt("a\u{7f}\tb").to_string(), "a\\u{7f}\\tb");
        assert_eq!(Excerpt(&"a".repeat(300)).to_string().len(), LOG_TEXT_LIMIT);
    }
}
