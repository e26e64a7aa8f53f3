//! What became of every run.
//!
//! A finished run leaves its overview in `summary.json`, so that lists do not
//! read whole records. That file is only an index: it can be made again from
//! the record, and is not believed where it cannot be read.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::schema;
use crate::store::{Lease, LeaseState, LockSupport, Project, replace_file};

use super::death::Death;
use super::error::TrackingError;
use super::event::{Event, RunHeader, StageOutcome, StampedEvent};
use super::index::{Indexed, RunIndex};
use super::labels::Labels;
use super::reader::{RECORD, read_record_without_metrics};
use super::recorder::LEASE;
use super::run_id::RunId;

/// Format version of `summary.json`. Version 1 lacked `values`: such a run is
/// read from its record.
pub const FORMAT: u32 = 2;

/// Fields that every run has, for filters, sorting and columns.
pub const FIELDS: [&str; 10] = [
    "run",
    "experiment",
    "title",
    "state",
    "started",
    "seconds",
    "exit_code",
    "reason",
    "tags",
    "note",
];

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
    /// Its process was killed, as the parent of that saw.
    Killed {
        /// By this signal.
        signal: i32,
        /// When, ms since 1970.
        at_ms: u64,
        /// Whether the system killed for want of memory just then.
        out_of_memory: bool,
    },
    /// Its process is gone and never said why.
    Vanished {
        /// Its last sign of life, ms since 1970.
        last_ms: u64,
    },
}

impl RunState {
    /// All words for states.
    pub(super) const WORDS: [&str; 6] = [
        "running",
        "finished",
        "failed",
        "interrupted",
        "killed",
        "vanished",
    ];

    /// In one word, for filters.
    pub fn word(&self) -> &'static str {
        match self {
            RunState::Running => "running",
            RunState::Finished => "finished",
            RunState::Failed => "failed",
            RunState::Interrupted => "interrupted",
            RunState::Killed { .. } => "killed",
            RunState::Vanished { .. } => "vanished",
        }
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunState::Running => f.write_str("running"),
            RunState::Finished => f.write_str("finished"),
            RunState::Failed => f.write_str("failed"),
            RunState::Interrupted => f.write_str("interrupted"),
            RunState::Killed {
                signal,
                at_ms,
                out_of_memory,
            } => write!(
                f,
                "killed (signal {signal}{}) {} ago",
                if *out_of_memory {
                    ", out of memory"
                } else {
                    ""
                },
                span(now_ms().saturating_sub(*at_ms) / 1000)
            ),
            RunState::Vanished { last_ms } => write!(
                f,
                "ended without a word {} ago",
                span(now_ms().saturating_sub(*last_ms) / 1000)
            ),
        }
    }
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
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
    /// When it started while it is at work, µs since the start of the run.
    #[serde(skip)]
    pub started_us: u64,
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
    /// Values of its configuration that are not the default: of what all
    /// stages share by their dotted path, of one stage as `stage.NAME.PATH`.
    pub values: Map<String, Value>,
    /// Tags that people gave it; not part of the summary.
    #[serde(default)]
    pub tags: Vec<String>,
    /// What people say about it; not part of the summary.
    #[serde(default)]
    pub note: String,
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
            values: Map::new(),
            tags: Vec::new(),
            note: String::new(),
            stages: Vec::new(),
        }
    }

    /// Seconds from the start to the end, or to the last sign of life.
    pub fn seconds(&self) -> f64 {
        self.last_ms.saturating_sub(self.started_ms) as f64 / 1000.0
    }

    /// Milliseconds since its end or last sign of life.
    pub(super) fn silent_ms(&self) -> u64 {
        now_ms().saturating_sub(self.last_ms)
    }

    /// A field by its name, for filters, sorting and columns: `run`,
    /// `experiment`, `title`, `state`, `started` (local time), `seconds`,
    /// `exit_code`, `reason`, `tags`, `note`, a key of the configuration by its
    /// nested or flat name, `stage.NAME.KEY`, a result of the last stage that
    /// has it, or `STAGE.RESULT`.
    pub fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "run" => self.run.as_str().into(),
            "experiment" => self.experiment.as_str().into(),
            "title" => self.title.as_str().into(),
            "state" => self.state.word().into(),
            "started" => local_time(self.started_ms)?.into(),
            "seconds" => self.seconds().into(),
            "exit_code" => self.exit_code?.into(),
            "reason" => self.reason.as_deref()?.into(),
            "tags" => self.tags.clone().into(),
            "note" => self.note.as_str().into(),
            name => return self.value(name).or_else(|| self.result(name)),
        })
    }

    /// A value of the configuration: that of the first stage that has its own,
    /// else the shared one, else the default.
    fn value(&self, name: &str) -> Option<Value> {
        let Some(key) = schema::key(name).or_else(|| schema::key_by_flat_name(name)) else {
            // `stage.NAME.KEY`.
            return self.values.get(name).cloned();
        };
        let own = self.values.iter().find(|(path, _)| {
            let rest = path.strip_prefix("stage.");
            let rest = rest.and_then(|rest| rest.split_once('.'));
            rest.is_some_and(|(_, path)| path == key.path)
        });
        let found = own
            .map(|(_, value)| value)
            .or_else(|| self.values.get(key.path));
        Some(found.cloned().unwrap_or_else(|| (key.default)()))
    }

    fn result(&self, name: &str) -> Option<Value> {
        let name = name.strip_prefix("results.").unwrap_or(name);
        let of = |stage: &StageOverview, name: &str| stage.results.get(name).cloned();
        let any = self.stages.iter().rev().find_map(|stage| of(stage, name));
        any.or_else(|| {
            let (stage, name) = name.split_once('.')?;
            of(self.stages.iter().find(|other| other.name == stage)?, name)
        })
    }

    fn stage(&mut self, name: &str) -> Option<&mut StageOverview> {
        self.stages.iter_mut().find(|stage| stage.name == name)
    }

    pub(super) fn apply(&mut self, event: &StampedEvent) {
        self.last_ms = self.last_ms.max(self.started_ms + event.time_us / 1000);
        match &event.what {
            Event::Config { values } => self.values = own_values(values),
            Event::StageQueued { stage, kind, key } => self.stages.push(StageOverview {
                name: stage.clone(),
                kind: kind.clone(),
                key: key.clone(),
                outcome: None,
                started: false,
                started_us: 0,
                progress: None,
                seconds: 0.0,
                message: None,
                results: serde_json::Value::Null,
            }),
            Event::StageStarted { stage, .. } => {
                if let Some(stage) = self.stage(stage) {
                    stage.started = true;
                    stage.started_us = event.time_us;
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
                    stage.seconds = event.time_us.saturating_sub(stage.started_us) as f64 / 1e6;
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
                    stage.started_us = 0;
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

/// Values of a recorded configuration that are not the default.
fn own_values(config: &Value) -> Map<String, Value> {
    let mut own = Map::new();
    for key in schema::keys() {
        let parts = key.path.split('.');
        let value = parts.fold(&config["config"], |value, part| &value[part]);
        if !value.is_null() && *value != (key.default)() {
            own.insert(key.path.to_owned(), value.clone());
        }
    }
    for stage in config["stages"].as_array().into_iter().flatten() {
        let (name, values) = (stage["name"].as_str(), stage["config"].as_object());
        let (Some(name), Some(values)) = (name, values) else {
            continue;
        };
        let values = values.iter();
        own.extend(values.map(|(path, value)| (format!("stage.{name}.{path}"), value.clone())));
    }
    own
}

/// `2026-11-24T17:05:09`.
fn local_time(ms: u64) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    Some(zoned.strftime("%Y-%m-%dT%H:%M:%S").to_string())
}

/// Leaves the overview beside the record. Losing it with the power costs nothing
/// but time.
pub(super) fn write_overview(dir: &Path, overview: &RunOverview) -> Result<(), TrackingError> {
    let path = dir.join(SUMMARY);
    let text =
        serde_json::to_vec(overview).map_err(|e| TrackingError::io("write", &path)(e.into()))?;
    Ok(replace_file(&path, &text)?)
}

/// The overview of the run in `dir` with its labels; `None` if there is no
/// record (yet).
fn read_overview(dir: &Path) -> Result<Option<RunOverview>, TrackingError> {
    Ok(overview_of(dir)?.map(|overview| labelled(overview, dir)))
}

fn labelled(overview: RunOverview, dir: &Path) -> RunOverview {
    let labels = Labels::read(dir);
    RunOverview {
        tags: labels.tags,
        note: labels.note,
        ..overview
    }
}

fn overview_of(dir: &Path) -> Result<Option<RunOverview>, TrackingError> {
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
    let mut overview = match read_record_without_metrics(dir) {
        Ok(record) => record.overview(),
        // Its first frame is not written yet, or it was killed before.
        Err(TrackingError::NotARecord { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    if overview.state == RunState::Running
        && !matches!(lease, LeaseState::Held(_))
        && let Some(death) = Death::read(dir)
    {
        overview.last_ms = death.at_ms;
        overview.state = RunState::Killed {
            signal: death.signal,
            at_ms: death.at_ms,
            out_of_memory: death.out_of_memory,
        };
    }
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
    let (found, errors) = overviews(project, RunIndex::read(project))?;
    let mut found: Vec<_> = found.into_iter().map(|(run, _)| run).collect();
    found.sort_by(|a, b| (a.started_ms, &a.run).cmp(&(b.started_ms, &b.run)));
    Ok((found, errors))
}

/// A run, and whether the index knew it.
type Found = (RunOverview, bool);

/// All runs in no order, and what could not be read.
pub(super) fn overviews(
    project: &Project,
    mut index: RunIndex,
) -> Result<(Vec<Found>, Vec<TrackingError>), TrackingError> {
    let runs_dir = project.runs_dir();
    let known: Vec<(RunId, Option<Indexed>)> = run_ids(project)?
        .into_iter()
        .map(|id| {
            let indexed = index.take(id.as_str());
            (id, indexed)
        })
        .collect();
    let read = |(id, indexed): (RunId, Option<Indexed>)| {
        let dir = runs_dir.join(id.as_str());
        match indexed.and_then(|indexed| indexed.believed(&dir)) {
            Some(overview) => Ok(Some((labelled(overview, &dir), true))),
            None => Ok(read_overview(&dir)?.map(|overview| (overview, false))),
        }
    };
    let read: Vec<Result<_, TrackingError>> = known.into_par_iter().map(read).collect();
    let (mut found, mut errors) = (Vec::with_capacity(read.len()), Vec::new());
    for overview in read {
        match overview {
            Ok(overview) => found.extend(overview),
            Err(error) => errors.push(error),
        }
    }
    Ok((found, errors))
}

/// Removes the record of the run in `dir`, as a whole as far as anybody can
/// see.
pub fn remove_run(dir: &Path) -> Result<(), TrackingError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    // No run id: lists pass over it.
    let doomed = dir.with_file_name(format!(".{name}.doomed.{}", std::process::id()));
    fs::rename(dir, &doomed).map_err(TrackingError::io("remove", dir))?;
    fs::remove_dir_all(&doomed).map_err(TrackingError::io("remove", &doomed))
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
    let those = |fits: &dyn Fn(&str) -> bool| -> Vec<&RunId> {
        let fitting = ids.iter().filter(|id| fits(id.as_str()));
        fitting.collect()
    };
    // The whole id, or its only end, is meant whatever else contains it.
    let exact = those(&|id| id == wanted);
    let ending = those(&|id| id.ends_with(wanted));
    let matching = match (exact.len(), ending.len()) {
        _ if wanted.is_empty() => Vec::new(),
        (1, _) => exact,
        (_, 1) => ending,
        _ => those(&|id| id.contains(wanted)),
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
