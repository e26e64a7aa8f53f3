//! `novic schema`: the JSON Schema of experiment, report and sweep files.

use clap::Args;

use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::json_schema;
use crate::reports::schema::report_schema;
use crate::runner::sweep::sweep_schema;

/// Print the JSON Schema of experiment, report or sweep files
///
/// Editors with a TOML language server (Taplo, Even Better TOML) complete keys,
/// show what they mean and mark mistakes when a file begins with
/// `#:schema PATH`, where PATH is relative to the file. Draft 4, the newest that
/// these servers understand.
///
///   novic schema > schema/experiment.json
///   novic schema --report > schema/report.json
///   novic schema --sweep > schema/sweep.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SchemaArgs {
    /// The schema of report files instead
    #[arg(long)]
    report: bool,
    /// The schema of sweep files instead
    #[arg(long, conflicts_with = "report")]
    sweep: bool,
    /// Print JSON (it always is)
    #[arg(long)]
    json: bool,
}

/// Prints the schema.
pub fn cmd_schema(args: &SchemaArgs) -> Result<Exit, CliError> {
    let schema = match (args.report, args.sweep) {
        (true, _) => report_schema(),
        (_, true) => sweep_schema(),
        _ => json_schema(),
    };
    print(&format!("{schema:#}\n"))
}
