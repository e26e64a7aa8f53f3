//! What became of every run.
//!
//! A finished run leaves its overview in `summary.json`, so that lists do not
//! read whole records. That file is only an index: it can be made again from
//! the record, and is not believed where it cannot be read.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::store::{Lease, LeaseState, LockSupport, Project, replace_file};

use super::error::TrackingError;
use super::event::{Event, RunHeader, StageOutcome, StampedEvent};
use super::reader::{RECORD, read_record};
use super::recorder::LEASE;
use super::run_id::RunId;

/// Format version of `summary.json`.
const FORMAT: u32 = 1;

const SUMMARY: &str = "summary.json";

/// What became of a run, as any process can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RunState {
    /// Its process is alive.
    Running,
    /// It ended and all was well.
    Finished,
    /// It ended with a failure.
    Failed,
    /// A person stopped it.
    Interrupted,
    /// Its process is gone and never said why.
    Vanished {
        /// Its last sign of life, ms since 1970.
        last_ms: u64,
    },
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunState::Running => f.write_str("running"),
            RunState::Finished => f.write_str("finished"),
            RunState::Failed => f.write_str("failed"),
            RunState::Interrupted => f.write_str("interrupted"),
            RunState::Vanished { last_ms } => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_millis() as u64);
                write!(
                    f,
                    "ended without a word {} ago",
                    span(now.saturating_sub(*last_ms) / 1000)
                )
            }
        }
    }
}

/// A span of time in its largest whole unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// One stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageOverview {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its key.
    pub key: String,
    /// How it came out, once it is over.
    pub outcome: Option<StageOutcome>,
    /// Whether it has started.
    pub started: bool,
    /// How far it is: done, total, unit.
    pub progress: Option<(u64, Option<u64>, String)>,
    /// Seconds it took in this run.
    pub seconds: f64,
    /// Why it failed or did not run.
    pub message: Option<String>,
    /// What it found out.
    pub results: serde_json::Value,
}

/// What lists tell of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunOverview {
    /// Format version.
    pub format: u32,
    /// Run id.
    pub run: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Title of the experiment.
    pub title: String,
    /// Start, ms since 1970.
    pub started_ms: u64,
    /// Last sign of life or end, ms since 1970.
    pub last_ms: u64,
    /// Where people find what it made.
    pub outputs: PathBuf,
    /// What became of it.
    pub state: RunState,
    /// Exit code, once it is over.
    pub exit_code: Option<u8>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Its stages, in order.
    pub stages: Vec<StageOverview>,
}

impl RunOverview {
    pub(super) fn of(header: &RunHeader) -> RunOverview {
        RunOverview {
            format: FORMAT,
            run: header.run.clone(),
            experiment: header.experiment.clone(),
            title: header.title.clone(),
            started_ms: header.started_ms,
            last_ms: header.started_ms,
            outputs: header.outputs.clone(),
            state: RunState::Running,
            exit_code: None,
            reason: None,
            stages: Vec::new(),
        }
    }

    /// Seconds from the start to the end, or to the last sign of life.
    pub fn seconds(&self) -> f64 {
        self.last_ms.saturating_sub(self.started_ms) as f64 / 1000.0
    }

    fn stage(&mut self, name: &str) -> Option<&mut StageOverview> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    pub(super) fn apply(&mut self, event: &StampedEvent) {
        self.last_ms = self.last_ms.max(self.started_ms + event.time_us / 1000);
        match &event.what {
            Event::StageQueued { stage, kind, key } => self.stages.push(StageOverview {
                name: stage.clone(),
                kind: kind.clone(),
                key: key.clone(),
                outcome: None,
                started: false,
                progress: None,
                seconds: 0.0,
                message: None,
                results: serde_json::Value::Null,
            }),
            Event::StageStarted { stage, .. } => {
                if let Some(stage) = self.stage(stage) {
                    stage.started = true;
                }
            }
            Event::StageProgress {
                stage,
                unit,
                done,
                total,
            } => {
                if let Some(stage) = self.stage(stage) {
                    stage.progress = Some((*done, *total, unit.clone()));
                }
            }
            Event::StageFinished {
                stage,
                outcome,
                seconds,
                message,
                results,
            } => {
                if let Some(stage) = self.stage(stage) {
                    stage.outcome = Some(*outcome);
                    stage.seconds = *seconds;
                    stage.message = message.clone();
                    stage.results = results.clone();
                }
            }
            Event::End(end) => {
                self.exit_code = Some(end.exit_code);
                self.reason = Some(end.reason.clone());
                // 3: finished, but some inputs were parked.
                self.state = match end.exit_code {
                    0 | 3 => RunState::Finished,
                    130 => RunState::Interrupted,
                    _ => RunState::Failed,
                };
            }
            _ => {}
        }
    }
}

/// Leaves the overview beside the record. Losing it with the power costs nothing
/// but time.
pub(super) fn write_overview(dir: &Path, overview: &RunOverview) -> Result<(), TrackingError> {
    let path = dir.join(SUMMARY);
    let text =
        serde_json::to_vec(overview).map_err(|e| TrackingError::io("write", &path)(e.into()))?;
    Ok(replace_file(&path, &text)?)
}

/// The overview of the run in `dir`; `None` if there is no record (yet).
fn read_overview(dir: &Path) -> Result<Option<RunOverview>, TrackingError> {
    if let Ok(text) = fs::read(dir.join(SUMMARY))
        && let Ok(overview) = serde_json::from_slice::<RunOverview>(&text)
        && overview.format == FORMAT
    {
        return Ok(Some(overview));
    }
    if !dir.join(RECORD).exists() {
        return Ok(None);
    }
    // First the lease, then the record: a run that ends in between is seen to
    // have ended.
    let lease = Lease::inspect(&dir.join(LEASE), LockSupport::default())?;
    let mut overview = match read_record(dir) {
        Ok(record) => record.overview(),
        // Its first frame is not written yet, or it was killed before.
        Err(TrackingError::NotARecord { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if overview.state == RunState::Running {
        match lease {
            LeaseState::Held(_) => {}
            LeaseState::Absent => {
                overview.state = RunState::Vanished {
                    last_ms: overview.last_ms,
                }
            }
            LeaseState::Abandoned(holder) => {
                let beat = holder.map_or(0, |holder| holder.beat_ms);
                overview.last_ms = overview.last_ms.max(beat);
                overview.state = RunState::Vanished {
                    last_ms: overview.last_ms,
                };
            }
        }
    }
    Ok(Some(overview))
}

/// All runs of a project, oldest first, and what could not be read.
pub fn list_runs(
    project: &Project,
) -> Result<(Vec<RunOverview>, Vec<TrackingError>), TrackingError> {
    let mut found = Vec::new();
    let mut errors = Vec::new();
    for id in run_ids(project)? {
        match read_overview(&project.runs_dir().join(id.as_str())) {
            Ok(overview) => found.extend(overview),
            Err(error) => errors.push(error),
        }
    }
    found.sort_by(|a, b| (a.started_ms, &a.run).cmp(&(b.started_ms, &b.run)));
    Ok((found, errors))
}

fn run_ids(project: &Project) -> Result<Vec<RunId>, TrackingError> {
    let dir = project.runs_dir();
    let items = match fs::read_dir(&dir) {
        Ok(items) => items,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(TrackingError::io("list", &dir)(error)),
    };
    let mut ids = Vec::new();
    for item in items {
        let name = item.map_err(TrackingError::io("list", &dir))?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse::<RunId>().ok()));
    }
    ids.sort();
    Ok(ids)
}

/// Finds a run by its id, a unique part of it, or `latest`.
pub fn find_run(project: &Project, wanted: &str) -> Result<(RunOverview, PathBuf), TrackingError> {
    let dir = project.runs_dir();
    let with_overview = |id: &RunId| {
        let dir = dir.join(id.as_str());
        read_overview(&dir).map(|found| found.map(|overview| (overview, dir)))
    };
    let unknown = |nearest: Option<String>| TrackingError::UnknownRun {
        wanted: wanted.to_owned(),
        dir: project.runs_dir(),
        nearest,
    };
    if wanted == "latest" {
        let (runs, _) = list_runs(project)?;
        let last = runs.into_iter().next_back().ok_or_else(|| unknown(None))?;
        let dir = dir.join(&last.run);
        return Ok((last, dir));
    }
    let ids = run_ids(project)?;
    let matching: Vec<_> = match ids.iter().find(|id| id.as_str() == wanted) {
        Some(exact) => vec![exact],
        None if wanted.is_empty() => Vec::new(),
        None => ids
            .iter()
            .filter(|id| id.as_str().contains(wanted))
            .collect(),
    };
    match matching.as_slice() {
        [one] => with_overview(one)?.ok_or_else(|| unknown(None)),
        [] => {
            let score = |id: &RunId| (strsim::jaro_winkler(id.as_str(), wanted) * 1e6) as u64;
            let nearest = ids
                .iter()
                .max_by_key(|id| score(id))
                .filter(|id| score(id) > 900_000);
            Err(unknown(nearest.map(RunId::to_string)))
        }
        several => Err(TrackingError::AmbiguousRun {
            wanted: wanted.to_owned(),
            candidates: several
                .iter()
                .rev()
                .take(3)
                .map(|id| id.to_string())
                .collect(),
        }),
    }
}
