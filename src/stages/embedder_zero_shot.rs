//! `embedder_zero_shot`: how well the embedder alone chooses among the class
//! names of a dataset.

use serde_json::json;

use super::inputs;
use super::keys::{DATASET, EMBEDDER, keys};
use super::pictures::{self, EmbeddedPictures};
use crate::datasets::ClassificationDataset;
use crate::embedders::Embedder;
use crate::evaluate::{ClassEmbeddings, ZeroShot};
use crate::nouns::zero_shot_prompts;
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Prompts of datasets that have none of their own: they say nothing of the
/// kind of picture, and few do, as averages of more hardly differ.
const GENERAL_PROMPTS: [&str; 4] = [
    "{noun}",
    "a photo of a {noun}.",
    "a drawing of a {noun}.",
    "an icon of a {noun}.",
];

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
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, DATASET, &["cls.datasets"]]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        resources.extend(pictures::resources(query)?);
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
            let mut scores =
                ZeroShot::new(&class_embeddings(context, &embedder, dataset.as_ref())?)?;
            scores.add(&pictures.embeds, &pictures.labels)?;
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

/// Class embeddings `[C, F]`: mean over the prompts, normalised.
fn class_embeddings(
    context: &StageContext<'_>,
    embedder: &Embedder,
    dataset: &dyn ClassificationDataset,
) -> Result<candle_core::Tensor, StageError> {
    let prompts = zero_shot_prompts(dataset.name())
        .unwrap_or_else(|_| GENERAL_PROMPTS.map(str::to_owned).to_vec());
    let classes = dataset.classes();
    let mut sums = ClassEmbeddings::new(classes.len(), embedder.dim());
    context.begin("class names", 0, Some(classes.len() as u64));
    for (group, chunk) in classes.chunks(CLASSES).enumerate() {
        context.check_interrupt()?;
        let texts: Vec<String> = chunk
            .iter()
            .flat_map(|class| prompts.iter().map(|prompt| prompt.replace("{noun}", class)))
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
