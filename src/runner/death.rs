//! Attempts at stages of which the whole process died: by a signal, or because
//! the system had no memory left.

use std::path::{Path, PathBuf};

use crate::store::Project;
use crate::tracking::{RunState, TrackingError, find_run};

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

fn in_run(project: &Project, dir: &Path) -> Result<Vec<StageDeath>, TrackingError> {
    let id = dir.file_name().unwrap_or_default().to_string_lossy();
    let (overview, _) = find_run(project, &id)?;
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
