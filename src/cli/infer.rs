//! `novic infer`: labels of own pictures.

use std::io::Write as _;
use std::path::Path;

use clap::{Args, ValueEnum};
use image::RgbImage;
use serde_json::{Value, json};

use super::print::print;
use super::{CliError, Exit};
use crate::decoder::generate::GenerationConfig;
use crate::images::{DecodeOptions, ImageInputs, decode_file};
use crate::infer::{CheckpointSource, Label, NovicModel};

/// Pictures embedded and decoded together.
const BATCH: usize = 64;

/// Write what is in pictures, without a list of candidate labels
///
/// Takes files, folders and glob patterns. Pictures that cannot be read are
/// reported and skipped (exit code 3). Labels come with their probabilities, or,
/// where the generation configuration makes these meaningless (priors, length
/// exponents, temperatures), with scores.
///
///   novic infer picture.png
///   novic infer photos/ 'more/*.jpg' --top 5 --format jsonl
///   novic infer --checkpoint latest picture.png
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InferArgs {
    /// Pictures, folders, glob patterns
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<String>,
    /// A checkpoint file, a run, `latest`, or `embedded`
    #[arg(
        long,
        default_value = "embedded",
        value_name = "PATH|RUN|latest|embedded"
    )]
    checkpoint: CheckpointSource,
    /// Generation configuration
    #[arg(long, default_value = "beam_k10_vnone_gp_t1_a0", value_name = "NAME")]
    gencfg: String,
    /// Show this many labels
    #[arg(long, default_value_t = 3)]
    top: usize,
    /// Descend into sub-folders
    #[arg(long)]
    recursive: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print JSON (the same as --format json)
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Jsonl,
}

/// Labels pictures.
pub fn cmd_infer(args: &InferArgs) -> Result<Exit, CliError> {
    let usage = |error: &dyn std::error::Error| CliError::from_error(Exit::Usage, error);
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let generation: GenerationConfig = args.gencfg.parse().map_err(|error| usage(&error))?;
    let inputs = ImageInputs {
        recursive: args.recursive,
        allow_empty: false,
    };
    let files = inputs
        .expand(&args.pictures)
        .map_err(|error| usage(&error))?;
    let model = NovicModel::load(&args.checkpoint)
        .map_err(|error| failed(&error))?
        .with_generation(generation);
    let format = if args.json { Format::Json } else { args.format };
    let mut records = Vec::new();
    let mut skipped = 0;
    for (start, batch) in files.chunks(BATCH).enumerate() {
        let mut images = Vec::with_capacity(batch.len());
        let mut outcomes: Vec<Result<Vec<Label>, String>> = Vec::with_capacity(batch.len());
        for path in batch {
            match decode_file(path, &DecodeOptions::default()) {
                Ok(image) => {
                    images.push(image);
                    outcomes.push(Ok(Vec::new()));
                }
                Err(error) => outcomes.push(Err(error.to_string())),
            }
        }
        let mut labels = classify(&model, &images)?.into_iter();
        for (number, (path, outcome)) in batch.iter().zip(outcomes).enumerate() {
            let outcome = outcome.map(|_| labels.next().unwrap_or_default());
            skipped += usize::from(outcome.is_err());
            let index = start * BATCH + number;
            match format {
                Format::Text => show(path, &outcome, args.top)?,
                Format::Json => records.push(record(index, path, &outcome, args.top)),
                Format::Jsonl => {
                    print(&format!("{}\n", record(index, path, &outcome, args.top)))?;
                }
            }
        }
        std::io::stdout().flush().map_err(|error| failed(&error))?;
    }
    if format == Format::Json {
        print(&format!("{:#}\n", Value::from(records)))?;
    }
    Ok(if skipped > 0 {
        Exit::SomeInputsFailed
    } else {
        Exit::Success
    })
}

fn classify(model: &NovicModel, images: &[RgbImage]) -> Result<Vec<Vec<Label>>, CliError> {
    if images.is_empty() {
        return Ok(Vec::new());
    }
    model
        .classify_images(images)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))
}

fn show(path: &Path, outcome: &Result<Vec<Label>, String>, top: usize) -> Result<(), CliError> {
    match outcome {
        Err(reason) => eprintln!("skipped: {reason}"),
        Ok(labels) => {
            let text: Vec<String> = labels
                .iter()
                .take(top)
                .map(|label| match label.probability {
                    Some(probability) => format!("{} = {:.1}%", label.noun, probability * 100.0),
                    None => format!("{} (score {:.3})", label.noun, label.score),
                })
                .collect();
            print(&format!("{}: {}\n", path.display(), text.join(" / ")))?;
        }
    }
    Ok(())
}

fn record(index: usize, path: &Path, outcome: &Result<Vec<Label>, String>, top: usize) -> Value {
    let input = path.display().to_string();
    match outcome {
        Err(reason) => json!({
            "index": index,
            "input": input,
            "error": { "kind": "image", "message": reason },
        }),
        Ok(labels) => {
            let predictions: Vec<Value> = labels
                .iter()
                .take(top)
                .map(|label| {
                    json!({
                        "noun": label.noun,
                        "score": label.score,
                        "prob": label.probability,
                        "type": if label.in_vocabulary { "vocab" } else { "other" },
                    })
                })
                .collect();
            json!({ "index": index, "input": input, "predictions": predictions })
        }
    }
}
