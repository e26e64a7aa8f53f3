//! Loading the experiment of a command, with its warnings.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::{CliError, Exit, guard};
use crate::config::schema::Needs;
use crate::config::{ConfigErrors, Experiment, Problem, Request, StageSpec, render};
use crate::reports::experiment::{plot_specs, table_specs};
use crate::runner::{Slots, excessive_needs, unread_in_tables, unread_overrides};
use crate::stages::{self, input_problems};
use crate::tracking::Environment;

/// Reads an experiment file with overrides. Warnings go to standard error.
pub(super) fn load(file: &Path, overrides: &[String]) -> Result<Experiment, CliError> {
    load_request(&Request::new(file).overrides(overrides))
}

/// The same for a request that is made already.
pub(super) fn load_request(request: &Request) -> Result<Experiment, CliError> {
    let experiment = Experiment::load(request).map_err(report)?;
    let problems = input_problems(&experiment);
    if !problems.is_empty() {
        return Err(report(ConfigErrors { problems }));
    }
    let mut warnings = experiment.warnings.clone();
    let registry = stages::registry();
    warnings.extend(unread_in_tables(&experiment, &registry));
    warnings.extend(unread_overrides(&experiment, &registry));
    warn(&warnings);
    Ok(experiment)
}

/// Warns of stages that need more than there is.
pub(super) fn warn_of_needs(experiment: &Experiment, jobs: Option<usize>) {
    let needs = |stage: &StageSpec| stage.config.needs != Needs::default();
    if experiment.stages.iter().any(needs) {
        let gpus = Environment::capture().gpus.len();
        let slots = Slots::of(&experiment.slots, jobs);
        warn(&excessive_needs(experiment, &slots, gpus));
    }
}

/// Shows warnings on standard error, unless the parent of this run has done so.
pub(super) fn warn(warnings: &[Problem]) {
    if !warnings.is_empty() && !guard::is_child() {
        let colour = io::stderr().is_terminal();
        eprintln!("{}\n", render(warnings, colour));
    }
}

/// Fails if a table or plot of an experiment has mistakes that can be seen
/// without its records.
pub(super) fn check_cells(experiment: &Experiment) -> Result<(), CliError> {
    table_specs(experiment, None).map_err(report)?;
    plot_specs(experiment, None).map_err(report)?;
    Ok(())
}

/// All problems of a configuration, as the error of a command.
pub(super) fn report(errors: ConfigErrors) -> CliError {
    CliError::report(Exit::Usage, errors.render(io::stderr().is_terminal()))
}
