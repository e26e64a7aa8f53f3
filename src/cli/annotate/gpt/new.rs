//! `novic annotate gpt new`: a state for a directory of images.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{ConfigArgs, CopyingArgs, failed, format, rule, state_path};
use crate::annotate::gpt::{Ledger, NewState, StateFormat};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Make a state file for a directory of images
///
/// Small copies of the images are made beside them, for the model to look at;
/// those that are there already and newer stay.
///
///   novic annotate gpt new world.json --images extras/world
///   novic annotate gpt new world.json --images extras/world --opinions 1 3
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct NewArgs {
    /// State file to make; its name ends in .json
    state: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Directory of the images
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Directory of the small copies, in that of the images [default: 512px]
    #[arg(long, value_name = "DIR")]
    small: Option<PathBuf>,
    /// Directory of batch files, in that of the images [default: batches]
    #[arg(long, value_name = "DIR")]
    batch_dir: Option<PathBuf>,
    /// Model to ask [default: gpt-4o-2024-05-13]
    #[arg(long)]
    model: Option<String>,
    /// Opinions per pair, at least and at most [default: 3 5]
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
    opinions: Vec<u64>,
    /// Share of equal opinions that decides [default: 0.78]
    #[arg(long, value_name = "SHARE")]
    confidence: Option<f64>,
    #[command(flatten)]
    copying: CopyingArgs,
    /// Make no small copies: all of them must be there
    #[arg(long)]
    small_ready: bool,
    /// Version of the state file
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    state_format: Option<u8>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate gpt new`.
pub(super) fn new(args: &NewArgs) -> Result<Exit, CliError> {
    let config = args.config.read()?;
    let path = state_path(args.state.as_ref(), &config)?;
    let opinions = match args.opinions.is_empty() {
        true => &config.opinions,
        false => &args.opinions,
    };
    let images = config.images.as_deref().map(PathBuf::from);
    let new = NewState {
        path: path.clone(),
        images: args.images.clone().or(images).unwrap_or_default(),
        small: or(args.small.as_ref(), &config.images_small),
        batches: or(args.batch_dir.as_ref(), &config.batch_dir),
        model: args.model.clone().unwrap_or_else(|| config.model.clone()),
        rule: rule(opinions, args.confidence.unwrap_or(config.confidence))?,
        copying: args.copying.copying(&config),
        make: !(args.small_ready || config.small_ready),
    };
    let state = new.build().map_err(failed)?;
    let (images, model) = (state.meta.images.len(), state.meta.model.clone());
    let format = format(args.state_format, &config).unwrap_or(StateFormat::Two);
    Ledger::create(&path, state, format).map_err(failed)?;
    if args.json {
        let object = json!({"state": path, "images": images, "model": model});
        return print(&format!("{object:#}\n"));
    }
    print(&format!(
        "{}: {images} images for {model}\n",
        path.display()
    ))
}

fn or(given: Option<&PathBuf>, configured: &str) -> PathBuf {
    given.cloned().unwrap_or_else(|| PathBuf::from(configured))
}
