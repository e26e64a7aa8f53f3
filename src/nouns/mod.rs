//! Nouns and the texts made of them: the object noun dictionary, prompt
//! templates, the noun dataset, texts of several nouns, captions, class names
//! and their mapping to nouns (`nouns-captions.md`).
//!
//! Start with [`Vocabulary::load`], [`TemplateFile`] and [`NounDataset::new`].
//! Nothing here knows of embedders or caches.

mod article;
pub mod build;
mod canonical;
mod captions;
mod class_names;
mod dataset;
mod dictionary;
mod embedded;
mod error;
mod files;
pub mod generation;
mod multiset;
mod noun;
mod templates;
mod text_samples;

pub use article::{ArticleRules, indefinite_article, make_indefinite};
pub use canonical::{canonical, canonical_trusted, collapse_spaces, is_plain};
pub use captions::{
    CaptionCounts, CaptionFinding, CaptionNumbers, CaptionRule, CaptionStatistics, CaptionTexts,
    Captions, ChosenCaptions, NounCaptions, NounChoice, check_captions, repair_captions,
};
pub use class_names::{
    ClassNameVariant, OnAmbiguity, TargetAlignment, VariantMap, VocabularyAlignment, class_names,
    clean_class_name, names_of_classes, zero_shot_prompts,
};
pub use dataset::{NounDataset, Sample, SampleId, SampleNumbers, Samples};
pub use dictionary::{
    Dictionary, DictionaryProblem, DictionaryProblems, DictionarySummary, DictionaryWarning,
    EMBEDDED, ProblemKind, Vocabulary, WarningKind, identity,
};
pub use error::{CaptionProblem, NounsError, TemplateProblem};
pub use multiset::{Multiset, MultisetTexts};
pub use noun::{Noun, Number, Spelling};
pub use templates::{
    CollectionNames, HypernymTemplate, Hypernyms, Prompt, Prompts, TemplateFile, TextRules,
};
pub use text_samples::{NounTexts, TextSamples};
