//! Samples on their way into a file, and the rules they must keep
//! (`embedding-cache.md` section 7).

use half::{bf16, f16};

use super::dtype::{FloatDtype, FloatSlice, FloatVec};
use super::error::{CacheError, Result};
use super::header::Header;

/// Samples of one write call.
#[derive(Clone, Copy, Debug)]
pub struct SampleRows<'a> {
    /// Unit vectors `[b, F]`.
    pub embeds: FloatSlice<'a>,
    /// Noun ids `[b, M]`, 0 = absent, present ones first; exactly if the file
    /// has targets.
    pub target_ids: Option<&'a [u32]>,
    /// Weights `[b, M]`, non-increasing; exactly if the file has targets and
    /// no default weights.
    pub weights: Option<FloatSlice<'a>>,
}

impl SampleRows<'_> {
    /// Number of samples, after checking that all arrays fit the file.
    /// `first` is the place of the first sample in the order of writing.
    pub(super) fn check(&self, header: &Header, first: u64) -> Result<usize> {
        let width = usize::from(header.embed_dim);
        let samples = self.embeds.len() / width.max(1);
        check_array("embeddings", self.embeds, header, samples.max(1), width)?;
        let targets = usize::from(header.embed_targets_dim);
        match (self.target_ids, header.use_targets) {
            (None, false) => {}
            (None, true) => return Err(CacheError::Missing { what: "target ids" }),
            (Some(_), false) => return Err(CacheError::Unwanted { what: "target ids" }),
            (Some(ids), true) => {
                if ids.len() != samples * targets {
                    return Err(CacheError::BadShape {
                        what: "target ids",
                        found: format!("{} elements", ids.len()),
                        expected: format!("{samples} × {targets}"),
                    });
                }
            }
        }
        match (self.weights, header.default_weights) {
            (None, true) => {}
            (None, false) => return Err(CacheError::Missing { what: "weights" }),
            (Some(_), true) => return Err(CacheError::Unwanted { what: "weights" }),
            (Some(weights), false) => check_array("weights", weights, header, samples, targets)?,
        }
        if first + samples as u64 > u64::from(header.embed_num) {
            return Err(CacheError::TooManySamples {
                announced: u64::from(header.embed_num),
            });
        }

        let tolerance = 4.0 * header.delivered_dtype().epsilon();
        let norms = self.embeds.row_norms(width);
        for (sample, norm) in norms.into_iter().enumerate() {
            let place = first + sample as u64;
            let deviation = (norm - 1.0).abs();
            if deviation.is_nan() || deviation > tolerance {
                return Err(broken(place, "the embedding is not a unit vector"));
            }
            if let Some(ids) = self.target_ids {
                let ids = &ids[sample * targets..][..targets];
                check_ids(ids, header).map_err(|rule| broken(place, rule))?;
                if let Some(weights) = self.weights {
                    let weight = |at: usize| weights.get(sample * targets + at);
                    check_weights(ids, weight, header, tolerance)
                        .map_err(|rule| broken(place, rule))?;
                }
            }
        }
        Ok(samples)
    }
}

fn broken(sample: u64, rule: &'static str) -> CacheError {
    CacheError::BadSample { sample, rule }
}

fn check_array(
    what: &'static str,
    values: FloatSlice<'_>,
    header: &Header,
    rows: usize,
    width: usize,
) -> Result<()> {
    let dtype = header.delivered_dtype();
    if values.dtype() == dtype && values.len() == rows * width {
        return Ok(());
    }
    Err(CacheError::BadShape {
        what,
        found: format!("{} elements of {:?}", values.len(), values.dtype()),
        expected: format!("{rows} × {width} of {dtype:?}"),
    })
}

type Rule = std::result::Result<(), &'static str>;

fn check_ids(ids: &[u32], header: &Header) -> Rule {
    if ids.iter().any(|&id| id >= header.target_nouns_num) {
        return Err("a target is not in the table of nouns");
    }
    if header.full_targets && ids.contains(&0) {
        return Err("a target is absent although the file was announced as full");
    }
    if ids[0] == 0 {
        return Err("the first target is absent");
    }
    if ids.windows(2).any(|pair| pair[0] == 0 && pair[1] != 0) {
        return Err("a target follows an absent one");
    }
    Ok(())
}

fn check_weights(
    ids: &[u32],
    weight: impl Fn(usize) -> f64,
    header: &Header,
    tolerance: f64,
) -> Rule {
    let mut sum = 0.0;
    for (at, &id) in ids.iter().enumerate() {
        let current = weight(at);
        if !(current >= 0.0 && current.is_finite()) {
            return Err("a weight is negative or not finite");
        }
        if id == 0 && current != 0.0 {
            return Err("an absent target has a weight");
        }
        match at.checked_sub(1).map(&weight) {
            None if current == 0.0 => return Err("the first target has no weight"),
            Some(previous) if previous == 0.0 && current != 0.0 => {
                return Err("a weight follows a zero weight");
            }
            Some(previous) if current - previous > tolerance => {
                return Err("the weights increase");
            }
            _ => {}
        }
        sum += current;
    }
    if header.unit_weights && (sum - 1.0).abs() > tolerance {
        return Err("the weights do not sum to 1");
    }
    Ok(())
}

/// Default weights: `1/k` for each of the `k` present targets of a sample.
pub(super) fn default_weights(ids: &[u32], targets: usize, dtype: FloatDtype) -> FloatVec {
    fn fill<T: Copy>(ids: &[u32], targets: usize, zero: T, share: impl Fn(usize) -> T) -> Vec<T> {
        let mut weights = Vec::with_capacity(ids.len());
        for row in ids.chunks_exact(targets) {
            let present = row.iter().filter(|&&id| id != 0).count();
            let weight = share(present);
            weights.extend(row.iter().map(|&id| if id == 0 { zero } else { weight }));
        }
        weights
    }
    let single = |count: usize| 1.0 / count as f32;
    match dtype {
        FloatDtype::F16 => FloatVec::F16(fill(ids, targets, f16::ZERO, |count| {
            f16::from_f32(single(count))
        })),
        FloatDtype::BF16 => FloatVec::BF16(fill(ids, targets, bf16::ZERO, |count| {
            bf16::from_f32(single(count))
        })),
        FloatDtype::F32 => FloatVec::F32(fill(ids, targets, 0.0, single)),
        FloatDtype::F64 => FloatVec::F64(fill(ids, targets, 0.0, |count| 1.0 / count as f64)),
    }
}
