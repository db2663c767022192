//! Messages out of a byte stream (RFC 3261 §18.3) and the line ends between them (RFC 5626 §3.5.1).
//!
//! Drive it: [`Framer::push`] what was read, then [`Framer::poll_frame`] until it has nothing more. It finds where a
//! message ends and nothing else; [`super::parse`] reads it, by the same rules for lines. A stream whose frame
//! is broken cannot be read on: the error holds what to answer, and the connection is to be closed. Time is
//! linear in the bytes, however they are cut; what is buffered is bounded by [`Limits`].

use super::StatusCode;
use super::lex::Malformed;
use super::message::{Limits, Message, ParseError, announced_body, parse};
use bytes::{Buf, Bytes, BytesMut};

/// Something whole out of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One message.
    Message(Bytes),
    /// Two line ends between messages: answer with [`PONG`].
    Ping,
}

/// The answer to [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";

/// The machine.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: BytesMut,
    /// Bytes of the header section that hold no empty line.
    scanned: usize,
    /// Where the line begins that is being looked at.
    line: usize,
    /// Length of the message, once its header section is whole.
    needed: Option<usize>,
    line_ends: u32,
    is_broken: bool,
}

impl Framer {
    /// A stream from its begin.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            buffer: BytesMut::new(),
            scanned: 0,
            line: 0,
            needed: None,
            line_ends: 0,
            is_broken: false,
        }
    }

    /// Bytes that were read; take out what is whole before the next ones.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a part of a message is waiting for the rest.
    #[must_use]
    pub fn is_midway(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole thing; none until more bytes come.
    ///
    /// # Errors
    /// What breaks the frame. Nothing more comes out after it.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, ParseError> {
        if self.skip_line_ends() {
            return Ok(Some(Frame::Ping));
        }
        if self.needed.is_none() {
            self.find_end().inspect_err(|_| self.break_off())?;
        }
        let Some(needed) = self.needed.filter(|n| *n <= self.buffer.len()) else { return Ok(None) };
        (self.scanned, self.line, self.needed) = (0, 0, None);
        Ok(Some(Frame::Message(self.buffer.split_to(needed).freeze())))
    }

    /// Takes line ends off the front of a message; true at every second one in a row.
    fn skip_line_ends(&mut self) -> bool {
        while self.scanned == 0 {
            match (self.buffer.first(), self.buffer.get(1)) {
                (Some(b'\r'), Some(b'\n')) => {
                    self.buffer.advance(2);
                    self.line_ends += 1;
                }
                // a lone one is none that asks for anything (RFC 3261 §7.5)
                (Some(b'\n'), _) => self.buffer.advance(1),
                (None, _) | (Some(b'\r'), None) => return false,
                _ => {
                    self.line_ends = 0;
                    return false;
                }
            }
            if self.line_ends == 2 {
                self.line_ends = 0;
                return true;
            }
        }
        false
    }

    /// Looks on for the empty line, and for the length behind it.
    fn find_end(&mut self) -> Result<(), ParseError> {
        if matches!(*self.buffer, [] | [b'\r']) {
            return Ok(());
        }
        while let Some(tail) = self.buffer.get(self.scanned..) {
            let Some(end) = tail.iter().position(|b| *b == b'\n').map(|at| self.scanned + at) else {
                self.scanned = self.buffer.len();
                break;
            };
            let is_empty = matches!(self.buffer.get(self.line..end), Some([] | [b'\r']));
            (self.scanned, self.line) = (end + 1, end + 1);
            if is_empty {
                return self.measure();
            }
        }
        if self.scanned > self.limits.header_section {
            return Err(self.refusal("Header Section Too Large", StatusCode::MESSAGE_TOO_LARGE));
        }
        Ok(())
    }

    /// The header section is whole: how long is the message?
    fn measure(&mut self) -> Result<(), ParseError> {
        let too_large = StatusCode::MESSAGE_TOO_LARGE;
        if self.scanned > self.limits.header_section {
            return Err(self.refusal("Header Section Too Large", too_large));
        }
        let head = self.buffer.get(..self.scanned).unwrap_or_default();
        match announced_body(head, &self.limits) {
            Ok(Some(body)) if body > self.limits.body => Err(self.refusal("Body Too Large", too_large)),
            Ok(Some(body)) if self.scanned + body > self.limits.message => {
                Err(self.refusal("Message Too Large", too_large))
            }
            Ok(Some(body)) => {
                self.needed = Some(self.scanned + body);
                Ok(())
            }
            // a stream has no other way to say where a message ends (RFC 3261 §20.14)
            Ok(None) => Err(self.refusal("Missing Content-Length", StatusCode::BAD_REQUEST)),
            Err(Malformed(why)) => Err(self.refusal(why, StatusCode::BAD_REQUEST)),
        }
    }

    /// What to answer: the request as far as it can be read.
    fn refusal(&self, why: &'static str, status: StatusCode) -> ParseError {
        let head = self.buffer.get(..self.scanned).unwrap_or_default();
        let request = match parse(head, &self.limits) {
            Ok(Message::Request(request)) => Some(Box::new(request)),
            Ok(Message::Response(_)) => None,
            Err(error) => error.request,
        };
        ParseError { fault: Malformed(why), status, request }
    }

    fn break_off(&mut self) {
        self.is_broken = true;
        self.buffer = BytesMut::new();
        self.scanned = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Seed;
    use std::time::Instant;

    fn message(method: &str, body: &str) -> String {
        format!(
            "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.4;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:b@c>\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nl: {}\r\n\r\n{body}",
            body.len()
        )
    }

    /// What comes out of these bytes, cut into pieces of these lengths.
    fn frames(bytes: &[u8], mut piece: impl FnMut() -> usize) -> Vec<Result<Frame, (&'static str, u16)>> {
        let mut framer = Framer::new(Limits::TCP);
        let mut out = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            rest = later;
            framer.push(now);
            loop {
                match framer.poll_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => out.push(Ok(frame)),
                    Err(e) => out.push(Err((e.fault.0, e.status.code()))),
                }
            }
            assert!(framer.buffer.len() <= Limits::TCP.message + now.len());
        }
        out
    }

    #[test]
    fn messages_come_out_whole_however_the_stream_is_cut_rfc_3261_18_3() {
        let texts =
            [message("INVITE", "v=0\r\n\r\nx"), message("BYE", ""), message("OPTIONS", "\r\n\r\n\r\n")];
        let stream = texts.concat();
        let expected: Vec<_> = texts.iter().map(|t| Ok(Frame::Message(Bytes::from(t.clone())))).collect();
        for piece in [1, 2, 3, 7, 64, 10_000] {
            assert_eq!(frames(stream.as_bytes(), || piece), expected, "{piece}");
        }
    }

    #[test]
    fn two_line_ends_between_messages_are_a_ping_and_one_is_nothing_rfc_5626_3_5_1() {
        let m = message("BYE", "");
        let whole = || Ok(Frame::Message(Bytes::from(m.clone())));
        let (one, two) = (format!("\r\n{m}\r\n{m}"), format!("\r\n\r\n{m}\r\n\r\n\r\n\r\n"));
        for piece in [1, 3, 10_000] {
            assert_eq!(frames(one.as_bytes(), || piece), [whole(), whole()]);
            let ping = || Ok(Frame::Ping);
            assert_eq!(frames(two.as_bytes(), || piece), [ping(), whole(), ping(), ping()]);
        }
    }

    #[test]
    fn a_broken_frame_ends_the_stream_with_an_answer() {
        let m = message("INVITE", "");
        let long = "a".repeat(Limits::TCP.header_section);
        for (text, fault) in [
            (m.replace("l: 0\r\n", ""), ("Missing Content-Length", 400)),
            (m.replace("l: 0", "l: x"), ("Bad Content-Length", 400)),
            (m.replace("l: 0", "l: -1"), ("Bad Content-Length", 400)),
            (m.replace("l: 0", "l: 0\r\nl: 4"), ("Bad Content-Length", 400)),
            (m.replace("l: 0", "l: 1\r\n 2"), ("Bad Content-Length", 400)),
            (m.replace("l: 0", "l: 49153"), ("Body Too Large", 513)),
            (m.replace("l: 0", &format!("X: {long}\r\nl: 0")), ("Header Section Too Large", 513)),
            (m.replace("l: 0\r\n", &format!("X: {long}")), ("Header Section Too Large", 513)),
            (m.replace("l: 0", &"l: 0\r\n".repeat(70)), ("Bad Content-Length", 400)),
        ] {
            for piece in [1, 10_000] {
                let found = frames(format!("{text}{m}").as_bytes(), || piece);
                assert_eq!(found, [Err(fault)], "{text}");
            }
            let mut framer = Framer::new(Limits::TCP);
            framer.push(text.as_bytes());
            let request = framer.poll_frame().unwrap_err().request.expect("it can be answered");
            assert!(request.headers.top_via().is_ok());
        }
        assert!(!frames(b"\x16\x03\x01hello", || 1).iter().any(Result::is_ok));
    }

    #[test]
    fn a_bad_line_that_leaves_the_length_sure_is_the_endpoints_matter() {
        let m = message("INVITE", "body").replace("To: ", "To ");
        assert_eq!(frames(m.as_bytes(), || 5), [Ok(Frame::Message(Bytes::from(m.clone())))]);
    }

    #[test]
    fn mutations_never_panic_and_mean_the_same_however_they_are_cut() {
        let stream = [message("INVITE", "v=0\r\n"), "\r\n\r\n".into(), message("BYE", "")].concat();
        let mut seed = Seed::from_number(18);
        let spice = b"\r\n\0 :;l0123456789\xff";
        for _ in 0..3_000 {
            let mut bytes = stream.clone().into_bytes();
            for _ in 0..=seed.below(6) {
                let at = usize::try_from(seed.below(bytes.len() as u64)).unwrap();
                let byte = spice[usize::try_from(seed.below(spice.len() as u64)).unwrap()];
                match seed.below(3) {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            let whole = frames(&bytes, || usize::MAX);
            assert_eq!(frames(&bytes, || 1), whole, "{}", bytes.escape_ascii());
            let mut cut = seed.fork();
            assert_eq!(frames(&bytes, || usize::try_from(cut.below(40)).unwrap()), whole);
            for frame in whole.into_iter().flatten() {
                // nothing hides behind a message: the parser sees the same end
                if let Frame::Message(m) = frame
                    && let Ok(read) = parse(&m, &Limits::TCP)
                {
                    let body = match read {
                        Message::Request(r) => r.body,
                        Message::Response(r) => r.body,
                    };
                    assert!(m.ends_with(&body));
                }
            }
        }
    }

    #[test]
    fn time_is_linear_in_the_bytes_even_one_by_one() {
        let cost = |size: usize| {
            let text = message("INVITE", "").replace("l: 0", &format!("X: {}\r\nl: 0", "a".repeat(size)));
            let stream = text.repeat(240_000 / text.len());
            let per_byte = || {
                let start = Instant::now();
                assert!(!frames(stream.as_bytes(), || 1).is_empty());
                start.elapsed().as_secs_f64() / stream.len() as f64
            };
            (0..3).map(|_| per_byte()).fold(f64::MAX, f64::min)
        };
        // 60 times as long a message may cost no more for each byte, generously
        let ratio = cost(12_000) / cost(200);
        assert!(ratio < 4.0, "{ratio}");
    }
}
