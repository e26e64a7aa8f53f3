//! The twenty actions of the original, which are the kinds of stages, and the
//! groups of actions that read the same keys.

use super::choice::choice;

choice! {
    /// What a stage does: one of the twenty action names.
    pub enum Action {
        /// One epoch over a dataset with consistency checks and a speed measurement.
        TestDataLoader = "test_data_loader",
        /// Writes and re-reads temporary caches.
        TestEmbedCache = "test_embed_cache",
        /// Zero-shot accuracy of the embedder on a classification dataset.
        EmbedderZeroShot = "embedder_zero_shot",
        /// Makes sure the embedded text cache of the noun dataset exists.
        CacheNounDataset = "cache_noun_dataset",
        /// Noun dataset to embedding cache.
        ConvertNounDataset = "convert_noun_dataset",
        /// Multi-noun texts to embedding cache.
        CacheNounMultiset = "cache_noun_multiset",
        /// Captions to embedding cache.
        CacheCaptions = "cache_captions",
        /// Classification images to embedding cache.
        CacheCls = "cache_cls",
        /// Image files to an embedding cache without targets.
        CacheImages = "cache_images",
        /// Several caches to one.
        MergeCaches = "merge_caches",
        /// Trains a decoder.
        #[default]
        Train = "train",
        /// Adds missing noun lists to old checkpoints.
        FixCheckpoints = "fix_checkpoints",
        /// Token and noun accuracy on embedding datasets.
        Eval = "eval",
        /// Accuracy on one classification image dataset.
        EvalCls = "eval_cls",
        /// Accuracy on classification datasets for many decoding configurations.
        EvalClsDecoding = "eval_cls_decoding",
        /// Nouns for own images and texts.
        Infer = "infer",
        /// Table from prediction files.
        FormatPreds = "format_preds",
        /// Table from tracked runs.
        FormatWandb = "format_wandb",
        /// Downloads encyclopaedia images for nouns.
        CollectWikiImages = "collect_wiki_images",
        /// Draws images from a directory.
        SampleImages = "sample_images",
    }
}

impl Action {
    /// The three-letter code that the table of keys uses.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TestDataLoader => "tdl",
            Self::TestEmbedCache => "tec",
            Self::EmbedderZeroShot => "ezs",
            Self::CacheNounDataset => "cnd",
            Self::ConvertNounDataset => "cvn",
            Self::CacheNounMultiset => "cnm",
            Self::CacheCaptions => "cap",
            Self::CacheCls => "ccl",
            Self::CacheImages => "cim",
            Self::MergeCaches => "mrg",
            Self::Train => "trn",
            Self::FixCheckpoints => "fix",
            Self::Eval => "evl",
            Self::EvalCls => "evc",
            Self::EvalClsDecoding => "evd",
            Self::Infer => "inf",
            Self::FormatPreds => "fpr",
            Self::FormatWandb => "fwb",
            Self::CollectWikiImages => "wik",
            Self::SampleImages => "smp",
        }
    }
}

/// Groups of actions that read a key, under some setting of the other keys.
pub mod readers {
    use super::Action::{self, *};

    /// Read at program start, for every action.
    pub const START: &[Action] = Action::ALL;
    /// Actions that create an embedder.
    pub const EMBEDDER: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        EmbedderZeroShot,
        CacheNounDataset,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        CacheImages,
        MergeCaches,
        Train,
        FixCheckpoints,
        Eval,
        EvalCls,
        EvalClsDecoding,
        Infer,
        CollectWikiImages,
        SampleImages,
    ];
    /// Actions that build a decoder.
    pub const DECODER: &[Action] = &[Train, Eval, EvalCls, EvalClsDecoding, Infer];
    /// Actions that generate a target configuration.
    pub const TARGET: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        CacheNounDataset,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        MergeCaches,
        Train,
        Eval,
        EvalCls,
    ];
    /// Actions that generate a target configuration or build a decoder.
    pub const TARGET_OR_DECODER: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        CacheNounDataset,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        MergeCaches,
        Train,
        Eval,
        EvalCls,
        EvalClsDecoding,
        Infer,
    ];
    /// Actions that generate a data configuration.
    pub const DATA_CONFIG: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        CacheNounDataset,
        Train,
        Eval,
        EvalCls,
    ];
    /// Actions that load the text noun dataset.
    pub const NOUNS: &[Action] = &[
        CacheNounDataset,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        EvalCls,
        EvalClsDecoding,
        CollectWikiImages,
        EmbedderZeroShot,
        FixCheckpoints,
        TestDataLoader,
        Train,
        Eval,
        Infer,
    ];
    /// The same without class decoding, which always takes every noun.
    pub const NOUN_THRESHOLD: &[Action] = &[
        CacheNounDataset,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        EvalCls,
        CollectWikiImages,
        EmbedderZeroShot,
        FixCheckpoints,
        TestDataLoader,
        Train,
        Eval,
        Infer,
    ];
    /// Actions that use the embedded cache of the noun dataset if they may.
    pub const NOUN_CACHE: &[Action] = &[TestDataLoader, Train, Eval, Infer, FixCheckpoints];
    /// Actions that may write that cache.
    pub const NOUN_RECACHE: &[Action] = &[
        TestDataLoader,
        Train,
        Eval,
        Infer,
        FixCheckpoints,
        CacheNounDataset,
    ];
    /// Actions that write the texts of the noun dataset into the store.
    pub const TEXT_CACHE: &[Action] = &[CacheNounDataset];
    /// Actions that read embedding caches.
    pub const CACHE_READERS: &[Action] = &[
        TestDataLoader,
        Train,
        FixCheckpoints,
        Eval,
        Infer,
        MergeCaches,
    ];
    /// Actions that write an embedding cache.
    pub const SAVERS: &[Action] = &[
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        CacheImages,
        MergeCaches,
    ];
    /// Actions that can write a part of an embedding cache.
    pub const SHARDED: &[Action] = &[
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        CacheImages,
    ];
    /// Actions that read or write embedding caches.
    pub const CACHE_USERS: &[Action] = &[
        TestDataLoader,
        Train,
        Eval,
        Infer,
        FixCheckpoints,
        MergeCaches,
        ConvertNounDataset,
        CacheNounMultiset,
        CacheCaptions,
        CacheCls,
        CacheImages,
    ];
    /// Actions that open one embedding dataset.
    pub const DATASET: &[Action] = &[TestDataLoader, Train, Eval, FixCheckpoints];
    /// Actions that load batches.
    pub const BATCHES: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        MergeCaches,
        Train,
        Eval,
        FixCheckpoints,
        Infer,
    ];
    /// Actions that read data as training does.
    pub const TRAINING_DATA: &[Action] = &[TestDataLoader, Train];
    /// Actions that start loader workers.
    pub const WORKERS: &[Action] = &[
        TestDataLoader,
        TestEmbedCache,
        Train,
        Eval,
        EmbedderZeroShot,
        CacheCls,
        CacheImages,
        EvalCls,
        EvalClsDecoding,
    ];
    /// Actions on classification image datasets.
    pub const CLS: &[Action] = &[EmbedderZeroShot, CacheCls, EvalCls, EvalClsDecoding];
    /// Those of them with a choice of class names.
    pub const CLASS_NAMES: &[Action] = &[CacheCls, EvalCls, EvalClsDecoding];
    /// Actions that load checkpoints.
    pub const CHECKPOINT: &[Action] =
        &[Train, Eval, EvalCls, EvalClsDecoding, Infer, FixCheckpoints];
    /// Actions that load several checkpoints.
    pub const CHECKPOINTS: &[Action] = &[Eval, EvalCls, EvalClsDecoding, Infer, FixCheckpoints];
    /// Evaluating actions.
    pub const EVALUATION: &[Action] = &[Eval, EvalCls, EvalClsDecoding];
    /// Actions that decode nouns.
    pub const GENERATE: &[Action] = &[EvalClsDecoding, Infer];
    /// Actions that name one decoding configuration.
    pub const GENERATE_ONE: &[Action] = &[EvalClsDecoding, Infer, FormatWandb];
    /// Inference and the table of its results.
    pub const INFER_TABLE: &[Action] = &[Infer, FormatWandb];
    /// Training and the test of its loader.
    pub const ACCUMULATION: &[Action] = &[Train, TestDataLoader];
    /// The training action alone.
    pub const TRAIN: &[Action] = &[Train];
    /// Actions that embed single-action groups below.
    pub const TEST: &[Action] = &[TestDataLoader];
    pub const ZERO_SHOT: &[Action] = &[EmbedderZeroShot];
    pub const MULTISET: &[Action] = &[CacheNounMultiset];
    pub const CAPTIONS: &[Action] = &[CacheCaptions];
    pub const IMAGES: &[Action] = &[CacheImages];
    pub const MERGE: &[Action] = &[MergeCaches];
    pub const FIX: &[Action] = &[FixCheckpoints];
    pub const EVAL: &[Action] = &[Eval];
    pub const EVAL_CLS: &[Action] = &[EvalCls];
    pub const EVAL_CLS_DECODING: &[Action] = &[EvalClsDecoding];
    pub const INFER: &[Action] = &[Infer];
    pub const PREDS_TABLE: &[Action] = &[FormatPreds];
    pub const RUNS_TABLE: &[Action] = &[FormatWandb];
    pub const WIKI: &[Action] = &[CollectWikiImages];
    pub const SAMPLE: &[Action] = &[SampleImages];
    pub const MERGED_EVAL: &[Action] = &[Eval, MergeCaches];
}
