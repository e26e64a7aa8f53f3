//! EfficientNet as the image tower of ALIGN (`embedders.md` section 5.9):
//! inverted bottlenecks with depthwise convolutions and gated channels. Runs
//! channels-last; batch norms are folded into the convolutions when the
//! parameters are taken.

use candle_core::{Result, Tensor};

use super::ImageTower;
use super::tap::tap;
use super::transformer::Linear;
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::{EfficientNetConfig, MobileBlockConfig};
use crate::embedders::weights::Parameters;
use crate::ops::convolution::{convolve, depthwise};
use crate::ops::linear::Activation;

/// The tower with its parameters.
pub struct EfficientNet {
    /// `[C, 3, 3, 3]`
    stem: Tensor,
    stem_bias: Tensor,
    blocks: Vec<MobileBlock>,
}

impl EfficientNet {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &EfficientNetConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let embeddings = parameters.under("embeddings");
        let (stem, stem_bias) = folded(
            embeddings.take("convolution.weight", &[config.stem, 3, 3, 3])?,
            &embeddings.under("batchnorm"),
            config.eps,
        )?;
        let stack = parameters.under("encoder.blocks");
        Ok(Self {
            stem: stem.permute((0, 2, 3, 1))?.contiguous()?,
            stem_bias,
            blocks: (config.blocks.iter().enumerate())
                .map(|(n, block)| MobileBlock::load(&stack.under(n), block, config.eps))
                .collect::<std::result::Result<_, _>>()?,
        })
    }
}

impl ImageTower for EfficientNet {
    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let x = pixels.permute((0, 2, 3, 1))?;
        let x = x.pad_with_zeros(1, 0, 1)?.pad_with_zeros(2, 0, 1)?;
        let x = x.contiguous()?;
        let mut x = convolve(&x, &self.stem, &self.stem_bias, 2, 0, Activation::Silu)?;
        tap(|| "visual.embeddings".to_owned(), &x);
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            tap(|| format!("visual.encoder.blocks.{number}"), &x);
        }
        x.flatten(1, 2)?.mean(1)
    }
}

/// Expand → depthwise → gate → project, plus the input in all but the first
/// block of a stage.
struct MobileBlock {
    expand: Option<Linear>,
    /// `[K, K, C]`
    depthwise: Tensor,
    depthwise_bias: Tensor,
    reduce: Linear,
    gate: Linear,
    project: Linear,
    config: MobileBlockConfig,
}

impl MobileBlock {
    fn load(
        parameters: &Parameters<'_>,
        config: &MobileBlockConfig,
        eps: f64,
    ) -> std::result::Result<Self, EmbedderError> {
        let (expanded, window) = (config.expanded, config.window);
        let pointwise = |part: &str, conv: &str, norm: &str, inputs: usize, outputs: usize| {
            let part = parameters.under(part);
            let weight = part.take(&format!("{conv}.weight"), &[outputs, inputs, 1, 1])?;
            let (weight, bias) = folded(weight, &part.under(norm), eps)?;
            Ok::<_, EmbedderError>(Linear {
                weight: weight.reshape((outputs, inputs))?,
                bias: Some(bias),
            })
        };
        let gate = |name: &str, inputs: usize, outputs: usize| {
            let part = parameters.under("squeeze_excite").under(name);
            Ok::<_, EmbedderError>(Linear {
                weight: part
                    .take("weight", &[outputs, inputs, 1, 1])?
                    .reshape((outputs, inputs))?,
                bias: Some(part.take("bias", &[outputs])?),
            })
        };
        let middle = parameters.under("depthwise_conv");
        let (depthwise, depthwise_bias) = folded(
            middle.take("depthwise_conv.weight", &[expanded, 1, window, window])?,
            &middle.under("depthwise_norm"),
            eps,
        )?;
        Ok(Self {
            expand: (expanded != config.inputs)
                .then(|| {
                    pointwise(
                        "expansion",
                        "expand_conv",
                        "expand_bn",
                        config.inputs,
                        expanded,
                    )
                })
                .transpose()?,
            depthwise: depthwise.squeeze(1)?.permute((1, 2, 0))?.contiguous()?,
            depthwise_bias,
            reduce: gate("reduce", expanded, config.squeezed)?,
            gate: gate("expand", config.squeezed, expanded)?,
            project: pointwise(
                "projection",
                "project_conv",
                "project_bn",
                expanded,
                config.outputs,
            )?,
            config: config.clone(),
        })
    }

    /// x `[B, H, W, C]` → `[B, H', W', C']`.
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut x = match &self.expand {
            Some(layer) => layer.forward(input, Activation::Silu)?,
            None => input.clone(),
        };
        let MobileBlockConfig {
            stride, padding, ..
        } = self.config;
        x = depthwise(
            &x,
            &self.depthwise,
            &self.depthwise_bias,
            stride,
            padding,
            Activation::Silu,
        )?;
        let mean = x.flatten(1, 2)?.mean(1)?;
        let gate = self.gate.forward(
            &self.reduce.forward(&mean, Activation::Silu)?,
            Activation::Identity,
        )?;
        let gate = candle_nn::ops::sigmoid(&gate)?.unsqueeze(1)?.unsqueeze(1)?;
        x = x.broadcast_mul(&gate)?;
        if self.config.skip {
            self.project.add_to(input, &x)
        } else {
            self.project.forward(&x, Activation::Identity)
        }
    }
}

/// Weight `[O, …]` and bias `[O]` of a convolution followed by a batch norm.
fn folded(
    weight: Tensor,
    norm: &Parameters<'_>,
    eps: f64,
) -> std::result::Result<(Tensor, Tensor), EmbedderError> {
    let outputs = weight.dim(0)?;
    let take = |name| norm.take(name, &[outputs]);
    let deviation = (take("running_var")? + eps)?.sqrt()?;
    let scale = (take("weight")? / deviation)?;
    let bias = (take("bias")? - (take("running_mean")? * &scale)?)?;
    let mut dims = vec![1; weight.rank()];
    dims[0] = outputs;
    Ok((weight.broadcast_mul(&scale.reshape(dims)?)?, bias))
}
