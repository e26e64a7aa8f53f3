//! `novic rm`: take runs off the list.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::print::print;
use super::{CliError, Exit, complete};
use crate::store::Project;
use crate::tracking::{RunOverview, RunState, TrackingError, find_run, remove_run};

/// Remove the records of runs
///
/// Outputs stay in the store until `novic gc`, which removes those that no
/// listed run used. What people took away in `outputs/` stays too, unless
/// --outputs is given.
///
///   novic rm ovod_20261124_170509
///   novic rm 170509 171022 --outputs
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RmArgs {
    /// Run ids, or unique parts of them
    #[arg(required = true, add = ArgValueCompleter::new(complete::runs))]
    runs: Vec<String>,
    /// Also remove `outputs/<run id>`
    #[arg(long)]
    outputs: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Removes runs.
pub fn cmd_rm(args: &RmArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let project = Project::find(None).map_err(|error| failed(&error))?;
    let mut found = Vec::new();
    // All of them are looked up before any is removed.
    for wanted in &args.runs {
        let (run, dir) =
            find(&project, wanted).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        if run.state == RunState::Running {
            return Err(CliError::failed(format!(
                "{} is running; stop it first",
                run.run
            )));
        }
        found.push((run, dir));
    }
    found.dedup_by(|a, b| a.1 == b.1);
    let mut removed = Vec::new();
    for (run, dir) in &found {
        remove_run(dir).map_err(|error| failed(&error))?;
        if args.outputs {
            remove_outputs(&run.outputs)?;
        }
        removed.push(run.run.as_str());
    }
    if args.json {
        print(&format!("{:#}\n", json!({ "removed": removed })))
    } else {
        print(&format!("removed {}\n", removed.join(", ")))
    }
}

/// The run to remove. A folder that may not be read does not tell whether its run
/// is alive: it is opened first.
fn find(project: &Project, wanted: &str) -> Result<(RunOverview, PathBuf), TrackingError> {
    let (run, dir) = find_run(project, wanted)?;
    let is_closed =
        |found: &fs::Metadata| found.is_dir() && found.permissions().mode() & 0o700 != 0o700;
    match fs::symlink_metadata(&dir) {
        Ok(found) if run.state.is_unreadable() && is_closed(&found) => {
            // What is in the way of this is in the way of the removal, too.
            let _ = fs::set_permissions(&dir, fs::Permissions::from_mode(0o700));
            find_run(project, &run.run)
        }
        _ => Ok((run, dir)),
    }
}

fn remove_outputs(dir: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::failed(
            format!("failed to remove {}: {error}", dir.display()),
        )),
        _ => Ok(()),
    }
}
