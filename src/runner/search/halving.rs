//! Asynchronous successive halving: at certain places of its way a trial goes on
//! only if it is among the best so far.
//!
//! Li et al., "A System for Massively Parallel Hyperparameter Tuning" (2020).
//! Hyperband (Li et al. 2018) shares the trials among several such races that
//! begin to look later and later, for trials that start slowly.

/// A race with places where it is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Halving {
    /// The places, ascending.
    looks: Vec<f64>,
    /// One of so many goes on.
    factor: f64,
    /// Losses of all trials at each place.
    losses: Vec<Vec<f64>>,
}

/// What becomes of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    GoOn,
    /// It ends.
    End,
}

impl Halving {
    /// Looks at `min`, `min · factor`, … up to `max`.
    pub fn new(min: f64, max: f64, factor: f64) -> Halving {
        let mut looks = Vec::new();
        let mut look = min;
        while look < max * (1.0 + 1e-9) && looks.len() < 64 {
            looks.push(look);
            look *= factor;
        }
        Halving {
            losses: vec![Vec::new(); looks.len()],
            looks,
            factor,
        }
    }

    /// The races of Hyperband: each begins to look one place later.
    pub fn hyperband(min: f64, max: f64, factor: f64) -> Vec<Halving> {
        let looks = Halving::new(min, max, factor).looks;
        looks
            .iter()
            .map(|first| Halving::new(*first, max, factor))
            .collect()
    }

    /// Number of places.
    pub fn places(&self) -> usize {
        self.looks.len()
    }

    /// The place that a trial has reached, if it lies behind `passed` places.
    pub fn reached(&self, passed: usize, resource: f64) -> Option<usize> {
        let look = self.looks.get(passed)?;
        (resource >= *look).then_some(passed)
    }

    /// Takes in the loss of a trial at a place. A loss that is no number ends it.
    pub fn look(&mut self, place: usize, loss: f64) -> Verdict {
        let losses = &mut self.losses[place];
        if loss.is_nan() {
            return Verdict::End;
        }
        losses.push(loss);
        let better = losses.iter().filter(|other| **other < loss).count();
        let go_on = (losses.len() as f64 / self.factor).ceil() as usize;
        match better < go_on {
            true => Verdict::GoOn,
            false => Verdict::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_go_on() {
        let mut race = Halving::new(1.0, 9.0, 3.0);
        assert_eq!(race.looks, [1.0, 3.0, 9.0]);
        assert_eq!(race.reached(0, 0.5), None);
        assert_eq!(race.reached(0, 1.0), Some(0));
        assert_eq!(race.reached(1, 2.0), None);
        let verdicts: Vec<_> = [5.0, 4.0, 6.0, 7.0, 3.0, 8.0, f64::NAN]
            .map(|loss| race.look(0, loss))
            .into();
        use Verdict::{End, GoOn};
        assert_eq!(verdicts, [GoOn, GoOn, End, End, GoOn, End, End]);
    }

    #[test]
    fn hyperband_begins_later_and_later() {
        let races = Halving::hyperband(1.0, 27.0, 3.0);
        let firsts: Vec<_> = races.iter().map(|race| race.looks[0]).collect();
        assert_eq!(firsts, [1.0, 3.0, 9.0, 27.0]);
        assert_eq!(races[3].places(), 1);
    }
}
