//! From an experiment to its outputs: plan, keys, execution, resume.
//!
//! [`Plan::of`] says what must be done, instantly and without touching
//! anything; [`execute`] does it. What a stage computes is behind the trait
//! [`StageKind`], of which the [`Registry`] lists all there are.

mod board;
mod cell;
#[cfg(test)]
mod cell_tests;
mod compare_files;
mod context;
mod death;
mod display;
mod error;
mod execute;
mod format;
mod gc;
#[cfg(test)]
mod gc_tests;
mod history;
mod hooks;
mod interrupt;
mod key;
mod kind;
pub mod launcher;
mod lines;
pub mod mirror;
mod nothing;
mod own_run;
mod plan;
mod progress;
mod registry;
mod resource;
#[cfg(test)]
mod run_tests;
pub mod search;
mod selection;
mod show;
mod slots;
mod summary;
pub mod sweep;
mod terminal;
mod unread;
mod verify;
#[cfg(test)]
mod verify_tests;
mod why;
#[cfg(test)]
mod why_tests;

pub use cell::{CellContext, CellMaker, CellQuery, CellReads, make_cells};
pub use compare_files::{Agreement, TOLERANCE, compare_outputs};
pub use context::{InputEntry, StageContext};
pub use death::{StageDeath, done_in_runs};
pub use display::{Display, Quiet, StageReport};
pub use error::{RunError, StageError};
pub use execute::{Execution, Retries, execute};
pub use format::{about, bytes_text, time_text};
pub use gc::{GcItem, GcPlan, GcPolicy, GcReason};
pub use history::Change;
pub use hooks::{Hooks, RunningHooks};
pub use interrupt::{Interrupt, stop_signals};
pub use kind::{StageKind, StageOutput};
pub use lines::{LineDisplay, progress_text, result_text};
pub use nothing::Nothing;
pub use plan::{Blockage, Plan, Step, StepInput, StepState};
pub use progress::ProgressView;
pub use registry::Registry;
pub use resource::{MissingResource, Resource, ResourceQuery};
pub use selection::Selection;
pub use show::{plan_json, plan_text};
pub use slots::{Slots, excessive_needs};
pub use summary::{RunSummary, StepResult};
pub use terminal::TerminalDisplay;
pub use unread::{unread_by_chosen, unread_in_tables, unread_overrides};
pub use verify::{Extent, Verdict, verify};
pub use why::{Reason, Why, why_json, why_text};
