//! Differences to a row (`reports.md` 13). Two models that saw the same samples
//! are compared sample by sample, by resampling; means over replicates by
//! Welch's t-test.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::cell::{Cell, PartValue};
use super::summary::Statistics;
use super::table::{Column, EvaluateError, Group, Note, Row};
use crate::reports::record::Record;
use crate::reports::spec::TableSpec;
use crate::reports::statistics::{Bootstrap, student_quantile};

/// A difference is marked below this probability.
const LEVEL: f64 = 0.05;
/// The mark.
const MARK: &str = "†";

/// What each sample adds to a cell that is a mean over samples.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SamplePoints {
    samples: Vec<String>,
    points: Vec<f64>,
}

impl SamplePoints {
    /// Those of a measure of a record, if it has them.
    pub(super) fn of(record: &Record, measure: &str, scale: f64) -> Option<Arc<Self>> {
        let list = |name: &str| record.get(&format!("pred.each.{name}"))?.as_array();
        let points = list(measure)?.iter().filter_map(Value::as_f64);
        let samples = list("sample")?.iter().filter_map(Value::as_str);
        let found = Self {
            samples: samples.map(str::to_owned).collect(),
            points: points.map(|points| points * scale).collect(),
        };
        (found.samples.len() == found.points.len()).then(|| Arc::new(found))
    }

    /// The points of samples that both have, in the order of the other.
    fn beside(&self, other: &Self) -> (Vec<f64>, Vec<f64>) {
        if self.samples == other.samples {
            return (self.points.clone(), other.points.clone());
        }
        let own: HashMap<&str, f64> = self
            .samples
            .iter()
            .map(String::as_str)
            .zip(self.points.iter().copied())
            .collect();
        let both = other.samples.iter().zip(&other.points);
        both.filter_map(|(sample, points)| Some((*own.get(sample.as_str())?, *points)))
            .unzip()
    }
}

/// How a difference was tested.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Test {
    Samples,
    Replicates,
}

/// A difference, and what is known of it.
struct Difference {
    value: f64,
    interval: Option<(f64, f64)>,
    p: Option<f64>,
    significant: bool,
    test: Option<Test>,
    /// Samples that were compared, if some were not.
    common: Option<usize>,
}

/// Adds behind every column the difference to a row.
pub(super) fn compare(
    spec: &TableSpec,
    label: &str,
    columns: &mut Vec<Column>,
    groups: &mut [Group],
    notes: &mut Vec<Note>,
) -> Result<(), EvaluateError> {
    let rows = || groups.iter().flat_map(|group| &group.rows);
    let Some(own) = rows().find(|row| row.label == label).cloned() else {
        let known: Vec<&str> = rows().map(|row| row.label.as_str()).collect();
        return Err(EvaluateError::NoRow {
            table: spec.name.clone(),
            row: label.to_owned(),
            known: known.join(", "),
        });
    };
    let mut told = Told::default();
    for at in (0..columns.len()).rev() {
        if own.cells[at].value().is_none() || columns[at].reference {
            continue;
        }
        let column = columns[at].clone();
        for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
            let cell = match difference(&row.cells[at], &own.cells[at]) {
                Some(found) if row.label != own.label => {
                    told.take(row, &column, &found);
                    shown(&found, column.decimals, &row.cells[at], &own.cells[at])
                }
                _ => Cell::of_text(spec.missing.clone()),
            };
            row.cells.insert(at + 1, cell);
        }
        let behind = Column {
            label: format!("{} Δ", column.label),
            reference: false,
            mark: false,
            ..column
        };
        columns.insert(at + 1, behind);
    }
    notes.extend(told.notes(label));
    Ok(())
}

fn shown(found: &Difference, decimals: usize, cell: &Cell, base: &Cell) -> Cell {
    let value = found.value;
    Cell {
        text: format!("{value:+.decimals$}"),
        parts: vec![PartValue {
            value: Some(value),
            values: vec![value],
            statistics: Statistics {
                interval: found.interval,
                ..Statistics::of(&[value], None, true)
            },
            ..PartValue::default()
        }],
        footnotes: found
            .significant
            .then(|| MARK.to_owned())
            .into_iter()
            .collect(),
        records: cell.records.iter().chain(&base.records).cloned().collect(),
        p: found.p,
        ..Cell::default()
    }
}

fn difference(cell: &Cell, base: &Cell) -> Option<Difference> {
    let (value, other) = (cell.value()?, base.value()?);
    let plain = Difference {
        value: value - other,
        interval: None,
        p: None,
        significant: false,
        test: None,
        common: None,
    };
    if let (Some(own), Some(base)) = (&cell.each, &base.each) {
        let (left, right) = own.beside(base);
        let Some(paired) = Bootstrap::default().paired(&left, &right) else {
            return Some(plain);
        };
        let whole = left.len() == own.points.len() && left.len() == base.points.len();
        return Some(Difference {
            // Of all samples, it is that of the two numbers that are shown.
            value: if whole { plain.value } else { paired.mean },
            interval: Some((paired.interval.low, paired.interval.high)),
            p: Some(paired.p),
            significant: paired.p < LEVEL,
            test: Some(Test::Samples),
            common: (!whole).then_some(left.len()),
        });
    }
    Some(welch(cell, base, plain))
}

/// Welch's t-test of two means over replicates.
fn welch(cell: &Cell, base: &Cell, plain: Difference) -> Difference {
    let spread = |cell: &Cell| {
        let own = cell.statistics()?;
        Some((own.sem?.powi(2), own.n as f64 - 1.0))
    };
    let (Some((left, n)), Some((right, m))) = (spread(cell), spread(base)) else {
        return plain;
    };
    let variance = left + right;
    if variance == 0.0 {
        return Difference {
            interval: Some((plain.value, plain.value)),
            significant: plain.value != 0.0,
            test: Some(Test::Replicates),
            ..plain
        };
    }
    let freedom = variance.powi(2) / (left.powi(2) / n + right.powi(2) / m);
    let half = student_quantile(1.0 - LEVEL / 2.0, freedom) * variance.sqrt();
    Difference {
        interval: Some((plain.value - half, plain.value + half)),
        significant: plain.value.abs() > half,
        test: Some(Test::Replicates),
        ..plain
    }
}

/// What the notes say about all comparisons.
#[derive(Default)]
struct Told {
    comparisons: usize,
    samples: Vec<String>,
    replicates: Vec<String>,
    common: Vec<String>,
}

impl Told {
    fn take(&mut self, row: &Row, column: &Column, found: &Difference) {
        self.comparisons += 1;
        let list = match found.test {
            Some(Test::Samples) => &mut self.samples,
            Some(Test::Replicates) => &mut self.replicates,
            None => return,
        };
        if !list.contains(&column.label) {
            list.insert(0, column.label.clone());
        }
        if let Some(common) = found.common {
            let text = format!(
                "{}, {}: {common} samples that both have",
                row.label, column.label
            );
            self.common.push(text);
        }
    }

    fn notes(self, label: &str) -> Vec<Note> {
        let Bootstrap { resamples, seed } = Bootstrap::default();
        let mut tests = Vec::new();
        if !self.samples.is_empty() {
            tests.push(format!(
                "of paired resamples of the samples ({resamples}, seed {seed}) in {}",
                self.samples.join(", ")
            ));
        }
        if !self.replicates.is_empty() {
            tests.push(format!(
                "of Welch's t-test over the replicates in {}",
                self.replicates.join(", ")
            ));
        }
        let text = match tests.is_empty() {
            true => format!(
                "nothing could be tested: neither samples nor several replicates are known; {} \
                 comparisons with {label} were made",
                self.comparisons
            ),
            false => format!(
                "p < {LEVEL} {}; {} comparisons with {label} were made, each tested by itself",
                tests.join(" and "),
                self.comparisons
            ),
        };
        let mut notes = vec![Note {
            mark: MARK.to_owned(),
            text,
        }];
        notes.extend(self.common.into_iter().map(|text| Note {
            mark: MARK.to_owned(),
            text,
        }));
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(samples: &[&str], points: &[f64]) -> Cell {
        let mean = points.iter().sum::<f64>() / points.len() as f64;
        let record = Record::new()
            .with("pred.each.sample", samples.to_vec())
            .with("pred.each.score", points.to_vec());
        Cell {
            each: SamplePoints::of(&record, "score", 1.0),
            ..Cell::of_number(String::new(), mean, 1)
        }
    }

    #[test]
    fn models_are_compared_over_the_samples_that_both_have() {
        let left = cell(&["a", "b", "c"], &[100.0, 0.0, 50.0]);
        let right = cell(&["c", "d", "a"], &[40.0, 0.0, 100.0]);
        let found = difference(&left, &right).unwrap();
        assert_eq!((found.value, found.common), (5.0, Some(2)));
        assert!(found.p.unwrap() > LEVEL && !found.significant);
        let names: Vec<String> = (0..40).map(|at| at.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let better = cell(&names, &[60.0; 40]);
        let worse = cell(&names, &[40.0; 40]);
        let found = difference(&better, &worse).unwrap();
        assert!(found.significant && found.common.is_none());
        assert_eq!(found.interval, Some((20.0, 20.0)));
    }

    #[test]
    fn means_over_replicates_are_compared_with_their_spread() {
        let cell = |values: &[f64]| Cell {
            parts: vec![PartValue {
                value: Statistics::of(values, None, true).mean,
                statistics: Statistics::of(values, None, true),
                ..PartValue::default()
            }],
            ..Cell::default()
        };
        // t = 3.674, freedom 4: the limit is 2.776.
        let found = difference(&cell(&[4.0, 5.0, 6.0]), &cell(&[1.0, 2.0, 3.0])).unwrap();
        assert!(found.significant);
        let (low, high) = found.interval.unwrap();
        assert!(
            (low - 0.733).abs() < 1e-3 && (high - 5.267).abs() < 1e-3,
            "{low} {high}"
        );
        let found = difference(&cell(&[2.0, 3.0, 4.0]), &cell(&[1.0, 2.0, 3.0])).unwrap();
        assert!(!found.significant);
        let found = difference(&cell(&[2.0]), &cell(&[1.0])).unwrap();
        assert!(found.test.is_none() && found.value == 1.0);
    }
}
