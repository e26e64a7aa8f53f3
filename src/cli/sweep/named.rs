//! Sweeps that were begun, and their errors.

use std::io::{self, IsTerminal};
use std::path::Path;

use crate::cli::{CliError, Exit};
use crate::runner::sweep::{Sweep, SweepError, SweepFolder, SweepRequest};
use crate::store::Project;

/// The sweep of a name or of a sweep file, as it was begun.
pub(super) fn open(name: &str) -> Result<Sweep, CliError> {
    let project = Project::find(None).map_err(|e| CliError::from_error(Exit::Failed, &e))?;
    let known = SweepFolder::names(&project);
    let name = match known.iter().any(|known| known == name) {
        true => name.to_owned(),
        false if Path::new(name).is_file() => {
            let request = SweepRequest::load(Path::new(name), &[]);
            request.map_err(|error| failed(error.into()))?.spec.name
        }
        false => name.to_owned(),
    };
    Sweep::open(&project, &name).map_err(failed)
}

/// A sweep's error as that of a command.
pub(super) fn failed(error: SweepError) -> CliError {
    match error {
        SweepError::Config(errors) => {
            CliError::report(Exit::Usage, errors.render(io::stderr().is_terminal()))
        }
        SweepError::Unknown { .. }
        | SweepError::OtherFile { .. }
        | SweepError::Changed { .. }
        | SweepError::Refused(_) => CliError::from_error(Exit::Usage, &error),
        error => CliError::from_error(Exit::Failed, &error),
    }
}
