//! Ground truth for open vocabulary predictions: which nouns are right for
//! which images.
//!
//! [`AnnotationFile`] is what everybody writes and reads; [`merge`],
//! [`compare`] and [`check`] are about several of them; [`Predictions`] are what
//! there is to annotate. [`human`] is the page on which people
//! judge, [`collect`] builds image sets. Knows nothing of how
//! scores are computed, nor of how predictions are made.

mod category;
mod check;
pub mod collect;
mod compare;
mod error;
mod file;
pub mod gpt;
pub mod human;
mod merge;
mod pairs;
mod predictions;
mod samples;

pub use category::{Category, points_of};
pub use check::{Findings, check, image_names, is_image_name};
pub use compare::{Comparison, compare};
pub use error::{AnnotateError, Result};
pub use file::{AnnotationFile, Flaw, HUMAN_FILE, ImageAnnotations, MODEL_FILE};
pub use merge::{Conflict, Merged, Policy, merge};
pub use predictions::{
    ConfigNouns, PredictedBy, PredictedImage, PredictedNoun, Predictions, pool, prediction_files,
};
pub use samples::{add_samples, annotation_path, load_annotations};
