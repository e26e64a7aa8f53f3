//! Embedding caches: format, reading, batches, configurations, writing.

mod batches;
mod config_hash;
mod contents;
mod damage;
mod data_config;
mod fixtures;
mod loader;
mod merging;
mod records;
mod target_config;
mod tools;
mod translation;
mod writer_checks;
mod writing;

/// Folder of this area's data.
const AREA: &str = "embedding-cache";
