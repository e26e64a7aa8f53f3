//! Host views of tensors: kernels read slices and return owned buffers.

use std::ops::Deref;

use candle_core::{CpuStorage, Device, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::math::{dot, kernel};

/// Elements of a contiguous f32 tensor on the CPU.
pub struct HostSlice<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    start: usize,
    len: usize,
}

impl Deref for HostSlice<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.start + self.len],
            // `host` checked the storage; it never changes its kind.
            _ => &[],
        }
    }
}

/// View of `tensor`, which must be f32, contiguous and on the CPU.
pub fn host(tensor: &Tensor) -> Result<HostSlice<'_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a kernel needs a contiguous tensor, not {layout:?}");
    };
    if !matches!(&*storage, Storage::Cpu(CpuStorage::F32(_))) {
        bail!(
            "a kernel needs f32 values on the CPU, not {:?} on {:?}",
            tensor.dtype(),
            tensor.device()
        );
    }
    Ok(HostSlice {
        storage: Box::new(storage),
        start,
        len: end - start,
    })
}

/// CPU tensor that owns `values`.
pub fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

kernel! {
    fn normalize(x: &[f32], y: &mut [f32]) {
        let scale = 1.0 / dot(x, x).sqrt().max(1e-12);
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * scale;
        }
    }
}

/// Rows `[.., F]` divided by max(2-norm, 1e-12).
pub fn normalize_rows(x: &Tensor) -> Result<Tensor> {
    let width = x.dim(candle_core::D::Minus1)?;
    let values = host(x)?;
    let mut out = vec![0.0; values.len()];
    if width > 0 {
        out.par_chunks_mut(width)
            .zip(values.par_chunks(width))
            .for_each(|(out, row)| normalize(row, out));
    }
    tensor(out, x.shape())
}
