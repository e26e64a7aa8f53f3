//! Rotary positions for inference: pairs of values are turned by angles that
//! depend on where a row lies.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::choice::on_cpu;
use super::linear::with_values;

/// Turns every pair of values of a row by its angle, the same in every head: x
/// `[B, 1 + T, D]`, `cos` and `sin` `[T, d/2]` → `[B, 1 + T, D]`, where D is
/// made of heads of d values. The first row, a class token, stays.
pub fn turn_pairs(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (batch, rows, width) = x.dims3()?;
    let (turned, pairs) = cos.dims2()?;
    if rows != turned + 1 || sin.dims() != cos.dims() || pairs == 0 || width % (2 * pairs) != 0 {
        candle_core::bail!(
            "rotary positions: rows {:?} do not fit angles {:?}",
            x.dims(),
            cos.dims()
        );
    }
    if !on_cpu(x) {
        return composed_turn(x, cos, sin);
    }
    let mut values = x.contiguous()?.flatten_all()?.to_vec1::<f32>()?;
    with_values(cos, |cos| {
        with_values(sin, |sin| {
            values
                .par_chunks_mut(rows * width)
                .for_each(|item| turn_rows(item, cos, sin, width, pairs));
        })
    })??;
    Tensor::from_vec(values, (batch, rows, width), x.device())
}

/// All rows of one item but the first.
fn turn_rows(item: &mut [f32], cos: &[f32], sin: &[f32], width: usize, pairs: usize) {
    let angles = cos.chunks_exact(pairs).zip(sin.chunks_exact(pairs));
    for (row, (cos, sin)) in item.chunks_exact_mut(width).skip(1).zip(angles) {
        for head in row.chunks_exact_mut(2 * pairs) {
            let head = head.as_chunks_mut::<2>().0.iter_mut();
            for (pair, (cos, sin)) in head.zip(cos.iter().zip(sin)) {
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, b * cos + a * sin];
            }
        }
    }
}

/// The same by ordinary tensor operations.
fn composed_turn(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let (batch, rows, width) = x.dims3()?;
    let (turned, pairs) = cos.dims2()?;
    let dims = [batch, turned, width / (2 * pairs), pairs, 2];
    let values = x.narrow(1, 1, turned)?.contiguous()?.reshape(&dims)?;
    let part = |i| values.narrow(D::Minus1, i, 1)?.squeeze(D::Minus1);
    let (a, b) = (part(0)?, part(1)?);
    let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    let turned = Tensor::stack(&[&first, &second], D::Minus1)?;
    let turned = turned.reshape((batch, rows - 1, width))?;
    Tensor::cat(&[&x.narrow(1, 0, 1)?, &turned], 1)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn both_ways_turn_pairs_and_leave_the_first_row() {
        let tensor = |values: Vec<f32>, dims: &[usize]| {
            Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
        };
        let x: Vec<f32> = (0..2 * 3 * 8).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = tensor(x, &[2, 3, 8]);
        let angles = [0.0f32, 1.0, 2.0, 3.0];
        let cos = tensor(angles.map(f32::cos).to_vec(), &[2, 2]);
        let sin = tensor(angles.map(f32::sin).to_vec(), &[2, 2]);
        let fused = turn_pairs(&x, &cos, &sin).unwrap();
        let composed = crate::composed(|| turn_pairs(&x, &cos, &sin)).unwrap();
        let (before, after) = (x.to_vec3::<f32>().unwrap(), fused.to_vec3::<f32>().unwrap());
        for (item, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before[0], after[0], "item {item}");
            // Both heads of the last row have the angles 2 and 3.
            for head in [0, 4] {
                let (a, b) = (before[2][head], before[2][head + 1]);
                assert!((after[2][head] - (a * 2f32.cos() - b * 2f32.sin())).abs() < 1e-6);
                let (a, b) = (before[2][head + 2], before[2][head + 3]);
                assert!((after[2][head + 3] - (b * 3f32.cos() + a * 3f32.sin())).abs() < 1e-6);
            }
        }
        let difference = (fused - composed)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-6);
        assert!(turn_pairs(&x, &cos.narrow(0, 0, 1).unwrap(), &sin).is_err());
    }
}
