//! Known labels of inputs.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use crate::cli::CliError;
use crate::decoder::generate::GenerationConfig;
use crate::evaluate::{NounSets, PredictionType, TopKStatistics, wilson_95};
use crate::infer::Classified;

/// Accepted nouns by the name of the input.
pub(super) struct LabelFile {
    accepted: HashMap<String, HashSet<String>>,
    /// By model and configuration, in their order.
    statistics: Vec<((String, GenerationConfig), TopKStatistics)>,
}

impl LabelFile {
    /// Reads a JSON object of input → noun or list of nouns.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let usage =
            |reason: String| CliError::usage(format!("--labels {}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
        let labels: HashMap<String, Value> =
            serde_json::from_str(&text).map_err(|error| usage(error.to_string()))?;
        let mut accepted = HashMap::with_capacity(labels.len());
        for (input, value) in labels {
            let nouns = match value {
                Value::String(noun) => HashSet::from([noun]),
                list => serde_json::from_value(list).map_err(|_| {
                    usage(format!("{input:?} has neither a noun nor a list of nouns"))
                })?,
            };
            accepted.insert(input, nouns);
        }
        Ok(Self {
            accepted,
            statistics: Vec::new(),
        })
    }

    /// Marks accepted predictions as correct and counts the input, if its
    /// label is known.
    pub(super) fn mark(&mut self, classified: &mut Classified, model: &str) {
        let name = &classified.name;
        let file = Path::new(name).file_name().and_then(|name| name.to_str());
        let accepted = self.accepted.get(name).or(match file {
            Some(file) => self.accepted.get(file),
            None => None,
        });
        let (Some(accepted), Ok(labels)) = (accepted, &mut classified.outcome) else {
            return;
        };
        for label in labels.iter_mut() {
            if accepted.contains(&label.written) {
                label.kind = PredictionType::Correct;
            }
        }
        let kinds: Vec<PredictionType> = labels.iter().map(|label| label.kind).collect();
        let is_own = |(name, generation): &(String, GenerationConfig)| {
            name == model && *generation == classified.generation
        };
        let place = self.statistics.iter().position(|(of, _)| is_own(of));
        let place = place.unwrap_or_else(|| {
            let of = (model.to_owned(), classified.generation);
            let statistics = TopKStatistics::new(NounSets::default(), 10);
            self.statistics.push((of, statistics));
            self.statistics.len() - 1
        });
        // Only labels outside of the classes fail, and there are none.
        let _ = self.statistics[place].1.add_kinds(&kinds, None);
    }

    /// Shares of inputs whose label is among the first 1, 3, 5 and 10: a line
    /// per model and configuration.
    pub(super) fn summary(&self) -> Vec<String> {
        if self.statistics.is_empty() {
            return vec!["no input has a known label".to_owned()];
        }
        let several = self.statistics.len() > 1;
        self.statistics
            .iter()
            .map(|((model, generation), statistics)| {
                let line = shares(statistics);
                match several {
                    true => format!("{model}, {generation}: {line}"),
                    false => line,
                }
            })
            .collect()
    }
}

fn shares(statistics: &TopKStatistics) -> String {
    let samples = statistics.samples();
    let shares: Vec<String> = [1, 3, 5, 10]
        .into_iter()
        .filter_map(|k| {
            let share = statistics.top(k)?;
            Some(format!("top-{k} {:.2} %", share * 100.0))
        })
        .collect();
    let first = statistics.counts()[0][0];
    let (low, high) = wilson_95(first, samples);
    format!(
        "{samples} inputs with known labels: {} (top-1 95 %: {:.2}–{:.2} %)",
        shares.join(", "),
        low * 100.0,
        high * 100.0
    )
}
