//! Asking a service, as patiently as it needs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::adaptation::{Adaptation, AnswerChoice, AnswerForm, LimitName, Written};
use super::answer::{ChatAnswer, Usage};
use super::backoff::Backoff;
use super::budget::{Limits, Price, Spent};
use super::error::LlmError;
use super::exchange::Exchange;
use super::failure::{Failure, FailureClass};
use super::gate::{Gate, Rules};
use super::patience::{LONGEST, Patience};
use super::request::{ChatRequest, estimated_tokens};
use super::service::Service;
use super::transport::{Call, Transport};

/// Whether the program should stop.
pub(super) type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Requests at a time, at most.
    pub concurrency: usize,
    /// Requests per minute.
    pub requests_per_minute: Option<f64>,
    /// Tokens per minute, of requests and answers.
    pub tokens_per_minute: Option<f64>,
    /// Tries per request.
    pub attempts: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            concurrency: 8,
            requests_per_minute: None,
            tokens_per_minute: None,
            attempts: 5,
        }
    }
}

/// A client of one service, for any number of threads.
pub struct LlmClient {
    transport: Transport,
    gate: Gate,
    attempts: u32,
    backoff: Backoff,
    adaptation: Mutex<Adaptation>,
}

impl LlmClient {
    /// A client that keeps to `pace` and `limits` and ends its waiting when
    /// `stop` says so.
    ///
    /// # Errors
    /// Connections cannot be prepared.
    pub fn new(
        service: Service,
        pace: Pace,
        limits: Limits,
        stop: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<Self, LlmError> {
        let rules = Rules {
            pace,
            limits,
            price: None,
            backoff: Backoff::default(),
            stop: Arc::new(stop),
        };
        Ok(Self {
            transport: Transport::new(service)?,
            gate: Gate::new(rules, Spent::default()),
            attempts: pace.attempts.max(1),
            backoff: Backoff::default(),
            adaptation: Mutex::new(Adaptation::new(AnswerChoice::Auto)),
        })
    }

    /// With other waiting times.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self.gate.set_backoff(backoff);
        self
    }

    /// With prices, which a limit of cost needs.
    #[must_use]
    pub fn with_price(mut self, price: Price) -> Self {
        self.gate.set_price(price);
        self
    }

    /// With what earlier calls of the same run have spent.
    #[must_use]
    pub fn with_spent(mut self, spent: Spent) -> Self {
        self.gate.set_spent(spent);
        self
    }

    /// With a form of answers.
    #[must_use]
    pub fn with_answers(mut self, choice: AnswerChoice) -> Self {
        self.adaptation = Mutex::new(Adaptation::new(choice));
        self
    }

    /// With a name for the limit of answers, instead of whichever the service
    /// knows.
    #[must_use]
    pub fn with_limit_name(self, name: LimitName) -> Self {
        self.adaptation().fix_limit_name(name);
        self
    }

    /// With what an earlier run has found out about the same service. Options
    /// that fix something win.
    #[must_use]
    pub fn with_known(self, known: Written) -> Self {
        self.adaptation().recall(known);
        self
    }

    /// How requests are written for the service, if it has said anything about
    /// that.
    pub fn known(&self) -> Option<Written> {
        self.adaptation().known().cloned()
    }

    /// How requests are written now.
    pub fn written(&self) -> Written {
        self.adaptation().written().clone()
    }

    /// Learns from the refusal of a request that was sent in a batch, written as
    /// `used`. Whether it can be written in another way now.
    pub fn learn(&self, failure: &Failure, request: &ChatRequest, used: &Written) -> bool {
        self.adaptation().learn(failure, request, used)
    }

    /// The form of answers that the service knows, as far as that was found out.
    pub fn form(&self) -> AnswerForm {
        self.adaptation().form()
    }

    /// The body of a request as it is sent now.
    pub fn body(&self, request: &ChatRequest) -> Value {
        request.body(&self.adaptation())
    }

    /// Counts an answer that came in a batch.
    pub fn add_spent(&self, usage: Usage, cost: f64) {
        self.gate.add_spent(usage, cost);
    }

    /// The limit that so many requests of a batch would break, which take at
    /// most `worst` and cost a share of the usual price.
    pub fn limit_broken_by(&self, requests: u64, worst: &Usage, share: f64) -> Option<String> {
        self.gate.broken_by(requests, worst, share)
    }

    /// Waits, unless the program should stop.
    ///
    /// # Errors
    /// It should.
    pub fn sleep(&self, time: Duration) -> Result<(), LlmError> {
        self.gate.sleep(time)
    }

    fn adaptation(&self) -> MutexGuard<'_, Adaptation> {
        self.adaptation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Address of the service.
    pub fn address(&self) -> String {
        self.transport.address()
    }

    /// What has been spent so far.
    pub fn spent(&self) -> Spent {
        self.gate.spent()
    }

    /// Cost in USD; 0 if the prices are not known.
    pub fn cost(&self, usage: &Usage) -> f64 {
        self.gate.cost(usage)
    }

    /// Why nothing is sent now, in words, if that is so.
    pub fn waits(&self) -> Option<String> {
        self.gate.waits()
    }

    /// The most tokens that a request can take, beside its pictures.
    pub fn worst_case(request: &ChatRequest) -> Usage {
        Usage {
            prompt_tokens: request.text_tokens(),
            cached_tokens: 0,
            completion_tokens: u64::from(request.max_tokens),
        }
    }

    /// Asks for one answer. `picture_tokens` is the estimated share of pictures.
    /// An answer may be of no use; it is returned, and counted, all the same.
    ///
    /// # Errors
    /// [`LlmError`]; [`LlmError::ends_everything`] tells whether asking for
    /// something else makes sense.
    pub fn chat(&self, request: &ChatRequest, picture_tokens: u64) -> Result<ChatAnswer, LlmError> {
        self.chat_told(request, picture_tokens, &mut |_| {})
    }

    /// The same; `tell` is told of every try.
    ///
    /// # Errors
    /// Those of [`LlmClient::chat`].
    pub fn chat_told(
        &self,
        request: &ChatRequest,
        picture_tokens: u64,
        tell: &mut dyn FnMut(&Exchange<'_>),
    ) -> Result<ChatAnswer, LlmError> {
        let mut worst = Self::worst_case(request);
        worst.prompt_tokens += picture_tokens;
        let (mut sent, mut tries, mut waited) = (0, 0, Duration::ZERO);
        loop {
            let permit = self.gate.enter(worst)?;
            let used = self.adaptation().clone();
            let body = request.body(&used);
            sent += 1;
            let begin = Instant::now();
            let reply = self.transport.post("chat/completions", &body);
            tell(&Exchange {
                attempt: sent,
                latency: begin.elapsed(),
                request: &body,
                response: reply.as_ref().map(|reply| &reply.body),
            });
            let failure = match reply {
                Ok(reply) => {
                    self.adaptation().confirm();
                    let answer =
                        ChatAnswer::of_response(&reply.body, used.form(), reply.request_id);
                    permit.answered(answer.usage.unwrap_or(Usage {
                        completion_tokens: estimated_tokens(&answer.text),
                        ..worst
                    }));
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let waits = permit.failed(&failure);
            match failure.class {
                FailureClass::Auth => return Err(LlmError::Auth(failure)),
                FailureClass::Quota => return Err(LlmError::Quota(failure)),
                FailureClass::Rate => {
                    waited += waits;
                    if waited > LONGEST {
                        return Err(LlmError::Unavailable(failure));
                    }
                }
                FailureClass::Transient => {
                    tries += 1;
                    if tries >= self.attempts {
                        return Err(LlmError::Failed(failure));
                    }
                    let failures = self.gate.failures();
                    self.gate.sleep(self.backoff.wait(tries, failures))?;
                }
                FailureClass::BadRequest => {
                    if !self.adaptation().learn(&failure, request, used.written()) {
                        return Err(LlmError::Failed(failure));
                    }
                }
            }
        }
    }
}

/// Calls that are no questions.
impl LlmClient {
    pub(super) fn failure_of(&self, status: Option<u16>, body: &Value) -> Failure {
        self.transport.failure_of(status, body)
    }

    /// A call, once.
    pub(super) fn call_once(&self, call: &Call<'_>) -> Result<Value, Failure> {
        self.transport.object(call).map(|reply| reply.body)
    }

    /// A call, as often as it makes sense.
    pub(super) fn call(&self, call: &Call<'_>) -> Result<Value, LlmError> {
        self.patiently(|| self.call_once(call))
    }

    /// The content of a file.
    pub(super) fn download(&self, path: &str, limit: u64) -> Result<Vec<u8>, LlmError> {
        self.patiently(|| self.transport.bytes(path, limit))
    }

    fn patiently<T>(&self, call: impl Fn() -> Result<T, Failure>) -> Result<T, LlmError> {
        let mut patience = self.patience();
        loop {
            match call() {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.sleep(patience.wait_after(&failure)?)?,
            }
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience::new(self.attempts, self.backoff)
    }
}

impl std::fmt::Debug for LlmClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlmClient").finish_non_exhaustive()
    }
}
