//! `novic table`: the tables of an experiment or report.

use clap::Args;

use super::report::{ReportArgs, cmd_report};
use super::{CliError, Exit};

/// Print the tables of an experiment from what has been done so far
///
/// Nothing is run. Cells without values show that their stage has not been
/// run with the present configuration. The same as `novic report`, for the
/// cells `[table.NAME]` of an experiment file.
///
///   novic table experiments/quickstart.toml
///   novic table experiments/quickstart.toml --name summary --format md
///   novic table --sql 'SELECT dataset, AVG(top1) FROM records GROUP BY dataset'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TableArgs {
    #[command(flatten)]
    report: ReportArgs,
}

/// Prints tables.
pub fn cmd_table(args: &TableArgs) -> Result<Exit, CliError> {
    cmd_report(&args.report)
}
