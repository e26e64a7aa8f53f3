//! Fresh weights (`decoder.md` section 3, initialisation).

use candle_core::{Device, Tensor};
use rand::Rng;
use rand_distr::StandardNormal;

use crate::config::schema::{MlpInit, ModelInit, TransformerInit};
use crate::ops::tape::Activation;

use super::architecture::Architecture;
use super::error::DecoderError;
use super::parameters::{ParameterSpec, Role};
use super::stream::{Purpose, stream};

/// Distribution a parameter is drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// All elements equal.
    Constant(f64),
    /// Zero mean, given standard deviation.
    Normal(f64),
    /// U(−b, b).
    Uniform(f64),
}

/// Gains of an activation: for small signals and for signals of unit standard
/// deviation.
fn gains(activation: Activation) -> (f64, f64) {
    match activation {
        Activation::Tanh => (1.0, 0.6279),
        Activation::Relu => (0.5f64.sqrt(), 0.5f64.sqrt()),
        Activation::Gelu => (0.5, 0.6521),
    }
}

fn gain(activation: Activation, small_signal: bool) -> f64 {
    let (small, unit) = gains(activation);
    if small_signal { small } else { unit }
}

impl Distribution {
    /// Distribution of a parameter.
    pub fn of(role: Role, architecture: &Architecture, init: &ModelInit) -> Self {
        match role {
            Role::MlpFirst
            | Role::MlpFirstBias
            | Role::MlpNorm
            | Role::MlpNormBias
            | Role::MlpLast => mlp(role, architecture, init),
            Role::Output | Role::TokenTable | Role::Positions => {
                Self::Normal(embedding_std(architecture, init))
            }
            Role::OutputBias if init.bias_zero => Self::Constant(0.0),
            Role::OutputBias => {
                let std = embedding_std(architecture, init);
                let width = architecture.hidden_dim as f64;
                Self::Normal(if init.unit_postnorm {
                    std
                } else {
                    std * width.sqrt()
                })
            }
            _ => transformer(role, architecture, init),
        }
    }
}

fn embedding_std(architecture: &Architecture, init: &ModelInit) -> f64 {
    if init.mlp_unit_norm {
        1.0 / (2.0 * architecture.hidden_dim as f64).sqrt()
    } else {
        0.5f64.sqrt()
    }
}

fn mlp(role: Role, architecture: &Architecture, init: &ModelInit) -> Distribution {
    let width = architecture.hidden_dim as f64;
    let prefix_len = architecture.prefix_len as f64;
    let balanced = init.mlp_mode == MlpInit::Balanced;
    let norm = if init.mlp_unit_norm {
        0.5f64.sqrt()
    } else {
        (width / 2.0).sqrt()
    };
    let fan_in = architecture.dimensions.embed_dim as f64;
    let Some(hidden) = architecture.mlp else {
        return if balanced {
            Distribution::Normal(norm / width.sqrt())
        } else {
            Distribution::Uniform(1.0 / fan_in.sqrt())
        };
    };
    let size = hidden.size as f64;
    let first = norm / gain(hidden.activation, init.mlp_unit_norm) * (prefix_len / size).sqrt();
    let random_bias = hidden.bias && !init.bias_zero;
    match role {
        Role::MlpFirstBias | Role::MlpNormBias if init.bias_zero => Distribution::Constant(0.0),
        Role::MlpNormBias => Distribution::Constant(0.0),
        Role::MlpFirst | Role::MlpFirstBias if !balanced => {
            Distribution::Uniform(1.0 / fan_in.sqrt())
        }
        Role::MlpFirst | Role::MlpFirstBias if random_bias => {
            Distribution::Normal(first * 0.5f64.sqrt())
        }
        Role::MlpFirst | Role::MlpFirstBias => Distribution::Normal(first),
        Role::MlpNorm if balanced => Distribution::Constant(first),
        Role::MlpNorm if init.mlp_unit_norm => Distribution::Constant((prefix_len / size).sqrt()),
        Role::MlpNorm => Distribution::Constant(1.0),
        _ if balanced => Distribution::Normal(1.0 / (prefix_len * width).sqrt()),
        _ => Distribution::Uniform(1.0 / size.sqrt()),
    }
}

fn transformer(role: Role, architecture: &Architecture, init: &ModelInit) -> Distribution {
    let width = architecture.hidden_dim as f64;
    let inner = architecture.feedforward_dim as f64;
    let prefix_len = architecture.prefix_len as f64;
    let f = 1.0 / width.sqrt();
    let unit = if init.unit_norm { f } else { 1.0 };
    let depth = if init.proj_layers {
        1.0 / (2.0 * architecture.layers as f64).sqrt()
    } else {
        1.0
    };
    match role {
        Role::Scale | Role::NormBias => return Distribution::Constant(0.0),
        Role::Norm => return Distribution::Constant(if init.zero_norm { 0.0 } else { unit }),
        Role::PostNorm => return Distribution::Constant(if init.unit_postnorm { f } else { 1.0 }),
        _ => {}
    }
    if init.mode == TransformerInit::Default {
        return match role {
            Role::InProjBias | Role::OutProjBias => Distribution::Constant(0.0),
            Role::Linear1Bias | Role::Linear2Bias if init.bias_zero => Distribution::Constant(0.0),
            Role::InProj => Distribution::Uniform((6.0 / (4.0 * width)).sqrt()),
            Role::Linear2 | Role::Linear2Bias => Distribution::Uniform(1.0 / inner.sqrt()),
            _ => Distribution::Uniform(f),
        };
    }
    let random_bias = architecture.layer_bias && !init.bias_zero;
    let halved = if random_bias { 0.5f64.sqrt() } else { 1.0 };
    let open = init.mode == TransformerInit::Open;
    let bias = |nominal: f64| {
        if init.bias_zero {
            Distribution::Constant(0.0)
        } else {
            Distribution::Normal(nominal * 0.5f64.sqrt())
        }
    };
    match role {
        Role::InProjBias | Role::Linear1Bias => bias(unit),
        Role::OutProjBias | Role::Linear2Bias => bias(unit * depth),
        Role::InProj => Distribution::Normal(f * halved),
        Role::OutProj => {
            let spread = if open {
                1.0
            } else {
                ((1.0 + unit.powi(4) * (prefix_len - 1.0) / prefix_len) / prefix_len).sqrt()
            };
            Distribution::Normal(f / spread * depth * halved)
        }
        Role::Linear1 if open => Distribution::Normal(f * 0.5f64.sqrt() * halved),
        Role::Linear1 => Distribution::Normal(f * halved),
        _ if open => Distribution::Normal(f * depth * halved),
        _ => {
            let g = gain(architecture.activation, init.unit_norm || init.zero_norm);
            Distribution::Normal(1.0 / (inner.sqrt() * g) * depth * halved)
        }
    }
}

/// Fresh values of parameter number `index` in a run with `seed`. Rows beyond
/// the vocabulary are zero; every parameter has a stream of its own.
pub fn fresh(
    spec: &ParameterSpec,
    index: usize,
    architecture: &Architecture,
    init: &ModelInit,
    seed: u64,
) -> Result<Tensor, DecoderError> {
    let mut values = vec![0.0f32; spec.elements()];
    let used = &mut values[..spec.used_elements()];
    let mut rng = stream(seed, Purpose::Init, &[index as u64]);
    match Distribution::of(spec.role, architecture, init) {
        Distribution::Constant(value) => used.fill(value as f32),
        Distribution::Normal(std) => {
            for value in used {
                let z: f32 = rng.sample(StandardNormal);
                *value = z * std as f32;
            }
        }
        Distribution::Uniform(bound) => {
            for value in used {
                *value = (rng.random::<f32>() * 2.0 - 1.0) * bound as f32;
            }
        }
    }
    Ok(Tensor::from_vec(
        values,
        spec.shape.as_slice(),
        &Device::Cpu,
    )?)
}
