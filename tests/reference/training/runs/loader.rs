//! The recorded runs on batches of a loader: the number of its threads and an
//! interruption change nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use candle_core::Tensor;
use novic::cache::{Loader, LoaderInfo, LoaderMode};
use novic::train::metrics::BatchProgress;
use novic::train::{
    CheckpointFolder, Learner, LoaderSource, Observer, Outcome, ScheduleSettings, Trainer,
};

use super::replay::target_config;
use super::setup::{Parts, Run, set_up};

#[test]
fn threads_and_interruptions_of_loaded_runs_change_nothing() {
    let runs = Run::all();
    let fresh = runs
        .iter()
        .filter(|run| run.record["error"].is_null() && run.load_model().is_none());
    let mut trained = 0;
    for run in fresh {
        let whole = tempfile::tempdir().unwrap();
        let (outcome, weights) = train(run, whole.path(), 0, u64::MAX);
        assert!(matches!(outcome, Outcome::Finished { .. }), "{}", run.name);

        let parts = tempfile::tempdir().unwrap();
        for stop_after in [3, 8] {
            let (outcome, _) = train(run, parts.path(), 2, stop_after);
            if matches!(outcome, Outcome::Finished { .. }) {
                break;
            }
        }
        let (outcome, resumed) = train(run, parts.path(), 3, u64::MAX);
        assert!(matches!(outcome, Outcome::Finished { .. }), "{}", run.name);
        assert!(resumed == weights, "{}: other weights", run.name);
        trained += 1;
    }
    assert!(trained > 0);
}

struct StopAfter {
    batch: u64,
    done: u64,
}

impl Observer for StopAfter {
    fn batch(&mut self, progress: &BatchProgress) {
        self.done = progress.batch;
    }

    fn should_stop(&mut self) -> bool {
        self.done >= self.batch
    }
}

/// Goes on from what `folder` holds; returns the bits of the weights.
fn train(run: &Run, folder: &Path, workers: usize, stop_after: u64) -> (Outcome, Vec<Vec<u32>>) {
    let Parts {
        config,
        cache,
        data,
        loop_config,
        mut learner,
    } = set_up(run, &target_config(run).unwrap(), None).unwrap();
    let samples = cache.len();
    let mode = LoaderMode::Training;
    let info = LoaderInfo::new(samples, config.data.batch_size, mode, workers).unwrap();
    let loader = Loader::new(Arc::new(cache), data, info, config.run.seed);
    let mut source = LoaderSource::new(loader);
    let parameters = learner.parameters();
    let folder = CheckpointFolder::new(
        folder.join("published"),
        folder.join("working"),
        Duration::from_secs(3600),
    )
    .unwrap();
    let mut trainer = Trainer::new(
        &mut learner,
        &mut source,
        loop_config,
        (&config.train.optimizer).into(),
        &ScheduleSettings::from(&config.train.lr),
        folder,
    )
    .unwrap();
    trainer.resume_latest().unwrap();
    let mut observer = StopAfter {
        batch: stop_after,
        done: 0,
    };
    let outcome = trainer.run(&mut observer).unwrap();
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let weights = parameters.iter().map(|(_, tensor)| bits(tensor)).collect();
    (outcome, weights)
}
