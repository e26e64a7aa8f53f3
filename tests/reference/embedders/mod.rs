//! Embedders against the reference (`tests/golden/embedders`): tokenizers,
//! towers, image transforms, data sets, zero-shot runs.

mod damage;
mod datasets;
mod models;
mod pictures;
mod texts;
mod zero_shot;

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{Device, Tensor};
use novic::embedders::{Embedder, EmbedderSpec, OpenOptions, Precision};
use serde_json::Value;

use crate::golden;

const AREA: &str = "embedders";

fn path(file: &str) -> PathBuf {
    golden::area(AREA).join(file)
}

fn tensors(file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path(file), &Device::Cpu)
        .unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

fn ids(value: &Value) -> Vec<i64> {
    list(value)
        .iter()
        .map(|id| id.as_i64().expect("an id"))
        .collect()
}

fn worst_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let difference = (a - b).unwrap().abs().unwrap();
    difference
        .flatten_all()
        .unwrap()
        .max(0)
        .unwrap()
        .to_scalar()
        .unwrap()
}

/// A model of the reference data, opened as a local folder or archive.
struct Model {
    name: String,
    entry: Value,
    embedder: Embedder,
    /// Largest difference of a component of a unit vector.
    tolerance: f32,
}

/// All models; every one has to open.
fn models() -> Vec<Model> {
    let entries = golden::json(AREA, "models.json");
    let models: Vec<Model> = list(&entries)
        .iter()
        .map(|entry| {
            let name = text(&entry["model"]).to_owned();
            let embedder = open(&name, text(&entry["spec"]));
            // ALIGN and residual networks are allowed more.
            let family = embedder.description().family;
            let tensors = entry["tensors"].as_object();
            let is_convolutional = family == "ALIGN"
                || tensors
                    .is_some_and(|tensors| tensors.keys().any(|key| key.contains("attnpool")));
            Model {
                name,
                entry: entry.clone(),
                embedder,
                tolerance: if is_convolutional { 5e-5 } else { 2e-5 },
            }
        })
        .collect();
    assert!(!models.is_empty());
    models
}

/// The model of a file or folder; `spec` tells the kind.
fn open(name: &str, spec: &str) -> Embedder {
    open_in(name, spec, Precision::Single, &Device::Cpu)
}

/// The same with matrices in this precision, on a device.
fn open_in(name: &str, spec: &str, precision: Precision, device: &Device) -> Embedder {
    let kind = spec.split_once(':').expect("TYPE:NAME").0;
    let extension = if kind == "openai" { ".pt" } else { "" };
    let place = path(&format!("models/{name}{extension}"));
    let spec: EmbedderSpec = format!("{kind}:{}", place.display())
        .parse()
        .expect("a specification");
    let options = OpenOptions {
        timm_models: Some(path("timm_models.json")),
        openai_merges: Some(path("models/openai_bpe.txt.gz")),
        precision,
        device: device.clone(),
        ..OpenOptions::default()
    };
    Embedder::open_with(&spec, &options).unwrap_or_else(|error| panic!("{name}: {error}"))
}
