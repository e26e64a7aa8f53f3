//! The reference models.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use novic::config::schema::{Config, Model, key_by_flat_name};
use novic::decoder::{Decoder, Dimensions};
use serde_json::{Map, Value};

use super::tensors::TensorFile;
use crate::golden;

/// One model with its entry in `models.json`.
pub struct GoldenModel {
    pub name: String,
    pub entry: Value,
    pub decoder: Decoder,
}

/// The `[model]` section of flat keys.
pub fn model_config(flat: &Map<String, Value>) -> Model {
    let mut config = Config::default();
    for (name, value) in flat {
        let key = key_by_flat_name(name).unwrap_or_else(|| panic!("unknown key {name}"));
        config
            .set(key.path, value)
            .unwrap_or_else(|e| panic!("cannot set {name}: {e}"));
    }
    config.model
}

pub fn size(value: &Value) -> usize {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no size")) as usize
}

pub fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

pub fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

pub fn texts(value: &Value) -> Vec<String> {
    list(value).iter().map(|v| text(v).to_owned()).collect()
}

pub fn ids(value: &Value) -> Vec<u32> {
    list(value).iter().map(|v| size(v) as u32).collect()
}

/// All models with their trained weights.
pub fn load() -> Vec<GoldenModel> {
    let models = golden::json("decoder", "models.json");
    let models = models.as_object().expect("models by name");
    assert!(!models.is_empty());
    models
        .iter()
        .map(|(name, entry)| {
            let decoder = untrained(entry);
            let weights = TensorFile::open(&format!("models/{name}.safetensors"));
            decoder
                .load_state_dict(&state_dict(&weights))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            GoldenModel {
                name: name.clone(),
                entry: entry.clone(),
                decoder,
            }
        })
        .collect()
}

pub fn by_name() -> HashMap<String, GoldenModel> {
    load()
        .into_iter()
        .map(|model| (model.name.clone(), model))
        .collect()
}

pub fn untrained(entry: &Value) -> Decoder {
    let config = model_config(entry["cfg"].as_object().expect("flat keys"));
    let target = &entry["target_config"];
    let dimensions = Dimensions {
        embed_dim: size(&entry["embed_dim"]),
        vocab_size: size(&target["vocab_size"]),
        token_length: size(&target["token_length"]),
    };
    Decoder::new(&config, dimensions, 1).expect("a model of the reference can be built")
}

pub fn state_dict(file: &TensorFile) -> HashMap<String, Tensor> {
    file.names()
        .into_iter()
        .map(|name| {
            let array = file.require(&name);
            let tensor = Tensor::from_vec(array.f32(), array.shape.as_slice(), &Device::Cpu);
            (name, tensor.expect("shape and values agree"))
        })
        .collect()
}
