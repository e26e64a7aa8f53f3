//! `novic format-wandb`: tables of runs.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::Zoned;
use serde_json::json;

use super::action::one_stage;
use super::format_preds::of_predictions;
use super::print::print;
use super::printed::{Shown, shows_colours, tell};
use super::{CliError, Exit, complete};
use crate::config::schema::{Action, Config, RunsTable};
use crate::reports::predictions::{Ambiguous, TableStyle};
use crate::reports::printed::Printed;
use crate::reports::run_tables::{
    HostTag, LocalRuns, RunSource, RunTablesError, RunsRequest, WandbRuns, format_runs,
};
use crate::store::Project;
use crate::tracking::wandb::{WandbError, ca_file};

/// Show evaluations and inference of trained models as tables
///
/// Reads the local run records or, with --wandb, the runs of `tracking.project`
/// at Weights & Biases. Values of the original's action work, too;
/// `infer_image_dir`, `infer_ann_json` and `gencfg` say which inference counts.
/// Of several runs the newest counts.
///
///   novic format-wandb --type eval_gen_cls_v1
///   novic format-wandb --models ovod_20261129_101500 --sort -0guided
///   novic format-wandb fmt_max_ago=7d infer_image_dir=extras/world
///   novic format-wandb --wandb tracking.entity=lab tracking.project=novic
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct FormatWandbArgs {
    /// Values, as for `novic config`
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Read runs at Weights & Biases (WANDB_API_KEY or ~/.netrc, WANDB_BASE_URL)
    #[arg(long)]
    wandb: bool,
    /// Which table: eval_gen_cls_v1, infer_v1, all_v1 or all_v2
    #[arg(long = "type", value_name = "TABLE")]
    table: Option<RunsTable>,
    /// Only these models: runs that trained them, or RUN/FILE
    #[arg(long, value_name = "MODEL", num_args = 1..)]
    models: Vec<String>,
    /// Only runs on these machines; may have * and ?
    #[arg(long, value_name = "HOST", num_args = 1..)]
    hosts: Vec<String>,
    /// Only runs not older than this, such as 1d12h
    #[arg(long, value_name = "AGE")]
    max_ago: Option<String>,
    /// Only runs at least this old
    #[arg(long, value_name = "AGE")]
    min_ago: Option<String>,
    /// Sort column: `[+-][0]COLUMN`; 0 sorts by the first number in the cells
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// What a machine is called: the group of this pattern
    #[arg(long, value_name = "REGEX", default_value = HostTag::ORIGINAL)]
    host_tag: String,
    /// full: with unannotated predictions and `-` for what is missing; compat:
    /// letter by letter as the original
    #[arg(long, value_name = "STYLE", default_value = "full")]
    style: TableStyle,
    /// A noun in several categories of a sample: error, best, worst or first
    /// (the original's choice, and the default of --style compat)
    #[arg(long, value_name = "RULE")]
    ambiguous: Option<Ambiguous>,
    /// Tell what goes on, and name the nouns that each sample lacks
    #[arg(long)]
    verbose: bool,
    /// Print JSON: tables and messages
    #[arg(long)]
    json: bool,
}

/// Shows runs.
pub fn cmd_format_wandb(args: &FormatWandbArgs) -> Result<Exit, CliError> {
    let config = one_stage(Action::FormatWandb, &args.overrides)?;
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let request = request(args, &config, &project).map_err(|error| of_runs(&error))?;
    if args.wandb {
        let base_url = std::env::var("WANDB_BASE_URL").ok();
        let base_url = base_url.filter(|url| !url.is_empty());
        let wandb = config.tracking.wandb;
        let base_url = base_url.unwrap_or(wandb.base_url);
        let ca_file = wandb.ca_file.as_deref().and_then(ca_file);
        let source = WandbRuns::open(&base_url, ca_file.as_deref());
        let source = source.map_err(|error| of_runs(&error))?;
        return show(args, &request, &source);
    }
    let source = LocalRuns::open(&project).map_err(|error| of_runs(&error))?;
    show(args, &request, &source)
}

fn show(
    args: &FormatWandbArgs,
    request: &RunsRequest,
    source: &dyn RunSource,
) -> Result<Exit, CliError> {
    let mut printed = Printed::default();
    let result = format_runs(request, source, &mut printed);
    let shown = Shown {
        verbose: args.verbose || request.style == TableStyle::Compat,
        colours: shows_colours(),
    };
    if !args.json || result.is_err() {
        tell(&printed, shown);
    }
    result.map_err(|error| of_runs(&error))?;
    if args.json {
        let text = json!({ "said": printed.json() });
        return print(&format!("{text:#}\n"));
    }
    print(&shown.text(&printed))
}

/// The configuration with what the options say.
fn request(
    args: &FormatWandbArgs,
    config: &Config,
    project: &Project,
) -> Result<RunsRequest, RunTablesError> {
    let mut request = RunsRequest::of(config, project.working_dir(), Zoned::now())?;
    let selection = &mut request.selection;
    selection.table = args.table.unwrap_or(selection.table);
    if !args.models.is_empty() {
        selection.models = args.models.join(" ");
    }
    if !args.hosts.is_empty() {
        selection.hosts = args.hosts.join(" ");
    }
    if let Some(age) = &args.max_ago {
        selection.max_ago.clone_from(age);
    }
    if let Some(age) = &args.min_ago {
        selection.min_ago.clone_from(age);
    }
    if let Some(sort) = &args.sort {
        request.sort.clone_from(sort);
    }
    request.host_tag = HostTag::new(&args.host_tag)?;
    request.style = args.style;
    if args.style == TableStyle::Full {
        request.ambiguous = Ambiguous::Error;
        request.each_missing = args.verbose;
    }
    request.ambiguous = args.ambiguous.unwrap_or(request.ambiguous);
    Ok(request)
}

/// Runs that cannot be read.
pub(super) fn of_runs(error: &RunTablesError) -> CliError {
    match error {
        RunTablesError::Predictions(error) => of_predictions(error),
        RunTablesError::Time(_) | RunTablesError::Pattern { .. } | RunTablesError::Sort(_) => {
            CliError::from_error(Exit::Usage, error)
        }
        RunTablesError::Wandb(WandbError::NoKey { .. }) => {
            CliError::from_error(Exit::Authentication, error)
        }
        RunTablesError::Wandb(WandbError::Service { fault, .. }) if fault.is_about_the_key() => {
            CliError::from_error(Exit::Authentication, error)
        }
        RunTablesError::Wandb(WandbError::Address(_) | WandbError::Certificates { .. }) => {
            CliError::from_error(Exit::Usage, error)
        }
        _ => CliError::from_error(Exit::Failed, error),
    }
}
