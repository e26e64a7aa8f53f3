//! What commands say about the records of tables and plots: warnings, and what
//! their errors mean for the exit code.

use super::format_wandb::of_runs;
use super::{CliError, Exit};
use crate::reports::experiment::ReportError;
use crate::reports::plot::MakeError;
use crate::reports::sources::SourceError;

/// Says what is to be known about records.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Records that cannot be had.
pub(super) fn of_source(error: &SourceError) -> CliError {
    match error {
        SourceError::Runs(error) => of_runs(error),
        _ => CliError::from_error(Exit::Failed, error),
    }
}

/// A figure that cannot be made.
pub(super) fn of_figure(error: &MakeError) -> CliError {
    match error {
        MakeError::Source(error) => of_source(error),
        MakeError::Plot(_) => CliError::from_error(Exit::Failed, error),
    }
}

/// Results of an experiment that cannot be shown.
pub(super) fn of_results(error: &ReportError) -> CliError {
    match error {
        ReportError::Source(error) => of_source(error),
        ReportError::Plot(error) => of_figure(error),
        _ => CliError::from_error(Exit::Failed, error),
    }
}
