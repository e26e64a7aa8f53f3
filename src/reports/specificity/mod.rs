//! How specific nouns are, and the scores weighted with it (`reports.md`
//! section 8).

mod list;
mod tool;

pub use list::{EMBEDDED, MissingSpecificity, Specificity};
pub use tool::{SpecificityRequest, specificity_scores};
