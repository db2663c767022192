//! The call page: a few files of `web/`, embedded, that speak the published call API and nothing else. It runs
//! under a policy that lets no other script in, and nobody put it in a frame.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use axum::routing::get;
use serde_json::{Value, json};

/// Nothing but our own files; media comes from the peer connection.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Path, kind and text of each file.
const FILES: &[(&str, &str, &str)] = &[
    ("/", "text/html; charset=utf-8", include_str!("../web/index.html")),
    ("/page/style.css", "text/css; charset=utf-8", include_str!("../web/style.css")),
    ("/page/icon.svg", "image/svg+xml", include_str!("../web/icon.svg")),
    ("/page/main.mjs", "text/javascript; charset=utf-8", include_str!("../web/main.mjs")),
    ("/page/api.mjs", "text/javascript; charset=utf-8", include_str!("../web/api.mjs")),
    ("/page/call.mjs", "text/javascript; charset=utf-8", include_str!("../web/call.mjs")),
    ("/page/elsewhere.mjs", "text/javascript; charset=utf-8", include_str!("../web/elsewhere.mjs")),
    ("/page/field.mjs", "text/javascript; charset=utf-8", include_str!("../web/field.mjs")),
    ("/page/kept.mjs", "text/javascript; charset=utf-8", include_str!("../web/kept.mjs")),
    ("/page/level.mjs", "text/javascript; charset=utf-8", include_str!("../web/level.mjs")),
    ("/page/media.mjs", "text/javascript; charset=utf-8", include_str!("../web/media.mjs")),
    ("/page/pad.mjs", "text/javascript; charset=utf-8", include_str!("../web/pad.mjs")),
    ("/page/sound.mjs", "text/javascript; charset=utf-8", include_str!("../web/sound.mjs")),
    ("/page/stream.mjs", "text/javascript; charset=utf-8", include_str!("../web/stream.mjs")),
    ("/page/tabs.mjs", "text/javascript; charset=utf-8", include_str!("../web/tabs.mjs")),
    ("/page/view.mjs", "text/javascript; charset=utf-8", include_str!("../web/view.mjs")),
    ("/page/words.mjs", "text/javascript; charset=utf-8", include_str!("../web/words.mjs")),
];

/// A number that the page offers to dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What is dialled.
    pub number: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What is to be heard there.
    pub hint: &'static str,
}

/// Serves the page, and what it suggests at `GET /page/suggestions.json`.
pub fn router(suggestions: &[Suggestion]) -> Router {
    let list: Vec<Value> =
        suggestions.iter().map(|s| json!({"number": s.number, "name": s.name, "hint": s.hint})).collect();
    let list = json!({ "suggestions": list });
    let files = FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(async move || file(kind, text)))
    });
    files.route("/page/suggestions.json", get(async move || super::json_answer(200, &list)))
}

fn file(kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let fields: [(HeaderName, &'static str); 7] = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"), // another version of the program may serve the next visit
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("permissions-policy"), "microphone=(self), camera=(), geolocation=()"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    response.headers_mut().extend(fields.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_nothing_that_its_policy_forbids_and_names_only_files_that_are_served() {
        let served: Vec<&str> = FILES.iter().map(|(path, ..)| *path).collect();
        for (path, _, text) in FILES {
            for forbidden in ["style=\"", "<script>", "javascript:", "onclick=", "innerHTML", "eval("] {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
            for attribute in ["src=\"/", "href=\"/", "from '/"] {
                for rest in text.split(attribute).skip(1) {
                    let name = rest.split(['"', '\'']).next().unwrap();
                    assert!(served.contains(&format!("/{name}").as_str()), "{path} names /{name}");
                }
            }
            for name in text.split("from './").skip(1).map(|rest| rest.split('\'').next().unwrap()) {
                assert!(served.contains(&format!("/page/{name}").as_str()), "{path} names {name}");
            }
        }
    }
}
