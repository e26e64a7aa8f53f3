//! `[data]`, `[multiset]`, `[captions]`, `[images]` and `[merge]`: embedding
//! caches, and what they are made from.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::action::readers;
use super::choice::choice;
use super::leaf::{Kind, Leaf};
use super::section::section;

choice! {
    /// Number format of stored embeddings.
    pub enum Storage {
        /// Single precision, as in every file of the original.
        #[default]
        F32 = "f32",
        /// Half precision.
        F16 = "f16",
        /// Brain float.
        Bf16 = "bf16",
    }
}

choice! {
    /// Order in which training reads a cache.
    pub enum ReadOrder {
        /// Batches of neighbours in random order.
        #[default]
        Block = "block",
        /// Windows of 64 batches in random order, mixed inside: for caches whose rows are not in random order, and for slow disks.
        Shard = "shard",
        /// As the rows lie, from a random one on: for spinning disks.
        Sequential = "sequential",
    }
}

section! {
    /// Embedding datasets: where they are read from and written to.
    pub struct Data("data") {
        /// `NounDataset` (any case) or the path of an embedding cache.
        dataset: String = "NounDataset".to_owned() => flat("embedding_dataset").read_by(readers::DATASET);
        /// Several of these.
        datasets: Vec<String> = Vec::new() => flat("embedding_datasets").read_by(readers::MERGED_EVAL);
        /// Samples per batch.
        batch_size: usize = 512 => flat("batch_size").at_least(1.0).read_by(readers::BATCHES);
        /// Loader workers; 0: load in the calling thread. Capped at the batch size.
        workers: usize = 8 => flat("dataset_workers").read_by(readers::WORKERS);
        /// Order in which training reads the cache.
        order: ReadOrder = ReadOrder::Block => read_by(readers::TRAINING_DATA);
        /// Second place to look for a relative cache path; place for saved bare names.
        cache_dir: String = "$SOURCE/cache/embedding_cache".to_owned() => path().flat("embedding_cache_dir").read_by(readers::CACHE_USERS);
        /// Check the embedder and target hashes of caches.
        strict_embedder: bool = true => flat("strict_embedder").read_by(readers::CACHE_READERS);
        /// Number format in which embeddings are stored. `f16` and `bf16` halve caches; the original cannot read them.
        storage: Storage = Storage::F32 => read_by(readers::SAVERS);
        /// Part of a cache to make, such as `3/16`; empty: all of it. The same kind of stage joins the parts given as its inputs.
        shard: String = String::new() => form(shard).read_by(readers::SHARDED);
        /// Output cache of an action that writes one.
        save_cache: String = String::new() => path().flat("save_embedding_cache").read_by(readers::SAVERS);
    }
}

section! {
    /// Texts of several nouns.
    pub struct Multiset("multiset") {
        /// How many samples are made with 1, 2, 3, … nouns per text.
        freq: Vec<usize> = vec![1, 1] => flat("multi_target_freq").read_by(readers::MULTISET);
    }
}

section! {
    /// Captions.
    pub struct Captions("captions") {
        /// Captions JSON.
        path: String = String::new() => path().flat("captions_path").read_by(readers::CAPTIONS);
        /// At most this many caption templates per unit of noun frequency.
        templates: usize = 10 => flat("template_multiplier").at_least(1.0).read_by(readers::CAPTIONS);
        /// Exactly this many samples per unit of noun frequency; at least as many as templates.
        samples: usize = 20 => flat("sample_multiplier").at_least(1.0).read_by(readers::CAPTIONS);
        /// Print about this many samples.
        print: usize = 0 => flat("captions_print").read_by(readers::CAPTIONS);
    }
}

section! {
    /// Image files to embed.
    pub struct Images("images") {
        /// Image files and directories.
        paths: Vec<String> = Vec::new() => path().flat("images").read_by(readers::IMAGES);
    }
}

section! {
    /// Merging of caches.
    pub struct Merge("merge") {
        /// Keep the targets; none: automatic.
        save_targets: Option<bool> = None => flat("save_targets").read_by(readers::MERGE);
        /// Targets per sample in the output: the least or the most of the inputs, or a number.
        multi_mode: MultiMode = MultiMode::Max => flat("multi_mode").at_least(1.0).read_by(readers::MERGE);
        /// Name the inputs in a small file instead of copying them; it is read like the merged cache.
        r#virtual["virtual"]: bool = false => read_by(readers::MERGE);
    }
}

fn shard(text: &str) -> Result<(), String> {
    let parts = text
        .split_once('/')
        .and_then(|(number, of)| Some((number.parse::<u32>().ok()?, of.parse::<u32>().ok()?)));
    match parts {
        Some((number, of)) if (1..=of).contains(&number) => Ok(()),
        _ if text.is_empty() => Ok(()),
        _ => Err("expected a part such as 3/16, or nothing for all".to_owned()),
    }
}

/// Targets per sample of a merged cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiMode {
    /// As many as the input with the fewest.
    Min,
    /// As many as the input with the most.
    Max,
    /// This many.
    Count(usize),
}

impl Leaf for MultiMode {
    const KIND: Kind = Kind::ChoiceOrInt {
        names: &["min", "max"],
    };
}

impl Serialize for MultiMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Min => serializer.serialize_str("min"),
            Self::Max => serializer.serialize_str("max"),
            Self::Count(count) => count.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MultiMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = MultiMode;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("min, max or a whole number")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MultiMode, E> {
                match text {
                    "min" => Ok(MultiMode::Min),
                    "max" => Ok(MultiMode::Max),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<MultiMode, E> {
                usize::try_from(count)
                    .map(MultiMode::Count)
                    .map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<MultiMode, E> {
                usize::try_from(count)
                    .map(MultiMode::Count)
                    .map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
