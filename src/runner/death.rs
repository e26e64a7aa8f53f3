//! Attempts at stages of which the whole process died: by a signal, or because
//! the system had no memory left.

use std::path::{Path, PathBuf};

use crate::store::Project;
use crate::tracking::{RunOverview, RunState, StageOutcome, TrackingError, find_run};

/// An attempt at a stage that killed its process, or died with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageDeath {
    /// The stage, with its seed.
    pub stage: String,
    /// What happened, in words.
    pub reason: String,
}

impl StageDeath {
    /// The attempts that were at work when the runs in these directories were
    /// killed.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn in_runs(project: &Project, dirs: &[PathBuf]) -> Result<Vec<StageDeath>, TrackingError> {
        let deaths: Result<Vec<_>, _> = dirs.iter().map(|dir| in_run(project, dir)).collect();
        Ok(deaths?.concat())
    }
}

/// Names of the steps that were made in the runs in these directories.
///
/// # Errors
/// A record that cannot be read.
pub fn done_in_runs(project: &Project, dirs: &[PathBuf]) -> Result<Vec<String>, TrackingError> {
    let mut done = Vec::new();
    for dir in dirs {
        let stages = overview(project, dir)?.stages.into_iter();
        let made = stages.filter(|stage| stage.outcome == Some(StageOutcome::Done));
        done.extend(made.map(|stage| stage.name));
    }
    Ok(done)
}

fn overview(project: &Project, dir: &Path) -> Result<RunOverview, TrackingError> {
    let id = dir.file_name().unwrap_or_default().to_string_lossy();
    find_run(project, &id).map(|(overview, _)| overview)
}

fn in_run(project: &Project, dir: &Path) -> Result<Vec<StageDeath>, TrackingError> {
    let overview = overview(project, dir)?;
    let id = dir.file_name().unwrap_or_default().to_string_lossy();
    let how = match overview.state {
        RunState::Killed {
            out_of_memory: true,
            ..
        } => "there was not enough memory: the system killed the process".to_owned(),
        RunState::Killed { signal, .. } => format!("the process was killed by signal {signal}"),
        _ => "the process ended without a word".to_owned(),
    };
    let at_work = (overview.stages.iter()).filter(|stage| stage.started && stage.outcome.is_none());
    Ok(at_work
        .map(|stage| StageDeath {
            stage: stage.name.clone(),
            reason: format!("{how} (run {id})"),
        })
        .collect())
}
