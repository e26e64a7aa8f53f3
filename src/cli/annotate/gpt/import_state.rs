//! `novic annotate gpt import-state`: a state of the original.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{failed, format};
use crate::annotate::gpt::{Ledger, StateFormat, moved, read_state};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::config::schema::AnnotateGpt;

/// Take over a state file of the original
///
/// The new file has the same content, with directories as seen from its place.
/// The old one stays as it is.
///
///   novic annotate gpt import-state old/world_state.json world.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ImportStateArgs {
    /// State file of the original, or of this program
    from: PathBuf,
    /// State file to make; its name ends in .json
    state: PathBuf,
    /// Version of the new file
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    state_format: Option<u8>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt import-state`.
pub(super) fn import_state(args: &ImportStateArgs) -> Result<Exit, CliError> {
    let state = read_state(&args.from).map_err(failed)?;
    let is_json = args
        .state
        .extension()
        .is_some_and(|ending| ending == "json");
    if args.state.exists() || !is_json {
        return Err(CliError::usage(format!(
            "{} exists already or does not end in .json; choose another name",
            args.state.display()
        )));
    }
    let state = moved(state, &args.from, &args.state).map_err(failed)?;
    let (images, opinions) = (state.meta.images.len(), state.opinions());
    let format = format(args.state_format, &AnnotateGpt::default()).unwrap_or(StateFormat::Two);
    Ledger::create(&args.state, state, format).map_err(failed)?;
    if args.json {
        let object = json!({"state": args.state, "images": images, "opinions": opinions});
        return print(&format!("{object:#}\n"));
    }
    print(&format!(
        "{}: {images} images, {opinions} opinions\n",
        args.state.display()
    ))
}
