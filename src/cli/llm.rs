//! Options of commands that ask language models.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};

use super::{CliError, Exit};
use crate::net::llm::{
    AnswerChoice, AnswerForm, Backoff, Limits, LlmClient, LlmError, Pace, Price, Service, Spent,
    known_price,
};

/// Which service is asked, how fast, and for how much.
#[derive(Debug, Args)]
pub(super) struct LlmArgs {
    /// Address of an OpenAI-compatible service, with its version
    /// [default: OPENAI_BASE_URL, else OpenAI]
    #[arg(long, value_name = "URL", help_heading = "Service")]
    base_url: Option<String>,
    /// Environment variable that holds the key, or `none`
    #[arg(
        long,
        value_name = "NAME",
        default_value = "OPENAI_API_KEY",
        help_heading = "Service"
    )]
    api_key_env: String,
    /// Send the key in the clear to other machines
    #[arg(long, help_heading = "Service")]
    insecure_http: bool,
    /// Form of answers: JSON that keeps to a schema, JSON, or text
    #[arg(long, value_enum, default_value_t = Form::Auto, help_heading = "Service")]
    answer: Form,
    /// Seconds that a request may take
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 120.0,
        help_heading = "Service"
    )]
    timeout: f64,
    /// Members that requests have beside those of other options
    #[arg(long, value_name = "JSON", help_heading = "Service")]
    extra_body: Option<String>,
    /// Requests at a time; fewer while the service is too busy
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Pace")]
    concurrency: usize,
    /// Requests per minute
    #[arg(long, value_name = "N", help_heading = "Pace")]
    rpm: Option<f64>,
    /// Tokens per minute
    #[arg(long, value_name = "N", help_heading = "Pace")]
    tpm: Option<f64>,
    /// Tries per request
    #[arg(long, value_name = "N", default_value_t = 5, help_heading = "Pace")]
    attempts: u32,
    /// Longest wait before the second try, in seconds; it doubles with each
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1.0,
        help_heading = "Pace"
    )]
    backoff_base: f64,
    /// Send at most so many requests
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_requests: Option<u64>,
    /// Spend at most so much
    #[arg(long, value_name = "USD", help_heading = "Budget")]
    max_cost: Option<f64>,
    /// Use at most so many tokens
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_tokens: Option<u64>,
    /// USD per million tokens of requests and of answers
    #[arg(long, value_name = "INPUT,OUTPUT", value_parser = parse_price, help_heading = "Budget")]
    price: Option<Price>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Auto,
    Schema,
    Json,
    Text,
}

impl LlmArgs {
    /// Prices of a model, if they are known.
    pub(super) fn price(&self, model: &str) -> Option<Price> {
        self.price.or_else(|| known_price(model))
    }

    /// Questions at a time.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency.max(1)
    }

    /// The form that is asked for first.
    pub(super) fn first_form(&self) -> AnswerForm {
        match self.answer {
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
            timeout: seconds("timeout", self.timeout)?,
            ..Service::from_environment(
                self.base_url.as_deref(),
                &self.api_key_env,
                self.insecure_http,
            )
            .map_err(|error| llm_error(&error))?
        };
        let pace = Pace {
            concurrency: self.concurrency(),
            requests_per_minute: self.rpm,
            tokens_per_minute: self.tpm,
            attempts: self.attempts,
        };
        let limits = Limits {
            requests: self.max_requests,
            tokens: self.max_tokens,
            cost: self.max_cost,
        };
        let client = LlmClient::new(service, pace, limits, stop)
            .map_err(|error| llm_error(&error))?
            .with_backoff(Backoff::with_base(seconds(
                "backoff-base",
                self.backoff_base,
            )?))
            .with_spent(spent)
            .with_answers(match self.answer {
                Form::Auto => AnswerChoice::Auto,
                Form::Schema => AnswerChoice::Only(AnswerForm::Schema),
                Form::Json => AnswerChoice::Only(AnswerForm::Json),
                Form::Text => AnswerChoice::Only(AnswerForm::Text),
            });
        Ok(match price {
            Some(price) => client.with_price(price),
            None => client,
        })
    }
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

fn parse_price(text: &str) -> Result<Price, String> {
    let wrong = || "expected two prices in USD per million tokens, such as 0.5,1.5".to_owned();
    let number = |text: &str| {
        let number = text.trim().parse::<f64>().ok();
        number.filter(|n| n.is_finite() && *n >= 0.0)
    };
    let (input, output) = text.split_once(',').ok_or_else(wrong)?;
    match (number(input), number(output)) {
        (Some(input), Some(output)) => Ok(Price::new(input, output)),
        _ => Err(wrong()),
    }
}
