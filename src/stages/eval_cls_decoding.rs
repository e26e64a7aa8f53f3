//! `eval_cls_decoding`: what decoders write for the pictures of classification
//! datasets, under several generation configurations (`eval-infer.md` section
//! 7).

use serde_json::{Map, Value, json};

use super::class_lists::{ClassLists, ClassNames};
use super::grid_progress::GridProgress;
use super::image_set::ImageSet;
use super::inputs;
use super::pictures;
use super::trained::{self, Model, Models};
use crate::config::schema::EvalGuide;
use crate::datasets::ClassificationDataset;
use crate::decoder::generate::{GenerationConfig, select};
use crate::evaluate::{
    Colour, DatasetScores, DecodingScore, ModelScores, PredictionDetails, PredictionTable,
    TrackedTable, overall_table, wilson_95,
};
use crate::infer::{Guide, Predictions, RankedNoun, prediction_file, ranked};
use crate::nouns::VariantMap;
use crate::reports::page::{Gallery, Guess, Picture};
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::replace_file;

/// Pictures decoded together.
const BATCH: usize = 128;
/// Pictures of each dataset on the page.
const SHOWN: usize = 24;

/// The stage kind.
#[derive(Debug)]
pub(super) struct EvalClsDecoding;

impl StageKind for EvalClsDecoding {
    fn name(&self) -> &'static str {
        "eval_cls_decoding"
    }

    fn code_version(&self) -> u32 {
        3
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "embedder.dtype",
            "nouns.vocab_path",
            "cls.dataset",
            "cls.datasets",
            "cls.root",
            "cls.split",
            "cls.class_names",
            "generate",
            "eval.guided",
            "eval.guide",
            "eval.debug",
            "eval.samples_max",
            "checkpoint.load",
            "checkpoint.load_many",
            "checkpoint.per_dir",
        ]
    }

    fn rows(&self) -> Option<&'static [&'static [&'static str]]> {
        None
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::dictionary(query)?];
        resources.extend(trained::model_resources(query)?);
        resources.extend(pictures::resources(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let configurations = select(&config.generate, config.eval.guided)?;
        for configuration in &configurations {
            configuration.check(true, true)?;
        }
        let models = Models::open(context)?;
        let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, 0)?;
        let variants = VariantMap::new(vocabulary.dictionary());
        let mut output = Output {
            failed_models: models.failed,
            ..Output::default()
        };
        let mut first_error = None;
        let datasets = pictures::open_named(context)?;
        let limit = config.eval.samples_max;
        let pictures = datasets
            .iter()
            .map(|(_, dataset)| limited(dataset.len(), limit));
        let total = pictures.sum::<usize>() * models.open.len() * configurations.len();
        let progress = GridProgress::new(context, total);
        for (place, (asked, dataset)) in datasets.iter().enumerate() {
            let evaluation = Evaluation {
                context,
                place,
                models: &models.open,
                dataset: dataset.as_ref(),
                configurations: &configurations,
                variants: &variants,
                progress: &progress,
            };
            match evaluation.run(asked, &mut output) {
                Ok(()) => {}
                Err(StageError::Interrupted) => return Err(StageError::Interrupted),
                Err(error) => {
                    context.warn(&format!("dataset {asked} left out: {error}"));
                    output.failed_datasets += 1;
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if output.datasets.is_empty() => return Err(error),
            _ => {}
        }
        let overall = overall_table(&output.datasets);
        trained::track(context, &overall.values)?;
        if output.datasets.len() > 1 {
            trained::show_table(context, &overall.text);
        }
        output.finish(context, &overall)
    }
}

struct Evaluation<'a, 'c> {
    context: &'a StageContext<'c>,
    /// Place of the dataset among those asked for.
    place: usize,
    models: &'a [Model],
    dataset: &'a dyn ClassificationDataset,
    configurations: &'a [GenerationConfig],
    variants: &'a VariantMap,
    progress: &'a GridProgress<'a, 'c>,
}

/// How many pictures of so many are taken.
fn limited(pictures: usize, limit: usize) -> usize {
    match limit {
        0 => pictures,
        limit => pictures.min(limit),
    }
}

#[derive(Default)]
struct Output {
    datasets: Vec<DatasetScores>,
    records: Vec<Record>,
    results: Vec<Value>,
    galleries: Vec<Gallery>,
    images: Vec<(String, image::RgbImage)>,
    summary: Vec<String>,
    files: Vec<String>,
    failed_models: usize,
    failed_datasets: usize,
    failed_pictures: usize,
}

impl Evaluation<'_, '_> {
    fn run(&self, asked: &str, output: &mut Output) -> Result<(), StageError> {
        let context = self.context;
        let classes = ClassNames::of(context, asked, self.dataset)?;
        let limit = context.config().eval.samples_max;
        // Models of one embedder share the embeddings.
        let mut sets: Vec<(usize, ImageSet)> = Vec::new();
        let mut scores = DatasetScores {
            dataset: classes.title.clone(),
            models: Vec::new(),
        };
        for (number, model) in self.models.iter().enumerate() {
            context.check_interrupt()?;
            let shared = sets.iter().position(|(first, _)| {
                std::sync::Arc::ptr_eq(&self.models[*first].embedder, &model.embedder)
            });
            let images = match shared {
                Some(place) => &sets[place].1,
                None => {
                    let set = ImageSet::of(context, model, self.dataset, limit)?;
                    output.failed_pictures += set.failed;
                    sets.push((number, set));
                    &sets[sets.len() - 1].1
                }
            };
            let lists = ClassLists::of_model(
                context,
                &classes,
                self.variants,
                model.decoder.vocabulary().nouns(),
            );
            lists.tell_unnamed(context, &classes, &images.labels);
            let outcome = self.evaluate(&classes, number, images, &lists, output);
            let model_scores = match outcome {
                Ok(scores) => scores,
                Err(error @ StageError::Interrupted) => return Err(error),
                Err(error) if self.models.len() == 1 => return Err(error),
                Err(error) => {
                    let tail = model.decoder.tail();
                    context.warn(&format!("{}: {tail} left out: {error}", classes.title));
                    output.failed_models += 1;
                    continue;
                }
            };
            let mut table = model_scores.table(&classes.title);
            // With it, shares of single precision are exact again.
            let samples = json!(images.len());
            table.values.insert("num_samples".to_owned(), samples);
            trained::track(context, &table.values)?;
            trained::show_table(context, &table.text);
            scores.models.push(model_scores);
        }
        if scores.models.is_empty() {
            return Err(StageError::failed("no model could be evaluated"));
        }
        let table = scores.table();
        trained::track(context, &table.values)?;
        if scores.models.len() > 1 {
            trained::show_table(context, &table.text);
        }
        if output
            .datasets
            .iter()
            .any(|known| known.dataset == scores.dataset)
        {
            context.warn(&format!(
                "{} was evaluated twice; the second time does not count",
                scores.dataset
            ));
        } else {
            output.datasets.push(scores);
        }
        Ok(())
    }

    /// One model under all configurations.
    fn evaluate(
        &self,
        classes: &ClassNames,
        number: usize,
        images: &ImageSet,
        lists: &ClassLists,
        output: &mut Output,
    ) -> Result<ModelScores, StageError> {
        let (context, decoder) = (self.context, &self.models[number].decoder);
        let guide = match context.config().eval.guide {
            EvalGuide::Vocabulary => Guide::clone(decoder.vocabulary()),
            EvalGuide::Classes if lists.nouns.is_empty() => {
                return Err(StageError::failed(format!(
                    "{}: no class has a name in the vocabulary of {}, so nothing can guide it",
                    classes.title,
                    decoder.tail()
                )));
            }
            EvalGuide::Classes => decoder.guide(&lists.nouns)?,
        };
        let (mut all, mut times) = (Vec::new(), Vec::new());
        let limit = context.config().eval.samples_max;
        let lacking = limited(self.dataset.len(), limit).saturating_sub(images.len());
        self.progress.leave_out(lacking * self.configurations.len());
        self.progress.begin();
        for (place, configuration) in self.configurations.iter().enumerate() {
            let kept = self.kept_path(number, place);
            let start = std::time::Instant::now();
            let predictions = match self.read_kept(&kept, configuration, images, lists) {
                Some(predictions) => {
                    self.progress.skip(images.len());
                    predictions
                }
                None => {
                    self.progress
                        .configuration(place, self.configurations.len());
                    let predictions = self.predict(number, &guide, configuration, images, lists)?;
                    let rows = serde_json::to_vec(predictions.rows())?;
                    replace_file(&kept, &rows)?;
                    predictions
                }
            };
            let elapsed = start.elapsed().as_secs_f64();
            times.push(elapsed);
            output.results.push(result(
                context,
                &classes.title,
                &decoder.tail(),
                lists,
                images,
                &predictions,
                elapsed,
            ));
            output
                .records
                .push(self.record(number, images, &predictions));
            all.push(predictions);
        }
        if context.config().eval.debug {
            self.show_debug(&all, images, lists);
        }
        if let Some(first) = all.first() {
            output.summary.push(format!(
                "{} {:.1} %",
                self.dataset.name(),
                first.statistics().top(1).unwrap_or(0.0) * 100.0
            ));
            if number == 0 {
                self.show(images, first, output)?;
            }
        }
        let mut infer_cfg = context.config().flat();
        infer_cfg.insert("action".to_owned(), "eval_cls_decoding".into());
        let names = images.indices.iter();
        let names = names.map(|&index| self.dataset.image_name(index)).collect();
        let mut file = prediction_file(decoder, &guide, names, infer_cfg, &all);
        if context.config().generate.details {
            let class = |&label: &usize| self.dataset.classes().get(label).cloned();
            file.details = Some(PredictionDetails {
                embedder: self.models[number].embedder.spec().to_string(),
                sample_index: images.indices.iter().map(|&index| index as u64).collect(),
                labels: images.labels.iter().map(class).collect(),
                elapsed_time: times,
            });
        }
        let name = format!("predictions_{}", trained::in_file_name(self.dataset.name()));
        trained::export(context, &file, &name, &mut output.files)?;
        Ok(ModelScores {
            model: decoder.tail(),
            scores: all
                .iter()
                .map(|part| DecodingScore::new(part.config().to_string(), part.statistics()))
                .collect(),
        })
    }

    /// What a finished configuration leaves for a resumed run.
    fn kept_path(&self, model: usize, configuration: usize) -> std::path::PathBuf {
        let name = format!("predictions_{}_{model}_{configuration}.json", self.place);
        self.context.work().join(name)
    }

    fn read_kept(
        &self,
        path: &std::path::Path,
        configuration: &GenerationConfig,
        images: &ImageSet,
        lists: &ClassLists,
    ) -> Option<Predictions> {
        let rows: Vec<Vec<RankedNoun>> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        if rows.len() != images.len() {
            return None;
        }
        let mut predictions = Predictions::new(*configuration, lists.lists.len());
        for (row, &label) in rows.into_iter().zip(&images.labels) {
            predictions.add_row(row, Some(label)).ok()?;
        }
        Some(predictions)
    }

    fn predict(
        &self,
        number: usize,
        guide: &Guide,
        configuration: &GenerationConfig,
        images: &ImageSet,
        lists: &ClassLists,
    ) -> Result<Predictions, StageError> {
        let context = self.context;
        let decoder = &self.models[number].decoder;
        let task = trained::task(context, decoder, *configuration, guide)?;
        let mut predictions = Predictions::new(*configuration, lists.lists.len());
        for (batch, labels) in images.labels.chunks(BATCH).enumerate() {
            context.check_interrupt()?;
            let embeds = images.embeds.narrow(0, batch * BATCH, labels.len())?;
            for (nouns, &label) in trained::labels(&task, &embeds)?.into_iter().zip(labels) {
                predictions.add(nouns, Some((label, &lists.accepted[label])))?;
            }
            self.progress.advance(labels.len());
        }
        Ok(predictions)
    }

    fn record(&self, number: usize, images: &ImageSet, predictions: &Predictions) -> Record {
        let statistics = predictions.statistics();
        let percent = |k| statistics.top(k).map(|share| share * 100.0);
        let decoder = &self.models[number].decoder;
        let first = statistics.counts().first().map_or(0, |counts| counts[0]);
        let (low, high) = wilson_95(first, statistics.samples());
        let mut record = Record::new()
            .with("dataset", self.dataset.name())
            .with("model", decoder.tail())
            .with("gencfg", predictions.config().to_string())
            .with("classes", images.classes_present())
            .with("num_samples", statistics.samples())
            .with("top1_low", low * 100.0)
            .with("top1_high", high * 100.0)
            .with(
                "class_mean_top1",
                statistics.class_mean_top(1).map(|share| share * 100.0),
            );
        for k in [1, 3, 5, 10] {
            record.set(&format!("top{k}"), percent(k));
        }
        record
    }

    /// The first batch under every configuration.
    fn show_debug(&self, all: &[Predictions], images: &ImageSet, lists: &ClassLists) {
        let topk = all.iter().map(|part| part.config().topk).max().unwrap_or(0);
        let mut table = PredictionTable::new(&["Gen Cfg", "Label"], topk, &["Path"]);
        for sample in 0..images.len().min(BATCH) {
            for part in all {
                let main = lists.lists[images.labels[sample]].first();
                let main = main.map_or("UNKNOWN", String::as_str).to_owned();
                let name = self.dataset.image_name(images.indices[sample]);
                let path = std::path::Path::new(&name).components().rev().take(2);
                let path: Vec<String> = path
                    .map(|part| part.as_os_str().to_string_lossy().into_owned())
                    .collect();
                let path: Vec<&str> = path.iter().rev().map(String::as_str).collect();
                table.row(
                    [part.config().to_string(), Colour::Cyan.paint(&main)],
                    topk,
                    ranked(&part.rows()[sample]),
                    [path.join("/")],
                );
            }
        }
        trained::show_table(self.context, &table.render());
    }

    /// Pictures from all over the dataset, for the page.
    fn show(
        &self,
        images: &ImageSet,
        predictions: &Predictions,
        output: &mut Output,
    ) -> Result<(), StageError> {
        let count = images.len();
        let mut shown = Vec::new();
        for place in (0..SHOWN.min(count)).map(|i| i * count / SHOWN.min(count)) {
            let file = format!("{}_{place}.png", self.dataset.name().replace('/', "_"));
            let picture = self.dataset.image(images.indices[place])?;
            output.images.push((file.clone(), picture));
            shown.push(Picture {
                file,
                label: Some(self.dataset.classes()[images.labels[place]].clone()),
                guesses: guesses(&predictions.rows()[place]),
            });
        }
        output.galleries.push(Gallery {
            title: format!("What the decoder writes for {}", self.dataset.name()),
            pictures: shown,
        });
        Ok(())
    }
}

impl Output {
    fn finish(
        self,
        context: &StageContext<'_>,
        overall: &TrackedTable,
    ) -> Result<StageOutput, StageError> {
        pictures::write_records(context, &self.records)?;
        pictures::write_galleries(context, &self.galleries, &self.images)?;
        trained::write_results(context, &self.results)?;
        let best = |key: &str| overall.values.get(key).cloned().unwrap_or(Value::Null);
        let failures: Vec<String> = [
            (self.failed_pictures, "pictures"),
            (self.failed_models, "models"),
            (self.failed_datasets, "datasets"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what} left out"))
        .collect();
        Ok(StageOutput {
            results: json!({
                "summary": format!("top-1: {}", self.summary.join(", ")),
                "top1": best("best_top1_mean"),
                "samples": pictures::best(&self.records, "num_samples"),
                "best_gen_cfg": best("best_gen_cfg"),
                "best_top1_mean": best("best_top1_mean"),
            }),
            parked: (!failures.is_empty()).then(|| failures.join(", ")),
        })
    }
}

/// All counters of a configuration.
fn result(
    context: &StageContext<'_>,
    dataset: &str,
    model: &str,
    lists: &ClassLists,
    images: &ImageSet,
    predictions: &Predictions,
    elapsed: f64,
) -> Value {
    let statistics = predictions.statistics();
    let samples = statistics.samples();
    let classes: Vec<Value> = lists
        .lists
        .iter()
        .zip(statistics.classes())
        .map(|(nouns, counts)| {
            json!({ "nouns": nouns, "samples": counts.samples, "correct": counts.correct })
        })
        .collect();
    let ranks: Vec<Value> = statistics
        .counts()
        .iter()
        .map(|counts| {
            let (low, high) = wilson_95(counts[0], samples);
            json!({
                "correct": counts[0],
                "guide": counts[1],
                "vocab": counts[2],
                "invalid": counts[3],
                "correct_95": [low, high],
            })
        })
        .collect();
    let unnamed = lists.unnamed(&images.labels);
    let unnamed_samples: usize = unnamed.iter().map(|(_, samples)| samples).sum();
    let rows = predictions.rows().iter();
    let first = rows.map(|row| row.first().map(|best| best.noun.as_str()));
    let mut value = Map::new();
    for (name, field) in [
        ("dataset", json!(dataset)),
        ("model", json!(model)),
        ("gen_cfg", json!(predictions.config().to_string())),
        ("num_samples", json!(samples)),
        ("samples_max", json!(context.config().eval.samples_max)),
        ("pictures", images.chosen(context)),
        ("ranks", json!(ranks)),
        ("class_mean_top1", json!(statistics.class_mean_top(1))),
        ("classes", json!(classes)),
        (
            "unnamed",
            json!({ "classes": unnamed.len(), "samples": unnamed_samples }),
        ),
        ("confusion", lists.confusion(&images.labels, first)),
        ("elapsed_time", json!(elapsed)),
    ] {
        value.insert(name.to_owned(), field);
    }
    Value::Object(value)
}

/// The first three for the page.
pub(super) fn guesses(row: &[RankedNoun]) -> Vec<Guess> {
    row.iter()
        .take(3)
        .map(|noun| Guess {
            noun: noun.noun.clone(),
            probability: noun.probability.unwrap_or(0.0),
            kind: noun.kind.name().to_owned(),
        })
        .collect()
}
