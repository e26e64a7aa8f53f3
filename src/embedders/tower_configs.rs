//! Architectures of towers as numbers, whatever file they were read from.

use crate::ops::linear::Activation;

/// How a tower turns its token states into one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// State of the class token.
    ClassToken,
    /// Mean over the patch tokens.
    Mean,
    /// State at the position of the largest id.
    LargestId,
    /// State at the first position.
    First,
    /// State at the last position.
    Last,
    /// State at the first position of this id; at the first position if it does
    /// not occur.
    FirstOf(i64),
}

/// Architecture of the image tower.
#[derive(Clone, Debug, PartialEq)]
pub enum VisionConfig {
    /// The plain vision transformer of CLIP.
    ClipVit(ClipVitConfig),
    /// The residual network of CLIP.
    ResNet(ResNetConfig),
    /// A tower named by timm.
    Timm(TimmConfig),
}

/// The plain vision transformer.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipVitConfig {
    /// Input height and width.
    pub image_size: (usize, usize),
    /// Side of a patch.
    pub patch_size: usize,
    /// Width of the token states.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Whether block outputs are scaled by learned factors.
    pub layer_scale: bool,
    /// Whether the token states are normalised before the first block.
    pub norm_before: bool,
    /// Whether pooling comes before the last normalisation.
    pub norm_after_pool: bool,
    /// Class token or mean.
    pub pooling: Pooling,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// The residual network with attention pooling.
#[derive(Clone, Debug, PartialEq)]
pub struct ResNetConfig {
    /// Side of the square input.
    pub image_size: usize,
    /// Bottleneck blocks of the four stages.
    pub stages: [usize; 4],
    /// Channels after the stem.
    pub width: usize,
    /// Heads of the attention pool.
    pub heads: usize,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// A timm tower: the name is all the configuration says about its trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TimmConfig {
    /// Name without tag.
    pub name: String,
    /// `timm_pool`.
    pub pool: String,
    /// `timm_proj`; empty for none at all (the trunk's own classifier).
    pub projection: String,
    /// Whether a linear projection has a bias.
    pub projection_bias: bool,
    /// Input height and width.
    pub image_size: (usize, usize),
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// A vision transformer without class token whose states are pooled by
/// attention, as in SigLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct MapVitConfig {
    /// Input height and width.
    pub image_size: (usize, usize),
    /// Side of a patch.
    pub patch_size: usize,
    /// Width of the token states.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
}

/// Architecture of a CLIP text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Positions.
    pub context_length: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the token states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Whether block outputs are scaled by learned factors.
    pub layer_scale: bool,
    /// Whether a position sees only itself and what is before it.
    pub causal: bool,
    /// Which position becomes the embedding.
    pub pooling: Pooling,
    /// Whether the projection is a linear layer with bias.
    pub projection_bias: bool,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// BERT as a text tower: the embedding is the projected state of the first
/// token.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Positions.
    pub context_length: usize,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Rows of the embedding of sentence kinds; the first is used.
    pub token_types: usize,
    /// Width of the token states.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width of the hidden layer of the MLPs.
    pub hidden: usize,
    /// Activation of the MLPs.
    pub activation: Activation,
    /// ε of the layer norms.
    pub eps: f32,
    /// Dimension of the embedding.
    pub embed_dim: usize,
}

/// One block of an EfficientNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MobileBlockConfig {
    /// Channels before.
    pub inputs: usize,
    /// Channels after.
    pub outputs: usize,
    /// Channels between; equal to `inputs` without expansion.
    pub expanded: usize,
    /// Channels of the gate's bottleneck.
    pub squeezed: usize,
    /// Window of the depthwise convolution.
    pub window: usize,
    /// Its stride.
    pub stride: usize,
    /// Zeros (before, after) in both directions.
    pub padding: (usize, usize),
    /// Whether the input is added to the output.
    pub skip: bool,
}

/// EfficientNet as an image tower: the embedding is the mean over all
/// positions of the last block.
#[derive(Clone, Debug, PartialEq)]
pub struct EfficientNetConfig {
    /// Channels after the stem.
    pub stem: usize,
    /// All blocks.
    pub blocks: Vec<MobileBlockConfig>,
    /// ε of the batch norms.
    pub eps: f64,
}
