//! Which parameters a stored configuration has: what numbers in optimizer
//! states and the order of state dictionaries refer to.

use candle_core::Tensor;
use safetensors::Dtype;
use serde_json::{Map, Value as Json};

use super::Problem;
use crate::config::schema::{Config, ModelType, key_by_flat_name};
use crate::decoder::{Architecture, Dimensions, ParameterLayout};
use crate::pickle::{Archive, TensorInfo};

/// The typed configuration of a flat one. Keys that the program does not have
/// are left out; so are values of keys that are no part of the model and that
/// it cannot read.
pub(super) fn config(flat: &Map<String, Json>) -> Result<Config, Problem> {
    let mut config = Config::default();
    for (name, value) in flat {
        let Some(key) = key_by_flat_name(name) else {
            continue;
        };
        // Always true there, whether or not metrics were sent.
        if name == "wandb" {
            continue;
        }
        if let Err(error) = config.set(key.path, value)
            && (key.structural || key.restored)
        {
            return Err(Problem::content(format!(
                "its configuration has {name} = {value}: {error}"
            )));
        }
    }
    Ok(config)
}

/// Parameters and state dictionary of a configuration; none for the decoder
/// without parameters.
pub(super) fn layout(
    config: &Config,
    dimensions: Dimensions,
) -> Result<Option<ParameterLayout>, Problem> {
    if config.model.r#type == ModelType::DudDecoder {
        return Ok(None);
    }
    let architecture = Architecture::new(&config.model, dimensions)?;
    Ok(Some(ParameterLayout::new(&architecture)))
}

/// Reads an f32 tensor.
pub(super) fn f32_tensor(archive: &Archive, info: &TensorInfo) -> Result<Tensor, Problem> {
    let values = f32_values(archive, info)?;
    let shape = info.shape.as_slice();
    Ok(Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?)
}

/// Reads the elements of an f32 tensor.
pub(super) fn f32_values(archive: &Archive, info: &TensorInfo) -> Result<Vec<f32>, Problem> {
    if info.storage.dtype != Dtype::F32 {
        return Err(Problem::content(format!(
            "a tensor of type {:?} stands where f32 should",
            info.storage.dtype
        )));
    }
    let data = archive.tensor(info)?;
    let (chunks, _) = data.bytes.as_chunks::<4>();
    Ok(chunks
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect())
}

/// Reads the elements of an i64 or i32 tensor.
pub(super) fn integers(archive: &Archive, info: &TensorInfo) -> Result<Vec<i64>, Problem> {
    let data = archive.tensor(info)?;
    match data.dtype {
        Dtype::I64 => {
            let (chunks, _) = data.bytes.as_chunks::<8>();
            Ok(chunks
                .iter()
                .map(|bytes| i64::from_le_bytes(*bytes))
                .collect())
        }
        Dtype::I32 => {
            let (chunks, _) = data.bytes.as_chunks::<4>();
            let wide = chunks.iter().map(|bytes| i32::from_le_bytes(*bytes).into());
            Ok(wide.collect())
        }
        other => Err(Problem::content(format!(
            "a tensor of type {other:?} stands where whole numbers should"
        ))),
    }
}
