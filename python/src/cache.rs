//! Embedding caches: what is in the file, and rows of it.

use std::path::PathBuf;

use novic::cache::{CacheFile, FloatDtype, FloatVec, IntDtype, OpenOptions};
use pyo3::prelude::*;

use crate::array::Array;
use crate::errors;

/// An open embedding cache.
#[pyclass(frozen, module = "novic._novic")]
pub struct Cache {
    cache: novic::cache::Cache,
    merged: bool,
}

/// Byte of the first row, values per row, rows and element type of a part.
type Part = (u64, u64, u64, &'static str);

/// Embeddings, noun ids and weights of samples.
type Samples = (Array, Option<Array>, Option<Array>);

#[pymethods]
impl Cache {
    #[new]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let options = OpenOptions {
            use_targets: None,
            strict: false,
        };
        let open = || {
            let file = CacheFile::open_any(&path, options)?;
            let merged = file.is_merged();
            Ok(Self {
                cache: file.enter_as_is()?,
                merged,
            })
        };
        py.detach(open).map_err(|error| errors::cache(&error))
    }

    /// Whether it is several files that are read as one.
    #[getter]
    fn merged(&self) -> bool {
        self.merged
    }

    #[getter]
    fn version(&self) -> u8 {
        self.cache.header().version
    }

    #[getter]
    fn samples(&self) -> u64 {
        self.cache.len()
    }

    #[getter]
    fn dim(&self) -> usize {
        usize::from(self.cache.header().embed_dim)
    }

    #[getter]
    fn targets_per_sample(&self) -> usize {
        usize::from(self.cache.header().embed_targets_dim)
    }

    /// Nouns by id; the first, of id 0, is empty and means "absent".
    #[getter]
    fn nouns(&self) -> Vec<String> {
        self.cache
            .nouns()
            .map(|nouns| nouns.all().to_vec())
            .unwrap_or_default()
    }

    /// Where embeddings, noun ids and weights lie in the file.
    fn parts(&self) -> [Part; 3] {
        let header = self.cache.header();
        let layout = header.layout();
        let part = |section: novic::cache::header::Section, bytes: usize, kind| {
            let values = section.stride / bytes as u64;
            (section.offset, values, section.rows, kind)
        };
        let ids = header.embed_targets_dtype;
        let (embed, weight) = (header.embed_dtype, header.delivered_dtype());
        [
            part(layout.embeds, embed.bytes(), float_kind(embed)),
            part(layout.target_ids, ids.bytes(), int_kind(ids)),
            part(layout.weights, weight.bytes(), float_kind(weight)),
        ]
    }

    /// Token ids and padding `[R, C]` of all nouns.
    fn tokens(&self) -> Option<(Array, Array)> {
        let (tokens, padding) = self.cache.token_table()?;
        let rows = self.cache.nouns().map_or(0, |nouns| nouns.len());
        let shape = vec![rows, tokens.len() / rows.max(1)];
        let padding = padding.iter().map(|&padding| u8::from(padding)).collect();
        Some((
            Array::u32(tokens.to_vec(), shape.clone()),
            Array::booleans(padding, shape),
        ))
    }

    /// The samples from `start` up to `stop`.
    fn read(&self, py: Python<'_>, start: u64, stop: u64) -> PyResult<Samples> {
        let samples = py
            .detach(|| self.cache.samples(start, stop))
            .map_err(|error| errors::cache(&error))?;
        let targets = vec![samples.len, self.targets_per_sample()];
        Ok((
            floats(samples.embeds, vec![samples.len, self.dim()]),
            samples
                .target_ids
                .map(|ids| Array::u32(ids, targets.clone())),
            samples.weights.map(|weights| floats(weights, targets)),
        ))
    }
}

/// NumPy has no bfloat16: such values become single precision, exactly.
fn floats(values: FloatVec, shape: Vec<usize>) -> Array {
    match values {
        FloatVec::F64(values) => Array::f64(values, shape),
        FloatVec::F16(values) => Array::f16_bits(
            values.into_iter().map(|value| value.to_bits()).collect(),
            shape,
        ),
        values @ (FloatVec::F32(_) | FloatVec::BF16(_)) => Array::f32(values.into_f32(), shape),
    }
}

/// NumPy's name of an element type; empty where it has none.
fn float_kind(dtype: FloatDtype) -> &'static str {
    match dtype {
        FloatDtype::F16 => "<f2",
        FloatDtype::BF16 => "",
        FloatDtype::F32 => "<f4",
        FloatDtype::F64 => "<f8",
    }
}

fn int_kind(dtype: IntDtype) -> &'static str {
    match dtype {
        IntDtype::I8 => "|i1",
        IntDtype::I16 => "<i2",
        IntDtype::I32 => "<i4",
        IntDtype::I64 => "<i8",
    }
}
