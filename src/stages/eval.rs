//! `eval`: loss, token accuracy and noun accuracy of decoders on embedding
//! caches, under teacher forcing (`training.md` 4).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::text_cache::CACHE_FILE;
use super::{inputs, pictures, trained};
use crate::cache::{
    CacheFile, DataConfig, DataRequest, Loader, LoaderInfo, LoaderMode, OpenOptions, TargetConfig,
    Translation,
};
use crate::config::compare::{self, Weight};
use crate::config::keys_read;
use crate::config::schema::{Action, Key};
use crate::decoder::Dimensions;
use crate::decoder::generate::{
    DroppedNoun, EncodedNouns, GenerationConfig, Generator, Guiding, NounReader, NounTrie,
};
use crate::embedders::Embedder;
use crate::evaluate::{FirstBatch, Subject, TokenEvaluation, TokenResults};
use crate::infer::TrainedDecoder;
use crate::reports::record::Record;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::tracking::Value;

/// The stage kind.
#[derive(Debug)]
pub(super) struct Eval;

impl StageKind for Eval {
    fn name(&self) -> &'static str {
        "eval"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "embedder.spec",
            "data.dataset",
            "data.datasets",
            "data.batch_size",
            "data.cache_dir",
            "data.strict_embedder",
            "target",
            "model",
            "eval.train_mode",
            "eval.guided",
            "eval.debug",
            "eval.batch_independent",
            "checkpoint.load",
            "checkpoint.load_many",
            "checkpoint.per_dir",
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        if !query.inputs.iter().any(|kind| is_cache(kind)) {
            for name in datasets(query.config) {
                let path = inputs::cache_path(query.project, query.config, &name);
                let path = path.display().to_string();
                resources.push(inputs::file(query, "cache", &path, "cache")?);
            }
        }
        resources.extend(trained::all_resources(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let paths = trained::paths(context)?;
        if paths.is_empty() {
            context.warn(
                "no checkpoint was found: a model with random weights is evaluated; set \
                 checkpoint.load or checkpoint.load_many",
            );
        }
        let models = models(context, self, &embedder, &paths)?;
        let datasets = dataset_files(context)?;
        let mut records = Vec::new();
        let mut summary = Vec::new();
        for (name, path) in &datasets {
            let dataset = Dataset::open(context, &embedder, name, path)?;
            if models.is_empty() {
                let random = dataset.random_model(context, &embedder)?;
                let results = dataset.evaluate(context, &embedder, None, &random)?;
                report(context, &mut records, &mut summary, name, None, results)?;
            }
            for model in &models {
                context.check_interrupt()?;
                let results = dataset.evaluate(context, &embedder, Some(model), &model.subject)?;
                report(
                    context,
                    &mut records,
                    &mut summary,
                    name,
                    Some(model),
                    results,
                )?;
            }
        }
        pictures::write_records(context, &records)?;
        Ok(StageOutput::of(json!({ "summary": summary.join("; ") })))
    }
}

/// Whether a stage of this kind makes caches.
fn is_cache(kind: &str) -> bool {
    kind != "train"
}

/// Names of the datasets of a configuration.
fn datasets(config: &crate::config::schema::Config) -> Vec<String> {
    if config.data.datasets.is_empty() {
        vec![config.data.dataset.clone()]
    } else {
        config.data.datasets.clone()
    }
}

/// Datasets by name with their files.
fn dataset_files(context: &StageContext<'_>) -> Result<Vec<(String, PathBuf)>, StageError> {
    let made: Vec<_> = (context.inputs().iter())
        .filter(|input| is_cache(&input.entry.manifest().kind))
        .map(|input| Ok((input.stage.clone(), input.entry.file(CACHE_FILE)?)))
        .collect::<Result<_, StageError>>()?;
    if !made.is_empty() {
        return Ok(made);
    }
    let config = context.config();
    let path = |name: &str| inputs::cache_path(context.project(), config, name);
    let named = datasets(config).into_iter();
    Ok(named.map(|name| (name.clone(), path(&name))).collect())
}

fn models(
    context: &StageContext<'_>,
    kind: &Eval,
    embedder: &Embedder,
    paths: &[PathBuf],
) -> Result<Vec<TrainedDecoder>, StageError> {
    let identity = embedder.identity()?.to_hex();
    let read = keys_read(kind.reads())?;
    let mut models = Vec::with_capacity(paths.len());
    for path in paths {
        let used = context.config();
        let given = |key: &Key| compare::differs_from_default(used, key);
        let model = TrainedDecoder::load(path, used, given)?;
        let name = model.path.display();
        if model.is_of_other_embedder(identity.as_str()) || model.header.embed_dim != embedder.dim()
        {
            return Err(StageError::failed(format!(
                "{name} was trained on another embedder than {}",
                context.config().embedder.spec
            )));
        }
        for note in &model.notes {
            context.warn(&format!("{name}: {note}"));
        }
        let loaded = &model.header.cfg_flat;
        for difference in compare::differences(loaded, &model.config, Action::Eval) {
            let is_read = read.iter().any(|key| key.path == difference.key.path);
            if is_read && difference.weight <= Weight::Relevant {
                context.warn(&format!("{name}: {difference}"));
            }
        }
        models.push(model);
    }
    Ok(models)
}

/// An embedding cache with its own target and data configuration.
struct Dataset<'a> {
    name: &'a str,
    path: &'a Path,
    nouns: Vec<String>,
    target: TargetConfig,
    data: DataConfig,
}

impl<'a> Dataset<'a> {
    fn open(
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

    fn random_model(
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

    fn evaluate(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        model: Option<&TrainedDecoder>,
        subject: &Subject,
    ) -> Result<(TokenResults, f64), StageError> {
        let config = context.config();
        let target = model.map_or(&self.target, |model| &model.target);
        let translation = Translation::new(&self.target, target)?;
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
            debug(context, embedder, target, subject, guide.as_ref(), first)?;
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

/// First target → greedy decoding of the first batch; with guiding the guided
/// one, the other in brackets.
fn debug(
    context: &StageContext<'_>,
    embedder: &Embedder,
    target: &TargetConfig,
    subject: &Subject,
    guide: Option<&NounTrie>,
    first: &FirstBatch,
) -> Result<(), StageError> {
    let Subject::Decoder(decoder) = subject else {
        return Ok(());
    };
    let tokenizer = embedder.tokenizer();
    let reader = NounReader {
        target,
        tokenizer: tokenizer.as_ref(),
    };
    let greedy = |guide: Option<&NounTrie>| -> Result<Vec<String>, StageError> {
        let configuration = GenerationConfig {
            guide: match guide {
                Some(_) => Guiding::Plain,
                None => Guiding::None,
            },
            .."greedy_k1_vnone_gn_t1_a0".parse()?
        };
        let generator = Generator::new(decoder, configuration, guide, None)?;
        let mut texts = Vec::new();
        for hypotheses in generator.generate(&first.embeds)? {
            let predictions = reader.predictions(hypotheses, false)?;
            let best = predictions.into_iter().next();
            texts.push(best.map_or_else(String::new, |best| best.text));
        }
        Ok(texts)
    };
    let free = greedy(None)?;
    let guided = guide.map(|guide| greedy(Some(guide))).transpose()?;
    for (sample, ids) in first.targets.iter().enumerate() {
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let truth = target.detokenize(tokenizer.as_ref(), &ids)?;
        let verdict = if first.right[sample] {
            "right"
        } else {
            "wrong"
        };
        let written = match &guided {
            Some(guided) => format!("{} [{}]", guided[sample], free[sample]),
            None => free[sample].clone(),
        };
        context.note(&format!("{truth} → {written} ({verdict})"));
    }
    Ok(())
}

/// Records, tracks and prints what a dataset says of a model.
fn report(
    context: &StageContext<'_>,
    records: &mut Vec<Record>,
    summary: &mut Vec<String>,
    dataset: &str,
    model: Option<&TrainedDecoder>,
    (results, elapsed): (TokenResults, f64),
) -> Result<(), StageError> {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let path = model.map(|model| model.path.as_path());
    let texts = [
        ("dataset", dataset.to_owned()),
        ("model_path", part(path.map(Path::as_os_str))),
        (
            "model_dir",
            part(path.and_then(Path::parent).and_then(Path::file_name)),
        ),
        ("model_name", part(path.and_then(Path::file_name))),
    ];
    let mut metrics = results.metrics();
    metrics.push(("elapsed_time".to_owned(), elapsed));
    let mut record = Record::new();
    let mut row: Vec<(String, Value)> = Vec::new();
    for (name, text) in texts {
        record.set(name, text.clone());
        row.push((format!("Eval/{name}"), Value::Text(text)));
    }
    for (name, number) in metrics {
        record.set(&name, number);
        row.push((format!("Eval/{name}"), Value::Number(number)));
    }
    let row: Vec<(&str, Value)> = row
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    context.metrics()?.row(&row);
    let name = record.text("model_name").unwrap_or_default().to_owned();
    let name = if name.is_empty() {
        "random weights".to_owned()
    } else {
        name
    };
    context.note(&format!(
        "{dataset}, {name}: {} samples, {} valid targets, {} batches; loss {:.4}, noun top-1 \
         {:.2} %, token top-1 {:.2} %",
        results.num_samples,
        results.num_valid_targets,
        results.num_batches,
        results.loss,
        results.noun_top1 * 100.0,
        results.top1 * 100.0,
    ));
    let columns = (results.top1_at.iter().zip(&results.tokens_at))
        .map(|(top1, tokens)| format!("{:.2} % of {tokens}", top1 * 100.0));
    let columns: Vec<String> = columns.collect();
    context.note(&format!("token top-1 by position: {}", columns.join(", ")));
    summary.push(format!(
        "{dataset}: noun top-1 {:.1} %",
        results.noun_top1 * 100.0
    ));
    records.push(record);
    Ok(())
}
