//! The index of runs that are over: what lists tell of them, in one file.
//!
//! `.novic/cache/runs.jsonl` has one JSON object per line: the overview of a
//! run, and the stamp of the record that it was made of. A line is believed
//! only while the record has the same stamp, so that the index is never wrong;
//! without it, lists take longer. A run adds its line when it ends;
//! [`refresh_index`] adds what is missing and drops what is void. Lists only
//! read.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::store::{Project, Stamp, append_line, replace_file};

use super::error::TrackingError;
use super::listing::{FORMAT, RunOverview, RunState, overviews};
use super::reader::RECORD;

const INDEX: &str = "runs.jsonl";

/// A vanished run is taken in when it has been silent for so long: until then
/// its parent process may still say what killed it.
const SILENCE_MS: u64 = 60_000;

/// Void lines that are left alone.
const VOID_LINES: usize = 64;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
struct Line<Overview> {
    record: Stamp,
    overview: Overview,
}

/// What the index knows, by run.
#[derive(Debug, Default)]
pub(super) struct RunIndex {
    known: HashMap<String, Box<Line<RunOverview>>>,
    /// Lines in the file, void ones included.
    lines: usize,
}

impl RunIndex {
    /// Reads the index; empty where there is none that can be read.
    pub(super) fn read(project: &Project) -> RunIndex {
        let text = fs::read(project.cache_dir().join(INDEX)).unwrap_or_default();
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        // In boxes, because they are moved about.
        let parsed: Vec<Option<Box<Line<RunOverview>>>> = lines
            .par_iter()
            .map(|line| serde_json::from_slice(line).ok())
            .collect();
        // Later lines win.
        let lines = parsed.len();
        let known = parsed
            .into_iter()
            .flatten()
            .filter(|line| line.overview.format == FORMAT)
            .map(|line| (line.overview.run.clone(), line));
        RunIndex {
            known: known.collect(),
            lines,
        }
    }

    /// Takes out what is known of a run, for [`Indexed::believed`].
    pub(super) fn take(&mut self, run: &str) -> Option<Indexed> {
        self.known.remove(run).map(Indexed)
    }
}

/// What the index says about a run.
#[derive(Debug)]
pub(super) struct Indexed(Box<Line<RunOverview>>);

impl Indexed {
    /// The overview, if the record in `dir` is still the one it was made of.
    pub(super) fn believed(self, dir: &Path) -> Option<RunOverview> {
        (stamp(dir)? == self.0.record).then_some(self.0.overview)
    }
}

fn stamp(dir: &Path) -> Option<Stamp> {
    Some(Stamp::of(&fs::metadata(dir.join(RECORD)).ok()?))
}

fn line(dir: &Path, overview: &RunOverview) -> Option<String> {
    let line = Line {
        record: stamp(dir)?,
        overview: RunOverview {
            tags: Vec::new(),
            note: String::new(),
            ..overview.clone()
        },
    };
    serde_json::to_string(&line).ok()
}

/// Adds a run that is over. The index is worth no failure.
pub(super) fn add_to_index(project: &Project, dir: &Path, overview: &RunOverview) {
    if let Some(line) = line(dir, overview) {
        let _ = append_line(&project.cache_dir().join(INDEX), &line);
    }
}

/// Writes the index anew if runs that are over are missing from it, or if much
/// of it is void.
///
/// # Errors
/// Runs cannot be listed, or the file cannot be written.
pub fn refresh_index(project: &Project) -> Result<(), TrackingError> {
    // Within a process, once at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let index = RunIndex::read(project);
    let lines = index.lines;
    let (found, _) = overviews(project, index)?;
    let is_over = |run: &RunOverview| match run.state {
        RunState::Running | RunState::Unreadable { .. } => false,
        RunState::Vanished { .. } => run.silent_ms() > SILENCE_MS,
        _ => true,
    };
    let missing = found
        .iter()
        .filter(|(run, indexed)| !indexed && is_over(run));
    if missing.count() == 0 && lines <= 2 * found.len() + VOID_LINES {
        return Ok(());
    }
    let runs_dir = project.runs_dir();
    let lines: Vec<String> = found
        .par_iter()
        .filter(|(run, _)| is_over(run))
        .filter_map(|(run, _)| line(&runs_dir.join(&run.run), run))
        .collect();
    let text = format!("{}\n", lines.join("\n"));
    Ok(replace_file(
        &project.cache_dir().join(INDEX),
        text.as_bytes(),
    )?)
}

#[cfg(test)]
mod tests {
    use super::super::{Labels, RunEnd, RunRecorder, RunStart, list_runs, remove_run};
    use super::*;

    fn project(dir: &Path) -> Project {
        Project::locate(dir, None, None)
    }

    fn make_run(project: &Project, experiment: &str, exit_code: u8) -> String {
        let start = RunStart {
            experiment: experiment.into(),
            ..RunStart::default()
        };
        let recorder = RunRecorder::start(project, start).unwrap();
        let id = recorder.id().to_string();
        let end = RunEnd {
            exit_code,
            reason: String::new(),
        };
        recorder.finish(end).unwrap();
        id
    }

    fn all(project: &Project) -> Vec<RunOverview> {
        let (runs, errors) = list_runs(project).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        runs
    }

    fn without_index(project: &Project) -> Vec<RunOverview> {
        let index = project.cache_dir().join(INDEX);
        let aside = project.cache_dir().join("aside");
        fs::rename(&index, &aside).unwrap();
        let runs = all(project);
        fs::rename(&aside, &index).unwrap();
        runs
    }

    #[test]
    fn lists_with_and_without_it_are_equal() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let ids: Vec<_> = (0..4).map(|at| make_run(&project, "e", at)).collect();
        assert_eq!(RunIndex::read(&project).known.len(), 4);
        assert_eq!(all(&project), without_index(&project));
        let mut labels = Labels::default();
        labels.add("t");
        labels.write(&project.runs_dir().join(&ids[1])).unwrap();
        assert_eq!(all(&project)[1].tags, ["t"]);
        assert_eq!(all(&project), without_index(&project));
        remove_run(&project.runs_dir().join(&ids[2])).unwrap();
        assert_eq!(all(&project).len(), 3);
        assert_eq!(all(&project), without_index(&project));
    }

    #[test]
    fn a_run_that_was_exchanged_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let ours = make_run(&project, "ours", 0);
        let elsewhere = tempfile::tempdir().unwrap();
        let other_project = self::project(elsewhere.path());
        let theirs = make_run(&other_project, "theirs", 1);
        let (from, to) = (
            other_project.runs_dir().join(theirs),
            project.runs_dir().join(ours),
        );
        for name in [RECORD, "summary.json"] {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
        assert_eq!(all(&project)[0].experiment, "theirs");
    }

    #[test]
    fn refreshing_takes_in_what_is_missing_and_drops_what_is_void() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        let ids: Vec<_> = (0..2).map(|at| make_run(&project, "e", at)).collect();
        let index = project.cache_dir().join(INDEX);
        fs::write(&index, "garbage\n{}\n").unwrap();
        assert_eq!(all(&project).len(), 2);
        refresh_index(&project).unwrap();
        assert_eq!(RunIndex::read(&project).known.len(), 2);
        assert_eq!(all(&project), without_index(&project));
        let before = fs::read(&index).unwrap();
        refresh_index(&project).unwrap();
        assert_eq!(fs::read(&index).unwrap(), before);
        fs::write(&index, before.repeat(VOID_LINES)).unwrap();
        remove_run(&project.runs_dir().join(&ids[0])).unwrap();
        refresh_index(&project).unwrap();
        assert_eq!(RunIndex::read(&project).known.len(), 1);
    }

    #[test]
    fn listing_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path());
        make_run(&project, "e", 0);
        let index = project.cache_dir().join(INDEX);
        fs::remove_file(&index).unwrap();
        all(&project);
        assert!(!index.exists());
    }
}
