//! `novic schema`: the JSON Schema of experiment files.

use clap::Args;

use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::json_schema;
use crate::reports::schema::report_schema;

/// Print the JSON Schema of experiment files or report files
///
/// Editors with a TOML language server (Taplo, Even Better TOML) complete keys,
/// show what they mean and mark mistakes when a file begins with
/// `#:schema PATH`, where PATH is relative to the file. Draft 4, the newest that
/// these servers understand.
///
///   novic schema > schema/experiment.json
///   novic schema --report > schema/report.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SchemaArgs {
    /// The schema of report files instead
    #[arg(long)]
    report: bool,
    /// Print JSON (it always is)
    #[arg(long)]
    json: bool,
}

/// Prints the schema.
pub fn cmd_schema(args: &SchemaArgs) -> Result<Exit, CliError> {
    if args.report {
        return print(&format!("{:#}\n", report_schema()));
    }
    print(&format!("{:#}\n", json_schema()))
}
