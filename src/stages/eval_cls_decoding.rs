//! `eval_cls_decoding`: what a decoder writes for the pictures of
//! classification datasets, under several generation configurations. The class
//! list never guides the decoding: it is only used to count.

use std::collections::HashSet;

use serde_json::json;

use super::inputs;
use super::pictures::{self, EmbeddedPictures};
use super::trained::{self, PredictionRows};
use crate::datasets::ClassificationDataset;
use crate::decoder::generate::{GenerationConfig, select};
use crate::evaluate::{NounSets, PredictionType, TopKStatistics};
use crate::infer::{Label, NovicModel};
use crate::nouns::{TargetAlignment, VariantMap};
use crate::reports::page::{Gallery, Guess, Picture};
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// Pictures decoded together.
const BATCH: usize = 64;
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
        2
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "nouns.vocab_path",
            "cls.dataset",
            "cls.datasets",
            "cls.root",
            "cls.split",
            "generate",
            "eval.guided",
            "checkpoint.load",
        ]
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?, inputs::dictionary(query)?];
        resources.extend(trained::resources(query)?);
        resources.extend(pictures::resources(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let configurations = select(&config.generate, config.eval.guided)?;
        let mut model = trained::open(context)?;
        let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, 0)?;
        let variants = VariantMap::new(vocabulary.dictionary());
        let mut output = Output::default();
        for dataset in pictures::open_all(context)? {
            let accepted = accepted_names(context, dataset.as_ref(), &variants, &model);
            let pictures = EmbeddedPictures::of(context, model.embedder(), dataset.as_ref())?;
            for (number, configuration) in configurations.iter().enumerate() {
                model = model.with_generation(*configuration);
                let evaluation = Evaluation {
                    context,
                    model: &model,
                    dataset: dataset.as_ref(),
                    pictures: &pictures,
                    accepted: &accepted,
                };
                output.add(&evaluation, configuration, number == 0)?;
            }
            output.failed += pictures.failed;
        }
        pictures::write_records(context, &output.records)?;
        pictures::write_galleries(context, &output.galleries, &output.images)?;
        Ok(StageOutput {
            results: json!({ "summary": format!("top-1: {}", output.summary.join(", ")) }),
            parked: (output.failed > 0).then(|| format!("{} pictures left out", output.failed)),
        })
    }
}

/// Per class the texts that count as correct: its accepted names, and every
/// noun of the model that the dictionary says is the same thing.
fn accepted_names(
    context: &StageContext<'_>,
    dataset: &dyn ClassificationDataset,
    variants: &VariantMap,
    model: &NovicModel,
) -> Vec<HashSet<String>> {
    let classes: Vec<String> = (0..dataset.classes().len())
        .map(|class| dataset.accepted_names(class).join(", "))
        .collect();
    let alignment = TargetAlignment::new(variants, model.vocabulary(), &classes);
    let unnamed = alignment.empty_classes().count();
    if unnamed > 0 {
        context.note(&format!(
            "{}: {unnamed} of {} classes have no name in the model's vocabulary and count as wrong",
            dataset.name(),
            classes.len()
        ));
    }
    alignment
        .classes
        .into_iter()
        .enumerate()
        .map(|(class, nouns)| {
            let accepted = dataset.accepted_names(class).iter().cloned();
            nouns.into_iter().chain(accepted).collect()
        })
        .collect()
}

struct Evaluation<'a, 'c> {
    context: &'a StageContext<'c>,
    model: &'a NovicModel,
    dataset: &'a dyn ClassificationDataset,
    pictures: &'a EmbeddedPictures,
    accepted: &'a [HashSet<String>],
}

#[derive(Default)]
struct Output {
    records: Vec<Record>,
    galleries: Vec<Gallery>,
    images: Vec<(String, image::RgbImage)>,
    summary: Vec<String>,
    failed: usize,
}

impl Output {
    fn add(
        &mut self,
        evaluation: &Evaluation<'_, '_>,
        configuration: &GenerationConfig,
        shown: bool,
    ) -> Result<(), StageError> {
        let Evaluation {
            context,
            model,
            dataset,
            pictures,
            accepted,
        } = *evaluation;
        let vocabulary: HashSet<String> = model.vocabulary().iter().cloned().collect();
        let sets = NounSets {
            guide: vocabulary.clone(),
            vocabulary,
            classes: accepted.to_vec(),
        };
        let mut statistics = TopKStatistics::new(sets, configuration.topk);
        let mut rows = PredictionRows::default();
        context.begin("pictures", 0, Some(pictures.labels.len() as u64));
        for (batch, labels) in pictures.labels.chunks(BATCH).enumerate() {
            context.check_interrupt()?;
            let embeds = pictures.embeds.narrow(0, batch * BATCH, labels.len())?;
            for (predictions, &label) in model.classify_embeddings(&embeds)?.into_iter().zip(labels)
            {
                let nouns: Vec<&str> = predictions.iter().map(|p| p.noun.as_str()).collect();
                let kinds = statistics.add(&nouns, Some(label))?;
                rows.push(predictions, kinds);
            }
            context.advance(labels.len() as u64);
        }
        let percent = |k| statistics.top(k).map(|share| share * 100.0);
        self.summary.push(format!(
            "{} {:.1} %",
            dataset.name(),
            percent(1).unwrap_or(0.0)
        ));
        self.records.push(
            Record::new()
                .with("dataset", dataset.name())
                .with("gencfg", configuration.to_string())
                .with("classes", pictures.classes_present(dataset))
                .with("num_samples", statistics.samples())
                .with("top1", percent(1))
                .with("top3", percent(3))
                .with("top5", percent(5))
                .with("top10", percent(10)),
        );
        let file = trained::prediction_file(
            context,
            "eval_cls_decoding",
            model,
            pictures
                .indices
                .iter()
                .map(|&index| dataset.image_name(index))
                .collect(),
            vec![(configuration, &rows, statistics.percentages())],
        );
        let name = format!(
            "predictions_{}_{configuration}.json",
            dataset.name().replace('/', "_")
        );
        trained::export(context, &file, &name)?;
        if shown {
            self.show(evaluation, &rows)?;
        }
        Ok(())
    }

    /// Pictures from all over the dataset.
    fn show(
        &mut self,
        evaluation: &Evaluation<'_, '_>,
        rows: &PredictionRows,
    ) -> Result<(), StageError> {
        let Evaluation {
            dataset, pictures, ..
        } = *evaluation;
        let count = pictures.indices.len();
        let mut shown = Vec::new();
        for place in (0..SHOWN.min(count)).map(|i| i * count / SHOWN.min(count)) {
            let file = format!("{}_{place}.png", dataset.name().replace('/', "_"));
            self.images
                .push((file.clone(), dataset.image(pictures.indices[place])?));
            shown.push(Picture {
                file,
                label: Some(dataset.classes()[pictures.labels[place]].clone()),
                guesses: guesses(&rows.labels[place], &rows.kinds[place]),
            });
        }
        self.galleries.push(Gallery {
            title: format!("What the decoder writes for {}", dataset.name()),
            pictures: shown,
        });
        Ok(())
    }
}

/// The first three for the page.
pub(super) fn guesses(labels: &[Label], kinds: &[PredictionType]) -> Vec<Guess> {
    labels
        .iter()
        .zip(kinds)
        .take(3)
        .map(|(label, kind)| Guess {
            noun: label.noun.clone(),
            probability: label.probability.unwrap_or(0.0),
            kind: kind.name().to_owned(),
        })
        .collect()
}
