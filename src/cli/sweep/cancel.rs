//! `novic sweep cancel`.

use clap::Args;
use serde_json::json;

use super::named::{failed, open};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::launcher::slurm;
use crate::store::LeaseState;

/// Stop a sweep that runs, from anywhere
///
/// Its points stop at their next safe point; `novic sweep resume` goes on there.
///
///   novic sweep cancel noise
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SweepCancelArgs {
    /// Name of the sweep, or its file
    sweep: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Stops a sweep.
pub(super) fn cmd_sweep_cancel(args: &SweepCancelArgs) -> Result<Exit, CliError> {
    let sweep = open(&args.sweep)?;
    let holder = match sweep.folder.holder(&sweep.project).map_err(failed)? {
        LeaseState::Held(holder) => {
            sweep.folder.ask_to_stop().map_err(failed)?;
            Some(holder.map_or_else(|| "another process".to_owned(), |holder| holder.to_string()))
        }
        _ => None,
    };
    let jobs = slurm::cancel(&sweep.folder).map_err(failed)?;
    if args.json {
        let value = json!({"sweep": sweep.header.name, "asked": holder, "jobs": jobs});
        return print(&format!("{value:#}\n"));
    }
    match &holder {
        Some(holder) => eprintln!("asked {holder} to stop"),
        None if jobs == 0 => eprintln!("{}: nothing is running", sweep.header.name),
        None => {}
    }
    if jobs > 0 {
        eprintln!("ended {jobs} jobs");
    }
    Ok(Exit::Success)
}
