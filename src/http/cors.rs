//! Cross-origin answers (Fetch standard, "HTTP extensions"). Browser clients call from pages of other origins
//! with a `token` header, so a preflight is answered on every route without a token, and errors are readable too.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::middleware::Next;

/// Origins that may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// These, as browsers write them: `https://host[:port]`.
    Listed(Vec<String>),
}

impl Origins {
    /// From configuration; `*` allows any.
    ///
    /// # Errors
    /// The first text that is no origin.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        if texts.iter().any(|t| t == "*") {
            return Ok(Self::Any);
        }
        let read = |text: &String| {
            let text = text.trim_end_matches('/').to_ascii_lowercase();
            let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            let is_origin = host.is_some_and(|h| {
                !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b))
            });
            if is_origin { Ok(text) } else { Err(text) }
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self::Listed)
    }

    /// Whether a page of this origin may call.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(list) => list.iter().any(|o| o.eq_ignore_ascii_case(origin)),
        }
    }
}

/// Answers preflights and marks every other answer for its origin.
pub(super) async fn apply(origins: Origins, request: Request<Body>, next: Next) -> Response<Body> {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = origin.filter(|o| o.to_str().is_ok_and(|o| origins.allows(o)));
    let mut response = if request.method() == Method::OPTIONS {
        let mut preflight = Response::new(Body::empty());
        *preflight.status_mut() = StatusCode::NO_CONTENT;
        preflight
    } else {
        next.run(request).await
    };
    let is_preflight = response.status() == StatusCode::NO_CONTENT;
    mark(response.headers_mut(), allowed, is_preflight);
    response
}

fn mark(headers: &mut HeaderMap, allowed: Option<HeaderValue>, is_preflight: bool) {
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "token, content-type, admintoken, last-event-id, cache-control, authorization",
            ),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_may_call_unless_a_star_is_given() {
        let listed =
            Origins::parse(&["https://app.example/".to_owned(), "http://[::1]:8080".to_owned()]).unwrap();
        assert!(listed.allows("https://app.example") && listed.allows("http://[::1]:8080"));
        assert!(
            !listed.allows("http://app.example")
                && !listed.allows("https://app.example.evil")
                && !listed.allows("null")
        );
        assert!(Origins::parse(&["*".to_owned()]).unwrap().allows("null"));
        assert_eq!(Origins::parse(&["https://a/b".to_owned()]), Err("https://a/b".to_owned()));
    }
}
