//! Options of commands that ask language models.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{CliError, Exit};
use crate::config::schema::{
    AnnotateAnswer, AnnotateBackoff, AnnotateGpt, AnnotateLimit, ModelPrice,
};
use crate::net::llm::{
    AnswerChoice, AnswerForm, Backoff, LimitName, Limits, LlmClient, LlmError, Pace, Price,
    Service, Spent, known_price,
};
use crate::runner::Interrupt;

/// Which service is asked, how fast, and for how much.
#[derive(Clone, Debug, Args)]
pub(super) struct LlmArgs {
    /// Address of an OpenAI-compatible service, with its version
    /// [default: OPENAI_BASE_URL, else OpenAI]
    #[arg(long, value_name = "URL", help_heading = "Service")]
    base_url: Option<String>,
    /// Environment variable that holds the key, or `none` [default: OPENAI_API_KEY]
    #[arg(long, value_name = "NAME", help_heading = "Service")]
    api_key_env: Option<String>,
    /// Send the key in the clear to other machines
    #[arg(long, help_heading = "Service")]
    insecure_http: bool,
    /// Form of answers: JSON that keeps to a schema, JSON, or text [default: auto]
    #[arg(long, value_enum, help_heading = "Service")]
    answer: Option<Form>,
    /// Seconds that a request may take [default: 120]
    #[arg(long, value_name = "SECONDS", help_heading = "Service")]
    timeout: Option<f64>,
    /// Seconds that a connection may take [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = "Service")]
    connect_timeout: Option<f64>,
    /// Name of the limit of an answer [default: auto: whichever the service knows]
    #[arg(long, value_enum, help_heading = "Service")]
    token_param: Option<TokenParam>,
    /// Members that requests have beside those of other options
    #[arg(long, value_name = "JSON", help_heading = "Service")]
    extra_body: Option<String>,
    /// Requests at a time; fewer while the service is too busy [default: 8]
    #[arg(long, value_name = "N", help_heading = "Pace")]
    concurrency: Option<usize>,
    /// Requests per minute
    #[arg(long, value_name = "N", help_heading = "Pace")]
    rpm: Option<f64>,
    /// Tokens per minute
    #[arg(long, value_name = "N", help_heading = "Pace")]
    tpm: Option<f64>,
    /// Tries per request [default: 5]
    #[arg(long, value_name = "N", help_heading = "Pace")]
    attempts: Option<u32>,
    /// Longest wait before the second try, in seconds; it doubles with each
    /// [default: 1]
    #[arg(long, value_name = "SECONDS", help_heading = "Pace")]
    backoff_base: Option<f64>,
    /// Waits between tries: by chance, or like the original after failures in a row
    /// [default: jitter]
    #[arg(long, value_enum, help_heading = "Pace")]
    backoff: Option<Waits>,
    /// Send at most so many requests
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_requests: Option<u64>,
    /// Spend at most so much
    #[arg(long, value_name = "USD", help_heading = "Budget")]
    max_cost: Option<f64>,
    /// Use at most so many tokens
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_tokens: Option<u64>,
    /// USD per million tokens of requests, of those seen before, of answers
    #[arg(long, value_name = "INPUT,[CACHED,]OUTPUT", value_parser = parse_price, help_heading = "Budget")]
    price: Option<Price>,
    /// Prices of the configuration: by model, and of any model.
    #[arg(skip)]
    prices: BTreeMap<String, ModelPrice>,
    #[arg(skip)]
    any_price: Option<Price>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TokenParam {
    Auto,
    #[value(name = "max_tokens")]
    MaxTokens,
    #[value(name = "max_completion_tokens")]
    MaxCompletionTokens,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Auto,
    Schema,
    Json,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Waits {
    Jitter,
    Novic,
}

impl LlmArgs {
    /// With what the configuration says where nothing is given.
    pub(super) fn filled(
        &self,
        config: &AnnotateGpt,
        prices: &BTreeMap<String, ModelPrice>,
    ) -> Self {
        let limit = |limit: Option<u64>, configured: Option<u64>| limit.or(configured);
        Self {
            base_url: self.base_url.clone().or(config.base_url.clone()),
            api_key_env: Some(
                self.api_key_env
                    .clone()
                    .unwrap_or_else(|| config.api_key_env.clone()),
            ),
            answer: Some(self.answer.unwrap_or(match config.answer {
                AnnotateAnswer::Auto => Form::Auto,
                AnnotateAnswer::Schema => Form::Schema,
                AnnotateAnswer::Json => Form::Json,
                AnnotateAnswer::Text => Form::Text,
            })),
            timeout: Some(self.timeout.unwrap_or(config.timeout)),
            connect_timeout: Some(self.connect_timeout.unwrap_or(config.connect_timeout)),
            token_param: Some(self.token_param.unwrap_or(match config.token_param {
                AnnotateLimit::Auto => TokenParam::Auto,
                AnnotateLimit::MaxTokens => TokenParam::MaxTokens,
                AnnotateLimit::MaxCompletionTokens => TokenParam::MaxCompletionTokens,
            })),
            insecure_http: self.insecure_http || config.insecure_http,
            extra_body: self.extra_body.clone().or(config.extra_body.clone()),
            backoff_base: Some(self.backoff_base.unwrap_or(config.backoff_base)),
            backoff: Some(self.backoff.unwrap_or(match config.backoff {
                AnnotateBackoff::Jitter => Waits::Jitter,
                AnnotateBackoff::Novic => Waits::Novic,
            })),
            concurrency: Some(self.concurrency.unwrap_or(config.concurrency)),
            rpm: self.rpm.or(config.rpm),
            tpm: self.tpm.or(config.tpm),
            attempts: Some(self.attempts.unwrap_or(config.attempts as u32)),
            max_requests: limit(self.max_requests, config.max_requests),
            max_cost: self.max_cost.or(config.max_cost),
            max_tokens: limit(self.max_tokens, config.max_tokens),
            prices: prices.clone(),
            any_price: configured_price(config),
            ..self.clone()
        }
    }

    /// Whether the service may have a say in the form of answers.
    pub(super) fn chooses_form(&self) -> bool {
        self.form() == Form::Auto
    }

    fn form(&self) -> Form {
        self.answer.unwrap_or(Form::Auto)
    }

    /// Prices of a model, if they are known.
    pub(super) fn price(&self, model: &str) -> Option<Price> {
        let usual = || self.any_price.or_else(|| known_price(model));
        self.price.or_else(|| match self.prices.get(model) {
            Some(own) => price_of(own, usual()),
            None => usual(),
        })
    }

    /// Questions at a time.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.unwrap_or(8).max(1)
    }

    /// The form that is asked for first.
    pub(super) fn first_form(&self) -> AnswerForm {
        match self.form() {
            Form::Auto | Form::Schema => AnswerForm::Schema,
            Form::Json => AnswerForm::Json,
            Form::Text => AnswerForm::Text,
        }
    }

    /// More members of requests.
    pub(super) fn extra_body(&self) -> Result<Map<String, Value>, CliError> {
        match &self.extra_body {
            None => Ok(Map::new()),
            Some(text) => serde_json::from_str(text).map_err(|error| {
                CliError::usage(format!("--extra-body is no JSON object: {error}"))
            }),
        }
    }

    /// The client, which counts on from what was `spent`.
    pub(super) fn client(
        &self,
        model: &str,
        spent: Spent,
        stop: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Result<LlmClient, CliError> {
        let price = self.price(model);
        if self.max_cost.is_some() && price.is_none() {
            let model = model.to_owned();
            return Err(llm_error(&LlmError::NoPrice { model }));
        }
        let seconds = |name: &str, seconds: f64| {
            let time = Duration::try_from_secs_f64(seconds).ok();
            time.filter(|time| !time.is_zero())
                .ok_or_else(|| CliError::usage(format!("--{name} must be more than 0 seconds")))
        };
        for (name, rate) in [("rpm", self.rpm), ("tpm", self.tpm)] {
            if rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
                return Err(CliError::usage(format!("--{name} must be more than 0")));
            }
        }
        let service = Service {
            timeout: seconds("timeout", self.timeout.unwrap_or(120.0))?,
            connect_timeout: seconds("connect-timeout", self.connect_timeout.unwrap_or(10.0))?,
            ..Service::from_environment(
                self.base_url.as_deref(),
                self.api_key_env.as_deref().unwrap_or("OPENAI_API_KEY"),
                self.insecure_http,
            )
            .map_err(|error| llm_error(&error))?
        };
        let pace = Pace {
            concurrency: self.concurrency(),
            requests_per_minute: self.rpm,
            tokens_per_minute: self.tpm,
            attempts: self.attempts.unwrap_or(5),
        };
        let limits = Limits {
            requests: self.max_requests,
            tokens: self.max_tokens,
            cost: self.max_cost,
        };
        let client = LlmClient::new(service, pace, limits, stop)
            .map_err(|error| llm_error(&error))?
            .with_backoff(match self.backoff.unwrap_or(Waits::Jitter) {
                Waits::Jitter => {
                    let base = self.backoff_base.unwrap_or(1.0);
                    Backoff::with_base(seconds("backoff-base", base)?)
                }
                Waits::Novic => Backoff::original(),
            })
            .with_spent(spent)
            .with_answers(match self.form() {
                Form::Auto => AnswerChoice::Auto,
                Form::Schema => AnswerChoice::Only(AnswerForm::Schema),
                Form::Json => AnswerChoice::Only(AnswerForm::Json),
                Form::Text => AnswerChoice::Only(AnswerForm::Text),
            });
        let client = match self.token_param.unwrap_or(TokenParam::Auto) {
            TokenParam::Auto => client,
            TokenParam::MaxTokens => client.with_limit_name(LimitName::MaxTokens),
            TokenParam::MaxCompletionTokens => {
                client.with_limit_name(LimitName::MaxCompletionTokens)
            }
        };
        Ok(match price {
            Some(price) => client.with_price(price),
            None => client,
        })
    }
}

/// Whether somebody pressed Ctrl-C; says what happens then. To be asked until it is
/// so, and no longer.
pub(super) fn heard(interrupt: &Interrupt) -> bool {
    let raised = interrupt.is_raised();
    if raised {
        eprintln!("stopping when the answers under way are in; Ctrl-C again stops at once");
    }
    raised
}

/// An error of the client with its exit code.
pub(super) fn llm_error(error: &LlmError) -> CliError {
    CliError::from_error(exit(error), error)
}

fn exit(error: &LlmError) -> Exit {
    match error {
        LlmError::Address { .. } | LlmError::NoPrice { .. } => Exit::Usage,
        LlmError::NoKey { .. } | LlmError::Auth(_) => Exit::Authentication,
        LlmError::Quota(_) => Exit::Quota,
        LlmError::Budget(_) => Exit::Budget,
        LlmError::Interrupted => Exit::Interrupted,
        // No such model or address.
        LlmError::Failed(failure) if failure.status == Some(404) => Exit::Usage,
        LlmError::Client(_) | LlmError::Unavailable(_) | LlmError::Failed(_) => Exit::Failed,
    }
}

fn configured_price(config: &AnnotateGpt) -> Option<Price> {
    let input = config.price_input?;
    Some(Price {
        input,
        cached_input: config.price_cached_input.unwrap_or(input),
        output: config.price_output?,
    })
}

/// Prices of a model with what else is known where one is missing.
fn price_of(own: &ModelPrice, usual: Option<Price>) -> Option<Price> {
    let input = own.input.or(usual.map(|price| price.input))?;
    let cached = match own.input {
        Some(_) => None,
        None => usual.map(|price| price.cached_input),
    };
    Some(Price {
        input,
        cached_input: own.cached_input.or(cached).unwrap_or(input),
        output: own.output.or(usual.map(|price| price.output))?,
    })
}

fn parse_price(text: &str) -> Result<Price, String> {
    let wrong =
        || "expected two prices in USD per million tokens, such as 0.5,1.5, or three".to_owned();
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().ok();
        number.filter(|n| n.is_finite() && *n >= 0.0)
    };
    let numbers: Option<Vec<f64>> = text.split(',').map(number).collect();
    match numbers.as_deref() {
        Some(&[input, output]) => Ok(Price::new(input, output)),
        Some(&[input, cached_input, output]) => Ok(Price {
            cached_input,
            ..Price::new(input, output)
        }),
        _ => Err(wrong()),
    }
}
