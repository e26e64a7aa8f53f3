//! `novic sweep resume`.

use clap::Args;

use super::execute::{SweepOptions, execute};
use super::named::open;
use crate::cli::{CliError, Exit};

/// Go on with a sweep as it was begun, whatever its files say now
///
/// Runs the points that are not done, on the experiment as it was when the sweep
/// was begun.
///
///   novic sweep resume noise
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepResumeArgs {
    /// Name of the sweep, or its file
    sweep: String,
    #[command(flatten)]
    options: SweepOptions,
}

/// Goes on with a sweep.
pub(super) fn cmd_sweep_resume(args: &SweepResumeArgs) -> Result<Exit, CliError> {
    execute(open(&args.sweep)?, &args.options)
}
