//! The run record: an append-only, checksummed file per run that says what was
//! run, where, and what came out, while it happens.
//!
//! [`RunRecorder`] writes it, [`RunRecord`] reads it back, and [`list_runs`]
//! tells what became of every run. The local record is the truth: mirrors and
//! indexes are made from it. The room knows nothing of training. The format is
//! in `docs/formats.md`.

mod death;
mod endings;
mod environment;
mod error;
mod event;
mod export;
mod fields;
mod filter;
mod follower;
mod frame;
mod gpu;
mod index;
mod labels;
mod listing;
mod metrics;
mod reader;
mod recorder;
#[cfg(test)]
mod recorder_tests;
mod rows;
mod run_id;
mod run_list;
mod system;
mod value;
pub mod wandb;
mod watch;
mod writer;

pub use death::Death;
pub use endings::RunEndings;
pub use environment::{Environment, GitState, Surroundings};
pub use error::TrackingError;
pub use event::{ConsoleLine, Event, Level, RunEnd, RunHeader, StageOutcome, StampedEvent};
pub use export::{ExportFormat, write_csv, write_metrics, write_parquet, write_tensorboard};
pub use fields::{Fields, Picked};
pub use filter::{Filter, FilterError, Operator, order, plain};
pub use follower::RunFollower;
pub use frame::FORMAT as RECORD_FORMAT;
pub use index::refresh_index;
pub use labels::{FORMAT as LABELS_FORMAT, Labels};
pub use listing::{
    FIELDS, FORMAT as OVERVIEW_FORMAT, RunOverview, RunState, StageOverview, find_run, remove_run,
};
pub use metrics::{Metrics, Row, Stream};
pub use reader::{RunRecord, read_metrics, read_record, read_record_without_metrics};
pub use recorder::{RunRecorder, RunStart, StageLog};
pub use run_id::RunId;
pub use run_list::{RunList, list_runs};
pub use system::SYSTEM;
pub use value::Value;
pub use watch::{Follow, Happening, Watch};

/// Name of the metrics file in an output.
pub const METRICS_FILE: &str = "metrics.novic";
