//! A dataset to evaluate on, and one pass over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::super::loaded_cache::resolve;
use super::super::{inputs, noun_texts};
use super::report;
use crate::cache::{
    Cache, CacheFile, DataConfig, Loader, LoaderInfo, LoaderMode, NounTable, OpenOptions,
    TargetConfig, Translation,
};
use crate::decoder::Dimensions;
use crate::decoder::generate::{DroppedNoun, EncodedNouns};
use crate::embedders::Embedder;
use crate::evaluate::{Subject, TokenEvaluation, TokenResults};
use crate::infer::TrainedDecoder;
use crate::runner::{StageContext, StageError};

/// Where the samples of a dataset are.
pub(super) enum Source {
    /// In an embedding cache.
    File(PathBuf),
    /// In the texts of `[nouns]`, embedded already if there is a text cache.
    Texts(Option<PathBuf>),
}

/// Samples that can be read.
enum Samples<'a> {
    File(&'a Path),
    Texts(Arc<Cache>),
}

/// A dataset with its own target and data configuration.
pub(super) struct Dataset<'a> {
    name: &'a str,
    samples: Samples<'a>,
    nouns: Vec<String>,
    target: TargetConfig,
    data: DataConfig,
}

impl<'a> Dataset<'a> {
    pub(super) fn open(
        context: &StageContext<'_>,
        embedder: &Embedder,
        name: &'a str,
        source: &'a Source,
    ) -> Result<Self, StageError> {
        match source {
            Source::File(path) => Self::of_file(context, embedder, name, path),
            Source::Texts(made) => {
                let (cache, target) = noun_texts::open(context, embedder, made.clone())?;
                let nouns = cache.nouns().map_or(&[][..], NounTable::valid).to_vec();
                let (nominal, strict) = cache.nominal();
                let data = resolve(context, &format!("{name}: "), (&nominal, &strict), &target)?;
                Ok(Self {
                    name,
                    samples: Samples::Texts(Arc::new(cache)),
                    nouns,
                    target,
                    data,
                })
            }
        }
    }

    fn of_file(
        context: &StageContext<'_>,
        embedder: &Embedder,
        name: &'a str,
        path: &'a Path,
    ) -> Result<Self, StageError> {
        let file = open(context, embedder, path)?;
        let nouns = file
            .nouns()
            .ok_or_else(|| StageError::failed(format!("{name} has no target nouns")))?;
        let options = inputs::target_options(context, &context.config().target);
        let tokenizer = embedder.tokenizer();
        let mut target = TargetConfig::build(tokenizer.as_ref(), nouns.valid(), &options)?;
        // All columns in every batch: further end tokens always fit.
        target.fixed_token_length |= context.config().eval.batch_independent;
        let (nominal, strict) = file.nominal();
        let data = resolve(context, &format!("{name}: "), (&nominal, &strict), &target)?;
        Ok(Self {
            name,
            samples: Samples::File(path),
            nouns: nouns.valid().to_vec(),
            target,
            data,
        })
    }

    /// The samples with the tokens of a model.
    fn enter(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        target: &TargetConfig,
    ) -> Result<Arc<Cache>, StageError> {
        let skips = context.config().eval.skip_unknown;
        if skips && !self.target.use_masks {
            return Err(StageError::failed(
                "eval.skip_unknown needs masks: set target.masks=true",
            ));
        }
        match &self.samples {
            Samples::File(path) => {
                let mut translation = Translation::new(&self.target, target)?;
                if skips {
                    translation = translation.leaving_out_unknown();
                }
                let file = open(context, embedder, path)?;
                Ok(Arc::new(
                    file.enter(Some(&self.target), Some(&translation))?,
                ))
            }
            Samples::Texts(cache) if self.target == *target => Ok(cache.clone()),
            Samples::Texts(_) => Err(StageError::failed(format!(
                "{}: texts are evaluated only with the tokens they are made for, and the model \
                 has others; give [nouns] and [target] of its training, or make an embedding \
                 cache of the texts with a stage of kind convert_noun_dataset",
                self.name
            ))),
        }
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
        let cache = self.enter(context, embedder, target)?;
        let batch_size = usize::try_from(cache.len())?.min(config.data.batch_size);
        let info = LoaderInfo::new(cache.len(), batch_size, LoaderMode::Evaluation, 1)?;
        let loader = Loader::new(cache, self.data, info, context.seed());
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
            leaves_out_absent: config.eval.skip_unknown,
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
