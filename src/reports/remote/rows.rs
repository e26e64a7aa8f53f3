//! Measured rows of a run at the service.

use serde_json::Value;

use super::Remote;
use crate::evaluate::wilson_95;
use crate::reports::record::Record;
use crate::reports::run_tables::{Result, RunSource, head};
use crate::tracking::wandb::RemoteRun;

/// What names of measured values start with.
const MEASURED: &str = "Eval/";

impl Remote<'_> {
    /// The measured rows of a run; of a training, one for its end.
    pub(super) fn rows(&self, run: &RemoteRun) -> Result<Vec<Record>> {
        let action = run.config.get("action").and_then(Value::as_str);
        match action {
            Some("train") => Ok(vec![Record::new()]),
            Some("eval_cls_decoding") => self.decoding_rows(run),
            _ => {
                let rows = self.runs.rows(self.project, run)?;
                let measured = rows.iter().filter_map(|row| {
                    let mut record = Record::new();
                    for (name, value) in row {
                        if let Some(name) = name.strip_prefix(MEASURED) {
                            record.set(name, value.clone());
                        }
                    }
                    record.get("dataset")?;
                    Some(completed(record, action == Some("eval_cls")))
                });
                Ok(measured.collect())
            }
        }
    }

    /// A row per dataset, model and generation configuration.
    fn decoding_rows(&self, run: &RemoteRun) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for row in self.runs.rows(self.project, run)? {
            let Some(value) = row.get("table_per_model") else {
                continue;
            };
            let run = head(run.clone());
            let Some(table) = self.runs.table(self.project, &run, value)? else {
                continue;
            };
            let columns: Vec<&str> = strings(&table["columns"]);
            let samples = row.get("num_samples").and_then(Value::as_u64);
            for cells in table["data"].as_array().into_iter().flatten() {
                let mut record = Record::new();
                for (at, column) in columns.iter().enumerate() {
                    set_cell(&mut record, column, &cells[at], samples);
                }
                if let (Some(samples), Some(top1)) = (samples, record.number("top1")) {
                    record.set("num_samples", samples);
                    set_interval(&mut record, top1, samples);
                }
                records.push(record);
            }
        }
        Ok(records)
    }
}

fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap_or_default())
        .collect()
}

/// A cell of the table of a model's decoding. Shares have single precision
/// there; with the number of samples they are exact again.
fn set_cell(record: &mut Record, column: &str, value: &Value, samples: Option<u64>) {
    match (column, value) {
        ("Dataset", Value::String(title)) => {
            // `name/split/variant`; the split is in the configuration, too.
            record.set("dataset", title.split('/').next().unwrap_or_default());
        }
        ("Model", Value::String(spec)) => {
            if let Some((dir, name)) = spec.rsplit_once('/') {
                record.set("model_dir", dir);
                record.set("model_name", name);
            }
        }
        ("Gen Cfg", value) => record.set("gencfg", value.clone()),
        (column, Value::Number(_)) => {
            let Some(rank) = column.strip_prefix("Top-") else {
                return;
            };
            let percent = value.as_f64().map(|percent| match samples {
                Some(samples) if samples > 0 => {
                    let correct = (percent / 100.0 * samples as f64).round();
                    correct / samples as f64 * 100.0
                }
                _ => percent,
            });
            record.set(&format!("top{rank}"), percent);
        }
        _ => {}
    }
}

/// What follows from the values of a row.
fn completed(mut record: Record, is_greedy: bool) -> Record {
    if let Some(name) = record.get("gen_cfg").cloned() {
        record.0.remove("gen_cfg");
        record.set("gencfg", name);
    }
    if let Some(split) = record.get("dataset_split").cloned() {
        record.set("dataset.split", split);
    }
    if let (true, Some(top1)) = (is_greedy, record.number("noun_top1")) {
        record.set("top1", top1);
        if let Some(samples) = record.number("num_samples") {
            set_interval(&mut record, top1, samples as u64);
        }
    }
    record
}

fn set_interval(record: &mut Record, top1: f64, samples: u64) {
    let correct = (top1 / 100.0 * samples as f64).round() as u64;
    let (low, high) = wilson_95(correct, samples);
    record.set("top1_low", low * 100.0);
    record.set("top1_high", high * 100.0);
}
