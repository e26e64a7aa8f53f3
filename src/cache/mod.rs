//! The embedding cache: header, reader, writers, merge, batch assembly. Knows
//! nothing of how vectors are made.

mod accumulation;
mod assemble;
pub mod batch;
mod copy;
mod data_config;
mod dtype;
mod epoch;
mod error;
pub mod hash;
pub mod header;
mod inspect;
pub mod json_scalar;
mod keyed_permutation;
mod loader;
mod made_rows;
mod merge;
mod merged;
mod noun_table;
mod plan;
mod reader;
mod resumable;
#[cfg(test)]
mod round_trip;
mod row_sink;
mod rows;
mod sample_rows;
mod signature;
mod target_config;
mod text_file;
mod tokenize;
mod translation;
mod verify;
mod virtual_merge;
mod writer;

pub use accumulation::{Accumulation, AccumulationStep};
pub use data_config::{DataConfig, DataNotice, DataRequest, StrictFields};
pub use dtype::{FloatDtype, FloatSlice, FloatVec, IntDtype};
pub use epoch::{EpochOrder, LoaderInfo, LoaderMode, ReadOrder, WINDOW};
pub use error::{CacheError, Result};
pub use loader::{Batches, Loader};
pub use made_rows::MadeSamples;
pub use merged::{MergeOptions, MergeOrder};
pub use noun_table::NounTable;
pub use plan::{FileFlags, FilePlan, RowOrder, TargetPlan};
pub use reader::{Cache, CacheFile, OpenOptions, Samples};
pub use resumable::ResumableCacheWriter;
pub use sample_rows::SampleRows;
pub use signature::EmbedderSignature;
pub use target_config::{CompactIds, TargetConfig, TargetOptions};
pub use text_file::{TextFile, TextFileShape, TextFileWriter, TextRows};
pub use tokenize::TokenRows;
pub use translation::{Translation, TranslationNotice};
pub use verify::{Finding, Findings, VerifyWith, repeated_rows, row_hashes, verify};
pub use virtual_merge::VirtualMerge;
pub use writer::CacheWriter;
