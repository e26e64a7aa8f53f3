//! The index of runs that are over: what lists tell of them, in one file.
//!
//! `.novic/cache/runs.index` has one line per run: the format, the run's id, its
//! start (ms since 1970), the stamp of the record that it was made of, and the
//! overview as JSON, separated by spaces. A line is believed only while the record
//! has the same stamp, so that the index is never wrong; without it, lists take
//! longer. A run adds its line when it ends; [`refresh_index`] adds what is missing
//! and drops what is void. Lists only read.

use std::fs;
use std::io::BufRead;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;

use crate::store::{Project, Stamp, append_line, replace_file};
use rayon::prelude::*;

use super::error::TrackingError;
use super::listing::{FORMAT, RunOverview, RunState};
use super::reader::RECORD;
use super::run_id::RunId;
use super::run_list::RunList;

pub(super) const INDEX: &str = "runs.index";

/// A vanished run is taken in when it has been silent for so long: until then
/// its parent process may still say what killed it.
const SILENCE_MS: u64 = 60_000;

/// Void lines that are left alone.
const VOID_LINES: usize = 64;

/// What the index knows.
#[derive(Debug, Default)]
pub(super) struct RunIndex {
    text: Vec<u8>,
    /// Lines that can be read, sorted by their run; of the same run, the newest
    /// comes last.
    lines: Vec<Line>,
    /// Lines in the file, void ones included.
    count: usize,
}

/// The beginning of a line, and where the rest is.
#[derive(Debug)]
pub(super) struct Line {
    /// Start of the run, ms since 1970.
    pub(super) started_ms: u64,
    /// Stamp of the record that the line was made of.
    pub(super) record: Stamp,
    run: Range<usize>,
    overview: Range<usize>,
    whole: Range<usize>,
}

impl Line {
    /// Takes the beginning of a line apart; `None` if it is damaged or of another
    /// format.
    fn parse(text: &[u8], whole: Range<usize>) -> Option<Line> {
        let mut start = whole.start;
        let mut words = text[whole.clone()].splitn(5, |byte| *byte == b' ');
        let mut word = || {
            let range = start..start + words.next()?.len();
            start = range.end + 1;
            Some(range)
        };
        let string = |range: Range<usize>| std::str::from_utf8(&text[range]).ok();
        if string(word()?)?.parse() != Ok(FORMAT) {
            return None;
        }
        Some(Line {
            run: word()?,
            started_ms: string(word()?)?.parse().ok()?,
            record: string(word()?)?.parse().ok()?,
            overview: word()?,
            whole,
        })
    }
}

impl RunIndex {
    /// Reads the index; empty where there is none that can be read.
    pub(super) fn read(project: &Project) -> RunIndex {
        let text = fs::read(project.cache_dir().join(INDEX)).unwrap_or_default();
        let (mut ranges, mut rest) = (Vec::new(), &text[..]);
        while let Ok(length @ 1..) = rest.skip_until(b'\n') {
            let end = text.len() - rest.len();
            ranges.push(end - length..end);
        }
        let count = ranges.len();
        let lines = ranges
            .into_par_iter()
            .map(|whole| Line::parse(&text, whole));
        let lines: Vec<Option<Line>> = lines.collect();
        let mut lines: Vec<Line> = lines.into_iter().flatten().collect();
        lines.sort_by(|a, b| text[a.run.clone()].cmp(&text[b.run.clone()]));
        RunIndex { text, lines, count }
    }

    /// The newest line of a run.
    pub(super) fn find(&self, run: &str) -> Option<usize> {
        let run_of = |line: &Line| &self.text[line.run.clone()];
        let run = run.as_bytes();
        let end = self.lines.partition_point(|line| run_of(line) <= run);
        let at = end.checked_sub(1)?;
        (run_of(&self.lines[at]) == run).then_some(at)
    }

    /// A line.
    pub(super) fn line(&self, at: usize) -> &Line {
        &self.lines[at]
    }

    /// A line as it stands in the file.
    pub(super) fn text(&self, at: usize) -> Option<&str> {
        let text = &self.text[self.lines[at].whole.clone()];
        std::str::from_utf8(text).ok().map(str::trim_end)
    }

    /// What a line says, if it is whole.
    pub(super) fn overview(&self, at: usize) -> Option<RunOverview> {
        let text = &self.text[self.lines[at].overview.clone()];
        serde_json::from_slice(text).ok()
    }

    /// Number of lines in the file, void ones included.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}

/// The stamp of the record in `dir`.
pub(super) fn stamp(dir: &Path) -> Option<Stamp> {
    Some(Stamp::of(&fs::metadata(dir.join(RECORD)).ok()?))
}

fn line(dir: &Path, overview: &RunOverview) -> Option<String> {
    // A word without spaces, whoever wrote the record.
    overview.run.parse::<RunId>().ok()?;
    let (stamp, run, started_ms) = (stamp(dir)?, &overview.run, overview.started_ms);
    let overview = RunOverview {
        tags: Vec::new(),
        note: String::new(),
        ..overview.clone()
    };
    let overview = serde_json::to_string(&overview).ok()?;
    Some(format!("{FORMAT} {run} {started_ms} {stamp} {overview}"))
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
    let list = RunList::read(project)?;
    let (mut lines, others) = list.by_source();
    let is_over = |run: &RunOverview| match run.state {
        RunState::Running | RunState::Unreadable { .. } => false,
        RunState::Vanished { .. } => run.silent_ms() > SILENCE_MS,
        _ => true,
    };
    let missing: Vec<_> = others.into_iter().filter(|run| is_over(run)).collect();
    if missing.is_empty() && list.index_lines() <= 2 * list.len() + VOID_LINES {
        return Ok(());
    }
    let runs_dir = project.runs_dir();
    let new: Vec<String> = missing
        .par_iter()
        .filter_map(|run| line(&runs_dir.join(&run.run), run))
        .collect();
    lines.extend(new.iter().map(String::as_str));
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
        assert_eq!(RunIndex::read(&project).lines.len(), 4);
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
        assert_eq!(RunIndex::read(&project).lines.len(), 2);
        assert_eq!(all(&project), without_index(&project));
        let before = fs::read(&index).unwrap();
        refresh_index(&project).unwrap();
        assert_eq!(fs::read(&index).unwrap(), before);
        fs::write(&index, before.repeat(VOID_LINES)).unwrap();
        remove_run(&project.runs_dir().join(&ids[0])).unwrap();
        refresh_index(&project).unwrap();
        assert_eq!(RunIndex::read(&project).lines.len(), 1);
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
