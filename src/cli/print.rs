//! Writing results to standard output.

use std::io::{self, Write};

use super::{CliError, Exit};

/// Writes the result of a command.
pub(super) fn print(text: &str) -> Result<Exit, CliError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(Exit::Success),
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Success),
        Err(error) => Err(CliError::failed(format!(
            "failed to write to standard output: {error}"
        ))),
    }
}
