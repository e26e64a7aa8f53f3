//! `embedder_zero_shot`: how well the embedder alone chooses among the class
//! names of a dataset.

use serde_json::json;

use super::inputs;
use super::keys::{DATASET, EMBEDDER, keys};
use super::pictures::{self, EmbeddedPictures};
use crate::datasets::ClassificationDataset;
use crate::embedders::Embedder;
use crate::evaluate::{
    ClassEmbeddings, ModalityGap, ZeroShot, ZeroShotPrompt, check_labels, dataset_prompts,
    modality_gap_file,
};
use crate::nouns::{ClassNameVariant, Number, names_of_classes};
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Classes whose prompts are embedded together.
const CLASSES: usize = 128;

/// The stage kind.
#[derive(Debug)]
pub(super) struct EmbedderZeroShot;

impl StageKind for EmbedderZeroShot {
    fn name(&self) -> &'static str {
        "embedder_zero_shot"
    }

    fn code_version(&self) -> u32 {
        2
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
        let mut records = Vec::new();
        let mut summary = Vec::new();
        let mut failed = 0;
        for dataset in pictures::open_all(context)? {
            let pictures = EmbeddedPictures::of(context, &embedder, dataset.as_ref())?;
            failed += pictures.failed;
            let classes = class_embeddings(context, &embedder, dataset.as_ref())?;
            let mut scores = ZeroShot::new(&classes)?;
            scores.add(&pictures.embeds, &pictures.labels)?;
            if context.config().zero_shot.measure_gap {
                measure_gap(context, &embedder, dataset.name(), &classes, &pictures)?;
            }
            let percent = |k| scores.top(k).map(|share| share * 100.0);
            summary.push(format!(
                "{} {:.1} %",
                dataset.name(),
                percent(1).unwrap_or(0.0)
            ));
            records.push(
                Record::new()
                    .with("dataset", dataset.name())
                    .with("classes", pictures.classes_present(dataset.as_ref()))
                    .with("num_samples", scores.samples())
                    .with("top1", percent(1))
                    .with("top5", percent(5)),
            );
        }
        pictures::write_records(context, &records)?;
        Ok(StageOutput {
            results: json!({ "summary": format!("top-1: {}", summary.join(", ")) }),
            parked: (failed > 0).then(|| format!("{failed} pictures left out")),
        })
    }
}

/// Leaves the file of the modality gap.
fn measure_gap(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &str,
    classes: &candle_core::Tensor,
    pictures: &EmbeddedPictures,
) -> Result<(), StageError> {
    let rows = |tensor: &candle_core::Tensor| {
        let tensor = tensor.flatten_all()?;
        tensor.to_vec1::<f32>()
    };
    let mut gap = ModalityGap::new(rows(classes)?, embedder.dim());
    let images = rows(&pictures.embeds)?;
    for (image, label) in images.chunks_exact(embedder.dim()).zip(&pictures.labels) {
        gap.add(image, *label)?;
    }
    let config = context.config();
    let settings = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    let text = gap.file(
        settings(json!({
            "device": "cpu",
            "allow_tf32": true,
            "embedder_spec": config.embedder.spec,
            "embedder_amp": config.embedder.amp,
            "embedder_amp_bf16": config.embedder.amp_bf16,
            "embedder_compile": config.embedder.compile,
            "embedder_optimum": config.embedder.optimum,
        })),
        settings(json!({
            "cls_dataset": dataset,
            "cls_split": config.cls.split.as_str(),
            "clip_prompts": config.zero_shot.clip_prompts,
        })),
    );
    let file = context
        .out()
        .join(modality_gap_file(&embedder.spec().path_safe()));
    std::fs::write(&file, text)?;
    context.note(&format!(
        "modality gap of {dataset}: all {:.3} ± {:.3}°, own class {:.3} ± {:.3}°",
        gap.all().mean(),
        gap.all().deviation(),
        gap.matched().mean(),
        gap.matched().deviation()
    ));
    Ok(())
}

/// Class embeddings `[C, F]`: mean over the prompts, normalised.
fn class_embeddings(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &dyn ClassificationDataset,
) -> Result<candle_core::Tensor, StageError> {
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
    let variant = Some(ClassNameVariant::Clip);
    let clean = config.zero_shot.clean;
    let classes = names_of_classes(dataset.name(), dataset.classes(), variant, clean, None)?;
    check_labels(dataset, classes.len())?;
    let mut sums = ClassEmbeddings::new(classes.len(), embedder.dim());
    context.begin("class names", 0, Some(classes.len() as u64));
    for (group, chunk) in classes.chunks(CLASSES).enumerate() {
        context.check_interrupt()?;
        let texts: Vec<String> = chunk
            .iter()
            .flat_map(|class| prompts.iter().map(|prompt| prompt.text(class)))
            .collect();
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = embedder
            .embed_texts(&borrowed)?
            .flatten_all()?
            .to_vec1::<f32>()?;
        for (index, vector) in vectors.chunks_exact(embedder.dim()).enumerate() {
            sums.add(group * CLASSES + index / prompts.len(), vector)?;
        }
        context.advance(chunk.len() as u64);
    }
    Ok(sums.finish(&candle_core::Device::Cpu)?)
}
