//! Dropout masks without storage: whether an element is kept is a hash of its
//! index and the key of the site, so the backward pass finds it again.

/// One dropout site in one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Elements whose hash is below this are dropped.
    threshold: u32,
    /// Factor of the kept elements, 1 / (1 − rate).
    scale: f32,
    key: [u32; 2],
}

impl Dropout {
    /// Site with probability `rate` in (0, 1) and a random `key`.
    pub fn new(rate: f32, key: u64) -> Self {
        Self {
            threshold: (f64::from(rate) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - rate),
            key: [key as u32, (key >> 32) as u32],
        }
    }

    /// Share of the elements that are kept.
    pub fn keep(self) -> f32 {
        1.0 / self.scale
    }

    /// Factor of the kept elements.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// Factors of the elements from 0 on.
    pub fn factors(self, count: usize) -> Vec<f32> {
        (0..count).map(|index| self.factor(index as u32)).collect()
    }

    /// 0 or 1 / (1 − rate) for element `index`.
    #[inline(always)]
    pub(super) fn factor(self, index: u32) -> f32 {
        let mut h = index.wrapping_add(self.key[0]);
        h ^= h >> 16;
        h = h.wrapping_mul(0x7feb_352d) ^ self.key[1];
        h ^= h >> 15;
        h = h.wrapping_mul(0x846c_a68b);
        h ^= h >> 16;
        if h >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Factor of element `index` at an optional site.
#[inline(always)]
pub(super) fn factor(dropout: Option<Dropout>, index: u32) -> f32 {
    dropout.map_or(1.0, |dropout| dropout.factor(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_mean_are_kept_and_keys_differ() {
        for rate in [0.1, 0.5] {
            let n = 200_000;
            let a = Dropout::new(rate, 0x1234_5678_9abc_def0);
            let b = Dropout::new(rate, 0x1234_5678_9abc_def1);
            let kept = |site: Dropout| (0..n).filter(move |&i| site.factor(i) > 0.0);
            let share = kept(a).count() as f32 / n as f32;
            assert!((share - (1.0 - rate)).abs() < 0.005, "{share}");
            let both = kept(a).filter(|&i| b.factor(i) > 0.0).count() as f32 / n as f32;
            assert!((both - (1.0 - rate).powi(2)).abs() < 0.01, "{both}");
        }
    }
}
