//! `novic annotate gpt`: annotation by a model that looks at images.

mod cancel;
mod estimate;
mod import_state;
mod new;
mod questions;
mod run;
mod transfer;
mod turn;
mod update;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::failed;
use crate::annotate::gpt::{Copying, OpinionRule, StateFormat};
use crate::cli::experiment::load;
use crate::cli::{CliError, Exit};
use crate::config::schema::{AnnotateGpt, ModelPrice};

/// Let a model that looks at images say which predictions are right
///
/// `new` makes a state file for a directory of images, `estimate` says what a
/// run takes, `run` asks until nothing is open. `novic annotate status` and
/// `novic annotate export` take state files as well as annotation files.
///
///   novic annotate gpt new world.json --images extras/world
///   novic annotate gpt estimate world.json --predictions outputs/run1
///   novic annotate gpt run world.json --predictions outputs/run1 --max-cost 5
///   novic annotate export world.json --out extras/world/_class_annotations_gpt.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct GptArgs {
    #[command(subcommand)]
    command: GptCommand,
}

#[derive(Debug, Subcommand)]
enum GptCommand {
    New(new::NewArgs),
    Update(update::UpdateArgs),
    Estimate(Box<estimate::EstimateArgs>),
    Run(Box<run::RunArgs>),
    Cancel(Box<cancel::CancelArgs>),
    Transfer(transfer::TransferArgs),
    ImportState(import_state::ImportStateArgs),
}

/// Runs `novic annotate gpt`.
pub(super) fn gpt(args: &GptArgs) -> Result<Exit, CliError> {
    match &args.command {
        GptCommand::New(args) => new::new(args),
        GptCommand::Update(args) => update::update(args),
        GptCommand::Estimate(args) => estimate::estimate(args),
        GptCommand::Run(args) => run::run(args),
        GptCommand::Cancel(args) => cancel::cancel(args),
        GptCommand::Transfer(args) => transfer::transfer(args),
        GptCommand::ImportState(args) => import_state::import_state(args),
    }
}

/// Where options come from that are not given.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Experiment file whose [annotate.gpt] has the options that are not given
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn read(&self) -> Result<AnnotateGpt, CliError> {
        Ok(self.read_with_prices()?.0)
    }

    /// The same with what models cost.
    fn read_with_prices(&self) -> Result<(AnnotateGpt, BTreeMap<String, ModelPrice>), CliError> {
        let Some(file) = &self.config else {
            return Ok((AnnotateGpt::default(), BTreeMap::new()));
        };
        let experiment = load(file, &[])?;
        Ok((experiment.annotate_gpt, experiment.prices))
    }
}

/// How small copies are made.
#[derive(Debug, Args)]
struct CopyingArgs {
    /// Longest side of small copies [default: 512]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(28..=8192))]
    small_size: Option<u32>,
    /// Quality of small copies [default: 85]
    #[arg(long, value_name = "1-100", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
}

impl CopyingArgs {
    fn copying(&self, config: &AnnotateGpt) -> Copying {
        Copying {
            size: self.small_size.unwrap_or(config.small_size as u32),
            quality: self.quality.unwrap_or(config.small_quality as u8),
        }
    }
}

/// The state file, given or configured.
fn state_path(given: Option<&PathBuf>, config: &AnnotateGpt) -> Result<PathBuf, CliError> {
    let configured = || config.state.clone().map(PathBuf::from);
    given.cloned().or_else(configured).ok_or_else(|| {
        CliError::usage("no state file; name one, or annotate.gpt.state in the file of --config")
    })
}

/// Version of the state file that is written, given or configured; none: as it
/// is.
fn format(given: Option<u8>, config: &AnnotateGpt) -> Option<StateFormat> {
    given
        .map(u64::from)
        .or(config.state_format)
        .map(|number| match number {
            1 => StateFormat::One,
            _ => StateFormat::Two,
        })
}

fn rule(opinions: &[u64], confidence: f64) -> Result<OpinionRule, CliError> {
    let number = |at: usize| opinions.get(at).and_then(|n| u32::try_from(*n).ok());
    match (number(0), number(1), opinions.len()) {
        (Some(min), Some(max), 2) => {
            OpinionRule::new(min, max, confidence).map_err(CliError::usage)
        }
        _ => Err(CliError::usage(
            "expected two numbers of opinions, at least and at most, such as 3 5",
        )),
    }
}
