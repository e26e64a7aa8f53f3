//! The model object: pictures, texts or embeddings in, nouns out. Knows
//! nothing of experiments.

mod checkpoint_source;
mod find;
mod model;
mod trained_decoder;

pub use checkpoint_source::CheckpointSource;
pub use find::{CheckpointNames, ProjectPlaces, SearchPlaces};
pub use model::{InferError, Label, NovicModel};
pub use trained_decoder::TrainedDecoder;
