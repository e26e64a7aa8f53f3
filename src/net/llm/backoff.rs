//! Waiting times between tries.

use std::time::Duration;

/// Exponential back-off: before try `n` (from 1) a time of at most
/// `base · 2ⁿ⁻¹`, at most `cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Longest first wait.
    pub base: Duration,
    /// Longest wait at all.
    pub cap: Duration,
    kind: Kind,
}

/// What is counted, and which part of the longest time is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Tries of one request; a random part, so that not all come at once.
    Jitter,
    /// Failures in a row of all requests; all of it, after some without a wait.
    Steady { free: u32 },
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60),
            kind: Kind::Jitter,
        }
    }
}

impl Backoff {
    /// With the usual ratio between the first and the longest wait.
    pub fn with_base(base: Duration) -> Self {
        Self {
            base,
            cap: base.saturating_mul(60),
            ..Self::default()
        }
    }

    /// As the original waited: not at all for three failures in a row, then
    /// 10 s, doubling up to half a day (`annotation.md` 9).
    pub fn original() -> Self {
        Self {
            base: Duration::from_secs(10),
            cap: Duration::from_secs(12 * 3600),
            kind: Kind::Steady { free: 3 },
        }
    }

    /// The longest wait before try `n`, from 1.
    pub fn longest(&self, n: u32) -> Duration {
        let n = match self.kind {
            Kind::Jitter => n.max(1),
            Kind::Steady { free } => n.saturating_sub(free),
        };
        if n == 0 {
            return Duration::ZERO;
        }
        let factor = 1_u32.checked_shl(n - 1).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// A wait after `tries` of a request and `failures` in a row of all.
    pub(super) fn wait(&self, tries: u32, failures: u32) -> Duration {
        match self.kind {
            Kind::Jitter => self.longest(tries).mul_f64(rand::random::<f64>()),
            Kind::Steady { .. } => self.longest(failures),
        }
    }

    /// How long everything pauses when nothing has been answered for a while,
    /// the `n`-th time, from 1: a minute, doubling, at most a quarter of an
    /// hour, for the usual base.
    pub(super) fn pause(&self, n: u32) -> Duration {
        let factor = 1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX);
        let minute = self.base.saturating_mul(60);
        minute.saturating_mul(factor).min(minute.saturating_mul(15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = (1..10).map(|n| backoff.longest(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(backoff.longest(1000), backoff.cap);
        for n in 1..100 {
            assert!(backoff.wait(n, 1) <= backoff.longest(n));
        }
        let pauses: Vec<u64> = (1..7).map(|n| backoff.pause(n).as_secs() / 60).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 15, 15]);
    }
}
