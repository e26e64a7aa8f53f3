//! The sweep that a file and arguments describe.

use std::path::PathBuf;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::named::failed;
use crate::cli::experiment::warn;
use crate::cli::{CliError, complete};
use crate::runner::sweep::{Preparation, Sweep, SweepRequest, is_name};
use crate::runner::unread_overrides;
use crate::stages;

/// Which sweep.
#[derive(Debug, Args)]
pub(super) struct SweepOfFile {
    /// Sweep file or experiment file
    file: PathBuf,
    /// Values for all points, or several values that become an axis
    #[arg(value_name = "KEY=VALUES", add = ArgValueCompleter::new(complete::overrides))]
    arguments: Vec<String>,
    /// Name of the sweep, instead of the file's
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Take changes of the experiment into all points, which then run again
    #[arg(long)]
    update: bool,
}

impl SweepOfFile {
    /// The sweep, with its points; nothing is written.
    pub fn prepare(&self) -> Result<Sweep, CliError> {
        if let Some(name) = self.name.as_deref().filter(|name| !is_name(name)) {
            return Err(CliError::usage(format!(
                "`{name}` cannot be the name of a sweep: use letters, digits, `.`, `_` and `-`"
            )));
        }
        let request = SweepRequest::load(&self.file, &self.arguments);
        let request = request.map_err(|error| failed(error.into()))?;
        let preparation = Preparation {
            name: self.name.clone(),
            update: self.update,
        };
        let registry = stages::registry();
        let sweep = Sweep::prepare(request, &preparation, &registry).map_err(failed)?;
        if let Some(first) = sweep.first_experiment().map_err(failed)? {
            let mut warnings = first.warnings.clone();
            warnings.extend(unread_overrides(&first, &registry));
            warn(&warnings);
        }
        Ok(sweep)
    }
}
