//! The pre-norm transformer block of open_clip (`embedders.md` sections 3 and
//! 5.1), shared by its text and image towers.

use candle_core::{Result, Tensor};

use crate::embedders::error::EmbedderError;
use crate::embedders::weights::Parameters;
use crate::ops::attention::{KeyPaths, attention, path_attention};
use crate::ops::linear::{Activation, Layer, add_mlp, layer_norm, linear};

/// Layer norm with learned scale and shift.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// Takes `weight` and `bias` `[width]`.
    pub fn load(
        parameters: &Parameters<'_>,
        width: usize,
        eps: f32,
    ) -> std::result::Result<Self, EmbedderError> {
        Ok(Self {
            weight: parameters.take("weight", &[width])?,
            bias: parameters.take("bias", &[width])?,
            eps,
        })
    }

    /// Normalises the last dimension.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Linear layer.
pub struct Linear {
    /// `[out, in]`
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
}

impl Linear {
    /// Takes `weight` `[outputs, inputs]` and `bias` `[outputs]`.
    pub fn load(
        parameters: &Parameters<'_>,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, EmbedderError> {
        Ok(Self {
            weight: parameters.matrix("weight", &[outputs, inputs])?,
            bias: Some(parameters.take("bias", &[outputs])?),
        })
    }

    /// Takes a `[inputs, outputs]` matrix that is multiplied from the right.
    pub fn load_projection(
        parameters: &Parameters<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> std::result::Result<Self, EmbedderError> {
        let matrix = parameters.matrix(name, &[inputs, outputs])?;
        Ok(Self {
            weight: matrix.t()?.contiguous()?,
            bias: None,
        })
    }

    /// Weight and bias.
    pub fn layer(&self) -> Layer<'_> {
        Layer {
            weight: &self.weight,
            bias: self.bias.as_ref(),
        }
    }

    /// `activation(x·wᵀ + b)`
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        linear(x, &self.weight, self.bias.as_ref(), None, activation)
    }

    /// `residual + x·wᵀ + b`
    pub fn add_to(&self, residual: &Tensor, x: &Tensor) -> Result<Tensor> {
        linear(
            x,
            &self.weight,
            self.bias.as_ref(),
            Some(residual),
            Activation::Identity,
        )
    }

    /// Outputs `from..from + count` of the layer.
    fn outputs(&self, from: usize, count: usize) -> Result<Self> {
        Ok(Self {
            weight: self.weight.narrow(0, from, count)?,
            bias: self
                .bias
                .as_ref()
                .map(|bias| bias.narrow(0, from, count))
                .transpose()?,
        })
    }

    /// Multiplies every output by its factor, for layer scale.
    fn scale_outputs(&mut self, factors: &Tensor) -> Result<()> {
        let kept = self.weight.dtype();
        let weight = self.weight.to_dtype(factors.dtype())?;
        let weight = weight.broadcast_mul(&factors.unsqueeze(1)?)?;
        self.weight = weight.to_dtype(kept)?;
        if let Some(bias) = &self.bias {
            self.bias = Some((bias * factors)?);
        }
        Ok(())
    }
}

/// Which rows see which.
#[derive(Clone, Copy)]
pub enum Visibility<'a> {
    /// `batch` sequences of equal length, everything sees everything.
    Sequences { batch: usize },
    /// Row `i` sees the rows on its path.
    Paths(&'a KeyPaths),
}

/// Sizes of a stack of blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockShape {
    /// Width D of the states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden width of the MLP.
    pub hidden: usize,
    /// Activation of the MLP.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Whether branches are scaled by `ls_1.gamma` and `ls_2.gamma`.
    pub layer_scale: bool,
}

/// `x += MHA(LN₁(x)); x += MLP(LN₂(x))`
pub struct Block {
    norm_1: LayerNorm,
    /// Query, key and value in one layer.
    qkv: Linear,
    query: Linear,
    key_value: Linear,
    out: Linear,
    norm_2: LayerNorm,
    up: Linear,
    down: Linear,
    shape: BlockShape,
}

impl Block {
    /// Parameters of one `resblocks.N`.
    pub fn load(
        parameters: &Parameters<'_>,
        shape: BlockShape,
    ) -> std::result::Result<Self, EmbedderError> {
        let BlockShape {
            width, hidden, eps, ..
        } = shape;
        let attention = parameters.under("attn");
        let qkv = Linear {
            weight: attention.matrix("in_proj_weight", &[3 * width, width])?,
            bias: Some(attention.take("in_proj_bias", &[3 * width])?),
        };
        let mut out = Linear::load(&attention.under("out_proj"), width, width)?;
        let mlp = parameters.under("mlp");
        let mut down = Linear::load(&mlp.under("c_proj"), hidden, width)?;
        if shape.layer_scale {
            out.scale_outputs(&parameters.take("ls_1.gamma", &[width])?)?;
            down.scale_outputs(&parameters.take("ls_2.gamma", &[width])?)?;
        }
        let norm = |name| LayerNorm::load(&parameters.under(name), width, eps);
        let up = Linear::load(&mlp.under("c_fc"), width, hidden)?;
        Ok(Self::new(
            norm("ln_1")?,
            qkv,
            out,
            norm("ln_2")?,
            up,
            down,
            shape,
        )?)
    }

    /// A block from its layers; `qkv` stacks query, key and value.
    pub fn new(
        norm_1: LayerNorm,
        qkv: Linear,
        out: Linear,
        norm_2: LayerNorm,
        up: Linear,
        down: Linear,
        shape: BlockShape,
    ) -> Result<Self> {
        Ok(Self {
            norm_1,
            query: qkv.outputs(0, shape.width)?,
            key_value: qkv.outputs(shape.width, 2 * shape.width)?,
            qkv,
            out,
            norm_2,
            up,
            down,
            shape,
        })
    }

    /// x `[R, D]` → `[R, D]`.
    pub fn forward(&self, x: &Tensor, visibility: Visibility<'_>) -> Result<Tensor> {
        let width = self.shape.width;
        let qkv = self
            .qkv
            .forward(&self.norm_1.forward(x)?, Activation::Identity)?;
        let part = |i| qkv.narrow(1, i * width, width);
        let mixed = attend(
            &part(0)?,
            &part(1)?,
            &part(2)?,
            visibility,
            self.shape.heads,
        )?;
        self.mlp(&self.out.add_to(x, &mixed)?)
    }

    /// The new states of `rows` only, `[Q]` row numbers; keys and values come
    /// from all rows. With sequences, one row of each.
    pub fn forward_rows(
        &self,
        x: &Tensor,
        rows: &Tensor,
        visibility: Visibility<'_>,
    ) -> Result<Tensor> {
        let width = self.shape.width;
        let normal = self.norm_1.forward(x)?;
        let query = self
            .query
            .forward(&normal.index_select(rows, 0)?, Activation::Identity)?;
        let key_value = self.key_value.forward(&normal, Activation::Identity)?;
        let part = |i| key_value.narrow(1, i * width, width);
        let mixed = attend(&query, &part(0)?, &part(1)?, visibility, self.shape.heads)?;
        self.mlp(&self.out.add_to(&x.index_select(rows, 0)?, &mixed)?)
    }

    fn mlp(&self, x: &Tensor) -> Result<Tensor> {
        let normal = self.norm_2.forward(x)?;
        add_mlp(
            x,
            &normal,
            self.up.layer(),
            self.down.layer(),
            self.shape.activation,
        )
    }
}

fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    visibility: Visibility<'_>,
    heads: usize,
) -> Result<Tensor> {
    match visibility {
        Visibility::Paths(paths) => path_attention(q, k, v, paths, heads),
        Visibility::Sequences { batch } => {
            let split = |x: &Tensor| {
                let (rows, width) = x.dims2()?;
                x.reshape((batch, rows / batch.max(1), width))
            };
            let mixed = attention(&split(q)?, &split(k)?, &split(v)?, heads)?;
            mixed.reshape(q.dims())
        }
    }
}
