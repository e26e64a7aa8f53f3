//! What became of every run.
//!
//! A finished run leaves its overview in `summary.json`, so that lists do not
//! read whole records. That file is only an index: it can be made again from
//! the record, and is not believed where it cannot be read.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, fs, io};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::schema;
use crate::store::{Lease, LeaseState, LockSupport, Project, StoreError, replace_file};

use super::death::Death;
use super::error::TrackingError;
use super::event::{Event, RunHeader, StageOutcome, StampedEvent};
use super::frame::is_begun;
use super::labels::Labels;
use super::reader::{
    RECORD, SURROUNDINGS, check_record, read_record_without_metrics, read_surroundings,
};
use super::recorder::LEASE;
use super::run_id::RunId;
use super::run_list::{RunList, run_ids};

/// Format version of `summary.json`. Version 1 lacked `values`: such a run is
/// read from its record.
pub const FORMAT: u32 = 2;

/// Fields that every run has, for filters, sorting and columns.
pub const FIELDS: [&str; 14] = [
    "run",
    "experiment",
    "title",
    "state",
    "started",
    "seconds",
    "time",
    "stages",
    "heartbeat",
    "exit_code",
    "reason",
    "tags",
    "note",
    "labels",
];

/// A run directory without a record is that of a run just starting for so long.
const START: Duration = Duration::from_secs(60);

/// A run that lived no longer may have no first frame.
const FIRST_MS: u64 = 2000;

/// A heartbeat that is older is shown with its day.
const HALF_A_DAY_MS: u64 = 12 * 3600 * 1000;

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
    /// Its record cannot be read.
    Unreadable {
        /// Why, in words.
        what: String,
    },
}

impl RunState {
    /// All words for states.
    pub const WORDS: [&str; 7] = [
        "running",
        "finished",
        "failed",
        "interrupted",
        "killed",
        "vanished",
        "unreadable",
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
            RunState::Unreadable { .. } => "unreadable",
        }
    }

    /// Whether its record cannot be read.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, RunState::Unreadable { .. })
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
            RunState::Unreadable { what } => write!(f, "unreadable: {what}"),
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
    /// Machine, program and sources, once they were asked for.
    #[serde(skip)]
    pub surroundings: Map<String, Value>,
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
            surroundings: Map::new(),
            stages: Vec::new(),
        }
    }

    /// Names of the fields that only records have: they are there after
    /// [`RunOverview::read_surroundings`].
    pub const SURROUNDINGS: [&str; 16] = SURROUNDINGS;

    /// Reads what people said about the run in `dir`.
    pub(super) fn read_labels(&mut self, dir: &Path) {
        let labels = Labels::read(dir);
        self.tags = labels.tags;
        self.note = labels.note;
    }

    /// Reads what the records of runs say of machine, program and sources. Those
    /// that cannot be read say nothing.
    pub fn read_surroundings(runs: &mut [RunOverview], project: &Project) {
        let dir = project.runs_dir();
        runs.par_iter_mut().for_each(|run| {
            run.surroundings = read_surroundings(&dir.join(&run.run)).unwrap_or_default();
        });
    }

    /// Its state; of a run that ended without a word with its last heartbeat.
    pub fn state_text(&self) -> String {
        let heartbeat = match self.state {
            RunState::Vanished { .. } => local_time(self.last_ms),
            _ => None,
        };
        let Some(heartbeat) = heartbeat else {
            return self.state.to_string();
        };
        let (day, time) = heartbeat
            .split_once('T')
            .unwrap_or(("", heartbeat.as_str()));
        let day = match self.silent_ms() {
            0..HALF_A_DAY_MS => String::new(),
            _ => format!("{day} "),
        };
        format!("{} (last heartbeat {day}{time})", self.state)
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
    /// `experiment`, `title`, `state`, `started` (local time), `seconds` or
    /// `time`, `stages` (their names), `heartbeat` (last sign of life, local
    /// time), `exit_code`, `reason`, `tags`, `note`, `labels` (both), a key of the
    /// configuration by its nested or flat name, `stage.NAME.KEY`, a result of the
    /// last stage that has it, `STAGE.RESULT`, or one of
    /// [`RunOverview::SURROUNDINGS`].
    pub fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "run" => self.run.as_str().into(),
            "experiment" => self.experiment.as_str().into(),
            "title" => self.title.as_str().into(),
            "state" => self.state.word().into(),
            "started" => local_time(self.started_ms)?.into(),
            "seconds" | "time" => self.seconds().into(),
            "stages" => {
                let names = self.stages.iter().map(|stage| stage.name.as_str());
                names.collect()
            }
            "heartbeat" => local_time(self.last_ms)?.into(),
            "exit_code" => self.exit_code?.into(),
            "reason" => self.reason.as_deref()?.into(),
            "tags" => self.tags.clone().into(),
            "note" => self.note.as_str().into(),
            "labels" => {
                let note = Some(self.note.as_str()).filter(|note| !note.is_empty());
                let tags = self.tags.iter().map(String::as_str);
                tags.chain(note).collect()
            }
            name => {
                let own = self.value(name).or_else(|| self.result(name));
                return own.or_else(|| self.surroundings.get(name).cloned());
            }
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

/// The overview of a run with its labels; `None` if there is no record yet.
fn read_overview(project: &Project, id: &RunId) -> Result<Option<RunOverview>, TrackingError> {
    let dir = project.runs_dir().join(id.as_str());
    let mut overview = overview_of(project, id, &dir)?;
    if let Some(overview) = &mut overview {
        overview.read_labels(&dir);
    }
    Ok(overview)
}

/// The overview of the run in `dir` without its labels; `None` if there is no
/// record yet.
pub(super) fn overview_of(
    project: &Project,
    id: &RunId,
    dir: &Path,
) -> Result<Option<RunOverview>, TrackingError> {
    if let Some(mut overview) = read_summary(dir) {
        // Only an index of what must be there.
        match check_record(dir) {
            Ok(()) | Err(TrackingError::Newer { .. }) => {}
            Err(error) => {
                let what = in_words(&error);
                overview.state = RunState::Unreadable { what };
            }
        }
        return Ok(Some(overview));
    }
    let path = dir.join(RECORD);
    if is_missing(&path) && is_young(dir) {
        return Ok(None);
    }
    // First the lease, then the record: a run that ends in between is seen to
    // have ended.
    let lease = lease_of(dir);
    let mut overview = match read_record_without_metrics(dir) {
        Ok(record) => record.overview(),
        Err(error @ TrackingError::Newer { .. }) => return Err(error),
        Err(error) => {
            let is_alive = matches!(lease, Ok(LeaseState::Held(_)));
            match &lease {
                // Its first frame is not written yet.
                Ok(LeaseState::Held(_)) if is_begun(&path) => return Ok(None),
                // It was killed before that.
                Ok(LeaseState::Abandoned(Some(holder)))
                    if is_begun(&path) && holder.beat_ms < holder.since_ms + FIRST_MS =>
                {
                    let overview = unreadable(project, id, true, in_words(&error));
                    RunOverview {
                        reason: None,
                        ..overview
                    }
                }
                _ => return Ok(Some(unreadable(project, id, is_alive, in_words(&error)))),
            }
        }
    };
    let lease = lease?;
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

fn read_summary(dir: &Path) -> Option<RunOverview> {
    let path = dir.join(SUMMARY);
    let is_file = fs::metadata(&path).is_ok_and(|found| found.is_file());
    let text = is_file.then(|| fs::read(&path).ok()).flatten()?;
    let overview: RunOverview = serde_json::from_slice(&text).ok()?;
    (overview.format == FORMAT).then_some(overview)
}

/// The lease of the run in `dir`; what is no file is none.
fn lease_of(dir: &Path) -> Result<LeaseState, TrackingError> {
    let path = dir.join(LEASE);
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Ok(LeaseState::Absent);
    }
    Ok(Lease::inspect(&path, LockSupport::default())?)
}

fn is_missing(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a run may have made this directory just now.
fn is_young(dir: &Path) -> bool {
    let made = fs::metadata(dir).and_then(|found| found.modified());
    let age = made.ok().and_then(|made| made.elapsed().ok());
    age.is_none_or(|age| age < START)
}

/// What can be said of a run whose record says nothing, and `what` is wrong with
/// it.
pub(super) fn unreadable(
    project: &Project,
    id: &RunId,
    is_alive: bool,
    what: String,
) -> RunOverview {
    let started_ms = started_ms(id).unwrap_or(0);
    let (state, reason) = match is_alive {
        true => (RunState::Running, Some(what)),
        false => (RunState::Unreadable { what }, None),
    };
    RunOverview {
        format: FORMAT,
        run: id.to_string(),
        experiment: String::new(),
        title: String::new(),
        started_ms,
        last_ms: started_ms,
        outputs: project.outputs_dir().join(id.as_str()),
        state,
        exit_code: None,
        reason,
        values: Map::new(),
        tags: Vec::new(),
        note: String::new(),
        surroundings: Map::new(),
        stages: Vec::new(),
    }
}

/// The start of a run as its id has it.
fn started_ms(id: &RunId) -> Option<u64> {
    let text = id.as_str().strip_prefix("ovod_")?.get(..15)?;
    let time = jiff::civil::DateTime::strptime("%Y%m%d_%H%M%S", text).ok()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::system()).ok()?;
    u64::try_from(zoned.timestamp().as_millisecond()).ok()
}

/// Why a record cannot be read, for the state of its run.
fn in_words(error: &TrackingError) -> String {
    match error {
        TrackingError::NotARecord { what, .. } => format!("not a record ({what})"),
        TrackingError::Store(StoreError::File { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            "it has no record".to_owned()
        }
        TrackingError::Store(StoreError::File { action, source, .. }) => {
            format!("failed to {action} its record ({source})")
        }
        other => other.to_string(),
    }
}

/// Removes the record of the run in `dir`, as a whole as far as anybody can
/// see.
pub fn remove_run(dir: &Path) -> Result<(), TrackingError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    // No run id: lists pass over it.
    let doomed = dir.with_file_name(format!(".{name}.doomed.{}", std::process::id()));
    fs::rename(dir, &doomed).map_err(TrackingError::io("remove", dir))?;
    let removed = match fs::symlink_metadata(&doomed) {
        Ok(found) if !found.is_dir() => fs::remove_file(&doomed),
        _ => fs::remove_dir_all(&doomed),
    };
    removed.map_err(TrackingError::io("remove", &doomed))
}

/// Finds a run by its id, a unique part of it, or `latest`: the newest one whose
/// record can be read, if there is such a one.
pub fn find_run(project: &Project, wanted: &str) -> Result<(RunOverview, PathBuf), TrackingError> {
    let dir = project.runs_dir();
    let with_overview = |id: &RunId| {
        let dir = dir.join(id.as_str());
        read_overview(project, id).map(|found| found.map(|overview| (overview, dir)))
    };
    let unknown = |nearest: Option<String>| TrackingError::UnknownRun {
        wanted: wanted.to_owned(),
        dir: project.runs_dir(),
        nearest,
    };
    if wanted == "latest" {
        let runs = RunList::read(project)?;
        let newest_first = || (0..runs.len()).rev().map(|at| runs.overview(at));
        let readable = newest_first().find(|run| !run.state.is_unreadable());
        let last = readable.or_else(|| newest_first().next());
        let last = last.ok_or_else(|| unknown(None))?;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::{RunEnd, RunRecorder, RunStart, list_runs, read_record};
    use super::*;

    type Make<'a> = &'a dyn Fn(&Path);

    fn begin(project: &Project) -> RunRecorder {
        let start = RunStart {
            experiment: "test".into(),
            ..RunStart::default()
        };
        RunRecorder::start(project, start).unwrap()
    }

    fn end() -> RunEnd {
        RunEnd {
            exit_code: 1,
            reason: "over".into(),
        }
    }

    fn mkfifo(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }

    #[test]
    fn broken_records_are_listed_found_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        let good = run.id().to_string();
        run.finish(end()).unwrap();
        let make: [(&str, Make<'_>); 7] = [
            ("it is empty", &|path| fs::write(path, "").unwrap()),
            ("it is too short", &|path| {
                fs::write(path, "NOVICREC").unwrap()
            }),
            ("it begins otherwise", &|path| {
                fs::write(path, [7u8; 99]).unwrap()
            }),
            ("it is a folder", &|path| fs::create_dir(path).unwrap()),
            ("it is no regular file", &|path| mkfifo(path)),
            ("failed to open its record", &|path| {
                symlink(path, path).unwrap()
            }),
            ("it does not say which run", &|path| {
                let header = [&b"NOVICREC"[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
                fs::write(path, header).unwrap();
            }),
        ];
        let id = |number: usize| format!("ovod_20200101_00000{number}");
        for (number, (_, make)) in make.iter().enumerate() {
            let dir = project.runs_dir().join(id(number));
            fs::create_dir(&dir).unwrap();
            make(&dir.join(RECORD));
        }
        let (runs, errors) = list_runs(&project).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(runs.len(), make.len() + 1);
        for (number, (what, _)) in make.iter().enumerate() {
            assert_eq!(runs[number].run, id(number));
            let state = runs[number].state.to_string();
            assert!(
                state.starts_with("unreadable: ") && state.contains(what),
                "{state}"
            );
        }
        assert_eq!(find_run(&project, "latest").unwrap().0.run, good);
        for number in 0..make.len() {
            let (run, dir) = find_run(&project, &id(number)).unwrap();
            assert!(run.state.is_unreadable());
            assert!(read_record(&dir).is_err());
            remove_run(&dir).unwrap();
        }
        assert_eq!(list_runs(&project).unwrap().0.len(), 1);
        assert_eq!(fs::read_dir(project.runs_dir()).unwrap().count(), 1);
    }

    #[test]
    fn a_summary_does_not_hide_that_the_record_is_broken() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        let record = run.dir().join(RECORD);
        run.finish(end()).unwrap();
        fs::write(&record, "something else, long enough").unwrap();
        let (run, _) = find_run(&project, "latest").unwrap();
        assert!(run.state.is_unreadable() && run.experiment == "test");
        fs::remove_file(&record).unwrap();
        let state = find_run(&project, "latest").unwrap().0.state.to_string();
        assert_eq!(state, "unreadable: it has no record");
    }

    #[test]
    fn a_run_that_starts_is_not_called_broken() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let starting = project.runs_dir().join("ovod_20200101_000000");
        fs::create_dir_all(&starting).unwrap();
        assert!(list_runs(&project).unwrap().0.is_empty());
        let old = SystemTime::now() - 2 * START;
        fs::File::open(&starting)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert!(list_runs(&project).unwrap().0[0].state.is_unreadable());
        // One that was killed before the first frame.
        let killed = project.runs_dir().join("ovod_20200101_000001");
        fs::create_dir(&killed).unwrap();
        let lease = Lease::try_take(&killed.join(LEASE), "", LockSupport::default());
        fs::write(killed.join(RECORD), "").unwrap();
        assert_eq!(list_runs(&project).unwrap().0.len(), 1);
        drop(lease);
        let state = list_runs(&project).unwrap().0.remove(1).state;
        assert!(matches!(state, RunState::Vanished { .. }), "{state:?}");
        // A live one whose record was taken away from it is alive all the same.
        let run = begin(&project);
        run.flush().unwrap();
        fs::write(run.dir().join(RECORD), "something else, long enough").unwrap();
        let (found, _) = find_run(&project, run.id().as_str()).unwrap();
        assert_eq!(found.state, RunState::Running);
        drop(run);
    }

    #[test]
    fn a_folder_that_may_not_be_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        let folder = run.dir().to_owned();
        run.finish(end()).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o0)).unwrap();
        let (runs, errors) = list_runs(&project).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(runs.len() == 1 && errors.is_empty());
        // Nothing is kept from the administrator.
        if !rustix::process::geteuid().is_root() {
            assert!(runs[0].state.is_unreadable(), "{:?}", runs[0].state);
        }
    }

    #[test]
    fn what_lies_behind_damage_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        let log = run.stage("train");
        run.flush().unwrap();
        let record = run.dir().join(RECORD);
        let before = fs::metadata(&record).unwrap().len() as usize;
        for step in 0..500u64 {
            log.row(&[("step", step.into())]);
            if step == 250 {
                run.flush().unwrap();
            }
        }
        run.flush().unwrap();
        let folder = run.dir().to_owned();
        run.finish(end()).unwrap();
        fs::remove_file(folder.join(SUMMARY)).unwrap();
        let mut bytes = fs::read(&record).unwrap();
        bytes[before + 20..before + 70]
            .iter_mut()
            .for_each(|byte| *byte ^= 0x41);
        fs::write(&record, bytes).unwrap();
        let (run, _) = find_run(&project, "latest").unwrap();
        assert_eq!((run.state, run.exit_code), (RunState::Failed, Some(1)));
        let read = read_record(&folder).unwrap();
        assert!(read.damaged_bytes >= 50 && read.torn_bytes == 0);
        assert_eq!(read.end, Some(end()));
    }

    #[test]
    fn surroundings_and_headings_are_fields() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        run.event(Event::StageQueued {
            stage: "train".into(),
            kind: "train".into(),
            key: String::new(),
        });
        run.finish(end()).unwrap();
        let (mut runs, _) = list_runs(&project).unwrap();
        assert_eq!(runs[0].field("threads"), None);
        RunOverview::read_surroundings(&mut runs, &project);
        let run = &mut runs[0];
        assert!(run.field("threads").unwrap().is_u64());
        assert_eq!(run.field("program"), Some(env!("CARGO_PKG_VERSION").into()));
        assert!(run.field("host").is_some());
        assert_eq!(run.field("time"), run.field("seconds"));
        assert_eq!(run.field("stages"), Some(vec!["train"].into()));
        run.tags = vec!["good".into()];
        run.note = "the best".into();
        assert_eq!(run.field("labels"), Some(vec!["good", "the best"].into()));
        assert!(
            serde_json::to_value(&*run)
                .unwrap()
                .get("surroundings")
                .is_none()
        );
    }

    #[test]
    fn a_run_that_ended_without_a_word_has_its_last_heartbeat() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = begin(&project);
        run.finish(end()).unwrap();
        let (mut run, _) = find_run(&project, "latest").unwrap();
        assert_eq!(run.state_text(), "failed");
        run.last_ms = now_ms() - 5000;
        run.state = RunState::Vanished {
            last_ms: run.last_ms,
        };
        let text = run.state_text();
        let heartbeat = local_time(run.last_ms).unwrap();
        let (_, time) = heartbeat.split_once('T').unwrap();
        assert!(text.starts_with("ended without a word "), "{text}");
        assert!(
            text.ends_with(&format!("(last heartbeat {time})")),
            "{text}"
        );
        run.last_ms -= 2 * HALF_A_DAY_MS;
        let text = run.state_text();
        let heartbeat = local_time(run.last_ms).unwrap().replace('T', " ");
        assert!(
            text.ends_with(&format!("(last heartbeat {heartbeat})")),
            "{text}"
        );
        assert_eq!(
            run.field("heartbeat"),
            local_time(run.last_ms).map(Value::from)
        );
    }
}
