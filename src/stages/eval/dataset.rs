//! A dataset to evaluate on, and one pass over it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::super::inputs;
use super::report;
use crate::cache::{
    CacheFile, DataConfig, DataRequest, Loader, LoaderInfo, LoaderMode, OpenOptions, TargetConfig,
    Translation,
};
use crate::decoder::Dimensions;
use crate::decoder::generate::{DroppedNoun, EncodedNouns};
use crate::embedders::Embedder;
use crate::evaluate::{Subject, TokenEvaluation, TokenResults};
use crate::infer::TrainedDecoder;
use crate::runner::{StageContext, StageError};

/// An embedding cache with its own target and data configuration.
pub(super) struct Dataset<'a> {
    name: &'a str,
    path: &'a Path,
    nouns: Vec<String>,
    target: TargetConfig,
    data: DataConfig,
}

impl<'a> Dataset<'a> {
    pub(super) fn open(
        context: &StageContext<'_>,
        embedder: &Embedder,
        name: &'a str,
        path: &'a Path,
    ) -> Result<Self, StageError> {
        let file = open(context, embedder, path)?;
        let nouns = file
            .nouns()
            .ok_or_else(|| StageError::failed(format!("{name} has no target nouns")))?;
        let wished = &context.config().target;
        let options = inputs::target_options(context, wished);
        let tokenizer = embedder.tokenizer();
        let mut target = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
        // All columns in every batch: further end tokens always fit.
        target.fixed_token_length |= context.config().eval.batch_independent;
        let (nominal, strict) = file.nominal();
        let request = DataRequest {
            use_weights: wished.weights,
            multi_target: wished.multi,
            multi_first: wished.multi_first,
            fixed_multi_length: wished.fixed_multi,
            ..DataRequest::default()
        };
        let data = DataConfig::resolve(&nominal, &strict, &request, true)?;
        for notice in data.check(&nominal, true, target.use_masks)? {
            context.warn(&format!("{name}: {notice}"));
        }
        Ok(Self {
            name,
            path,
            nouns: nouns.valid().to_vec(),
            target,
            data,
        })
    }

    /// A model with random weights for its nouns.
    pub(super) fn random_model(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
    ) -> Result<Subject, StageError> {
        let dimensions = Dimensions {
            embed_dim: embedder.dim(),
            vocab_size: self.target.vocab_size,
            token_length: self.target.token_length,
        };
        Ok(Subject::new(context.config(), dimensions, context.seed())?)
    }

    /// What it says of a model, and the seconds that took.
    pub(super) fn evaluate(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        model: Option<&TrainedDecoder>,
        subject: &Subject,
    ) -> Result<(TokenResults, f64), StageError> {
        let config = context.config();
        let target = model.map_or(&self.target, |model| &model.target);
        let mut translation = Translation::new(&self.target, target)?;
        let skips = config.eval.skip_unknown;
        if skips && !self.target.use_masks {
            return Err(StageError::failed(
                "eval.skip_unknown needs masks: set target.masks=true",
            ));
        }
        if skips {
            translation = translation.leaving_out_unknown();
        }
        let cache = open(context, embedder, self.path)?;
        let cache = cache.enter(Some(&self.target), Some(&translation))?;
        let batch_size = usize::try_from(cache.len())?.min(config.data.batch_size);
        let info = LoaderInfo::new(cache.len(), batch_size, LoaderMode::Evaluation, 1)?;
        let loader = Loader::new(Arc::new(cache), self.data, info, context.seed());
        let guide = if config.eval.guided {
            let nouns = EncodedNouns::new(target, embedder.tokenizer().as_ref(), &self.nouns)?;
            warn_of_dropped(context, self.name, &nouns.dropped);
            Some(nouns.trie()?)
        } else {
            None
        };
        let model_config = model.map_or(config, |model| &model.config);
        let evaluation = TokenEvaluation {
            subject,
            guide: guide.as_ref(),
            dropout_seed: config.eval.train_mode.then_some(context.seed()),
            num_end_loss: model_config.model.num_end_loss,
            leaves_out_absent: skips,
        };
        context.begin("samples", 0, Some(loader.cache().len()));
        let start = Instant::now();
        let (results, first) = evaluation.run(&loader, &self.target, |done| {
            context.reach(done);
            !context.is_interrupted()
        })?;
        let elapsed = start.elapsed().as_secs_f64();
        context.check_interrupt()?;
        if let (true, Some(first), Subject::Decoder(_)) = (config.eval.debug, &first, subject) {
            report::first_batch(context, embedder, target, subject, guide.as_ref(), first)?;
        }
        Ok((results, elapsed))
    }
}

fn open(
    context: &StageContext<'_>,
    embedder: &Embedder,
    path: &Path,
) -> Result<CacheFile, StageError> {
    let options = OpenOptions {
        use_targets: Some(true),
        strict: context.config().data.strict_embedder,
    };
    Ok(CacheFile::open(
        path,
        &inputs::signature(embedder),
        options,
    )?)
}

fn warn_of_dropped(context: &StageContext<'_>, dataset: &str, dropped: &[DroppedNoun]) {
    if dropped.is_empty() {
        return;
    }
    let names: Vec<&str> = dropped
        .iter()
        .map(|dropped| dropped.noun.as_str())
        .collect();
    context.warn(&format!(
        "{dataset}: the model cannot write these nouns, so they guide nothing: {}",
        names.join(", ")
    ));
}
