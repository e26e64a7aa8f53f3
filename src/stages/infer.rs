//! `infer`: nouns for own pictures and texts.

use std::collections::HashSet;
use std::path::PathBuf;

use candle_core::Tensor;
use image::RgbImage;
use rayon::prelude::*;
use serde_json::json;

use super::eval_cls_decoding::guesses;
use super::inputs;
use super::pictures;
use super::trained::{self, PredictionRows};
use crate::decoder::generate::select;
use crate::evaluate::{NounSets, TopKStatistics};
use crate::images::{DecodeOptions, ImageInputs, decode_file};
use crate::infer::NovicModel;
use crate::reports::page::{Gallery, Picture};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Pictures embedded and decoded together.
const BATCH: usize = 64;
/// Pictures on the page.
const SHOWN: usize = 24;

/// The stage kind.
#[derive(Debug)]
pub(super) struct Infer;

impl StageKind for Infer {
    fn name(&self) -> &'static str {
        "infer"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "generate",
            "checkpoint.load",
            "infer.texts",
            "infer.images",
            "infer.image_dir",
            "infer.all_images_dir",
            "infer.guided",
        ]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        resources.extend(trained::resources(query)?);
        let infer = &query.config.infer;
        if !infer.all_images_dir.is_empty() {
            resources.push(inputs::file(
                query,
                "pictures",
                &infer.all_images_dir,
                "world",
            )?);
        }
        for image in &infer.images {
            let path = format!("{}/{image}", infer.image_dir);
            resources.push(inputs::file(query, "picture", &path, "world")?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let configurations = select(&config.generate, config.infer.guided)?;
        let mut model = trained::open(context)?;
        let samples = Samples::embed(context, &model)?;
        let vocabulary: HashSet<String> = model.vocabulary().iter().cloned().collect();
        let total = samples.keys.len();
        let mut entries = Vec::new();
        for configuration in &configurations {
            model = model.with_generation(*configuration);
            let sets = NounSets {
                vocabulary: vocabulary.clone(),
                guide: vocabulary.clone(),
                classes: Vec::new(),
            };
            let mut statistics = TopKStatistics::new(sets, configuration.topk);
            let mut rows = PredictionRows::default();
            context.begin("samples", 0, Some(total as u64));
            for (batch, keys) in samples.keys.chunks(BATCH).enumerate() {
                context.check_interrupt()?;
                let embeds = samples.embeds.narrow(0, batch * BATCH, keys.len())?;
                for (key, labels) in keys.iter().zip(model.classify_embeddings(&embeds)?) {
                    if let Some(best) = labels.first() {
                        context.note(&format!("{key} --> {}", best.noun));
                    }
                    let nouns: Vec<&str> = labels.iter().map(|l| l.noun.as_str()).collect();
                    let kinds = statistics.add(&nouns, None)?;
                    rows.push(labels, kinds);
                }
                context.advance(keys.len() as u64);
            }
            entries.push((configuration, rows, statistics.percentages()));
        }
        samples.show(context, entries.first().map(|(_, rows, _)| rows))?;
        let borrowed = entries
            .iter()
            .map(|(c, rows, p)| (*c, rows, p.clone()))
            .collect();
        let file = trained::prediction_file(context, "infer", &model, samples.keys, borrowed);
        trained::export(context, &file, "predictions_infer.json")?;
        Ok(StageOutput {
            results: json!({ "summary": format!("{total} samples") }),
            parked: (samples.failed > 0).then(|| format!("{} pictures left out", samples.failed)),
        })
    }
}

/// Texts, then pictures, with their keys in this order.
struct Samples {
    keys: Vec<String>,
    /// Unit vectors `[N, F]`.
    embeds: Tensor,
    /// The first pictures, for the page, with their places among the samples.
    shown: Vec<(usize, RgbImage)>,
    failed: usize,
}

impl Samples {
    /// Embeds everything once, holding one batch of pictures at a time.
    fn embed(context: &StageContext<'_>, model: &NovicModel) -> Result<Self, StageError> {
        let embedder = model.embedder();
        let infer = &context.config().infer;
        let mut keys: Vec<String> = infer
            .texts
            .iter()
            .map(|text| format!("\"{text}\""))
            .collect();
        let (mut parts, mut shown, mut failed) = (Vec::new(), Vec::new(), 0);
        if !infer.texts.is_empty() {
            let texts: Vec<&str> = infer.texts.iter().map(String::as_str).collect();
            parts.push(embedder.embed_texts(&texts)?);
        }
        let files = picture_files(context)?;
        context.begin("pictures", 0, Some(files.len() as u64));
        for batch in files.chunks(BATCH) {
            context.check_interrupt()?;
            let decoded: Vec<_> = batch
                .par_iter()
                .map(|(_, path)| decode_file(path, &DecodeOptions::default()))
                .collect();
            let mut images = Vec::with_capacity(batch.len());
            for ((key, _), image) in batch.iter().zip(decoded) {
                match image {
                    Ok(image) => {
                        if shown.len() < SHOWN {
                            shown.push((keys.len(), image.clone()));
                        }
                        keys.push(key.clone());
                        images.push(image);
                    }
                    Err(error) => {
                        failed += 1;
                        context.warn(&format!("left out: {error}"));
                    }
                }
            }
            if !images.is_empty() {
                parts.push(embedder.embed_images(&images)?);
            }
            context.advance(batch.len() as u64);
        }
        if parts.is_empty() {
            return Err(StageError::failed(
                "nothing to classify: no text is given and no picture can be read",
            ));
        }
        Ok(Self {
            keys,
            embeds: Tensor::cat(&parts, 0)?,
            shown,
            failed,
        })
    }

    /// Leaves the first pictures for the page.
    fn show(
        &self,
        context: &StageContext<'_>,
        rows: Option<&PredictionRows>,
    ) -> Result<(), StageError> {
        let Some(rows) = rows.filter(|_| !self.shown.is_empty()) else {
            return Ok(());
        };
        let (mut pictures, mut images) = (Vec::new(), Vec::new());
        for (place, image) in &self.shown {
            let file = format!("infer_{place}.png");
            images.push((file.clone(), image.clone()));
            pictures.push(Picture {
                file,
                label: Some(self.keys[*place].clone()),
                guesses: guesses(&rows.labels[*place], &rows.kinds[*place]),
            });
        }
        let gallery = Gallery {
            title: "Own pictures".to_owned(),
            pictures,
        };
        pictures::write_galleries(context, &[gallery], &images)
    }
}

/// Picture files with their keys: the named ones, then those of the folder.
fn picture_files(context: &StageContext<'_>) -> Result<Vec<(String, PathBuf)>, StageError> {
    let infer = &context.config().infer;
    let mut files = Vec::new();
    for image in &infer.images {
        let path = inputs::path(context.project(), &format!("{}/{image}", infer.image_dir));
        files.push((image.clone(), path));
    }
    if !infer.all_images_dir.is_empty() {
        let folder = inputs::path(context.project(), &infer.all_images_dir);
        let found = ImageInputs::default().expand(&[folder.display().to_string()])?;
        files.extend(found.into_iter().map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), path)
        }));
    }
    Ok(files)
}
