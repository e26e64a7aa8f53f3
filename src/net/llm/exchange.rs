//! What is told of every try of a request, for logs.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::failure::Failure;

/// Headers in which services number requests.
const REQUEST_ID: [&str; 2] = ["x-request-id", "request-id"];

/// One try of a request.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// Which try it is, from 1.
    pub attempt: u32,
    /// How long it took.
    pub latency: Duration,
    /// The body of the request.
    pub request: &'a Value,
    /// The body of the response, or why there is none.
    pub response: Result<&'a Value, &'a Failure>,
}

/// The number of a request at the service.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    REQUEST_ID
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .map(str::to_owned)
}
