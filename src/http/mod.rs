//! The shared HTTP listener: limits, cross-origin answers, graceful end. What is served belongs to the edges; their
//! descriptions are put together here.

mod config;
mod cors;
pub mod io;
pub mod openapi;
pub mod page;

pub use config::{HttpConfig, everywhere};
pub use cors::Origins;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Who asks, as the listener sees them; an extension of every request.
#[derive(Clone)]
pub struct Visitor {
    place: Arc<io::Place>,
    closing: CancellationToken,
}

impl Visitor {
    const fn new(place: Arc<io::Place>, closing: CancellationToken) -> Self {
        Self { place, closing }
    }

    /// Ends when the listener does: an answer that would go on for ever ends then too.
    #[must_use]
    pub fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// Good credentials: this connection makes room for no other, and from now on there is room for its source, whatever
    /// strangers do.
    pub fn good_login(&self) {
        self.place.good_login();
    }

    /// Wrong credentials; false when this source has tried too often and shall be told to wait. Good ones are
    /// taken even then: who shares an address with a guesser is not shut out.
    #[must_use]
    pub fn may_fail(&self) -> bool {
        self.place.may_fail()
    }
}

/// A JSON answer; never cached.
#[must_use]
pub fn json_answer(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An error answer: `{"code","error","success":false}`.
#[must_use]
pub fn problem(status: u16, text: &str) -> Response<Body> {
    json_answer(status, &json!({"code": status, "error": text, "success": false}))
}

/// The same for what may succeed when it is asked for again so many seconds later.
#[must_use]
pub fn problem_for_now(status: u16, text: &str, retry_after: u32) -> Response<Body> {
    let mut response = problem(status, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    response
}

/// The body of a request, up to a limit.
///
/// # Errors
/// Status and text of the error answer: 413 when it is longer, 415 when it is compressed, 400 when it breaks off.
pub async fn read_body(request: Request, limit: usize) -> Result<Vec<u8>, (u16, String)> {
    let encoding = request.headers().get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err((415, "send the body as it is, without Content-Encoding".to_owned()));
    }
    let too_long = || (413, format!("the body is longer than {limit} bytes"));
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|len| len > limit) {
        return Err(too_long());
    }
    let reading = io::within_body_deadline(axum::body::to_bytes(request.into_body(), limit)).await;
    match reading {
        Some(Ok(bytes)) => Ok(bytes.into()),
        Some(Err(error))
            if std::error::Error::source(&error)
                .is_some_and(|e| e.is::<http_body_util::LengthLimitError>()) =>
        {
            Err(too_long())
        }
        Some(Err(_)) => Err((400, "the body broke off".to_owned())),
        None => Err((408, "the body did not come in time".to_owned())),
    }
}
