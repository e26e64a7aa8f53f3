//! Convolution and pooling for inference on channels-last images.
//!
//! A convolution gathers the pixels under its window into rows and multiplies
//! them block by block, so the gathered copy stays in cache; 1×1 convolutions
//! are plain linear layers.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::choice::on_cpu;
use super::linear::{Activation, add_product, begin, linear, with_values};

/// `activation(conv(x) + b)` with a square window: x `[B, H, W, C]`, w
/// `[O, K, K, C]`, b `[O]` → `[B, H', W', O]` with
/// `H' = (H + 2·padding − K) / stride + 1`; zeros outside the image.
pub fn convolve(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    stride: usize,
    padding: usize,
    activation: Activation,
) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (outputs, window, window_width, in_channels) = w.dims4()?;
    if window != window_width
        || in_channels != channels
        || stride == 0
        || height + 2 * padding < window
        || width + 2 * padding < window
    {
        candle_core::bail!(
            "convolution: image {:?} does not fit window {:?}",
            x.dims(),
            w.dims()
        );
    }
    let flat = w.reshape((outputs, window * window * channels))?;
    if window == 1 && stride == 1 && padding == 0 {
        return linear(x, &flat, Some(b), None, activation);
    }
    let out_height = (height + 2 * padding - window) / stride + 1;
    let out_width = (width + 2 * padding - window) / stride + 1;
    let dims = (batch, out_height, out_width, outputs);
    if !on_cpu(x) {
        let y = x.permute((0, 3, 1, 2))?.contiguous()?.conv2d(
            &w.permute((0, 3, 1, 2))?.contiguous()?,
            padding,
            stride,
            1,
            1,
        )?;
        let y = y.permute((0, 2, 3, 1))?.contiguous()?;
        return activation.apply_tensor(&y.broadcast_add(b)?);
    }
    let bias = b.to_vec1::<f32>()?;
    let depth = window * window * channels;
    let rows = batch * out_height * out_width;
    let mut out = vec![0f32; rows * outputs];
    with_values(x, |x| {
        with_values(&flat, |w| {
            const PIXELS_PER_TASK: usize = 256;
            out.par_chunks_mut((PIXELS_PER_TASK * outputs).max(1))
                .enumerate()
                .for_each_init(
                    || vec![0f32; PIXELS_PER_TASK * depth],
                    |gathered, (task, out)| {
                        let count = out.len() / outputs;
                        for (i, row) in gathered.chunks_exact_mut(depth).take(count).enumerate() {
                            let pixel = task * PIXELS_PER_TASK + i;
                            let (item, rest) = (
                                pixel / (out_height * out_width),
                                pixel % (out_height * out_width),
                            );
                            let (top, left) =
                                (rest / out_width * stride, rest % out_width * stride);
                            for (dy, line) in row.chunks_exact_mut(window * channels).enumerate() {
                                let y = (top + dy).wrapping_sub(padding);
                                if y >= height {
                                    line.fill(0.0);
                                    continue;
                                }
                                let start = (item * height + y) * width;
                                for (dx, point) in line.chunks_exact_mut(channels).enumerate() {
                                    let column = (left + dx).wrapping_sub(padding);
                                    if column >= width {
                                        point.fill(0.0);
                                    } else {
                                        let from = (start + column) * channels;
                                        point.copy_from_slice(&x[from..from + channels]);
                                    }
                                }
                            }
                        }
                        begin(out, None, Some(&bias));
                        add_product(out, &gathered[..count * depth], w, depth, outputs);
                        activation.apply(out);
                    },
                );
        })
    })??;
    Tensor::from_vec(out, dims, x.device())
}

/// `activation(conv(x) + b)` with one square window per channel: x `[B, H, W,
/// C]`, w `[K, K, C]`, b `[C]` → `[B, H', W', C]`; `padding` zeros (before,
/// after) in both directions.
pub fn depthwise(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    stride: usize,
    padding: (usize, usize),
    activation: Activation,
) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (window, window_width, window_channels) = w.dims3()?;
    let padded = padding.0 + padding.1;
    if window != window_width
        || window_channels != channels
        || b.dims() != [channels]
        || stride == 0
        || height + padded < window
        || width + padded < window
    {
        candle_core::bail!(
            "depthwise convolution: image {:?} does not fit window {:?}",
            x.dims(),
            w.dims()
        );
    }
    let out_height = (height + padded - window) / stride + 1;
    let out_width = (width + padded - window) / stride + 1;
    if !on_cpu(x) {
        let y = composed_depthwise(x, w, stride, padding, (out_height, out_width))?;
        return activation.apply_tensor(&y.broadcast_add(b)?);
    }
    let bias = b.to_vec1::<f32>()?;
    let mut out = vec![0f32; batch * out_height * out_width * channels];
    with_values(x, |x| {
        with_values(w, |w| {
            out.par_chunks_mut((out_width * channels).max(1))
                .enumerate()
                .for_each(|(line, out)| {
                    let (item, top) = (line / out_height, line % out_height * stride);
                    for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                        out.copy_from_slice(&bias);
                        for dy in 0..window {
                            let y = (top + dy).wrapping_sub(padding.0);
                            if y >= height {
                                continue;
                            }
                            for dx in 0..window {
                                let left = (column * stride + dx).wrapping_sub(padding.0);
                                if left >= width {
                                    continue;
                                }
                                let from = ((item * height + y) * width + left) * channels;
                                let weights = &w[(dy * window + dx) * channels..][..channels];
                                let values = &x[from..from + channels];
                                for ((out, &value), &weight) in
                                    out.iter_mut().zip(values).zip(weights)
                                {
                                    *out += value * weight;
                                }
                            }
                        }
                    }
                    activation.apply(out);
                });
        })
    })??;
    Tensor::from_vec(out, (batch, out_height, out_width, channels), x.device())
}

/// The same, without bias, by ordinary tensor operations: a sum over the places
/// of the window.
fn composed_depthwise(
    x: &Tensor,
    w: &Tensor,
    stride: usize,
    padding: (usize, usize),
    (out_height, out_width): (usize, usize),
) -> Result<Tensor> {
    let window = w.dim(0)?;
    let x = x
        .pad_with_zeros(1, padding.0, padding.1)?
        .pad_with_zeros(2, padding.0, padding.1)?
        .contiguous()?;
    let places = |first: usize, count: usize| {
        let places: Vec<u32> = (0..count).map(|i| (first + i * stride) as u32).collect();
        Tensor::from_vec(places, count, x.device())
    };
    let mut sum: Option<Tensor> = None;
    for dy in 0..window {
        let lines = x.index_select(&places(dy, out_height)?, 1)?;
        for dx in 0..window {
            let pixels = lines.index_select(&places(dx, out_width)?, 2)?;
            let part = pixels.broadcast_mul(&w.get(dy)?.get(dx)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
    }
    match sum {
        Some(sum) => Ok(sum),
        None => candle_core::bail!("depthwise convolution with an empty window"),
    }
}

/// Mean over `size`×`size` windows without overlap; pixels that do not fill a
/// window are dropped: x `[B, H, W, C]` → `[B, H/size, W/size, C]`.
pub fn average_pool(x: &Tensor, size: usize) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    if size <= 1 {
        return Ok(x.clone());
    }
    if !on_cpu(x) {
        return x
            .permute((0, 3, 1, 2))?
            .contiguous()?
            .avg_pool2d(size)?
            .permute((0, 2, 3, 1))?
            .contiguous();
    }
    let (out_height, out_width) = (height / size, width / size);
    let mut out = vec![0f32; batch * out_height * out_width * channels];
    let scale = 1.0 / (size * size) as f32;
    with_values(x, |x| {
        out.par_chunks_mut((out_width * channels).max(1))
            .enumerate()
            .for_each(|(line, out)| {
                let (item, top) = (line / out_height.max(1), line % out_height.max(1) * size);
                for dy in 0..size {
                    let start = (item * height + top + dy) * width * channels;
                    for (column, out) in out.chunks_exact_mut(channels).enumerate() {
                        for dx in 0..size {
                            let from = start + (column * size + dx) * channels;
                            for (out, &x) in out.iter_mut().zip(&x[from..from + channels]) {
                                *out += scale * x;
                            }
                        }
                    }
                }
            });
    })?;
    Tensor::from_vec(out, (batch, out_height, out_width, channels), x.device())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn ramp(dims: &[usize], step: f32) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
        Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
    }

    fn worst(a: &Tensor, b: &Tensor) -> f32 {
        (a - b)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    #[test]
    fn depthwise_equals_the_library_convolution() {
        let (x, w) = (ramp(&[2, 9, 7, 3], 0.3), ramp(&[3, 3, 3], 0.7));
        let b = ramp(&[3], 0.5);
        for (stride, padding) in [(1, (1, 1)), (2, (0, 1)), (2, (1, 1)), (1, (0, 0))] {
            let ours = depthwise(&x, &w, &b, stride, padding, Activation::Silu).unwrap();
            let nchw = x.permute((0, 3, 1, 2)).unwrap();
            let padded = nchw.pad_with_zeros(2, padding.0, padding.1).unwrap();
            let padded = padded.pad_with_zeros(3, padding.0, padding.1).unwrap();
            let kernel = w.permute((2, 0, 1)).unwrap().unsqueeze(1).unwrap();
            let kernel = kernel.contiguous().unwrap();
            let theirs = padded
                .contiguous()
                .unwrap()
                .conv2d(&kernel, 0, stride, 1, 3);
            let theirs = theirs.unwrap().permute((0, 2, 3, 1)).unwrap();
            let theirs = theirs.broadcast_add(&b).unwrap().silu().unwrap();
            assert!(worst(&ours, &theirs) < 1e-5);
            let composed =
                crate::composed(|| depthwise(&x, &w, &b, stride, padding, Activation::Silu));
            assert!(worst(&ours, &composed.unwrap()) < 1e-5);
        }
        let wide = ramp(&[3, 3, 4], 0.1);
        assert!(depthwise(&x, &wide, &b, 1, (1, 1), Activation::Relu).is_err());
    }

    #[test]
    fn convolution_equals_the_library_convolution() {
        for (window, stride, padding) in [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (4, 4, 0)] {
            let x = ramp(&[2, 11, 17, 5], 0.13);
            let (w, b) = (ramp(&[7, window, window, 5], 0.71), ramp(&[7], 0.3));
            let ours = convolve(&x, &w, &b, stride, padding, Activation::Relu).unwrap();
            let nchw = |t: &Tensor| t.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
            let theirs = nchw(&x).conv2d(&nchw(&w), padding, stride, 1, 1).unwrap();
            let theirs = theirs
                .broadcast_add(&b.reshape((1, 7, 1, 1)).unwrap())
                .unwrap();
            let theirs = theirs.relu().unwrap();
            let composed =
                crate::composed(|| convolve(&x, &w, &b, stride, padding, Activation::Relu));
            assert!(worst(&ours, &composed.unwrap()) < 1e-5);
            assert_eq!(nchw(&ours).dims(), theirs.dims());
            assert!(worst(&nchw(&ours), &theirs) < 1e-5);
        }
    }

    #[test]
    fn pooling_equals_the_library_pooling() {
        let x = ramp(&[2, 9, 7, 5], 0.13);
        let nchw = |t: &Tensor| t.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let theirs = nchw(&x).avg_pool2d(2).unwrap();
        assert!(worst(&nchw(&average_pool(&x, 2).unwrap()), &theirs) < 1e-6);
        let composed = crate::composed(|| average_pool(&x, 2)).unwrap();
        assert!(worst(&nchw(&composed), &theirs) < 1e-6);
    }
}
