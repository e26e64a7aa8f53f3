//! Prediction files as tables need them: read fast, checked, with everything
//! that tells files apart.
//!
//! [`crate::evaluate::PredictionFile`] is the same file as inference writes it.
//! Here rows may be shorter than `topk`, because some tables can show them.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{PredictionsError, Result};
use super::rows::{NounRows, NounRowsSeed, NumberRowsSeed, Rows};
use crate::evaluate::{PREDICTION_VERSIONS, PredictionType, without_bare_words};
use crate::reports::python_text::python_list;

/// Predictions of one model.
#[derive(Clone, Debug, Default)]
pub struct ModelPredictions {
    /// The file.
    pub path: PathBuf,
    /// Name of the model: parent directory name / file name.
    pub model: String,
    /// Name of the checkpoint's directory.
    pub model_dir: String,
    /// Name of the checkpoint's file.
    pub model_name: String,
    /// Flat configuration of the training run.
    pub model_cfg: Map<String, Value>,
    /// Flat configuration of the inference run.
    pub infer_cfg: Map<String, Value>,
    /// Guide nouns.
    pub guide_targets: NounList,
    /// Nouns of the model's vocabulary.
    pub vocab_targets: NounList,
    /// Keys of the samples; they give the order of everything else.
    pub samples: Vec<String>,
    /// Predictions by generation configuration, in the order of the file.
    pub predictions: Vec<ConfigurationPredictions>,
    /// Names of the model as the file has them.
    pub(super) names: Map<String, Value>,
    /// All other entries of the file.
    pub rest: Map<String, Value>,
}

/// Predictions under one generation configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigurationPredictions {
    /// Name of the configuration.
    pub name: String,
    /// Predictions per sample.
    pub topk: usize,
    /// The configuration's fields.
    pub gen_cfg: Map<String, Value>,
    /// Percentages of valid predictions per rank, by name.
    pub percentages: Map<String, Value>,
    /// Predicted nouns of each sample.
    pub nouns: NounRows,
    /// Their scores; NaN where there is none.
    pub scores: Rows<f64>,
    /// What they are, as numbers.
    results: Rows<f64>,
    /// Whether the file has scores; tables of scores do not need them.
    has_scores: bool,
    /// Likewise.
    has_results: bool,
}

/// A list of nouns of which files keep thousands: what is needed of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NounList {
    /// Whether the file has it.
    pub present: bool,
    /// Number of nouns.
    pub len: usize,
    /// The first nouns.
    pub first: Vec<String>,
    hash: Option<blake3::Hash>,
}

impl ModelPredictions {
    /// Reads a file; `None` if it is JSON, but of some other kind.
    ///
    /// # Errors
    /// It cannot be read, is no JSON, has another version, or its lists do not
    /// belong together.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = fs::read_to_string(path).map_err(|source| PredictionsError::Read {
            path: path.to_owned(),
            source,
        })?;
        let found = Self::parse(&text).map_err(|reason| PredictionsError::File {
            path: path.to_owned(),
            reason,
        })?;
        Ok(found.map(|file| Self {
            path: path.to_owned(),
            ..file
        }))
    }

    /// Parses the text of a file; `None` if it is of some other kind.
    pub fn parse(text: &str) -> std::result::Result<Option<Self>, String> {
        let file = match parse_fields(text) {
            Ok(file) => file,
            Err(_) => {
                // Python writes words for numbers that are not finite.
                let text = without_bare_words(text);
                if !is_prediction_file(&text) {
                    return Ok(None);
                }
                let mut json = serde_json::Deserializer::from_str(&text);
                let mut track = serde_path_to_error::Track::new();
                let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
                let parsed = Fields.deserialize(tracked);
                let ended = parsed.and_then(|file| json.end().map(|()| file));
                ended.map_err(|error| match track.path().to_string() {
                    path if path == "." => error.to_string(),
                    path => format!("{path}: {error}"),
                })?
            }
        };
        let (version, file, has_predictions, has_samples) = (
            file.version,
            file.file,
            file.has_predictions,
            file.has_samples,
        );
        match (has_predictions, has_samples) {
            (false, false) => return Ok(None),
            (false, true) => return Err("there are no `predictions`".to_owned()),
            (true, false) => return Err("there are no `samples`".to_owned()),
            (true, true) => {}
        }
        match version {
            Some(Value::Number(version)) if is_known(&version) => {}
            None => return Err("there is no `version`".to_owned()),
            Some(version) => {
                return Err(format!(
                    "version {version} is unknown, versions {} and {} are what can be read",
                    PREDICTION_VERSIONS.start(),
                    PREDICTION_VERSIONS.end()
                ));
            }
        }
        for entry in &file.predictions {
            entry.check(&file.samples)?;
        }
        Ok(Some(file))
    }

    /// Name of the file.
    pub fn file_name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Name of the file without `.json`.
    pub fn stem(&self) -> String {
        let name = self.file_name();
        name.strip_suffix(".json").unwrap_or(&name).to_owned()
    }

    /// Predictions under a generation configuration.
    pub fn under(&self, gencfg: &str) -> Option<&ConfigurationPredictions> {
        self.predictions.iter().find(|entry| entry.name == gencfg)
    }
}

fn is_known(version: &serde_json::Number) -> bool {
    let mut known = PREDICTION_VERSIONS;
    known.any(|known| version.as_f64() == Some(known as f64))
}

impl ConfigurationPredictions {
    /// What the predictions of a sample are; [`PredictionType::Other`] where the
    /// file does not tell.
    pub fn results(&self, sample: usize) -> impl Iterator<Item = PredictionType> {
        let row = self.results.row(sample).iter();
        let known = row.map(|number| type_of(*number).unwrap_or(PredictionType::Other));
        known.chain(std::iter::repeat(PredictionType::Other))
    }

    /// Nouns, scores and types of a sample.
    pub fn row(&self, sample: usize) -> impl Iterator<Item = (&str, f64, PredictionType)> {
        let scores = self.scores.row(sample).iter().copied();
        let scores = scores.chain(std::iter::repeat(f64::NAN));
        let rest = scores.zip(self.results(sample));
        self.nouns
            .row(sample)
            .zip(rest)
            .map(|(noun, (score, kind))| (noun, score, kind))
    }

    /// Rows belong to the samples, and nouns, scores and types to each other.
    fn check(&self, samples: &[String]) -> std::result::Result<(), String> {
        let at = |what: &str| format!("predictions.{}.{what}", self.name);
        let lists = [
            ("pred", Some(self.nouns.len())),
            ("score", self.has_scores.then_some(self.scores.len())),
            ("result", self.has_results.then_some(self.results.len())),
        ];
        for (what, rows) in lists {
            if let Some(rows) = rows.filter(|rows| *rows != samples.len()) {
                return Err(format!(
                    "{}: {rows} rows for {} samples",
                    at(what),
                    samples.len()
                ));
            }
        }
        for (sample, key) in samples.iter().enumerate() {
            let nouns = self.nouns.places(sample);
            for (what, entries, given) in [
                ("score", self.scores.row(sample).len(), self.has_scores),
                ("result", self.results.row(sample).len(), self.has_results),
            ] {
                if !given {
                    continue;
                }
                // A sample with fewer predictions may have them filled up.
                if entries != nouns && !(nouns < entries && entries == self.topk) {
                    return Err(format!(
                        "{}[{sample}]: {entries} entries for {nouns} predictions of sample {key}",
                        at(what)
                    ));
                }
            }
            let wrong = self.results.row(sample).iter();
            if let Some(number) = wrong.copied().find(|number| type_of(*number).is_none()) {
                return Err(format!(
                    "{}[{sample}]: {number} is none of 0 to 3",
                    at("result")
                ));
            }
        }
        Ok(())
    }
}

fn type_of(number: f64) -> Option<PredictionType> {
    let whole = number.fract() == 0.0 && number >= 0.0;
    PredictionType::from_number(whole.then_some(number as u64)?)
}

/// Whether a JSON text is an object with predictions or samples; also true for
/// a text that is no JSON.
fn is_prediction_file(text: &str) -> bool {
    #[derive(Deserialize)]
    struct Keys {
        #[serde(default)]
        predictions: Option<IgnoredAny>,
        #[serde(default)]
        samples: Option<IgnoredAny>,
    }
    match serde_json::from_str::<Keys>(text) {
        Ok(keys) => keys.predictions.is_some() || keys.samples.is_some(),
        Err(error) => !error.is_data(),
    }
}

fn parse_fields(text: &str) -> serde_json::Result<FileFields> {
    let mut json = serde_json::Deserializer::from_str(text);
    let file = Fields.deserialize(&mut json)?;
    json.end()?;
    Ok(file)
}

#[derive(Default)]
struct FileFields {
    version: Option<Value>,
    file: ModelPredictions,
    has_predictions: bool,
    has_samples: bool,
}

/// Reads the object of a file.
struct Fields;

impl<'de> DeserializeSeed<'de> for Fields {
    type Value = FileFields;

    fn deserialize<D: Deserializer<'de>>(
        self,
        input: D,
    ) -> std::result::Result<FileFields, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = FileFields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<FileFields, A::Error> {
        let mut fields = FileFields::default();
        let file = &mut fields.file;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "version" => {
                    let version: Value = map.next_value()?;
                    file.names.insert("version".to_owned(), version.clone());
                    fields.version = Some(version);
                }
                name @ ("model" | "model_dir" | "model_name") => {
                    let value: String = map.next_value()?;
                    file.names.insert(name.to_owned(), value.clone().into());
                    match name {
                        "model" => file.model = value,
                        "model_dir" => file.model_dir = value,
                        _ => file.model_name = value,
                    }
                }
                "model_cfg" => file.model_cfg = map.next_value()?,
                "infer_cfg" => file.infer_cfg = map.next_value()?,
                "guide_targets" => file.guide_targets = map.next_value()?,
                "vocab_targets" => file.vocab_targets = map.next_value()?,
                "samples" => {
                    file.samples = map.next_value()?;
                    fields.has_samples = true;
                }
                "predictions" => {
                    file.predictions = map.next_value_seed(Configurations)?;
                    fields.has_predictions = true;
                }
                other => {
                    let value = map.next_value()?;
                    file.rest.insert(other.to_owned(), value);
                }
            }
        }
        Ok(fields)
    }
}

struct Configurations;

impl<'de> DeserializeSeed<'de> for Configurations {
    type Value = Vec<ConfigurationPredictions>;

    fn deserialize<D: Deserializer<'de>>(
        self,
        input: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Configurations {
    type Value = Vec<ConfigurationPredictions>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of generation configurations")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        let mut found: Vec<ConfigurationPredictions> = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let mut entry = map.next_value_seed(Configuration)?;
            entry.name = name;
            match found.iter_mut().find(|known| known.name == entry.name) {
                Some(known) => *known = entry,
                None => found.push(entry),
            }
        }
        Ok(found)
    }
}

struct Configuration;

impl<'de> DeserializeSeed<'de> for Configuration {
    type Value = ConfigurationPredictions;

    fn deserialize<D: Deserializer<'de>>(
        self,
        input: D,
    ) -> std::result::Result<Self::Value, D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Configuration {
    type Value = ConfigurationPredictions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `gen_cfg`, `pred`, `score` and `result`")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Self::Value, A::Error> {
        use serde::de::Error as _;
        let mut entry = ConfigurationPredictions::default();
        let mut topk = None;
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "gen_cfg" => {
                    entry.gen_cfg = map.next_value()?;
                    topk = entry.gen_cfg.get("topk").and_then(Value::as_u64);
                    if topk.is_none() {
                        return Err(A::Error::custom("gen_cfg.topk is no whole number"));
                    }
                }
                "pred" => entry.nouns = map.next_value_seed(NounRowsSeed)?,
                "score" => {
                    entry.scores = map.next_value_seed(NumberRowsSeed)?;
                    entry.has_scores = true;
                }
                "result" => {
                    entry.results = map.next_value_seed(NumberRowsSeed)?;
                    entry.has_results = true;
                }
                other => {
                    let value = map.next_value()?;
                    entry.percentages.insert(other.to_owned(), value);
                }
            }
        }
        // Files of other tools may hold predictions alone.
        let longest = (0..entry.nouns.len())
            .map(|row| entry.nouns.places(row))
            .max();
        entry.topk = match topk {
            Some(topk) => usize::try_from(topk).unwrap_or(usize::MAX),
            None => longest.unwrap_or(0),
        };
        Ok(entry)
    }
}

impl<'de> Deserialize<'de> for NounList {
    fn deserialize<D: Deserializer<'de>>(input: D) -> std::result::Result<Self, D::Error> {
        input.deserialize_seq(NounListVisitor)
    }
}

struct NounListVisitor;

impl<'de> Visitor<'de> for NounListVisitor {
    type Value = NounList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of nouns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<NounList, A::Error> {
        let mut list = NounList {
            present: true,
            ..NounList::default()
        };
        let mut hasher = blake3::Hasher::new();
        while let Some(noun) = seq.next_element::<Cow<'de, str>>()? {
            hasher.update(&(noun.len() as u64).to_le_bytes());
            hasher.update(noun.as_bytes());
            list.len += 1;
            // As many as the longest cell could show, were they empty.
            if list.first.len() < 12 {
                list.first.push(noun.into_owned());
            }
        }
        list.hash = Some(hasher.finalize());
        Ok(list)
    }
}

impl NounList {
    /// The beginning of the list in Python's notation; the whole if it is
    /// short.
    pub fn python(&self) -> String {
        let text = python_list(&self.first);
        if self.len > self.first.len() {
            let open = text.strip_suffix(']').unwrap_or(&text);
            format!("{open}, …")
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(predictions: &str) -> String {
        format!(
            r#"{{"version": 1, "model": "d/m", "samples": ["a", "b"], "vocab_targets": ["x"],
                "predictions": {{"g": {predictions}}}}}"#
        )
    }

    #[test]
    fn errors_name_the_place_in_the_file() {
        for (text, expected) in [
            (file("{}"), "predictions.g.pred: 0 rows for 2 samples"),
            (
                file(r#"{"gen_cfg": {"topk": "2"}}"#),
                "gen_cfg.topk is no whole number",
            ),
            (
                file(r#"{"gen_cfg": {"topk": 1}, "pred": [["x"], [1]]}"#),
                "predictions.g.pred[1][0]: invalid type",
            ),
            (
                file(
                    r#"{"gen_cfg": {"topk": 1}, "pred": [["x"]], "score": [[1]], "result": [[1]]}"#,
                ),
                "predictions.g.pred: 1 rows for 2 samples",
            ),
            (
                file(
                    r#"{"gen_cfg": {"topk": 1}, "pred": [["x"], ["x"]], "score": [[1], []], "result": [[1], [1]]}"#,
                ),
                "predictions.g.score[1]: 0 entries for 1 predictions of sample b",
            ),
            (
                file(
                    r#"{"gen_cfg": {"topk": 1}, "pred": [["x"], ["x"]], "score": [[1], [1]], "result": [[1], [4]]}"#,
                ),
                "predictions.g.result[1]: 4 is none of 0 to 3",
            ),
            (
                r#"{"version": 3, "samples": [], "predictions": {}}"#.to_owned(),
                "version 3 is unknown",
            ),
            (
                r#"{"version": 1, "samples": []}"#.to_owned(),
                "no `predictions`",
            ),
            (
                r#"{"version": 1, "samples": [}"#.to_owned(),
                "line 1 column 28",
            ),
        ] {
            let error = ModelPredictions::parse(&text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn other_json_is_told_apart() {
        for text in ["[]", "{\"a.png\": {}}", "3"] {
            assert!(ModelPredictions::parse(text).unwrap().is_none(), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_and_missing_nouns_are_read() {
        let text = file(
            r#"{"gen_cfg": {"topk": 2}, "valid": [NaN], "pred": [["x", null], ["y", "x"]],
                "score": [[-Infinity, null], [0.5, 0.25]], "result": [[3, 3], [1, 2]]}"#,
        );
        let file = ModelPredictions::parse(&text).unwrap().unwrap();
        let entry = file.under("g").unwrap();
        assert_eq!(entry.row(0).count(), 1);
        let row: Vec<_> = entry.row(1).map(|(noun, score, _)| (noun, score)).collect();
        assert_eq!(row, [("y", 0.5), ("x", 0.25)]);
        assert_eq!(file.vocab_targets.len, 1);
    }
}
