//! Everything that the top-1 predictions of one file under one generation
//! configuration are worth (`reports.md` sections 3 and 8).

use std::collections::{BTreeMap, HashSet};

use super::annotations::{Annotations, CategoryId};
use super::file::{ConfigurationPredictions, ModelPredictions};
use super::score::{Ambiguous, Counter, Findings, Score, Scorer};
use crate::reports::specificity::{MissingSpecificity, Specificity};
use crate::reports::statistics::{Bootstrap, Interval, sum, wilson95};

/// What predictions are measured with.
#[derive(Clone, Copy, Debug)]
pub struct Measures<'a> {
    /// What is right.
    pub annotations: &'a Annotations,
    /// What counts for nouns in several categories.
    pub ambiguous: Ambiguous,
    /// How specific nouns are, for the overall score.
    pub specificity: Option<&'a Specificity>,
    /// What counts for nouns that it lacks.
    pub missing: MissingSpecificity,
    /// Word lists by name.
    pub lists: &'a BTreeMap<String, HashSet<String>>,
    /// Resampling for the interval of the score; none without.
    pub bootstrap: Option<Bootstrap>,
}

/// Measured values; all shares are in percent, and none without samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Number of samples.
    pub total: u64,
    /// Samples by category.
    pub counter: Counter,
    /// Sum of points.
    pub points: Score,
    /// Category of each sample, in the order of the file.
    pub sample_categories: Vec<Option<CategoryId>>,
    /// Points of each sample, likewise.
    pub sample_points: Vec<f64>,
    /// The same times the specificity of the noun; empty without a list.
    pub sample_overall: Vec<f64>,
    /// Prediction score.
    pub score: Option<f64>,
    /// The same with nothing for secondary categories.
    pub primary: Option<f64>,
    /// Share of samples in one of the two correct categories.
    pub correct: Option<f64>,
    /// Its Wilson interval.
    pub correct_wilson95: Option<Interval>,
    /// Share of samples in a correct or close category.
    pub correct_or_close: Option<f64>,
    /// Prediction score with secondary categories worth as much as primary
    /// ones.
    pub secondary_as_primary: Option<f64>,
    /// Prediction score weighted with specificity.
    pub overall: Option<f64>,
    /// Number of distinct nouns predicted.
    pub used: u64,
    /// Number of nouns of the model's vocabulary.
    pub seen: Option<u64>,
    /// Share of samples whose prediction is in a word list.
    pub in_list: BTreeMap<String, f64>,
    /// Samples whose prediction is not annotated.
    pub unannotated: u64,
    /// Prediction score if all of these were wrong.
    pub lower: Option<f64>,
    /// Prediction score if all of these were right.
    pub upper: Option<f64>,
    /// Prediction score over the annotated predictions only.
    pub annotated_only: Option<f64>,
    /// Bootstrap interval of the prediction score.
    pub bootstrap95: Option<Interval>,
    /// Nouns worth points that lack a specificity, sorted; not empty only if
    /// that is an error.
    pub without_specificity: Vec<String>,
}

impl Metrics {
    /// Measures predictions, and what the annotations lack for them.
    ///
    /// # Errors
    /// The first sample that has no prediction.
    pub fn of(
        file: &ModelPredictions,
        entry: &ConfigurationPredictions,
        measures: &Measures<'_>,
    ) -> super::error::Result<(Self, Findings)> {
        let mut pairs = Vec::with_capacity(file.samples.len());
        for (at, sample) in file.samples.iter().enumerate() {
            let noun = entry.nouns.row(at).next();
            let noun = noun.ok_or_else(|| super::too_few(file, entry, at, 1))?;
            pairs.push((sample.as_str(), noun));
        }
        let (mut metrics, findings) = Self::of_pairs(&pairs, measures);
        let seen = &file.vocab_targets;
        metrics.seen = seen.present.then_some(seen.len as u64);
        Ok((metrics, findings))
    }

    /// Measures samples with one noun each.
    pub fn of_pairs(pairs: &[(&str, &str)], measures: &Measures<'_>) -> (Self, Findings) {
        let annotations = measures.annotations;
        let mut scorer = Scorer::new(annotations, measures.ambiguous);
        let categories: Vec<Option<CategoryId>> = pairs
            .iter()
            .map(|(sample, noun)| scorer.category(sample, noun))
            .collect();
        let mut metrics = Self {
            total: pairs.len() as u64,
            ..Self::default()
        };
        let mut without_specificity = HashSet::new();
        for ((_, noun), category) in pairs.iter().zip(&categories) {
            metrics.counter.add(*category);
            let points = annotations.tenths(*category) as f64 / 10.0;
            metrics.sample_points.push(points);
            let Some(list) = measures.specificity else {
                continue;
            };
            metrics
                .sample_overall
                .push(match (list.get(noun), measures.missing) {
                    _ if points == 0.0 => 0.0,
                    (Some(specificity), _) => points * specificity,
                    (None, MissingSpecificity::Zero) => 0.0,
                    (None, MissingSpecificity::Fine) => points,
                    (None, MissingSpecificity::Error) => {
                        without_specificity.insert((*noun).to_owned());
                        0.0
                    }
                });
        }
        metrics.without_specificity = without_specificity.into_iter().collect();
        metrics.without_specificity.sort_unstable();
        let nouns: HashSet<&str> = pairs.iter().map(|(_, noun)| *noun).collect();
        metrics.used = nouns.len() as u64;
        metrics.sample_categories = categories;
        metrics.shares(annotations, measures.bootstrap);
        if let (Some(_), true) = (measures.specificity, metrics.without_specificity.is_empty()) {
            metrics.overall = (metrics.total > 0).then(|| {
                100.0 * sum(metrics.sample_overall.iter().copied()) / metrics.total as f64
            });
        }
        if metrics.total > 0 {
            for (name, words) in measures.lists {
                let listed = pairs.iter().filter(|(_, noun)| words.contains(*noun));
                let share = 100.0 * listed.count() as f64 / metrics.total as f64;
                metrics.in_list.insert(name.clone(), share);
            }
        }
        (metrics, scorer.into_findings())
    }

    /// What follows from the counts.
    fn shares(&mut self, annotations: &Annotations, bootstrap: Option<Bootstrap>) {
        let of = |name| self.counter.of(name, annotations);
        let (primary, secondary) = (of("correct_primary"), of("correct_secondary"));
        let (close_primary, close_secondary) = (of("close_primary"), of("close_secondary"));
        let correct = primary + secondary;
        self.points = self.counter.score(annotations);
        self.unannotated = self.counter.unannotated();
        let percent =
            |tenths: u64, total: u64| (total > 0).then(|| 10.0 * tenths as f64 / total as f64);
        let total = self.total;
        let (tenths, unannotated) = (self.points.tenths, self.unannotated);
        self.score = percent(tenths, total);
        self.primary = percent(10 * primary + 5 * close_primary, total);
        self.correct = percent(10 * correct, total);
        self.correct_wilson95 = wilson95(correct, total).map(|interval| Interval {
            low: 100.0 * interval.low,
            high: 100.0 * interval.high,
        });
        let close = close_primary + close_secondary;
        self.correct_or_close = percent(10 * (correct + close), total);
        self.secondary_as_primary = percent(10 * correct + 5 * close, total);
        self.lower = self.score;
        self.upper = percent(tenths + 10 * unannotated, total);
        self.annotated_only = percent(tenths, total - unannotated);
        let interval = bootstrap.and_then(|bootstrap| bootstrap.interval(&self.sample_points));
        self.bootstrap95 = interval.map(|interval| Interval {
            low: 100.0 * interval.low,
            high: 100.0 * interval.high,
        });
    }
}
