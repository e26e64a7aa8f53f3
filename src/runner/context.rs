//! What a running stage has at hand.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Instant;

use candle_core::Device;

use crate::config::schema::Config;
use crate::device::ComputeSettings;
use crate::store::{Building, Entry, Project};
use crate::tracking::{Event, Level, METRICS_FILE, RunRecorder, StageLog};

use super::display::Screen;
use super::error::StageError;
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::resource::Resource;

/// An input of a running stage: the output of another.
#[derive(Clone, Debug)]
pub struct InputEntry {
    /// Name of the stage that made it.
    pub stage: String,
    /// The output. Its kind is in the manifest.
    pub entry: Entry,
    /// How many times it counts.
    pub repeat: usize,
}

/// What a running stage has at hand. Shared by all of its threads.
pub struct StageContext<'a> {
    pub(super) name: String,
    pub(super) config: &'a Config,
    pub(super) compute: &'a ComputeSettings,
    pub(super) device: OnceLock<Device>,
    pub(super) seed: u64,
    pub(super) inputs: Vec<InputEntry>,
    pub(super) resources: &'a [Resource],
    pub(super) project: &'a Project,
    pub(super) recorder: &'a RunRecorder,
    pub(super) interrupt: &'a Interrupt,
    pub(super) screen: &'a dyn Screen,
    pub(super) out: PathBuf,
    pub(super) work: PathBuf,
    pub(super) resumed: bool,
    pub(super) building: &'a Mutex<Option<Box<Building>>>,
    pub(super) progress: Progress,
    pub(super) metrics: OnceLock<StageLog>,
    pub(super) opening: Mutex<()>,
    pub(super) start: Instant,
    pub(super) recorded_s: AtomicU64,
}

impl StageContext<'_> {
    /// Name of the stage.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Configuration, restricted to what the kind reads; all else is default.
    pub fn config(&self) -> &Config {
        self.config
    }

    /// How it computes, whatever the kind reads: no result depends on it but
    /// for rounding.
    pub fn compute(&self) -> &ComputeSettings {
        self.compute
    }

    /// The device it computes on; opened when first asked for, with a warning
    /// where it is not the one that was named.
    pub fn device(&self) -> &Device {
        self.device.get_or_init(|| {
            let (device, warning) = self.compute.open();
            if let Some(warning) = warning {
                self.warn(&warning);
            }
            device
        })
    }

    /// Seed of its random numbers (`run.seed`).
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Outputs of the stages it takes in, in the order of the experiment file.
    pub fn inputs(&self) -> &[InputEntry] {
        &self.inputs
    }

    /// External inputs, as the kind named them for the plan; all are here.
    pub fn resources(&self) -> &[Resource] {
        self.resources
    }

    /// The project, for relative paths.
    pub fn project(&self) -> &Project {
        self.project
    }

    /// Id of the run.
    pub fn run_id(&self) -> &str {
        self.recorder.id().as_str()
    }

    /// Directory whose content becomes the output. What earlier attempts put
    /// there is still there.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// Directory for partial work: kept when the stage is stopped or killed,
    /// gone when it is done.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// Whether an earlier attempt may have left something.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// `outputs/<run id>/`, for what people take away; made when asked for.
    pub fn outputs(&self) -> Result<&Path, StageError> {
        Ok(self.recorder.outputs()?)
    }

    /// Whether the stage shall stop at its next safe point, by returning
    /// [`StageError::Interrupted`].
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_raised()
    }

    /// That, for work that looks at it on its own.
    pub fn interrupt(&self) -> Interrupt {
        self.interrupt.clone()
    }

    /// The same as an error, for use with `?`.
    pub fn check_interrupt(&self) -> Result<(), StageError> {
        if self.is_interrupted() {
            Err(StageError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Begins to count `unit`s (`texts`, `images`, `samples`): `done` of them
    /// were done by an earlier attempt, `total` are to be done if known.
    pub fn begin(&self, unit: &str, done: u64, total: Option<u64>) {
        self.progress.begin(unit, done, total);
        self.show_progress();
    }

    /// That many more are done.
    pub fn advance(&self, count: u64) {
        self.progress.advance(count);
        if self.progress.is_due() {
            self.show_progress();
        }
    }

    /// So many are done in all.
    pub fn reach(&self, done: u64) {
        self.progress.reach(done);
        if self.progress.is_due() {
            self.show_progress();
        }
    }

    /// What to show beside the progress, such as `loss=0.123`.
    pub fn status(&self, message: &str) {
        self.progress.message(message);
        if self.progress.is_due() {
            self.show_progress();
        }
    }

    fn show_progress(&self) {
        let view = self.progress.view();
        self.screen
            .with(&mut |display| display.stage_progress(&self.name, &view));
        if let Some(note) = self.progress.note()
            && let Some(building) = self
                .building
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .as_mut()
        {
            building.progress(note);
        }
        // Whole seconds since the start, plus one, at the last event.
        let now = self.start.elapsed().as_secs() + 1;
        if self.recorded_s.swap(now, Ordering::Relaxed) != now {
            self.recorder.event(Event::StageProgress {
                stage: self.name.clone(),
                unit: view.unit,
                done: view.done,
                total: view.total,
            });
        }
    }

    /// Shows and records a line.
    pub fn note(&self, text: &str) {
        self.line(Level::Info, text);
    }

    /// Shows and records a warning.
    pub fn warn(&self, text: &str) {
        self.line(Level::Warn, text);
    }

    fn line(&self, level: Level, text: &str) {
        self.recorder.console(Some(&self.name), level, text);
        self.screen
            .with(&mut |display| display.line(Some(&self.name), level, text));
    }

    /// Records that a number which the stage cannot do without became NaN or
    /// infinite, for those who want to hear of it.
    pub fn not_finite(&self, metric: &str) {
        self.recorder.event(Event::NotFinite {
            stage: self.name.clone(),
            metric: metric.to_owned(),
        });
    }

    /// Waits until what was recorded so far is on the disk; not for a disk that
    /// takes nothing, of which the run tells by itself.
    pub fn settle(&self) {
        let _ = self.recorder.flush();
    }

    /// Takes metrics. They go to the run's record and, with the output, to the
    /// store (`metrics.novic`).
    pub fn metrics(&self) -> Result<&StageLog, StageError> {
        if let Some(log) = self.metrics.get() {
            return Ok(log);
        }
        let _one_at_a_time = self
            .opening
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if self.metrics.get().is_none() {
            let log = self
                .recorder
                .stage_with_file(&self.name, &self.out.join(METRICS_FILE))?;
            return Ok(self.metrics.get_or_init(|| log));
        }
        self.metrics()
    }
}
