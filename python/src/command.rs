//! The command `novic`.

use std::ffi::OsString;
use std::io::Write as _;

use pyo3::prelude::*;

/// Runs the command line `arguments` (the first is the name of the program)
/// and returns its exit code.
#[pyfunction]
pub fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| {
        let code = novic::cli::run(arguments);
        // The end of this process is Python's, which knows of no such buffer.
        let _ = std::io::stdout().flush();
        code
    })
}
