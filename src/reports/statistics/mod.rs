//! The statistics of tables (`reports.md` section 13): summaries over seeds,
//! bootstrap intervals over samples, paired comparison, correlation. Knows
//! nothing of what the numbers measure.

mod bootstrap;
mod correlation;
mod splitmix;
mod student;
mod sum;
mod summary;

pub use bootstrap::{Bootstrap, Interval, PairedDifference, quantile};
pub use correlation::Correlation;
pub use splitmix::SplitMix64;
pub use student::student_quantile;
pub use sum::sum;
pub use summary::Summary;

/// Wilson's 95 % interval of `hits` out of `samples`, as shares; `None` without
/// samples.
pub fn wilson95(hits: u64, samples: u64) -> Option<Interval> {
    (samples > 0).then(|| {
        let (low, high) = crate::evaluate::wilson_95(hits, samples);
        Interval { low, high }
    })
}
