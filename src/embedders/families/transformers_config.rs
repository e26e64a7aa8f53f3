//! What the models of the transformers library share: `config.json`, the text
//! of their configuration objects, weight files that may be sharded
//! (`embedders.md` sections 2.3 and 6).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::embedders::error::EmbedderError;
use crate::embedders::files::ModelFiles;
use crate::embedders::json_fields::Fields;
use crate::embedders::python_json;
use crate::embedders::spec::EmbedderSpec;
use crate::ops::linear::Activation;

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Version of the library whose configuration objects are hashed.
const LIBRARY_VERSION: &str = "4.38.2";

/// Keys that the library merges into the parts.
const MERGED: [&str; 2] = ["text_config_dict", "vision_config_dict"];

/// Defaults of the library's configuration classes.
const DEFAULTS: &str = include_str!("transformers_defaults.json");

/// `model_type` of a model's configuration.
pub(super) fn model_type(files: &ModelFiles) -> Result<String, EmbedderError> {
    let config = files.read_json(CONFIG)?;
    match config.get("model_type").and_then(Value::as_str) {
        Some(name) => Ok(name.to_owned()),
        None => Err(EmbedderError::BadFile {
            path: files.path(CONFIG),
            reason: "model_type is missing".to_owned(),
        }),
    }
}

/// A parsed `config.json` with its two parts.
pub(super) struct TransformersConfig {
    pub json: Value,
    pub text: Value,
    pub vision: Value,
}

impl TransformersConfig {
    pub(super) fn read(files: &ModelFiles) -> Result<Self, EmbedderError> {
        let json = files.read_json(CONFIG)?;
        let object = |name: &str| match json.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(part)) => Ok(part.clone()),
            Some(_) => Err(EmbedderError::BadFile {
                path: files.path(CONFIG),
                reason: format!("{name} is not an object"),
            }),
        };
        let part = |name: &str| -> Result<Value, EmbedderError> {
            let mut part = object(name)?;
            part.extend(object(&format!("{name}_dict"))?);
            Ok(Value::Object(part))
        };
        Ok(Self {
            text: part("text_config")?,
            vision: part("vision_config")?,
            json,
        })
    }
}

/// `hidden_act`.
pub(super) fn activation(
    fields: &mut Fields<'_>,
    default: &'static str,
) -> Result<Activation, EmbedderError> {
    match fields.text("hidden_act", default)? {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "silu" | "swish" => Ok(Activation::Silu),
        "relu" => Ok(Activation::Relu),
        _ => Err(fields.bad(
            "hidden_act",
            "one of gelu, quick_gelu, gelu_new, gelu_pytorch_tanh, silu, relu",
        )),
    }
}

/// A positive ε.
pub(super) fn eps(
    fields: &mut Fields<'_>,
    key: &'static str,
    default: f64,
) -> Result<f64, EmbedderError> {
    let eps = fields.number(key, default)?;
    if eps > 0.0 && eps < 1.0 {
        Ok(eps)
    } else {
        Err(fields.bad(key, "a small positive number"))
    }
}

/// Heads that divide the width.
pub(super) fn heads(
    fields: &mut Fields<'_>,
    width: usize,
    default: usize,
) -> Result<usize, EmbedderError> {
    let heads = fields.count("num_attention_heads", default, width)?;
    if width.is_multiple_of(heads) {
        Ok(heads)
    } else {
        Err(fields.bad("num_attention_heads", "a divisor of hidden_size"))
    }
}

/// Names of the weight files.
pub(super) fn weight_files(files: &ModelFiles) -> Result<Vec<String>, EmbedderError> {
    let Some(name) = WEIGHTS.into_iter().find(|name| files.has(name)) else {
        return Ok(Vec::new());
    };
    if !name.ends_with(".index.json") {
        return Ok(vec![name.to_owned()]);
    }
    let bad = |reason: &str| EmbedderError::BadFile {
        path: files.path(name),
        reason: reason.to_owned(),
    };
    let index = files.read_json(name)?;
    let map = index.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| bad("weight_map is missing"))?;
    let mut shards = BTreeSet::new();
    for file in map.values() {
        let file = file
            .as_str()
            .filter(|file| !file.contains(['/', '\\']) && !file.starts_with('.'))
            .ok_or_else(|| bad("a shard is no plain file name"))?;
        shards.insert(file.to_owned());
    }
    let missing: Vec<String> = shards
        .iter()
        .filter(|shard| !files.has(shard))
        .cloned()
        .collect();
    if missing.is_empty() {
        Ok(shards.into_iter().collect())
    } else {
        let folder = files.path(name);
        Err(EmbedderError::Incomplete {
            folder: folder.parent().unwrap_or(Path::new("")).to_owned(),
            missing,
        })
    }
}

/// The object that enters cache hashes; `config` after the corrections that
/// the original makes.
pub(super) fn configuration(
    spec: &EmbedderSpec,
    class: &str,
    config: &TransformersConfig,
) -> Value {
    let all: Value = serde_json::from_str(DEFAULTS).unwrap_or_default();
    let defaults = |name: &str| -> Map<String, Value> {
        [&all["PretrainedConfig"], &all[name]]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(Map::clone)
            .collect()
    };
    // The library shows what differs from the defaults of all its models, and
    // of the parts what differs from their own defaults.
    let general = defaults("");
    let mut shown = defaults(class);
    if let Some(given) = config.json.as_object() {
        shown.extend(
            given
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
    }
    shown.retain(|key, value| !MERGED.contains(&key.as_str()) && general.get(key) != Some(value));
    for (key, part) in [
        ("text_config", &config.text),
        ("vision_config", &config.vision),
    ] {
        let name = format!("{class}.{key}");
        let known = defaults(&name);
        let mut part: Map<String, Value> = part.as_object().map_or_else(Map::new, |part| {
            part.iter()
                .filter(|(key, value)| known.get(*key) != Some(value))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        });
        part.remove("transformers_version");
        part.insert("model_type".to_owned(), all[&name]["model_type"].clone());
        shown.insert(key.to_owned(), Value::Object(part));
    }
    shown.insert("_name_or_path".to_owned(), spec.name().into());
    shown.insert("model_type".to_owned(), all[class]["model_type"].clone());
    shown.insert("transformers_version".to_owned(), LIBRARY_VERSION.into());
    let text = python_json::sorted_and_indented(&Value::Object(shown));
    json!({
        "amp_dtype": "None",
        "class": "TransformersEmbedder",
        "device_type": "cpu",
        "model_config": format!("{class} {text}\n"),
        "model_id": spec.name(),
    })
}
