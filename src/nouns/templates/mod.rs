//! Prompt and hypernym templates (`nouns-captions.md` section 2).
//!
//! A [`TemplateFile`] holds named collections; the chosen ones compile to
//! [`Prompts`] and [`Hypernyms`]. [`TextRules`] says whether texts are exactly
//! those of the published caches or have their known flaws mended; for the
//! shipped prompt collections both give the same texts.

mod compile;
mod file;
mod hypernyms;
mod prompts;

pub use file::{CollectionNames, TemplateFile};
pub use hypernyms::{HypernymTemplate, Hypernyms};
pub use prompts::{Prompt, Prompts};

/// Which texts templates compile to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TextRules {
    /// A final full stop only where a sentence does not end yet, templates
    /// that become equal merged, a leading space of hypernym templates kept.
    #[default]
    Mended,
    /// Character by character the texts of the original.
    Original,
}
