//! The AdamW update of one parameter in a single pass over memory
//! (`training.md` 2.4; Loshchilov and Hutter, "Decoupled Weight Decay
//! Regularization").

use crate::ops::updates;

use super::optimizer::UpdateFactors;

/// Updates parameter and moments in place. All slices have the same length.
pub(super) fn update(
    parameter: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
    gradient: &[f32],
    factors: &UpdateFactors,
) {
    let keep = factors.decay_multiplier(1.0) as f32;
    let step_size = factors.step_size() as f32;
    updates::adamw(
        [parameter, exp_avg, exp_avg_sq],
        gradient,
        (keep, step_size),
        factors.moments(),
        factors.denominator(),
    );
}
