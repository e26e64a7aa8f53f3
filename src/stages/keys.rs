//! Keys of the configuration that several kinds of stages read, by what they
//! are read for.

/// The embedder.
pub(super) const EMBEDDER: &[&str] = &["embedder.spec", "embedder.dtype"];

/// The nouns.
pub(super) const NOUNS: &[&str] = &["nouns.vocab_path", "nouns.vocab_threshold"];

/// The texts that are made of them, beside [`NOUNS`].
pub(super) const PROMPTS: &[&str] = &[
    "nouns.prompt_path",
    "nouns.prompts",
    "nouns.hypernyms",
    "nouns.text_rules",
    "nouns.article",
];

/// How nouns become tokens.
pub(super) const TOKENS: &[&str] = &[
    "target.start_token",
    "target.end_token",
    "target.compact_ids",
    "target.fixed_length",
    "target.auto_length",
    "target.masks",
];

/// A cache that is written as a whole or in parts.
pub(super) const WRITTEN_CACHE: &[&str] = &["data.shard", "data.storage"];

/// One classification dataset.
pub(super) const DATASET: &[&str] = &["cls.dataset", "cls.root", "cls.split"];

/// Where a cache of the configuration is, and whether it must be the
/// embedder's.
pub(super) const READ_CACHE: &[&str] = &["data.cache_dir", "data.strict_embedder"];

/// Number of keys in several lists.
pub(super) const fn total(lists: &[&[&str]]) -> usize {
    let (mut list, mut keys) = (0, 0);
    while list < lists.len() {
        keys += lists[list].len();
        list += 1;
    }
    keys
}

/// The keys of several lists, `N` in number.
pub(super) const fn join<const N: usize>(lists: &[&'static [&'static str]]) -> [&'static str; N] {
    let mut keys = [""; N];
    let (mut list, mut filled) = (0, 0);
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            keys[filled] = lists[list][at];
            filled += 1;
            at += 1;
        }
        list += 1;
    }
    keys
}

/// One list of the keys of several.
macro_rules! keys {
    ($($list:expr),+ $(,)?) => {{
        const LISTS: &[&[&str]] = &[$($list),+];
        const KEYS: [&str; $crate::stages::keys::total(LISTS)] =
            $crate::stages::keys::join(LISTS);
        &KEYS
    }};
}

pub(super) use keys;
