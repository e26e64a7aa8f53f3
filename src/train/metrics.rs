//! What a training reports while it runs, by the names of `training.md` 2.8,
//! and who listens.

use std::path::Path;

use super::averages::{BatchSums, RunningAverages};
use super::state::{LoopState, NormStatistics};

/// A metric: its name and value; none is null.
pub type Metric = (&'static str, Option<f64>);

/// Listens to a training. All methods have an empty default; they are called
/// from the training thread, so they should be quick.
pub trait Observer {
    /// Before the first batch, also after a resume.
    fn started(&mut self, _record: &StartRecord) {}
    /// An epoch begins, or goes on after a resume.
    fn epoch_started(&mut self, _epoch: u64, _batch: u64) {}
    /// A chunk begins, or goes on after a resume.
    fn chunk_started(&mut self, _chunk: u64, _max_chunks: u64) {}
    /// A batch is done.
    fn batch(&mut self, _progress: &BatchProgress) {}
    /// A chunk is done.
    fn chunk_end(&mut self, _record: &ChunkRecord) {}
    /// An epoch is done.
    fn epoch_end(&mut self, _record: &EpochRecord) {}
    /// A checkpoint is about to be written. A training that goes on from it does
    /// not report again what was reported so far: it must be as safe by now.
    fn saving(&mut self) {}
    /// A checkpoint of finished chunk `chunk` lies at `path`.
    fn saved(&mut self, _path: &Path, _chunk: u64) {}
    /// The training is complete.
    fn finished(&mut self, _record: &EndRecord) {}
    /// Something worth a line.
    fn note(&mut self, _message: &str) {}
    /// Something the user should know.
    fn warning(&mut self, _message: &str) {}
    /// Asked after every batch: true ends the training with a checkpoint from
    /// which it can go on.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// Listens to nothing.
impl Observer for () {}

/// Reported before the first batch.
#[derive(Clone, Debug, PartialEq)]
pub struct StartRecord {
    /// Finished epochs.
    pub epoch: u64,
    /// Finished chunks.
    pub chunk: u64,
    /// Finished batches.
    pub batch: u64,
    /// Seen samples.
    pub sample: u64,
    /// Learning rate; 0 ahead of a warm-up.
    pub lr: f64,
    /// Running averages.
    pub averages: RunningAverages,
    /// Whether the training goes on from a checkpoint. What was reported for
    /// batches after [`StartRecord::batch`] before is void then.
    pub resumed: bool,
}

/// Reported after every batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchProgress {
    /// Running epoch, from 1.
    pub epoch: u64,
    /// Running chunk, from 1.
    pub chunk: u64,
    /// Chunks of the whole training.
    pub max_chunks: u64,
    /// Finished batches of this chunk.
    pub chunk_batch: u64,
    /// Batches of a chunk.
    pub chunk_batches: u64,
    /// Finished batches.
    pub batch: u64,
    /// Seen samples.
    pub sample: u64,
    /// Learning rate in force.
    pub lr: f64,
    /// Loss and counts of the batch.
    pub sums: BatchSums,
    /// Running averages including it.
    pub averages: RunningAverages,
    /// Whether an optimizer step was made.
    pub stepped: bool,
    /// Gradient norm of that step before clipping; none without clipping.
    pub grad_norm: Option<f64>,
}

/// Reported at the end of a chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkRecord {
    /// Finished chunks.
    pub chunk: u64,
    /// Finished batches.
    pub batch: u64,
    /// Seen samples.
    pub sample: u64,
    /// Learning rate the chunk was trained with.
    pub lr: f64,
    /// State after the chunk and its save decision.
    pub state: LoopState,
    /// Token accuracy of the last batch, 0–1.
    pub batch_top1: f64,
    /// Seconds the chunk took.
    pub chunk_time: f64,
    /// Gradient norms; none without clipping.
    pub norms: Option<NormStatistics>,
}

/// Reported at the end of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochRecord {
    /// Finished epochs.
    pub epoch: u64,
    /// Seconds the epoch took.
    pub epoch_time: f64,
}

/// Reported at the end of the training.
#[derive(Clone, Debug, PartialEq)]
pub struct EndRecord {
    /// Last epoch begun.
    pub epoch: u64,
    /// Finished chunks.
    pub chunk: u64,
    /// Finished batches.
    pub batch: u64,
    /// Seen samples.
    pub sample: u64,
    /// Seconds of training.
    pub total_time: f64,
}

impl StartRecord {
    /// The record as named metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        vec![
            count("epoch", self.epoch),
            count("chunk", self.chunk),
            count("batch", self.batch),
            count("sample", self.sample),
            ("lr", Some(self.lr)),
            ("loss", self.averages.loss),
            percent("top1", self.averages.top1),
            percent("top1_max", self.averages.top1_max),
        ]
    }
}

impl BatchProgress {
    /// The short text beside a progress bar.
    pub fn postfix(&self) -> String {
        format!(
            "lr={}, loss={}, top1={:.2}%/{:.3}%",
            scientific(self.lr),
            scientific(self.averages.loss.unwrap_or(f64::NAN)),
            self.sums.top1() * 100.0,
            self.averages.top1 * 100.0
        )
    }
}

impl ChunkRecord {
    /// Names of its metrics.
    pub const NAMES: [&str; 18] = [
        "chunk",
        "batch",
        "sample",
        "lr",
        "loss",
        "top1",
        "top1_max",
        "batch_top1",
        "chunk_time",
        "grad_norm_min",
        "grad_norm_mean",
        "grad_norm_std",
        "grad_norm_max",
        "saved_num",
        "saved_chunk",
        "saved_loss",
        "saved_top1",
        "saved_top1_max",
    ];

    /// The record as named metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        let LoopState {
            averages, saves, ..
        } = &self.state;
        vec![
            count("chunk", self.chunk),
            count("batch", self.batch),
            count("sample", self.sample),
            ("lr", Some(self.lr)),
            ("loss", averages.loss),
            percent("top1", averages.top1),
            percent("top1_max", averages.top1_max),
            percent("batch_top1", self.batch_top1),
            ("chunk_time", Some(self.chunk_time)),
            ("grad_norm_min", self.norms.map(|norms| norms.min)),
            ("grad_norm_mean", self.norms.map(|norms| norms.mean)),
            ("grad_norm_std", self.norms.map(|norms| norms.std)),
            ("grad_norm_max", self.norms.map(|norms| norms.max)),
            count("saved_num", saves.saved_num),
            count("saved_chunk", saves.saved_chunk_id),
            ("saved_loss", Some(saves.saved_loss)),
            percent("saved_top1", saves.saved_top1),
            percent("saved_top1_max", saves.saved_top1_max),
        ]
    }
}

impl EpochRecord {
    /// Names of its metrics.
    pub const NAMES: [&str; 2] = ["epoch", "epoch_time"];

    /// The record as named metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        vec![
            count("epoch", self.epoch),
            ("epoch_time", Some(self.epoch_time)),
        ]
    }
}

impl EndRecord {
    /// The record as named metrics.
    pub fn metrics(&self) -> Vec<Metric> {
        vec![
            count("epoch", self.epoch),
            count("chunk", self.chunk),
            count("batch", self.batch),
            count("sample", self.sample),
            ("total_time", Some(self.total_time)),
        ]
    }
}

fn count(name: &'static str, value: u64) -> Metric {
    (name, Some(value as f64))
}

fn percent(name: &'static str, share: f64) -> Metric {
    (name, Some(share * 100.0))
}

/// Two decimals and an exponent of at least two digits, as in `1.50e-03`.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_metrics() {
        let names = |metrics: Vec<Metric>| -> Vec<&str> {
            metrics.into_iter().map(|(name, _)| name).collect()
        };
        let chunk = ChunkRecord {
            chunk: 1,
            batch: 1,
            sample: 1,
            lr: 0.1,
            state: LoopState::new(None),
            batch_top1: 0.5,
            chunk_time: 1.0,
            norms: None,
        };
        assert_eq!(names(chunk.metrics()), ChunkRecord::NAMES);
        let epoch = EpochRecord {
            epoch: 1,
            epoch_time: 1.0,
        };
        assert_eq!(names(epoch.metrics()), EpochRecord::NAMES);
    }

    #[test]
    fn scientific_notation_as_in_the_console_of_the_original() {
        assert_eq!(scientific(0.0015), "1.50e-03");
        assert_eq!(scientific(2.944), "2.94e+00");
        assert_eq!(scientific(0.0), "0.00e+00");
        assert_eq!(scientific(1e-100), "1.00e-100");
        assert_eq!(scientific(f64::NAN), "NaN");
    }
}
