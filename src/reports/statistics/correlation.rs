//! How two values go together over many models (figure 6 of the paper).

use super::sum::sum;

/// Least-squares line and coefficients of correlation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correlation {
    /// Number of pairs.
    pub n: usize,
    /// Slope of the line.
    pub slope: f64,
    /// Height of the line at 0.
    pub intercept: f64,
    /// Root of the mean squared distance from the line, over all pairs.
    pub residual_rmse: f64,
    /// Pearson's coefficient; none if one side does not vary.
    pub pearson: Option<f64>,
    /// Spearman's coefficient of ranks; none if one side does not vary.
    pub spearman: Option<f64>,
}

impl Correlation {
    /// Of pairs (x, y); `None` with fewer than two, or if x does not vary.
    pub fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let xs: Vec<f64> = pairs.iter().map(|pair| pair.0).collect();
        let ys: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
        let moments = Moments::of(&xs, &ys)?;
        if moments.xx == 0.0 {
            return None;
        }
        let slope = moments.xy / moments.xx;
        let intercept = moments.mean_y - slope * moments.mean_x;
        let squares = sum(pairs
            .iter()
            .map(|(x, y)| (y - (intercept + slope * x)).powi(2)));
        Some(Self {
            n: pairs.len(),
            slope,
            intercept,
            residual_rmse: (squares / pairs.len() as f64).sqrt(),
            pearson: moments.coefficient(),
            spearman: Moments::of(&ranks(&xs), &ranks(&ys)).and_then(|m| m.coefficient()),
        })
    }
}

/// Means and centred second moments.
struct Moments {
    mean_x: f64,
    mean_y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Moments {
    fn of(xs: &[f64], ys: &[f64]) -> Option<Self> {
        if xs.len() < 2 {
            return None;
        }
        let count = xs.len() as f64;
        let mean_x = sum(xs.iter().copied()) / count;
        let mean_y = sum(ys.iter().copied()) / count;
        let pairs = || xs.iter().zip(ys).map(|(x, y)| (x - mean_x, y - mean_y));
        Some(Self {
            mean_x,
            mean_y,
            xx: sum(pairs().map(|(x, _)| x * x)),
            yy: sum(pairs().map(|(_, y)| y * y)),
            xy: sum(pairs().map(|(x, y)| x * y)),
        })
    }

    fn coefficient(&self) -> Option<f64> {
        let scale = (self.xx * self.yy).sqrt();
        (scale > 0.0).then(|| (self.xy / scale).clamp(-1.0, 1.0))
    }
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&left, &right| values[left].total_cmp(&values[right]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let equal = order[start..].iter().take_while(|&&at| values[at] == value);
        let end = start + equal.count().max(1);
        let rank = (start + 1 + end) as f64 / 2.0;
        for &at in &order[start..end] {
            ranks[at] = rank;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_and_ties_share_ranks() {
        let found = Correlation::of(&[(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]).unwrap();
        assert_eq!((found.slope, found.intercept), (2.0, 1.0));
        assert_eq!(found.residual_rmse, 0.0);
        assert_eq!((found.pearson, found.spearman), (Some(1.0), Some(1.0)));
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        // By hand: means 1 and 2, xx 2, yy 2, xy −1.
        let found = Correlation::of(&[(0.0, 3.0), (1.0, 1.0), (2.0, 2.0)]).unwrap();
        assert_eq!(found.slope, -0.5);
        assert!((found.pearson.unwrap() + 0.5).abs() < 1e-15);
        assert!((found.residual_rmse - 0.5_f64.sqrt()).abs() < 1e-15);
        assert_eq!(Correlation::of(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Correlation::of(&[(1.0, 1.0)]), None);
        let flat = Correlation::of(&[(1.0, 1.0), (2.0, 1.0)]).unwrap();
        assert_eq!(flat.pearson, None);
    }
}
