//! Prediction files against annotations: reading, scoring, measures, and the
//! tables of the original's action `format_preds` (`reports.md` 1 to 5).
//!
//! [`ModelPredictions`] is a file, [`Annotations`] say what is right,
//! [`Scorer`] gives points, [`Metrics`] everything that follows from them, and
//! [`format_preds`] prints. Knows nothing of how predictions are made.

mod annotations;
mod compare;
mod error;
mod file;
mod metrics;
mod missing;
mod records;
mod rows;
mod score;
mod select;
mod tables;

pub use annotations::{Annotations, Category, CategoryId, category_tenths, normal_form};
pub use compare::{CompareStyle, compare};
pub use error::{PredictionsError, Result};
pub use file::{ConfigurationPredictions, ModelPredictions, NounList};
pub use metrics::{Measures, Metrics};
pub use missing::missing_predictions;
pub use records::{EACH, RecordSources, image_set, prediction_records, sample_records};
pub use rows::{NounRows, Rows};
pub use score::{
    Ambiguous, Conflict, Counter, Findings, Rounding, Score, Scorer, details_text,
    tell_unknown_categories,
};
pub use select::{Places, Selected, read_files, select_files};
pub use tables::{PredsReport, PredsRequest, TableStyle, format_preds, load_annotations};

/// The error for a sample that has fewer predictions than are to be considered.
fn too_few(
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
    sample: usize,
    wanted: usize,
) -> PredictionsError {
    PredictionsError::TooFew {
        path: file.path.clone(),
        gencfg: entry.name.clone(),
        sample: file.samples.get(sample).cloned().unwrap_or_default(),
        found: entry.nouns.row(sample).count(),
        wanted,
    }
}
