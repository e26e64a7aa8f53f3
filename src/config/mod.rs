//! Configuration: layers, the typed schema, origins, diagnostics.
//!
//! [`Experiment::load`] reads an experiment file with everything that belongs
//! to it and gives every stage its typed [`schema::Config`]; [`select()`] cuts
//! out what a stage reads. Every value knows where it comes from ([`Origins`]),
//! and all problems are shown at once, each where it stands ([`ConfigErrors`]).
//! This room knows nothing of what stages do, and of tensors.

mod cell;
mod check;
mod choices;
pub mod compare;
mod compose;
mod experiment;
mod experiment_diff;
mod family;
mod home;
pub mod hydra;
mod hydra_points;
pub mod import;
mod interpolate;
mod layer;
mod migrate;
mod names;
mod nearest;
mod node;
mod origin;
pub mod overrides;
mod problem;
mod recorded;
pub mod schema;
mod secret;
mod select;
mod setting;
pub mod show;
mod source;
mod stacks;
mod stage;
#[cfg(test)]
mod tests;
mod toml;
mod typed;
mod value;

pub use cell::{Cell, CellField, CellKind};
pub(crate) use choices::rounded;
pub use choices::{Choices, Distribution, is_several, parse_choices};
pub use compose::Request;
pub use experiment::Experiment;
pub use experiment_diff::{ExperimentDifference, experiment_differences, stage_differences};
pub use family::Family;
pub use home::expanded;
pub use migrate::{Migrated, VERSION, migrate};
pub(crate) use nearest::nearest;
pub use node::{Field, Node, Raw};
pub use origin::{Given, Origin, Origins};
pub use problem::{ConfigErrors, Problem, Severity, render};
pub use recorded::recorded_experiment;
pub use secret::without_secret;
pub use select::{Selection, UnknownRead, keys_read, select};
pub use setting::{Setting, parse_fields};
pub use show::{Show, experiment_json, flat_yaml};
pub use source::{Location, Source, SourceKind};
pub use stage::{StageInput, StageKind, StageSpec};
pub(crate) use toml::parse as parse_toml;
