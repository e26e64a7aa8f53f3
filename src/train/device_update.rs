//! The updates of AdamW and AdamP (`training.md` 2.4) from tensor operations,
//! for parameters on a device. Nothing waits for the device.

use candle_core::{DType, Result, Tensor};

use crate::ops::updates::EPSILON;

use super::adamp::{DELTA, WEIGHT_DECAY_RATIO};
use super::optimizer::{Moments, OptimizerKind, UpdateFactors};

/// Updates a parameter in place, and its moments.
pub(super) fn update(
    parameter: &Tensor,
    moments: &mut Moments,
    gradient: &Tensor,
    kind: OptimizerKind,
    factors: &UpdateFactors,
) -> Result<()> {
    let weights = parameter.detach();
    let of_moments = factors.moments();
    let scaled = (gradient * f64::from(of_moments.scale))?;
    let (beta1, new1) = (f64::from(of_moments.beta1), f64::from(of_moments.new1));
    let (beta2, new2) = (f64::from(of_moments.beta2), f64::from(of_moments.new2));
    let average = |first: &Tensor| (first * beta1)? + (&scaled * new1)?;
    moments.exp_avg = average(&moments.exp_avg)?;
    moments.exp_avg_sq = ((&moments.exp_avg_sq * beta2)? + (scaled.sqr()? * new2)?)?;
    let correction = f64::from(factors.denominator().correction);
    let root = moments.exp_avg_sq.sqrt()?;
    let denominator = (root / correction)?;
    let denominator = (denominator + EPSILON)?;
    let kept = |ratio: f64| factors.decay_multiplier(ratio);
    let updated = match kind {
        OptimizerKind::AdamW => {
            let direction = (&moments.exp_avg / denominator)?;
            ((&weights * kept(1.0))? - (direction * factors.step_size())?)?
        }
        OptimizerKind::AdamP { nesterov } => {
            let numerator = match nesterov {
                true => average(&moments.exp_avg)?,
                false => moments.exp_avg.clone(),
            };
            let direction = (numerator / denominator)?;
            let (direction, projected) = without_radial_part(direction, &weights, gradient)?;
            // The share of the decay is 1, or less where something was
            // projected.
            let less = kept(WEIGHT_DECAY_RATIO) - kept(1.0);
            let kept = ((projected * less)? + kept(1.0))?;
            (weights.broadcast_mul(&kept)? - (direction * factors.step_size())?)?
        }
    };
    let values = parameter.flatten_all()?;
    values.slice_set(&updated.flatten_all()?.contiguous()?, 0, 0)
}

/// The direction of AdamP, and a scalar that is 1 if its radial part was
/// removed and 0 if not.
fn without_radial_part(
    direction: Tensor,
    weights: &Tensor,
    gradient: &Tensor,
) -> Result<(Tensor, Tensor)> {
    let nothing = Tensor::zeros((), DType::F32, weights.device())?;
    let (rank, count) = (weights.rank(), weights.elem_count());
    if rank < 2 || count == 0 {
        return Ok((direction, nothing));
    }
    let shape = weights.shape();
    let (mut result, mut done) = (direction.clone(), nothing);
    for rows in [weights.dim(0)?, 1] {
        let view = |x: &Tensor| x.reshape((rows, count / rows));
        let (weights, gradient) = (view(weights)?, view(gradient)?);
        let length = |x: &Tensor| x.sqr()?.sum_keepdim(1)?.sqrt();
        let at_least = |x: Tensor| x.maximum(EPSILON as f32);
        let (of_weights, of_gradient) = (length(&weights)?, length(&gradient)?);
        let cosines = (&weights * &gradient)?
            .sum_keepdim(1)?
            .div(&(at_least(of_weights.clone())? * at_least(of_gradient)?)?)?
            .abs()?;
        let limit = DELTA / ((count / rows) as f64).sqrt();
        let orthogonal = cosines.max_all()?.lt(limit as f32)?.to_dtype(DType::F32)?;
        // Only the first view that fits counts.
        let counts = (orthogonal * (1.0 - &done)?)?;
        let unit = weights.broadcast_div(&(of_weights + EPSILON)?)?;
        let along = (&unit * view(&direction)?)?.sum_keepdim(1)?;
        let radial = unit.broadcast_mul(&along)?.broadcast_mul(&counts)?;
        result = (result - radial.reshape(shape)?)?;
        done = (done + counts)?;
    }
    Ok((result, done))
}
