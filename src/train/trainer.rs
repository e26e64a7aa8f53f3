//! The training loop (`training.md` 2.3–2.8): batches, optimizer steps, chunks,
//! epochs, checkpoints. It knows neither the model nor where data come from:
//! it sees a [`Learner`] and a [`BatchSource`].

use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{Device, Tensor};

use crate::cache::batch::Batch;

use super::checkpoints::CheckpointFolder;
use super::error::{Result, TrainError};
use super::gradients::{GradientNorm, GradientSums};
use super::learned::{DoneBatch, Learned, LearnedSums, MOST_WAITING, fetch};
use super::loop_config::LoopConfig;
use super::loss_scaler::LossScaler;
use super::metrics::{ChunkRecord, EndRecord, EpochRecord, Observer, StartRecord};
use super::optimizer::{Optimizer, OptimizerSettings};
use super::schedule::{Schedule, ScheduleSettings};
use super::snapshot::{Position, Snapshot};
use super::state::{LoopState, StoredLoopState};
use super::stopping::{StopRule, StopState};

/// Added to the gradient norm before dividing by it.
const CLIP_EPSILON: f64 = 1e-6;

/// How a training ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All chunks are done.
    Finished {
        /// The last published checkpoint; none if there was nothing left to
        /// train and none had been published into this folder.
        checkpoint: Option<PathBuf>,
    },
    /// The observer asked to stop; the training can go on from the checkpoint.
    Interrupted {
        /// Checkpoint of exactly this point.
        checkpoint: PathBuf,
    },
}

/// Delivers batches in an order that can be entered anywhere.
pub trait BatchSource {
    /// Goes to place `first` (from 0) of epoch `epoch` (from 1), from where
    /// `count` batches will be asked for.
    ///
    /// # Errors
    /// Data that cannot be read.
    fn seek(&mut self, epoch: u64, first: u64, count: u64) -> Result<()>;

    /// The next batch.
    ///
    /// # Errors
    /// Data that cannot be read; no batch left.
    fn next_batch(&mut self) -> Result<Batch>;
}

/// Which batch is learnt from, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnStep {
    /// Running epoch, from 1.
    pub epoch: u64,
    /// Batch number over all epochs, from 1.
    pub batch: u64,
    /// What all dropout probabilities are multiplied with.
    pub dropout_factor: f64,
    /// What the batch's mean loss is multiplied with before differentiation
    /// (one over the batches of an optimizer step, times the loss scale of half
    /// precision).
    pub loss_scale: f64,
}

/// A model as the loop sees it.
pub trait Learner {
    /// The trainable parameters in registration order, each once. Updates are
    /// written into their storage.
    fn parameters(&self) -> Vec<(String, Tensor)>;

    /// Loss and counts of a batch, and the gradients of its scaled mean loss
    /// in the order of [`Learner::parameters`].
    ///
    /// # Errors
    /// Batches that do not fit; tensor arithmetic.
    fn learn(&mut self, batch: Batch, step: LearnStep) -> Result<Learned>;

    /// Reads weights and training from a checkpoint of this model and these
    /// nouns.
    ///
    /// # Errors
    /// A file that cannot be read or belongs to another training.
    fn load(&mut self, path: &Path) -> Result<Snapshot>;

    /// Writes model and training into a checkpoint that appears under `path`
    /// at once or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    fn save(&self, path: &Path, training: &Snapshot) -> Result<()>;
}

/// Seconds of training, going on across resumes.
#[derive(Clone, Copy, Debug)]
struct Clock {
    before: f64,
    begun: Instant,
}

impl Clock {
    fn now(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }
}

/// A training.
pub struct Trainer<'a> {
    learner: &'a mut dyn Learner,
    source: &'a mut dyn BatchSource,
    config: LoopConfig,
    folder: CheckpointFolder,
    optimizer: Optimizer,
    schedule: Schedule,
    state: LoopState,
    gradients: GradientSums,
    /// Batches that are done but not yet part of the averages.
    waiting: Vec<DoneBatch>,
    most_waiting: usize,
    scaler: Option<LossScaler>,
    /// Batches taken from the epoch's order. Differs from the batches done in
    /// the epoch only after a resume from a file that does not know its place.
    epoch_place: u64,
    clock: Clock,
    resumed: bool,
    stop_rule: StopRule,
    stop: StopState,
}

impl<'a> Trainer<'a> {
    /// A training from the learner's present weights.
    ///
    /// # Errors
    /// Parameters or settings the optimizer cannot work with.
    pub fn new(
        learner: &'a mut dyn Learner,
        source: &'a mut dyn BatchSource,
        config: LoopConfig,
        optimizer: OptimizerSettings,
        rate: &ScheduleSettings,
        folder: CheckpointFolder,
    ) -> Result<Self> {
        let optimizer = Optimizer::new(learner.parameters(), optimizer)?;
        let schedule = Schedule::new(rate, config.lengths.max_chunks, 1)?;
        Ok(Self {
            gradients: GradientSums::new(optimizer.parameters().len()),
            learner,
            source,
            config,
            folder,
            optimizer,
            schedule,
            state: LoopState::new(norm_slots(&config)),
            waiting: Vec::new(),
            most_waiting: MOST_WAITING,
            scaler: None,
            epoch_place: 0,
            clock: Clock {
                before: 0.0,
                begun: Instant::now(),
            },
            resumed: false,
            stop_rule: StopRule::default(),
            stop: StopState::default(),
        })
    }

    /// The same training, ended early by a rule.
    #[must_use]
    pub fn stopping_by(mut self, rule: StopRule) -> Self {
        self.stop_rule = rule;
        self
    }

    /// The same training with a scaled loss, which gradients in half precision
    /// need.
    #[must_use]
    pub fn scaling_losses(mut self) -> Self {
        self.scaler = Some(LossScaler::default());
        self
    }

    /// The same training, which waits for a device after so many batches to
    /// report them.
    #[must_use]
    pub fn reporting_every(mut self, batches: usize) -> Self {
        self.most_waiting = batches;
        self
    }

    /// Goes on even where a rule ended the training that wrote the checkpoint.
    pub fn forget_stop(&mut self) {
        self.stop = StopState::default();
    }

    /// Goes on from the latest point in the working folder, or from an earlier
    /// one if that is damaged. Returns warnings; none if there is no point.
    ///
    /// # Errors
    /// There are points, but none can be used.
    pub fn resume_latest(&mut self) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let mut first_error = None;
        for path in self.folder.latest()? {
            match self.resume_from(&path) {
                Ok(more) => {
                    warnings.extend(more);
                    return Ok(warnings);
                }
                Err(error) => {
                    warnings.push(error.to_string());
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) => Err(error),
            None => Ok(warnings),
        }
    }

    /// Goes on from a checkpoint: weights, moments, schedule, averages and
    /// place in the data. Moments of another kind of optimizer are left out,
    /// with a warning.
    ///
    /// # Errors
    /// A file that cannot be read or belongs to another training.
    pub fn resume_from(&mut self, path: &Path) -> Result<Vec<String>> {
        let snapshot = self.learner.load(path)?;
        let state = LoopState::try_from(snapshot.state.clone());
        let state = state.map_err(|reason| TrainError::Resume {
            path: path.to_path_buf(),
            reason: format!("its loop state is damaged: {reason}"),
        })?;
        let settings = self.optimizer.settings();
        let mut warnings: Vec<String> = (self.config.differences(&snapshot.config).into_iter())
            .map(|difference| format!("{}: {difference}", path.display()))
            .collect();
        if !snapshot.fits(settings.kind) {
            warnings.push(format!(
                "{} was trained with {:?}, now {:?}: the optimizer starts without its moments",
                path.display(),
                snapshot.optimizer.settings.kind,
                settings.kind
            ));
        } else {
            if snapshot.optimizer.settings != *settings {
                warnings.push(format!(
                    "optimizer settings of {} were {:?}, now {settings:?}",
                    path.display(),
                    snapshot.optimizer.settings
                ));
            }
            snapshot.restore_moments(&mut self.optimizer)?;
        }
        self.gradients = match (snapshot.scaler, &mut self.scaler) {
            // What was summed up was not scaled as what would be added.
            (Some(_), None) | (None, Some(_)) => GradientSums::new(self.optimizer.names().len()),
            (stored, own) => {
                *own = stored;
                snapshot.unfinished_gradients(&self.optimizer)?
            }
        };
        self.schedule = snapshot.schedule;
        self.state = state;
        self.state.fit_norms(norm_slots(&self.config));
        self.epoch_place = snapshot.position.epoch_place;
        self.clock.before = snapshot.position.seconds;
        self.stop = snapshot.stop;
        self.resumed = true;
        Ok(warnings)
    }

    /// Plans the rate of the remaining chunks anew.
    ///
    /// # Errors
    /// Rates outside their range.
    pub fn replan(&mut self, settings: &ScheduleSettings) -> Result<()> {
        let max_chunks = self.config.lengths.max_chunks;
        self.schedule = Schedule::new(settings, max_chunks, self.state.chunk_id)?;
        Ok(())
    }

    /// Where the training stands.
    pub fn state(&self) -> &LoopState {
        &self.state
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The learning rate.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What all dropout probabilities are multiplied with at present.
    pub fn dropout_factor(&self) -> f64 {
        if self.config.in_last_dropout_phase(self.state.chunk_id) {
            self.config.last_dropout_factor
        } else {
            1.0
        }
    }

    /// Trains until all chunks are done or the observer asks to stop.
    ///
    /// # Errors
    /// Data that cannot be read, checkpoints that cannot be written, losses or
    /// gradients that are not finite. Earlier checkpoints stay.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<Outcome> {
        self.clock.begun = Instant::now();
        self.warn_of_surprises(observer);
        self.state.start_time.get_or_insert(self.clock.now());
        observer.started(&self.start_record());
        let mut checkpoint = None;
        let mut placed = false;
        let mut saved_at = Instant::now();
        while !self.is_done() {
            if self.state.epoch_batches_left == Some(0) {
                self.end_epoch(observer);
                placed = false;
            }
            if !placed {
                self.enter_epoch(observer)?;
                placed = true;
            }
            let stepped = self.batch(observer)?;
            if self.state.chunk_place(&self.config) == 0 {
                self.settle(observer)?;
                if let Some(path) = self.end_chunk(observer)? {
                    checkpoint = Some(path);
                    saved_at = Instant::now();
                }
                if self.is_done() {
                    break;
                }
            }
            if observer.should_stop() {
                self.settle(observer)?;
                let path = self.save_to_go_on(observer)?;
                return Ok(Outcome::Interrupted { checkpoint: path });
            }
            if stepped && saved_at.elapsed() >= self.folder.interval() {
                self.settle(observer)?;
                if let Err(error) = self.save_to_go_on(observer) {
                    observer.warning(&format!("no checkpoint to resume from: {error}"));
                }
                saved_at = Instant::now();
            }
        }
        if self.state.epoch_batches_left == Some(0) {
            self.end_epoch(observer);
        }
        observer.finished(&self.end_record());
        if checkpoint.is_none() {
            checkpoint = self.folder.last_published()?;
        }
        Ok(Outcome::Finished { checkpoint })
    }

    /// Whether there is no further chunk to train.
    fn is_done(&self) -> bool {
        self.stop.stopped || self.state.chunk_id > self.config.lengths.max_chunks
    }

    fn warn_of_surprises(&self, observer: &mut dyn Observer) {
        let max_chunks = self.config.lengths.max_chunks;
        if self.schedule.rises_again(max_chunks, self.state.chunk_id) {
            observer.warning(
                "the cosine schedule was planned for a shorter run: the learning rate will rise \
                 again after its end; set checkpoint.resume_lr=false to plan a new one",
            );
        }
        if self.config.last_dropout_chunks >= 1 && !self.config.lengths.limited() {
            observer.warning(
                "train.last_dropout is never reached: neither train.max_chunks nor \
                 train.max_epochs limits the training",
            );
        }
    }

    fn enter_epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let left = match self.state.epoch_batches_left {
            Some(left) if self.state.epoch_started => left,
            _ => {
                self.state.epoch_started = true;
                self.state.epoch_start_time = Some(self.clock.now());
                self.epoch_place = 0;
                self.gradients.clear();
                self.config.lengths.epoch_batches
            }
        };
        self.state.epoch_batches_left = Some(left);
        observer.epoch_started(self.state.epoch_id, self.state.batch_id);
        self.source
            .seek(self.state.epoch_id, self.epoch_place, left)
    }

    /// Learns from one batch; true if an optimizer step was made.
    fn batch(&mut self, observer: &mut dyn Observer) -> Result<bool> {
        let lengths = self.config.lengths;
        if !self.state.chunk_started {
            self.state.chunk_started = true;
            self.state.chunk_start_time = Some(self.clock.now());
            observer.chunk_started(self.state.chunk_id, lengths.max_chunks);
        }
        let batch = self.source.next_batch()?;
        let scale = self.scaler.map_or(1.0, |scaler| scaler.scale);
        let Learned { sums, gradients } = self.learner.learn(
            batch,
            LearnStep {
                epoch: self.state.epoch_id,
                batch: self.state.batch_id,
                dropout_factor: self.dropout_factor(),
                loss_scale: scale / lengths.accum_factor as f64,
            },
        )?;
        if let LearnedSums::Known(sums) = &sums
            && !sums.loss_sum.is_finite()
        {
            return Err(self.not_finite("loss", sums.loss_sum));
        }
        self.gradients.add(gradients)?;
        self.epoch_place += 1;
        let stepped = self.epoch_place.is_multiple_of(lengths.accum_factor);
        let norm = if stepped { self.step(observer)? } else { None };
        let chunk_batch = self.state.chunk_place(&self.config) + 1;
        self.state.sample_id += lengths.batch_size;
        self.state.batch_id += 1;
        self.state.epoch_batches_left = self
            .state
            .epoch_batches_left
            .map(|left| left.saturating_sub(1));
        let done = DoneBatch {
            epoch: self.state.epoch_id,
            chunk: self.state.chunk_id,
            chunk_batch,
            batch: self.state.batch_id - 1,
            sample: self.state.sample_id - 1,
            lr: self.schedule.rate(),
            stepped,
            sums,
            norm,
        };
        let known = done.is_known();
        self.waiting.push(done);
        if known || self.waiting.len() >= self.most_waiting {
            self.settle(observer)?;
        }
        Ok(stepped)
    }

    /// Takes the batches that are done into the averages and reports them.
    fn settle(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let fetched = fetch(&waiting)?;
        for (done, (sums, grad_norm)) in waiting.iter().zip(fetched) {
            for (what, value) in [("loss", Some(sums.loss_sum)), ("gradient norm", grad_norm)] {
                if let Some(value) = value.filter(|value| !value.is_finite()) {
                    return Err(TrainError::NotFinite {
                        what,
                        value,
                        batch: done.batch,
                        chunk: done.chunk,
                        rate: done.lr,
                    });
                }
            }
            if let (Some(norm), Some(norms)) = (grad_norm, &mut self.state.norms) {
                norms.push(norm);
            }
            self.state.averages.update(self.config.ewa_factor, &sums);
            self.state.last_batch_top1 = sums.top1();
            let averages = self.state.averages;
            observer.batch(&done.progress(&self.config.lengths, sums, averages, grad_norm));
        }
        Ok(())
    }

    /// One optimizer step; returns the norm before clipping, if clipped.
    fn step(&mut self, observer: &mut dyn Observer) -> Result<Option<GradientNorm>> {
        if self.scaler.is_some() {
            return self.step_of_scaled(observer);
        }
        let mut scale = 1.0;
        let norm = match self.config.clips() {
            true => Some(self.gradients.norm()?),
            false => None,
        };
        match &norm {
            None => {}
            Some(GradientNorm::Known(norm)) if !norm.is_finite() => {
                return Err(self.not_finite("gradient norm", *norm));
            }
            Some(GradientNorm::Known(norm)) => scale = self.clip_factor(*norm),
            Some(GradientNorm::OnDevice(norm)) => {
                let clip = self.config.gradient_clip;
                let factor = ((norm + CLIP_EPSILON)?.recip()? * clip)?.minimum(1.0f64)?;
                self.gradients.multiply(&factor)?;
            }
        }
        self.optimizer
            .step(&self.gradients, scale, self.schedule.rate())?;
        self.gradients.clear();
        Ok(norm)
    }

    /// One optimizer step with gradients of a scaled loss, left out where they
    /// overflowed.
    fn step_of_scaled(&mut self, observer: &mut dyn Observer) -> Result<Option<GradientNorm>> {
        let mut scaler = self.scaler.unwrap_or_default();
        let norm = self.gradients.norm()?.value()? / scaler.scale;
        let mut clipped = None;
        if norm.is_finite() {
            let scale = match self.config.clips() {
                true => self.clip_factor(norm),
                false => 1.0,
            };
            (self.optimizer).step(&self.gradients, scale / scaler.scale, self.schedule.rate())?;
            scaler.fitted();
            clipped = self.config.clips().then_some(GradientNorm::Known(norm));
        } else if scaler.overflowed() {
            observer.note(&format!(
                "gradients of batch {} overflowed in half precision: that step is left out, \
                 the loss is scaled by {} now",
                self.state.batch_id, scaler.scale
            ));
        } else {
            return Err(self.not_finite("gradient norm", norm));
        }
        self.scaler = Some(scaler);
        self.gradients.clear();
        Ok(clipped)
    }

    fn clip_factor(&self, norm: f64) -> f64 {
        (self.config.gradient_clip / (norm + CLIP_EPSILON)).min(1.0)
    }

    fn not_finite(&self, what: &'static str, value: f64) -> TrainError {
        TrainError::NotFinite {
            what,
            value,
            batch: self.state.batch_id,
            chunk: self.state.chunk_id,
            rate: self.schedule.rate(),
        }
    }

    /// Ends the running chunk; returns the checkpoint, if one was written.
    fn end_chunk(&mut self, observer: &mut dyn Observer) -> Result<Option<PathBuf>> {
        let chunk = self.state.chunk_id;
        let now = self.clock.now();
        let norms = match &mut self.state.norms {
            Some(norms) => norms.finish_chunk(),
            None => None,
        };
        let lr = self.schedule.rate();
        self.schedule.advance();
        self.state.chunk_id += 1;
        self.state.chunk_started = false;
        let averages = self.state.averages;
        let reason = (self.stop).chunk_end(&self.stop_rule, chunk, averages.loss, now);
        if let Some(reason) = reason {
            observer.note(&format!("the training ends early: {reason}"));
        }
        let stopping = self.is_done();
        let save = self.state.saves.chunk_end(
            &self.config.save_rule(),
            chunk,
            stopping,
            averages.loss.unwrap_or(f64::NAN),
            averages.top1,
        );
        // Reported before saving: a run that is killed in between goes on from
        // an earlier checkpoint and reports again, so no chunk is ever missing.
        observer.chunk_end(&ChunkRecord {
            chunk,
            batch: self.state.batch_id - 1,
            sample: self.state.sample_id - 1,
            lr,
            state: self.state.clone(),
            batch_top1: self.state.last_batch_top1,
            chunk_time: now - self.state.chunk_start_time.unwrap_or(now),
            norms,
        });
        if !save {
            return Ok(None);
        }
        observer.saving();
        let path = self
            .folder
            .publish(chunk, self.state.batch_id - 1, |path| self.save(path))?;
        observer.saved(&path, chunk);
        Ok(Some(path))
    }

    fn end_epoch(&mut self, observer: &mut dyn Observer) {
        let now = self.clock.now();
        observer.epoch_end(&EpochRecord {
            epoch: self.state.epoch_id,
            epoch_time: now - self.state.epoch_start_time.unwrap_or(now),
        });
        self.state.epoch_id += 1;
        self.state.epoch_started = false;
        self.state.epoch_batches_left = None;
        self.gradients.clear();
    }

    fn save_to_go_on(&self, observer: &mut dyn Observer) -> Result<PathBuf> {
        observer.saving();
        self.folder
            .keep(self.state.batch_id - 1, |path| self.save(path))
    }

    /// Writes a checkpoint; weights that are not finite never replace good
    /// ones.
    fn save(&self, path: &Path) -> Result<()> {
        for parameter in self.optimizer.parameters() {
            if let Some(value) = first_not_finite(parameter)? {
                return Err(self.not_finite("a weight", value));
            }
        }
        self.learner.save(path, &self.snapshot()?)
    }

    fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::take(
            self.config,
            StoredLoopState::from(&self.state),
            self.schedule.clone(),
            Position {
                epoch_place: self.epoch_place,
                accumulated: self.gradients.batches(),
                seconds: self.clock.now(),
            },
            self.stop,
            &self.optimizer,
            &self.gradients,
        )?;
        snapshot.scaler = self.scaler;
        Ok(snapshot)
    }

    fn start_record(&self) -> StartRecord {
        StartRecord {
            epoch: self.state.epoch_id - 1,
            chunk: self.state.chunk_id - 1,
            batch: self.state.batch_id - 1,
            sample: self.state.sample_id - 1,
            lr: self.schedule.reported_before_start(),
            averages: self.state.averages,
            resumed: self.resumed,
        }
    }

    fn end_record(&self) -> EndRecord {
        let now = self.clock.now();
        EndRecord {
            epoch: self.state.epoch_id - u64::from(!self.state.epoch_started),
            chunk: self.state.chunk_id - u64::from(!self.state.chunk_started),
            batch: self.state.batch_id - 1,
            sample: self.state.sample_id - 1,
            total_time: now - self.state.start_time.unwrap_or(now),
        }
    }
}

fn first_not_finite(tensor: &Tensor) -> candle_core::Result<Option<f64>> {
    let tensor = tensor.to_device(&Device::Cpu)?;
    let values = crate::ops::tape::host(&tensor)?;
    let bad = values.iter().find(|value| !value.is_finite());
    Ok(bad.map(|&value| value.into()))
}

fn norm_slots(config: &LoopConfig) -> Option<u64> {
    config.clips().then(|| config.lengths.chunk_steps())
}
