//! The vision tower of SigLIP: a timm vision transformer without class token
//! whose states are pooled by attention (`embedders.md` section 5.2).

use candle_core::{Result, Tensor};

use super::ImageTower;
use super::clip_vit::cut_patches;
use super::tap::tap;
use super::timm_head::Head;
use super::transformer::{Block, BlockShape, LayerNorm, Linear, Visibility};
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::{MapVitConfig, TimmConfig};
use crate::embedders::weights::Parameters;
use crate::ops::attention::attention;
use crate::ops::linear::{Activation, add_mlp};

/// The tower with its parameters.
pub struct MapVit {
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

impl MapVit {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &MapVitConfig,
        head: &TimmConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let trunk = parameters.under("trunk");
        let (width, patch, eps) = (config.width, config.patch_size, config.eps);
        let grid = (config.image_size.0 / patch) * (config.image_size.1 / patch);
        let shape = BlockShape {
            width,
            heads: config.heads,
            hidden: config.hidden,
            activation: config.activation,
            eps,
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
            positions: trunk.take("pos_embed", &[1, grid, width])?,
            blocks: (0..config.layers)
                .map(|n| load_block(&stack.under(n), shape))
                .collect::<std::result::Result<_, _>>()?,
            norm: LayerNorm::load(&trunk.under("norm"), width, eps)?,
            pool: AttentionPool::load(&trunk.under("attn_pool"), shape)?,
            head: Head::load(parameters, width, head)?,
            patch_size: patch,
        })
    }
}

impl ImageTower for MapVit {
    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = cut_patches(pixels, self.patch_size)?;
        let (batch, tokens, _) = patches.dims3()?;
        let x = self.patches.forward(&patches, Activation::Identity)?;
        tap(|| "visual.trunk.patch_embed".to_owned(), &x);
        let x = x.broadcast_add(&self.positions)?;
        let width = x.dim(2)?;
        let mut x = x.reshape((batch * tokens, width))?;
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, Visibility::Sequences { batch })?;
            tap(|| format!("visual.trunk.blocks.{number}"), &x);
        }
        let x = self.norm.forward(&x)?.reshape((batch, tokens, width))?;
        tap(|| "visual.trunk.norm".to_owned(), &x);
        let pooled = self.pool.forward(&x)?;
        tap(|| "visual.trunk.attn_pool".to_owned(), &pooled);
        self.head.forward(&pooled)
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
    activation: Activation,
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
            activation,
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
            activation,
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
        let normal = self.norm.forward(&x)?;
        add_mlp(
            &x,
            &normal,
            self.up.layer(),
            self.down.layer(),
            self.activation,
        )
    }
}
