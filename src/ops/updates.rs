//! Passes over gradients, moments and parameters, which a training step makes
//! once per parameter. Knows nothing of parameter groups and schedules.

use rayon::prelude::*;

use crate::tape::math::kernel;

/// Elements that one task works on.
pub const TASK_ELEMENTS: usize = 1 << 14;

/// ε of the Adam rules.
pub const EPSILON: f64 = 1e-8;

/// How moments go on by one gradient.
#[derive(Clone, Copy, Debug)]
pub struct MomentUpdate {
    /// Share of the first moment that stays.
    pub beta1: f32,
    /// Share of the second moment that stays.
    pub beta2: f32,
    /// Share of the gradient that the first moment takes.
    pub new1: f32,
    /// Share of the squared gradient that the second moment takes.
    pub new2: f32,
    /// What gradients are multiplied with before.
    pub scale: f32,
}

impl MomentUpdate {
    /// Takes a gradient into both moments.
    #[inline(always)]
    pub fn advance(&self, exp_avg: &mut f32, exp_avg_sq: &mut f32, gradient: f32) {
        let gradient = gradient * self.scale;
        *exp_avg = forget(self.beta1 * *exp_avg + self.new1 * gradient);
        *exp_avg_sq = forget(self.beta2 * *exp_avg_sq + self.new2 * gradient * gradient);
    }

    /// The first moment as it would be after the same gradient once more.
    #[inline]
    pub fn average(&self, exp_avg: f32, gradient: f32) -> f32 {
        self.beta1 * exp_avg + self.new1 * (gradient * self.scale)
    }
}

/// A moment that fades without gradients ends at 0, and not as a subnormal
/// number, which is slow.
#[inline(always)]
fn forget(moment: f32) -> f32 {
    const FADED: f32 = 1e-36;
    if moment.abs() < FADED { 0.0 } else { moment }
}

/// The bias-corrected root of the second moment, plus ε.
#[derive(Clone, Copy, Debug)]
pub struct Denominator {
    /// Root of the bias correction.
    pub correction: f32,
}

impl Denominator {
    /// For one second moment.
    #[inline(always)]
    pub fn of(&self, exp_avg_sq: f32) -> f32 {
        exp_avg_sq.sqrt() / self.correction + EPSILON as f32
    }
}

kernel! {
    fn adamw_part(
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

/// One AdamW update: the moments take `gradient`, and
/// `p ← keep · p − step_size · m / denominator(v)`. All slices have the same
/// length.
pub fn adamw(
    [parameter, exp_avg, exp_avg_sq]: [&mut [f32]; 3],
    gradient: &[f32],
    (keep, step_size): (f32, f32),
    moments: MomentUpdate,
    denominator: Denominator,
) {
    parameter
        .par_chunks_mut(TASK_ELEMENTS)
        .zip(exp_avg.par_chunks_mut(TASK_ELEMENTS))
        .zip(exp_avg_sq.par_chunks_mut(TASK_ELEMENTS))
        .zip(gradient.par_chunks(TASK_ELEMENTS))
        .for_each(|(((parameter, exp_avg), exp_avg_sq), gradient)| {
            adamw_part(
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

/// `sum += part`, element by element.
pub fn add(sum: &mut [f32], part: &[f32]) {
    sum.par_chunks_mut(TASK_ELEMENTS)
        .zip(part.par_chunks(TASK_ELEMENTS))
        .for_each(|(sum, part)| add_part(sum, part));
}

kernel! {
    fn add_part(sum: &mut [f32], part: &[f32]) {
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value;
        }
    }
}

/// Sum of the squares in f64, in an order that does not depend on the number
/// of threads.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let parts = values.par_chunks(TASK_ELEMENTS).map(squares_of_part);
    parts.collect::<Vec<f64>>().iter().sum()
}

kernel! {
    fn squares_of_part(part: &[f32]) -> f64 {
        let (groups, rest) = part.as_chunks::<16>();
        let mut lanes = [0.0f64; 16];
        for group in groups {
            for (lane, value) in lanes.iter_mut().zip(group) {
                *lane += f64::from(*value) * f64::from(*value);
            }
        }
        let rest: f64 = rest
            .iter()
            .map(|value| f64::from(*value) * f64::from(*value))
            .sum();
        lanes.iter().sum::<f64>() + rest
    }
}
