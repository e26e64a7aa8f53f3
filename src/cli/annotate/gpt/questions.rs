//! Options of the commands that ask, or say what they would ask.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, failed, state_path};
use crate::annotate::gpt::{
    Asking, BatchLimits, Batching, Dealing, Detail, ImageTokens, Prompt, Questioning, RequestLog,
    State, predicted_nouns,
};
use crate::annotate::{Predictions, prediction_files};
use crate::cli::CliError;
use crate::cli::llm::LlmArgs;
use crate::config::schema::{AnnotateDetail, AnnotateGpt, ModelPrice};
use crate::net::llm::{Price, Spent};

/// What is asked.
#[derive(Debug, Args)]
pub(super) struct QuestionArgs {
    /// State file
    state: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Prediction files, or directories of them
    #[arg(long, value_name = "PATH", num_args = 1.., help_heading = "Questions")]
    predictions: Vec<PathBuf>,
    /// Nouns per sample and configuration [default: 1]
    #[arg(short = 'k', long, value_name = "K", help_heading = "Questions")]
    topk: Option<usize>,
    /// Nouns per question, up to twice as many [default: 8]
    #[arg(long, value_name = "N", help_heading = "Questions")]
    min_nouns: Option<usize>,
    /// Seed of the order of nouns and questions [default: 1]
    #[arg(long, value_name = "N", help_heading = "Questions")]
    seed: Option<u64>,
    /// Ask in the order in which nouns are dealt
    #[arg(long, conflicts_with = "seed", help_heading = "Questions")]
    no_shuffle: bool,
    /// What the model is told [default: describe-then-judge-1]
    #[arg(long, value_name = "NAME", help_heading = "Questions")]
    prompt: Option<String>,
    /// What the model is told instead: a text, or a file of it
    #[arg(
        long,
        value_name = "TEXT|FILE",
        conflicts_with = "prompt",
        help_heading = "Questions"
    )]
    instruction: Option<String>,
    /// How closely images are looked at [default: low]
    #[arg(long, value_enum, help_heading = "Questions")]
    detail: Option<Detail>,
    /// Longest answer in tokens [default: 512]
    #[arg(long, value_name = "N", help_heading = "Questions")]
    answer_tokens: Option<u32>,
    /// Sampling temperature, or `none` [default: 0.2]
    #[arg(long, value_name = "T", value_parser = optional, help_heading = "Questions")]
    temperature: Option<Optional>,
    /// Share of the probability that is sampled from, or `none` [default: 0.6]
    #[arg(long, value_name = "P", value_parser = optional, help_heading = "Questions")]
    top_p: Option<Optional>,
    /// Seed of the sampling, for services that have one
    #[arg(long, value_name = "N", help_heading = "Questions")]
    sampling_seed: Option<u64>,
    #[command(flatten)]
    batches: BatchArgs,
    #[command(flatten)]
    llm: LlmArgs,
}

/// How large batches are.
#[derive(Debug, Args)]
struct BatchArgs {
    /// Questions per batch [default: 49000]
    #[arg(long, value_name = "N", help_heading = "Batches")]
    max_batch_requests: Option<usize>,
    /// Size of a batch [default: 90]
    #[arg(long, value_name = "MIB", help_heading = "Batches")]
    max_batch_mib: Option<u64>,
    /// Size of all batches under way [default: 5120]
    #[arg(long, value_name = "MIB", help_heading = "Batches")]
    max_files_mib: Option<u64>,
    /// Batches under way [default: 50]
    #[arg(long, value_name = "N", help_heading = "Batches")]
    max_pending_batches: Option<usize>,
    /// Thousands of tokens of all batches under way [default: 10000]
    #[arg(long, value_name = "N", help_heading = "Batches")]
    max_pending_ktokens: Option<u64>,
    /// Questions that are few enough to be asked one by one [default: 50]
    #[arg(long, value_name = "N", help_heading = "Batches")]
    unbatch_thres: Option<usize>,
    /// Seconds between the first looks at the service; they become more [default: 15]
    #[arg(long, value_name = "SECONDS", help_heading = "Batches")]
    poll: Option<f64>,
    /// Leave files at the service
    #[arg(long, help_heading = "Batches")]
    keep_remote: bool,
}

/// A number or `none`.
#[derive(Clone, Copy, Debug)]
struct Optional(Option<f64>);

fn optional(text: &str) -> Result<Optional, String> {
    if text == "none" {
        return Ok(Optional(None));
    }
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number
        .map(|number| Optional(Some(number)))
        .ok_or_else(|| "expected a number or `none`".to_owned())
}

/// The options with the configuration that fills them up.
pub(super) struct Settings {
    /// State file.
    pub(super) path: PathBuf,
    /// The configuration.
    pub(super) config: AnnotateGpt,
    /// Options of the service.
    pub(super) llm: LlmArgs,
    /// How large batches are.
    pub(super) limits: BatchLimits,
    poll: Duration,
    keep_remote: bool,
    prices: BTreeMap<String, ModelPrice>,
}

/// Where requests are written down.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// Log of all requests, a line of JSON each, or `none` [default: the state
    /// file's name with .log]
    #[arg(long, value_name = "FILE|none", help_heading = "Log")]
    log: Option<String>,
    /// Directory for the whole bodies of requests, images included, and of
    /// responses
    #[arg(long, value_name = "DIR", help_heading = "Log")]
    log_bodies: Option<PathBuf>,
}

impl LogArgs {
    /// The log, if one is wanted.
    pub(super) fn open(&self, settings: &Settings) -> Result<Option<Arc<RequestLog>>, CliError> {
        let config = &settings.config;
        let configured = config.log_bodies.as_ref().map(PathBuf::from);
        let bodies = self.log_bodies.clone().or(configured);
        let path = match self.log.as_ref().or(config.log.as_ref()) {
            Some(name) if name == "none" => return Ok(None),
            Some(path) => PathBuf::from(path),
            None => {
                let mut name = settings.path.file_name().unwrap_or_default().to_owned();
                name.push(".log");
                settings.path.with_file_name(name)
            }
        };
        let log = RequestLog::open(&path, bodies.as_deref()).map_err(failed)?;
        Ok(Some(Arc::new(log)))
    }
}

impl QuestionArgs {
    /// Fills up what is not given.
    pub(super) fn settings(&self) -> Result<Settings, CliError> {
        let (config, prices) = self.config.read_with_prices()?;
        let path = state_path(self.state.as_ref(), &config)?;
        let own = &self.batches;
        let limits = BatchLimits {
            requests: own.max_batch_requests.unwrap_or(config.max_batch_requests),
            bytes: own.max_batch_mib.unwrap_or(config.max_batch_mib) << 20,
            all_bytes: own.max_files_mib.unwrap_or(config.max_files_mib) << 20,
            batches: own
                .max_pending_batches
                .unwrap_or(config.max_pending_batches),
            tokens: own
                .max_pending_ktokens
                .unwrap_or(config.max_pending_ktokens)
                * 1000,
            few: own.unbatch_thres.unwrap_or(config.unbatch_thres),
        };
        check_limits(&limits)?;
        let poll = Duration::try_from_secs_f64(own.poll.unwrap_or(config.poll)).ok();
        let poll = poll
            .filter(|poll| !poll.is_zero())
            .ok_or_else(|| CliError::usage("--poll must be more than 0 seconds"))?;
        Ok(Settings {
            path,
            llm: self.llm.filled(&config, &prices),
            limits,
            poll,
            keep_remote: own.keep_remote || config.keep_remote,
            prices,
            config,
        })
    }

    /// What is asked about a state.
    pub(super) fn asking(&self, settings: &Settings, state: &State) -> Result<Asking, CliError> {
        let config = &settings.config;
        let configured: Vec<PathBuf> = config.predictions.iter().map(PathBuf::from).collect();
        let paths = match self.predictions.is_empty() {
            true => &configured,
            false => &self.predictions,
        };
        let files = prediction_files(paths).map_err(failed)?;
        let files = Predictions::read_all(&files).map_err(failed)?;
        let topk = self.topk.unwrap_or(config.topk).max(1);
        let predicted = predicted_nouns(&files, topk, &state.meta.images).map_err(failed)?;
        let mut image_tokens = ImageTokens::of_model(&state.meta.model);
        let of_model = settings.prices.get(&state.meta.model);
        let low = of_model.and_then(|price| price.image_tokens_low);
        let tile = of_model.and_then(|price| price.image_tokens_tile);
        image_tokens.base = low.or(config.image_tokens_low).unwrap_or(image_tokens.base);
        image_tokens.tile = tile
            .or(config.image_tokens_tile)
            .unwrap_or(image_tokens.tile);
        Ok(Asking {
            predicted,
            dealing: Dealing {
                min_nouns: self.min_nouns.unwrap_or(config.min_nouns).max(1),
                seed: self.shuffling(config),
            },
            questioning: Questioning {
                answer_tokens: self
                    .answer_tokens
                    .unwrap_or(config.answer_tokens as u32)
                    .max(1),
                temperature: self.temperature.map_or(config.temperature, |given| given.0),
                top_p: self.top_p.map_or(config.top_p, |given| given.0),
                detail: self.detail.unwrap_or(match config.detail {
                    AnnotateDetail::Low => Detail::Low,
                    AnnotateDetail::High => Detail::High,
                    AnnotateDetail::Auto => Detail::Auto,
                }),
                sampling_seed: self.sampling_seed.or(config.sampling_seed),
                extra: settings.llm.extra_body()?,
                ..Questioning::new(&state.meta.model, self.prompt(config)?)
            },
            image_tokens,
            concurrency: settings.llm.concurrency(),
            most: None,
            log: None,
        })
    }

    /// Seed of the order; none: as nouns are dealt. A seed that is given wins over
    /// a configured order.
    fn shuffling(&self, config: &AnnotateGpt) -> Option<u64> {
        let is_dealt = self.no_shuffle || (config.no_shuffle && self.seed.is_none());
        (!is_dealt).then(|| self.seed.unwrap_or(config.seed))
    }

    fn prompt(&self, config: &AnnotateGpt) -> Result<Prompt, CliError> {
        // A prompt that is named wins over a configured text.
        let configured = config
            .instruction
            .as_ref()
            .filter(|_| self.prompt.is_none());
        if let Some(text) = self.instruction.as_ref().or(configured) {
            let file = Path::new(text);
            if !file.is_file() {
                return Ok(Prompt::own(text));
            }
            return std::fs::read_to_string(file)
                .map(|text| Prompt::own(text.trim_end()))
                .map_err(|error| CliError::failed(format!("failed to read {text}: {error}")));
        }
        let name = self.prompt.as_ref().unwrap_or(&config.prompt);
        Prompt::named(name).ok_or_else(|| {
            CliError::usage(format!(
                "there is no prompt {name:?}; there are {}, and --instruction for your own",
                Prompt::names().join(", ")
            ))
        })
    }
}

impl Settings {
    /// Prices of a model, if they are known.
    pub(super) fn price(&self, model: &str) -> Option<Price> {
        self.llm.price(model)
    }

    /// How batches to a model are sent.
    pub(super) fn batching(&self, model: &str) -> Batching {
        let of_model = self.prices.get(model);
        let discount = of_model.and_then(|price| price.batch_discount);
        Batching {
            limits: self.limits,
            poll: self.poll,
            price_share: 1.0 - discount.unwrap_or(self.config.batch_discount),
            keep_remote: self.keep_remote,
        }
    }

    /// What was spent on a state.
    pub(super) fn spent(&self, state: &State) -> Spent {
        let requests = state.usage.get("requests").copied().unwrap_or(0);
        Spent {
            requests,
            answers: requests,
            usage: state.tokens(),
            cost: state.paid(self.price(&state.meta.model)),
        }
    }
}

fn check_limits(limits: &BatchLimits) -> Result<(), CliError> {
    let wrong = |what: &str| Err(CliError::usage(what));
    if limits.requests < 20 {
        return wrong("--max-batch-requests must be 20 or more");
    }
    if limits.bytes < 1 << 20 {
        return wrong("--max-batch-mib must be 1 or more");
    }
    if limits.all_bytes < 3 * limits.bytes {
        return wrong("--max-files-mib must be three times --max-batch-mib or more");
    }
    if limits.batches < 1 {
        return wrong("--max-pending-batches must be 1 or more");
    }
    if limits.tokens < 5000 {
        return wrong("--max-pending-ktokens must be 5 or more");
    }
    Ok(())
}
