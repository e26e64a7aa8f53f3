//! `novic annotate gpt update`: images that came since.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, CopyingArgs, failed, state_path};
use crate::annotate::gpt::{Ledger, update as update_state};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Add new images of its directory to a state, and name missing ones
///
///   novic annotate gpt update world.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct UpdateArgs {
    /// State file
    state: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    copying: CopyingArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt update`.
pub(super) fn update(args: &UpdateArgs) -> Result<Exit, CliError> {
    let config = args.config.read()?;
    let path = state_path(args.state.as_ref(), &config)?;
    let copying = args.copying.copying(&config);
    let (mut ledger, _) = Ledger::open(&path, None).map_err(failed)?;
    let beside = ledger.beside().to_owned();
    let found = update_state(&mut ledger.state, &beside, copying).map_err(failed)?;
    ledger.save().map_err(failed)?;
    if args.json {
        let object = json!({"added": found.added, "missing": found.missing});
        print(&format!("{object:#}\n"))?;
    } else {
        let mut text = format!(
            "{} images added, {} in all\n",
            found.added.len(),
            ledger.state.meta.images.len()
        );
        for image in &found.missing {
            text.push_str(&format!("missing: {image:?}\n"));
        }
        print(&text)?;
    }
    Ok(match found.missing.is_empty() {
        true => Exit::Success,
        false => Exit::SomeInputsFailed,
    })
}
