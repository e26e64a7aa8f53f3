//! `novic annotate check`: whether an annotation file is as it should be.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{PredictionArgs, failed, quoted};
use crate::annotate::{AnnotationFile, check as check_file, image_names};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Check an annotation file, beside its images and predictions
///
/// Errors are nouns that stand in several categories, and annotated images that
/// --images does not have; exit code 1. Pairs that are predicted and not
/// annotated are open, which is no error.
///
///   novic annotate check world/_class_annotations.json --images world
///   novic annotate check a.json --predictions outputs/run1 --topk 2
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// Annotation file
    file: PathBuf,
    /// Directory of the images
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    #[command(flatten)]
    predictions: PredictionArgs,
    /// Show at most so many of each
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Print JSON, with everything
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate check`.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, CliError> {
    let file = AnnotationFile::load(&args.file).map_err(failed)?;
    let images = args.images.as_deref().map(image_names).transpose();
    let images = images.map_err(failed)?;
    let predictions = args.predictions.read()?;
    let found = check_file(&file, images.as_deref(), &predictions);
    let exit = match found.errors.is_empty() && found.missing_images.is_empty() {
        true => Exit::Success,
        false => Exit::Failed,
    };
    if args.json {
        let findings = serde_json::to_value(&found).map_err(CliError::failed)?;
        let object = json!({
            "file": args.file,
            "images": file.images().len(),
            "pairs": file.pairs(),
            "findings": findings,
        });
        print(&format!("{object:#}\n"))?;
        return Ok(exit);
    }
    let open = found
        .open
        .iter()
        .map(|(image, noun)| format!("{}: {}", quoted(image), quoted(noun)));
    let mut text = String::new();
    for (title, lines) in [
        ("errors", found.errors.clone()),
        ("warnings", found.warnings.clone()),
        (
            "annotated images that are missing",
            found.missing_images.clone(),
        ),
        (
            "images without annotations",
            found.unannotated_images.clone(),
        ),
        ("open pairs", open.collect()),
    ] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{} {title}", lines.len());
        for line in lines.iter().take(args.limit) {
            let _ = writeln!(text, "  {line}");
        }
        if lines.len() > args.limit {
            let _ = writeln!(text, "  … and {} more", lines.len() - args.limit);
        }
    }
    let _ = writeln!(
        text,
        "{} images, {} pairs{}",
        file.images().len(),
        file.pairs(),
        match found.predicted {
            0 => String::new(),
            predicted => format!("; {predicted} pairs are predicted"),
        }
    );
    print(&text)?;
    Ok(exit)
}
