//! Whether the parts of a checkpoint belong together.

use candle_core::Tensor;

use crate::cache::{DataConfig, TargetConfig};
use crate::config::schema::{Config, ModelType};
use crate::decoder::checkpoint::Checkpoint;
use crate::decoder::{Decoder, Dimensions};
use crate::train::optimizer::Optimizer;
use crate::train::snapshot::{Snapshot, SnapshotEntry};
use crate::train::state::LoopState;

/// Header, weights and moments against each other.
pub(super) fn parts(checkpoint: &Checkpoint) -> Result<(), String> {
    let header = &checkpoint.header;
    let parse = |what: &str, error: serde_json::Error| format!("its {what}: {error}");
    let config: Config = serde_json::from_value(header.config.clone())
        .map_err(|error| parse("configuration", error))?;
    let target: TargetConfig = serde_json::from_value(header.target_config.clone())
        .map_err(|error| parse("target configuration", error))?;
    serde_json::from_value::<DataConfig>(header.data_config.clone())
        .map_err(|error| parse("data configuration", error))?;
    for (name, tensor) in &checkpoint.tensors {
        finite(name, tensor)?;
    }
    if config.model.r#type == ModelType::DudDecoder {
        return Ok(());
    }
    let dimensions = Dimensions {
        embed_dim: header.embed_dim,
        vocab_size: target.vocab_size,
        token_length: target.token_length,
    };
    let decoder = Decoder::of_state_dict(&config.model, dimensions, &checkpoint.weights())
        .map_err(|error| error.to_string())?;
    let Some(training) = &header.training else {
        return Ok(());
    };
    let entry: SnapshotEntry = serde_json::from_value(training.clone())
        .map_err(|error| parse("training section", error))?;
    LoopState::try_from(entry.train_loop_state.clone())
        .map_err(|reason| format!("its loop state: {reason}"))?;
    let settings = entry.optimizer.settings;
    let named = decoder.named_parameters().into_iter();
    let parameters = named.map(|(name, parameter)| (name, parameter.as_tensor().clone()));
    let mut optimizer =
        Optimizer::new(parameters.collect(), settings).map_err(|error| error.to_string())?;
    let own = checkpoint.tensors.clone().into_iter();
    let moments = own.filter(|(name, _)| Snapshot::is_tensor_name(name));
    let snapshot = Snapshot::from_parts(entry, moments.collect());
    snapshot
        .restore_moments(&mut optimizer)
        .map_err(|error| error.to_string())?;
    snapshot
        .unfinished_gradients(&optimizer)
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// No NaN; infinities only in the attention mask.
fn finite(name: &str, tensor: &Tensor) -> Result<(), String> {
    let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
    let values = values.map_err(|error| format!("{name}: {error}"))?;
    let is_mask = name == "causality_mask";
    let bad = values
        .iter()
        .find(|value| !(value.is_finite() || is_mask && **value == f32::NEG_INFINITY));
    match bad {
        Some(value) => Err(format!("{name} contains {value}")),
        None => Ok(()),
    }
}
