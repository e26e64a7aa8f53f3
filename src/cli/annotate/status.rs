//! `novic annotate status`: how far annotations are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::{PredictionArgs, failed};
use crate::annotate::{AnnotationFile, PredictedImage};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Show how far annotations are: categories, open pairs, complete images
///
///   novic annotate status world/_class_annotations.json --predictions outputs/run1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct StatusArgs {
    /// Annotation files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    predictions: PredictionArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate status`.
pub(super) fn status(args: &StatusArgs) -> Result<Exit, CliError> {
    let predictions = args.predictions.read()?;
    let mut all = Vec::new();
    let mut text = String::new();
    for path in &args.files {
        let file = AnnotationFile::load(path).map_err(failed)?;
        let (object, lines) = of_file(path, &file, &predictions);
        all.push(object);
        text.push_str(&lines);
    }
    if args.json {
        return print(&format!("{:#}\n", Value::Array(all)));
    }
    print(&text)
}

fn of_file(path: &Path, file: &AnnotationFile, predictions: &[PredictedImage]) -> (Value, String) {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in file.categories() {
        let of = |entry: &crate::annotate::ImageAnnotations| {
            entry
                .nouns()
                .filter(|(_, category)| *category == name)
                .count()
        };
        let count = file.images().iter().map(of).sum();
        counts.push((name, count));
    }
    let (mut predicted, mut open, mut complete) = (0, 0, 0);
    for image in predictions {
        let is_open = |noun: &&crate::annotate::PredictedNoun| {
            file.category_of(&image.image, &noun.noun).is_none()
        };
        let missing = image.nouns.iter().filter(is_open).count();
        predicted += image.nouns.len();
        open += missing;
        complete += usize::from(missing == 0);
    }
    let object = json!({
        "file": path,
        "images": file.images().len(),
        "pairs": file.pairs(),
        "categories": counts.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "predicted_pairs": predicted,
        "open_pairs": open,
        "predicted_images": predictions.len(),
        "complete_images": complete,
    });
    let mut text = format!(
        "{}: {} images, {} pairs\n",
        path.display(),
        file.images().len(),
        file.pairs()
    );
    for (name, count) in counts {
        let _ = writeln!(text, "  {count:>8} {name}");
    }
    if !predictions.is_empty() {
        let _ = writeln!(
            text,
            "  {open:>8} of {predicted} predicted pairs are open; {complete} of {} images are \
             complete",
            predictions.len()
        );
    }
    (object, text)
}
