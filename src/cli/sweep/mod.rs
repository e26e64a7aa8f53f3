//! `novic sweep`: many points of one experiment.

mod cancel;
mod display;
mod execute;
mod extend;
mod job;
mod left;
mod list;
mod named;
mod of_file;
mod plan;
mod preview;
mod results;
mod resume;
mod run;
mod search;
mod status;
mod table;

use clap::{Args, Subcommand};

use super::{CliError, Exit};

/// Many points of one experiment: run, look, extend, compare
///
/// A sweep file names an experiment and what varies; without one, arguments with
/// several values make a sweep of an experiment file. What is done is never done
/// again: the same command goes on after a stop, a failure or a kill.
///
///   novic sweep plan sweeps/noise.toml
///   novic sweep run sweeps/noise.toml
///   novic sweep run experiments/quickstart.toml noise.vec_norm=0.8,1.2,1.6 seeds=1,2,3
///   novic sweep results noise
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct SweepArgs {
    #[command(subcommand)]
    command: SweepCommand,
}

#[derive(Debug, Subcommand)]
enum SweepCommand {
    Run(run::SweepRunArgs),
    Plan(plan::SweepPlanArgs),
    Status(status::SweepStatusArgs),
    Resume(resume::SweepResumeArgs),
    Extend(extend::SweepExtendArgs),
    Cancel(cancel::SweepCancelArgs),
    Results(results::SweepResultsArgs),
    #[command(hide = true)]
    Job(job::SweepJobArgs),
}

/// Runs a sweep command.
pub fn cmd_sweep(args: &SweepArgs) -> Result<Exit, CliError> {
    match &args.command {
        SweepCommand::Run(args) => run::cmd_sweep_run(args),
        SweepCommand::Plan(args) => plan::cmd_sweep_plan(args),
        SweepCommand::Status(args) => status::cmd_sweep_status(args),
        SweepCommand::Resume(args) => resume::cmd_sweep_resume(args),
        SweepCommand::Extend(args) => extend::cmd_sweep_extend(args),
        SweepCommand::Cancel(args) => cancel::cmd_sweep_cancel(args),
        SweepCommand::Results(args) => results::cmd_sweep_results(args),
        SweepCommand::Job(args) => job::cmd_sweep_job(args),
    }
}
