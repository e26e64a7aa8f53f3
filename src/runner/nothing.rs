//! The stage kind `nothing`: measures what a stage costs by itself.

use super::context::StageContext;
use super::error::StageError;
use super::kind::{StageKind, StageOutput};

/// Does nothing. Reads `run.seed`, so that a file can have many that differ.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl StageKind for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn run(&self, _context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        Ok(StageOutput::default())
    }
}
