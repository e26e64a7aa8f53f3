//! Sizes of a decoder, resolved and checked (`decoder.md` sections 1 and 3).

use crate::config::schema::{self, MlpHidden, Model, Rezero};
use crate::ops::tape::Activation;

use super::error::DecoderError;

/// What a model takes from its embedder and its target configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimensions {
    /// Embedding dimension `F`.
    pub embed_dim: usize,
    /// Target vocabulary size `V`.
    pub vocab_size: usize,
    /// Token columns `Cmax` of the target configuration, end token included.
    pub token_length: usize,
}

/// Hidden layer of the prefix MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenLayer {
    /// Width `h`.
    pub size: usize,
    /// Bias of the first linear map and of its norm.
    pub bias: bool,
    /// Layer norm before the activation.
    pub norm: bool,
    /// Activation.
    pub activation: Activation,
}

/// Everything that determines the parameters and the graph of a decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// `F`, `V` and `Cmax`.
    pub dimensions: Dimensions,
    /// Stored vocabulary rows `Q`.
    pub stored_vocab: usize,
    /// Transformer width `E`.
    pub hidden_dim: usize,
    /// Feed-forward width `D`.
    pub feedforward_dim: usize,
    /// Prefix positions `P`.
    pub prefix_len: usize,
    /// Hidden layer of the prefix MLP.
    pub mlp: Option<HiddenLayer>,
    /// Transformer layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Activation of the layers.
    pub activation: Activation,
    /// Pre-norm with a final norm, else post-norm.
    pub norm_first: bool,
    /// Biases in the layers.
    pub layer_bias: bool,
    /// Bias of the output projection.
    pub logits_bias: bool,
    /// Token embedding and output projection are one tensor.
    pub weight_tying: bool,
    /// Prefix positions see only those before them.
    pub strictly_causal: bool,
    /// ReZero scalars.
    pub rezero: Rezero,
}

/// Multiple to which vocabulary and hidden sizes are rounded.
const GRANULE: usize = 64;

impl Architecture {
    /// Resolves a configuration.
    ///
    /// # Errors
    /// [`DecoderError::Config`] names the offending key.
    pub fn new(config: &Model, dimensions: Dimensions) -> Result<Self, DecoderError> {
        let error = |key, reason| Err(DecoderError::Config { key, reason });
        if dimensions.embed_dim == 0 || dimensions.vocab_size == 0 {
            return error(
                "embedder.spec",
                "embeddings and vocabulary must not be empty".into(),
            );
        }
        if dimensions.token_length < 2 {
            let reason = "nouns need at least one token before the end token".into();
            return error("target.token_length", reason);
        }
        if config.num_end_loss == 0 {
            return error("model.num_end_loss", "must be at least 1".into());
        }
        if config.prefix_len == 0 {
            return error("model.prefix_len", "must be at least 1".into());
        }
        if config.layers == 0 {
            return error("model.layers", "must be at least 1".into());
        }
        if !(0.0..1.0).contains(&config.label_smoothing) {
            return error("model.label_smoothing", "must be in [0, 1)".into());
        }
        for (key, rate) in [
            ("model.input_dropout", config.input_dropout),
            ("model.layer_dropout", config.layer_dropout),
        ] {
            if !(0.0..1.0).contains(&rate) {
                return error(key, format!("{rate} is not in [0, 1)"));
            }
        }
        let hidden_dim = config.hidden_dim;
        if config.heads == 0 || hidden_dim == 0 || !hidden_dim.is_multiple_of(config.heads) {
            let reason = format!(
                "{} heads do not divide hidden_dim {hidden_dim}",
                config.heads
            );
            return error("model.heads", reason);
        }
        let feedforward_dim = match config.feedforward_scale.of(hidden_dim) {
            Some(size) if size > 0 => size,
            _ => {
                let reason =
                    format!("hidden_dim {hidden_dim} times it must be a positive whole number");
                return error("model.feedforward_scale", reason);
            }
        };
        let output = config.prefix_len.saturating_mul(hidden_dim);
        let mlp = mlp_hidden_size(config.mlp.hidden, dimensions.embed_dim, output)?.map(|size| {
            HiddenLayer {
                size,
                bias: config.mlp.bias,
                norm: config.mlp.norm,
                activation: activation(config.mlp.activation),
            }
        });
        let vocab_size = dimensions.vocab_size;
        Ok(Self {
            dimensions,
            stored_vocab: if config.vocab_quant {
                vocab_size.next_multiple_of(GRANULE)
            } else {
                vocab_size
            },
            hidden_dim,
            feedforward_dim,
            prefix_len: config.prefix_len,
            mlp,
            layers: config.layers,
            heads: config.heads,
            activation: activation(config.activation),
            norm_first: config.norm_first,
            layer_bias: config.layer_bias,
            logits_bias: config.logits_bias,
            weight_tying: config.weight_tying,
            strictly_causal: config.strictly_causal,
            rezero: config.rezero,
        })
    }

    /// Longest sequence `Smax` = P + Cmax − 1.
    pub fn max_sequence(&self) -> usize {
        self.prefix_len + self.dimensions.token_length - 1
    }

    /// Whether query position `i` may see key position `j` of a sequence
    /// without padding.
    pub fn attends(&self, i: usize, j: usize) -> bool {
        j <= i || (!self.strictly_causal && i < self.prefix_len && j < self.prefix_len)
    }
}

fn activation(name: schema::Activation) -> Activation {
    match name {
        schema::Activation::Relu => Activation::Relu,
        schema::Activation::Gelu => Activation::Gelu,
        schema::Activation::Tanh => Activation::Tanh,
    }
}

/// Width of the hidden layer of a prefix MLP from `embed_dim` to `output`
/// values; means are rounded to the nearest multiple of 64, ties to even.
///
/// # Errors
/// A width of zero.
pub fn mlp_hidden_size(
    mode: MlpHidden,
    embed_dim: usize,
    output: usize,
) -> Result<Option<usize>, DecoderError> {
    let rounded = |size: f64| (size / GRANULE as f64).round_ties_even() as usize * GRANULE;
    let size = match mode {
        MlpHidden::None => return Ok(None),
        MlpHidden::Min => embed_dim.min(output),
        MlpHidden::Max => embed_dim.max(output),
        MlpHidden::Amean => rounded(((embed_dim + output) / 2) as f64),
        MlpHidden::Gmean => rounded((embed_dim as f64 * output as f64).sqrt()),
    };
    if size == 0 {
        return Err(DecoderError::Config {
            key: "model.mlp.hidden",
            reason: format!(
                "the mean of {embed_dim} and {output} rounds to a width of 0: use min or max"
            ),
        });
    }
    Ok(Some(size))
}
