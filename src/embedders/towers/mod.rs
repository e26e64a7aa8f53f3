//! The graphs of text and image towers, one file each.

use candle_core::{Result, Tensor};

pub mod bert;
pub mod clip_text;
pub mod clip_vit;
pub mod efficient_net;
pub mod eva02;
pub mod map_vit;
pub mod resnet;
pub mod tap;
mod timm_head;
mod transformer;

/// Turns token sequences into features.
pub trait TextTower: Send + Sync {
    /// Features `[B, F]` of sequences without padding.
    fn forward(&self, texts: &[&[i64]]) -> Result<Tensor>;
}

/// Turns pixels into features.
pub trait ImageTower: Send + Sync {
    /// Features `[B, F]` of normalised pixels `[B, 3, H, W]`.
    fn forward(&self, pixels: &Tensor) -> Result<Tensor>;
}
