//! All stage kinds of the program.

use crate::config::{CellKind, Experiment, Problem, keys_read};

use super::cell::CellMaker;
use super::error::RunError;
use super::kind::StageKind;

/// What is wrong with the stages of an experiment, as far as their kinds tell.
pub type StageCheck = fn(&Experiment) -> Vec<Problem>;

/// The stage kinds that plans are made of, and who makes tables and plots.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Vec<&'static dyn StageKind>,
    cells: Vec<&'static dyn CellMaker>,
    check: Option<StageCheck>,
}

impl Registry {
    /// A registry of these kinds.
    pub fn new(kinds: &[&'static dyn StageKind]) -> Registry {
        Registry {
            kinds: kinds.to_vec(),
            cells: Vec::new(),
            check: None,
        }
    }

    /// The same with cells of these sections.
    #[must_use]
    pub fn with_cells(mut self, cells: &[&'static dyn CellMaker]) -> Registry {
        self.cells = cells.to_vec();
        self
    }

    /// The same with what tells whether stages go together.
    #[must_use]
    pub fn with_check(mut self, check: StageCheck) -> Registry {
        self.check = Some(check);
        self
    }

    /// What is wrong with the stages of an experiment, such as inputs that their
    /// kinds cannot use.
    pub fn problems(&self, experiment: &Experiment) -> Vec<Problem> {
        self.check.map_or_else(Vec::new, |check| check(experiment))
    }

    /// The kind with a name.
    pub fn get(&self, name: &str) -> Option<&'static dyn StageKind> {
        self.kinds.iter().find(|kind| kind.name() == name).copied()
    }

    /// Who makes the cells of a section.
    pub fn cell(&self, kind: CellKind) -> Option<&'static dyn CellMaker> {
        self.cells.iter().find(|cell| cell.kind() == kind).copied()
    }

    /// All kinds.
    pub fn kinds(&self) -> &[&'static dyn StageKind] {
        &self.kinds
    }

    /// Checks that all kinds read what exists; a test of the program calls it.
    pub fn check(&self) -> Result<(), RunError> {
        for kind in &self.kinds {
            reads_of(*kind)?;
        }
        Ok(())
    }
}

/// Keys and sections that a kind reads, `run.seed` included where it draws
/// random numbers.
pub(super) fn reads_of(kind: &dyn StageKind) -> Result<Vec<&'static str>, RunError> {
    let mut reads = kind.reads().to_vec();
    if kind.draws_random() {
        reads.push("run.seed");
    }
    match keys_read(&reads) {
        Ok(_) => Ok(reads),
        Err(source) => Err(RunError::Reads {
            kind: kind.name().to_owned(),
            source,
        }),
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.kinds.iter().map(|kind| kind.name()))
            .finish()
    }
}
