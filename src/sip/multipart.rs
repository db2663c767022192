//! Bodies of several parts (RFC 2046 §5.1, RFC 5621): finds the session description among them.
//!
//! Carriers and other PBXs put things beside it: ISUP (RFC 3204), the caller's location (RFC 6442), recording metadata
//! (RFC 7866). What we do not know is left alone, unless its sender says that it must be understood. RFC 5621 §8.2
//! not followed: a part that says nothing of its handling would have to be understood too, and calls that can be
//! served would be refused for the sake of a courtesy. Time is linear in the body; parts and nesting are bounded.
//! Left out: Content-ID references, transfer encodings of parts (RFC 3261 §7.4 has none).

use super::answer::ACCEPT;
use super::lex::{Params, trim};
use bytes::Bytes;

/// Most parts that are looked at.
const MAX_PARTS: usize = 16;
/// Bodies within bodies.
const MAX_DEPTH: usize = 3;
/// Longest boundary (RFC 2046 §5.1.1).
const MAX_BOUNDARY: usize = 70;

/// What a body of several parts holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// The session description, when there is one that can be used.
    pub(super) sdp: Option<Bytes>,
    /// Something that is not understood has to be.
    pub(super) is_refused: bool,
}

/// Reads a body by its Content-Type; none when that is of no multipart.
pub(super) fn read(content_type: &str, body: &Bytes) -> Option<Parts> {
    read_nested(content_type, body, MAX_DEPTH)
}

fn read_nested(content_type: &str, body: &Bytes, depth: usize) -> Option<Parts> {
    let (kind, params) = match content_type.find(';').and_then(|at| content_type.split_at_checked(at)) {
        Some(split) => split,
        None => (content_type, ""),
    };
    let kind = trim(kind).to_ascii_lowercase();
    let subtype = kind.strip_prefix("multipart/")?;
    let boundary = Params::parse(params).ok().and_then(|p| p.text("boundary"));
    let boundary = boundary.filter(|b| (1..=MAX_BOUNDARY).contains(&b.len()));
    let (Some(boundary), true) = (boundary, depth > 0) else {
        return Some(Parts { sdp: None, is_refused: true });
    };
    let mut found = Parts::default();
    let mut is_anything_needed = false;
    for part in split(body, boundary.as_bytes()) {
        let part = Part::parse(&part);
        if let Some(inner) = read_nested(&part.content_type, &part.body, depth - 1) {
            found.is_refused |= inner.is_refused && part.is_required();
            is_anything_needed |= inner.sdp.is_none() && !part.is_optional();
            keep(&mut found.sdp, inner.sdp, subtype);
        } else if part.is_session() {
            keep(&mut found.sdp, Some(part.body), subtype);
        } else {
            found.is_refused |= part.is_required();
            is_anything_needed |= !part.is_optional();
        }
    }
    // a body is to be understood unless it says otherwise (RFC 3261 §20.11): here nothing of it was
    found.is_refused |= found.sdp.is_none() && is_anything_needed;
    Some(found)
}

/// The first counts, but of alternatives the last: that is the sender's best (RFC 2046 §5.1.4).
fn keep(sdp: &mut Option<Bytes>, next: Option<Bytes>, subtype: &str) {
    if next.is_some() && (sdp.is_none() || subtype == "alternative") {
        *sdp = next;
    }
}

/// The parts between the lines of the boundary (RFC 2046 §5.1.1). One without an end goes to the end of the body.
fn split(body: &Bytes, boundary: &[u8]) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut part: Option<usize> = None;
    let mut at = 0;
    while let Some(rest) = body.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |end| end + 1);
        let line = rest.get(..length).unwrap_or_default();
        let tail =
            line.strip_prefix(b"--").and_then(|l| l.strip_prefix(boundary)).map(<[u8]>::trim_ascii_end);
        let is_last = tail == Some(b"--".as_slice());
        if is_last || tail == Some(b"".as_slice()) {
            // the line end before a boundary belongs to the boundary
            parts.extend(part.map(|from| body.slice(from..without_line_end(body, from, at))));
            if is_last || parts.len() >= MAX_PARTS {
                return parts;
            }
            part = Some(at + length);
        }
        at += length;
    }
    parts.extend(part.filter(|from| *from < body.len()).map(|from| body.slice(from..)));
    parts
}

fn without_line_end(body: &[u8], from: usize, to: usize) -> usize {
    let part = body.get(from..to).unwrap_or_default();
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    from + part.strip_suffix(b"\r").unwrap_or(part).len()
}

/// One part.
struct Part {
    content_type: String,
    /// Without spaces, in lower case.
    disposition: String,
    is_encoded: bool,
    body: Bytes,
}

impl Part {
    /// Header lines up to an empty one, and the body; without any the part is plain text (RFC 2046 §5.1).
    fn parse(part: &Bytes) -> Self {
        let mut lines: Vec<String> = Vec::new();
        let mut at = 0;
        while let Some(rest) = part.get(at..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |end| end + 1);
            let line = String::from_utf8_lossy(rest.get(..length).unwrap_or_default()).into_owned();
            at += length;
            match lines.last_mut().filter(|_| line.starts_with([' ', '\t'])) {
                Some(last) => last.push_str(&line),
                None if line.trim_end().is_empty() => break,
                None => lines.push(line),
            }
        }
        let find = |name: &str| {
            let is_named =
                |l: &&String| l.split_once(':').is_some_and(|(n, _)| trim(n).eq_ignore_ascii_case(name));
            let value = lines.iter().find(is_named).and_then(|l| l.split_once(':')).map_or("", |(_, v)| v);
            value.trim().replace(['\r', '\n'], "")
        };
        let is_plain = |value: String, plain: &[&str]| plain.iter().any(|p| p.eq_ignore_ascii_case(&value));
        Self {
            content_type: find("Content-Type"),
            disposition: find("Content-Disposition").to_ascii_lowercase().replace([' ', '\t'], ""),
            is_encoded: !is_plain(find("Content-Transfer-Encoding"), &["", "7bit", "8bit", "binary"])
                || !is_plain(find("Content-Encoding"), &["", "identity"]),
            body: part.slice(at.min(part.len())..),
        }
    }

    /// Whether it is the description of the session, and not of an early one (RFC 3959 §4).
    fn is_session(&self) -> bool {
        let kind = self.content_type.split(';').next().unwrap_or_default();
        let purpose = self.disposition.split(';').next().unwrap_or_default();
        trim(kind).eq_ignore_ascii_case(ACCEPT) && !self.is_encoded && purpose != "early-session"
    }

    fn is_required(&self) -> bool {
        self.disposition.contains("handling=required")
    }

    fn is_optional(&self) -> bool {
        self.disposition.contains("handling=optional")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\n";
    const MIXED: &str = "multipart/mixed;boundary=\"b 1\"";

    /// A body of these parts, each with its header lines.
    fn body(boundary: &str, parts: &[(&str, &str)]) -> String {
        let part = |(lines, text): &(&str, &str)| format!("--{boundary}\r\n{lines}\r\n\r\n{text}\r\n");
        parts.iter().map(part).collect::<String>() + &format!("--{boundary}--\r\n")
    }

    fn found(content_type: &str, body: String) -> (Option<String>, bool) {
        let parts = read(content_type, &body.into()).unwrap();
        (parts.sdp.map(|sdp| String::from_utf8(sdp.to_vec()).unwrap()), parts.is_refused)
    }

    #[test]
    fn the_description_is_found_beside_what_nobody_has_to_understand_rfc_5621_3_1() {
        let isup = (
            "Content-Type: application/isup; version=itu-t92+\r\nContent-Disposition: signal; handling = optional",
            "\u{1}\u{2}",
        );
        let silent = ("Content-Type: application/pidf+xml\r\nContent-ID: <a@b>", "<presence/>");
        let sdp = ("content-type : Application/SDP", SDP);
        for parts in [vec![sdp], vec![isup, sdp], vec![sdp, isup, silent], vec![("", "text"), sdp]] {
            assert_eq!(found(MIXED, body("b 1", &parts)), (Some(SDP.into()), false), "{parts:?}");
        }
        // line feeds alone, text before the first and after the last boundary, spaces behind a boundary
        let loose =
            format!("before\n--b 1  \ncontent-type:application/sdp\n\n{SDP}\n--b 1--\t\nafter\n--b 1\n\nx");
        assert_eq!(found(MIXED, loose), (Some(SDP.into()), false));
        assert_eq!(
            found("multipart/related;type=a;boundary=x", body("x", &[sdp])),
            (Some(SDP.into()), false)
        );
    }

    #[test]
    fn what_has_to_be_understood_and_is_not_refuses_the_body_rfc_3261_8_2_3() {
        let required =
            ("Content-Type: application/isup\r\nContent-Disposition: signal;handling=required", "x");
        let sdp = ("Content-Type: application/sdp", SDP);
        assert_eq!(found(MIXED, body("b 1", &[sdp, required])), (Some(SDP.into()), true));
        assert_eq!(found(MIXED, body("b 1", &[("Content-Type: text/plain", "hi")])), (None, true));
        let optional = ("Content-Type: text/plain\r\nContent-Disposition: render;handling=optional", "hi");
        assert_eq!(found(MIXED, body("b 1", &[optional])), (None, false));
        let encoded = ("Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64", "dj0w");
        assert_eq!(found(MIXED, body("b 1", &[encoded])), (None, true));
        for broken in ["multipart/mixed", "multipart/mixed;boundary=\"\"", "multipart/mixed;boundary=\"x"] {
            assert_eq!(found(broken, body("", &[sdp])), (None, true), "{broken}");
        }
        assert_eq!(read("application/sdp", &Bytes::from(SDP)), None);
    }

    #[test]
    fn of_alternatives_the_last_counts_and_an_early_session_is_none_rfc_2046_5_1_4_and_rfc_3959_4() {
        let other = "v=0\r\no=- 2 2 IN IP4 192.0.2.2\r\n";
        let two = [("Content-Type: application/sdp", SDP), ("Content-Type: application/sdp", other)];
        assert_eq!(found("multipart/alternative;boundary=x", body("x", &two)).0.as_deref(), Some(other));
        assert_eq!(found("multipart/mixed;boundary=x", body("x", &two)).0.as_deref(), Some(SDP));
        let early =
            ("Content-Type: application/sdp\r\nContent-Disposition: early-session;handling=optional", other);
        assert_eq!(found("multipart/mixed;boundary=x", body("x", &[early, two[0]])).0.as_deref(), Some(SDP));
        let inner = body("y", &two);
        let nested = [("Content-Type: multipart/alternative;\r\n boundary=y", inner.as_str())];
        assert_eq!(found("multipart/mixed;boundary=x", body("x", &nested)), (Some(other.into()), false));
    }

    #[test]
    fn depth_and_number_of_parts_are_bounded() {
        let mut text = SDP.to_owned();
        let mut kind = "application/sdp".to_owned();
        for level in 0..MAX_DEPTH {
            text = body(&format!("b{level}"), &[(&format!("Content-Type: {kind}"), &text)]);
            kind = format!("multipart/mixed;boundary=b{level}");
        }
        assert_eq!(found(&kind, text.clone()), (Some(SDP.into()), false));
        let deeper = body("z", &[(&format!("Content-Type: {kind}"), &text)]);
        assert_eq!(found("multipart/mixed;boundary=z", deeper).0, None);
        let mut many = vec![("Content-Disposition: render;handling=optional", "x"); MAX_PARTS];
        many.push(("Content-Type: application/sdp", SDP));
        assert_eq!(found("multipart/mixed;boundary=x", body("x", &many)), (None, false));
    }

    #[test]
    fn no_mutation_panics() {
        let mut seed = crate::base::Seed::from_number(2046);
        let whole =
            body("b 1", &[("Content-Type: application/sdp", SDP), ("Content-Type: a/b", "x")]).into_bytes();
        for _ in 0..20_000 {
            let mut text = whole.clone();
            for _ in 0..4 {
                let at = usize::try_from(seed.below(text.len() as u64)).unwrap();
                match seed.below(3) {
                    0 if text.len() > 1 => drop(text.remove(at)),
                    1 => text.insert(at, b"\r\n-: b"[usize::try_from(seed.below(6)).unwrap()]),
                    _ => text.truncate(at.max(1)),
                }
            }
            let parts = read(MIXED, &text.into()).unwrap();
            assert!(parts.sdp.is_none_or(|sdp| sdp.len() <= whole.len()));
        }
    }
}
