//! What local servers share: accepting connections with limits, a token,
//! headers that keep other sites out, and a clean end. Knows nothing of what is
//! served.

mod accept;
mod guard;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

pub use accept::{ConnectionLimits, serve};
pub use guard::{Guard, guarded, same_secret};

/// An answer in JSON.
pub fn json_response(status: StatusCode, value: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}
