//! The typed schema: one struct per section, one description per key.
//!
//! [`Config`] is the whole configuration of a stage. [`keys`] lists what is
//! known about every leaf: names, type, range, default, readers, meaning. Both
//! come from the same declarations, see the macro `section!`.

mod action;
mod annotate;
mod checkpoint;
mod choice;
mod cls;
mod data;
mod document;
mod embedder;
mod evaluation;
mod flat;
mod fraction;
mod generate;
pub mod json;
mod key;
mod launcher;
mod leaf;
mod metric_rule;
mod model;
mod nouns;
mod root;
mod run;
mod section;
mod tables;
mod target;
mod train;

pub use action::{Action, readers};
pub use annotate::{
    AnnotateAnswer, AnnotateBackoff, AnnotateDetail, AnnotateGpt, AnnotateLimit, AnnotateMode,
    ModelPrice,
};
pub use checkpoint::{Checkpoint, CheckpointExport};
pub use choice::UnknownChoice;
pub use cls::{CLS_DATASETS, Cls, ClsSplit};
pub use data::{Captions, Data, Images, Merge, MultiMode, Multiset, ReadOrder, Storage};
pub use document::{ExperimentInfo, Hooks, Slots, StoreSettings};
pub use embedder::{Embedder, EmbedderDtype};
pub use evaluation::{Eval, EvalAlignment, EvalGuide, Infer, Predictions, Test, ZeroShot};
pub use fraction::{Fraction, NotAFraction};
pub use generate::{Generate, GenerateGrid, GenerateGuide, GenerateMethod};
pub use json::json_schema;
pub use key::{Key, Range};
pub use launcher::{Launcher, LauncherKind, shard_count};
pub use leaf::{Kind, Leaf};
pub use metric_rule::{MetricRule, SummaryKind};
pub use model::{
    Activation, MlpHidden, MlpInit, Model, ModelInit, ModelMlp, ModelType, Rezero, TransformerInit,
};
pub use nouns::{Article, Nouns, TextRules};
pub use root::{
    Config, SECTIONS, document_key, document_keys, key, key_by_flat_name, keys, price_keys,
};
pub use run::{Needs, Run, Tracking, TrackingWandb, WandbMode, WandbResume};
pub use section::{Section, SetError};
pub use tables::{PredsTable, RunsTable, Sample, Tables, TablesPreds, TablesRuns, Wiki};
pub use target::Target;
pub use train::{
    LrSchedule, Noise, NoiseScheme, OptimizerType, Train, TrainLastDropout, TrainLr,
    TrainMeanShift, TrainOptimizer, TrainStop,
};
