//! Bytes to requests, and answers to JSON.

use crate::base::{CallId, Excerpt};
use crate::call::port::MediaRefusal;
use crate::sdp::SessionDescription;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Shape of success answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Envelope {
    /// Members at top level, with `code` and `success` beside them.
    Bare,
    /// `{"code","data","success"}`.
    Wrapped,
}

impl Envelope {
    /// A success answer.
    pub(super) fn success(self, members: Map<String, Value>) -> Value {
        match self {
            Self::Bare => {
                let mut all = members;
                all.insert("code".into(), json!(200));
                all.insert("success".into(), json!(true));
                Value::Object(all)
            }
            Self::Wrapped => json!({"code": 200, "data": members, "success": true}),
        }
    }
}

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    /// HTTP status.
    pub(super) status: u16,
    /// What is wrong and, where there is one, the remedy.
    pub(super) text: String,
}

impl ApiError {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::new(400, text)
    }

    /// Unknown, ended, or somebody else's: all the same to the asker.
    pub(super) fn call_not_found() -> Self {
        Self::new(404, "call not found")
    }

    /// From what media said of an offer.
    pub(super) fn from_refusal(refusal: &MediaRefusal) -> Self {
        match refusal {
            MediaRefusal::NoCommonCodec { offered, wanted } => Self::bad(format!(
                "no common codec: the offer has {}; this call takes {}",
                list(offered),
                list(wanted)
            )),
            MediaRefusal::Unusable(why) => Self::bad(*why),
            MediaRefusal::Congestion => Self::new(500, "no media resources left; try again later"),
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { Excerpt(&names.join(", ")).to_string() }
}

/// `POST /call/webrtc/offer`.
#[derive(Debug)]
pub(super) struct OfferRequest {
    pub(super) call: Option<CallId>,
    pub(super) sdp: Box<SessionDescription>,
}

/// `POST /call/make`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MakeRequest {
    pub(super) number: String,
    pub(super) display_name: Option<String>,
    pub(super) timeout: Option<Duration>,
}

const CALL_ID: &[&str] = &["callID", "CallID", "callId", "call_id"];
const PHONE: &[&str] = &["Phone", "phone", "to"];
/// Longest time a client may let the other side ring.
const MAX_RING_SECONDS: f64 = 600.0;

/// Reads an offer.
pub(super) fn read_offer(body: &[u8]) -> Result<OfferRequest, ApiError> {
    let members = read_object(body)?;
    let id = text(&members, CALL_ID)?.ok_or_else(|| missing("callID"))?;
    let kind = text(&members, &["type"])?.ok_or_else(|| missing("type"))?;
    if kind != "offer" {
        return Err(ApiError::bad(format!("type must be \"offer\", not \"{}\"", Excerpt(kind))));
    }
    let sdp = text(&members, &["sdp"])?.filter(|s| !s.is_empty()).ok_or_else(|| missing("sdp"))?;
    let sdp = SessionDescription::parse(sdp).map_err(|error| ApiError::bad(format!("sdp: {error}")))?;
    Ok(OfferRequest { call: id.parse().ok(), sdp: Box::new(sdp) })
}

/// Reads a body that names a call; an id that cannot be one of ours gives none.
pub(super) fn read_call(body: &[u8]) -> Result<Option<CallId>, ApiError> {
    let members = read_object(body)?;
    Ok(text(&members, CALL_ID)?.ok_or_else(|| missing("callID"))?.parse().ok())
}

/// Reads a request for a call.
pub(super) fn read_make(body: &[u8]) -> Result<MakeRequest, ApiError> {
    let members = read_object(body)?;
    let phone = text(&members, PHONE)?.ok_or_else(|| missing("Phone"))?;
    let timeout = match members.get("timeout") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_f64().filter(|s| (1.0..=MAX_RING_SECONDS).contains(s)) {
            Some(seconds) => Some(Duration::from_secs_f64(seconds)),
            None => return Err(ApiError::bad("timeout must be a number of seconds from 1 to 600")),
        },
    };
    let display_name = text(&members, &["displayName"])?.map(clean_name).filter(|n| !n.is_empty());
    Ok(MakeRequest { number: read_number(phone)?, display_name, timeout })
}

/// A number without its visual separators (RFC 3966 §5.1.1), or a name of letters and digits.
fn read_number(text: &str) -> Result<String, ApiError> {
    let is_separator = |c: char| matches!(c, ' ' | '-' | '.' | '(' | ')');
    let plain: String = text.chars().filter(|c| !is_separator(*c)).collect();
    let is_dialable =
        plain.strip_prefix('+').unwrap_or(&plain).chars().all(|c| c.is_ascii_digit() || c == '*' || c == '#');
    let number = if is_dialable { plain } else { text.trim().to_owned() };
    let is_fit = (1..=64).contains(&number.len())
        && number != "+"
        && number.bytes().all(|b| b.is_ascii_alphanumeric() || b"+*#._-".contains(&b));
    if is_fit {
        Ok(number)
    } else {
        Err(ApiError::bad("Phone must be 1 to 64 digits or letters, as +551140001234 or 600"))
    }
}

/// A display name without control characters, at most 128 characters.
fn clean_name(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(128).collect::<String>().trim().to_owned()
}

fn read_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(ApiError::bad("the body must be a JSON object")),
        Err(error) => Err(ApiError::bad(format!(
            "the body is not JSON: line {} column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// The first of these members that is there; present and not text is an error.
fn text<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Result<Option<&'a str>, ApiError> {
    match names.iter().find_map(|n| members.get(*n).map(|v| (*n, v))) {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text)),
        Some((name, _)) => Err(ApiError::bad(format!("{name} must be a string"))),
    }
}

fn missing(name: &str) -> ApiError {
    ApiError::bad(format!("missing {name} in payload"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.status, 400);
        error.text
    }

    #[test]
    fn an_offer_must_have_its_three_members_and_readable_sdp() {
        assert_eq!(refused(read_offer(b"{")), "the body is not JSON: line 1 column 1");
        assert_eq!(refused(read_offer(b"[]")), "the body must be a JSON object");
        assert_eq!(refused(read_offer(b"{}")), "missing callID in payload");
        assert_eq!(refused(read_offer(br#"{"callID":7}"#)), "callID must be a string");
        assert_eq!(refused(read_offer(br#"{"CallID":"x"}"#)), "missing type in payload");
        assert_eq!(refused(read_offer(br#"{"callId":"x","type":"offer"}"#)), "missing sdp in payload");
        assert_eq!(
            refused(read_offer(br#"{"call_id":"x","type":"answer"}"#)),
            "type must be \"offer\", not \"answer\""
        );
        let sdp = refused(read_offer(br#"{"callID":"x","type":"offer","sdp":"hello"}"#));
        assert_eq!(sdp, "sdp: session description line 1: expected v=0");
    }

    #[test]
    fn a_number_loses_its_separators_and_a_name_keeps_its_own() {
        let make =
            |phone: &str| read_make(json!({ "Phone": phone }).to_string().as_bytes()).map(|m| m.number);
        assert_eq!(make("+55 (11) 4000-1234").unwrap(), "+551140001234");
        assert_eq!(make("600").unwrap(), "600");
        assert_eq!(make("anna.b-c").unwrap(), "anna.b-c");
        for bad in ["", " ", "+", "a b", "600@evil", "1\r\nX: y", &"1".repeat(65), "6;x=y"] {
            assert!(make(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_ring_timeout_is_a_number_of_seconds_within_bounds() {
        let make = |timeout: Value| read_make(json!({"to": "1", "timeout": timeout}).to_string().as_bytes());
        assert_eq!(make(json!(5)).unwrap().timeout, Some(Duration::from_secs(5)));
        assert_eq!(make(Value::Null).unwrap().timeout, None);
        for bad in [json!(0), json!(-1), json!("5"), json!(601), json!(1e300)] {
            assert!(make(bad).is_err());
        }
    }

    #[test]
    fn both_envelopes_carry_the_members_where_clients_look_for_them() {
        let members = || Map::from_iter([("sdp".to_owned(), json!("v=0"))]);
        assert_eq!(Envelope::Bare.success(members()), json!({"sdp": "v=0", "code": 200, "success": true}));
        assert_eq!(
            Envelope::Wrapped.success(members()),
            json!({"data": {"sdp": "v=0"}, "code": 200, "success": true})
        );
    }
}
