//! Fused inference layers over rows: linear with bias, residual and
//! activation in one pass, and layer normalisation.
//!
//! On the CPU each block of rows is multiplied by one thread and finished
//! while it is still in cache; other devices get the same result from
//! ordinary tensor operations, with products in the precision of the weight.
//! None of these is differentiable.

use std::borrow::Cow;

use candle_core::{D, DType, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::choice::on_cpu;
use super::rows;

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`
    Relu,
    /// Exact (erf) GELU.
    Gelu,
    /// GELU in its tanh form.
    GeluTanh,
    /// `x·σ(1.702x)`
    QuickGelu,
    /// `x·σ(x)`
    Silu,
}

impl Activation {
    /// Applies it in place.
    pub fn apply(self, x: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => rows::relu(x),
            Self::Gelu => rows::gelu(x),
            Self::GeluTanh => rows::gelu_tanh(x),
            Self::QuickGelu => rows::quick_gelu(x),
            Self::Silu => rows::silu(x),
        }
    }

    pub(super) fn apply_tensor(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Relu => x.relu(),
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Self::Silu => x.silu(),
        }
    }
}

/// Calls `f` with the values of a contiguous `f32` CPU tensor.
pub(super) fn with_values<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let x = contiguous(x)?;
    let (storage, layout) = x.storage_and_layout();
    match &*storage {
        Storage::Cpu(values) => {
            let values = values.as_slice::<f32>()?;
            let start = layout.start_offset();
            Ok(f(&values[start..start + layout.shape().elem_count()]))
        }
        _ => candle_core::bail!(
            "fused CPU operation called with a tensor on {:?}",
            x.device()
        ),
    }
}

fn contiguous(x: &Tensor) -> Result<Cow<'_, Tensor>> {
    Ok(if x.is_contiguous() {
        Cow::Borrowed(x)
    } else {
        Cow::Owned(x.contiguous()?)
    })
}

/// Rows per task: enough to amortise packing the weight, few enough to share
/// the work between threads.
fn rows_per_task(rows: usize) -> usize {
    rows.div_ceil(2 * rayon::current_num_threads())
        .clamp(64, 1024)
}

/// Values of half weights that are widened before they are multiplied: they
/// stay in the processor's cache.
const WIDENED: usize = 1 << 16;

/// Values of a weight in the precision in which it is stored.
#[derive(Clone, Copy)]
enum Weight<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl Weight<'_> {
    /// `out += x·wᵀ` on the calling thread: out `[R, N]`, x `[R, K]`, w
    /// `[N, K]`. Sums are of single precision whatever the weight's is.
    fn add_product(self, out: &mut [f32], x: &[f32], k: usize, n: usize) {
        if let Self::F32(w) = self {
            return add_product(out, x, w, k, n);
        }
        let together = (WIDENED / k.max(1)).clamp(1, n.max(1));
        let mut wide = vec![0f32; together * k];
        for first in (0..n).step_by(together) {
            let count = together.min(n - first);
            let wide = &mut wide[..count * k];
            let place = first * k..(first + count) * k;
            match self {
                Self::F16(w) => w[place].convert_to_f32_slice(wide),
                Self::Bf16(w) => w[place].convert_to_f32_slice(wide),
                Self::F32(w) => wide.copy_from_slice(&w[place]),
            }
            add_columns(out, x, wide, k, n, first);
        }
    }
}

/// Calls `f` with the values of a contiguous CPU weight of any float type.
fn with_weight<R>(w: &Tensor, f: impl FnOnce(Weight<'_>) -> R) -> Result<R> {
    let w = contiguous(w)?;
    let (storage, layout) = w.storage_and_layout();
    let Storage::Cpu(values) = &*storage else {
        candle_core::bail!("a weight on {:?} does not fit CPU inputs", w.device())
    };
    let place = layout.start_offset()..layout.start_offset() + layout.shape().elem_count();
    Ok(match w.dtype() {
        DType::F16 => f(Weight::F16(&values.as_slice::<f16>()?[place])),
        DType::BF16 => f(Weight::Bf16(&values.as_slice::<bf16>()?[place])),
        _ => f(Weight::F32(&values.as_slice::<f32>()?[place])),
    })
}

/// `activation(x·wᵀ + b + residual)`: x `[…, K]`, w `[N, K]`, b `[N]`,
/// residual `[…, N]` → `[…, N]`. The weight may be stored in half precision:
/// the CPU computes in that of x all the same, other devices multiply in that
/// of the weight. All else is done in that of x.
pub fn linear(
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    residual: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (n, k) = w.dims2()?;
    let mut dims = x.dims().to_vec();
    match dims.last_mut() {
        Some(last) if *last == k => *last = n,
        _ => candle_core::bail!(
            "linear layer: input {:?} does not fit weight [{n}, {k}]",
            x.dims()
        ),
    }
    if let Some(b) = b
        && b.dims() != [n]
    {
        candle_core::bail!(
            "linear layer: bias {:?} does not fit weight [{n}, {k}]",
            b.dims()
        );
    }
    if let Some(residual) = residual
        && residual.dims() != dims
    {
        candle_core::bail!(
            "linear layer: residual {:?} is not {dims:?}",
            residual.dims()
        );
    }
    if !on_cpu(x) {
        let mut y = contiguous(x)?
            .reshape(((), k))?
            .to_dtype(w.dtype())?
            .matmul(&w.t()?)?
            .to_dtype(x.dtype())?
            .reshape(dims)?;
        if let Some(b) = b {
            y = y.broadcast_add(b)?;
        }
        if let Some(residual) = residual {
            y = (y + residual)?;
        }
        return activation.apply_tensor(&y);
    }
    let rows: usize = dims[..dims.len() - 1].iter().product();
    let mut out = vec![0f32; rows * n];
    let bias = b.map(|b| b.to_vec1::<f32>()).transpose()?;
    let mut multiply = |residual: Option<&[f32]>| {
        with_values(x, |x| {
            with_weight(w, |w| {
                let per_task = rows_per_task(rows);
                let per_output = (per_task * n).max(1);
                out.par_chunks_mut(per_output)
                    .zip(x.par_chunks((per_task * k).max(1)))
                    .enumerate()
                    .for_each(|(task, (out, x))| {
                        let start = task * per_output;
                        let residual = residual.map(|values| &values[start..start + out.len()]);
                        begin(out, residual, bias.as_deref());
                        w.add_product(out, x, k, n);
                        activation.apply(out);
                    });
            })
        })?
    };
    match residual {
        Some(residual) => with_values(residual, |values| multiply(Some(values)))??,
        None => multiply(None)?,
    }
    Tensor::from_vec(out, dims, x.device())
}

/// Weight `[N, K]` and bias `[N]` of a linear layer.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// In any float type.
    pub weight: &'a Tensor,
    /// None counts as zero.
    pub bias: Option<&'a Tensor>,
}

/// `x + down(activation(up(y)))` of two linear layers: y `[R, K]`, x `[R, M]`
/// → `[R, M]`. On the CPU what lies between the layers exists for some rows at
/// a time only.
pub fn add_mlp(
    x: &Tensor,
    y: &Tensor,
    up: Layer<'_>,
    down: Layer<'_>,
    activation: Activation,
) -> Result<Tensor> {
    let (rows, k) = y.dims2()?;
    let (hidden, inputs) = up.weight.dims2()?;
    let (outputs, between) = down.weight.dims2()?;
    let fits = |bias: Option<&Tensor>, n: usize| bias.is_none_or(|bias| bias.dims() == [n]);
    let all_fit = inputs == k
        && between == hidden
        && x.dims() == [rows, outputs]
        && fits(up.bias, hidden)
        && fits(down.bias, outputs);
    // One layer after the other says what does not fit.
    if !all_fit || !on_cpu(y) {
        let y = linear(y, up.weight, up.bias, None, activation)?;
        return linear(&y, down.weight, down.bias, Some(x), Activation::Identity);
    }
    let values = |bias: Option<&Tensor>| bias.map(|b| b.to_vec1::<f32>()).transpose();
    let (up_bias, down_bias) = (values(up.bias)?, values(down.bias)?);
    let mut out = vec![0f32; rows * outputs];
    let per_task = rows_per_task(rows);
    let mut multiply = |x: &[f32], y: &[f32], up: Weight<'_>, down: Weight<'_>| {
        out.par_chunks_mut((per_task * outputs).max(1))
            .zip(x.par_chunks((per_task * outputs).max(1)))
            .zip(y.par_chunks((per_task * k).max(1)))
            .for_each_init(Vec::new, |between, ((out, x), y)| {
                between.resize(y.len() / k.max(1) * hidden, 0f32);
                begin(between, None, up_bias.as_deref());
                up.add_product(between, y, k, hidden);
                activation.apply(between);
                begin(out, Some(x), down_bias.as_deref());
                down.add_product(out, between, hidden, outputs);
            });
    };
    with_values(x, |x| {
        with_values(y, |y| {
            with_weight(up.weight, |up| {
                with_weight(down.weight, |down| multiply(x, y, up, down))
            })
        })
    })????;
    Tensor::from_vec(out, (rows, outputs), y.device())
}

/// Writes what a product is added to, residual and bias of new rows `out`
/// `[R, N]`. Memory that is new must be written before it is read: a page that
/// was read first is copied when it is written.
pub(super) fn begin(out: &mut [f32], residual: Option<&[f32]>, bias: Option<&[f32]>) {
    match (residual, bias) {
        (Some(residual), Some(bias)) => {
            let rows = out.chunks_exact_mut(bias.len());
            for (row, residual) in rows.zip(residual.chunks_exact(bias.len())) {
                for ((value, &residual), &bias) in row.iter_mut().zip(residual).zip(bias) {
                    *value = residual + bias;
                }
            }
        }
        (Some(residual), None) => out.copy_from_slice(residual),
        (None, Some(bias)) => {
            for row in out.chunks_exact_mut(bias.len()) {
                row.copy_from_slice(bias);
            }
        }
        (None, None) => out.fill(0.0),
    }
}

/// `out += x·wᵀ` on the calling thread: out `[R, N]`, x `[R, K]`, w `[N, K]`,
/// all row-major.
pub(super) fn add_product(out: &mut [f32], x: &[f32], w: &[f32], k: usize, n: usize) {
    assert!(w.len() == n * k);
    add_columns(out, x, w, k, n, 0);
}

/// The same for some rows of the weight, `w` `[C, K]`: they make the columns
/// from `first` on of out `[R, N]`.
fn add_columns(out: &mut [f32], x: &[f32], w: &[f32], k: usize, n: usize, first: usize) {
    let rows = out.len() / n.max(1);
    let columns = w.len() / k.max(1);
    assert!(out.len() == rows * n && x.len() == rows * k);
    assert!(w.len() == columns * k && first + columns <= n);
    if rows == 0 || columns == 0 {
        return;
    }
    // SAFETY: the lengths checked above cover every element the strides reach.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            k,
            out.as_mut_ptr().add(first),
            1,
            n as isize,
            true,
            x.as_ptr(),
            1,
            k as isize,
            w.as_ptr(),
            k as isize,
            1,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Layer normalisation over the last dimension: x `[…, D]`, weight and bias
/// `[D]`; biased variance, `eps` inside the root.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    if !on_cpu(x) {
        return candle_nn::ops::layer_norm(&*contiguous(x)?, weight, bias, eps);
    }
    let dim = x.dim(D::Minus1)?;
    if weight.dims() != [dim] || bias.dims() != [dim] {
        candle_core::bail!(
            "layer norm: input {:?} does not fit weight {:?}",
            x.dims(),
            weight.dims()
        );
    }
    let (weight, bias) = (weight.to_vec1::<f32>()?, bias.to_vec1::<f32>()?);
    let mut out = vec![0f32; x.elem_count()];
    with_values(x, |values| {
        let per_task = (rows_per_task(values.len() / dim.max(1)) * dim).max(1);
        out.par_chunks_mut(per_task)
            .zip(values.par_chunks(per_task))
            .for_each(|(out, x)| {
                for (out, x) in out.chunks_exact_mut(dim).zip(x.chunks_exact(dim)) {
                    rows::layer_norm(x, &weight, &bias, eps, out);
                }
            });
    })?;
    Tensor::from_vec(out, x.dims(), x.device())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::composed;

    fn ramp(dims: &[usize], step: f32) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count)
            .map(|i| ((i as f32 * step).sin()) * 0.7)
            .collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    #[test]
    fn linear_equals_the_composed_operations() {
        let (x, w, b) = (
            ramp(&[3, 100, 20], 0.37),
            ramp(&[33, 20], 0.11),
            ramp(&[33], 0.9),
        );
        let residual = ramp(&[3, 100, 33], 0.21);
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::Gelu,
            Activation::GeluTanh,
            Activation::QuickGelu,
            Activation::Silu,
        ] {
            let fused = linear(&x, &w, Some(&b), Some(&residual), activation).unwrap();
            let plain = x
                .reshape((300, 20))
                .unwrap()
                .matmul(&w.t().unwrap())
                .unwrap();
            let plain = plain
                .reshape((3, 100, 33))
                .unwrap()
                .broadcast_add(&b)
                .unwrap();
            let plain = activation
                .apply_tensor(&(plain + &residual).unwrap())
                .unwrap();
            let difference = (fused - plain).unwrap().abs().unwrap();
            let worst = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(worst < 1e-5, "{activation:?} differs by {worst}");
        }
    }

    #[test]
    fn weights_in_half_precision_differ_by_their_rounding_alone() {
        // More columns than are widened at once.
        let (x, w) = (ramp(&[70, 900], 0.37), ramp(&[150, 900], 0.11));
        for dtype in [DType::F16, DType::BF16] {
            let stored = w.to_dtype(dtype).unwrap();
            let rounded = stored.to_dtype(DType::F32).unwrap();
            let half = linear(&x, &stored, None, None, Activation::Gelu).unwrap();
            let single = linear(&x, &rounded, None, None, Activation::Gelu).unwrap();
            let worst = (half - single).unwrap().abs().unwrap().max_all().unwrap();
            assert!(worst.to_scalar::<f32>().unwrap() < 1e-5, "{dtype:?}");
            let part = stored.narrow(0, 20, 30).unwrap();
            let some = linear(&x, &part, None, None, Activation::Identity).unwrap();
            assert_eq!(some.dims(), [70, 30]);
        }
    }

    #[test]
    fn two_layers_at_once_are_one_after_the_other() {
        let (x, y) = (ramp(&[150, 9], 0.21), ramp(&[150, 20], 0.37));
        let (up, up_bias) = (ramp(&[33, 20], 0.11), ramp(&[33], 0.9));
        let (down, down_bias) = (ramp(&[9, 33], 0.17), ramp(&[9], 0.4));
        for bias in [true, false] {
            let up = Layer {
                weight: &up,
                bias: bias.then_some(&up_bias),
            };
            let down = Layer {
                weight: &down,
                bias: bias.then_some(&down_bias),
            };
            let both = || add_mlp(&x, &y, up, down, Activation::Gelu).unwrap();
            let between = linear(&y, up.weight, up.bias, None, Activation::Gelu).unwrap();
            let identity = Activation::Identity;
            let after = linear(&between, down.weight, down.bias, Some(&x), identity).unwrap();
            assert!(worst(&both(), &after) < 1e-6);
            assert!(worst(&composed(both), &after) < 1e-5);
            assert!(add_mlp(&y, &y, up, down, Activation::Gelu).is_err());
            assert!(add_mlp(&x, &x, up, down, Activation::Gelu).is_err());
        }
    }

    fn worst(a: &Tensor, b: &Tensor) -> f32 {
        let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap();
        difference.to_scalar().unwrap()
    }

    #[test]
    fn composed_operations_equal_the_fused_ones() {
        let (x, w, b) = (
            ramp(&[2, 50, 20], 0.37),
            ramp(&[33, 20], 0.11),
            ramp(&[33], 0.9),
        );
        let residual = ramp(&[2, 50, 33], 0.21);
        let layer = |w: &Tensor| linear(&x, w, Some(&b), Some(&residual), Activation::Gelu);
        let fused = layer(&w).unwrap();
        assert!(worst(&fused, &composed(|| layer(&w)).unwrap()) < 1e-5);
        // Half precision rounds inputs, too.
        for (dtype, tolerance) in [(DType::F16, 5e-3), (DType::BF16, 4e-2)] {
            let half = w.to_dtype(dtype).unwrap();
            let rounded = composed(|| layer(&half)).unwrap();
            assert_eq!(rounded.dtype(), DType::F32);
            let difference = worst(&fused, &rounded);
            assert!(difference > 0.0 && difference < tolerance, "{difference}");
        }
        let norm = || layer_norm(&x, &ramp(&[20], 0.3), &ramp(&[20], 0.7), 1e-5).unwrap();
        assert!(worst(&norm(), &composed(norm)) < 1e-5);
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let (x, w) = (ramp(&[3, 20], 0.3), ramp(&[5, 21], 0.1));
        assert!(linear(&x, &w, None, None, Activation::Identity).is_err());
        let w = ramp(&[5, 20], 0.1);
        assert!(linear(&x, &w, Some(&ramp(&[6], 0.1)), None, Activation::Identity).is_err());
        assert!(
            linear(
                &x,
                &w,
                None,
                Some(&ramp(&[3, 6], 0.1)),
                Activation::Identity
            )
            .is_err()
        );
        assert!(layer_norm(&x, &ramp(&[19], 0.1), &ramp(&[19], 0.1), 1e-5).is_err());
    }

    #[test]
    fn views_are_accepted() {
        let x = ramp(&[7, 40], 0.3);
        let view = x.narrow(1, 10, 20).unwrap();
        let w = ramp(&[5, 20], 0.1);
        let from_view = linear(&view, &w, None, None, Activation::Identity).unwrap();
        let copy = linear(
            &view.contiguous().unwrap(),
            &w,
            None,
            None,
            Activation::Identity,
        )
        .unwrap();
        assert_eq!(
            from_view.to_vec2::<f32>().unwrap(),
            copy.to_vec2::<f32>().unwrap()
        );
    }
}
