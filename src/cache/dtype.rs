//! Element types of the file format (`embedding-cache.md` section 5) and
//! vectors of them.

use std::ops::Range;

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::error::{CacheError, Result};
use crate::embedders::tokenizer::TokenDtype;

#[cfg(not(target_endian = "little"))]
compile_error!("cache files are little-endian and read without swapping bytes");

/// Type of embeddings and weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FloatDtype {
    /// IEEE half precision.
    F16,
    /// Brain float.
    BF16,
    /// Single precision, what every embedder writes today.
    F32,
    /// Double precision.
    F64,
}

impl FloatDtype {
    /// Type with this id in a header.
    pub fn from_id(id: u16) -> Result<Self> {
        Ok(match id {
            0 => Self::F16,
            1 => Self::BF16,
            2 => Self::F32,
            3 => Self::F64,
            _ => return Err(CacheError::UnknownDtype { kind: "float", id }),
        })
    }

    /// Id in a header.
    pub fn id(self) -> u16 {
        match self {
            Self::F16 => 0,
            Self::BF16 => 1,
            Self::F32 => 2,
            Self::F64 => 3,
        }
    }

    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Distance from 1 to the next larger value.
    pub fn epsilon(self) -> f64 {
        match self {
            Self::F16 => f16::EPSILON.to_f64(),
            Self::BF16 => bf16::EPSILON.to_f64(),
            Self::F32 => f64::from(f32::EPSILON),
            Self::F64 => f64::EPSILON,
        }
    }
}

/// Type of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntDtype {
    /// 8 bits.
    I8,
    /// 16 bits.
    I16,
    /// 32 bits.
    I32,
    /// 64 bits.
    I64,
}

impl IntDtype {
    /// Type with this id in a header.
    pub fn from_id(id: u16) -> Result<Self> {
        Ok(match id {
            0 => Self::I8,
            1 => Self::I16,
            2 => Self::I32,
            3 => Self::I64,
            _ => {
                return Err(CacheError::UnknownDtype {
                    kind: "integer",
                    id,
                });
            }
        })
    }

    /// Id in a header.
    pub fn id(self) -> u16 {
        match self {
            Self::I8 => 0,
            Self::I16 => 1,
            Self::I32 => 2,
            Self::I64 => 3,
        }
    }

    /// Bytes per element.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Largest value.
    pub fn max(self) -> u64 {
        match self {
            Self::I8 => i8::MAX as u64,
            Self::I16 => i16::MAX as u64,
            Self::I32 => i32::MAX as u64,
            Self::I64 => i64::MAX as u64,
        }
    }

    /// Values of a byte sequence, in order.
    pub(super) fn decode(self, bytes: &[u8]) -> Vec<i64> {
        match self {
            Self::I8 => bytes.iter().map(|&byte| i64::from(byte as i8)).collect(),
            Self::I16 => elements(bytes, |b| i64::from(i16::from_le_bytes(b))),
            Self::I32 => elements(bytes, |b| i64::from(i32::from_le_bytes(b))),
            Self::I64 => elements(bytes, i64::from_le_bytes),
        }
    }

    /// Bytes of a value that is known to fit.
    pub(super) fn encode(self, value: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&value.to_le_bytes()[..self.bytes()]);
    }
}

impl From<TokenDtype> for IntDtype {
    fn from(dtype: TokenDtype) -> Self {
        match dtype {
            TokenDtype::I32 => Self::I32,
            TokenDtype::I64 => Self::I64,
        }
    }
}

fn elements<const W: usize>(bytes: &[u8], decode: impl Fn([u8; W]) -> i64) -> Vec<i64> {
    let (chunks, _) = bytes.as_chunks::<W>();
    chunks.iter().map(|&chunk| decode(chunk)).collect()
}

/// Embeddings or weights in their stored type, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum FloatVec {
    /// Half precision.
    F16(Vec<f16>),
    /// Brain float.
    BF16(Vec<bf16>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl FloatVec {
    /// No elements.
    pub(super) fn empty(dtype: FloatDtype) -> Self {
        match dtype {
            FloatDtype::F16 => Self::F16(Vec::new()),
            FloatDtype::BF16 => Self::BF16(Vec::new()),
            FloatDtype::F32 => Self::F32(Vec::new()),
            FloatDtype::F64 => Self::F64(Vec::new()),
        }
    }

    /// Makes room for `len` elements of a type, to be filled from a file: what
    /// was there stays, what is new is zero.
    pub(super) fn resize(&mut self, dtype: FloatDtype, len: usize) {
        if self.as_slice().dtype() != dtype {
            *self = Self::empty(dtype);
        }
        match self {
            Self::F16(values) => values.resize(len, f16::ZERO),
            Self::BF16(values) => values.resize(len, bf16::ZERO),
            Self::F32(values) => values.resize(len, 0.0),
            Self::F64(values) => values.resize(len, 0.0),
        }
    }

    /// Takes memory for `len` elements in all.
    pub(super) fn reserve(&mut self, len: usize) {
        let more = len.saturating_sub(self.as_slice().len());
        match self {
            Self::F16(values) => values.reserve_exact(more),
            Self::BF16(values) => values.reserve_exact(more),
            Self::F32(values) => values.reserve_exact(more),
            Self::F64(values) => values.reserve_exact(more),
        }
    }

    /// The stored bytes, to be filled from a file.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::F16(values) => bytemuck::cast_slice_mut(values),
            Self::BF16(values) => bytemuck::cast_slice_mut(values),
            Self::F32(values) => bytemuck::cast_slice_mut(values),
            Self::F64(values) => bytemuck::cast_slice_mut(values),
        }
    }

    /// A view of all elements.
    pub fn as_slice(&self) -> FloatSlice<'_> {
        match self {
            Self::F16(values) => FloatSlice::F16(values),
            Self::BF16(values) => FloatSlice::BF16(values),
            Self::F32(values) => FloatSlice::F32(values),
            Self::F64(values) => FloatSlice::F64(values),
        }
    }

    /// The elements as single precision, rounded to nearest.
    pub fn into_f32(self) -> Vec<f32> {
        match self {
            Self::F16(values) => values.into_iter().map(f16::to_f32).collect(),
            Self::BF16(values) => values.into_iter().map(bf16::to_f32).collect(),
            Self::F32(values) => values,
            Self::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        }
    }
}

/// A view of embeddings or weights, row-major.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FloatSlice<'a> {
    /// Half precision.
    F16(&'a [f16]),
    /// Brain float.
    BF16(&'a [bf16]),
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl<'a> FloatSlice<'a> {
    /// Element type.
    pub fn dtype(self) -> FloatDtype {
        match self {
            Self::F16(_) => FloatDtype::F16,
            Self::BF16(_) => FloatDtype::BF16,
            Self::F32(_) => FloatDtype::F32,
            Self::F64(_) => FloatDtype::F64,
        }
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        self.bytes().len() / self.dtype().bytes()
    }

    /// Whether there are no elements.
    pub fn is_empty(self) -> bool {
        self.bytes().is_empty()
    }

    /// The elements as they are stored in a file.
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::F16(values) => bytemuck::cast_slice(values),
            Self::BF16(values) => bytemuck::cast_slice(values),
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::F64(values) => bytemuck::cast_slice(values),
        }
    }

    /// Some of the elements.
    pub(super) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::F16(values) => Self::F16(&values[range]),
            Self::BF16(values) => Self::BF16(&values[range]),
            Self::F32(values) => Self::F32(&values[range]),
            Self::F64(values) => Self::F64(&values[range]),
        }
    }

    /// The elements rounded to nearest in another type.
    pub(super) fn rounded_to(self, dtype: FloatDtype) -> FloatVec {
        let all = (0..self.len()).map(|index| self.get(index));
        match (self, dtype) {
            (Self::F32(values), FloatDtype::F16) => {
                let mut rounded = vec![f16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                FloatVec::F16(rounded)
            }
            (Self::F32(values), FloatDtype::BF16) => {
                let mut rounded = vec![bf16::ZERO; values.len()];
                rounded.convert_from_f32_slice(values);
                FloatVec::BF16(rounded)
            }
            (_, FloatDtype::F16) => FloatVec::F16(all.map(f16::from_f64).collect()),
            (_, FloatDtype::BF16) => FloatVec::BF16(all.map(bf16::from_f64).collect()),
            (_, FloatDtype::F32) => FloatVec::F32(all.map(|value| value as f32).collect()),
            (_, FloatDtype::F64) => FloatVec::F64(all.collect()),
        }
    }

    /// Puts the elements into `out` in single precision, rounded to nearest.
    pub(super) fn widen_into(self, out: &mut [f32]) {
        match self {
            Self::F16(values) => values.convert_to_f32_slice(out),
            Self::BF16(values) => values.convert_to_f32_slice(out),
            Self::F32(values) => out.copy_from_slice(values),
            Self::F64(values) => {
                for (out, &value) in out.iter_mut().zip(values) {
                    *out = value as f32;
                }
            }
        }
    }

    /// One element.
    pub(super) fn get(self, index: usize) -> f64 {
        match self {
            Self::F16(values) => values[index].to_f64(),
            Self::BF16(values) => values[index].to_f64(),
            Self::F32(values) => f64::from(values[index]),
            Self::F64(values) => values[index],
        }
    }

    /// Euclidean norm of each row of `width` elements.
    pub(super) fn row_norms(self, width: usize) -> Vec<f64> {
        match self {
            Self::F16(values) => norms(values, width, f16::to_f64),
            Self::BF16(values) => norms(values, width, bf16::to_f64),
            Self::F32(values) => norms(values, width, f64::from),
            Self::F64(values) => norms(values, width, |value| value),
        }
    }

    /// Index of the first element that is infinite or not a number.
    pub(super) fn first_non_finite(self) -> Option<usize> {
        match self {
            Self::F16(values) => non_finite(values, |value| value.to_bits() & 0x7c00 == 0x7c00),
            Self::BF16(values) => non_finite(values, |value| value.to_bits() & 0x7f80 == 0x7f80),
            Self::F32(values) => non_finite(values, |value| !value.is_finite()),
            Self::F64(values) => non_finite(values, |value| !value.is_finite()),
        }
    }
}

impl<'a> From<&'a [f32]> for FloatSlice<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

/// Eight running sums keep the rounding error of long rows below the
/// tolerance of double precision files and let the compiler use vectors.
fn norms<T: Copy>(values: &[T], width: usize, to_f64: impl Fn(T) -> f64) -> Vec<f64> {
    const LANES: usize = 8;
    values
        .chunks_exact(width)
        .map(|row| {
            let (blocks, rest) = row.as_chunks::<LANES>();
            let mut sums = [0.0; LANES];
            for block in blocks {
                for (sum, &value) in sums.iter_mut().zip(block) {
                    let value = to_f64(value);
                    *sum += value * value;
                }
            }
            let rest: f64 = rest.iter().map(|&value| to_f64(value).powi(2)).sum();
            (sums.iter().sum::<f64>() + rest).sqrt()
        })
        .collect()
}

/// Looks at whole blocks first: the common answer is "none", and a search
/// that can stop at every element does not vectorise.
fn non_finite<T: Pod>(values: &[T], is_bad: impl Fn(&T) -> bool) -> Option<usize> {
    const BLOCK: usize = 1024;
    values.chunks(BLOCK).enumerate().find_map(|(block, chunk)| {
        let any = chunk.iter().fold(false, |any, value| any | is_bad(value));
        if any {
            chunk.iter().position(&is_bad).map(|at| block * BLOCK + at)
        } else {
            None
        }
    })
}
