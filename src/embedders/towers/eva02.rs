//! The vision towers of EVA02-CLIP (`embedders.md` section 5.4): base and
//! large with rotary positions, SwiGLU and inner norms; enormous with norms
//! after the branches.

use candle_core::{Device, Result, Tensor};

use super::ImageTower;
use super::clip_vit::cut_patches;
use super::tap::tap;
use super::timm_head::Head;
use super::transformer::{LayerNorm, Linear};
use crate::embedders::error::EmbedderError;
use crate::embedders::timm_models::TimmArchitecture;
use crate::embedders::tower_configs::TimmConfig;
use crate::embedders::weights::Parameters;
use crate::ops::attention::attention;
use crate::ops::linear::Activation;
use crate::ops::rotary::turn_pairs;

const EPS: f32 = 1e-6;

/// The tower with its parameters.
pub struct Eva02 {
    /// `[D, 3·P·P]`
    patches: Linear,
    /// `[1, 1, D]`
    class_token: Tensor,
    /// `[1, 1 + G², D]`
    positions: Tensor,
    rotary: Option<Rotary>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Head,
    patch_size: usize,
}

impl Eva02 {
    /// Takes the parameters below `visual.`.
    pub fn load(
        parameters: &Parameters<'_>,
        architecture: &TimmArchitecture,
        config: &TimmConfig,
    ) -> std::result::Result<Self, EmbedderError> {
        let trunk = parameters.under("trunk");
        let (width, patch) = (architecture.embed_dim, architecture.patch_size);
        let side = architecture.img_size / patch;
        let embed = trunk.under("patch_embed.proj");
        let stack = trunk.under("blocks");
        Ok(Self {
            patches: Linear {
                weight: embed
                    .take("weight", &[width, 3, patch, patch])?
                    .reshape((width, 3 * patch * patch))?,
                bias: Some(embed.take("bias", &[width])?),
            },
            class_token: trunk.take("cls_token", &[1, 1, width])?,
            positions: trunk.take("pos_embed", &[1, 1 + side * side, width])?,
            rotary: architecture
                .use_rot_pos_emb
                .then(|| {
                    let reference = architecture.ref_feat_shape.map_or(side, |shape| shape.0);
                    let head_dim = width / architecture.num_heads;
                    Rotary::new(side, reference, head_dim, parameters.device())
                })
                .transpose()?,
            blocks: (0..architecture.depth)
                .map(|n| Block::load(&stack.under(n), architecture))
                .collect::<std::result::Result<_, _>>()?,
            norm: LayerNorm::load(&trunk.under("norm"), width, EPS)?,
            head: Head::load(parameters, width, config)?,
            patch_size: patch,
        })
    }
}

impl ImageTower for Eva02 {
    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let patches = cut_patches(pixels, self.patch_size)?;
        let x = self.patches.forward(&patches, Activation::Identity)?;
        tap(|| "visual.trunk.patch_embed".to_owned(), &x);
        let (batch, _, width) = x.dims3()?;
        let class = self
            .class_token
            .broadcast_as((batch, 1, width))?
            .contiguous()?;
        let mut x = Tensor::cat(&[&class, &x], 1)?.broadcast_add(&self.positions)?;
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(&x, self.rotary.as_ref())?;
            tap(|| format!("visual.trunk.blocks.{number}"), &x);
        }
        let pooled = self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)?;
        tap(|| "visual.trunk.norm".to_owned(), &pooled);
        self.head.forward(&pooled)
    }
}

/// Hidden layer of an MLP.
enum Hidden {
    /// fc1 → GELU
    Gelu(Linear),
    /// silu(gate) · value
    SwiGlu { gate: Linear, value: Linear },
}

struct Block {
    norm_1: LayerNorm,
    qkv: Linear,
    inner_norm: Option<LayerNorm>,
    out: Linear,
    norm_2: LayerNorm,
    hidden: Hidden,
    hidden_norm: Option<LayerNorm>,
    down: Linear,
    post_norm: bool,
    heads: usize,
}

impl Block {
    fn load(
        parameters: &Parameters<'_>,
        architecture: &TimmArchitecture,
    ) -> std::result::Result<Self, EmbedderError> {
        let (width, hidden) = (architecture.embed_dim, architecture.hidden());
        let norm = |name, width| LayerNorm::load(&parameters.under(name), width, EPS);
        let layer = |name, inputs, outputs| Linear::load(&parameters.under(name), inputs, outputs);
        let attn = parameters.under("attn");
        // Keys have no bias in either form.
        let no_bias = Tensor::zeros(width, candle_core::DType::F32, parameters.device())?;
        let (weight, q_bias, v_bias) = if architecture.qkv_fused {
            (
                attn.matrix("qkv.weight", &[3 * width, width])?,
                attn.take("q_bias", &[width])?,
                attn.take("v_bias", &[width])?,
            )
        } else {
            let part = |name| attn.under(name).matrix("weight", &[width, width]);
            (
                Tensor::cat(&[part("q_proj")?, part("k_proj")?, part("v_proj")?], 0)?,
                attn.take("q_proj.bias", &[width])?,
                attn.take("v_proj.bias", &[width])?,
            )
        };
        Ok(Self {
            norm_1: norm("norm1", width)?,
            qkv: Linear {
                weight,
                bias: Some(Tensor::cat(&[q_bias, no_bias, v_bias], 0)?),
            },
            inner_norm: architecture
                .scale_attn_inner
                .then(|| norm("attn.norm", width))
                .transpose()?,
            out: layer("attn.proj", width, width)?,
            norm_2: norm("norm2", width)?,
            hidden: if architecture.swiglu_mlp {
                Hidden::SwiGlu {
                    gate: layer("mlp.fc1_g", width, hidden)?,
                    value: layer("mlp.fc1_x", width, hidden)?,
                }
            } else {
                Hidden::Gelu(layer("mlp.fc1", width, hidden)?)
            },
            hidden_norm: architecture
                .scale_mlp
                .then(|| norm("mlp.norm", hidden))
                .transpose()?,
            down: layer("mlp.fc2", hidden, width)?,
            post_norm: architecture.use_post_norm,
            heads: architecture.num_heads,
        })
    }

    /// x `[B, T, D]` → `[B, T, D]`.
    fn forward(&self, x: &Tensor, rotary: Option<&Rotary>) -> Result<Tensor> {
        if self.post_norm {
            let mixed = self
                .out
                .forward(&self.attend(x, rotary)?, Activation::Identity)?;
            let x = (x + self.norm_1.forward(&mixed)?)?;
            let mixed = self.down.forward(&self.expand(&x)?, Activation::Identity)?;
            &x + self.norm_2.forward(&mixed)?
        } else {
            let mixed = self.attend(&self.norm_1.forward(x)?, rotary)?;
            let x = self.out.add_to(x, &mixed)?;
            self.down
                .add_to(&x, &self.expand(&self.norm_2.forward(&x)?)?)
        }
    }

    /// Attention up to, not including, the output projection.
    fn attend(&self, x: &Tensor, rotary: Option<&Rotary>) -> Result<Tensor> {
        let width = x.dim(2)?;
        let qkv = self.qkv.forward(x, Activation::Identity)?;
        let part = |i| qkv.narrow(2, i * width, width);
        let turn = |x: Tensor| match rotary {
            Some(rotary) => rotary.turn(&x),
            None => Ok(x),
        };
        let mixed = attention(&turn(part(0)?)?, &turn(part(1)?)?, &part(2)?, self.heads)?;
        match &self.inner_norm {
            Some(norm) => norm.forward(&mixed),
            None => Ok(mixed),
        }
    }

    /// The MLP up to, not including, its last layer.
    fn expand(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = match &self.hidden {
            Hidden::Gelu(layer) => layer.forward(x, Activation::Gelu)?,
            Hidden::SwiGlu { gate, value } => {
                (gate.forward(x, Activation::Silu)? * value.forward(x, Activation::Identity)?)?
            }
        };
        match &self.hidden_norm {
            Some(norm) => norm.forward(&hidden),
            None => Ok(hidden),
        }
    }
}

/// Rotary positions of a square grid.
struct Rotary {
    /// Cosines per patch and pair of values, `[G², d/2]`.
    cos: Tensor,
    /// Sines, likewise.
    sin: Tensor,
}

impl Rotary {
    fn new(side: usize, reference: usize, head_dim: usize, device: &Device) -> Result<Self> {
        let bands = head_dim / 4;
        let coordinate = |i: usize| i as f64 / side as f64 * reference as f64;
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for row in 0..side {
            for column in 0..side {
                for position in [row, column] {
                    for band in 0..bands {
                        let frequency = 10000f64.powf(-(band as f64) / bands as f64);
                        let (sin, cos) = (coordinate(position) * frequency).sin_cos();
                        cosines.push(cos as f32);
                        sines.push(sin as f32);
                    }
                }
            }
        }
        let dims = (side * side, 2 * bands);
        Ok(Self {
            cos: Tensor::from_vec(cosines, dims, device)?,
            sin: Tensor::from_vec(sines, dims, device)?,
        })
    }

    /// x `[B, 1 + G², D]`; the class token is not turned.
    fn turn(&self, x: &Tensor) -> Result<Tensor> {
        turn_pairs(x, &self.cos, &self.sin)
    }
}
