//! From embeddings and generated texts to scores, tables and prediction
//! files: zero-shot, class scoring, statistics. Knows nothing of plotting.

mod decoding_tables;
mod error;
mod greedy_outcomes;
mod grid;
mod interval;
mod json_text;
mod modality_gap;
mod model_selection;
mod noise_angles;
mod prediction_file;
mod statistics;
mod terminal;
mod token_accuracy;
mod token_evaluation;
mod zero_shot;
mod zero_shot_run;

pub use decoding_tables::{DatasetScores, DecodingScore, ModelScores, TrackedTable, overall_table};
pub use error::{EvaluateError, Result};
pub use greedy_outcomes::{Direct, GreedyOutcome, GreedyOutcomes};
pub use grid::{grid, shown_width};
pub use interval::wilson_95;
pub use json_text::{json_line, json_text};
pub use modality_gap::{AngleStatistics, ModalityGap, modality_gap_file};
pub use model_selection::{ModelSelection, select_models};
pub use noise_angles::{NoiseAngles, noise_angles_file};
pub use prediction_file::{
    GenerationFields, PREDICTION_VERSIONS, PredictionDetails, PredictionEntry, PredictionFile,
    without_bare_words,
};
pub use statistics::{
    ClassCounts, NounSets, Percentages, PredictionType, TopKRatios, TopKStatistics,
};
pub use terminal::{Colour, PredictionTable, TextTable, percent, significant};
pub use token_accuracy::{TokenResults, TokenSums};
pub use token_evaluation::{FirstBatch, Subject, TokenEvaluation};
pub use zero_shot::{ClassEmbeddings, ZeroShot, zero_shot_line};
pub use zero_shot_run::{
    ZeroShotPrompt, ZeroShotRun, check_labels, class_embeddings, dataset_prompts,
};
