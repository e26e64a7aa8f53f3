//! `novic annotate gpt transfer`: opinions of another state.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::failed;
use crate::annotate::gpt::{Ledger, parent, read_state};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Take the opinions of another state about images that both have
///
/// Only nouns that this state does not have are taken. Images of the same name
/// must look the same. If the states were made with different questions, --yes
/// is needed.
///
///   novic annotate gpt transfer new.json --from old.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct TransferArgs {
    /// State file that gets the opinions
    state: PathBuf,
    /// State file that has them
    #[arg(long, value_name = "STATE")]
    from: PathBuf,
    /// Mix opinions that were asked for in different ways
    #[arg(long)]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt transfer`.
pub(super) fn transfer(args: &TransferArgs) -> Result<Exit, CliError> {
    let source = read_state(&args.from).map_err(failed)?;
    let (mut ledger, _) = Ledger::open(&args.state, None).map_err(failed)?;
    let differences = ledger.state.differences(&source);
    if !differences.is_empty() && !args.yes {
        return Err(CliError::usage(format!(
            "{}; mix them with --yes if that is meant",
            differences.join("; ")
        )));
    }
    let beside = ledger.beside().to_owned();
    let taken = ledger
        .state
        .transfer(&beside, (&source, parent(&args.from)))
        .map_err(failed)?;
    ledger.save().map_err(failed)?;
    if args.json {
        let object = json!({"pairs": taken, "differences": differences});
        return print(&format!("{object:#}\n"));
    }
    let mut text = String::new();
    for line in differences {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&format!("{taken} pairs taken\n"));
    print(&text)
}
