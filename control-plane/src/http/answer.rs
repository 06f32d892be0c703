//! What answers look like: JSON with a schema version, or a problem (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

/// Of every document of the operators' API.
pub const SCHEMA_VERSION: u32 = 1;

/// An error as `application/problem+json`.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    document: Value,
}

impl Problem {
    /// A problem with a short name and what exactly it is.
    pub fn new(status: StatusCode, title: &str, detail: impl Into<String>) -> Self {
        let document = json!({
            "schema_version": SCHEMA_VERSION,
            "title": title,
            "status": status.as_u16(),
            "detail": detail.into(),
        });
        Self { status, document }
    }

    /// The same with one more member.
    #[must_use]
    pub fn with(mut self, member: &str, value: &impl Serialize) -> Self {
        if let Some(document) = self.document.as_object_mut() {
            let value = serde_json::to_value(value).unwrap_or(Value::Null);
            document.insert(member.to_owned(), value);
        }
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/problem+json");
        (self.status, [(header::CONTENT_TYPE, json)], self.document.to_string()).into_response()
    }
}

/// A document with its schema version.
pub fn document(body: &impl Serialize) -> Response {
    let mut body = match serde_json::to_value(body) {
        Ok(body) => body,
        Err(error) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Problem::new(status, "no answer", error.to_string()).into_response();
        }
    };
    if let Some(body) = body.as_object_mut() {
        body.insert("schema_version".to_owned(), SCHEMA_VERSION.into());
    }
    axum::Json(body).into_response()
}
