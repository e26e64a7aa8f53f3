//! The AdamP update of one parameter (`training.md` 2.4; Heo et al., "AdamP:
//! Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant
//! Weights"): Adam, with the radial part of the update removed where the
//! gradient is nearly orthogonal to the weights.

use crate::ops::updates::EPSILON;

use super::optimizer::UpdateFactors;

/// Largest |cosine| · √(row length) at which a gradient counts as orthogonal.
pub(super) const DELTA: f64 = 0.1;
/// Share of the weight decay that remains after a projection.
pub(super) const WEIGHT_DECAY_RATIO: f64 = 0.1;

/// Updates parameter and moments in place. All slices have the same length;
/// `dims` is the parameter's shape.
pub(super) fn update(
    parameter: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
    gradient: &[f32],
    dims: &[usize],
    nesterov: bool,
    factors: &UpdateFactors,
) {
    let moments = factors.moments();
    let denominator = factors.denominator();
    let mut direction: Vec<f32> = exp_avg
        .iter_mut()
        .zip(exp_avg_sq)
        .zip(gradient)
        .map(|((m, v), gradient)| {
            moments.advance(m, v, *gradient);
            let numerator = if nesterov {
                moments.average(*m, *gradient)
            } else {
                *m
            };
            numerator / denominator.of(*v)
        })
        .collect();
    let mut decay_ratio = 1.0;
    if dims.len() >= 2 && !parameter.is_empty() {
        let row = parameter.len() / dims[0];
        for length in [row, parameter.len()] {
            let scaled = (gradient.chunks(length).zip(parameter.chunks(length)))
                .map(|(gradient, weights)| cosine(gradient, weights).abs())
                .fold(0.0, f64::max);
            if scaled < DELTA / (length as f64).sqrt() {
                for (direction, weights) in
                    direction.chunks_mut(length).zip(parameter.chunks(length))
                {
                    remove_radial_part(direction, weights);
                }
                decay_ratio = WEIGHT_DECAY_RATIO;
                break;
            }
        }
    }
    let keep = factors.decay_multiplier(decay_ratio) as f32;
    let step_size = factors.step_size() as f32;
    for (parameter, direction) in parameter.iter_mut().zip(direction) {
        *parameter = *parameter * keep - step_size * direction;
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn norm(a: &[f32]) -> f64 {
    dot(a, a).sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (norm(a).max(EPSILON) * norm(b).max(EPSILON))
}

/// `direction -= p ⟨p, direction⟩` with `p` the normalised weights.
fn remove_radial_part(direction: &mut [f32], weights: &[f32]) {
    let length = norm(weights) + EPSILON;
    let along = dot(direction, weights) / length;
    for (direction, weight) in direction.iter_mut().zip(weights) {
        *direction -= (f64::from(*weight) / length * along) as f32;
    }
}
