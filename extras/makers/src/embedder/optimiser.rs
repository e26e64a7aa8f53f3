//! The optimiser: orthogonalised momentum for filters, AdamW for the rest.

use super::matrix::{Into, plain, product, turned};
use super::params::{Kind, Params, Slot};
use super::threads;

/// Learning rates of one step.
#[derive(Clone, Copy)]
pub struct Rates {
    /// Of filters, as a share of their length.
    pub filter: f32,
    /// Of everything else.
    pub adam: f32,
    /// Weight decay of matrices, times the learning rate.
    pub decay: f32,
}

/// State of the optimiser.
pub struct Optimiser {
    entries: Vec<(Slot, Kind)>,
    pub first: Vec<f32>,
    pub second: Vec<f32>,
    pub steps: i32,
}

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.98;
const MOMENTUM: f32 = 0.9;

impl Optimiser {
    /// An optimiser at rest.
    pub fn new(params: &Params) -> Self {
        let len = params.values.len();
        let entries = params
            .entries
            .iter()
            .map(|(_, slot, kind)| (*slot, *kind))
            .collect();
        Self {
            entries,
            first: vec![0.0; len],
            second: vec![0.0; len],
            steps: 0,
        }
    }

    /// One step along the gradient.
    pub fn step(&mut self, values: &mut [f32], grads: &[f32], rates: Rates) {
        self.steps += 1;
        let (c1, c2) = (1.0 - BETA1.powi(self.steps), 1.0 - BETA2.powi(self.steps));
        let mut filters = Vec::new();
        for &(slot, kind) in &self.entries {
            let g = slot.of(grads);
            let m = slot.of_mut(&mut self.first);
            if let Kind::Filter { rows } = kind {
                m.iter_mut()
                    .zip(g)
                    .for_each(|(m, g)| *m = MOMENTUM * *m + g);
                let ahead: Vec<f32> = m.iter().zip(g).map(|(m, g)| MOMENTUM * m + g).collect();
                filters.push((slot, rows, ahead));
                continue;
            }
            let s = slot.of_mut(&mut self.second);
            let decay = if kind == Kind::Matrix {
                1.0 - rates.adam * rates.decay
            } else {
                1.0
            };
            for (((v, g), m), s) in slot.of_mut(values).iter_mut().zip(g).zip(m).zip(s) {
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *s = BETA2 * *s + (1.0 - BETA2) * g * g;
                *v = *v * decay - rates.adam * (*m / c1) / ((*s / c2).sqrt() + 1e-8);
            }
        }
        let updates = threads::map(filters.len(), |i| orthogonal(&filters[i].2, filters[i].1));
        for ((slot, rows, _), update) in filters.iter().zip(updates) {
            let v = slot.of_mut(values);
            let columns = slot.len / rows;
            // A batch norm follows, so only the direction counts: filters keep
            // their length and turn by `rates.filter`.
            let length = (columns as f32).sqrt();
            let size = norm(&update).max(1e-12);
            v.iter_mut()
                .zip(&update)
                .for_each(|(v, u)| *v -= rates.filter * length * u / size);
            let scale = length / norm(v).max(1e-12);
            v.iter_mut().for_each(|v| *v *= scale);
        }
    }
}

fn norm(x: &[f32]) -> f32 {
    x.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// Nearly orthogonal matrix with the singular directions of `x` (the
/// Newton–Schulz iteration of the Muon optimiser).
fn orthogonal(x: &[f32], rows: usize) -> Vec<f32> {
    let columns = x.len() / rows;
    let size = norm(x).max(1e-12);
    let short = rows.min(columns);
    let long = rows.max(columns);
    // Work on the wide form, `short` rows.
    let mut x: Vec<f32> = if rows <= columns {
        x.iter().map(|x| x / size).collect()
    } else {
        (0..x.len())
            .map(|i| x[(i % rows) * columns + i / rows] / size)
            .collect()
    };
    let (a, b, c) = (3.4445, -4.775, 2.0315);
    let mut gram = vec![0.0; short * short];
    let mut square = vec![0.0; short * short];
    let mut next = vec![0.0; x.len()];
    for _ in 0..4 {
        product(
            short,
            long,
            short,
            plain(&x, long),
            turned(&x, long),
            &mut gram,
            Into::Replace,
        );
        product(
            short,
            short,
            short,
            plain(&gram, short),
            plain(&gram, short),
            &mut square,
            Into::Replace,
        );
        square
            .iter_mut()
            .zip(&gram)
            .for_each(|(s, g)| *s = c * *s + b * g);
        product(
            short,
            short,
            long,
            plain(&square, short),
            plain(&x, long),
            &mut next,
            Into::Replace,
        );
        next.iter_mut().zip(&x).for_each(|(n, x)| *n += a * x);
        std::mem::swap(&mut x, &mut next);
    }
    if rows <= columns {
        x
    } else {
        (0..x.len())
            .map(|i| x[(i % columns) * rows + i / columns])
            .collect()
    }
}
