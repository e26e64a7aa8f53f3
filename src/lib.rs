//! Experiment framework for NOVIC: unconstrained open-vocabulary image
//! classification by inverting CLIP embeddings.
//!
//! A room uses the rooms listed above it and is used by those below; see
//! `docs/architecture.md`.

pub mod annotate;
pub mod cache;
pub mod cli;
pub mod config;
pub mod datasets;
pub mod decoder;
pub mod device;
pub mod embedders;
pub mod evaluate;
pub mod images;
pub mod infer;
pub mod net;
pub mod nouns;
pub use novic_ops as ops;
pub mod pickle;
mod random;
pub mod reports;
pub mod runner;
pub mod serve;
pub mod stages;
pub mod store;
pub mod tracking;
pub mod train;
pub mod web;
