//! `novic sync`: send to Weights & Biases what is not there yet.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::mirror::say_on_stderr;
use super::print::print;
use super::run::recorded;
use super::{CliError, Exit, complete};
use crate::runner::mirror::{is_mirrored, of_stage};
use crate::store::Project;
use crate::tracking::wandb::{
    Continues, MirrorState, SyncAction, SyncReport, Synced, WandbError, sync,
};
use crate::tracking::{find_run, read_record};

/// Time between two looks with `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(30);

/// Send to Weights & Biases what is not there yet
///
/// Compares every mirrored run with what the service has, and sends the missing
/// rows, samples, console lines and files, and how the run ended. The same
/// command again sends nothing twice. Runs at work are left to their own
/// process. The key is WANDB_API_KEY, or the password of the service's machine
/// in ~/.netrc.
///
///   novic sync
///   novic sync --dry-run
///   novic sync --run 170509              (also a run that was not mirrored)
///   novic sync /data/other/.novic --jobs 8
///   novic sync --to-offline upload/      (for `wandb sync` on another machine)
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SyncArgs {
    /// Project directories, `.novic` in them, or directories of single runs; by default this
    /// project
    #[arg(value_name = "STORE")]
    stores: Vec<PathBuf>,
    /// Only these runs of this project, whether or not they were mirrored
    #[arg(long, value_name = "RUN", conflicts_with = "stores", add = ArgValueCompleter::new(complete::runs))]
    run: Vec<String>,
    /// Only say what would be sent
    #[arg(long)]
    dry_run: bool,
    /// Send again and again, until nothing is left
    #[arg(long, conflicts_with_all = ["dry_run", "to_offline"])]
    watch: bool,
    /// Write directories for the official `wandb sync` into this one instead
    #[arg(long, value_name = "DIR", conflicts_with = "dry_run")]
    to_offline: Option<PathBuf>,
    /// With --to-offline: also runs of which the service has a part
    #[arg(long, requires = "to_offline")]
    force: bool,
    /// Send so many runs at the same time
    #[arg(long, short, value_name = "N", default_value_t = 4)]
    jobs: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Sends what is missing.
pub fn cmd_sync(args: &SyncArgs) -> Result<Exit, CliError> {
    let action = match &args.to_offline {
        Some(parent) => SyncAction::ToOffline {
            parent: parent.clone(),
            force: args.force,
        },
        None if args.dry_run => SyncAction::DryRun,
        None => SyncAction::Upload,
    };
    let base_url = std::env::var("WANDB_BASE_URL").ok();
    let base_url = base_url.filter(|url| !url.is_empty());
    let say = say_on_stderr();
    let mut reports = Vec::new();
    loop {
        let states = pending(args)?;
        if states.is_empty() {
            break;
        }
        let new = sync(states, &action, base_url.as_deref(), args.jobs, &say);
        let left = new
            .iter()
            .any(|report| matches!(report.synced, Synced::Busy | Synced::Failed { .. }));
        let exit = exit_of(&new);
        reports = new;
        // A key that is refused will be refused again.
        if !args.watch || !left || exit == Exit::Authentication {
            break;
        }
        thread::sleep(WATCH_EVERY);
    }
    reports.retain(|report| report.synced != Synced::Nothing);
    if args.json {
        print(&format!("{:#}\n", json!({ "runs": reports })))?;
    } else {
        let lines: Vec<String> = reports.iter().map(line).collect();
        let text = match lines.is_empty() {
            true => "nothing to send\n".to_owned(),
            false => format!("{}\n", lines.join("\n")),
        };
        print(&text)?;
    }
    Ok(exit_of(&reports))
}

fn exit_of(reports: &[SyncReport]) -> Exit {
    let mut exit = Exit::Success;
    for report in reports {
        if let Synced::Failed { key, quota, .. } = report.synced {
            match (key, quota) {
                (true, _) => return Exit::Authentication,
                (_, true) => exit = Exit::Quota,
                _ if exit == Exit::Success => exit = Exit::Failed,
                _ => {}
            }
        }
    }
    exit
}

fn line(report: &SyncReport) -> String {
    let what = match &report.synced {
        Synced::Complete { page } => format!("complete: {page}"),
        Synced::Offline { dir } => format!("written: {}", dir.display()),
        Synced::Pending { lines } => format!("{lines} rows and lines to send"),
        Synced::Busy => "at work; its own process sends it".to_owned(),
        Synced::Nothing => "never began".to_owned(),
        Synced::Failed { message, .. } => format!("not sent: {message}"),
    };
    format!(
        "{} {} ({}): {what}",
        report.run, report.stage, report.wandb_run
    )
}

/// The mirrors that are not complete.
fn pending(args: &SyncArgs) -> Result<Vec<MirrorState>, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    if !args.run.is_empty() {
        return named(args);
    }
    let mut folders = Vec::new();
    if args.stores.is_empty() {
        let project = Project::find(None).map_err(|error| failed(&error))?;
        folders.push(project.runs_dir());
    }
    let mut states = Vec::new();
    for store in &args.stores {
        let inner = [store.join("runs"), store.join(".novic").join("runs")];
        match inner.iter().find(|runs| runs.is_dir()) {
            Some(runs) => folders.push(runs.clone()),
            None if store.join("record.novic").is_file() => {
                let store = store.canonicalize().map_err(|error| failed(&error))?;
                states.extend(MirrorState::of_run(&store).map_err(|error| failed(&error))?);
            }
            None => {
                return Err(CliError::usage(format!(
                    "{} holds no runs: name a project directory, its .novic, or the directory \
                     of a run",
                    store.display()
                )));
            }
        }
    }
    for folder in folders {
        states.extend(MirrorState::of_all(&folder).map_err(|error| failed(&error))?);
    }
    states.retain(|state| match args.to_offline {
        Some(_) => is_left(args, state),
        None => !state.is_settled(),
    });
    Ok(states)
}

/// Whether something of a mirror is to be sent, or all of it is wanted anyway.
fn is_left(args: &SyncArgs, state: &MirrorState) -> bool {
    state.progress.continued_by.is_none() && (args.force || !state.is_sent())
}

/// The mirrors of runs by name; those that were not mirrored begin now.
fn named(args: &SyncArgs) -> Result<Vec<MirrorState>, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let project = Project::find(None).map_err(|error| failed(&error))?;
    let mut states = Vec::new();
    for wanted in &args.run {
        let (run, dir) = find_run(&project, wanted)
            .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        let mut known = MirrorState::of_run(&dir).map_err(|error| failed(&error))?;
        let record = read_record(&dir).map_err(|error| failed(&error))?;
        let experiment = recorded(&record, &[])?;
        for stage in run.stages.iter().filter(|stage| stage.started) {
            let is_known = known.iter().any(|state| state.stage == stage.name);
            if is_known || !is_mirrored(&stage.kind) {
                continue;
            }
            let (name, seed) = match stage.name.rsplit_once('@') {
                Some((name, seed)) => (name, seed.parse().ok()),
                None => (stage.name.as_str(), None),
            };
            let Some(spec) = experiment.stage(name) else {
                continue;
            };
            let mut config = spec.config.clone();
            if let Some(seed) = seed {
                config.run.seed = seed;
            }
            let key = stage.key.clone();
            let new = of_stage(
                &stage.name,
                &stage.kind,
                key,
                &config,
                &run.outputs,
                Continues::No,
            );
            let state = MirrorState::new(&dir, &stage.name, &new.key, new.settings, new.run);
            if !args.dry_run {
                state.save().map_err(|error: WandbError| failed(&error))?;
            }
            known.push(state);
        }
        states.extend(known);
    }
    states.retain(|state| is_left(args, state));
    Ok(states)
}
