//! How a command ends: exit codes (`docs/architecture.md`) and the error that
//! carries one.

use std::fmt::Display;

/// Exit codes of all commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done.
    Success = 0,
    /// Work failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Finished, but some inputs failed or were parked.
    SomeInputsFailed = 3,
    /// A service does not accept the key, or there is none.
    Authentication = 4,
    /// The account at a service has nothing left.
    Quota = 5,
    /// A limit of cost, tokens or requests is reached.
    Budget = 6,
    /// Interrupted by the user.
    Interrupted = 130,
}

/// Why a command failed: a message that completes "error: …" (or a whole
/// rendered report) and the exit code.
#[derive(Debug)]
pub struct CliError {
    /// Exit code of the process.
    pub exit: Exit,
    message: String,
    rendered: bool,
}

impl CliError {
    /// Failed work: exit code 1.
    pub fn failed(message: impl Display) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Wrong usage or configuration: exit code 2.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// An error with a given exit code.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            rendered: false,
        }
    }

    /// A finished report that is printed as it is (source excerpts, carets).
    pub fn report(exit: Exit, report: impl Display) -> Self {
        Self {
            exit,
            message: report.to_string(),
            rendered: true,
        }
    }

    /// An error of the library with its chain of causes.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self::new(exit, message)
    }

    /// Prints the error to standard error.
    pub fn print(&self) {
        if self.rendered {
            eprintln!("{}", self.message.trim_end());
        } else {
            eprintln!("error: {}", self.message);
        }
    }
}
