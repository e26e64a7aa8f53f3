//! Failed exchanges and their classes (`annotation.md` section 12).

use std::fmt;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::exchange::request_id;
use super::key::ApiKey;

/// Longest message that is kept, in characters.
const MESSAGE_LENGTH: usize = 300;

/// Longest response that is kept, in bytes.
const RESPONSE_LENGTH: usize = 64 << 10;

/// Longest wait that a service may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

/// What a failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A wrong key: nothing will succeed.
    Auth,
    /// Nothing left to spend: nothing will succeed.
    Quota,
    /// Too fast: wait.
    Rate,
    /// A fault of network or service: try again.
    Transient,
    /// The request is refused as it is.
    BadRequest,
}

/// A failed exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it calls for.
    pub class: FailureClass,
    /// HTTP status, if there was a response.
    pub status: Option<u16>,
    /// The service's code of the error.
    pub code: Option<String>,
    /// The parameter it is about.
    pub parameter: Option<String>,
    /// In words, on one line, without the key.
    pub message: String,
    /// How long the service says to wait.
    pub wait: Option<Duration>,
    /// Number of the request at the service.
    pub request_id: Option<String>,
    /// The begin of the response, without the key; empty if there was none.
    pub response: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(status) = self.status {
            write!(f, "HTTP status {status}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Failure {
    /// A fault on the way: no response, or one that cannot be read.
    pub(super) fn on_the_way(message: &str, key: Option<&ApiKey>) -> Self {
        Self {
            class: FailureClass::Transient,
            status: None,
            code: None,
            parameter: None,
            message: one_line(message, key),
            wait: None,
            request_id: None,
            response: String::new(),
        }
    }

    /// With the response that it is about.
    pub(super) fn with_response(
        mut self,
        headers: &HeaderMap,
        body: &[u8],
        key: Option<&ApiKey>,
    ) -> Self {
        let text = String::from_utf8_lossy(body);
        let mut text = key.map_or_else(|| text.to_string(), |key| key.hide_in(&text));
        text.truncate(text.floor_char_boundary(RESPONSE_LENGTH));
        self.response = text;
        self.request_id = request_id(headers);
        self
    }

    /// A response that says something else than it should.
    pub(super) fn unreadable(message: &str) -> Self {
        Self::on_the_way(message, None)
    }

    /// A response with a status other than success.
    pub(super) fn of_response(
        status: u16,
        headers: &HeaderMap,
        body: &[u8],
        key: Option<&ApiKey>,
    ) -> Self {
        let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let error = &json["error"];
        let text = |name: &str| error[name].as_str().map(|text| one_line(text, key));
        let code = text("code").or_else(|| text("type"));
        let message = text("message")
            .or_else(|| error.as_str().map(|text| one_line(text, key)))
            .unwrap_or_else(|| one_line(&String::from_utf8_lossy(body), key));
        let class = match status {
            401 | 403 => FailureClass::Auth,
            429 if is_quota(code.as_deref()) || is_quota(text("type").as_deref()) => {
                FailureClass::Quota
            }
            429 => FailureClass::Rate,
            408 | 409 | 425 | 500..=599 => FailureClass::Transient,
            _ => FailureClass::BadRequest,
        };
        Self {
            class,
            status: Some(status),
            code,
            parameter: text("param"),
            message: match message.as_str() {
                "" => "no reason given".to_owned(),
                _ => message,
            },
            wait: wait(headers, SystemTime::now()),
            request_id: None,
            response: String::new(),
        }
        .with_response(headers, body, key)
    }

    /// Whether the failure is about the parameter `name`.
    pub(super) fn names(&self, name: &str) -> bool {
        let is_word =
            |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let in_words = || {
            self.message.match_indices(name).any(|(at, found)| {
                !is_word(self.message[..at].chars().next_back())
                    && !is_word(self.message[at + found.len()..].chars().next())
            })
        };
        match &self.parameter {
            Some(parameter) => parameter.split('.').next() == Some(name),
            None => in_words(),
        }
    }
}

fn is_quota(code: Option<&str>) -> bool {
    code.is_some_and(|code| code == "insufficient_quota" || code.starts_with("billing_"))
}

/// Text from outside on one line of bounded length, without control characters
/// and without the key.
fn one_line(text: &str, key: Option<&ApiKey>) -> String {
    let text = key.map_or_else(|| text.to_owned(), |key| key.hide_in(text));
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How long to wait: the most exact header that is there.
fn wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    let seconds = header("retry-after-ms")
        .and_then(number)
        .map(|milliseconds| milliseconds / 1000.0)
        .or_else(|| {
            let text = header("retry-after")?;
            number(text).or_else(|| seconds_until(text, now))
        })
        .or_else(|| {
            let resets = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
            resets
                .into_iter()
                .filter_map(|name| span(header(name)?))
                .max_by(f64::total_cmp)
        })?;
    let seconds = seconds.clamp(0.0, LONGEST_WAIT.as_secs_f64());
    Some(Duration::from_secs_f64(seconds))
}

/// Seconds until an HTTP date.
fn seconds_until(date: &str, now: SystemTime) -> Option<f64> {
    let then = jiff::fmt::rfc2822::parse(date.trim()).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(now).ok()?;
    Some((then.as_millisecond() - now.as_millisecond()) as f64 / 1000.0)
}

/// Seconds of a span such as `1s`, `6m0s`, `20ms`, `1h2m3.5s`.
fn span(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let factor = match &after[..unit] {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = &after[unit..];
    }
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        Failure::of_response(status, &HeaderMap::new(), body.as_bytes(), None)
    }

    #[test]
    fn classes_are_those_of_the_table() {
        use FailureClass::*;
        for (status, code, class) in [
            (401, "invalid_api_key", Auth),
            (403, "", Auth),
            (429, "insufficient_quota", Quota),
            (429, "billing_hard_limit_reached", Quota),
            (429, "rate_limit_exceeded", Rate),
            (408, "", Transient),
            (409, "", Transient),
            (425, "", Transient),
            (500, "", Transient),
            (503, "", Transient),
            (400, "", BadRequest),
            (404, "model_not_found", BadRequest),
            (413, "", BadRequest),
            (422, "", BadRequest),
            (302, "", BadRequest),
        ] {
            let body = format!("{{\"error\": {{\"code\": \"{code}\", \"message\": \"no\"}}}}");
            assert_eq!(failure(status, &body).class, class, "{status} {code}");
        }
        // Some services say it in the type.
        let body = r#"{"error": {"type": "insufficient_quota", "code": null, "message": "no"}}"#;
        assert_eq!(failure(429, body).class, Quota);
    }

    #[test]
    fn messages_are_one_line_whatever_comes() {
        assert_eq!(
            failure(500, "<html>\n\x1b[31mbad\r\n").message,
            "<html> [31mbad"
        );
        assert_eq!(failure(500, "").message, "no reason given");
        assert!(failure(500, &"ä".repeat(10_000)).message.chars().count() <= 301);
    }

    #[test]
    fn a_parameter_is_named_as_a_word() {
        let body = r#"{"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}"#;
        assert!(failure(400, body).names("max_tokens"));
        let body = r#"{"error": {"message": "'max_completion_tokens' is new"}}"#;
        assert!(!failure(400, body).names("max_tokens"));
        let body = r#"{"error": {"param": "response_format.type", "message": "temperature"}}"#;
        assert!(failure(400, body).names("response_format"));
        assert!(!failure(400, body).names("temperature"));
    }

    #[test]
    fn waits_come_from_the_most_exact_header() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        for (headers, milliseconds) in [
            (vec![("retry-after", "3")], Some(3_000)),
            (vec![("retry-after", "0.25")], Some(250)),
            (
                vec![("retry-after", "9"), ("retry-after-ms", "20")],
                Some(20),
            ),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")],
                Some(7_000),
            ),
            (
                vec![("retry-after", "Sun, 06 Nov 1994 08:49:07 GMT")],
                Some(0),
            ),
            (
                vec![
                    ("x-ratelimit-reset-requests", "1m2s"),
                    ("x-ratelimit-reset-tokens", "20ms"),
                ],
                Some(62_000),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![], None),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(
                wait(&map, now),
                milliseconds.map(Duration::from_millis),
                "{headers:?}"
            );
        }
    }
}
