//! The noun dataset: every prompt text of every spelling of every noun
//! (`nouns-captions.md` section 3).
//!
//! Texts are numbered in two ways. A *unique sample* (USID) is one text of
//! one noun; a *frequency sample* (FSID) is one of its repetitions, which form
//! consecutive blocks in the same order. Nothing is stored per sample: numbers
//! are found by prefix sums over the nouns and arithmetic inside them.

mod blocks;
mod choices;
mod lookup;
mod samples;

pub use lookup::{NounDataset, Sample, SampleId, SampleNumbers};
pub use samples::Samples;
