//! `novic annotate`: ground truth for predictions.

mod check;
mod diff;
mod export;
mod gpt;
mod human;
mod merge;
mod status;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::llm::llm_error;
use super::{CliError, Exit};
use crate::annotate::{AnnotateError, PredictedImage, Predictions, pool, prediction_files};

/// Say which predictions are right: files of annotations, by people and by models
#[derive(Debug, Args)]
pub struct AnnotateArgs {
    #[command(subcommand)]
    command: AnnotateCommand,
}

#[derive(Debug, Subcommand)]
enum AnnotateCommand {
    Human(Box<human::HumanArgs>),
    Merge(merge::MergeArgs),
    Diff(diff::DiffArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Export(export::ExportArgs),
    Gpt(Box<gpt::GptArgs>),
}

/// Runs `novic annotate`.
pub fn cmd_annotate(args: &AnnotateArgs) -> Result<Exit, CliError> {
    match &args.command {
        AnnotateCommand::Human(args) => human::human(args),
        AnnotateCommand::Merge(args) => merge::merge(args),
        AnnotateCommand::Diff(args) => diff::diff(args),
        AnnotateCommand::Check(args) => check::check(args),
        AnnotateCommand::Status(args) => status::status(args),
        AnnotateCommand::Export(args) => export::export(args),
        AnnotateCommand::Gpt(args) => gpt::gpt(args),
    }
}

/// An error of the room.
fn failed(error: AnnotateError) -> CliError {
    let exit = match &error {
        AnnotateError::Service(error) => return llm_error(error),
        AnnotateError::StatePath { .. } | AnnotateError::NoImages { .. } => Exit::Usage,
        AnnotateError::NoConfig { .. } | AnnotateError::NoPredictions { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::from_error(exit, &error)
}

/// Which predictions there are to annotate.
#[derive(Debug, Args)]
struct PredictionArgs {
    /// Prediction files, or directories of them
    #[arg(long, value_name = "PATH", num_args = 1..)]
    predictions: Vec<PathBuf>,
    /// Nouns per sample and configuration
    #[arg(short = 'k', long = "topk", value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    topk: u64,
    /// Only these generation configurations
    #[arg(long, value_name = "NAME", num_args = 1..)]
    gen_cfg: Vec<String>,
}

impl PredictionArgs {
    fn read(&self) -> Result<Vec<PredictedImage>, CliError> {
        let files = prediction_files(&self.predictions).map_err(failed)?;
        let files = Predictions::read_all(&files).map_err(failed)?;
        pool(&files, self.topk as usize, &self.gen_cfg).map_err(failed)
    }
}

/// A text from a file as it may be shown: quoted, without control characters.
fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
