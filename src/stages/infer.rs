//! `infer`: nouns for own pictures and texts.

use std::collections::HashSet;
use std::path::PathBuf;

use image::RgbImage;
use serde_json::json;

use super::eval_cls_decoding::guesses;
use super::inputs;
use super::pictures;
use super::trained::{self, PredictionRows};
use crate::decoder::generate::select;
use crate::evaluate::{NounSets, TopKStatistics};
use crate::images::{DecodeOptions, ImageInputs, decode_file};
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
        let mut samples = Samples::of(context)?;
        if samples.keys.is_empty() {
            return Err(StageError::failed(
                "nothing can be classified: no picture can be read",
            ));
        }
        let vocabulary: HashSet<String> = model.vocabulary().iter().cloned().collect();
        let total = samples.keys.len() as u64;
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
            context.begin("samples", 0, Some(total));
            let texts: Vec<&str> = samples.texts.iter().map(String::as_str).collect();
            let mut labels = if texts.is_empty() {
                Vec::new()
            } else {
                model.classify_texts(&texts)?
            };
            for batch in samples.images.chunks(BATCH) {
                context.check_interrupt()?;
                labels.extend(model.classify_images(batch)?);
                context.advance(batch.len() as u64);
            }
            for labels in labels {
                let nouns: Vec<&str> = labels.iter().map(|label| label.noun.as_str()).collect();
                let kinds = statistics.add(&nouns, None)?;
                rows.push(labels, kinds);
            }
            for (key, labels) in samples.keys.iter().zip(&rows.labels) {
                if let Some(best) = labels.first() {
                    context.note(&format!("{key} --> {}", best.noun));
                }
            }
            entries.push((configuration, rows, statistics.percentages()));
        }
        samples.show(context, entries.first().map(|(_, rows, _)| rows))?;
        let borrowed = entries
            .iter()
            .map(|(c, rows, p)| (*c, rows, p.clone()))
            .collect();
        let file = trained::prediction_file(context, &model, samples.keys, borrowed);
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
    texts: Vec<String>,
    images: Vec<RgbImage>,
    failed: usize,
}

impl Samples {
    fn of(context: &StageContext<'_>) -> Result<Self, StageError> {
        let infer = &context.config().infer;
        let mut samples = Self {
            keys: infer
                .texts
                .iter()
                .map(|text| format!("\"{text}\""))
                .collect(),
            texts: infer.texts.clone(),
            images: Vec::new(),
            failed: 0,
        };
        let mut files: Vec<(String, PathBuf)> = Vec::new();
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
        for (key, path) in files {
            match decode_file(&path, &DecodeOptions::default()) {
                Ok(image) => {
                    samples.keys.push(key);
                    samples.images.push(image);
                }
                Err(error) => {
                    samples.failed += 1;
                    context.warn(&format!("left out: {error}"));
                }
            }
        }
        Ok(samples)
    }

    /// Leaves the first pictures for the page.
    fn show(
        &mut self,
        context: &StageContext<'_>,
        rows: Option<&PredictionRows>,
    ) -> Result<(), StageError> {
        let Some(rows) = rows.filter(|_| !self.images.is_empty()) else {
            return Ok(());
        };
        let (mut shown, mut images) = (Vec::new(), Vec::new());
        for (number, image) in self.images.iter().take(SHOWN).enumerate() {
            let place = self.texts.len() + number;
            let file = format!("infer_{number}.png");
            images.push((file.clone(), image.clone()));
            shown.push(Picture {
                file,
                label: Some(self.keys[place].clone()),
                guesses: guesses(&rows.labels[place], &rows.kinds[place]),
            });
        }
        let gallery = Gallery {
            title: "Own pictures".to_owned(),
            pictures: shown,
        };
        pictures::write_galleries(context, &[gallery], &images)
    }
}
