//! How specific nouns are, and the scores weighted with it (`reports.md`
//! section 8).

mod list;

pub use list::{MissingSpecificity, Specificity};
