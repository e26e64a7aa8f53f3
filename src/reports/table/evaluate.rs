//! From a table specification and records to cells (`reports.md` 11).

use std::cmp::Ordering;

use serde_json::Value;

use super::spec::{Aggregate, ColumnSpec, TableSpec};
use crate::reports::record::{Record, plain};

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// Text to show.
    pub text: String,
    /// Aggregated number, scaled; none if there is no value.
    pub value: Option<f64>,
    /// How many values went in.
    pub n: usize,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Row label.
    pub label: String,
    /// One cell per column.
    pub cells: Vec<Cell>,
}

/// A table ready to be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluatedTable {
    /// Name of the cell.
    pub name: String,
    /// Printed above.
    pub title: Option<String>,
    /// Printed below.
    pub caption: Option<String>,
    /// Header of the label column.
    pub header: String,
    /// Column headers.
    pub columns: Vec<String>,
    /// Rows in order.
    pub rows: Vec<Row>,
}

impl TableSpec {
    /// Evaluates the table over `records`, oldest first.
    pub fn evaluate(&self, records: &[Record]) -> EvaluatedTable {
        let selected: Vec<&Record> = records
            .iter()
            .filter(|record| self.condition.holds(record))
            .collect();
        let mut keys: Vec<Vec<Option<&Value>>> = Vec::new();
        for record in &selected {
            let key = self.key(record);
            let shown = self.columns.iter().any(|column| {
                column.condition.holds(record) && record.get(&column.value).is_some()
            });
            if shown && !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys.sort_by(|left, right| compare_keys(left, right));
        if self.rows.descending {
            keys.reverse();
        }
        let rows = keys
            .iter()
            .map(|key| {
                let members: Vec<&Record> = selected
                    .iter()
                    .copied()
                    .filter(|record| self.key(record) == *key)
                    .collect();
                Row {
                    label: self.label(key),
                    cells: self
                        .columns
                        .iter()
                        .map(|column| column.cell(&members, &self.missing))
                        .collect(),
                }
            })
            .collect();
        EvaluatedTable {
            name: self.name.clone(),
            title: self.title.clone(),
            caption: self.caption.clone(),
            header: self.rows.header.clone(),
            columns: self.columns.iter().map(|c| c.label.clone()).collect(),
            rows,
        }
    }

    fn key<'a>(&self, record: &'a Record) -> Vec<Option<&'a Value>> {
        self.rows.by.iter().map(|field| record.get(field)).collect()
    }

    fn label(&self, key: &[Option<&Value>]) -> String {
        let text = |value: &Option<&Value>| value.map_or_else(|| self.missing.clone(), plain);
        match &self.rows.label {
            None => key.iter().map(text).collect::<Vec<_>>().join(" / "),
            Some(format) => format.fill(
                |name| {
                    let position = self.rows.by.iter().position(|field| field == name)?;
                    key[position].cloned()
                },
                &self.missing,
            ),
        }
    }
}

/// Null first, then numbers, then texts.
fn compare_keys(left: &[Option<&Value>], right: &[Option<&Value>]) -> Ordering {
    let rank = |value: &Option<&Value>| match value {
        None => 0,
        Some(Value::Number(_)) => 1,
        Some(_) => 2,
    };
    left.iter()
        .zip(right)
        .map(|(left, right)| {
            rank(left)
                .cmp(&rank(right))
                .then_with(|| match (left, right) {
                    (Some(Value::Number(left)), Some(Value::Number(right))) => left
                        .as_f64()
                        .partial_cmp(&right.as_f64())
                        .unwrap_or(Ordering::Equal),
                    (Some(left), Some(right)) => plain(left).cmp(&plain(right)),
                    _ => Ordering::Equal,
                })
        })
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

impl ColumnSpec {
    fn cell(&self, members: &[&Record], missing: &str) -> Cell {
        let values: Vec<&Value> = members
            .iter()
            .filter(|record| self.condition.holds(record))
            .filter_map(|record| record.get(&self.value))
            .collect();
        let Some(newest) = values.last() else {
            return Cell {
                text: missing.to_owned(),
                value: None,
                n: 0,
            };
        };
        let numbers: Vec<f64> = values.iter().filter_map(|value| value.as_f64()).collect();
        let value = self.aggregate.of(&numbers).map(|value| value * self.scale);
        let deviation = deviation(&numbers).map(|value| value * self.scale);
        let text = self.format.fill(
            |name| match name {
                // A text has no aggregate: the newest one is shown.
                "value" => value.map(Value::from).or_else(|| Some((*newest).clone())),
                "mean" => Aggregate::Mean
                    .of(&numbers)
                    .map(|v| (v * self.scale).into()),
                "min" => Aggregate::Min.of(&numbers).map(|v| (v * self.scale).into()),
                "max" => Aggregate::Max.of(&numbers).map(|v| (v * self.scale).into()),
                "std" => deviation.map(Value::from),
                "n" => Some(values.len().into()),
                _ => None,
            },
            missing,
        );
        Cell {
            text,
            value,
            n: values.len(),
        }
    }
}

impl Aggregate {
    fn of(self, numbers: &[f64]) -> Option<f64> {
        let last = *numbers.last()?;
        let count = numbers.len() as f64;
        Some(match self {
            Self::Mean => numbers.iter().sum::<f64>() / count,
            Self::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            Self::Median => {
                let mut sorted = numbers.to_vec();
                sorted.sort_by(f64::total_cmp);
                let middle = sorted.len() / 2;
                if sorted.len() % 2 == 1 {
                    sorted[middle]
                } else {
                    f64::midpoint(sorted[middle - 1], sorted[middle])
                }
            }
            Self::Last => last,
            Self::Count => count,
            Self::Sum => numbers.iter().sum(),
        })
    }
}

/// Sample standard deviation (n − 1); none for a single value.
fn deviation(numbers: &[f64]) -> Option<f64> {
    if numbers.len() < 2 {
        return None;
    }
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
    Some((squares / (count - 1.0)).sqrt())
}
