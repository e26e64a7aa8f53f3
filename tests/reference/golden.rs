//! Where the reference data lies and how its files are read.

use std::collections::HashMap;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// Folder of one area: `$NOVIC_GOLDEN/<area>`, default `tests/golden/<area>`.
///
/// # Panics
/// If it does not exist: missing reference data is a failure, never a skip.
pub fn area(name: &str) -> PathBuf {
    let root = std::env::var_os("NOVIC_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden"),
        PathBuf::from,
    );
    let dir = root.join(name);
    assert!(dir.is_dir(), "reference data missing: {}", dir.display());
    dir
}

/// A parsed JSON file of an area.
pub fn json(area_name: &str, file: &str) -> Value {
    let path = area(area_name).join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()))
}

/// The tensors of a safetensors file.
pub struct Tensors(HashMap<String, Tensor>);

/// One tensor: its type as the file names it, its shape, its bytes.
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of the dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements, row-major.
    pub bytes: Vec<u8>,
}

/// All tensors of a file of an area.
pub fn tensors(area_name: &str, file: &str) -> Tensors {
    let path = area(area_name).join(file);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes)
        .unwrap_or_else(|error| panic!("cannot parse {}: {error}", path.display()));
    Tensors(
        file.iter()
            .map(|(name, view)| {
                let tensor = Tensor {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: view.data().to_vec(),
                };
                (name.to_owned(), tensor)
            })
            .collect(),
    )
}

impl Tensors {
    /// The tensor of this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> &Tensor {
        self.find(name)
            .unwrap_or_else(|| panic!("tensor {name} is missing"))
    }
}

impl Tensor {
    /// Elements of an integer or boolean tensor.
    pub fn integers(&self) -> Vec<i64> {
        match self.dtype {
            Dtype::BOOL | Dtype::U8 => self.bytes.iter().map(|&byte| i64::from(byte)).collect(),
            Dtype::I32 => elements(&self.bytes, |b| i64::from(i32::from_le_bytes(b))),
            Dtype::I64 => elements(&self.bytes, i64::from_le_bytes),
            other => panic!("{other:?} is no integer type"),
        }
    }

    /// Elements of a single precision tensor.
    pub fn f32s(&self) -> Vec<f32> {
        assert_eq!(self.dtype, Dtype::F32);
        elements(&self.bytes, f32::from_le_bytes)
    }
}

/// Elements of `W` bytes each.
pub fn elements<const W: usize, T>(bytes: &[u8], decode: impl Fn([u8; W]) -> T) -> Vec<T> {
    let (chunks, rest) = bytes.as_chunks::<W>();
    assert!(rest.is_empty());
    chunks.iter().map(|&chunk| decode(chunk)).collect()
}
