//! From embeddings and generated texts to scores, tables and prediction
//! files: zero-shot, class scoring, statistics. Knows nothing of plotting.

mod error;
mod interval;
mod json_text;
mod model_selection;
mod prediction_file;
mod statistics;
mod token_accuracy;
mod token_evaluation;
mod zero_shot;

pub use error::{EvaluateError, Result};
pub use interval::wilson_95;
pub use json_text::json_text;
pub use model_selection::{ModelSelection, select_models};
pub use prediction_file::{GenerationFields, PredictionEntry, PredictionFile};
pub use statistics::{
    ClassCounts, NounSets, Percentages, PredictionType, TopKRatios, TopKStatistics,
};
pub use token_accuracy::{TokenResults, TokenSums};
pub use token_evaluation::{FirstBatch, Subject, TokenEvaluation};
pub use zero_shot::{ClassEmbeddings, ZeroShot, zero_shot_line};
