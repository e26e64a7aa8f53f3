//! From an archive of the original to a [`Checkpoint`].

use std::collections::HashMap;

use safetensors::Dtype;
use serde_json::{Map, Value as Json, json};

use super::plain::{dict_to_json, to_json};
use super::{ORIGINAL, OWN_ENTRY, Problem, RUN_DIR, model, optimizer, scaler, schedule};
use crate::cache::{DataConfig, TargetConfig};
use crate::config::schema::Config;
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader, FORMAT_VERSION};
use crate::decoder::{Dimensions, ParameterSpec};
use crate::pickle::{Allow, Archive, Dict, Value};
use crate::train::lengths::Lengths;
use crate::train::loop_config::LoopConfig;
use crate::train::snapshot::{Position, SnapshotEntry};
use crate::train::state::StoredLoopState;
use crate::train::stopping::StopState;

/// Entries that a whole training has beside those of its weights.
const LOOP_CONFIG: &str = "train_loop_config";
const LOOP_STATE: &str = "train_loop_state";

/// Reads a checkpoint; without `tensors`, weights and moments are left out.
pub(super) fn checkpoint(archive: &Archive, tensors: bool) -> Result<Checkpoint, Problem> {
    let value = archive.value(Allow::Tensors)?;
    let top = value.dict("the file")?;
    let entry = |name: &str| top.require(name, "the file");

    let cfg_flat = dict_to_json(entry("cfg_flat")?.dict("cfg_flat")?, "cfg_flat")?;
    let config = model::config(&cfg_flat)?;
    let target_json = target_config(archive, entry("target_config")?.dict("target_config")?)?;
    let target: TargetConfig = serde_json::from_value(target_json.clone())
        .map_err(|error| Problem::content(format!("its target configuration: {error}")))?;
    let data_json = Json::Object(dict_to_json(
        entry("data_config")?.dict("data_config")?,
        "data_config",
    )?);
    serde_json::from_value::<DataConfig>(data_json.clone())
        .map_err(|error| Problem::content(format!("its data configuration: {error}")))?;
    let weights = entry("model_state_dict")?
        .dict("model_state_dict")?
        .named("model_state_dict")?;
    let embed_dim = match weights.iter().find(|(name, _)| *name == FIRST_WEIGHT) {
        Some((name, value)) => value.tensor(name)?.shape.get(1).copied().unwrap_or(0),
        None => 0,
    };
    let dimensions = Dimensions {
        embed_dim,
        vocab_size: target.vocab_size,
        token_length: target.token_length,
    };
    let layout = model::layout(&config, dimensions)?;
    let parameters = layout.map(|layout| layout.parameters).unwrap_or_default();

    let (target_nouns, num_invalid_target_nouns) = nouns(top)?;
    let mut header = CheckpointHeader {
        format_version: FORMAT_VERSION,
        embedder: json!({"spec": config.embedder.spec}),
        config: to_config_json(&config)?,
        cfg_flat,
        target_config: target_json,
        data_config: data_json,
        target_nouns,
        num_invalid_target_nouns,
        embed_dim,
        ..CheckpointHeader::default()
    };
    let mut all = HashMap::new();
    for (name, value) in weights.iter().filter(|_| tensors) {
        let tensor = model::f32_tensor(archive, value.tensor(name)?)?;
        all.insert((*name).to_owned(), tensor);
    }
    if top.get(LOOP_STATE).is_some() {
        let training = training(archive, top, &config, &parameters, tensors)?;
        let entry = serde_json::to_value(training.entry);
        header.training = Some(entry.map_err(|error| Problem::content(error.to_string()))?);
        header.extra.insert(ORIGINAL.to_owned(), training.original);
        header.extra.insert(RUN_DIR.to_owned(), training.run_dir);
        all.extend(training.moments);
    }
    if let Some(own) = top.get(OWN_ENTRY) {
        let own = own.dict(OWN_ENTRY)?;
        header = own_header(header, own.require("header", OWN_ENTRY)?.text("header")?)?;
        let gradients = own.require("gradients", OWN_ENTRY)?.dict("gradients")?;
        for (name, value) in gradients
            .named("gradients")?
            .into_iter()
            .filter(|_| tensors)
        {
            let tensor = model::f32_tensor(archive, value.tensor(name)?)?;
            all.insert(name.to_owned(), tensor);
        }
    }
    Ok(Checkpoint {
        header,
        tensors: all,
    })
}

/// The weight whose second dimension is that of the embeddings.
const FIRST_WEIGHT: &str = "embed_mlp.mlp.0.weight";

fn to_config_json(config: &Config) -> Result<Json, Problem> {
    serde_json::to_value(config).map_err(|error| Problem::content(error.to_string()))
}

/// Target nouns and how many of them are none; nothing in old files.
fn nouns(top: &Dict) -> Result<(Vec<String>, usize), Problem> {
    let (Some(nouns), Some(invalid)) =
        (top.get("target_nouns"), top.get("num_invalid_target_nouns"))
    else {
        return Ok((Vec::new(), 0));
    };
    let nouns: Vec<String> = nouns
        .items("target_nouns")?
        .iter()
        .map(|noun| Ok(noun.text("a target noun")?.to_owned()))
        .collect::<Result<_, Problem>>()?;
    let invalid = invalid.int("num_invalid_target_nouns")?;
    match usize::try_from(invalid) {
        Ok(invalid) if invalid <= nouns.len() => Ok((nouns, invalid)),
        _ => Err(Problem::content(format!(
            "{invalid} of its {} target nouns are invalid",
            nouns.len()
        ))),
    }
}

/// The twelve fields, types by name and maps as lists.
pub(super) fn target_config(archive: &Archive, dict: &Dict) -> Result<Json, Problem> {
    let mut fields = Map::new();
    for (name, value) in dict.named("target_config")? {
        let field = match value {
            Value::Dtype(Dtype::I64) => json!("torch.int64"),
            Value::Dtype(Dtype::I32) => json!("torch.int32"),
            Value::Dtype(Dtype::BOOL) => json!("torch.bool"),
            Value::Tensor(info) => json!(model::integers(archive, info)?),
            plain => to_json(plain, "target_config")?,
        };
        fields.insert(name.to_owned(), field);
    }
    Ok(Json::Object(fields))
}

struct Training {
    entry: SnapshotEntry,
    moments: Vec<(String, candle_core::Tensor)>,
    original: Json,
    run_dir: Json,
}

fn training(
    archive: &Archive,
    top: &Dict,
    config: &Config,
    parameters: &[ParameterSpec],
    tensors: bool,
) -> Result<Training, Problem> {
    let entry = |name: &str| top.require(name, "the file");
    let loop_config = entry(LOOP_CONFIG)?.dict(LOOP_CONFIG)?;
    let loop_state = loop_state(archive, entry(LOOP_STATE)?.dict(LOOP_STATE)?)?;
    let optimizer = optimizer::read(archive, top, parameters, tensors)?;
    let finished = loop_state.chunk_id.saturating_sub(1);
    let schedule = schedule::read(top, optimizer.rate, config.train.lr.r#final, finished)?;
    let kept_config = dict_to_json(loop_config, LOOP_CONFIG)?;
    let run_dir = kept_config.get(RUN_DIR).cloned().unwrap_or(Json::Null);
    let mut original = Map::new();
    original.insert(LOOP_CONFIG.to_owned(), Json::Object(kept_config));
    original.insert("param_groups".to_owned(), optimizer.groups);
    original.extend(schedule::keep(top)?.map(|(name, value)| (name.to_owned(), value)));
    for name in [scaler::ENABLED, scaler::STATE] {
        original.insert(name.to_owned(), to_json(entry(name)?, name)?);
    }
    let scaler = scaler::read(&original[scaler::ENABLED], &original[scaler::STATE]);
    Ok(Training {
        entry: SnapshotEntry {
            train_loop_config: self::loop_config(loop_config, config)?,
            train_loop_state: loop_state,
            schedule,
            position: Position {
                epoch_place: 0,
                accumulated: 0,
                seconds: 0.0,
            },
            optimizer: optimizer.optimizer,
            stop: StopState::default(),
            scaler,
        },
        moments: optimizer.moments,
        original: Json::Object(original),
        run_dir,
    })
}

fn loop_config(dict: &Dict, config: &Config) -> Result<LoopConfig, Problem> {
    let number =
        |name: &str| -> Result<f64, Problem> { Ok(dict.require(name, LOOP_CONFIG)?.number(name)?) };
    let count = |name: &str| -> Result<u64, Problem> {
        let value = dict.require(name, LOOP_CONFIG)?.int(name)?;
        u64::try_from(value).map_err(|_| Problem::content(format!("{name} is {value}")))
    };
    let positive = |name: &str| match count(name)? {
        0 => Err(Problem::content(format!("{name} is 0"))),
        count => Ok(count),
    };
    Ok(LoopConfig {
        lengths: Lengths {
            batch_size: config.data.batch_size as u64,
            accum_factor: config.train.accum_factor as u64,
            epoch_batches: positive("epoch_batches")?,
            chunk_batches: positive("chunk_batches")?,
            max_chunks: count("max_chunks")?,
        },
        save_every_min: count("save_every_min")?,
        save_every_max: count("save_every_max")?,
        save_top1_min: number("save_top1_min")?,
        save_top1_delta: number("save_top1_delta")?,
        gradient_clip: number("gradient_clip")?,
        last_dropout_chunks: count("last_dropout_chunks")?,
        last_dropout_factor: number("last_dropout_factor")?,
        ewa_factor: number("ewa_factor")?,
    })
}

/// Exactly the fields of the state.
fn loop_state(archive: &Archive, dict: &Dict) -> Result<StoredLoopState, Problem> {
    let mut fields = Map::new();
    for (name, value) in dict.named(LOOP_STATE)? {
        let field = match value {
            // What past chunks left may be anything.
            Value::Tensor(info) => json!(
                model::f32_values(archive, info)?
                    .into_iter()
                    .map(|norm| if norm.is_finite() { norm } else { 0.0 })
                    .collect::<Vec<_>>()
            ),
            plain => to_json(plain, LOOP_STATE)?,
        };
        fields.insert(name.to_owned(), field);
    }
    serde_json::from_value(Json::Object(fields))
        .map_err(|error| Problem::content(format!("its loop state: {error}")))
}

/// The header of the native checkpoint that a file was made from; what the
/// original knows too is taken from its entries.
fn own_header(read: CheckpointHeader, text: &str) -> Result<CheckpointHeader, Problem> {
    let own = CheckpointHeader::from_text(text).map_err(Problem::content)?;
    Ok(CheckpointHeader {
        cfg_flat: read.cfg_flat,
        target_config: read.target_config,
        data_config: read.data_config,
        target_nouns: read.target_nouns,
        num_invalid_target_nouns: read.num_invalid_target_nouns,
        ..own
    })
}
