//! Stages of an experiment file: what they are and what they take in.

use std::fmt;

use super::check;
use super::origin::Origins;
use super::problem::{Problem, Severity};
use super::schema::{Action, Config};
use super::source::Location;

/// A stage with the configuration it has.
#[derive(Debug, Clone)]
pub struct StageSpec {
    /// Its name in the file.
    pub name: String,
    /// What it does.
    pub kind: StageKind,
    /// Stages whose outputs it takes, in order.
    pub inputs: Vec<StageInput>,
    /// Its configuration: defaults, then the sections, then its own table; values
    /// of the environment and of the command line come last.
    pub config: Config,
    /// Where the values come from.
    pub origins: Origins,
    /// Where it is declared.
    pub location: Location,
}

impl StageSpec {
    /// What is wrong with its values taken together, if it had another
    /// configuration.
    pub fn problems_with(&self, config: &Config) -> Vec<Problem> {
        let mut problems = Vec::new();
        check::cross_fields(config, &self.origins, Some(self.kind), &mut problems);
        problems.retain(|problem| problem.severity == Severity::Error);
        problems
    }
}

/// What a stage does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StageKind {
    /// One of the actions.
    Action(Action),
    /// Does nothing; for measurements.
    Nothing,
}

impl StageKind {
    /// The name, as written in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action(action) => action.as_str(),
            Self::Nothing => "nothing",
        }
    }

    /// The kind with a name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "nothing" => Some(Self::Nothing),
            _ => name.parse().ok().map(Self::Action),
        }
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Action::NAMES.iter().copied().chain(["nothing"])
    }

    /// The action, if it is one.
    pub const fn action(self) -> Option<Action> {
        match self {
            Self::Action(action) => Some(action),
            Self::Nothing => None,
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An input of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInput {
    /// Name of the stage whose output it is.
    pub stage: String,
    /// How many times it is taken, at least once.
    pub repeat: usize,
    /// Where it is named.
    pub location: Location,
}
