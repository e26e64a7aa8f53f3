//! Optimizer states as the original stores them: by number, through the
//! parameter groups in order (`training.md` 2.4, 3.2).

use candle_core::Tensor;
use safetensors::Dtype;
use serde_json::{Value as Json, json};

use super::Problem;
use super::model::{f32_tensor, f32_values};
use super::plain::{FromJson, dict_to_json};
use crate::decoder::ParameterSpec;
use crate::pickle::{Archive, ArchiveWriter, Dict, Value};
use crate::train::optimizer::{OptimizerKind, OptimizerSettings, group_indices};
use crate::train::snapshot::{EXP_AVG, EXP_AVG_SQ, NamedTensors, StoredOptimizer};

/// Entry with the class of the optimizer.
pub(super) const TYPE: &str = "optimizer_type";
/// Entry with its state.
pub(super) const STATE: &str = "optimizer_state_dict";

const ADAMW: &str = "torch.optim.adamw.AdamW";
const ADAMP: &str = "timm.optim.adamp.AdamP";

/// What a file says of its optimizer.
pub(super) struct Read {
    pub(super) optimizer: StoredOptimizer,
    /// Moments under the names of native checkpoints.
    pub(super) moments: NamedTensors,
    /// Rate in the groups.
    pub(super) rate: f64,
    /// The groups as they are, without their parameter lists.
    pub(super) groups: Json,
}

/// The optimizer of a file for a model with these parameters. Without
/// `tensors`, moments stay unread.
pub(super) fn read(
    archive: &Archive,
    top: &Dict,
    parameters: &[ParameterSpec],
    tensors: bool,
) -> Result<Read, Problem> {
    let class = top.require(TYPE, "the file")?.text(TYPE)?;
    let dict = top.require(STATE, "the file")?.dict(STATE)?;
    let groups = dict.require("param_groups", STATE)?.items("param_groups")?;
    let groups: Vec<&Dict> = groups
        .iter()
        .map(|group| group.dict("a parameter group"))
        .collect::<Result<_, _>>()?;
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
        return Err(Problem::content("its optimizer has no parameter groups"));
    };
    let entry = |group: &Dict, name| -> Result<Value, Problem> {
        Ok(group.require(name, "a parameter group")?.clone())
    };
    let betas = entry(first, "betas")?;
    let [beta1, beta2] = betas.items("betas")? else {
        return Err(Problem::content("its optimizer has not two betas"));
    };
    let settings = OptimizerSettings {
        kind: if class.ends_with("AdamW") {
            OptimizerKind::AdamW
        } else if class.ends_with("AdamP") {
            OptimizerKind::AdamP {
                nesterov: entry(first, "nesterov")?.bool("nesterov")?,
            }
        } else {
            return Err(Problem::content(format!(
                "its optimizer {class} is neither AdamW nor AdamP; set checkpoint.resume=false to \
                 take the weights alone"
            )));
        },
        beta1: beta1.number("betas")?,
        beta2: beta2.number("betas")?,
        weight_decay: entry(last, "weight_decay")?.number("weight_decay")?,
        decay_1d: groups.len() == 1,
    };
    let order = order(&groups, parameters, &settings)?;

    let states = dict.require("state", STATE)?.dict("state")?;
    let mut steps = vec![0; parameters.len()];
    let mut moments = NamedTensors::new();
    for (number, &index) in order.iter().enumerate() {
        let spec = &parameters[index];
        let key = Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
        let state = states.entries.iter().find(|(known, _)| *known == key);
        let Some((_, state)) = state else {
            // A parameter that never had a gradient.
            if tensors {
                let zeros = || {
                    Tensor::zeros(
                        spec.shape.as_slice(),
                        candle_core::DType::F32,
                        &candle_core::Device::Cpu,
                    )
                };
                moments.push((format!("{EXP_AVG}{}", spec.name), zeros()?));
                moments.push((format!("{EXP_AVG_SQ}{}", spec.name), zeros()?));
            }
            continue;
        };
        let state = state.dict("the state of a parameter")?;
        steps[index] = step_count(archive, state.require("step", &spec.name)?)?;
        for (name, prefix) in [("exp_avg", EXP_AVG), ("exp_avg_sq", EXP_AVG_SQ)] {
            let info = state.require(name, &spec.name)?.tensor(name)?;
            if info.shape != spec.shape {
                return Err(Problem::content(format!(
                    "its {name} of {} has shape {:?}, not {:?}",
                    spec.name, info.shape, spec.shape
                )));
            }
            if tensors {
                let tensor = f32_tensor(archive, info)?;
                moments.push((format!("{prefix}{}", spec.name), tensor));
            }
        }
    }
    let kept: Vec<Json> = groups
        .iter()
        .map(|group| {
            let mut kept = dict_to_json(group, "a parameter group")?;
            kept.remove("params");
            Ok(Json::Object(kept))
        })
        .collect::<Result<_, Problem>>()?;
    let names = parameters.iter().map(|spec| spec.name.clone());
    Ok(Read {
        optimizer: StoredOptimizer {
            settings,
            parameters: names.zip(steps).collect(),
        },
        moments,
        rate: entry(first, "lr")?.number("lr")?,
        groups: Json::Array(kept),
    })
}

/// Parameter of every number of the optimizer's state.
fn order(
    groups: &[&Dict],
    parameters: &[ParameterSpec],
    settings: &OptimizerSettings,
) -> Result<Vec<usize>, Problem> {
    let mut sizes = Vec::new();
    let mut numbers = Vec::new();
    for group in groups {
        let listed = group.require("params", "a parameter group")?;
        let listed = listed.items("params")?;
        sizes.push(listed.len());
        for number in listed {
            numbers.push(number.int("params")?);
        }
    }
    let counted = (0..)
        .zip(&numbers)
        .all(|(wanted, number)| wanted == *number);
    let own = group_indices(parameters.iter().map(|spec| spec.shape.len()), settings);
    let own_sizes: Vec<usize> = own.iter().map(|(_, indices)| indices.len()).collect();
    if !counted || sizes != own_sizes {
        return Err(Problem::content(format!(
            "its optimizer has groups of {sizes:?} parameters, its model of {own_sizes:?}"
        )));
    }
    Ok(own.into_iter().flat_map(|(_, indices)| indices).collect())
}

/// A whole number, or a scalar tensor with one.
fn step_count(archive: &Archive, step: &Value) -> Result<u64, Problem> {
    let wrong = || Problem::content("a step count of its optimizer is no whole number");
    let count = match step {
        Value::Int(count) => *count as f64,
        Value::Tensor(info) => match f32_values(archive, info)?.as_slice() {
            [count] => f64::from(*count),
            _ => return Err(wrong()),
        },
        _ => return Err(wrong()),
    };
    if count.fract() == 0.0 && (0.0..9e15).contains(&count) {
        Ok(count as u64)
    } else {
        Err(wrong())
    }
}

/// Both entries for an optimizer. `kept` are the groups of the file it was read
/// from, if it was; `rate` and `initial_rate` those of the schedule, the latter
/// none for a constant rate without warm-up.
pub(super) fn written(
    optimizer: &StoredOptimizer,
    parameters: &[ParameterSpec],
    kept: Option<&Json>,
    rates: (f64, Option<f64>),
    mut moment: impl FnMut(&str, &str) -> Result<Value, Problem>,
    archive: &mut ArchiveWriter<'_>,
) -> Result<[(&'static str, Value); 2], Problem> {
    let settings = &optimizer.settings;
    let is_adamw = settings.kind == OptimizerKind::AdamW;
    let groups = group_indices(parameters.iter().map(|spec| spec.shape.len()), settings);
    let mut states = Dict::default();
    let mut written = Vec::new();
    let mut number = 0;
    for (position, (weight_decay, indices)) in groups.iter().enumerate() {
        let fields = match kept.and_then(|kept| kept.get(position)) {
            Some(kept) => kept.clone(),
            None => group_fields(settings, *weight_decay, rates),
        };
        let fields = fields.as_object().cloned().unwrap_or_default();
        let mut group = FromJson::STATE.dict(&fields)?;
        let first = number;
        for &index in indices {
            let name = &parameters[index].name;
            let stored = optimizer.parameters.iter().find(|(known, _)| known == name);
            let steps = stored.map_or(0, |(_, steps)| *steps);
            if steps > 0 {
                let step = if is_adamw {
                    let bytes = (steps as f32).to_le_bytes().to_vec();
                    archive.tensor(Dtype::F32, &[], bytes)?
                } else {
                    Value::Int(i64::try_from(steps).unwrap_or(i64::MAX))
                };
                let state = Dict::of([
                    ("step", step),
                    ("exp_avg", moment(EXP_AVG, name)?),
                    ("exp_avg_sq", moment(EXP_AVG_SQ, name)?),
                ]);
                states
                    .entries
                    .push((Value::Int(number), Value::Dict(state)));
            }
            number += 1;
        }
        let numbers = (first..number).map(Value::Int).collect();
        let params = ("params".into(), Value::List(numbers));
        group.entries.push(params);
        written.push(Value::Dict(group));
    }
    let state = Dict::of([
        ("state", Value::Dict(states)),
        ("param_groups", Value::List(written)),
    ]);
    let class = if is_adamw { ADAMW } else { ADAMP };
    Ok([(TYPE, class.into()), (STATE, Value::Dict(state))])
}

fn group_fields(
    settings: &OptimizerSettings,
    weight_decay: f64,
    (rate, initial_rate): (f64, Option<f64>),
) -> Json {
    let mut fields = json!({
        "weight_decay": weight_decay,
        "lr": rate,
        "betas": [settings.beta1, settings.beta2],
        "eps": 1e-8,
    });
    let own = match settings.kind {
        OptimizerKind::AdamW => json!({
            "amsgrad": false,
            "foreach": null,
            "maximize": false,
            "capturable": false,
            "differentiable": false,
            "fused": false,
        }),
        OptimizerKind::AdamP { nesterov } => json!({
            "delta": 0.1,
            "wd_ratio": 0.1,
            "nesterov": nesterov,
        }),
    };
    if let (Some(fields), Json::Object(own)) = (fields.as_object_mut(), own) {
        fields.extend(own);
        if let Some(initial_rate) = initial_rate {
            fields.insert("initial_lr".to_owned(), json!(initial_rate));
        }
    }
    fields
}
