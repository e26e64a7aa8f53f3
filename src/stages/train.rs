//! `train`: an embedding cache → a trained object decoder, resumable at any
//! moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use serde_json::{Map, Value, json};

use super::keys::{EMBEDDER, NOUNS, PROMPTS, READ_CACHE, keys};
use super::loaded_cache::LoadedCache;
use super::{inputs, noun_texts, trained};
use crate::cache::{
    Accumulation, Cache, DataConfig, Loader, LoaderInfo, LoaderMode, ReadOrder, TargetConfig,
};
use crate::config::compare::{self, Weight};
use crate::config::keys_read;
use crate::config::schema::{Action, CheckpointExport, Config, Key, ModelType};
use crate::decoder::checkpoint::{CheckpointHeader, FORMAT_VERSION};
use crate::decoder::noise::EmbeddingNoise;
use crate::decoder::{Autocast, Decoder, Dimensions};
use crate::embedders::Embedder;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::tracking::{self, StageLog};
use crate::train::exchange::{self, Form};
use crate::train::metrics::{
    BatchProgress, ChunkRecord, EndRecord, EpochRecord, Metric, StartRecord,
};
use crate::train::{
    CheckpointFolder, DataSize, DecoderLearner, KeepPolicy, LoaderSource, LoopConfig, MeanShift,
    Observer, OptimizerSettings, Outcome, ScheduleSettings, StopRule, TrainError, Trainer,
};

/// Time between two points from which a killed training goes on.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// Metrics of the row at the end of an epoch.
const EPOCH_ROW: [&str; 3] = {
    let [epoch, epoch_time] = EpochRecord::NAMES;
    [epoch, epoch_time, "batch"]
};

/// The stage kind.
#[derive(Debug)]
pub(super) struct Train;

impl StageKind for Train {
    fn name(&self) -> &'static str {
        "train"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            NOUNS,
            PROMPTS,
            READ_CACHE,
            &[
                "data.dataset",
                "data.batch_size",
                "data.order",
                "nouns.cache",
                "target",
                "model",
                "noise",
                "train",
                "checkpoint.load",
                "checkpoint.resume",
                "checkpoint.resume_lr",
                "checkpoint.save_every_min",
                "checkpoint.save_every_max",
                "checkpoint.save_top1_min",
                "checkpoint.save_top1_delta",
                "checkpoint.keep_last",
                "checkpoint.keep_best",
                "checkpoint.keep_every",
                "checkpoint.export",
            ]
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn rows(&self) -> Option<&'static [&'static [&'static str]]> {
        Some(&[&ChunkRecord::NAMES, &EPOCH_ROW])
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let config = query.config;
        let mut resources = vec![inputs::embedder(query)?];
        if query.inputs.is_empty() && noun_texts::is_named(&config.data.dataset) {
            resources.extend(noun_texts::resources(query)?);
        } else if query.inputs.is_empty() {
            let path = inputs::cache_path(query.project, config, &config.data.dataset);
            resources.push(inputs::file(query, "cache", &path.display().to_string())?);
        }
        if config.train.mean_shift.enabled {
            let path = mean_shift_path(config)?;
            resources.push(inputs::file(query, "mean shift", &path)?);
        }
        if !config.checkpoint.load.is_empty() {
            let path = &config.checkpoint.load;
            resources.push(trained::start_resource(query, path)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let data = TrainingData::open(context, &embedder)?;
        let start = start_checkpoint(context);
        let config = match &start {
            Some(path) => with_start(context, self, path)?,
            None => context.config().clone(),
        };
        if config.model.r#type == ModelType::DudDecoder {
            return Err(StageError::failed(
                "model.type = \"DudDecoder\" has no parameters to train; evaluate it with a stage \
                 of kind `eval`",
            ));
        }
        let autocast = autocast(context, &config);
        let mut learner = learner(context, &config, &embedder, &data)?;
        if !context.device().is_cpu() {
            learner = learner.with_composed(autocast);
        }
        let samples = data.cache.len();
        let valid_nouns = data.nouns().len().saturating_sub(1) as u64;
        let (loop_config, mut source) = data.into_loop(context)?;
        if let (Some(path), false) = (&start, config.checkpoint.resume) {
            learner.load_weights(path)?;
        }
        let mut trainer = Trainer::new(
            &mut learner,
            &mut source,
            loop_config,
            OptimizerSettings::from(&config.train.optimizer),
            &ScheduleSettings::from(&config.train.lr),
            CheckpointFolder::new(
                context.out().to_owned(),
                context.work().to_owned(),
                CHECKPOINT_EVERY,
            )?
            .keeping(KeepPolicy::from(&config.checkpoint)),
        )?
        .stopping_by(StopRule::from(&config.train.stop));
        if autocast.needs_scaled_loss() {
            trainer = trainer.scaling_losses();
        }
        for warning in trainer.resume_latest()? {
            context.warn(&warning);
        }
        if let (Some(path), true, 1) = (&start, config.checkpoint.resume, trainer.state().batch_id)
        {
            for warning in trainer.resume_from(path)? {
                context.warn(&warning);
            }
            trainer.forget_stop();
            if !config.checkpoint.resume_lr {
                trainer.replan(&ScheduleSettings::from(&config.train.lr))?;
            }
        }
        let mut observer = RunObserver::new(context, &loop_config)?;
        let outcome = trainer.run(&mut observer).inspect_err(|error| {
            if let TrainError::NotFinite { what, .. } = error {
                context.not_finite(what);
            }
        })?;
        match outcome {
            Outcome::Interrupted { .. } => Err(StageError::Interrupted),
            Outcome::Finished { checkpoint } => {
                let checkpoint = checkpoint
                    .ok_or_else(|| StageError::failed("the training ended without a checkpoint"))?;
                let averages = trainer.state().averages;
                Ok(StageOutput::of(json!({
                    "summary": format!(
                        "loss {:.3}, token top-1 {:.1} % after {} samples",
                        averages.loss.unwrap_or(f64::NAN),
                        averages.top1 * 100.0,
                        trainer.state().sample_id - 1
                    ),
                    "checkpoint": checkpoint.file_name().map(|name| name.to_string_lossy()),
                    "loss": averages.loss,
                    "top1": averages.top1 * 100.0,
                    "samples": samples,
                    "nouns": valid_nouns,
                    "sample": trainer.state().sample_id - 1,
                })))
            }
        }
    }
}

/// Precision of matrix products in the decoder.
fn autocast(context: &StageContext<'_>, config: &Config) -> Autocast {
    let model = &config.model;
    let off = |why: &str| {
        context.warn(&format!(
            "model.amp has no effect {why}: the decoder is trained in f32"
        ));
        Autocast::Off
    };
    match model.amp {
        false => Autocast::Off,
        true if context.device().is_cpu() => off("on the CPU"),
        true if context.compute().deterministic => off("under run.deterministic"),
        true if model.amp_bf16 => Autocast::Brain,
        true => Autocast::Half,
    }
}

/// The checkpoint that the configuration starts from, if it names one.
fn start_checkpoint(context: &StageContext<'_>) -> Option<PathBuf> {
    let configured = &context.config().checkpoint.load;
    (!configured.is_empty()).then(|| trained::named(context.project(), configured))
}

/// The configuration of a training that starts from a checkpoint: what the
/// weights depend on is the checkpoint's.
fn with_start(context: &StageContext<'_>, kind: &Train, path: &Path) -> Result<Config, StageError> {
    let header = exchange::load_header(path)?;
    let stored: Config = serde_json::from_value(header.config.clone())?;
    let used = context.config();
    let given = |key: &Key| compare::differs_from_default(used, key);
    let (config, notes) = compare::with_checkpoint(used, &stored, given);
    let read = keys_read(kind.reads())?;
    let differences = compare::differences(&header.cfg_flat, &config, Action::Train)
        .into_iter()
        .filter(|difference| difference.weight <= Weight::Relevant)
        .filter(|difference| read.iter().any(|key| key.path == difference.key.path))
        .map(|difference| difference.to_string());
    for text in notes.into_iter().chain(differences) {
        context.warn(&format!("{}: {text}", path.display()));
    }
    Ok(config)
}

/// The mean-shift file; `$EMBEDDER` is the path-safe specification.
fn mean_shift_path(config: &Config) -> Result<String, StageError> {
    let spec: crate::embedders::EmbedderSpec = config.embedder.spec.parse()?;
    let path = &config.train.mean_shift.path;
    Ok(path.replace("$EMBEDDER", &spec.path_safe()))
}

/// The cache and how its targets are delivered.
struct TrainingData {
    cache: Arc<Cache>,
    target_config: TargetConfig,
    data_config: DataConfig,
    order: ReadOrder,
}

impl TrainingData {
    fn open(context: &StageContext<'_>, embedder: &Embedder) -> Result<Self, StageError> {
        let loaded = LoadedCache::open(context, embedder)?;
        Ok(Self {
            cache: Arc::new(loaded.cache),
            target_config: loaded.target_config,
            data_config: loaded.data_config,
            order: loaded.order,
        })
    }

    /// Target nouns, the absent one first.
    fn nouns(&self) -> &[String] {
        self.cache.nouns().map_or(&[], |nouns| nouns.all())
    }

    fn into_loop(
        self,
        context: &StageContext<'_>,
    ) -> Result<(LoopConfig, LoaderSource), StageError> {
        let config = context.config();
        let samples = self.cache.len();
        let valid_nouns = self.nouns().len().saturating_sub(1) as u64;
        let batch_size = config.data.batch_size;
        let info = LoaderInfo::new(
            samples,
            batch_size,
            LoaderMode::Training,
            config.data.workers,
        )?
        .ordered(self.order);
        Accumulation::for_training(&info, config.train.accum_factor)?;
        let size = DataSize {
            samples,
            valid_nouns,
            batch_size: batch_size as u64,
        };
        let loop_config = LoopConfig::new(&config.train, &config.checkpoint, size)?;
        let loader = Loader::new(self.cache, self.data_config, info, context.seed());
        Ok((loop_config, LoaderSource::new(loader)))
    }
}

fn learner(
    context: &StageContext<'_>,
    config: &Config,
    embedder: &Embedder,
    data: &TrainingData,
) -> Result<DecoderLearner, StageError> {
    let dimensions = Dimensions {
        embed_dim: embedder.dim(),
        vocab_size: data.target_config.vocab_size,
        token_length: data.target_config.token_length,
    };
    let decoder = Decoder::new(&config.model, dimensions, context.seed())?;
    let decoder = match context.device() {
        Device::Cpu => decoder,
        device => decoder.to_device(device)?,
    };
    let mean_shift = if config.train.mean_shift.enabled {
        let path = inputs::path(context.project(), &mean_shift_path(config)?);
        let (shift, warnings) = MeanShift::read(&path, embedder.dim(), &config.flat())?;
        for warning in warnings {
            context.warn(&warning);
        }
        Some(shift)
    } else {
        None
    };
    let noise = EmbeddingNoise::new(&config.noise)?;
    for key in EmbeddingNoise::unused_keys(&config.noise) {
        context.warn(&format!(
            "noise.{key} is set, but the noise scheme does not use it"
        ));
    }
    let header = CheckpointHeader {
        cfg_flat: config.flat(),
        config: serde_json::to_value(config)?,
        target_config: serde_json::to_value(&data.target_config)?,
        data_config: serde_json::to_value(data.data_config)?,
        target_nouns: data.nouns().to_vec(),
        num_invalid_target_nouns: crate::cache::NounTable::INVALID,
        embedder: json!({
            "spec": config.embedder.spec,
            "identity": embedder.identity()?.to_hex().as_str(),
            "config": embedder.config_object(),
        }),
        embed_dim: embedder.dim(),
        format_version: FORMAT_VERSION,
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        extra: extra(context, data.nouns()),
        ..CheckpointHeader::default()
    };
    Ok(
        DecoderLearner::new(decoder, context.seed(), mean_shift, noise, header)
            .with_repeated_prefix(config.train.repeat_prefix),
    )
}

/// Sections of the header that only people and the original's form need.
fn extra(context: &StageContext<'_>, nouns: &[String]) -> Map<String, Value> {
    let hash = blake3::hash(nouns.join("\n").as_bytes());
    let mut extra = Map::new();
    let run_dir = format!("outputs/{}", context.run_id());
    extra.insert(exchange::RUN_DIR.to_owned(), run_dir.into());
    extra.insert("nouns_blake3".to_owned(), hash.to_hex().as_str().into());
    extra.insert("seed".to_owned(), context.seed().into());
    extra
}

/// Carries what a training reports to the run: metrics, progress, notes.
struct RunObserver<'a, 'c> {
    context: &'a StageContext<'c>,
    metrics: &'a StageLog,
    /// Metrics of earlier attempts: batch number of every row.
    earlier: Vec<u64>,
    total: u64,
    batch: u64,
}

impl<'a, 'c> RunObserver<'a, 'c> {
    fn new(context: &'a StageContext<'c>, config: &LoopConfig) -> Result<Self, StageError> {
        let earlier = earlier_batches(&context.out().join(tracking::METRICS_FILE));
        let lengths = &config.lengths;
        Ok(Self {
            context,
            metrics: context.metrics()?,
            earlier,
            total: lengths.chunk_samples().saturating_mul(lengths.max_chunks),
            batch: 0,
        })
    }

    /// Puts a saved checkpoint in the original's form among what people take
    /// away.
    fn export(&self, path: &Path) -> Result<(), StageError> {
        let exported = self
            .context
            .outputs()?
            .join(path.file_name().unwrap_or(path.as_os_str()))
            .with_extension("train");
        exchange::save(&exported, &exchange::load(path)?, Form::Original)?;
        let text = format!("exported {}", exported.display());
        self.context.note(&text);
        Ok(())
    }

    fn log(&self, metrics: &[Metric]) {
        let row: Vec<(&str, tracking::Value)> = metrics
            .iter()
            .map(|(name, value)| {
                let value = value.map_or(tracking::Value::Null, tracking::Value::Number);
                (*name, value)
            })
            .collect();
        self.metrics.row(&row);
    }
}

/// Batch number of every row that earlier attempts logged; none if there was
/// no earlier attempt.
fn earlier_batches(path: &Path) -> Vec<u64> {
    let Ok(metrics) = tracking::read_metrics(path) else {
        return Vec::new();
    };
    let batch = |values: &[(String, tracking::Value)]| {
        let value = values.iter().find(|(name, _)| name == "batch")?;
        value.1.as_f64()
    };
    let rows = metrics.rows();
    rows.iter()
        .map(|row| batch(&row.values).unwrap_or(f64::INFINITY) as u64)
        .collect()
}

impl Observer for RunObserver<'_, '_> {
    fn started(&mut self, record: &StartRecord) {
        self.context.begin(
            "samples",
            record.sample,
            (self.total > 0).then_some(self.total),
        );
        if record.resumed {
            // What was logged for later batches is void: they come again.
            let kept = self
                .earlier
                .iter()
                .take_while(|batch| **batch <= record.batch);
            self.metrics.rewind(kept.count() as u64);
            self.context.note(&format!(
                "goes on after batch {}, sample {}",
                record.batch, record.sample
            ));
        } else {
            self.log(&record.metrics());
        }
    }

    fn batch(&mut self, progress: &BatchProgress) {
        self.batch = progress.batch;
        self.context.reach(progress.sample);
        self.context.status(&progress.postfix());
    }

    fn chunk_end(&mut self, record: &ChunkRecord) {
        self.log(&record.metrics());
    }

    fn epoch_end(&mut self, record: &EpochRecord) {
        let mut metrics = record.metrics();
        let [.., batch] = EPOCH_ROW;
        metrics.push((batch, Some(self.batch as f64)));
        self.log(&metrics);
    }

    fn finished(&mut self, record: &EndRecord) {
        self.log(&record.metrics());
    }

    fn saving(&mut self) {
        self.context.settle();
    }

    fn saved(&mut self, path: &Path, chunk: u64) {
        let name = path.file_name().unwrap_or(path.as_os_str());
        self.context.note(&format!(
            "saved {} after chunk {chunk}",
            name.to_string_lossy()
        ));
        if self.context.config().checkpoint.export == CheckpointExport::Train
            && let Err(error) = self.export(path)
        {
            self.context
                .warn(&format!("no exported checkpoint: {error}"));
        }
    }

    fn note(&mut self, message: &str) {
        self.context.note(message);
    }

    fn warning(&mut self, message: &str) {
        self.context.warn(message);
    }

    fn should_stop(&mut self) -> bool {
        self.context.is_interrupted()
    }
}
