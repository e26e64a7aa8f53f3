//! What a decoder said of many samples under one generation configuration:
//! counters, prediction files, and what runs record (`eval-infer.md` sections 1
//! and 8).

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::guide::Guide;
use super::label::Label;
use super::noun_decoder::NounDecoder;
use crate::decoder::generate::GenerationConfig;
use crate::evaluate::{
    EvaluateError, GenerationFields, NounSets, PredictionEntry, PredictionFile, PredictionTable,
    PredictionType, TopKStatistics,
};

/// A predicted noun and what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedNoun {
    /// The noun, blanks collapsed.
    pub noun: String,
    /// Its ranking value.
    pub score: f64,
    /// Its probability, where the configuration has one.
    pub probability: Option<f64>,
    /// What it is.
    pub kind: PredictionType,
}

/// Predictions of many samples, best first, with their counters.
#[derive(Clone, Debug)]
pub struct Predictions {
    config: GenerationConfig,
    rows: Vec<Vec<RankedNoun>>,
    statistics: TopKStatistics,
}

impl Predictions {
    /// None yet; `classes` is the number of classes of their labels.
    pub fn new(config: GenerationConfig, classes: usize) -> Self {
        let sets = NounSets {
            classes: vec![HashSet::new(); classes],
            ..NounSets::default()
        };
        Self {
            statistics: TopKStatistics::new(sets, config.topk),
            config,
            rows: Vec::new(),
        }
    }

    /// Adds a sample. Predictions in `accepted`, compared as they were written,
    /// are correct; its class counts if it is given.
    ///
    /// # Errors
    /// A class that is not there.
    pub fn add(
        &mut self,
        labels: Vec<Label>,
        class: Option<(usize, &HashSet<String>)>,
    ) -> Result<(), EvaluateError> {
        let row = labels
            .into_iter()
            .map(|label| RankedNoun {
                kind: match class {
                    Some((_, accepted)) if accepted.contains(&label.written) => {
                        PredictionType::Correct
                    }
                    _ => label.kind,
                },
                noun: label.noun,
                score: label.score,
                probability: label.probability,
            })
            .collect();
        self.add_row(row, class.map(|(class, _)| class))
    }

    /// Adds a sample whose predictions are known to be correct or not.
    ///
    /// # Errors
    /// A class that is not there.
    pub fn add_row(
        &mut self,
        row: Vec<RankedNoun>,
        class: Option<usize>,
    ) -> Result<(), EvaluateError> {
        let kinds: Vec<PredictionType> = row.iter().map(|noun| noun.kind).collect();
        self.statistics.add_kinds(&kinds, class)?;
        self.rows.push(row);
        Ok(())
    }

    /// The configuration.
    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// Predictions of each sample.
    pub fn rows(&self) -> &[Vec<RankedNoun>] {
        &self.rows
    }

    /// The counters.
    pub fn statistics(&self) -> &TopKStatistics {
        &self.statistics
    }

    /// As prediction files have them.
    pub fn entry(&self) -> PredictionEntry {
        let percentages = self.statistics.percentages();
        let topk = self.config.topk;
        fn padded<T: Clone>(values: impl Iterator<Item = T>, topk: usize, absent: T) -> Vec<T> {
            values.chain(std::iter::repeat(absent)).take(topk).collect()
        }
        PredictionEntry {
            gen_cfg: GenerationFields::from(&self.config),
            valid_guide: percentages.guide,
            valid_vocab: percentages.vocabulary,
            valid: percentages.valid,
            invalid: percentages.invalid,
            pred: self
                .rows
                .iter()
                .map(|row| padded(row.iter().map(|noun| Some(noun.noun.clone())), topk, None))
                .collect(),
            score: self
                .rows
                .iter()
                .map(|row| padded(row.iter().map(|noun| Some(noun.score as f32)), topk, None))
                .collect(),
            result: self
                .rows
                .iter()
                .map(|row| {
                    let kinds = row.iter().map(|noun| noun.kind);
                    padded(kinds, topk, PredictionType::Other)
                })
                .collect(),
        }
    }

    /// The line on its first ranks.
    pub fn summary(&self) -> String {
        let percentages = self.statistics.percentages();
        let first = |values: &[f32]| values.first().copied().unwrap_or(f32::NAN);
        format!(
            "Top-1 predictions: {:.3}% are valid guide nouns, {:.3}% are valid model vocab, \
             {:.3}% are invalid, {:.3}% overall are valid",
            first(&percentages.guide),
            first(&percentages.vocabulary),
            first(&percentages.invalid),
            first(&percentages.valid),
        )
    }

    /// What a run records of it.
    pub fn tracked(&self, decoder: &NounDecoder, batches: usize) -> Map<String, Value> {
        let percentages = self.statistics.percentages();
        let first = |values: &[f32]| values.first().map_or(Value::Null, |&value| json!(value));
        let mut values = model_values("infer", decoder);
        for (name, value) in [
            ("gen_cfg", json!(self.config.to_string())),
            ("valid_guide", first(&percentages.guide)),
            ("valid_vocab", first(&percentages.vocabulary)),
            ("valid", first(&percentages.valid)),
            ("invalid", first(&percentages.invalid)),
            ("num_samples", json!(self.statistics.samples())),
            ("num_batches", json!(batches)),
        ] {
            values.insert(format!("Eval/{name}"), value);
        }
        values
    }

    /// All predictions as a table for people.
    pub fn table(&self, samples: &[String]) -> String {
        let topk = self.config.topk;
        let mut table = PredictionTable::new(&["Sample"], topk, &[]);
        for (sample, row) in samples.iter().zip(&self.rows) {
            table.row([sample.clone()], topk, ranked(row), []);
        }
        table.render()
    }
}

/// Predictions as tables take them.
pub fn ranked(row: &[RankedNoun]) -> impl Iterator<Item = (&str, f64, PredictionType)> {
    row.iter()
        .map(|noun| (noun.noun.as_str(), noun.score, noun.kind))
}

/// What a run records of a model that was evaluated on `dataset`.
pub fn model_values(dataset: &str, decoder: &NounDecoder) -> Map<String, Value> {
    [
        ("dataset", dataset.to_owned()),
        ("model_path", decoder.path().display().to_string()),
        ("model_dir", decoder.dir_name()),
        ("model_name", decoder.file_name()),
    ]
    .into_iter()
    .map(|(name, text)| (format!("Eval/{name}"), json!(text)))
    .collect()
}

/// The best prediction of every sample under every configuration, as a run
/// records them.
pub fn best_table(
    decoder: &NounDecoder,
    samples: &[String],
    predictions: &[Predictions],
) -> Map<String, Value> {
    let columns = ["Model", "Sample"].map(str::to_owned).into_iter();
    let columns: Vec<String> = columns
        .chain(predictions.iter().map(|part| part.config.to_string()))
        .collect();
    let data: Vec<Value> = samples
        .iter()
        .enumerate()
        .map(|(sample, name)| {
            let mut row = vec![json!(decoder.tail()), json!(name)];
            row.extend(predictions.iter().map(|part| {
                let best = part.rows.get(sample).and_then(|row| row.first());
                best.map_or(Value::Null, |best| json!(best.noun))
            }));
            Value::Array(row)
        })
        .collect();
    let mut values = Map::new();
    values.insert(
        "table_per_model".to_owned(),
        json!({ "columns": columns, "data": data }),
    );
    values
}

/// The prediction file of a model.
pub fn prediction_file(
    decoder: &NounDecoder,
    guide: &Guide,
    samples: Vec<String>,
    infer_cfg: Map<String, Value>,
    predictions: &[Predictions],
) -> PredictionFile {
    let sorted = |nouns: &[String]| {
        let mut nouns = nouns.to_vec();
        nouns.sort();
        nouns.dedup();
        nouns
    };
    PredictionFile {
        model: decoder.tail(),
        model_path: decoder.path().display().to_string(),
        model_dir: decoder.dir_name(),
        model_name: decoder.file_name(),
        model_cfg: decoder.header().cfg_flat.clone(),
        infer_cfg,
        guide_targets: sorted(guide.nouns()),
        vocab_targets: sorted(decoder.vocabulary().nouns()),
        samples,
        predictions: predictions
            .iter()
            .map(|part| (part.config.to_string(), part.entry()))
            .collect(),
        details: None,
    }
}
