//! Polite requests: who asks is named, a pause precedes every one, failures
//! are waited out longer and longer, and the service's own wish for a pause
//! counts.

use std::io::Read;
use std::ops::ControlFlow;
use std::time::Duration;

use reqwest::Url;
use reqwest::blocking::{Client, Response};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::super::error::CollectError;
use super::pages::{UnexpectedShape, continuation};
use crate::net;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// Time for a request with its answer.
const WHOLE: Duration = Duration::from_secs(60);
/// Longest pause that a service may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Largest answer in JSON.
const ANSWER_LIMIT: u64 = 16 << 20;
/// Times that a query is tried.
const QUERY_TRIES: u32 = 8;
/// Answers that one query may go on for.
const MOST_ANSWERS: usize = 100;
/// Times that a file is tried.
const FILE_TRIES: u32 = 3;

/// Pauses between requests.
pub trait Clock: Sync {
    /// Lets time pass; returns early when there is no more reason to wait.
    fn pause(&self, time: Duration);
}

/// The clock of the machine.
pub struct WallClock<'a> {
    /// Raised when nobody needs to wait any more.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

impl Clock for WallClock<'_> {
    fn pause(&self, time: Duration) {
        const STEP: Duration = Duration::from_millis(50);
        let mut left = time;
        while !left.is_zero() && !(self.stop)() {
            let step = left.min(STEP);
            std::thread::sleep(step);
            left -= step;
        }
    }
}

/// How long the service is left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// Before every query.
    pub before: Duration,
    /// After the first failed query; doubled from failure to failure.
    pub backoff: Duration,
    /// After a failed download.
    pub download: Duration,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct NoAnswer(pub String);

/// The service with its manners.
pub(super) struct Service<'a> {
    client: Client,
    api: Url,
    pauses: Pauses,
    clock: &'a dyn Clock,
    stop: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Service<'a> {
    pub(super) fn new(
        api: &str,
        user_agent: &str,
        pauses: Pauses,
        clock: &'a dyn Clock,
        stop: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, CollectError> {
        net::install_tls();
        let failed = |error: &dyn std::fmt::Display| CollectError::Client(error.to_string());
        let api = Url::parse(api).map_err(|error| failed(&format!("{api}: {error}")))?;
        let client = Client::builder()
            .user_agent(user_agent)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(Policy::limited(5))
            .build()
            .map_err(|error| failed(&error))?;
        Ok(Self {
            client,
            api,
            pauses,
            clock,
            stop,
        })
    }

    /// Asks a query and whatever its answer goes on with. `take` gets every
    /// answer, and says whether the next one is wanted.
    pub(super) fn query_on(
        &self,
        parameters: &[(&str, &str)],
        mut take: impl FnMut(&Value) -> Result<ControlFlow<()>, UnexpectedShape>,
    ) -> Result<(), NoAnswer> {
        let mut more: Vec<(String, String)> = Vec::new();
        for _ in 0..MOST_ANSWERS {
            let mut all = parameters.to_vec();
            let of_before = more
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            all.extend(of_before);
            let answer = self.query(&all)?;
            let wanted = take(&answer)
                .map_err(|_| NoAnswer("the answer has another shape than expected".to_owned()))?;
            let next = continuation(&answer);
            if wanted.is_break() || next.is_empty() {
                return Ok(());
            }
            if next == more {
                break;
            }
            more = next;
        }
        Err(NoAnswer("the answer goes on without an end".to_owned()))
    }

    /// Asks a query, up to `QUERY_TRIES` times.
    fn query(&self, parameters: &[(&str, &str)]) -> Result<Value, NoAnswer> {
        let mut address = self.api.clone();
        address
            .query_pairs_mut()
            .extend_pairs(parameters)
            .append_pair("maxlag", "5");
        let mut last = NoAnswer("interrupted".to_owned());
        for attempt in 0..QUERY_TRIES {
            self.clock.pause(self.pauses.before);
            if (self.stop)() {
                break;
            }
            match self.ask(&address) {
                Ok(answer) => return Ok(answer),
                Err((error, wished)) => {
                    last = error;
                    let doubled = self.pauses.backoff * 2u32.saturating_pow(attempt);
                    self.clock
                        .pause(doubled.max(wished.unwrap_or_default().min(LONGEST_WAIT)));
                }
            }
        }
        Err(last)
    }

    /// One query. With the reason for a failure comes the pause that the
    /// service wishes for.
    fn ask(&self, address: &Url) -> Result<Value, (NoAnswer, Option<Duration>)> {
        let plain = |error: reqwest::Error| (NoAnswer(error.without_url().to_string()), None);
        let response = self.client.get(address.clone()).send().map_err(plain)?;
        let wished = retry_after(&response);
        let fail = |reason: String| (NoAnswer(reason), wished);
        let status = response.status();
        if !status.is_success() {
            return Err(fail(format!("the service answered {status}")));
        }
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.contains("json") {
            return Err(fail(format!("the answer is {kind:?}, not JSON")));
        }
        let mut body = Vec::new();
        response
            .take(ANSWER_LIMIT)
            .read_to_end(&mut body)
            .map_err(|error| fail(format!("the answer breaks off: {error}")))?;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|error| fail(format!("the answer is not JSON: {error}")))?;
        match answer["error"]["code"].as_str() {
            Some("maxlag" | "ratelimited") => Err(fail("the service asks for a pause".to_owned())),
            _ => Ok(answer),
        }
    }

    /// Fetches a file of at most `limit` bytes, up to `FILE_TRIES` times.
    pub(super) fn download(&self, address: &str, limit: u64) -> Result<Vec<u8>, NoAnswer> {
        let mut last = NoAnswer("interrupted".to_owned());
        for _ in 0..FILE_TRIES {
            if (self.stop)() {
                break;
            }
            match self.fetch(address, limit) {
                Ok(bytes) => return Ok(bytes),
                Err((error, wished)) => {
                    last = error;
                    let wished = wished.unwrap_or_default().min(LONGEST_WAIT);
                    self.clock.pause(self.pauses.download.max(wished));
                }
            }
        }
        Err(last)
    }

    fn fetch(&self, address: &str, limit: u64) -> Result<Vec<u8>, (NoAnswer, Option<Duration>)> {
        let plain = |error: reqwest::Error| (NoAnswer(error.without_url().to_string()), None);
        let response = self.client.get(address).send().map_err(plain)?;
        let wished = retry_after(&response);
        let fail = |reason: String| (NoAnswer(reason), wished);
        if !response.status().is_success() {
            let status = response.status();
            return Err(fail(format!("the service answered {status}")));
        }
        let expected = response.content_length();
        let mut bytes = Vec::new();
        response
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| fail(format!("the file breaks off: {error}")))?;
        if bytes.len() as u64 > limit {
            return Err(fail(format!("the file is larger than {limit} bytes")));
        }
        match expected {
            Some(expected) if expected != bytes.len() as u64 => {
                Err(fail("the file breaks off".to_owned()))
            }
            _ => Ok(bytes),
        }
    }
}

/// The pause that an answer asks for, in seconds or until a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let seconds = until.duration_since(jiff::Timestamp::now()).as_secs();
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
