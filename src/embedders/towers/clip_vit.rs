//! The plain vision transformer of CLIP (`embedders.md` section 5.1; CLIPA by
//! its options, 5.5).

use candle_core::Tensor;

use super::ImageTower;
use super::tap::tap;
use super::transformer::{Block, BlockShape, LayerNorm, Linear, Visibility};
use crate::embedders::error::EmbedderError;
use crate::embedders::tower_configs::{ClipVitConfig, Pooling};
use crate::embedders::weights::Parameters;
use crate::ops::linear::{Activation, linear};

/// The tower with its parameters.
pub struct ClipVit {
    /// `[D, 3·P·P]`
    patch_weight: Tensor,
    /// `[D]`
    class_embedding: Tensor,
    /// `[1 + G², D]`
    positional_embedding: Tensor,
    norm_before: Option<LayerNorm>,
    blocks: Vec<Block>,
    norm_after: LayerNorm,
    projection: Linear,
    config: ClipVitConfig,
}

impl ClipVit {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        config: &ClipVitConfig,
    ) -> Result<Self, EmbedderError> {
        let (width, patch) = (config.width, config.patch_size);
        let tokens = 1 + (config.image_size.0 / patch) * (config.image_size.1 / patch);
        let shape = BlockShape {
            width,
            heads: config.heads,
            hidden: config.hidden,
            activation: config.activation,
            eps: config.eps,
            layer_scale: config.layer_scale,
        };
        let stack = parameters.under("transformer.resblocks");
        let norm = |name| LayerNorm::load(&parameters.under(name), width, config.eps);
        Ok(Self {
            patch_weight: parameters
                .take("conv1.weight", &[width, 3, patch, patch])?
                .reshape((width, 3 * patch * patch))?,
            class_embedding: parameters.take("class_embedding", &[width])?,
            positional_embedding: parameters.take("positional_embedding", &[tokens, width])?,
            norm_before: config.norm_before.then(|| norm("ln_pre")).transpose()?,
            blocks: (0..config.layers)
                .map(|n| Block::load(&stack.under(n), shape))
                .collect::<Result<_, _>>()?,
            norm_after: norm("ln_post")?,
            projection: Linear::load_projection(parameters, "proj", width, config.embed_dim)?,
            config: config.clone(),
        })
    }
}

impl ImageTower for ClipVit {
    fn forward(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let width = self.config.width;
        let patches = cut_patches(pixels, self.config.patch_size)?;
        let (batch, count, _) = patches.dims3()?;
        let x = linear(
            &patches,
            &self.patch_weight,
            None,
            None,
            Activation::Identity,
        )?;
        let class = self
            .class_embedding
            .reshape((1, 1, width))?
            .broadcast_as((batch, 1, width))?;
        let x = Tensor::cat(&[&class.contiguous()?, &x], 1)?;
        let tokens = count + 1;
        let mut x = x
            .broadcast_add(&self.positional_embedding)?
            .reshape((batch * tokens, width))?;
        if let Some(norm) = &self.norm_before {
            x = norm.forward(&x)?;
        }
        tap(|| "visual.ln_pre".to_owned(), &x);
        let block_name = |number: usize| format!("visual.transformer.resblocks.{number}");
        let visibility = Visibility::Sequences { batch };
        let pooled = match (self.config.pooling, self.blocks.split_last()) {
            // Only the class token of the last block is needed.
            (Pooling::ClassToken, Some((last, blocks))) => {
                for (number, block) in blocks.iter().enumerate() {
                    x = block.forward(&x, visibility)?;
                    tap(|| block_name(number), &x);
                }
                let class_rows: Vec<u32> = (0..batch).map(|item| (item * tokens) as u32).collect();
                let class_rows = Tensor::from_vec(class_rows, batch, x.device())?;
                let x = last.forward_rows(&x, &class_rows, visibility)?;
                tap(|| block_name(blocks.len()), &x);
                self.norm_after.forward(&x)?
            }
            _ => {
                for (number, block) in self.blocks.iter().enumerate() {
                    x = block.forward(&x, visibility)?;
                    tap(|| block_name(number), &x);
                }
                if !self.config.norm_after_pool {
                    x = self.norm_after.forward(&x)?;
                }
                let x = x.reshape((batch, tokens, width))?;
                let pooled = if self.config.pooling == Pooling::ClassToken {
                    x.narrow(1, 0, 1)?.squeeze(1)?
                } else {
                    x.narrow(1, 1, count)?.mean(1)?
                };
                if self.config.norm_after_pool {
                    self.norm_after.forward(&pooled)?
                } else {
                    pooled
                }
            }
        };
        tap(|| "visual.ln_post".to_owned(), &pooled);
        self.projection.forward(&pooled, Activation::Identity)
    }
}

/// Pixels `[B, 3, H, W]` → patches `[B, G, 3·P·P]`, row by row; pixels beyond
/// the last whole patch are left out.
pub fn cut_patches(pixels: &Tensor, patch: usize) -> candle_core::Result<Tensor> {
    let (batch, channels, height, width) = pixels.dims4()?;
    let (rows, columns) = (height / patch, width / patch);
    pixels
        .narrow(2, 0, rows * patch)?
        .narrow(3, 0, columns * patch)?
        .contiguous()?
        .reshape(&[batch, channels, rows, patch, columns, patch])?
        .permute([0, 2, 4, 1, 3, 5])?
        .contiguous()?
        .reshape((batch, rows * columns, channels * patch * patch))
}
