//! A cache that is read as training reads it: opened with targets, with the
//! target and data configurations of the stage.

use std::path::PathBuf;

use super::text_cache::cache_of;
use super::{inputs, noun_texts};
use crate::cache::{
    Cache, CacheFile, DataConfig, DataRequest, OpenOptions, ReadOrder, StrictFields, TargetConfig,
};
use crate::embedders::Embedder;
use crate::runner::{StageContext, StageError};

/// A cache and how its targets are delivered.
pub(super) struct LoadedCache {
    /// The cache.
    pub cache: Cache,
    /// Tokens of its nouns.
    pub target_config: TargetConfig,
    /// Form of its batches.
    pub data_config: DataConfig,
    /// Order in which training reads it.
    pub order: ReadOrder,
}

impl LoadedCache {
    /// Opens the input of the stage, or else `data.dataset`.
    pub(super) fn open(
        context: &StageContext<'_>,
        embedder: &Embedder,
    ) -> Result<Self, StageError> {
        if noun_texts::are_wanted(context) {
            let made = noun_texts::text_cache(context.inputs())?;
            let (cache, target_config) = noun_texts::open(context, embedder, made)?;
            let (nominal, strict) = cache.nominal();
            let data_config = resolve(context, "", (&nominal, &strict), &target_config)?;
            return Ok(Self {
                cache,
                target_config,
                data_config,
                order: ReadOrder::Single,
            });
        }
        let config = context.config();
        let file = CacheFile::open(
            path(context)?,
            &inputs::signature(embedder),
            OpenOptions {
                use_targets: Some(true),
                strict: config.data.strict_embedder,
            },
        )?;
        let nouns = file
            .nouns()
            .ok_or_else(|| StageError::failed("the cache has no target nouns to learn"))?;
        let tokenizer = embedder.tokenizer();
        let options = inputs::target_options(context, &config.target);
        let target_config = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
        let (nominal, strict) = file.nominal();
        let data_config = resolve(context, "", (&nominal, &strict), &target_config)?;
        Ok(Self {
            cache: file.enter(Some(&target_config), None)?,
            target_config,
            data_config,
            order: inputs::read_order(config),
        })
    }
}

/// How targets are delivered: what the configuration asks for, of what there is.
/// Warnings begin with `whose`.
pub(super) fn resolve(
    context: &StageContext<'_>,
    whose: &str,
    (nominal, strict): (&DataConfig, &StrictFields),
    target_config: &TargetConfig,
) -> Result<DataConfig, StageError> {
    let target = &context.config().target;
    let request = DataRequest {
        use_weights: target.weights,
        multi_target: target.multi,
        multi_first: target.multi_first,
        fixed_multi_length: target.fixed_multi,
        ..DataRequest::default()
    };
    let data_config = DataConfig::resolve(nominal, strict, &request, true)?;
    for notice in data_config.check(nominal, true, target_config.use_masks)? {
        context.warn(&format!("{whose}{notice}"));
    }
    Ok(data_config)
}

fn path(context: &StageContext<'_>) -> Result<PathBuf, StageError> {
    match context.inputs() {
        [] => Ok(inputs::cache_path(
            context.project(),
            context.config(),
            &context.config().data.dataset,
        )),
        [input] => cache_of(&input.entry),
        _ => Err(StageError::failed(
            "one cache is needed, not several; put a merge_caches stage before",
        )),
    }
}
