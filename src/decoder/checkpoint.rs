//! The native checkpoint: one safetensors file with a JSON header
//! (`training.md` section 3.2, `docs/formats.md`).
//!
//! Tensors lie under the names of the state dictionary; other tensors, such as
//! the optimizer's moments, under names with a prefix of their owner. The
//! header is the metadata entry `novic`. Files are published by rename, so a
//! reader never sees half of one.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ops::tape::host;
use crate::store::publish_file;

use super::error::DecoderError;

/// Version this program writes; it reads this and all earlier ones.
pub const FORMAT_VERSION: u32 = 1;

/// Metadata entry of the header.
const HEADER_KEY: &str = "novic";

/// Entry of `extra` in files that store weights of two names once: the name
/// that is left out → the name it shares its weights with.
const SHARED: &str = "shared_weights";

/// Prefixes under which the training room keeps its tensors, apart from the
/// weights.
pub const RESERVED_PREFIXES: [&str; 2] = ["optimizer.", "extra."];

/// Header of a checkpoint: everything that is not a tensor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointHeader {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// Version of the program that wrote the file.
    pub program_version: String,
    /// The flat dictionary of all keys, effective values.
    pub cfg_flat: Map<String, Value>,
    /// The typed configuration.
    pub config: Value,
    /// The twelve fields of the target configuration.
    pub target_config: Value,
    /// The seven fields of the data configuration.
    pub data_config: Value,
    /// Target nouns in id order.
    pub target_nouns: Vec<String>,
    /// Leading target nouns that are no nouns.
    pub num_invalid_target_nouns: usize,
    /// Specification, content identity and metadata of the embedder.
    pub embedder: Value,
    /// Embedding dimension `F`.
    pub embed_dim: usize,
    /// Loop configuration and state, optimizer, schedules, random streams:
    /// absent in weights-only files.
    pub training: Option<Value>,
    /// Further sections by name.
    pub extra: Map<String, Value>,
}

impl CheckpointHeader {
    /// Nouns of the model vocabulary.
    pub fn vocabulary(&self) -> &[String] {
        let invalid = self.num_invalid_target_nouns.min(self.target_nouns.len());
        &self.target_nouns[invalid..]
    }

    /// Whether it has a noun list; old files of the original have none.
    pub fn has_nouns(&self) -> bool {
        !self.target_nouns.is_empty()
    }

    /// Reads the JSON text of a header.
    ///
    /// # Errors
    /// A reason, if it is damaged or written by a newer program.
    pub fn from_text(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let invalid = |error: serde_json::Error| format!("invalid header: {error}");
        let Version { format_version } = serde_json::from_str(text).map_err(invalid)?;
        if format_version > FORMAT_VERSION {
            return Err(format!(
                "written by a newer program (format {format_version}, this one reads up to \
                 {FORMAT_VERSION}): update novic"
            ));
        }
        let header: Self = serde_json::from_str(text).map_err(invalid)?;
        if header.num_invalid_target_nouns > header.target_nouns.len() {
            return Err("invalid header: fewer target nouns than invalid ones".to_owned());
        }
        Ok(header)
    }
}

/// A checkpoint in memory.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Everything that is not a tensor.
    pub header: CheckpointHeader,
    /// Weights under state-dictionary names, other tensors under prefixed ones.
    pub tensors: HashMap<String, Tensor>,
}

struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl safetensors::View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.data).into()
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

fn write_error(path: &Path, reason: impl ToString) -> DecoderError {
    DecoderError::Checkpoint {
        action: "write",
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

fn read_error(path: &Path, reason: impl ToString) -> DecoderError {
    DecoderError::Checkpoint {
        action: "read",
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}

impl Checkpoint {
    /// Weights: the tensors without a reserved prefix.
    pub fn weights(&self) -> HashMap<String, Tensor> {
        self.tensors
            .iter()
            .filter(|(name, _)| {
                !RESERVED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            })
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect()
    }

    /// The same with weights in half precision, which are single again when they
    /// are read, and weights of two names stored once.
    ///
    /// # Errors
    /// Those of the conversion.
    pub fn half(mut self) -> Result<Self, DecoderError> {
        let mut names: Vec<String> = self.tensors.keys().cloned().collect();
        names.sort();
        let mut shared = Map::new();
        let mut kept: Vec<(String, Tensor)> = Vec::new();
        for name in names {
            let Some(tensor) = self.tensors.remove(&name) else {
                continue;
            };
            let mut first = None;
            for (other, weights) in &kept {
                if first.is_none() && same(weights, &tensor)? {
                    first = Some(other.clone());
                }
            }
            match first {
                Some(other) => {
                    shared.insert(name, Value::from(other));
                }
                None => kept.push((name, tensor)),
            }
        }
        for (name, tensor) in kept {
            let stored = match tensor.dtype() {
                DType::F32 => tensor.to_dtype(DType::F16)?,
                _ => tensor,
            };
            self.tensors.insert(name, stored);
        }
        if !shared.is_empty() {
            self.header.extra.insert(SHARED.to_owned(), shared.into());
        }
        Ok(self)
    }

    /// Writes the file beside `path`, syncs it and renames it to `path`.
    ///
    /// # Errors
    /// The directory cannot be written, the disk is full, a tensor has a type
    /// other than f32, f16, i64 and u32.
    pub fn save(&self, path: &Path) -> Result<(), DecoderError> {
        let header = serde_json::to_string(&self.header).map_err(|e| write_error(path, e))?;
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, tensor) in &self.tensors {
            tensors.push((
                name.as_str(),
                bytes(tensor).map_err(|e| write_error(path, e))?,
            ));
        }
        let metadata = HashMap::from([(HEADER_KEY.to_owned(), header)]);
        let content =
            safetensors::serialize(tensors, Some(metadata)).map_err(|e| write_error(path, e))?;

        publish(path, |file| {
            file.write_all(&content).map_err(|error| error.to_string())
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Missing, truncated and foreign files; a newer format version.
    pub fn load(path: &Path) -> Result<Self, DecoderError> {
        let content = std::fs::read(path).map_err(|e| read_error(path, e))?;
        Self::from_bytes(path, &content)
    }

    /// Reads the content of a file; `path` stands for it in errors.
    ///
    /// # Errors
    /// Truncated and foreign content; a newer format version.
    pub fn from_bytes(path: &Path, content: &[u8]) -> Result<Self, DecoderError> {
        let (mut header, file) = parse(path, content)?;
        let mut tensors = HashMap::with_capacity(file.len());
        for (name, view) in file.iter() {
            let tensor = from_bytes(view.dtype(), view.shape(), view.data())
                .map_err(|e| read_error(path, format!("tensor {name}: {e}")))?;
            tensors.insert(name.to_owned(), tensor);
        }
        let shared = header.extra.remove(SHARED);
        for (name, other) in shared
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let same = other.as_str().and_then(|other| tensors.get(other)).cloned();
            let same = same.ok_or_else(|| {
                read_error(
                    path,
                    format!("{name} shares the weights of {other}, which is missing"),
                )
            })?;
            tensors.insert(name.clone(), same);
        }
        Ok(Self { header, tensors })
    }
}

/// Writes a file beside `path`, syncs it and renames it to `path`.
///
/// # Errors
/// The directory cannot be written, the disk is full, or what `write` says.
pub(crate) fn publish(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), String>,
) -> Result<(), DecoderError> {
    publish_file(path, |file| write(file).map_err(io::Error::other))
        .map_err(|error| write_error(path, error))
}

impl CheckpointHeader {
    /// Reads the header of a file only.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load(path: &Path) -> Result<Self, DecoderError> {
        let file = File::open(path).map_err(|e| read_error(path, e))?;
        // SAFETY: checkpoints are replaced by rename and never changed in place,
        // so the mapped bytes stay as they are.
        let content = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| read_error(path, e))?;
        Ok(parse(path, &content)?.0)
    }
}

fn parse<'a>(
    path: &Path,
    content: &'a [u8],
) -> Result<(CheckpointHeader, SafeTensors<'a>), DecoderError> {
    let damaged = |e: safetensors::SafeTensorError| {
        read_error(
            path,
            format!("truncated or no safetensors file ({e}): take an earlier checkpoint"),
        )
    };
    let (_, metadata) = SafeTensors::read_metadata(content).map_err(damaged)?;
    let Some(text) = metadata
        .metadata()
        .as_ref()
        .and_then(|entries| entries.get(HEADER_KEY))
    else {
        let reason =
            format!("no checkpoint of this program: the metadata entry `{HEADER_KEY}` is missing");
        return Err(read_error(path, reason));
    };
    let header = CheckpointHeader::from_text(text).map_err(|reason| read_error(path, reason))?;
    let file = SafeTensors::deserialize(content).map_err(damaged)?;
    Ok((header, file))
}

/// Whether two tensors have the same type, shape and values.
fn same(a: &Tensor, b: &Tensor) -> candle_core::Result<bool> {
    Ok(a.dtype() == b.dtype() && a.dims() == b.dims() && bytes(a)?.data == bytes(b)?.data)
}

fn bytes(tensor: &Tensor) -> candle_core::Result<Bytes> {
    let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
    let (dtype, data) = match tensor.dtype() {
        DType::F32 => (
            Dtype::F32,
            host(&tensor)?
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        ),
        DType::F16 => {
            let values = tensor.flatten_all()?.to_vec1::<f16>()?;
            (
                Dtype::F16,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        }
        DType::I64 => {
            let values = tensor.flatten_all()?.to_vec1::<i64>()?;
            (
                Dtype::I64,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        }
        DType::U32 => {
            let values = tensor.flatten_all()?.to_vec1::<u32>()?;
            (
                Dtype::U32,
                values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            )
        }
        other => candle_core::bail!("tensors of type {other:?} are not stored"),
    };
    Ok(Bytes {
        dtype,
        shape: tensor.dims().to_vec(),
        data,
    })
}

fn from_bytes(dtype: Dtype, shape: &[usize], data: &[u8]) -> candle_core::Result<Tensor> {
    let device = &Device::Cpu;
    match dtype {
        Dtype::F32 => {
            let values = data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b));
            Tensor::from_vec(values.collect::<Vec<f32>>(), shape, device)
        }
        Dtype::F16 => {
            let halves = data.as_chunks::<2>().0.iter();
            let halves: Vec<f16> = halves.map(|b| f16::from_le_bytes(*b)).collect();
            Tensor::from_vec(halves.to_f32_vec(), shape, device)
        }
        Dtype::I64 => {
            let values = data
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b));
            Tensor::from_vec(values.collect::<Vec<i64>>(), shape, device)
        }
        Dtype::U32 => {
            let values = data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| u32::from_le_bytes(*b));
            Tensor::from_vec(values.collect::<Vec<u32>>(), shape, device)
        }
        other => candle_core::bail!("tensors of type {other:?} do not belong into a checkpoint"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Checkpoint {
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, (2, 2), &Device::Cpu).unwrap();
        Checkpoint {
            header: CheckpointHeader {
                format_version: FORMAT_VERSION,
                program_version: "0.1.0".into(),
                target_nouns: vec!["".into(), "light".into()],
                num_invalid_target_nouns: 1,
                training: Some(serde_json::json!({"loss": 0.1, "steps": 3})),
                ..CheckpointHeader::default()
            },
            tensors: HashMap::from([
                (
                    "logits_linear.weight".into(),
                    tensor(vec![1.0, f32::NEG_INFINITY, -0.0, 3.5]),
                ),
                ("optimizer.exp_avg.0".into(), tensor(vec![0.0; 4])),
            ]),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let saved = example();
        saved.save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded.header, saved.header);
        assert_eq!(CheckpointHeader::load(&path).unwrap(), saved.header);
        assert_eq!(loaded.header.vocabulary(), ["light"]);
        assert_eq!(loaded.tensors.len(), 2);
        assert_eq!(loaded.weights().len(), 1);
        for (name, tensor) in &saved.tensors {
            let bits =
                |t: &Tensor| -> Vec<u32> { host(t).unwrap().iter().map(|v| v.to_bits()).collect() };
            assert_eq!(bits(tensor), bits(&loaded.tensors[name]), "{name}");
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn weights_in_half_precision_are_single_again_when_they_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let weights = vec![1.0, f32::NEG_INFINITY, 1.0 / 3.0, -2.5e-3];
        let mut saved = example();
        let tensor = Tensor::new(weights.as_slice(), &Device::Cpu).unwrap();
        let names = ["weight", "alias"];
        saved.tensors = names.map(|name| (name.to_owned(), tensor.clone())).into();
        let stored = saved.clone().half().unwrap();
        assert_eq!(stored.tensors.len(), 1);
        stored.save(&path).unwrap();
        let loaded = Checkpoint::load(&path).unwrap();
        assert_eq!(loaded.header, saved.header);
        for name in names {
            let loaded = loaded.tensors[name].to_vec1::<f32>().unwrap();
            assert_eq!(loaded[..2], weights[..2]);
            for (loaded, weight) in loaded[2..].iter().zip(&weights[2..]) {
                assert!((loaded / weight - 1.0).abs() < 5e-4);
            }
        }
        let mut broken = stored;
        broken.tensors.clear();
        broken.save(&path).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("shares the weights of"), "{error}");
    }

    #[test]
    fn damaged_foreign_and_newer_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.safetensors");
        let message = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            CheckpointHeader::load(&path).unwrap_err();
            Checkpoint::load(&path).unwrap_err().to_string()
        };
        example().save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in [1, 7, 9, whole.len() / 2, whole.len() - 1] {
            assert!(message(&whole[..length]).contains("truncated"), "{length}");
        }
        let foreign = safetensors::serialize(Vec::<(&str, Bytes)>::new(), None).unwrap();
        assert!(message(&foreign).contains("no checkpoint of this program"));
        let mut newer = example();
        newer.header.format_version = FORMAT_VERSION + 1;
        newer.save(&path).unwrap();
        let error = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(error.contains("newer program"), "{error}");
        let missing = Checkpoint::load(&directory.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"));
    }
}
