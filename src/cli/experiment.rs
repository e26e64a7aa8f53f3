//! Loading the experiment of a command, with its warnings.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::{CliError, Exit};
use crate::config::{ConfigErrors, Experiment, Request, render};
use crate::reports::experiment::{plot_specs, table_specs};
use crate::runner::unread_overrides;
use crate::stages;

/// Reads an experiment file with overrides. Warnings go to standard error.
pub(super) fn load(file: &Path, overrides: &[String]) -> Result<Experiment, CliError> {
    load_request(&Request::new(file).overrides(overrides))
}

/// The same for a request that is made already.
pub(super) fn load_request(request: &Request) -> Result<Experiment, CliError> {
    let experiment = Experiment::load(request).map_err(report)?;
    let mut warnings = experiment.warnings.clone();
    warnings.extend(unread_overrides(&experiment, &stages::registry()));
    if !warnings.is_empty() {
        let colour = io::stderr().is_terminal();
        eprintln!("{}\n", render(&warnings, colour));
    }
    Ok(experiment)
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
