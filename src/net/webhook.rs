//! Telling an address that something happened.

use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use serde_json::Value;

use super::tls;
use crate::causes::with_causes;

/// Sends a JSON object to `address` by POST.
///
/// # Errors
/// The address cannot be reached or does not take it, in words that do not hold
/// the address: it may be a secret.
pub fn post_json(address: &str, body: &Value, timeout: Duration) -> Result<(), String> {
    tls::install_provider();
    let failed = |error: reqwest::Error| with_causes(&error.without_url());
    let client = Client::builder()
        .user_agent(concat!("novic/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .redirect(Policy::none())
        .build()
        .map_err(failed)?;
    let request = client
        .post(address)
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string());
    let status = request.send().map_err(failed)?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("the answer is {status}"))
    }
}
