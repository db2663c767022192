//! What a REFER asks for (RFC 3515), and the dialog that a call is to take the place of (RFC 3891).

use super::answer::Answer;
use super::lex::Params;
use super::{HeaderName, Headers, Method, NameAddr, Request, StatusCode, Uri};
use std::fmt;

/// A dialog by its names, as the one who is to give it up knows them (RFC 3891 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID.
    pub call_id: String,
    /// The tag of whoever gets the request with this header.
    pub to_tag: String,
    /// The tag of its far side.
    pub from_tag: String,
    /// Only while it is not answered.
    pub is_early_only: bool,
}

impl Replaces {
    /// Parses `call-id;to-tag=…;from-tag=…`; none when one of the three is missing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (call_id, params) = text.split_once(';')?;
        let params = Params::parse(&format!(";{params}")).ok()?;
        let tag = |name| params.value(name).filter(|t| !t.is_empty()).map(str::to_owned);
        let call_id = call_id.trim().to_owned();
        (!call_id.is_empty()).then_some(())?;
        Some(Self {
            call_id,
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            is_early_only: params.has("early-only"),
        })
    }

    /// The one Replaces line of a request; none when there is none.
    ///
    /// # Errors
    /// 400 for one that cannot be read, and for more than one (RFC 3891 §3).
    pub fn of(headers: &Headers) -> Result<Option<Self>, Answer> {
        let mut lines = headers.all(&HeaderName::Replaces);
        let Some(line) = lines.next() else { return Ok(None) };
        match Self::parse(line).filter(|_| lines.next().is_none()) {
            Some(replaces) => Ok(Some(replaces)),
            None => Err(bad("Bad Replaces")),
        }
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        f.write_str(if self.is_early_only { ";early-only" } else { "" })
    }
}

/// A transfer that the far side asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refer {
    /// Whom to call. Its headers are read and not passed on.
    pub to: Uri,
    /// The call there that ours takes the place of.
    pub replaces: Option<Replaces>,
    /// Who asks, in its own words (RFC 3892).
    pub by: Option<NameAddr>,
}

impl Refer {
    /// Reads a REFER.
    ///
    /// # Errors
    /// Its refusal: 400 unless it has one Refer-To that can be read (RFC 3515 §2.4.2), 416 for a scheme that is not
    /// served here, 501 for another method than INVITE.
    pub(super) fn read(request: &Request) -> Result<Self, Answer> {
        let mut lines = request.headers.all(&HeaderName::ReferTo);
        let to = lines.next().and_then(|line| NameAddr::parse(line).ok());
        let Some(to) = to.filter(|_| lines.next().is_none()) else { return Err(bad("Bad Refer-To")) };
        if to.uri.sip().is_none() && to.uri.user_text().is_none() {
            return Err(Answer::new(StatusCode::UNSUPPORTED_URI_SCHEME));
        }
        let sip = to.uri.sip();
        let method = sip.and_then(|uri| uri.param("method")).flatten();
        if method.is_some_and(|m| m != Method::INVITE.as_str()) {
            return Err(Answer::new(StatusCode::NOT_IMPLEMENTED));
        }
        let replaces = match sip.and_then(|uri| uri.header("Replaces")) {
            None => None,
            Some(text) => Some(Replaces::parse(&text).ok_or_else(|| bad("Bad Replaces"))?),
        };
        let by = request.headers.get(&HeaderName::ReferredBy).and_then(|line| NameAddr::parse(line).ok());
        Ok(Self { to: to.uri, replaces, by })
    }

    /// Whether its sender wants to hear what becomes of it (RFC 4488 §4).
    pub(super) fn wants_news(request: &Request) -> bool {
        let wish = request.headers.get(&HeaderName::ReferSub).unwrap_or("true");
        !wish.split(';').next().is_some_and(|w| w.trim().eq_ignore_ascii_case("false"))
    }
}

fn bad(phrase: &str) -> Answer {
    Answer { phrase: Some(phrase.to_owned()), ..Answer::new(StatusCode::BAD_REQUEST) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refer(to: &[&str]) -> Result<Refer, u16> {
        let mut r = Request::new(Method::REFER, Uri::parse("sip:edge@192.0.2.1").unwrap());
        to.iter().for_each(|line| r.headers.push(HeaderName::ReferTo, *line));
        r.headers.push(HeaderName::ReferredBy, "\"Front desk\" <sip:100@pbx.example>");
        Refer::read(&r).map_err(|answer| answer.status.code())
    }

    #[test]
    fn a_refer_names_whom_to_call_rfc_3515_2_1() {
        let read = refer(&["<sip:600@192.0.2.4:5060>"]).unwrap();
        assert_eq!(read.to.user_text().as_deref(), Some("600"));
        assert_eq!((read.replaces, read.by.unwrap().uri.to_string()), (None, "sip:100@pbx.example".into()));
        assert!(refer(&["sip:600@192.0.2.4"]).is_ok() && refer(&["<tel:+55-11-3000-0001>"]).is_ok());
        for (to, status) in [
            (&[][..], 400),
            (&["<sip:600@192.0.2.4>", "<sip:601@192.0.2.4>"], 400),
            (&["600"], 400),
            (&["<http://192.0.2.4/>"], 416),
            (&["<sip:600@192.0.2.4;method=SUBSCRIBE>"], 501),
            (&["<sip:600@192.0.2.4?Replaces=abc>"], 400),
        ] {
            assert_eq!(refer(to), Err(status), "{to:?}");
        }
        assert!(refer(&["<sip:600@192.0.2.4;method=INVITE>"]).is_ok());
    }

    #[test]
    fn the_dialog_to_take_over_stands_escaped_in_refer_to_rfc_3891_4() {
        let to = "<sip:600@192.0.2.4?Replaces=12345%40192.168.118.3%3Bto-tag%3D12345%3Bfrom-tag%3D5FFE-3994&Require=replaces>";
        let replaces = refer(&[to]).unwrap().replaces.unwrap();
        assert_eq!(replaces.to_string(), "12345@192.168.118.3;to-tag=12345;from-tag=5FFE-3994");
    }

    #[test]
    fn a_replaces_without_both_tags_or_that_comes_twice_is_bad_rfc_3891_3() {
        let of = |lines: &[&str]| {
            let mut headers = Headers::default();
            lines.iter().for_each(|line| headers.push(HeaderName::Replaces, *line));
            Replaces::of(&headers).map_err(|answer| answer.status.code())
        };
        assert_eq!(of(&[]), Ok(None));
        let good =
            of(&["98732@sip.example.com; from-tag=r33th4x0r;to-tag=ff87ff ;early-only"]).unwrap().unwrap();
        assert_eq!(
            (good.to_tag.as_str(), good.from_tag.as_str(), good.is_early_only),
            ("ff87ff", "r33th4x0r", true)
        );
        for bad in [
            &["a;to-tag=b"][..],
            &["a;from-tag=b"],
            &["a"],
            &[";to-tag=b;from-tag=c"],
            &["a;to-tag;from-tag=c"],
        ] {
            assert_eq!(of(bad), Err(400), "{bad:?}");
        }
        assert_eq!(of(&["a;to-tag=b;from-tag=c", "a;to-tag=b;from-tag=c"]), Err(400));
    }

    #[test]
    fn who_wants_no_subscription_says_so_rfc_4488_4() {
        let wants = |value: Option<&str>| {
            let mut r = Request::new(Method::REFER, Uri::parse("sip:edge@192.0.2.1").unwrap());
            value.into_iter().for_each(|v| r.headers.push(HeaderName::ReferSub, v));
            Refer::wants_news(&r)
        };
        assert!(wants(None) && wants(Some("true")) && !wants(Some("False")) && !wants(Some(" false ;x=y")));
    }
}
