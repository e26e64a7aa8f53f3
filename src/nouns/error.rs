//! What can go wrong with dictionaries, templates and class names.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::dictionary::DictionaryProblems;

/// An error of this room.
#[derive(Debug, Error)]
pub enum NounsError {
    /// A file could not be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than anything this program would read of its kind.
    #[error("{} has {size} bytes, more than the {limit} this kind of file may have", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is not JSON.
    #[error("{file} is not valid JSON: {source}")]
    Json {
        /// The file.
        file: String,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A dictionary is JSON, but not a list.
    #[error("{file} is not a noun dictionary: it must be a list with one object per noun")]
    NotADictionary {
        /// The file.
        file: String,
    },
    /// Entries of a dictionary break its rules.
    #[error(transparent)]
    Dictionary(#[from] DictionaryProblems),
    /// The threshold drops every noun, or there is none.
    #[error(
        "no nouns left in {file} with vocab_thres = {threshold}; the largest frequency is \
         {largest}, so use a smaller threshold"
    )]
    NoNounsLeft {
        /// The dictionary.
        file: String,
        /// The threshold.
        threshold: i64,
        /// Largest frequency of an entry, 0 without entries.
        largest: u64,
    },
    /// A template file has the wrong structure.
    #[error(
        "{file} is not a template file: {reason}; it must have the objects \"prompts\" and \
         \"hypernyms\" with a list of [frequency, template] per collection"
    )]
    NotATemplateFile {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A collection of templates does not exist.
    #[error(
        "{file} has no {kind} collection {name:?}; it has {}",
        Names(available)
    )]
    UnknownCollection {
        /// The file.
        file: String,
        /// `prompt` or `hypernym`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// No collection was named at all.
    #[error("no {kind} collection is named; choose one of {}", Names(available))]
    NoCollection {
        /// `prompt` or `hypernym`.
        kind: &'static str,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A template breaks the rules.
    #[error("{kind} collection {collection:?}, template {index}: {reason}")]
    Template {
        /// `prompt` or `hypernym`.
        kind: &'static str,
        /// The collection.
        collection: String,
        /// Index in the collection, from 0.
        index: usize,
        /// What is wrong.
        reason: TemplateProblem,
    },
    /// Hypernym templates without the choice of the bare noun.
    #[error(
        "the hypernym collections {} never show the bare noun; add an entry [1, null]",
        Names(collections)
    )]
    NoBareNoun {
        /// The chosen collections.
        collections: Vec<String>,
    },
    /// Nouns and prompts that do not combine to a single text.
    #[error(
        "no prompt text is left: {singular_prompts} singular and {plural_prompts} plural prompts, \
         but no noun of that number; choose other prompt collections"
    )]
    NoSamples {
        /// Number of singular prompts.
        singular_prompts: usize,
        /// Number of plural prompts.
        plural_prompts: usize,
    },
    /// More samples than a 64-bit number can count.
    #[error("the frequencies multiply to more than 2^63 samples; make them smaller")]
    TooManySamples,
    /// A sample number that does not exist.
    #[error("{kind} {id} is out of range: the noun dataset has {length} of them, from 0")]
    NoSuchSample {
        /// `FSID` or `USID`.
        kind: &'static str,
        /// The number asked for.
        id: u64,
        /// How many there are.
        length: u64,
    },
    /// A class name list that the product does not ship was not found.
    #[error(
        "the {variant} class names do not ship; put {file_name} into the data directory{}, or use \
         the variants \"clip\" or \"multi\"",
        InDirectory(directory)
    )]
    NoClassNameFile {
        /// The variant.
        variant: &'static str,
        /// The file that was looked for.
        file_name: &'static str,
        /// The directory that was looked in, if any.
        directory: Option<PathBuf>,
    },
    /// No list of class names is called so.
    #[error("there are no {name:?} class names; use one of {}", Names(available))]
    UnknownClassNames {
        /// The name asked for.
        name: String,
        /// The names that exist.
        available: Vec<String>,
    },
    /// A class name or prompt file has the wrong structure.
    #[error("{file} is not a list of names per dataset: {reason}")]
    NotAClassNameFile {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A classification dataset without prompts.
    #[error(
        "there are no zero-shot prompts for the dataset {dataset:?}; use one of {}",
        Names(available)
    )]
    NoZeroShotPrompts {
        /// The dataset.
        dataset: String,
        /// The datasets that have prompts.
        available: Vec<String>,
    },
    /// Classes that are called by ids.
    #[error(
        "class {class:?} of dataset {dataset} is a WordNet id, not a name; choose a list of class \
         names that has this dataset, rename the folders, or list the pictures with class names"
    )]
    ClassIsId {
        /// The dataset.
        dataset: String,
        /// The first such class.
        class: String,
    },
    /// Classes that no noun of the vocabulary names.
    #[error("{} of the classes have no noun in the vocabulary: {}", classes.len(), Names(classes))]
    ClassesWithoutNoun {
        /// The classes as given.
        classes: Vec<String>,
    },
    /// Class names that several nouns share, where that was not allowed.
    #[error(
        "these class names belong to several nouns: {}; name one noun each",
        Names(parts)
    )]
    AmbiguousClassNames {
        /// The parts of class names.
        parts: Vec<String>,
    },
    /// Texts of several nouns from a noun dataset with hypernyms.
    #[error("texts of several nouns cannot have hypernyms; set nouns.hypernyms = \"None\"")]
    MultisetWithHypernyms,
    /// No repetitions at all.
    #[error("multiset.freq asks for no samples; make one of its numbers at least 1")]
    EmptyMultiset,
    /// More samples than a cache can hold.
    #[error(
        "multiset.freq asks for {samples} samples, a cache ends at {}; use smaller numbers",
        u32::MAX
    )]
    MultisetTooLarge {
        /// Samples asked for.
        samples: u128,
    },
    /// JSON, but no caption file.
    #[error(
        "{file} is not a caption file: {reason}; it must be a list of objects with target_noun, \
         singular_captions and plural_captions"
    )]
    NotACaptionFile {
        /// The file.
        file: String,
        /// Line, column and reason.
        reason: String,
    },
    /// Captions of a noun break the rules.
    #[error("{file}, captions of {noun:?}: {problem}")]
    Caption {
        /// The file.
        file: String,
        /// The noun.
        noun: String,
        /// What is wrong.
        problem: CaptionProblem,
    },
    /// Neither templates nor samples per unit of frequency.
    #[error(
        "captions.templates is {templates} and captions.samples is {samples}; both must be at \
         least 1"
    )]
    CaptionMultipliers {
        /// Templates per unit of frequency.
        templates: u64,
        /// Samples per unit of frequency.
        samples: u64,
    },
    /// No caption fits the vocabulary.
    #[error(
        "no caption of {file} can be used: it has {unknown} nouns that are not in the vocabulary \
         and {known} that are; use the dictionary it was made for, or a smaller threshold"
    )]
    NoUsableCaption {
        /// The file.
        file: String,
        /// Nouns outside the vocabulary.
        unknown: u64,
        /// Nouns inside.
        known: u64,
    },
    /// The dictionary inside the program does not unpack.
    #[error("the embedded dictionary is damaged: {reason}; rebuild the program")]
    EmbeddedDictionary {
        /// What is wrong.
        reason: String,
    },
}

/// What is wrong with a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateProblem {
    /// Not a pair.
    #[error("an entry must be [frequency, template]")]
    NotAPair,
    /// Not an integer of at least 0.
    #[error("the frequency must be an integer of at least 0, not {0}")]
    Frequency(String),
    /// Neither a string nor, for hypernyms, null.
    #[error("the template must be a string, not {0}")]
    NotAString(String),
    /// Nothing but white space.
    #[error("the template is empty")]
    Empty,
    /// Braces that do not form exactly one field.
    #[error("{template:?} must have exactly one field in braces, one of {allowed}")]
    Fields {
        /// The template.
        template: String,
        /// The fields that are allowed.
        allowed: &'static str,
    },
    /// A field of another name.
    #[error("{template:?} has the field {{{field}}}; only {allowed} are allowed")]
    UnknownField {
        /// The template.
        template: String,
        /// The field.
        field: String,
        /// The fields that are allowed.
        allowed: &'static str,
    },
}

/// What is wrong with the captions of a noun.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CaptionProblem {
    /// The noun has an earlier entry.
    #[error("the noun has an entry already; merge the two")]
    RepeatedNoun,
    /// A caption twice in a list.
    #[error("{caption:?} occurs twice; remove one")]
    RepeatedCaption {
        /// The caption, with its final full stop.
        caption: String,
    },
    /// A caption without the noun's place.
    #[error("{caption:?} lacks {field}, the place of the noun")]
    NoField {
        /// The caption.
        caption: String,
        /// The field.
        field: &'static str,
    },
    /// Braces that are not those of the field.
    #[error("{caption:?} has braces other than {field}; remove them")]
    OtherBraces {
        /// The caption.
        caption: String,
        /// The field.
        field: &'static str,
    },
}

/// Quoted names, at most twelve.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        for (index, name) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{name:?}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ if self.0.is_empty() => write!(f, "none"),
            _ => Ok(()),
        }
    }
}

struct InDirectory<'a>(&'a Option<PathBuf>);

impl fmt::Display for InDirectory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(directory) => write!(f, " {}", directory.display()),
            None => Ok(()),
        }
    }
}
