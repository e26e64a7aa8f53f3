//! `novic sweep job`: one piece of work of a sweep, as launchers start it.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use clap::Args;
use signal_hook::consts::SIGUSR1;
use signal_hook::iterator::Signals;

use super::execute::RetryOptions;
use super::named::failed;
use crate::cli::mirror::say_on_stderr;
use crate::cli::{CliError, Exit};
use crate::runner::launcher::slurm;
use crate::runner::mirror::MirrorEndings;
use crate::runner::sweep::{Sweep, SweepFolder, UnitSpec, Workbench};
use crate::runner::{Interrupt, LineDisplay};
use crate::stages;
use crate::store::Project;
use crate::tracking::StageOutcome;

/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(60);

/// Do one piece of work of a sweep
#[derive(Debug, Args)]
pub(super) struct SweepJobArgs {
    /// Directory of the sweep
    dir: PathBuf,
    /// List of the pieces of work
    #[arg(long)]
    list: PathBuf,
    /// Place in the list, from 0
    #[arg(long)]
    place: usize,
    #[command(flatten)]
    retries: RetryOptions,
}

/// Does one piece of work.
pub(super) fn cmd_sweep_job(args: &SweepJobArgs) -> Result<Exit, CliError> {
    // First of all, so that no signal ends it in between.
    let interrupt = Interrupt::of_signals().map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    let limit = LimitNear::watch(&interrupt)
        .map_err(|error| CliError::failed(format!("failed to listen to signals: {error}")))?;
    let unit = unit(args)?;
    let sweep = open(&args.dir)?;
    let registry = stages::registry();
    let mirrors = MirrorEndings::new(say_on_stderr());
    let retries = args.retries.retries();
    let bench = Workbench::new(&sweep, &registry, retries, mirrors.clone());
    let mut display = LineDisplay::new(io::stderr(), LINE_EVERY);
    let line = bench
        .work(&unit, &interrupt, None, &mut display)
        .map_err(failed)?;
    for warning in bench.finish().map_err(failed)? {
        eprintln!("warning: {warning}");
    }
    mirrors.wait();
    if let Some(message) = &line.message {
        eprintln!("{}: {message}", unit.unit);
    }
    if line.outcome == StageOutcome::Interrupted
        && limit.is_near()
        && let Some(element) = slurm::element()
    {
        eprintln!("{}: the time is over; it goes on in another job", unit.unit);
        slurm::requeue(&element).map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    }
    Ok(match line.outcome {
        StageOutcome::Done | StageOutcome::UpToDate => Exit::Success,
        StageOutcome::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    })
}

/// Whether the cluster said that the time is nearly over (SIGUSR1).
struct LimitNear(Arc<AtomicBool>);

impl LimitNear {
    /// Raises `interrupt` too when it says so.
    fn watch(interrupt: &Interrupt) -> io::Result<LimitNear> {
        let near = Arc::new(AtomicBool::new(false));
        let mut signals = Signals::new([SIGUSR1])?;
        let (told, interrupt) = (near.clone(), interrupt.clone());
        thread::Builder::new()
            .name("time limit".into())
            .spawn(move || {
                for _ in signals.forever() {
                    told.store(true, Ordering::SeqCst);
                    interrupt.raise();
                }
            })?;
        Ok(LimitNear(near))
    }

    fn is_near(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The piece of work.
fn unit(args: &SweepJobArgs) -> Result<UnitSpec, CliError> {
    let wrong = |why: String| CliError::usage(format!("{}: {why}", args.list.display()));
    let file = fs::File::open(&args.list).map_err(|error| wrong(error.to_string()))?;
    let line = io::BufReader::new(file).lines().nth(args.place);
    let line = line.ok_or_else(|| wrong(format!("there is no piece {}", args.place)))?;
    let line = line.map_err(|error| wrong(error.to_string()))?;
    serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))
}

/// The sweep in a directory, in the working directory that it was begun in.
fn open(dir: &std::path::Path) -> Result<Sweep, CliError> {
    let folder = SweepFolder::at(dir);
    let header = folder.header().map_err(failed)?;
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let header =
        header.ok_or_else(|| CliError::usage(format!("there is no sweep in {}", dir.display())))?;
    let home = dir.parent().and_then(std::path::Path::parent);
    let home = home.map(|home| fs::canonicalize(home).unwrap_or_else(|_| home.to_owned()));
    env::set_current_dir(&header.working_dir)
        .map_err(|error| CliError::failed(format!("{}: {error}", header.working_dir.display())))?;
    let project = Project::locate(&header.working_dir, None, home.as_deref());
    Sweep::open(&project, &name).map_err(failed)
}
