//! What an answer of the service means when it is not the wished one.

use std::time::Duration;

use serde_json::Value;

/// Longest wait that a service can ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Most of a message that is shown, in characters.
const MESSAGE: usize = 300;

/// Why a request was not answered as wished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It may go well later.
    #[error("{why}")]
    Passing {
        /// What happened.
        why: String,
        /// How long the service wants to be left alone.
        after: Option<Duration>,
    },
    /// The request is larger than the service takes.
    #[error("the service does not take requests of this size (413)")]
    TooLarge,
    /// The service does not want it, now and later, or it must not be asked.
    #[error("{}", told(message, *status))]
    Refused {
        /// HTTP status; none for errors in an answer, and for what is not asked.
        status: Option<u16>,
        /// Why; in the words of the service where it says something.
        message: String,
    },
}

impl Fault {
    /// Something that may be gone soon.
    pub(super) fn passing(why: impl Into<String>) -> Fault {
        Fault::Passing {
            why: why.into(),
            after: None,
        }
    }

    /// Something that is refused whatever the status of the answer, if there is
    /// one.
    pub(super) fn refused(message: impl Into<String>) -> Fault {
        Fault::Refused {
            status: None,
            message: message.into(),
        }
    }

    /// Of an answer with a status that is no success.
    pub(super) fn of_status(status: u16, retry_after: Option<&str>, body: &[u8]) -> Fault {
        let message = message(body).unwrap_or_default();
        match status {
            413 => Fault::TooLarge,
            429 => Fault::Passing {
                why: match message.is_empty() {
                    true => "the service asks to wait (429)".to_owned(),
                    false => format!("the service asks to wait (429): {message}"),
                },
                after: retry_after
                    .and_then(wait)
                    .map(|wait| wait.min(LONGEST_WAIT)),
            },
            300..=399 | 408 | 409 | 425 | 500.. => Fault::passing(told(&message, Some(status))),
            _ => Fault::Refused {
                status: Some(status),
                message,
            },
        }
    }

    /// Whether the service does not accept the key.
    pub fn is_about_the_key(&self) -> bool {
        matches!(
            self,
            Fault::Refused {
                status: Some(401 | 403),
                ..
            }
        )
    }

    /// Whether the account has nothing left.
    pub fn is_about_the_account(&self) -> bool {
        matches!(
            self,
            Fault::Refused {
                status: Some(402),
                ..
            }
        )
    }
}

/// A message with the status of the answer, where that says more.
fn told(message: &str, status: Option<u16>) -> String {
    match (message, status) {
        ("", Some(status)) => format!("the answer has status {status}"),
        (message, Some(status)) => format!("{message} ({status})"),
        (message, None) => message.to_owned(),
    }
}

/// What the service says about a failure.
pub(super) fn message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let text = body["errors"][0]["message"]
        .as_str()
        .or_else(|| body["error"].as_str())
        .or_else(|| body["message"].as_str())?;
    let plain = text.chars().filter(|c| !c.is_control());
    Some(plain.take(MESSAGE).collect())
}

/// Seconds, or a date.
fn wait(header: &str) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = jiff::fmt::rfc2822::parse(header).ok()?;
    let left = date.timestamp().duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_sorted_by_what_helps() {
        let of = |status| Fault::of_status(status, None, b"{\"error\": \"no\"}");
        for status in [302, 408, 409, 425, 429, 500, 502, 507] {
            assert!(matches!(of(status), Fault::Passing { .. }), "{status}");
        }
        for status in [400, 401, 402, 403, 404, 410] {
            assert!(matches!(of(status), Fault::Refused { .. }), "{status}");
        }
        assert_eq!(of(413), Fault::TooLarge);
        assert!(of(401).is_about_the_key() && !of(404).is_about_the_key());
        assert_eq!(of(404).to_string(), "no (404)");
        let silent = |status| Fault::of_status(status, None, b"<html>").to_string();
        assert_eq!(silent(404), "the answer has status 404");
        assert_eq!(silent(502), "the answer has status 502");
        assert_eq!(silent(429), "the service asks to wait (429)");
        // An error in an answer that went well has no status to tell.
        assert_eq!(Fault::refused("no project").to_string(), "no project");
    }

    #[test]
    fn waits_are_seconds_or_dates_and_bounded() {
        assert_eq!(wait("2"), Some(Duration::from_secs(2)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("soon"), None);
        let Fault::Passing { after, .. } = Fault::of_status(429, Some("86400"), b"") else {
            panic!("it passes");
        };
        assert_eq!(after, Some(LONGEST_WAIT));
    }
}
