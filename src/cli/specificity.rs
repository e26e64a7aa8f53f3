//! `novic specificity`: scores weighted with how specific nouns are.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::format_preds::of_predictions;
use super::print::print;
use super::printed::{Shown, shows_colours, tell};
use super::{CliError, Exit};
use crate::reports::predictions::{
    Ambiguous, Annotations, Places, PredictionsError, TableStyle, read_files, select_files,
};
use crate::reports::printed::Printed;
use crate::reports::specificity::{
    EMBEDDED, MissingSpecificity, Specificity, SpecificityRequest, specificity_scores,
};

/// Where the original keeps its list.
const ORIGINAL_LIST: &str = "extras/specificity/_specificity_annotations.json";

/// Show prediction scores weighted with how specific the nouns are
///
/// The overall score is the points of a prediction times the specificity of its
/// noun, from 0 (coarse) to 1 (fine). Takes the original's list where you have
/// it, or any file of noun → number; `embedded` is a list made of WordNet.
///
///   novic specificity --specificity-file embedded --pred-dir outputs/PREDS \
///       --ann-file extras/wiki/_class_annotations.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SpecificityArgs {
    /// Specificity list, or `embedded`
    #[arg(long, alias = "specificity_file", value_name = "FILE", default_value = ORIGINAL_LIST)]
    specificity_file: PathBuf,
    /// Directory of prediction files
    #[arg(long, alias = "pred_dir", value_name = "DIR")]
    pred_dir: PathBuf,
    /// Annotation file; several give several columns
    #[arg(long, alias = "ann_file", value_name = "FILE", required = true)]
    ann_file: Vec<PathBuf>,
    /// What is not known: error, zero (worth nothing), or fine (a noun without
    /// specificity is as specific as can be)
    #[arg(long, value_name = "RULE", default_value = "error")]
    missing: MissingSpecificity,
    /// full: with primary scores, differences and intervals; compat: letter by
    /// letter as the original
    #[arg(long, value_name = "STYLE", default_value = "full")]
    style: TableStyle,
    /// A noun in several categories of a sample: error, best, worst, first or
    /// last (the original's choice, and the default of --style compat)
    #[arg(long, value_name = "RULE")]
    ambiguous: Option<Ambiguous>,
    /// Print JSON: one record per file, configuration and annotation file
    #[arg(long)]
    json: bool,
}

/// Shows specificity scores.
pub fn cmd_specificity(args: &SpecificityArgs) -> Result<Exit, CliError> {
    let list = list(&args.specificity_file)?;
    let working_dir = std::env::current_dir()
        .map_err(|error| CliError::failed(format!("there is no working directory: {error}")))?;
    if !args.pred_dir.is_dir() {
        return Err(CliError::usage(format!(
            "{} is no directory; name the one that holds the prediction files",
            args.pred_dir.display()
        )));
    }
    let mut printed = Printed::default();
    let places = Places {
        source: working_dir,
        image_dir: String::new(),
    };
    let read = || {
        let entries = [args.pred_dir.display().to_string()];
        let mut left_out = Printed::default();
        let files = read_files(&select_files(&entries, &places)?, &mut left_out)?;
        let annotations = args.ann_file.iter().map(|path| {
            let annotations = Annotations::read(path)?;
            Ok::<_, PredictionsError>((path.display().to_string(), annotations))
        });
        let annotations = annotations.collect::<Result<Vec<_>, _>>()?;
        Ok::<_, PredictionsError>((files, annotations))
    };
    let (files, annotations) = read().map_err(|error| of_predictions(&error))?;
    let by_style = match args.style {
        TableStyle::Full => Ambiguous::Error,
        TableStyle::Compat => Ambiguous::Last,
    };
    let request = SpecificityRequest {
        list,
        files,
        annotations,
        style: args.style,
        ambiguous: args.ambiguous.unwrap_or(by_style),
        missing: args.missing,
    };
    let result = specificity_scores(&request, &mut printed);
    let shown = Shown {
        verbose: true,
        colours: shows_colours(),
    };
    if !args.json {
        tell(&printed, shown);
    }
    let records = result.map_err(|error| of_predictions(&error))?;
    if args.json {
        return print(&format!("{:#}\n", json!({ "records": records })));
    }
    print(&shown.text(&printed))
}

fn list(path: &Path) -> Result<Specificity, CliError> {
    if path == Path::new(EMBEDDED) {
        return Specificity::embedded().map_err(|error| of_predictions(&error));
    }
    if path == Path::new(ORIGINAL_LIST) && !path.exists() {
        return Err(CliError::usage(format!(
            "there is no {ORIGINAL_LIST}; name the list, for example --specificity-file {EMBEDDED}"
        )));
    }
    Specificity::read(path).map_err(|error| of_predictions(&error))
}
