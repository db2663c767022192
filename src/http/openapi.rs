//! The description of everything that is served (OpenAPI 3.1), put together from the parts of the edges, at
//! `GET /openapi.json`. It names nothing that is secret and is given without a token.

use axum::Router;
use axum::routing::get;
use serde_json::{Map, Value, json};

/// What all parts have in common: how a token is given, and what every error looks like.
fn frame() -> Value {
    let error = |description: &str| {
        json!({
            "description": description,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        })
    };
    json!({
        "openapi": "3.1.0",
        "info": {"title": "sipedge", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "MIT"}},
        "security": [{"token": []}],
        "paths": {"/openapi.json": {"get": {
            "summary": "This description",
            "operationId": "getDescription",
            "security": [],
            "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {}}}}
        }}},
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "token"},
                "tokenInUrl": {"type": "apiKey", "in": "query", "name": "token"}
            },
            "schemas": {"Error": {
                "type": "object",
                "required": ["code", "error", "success"],
                "properties": {
                    "code": {"type": "integer"},
                    "error": {"type": "string"},
                    "success": {"const": false}
                }
            }},
            "responses": {
                "BadRequest": error("A member is missing or wrong, or the call is not in a state for that; the text says why."),
                "Unauthorized": error("The token is missing or unknown."),
                "Forbidden": error("No route of this account leads there."),
                "NotFound": error("No such call, it has ended, or it belongs to another account."),
                "BodyTooSlow": error("The body did not come within 10 s."),
                "BodyTooLong": error("The body is longer than 256 KiB."),
                "BodyEncoded": error("The body is compressed; send it without Content-Encoding."),
                "TooMany": error("Too many requests, calls, or streams of this account; or wrong tokens from this address."),
                "Failed": error("No media resources are left, or media did not answer."),
                "ShuttingDown": error("The program is ending.")
            }
        }
    })
}

/// The whole description. A part is an object of `paths` and of `components`; one that cannot be read is left out,
/// which a test of its edge would see.
#[must_use]
pub fn document<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    let mut whole = frame();
    for part in parts {
        if let Ok(part) = serde_json::from_str(part) {
            merge(&mut whole, part);
        }
    }
    whole
}

/// Serves it.
pub fn router<'a>(parts: impl IntoIterator<Item = &'a str>) -> Router {
    let document = document(parts);
    Router::new().route("/openapi.json", get(async move || super::json_answer(200, &document)))
}

/// Objects are joined member by member; anything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert_with(|| Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_into_one_description() {
        let a = r#"{"paths": {"/a": {"get": {}}}, "components": {"schemas": {"A": {"type": "string"}}}}"#;
        let b = r#"{"paths": {"/b": {"post": {"x": [1]}}}}"#;
        let whole = document([a, b]);
        let names = |at: &Value| at.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&whole["paths"]), ["/a", "/b", "/openapi.json"]);
        assert_eq!(names(&whole["components"]["schemas"]), ["A", "Error"]);
        assert_eq!(whole["paths"]["/b"]["post"]["x"], json!([1]));
    }
}
