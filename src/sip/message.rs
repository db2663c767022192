//! SIP messages: bytes ↔ [`Request`] and [`Response`] (RFC 3261 §7, §25).
//!
//! [`parse`] reads one datagram, or one message of a stream ([`super::frame`]), under [`Limits`] in time linear in its size. It checks the frame (start line,
//! header lines, Content-Length) and keeps header values as unfolded text, in order, unknown ones too;
//! [`Request::essentials`] checks the headers every request must have. A request whose frame is broken comes
//! back inside the error, so that a 400 can be built; errors carry words of ours, never input.
//! Left out: message/sip bodies and multipart (see [`super::multipart`]) are opaque bytes here.

use super::header::{Header, HeaderName, Headers};
use super::lex::{Malformed, is_token, print};
use super::uri::Uri;
use super::value::{CSeq, NameAddr, Via};
use super::{Method, StatusCode, Transport};
use bytes::Bytes;
use compact_str::CompactString;
use std::borrow::Cow;
use std::collections::HashMap;

/// Bounds of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whole message, in bytes.
    pub message: usize,
    /// Start line and header lines, in bytes.
    pub header_section: usize,
    /// Lines of one name.
    pub lines_of_a_kind: usize,
    /// Body, in bytes.
    pub body: usize,
}

impl Limits {
    /// For a datagram.
    pub const UDP: Self =
        Self { message: 24 * 1024, header_section: 8 * 1024, lines_of_a_kind: 64, body: 16 * 1024 };
    /// For a message of a stream.
    pub const TCP: Self =
        Self { message: 64 * 1024, header_section: 16 * 1024, lines_of_a_kind: 64, body: 48 * 1024 };
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Request-URI.
    pub uri: Uri,
    /// Headers without Content-Length, which is printed from the body.
    pub headers: Headers,
    /// Body.
    pub body: Bytes,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: StatusCode,
    /// Reason phrase, as written.
    pub phrase: String,
    /// Headers without Content-Length, which is printed from the body.
    pub headers: Headers,
    /// Body.
    pub body: Bytes,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// Why bytes are no message that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong: a phrase for the answer.
    pub fault: Malformed,
    /// The code of the answer.
    pub status: StatusCode,
    /// The request as far as it could be read, when it can be answered.
    pub request: Option<Box<Request>>,
}

/// What every request must have (RFC 3261 §8.1.1), read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Essentials {
    /// Topmost Via.
    pub via: Via,
    /// From.
    pub from: NameAddr,
    /// To.
    pub to: NameAddr,
    /// Call-ID.
    pub call_id: String,
    /// CSeq.
    pub cseq: CSeq,
}

fn essentials(headers: &Headers) -> Result<Essentials, Malformed> {
    for (name, word) in [
        (HeaderName::From, "Repeated From"),
        (HeaderName::To, "Repeated To"),
        (HeaderName::CallId, "Repeated Call-ID"),
        (HeaderName::CSeq, "Repeated CSeq"),
        (HeaderName::MaxForwards, "Repeated Max-Forwards"),
    ] {
        if headers.count(&name) > 1 {
            return Err(Malformed(word));
        }
    }
    Ok(Essentials {
        via: headers.top_via()?,
        from: headers.from()?,
        to: headers.to()?,
        call_id: headers.call_id()?.to_owned(),
        cseq: headers.cseq()?,
    })
}

impl Request {
    /// A request without headers.
    #[must_use]
    pub fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: Headers::default(), body: Bytes::new() }
    }

    /// The headers a request must have; Max-Forwards may be missing (RFC 2543 peers leave it out) but not
    /// malformed, and CSeq must name the method (RFC 3261 §8.1.1.5).
    ///
    /// # Errors
    /// What is missing, malformed or there twice.
    pub fn essentials(&self) -> Result<Essentials, Malformed> {
        let e = essentials(&self.headers)?;
        self.headers.max_forwards()?;
        if e.cseq.method != self.method {
            return Err(Malformed("CSeq Method Mismatch"));
        }
        Ok(e)
    }

    /// A response with the headers of RFC 3261 §8.2.6.2 copied as they came. To gets `to_tag` when it has no
    /// tag and the response is not 100.
    #[must_use]
    pub fn response(&self, status: StatusCode, to_tag: Option<&str>) -> Response {
        let mut headers = Headers::default();
        for h in self.headers.iter() {
            match h.name() {
                HeaderName::Via | HeaderName::From | HeaderName::CallId | HeaderName::CSeq => {
                    headers.push_header(h.clone());
                }
                // RFC 3261 §8.2.6.1
                HeaderName::Timestamp if status == StatusCode::TRYING => headers.push_header(h.clone()),
                HeaderName::To => {
                    let has_tag = NameAddr::parse(h.value()).is_ok_and(|to| to.tag().is_some());
                    match to_tag {
                        Some(tag) if !has_tag && status != StatusCode::TRYING => {
                            let value = format!("{};tag={tag}", h.value());
                            headers.push_header(Header::received(HeaderName::To, value));
                        }
                        _ => headers.push_header(h.clone()),
                    }
                }
                _ => {}
            }
        }
        Response { status, phrase: status.phrase(), headers, body: Bytes::new() }
    }

    /// Its size on the wire, in bytes.
    pub(super) fn size(&self) -> usize {
        let rest =
            " ".len() + " SIP/2.0\r\n".len() + format!("Content-Length: {}\r\n\r\n", self.body.len()).len();
        let lines = self.headers.iter().map(|h| h.name().as_str().len() + h.value().len() + ": \r\n".len());
        self.method.as_str().len()
            + self.uri.to_string().len()
            + lines.sum::<usize>()
            + rest
            + self.body.len()
    }

    /// Its topmost Via names this transport; the branch stays (RFC 3261 §18.1.1).
    pub(super) fn go_by(&mut self, transport: Transport) {
        if let Ok(mut via) = self.headers.top_via()
            && via.transport != transport.as_str()
        {
            via.transport = transport.as_str().into();
            self.headers.replace_top_via(&via.to_string());
        }
    }

    /// Bytes for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let uri = print(&self.uri);
        let start = [self.method.as_str(), " ", &uri, " SIP/2.0\r\n"];
        print_message(&start, &self.headers, &self.body)
    }
}

impl Response {
    /// The headers a response must have (RFC 3261 §8.2.6.2).
    ///
    /// # Errors
    /// What is missing, malformed or there twice.
    pub fn essentials(&self) -> Result<Essentials, Malformed> {
        essentials(&self.headers)
    }

    /// Bytes for the wire; control characters of the phrase become spaces.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let status = print(&self.status);
        let phrase = Cow::from(&self.phrase);
        let phrase = if phrase.contains(is_unfit) { phrase.replace(is_unfit, " ").into() } else { phrase };
        print_message(&["SIP/2.0 ", &status, " ", &phrase, "\r\n"], &self.headers, &self.body)
    }
}

impl Message {
    /// Bytes for the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Request(m) => m.to_bytes(),
            Self::Response(m) => m.to_bytes(),
        }
    }

    /// Headers.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        match self {
            Self::Request(m) => &m.headers,
            Self::Response(m) => &m.headers,
        }
    }
}

/// In room of just its size, which is what stays in memory for as long as it may be sent again.
fn print_message(start: &[&str], headers: &Headers, body: &[u8]) -> Bytes {
    let length = print(&body.len());
    let line = |h: &Header| h.name().as_str().len() + h.value().len() + ": \r\n".len();
    let lines = headers.iter().map(line).sum::<usize>() + "Content-Length: \r\n\r\n".len() + length.len();
    let mut out = Vec::with_capacity(start.iter().map(|s| s.len()).sum::<usize>() + lines + body.len());
    let mut put = |part: &str| out.extend_from_slice(part.as_bytes());
    start.iter().for_each(|part| put(part));
    for h in headers.iter() {
        [h.name().as_str(), ": ", h.value(), "\r\n"].into_iter().for_each(&mut put);
    }
    ["Content-Length: ", &length, "\r\n\r\n"].into_iter().for_each(&mut put);
    out.extend_from_slice(body);
    out.into()
}

/// Parses one datagram. Line ends before the start line are skipped (RFC 3261 §7.5); bytes beyond
/// Content-Length are ignored (§18.3).
///
/// # Errors
/// What breaks the frame, the first of several.
pub fn parse(datagram: &[u8], limits: &Limits) -> Result<Message, ParseError> {
    let refuse = |fault, status, request: Option<Request>| ParseError {
        fault,
        status,
        request: request.map(Box::new),
    };
    let taken = datagram.get(..limits.message).unwrap_or(datagram);
    let skipped = taken.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let mut frame = Frame::new(taken.get(skipped..).unwrap_or_default());
    let is_cut = taken.len() < datagram.len();
    if is_cut {
        // its headers are read all the same: who sent it shall have an answer
        frame.note((Malformed("Message Too Large"), StatusCode::MESSAGE_TOO_LARGE));
    }
    let start = frame.next_line().unwrap_or_default();
    let start = String::from_utf8_lossy(start);
    frame.is_lenient = after_sip(&start).is_some();
    let (headers, announced) = frame.headers(limits);
    let body = frame.body(announced, limits);
    let mut fault = frame.fault;
    if let Some(rest) = after_sip(&start) {
        let response =
            parse_status_line(rest).map(|(status, phrase)| Response { status, phrase, headers, body });
        return match (response, fault) {
            (Ok(response), None) => Ok(Message::Response(response)),
            (Err(word), _) | (_, Some((word, _))) => Err(refuse(word, StatusCode::BAD_REQUEST, None)),
        };
    }
    let line = RequestLine::parse(&start);
    if !is_cut {
        fault = line.fault.or(fault);
    }
    let request = line.method.map(|method| Request { method, uri: line.uri, headers, body });
    match (request, fault) {
        (Some(request), None) => Ok(Message::Request(request)),
        (request, Some((word, status))) => Err(refuse(word, status, request)),
        (None, None) => Err(refuse(Malformed("Bad Request Line"), StatusCode::BAD_REQUEST, None)),
    }
}

/// The length of the body that a whole header section announces, for streams; none when it does not say.
///
/// # Errors
/// When it says so in two ways or in none that can be read. Other faults of the header section are found by
/// [`parse`], in the whole message.
pub(super) fn announced_body(head: &[u8], limits: &Limits) -> Result<Option<usize>, Malformed> {
    let mut frame = Frame::new(head);
    frame.next_line();
    let (_, announced) = frame.headers(limits);
    if frame.is_length_sure { Ok(announced) } else { Err(Malformed("Bad Content-Length")) }
}

type Fault = (Malformed, StatusCode);

const fn bad(word: &'static str) -> Fault {
    (Malformed(word), StatusCode::BAD_REQUEST)
}

struct RequestLine {
    method: Option<Method>,
    uri: Uri,
    fault: Option<Fault>,
}

impl RequestLine {
    /// `METHOD SP URI SP SIP/2.0` with single spaces (RFC 3261 §7.1).
    fn parse(line: &str) -> Self {
        let mut parts = line.split(' ');
        let method = parts.next().and_then(Method::parse);
        let unknown = || Uri::Other { scheme: "unknown".to_owned(), rest: "unknown".to_owned() };
        let (uri, version, more) = (parts.next(), parts.next(), parts.next());
        let (uri, fault) = match (uri, version, more) {
            (Some(uri), Some(version), None) => match (Uri::parse(uri), after_sip(version)) {
                (_, None) => (unknown(), Some(bad("Bad Request Line"))),
                // headers are not for a Request-URI (RFC 3261 §19.1.1); ignored ones could be smuggled on
                (Ok(uri), Some("2.0")) if uri.sip().is_some_and(|u| u.headers().is_some()) => {
                    (uri, Some(bad("Headers In Request-URI")))
                }
                (Ok(uri), Some("2.0")) => (uri, None),
                (Err(word), Some("2.0")) => (unknown(), Some((word, StatusCode::BAD_REQUEST))),
                (_, Some(_)) => {
                    (unknown(), Some((Malformed("Version Not Supported"), StatusCode::VERSION_NOT_SUPPORTED)))
                }
            },
            _ => (unknown(), Some(bad("Bad Request Line"))),
        };
        Self { method, uri, fault }
    }
}

/// What follows the name of the protocol, which has no case (RFC 3261 §7.1).
fn after_sip(text: &str) -> Option<&str> {
    let (name, rest) = text.split_at_checked("SIP/".len())?;
    name.eq_ignore_ascii_case("SIP/").then_some(rest)
}

/// After `SIP/`: `2.0 SP code SP phrase`; the last space may be missing.
fn parse_status_line(rest: &str) -> Result<(StatusCode, String), Malformed> {
    let bad = Malformed("Bad Status Line");
    let rest = rest.strip_prefix("2.0 ").ok_or(bad)?;
    let (code, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let code = is_code.then(|| code.parse().ok().and_then(StatusCode::new)).flatten().ok_or(bad)?;
    Ok((code, phrase.replace(is_unfit, " ")))
}

/// A control character that no phrase holds (RFC 3261 §25.1 `Reason-Phrase`).
const fn is_unfit(c: char) -> bool {
    c.is_ascii_control() && c != '\t'
}

/// A cursor over the lines of a message; notes the first fault and goes on.
struct Frame<'a> {
    whole: usize,
    rest: &'a [u8],
    fault: Option<Fault>,
    /// A line that is no header is left out, as in a response: nobody could be told of it, and a call would fail for what
    /// nobody needs. What must be there is missed by who needs it.
    is_lenient: bool,
    /// No line of Content-Length contradicts another, or is left out.
    is_length_sure: bool,
}

impl<'a> Frame<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { whole: bytes.len(), rest: bytes, fault: None, is_lenient: false, is_length_sure: true }
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// The next line without its end (CRLF, or LF alone); none at the end of the bytes.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let (line, tail) = self.rest.split_at_checked(end)?;
        self.rest = tail.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Header lines up to the empty one, and the Content-Length.
    fn headers(&mut self, limits: &Limits) -> (Headers, Option<usize>) {
        let mut lines = Lines::default();
        let mut scratch: Vec<(HeaderName, CompactString)> = Vec::with_capacity(16);
        let mut is_left_out = false;
        loop {
            if self.whole.saturating_sub(self.rest.len()) > limits.header_section {
                self.note((Malformed("Header Section Too Large"), StatusCode::MESSAGE_TOO_LARGE));
                self.rest = &[];
                break;
            }
            let Some(line) = self.next_line() else {
                self.note(bad("Header Section Without End"));
                self.rest = &[];
                break;
            };
            if line.is_empty() {
                break;
            }
            if matches!(line.first(), Some(b' ' | b'\t')) {
                if is_left_out {
                    continue;
                }
                match scratch.last_mut() {
                    Some((_, value)) => unfold(value, line),
                    None => self.note(bad("Bad Header Line")),
                }
                continue;
            }
            is_left_out = self.is_lenient && is_no_header(line);
            match split_header(line) {
                Some((name, value)) => scratch.push((name, value)),
                None if is_left_out => {}
                None => self.note(bad("Bad Header Line")),
            }
        }
        let mut headers = Headers::with_capacity(scratch.len());
        let mut length = None;
        for (name, value) in scratch {
            if !lines.count(&name, limits.lines_of_a_kind) {
                self.note((Malformed("Too Many Header Lines"), StatusCode::MESSAGE_TOO_LARGE));
                self.is_length_sure &= name != HeaderName::ContentLength;
                continue;
            }
            if name == HeaderName::ContentLength {
                let digits = value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty();
                let number = digits.then(|| value.parse::<usize>().ok()).flatten();
                self.is_length_sure &= number.is_some() && (length.is_none() || length == number);
                length = number.or(length);
                continue;
            }
            headers.push_header(Header::received(name, value));
        }
        if !self.is_length_sure {
            self.note(bad("Bad Content-Length"));
        }
        (headers, length)
    }

    /// The body: Content-Length bytes, or all when none is announced (RFC 3261 §18.3).
    fn body(&mut self, announced: Option<usize>, limits: &Limits) -> Bytes {
        let body = match announced {
            None => self.rest,
            Some(length) => match self.rest.get(..length) {
                Some(body) => body,
                None => {
                    self.note(bad("Content-Length Too Large"));
                    self.rest
                }
            },
        };
        if body.len() > limits.body {
            self.note((Malformed("Body Too Large"), StatusCode::MESSAGE_TOO_LARGE));
            return Bytes::new();
        }
        Bytes::copy_from_slice(body)
    }
}

/// A line without a colon, or with nothing before it.
fn is_no_header(line: &[u8]) -> bool {
    let colon = line.iter().position(|b| *b == b':');
    colon.is_none_or(|at| line.iter().take(at).all(|b| matches!(b, b' ' | b'\t')))
}

/// Appends a continuation line: its leading white space counts as one space (RFC 3261 §7.3.1).
fn unfold(value: &mut CompactString, line: &[u8]) {
    let more = clean(line);
    if !more.is_empty() {
        if !value.is_empty() {
            value.push(' ');
        }
        value.push_str(&more);
    }
}

/// White space off both ends; a carriage return inside becomes a space. What is no UTF-8 is read as Latin-1, in which
/// old gateways write the names of their callers.
fn clean(raw: &[u8]) -> CompactString {
    let raw = raw.trim_ascii();
    let latin = || raw.iter().copied().map(char::from).collect();
    let text = std::str::from_utf8(raw).map_or_else(|_| latin(), CompactString::new);
    if text.contains('\r') { text.replace('\r', " ").into() } else { text }
}

fn split_header(line: &[u8]) -> Option<(HeaderName, CompactString)> {
    let (name, value) = line.split_at_checked(line.iter().position(|b| *b == b':')?)?;
    let name = std::str::from_utf8(name.trim_ascii_end()).ok().filter(|n| is_token(n))?;
    Some((HeaderName::parse(name), clean(value.get(1..)?)))
}

/// Counts lines by name.
struct Lines {
    known: [usize; HeaderName::KNOWN],
    unknown: HashMap<String, usize>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { known: [0; HeaderName::KNOWN], unknown: HashMap::new() }
    }
}

impl Lines {
    /// Counts one line; false when there are too many of its name.
    fn count(&mut self, name: &HeaderName, limit: usize) -> bool {
        let slot = match name.known_index().and_then(|i| self.known.get_mut(i)) {
            Some(slot) => slot,
            None => self.unknown.entry(name.as_str().to_ascii_lowercase()).or_default(),
        };
        *slot += 1;
        *slot <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@biloxi.com SIP/2.0\r\n\
        v: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bKkjshdyff\r\n\
        t: Bob <sip:bob@biloxi.com>\r\n\
        f: Alice <sip:alice@atlanta.com>;tag=88sja8x\r\n\
        Max-Forwards: 70\r\ni: 987asjd97y7atg\r\nCSeq: 986759 INVITE\r\n\
        X-Long: a\r\n\t b\r\nl: 4\r\n\r\nbody";

    fn request(bytes: &[u8]) -> Request {
        match parse(bytes, &Limits::UDP).unwrap() {
            Message::Request(r) => r,
            Message::Response(_) => panic!("a request was expected"),
        }
    }

    #[test]
    fn compact_names_folding_and_surplus_bytes_are_read_rfc_3261_7_3_and_18_3() {
        let mut bytes = INVITE.as_bytes().to_vec();
        let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        bytes.truncate(at);
        bytes.extend_from_slice(b"\0\xff\r\nsurplus");
        let r = request(&bytes);
        assert_eq!(&r.body[..], b"\0\xff\r\n");
        assert_eq!(r.headers.get(&HeaderName::parse("x-long")), Some("a b"));
        assert_eq!(r.essentials().unwrap().cseq.number, 986_759);
        assert_eq!(request(&r.to_bytes()), r);
        assert_eq!(r.size(), r.to_bytes().len());
    }

    #[test]
    fn a_line_of_a_response_that_is_no_header_is_left_out_and_of_a_request_it_is_refused() {
        let response = INVITE.replace("INVITE sip:bob@biloxi.com SIP/2.0", "SIP/2.0 200 OK");
        for line in ["X-Broken", ": nothing", "X-Broken\r\n and its rest"] {
            let with = |text: &str| text.replace("X-Long", &format!("{line}\r\nX-Long"));
            let e = parse(with(INVITE).as_bytes(), &Limits::UDP).unwrap_err();
            assert_eq!(e.fault.0, "Bad Header Line", "{line}");
            let Ok(Message::Response(r)) = parse(with(&response).as_bytes(), &Limits::UDP) else {
                panic!("{line}")
            };
            assert_eq!(r.headers.get(&HeaderName::parse("x-long")), Some("a b"), "{line}");
            assert_eq!(r.essentials().unwrap().cseq.number, 986_759, "{line}");
        }
        let without = response.replace("f: Alice <sip:alice@atlanta.com>;tag=88sja8x", "Alice");
        let Ok(Message::Response(r)) = parse(without.as_bytes(), &Limits::UDP) else { panic!() };
        assert!(r.essentials().is_err(), "what must be there is missed");
        assert!(parse(response.replace("X-Long", "X Long").as_bytes(), &Limits::UDP).is_err());
    }

    #[test]
    fn a_name_in_latin_1_is_read_as_it_was_meant() {
        let name = |from: &[u8]| {
            let whole = INVITE.replace("Alice ", "@ ");
            let at = whole.find("@ <").unwrap();
            request(&[&whole.as_bytes()[..at], from, &whole.as_bytes()[at + 1..]].concat())
                .headers
                .from()
                .unwrap()
                .display
        };
        assert_eq!(name(b"\"J\xf6rg M\xfcller\"").as_deref(), Some("J\u{f6}rg M\u{fc}ller"));
        assert_eq!(name("\"J\u{f6}rg\"".as_bytes()).as_deref(), Some("J\u{f6}rg"));
    }

    #[test]
    fn a_timestamp_goes_back_with_100_trying_alone_rfc_3261_8_2_6_1() {
        let r = request(INVITE.replace("X-Long: a", "timestamp: 54 0.5\r\nX-Long: a").as_bytes());
        let stamp = |status| r.response(status, None).headers.get(&HeaderName::Timestamp).map(str::to_owned);
        assert_eq!(stamp(StatusCode::TRYING).as_deref(), Some("54 0.5"));
        assert_eq!(stamp(StatusCode::RINGING), None);
    }

    #[test]
    fn a_short_body_is_refused_with_a_request_that_can_be_answered() {
        let text = INVITE.replace("l: 4", "l: 9999");
        let e = parse(text.as_bytes(), &Limits::UDP).unwrap_err();
        assert_eq!((e.fault.0, e.status), ("Content-Length Too Large", StatusCode::BAD_REQUEST));
        let answer = e.request.unwrap().response(e.status, Some("x"));
        assert!(answer.headers.get(&HeaderName::To).unwrap().ends_with(";tag=x"));
    }

    #[test]
    fn two_content_lengths_that_differ_are_refused_and_equal_ones_are_not() {
        assert!(parse(INVITE.replace("l: 4", "l: 4\r\nl: 4").as_bytes(), &Limits::UDP).is_ok());
        let e = parse(INVITE.replace("l: 4", "l: 4\r\nl: 3").as_bytes(), &Limits::UDP).unwrap_err();
        assert_eq!(e.fault.0, "Bad Content-Length");
    }

    #[test]
    fn each_limit_is_kept() {
        let with = |more: &str| INVITE.replace("l: 4", &format!("{more}l: 4"));
        let fault = |text: String| parse(text.as_bytes(), &Limits::UDP).err().map(|e| e.fault.0);
        assert_eq!(fault(with(&"X-a: b\r\n".repeat(64))), None);
        assert_eq!(fault(with(&"X-a: b\r\n".repeat(65))), Some("Too Many Header Lines"));
        assert_eq!(fault(with(&"k: b\r\n".repeat(65))), Some("Too Many Header Lines"));
        assert_eq!(fault(with(&format!("X: {}\r\n", "a".repeat(8192)))), Some("Header Section Too Large"));
        let body = INVITE.replace("l: 4", "l: 16385") + &"b".repeat(16_385);
        assert_eq!(fault(body), Some("Body Too Large"));
        assert_eq!(fault("b".repeat(24 * 1024 + 1)), Some("Message Too Large"));
        let longest = INVITE.replace("l: 4", "l: 40000") + &"b".repeat(24 * 1024 - INVITE.len());
        for text in
            [longest.clone() + &"b".repeat(16_000), format!("SIP/2.0 200 OK\r\n{}", "b".repeat(30_000))]
        {
            let e = parse(text.as_bytes(), &Limits::UDP).unwrap_err();
            assert_eq!(e.fault.0, "Message Too Large");
            if let Some(request) = e.request {
                assert_eq!((e.status, request.method), (StatusCode::MESSAGE_TOO_LARGE, Method::INVITE));
            } else {
                assert!(text.starts_with("SIP/2.0"));
            }
        }
    }

    #[test]
    fn the_version_has_no_case_rfc_3261_7_1() {
        let lower = INVITE.replace("SIP/2.0\r\n", "sip/2.0\r\n");
        assert_eq!(request(lower.as_bytes()), request(INVITE.as_bytes()));
        let response = INVITE.replace("INVITE sip:bob@biloxi.com SIP/2.0", "Sip/2.0 200 OK");
        assert!(
            matches!(parse(response.as_bytes(), &Limits::UDP), Ok(Message::Response(r)) if r.status == StatusCode::OK)
        );
    }

    #[test]
    fn another_version_is_505_rfc_4475_3_1_2_16() {
        let e = parse(INVITE.replace("SIP/2.0\r\n", "SIP/7.0\r\n").as_bytes(), &Limits::UDP).unwrap_err();
        assert_eq!(e.status, StatusCode::VERSION_NOT_SUPPORTED);
    }

    #[test]
    fn a_missing_or_doubled_mandatory_header_is_named() {
        let fault = |text: &str| request(text.as_bytes()).essentials().unwrap_err().0;
        assert_eq!(fault(&INVITE.replace("i: 9", "X-I: 9")), "Missing Call-ID");
        assert_eq!(fault(&INVITE.replace("i: 9", "i: 8\r\ni: 9")), "Repeated Call-ID");
        assert_eq!(fault(&INVITE.replace("986759 INVITE", "986759 BYE")), "CSeq Method Mismatch");
    }
}
