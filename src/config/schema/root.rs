//! The whole configuration of a stage, and the table of its keys.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::key::Key;
use super::section::{Section, SetError};
use super::{
    AnnotateGpt, Captions, Checkpoint, Cls, Data, Embedder, Eval, ExperimentInfo, Generate, Hooks,
    Images, Infer, Launcher, Merge, Model, ModelPrice, Multiset, Needs, Noise, Nouns, Predictions,
    Run, Sample, Slots, StoreSettings, Tables, Target, Test, Tracking, Train, Wiki, ZeroShot,
};

macro_rules! config {
    ($( $(#[doc = $doc:literal])* $section:ident: $type:ident, )+) => {
        /// The whole configuration of a stage: a field per section.
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $( $(#[doc = $doc])* pub $section: $type, )+
        }

        /// Names of the sections, in the order of the documentation.
        pub const SECTIONS: &[&str] = &[$( stringify!($section) ),+];

        /// What they hold, in the same order.
        pub(super) const SECTION_DOCS: &[&str] = &[$( concat!($($doc),*) ),+];

        impl Config {
            /// Names of the sections that are not equal in both.
            pub fn unequal_sections(&self, other: &Config) -> Vec<&'static str> {
                let mut unequal = Vec::new();
                $( if self.$section != other.$section {
                    unequal.push(stringify!($section));
                } )+
                unequal
            }
        }

        impl Section for Config {
            fn collect(keys: &mut Vec<&'static Key>) {
                $( $type::collect(keys); )+
            }

            fn get(&self, path: &str) -> Option<Value> {
                let (section, name) = path.split_once('.')?;
                match section {
                    $( stringify!($section) => self.$section.get(name), )+
                    _ => None,
                }
            }

            fn set(&mut self, path: &str, value: &Value) -> Result<(), SetError> {
                let no_field = || SetError::NoField(path.to_owned());
                let (section, name) = path.split_once('.').ok_or_else(no_field)?;
                match section {
                    $( stringify!($section) => self.$section.set(name, value), )+
                    _ => Err(no_field()),
                }
            }
        }
    };
}

config! {
    /// How a stage is executed.
    run: Run,
    /// What a stage occupies while it runs.
    needs: Needs,
    /// How a run is named and grouped where its metrics go.
    tracking: Tracking,
    /// The model that embeds texts and images.
    embedder: Embedder,
    /// Embedding datasets.
    data: Data,
    /// The noun dictionary and the prompts.
    nouns: Nouns,
    /// Texts of several nouns.
    multiset: Multiset,
    /// Captions.
    captions: Captions,
    /// Image files to embed.
    images: Images,
    /// Merging of caches.
    merge: Merge,
    /// Classification image datasets.
    cls: Cls,
    /// How nouns become token targets.
    target: Target,
    /// The object decoder.
    model: Model,
    /// The training loop.
    train: Train,
    /// Noise added to embeddings in training.
    noise: Noise,
    /// Loading, resuming and saving of checkpoints.
    checkpoint: Checkpoint,
    /// Decoding of nouns.
    generate: Generate,
    /// Test of the data loader.
    test: Test,
    /// Zero-shot classification by the embedder alone.
    zero_shot: ZeroShot,
    /// Evaluation of decoders.
    eval: Eval,
    /// Nouns for own images and texts.
    infer: Infer,
    /// Prediction files.
    predictions: Predictions,
    /// Tables of the original.
    tables: Tables,
    /// Collection of encyclopaedia images.
    wiki: Wiki,
    /// Sampling of images.
    sample: Sample,
}

impl Config {
    /// Canonical JSON of the leaf at a dotted path.
    pub fn get(&self, path: &str) -> Option<Value> {
        Section::get(self, path)
    }

    /// Sets the leaf at a dotted path to a value of its kind.
    pub fn set(&mut self, path: &str, value: &Value) -> Result<(), SetError> {
        Section::set(self, path, value)
    }
}

struct Table {
    keys: Vec<&'static Key>,
    by_path: HashMap<&'static str, &'static Key>,
    by_flat: HashMap<&'static str, &'static Key>,
    document: Vec<&'static Key>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut keys = Vec::new();
    Config::collect(&mut keys);
    let mut document = Vec::new();
    ExperimentInfo::collect(&mut document);
    StoreSettings::collect(&mut document);
    Slots::collect(&mut document);
    Hooks::collect(&mut document);
    Launcher::collect(&mut document);
    AnnotateGpt::collect(&mut document);
    Table {
        by_path: keys.iter().map(|&key| (key.path, key)).collect(),
        by_flat: keys
            .iter()
            .filter_map(|&key| Some((key.flat?, key)))
            .collect(),
        keys,
        document,
    }
});

/// Every key, section by section.
pub fn keys() -> &'static [&'static Key] {
    &TABLE.keys
}

/// The key with a dotted path.
pub fn key(path: &str) -> Option<&'static Key> {
    TABLE.by_path.get(path).copied()
}

/// The key with a name of the original's flat dictionary.
pub fn key_by_flat_name(name: &str) -> Option<&'static Key> {
    TABLE.by_flat.get(name).copied()
}

/// Keys of `[experiment]` and `[store]`, which describe the experiment and are
/// no part of a stage's configuration.
pub fn document_keys() -> &'static [&'static Key] {
    &TABLE.document
}

/// Keys of `[annotate.gpt.price.MODEL]`, without the model.
pub fn price_keys() -> Vec<&'static Key> {
    let mut keys = Vec::new();
    ModelPrice::collect(&mut keys);
    keys
}

/// The one with a dotted path.
pub fn document_key(path: &str) -> Option<&'static Key> {
    TABLE.document.iter().copied().find(|key| key.path == path)
}
