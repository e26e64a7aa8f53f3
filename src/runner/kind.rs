//! The trait that a stage kind implements.

use serde_json::Value;

use super::context::StageContext;
use super::error::StageError;
use super::resource::{Resource, ResourceQuery};

/// A kind of stage: what the runner knows of it.
///
/// The output must be a pure function of the values it reads, its inputs, its
/// resources and its code version, because its key is made of these.
pub trait StageKind: Sync {
    /// Name of the action, or `nothing`.
    fn name(&self) -> &'static str;

    /// To be increased whenever the results change.
    fn code_version(&self) -> u32;

    /// Keys and sections of the configuration it reads (`train.lr.init`,
    /// `model`). Only these reach it, with defaults for all others, and only
    /// these enter its key.
    fn reads(&self) -> &'static [&'static str];

    /// Whether it draws random numbers: then it reads `run.seed`, and runs once
    /// per seed of the experiment.
    fn draws_random(&self) -> bool {
        false
    }

    /// Rows that it logs again and again while it works, each sort by the names of
    /// its metrics; none if only a run tells.
    fn rows(&self) -> Option<&'static [&'static [&'static str]]> {
        Some(&[])
    }

    /// External inputs with the identity of their content. Must be quick and
    /// touch nothing: plans are made of it.
    fn resources(&self, _query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        Ok(Vec::new())
    }

    /// Does the work. Files in [`StageContext::out`] become the output.
    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError>;
}

/// What a stage says when it is done, beside its files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageOutput {
    /// A small JSON object for tables and summaries.
    pub results: Value,
    /// What was left out because single inputs failed; the run then ends with
    /// exit code 3.
    pub parked: Option<String>,
}

impl StageOutput {
    /// An output with results.
    pub fn of(results: Value) -> StageOutput {
        StageOutput {
            results,
            parked: None,
        }
    }
}
