//! One exchange with a service.

use std::io::Read;

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::error::LlmError;
use super::exchange::request_id;
use super::failure::{Failure, FailureClass};
use super::multipart;
use super::service::Service;
use crate::causes::with_causes;
use crate::net::tls;

/// Longest response that is read, in bytes.
const RESPONSE_LIMIT: u64 = 1 << 20;

/// How many times longer than questions files may take.
const LONG: u32 = 10;

/// A connection to a service.
pub(super) struct Transport {
    client: Client,
    service: Service,
}

/// What is asked of a service. Paths are below its base.
pub(super) enum Call<'a> {
    Get(&'a str),
    Delete(&'a str),
    Post(&'a str, &'a Value),
    /// Path, name of the file, content.
    Upload(&'a str, &'a str, &'a [u8]),
}

/// A response that is a JSON object.
pub(super) struct Reply {
    pub(super) body: Value,
    pub(super) request_id: Option<String>,
}

impl Transport {
    pub(super) fn new(service: Service) -> Result<Self, LlmError> {
        tls::install_provider();
        let client = Client::builder()
            .user_agent(concat!("novic/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers(&service)?)
            .connect_timeout(service.connect_timeout)
            .timeout(service.timeout)
            // The key must not be sent to where a service points.
            .redirect(Policy::none())
            .build()
            .map_err(|error| LlmError::Client(with_causes(&error)))?;
        Ok(Self { client, service })
    }

    /// Address of the service; it has no secrets in it.
    pub(super) fn address(&self) -> String {
        self.service.base.to_string()
    }

    /// Sends a JSON body to `path` below the base of the service.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        self.object(&Call::Post(path, body))
    }

    /// A call whose answer is a JSON object.
    pub(super) fn object(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let key = self.service.key.as_ref();
        let (headers, bytes) = self.exchange(call, RESPONSE_LIMIT)?;
        let why = match serde_json::from_slice::<Value>(&bytes) {
            Ok(body) if body.is_object() => {
                let request_id = request_id(&headers);
                return Ok(Reply { body, request_id });
            }
            Ok(_) => "the response is no JSON object".to_owned(),
            Err(error) => format!("the response is not JSON: {error}"),
        };
        Err(Failure::on_the_way(&why, key).with_response(&headers, &bytes, key))
    }

    /// A call whose answer is anything of at most `limit` bytes.
    pub(super) fn bytes(&self, path: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let (_, body) = self.exchange(&Call::Get(path), limit)?;
        Ok(body)
    }

    /// A failure that the body of a response describes.
    pub(super) fn failure_of(&self, status: Option<u16>, body: &Value) -> Failure {
        let key = self.service.key.as_ref();
        let text = body.to_string();
        match status {
            Some(status) => Failure::of_response(status, &HeaderMap::new(), text.as_bytes(), key),
            None => {
                let none = HeaderMap::new();
                let failure = Failure::of_response(429, &none, text.as_bytes(), key);
                if failure.class == FailureClass::Quota {
                    return failure;
                }
                let message = body["error"]["message"].as_str().unwrap_or(&text);
                Failure {
                    code: failure.code,
                    ..Failure::on_the_way(message, key)
                }
            }
        }
    }

    fn exchange(&self, call: &Call<'_>, limit: u64) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let key = self.service.key.as_ref();
        let fault = |message: &str| Failure::on_the_way(message, key);
        let response = self.request(call).send();
        let response = response.map_err(|error| fault(&with_causes(&error.without_url())))?;
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        response
            .take(limit.saturating_add(1))
            .read_to_end(&mut body)
            .map_err(|error| fault(&format!("the response breaks off: {}", with_causes(&error))))?;
        if !status.is_success() {
            return Err(Failure::of_response(status.as_u16(), &headers, &body, key));
        }
        if body.len() as u64 > limit {
            return Err(fault(&format!("the response is larger than {limit} bytes")));
        }
        Ok((headers, body))
    }

    fn request(&self, call: &Call<'_>) -> RequestBuilder {
        let at = |path: &str| self.service.address(path);
        // Files are large; whole answers are not.
        let long = self.service.timeout.saturating_mul(LONG);
        match call {
            Call::Get(path) => self
                .client
                .get(at(path))
                .timeout(match path.starts_with("files") {
                    true => long,
                    false => self.service.timeout,
                }),
            Call::Delete(path) => self.client.delete(at(path)),
            Call::Post(path, body) => self
                .client
                .post(at(path))
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string()),
            Call::Upload(path, name, content) => self
                .client
                .post(at(path))
                .timeout(long)
                .header(CONTENT_TYPE, multipart::content_type())
                .body(multipart::form("batch", name, content)),
        }
    }
}

fn headers(service: &Service) -> Result<HeaderMap, LlmError> {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, text: String, secret: bool| {
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| LlmError::Client(format!("{name} cannot be sent")))?;
        value.set_sensitive(secret);
        headers.insert(name, value);
        Ok(())
    };
    if let Some(key) = &service.key {
        add(AUTHORIZATION, format!("Bearer {}", key.expose()), true)?;
    }
    if let Some(name) = &service.organisation {
        add(
            HeaderName::from_static("openai-organization"),
            name.clone(),
            false,
        )?;
    }
    if let Some(name) = &service.project {
        add(
            HeaderName::from_static("openai-project"),
            name.clone(),
            false,
        )?;
    }
    Ok(headers)
}
