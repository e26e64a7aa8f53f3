//! The residual network of CLIP (`embedders.md` section 5.6): a three-layer
//! stem, bottleneck blocks that shrink by average pooling, and an attention
//! pool. Runs channels-last; batch norms are folded into the convolutions when
//! the parameters are taken.

use candle_core::{Result, Tensor};

use super::ImageTower;
use super::tap::tap;
use super::transformer::Linear;
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::ResNetConfig;
use crate::embedders::weights::Parameters;
use crate::ops::attention::attention;
use crate::ops::convolution::{average_pool, convolve};
use crate::ops::linear::{Activation, linear};

const BATCH_NORM_EPS: f64 = 1e-5;

/// A convolution with its batch norm folded in.
struct Convolution {
    /// `[O, K, K, C]`
    weight: Tensor,
    /// `[O]`
    bias: Tensor,
    stride: usize,
    padding: usize,
}

impl Convolution {
    fn load(
        parameters: &Parameters<'_>,
        conv: &str,
        norm: &str,
        (inputs, outputs): (usize, usize),
        window: usize,
        stride: usize,
    ) -> std::result::Result<Self, EmbedderError> {
        let weight = parameters
            .under(conv)
            .take("weight", &[outputs, inputs, window, window])?;
        let norm = parameters.under(norm);
        let take = |name| norm.take(name, &[outputs]);
        let deviation = (take("running_var")? + BATCH_NORM_EPS)?.sqrt()?;
        let scale = (take("weight")? / deviation)?;
        let bias = (take("bias")? - (take("running_mean")? * &scale)?)?;
        Ok(Self {
            weight: weight
                .broadcast_mul(&scale.reshape((outputs, 1, 1, 1))?)?
                .permute((0, 2, 3, 1))?
                .contiguous()?,
            bias,
            stride,
            padding: window / 2,
        })
    }

    fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        convolve(
            x,
            &self.weight,
            &self.bias,
            self.stride,
            self.padding,
            activation,
        )
    }
}

/// 1×1 → 3×3 → average pool → 1×1, plus the identity or its projection.
struct Bottleneck {
    reduce: Convolution,
    spatial: Convolution,
    /// `[4p, p]`
    expand: Linear,
    stride: usize,
    shortcut: Option<Convolution>,
}

impl Bottleneck {
    fn load(
        parameters: &Parameters<'_>,
        inputs: usize,
        planes: usize,
        stride: usize,
    ) -> std::result::Result<Self, EmbedderError> {
        let outputs = 4 * planes;
        let expand = Convolution::load(parameters, "conv3", "bn3", (planes, outputs), 1, 1)?;
        let shortcut = if stride > 1 || inputs != outputs {
            let parameters = parameters.under("downsample");
            Some(Convolution::load(
                &parameters,
                "0",
                "1",
                (inputs, outputs),
                1,
                1,
            )?)
        } else {
            None
        };
        Ok(Self {
            reduce: Convolution::load(parameters, "conv1", "bn1", (inputs, planes), 1, 1)?,
            spatial: Convolution::load(parameters, "conv2", "bn2", (planes, planes), 3, 1)?,
            expand: Linear {
                weight: expand.weight.reshape((outputs, planes))?,
                bias: Some(expand.bias),
            },
            stride,
            shortcut,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.reduce.forward(x, Activation::Relu)?;
        let y = average_pool(&self.spatial.forward(&y, Activation::Relu)?, self.stride)?;
        let identity = match &self.shortcut {
            Some(shortcut) => {
                shortcut.forward(&average_pool(x, self.stride)?, Activation::Identity)?
            }
            None => x.clone(),
        };
        let Linear { weight, bias } = &self.expand;
        linear(&y, weight, bias.as_ref(), Some(&identity), Activation::Relu)
    }
}

/// One attention step whose query is the mean of all positions.
struct AttentionPool {
    /// `[g² + 1, E]`
    positional_embedding: Tensor,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: usize,
}

impl AttentionPool {
    fn load(
        parameters: &Parameters<'_>,
        positions: usize,
        width: usize,
        config: &ResNetConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let layer = |name, outputs| Linear::load(&parameters.under(name), width, outputs);
        Ok(Self {
            positional_embedding: parameters
                .take("positional_embedding", &[positions + 1, width])?,
            query: layer("q_proj", width)?,
            key: layer("k_proj", width)?,
            value: layer("v_proj", width)?,
            out: layer("c_proj", config.embed_dim)?,
            heads: config.heads,
        })
    }

    /// x `[B, h, w, E]` → `[B, F]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let x = x.reshape((batch, height * width, channels))?;
        let x = Tensor::cat(&[&x.mean_keepdim(1)?, &x], 1)?;
        let x = x.broadcast_add(&self.positional_embedding)?;
        let mean = x.narrow(1, 0, 1)?;
        let project = |layer: &Linear, x: &Tensor| layer.forward(x, Activation::Identity);
        let (q, k, v) = (
            project(&self.query, &mean)?,
            project(&self.key, &x)?,
            project(&self.value, &x)?,
        );
        project(&self.out, &attention(&q, &k, &v, self.heads)?.squeeze(1)?)
    }
}

/// The tower with its parameters.
pub struct ResNet {
    stem: [Convolution; 3],
    /// Of all stages.
    blocks: Vec<Bottleneck>,
    /// Blocks before the end of each stage.
    stage_ends: Vec<usize>,
    pool: AttentionPool,
}

impl ResNet {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &ResNetConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let (half, width) = (config.width / 2, config.width);
        let stem = |n: usize, channels, stride| {
            Convolution::load(
                parameters,
                &format!("conv{n}"),
                &format!("bn{n}"),
                channels,
                3,
                stride,
            )
        };
        let (mut blocks, mut stage_ends) = (Vec::new(), Vec::new());
        let mut inputs = width;
        for (stage, &count) in config.stages.iter().enumerate() {
            let planes = width << stage;
            for n in 0..count {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let parameters = parameters.under(format_args!("layer{}.{n}", stage + 1));
                blocks.push(Bottleneck::load(&parameters, inputs, planes, stride)?);
                inputs = 4 * planes;
            }
            stage_ends.push(blocks.len());
        }
        let side = config.image_size / 32;
        Ok(Self {
            stem: [
                stem(1, (3, half), 2)?,
                stem(2, (half, half), 1)?,
                stem(3, (half, width), 1)?,
            ],
            blocks,
            stage_ends,
            pool: AttentionPool::load(&parameters.under("attnpool"), side * side, inputs, config)?,
        })
    }
}

impl ImageTower for ResNet {
    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let mut x = pixels.permute((0, 2, 3, 1))?.contiguous()?;
        for convolution in &self.stem {
            x = convolution.forward(&x, Activation::Relu)?;
        }
        x = average_pool(&x, 2)?;
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x)?;
            if let Some(stage) = self.stage_ends.iter().position(|end| *end == number + 1) {
                tap(|| format!("visual.layer{}", stage + 1), &x);
            }
        }
        let pooled = self.pool.forward(&x)?;
        tap(|| "visual.attnpool".to_owned(), &pooled);
        Ok(pooled)
    }
}
