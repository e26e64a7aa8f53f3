//! Parameters of a model by name, converted to `f32` when they are taken.
//!
//! Safetensors files are mapped into memory (or used where they lie inside the
//! binary); `.bin` files go through the tensor library's pickle reader, which
//! builds tensors and executes nothing. A tower takes every parameter exactly
//! once and then calls [`Weights::finish`], so missing and extra parameters
//! are both errors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::pickle::PthTensors;
use candle_core::{DType, Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::error::EmbedderError;

enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

enum Container {
    Safetensors(Bytes),
    Pickle(PthTensors),
}

struct Entry {
    /// Name in the file.
    stored: String,
    shape: Vec<usize>,
    dtype: Dtype,
    /// Bytes in the file (safetensors only).
    range: Range<usize>,
    /// A tensor that stands in for the stored one.
    replacement: Option<Tensor>,
}

/// The parameters of one weight file.
pub struct Weights {
    path: PathBuf,
    container: Container,
    entries: BTreeMap<String, Entry>,
    taken: RefCell<BTreeSet<String>>,
}

impl Weights {
    /// Opens a safetensors file.
    pub fn open_safetensors(path: &Path) -> Result<Self, EmbedderError> {
        let read_error = |source| EmbedderError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read_error)?;
        // SAFETY: as with every mapped file, another process that truncates it
        // while it is read ends this one; values are copied out, never trusted
        // as addresses.
        let map = unsafe { Mmap::map(&file) }.map_err(read_error)?;
        Self::from_safetensors(path, Bytes::Mapped(map))
    }

    /// A safetensors file inside the binary; `path` stands for it in errors.
    pub fn from_static(path: &Path, bytes: &'static [u8]) -> Result<Self, EmbedderError> {
        Self::from_safetensors(path, Bytes::Static(bytes))
    }

    fn from_safetensors(path: &Path, bytes: Bytes) -> Result<Self, EmbedderError> {
        let bad = |reason: String| EmbedderError::BadWeights {
            path: path.to_owned(),
            reason,
        };
        let content = bytes.as_slice();
        let parsed = SafeTensors::deserialize(content)
            .map_err(|error| bad(format!("not a safetensors file: {error}")))?;
        let base = content.as_ptr() as usize;
        let entries = parsed
            .iter()
            .map(|(name, view)| {
                let start = view.data().as_ptr() as usize - base;
                let entry = Entry {
                    stored: name.to_owned(),
                    shape: view.shape().to_vec(),
                    dtype: view.dtype(),
                    range: start..start + view.data().len(),
                    replacement: None,
                };
                (name.to_owned(), entry)
            })
            .collect();
        Ok(Self::new(path, Container::Safetensors(bytes), entries))
    }

    /// Opens a PyTorch archive: a flat map of tensors, or one under
    /// `state_dict`.
    pub fn open_pickle(path: &Path) -> Result<Self, EmbedderError> {
        let bad = |error: candle_core::Error| EmbedderError::BadWeights {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let mut archive = PthTensors::new(path, None).map_err(bad)?;
        if archive.tensor_infos().is_empty() {
            archive = PthTensors::new(path, Some("state_dict")).map_err(bad)?;
        }
        let mut entries = BTreeMap::new();
        for (name, info) in archive.tensor_infos() {
            let dtype = match info.dtype {
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::F32 => Dtype::F32,
                DType::F64 => Dtype::F64,
                // Counters and other integers; never taken as parameters.
                _ => Dtype::I64,
            };
            if info.layout.start_offset() != 0 {
                return Err(EmbedderError::BadWeights {
                    path: path.to_owned(),
                    reason: format!("parameter {name} shares its storage with another"),
                });
            }
            let entry = Entry {
                stored: name.clone(),
                shape: info.layout.dims().to_vec(),
                dtype,
                range: 0..0,
                replacement: None,
            };
            entries.insert(name.clone(), entry);
        }
        Ok(Self::new(path, Container::Pickle(archive), entries))
    }

    fn new(path: &Path, container: Container, entries: BTreeMap<String, Entry>) -> Self {
        Self {
            path: path.to_owned(),
            container,
            entries,
            taken: RefCell::default(),
        }
    }

    /// Renames every parameter; `None` drops it. A parameter whose new name is
    /// taken keeps its old one.
    pub fn rename(&mut self, rule: impl Fn(&str) -> Option<String>) {
        for (name, entry) in std::mem::take(&mut self.entries) {
            let Some(new_name) = rule(&name) else {
                continue;
            };
            let free = !self.entries.contains_key(&new_name);
            self.entries
                .insert(if free { new_name } else { name }, entry);
        }
    }

    /// Names of all parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Shape of a parameter.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Lets a tensor stand in for a stored parameter.
    pub fn replace(&mut self, name: &str, tensor: Tensor) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.shape = tensor.dims().to_vec();
            entry.replacement = Some(tensor);
        }
    }

    /// Takes a parameter of this shape as `f32`.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor, EmbedderError> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(EmbedderError::WrongShape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: entry.shape.clone(),
                wanted: shape.to_vec(),
            });
        }
        self.taken.borrow_mut().insert(name.to_owned());
        self.read(entry)
    }

    /// A parameter as `f32` without taking it.
    pub fn peek(&self, name: &str) -> Result<Tensor, EmbedderError> {
        self.read(self.entry(name)?)
    }

    fn entry(&self, name: &str) -> Result<&Entry, EmbedderError> {
        self.entries
            .get(name)
            .ok_or_else(|| EmbedderError::MissingParameter {
                path: self.path.clone(),
                name: name.to_owned(),
            })
    }

    fn read(&self, entry: &Entry) -> Result<Tensor, EmbedderError> {
        if let Some(tensor) = &entry.replacement {
            return Ok(tensor.clone());
        }
        let bad = |reason: String| EmbedderError::BadWeights {
            path: self.path.clone(),
            reason: format!("parameter {}: {reason}", entry.stored),
        };
        match &self.container {
            Container::Safetensors(bytes) => {
                let bytes = bytes
                    .as_slice()
                    .get(entry.range.clone())
                    .ok_or_else(|| bad("lies beyond the end of the file".to_owned()))?;
                let values = to_f32(bytes, entry.dtype)
                    .ok_or_else(|| bad(format!("dtype {:?} is not a float type", entry.dtype)))?;
                Ok(Tensor::from_vec(
                    values,
                    entry.shape.as_slice(),
                    &Device::Cpu,
                )?)
            }
            Container::Pickle(archive) => {
                let tensor = archive
                    .get(&entry.stored)
                    .map_err(|error| bad(error.to_string()))?
                    .ok_or_else(|| bad("not in the archive".to_owned()))?;
                Ok(tensor.to_dtype(DType::F32)?.contiguous()?)
            }
        }
    }

    /// Checks that every parameter that `mine` selects has been taken.
    pub fn finish(&self, mine: impl Fn(&str) -> bool) -> Result<(), EmbedderError> {
        let taken = self.taken.borrow();
        let names: Vec<String> = self
            .names()
            .filter(|name| mine(name) && !taken.contains(*name))
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(EmbedderError::UnexpectedParameters {
            path: self.path.clone(),
            names,
        })
    }
}

fn to_f32(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    // The bytes may lie at any address.
    Some(match dtype {
        Dtype::F32 => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect(),
        Dtype::F64 => bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b) as f32)
            .collect(),
        Dtype::F16 => {
            let halves: Vec<f16> = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| f16::from_le_bytes(*b))
                .collect();
            halves.to_f32_vec()
        }
        Dtype::BF16 => bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect(),
        _ => return None,
    })
}

/// A view of [`Weights`] below a common prefix.
#[derive(Clone)]
pub struct Parameters<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl<'a> Parameters<'a> {
    /// All parameters.
    pub fn root(weights: &'a Weights) -> Self {
        Self {
            weights,
            prefix: String::new(),
        }
    }

    /// The parameters below `name.`
    pub fn under(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    /// Takes a parameter of this shape.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor, EmbedderError> {
        self.weights.take(&format!("{}{name}", self.prefix), shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| i as f32 * 0.25 - 1.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn half_precision_becomes_single() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let tensors = std::collections::HashMap::from([
            (
                "half".to_owned(),
                ramp(&[2, 3]).to_dtype(DType::F16).unwrap(),
            ),
            (
                "brain".to_owned(),
                ramp(&[5]).to_dtype(DType::BF16).unwrap(),
            ),
        ]);
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let weights = Weights::open_safetensors(&path).unwrap();
        let half = weights.take("half", &[2, 3]).unwrap();
        assert_eq!(
            half.to_vec2::<f32>().unwrap(),
            ramp(&[2, 3]).to_vec2::<f32>().unwrap()
        );
        let error = weights.finish(|_| true).unwrap_err().to_string();
        assert!(error.contains("unexpected parameters brain"), "{error}");
        assert!(
            weights
                .take("brain", &[4])
                .unwrap_err()
                .to_string()
                .contains("[5]")
        );
        assert!(
            weights
                .take("none", &[4])
                .unwrap_err()
                .to_string()
                .contains("none is missing")
        );
        weights.take("brain", &[5]).unwrap();
        weights.finish(|_| true).unwrap();
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["weights.safetensors", "weights.bin"] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\xffjunk").unwrap();
            assert!(Weights::open_safetensors(&path).is_err());
            assert!(Weights::open_pickle(&path).is_err());
        }
    }
}
