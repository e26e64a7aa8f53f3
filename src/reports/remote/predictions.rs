//! Predictions of an inference run at the service: the table of the best noun
//! of every sample that it logged.

use serde_json::{Map, Value, json};

use super::Remote;
use crate::reports::predictions::ModelPredictions;
use crate::reports::record::Record;
use crate::reports::run_tables::{Result, RunSource, RunTablesError, head};
use crate::tracking::wandb::RemoteRun;

impl Remote<'_> {
    /// What a run predicted: a file per model.
    pub(super) fn predictions(&self, run: &RemoteRun) -> Result<Vec<(ModelPredictions, Record)>> {
        let rows = self.runs.rows(self.project, run)?;
        let mut found = Vec::new();
        for value in rows.iter().filter_map(|row| row.get("table_per_model")) {
            let run_head = head(run.clone());
            let Some(table) = self.runs.table(self.project, &run_head, value)? else {
                continue;
            };
            for (spec, file) in files(&table, &rows) {
                let (dir, name) = spec.rsplit_once('/').unwrap_or(("", &spec));
                let train = self.training(dir);
                let mut file = file;
                file["model"] = spec.clone().into();
                file["model_dir"] = dir.into();
                file["model_name"] = name.into();
                file["infer_cfg"] = run.config.clone().into();
                file["model_cfg"] = train
                    .map(|run| run.config.clone())
                    .unwrap_or_default()
                    .into();
                let read = ModelPredictions::parse(&file.to_string());
                let read = read.map_err(|reason| {
                    RunTablesError::Source(format!("predictions of run {}: {reason}", run.id))
                })?;
                let record = Record::new()
                    .with("model_dir", dir)
                    .with("model_name", name);
                found.extend(read.map(|read| (read, record)));
            }
        }
        Ok(found)
    }
}

/// The prediction file of each model of a table with the columns `Model`,
/// `Sample` and one per generation configuration.
fn files(table: &Value, rows: &[Map<String, Value>]) -> Vec<(String, Value)> {
    let columns = table["columns"].as_array().into_iter().flatten();
    let columns: Vec<&str> = columns
        .map(|name| name.as_str().unwrap_or_default())
        .collect();
    let place = |name: &str| columns.iter().position(|column| *column == name);
    let (Some(model), Some(sample)) = (place("Model"), place("Sample")) else {
        return Vec::new();
    };
    let mut by_model: Vec<(String, Vec<&Value>)> = Vec::new();
    for cells in table["data"].as_array().into_iter().flatten() {
        let spec = cells[model].as_str().unwrap_or_default();
        match by_model.iter_mut().find(|(known, _)| known == spec) {
            Some((_, all)) => all.push(cells),
            None => by_model.push((spec.to_owned(), vec![cells])),
        }
    }
    let file = |(spec, cells): (String, Vec<&Value>)| {
        let samples: Vec<&Value> = cells.iter().map(|cells| &cells[sample]).collect();
        let mut predictions = Map::new();
        for (at, gencfg) in columns.iter().enumerate() {
            if at == model || at == sample {
                continue;
            }
            let noun = |cells: &&Value| match &cells[at] {
                Value::String(noun) => json!([noun]),
                _ => json!([""]),
            };
            let mut entry = json!({
                "gen_cfg": { "name": gencfg, "topk": 1 },
                "pred": cells.iter().map(noun).collect::<Vec<_>>(),
            });
            let measured = rows.iter().find(|row| {
                let text = |key: &str| row.get(key).and_then(Value::as_str);
                let own = [text("Eval/model_dir"), text("Eval/model_name")];
                text("Eval/gen_cfg") == Some(*gencfg)
                    && own.map(Option::unwrap_or_default).join("/") == spec
            });
            for name in ["valid", "valid_guide", "valid_vocab", "invalid"] {
                let value = measured.and_then(|row| row.get(&format!("Eval/{name}")));
                if let Some(value) = value {
                    entry[name] = json!([value]);
                }
            }
            predictions.insert((*gencfg).to_owned(), entry);
        }
        let file = json!({ "version": 1, "samples": samples, "predictions": predictions });
        (spec, file)
    };
    by_model.into_iter().map(file).collect()
}
