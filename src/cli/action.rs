//! `novic action`: one action as a recorded experiment of one stage.

use std::path::Path;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::experiment::load_request;
use super::run::{RunOptions, run_experiment};
use super::{CliError, Exit, complete};
use crate::config::schema::{Action, Config};
use crate::config::{Request, nearest};
use crate::stages;

/// Run one action as a recorded experiment of one stage
///
/// The same as an experiment file with one stage of this kind. Keys are nested
/// or those of the original; groups are those beside the experiments.
///
///   novic action embedder_zero_shot cls_dataset=fluent-emoji use.embedder=drawings
///   novic action infer checkpoint.load=c.safetensors infer.texts='[a photo of a fox]'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ActionArgs {
    /// Name of the action
    #[arg(add = ArgValueCompleter::new(complete::actions))]
    name: String,
    /// Values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    #[command(flatten)]
    options: RunOptions,
}

/// Runs one action.
pub fn cmd_action(args: &ActionArgs) -> Result<Exit, CliError> {
    let registry = stages::registry();
    let name = args.name.as_str();
    if registry.get(name).is_none() {
        let names: Vec<_> = registry.kinds().iter().map(|kind| kind.name()).collect();
        let near = nearest(name, names.iter().copied());
        let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        return Err(CliError::usage(format!(
            "there is no action `{name}`; {near}actions are {}",
            names.join(", ")
        )));
    }
    let experiment = load_request(&one_stage_request(name).overrides(&args.overrides))?;
    run_experiment(&experiment, &args.overrides, &args.options)
}

/// The configuration that one action would have.
pub(super) fn one_stage(action: Action, overrides: &[String]) -> Result<Config, CliError> {
    let request = one_stage_request(action.as_str()).overrides(overrides);
    let experiment = load_request(&request)?;
    let stage = experiment.stage(action.as_str());
    Ok(stage.map_or_else(Config::default, |stage| stage.config.clone()))
}

fn one_stage_request(name: &str) -> Request {
    let text = format!("[experiment]\nname = \"{name}\"\n\n[stage.{name}]\nkind = \"{name}\"\n");
    Request {
        text: Some(text),
        // Groups are found as from a file in `experiments/`.
        ..Request::new(Path::new("experiments").join(name))
    }
}
