//! Prediction files, version 1 (`eval-infer.md` section 8.1): what a model
//! said about samples under several generation configurations. Version 2 adds
//! [`PredictionDetails`] to the same fields.

use std::fs;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{EvaluateError, Result};
use super::json_text::json_text;
use super::statistics::PredictionType;
use crate::decoder::generate::{GenerationConfig, Guiding};
use crate::store::publish_file;

/// Versions of prediction files that are read.
pub const PREDICTION_VERSIONS: RangeInclusive<u64> = 1..=2;

/// Predictions of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictionFile {
    /// Name of the model: parent directory name / file name.
    pub model: String,
    /// Path of its checkpoint.
    pub model_path: String,
    /// Name of the checkpoint's directory.
    pub model_dir: String,
    /// Name of the checkpoint's file.
    pub model_name: String,
    /// Flat configuration of the checkpoint.
    pub model_cfg: Map<String, Value>,
    /// Flat configuration of the run that made the predictions.
    pub infer_cfg: Map<String, Value>,
    /// Guide nouns, sorted.
    pub guide_targets: Vec<String>,
    /// Nouns of the model's vocabulary, sorted.
    pub vocab_targets: Vec<String>,
    /// Names of the `N` samples.
    pub samples: Vec<String>,
    /// Predictions by name of the generation configuration, in its order.
    pub predictions: Vec<(String, PredictionEntry)>,
    /// What version 2 adds; none in version 1.
    pub details: Option<PredictionDetails>,
}

/// What files of version 2 tell of their samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictionDetails {
    /// Specification of the embedder.
    pub embedder: String,
    /// Place of each sample among the inputs: those that could not be read are
    /// missing.
    pub sample_index: Vec<u64>,
    /// Class of each sample, where it has one.
    pub labels: Vec<Option<String>>,
    /// Seconds of decoding, per generation configuration.
    pub elapsed_time: Vec<f64>,
}

/// Predictions under one generation configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionEntry {
    /// The configuration.
    pub gen_cfg: GenerationFields,
    /// Percentage of samples with a guide noun among the first `1 … K`.
    pub valid_guide: Vec<f32>,
    /// The same for guide or vocabulary nouns.
    pub valid_vocab: Vec<f32>,
    /// Percentage of samples whose first `1 … K` are all valid.
    pub valid: Vec<f32>,
    /// Percentage of samples with an invalid one among the first `1 … K`.
    pub invalid: Vec<f32>,
    /// Predicted texts `[N, K]`; none where there are fewer than `K`.
    pub pred: Vec<Vec<Option<String>>>,
    /// Their scores; none where absent or not finite.
    pub score: Vec<Vec<Option<f32>>>,
    /// What they are; [`PredictionType::Other`] where absent.
    pub result: Vec<Vec<PredictionType>>,
}

/// A generation configuration as files describe it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationFields {
    /// `greedy`, `beam` or `all`.
    pub method: String,
    /// Predictions per sample `K`.
    pub topk: usize,
    /// Whether a vocabulary prior is divided out.
    pub vocab_prior: bool,
    /// Whether the prior is one of tokens instead of nouns.
    pub vocab_per_token: bool,
    /// Strength of the prior.
    pub vocab_scaler: f64,
    /// Whether only guide nouns are generated.
    pub guided: bool,
    /// Whether guided probabilities are normalised again.
    pub guide_renorm: bool,
    /// Softmax temperature.
    pub temperature: f64,
    /// Exponent of the length in scores.
    pub length_alpha: f64,
    /// Its name.
    pub name: String,
}

impl From<&GenerationConfig> for GenerationFields {
    fn from(config: &GenerationConfig) -> Self {
        Self {
            method: config.method.to_string(),
            topk: config.topk,
            vocab_prior: config.prior.is_some(),
            vocab_per_token: config.prior.is_some_and(|prior| prior.per_token),
            vocab_scaler: config.prior.map_or(0.0, |prior| prior.scaler),
            guided: config.guide != Guiding::None,
            guide_renorm: config.guide == Guiding::Renormalized,
            temperature: config.temperature,
            length_alpha: config.length_alpha,
            name: config.to_string(),
        }
    }
}

impl PredictionFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no JSON, has another version, or its lists do
    /// not belong together.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| EvaluateError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| EvaluateError::PredictionFile {
            path: path.to_owned(),
            reason,
        })
    }

    /// Writes a file; it appears under its name when it is complete.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        publish_file(path, |file| file.write_all(self.to_text().as_bytes())).map_err(|source| {
            EvaluateError::Write {
                path: path.to_owned(),
                source,
            }
        })
    }

    /// The text of a file. Scores that are not finite become null, as JSON
    /// has no other word for them.
    pub fn to_text(&self) -> String {
        let predictions: Map<String, Value> = self
            .predictions
            .iter()
            .map(|(name, entry)| (name.clone(), entry.to_value()))
            .collect();
        let version = match self.details {
            None => 1,
            Some(_) => 2,
        };
        let mut value = json!({
            "version": version,
            "model": self.model,
            "model_path": self.model_path,
            "model_dir": self.model_dir,
            "model_name": self.model_name,
            "model_cfg": self.model_cfg,
            "infer_cfg": self.infer_cfg,
            "guide_targets": self.guide_targets,
            "vocab_targets": self.vocab_targets,
            "samples": self.samples,
            "predictions": predictions,
        });
        let details = self.details.as_ref().map(|details| json!(details));
        if let (Some(file), Some(Value::Object(details))) = (value.as_object_mut(), details) {
            file.extend(details);
        }
        json_text(&value)
    }

    /// Parses the text of a file, or says what is wrong with it.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut file: FileFields =
            serde_json::from_str(&without_bare_words(text)).map_err(|error| error.to_string())?;
        if !PREDICTION_VERSIONS.contains(&file.version) {
            return Err(format!(
                "version {} is unknown, versions {} and {} are what can be read",
                file.version,
                PREDICTION_VERSIONS.start(),
                PREDICTION_VERSIONS.end()
            ));
        }
        let samples = file.samples.len();
        let details = match file.version {
            1 => None,
            _ => Some(details_of(&file, samples)?),
        };
        let predictions = std::mem::take(&mut file.predictions)
            .into_iter()
            .map(|(name, entry)| {
                let entry = PredictionEntry::from_value(entry, samples)
                    .map_err(|reason| format!("predictions of {name}: {reason}"))?;
                Ok((name, entry))
            })
            .collect::<std::result::Result<_, String>>()?;
        Ok(Self {
            model: file.model,
            model_path: file.model_path,
            model_dir: file.model_dir,
            model_name: file.model_name,
            model_cfg: file.model_cfg,
            infer_cfg: file.infer_cfg,
            guide_targets: file.guide_targets,
            vocab_targets: file.vocab_targets,
            samples: file.samples,
            predictions,
            details,
        })
    }
}

impl PredictionEntry {
    fn to_value(&self) -> Value {
        let percentages = |values: &[f32]| -> Vec<Value> {
            values.iter().map(|&value| number(Some(value))).collect()
        };
        let scores: Vec<Vec<Value>> = self
            .score
            .iter()
            .map(|row| row.iter().copied().map(number).collect())
            .collect();
        let results: Vec<Vec<u8>> = self
            .result
            .iter()
            .map(|row| row.iter().map(|kind| kind.number()).collect())
            .collect();
        json!({
            "gen_cfg": self.gen_cfg,
            "valid_guide": percentages(&self.valid_guide),
            "valid_vocab": percentages(&self.valid_vocab),
            "valid": percentages(&self.valid),
            "invalid": percentages(&self.invalid),
            "pred": self.pred,
            "score": scores,
            "result": results,
        })
    }

    fn from_value(value: Value, samples: usize) -> std::result::Result<Self, String> {
        let fields: EntryFields =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        let topk = fields.gen_cfg.topk;
        for (name, len) in [
            ("valid_guide", fields.valid_guide.len()),
            ("valid_vocab", fields.valid_vocab.len()),
            ("valid", fields.valid.len()),
            ("invalid", fields.invalid.len()),
        ] {
            if len != topk {
                return Err(format!("{name} has {len} numbers, topk is {topk}"));
            }
        }
        check_rows("pred", &fields.pred, samples, topk)?;
        check_rows("score", &fields.score, samples, topk)?;
        check_rows("result", &fields.result, samples, topk)?;
        let result = fields
            .result
            .iter()
            .map(|row| {
                row.iter()
                    .map(|&number| {
                        PredictionType::from_number(number)
                            .ok_or_else(|| format!("result {number} is none of 0 to 3"))
                    })
                    .collect()
            })
            .collect::<std::result::Result<_, String>>()?;
        let single = |values: Vec<Option<f64>>| -> Vec<f32> {
            let single = |value: Option<f64>| value.map_or(f32::NAN, |value| value as f32);
            values.into_iter().map(single).collect()
        };
        Ok(Self {
            gen_cfg: fields.gen_cfg,
            valid_guide: single(fields.valid_guide),
            valid_vocab: single(fields.valid_vocab),
            valid: single(fields.valid),
            invalid: single(fields.invalid),
            pred: fields.pred,
            score: fields
                .score
                .into_iter()
                .map(|row| {
                    row.into_iter()
                        .map(|score| score.map(|score| score as f32))
                        .collect()
                })
                .collect(),
            result,
        })
    }
}

fn check_rows<T>(
    name: &str,
    rows: &[Vec<T>],
    samples: usize,
    topk: usize,
) -> std::result::Result<(), String> {
    if rows.len() != samples {
        return Err(format!(
            "{name} has {} rows for {samples} samples",
            rows.len()
        ));
    }
    match rows.iter().find(|row| row.len() != topk) {
        Some(row) => Err(format!(
            "a row of {name} has {} entries, topk is {topk}",
            row.len()
        )),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct FileFields {
    version: u64,
    model: String,
    model_path: String,
    model_dir: String,
    model_name: String,
    model_cfg: Map<String, Value>,
    infer_cfg: Map<String, Value>,
    guide_targets: Vec<String>,
    vocab_targets: Vec<String>,
    samples: Vec<String>,
    predictions: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What version 2 adds.
fn details_of(file: &FileFields, samples: usize) -> std::result::Result<PredictionDetails, String> {
    let rest = Value::Object(file.rest.clone());
    let details: PredictionDetails =
        serde_json::from_value(rest).map_err(|error| error.to_string())?;
    for (name, len, expected) in [
        ("sample_index", details.sample_index.len(), samples),
        ("labels", details.labels.len(), samples),
        (
            "elapsed_time",
            details.elapsed_time.len(),
            file.predictions.len(),
        ),
    ] {
        if len != expected {
            return Err(format!("{name} has {len} entries, not {expected}"));
        }
    }
    Ok(details)
}

#[derive(Deserialize)]
struct EntryFields {
    gen_cfg: GenerationFields,
    valid_guide: Vec<Option<f64>>,
    valid_vocab: Vec<Option<f64>>,
    valid: Vec<Option<f64>>,
    invalid: Vec<Option<f64>>,
    pred: Vec<Vec<Option<String>>>,
    score: Vec<Vec<Option<f64>>>,
    result: Vec<Vec<u64>>,
}

/// A single precision number widened to double; null if there is none.
fn number(value: Option<f32>) -> Value {
    value
        .and_then(|value| serde_json::Number::from_f64(f64::from(value)))
        .map_or(Value::Null, Value::Number)
}

/// The text with `NaN`, `Infinity` and `-Infinity`, which Python writes for
/// numbers that are not finite, replaced by null.
pub fn without_bare_words(text: &str) -> String {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(at) = rest.find(['"', '\\', '-', 'I', 'N']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let word = WORDS.iter().find(|word| from.starts_with(**word));
        let len = match (in_string, word) {
            (false, Some(word)) => {
                out.push_str("null");
                rest = &from[word.len()..];
                continue;
            }
            // An escaped character; it may be a quote.
            (true, _) if from.starts_with('\\') => {
                1 + from[1..].chars().next().map_or(0, char::len_utf8)
            }
            _ => 1,
        };
        in_string ^= from.starts_with('"');
        out.push_str(&from[..len]);
        rest = &from[len..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_two_has_details_and_the_rest_of_version_one() {
        let plain = PredictionFile {
            samples: vec!["a".to_owned(), "c".to_owned()],
            ..PredictionFile::default()
        };
        let details = PredictionDetails {
            embedder: "openclip:a/b".to_owned(),
            sample_index: vec![0, 2],
            labels: vec![Some("cat".to_owned()), None],
            elapsed_time: Vec::new(),
        };
        let detailed = PredictionFile {
            details: Some(details),
            ..plain.clone()
        };
        let text = detailed.to_text();
        assert_eq!(PredictionFile::parse(&text).unwrap(), detailed);
        let first = text.replace("\"version\": 2", "\"version\": 1");
        assert_eq!(PredictionFile::parse(&first).unwrap(), plain);
        let short = text.replace("[0, 2]", "[0]");
        let error = PredictionFile::parse(&short).unwrap_err();
        assert_eq!(error, "sample_index has 1 entries, not 2");
        assert!(!plain.to_text().contains("sample_index"));
    }

    #[test]
    fn bare_words_become_null_outside_of_texts_only() {
        assert_eq!(
            without_bare_words(
                r#"{"NaN \" Infinity": [-Infinity, NaN, Infinity, -1], "b\\": "NaN"}"#
            ),
            r#"{"NaN \" Infinity": [null, null, null, -1], "b\\": "NaN"}"#
        );
    }
}
