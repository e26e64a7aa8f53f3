//! Class names and prompts of classification datasets, and which nouns count
//! as a class (`nouns-captions.md` section 6).

mod cleaning;
mod lists;
mod of_dataset;
mod to_targets;
mod to_vocabulary;
mod zero_shot;

pub use cleaning::clean_class_name;
pub use lists::{ClassNameVariant, class_names};
pub use of_dataset::names_of_classes;
pub use to_targets::{TargetAlignment, VariantMap};
pub use to_vocabulary::{OnAmbiguity, VocabularyAlignment};
pub use zero_shot::zero_shot_prompts;

/// The synonyms of a class: the name split at its commas, parts trimmed.
fn parts(class: &str) -> impl Iterator<Item = &str> {
    class.split(',').map(str::trim)
}
