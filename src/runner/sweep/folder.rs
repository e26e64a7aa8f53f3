//! What a sweep keeps: `.novic/sweeps/<name>/`.
//!
//! Points, outcomes and jobs are lines that are only ever appended, so that a
//! killed process loses at most the line it was writing; what was begun with is
//! replaced as a whole. The layout is in `docs/formats.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigErrors, Request, Setting, Source, SourceKind};
use crate::store::{
    Attempt, Lease, LeaseState, Project, StoreError, append_line, replace_file, write_file,
};
use crate::tracking::StageOutcome;

use super::error::SweepError;
use super::metric::{Goal, Metric};
use super::spec::SearchSpec;

/// Format of the files.
pub const FORMAT: u32 = 1;

const HEADER: &str = "sweep.json";
const POINTS: &str = "points.jsonl";
const OUTCOMES: &str = "outcomes.jsonl";
const LEASE: &str = "lease";
const CANCEL: &str = "cancel";

/// What a sweep was begun with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Format version.
    pub format: u32,
    /// Name.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// The sweep file, or the experiment file of a sweep without one.
    pub file: PathBuf,
    /// The directory that relative paths refer to.
    pub working_dir: PathBuf,
    /// When it was begun, ms since 1970.
    pub created_ms: u64,
    /// Version of the program.
    pub program: String,
    /// By which points are ranked.
    pub metric: Option<String>,
    /// Which way is better.
    pub goal: String,
    /// What else the table of results shows.
    pub show: Vec<String>,
    /// The experiment, as it was when the sweep was begun.
    pub frozen: Frozen,
    /// How points are searched for, if they are.
    pub search: Option<SearchSpec>,
    /// Seeds of every point of a search.
    #[serde(default)]
    pub seeds: Vec<u64>,
}

/// An experiment with everything it was read from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frozen {
    /// The experiment file.
    pub file: PathBuf,
    /// Texts of all files.
    pub texts: BTreeMap<PathBuf, String>,
    /// Values of all points.
    pub fixed: Vec<String>,
    /// Variables.
    pub environment: Vec<(String, String)>,
    /// Overrides of the command line.
    pub overrides: Vec<String>,
}

impl Frozen {
    /// What a request froze.
    pub fn of(request: &Request) -> Frozen {
        Frozen {
            file: request.file.clone(),
            texts: request.texts.as_deref().cloned().unwrap_or_default(),
            fixed: request.point.clone(),
            environment: request.environment.clone(),
            overrides: request.overrides.clone(),
        }
    }

    /// The request that gives it.
    pub fn request(&self) -> Request {
        Request {
            file: self.file.clone(),
            text: None,
            texts: Some(Arc::new(self.texts.clone())),
            point: self.fixed.clone(),
            environment: self.environment.clone(),
            overrides: self.overrides.clone(),
        }
    }
}

/// A point as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointLine {
    /// Its number, which never changes.
    pub point: usize,
    /// Its values, as overrides sorted by key.
    pub settings: Vec<String>,
    /// Seed of the experiment, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Names of its rows in tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Whether it was added beside the sweep file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub added: bool,
    /// Whether it is no part of the sweep any more.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dropped: bool,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl PointLine {
    /// Names the point: equal for equal values and seeds.
    pub fn identity(&self) -> String {
        identity(&self.settings.join(" "), self.seed)
    }

    /// Its values.
    pub fn settings(&self) -> Result<Vec<Setting>, ConfigErrors> {
        let mut problems = Vec::new();
        let settings: Vec<_> = self
            .settings
            .iter()
            .filter_map(|text| {
                let source = Source::new(SourceKind::Point, text.as_str());
                Setting::parse(&source, &mut problems)
            })
            .collect();
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(ConfigErrors { problems }),
        }
    }
}

pub(super) fn identity(settings: &str, seed: Option<u64>) -> String {
    match seed {
        Some(seed) => format!("{settings} seed={seed}"),
        None => settings.to_owned(),
    }
}

/// What became of a piece of work: a point, or a step that several points share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutcomeLine {
    /// Name of the piece.
    pub unit: String,
    /// The point, or one that has the step.
    pub point: usize,
    /// How it came out.
    pub outcome: StageOutcome,
    /// The run that did it, if there was something to do.
    pub run: Option<String>,
    /// Seconds it took.
    pub seconds: f64,
    /// Why it failed or did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When, ms since 1970.
    pub at_ms: u64,
    /// Whether a search ended it early.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pruned: bool,
}

/// The directory of a sweep.
#[derive(Clone, Debug)]
pub struct SweepFolder {
    dir: PathBuf,
}

impl SweepFolder {
    /// Directory of all sweeps of a project.
    pub fn all(project: &Project) -> PathBuf {
        project.home().join("sweeps")
    }

    /// The one with a name, which need not exist.
    pub fn of(project: &Project, name: &str) -> SweepFolder {
        SweepFolder {
            dir: SweepFolder::all(project).join(name),
        }
    }

    /// The one in a directory.
    pub fn at(dir: &Path) -> SweepFolder {
        SweepFolder {
            dir: dir.to_owned(),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Names of the sweeps of a project, sorted.
    pub fn names(project: &Project) -> Vec<String> {
        let items = fs::read_dir(SweepFolder::all(project))
            .into_iter()
            .flatten();
        let mut names: Vec<_> = items
            .flatten()
            .filter(|item| item.path().join(HEADER).is_file())
            .filter_map(|item| item.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// What it was begun with; `None` if it was not.
    pub fn header(&self) -> Result<Option<Header>, SweepError> {
        let path = self.dir.join(HEADER);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::io("read", &path)(error).into()),
        };
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |what: String| SweepError::Damaged {
            path: path.clone(),
            what,
        };
        let version: Version =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if version.format > FORMAT {
            return Err(StoreError::Newer {
                path,
                found: version.format,
                supported: FORMAT,
            }
            .into());
        }
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| damaged(error.to_string()))
    }

    /// Writes what it is begun with.
    pub fn write_header(&self, header: &Header) -> Result<(), SweepError> {
        fs::create_dir_all(&self.dir).map_err(StoreError::io("make", &self.dir))?;
        let path = self.dir.join(HEADER);
        let header = Header {
            format: FORMAT,
            ..header.clone()
        };
        let text = serde_json::to_vec_pretty(&header)
            .map_err(|error| StoreError::io("write", &path)(error.into()))?;
        Ok(write_file(&path, &text)?)
    }

    /// Its points by their numbers; later lines win.
    pub fn points(&self) -> Result<Vec<PointLine>, SweepError> {
        let mut points: Vec<PointLine> = Vec::new();
        for line in self.lines::<PointLine>(POINTS)? {
            match line.point {
                at if at < points.len() => points[at] = line,
                at if at == points.len() => points.push(line),
                _ => {
                    return Err(SweepError::Damaged {
                        path: self.dir.join(POINTS),
                        what: format!("point {} is missing", points.len()),
                    });
                }
            }
        }
        Ok(points)
    }

    /// Adds points, or says something new about them.
    pub fn add_points(&self, points: &[PointLine]) -> Result<(), SweepError> {
        self.append(POINTS, points)
    }

    /// What became of the pieces of work, the last word on each.
    pub fn outcomes(&self) -> Result<BTreeMap<String, OutcomeLine>, SweepError> {
        let lines = self.lines::<OutcomeLine>(OUTCOMES)?;
        Ok(lines
            .into_iter()
            .map(|line| (line.unit.clone(), line))
            .collect())
    }

    /// Adds what became of a piece of work.
    pub fn add_outcome(&self, outcome: &OutcomeLine) -> Result<(), SweepError> {
        self.append(OUTCOMES, std::slice::from_ref(outcome))
    }

    /// All whole lines of a file.
    pub fn lines<T: DeserializeOwned>(&self, name: &str) -> Result<Vec<T>, SweepError> {
        let path = self.dir.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &path)(error).into()),
        };
        // A line that a killed process did not finish is none.
        let lines = text.split('\n').filter(|line| !line.trim().is_empty());
        Ok(lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Appends lines, all in one write.
    pub fn append<T: Serialize>(&self, name: &str, items: &[T]) -> Result<(), SweepError> {
        if items.is_empty() {
            return Ok(());
        }
        let path = self.dir.join(name);
        // The last line may have been cut short by a kill.
        let torn = fs::read(&path).is_ok_and(|text| !text.is_empty() && !text.ends_with(b"\n"));
        let mut lines = Vec::with_capacity(items.len() + 1);
        lines.extend(torn.then(String::new));
        for item in items {
            let line = serde_json::to_string(item)
                .map_err(|error| StoreError::io("write", &path)(error.into()))?;
            lines.push(line);
        }
        Ok(append_line(&path, &lines.join("\n"))?)
    }

    /// Takes the sweep for this process.
    pub fn take(&self, name: &str, project: &Project) -> Result<Lease, SweepError> {
        fs::create_dir_all(&self.dir).map_err(StoreError::io("make", &self.dir))?;
        match Lease::try_take(&self.dir.join(LEASE), name, project.locks())? {
            Attempt::Held(lease) => Ok(lease),
            Attempt::Busy(holder) => Err(SweepError::Busy {
                name: name.to_owned(),
                holder,
            }),
        }
    }

    /// Who works at the sweep.
    pub fn holder(&self, project: &Project) -> Result<LeaseState, SweepError> {
        Ok(Lease::inspect(&self.dir.join(LEASE), project.locks())?)
    }

    /// File of the lease of a piece of work.
    pub fn unit_lease(&self, unit: &str) -> PathBuf {
        let hash = blake3::hash(unit.as_bytes()).to_hex();
        self.dir
            .join("leases")
            .join(format!("{}.lease", &hash.as_str()[..16]))
    }

    /// Asks whoever works at the sweep to stop.
    pub fn ask_to_stop(&self) -> Result<(), SweepError> {
        Ok(replace_file(&self.dir.join(CANCEL), b"stop\n")?)
    }

    /// Whether somebody asked to stop.
    pub fn is_asked_to_stop(&self) -> bool {
        self.dir.join(CANCEL).exists()
    }

    /// Forgets that somebody asked.
    pub fn forget_stop(&self) {
        let _ = fs::remove_file(self.dir.join(CANCEL));
    }
}

impl Header {
    /// The metric by which points are ranked.
    pub fn ranking(&self) -> Option<Metric> {
        self.metric.as_ref()?.parse().ok()
    }

    /// Which way is better.
    pub fn goal(&self) -> Goal {
        match self.goal.as_str() {
            "min" => Goal::Min,
            _ => Goal::Max,
        }
    }

    /// What else the table of results shows.
    pub fn shown(&self) -> Vec<Metric> {
        self.show
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_lost_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = SweepFolder::at(dir.path());
        let point = |point| PointLine {
            point,
            settings: vec![format!("noise.vec_norm={point}")],
            seed: None,
            labels: Vec::new(),
            added: false,
            dropped: false,
        };
        folder.add_points(&[point(0), point(1)]).unwrap();
        let path = dir.path().join(POINTS);
        let mut text = fs::read_to_string(&path).unwrap();
        text.truncate(text.len() - 8);
        fs::write(&path, text).unwrap();
        assert_eq!(folder.points().unwrap(), [point(0)]);
        folder.add_points(&[point(1), point(2)]).unwrap();
        assert_eq!(folder.points().unwrap(), [point(0), point(1), point(2)]);
    }
}
