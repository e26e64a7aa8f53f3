//! `novic embed zero-shot`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{EmbedderArgs, tell};
use crate::datasets::{Split, expanded, open_in};
use crate::device;
use crate::embedders::Embedder;
use crate::evaluate::{
    ZeroShotPrompt, ZeroShotRun, check_labels, class_embeddings, dataset_prompts, modality_gap_file,
};
use crate::nouns::{
    ClassNameVariant, CollectionNames, NounsError, Number, TemplateFile, TextRules,
    names_of_classes,
};

/// Collection of the prompts of nouns.
const NOUN_COLLECTION: &str = "ImageNet1K | CIFAR";

/// Let embedders choose among the class names of data sets
///
/// Class embeddings are means over prompts. Several embedders and data sets make
/// a table. --measure-gap also measures the modality gap and leaves the file
/// that trainings read (train.mean_shift.path) in the folder --out.
///
///   novic embed zero-shot openclip:timm/ViT-B-16-SigLIP --dataset CIFAR10,Food101
///   novic embed zero-shot openclip:novic/drawings --dataset ./photos --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ZeroShotArgs {
    /// Embedders, TYPE:NAME
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<String>,
    /// Data sets by name, or folders and list files
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "ImageNet1K",
        value_name = "NAME|PATH"
    )]
    dataset: Vec<String>,
    /// Folder of the data sets
    #[arg(long, default_value = "~/Datasets", value_name = "DIR")]
    root: String,
    /// Which part
    #[arg(long, value_enum, default_value_t = Part::Valid)]
    split: Part,
    /// List of class names: clip, multi, guide, wordnet, or own for the data
    /// set's
    #[arg(long, default_value = "clip", value_name = "LIST")]
    class_names: String,
    /// Shorten class names of the list clip
    #[arg(long)]
    clean: bool,
    /// Prompts of nouns instead of those of CLIP
    #[arg(long)]
    noun_prompts: bool,
    /// Also measure the modality gap
    #[arg(long)]
    measure_gap: bool,
    /// Where files of the modality gap go
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
    /// Pictures embedded together
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Show this many of the most frequent confusions
    #[arg(long, default_value_t = 0)]
    confusions: usize,
    /// Write the table as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Train,
    Valid,
    All,
}

impl From<Part> for Split {
    fn from(part: Part) -> Self {
        match part {
            Part::Train => Self::Train,
            Part::Valid => Self::Valid,
            Part::All => Self::All,
        }
    }
}

pub(super) fn zero_shot(args: &ZeroShotArgs) -> Result<Exit, CliError> {
    let variant = match args.class_names.as_str() {
        "own" => None,
        name => {
            let variant = ClassNameVariant::named(name);
            Some(variant.map_err(|error| CliError::from_error(Exit::Usage, &error))?)
        }
    };
    let mut reports = Vec::new();
    let mut table = String::from("embedder,dataset,split,samples,top1,top5,skipped\n");
    let mut skipped = 0;
    for spec in &args.specs {
        let embedder = args.embedder.open(spec)?;
        for dataset in &args.dataset {
            let run = run(args, &embedder, dataset, variant)?;
            tell(&embedder);
            for reason in &run.skipped {
                eprintln!("left out: {reason}");
            }
            skipped += run.skipped.len();
            if let Some(gap) = &run.gap {
                let path = args
                    .out
                    .join(modality_gap_file(&embedder.spec().path_safe()));
                let text = gap.file(embedder_settings(&embedder), dataset_settings(args, &run));
                write(&path, &text)?;
                eprintln!("modality gap: {}", path.display());
            }
            let percent = |k| run.scores.top(k).unwrap_or(0.0) * 100.0;
            table.push_str(&format!(
                "{spec},{},{},{},{:.4},{:.4},{}\n",
                run.dataset,
                run.split,
                run.scores.samples(),
                percent(1),
                percent(5),
                run.skipped.len()
            ));
            if args.json {
                let mut report = run.json();
                report["embedder"] = spec.as_str().into();
                reports.push(report);
            } else {
                show(args, spec, &run)?;
            }
        }
    }
    if let Some(path) = &args.csv {
        write(path, &table)?;
    }
    if args.json {
        print(&format!("{:#}\n", Value::from(reports)))?;
    }
    Ok(if skipped > 0 {
        Exit::SomeInputsFailed
    } else {
        Exit::Success
    })
}

fn run(
    args: &ZeroShotArgs,
    embedder: &Embedder,
    dataset: &str,
    variant: Option<ClassNameVariant>,
) -> Result<ZeroShotRun, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let split = Split::from(args.split);
    let opened = open_in(dataset, &expanded(&args.root), split).map_err(|error| failed(&error))?;
    let opened = opened.as_ref();
    for notice in opened.notices() {
        eprintln!("{notice}");
    }
    let names = names_of_classes(
        opened.name(),
        opened.classes(),
        variant,
        args.clean,
        Some(Path::new("data")),
    )
    .map_err(|error| failed(&error))?;
    check_labels(opened, names.len()).map_err(|error| failed(&error))?;
    if names.len() != opened.classes().len() {
        eprintln!(
            "dataset {} has {} classes, the list {} names",
            opened.name(),
            opened.classes().len(),
            names.len()
        );
    }
    let prompts = if args.noun_prompts {
        noun_prompts().map_err(|error| failed(&error))?
    } else {
        dataset_prompts(opened.name())
    };
    let embeds =
        class_embeddings(embedder, &names, &prompts, |_| Ok(())).map_err(|error| failed(&error))?;
    let gap = args.measure_gap;
    ZeroShotRun::new(opened.name(), split.name(), names, &embeds, gap)
        .and_then(|run| run.over(embedder, opened, args.batch as usize, |_| Ok(())))
        .map_err(|error| failed(&error))
}

/// The singular prompts of the shipped templates.
fn noun_prompts() -> Result<Vec<ZeroShotPrompt>, NounsError> {
    let prompts = TemplateFile::shipped()?
        .prompts(&CollectionNames::parse(NOUN_COLLECTION), TextRules::Mended)?;
    Ok(prompts
        .of(Number::Singular)
        .iter()
        .map(|prompt| ZeroShotPrompt {
            template: prompt.template(),
            article: prompt.article,
        })
        .collect())
}

fn show(args: &ZeroShotArgs, spec: &str, run: &ZeroShotRun) -> Result<(), CliError> {
    if args.specs.len() > 1 {
        print(&format!("{spec}: "))?;
    }
    let top5 = run.scores.top(5).unwrap_or(0.0) * 100.0;
    print(&format!("{} (top-5 {top5:.2}%)\n", run.line()))?;
    if let Some(gap) = &run.gap {
        print(&format!(
            "angles: all {:.3} ± {:.3}°, own class {:.3} ± {:.3}°\n",
            gap.all().mean(),
            gap.all().deviation(),
            gap.matched().mean(),
            gap.matched().deviation()
        ))?;
    }
    for ((label, predicted), count) in run.confusions().into_iter().take(args.confusions) {
        let (label, predicted) = (&run.classes[label], &run.classes[predicted]);
        print(&format!("{count:6}  {label} taken for {predicted}\n"))?;
    }
    Ok(())
}

/// Settings that the file of the modality gap was measured with.
fn embedder_settings(embedder: &Embedder) -> Map<String, Value> {
    object(json!({
        "device": device::kind(embedder.device()),
        "allow_tf32": true,
        "embedder_spec": embedder.spec().to_string(),
        "embedder_amp": true,
        "embedder_amp_bf16": false,
        "embedder_compile": false,
        "embedder_optimum": false,
    }))
}

fn dataset_settings(args: &ZeroShotArgs, run: &ZeroShotRun) -> Map<String, Value> {
    object(json!({
        "cls_dataset": run.dataset,
        "cls_split": run.split,
        "clip_prompts": !args.noun_prompts,
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .map_err(|error| CliError::failed(format!("failed to write {}: {error}", path.display())))
}
