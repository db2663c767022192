//! Messages as they pass the wire, for the log: at level trace and under a target of its own (`sipedge::sip::wire`), so
//! that it can be switched on alone. What proves who we are, and what media is encrypted with, is blotted out; numbers and
//! names are not, whatever `log.mask` says. While it is off, nothing is read or written for it.

use super::Flow;
use std::borrow::Cow;
use std::fmt::Write as _;
use tracing::{Level, trace};

/// What stands in place of a secret.
const BLOT: &str = "…";

/// A message came.
pub(super) fn received(flow: &Flow, bytes: &[u8]) {
    log(flow, bytes, "SIP received");
}

/// A message goes.
pub(super) fn sent(flow: &Flow, bytes: &[u8]) {
    log(flow, bytes, "SIP sent");
}

fn log(flow: &Flow, bytes: &[u8], what: &'static str) {
    if !tracing::enabled!(Level::TRACE) {
        return;
    }
    // keep-alives of a stream (RFC 5626 §3.5.1)
    if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return;
    }
    let (local, remote) = (flow.path.local, flow.path.remote);
    trace!(transport = flow.transport.as_str(), %local, %remote, "{what}\n{}", shown(bytes));
}

/// The text of a message: lines are indented, so that none can pass for another line of the log.
fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let (mut is_body, mut is_login) = (false, false);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        is_body |= line.is_empty();
        let shown = if is_body { without_keys(line) } else { without_login(line, &mut is_login) };
        out.push_str("  ");
        for c in shown.chars() {
            if c.is_control() && c != '\t' {
                // writing into a String cannot fail
                let _ = write!(out, "{}", c.escape_debug());
            } else {
                out.push(c);
            }
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out
}

/// A line of the head; `is_login`: the line before was of credentials, which this one may go on with.
fn without_login<'a>(line: &'a str, is_login: &mut bool) -> Cow<'a, str> {
    let name = line.split(':').next().unwrap_or_default().trim();
    let is_name = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let begins = is_name("Authorization") || is_name("Proxy-Authorization");
    *is_login = begins || (*is_login && line.starts_with([' ', '\t']));
    if !*is_login {
        return Cow::Borrowed(line);
    }
    let value = line.split_once(':').map_or(line, |(_, value)| value).trim_start();
    let scheme = value.split([' ', '\t']).next().unwrap_or_default();
    if begins && !scheme.eq_ignore_ascii_case("Digest") {
        // of another scheme all of it may be the secret
        return Cow::Owned(format!("{name}: {scheme} {BLOT}"));
    }
    blot(line, "response", &['='], |c| matches!(c, ',' | '\t' | ' '))
}

/// A line of the body (RFC 4568 §9.1, RFC 8839 §5.4).
fn without_keys(line: &str) -> Cow<'_, str> {
    let is = |attribute: &str| line.get(..attribute.len()).is_some_and(|a| a.eq_ignore_ascii_case(attribute));
    if is("a=crypto:") {
        blot(line, "inline", &[':'], |c| matches!(c, '|' | ';' | ' ' | '\t'))
    } else if is("a=ice-pwd:") {
        Cow::Owned(format!("a=ice-pwd:{BLOT}"))
    } else {
        Cow::Borrowed(line)
    }
}

/// Blots out each value that follows a word and a sign, quoted or up to an end.
fn blot<'a>(line: &'a str, word: &str, sign: &[char], is_end: impl Fn(char) -> bool) -> Cow<'a, str> {
    let lower = line.to_ascii_lowercase();
    let mut out = String::new();
    let mut done = 0;
    while let Some(at) = lower.get(done..).and_then(|rest| rest.find(word)).map(|at| done + at) {
        let after = at + word.len();
        let is_whole =
            !lower.get(..at).is_some_and(|before| before.ends_with(|c: char| c.is_ascii_alphanumeric()));
        let rest = line.get(after..).unwrap_or_default();
        let value = rest.trim_start().strip_prefix(sign).map(str::trim_start).filter(|_| is_whole);
        let Some(value) = value else {
            out.push_str(line.get(done..after).unwrap_or_default());
            done = after;
            continue;
        };
        let begin = line.len() - value.len();
        let quoted = value.strip_prefix('"');
        let length = match quoted {
            // up to its closing quote, or to the end
            Some(inner) => inner.find('"').map_or(value.len(), |end| end + 2),
            None => value.find(&is_end).unwrap_or(value.len()),
        };
        out.push_str(line.get(done..begin).unwrap_or_default());
        out.push_str(if quoted.is_some() { "\"…\"" } else { BLOT });
        done = begin + length;
    }
    if done == 0 {
        return Cow::Borrowed(line);
    }
    out.push_str(line.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_answer_to_a_challenge_is_blotted_out() {
        let message = "REGISTER sip:a SIP/2.0\r\n\
            Authorization: Digest username=\"u\", response=\"6629fae4\", cnonce=\"c\"\r\n\
            proxy-authorization : digest realm=\"r\",\r\n\
            \x20 RESPONSE = 6629fae4,qop=auth\r\n\
            Subject: response=\"kept\"\r\n\
            Authorization: Basic QWxhZGRpbg==\r\n\r\n";
        let lines: Vec<String> = shown(message.as_bytes()).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "  REGISTER sip:a SIP/2.0",
                "  Authorization: Digest username=\"u\", response=\"…\", cnonce=\"c\"",
                "  proxy-authorization : digest realm=\"r\",",
                "    RESPONSE = …,qop=auth",
                "  Subject: response=\"kept\"",
                "  Authorization: Basic …",
            ]
        );
    }

    #[test]
    fn keys_of_media_are_blotted_out_rfc_4568_9_1() {
        let message = "INVITE sip:a SIP/2.0\r\n\r\nv=0\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3|2^20|1:4;inline:QUJD|1 FEC_ORDER=FEC_SRTP\r\n\
            a=crypto:2 AES_CM_128_HMAC_SHA1_32 INLINE:d0RmdmcmVCspeEc3\r\n\
            a=ice-pwd:asd88fgpdd777uzjYhagZg\r\na=rtpmap:0 PCMU/8000\r\n";
        let lines: Vec<String> = shown(message.as_bytes()).lines().skip(3).map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "  a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:…|2^20|1:4;inline:…|1 FEC_ORDER=FEC_SRTP",
                "  a=crypto:2 AES_CM_128_HMAC_SHA1_32 INLINE:…",
                "  a=ice-pwd:…",
                "  a=rtpmap:0 PCMU/8000",
            ]
        );
    }

    #[test]
    fn a_message_can_pass_for_no_other_line_of_the_log() {
        let shown = shown(b"OPTIONS sip:a SIP/2.0\r\nX: \x1b[31m\xff\n2026-01-01 WARN all is lost\r\n\r\n\0");
        assert_eq!(
            shown,
            "  OPTIONS sip:a SIP/2.0\n  X: \\u{1b}[31m\u{fffd}\n  2026-01-01 WARN all is lost\n  \n  \\0"
        );
    }

    /// Where a test's log goes.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str) -> String {
        let (page, flow) = (Page::default(), Flow::udp(at(5080), at(5060)));
        let to = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || to.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            received(&flow, b"BYE sip:a SIP/2.0\r\n\r\n");
            sent(&flow, b"\r\n\r\n");
        });
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    fn at(port: u16) -> std::net::SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn it_is_switched_on_alone() {
        let one = logged("info,sipedge::sip::wire=trace");
        let line = one.trim();
        assert!(line.starts_with("TRACE SIP received\n  BYE sip:a SIP/2.0 "), "{line}");
        assert!(line.contains("transport=\"UDP\" local=192.0.2.1:5080 remote=192.0.2.1:5060"), "{line}");
        assert_eq!(logged("info"), "");
        assert_eq!(logged("debug,sipedge::sip=debug"), "");
    }
}
