//! The model object: pictures, texts or embeddings in, nouns out. Knows
//! nothing of experiments.

mod checkpoint_source;
mod model;

pub use checkpoint_source::CheckpointSource;
pub use model::{InferError, Label, NovicModel};
