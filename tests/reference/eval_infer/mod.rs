//! Evaluation and inference: counters, guide nouns, model selection, the model
//! object, commands on own samples and datasets, prediction files, zero-shot.

mod class_alignment;
mod class_decoding;
mod command_line;
mod generation_configs;
mod greedy_classes;
mod guide_nouns;
mod json_text;
mod model_object;
mod model_selection;
mod models;
mod own_samples;
mod prediction_files;
mod scoring;
mod stand_in;
mod vocabularies;
mod zero_shot;

/// Folder of this area's data.
const AREA: &str = "eval-infer";
