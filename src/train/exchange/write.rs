//! From a [`Checkpoint`] to an archive that the original loads.

use std::path::Path;

use candle_core::{DType, Tensor};
use safetensors::Dtype;
use serde_json::{Map, Value as Json, json};

use super::plain::FromJson;
use super::{ORIGINAL, OWN_ENTRY, Problem, RUN_DIR, model, optimizer, scaler, schedule};
use crate::cache::TargetConfig;
use crate::config::schema::Config;
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader, publish};
use crate::decoder::{DecoderError, Dimensions, ParameterLayout, StateEntry};
use crate::embedders::tokenizer::TokenDtype;
use crate::ops::tape::host;
use crate::pickle::{ArchiveWriter, Dict, Value};
use crate::train::optimizer::group_indices;
use crate::train::snapshot::{EXP_AVG, EXP_AVG_SQ, GRADIENT, SnapshotEntry};

/// Writes a checkpoint; the folder in the archive is named after the file.
pub(super) fn file(path: &Path, checkpoint: &Checkpoint) -> Result<(), DecoderError> {
    let root = path.file_stem().unwrap_or(path.as_os_str());
    let root = root.to_string_lossy();
    let error = |reason: String| DecoderError::Checkpoint {
        action: "write",
        path: path.to_path_buf(),
        reason,
    };
    let mut archive = ArchiveWriter::new();
    let mut entries =
        Entries::new(checkpoint, &mut archive).map_err(|problem| error(problem.to_string()))?;
    let value = entries
        .value()
        .map_err(|problem| error(problem.to_string()))?;
    publish(path, |file| {
        archive
            .write(&root, &value, file)
            .map(|_| ())
            .map_err(|fault| fault.to_string())
    })
}

/// The entries of a file in the making.
struct Entries<'a, 'w> {
    checkpoint: &'a Checkpoint,
    archive: &'w mut ArchiveWriter<'static>,
    target: TargetConfig,
    layout: Option<ParameterLayout>,
}

impl<'a, 'w> Entries<'a, 'w> {
    fn new(
        checkpoint: &'a Checkpoint,
        archive: &'w mut ArchiveWriter<'static>,
    ) -> Result<Self, Problem> {
        let header = &checkpoint.header;
        let config: Config = serde_json::from_value(header.config.clone())
            .map_err(|error| Problem::content(format!("its configuration: {error}")))?;
        let target: TargetConfig = serde_json::from_value(header.target_config.clone())
            .map_err(|error| Problem::content(format!("its target configuration: {error}")))?;
        let dimensions = Dimensions {
            embed_dim: header.embed_dim,
            vocab_size: target.vocab_size,
            token_length: target.token_length,
        };
        Ok(Self {
            checkpoint,
            archive,
            target,
            layout: model::layout(&config, dimensions)?,
        })
    }

    fn value(&mut self) -> Result<Value, Problem> {
        let header = &self.checkpoint.header;
        let mut top = Dict::of([
            (
                "cfg_flat",
                Value::Dict(FromJson::CONFIG.dict(&header.cfg_flat)?),
            ),
            ("target_config", self.target_config()?),
            ("data_config", self.data_config()?),
            ("model_state_dict", self.weights()?),
        ]);
        if header.has_nouns() {
            let nouns = header.target_nouns.iter().map(|noun| noun.as_str().into());
            let invalid = whole(header.num_invalid_target_nouns);
            top.entries.extend([
                ("target_nouns".into(), Value::Tuple(nouns.collect())),
                ("num_invalid_target_nouns".into(), invalid),
            ]);
        }
        if let Some(training) = &header.training {
            let training: SnapshotEntry = serde_json::from_value(training.clone())
                .map_err(|error| Problem::content(format!("its training section: {error}")))?;
            for (name, value) in self.training(&training)? {
                top.entries.push((name.into(), value));
            }
        }
        top.entries.push((OWN_ENTRY.into(), self.own_entry()?));
        Ok(Value::Dict(top))
    }

    fn tensor(&mut self, name: &str) -> Result<Value, Problem> {
        let tensor = self.checkpoint.tensors.get(name);
        let tensor =
            tensor.ok_or_else(|| Problem::content(format!("the checkpoint lacks {name}")))?;
        Ok(self
            .archive
            .tensor(Dtype::F32, tensor.dims(), bytes(tensor)?)?)
    }

    /// Weights in the order of the original; two names of one tensor share its
    /// storage.
    fn weights(&mut self) -> Result<Value, Problem> {
        let mut dict = Dict {
            ordered: true,
            entries: Vec::new(),
        };
        let Some(layout) = self.layout.take() else {
            return Ok(Value::Dict(dict));
        };
        let mut written: Vec<Option<Value>> = vec![None; layout.parameters.len()];
        for (name, entry) in &layout.state {
            let value = match *entry {
                StateEntry::CausalityMask => self.tensor(name)?,
                StateEntry::Parameter(index) => match &written[index] {
                    Some(value) => value.clone(),
                    None => written[index].insert(self.tensor(name)?).clone(),
                },
            };
            dict.entries.push((name.as_str().into(), value));
        }
        self.layout = Some(layout);
        Ok(Value::Dict(dict))
    }

    fn target_config(&mut self) -> Result<Value, Problem> {
        let target = self.target.clone();
        let dtype = match target.token_dtype {
            TokenDtype::I32 => Dtype::I32,
            TokenDtype::I64 => Dtype::I64,
        };
        let optional = |id: Option<i64>| id.map_or(Value::None, Value::Int);
        let mut map = |ids: Option<&Vec<i64>>| -> Result<Value, Problem> {
            let Some(ids) = ids else {
                return Ok(Value::None);
            };
            let bytes: Vec<u8> = match target.token_dtype {
                TokenDtype::I32 => (ids.iter())
                    .flat_map(|id| (*id as i32).to_le_bytes())
                    .collect(),
                TokenDtype::I64 => ids.iter().flat_map(|id| id.to_le_bytes()).collect(),
            };
            Ok(self.archive.tensor(dtype, &[ids.len()], bytes)?)
        };
        let compact = target.compact.as_ref();
        let fields = [
            ("vocab_size", whole(target.vocab_size)),
            ("token_dtype", Value::Dtype(dtype)),
            ("mask_dtype", Value::Dtype(Dtype::BOOL)),
            ("start_token_id", optional(target.start_token_id)),
            ("end_token_id", optional(target.end_token_id)),
            ("pad_token_id", Value::Int(target.pad_token_id)),
            ("compact_ids", Value::Bool(compact.is_some())),
            ("compact_map", map(compact.map(|ids| &ids.map))?),
            ("compact_unmap", map(compact.map(|ids| &ids.unmap))?),
            ("fixed_token_length", Value::Bool(target.fixed_token_length)),
            ("token_length", whole(target.token_length)),
            ("use_masks", Value::Bool(target.use_masks)),
        ];
        Ok(Value::Dict(Dict::of(fields)))
    }

    fn data_config(&self) -> Result<Value, Problem> {
        let fields = self.checkpoint.header.data_config.as_object();
        let fields = fields.ok_or_else(|| Problem::content("its data configuration is none"))?;
        Ok(Value::Dict(FromJson::STATE.dict(fields)?))
    }

    fn training(&mut self, entry: &SnapshotEntry) -> Result<Vec<(&'static str, Value)>, Problem> {
        let header = &self.checkpoint.header;
        let original = header.extra.get(ORIGINAL);
        let kept = |name: &str| original.and_then(|original| original.get(name));
        let run_dir = header.extra.get(RUN_DIR).cloned();

        let loop_config = match kept("train_loop_config").and_then(Json::as_object) {
            Some(kept) => kept.clone(),
            None => loop_config(entry, run_dir.unwrap_or_else(|| json!(""))),
        };
        let parameters = self.layout.as_ref().map(|layout| layout.parameters.clone());
        let parameters = parameters.unwrap_or_default();
        let state = entry.schedule.state();
        let scheduled =
            entry.schedule.settings().warmup_chunks >= 1 || state.cosine_period.is_some();
        let rates = (
            state.rate,
            scheduled.then_some(entry.schedule.settings().init),
        );
        let checkpoint = self.checkpoint;
        // Moments first: their storages are made while the groups are written.
        let mut moments = Vec::new();
        for (name, tensor) in sorted_moments(checkpoint) {
            let value = (self.archive).tensor(Dtype::F32, tensor.dims(), bytes(tensor)?)?;
            moments.push((name, value));
        }
        let moment = |prefix: &str, name: &str| {
            let full = format!("{prefix}{name}");
            let found = moments.iter().find(|(known, _)| *known == full);
            found
                .map(|(_, value)| value.clone())
                .ok_or_else(|| Problem::content(format!("the checkpoint lacks {full}")))
        };
        let optimizer = optimizer::written(
            &entry.optimizer,
            &parameters,
            kept("param_groups"),
            rates,
            moment,
            self.archive,
        )?;
        let ranks = parameters.iter().map(|spec| spec.shape.len());
        let groups = group_indices(ranks, &entry.optimizer.settings).len();
        let schedulers = schedule::written(&entry.schedule, groups);
        let mut entries = vec![
            (
                "train_loop_config",
                Value::Dict(FromJson::STATE.dict(&loop_config)?),
            ),
            ("train_loop_state", self.loop_state(entry)?),
        ];
        entries.extend(optimizer);
        for (name, written) in schedulers {
            let value = kept(name).unwrap_or(&written);
            entries.push((name, FromJson::STATE.value(name, value)?));
        }
        let scaler = match &entry.scaler {
            Some(scaler) => scaler::written(scaler),
            None => [(scaler::ENABLED, json!(false)), (scaler::STATE, json!({}))]
                .map(|(name, default)| (name, kept(name).cloned().unwrap_or(default))),
        };
        for (name, value) in scaler {
            entries.push((name, FromJson::STATE.value(name, &value)?));
        }
        Ok(entries)
    }

    fn loop_state(&mut self, entry: &SnapshotEntry) -> Result<Value, Problem> {
        let fields = serde_json::to_value(&entry.train_loop_state)
            .map_err(|error| Problem::content(error.to_string()))?;
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        if fields.contains_key("grad_norms") {
            fields.insert("grad_norms".to_owned(), Json::Null);
        }
        let mut dict = FromJson::STATE.dict(&fields)?;
        if let Some(norms) = &entry.train_loop_state.grad_norms {
            let bytes: Vec<u8> = norms.iter().flat_map(|norm| norm.to_le_bytes()).collect();
            let tensor = self.archive.tensor(Dtype::F32, &[norms.len()], bytes)?;
            for (name, value) in &mut dict.entries {
                if *name == Value::from("grad_norms") {
                    *value = tensor.clone();
                }
            }
        }
        Ok(Value::Dict(dict))
    }

    /// What the original does not know: the rest of the header, and the
    /// gradients of an unfinished optimizer step.
    fn own_entry(&mut self) -> Result<Value, Problem> {
        let header = CheckpointHeader {
            cfg_flat: Map::new(),
            target_config: Json::Null,
            data_config: Json::Null,
            target_nouns: Vec::new(),
            num_invalid_target_nouns: 0,
            ..self.checkpoint.header.clone()
        };
        let text =
            serde_json::to_string(&header).map_err(|error| Problem::content(error.to_string()))?;
        let mut names: Vec<&String> = self.checkpoint.tensors.keys().collect();
        names.retain(|name| name.starts_with(GRADIENT));
        names.sort();
        let mut gradients = Dict::default();
        for name in names {
            let tensor = self.tensor(name)?;
            gradients.entries.push((name.as_str().into(), tensor));
        }
        let entries = [
            ("header", text.as_str().into()),
            ("gradients", Value::Dict(gradients)),
        ];
        Ok(Value::Dict(Dict::of(entries)))
    }
}

fn whole(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn bytes(tensor: &Tensor) -> Result<Vec<u8>, Problem> {
    if tensor.dtype() != DType::F32 {
        return Err(Problem::content(format!(
            "a tensor of type {:?} stands where f32 should",
            tensor.dtype()
        )));
    }
    let tensor = tensor.to_device(&candle_core::Device::Cpu)?.contiguous()?;
    let values = host(&tensor)?;
    Ok(values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect())
}

fn sorted_moments(checkpoint: &Checkpoint) -> Vec<(&str, &Tensor)> {
    let all = checkpoint.tensors.iter();
    let mut moments: Vec<(&str, &Tensor)> = all
        .map(|(name, tensor)| (name.as_str(), tensor))
        .filter(|(name, _)| name.starts_with(EXP_AVG) || name.starts_with(EXP_AVG_SQ))
        .collect();
    moments.sort_by_key(|(name, _)| *name);
    moments
}

fn loop_config(entry: &SnapshotEntry, run_dir: Json) -> Map<String, Json> {
    let config = entry.train_loop_config;
    let lengths = config.lengths;
    let fields = json!({
        "run_dir": run_dir,
        "wandb": true,
        "save_every_min": config.save_every_min,
        "save_every_max": config.save_every_max,
        "save_top1_min": config.save_top1_min,
        "save_top1_delta": config.save_top1_delta,
        "gradient_clip": finite(config.gradient_clip),
        "last_dropout_chunks": config.last_dropout_chunks,
        "last_dropout_factor": config.last_dropout_factor,
        // Whatever device was wished: this program trains on the CPU.
        "device_is_cpu": true,
        "epoch_batches": lengths.epoch_batches,
        "chunk_batches": lengths.chunk_batches,
        "chunk_samples": lengths.chunk_samples(),
        "max_chunks": lengths.max_chunks,
        "ewa_factor": config.ewa_factor,
        "ewa_factor_inv": 1.0 - config.ewa_factor,
    });
    fields.as_object().cloned().unwrap_or_default()
}

fn finite(number: f64) -> Json {
    if number == f64::INFINITY {
        json!("inf")
    } else {
        json!(number)
    }
}
