//! The learning rate: linear warm-up and cosine as recursions on the current
//! rate, advanced once per chunk, in f64 (`training.md` 2.5). With a final rate
//! above zero and a warm-up the recursions have no simple closed form, which is
//! why they are kept.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError};
use super::lengths::UNLIMITED_CHUNKS;

/// What a schedule is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleSettings {
    /// `train.lr.init`: the peak rate.
    pub init: f64,
    /// `train.lr.final`: lower end of the cosine.
    pub last: f64,
    /// `train.lr.schedule` is cosine, else constant.
    pub cosine: bool,
    /// `train.lr.warmup_chunks`.
    pub warmup_chunks: u64,
}

/// A learning rate and how it goes on. Serialised as a whole into checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    init: f64,
    last: f64,
    warmup_chunks: u64,
    /// Half period of the cosine in chunks; none for a constant rate.
    cosine_period: Option<u64>,
    /// Chunks finished since set-up.
    finished: u64,
    rate: f64,
    /// Rate after the warm-up's part of the last advance, before the cosine's;
    /// absent in checkpoints of earlier versions.
    #[serde(default)]
    warmup_rate: Option<f64>,
}

/// Where a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScheduleState {
    /// Half period of the cosine in chunks; none for a constant rate.
    pub cosine_period: Option<u64>,
    /// Chunks finished since set-up.
    pub finished: u64,
    /// The rate in force.
    pub rate: f64,
    /// Rate after the warm-up's part of the last advance, before the cosine's.
    pub warmup_rate: f64,
}

impl ScheduleSettings {
    fn check(&self) -> Result<()> {
        if !(self.init.is_finite() && self.init > 0.0) {
            return Err(TrainError::Setting {
                key: "train.lr.init",
                value: self.init.to_string(),
                rule: "a learning rate is a positive number",
            });
        }
        if !(self.last.is_finite() && self.last >= 0.0) {
            return Err(TrainError::Setting {
                key: "train.lr.final",
                value: self.last.to_string(),
                rule: "the final rate is a number of at least 0",
            });
        }
        Ok(())
    }
}

impl Schedule {
    /// A new schedule for a run of `max_chunks` whose next chunk is `chunk_id`
    /// (from 1).
    ///
    /// # Errors
    /// A rate that is negative or not finite, or an initial rate of zero.
    pub fn new(settings: &ScheduleSettings, max_chunks: u64, chunk_id: u64) -> Result<Self> {
        let ScheduleSettings {
            init,
            last,
            cosine,
            warmup_chunks,
        } = *settings;
        settings.check()?;
        let end = if last > 0.0 {
            max_chunks
        } else {
            max_chunks.saturating_add(1)
        };
        Ok(Self {
            init,
            last,
            warmup_chunks,
            cosine_period: cosine.then(|| end.saturating_sub(chunk_id).max(1)),
            finished: 0,
            rate: if warmup_chunks >= 1 {
                init / (warmup_chunks as f64 + 1.0)
            } else {
                init
            },
            warmup_rate: None,
        })
    }

    /// A schedule at some point of its course.
    ///
    /// # Errors
    /// As [`Schedule::new`]; a rate that is not a number.
    pub fn restored(settings: &ScheduleSettings, state: ScheduleState) -> Result<Self> {
        settings.check()?;
        if !state.rate.is_finite() {
            return Err(TrainError::Setting {
                key: "train.lr.init",
                value: state.rate.to_string(),
                rule: "the rate in force must be a number",
            });
        }
        Ok(Self {
            init: settings.init,
            last: settings.last,
            warmup_chunks: settings.warmup_chunks,
            cosine_period: state.cosine_period.map(|period| period.max(1)),
            finished: state.finished,
            rate: state.rate,
            warmup_rate: Some(state.warmup_rate),
        })
    }

    /// What it was made from.
    pub fn settings(&self) -> ScheduleSettings {
        ScheduleSettings {
            init: self.init,
            last: self.last,
            cosine: self.cosine_period.is_some(),
            warmup_chunks: self.warmup_chunks,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> ScheduleState {
        ScheduleState {
            cosine_period: self.cosine_period,
            finished: self.finished,
            rate: self.rate,
            warmup_rate: self.warmup_rate.unwrap_or(self.rate),
        }
    }

    /// The rate in force.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The rate reported before the first batch: 0 as long as a new schedule
    /// has a warm-up ahead.
    pub fn reported_before_start(&self) -> f64 {
        if self.finished == 0 && self.warmup_chunks >= 1 {
            0.0
        } else {
            self.rate
        }
    }

    /// Chunks finished since set-up.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Half period of the cosine, in chunks since set-up.
    pub fn cosine_period(&self) -> Option<u64> {
        self.cosine_period
    }

    /// Whether the cosine, which rises again after its period, would do so in
    /// a run of `max_chunks` whose next chunk is `chunk_id`: it was planned for
    /// a shorter run.
    pub fn rises_again(&self, max_chunks: u64, chunk_id: u64) -> bool {
        let (Some(period), true) = (self.cosine_period, max_chunks < UNLIMITED_CHUNKS) else {
            return false;
        };
        let last_used = self.finished + max_chunks.saturating_sub(chunk_id);
        max_chunks >= chunk_id && last_used > period
    }

    /// Goes on by one chunk.
    pub fn advance(&mut self) {
        self.finished += 1;
        let t = self.finished as f64;
        if self.finished <= self.warmup_chunks {
            self.rate *= (1.0 + t) / t;
        }
        self.warmup_rate = Some(self.rate);
        let Some(period) = self.cosine_period else {
            return;
        };
        let length = period as f64;
        let turning_point = self.finished > period
            && (self.finished - 1 - period).is_multiple_of(period.saturating_mul(2));
        self.rate = if turning_point {
            self.rate + (self.init - self.last) * (1.0 - (PI / length).cos()) / 2.0
        } else {
            let now = 1.0 + (PI * t / length).cos();
            let before = 1.0 + (PI * (t - 1.0) / length).cos();
            now / before * (self.rate - self.last) + self.last
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(last: f64, warmup_chunks: u64) -> ScheduleSettings {
        ScheduleSettings {
            init: 1e-3,
            last,
            cosine: true,
            warmup_chunks,
        }
    }

    #[test]
    fn without_a_final_rate_warm_up_and_cosine_multiply() {
        let (chunks, warmup) = (40, 7);
        let mut schedule = Schedule::new(&settings(0.0, warmup), chunks, 1).unwrap();
        assert_eq!(schedule.reported_before_start(), 0.0);
        for t in 0..chunks {
            let factor = ((1 + t) as f64 / (warmup + 1) as f64).min(1.0);
            let expected = 1e-3 * factor * (1.0 + (PI * t as f64 / chunks as f64).cos()) / 2.0;
            assert!((schedule.rate() - expected).abs() < 1e-15, "chunk {t}");
            schedule.advance();
        }
        assert!(schedule.rate().abs() < 1e-15);
    }

    #[test]
    fn a_longer_run_is_noticed() {
        let mut schedule = Schedule::new(&settings(0.0, 0), 12, 1).unwrap();
        schedule.advance();
        assert!(!schedule.rises_again(12, 2));
        assert!(schedule.rises_again(18, 2));
        assert!(!schedule.rises_again(UNLIMITED_CHUNKS, 2));
    }

    #[test]
    fn bad_rates_are_refused() {
        for (init, last) in [
            (0.0, 0.0),
            (f64::NAN, 0.0),
            (1.0, -1.0),
            (1.0, f64::INFINITY),
        ] {
            let settings = ScheduleSettings {
                init,
                last,
                cosine: false,
                warmup_chunks: 0,
            };
            assert!(Schedule::new(&settings, 10, 1).is_err(), "{init} {last}");
        }
    }
}
