//! Where a service is, and how it is reached.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;

use super::error::LlmError;
use super::key::ApiKey;
use crate::net::addresses;

/// A service that speaks the OpenAI protocol.
#[derive(Clone, Debug)]
pub struct Service {
    /// Address up to and with the version, such as `http://localhost:8000/v1`.
    pub base: Url,
    /// The key, if it needs one.
    pub key: Option<ApiKey>,
    /// Organisation that is billed, if it is not the key's own.
    pub organisation: Option<String>,
    /// Project that is billed, if it is not the key's own.
    pub project: Option<String>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a whole request may take.
    pub timeout: Duration,
}

impl Service {
    /// The service at `base_url`, else at `OPENAI_BASE_URL`, else the default
    /// one, with the key in the environment variable `key_variable` (`none`: no
    /// key).
    ///
    /// # Errors
    /// No address, an address without TLS outside this machine unless
    /// `insecure_http`, no key.
    pub fn from_environment(
        base_url: Option<&str>,
        key_variable: &str,
        insecure_http: bool,
    ) -> Result<Self, LlmError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = base_url
            .map(str::to_owned)
            .or_else(|| variable("OPENAI_BASE_URL"))
            .unwrap_or_else(|| addresses::LLM_SERVICE.to_owned());
        Ok(Self {
            base: check(&address, insecure_http)?,
            key: ApiKey::from_environment(key_variable)?,
            organisation: variable("OPENAI_ORG_ID"),
            project: variable("OPENAI_PROJECT_ID"),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(120),
        })
    }

    /// Address of a call such as `chat/completions` or `batches?limit=1`.
    pub(super) fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        url.set_query(query);
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }
}

fn check(address: &str, insecure_http: bool) -> Result<Url, LlmError> {
    let wrong = |reason: String| LlmError::Address {
        address: address.to_owned(),
        reason,
    };
    let url = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
    let Some(host) = url.host_str() else {
        return Err(wrong("it names no host".to_owned()));
    };
    let number = host.trim_start_matches('[').trim_end_matches(']');
    let here = host == "localhost" || number.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    match url.scheme() {
        "https" => {}
        "http" if here || insecure_http => {}
        "http" => {
            return Err(wrong(
                "everybody on the way could read the key; use https, or --insecure-http if you \
                 mean it"
                    .to_owned(),
            ));
        }
        other => return Err(wrong(format!("{other} is neither https nor http"))),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "keys belong into the environment, not into addresses".to_owned(),
        ));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_travel_encrypted_or_not_at_all() {
        for (address, insecure, good) in [
            ("https://api.example.org/v1", false, true),
            ("http://localhost:8000/v1", false, true),
            ("http://127.0.0.1/v1/", false, true),
            ("http://[::1]:80/v1", false, true),
            ("http://api.example.org/v1", false, false),
            ("http://api.example.org/v1", true, true),
            ("ftp://api.example.org/v1", true, false),
            ("https://me:secret@api.example.org/v1", true, false),
            ("api.example.org", true, false),
        ] {
            assert_eq!(check(address, insecure).is_ok(), good, "{address}");
        }
    }

    #[test]
    fn calls_are_below_the_base() {
        for base in ["http://localhost/v1", "http://localhost/v1/"] {
            let service = Service::from_environment(Some(base), "none", false).expect("valid");
            let address = service.address("chat/completions");
            assert_eq!(address.as_str(), "http://localhost/v1/chat/completions");
        }
    }
}
