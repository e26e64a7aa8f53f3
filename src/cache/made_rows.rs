//! Samples that lie in no file but are made when they are wanted, such as texts
//! that are embedded while the decoder is trained on them.

use std::ops::Range;

use super::dtype::FloatVec;
use super::error::{CacheError, Result};
use super::plan::{FileFlags, FilePlan, RowOrder, TargetPlan};
use super::reader::{Cache, Targets};
use super::rows::{Floats, Rows, count};
use super::signature::EmbedderSignature;
use super::target_config::TargetConfig;

/// Makes samples with one target each. Any number of threads ask.
pub trait MadeSamples: std::fmt::Debug + Send + Sync {
    /// Unit vectors `[n, F]` of samples, given by number.
    ///
    /// # Errors
    /// In words: why they cannot be made.
    fn embeds(&self, samples: &[u64]) -> std::result::Result<Vec<f32>, String>;

    /// Nouns `[n]` of samples, 0 = the first one.
    ///
    /// # Errors
    /// In words: why they cannot be made.
    fn nouns(&self, samples: &[u64]) -> std::result::Result<Vec<u32>, String>;
}

/// Rows that are made.
#[derive(Debug)]
pub(super) struct MadeRows {
    made: Box<dyn MadeSamples>,
    dim: usize,
    nouns: usize,
}

impl Cache {
    /// `samples` samples that `made` makes, read like those of a cache.
    ///
    /// # Errors
    /// Counts that no cache could hold.
    pub fn of_samples(
        samples: u64,
        made: Box<dyn MadeSamples>,
        embedder: &EmbedderSignature,
        targets: TargetPlan,
        config: &TargetConfig,
    ) -> Result<Self> {
        let flags = FileFlags::default();
        let plan = FilePlan::new(
            samples,
            embedder,
            Some(&targets),
            flags,
            RowOrder::AsWritten,
        )?;
        let rows = MadeRows {
            made,
            dim: embedder.dim,
            nouns: targets.nouns.len(),
        };
        let targets = Targets::planned(targets, config)?;
        Ok(Self::made(plan.header, Rows::Made(rows), targets))
    }
}

impl MadeRows {
    pub(super) fn target_ids(&self, runs: &[Range<u64>]) -> Result<Vec<u32>> {
        let nouns = self.made.nouns(&rows_of(runs)).map_err(CacheError::Made)?;
        let fits = |noun: &u32| (*noun as usize) + 1 < self.nouns;
        if nouns.len() != count(runs) || !nouns.iter().all(fits) {
            return Err(CacheError::Made("a noun is not in the table".to_owned()));
        }
        // Id 0 is the absent noun.
        Ok(nouns.into_iter().map(|noun| noun + 1).collect())
    }

    pub(super) fn floats(&self, section: Floats, runs: &[Range<u64>]) -> Result<FloatVec> {
        let values = match section {
            Floats::Weights => vec![1.0; count(runs)],
            Floats::Embeds => self.made.embeds(&rows_of(runs)).map_err(CacheError::Made)?,
        };
        let width = match section {
            Floats::Weights => 1,
            Floats::Embeds => self.dim,
        };
        if values.len() != count(runs) * width || !values.iter().all(|value| value.is_finite()) {
            return Err(CacheError::Made(
                "an embedding has another size or is not finite".to_owned(),
            ));
        }
        Ok(FloatVec::F32(values))
    }
}

fn rows_of(runs: &[Range<u64>]) -> Vec<u64> {
    runs.iter().cloned().flatten().collect()
}
