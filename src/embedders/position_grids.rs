//! Position embeddings of another size than configured are resized on load
//! (`embedders.md` section 2.2).

use candle_core::{Device, Tensor};

use super::description::{TextArchitecture, VisionArchitecture};
use super::error::EmbedderError;
use super::weights::Weights;

const TEXT: &str = "positional_embedding";
const VISION: &str = "visual.positional_embedding";

/// Resizes the text positions and the grid of the plain vision transformer.
pub fn fit(
    weights: &mut Weights,
    text: &TextArchitecture,
    vision: &VisionArchitecture,
) -> Result<(), EmbedderError> {
    let TextArchitecture::Clip(text) = text else {
        return Ok(());
    };
    let length = text.context_length;
    if let Some(&[stored, width]) = weights.shape(TEXT)
        && stored != length
        && stored > 0
    {
        let rows = weights.peek(TEXT)?.flatten_all()?.to_vec1::<f32>()?;
        let resized = resample_axis(&rows, stored, length, width, &linear_taps(stored, length));
        weights.replace(
            TEXT,
            Tensor::from_vec(resized, (length, width), &Device::Cpu)?,
        );
    }
    let VisionArchitecture::ClipVit(vision) = vision else {
        return Ok(());
    };
    let (rows, columns) = (
        vision.image_size.0 / vision.patch_size,
        vision.image_size.1 / vision.patch_size,
    );
    if let Some(&[stored, width]) = weights.shape(VISION)
        && stored != 1 + rows * columns
        && stored > 1
    {
        let old = (stored - 1).isqrt();
        if old * old == stored - 1 {
            let values = weights.peek(VISION)?.flatten_all()?.to_vec1::<f32>()?;
            let (class, grid) = values.split_at(width);
            // Rows first: each of them is one run of `old · width` values.
            let grid = resample_axis(grid, old, rows, old * width, &cubic_taps(old, rows));
            let taps = cubic_taps(old, columns);
            let mut resized = class.to_vec();
            for line in grid.chunks_exact(old * width) {
                resized.extend(resample_axis(line, old, columns, width, &taps));
            }
            let shape = (1 + rows * columns, width);
            weights.replace(VISION, Tensor::from_vec(resized, shape, &Device::Cpu)?);
        }
    }
    Ok(())
}

/// First input index and weights of each output position.
type Taps = Vec<(usize, Vec<f64>)>;

/// `output` rows of `stride` values from `input` rows.
fn resample_axis(
    values: &[f32],
    input: usize,
    output: usize,
    stride: usize,
    taps: &Taps,
) -> Vec<f32> {
    debug_assert!(values.len() == input * stride && taps.len() == output);
    let mut out = vec![0f32; output * stride];
    for ((start, weights), out) in taps.iter().zip(out.chunks_exact_mut(stride)) {
        for (offset, &weight) in weights.iter().enumerate() {
            let row = &values[(start + offset) * stride..][..stride];
            for (out, &value) in out.iter_mut().zip(row) {
                *out += weight as f32 * value;
            }
        }
    }
    out
}

/// Two-point interpolation, corners not aligned.
fn linear_taps(input: usize, output: usize) -> Taps {
    let scale = input as f64 / output as f64;
    (0..output)
        .map(|i| {
            let position = ((i as f64 + 0.5) * scale - 0.5).max(0.0);
            let start = (position as usize).min(input - 1);
            if start + 1 == input {
                (start, vec![1.0])
            } else {
                let fraction = position - start as f64;
                (start, vec![1.0 - fraction, fraction])
            }
        })
        .collect()
}

/// Antialiased cubic interpolation (a = −0.5), corners not aligned.
fn cubic_taps(input: usize, output: usize) -> Taps {
    const A: f64 = -0.5;
    let cubic = |x: f64| match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    };
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    (0..output)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale;
            let start = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
            let end = ((centre + 2.0 * stretch + 0.5) as usize).min(input);
            let weights: Vec<f64> = (start..end)
                .map(|j| cubic((j as f64 - centre + 0.5) / stretch))
                .collect();
            let sum: f64 = weights.iter().sum();
            (
                start,
                weights.into_iter().map(|weight| weight / sum).collect(),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing_and_weights_sum_to_one() {
        for taps in [cubic_taps, linear_taps] {
            let values: Vec<f32> = (0..14).map(|i| i as f32).collect();
            assert_eq!(resample_axis(&values, 7, 7, 2, &taps(7, 7)), values);
            for (input, output) in [(4, 9), (9, 4), (1, 5), (5, 1)] {
                for (start, weights) in taps(input, output) {
                    assert!(start + weights.len() <= input);
                    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                }
            }
        }
    }
}
