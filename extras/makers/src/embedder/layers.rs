//! Layers and their gradients on plain slices.

use super::matrix::{Into, plain, product, turned};

/// Epsilon of batch and layer norms.
pub const EPSILON: f32 = 1e-5;

/// Pictures of `height` × `width` cells with `channels` values each.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub pictures: usize,
    pub height: usize,
    pub width: usize,
    /// Filled in from the value the grid is used on.
    pub channels: usize,
    pub stride: usize,
}

impl Grid {
    /// Square pictures of `side` cells, stride 1.
    pub fn square(pictures: usize, side: usize) -> Self {
        Self {
            pictures,
            height: side,
            width: side,
            channels: 0,
            stride: 1,
        }
    }

    /// The same with another stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    fn cells(&self) -> usize {
        self.height * self.width
    }

    /// Cells of a picture after a convolution.
    pub fn out_cells(&self) -> usize {
        (self.height / self.stride) * (self.width / self.stride)
    }

    /// Pictures per matrix product: keeps the gathered patches in the cache.
    fn block(&self) -> usize {
        (40_000 / (self.out_cells() * 9 * self.channels)).clamp(1, self.pictures)
    }
}

/// Gathers the 3 × 3 patches of `count` pictures into rows of 9 · channels.
fn patches(x: &[f32], grid: Grid, count: usize, out: &mut Vec<f32>) {
    let (h, w, c, s) = (grid.height, grid.width, grid.channels, grid.stride);
    let row = 9 * c;
    out.resize(count * grid.out_cells() * row, 0.0);
    let mut target = 0;
    for picture in 0..count {
        let x = &x[picture * grid.cells() * c..(picture + 1) * grid.cells() * c];
        for oy in 0..h / s {
            for ox in 0..w / s {
                let (cy, cx) = (oy * s, ox * s);
                for ky in 0..3 {
                    let part = &mut out[target + ky * 3 * c..target + (ky + 1) * 3 * c];
                    let Some(iy) = (cy + ky).checked_sub(1).filter(|&y| y < h) else {
                        part.fill(0.0);
                        continue;
                    };
                    let from = if cx == 0 { 1 } else { 0 };
                    let to = if cx + 1 < w { 3 } else { 2 };
                    let source = (iy * w + cx + from - 1) * c;
                    part[..from * c].fill(0.0);
                    part[from * c..to * c].copy_from_slice(&x[source..source + (to - from) * c]);
                    part[to * c..].fill(0.0);
                }
                target += row;
            }
        }
    }
}

/// 3 × 3 convolution, padding 1; weights `[9 · in, out]`.
pub fn conv(x: &[f32], weight: &[f32], grid: Grid, y: &mut [f32], scratch: &mut Vec<f32>) {
    let k = 9 * grid.channels;
    let n = weight.len() / k;
    let block = grid.block();
    for start in (0..grid.pictures).step_by(block) {
        let count = block.min(grid.pictures - start);
        patches(
            &x[start * grid.cells() * grid.channels..],
            grid,
            count,
            scratch,
        );
        let rows = count * grid.out_cells();
        let y = &mut y[start * grid.out_cells() * n..][..rows * n];
        product(
            rows,
            k,
            n,
            plain(scratch, k),
            plain(weight, n),
            y,
            Into::Replace,
        );
    }
}

/// Adds the gradient of the weights of [`conv`].
pub fn conv_weight_gradient(
    x: &[f32],
    dy: &[f32],
    grid: Grid,
    dw: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let k = 9 * grid.channels;
    let n = dw.len() / k;
    let block = grid.block();
    for start in (0..grid.pictures).step_by(block) {
        let count = block.min(grid.pictures - start);
        patches(
            &x[start * grid.cells() * grid.channels..],
            grid,
            count,
            scratch,
        );
        let rows = count * grid.out_cells();
        let dy = &dy[start * grid.out_cells() * n..][..rows * n];
        product(k, rows, n, turned(scratch, k), plain(dy, n), dw, Into::Add);
    }
}

/// Gradient of the input of [`conv`] with stride 1: a convolution with the
/// mirrored weights.
pub fn conv_input_gradient(
    dy: &[f32],
    weight: &[f32],
    grid: Grid,
    dx: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let c = grid.channels;
    let n = weight.len() / (9 * c);
    let mut mirrored = vec![0.0; weight.len()];
    for tap in 0..9 {
        for i in 0..c {
            for o in 0..n {
                mirrored[((8 - tap) * n + o) * c + i] = weight[(tap * c + i) * n + o];
            }
        }
    }
    conv(
        dy,
        &mirrored,
        Grid {
            channels: n,
            stride: 1,
            ..grid
        },
        dx,
        scratch,
    );
}

/// Means, then variances, of the columns.
pub fn moments(x: &[f32], c: usize) -> Vec<f32> {
    let rows = (x.len() / c) as f32;
    let mut out = vec![0.0; 2 * c];
    let (mean, variance) = out.split_at_mut(c);
    for row in x.chunks_exact(c) {
        mean.iter_mut().zip(row).for_each(|(m, x)| *m += x);
    }
    mean.iter_mut().for_each(|m| *m /= rows);
    for row in x.chunks_exact(c) {
        for ((v, x), m) in variance.iter_mut().zip(row).zip(mean.iter()) {
            *v += (x - m) * (x - m);
        }
    }
    variance.iter_mut().for_each(|v| *v /= rows);
    out
}

/// Batch norm with the given moments, then ReLU if wanted.
pub fn batch_norm(
    x: &[f32],
    moments: &[f32],
    gain: &[f32],
    offset: &[f32],
    relu: bool,
    y: &mut [f32],
) {
    let c = gain.len();
    let factor: Vec<f32> = (0..c)
        .map(|i| gain[i] / (moments[c + i] + EPSILON).sqrt())
        .collect();
    let shift: Vec<f32> = (0..c).map(|i| offset[i] - moments[i] * factor[i]).collect();
    let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
        for i in 0..c {
            y[i] = (x[i] * factor[i] + shift[i]).max(floor);
        }
    }
}

/// Gradients of gain and offset of a batch norm.
pub fn batch_norm_sums(x: &[f32], dy: &[f32], moments: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let c = moments.len() / 2;
    let (mut dg, mut db) = (vec![0.0f32; c], vec![0.0f32; c]);
    let mean = &moments[..c];
    for (x, d) in x.chunks_exact(c).zip(dy.chunks_exact(c)) {
        for i in 0..c {
            dg[i] += d[i] * (x[i] - mean[i]);
            db[i] += d[i];
        }
    }
    for i in 0..c {
        dg[i] /= (moments[c + i] + EPSILON).sqrt();
    }
    (dg, db)
}

/// Gradient of the input of a batch norm that used its batch's own moments.
pub fn batch_norm_gradient(
    x: &[f32],
    dy: &[f32],
    moments: &[f32],
    gain: &[f32],
    dg: &[f32],
    db: &[f32],
    dx: &mut [f32],
) {
    let c = gain.len();
    let rows = (x.len() / c) as f32;
    let scale: Vec<f32> = (0..c)
        .map(|i| 1.0 / (moments[c + i] + EPSILON).sqrt())
        .collect();
    let a: Vec<f32> = (0..c).map(|i| gain[i] * scale[i]).collect();
    let b: Vec<f32> = (0..c).map(|i| -a[i] * dg[i] * scale[i] / rows).collect();
    let e: Vec<f32> = (0..c)
        .map(|i| -a[i] * db[i] / rows - b[i] * moments[i])
        .collect();
    for ((dx, x), d) in dx
        .chunks_exact_mut(c)
        .zip(x.chunks_exact(c))
        .zip(dy.chunks_exact(c))
    {
        for i in 0..c {
            dx[i] = a[i] * d[i] + b[i] * x[i] + e[i];
        }
    }
}

/// Clears the gradient where a ReLU's output is zero.
pub fn gate(y: &[f32], dy: &mut [f32]) {
    for (d, y) in dy.iter_mut().zip(y) {
        *d = if *y > 0.0 { *d } else { 0.0 };
    }
}

/// Mean over 2 × 2 cells.
pub fn average_pool(x: &[f32], grid: Grid, y: &mut [f32]) {
    let (w, c) = (grid.width, grid.channels);
    let half = w / 2;
    for (cell, out) in y.chunks_exact_mut(c).enumerate() {
        let (row, column) = (cell / half, cell % half);
        let at = (row * 2 * w + column * 2) * c;
        let below = at + w * c;
        for i in 0..c {
            out[i] = 0.25 * (x[at + i] + x[at + c + i] + x[below + i] + x[below + c + i]);
        }
    }
}

/// Gradient of the input of [`average_pool`].
pub fn average_pool_gradient(dy: &[f32], grid: Grid, dx: &mut [f32]) {
    let (w, c) = (grid.width, grid.channels);
    let half = w / 2;
    for (cell, d) in dy.chunks_exact(c).enumerate() {
        let (row, column) = (cell / half, cell % half);
        let at = (row * 2 * w + column * 2) * c;
        for start in [at, at + c, at + w * c, at + w * c + c] {
            for i in 0..c {
                dx[start + i] = 0.25 * d[i];
            }
        }
    }
}

/// Layer norm of every row.
pub fn layer_norm(x: &[f32], gain: &[f32], offset: &[f32], y: &mut [f32]) {
    let c = gain.len();
    for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
        let (mean, scale) = row_moments(x);
        for i in 0..c {
            y[i] = (x[i] - mean) * scale * gain[i] + offset[i];
        }
    }
}

/// Gradient of [`layer_norm`]: writes that of `x`, returns those of gain and
/// offset.
pub fn layer_norm_gradient(
    x: &[f32],
    dy: &[f32],
    gain: &[f32],
    dx: &mut [f32],
) -> (Vec<f32>, Vec<f32>) {
    let c = gain.len();
    let (mut dg, mut db) = (vec![0.0; c], vec![0.0; c]);
    for ((dx, x), d) in dx
        .chunks_exact_mut(c)
        .zip(x.chunks_exact(c))
        .zip(dy.chunks_exact(c))
    {
        let (mean, scale) = row_moments(x);
        let (mut sum, mut dot) = (0.0, 0.0);
        for i in 0..c {
            let normed = (x[i] - mean) * scale;
            dg[i] += d[i] * normed;
            db[i] += d[i];
            let g = d[i] * gain[i];
            sum += g;
            dot += g * normed;
        }
        let (sum, dot) = (sum / c as f32, dot / c as f32);
        for i in 0..c {
            dx[i] = scale * (d[i] * gain[i] - sum - (x[i] - mean) * scale * dot);
        }
    }
    (dg, db)
}

fn row_moments(x: &[f32]) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = x.iter().sum::<f32>() / n;
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / n;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

/// `x · sigmoid(1.702 x)`.
pub fn quick_gelu(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x / (1.0 + exp(-1.702 * x));
    }
}

/// Gradient of the input of [`quick_gelu`].
pub fn quick_gelu_gradient(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for ((dx, x), d) in dx.iter_mut().zip(x).zip(dy) {
        let s = 1.0 / (1.0 + exp(-1.702 * x));
        *dx = d * (s + 1.702 * x * s * (1.0 - s));
    }
}

/// Exponential, relative error below 3e-7, written so that loops over it can
/// use vector instructions.
pub fn exp(x: f32) -> f32 {
    let t = x.clamp(-87.0, 87.0) * std::f32::consts::LOG2_E;
    let whole = (t + 12_582_912.0) - 12_582_912.0;
    let r = (t - whole) * std::f32::consts::LN_2;
    let p = 1.0
        + r * (1.0
            + r * (0.5
                + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    p * f32::from_bits((((whole as i32) + 127) << 23) as u32)
}

/// Which rows attend to which.
#[derive(Debug, Clone)]
pub struct AttentionShape {
    pub heads: usize,
    /// Rows of the query per segment.
    pub queries: Vec<usize>,
    /// Rows of key and value per segment.
    pub keys: Vec<usize>,
    /// Whether row i sees only rows up to i.
    pub causal: bool,
}

/// Multi-head attention; returns the attention weights.
pub fn attention(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    c: usize,
    shape: &AttentionShape,
    y: &mut [f32],
) -> Vec<f32> {
    let d = c / shape.heads;
    let scale = 1.0 / (d as f32).sqrt();
    let mut weights = Vec::new();
    y.fill(0.0);
    let (mut q0, mut k0) = (0, 0);
    for (&nq, &nk) in shape.queries.iter().zip(&shape.keys) {
        for head in 0..shape.heads {
            let part = head * d..(head + 1) * d;
            for i in 0..nq {
                let seen = if shape.causal { i + 1 } else { nk };
                let query = &q[(q0 + i) * c..][part.clone()];
                let start = weights.len();
                weights.extend(
                    (0..seen).map(|j| scale * dot(query, &k[(k0 + j) * c..][part.clone()])),
                );
                softmax(&mut weights[start..]);
                let out = &mut y[(q0 + i) * c..][part.clone()];
                for (j, w) in weights[start..].iter().enumerate() {
                    out.iter_mut()
                        .zip(&v[(k0 + j) * c..][part.clone()])
                        .for_each(|(y, v)| *y += w * v);
                }
            }
        }
        q0 += nq;
        k0 += nk;
    }
    weights
}

/// Gradients of the inputs of [`attention`].
pub fn attention_gradient(
    inputs: [&[f32]; 3],
    c: usize,
    shape: &AttentionShape,
    weights: &[f32],
    dy: &[f32],
    outputs: [&mut [f32]; 3],
) {
    let [q, k, v] = inputs;
    let [dq, dk, dv] = outputs;
    dq.fill(0.0);
    dk.fill(0.0);
    dv.fill(0.0);
    let d = c / shape.heads;
    let scale = 1.0 / (d as f32).sqrt();
    let mut at = 0;
    let (mut q0, mut k0) = (0, 0);
    let mut dw = Vec::new();
    for (&nq, &nk) in shape.queries.iter().zip(&shape.keys) {
        for head in 0..shape.heads {
            let part = head * d..(head + 1) * d;
            for i in 0..nq {
                let seen = if shape.causal { i + 1 } else { nk };
                let w = &weights[at..at + seen];
                at += seen;
                let row = (q0 + i) * c;
                let d_out = &dy[row..][part.clone()];
                dw.clear();
                dw.extend((0..seen).map(|j| dot(d_out, &v[(k0 + j) * c..][part.clone()])));
                let mean = dot(&dw, w);
                for j in 0..seen {
                    let other = (k0 + j) * c;
                    let g = w[j] * (dw[j] - mean) * scale;
                    for e in part.clone() {
                        dq[row + e] += g * k[other + e];
                        dk[other + e] += g * q[row + e];
                        dv[other + e] += w[j] * dy[row + e];
                    }
                }
            }
        }
        q0 += nq;
        k0 += nk;
    }
}

/// The mean of each picture's cells, then the cells, plus positions.
pub fn mean_token(x: &[f32], positions: &[f32], c: usize, cells: usize, y: &mut [f32]) {
    for (y, x) in y
        .chunks_exact_mut((cells + 1) * c)
        .zip(x.chunks_exact(cells * c))
    {
        y.copy_from_slice(positions);
        let (mean, rest) = y.split_at_mut(c);
        rest.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        for cell in x.chunks_exact(c) {
            mean.iter_mut()
                .zip(cell)
                .for_each(|(m, x)| *m += x / cells as f32);
        }
    }
}

/// Gradient of [`mean_token`]: adds that of the positions, writes that of `x`.
pub fn mean_token_gradient(
    dy: &[f32],
    c: usize,
    cells: usize,
    d_positions: &mut [f32],
    dx: &mut [f32],
) {
    for (dx, dy) in dx
        .chunks_exact_mut(cells * c)
        .zip(dy.chunks_exact((cells + 1) * c))
    {
        d_positions.iter_mut().zip(dy).for_each(|(p, d)| *p += d);
        let (mean, rest) = dy.split_at(c);
        for (dx, d) in dx.chunks_exact_mut(c).zip(rest.chunks_exact(c)) {
            for i in 0..c {
                dx[i] = d[i] + mean[i] / cells as f32;
            }
        }
    }
}

/// Scalar product.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left
        .remainder()
        .iter()
        .zip(right.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in left.zip(right) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Softmax in place.
pub fn softmax(x: &mut [f32]) {
    let top = x.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = exp(*x - top);
        sum += *x;
    }
    x.iter_mut().for_each(|x| *x /= sum);
}

/// Scales every row to length 1; returns the former lengths.
pub fn unit_rows(x: &mut [f32], c: usize) -> Vec<f32> {
    x.chunks_exact_mut(c)
        .map(|row| {
            let length = dot(row, row).sqrt().max(1e-12);
            row.iter_mut().for_each(|x| *x /= length);
            length
        })
        .collect()
}
