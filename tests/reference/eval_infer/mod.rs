//! Evaluation and inference: counters, guide nouns, model selection,
//! prediction files, zero-shot.

mod generation_configs;
mod guide_nouns;
mod json_text;
mod model_selection;
mod models;
mod prediction_files;
mod scoring;
mod vocabularies;
mod zero_shot;

/// Folder of this area's data.
const AREA: &str = "eval-infer";
