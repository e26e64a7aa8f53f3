//! Tree-structured Parzen estimators: try next what is likely among the good
//! trials and unlikely among the others.
//!
//! Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (2011). Good
//! and other trials are each described by a mixture of kernels, one per trial and
//! a wide one for what is unknown; of some candidates drawn from the good ones,
//! the one with the largest ratio of the two densities is tried.

use std::cmp::Ordering;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::space::Parameter;

/// A trial with its loss; a loss that is no number is the worst.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// A value for each parameter.
    pub values: Vec<f64>,
    /// What came out; smaller is better.
    pub loss: f64,
}

/// How trials are suggested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tpe {
    /// Trials at random before the estimates begin.
    pub startup: usize,
    /// Candidates of which the best is tried.
    pub candidates: usize,
}

impl Default for Tpe {
    fn default() -> Tpe {
        Tpe {
            startup: 10,
            candidates: 48,
        }
    }
}

/// Share of trials that are good, and most of them.
const GOOD_SHARE: f64 = 0.1;
const GOOD_MOST: usize = 25;

impl Tpe {
    /// The next trial.
    pub fn suggest(
        &self,
        space: &[Parameter],
        trials: &[Trial],
        random: &mut impl Rng,
    ) -> Vec<f64> {
        if trials.len() < self.startup.max(2) {
            return space
                .iter()
                .map(|parameter| parameter.draw(random))
                .collect();
        }
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.sort_by(|a, b| compare(trials[*a].loss, trials[*b].loss));
        let good = ((trials.len() as f64 * GOOD_SHARE).ceil() as usize).clamp(1, GOOD_MOST);
        let (good, others) = order.split_at(good);
        let good = Mixture::of(space, trials, good);
        let others = Mixture::of(space, trials, others);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for _ in 0..self.candidates.max(1) {
            let candidate = good.draw(space, random);
            let score = good.log_density(space, &candidate) - others.log_density(space, &candidate);
            if best.as_ref().is_none_or(|(known, _)| score > *known) {
                best = Some((score, candidate));
            }
        }
        let scaled = best.map(|(_, candidate)| candidate).unwrap_or_default();
        let values = space.iter().zip(scaled);
        values.map(|(parameter, at)| parameter.value(at)).collect()
    }
}

/// Smaller first, what is no number last.
fn compare(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(&b),
        (a, b) => a.cmp(&b),
    }
}

/// Kernels of some trials, on the scales of the parameters. Numbers have normal
/// kernels cut off at the bounds, choices have weights.
struct Mixture {
    /// Place of each kernel, parameter by parameter.
    places: Vec<Vec<f64>>,
    /// Width of each kernel, likewise; of a choice, nothing.
    widths: Vec<Vec<f64>>,
    /// Logarithm of the kernel's mass within the bounds and of its width.
    norms: Vec<Vec<f64>>,
    /// Logarithms of the weights of the kernels.
    weights: Vec<f64>,
    /// The same, added up.
    cumulative: Vec<f64>,
}

/// Width of a kernel relative to the range, at least.
const NARROWEST: f64 = 1.0 / 300.0;
/// Trials that count fully; older ones count less and less.
const RECENT: usize = 25;

impl Mixture {
    /// Kernels of `chosen` trials.
    fn of(space: &[Parameter], trials: &[Trial], chosen: &[usize]) -> Mixture {
        // In the order in which they were made.
        let mut chosen = chosen.to_vec();
        chosen.sort_unstable();
        let count = chosen.len();
        let mut weights: Vec<f64> = (0..count).map(|at| age_weight(at, count)).collect();
        // The kernel for what is unknown.
        weights.push(1.0);
        let sum: f64 = weights.iter().sum();
        let mut cumulative = Vec::with_capacity(weights.len());
        let mut so_far = 0.0;
        for weight in &mut weights {
            so_far += *weight / sum;
            cumulative.push(so_far);
            *weight = (*weight / sum).ln();
        }
        let mut mixture = Mixture {
            places: Vec::new(),
            widths: Vec::new(),
            norms: Vec::new(),
            weights,
            cumulative,
        };
        for (at, parameter) in space.iter().enumerate() {
            let scaled = chosen
                .iter()
                .map(|trial| parameter.scaled(trials[*trial].values[at]));
            mixture.add(parameter, scaled.collect());
        }
        mixture
    }

    fn add(&mut self, parameter: &Parameter, mut places: Vec<f64>) {
        let (low, high) = parameter.bounds();
        if let Parameter::Choice(_) = parameter {
            // No place: any of them.
            places.push(f64::NAN);
            self.widths.push(Vec::new());
            self.norms.push(Vec::new());
            self.places.push(places);
            return;
        }
        let range = high - low;
        let mut widths = neighbour_distances(&places, low, high);
        let narrowest = range * NARROWEST.max(1.0 / (places.len() as f64 + 2.0));
        for width in &mut widths {
            *width = width.clamp(narrowest.min(range), range.max(f64::MIN_POSITIVE));
        }
        places.push(f64::midpoint(low, high));
        widths.push(range.max(f64::MIN_POSITIVE));
        let norms = places
            .iter()
            .zip(&widths)
            .map(|(place, width)| {
                let mass = below((high - place) / width) - below((low - place) / width);
                mass.max(f64::MIN_POSITIVE).ln() + width.ln()
            })
            .collect();
        self.places.push(places);
        self.widths.push(widths);
        self.norms.push(norms);
    }

    /// A place, all parameters from the same kernel.
    fn draw(&self, space: &[Parameter], random: &mut impl Rng) -> Vec<f64> {
        let share: f64 = random.random();
        let kernel = self.cumulative.partition_point(|sum| *sum < share);
        let kernel = kernel.min(self.weights.len() - 1);
        let draw = |(at, parameter): (usize, &Parameter)| {
            let place = self.places[at][kernel];
            if let Parameter::Choice(count) = *parameter {
                // Kernels of choices leave something to the others.
                let stays =
                    !place.is_nan() && random.random::<f64>() < stay(count, self.weights.len());
                return match stays {
                    true => place,
                    false => random.random_range(0..count) as f64,
                };
            }
            let (low, high) = parameter.bounds();
            let width = self.widths[at][kernel];
            for _ in 0..100 {
                let step: f64 = StandardNormal.sample(random);
                let drawn = place + width * step;
                if (low..=high).contains(&drawn) {
                    return drawn;
                }
            }
            place.clamp(low, high)
        };
        space.iter().enumerate().map(draw).collect()
    }

    /// Logarithm of the density at a place, up to a constant.
    fn log_density(&self, space: &[Parameter], at: &[f64]) -> f64 {
        let kernels = self.weights.len();
        let mut logs = self.weights.clone();
        for (number, parameter) in space.iter().enumerate() {
            let x = at[number];
            let places = &self.places[number];
            if let Parameter::Choice(count) = *parameter {
                let stay = stay(count, kernels);
                let rest = (1.0 - stay) / count as f64;
                let (same, other) = ((stay + rest).ln(), rest.max(f64::MIN_POSITIVE).ln());
                let any = -(count as f64).ln();
                for (log, place) in logs.iter_mut().zip(places) {
                    *log += if place.is_nan() {
                        any
                    } else if *place == x {
                        same
                    } else {
                        other
                    };
                }
                continue;
            }
            let (widths, norms) = (&self.widths[number], &self.norms[number]);
            for kernel in 0..kernels {
                let z = (x - places[kernel]) / widths[kernel];
                logs[kernel] -= 0.5 * z * z + norms[kernel];
            }
        }
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
    }
}

/// Chance that a kernel of a choice keeps its place.
fn stay(count: usize, kernels: usize) -> f64 {
    let kernels = kernels as f64;
    kernels / (kernels + count as f64)
}

/// Weight of a trial by its age among `count`: the newest count fully.
fn age_weight(at: usize, count: usize) -> f64 {
    if count <= RECENT || at + RECENT >= count {
        return 1.0;
    }
    let first = 1.0 / count as f64;
    let old = count - RECENT;
    first + (1.0 - first) * at as f64 / (old - 1).max(1) as f64
}

/// Distance of each place to the farther of its neighbours; of the outermost to
/// the only one; alone, to the farther bound.
fn neighbour_distances(places: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    let mut distances = vec![0.0; places.len()];
    for (rank, at) in order.iter().enumerate() {
        let place = places[*at];
        let left = rank
            .checked_sub(1)
            .map(|other| place - places[order[other]]);
        let right = order.get(rank + 1).map(|other| places[*other] - place);
        distances[*at] = match (left, right) {
            (Some(left), Some(right)) => left.max(right),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => (place - low).max(high - place),
        };
    }
    distances
}

/// Share of the normal distribution below `z`.
fn below(z: f64) -> f64 {
    0.5 * complementary_error(-z / std::f64::consts::SQRT_2)
}

/// The complementary error function, to about 1e-7 (Numerical Recipes' rational
/// approximation by Chebyshev fitting).
fn complementary_error(x: f64) -> f64 {
    const TERMS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let sum = TERMS.iter().rev().fold(0.0, |sum, term| sum * t + term);
    let tail = t * (sum - x * x).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn best(tpe: &Tpe, space: &[Parameter], loss: impl Fn(&[f64]) -> f64, seed: u64) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut trials: Vec<Trial> = Vec::new();
        for _ in 0..100 {
            let values = tpe.suggest(space, &trials, &mut random);
            let loss = loss(&values);
            trials.push(Trial { values, loss });
        }
        trials
            .iter()
            .map(|trial| trial.loss)
            .fold(f64::INFINITY, f64::min)
    }

    fn interval(low: f64, high: f64) -> Parameter {
        Parameter::Interval {
            low,
            high,
            log: false,
            step: None,
        }
    }

    #[test]
    fn estimates_beat_chance() {
        let space = [
            interval(-5.0, 5.0),
            interval(-5.0, 5.0),
            interval(-5.0, 5.0),
            Parameter::Choice(5),
        ];
        let loss =
            |x: &[f64]| x[..3].iter().map(|v| (v - 1.0).powi(2)).sum::<f64>() + (x[3] - 2.0).abs();
        let median = |startup: usize| {
            let tpe = Tpe {
                startup,
                ..Tpe::default()
            };
            let mut all: Vec<f64> = (0..9).map(|seed| best(&tpe, &space, loss, seed)).collect();
            all.sort_by(f64::total_cmp);
            all[4]
        };
        let (estimated, drawn) = (median(10), median(100));
        assert!(estimated < drawn / 1.5, "{estimated} {drawn}");
    }

    #[test]
    fn values_are_those_of_their_parameters() {
        let space = [
            Parameter::Interval {
                low: 1e-4,
                high: 1e-1,
                log: true,
                step: None,
            },
            Parameter::Interval {
                low: 1.0,
                high: 2.0,
                log: false,
                step: Some(0.3),
            },
            Parameter::Normal {
                mean: 3.0,
                deviation: 0.5,
            },
            Parameter::Choice(3),
            interval(2.0, 2.0),
        ];
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let mut trials = Vec::new();
        for number in 0..60 {
            let values = Tpe::default().suggest(&space, &trials, &mut random);
            assert!((1e-4..=1e-1).contains(&values[0]), "{values:?}");
            let places = (values[1] - 1.0) / 0.3;
            assert!(
                (places - places.round()).abs() < 1e-9 && values[1] < 1.95,
                "{values:?}"
            );
            assert!((1.0..=5.0).contains(&values[2]));
            assert!([0.0, 1.0, 2.0].contains(&values[3]));
            assert_eq!(values[4], 2.0);
            // Failed trials too.
            let loss = if number % 7 == 0 { f64::NAN } else { values[0] };
            trials.push(Trial { values, loss });
        }
    }

    #[test]
    fn the_normal_distribution_is_right() {
        for (z, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746),
            (-1.96, 0.024_997_895),
            (6.0, 1.0),
        ] {
            assert!((below(z) - share).abs() < 3e-7, "{z}");
        }
    }
}
