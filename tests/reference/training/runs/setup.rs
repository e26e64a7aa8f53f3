//! From the recorded settings of a run to a model, a cache and a loop.

use std::path::{Path, PathBuf};

use candle_core::Device;
use novic::cache::{
    Cache, CacheFile, DataConfig, DataRequest, EmbedderSignature, FloatDtype, LoaderInfo,
    LoaderMode, OpenOptions, TargetConfig,
};
use novic::config::schema::{self, Config, keys};
use novic::decoder::checkpoint::{CheckpointHeader, FORMAT_VERSION};
use novic::decoder::noise::EmbeddingNoise;
use novic::decoder::{Decoder, Dimensions};
use novic::embedders::tokenizer::TokenDtype;
use novic::train::{DataSize, DecoderLearner, LoopConfig, MeanShift};
use serde_json::{Value, json};

use crate::golden;

pub const AREA: &str = "training";

/// Any error of setting a run up.
pub type Failure = Box<dyn std::error::Error>;

/// A recorded run.
pub struct Run {
    pub name: String,
    pub record: Value,
}

impl Run {
    pub fn all() -> Vec<Self> {
        let list = golden::json(AREA, "runs.json");
        let runs: Vec<Self> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|run| {
                let name = run["name"].as_str().unwrap().to_owned();
                let record = golden::json(AREA, &format!("runs/{name}.json"));
                assert_eq!(record["error"], run["error"], "{name}");
                Self { name, record }
            })
            .collect();
        assert!(!runs.is_empty());
        runs
    }

    /// Flat value, as given for the run or by default.
    pub fn option(&self, key: &str) -> Value {
        match self.record["overrides"].get(key) {
            Some(value) => value.clone(),
            None => golden::json(AREA, "config_defaults.json")[key]["value"].clone(),
        }
    }

    /// The checkpoint it starts from, if any.
    pub fn load_model(&self) -> Option<String> {
        let path = self.option("load_model").as_str().unwrap().to_owned();
        (!path.is_empty()).then_some(path)
    }

    /// Whether losses are random.
    pub fn has_dropout(&self) -> bool {
        ["input_dropout", "layer_dropout"]
            .iter()
            .any(|key| self.option(key).as_f64().unwrap() > 0.0)
    }

    pub fn config(&self) -> Result<Config, Failure> {
        let mut config = Config::default();
        for (flat, value) in self.record["overrides"].as_object().unwrap() {
            let key = schema::key_by_flat_name(flat).ok_or_else(|| format!("no key {flat}"))?;
            config.set(key.path, value)?;
        }
        Ok(config)
    }
}

/// What a run is made of.
pub struct Parts {
    pub config: Config,
    pub cache: Cache,
    pub data: DataConfig,
    pub loop_config: LoopConfig,
    pub learner: DecoderLearner,
}

/// Sets a run up. Structural keys of the model are taken from `loaded`, the
/// configuration of the run that wrote its checkpoint.
pub fn set_up(run: &Run, target: &TargetConfig, loaded: Option<&Config>) -> Result<Parts, Failure> {
    set_up_on(run, target, loaded, &Device::Cpu)
}

/// The same with a decoder on a device.
pub fn set_up_on(
    run: &Run,
    target: &TargetConfig,
    loaded: Option<&Config>,
    device: &Device,
) -> Result<Parts, Failure> {
    let mut config = run.config()?;
    if let Some(loaded) = loaded {
        for key in keys().iter().filter(|key| key.structural) {
            config.set(key.path, &loaded.get(key.path).unwrap())?;
        }
    }
    let path = golden::area(AREA)
        .join(&config.data.cache_dir)
        .join(&config.data.dataset);
    let file = open(&path)?;
    let dim = usize::from(file.header().embed_dim);
    let request = DataRequest {
        use_weights: config.target.weights,
        multi_target: config.target.multi,
        multi_first: config.target.multi_first,
        fixed_multi_length: config.target.fixed_multi,
        ..DataRequest::default()
    };
    let (nominal, strict) = file.nominal();
    let data = DataConfig::resolve(&nominal, &strict, &request, true)?;
    let batch_size = config.data.batch_size;
    LoaderInfo::new(file.samples(), batch_size, LoaderMode::Training, 0)?;
    let nouns = file.nouns().ok_or("no nouns")?.all().to_vec();
    let loop_config = LoopConfig::new(
        &config.train,
        &config.checkpoint,
        DataSize {
            samples: file.samples(),
            valid_nouns: nouns.len() as u64 - 1,
            batch_size: batch_size as u64,
        },
    )?;
    let embedder = Value::Object(config.flat());
    let mean_shift = if config.train.mean_shift.enabled {
        let path = shift_path(&config);
        let (shift, warnings) = MeanShift::read(&path, dim, embedder.as_object().unwrap())?;
        assert!(warnings.is_empty(), "{warnings:?}");
        Some(shift)
    } else {
        None
    };
    let noise = EmbeddingNoise::new(&config.noise)?;
    let dimensions = Dimensions {
        embed_dim: dim,
        vocab_size: target.vocab_size,
        token_length: target.token_length,
    };
    let decoder = Decoder::new(&config.model, dimensions, config.run.seed)?.to_device(device)?;
    let header = CheckpointHeader {
        format_version: FORMAT_VERSION,
        target_config: serde_json::to_value(target)?,
        data_config: serde_json::to_value(data)?,
        target_nouns: nouns,
        num_invalid_target_nouns: 1,
        embed_dim: dim,
        ..CheckpointHeader::default()
    };
    Ok(Parts {
        learner: DecoderLearner::new(decoder, config.run.seed, mean_shift, noise, header),
        cache: file.enter(Some(target), None)?,
        config,
        data,
        loop_config,
    })
}

fn open(path: &Path) -> Result<CacheFile, Failure> {
    /// Offset of the embedding dimension in the header.
    const EMBED_DIM: usize = 124;
    let bytes = std::fs::read(path)?;
    let dim = u16::from_le_bytes([bytes[EMBED_DIM], bytes[EMBED_DIM + 1]]);
    // The stand-in embedder of these caches is not described anywhere.
    let signature = EmbedderSignature::new(
        usize::from(dim),
        FloatDtype::F32,
        TokenDtype::I64,
        &json!({}),
    );
    let options = OpenOptions {
        use_targets: Some(true),
        strict: false,
    };
    Ok(CacheFile::open(path, &signature, options)?)
}

fn shift_path(config: &Config) -> PathBuf {
    golden::area(AREA).join(&config.train.mean_shift.path)
}
