//! `embedder_zero_shot`: how well the embedder alone chooses among the class
//! names of a dataset.

use serde_json::{Value, json};

use super::cache_cls::CacheCls;
use super::inputs;
use super::keys::{DATASET, EMBEDDER, keys};
use super::picture_cache;
use super::pictures;
use crate::cache::{CacheFile, OpenOptions};
use crate::datasets::{ClassificationDataset, Split};
use crate::device;
use crate::embedders::Embedder;
use crate::evaluate::{
    EvaluateError, ZeroShotPrompt, ZeroShotRun, check_labels, class_embeddings, dataset_prompts,
    modality_gap_file,
};
use crate::nouns::{ClassNameVariant, Number, names_of_classes};
use crate::reports::record::Record;
use crate::runner::{
    InputEntry, Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput,
};

/// Everything that was found, beside the records for tables.
const REPORT_FILE: &str = "zero_shot.json";

/// The stage kind.
#[derive(Debug)]
pub(super) struct EmbedderZeroShot;

impl StageKind for EmbedderZeroShot {
    fn name(&self) -> &'static str {
        "embedder_zero_shot"
    }

    fn code_version(&self) -> u32 {
        3
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            DATASET,
            &[
                "cls.datasets",
                "zero_shot.clean",
                "zero_shot.clip_prompts",
                "zero_shot.measure_gap",
                "nouns.prompts",
                "nouns.prompt_path",
                "nouns.text_rules",
                "embedder.amp",
                "embedder.amp_bf16",
                "embedder.compile",
                "embedder.optimum",
            ]
        ]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        resources.extend(pictures::resources(query)?);
        if !query.config.zero_shot.clip_prompts {
            resources.extend(inputs::prompts(query)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let datasets = pictures::open_all(context)?;
        let cached = cached_pictures(context, datasets.len())?;
        let (mut records, mut reports) = (Vec::new(), Vec::new());
        let (mut summary, mut failed) = (Vec::new(), 0);
        for dataset in datasets {
            let dataset = dataset.as_ref();
            let classes = class_names(context, dataset)?;
            if classes.len() != dataset.classes().len() {
                context.warn(&format!(
                    "dataset {} has {} classes, the list {} names",
                    dataset.name(),
                    dataset.classes().len(),
                    classes.len()
                ));
            }
            let run = begin(context, &embedder, dataset, classes)?;
            let run = match cached {
                Some(input) => from_cache(&embedder, dataset, run, input)?,
                None => embed(context, &embedder, dataset, run)?,
            };
            for reason in &run.skipped {
                context.warn(&format!("left out: {reason}"));
            }
            failed += run.skipped.len();
            if run.scores.samples() == 0 {
                return Err(StageError::failed(format!(
                    "dataset {}: no picture can be read",
                    dataset.name()
                )));
            }
            context.note(&run.line());
            write_gap(context, &embedder, &run)?;
            let percent = |k| run.scores.top(k).map(|share| share * 100.0);
            let top1 = percent(1).unwrap_or(0.0);
            summary.push(format!("{} {top1:.1} %", dataset.name()));
            let present = run.scores.per_class().iter();
            records.push(
                Record::new()
                    .with("dataset", dataset.name())
                    .with(
                        "classes",
                        present.filter(|(samples, _)| *samples > 0).count(),
                    )
                    .with("num_samples", run.scores.samples())
                    .with("top1", percent(1))
                    .with("top5", percent(5)),
            );
            reports.push(run.json());
        }
        pictures::write_records(context, &records)?;
        std::fs::write(
            context.out().join(REPORT_FILE),
            format!("{:#}\n", Value::from(reports)),
        )?;
        Ok(StageOutput {
            // Of several datasets, the mean.
            results: json!({
                "summary": format!("top-1: {}", summary.join(", ")),
                "top1": pictures::mean(&records, "top1"),
                "top5": pictures::mean(&records, "top5"),
                "samples": records.iter().filter_map(|row| row.number("num_samples")).sum::<f64>(),
            }),
            parked: (failed > 0).then(|| format!("{failed} pictures left out")),
        })
    }
}

/// The cache of a `cache_cls` stage whose vectors stand in for the pictures.
fn cached_pictures<'a>(
    context: &'a StageContext<'_>,
    datasets: usize,
) -> Result<Option<&'a InputEntry>, StageError> {
    let [input] = context.inputs() else {
        return match context.inputs().len() {
            0 => Ok(None),
            count => Err(StageError::failed(format!(
                "{count} inputs are given; one stage of kind cache_cls can stand in for the \
                 pictures"
            ))),
        };
    };
    if input.entry.manifest().kind != CacheCls.name() || datasets != 1 {
        return Err(StageError::failed(format!(
            "`{}` cannot stand in for the pictures: take in one stage of kind cache_cls and name \
             its dataset alone",
            input.stage
        )));
    }
    Ok(Some(input))
}

/// Class embeddings for a run.
fn begin(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &dyn ClassificationDataset,
    classes: Vec<String>,
) -> Result<ZeroShotRun, StageError> {
    let config = context.config();
    let prompts = if config.zero_shot.clip_prompts {
        dataset_prompts(dataset.name())
    } else {
        let nouns = inputs::open_noun_prompts(context.project(), &config.nouns)?;
        let singular = nouns.of(Number::Singular).iter();
        singular
            .map(|prompt| ZeroShotPrompt {
                template: prompt.template(),
                article: prompt.article,
            })
            .collect()
    };
    context.begin("class names", 0, Some(classes.len() as u64));
    let embeds = class_embeddings(embedder, &classes, &prompts, |count| {
        advance(context, count)
    });
    let embeds = embeds.map_err(stage_error)?;
    inputs::tell(context, embedder);
    let split = Split::named(config.cls.split.as_str()).unwrap_or_default();
    let gap = config.zero_shot.measure_gap;
    Ok(ZeroShotRun::new(
        dataset.name(),
        split.name(),
        classes,
        &embeds,
        gap,
    )?)
}

/// The names of CLIP; every label has one.
fn class_names(
    context: &StageContext<'_>,
    dataset: &dyn ClassificationDataset,
) -> Result<Vec<String>, StageError> {
    let clean = context.config().zero_shot.clean;
    let variant = Some(ClassNameVariant::Clip);
    let names = names_of_classes(dataset.name(), dataset.classes(), variant, clean, None)?;
    check_labels(dataset, names.len())?;
    Ok(names)
}

/// Embeds all pictures.
fn embed(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &dyn ClassificationDataset,
    run: ZeroShotRun,
) -> Result<ZeroShotRun, StageError> {
    context.begin("images", 0, Some(dataset.len() as u64));
    run.over(embedder, dataset, embedder.image_batch(), |count| {
        inputs::tell(context, embedder);
        advance(context, count)
    })
    .map_err(stage_error)
}

/// Takes the vectors of all pictures from a cache.
fn from_cache(
    embedder: &Embedder,
    dataset: &dyn ClassificationDataset,
    mut run: ZeroShotRun,
    input: &InputEntry,
) -> Result<ZeroShotRun, StageError> {
    let names = picture_cache::read_names(&input.entry)?;
    let options = OpenOptions {
        use_targets: Some(false),
        strict: true,
    };
    let path = input.entry.file(super::text_cache::CACHE_FILE)?;
    let cache = CacheFile::open(&path, &inputs::signature(embedder), options)?.enter(None, None)?;
    let labels: Option<Vec<usize>> = names.iter().map(|name| name.class).collect();
    let labels = labels.filter(|labels| labels.len() as u64 == cache.len());
    let (Some(labels), true) = (labels, cache.len() == dataset.len() as u64) else {
        return Err(StageError::failed(format!(
            "`{}` is of {} pictures, dataset {} has {}; give both stages the same [cls]",
            input.stage,
            cache.len(),
            dataset.name(),
            dataset.len()
        )));
    };
    let mut start = 0;
    cache.for_each_chunk(0..cache.len(), |samples| -> Result<(), StageError> {
        let values = samples.embeds.clone().into_f32();
        let rows = values.len() / embedder.dim();
        let embeds = candle_core::Tensor::from_vec(
            values,
            (rows, embedder.dim()),
            &candle_core::Device::Cpu,
        )?;
        run.add(&embeds, &labels[start..start + rows])?;
        start += rows;
        Ok(())
    })?;
    Ok(run)
}

fn advance(context: &StageContext<'_>, count: usize) -> Result<(), EvaluateError> {
    context.advance(count as u64);
    match context.is_interrupted() {
        true => Err(EvaluateError::Interrupted),
        false => Ok(()),
    }
}

fn stage_error(error: EvaluateError) -> StageError {
    match error {
        EvaluateError::Interrupted => StageError::Interrupted,
        error => error.into(),
    }
}

/// Leaves the file of the modality gap, if it was measured.
fn write_gap(
    context: &StageContext<'_>,
    embedder: &Embedder,
    run: &ZeroShotRun,
) -> Result<(), StageError> {
    let Some(gap) = &run.gap else {
        return Ok(());
    };
    let config = context.config();
    let settings = |value: Value| value.as_object().cloned().unwrap_or_default();
    let text = gap.file(
        settings(json!({
            "device": device::kind(embedder.device()),
            "allow_tf32": true,
            "embedder_spec": config.embedder.spec,
            "embedder_amp": config.embedder.amp,
            "embedder_amp_bf16": config.embedder.amp_bf16,
            "embedder_compile": config.embedder.compile,
            "embedder_optimum": config.embedder.optimum,
        })),
        settings(json!({
            "cls_dataset": run.dataset,
            "cls_split": config.cls.split.as_str(),
            "clip_prompts": config.zero_shot.clip_prompts,
        })),
    );
    let file = context
        .out()
        .join(modality_gap_file(&embedder.spec().path_safe()));
    std::fs::write(&file, text)?;
    context.note(&format!(
        "modality gap of {}: all {:.3} ± {:.3}°, own class {:.3} ± {:.3}°",
        run.dataset,
        gap.all().mean(),
        gap.all().deviation(),
        gap.matched().mean(),
        gap.matched().deviation()
    ));
    Ok(())
}
