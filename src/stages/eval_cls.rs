//! `eval_cls`: greedy decoding of the pictures of one classification dataset,
//! free or guided by its class nouns (`eval-infer.md` section 6).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::class_lists::{ClassLists, ClassNames};
use super::image_set::ImageSet;
use super::inputs;
use super::pictures;
use super::trained::{self, Model, Models};
use crate::config::schema::EvalAlignment;
use crate::datasets::ClassificationDataset;
use crate::decoder::generate::{GenerationConfig, GreedyLoss, Guiding, Method};
use crate::evaluate::{GreedyOutcome, GreedyOutcomes, wilson_95};
use crate::infer::{Guide, Label, model_values};
use crate::nouns::VariantMap;
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::replace_file;

/// Pictures decoded together.
const BATCH: usize = 128;

/// The stage kind.
#[derive(Debug)]
pub(super) struct EvalCls;

impl StageKind for EvalCls {
    fn name(&self) -> &'static str {
        "eval_cls"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "embedder.dtype",
            "nouns.vocab_path",
            "nouns.vocab_threshold",
            "cls.dataset",
            "cls.root",
            "cls.split",
            "cls.class_names",
            "cls.strict",
            "eval.guided",
            "eval.alignment",
            "eval.samples_max",
            "eval.debug",
            "eval.copy_images",
            "eval.copy_images_dir",
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
        let [(asked, dataset)] = &pictures::open_named(context)?[..] else {
            return Err(StageError::failed("one dataset is needed: set cls.dataset"));
        };
        if !config.eval.copy_images.is_empty() && dataset.image_path(0).is_none() {
            return Err(StageError::failed(format!(
                "eval.copy_images needs a dataset of picture files, {} is none",
                dataset.name()
            )));
        }
        let classes = ClassNames::of(context, asked, dataset.as_ref())?;
        let by_dictionary = match config.eval.alignment {
            EvalAlignment::Model => None,
            EvalAlignment::Dictionary => {
                let threshold = config.nouns.vocab_threshold;
                let vocabulary =
                    inputs::open_vocabulary(context.project(), &config.nouns, threshold)?;
                Some(ClassLists::of_dictionary(context, &classes, &vocabulary)?)
            }
        };
        let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, 0)?;
        let variants = VariantMap::new(vocabulary.dictionary());
        let models = Models::open(context)?;
        let mut sets: Vec<(usize, ImageSet)> = Vec::new();
        let (mut records, mut results) = (Vec::new(), Vec::new());
        let (mut summary, mut failed, mut failed_models) = (Vec::new(), 0, models.failed);
        for (number, model) in models.open.iter().enumerate() {
            context.check_interrupt()?;
            let shared = sets.iter().position(|(first, _)| {
                std::sync::Arc::ptr_eq(&models.open[*first].embedder, &model.embedder)
            });
            let images = match shared {
                Some(place) => &sets[place].1,
                None => {
                    let set =
                        ImageSet::of(context, model, dataset.as_ref(), config.eval.samples_max)?;
                    failed += set.failed;
                    sets.push((number, set));
                    &sets[sets.len() - 1].1
                }
            };
            let of_model;
            let lists = match &by_dictionary {
                Some(lists) => lists,
                None => {
                    let nouns = model.decoder.vocabulary().nouns();
                    of_model = ClassLists::of_model(context, &classes, &variants, nouns);
                    &of_model
                }
            };
            lists.tell_unnamed(context, &classes, &images.labels);
            let evaluation = Evaluation {
                context,
                dataset: dataset.as_ref(),
                title: &classes.title,
                model,
                number,
                images,
                lists,
            };
            let (record, result) = match evaluation.run() {
                Ok(made) => made,
                Err(error @ StageError::Interrupted) => return Err(error),
                Err(error) if models.open.len() == 1 => return Err(error),
                Err(error) => {
                    let tail = model.decoder.tail();
                    context.warn(&format!("model {tail} left out: {error}"));
                    failed_models += 1;
                    continue;
                }
            };
            results.push(result);
            summary.push(format!(
                "{} {:.1} %",
                model.decoder.tail(),
                record.number("top1").unwrap_or(0.0)
            ));
            records.push(record);
        }
        if records.is_empty() {
            return Err(StageError::failed("no model could be evaluated"));
        }
        pictures::write_records(context, &records)?;
        trained::write_results(context, &results)?;
        let mut parts = Vec::new();
        for (count, what) in [(failed, "pictures"), (failed_models, "models")] {
            if count > 0 {
                parts.push(format!("{count} {what} left out"));
            }
        }
        Ok(StageOutput {
            // Of several models, the best.
            results: json!({
                "summary": format!("top-1: {}", summary.join(", ")),
                "top1": pictures::best(&records, "top1"),
                "samples": pictures::best(&records, "num_samples"),
            }),
            parked: (!parts.is_empty()).then(|| parts.join(", ")),
        })
    }
}

struct Evaluation<'a, 'c> {
    context: &'a StageContext<'c>,
    dataset: &'a dyn ClassificationDataset,
    /// Name of dataset and class names.
    title: &'a str,
    model: &'a Model,
    /// Place of the model.
    number: usize,
    images: &'a ImageSet,
    lists: &'a ClassLists,
}

/// A noun as it is shown and as it is compared.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    noun: String,
    written: String,
}

impl From<Label> for Written {
    fn from(label: Label) -> Self {
        Self {
            noun: label.noun,
            written: label.written,
        }
    }
}

/// What a model wrote for all pictures; kept until the stage is done.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Greedy {
    free: Vec<Written>,
    guided: Option<Vec<Written>>,
    /// Sum and basis of the loss of each batch.
    losses: Vec<(f64, f64)>,
    elapsed: f64,
}

impl Greedy {
    /// What an earlier attempt left; nothing if it cannot be read.
    fn read(path: &Path, images: usize, guided: bool) -> Option<Self> {
        let kept: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        let is_whole = kept.free.len() == images
            && kept.losses.len() == images.div_ceil(BATCH)
            && kept.guided.as_ref().map(Vec::len) == guided.then_some(images);
        is_whole.then_some(kept)
    }
}

impl Evaluation<'_, '_> {
    fn decode(&self) -> Result<Greedy, StageError> {
        let (context, decoder) = (self.context, &self.model.decoder);
        let greedy = |guide| GenerationConfig {
            method: Method::Greedy,
            topk: 1,
            guide,
            ..GenerationConfig::default()
        };
        let guide = if context.config().eval.guided {
            let guide = decoder.guide(&self.lists.nouns)?;
            for warning in guide.warnings(decoder.vocabulary().nouns()) {
                context.warn(&warning);
            }
            Some(guide)
        } else {
            None
        };
        let kept = context.work().join(format!("greedy_{}.json", self.number));
        if let Some(kept) = Greedy::read(&kept, self.images.len(), guide.is_some()) {
            return Ok(kept);
        }
        let vocabulary: &Guide = decoder.vocabulary();
        let free = decoder.task(greedy(Guiding::None), vocabulary)?;
        let by_guide = match &guide {
            Some(guide) => Some(decoder.task(greedy(Guiding::Plain), guide)?),
            None => None,
        };
        let smoothing = decoder.trained().config.model.label_smoothing;
        let mut made = Greedy {
            guided: by_guide.as_ref().map(|_| Vec::new()),
            ..Greedy::default()
        };
        let start = std::time::Instant::now();
        context.begin("pictures", 0, Some(self.images.len() as u64));
        for (batch, labels) in self.images.labels.chunks(BATCH).enumerate() {
            context.check_interrupt()?;
            let embeds = self.images.embeds.narrow(0, batch * BATCH, labels.len())?;
            let (direct, mut loss) = free.greedy_labels(&embeds, smoothing)?;
            made.free.extend(direct.into_iter().map(Written::from));
            if let (Some(task), Some(guided)) = (&by_guide, &mut made.guided) {
                let (labels, guided_loss) = task.greedy_labels(&embeds, smoothing)?;
                guided.extend(labels.into_iter().map(Written::from));
                loss = guided_loss;
            }
            made.losses.push((loss.sum, loss.basis));
            context.advance(labels.len() as u64);
        }
        made.elapsed = start.elapsed().as_secs_f64();
        replace_file(&kept, &serde_json::to_vec(&made)?)?;
        Ok(made)
    }

    fn run(&self) -> Result<(Record, Value), StageError> {
        let (context, decoder) = (self.context, &self.model.decoder);
        let made = self.decode()?;
        let mut outcomes = GreedyOutcomes::new(decoder.vocabulary_set());
        let mut copies = Copies::new(context, self.number)?;
        for &(sum, basis) in &made.losses {
            outcomes.add_batch(&GreedyLoss { sum, basis });
        }
        for (place, &label) in self.images.labels.iter().enumerate() {
            let accepted = &self.lists.lists[label];
            let direct = &made.free[place];
            let chosen = made.guided.as_ref().map(|guided| &guided[place]);
            let outcome = outcomes.add(
                accepted,
                &direct.written,
                chosen.map(|chosen| chosen.written.as_str()),
            );
            let main = accepted.first().map_or("UNKNOWN", String::as_str);
            if place < BATCH && context.config().eval.debug {
                let best = chosen.unwrap_or(direct);
                let verdict = if outcome.guided_correct {
                    "right"
                } else {
                    "wrong"
                };
                let free = chosen.map_or_else(String::new, |_| format!(" ({})", direct.noun));
                context.note(&format!("{main} --> {}{free}: {verdict}", best.noun));
            }
            let picture = self.images.indices[place];
            if let (Some(copies), Some(path)) = (&mut copies, self.dataset.image_path(picture)) {
                let chosen = chosen.map(|chosen| chosen.noun.as_str());
                copies.take(path, outcome, main, &direct.noun, chosen)?;
            }
        }
        if let Some(copies) = copies {
            copies.tell(context);
        }
        let record = self.report(&outcomes, made.elapsed)?;
        let result = self.result(&made, &record);
        Ok((record, result))
    }

    /// All counters.
    fn result(&self, made: &Greedy, record: &Record) -> Value {
        let written = made.guided.as_ref().unwrap_or(&made.free);
        let labels = &self.images.labels;
        let mut classes: Vec<(u64, u64)> = vec![(0, 0); self.lists.lists.len()];
        for (written, &label) in written.iter().zip(labels) {
            classes[label].0 += 1;
            classes[label].1 += u64::from(self.lists.lists[label].contains(&written.written));
        }
        let shares = classes.iter().filter(|(samples, _)| *samples > 0);
        let shares: Vec<f64> = shares
            .map(|&(samples, correct)| correct as f64 / samples as f64)
            .collect();
        let classes: Vec<Value> = (self.lists.lists.iter().zip(&classes))
            .map(|(nouns, (samples, correct))| {
                json!({ "nouns": nouns, "samples": samples, "correct": correct })
            })
            .collect();
        let unnamed = self.lists.unnamed(labels);
        let unnamed_samples: usize = unnamed.iter().map(|(_, samples)| samples).sum();
        let first = written.iter().map(|written| Some(written.written.as_str()));
        let eval = &self.context.config().eval;
        let count = |name: &str| record.number(name);
        json!({
            "dataset": self.title,
            "model": self.model.decoder.tail(),
            "guided": eval.guided,
            "num_samples": labels.len(),
            "samples_max": eval.samples_max,
            "pictures": self.images.chosen(self.context),
            "loss": count("loss"),
            "noun_top1": count("noun_top1"),
            "noun_top1_95": [count("top1_low"), count("top1_high")],
            "outcomes": GreedyOutcome::ALL
                .into_iter()
                .map(|outcome| (outcome.name().to_owned(), json!(count(outcome.name()))))
                .collect::<serde_json::Map<_, _>>(),
            "class_mean_top1": shares.iter().sum::<f64>() / shares.len().max(1) as f64,
            "classes": classes,
            "unnamed": { "classes": unnamed.len(), "samples": unnamed_samples },
            "confusion": self.lists.confusion(labels, first),
            "elapsed_time": made.elapsed,
        })
    }

    fn report(&self, outcomes: &GreedyOutcomes, elapsed: f64) -> Result<Record, StageError> {
        let (context, decoder) = (self.context, &self.model.decoder);
        let mut values = model_values(self.dataset.name(), decoder);
        values.insert(
            "Eval/dataset_split".to_owned(),
            json!(context.config().cls.split),
        );
        let mut record = Record::new()
            .with("dataset", self.dataset.name())
            .with("model", decoder.tail())
            .with("guided", context.config().eval.guided)
            .with("classes", self.images.classes_present());
        for (name, value) in outcomes.metrics() {
            values.insert(format!("Eval/{name}"), json!(value));
            record.set(name, value);
        }
        for (name, value) in [
            ("num_samples", json!(outcomes.samples())),
            ("num_batches", json!(outcomes.batches())),
            ("elapsed_time", json!(elapsed)),
        ] {
            values.insert(format!("Eval/{name}"), value.clone());
            record.set(name, value);
        }
        trained::track(context, &values)?;
        let correct: u64 = GreedyOutcome::ALL
            .into_iter()
            .filter(|outcome| outcome.guided_correct)
            .map(|outcome| outcomes.count(outcome))
            .sum();
        let (low, high) = wilson_95(correct, outcomes.samples());
        let top1 = record.number("noun_top1").unwrap_or(f64::NAN);
        record.set("top1", top1);
        record.set("top1_low", low * 100.0);
        record.set("top1_high", high * 100.0);
        context.note(&format!(
            "{}, {}: {} samples, loss {:.4}, noun top-1 {top1:.2} % ({:.2}–{:.2} %)",
            self.dataset.name(),
            decoder.tail(),
            outcomes.samples(),
            record.number("loss").unwrap_or(f64::NAN),
            low * 100.0,
            high * 100.0,
        ));
        for outcome in GreedyOutcome::ALL {
            context.note(&format!(
                "{} = {:.3}%",
                outcome.name(),
                record.number(outcome.name()).unwrap_or(f64::NAN)
            ));
        }
        let unexpected = outcomes.count(GreedyOutcome::ALL[1]);
        if unexpected > 0 {
            context.warn(&format!(
                "{unexpected} pictures are right without guide and wrong with it, which greedy \
                 decoding should not do"
            ));
        }
        Ok(record)
    }
}

/// Copies of pictures by what became of them (`eval.copy_images`).
struct Copies {
    wanted: String,
    folder: PathBuf,
    count: usize,
}

impl Copies {
    fn new(context: &StageContext<'_>, number: usize) -> Result<Option<Self>, StageError> {
        let eval = &context.config().eval;
        if eval.copy_images.is_empty() {
            return Ok(None);
        }
        let known = GreedyOutcome::ALL
            .iter()
            .any(|outcome| outcome.name().contains(&eval.copy_images));
        if !known {
            let names: Vec<&str> = GreedyOutcome::ALL.map(GreedyOutcome::name).to_vec();
            context.warn(&format!(
                "eval.copy_images = {:?} is part of none of {}: no picture is copied",
                eval.copy_images,
                names.join(", ")
            ));
        }
        let root = inputs::path(context.project(), &eval.copy_images_dir);
        let mut folder = root.join(format!("{}-{}", context.run_id(), context.name()));
        if number > 0 {
            folder = root.join(format!("{}-{}-{number}", context.run_id(), context.name()));
        }
        // Of an interrupted attempt.
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        Ok(Some(Self {
            wanted: eval.copy_images.clone(),
            folder,
            count: 0,
        }))
    }

    fn take(
        &mut self,
        picture: &Path,
        outcome: GreedyOutcome,
        label: &str,
        direct: &str,
        guided: Option<&str>,
    ) -> Result<(), StageError> {
        if !outcome.name().contains(&self.wanted) {
            return Ok(());
        }
        let folder = self.folder.join(outcome.name());
        std::fs::create_dir_all(&folder)?;
        let part = |part: Option<&std::ffi::OsStr>| {
            part.map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default()
        };
        let mut name = vec![
            part(picture.file_stem()),
            label.to_owned(),
            direct.to_owned(),
        ];
        name.extend(guided.map(str::to_owned));
        let name = name.join("---").replace(['/', '\\', '\0'], "_");
        let ending = part(picture.extension());
        let mut target = folder.join(format!("{name}.{ending}"));
        let mut number = 1;
        while target.exists() {
            number += 1;
            target = folder.join(format!("{name}---{number}.{ending}"));
        }
        std::fs::copy(picture, &target)?;
        let times = std::fs::metadata(picture).and_then(|metadata| metadata.modified());
        if let (Ok(time), Ok(file)) = (times, std::fs::File::open(&target)) {
            // The time is a nicety: a file system without it is none of our
            // business.
            let _ = file.set_modified(time);
        }
        self.count += 1;
        Ok(())
    }

    fn tell(&self, context: &StageContext<'_>) {
        if self.count == 0 {
            context.warn(&format!("no picture was copied: none is {:?}", self.wanted));
        } else {
            context.note(&format!(
                "copied {} pictures to {}",
                self.count,
                self.folder.display()
            ));
        }
    }
}
