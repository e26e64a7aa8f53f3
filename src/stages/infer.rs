//! `infer`: nouns for own texts and pictures (`eval-infer.md` section 8).

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Tensor;
use image::RgbImage;
use serde_json::{Map, Value, json};

use super::eval_cls_decoding::guesses;
use super::grid_progress::GridProgress;
use super::inputs;
use super::pictures;
use super::trained::{self, Model, Models};
use crate::annotate::{add_samples, annotation_path};
use crate::cache::{CacheFile, OpenOptions};
use crate::decoder::generate::{GenerationConfig, select};
use crate::evaluate::PredictionDetails;
use crate::images::{DecodeOptions, ImageError, decode_file, in_batches, pictures_in};
use crate::infer::{
    DecodingTask, EmbeddingModel, Guide, NounDecoder, NounList, Predictions, RankedNoun,
    best_table, known_spellings, prediction_file,
};
use crate::nouns::VariantMap;
use crate::reports::page::{Gallery, Picture};
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::replace_file;

/// Samples decoded together.
const BATCH: usize = 128;
/// Pictures on the page.
const SHOWN: usize = 24;
/// The value of `infer.guide_dataset` that stands for the noun dictionary.
const NOUN_DATASET: &str = "NounDataset";

/// The stage kind.
#[derive(Debug)]
pub(super) struct Infer;

impl StageKind for Infer {
    fn name(&self) -> &'static str {
        "infer"
    }

    fn code_version(&self) -> u32 {
        3
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "embedder.dtype",
            "data.strict_embedder",
            "data.cache_dir",
            "nouns.vocab_path",
            "nouns.vocab_threshold",
            "generate",
            "checkpoint.load",
            "checkpoint.load_many",
            "checkpoint.per_dir",
            "infer.log",
            "infer.texts",
            "infer.images",
            "infer.image_dir",
            "infer.all_images_dir",
            "infer.annotations",
            "infer.annotations_update",
            "infer.guided",
            "infer.guide_canonical",
            "infer.guide_dataset",
            "infer.guide_targets",
            "infer.debug",
            "infer.predictions_json",
        ]
    }

    fn rows(&self) -> Option<&'static [&'static [&'static str]]> {
        None
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = trained::model_resources(query)?;
        let infer = &query.config.infer;
        let guides = !infer.guide_targets.is_empty() || !infer.guide_dataset.is_empty();
        let is_dictionary = infer.guide_targets.is_empty() && infer.guide_dataset == NOUN_DATASET;
        if is_dictionary || (guides && infer.guide_canonical) {
            resources.push(inputs::dictionary(query)?);
        }
        if infer.guide_targets.is_empty() && !infer.guide_dataset.is_empty() && !is_dictionary {
            let path = inputs::cache_path(query.project, query.config, &infer.guide_dataset);
            let path = path.display().to_string();
            resources.push(inputs::file(query, "cache", &path)?);
        }
        if !infer.all_images_dir.is_empty() {
            resources.push(inputs::file(query, "pictures", &infer.all_images_dir)?);
        }
        for image in &infer.images {
            let path = format!("{}/{image}", infer.image_dir);
            let path = if Path::new(image).is_absolute() {
                image.clone()
            } else {
                path
            };
            resources.push(inputs::file(query, "picture", &path)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let configurations = select(&config.generate, config.infer.guided)?;
        for configuration in &configurations {
            configuration.check(true, true)?;
        }
        let inputs = Inputs::of(context)?;
        if inputs.texts.is_empty() && inputs.files.is_empty() {
            context.warn("there is nothing to do: no text and no picture is named");
            return Ok(StageOutput::of(json!({ "summary": "nothing to do" })));
        }
        let models = Models::open(context)?;
        let guide_nouns = guide_nouns(context, &models.open)?;
        let variants = if config.infer.guide_canonical && guide_nouns.is_some() {
            let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, 0)?;
            Some(VariantMap::new(vocabulary.dictionary()))
        } else {
            None
        };
        let mut sets: Vec<(usize, Samples)> = Vec::new();
        let mut files = Vec::new();
        let mut records = Vec::new();
        let mut first: Option<Vec<Vec<RankedNoun>>> = None;
        let count = inputs.texts.len() + inputs.files.len();
        let each = configurations.len() * models.open.len();
        let progress = GridProgress::new(context, count * each);
        for (number, model) in models.open.iter().enumerate() {
            let shared = sets
                .iter()
                .position(|(place, _)| Arc::ptr_eq(&models.open[*place].embedder, &model.embedder));
            let samples = match shared {
                Some(place) => &sets[place].1,
                None => {
                    let samples = Samples::embed(context, model, &inputs)?;
                    if sets.is_empty() {
                        update_annotations(context, &inputs, &samples)?;
                    }
                    sets.push((number, samples));
                    &sets[sets.len() - 1].1
                }
            };
            progress.leave_out((count - samples.keys.len()) * configurations.len());
            progress.begin();
            let predictions = predict_all(
                (context, &progress),
                number,
                model,
                (guide_nouns.as_deref(), variants.as_ref()),
                &configurations,
                samples,
                &mut files,
            )?;
            let batches = samples.keys.len().div_ceil(BATCH);
            let of_model = predictions.iter();
            records.extend(of_model.map(|part| record(&part.tracked(&model.decoder, batches))));
            if first.is_none() {
                first = predictions.first().map(|part| part.rows().to_vec());
            }
        }
        let Some((_, samples)) = sets.first() else {
            return Err(StageError::failed("no model could be used"));
        };
        pictures::write_records(context, &records)?;
        samples.show(context, first.as_deref())?;
        let mut failures = Vec::new();
        for (count, what) in [(samples.failed, "pictures"), (models.failed, "models")] {
            if count > 0 {
                failures.push(format!("{count} {what} left out"));
            }
        }
        Ok(StageOutput {
            results: json!({
                "summary": format!("{} samples", samples.keys.len()),
                "samples": samples.keys.len(),
            }),
            parked: (!failures.is_empty()).then(|| failures.join(", ")),
        })
    }
}

/// The row of tables that a tracked row is.
fn record(tracked: &Map<String, Value>) -> Record {
    let mut record = Record::new();
    for (name, value) in tracked {
        match name.trim_start_matches("Eval/") {
            "model_path" | "model_dir" => {}
            "gen_cfg" => record.set("gencfg", value.clone()),
            name => record.set(name, value.clone()),
        }
    }
    record
}

/// One model under all configurations.
fn predict_all(
    (context, progress): (&StageContext<'_>, &GridProgress<'_, '_>),
    number: usize,
    model: &Model,
    (guide_nouns, variants): (Option<&[String]>, Option<&VariantMap>),
    configurations: &[GenerationConfig],
    samples: &Samples,
    files: &mut Vec<String>,
) -> Result<Vec<Predictions>, StageError> {
    let decoder = &model.decoder;
    let guide = match guide_nouns {
        None => Guide::clone(decoder.vocabulary()),
        Some(nouns) => {
            let spelled = match variants {
                Some(variants) => {
                    let spelled = known_spellings(nouns, decoder.vocabulary().nouns(), variants);
                    if let Some(note) = spelled.note() {
                        context.note(&format!("{}: {note}", decoder.tail()));
                    }
                    spelled.nouns
                }
                None => nouns.to_vec(),
            };
            let guide = decoder.guide(&spelled)?;
            for warning in guide.warnings(decoder.vocabulary().nouns()) {
                context.warn(&format!("{}: {warning}", decoder.tail()));
            }
            if variants.is_none() {
                tell_capitals(context, decoder, &guide);
            }
            guide
        }
    };
    let mut shortages = configurations.iter().filter_map(|c| guide.shortage(c));
    if let Some(shortage) = shortages.next_back() {
        context.warn(&format!("{}: {shortage}", decoder.tail()));
    }
    let infer = &context.config().infer;
    let batches = samples.keys.len().div_ceil(BATCH);
    let (mut all, mut times) = (Vec::new(), Vec::new());
    for (place, configuration) in configurations.iter().enumerate() {
        let kept = context
            .work()
            .join(format!("predictions_{number}_{place}.json"));
        let start = std::time::Instant::now();
        let predictions = match read_kept(&kept, configuration, samples.keys.len()) {
            Some(predictions) => {
                progress.skip(samples.keys.len());
                predictions
            }
            None => {
                progress.configuration(place, configurations.len());
                let task = trained::task(context, decoder, *configuration, &guide)?;
                let predictions = predict((context, progress), &task, samples)?;
                replace_file(&kept, &serde_json::to_vec(predictions.rows())?)?;
                predictions
            }
        };
        times.push(start.elapsed().as_secs_f64());
        if infer.log {
            for (key, row) in samples.keys.iter().zip(predictions.rows()) {
                if let Some(best) = row.first() {
                    context.note(&format!("{key} --> {}", best.noun));
                }
            }
        }
        context.note(&predictions.summary());
        if infer.debug {
            trained::show_table(context, &predictions.table(&samples.keys));
        }
        trained::track(context, &predictions.tracked(decoder, batches))?;
        all.push(predictions);
    }
    trained::track(context, &best_table(decoder, &samples.keys, &all))?;
    let mut infer_cfg = context.config().flat();
    infer_cfg.insert("action".to_owned(), "infer".into());
    let mut file = prediction_file(decoder, &guide, samples.keys.clone(), infer_cfg, &all);
    if context.config().generate.details {
        file.details = Some(PredictionDetails {
            embedder: model.embedder.spec().to_string(),
            sample_index: samples.places.clone(),
            labels: vec![None; samples.keys.len()],
            elapsed_time: times,
        });
    }
    let name = format!("infer_{}", decoder.tail().replace(['/', '.'], "_"));
    if infer.predictions_json {
        trained::export(context, &file, &name, files)?;
    } else {
        // The page and later stages read it; nobody asked to take it away.
        files.push(name);
        file.write(&context.out().join(format!("predictions_{number}.json")))?;
    }
    Ok(all)
}

/// What an earlier attempt left; nothing if it cannot be read.
fn read_kept(path: &Path, configuration: &GenerationConfig, samples: usize) -> Option<Predictions> {
    let rows: Vec<Vec<RankedNoun>> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    if rows.len() != samples {
        return None;
    }
    let mut predictions = Predictions::new(*configuration, 0);
    for row in rows {
        predictions.add_row(row, None).ok()?;
    }
    Some(predictions)
}

/// Says how nouns with capitals are written as the model knows them.
fn tell_capitals(context: &StageContext<'_>, decoder: &NounDecoder, guide: &Guide) {
    let names: Vec<&str> = guide.capitalised(decoder.vocabulary()).collect();
    if let Some(first) = names.first() {
        context.note(&format!(
            "{} guide nouns are known to the model in lower case alone, such as {first}: \
             infer.guide_canonical = true writes them so",
            names.len()
        ));
    }
}

fn predict(
    (context, progress): (&StageContext<'_>, &GridProgress<'_, '_>),
    task: &DecodingTask<'_>,
    samples: &Samples,
) -> Result<Predictions, StageError> {
    let mut predictions = Predictions::new(*task.config(), 0);
    for start in (0..samples.keys.len()).step_by(BATCH) {
        context.check_interrupt()?;
        let count = BATCH.min(samples.keys.len() - start);
        let embeds = samples.embeds.narrow(0, start, count)?;
        for labels in trained::labels(task, &embeds)? {
            predictions.add(labels, None)?;
        }
        progress.advance(count);
    }
    Ok(predictions)
}

/// The nouns that guide, unless each model's own do.
fn guide_nouns(
    context: &StageContext<'_>,
    models: &[Model],
) -> Result<Option<Vec<String>>, StageError> {
    let config = context.config();
    let mut list = NounList::default();
    if !config.infer.guide_targets.is_empty() {
        let mut seen = HashSet::new();
        for noun in &config.infer.guide_targets {
            if seen.insert(noun) {
                list.nouns.push(noun.clone());
            } else {
                list.repeated.push(noun.clone());
            }
        }
    } else if config.infer.guide_dataset == NOUN_DATASET {
        let threshold = config.nouns.vocab_threshold;
        let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, threshold)?;
        list.nouns = vocabulary.nouns().map(|noun| noun.target.clone()).collect();
    } else if !config.infer.guide_dataset.is_empty() {
        let path = inputs::cache_path(context.project(), config, &config.infer.guide_dataset);
        let Some(model) = models.first() else {
            return Ok(None);
        };
        let options = OpenOptions {
            use_targets: Some(true),
            strict: config.data.strict_embedder,
        };
        let file = CacheFile::open(&path, &inputs::signature(&model.embedder), options)?;
        let nouns = file
            .nouns()
            .ok_or_else(|| StageError::failed(format!("{} has no target nouns", path.display())))?;
        list.nouns = nouns.valid().to_vec();
    } else {
        return Ok(None);
    }
    if let Some(note) = list.note() {
        context.warn(&note);
    }
    Ok(Some(list.nouns))
}

/// What is classified.
struct Inputs {
    texts: Vec<String>,
    /// Picture files with their keys.
    files: Vec<(String, PathBuf)>,
    /// The directory that `$IMAGEDIR` stands for.
    image_dir: PathBuf,
}

impl Inputs {
    /// Texts, named pictures, and the pictures of a directory.
    fn of(context: &StageContext<'_>) -> Result<Self, StageError> {
        let infer = &context.config().infer;
        let image_dir = inputs::path(context.project(), &infer.image_dir);
        let mut files: Vec<(String, PathBuf)> = infer
            .images
            .iter()
            .map(|image| (image.clone(), image_dir.join(image)))
            .collect();
        let mut annotated = image_dir;
        if !infer.all_images_dir.is_empty() {
            let folder = inputs::path(context.project(), &infer.all_images_dir);
            files.extend(pictures_in(&folder)?.into_iter().map(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                (name.into_owned(), path)
            }));
            annotated = folder;
        }
        Ok(Self {
            texts: infer.texts.clone(),
            files,
            image_dir: annotated,
        })
    }
}

/// Texts, then pictures, with their keys in this order. Keys may repeat.
struct Samples {
    keys: Vec<String>,
    /// Their places among the inputs.
    places: Vec<u64>,
    /// Unit vectors `[N, F]`.
    embeds: Tensor,
    /// The first pictures, for the page, with their places among the samples.
    shown: Vec<(usize, RgbImage)>,
    failed: usize,
}

impl Samples {
    /// Embeds everything once, holding one batch of pictures at a time.
    fn embed(
        context: &StageContext<'_>,
        model: &Model,
        inputs: &Inputs,
    ) -> Result<Self, StageError> {
        let embedder: &dyn EmbeddingModel = model.embedder.as_ref();
        let mut keys: Vec<String> = inputs
            .texts
            .iter()
            .map(|text| format!("\"{text}\""))
            .collect();
        let mut places: Vec<u64> = (0..keys.len() as u64).collect();
        let mut next = places.len() as u64;
        let (mut parts, mut shown, mut failed) = (Vec::new(), Vec::new(), 0);
        if !inputs.texts.is_empty() {
            let texts: Vec<&str> = inputs.texts.iter().map(String::as_str).collect();
            parts.push(embedder.embed_texts(&texts)?);
        }
        context.begin("pictures", 0, Some(inputs.files.len() as u64));
        in_batches(
            inputs.files.len(),
            model.embedder.image_batch(),
            |place| {
                let image = decode_file(&inputs.files[place].1, &DecodeOptions::default())?;
                // Enough for the page unless most of them cannot be read.
                let kept = (place < 2 * SHOWN).then(|| image.clone());
                Ok::<_, ImageError>((embedder.prepare(image), kept))
            },
            |range, decoded| {
                context.check_interrupt()?;
                let mut images = Vec::with_capacity(range.len());
                for ((key, _), image) in inputs.files[range.clone()].iter().zip(decoded) {
                    next += 1;
                    match image {
                        Ok((image, kept)) => {
                            let kept = kept.filter(|_| shown.len() < SHOWN);
                            shown.extend(kept.map(|image| (keys.len(), image)));
                            keys.push(key.clone());
                            places.push(next - 1);
                            images.push(image);
                        }
                        Err(error) => {
                            failed += 1;
                            context.warn(&format!("left out: {error}"));
                        }
                    }
                }
                if !images.is_empty() {
                    parts.push(embedder.embed_prepared(images)?);
                }
                super::inputs::tell(context, &model.embedder);
                context.advance(range.len() as u64);
                Ok::<_, StageError>(())
            },
        )?;
        if parts.is_empty() {
            return Err(StageError::failed(
                "nothing to classify: no text is given and no picture can be read",
            ));
        }
        Ok(Self {
            keys,
            places,
            embeds: Tensor::cat(&parts, 0)?,
            shown,
            failed,
        })
    }

    /// Leaves the first pictures for the page.
    fn show(
        &self,
        context: &StageContext<'_>,
        rows: Option<&[Vec<RankedNoun>]>,
    ) -> Result<(), StageError> {
        let Some(rows) = rows.filter(|_| !self.shown.is_empty()) else {
            return Ok(());
        };
        let (mut shown, mut images) = (Vec::new(), Vec::new());
        for (place, image) in &self.shown {
            let file = format!("infer_{place}.png");
            images.push((file.clone(), image.clone()));
            shown.push(Picture {
                file,
                label: Some(self.keys[*place].clone()),
                guesses: guesses(&rows[*place]),
            });
        }
        let gallery = Gallery {
            title: "Own pictures".to_owned(),
            pictures: shown,
        };
        pictures::write_galleries(context, &[gallery], &images)
    }
}

/// Enters the samples into the annotation file (`infer.annotations_update`).
fn update_annotations(
    context: &StageContext<'_>,
    inputs: &Inputs,
    samples: &Samples,
) -> Result<(), StageError> {
    let infer = &context.config().infer;
    if !infer.annotations_update {
        return Ok(());
    }
    let image_dir = Some(inputs.image_dir.as_path());
    let Some(path) = annotation_path(
        &infer.annotations,
        image_dir,
        context.project().working_dir(),
    ) else {
        return Ok(());
    };
    let added = add_samples(&path, &samples.keys)?;
    context.note(&format!(
        "{added} samples added to the annotations {}",
        path.display()
    ));
    Ok(())
}
