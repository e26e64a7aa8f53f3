//! The `novic` command: only dispatches to [`novic::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    novic::cli::main()
}
