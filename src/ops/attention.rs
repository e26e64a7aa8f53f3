//! Multi-head attention for inference: dense over equal sequences, and over
//! texts that share their prefixes.
//!
//! Queries, keys and values may be views of a fused projection; nothing is
//! copied or transposed head by head.

use candle_core::{Result, Storage, Tensor};
use rayon::prelude::*;

use super::choice::on_cpu;
use super::rows;

/// Rows of a tensor whose last dimension is contiguous: `f` gets the storage,
/// the offset of the first row and the distance between rows.
fn with_rows<R>(x: &Tensor, f: impl FnOnce(&[f32], usize, usize) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(values) = &*storage else {
        candle_core::bail!(
            "fused CPU operation called with a tensor on {:?}",
            x.device()
        );
    };
    let (dims, stride) = (layout.dims(), layout.stride());
    let rank = dims.len();
    let row_stride = stride[rank - 2];
    // Leading dimensions must continue the rows without gaps.
    let regular =
        stride[rank - 1] == 1 && (0..rank - 2).all(|i| stride[i] == stride[i + 1] * dims[i + 1]);
    if !regular {
        candle_core::bail!("attention needs regular rows, got {dims:?} with strides {stride:?}");
    }
    Ok(f(
        values.as_slice::<f32>()?,
        layout.start_offset(),
        row_stride,
    ))
}

/// `softmax(q·kᵀ/√d)·v` for every head without a mask: q `[B, Tq, D]`, k and v
/// `[B, Tk, D]` → `[B, Tq, D]`; heads are consecutive parts of D.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    if heads == 0 || width % heads != 0 || k.dims() != [batch, keys, width] || v.dims() != k.dims()
    {
        candle_core::bail!(
            "attention with {heads} heads: queries {:?}, keys {:?}, values {:?} do not fit",
            q.dims(),
            k.dims(),
            v.dims()
        );
    }
    let dim = width / heads;
    let scale = 1.0 / (dim as f32).sqrt();
    if !on_cpu(q) {
        let split = |x: &Tensor| {
            x.reshape((batch, x.dim(1)?, heads, dim))?
                .transpose(1, 2)?
                .contiguous()
        };
        let scores = (split(q)?.matmul(&split(k)?.t()?)? * f64::from(scale))?;
        return candle_nn::ops::softmax_last_dim(&scores)?
            .matmul(&split(v)?)?
            .transpose(1, 2)?
            .reshape((batch, queries, width));
    }
    let mut out = vec![0f32; batch * queries * width];
    with_rows(q, |q, q_start, q_stride| {
        with_rows(k, |k, k_start, k_stride| {
            with_rows(v, |v, v_start, v_stride| {
                out.par_chunks_mut((queries * width).max(1))
                    .enumerate()
                    .for_each_init(
                        || vec![0f32; queries * keys],
                        |scores, (item, out)| {
                            for head in 0..heads {
                                let part = head * dim;
                                let q = &q[q_start + item * queries * q_stride + part..];
                                let k = &k[k_start + item * keys * k_stride + part..];
                                let v = &v[v_start + item * keys * v_stride + part..];
                                scaled_product(
                                    Block {
                                        values: q,
                                        rows: queries,
                                        row_stride: q_stride,
                                        column_stride: 1,
                                    },
                                    Block {
                                        values: k,
                                        rows: dim,
                                        row_stride: 1,
                                        column_stride: k_stride,
                                    },
                                    scale,
                                    keys,
                                    scores,
                                    keys,
                                );
                                for row in scores.chunks_exact_mut(keys) {
                                    rows::softmax(row);
                                }
                                scaled_product(
                                    Block {
                                        values: scores,
                                        rows: queries,
                                        row_stride: keys,
                                        column_stride: 1,
                                    },
                                    Block {
                                        values: v,
                                        rows: keys,
                                        row_stride: v_stride,
                                        column_stride: 1,
                                    },
                                    1.0,
                                    dim,
                                    &mut out[part..],
                                    width,
                                );
                            }
                        },
                    );
            })
        })
    })???;
    Tensor::from_vec(out, (batch, queries, width), q.device())
}

/// A strided matrix; its number of columns comes from its partner.
#[derive(Clone, Copy)]
struct Block<'a> {
    values: &'a [f32],
    rows: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Block<'_> {
    fn reaches(&self, columns: usize) -> usize {
        (self.rows - 1) * self.row_stride + (columns - 1) * self.column_stride
    }
}

/// `out = scale · a·b` with `columns` columns on the calling thread; rows of
/// `out` lie `out_stride` apart.
fn scaled_product(
    a: Block<'_>,
    b: Block<'_>,
    scale: f32,
    columns: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    if a.rows == 0 || b.rows == 0 || columns == 0 {
        return;
    }
    assert!(
        a.reaches(b.rows) < a.values.len()
            && b.reaches(columns) < b.values.len()
            && (a.rows - 1) * out_stride + columns - 1 < out.len()
    );
    // SAFETY: the three assertions above bound the last element each matrix reaches.
    unsafe {
        gemm::gemm(
            a.rows,
            columns,
            b.rows,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            false,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            0.0,
            scale,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Which keys each query sees: `rows[offsets[i]..offsets[i + 1]]` are the key
/// rows of query `i`.
#[derive(Clone, Debug, Default)]
pub struct KeyPaths {
    offsets: Vec<usize>,
    rows: Vec<u32>,
    highest: u32,
}

impl KeyPaths {
    /// No queries yet.
    pub fn new() -> Self {
        Self {
            offsets: vec![0],
            ..Self::default()
        }
    }

    /// Adds a query that sees these key rows.
    pub fn push(&mut self, keys: &[u32]) {
        self.rows.extend_from_slice(keys);
        self.highest = keys.iter().copied().fold(self.highest, u32::max);
        self.offsets.push(self.rows.len());
    }

    /// Key rows of query `i`.
    pub fn keys(&self, i: usize) -> &[u32] {
        &self.rows[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Attention in which query `i` sees the keys `paths.keys(i)`: q `[Q, D]`, k
/// and v `[R, D]` → `[Q, D]`. With rows shared between texts of a common
/// prefix this is causal attention without repeated work.
pub fn path_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    paths: &KeyPaths,
    heads: usize,
) -> Result<Tensor> {
    let (queries, width) = q.dims2()?;
    let key_rows = k.dim(0)?;
    if heads == 0
        || width % heads != 0
        || k.dims() != [key_rows, width]
        || v.dims() != k.dims()
        || paths.len() != queries
        || (!paths.rows.is_empty() && paths.highest as usize >= key_rows)
    {
        candle_core::bail!(
            "path attention with {heads} heads: queries {:?}, {} paths, keys {:?}, values {:?} do not fit",
            q.dims(),
            paths.len(),
            k.dims(),
            v.dims()
        );
    }
    let dim = width / heads;
    let scale = 1.0 / (dim as f32).sqrt();
    if !on_cpu(q) {
        return composed_path_attention(q, k, v, paths, heads, scale);
    }
    let mut out = vec![0f32; queries * width];
    with_rows(q, |q, q_start, q_stride| {
        with_rows(k, |k, k_start, k_stride| {
            with_rows(v, |v, v_start, v_stride| {
                const QUERIES_PER_TASK: usize = 32;
                out.par_chunks_mut((QUERIES_PER_TASK * width).max(1))
                    .enumerate()
                    .for_each_init(
                        || (Vec::new(), Vec::new()),
                        |(scores, weights), (task, out)| {
                            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                                let query = task * QUERIES_PER_TASK + i;
                                let start = q_start + query * q_stride;
                                let q = &q[start..start + width];
                                let keys = paths.keys(query);
                                let count = keys.len();
                                scores.resize(heads, 0.0);
                                weights.resize(heads * count, 0.0);
                                for (j, &key) in keys.iter().enumerate() {
                                    let start = k_start + key as usize * k_stride;
                                    rows::head_scores(q, &k[start..start + width], scale, scores);
                                    for (head, &score) in scores.iter().enumerate() {
                                        weights[head * count + j] = score;
                                    }
                                }
                                for row in weights.chunks_exact_mut(count.max(1)) {
                                    rows::softmax(row);
                                }
                                for (j, &key) in keys.iter().enumerate() {
                                    for (head, score) in scores.iter_mut().enumerate() {
                                        *score = weights[head * count + j];
                                    }
                                    let start = v_start + key as usize * v_stride;
                                    rows::add_weighted_heads(&v[start..start + width], scores, out);
                                }
                            }
                        },
                    );
            })
        })
    })???;
    Tensor::from_vec(out, (queries, width), q.device())
}

/// The same by ordinary tensor operations: keys gathered per query and padded
/// to the longest path.
fn composed_path_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    paths: &KeyPaths,
    heads: usize,
    scale: f32,
) -> Result<Tensor> {
    let (queries, width) = q.dims2()?;
    let longest = (0..queries).map(|i| paths.keys(i).len()).max().unwrap_or(0);
    let mut index = Vec::with_capacity(queries * longest);
    let mut mask = Vec::with_capacity(queries * longest);
    for i in 0..queries {
        let keys = paths.keys(i);
        index.extend_from_slice(keys);
        mask.extend(keys.iter().map(|_| 0f32));
        index.resize((i + 1) * longest, 0);
        mask.resize((i + 1) * longest, f32::NEG_INFINITY);
    }
    let index = Tensor::from_vec(index, queries * longest, q.device())?;
    let mask = Tensor::from_vec(mask, (queries, 1, 1, longest), q.device())?.to_dtype(q.dtype())?;
    let dim = width / heads;
    let gather = |x: &Tensor| {
        x.contiguous()?
            .index_select(&index, 0)?
            .reshape((queries, longest, heads, dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    let q = q.contiguous()?.reshape((queries, heads, 1, dim))?;
    let scores = (q.matmul(&gather(k)?.t()?)? * f64::from(scale))?.broadcast_add(&mask)?;
    candle_nn::ops::softmax_last_dim(&scores)?
        .matmul(&gather(v)?)?
        .reshape((queries, width))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn ramp(dims: &[usize], step: f32) -> Tensor {
        let count: usize = dims.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin() * 2.0).collect();
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
    fn paths_over_full_sequences_are_dense_attention() {
        let (batch, tokens, heads, width) = (3, 9, 4, 24);
        let qkv = ramp(&[batch, tokens, 3 * width], 0.37);
        let part = |i| qkv.narrow(2, i * width, width).unwrap();
        let dense = attention(&part(0), &part(1), &part(2), heads).unwrap();
        let mut paths = KeyPaths::new();
        for item in 0..batch {
            let keys: Vec<u32> = (0..tokens).map(|t| (item * tokens + t) as u32).collect();
            for _ in 0..tokens {
                paths.push(&keys);
            }
        }
        let flat = qkv.reshape((batch * tokens, 3 * width)).unwrap();
        let part = |i| flat.narrow(1, i * width, width).unwrap();
        let fused = path_attention(&part(0), &part(1), &part(2), &paths, heads).unwrap();
        assert!(worst(&fused, &dense.reshape((batch * tokens, width)).unwrap()) < 1e-5);
        let part = |i| qkv.narrow(2, i * width, width).unwrap();
        let composed = crate::composed(|| attention(&part(0), &part(1), &part(2), heads)).unwrap();
        assert!(worst(&composed, &dense) < 1e-5);
    }

    #[test]
    fn fused_paths_equal_composed_operations() {
        let (rows, heads, width) = (40, 3, 30);
        let qkv = ramp(&[rows, 3 * width], 0.11);
        let part = |i| qkv.narrow(1, i * width, width).unwrap();
        let mut paths = KeyPaths::new();
        for row in 0..rows as u32 {
            paths.push(&(0..=row).step_by(1 + row as usize % 3).collect::<Vec<_>>());
        }
        let fused = path_attention(&part(0), &part(1), &part(2), &paths, heads).unwrap();
        let scale = 1.0 / ((width / heads) as f32).sqrt();
        let plain =
            composed_path_attention(&part(0), &part(1), &part(2), &paths, heads, scale).unwrap();
        assert!(worst(&fused, &plain) < 1e-5);
    }

    #[test]
    fn keys_beyond_the_rows_are_an_error() {
        let x = ramp(&[2, 8], 0.3);
        let mut paths = KeyPaths::new();
        paths.push(&[0]);
        paths.push(&[2]);
        assert!(path_attention(&x, &x, &x, &paths, 2).is_err());
    }
}
