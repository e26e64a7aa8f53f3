//! Scores of every file under every generation configuration.

use rayon::prelude::*;

use crate::reports::number_text::{fixed, percent_text};
use crate::reports::predictions::annotations::Annotations;
use crate::reports::predictions::error::Result;
use crate::reports::predictions::file::{ConfigurationPredictions, ModelPredictions};
use crate::reports::predictions::score::{Ambiguous, Counter, Findings, Rounding, Score, Scorer};
use crate::reports::predictions::too_few;
use crate::reports::statistics::Bootstrap;

/// One file under one generation configuration.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// Place of the file.
    pub(super) file: usize,
    /// Name of the configuration.
    pub(super) gencfg: String,
    /// For each rank, the best of the predictions so far.
    pub(super) counters: Vec<Counter>,
    /// Points of each rank.
    pub(super) scores: Vec<Score>,
    /// Tenths of points of each top-1 prediction, in the order of the samples.
    points: Vec<u8>,
}

impl Scored {
    /// Top-1 predictions without annotation.
    pub(super) fn unannotated(&self) -> u64 {
        self.counters.first().map_or(0, Counter::unannotated)
    }

    /// Top-1 points; zero if none was considered.
    pub(super) fn top1(&self) -> Score {
        self.scores.first().copied().unwrap_or_default()
    }

    /// Score over annotated predictions, score if all others were wrong or
    /// right, and bootstrap interval.
    pub(super) fn bounds_cells(&self, rounding: Rounding) -> [String; 3] {
        let score = self.top1();
        let open = self.unannotated();
        let text = |tenths: u64, total: u64| {
            let score = Score {
                tenths,
                points: tenths as f64 / 10.0,
                total,
            };
            match total {
                0 => percent_text("-"),
                _ => score.percent_text(rounding),
            }
        };
        let points: Vec<f64> = self.points.iter().map(|&p| f64::from(p) / 10.0).collect();
        let interval = Bootstrap::default().interval(&points);
        [
            text(score.tenths, score.total - open),
            format!(
                "{} … {}",
                text(score.tenths, score.total),
                text(score.tenths + 10 * open, score.total)
            ),
            interval.map_or_else(
                || "-".to_owned(),
                |interval| {
                    let end = |value: f64| fixed(100.0 * value, 2);
                    format!("{}% … {}%", end(interval.low), end(interval.high))
                },
            ),
        ]
    }
}

/// Scores all files under all of their configurations, in the order of files
/// and within them, with what the annotations lack.
pub(super) fn score_all(
    files: &[ModelPredictions],
    annotations: &Annotations,
    ambiguous: Ambiguous,
    topk: usize,
) -> Result<(Vec<Scored>, Findings)> {
    let pairs: Vec<(usize, &ConfigurationPredictions)> = files
        .iter()
        .enumerate()
        .flat_map(|(at, file)| file.predictions.iter().map(move |entry| (at, entry)))
        .collect();
    let scored: Vec<Result<(Scored, Findings)>> = pairs
        .into_par_iter()
        .map(|(at, entry)| score(at, &files[at], entry, annotations, ambiguous, topk))
        .collect();
    let mut all = Vec::with_capacity(scored.len());
    let mut findings = Findings::default();
    for one in scored {
        let (scored, found) = one?;
        all.push(scored);
        findings.merge(found);
    }
    Ok((all, findings))
}

fn score(
    at: usize,
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    annotations: &Annotations,
    ambiguous: Ambiguous,
    topk: usize,
) -> Result<(Scored, Findings)> {
    let topk = topk.min(entry.topk);
    let short = (0..file.samples.len()).find(|&sample| entry.nouns.row(sample).count() < topk);
    if let Some(sample) = short {
        return Err(too_few(file, entry, sample, topk));
    }
    let mut scorer = Scorer::new(annotations, ambiguous);
    let samples = file.samples.iter().enumerate();
    let rows = samples.map(|(at, sample)| (sample.as_str(), entry.nouns.row(at)));
    let counters = scorer.topk(rows, topk);
    let mut points = Vec::with_capacity(file.samples.len());
    for (at, sample) in file.samples.iter().enumerate() {
        if let Some(noun) = entry.nouns.row(at).next().filter(|_| topk > 0) {
            let tenths = annotations.tenths(scorer.category(sample, noun));
            points.push(u8::try_from(tenths).unwrap_or(0));
        }
    }
    let scores = counters.iter().map(|counter| counter.score(annotations));
    let scored = Scored {
        file: at,
        gencfg: entry.name.clone(),
        scores: scores.collect(),
        counters,
        points,
    };
    Ok((scored, scorer.into_findings()))
}
