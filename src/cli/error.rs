//! How a command ends: exit codes (`docs/architecture.md`) and the error that
//! carries one.

use std::fmt::Display;

use serde_json::{Value, json};

use crate::causes::with_causes;

/// How commands end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Success,
    /// Work failed.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// Finished, but some inputs failed or were parked.
    SomeInputsFailed,
    /// A service does not accept the key, or there is none.
    Authentication,
    /// The account at a service has nothing left.
    Quota,
    /// A limit of cost, tokens or requests is reached.
    Budget,
    /// Interrupted by the user.
    Interrupted,
    /// With the code of another process, or of a script.
    As(u8),
}

impl Exit {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::SomeInputsFailed => 3,
            Exit::Authentication => 4,
            Exit::Quota => 5,
            Exit::Budget => 6,
            Exit::Interrupted => 130,
            Exit::As(code) => code,
        }
    }
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
        Self::new(exit, with_causes(error))
    }

    /// What it says.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The same as JSON, for those who asked for JSON.
    pub fn to_json(&self) -> Value {
        json!({ "error": strip_colours(self.message.trim_end()), "exit_code": self.exit.code() })
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

/// A text without the sequences that colour it.
fn strip_colours(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_json_without_colours() {
        let error = CliError::report(Exit::Usage, "\x1b[1m\x1b[91merror\x1b[0m: no key\n");
        let json = error.to_json();
        assert_eq!(json, json!({"error": "error: no key", "exit_code": 2}));
    }
}
