//! A result as a JSON object, as `novic infer` prints and `novic serve` sends
//! it (`eval-infer.md` section 10).

use serde_json::{Map, Value, json};

use super::label::Label;
use super::stream::Classified;

/// What records hold.
#[derive(Clone, Debug, Default)]
pub struct RecordOptions {
    /// Name of the model.
    pub model: String,
    /// At most so many predictions.
    pub top: Option<usize>,
    /// Leave out predictions that are less likely.
    pub min_prob: Option<f64>,
    /// Leave out how long it took, so that equal results are equal texts.
    pub without_times: bool,
}

impl RecordOptions {
    /// The predictions to show.
    pub fn shown<'a>(&self, labels: &'a [Label]) -> impl Iterator<Item = &'a Label> + use<'a> {
        let min_prob = self.min_prob;
        labels
            .iter()
            .take(self.top.unwrap_or(usize::MAX))
            .filter(move |label| match (min_prob, label.probability) {
                (Some(least), Some(probability)) => probability >= least,
                _ => true,
            })
    }
}

/// The record of an input.
pub fn record(classified: &Classified, options: &RecordOptions) -> Value {
    let mut record = Map::new();
    let mut set = |name: &str, value: Value| {
        record.insert(name.to_owned(), value);
    };
    set("index", json!(classified.index));
    if let Some(tag) = &classified.tag {
        set("id", tag.clone());
    }
    set("input", json!(classified.name));
    match &classified.outcome {
        Err(error) => set("error", json!(error)),
        Ok(labels) => {
            let predictions = options.shown(labels).map(prediction);
            set("predictions", predictions.collect::<Vec<_>>().into());
            set("model", json!(options.model));
            set("gencfg", json!(classified.generation.to_string()));
        }
    }
    if !options.without_times {
        let short = |milliseconds: f64| json!((milliseconds * 1e3).round() / 1e3);
        let timings = &classified.timings;
        let times = json!({
            "decode": short(timings.decode),
            "embed": short(timings.embed),
            "generate": short(timings.generate),
        });
        set("ms", times);
    }
    Value::Object(record)
}

fn prediction(label: &Label) -> Value {
    let finite = |value: f64| {
        if value.is_finite() {
            json!(value)
        } else {
            Value::Null
        }
    };
    let mut prediction = Map::new();
    prediction.insert("noun".to_owned(), json!(label.noun));
    prediction.insert("score".to_owned(), finite(label.score));
    let probability = label.probability.map_or(Value::Null, finite);
    prediction.insert("prob".to_owned(), probability);
    prediction.insert("type".to_owned(), json!(label.kind));
    if let Some(tokens) = &label.tokens {
        prediction.insert("tokens".to_owned(), json!(tokens));
    }
    Value::Object(prediction)
}
