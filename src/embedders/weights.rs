//! Parameters of a model by name, converted to `f32` when they are taken.
//!
//! Weight files are mapped into memory (or used where they lie inside the
//! binary): safetensors, and PyTorch archives through the pickle reader that
//! executes nothing. A model may be spread over several files. A tower takes
//! every parameter exactly once and then calls [`Weights::finish`], so missing
//! and extra parameters are both errors.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::error::EmbedderError;
use super::names::{NameTable, Reading, Rule};
use super::precision::Precision;
use crate::pickle::{Allow, Archive, Dict, TensorInfo, Value};

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
    Safetensors(PathBuf, Bytes),
    Archive(Archive),
}

/// Where the elements of a stored parameter lie.
#[derive(Clone)]
enum Place {
    /// Bytes of a safetensors file.
    Bytes(Dtype, Range<usize>),
    /// A tensor of an archive.
    Archived(TensorInfo),
}

/// A stored parameter, or some of its rows.
#[derive(Clone)]
struct Piece {
    container: usize,
    /// Name in the file.
    stored: String,
    place: Place,
    /// Elements to take.
    elements: Range<usize>,
}

struct Entry {
    shape: Vec<usize>,
    /// Stacked along the first dimension.
    pieces: Vec<Piece>,
    /// Whether both dimensions are exchanged after reading.
    transposed: bool,
    /// A tensor that stands in for the stored one.
    replacement: Option<Tensor>,
}

/// The parameters of the weight files of one model.
pub struct Weights {
    /// First of the files.
    path: PathBuf,
    containers: Vec<Container>,
    entries: BTreeMap<String, Entry>,
    table: NameTable,
    taken: RefCell<BTreeSet<String>>,
    /// In which the matrices of linear layers are kept.
    precision: Precision,
    /// Where parameters are kept.
    device: Device,
}

impl Weights {
    /// Opens the weight files of a model, by their endings safetensors or
    /// PyTorch archives.
    pub fn open(paths: &[PathBuf]) -> Result<Self, EmbedderError> {
        let mut weights = Self {
            path: paths.first().cloned().unwrap_or_default(),
            containers: Vec::new(),
            entries: BTreeMap::new(),
            table: &[],
            taken: RefCell::default(),
            precision: Precision::Single,
            device: Device::Cpu,
        };
        for path in paths {
            if path.extension().is_some_and(|name| name == "safetensors") {
                let bytes = Bytes::Mapped(map(path)?);
                weights.add_safetensors(path, bytes)?;
            } else {
                weights.add_archive(path)?;
            }
        }
        Ok(weights)
    }

    /// A safetensors file inside the binary; `path` stands for it in errors.
    pub fn from_static(path: &Path, bytes: &'static [u8]) -> Result<Self, EmbedderError> {
        let mut weights = Self::open(&[])?;
        weights.path = path.to_owned();
        weights.add_safetensors(path, Bytes::Static(bytes))?;
        Ok(weights)
    }

    /// Lets parameters be kept on this device, and the matrices of linear
    /// layers in this precision.
    pub fn keep(&mut self, device: &Device, precision: Precision) {
        self.device = device.clone();
        self.precision = precision;
    }

    fn add_safetensors(&mut self, path: &Path, bytes: Bytes) -> Result<(), EmbedderError> {
        let content = bytes.as_slice();
        let parsed = SafeTensors::deserialize(content)
            .map_err(|error| bad(path, format!("not a safetensors file: {error}")))?;
        let base = content.as_ptr() as usize;
        for (name, view) in parsed.iter() {
            let start = view.data().as_ptr() as usize - base;
            let place = Place::Bytes(view.dtype(), start..start + view.data().len());
            self.add(name, view.shape().to_vec(), place);
        }
        self.containers
            .push(Container::Safetensors(path.to_owned(), bytes));
        Ok(())
    }

    /// A flat map of tensors, the same under `state_dict`, or the attributes
    /// of a script module.
    fn add_archive(&mut self, path: &Path) -> Result<(), EmbedderError> {
        let failed = |error: crate::pickle::PickleError| bad(path, error.fault.to_string());
        let archive = Archive::open(path).map_err(failed)?;
        let value = archive.value(Allow::ScriptModules).map_err(failed)?;
        let mut tensors = Vec::new();
        match &value {
            Value::Dict(dict) => {
                let dict = match dict.get("state_dict") {
                    Some(Value::Dict(inner)) => inner,
                    _ => dict,
                };
                flatten(dict, "", &mut tensors);
            }
            Value::Module(module) => {
                if let Value::Dict(state) = &module.state {
                    flatten(state, "", &mut tensors);
                }
            }
            other => {
                return Err(bad(path, format!("holds {}, no parameters", other.kind())));
            }
        }
        for (name, tensor) in tensors {
            self.add(&name, tensor.shape.clone(), Place::Archived(tensor.clone()));
        }
        self.containers.push(Container::Archive(archive));
        Ok(())
    }

    fn add(&mut self, name: &str, shape: Vec<usize>, place: Place) {
        let piece = Piece {
            container: self.containers.len(),
            stored: name.to_owned(),
            place,
            elements: 0..shape.iter().product(),
        };
        let entry = Entry {
            shape,
            pieces: vec![piece],
            transposed: false,
            replacement: None,
        };
        self.entries.insert(name.to_owned(), entry);
    }

    /// Gives parameters the names that towers ask for.
    pub fn apply(&mut self, table: NameTable) -> Result<(), EmbedderError> {
        self.table = table;
        let mut stacked: BTreeMap<String, [Option<Entry>; 3]> = BTreeMap::new();
        for (stored, entry) in std::mem::take(&mut self.entries) {
            let rules: Vec<(&Rule, String)> = table
                .iter()
                .filter_map(|rule| Some((rule, rule.named(&stored)?)))
                .collect();
            if rules.is_empty() {
                self.entries.insert(stored, entry);
                continue;
            }
            if (rules.iter()).any(|(rule, _)| rule.reading == Reading::Ignored) {
                continue;
            }
            for (rule, name) in rules {
                match rule.reading {
                    Reading::Third(index) => {
                        stacked.entry(name).or_default()[index] = Some(entry.clone_stored());
                    }
                    reading => {
                        let read = entry.read_as(reading).ok_or_else(|| {
                            bad(
                                &self.path,
                                format!("parameter {stored} has shape {:?}", entry.shape),
                            )
                        })?;
                        self.entries.insert(name, read);
                    }
                }
            }
        }
        for (name, thirds) in stacked {
            let mut whole: Option<Entry> = None;
            for (index, third) in thirds.into_iter().enumerate() {
                let missing = || EmbedderError::MissingParameter {
                    path: self.path.clone(),
                    name: self.stored_name(&name, Some(index)),
                };
                let third = third.ok_or_else(missing)?;
                let Some(whole) = &mut whole else {
                    whole = Some(third);
                    continue;
                };
                if third.shape.is_empty() || whole.shape.get(1..) != third.shape.get(1..) {
                    return Err(EmbedderError::WrongShape {
                        path: self.path.clone(),
                        name: self.stored_name(&name, Some(index)),
                        found: third.shape,
                        wanted: whole.shape.clone(),
                    });
                }
                whole.shape[0] += third.shape[0];
                whole.pieces.extend(third.pieces);
            }
            self.entries.extend(whole.map(|whole| (name, whole)));
        }
        Ok(())
    }

    /// Name in the file of a parameter that towers call `name`; of one that is
    /// stacked, of its first or of a given part.
    fn stored_name(&self, name: &str, part: Option<usize>) -> String {
        let rules = self.table.iter().filter(|rule| match rule.reading {
            Reading::Third(index) => index == part.unwrap_or(0),
            _ => true,
        });
        rules
            .filter_map(|rule| rule.stored_as(name))
            .next()
            .unwrap_or_else(|| name.to_owned())
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
        self.take_as(name, shape, Precision::Single)
    }

    fn take_as(
        &self,
        name: &str,
        shape: &[usize],
        precision: Precision,
    ) -> Result<Tensor, EmbedderError> {
        let entry = self.entry(name)?;
        if entry.shape != shape {
            return Err(EmbedderError::WrongShape {
                path: self.path.clone(),
                name: self.stored_name(name, None),
                found: entry.shape.clone(),
                wanted: shape.to_vec(),
            });
        }
        self.taken.borrow_mut().insert(name.to_owned());
        let values = self.read(entry)?.to_dtype(precision.dtype())?;
        Ok(values.to_device(&self.device)?)
    }

    /// A parameter as `f32` on the CPU, without taking it.
    pub fn peek(&self, name: &str) -> Result<Tensor, EmbedderError> {
        self.read(self.entry(name)?)
    }

    fn entry(&self, name: &str) -> Result<&Entry, EmbedderError> {
        self.entries
            .get(name)
            .ok_or_else(|| EmbedderError::MissingParameter {
                path: self.path.clone(),
                name: self.stored_name(name, None),
            })
    }

    fn read(&self, entry: &Entry) -> Result<Tensor, EmbedderError> {
        if let Some(tensor) = &entry.replacement {
            return Ok(tensor.clone());
        }
        let mut values = Vec::with_capacity(entry.shape.iter().product());
        for piece in &entry.pieces {
            let bad = |path: &Path, reason: String| {
                bad(path, format!("parameter {}: {reason}", piece.stored))
            };
            let not_float = |dtype| format!("dtype {dtype:?} is not a float type");
            match (&self.containers[piece.container], &piece.place) {
                (Container::Safetensors(path, bytes), Place::Bytes(dtype, place)) => {
                    let width = dtype.bitsize() / 8;
                    let range = place.start + piece.elements.start * width
                        ..place.start + piece.elements.end * width;
                    let bytes = bytes.as_slice().get(range);
                    let bytes = bytes
                        .ok_or_else(|| bad(path, "lies beyond the end of the file".to_owned()))?;
                    append_f32(&mut values, bytes, *dtype)
                        .ok_or_else(|| bad(path, not_float(*dtype)))?;
                }
                (Container::Archive(archive), Place::Archived(info)) => {
                    let tensor = archive
                        .tensor(info)
                        .map_err(|error| bad(archive.path(), error.fault.to_string()))?;
                    let width = tensor.dtype.bitsize() / 8;
                    let bytes =
                        &tensor.bytes[piece.elements.start * width..piece.elements.end * width];
                    append_f32(&mut values, bytes, tensor.dtype)
                        .ok_or_else(|| bad(archive.path(), not_float(tensor.dtype)))?;
                }
                _ => return Err(bad(&self.path, "belongs to another file".to_owned())),
            }
        }
        if entry.transposed {
            // The shape is the one after the exchange.
            let stored: Vec<usize> = entry.shape.iter().rev().copied().collect();
            let tensor = Tensor::from_vec(values, stored, &Device::Cpu)?;
            return Ok(tensor.t()?.contiguous()?);
        }
        Ok(Tensor::from_vec(
            values,
            entry.shape.as_slice(),
            &Device::Cpu,
        )?)
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

impl Entry {
    fn clone_stored(&self) -> Self {
        Self {
            shape: self.shape.clone(),
            pieces: self.pieces.clone(),
            transposed: self.transposed,
            replacement: None,
        }
    }

    /// A stored parameter read in another way, if its shape allows.
    fn read_as(&self, reading: Reading) -> Option<Self> {
        let mut read = self.clone_stored();
        match reading {
            Reading::Transposed if self.shape.len() == 2 => {
                read.shape.reverse();
                read.transposed = true;
            }
            Reading::Leading => read.shape.insert(0, 1),
            Reading::Thirds(from, to) => {
                let rows = read.shape.first_mut()?;
                if *rows % 3 != 0 {
                    return None;
                }
                let third = self.shape.iter().product::<usize>() / 3;
                *rows = *rows / 3 * (to - from);
                read.pieces.first_mut()?.elements = from * third..to * third;
            }
            Reading::Whole => {}
            _ => return None,
        }
        Some(read)
    }
}

fn bad(path: &Path, reason: String) -> EmbedderError {
    EmbedderError::BadWeights {
        path: path.to_owned(),
        reason,
    }
}

fn map(path: &Path) -> Result<Mmap, EmbedderError> {
    let read_error = |source| EmbedderError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read_error)?;
    // SAFETY: as with every mapped file, another process that truncates it
    // while it is read ends this one; values are copied out, never trusted as
    // addresses.
    unsafe { Mmap::map(&file) }.map_err(read_error)
}

/// The tensors below a dictionary of attributes, with names joined by dots.
fn flatten<'a>(dict: &'a Dict, prefix: &str, out: &mut Vec<(String, &'a TensorInfo)>) {
    for (name, value) in &dict.entries {
        let Value::Text(name) = name else { continue };
        match value {
            Value::Tensor(tensor) => out.push((format!("{prefix}{name}"), tensor)),
            Value::Module(module) => {
                if let Value::Dict(state) = &module.state {
                    flatten(state, &format!("{prefix}{name}."), out);
                }
            }
            _ => {}
        }
    }
}

/// Appends the elements as `f32`; `None` for types without fractions.
fn append_f32(values: &mut Vec<f32>, bytes: &[u8], dtype: Dtype) -> Option<()> {
    // The bytes may lie at any address.
    match dtype {
        Dtype::F32 => values.extend(
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b)),
        ),
        Dtype::F64 => values.extend(
            bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32),
        ),
        Dtype::F16 => {
            const BLOCK: usize = 4096;
            for block in bytes.as_chunks::<2>().0.chunks(BLOCK) {
                let halves: Vec<f16> = block.iter().map(|b| f16::from_le_bytes(*b)).collect();
                values.extend(halves.to_f32_vec());
            }
        }
        Dtype::BF16 => values.extend(
            bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| bf16::from_le_bytes(*b).to_f32()),
        ),
        _ => return None,
    }
    Some(())
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

    /// Where parameters are kept.
    pub fn device(&self) -> &'a Device {
        &self.weights.device
    }

    /// Takes a parameter of this shape as `f32`.
    pub fn take(&self, name: &str, shape: &[usize]) -> Result<Tensor, EmbedderError> {
        self.take_as(name, shape, Precision::Single)
    }

    fn take_as(
        &self,
        name: &str,
        shape: &[usize],
        precision: Precision,
    ) -> Result<Tensor, EmbedderError> {
        let name = format!("{}{name}", self.prefix);
        self.weights.take_as(&name, shape, precision)
    }

    /// Takes the matrix of a linear layer, in the precision in which the model
    /// keeps them.
    pub fn matrix(&self, name: &str, shape: &[usize]) -> Result<Tensor, EmbedderError> {
        self.take_as(name, shape, self.weights.precision)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    fn ramp(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| i as f32 * 0.25 - 1.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn open(path: &Path) -> Result<Weights, EmbedderError> {
        Weights::open(&[path.to_owned()])
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
        let weights = open(&path).unwrap();
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
    fn tables_rename_stack_split_and_transpose() {
        use super::super::names::{ignored, read, whole};
        const TABLE: NameTable = &[
            read("l.{n}.q", "b.{n}.qkv", Reading::Third(0)),
            read("l.{n}.k", "b.{n}.qkv", Reading::Third(1)),
            read("l.{n}.v", "b.{n}.qkv", Reading::Third(2)),
            read("all", "first", Reading::Thirds(0, 1)),
            read("all", "rest", Reading::Thirds(1, 3)),
            read("matrix", "turned", Reading::Transposed),
            whole("norm.*", "ln.*"),
            ignored("scale"),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let mut tensors = std::collections::HashMap::new();
        for (name, shape) in [
            ("l.3.q", vec![2, 2]),
            ("l.3.k", vec![2, 2]),
            ("l.3.v", vec![2, 2]),
            ("all", vec![6]),
            ("matrix", vec![2, 3]),
            ("norm.weight", vec![4]),
            ("scale", vec![1]),
        ] {
            tensors.insert(name.to_owned(), ramp(&shape));
        }
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let mut weights = open(&path).unwrap();
        weights.apply(TABLE).unwrap();
        let row = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let part = row(ramp(&[4]));
        assert_eq!(
            row(weights.take("b.3.qkv", &[6, 2]).unwrap()),
            [part.clone(), part.clone(), part].concat()
        );
        assert_eq!(row(weights.take("first", &[2]).unwrap()), [-1.0, -0.75]);
        assert_eq!(
            row(weights.take("rest", &[4]).unwrap()),
            [-0.5, -0.25, 0.0, 0.25]
        );
        assert_eq!(
            row(weights.take("turned", &[3, 2]).unwrap()),
            row(ramp(&[2, 3]).t().unwrap())
        );
        let error = weights.take("ln.bias", &[4]).unwrap_err().to_string();
        assert!(error.contains("norm.bias is missing"), "{error}");
        assert!(weights.finish(|_| true).is_err());
        weights.take("ln.weight", &[4]).unwrap();
        weights.finish(|_| true).unwrap();
        tensors.remove("l.3.k");
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = open(&path).unwrap().apply(TABLE).unwrap_err().to_string();
        assert!(error.contains("l.3.k is missing"), "{error}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["weights.safetensors", "weights.bin"] {
            let path = folder.path().join(name);
            std::fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\xffjunk").unwrap();
            assert!(open(&path).is_err());
        }
    }
}
