//! `novic annotate status`: how far annotations are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{PredictionArgs, failed};
use crate::annotate::gpt::{State, read_state};
use crate::annotate::human::{Effort, efforts};
use crate::annotate::{AnnotationFile, ImageAnnotations, PredictedImage, PredictedNoun};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};

/// Show how far annotations are: categories, open pairs, complete images
///
///   novic annotate status world/_class_annotations.json --predictions outputs/run1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct StatusArgs {
    /// Annotation files, or state files of `novic annotate gpt`
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
        let (object, lines) = match is_state(path) {
            true => of_state(path, &read_state(path).map_err(failed)?, &predictions)?,
            false => {
                let file = AnnotationFile::load(path).map_err(failed)?;
                let efforts =
                    efforts(path).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
                of_file(path, &file, &predictions, &efforts)
            }
        };
        all.push(object);
        text.push_str(&lines);
    }
    if args.json {
        return print(&format!("{:#}\n", Value::Array(all)));
    }
    print(&text)
}

/// Whether a file says of itself that it is a state of annotation by a model.
fn is_state(path: &Path) -> bool {
    type Members = BTreeMap<String, IgnoredAny>;
    let text = std::fs::read(path).unwrap_or_default();
    serde_json::from_slice::<Members>(&text).is_ok_and(|members| members.contains_key("_meta"))
}

fn of_state(
    path: &Path,
    state: &State,
    predictions: &[PredictedImage],
) -> Result<(Value, String), CliError> {
    let mut predicted = vec![Vec::new(); state.meta.images.len()];
    for image in predictions {
        let Some(at) = state.image(&image.image) else {
            return Err(CliError::failed(format!(
                "{} has no image {:?}; add new images with `novic annotate gpt update`",
                path.display(),
                image.image
            )));
        };
        predicted[at] = image.nouns.iter().map(|noun| noun.noun.clone()).collect();
    }
    let exported = state.export(false);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, category) in exported
        .file
        .images()
        .iter()
        .flat_map(|entry| entry.nouns())
    {
        *counts.entry(category).or_default() += 1;
    }
    let open = state.open_pairs(&predicted).count();
    let mut parked: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, _, failed) in state.failures.parked() {
        *parked.entry(failed.class.words()).or_default() += 1;
    }
    let batches: Vec<Value> = state
        .pending
        .iter()
        .map(|batch| {
            json!({
                "id": batch["remote_batch"],
                "questions": batch["request_lists"].as_array().map_or(0, Vec::len),
                "seen": State::seen(batch),
            })
        })
        .collect();
    let object = json!({
        "file": path,
        "model": state.meta.model,
        "images": state.meta.images.len(),
        "opinions": state.opinions(),
        "categories": counts,
        "open_pairs": open,
        "given_up": parked,
        "batches_under_way": state.pending.len(),
        "batches": batches,
        "usage": state.usage,
        "cost": state.cost,
    });
    let mut text = format!(
        "{}: {} images, {} opinions of {}\n",
        path.display(),
        state.meta.images.len(),
        state.opinions(),
        state.meta.model
    );
    for (name, count) in counts {
        let _ = writeln!(text, "  {count:>8} {name}");
    }
    let _ = writeln!(text, "  {open:>8} pairs are open");
    for (why, count) in parked {
        let _ = writeln!(text, "  {count:>8} pairs given up: {why}");
    }
    for batch in &state.pending {
        let id = batch["remote_batch"].as_str().unwrap_or_default();
        let questions = batch["request_lists"].as_array().map_or(0, Vec::len);
        let _ = write!(text, "  batch {id:?} is under way: {questions} questions");
        if let Some(seen) = State::seen(batch) {
            let _ = write!(text, ", {:?}", seen.status);
            if let Some([_, answered, failed]) = seen.counts {
                let _ = write!(text, ", {answered} answered, {failed} failed");
            }
            let _ = write!(text, " at {}", seen.at);
        }
        text.push('\n');
    }
    let tokens = state.tokens();
    let _ = writeln!(
        text,
        "  {} requests, {} + {} tokens, {:.4} USD",
        state.usage.get("requests").copied().unwrap_or(0),
        tokens.prompt_tokens,
        tokens.completion_tokens,
        state.cost
    );
    Ok((object, text))
}

fn of_file(
    path: &Path,
    file: &AnnotationFile,
    predictions: &[PredictedImage],
    efforts: &[Effort],
) -> (Value, String) {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in file.categories() {
        let of = |entry: &ImageAnnotations| {
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
        let is_open = |noun: &&PredictedNoun| file.category_of(&image.image, &noun.noun).is_none();
        let missing = image.nouns.iter().filter(is_open).count();
        predicted += image.nouns.len();
        open += missing;
        complete += usize::from(missing == 0);
    }
    let object = json!({
        "file": path,
        "images": file.images().len(),
        "pairs": file.pairs(),
        "categories": counts.iter().cloned().collect::<BTreeMap<_, _>>(),
        "predicted_pairs": predicted,
        "open_pairs": open,
        "predicted_images": predictions.len(),
        "complete_images": complete,
        "people": efforts,
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
    for effort in efforts {
        let who = effort.annotator.as_deref().unwrap_or("somebody");
        let _ = writeln!(
            text,
            "  {who:?} gave {} labels in {}",
            effort.labels,
            time_text(effort.seconds)
        );
    }
    (object, text)
}

/// Seconds below a minute, else minutes.
fn time_text(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        _ => format!("{} min", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_work_is_told_in_seconds() {
        assert_eq!([0, 3, 59].map(time_text), ["0 s", "3 s", "59 s"]);
        assert_eq!([60, 61, 7200].map(time_text), ["1 min", "2 min", "120 min"]);
    }
}
