//! One exchange with a service.

use std::io::Read;

use reqwest::blocking::{Client, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::error::LlmError;
use super::failure::Failure;
use super::service::Service;
use crate::net::tls;

/// Longest response that is read, in bytes.
const RESPONSE_LIMIT: u64 = 1 << 20;

/// Headers in which services number requests.
const REQUEST_ID: [&str; 2] = ["x-request-id", "request-id"];

/// A connection to a service.
pub(super) struct Transport {
    client: Client,
    service: Service,
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
            .map_err(|error| LlmError::Client(whole(&error)))?;
        Ok(Self { client, service })
    }

    /// Sends a JSON body to `path` below the base of the service.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Reply, Failure> {
        let request = self
            .client
            .post(self.service.address(path))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        self.read(request.send())
    }

    fn read(&self, response: reqwest::Result<Response>) -> Result<Reply, Failure> {
        let key = self.service.key.as_ref();
        let fault = |message: &str| Failure::on_the_way(message, key);
        let response = response.map_err(|error| fault(&whole(&error.without_url())))?;
        let status = response.status();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        response
            .take(RESPONSE_LIMIT + 1)
            .read_to_end(&mut body)
            .map_err(|error| fault(&format!("the response breaks off: {}", whole(&error))))?;
        if !status.is_success() {
            return Err(Failure::of_response(status.as_u16(), &headers, &body, key));
        }
        if body.len() as u64 > RESPONSE_LIMIT {
            return Err(fault("the response is larger than 1 MiB"));
        }
        match serde_json::from_slice::<Value>(&body) {
            Ok(body) if body.is_object() => Ok(Reply {
                body,
                request_id: REQUEST_ID
                    .iter()
                    .find_map(|name| headers.get(*name)?.to_str().ok())
                    .map(str::to_owned),
            }),
            Ok(_) => Err(fault("the response is no JSON object")),
            Err(error) => Err(fault(&format!("the response is not JSON: {error}"))),
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

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
