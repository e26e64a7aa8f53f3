//! Interrupted, killed and resumed trainings of a small decoder.

use std::path::Path;
use std::time::Duration;

use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cache::batch::{Batch, TargetBatch, TargetLayout};
use crate::config::schema::{Config, NoiseScheme};
use crate::decoder::checkpoint::{CheckpointHeader, FORMAT_VERSION};
use crate::decoder::noise::EmbeddingNoise;
use crate::decoder::{Autocast, Decoder, Dimensions};

use super::checkpoints::CheckpointFolder;
use super::decoder_learner::DecoderLearner;
use super::error::{Result, TrainError};
use super::gradients::Gradient;
use super::learned::Learned;
use super::loop_config::{DataSize, LoopConfig};
use super::metrics::{BatchProgress, ChunkRecord, Observer, StartRecord};
use super::schedule::ScheduleSettings;
use super::snapshot::Snapshot;
use super::trainer::{BatchSource, LearnStep, Learner, Outcome, Trainer};

const DIM: usize = 6;
const VOCAB: u32 = 9;
const COLUMNS: usize = 3;
const BATCH: usize = 4;

/// Random unit vectors and targets that depend on epoch and place only.
struct Synthetic {
    epoch: u64,
    place: u64,
}

impl BatchSource for Synthetic {
    fn seek(&mut self, epoch: u64, first: u64, _count: u64) -> Result<()> {
        (self.epoch, self.place) = (epoch, first);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Batch> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.epoch * 1000 + self.place);
        self.place += 1;
        let mut embeds = Vec::new();
        let (mut ids, mut padding) = (Vec::new(), Vec::new());
        for _ in 0..BATCH {
            let row: Vec<f32> = (0..DIM).map(|_| rng.random_range(-1.0..1.0)).collect();
            let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            embeds.extend(row.iter().map(|value| value / norm));
            let length = rng.random_range(1..COLUMNS);
            for column in 0..COLUMNS {
                ids.push(if column < length {
                    rng.random_range(1..VOCAB)
                } else {
                    0
                });
                padding.push(column > length);
            }
        }
        Ok(Batch {
            samples: BATCH,
            dim: DIM,
            embeds,
            targets: Some(TargetBatch {
                layout: TargetLayout::Single,
                columns: COLUMNS,
                ids,
                padding: Some(padding),
                weights: None,
            }),
        })
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.model.hidden_dim = 8;
    config.model.layers = 2;
    config.model.heads = 2;
    config.model.prefix_len = 2;
    config.noise.scheme = NoiseScheme::GaussElemUniformAngle;
    config.noise.vec_norm = 1.5;
    config.noise.angle_max = 40.0;
    config.noise.mix_ratio = 0.3;
    config.data.batch_size = BATCH;
    // 8 batches per epoch, 5 per chunk: steps lie across chunks, chunks across
    // epochs.
    config.train.accum_factor = 2;
    config.train.chunk_scale = 2.5;
    config.train.max_epochs = 0;
    config.train.max_chunks = 7;
    config.train.last_dropout.chunks = 2;
    config.train.last_dropout.factor = 0.5;
    config.train.lr.init = 0.02;
    config.train.lr.warmup_chunks = 1;
    config.checkpoint.save_every_min = 2;
    config.checkpoint.save_every_max = 3;
    config
}

fn learner(config: &Config) -> DecoderLearner {
    let dimensions = Dimensions {
        embed_dim: DIM,
        vocab_size: VOCAB as usize,
        token_length: COLUMNS,
    };
    let seed = config.run.seed;
    let nouns = (0..VOCAB).map(|noun| format!("noun {noun}")).collect();
    DecoderLearner::new(
        Decoder::new(&config.model, dimensions, seed).unwrap(),
        seed,
        None,
        EmbeddingNoise::new(&config.noise).unwrap(),
        CheckpointHeader {
            format_version: FORMAT_VERSION,
            target_nouns: nouns,
            embed_dim: DIM,
            ..CheckpointHeader::default()
        },
    )
}

/// A learner that fails at one batch, and may be given a NaN there.
struct Failing<'a> {
    learner: &'a mut DecoderLearner,
    at: u64,
    with_nan: bool,
}

impl Learner for Failing<'_> {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.learner.parameters()
    }

    fn learn(&mut self, batch: Batch, step: LearnStep) -> Result<Learned> {
        let mut learned = self.learner.learn(batch, step)?;
        if step.batch == self.at {
            if !self.with_nan {
                return Err(TrainError::NoTargets);
            }
            if let Some(Gradient::Host(gradient)) = &mut learned.gradients[0] {
                gradient.fill(f32::NAN);
            }
        }
        Ok(learned)
    }

    fn load(&mut self, path: &Path) -> Result<Snapshot> {
        self.learner.load(path)
    }

    fn save(&self, path: &Path, training: &Snapshot) -> Result<()> {
        self.learner.save(path, training)
    }
}

/// Keeps what is reported; a resume discards what came after its point.
#[derive(Default)]
struct Notes {
    batches: Vec<BatchProgress>,
    chunks: Vec<ChunkRecord>,
    stop_after: Option<u64>,
}

impl Observer for Notes {
    fn started(&mut self, record: &StartRecord) {
        self.batches.retain(|batch| batch.batch <= record.batch);
        self.chunks.retain(|chunk| chunk.batch <= record.batch);
    }

    fn batch(&mut self, progress: &BatchProgress) {
        self.batches.push(progress.clone());
    }

    fn chunk_end(&mut self, record: &ChunkRecord) {
        self.chunks.push(record.clone());
    }

    fn should_stop(&mut self) -> bool {
        let done = self.batches.last().map(|batch| batch.batch);
        self.stop_after.is_some() && done == self.stop_after
    }
}

/// How one process of a training ends.
#[derive(Clone, Copy)]
enum End {
    Regular,
    StoppedAfter(u64),
    KilledAt(u64),
    NanAt(u64),
}

/// One process: everything is made anew and goes on from the folder.
fn process(
    folder: &Path,
    end: End,
    notes: &mut Notes,
    config: &Config,
) -> Result<(Outcome, Vec<Vec<u32>>)> {
    let mut learner = learner(config);
    // As on a device in half precision.
    let half = config.model.amp;
    if half {
        learner = learner.with_composed(Autocast::Half);
    }
    let (at, with_nan) = match end {
        End::KilledAt(at) => (at, false),
        End::NanAt(at) => (at, true),
        _ => (0, false),
    };
    notes.stop_after = match end {
        End::StoppedAfter(batch) => Some(batch),
        _ => None,
    };
    let parameters = learner.parameters();
    let mut failing = Failing {
        learner: &mut learner,
        at,
        with_nan,
    };
    let mut source = Synthetic { epoch: 0, place: 0 };
    let loop_config = LoopConfig::new(
        &config.train,
        &config.checkpoint,
        DataSize {
            samples: 35,
            valid_nouns: 8,
            batch_size: BATCH as u64,
        },
    )?;
    let folder = CheckpointFolder::new(
        folder.join("published"),
        folder.join("working"),
        Duration::ZERO,
    )?;
    let mut trainer = Trainer::new(
        &mut failing,
        &mut source,
        loop_config,
        (&config.train.optimizer).into(),
        &ScheduleSettings::from(&config.train.lr),
        folder,
    )?;
    if half {
        trainer = trainer.scaling_losses();
    }
    trainer.resume_latest()?;
    let outcome = trainer.run(notes)?;
    let bits = |tensor: &Tensor| -> Vec<u32> {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    let weights = parameters.iter().map(|(_, tensor)| bits(tensor)).collect();
    Ok((outcome, weights))
}

fn assert_same_reports(own: &Notes, expected: &Notes) {
    assert_eq!(own.batches, expected.batches);
    let numbers = |notes: &Notes| -> Vec<_> {
        let metrics = notes.chunks.iter().map(ChunkRecord::metrics);
        metrics
            .map(|metrics| {
                let timeless = metrics
                    .into_iter()
                    .filter(|(name, _)| *name != "chunk_time");
                timeless.collect::<Vec<_>>()
            })
            .collect()
    };
    assert_eq!(numbers(own), numbers(expected));
}

#[test]
fn stopped_and_killed_trainings_end_as_uninterrupted_ones() {
    for optimizer in ["AdamW", "AdamP"] {
        let mut config = config();
        config.train.optimizer.r#type = optimizer.parse().unwrap();
        let whole = tempfile::tempdir().unwrap();
        let mut expected_notes = Notes::default();
        let (outcome, expected) =
            process(whole.path(), End::Regular, &mut expected_notes, &config).unwrap();
        let Outcome::Finished {
            checkpoint: Some(last),
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert!(last.to_string_lossy().contains("ovod_chunk0007_"));
        assert_eq!(expected_notes.batches.len(), 35);

        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..6 {
            let folder = tempfile::tempdir().unwrap();
            let mut notes = Notes::default();
            let mut batch = 0;
            loop {
                batch += rng.random_range(1..9);
                if batch > 34 {
                    break;
                }
                if rng.random() {
                    let end = End::StoppedAfter(batch);
                    let (outcome, _) = process(folder.path(), end, &mut notes, &config).unwrap();
                    assert!(matches!(outcome, Outcome::Interrupted { .. }));
                } else {
                    process(folder.path(), End::KilledAt(batch), &mut notes, &config).unwrap_err();
                }
            }
            let (outcome, weights) =
                process(folder.path(), End::Regular, &mut notes, &config).unwrap();
            assert!(matches!(outcome, Outcome::Finished { .. }));
            assert!(weights == expected, "{optimizer}: other weights");
            assert_same_reports(&notes, &expected_notes);
            let files =
                |folder: &Path| std::fs::read_dir(folder.join("published")).unwrap().count();
            assert_eq!(files(folder.path()), files(whole.path()));
            assert_eq!(files(folder.path()), 3, "chunks 3, 6 and 7");
        }
    }
}

#[test]
fn trainings_by_composed_operations_go_on_as_well() {
    let mut config = config();
    config.model.amp = true;
    let whole = tempfile::tempdir().unwrap();
    let mut expected = Notes::default();
    let (_, weights) = process(whole.path(), End::Regular, &mut expected, &config).unwrap();
    assert_eq!(expected.batches.len(), 35);
    let folder = tempfile::tempdir().unwrap();
    let mut notes = Notes::default();
    // Reports come with checkpoints, after every optimizer step.
    for end in [8, 20].map(End::StoppedAfter) {
        process(folder.path(), end, &mut notes, &config).unwrap();
    }
    process(folder.path(), End::KilledAt(28), &mut notes, &config).unwrap_err();
    let (_, same) = process(folder.path(), End::Regular, &mut notes, &config).unwrap();
    assert!(same == weights, "other weights");
    assert_same_reports(&notes, &expected);

    // It is the training of the fused kernels, but for rounding and dropout.
    config.model.amp = false;
    let fused = tempfile::tempdir().unwrap();
    let mut of_fused = Notes::default();
    process(fused.path(), End::Regular, &mut of_fused, &config).unwrap();
    let loss = |notes: &Notes| notes.batches.last().unwrap().averages.loss.unwrap();
    let (own, other) = (loss(&notes), loss(&of_fused));
    assert!(
        (own - other).abs() < 0.1 * other,
        "{own} instead of {other}"
    );
}

#[test]
fn a_finished_training_trains_nothing_and_names_its_last_checkpoint() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    let mut notes = Notes::default();
    let (first, weights) = process(folder.path(), End::Regular, &mut notes, &config).unwrap();
    let mut again = Notes::default();
    let (second, same) = process(folder.path(), End::Regular, &mut again, &config).unwrap();
    assert_eq!(first, second);
    assert_eq!(weights, same);
    assert!(again.batches.is_empty());
}

#[test]
fn nan_ends_the_training_and_keeps_the_last_checkpoint() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    let mut notes = Notes::default();
    let error = process(folder.path(), End::NanAt(21), &mut notes, &config).unwrap_err();
    assert!(
        matches!(error, TrainError::NotFinite { batch: 22, .. }),
        "{error}"
    );
    let (_, weights) = process(folder.path(), End::Regular, &mut notes, &config).unwrap();
    assert!(
        weights
            .iter()
            .flatten()
            .all(|bits| f32::from_bits(*bits).is_finite())
    );
    assert_eq!(notes.batches.len(), 35);
}

#[test]
fn a_damaged_point_is_skipped_but_points_of_other_trainings_are_errors() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    let mut notes = Notes::default();
    process(folder.path(), End::StoppedAfter(20), &mut notes, &config).unwrap();
    let latest = folder.path().join("working/batch_000000000020.safetensors");
    let whole = std::fs::read(&latest).unwrap();
    std::fs::write(&latest, &whole[..whole.len() / 2]).unwrap();
    process(folder.path(), End::StoppedAfter(24), &mut notes, &config).unwrap();
    assert_eq!(notes.batches.len(), 24);

    let fail = |change: fn(&mut Config)| {
        let mut other = config.clone();
        change(&mut other);
        let error = process(folder.path(), End::Regular, &mut Notes::default(), &other);
        error.unwrap_err().to_string()
    };
    let message = fail(|config| config.model.hidden_dim = 16);
    assert!(message.contains("resume from"), "{message}");
    let message = fail(|config| config.model.layers = 3);
    assert!(message.contains("resume from"), "{message}");
}

#[test]
fn weights_of_other_nouns_are_refused() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    let end = End::StoppedAfter(3);
    process(folder.path(), end, &mut Notes::default(), &config).unwrap();
    let path = folder.path().join("working/batch_000000000003.safetensors");
    let own = learner(&config);
    let mut header = own.header().clone();
    header.target_nouns[4] = "other".to_owned();
    let mut other = DecoderLearner::new(own.decoder().clone(), 1, None, None, header);
    let message = other.load_weights(&path).unwrap_err().to_string();
    assert!(
        message.contains("where it has \"noun 4\", the data have \"other\""),
        "{message}"
    );
    learner(&config).load_weights(&path).unwrap();
}
