//! Recorded batches as data source, and a listener that keeps everything.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use novic::cache::batch::{Batch, TargetLayout};
use novic::cache::{Cache, DataConfig};
use novic::train::metrics::{
    BatchProgress, ChunkRecord, EndRecord, EpochRecord, Metric, Observer, StartRecord,
};
use novic::train::{BatchSource, DecoderLearner, LearnStep, Learned, Learner, Result, Snapshot};
use serde_json::Value;

/// Delivers the recorded rows, whatever epoch they are asked for in.
pub struct RecordedBatches<'a> {
    pub cache: &'a Cache,
    pub data: DataConfig,
    pub steps: std::slice::Iter<'a, Value>,
}

impl BatchSource for RecordedBatches<'_> {
    fn seek(&mut self, _epoch: u64, _first: u64, _count: u64) -> Result<()> {
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Batch> {
        let step = self.steps.next().expect("more batches than recorded");
        let rows: Vec<u64> = serde_json::from_value(step["rows"].clone()).unwrap();
        let runs: Vec<_> = rows.iter().map(|&row| row..row + 1).collect();
        let batch = self.cache.batch(&runs, &self.data)?;
        let targets = batch.targets.as_ref().unwrap();
        let shape = match targets.layout {
            TargetLayout::Single => vec![batch.samples, targets.columns],
            TargetLayout::Multi { targets: multi } => vec![batch.samples, multi, targets.columns],
            TargetLayout::MultiFirst { targets: multi } => {
                vec![multi, batch.samples, targets.columns]
            }
        };
        let expected: Vec<usize> = serde_json::from_value(step["shape"].clone()).unwrap();
        assert_eq!(shape, expected, "shape of batch {}", step["batch_id"]);
        Ok(batch)
    }
}

/// A learner that notes the dropout factors it is given.
pub struct NotingLearner {
    pub learner: DecoderLearner,
    pub dropout_factors: Vec<f64>,
}

impl Learner for NotingLearner {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.learner.parameters()
    }

    fn learn(&mut self, batch: Batch, step: LearnStep) -> Result<Learned> {
        self.dropout_factors.push(step.dropout_factor);
        self.learner.learn(batch, step)
    }

    fn load(&mut self, path: &Path) -> Result<Snapshot> {
        self.learner.load(path)
    }

    fn save(&self, path: &Path, training: &Snapshot) -> Result<()> {
        self.learner.save(path, training)
    }
}

/// Everything a training reported.
#[derive(Default)]
pub struct Recorder {
    pub batches: Vec<BatchProgress>,
    pub tracked: Vec<Vec<Metric>>,
    pub saved: Vec<(PathBuf, u64)>,
    pub warnings: Vec<String>,
    /// Copies of the parameters after each of the first optimizer steps.
    pub after_step: Vec<Vec<(String, Tensor)>>,
    /// The live parameters.
    pub parameters: Vec<(String, Tensor)>,
}

/// Optimizer steps after which parameters are kept.
const KEPT_STEPS: usize = 8;

impl Observer for Recorder {
    fn started(&mut self, record: &StartRecord) {
        self.tracked.push(record.metrics());
    }

    fn batch(&mut self, progress: &BatchProgress) {
        self.batches.push(progress.clone());
        if progress.stepped && self.after_step.len() < KEPT_STEPS {
            let copies = self.parameters.iter();
            let copies = copies.map(|(name, tensor)| {
                let copy = tensor.copy().unwrap().to_device(&Device::Cpu).unwrap();
                (name.clone(), copy)
            });
            self.after_step.push(copies.collect());
        }
    }

    fn chunk_end(&mut self, record: &ChunkRecord) {
        self.tracked.push(record.metrics());
    }

    fn epoch_end(&mut self, record: &EpochRecord) {
        self.tracked.push(record.metrics());
    }

    fn saved(&mut self, path: &Path, chunk: u64) {
        self.saved.push((path.to_owned(), chunk));
    }

    fn finished(&mut self, record: &EndRecord) {
        self.tracked.push(record.metrics());
    }

    fn warning(&mut self, message: &str) {
        self.warnings.push(message.to_owned());
    }
}
