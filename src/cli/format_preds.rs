//! `novic format-preds`: tables of prediction files.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::action::one_stage;
use super::print::print;
use super::printed::{Shown, shows_colours, tell};
use super::{CliError, Exit, complete};
use crate::config::schema::{Action, PredsTable};
use crate::reports::predictions::{
    Ambiguous, PredictionsError, PredsReport, PredsRequest, RecordSources, TableStyle,
    format_preds, missing_predictions, prediction_records,
};
use crate::reports::printed::Printed;
use crate::reports::statistics::Bootstrap;
use crate::store::write_file;

/// Show prediction files as tables, scored against annotations
///
/// Names prediction files (as `novic infer` and the stage `infer` write them),
/// or directories of them; values of the original's action work, too. Tables
/// and what belongs to them go to standard output, everything else to standard
/// error.
///
///   novic format-preds outputs/ovod_20261129_101500 --image-dir extras/world
///   novic format-preds outputs/PREDS --type gencfg_model_v1 --topk 1 --bounds
///   novic format-preds load_pred_jsons='[outputs/PREDS]' pfmt_sort=-0top-1
///   novic format-preds outputs/PREDS --missing open.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct FormatPredsArgs {
    /// Prediction files, directories of them, or values as for `novic config`
    #[arg(value_name = "PATH|KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    inputs: Vec<String>,
    /// Which table: nouns_v1, model_topk_v1, model_max_v1 or gencfg_model_v1
    #[arg(long = "type", value_name = "TABLE")]
    table: Option<PredsTable>,
    /// Predictions considered per sample
    #[arg(long, value_name = "K")]
    topk: Option<usize>,
    /// Sort column: `[+-][0]COLUMN`; 0 sorts by the first number in the cells
    #[arg(long, value_name = "COLUMN", allow_hyphen_values = true)]
    sort: Option<String>,
    /// Call rows as the prediction files, not as the models
    #[arg(long)]
    file_names: bool,
    /// Directory of the pictures, which $IMAGEDIR stands for
    #[arg(long, value_name = "DIR")]
    image_dir: Option<String>,
    /// Annotation file; empty for none
    #[arg(long, value_name = "FILE")]
    annotations: Option<String>,
    /// full: with unannotated predictions and winning configurations; compat:
    /// letter by letter as the original
    #[arg(long, value_name = "STYLE", default_value = "full")]
    style: TableStyle,
    /// A noun in several categories of a sample: error, best, worst or first
    /// (the original's choice, and the default of --style compat)
    #[arg(long, value_name = "RULE")]
    ambiguous: Option<Ambiguous>,
    /// Also show what the score would be if predictions without annotation
    /// were left out, wrong or right, and how much other pictures would change
    #[arg(long)]
    bounds: bool,
    /// Compare paths, and what follows from other keys, too
    #[arg(long)]
    all_keys: bool,
    /// Name the nouns that each sample lacks, and the files that are loaded
    #[arg(long)]
    verbose: bool,
    /// Write the predictions without annotation to a file that
    /// `novic annotate` takes as predictions
    #[arg(long, value_name = "FILE")]
    missing: Option<PathBuf>,
    /// Print JSON: tables, messages and one record per file and configuration
    #[arg(long)]
    json: bool,
}

/// Shows prediction files.
pub fn cmd_format_preds(args: &FormatPredsArgs) -> Result<Exit, CliError> {
    let request = request(args)?;
    let mut printed = Printed::default();
    let result = format_preds(&request, &mut printed);
    let shown = Shown {
        verbose: args.verbose || request.style == TableStyle::Compat,
        colours: request.style == TableStyle::Compat || shows_colours(),
    };
    if !args.json || result.is_err() {
        tell(&printed, shown);
    }
    let report = result.map_err(|error| of_predictions(&error))?;
    if let Some(path) = &args.missing {
        let missing = missing_predictions(&report.findings, &report.annotations);
        write_file(path, format!("{missing:#}\n").as_bytes())
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    }
    if args.json {
        let records = records(&request, report).map_err(|error| of_predictions(&error))?;
        let text = json!({ "said": printed.json(), "records": records });
        return print(&format!("{text:#}\n"));
    }
    print(&shown.text(&printed))
}

/// The configuration with what the options say.
fn request(args: &FormatPredsArgs) -> Result<PredsRequest, CliError> {
    let is_override = |input: &&String| input.contains('=') && !Path::new(input).exists();
    let (overrides, paths): (Vec<_>, Vec<_>) = args.inputs.iter().partition(is_override);
    let overrides: Vec<String> = overrides.into_iter().cloned().collect();
    let config = one_stage(Action::FormatPreds, &overrides)?;
    let working_dir = std::env::current_dir()
        .map_err(|error| CliError::failed(format!("there is no working directory: {error}")))?;
    let mut request = PredsRequest::of(&config, &working_dir);
    request.load.extend(paths.into_iter().cloned());
    request.table = args.table.unwrap_or(request.table);
    request.topk = args.topk.unwrap_or(request.topk);
    request.model_spec &= !args.file_names;
    if let Some(sort) = &args.sort {
        request.sort.clone_from(sort);
    }
    if let Some(dir) = &args.image_dir {
        request.places.image_dir.clone_from(dir);
    }
    if let Some(annotations) = &args.annotations {
        request.annotations.clone_from(annotations);
    }
    request.style = args.style;
    if args.style == TableStyle::Full {
        request.ambiguous = Ambiguous::Error;
        request.all_keys = args.all_keys;
        request.each_missing = args.verbose;
        request.bounds = args.bounds;
    }
    request.ambiguous = args.ambiguous.unwrap_or(request.ambiguous);
    Ok(request)
}

fn records(
    request: &PredsRequest,
    report: PredsReport,
) -> Result<Vec<crate::reports::record::Record>, PredictionsError> {
    let shortest = |file: &crate::reports::predictions::ModelPredictions| {
        let entries = file.predictions.iter();
        let rows =
            entries.flat_map(|entry| (0..entry.nouns.len()).map(|at| entry.nouns.row(at).count()));
        rows.min()
    };
    let topk = report.files.iter().filter_map(shortest).min();
    let annotations = match request.annotations.as_str() {
        "" => Vec::new(),
        path => vec![(path.to_owned(), report.annotations)],
    };
    let sources = RecordSources {
        annotations,
        ambiguous: request.ambiguous,
        topk: request.topk.min(topk.unwrap_or(0)),
        bootstrap: request.bounds.then(Bootstrap::default),
        ..RecordSources::default()
    };
    prediction_records(&report.files, &sources)
}

/// What is named wrongly is usage, what lies there failed work.
pub(super) fn of_predictions(error: &PredictionsError) -> CliError {
    let exit = match error {
        PredictionsError::Extension { .. }
        | PredictionsError::TopkZero
        | PredictionsError::Sort(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::from_error(exit, error)
}
