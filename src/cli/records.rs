//! What commands say about records: texts that people wrote, and, of those of
//! tables and plots, warnings and what errors mean for the exit code.

use std::io::{self, IsTerminal};

use super::action::one_stage;
use super::format_wandb::of_runs;
use super::{CliError, Exit};
use crate::config::render;
use crate::config::schema::Action;
use crate::reports::experiment::ReportError;
use crate::reports::plot::MakeError;
use crate::reports::remote::Service;
use crate::reports::sources::SourceError;
use crate::reports::spec::SourceSpec;

/// A text as a terminal may see it: control characters, which could change what
/// stands elsewhere, are spelled out.
pub(super) fn printable(text: &str) -> String {
    let is_harmful = |c: char| {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || c.is_control() && !matches!(c, '\n' | '\t')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_harmful(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// Says what is to be known about records.
pub(super) fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// Where runs at Weights & Biases are for the sources of a report, by the
/// user's configuration, which is read only where there are such sources.
pub(super) fn service<'a>(
    mut sources: impl Iterator<Item = &'a SourceSpec>,
) -> Result<Service, CliError> {
    if !sources.any(SourceSpec::is_remote) {
        return Ok(Service::default());
    }
    let config = one_stage(Action::FormatWandb, &[])?;
    Ok(Service::of(&config.tracking.wandb))
}

/// Records that cannot be had.
pub(super) fn of_source(error: &SourceError) -> CliError {
    match error {
        SourceError::Runs(error) => of_runs(error),
        _ => CliError::from_error(Exit::Failed, error),
    }
}

/// A figure that cannot be made.
pub(super) fn of_figure(error: &MakeError) -> CliError {
    match error {
        MakeError::Source(error) => of_source(error),
        MakeError::Plot(_) => CliError::from_error(Exit::Failed, error),
    }
}

/// Results of an experiment that cannot be shown.
pub(super) fn of_results(error: &ReportError) -> CliError {
    match error {
        ReportError::Source(error) => of_source(error),
        ReportError::Plot(error) => of_figure(error),
        ReportError::UnknownField(problem) => CliError::report(
            Exit::Failed,
            render(std::slice::from_ref(&**problem), io::stderr().is_terminal()),
        ),
        _ => CliError::from_error(Exit::Failed, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out() {
        assert_eq!(printable("ä note\n\tof 2 lines"), "ä note\n\tof 2 lines");
        assert_eq!(
            printable("a\u{1b}[2Jb\rc\u{9b}d"),
            "a\\u{1b}[2Jb\\u{d}c\\u{9b}d"
        );
        assert_eq!(printable("x\u{202e}y"), "x\\u{202e}y");
    }
}
