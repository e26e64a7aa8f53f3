//! The vision tower of SigLIP: a timm vision transformer without class token
//! whose states are pooled by attention (`embedders.md` section 5.2).

use candle_core::{Result, Tensor};

use super::clip_vit::cut_patches;
use super::timm_head::Head;
use super::transformer::{Block, BlockShape, LayerNorm, Linear, Visibility};
use crate::embedders::error::EmbedderError;
use crate::embedders::openclip_config::TimmConfig;
use crate::embedders::timm_models::TimmArchitecture;
use crate::embedders::weights::Parameters;
use crate::ops::attention::attention;
use crate::ops::linear::Activation;

const EPS: f32 = 1e-6;

/// The tower with its parameters.
pub struct TimmVit {
    /// `[D, 3·P·P]`
    patches: Linear,
    /// `[1, G², D]`
    positions: Tensor,
    blocks: Vec<Block>,
    norm: LayerNorm,
    pool: AttentionPool,
    head: Head,
    patch_size: usize,
}

impl TimmVit {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        architecture: &TimmArchitecture,
        config: &TimmConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let trunk = parameters.under("trunk");
        let (width, patch) = (architecture.embed_dim, architecture.patch_size);
        let side = architecture.img_size / patch;
        let shape = BlockShape {
            width,
            heads: architecture.num_heads,
            hidden: architecture.hidden(),
            activation: Activation::Gelu,
            eps: EPS,
            layer_scale: false,
        };
        let embed = trunk.under("patch_embed.proj");
        let stack = trunk.under("blocks");
        Ok(Self {
            patches: Linear {
                weight: embed
                    .take("weight", &[width, 3, patch, patch])?
                    .reshape((width, 3 * patch * patch))?,
                bias: Some(embed.take("bias", &[width])?),
            },
            positions: trunk.take("pos_embed", &[1, side * side, width])?,
            blocks: (0..architecture.depth)
                .map(|n| load_block(&stack.under(n), shape))
                .collect::<std::result::Result<_, _>>()?,
            norm: LayerNorm::load(&trunk.under("norm"), width, EPS)?,
            pool: AttentionPool::load(&trunk.under("attn_pool"), shape)?,
            head: Head::load(parameters, width, config)?,
            patch_size: patch,
        })
    }

    /// Pixels `[B, 3, H, W]` → features `[B, F]`.
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = cut_patches(pixels, self.patch_size)?;
        let (batch, tokens, _) = patches.dims3()?;
        let x = self
            .patches
            .forward(&patches, Activation::Identity)?
            .broadcast_add(&self.positions)?;
        let width = x.dim(2)?;
        let mut x = x.reshape((batch * tokens, width))?;
        for block in &self.blocks {
            x = block.forward(&x, Visibility::Sequences { batch })?;
        }
        let x = self.norm.forward(&x)?.reshape((batch, tokens, width))?;
        self.head.forward(&self.pool.forward(&x)?)
    }
}

fn load_block(
    parameters: &Parameters<'_>,
    shape: BlockShape,
) -> std::result::Result<Block, EmbedderError> {
    let BlockShape {
        width, hidden, eps, ..
    } = shape;
    let norm = |name| LayerNorm::load(&parameters.under(name), width, eps);
    let layer = |name, inputs, outputs| Linear::load(&parameters.under(name), inputs, outputs);
    Ok(Block::new(
        norm("norm1")?,
        layer("attn.qkv", width, 3 * width)?,
        layer("attn.proj", width, width)?,
        norm("norm2")?,
        layer("mlp.fc1", width, hidden)?,
        layer("mlp.fc2", hidden, width)?,
        shape,
    )?)
}

/// One attention step of a learned query over all states, then an MLP.
struct AttentionPool {
    /// `[1, 1, D]`: the latent after its projection, the same for every picture.
    query: Tensor,
    key_value: Linear,
    out: Linear,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
}

impl AttentionPool {
    fn load(
        parameters: &Parameters<'_>,
        shape: BlockShape,
    ) -> std::result::Result<Self, EmbedderError> {
        let BlockShape {
            width,
            hidden,
            eps,
            heads,
            ..
        } = shape;
        let layer = |name, inputs, outputs| Linear::load(&parameters.under(name), inputs, outputs);
        let latent = parameters.take("latent", &[1, 1, width])?;
        Ok(Self {
            query: layer("q", width, width)?.forward(&latent, Activation::Identity)?,
            key_value: layer("kv", width, 2 * width)?,
            out: layer("proj", width, width)?,
            norm: LayerNorm::load(&parameters.under("norm"), width, eps)?,
            up: layer("mlp.fc1", width, hidden)?,
            down: layer("mlp.fc2", hidden, width)?,
            heads,
        })
    }

    /// x `[B, G², D]` → `[B, D]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, _, width) = x.dims3()?;
        let key_value = self.key_value.forward(x, Activation::Identity)?;
        let query = self.query.broadcast_as((batch, 1, width))?.contiguous()?;
        let part = |i| key_value.narrow(2, i * width, width);
        let mixed = attention(&query, &part(0)?, &part(1)?, self.heads)?.squeeze(1)?;
        let x = self.out.forward(&mixed, Activation::Identity)?;
        let hidden = self.up.forward(&self.norm.forward(&x)?, Activation::Gelu)?;
        self.down.add_to(&x, &hidden)
    }
}
