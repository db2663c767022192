//! Messages as they pass the wire, for the log: at level trace and under a target of its own (`sipedge::sip::wire`), so
//! that it can be switched on alone. What proves who we are, and what media is encrypted with, is blotted out; numbers and
//! names are not, whatever `log.mask` says. While it is off, nothing is read or written for it.

mod blot;

use super::Flow;
use blot::without_secrets;
use std::fmt::Write as _;
use tracing::{Level, trace};

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
    let text = without_secrets(&String::from_utf8_lossy(bytes));
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.push_str("  ");
        for c in line.chars() {
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
