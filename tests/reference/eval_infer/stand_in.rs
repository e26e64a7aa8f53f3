//! The stand-in embedder of the reference data, and its decoders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use image::RgbImage;
use novic::embedders::EmbedderError;
use novic::embedders::tokenizer::TextTokenizer;
use novic::infer::{EmbeddingModel, NounDecoder, TrainedDecoder};
use novic::train::exchange;
use serde_json::Value;

use super::AREA;
use super::models::model;
use crate::golden;

/// Returns stored vectors: the row that the first pixel of a picture names,
/// and the row of each text.
pub struct StandIn {
    dim: usize,
    values: Vec<f32>,
    texts: HashMap<String, usize>,
    tokenizer: Arc<dyn TextTokenizer>,
}

impl StandIn {
    /// The embedder of a model; all models have the same vectors.
    pub fn of(model_name: &str) -> Self {
        let tensors = golden::tensors(AREA, "embeddings.safetensors");
        let tensor = tensors.get("embeddings");
        let samples = golden::json(AREA, "samples.json");
        let texts = samples["texts"].as_array().unwrap().iter();
        Self {
            dim: tensor.shape[1],
            values: tensor.f32s(),
            texts: texts
                .map(|text| (text["text"].as_str().unwrap().to_owned(), row(&text["row"])))
                .collect(),
            tokenizer: Arc::new(model(model_name).0),
        }
    }

    /// Stored vectors `[B, F]`.
    pub fn rows(&self, rows: &[usize]) -> Tensor {
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|row| self.values[row * self.dim..][..self.dim].iter().copied())
            .collect();
        Tensor::from_vec(values, (rows.len(), self.dim), &Device::Cpu).unwrap()
    }

    /// The row of a text.
    pub fn text_row(&self, text: &str) -> usize {
        self.texts[text]
    }
}

/// A row number.
pub fn row(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

impl EmbeddingModel for StandIn {
    fn dim(&self) -> usize {
        self.dim
    }

    fn tokenizer(&self) -> Arc<dyn TextTokenizer> {
        self.tokenizer.clone()
    }

    fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
        let rows: Vec<usize> = images
            .iter()
            .map(|image| {
                let pixel = image.get_pixel(0, 0).0;
                usize::from(pixel[0]) + 256 * usize::from(pixel[1])
            })
            .collect();
        Ok(self.rows(&rows))
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        let rows: Vec<usize> = texts.iter().map(|text| self.texts[*text]).collect();
        Ok(self.rows(&rows))
    }
}

/// Names of the models.
pub fn model_names() -> Vec<String> {
    let models = golden::json(AREA, "models.json");
    models.as_object().unwrap().keys().cloned().collect()
}

/// The checkpoint of a model as the original saved it.
pub fn checkpoint(model_name: &str) -> PathBuf {
    let models = golden::json(AREA, "models.json");
    let tail = models[model_name]["tail"].as_str().unwrap();
    golden::area(AREA).join("checkpoints").join(tail)
}

/// The model whose checkpoint this is.
pub fn model_of(path: &str) -> String {
    let mut names = model_names().into_iter();
    names
        .find(|name| {
            let checkpoint = checkpoint(name);
            Path::new(path).file_name() == checkpoint.file_name()
        })
        .unwrap()
}

/// The decoder of a model, read from the original's checkpoint.
pub fn decoder(model_name: &str) -> NounDecoder {
    let path = checkpoint(model_name);
    let trained = TrainedDecoder::of_checkpoint(exchange::load(&path).unwrap(), &path).unwrap();
    NounDecoder::new(trained, Arc::new(model(model_name).0)).unwrap()
}

/// The models of a case, in the order in which a command works on them.
pub fn models_of(config: &Value) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for key in ["load_model", "load_models"] {
        match &config[key] {
            Value::Null => {}
            Value::String(path) => paths.push(path.clone()),
            list => paths.extend(
                list.as_array()
                    .unwrap()
                    .iter()
                    .map(|path| path.as_str().unwrap().to_owned()),
            ),
        }
    }
    paths.sort();
    paths.reverse();
    paths.iter().map(|path| model_of(path)).collect()
}

/// The generation settings of a case.
pub fn generate(config: &Value) -> Value {
    let object = config.as_object().unwrap();
    let keys = object.iter().filter(|(key, _)| key.starts_with("gencfg"));
    Value::Object(
        keys.map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// A number, infinities included.
pub fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no number"))
}
