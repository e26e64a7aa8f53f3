//! Tensor files of the reference data, booleans included, and comparisons.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::golden;

/// A whole safetensors file.
pub struct TensorFile(Vec<u8>);

/// One tensor with its numbers widened.
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|&v| v as f32).collect()
    }

    pub fn ids(&self) -> Vec<u32> {
        self.values.iter().map(|&v| v as u32).collect()
    }

    pub fn mask(&self) -> Vec<bool> {
        self.values.iter().map(|&v| v != 0.0).collect()
    }

    pub fn rows(&self) -> Vec<Vec<u32>> {
        let width = self.shape[1];
        self.ids().chunks(width).map(<[u32]>::to_vec).collect()
    }
}

impl TensorFile {
    pub fn open(file: &str) -> Self {
        Self::at(&golden::area("decoder").join(file))
    }

    fn at(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display())))
    }

    pub fn names(&self) -> Vec<String> {
        self.parsed()
            .names()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<Array> {
        let file = self.parsed();
        let view = file.tensor(name).ok()?;
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f64::from(f32::from_le_bytes(*b)))
                .collect(),
            Dtype::I64 => data
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b) as f64)
                .collect(),
            Dtype::BOOL | Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
            other => panic!("tensor {name} has type {other:?}"),
        };
        Some(Array {
            shape: view.shape().to_vec(),
            values,
        })
    }

    pub fn require(&self, name: &str) -> Array {
        self.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    fn parsed(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.0).unwrap_or_else(|e| panic!("no safetensors file: {e}"))
    }
}

/// A number of a JSON file; infinities and NaN are strings there.
pub fn number(value: &serde_json::Value) -> f64 {
    match value.as_str() {
        Some(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{text:?} is no number")),
        None => value
            .as_f64()
            .unwrap_or_else(|| panic!("{value} is no number")),
    }
}

#[track_caller]
pub fn assert_relative(found: f64, expected: f64, tolerance: f64, what: &str) {
    let error = (found - expected).abs();
    assert!(
        error <= tolerance * expected.abs(),
        "{what}: {found} instead of {expected}"
    );
}

#[track_caller]
pub fn assert_absolute(found: f64, expected: f64, tolerance: f64, what: &str) {
    let close = (found - expected).abs() <= tolerance || found == expected;
    assert!(close, "{what}: {found} instead of {expected}");
}
