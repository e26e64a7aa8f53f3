//! What is collected about models: one entry for each, first values first.

use serde_json::{Map, Value};

/// A model by its directory and file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ModelName {
    pub(super) dir: String,
    pub(super) name: String,
}

impl ModelName {
    pub(super) fn spec(&self) -> String {
        format!("{}/{}", self.dir, self.name)
    }
}

/// A row of the history of a run, with what belongs to it.
#[derive(Clone, Debug)]
pub(super) struct ModelRow {
    pub(super) model: ModelName,
    pub(super) action: String,
    pub(super) values: Map<String, Value>,
    /// Samples with their nouns, as the run kept them in a table.
    pub(super) table: Option<Vec<(String, String)>>,
    /// The console log of a run without such a table.
    pub(super) log: Option<String>,
}

impl ModelRow {
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.values.get(&format!("Eval/{name}"))?.as_f64()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(&format!("Eval/{name}"))?.as_str()
    }
}

/// Values of one evaluated dataset.
#[derive(Clone, Debug, Default)]
pub(super) struct DatasetTop1 {
    pub(super) dataset: String,
    pub(super) noun: Option<f64>,
    pub(super) token: Option<f64>,
}

/// What evaluations say of a model.
#[derive(Clone, Debug)]
pub(super) struct EvalData {
    pub(super) model: ModelName,
    pub(super) datasets: Vec<DatasetTop1>,
    /// Valid, direct, fixed and guided shares on ImageNet-1K.
    pub(super) cls: Option<[Option<f64>; 4]>,
}

/// What inference says of a model.
#[derive(Clone, Debug)]
pub(super) struct InferData {
    pub(super) model: ModelName,
    pub(super) valid: Option<f64>,
    /// Samples with their nouns; none if they are not known.
    pub(super) nouns: Option<Vec<(String, String)>>,
}

/// Evaluations by model, in the order in which models first appear.
pub(super) fn eval_data(rows: &[ModelRow]) -> Vec<EvalData> {
    let mut models: Vec<EvalData> = Vec::new();
    for row in rows {
        let at = models.iter().position(|known| known.model == row.model);
        let at = at.unwrap_or_else(|| {
            models.push(EvalData {
                model: row.model.clone(),
                datasets: Vec::new(),
                cls: None,
            });
            models.len() - 1
        });
        let known = &mut models[at];
        let Some(dataset) = row.text("dataset") else {
            continue;
        };
        match row.action.as_str() {
            "eval" if known.datasets.iter().all(|one| one.dataset != dataset) => {
                known.datasets.push(DatasetTop1 {
                    dataset: dataset.to_owned(),
                    noun: row.number("noun_top1"),
                    token: row.number("top1"),
                });
            }
            "eval_cls" if dataset == "ImageNet1K" && known.cls.is_none() => {
                let names = [
                    "valid",
                    "direct_correct",
                    "DirectValidGuidedCorrect",
                    "noun_top1",
                ];
                let values = names.map(|name| row.number(name));
                known.cls = values.iter().any(Option::is_some).then_some(values);
            }
            _ => {}
        }
    }
    models
}
