//! The state file of annotation by a model: images, opinions, batches that are
//! under way (`annotation.md` 5).
//!
//! Version 1 is the original's; version 2 has the same and what was asked of
//! whom, what could not be had, and what was spent. Both are written as text
//! with sorted keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::failures::Failures;
use super::journal::Seen;
use super::opinions::OpinionRule;
use crate::annotate::error::{AnnotateError, Result};
use crate::evaluate::json_text;
use crate::net::llm::{AnswerForm, LimitName, LlmClient, Price, Usage, Written};

/// Member of a batch under way that says how far it is.
const SEEN: &str = "seen";

/// Members of a batch under way that the original does not have.
const OWN: [&str; 2] = [SEEN, "written"];

/// Versions of state files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFormat {
    /// That of the original.
    One,
    /// With more about the questions.
    Two,
}

impl StateFormat {
    fn number(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// What is asked about: directories and images.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// Where batch files are put, relative to the state file.
    pub batch_dir: String,
    /// Directory of the images, relative to the state file.
    pub images_dir: String,
    /// Directory of their small copies, relative to the state file.
    pub images_small_dir: String,
    /// File names of the images, sorted by code points.
    pub images: Vec<String>,
    /// File names of the small copies, in the same order.
    pub images_small: Vec<String>,
    /// Model that is asked.
    pub model: String,
    /// When opinions are enough.
    pub rule: OpinionRule,
}

/// How questions were asked, which must not change under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Address of the service.
    pub endpoint: Option<String>,
    /// Name of the prompt.
    pub prompt_id: Option<String>,
    /// SHA-256 of its text.
    pub prompt_sha256: Option<String>,
    /// `single` or `batch`, whichever was used last.
    pub mode: Option<String>,
    /// Form of answers that the service knows.
    pub answer: Option<AnswerForm>,
    /// Name that the service has for the limit of an answer.
    pub limit: Option<LimitName>,
    /// Parameters that the service does not know.
    pub dropped: BTreeSet<String>,
}

impl Asked {
    /// What was found out about the service at an address.
    pub fn known(&self, endpoint: &str) -> Option<Written> {
        let is_same = self.endpoint.as_deref() == Some(endpoint);
        let answer = self.answer.filter(|_| is_same)?;
        Some(Written {
            answer,
            limit: self.limit.unwrap_or_default(),
            dropped: self.dropped.clone(),
        })
    }

    /// Keeps what was found out about the service, if anything was.
    pub fn remember(&mut self, client: &LlmClient) {
        let endpoint = client.address();
        let known = client.known().or_else(|| self.known(&endpoint));
        self.endpoint = Some(endpoint);
        self.answer = known.as_ref().map(|known| known.answer);
        self.limit = known.as_ref().map(|known| known.limit);
        self.dropped = known.map(|known| known.dropped).unwrap_or_default();
    }
}

/// What is known about one image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageRecord {
    /// Opinions about nouns, in order of arrival.
    pub opinions: BTreeMap<String, Vec<bool>>,
    /// How often each description was given.
    pub descriptions: BTreeMap<String, u64>,
}

/// A state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What is asked about.
    pub meta: Meta,
    /// How.
    pub asked: Asked,
    /// One record per image.
    pub records: Vec<ImageRecord>,
    /// Counters: `requests`, and the integers of answers' `usage`.
    pub usage: BTreeMap<String, u64>,
    /// What was paid, as far as prices are known, in USD.
    pub cost: f64,
    /// Batches under way, as they are written.
    pub pending: Vec<Value>,
    /// Pairs whose questions failed.
    pub failures: Failures,
    /// Prices that were counted with: input, cached input, output.
    pub prices: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(rename = "_meta")]
    meta: ContentMeta,
    #[serde(rename = "_metrics", default)]
    metrics: Metrics,
    annotations: BTreeMap<String, BTreeMap<String, Vec<bool>>>,
    descriptions: BTreeMap<String, BTreeMap<String, u64>>,
    #[serde(default)]
    pending: Pending,
    #[serde(default)]
    failures: Failures,
    #[serde(default)]
    prices: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct ContentMeta {
    #[serde(rename = "_version")]
    version: u64,
    batch_dir: String,
    confidence: f64,
    count: usize,
    images: Vec<String>,
    images_dir: String,
    images_small: Vec<String>,
    images_small_dir: String,
    model: String,
    opinions_max: u32,
    opinions_min: u32,
    #[serde(default)]
    asked: Asked,
}

#[derive(Default, Deserialize)]
struct Metrics {
    #[serde(default)]
    usage: BTreeMap<String, u64>,
    #[serde(default)]
    cost: f64,
}

#[derive(Default, Deserialize)]
struct Pending {
    #[serde(default)]
    annotate_batch: Vec<Value>,
}

impl State {
    /// A state without any opinion.
    pub fn new(meta: Meta) -> Self {
        Self {
            records: vec![ImageRecord::default(); meta.images.len()],
            meta,
            asked: Asked::default(),
            usage: BTreeMap::new(),
            cost: 0.0,
            pending: Vec::new(),
            failures: Failures::default(),
            prices: None,
        }
    }

    /// Reads a state from the text of its file. Returns its version, too.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> std::result::Result<(Self, StateFormat), String> {
        let content: Content = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let meta = content.meta;
        let format = match meta.version {
            1 => StateFormat::One,
            2 => StateFormat::Two,
            other => {
                return Err(format!(
                    "it has version {other}; this program knows 1 and 2, a newer novic may know it"
                ));
            }
        };
        if meta.count != meta.images.len() || meta.count != meta.images_small.len() {
            return Err(format!(
                "it says that there are {} images, but lists {} and {} small ones",
                meta.count,
                meta.images.len(),
                meta.images_small.len()
            ));
        }
        if meta.images.is_empty() {
            return Err("it has no images".to_owned());
        }
        if !meta.images.is_sorted_by(|a, b| a < b) {
            return Err("its images are not sorted".to_owned());
        }
        if !content.annotations.keys().eq(meta.images.iter())
            || !content.descriptions.keys().eq(meta.images.iter())
        {
            return Err("its annotations or descriptions are of other images".to_owned());
        }
        let rule = OpinionRule::new(meta.opinions_min, meta.opinions_max, meta.confidence)
            .map_err(|error| error.to_string())?;
        let records = content
            .annotations
            .into_values()
            .zip(content.descriptions.into_values())
            .map(|(opinions, descriptions)| ImageRecord {
                opinions,
                descriptions,
            });
        let state = Self {
            records: records.collect(),
            meta: Meta {
                batch_dir: meta.batch_dir,
                images_dir: meta.images_dir,
                images_small_dir: meta.images_small_dir,
                images: meta.images,
                images_small: meta.images_small,
                model: meta.model,
                rule,
            },
            asked: meta.asked,
            usage: content.metrics.usage,
            cost: content.metrics.cost,
            pending: content.pending.annotate_batch,
            failures: content.failures,
            prices: content.prices,
        };
        Ok((state, format))
    }

    /// Reads a state file.
    ///
    /// # Errors
    /// It is missing, cannot be read, or is something else.
    pub fn load(path: &Path) -> Result<(Self, StateFormat)> {
        let bytes = std::fs::read(path).map_err(AnnotateError::io("read", path))?;
        Self::of_bytes(path, &bytes)
    }

    /// The state that the file at `path` has as its content.
    pub(super) fn of_bytes(path: &Path, bytes: &[u8]) -> Result<(Self, StateFormat)> {
        let wrong = |reason: String| AnnotateError::NotState {
            path: path.to_owned(),
            reason,
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        Self::parse(text).map_err(wrong)
    }

    /// The content of the file.
    pub fn text(&self, format: StateFormat) -> String {
        let meta = &self.meta;
        let by_image = |value: &dyn Fn(&ImageRecord) -> Value| -> Value {
            let records = meta.images.iter().zip(&self.records);
            records
                .map(|(image, record)| (image.clone(), value(record)))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut value = json!({
            "_meta": {
                "_version": format.number(),
                "batch_dir": meta.batch_dir,
                "confidence": meta.rule.confidence(),
                "count": meta.images.len(),
                "images": meta.images,
                "images_dir": meta.images_dir,
                "images_small": meta.images_small,
                "images_small_dir": meta.images_small_dir,
                "model": meta.model,
                "opinions_max": meta.rule.max(),
                "opinions_min": meta.rule.min(),
            },
            "_metrics": {"usage": self.usage},
            "annotations": by_image(&|record| json!(record.opinions)),
            "descriptions": by_image(&|record| json!(record.descriptions)),
            "pending": {"annotate_batch": self.pending},
        });
        if format == StateFormat::Two {
            value["_meta"]["asked"] = json!(self.asked);
            value["_metrics"]["cost"] = json!(self.cost);
            value["failures"] = json!(self.failures);
            value["prices"] = json!(self.prices);
        } else {
            let pending = value["pending"]["annotate_batch"].as_array_mut();
            for batch in pending.into_iter().flatten() {
                if let Some(batch) = batch.as_object_mut() {
                    batch.retain(|name, _| !OWN.contains(&name.as_str()));
                }
            }
        }
        value.sort_all_objects();
        json_text(&value)
    }

    /// Index of an image.
    pub fn image(&self, name: &str) -> Option<usize> {
        let images = &self.meta.images;
        images
            .binary_search_by(|image| image.as_str().cmp(name))
            .ok()
    }

    /// The small copy of an image, for a state file in the directory `beside`.
    pub fn small_image(&self, beside: &Path, image: usize) -> PathBuf {
        let folder = beside.join(&self.meta.images_small_dir);
        folder.join(&self.meta.images_small[image])
    }

    /// How many more opinions a pair needs.
    pub fn need(&self, image: usize, noun: &str) -> usize {
        let opinions = self.records[image].opinions.get(noun);
        self.meta.rule.need_of(opinions.map_or(&[], Vec::as_slice))
    }

    /// Takes the verdicts of an answer: opinions only where they are needed.
    pub fn record(&mut self, image: usize, nouns: &[String], verdicts: &[bool], description: &str) {
        let rule = self.meta.rule;
        let record = &mut self.records[image];
        for (noun, verdict) in nouns.iter().zip(verdicts) {
            let opinions = record.opinions.get(noun).map_or(&[][..], Vec::as_slice);
            if rule.need_of(opinions) > 0 {
                record
                    .opinions
                    .entry(noun.clone())
                    .or_default()
                    .push(*verdict);
            }
        }
        *record
            .descriptions
            .entry(description.to_owned())
            .or_default() += 1;
    }

    /// Counts an answer, of use or not, with the integers of its usage.
    pub fn count(&mut self, counters: &BTreeMap<String, u64>, cost: f64) {
        for (name, number) in counters {
            // The name of our own counter is none of theirs.
            if name != "requests" {
                let sum = self.usage.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*number);
            }
        }
        *self.usage.entry("requests".to_owned()).or_default() += 1;
        self.cost += cost;
    }

    /// The service has told how far a batch is.
    pub(super) fn see(&mut self, id: &str, seen: &Seen) {
        for batch in &mut self.pending {
            if batch["remote_batch"] == id {
                batch[SEEN] = json!(seen);
            }
        }
    }

    /// How far a batch under way was when the service told it last.
    pub fn seen(batch: &Value) -> Option<Seen> {
        Seen::deserialize(&batch[SEEN]).ok()
    }

    /// Questions of all batches under way: all, answered and failed ones.
    pub fn in_batches(&self) -> [u64; 3] {
        let mut sum = [0; 3];
        for batch in &self.pending {
            let lists = batch["request_lists"].as_array();
            let all = lists.map_or(0, |lists| lists.len() as u64);
            let [_, answered, failed] = Self::seen(batch)
                .and_then(|seen| seen.counts)
                .unwrap_or_default();
            sum = [sum[0] + all, sum[1] + answered, sum[2] + failed];
        }
        sum
    }

    /// Tokens of all answers.
    pub fn tokens(&self) -> Usage {
        let count = |name: &str| self.usage.get(name).copied().unwrap_or(0);
        Usage {
            prompt_tokens: count("prompt_tokens"),
            cached_tokens: 0,
            completion_tokens: count("completion_tokens"),
        }
    }

    /// What was paid: as counted, or else as the tokens say.
    pub fn paid(&self, price: Option<Price>) -> f64 {
        match price {
            Some(price) if self.cost == 0.0 => price.cost(&self.tokens()),
            _ => self.cost,
        }
    }

    /// Number of opinions.
    pub fn opinions(&self) -> usize {
        let of = |record: &ImageRecord| record.opinions.values().map(Vec::len).sum::<usize>();
        self.records.iter().map(of).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A state of images about which nothing is known.
    pub(in crate::annotate::gpt) fn state_of(images: &[&str]) -> State {
        State::new(Meta {
            batch_dir: "batches".to_owned(),
            images_dir: ".".to_owned(),
            images_small_dir: "512px".to_owned(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            images_small: images.iter().map(|image| format!("{image}.jpg")).collect(),
            model: "m".to_owned(),
            rule: OpinionRule::new(3, 5, 0.78).expect("a rule"),
        })
    }

    #[test]
    fn what_is_known_of_a_service_is_known_of_no_other() {
        let asked: Asked = serde_json::from_value(json!({
            "endpoint": "http://one/v1", "mode": null, "answer": "json",
            "limit": "max_completion_tokens", "dropped": ["seed"],
        }))
        .unwrap();
        let known = asked.known("http://one/v1").unwrap();
        assert_eq!(known.answer, AnswerForm::Json);
        assert_eq!(known.limit, LimitName::MaxCompletionTokens);
        assert!(known.dropped.contains("seed"));
        assert_eq!(asked.known("http://two/v1"), None);
        // As earlier versions wrote it.
        let earlier = json!({"endpoint": "http://one/v1", "answer": "text"});
        let earlier: Asked = serde_json::from_value(earlier).unwrap();
        let known = earlier.known("http://one/v1").unwrap();
        assert_eq!(known.limit, LimitName::MaxTokens);
    }
}
