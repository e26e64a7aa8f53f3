//! The AdamW update of one parameter in a single pass over memory
//! (`training.md` 2.4; Loshchilov and Hutter, "Decoupled Weight Decay
//! Regularization").

use rayon::prelude::*;

use crate::ops::tape::math::kernel;

use super::gradients::TASK_ELEMENTS;
use super::optimizer::{Denominator, MomentUpdate, UpdateFactors};

kernel! {
    fn update_part(
        parameter: &mut [f32],
        exp_avg: &mut [f32],
        exp_avg_sq: &mut [f32],
        gradient: &[f32],
        keep: f32,
        step_size: f32,
        moments: MomentUpdate,
        denominator: Denominator,
    ) {
        let elements = parameter
            .iter_mut()
            .zip(exp_avg)
            .zip(exp_avg_sq)
            .zip(gradient);
        for (((parameter, m), v), gradient) in elements {
            moments.advance(m, v, *gradient);
            *parameter = *parameter * keep - step_size * (*m / denominator.of(*v));
        }
    }
}

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
    let moments = factors.moments();
    let denominator = factors.denominator();
    parameter
        .par_chunks_mut(TASK_ELEMENTS)
        .zip(exp_avg.par_chunks_mut(TASK_ELEMENTS))
        .zip(exp_avg_sq.par_chunks_mut(TASK_ELEMENTS))
        .zip(gradient.par_chunks(TASK_ELEMENTS))
        .for_each(|(((parameter, exp_avg), exp_avg_sq), gradient)| {
            update_part(
                parameter,
                exp_avg,
                exp_avg_sq,
                gradient,
                keep,
                step_size,
                moments,
                denominator,
            );
        });
}
