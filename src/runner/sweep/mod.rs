//! Sweeps: many points of one experiment.
//!
//! A [`SweepSpec`] says what varies; [`Sweep`] numbers its points and keeps them
//! in the project; [`Graph`] is the plan of all of them, in which nothing stands
//! twice; [`units()`] cuts it into pieces of work, which [`run_units`] does on
//! this machine and a [launcher](super::launcher) on others. What is in the store
//! is never done again, so that the same command goes on wherever it stopped.

mod axes;
mod divide;
mod error;
mod expand;
mod fields;
mod file;
mod folder;
mod graph;
mod job;
mod local;
mod metric;
mod prepare;
mod prune;
mod prune_check;
mod results;
mod schema;
mod search_file;
mod search_run;
mod spec;
#[cfg(test)]
mod tests;
mod units;

pub use error::SweepError;
pub use expand::{PointSpec, points};
pub use file::{SweepRequest, is_name};
pub use folder::{FORMAT as SWEEP_FORMAT, Frozen, Header, OutcomeLine, PointLine, SweepFolder};
pub use graph::{Graph, GraphPoint, Node, NodeState};
pub use job::Workbench;
pub use local::{Reporter, SweepSummary, Work, run_units};
pub use metric::{Goal, Metric, RECORDS_FILE};
pub use prepare::{Preparation, Sweep};
pub use prune::{Pruner, Watched};
pub use results::{GroupResult, PointResult, SweepResults};
pub use schema::sweep_schema;
pub use search_run::Ahead;
pub use spec::{ASK_ABOVE, MAX_POINTS, SearchMethod, SearchSpec, SweepSpec};
pub use units::{LISTS, Unit, UnitSpec, units};
