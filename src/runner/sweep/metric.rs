//! What points are compared by: a number that a stage found out.

use std::fmt;
use std::fs;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::Entry;

/// File in which a stage leaves its measured rows.
pub const RECORDS_FILE: &str = "records.json";

/// `STAGE.FIELD` or `STAGE.FIELD@DATASET`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name of the stage.
    pub stage: String,
    /// Field of its results, or of the rows it measured.
    pub field: String,
    /// Only rows of this data set.
    pub dataset: Option<String>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Smaller.
    Min,
    /// Larger.
    Max,
}

impl Goal {
    /// Whether `a` is better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Goal::Min => a < b,
            Goal::Max => a > b,
        }
    }

    /// A number that is smaller for what is better.
    pub fn loss(self, value: f64) -> f64 {
        match self {
            Goal::Min => value,
            Goal::Max => -value,
        }
    }

    /// The usual one of a field: smaller for losses.
    pub fn usual(field: &str) -> Goal {
        match field.contains("loss") {
            true => Goal::Min,
            false => Goal::Max,
        }
    }

    /// As files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Goal::Min => "min",
            Goal::Max => "max",
        }
    }
}

impl Metric {
    /// Its value in the output of its stage: the number in the results, or the
    /// mean over the measured rows that have it.
    pub fn of(&self, entry: &Entry) -> Option<f64> {
        let results = &entry.manifest().description.results;
        if self.dataset.is_none()
            && let Some(value) = results.get(&self.field).and_then(Value::as_f64)
        {
            return Some(value);
        }
        let values: Vec<f64> = rows(entry)
            .iter()
            .filter(|row| {
                let dataset = self.dataset.as_deref();
                dataset.is_none_or(|wanted| row["dataset"].as_str() == Some(wanted))
            })
            .filter_map(|row| row.get(&self.field)?.as_f64())
            .collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// What an output has numbers for: fields of its results, then of its rows.
    pub fn known(stage: &str, entry: &Entry) -> Vec<Metric> {
        let results = entry.manifest().description.results.as_object().cloned();
        let mut fields: Vec<String> = Vec::new();
        let rows = rows(entry);
        let objects = results
            .iter()
            .chain(rows.iter().filter_map(Value::as_object));
        for (name, value) in objects.flatten() {
            if value.is_number() && !fields.contains(name) {
                fields.push(name.clone());
            }
        }
        let metric = |field| Metric {
            stage: stage.to_owned(),
            field,
            dataset: None,
        };
        fields.into_iter().map(metric).collect()
    }
}

fn rows(entry: &Entry) -> Vec<Value> {
    let text = entry
        .file(RECORDS_FILE)
        .ok()
        .and_then(|path| fs::read(path).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Metric, String> {
        let (name, dataset) = match text.split_once('@') {
            Some((name, dataset)) => (name, Some(dataset.to_owned())),
            None => (text, None),
        };
        match name.split_once('.') {
            Some((stage, field)) if !stage.is_empty() && !field.is_empty() => Ok(Metric {
                stage: stage.to_owned(),
                field: field.to_owned(),
                dataset,
            }),
            _ => Err("expected STAGE.FIELD or STAGE.FIELD@DATASET, such as drawings.top1".into()),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.field)?;
        match &self.dataset {
            Some(dataset) => write!(f, "@{dataset}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_and_written() {
        for text in [
            "drawings.top1",
            "drawings.top1@fluent-emoji",
            "train.loss.mean",
        ] {
            assert_eq!(text.parse::<Metric>().unwrap().to_string(), text);
        }
        for wrong in ["top1", ".top1", "drawings.", ""] {
            assert!(wrong.parse::<Metric>().is_err(), "{wrong}");
        }
        assert_eq!(Goal::usual("val_loss"), Goal::Min);
        assert!(Goal::Max.is_better(2.0, 1.0) && Goal::Min.is_better(1.0, 2.0));
    }
}
