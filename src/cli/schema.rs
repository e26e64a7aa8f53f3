//! `novic schema`: the JSON Schema of experiment files.

use clap::Args;

use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::json_schema;

/// Print the JSON Schema of experiment files
///
/// Editors with a TOML language server (Taplo, Even Better TOML) complete keys,
/// show what they mean and mark mistakes when a file begins with
/// `#:schema PATH`, where PATH is relative to the file. Draft 4, the newest that
/// these servers understand.
///
///   novic schema > schema/experiment.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SchemaArgs {
    /// Print JSON (it always is)
    #[arg(long)]
    json: bool,
}

/// Prints the schema.
pub fn cmd_schema(_args: &SchemaArgs) -> Result<Exit, CliError> {
    print(&format!("{:#}\n", json_schema()))
}
