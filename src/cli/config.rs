//! `novic config`: the resolved configuration of an experiment.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::Config;
use crate::config::{
    ConfigErrors, Experiment, Request, Show, StageSpec, experiment_json, flat_yaml, keys_read,
    render,
};

/// Show the resolved configuration of an experiment
///
/// All layers together: defaults, files named by `extends`, groups chosen by
/// `[use]`, the file itself, variables NOVIC__SECTION__FIELD, and overrides.
/// The text is an experiment file that gives the same experiment.
///
///   novic config experiments/ye2.toml --origins
///   novic config experiments/ye2.toml --stage train --flat
///   novic config experiments/ye2.toml --diff=experiments/ya2.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ConfigArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values: `train.lr.init=1e-3`, `lr_warmup=2`, `use.embedder=so400m`, `~noise.scheme`
    #[arg(value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Show where every value comes from, and what it replaces
    #[arg(long)]
    origins: bool,
    /// Show only a section or a key, such as `train.lr`; may be repeated
    #[arg(long, value_name = "NAME")]
    section: Vec<String>,
    /// Show what differs from the defaults, or from another file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    diff: Option<String>,
    /// Show the whole configuration of one stage
    #[arg(long, value_name = "NAME")]
    stage: Option<String>,
    /// Show the flat keys of the original
    #[arg(long, conflicts_with_all = ["origins", "section", "diff"])]
    flat: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the resolved configuration of an experiment.
pub fn cmd_config(args: &ConfigArgs) -> Result<Exit, CliError> {
    let experiment = load(&args.file, &args.overrides)?;
    if !experiment.warnings.is_empty() {
        let colour = io::stderr().is_terminal();
        eprintln!("{}\n", render(&experiment.warnings, colour));
    }
    let stage = args
        .stage
        .as_deref()
        .map(|name| find_stage(&experiment, name))
        .transpose()?;
    let shown = if args.flat {
        let config = stage.map_or(&experiment.config, |stage| &stage.config);
        if args.json {
            pretty(&Value::Object(config.flat()))
        } else {
            flat_yaml(config)
        }
    } else if args.json {
        json(args, &experiment, stage)?
    } else {
        text(args, &experiment, stage)?
    };
    print(&shown)
}

fn text(
    args: &ConfigArgs,
    experiment: &Experiment,
    stage: Option<&StageSpec>,
) -> Result<String, CliError> {
    let names: Vec<&str> = args.section.iter().map(String::as_str).collect();
    keys_read(&names).map_err(CliError::usage)?;
    let show = Show {
        origins: args.origins,
        sections: args.section.clone(),
        against: against(args, stage)?,
    };
    let shown = match stage {
        Some(stage) => show.stage(stage),
        None => show.experiment(experiment),
    };
    Ok(shown)
}

fn json(
    args: &ConfigArgs,
    experiment: &Experiment,
    stage: Option<&StageSpec>,
) -> Result<String, CliError> {
    let names: Vec<&str> = args.section.iter().map(String::as_str).collect();
    let other = against(args, stage)?;
    if stage.is_none() && names.is_empty() && other.is_none() {
        return Ok(pretty(&experiment_json(experiment, args.origins)));
    }
    let (config, origins) = match stage {
        Some(stage) => (&stage.config, &stage.origins),
        None => (&experiment.config, &experiment.origins),
    };
    let names = if names.is_empty() { vec![""] } else { names };
    let mut values = serde_json::Map::new();
    for key in keys_read(&names).map_err(CliError::usage)? {
        let value = config.get(key.path).unwrap_or(Value::Null);
        if other
            .as_ref()
            .is_some_and(|other| other.get(key.path).as_ref() == Some(&value))
        {
            continue;
        }
        let shown = if args.origins {
            let origin = origins.origin(key.path).to_string();
            serde_json::json!({"value": value, "origin": origin})
        } else {
            value
        };
        values.insert(key.path.to_owned(), shown);
    }
    Ok(pretty(&Value::Object(values)))
}

/// The configuration that `--diff` compares with.
fn against(args: &ConfigArgs, stage: Option<&StageSpec>) -> Result<Option<Config>, CliError> {
    let config = match args.diff.as_deref() {
        None => return Ok(None),
        Some("") => Config::default(),
        Some(file) => {
            let other = load(Path::new(file), &[])?;
            match stage {
                Some(stage) => find_stage(&other, &stage.name)?.config.clone(),
                None => other.config,
            }
        }
    };
    Ok(Some(config))
}

fn load(file: &Path, overrides: &[String]) -> Result<Experiment, CliError> {
    Experiment::load(&Request::new(file).overrides(overrides)).map_err(report)
}

/// All problems of a configuration, as the error of a command.
pub fn report(errors: ConfigErrors) -> CliError {
    CliError::report(Exit::Usage, errors.render(io::stderr().is_terminal()))
}

fn find_stage<'a>(experiment: &'a Experiment, name: &str) -> Result<&'a StageSpec, CliError> {
    experiment.stage(name).ok_or_else(|| {
        let names: Vec<_> = experiment
            .stages
            .iter()
            .map(|stage| stage.name.as_str())
            .collect();
        let file = experiment.file.display();
        CliError::usage(format!(
            "{file} has no stage `{name}`; it has {}",
            names.join(", ")
        ))
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
