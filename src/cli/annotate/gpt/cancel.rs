//! `novic annotate gpt cancel`: ends batches under way.

use clap::Args;
use serde_json::json;

use super::failed;
use super::questions::{LogArgs, QuestionArgs};
use super::run::Shown;
use crate::annotate::gpt::{Ledger, Outcome, cancel as cancel_batches, resolve};
use crate::cli::llm::llm_error;
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::Interrupt;

/// Cancel batches under way, and take the results that they have
///
///   novic annotate gpt cancel world.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    questions: QuestionArgs,
    #[command(flatten)]
    log: LogArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt cancel`.
pub(super) fn cancel(args: &CancelArgs) -> Result<Exit, CliError> {
    let settings = args.questions.settings()?;
    let (mut ledger, undone) = Ledger::open(&settings.path, None).map_err(failed)?;
    let mut asking = args.questions.asking(&settings, &ledger.state)?;
    asking.log = args.log.open(&settings)?;
    let batching = settings.batching(&ledger.state.meta.model);
    let interrupt = Interrupt::of_signals().map_err(|error| CliError::failed(error.to_string()))?;
    let spent = settings.spent(&ledger.state);
    let client = settings
        .llm
        .client(&ledger.state.meta.model, spent, move || {
            interrupt.is_raised()
        })?;
    resolve(&client, &mut ledger, &undone).map_err(failed)?;
    let before = ledger.state.opinions();
    let mut bar = Shown::new();
    let (count, outcome) = cancel_batches(
        &client,
        &asking,
        batching,
        &mut ledger,
        &undone,
        &mut |progress| bar.show(progress),
    )
    .map_err(failed)?;
    bar.clear();
    ledger.save().map_err(failed)?;
    let opinions = ledger.state.opinions() - before;
    if args.json {
        let object = json!({"cancelled": count, "opinions": opinions});
        print(&format!("{object:#}\n"))?;
    } else {
        print(&format!(
            "{count} batches cancelled, {opinions} opinions taken\n"
        ))?;
    }
    match outcome {
        Outcome::Stopped(error) => Err(llm_error(&error)),
        _ => Ok(Exit::Success),
    }
}
