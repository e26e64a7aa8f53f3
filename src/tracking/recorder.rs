//! Writing a run's record.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Zoned;

use crate::config::without_secret;
use crate::store::{Attempt, Lease, Project};

use super::environment::{Environment, Surroundings};
use super::error::TrackingError;
use super::event::{ConsoleLine, Event, Level, RunEnd, RunHeader};
use super::frame::FrameFile;
use super::index::add_to_index;
use super::listing::{RunOverview, write_overview};
use super::reader::{RECORD, measure_metrics};
use super::run_id::RunId;
use super::value::Value;
use super::watch::Watch;
use super::writer::{Queue, Writer};

/// Name of the lease in a run's directory.
pub(super) const LEASE: &str = "lease";

/// Longest wait for git when a run ends: large work trees on slow disks take
/// seconds, and only short runs wait at all.
const GIT_WAIT: Duration = Duration::from_secs(10);

/// What the program knows when a run starts.
#[derive(Clone, Debug, Default)]
pub struct RunStart {
    /// Name of the experiment.
    pub experiment: String,
    /// Title of the experiment.
    pub title: String,
    /// Experiment file, if there is one.
    pub file: Option<PathBuf>,
    /// The command line.
    pub command: Vec<String>,
    /// Overrides given on the command line.
    pub overrides: Vec<String>,
    /// The resolved configuration, secrets redacted.
    pub config: serde_json::Value,
    /// Who hears of what happens.
    pub watch: Option<Watch>,
    /// Sources and program, if they are known: it takes processes to find out.
    pub surroundings: Option<Surroundings>,
    /// Whether the machine is not sampled: the record is of something that
    /// happened elsewhere.
    pub without_samples: bool,
}

/// The one writer of a run's record.
///
/// Everything it takes is in the file within 100 ms. A recorder that is
/// dropped without [`RunRecorder::finish`] records a failed run.
#[derive(Debug)]
pub struct RunRecorder {
    id: RunId,
    project: Project,
    dir: PathBuf,
    outputs: PathBuf,
    started_ms: u64,
    queue: Arc<Queue>,
    writer: Option<JoinHandle<Option<TrackingError>>>,
    git: Mutex<mpsc::Receiver<()>>,
    // Released after the record is complete: fields drop in order.
    _lease: Option<Lease>,
}

impl RunRecorder {
    /// Starts the record of a new run in `project`, which is made if needed.
    pub fn start(project: &Project, start: RunStart) -> Result<RunRecorder, TrackingError> {
        project.create()?;
        let now = Zoned::now();
        let (id, dir) = RunId::take(&project.runs_dir(), &project.outputs_dir(), &now)?;
        let path = dir.join(RECORD);
        let lease = match Lease::try_take(&dir.join(LEASE), id.as_str(), project.locks())? {
            Attempt::Held(lease) => Some(lease),
            Attempt::Busy(_) => None,
        };
        let file = FrameFile::create(&path)?;
        let outputs = project.outputs_dir().join(id.as_str());
        let started_ms = now.timestamp().as_millisecond().max(0) as u64;
        let header = RunHeader {
            run: id.to_string(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            started_ms,
            started: now.to_string(),
            experiment: start.experiment,
            title: start.title,
            file: start.file,
            command: without_secrets(&start.command),
            overrides: without_secrets(&start.overrides),
            working_dir: project.working_dir().to_path_buf(),
            outputs: outputs.clone(),
            pid: std::process::id(),
        };
        let queue = Queue::new(RunOverview::of(&header));
        queue.event(Event::Header(header));
        queue.event(Event::Config {
            values: start.config,
        });
        queue.event(Event::Environment(Environment::capture()));
        let writer = Writer::new(queue.clone(), file, start.watch, !start.without_samples);
        let writer = thread::Builder::new()
            .name("run record".into())
            .spawn(move || writer.run())
            .map_err(TrackingError::io("start the writer of", &path))?;
        let (tell, git) = mpsc::channel();
        let (of, to) = (project.clone(), queue.clone());
        let record = move |surroundings: Surroundings| {
            if let Some(hash) = surroundings.program {
                to.event(Event::Program { hash });
            }
            if let Some(state) = surroundings.git {
                to.event(Event::Git(state));
            }
        };
        match start.surroundings {
            Some(surroundings) => record(surroundings),
            None => {
                // Without the thread the record only lacks the state of the sources.
                let _ = thread::Builder::new()
                    .name("git state".into())
                    .spawn(move || {
                        Surroundings::look(&of, record);
                        let _ = tell.send(());
                    });
            }
        }
        Ok(RunRecorder {
            id,
            project: project.clone(),
            dir,
            outputs,
            started_ms,
            queue,
            writer: Some(writer),
            git: Mutex::new(git),
            _lease: lease,
        })
    }

    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Directory of the record.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where people find what the run made; made when first asked for.
    pub fn outputs(&self) -> Result<&Path, TrackingError> {
        fs::create_dir_all(&self.outputs).map_err(TrackingError::io("make", &self.outputs))?;
        Ok(&self.outputs)
    }

    /// Records that something happened.
    pub fn event(&self, event: Event) {
        self.queue.event(event);
    }

    /// Records a line that was shown.
    pub fn console(&self, stage: Option<&str>, level: Level, text: &str) {
        let stage = stage.map(str::to_owned);
        self.queue.event(Event::Console(ConsoleLine {
            stage,
            level,
            text: text.to_owned(),
        }));
    }

    /// The metrics of a stage, recorded in this run only.
    pub fn stage(&self, name: &str) -> StageLog {
        StageLog {
            queue: self.queue.clone(),
            stage: self.queue.stage(name),
        }
    }

    /// The metrics of a stage, recorded in this run and in `path`, where they
    /// continue what earlier attempts left.
    pub fn stage_with_file(&self, name: &str, path: &Path) -> Result<StageLog, TrackingError> {
        let log = self.stage(name);
        let (file, stored) = match measure_metrics(path) {
            Ok((good, rows)) => (FrameFile::continue_at(path, good)?, rows),
            Err(error @ TrackingError::Newer { .. }) => return Err(error),
            Err(_) => {
                // Not there, or cut before its first frame.
                match fs::remove_file(path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(TrackingError::io("replace", path)(error));
                    }
                    _ => (FrameFile::create(path)?, 0),
                }
            }
        };
        let attempt = Event::Attempt {
            run: self.id.to_string(),
            started_ms: self.started_ms,
        };
        self.queue.attach(log.stage, file, stored, attempt);
        Ok(log)
    }

    /// What is known of the run so far.
    pub fn overview(&self) -> RunOverview {
        self.queue.overview()
    }

    /// Waits until everything recorded so far is on the disk.
    pub fn flush(&self) -> Result<(), TrackingError> {
        self.queue.flush()
    }

    /// Why the record cannot be written at the moment, if it cannot. Recording
    /// goes on in memory and is written when the disk takes it again.
    pub fn trouble(&self) -> Option<TrackingError> {
        self.queue.trouble()
    }

    /// Ends the record.
    pub fn finish(mut self, end: RunEnd) -> Result<RunOverview, TrackingError> {
        self.end(end)
    }

    fn end(&mut self, end: RunEnd) -> Result<RunOverview, TrackingError> {
        let gone = || TrackingError::WriterGone {
            path: self.dir.join(RECORD),
        };
        let writer = self.writer.take().ok_or_else(gone)?;
        let git = self.git.get_mut();
        let git = git.unwrap_or_else(|poisoned| poisoned.into_inner());
        let _ = git.recv_timeout(GIT_WAIT);
        self.queue.event(Event::End(end));
        self.queue.stop();
        let trouble = writer.join().map_err(|_| gone())?;
        let overview = self.queue.overview();
        match trouble {
            Some(trouble) => Err(trouble),
            None => {
                write_overview(&self.dir, &overview)?;
                add_to_index(&self.project, &self.dir, &overview);
                Ok(overview)
            }
        }
    }
}

impl Drop for RunRecorder {
    fn drop(&mut self) {
        if self.writer.is_some() {
            let reason = if thread::panicking() {
                "the program panicked"
            } else {
                "the program gave up"
            };
            let _ = self.end(RunEnd {
                exit_code: 1,
                reason: reason.into(),
            });
        }
    }
}

/// Words of a command line as they may stand in a record.
fn without_secrets(words: &[String]) -> Vec<String> {
    words.iter().map(|word| without_secret(word)).collect()
}

/// Takes the metrics of one stage.
#[derive(Clone, Debug)]
pub struct StageLog {
    queue: Arc<Queue>,
    stage: usize,
}

impl StageLog {
    /// Records one row: values that belong together, under their names.
    ///
    /// Costs far less than 2 µs per value, and never waits for the disk.
    pub fn row(&self, row: &[(&str, Value)]) {
        self.queue.log(self.stage, row);
    }

    /// Number of rows so far, all of them on the disk: to be stored in a
    /// checkpoint, for [`StageLog::rewind`].
    pub fn position(&self) -> Result<u64, TrackingError> {
        self.queue.position(self.stage)
    }

    /// Goes back to `position`: rows of earlier attempts from there on are
    /// void. A resumed stage that does not call this before its first row has
    /// begun again, and all earlier rows are void.
    pub fn rewind(&self, position: u64) {
        self.queue.rewind(self.stage, position);
    }

    /// Completes the stage's own file.
    pub fn close(&self) -> Result<(), TrackingError> {
        self.queue.detach(self.stage)
    }
}
