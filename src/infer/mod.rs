//! The model object: pictures, texts or embeddings in, nouns out. Knows
//! nothing of experiments.
//!
//! [`NovicModel`] is what most programs need: it has an embedder and a
//! decoder. [`NounDecoder`] is the decoder alone, for embeddings that are at
//! hand; a [`DecodingTask`] is one way of using it. [`ClassifyStream`] takes
//! any number of inputs through a model with bounded memory.

mod checkpoint_source;
mod embedding_model;
mod error;
mod find;
mod guide;
mod label;
mod model;
mod noun_decoder;
mod predictions;
mod record;
mod sample;
mod spelling;
mod stream;
mod task;
mod tensor_file;
mod trained_decoder;

pub use checkpoint_source::CheckpointSource;
pub use embedding_model::{EmbeddingModel, PreparedImage};
pub use error::{EmbeddingFault, InferError};
pub use find::{CheckpointNames, ProjectPlaces, SearchPlaces};
pub use guide::{Guide, NounList};
pub use label::{Label, LabelToken};
pub use model::{NovicModel, NovicModelBuilder};
pub use noun_decoder::NounDecoder;
pub use predictions::{Predictions, RankedNoun, best_table, model_values, prediction_file, ranked};
pub use record::{RecordOptions, record};
pub use sample::{Content, Sample, SampleError};
pub use spelling::{KnownSpellings, known_spellings};
pub use stream::{Classified, ClassifyStream, Polled, StreamOptions, Timings};
pub use task::DecodingTask;
pub use tensor_file::write_tensors;
pub use trained_decoder::TrainedDecoder;
