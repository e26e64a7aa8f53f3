//! The command `novic`.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command line `arguments` (the first is the name of the program)
/// and returns its exit code.
#[pyfunction]
pub fn run_command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
    py.detach(|| novic::cli::run(arguments))
}
