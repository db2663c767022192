//! Bytes to requests, and answers to JSON.

use super::session::Refusal;
use crate::base::{CallId, Digit, Excerpt, is_hidden};
use crate::call::leg::DtmfDigit;
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
    /// The same request may succeed after so many seconds.
    pub(super) retry_after: Option<u32>,
}

impl ApiError {
    pub(super) fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), retry_after: None }
    }

    /// For now; again after so many seconds.
    pub(super) fn for_now(status: u16, text: impl Into<String>, retry_after: u32) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(status, text) }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
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
            MediaRefusal::Unusable(_)
            | MediaRefusal::NoAudio
            | MediaRefusal::AudioRefused { .. }
            | MediaRefusal::Protection { .. } => Self::bad(refusal.to_string()),
            MediaRefusal::NoSocket(_) | MediaRefusal::Congestion => {
                Self::for_now(500, "no media resources left; try again later", 5)
            }
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

/// `POST /call/dtmf`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DtmfRequest {
    pub(super) call: Option<CallId>,
    pub(super) digits: Vec<DtmfDigit>,
}

/// `POST /webhook`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WebhookRequest {
    /// None takes the webhook away.
    pub(super) url: Option<String>,
    /// Whether events of calls are wanted.
    pub(super) is_subscribed: bool,
}

/// Names of the member that names the call.
pub(super) const CALL_ID: &[&str] = &["callID", "CallID", "callId", "call_id"];
const PHONE: &[&str] = &["Phone", "phone", "to"];
/// Keys of one request.
const MAX_DIGITS: usize = 64;
/// How long a key is held when the client does not say.
const DIGIT_DURATION: Duration = Duration::from_millis(100);
/// Shorter ones are not heard (ITU-T Q.24), longer ones are nobody's intention.
const DIGIT_DURATIONS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(40)..=Duration::from_millis(2_000);
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

/// Reads a refusal. Bodies of the wuzapi family carry the caller beside the id; it is known already.
pub(super) fn read_reject(body: &[u8]) -> Result<(Option<CallId>, Refusal), ApiError> {
    let members = read_object(body)?;
    let call = text(&members, CALL_ID)?.ok_or_else(|| missing("callID"))?.parse().ok();
    let refusal = match text(&members, &["reason"])? {
        Some("busy") => Refusal::Busy,
        _ => Refusal::Declined,
    };
    Ok((call, refusal))
}

/// Reads keys to press.
pub(super) fn read_dtmf(body: &[u8]) -> Result<DtmfRequest, ApiError> {
    let members = read_object(body)?;
    let call = text(&members, CALL_ID)?.ok_or_else(|| missing("callID"))?.parse().ok();
    let digits = text(&members, &["digits", "Digits"])?.ok_or_else(|| missing("digits"))?;
    let duration = match members.get("duration") {
        None | Some(Value::Null) => DIGIT_DURATION,
        Some(value) => value
            .as_u64()
            .map(Duration::from_millis)
            .filter(|d| DIGIT_DURATIONS.contains(d))
            .ok_or_else(|| ApiError::bad("duration must be a number of milliseconds from 40 to 2000"))?,
    };
    let digits: Option<Vec<DtmfDigit>> =
        digits.chars().map(|c| Digit::from_char(c).map(|digit| DtmfDigit { digit, duration })).collect();
    match digits.filter(|d| (1..=MAX_DIGITS).contains(&d.len())) {
        Some(digits) => Ok(DtmfRequest { call, digits }),
        None => Err(ApiError::bad("digits must be 1 to 64 of 0-9, *, # and A-D")),
    }
}

/// Reads where events shall go. Other kinds of events than those of calls do not exist here, so a list that
/// names none of them wants nothing.
pub(super) fn read_webhook(body: &[u8]) -> Result<WebhookRequest, ApiError> {
    let members = read_object(body)?;
    let url = text(&members, &["WebhookURL", "webhookURL", "webhook_url", "webhook"])?
        .ok_or_else(|| missing("WebhookURL"))?;
    let is_subscribed = match members.get("Subscribe").or_else(|| members.get("subscribe")) {
        None | Some(Value::Null) => true,
        Some(Value::Array(kinds)) if kinds.iter().all(Value::is_string) => {
            kinds.iter().filter_map(Value::as_str).any(|kind| matches!(kind, "Call" | "All"))
        }
        Some(_) => return Err(ApiError::bad("Subscribe must be a list of strings, as [\"Call\"]")),
    };
    Ok(WebhookRequest { url: Some(url.trim().to_owned()).filter(|u| !u.is_empty()), is_subscribed })
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
pub(super) fn read_number(text: &str) -> Result<String, ApiError> {
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
        Err(ApiError::bad(
            "Phone must be 1 to 64 digits, letters and any of + * # _ . -, as +551140001234 or 600",
        ))
    }
}

/// A display name without characters that cannot be seen, at most 128 characters.
fn clean_name(name: &str) -> String {
    name.chars().filter(|c| !is_hidden(*c)).take(128).collect::<String>().trim().to_owned()
}

fn read_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.trim_ascii().is_empty() {
        return Err(ApiError::bad("the body is empty; it must be a JSON object"));
    }
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
        assert_eq!(refused(read_offer(b" \n")), "the body is empty; it must be a JSON object");
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
        let name = |name: &str| {
            let body = json!({ "Phone": "1", "displayName": name }).to_string();
            read_make(body.as_bytes()).map(|m| m.display_name).unwrap()
        };
        assert_eq!(name("Bank\u{7} \u{202e}gpj\u{2069}\u{200e}.txt").as_deref(), Some("Bank gpj.txt"));
        assert_eq!(name("\u{202a}\u{2068} "), None);
        assert_eq!(
            name("\u{5e9}\u{5dc}\u{5d5}\u{5dd}").as_deref(),
            Some("\u{5e9}\u{5dc}\u{5d5}\u{5dd}"),
            "Hebrew stays"
        );
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

    #[test]
    fn a_refusal_says_busy_or_declines_and_bodies_of_the_family_are_taken() {
        let read = |body: Value| read_reject(body.to_string().as_bytes());
        let id = "B2C1D7A0F4E94D0C8C7A5E1D2F3A4B5C";
        let call = id.parse().ok();
        assert_eq!(read(json!({"callID": id, "reason": "busy"})), Ok((call, Refusal::Busy)));
        assert_eq!(
            read(json!({"call_from": "5511@s.whatsapp.net", "call_id": id})),
            Ok((call, Refusal::Declined))
        );
        assert_eq!(read(json!({"callCreator": {"x": 1}, "callId": id})), Ok((call, Refusal::Declined)));
        assert_eq!(refused(read(json!({"reason": "busy"}))), "missing callID in payload");
    }

    #[test]
    fn keys_are_those_of_a_telephone_and_held_for_a_sensible_time() {
        let read = |body: Value| read_dtmf(body.to_string().as_bytes());
        let request = read(json!({"callID": "x", "digits": "12#d"})).unwrap();
        let keys: String = request.digits.iter().map(|d| d.digit.as_char()).collect();
        assert_eq!((keys.as_str(), request.digits[0].duration.as_millis()), ("12#D", 100));
        let slow = read(json!({"callID": "x", "digits": "1", "duration": 250})).unwrap();
        assert_eq!(slow.digits[0].duration.as_millis(), 250);
        for digits in ["", "1 2", "e", &"1".repeat(65)] {
            assert_eq!(
                refused(read(json!({"callID": "x", "digits": digits}))),
                "digits must be 1 to 64 of 0-9, *, # and A-D"
            );
        }
        for duration in [json!(39), json!(2_001), json!("100"), json!(-1)] {
            assert!(
                refused(read(json!({"callID": "x", "digits": "1", "duration": duration})))
                    .contains("40 to 2000")
            );
        }
        assert_eq!(refused(read(json!({"callID": "x"}))), "missing digits in payload");
    }

    #[test]
    fn a_webhook_is_set_for_calls_or_taken_away() {
        let read = |body: Value| read_webhook(body.to_string().as_bytes());
        let request = |url: Option<&str>, is_subscribed| {
            Ok(WebhookRequest { url: url.map(str::to_owned), is_subscribed })
        };
        assert_eq!(read(json!({"WebhookURL": "https://a/b"})), request(Some("https://a/b"), true));
        let subscribed = json!({"WebhookURL": "https://a", "Subscribe": ["Message", "Call"]});
        assert_eq!(read(subscribed), request(Some("https://a"), true));
        assert_eq!(
            read(json!({"WebhookURL": "https://a", "Subscribe": []})),
            request(Some("https://a"), false)
        );
        assert_eq!(read(json!({"WebhookURL": ""})), request(None, true));
        assert_eq!(refused(read(json!({}))), "missing WebhookURL in payload");
        assert!(
            refused(read(json!({"WebhookURL": "x", "Subscribe": "Call"}))).starts_with("Subscribe must be")
        );
    }
}
