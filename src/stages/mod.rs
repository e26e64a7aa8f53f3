//! One file per stage kind: the glue from typed configuration to the rooms
//! above. Implements the runner's trait.

mod cache_captions;
mod cache_cls;
mod cache_images;
mod cache_noun_dataset;
mod cache_noun_multiset;
mod cells;
mod class_lists;
mod collect_wiki_images;
mod convert_noun_dataset;
mod embedder_zero_shot;
mod eval;
mod eval_cls;
mod eval_cls_decoding;
mod fix_checkpoints;
mod format_preds;
mod format_wandb;
mod grid_progress;
mod image_set;
mod infer;
mod input_kinds;
mod inputs;
mod keys;
mod known_texts;
mod loaded_cache;
mod merge_caches;
mod noun_dataset;
mod noun_texts;
mod picture_cache;
mod pictures;
mod sample_images;
mod shard;
mod test_data_loader;
mod test_embed_cache;
mod text_cache;
mod train;
mod trained;

pub use input_kinds::input_problems;
pub use sample_images::{general_noun_vectors, picture_vectors};

use crate::runner::{Nothing, Registry};
use crate::store::Manifest;

/// All stage kinds of the program.
pub fn registry() -> Registry {
    Registry::new(&[
        &Nothing,
        &cache_captions::CacheCaptions,
        &cache_cls::CacheCls,
        &cache_images::CacheImages,
        &cache_noun_dataset::CacheNounDataset,
        &cache_noun_multiset::CacheNounMultiset,
        &collect_wiki_images::CollectWikiImages,
        &convert_noun_dataset::ConvertNounDataset,
        &embedder_zero_shot::EmbedderZeroShot,
        &eval::Eval,
        &eval_cls::EvalCls,
        &eval_cls_decoding::EvalClsDecoding,
        &fix_checkpoints::FixCheckpoints,
        &format_preds::FormatPreds,
        &format_wandb::FormatWandb,
        &infer::Infer,
        &merge_caches::MergeCaches,
        &sample_images::SampleImages,
        &test_data_loader::TestDataLoader,
        &test_embed_cache::TestEmbedCache,
        &train::Train,
    ])
    .with_cells(&[&cells::Table, &cells::Plot])
    .with_check(input_problems)
}

/// Whether an output reads its inputs for as long as it is there.
pub fn holds_inputs(output: &Manifest) -> bool {
    let mut files = output.files.iter();
    files.any(|file| file.path == text_cache::VIRTUAL_FILE)
}

#[cfg(test)]
mod key_tests;

#[cfg(test)]
mod tests {
    #[test]
    fn all_kinds_read_keys_that_exist() {
        super::registry()
            .check()
            .expect("every key and section exists");
    }
}
