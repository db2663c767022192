//! What every UAS must say before it looks at what a request wants (RFC 3261 §8.2), and the answers that are
//! the same everywhere.

use super::lex::quote;
use super::{Header, HeaderName, Method, Request, StatusCode, info, multipart};
use crate::base::Seed;
use bytes::Bytes;
use compact_str::CompactString;
use std::time::Duration;

/// Methods we serve.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY";
/// Bodies we take.
pub const ACCEPT: &str = "application/sdp";
/// Extensions we know (RFC 3261 §20.37); an empty list would say that there are none.
pub const SUPPORTED: &str = "100rel, norefersub, replaces, timer";

/// An answer to a request: what to put into the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Reason phrase; none: the usual one.
    pub phrase: Option<String>,
    /// More headers.
    pub headers: Vec<Header>,
    /// Body with its type.
    pub body: Option<Body>,
}

/// A body with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// `application/sdp`, …
    pub content_type: String,
    /// Bytes.
    pub bytes: Bytes,
}

impl Body {
    /// A session description.
    #[must_use]
    pub fn sdp(text: impl Into<Bytes>) -> Self {
        Self { content_type: ACCEPT.to_owned(), bytes: text.into() }
    }

    /// The body of a message; none when it is empty. Of several parts, the session description.
    #[must_use]
    pub fn of(headers: &super::Headers, bytes: &Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let content_type = headers.get(&HeaderName::ContentType).unwrap_or_default();
        if let Some(sdp) = multipart::read(content_type, bytes).and_then(|parts| parts.sdp) {
            return Some(Self::sdp(sdp));
        }
        Some(Self { content_type: headers.content_type().unwrap_or_default(), bytes: bytes.clone() })
    }

    /// Whether it is a session description.
    #[must_use]
    pub fn is_sdp(&self) -> bool {
        self.content_type.eq_ignore_ascii_case(ACCEPT)
    }
}

impl Answer {
    /// An answer of a status alone.
    #[must_use]
    pub const fn new(status: StatusCode) -> Self {
        Self { status, phrase: None, headers: Vec::new(), body: None }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<CompactString>) -> Self {
        self.headers.push(Header::new(name, value));
        self
    }

    /// With a Warning of ours (RFC 3261 §20.43).
    #[must_use]
    pub fn warning(self, code: u16, text: &str) -> Self {
        self.with(HeaderName::Warning, format!("{code} sipedge {}", quote(text)))
    }

    /// The response to a request.
    #[must_use]
    pub fn to(&self, request: &Request, to_tag: Option<&str>) -> super::Response {
        let mut response = request.response(self.status, to_tag);
        if let Some(phrase) = &self.phrase {
            response.phrase.clone_from(phrase);
        }
        self.headers.iter().for_each(|h| response.headers.push_header(h.clone()));
        if let Some(body) = &self.body {
            response.headers.push(HeaderName::ContentType, body.content_type.clone());
            response.body = body.bytes.clone();
        }
        response
    }
}

/// 405 for a method of some RFC, 501 for one of none (RFC 3261 §8.2.1, §21.5.2). Allow does not name what is refused
/// here and taken within a dialog.
#[must_use]
pub fn not_served(method: &Method) -> Answer {
    let status = if method.is_known() { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_IMPLEMENTED };
    let allow: Vec<&str> = ALLOW.split(", ").filter(|served| *served != method.as_str()).collect();
    Answer::new(status).with(HeaderName::Allow, allow.join(", "))
}

/// 200 to OPTIONS (RFC 3261 §11.2).
#[must_use]
pub fn options() -> Answer {
    Answer::new(StatusCode::OK)
        .with(HeaderName::Allow, ALLOW)
        .with(HeaderName::Accept, ACCEPT)
        .with(HeaderName::AcceptEncoding, "identity")
        .with(HeaderName::Supported, SUPPORTED)
}

/// What requests that ask nothing of the session hear within a dialog; INVITE, UPDATE, PRACK, INFO and REFER are the
/// session's.
#[must_use]
pub fn in_dialog(request: &Request) -> Answer {
    match request.method {
        Method::BYE => Answer::new(StatusCode::OK),
        Method::OPTIONS => options(),
        Method::NOTIFY => notify(request),
        _ => not_served(&request.method),
    }
}

/// A NOTIFY of no subscription of ours (RFC 6665 §4.1.3); the only events that would mean anything here are those of a
/// REFER.
fn notify(request: &Request) -> Answer {
    let event = request.headers.get(&HeaderName::Event).unwrap_or_default();
    if event.split(';').next().is_some_and(|package| package.trim().eq_ignore_ascii_case("refer")) {
        return Answer::new(StatusCode::NO_SUCH_CALL);
    }
    Answer::new(StatusCode::BAD_EVENT).with(HeaderName::AllowEvents, "refer")
}

/// 500 to an INVITE while an earlier one has no final answer; 0 to 10 s (RFC 3261 §14.2).
#[must_use]
pub fn try_later(seed: &mut Seed) -> Answer {
    Answer::new(StatusCode::SERVER_ERROR).with(HeaderName::RetryAfter, seed.below(11).to_string())
}

/// 503 that says when to ask again: after so long, in whole seconds and never at once (RFC 3261 §20.33, §21.5.4).
#[must_use]
pub fn out_of_service(wait: Duration) -> Answer {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    Answer::new(StatusCode::SERVICE_UNAVAILABLE).with(HeaderName::RetryAfter, seconds.to_string())
}

/// The checks of RFC 3261 §8.2 in its order: method, Max-Forwards, URI scheme, Require, body. `None`: go on.
///
/// CANCEL and ACK are never refused by Require (§8.2.2.3). Max-Forwards 0 is refused with 483 where we would
/// make a new request of it (RFC 7332 §4): not for OPTIONS, which is ours (§11), nor for BYE and REGISTER.
#[must_use]
pub fn check(request: &Request) -> Option<Answer> {
    check_served(request, &[])
}

/// The same within a dialog.
#[must_use]
pub fn check_in_dialog(request: &Request) -> Option<Answer> {
    check_served(request, &[Method::REFER, Method::NOTIFY])
}

/// The same where these methods are served too.
pub(super) fn check_served(request: &Request, more: &[Method]) -> Option<Answer> {
    let method = &request.method;
    if *method == Method::ACK || *method == Method::CANCEL {
        return None;
    }
    let served = [Method::INVITE, Method::BYE, Method::OPTIONS, Method::INFO, Method::UPDATE, Method::PRACK];
    let is_served = served.contains(method) || more.contains(method);
    if !is_served {
        return Some(not_served(method));
    }
    let is_end = [Method::OPTIONS, Method::BYE, Method::REGISTER].contains(method);
    if !is_end && request.headers.max_forwards() == Ok(Some(0)) {
        return Some(Answer::new(StatusCode::TOO_MANY_HOPS));
    }
    if request.uri.sip().is_none() && request.uri.user_text().is_none() {
        return Some(Answer::new(StatusCode::UNSUPPORTED_URI_SCHEME));
    }
    let mut required = request.headers.tokens(&HeaderName::Require);
    required.retain(|tag| !SUPPORTED.split(", ").any(|known| tag.eq_ignore_ascii_case(known)));
    if !required.is_empty() {
        let unsupported = required.join(", ");
        return Some(Answer::new(StatusCode::BAD_EXTENSION).with(HeaderName::Unsupported, unsupported));
    }
    if *method == Method::INVITE && !takes_sdp(request) {
        let why = "what would be answered has a type that Accept does not name";
        return Some(Answer::new(StatusCode::NOT_ACCEPTABLE).warning(399, why));
    }
    check_body(request)
}

/// Whether the caller would read our session description (RFC 3261 §20.1, RFC 4475 §3.3.15): who names no type
/// does.
fn takes_sdp(request: &Request) -> bool {
    let accepted = request.headers.tokens(&HeaderName::Accept);
    let range = |range: &str| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    accepted.is_empty()
        || accepted.iter().any(|a| [ACCEPT, "application/*", "*/*"].contains(&range(a).as_str()))
}

/// A body must be of a type and encoding that we read, unless it may be ignored (RFC 3261 §8.2.3).
fn check_body(request: &Request) -> Option<Answer> {
    // what a REFER or NOTIFY has to say stands in its headers
    let says_nothing = [Method::BYE, Method::REFER, Method::NOTIFY].contains(&request.method);
    if request.body.is_empty() || says_nothing {
        return None;
    }
    let accepted = if request.method == Method::INFO { info::ACCEPT } else { ACCEPT };
    let disposition = request.headers.get(&HeaderName::ContentDisposition).unwrap_or_default();
    if disposition.to_ascii_lowercase().replace(' ', "").contains("handling=optional") {
        return None;
    }
    let refusal = || Some(Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE).with(HeaderName::Accept, accepted));
    let encoding = request.headers.get(&HeaderName::ContentEncoding);
    if encoding.is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
        return refusal().map(|a| a.with(HeaderName::AcceptEncoding, "identity"));
    }
    if request.headers.content_type().is_some_and(|t| accepted.split(", ").any(|a| t == a)) {
        return None;
    }
    let content_type = request.headers.get(&HeaderName::ContentType).unwrap_or_default();
    let parts =
        if request.method == Method::INVITE { multipart::read(content_type, &request.body) } else { None };
    if parts.is_some_and(|parts| !parts.is_refused) { None } else { refusal() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Uri;

    fn request(method: &str, lines: &[(HeaderName, &str)], body: &'static str) -> Request {
        let mut r = Request::new(Method::parse(method).unwrap(), Uri::parse("sip:a@192.0.2.1").unwrap());
        lines.iter().for_each(|(n, v)| r.headers.push(n.clone(), *v));
        r.body = Bytes::from_static(body.as_bytes());
        r
    }

    fn status(method: &str, lines: &[(HeaderName, &str)], body: &'static str) -> Option<u16> {
        check(&request(method, lines, body)).map(|a| a.status.code())
    }

    #[test]
    fn each_refusal_has_its_status_rfc_3261_8_2() {
        use HeaderName as H;
        let sdp = (H::ContentType, "Application/SDP ; charset=utf-8");
        assert_eq!(status("INVITE", &[(H::MaxForwards, "70"), sdp.clone()], "v=0"), None);
        assert_eq!(status("INVITE", &[(H::MaxForwards, "0")], ""), Some(483));
        assert_eq!(status("OPTIONS", &[(H::MaxForwards, "0")], ""), None);
        assert_eq!(status("INVITE", &[(H::Require, "100rel")], ""), None);
        assert_eq!(status("INVITE", &[(H::Require, "100rel, x")], ""), Some(420));
        assert_eq!(status("CANCEL", &[(H::Require, "x")], ""), None);
        assert_eq!(status("INVITE", &[(H::ContentType, "text/plain")], "hi"), Some(415));
        assert_eq!(status("INVITE", &[sdp.clone(), (H::ContentEncoding, "gzip")], "x"), Some(415));
        let optional = (H::ContentDisposition, "render; handling = optional");
        assert_eq!(status("INVITE", &[(H::ContentType, "text/plain"), optional], "hi"), None);
        assert_eq!(status("INVITE", &[(H::Accept, "text/plain"), (H::Accept, "image/*")], ""), Some(406));
        for range in ["application/SDP;level=1, text/plain", "*/*", ""] {
            assert_eq!(status("INVITE", &[(H::Accept, range)], ""), None);
        }
        assert_eq!(status("INFO", &[(H::ContentType, "application/DTMF-relay")], "Signal=1"), None);
        let refused = check(&request("INFO", std::slice::from_ref(&sdp), "v=0")).unwrap();
        assert_eq!(refused.headers, [Header::new(H::Accept, "application/dtmf-relay, application/dtmf")]);
        assert_eq!(status("UPDATE", &[], ""), None);
        assert_eq!(status("REFER", &[], ""), Some(405));
        assert_eq!(status("FROBNICATE", &[], ""), Some(501));
        assert_eq!(status("INVITE", &[(H::Require, "Timer")], ""), None);
        let bad = check(&request("INVITE", &[(H::Require, "a, timer, b")], "")).unwrap();
        assert_eq!(bad.headers, [Header::new(H::Unsupported, "a, b")]);
    }

    #[test]
    fn a_registrar_takes_register_and_whoever_is_none_does_not_rfc_3261_8_2_1() {
        let r = request("REGISTER", &[(HeaderName::MaxForwards, "0")], "");
        let status = |more: &[Method]| check_served(&r, more).map(|a| a.status.code());
        assert_eq!((status(&[Method::REGISTER]), status(&[])), (None, Some(405)));
    }

    #[test]
    fn a_notify_within_a_dialog_is_of_no_subscription_or_of_events_that_nobody_asked_for_rfc_6665_4_1_3() {
        let hears = |event: &str| in_dialog(&request("NOTIFY", &[(HeaderName::Event, event)], ""));
        assert_eq!(hears("Refer ;id=93809824").status.code(), 481);
        let other = hears("talk");
        assert_eq!(other.status.code(), 489);
        assert_eq!(other.headers, [Header::new(HeaderName::AllowEvents, "refer")]);
        assert_eq!(hears("").status.code(), 489);
    }

    #[test]
    fn a_method_that_is_taken_within_a_dialog_alone_is_not_allowed_outside_and_not_named_rfc_3261_8_2_1() {
        assert_eq!(status("REFER", &[], ""), Some(405));
        let allowed = not_served(&Method::REFER).headers[0].value().to_owned();
        assert_eq!(allowed, ALLOW.replace("REFER, ", ""));
        let refer = request("REFER", &[], "");
        assert_eq!(check_in_dialog(&refer), None);
        let message = not_served(&Method::MESSAGE);
        assert_eq!((message.status.code(), message.headers[0].value()), (405, ALLOW));
    }

    #[test]
    fn an_unknown_scheme_is_416_and_a_tel_uri_is_not_rfc_3261_8_2_2_1() {
        let mut r = request("INVITE", &[], "");
        r.uri = Uri::parse("nobodyKnowsThisScheme:totallyopaquecontent").unwrap();
        assert_eq!(check(&r).map(|a| a.status.code()), Some(416));
        r.uri = Uri::parse("tel:+1-201-555-0123").unwrap();
        assert_eq!(check(&r), None);
    }
}
