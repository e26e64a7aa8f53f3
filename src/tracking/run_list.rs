//! All runs of a project, for lists of many.
//!
//! What the index says of a run is taken apart only when it is asked for: a
//! list of ten among ten thousand holds no more than it shows.

use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::store::Project;

use super::error::TrackingError;
use super::index::{RunIndex, stamp};
use super::listing::{RunOverview, overview_of, unreadable};
use super::run_id::RunId;

/// All runs of a project, oldest first.
#[derive(Debug)]
pub struct RunList {
    project: Project,
    index: RunIndex,
    runs: Vec<Listed>,
    errors: Vec<TrackingError>,
}

/// One run.
#[derive(Debug)]
struct Listed {
    id: RunId,
    started_ms: u64,
    source: Source,
}

/// What tells of a run.
#[derive(Debug)]
enum Source {
    /// This line of the index.
    Index(usize),
    /// Its own files.
    Files(Box<RunOverview>),
}

impl RunList {
    /// Looks at all runs of a project. Writes nothing.
    ///
    /// # Errors
    /// The directory of runs cannot be listed. Runs that cannot be read are
    /// [`RunList::errors`], or listed as unreadable.
    pub fn read(project: &Project) -> Result<RunList, TrackingError> {
        let (index, ids) = rayon::join(|| RunIndex::read(project), || run_ids(project));
        let runs_dir = project.runs_dir();
        let look = |id: RunId| {
            let dir = runs_dir.join(id.as_str());
            // Believed as long as the record is the one that it was made of.
            let is_same = |at: &usize| stamp(&dir).as_ref() == Some(&index.line(*at).record);
            if let Some(at) = index.find(id.as_str()).filter(is_same) {
                return Ok(Some(Listed {
                    id,
                    started_ms: index.line(at).started_ms,
                    source: Source::Index(at),
                }));
            }
            let overview = overview_of(project, &id, &dir)?;
            Ok(overview.map(|overview| Listed {
                id,
                started_ms: overview.started_ms,
                source: Source::Files(Box::new(overview)),
            }))
        };
        let looked: Vec<Result<_, TrackingError>> = ids?.into_par_iter().map(look).collect();
        let (mut runs, mut errors) = (Vec::with_capacity(looked.len()), Vec::new());
        for run in looked {
            match run {
                Ok(run) => runs.extend(run),
                Err(error) => errors.push(error),
            }
        }
        runs.sort_by(|a, b| (a.started_ms, &a.id).cmp(&(b.started_ms, &b.id)));
        Ok(RunList {
            project: project.clone(),
            index,
            runs,
            errors,
        })
    }

    /// How many runs there are.
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What could not be read.
    pub fn errors(&self) -> &[TrackingError] {
        &self.errors
    }

    /// What is known of a run, without its labels.
    ///
    /// # Panics
    /// There is no run `at`.
    pub fn unlabelled(&self, at: usize) -> RunOverview {
        let run = &self.runs[at];
        let line = match &run.source {
            Source::Files(overview) => return RunOverview::clone(overview),
            Source::Index(line) => *line,
        };
        self.index.overview(line).unwrap_or_else(|| {
            // The line has a beginning that can be read, and no more.
            match overview_of(&self.project, &run.id, &self.dir(at)) {
                Ok(Some(overview)) => overview,
                Ok(None) => {
                    unreadable(&self.project, &run.id, false, "it has no record".to_owned())
                }
                Err(error) => unreadable(&self.project, &run.id, false, error.to_string()),
            }
        })
    }

    fn dir(&self, at: usize) -> PathBuf {
        self.project.runs_dir().join(self.runs[at].id.as_str())
    }

    /// The same with its labels.
    pub fn overview(&self, at: usize) -> RunOverview {
        let mut overview = self.unlabelled(at);
        overview.read_labels(&self.dir(at));
        overview
    }

    /// The lines of the index that hold, and the overviews of runs of which it
    /// has none.
    pub(super) fn by_source(&self) -> (Vec<&str>, Vec<&RunOverview>) {
        let (mut lines, mut others) = (Vec::new(), Vec::new());
        for run in &self.runs {
            match &run.source {
                Source::Index(line) => lines.extend(self.index.text(*line)),
                Source::Files(overview) => others.push(&**overview),
            }
        }
        (lines, others)
    }

    /// Number of lines of the index, those that do not hold included.
    pub(super) fn index_lines(&self) -> usize {
        self.index.count()
    }
}

/// All runs of a project, oldest first, and what could not be read.
pub fn list_runs(
    project: &Project,
) -> Result<(Vec<RunOverview>, Vec<TrackingError>), TrackingError> {
    let list = RunList::read(project)?;
    let runs = (0..list.len()).into_par_iter().map(|at| list.overview(at));
    Ok((runs.collect(), list.errors))
}

/// The ids of all runs of a project, sorted.
pub(super) fn run_ids(project: &Project) -> Result<Vec<RunId>, TrackingError> {
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

#[cfg(test)]
mod tests {
    use super::super::index::INDEX;
    use super::super::{Labels, RunEnd, RunRecorder, RunStart};
    use super::*;

    fn make_run(project: &Project) {
        let recorder = RunRecorder::start(project, RunStart::default()).unwrap();
        let end = RunEnd {
            exit_code: 0,
            reason: String::new(),
        };
        recorder.finish(end).unwrap();
    }

    #[test]
    fn a_line_of_the_index_that_has_only_a_good_beginning_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        make_run(&project);
        let expected = list_runs(&project).unwrap().0;
        let index = project.cache_dir().join(INDEX);
        let line = fs::read_to_string(&index).unwrap();
        assert!(line.contains(r#""title":"""#), "{line}");
        fs::write(&index, line.replace(r#""title":"""#, r#""title":0"#)).unwrap();
        let list = RunList::read(&project).unwrap();
        let Source::Index(line) = &list.runs[0].source else {
            panic!("the line is passed over: {list:?}");
        };
        assert_eq!(list.index.overview(*line), None);
        assert_eq!([list.overview(0)], expected[..]);
    }

    #[test]
    fn labels_are_read_only_where_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        make_run(&project);
        let list = RunList::read(&project).unwrap();
        let mut labels = Labels::default();
        labels.add("good");
        labels.write(&list.dir(0)).unwrap();
        assert!(list.unlabelled(0).tags.is_empty());
        assert_eq!(list.overview(0).tags, ["good"]);
    }
}
