//! The HTTP side: one request, one answer, and what a failure means. Nothing is
//! tried again here.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::bytes::Bytes;
use reqwest::blocking::{Body, Client as Http, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Url};
use serde_json::{Value, json};

use super::error::WandbError;
use super::fault::{self, Fault};
use super::key::ApiKey;
use crate::causes::with_causes;
use crate::net::tls;

/// Longest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 1 << 30;

/// Connections to a service.
#[derive(Debug)]
pub struct Client {
    http: Http,
    base: String,
    /// The address as people may see it.
    address: String,
    key: ApiKey,
}

/// Name of the machine in an address.
///
/// # Errors
/// It is no address.
pub(super) fn host(base_url: &str) -> Result<String, WandbError> {
    let wrong = || WandbError::Address(base_url.to_owned());
    let url = Url::parse(base_url).map_err(|_| wrong())?;
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(host)) => Ok(host.to_owned()),
        _ => Err(wrong()),
    }
}

/// An address as people may see it: without the name and password that it may
/// have.
pub(super) fn plain_address(base_url: &str) -> String {
    let Ok(mut url) = Url::parse(base_url) else {
        return "the address that is set".to_owned();
    };
    // Addresses without a machine have neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

/// The certificates of a file.
fn certificates(path: &Path) -> Result<Vec<Certificate>, WandbError> {
    let wrong = |why: String| WandbError::Certificates {
        path: path.to_path_buf(),
        why,
    };
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| wrong(with_causes(&error)))?;
    match found.is_empty() {
        true => Err(wrong("it has no certificates (PEM)".to_owned())),
        false => Ok(found),
    }
}

impl Client {
    /// Connections to the service at `base_url`, with the key that the user has
    /// for it. The certificates in `ca_file` are trusted beside those of the
    /// system.
    ///
    /// # Errors
    /// There is no key, the address is none, or there are no certificates.
    pub fn open(base_url: &str, ca_file: Option<&Path>) -> Result<Client, WandbError> {
        Client::new(base_url, ca_file, ApiKey::of_service(base_url)?)
    }

    /// Connections with a given key.
    ///
    /// # Errors
    /// No client can be made.
    pub fn new(base_url: &str, ca_file: Option<&Path>, key: ApiKey) -> Result<Client, WandbError> {
        host(base_url)?;
        tls::install_provider();
        let more = ca_file.map(certificates).transpose()?;
        let http = Http::builder()
            .tls_certs_merge(more.unwrap_or_default())
            .user_agent(concat!("novic/", env!("CARGO_PKG_VERSION")))
            // The key must not be sent to where a service points.
            .redirect(Policy::none())
            .timeout(None)
            .build()
            .map_err(|error| WandbError::Client(with_causes(&error)))?;
        Ok(Client {
            http,
            base: base_url.trim_end_matches('/').to_owned(),
            address: plain_address(base_url),
            key,
        })
    }

    /// The address of the service, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What this service did not do.
    pub(super) fn trouble(&self, fault: Fault) -> WandbError {
        WandbError::Service {
            address: self.address.clone(),
            fault,
        }
    }

    /// Asks a GraphQL operation; returns its `data`.
    ///
    /// # Errors
    /// See [`Fault`]. Errors in a 200 answer are refusals.
    pub fn graphql(
        &self,
        operation: &str,
        query: &str,
        variables: &Value,
        timeout: Duration,
    ) -> Result<Value, Fault> {
        let body = json!({
            "operationName": operation,
            "query": query,
            "variables": variables,
        });
        let url = format!("{}/graphql", self.base);
        let answer = self.post(&url, body.to_string().into(), timeout)?;
        let errors = answer.get("errors").and_then(Value::as_array);
        if errors.is_some_and(|errors| !errors.is_empty()) {
            let text = fault::message(answer.to_string().as_bytes());
            let text = text.unwrap_or_else(|| "the service reports an error".to_owned());
            return Err(Fault::refused(self.key.hide_in(&text)));
        }
        match answer {
            Value::Object(mut answer) => Ok(answer.remove("data").unwrap_or(Value::Null)),
            _ => Err(Fault::passing("the answer is no JSON object")),
        }
    }

    /// Sends a request of the file stream of a run.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn file_stream(
        &self,
        entity: &str,
        project: &str,
        run: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Value, Fault> {
        let path = [entity, project, run].map(segment).join("/");
        let url = format!("{}/files/{path}/file_stream", self.base);
        let answer = self.post(&url, body, timeout)?;
        if answer.is_object() {
            Ok(answer)
        } else {
            Err(Fault::passing("the answer is no JSON object"))
        }
    }

    /// Puts a file where the service wants it, without the key.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn put(
        &self,
        url: &str,
        headers: &[String],
        (file, length): (File, u64),
        timeout: Duration,
    ) -> Result<(), Fault> {
        let body = Body::sized(file, length);
        let mut request = self.http.put(self.absolute(url)).body(body);
        for header in headers {
            if let Some((name, value)) = header.split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        self.answer(request, timeout).map(drop)
    }

    /// Gets a file from where the service keeps it.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn get(&self, url: &str, timeout: Duration) -> Result<Vec<u8>, Fault> {
        self.answer(self.http.get(self.absolute(url)), timeout)
    }

    /// Some servers name files by their path alone.
    fn absolute(&self, url: &str) -> String {
        if url.starts_with('/') {
            format!("{}{url}", self.base)
        } else {
            url.to_owned()
        }
    }

    fn post(&self, url: &str, body: Bytes, timeout: Duration) -> Result<Value, Fault> {
        let request = self
            .http
            .post(url)
            .basic_auth("api", Some(self.key.expose()))
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let answer = self.answer(request, timeout)?;
        serde_json::from_slice(&answer).map_err(|_| {
            Fault::passing("the answer is not JSON: something else answers in place of the service")
        })
    }

    /// The body of a successful answer, all within `timeout`.
    fn answer(&self, request: RequestBuilder, timeout: Duration) -> Result<Vec<u8>, Fault> {
        let until = Instant::now() + timeout;
        let passing = |error: reqwest::Error| {
            Fault::passing(self.key.hide_in(&with_causes(&error.without_url())))
        };
        let response = request.timeout(timeout).send().map_err(passing)?;
        let status = response.status();
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = header.and_then(|value| value.to_str().ok());
        let retry_after = retry_after.map(str::to_owned);
        let body = read(response, until);
        if status.is_success() {
            return body;
        }
        let body = body.unwrap_or_default();
        let body = self.key.hide_in(&String::from_utf8_lossy(&body));
        Err(Fault::of_status(
            status.as_u16(),
            retry_after.as_deref(),
            body.as_bytes(),
        ))
    }
}

/// The body, unless it comes too slowly.
fn read(response: Response, until: Instant) -> Result<Vec<u8>, Fault> {
    let announced = response.content_length();
    let mut response = response.take(ANSWER_LIMIT);
    let mut body = Vec::new();
    let mut buffer = [0; 1 << 14];
    loop {
        let count = response
            .read(&mut buffer)
            .map_err(|error| Fault::passing(format!("the answer breaks off: {error}")))?;
        if count == 0 {
            break;
        }
        body.extend_from_slice(&buffer[..count]);
        if Instant::now() > until {
            return Err(Fault::passing("the answer comes too slowly"));
        }
    }
    if announced.is_some_and(|length| length != body.len() as u64) {
        return Err(Fault::passing("the answer breaks off"));
    }
    Ok(body)
}

/// A segment of a path.
fn segment(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes()
        .map(|byte| match plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_of_paths_are_encoded() {
        assert_eq!(segment("a b/ü~1"), "a%20b%2F%C3%BC~1");
    }

    #[test]
    fn addresses_have_a_machine() {
        assert_eq!(host("https://api.wandb.ai").unwrap(), "api.wandb.ai");
        assert_eq!(host("http://127.0.0.1:80/x").unwrap(), "127.0.0.1");
        for wrong in ["", "api.wandb.ai", "ftp://x", "http://"] {
            assert!(host(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            plain_address("https://me:secret@wandb.lab:8080/sub/?key=secret"),
            "https://wandb.lab:8080/sub"
        );
        assert_eq!(
            plain_address("https://api.wandb.ai"),
            "https://api.wandb.ai"
        );
    }
}
