//! Captions: templates that were written for a noun each (`nouns-captions.md`
//! section 7).
//!
//! [`Captions`] is a checked caption file restricted to the nouns of a
//! vocabulary; [`ChosenCaptions`] are those of them that are used, from which
//! the texts follow.

mod check;
mod choose;
mod load;
mod statistics;
mod texts;

pub use check::{CaptionFinding, CaptionRule, check_captions, repair_captions};
pub use choose::{CaptionCounts, ChosenCaptions, NounChoice};
pub use load::{CaptionNumbers, Captions, NounCaptions};
pub use statistics::CaptionStatistics;
pub use texts::CaptionTexts;

use super::noun::Number;

/// The field that a caption of this number must have.
pub(in crate::nouns) fn field(number: Number) -> &'static str {
    match number {
        Number::Singular => "{singular}",
        Number::Plural => "{plural}",
    }
}
