//! Loss and token counts of a batch (`decoder.md` section 4).

/// Which positions and targets the loss is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossConfig {
    /// End tokens that count, at least 1.
    pub num_end_loss: usize,
    /// Share of the uniform distribution in the target distribution.
    pub label_smoothing: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            num_end_loss: 1,
            label_smoothing: 0.0,
        }
    }
}

/// Sums over counted positions; sums of batches can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Weighted sum of cross entropies, in nats.
    pub sum: f64,
    /// Weighted number of positions.
    pub basis: f64,
    /// Number of positions.
    pub tokens: usize,
    /// Positions predicted right.
    pub correct: usize,
}

impl Loss {
    /// Sums of one loss and weight per counted position.
    pub fn new(losses: &[f32], weights: &[f32], correct: usize) -> Self {
        let pairs = losses.iter().zip(weights);
        Self {
            sum: pairs
                .map(|(&loss, &weight)| f64::from(loss) * f64::from(weight))
                .sum(),
            basis: weights.iter().map(|&weight| f64::from(weight)).sum(),
            tokens: losses.len(),
            correct,
        }
    }

    /// Sum by basis; NaN if nothing counts.
    pub fn mean(&self) -> f64 {
        self.sum / self.basis
    }
}

impl std::ops::AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        self.sum += other.sum;
        self.basis += other.basis;
        self.tokens += other.tokens;
        self.correct += other.correct;
    }
}
